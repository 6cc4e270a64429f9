/* Writers that are closed while other threads call them: shared, they answer who was let in; handed over, they are one thread's at a time; and what is
 * another thread's stays that. What one wrote is there for the next one. */
#include "racing.h"

/* The first key groups have the writer of everything, the others those that are raced with: each thread one key group. */
enum { FIRST = 64 };

static uint16_t sums;
static atomic_uint_fast64_t label = 100;
static atomic_size_t elements[RACERS], summed[RACERS];

static alluvium_writer of(uint64_t id) { return (alluvium_writer){id}; }
static alluvium_key its(const racer *own, const char *name) { return (alluvium_key){FIRST + (int32_t)own->number, text(name), NOTHING}; }

static uint64_t open_writer(void) {
    alluvium_writer writer;
    OK(alluvium_writer_open(all.store, (alluvium_range){FIRST, 127}, &writer, ERROR));
    return writer.id;
}

static uint64_t open_shared(void) {
    uint64_t id = open_writer();
    OK(alluvium_writer_share(of(id), ERROR));
    return id;
}

static alluvium_status close_writer(uint64_t id, racer *own) {
    (void)own;
    return alluvium_writer_close(of(id), ERROR);
}

/* What a thread put, if it has yet. */
static void is_put(alluvium_slice value) { CHECK(same(value, "a value")); }
static void look(void *context, alluvium_slice value) {
    (void)context;
    is_put(value);
}

static alluvium_status put_value(uint64_t id, racer *own) {
    alluvium_key key = its(own, "value");
    return alluvium_writer_put(of(id), all.values, &key, text("a value"), ERROR);
}
static alluvium_status get_value(uint64_t id, racer *own) {
    alluvium_key key = its(own, "value");
    size_t len;
    alluvium_status status = alluvium_writer_get(of(id), all.values, &key, own->memory, sizeof own->memory, &len, ERROR);
    if (status == ALLUVIUM_OK)
        is_put(bytes(own->memory, len));
    return status;
}
/* Where it lies: it can't go while it is looked at. */
static alluvium_status read_value(uint64_t id, racer *own) {
    alluvium_key key = its(own, "value");
    return alluvium_writer_read(of(id), all.values, &key, look, NULL, ERROR);
}
static alluvium_status buffer_value(uint64_t id, racer *own) {
    alluvium_key key = its(own, "value");
    alluvium_slice data;
    alluvium_status status = alluvium_writer_get_buffer(of(id), all.values, &key, own->buffer, ERROR);
    if (status == ALLUVIUM_OK) {
        OK(alluvium_buffer_data(own->buffer, &data, NULL));
        is_put(data);
    }
    return status;
}
static alluvium_status get_values(uint64_t id, racer *own) {
    alluvium_key keys[] = {its(own, "value"), its(own, "no value")};
    alluvium_found found[2];
    alluvium_status status = alluvium_writer_get_many(of(id), all.values, keys, 2, own->memory, sizeof own->memory, found, ERROR);
    if (status < 0)
        return status;
    CHECK(found[1].status == ALLUVIUM_NOT_FOUND);
    if (found[0].status == ALLUVIUM_OK)
        is_put(bytes(own->memory + found[0].at, found[0].len));
    return status;
}

