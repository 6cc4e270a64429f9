package io.alluvium;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;

/** What a store wants of its host: bytes of segments that are elsewhere. Any thread may use it; usually one of the host's serves it. */
public final class Fetches extends NativeObject {
    private static final int IDLE_BYTES_MAX = 1 << 20;

    /** Memory that nobody uses: bytes that are brought go through it. */
    private final AtomicReference<Memory> idle = new AtomicReference<>();

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
     * What is wanted now, at most so many requests, what somebody waits for first; waits up to {@code patience} until there is anything.
     * Each request is given once, and answered with {@link #complete} or {@link #fail}, in any order.
     */
    public List<Request> await(int max, Duration patience) {
        Scratch scratch = new Scratch();
        long result =
                Native.fetchesWait(handle(), patience.toMillis(), max, scratch.out.address, scratch.out.capacity);
        scratch.answered(result);
        List<Request> requests = new ArrayList<>();
        while (!scratch.isAtEnd()) {
            requests.add(new Request(scratch));
        }
        return requests;
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

    /** Has everybody who waits now fail with {@link Status#ABSENT}: a task that is cancelled must not wait for the network. */
    public void cancelWaits() {
        Failures.check(Native.fetchesCancel(handle()));
    }

    /** How many files are not here yet. */
    public long absentFiles() {
        return Failures.check(Native.fetchesAbsent(handle()));
    }
}
