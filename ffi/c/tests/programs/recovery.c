/* Warming up: by the hot list, in a declared order, for keys that are about to be asked for; and how far that is. */
#include "check.h"
#include <stddef.h>

enum { KEYS = 500, LONG_VALUES = 64, TRIES = 50 };

static size_t pack(uint8_t *out, uint8_t operation, uint16_t state, const char *name) {
    size_t key = strlen(name);
    memset(out, 0, 16);
    out[0] = operation;
    out[1] = ALLUVIUM_OP_HASHED;
    put_u16(out + 2, state);
    put_u16(out + 6, (uint16_t)key);
    memcpy(out + 16, name, key);
    return 16 + key;
}

static alluvium_recovery progress(alluvium_store store) {
    alluvium_recovery recovery;
    OK(alluvium_store_recovery(store, &recovery, ERROR));
    return recovery;
}

static void reopen(fixture *made, const char *directory, const alluvium_store_options *options) {
    OK(alluvium_writer_close(made->writer, ERROR));
    OK(alluvium_store_close(made->store, ERROR));
    OK(alluvium_store_open(made->engine, directory, options, &made->store, ERROR));
    OK(alluvium_writer_open(made->store, all_groups(), &made->writer, ERROR));
}

/* Waits for the end of warming up, and says how many records it brought. */
static uint64_t warmed(alluvium_store store) {
    alluvium_recovery recovery = progress(store);
    while (recovery.stage != ALLUVIUM_RECOVERY_COMPLETE) {
        CHECK(recovery.stage == ALLUVIUM_RECOVERY_WARMING_UP);
        recovery = progress(store);
    }
    CHECK(recovery.remaining_us == 0 && recovery.elapsed_us > 0);
    return recovery.brought_records;
}

static void values_are_right(fixture *made, uint16_t values) {
    char name[32], value[32];
    for (uint32_t i = 0; i < KEYS; i++) {
        snprintf(name, sizeof name, "key %u", i);
        snprintf(value, sizeof value, "value %u", i);
        CHECK(has(made->writer, values, name, value));
    }
}

static void fill(uint8_t *value, size_t len, uint32_t number) {
    for (size_t at = 0; at < len; at++)
        value[at] = (uint8_t)(at * 31 + number);
}

