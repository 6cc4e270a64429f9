/* Whatever a caller does wrong is answered with a status, and harms nothing. */
#include "check.h"

static fixture made;
static uint16_t values;
enum { CALLS_INSIDE = 9 };
static alluvium_status inside[CALLS_INSIDE];
static const char *made_in;

static int32_t holds(void *context, alluvium_slice event, alluvium_applying applying) {
    (void)context, (void)event, (void)applying;
    return 1;
}

/* Calls the library from inside a callback. */
static int32_t reenter(void *context, size_t index, alluvium_slice old, alluvium_slice *value) {
    (void)context, (void)index, (void)old, (void)value;
    alluvium_key key = by_hash("k");
    uint64_t staged;
    inside[0] = alluvium_writer_put(made.writer, values, &key, text("x"), NULL);
    inside[1] = alluvium_writer_close(made.writer, NULL);
    inside[2] = alluvium_store_staged_bytes(made.store, &staged, NULL);
    inside[3] = alluvium_store_close(made.store, NULL);
    alluvium_buffer buffer = {0};
    inside[4] = alluvium_buffer_new(&buffer, NULL);
    inside[6] = alluvium_describe(made_in, buffer, NULL);
    inside[7] = alluvium_usage(made_in, NULL, buffer, NULL);
    inside[8] = alluvium_store_watch_invariant(made.store, holds, NULL, NULL, &staged, NULL);
    alluvium_error error = {0};
    const char *message = NULL;
    inside[5] = alluvium_writer_put(made.writer, values, &key, text("x"), &error);
    /* What went wrong can be asked, and let go. */
    CHECK(alluvium_error_get(error, NULL, NULL, &message) == ALLUVIUM_OK && strlen(message) > 0);
    CHECK(alluvium_error_free(error) == ALLUVIUM_OK);
    return ALLUVIUM_KEEP;
}

/* Gives what can't be. */
static int32_t give_null(void *context, size_t index, alluvium_slice old, alluvium_slice *value) {
    (void)context, (void)index, (void)old;
    value->data = NULL;
    value->len = 8;
    return ALLUVIUM_PUT;
}

/* Makes more than there can be, and writes to nowhere. */
static void too_much(void *context, alluvium_slice older, alluvium_slice newer, alluvium_output output) {
    (void)context, (void)older;
    output.write(NULL, newer.data, newer.len);
    output.write(output.context, newer.data, INT64_MAX);
}

static int32_t convert_too_much(void *context, alluvium_slice old, alluvium_output output) {
    (void)context;
    output.write(output.context, old.data, SIZE_MAX);
    return 0;
}

static int32_t inverts(void *context, alluvium_slice operand, alluvium_output output) {
    (void)context, (void)operand, (void)output;
    return 0;
}

static void let_go(void *context) { ++*(int *)context; }

/* What looks at a directory, or after events, is given nothing, or what is closed. */
static void looking(void) {
    int released = 0;
    uint64_t trigger = 0, label = 1;
    alluvium_buffer closed, buffer;
    OK(alluvium_buffer_new(&closed, ERROR));
    OK(alluvium_buffer_free(closed));
    OK(alluvium_buffer_new(&buffer, ERROR));
    IS(ALLUVIUM_NULL, alluvium_describe(NULL, buffer, ERROR));
    IS(ALLUVIUM_ARGUMENT, alluvium_describe("\xff\xfe", buffer, ERROR));
    IS(ALLUVIUM_HANDLE, alluvium_describe(made_in, closed, ERROR));
    IS(ALLUVIUM_NULL, alluvium_usage(NULL, &label, buffer, ERROR));
    IS(ALLUVIUM_NULL, alluvium_usage(made_in, (const uint64_t *)(uintptr_t)1, buffer, ERROR));
    IS(ALLUVIUM_NO_CHECKPOINT, alluvium_usage(made_in, NULL, buffer, ERROR));
    IS(ALLUVIUM_HANDLE, alluvium_usage(made_in, NULL, closed, ERROR));
    OK(alluvium_buffer_free(buffer));
    IS(ALLUVIUM_NULL, alluvium_store_watch_invariant(made.store, NULL, &released, let_go, &trigger, ERROR));
    IS(ALLUVIUM_NULL, alluvium_store_watch_invariant(made.store, holds, &released, let_go, NULL, ERROR));
    IS(ALLUVIUM_HANDLE, alluvium_store_watch_invariant((alluvium_store){made.writer.id}, holds, &released, let_go, &trigger, ERROR));
    OK(alluvium_store_unwatch(made.store, UINT64_MAX, ERROR));
    alluvium_state_options options;
    OK(alluvium_state_options_init(&options));
    options.name = "inverse of nothing";
    options.kind = ALLUVIUM_KIND_MERGING;
    options.merge_name = "u64-add";
    options.merge_invert = inverts;
    options.merge_context = &released;
    options.merge_release = let_go;
    uint16_t state;
    IS(ALLUVIUM_ARGUMENT, alluvium_store_state(made.store, &options, &state, ERROR));
    CHECK(released == 4);
}

