package io.alluvium;

/** There is no native library that runs here; the message says which platforms there is one for, or what it lacks. */
public final class UnsupportedPlatformException extends RuntimeException {
    private static final long serialVersionUID = 1;

    UnsupportedPlatformException(String message, Throwable cause) {
        super(message, cause);
    }
}
