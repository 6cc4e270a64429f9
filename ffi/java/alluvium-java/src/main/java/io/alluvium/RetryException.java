package io.alluvium;

/** Nothing is lost, and the same call can succeed later. */
public final class RetryException extends AlluviumException {
    private static final long serialVersionUID = 1;

    RetryException(Status status, String message) {
        super(status, ErrorClass.RETRY, message);
    }
}
