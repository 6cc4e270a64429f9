/* Repair: bad events are taken back with what came of them, and whoever was told of it learns of it. */
#include "check.h"

typedef struct {
    uint16_t counts, bags;
} states;

static alluvium_key jfk(void) {
    alluvium_key key = {3, text("JFK"), {NULL, 0}};
    return key;
}

/* "+" and a digit adds it to a count, which it reads; another event is an operand of the multiset. */
static int32_t adds(void *context, alluvium_slice event, alluvium_applying applying) {
    const states *known = context;
    alluvium_key key = jfk();
    uint8_t memory[8] = {0};
    size_t len = 0;
    if (event.data[0] != '+')
        return alluvium_applying_merge(applying, known->bags, &key, event, NULL);
    if (alluvium_applying_get(applying, known->counts, &key, memory, sizeof memory, &len, NULL) < 0)
        return 1;
    memory[0] = (uint8_t)(memory[0] + event.data[1] - '0');
    return alluvium_applying_put(applying, known->counts, &key, bytes(memory, 1), NULL);
}

static struct {
    uint16_t counts;
    int calls;
} made_up;

/* The count is 42: so much of the third event is right, which reads what the first one wrote. */
static int32_t undo(void *context, const alluvium_bad_event *event, alluvium_applying applying) {
    uint8_t answer = 42;
    alluvium_key key = jfk();
    CHECK(context == &made_up && event->id.source == 1 && event->id.offset == 1 && event->group == 3);
    CHECK(same(event->event, "+1") && same(event->handler, "adds") && event->version == 1 && event->applied_at_ms == 1000);
    CHECK(event->dependents_len == 1 && event->dependents[0].id.offset == 3);
    made_up.calls++;
    return alluvium_applying_put(applying, made_up.counts, &key, bytes(&answer, 1), NULL);
}

static int32_t gives_up(void *context, const alluvium_bad_event *event, alluvium_applying applying) {
    (void)context, (void)event, (void)applying;
    return 7;
}

static int32_t strays(void *context, const alluvium_bad_event *event, alluvium_applying applying) {
    alluvium_key key = {4, text("JFK"), {NULL, 0}};
    (void)context;
    return alluvium_applying_put(applying, made_up.counts, &key, event->event, NULL);
}

static uint16_t traced(alluvium_store store, const char *name, uint32_t kind, const char *merge_name) {
    uint16_t state;
    alluvium_state_options options;
    OK(alluvium_state_options_init(&options));
    options.name = name;
    options.kind = kind;
    options.merge_name = merge_name;
    options.traced = 2;
    IS(ALLUVIUM_ARGUMENT, alluvium_store_state(store, &options, &state, ERROR));
    options.traced = 1;
    OK(alluvium_store_state(store, &options, &state, ERROR));
    return state;
}

static void apply(alluvium_writer writer, uint32_t handler, uint64_t offset, const char *event) {
    alluvium_event_id id = {1, offset};
    uint32_t applied = 0;
    OK(alluvium_writer_apply_event_once(writer, handler, 3, id, text(event), &applied, ERROR));
    CHECK(applied == 1);
}

static void count_is(alluvium_writer writer, uint16_t state, uint8_t expected) {
    alluvium_key key = jfk();
    uint8_t memory[8];
    size_t len = 0;
    OK(alluvium_writer_get(writer, state, &key, memory, sizeof memory, &len, ERROR));
    CHECK(len == 1 && memory[0] == expected);
}

static alluvium_counts counts_of(alluvium_repair repair) {
    alluvium_counts counts;
    OK(alluvium_repair_counts(repair, &counts, ERROR));
    return counts;
}

