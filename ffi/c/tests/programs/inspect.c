/* Looking at a directory without opening it, and a seed that the host chose. */
#include "check.h"
#include <dirent.h>
#include <stddef.h>

/* The path of the only file whose name ends so. */
static void find(const char *directory, const char *suffix, char *path, size_t capacity) {
    DIR *listing = opendir(directory);
    CHECK(listing != NULL);
    path[0] = 0;
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;) {
        size_t len = strlen(entry->d_name);
        if (len < strlen(suffix) || strcmp(entry->d_name + len - strlen(suffix), suffix) != 0)
            continue;
        CHECK(path[0] == 0);
        CHECK((size_t)snprintf(path, capacity, "%s/%s", directory, entry->d_name) < capacity);
    }
    closedir(listing);
    CHECK(path[0] != 0);
}

static size_t read_all(const char *path, uint8_t *content, size_t capacity) {
    FILE *file = fopen(path, "rb");
    CHECK(file != NULL);
    size_t len = fread(content, 1, capacity, file);
    CHECK(len < capacity && fclose(file) == 0);
    return len;
}

/* Turns over one bit in the middle of a file. */
static void damage(const char *path) {
    FILE *file = fopen(path, "r+b");
    CHECK(file != NULL && fseek(file, 0, SEEK_END) == 0);
    long middle = ftell(file) / 2;
    CHECK(fseek(file, middle, SEEK_SET) == 0);
    int byte = fgetc(file);
    CHECK(byte != EOF && fseek(file, middle, SEEK_SET) == 0 && fputc(byte ^ 1, file) != EOF && fclose(file) == 0);
}

/* The text in a buffer, and how many lines it has, as the buffer says. */
static size_t lines_of(alluvium_buffer buffer, char *text, size_t capacity) {
    alluvium_slice data;
    size_t records = 0, lines = 0;
    OK(alluvium_buffer_data(buffer, &data, &records));
    CHECK(data.len < capacity);
    memcpy(text, data.data, data.len);
    text[data.len] = 0;
    for (size_t at = 0; at < data.len; at++)
        lines += text[at] == '\n';
    CHECK(lines == records);
    return lines;
}

