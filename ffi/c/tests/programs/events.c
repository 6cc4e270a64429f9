/* Events: applied by a handler of the program's, once where they have ids, and applied again after a restart. */
#include "check.h"
#include <pthread.h>
#include <stddef.h>

typedef struct {
    alluvium_store store;
    alluvium_writer writer;
    uint16_t counts, lists, maps, sums, broken;
    int calls, drawn, seen, released;
    alluvium_applying kept;
} host;

static alluvium_key in_group(uint16_t group, const char *name) {
    alluvium_key key = {group, text(name), {NULL, 0}};
    return key;
}

static void draws(void *context, alluvium_output output) {
    host *known = context;
    uint8_t drawn = (uint8_t)++known->drawn;
    output.write(output.context, &drawn, 1);
}

/* Gives some bytes, and then none, though it says so. */
static void draws_nothing(void *context, alluvium_output output) {
    (void)context;
    output.write(output.context, (const uint8_t *)"x", 1);
    output.write(output.context, NULL, 5);
}

static void sees(void *context, alluvium_slice value) {
    host *known = context;
    alluvium_key key = in_group(3, "JFK");
    uint8_t memory[8];
    size_t len;
    known->seen += (int)value.len;
    IS(ALLUVIUM_IN_USE, alluvium_applying_get(known->kept, known->counts, &key, memory, sizeof memory, &len, ERROR));
}

static int32_t sees_entry(void *context, alluvium_slice user_key, alluvium_slice value) {
    host *known = context;
    known->seen += (int)(user_key.len + value.len);
    return 1;
}

/* The entry that a map has is the one that is wanted. */
static int32_t is_a_bc(void *context, alluvium_slice user_key, alluvium_slice value) {
    host *known = context;
    known->seen++;
    CHECK(same(user_key, "a") && same(value, "bc"));
    return 7;
}

static int32_t adds_x(void *context, size_t index, alluvium_slice old, alluvium_slice *value) {
    static uint8_t longer[16];
    (void)context;
    CHECK(index == 0 && old.len < sizeof longer);
    if (old.len == 3)
        return ALLUVIUM_DELETE;
    if (old.len != 0)
        memcpy(longer, old.data, old.len);
    longer[old.len] = 'x';
    *value = bytes(longer, old.len + 1);
    return ALLUVIUM_PUT;
}

static int32_t goes_wrong(void *context, size_t index, alluvium_slice old, alluvium_slice *value) {
    (void)context, (void)index, (void)old, (void)value;
    return 99;
}

