/* The memory budget, and its parts. */
#include "check.h"

int main(int argc, char **argv) {
    CHECK(argc == 2);
    alluvium_engine engine;
    alluvium_engine_options options;
    OK(alluvium_engine_options_init(&options));
    options.memory_budget_bytes = 16 << 20;
    options.memory_ceiling_bytes = 64 << 20;
    options.threads = 1;
    options.storage = ALLUVIUM_STORAGE_POSIX;
    OK(alluvium_engine_open(&options, &engine, ERROR));
    uint64_t budget = 0, used = 0;
    OK(alluvium_engine_memory(engine, &budget, &used, ERROR));
    CHECK(budget == 16 << 20 && used > 0 && used < budget);
    OK(alluvium_engine_set_budget(engine, 48 << 20, ERROR));
    OK(alluvium_engine_memory(engine, &budget, NULL, ERROR));
    CHECK(budget == 48 << 20);
    IS(ALLUVIUM_OPTIONS, alluvium_engine_set_budget(engine, 65 << 20, ERROR));

    alluvium_share share, too_much;
    OK(alluvium_share_open(engine, 8 << 20, 12 << 20, &share, ERROR));
    IS(ALLUVIUM_OPTIONS, alluvium_share_open(engine, 48 << 20, 48 << 20, &too_much, ERROR));
    alluvium_store store;
    alluvium_writer writer;
    alluvium_store_options store_options;
    OK(alluvium_store_options_init(&store_options));
    store_options.share.id = engine.id; /* none, as it is of another kind */
    IS(ALLUVIUM_HANDLE, alluvium_store_create(engine, argv[1], &store_options, &store, ERROR));
    store_options.share = share;
    store_options.memory_minimum_bytes = 1 << 20;
    OK(alluvium_store_create(engine, argv[1], &store_options, &store, ERROR));
    OK(alluvium_writer_open(store, all_groups(), &writer, ERROR));
    uint16_t values = state_of(store, "values", ALLUVIUM_KIND_VALUE, NULL);
    uint8_t *large = calloc(1, 100000);
    char name[32];
    for (uint32_t i = 0; i < 400; i++) { /* three times the share: the rest goes to disk */
        snprintf(name, sizeof name, "%u", i);
        alluvium_key key = by_hash(name);
        put_u32(large, i);
        OK(alluvium_writer_put(writer, values, &key, bytes(large, 100000), ERROR));
        OK(alluvium_share_used(share, &used, ERROR));
        CHECK(used <= (12 << 20) + (1 << 20));
    }
    OK(alluvium_share_set_limit(share, 10 << 20, ERROR));
    alluvium_buffer buffer;
    alluvium_slice data;
    OK(alluvium_buffer_new(&buffer, ERROR));
    for (uint32_t i = 0; i < 400; i++) {
        snprintf(name, sizeof name, "%u", i);
        alluvium_key key = by_hash(name);
        OK(alluvium_writer_get_buffer(writer, values, &key, buffer, ERROR));
        OK(alluvium_buffer_data(buffer, &data, NULL));
        CHECK(data.len == 100000 && u32_at(data.data) == i);
    }
    free(large);
    OK(alluvium_buffer_free(buffer));
    IS(ALLUVIUM_HAS_CHILDREN, alluvium_engine_close(engine, ERROR));
    OK(alluvium_writer_close(writer, ERROR));
    OK(alluvium_store_close(store, ERROR));
    IS(ALLUVIUM_HAS_CHILDREN, alluvium_engine_close(engine, ERROR));
    OK(alluvium_share_close(share, ERROR));
    OK(alluvium_engine_close(engine, ERROR));
    IS(ALLUVIUM_HANDLE, alluvium_engine_close(engine, ERROR));

    /* Options of another version of the library. */
    options.size = sizeof options + 8;
    IS(ALLUVIUM_ABI, alluvium_engine_open(&options, &engine, ERROR));
    options.size = 4;
    IS(ALLUVIUM_ABI, alluvium_engine_open(&options, &engine, ERROR));
    options.size = sizeof options - 4; /* a field that is cut through */
    IS(ALLUVIUM_ABI, alluvium_engine_open(&options, &engine, ERROR));
    alluvium_segment_sink sink = {0};
    OK(alluvium_store_options_init(&store_options));
    store_options.sink = &sink;
    store_options.size = offsetof(alluvium_store_options, sink) + 4;
    IS(ALLUVIUM_ABI, alluvium_store_create(engine, argv[1], &store_options, &store, ERROR));
    OK(alluvium_engine_options_init(&options));
    options.memory_budget_bytes = 1;
    IS(ALLUVIUM_OPTIONS, alluvium_engine_open(&options, &engine, ERROR));
    options.memory_budget_bytes = 16 << 20;
    options.storage = 9;
    IS(ALLUVIUM_ARGUMENT, alluvium_engine_open(&options, &engine, ERROR));

    /* Closing says whether the threads have ended. */
    engine = small_engine();
    OK(alluvium_share_open(engine, 0, 4 << 20, &share, ERROR));
    uint32_t ended = 9;
    IS(ALLUVIUM_HAS_CHILDREN, alluvium_engine_close_within(engine, 1, &ended, ERROR));
    CHECK(ended == 9);
    OK(alluvium_share_close(share, ERROR));
    OK(alluvium_engine_close_within(engine, UINT64_MAX, &ended, ERROR));
    CHECK(ended == 1);
    IS(ALLUVIUM_HANDLE, alluvium_engine_close_within(engine, 0, &ended, ERROR));
    engine = small_engine();
    OK(alluvium_engine_close_within(engine, 0, NULL, ERROR));
    return 0;
}
