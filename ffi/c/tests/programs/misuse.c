/* Whatever a caller does wrong is answered with a status, and harms nothing. */
#include "check.h"

static fixture made;
static uint16_t values;
static alluvium_status inside[4];

/* Calls the library from inside a callback. */
static int32_t reenter(void *context, size_t index, alluvium_slice old, alluvium_slice *value) {
    (void)context, (void)index, (void)old, (void)value;
    alluvium_key key = by_hash("k");
    uint64_t staged;
    inside[0] = alluvium_writer_put(made.writer, values, &key, text("x"), NULL);
    inside[1] = alluvium_writer_close(made.writer, NULL);
    inside[2] = alluvium_store_staged_bytes(made.store, &staged, NULL);
    inside[3] = alluvium_store_close(made.store, NULL);
    return ALLUVIUM_KEEP;
}

/* Gives what can't be. */
static int32_t give_null(void *context, size_t index, alluvium_slice old, alluvium_slice *value) {
    (void)context, (void)index, (void)old;
    value->data = NULL;
    value->len = 8;
    return ALLUVIUM_PUT;
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    made = set_up(argv[1], NULL);
    values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
    put(made.writer, values, "k", "kept");
    alluvium_key key = by_hash("k");
    uint8_t memory[16];
    size_t len;

    /* Handles that are none, or of another kind. */
    uint64_t wrong[] = {0, 1, UINT64_MAX, made.store.id, made.engine.id, made.writer.id + 1, made.writer.id ^ (UINT64_C(1) << 50)};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        alluvium_writer writer = {wrong[i]};
        IS(ALLUVIUM_HANDLE, alluvium_writer_put(writer, values, &key, text("x"), ERROR));
        IS(ALLUVIUM_HANDLE, alluvium_writer_close(writer, ERROR));
        IS(ALLUVIUM_HANDLE, alluvium_writer_adopt(writer, ERROR));
        alluvium_reader reader = {wrong[i]};
        IS(ALLUVIUM_HANDLE, alluvium_reader_get(reader, values, &key, memory, 8, &len, ERROR));
        IS(ALLUVIUM_HANDLE, alluvium_reader_close(reader, ERROR));
        alluvium_cursor cursor = {wrong[i]};
        alluvium_buffer buffer = {wrong[i]};
        IS(ALLUVIUM_HANDLE, alluvium_writer_fetch(made.writer, cursor, buffer, ERROR));
        IS(ALLUVIUM_HANDLE, alluvium_writer_get_buffer(made.writer, values, &key, buffer, ERROR));
        CHECK(alluvium_buffer_free(buffer) == ALLUVIUM_HANDLE);
        alluvium_error error = {wrong[i]};
        CHECK(alluvium_error_free(error) == ALLUVIUM_HANDLE);
        CHECK(alluvium_error_get(error, NULL, NULL, NULL) == ALLUVIUM_HANDLE);
    }

    /* Null where something has to be. */
    IS(ALLUVIUM_NULL, alluvium_writer_put(made.writer, values, NULL, text("x"), ERROR));
    IS(ALLUVIUM_NULL, alluvium_writer_put(made.writer, values, &key, bytes(NULL, 3), ERROR));
    IS(ALLUVIUM_NULL, alluvium_writer_get(made.writer, values, &key, memory, 8, NULL, ERROR));
    IS(ALLUVIUM_NULL, alluvium_writer_get(made.writer, values, &key, NULL, 8, &len, ERROR));
    IS(ALLUVIUM_NULL, alluvium_writer_update(made.writer, values, &key, NULL, NULL, ERROR));
    IS(ALLUVIUM_NULL, alluvium_writer_update(made.writer, values, &key, give_null, NULL, ERROR));
    IS(ALLUVIUM_NULL, alluvium_engine_open(NULL, NULL, ERROR));
    IS(ALLUVIUM_NULL, alluvium_store_open(made.engine, NULL, NULL, &(alluvium_store){0}, ERROR));
    IS(ALLUVIUM_NULL, alluvium_store_open(made.engine, argv[1], NULL, NULL, ERROR));
    IS(ALLUVIUM_NULL, alluvium_store_barrier(made.store, NULL, &(alluvium_pending){0}, ERROR));
    IS(ALLUVIUM_NULL, alluvium_store_barrier(made.store, &(alluvium_barrier){.size = sizeof(alluvium_barrier)}, NULL, ERROR));
    IS(ALLUVIUM_NULL, alluvium_store_state(made.store, NULL, &values, ERROR));
    IS(ALLUVIUM_NULL, alluvium_writer_get_many(made.writer, values, NULL, 3, NULL, 0, NULL, ERROR));
    IS(ALLUVIUM_NULL, alluvium_writer_apply(made.writer, bytes(NULL, 100), ERROR));
    IS(ALLUVIUM_ARGUMENT, alluvium_writer_put(made.writer, values, &key, bytes(memory, SIZE_MAX), ERROR));
    IS(ALLUVIUM_ARGUMENT, alluvium_store_open(made.engine, "\xff\xfe", NULL, &(alluvium_store){0}, ERROR));
    CHECK(alluvium_engine_options_init(NULL) == ALLUVIUM_NULL);
    CHECK(alluvium_store_options_init(NULL) == ALLUVIUM_NULL);
    CHECK(alluvium_open_handles(NULL) == ALLUVIUM_NULL);
    CHECK(alluvium_buffer_new(NULL, NULL) == ALLUVIUM_NULL);

    /* Wrong ranges, keys and states. */
    alluvium_writer second;
    alluvium_range backwards = {5, 4}, outside = {0, 128}, part = {3, 4};
    IS(ALLUVIUM_ARGUMENT, alluvium_writer_open(made.store, backwards, &second, ERROR));
    IS(ALLUVIUM_OUTSIDE_RANGE, alluvium_writer_open(made.store, outside, &second, ERROR));
    IS(ALLUVIUM_RANGE_CLAIMED, alluvium_writer_open(made.store, part, &second, ERROR));
    static uint8_t long_key[70000];
    alluvium_key too_long = {0, bytes(long_key, sizeof long_key), {NULL, 0}};
    IS(ALLUVIUM_TOO_LONG, alluvium_writer_put(made.writer, values, &too_long, text("x"), ERROR));
    IS(ALLUVIUM_STATE, alluvium_writer_put(made.writer, 999, &key, text("x"), ERROR));
    IS(ALLUVIUM_STATE, alluvium_writer_append(made.writer, values, &key, text("x"), ERROR));
    IS(ALLUVIUM_STATE, alluvium_writer_map_clear(made.writer, values, &key, ERROR));

    /* Calls from inside a callback. */
    OK(alluvium_writer_update(made.writer, values, &key, reenter, NULL, ERROR));
    for (size_t i = 0; i < 4; i++)
        CHECK(inside[i] == ALLUVIUM_INSIDE_CALLBACK);

    /* Twice closed, and used after. */
    alluvium_reader reader;
    OK(alluvium_reader_open(made.store, 0, &reader, ERROR));
    OK(alluvium_reader_close(reader, ERROR));
    IS(ALLUVIUM_HANDLE, alluvium_reader_close(reader, ERROR));
    IS(ALLUVIUM_HANDLE, alluvium_reader_get(reader, values, &key, memory, 8, &len, ERROR));
    IS(ALLUVIUM_HAS_CHILDREN, alluvium_store_close(made.store, ERROR));
    IS(ALLUVIUM_HAS_CHILDREN, alluvium_engine_close(made.engine, ERROR));

    /* Errors say what they are, and are freed once. */
    alluvium_error error = {0};
    CHECK(alluvium_writer_put(made.writer, 999, &key, text("x"), &error) == ALLUVIUM_STATE);
    alluvium_status status;
    int32_t class_;
    const char *message;
    CHECK(alluvium_error_get(error, &status, &class_, &message) == ALLUVIUM_OK);
    CHECK(status == ALLUVIUM_STATE && class_ == ALLUVIUM_CLASS_USAGE && strstr(message, "999") != NULL);
    CHECK(alluvium_error_free(error) == ALLUVIUM_OK);
    CHECK(alluvium_error_free(error) == ALLUVIUM_HANDLE);
    CHECK(alluvium_writer_put(made.writer, 999, &key, text("x"), NULL) == ALLUVIUM_STATE);
    CHECK(strcmp(alluvium_status_text(ALLUVIUM_STATE), alluvium_status_text(12345)) != 0);
    CHECK(alluvium_status_class(ALLUVIUM_BUSY) == ALLUVIUM_CLASS_RETRY && alluvium_status_class(ALLUVIUM_OK) == ALLUVIUM_CLASS_NONE);

    /* After all of that nothing has changed. */
    CHECK(has(made.writer, values, "k", "kept"));
    alluvium_writer writer = made.writer;
    alluvium_store store = made.store;
    tear_down(&made);
    IS(ALLUVIUM_HANDLE, alluvium_writer_put(writer, values, &key, text("x"), ERROR));
    IS(ALLUVIUM_HANDLE, alluvium_store_compact(store, ERROR));
    return 0;
}
