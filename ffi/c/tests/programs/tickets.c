/* Reads that don't wait for the disk: submit, poll, wait, a callback, back-pressure. */
#include "check.h"
#include <stdatomic.h>

enum { KEYS = 4000 };

static size_t pack(uint8_t *out, uint8_t operation, uint16_t state, const char *name, const char *value) {
    size_t key = strlen(name), len = strlen(value);
    memset(out, 0, 16);
    out[0] = operation;
    out[1] = ALLUVIUM_OP_HASHED;
    put_u16(out + 2, state);
    put_u16(out + 6, (uint16_t)key);
    put_u32(out + 12, (uint32_t)len);
    memcpy(out + 16, name, key);
    memcpy(out + 16 + key, value, len);
    return 16 + key + len;
}

/* The same of a map's entry: its user key lies where a value would. */
static size_t pack_entry(uint8_t *out, uint8_t operation, uint16_t state, const char *name, const char *user_key) {
    size_t len = pack(out, operation, state, name, user_key);
    put_u16(out + 10, (uint16_t)strlen(user_key));
    put_u32(out + 12, 0);
    return len;
}

static void done(void *context) { atomic_fetch_add((atomic_int *)context, 1); }

/* Takes the answers in a buffer, and says how many. */
static size_t check_answers(alluvium_buffer buffer, uint8_t *seen) {
    alluvium_slice rest;
    size_t records = 0;
    OK(alluvium_buffer_data(buffer, &rest, &records));
    for (size_t i = 0; i < records; i++) {
        char expected[32];
        uint32_t index = u32_at(rest.data), len = u32_at(rest.data + 8);
        CHECK(index < KEYS && !seen[index]);
        seen[index] = 1;
        int there = index % 3 != 0;
        CHECK((int32_t)u32_at(rest.data + 4) == (there ? ALLUVIUM_OK : ALLUVIUM_NOT_FOUND));
        snprintf(expected, sizeof expected, there ? "value %u" : "", index);
        CHECK(same(bytes(rest.data + 12, len), expected));
        rest.data += 12 + len;
        rest.len -= 12 + len;
    }
    CHECK(rest.len == 0);
    return records;
}

