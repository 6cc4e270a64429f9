/* A store whose segments are elsewhere: it serves at once, and its host brings what it asks for. The segments' bytes are taken while they
 * are written. */
#include "check.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

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
static atomic_int stop, released, woken;

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

static atomic_int brought;

static void bring(alluvium_fetches fetches, const alluvium_fetch_request *request) {
    pthread_mutex_lock(&lock);
    remote_file *file = find(request->file);
    CHECK(file != NULL && file->complete && request->offset + request->len <= file->len);
    OK(alluvium_fetches_complete(fetches, request->id, bytes(file->data + request->offset, request->len), ERROR));
    pthread_mutex_unlock(&lock);
    atomic_fetch_add(&brought, 1);
}

/* The host's thread. */
static void *serve(void *argument) {
    alluvium_fetches fetches = *(alluvium_fetches *)argument;
    while (!atomic_load(&stop)) {
        alluvium_fetch_request requests[4];
        size_t count = 0;
        OK(alluvium_fetches_wait(fetches, 20, requests, 4, &count, ERROR));
        for (size_t i = 0; i < count; i++)
            bring(fetches, &requests[i]);
    }
    return NULL;
}

/* A read that waits for what is elsewhere. */
typedef struct {
    alluvium_store store;
    uint16_t values;
    alluvium_status status;
    int32_t class_;
    atomic_int is_over;
} reading;

static void *reads(void *argument) {
    reading *at = argument;
    alluvium_reader reader;
    alluvium_error error = {0};
    uint8_t memory[16];
    size_t len;
    alluvium_key key = by_hash("7");
    OK(alluvium_reader_open(at->store, 0, &reader, ERROR));
    at->status = alluvium_reader_get(reader, at->values, &key, memory, sizeof memory, &len, &error);
    if (error.id != 0) {
        OK(alluvium_error_get(error, NULL, &at->class_, NULL));
        OK(alluvium_error_free(error));
    }
    OK(alluvium_reader_close(reader, ERROR));
    atomic_store(&at->is_over, 1);
    return NULL;
}

/* The read that a thread waits with has come to an end, or does before long. */
static void ends(pthread_t reader, reading *at) {
    const time_t began = time(NULL);
    while (!atomic_load(&at->is_over)) {
        CHECK(difftime(time(NULL), began) < 60);
        sched_yield();
    }
    CHECK(pthread_join(reader, NULL) == 0);
}

static int32_t reenter(void *context, size_t index, alluvium_slice old, alluvium_slice *value) {
    alluvium_fetches fetches = *(alluvium_fetches *)context;
    alluvium_fetch_request request;
    size_t count;
    uint64_t absent;
    (void)index, (void)old, (void)value;
    IS(ALLUVIUM_INSIDE_CALLBACK, alluvium_fetches_wake(fetches, ERROR));
    IS(ALLUVIUM_INSIDE_CALLBACK, alluvium_fetches_refuse(fetches, 1, 0, "x", ERROR));
    IS(ALLUVIUM_INSIDE_CALLBACK, alluvium_fetches_prefer(fetches, "x", 0, 1, ERROR));
    IS(ALLUVIUM_INSIDE_CALLBACK, alluvium_fetches_absent_bytes(fetches, &absent, ERROR));
    IS(ALLUVIUM_INSIDE_CALLBACK, alluvium_fetches_wait_demanded(fetches, UINT64_MAX, &request, 1, &count, ERROR));
    return ALLUVIUM_KEEP;
}

/* Waits for longer than the test may take, if nobody wakes it. */
static void *sleeps(void *argument) {
    alluvium_fetch_request request;
    size_t count = 9;
    OK(alluvium_fetches_wait_demanded(*(alluvium_fetches *)argument, UINT64_MAX, &request, 1, &count, ERROR));
    CHECK(count == 0);
    atomic_fetch_add(&woken, 1);
    return NULL;
}

/* A read that waits for what the host can't bring now, or whose wait is called off, fails, and can be tried again. */
static void not_now(alluvium_store store, alluvium_fetches fetches, uint16_t values) {
    alluvium_fetch_request requests[4];
    for (int is_cancelled = 0; is_cancelled < 2; is_cancelled++) {
        reading at = {.store = store, .values = values};
        size_t count = 0;
        pthread_t reader;
        CHECK(pthread_create(&reader, NULL, reads, &at) == 0);
        do
            OK(alluvium_fetches_wait_demanded(fetches, 1000, requests, 4, &count, ERROR));
        while (count == 0);
        if (is_cancelled) {
            OK(alluvium_fetches_cancel(fetches, ERROR));
            ends(reader, &at);
        }
        /* What was asked for is asked for again when it was answered. */
        for (size_t asked = 0; asked < count; asked++)
            OK(alluvium_fetches_fail(fetches, requests[asked].id, "the network is down", ERROR));
        if (!is_cancelled)
            ends(reader, &at);
        CHECK(at.status == ALLUVIUM_ABSENT && at.class_ == ALLUVIUM_CLASS_RETRY);
    }
}

