/* Handles of all kinds that any thread may use, each closed while others use it: what is let in is answered rightly, what isn't is refused, and what was
 * closed stays closed. `handovers.c` has the writers. */
#include "racing.h"

static char raced_path[512];
static atomic_uint_fast64_t label = 100, load_keys;
static atomic_size_t told, let_go_of;
static uint16_t loaded_values, loaded_lists;

/* What there is to be read, in memory and on disk. */
static void fill_everything(void) {
    alluvium_key key = by_hash("JFK"), map = by_hash("map");
    OK(alluvium_writer_append(all.writer, all.lists, &key, text("element"), ERROR));
    OK(alluvium_writer_map_put(all.writer, all.maps, &map, text("605"), text("late"), ERROR));
    checkpoint(all.store, 2);
    OK(alluvium_writer_map_put(all.writer, all.maps, &map, text("606"), text("on time"), ERROR));
}

/* A batch, for any number of calls: reads of a value, of a list and of a map's entry. */
static alluvium_slice reads_of_everything(uint8_t *memory) {
    const struct {
        uint8_t operation;
        uint16_t state;
        const char *key, *user_key;
    } reads[] = {{ALLUVIUM_OP_GET, all.values, "JFK", ""}, {ALLUVIUM_OP_LIST, all.lists, "JFK", ""}, {ALLUVIUM_OP_MAP_GET, all.maps, "map", "606"}};
    size_t len = 0;
    for (size_t i = 0; i < 3; i++) {
        size_t key = strlen(reads[i].key), user_key = strlen(reads[i].user_key);
        uint8_t *at = memory + len;
        memset(at, 0, 16);
        at[0] = reads[i].operation;
        at[1] = ALLUVIUM_OP_HASHED;
        put_u16(at + 2, reads[i].state);
        put_u16(at + 6, (uint16_t)key);
        put_u16(at + 10, (uint16_t)user_key);
        memcpy(at + 16, reads[i].key, key);
        memcpy(at + 16 + key, reads[i].user_key, user_key);
        len += 16 + key + user_key;
    }
    return bytes(memory, len);
}

static alluvium_key jfk(void) { return by_hash("JFK"); }

/* A read whose answer is known comes to it, if it is let in. */
static alluvium_status is(alluvium_status status, const racer *own, size_t len, const char *expected) {
    CHECK(status < 0 || (status == ALLUVIUM_OK && same(bytes(own->memory, len), expected)));
    return status;
}

static size_t records_of(alluvium_buffer buffer, alluvium_slice *data) {
    size_t records = 0;
    OK(alluvium_buffer_data(buffer, data, &records));
    return records;
}

static alluvium_status is_list(alluvium_status status, const racer *own) {
    alluvium_slice data;
    CHECK(status < 0 || (records_of(own->buffer, &data) == 1 && same(take_element(&data), "element")));
    return status;
}

/* The keys of the values, which is one. */
static alluvium_status is_keys(alluvium_status status, const racer *own) {
    alluvium_slice data;
    CHECK(status < 0 || (status == ALLUVIUM_OK && records_of(own->buffer, &data) == 1 && same(take_record(&data).key, "JFK")));
    return status;
}

static alluvium_status is_entries(alluvium_status status, const racer *own) {
    alluvium_slice data;
    CHECK(status < 0 || (status == ALLUVIUM_OK && records_of(own->buffer, &data) == 2));
    CHECK(status < 0 || (same(take_record(&data).value, "late") && same(take_record(&data).value, "on time")));
    return status;
}

/* An info of a checkpoint of the store that everything is of. */
static alluvium_status is_info(alluvium_status status, const alluvium_info *info) {
    alluvium_numbers numbers = {.size = sizeof numbers};
    if (status != ALLUVIUM_OK)
        return status;
    OK(alluvium_info_numbers(*info, &numbers, ERROR));
    OK(alluvium_info_close(*info, ERROR));
    return status;
}

static void on_done(void *context) { atomic_fetch_add((atomic_size_t *)context, 1); }
static void on_lasting(void *context, alluvium_status status) {
    CHECK(status == ALLUVIUM_OK);
    atomic_fetch_add((atomic_size_t *)context, 1);
}

