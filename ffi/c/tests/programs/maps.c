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

/* A timer is taken out when it is due. */
static int32_t is_due(void *context, alluvium_slice user_key, alluvium_slice value) {
    uint64_t now;
    memcpy(&now, context, sizeof now);
    CHECK(u64_at(value.data) == time_of(user_key) * 3);
    return time_of(user_key) <= now;
}

typedef struct {
    alluvium_writer writer;
    uint16_t timers;
    size_t seen, enough;
    uint64_t times[1000];
} scanned;

/* Looks at an entry where it lies, and calls nothing of the library: it is refused. */
static int32_t note(void *context, alluvium_slice user_key, alluvium_slice value) {
    scanned *all = context;
    alluvium_key key = by_hash("queue");
    CHECK(all->seen < 1000 && u64_at(value.data) == time_of(user_key) * 3);
    all->times[all->seen++] = time_of(user_key);
    IS(ALLUVIUM_INSIDE_CALLBACK, alluvium_writer_map_clear(all->writer, all->timers, &key, ERROR));
    return all->seen == all->enough;
}

/* The entries from 1 to 999 are there. */
static void scans(alluvium_writer writer, uint16_t timers) {
    static scanned all;
    uint8_t from[8], to[8];
    alluvium_key key = by_hash("queue"), none = by_hash("no queue");
    all = (scanned){.writer = writer, .timers = timers};
    OK(alluvium_writer_map_scan(writer, timers, &key, NULL, note, &all, ERROR));
    CHECK(all.seen == 999);
    for (uint64_t i = 0; i < 999; i++)
        CHECK(all.times[i] == i + 1);
    alluvium_map_range down = {.from_kind = ALLUVIUM_EXCLUDED, .to_kind = ALLUVIUM_INCLUDED, .from = at(from, 490), .to = at(to, 510), .reverse = 1};
    all = (scanned){.writer = writer, .timers = timers};
    OK(alluvium_writer_map_scan(writer, timers, &key, &down, note, &all, ERROR));
    CHECK(all.seen == 20 && all.times[0] == 510 && all.times[19] == 491);
    all = (scanned){.writer = writer, .timers = timers, .enough = 3};
    OK(alluvium_writer_map_scan(writer, timers, &key, &down, note, &all, ERROR));
    CHECK(all.seen == 3 && all.times[2] == 508);
    all.seen = 0;
    IS(ALLUVIUM_NOT_FOUND, alluvium_writer_map_scan(writer, timers, &none, NULL, note, &all, ERROR));
    down.reverse = 2;
    IS(ALLUVIUM_ARGUMENT, alluvium_writer_map_scan(writer, timers, &key, &down, note, &all, ERROR));
    CHECK(all.seen == 0);
}

/* Entries that are taken out of a map on a condition, and as many as there is room for. */
static void some_of_a_queue(fixture *made, uint16_t timers) {
    alluvium_writer writer = made->writer;
    alluvium_key key = by_hash("another queue");
    alluvium_buffer buffer;
    uint8_t memory[8], value[8];
    uint64_t now = 10;
    uint32_t taken = 7, more = 7;
    OK(alluvium_buffer_new(&buffer, ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_writer_map_pop_first_if(writer, timers, &key, is_due, &now, buffer, &taken, ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_writer_map_pop_below_up_to(writer, timers, &key, at(memory, 99), 1000, buffer, &more, ERROR));
    CHECK(taken == 0 && more == 0);
    for (uint64_t time = 10; time < 20; time++) {
        put_u64(value, time * 3);
        OK(alluvium_writer_map_put(writer, timers, &key, at(memory, time), bytes(value, 8), ERROR));
        if (time == 14)
            checkpoint(made->store, 2);
    }
    OK(alluvium_writer_map_pop_first_if(writer, timers, &key, is_due, &now, buffer, &taken, ERROR));
    CHECK(taken == 1 && time_of(one_record(buffer).user_key) == 10);
    /* The next one is told of, and stays. */
    for (int again = 0; again < 2; again++) {
        OK(alluvium_writer_map_pop_first_if(writer, timers, &key, is_due, &now, buffer, &taken, ERROR));
        record next = one_record(buffer);
        CHECK(taken == 0 && time_of(next.user_key) == 11 && u64_at(next.value.data) == 33);
    }
    OK(alluvium_writer_map_contains(writer, timers, &key, at(memory, 11), ERROR));
    now = 11;
    OK(alluvium_writer_map_pop_first_if(writer, timers, &key, is_due, &now, buffer, NULL, ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_writer_map_contains(writer, timers, &key, at(memory, 11), ERROR));

    /* An entry is 12 + 8 + 8 bytes of a buffer. */
    IS(ALLUVIUM_TOO_SMALL, alluvium_writer_map_pop_below_up_to(writer, timers, &key, at(memory, 18), 27, buffer, &more, ERROR));
    alluvium_slice rest;
    size_t records = 7;
    OK(alluvium_buffer_data(buffer, &rest, &records));
    CHECK(more == 1 && records == 0 && rest.len == 0);
    uint64_t next = 12;
    for (int calls = 0; calls < 3; calls++) {
        OK(alluvium_writer_map_pop_below_up_to(writer, timers, &key, at(memory, 18), 28 * 2 + 1, buffer, &more, ERROR));
        OK(alluvium_buffer_data(buffer, &rest, &records));
        CHECK(records == 2 && more == (calls < 2));
        for (size_t i = 0; i < records; i++, next++)
            CHECK(time_of(take_record(&rest).user_key) == next);
    }
    IS(ALLUVIUM_NOT_FOUND, alluvium_writer_map_pop_below_up_to(writer, timers, &key, at(memory, 18), 0, buffer, NULL, ERROR));
    OK(alluvium_writer_map_first(writer, timers, &key, buffer, ERROR));
    CHECK(time_of(one_record(buffer).user_key) == 18);
    OK(alluvium_buffer_free(buffer));
}

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

    scans(writer, timers);

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
    some_of_a_queue(&made, timers);
    tear_down(&made);
    return 0;
}