/* Lists, namespaces, parts of maps and updates, at a key of which nothing is left. */
static void more(host *known, alluvium_applying applying) {
    alluvium_key key = in_group(3, "more"), window = in_group(3, "more"), other = in_group(4, "more");
    window.ns = text("window");
    uint8_t memory[8];
    size_t len = 0;
    for (size_t i = 1; i <= 3; i++) {
        OK(alluvium_applying_update(applying, known->counts, &key, adds_x, NULL, ERROR));
        OK(alluvium_applying_get(applying, known->counts, &key, memory, sizeof memory, &len, ERROR));
        CHECK(len == i && memory[i - 1] == 'x');
    }
    IS(ALLUVIUM_ARGUMENT, alluvium_applying_update(applying, known->counts, &key, goes_wrong, NULL, ERROR));
    IS(ALLUVIUM_NULL, alluvium_applying_update(applying, known->counts, &key, NULL, NULL, ERROR));
    IS(ALLUVIUM_OUTSIDE_RANGE, alluvium_applying_update(applying, known->counts, &other, adds_x, NULL, ERROR));
    OK(alluvium_applying_update(applying, known->counts, &key, adds_x, NULL, ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_applying_get(applying, known->counts, &key, memory, sizeof memory, &len, ERROR));

    alluvium_slice elements[] = {text("four"), NOTHING, text("xyz")}, source = text("window");
    OK(alluvium_applying_put_list(applying, known->lists, &window, elements, 2, ERROR));
    OK(alluvium_applying_append_all(applying, known->lists, &window, elements + 1, 2, ERROR));
    OK(alluvium_applying_append_all(applying, known->lists, &window, NULL, 0, ERROR));
    IS(ALLUVIUM_NULL, alluvium_applying_append_all(applying, known->lists, &window, NULL, 1, ERROR));
    OK(alluvium_applying_merge_namespaces(applying, known->lists, &key, &source, 1, ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_applying_list(applying, known->lists, &window, sees, known, ERROR));
    known->seen = 0;
    OK(alluvium_applying_list(applying, known->lists, &key, sees, known, ERROR));
    CHECK(known->seen == 7);
    OK(alluvium_applying_put_list(applying, known->lists, &key, NULL, 0, ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_applying_list(applying, known->lists, &key, sees, known, ERROR));

    IS(ALLUVIUM_NOT_FOUND, alluvium_applying_map_first(applying, known->maps, &key, is_a_bc, known, ERROR));
    OK(alluvium_applying_map_put(applying, known->maps, &key, text("a"), text("bc"), ERROR));
    OK(alluvium_applying_map_put(applying, known->maps, &key, text("d"), text("e"), ERROR));
    OK(alluvium_applying_map_contains(applying, known->maps, &key, text("d"), ERROR));
    alluvium_map_range range = {.from_kind = ALLUVIUM_INCLUDED, .from = text("b")};
    OK(alluvium_applying_map_delete_range(applying, known->maps, &key, &range, ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_applying_map_contains(applying, known->maps, &key, text("d"), ERROR));
    known->seen = 0;
    OK(alluvium_applying_map_first(applying, known->maps, &key, is_a_bc, known, ERROR));
    IS(ALLUVIUM_NULL, alluvium_applying_map_pop_first(applying, known->maps, &key, NULL, NULL, ERROR));
    OK(alluvium_applying_map_pop_first(applying, known->maps, &key, is_a_bc, known, ERROR));
    CHECK(known->seen == 2);
    IS(ALLUVIUM_NOT_FOUND, alluvium_applying_map_pop_first(applying, known->maps, &key, is_a_bc, known, ERROR));
}

static void *elsewhere(void *context) {
    host *known = context;
    alluvium_key key = in_group(3, "JFK");
    IS(ALLUVIUM_HANDLE, alluvium_applying_put(known->kept, known->counts, &key, text("x"), ERROR));
    return NULL;
}

/* Gives no bytes, though it says so. */
static void merges(void *context, alluvium_slice older, alluvium_slice newer, alluvium_output output) {
    (void)context, (void)older, (void)newer;
    output.write(output.context, NULL, 5);
}

/* What a handler may not do. */
static void misuses(host *known, alluvium_applying applying) {
    alluvium_key key = in_group(3, "JFK"), other = in_group(4, "JFK");
    uint8_t memory[8];
    size_t len;
    uint64_t position;
    alluvium_snapshot snapshot;
    alluvium_applying none = {0}, past = {applying.id - 1};
    alluvium_event_id id = {9, 9};
    IS(ALLUVIUM_INSIDE_CALLBACK, alluvium_writer_put(known->writer, known->counts, &key, text("x"), ERROR));
    IS(ALLUVIUM_INSIDE_CALLBACK, alluvium_writer_apply_event(known->writer, 0, 3, text("count"), ERROR));
    IS(ALLUVIUM_INSIDE_CALLBACK, alluvium_writer_apply_event_once(known->writer, 0, 3, id, text("count"), NULL, ERROR));
    IS(ALLUVIUM_INSIDE_CALLBACK, alluvium_writer_close(known->writer, ERROR));
    IS(ALLUVIUM_INSIDE_CALLBACK, alluvium_store_position(known->store, &position, ERROR));
    IS(ALLUVIUM_INSIDE_CALLBACK, alluvium_store_snapshot(known->store, &snapshot, ERROR));
    IS(ALLUVIUM_HANDLE, alluvium_applying_get(none, known->counts, &key, memory, sizeof memory, &len, ERROR));
    IS(ALLUVIUM_HANDLE, alluvium_applying_put(past, known->counts, &key, text("x"), ERROR));
    IS(ALLUVIUM_OUTSIDE_RANGE, alluvium_applying_put(applying, known->counts, &other, text("x"), ERROR));
    IS(ALLUVIUM_NULL, alluvium_applying_put(applying, known->counts, NULL, text("x"), ERROR));
    IS(ALLUVIUM_STATE, alluvium_applying_append(applying, known->counts, &key, text("x"), ERROR));
    IS(ALLUVIUM_NULL, alluvium_applying_list(applying, known->lists, &key, NULL, NULL, ERROR));
    IS(ALLUVIUM_NULL, alluvium_applying_determinant(applying, NULL, NULL, memory, sizeof memory, &len, ERROR));
    IS(ALLUVIUM_TOO_SMALL, alluvium_applying_get(applying, known->counts, &key, memory, 0, &len, ERROR));
    CHECK(len == 1);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, elsewhere, known) == 0 && pthread_join(thread, NULL) == 0);
}

static int32_t count(void *context, alluvium_slice event, alluvium_applying applying) {
    host *known = context;
    alluvium_key key = in_group(3, "JFK");
    uint8_t memory[64], one[8] = {1}, drawn[4];
    size_t len = 0;
    uint16_t group = 0;
    uint64_t now_ms = 0;
    known->calls++;
    known->kept = applying;
    if (same(event, "fails"))
        return 7;
    if (same(event, "passes on")) {
        alluvium_key other = in_group(4, "JFK");
        return alluvium_applying_put(applying, known->counts, &other, text("x"), NULL);
    }
    if (same(event, "panics")) {
        OK(alluvium_applying_merge(applying, known->broken, &key, text("a"), ERROR));
        alluvium_status status = alluvium_applying_merge(applying, known->broken, &key, text("b"), NULL);
        if (status == ALLUVIUM_OK)
            status = alluvium_applying_get(applying, known->broken, &key, memory, sizeof memory, &len, NULL);
        CHECK(status == ALLUVIUM_PANIC);
        return 0;
    }
    if (same(event, "draws nothing")) {
        /* And goes on, as if nothing had been. */
        alluvium_status drew = alluvium_applying_determinant(applying, draws_nothing, NULL, memory, sizeof memory, &len, NULL);
        const char *put = drew == ALLUVIUM_OK ? "it was drawn" : "1";
        OK(alluvium_applying_put(applying, known->counts, &key, text(put), ERROR));
        return 0;
    }
    if (same(event, "more")) {
        more(known, applying);
        return 0;
    }
    if (same(event, "misuses")) {
        misuses(known, applying);
        return 0;
    }
    OK(alluvium_applying_group(applying, &group, ERROR));
    CHECK(group == 3);
    OK(alluvium_applying_now(applying, &now_ms, ERROR));
    CHECK(now_ms == 1000);
    OK(alluvium_applying_determinant(applying, draws, known, drawn, sizeof drawn, &len, ERROR));
    CHECK(len == 1);
    alluvium_status status = alluvium_applying_get(applying, known->counts, &key, memory, sizeof memory, &len, ERROR);
    CHECK(status == ALLUVIUM_OK || status == ALLUVIUM_NOT_FOUND);
    memory[0] = status == ALLUVIUM_OK ? (uint8_t)(memory[0] + 1) : '1';
    OK(alluvium_applying_put(applying, known->counts, &key, bytes(memory, 1), ERROR));
    OK(alluvium_applying_append(applying, known->lists, &key, bytes(drawn, 1), ERROR));
    OK(alluvium_applying_merge(applying, known->sums, &key, bytes(one, 8), ERROR));
    OK(alluvium_applying_map_put(applying, known->maps, &key, text("a"), text("bc"), ERROR));
    OK(alluvium_applying_map_put(applying, known->maps, &key, text("gone"), text("x"), ERROR));
    OK(alluvium_applying_map_delete(applying, known->maps, &key, text("gone"), ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_applying_map_get(applying, known->maps, &key, text("gone"), memory, sizeof memory, &len, ERROR));
    OK(alluvium_applying_map_get(applying, known->maps, &key, text("a"), memory, sizeof memory, &len, ERROR));
    CHECK(same(bytes(memory, len), "bc"));
    known->seen = 0;
    OK(alluvium_applying_list(applying, known->lists, &key, sees, known, ERROR));
    CHECK(known->seen >= 1);
    known->seen = 0;
    OK(alluvium_applying_map_scan(applying, known->maps, &key, NULL, sees_entry, known, ERROR));
    CHECK(known->seen == 3);
    key.ns = text("else");
    OK(alluvium_applying_map_put(applying, known->maps, &key, text("a"), text("b"), ERROR));
    OK(alluvium_applying_map_clear(applying, known->maps, &key, ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_applying_map_scan(applying, known->maps, &key, NULL, sees_entry, known, ERROR));
    OK(alluvium_applying_put(applying, known->counts, &key, text("x"), ERROR));
    OK(alluvium_applying_delete(applying, known->counts, &key, ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_applying_list(applying, known->lists, &key, sees, known, ERROR));
    return 0;
}

static void released(void *context) {
    host *known = context;
    known->released++;
}

static uint16_t logged_as_event(alluvium_store store, const char *name, uint32_t kind, const char *merge_name) {
    uint16_t state;
    alluvium_state_options options;
    OK(alluvium_state_options_init(&options));
    CHECK(options.log_mode == ALLUVIUM_LOG_STATE && options.traced == 0);
    options.name = name;
    options.kind = kind;
    options.merge_name = merge_name;
    options.log_mode = 3;
    IS(ALLUVIUM_ARGUMENT, alluvium_store_state(store, &options, &state, ERROR));
    options.log_mode = ALLUVIUM_LOG_EVENT;
    OK(alluvium_store_state(store, &options, &state, ERROR));
    return state;
}

static uint32_t registered(alluvium_store store, host *known) {
    known->store = store;
    known->counts = logged_as_event(store, "counts", ALLUVIUM_KIND_VALUE, NULL);
    known->lists = logged_as_event(store, "lists", ALLUVIUM_KIND_LIST, NULL);
    known->maps = logged_as_event(store, "maps", ALLUVIUM_KIND_MAP, NULL);
    known->sums = logged_as_event(store, "sums", ALLUVIUM_KIND_MERGING, "i64-add");
    alluvium_handler handler = {.name = "count", .version = 1, .apply = count, .context = known, .release = released};
    uint32_t number = 99;
    OK(alluvium_store_handler(store, &handler, &number, ERROR));
    return number;
}

static void is(host *known, const char *counted, uint64_t sum, const char *list) {
    alluvium_key key = in_group(3, "JFK");
    uint8_t memory[64];
    size_t len = 0;
    alluvium_buffer buffer;
    alluvium_slice rest;
    OK(alluvium_writer_get(known->writer, known->counts, &key, memory, sizeof memory, &len, ERROR));
    CHECK(same(bytes(memory, len), counted));
    OK(alluvium_writer_get(known->writer, known->sums, &key, memory, sizeof memory, &len, ERROR));
    CHECK(len == 8 && u64_at(memory) == sum);
    OK(alluvium_buffer_new(&buffer, ERROR));
    OK(alluvium_writer_list(known->writer, known->lists, &key, buffer, ERROR));
    OK(alluvium_buffer_data(buffer, &rest, NULL));
    for (; *list != 0; list++) {
        alluvium_slice element = take_element(&rest);
        CHECK(element.len == 1 && element.data[0] == *list - '0');
    }
    CHECK(rest.len == 0);
    OK(alluvium_buffer_free(buffer));
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    alluvium_store_options options;
    OK(alluvium_store_options_init(&options));
    options.durability = ALLUVIUM_DURABILITY_CHANGELOG;
    fixture made = set_up(argv[1], &options);
    host known = {.writer = made.writer};
    uint32_t handler = registered(made.store, &known), applied = 9;
    alluvium_writer writer = made.writer;
    OK(alluvium_writer_set_time(writer, 1000, ERROR));
    OK(alluvium_writer_apply_event(writer, handler, 3, text("count"), ERROR));
    is(&known, "1", 1, "1");
    /* What could not be drawn isn't there when the event is applied again: it fails, whatever its handler makes of it. */
    IS(ALLUVIUM_EVENT_HANDLER, alluvium_writer_apply_event(writer, handler, 3, text("draws nothing"), ERROR));
    is(&known, "1", 1, "1");
    /* Once. */
    alluvium_event_id id = {1, 7}, earlier = {1, 6}, other = {2, 6};
    OK(alluvium_writer_apply_event_once(writer, handler, 3, id, text("count"), &applied, ERROR));
    CHECK(applied == 1);
    OK(alluvium_writer_apply_event_once(writer, handler, 3, id, text("count"), &applied, ERROR));
    CHECK(applied == 0);
    OK(alluvium_writer_apply_event_once(writer, handler, 3, earlier, text("count"), NULL, ERROR));
    OK(alluvium_writer_apply_event_once(writer, handler, 3, other, text("count"), NULL, ERROR));
    is(&known, "3", 3, "123");
    CHECK(known.calls == 4 && known.drawn == 3);
    OK(alluvium_store_already_applied(made.store, 3, earlier, &applied, ERROR));
    CHECK(applied == 1);
    OK(alluvium_store_already_applied(made.store, 4, earlier, &applied, ERROR));
    CHECK(applied == 0);

    /* What a handler does wrong. */
    alluvium_error error = {0};
    const char *message;
    CHECK(alluvium_writer_apply_event(writer, handler, 3, text("fails"), &error) == ALLUVIUM_EVENT_HANDLER);
    OK(alluvium_error_get(error, NULL, NULL, &message));
    CHECK(strstr(message, "\"count\"") != NULL && strstr(message, "7") != NULL);
    OK(alluvium_error_free(error));
    IS(ALLUVIUM_OUTSIDE_RANGE, alluvium_writer_apply_event(writer, handler, 3, text("passes on"), ERROR));
    OK(alluvium_writer_apply_event(writer, handler, 3, text("misuses"), ERROR));
    OK(alluvium_writer_apply_event(writer, handler, 3, text("more"), ERROR));
    id.offset++;
    IS(ALLUVIUM_EVENT_HANDLER, alluvium_writer_apply_event_once(writer, handler, 3, id, text("fails"), &applied, ERROR));
    OK(alluvium_store_already_applied(made.store, 3, id, &applied, ERROR));
    CHECK(applied == 0);
    is(&known, "3", 3, "123");

    /* What its caller does wrong. */
    alluvium_key key = in_group(3, "JFK");
    alluvium_handler wrong = {.name = "", .version = 1, .apply = count, .context = &known, .release = released};
    uint32_t number;
    IS(ALLUVIUM_HANDLE, alluvium_applying_delete(known.kept, known.counts, &key, ERROR));
    IS(ALLUVIUM_EVENT_HANDLER, alluvium_writer_apply_event(writer, 99, 3, text("count"), ERROR));
    IS(ALLUVIUM_OUTSIDE_RANGE, alluvium_writer_apply_event(writer, handler, 200, text("count"), ERROR));
    IS(ALLUVIUM_OPTIONS, alluvium_store_handler(made.store, &wrong, &number, ERROR));
    CHECK(known.released == 1);
    wrong.apply = NULL;
    IS(ALLUVIUM_NULL, alluvium_store_handler(made.store, &wrong, &number, ERROR));
    IS(ALLUVIUM_NULL, alluvium_store_handler(made.store, NULL, &number, ERROR));
    CHECK(known.released == 2);

    /* Applied again, with what was drawn. */
    OK(alluvium_writer_commit_lasting(writer, NULL, 0, NOTHING, ALLUVIUM_LASTING_SOON, NULL, ERROR));
    OK(alluvium_writer_close(writer, ERROR));
    OK(alluvium_store_close(made.store, ERROR));
    OK(alluvium_store_open(made.engine, argv[1], &options, &made.store, ERROR));
    IS(ALLUVIUM_EVENT_HANDLER, alluvium_writer_open(made.store, all_groups(), &made.writer, ERROR));
    known.calls = 0;
    registered(made.store, &known);
    OK(alluvium_writer_open(made.store, all_groups(), &made.writer, ERROR));
    known.writer = made.writer;
    is(&known, "3", 3, "123");
    CHECK(known.calls >= 1 && known.drawn == 3);

    /* A handler that goes on after a panic doesn't keep it from its caller. */
    alluvium_state_options broken;
    OK(alluvium_state_options_init(&broken));
    broken.name = "broken";
    broken.kind = ALLUVIUM_KIND_MERGING;
    broken.merge_name = "broken";
    broken.merge = merges;
    /* As a program has them that was compiled before fields were added. */
    broken.log_mode = broken.traced = 99;
    broken.size = offsetof(alluvium_state_options, traced);
    IS(ALLUVIUM_ABI, alluvium_store_state(made.store, &broken, &known.broken, ERROR));
    broken.size = offsetof(alluvium_state_options, log_mode);
    OK(alluvium_store_state(made.store, &broken, &known.broken, ERROR));
    IS(ALLUVIUM_PANIC, alluvium_writer_apply_event(made.writer, handler, 3, text("panics"), ERROR));
    IS(ALLUVIUM_PANIC, alluvium_writer_apply_event(made.writer, handler, 3, text("count"), ERROR));
    OK(alluvium_writer_close(made.writer, ERROR));
    alluvium_status status = alluvium_store_close(made.store, ERROR);
    CHECK(status == ALLUVIUM_OK || status == ALLUVIUM_BACKGROUND);
    forget_error();
    OK(alluvium_engine_close(made.engine, ERROR));
    size_t open = 1;
    OK(alluvium_open_handles(&open));
    CHECK(open == 0);
    /* The engine, which is closed now, may have kept the first one for a moment. */
    CHECK(known.released == 4);
    return 0;
}