/* Engines. */
static uint64_t open_engine(void) { return small_engine().id; }
static alluvium_status close_engine(uint64_t id, racer *own) { return own->number % 2 ? alluvium_engine_close((alluvium_engine){id}, ERROR) : alluvium_engine_close_within((alluvium_engine){id}, 60000, NULL, ERROR); }
static alluvium_status engine_memory(uint64_t id, racer *own) {
    uint64_t budget = 0, used;
    (void)own;
    alluvium_status status = alluvium_engine_memory((alluvium_engine){id}, &budget, &used, ERROR);
    CHECK(status < 0 || budget == 16 << 20);
    return status;
}
static alluvium_status engine_budget(uint64_t id, racer *own) {
    (void)own;
    return alluvium_engine_set_budget((alluvium_engine){id}, 16 << 20, ERROR);
}
static alluvium_status engine_share(uint64_t id, racer *own) {
    alluvium_share share;
    (void)own;
    alluvium_status status = alluvium_share_open((alluvium_engine){id}, 0, 4 << 20, &share, ERROR);
    if (status == ALLUVIUM_OK)
        OK(alluvium_share_close(share, ERROR));
    return status;
}

/* A store of a thread's own, which holds open what it is made of. */
static alluvium_status store_in(alluvium_engine engine, alluvium_share share, racer *own) {
    char path[600];
    alluvium_store_options options;
    alluvium_store store;
    OK(alluvium_store_options_init(&options));
    options.share = share;
    snprintf(path, sizeof path, "%s of thread %zu", raced_path, own->number);
    alluvium_status status = alluvium_store_open_or_create(engine, path, &options, &store, ERROR);
    if (status == ALLUVIUM_OK)
        OK(alluvium_store_close(store, ERROR));
    return status;
}
static alluvium_status engine_store(uint64_t id, racer *own) { return store_in((alluvium_engine){id}, (alluvium_share){0}, own); }

/* Shares. */
static uint64_t open_share(void) {
    alluvium_share share;
    OK(alluvium_share_open(all.engine, 0, 4 << 20, &share, ERROR));
    return share.id;
}
static alluvium_status close_share(uint64_t id, racer *own) {
    (void)own;
    return alluvium_share_close((alluvium_share){id}, ERROR);
}
static alluvium_status share_used(uint64_t id, racer *own) {
    uint64_t used;
    (void)own;
    return alluvium_share_used((alluvium_share){id}, &used, ERROR);
}
static alluvium_status share_limit(uint64_t id, racer *own) {
    (void)own;
    return alluvium_share_set_limit((alluvium_share){id}, 4 << 20, ERROR);
}
static alluvium_status share_store(uint64_t id, racer *own) {
    return id == 0 ? ALLUVIUM_HANDLE : store_in(all.engine, (alluvium_share){id}, own);
}

