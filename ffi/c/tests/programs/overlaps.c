/* Keys that change, or go, while they are used: they lie in the buffer that the call fills, or a callback writes over them. */
#include "check.h"

#define ENTRIES 1000
#define KEYS 2000

static alluvium_slice at(uint8_t *memory, uint64_t time) {
    for (size_t i = 0; i < 8; i++)
        memory[i] = (uint8_t)(time >> (56 - 8 * i));
    return bytes(memory, 8);
}

static alluvium_slice left(alluvium_buffer buffer) {
    alluvium_slice data;
    OK(alluvium_buffer_data(buffer, &data, NULL));
    return data;
}

/* The key and the user key that a call is given lie in its buffer, which has to grow: what they were is freed under the call. */
static void keys_in_the_buffer(fixture *made) {
    alluvium_writer writer = made->writer;
    uint16_t names = state_of(made->store, "names", ALLUVIUM_KIND_VALUE, NULL);
    uint16_t timers = state_of(made->store, "timers", ALLUVIUM_KIND_MAP, NULL);
    uint16_t lists = state_of(made->store, "lists", ALLUVIUM_KIND_LIST, NULL);
    alluvium_key queue = by_hash("queue of timers");
    alluvium_buffer buffer;
    uint8_t memory[8], value[100];
    for (uint64_t i = 0; i < ENTRIES; i++) {
        memset(value, (int)i, sizeof value);
        OK(alluvium_writer_map_put(writer, timers, &queue, at(memory, i), bytes(value, sizeof value), ERROR));
        OK(alluvium_writer_append(writer, lists, &queue, bytes(value, sizeof value), ERROR));
        if (i == ENTRIES / 2)
            checkpoint(made->store, 1); /* some of it is on disk alone, some in memory alone */
    }
    put(writer, names, "its name", "queue of timers");
    OK(alluvium_writer_put(writer, names, &(alluvium_key){ALLUVIUM_GROUP_BY_HASH, text("due"), NOTHING}, at(memory, 600), ERROR));

    OK(alluvium_buffer_new(&buffer, ERROR));
    alluvium_key key = by_hash("due");
    OK(alluvium_writer_get_buffer(writer, names, &key, buffer, ERROR));
    OK(alluvium_writer_map_pop_below(writer, timers, &queue, left(buffer), buffer, ERROR));
    alluvium_slice rest = left(buffer);
    for (uint64_t i = 0; i < 600; i++) {
        record due = take_record(&rest);
        CHECK(due.user_key.len == 8 && memcmp(due.user_key.data, at(memory, i).data, 8) == 0);
        CHECK(due.value.len == sizeof value && due.value.data[0] == (uint8_t)i);
    }
    CHECK(rest.len == 0);
    alluvium_buffer_free(buffer);

    key = by_hash("its name");
    OK(alluvium_buffer_new(&buffer, ERROR)); /* an empty one, which grows from the first byte on */
    OK(alluvium_writer_get_buffer(writer, names, &key, buffer, ERROR));
    key.key = left(buffer);
    OK(alluvium_writer_list(writer, lists, &key, buffer, ERROR));
    rest = left(buffer);
    for (uint64_t i = 0; i < ENTRIES; i++) {
        alluvium_slice element = take_element(&rest);
        CHECK(element.len == sizeof value && element.data[0] == (uint8_t)i && element.data[99] == (uint8_t)i);
    }
    CHECK(rest.len == 0);

    for (uint64_t i = 600; i < ENTRIES; i++) {
        key = by_hash("its name");
        OK(alluvium_writer_get_buffer(writer, names, &key, buffer, ERROR));
        key.key = left(buffer);
        OK(alluvium_writer_map_pop_first(writer, timers, &key, buffer, ERROR));
        rest = left(buffer);
        record popped = take_record(&rest);
        CHECK(memcmp(popped.user_key.data, at(memory, i).data, 8) == 0 && popped.value.data[0] == (uint8_t)i);
    }
    IS(ALLUVIUM_NOT_FOUND, alluvium_writer_map_any(writer, timers, &queue, ERROR));
    alluvium_buffer_free(buffer);
}

typedef struct {
    char *key;
    char value[16];
} scribbler;

/* Writes over the key whose value it changes. */
static int32_t scribble(void *context, size_t index, alluvium_slice old, alluvium_slice *value) {
    scribbler *own = context;
    (void)index;
    /* Grows each time, so that it doesn't take the old one's place. */
    memcpy(own->value, "12345678901234", 15);
    *value = bytes(own->value, old.len + 3);
    memset(own->key, 'z', 8);
    return ALLUVIUM_PUT;
}

static void callbacks_write_over_keys(fixture *made) {
    alluvium_writer writer = made->writer;
    uint16_t values = state_of(made->store, "values", ALLUVIUM_KIND_VALUE, NULL);
    char name[16];
    scribbler own = {name, ""};
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < KEYS; i++) {
            for (int space = 0; space < 2; space++) {
                snprintf(name, sizeof name, "k%07d", i);
                alluvium_key key = {ALLUVIUM_GROUP_BY_HASH, bytes(name, 8), space ? bytes(name, 4) : NOTHING};
                OK(alluvium_writer_update(writer, values, &key, scribble, &own, ERROR));
                CHECK(memcmp(name, "zzzzzzzz", 8) == 0);
            }
        }
        if (round == 1)
            checkpoint(made->store, 2);
    }
    for (int i = 0; i < KEYS; i++) {
        for (int space = 0; space < 2; space++) {
            uint8_t value[16];
            size_t len;
            snprintf(name, sizeof name, "k%07d", i);
            alluvium_key key = {ALLUVIUM_GROUP_BY_HASH, bytes(name, 8), space ? bytes(name, 4) : NOTHING};
            OK(alluvium_writer_get(writer, values, &key, value, sizeof value, &len, ERROR));
            CHECK(len == 9 && memcmp(value, "123456789", 9) == 0);
        }
    }
    memset(name, 'z', 8);
    for (int space = 0; space < 2; space++) {
        uint8_t value[16];
        size_t len;
        alluvium_key key = {ALLUVIUM_GROUP_BY_HASH, bytes(name, 8), space ? bytes(name, 4) : NOTHING};
        IS(ALLUVIUM_NOT_FOUND, alluvium_writer_get(writer, values, &key, value, sizeof value, &len, ERROR));
    }
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    fixture made = set_up(argv[1], NULL);
    keys_in_the_buffer(&made);
    callbacks_write_over_keys(&made);
    tear_down(&made);
    return 0;
}
