/* Invariants that are set and cleared by some threads while another applies events: none is called after its context was let go, and each
 * context is let go once. */
#include "check.h"
#include <pthread.h>
#include <stdatomic.h>

enum { EVENTS = 3000, THREADS = 3 };

static fixture made;
static uint16_t values;
static atomic_int stop, contexts;
static atomic_long looked;

static int32_t apply(void *context, alluvium_slice event, alluvium_applying applying) {
    (void)context;
    alluvium_key key = {3, text("k"), {NULL, 0}};
    OK(alluvium_applying_put(applying, values, &key, event, ERROR));
    return 0;
}

/* Says what its context holds, which is gone once it was let go, and some nonsense now and then. */
static int32_t holds(void *context, alluvium_slice event, alluvium_applying applying) {
    alluvium_key key = {3, text("k"), {NULL, 0}};
    uint8_t memory[8];
    size_t len = 0;
    long before = atomic_fetch_add(&looked, 1);
    OK(alluvium_applying_get(applying, values, &key, memory, sizeof memory, &len, ERROR));
    CHECK(len == event.len && memcmp(memory, event.data, len) == 0);
    return before % 100 == 99 ? INT32_MIN : *(int32_t *)context;
}

static void let_go(void *context) {
    /* What it may not call is refused here, too, and nothing waits for it. */
    uint64_t trigger;
    IS(ALLUVIUM_INSIDE_CALLBACK, alluvium_store_watch_stragglers(made.store, &trigger, ERROR));
    *(int32_t *)context = 7;
    free(context);
    atomic_fetch_sub(&contexts, 1);
}

static uint64_t watched(void) {
    int32_t *context = malloc(sizeof *context);
    uint64_t trigger = 0;
    *context = 1;
    atomic_fetch_add(&contexts, 1);
    OK(alluvium_store_watch_invariant(made.store, holds, context, let_go, &trigger, ERROR));
    return trigger;
}

static void *watch(void *unused) {
    (void)unused;
    alluvium_buffer fired;
    OK(alluvium_buffer_new(&fired, ERROR));
    while (!atomic_load(&stop)) {
        uint64_t trigger = watched();
        long before = atomic_load(&looked);
        while (atomic_load(&looked) == before && !atomic_load(&stop))
            ;
        OK(alluvium_store_unwatch(made.store, trigger, ERROR));
        OK(alluvium_store_unwatch(made.store, trigger, ERROR));
        IS(ALLUVIUM_NOT_FOUND, alluvium_store_fired(made.store, fired, NULL, ERROR));
    }
    OK(alluvium_buffer_free(fired));
    return NULL;
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    alluvium_store_options options;
    OK(alluvium_store_options_init(&options));
    options.durability = ALLUVIUM_DURABILITY_CHANGELOG;
    made = set_up(argv[1], &options);
    values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
    alluvium_handler handler = {.name = "put", .version = 1, .apply = apply};
    uint32_t number, applied = 9;
    OK(alluvium_store_handler(made.store, &handler, &number, ERROR));

    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, watch, NULL) == 0);
    for (uint64_t i = 0; i < EVENTS || atomic_load(&looked) < 100; i++) {
        alluvium_event_id id = {1, i + 1};
        alluvium_status status =
            alluvium_writer_apply_event_once(made.writer, number, 3, id, bytes(&i, sizeof i), NULL, ERROR);
        CHECK(status == ALLUVIUM_OK || status == ALLUVIUM_EVENT_HANDLER);
        forget_error();
        /* Applied all the same. */
        OK(alluvium_store_already_applied(made.store, 3, id, &applied, ERROR));
        CHECK(applied == 1);
    }
    atomic_store(&stop, 1);
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(atomic_load(&contexts) == 0);

    /* What is still watched goes with its store. */
    watched();
    watched();
    CHECK(atomic_load(&contexts) == 2);
    tear_down(&made);
    CHECK(atomic_load(&contexts) == 0);
    return 0;
}
