/* Repair: bad events are taken back with what came of them, and whoever was told of it learns of it. */
#include "check.h"
#include <stddef.h>

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

/* What an invariant is given, and what it does with it. */
static struct {
    uint16_t counts;
    alluvium_writer writer;
    alluvium_store store;
    alluvium_applying kept;
    int calls, released, answer;
} limit;

/* No count is above 9; what it changes, and where else it reads, is refused. */
static int32_t at_most_nine(void *context, alluvium_slice event, alluvium_applying applying) {
    alluvium_key key = jfk(), elsewhere = {4, text("JFK"), {NULL, 0}};
    uint8_t memory[8] = {0};
    size_t len = 0;
    uint64_t number = 0;
    uint16_t group = 0;
    CHECK(context == &limit && event.len > 0);
    limit.calls++;
    limit.kept = applying;
    OK(alluvium_applying_group(applying, &group, ERROR));
    OK(alluvium_applying_now(applying, &number, ERROR));
    CHECK(group == 3 && number == 700);
    IS(ALLUVIUM_OPTIONS, alluvium_applying_put(applying, limit.counts, &key, text("x"), ERROR));
    IS(ALLUVIUM_OPTIONS, alluvium_applying_delete(applying, limit.counts, &key, ERROR));
    IS(ALLUVIUM_OUTSIDE_RANGE, alluvium_applying_get(applying, limit.counts, &elsewhere, memory, sizeof memory, &len, ERROR));
    IS(ALLUVIUM_INSIDE_CALLBACK, alluvium_writer_get(limit.writer, limit.counts, &key, memory, sizeof memory, &len, ERROR));
    IS(ALLUVIUM_INSIDE_CALLBACK, alluvium_store_unwatch(limit.store, 0, ERROR));
    IS(ALLUVIUM_INSIDE_CALLBACK, alluvium_store_watch_invariant(limit.store, at_most_nine, NULL, NULL, &number, ERROR));
    OK(alluvium_applying_get(applying, limit.counts, &key, memory, sizeof memory, &len, ERROR));
    CHECK(len == 1);
    if (limit.answer == ALLUVIUM_STATE)
        return alluvium_applying_get(applying, 999, &key, memory, sizeof memory, &len, NULL);
    return limit.answer != 0 ? limit.answer : memory[0] <= 9;
}