/* Stores. Each call makes something of one that holds it open, and uses that. */
static uint64_t open_store(void) {
    alluvium_store_options options = for_everything();
    alluvium_store store;
    OK(alluvium_store_open_or_create(all.engine, raced_path, &options, &store, ERROR));
    return store.id;
}
static alluvium_status close_store(uint64_t id, racer *own) {
    (void)own;
    return alluvium_store_close((alluvium_store){id}, ERROR);
}
static alluvium_status store_looked_at(uint64_t id, racer *own) {
    alluvium_range range = {7, 7};
    uint32_t key_groups = 0;
    (void)own;
    alluvium_status status = alluvium_store_key_groups((alluvium_store){id}, &range, &key_groups, ERROR);
    CHECK(status < 0 || (range.first == 0 && range.last == 127 && key_groups == 128));
    return status;
}
static alluvium_status store_state(uint64_t id, racer *own) {
    alluvium_state_options options;
    uint16_t state;
    (void)own;
    OK(alluvium_state_options_init(&options));
    options.name = "values";
    return alluvium_store_state((alluvium_store){id}, &options, &state, ERROR);
}
static alluvium_status store_metrics(uint64_t id, racer *own) { return alluvium_store_metrics((alluvium_store){id}, own->buffer, ERROR); }
static alluvium_status store_writer(uint64_t id, racer *own) {
    alluvium_range range = {(uint16_t)(own->number * 8), (uint16_t)(own->number * 8 + 7)};
    alluvium_writer writer;
    alluvium_status status = alluvium_writer_open((alluvium_store){id}, range, &writer, ERROR);
    if (status != ALLUVIUM_OK)
        return status;
    alluvium_key key = {range.first, text("its own"), NOTHING};
    alluvium_ticket ticket;
    size_t len = 0;
    uint16_t values = state_of((alluvium_store){id}, "values", ALLUVIUM_KIND_VALUE, NULL);
    OK(alluvium_writer_put(writer, values, &key, text("value"), ERROR));
    OK(alluvium_writer_get(writer, values, &key, own->memory, sizeof own->memory, &len, ERROR));
    CHECK(same(bytes(own->memory, len), "value"));
    OK(alluvium_writer_submit(writer, NOTHING, &ticket, ERROR));
    OK(alluvium_writer_close(writer, ERROR));
    OK(alluvium_ticket_wait(ticket, ERROR));
    OK(alluvium_ticket_close(ticket, ERROR));
    return status;
}
static alluvium_status store_reader(uint64_t id, racer *own) {
    alluvium_reader reader;
    (void)own;
    alluvium_status status = alluvium_reader_open((alluvium_store){id}, 0, &reader, ERROR);
    if (status == ALLUVIUM_OK)
        OK(alluvium_reader_close(reader, ERROR));
    return status;
}
static alluvium_status store_snapshot(uint64_t id, racer *own) {
    alluvium_snapshot snapshot;
    (void)own;
    alluvium_status status = alluvium_store_snapshot((alluvium_store){id}, &snapshot, ERROR);
    if (status == ALLUVIUM_OK)
        OK(alluvium_snapshot_close(snapshot, ERROR));
    return status;
}
static alluvium_status store_checkpointed(uint64_t id, racer *own) {
    alluvium_barrier barrier = {.size = sizeof barrier, .label = atomic_fetch_add(&label, 1)};
    alluvium_pending pending;
    (void)own;
    alluvium_status status = alluvium_store_barrier((alluvium_store){id}, &barrier, &pending, ERROR);
    if (status == ALLUVIUM_OK)
        OK(alluvium_pending_close(pending, ERROR));
    return status;
}
static alluvium_status store_committed(uint64_t id, racer *own) {
    alluvium_commit commit;
    (void)own;
    alluvium_status status = alluvium_store_commit_lasting((alluvium_store){id}, NULL, 0, text("metadata"), ALLUVIUM_LASTING_SOON, &commit, ERROR);
    if (status == ALLUVIUM_OK) {
        OK(alluvium_commit_on_lasting(commit, on_lasting, &told, NULL, ERROR));
        OK(alluvium_commit_close(commit, ERROR));
    }
    return status;
}
static alluvium_status store_gone_through(uint64_t id, racer *own) {
    alluvium_cursor cursor;
    (void)own;
    alluvium_status status = alluvium_cursor_keys((alluvium_store){id}, 0, all_groups(), &cursor, ERROR);
    if (status == ALLUVIUM_OK)
        OK(alluvium_cursor_close(cursor, ERROR));
    return status;
}
static alluvium_status store_loaded(uint64_t id, racer *own) {
    alluvium_bulk_load load;
    (void)own;
    alluvium_status status = alluvium_bulk_begin((alluvium_store){id}, 1, &load, ERROR);
    if (status == ALLUVIUM_OK)
        OK(alluvium_bulk_abandon(load, ERROR));
    return status;
}
static alluvium_status store_last_commit(uint64_t id, racer *own) {
    alluvium_info info;
    (void)own;
    return is_info(alluvium_store_last_commit((alluvium_store){id}, &info, ERROR), &info);
}
static alluvium_status store_fetches(uint64_t id, racer *own) {
    alluvium_fetches fetches;
    (void)own;
    alluvium_status status = alluvium_store_fetches((alluvium_store){id}, &fetches, ERROR);
    if (status == ALLUVIUM_OK)
        OK(alluvium_fetches_close(fetches, ERROR));
    return status;
}

