/* Writers belong to threads: handed over, left behind, shared. */
#include "check.h"
#include <pthread.h>

static fixture made;
static uint16_t values, noted;
static uint32_t handler;

/* Puts its event, after it failed at something. */
static int32_t note(void *context, alluvium_slice event, alluvium_applying applying) {
    (void)context;
    alluvium_key key = {3, text("event"), {NULL, 0}}, elsewhere = {4, text("event"), {NULL, 0}};
    IS(ALLUVIUM_OUTSIDE_RANGE, alluvium_applying_put(applying, noted, &elsewhere, event, ERROR));
    return alluvium_applying_put(applying, noted, &key, event, NULL);
}

static void apply(const char *event) {
    alluvium_key key = {3, text("event"), {NULL, 0}};
    uint8_t memory[32];
    size_t len = 0;
    OK(alluvium_writer_apply_event(made.writer, handler, 3, text(event), ERROR));
    OK(alluvium_writer_get(made.writer, noted, &key, memory, sizeof memory, &len, ERROR));
    CHECK(same(bytes(memory, len), event));
}

static void *wrong_thread(void *unused) {
    (void)unused;
    alluvium_key key = by_hash("k");
    uint8_t memory[8];
    size_t len;
    IS(ALLUVIUM_WRONG_THREAD, alluvium_writer_put(made.writer, values, &key, text("x"), ERROR));
    IS(ALLUVIUM_WRONG_THREAD, alluvium_writer_get(made.writer, values, &key, memory, 8, &len, ERROR));
    IS(ALLUVIUM_WRONG_THREAD, alluvium_writer_close(made.writer, ERROR));
    IS(ALLUVIUM_WRONG_THREAD, alluvium_writer_adopt(made.writer, ERROR));
    IS(ALLUVIUM_WRONG_THREAD, alluvium_writer_share(made.writer, ERROR));
    IS(ALLUVIUM_WRONG_THREAD, alluvium_writer_give_away(made.writer, ERROR));
    return NULL;
}

static void *adopt(void *unused) {
    (void)unused;
    OK(alluvium_writer_adopt(made.writer, ERROR));
    put(made.writer, values, "k", "theirs");
    return NULL; /* ends without giving it back */
}

/* A thread that is ending takes the writer over, and leaves it. */
static pthread_key_t ending;

/* What first needs data of its thread's own when that is gone leaves 32 bytes of the C library's behind. Seen once, on a busy machine: perhaps a lock of the
 * library's that had to wait. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:__cxa_thread_atexit_impl\n"; }

static void at_end(void *unused) {
    (void)unused;
    OK(alluvium_writer_adopt(made.writer, ERROR));
    CHECK(has(made.writer, values, "k", "theirs"));
    apply("at the end");
}

static void *end(void *unused) {
    (void)unused;
    CHECK(pthread_setspecific(ending, &ending) == 0);
    return NULL;
}

/* The same of one that has used it before. */
static void *use_and_end(void *unused) {
    OK(alluvium_writer_adopt(made.writer, ERROR));
    apply("before the end");
    return end(unused);
}

static void *count(void *unused) {
    (void)unused;
    alluvium_key key = by_hash("shared");
    for (int i = 0; i < 5000; i++)
        OK(alluvium_writer_append(made.writer, values, &key, text("x"), ERROR));
    return NULL;
}

static void in_thread(void *(*body)(void *)) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, body, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

/* At the process's end the main thread still has its writer. */
static void at_exit(void) {
    put(made.writer, values, "k", "at exit");
    apply("at exit");
    tear_down(&made);
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    CHECK(atexit(at_exit) == 0);
    made = set_up(argv[1], NULL);
    values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
    noted = state_of(made.store, "noted", ALLUVIUM_KIND_VALUE, NULL);
    alluvium_handler notes = {.name = "notes", .version = 1, .apply = note};
    OK(alluvium_store_handler(made.store, &notes, &handler, ERROR));
    in_thread(wrong_thread);
    OK(alluvium_writer_give_away(made.writer, ERROR));
    alluvium_key key = by_hash("k");
    IS(ALLUVIUM_WRONG_THREAD, alluvium_writer_put(made.writer, values, &key, text("x"), ERROR));
    in_thread(adopt);
    IS(ALLUVIUM_WRONG_THREAD, alluvium_writer_put(made.writer, values, &key, text("x"), ERROR));
    OK(alluvium_writer_adopt(made.writer, ERROR)); /* its thread has ended */
    CHECK(has(made.writer, values, "k", "theirs"));

    CHECK(pthread_key_create(&ending, at_end) == 0);
    OK(alluvium_writer_give_away(made.writer, ERROR));
    in_thread(end);
    OK(alluvium_writer_adopt(made.writer, ERROR));
    OK(alluvium_writer_give_away(made.writer, ERROR));
    in_thread(use_and_end);
    OK(alluvium_writer_adopt(made.writer, ERROR));
    apply("before exit");

    /* Shared, it is used by one after the other. */
    pthread_t threads[4];
    values = state_of(made.store, "lists", ALLUVIUM_KIND_LIST, NULL);
    OK(alluvium_writer_share(made.writer, ERROR));
    for (size_t i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, count, NULL) == 0);
    for (size_t i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    alluvium_buffer buffer;
    alluvium_slice data;
    size_t records = 0;
    key = by_hash("shared");
    OK(alluvium_buffer_new(&buffer, ERROR));
    OK(alluvium_writer_list(made.writer, values, &key, buffer, ERROR));
    OK(alluvium_buffer_data(buffer, &data, &records));
    CHECK(records == 20000);
    OK(alluvium_buffer_free(buffer));
    OK(alluvium_writer_close(made.writer, ERROR));
    OK(alluvium_writer_open(made.store, all_groups(), &made.writer, ERROR));
    values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
    return 0;
}
