/* Handles that threads use while they are closed under them, by one of them or by several at once. */
#ifndef RACING_H
#define RACING_H

#include "everything.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum { RACERS = 3, USES = 20, CLOSES_EVERY = 40 };

/* What a thread has that no other one uses. */
typedef struct {
    size_t number;
    alluvium_buffer buffer;
    alluvium_cursor keys, entries;
    uint8_t memory[256];
} racer;

/* A call on the handle with this number. */
typedef alluvium_status (*racing_call)(uint64_t id, racer *own);

typedef struct {
    /* As the handle's type is called. */
    const char *kind;
    /* How many handles are opened and closed one after another. */
    size_t rounds;
    uint64_t (*open)(void);
    racing_call close;
    /* What a call that was let in may come to besides an answer. */
    alluvium_status may_fail_with[3];
    racing_call uses[USES];
} race;

static everything all;
static atomic_uint_fast64_t raced_now;
static atomic_size_t called, answered, refused, closed;
static atomic_int over;

/* The error says what the status says, and whose fault that is: the status is no failure, or one that there may be. */
static void judge(const race *one, const char *what, size_t number, alluvium_status status) {
    const alluvium_status fair[] = {ALLUVIUM_HANDLE, ALLUVIUM_IN_USE, ALLUVIUM_HAS_CHILDREN, ALLUVIUM_WRONG_THREAD, ALLUVIUM_BUSY};
    int is_fair = status >= 0;
    for (size_t i = 0; i < sizeof fair / sizeof *fair; i++)
        is_fair |= status == fair[i];
    for (size_t i = 0; i < sizeof one->may_fail_with / sizeof *one->may_fail_with; i++)
        is_fair |= status == one->may_fail_with[i];
    if (!is_fair) {
        const char *message = "";
        if (last_error.id != 0)
            alluvium_error_get(last_error, NULL, NULL, &message);
        fprintf(stderr, "%s %zu of %s came to %d (%s): %s\n", what, number, one->kind, status, alluvium_status_text(status), message);
        exit(1);
    }
    if (last_error.id != 0) {
        alluvium_status told = ALLUVIUM_OK;
        CHECK(alluvium_error_get(last_error, &told, NULL, NULL) == ALLUVIUM_OK);
        CHECK(status < 0 && told == status);
        forget_error();
    }
    atomic_fetch_add(status >= 0 ? &answered : &refused, 1);
    atomic_fetch_add(&called, 1);
}

/* Closes a handle, or finds that somebody else has or that it can't be just now. */
static int closes(const race *one, uint64_t id, racer *own) {
    alluvium_status status = one->close(id, own);
    if (status >= 0)
        atomic_fetch_add(&closed, 1);
    judge(one, "closing", 0, status);
    return status >= 0 || status == ALLUVIUM_HANDLE;
}

typedef struct {
    const race *race;
    size_t number;
} racing_thread;

static void *use_on(void *argument) {
    const race *one = ((racing_thread *)argument)->race;
    racer own = {.number = ((racing_thread *)argument)->number};
    alluvium_key map = by_hash("map");
    size_t uses = 0;
    while (uses < USES && one->uses[uses] != NULL)
        uses++;
    OK(alluvium_buffer_new(&own.buffer, ERROR));
    for (size_t round = own.number; !atomic_load(&over); round++) {
        uint64_t id = atomic_load(&raced_now);
        OK(alluvium_cursor_keys(all.store, all.values, all_groups(), &own.keys, ERROR));
        OK(alluvium_cursor_entries(all.store, all.maps, &map, NULL, &own.entries, ERROR));
        for (size_t i = 0; i < uses; i++) {
            size_t use = (round + i) % uses; /* so that each is the first one of some handles */
            judge(one, "use", use, one->uses[use](id, &own));
            sched_yield(); /* outside, so that who closes it gets its turn there */
        }
        if (round % CLOSES_EVERY == 0)
            closes(one, id, &own);
        OK(alluvium_cursor_close(own.keys, ERROR));
        OK(alluvium_cursor_close(own.entries, ERROR));
    }
    OK(alluvium_buffer_free(own.buffer));
    return NULL;
}

/* Opens a handle after the other, has threads use it, and closes it while they do, which `calls` counts. Each is closed once. */
static void run_race(const race *one, atomic_size_t *calls) {
    pthread_t threads[RACERS];
    racing_thread racers[RACERS];
    racer own = {.number = RACERS};
    size_t before = 0, after = 0;
    OK(alluvium_buffer_new(&own.buffer, ERROR));
    OK(alluvium_open_handles(&before));
    atomic_store(&called, 0), atomic_store(&answered, 0), atomic_store(&refused, 0), atomic_store(&closed, 0);
    atomic_store(&over, 0);
    atomic_store(&raced_now, 0);
    for (size_t i = 0; i < RACERS; i++) {
        racers[i] = (racing_thread){one, i};
        CHECK(pthread_create(&threads[i], NULL, use_on, &racers[i]) == 0);
    }
    for (size_t round = 0; round < one->rounds; round++) {
        uint64_t id = one->open();
        size_t enough = atomic_load(calls) + 3 * RACERS;
        atomic_store(&raced_now, id);
        while (atomic_load(calls) < enough && atomic_load(&closed) == round) /* until they are at it */
            sched_yield();
        while (!closes(one, id, &own))
            sched_yield();
        while (atomic_load(&closed) == round) /* the handle is none as soon as another thread closes it, which takes a while */
            sched_yield();
        CHECK(atomic_load(&closed) == round + 1);
    }
    atomic_store(&over, 1);
    for (size_t i = 0; i < RACERS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    OK(alluvium_open_handles(&after));
    CHECK(after == before && atomic_load(&closed) == one->rounds);
    CHECK(atomic_load(&refused) > 0);
    OK(alluvium_buffer_free(own.buffer));
}

#endif
