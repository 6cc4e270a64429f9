/* As many key groups as there can be: the last of them, one beyond the half, and those that hashes give, by every way that leads to a key. */
#include "check.h"

enum { GROUPS = 65536, LAST = 65535, HALF = 32768, HASHED = 100 };

static const alluvium_range everything = {0, LAST};

static alluvium_key in_group(int32_t group, const char *name) {
    alluvium_key key = {group, text(name), {NULL, 0}};
    return key;
}

static size_t pack(uint8_t *out, uint8_t operation, uint8_t flags, uint16_t state, uint16_t group, const char *name, const char *value) {
    size_t len = strlen(name), value_len = strlen(value);
    memset(out, 0, 16);
    out[0] = operation;
    out[1] = flags;
    put_u16(out + 2, state);
    put_u16(out + 4, group);
    put_u16(out + 6, (uint16_t)len);
    put_u32(out + 12, (uint32_t)value_len);
    memcpy(out + 16, name, len);
    memcpy(out + 16 + len, value, value_len);
    return 16 + len + value_len;
}

/* Written one by one, and in a batch: there are as many keys as this says. */
static size_t write_all(alluvium_writer writer, uint16_t values) {
    uint8_t batch[256];
    char name[32];
    alluvium_key last = in_group(LAST, "last"), half = in_group(HALF, "half");
    OK(alluvium_writer_put(writer, values, &last, text("last"), ERROR));
    OK(alluvium_writer_put(writer, values, &half, text("half"), ERROR));
    for (int i = 0; i < HASHED; i++) {
        snprintf(name, sizeof name, "hashed %d", i);
        put(writer, values, name, name);
    }
    size_t len = pack(batch, ALLUVIUM_OP_PUT, 0, values, LAST, "packed", "packed last");
    len += pack(batch + len, ALLUVIUM_OP_PUT, 0, values, HALF, "packed", "packed half");
    len += pack(batch + len, ALLUVIUM_OP_PUT, ALLUVIUM_OP_HASHED, values, 0, "packed", "packed by hash");
    OK(alluvium_writer_apply(writer, bytes(batch, len), ERROR));
    return 2 + HASHED + 3;
}

static void is(alluvium_writer writer, uint16_t values, alluvium_key key, const char *expected) {
    uint8_t memory[64];
    size_t len;
    OK(alluvium_writer_get(writer, values, &key, memory, sizeof memory, &len, ERROR));
    CHECK(same(bytes(memory, len), expected));
}

/* By single reads; the same bytes in another group are another key. */
static void read_all(alluvium_writer writer, uint16_t values) {
    char name[32];
    uint8_t memory[64];
    size_t len;
    is(writer, values, in_group(LAST, "last"), "last");
    is(writer, values, in_group(HALF, "half"), "half");
    is(writer, values, in_group(LAST, "packed"), "packed last");
    is(writer, values, in_group(HALF, "packed"), "packed half");
    is(writer, values, by_hash("packed"), "packed by hash");
    for (int i = 0; i < HASHED; i++) {
        snprintf(name, sizeof name, "hashed %d", i);
        CHECK(has(writer, values, name, name));
    }
    alluvium_key other = in_group(LAST - 1, "last");
    IS(ALLUVIUM_NOT_FOUND, alluvium_writer_get(writer, values, &other, memory, sizeof memory, &len, ERROR));
    other.group = GROUPS;
    IS(ALLUVIUM_ARGUMENT, alluvium_writer_get(writer, values, &other, memory, sizeof memory, &len, ERROR));
}