/* What the host brings first, what it holds back, and what it says that it will never have. */
static void in_the_hosts_order(alluvium_store store, alluvium_fetches fetches, uint16_t values) {
    alluvium_fetch_request requests[4];
    size_t count = 9;
    uint64_t absent = 0;
    CHECK(files >= 1);
    OK(alluvium_fetches_absent_bytes(fetches, &absent, ERROR));
    CHECK(absent > 0 && absent <= remote[0].len + remote[files - 1].len);
    OK(alluvium_fetches_wait_demanded(fetches, 0, requests, 4, &count, ERROR));
    CHECK(count == 0);

    pthread_t sleeping;
    CHECK(pthread_create(&sleeping, NULL, sleeps, &fetches) == 0);
    while (atomic_load(&woken) == 0)
        OK(alluvium_fetches_wake(fetches, ERROR));
    CHECK(pthread_join(sleeping, NULL) == 0);

    /* Nobody waits for it: who asks for what is wanted alone gets it, and fails it. */
    OK(alluvium_fetches_wait(fetches, 0, requests, 1, &count, ERROR));
    CHECK(count == 1 && requests[0].on_demand == 0);
    char name[64];
    memcpy(name, requests[0].file, sizeof name);
    do {
        OK(alluvium_fetches_fail(fetches, requests[0].id, "not yet", ERROR));
        OK(alluvium_fetches_wait(fetches, 0, requests, 1, &count, ERROR));
    } while (count == 1);
    OK(alluvium_fetches_prefer(fetches, "none.segment", 0, 9, ERROR));
    OK(alluvium_fetches_prefer(fetches, name, UINT64_MAX, UINT64_MAX, ERROR));
    OK(alluvium_fetches_prefer(fetches, name, 0, UINT64_MAX, ERROR));
    OK(alluvium_fetches_wait(fetches, 0, requests, 1, &count, ERROR));
    CHECK(count == 1 && strcmp(requests[0].file, name) == 0 && requests[0].offset == 0);
    OK(alluvium_fetches_fail(fetches, requests[0].id, "not yet", ERROR));

    static const uint32_t faults[] = {ALLUVIUM_FAULT_MISSING, ALLUVIUM_FAULT_LENGTH, ALLUVIUM_FAULT_CORRUPT};
    for (size_t i = 0; i < 3; i++) {
        reading at = {.store = store, .values = values};
        pthread_t reader;
        CHECK(pthread_create(&reader, NULL, reads, &at) == 0);
        do
            OK(alluvium_fetches_wait_demanded(fetches, 1000, requests, 4, &count, ERROR));
        while (count == 0);
        CHECK(requests[0].on_demand == 1);
        for (size_t asked = 0; asked < count; asked++)
            OK(alluvium_fetches_refuse(fetches, requests[asked].id, faults[i], "gone for good", ERROR));
        ends(reader, &at);
        CHECK(at.status == ALLUVIUM_CORRUPT && at.class_ == ALLUVIUM_CLASS_CORRUPT);
    }

    IS(ALLUVIUM_ARGUMENT, alluvium_fetches_refuse(fetches, 1, 3, "x", ERROR));
    IS(ALLUVIUM_NULL, alluvium_fetches_refuse(fetches, 1, 0, NULL, ERROR));
    IS(ALLUVIUM_NULL, alluvium_fetches_prefer(fetches, NULL, 0, 1, ERROR));
    IS(ALLUVIUM_NULL, alluvium_fetches_absent_bytes(fetches, NULL, ERROR));
    IS(ALLUVIUM_NULL, alluvium_fetches_wait_demanded(fetches, 0, NULL, 1, &count, ERROR));
    IS(ALLUVIUM_NULL, alluvium_fetches_wait_demanded(fetches, 0, requests, 1, NULL, ERROR));
    uint64_t wrong[] = {0, UINT64_MAX, store.id};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        alluvium_fetches none = {wrong[i]};
        IS(ALLUVIUM_HANDLE, alluvium_fetches_wake(none, ERROR));
        IS(ALLUVIUM_HANDLE, alluvium_fetches_refuse(none, 1, 0, "x", ERROR));
        IS(ALLUVIUM_HANDLE, alluvium_fetches_prefer(none, "x", 0, 1, ERROR));
        IS(ALLUVIUM_HANDLE, alluvium_fetches_absent_bytes(none, &absent, ERROR));
        IS(ALLUVIUM_HANDLE, alluvium_fetches_wait_demanded(none, 0, requests, 1, &count, ERROR));
    }
}

