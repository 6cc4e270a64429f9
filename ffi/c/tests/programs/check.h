/* What the programs share: calls that have to come to something, and a store to call. */
#ifndef CHECK_H
#define CHECK_H

#include <alluvium.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The error of the last call that was checked. */
static _Thread_local alluvium_error last_error;

static inline void complain(const char *file, int line, const char *what, alluvium_status got, alluvium_status wanted) {
    const char *message = "";
    if (last_error.id != 0)
        alluvium_error_get(last_error, NULL, NULL, &message);
    fprintf(stderr, "%s:%d: %s came to %d (%s), not %d: %s\n", file, line, what, got, alluvium_status_text(got), wanted, message);
    exit(1);
}

static inline void forget_error(void) {
    if (last_error.id != 0)
        alluvium_error_free(last_error);
    last_error.id = 0;
}

/* A call that has to come to a status. `ERROR` is its last argument. */
#define ERROR &last_error
#define IS(wanted, call)                                               \
    do {                                                               \
        alluvium_status got_ = (call);                                 \
        if (got_ != (wanted))                                          \
            complain(__FILE__, __LINE__, #call, got_, (wanted));       \
        forget_error();                                                \
    } while (0)
#define OK(call) IS(ALLUVIUM_OK, call)

#define CHECK(condition)                                                       \
    do {                                                                       \
        if (!(condition)) {                                                    \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                           \
        }                                                                      \
    } while (0)

static inline alluvium_slice text(const char *text) {
    alluvium_slice slice = {(const uint8_t *)text, strlen(text)};
    return slice;
}

static inline alluvium_slice bytes(const void *data, size_t len) {
    alluvium_slice slice = {data, len};
    return slice;
}

static const alluvium_slice NOTHING = {NULL, 0};

/* A key that its hash gives a key group. */
static inline alluvium_key by_hash(const char *name) {
    alluvium_key key = {ALLUVIUM_GROUP_BY_HASH, text(name), {NULL, 0}};
    return key;
}

static inline int same(alluvium_slice slice, const char *expected) {
    return slice.len == strlen(expected) && memcmp(slice.data, expected, slice.len) == 0;
}

/* Little-endian numbers, wherever they lie. */
static inline uint16_t u16_at(const uint8_t *at) { return (uint16_t)(at[0] | at[1] << 8); }
static inline uint32_t u32_at(const uint8_t *at) { return (uint32_t)u16_at(at) | (uint32_t)u16_at(at + 2) << 16; }
static inline uint64_t u64_at(const uint8_t *at) { return (uint64_t)u32_at(at) | (uint64_t)u32_at(at + 4) << 32; }
static inline void put_u16(uint8_t *at, uint16_t number) { at[0] = (uint8_t)number; at[1] = (uint8_t)(number >> 8); }
static inline void put_u32(uint8_t *at, uint32_t number) { put_u16(at, (uint16_t)number); put_u16(at + 2, (uint16_t)(number >> 16)); }
static inline void put_u64(uint8_t *at, uint64_t number) { put_u32(at, (uint32_t)number); put_u32(at + 4, (uint32_t)(number >> 32)); }

/* A record of a cursor or map, taken off the front of what is left. */
typedef struct {
    uint16_t group;
    alluvium_slice key, ns, user_key, value;
} record;

static inline record take_record(alluvium_slice *rest) {
    record found;
    const uint8_t *at = rest->data;
    CHECK(rest->len >= 12);
    found.group = u16_at(at);
    size_t key = u16_at(at + 2), ns = u16_at(at + 4), user_key = u16_at(at + 6), value = u32_at(at + 8);
    at += 12;
    found.key = bytes(at, key);
    found.ns = bytes(at += key, ns);
    found.user_key = bytes(at += ns, user_key);
    found.value = bytes(at += user_key, value);
    size_t all = 12 + key + ns + user_key + value;
    CHECK(rest->len >= all);
    rest->data += all;
    rest->len -= all;
    return found;
}

/* An element of a list, taken off the front of what is left. */
static inline alluvium_slice take_element(alluvium_slice *rest) {
    CHECK(rest->len >= 4);
    alluvium_slice element = bytes(rest->data + 4, u32_at(rest->data));
    CHECK(rest->len - 4 >= element.len);
    rest->data += 4 + element.len;
    rest->len -= 4 + element.len;
    return element;
}

/* An engine with a store that is all its own. */
typedef struct {
    alluvium_engine engine;
    alluvium_store store;
    alluvium_writer writer;
} fixture;

static inline alluvium_engine small_engine(void) {
    alluvium_engine engine;
    alluvium_engine_options options;
    OK(alluvium_engine_options_init(&options));
    options.memory_budget_bytes = 16 << 20;
    OK(alluvium_engine_open(&options, &engine, ERROR));
    return engine;
}

static inline alluvium_range all_groups(void) {
    alluvium_range range = {0, 127};
    return range;
}

static inline fixture set_up(const char *directory, const alluvium_store_options *options) {
    fixture made;
    made.engine = small_engine();
    OK(alluvium_store_create(made.engine, directory, options, &made.store, ERROR));
    OK(alluvium_writer_open(made.store, all_groups(), &made.writer, ERROR));
    return made;
}

static inline void tear_down(fixture *made) {
    OK(alluvium_writer_close(made->writer, ERROR));
    OK(alluvium_store_close(made->store, ERROR));
    OK(alluvium_engine_close(made->engine, ERROR));
    size_t open = 1;
    OK(alluvium_open_handles(&open));
    CHECK(open == 0);
}

static inline uint16_t state_of(alluvium_store store, const char *name, uint32_t kind, const char *merge_name) {
    uint16_t state;
    alluvium_state_options options;
    OK(alluvium_state_options_init(&options));
    options.name = name;
    options.kind = kind;
    options.merge_name = merge_name;
    OK(alluvium_store_state(store, &options, &state, ERROR));
    return state;
}

/* A state whose values expire. */
static inline uint16_t expiring(alluvium_store store, const char *name, uint32_t kind, uint64_t ttl_ms) {
    uint16_t state;
    alluvium_state_options options;
    OK(alluvium_state_options_init(&options));
    options.name = name;
    options.kind = kind;
    options.ttl_ms = ttl_ms;
    OK(alluvium_store_state(store, &options, &state, ERROR));
    return state;
}

/* A checkpoint, waited for. */
static inline void checkpoint(alluvium_store store, uint64_t label) {
    alluvium_barrier barrier = {.size = sizeof barrier, .label = label};
    alluvium_pending pending;
    OK(alluvium_store_barrier(store, &barrier, &pending, ERROR));
    OK(alluvium_pending_wait(pending, NULL, ERROR));
    OK(alluvium_pending_close(pending, ERROR));
}

/* Waits for the store's background work: its jobs are done one after another, and what nothing needs any more is deleted between them. */
static inline void settle(alluvium_store store) {
    alluvium_snapshot snapshot;
    OK(alluvium_store_snapshot(store, &snapshot, ERROR));
    OK(alluvium_snapshot_wait(snapshot, ERROR));
    OK(alluvium_snapshot_close(snapshot, ERROR));
}

/* The checkpoints that are kept have these labels, oldest first. */
static inline void kept_are(alluvium_store store, size_t count, const uint64_t *labels) {
    size_t kept = 0;
    alluvium_info info;
    alluvium_numbers numbers = {.size = sizeof numbers};
    settle(store);
    OK(alluvium_store_checkpoints(store, &kept, ERROR));
    CHECK(kept == count);
    for (size_t i = 0; i < count; i++) {
        OK(alluvium_store_checkpoint(store, i, &info, ERROR));
        OK(alluvium_info_numbers(info, &numbers, ERROR));
        CHECK(numbers.label == labels[i]);
        OK(alluvium_info_close(info, ERROR));
    }
    IS(ALLUVIUM_NOT_FOUND, alluvium_store_checkpoint(store, count, &info, ERROR));
}

/* A value that is there. */
static inline int has(alluvium_writer writer, uint16_t state, const char *name, const char *expected) {
    uint8_t memory[256];
    size_t len = 0;
    alluvium_key key = by_hash(name);
    OK(alluvium_writer_get(writer, state, &key, memory, sizeof memory, &len, ERROR));
    return same(bytes(memory, len), expected);
}

static inline void put(alluvium_writer writer, uint16_t state, const char *name, const char *value) {
    alluvium_key key = by_hash(name);
    OK(alluvium_writer_put(writer, state, &key, text(value), ERROR));
}

#endif
