package io.alluvium;

import java.nio.charset.StandardCharsets;

/** Makes exceptions of what the native library says. */
final class Failures {
    private Failures() {}

    /** The result, unless it is a failure. */
    static long check(long result) {
        if (result < 0) {
            throw exception(result, null);
        }
        return result;
    }

    /**
     * Fetches an answer of so many bytes that the thread's last call kept, as it was too long for the memory that it was to go to, where its number is
     * now. A virtual thread that had to wait for memory may have another carrier since, which doesn't have it: that is told.
     */
    static Memory kept(Memory small, long bytes) {
        long number = small.buffer.getLong(0);
        Memory into = small.grown(0, bytes);
        if (Native.keptAnswer(number, into.address, into.capacity) != bytes) {
            throw new AlluviumException(Status.OTHER, ErrorClass.FAIL, "an answer was lost");
        }
        return into;
    }

    /** Whether a call was refused for how it was called: then nothing happened. */
    static boolean isMisuse(long result) {
        return result <= -1 && result >= Status.ABI.code();
    }

    /** The exception for what the calling thread's last call came to. */
    static AlluviumException exception(long result, String of) {
        if (result == Native.NOT_FOUND || result == Native.PENDING) {
            return new AlluviumException(Status.OTHER, ErrorClass.FAIL, "an answer that the call doesn't have");
        }
        Status status = Status.of((int) result);
        ErrorClass errorClass = ErrorClass.FAIL;
        String message = status.toString();
        Scratch scratch = Scratch.take();
        try {
            long len = Native.failure(scratch.out.address, scratch.out.capacity);
            if (len > scratch.out.capacity) {
                scratch.out = scratch.out.grown(0, len);
                len = Native.failure(scratch.out.address, scratch.out.capacity);
            }
            // Where the thread's last failure is another, its words are none of this one's.
            if (8 <= len && len <= scratch.out.capacity && scratch.out.buffer.getInt(0) == status.code()) {
                errorClass = ErrorClass.of(scratch.out.buffer.getInt(4));
                message = new String(scratch.out.bytes(8, (int) len - 8), StandardCharsets.UTF_8);
            }
        } finally {
            scratch.give();
        }
        return exception(status, errorClass, of == null ? message : of + ": " + message);
    }

    static AlluviumException exception(Status status, ErrorClass errorClass, String message) {
        switch (status) {
            case HANDLE:
            case CLOSED:
                return new ClosedException(status, status == Status.HANDLE ? "it is closed" : message);
            case WRONG_THREAD:
                return new WrongThreadException(message);
            case HAS_CHILDREN:
                return new StillOpenException(message);
            default:
                break;
        }
        switch (errorClass) {
            case RETRY:
                return new RetryException(status, message);
            case CORRUPT:
                return new CorruptException(status, message);
            default:
                return new AlluviumException(status, errorClass, message);
        }
    }
}
