/* Statuses and classes by which a program decides how to go on: what is in the way, too large, damaged, or has failed for good. */
#include "check.h"
#include <dirent.h>

/* A call fails so, and its error says the same, and what can be done about it. */
static void fails(alluvium_status wanted, int32_t wanted_class, alluvium_status got) {
    alluvium_status status = ALLUVIUM_OK;
    int32_t class_ = ALLUVIUM_CLASS_NONE;
    const char *message = "";
    CHECK(last_error.id != 0);
    CHECK(alluvium_error_get(last_error, &status, &class_, &message) == ALLUVIUM_OK);
    if (got != wanted || status != got || class_ != wanted_class || strlen(message) == 0) {
        fprintf(stderr, "%d, not %d, by the error %d, of class %d, not %d: %s\n", got, wanted, status, class_, wanted_class, message);
        exit(1);
    }
}
#define FAILS(status, class_, call)            \
    do {                                       \
        forget_error();                        \
        alluvium_status got_ = (call);         \
        fails((status), (class_), got_);       \
        forget_error();                        \
    } while (0)

static void in(char *path, size_t capacity, const char *directory, const char *name) {
    CHECK((size_t)snprintf(path, capacity, "%s/%s", directory, name) < capacity);
}

/* Where there is a store none is created, whether it is open or not, and the one that is there stays as it was. */
static void exists(const char *directory) {
    char path[512];
    alluvium_store second = {0};
    in(path, sizeof path, directory, "exists");
    fixture made = set_up(path, NULL);
    put(made.writer, state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL), "JFK", "1");
    checkpoint(made.store, 1);
    FAILS(ALLUVIUM_LOCKED, ALLUVIUM_CLASS_RETRY, alluvium_store_create(made.engine, path, NULL, &second, ERROR));
    tear_down(&made);
    made.engine = small_engine();
    FAILS(ALLUVIUM_EXISTS, ALLUVIUM_CLASS_USAGE, alluvium_store_create(made.engine, path, NULL, &second, ERROR));
    CHECK(second.id == 0);
    OK(alluvium_store_open(made.engine, path, NULL, &made.store, ERROR));
    OK(alluvium_writer_open(made.store, all_groups(), &made.writer, ERROR));
    CHECK(has(made.writer, state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL), "JFK", "1"));
    tear_down(&made);
}

/* A value for which memory has no room, not even with everything else on disk, is refused, and nothing is done. */
static void too_large(const char *directory) {
    enum { LARGE = 32 << 20 };
    char path[512];
    uint8_t memory[8], *large = calloc(1, LARGE);
    size_t len = 9;
    in(path, sizeof path, directory, "large");
    fixture made = set_up(path, NULL);
    uint16_t values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
    alluvium_key key = by_hash("large");
    put(made.writer, values, "JFK", "1");
    FAILS(ALLUVIUM_BUDGET, ALLUVIUM_CLASS_RETRY, alluvium_writer_put(made.writer, values, &key, bytes(large, LARGE), ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_writer_get(made.writer, values, &key, memory, sizeof memory, &len, ERROR));
    put(made.writer, values, "SEA", "2");
    CHECK(has(made.writer, values, "JFK", "1") && has(made.writer, values, "SEA", "2"));
    free(large);
    tear_down(&made);
}

/* Writes zeros over every file of a directory whose name ends so. */
static void damage(const char *directory, const char *suffix) {
    char path[1024];
    size_t found = 0;
    DIR *listing = opendir(directory);
    CHECK(listing != NULL);
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;) {
        size_t len = strlen(entry->d_name);
        if (len < strlen(suffix) || strcmp(entry->d_name + len - strlen(suffix), suffix) != 0)
            continue;
        in(path, sizeof path, directory, entry->d_name);
        FILE *file = fopen(path, "r+b");
        CHECK(file != NULL && fseek(file, 0, SEEK_END) == 0);
        long bytes_there = ftell(file);
        CHECK(bytes_there > 0 && fseek(file, 0, SEEK_SET) == 0);
        for (long at = 0; at < bytes_there; at++)
            CHECK(fputc(0, file) == 0);
        CHECK(fclose(file) == 0);
        found++;
    }
    closedir(listing);
    CHECK(found > 0);
}

/* Damage is noticed where it is come to: of what describes the store when that is opened, of what it holds when that is read. */
static void damaged(const char *directory) {
    char path[512];
    alluvium_key key = by_hash("JFK");
    for (int of_manifests = 0; of_manifests < 2; of_manifests++) {
        in(path, sizeof path, directory, of_manifests ? "manifests" : "segments");
        fixture made = set_up(path, NULL);
        put(made.writer, state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL), "JFK", "1");
        checkpoint(made.store, 1);
        tear_down(&made);
        damage(path, of_manifests ? ".manifest" : ".segment");
        made.engine = small_engine();
        alluvium_status opened = alluvium_store_open(made.engine, path, NULL, &made.store, ERROR);
        if (of_manifests) {
            fails(ALLUVIUM_CORRUPT, ALLUVIUM_CLASS_CORRUPT, opened);
            forget_error();
            OK(alluvium_engine_close(made.engine, ERROR));
            continue;
        }
        OK(opened);
        uint8_t memory[8];
        size_t len;
        OK(alluvium_writer_open(made.store, all_groups(), &made.writer, ERROR));
        uint16_t values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
        FAILS(ALLUVIUM_CORRUPT, ALLUVIUM_CLASS_CORRUPT, alluvium_writer_get(made.writer, values, &key, memory, sizeof memory, &len, ERROR));
        tear_down(&made);
    }
}

static void makes_nothing(void *context, alluvium_slice older, alluvium_slice newer, alluvium_output output) {
    (void)context, (void)older;
    output.write(output.context, newer.data, SIZE_MAX);
}

/* A writer whose operator can't be trusted is of no use any more: its task has to recover. */
static void fails_for_good(const char *directory) {
    char path[512];
    in(path, sizeof path, directory, "fails");
    fixture made = set_up(path, NULL);
    alluvium_state_options options;
    OK(alluvium_state_options_init(&options));
    options.name = "merged";
    options.kind = ALLUVIUM_KIND_MERGING;
    options.merge_name = "nothing";
    options.merge = makes_nothing;
    uint16_t merged, values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
    uint8_t memory[8];
    size_t len;
    alluvium_key key = by_hash("JFK");
    OK(alluvium_store_state(made.store, &options, &merged, ERROR));
    OK(alluvium_writer_merge(made.writer, merged, &key, text("a"), ERROR));
    if (alluvium_writer_merge(made.writer, merged, &key, text("b"), ERROR) == ALLUVIUM_OK)
        FAILS(ALLUVIUM_PANIC, ALLUVIUM_CLASS_FAIL, alluvium_writer_get(made.writer, merged, &key, memory, sizeof memory, &len, ERROR));
    FAILS(ALLUVIUM_PANIC, ALLUVIUM_CLASS_FAIL, alluvium_writer_put(made.writer, values, &key, text("x"), ERROR));
    OK(alluvium_writer_close(made.writer, ERROR));
    alluvium_status closed = alluvium_store_close(made.store, ERROR);
    CHECK(closed == ALLUVIUM_OK || closed == ALLUVIUM_BACKGROUND);
    if (closed != ALLUVIUM_OK)
        fails(ALLUVIUM_BACKGROUND, ALLUVIUM_CLASS_FAIL, closed);
    forget_error();
    OK(alluvium_engine_close(made.engine, ERROR));
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    exists(argv[1]);
    too_large(argv[1]);
    damaged(argv[1]);
    fails_for_good(argv[1]);
    return 0;
}
