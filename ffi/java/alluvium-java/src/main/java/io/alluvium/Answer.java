package io.alluvium;

import java.util.List;

/** The answer to one read of a batch that was submitted. */
public final class Answer {
    private final int index;
    private final int status;
    private final int errorClass;
    private final byte[] bytes;

    Answer(Scratch scratch) {
        index = scratch.takeInt();
        status = scratch.takeInt();
        errorClass = scratch.takeInt();
        bytes = scratch.takeBytes();
    }

    /** The operation's place in the batch. */
    public int index() {
        return index;
    }

    /** Whether there is such a value, list or entry. Fails where it could not be read. */
    public boolean isFound() {
        if (status < 0) {
            String message = new String(bytes, java.nio.charset.StandardCharsets.UTF_8);
            throw Failures.exception(Status.of(status), ErrorClass.of(errorClass), message);
        }
        return status == 0;
    }

    /** The value; null where there is none. */
    public byte[] value() {
        return isFound() ? bytes : null;
    }

    /** The elements of a list, where it was read; none where there is none. */
    public List<byte[]> elements() {
        return isFound() ? Packing.elements(bytes) : List.of();
    }
}
