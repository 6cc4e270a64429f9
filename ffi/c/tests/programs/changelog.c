/* Commits that last without a checkpoint: waited for, asked, told of; and what is found after a process died. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct {
    atomic_int calls, status, released;
} heard;

static void lasts(void *context, alluvium_status status) {
    heard *told = context;
    atomic_store(&told->status, status);
    atomic_fetch_add(&told->calls, 1);
}

static void released(void *context) {
    heard *told = context;
    atomic_fetch_add(&told->released, 1);
}

static void await_release(heard *told) {
    while (atomic_load(&told->released) == 0)
        sched_yield();
}

static alluvium_store_options with_changelog(void) {
    alluvium_store_options options;
    OK(alluvium_store_options_init(&options));
    CHECK(options.changelog_delay_us == 10000 && options.changelog_bytes == 1 << 20 && options.changelog_file_bytes == 64 << 20);
    options.durability = ALLUVIUM_DURABILITY_CHANGELOG;
    options.changelog_delay_us = 2000;
    options.changelog_file_bytes = 1 << 20;
    return options;
}

static alluvium_commit commit_at(alluvium_writer writer, const char *at, const char *metadata, uint32_t lasting) {
    alluvium_commit commit;
    alluvium_offset offset = {{0, 127}, text(at)};
    OK(alluvium_writer_commit_lasting(writer, &offset, 1, text(metadata), lasting, &commit, ERROR));
    return commit;
}

static uint64_t position_of(alluvium_commit commit) {
    uint64_t position = 0;
    OK(alluvium_commit_position(commit, &position, ERROR));
    return position;
}

/* Commits, and dies without closing anything. */
static void dies(const char *directory) {
    alluvium_store_options options = with_changelog();
    fixture made = set_up(directory, &options);
    alluvium_writer writer = made.writer;
    uint16_t values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
    uint16_t maps = state_of(made.store, "maps", ALLUVIUM_KIND_MAP, NULL);
    uint16_t lists = state_of(made.store, "lists", ALLUVIUM_KIND_LIST, NULL);
    uint16_t sums = state_of(made.store, "sums", ALLUVIUM_KIND_MERGING, "i64-add");
    alluvium_key key = by_hash("JFK");
    uint8_t one[8] = {1};
    put(writer, values, "JFK", "1");
    OK(alluvium_writer_map_put(writer, maps, &key, text("605"), text("late"), ERROR));
    OK(alluvium_writer_append(writer, lists, &key, text("a"), ERROR));
    OK(alluvium_writer_merge(writer, sums, &key, bytes(one, 8), ERROR));
    alluvium_commit first = commit_at(writer, "at 1", "first", ALLUVIUM_LASTING_SOON);
    OK(alluvium_commit_wait(first, ERROR));
    OK(alluvium_commit_poll(first, ERROR));

    /* Nothing is synced for one that lasts with a later one. */
    OK(alluvium_writer_append(writer, lists, &key, text("bc"), ERROR));
    OK(alluvium_writer_merge(writer, sums, &key, bytes(one, 8), ERROR));
    alluvium_commit second = commit_at(writer, "at 2", "second", ALLUVIUM_LASTING_WITH_LATER);
    heard told = {0};
    OK(alluvium_commit_on_lasting(second, lasts, &told, released, ERROR));
    IS(ALLUVIUM_PENDING, alluvium_commit_poll(second, ERROR));
    CHECK(atomic_load(&told.calls) == 0 && atomic_load(&told.released) == 0);
    put(writer, values, "JFK", "3");
    alluvium_commit third = commit_at(writer, "at 3", "third", ALLUVIUM_LASTING_SOON);
    CHECK(position_of(first) < position_of(second) && position_of(second) < position_of(third));
    await_release(&told);
    CHECK(atomic_load(&told.calls) == 1 && atomic_load(&told.status) == ALLUVIUM_OK && atomic_load(&told.released) == 1);
    OK(alluvium_commit_poll(second, ERROR));
    OK(alluvium_commit_wait(third, ERROR));
    /* At once, where it is known. */
    heard known = {0};
    OK(alluvium_commit_on_lasting(third, lasts, &known, released, ERROR));
    CHECK(atomic_load(&known.calls) == 1 && atomic_load(&known.status) == ALLUVIUM_OK && atomic_load(&known.released) == 1);
    put(writer, values, "JFK", "not committed");
    _exit(0);
}

