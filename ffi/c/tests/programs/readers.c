/* Readers and snapshots beside a writer, in threads of their own. */
#include "check.h"
#include <pthread.h>
#include <stdatomic.h>

static atomic_int stop, reading;
static alluvium_reader reader;
static uint16_t values;

/* A counter never goes backwards. */
static void *follow(void *unused) {
    (void)unused;
    uint64_t last = 0, *reads = malloc(sizeof *reads);
    alluvium_key key = by_hash("counter");
    for (*reads = 0; !atomic_load(&stop); ++*reads) {
        uint8_t memory[8];
        size_t len;
        OK(alluvium_reader_get(reader, values, &key, memory, sizeof memory, &len, ERROR));
        CHECK(len == 8 && u64_at(memory) >= last);
        last = u64_at(memory);
        if (*reads == 0)
            atomic_fetch_add(&reading, 1);
    }
    return reads;
}

enum { LONG = 100000 };

static void has_long(alluvium_buffer buffer, uint8_t byte) {
    alluvium_slice found;
    size_t records = 9;
    OK(alluvium_buffer_data(buffer, &found, &records));
    CHECK(records == 1 && found.len == LONG && found.data[0] == byte && found.data[LONG - 1] == byte);
}

static void has_nothing(alluvium_buffer buffer) {
    alluvium_slice found;
    size_t records = 9;
    OK(alluvium_buffer_data(buffer, &found, &records));
    CHECK(records == 0 && found.len == 0);
}

