/* The past: read as of checkpoints and positions while the store goes on, and keys that are brought back to it. */
#include "check.h"

static uint64_t checkpoint_at(alluvium_store store, uint64_t label) {
    alluvium_barrier barrier = {.size = sizeof barrier, .label = label};
    alluvium_pending pending;
    alluvium_info info;
    uint64_t position;
    OK(alluvium_store_barrier(store, &barrier, &pending, ERROR));
    OK(alluvium_pending_wait(pending, &info, ERROR));
    OK(alluvium_info_position(info, &position, ERROR));
    OK(alluvium_info_close(info, ERROR));
    OK(alluvium_pending_close(pending, ERROR));
    return position;
}

static void is(alluvium_past past, uint16_t state, const char *name, const char *expected) {
    alluvium_key key = by_hash(name);
    uint8_t memory[64];
    size_t len = 0;
    if (expected == NULL) {
        IS(ALLUVIUM_NOT_FOUND, alluvium_past_get(past, state, &key, memory, sizeof memory, &len, ERROR));
        return;
    }
    OK(alluvium_past_get(past, state, &key, memory, sizeof memory, &len, ERROR));
    CHECK(same(bytes(memory, len), expected));
}

static void is_now(alluvium_writer writer, uint16_t state, const char *name, const char *expected) {
    alluvium_key key = by_hash(name);
    uint8_t memory[64];
    size_t len = 0;
    if (expected == NULL) {
        IS(ALLUVIUM_NOT_FOUND, alluvium_writer_get(writer, state, &key, memory, sizeof memory, &len, ERROR));
        return;
    }
    OK(alluvium_writer_get(writer, state, &key, memory, sizeof memory, &len, ERROR));
    CHECK(same(bytes(memory, len), expected));
}

/* A value and a map's entry, as a buffer has them; `NULL` where there is none. */
static void has_in_buffer(alluvium_past past, uint16_t values, uint16_t maps, const char *value, const char *entry) {
    alluvium_key jfk = by_hash("JFK");
    alluvium_buffer buffer;
    alluvium_slice found;
    size_t records = 9;
    OK(alluvium_buffer_new(&buffer, ERROR));
    IS(value == NULL ? ALLUVIUM_NOT_FOUND : ALLUVIUM_OK, alluvium_past_get_buffer(past, values, &jfk, buffer, ERROR));
    OK(alluvium_buffer_data(buffer, &found, &records));
    CHECK(same(found, value == NULL ? "" : value) && records == (value != NULL));
    IS(entry == NULL ? ALLUVIUM_NOT_FOUND : ALLUVIUM_OK, alluvium_past_map_get_buffer(past, maps, &jfk, text("605"), buffer, ERROR));
    OK(alluvium_buffer_data(buffer, &found, &records));
    CHECK(same(found, entry == NULL ? "" : entry) && records == (entry != NULL));
    IS(ALLUVIUM_STATE, alluvium_past_get_buffer(past, maps, &jfk, buffer, ERROR));
    OK(alluvium_buffer_free(buffer));
    IS(ALLUVIUM_HANDLE, alluvium_past_map_get_buffer(past, maps, &jfk, text("605"), buffer, ERROR));
}

