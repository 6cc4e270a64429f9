/* Every function is called by callbacks of every kind: `calls.h` is made from the header, by misplaced.rs. */
#include "support.h"
#include "everything.h"
#include "calls.h"
#include <stdatomic.h>

static everything all;
static uint16_t merged;
/* Callbacks of one kind run one after another, as they share the memory that pointers point to. */
static atomic_int called;

static int32_t never_converts(void *context, alluvium_slice old, alluvium_output output) {
    (void)context, (void)old, (void)output;
    never();
    return 0;
}

static int32_t never_applies(void *context, alluvium_slice event, alluvium_applying applying) {
    (void)context, (void)event, (void)applying;
    never();
    return 0;
}

/* What needs more than zeros. */
static void by_hand(void) {
    alluvium_state_options options;
    OK(alluvium_state_options_init(&options));
    options.name = "of a callback";
    alluvium_handler handler = {.name = "of a callback", .version = 1, .apply = never_applies};
    alluvium_conversion conversion = {"of a callback", never_converts, NULL, NULL};
    uint16_t state;
    uint32_t number;
    IS(ALLUVIUM_INSIDE_CALLBACK, alluvium_store_state(all.store, &options, &state, ERROR));
    IS(ALLUVIUM_INSIDE_CALLBACK, alluvium_store_handler(all.store, &handler, &number, ERROR));
    IS(ALLUVIUM_INSIDE_CALLBACK, alluvium_store_migrate(all.store, all.values, text("2"), &conversion, ERROR));
    IS(ALLUVIUM_INSIDE_CALLBACK, alluvium_multiset_elements(NOTHING, all.buffer, ERROR));
    IS(ALLUVIUM_INSIDE_CALLBACK, alluvium_multiset_top(NOTHING, 1, all.buffer, ERROR));
}

static void calls_everything(void) {
    everything seen = all;
    /* Of the error that is there nothing is to be known here: it has one of its own, which is asked and freed. */
    CHECK(alluvium_writer_close(all.writer, &seen.error) == ALLUVIUM_INSIDE_CALLBACK);
    of_a_callback(&seen);
    by_hand();
    atomic_fetch_add(&called, 1);
}

static int32_t changes(void *context, size_t index, alluvium_slice old, alluvium_slice *value) {
    (void)context, (void)index, (void)old, (void)value;
    calls_everything();
    return ALLUVIUM_KEEP;
}

static void looks(void *context, alluvium_slice value) {
    (void)context, (void)value;
    calls_everything();
}

static int32_t sees(void *context, alluvium_slice user_key, alluvium_slice value) {
    (void)context, (void)user_key, (void)value;
    calls_everything();
    return 0;
}

static void merges(void *context, alluvium_slice older, alluvium_slice newer, alluvium_output output) {
    (void)context, (void)older;
    calls_everything();
    output.write(output.context, newer.data, newer.len);
}

static void is_done(void *context) {
    (void)context;
    calls_everything();
}

static void lasts(void *context, alluvium_status status) {
    (void)context, (void)status;
    calls_everything();
}

static int32_t holds(void *context, alluvium_slice event, alluvium_applying applying) {
    (void)context, (void)event, (void)applying;
    calls_everything();
    return 1;
}

static void draws(void *context, alluvium_output output) {
    of_a_handlers_callback(&all, *(alluvium_applying *)context);
    calls_everything();
    output.write(output.context, (const uint8_t *)"x", 1);
}

static int32_t changes_for_handler(void *context, size_t index, alluvium_slice old, alluvium_slice *value) {
    (void)index, (void)old, (void)value;
    of_a_handlers_callback(&all, *(alluvium_applying *)context);
    return changes(NULL, index, old, value);
}

static int32_t applies(void *context, alluvium_slice event, alluvium_applying applying) {
    (void)context, (void)event;
    alluvium_key key = {0, text("by a handler"), {NULL, 0}};
    uint8_t memory[8];
    size_t len;
    calls_everything();
    OK(alluvium_applying_update(applying, all.values, &key, changes_for_handler, &applying, ERROR));
    OK(alluvium_applying_determinant(applying, draws, &applying, memory, sizeof memory, &len, ERROR));
    return 0;
}