/* Nothing that was let in is lost, and nothing else is done. */
static int32_t one_more(void *context, size_t index, alluvium_slice old, alluvium_slice *value) {
    racer *own = context;
    (void)index;
    put_u64(own->memory, old.data == NULL ? 1 : u64_at(old.data) + 1);
    CHECK(u64_at(own->memory) == atomic_load(&summed[own->number]) + 1);
    *value = bytes(own->memory, 8);
    return ALLUVIUM_PUT;
}
static alluvium_status update(uint64_t id, racer *own) {
    alluvium_key key = its(own, "count");
    alluvium_status status = own->number % 2 ? alluvium_writer_update(of(id), all.values, &key, one_more, own, ERROR)
                                             : alluvium_writer_update_many(of(id), all.values, &key, 1, one_more, own, ERROR);
    if (status == ALLUVIUM_OK)
        atomic_fetch_add(&summed[own->number], 1);
    return status;
}
static alluvium_status append(uint64_t id, racer *own) {
    alluvium_key key = its(own, "list");
    alluvium_slice two[] = {text("one"), text("two")};
    alluvium_status status = alluvium_writer_append_all(of(id), all.lists, &key, two, 2, ERROR);
    if (status == ALLUVIUM_OK)
        atomic_fetch_add(&elements[own->number], 2);
    return status;
}
static alluvium_status list(uint64_t id, racer *own) {
    alluvium_key key = its(own, "list");
    size_t records = 0;
    alluvium_slice data;
    alluvium_status status = alluvium_writer_list(of(id), all.lists, &key, own->buffer, ERROR);
    if (status == ALLUVIUM_OK) {
        OK(alluvium_buffer_data(own->buffer, &data, &records));
        CHECK(records == atomic_load(&elements[own->number]) && same(take_element(&data), "one") && same(take_element(&data), "two"));
    }
    return status;
}
static int32_t looked_at(void *context, alluvium_slice user_key, alluvium_slice value) {
    (void)context;
    CHECK(same(user_key, "605") && same(value, "late"));
    return 0;
}
static alluvium_status map_entry(uint64_t id, racer *own) {
    alluvium_key key = its(own, "map");
    size_t len;
    alluvium_status status = alluvium_writer_map_put(of(id), all.maps, &key, text("605"), text("late"), ERROR);
    if (status < 0)
        return status;
    status = alluvium_writer_map_get(of(id), all.maps, &key, text("605"), own->memory, sizeof own->memory, &len, ERROR);
    CHECK(status < 0 || (status == ALLUVIUM_OK && same(bytes(own->memory, len), "late")));
    if (status < 0)
        return status;
    status = alluvium_writer_map_scan(of(id), all.maps, &key, NULL, looked_at, NULL, ERROR);
    CHECK(status < 0 || status == ALLUVIUM_OK);
    return status;
}
static int32_t is_late(void *context, alluvium_slice user_key, alluvium_slice value) {
    (void)context;
    return same(user_key, "605") && same(value, "late");
}
static alluvium_status map_popped(uint64_t id, racer *own) {
    alluvium_key key = its(own, "map");
    alluvium_slice data;
    uint32_t taken = 1, more = 0;
    alluvium_status status = own->number == 0   ? alluvium_writer_map_pop_first_if(of(id), all.maps, &key, is_late, NULL, own->buffer, &taken, ERROR)
                             : own->number == 1 ? alluvium_writer_map_pop_below_up_to(of(id), all.maps, &key, text("7"), 100, own->buffer, &more, ERROR)
                                                : alluvium_writer_map_pop_below(of(id), all.maps, &key, text("7"), own->buffer, ERROR);
    if (status == ALLUVIUM_OK) {
        CHECK(taken == 1 && more == 0);
        OK(alluvium_buffer_data(own->buffer, &data, NULL));
        CHECK(same(take_record(&data).user_key, "605") && data.len == 0);
    }
    return status;
}

/* A batch of one merge. */
static alluvium_status apply(uint64_t id, racer *own) {
    uint8_t batch[27] = {ALLUVIUM_OP_MERGE};
    put_u16(batch + 2, sums);
    put_u16(batch + 4, (uint16_t)(FIRST + own->number));
    put_u16(batch + 6, 3);
    put_u32(batch + 12, 8);
    memcpy(batch + 16, "sum", 3);
    put_u64(batch + 19, 1);
    return alluvium_writer_apply(of(id), bytes(batch, sizeof batch), ERROR);
}
static alluvium_status submit(uint64_t id, racer *own) {
    uint8_t batch[21] = {ALLUVIUM_OP_GET};
    alluvium_ticket ticket;
    put_u16(batch + 2, all.values);
    put_u16(batch + 4, (uint16_t)(FIRST + own->number));
    put_u16(batch + 6, 5);
    memcpy(batch + 16, "value", 5);
    alluvium_status status = alluvium_writer_submit(of(id), bytes(batch, sizeof batch), &ticket, ERROR);
    if (status != ALLUVIUM_OK)
        return status;
    alluvium_slice data;
    OK(alluvium_ticket_wait(ticket, ERROR));
    status = alluvium_writer_poll(of(id), ticket, own->buffer, ERROR);
    if (status >= 0) {
        CHECK(status == ALLUVIUM_NOT_FOUND);
        OK(alluvium_buffer_data(own->buffer, &data, NULL));
        if ((int32_t)u32_at(data.data + 4) == ALLUVIUM_OK)
            is_put(bytes(data.data + 12, u32_at(data.data + 8)));
    }
    OK(alluvium_ticket_close(ticket, NULL));
    return status;
}
static alluvium_status fetch(uint64_t id, racer *own) {
    alluvium_cursor cursor;
    alluvium_slice data;
    size_t records = 0;
    alluvium_range range = {(uint16_t)(FIRST + own->number), (uint16_t)(FIRST + own->number)};
    OK(alluvium_cursor_keys(all.store, all.values, range, &cursor, ERROR));
    alluvium_status status = alluvium_writer_fetch(of(id), cursor, own->buffer, ERROR);
    if (status >= 0) {
        OK(alluvium_buffer_data(own->buffer, &data, &records));
        for (; records > 0; records--) {
            record one = take_record(&data);
            CHECK(one.group == range.first && (same(one.key, "value") || same(one.key, "count")));
        }
    }
    OK(alluvium_cursor_close(cursor, NULL));
    return status;
}
static alluvium_status barrier(uint64_t id, racer *own) {
    alluvium_barrier cut = {.size = sizeof cut, .label = atomic_fetch_add(&label, 1)};
    alluvium_pending pending;
    (void)own;
    alluvium_status status = alluvium_writer_barrier(of(id), &cut, &pending, ERROR);
    if (status == ALLUVIUM_OK)
        OK(alluvium_pending_close(pending, ERROR));
    return status;
}
static alluvium_status commit(uint64_t id, racer *own) {
    alluvium_commit made;
    (void)own;
    alluvium_status status = alluvium_writer_commit_lasting(of(id), NULL, 0, NOTHING, ALLUVIUM_LASTING_SOON, &made, ERROR);
    if (status == ALLUVIUM_OK)
        OK(alluvium_commit_close(made, ERROR));
    return status;
}
static alluvium_status range(uint64_t id, racer *own) {
    alluvium_range its_range = {0, 0};
    (void)own;
    alluvium_status status = alluvium_writer_range(of(id), &its_range, ERROR);
    CHECK(status < 0 || (its_range.first == FIRST && its_range.last == 127));
    return status;
}
static alluvium_status set_time(uint64_t id, racer *own) {
    (void)own;
    return alluvium_writer_set_time(of(id), 5, ERROR);
}

