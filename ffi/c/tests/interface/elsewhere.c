/* Every function of a writer is called by another thread than the writer's: `calls.h` is made from the header, by misplaced.rs. */
#include "support.h"
#include "everything.h"
#include "calls.h"
#include <pthread.h>

static everything all;

static void *calls_of_another_thread(void *unused) {
    (void)unused;
    of_another_thread(&all);
    return NULL;
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    open_everything(&all, argv[1]);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, calls_of_another_thread, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    /* After all of that the writer is its thread's as before, and nothing has changed. */
    CHECK(has(all.writer, all.values, "JFK", "1"));
    put(all.writer, all.values, "JFK", "2");
    CHECK(has(all.writer, all.values, "JFK", "2"));
    close_everything(&all);
    return 0;
}
