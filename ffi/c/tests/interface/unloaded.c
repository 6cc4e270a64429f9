/* The library is loaded by hand, used by a thread that ends, and unloaded: no thread of it is left then, and nothing of it in memory. */
#define _GNU_SOURCE
#include <alluvium.h>
#include <dirent.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CHECK(condition)                                                                \
    do {                                                                                \
        if (!(condition)) {                                                             \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);     \
            exit(1);                                                                    \
        }                                                                               \
    } while (0)

static const char *directory, *library;
static void *loaded;

/* A function of the library, as the header declares it. */
#define FIND(name) \
    __typeof__(&alluvium_##name) name; \
    *(void **)&name = dlsym(loaded, "alluvium_" #name); \
    CHECK(name != NULL)

/* How many threads of the process have a name that begins so. */
static size_t threads_named(const char *prefix) {
    size_t found = 0;
    DIR *tasks = opendir("/proc/self/task");
    CHECK(tasks != NULL);
    for (struct dirent *task; (task = readdir(tasks)) != NULL;) {
        char path[512], name[64] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", task->d_name);
        FILE *file = fopen(path, "r");
        if (file == NULL)
            continue; /* no task, or one that has ended */
        if (fgets(name, sizeof name, file) != NULL)
            found += strncmp(name, prefix, strlen(prefix)) == 0;
        fclose(file);
    }
    closedir(tasks);
    return found;
}

/* A thread that was joined may be listed for a moment more. */
static void no_thread_is_left(void) {
    const struct timespec pause = {0, 1000000};
    for (int tries = 0; threads_named("alluvium") > 0; tries++) {
        CHECK(tries < 10000);
        nanosleep(&pause, NULL);
    }
}

/* How many pieces of the library are in memory. */
static size_t mapped(void) {
    size_t found = 0;
    char line[4096];
    FILE *maps = fopen("/proc/self/maps", "r");
    CHECK(maps != NULL);
    while (fgets(line, sizeof line, maps) != NULL)
        found += strstr(line, "alluvium_c") != NULL;
    fclose(maps);
    return found;
}

static void *use(void *unused) {
    (void)unused;
    loaded = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (loaded == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    FIND(engine_open);
    FIND(engine_close);
    FIND(store_create);
    FIND(store_close);
    FIND(store_state);
    FIND(store_barrier);
    FIND(state_options_init);
    FIND(writer_open);
    FIND(writer_put);
    FIND(writer_close);
    FIND(pending_wait);
    FIND(pending_close);
    FIND(open_handles);
    alluvium_engine engine;
    alluvium_store store;
    alluvium_writer writer;
    alluvium_pending pending;
    alluvium_state_options options;
    alluvium_range all = {0, 127};
    alluvium_key key = {ALLUVIUM_GROUP_BY_HASH, {(const uint8_t *)"JFK", 3}, {NULL, 0}};
    alluvium_slice value = {(const uint8_t *)"1", 1};
    alluvium_barrier barrier = {.size = sizeof barrier, .label = 1};
    uint16_t state;
    size_t open = 1;
    CHECK(engine_open(NULL, &engine, NULL) == ALLUVIUM_OK);
    CHECK(store_create(engine, directory, NULL, &store, NULL) == ALLUVIUM_OK);
    CHECK(state_options_init(&options) == ALLUVIUM_OK);
    options.name = "values";
    CHECK(store_state(store, &options, &state, NULL) == ALLUVIUM_OK);
    CHECK(writer_open(store, all, &writer, NULL) == ALLUVIUM_OK);
    CHECK(writer_put(writer, state, &key, value, NULL) == ALLUVIUM_OK);
    CHECK(store_barrier(store, &barrier, &pending, NULL) == ALLUVIUM_OK);
    CHECK(pending_wait(pending, NULL, NULL) == ALLUVIUM_OK);
    CHECK(threads_named("alluvium") > 0);
    CHECK(pending_close(pending, NULL) == ALLUVIUM_OK);
    CHECK(writer_close(writer, NULL) == ALLUVIUM_OK);
    CHECK(store_close(store, NULL) == ALLUVIUM_OK);
    CHECK(engine_close(engine, NULL) == ALLUVIUM_OK);
    CHECK(open_handles(&open) == ALLUVIUM_OK && open == 0);
    return NULL;
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    char path[4096];
    library = argv[2];
    directory = path;
    CHECK(mapped() == 0);
    for (int round = 0; round < 3; round++) {
        pthread_t thread;
        snprintf(path, sizeof path, "%s/%d", argv[1], round);
        CHECK(pthread_create(&thread, NULL, use, NULL) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
        CHECK(mapped() > 0);
        no_thread_is_left();
        CHECK(dlclose(loaded) == 0);
        CHECK(mapped() == 0);
    }
    return 0;
}
