/* Options of engines and stores: each changes what it says, and nothing else. */
#include "check.h"

enum { KEYS = 1000, VALUE_BYTES = 1000 };

static void at(char *path, size_t capacity, const char *directory, const char *name) {
    CHECK((size_t)snprintf(path, capacity, "%s/%s", directory, name) < capacity);
}

static alluvium_engine engine_with(uint32_t storage, uint32_t direct_io) {
    alluvium_engine engine;
    alluvium_engine_options options;
    OK(alluvium_engine_options_init(&options));
    options.memory_budget_bytes = 16 << 20;
    options.storage = storage;
    options.direct_io = direct_io;
    OK(alluvium_engine_open(&options, &engine, ERROR));
    return engine;
}

static alluvium_store_options usual(void) {
    alluvium_store_options options;
    OK(alluvium_store_options_init(&options));
    return options;
}

/* What a store counted. */
static uint64_t counted(alluvium_store store, const char *name) {
    char line[128];
    alluvium_buffer buffer;
    alluvium_slice data;
    snprintf(line, sizeof line, "\n%s ", name);
    OK(alluvium_buffer_new(&buffer, ERROR));
    OK(alluvium_store_metrics(store, buffer, ERROR));
    OK(alluvium_buffer_data(buffer, &data, NULL));
    char *all = malloc(data.len + 1);
    memcpy(all, data.data, data.len);
    all[data.len] = 0;
    char *found = strstr(all, line);
    CHECK(found != NULL);
    uint64_t number = strtoull(found + strlen(line), NULL, 10);
    free(all);
    OK(alluvium_buffer_free(buffer));
    return number;
}

/* Many values that are alike, each with its number in front. */
static void fill(alluvium_writer writer, uint16_t values) {
    uint8_t value[VALUE_BYTES];
    char name[32];
    memset(value, 'x', sizeof value);
    for (uint32_t i = 0; i < KEYS; i++) {
        snprintf(name, sizeof name, "%u", i);
        alluvium_key key = by_hash(name);
        put_u32(value, i);
        OK(alluvium_writer_put(writer, values, &key, bytes(value, sizeof value), ERROR));
    }
}

static void are_there(alluvium_writer writer, uint16_t values) {
    uint8_t value[VALUE_BYTES];
    size_t len;
    char name[32];
    for (uint32_t i = 0; i < KEYS; i++) {
        snprintf(name, sizeof name, "%u", i);
        alluvium_key key = by_hash(name);
        OK(alluvium_writer_get(writer, values, &key, value, sizeof value, &len, ERROR));
        CHECK(len == VALUE_BYTES && u32_at(value) == i && value[4] == 'x' && value[VALUE_BYTES - 1] == 'x');
    }
}

/* Fills a store of this engine, and finds everything again when it is opened once more; the bytes that its checkpoint wrote. */
static uint64_t come_back(alluvium_engine engine, const char *path, const alluvium_store_options *options) {
    fixture made = {.engine = engine};
    alluvium_barrier barrier = {.size = sizeof barrier, .label = 1};
    alluvium_numbers numbers = {.size = sizeof numbers};
    alluvium_pending pending;
    alluvium_info info;
    OK(alluvium_store_create(engine, path, options, &made.store, ERROR));
    OK(alluvium_writer_open(made.store, all_groups(), &made.writer, ERROR));
    fill(made.writer, state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL));
    OK(alluvium_store_barrier(made.store, &barrier, &pending, ERROR));
    OK(alluvium_pending_wait(pending, &info, ERROR));
    OK(alluvium_info_numbers(info, &numbers, ERROR));
    OK(alluvium_info_close(info, ERROR));
    OK(alluvium_pending_close(pending, ERROR));
    OK(alluvium_writer_close(made.writer, ERROR));
    OK(alluvium_store_close(made.store, ERROR));

    OK(alluvium_store_open(engine, path, options, &made.store, ERROR));
    OK(alluvium_writer_open(made.store, all_groups(), &made.writer, ERROR));
    are_there(made.writer, state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL));
    tear_down(&made);
    return numbers.new_bytes;
}

/* io_uring where the machine has it, for whoever leaves the choice; who asks for it and nothing else is told where it isn't there. */
static void storage(const char *directory) {
    static const uint32_t direct_io[] = {ALLUVIUM_DIRECT_IO_OFF, ALLUVIUM_DIRECT_IO_ALL, ALLUVIUM_DIRECT_IO_BUT_SINGLE_READS};
    char path[512], name[32];
    alluvium_store store;
    alluvium_engine engine = engine_with(ALLUVIUM_STORAGE_AUTO, ALLUVIUM_DIRECT_IO_OFF);
    at(path, sizeof path, directory, "auto");
    OK(alluvium_store_create(engine, path, NULL, &store, ERROR));
    uint64_t denied = counted(store, "alluvium_io_uring_fallbacks_total");
    CHECK(denied <= 1);
    OK(alluvium_store_close(store, ERROR));
    OK(alluvium_engine_close(engine, ERROR));

    for (uint32_t i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "posix %u", i);
        at(path, sizeof path, directory, name);
        come_back(engine_with(ALLUVIUM_STORAGE_POSIX, direct_io[i]), path, NULL);
        snprintf(name, sizeof name, "io_uring %u", i);
        at(path, sizeof path, directory, name);
        engine = engine_with(ALLUVIUM_STORAGE_IO_URING, direct_io[i]);
        if (denied == 0) {
            come_back(engine, path, NULL);
        } else {
            IS(ALLUVIUM_IO, alluvium_store_create(engine, path, NULL, &store, ERROR));
            OK(alluvium_engine_close(engine, ERROR));
        }
    }

    alluvium_engine_options options;
    OK(alluvium_engine_options_init(&options));
    options.direct_io = 3;
    IS(ALLUVIUM_ARGUMENT, alluvium_engine_open(&options, &engine, ERROR));
}