/* What has expired by the clock of a view isn't there, however the store goes on. */
static void by_its_clock(fixture *made) {
    uint16_t values = expiring(made->store, "expiring values", ALLUVIUM_KIND_VALUE, 100);
    uint16_t maps = expiring(made->store, "expiring maps", ALLUVIUM_KIND_MAP, 100);
    alluvium_key jfk = by_hash("JFK");
    alluvium_past past;
    uint64_t position;
    OK(alluvium_writer_set_time(made->writer, 1000, ERROR));
    put(made->writer, values, "JFK", "1");
    OK(alluvium_writer_map_put(made->writer, maps, &jfk, text("605"), text("late"), ERROR));
    OK(alluvium_store_position(made->store, &position, ERROR));
    OK(alluvium_writer_delete(made->writer, values, &jfk, ERROR));
    OK(alluvium_writer_map_clear(made->writer, maps, &jfk, ERROR));
    OK(alluvium_store_as_of_position(made->store, position, &past, ERROR));
    has_in_buffer(past, values, maps, "1", "late");
    OK(alluvium_past_set_time(past, 1099, ERROR));
    has_in_buffer(past, values, maps, "1", "late");
    OK(alluvium_past_set_time(past, 1101, ERROR));
    has_in_buffer(past, values, maps, NULL, NULL);
    is(past, values, "JFK", NULL);
    OK(alluvium_past_close(past, ERROR));
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    alluvium_store_options options;
    OK(alluvium_store_options_init(&options));
    CHECK(options.history_checkpoints == 0);
    options.durability = ALLUVIUM_DURABILITY_CHANGELOG;
    options.history_checkpoints = 2;
    fixture made = set_up(argv[1], &options);
    alluvium_writer writer = made.writer;
    uint16_t values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
    uint16_t lists = state_of(made.store, "lists", ALLUVIUM_KIND_LIST, NULL);
    uint16_t maps = state_of(made.store, "maps", ALLUVIUM_KIND_MAP, NULL);
    alluvium_key jfk = by_hash("JFK");
    put(writer, values, "JFK", "1");
    OK(alluvium_writer_append(writer, lists, &jfk, text("a"), ERROR));
    OK(alluvium_writer_map_put(writer, maps, &jfk, text("605"), text("late"), ERROR));
    OK(alluvium_writer_map_put(writer, maps, &jfk, text("606"), text("on time"), ERROR));
    uint64_t first = checkpoint_at(made.store, 7);
    CHECK(first > 0);
    put(writer, values, "JFK", "2");
    put(writer, values, "JAX", "new");
    OK(alluvium_writer_append(writer, lists, &jfk, text("b"), ERROR));
    OK(alluvium_writer_map_put(writer, maps, &jfk, text("606"), text("late, too"), ERROR));
    uint64_t second;
    OK(alluvium_store_position(made.store, &second, ERROR));
    CHECK(second > first);
    put(writer, values, "JFK", "3");
    OK(alluvium_writer_map_delete(writer, maps, &jfk, text("605"), ERROR));

    /* As of the checkpoint. */
    alluvium_snapshot snapshot;
    uint8_t memory[64];
    size_t len;
    OK(alluvium_store_as_of(made.store, 7, &snapshot, ERROR));
    OK(alluvium_snapshot_get(snapshot, values, &jfk, memory, sizeof memory, &len, ERROR));
    CHECK(same(bytes(memory, len), "1"));
    OK(alluvium_snapshot_close(snapshot, ERROR));
    alluvium_error error = {0};
    CHECK(alluvium_store_as_of(made.store, 8, &snapshot, &error) == ALLUVIUM_CHECKPOINT);
    const char *message;
    OK(alluvium_error_get(error, NULL, NULL, &message));
    CHECK(strstr(message, "[7]") != NULL);
    alluvium_error_free(error);

    /* As of positions. */
    alluvium_past past;
    alluvium_buffer buffer;
    OK(alluvium_buffer_new(&buffer, ERROR));
    OK(alluvium_store_as_of_position(made.store, first, &past, ERROR));
    uint64_t at = 0;
    OK(alluvium_past_position(past, &at, ERROR));
    CHECK(at == first);
    IS(ALLUVIUM_NULL, alluvium_past_position(past, NULL, ERROR));
    IS(ALLUVIUM_HANDLE, alluvium_past_position((alluvium_past){made.store.id}, &at, ERROR));
    is(past, values, "JFK", "1");
    is(past, values, "JAX", NULL);
    OK(alluvium_past_close(past, ERROR));
    IS(ALLUVIUM_HANDLE, alluvium_past_set_time(past, 1, ERROR));
    OK(alluvium_store_as_of_position(made.store, second, &past, ERROR));
    is(past, values, "JFK", "2");
    has_in_buffer(past, values, maps, "2", "late");
    is(past, values, "JAX", "new");
    OK(alluvium_past_list(past, lists, &jfk, buffer, ERROR));
    alluvium_slice found;
    size_t records;
    OK(alluvium_buffer_data(buffer, &found, &records));
    CHECK(records == 2);
    OK(alluvium_past_map_get(past, maps, &jfk, text("606"), memory, sizeof memory, &len, ERROR));
    CHECK(same(bytes(memory, len), "late, too"));
    IS(ALLUVIUM_NOT_FOUND, alluvium_past_map_get(past, maps, &jfk, text("607"), memory, sizeof memory, &len, ERROR));
    OK(alluvium_past_map_entries(past, maps, &jfk, NULL, buffer, ERROR));
    OK(alluvium_buffer_data(buffer, &found, &records));
    CHECK(records == 2);
    record entry = take_record(&found);
    CHECK(same(entry.user_key, "605") && same(entry.value, "late"));
    entry = take_record(&found);
    CHECK(same(entry.user_key, "606") && same(entry.value, "late, too"));
    IS(ALLUVIUM_STATE, alluvium_past_list(past, values, &jfk, buffer, ERROR));
    OK(alluvium_past_close(past, ERROR));
    IS(ALLUVIUM_POSITION, alluvium_store_as_of_position(made.store, UINT64_MAX, &past, ERROR));

    /* Brought back. */
    uint16_t states[3] = {values, lists, maps};
    alluvium_key keys[3] = {jfk, jfk, jfk};
    alluvium_rolled_back done;
    OK(alluvium_writer_rollback_keys(writer, states, keys, 3, ALLUVIUM_AS_OF_POSITION, second, &done, ERROR));
    CHECK(done.keys == 2 && done.changes == 2 && done.bytes > 0);
    is_now(writer, values, "JFK", "2");
    is_now(writer, values, "JAX", "new");
    alluvium_range all = {0, 127};
    OK(alluvium_writer_rollback_prefix(writer, values, all, text("J"), ALLUVIUM_AS_OF_LABEL, 7, &done, ERROR));
    CHECK(done.keys == 2 && done.changes == 2);
    is_now(writer, values, "JFK", "1");
    is_now(writer, values, "JAX", NULL);
    OK(alluvium_writer_rollback_prefix(writer, values, all, text("J"), ALLUVIUM_AS_OF_LABEL, 7, &done, ERROR));
    CHECK(done.keys == 0 && done.changes == 0 && done.bytes == 0);
    IS(ALLUVIUM_ARGUMENT, alluvium_writer_rollback_keys(writer, states, keys, 3, 9, 7, &done, ERROR));
    IS(ALLUVIUM_CHECKPOINT, alluvium_writer_rollback_keys(writer, states, keys, 3, ALLUVIUM_AS_OF_LABEL, 9, &done, ERROR));
    IS(ALLUVIUM_NULL, alluvium_writer_rollback_keys(writer, NULL, keys, 3, ALLUVIUM_AS_OF_LABEL, 7, &done, ERROR));
    IS(ALLUVIUM_NULL, alluvium_writer_rollback_keys(writer, states, keys, 3, ALLUVIUM_AS_OF_LABEL, 7, NULL, ERROR));

    OK(alluvium_buffer_free(buffer));
    by_its_clock(&made);
    tear_down(&made);
    return 0;
}
