package io.alluvium;

/** A handler of a store's ({@link Store#handler}). */
public final class HandlerId {
    private final Store store;
    private final int number;

    HandlerId(Store store, int number) {
        this.store = store;
        this.number = number;
    }

    int in(Store store) {
        if (store != this.store) {
            throw new AlluviumException(Status.EVENT_HANDLER, ErrorClass.USAGE, "the handler is another store's");
        }
        return number;
    }
}
