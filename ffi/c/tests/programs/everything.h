/* One of everything that there are handles of, all of one store. */
#ifndef EVERYTHING_H
#define EVERYTHING_H

#include "check.h"

/* Handles have the names of their types. */
typedef struct {
    const char *path;
    uint16_t values, lists, maps;
    alluvium_engine engine;
    alluvium_share share;
    alluvium_store store;
    alluvium_writer writer;
    alluvium_reader reader;
    alluvium_snapshot snapshot;
    alluvium_past past;
    alluvium_repair repair;
    alluvium_cursor cursor;
    alluvium_ticket ticket;
    alluvium_pending pending;
    alluvium_info info;
    alluvium_commit commit;
    alluvium_files files;
    alluvium_fetches fetches;
    alluvium_warming warming;
    alluvium_iterator iterator;
    alluvium_bulk_load bulk_load;
    alluvium_buffer buffer;
    alluvium_error error;
} everything;

/* A store of which all of them can be had. */
static inline alluvium_store_options for_everything(void) {
    alluvium_store_options options;
    OK(alluvium_store_options_init(&options));
    options.durability = ALLUVIUM_DURABILITY_CHANGELOG;
    options.history_checkpoints = 2;
    options.fetch = 1;
    return options;
}

static inline void open_everything(everything *all, const char *path) {
    alluvium_store_options options = for_everything();
    all->path = path;
    all->engine = small_engine();
    OK(alluvium_share_open(all->engine, 0, 4 << 20, &all->share, ERROR));
    OK(alluvium_store_create(all->engine, path, &options, &all->store, ERROR));
    all->values = state_of(all->store, "values", ALLUVIUM_KIND_VALUE, NULL);
    all->lists = state_of(all->store, "lists", ALLUVIUM_KIND_LIST, NULL);
    all->maps = state_of(all->store, "maps", ALLUVIUM_KIND_MAP, NULL);
    OK(alluvium_writer_open(all->store, all_groups(), &all->writer, ERROR));
    put(all->writer, all->values, "JFK", "1");

    alluvium_offset offset = {all_groups(), text("at 1")};
    alluvium_barrier barrier = {.size = sizeof barrier, .label = 1, .offsets = &offset, .offsets_len = 1};
    uint64_t position;
    OK(alluvium_writer_barrier(all->writer, &barrier, &all->pending, ERROR));
    OK(alluvium_pending_wait(all->pending, &all->info, ERROR));
    OK(alluvium_store_files(all->store, 1, &all->files, ERROR));
    OK(alluvium_store_iterate(all->store, 1, &all->iterator, ERROR));
    OK(alluvium_store_commit_lasting(all->store, &offset, 1, NOTHING, ALLUVIUM_LASTING_SOON, &all->commit, ERROR));
    OK(alluvium_commit_position(all->commit, &position, ERROR));
    OK(alluvium_store_as_of_position(all->store, position, &all->past, ERROR));
    OK(alluvium_store_closure(all->store, NULL, 0, &all->repair, ERROR));
    OK(alluvium_store_snapshot(all->store, &all->snapshot, ERROR));
    OK(alluvium_reader_open(all->store, 0, &all->reader, ERROR));
    OK(alluvium_cursor_keys(all->store, all->values, all_groups(), &all->cursor, ERROR));
    OK(alluvium_writer_submit(all->writer, NOTHING, &all->ticket, ERROR));
    OK(alluvium_store_fetches(all->store, &all->fetches, ERROR));
    OK(alluvium_store_warming(all->store, NOTHING, &all->warming, ERROR));
    OK(alluvium_bulk_begin(all->store, 1, &all->bulk_load, ERROR));
    OK(alluvium_buffer_new(&all->buffer, ERROR));
    CHECK(alluvium_engine_close(all->engine, &all->error) == ALLUVIUM_HAS_CHILDREN);
}

static inline void close_everything(everything *all) {
    OK(alluvium_error_free(all->error));
    OK(alluvium_buffer_free(all->buffer));
    OK(alluvium_bulk_abandon(all->bulk_load, ERROR));
    OK(alluvium_warming_close(all->warming, ERROR));
    OK(alluvium_fetches_close(all->fetches, ERROR));
    OK(alluvium_ticket_close(all->ticket, ERROR));
    OK(alluvium_cursor_close(all->cursor, ERROR));
    OK(alluvium_reader_close(all->reader, ERROR));
    OK(alluvium_snapshot_close(all->snapshot, ERROR));
    OK(alluvium_repair_close(all->repair, ERROR));
    OK(alluvium_past_close(all->past, ERROR));
    OK(alluvium_commit_close(all->commit, ERROR));
    OK(alluvium_iterator_close(all->iterator, ERROR));
    OK(alluvium_files_close(all->files, ERROR));
    OK(alluvium_info_close(all->info, ERROR));
    OK(alluvium_pending_close(all->pending, ERROR));
    OK(alluvium_writer_close(all->writer, ERROR));
    OK(alluvium_store_close(all->store, ERROR));
    OK(alluvium_share_close(all->share, ERROR));
    OK(alluvium_engine_close(all->engine, ERROR));
    size_t open = 1;
    OK(alluvium_open_handles(&open));
    CHECK(open == 0);
}

#endif