/* What a directory holds, and what takes how much of it. */
static void described(const char *directory) {
    static char path[4096], text[1 << 16];
    alluvium_buffer buffer;
    OK(alluvium_buffer_new(&buffer, ERROR));
    CHECK((size_t)snprintf(path, sizeof path, "%s/described", directory) < sizeof path);
    IS(ALLUVIUM_NULL, alluvium_describe(NULL, buffer, ERROR));
    IS(ALLUVIUM_NULL, alluvium_usage(NULL, NULL, buffer, ERROR));
    CHECK(alluvium_describe(path, buffer, ERROR) < 0);
    forget_error();
    CHECK(alluvium_usage(path, NULL, buffer, ERROR) < 0);
    forget_error();

    fixture made = set_up(path, NULL);
    uint16_t values = state_of(made.store, "with\ttab", ALLUVIUM_KIND_VALUE, NULL);
    uint16_t sums = state_of(made.store, "sums", ALLUVIUM_KIND_MERGING, "u64-add");
    uint64_t label = 7;
    /* Before there is one. */
    IS(ALLUVIUM_NO_CHECKPOINT, alluvium_usage(path, NULL, buffer, ERROR));
    IS(ALLUVIUM_CHECKPOINT, alluvium_usage(path, &label, buffer, ERROR));
    uint8_t one[8] = {1};
    for (int i = 0; i < 100; i++) {
        char name[16];
        snprintf(name, sizeof name, "%03d", i);
        alluvium_key key = by_hash(name);
        OK(alluvium_writer_put(made.writer, values, &key, bytes("1234567", 7), ERROR));
        if (i < 50)
            OK(alluvium_writer_merge(made.writer, sums, &key, bytes(one, 8), ERROR));
    }
    checkpoint(made.store, label);

    /* Also while it is open. */
    OK(alluvium_describe(path, buffer, ERROR));
    CHECK(lines_of(buffer, text, sizeof text) >= 6);
    CHECK(strstr(text, "state\t0\t0\twith\\ttab\t\n") != NULL && strstr(text, "state\t1\t3\tsums\tu64-add\n") != NULL);
    CHECK(strstr(text, "file\tlock\t") != NULL && strstr(text, "file\tsegment\t") != NULL && strstr(text, "file\tmanifest\t") != NULL);
    char *last = NULL;
    for (char *at = text; (at = strstr(at, "manifest\t")) != NULL; at++)
        if (at == text || at[-1] == '\n')
            last = at;
    unsigned long long number, found, created;
    unsigned groups, first, end, segments, position;
    CHECK(last != NULL);
    CHECK(sscanf(last, "manifest\t%llu\t%llu\t%llu\t%u\t%u\t%u\t%u\t%u\n", &number, &found, &created, &groups, &first, &end, &segments, &position) == 8);
    CHECK(number > 0 && found == 7 && created > 1500000000000 && groups == 128 && first == 0 && end == 127 && segments == 1 && position == 0);

    OK(alluvium_usage(path, NULL, buffer, ERROR));
    CHECK(lines_of(buffer, text, sizeof text) == 2);
    CHECK(strcmp(text, "with\\ttab\t0\t0\t1\t100\t0\t1000\nsums\t3\t0\t1\t50\t0\t550\n") == 0);
    OK(alluvium_usage(path, &label, buffer, ERROR));
    CHECK(lines_of(buffer, text, sizeof text) == 2);
    IS(ALLUVIUM_HANDLE, alluvium_usage(path, NULL, (alluvium_buffer){made.store.id}, ERROR));
    label = 8;
    /* Nothing of what was there before stays where a call fails. */
    IS(ALLUVIUM_CHECKPOINT, alluvium_usage(path, &label, buffer, ERROR));
    CHECK(lines_of(buffer, text, sizeof text) == 0);
    OK(alluvium_writer_close(made.writer, ERROR));
    OK(alluvium_store_close(made.store, ERROR));
    OK(alluvium_engine_close(made.engine, ERROR));

    /* A manifest that is damaged is told of, and the others all the same. */
    static char manifest[4096];
    find(path, ".manifest", manifest, sizeof manifest);
    damage(manifest);
    OK(alluvium_describe(path, buffer, ERROR));
    lines_of(buffer, text, sizeof text);
    CHECK(strstr(text, "unreadable\t") != NULL && strstr(text, "file\torphan\t") != NULL);
    OK(alluvium_buffer_free(buffer));
    IS(ALLUVIUM_HANDLE, alluvium_describe(path, buffer, ERROR));
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    const char *directory = argv[1];
    const uint64_t seed = UINT64_C(0x0123456789abcdef);
    alluvium_store_options options;
    OK(alluvium_store_options_init(&options));
    CHECK(options.hash_seed == NULL);
    options.hash_seed = &seed;

    /* A program that was compiled before there was a seed doesn't give one: what lies behind its options is not looked at. */
    char older[4096];
    CHECK((size_t)snprintf(older, sizeof older, "%s/older", directory) < sizeof older);
    alluvium_store_options old = options;
    old.size = (uint32_t)offsetof(alluvium_store_options, hash_seed);
    old.hash_seed = (const uint64_t *)(uintptr_t)1;
    fixture before = set_up(older, &old);
    tear_down(&before);
    alluvium_engine engine = small_engine();
    alluvium_store none;
    old.size -= 1;
    IS(ALLUVIUM_ABI, alluvium_store_create(engine, older, &old, &none, ERROR));
    old.size = sizeof old + 8;
    IS(ALLUVIUM_ABI, alluvium_store_create(engine, older, &old, &none, ERROR));
    OK(alluvium_engine_close(engine, ERROR));

    char directory_of_seed[4096];
    CHECK((size_t)snprintf(directory_of_seed, sizeof directory_of_seed, "%s/seeded", directory) < sizeof directory_of_seed);
    directory = directory_of_seed;
    fixture made = set_up(directory, &options);
    uint16_t values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
    for (int i = 0; i < 1000; i++) {
        char name[16];
        snprintf(name, sizeof name, "key %d", i);
        alluvium_key key = by_hash(name);
        OK(alluvium_writer_put(made.writer, values, &key, text("a value"), ERROR));
    }
    checkpoint(made.store, 1);

    /* An open store is looked at as well; here nothing changes meanwhile. */
    alluvium_buffer buffer;
    alluvium_slice found;
    uint64_t faults = 99;
    OK(alluvium_buffer_new(&buffer, ERROR));
    OK(alluvium_verify(directory, &faults, buffer, ERROR));
    CHECK(faults == 0);
    OK(alluvium_buffer_free(buffer));
    tear_down(&made);
    OK(alluvium_buffer_new(&buffer, ERROR));
    OK(alluvium_verify(directory, &faults, buffer, ERROR));
    CHECK(faults == 0);
    OK(alluvium_buffer_data(buffer, &found, NULL));
    CHECK(found.len == 0);

    /* The manifest has the seed. */
    static uint8_t content[1 << 16];
    uint8_t wanted[8];
    char manifest[4096], segment[4096];
    put_u64(wanted, seed);
    find(directory, ".manifest", manifest, sizeof manifest);
    size_t len = read_all(manifest, content, sizeof content), at = 0;
    while (at + 8 <= len && memcmp(content + at, wanted, 8) != 0)
        at++;
    CHECK(at + 8 <= len);

    /* One bit is noticed, and where. */
    find(directory, ".segment", segment, sizeof segment);
    damage(segment);
    OK(alluvium_verify(directory, &faults, buffer, ERROR));
    CHECK(faults == 1);
    OK(alluvium_buffer_data(buffer, &found, NULL));
    CHECK(found.len > 6 && memcmp(found.data, "fault\t", 6) == 0);
    CHECK(strncmp((const char *)found.data + 6, segment, strlen(segment)) == 0 && found.data[6 + strlen(segment)] == '\t');

    IS(ALLUVIUM_NULL, alluvium_verify(NULL, &faults, buffer, ERROR));
    IS(ALLUVIUM_NULL, alluvium_verify(directory, NULL, buffer, ERROR));
    CHECK(alluvium_verify("/nowhere/at/all", &faults, buffer, ERROR) < 0);
    forget_error();
    OK(alluvium_buffer_free(buffer));
    IS(ALLUVIUM_HANDLE, alluvium_verify(directory, &faults, buffer, ERROR));
    described(argv[1]);
    return 0;
}
