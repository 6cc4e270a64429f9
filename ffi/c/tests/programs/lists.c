/* Lists: append, read, replace, merge namespaces. */
#include "check.h"

static size_t elements_of(alluvium_buffer buffer, const char **expected, size_t count) {
    alluvium_slice rest;
    size_t records = 0;
    OK(alluvium_buffer_data(buffer, &rest, &records));
    CHECK(records == count);
    for (size_t i = 0; i < count; i++) {
        alluvium_slice element = take_element(&rest);
        CHECK(same(element, expected[i]));
    }
    CHECK(rest.len == 0);
    return records;
}

/* Looks at elements where they lie, and tries what it may not. */
static alluvium_writer writer;
static char joined[64];

static void join(void *context, alluvium_slice element) {
    strncat(joined, (const char *)element.data, element.len);
    strcat(joined, ",");
    ++*(size_t *)context;
    alluvium_key key = by_hash("JFK");
    IS(ALLUVIUM_INSIDE_CALLBACK, alluvium_writer_append(writer, 0, &key, text("x"), ERROR));
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    fixture made = set_up(argv[1], NULL);
    uint16_t lists = state_of(made.store, "lists", ALLUVIUM_KIND_LIST, NULL);
    alluvium_key key = by_hash("JFK");
    alluvium_buffer buffer;
    OK(alluvium_buffer_new(&buffer, ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_writer_list(made.writer, lists, &key, buffer, ERROR));
    OK(alluvium_writer_append(made.writer, lists, &key, text("one"), ERROR));
    checkpoint(made.store, 1); /* What follows is appended to what is on disk. */
    OK(alluvium_writer_append(made.writer, lists, &key, NOTHING, ERROR));
    OK(alluvium_writer_append(made.writer, lists, &key, text("three"), ERROR));
    OK(alluvium_writer_list(made.writer, lists, &key, buffer, ERROR));
    elements_of(buffer, (const char *[]){"one", "", "three"}, 3);
    size_t seen = 0;
    writer = made.writer;
    OK(alluvium_writer_list_read(made.writer, lists, &key, join, &seen, ERROR));
    CHECK(seen == 3 && strcmp(joined, "one,,three,") == 0);
    alluvium_key nowhere = by_hash("nowhere");
    IS(ALLUVIUM_NOT_FOUND, alluvium_writer_list_read(made.writer, lists, &nowhere, join, &seen, ERROR));
    IS(ALLUVIUM_NULL, alluvium_writer_list_read(made.writer, lists, &key, NULL, &seen, ERROR));
    IS(ALLUVIUM_NULL, alluvium_writer_list_read(made.writer, lists, NULL, join, &seen, ERROR));
    IS(ALLUVIUM_HANDLE, alluvium_writer_list_read((alluvium_writer){0}, lists, &key, join, &seen, ERROR));
    CHECK(seen == 3);

    alluvium_slice replaced[] = {{(const uint8_t *)"x", 1}, {(const uint8_t *)"yz", 2}};
    OK(alluvium_writer_put_list(made.writer, lists, &key, replaced, 2, ERROR));
    OK(alluvium_writer_list(made.writer, lists, &key, buffer, ERROR));
    elements_of(buffer, (const char *[]){"x", "yz"}, 2);

    alluvium_slice more[] = {text("a"), NOTHING, text("b")};
    OK(alluvium_writer_append_all(made.writer, lists, &key, more, 3, ERROR));
    OK(alluvium_writer_append_all(made.writer, lists, &key, NULL, 0, ERROR));
    OK(alluvium_writer_list(made.writer, lists, &key, buffer, ERROR));
    elements_of(buffer, (const char *[]){"x", "yz", "a", "", "b"}, 5);

    /* What two windows hold becomes a third one's. */
    const char *windows[] = {"w1", "w2"};
    alluvium_slice sources[2];
    for (size_t i = 0; i < 2; i++) {
        alluvium_key window = {ALLUVIUM_GROUP_BY_HASH, text("JFK"), text(windows[i])};
        OK(alluvium_writer_append(made.writer, lists, &window, text(windows[i]), ERROR));
        sources[i] = text(windows[i]);
    }
    alluvium_key target = {ALLUVIUM_GROUP_BY_HASH, text("JFK"), text("w3")};
    OK(alluvium_writer_append(made.writer, lists, &target, text("w3"), ERROR));
    OK(alluvium_writer_merge_namespaces(made.writer, lists, &target, sources, 2, ERROR));
    OK(alluvium_writer_list(made.writer, lists, &target, buffer, ERROR));
    elements_of(buffer, (const char *[]){"w3", "w1", "w2"}, 3);
    alluvium_key emptied = {ALLUVIUM_GROUP_BY_HASH, text("JFK"), text("w1")};
    IS(ALLUVIUM_NOT_FOUND, alluvium_writer_list(made.writer, lists, &emptied, buffer, ERROR));

    OK(alluvium_writer_put_list(made.writer, lists, &key, NULL, 0, ERROR));
    IS(ALLUVIUM_NOT_FOUND, alluvium_writer_list(made.writer, lists, &key, buffer, ERROR));
    IS(ALLUVIUM_STATE, alluvium_writer_put(made.writer, lists, &key, text("no list"), ERROR));
    OK(alluvium_buffer_free(buffer));
    tear_down(&made);
    return 0;
}
