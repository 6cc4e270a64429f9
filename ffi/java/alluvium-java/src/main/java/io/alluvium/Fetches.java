package io.alluvium;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;

/** What a store wants of its host: bytes of segments that are elsewhere. Any thread may use it; usually one of the host's serves it. */
public final class Fetches extends NativeObject {
    private static final int IDLE_BYTES_MAX = 1 << 20;

    /** Nobody has room for more requests at once, */
    private static final int REQUESTS_MAX = 8_192;
    /** each of which takes so many bytes at most. */
    private static final int REQUEST_BYTES_MAX = 128;

    /** Memory for requests that nobody uses. */
    private final AtomicReference<Scratch> answers = new AtomicReference<>();

    /** Memory that nobody uses: bytes that are brought go through it. */
    private final AtomicReference<Memory> idle = new AtomicReference<>();

    /** Why the host will never have a file as it was. */
    public enum Fault {
        /** It doesn't have it any more. */
        MISSING,
        /** It has another length. */
        LENGTH,
        /** It has other bytes. */
        CORRUPT
    }

    private interface Wait {
        long run(long fetches, long timeoutMs, int max, long into, int capacity);
    }

    /** Bytes of a file that a store wants. */
    public static final class Request {
        private final long id;
        private final String file;
        private final long offset;
        private final int len;
        private final boolean onDemand;

        private Request(Scratch scratch) {
            id = scratch.takeLong();
            file = scratch.takeText();
            offset = scratch.takeLong();
            len = Math.toIntExact(scratch.takeLong());
            onDemand = scratch.takeFlag();
        }

        /** What the answer names. */
        public long id() {
            return id;
        }

        /** The file's name, as in {@link CheckpointFiles.File}. */
        public String file() {
            return file;
        }

        /** From where, in bytes. */
        public long offset() {
            return offset;
        }

        /** How many bytes. */
        public int len() {
            return len;
        }

        /** Whether somebody waits for it. */
        public boolean isOnDemand() {
            return onDemand;
        }
    }

    Fetches(long handle, Store store) {
        super(FETCHES, handle, store);
    }

    /**
     * What is wanted now, at most so many requests and 8,192, what somebody waits for first; waits up to {@code patience} until there is anything.
     * Each request is given once, and answered with {@link #complete} or {@link #fail}, in any order.
     */
    public List<Request> await(int max, Duration patience) {
        return await(Native::fetchesWait, max, patience);
    }

    /** As {@link #await}, but gives only what somebody waits for: for a host that brings the rest more slowly, or by a thread of its own. */
    public List<Request> awaitDemanded(int max, Duration patience) {
        return await(Native::fetchesWaitDemanded, max, patience);
    }

    private List<Request> await(Wait wait, int max, Duration patience) {
        Scratch scratch = Scratch.take(answers);
        try {
            // Before any are given out: what there is no room for afterwards would be lost.
            scratch.room(Math.min(max, REQUESTS_MAX) * REQUEST_BYTES_MAX);
            scratch.answered(wait.run(handle(), patience.toMillis(), max, scratch.out.address, scratch.out.capacity));
            List<Request> requests = new ArrayList<>();
            while (!scratch.isAtEnd()) {
                requests.add(new Request(scratch));
            }
            return requests;
        } finally {
            answers.set(scratch);
        }
    }

    /** Has the threads that wait in {@link #await} or {@link #awaitDemanded} return now, with or without anything. */
    public void wake() {
        Failures.check(Native.fetchesWake(handle()));
    }

    /**
     * Has these bytes of a file wanted in the background before what was not preferred, in the order of these calls, and also where the host failed to bring
     * them before. Nothing comes of it where the file is here already, or isn't one of the store's.
     */
    public void prefer(String file, long offset, long len) {
        Scratch scratch = Scratch.take();
        try {
            scratch.putText(file);
            Failures.check(Native.fetchesPrefer(handle(), scratch.in.address, scratch.end, offset, len));
        } finally {
            scratch.give();
        }
    }

    /** Brings what a request asked for, all of it. */
    public void complete(Request request, byte[] bytes) {
        Memory memory = idle.getAndSet(null);
        if (memory == null || memory.capacity < bytes.length) {
            memory = Memory.allocate(Math.max(1, bytes.length));
        }
        memory.copyIn(0, bytes, 0, bytes.length);
        long result = Native.fetchesComplete(handle(), request.id, memory.address, bytes.length);
        memory.keep();
        if (memory.capacity <= IDLE_BYTES_MAX) {
            idle.set(memory);
        }
        Failures.check(result);
    }

    /** Says that the host can't bring what a request asked for: who waits for it gets {@link Status#ABSENT}. */
    public void fail(Request request, String problem) {
        Scratch scratch = Scratch.take();
        try {
            scratch.putText(problem);
            Failures.check(Native.fetchesFail(handle(), request.id, scratch.in.address, scratch.end));
        } finally {
            scratch.give();
        }
    }

    /** As {@link #fail}, where the host knows that it will never have it as it was: who waits for it gets {@link Status#CORRUPT}. */
    public void refuse(Request request, Fault fault, String problem) {
        Scratch scratch = Scratch.take();
        try {
            scratch.putText(problem);
            Failures.check(
                    Native.fetchesRefuse(handle(), request.id, fault.ordinal(), scratch.in.address, scratch.end));
        } finally {
            scratch.give();
        }
    }

    /** Has everybody who waits now fail with {@link Status#ABSENT}: a task that is cancelled must not wait for the network. */
    public void cancelWaits() {
        Failures.check(Native.fetchesCancel(handle()));
    }

    /** How many files are not here yet. */
    public long absentFiles() {
        return Failures.check(Native.fetchesAbsent(handle()));
    }

    /** How many bytes are not here yet, of all files. */
    public long absentBytes() {
        return Failures.check(Native.fetchesAbsentBytes(handle()));
    }
}
