/* Structures that begin with their own size are given with every length that there could be: `lengths.h` has those that there were, by sized.rs. Behind
 * what a program knows lies what nobody may look at. */
#include "check.h"
#include "lengths.h"

enum { BYTES = 1024, LONGER = 64 };

static fixture made;
static alluvium_info info;
static const char *directory;
static _Alignas(16) uint8_t given[BYTES];

/* Has `whole` begin what is given, as far as that is long, and says the length. */
static void give(const void *whole, size_t whole_len, size_t len) {
    uint32_t size = (uint32_t)len;
    memset(given, 0xff, sizeof given);
    memcpy(given, whole, len < whole_len ? len : whole_len);
    memcpy(given, &size, sizeof size);
}

static alluvium_status as_engine_options(size_t len) {
    alluvium_engine_options options;
    alluvium_engine engine;
    OK(alluvium_engine_options_init(&options));
    options.memory_budget_bytes = 4 << 20;
    give(&options, sizeof options, len);
    alluvium_status status = alluvium_engine_open((const alluvium_engine_options *)given, &engine, ERROR);
    if (status == ALLUVIUM_OK)
        OK(alluvium_engine_close(engine, ERROR));
    return status;
}

static alluvium_status as_store_options(size_t len) {
    alluvium_store_options options;
    alluvium_store store;
    char path[512];
    snprintf(path, sizeof path, "%s/%zu", directory, len);
    OK(alluvium_store_options_init(&options));
    give(&options, sizeof options, len);
    alluvium_status status = alluvium_store_create(made.engine, path, (const alluvium_store_options *)given, &store, ERROR);
    if (status == ALLUVIUM_OK)
        OK(alluvium_store_close(store, ERROR));
    return status;
}

static alluvium_status as_state_options(size_t len) {
    alluvium_state_options options;
    uint16_t state;
    char name[32];
    snprintf(name, sizeof name, "of %zu bytes", len);
    OK(alluvium_state_options_init(&options));
    options.name = name;
    give(&options, sizeof options, len);
    return alluvium_store_state(made.store, (const alluvium_state_options *)given, &state, ERROR);
}

static alluvium_status as_barrier(size_t len) {
    alluvium_barrier barrier = {.label = len};
    alluvium_pending pending;
    give(&barrier, sizeof barrier, len);
    alluvium_status status = alluvium_writer_barrier(made.writer, (const alluvium_barrier *)given, &pending, ERROR);
    if (status == ALLUVIUM_OK) {
        OK(alluvium_pending_wait(pending, NULL, ERROR));
        OK(alluvium_pending_close(pending, ERROR));
    }
    return status;
}

static alluvium_status as_numbers(size_t len) {
    alluvium_numbers numbers = {0};
    give(&numbers, sizeof numbers, len);
    alluvium_status status = alluvium_info_numbers(info, (alluvium_numbers *)given, ERROR);
    /* Nothing is left behind what the program knows. */
    for (size_t at = len < sizeof(uint32_t) ? sizeof(uint32_t) : len; at < sizeof given; at++)
        CHECK(given[at] == 0xff);
    return status;
}

/* Lengths that there were are understood, all others refused. */
static void tries(const char *structure, alluvium_status (*call)(size_t), size_t whole_len, const size_t *lengths, size_t lengths_len) {
    size_t understood = 0;
    for (size_t len = 0; len <= whole_len + LONGER; len++) {
        int is_known = 0;
        for (size_t i = 0; i < lengths_len; i++)
            is_known |= lengths[i] == len;
        alluvium_status status = call(len);
        if (status != (is_known ? ALLUVIUM_OK : ALLUVIUM_ABI)) {
            fprintf(stderr, "%s of %zu bytes:\n", structure, len);
            complain(__FILE__, __LINE__, "it", status, is_known ? ALLUVIUM_OK : ALLUVIUM_ABI);
        }
        forget_error();
        understood += is_known;
    }
    CHECK(understood == lengths_len && lengths_len > 0 && lengths[lengths_len - 1] == whole_len);
}
#define TRY(structure, call) \
    tries(#structure, call, sizeof(structure), lengths_of_##structure, sizeof lengths_of_##structure / sizeof *lengths_of_##structure)

int main(int argc, char **argv) {
    CHECK(argc == 2);
    char path[512];
    directory = argv[1];
    snprintf(path, sizeof path, "%s/store", directory);
    made = set_up(path, NULL);
    checkpoint(made.store, 1);
    OK(alluvium_store_checkpoint(made.store, 0, &info, ERROR));
    TRY(alluvium_engine_options, as_engine_options);
    TRY(alluvium_store_options, as_store_options);
    TRY(alluvium_state_options, as_state_options);
    TRY(alluvium_barrier, as_barrier);
    TRY(alluvium_numbers, as_numbers);
    OK(alluvium_info_close(info, ERROR));
    tear_down(&made);
    return 0;
}
