/* Cursors: keys, namespaces and entries, batch by batch, by writers, readers and snapshots. */
#include "check.h"

enum { KEYS = 10000 };

int main(int argc, char **argv) {
    CHECK(argc == 2);
    fixture made = set_up(argv[1], NULL);
    alluvium_writer writer = made.writer;
    uint16_t values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
    uint16_t maps = state_of(made.store, "maps", ALLUVIUM_KIND_MAP, NULL);
    char name[32];
    for (uint32_t i = 0; i < KEYS; i++) {
        snprintf(name, sizeof name, "%u", i);
        alluvium_key key = {ALLUVIUM_GROUP_BY_HASH, text(name), text(i % 2 ? "odd" : "even")};
        OK(alluvium_writer_put(writer, values, &key, text("x"), ERROR));
        if (i == KEYS / 2)
            checkpoint(made.store, 1);
    }
    alluvium_snapshot snapshot;
    alluvium_reader reader;
    OK(alluvium_store_snapshot(made.store, &snapshot, ERROR));
    OK(alluvium_reader_open(made.store, 0, &reader, ERROR));

    alluvium_buffer buffer;
    alluvium_cursor cursor;
    OK(alluvium_buffer_new(&buffer, ERROR));
    /* Every key once; the odd ones are deleted while they are gone through. */
    static uint8_t seen[KEYS];
    size_t batches = 0, found = 0;
    OK(alluvium_cursor_keys_and_namespaces(made.store, values, all_groups(), &cursor, ERROR));
    OK(alluvium_cursor_set_batch(cursor, 100, 1 << 20, ERROR));
    while (alluvium_writer_fetch(writer, cursor, buffer, ERROR) == ALLUVIUM_OK) {
        alluvium_slice rest;
        size_t records = 0;
        OK(alluvium_buffer_data(buffer, &rest, &records));
        CHECK(records > 0 && records <= 100);
        batches++;
        for (size_t i = 0; i < records; i++) {
            record one = take_record(&rest);
            CHECK(one.key.len < sizeof name);
            memcpy(name, one.key.data, one.key.len);
            name[one.key.len] = 0;
            size_t number = strtoul(name, NULL, 10);
            CHECK(number < KEYS && !seen[number]);
            seen[number] = 1;
            found++;
            CHECK(same(one.ns, number % 2 ? "odd" : "even"));
            if (number % 2) {
                alluvium_key key = {one.group, one.key, one.ns};
                OK(alluvium_writer_delete(writer, values, &key, ERROR));
            }
        }
        CHECK(rest.len == 0);
    }
    CHECK(found == KEYS && batches >= KEYS / 100);
    IS(ALLUVIUM_NOT_FOUND, alluvium_writer_fetch(writer, cursor, buffer, ERROR));
    IS(ALLUVIUM_HAS_CHILDREN, alluvium_store_close(made.store, ERROR));
    OK(alluvium_cursor_close(cursor, ERROR));

    /* Into a buffer that is none nothing is fetched, and the cursor doesn't become the snapshot's. */
    OK(alluvium_cursor_keys(made.store, values, all_groups(), &cursor, ERROR));
    IS(ALLUVIUM_HANDLE, alluvium_snapshot_fetch(snapshot, cursor, (alluvium_buffer){made.store.id}, ERROR));
    OK(alluvium_reader_fetch(reader, cursor, buffer, ERROR));
    OK(alluvium_cursor_close(cursor, ERROR));

    /* The reader sees what is left; the snapshot what was. */
    for (int by_snapshot = 0; by_snapshot < 2; by_snapshot++) {
        size_t counted = 0, records;
        OK(alluvium_cursor_keys_in_namespace(made.store, values, all_groups(), text("odd"), &cursor, ERROR));
        while ((by_snapshot ? alluvium_snapshot_fetch(snapshot, cursor, buffer, ERROR) : alluvium_reader_fetch(reader, cursor, buffer, ERROR)) == ALLUVIUM_OK) {
            alluvium_slice rest;
            OK(alluvium_buffer_data(buffer, &rest, &records));
            counted += records;
        }
        OK(alluvium_cursor_close(cursor, ERROR));
        CHECK(counted == (by_snapshot ? KEYS / 2 : 0));
    }
    OK(alluvium_cursor_keys(made.store, values, all_groups(), &cursor, ERROR));
    OK(alluvium_cursor_set_batch(cursor, KEYS, 1 << 24, ERROR));
    size_t records = 0;
    alluvium_slice rest;
    OK(alluvium_reader_fetch(reader, cursor, buffer, ERROR));
    OK(alluvium_buffer_data(buffer, &rest, &records));
    CHECK(records == KEYS / 2);
    OK(alluvium_cursor_close(cursor, ERROR));

    /* Entries in their order, both ways, by prefix and by bounds. */
    alluvium_key key = by_hash("map");
    for (char c = 'a'; c <= 'z'; c++) {
        char user_key[2] = {c, 'x'};
        OK(alluvium_writer_map_put(writer, maps, &key, bytes(user_key, 2), bytes(&c, 1), ERROR));
    }
    alluvium_map_range range = {.from_kind = ALLUVIUM_EXCLUDED, .from = text("cx"), .to_kind = ALLUVIUM_INCLUDED, .to = text("gx"), .reverse = 1};
    OK(alluvium_cursor_entries(made.store, maps, &key, &range, &cursor, ERROR));
    OK(alluvium_writer_fetch(writer, cursor, buffer, ERROR));
    OK(alluvium_buffer_data(buffer, &rest, &records));
    CHECK(records == 4);
    for (char c = 'g'; c > 'c'; c--) {
        record one = take_record(&rest);
        CHECK(one.user_key.data[0] == (uint8_t)c && one.value.data[0] == (uint8_t)c);
    }
    OK(alluvium_cursor_close(cursor, ERROR));
    alluvium_map_range prefix = {.prefix = text("m")};
    OK(alluvium_cursor_entries(made.store, maps, &key, &prefix, &cursor, ERROR));
    OK(alluvium_writer_fetch(writer, cursor, buffer, ERROR));
    OK(alluvium_buffer_data(buffer, &rest, &records));
    CHECK(records == 1 && same(take_record(&rest).user_key, "mx"));
    OK(alluvium_cursor_close(cursor, ERROR));

    /* A cursor of a state that isn't there fails when it is used. */
    OK(alluvium_cursor_keys(made.store, 77, all_groups(), &cursor, ERROR));
    IS(ALLUVIUM_STATE, alluvium_writer_fetch(writer, cursor, buffer, ERROR));
    OK(alluvium_cursor_close(cursor, ERROR));
    OK(alluvium_reader_close(reader, ERROR));
    OK(alluvium_snapshot_close(snapshot, ERROR));
    OK(alluvium_buffer_free(buffer));
    tear_down(&made);
    return 0;
}
