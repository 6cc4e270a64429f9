/* One store becomes two, and two become one. */
#include "check.h"

enum { KEYS = 1000 };

static alluvium_store restored(alluvium_engine engine, const char *path, const alluvium_source *sources, size_t count, uint16_t first, uint16_t last) {
    alluvium_store store;
    alluvium_store_options options;
    OK(alluvium_store_options_init(&options));
    options.range.first = first;
    options.range.last = last;
    OK(alluvium_store_restore(engine, path, sources, count, &options, &store, ERROR));
    return store;
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    char whole[512], parts[2][512], again[512], name[32];
    snprintf(whole, sizeof whole, "%s/whole", argv[1]);
    snprintf(parts[0], sizeof parts[0], "%s/low", argv[1]);
    snprintf(parts[1], sizeof parts[1], "%s/high", argv[1]);
    snprintf(again, sizeof again, "%s/again", argv[1]);
    fixture made = set_up(whole, NULL);
    uint16_t values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
    for (uint32_t i = 0; i < KEYS; i++) {
        snprintf(name, sizeof name, "%u", i);
        put(made.writer, values, name, name);
    }
    checkpoint(made.store, 1);

    alluvium_source source = {whole, 1, 1}, halves[2] = {{parts[0], 0, 0}, {parts[1], 0, 0}};
    size_t found = 0;
    for (uint16_t half = 0; half < 2; half++) {
        alluvium_range range;
        uint32_t key_groups;
        alluvium_store store = restored(made.engine, parts[half], &source, 1, (uint16_t)(64 * half), (uint16_t)(64 * half + 63));
        OK(alluvium_store_key_groups(store, &range, &key_groups, ERROR));
        CHECK(range.first == 64 * half && range.last == 64 * half + 63 && key_groups == 128);
        alluvium_writer writer;
        OK(alluvium_writer_open(store, range, &writer, ERROR));
        alluvium_range held = {9, 9};
        OK(alluvium_writer_range(writer, &held, ERROR));
        CHECK(held.first == range.first && held.last == range.last);
        IS(ALLUVIUM_NULL, alluvium_writer_range(writer, NULL, ERROR));
        uint16_t state = state_of(store, "values", ALLUVIUM_KIND_VALUE, NULL);
        for (uint32_t i = 0; i < KEYS; i++) {
            uint16_t group;
            snprintf(name, sizeof name, "%u", i);
            OK(alluvium_store_group_of(store, text(name), &group, ERROR));
            if (group / 64 == half) {
                CHECK(has(writer, state, name, name));
                put(writer, state, name, half ? "high" : "low");
                found++;
            } else {
                alluvium_key key = by_hash(name);
                IS(ALLUVIUM_OUTSIDE_RANGE, alluvium_writer_delete(writer, state, &key, ERROR));
            }
        }
        checkpoint(store, 2);
        OK(alluvium_writer_close(writer, ERROR));
        OK(alluvium_store_close(store, ERROR));
    }
    CHECK(found == KEYS);

    alluvium_store one, none;
    alluvium_store_options options;
    OK(alluvium_store_options_init(&options));
    IS(ALLUVIUM_OPTIONS, alluvium_store_restore(made.engine, again, halves, 1, &options, &none, ERROR)); /* half of it is missing */
    one = restored(made.engine, again, halves, 2, 0, 127);
    alluvium_writer writer;
    OK(alluvium_writer_open(one, all_groups(), &writer, ERROR));
    uint16_t state = state_of(one, "values", ALLUVIUM_KIND_VALUE, NULL);
    for (uint32_t i = 0; i < KEYS; i++) {
        uint16_t group;
        snprintf(name, sizeof name, "%u", i);
        OK(alluvium_store_group_of(one, text(name), &group, ERROR));
        CHECK(has(writer, state, name, group < 64 ? "low" : "high"));
    }
    OK(alluvium_writer_close(writer, ERROR));
    OK(alluvium_store_close(one, ERROR));
    tear_down(&made);
    return 0;
}