/* Readers. */
static uint64_t open_reader(void) {
    alluvium_reader reader;
    OK(alluvium_reader_open(all.store, 0, &reader, ERROR));
    return reader.id;
}
static alluvium_status close_reader(uint64_t id, racer *own) {
    (void)own;
    return alluvium_reader_close((alluvium_reader){id}, ERROR);
}
static alluvium_status reader_get(uint64_t id, racer *own) {
    alluvium_key key = jfk();
    size_t len = 0;
    alluvium_status status = alluvium_reader_get((alluvium_reader){id}, all.values, &key, own->memory, sizeof own->memory, &len, ERROR);
    return is(status, own, len, "1");
}
/* A value that a buffer has, where there is one. */
static alluvium_status is_in_buffer(alluvium_status status, racer *own, const char *expected) {
    alluvium_slice data = NOTHING;
    CHECK(status < 0 || (records_of(own->buffer, &data) == 1 && same(data, expected)));
    return status;
}
static alluvium_status reader_get_buffer(uint64_t id, racer *own) {
    alluvium_key key = jfk();
    return is_in_buffer(alluvium_reader_get_buffer((alluvium_reader){id}, all.values, &key, own->buffer, ERROR), own, "1");
}
static alluvium_status reader_list(uint64_t id, racer *own) {
    alluvium_key key = jfk();
    return is_list(alluvium_reader_list((alluvium_reader){id}, all.lists, &key, own->buffer, ERROR), own);
}
static alluvium_status reader_map_get(uint64_t id, racer *own) {
    alluvium_key key = by_hash("map");
    size_t len = 0;
    alluvium_status status = alluvium_reader_map_get((alluvium_reader){id}, all.maps, &key, text("606"), own->memory, sizeof own->memory, &len, ERROR);
    return is(status, own, len, "on time");
}
static alluvium_status reader_map_contains(uint64_t id, racer *own) {
    alluvium_key key = by_hash("map");
    (void)own;
    return alluvium_reader_map_contains((alluvium_reader){id}, all.maps, &key, text("605"), ERROR);
}
static alluvium_status reader_set_time(uint64_t id, racer *own) {
    (void)own;
    return alluvium_reader_set_time((alluvium_reader){id}, 5, ERROR);
}
static alluvium_status reader_keys(uint64_t id, racer *own) { return is_keys(alluvium_reader_fetch((alluvium_reader){id}, own->keys, own->buffer, ERROR), own); }
static alluvium_status reader_entries(uint64_t id, racer *own) { return is_entries(alluvium_reader_fetch((alluvium_reader){id}, own->entries, own->buffer, ERROR), own); }

/* Snapshots. */
static uint64_t open_snapshot(void) {
    alluvium_snapshot snapshot;
    OK(alluvium_store_snapshot(all.store, &snapshot, ERROR));
    return snapshot.id;
}
static alluvium_status close_snapshot(uint64_t id, racer *own) {
    (void)own;
    return alluvium_snapshot_close((alluvium_snapshot){id}, ERROR);
}
static alluvium_status snapshot_get(uint64_t id, racer *own) {
    alluvium_key key = jfk();
    size_t len = 0;
    alluvium_status status = alluvium_snapshot_get((alluvium_snapshot){id}, all.values, &key, own->memory, sizeof own->memory, &len, ERROR);
    return is(status, own, len, "1");
}
static alluvium_status snapshot_list(uint64_t id, racer *own) {
    alluvium_key key = jfk();
    return is_list(alluvium_snapshot_list((alluvium_snapshot){id}, all.lists, &key, own->buffer, ERROR), own);
}
static alluvium_status snapshot_map_get(uint64_t id, racer *own) {
    alluvium_key key = by_hash("map");
    size_t len = 0;
    alluvium_status status = alluvium_snapshot_map_get((alluvium_snapshot){id}, all.maps, &key, text("605"), own->memory, sizeof own->memory, &len, ERROR);
    return is(status, own, len, "late");
}
static alluvium_status snapshot_map_get_buffer(uint64_t id, racer *own) {
    alluvium_key key = by_hash("map");
    return is_in_buffer(alluvium_snapshot_map_get_buffer((alluvium_snapshot){id}, all.maps, &key, text("605"), own->buffer, ERROR), own, "late");
}
static alluvium_status snapshot_wait(uint64_t id, racer *own) {
    (void)own;
    return alluvium_snapshot_wait((alluvium_snapshot){id}, ERROR);
}
static alluvium_status snapshot_set_time(uint64_t id, racer *own) {
    (void)own;
    return alluvium_snapshot_set_time((alluvium_snapshot){id}, 5, ERROR);
}
/* The cursor is the snapshot's own from then on, and no other one's. */
static alluvium_status snapshot_keys(uint64_t id, racer *own) { return is_keys(alluvium_snapshot_fetch((alluvium_snapshot){id}, own->keys, own->buffer, ERROR), own); }
static alluvium_status snapshot_entries(uint64_t id, racer *own) { return is_entries(alluvium_snapshot_fetch((alluvium_snapshot){id}, own->entries, own->buffer, ERROR), own); }