/* Up to the bytes that the host says a changelog is replayed before its writer is there; of more, that goes on behind it. */
static void replayed_whole_or_on_demand(const char *directory) {
    static uint8_t value[64 << 10], found[64 << 10];
    char path[512], name[32];
    snprintf(path, sizeof path, "%s/replayed", directory);
    alluvium_store_options options;
    OK(alluvium_store_options_init(&options));
    CHECK(options.whole_replay_bytes == 64 << 20);
    options.durability = ALLUVIUM_DURABILITY_CHANGELOG;
    options.changelog_file_bytes = 1 << 20;
    /* Of a program that doesn't know the field: what is there is not looked at. */
    options.size = (uint32_t)offsetof(alluvium_store_options, whole_replay_bytes);
    options.whole_replay_bytes = 0;
    fixture made = set_up(path, &options);
    uint16_t values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
    for (uint32_t i = 0; i < LONG_VALUES; i++) {
        snprintf(name, sizeof name, "key %u", i);
        alluvium_key key = by_hash(name);
        fill(value, sizeof value, i);
        OK(alluvium_writer_put(made.writer, values, &key, bytes(value, sizeof value), ERROR));
    }
    OK(alluvium_writer_commit(made.writer, NULL, 0, NOTHING, NULL, ERROR));
    reopen(&made, path, &options);
    alluvium_recovery recovery = progress(made.store);
    CHECK(recovery.stage == ALLUVIUM_RECOVERY_COMPLETE && recovery.replay_bytes > sizeof value * LONG_VALUES);
    CHECK(recovery.replayed_bytes == recovery.replay_bytes);

    options.size = sizeof options;
    int went_on = 0;
    for (int tries = 0; tries < TRIES && !went_on; tries++) {
        reopen(&made, path, &options);
        went_on = progress(made.store).stage == ALLUVIUM_RECOVERY_REPLAYING;
    }
    CHECK(went_on);
    values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
    for (uint32_t i = 0; i < LONG_VALUES; i++) {
        size_t len = 0;
        snprintf(name, sizeof name, "key %u", i);
        alluvium_key key = by_hash(name);
        fill(value, sizeof value, i);
        OK(alluvium_writer_get(made.writer, values, &key, found, sizeof found, &len, ERROR));
        CHECK(len == sizeof value && memcmp(value, found, len) == 0);
    }
    tear_down(&made);
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    replayed_whole_or_on_demand(argv[1]);
    char warmed_up[512];
    snprintf(warmed_up, sizeof warmed_up, "%s/warmed", argv[1]);
    const char *directory = warmed_up;
    alluvium_store_options options;
    OK(alluvium_store_options_init(&options));
    CHECK(options.hot_list_bytes == 0 && options.warm_up == ALLUVIUM_WARM_UP_FITTING);
    options.hot_list_bytes = 1 << 20;
    options.warm_up = ALLUVIUM_WARM_UP_NOTHING;
    fixture made = set_up(directory, &options);
    CHECK(progress(made.store).stage == ALLUVIUM_RECOVERY_COMPLETE);
    uint16_t values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
    char name[32], value[32];
    for (uint32_t i = 0; i < KEYS; i++) {
        snprintf(name, sizeof name, "key %u", i);
        snprintf(value, sizeof value, "value %u", i);
        put(made.writer, values, name, value);
    }
    checkpoint(made.store, 1);

    /* For keys that are about to be asked for; what isn't a read is passed over. */
    reopen(&made, directory, &options);
    values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
    uint8_t *batch = malloc(64 * (KEYS + 1));
    size_t len = 0;
    for (uint32_t i = 0; i < KEYS; i++) {
        snprintf(name, sizeof name, "key %u", i);
        len += pack(batch + len, ALLUVIUM_OP_GET, values, name);
    }
    len += pack(batch + len, ALLUVIUM_OP_DELETE, values, "key 0");
    uint64_t taken = 0;
    OK(alluvium_store_warm(made.store, bytes(batch, len), &taken, ERROR));
    CHECK(taken == KEYS);
    while (progress(made.store).brought_records < KEYS) {
    }
    CHECK(progress(made.store).brought_bytes > KEYS * 10);
    values_are_right(&made, values);

    /* The same, and waited for. */
    reopen(&made, directory, &options);
    values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
    alluvium_warming warming;
    uint64_t brought = 0;
    uint32_t is_done = 0;
    OK(alluvium_store_warming(made.store, bytes(batch, len), &warming, ERROR));
    OK(alluvium_warming_keys(warming, &taken, ERROR));
    CHECK(taken == KEYS);
    OK(alluvium_warming_wait(warming, ERROR));
    OK(alluvium_warming_is_done(warming, &is_done, ERROR));
    OK(alluvium_warming_brought(warming, &brought, ERROR));
    CHECK(is_done == 1 && brought == KEYS && progress(made.store).brought_records == KEYS);
    IS(ALLUVIUM_HAS_CHILDREN, alluvium_store_close(made.store, ERROR));
    OK(alluvium_warming_close(warming, ERROR));
    IS(ALLUVIUM_HANDLE, alluvium_warming_wait(warming, ERROR));
    values_are_right(&made, values);
    /* What is there already is not brought once more, and of nothing all is done. */
    OK(alluvium_store_warming(made.store, bytes(batch, len), &warming, ERROR));
    OK(alluvium_warming_wait(warming, ERROR));
    OK(alluvium_warming_brought(warming, &brought, ERROR));
    CHECK(brought == 0);
    OK(alluvium_warming_close(warming, ERROR));
    OK(alluvium_store_warming(made.store, NOTHING, &warming, ERROR));
    OK(alluvium_warming_keys(warming, &taken, ERROR));
    OK(alluvium_warming_wait(warming, ERROR));
    CHECK(taken == 0);
    OK(alluvium_warming_close(warming, ERROR));
    IS(ALLUVIUM_ARGUMENT, alluvium_store_warming(made.store, bytes(batch, len - 1), &warming, ERROR));
    IS(ALLUVIUM_ARGUMENT, alluvium_store_warm(made.store, bytes(batch, len - 1), NULL, ERROR));
    len = pack(batch, ALLUVIUM_OP_GET, 9, "key 0");
    IS(ALLUVIUM_STATE, alluvium_store_warm(made.store, bytes(batch, len), NULL, ERROR));
    free(batch);

    /* All of it, as memory has room. */
    options.warm_up = ALLUVIUM_WARM_UP_FITTING;
    reopen(&made, directory, &options);
    values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
    CHECK(warmed(made.store) == KEYS);
    values_are_right(&made, values);

    /* In a declared order, and all there is. */
    alluvium_warm_part parts[2] = {{"values", 1, {0, 63}}, {NULL, 0, {0, 0}}};
    options.warm_up = ALLUVIUM_WARM_UP_DECLARED;
    options.warm_parts = parts;
    for (size_t count = 0; count <= 2; count++) {
        options.warm_parts_len = count;
        reopen(&made, directory, &options);
        values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
        brought = warmed(made.store);
        CHECK(count == 1 ? brought > 0 && brought < KEYS : brought == KEYS);
        values_are_right(&made, values);
    }

    /* By the hot list, which this checkpoint is followed by, if none was before. */
    checkpoint(made.store, 2);
    options.warm_up = ALLUVIUM_WARM_UP_HOTTEST;
    reopen(&made, directory, &options);
    values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
    warmed(made.store);
    values_are_right(&made, values);

    options.warm_up = 9;
    alluvium_store store;
    IS(ALLUVIUM_ARGUMENT, alluvium_store_open(made.engine, directory, &options, &store, ERROR));
    tear_down(&made);
    return 0;
}