static const race SHARED = {"writer", 200, open_shared, close_writer, {0},
                            {put_value, get_value, read_value, buffer_value, get_values, update, append, list, map_entry, map_popped, apply, submit, fetch, barrier,
                             commit, range, set_time}};

/* Whoever adopts it has it alone, until it gives it away. */
static uint64_t open_to_anyone(void) {
    uint64_t id = open_writer();
    OK(alluvium_writer_give_away(of(id), ERROR));
    return id;
}
static alluvium_status adopted(uint64_t id, racer *own, racing_call use) {
    alluvium_status status = alluvium_writer_adopt(of(id), ERROR);
    if (status != ALLUVIUM_OK)
        return status;
    status = use(id, own);
    CHECK(status >= 0);
    return alluvium_writer_give_away(of(id), ERROR);
}
static alluvium_status adopt_and_put(uint64_t id, racer *own) { return adopted(id, own, put_value); }
static alluvium_status adopt_and_get(uint64_t id, racer *own) { return adopted(id, own, get_value); }
static alluvium_status adopt_and_update(uint64_t id, racer *own) { return adopted(id, own, update); }
static alluvium_status adopt_and_submit(uint64_t id, racer *own) { return adopted(id, own, submit); }
static alluvium_status adopt_and_close(uint64_t id, racer *own) {
    alluvium_status status = alluvium_writer_adopt(of(id), ERROR);
    if (status != ALLUVIUM_OK)
        return status;
    status = close_writer(id, own);
    CHECK(status == ALLUVIUM_OK);
    return status;
}

static const race HANDED_OVER = {
    "writer", 200, open_to_anyone, adopt_and_close, {0}, {adopt_and_put, adopt_and_get, adopt_and_update, adopt_and_submit, range}};

/* The main thread's own: the others can't do anything to it, nor take it or close it. */
static alluvium_status take_over(uint64_t id, racer *own) {
    (void)own;
    return alluvium_writer_adopt(of(id), ERROR);
}
static alluvium_status give_away(uint64_t id, racer *own) {
    (void)own;
    return alluvium_writer_give_away(of(id), ERROR);
}
static alluvium_status share(uint64_t id, racer *own) {
    (void)own;
    return alluvium_writer_share(of(id), ERROR);
}

static const race OWNED = {"writer", 200, open_writer, close_writer, {0}, {put_value, get_value, read_value, submit, barrier, take_over, give_away, share}};

/* What each thread did is there, and no more. */
static void is_all_there(void) {
    alluvium_writer writer = of(open_writer());
    alluvium_buffer buffer;
    OK(alluvium_buffer_new(&buffer, ERROR));
    for (size_t i = 0; i < RACERS; i++) {
        racer own = {.number = i, .buffer = buffer};
        size_t len = 0;
        alluvium_key count = its(&own, "count");
        OK(alluvium_writer_get(writer, all.values, &count, own.memory, sizeof own.memory, &len, ERROR));
        CHECK(len == 8 && u64_at(own.memory) == atomic_load(&summed[i]) && summed[i] > 0);
        CHECK(list(writer.id, &own) == ALLUVIUM_OK && elements[i] > 0);
        CHECK(get_value(writer.id, &own) == ALLUVIUM_OK);
    }
    OK(alluvium_buffer_free(buffer));
    OK(alluvium_writer_close(writer, ERROR));
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    open_everything(&all, argv[1]);
    sums = state_of(all.store, "sums", ALLUVIUM_KIND_MERGING, "u64-add");
    OK(alluvium_writer_close(all.writer, ERROR));
    OK(alluvium_writer_open(all.store, (alluvium_range){0, FIRST - 1}, &all.writer, ERROR));
    run_race(&SHARED, &answered);
    is_all_there();
    run_race(&HANDED_OVER, &answered);
    is_all_there();
    run_race(&OWNED, &refused);
    CHECK(atomic_load(&answered) == OWNED.rounds); /* none but those that closed it */
    is_all_there();
    close_everything(&all);
    return 0;
}
