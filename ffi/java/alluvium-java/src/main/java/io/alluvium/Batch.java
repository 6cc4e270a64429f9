package io.alluvium;

import java.nio.ByteBuffer;

/**
 * Operations on any states and keys of a store, packed into memory outside of Java's heap, to be {@linkplain Writer#apply applied} or
 * {@linkplain Writer#submit submitted} together. It is cleared and filled again without allocating, unless it was larger than 1 MiB, and
 * belongs to one thread at a time.
 *
 * <p>What is given as a buffer is what remains in it, copied; the buffer, direct or not, is left as it is.
 */
public final class Batch {
    private static final int HEADER = 16;
    private static final int PART_MAX = 65_535;
    private static final int CAPACITY = 4_096;
    /** Memory that grew beyond this is not kept. */
    private static final int KEPT_BYTES_MAX = 1 << 20;

    private static final byte[] NONE = {};
    private static final byte HASHED = 1;
    private static final byte UNBOUNDED = 2;

    private static final byte PUT = 0;
    private static final byte DELETE = 1;
    private static final byte APPEND = 2;
    private static final byte MERGE = 3;
    private static final byte MAP_PUT = 4;
    private static final byte MAP_DELETE = 5;
    private static final byte MAP_DELETE_RANGE = 6;
    private static final byte MAP_EXPIRE = 7;
    private static final byte MAP_CLEAR = 8;
    private static final byte GET = 9;
    private static final byte LIST = 10;
    private static final byte MAP_GET = 11;

    private final Store store;
    private Memory memory = Memory.allocate(CAPACITY);
    private int end;
    private int size;

    /** An empty batch for writers of a store. */
    public Batch(Store store) {
        this.store = store;
    }

    /** Takes all operations out. */
    public Batch clear() {
        end = 0;
        size = 0;
        if (memory.capacity > KEPT_BYTES_MAX) {
            memory = Memory.allocate(CAPACITY);
        }
        return this;
    }

    /** How many operations there are. */
    public int size() {
        return size;
    }

    /** How many bytes the operations have, with their keys and values. */
    public int bytes() {
        return end;
    }

    /** Writes an operation but for its user key and value, and says where they go. */
    private int head(byte code, int flags, State state, Key key, int userKeyLen, int valueLen) {
        int number = state.in(store);
        int keyLen = key.keyLen();
        int namespaceLen = key.namespaceLen();
        if (keyLen > PART_MAX || namespaceLen > PART_MAX || userKeyLen > PART_MAX) {
            throw new AlluviumException(Status.TOO_LONG, ErrorClass.USAGE, "a key or user key is longer than 65,000 bytes");
        }
        long needed = (long) end + HEADER + keyLen + namespaceLen + userKeyLen + valueLen;
        if (needed > memory.capacity) {
            memory = memory.grown(end, needed);
        }
        int hashed = key.group() < 0 ? HASHED : 0;
        memory.buffer.put(end, code);
        memory.buffer.put(end + 1, (byte) (flags | hashed));
        memory.buffer.putShort(end + 2, (short) number);
        memory.buffer.putShort(end + 4, (short) Math.max(0, key.group()));
        memory.buffer.putShort(end + 6, (short) keyLen);
        memory.buffer.putShort(end + 8, (short) namespaceLen);
        memory.buffer.putShort(end + 10, (short) userKeyLen);
        memory.buffer.putInt(end + 12, valueLen);
        int at = end + HEADER;
        memory.copyIn(at, key.memory(), 0, keyLen + namespaceLen);
        return at + keyLen + namespaceLen;
    }

    private Batch endsAt(int at) {
        end = at;
        size++;
        return this;
    }

    private Batch add(byte code, int flags, State state, Key key, byte[] userKey, byte[] value) {
        int at = head(code, flags, state, key, userKey.length, value.length);
        memory.copyIn(at, userKey, 0, userKey.length);
        memory.copyIn(at + userKey.length, value, 0, value.length);
        return endsAt(at + userKey.length + value.length);
    }

