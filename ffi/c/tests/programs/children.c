/* What holds an object open does so alone: each kind is the only thing that is open of a store, or of an engine. */
#include "everything.h"

/* The message of a refusal names what is open, and nothing else. */
static void names(alluvium_error error, const char *kind) {
    const char *message = NULL, *before = "still open: ";
    alluvium_status status = ALLUVIUM_OK;
    OK(alluvium_error_get(error, &status, NULL, &message));
    CHECK(status == ALLUVIUM_HAS_CHILDREN);
    const char *named = strstr(message, before);
    CHECK(named != NULL);
    if (strcmp(named + strlen(before), kind) != 0) {
        fprintf(stderr, "%s, not %s\n", message, kind);
        exit(1);
    }
    OK(alluvium_error_free(error));
}

static void is_held_by(alluvium_store store, const char *kind) {
    alluvium_error error = {0};
    CHECK(alluvium_store_close(store, &error) == ALLUVIUM_HAS_CHILDREN);
    names(error, kind);
    /* Nothing has happened to it. */
    size_t count = 0;
    OK(alluvium_store_checkpoints(store, &count, ERROR));
    CHECK(count == 1);
}

typedef struct {
    const char *path;
    alluvium_engine engine;
    uint64_t position;
} place;

static alluvium_store opened(const place *at) {
    alluvium_store store;
    alluvium_store_options options = for_everything();
    OK(alluvium_store_open(at->engine, at->path, &options, &store, ERROR));
    return store;
}

/* Opens the store, has a child of it open and closed, and the store closed with and without it. */
#define HOLDS(kind, type, open, close)                         \
    do {                                                       \
        alluvium_store store = opened(&at);                    \
        type child;                                            \
        OK(open);                                              \
        is_held_by(store, kind);                               \
        OK(close);                                             \
        OK(alluvium_store_close(store, ERROR));                \
    } while (0)

/* Of the writer, which is closed before it, a ticket is no child. */
static alluvium_ticket submitted(alluvium_store store) {
    alluvium_writer writer;
    alluvium_ticket ticket;
    OK(alluvium_writer_open(store, all_groups(), &writer, ERROR));
    OK(alluvium_writer_submit(writer, NOTHING, &ticket, ERROR));
    OK(alluvium_writer_close(writer, ERROR));
    return ticket;
}

/* As little as an info of the handle that gave it. */
static alluvium_info told(alluvium_store store) {
    alluvium_files files;
    alluvium_info info;
    OK(alluvium_store_files(store, 1, &files, ERROR));
    OK(alluvium_files_info(files, &info, ERROR));
    OK(alluvium_files_close(files, ERROR));
    return info;
}

