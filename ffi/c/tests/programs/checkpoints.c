/* Checkpoints: what they carry, their whole life, their files and contents, and stores that open at them. */
#include "check.h"
#include <pthread.h>

/* While they are held, segments get no further than their first bytes, so that no checkpoint that has one becomes complete. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int are_held;

static void hold_segments(int held) {
    pthread_mutex_lock(&lock);
    are_held = held;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void take(void *context, const char *name, uint64_t offset, const uint8_t *data, size_t len) {
    (void)context, (void)name, (void)offset, (void)data, (void)len;
    pthread_mutex_lock(&lock);
    while (are_held)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static void is_whole(void *context, const char *name, uint64_t len) { (void)context, (void)name, (void)len; }

static void is_abandoned(void *context, const char *name) { (void)context, (void)name; }

/* A checkpoint, waited for: of how many segments it is, and of how many records. */
typedef struct {
    uint64_t segments;
    size_t records;
} extent;

static extent checkpoint_of(alluvium_store store, uint64_t label) {
    alluvium_barrier barrier = {.size = sizeof barrier, .label = label};
    alluvium_numbers numbers = {.size = sizeof numbers};
    alluvium_pending pending;
    alluvium_info info;
    alluvium_iterator iterator;
    alluvium_item item;
    size_t records = 0;
    OK(alluvium_store_barrier(store, &barrier, &pending, ERROR));
    OK(alluvium_pending_wait(pending, &info, ERROR));
    OK(alluvium_info_numbers(info, &numbers, ERROR));
    OK(alluvium_info_close(info, ERROR));
    OK(alluvium_pending_close(pending, ERROR));
    OK(alluvium_store_iterate(store, label, &iterator, ERROR));
    while (alluvium_iterator_next(iterator, &item, ERROR) == ALLUVIUM_OK)
        records++;
    IS(ALLUVIUM_NOT_FOUND, alluvium_iterator_next(iterator, &item, ERROR));
    OK(alluvium_iterator_close(iterator, ERROR));
    return (extent){numbers.segments, records};
}

/* Compacting merges all segments into one, and leaves out what has expired. */
static void compacts(const char *directory) {
    char path[512];
    snprintf(path, sizeof path, "%s/compacted", directory);
    fixture made = set_up(path, NULL);
    uint16_t values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
    uint16_t brief = expiring(made.store, "brief", ALLUVIUM_KIND_VALUE, 100);
    OK(alluvium_writer_set_time(made.writer, 1000, ERROR));
    put(made.writer, values, "JFK", "1");
    put(made.writer, brief, "JFK", "1");
    extent before = checkpoint_of(made.store, 1);
    CHECK(before.segments == 1 && before.records == 2);
    put(made.writer, values, "SEA", "2");
    before = checkpoint_of(made.store, 2);
    CHECK(before.segments == 2 && before.records == 3);
    OK(alluvium_writer_set_time(made.writer, 2000, ERROR));
    OK(alluvium_store_compact(made.store, ERROR));
    extent after = checkpoint_of(made.store, 3);
    CHECK(after.segments == 1 && after.records == 2);
    CHECK(has(made.writer, values, "JFK", "1") && has(made.writer, values, "SEA", "2"));
    tear_down(&made);
}

