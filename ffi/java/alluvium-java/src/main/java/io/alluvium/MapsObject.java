package io.alluvium;

import java.nio.ByteBuffer;

/** What a writer does with maps, but for walks. */
abstract class MapsObject extends PoppingObject {
    private static final int FIRST = 0;
    private static final int LAST = 1;
    private static final int POP_FIRST = 2;
    /** In place of a user key's length: any entry. */
    private static final int ANY = -1;

    MapsObject(long handle, Store store, boolean shared) {
        super(handle, store, shared);
    }

    /** Puts the bytes into this writer's memory. */
    final Memory given(byte[] bytes) {
        Memory in = scratch.in;
        if (bytes.length > in.capacity) {
            in = in.grown(0, bytes.length);
            scratch.in = in;
        }
        in.copyIn(0, bytes, 0, bytes.length);
        return in;
    }

    /** Puts what remains in a buffer, which is left as it is, into this writer's memory, and says how much it is. */
    final int given(ByteBuffer bytes) {
        scratch.end = 0;
        scratch.putRaw(bytes);
        return scratch.end;
    }

    /** The value of a map's entry; null where there is none. */
    public byte[] mapGet(State state, Key key, byte[] userKey) {
        boolean locked = enter();
        try {
            int len = findEntry(state, key, key.withUserKey(userKey), userKey.length, Integer.MAX_VALUE);
            return len < 0 ? null : scratch.out.bytes(0, len);
        } finally {
            leave(locked);
        }
    }

    /** The value of a map's entry, into an array: its length, or -1. */
    public int mapGet(State state, Key key, byte[] userKey, byte[] into) {
        boolean locked = enter();
        try {
            int len = findEntry(state, key, key.withUserKey(userKey), userKey.length, into.length);
            if (0 < len && len <= into.length) {
                scratch.out.copyOut(0, into, 0, len);
            }
            return len;
        } finally {
            leave(locked);
        }
    }

    /** The value of a map's entry, of the user key that remains in a buffer, into another, whose position moves behind it: its length, or -1. */
    public int mapGet(State state, Key key, ByteBuffer userKey, ByteBuffer into) {
        boolean locked = enter();
        try {
            int room = Memory.room(into);
            int begin = userKey.position();
            int userKeyLen = Memory.remaining(userKey, begin);
            int len = findEntry(state, key, key.withUserKey(userKey, begin, userKeyLen), userKeyLen, room);
            if (0 < len && len <= room) {
                scratch.out.copyOut(0, len, into);
            }
            return len;
        } finally {
            leave(locked);
        }
    }

    private int findEntry(State state, Key key, Memory keys, int userKeyLen, int max) {
        Memory out = scratch.out;
        int len = Writer.length(Native.writerMapGet(
                handle(), state.in(store), key.group(), keys.address, key.keyLen(keys), key.namespaceLen(keys),
                keys.part(userKeyLen), out.address, out.capacity));
        keys.keep();
        if (len > out.capacity && len <= max) {
            scratch.out = out.grown(0, len);
            return findEntry(state, key, keys, userKeyLen, max);
        }
        return len;
    }

    /** Whether a map has an entry. */
    public boolean mapContains(State state, Key key, byte[] userKey) {
        boolean locked = enter();
        try {
            Memory keys = key.withUserKey(userKey);
            long result = Native.writerMapContains(
                    handle(), state.in(store), key.group(), keys.address, key.keyLen(keys), key.namespaceLen(keys),
                    keys.part(userKey.length));
            keys.keep();
            return Failures.check(result) != 0;
        } finally {
            leave(locked);
        }
    }

    /** Whether a map has no entry. */
    public boolean mapIsEmpty(State state, Key key) {
        boolean locked = enter();
        try {
            Memory keys = key.memory();
            long result = Native.writerMapContains(
                    handle(), state.in(store), key.group(), keys.address, key.keyLen(keys), key.namespaceLen(keys), ANY);
            keys.keep();
            return Failures.check(result) == 0;
        } finally {
            leave(locked);
        }
    }