static void check_last(alluvium_store store, const char *at, const char *metadata) {
    alluvium_info info;
    alluvium_offset offset;
    alluvium_slice found;
    uint64_t position = 0;
    OK(alluvium_store_last_commit(store, &info, ERROR));
    OK(alluvium_info_offset(info, 0, &offset, ERROR));
    OK(alluvium_info_metadata(info, &found, ERROR));
    OK(alluvium_info_position(info, &position, ERROR));
    CHECK(same(offset.offset, at) && offset.range.last == 127 && same(found, metadata) && position > 0);
    OK(alluvium_info_close(info, ERROR));
}

static fixture opened(const char *directory, const alluvium_store_options *options) {
    fixture made;
    made.engine = small_engine();
    OK(alluvium_store_open(made.engine, directory, options, &made.store, ERROR));
    OK(alluvium_writer_open(made.store, all_groups(), &made.writer, ERROR));
    return made;
}

static void everything_is_found(const char *directory) {
    alluvium_store_options options = with_changelog();
    fixture made = opened(directory, &options);
    alluvium_info info;
    IS(ALLUVIUM_NOT_FOUND, alluvium_store_restored(made.store, &info, ERROR));
    check_last(made.store, "at 3", "third");
    uint16_t values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
    uint16_t maps = state_of(made.store, "maps", ALLUVIUM_KIND_MAP, NULL);
    uint16_t lists = state_of(made.store, "lists", ALLUVIUM_KIND_LIST, NULL);
    uint16_t sums = state_of(made.store, "sums", ALLUVIUM_KIND_MERGING, "i64-add");
    CHECK(has(made.writer, values, "JFK", "3"));
    alluvium_key key = by_hash("JFK");
    uint8_t memory[64];
    size_t len = 0;
    OK(alluvium_writer_map_get(made.writer, maps, &key, text("605"), memory, sizeof memory, &len, ERROR));
    CHECK(same(bytes(memory, len), "late"));
    OK(alluvium_writer_get(made.writer, sums, &key, memory, sizeof memory, &len, ERROR));
    CHECK(len == 8 && u64_at(memory) == 2);
    alluvium_buffer buffer;
    alluvium_slice rest;
    OK(alluvium_buffer_new(&buffer, ERROR));
    OK(alluvium_writer_list(made.writer, lists, &key, buffer, ERROR));
    OK(alluvium_buffer_data(buffer, &rest, NULL));
    CHECK(same(take_element(&rest), "a") && same(take_element(&rest), "bc") && rest.len == 0);
    OK(alluvium_buffer_free(buffer));

    /* Closing makes everything last that was committed; who waits to hear of it does then, at the latest. */
    put(made.writer, values, "JFK", "4");
    alluvium_offset offset = {{0, 127}, text("at 4")};
    alluvium_commit fourth;
    OK(alluvium_store_commit_lasting(made.store, &offset, 1, text("fourth"), ALLUVIUM_LASTING_WITH_LATER, &fourth, ERROR));
    heard told = {0};
    OK(alluvium_commit_on_lasting(fourth, lasts, &told, released, ERROR));
    OK(alluvium_writer_close(made.writer, ERROR));
    IS(ALLUVIUM_HAS_CHILDREN, alluvium_store_close(made.store, ERROR));
    OK(alluvium_commit_info(fourth, &info, ERROR));
    alluvium_slice metadata;
    OK(alluvium_info_metadata(info, &metadata, ERROR));
    CHECK(same(metadata, "fourth"));
    OK(alluvium_info_close(info, ERROR));
    OK(alluvium_commit_close(fourth, ERROR));
    OK(alluvium_store_close(made.store, ERROR));
    OK(alluvium_engine_close(made.engine, ERROR));
    CHECK(atomic_load(&told.calls) == 1 && atomic_load(&told.status) == ALLUVIUM_OK && atomic_load(&told.released) == 1);

    /* What leaves an info lasts, too; and with a checkpoint behind it the changelog goes on. */
    made = opened(directory, &options);
    CHECK(has(made.writer, values, "JFK", "4"));
    check_last(made.store, "at 4", "fourth");
    checkpoint(made.store, 1);
    put(made.writer, values, "JFK", "5");
    offset.offset = text("at 5");
    OK(alluvium_writer_commit(made.writer, &offset, 1, text("fifth"), &info, ERROR));
    OK(alluvium_info_close(info, ERROR));
    /* Who doesn't want to know leaves out the handle. */
    put(made.writer, values, "JFK", "6");
    offset.offset = text("at 6");
    OK(alluvium_writer_commit_lasting(made.writer, &offset, 1, text("sixth"), ALLUVIUM_LASTING_SOON, NULL, ERROR));
    tear_down(&made);
    made = opened(directory, &options);
    CHECK(has(made.writer, values, "JFK", "6"));
    check_last(made.store, "at 6", "sixth");
    tear_down(&made);
}