static void release_limit(void *context) {
    CHECK(context == &limit);
    limit.released++;
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

/* A sum of single bytes, as the host adds and takes away. */
static struct {
    alluvium_store store;
    int inverted, compared, released, has_none;
} summed;

static void sum(void *context, alluvium_slice older, alluvium_slice newer, alluvium_output output) {
    CHECK(context == &summed && older.len == 1 && newer.len == 1);
    uint8_t both = (uint8_t)(older.data[0] + newer.data[0]);
    output.write(output.context, &both, 1);
}

static int32_t negate(void *context, alluvium_slice operand, alluvium_output output) {
    uint8_t inverse = (uint8_t)-operand.data[0];
    size_t count;
    CHECK(context == &summed && operand.len == 1);
    summed.inverted++;
    IS(ALLUVIUM_INSIDE_CALLBACK, alluvium_store_states(summed.store, &count, ERROR));
    if (summed.has_none == 2)
        output.write(output.context, NULL, 1); /* which is no bytes */
    else
        output.write(output.context, &inverse, 1);
    return summed.has_none == 1;
}

static int32_t is_zero(void *context, alluvium_slice value) {
    CHECK(context == &summed && value.len == 1);
    summed.compared++;
    return value.data[0] == 0;
}

static void release_sum(void *context) {
    CHECK(context == &summed);
    summed.released++;
}

static int32_t sums_up(void *context, alluvium_slice event, alluvium_applying applying) {
    alluvium_key key = jfk();
    return alluvium_applying_merge(applying, *(uint16_t *)context, &key, event, NULL);
}

/* Operators of the host's own that can take away what was added. */
static void inverses(const char *directory) {
    char path[512];
    snprintf(path, sizeof path, "%s/inverses", directory);
    alluvium_store_options options;
    OK(alluvium_store_options_init(&options));
    options.durability = ALLUVIUM_DURABILITY_CHANGELOG;
    fixture made = set_up(path, &options);
    summed.store = made.store;
    alluvium_state_options of_sums;
    OK(alluvium_state_options_init(&of_sums));
    CHECK(of_sums.merge_invert == NULL && of_sums.merge_is_identity == NULL);
    of_sums.name = "sums";
    of_sums.kind = ALLUVIUM_KIND_MERGING;
    of_sums.traced = 1;
    of_sums.merge_context = &summed;
    of_sums.merge_release = release_sum;
    of_sums.merge_invert = negate;
    of_sums.merge_is_identity = is_zero;
    uint16_t sums, plain;
    /* What is built in has its own. */
    of_sums.merge_name = "u64-add";
    IS(ALLUVIUM_ARGUMENT, alluvium_store_state(made.store, &of_sums, &sums, ERROR));
    of_sums.merge_invert = NULL;
    IS(ALLUVIUM_ARGUMENT, alluvium_store_state(made.store, &of_sums, &sums, ERROR));
    CHECK(summed.released == 2);
    of_sums.merge_invert = negate;
    of_sums.merge_name = "sum of bytes";
    of_sums.merge = sum;
    OK(alluvium_store_state(made.store, &of_sums, &sums, ERROR));
    /* Of a program that doesn't know the fields: what is there is not looked at. */
    of_sums.name = "plain";
    of_sums.size = (uint32_t)offsetof(alluvium_state_options, merge_invert);
    OK(alluvium_store_state(made.store, &of_sums, &plain, ERROR));
    of_sums.size += 8;
    IS(ALLUVIUM_ABI, alluvium_store_state(made.store, &of_sums, &plain, ERROR));

    alluvium_handler handler = {.name = "sums up", .version = 1, .apply = sums_up, .context = &sums};
    alluvium_handler without = {.name = "sums up without", .version = 1, .apply = sums_up, .context = &plain};
    uint32_t number, other;
    OK(alluvium_store_handler(made.store, &handler, &number, ERROR));
    OK(alluvium_store_handler(made.store, &without, &other, ERROR));
    alluvium_repair repair;
    alluvium_group_repair group;
    alluvium_retraction retraction;
    alluvium_event_id first = {1, 1}, second = {1, 2}, third = {1, 3};
    apply(made.writer, number, 1, "\005");
    apply(made.writer, number, 2, "\007");
    apply(made.writer, other, 3, "\005");
    IS(ALLUVIUM_EVENT, alluvium_writer_repair(made.writer, &third, 1, ALLUVIUM_WAY_INVERSE, &repair, ERROR));
    CHECK(summed.inverted == 0);
    for (summed.has_none = 1; summed.has_none <= 2; summed.has_none++)
        IS(ALLUVIUM_EVENT, alluvium_writer_repair(made.writer, &first, 1, ALLUVIUM_WAY_INVERSE, &repair, ERROR));
    summed.has_none = 0;
    count_is(made.writer, sums, 12);
    OK(alluvium_writer_repair(made.writer, &first, 1, ALLUVIUM_WAY_INVERSE, &repair, ERROR));
    count_is(made.writer, sums, 7);
    OK(alluvium_repair_group(repair, 0, &group, ERROR));
    CHECK(group.way == ALLUVIUM_WAY_INVERSE && group.applied_again == 0);
    OK(alluvium_repair_close(repair, ERROR));
    /* With all that was added, the value goes. */
    OK(alluvium_writer_repair(made.writer, &second, 1, ALLUVIUM_WAY_INVERSE, &repair, ERROR));
    OK(alluvium_repair_retraction(repair, 0, &retraction, ERROR));
    CHECK(retraction.before_kind == ALLUVIUM_CONTENT_VALUE && same(retraction.before, "\007") && retraction.after_kind == ALLUVIUM_CONTENT_NONE);
    OK(alluvium_repair_close(repair, ERROR));
    alluvium_key key = jfk();
    uint8_t memory[8];
    size_t len;
    IS(ALLUVIUM_NOT_FOUND, alluvium_writer_get(made.writer, sums, &key, memory, sizeof memory, &len, ERROR));
    count_is(made.writer, plain, 5);
    CHECK(summed.inverted >= 4 && summed.compared >= 2);
    tear_down(&made);
    CHECK(summed.released == 4);
}

/* Conditions of the host's own, looked at after each event. */
static void invariants(const char *directory) {
    char path[512];
    snprintf(path, sizeof path, "%s/invariants", directory);
    alluvium_store_options options;
    OK(alluvium_store_options_init(&options));
    options.durability = ALLUVIUM_DURABILITY_CHANGELOG;
    fixture made = set_up(path, &options);
    states known = {traced(made.store, "counts", ALLUVIUM_KIND_VALUE, NULL), traced(made.store, "bags", ALLUVIUM_KIND_MERGING, "multiset")};
    alluvium_handler handler = {.name = "adds", .version = 1, .apply = adds, .context = &known};
    uint32_t number, applied = 9;
    uint64_t trigger = 99, wrong[] = {0, 1, UINT64_MAX, made.writer.id};
    alluvium_event_id third = {1, 3}, fourth = {1, 4};
    OK(alluvium_store_handler(made.store, &handler, &number, ERROR));
    OK(alluvium_writer_set_time(made.writer, 700, ERROR));
    limit.counts = known.counts;
    limit.writer = made.writer;
    limit.store = made.store;

    /* Its context is let go, whatever the call comes to. */
    IS(ALLUVIUM_NULL, alluvium_store_watch_invariant(made.store, NULL, &limit, release_limit, &trigger, ERROR));
    IS(ALLUVIUM_NULL, alluvium_store_watch_invariant(made.store, at_most_nine, &limit, release_limit, NULL, ERROR));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        alluvium_store none = {wrong[i]};
        IS(ALLUVIUM_HANDLE, alluvium_store_watch_invariant(none, at_most_nine, &limit, release_limit, &trigger, ERROR));
    }
    CHECK(limit.released == 6 && limit.calls == 0 && trigger == 99);

    OK(alluvium_store_watch_invariant(made.store, at_most_nine, &limit, release_limit, &trigger, ERROR));
    apply(made.writer, number, 1, "+9");
    alluvium_buffer buffer;
    OK(alluvium_buffer_new(&buffer, ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_store_fired(made.store, buffer, NULL, ERROR));
    apply(made.writer, number, 2, "+1");
    fired_is(made.store, trigger, 2);
    CHECK(limit.calls == 2);
    uint16_t group;
    IS(ALLUVIUM_HANDLE, alluvium_applying_group(limit.kept, &group, ERROR));

    /* Where it fails the event is applied all the same, and nothing fires. */
    limit.answer = 7;
    IS(ALLUVIUM_EVENT_HANDLER, alluvium_writer_apply_event_once(made.writer, number, 3, third, text("+1"), &applied, ERROR));
    count_is(made.writer, known.counts, 11);
    limit.answer = ALLUVIUM_STATE;
    IS(ALLUVIUM_STATE, alluvium_writer_apply_event_once(made.writer, number, 3, fourth, text("+1"), &applied, ERROR));
    count_is(made.writer, known.counts, 12);
    IS(ALLUVIUM_NOT_FOUND, alluvium_store_fired(made.store, buffer, NULL, ERROR));
    OK(alluvium_writer_apply_event_once(made.writer, number, 3, fourth, text("+1"), &applied, ERROR));
    CHECK(applied == 0);
    limit.answer = 0;
    CHECK(limit.calls == 4 && limit.released == 6);

    OK(alluvium_store_unwatch(made.store, trigger, ERROR));
    CHECK(limit.released == 7);
    apply(made.writer, number, 5, "+1");
    CHECK(limit.calls == 4);
    /* Or with its store. */
    OK(alluvium_store_watch_invariant(made.store, at_most_nine, &limit, release_limit, &trigger, ERROR));
    OK(alluvium_buffer_free(buffer));
    tear_down(&made);
    CHECK(limit.released == 8 && limit.calls == 4);
}

/* What the operator `multiset` takes and gives. */
static void multisets(void) {
    alluvium_buffer buffer;
    alluvium_slice data;
    size_t records = 9;
    int64_t count = 9;
    OK(alluvium_buffer_new(&buffer, ERROR));
    OK(alluvium_multiset_operand(text("b"), -1, buffer, ERROR));
    OK(alluvium_buffer_data(buffer, &data, NULL));
    CHECK(same(data, "\001b\001"));
    alluvium_slice bag = text("\001a\004\001b\001\002cc\002"); /* a twice, b once too few, cc once */
    OK(alluvium_multiset_count(bag, text("a"), &count, ERROR));
    CHECK(count == 2);
    OK(alluvium_multiset_count(bag, text("b"), &count, ERROR));
    CHECK(count == -1);
    OK(alluvium_multiset_count(bag, text("c"), &count, ERROR));
    CHECK(count == 0);
    OK(alluvium_multiset_elements(bag, buffer, ERROR));
    OK(alluvium_buffer_data(buffer, &data, &records));
    CHECK(records == 3 && data.len == 3 * 12 + 4);
    CHECK((int64_t)u64_at(data.data) == 2 && u32_at(data.data + 8) == 1 && data.data[12] == 'a');
    CHECK((int64_t)u64_at(data.data + 13) == -1 && u32_at(data.data + 21) == 1 && data.data[25] == 'b');
    OK(alluvium_multiset_top(bag, 1, buffer, ERROR));
    OK(alluvium_buffer_data(buffer, &data, &records));
    CHECK(records == 1 && u64_at(data.data) == 1 && u32_at(data.data + 8) == 2 && memcmp(data.data + 12, "cc", 2) == 0);
    OK(alluvium_multiset_top(bag, SIZE_MAX, buffer, ERROR));
    OK(alluvium_buffer_data(buffer, &data, &records));
    CHECK(records == 2);
    /* The multiset may lie in the buffer that is filled. */
    OK(alluvium_multiset_operand(text("a"), 3, buffer, ERROR));
    OK(alluvium_buffer_data(buffer, &data, NULL));
    OK(alluvium_multiset_elements(data, buffer, ERROR));
    OK(alluvium_buffer_data(buffer, &data, &records));
    CHECK(records == 1 && u64_at(data.data) == 3);
    OK(alluvium_multiset_elements(NOTHING, buffer, ERROR));
    OK(alluvium_buffer_data(buffer, &data, &records));
    CHECK(records == 0);
    IS(ALLUVIUM_ARGUMENT, alluvium_multiset_elements(text("\377"), buffer, ERROR));
    IS(ALLUVIUM_ARGUMENT, alluvium_multiset_top(text("\002b"), 3, buffer, ERROR));
    IS(ALLUVIUM_ARGUMENT, alluvium_multiset_count(bytes("a", SIZE_MAX), text("a"), &count, ERROR));
    IS(ALLUVIUM_NULL, alluvium_multiset_count(bag, text("a"), NULL, ERROR));
    IS(ALLUVIUM_NULL, alluvium_multiset_operand(bytes(NULL, 1), 1, buffer, ERROR));
    OK(alluvium_buffer_free(buffer));
    IS(ALLUVIUM_HANDLE, alluvium_multiset_operand(text("b"), 1, buffer, ERROR));
    IS(ALLUVIUM_HANDLE, alluvium_multiset_elements(bag, buffer, ERROR));
    IS(ALLUVIUM_HANDLE, alluvium_multiset_top(bag, 1, buffer, ERROR));
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    alluvium_store_options options;
    OK(alluvium_store_options_init(&options));
    options.durability = ALLUVIUM_DURABILITY_CHANGELOG;
    options.history_checkpoints = 2;
    char path[512];
    snprintf(path, sizeof path, "%s/repaired", argv[1]);
    fixture made = set_up(path, &options);
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
    alluvium_event_id found = {0, 0};
    OK(alluvium_repair_bad(repair, 0, 0, &found, ERROR));
    CHECK(found.source == 1 && found.offset == 2);
    IS(ALLUVIUM_NOT_FOUND, alluvium_repair_bad(repair, 0, 1, &found, ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_repair_bad(repair, 1, 0, &found, ERROR));
    IS(ALLUVIUM_NULL, alluvium_repair_bad(repair, 0, 0, NULL, ERROR));
    uint32_t log_mode = 9, is_traced = 9;
    OK(alluvium_store_logging(store, known.counts, &log_mode, &is_traced, ERROR));
    CHECK(log_mode == ALLUVIUM_LOG_STATE && is_traced == 1);
    OK(alluvium_store_logging(store, known.counts, NULL, NULL, ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_store_logging(store, 99, &log_mode, &is_traced, ERROR));
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
    multisets();
    invariants(argv[1]);
    inverses(argv[1]);
    return 0;
}