/* By a cursor: each key in the group that it was put in, or that its hash gives. */
static void go_through(const fixture *made, uint16_t values, size_t expected) {
    alluvium_cursor cursor;
    alluvium_buffer buffer;
    size_t found = 0, in_last = 0, in_half = 0, in_other_half = 0;
    OK(alluvium_buffer_new(&buffer, ERROR));
    OK(alluvium_cursor_keys_and_namespaces(made->store, values, everything, &cursor, ERROR));
    while (alluvium_writer_fetch(made->writer, cursor, buffer, ERROR) == ALLUVIUM_OK) {
        alluvium_slice rest;
        size_t records = 0;
        OK(alluvium_buffer_data(buffer, &rest, &records));
        for (size_t i = 0; i < records; i++, found++) {
            record one = take_record(&rest);
            uint16_t group = one.group;
            if (one.key.data[0] == 'h' && one.key.len > 6) { /* hashed */
                OK(alluvium_store_group_of(made->store, one.key, &group, ERROR));
                in_other_half += group > HALF;
            }
            CHECK(one.group == group);
            in_last += group == LAST && (same(one.key, "last") || same(one.key, "packed"));
            in_half += group == HALF && (same(one.key, "half") || same(one.key, "packed"));
        }
        CHECK(rest.len == 0);
    }
    CHECK(found == expected && in_last == 2 && in_half == 2 && in_other_half > 0);
    OK(alluvium_cursor_close(cursor, ERROR));
    OK(alluvium_buffer_free(buffer));
}

/* By a batch of reads. */
static void submit(alluvium_writer writer, uint16_t values) {
    static const char *const expected[] = {"last", "packed half", "packed by hash"};
    uint8_t batch[256];
    alluvium_ticket ticket;
    alluvium_buffer buffer;
    alluvium_slice rest;
    size_t records = 0;
    size_t len = pack(batch, ALLUVIUM_OP_GET, 0, values, LAST, "last", "");
    len += pack(batch + len, ALLUVIUM_OP_GET, 0, values, HALF, "packed", "");
    len += pack(batch + len, ALLUVIUM_OP_GET, ALLUVIUM_OP_HASHED, values, 0, "packed", "");
    OK(alluvium_buffer_new(&buffer, ERROR));
    OK(alluvium_writer_submit(writer, bytes(batch, len), &ticket, ERROR));
    OK(alluvium_ticket_wait(ticket, ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_ticket_poll(ticket, buffer, ERROR));
    OK(alluvium_buffer_data(buffer, &rest, &records));
    CHECK(records == 3);
    while (rest.len > 0) {
        uint32_t index = u32_at(rest.data), value_len = u32_at(rest.data + 8);
        CHECK(index < 3 && u32_at(rest.data + 4) == ALLUVIUM_OK);
        CHECK(same(bytes(rest.data + 12, value_len), expected[index]));
        rest = bytes(rest.data + 12 + value_len, rest.len - 12 - value_len);
    }
    OK(alluvium_ticket_close(ticket, ERROR));
    OK(alluvium_buffer_free(buffer));
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    alluvium_store_options options;
    OK(alluvium_store_options_init(&options));
    options.key_groups = GROUPS;
    options.range = everything;
    fixture made = {.engine = small_engine()};
    OK(alluvium_store_create(made.engine, argv[1], &options, &made.store, ERROR));
    alluvium_range range = {9, 9};
    uint32_t key_groups = 9;
    OK(alluvium_store_key_groups(made.store, &range, &key_groups, ERROR));
    CHECK(range.first == 0 && range.last == LAST && key_groups == GROUPS);
    OK(alluvium_writer_open(made.store, everything, &made.writer, ERROR));
    OK(alluvium_writer_range(made.writer, &range, ERROR));
    CHECK(range.first == 0 && range.last == LAST);
    uint16_t values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
    size_t keys = write_all(made.writer, values);
    for (int reopened = 0; reopened < 2; reopened++) {
        read_all(made.writer, values);
        go_through(&made, values, keys);
        submit(made.writer, values);
        if (reopened)
            break;
        checkpoint(made.store, 1);
        tear_down(&made);
        made.engine = small_engine();
        IS(ALLUVIUM_OPTIONS, alluvium_store_open(made.engine, argv[1], NULL, &made.store, ERROR));
        OK(alluvium_store_open(made.engine, argv[1], &options, &made.store, ERROR));
        OK(alluvium_writer_open(made.store, everything, &made.writer, ERROR));
        values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
    }
    tear_down(&made);
    return 0;
}