/* Values of any length are copied into buffers, which keep them, whatever becomes of the store, until they are filled again. */
static void into_buffers(fixture *made, uint16_t maps) {
    alluvium_snapshot snapshot;
    alluvium_buffer first, second;
    alluvium_key key = by_hash("long"), absent = by_hash("absent"), none = {ALLUVIUM_GROUP_BY_HASH, {NULL, 3}, NOTHING};
    uint8_t *value = malloc(LONG);
    OK(alluvium_buffer_new(&first, ERROR));
    OK(alluvium_buffer_new(&second, ERROR));
    memset(value, 'x', LONG);
    OK(alluvium_writer_put(made->writer, values, &key, bytes(value, LONG), ERROR));
    memset(value, 'y', LONG);
    OK(alluvium_writer_map_put(made->writer, maps, &key, text("u"), bytes(value, LONG), ERROR));
    OK(alluvium_store_snapshot(made->store, &snapshot, ERROR));
    OK(alluvium_reader_get_buffer(reader, values, &key, first, ERROR));
    OK(alluvium_reader_map_get_buffer(reader, maps, &key, text("u"), second, ERROR));
    OK(alluvium_writer_put(made->writer, values, &key, text("long"), ERROR));
    OK(alluvium_writer_map_delete(made->writer, maps, &key, text("u"), ERROR));
    checkpoint(made->store, 30000);
    has_long(first, 'x');
    has_long(second, 'y');
    IS(ALLUVIUM_NOT_FOUND, alluvium_reader_map_get_buffer(reader, maps, &key, text("u"), second, ERROR));
    has_nothing(second);
    OK(alluvium_snapshot_get_buffer(snapshot, values, &key, second, ERROR));
    has_long(second, 'x');
    OK(alluvium_snapshot_map_get_buffer(snapshot, maps, &key, text("u"), second, ERROR));
    has_long(second, 'y');
    IS(ALLUVIUM_NOT_FOUND, alluvium_snapshot_get_buffer(snapshot, values, &absent, second, ERROR));
    has_nothing(second);
    IS(ALLUVIUM_NOT_FOUND, alluvium_snapshot_map_get_buffer(snapshot, maps, &key, text("v"), second, ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_reader_get_buffer(reader, values, &absent, second, ERROR));

    /* The key may lie in the buffer that is filled. */
    alluvium_slice found;
    for (int i = 0; i < 2; i++) {
        OK(alluvium_reader_get_buffer(reader, values, &key, first, ERROR));
        OK(alluvium_buffer_data(first, &found, NULL));
        CHECK(same(found, "long"));
        key.key = found;
    }
    IS(ALLUVIUM_STATE, alluvium_reader_get_buffer(reader, maps, &key, first, ERROR));
    IS(ALLUVIUM_STATE, alluvium_snapshot_map_get_buffer(snapshot, values, &key, text("u"), first, ERROR));
    IS(ALLUVIUM_NULL, alluvium_snapshot_get_buffer(snapshot, values, &none, first, ERROR));
    OK(alluvium_buffer_free(first));
    IS(ALLUVIUM_HANDLE, alluvium_reader_get_buffer(reader, values, &absent, first, ERROR));
    OK(alluvium_buffer_free(second));
    OK(alluvium_snapshot_close(snapshot, ERROR));
    free(value);
}

enum { READER_TIME, SNAPSHOT_TIME };

/* Whether a value, a list's element and a map's entry are there for a reader, or for a snapshot: all of them or none. */
static int are_there(alluvium_snapshot snapshot, int of, const uint16_t *states, alluvium_buffer buffer) {
    alluvium_key key = by_hash("expires");
    uint8_t memory[8];
    size_t len;
    alluvium_status found[3];
    if (of == READER_TIME) {
        found[0] = alluvium_reader_get(reader, states[0], &key, memory, sizeof memory, &len, ERROR);
        found[1] = alluvium_reader_list(reader, states[1], &key, buffer, ERROR);
        found[2] = alluvium_reader_map_get(reader, states[2], &key, text("u"), memory, sizeof memory, &len, ERROR);
    } else {
        found[0] = alluvium_snapshot_get(snapshot, states[0], &key, memory, sizeof memory, &len, ERROR);
        found[1] = alluvium_snapshot_list(snapshot, states[1], &key, buffer, ERROR);
        found[2] = alluvium_snapshot_map_get(snapshot, states[2], &key, text("u"), memory, sizeof memory, &len, ERROR);
    }
    CHECK(found[0] == ALLUVIUM_OK || found[0] == ALLUVIUM_NOT_FOUND);
    CHECK(found[0] == found[1] && found[1] == found[2]);
    return found[0] == ALLUVIUM_OK;
}

/* Reader and snapshot have a clock each: what has expired by it isn't there. */
static void by_their_clocks(fixture *made) {
    const uint16_t states[] = {
        expiring(made->store, "expiring values", ALLUVIUM_KIND_VALUE, 100),
        expiring(made->store, "expiring lists", ALLUVIUM_KIND_LIST, 100),
        expiring(made->store, "expiring maps", ALLUVIUM_KIND_MAP, 100),
    };
    alluvium_key key = by_hash("expires");
    alluvium_snapshot snapshot;
    alluvium_buffer buffer;
    OK(alluvium_buffer_new(&buffer, ERROR));
    OK(alluvium_writer_set_time(made->writer, 1000, ERROR));
    OK(alluvium_writer_put(made->writer, states[0], &key, text("v"), ERROR));
    OK(alluvium_writer_append(made->writer, states[1], &key, text("v"), ERROR));
    OK(alluvium_writer_map_put(made->writer, states[2], &key, text("u"), text("v"), ERROR));
    OK(alluvium_store_snapshot(made->store, &snapshot, ERROR));
    CHECK(are_there(snapshot, READER_TIME, states, buffer) && are_there(snapshot, SNAPSHOT_TIME, states, buffer));
    OK(alluvium_reader_set_time(reader, 1099, ERROR));
    CHECK(are_there(snapshot, READER_TIME, states, buffer));
    OK(alluvium_reader_set_time(reader, 1101, ERROR));
    CHECK(!are_there(snapshot, READER_TIME, states, buffer) && are_there(snapshot, SNAPSHOT_TIME, states, buffer));
    OK(alluvium_snapshot_set_time(snapshot, 1099, ERROR));
    CHECK(are_there(snapshot, SNAPSHOT_TIME, states, buffer));
    OK(alluvium_snapshot_set_time(snapshot, 1101, ERROR));
    CHECK(!are_there(snapshot, SNAPSHOT_TIME, states, buffer));
    OK(alluvium_snapshot_close(snapshot, ERROR));
    OK(alluvium_buffer_free(buffer));
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    fixture made = set_up(argv[1], NULL);
    values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
    uint16_t lists = state_of(made.store, "lists", ALLUVIUM_KIND_LIST, NULL);
    uint16_t maps = state_of(made.store, "maps", ALLUVIUM_KIND_MAP, NULL);
    alluvium_key key = by_hash("counter");
    uint8_t memory[8] = {0};
    size_t len;
    OK(alluvium_writer_put(made.writer, values, &key, bytes(memory, 8), ERROR));
    OK(alluvium_writer_append(made.writer, lists, &key, text("element"), ERROR));
    OK(alluvium_writer_map_put(made.writer, maps, &key, text("u"), text("v"), ERROR));
    OK(alluvium_reader_open(made.store, 0, &reader, ERROR));

    pthread_t threads[3];
    for (size_t i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, follow, NULL) == 0);
    for (uint64_t i = 1; i <= 20000; i++) {
        put_u64(memory, i);
        OK(alluvium_writer_put(made.writer, values, &key, bytes(memory, 8), ERROR));
        if (i % 5000 == 0)
            checkpoint(made.store, i);
    }
    alluvium_snapshot snapshot;
    OK(alluvium_store_snapshot(made.store, &snapshot, ERROR));
    put_u64(memory, 99999);
    OK(alluvium_writer_put(made.writer, values, &key, bytes(memory, 8), ERROR));
    OK(alluvium_writer_append(made.writer, lists, &key, text("later"), ERROR));
    OK(alluvium_writer_map_put(made.writer, maps, &key, text("u"), text("later"), ERROR));
    while (atomic_load(&reading) < 3) { /* a busy machine may not have let them yet */
    }
    atomic_store(&stop, 1);
    for (size_t i = 0; i < 3; i++) {
        void *reads;
        CHECK(pthread_join(threads[i], &reads) == 0);
        CHECK(*(uint64_t *)reads > 0);
        free(reads);
    }

    OK(alluvium_reader_get(reader, values, &key, memory, sizeof memory, &len, ERROR));
    CHECK(u64_at(memory) == 99999);
    OK(alluvium_snapshot_get(snapshot, values, &key, memory, sizeof memory, &len, ERROR));
    CHECK(u64_at(memory) == 20000);
    alluvium_buffer buffer;
    alluvium_slice rest;
    size_t records;
    OK(alluvium_buffer_new(&buffer, ERROR));
    OK(alluvium_reader_list(reader, lists, &key, buffer, ERROR));
    OK(alluvium_buffer_data(buffer, &rest, &records));
    CHECK(records == 2);
    OK(alluvium_snapshot_list(snapshot, lists, &key, buffer, ERROR));
    OK(alluvium_buffer_data(buffer, &rest, &records));
    CHECK(records == 1 && same(take_element(&rest), "element"));
    OK(alluvium_reader_map_contains(reader, maps, &key, text("u"), ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_reader_map_contains(reader, maps, &key, text("none"), ERROR));
    IS(ALLUVIUM_NULL, alluvium_reader_map_contains(reader, maps, NULL, text("u"), ERROR));
    IS(ALLUVIUM_HANDLE, alluvium_reader_map_contains((alluvium_reader){0}, maps, &key, text("u"), ERROR));
    OK(alluvium_reader_map_get(reader, maps, &key, text("u"), memory, sizeof memory, &len, ERROR));
    CHECK(same(bytes(memory, len), "later"));
    OK(alluvium_snapshot_map_get(snapshot, maps, &key, text("u"), memory, sizeof memory, &len, ERROR));
    CHECK(same(bytes(memory, len), "v"));
    alluvium_key absent = by_hash("absent");
    IS(ALLUVIUM_NOT_FOUND, alluvium_reader_get(reader, values, &absent, memory, sizeof memory, &len, ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_snapshot_get(snapshot, values, &absent, memory, sizeof memory, &len, ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_reader_list(reader, lists, &absent, buffer, ERROR));
    IS(ALLUVIUM_STATE, alluvium_reader_get(reader, lists, &key, memory, sizeof memory, &len, ERROR));
    OK(alluvium_buffer_free(buffer));
    into_buffers(&made, maps);
    by_their_clocks(&made);
    OK(alluvium_snapshot_wait(snapshot, ERROR));
    OK(alluvium_snapshot_close(snapshot, ERROR));
    IS(ALLUVIUM_HANDLE, alluvium_snapshot_wait(snapshot, ERROR));
    IS(ALLUVIUM_HANDLE, alluvium_snapshot_set_time(snapshot, 1, ERROR));
    OK(alluvium_reader_close(reader, ERROR));
    tear_down(&made);
    return 0;
}
