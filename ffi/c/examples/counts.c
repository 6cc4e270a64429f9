/* Counts words, takes a checkpoint, "crashes", and goes on from the checkpoint.
 *
 *   cc counts.c -o counts $(pkg-config --cflags --libs alluvium)
 *   ./counts DIRECTORY
 */
#include <alluvium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Ends the program with what went wrong. */
static void must(alluvium_status status, alluvium_error *error) {
    if (status >= ALLUVIUM_OK)
        return;
    const char *message = alluvium_status_text(status);
    alluvium_error_get(*error, NULL, NULL, &message);
    fprintf(stderr, "%s\n", message);
    exit(1);
}

/* What becomes of a word's count: there is none yet, or it is one more. */
static int32_t add_one(void *context, size_t index, alluvium_slice old, alluvium_slice *value) {
    uint64_t *count = context;
    (void)index;
    *count = 0;
    if (old.data != NULL)
        memcpy(count, old.data, sizeof *count);
    ++*count;
    value->data = (const uint8_t *)count;
    value->len = sizeof *count;
    return ALLUVIUM_PUT;
}

static alluvium_key word(const char *text) {
    alluvium_key key = {ALLUVIUM_GROUP_BY_HASH, {(const uint8_t *)text, strlen(text)}, {NULL, 0}};
    return key;
}

/* Opens the store in a directory, at its newest checkpoint, and counts some words. */
static void count(const char *directory, const char **words, size_t words_len, uint64_t label) {
    alluvium_error error = {0};
    alluvium_engine engine;
    alluvium_store store;
    alluvium_writer writer;
    uint16_t counts;
    must(alluvium_engine_open(NULL, &engine, &error), &error);
    must(alluvium_store_open_or_create(engine, directory, NULL, &store, &error), &error);

    alluvium_state_options options;
    alluvium_state_options_init(&options);
    options.name = "counts";
    must(alluvium_store_state(store, &options, &counts, &error), &error);

    /* The one writer of all 128 key groups. */
    alluvium_range all = {0, 127};
    must(alluvium_writer_open(store, all, &writer, &error), &error);
    uint64_t memory;
    for (size_t i = 0; i < words_len; i++) {
        alluvium_key key = word(words[i]);
        must(alluvium_writer_update(writer, counts, &key, add_one, &memory, &error), &error);
    }

    /* A checkpoint is cut at once and becomes complete in the background; here it is waited for. */
    alluvium_barrier barrier = {.size = sizeof barrier, .label = label};
    alluvium_pending pending;
    must(alluvium_writer_barrier(writer, &barrier, &pending, &error), &error);
    must(alluvium_pending_wait(pending, NULL, &error), &error);
    alluvium_pending_close(pending, NULL);

    const char *known[] = {"JFK", "LAX", "SEA"};
    for (size_t i = 0; i < 3; i++) {
        alluvium_key key = word(known[i]);
        size_t len = 0;
        memory = 0;
        must(alluvium_writer_get(writer, counts, &key, (uint8_t *)&memory, sizeof memory, &len, &error), &error);
        printf("%s %llu\n", known[i], (unsigned long long)memory);
    }

    /* What is not in a checkpoint is lost when the store is closed, as in a crash. */
    alluvium_key key = word("JFK");
    must(alluvium_writer_update(writer, counts, &key, add_one, &memory, &error), &error);
    must(alluvium_writer_close(writer, &error), &error);
    must(alluvium_store_close(store, &error), &error);
    must(alluvium_engine_close(engine, &error), &error);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
        return 2;
    }
    const char *first[] = {"JFK", "SEA", "JFK"}, *second[] = {"LAX", "JFK", "SEA"};
    count(argv[1], first, 3, 1);
    puts("again, from the checkpoint:");
    count(argv[1], second, 3, 2);
    return 0;
}
