/* Values and merging states: put, get, update, delete, merge, expiry, namespaces. */
#include "check.h"

static int32_t add_one(void *context, size_t index, alluvium_slice old, alluvium_slice *value) {
    uint64_t *count = context;
    (void)index;
    *count = old.data == NULL ? 1 : u64_at(old.data) + 1;
    *value = bytes(count, sizeof *count);
    return ALLUVIUM_PUT;
}

/* Gives a part of what it was given back, from the first byte on or from the second. */
static int32_t give_back(void *context, size_t index, alluvium_slice old, alluvium_slice *value) {
    size_t from = *(size_t *)context;
    (void)index;
    *value = bytes(old.data + from, old.len - from);
    return ALLUVIUM_PUT;
}

/* A value where it lies: how long it is, and where. */
static void look(void *context, alluvium_slice value) { *(alluvium_slice *)context = value; }

static int32_t say(void *context, size_t index, alluvium_slice old, alluvium_slice *value) {
    (void)index, (void)old, (void)value;
    return *(int32_t *)context;
}

static void join(void *context, alluvium_slice older, alluvium_slice newer, alluvium_output output) {
    ++*(size_t *)context;
    output.write(output.context, older.data, older.len);
    output.write(output.context, (const uint8_t *)"+", 1);
    output.write(output.context, newer.data, newer.len);
}

static int contains(alluvium_slice slice, const char *expected) {
    size_t len = strlen(expected);
    for (size_t at = 0; at + len <= slice.len; at++)
        if (memcmp(slice.data + at, expected, len) == 0)
            return 1;
    return 0;
}

static void let_go(void *context) { *(size_t *)context += 1000; }

