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
    OK(alluvium_reader_set_time(reader, 5, ERROR));
    OK(alluvium_snapshot_set_time(snapshot, 5, ERROR));
    OK(alluvium_buffer_free(buffer));
    OK(alluvium_snapshot_wait(snapshot, ERROR));
    OK(alluvium_snapshot_close(snapshot, ERROR));
    IS(ALLUVIUM_HANDLE, alluvium_snapshot_wait(snapshot, ERROR));
    OK(alluvium_reader_close(reader, ERROR));
    tear_down(&made);
    return 0;
}