/* Views of the past. */
static uint64_t open_past(void) {
    alluvium_past past;
    uint64_t position = 0;
    OK(alluvium_past_position(all.past, &position, ERROR));
    OK(alluvium_store_as_of_position(all.store, position, &past, ERROR));
    return past.id;
}
static alluvium_status close_past(uint64_t id, racer *own) {
    (void)own;
    return alluvium_past_close((alluvium_past){id}, ERROR);
}
static alluvium_status past_get(uint64_t id, racer *own) {
    alluvium_key key = jfk();
    size_t len = 0;
    alluvium_status status = alluvium_past_get((alluvium_past){id}, all.values, &key, own->memory, sizeof own->memory, &len, ERROR);
    return is(status, own, len, "1");
}
static alluvium_status past_get_buffer(uint64_t id, racer *own) {
    alluvium_key key = jfk();
    return is_in_buffer(alluvium_past_get_buffer((alluvium_past){id}, all.values, &key, own->buffer, ERROR), own, "1");
}
static alluvium_status past_list(uint64_t id, racer *own) {
    alluvium_key key = jfk();
    alluvium_status status = alluvium_past_list((alluvium_past){id}, all.lists, &key, own->buffer, ERROR);
    CHECK(status < 0 || status == ALLUVIUM_NOT_FOUND);
    return status;
}
static alluvium_status past_map_entries(uint64_t id, racer *own) {
    alluvium_key key = by_hash("map");
    alluvium_status status = alluvium_past_map_entries((alluvium_past){id}, all.maps, &key, NULL, own->buffer, ERROR);
    CHECK(status < 0 || status == ALLUVIUM_NOT_FOUND);
    return status;
}
static alluvium_status past_map_get(uint64_t id, racer *own) {
    alluvium_key key = by_hash("map");
    size_t len;
    alluvium_status status = alluvium_past_map_get((alluvium_past){id}, all.maps, &key, text("605"), own->memory, sizeof own->memory, &len, ERROR);
    CHECK(status < 0 || status == ALLUVIUM_NOT_FOUND);
    return status;
}
static alluvium_status past_position(uint64_t id, racer *own) {
    uint64_t expected = 0, position = 1;
    (void)own;
    OK(alluvium_past_position(all.past, &expected, ERROR));
    alluvium_status status = alluvium_past_position((alluvium_past){id}, &position, ERROR);
    CHECK(status < 0 || position == expected);
    return status;
}
static alluvium_status past_set_time(uint64_t id, racer *own) {
    (void)own;
    return alluvium_past_set_time((alluvium_past){id}, 5, ERROR);
}

/* What questions about events come to. */
static uint64_t open_repair(void) {
    alluvium_repair repair;
    OK(alluvium_store_closure(all.store, NULL, 0, &repair, ERROR));
    return repair.id;
}
static alluvium_status close_repair(uint64_t id, racer *own) {
    (void)own;
    return alluvium_repair_close((alluvium_repair){id}, ERROR);
}
static alluvium_status repair_counts(uint64_t id, racer *own) {
    alluvium_counts counts = {.retractions = 1};
    (void)own;
    alluvium_status status = alluvium_repair_counts((alluvium_repair){id}, &counts, ERROR);
    CHECK(status < 0 || counts.retractions == 0);
    return status;
}
static alluvium_status repair_retraction(uint64_t id, racer *own) {
    alluvium_retraction retraction;
    (void)own;
    alluvium_status status = alluvium_repair_retraction((alluvium_repair){id}, 0, &retraction, ERROR);
    CHECK(status < 0 || status == ALLUVIUM_NOT_FOUND);
    return status;
}

/* Cursors, which are used by one call at a time. */
static uint64_t open_cursor(void) {
    alluvium_cursor cursor;
    OK(alluvium_cursor_keys(all.store, all.values, all_groups(), &cursor, ERROR));
    return cursor.id;
}
static alluvium_status close_cursor(uint64_t id, racer *own) {
    (void)own;
    return alluvium_cursor_close((alluvium_cursor){id}, ERROR);
}
static alluvium_status cursor_fetch(uint64_t id, racer *own) {
    alluvium_slice data;
    alluvium_status status = alluvium_reader_fetch(all.reader, (alluvium_cursor){id}, own->buffer, ERROR);
    /* The first one has got the key, the others come to the end. */
    CHECK(status < 0 || status == ALLUVIUM_NOT_FOUND || (records_of(own->buffer, &data) == 1 && same(take_record(&data).key, "JFK")));
    return status;
}
static alluvium_status cursor_set_batch(uint64_t id, racer *own) {
    (void)own;
    return alluvium_cursor_set_batch((alluvium_cursor){id}, 7, 1 << 10, ERROR);
}

