/* Migrating a state to another schema, also across a restart in the middle. */
#include "check.h"

static int32_t widen(void *context, alluvium_slice old, alluvium_output output) {
    ++*(size_t *)context;
    if (old.len != 1)
        return 7;
    output.write(output.context, old.data, 1);
    output.write(output.context, (const uint8_t *)"!", 1);
    return 0;
}

/* Waits for what a migration comes to: while it is under way, one segment is to be rewritten. */
static void migration_comes_to(alluvium_status wanted, alluvium_store store, uint16_t values) {
    alluvium_status status = ALLUVIUM_OK;
    for (int tries = 0; status == ALLUVIUM_OK && tries < 10000; tries++) {
        uint64_t segments = 0, segment_bytes = 0;
        settle(store);
        forget_error();
        status = alluvium_store_migration(store, values, &segments, &segment_bytes, ERROR);
        CHECK(status == ALLUVIUM_NOT_FOUND || (segments == 1 && segment_bytes > 0));
    }
    IS(wanted, status);
}

/* What can be converted is rewritten, and then no migration is under way any more. */
static void converts_all(const char *directory) {
    static size_t calls;
    char path[512];
    snprintf(path, sizeof path, "%s/converted", directory);
    fixture made = set_up(path, NULL);
    uint16_t values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
    put(made.writer, values, "JFK", "1");
    checkpoint(made.store, 1);
    IS(ALLUVIUM_NOT_FOUND, alluvium_store_migration(made.store, values, NULL, NULL, ERROR));
    alluvium_conversion conversion = {"widen", widen, &calls, NULL};
    OK(alluvium_store_migrate(made.store, values, text("schema 2"), &conversion, ERROR));
    OK(alluvium_store_compact(made.store, ERROR));
    migration_comes_to(ALLUVIUM_NOT_FOUND, made.store, values);
    CHECK(calls > 0 && has(made.writer, values, "JFK", "1!"));
    tear_down(&made);
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    static size_t calls;
    converts_all(argv[1]);
    char path[512];
    snprintf(path, sizeof path, "%s/store", argv[1]);
    fixture made = set_up(path, NULL);
    uint16_t values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
    put(made.writer, values, "JFK", "1");
    put(made.writer, values, "long", "no value of the old schema");
    checkpoint(made.store, 1);
    alluvium_conversion conversion = {"widen", widen, &calls, NULL};
    OK(alluvium_store_migrate(made.store, values, text("schema 2"), &conversion, ERROR));
    CHECK(has(made.writer, values, "JFK", "1!"));
    alluvium_key wrong = by_hash("long");
    uint8_t memory[64];
    size_t len;
    IS(ALLUVIUM_CONVERSION, alluvium_writer_get(made.writer, values, &wrong, memory, sizeof memory, &len, ERROR));
    put(made.writer, values, "SEA", "new");
    checkpoint(made.store, 2);
    migration_comes_to(ALLUVIUM_CONVERSION, made.store, values);
    tear_down(&made);
    CHECK(calls > 0);

    /* Without the conversion the old values can't be read; with it they can. */
    for (int with = 0; with < 2; with++) {
        made.engine = small_engine();
        OK(alluvium_store_open(made.engine, path, NULL, &made.store, ERROR));
        OK(alluvium_writer_open(made.store, all_groups(), &made.writer, ERROR));
        alluvium_state_options options;
        OK(alluvium_state_options_init(&options));
        options.name = "values";
        options.conversions = &conversion;
        options.conversions_len = (size_t)with;
        OK(alluvium_store_state(made.store, &options, &values, ERROR));
        CHECK(has(made.writer, values, "SEA", "new"));
        alluvium_key old = by_hash("JFK");
        IS(with ? ALLUVIUM_OK : ALLUVIUM_CONVERSION, alluvium_writer_get(made.writer, values, &old, memory, sizeof memory, &len, ERROR));
        CHECK(!with || same(bytes(memory, len), "1!"));
        alluvium_buffer name, schema;
        alluvium_slice data;
        OK(alluvium_buffer_new(&name, ERROR));
        OK(alluvium_buffer_new(&schema, ERROR));
        OK(alluvium_store_describe(made.store, values, NULL, name, schema, ERROR));
        OK(alluvium_buffer_data(schema, &data, NULL));
        CHECK(same(data, "schema 2"));
        OK(alluvium_buffer_free(name));
        OK(alluvium_buffer_free(schema));
        tear_down(&made);
    }
    return 0;
}