/* Lengths beyond all bounds, wherever there is a length. */
static void huge(alluvium_key key) {
    alluvium_slice beyond = {(const uint8_t *)"x", (size_t)1 << 60}, twice[2] = {{(const uint8_t *)"x", (size_t)3 << 28}, {(const uint8_t *)"x", (size_t)3 << 28}};
    alluvium_barrier barrier = {.size = sizeof barrier, .label = 1, .metadata = beyond};
    alluvium_pending pending;
    IS(ALLUVIUM_ARGUMENT, alluvium_store_barrier(made.store, &barrier, &pending, ERROR));
    alluvium_offset offset = {{0, 127}, beyond};
    barrier = (alluvium_barrier){.size = sizeof barrier, .label = 1, .offsets = &offset, .offsets_len = 1};
    IS(ALLUVIUM_ARGUMENT, alluvium_store_barrier(made.store, &barrier, &pending, ERROR));
    IS(ALLUVIUM_ARGUMENT, alluvium_store_commit(made.store, &offset, 1, NOTHING, NULL, ERROR));
    IS(ALLUVIUM_ARGUMENT, alluvium_store_commit(made.store, NULL, 0, beyond, NULL, ERROR));
    alluvium_cursor cursor;
    alluvium_map_range range = {.from_kind = ALLUVIUM_INCLUDED, .from = beyond};
    IS(ALLUVIUM_ARGUMENT, alluvium_cursor_keys_in_namespace(made.store, values, all_groups(), beyond, &cursor, ERROR));
    IS(ALLUVIUM_ARGUMENT, alluvium_cursor_entries(made.store, values, &key, &range, &cursor, ERROR));
    IS(ALLUVIUM_ARGUMENT, alluvium_writer_put_list(made.writer, values, &key, &beyond, 1, ERROR));
    IS(ALLUVIUM_ARGUMENT, alluvium_writer_put_list(made.writer, values, &key, twice, 2, ERROR));
    alluvium_state_options options;
    OK(alluvium_state_options_init(&options));
    options.name = "huge";
    options.schema = beyond;
    uint16_t state;
    IS(ALLUVIUM_ARGUMENT, alluvium_store_state(made.store, &options, &state, ERROR));
    key.key = beyond;
    IS(ALLUVIUM_ARGUMENT, alluvium_writer_put(made.writer, values, &key, text("x"), ERROR));
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    made_in = argv[1];
    made = set_up(argv[1], NULL);
    values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
    put(made.writer, values, "k", "kept");
    alluvium_key key = by_hash("k");
    uint8_t memory[16];
    size_t len;

    /* Handles that are none, or of another kind. */
    uint64_t wrong[] = {0, 1, UINT64_MAX, made.store.id, made.engine.id, made.writer.id + 1, made.writer.id ^ (UINT64_C(1) << 50), made.writer.id ^ (UINT64_C(1) << 33)};
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
    for (size_t i = 0; i < CALLS_INSIDE; i++)
        CHECK(inside[i] == ALLUVIUM_INSIDE_CALLBACK);

    huge(key);
    looking();

    /* Cursors and tickets of another store, and of a snapshot that is closed. */
    char path[512];
    snprintf(path, sizeof path, "%s/other", argv[1]);
    alluvium_store other;
    alluvium_writer others;
    alluvium_snapshot snapshot;
    alluvium_cursor cursor;
    alluvium_buffer buffer;
    alluvium_ticket ticket;
    OK(alluvium_buffer_new(&buffer, ERROR));
    OK(alluvium_store_create(made.engine, path, NULL, &other, ERROR));
    OK(alluvium_writer_open(other, all_groups(), &others, ERROR));
    OK(alluvium_cursor_keys(made.store, values, all_groups(), &cursor, ERROR));
    IS(ALLUVIUM_ARGUMENT, alluvium_writer_fetch(others, cursor, buffer, ERROR));
    OK(alluvium_store_snapshot(made.store, &snapshot, ERROR));
    OK(alluvium_snapshot_fetch(snapshot, cursor, buffer, ERROR));
    OK(alluvium_snapshot_close(snapshot, ERROR));
    IS(ALLUVIUM_ARGUMENT, alluvium_writer_fetch(made.writer, cursor, buffer, ERROR));
    OK(alluvium_writer_submit(made.writer, NOTHING, &ticket, ERROR));
    IS(ALLUVIUM_ARGUMENT, alluvium_writer_poll(others, ticket, buffer, ERROR));
    OK(alluvium_ticket_close(ticket, ERROR));
    OK(alluvium_cursor_close(cursor, ERROR));
    OK(alluvium_buffer_free(buffer));
    OK(alluvium_writer_close(others, ERROR));

    /* What callbacks make wrongly is told to who called; a writer whose operator can't be trusted can only be closed. */
    alluvium_state_options options;
    OK(alluvium_state_options_init(&options));
    options.name = "merged";
    options.kind = ALLUVIUM_KIND_MERGING;
    options.merge_name = "too much";
    options.merge = too_much;
    uint16_t merged, converted = state_of(other, "converted", ALLUVIUM_KIND_VALUE, NULL);
    OK(alluvium_store_state(other, &options, &merged, ERROR));
    OK(alluvium_writer_open(other, all_groups(), &others, ERROR));
    OK(alluvium_writer_put(others, converted, &key, text("x"), ERROR));
    checkpoint(other, 1);
    alluvium_conversion conversion = {"too much", convert_too_much, NULL, NULL};
    OK(alluvium_store_migrate(other, converted, text("2"), &conversion, ERROR));
    IS(ALLUVIUM_CONVERSION, alluvium_writer_get(others, converted, &key, memory, 8, &len, ERROR));
    OK(alluvium_writer_merge(others, merged, &key, text("a"), ERROR));
    alluvium_status status = alluvium_writer_merge(others, merged, &key, text("b"), ERROR);
    if (status == ALLUVIUM_OK) {
        forget_error();
        status = alluvium_writer_get(others, merged, &key, memory, 8, &len, ERROR);
    }
    CHECK(status == ALLUVIUM_PANIC);
    forget_error();
    IS(ALLUVIUM_PANIC, alluvium_writer_put(others, converted, &key, text("x"), ERROR));
    OK(alluvium_writer_close(others, ERROR));
    status = alluvium_store_close(other, ERROR);
    CHECK(status == ALLUVIUM_OK || status == ALLUVIUM_BACKGROUND);
    forget_error();

    /* Twice closed, and used after. */
    alluvium_reader reader;
    OK(alluvium_reader_open(made.store, 0, &reader, ERROR));
    OK(alluvium_reader_close(reader, ERROR));
    IS(ALLUVIUM_HANDLE, alluvium_reader_close(reader, ERROR));
    IS(ALLUVIUM_HANDLE, alluvium_reader_get(reader, values, &key, memory, 8, &len, ERROR));
    IS(ALLUVIUM_HAS_CHILDREN, alluvium_engine_close(made.engine, ERROR));

    /* What holds it open is said. */
    alluvium_error error = {0};
    int32_t class_;
    const char *message;
    CHECK(alluvium_store_close(made.store, &error) == ALLUVIUM_HAS_CHILDREN);
    OK(alluvium_error_get(error, NULL, NULL, &message));
    CHECK(strstr(message, "open: a writer") != NULL);
    OK(alluvium_error_free(error));

    /* Errors say what they are, and are freed once. */
    CHECK(alluvium_writer_put(made.writer, 999, &key, text("x"), &error) == ALLUVIUM_STATE);
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
