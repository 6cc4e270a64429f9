/* Many keys a call: arrays of keys, and operations packed into one buffer. */
#include "check.h"

enum { KEYS = 3000 };

static size_t pack(uint8_t *out, uint8_t operation, uint16_t state, const char *name, alluvium_slice user_key, alluvium_slice value) {
    size_t len = strlen(name);
    out[0] = operation;
    out[1] = ALLUVIUM_OP_HASHED;
    put_u16(out + 2, state);
    put_u16(out + 4, 0);
    put_u16(out + 6, (uint16_t)len);
    put_u16(out + 8, 0);
    put_u16(out + 10, (uint16_t)user_key.len);
    put_u32(out + 12, (uint32_t)value.len);
    memcpy(out + 16, name, len);
    if (user_key.len > 0)
        memcpy(out + 16 + len, user_key.data, user_key.len);
    if (value.len > 0)
        memcpy(out + 16 + len + user_key.len, value.data, value.len);
    return 16 + len + user_key.len + value.len;
}

typedef struct {
    uint64_t counts[KEYS];
    size_t calls;
} updates;

static int32_t count(void *context, size_t index, alluvium_slice old, alluvium_slice *value) {
    updates *all = context;
    all->calls++;
    all->counts[index] = old.data == NULL ? 1 : u64_at(old.data) + 1;
    *value = bytes(&all->counts[index], 8);
    return ALLUVIUM_PUT;
}

static alluvium_slice time_key(uint8_t *memory, uint64_t time) {
    for (size_t i = 0; i < 8; i++)
        memory[i] = (uint8_t)(time >> (56 - 8 * i));
    return bytes(memory, 8);
}

/* Operands, and the ways to take entries out of a map; numbers are little-endian, times in user keys big-endian. */
static void other_operations(fixture *made, uint16_t maps) {
    alluvium_writer writer = made->writer;
    uint16_t sums = state_of(made->store, "sums", ALLUVIUM_KIND_MERGING, "u64-add");
    alluvium_key sum = by_hash("sum"), timers = by_hash("timers"), cleared = by_hash("cleared");
    uint8_t batch[2048], number[8], time[8];
    size_t len = 0, value_len = 0;
    put_u64(number, 40);
    len += pack(batch + len, ALLUVIUM_OP_MERGE, sums, "sum", NOTHING, bytes(number, 8));
    put_u64(number, 2);
    len += pack(batch + len, ALLUVIUM_OP_MERGE, sums, "sum", NOTHING, bytes(number, 8));
    for (uint64_t at = 0; at < 10; at++) {
        len += pack(batch + len, ALLUVIUM_OP_MAP_PUT, maps, "timers", time_key(time, at), text("due"));
        len += pack(batch + len, ALLUVIUM_OP_MAP_PUT, maps, "cleared", time_key(time, at), text("gone"));
    }
    /* Those below 3, those from 7 on, and all of them. */
    put_u64(number, 3);
    len += pack(batch + len, ALLUVIUM_OP_MAP_EXPIRE, maps, "timers", NOTHING, bytes(number, 8));
    size_t unbounded = len;
    len += pack(batch + len, ALLUVIUM_OP_MAP_DELETE_RANGE, maps, "timers", time_key(time, 7), NOTHING);
    batch[unbounded + 1] |= ALLUVIUM_OP_UNBOUNDED;
    len += pack(batch + len, ALLUVIUM_OP_MAP_CLEAR, maps, "cleared", NOTHING, NOTHING);
    CHECK(len <= sizeof batch);
    OK(alluvium_writer_apply(writer, bytes(batch, len), ERROR));

    OK(alluvium_writer_get(writer, sums, &sum, number, sizeof number, &value_len, ERROR));
    CHECK(value_len == 8 && u64_at(number) == 42);
    for (uint64_t at = 0; at < 10; at++) {
        int there = at >= 3 && at < 7;
        IS(there ? ALLUVIUM_OK : ALLUVIUM_NOT_FOUND, alluvium_writer_map_contains(writer, maps, &timers, time_key(time, at), ERROR));
    }
    IS(ALLUVIUM_NOT_FOUND, alluvium_writer_map_any(writer, maps, &cleared, ERROR));

    /* Without the flag a range ends before the value: before nothing where that is empty. */
    len = pack(batch, ALLUVIUM_OP_MAP_DELETE_RANGE, maps, "timers", time_key(time, 3), NOTHING);
    OK(alluvium_writer_apply(writer, bytes(batch, len), ERROR));
    OK(alluvium_writer_map_contains(writer, maps, &timers, time_key(time, 3), ERROR));
    len = pack(batch, ALLUVIUM_OP_MAP_EXPIRE, maps, "timers", NOTHING, bytes(number, 7)); /* no time */
    IS(ALLUVIUM_ARGUMENT, alluvium_writer_apply(writer, bytes(batch, len), ERROR));
    len = pack(batch, ALLUVIUM_OP_MAP_GET, maps, "timers", time_key(time, 3), NOTHING); /* reads are submitted */
    IS(ALLUVIUM_OPTIONS, alluvium_writer_apply(writer, bytes(batch, len), ERROR));
}