/* Tickets. The writer that they are of is the main thread's. */
static uint64_t open_ticket(void) {
    uint8_t batch[256];
    alluvium_ticket ticket;
    OK(alluvium_writer_submit(all.writer, reads_of_everything(batch), &ticket, ERROR));
    return ticket.id;
}
static alluvium_status close_ticket(uint64_t id, racer *own) {
    (void)own;
    return alluvium_ticket_close((alluvium_ticket){id}, ERROR);
}
static alluvium_status ticket_poll(uint64_t id, racer *own) {
    alluvium_slice data = NOTHING;
    alluvium_status status = alluvium_ticket_poll((alluvium_ticket){id}, own->buffer, ERROR);
    if (status < 0)
        return status;
    const char *expected[] = {"1", "\x07\0\0\0element", "on time"};
    const size_t lens[] = {1, 11, 7};
    for (size_t records = records_of(own->buffer, &data); records > 0; records--) {
        uint32_t index = u32_at(data.data), len = u32_at(data.data + 8);
        CHECK(index < 3 && u32_at(data.data + 4) == ALLUVIUM_OK);
        CHECK(len == lens[index] && memcmp(data.data + 12, expected[index], len) == 0);
        data.data += 12 + len;
    }
    return status;
}
static alluvium_status ticket_wait(uint64_t id, racer *own) {
    (void)own;
    return alluvium_ticket_wait((alluvium_ticket){id}, ERROR);
}
static alluvium_status ticket_is_complete(uint64_t id, racer *own) {
    uint32_t is_complete = 2;
    (void)own;
    alluvium_status status = alluvium_ticket_is_complete((alluvium_ticket){id}, &is_complete, ERROR);
    CHECK(status < 0 || is_complete <= 1);
    return status;
}
static alluvium_status ticket_on_complete(uint64_t id, racer *own) {
    (void)own;
    return alluvium_ticket_on_complete((alluvium_ticket){id}, on_done, &told, ERROR);
}

#include "races_of_checkpoints.h"

/* Keys that are brought into memory, where they are already. */
static uint64_t open_warming(void) {
    uint8_t batch[256];
    alluvium_warming warming;
    OK(alluvium_store_warming(all.store, reads_of_everything(batch), &warming, ERROR));
    return warming.id;
}
static alluvium_status close_warming(uint64_t id, racer *own) {
    (void)own;
    return alluvium_warming_close((alluvium_warming){id}, ERROR);
}
static alluvium_status warming_keys(uint64_t id, racer *own) {
    uint64_t count = 0;
    (void)own;
    alluvium_status status = alluvium_warming_keys((alluvium_warming){id}, &count, ERROR);
    CHECK(status < 0 || count == 3);
    return status;
}
static alluvium_status warming_wait(uint64_t id, racer *own) {
    uint32_t is_done = 0;
    (void)own;
    alluvium_status status = alluvium_warming_wait((alluvium_warming){id}, ERROR);
    if (status < 0)
        return status;
    status = alluvium_warming_is_done((alluvium_warming){id}, &is_done, ERROR);
    CHECK(status < 0 || is_done == 1);
    return status;
}
static alluvium_status warming_brought(uint64_t id, racer *own) {
    uint64_t brought = 1;
    (void)own;
    alluvium_status status = alluvium_warming_brought((alluvium_warming){id}, &brought, ERROR);
    CHECK(status < 0 || brought == 0);
    return status;
}

/* Walks through a checkpoint. What an item points to another thread's call may replace. */
static uint64_t open_iterator(void) {
    alluvium_iterator iterator;
    OK(alluvium_store_iterate(all.store, 2, &iterator, ERROR));
    return iterator.id;
}
static alluvium_status close_iterator(uint64_t id, racer *own) {
    (void)own;
    return alluvium_iterator_close((alluvium_iterator){id}, ERROR);
}
static alluvium_status iterator_next(uint64_t id, racer *own) {
    alluvium_item item = {.expiry_ms = 0};
    (void)own;
    alluvium_status status = alluvium_iterator_next((alluvium_iterator){id}, &item, ERROR);
    CHECK(status != ALLUVIUM_OK || (item.key.len == 3 && item.expiry_ms == UINT64_MAX));
    return status;
}

