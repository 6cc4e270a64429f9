package io.alluvium;

/** A writer was used by a thread that it doesn't belong to: see {@link Writer}. */
public final class WrongThreadException extends AlluviumException {
    private static final long serialVersionUID = 1;

    WrongThreadException(String message) {
        super(Status.WRONG_THREAD, ErrorClass.USAGE, message);
    }
}