static void stores(place at) {
    const alluvium_barrier barrier = {.size = sizeof barrier, .label = 2};
    HOLDS("a writer", alluvium_writer, alluvium_writer_open(store, all_groups(), &child, ERROR), alluvium_writer_close(child, ERROR));
    HOLDS("a reader", alluvium_reader, alluvium_reader_open(store, 0, &child, ERROR), alluvium_reader_close(child, ERROR));
    HOLDS("a snapshot", alluvium_snapshot, alluvium_store_snapshot(store, &child, ERROR), alluvium_snapshot_close(child, ERROR));
    HOLDS("a snapshot", alluvium_snapshot, alluvium_store_as_of(store, 1, &child, ERROR), alluvium_snapshot_close(child, ERROR));
    HOLDS("a view of the past", alluvium_past, alluvium_store_as_of_position(store, at.position, &child, ERROR), alluvium_past_close(child, ERROR));
    HOLDS("a cursor", alluvium_cursor, alluvium_cursor_keys(store, 0, all_groups(), &child, ERROR), alluvium_cursor_close(child, ERROR));
    HOLDS("a ticket", alluvium_ticket, (child = submitted(store), ALLUVIUM_OK), alluvium_ticket_close(child, ERROR));
    HOLDS("an info", alluvium_info, alluvium_store_last_commit(store, &child, ERROR), alluvium_info_close(child, ERROR));
    HOLDS("an info", alluvium_info, alluvium_store_checkpoint(store, 0, &child, ERROR), alluvium_info_close(child, ERROR));
    HOLDS("an info", alluvium_info, (child = told(store), ALLUVIUM_OK), alluvium_info_close(child, ERROR));
    HOLDS("a commit", alluvium_commit, alluvium_store_commit_lasting(store, NULL, 0, NOTHING, ALLUVIUM_LASTING_SOON, &child, ERROR), alluvium_commit_close(child, ERROR));
    HOLDS("a repair", alluvium_repair, alluvium_store_closure(store, NULL, 0, &child, ERROR), alluvium_repair_close(child, ERROR));
    HOLDS("an iterator", alluvium_iterator, alluvium_store_iterate(store, 1, &child, ERROR), alluvium_iterator_close(child, ERROR));
    HOLDS("a load", alluvium_bulk_load, alluvium_bulk_begin(store, 1, &child, ERROR), alluvium_bulk_abandon(child, ERROR));
    HOLDS("a load", alluvium_bulk_load, alluvium_bulk_begin(store, 1, &child, ERROR), alluvium_bulk_finish(child, ERROR));
    HOLDS("a checkpoint's files", alluvium_files, alluvium_store_files(store, 1, &child, ERROR), alluvium_files_close(child, ERROR));
    HOLDS("fetches", alluvium_fetches, alluvium_store_fetches(store, &child, ERROR), alluvium_fetches_close(child, ERROR));
    HOLDS("a warming", alluvium_warming, alluvium_store_warming(store, NOTHING, &child, ERROR), alluvium_warming_close(child, ERROR));

    /* A checkpoint on its way, and one that is complete and whose handle is still there. */
    alluvium_store store = opened(&at);
    alluvium_pending pending;
    alluvium_error error = {0};
    OK(alluvium_store_barrier(store, &barrier, &pending, ERROR));
    CHECK(alluvium_store_close(store, &error) == ALLUVIUM_HAS_CHILDREN);
    names(error, "a pending checkpoint");
    OK(alluvium_pending_wait(pending, NULL, ERROR));
    CHECK(alluvium_store_close(store, &error) == ALLUVIUM_HAS_CHILDREN);
    names(error, "a pending checkpoint");
    OK(alluvium_pending_close(pending, ERROR));
    OK(alluvium_store_close(store, ERROR));

    /* Several are named together. */
    store = opened(&at);
    alluvium_reader reader;
    alluvium_ticket ticket = submitted(store);
    OK(alluvium_reader_open(store, 0, &reader, ERROR));
    CHECK(alluvium_store_close(store, &error) == ALLUVIUM_HAS_CHILDREN);
    names(error, "a reader, a ticket");
    OK(alluvium_reader_close(reader, ERROR));
    OK(alluvium_ticket_close(ticket, ERROR));

    /* Neither buffers nor errors are of a store. */
    alluvium_buffer buffer;
    OK(alluvium_buffer_new(&buffer, ERROR));
    CHECK(alluvium_writer_close((alluvium_writer){0}, &error) == ALLUVIUM_HANDLE);
    OK(alluvium_store_close(store, ERROR));
    OK(alluvium_buffer_free(buffer));
    OK(alluvium_error_free(error));
}

/* A store, and a share, hold an engine. */
static void engines(place at) {
    alluvium_error error = {0};
    alluvium_share share;
    alluvium_store store = opened(&at);
    CHECK(alluvium_engine_close(at.engine, &error) == ALLUVIUM_HAS_CHILDREN);
    names(error, "a store");
    OK(alluvium_share_open(at.engine, 0, 4 << 20, &share, ERROR));
    CHECK(alluvium_engine_close(at.engine, &error) == ALLUVIUM_HAS_CHILDREN);
    names(error, "a share, a store");
    OK(alluvium_store_close(store, ERROR));
    CHECK(alluvium_engine_close(at.engine, &error) == ALLUVIUM_HAS_CHILDREN);
    names(error, "a share");
    OK(alluvium_share_close(share, ERROR));
    OK(alluvium_engine_close(at.engine, ERROR));
    size_t open = 1;
    OK(alluvium_open_handles(&open));
    CHECK(open == 0);
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    alluvium_store_options options = for_everything();
    fixture made = set_up(argv[1], &options);
    place at = {argv[1], {0}, 0};
    put(made.writer, state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL), "JFK", "1");
    checkpoint(made.store, 1);
    OK(alluvium_store_position(made.store, &at.position, ERROR));
    tear_down(&made);
    at.engine = small_engine();
    stores(at);
    engines(at);
    return 0;
}