    /** Puts an entry of a map. */
    public void mapPut(State state, Key key, byte[] userKey, byte[] value) {
        boolean locked = enter();
        try {
            putEntry(state, key, key.withUserKey(userKey), userKey.length, given(value), value.length);
        } finally {
            leave(locked);
        }
    }

    /** Puts an entry of a map: what remains in two buffers, which are left as they are. */
    public void mapPut(State state, Key key, ByteBuffer userKey, ByteBuffer value) {
        boolean locked = enter();
        try {
            int begin = userKey.position();
            int userKeyLen = Memory.remaining(userKey, begin);
            Memory keys = key.withUserKey(userKey, begin, userKeyLen);
            int len = given(value);
            putEntry(state, key, keys, userKeyLen, scratch.in, len);
        } finally {
            leave(locked);
        }
    }

    private void putEntry(State state, Key key, Memory keys, int userKeyLen, Memory value, int len) {
        Failures.check(Native.writerMapPut(
                handle(), state.in(store), key.group(), keys.address, key.keyLen(keys), key.namespaceLen(keys),
                keys.part(userKeyLen), value.address, len));
        keys.keep();
    }

    /** Deletes an entry of a map. */
    public void mapDelete(State state, Key key, byte[] userKey) {
        boolean locked = enter();
        try {
            Memory keys = key.withUserKey(userKey);
            Failures.check(Native.writerMapDelete(
                    handle(), state.in(store), key.group(), keys.address, key.keyLen(keys), key.namespaceLen(keys),
                    keys.part(userKey.length)));
            keys.keep();
        } finally {
            leave(locked);
        }
    }

    /** Deletes the entries of a map in a range, whatever its direction, without going through them. */
    public void mapDeleteRange(State state, Key key, MapRange range) {
        boolean locked = enter();
        try {
            Memory keys = key.memory();
            scratch.end = 0;
            range.write(scratch);
            Failures.check(Native.writerMapDeleteRange(
                    handle(), state.in(store), key.group(), keys.address, key.keyLen(keys), key.namespaceLen(keys),
                    scratch.in.address, scratch.end));
            keys.keep();
        } finally {
            leave(locked);
        }
    }

    /** Deletes the entries of a map whose time is below {@code before}: those whose user keys begin with it, as 8 bytes, big-endian. */
    public void mapExpire(State state, Key key, long before) {
        boolean locked = enter();
        try {
            Memory keys = key.memory();
            Failures.check(Native.writerMapExpire(
                    handle(), state.in(store), key.group(), keys.address, key.keyLen(keys), key.namespaceLen(keys), before));
            keys.keep();
        } finally {
            leave(locked);
        }
    }

    /** Deletes all entries of a map. */
    public void mapClear(State state, Key key) {
        boolean locked = enter();
        try {
            Memory keys = key.memory();
            Failures.check(Native.writerMapClear(
                    handle(), state.in(store), key.group(), keys.address, key.keyLen(keys), key.namespaceLen(keys)));
            keys.keep();
        } finally {
            leave(locked);
        }
    }

    /** The entry of a map with the smallest user key; null where there is none. */
    public Entry mapFirst(State state, Key key) {
        return edge(state, key, FIRST);
    }

    /** The entry of a map with the greatest user key; null where there is none. */
    public Entry mapLast(State state, Key key) {
        return edge(state, key, LAST);
    }

    /** Takes the entry with the smallest user key out of a map; null where there is none. */
    public Entry mapPopFirst(State state, Key key) {
        return edge(state, key, POP_FIRST);
    }

    private Entry edge(State state, Key key, int which) {
        boolean locked = enter();
        try {
            Memory keys = key.memory();
            long result = Native.writerMapEdge(
                    handle(), state.in(store), key.group(), keys.address, key.keyLen(keys), key.namespaceLen(keys), which,
                    scratch.out.address, scratch.out.capacity);
            keys.keep();
            if (which == POP_FIRST && result > scratch.out.capacity) {
                // It is still there: nothing is taken out that there is no room for.
                scratch.out = scratch.out.grown(0, result);
                return edge(state, key, which);
            }
            return scratch.answered(result) ? Packing.entries(scratch.takeAll()).get(0) : null;
        } finally {
            leave(locked);
        }
    }
}