/* An iterator that comes to damage never says that it is at the end. */
static void comes_to_damage(const char *directory) {
    char path[512], damaged[600];
    snprintf(path, sizeof path, "%s/damaged", directory);
    fixture made = set_up(path, NULL);
    alluvium_files files;
    alluvium_file file;
    alluvium_iterator iterator;
    alluvium_item item;
    put(made.writer, state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL), "JFK", "1");
    checkpoint(made.store, 1);
    OK(alluvium_store_files(made.store, 1, &files, ERROR));
    OK(alluvium_files_get(files, 0, &file, ERROR));
    OK(alluvium_files_close(files, ERROR));
    snprintf(damaged, sizeof damaged, "%s/%s", path, file.name);
    FILE *segment = fopen(damaged, "r+b");
    CHECK(segment != NULL);
    for (uint64_t at = 0; at < file.bytes; at++)
        CHECK(fputc(0, segment) == 0);
    CHECK(fclose(segment) == 0);
    OK(alluvium_store_iterate(made.store, 1, &iterator, ERROR));
    for (int i = 0; i < 3; i++) {
        alluvium_error error = {0};
        int32_t class_ = ALLUVIUM_CLASS_NONE;
        CHECK(alluvium_iterator_next(iterator, &item, &error) == ALLUVIUM_CORRUPT);
        OK(alluvium_error_get(error, NULL, &class_, NULL));
        CHECK(class_ == ALLUVIUM_CLASS_CORRUPT);
        OK(alluvium_error_free(error));
    }
    OK(alluvium_iterator_close(iterator, ERROR));
    tear_down(&made);
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    char path[512], exported[512];
    snprintf(path, sizeof path, "%s/store", argv[1]);
    snprintf(exported, sizeof exported, "%s/exported", argv[1]);
    alluvium_store_options options;
    OK(alluvium_store_options_init(&options));
    options.host_retention = 1;
    options.retained_checkpoints = 2;
    alluvium_segment_sink sink = {.write = take, .complete = is_whole, .abandon = is_abandoned};
    options.sink = &sink;
    fixture made = set_up(path, &options);
    uint16_t values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
    uint16_t lists = state_of(made.store, "lists", ALLUVIUM_KIND_LIST, NULL);
    put(made.writer, values, "JFK", "1");
    alluvium_key key = by_hash("SEA");
    OK(alluvium_writer_append(made.writer, lists, &key, text("a"), ERROR));
    OK(alluvium_writer_append(made.writer, lists, &key, text("bc"), ERROR));

    /* Offsets and metadata. */
    alluvium_offset offsets[] = {{{0, 63}, text("partition 0: 17")}, {{64, 127}, text("partition 1: 4")}};
    alluvium_barrier barrier = {.size = sizeof barrier, .label = 7, .offsets = offsets, .offsets_len = 2, .metadata = text("job 3")};
    alluvium_pending pending;
    alluvium_info info;
    OK(alluvium_writer_barrier(made.writer, &barrier, &pending, ERROR));
    put(made.writer, values, "JFK", "2"); /* later, so not in it */
    IS(ALLUVIUM_HAS_CHILDREN, alluvium_store_close(made.store, ERROR));
    uint64_t label = 0;
    OK(alluvium_pending_label(pending, &label, ERROR));
    CHECK(label == 7);
    IS(ALLUVIUM_NULL, alluvium_pending_label(pending, NULL, ERROR));
    IS(ALLUVIUM_HANDLE, alluvium_pending_label((alluvium_pending){made.store.id}, &label, ERROR));
    OK(alluvium_pending_wait(pending, &info, ERROR));
    alluvium_numbers numbers = {.size = sizeof numbers};
    alluvium_slice metadata;
    alluvium_offset offset;
    OK(alluvium_info_numbers(info, &numbers, ERROR));
    CHECK(numbers.label == 7 && numbers.offsets == 2 && numbers.segments == 1 && numbers.new_segments == 1 && numbers.total_bytes > 0);
    OK(alluvium_info_metadata(info, &metadata, ERROR));
    CHECK(same(metadata, "job 3"));
    OK(alluvium_info_offset(info, 1, &offset, ERROR));
    CHECK(offset.range.first == 64 && offset.range.last == 127 && same(offset.offset, "partition 1: 4"));
    IS(ALLUVIUM_NOT_FOUND, alluvium_info_offset(info, 2, &offset, ERROR));
    OK(alluvium_info_close(info, ERROR));
    OK(alluvium_pending_poll(pending, NULL, ERROR));
    OK(alluvium_pending_close(pending, ERROR));
    OK(alluvium_store_confirm(made.store, 7, ERROR));

    /* The files, from which the store can be put together elsewhere. */
    alluvium_files files;
    alluvium_file file;
    OK(alluvium_store_files(made.store, 7, &files, ERROR));
    OK(alluvium_files_info(files, &info, ERROR));
    OK(alluvium_info_numbers(info, &numbers, ERROR));
    CHECK(numbers.label == 7 && numbers.segments == 1);
    OK(alluvium_info_close(info, ERROR));
    IS(ALLUVIUM_NULL, alluvium_files_info(files, NULL, ERROR));
    IS(ALLUVIUM_HANDLE, alluvium_files_info((alluvium_files){made.store.id}, &info, ERROR));
    size_t count = 0;
    uint64_t total = 0;
    uint8_t *content = NULL; /* of the last one */
    while (alluvium_files_get(files, count, &file, ERROR) == ALLUVIUM_OK) {
        CHECK(strlen(file.name) > 10 && file.shared == 0);
        free(content);
        content = malloc(file.bytes);
        OK(alluvium_files_read(files, count, 0, content, file.bytes, ERROR));
        IS(ALLUVIUM_ARGUMENT, alluvium_files_read(files, count, file.bytes - 1, content, 2, ERROR));
        IS(ALLUVIUM_ARGUMENT, alluvium_files_read(files, count, UINT64_MAX, content, 2, ERROR));
        total += file.bytes;
        count++;
    }
    CHECK(count == 2 && total == numbers.total_bytes);
    alluvium_slice manifest;
    OK(alluvium_files_manifest(files, &manifest, ERROR));
    CHECK(manifest.len == file.bytes && memcmp(manifest.data, content, manifest.len) == 0);
    free(content);
    OK(alluvium_files_close(files, ERROR));

    /* What is in it. */
    alluvium_iterator iterator;
    alluvium_item item;
    int seen_value = 0, seen_list = 0;
    OK(alluvium_store_iterate(made.store, 7, &iterator, ERROR));
    while (alluvium_iterator_next(iterator, &item, ERROR) == ALLUVIUM_OK) {
        CHECK(item.is_entry == 0 && item.expiry_ms == UINT64_MAX && item.ns.len == 0);
        if (item.state == values) {
            CHECK(same(item.key, "JFK") && same(item.value, "1"));
            seen_value++;
        } else {
            CHECK(item.state == lists && same(item.key, "SEA"));
            alluvium_slice rest = item.value;
            CHECK(same(take_element(&rest), "a") && same(take_element(&rest), "bc") && rest.len == 0);
            seen_list++;
        }
    }
    CHECK(seen_value == 1 && seen_list == 1);
    OK(alluvium_iterator_close(iterator, ERROR));
    IS(ALLUVIUM_CHECKPOINT, alluvium_store_iterate(made.store, 99, &iterator, ERROR));

    /* Words about checkpoints, in any order. */
    checkpoint(made.store, 8);
    OK(alluvium_store_files(made.store, 8, &files, ERROR));
    size_t shared = 0, all = 0;
    for (; alluvium_files_get(files, all, &file, ERROR) == ALLUVIUM_OK; all++)
        shared += file.shared;
    CHECK(all == 3 && shared == 1); /* the segment of 7, which is confirmed */
    OK(alluvium_files_close(files, ERROR));
    OK(alluvium_store_confirm(made.store, 8, ERROR));
    OK(alluvium_store_confirm(made.store, 8, ERROR));
    OK(alluvium_store_confirm(made.store, 12345, ERROR));
    kept_are(made.store, 2, (const uint64_t[]){7, 8});
    OK(alluvium_store_subsume(made.store, 7, ERROR));
    kept_are(made.store, 1, (const uint64_t[]){8});

    /* One that is given up on its way never comes to be; its changes are in the next one. */
    put(made.writer, values, "ORD", "joins the next one");
    hold_segments(1);
    barrier = (alluvium_barrier){.size = sizeof barrier, .label = 9};
    OK(alluvium_store_barrier(made.store, &barrier, &pending, ERROR));
    IS(ALLUVIUM_PENDING, alluvium_pending_poll(pending, NULL, ERROR));
    OK(alluvium_pending_abort(pending, ERROR));
    IS(ALLUVIUM_CHECKPOINT, alluvium_pending_wait(pending, NULL, ERROR));
    IS(ALLUVIUM_CHECKPOINT, alluvium_pending_poll(pending, NULL, ERROR));
    hold_segments(0);
    OK(alluvium_store_abort(made.store, 9, ERROR));
    kept_are(made.store, 1, (const uint64_t[]){8});
    IS(ALLUVIUM_CHECKPOINT, alluvium_pending_wait(pending, NULL, ERROR));
    OK(alluvium_pending_close(pending, ERROR));

    /* One that is complete already stays so, and goes as soon as there is a younger one. */
    barrier.label = 11;
    OK(alluvium_store_barrier(made.store, &barrier, &pending, ERROR));
    OK(alluvium_pending_wait(pending, NULL, ERROR));
    OK(alluvium_pending_abort(pending, ERROR));
    OK(alluvium_pending_wait(pending, NULL, ERROR));
    OK(alluvium_pending_close(pending, ERROR));
    kept_are(made.store, 2, (const uint64_t[]){8, 11});
    checkpoint(made.store, 10);
    kept_are(made.store, 2, (const uint64_t[]){8, 10});

    /* What is retained stays until it is released; the newest one in any case. */
    OK(alluvium_store_retain(made.store, 8, ERROR));
    OK(alluvium_store_subsume(made.store, 8, ERROR));
    kept_are(made.store, 2, (const uint64_t[]){8, 10});
    OK(alluvium_store_release(made.store, 8, ERROR));
    kept_are(made.store, 1, (const uint64_t[]){10});
    OK(alluvium_store_retain(made.store, 10, ERROR));
    OK(alluvium_store_release(made.store, 10, ERROR));
    kept_are(made.store, 1, (const uint64_t[]){10});
    IS(ALLUVIUM_CHECKPOINT, alluvium_store_retain(made.store, 8, ERROR));
    IS(ALLUVIUM_CHECKPOINT, alluvium_store_release(made.store, 8, ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_store_restored(made.store, &info, ERROR));
    OK(alluvium_store_compact(made.store, ERROR));

    /* Exported, and opened again, here and there. */
    char command[1100];
    snprintf(command, sizeof command, "mkdir %s", exported);
    CHECK(system(command) == 0);
    OK(alluvium_store_export(made.store, 10, exported, ERROR));
    put(made.writer, values, "JFK", "lost");
    tear_down(&made);
    const char *places[] = {path, exported};
    for (size_t i = 0; i < 2; i++) {
        made.engine = small_engine();
        if (i == 0)
            OK(alluvium_store_open(made.engine, places[i], NULL, &made.store, ERROR));
        else
            OK(alluvium_store_open_checkpoint(made.engine, places[i], 10, NULL, &made.store, ERROR));
        alluvium_store second;
        IS(ALLUVIUM_LOCKED, alluvium_store_open(made.engine, places[i], NULL, &second, ERROR));
        OK(alluvium_store_restored(made.store, &info, ERROR));
        OK(alluvium_info_numbers(info, &numbers, ERROR));
        CHECK(numbers.label == 10);
        OK(alluvium_info_close(info, ERROR));
        OK(alluvium_writer_open(made.store, all_groups(), &made.writer, ERROR));
        values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
        CHECK(has(made.writer, values, "JFK", "2") && has(made.writer, values, "ORD", "joins the next one"));
        tear_down(&made);
    }

    compacts(argv[1]);
    comes_to_damage(argv[1]);

    made.engine = small_engine();
    IS(ALLUVIUM_NO_CHECKPOINT, alluvium_store_open(made.engine, "/nowhere/at/all", NULL, &made.store, ERROR));
    OK(alluvium_engine_close(made.engine, ERROR));
    return 0;
}