static void fired_is(alluvium_store store, uint64_t trigger, uint64_t offset) {
    alluvium_buffer buffer;
    alluvium_slice data;
    size_t records;
    uint64_t more = 9;
    OK(alluvium_buffer_new(&buffer, ERROR));
    OK(alluvium_store_fired(store, buffer, &more, ERROR));
    OK(alluvium_buffer_data(buffer, &data, &records));
    CHECK(records == 1 && data.len == 22 && more == 0);
    CHECK(u64_at(data.data) == trigger && u64_at(data.data + 8) == offset && u32_at(data.data + 16) == 1 && u16_at(data.data + 20) == 3);
    IS(ALLUVIUM_NOT_FOUND, alluvium_store_fired(store, buffer, NULL, ERROR));
    OK(alluvium_buffer_free(buffer));
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    alluvium_store_options options;
    OK(alluvium_store_options_init(&options));
    options.durability = ALLUVIUM_DURABILITY_CHANGELOG;
    options.history_checkpoints = 2;
    fixture made = set_up(argv[1], &options);
    alluvium_writer writer = made.writer;
    alluvium_store store = made.store;
    states known = {traced(store, "counts", ALLUVIUM_KIND_VALUE, NULL), traced(store, "bags", ALLUVIUM_KIND_MERGING, "multiset")};
    alluvium_handler handler = {.name = "adds", .version = 1, .apply = adds, .context = &known};
    uint32_t number;
    OK(alluvium_store_handler(store, &handler, &number, ERROR));
    checkpoint(store, 1);

    /* Triggers. */
    uint64_t late, third;
    alluvium_event_id bad = {1, 2}, third_id = {1, 3}, never = {1, 99};
    OK(alluvium_store_watch_event(store, third_id, &third, ERROR));
    OK(alluvium_writer_set_time(writer, 1000, ERROR));
    apply(writer, number, 1, "+1");
    apply(writer, number, 2, "+5");
    apply(writer, number, 3, "+2");
    fired_is(store, third, 3);
    OK(alluvium_store_watch_stragglers(store, &late, ERROR));
    apply(writer, number, 4, "\001a\002");
    OK(alluvium_writer_set_time(writer, 900, ERROR));
    apply(writer, number, 5, "\001b\002");
    fired_is(store, late, 5);
    OK(alluvium_store_unwatch(store, late, ERROR));
    OK(alluvium_writer_set_time(writer, 800, ERROR));
    apply(writer, number, 6, "\001b\002");
    count_is(writer, known.counts, 8);

    /* What depends on what. */
    alluvium_repair repair;
    alluvium_event_at at;
    alluvium_key key = jfk();
    OK(alluvium_store_closure(store, &bad, 1, &repair, ERROR));
    CHECK(counts_of(repair).events == 2 && counts_of(repair).groups == 0);
    OK(alluvium_repair_event(repair, 1, &at, ERROR));
    CHECK(at.id.source == 1 && at.id.offset == 3 && at.group == 3 && at.position > 0);
    IS(ALLUVIUM_NOT_FOUND, alluvium_repair_event(repair, 2, &at, ERROR));
    OK(alluvium_repair_close(repair, ERROR));
    OK(alluvium_store_provenance(store, known.counts, &key, NULL, &repair, ERROR));
    CHECK(counts_of(repair).events == 3);
    OK(alluvium_repair_close(repair, ERROR));
    IS(ALLUVIUM_EVENT, alluvium_store_closure(store, &never, 1, &repair, ERROR));

    /* Taken back by applying again what came after. */
    alluvium_group_repair group;
    alluvium_retraction retraction;
    OK(alluvium_writer_plan_repair(writer, &bad, 1, ALLUVIUM_WAY_AUTO, &repair, ERROR));
    CHECK(counts_of(repair).groups == 1 && counts_of(repair).retractions == 0);
    OK(alluvium_repair_close(repair, ERROR));
    count_is(writer, known.counts, 8);
    IS(ALLUVIUM_EVENT, alluvium_writer_repair(writer, &bad, 1, ALLUVIUM_WAY_INVERSE, &repair, ERROR));
    OK(alluvium_writer_repair(writer, &bad, 1, ALLUVIUM_WAY_AUTO, &repair, ERROR));
    count_is(writer, known.counts, 3);
    CHECK(counts_of(repair).events == 2 && counts_of(repair).retractions == 1 && counts_of(repair).before == 0);
    OK(alluvium_repair_group(repair, 0, &group, ERROR));
    CHECK(group.group == 3 && group.way == ALLUVIUM_WAY_REEXECUTE && group.bad == 1 && group.dependents == 1);
    CHECK(group.applied_again >= 1 && group.has_from == 1 && group.from == 1);
    OK(alluvium_repair_retraction(repair, 0, &retraction, ERROR));
    CHECK(retraction.event.offset == 2 && retraction.state == known.counts && retraction.group == 3 && same(retraction.key, "JFK"));
    CHECK(retraction.has_user_key == 0 && retraction.ns.len == 0);
    CHECK(retraction.before_kind == ALLUVIUM_CONTENT_VALUE && retraction.before.len == 1 && retraction.before.data[0] == 8);
    CHECK(retraction.after_kind == ALLUVIUM_CONTENT_VALUE && retraction.after.len == 1 && retraction.after.data[0] == 3);
    OK(alluvium_repair_close(repair, ERROR));
    OK(alluvium_writer_repair(writer, &bad, 1, ALLUVIUM_WAY_AUTO, &repair, ERROR));
    CHECK(counts_of(repair).before == 1 && counts_of(repair).retractions == 0);
    OK(alluvium_repair_before(repair, 0, &bad, ERROR));
    CHECK(bad.source == 1 && bad.offset == 2);
    OK(alluvium_repair_close(repair, ERROR));

    /* Taken back by its inverse: one of two stays. */
    uint8_t memory[16];
    size_t len;
    alluvium_event_id second_bag = {1, 5};
    OK(alluvium_writer_repair(writer, &second_bag, 1, ALLUVIUM_WAY_INVERSE, &repair, ERROR));
    OK(alluvium_repair_group(repair, 0, &group, ERROR));
    CHECK(group.way == ALLUVIUM_WAY_INVERSE && group.applied_again == 0);
    OK(alluvium_repair_close(repair, ERROR));
    OK(alluvium_writer_get(writer, known.bags, &key, memory, sizeof memory, &len, ERROR));
    CHECK(same(bytes(memory, len), "\001a\002\001b\002"));

    /* Made up for by the host itself, which has to know of what depends on it. */
    made_up.counts = known.counts;
    alluvium_event_id first = {1, 1};
    IS(ALLUVIUM_EVENT, alluvium_writer_compensate(writer, first, undo, &made_up, ALLUVIUM_DEPENDENTS_REFUSE, &repair, ERROR));
    CHECK(made_up.calls == 0);
    OK(alluvium_writer_compensate(writer, first, undo, &made_up, ALLUVIUM_DEPENDENTS_KNOWN, &repair, ERROR));
    CHECK(made_up.calls == 1);
    count_is(writer, known.counts, 42);
    OK(alluvium_repair_group(repair, 0, &group, ERROR));
    CHECK(group.way == ALLUVIUM_WAY_USER && group.dependents == 1 && group.has_from == 0);
    OK(alluvium_repair_retraction(repair, 0, &retraction, ERROR));
    CHECK(retraction.event.offset == 1 && retraction.before.data[0] == 3 && retraction.after.data[0] == 42);
    OK(alluvium_repair_close(repair, ERROR));
    OK(alluvium_writer_compensate(writer, first, undo, &made_up, ALLUVIUM_DEPENDENTS_REFUSE, &repair, ERROR));
    CHECK(made_up.calls == 1 && counts_of(repair).before == 1);
    OK(alluvium_repair_close(repair, ERROR));
    alluvium_event_id fourth = {1, 4};
    IS(ALLUVIUM_EVENT_HANDLER, alluvium_writer_compensate(writer, fourth, gives_up, NULL, ALLUVIUM_DEPENDENTS_REFUSE, &repair, ERROR));
    IS(ALLUVIUM_OUTSIDE_RANGE, alluvium_writer_compensate(writer, fourth, strays, &made_up, ALLUVIUM_DEPENDENTS_REFUSE, &repair, ERROR));
    IS(ALLUVIUM_NULL, alluvium_writer_compensate(writer, fourth, NULL, NULL, ALLUVIUM_DEPENDENTS_REFUSE, &repair, ERROR));
    IS(ALLUVIUM_ARGUMENT, alluvium_writer_compensate(writer, fourth, undo, &made_up, 2, &repair, ERROR));
    count_is(writer, known.counts, 42);
    OK(alluvium_writer_acknowledge(writer, 3, first, ERROR));

    /* Until the host has said that it has them. */
    OK(alluvium_writer_retractions(writer, &repair, ERROR));
    CHECK(counts_of(repair).retractions == 2);
    OK(alluvium_repair_retraction(repair, 0, &retraction, ERROR));
    CHECK(retraction.event.offset == 2 && retraction.before.data[0] == 8);
    OK(alluvium_repair_close(repair, ERROR));
    OK(alluvium_writer_acknowledge(writer, 3, bad, ERROR));
    OK(alluvium_writer_retractions(writer, &repair, ERROR));
    CHECK(counts_of(repair).retractions == 1);

    /* Misuse. */
    IS(ALLUVIUM_HAS_CHILDREN, alluvium_store_close(store, ERROR));
    IS(ALLUVIUM_NULL, alluvium_repair_counts(repair, NULL, ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_repair_retraction(repair, 1, &retraction, ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_repair_group(repair, 0, &group, ERROR));
    OK(alluvium_repair_close(repair, ERROR));
    IS(ALLUVIUM_HANDLE, alluvium_repair_close(repair, ERROR));
    IS(ALLUVIUM_EVENT, alluvium_writer_acknowledge(writer, 3, never, ERROR));
    IS(ALLUVIUM_EVENT, alluvium_writer_repair(writer, &never, 1, ALLUVIUM_WAY_AUTO, &repair, ERROR));
    IS(ALLUVIUM_ARGUMENT, alluvium_writer_repair(writer, &bad, 1, 3, &repair, ERROR));
    IS(ALLUVIUM_NULL, alluvium_writer_repair(writer, NULL, 1, ALLUVIUM_WAY_AUTO, &repair, ERROR));
    IS(ALLUVIUM_NULL, alluvium_writer_repair(writer, &bad, 1, ALLUVIUM_WAY_AUTO, NULL, ERROR));
    tear_down(&made);
    return 0;
}
