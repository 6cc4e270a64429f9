/* Transactions: what is staged is seen by nobody else, and is committed or undone as one. */
#include "check.h"

int main(int argc, char **argv) {
    CHECK(argc == 2);
    alluvium_store_options options;
    OK(alluvium_store_options_init(&options));
    options.transactional = 1;
    options.staged_bytes_max = 1 << 20;
    fixture made = set_up(argv[1], &options);
    uint16_t values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
    alluvium_key key = by_hash("JFK");
    alluvium_reader committed, all;
    uint8_t memory[64];
    size_t len;
    OK(alluvium_reader_open(made.store, 1, &committed, ERROR));
    OK(alluvium_reader_open(made.store, 0, &all, ERROR));

    put(made.writer, values, "JFK", "1");
    uint64_t staged = 0;
    OK(alluvium_store_staged_bytes(made.store, &staged, ERROR));
    CHECK(staged > 0);
    IS(ALLUVIUM_NOT_FOUND, alluvium_reader_get(committed, values, &key, memory, sizeof memory, &len, ERROR));
    OK(alluvium_reader_get(all, values, &key, memory, sizeof memory, &len, ERROR));
    alluvium_offset offset = {{0, 127}, text("at 1")};
    alluvium_info info;
    OK(alluvium_writer_commit(made.writer, &offset, 1, text("first"), &info, ERROR));
    alluvium_offset back;
    OK(alluvium_info_offset(info, 0, &back, ERROR));
    CHECK(same(back.offset, "at 1"));
    OK(alluvium_info_close(info, ERROR));
    OK(alluvium_reader_get(committed, values, &key, memory, sizeof memory, &len, ERROR));
    CHECK(same(bytes(memory, len), "1"));

    put(made.writer, values, "JFK", "2");
    put(made.writer, values, "SEA", "new");
    OK(alluvium_writer_abort_transaction(made.writer, ERROR));
    CHECK(has(made.writer, values, "JFK", "1"));
    alluvium_key sea = by_hash("SEA");
    IS(ALLUVIUM_NOT_FOUND, alluvium_writer_get(made.writer, values, &sea, memory, sizeof memory, &len, ERROR));

    /* More than may be staged is refused, until it is committed. */
    uint8_t *large = calloc(1, 65536);
    alluvium_status status = ALLUVIUM_OK;
    char name[32];
    for (size_t i = 0; i < 100 && status == ALLUVIUM_OK; i++) {
        snprintf(name, sizeof name, "large %zu", i);
        alluvium_key one = by_hash(name);
        status = alluvium_writer_put(made.writer, values, &one, bytes(large, 65536), ERROR);
    }
    free(large);
    CHECK(status == ALLUVIUM_STAGED);
    int32_t class_ = 0;
    OK(alluvium_error_get(last_error, NULL, &class_, NULL));
    CHECK(class_ == ALLUVIUM_CLASS_RETRY);
    forget_error();
    OK(alluvium_store_abort_transaction(made.store, ERROR));
    put(made.writer, values, "JFK", "3");
    OK(alluvium_store_commit(made.store, NULL, 0, text("second"), NULL, ERROR));
    put(made.writer, values, "JFK", "staged when the checkpoint is cut");
    checkpoint(made.store, 1);
    OK(alluvium_store_last_commit(made.store, &info, ERROR));
    alluvium_slice metadata;
    OK(alluvium_info_metadata(info, &metadata, ERROR));
    CHECK(same(metadata, "second"));
    OK(alluvium_info_close(info, ERROR));
    OK(alluvium_reader_close(committed, ERROR));
    OK(alluvium_reader_close(all, ERROR));
    tear_down(&made);

    made.engine = small_engine();
    OK(alluvium_store_open(made.engine, argv[1], &options, &made.store, ERROR));
    OK(alluvium_writer_open(made.store, all_groups(), &made.writer, ERROR));
    CHECK(has(made.writer, state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL), "JFK", "3"));
    tear_down(&made);

    /* A store that isn't transactional commits nothing. */
    char other[512];
    snprintf(other, sizeof other, "%s/other", argv[1]);
    made = set_up(other, NULL);
    IS(ALLUVIUM_OPTIONS, alluvium_writer_commit(made.writer, NULL, 0, NOTHING, NULL, ERROR));
    tear_down(&made);
    return 0;
}
