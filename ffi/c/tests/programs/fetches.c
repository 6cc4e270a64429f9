/* A store whose segments are elsewhere: it serves at once, and its host brings what it asks for. The segments' bytes are taken while they
 * are written. */
#include "check.h"
#include <pthread.h>
#include <stdatomic.h>

enum { KEYS = 2000, FILES = 64 };

/* Elsewhere: files by name. */
typedef struct {
    char name[64];
    uint8_t *data;
    size_t len;
    int complete;
} remote_file;
static remote_file remote[FILES];
static size_t files;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_int stop, released;

static remote_file *find(const char *name) {
    for (size_t i = 0; i < files; i++)
        if (strcmp(remote[i].name, name) == 0)
            return &remote[i];
    return NULL;
}

static void take(void *context, const char *name, uint64_t offset, const uint8_t *data, size_t len) {
    (void)context;
    pthread_mutex_lock(&lock);
    remote_file *file = find(name);
    if (file == NULL) {
        CHECK(files < FILES && offset == 0);
        file = &remote[files++];
        snprintf(file->name, sizeof file->name, "%s", name);
    }
    CHECK(offset == file->len && !file->complete);
    file->data = realloc(file->data, file->len + len);
    memcpy(file->data + file->len, data, len);
    file->len += len;
    pthread_mutex_unlock(&lock);
}

static void complete(void *context, const char *name, uint64_t len) {
    (void)context;
    pthread_mutex_lock(&lock);
    remote_file *file = find(name);
    CHECK(file != NULL && file->len == len);
    file->complete = 1;
    pthread_mutex_unlock(&lock);
}

static void let_go(void *context) { atomic_fetch_add((atomic_int *)context, 1); }

/* The host's thread. */
static void *serve(void *argument) {
    alluvium_fetches fetches = *(alluvium_fetches *)argument;
    uint64_t *served = calloc(1, sizeof *served);
    while (!atomic_load(&stop)) {
        alluvium_fetch_request requests[4];
        size_t count = 0;
        OK(alluvium_fetches_wait(fetches, 20, requests, 4, &count, ERROR));
        for (size_t i = 0; i < count; i++) {
            pthread_mutex_lock(&lock);
            remote_file *file = find(requests[i].file);
            CHECK(file != NULL && file->complete && requests[i].offset + requests[i].len <= file->len);
            OK(alluvium_fetches_complete(fetches, requests[i].id, bytes(file->data + requests[i].offset, requests[i].len), ERROR));
            pthread_mutex_unlock(&lock);
            ++*served;
        }
    }
    return served;
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    char home[512], away[512], name[32];
    snprintf(home, sizeof home, "%s/home", argv[1]);
    snprintf(away, sizeof away, "%s/away", argv[1]);
    alluvium_segment_sink sink = {.context = &released, .write = take, .complete = complete, .release = let_go};
    alluvium_store_options options;
    OK(alluvium_store_options_init(&options));
    options.sink = &sink;
    fixture made = set_up(home, &options);
    uint16_t values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
    for (uint32_t i = 0; i < KEYS; i++) {
        snprintf(name, sizeof name, "%u", i);
        put(made.writer, values, name, name);
    }
    checkpoint(made.store, 1);
    alluvium_files pinned;
    alluvium_slice bytes_of_manifest;
    OK(alluvium_store_files(made.store, 1, &pinned, ERROR));
    OK(alluvium_files_manifest(pinned, &bytes_of_manifest, ERROR));
    uint8_t *manifest = malloc(bytes_of_manifest.len);
    memcpy(manifest, bytes_of_manifest.data, bytes_of_manifest.len);
    alluvium_slice kept = bytes(manifest, bytes_of_manifest.len);
    OK(alluvium_files_close(pinned, ERROR));
    alluvium_fetches fetches;
    IS(ALLUVIUM_NOT_FOUND, alluvium_store_fetches(made.store, &fetches, ERROR));
    tear_down(&made);
    CHECK(atomic_load(&released) == 1);

    made.engine = small_engine();
    OK(alluvium_store_options_init(&options));
    options.fetch = 1;
    OK(alluvium_store_restore_absent(made.engine, away, &kept, 1, &options, &made.store, ERROR));
    free(manifest);
    OK(alluvium_store_fetches(made.store, &fetches, ERROR));
    size_t absent = 0;
    OK(alluvium_fetches_absent(fetches, &absent, ERROR));
    CHECK(absent == 1);
    OK(alluvium_writer_open(made.store, all_groups(), &made.writer, ERROR));
    values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
    put(made.writer, values, "new", "needs no segment");
    CHECK(has(made.writer, values, "new", "needs no segment"));

    pthread_t host;
    CHECK(pthread_create(&host, NULL, serve, &fetches) == 0);
    for (uint32_t i = 0; i < KEYS; i++) {
        snprintf(name, sizeof name, "%u", i);
        CHECK(has(made.writer, values, name, name));
    }
    while (absent != 0)
        OK(alluvium_fetches_absent(fetches, &absent, ERROR));
    atomic_store(&stop, 1);
    void *served;
    CHECK(pthread_join(host, &served) == 0);
    CHECK(*(uint64_t *)served > 0);
    free(served);
    OK(alluvium_fetches_fail(fetches, 12345, "no such request", ERROR));
    OK(alluvium_fetches_cancel(fetches, ERROR));
    OK(alluvium_fetches_close(fetches, ERROR));
    tear_down(&made);
    for (size_t i = 0; i < files; i++)
        free(remote[i].data);
    return 0;
}
