package io.alluvium;

/** A file is damaged, missing or foreign: another checkpoint may be good. */
public final class CorruptException extends AlluviumException {
    private static final long serialVersionUID = 1;

    CorruptException(Status status, String message) {
        super(status, ErrorClass.CORRUPT, message);
    }
}
