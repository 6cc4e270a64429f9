/* Every function is given what is right but for one thing, which is null: `calls.h` is made from the header, by wrongly.rs. */
#include "support.h"
#include "everything.h"
#include "calls.h"

static everything all;
static int applied;

/* What a handler may call, it calls wrongly. */
static int32_t apply(void *context, alluvium_slice event, alluvium_applying applying) {
    (void)context, (void)event;
    applied++;
    nulls_inside(&all, applying);
    return 0;
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    open_everything(&all, argv[1]);
    nulls(&all);
    alluvium_handler handler = {.name = "apply", .version = 1, .apply = apply};
    uint32_t number;
    OK(alluvium_store_handler(all.store, &handler, &number, ERROR));
    OK(alluvium_writer_apply_event(all.writer, number, 0, text("event"), ERROR));
    CHECK(applied == 1);
    close_everything(&all);
    return 0;
}
