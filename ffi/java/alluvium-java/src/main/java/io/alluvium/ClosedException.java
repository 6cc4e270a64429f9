package io.alluvium;

/** The object, or the store that it belongs to, was closed before. */
public final class ClosedException extends AlluviumException {
    private static final long serialVersionUID = 1;

    ClosedException(Status status, String message) {
        super(status, ErrorClass.USAGE, message);
    }
}
