/* Every function is given nothing at all, and handles that are none: `calls.h` is made from the header, by wrongly.rs. */
#include "support.h"
#include "calls.h"

int main(int argc, char **argv) {
    CHECK(argc == 2);
    nothing_at_all();
    fixture made = set_up(argv[1], NULL);
    uint16_t values = state_of(made.store, "values", ALLUVIUM_KIND_VALUE, NULL);
    put(made.writer, values, "k", "kept");
    nothing_at_all();

    alluvium_buffer closed;
    OK(alluvium_buffer_new(&closed, ERROR));
    OK(alluvium_buffer_free(closed));
    const uint64_t generation = UINT64_C(1) << 42, unused = UINT64_C(1) << 33;
    const uint64_t wrong[] = {
        0, 1, UINT64_MAX, UINT32_MAX, closed.id,
        /* Open, and of one kind alone. */
        made.engine.id, made.store.id, made.writer.id,
        /* Of another generation, in another place, and with bits that no handle has. */
        made.engine.id ^ generation, made.store.id ^ generation, made.writer.id ^ generation, made.store.id + 1, made.store.id ^ unused,
        /* The place and the generation, and no kind. */
        made.store.id & ~(UINT64_C(31) << 37),
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        for (int is_sized = 0; is_sized < 2; is_sized++)
            handles_that_are_none(wrong[i], is_sized, &made);

    /* After all of that nothing has changed, and nothing was left open. */
    CHECK(has(made.writer, values, "k", "kept"));
    tear_down(&made);
    return 0;
}