    private Batch add(byte code, State state, Key key, ByteBuffer value) {
        int begin = value.position();
        int len = Memory.remaining(value, begin);
        int at = head(code, 0, state, key, 0, len);
        memory.copyIn(at, value, begin, len);
        return endsAt(at + len);
    }

    /** Puts a value. */
    public Batch put(State state, Key key, byte[] value) {
        return add(PUT, 0, state, key, NONE, value);
    }

    /** Puts a value. */
    public Batch put(State state, Key key, ByteBuffer value) {
        return add(PUT, state, key, value);
    }

    /** Deletes a value or list. */
    public Batch delete(State state, Key key) {
        return add(DELETE, 0, state, key, NONE, NONE);
    }

    /** Appends an element to a list. */
    public Batch append(State state, Key key, byte[] element) {
        return add(APPEND, 0, state, key, NONE, element);
    }

    /** Appends an element to a list. */
    public Batch append(State state, Key key, ByteBuffer element) {
        return add(APPEND, state, key, element);
    }

    /** Merges an operand into a value. */
    public Batch merge(State state, Key key, byte[] operand) {
        return add(MERGE, 0, state, key, NONE, operand);
    }

    /** Merges an operand into a value. */
    public Batch merge(State state, Key key, ByteBuffer operand) {
        return add(MERGE, state, key, operand);
    }

    /** Puts an entry of a map. */
    public Batch mapPut(State state, Key key, byte[] userKey, byte[] value) {
        return add(MAP_PUT, 0, state, key, userKey, value);
    }

    /** Puts an entry of a map. */
    public Batch mapPut(State state, Key key, ByteBuffer userKey, ByteBuffer value) {
        int userKeyBegin = userKey.position();
        int userKeyLen = Memory.remaining(userKey, userKeyBegin);
        int valueBegin = value.position();
        int valueLen = Memory.remaining(value, valueBegin);
        int at = head(MAP_PUT, 0, state, key, userKeyLen, valueLen);
        memory.copyIn(at, userKey, userKeyBegin, userKeyLen);
        memory.copyIn(at + userKeyLen, value, valueBegin, valueLen);
        return endsAt(at + userKeyLen + valueLen);
    }

    /** Deletes an entry of a map. */
    public Batch mapDelete(State state, Key key, byte[] userKey) {
        return add(MAP_DELETE, 0, state, key, userKey, NONE);
    }

    /** Deletes the entries of a map from one user key on, up to, but not including, another; null: to the last. */
    public Batch mapDeleteRange(State state, Key key, byte[] from, byte[] below) {
        return add(MAP_DELETE_RANGE, below == null ? UNBOUNDED : 0, state, key, from, below == null ? NONE : below);
    }

    /** Deletes the entries of a map whose time is below {@code before}: see {@link Writer#mapExpire}. */
    public Batch mapExpire(State state, Key key, long before) {
        int at = head(MAP_EXPIRE, 0, state, key, 0, Long.BYTES);
        memory.buffer.putLong(at, before);
        return endsAt(at + Long.BYTES);
    }

    /** Deletes all entries of a map. */
    public Batch mapClear(State state, Key key) {
        return add(MAP_CLEAR, 0, state, key, NONE, NONE);
    }

    /** Gets a value. Only to be submitted. */
    public Batch get(State state, Key key) {
        return add(GET, 0, state, key, NONE, NONE);
    }

    /** Gets a list. Only to be submitted. */
    public Batch list(State state, Key key) {
        return add(LIST, 0, state, key, NONE, NONE);
    }

    /** Gets the value of a map's entry. Only to be submitted. */
    public Batch mapGet(State state, Key key, byte[] userKey) {
        return add(MAP_GET, 0, state, key, userKey, NONE);
    }

    /** The operations, for a writer of this store. */
    Memory memory(Store of) {
        if (of != store) {
            throw new AlluviumException(Status.STATE, ErrorClass.USAGE, "the batch is for another store");
        }
        return memory;
    }

    /** How much of the memory is used, which no thread can make more than there is. */
    int bytes(Memory memory) {
        return Math.min(end, memory.capacity);
    }
}