/* Batches are taken until too many of their reads wait for the disk or to be taken, and again when those were. */
static void back_pressure(alluvium_writer writer, alluvium_slice batch, alluvium_buffer buffer) {
    enum { TICKETS = 64 };
    alluvium_ticket tickets[TICKETS], refused = {0};
    size_t submitted = 0;
    uint32_t full = 9;
    OK(alluvium_writer_is_full(writer, &full, ERROR));
    CHECK(full == 0);
    while (full == 0) {
        CHECK(submitted < TICKETS);
        OK(alluvium_writer_submit(writer, batch, &tickets[submitted++], ERROR));
        OK(alluvium_writer_is_full(writer, &full, ERROR));
    }
    CHECK(full == 1);
    IS(ALLUVIUM_BUSY, alluvium_writer_submit(writer, batch, &refused, ERROR));
    CHECK(refused.id == 0);
    for (size_t i = 0; i < submitted; i++) {
        uint8_t seen[KEYS] = {0};
        OK(alluvium_ticket_wait(tickets[i], ERROR));
        IS(ALLUVIUM_NOT_FOUND, alluvium_ticket_poll(tickets[i], buffer, ERROR));
        CHECK(check_answers(buffer, seen) == KEYS);
        OK(alluvium_ticket_close(tickets[i], ERROR));
    }
    OK(alluvium_writer_is_full(writer, &full, ERROR));
    CHECK(full == 0);
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    fixture made = set_up(argv[1], NULL);
    alluvium_writer writer = made.writer;
    uint16_t values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
    uint16_t lists = state_of(made.store, "lists", ALLUVIUM_KIND_LIST, NULL);
    char name[32], value[32];
    uint8_t *filling = malloc(100000);
    memset(filling, 1, 100000);
    for (uint32_t i = 0; i < KEYS; i++) {
        snprintf(name, sizeof name, "key %u", i);
        snprintf(value, sizeof value, "value %u", i);
        if (i % 3 != 0)
            put(writer, values, name, value);
    }
    checkpoint(made.store, 1);
    for (uint32_t i = 0; i < 300; i++) { /* more than memory holds, so that the values leave it */
        snprintf(name, sizeof name, "filling %u", i);
        alluvium_key key = by_hash(name);
        OK(alluvium_writer_put(writer, values, &key, bytes(filling, 100000), ERROR));
    }
    free(filling);

    uint8_t *batch = malloc(64 * KEYS), seen[KEYS] = {0};
    size_t len = 0;
    for (uint32_t i = 0; i < KEYS; i++) {
        snprintf(name, sizeof name, "key %u", i);
        len += pack(batch + len, ALLUVIUM_OP_GET, values, name, "");
    }
    alluvium_ticket ticket;
    alluvium_buffer buffer;
    OK(alluvium_buffer_new(&buffer, ERROR));
    back_pressure(writer, bytes(batch, len), buffer);
    OK(alluvium_writer_submit(writer, bytes(batch, len), &ticket, ERROR));
    IS(ALLUVIUM_HAS_CHILDREN, alluvium_store_close(made.store, ERROR));
    /* What is written later is not what was asked for. */
    put(writer, values, "key 1", "another");
    atomic_int calls = 0;
    OK(alluvium_ticket_on_complete(ticket, done, &calls, ERROR));
    size_t answered = 0;
    for (alluvium_status status = ALLUVIUM_OK; status == ALLUVIUM_OK;) {
        status = alluvium_writer_poll(writer, ticket, buffer, ERROR);
        CHECK(status == ALLUVIUM_OK || status == ALLUVIUM_NOT_FOUND);
        answered += check_answers(buffer, seen);
    }
    CHECK(answered == KEYS);
    OK(alluvium_ticket_wait(ticket, ERROR));
    while (atomic_load(&calls) == 0) {
    }
    CHECK(atomic_load(&calls) == 1);
    OK(alluvium_ticket_close(ticket, ERROR));

    /* Writes and reads in one batch; lists come packed. */
    len = pack(batch, ALLUVIUM_OP_APPEND, lists, "list", "a");
    len += pack(batch + len, ALLUVIUM_OP_APPEND, lists, "list", "bc");
    len += pack(batch + len, ALLUVIUM_OP_LIST, lists, "list", "");
    OK(alluvium_writer_submit(writer, bytes(batch, len), &ticket, ERROR));
    OK(alluvium_ticket_wait(ticket, ERROR));
    uint32_t complete = 0;
    OK(alluvium_ticket_is_complete(ticket, &complete, ERROR));
    CHECK(complete == 1);
    IS(ALLUVIUM_NOT_FOUND, alluvium_ticket_poll(ticket, buffer, ERROR));
    alluvium_slice rest;
    size_t records = 0;
    OK(alluvium_buffer_data(buffer, &rest, &records));
    CHECK(records == 1 && u32_at(rest.data) == 2 && u32_at(rest.data + 4) == ALLUVIUM_OK);
    rest = bytes(rest.data + 12, u32_at(rest.data + 8));
    CHECK(same(take_element(&rest), "a") && same(take_element(&rest), "bc") && rest.len == 0);
    OK(alluvium_ticket_close(ticket, ERROR));

    /* Entries of maps: one that is there, and one that isn't. */
    uint16_t maps = state_of(made.store, "maps", ALLUVIUM_KIND_MAP, NULL);
    alluvium_key map = by_hash("map");
    OK(alluvium_writer_map_put(writer, maps, &map, text("605"), text("late"), ERROR));
    len = pack_entry(batch, ALLUVIUM_OP_MAP_GET, maps, "map", "605");
    len += pack_entry(batch + len, ALLUVIUM_OP_MAP_GET, maps, "map", "606");
    OK(alluvium_writer_submit(writer, bytes(batch, len), &ticket, ERROR));
    OK(alluvium_ticket_wait(ticket, ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_ticket_poll(ticket, buffer, ERROR));
    OK(alluvium_buffer_data(buffer, &rest, &records));
    CHECK(records == 2);
    for (uint32_t answers = 0; answers != 3;) { /* in any order, each once */
        uint32_t index = u32_at(rest.data), value_len = u32_at(rest.data + 8);
        CHECK(index < 2 && (answers & (1U << index)) == 0);
        answers |= 1U << index;
        CHECK((int32_t)u32_at(rest.data + 4) == (index == 0 ? ALLUVIUM_OK : ALLUVIUM_NOT_FOUND));
        CHECK(same(bytes(rest.data + 12, value_len), index == 0 ? "late" : ""));
        rest = bytes(rest.data + 12 + value_len, rest.len - 12 - value_len);
    }
    CHECK(rest.len == 0);
    OK(alluvium_ticket_close(ticket, ERROR));
    free(batch);
    OK(alluvium_buffer_free(buffer));
    tear_down(&made);
    return 0;
}
