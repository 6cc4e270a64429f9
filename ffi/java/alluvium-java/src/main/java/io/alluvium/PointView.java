package io.alluvium;

import java.nio.ByteBuffer;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;

/** What all have in common that reads single keys beside the writers. */
abstract class PointView extends NativeObject {
    final Store store;
    /** Memory for one call; a second one at the same time makes its own. */
    private final AtomicReference<Calls> idle = new AtomicReference<>();

    private static final class Calls {
        final Key key = new Key();
        final Scratch scratch = new Scratch();
    }

    PointView(int kind, long handle, Store store) {
        super(kind, handle, store);
        this.store = store;
    }

    abstract long get(int state, int group, long key, int keyLen, int namespaceLen, long into, int capacity);

    abstract long list(int state, int group, long key, int keyLen, int namespaceLen, long into, int capacity);

    abstract long mapGet(
            int state, int group, long key, int keyLen, int namespaceLen, int userKeyLen, long into, int capacity);

    abstract long setTime(long nowMs);

    private Calls take() {
        Calls calls = idle.getAndSet(null);
        return calls == null ? new Calls() : calls;
    }

    /** Sets the clock that decides what is expired, in ms; it begins at 0. */
    public void setTimeMs(long nowMs) {
        Failures.check(setTime(nowMs));
    }

    /** The value of a key; null where there is none. For value and merging states. */
    public byte[] get(State state, byte[] key) {
        Calls calls = take();
        try {
            int len = find(calls.scratch, state, calls.key.set(key), Integer.MAX_VALUE);
            return len < 0 ? null : calls.scratch.out.bytes(0, len);
        } finally {
            idle.set(calls);
        }
    }

    /** The value of a key; null where there is none. For value and merging states. */
    public byte[] get(State state, Key key) {
        Calls calls = take();
        try {
            int len = find(calls.scratch, state, key, Integer.MAX_VALUE);
            return len < 0 ? null : calls.scratch.out.bytes(0, len);
        } finally {
            idle.set(calls);
        }
    }

    /** The value of a key, into an array: its length, or -1. Where the length is greater than the array's, nothing is copied. */
    public int get(State state, byte[] key, byte[] into) {
        Calls calls = take();
        try {
            return copied(calls.scratch, find(calls.scratch, state, calls.key.set(key), into.length), into);
        } finally {
            idle.set(calls);
        }
    }

    /** The value of a key, into an array: its length, or -1. Where the length is greater than the array's, nothing is copied. */
    public int get(State state, Key key, byte[] into) {
        Calls calls = take();
        try {
            return copied(calls.scratch, find(calls.scratch, state, key, into.length), into);
        } finally {
            idle.set(calls);
        }
    }

    /**
     * The value of a key, into a buffer, whose position moves behind it: its length, or -1. Where the length is greater than what remains in the buffer,
     * nothing is copied.
     */
    public int get(State state, Key key, ByteBuffer into) {
        int room = Memory.room(into);
        Calls calls = take();
        try {
            return copied(calls.scratch, find(calls.scratch, state, key, room), room, into);
        } finally {
            idle.set(calls);
        }
    }

    private static int copied(Scratch scratch, int len, int room, ByteBuffer into) {
        if (0 < len && len <= room) {
            scratch.out.copyOut(0, len, into);
        }
        return len;
    }

    private static int copied(Scratch scratch, int len, byte[] into) {
        if (0 < len && len <= into.length) {
            scratch.out.copyOut(0, into, 0, len);
        }
        return len;
    }

    private int find(Scratch scratch, State state, Key key, int max) {
        Memory keys = key.memory();
        while (true) {
            Memory out = scratch.out;
            int len = Writer.length(get(
                    state.in(store), key.group(), keys.address, key.keyLen(keys), key.namespaceLen(keys), out.address, out.capacity));
            keys.keep();
            if (len <= out.capacity || len > max) {
                return len;
            }
            scratch.out = out.grown(0, len);
        }
    }

    /** The elements of a list, in the order of their appending. */
    public List<byte[]> list(State state, Key key) {
        Calls calls = take();
        try {
            Memory keys = key.memory();
            Scratch scratch = calls.scratch;
            long result = list(
                    state.in(store), key.group(), keys.address, key.keyLen(keys), key.namespaceLen(keys),
                    scratch.out.address, scratch.out.capacity);
            keys.keep();
            return Packing.elements(scratch.answered(result) ? scratch.takeAll() : new byte[0]);
        } finally {
            idle.set(calls);
        }
    }

    /** The value of a map's entry; null where there is none. */
    public byte[] mapGet(State state, Key key, byte[] userKey) {
        Calls calls = take();
        try {
            int len = findEntry(calls.scratch, state, key, key.withUserKey(userKey), userKey.length, Integer.MAX_VALUE);
            return len < 0 ? null : calls.scratch.out.bytes(0, len);
        } finally {
            idle.set(calls);
        }
    }

    /** The value of a map's entry, into an array: its length, or -1. Where the length is greater than the array's, nothing is copied. */
    public int mapGet(State state, Key key, byte[] userKey, byte[] into) {
        Calls calls = take();
        try {
            int len = findEntry(calls.scratch, state, key, key.withUserKey(userKey), userKey.length, into.length);
            return copied(calls.scratch, len, into);
        } finally {
            idle.set(calls);
        }
    }

    /**
     * The value of a map's entry, into a buffer, whose position moves behind it: its length, or -1. Where the length is greater than what remains in the
     * buffer, nothing is copied. The user key is what remains in its buffer, which is left as it is.
     */
    public int mapGet(State state, Key key, ByteBuffer userKey, ByteBuffer into) {
        int room = Memory.room(into);
        int begin = userKey.position();
        int userKeyLen = Memory.remaining(userKey, begin);
        Calls calls = take();
        try {
            int len = findEntry(calls.scratch, state, key, key.withUserKey(userKey, begin, userKeyLen), userKeyLen, room);
            return copied(calls.scratch, len, room, into);
        } finally {
            idle.set(calls);
        }
    }

    private int findEntry(Scratch scratch, State state, Key key, Memory keys, int userKeyLen, int max) {
        while (true) {
            Memory out = scratch.out;
            int len = Writer.length(mapGet(
                    state.in(store), key.group(), keys.address, key.keyLen(keys), key.namespaceLen(keys), keys.part(userKeyLen),
                    out.address, out.capacity));
            keys.keep();
            if (len <= out.capacity || len > max) {
                return len;
            }
            scratch.out = out.grown(0, len);
        }
    }
}
