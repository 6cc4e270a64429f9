package io.alluvium;

/** Any failure of the engine, with what exactly it was and what can be done about it. */
public class AlluviumException extends RuntimeException {
    private static final long serialVersionUID = 1;

    private final Status status;
    private final ErrorClass errorClass;

    AlluviumException(Status status, ErrorClass errorClass, String message) {
        super(message);
        this.status = status;
        this.errorClass = errorClass;
    }

    /** What went wrong. */
    public Status status() {
        return status;
    }

    /** What can be done about it. */
    public ErrorClass errorClass() {
        return errorClass;
    }
}
