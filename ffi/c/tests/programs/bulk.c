/* Loads of sorted data. */
#include "check.h"

/* What becomes of the segments of loads. */
static struct {
    char begun[64], abandoned[64];
    int whole, given_up, released;
} seen;

static void take(void *context, const char *name, uint64_t offset, const uint8_t *data, size_t len) {
    (void)data;
    CHECK(context == &seen && len > 0);
    if (offset == 0)
        snprintf(seen.begun, sizeof seen.begun, "%s", name);
}

static void is_whole(void *context, const char *name, uint64_t len) {
    CHECK(context == &seen && strcmp(name, seen.begun) == 0 && len > 0);
    seen.whole++;
}

static void is_abandoned(void *context, const char *name) {
    CHECK(context == &seen);
    snprintf(seen.abandoned, sizeof seen.abandoned, "%s", name);
    seen.given_up++;
}

static void let_go(void *context) {
    CHECK(context == &seen);
    seen.released++;
}

/* What is loaded expires by the clock that the load had then. */
static void by_its_clock(fixture *made) {
    uint16_t values = expiring(made->store, "expiring", ALLUVIUM_KIND_VALUE, 100);
    alluvium_key early = {3, text("1 early"), NOTHING}, late = {3, text("2 later"), NOTHING};
    alluvium_bulk_load load;
    uint8_t memory[8];
    size_t len;
    OK(alluvium_bulk_begin(made->store, 2, &load, ERROR));
    OK(alluvium_bulk_set_time(load, 1000, ERROR));
    OK(alluvium_bulk_put(load, values, &early, text("v"), ERROR));
    OK(alluvium_bulk_set_time(load, 2000, ERROR));
    OK(alluvium_bulk_put(load, values, &late, text("v"), ERROR));
    OK(alluvium_bulk_finish(load, ERROR));
    IS(ALLUVIUM_HANDLE, alluvium_bulk_set_time(load, 3000, ERROR));
    static const struct {
        uint64_t now_ms;
        alluvium_status early, late;
    } moments[] = {
        {1099, ALLUVIUM_OK, ALLUVIUM_OK},
        {1101, ALLUVIUM_NOT_FOUND, ALLUVIUM_OK},
        {2099, ALLUVIUM_NOT_FOUND, ALLUVIUM_OK},
        {2101, ALLUVIUM_NOT_FOUND, ALLUVIUM_NOT_FOUND},
    };
    for (size_t i = 0; i < sizeof moments / sizeof *moments; i++) {
        OK(alluvium_writer_set_time(made->writer, moments[i].now_ms, ERROR));
        IS(moments[i].early, alluvium_writer_get(made->writer, values, &early, memory, sizeof memory, &len, ERROR));
        IS(moments[i].late, alluvium_writer_get(made->writer, values, &late, memory, sizeof memory, &len, ERROR));
    }
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    alluvium_segment_sink sink = {.context = &seen, .write = take, .complete = is_whole, .abandon = is_abandoned, .release = let_go};
    alluvium_store_options options;
    OK(alluvium_store_options_init(&options));
    options.sink = &sink;
    fixture made = set_up(argv[1], &options);
    uint16_t values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
    uint16_t lists = state_of(made.store, "lists", ALLUVIUM_KIND_LIST, NULL);
    uint16_t maps = state_of(made.store, "maps", ALLUVIUM_KIND_MAP, NULL);
    alluvium_bulk_load load;
    char name[32];
    uint8_t memory[64];
    size_t len;
    OK(alluvium_bulk_begin(made.store, 1000, &load, ERROR));
    IS(ALLUVIUM_HAS_CHILDREN, alluvium_store_close(made.store, ERROR));
    for (uint32_t i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "%04u", i);
        alluvium_key key = {3, text(name), NOTHING};
        OK(alluvium_bulk_put(load, values, &key, text(name), ERROR));
    }
    alluvium_slice elements[] = {{(const uint8_t *)"a", 1}, {(const uint8_t *)"b", 1}};
    alluvium_key key = {4, text("list"), NOTHING}, map = {5, text("map"), NOTHING};
    OK(alluvium_bulk_put_list(load, lists, &key, elements, 2, ERROR));
    OK(alluvium_bulk_map_put(load, maps, &map, text("u1"), text("v1"), ERROR));
    OK(alluvium_bulk_map_put(load, maps, &map, text("u2"), text("v2"), ERROR));
    alluvium_status unsorted = alluvium_bulk_map_put(load, maps, &map, text("u1"), text("v1"), ERROR);
    CHECK(unsorted < 0);
    forget_error();
    alluvium_key first = {3, text("0007"), NOTHING};
    IS(ALLUVIUM_NOT_FOUND, alluvium_writer_get(made.writer, values, &first, memory, sizeof memory, &len, ERROR));
    OK(alluvium_bulk_finish(load, ERROR));
    IS(ALLUVIUM_HANDLE, alluvium_bulk_finish(load, ERROR));
    CHECK(seen.whole == 1 && seen.given_up == 0);
    OK(alluvium_writer_get(made.writer, values, &first, memory, sizeof memory, &len, ERROR));
    CHECK(same(bytes(memory, len), "0007"));
    OK(alluvium_writer_map_contains(made.writer, maps, &map, text("u2"), ERROR));

    /* What is there already is not loaded over, and what is abandoned not at all. */
    OK(alluvium_bulk_begin(made.store, 1, &load, ERROR));
    OK(alluvium_bulk_put(load, values, &first, text("other"), ERROR));
    IS(ALLUVIUM_STATE, alluvium_bulk_finish(load, ERROR));
    OK(alluvium_bulk_begin(made.store, 1, &load, ERROR));
    alluvium_key elsewhere = {9, text("x"), NOTHING};
    OK(alluvium_bulk_put(load, values, &elsewhere, text("x"), ERROR));
    int whole = seen.whole;
    CHECK(seen.given_up == 0);
    OK(alluvium_bulk_abandon(load, ERROR));
    /* Its segment will never be whole, and whoever has the beginning of it is told. */
    CHECK(seen.whole == whole && seen.given_up == 1 && strcmp(seen.abandoned, seen.begun) == 0);
    IS(ALLUVIUM_NOT_FOUND, alluvium_writer_get(made.writer, values, &elsewhere, memory, sizeof memory, &len, ERROR));
    by_its_clock(&made);
    whole = seen.whole;
    tear_down(&made);
    CHECK(seen.whole == whole && seen.given_up == 1 && seen.released == 1);
    return 0;
}