/* With a changelog a transactional store's commits last; without one they last with the next checkpoint, and say so. */
static void transactional(const char *directory) {
    char path[512];
    snprintf(path, sizeof path, "%s/with", directory);
    alluvium_store_options options = with_changelog();
    options.transactional = 1;
    fixture made = set_up(path, &options);
    uint16_t values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
    put(made.writer, values, "JFK", "kept");
    alluvium_commit commit = commit_at(made.writer, "at 1", "kept", ALLUVIUM_LASTING_SOON);
    OK(alluvium_commit_wait(commit, ERROR));
    OK(alluvium_commit_close(commit, ERROR));
    put(made.writer, values, "JFK", "undone");
    OK(alluvium_writer_abort_transaction(made.writer, ERROR));
    put(made.writer, values, "JFK", "staged when the store is closed");
    tear_down(&made);
    made = opened(path, &options);
    CHECK(has(made.writer, state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL), "JFK", "kept"));
    check_last(made.store, "at 1", "kept");
    tear_down(&made);

    snprintf(path, sizeof path, "%s/without", directory);
    options.durability = ALLUVIUM_DURABILITY_CHECKPOINT;
    made = set_up(path, &options);
    commit = commit_at(made.writer, "at 1", "", ALLUVIUM_LASTING_SOON);
    IS(ALLUVIUM_OPTIONS, alluvium_commit_wait(commit, ERROR));
    IS(ALLUVIUM_OPTIONS, alluvium_commit_poll(commit, ERROR));
    CHECK(position_of(commit) == 0);
    heard told = {0};
    OK(alluvium_commit_on_lasting(commit, lasts, &told, released, ERROR));
    CHECK(atomic_load(&told.calls) == 1 && atomic_load(&told.status) == ALLUVIUM_OPTIONS && atomic_load(&told.released) == 1);
    OK(alluvium_commit_close(commit, ERROR));
    tear_down(&made);
}