/* A checkpoint that is not to wait for reads is refused while there are any: here for as long as the host brings nothing. */
static void reads_in_flight(const char *directory, alluvium_slice manifest) {
    fixture made;
    alluvium_fetches fetches;
    alluvium_store_options options;
    OK(alluvium_store_options_init(&options));
    options.fetch = 1;
    made.engine = small_engine();
    OK(alluvium_store_restore_absent(made.engine, directory, &manifest, 1, &options, &made.store, ERROR));
    OK(alluvium_store_fetches(made.store, &fetches, ERROR));
    OK(alluvium_writer_open(made.store, all_groups(), &made.writer, ERROR));
    uint16_t values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
    uint8_t batch[17] = {ALLUVIUM_OP_GET, ALLUVIUM_OP_HASHED};
    put_u16(batch + 2, values);
    put_u16(batch + 6, 1);
    batch[16] = '7';
    alluvium_barrier barrier = {.size = sizeof barrier, .label = 2, .reads = ALLUVIUM_READS_REFUSE};
    alluvium_ticket ticket;
    alluvium_pending pending;
    alluvium_fetch_request requests[4];
    uint32_t is_complete = 9;
    size_t count = 0;
    OK(alluvium_writer_submit(made.writer, bytes(batch, sizeof batch), &ticket, ERROR));
    IS(ALLUVIUM_BUSY, alluvium_writer_barrier(made.writer, &barrier, &pending, ERROR));
    IS(ALLUVIUM_BUSY, alluvium_store_barrier(made.store, &barrier, &pending, ERROR));
    OK(alluvium_ticket_is_complete(ticket, &is_complete, ERROR));
    CHECK(is_complete == 0);
    while (is_complete == 0) {
        OK(alluvium_fetches_wait_demanded(fetches, 20, requests, 4, &count, ERROR));
        for (size_t i = 0; i < count; i++)
            bring(fetches, &requests[i]);
        OK(alluvium_ticket_is_complete(ticket, &is_complete, ERROR));
    }
    alluvium_buffer buffer;
    alluvium_slice answer;
    OK(alluvium_buffer_new(&buffer, ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_ticket_poll(ticket, buffer, ERROR));
    OK(alluvium_buffer_data(buffer, &answer, NULL));
    CHECK(answer.len == 13 && u32_at(answer.data + 4) == ALLUVIUM_OK && answer.data[12] == '7');
    OK(alluvium_buffer_free(buffer));
    OK(alluvium_ticket_close(ticket, ERROR));
    /* The thread that read may still be about to look for more. */
    alluvium_status status = ALLUVIUM_BUSY;
    while (status == ALLUVIUM_BUSY) {
        status = alluvium_store_barrier(made.store, &barrier, &pending, ERROR);
        forget_error();
    }
    CHECK(status == ALLUVIUM_OK);
    OK(alluvium_pending_wait(pending, NULL, ERROR));
    OK(alluvium_pending_close(pending, ERROR));
    barrier.reads = 2;
    IS(ALLUVIUM_ARGUMENT, alluvium_store_barrier(made.store, &barrier, &pending, ERROR));
    OK(alluvium_fetches_close(fetches, ERROR));
    tear_down(&made);
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    char home[512], away[512], busy[512], name[32];
    snprintf(home, sizeof home, "%s/home", argv[1]);
    snprintf(away, sizeof away, "%s/away", argv[1]);
    snprintf(busy, sizeof busy, "%s/busy", argv[1]);
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
    OK(alluvium_store_fetches(made.store, &fetches, ERROR));
    size_t absent = 0;
    OK(alluvium_fetches_absent(fetches, &absent, ERROR));
    CHECK(absent == 1);
    OK(alluvium_writer_open(made.store, all_groups(), &made.writer, ERROR));
    values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
    put(made.writer, values, "new", "needs no segment");
    CHECK(has(made.writer, values, "new", "needs no segment"));
    alluvium_key new = by_hash("new");
    OK(alluvium_writer_update(made.writer, values, &new, reenter, &fetches, ERROR));
    in_the_hosts_order(made.store, fetches, values);
    not_now(made.store, fetches, values);

    pthread_t host;
    CHECK(pthread_create(&host, NULL, serve, &fetches) == 0);
    for (uint32_t i = 0; i < KEYS; i++) {
        snprintf(name, sizeof name, "%u", i);
        CHECK(has(made.writer, values, name, name));
    }
    while (absent != 0)
        OK(alluvium_fetches_absent(fetches, &absent, ERROR));
    atomic_store(&stop, 1);
    CHECK(pthread_join(host, NULL) == 0);
    CHECK(atomic_load(&brought) > 0); /* by it alone */
    uint64_t absent_bytes = 1;
    OK(alluvium_fetches_absent_bytes(fetches, &absent_bytes, ERROR));
    CHECK(absent_bytes == 0);
    OK(alluvium_fetches_refuse(fetches, 12345, ALLUVIUM_FAULT_CORRUPT, "no such request", ERROR));
    OK(alluvium_fetches_fail(fetches, 12345, "no such request", ERROR));
    OK(alluvium_fetches_cancel(fetches, ERROR));
    OK(alluvium_fetches_close(fetches, ERROR));
    tear_down(&made);
    reads_in_flight(busy, kept);
    free(manifest);
    for (size_t i = 0; i < files; i++)
        free(remote[i].data);
    return 0;
}
