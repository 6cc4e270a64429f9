package io.alluvium;

/** Something can't be closed: what was made from it is still open. It stays open itself. */
public final class StillOpenException extends AlluviumException {
    private static final long serialVersionUID = 1;

    StillOpenException(String message) {
        super(Status.HAS_CHILDREN, ErrorClass.USAGE, message);
    }
}