/* A load is not in the changelog: what comes after it waits for a checkpoint. */
static void after_a_load(const char *directory) {
    char path[512];
    snprintf(path, sizeof path, "%s/loaded", directory);
    alluvium_store_options options = with_changelog();
    fixture made = set_up(path, &options);
    uint16_t values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
    OK(alluvium_writer_close(made.writer, ERROR));
    alluvium_bulk_load load;
    alluvium_key key = {0, text("JFK"), {NULL, 0}};
    OK(alluvium_bulk_begin(made.store, 1, &load, ERROR));
    OK(alluvium_bulk_put(load, values, &key, text("loaded"), ERROR));
    OK(alluvium_bulk_finish(load, ERROR));
    alluvium_commit commit;
    OK(alluvium_store_commit_lasting(made.store, NULL, 0, NOTHING, ALLUVIUM_LASTING_SOON, &commit, ERROR));
    IS(ALLUVIUM_BUSY, alluvium_commit_wait(commit, ERROR));
    IS(ALLUVIUM_PENDING, alluvium_commit_poll(commit, ERROR));
    heard told = {0};
    OK(alluvium_commit_on_lasting(commit, lasts, &told, released, ERROR));
    checkpoint(made.store, 1);
    await_release(&told);
    CHECK(atomic_load(&told.calls) == 1 && atomic_load(&told.status) == ALLUVIUM_OK);
    OK(alluvium_commit_wait(commit, ERROR));
    OK(alluvium_commit_close(commit, ERROR));
    OK(alluvium_store_close(made.store, ERROR));
    OK(alluvium_engine_close(made.engine, ERROR));
}

/* However long a commit may wait for others, it does so no longer when somebody waits for it. */
static void waiting_hurries(const char *directory) {
    char path[512];
    snprintf(path, sizeof path, "%s/hurried", directory);
    alluvium_store_options options = with_changelog();
    options.changelog_delay_us = UINT64_MAX;
    fixture made = set_up(path, &options);
    uint16_t values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
    put(made.writer, values, "JFK", "1");
    alluvium_commit commit = commit_at(made.writer, "at 1", "first", ALLUVIUM_LASTING_SOON);
    IS(ALLUVIUM_PENDING, alluvium_commit_poll(commit, ERROR));
    OK(alluvium_commit_wait(commit, ERROR));
    OK(alluvium_commit_close(commit, ERROR));
    /* Nor when the store is closed. */
    put(made.writer, values, "JFK", "2");
    OK(alluvium_commit_close(commit_at(made.writer, "at 2", "second", ALLUVIUM_LASTING_SOON), ERROR));
    tear_down(&made);
    made = opened(path, &options);
    CHECK(has(made.writer, state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL), "JFK", "2"));
    check_last(made.store, "at 2", "second");
    tear_down(&made);
}

static alluvium_commit reentered;
static alluvium_status inside[4];

static void reenter(void *context, alluvium_status status) {
    uint64_t position;
    inside[0] = alluvium_commit_wait(reentered, NULL);
    inside[1] = alluvium_commit_poll(reentered, NULL);
    inside[2] = alluvium_commit_position(reentered, &position, NULL);
    inside[3] = alluvium_commit_close(reentered, NULL);
    lasts(context, status);
}