int main(int argc, char **argv) {
    CHECK(argc == 2);
    CHECK(alluvium_check_abi(ALLUVIUM_ABI_VERSION) == ALLUVIUM_OK);
    CHECK(alluvium_check_abi(ALLUVIUM_ABI_VERSION + 1) == ALLUVIUM_ABI);
    CHECK(strlen(alluvium_version()) >= 5);
    fixture made = set_up(argv[1], NULL);
    alluvium_writer writer = made.writer;
    uint16_t values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);

    /* What is there, what isn't, and what doesn't fit. */
    uint8_t memory[8];
    size_t len = 99;
    alluvium_key key = by_hash("JFK");
    IS(ALLUVIUM_NOT_FOUND, alluvium_writer_get(writer, values, &key, memory, sizeof memory, &len, ERROR));
    CHECK(len == 0);
    OK(alluvium_writer_put(writer, values, &key, text("Kennedy"), ERROR));
    CHECK(has(writer, values, "JFK", "Kennedy"));
    IS(ALLUVIUM_TOO_SMALL, alluvium_writer_get(writer, values, &key, memory, 6, &len, ERROR));
    CHECK(len == 7);
    IS(ALLUVIUM_TOO_SMALL, alluvium_writer_get(writer, values, &key, NULL, 0, &len, ERROR));
    CHECK(len == 7);
    OK(alluvium_writer_put(writer, values, &key, NOTHING, ERROR));
    OK(alluvium_writer_get(writer, values, &key, NULL, 0, &len, ERROR));
    CHECK(len == 0);

    /* Where it lies. */
    alluvium_slice seen = {NULL, 99};
    OK(alluvium_writer_delete(writer, values, &key, ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_writer_read(writer, values, &key, look, &seen, ERROR));
    CHECK(seen.len == 99);
    OK(alluvium_writer_put(writer, values, &key, text("Kennedy"), ERROR));
    OK(alluvium_writer_read(writer, values, &key, look, &seen, ERROR));
    CHECK(seen.len == 7 && seen.data != NULL);
    IS(ALLUVIUM_NULL, alluvium_writer_read(writer, values, &key, NULL, &seen, ERROR));

    /* What a callback gives may be of what it was given. */
    size_t from = 0;
    OK(alluvium_writer_put(writer, values, &key, text("a long name of an airport, longer than others"), ERROR));
    OK(alluvium_writer_update(writer, values, &key, give_back, &from, ERROR));
    CHECK(has(writer, values, "JFK", "a long name of an airport, longer than others"));
    from = 2;
    OK(alluvium_writer_update(writer, values, &key, give_back, &from, ERROR));
    CHECK(has(writer, values, "JFK", "long name of an airport, longer than others"));
    OK(alluvium_writer_update_many(writer, values, &key, 1, give_back, &from, ERROR));
    CHECK(has(writer, values, "JFK", "ng name of an airport, longer than others"));
    from = strlen("ng name of an airport, longer than others") - 8;
    OK(alluvium_writer_update(writer, values, &key, give_back, &from, ERROR));
    CHECK(has(writer, values, "JFK", "n others"));
    from = 0;
    OK(alluvium_writer_update(writer, values, &key, give_back, &from, ERROR));
    OK(alluvium_writer_update_many(writer, values, &key, 1, give_back, &from, ERROR));
    CHECK(has(writer, values, "JFK", "n others"));
    from = 3;
    OK(alluvium_writer_update(writer, values, &key, give_back, &from, ERROR));
    CHECK(has(writer, values, "JFK", "thers"));

    /* Into a buffer, however long. */
    alluvium_buffer buffer;
    alluvium_slice data;
    size_t records = 0;
    uint8_t *large = malloc(1000000);
    memset(large, 7, 1000000);
    OK(alluvium_buffer_new(&buffer, ERROR));
    OK(alluvium_writer_put(writer, values, &key, bytes(large, 1000000), ERROR));
    OK(alluvium_writer_get_buffer(writer, values, &key, buffer, ERROR));
    OK(alluvium_buffer_data(buffer, &data, &records));
    CHECK(data.len == 1000000 && records == 1 && memcmp(data.data, large, data.len) == 0);
    free(large);
    OK(alluvium_writer_delete(writer, values, &key, ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_writer_get_buffer(writer, values, &key, buffer, ERROR));
    OK(alluvium_buffer_data(buffer, &data, &records));
    CHECK(data.len == 0 && records == 0);

    /* Namespaces and key groups of the caller's own. */
    alluvium_key in_group = {17, text("JFK"), text("window 1")};
    OK(alluvium_writer_put(writer, values, &in_group, text("1"), ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_writer_get(writer, values, &key, memory, sizeof memory, &len, ERROR));
    OK(alluvium_writer_get(writer, values, &in_group, memory, sizeof memory, &len, ERROR));
    CHECK(same(bytes(memory, len), "1"));
    in_group.group = 128;
    IS(ALLUVIUM_OUTSIDE_RANGE, alluvium_writer_put(writer, values, &in_group, text("1"), ERROR));
    in_group.group = 65536;
    IS(ALLUVIUM_ARGUMENT, alluvium_writer_put(writer, values, &in_group, text("1"), ERROR));

    /* Updates: the callback sees what is there, and says what becomes of it. */
    uint64_t count = 0;
    for (uint64_t i = 1; i <= 1000; i++) {
        OK(alluvium_writer_update(writer, values, &key, add_one, &count, ERROR));
        CHECK(count == i);
    }
    int32_t keep = ALLUVIUM_KEEP, delete = ALLUVIUM_DELETE, nonsense = 42;
    OK(alluvium_writer_update(writer, values, &key, say, &keep, ERROR));
    OK(alluvium_writer_get(writer, values, &key, memory, sizeof memory, &len, ERROR));
    CHECK(len == 8 && u64_at(memory) == 1000);
    IS(ALLUVIUM_ARGUMENT, alluvium_writer_update(writer, values, &key, say, &nonsense, ERROR));
    OK(alluvium_writer_get(writer, values, &key, memory, sizeof memory, &len, ERROR));
    CHECK(len == 8 && u64_at(memory) == 1000);
    OK(alluvium_writer_update(writer, values, &key, say, &delete, ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_writer_get(writer, values, &key, memory, sizeof memory, &len, ERROR));
    OK(alluvium_writer_update(writer, values, &key, say, &keep, ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_writer_get(writer, values, &key, memory, sizeof memory, &len, ERROR));

    /* Operands that are merged: by a built-in operator, and by the host's own. */
    uint16_t sums = state_of(made.store, "sums", ALLUVIUM_KIND_MERGING, "u64-add");
    for (uint64_t i = 1; i <= 100; i++) {
        uint8_t operand[8];
        put_u64(operand, i);
        OK(alluvium_writer_merge(writer, sums, &key, bytes(operand, 8), ERROR));
        if (i == 50)
            checkpoint(made.store, 1);
    }
    OK(alluvium_writer_get(writer, sums, &key, memory, sizeof memory, &len, ERROR));
    CHECK(len == 8 && u64_at(memory) == 5050);
    size_t calls = 0;
    uint16_t joined;
    alluvium_state_options options;
    OK(alluvium_state_options_init(&options));
    options.name = "joined";
    options.kind = ALLUVIUM_KIND_MERGING;
    options.merge_name = "join";
    options.merge = join;
    options.merge_context = &calls;
    options.merge_release = let_go;
    OK(alluvium_store_state(made.store, &options, &joined, ERROR));
    OK(alluvium_writer_merge(writer, joined, &key, text("a"), ERROR));
    OK(alluvium_writer_merge(writer, joined, &key, text("b"), ERROR));
    OK(alluvium_writer_merge(writer, joined, &key, text("c"), ERROR));
    CHECK(has(writer, joined, "JFK", "a+b+c"));
    CHECK(calls >= 2 && calls < 1000);

    /* Contexts are let go also where the state is refused, or has no use for them. */
    size_t refused = 0, unused = 0;
    options.merge_context = &refused;
    options.merge_name = "u64-add";
    IS(ALLUVIUM_STATE, alluvium_store_state(made.store, &options, &joined, ERROR)); /* another operator than it has */
    CHECK(refused == 1000);
    options.merge_context = &unused;
    options.kind = ALLUVIUM_KIND_VALUE;
    options.name = NULL;
    IS(ALLUVIUM_NULL, alluvium_store_state(made.store, &options, &joined, ERROR));
    CHECK(unused == 1000);

    /* Time to live, by the caller's clock. */
    uint16_t expiring;
    OK(alluvium_state_options_init(&options));
    options.name = "expiring";
    options.ttl_ms = 10;
    OK(alluvium_store_state(made.store, &options, &expiring, ERROR));
    OK(alluvium_writer_set_time(writer, 100, ERROR));
    OK(alluvium_writer_put(writer, expiring, &key, text("soon"), ERROR));
    OK(alluvium_writer_set_time(writer, 109, ERROR));
    CHECK(has(writer, expiring, "JFK", "soon"));
    OK(alluvium_writer_set_time(writer, 110, ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_writer_get(writer, expiring, &key, memory, sizeof memory, &len, ERROR));

    /* What states there are, and what was counted. */
    size_t states = 0;
    uint32_t kind = 99;
    alluvium_buffer schema;
    OK(alluvium_buffer_new(&schema, ERROR));
    OK(alluvium_store_states(made.store, &states, ERROR));
    CHECK(states == 4);
    OK(alluvium_store_describe(made.store, sums, &kind, buffer, schema, ERROR));
    OK(alluvium_buffer_data(buffer, &data, NULL));
    CHECK(kind == ALLUVIUM_KIND_MERGING && same(data, "sums"));
    IS(ALLUVIUM_NOT_FOUND, alluvium_store_describe(made.store, 4, &kind, buffer, schema, ERROR));
    alluvium_slice operator_name;
    OK(alluvium_store_operator(made.store, sums, buffer, ERROR));
    OK(alluvium_buffer_data(buffer, &operator_name, NULL));
    CHECK(same(operator_name, "u64-add"));
    OK(alluvium_store_operator(made.store, joined, buffer, ERROR));
    OK(alluvium_buffer_data(buffer, &operator_name, NULL));
    CHECK(same(operator_name, "join"));
    IS(ALLUVIUM_NOT_FOUND, alluvium_store_operator(made.store, values, buffer, ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_store_operator(made.store, 99, buffer, ERROR));
    IS(ALLUVIUM_HANDLE, alluvium_store_operator(made.store, sums, (alluvium_buffer){0}, ERROR));
    OK(alluvium_store_metrics(made.store, buffer, ERROR));
    OK(alluvium_buffer_data(buffer, &data, NULL));
    CHECK(data.len > 100 && memchr(data.data, '\n', data.len) != NULL);
    alluvium_label labels[] = {{"job", "3"}, {"operator", "a \"window\""}};
    OK(alluvium_store_metrics_labelled(made.store, labels, 2, buffer, ERROR));
    OK(alluvium_buffer_data(buffer, &data, NULL));
    CHECK(contains(data, "alluvium_checkpoints_total{job=\"3\",operator=\"a \\\"window\\\"\"} "));
    labels[0].name = "3 jobs";
    IS(ALLUVIUM_ARGUMENT, alluvium_store_metrics_labelled(made.store, labels, 2, buffer, ERROR));
    labels[0].name = NULL;
    IS(ALLUVIUM_NULL, alluvium_store_metrics_labelled(made.store, labels, 1, buffer, ERROR));
    IS(ALLUVIUM_NULL, alluvium_store_metrics_labelled(made.store, NULL, 1, buffer, ERROR));

    /* When values expire. */
    uint64_t ttl_ms, purge_ms;
    uint32_t refreshes, purge_time_at;
    alluvium_state_options timed;
    uint16_t timed_state;
    OK(alluvium_state_options_init(&timed));
    timed.name = "sessions";
    timed.ttl_ms = 5000;
    timed.ttl_refresh_on_read = 1;
    OK(alluvium_store_state(made.store, &timed, &timed_state, ERROR));
    OK(alluvium_store_expiry(made.store, timed_state, &ttl_ms, &refreshes, &purge_ms, &purge_time_at, ERROR));
    CHECK(ttl_ms == 5000 && refreshes == 1 && purge_ms == 0 && purge_time_at == 0);
    timed.name = "purged";
    timed.ttl_ms = 0;
    timed.purge_ms = 6000;
    timed.purge_time_at = 8;
    OK(alluvium_store_state(made.store, &timed, &timed_state, ERROR));
    OK(alluvium_store_expiry(made.store, timed_state, &ttl_ms, NULL, &purge_ms, &purge_time_at, ERROR));
    CHECK(ttl_ms == 0 && purge_ms == 6000 && purge_time_at == 8);
    OK(alluvium_store_expiry(made.store, values, &ttl_ms, NULL, &purge_ms, NULL, ERROR));
    CHECK(ttl_ms == 0 && purge_ms == 0);
    IS(ALLUVIUM_NOT_FOUND, alluvium_store_expiry(made.store, 99, NULL, NULL, NULL, NULL, ERROR));
    OK(alluvium_buffer_free(schema));
    OK(alluvium_buffer_free(buffer));
    tear_down(&made);
    CHECK(calls >= 1000 && calls < 2000); /* The context was let go, once. */
    return 0;
}
