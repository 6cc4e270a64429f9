/* For calls that are made from the header: memory to point to, callbacks, and what calls have to come to. */
#ifndef SUPPORT_H
#define SUPPORT_H

#include "check.h"

enum { PLACES = 12, PLACE_BYTES = 4096 };

/* What pointers point to, each argument at its own place. */
static _Alignas(64) uint8_t scratch[PLACES][PLACE_BYTES];
static int released;

static inline void clear(void) {
    memset(scratch, 0, sizeof scratch);
    released = 0;
}

/* What begins with its size has it. */
static inline void size_at(size_t place, size_t size) {
    uint32_t number = (uint32_t)size;
    memcpy(scratch[place], &number, sizeof number);
}

static inline void free_buffer_at(size_t place) {
    alluvium_buffer buffer;
    memcpy(&buffer, scratch[place], sizeof buffer);
    OK(alluvium_buffer_free(buffer));
}

/* In place of any callback: what is wrong is refused before it could be called. */
static inline void never(void) {
    fprintf(stderr, "a callback was called\n");
    abort();
}

static inline void let_go(void *context) {
    (void)context;
    released++;
}

/* A call comes to one of two statuses. Where that is a failure, it is its caller's, who may only have to wait for another call, and its error says the
 * same; `error` may be null. */
static inline void comes_to(const char *what, alluvium_status got, const alluvium_error *error, alluvium_status wanted, alluvium_status or_else) {
    if (got != wanted && got != or_else) {
        const char *message = "";
        if (error != NULL && error->id != 0)
            alluvium_error_get(*error, NULL, NULL, &message);
        fprintf(stderr, "%s came to %d (%s), not %d: %s\n", what, got, alluvium_status_text(got), wanted, message);
        exit(1);
    }
    if (error == NULL)
        return;
    if (got >= 0) {
        CHECK(error->id == 0);
        return;
    }
    alluvium_status status = ALLUVIUM_OK;
    int32_t class_ = ALLUVIUM_CLASS_NONE;
    const char *message = "";
    CHECK(error->id != 0);
    OK(alluvium_error_get(*error, &status, &class_, &message));
    const int32_t wanted_class = got == ALLUVIUM_IN_USE ? ALLUVIUM_CLASS_RETRY : ALLUVIUM_CLASS_USAGE;
    CHECK(status == got && class_ == wanted_class && strlen(message) > 0);
    OK(alluvium_error_free(*error));
}

#endif
