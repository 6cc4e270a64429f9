/* Maps: entries, their order, ranges, queues. */
#include "check.h"

static uint64_t time_of(alluvium_slice user_key) {
    uint64_t time = 0;
    CHECK(user_key.len == 8);
    for (size_t i = 0; i < 8; i++)
        time = time << 8 | user_key.data[i];
    return time;
}

static alluvium_slice at(uint8_t *memory, uint64_t time) {
    for (size_t i = 0; i < 8; i++)
        memory[i] = (uint8_t)(time >> (56 - 8 * i));
    return bytes(memory, 8);
}

static record one_record(alluvium_buffer buffer) {
    alluvium_slice rest;
    size_t records = 0;
    OK(alluvium_buffer_data(buffer, &rest, &records));
    CHECK(records == 1);
    return take_record(&rest);
}

static void look(void *context, alluvium_slice value) { *(uint64_t *)context = u64_at(value.data); }

int main(int argc, char **argv) {
    CHECK(argc == 2);
    fixture made = set_up(argv[1], NULL);
    alluvium_writer writer = made.writer;
    uint16_t timers = state_of(made.store, "timers", ALLUVIUM_KIND_MAP, NULL);
    alluvium_key key = by_hash("queue");
    alluvium_buffer buffer;
    uint8_t memory[8], value[16];
    size_t len;
    OK(alluvium_buffer_new(&buffer, ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_writer_map_any(writer, timers, &key, ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_writer_map_first(writer, timers, &key, buffer, ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_writer_map_pop_first(writer, timers, &key, buffer, ERROR));

    for (uint64_t i = 0; i < 1000; i++) {
        uint64_t time = i * 7919 % 1000; /* in no order */
        put_u64(value, time * 3);
        OK(alluvium_writer_map_put(writer, timers, &key, at(memory, time), bytes(value, 8), ERROR));
        if (i == 500)
            checkpoint(made.store, 1);
    }
    OK(alluvium_writer_map_any(writer, timers, &key, ERROR));
    OK(alluvium_writer_map_contains(writer, timers, &key, at(memory, 999), ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_writer_map_contains(writer, timers, &key, at(memory, 1000), ERROR));
    OK(alluvium_writer_map_get(writer, timers, &key, at(memory, 500), value, sizeof value, &len, ERROR));
    CHECK(len == 8 && u64_at(value) == 1500);
    uint64_t seen = 0;
    OK(alluvium_writer_map_read(writer, timers, &key, at(memory, 502), look, &seen, ERROR));
    CHECK(seen == 1506);
    IS(ALLUVIUM_NOT_FOUND, alluvium_writer_map_read(writer, timers, &key, at(memory, 1000), look, &seen, ERROR));
    IS(ALLUVIUM_NULL, alluvium_writer_map_read(writer, timers, &key, at(memory, 502), NULL, &seen, ERROR));
    IS(ALLUVIUM_NULL, alluvium_writer_map_read(writer, timers, &key, bytes(NULL, 2), look, &seen, ERROR));
    CHECK(seen == 1506);
    OK(alluvium_writer_map_get_buffer(writer, timers, &key, at(memory, 501), buffer, ERROR));
    alluvium_slice data;
    OK(alluvium_buffer_data(buffer, &data, NULL));
    CHECK(data.len == 8 && u64_at(data.data) == 1503);

    OK(alluvium_writer_map_first(writer, timers, &key, buffer, ERROR));
    record found = one_record(buffer);
    CHECK(time_of(found.user_key) == 0 && u64_at(found.value.data) == 0);
    OK(alluvium_writer_map_last(writer, timers, &key, buffer, ERROR));
    CHECK(time_of(one_record(buffer).user_key) == 999);
    OK(alluvium_writer_map_pop_first(writer, timers, &key, buffer, ERROR));
    CHECK(time_of(one_record(buffer).user_key) == 0);

    /* The timers that are due. */
    alluvium_slice rest;
    size_t records = 0;
    OK(alluvium_writer_map_pop_below(writer, timers, &key, at(memory, 100), buffer, ERROR));
    OK(alluvium_buffer_data(buffer, &rest, &records));
    CHECK(records == 99);
    for (uint64_t time = 1; time < 100; time++) {
        found = take_record(&rest);
        CHECK(time_of(found.user_key) == time && u64_at(found.value.data) == time * 3);
    }
    CHECK(rest.len == 0);
    IS(ALLUVIUM_NOT_FOUND, alluvium_writer_map_pop_below(writer, timers, &key, at(memory, 100), buffer, ERROR));

    /* Ranges are deleted as wholes. */
    uint8_t upper[8];
    OK(alluvium_writer_map_delete(writer, timers, &key, at(memory, 100), ERROR));
    alluvium_map_range range = {.from_kind = ALLUVIUM_INCLUDED, .to_kind = ALLUVIUM_EXCLUDED, .from = at(memory, 200), .to = at(upper, 300)};
    OK(alluvium_writer_map_delete_range(writer, timers, &key, &range, ERROR));
    OK(alluvium_writer_map_expire(writer, timers, &key, 150, ERROR));
    for (uint64_t time = 0; time < 1000; time++) {
        int there = time >= 150 && !(time >= 200 && time < 300);
        IS(there ? ALLUVIUM_OK : ALLUVIUM_NOT_FOUND, alluvium_writer_map_contains(writer, timers, &key, at(memory, time), ERROR));
    }
    range.from_kind = 3;
    IS(ALLUVIUM_ARGUMENT, alluvium_writer_map_delete_range(writer, timers, &key, &range, ERROR));
    OK(alluvium_writer_map_clear(writer, timers, &key, ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_writer_map_any(writer, timers, &key, ERROR));
    OK(alluvium_buffer_free(buffer));
    tear_down(&made);
    return 0;
}
