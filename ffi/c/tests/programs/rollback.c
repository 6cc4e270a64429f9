/* Key groups go back to a checkpoint, or to a position of the changelog, while the store goes on. */
#include "check.h"

static alluvium_key in_group(uint16_t group, const char *name) {
    alluvium_key key = {group, text(name), {NULL, 0}};
    return key;
}

static void put_in(alluvium_writer writer, uint16_t state, uint16_t group, const char *value) {
    alluvium_key key = in_group(group, "k");
    OK(alluvium_writer_put(writer, state, &key, text(value), ERROR));
}

static void is(alluvium_writer writer, uint16_t state, uint16_t group, const char *expected) {
    alluvium_key key = in_group(group, "k");
    uint8_t memory[64];
    size_t len = 0;
    if (expected == NULL) {
        IS(ALLUVIUM_NOT_FOUND, alluvium_writer_get(writer, state, &key, memory, sizeof memory, &len, ERROR));
        return;
    }
    OK(alluvium_writer_get(writer, state, &key, memory, sizeof memory, &len, ERROR));
    CHECK(same(bytes(memory, len), expected));
}

static void checkpoint_with(alluvium_store store, uint64_t label, const char *at) {
    alluvium_offset offsets[2] = {{{0, 63}, text(at)}, {{64, 127}, text("high")}};
    alluvium_barrier barrier = {.size = sizeof barrier, .label = label, .offsets = offsets, .offsets_len = 2, .metadata = text("kept")};
    alluvium_pending pending;
    OK(alluvium_store_barrier(store, &barrier, &pending, ERROR));
    OK(alluvium_pending_wait(pending, NULL, ERROR));
    OK(alluvium_pending_close(pending, ERROR));
}

static uint64_t commit_with(alluvium_store store, const char *at) {
    alluvium_offset offset = {{0, 127}, text(at)};
    alluvium_commit commit;
    uint64_t position;
    OK(alluvium_store_commit_lasting(store, &offset, 1, text("of the commit"), ALLUVIUM_LASTING_SOON, &commit, ERROR));
    OK(alluvium_commit_position(commit, &position, ERROR));
    OK(alluvium_commit_close(commit, ERROR));
    return position;
}