static void compression(const char *directory) {
    char path[512];
    alluvium_store_options options = usual();
    CHECK(options.compress == 1);
    at(path, sizeof path, directory, "compressed");
    CHECK(come_back(small_engine(), path, &options) < KEYS * VALUE_BYTES / 4);
    options.compress = 0;
    at(path, sizeof path, directory, "uncompressed");
    CHECK(come_back(small_engine(), path, &options) > KEYS * VALUE_BYTES);
    options.compress = 2;
    alluvium_engine engine = small_engine();
    alluvium_store store;
    IS(ALLUVIUM_ARGUMENT, alluvium_store_create(engine, path, &options, &store, ERROR));
    OK(alluvium_engine_close(engine, ERROR));
}

/* Nothing is synced for a host that copies everything away. */
static void durability(const char *directory) {
    char path[512];
    for (int of_host = 0; of_host < 2; of_host++) {
        alluvium_store_options options = usual();
        options.durability = of_host ? ALLUVIUM_DURABILITY_HOST : ALLUVIUM_DURABILITY_CHECKPOINT;
        at(path, sizeof path, directory, of_host ? "host" : "checkpoint");
        fixture made = set_up(path, &options);
        uint16_t values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
        put(made.writer, values, "JFK", "1");
        checkpoint(made.store, 1);
        CHECK((counted(made.store, "alluvium_io_fsyncs_total") == 0) == of_host);
        CHECK(counted(made.store, "alluvium_checkpoints_total") == 1);
        tear_down(&made);
        made.engine = small_engine();
        OK(alluvium_store_open(made.engine, path, &options, &made.store, ERROR));
        OK(alluvium_writer_open(made.store, all_groups(), &made.writer, ERROR));
        CHECK(has(made.writer, state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL), "JFK", "1"));
        tear_down(&made);
    }
}

/* How many snapshots live, those of checkpoints that are kept among them. */
static void snapshots(const char *directory) {
    char path[512];
    alluvium_store_options options = usual();
    CHECK(options.snapshots_max == 16);
    options.snapshots_max = 2;
    at(path, sizeof path, directory, "snapshots");
    fixture made = set_up(path, &options);
    put(made.writer, state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL), "JFK", "1");
    checkpoint(made.store, 1);
    alluvium_snapshot first, second, third;
    OK(alluvium_store_snapshot(made.store, &first, ERROR));
    OK(alluvium_store_as_of(made.store, 1, &second, ERROR));
    IS(ALLUVIUM_BUSY, alluvium_store_snapshot(made.store, &third, ERROR));
    IS(ALLUVIUM_BUSY, alluvium_store_as_of(made.store, 1, &third, ERROR));
    checkpoint(made.store, 2); /* behind it, so that nothing in the background has the first one any more */
    OK(alluvium_snapshot_close(first, ERROR));
    OK(alluvium_store_snapshot(made.store, &third, ERROR));
    IS(ALLUVIUM_BUSY, alluvium_store_snapshot(made.store, &first, ERROR));
    OK(alluvium_snapshot_close(second, ERROR));
    OK(alluvium_snapshot_close(third, ERROR));
    tear_down(&made);
}

/* How many checkpoints are kept of which the host said nothing: behind the newest one that it confirmed. */
static void unconfirmed(const char *directory) {
    char path[512];
    alluvium_store_options options = usual();
    CHECK(options.unconfirmed_max == 1024 && options.host_retention == 0 && options.retained_checkpoints == 1);
    options.host_retention = 1;
    options.unconfirmed_max = 2;
    at(path, sizeof path, directory, "unconfirmed");
    fixture made = set_up(path, &options);
    uint16_t values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
    for (uint64_t label = 1; label <= 4; label++) {
        put(made.writer, values, "JFK", label % 2 ? "odd" : "even");
        checkpoint(made.store, label);
    }
    kept_are(made.store, 2, (const uint64_t[]){3, 4});
    OK(alluvium_store_confirm(made.store, 3, ERROR));
    checkpoint(made.store, 5);
    kept_are(made.store, 3, (const uint64_t[]){3, 4, 5});
    checkpoint(made.store, 6);
    kept_are(made.store, 3, (const uint64_t[]){3, 5, 6});
    OK(alluvium_store_confirm(made.store, 6, ERROR));
    kept_are(made.store, 1, (const uint64_t[]){6});
    tear_down(&made);
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    storage(argv[1]);
    compression(argv[1]);
    durability(argv[1]);
    snapshots(argv[1]);
    unconfirmed(argv[1]);
    return 0;
}