/* What it gives stays until it is called again. */
static int32_t same_place(void *context, size_t index, alluvium_slice old, alluvium_slice *value) {
    char *memory = context;
    (void)old;
    snprintf(memory, 32, "value number %zu", index);
    *value = text(memory);
    return index % 3 == 0 ? ALLUVIUM_DELETE : ALLUVIUM_PUT;
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    fixture made = set_up(argv[1], NULL);
    alluvium_writer writer = made.writer;
    uint16_t counts = state_of(made.store, "counts", ALLUVIUM_KIND_VALUE, NULL);
    uint16_t lists = state_of(made.store, "lists", ALLUVIUM_KIND_LIST, NULL);
    uint16_t maps = state_of(made.store, "maps", ALLUVIUM_KIND_MAP, NULL);

    static char names[KEYS][16];
    static alluvium_key keys[KEYS];
    static updates all;
    for (size_t i = 0; i < KEYS; i++) {
        snprintf(names[i], sizeof names[i], "key %zu", i / 2); /* each twice */
        keys[i] = by_hash(names[i]);
    }
    OK(alluvium_writer_prefetch(writer, &counts, 1, keys, KEYS, ERROR));
    OK(alluvium_writer_update_many(writer, counts, keys, KEYS, count, &all, ERROR));
    CHECK(all.calls == KEYS);
    checkpoint(made.store, 1);
    OK(alluvium_writer_update_many(writer, counts, keys, KEYS, count, &all, ERROR));
    for (size_t i = 0; i < KEYS; i++)
        CHECK(all.counts[i] == 3 + i % 2);

    uint16_t words = state_of(made.store, "words", ALLUVIUM_KIND_VALUE, NULL);
    char place[32];
    for (int round = 0; round < 2; round++) {
        OK(alluvium_writer_update_many(writer, words, keys, KEYS, same_place, place, ERROR));
        for (size_t i = 1; i < KEYS; i += 2) {
            uint8_t found_value[32];
            size_t found_len;
            char expected[32];
            snprintf(expected, sizeof expected, "value number %zu", i);
            alluvium_status status =
                alluvium_writer_get(writer, words, &keys[i], found_value, sizeof found_value, &found_len, ERROR);
            CHECK(status == (i % 3 == 0 ? ALLUVIUM_NOT_FOUND : ALLUVIUM_OK));
            CHECK(i % 3 == 0 || same(bytes(found_value, found_len), expected));
        }
    }

    /* Values that there is room for, and those that there isn't. */
    static uint8_t memory[8 * KEYS];
    static alluvium_found found[KEYS];
    alluvium_key absent = by_hash("absent");
    keys[7] = absent;
    OK(alluvium_writer_get_many(writer, counts, keys, KEYS, memory, sizeof memory, found, ERROR));
    for (size_t i = 0; i < KEYS; i++) {
        CHECK(found[i].status == (i == 7 ? ALLUVIUM_NOT_FOUND : ALLUVIUM_OK));
        CHECK(i == 7 || (found[i].len == 8 && u64_at(memory + found[i].at) == 4));
    }
    IS(ALLUVIUM_TOO_SMALL, alluvium_writer_get_many(writer, counts, keys, KEYS, memory, 80, found, ERROR));
    size_t there = 0, too_small = 0;
    for (size_t i = 0; i < KEYS; i++) {
        there += found[i].status == ALLUVIUM_OK;
        too_small += found[i].status == ALLUVIUM_TOO_SMALL;
        CHECK(found[i].status == ALLUVIUM_NOT_FOUND || found[i].len == 8);
    }
    CHECK(there == 10 && too_small == KEYS - 11);

    /* A packed batch does what its operations do one by one. */
    uint8_t batch[1024];
    size_t len = 0;
    len += pack(batch + len, ALLUVIUM_OP_PUT, counts, "packed", NOTHING, text("put"));
    len += pack(batch + len, ALLUVIUM_OP_APPEND, lists, "packed", NOTHING, text("a"));
    len += pack(batch + len, ALLUVIUM_OP_APPEND, lists, "packed", NOTHING, text("b"));
    len += pack(batch + len, ALLUVIUM_OP_MAP_PUT, maps, "packed", text("u1"), text("v1"));
    len += pack(batch + len, ALLUVIUM_OP_MAP_PUT, maps, "packed", text("u2"), text("v2"));
    len += pack(batch + len, ALLUVIUM_OP_MAP_PUT, maps, "packed", text("u3"), text("v3"));
    len += pack(batch + len, ALLUVIUM_OP_MAP_DELETE, maps, "packed", text("u1"), NOTHING);
    len += pack(batch + len, ALLUVIUM_OP_MAP_DELETE_RANGE, maps, "packed", text("u3"), text("u4"));
    len += pack(batch + len, ALLUVIUM_OP_DELETE, counts, "key 0", NOTHING, NOTHING);
    OK(alluvium_writer_apply(writer, bytes(batch, len), ERROR));
    CHECK(has(writer, counts, "packed", "put"));
    alluvium_key key = by_hash("packed"), deleted = by_hash("key 0");
    size_t value_len;
    IS(ALLUVIUM_NOT_FOUND, alluvium_writer_get(writer, counts, &deleted, memory, 8, &value_len, ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_writer_map_contains(writer, maps, &key, text("u1"), ERROR));
    OK(alluvium_writer_map_contains(writer, maps, &key, text("u2"), ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_writer_map_contains(writer, maps, &key, text("u3"), ERROR));
    alluvium_buffer buffer;
    alluvium_slice rest;
    OK(alluvium_buffer_new(&buffer, ERROR));
    OK(alluvium_writer_list(writer, lists, &key, buffer, ERROR));
    OK(alluvium_buffer_data(buffer, &rest, NULL));
    CHECK(same(take_element(&rest), "a") && same(take_element(&rest), "b") && rest.len == 0);
    OK(alluvium_buffer_free(buffer));

    other_operations(&made, maps);

    /* What is no batch does nothing. */
    len = pack(batch, ALLUVIUM_OP_PUT, counts, "packed", NOTHING, text("again"));
    size_t second = pack(batch + len, ALLUVIUM_OP_PUT, counts, "packed", NOTHING, text("and again"));
    for (size_t cut = 1; cut < second; cut++)
        IS(ALLUVIUM_ARGUMENT, alluvium_writer_apply(writer, bytes(batch, len + cut), ERROR));
    batch[0] = 200;
    IS(ALLUVIUM_ARGUMENT, alluvium_writer_apply(writer, bytes(batch, len), ERROR));
    batch[0] = ALLUVIUM_OP_GET;
    IS(ALLUVIUM_OPTIONS, alluvium_writer_apply(writer, bytes(batch, len), ERROR)); /* reads are submitted */
    CHECK(has(writer, counts, "packed", "put"));
    OK(alluvium_writer_apply(writer, NOTHING, ERROR));
    tear_down(&made);
    return 0;
}