static void misuse(const char *directory) {
    char path[512];
    snprintf(path, sizeof path, "%s/misused", directory);
    alluvium_store_options options = with_changelog();
    fixture made;
    made.engine = small_engine();
    options.durability = 3;
    IS(ALLUVIUM_ARGUMENT, alluvium_store_create(made.engine, path, &options, &made.store, ERROR));
    options = with_changelog();
    options.changelog_bytes = 0;
    IS(ALLUVIUM_OPTIONS, alluvium_store_create(made.engine, path, &options, &made.store, ERROR));
    options = with_changelog();
    options.changelog_file_bytes = 1000;
    IS(ALLUVIUM_OPTIONS, alluvium_store_create(made.engine, path, &options, &made.store, ERROR));
    options.size = offsetof(alluvium_store_options, changelog_bytes);
    IS(ALLUVIUM_ABI, alluvium_store_create(made.engine, path, &options, &made.store, ERROR));
    /* Of a program that doesn't know the fields. */
    options.size = offsetof(alluvium_store_options, changelog_delay_us);
    OK(alluvium_store_create(made.engine, path, &options, &made.store, ERROR));
    OK(alluvium_writer_open(made.store, all_groups(), &made.writer, ERROR));

    alluvium_commit commit;
    IS(ALLUVIUM_ARGUMENT, alluvium_writer_commit_lasting(made.writer, NULL, 0, NOTHING, 2, &commit, ERROR));
    IS(ALLUVIUM_ARGUMENT, alluvium_store_commit_lasting(made.store, NULL, 0, NOTHING, UINT32_MAX, &commit, ERROR));
    IS(ALLUVIUM_NULL, alluvium_store_commit_lasting(made.store, NULL, 1, NOTHING, 0, &commit, ERROR));
    IS(ALLUVIUM_NULL, alluvium_writer_commit_lasting(made.writer, NULL, 0, bytes(NULL, 1), 0, &commit, ERROR));
    alluvium_offset outside = {{0, 128}, NOTHING};
    IS(ALLUVIUM_OPTIONS, alluvium_writer_commit_lasting(made.writer, &outside, 1, NOTHING, 0, &commit, ERROR));
    IS(ALLUVIUM_HANDLE, alluvium_store_commit_lasting((alluvium_store){made.writer.id}, NULL, 0, NOTHING, 0, &commit, ERROR));
    IS(ALLUVIUM_HANDLE, alluvium_writer_commit_lasting((alluvium_writer){made.store.id}, NULL, 0, NOTHING, 0, &commit, ERROR));

    commit = commit_at(made.writer, "at 1", "", ALLUVIUM_LASTING_SOON);
    IS(ALLUVIUM_NULL, alluvium_commit_position(commit, NULL, ERROR));
    IS(ALLUVIUM_NULL, alluvium_commit_info(commit, NULL, ERROR));
    /* A context is let go, whatever the call comes to. */
    heard told = {0};
    IS(ALLUVIUM_NULL, alluvium_commit_on_lasting(commit, NULL, &told, released, ERROR));
    CHECK(atomic_load(&told.released) == 1);
    reentered = commit;
    OK(alluvium_commit_on_lasting(commit, reenter, &told, NULL, ERROR));
    OK(alluvium_commit_wait(commit, ERROR));
    while (atomic_load(&told.calls) == 0)
        sched_yield();
    for (size_t i = 0; i < 4; i++)
        CHECK(inside[i] == ALLUVIUM_INSIDE_CALLBACK);
    OK(alluvium_commit_close(commit, ERROR));

    alluvium_pending pending;
    alluvium_barrier barrier = {.size = sizeof barrier, .label = 1};
    OK(alluvium_store_barrier(made.store, &barrier, &pending, ERROR));
    uint64_t position, wrong[] = {0, 1, UINT64_MAX, commit.id, made.store.id, made.writer.id, pending.id};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        alluvium_commit none = {wrong[i]};
        alluvium_info info;
        IS(ALLUVIUM_HANDLE, alluvium_commit_wait(none, ERROR));
        IS(ALLUVIUM_HANDLE, alluvium_commit_poll(none, ERROR));
        IS(ALLUVIUM_HANDLE, alluvium_commit_position(none, &position, ERROR));
        IS(ALLUVIUM_HANDLE, alluvium_commit_info(none, &info, ERROR));
        IS(ALLUVIUM_HANDLE, alluvium_commit_on_lasting(none, lasts, &told, released, ERROR));
        IS(ALLUVIUM_HANDLE, alluvium_commit_close(none, ERROR));
        CHECK(atomic_load(&told.released) == (int)i + 2 && atomic_load(&told.calls) == 1);
    }
    IS(ALLUVIUM_HANDLE, alluvium_pending_poll((alluvium_pending){commit.id}, NULL, ERROR));
    OK(alluvium_pending_wait(pending, NULL, ERROR));
    OK(alluvium_pending_close(pending, ERROR));
    tear_down(&made);
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    char path[512];
    snprintf(path, sizeof path, "%s/died", argv[1]);
    /* Before anything is opened here: a child must not use what its parent opened. */
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        dies(path);
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    everything_is_found(path);
    transactional(argv[1]);
    after_a_load(argv[1]);
    waiting_hurries(argv[1]);
    misuse(argv[1]);
    return 0;
}