/* To a position: the nearest checkpoint before it, and what came up to there. */
static void to_a_position(alluvium_store store, alluvium_writer writer, uint16_t one, uint16_t two) {
    alluvium_info info;
    alluvium_offset offset;
    alluvium_numbers numbers = {.size = sizeof numbers};
    alluvium_range five = {5, 5}, low = {0, 63};
    put_in(writer, one, 5, "at the position");
    put_in(writer, two, 5, "there, too");
    uint64_t position = commit_with(store, "event 120");
    put_in(writer, one, 5, "poison");
    put_in(writer, two, 5, "stays");
    OK(alluvium_store_rollback_to_position(store, five, &one, 1, position, &info, ERROR));
    OK(alluvium_info_close(info, ERROR));
    is(writer, one, 5, "at the position");
    is(writer, two, 5, "stays");
    OK(alluvium_store_rollback_to_position(store, low, NULL, 0, position, &info, ERROR));
    is(writer, two, 5, "there, too");
    OK(alluvium_info_numbers(info, &numbers, ERROR));
    CHECK(numbers.label == 2 && numbers.number > 0 && numbers.offsets == 1);
    uint64_t reached;
    OK(alluvium_info_position(info, &reached, ERROR));
    CHECK(reached == position);
    alluvium_slice metadata;
    OK(alluvium_info_metadata(info, &metadata, ERROR));
    CHECK(same(metadata, "of the commit"));
    OK(alluvium_info_offset(info, 0, &offset, ERROR));
    CHECK(offset.range.first == 0 && offset.range.last == 63 && same(offset.offset, "event 120"));
    OK(alluvium_info_close(info, ERROR));
    IS(ALLUVIUM_POSITION, alluvium_store_rollback_to_position(store, low, NULL, 0, position + 100000, &info, ERROR));
    IS(ALLUVIUM_NULL, alluvium_store_rollback_to_position(store, low, NULL, 0, position, NULL, ERROR));
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    alluvium_store_options options;
    OK(alluvium_store_options_init(&options));
    options.retained_checkpoints = 3;
    options.durability = ALLUVIUM_DURABILITY_CHANGELOG;
    options.history_checkpoints = 2;
    fixture made = set_up(argv[1], &options);
    alluvium_writer writer = made.writer;
    uint16_t one = state_of(made.store, "one", ALLUVIUM_KIND_VALUE, NULL);
    uint16_t two = state_of(made.store, "two", ALLUVIUM_KIND_VALUE, NULL);
    put_in(writer, one, 5, "good");
    put_in(writer, two, 5, "good");
    put_in(writer, one, 90, "good");
    checkpoint_with(made.store, 1, "event 17");
    put_in(writer, one, 5, "bad");
    put_in(writer, two, 5, "bad");
    put_in(writer, one, 90, "later");
    put_in(writer, two, 6, "bad");
    checkpoint_with(made.store, 2, "event 99");

    /* One state of one key group. */
    alluvium_info info;
    alluvium_range five = {5, 5}, low = {0, 63}, wrong = {5, 4}, outside = {100, 200};
    OK(alluvium_store_rollback(made.store, five, &one, 1, 1, &info, ERROR));
    OK(alluvium_info_close(info, ERROR));
    is(writer, one, 5, "good");
    is(writer, two, 5, "bad");

    /* Key groups with all their states, and where their sources go on from. */
    alluvium_offset offset;
    alluvium_slice metadata;
    alluvium_numbers numbers = {.size = sizeof numbers};
    OK(alluvium_store_rollback(made.store, low, NULL, 0, 1, &info, ERROR));
    is(writer, one, 5, "good");
    is(writer, two, 5, "good");
    is(writer, two, 6, NULL);
    is(writer, one, 90, "later");
    OK(alluvium_info_numbers(info, &numbers, ERROR));
    CHECK(numbers.label == 1 && numbers.number > 0 && numbers.offsets == 1);
    OK(alluvium_info_offset(info, 0, &offset, ERROR));
    CHECK(offset.range.first == 0 && offset.range.last == 63 && same(offset.offset, "event 17"));
    OK(alluvium_info_metadata(info, &metadata, ERROR));
    CHECK(same(metadata, "kept"));
    OK(alluvium_info_close(info, ERROR));

    /* And forth. */
    OK(alluvium_store_rollback(made.store, low, NULL, 0, 2, &info, ERROR));
    OK(alluvium_info_close(info, ERROR));
    is(writer, two, 5, "bad");
    put_in(writer, two, 5, "goes on");
    is(writer, two, 5, "goes on");

    /* Misuse. */
    uint16_t none = 99;
    alluvium_error error = {0};
    const char *message;
    CHECK(alluvium_store_rollback(made.store, low, NULL, 0, 7, &info, &error) == ALLUVIUM_CHECKPOINT);
    OK(alluvium_error_get(error, NULL, NULL, &message));
    CHECK(strstr(message, "1, 2") != NULL);
    OK(alluvium_error_free(error));
    IS(ALLUVIUM_STATE, alluvium_store_rollback(made.store, low, &none, 1, 1, &info, ERROR));
    IS(ALLUVIUM_OUTSIDE_RANGE, alluvium_store_rollback(made.store, outside, NULL, 0, 1, &info, ERROR));
    IS(ALLUVIUM_ARGUMENT, alluvium_store_rollback(made.store, wrong, NULL, 0, 1, &info, ERROR));
    IS(ALLUVIUM_NULL, alluvium_store_rollback(made.store, low, NULL, 1, 1, &info, ERROR));
    IS(ALLUVIUM_NULL, alluvium_store_rollback(made.store, low, NULL, 0, 1, NULL, ERROR));
    is(writer, two, 5, "goes on");
    to_a_position(made.store, writer, one, two);
    tear_down(&made);
    return 0;
}