/* Loads: ended, given up or added to, each by whoever comes first. */
static uint64_t open_load(void) {
    alluvium_bulk_load load;
    OK(alluvium_bulk_begin(all.store, 8, &load, ERROR));
    return load.id;
}
static alluvium_status close_load(uint64_t id, racer *own) {
    alluvium_status status = own->number % 2 ? alluvium_bulk_finish((alluvium_bulk_load){id}, ERROR) : alluvium_bulk_abandon((alluvium_bulk_load){id}, ERROR);
    if (status != ALLUVIUM_STATE)
        return status;
    forget_error(); /* an earlier one has loaded the state, which was empty until then; the handle is none all the same */
    return ALLUVIUM_OK;
}
static alluvium_status load_set_time(uint64_t id, racer *own) {
    (void)own;
    return alluvium_bulk_set_time((alluvium_bulk_load){id}, 5, ERROR);
}
/* Where another thread's key comes first that is greater, this one is refused. */
static alluvium_status load_put(uint64_t id, racer *own) {
    char name[32];
    snprintf(name, sizeof name, "%012" PRIuFAST64, atomic_fetch_add(&load_keys, 1));
    alluvium_key key = {127, text(name), NOTHING};
    alluvium_slice elements[] = {text("element")};
    switch (own->number) {
    case 0: return alluvium_bulk_put((alluvium_bulk_load){id}, loaded_values, &key, text("value"), ERROR);
    default: return alluvium_bulk_put_list((alluvium_bulk_load){id}, loaded_lists, &key, elements, 1, ERROR);
    }
}

/* Buffers. */
static uint64_t open_buffer(void) {
    alluvium_buffer buffer;
    OK(alluvium_buffer_new(&buffer, ERROR));
    return buffer.id;
}
static alluvium_status free_buffer(uint64_t id, racer *own) {
    (void)own;
    return alluvium_buffer_free((alluvium_buffer){id});
}
static alluvium_status buffer_data(uint64_t id, racer *own) {
    alluvium_slice data;
    size_t records = 0;
    (void)own;
    alluvium_status status = alluvium_buffer_data((alluvium_buffer){id}, &data, &records);
    CHECK(status < 0 || records <= 2);
    return status;
}
static alluvium_status buffer_list(uint64_t id, racer *own) {
    alluvium_key key = jfk();
    (void)own;
    return alluvium_reader_list(all.reader, all.lists, &key, (alluvium_buffer){id}, ERROR);
}
static alluvium_status buffer_name(uint64_t id, racer *own) {
    (void)own;
    return alluvium_store_describe(all.store, all.values, NULL, (alluvium_buffer){id}, own->buffer, ERROR);
}
static alluvium_status buffer_entries(uint64_t id, racer *own) { return alluvium_reader_fetch(all.reader, own->entries, (alluvium_buffer){id}, ERROR); }

/* Errors. */
static uint64_t open_error(void) {
    alluvium_error error = {0};
    CHECK(alluvium_engine_close(all.engine, &error) == ALLUVIUM_HAS_CHILDREN);
    return error.id;
}
static alluvium_status free_error(uint64_t id, racer *own) {
    (void)own;
    return alluvium_error_free((alluvium_error){id});
}
static alluvium_status error_get(uint64_t id, racer *own) {
    alluvium_status status = 0;
    int32_t class_ = ALLUVIUM_CLASS_NONE;
    (void)own;
    alluvium_status got = alluvium_error_get((alluvium_error){id}, &status, &class_, NULL);
    CHECK(got < 0 || (status == ALLUVIUM_HAS_CHILDREN && class_ == ALLUVIUM_CLASS_USAGE));
    return got;
}

/* What a handler is given, which is its thread's alone, and no longer than it runs. */
static int32_t publish(void *context, alluvium_slice event, alluvium_applying applying) {
    uint16_t group = 7;
    (void)context, (void)event;
    atomic_store(&raced_now, applying.id);
    OK(alluvium_applying_group(applying, &group, ERROR));
    CHECK(group == 3);
    return ALLUVIUM_OK;
}
static uint32_t publisher;
static uint64_t open_applying(void) {
    OK(alluvium_writer_apply_event(all.writer, publisher, 3, text("event"), ERROR));
    return atomic_load(&raced_now);
}
static alluvium_status forget_applying(uint64_t id, racer *own) {
    uint16_t group;
    IS(ALLUVIUM_HANDLE, alluvium_applying_group((alluvium_applying){id}, &group, ERROR));
    return own->number == RACERS ? ALLUVIUM_OK : ALLUVIUM_HANDLE;
}
static alluvium_status applying_get(uint64_t id, racer *own) {
    alluvium_key key = {3, text("JFK"), NOTHING};
    size_t len;
    alluvium_status status = alluvium_applying_get((alluvium_applying){id}, all.values, &key, own->memory, sizeof own->memory, &len, ERROR);
    CHECK(status == ALLUVIUM_HANDLE);
    return status;
}
static alluvium_status applying_put(uint64_t id, racer *own) {
    alluvium_key key = {3, text("JFK"), NOTHING};
    (void)own;
    alluvium_status status = alluvium_applying_put((alluvium_applying){id}, all.values, &key, text("never"), ERROR);
    CHECK(status == ALLUVIUM_HANDLE);
    return status;
}