/* Waits until a callback ran, also one of the library's threads, and no other is to come. */
static void was_called(const char *what, int at_least) {
    while (atomic_load(&called) < at_least) {
    }
    if (atomic_exchange(&called, 0) < at_least) {
        fprintf(stderr, "%s: called too seldom\n", what);
        exit(1);
    }
}

static void register_merged(void) {
    alluvium_state_options options;
    OK(alluvium_state_options_init(&options));
    options.name = "merged";
    options.kind = ALLUVIUM_KIND_MERGING;
    options.merge_name = "last";
    options.merge = merges;
    OK(alluvium_store_state(all.store, &options, &merged, ERROR));
}

static void of_writer(void) {
    alluvium_key key = by_hash("JFK");
    uint32_t taken;
    uint8_t memory[8];
    size_t len;
    OK(alluvium_writer_append(all.writer, all.lists, &key, text("a"), ERROR));
    OK(alluvium_writer_map_put(all.writer, all.maps, &key, text("u"), text("v"), ERROR));
    OK(alluvium_writer_update(all.writer, all.values, &key, changes, NULL, ERROR));
    was_called("update", 1);
    OK(alluvium_writer_update_many(all.writer, all.values, &key, 1, changes, NULL, ERROR));
    was_called("update_many", 1);
    OK(alluvium_writer_read(all.writer, all.values, &key, looks, NULL, ERROR));
    was_called("read", 1);
    OK(alluvium_writer_list_read(all.writer, all.lists, &key, looks, NULL, ERROR));
    was_called("list_read", 1);
    OK(alluvium_writer_map_read(all.writer, all.maps, &key, text("u"), looks, NULL, ERROR));
    was_called("map_read", 1);
    OK(alluvium_writer_map_scan(all.writer, all.maps, &key, NULL, sees, NULL, ERROR));
    was_called("map_scan", 1);
    OK(alluvium_writer_map_pop_first_if(all.writer, all.maps, &key, sees, NULL, all.buffer, &taken, ERROR));
    was_called("map_pop_first_if", 1);
    OK(alluvium_writer_merge(all.writer, merged, &key, text("a"), ERROR));
    OK(alluvium_writer_merge(all.writer, merged, &key, text("b"), ERROR));
    OK(alluvium_writer_get(all.writer, merged, &key, memory, sizeof memory, &len, ERROR));
    was_called("merge", 1);
}

static void of_events(void) {
    alluvium_handler handler = {.name = "applies", .version = 1, .apply = applies};
    uint32_t number;
    uint64_t trigger;
    OK(alluvium_store_handler(all.store, &handler, &number, ERROR));
    OK(alluvium_writer_apply_event(all.writer, number, 0, text("event"), ERROR));
    was_called("the handler, and two callbacks of it", 3);
    OK(alluvium_store_watch_invariant(all.store, holds, NULL, is_done, &trigger, ERROR));
    alluvium_event_id id = {1, 1};
    uint32_t applied;
    OK(alluvium_writer_apply_event_once(all.writer, number, 0, id, text("event"), &applied, ERROR));
    was_called("the handler again, and a condition", 4);
    OK(alluvium_store_unwatch(all.store, trigger, ERROR));
    was_called("release", 1);
}

/* By whichever thread is at it. */
static void of_what_goes_on(void) {
    alluvium_commit commit;
    OK(alluvium_ticket_on_complete(all.ticket, is_done, NULL, ERROR));
    was_called("on_complete", 1);
    OK(alluvium_writer_commit_lasting(all.writer, NULL, 0, NOTHING, ALLUVIUM_LASTING_SOON, &commit, ERROR));
    OK(alluvium_commit_on_lasting(commit, lasts, NULL, is_done, ERROR));
    was_called("on_lasting, and release", 2);
    OK(alluvium_commit_close(commit, ERROR));
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    open_everything(&all, argv[1]);
    register_merged();
    of_writer();
    of_events();
    of_what_goes_on();
    CHECK(has(all.writer, all.values, "JFK", "1"));
    close_everything(&all);
    return 0;
}
