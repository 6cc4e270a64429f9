/* One operation over keys of 16 bytes, from C: prints ns for each. See calls.rs, which does the same in Rust.
 *
 *   calls DIRECTORY OPERATION VALUE_BYTES ROUNDS KEYS
 */
#define _POSIX_C_SOURCE 200809L
#include <alluvium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { KEY_BYTES = 16, BATCH = 64 };

static void must(alluvium_status status, alluvium_error *error) {
    if (status >= ALLUVIUM_OK)
        return;
    const char *message = alluvium_status_text(status);
    alluvium_error_get(*error, NULL, NULL, &message);
    fprintf(stderr, "%s\n", message);
    exit(1);
}

/* splitmix64, as in calls.rs. */
static uint64_t mixed(uint64_t number) {
    number += UINT64_C(0x9e3779b97f4a7c15);
    number = (number ^ (number >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    number = (number ^ (number >> 27)) * UINT64_C(0x94d049bb133111eb);
    return number ^ (number >> 31);
}

enum { GET, MISS, PUT, UPDATE, APPEND, GET_MANY, UPDATE_MANY, SCAN, OPERATIONS };
static const char *const names[OPERATIONS] = {"get", "miss", "put", "update", "append", "get-64", "update-64", "scan"};

/* Once, as comparing names with each other costs as much as a call. */
static int operation_of(const char *name) {
    for (int operation = 0; operation < OPERATIONS; operation++)
        if (strcmp(names[operation], name) == 0)
            return operation;
    exit(2);
}

/* In the order of their use, which is not that of the puts: a cache miss in a table of keys would be part of each operation. */
static uint8_t (*keys)[KEY_BYTES], (*absent)[KEY_BYTES];

static void make_key(uint8_t *key, uint64_t number) {
    uint64_t parts[2] = {mixed(2 * number), mixed(2 * number + 1)};
    memcpy(key, parts, KEY_BYTES);
}

static void make_keys(size_t all) {
    keys = malloc(sizeof *keys * all);
    absent = malloc(sizeof *absent * all);
    for (uint64_t i = 0; i < all; i++) {
        make_key(keys[i], i * 7919 % all);
        make_key(absent[i], i + all);
    }
}

static alluvium_key key_at(uint8_t (*of)[KEY_BYTES], size_t i) {
    alluvium_key key = {ALLUVIUM_GROUP_BY_HASH, {of[i], KEY_BYTES}, {NULL, 0}};
    return key;
}

static int32_t add_one(void *context, size_t index, alluvium_slice old, alluvium_slice *value) {
    uint64_t *count = context;
    (void)index;
    memcpy(count, old.data, sizeof *count);
    ++*count;
    value->data = (const uint8_t *)count;
    value->len = sizeof *count;
    return ALLUVIUM_PUT;
}

int main(int argc, char **argv) {
    if (argc != 6)
        return 2;
    int operation = operation_of(argv[2]);
    size_t value_len = strtoul(argv[3], NULL, 10), rounds = strtoul(argv[4], NULL, 10), all_keys = strtoul(argv[5], NULL, 10);
    alluvium_error error = {0};
    alluvium_engine engine;
    alluvium_store store;
    alluvium_writer writer;
    uint16_t values, lists;
    alluvium_engine_options options;
    alluvium_engine_options_init(&options);
    options.memory_budget_bytes = UINT64_C(4) << 30;
    must(alluvium_engine_open(&options, &engine, &error), &error);
    must(alluvium_store_create(engine, argv[1], NULL, &store, &error), &error);
    alluvium_state_options state;
    alluvium_state_options_init(&state);
    state.name = "values";
    must(alluvium_store_state(store, &state, &values, &error), &error);
    state.name = "lists";
    state.kind = ALLUVIUM_KIND_LIST;
    must(alluvium_store_state(store, &state, &lists, &error), &error);
    alluvium_range all = {0, 127};
    must(alluvium_writer_open(store, all, &writer, &error), &error);

    make_keys(all_keys);
    uint8_t *memory = calloc(BATCH, value_len + 8);
    alluvium_slice value = {memory, value_len};
    for (size_t i = 0; i < all_keys; i++) {
        uint8_t first[1][KEY_BYTES];
        make_key(first[0], i);
        alluvium_key key = key_at(first, 0);
        must(alluvium_writer_put(writer, values, &key, value, &error), &error);
    }
    alluvium_key batch[BATCH];
    alluvium_found found[BATCH];
    alluvium_cursor cursor;
    alluvium_buffer buffer;
    must(alluvium_buffer_new(&buffer, &error), &error);
    uint64_t count = 0, sum = 0, done = 0;
    size_t len = 0;

    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (size_t round = 0; round < rounds; round++) {
        if (operation == SCAN) {
            must(alluvium_cursor_keys(store, values, all, &cursor, &error), &error);
            while (alluvium_writer_fetch(writer, cursor, buffer, &error) == ALLUVIUM_OK) {
                alluvium_slice data;
                size_t records;
                alluvium_buffer_data(buffer, &data, &records);
                for (size_t i = 0; i < records; i++) {
                    uint16_t key_len;
                    memcpy(&key_len, data.data + 2, 2);
                    sum += data.data[12];
                    data.data += 12 + key_len;
                }
                done += records;
            }
            must(alluvium_cursor_close(cursor, &error), &error);
            continue;
        }
        for (size_t i = 0; i < all_keys; i++) {
            alluvium_key key = key_at(keys, i);
            if (operation == GET) {
                must(alluvium_writer_get(writer, values, &key, memory, value_len, &len, &error), &error);
                sum += len;
            } else if (operation == MISS) {
                key.key.data = absent[i];
                must(alluvium_writer_get(writer, values, &key, memory, value_len, &len, &error), &error);
                sum += len;
            } else if (operation == PUT) {
                must(alluvium_writer_put(writer, values, &key, value, &error), &error);
            } else if (operation == UPDATE) {
                must(alluvium_writer_update(writer, values, &key, add_one, &count, &error), &error);
            } else if (operation == APPEND) {
                must(alluvium_writer_append(writer, lists, &key, value, &error), &error);
            } else if (operation == GET_MANY) {
                batch[i % BATCH] = key;
                if (i % BATCH == BATCH - 1) {
                    must(alluvium_writer_get_many(writer, values, batch, BATCH, memory, BATCH * value_len, found, &error), &error);
                    sum += found[0].len;
                }
            } else {
                batch[i % BATCH] = key;
                if (i % BATCH == BATCH - 1)
                    must(alluvium_writer_update_many(writer, values, batch, BATCH, add_one, &count, &error), &error);
            }
            done++;
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    double ns = (double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec);
    printf("%.2f %llu\n", ns / (double)done, (unsigned long long)(sum + count));
    alluvium_buffer_free(buffer);
    must(alluvium_writer_close(writer, &error), &error);
    must(alluvium_store_close(store, &error), &error);
    must(alluvium_engine_close(engine, &error), &error);
    return 0;
}