static const race RACES[] = {
    {"engine", 20, open_engine, close_engine, {ALLUVIUM_LOCKED}, {engine_memory, engine_budget, engine_share, engine_store}},
    {"share", 30, open_share, close_share, {ALLUVIUM_LOCKED}, {share_used, share_limit, share_store}},
    {"store", 20, open_store, close_store, {ALLUVIUM_STATE, ALLUVIUM_RANGE_CLAIMED, 0},
     {store_looked_at, store_state, store_metrics, store_writer, store_reader, store_snapshot, store_checkpointed, store_committed, store_gone_through, store_loaded,
      store_last_commit, store_fetches}},
    {"reader", 200, open_reader, close_reader, {0}, {reader_get, reader_get_buffer, reader_list, reader_map_get, reader_map_contains, reader_set_time, reader_keys, reader_entries}},
    {"snapshot", 50, open_snapshot, close_snapshot, {0}, {snapshot_get, snapshot_list, snapshot_map_get, snapshot_map_get_buffer, snapshot_wait, snapshot_set_time, snapshot_keys, snapshot_entries}},
    {"past", 50, open_past, close_past, {0}, {past_get, past_get_buffer, past_list, past_map_entries, past_map_get, past_position, past_set_time}},
    {"repair", 200, open_repair, close_repair, {0}, {repair_counts, repair_retraction}},
    {"cursor", 200, open_cursor, close_cursor, {0}, {cursor_fetch, cursor_set_batch}},
    {"ticket", 200, open_ticket, close_ticket, {0}, {ticket_poll, ticket_is_complete, ticket_on_complete, ticket_wait}},
    {"pending", 30, open_pending, close_pending, {ALLUVIUM_CHECKPOINT}, {pending_label, pending_poll, pending_wait, pending_abort}},
    {"info", 200, open_info, close_info, {0}, {info_numbers, info_metadata, info_offset, info_position}},
    {"commit", 100, open_commit, close_commit, {0}, {commit_poll, commit_on_lasting, commit_position, commit_info, commit_wait}},
    {"files", 100, open_files, close_files, {0}, {files_get, files_read, files_info, files_manifest}},
    {"fetches", 50, open_fetches, close_fetches, {0}, {fetches_wait, fetches_wake, fetches_cancel, fetches_prefer, fetches_fail, fetches_absent}},
    {"warming", 100, open_warming, close_warming, {0}, {warming_keys, warming_wait, warming_brought}},
    {"iterator", 100, open_iterator, close_iterator, {0}, {iterator_next}},
    {"bulk_load", 50, open_load, close_load, {ALLUVIUM_OPTIONS}, {load_set_time, load_put}},
    {"buffer", 200, open_buffer, free_buffer, {0}, {buffer_data, buffer_list, buffer_name, buffer_entries}},
    {"error", 200, open_error, free_error, {0}, {error_get}},
};

static const race OF_HANDLERS = {"applying", 500, open_applying, forget_applying, {0}, {applying_get, applying_put}};

int main(int argc, char **argv) {
    CHECK(argc == 2);
    char path[512];
    snprintf(path, sizeof path, "%s/everything", argv[1]);
    snprintf(raced_path, sizeof raced_path, "%s/raced", argv[1]);
    open_everything(&all, path);
    alluvium_handler handler = {.name = "publish", .version = 1, .apply = publish};
    OK(alluvium_store_handler(all.store, &handler, &publisher, ERROR));
    fill_everything();
    OK(alluvium_store_retain(all.store, 2, ERROR));
    loaded_values = state_of(all.store, "loaded values", ALLUVIUM_KIND_VALUE, NULL);
    loaded_lists = state_of(all.store, "loaded lists", ALLUVIUM_KIND_LIST, NULL);
    for (size_t i = 0; i < sizeof RACES / sizeof *RACES; i++)
        run_race(&RACES[i], &answered);
    run_race(&OF_HANDLERS, &refused);
    CHECK(has(all.writer, all.values, "JFK", "1"));
    CHECK(atomic_load(&let_go_of) == atomic_load(&lasting_asked));
    close_everything(&all);
    return 0;
}
