package io.alluvium;

/**
 * Values of a call on many keys, packed into memory outside of Java's heap: filled by a read, or to be written; used again without
 * allocating. It belongs to one thread at a time.
 */
public final class Values {
    /** A value's entry is one long: where it begins (the low half), and its length, which is -1 of none. */
    private static final int ENTRY = 8;

    private Memory index = Memory.allocate(64 * ENTRY);
    private Memory data = Memory.allocate(64 * 64);
    private int size;
    private int end;

    /** No values. */
    public Values() {}

    /** Takes all values out. */
    public Values clear() {
        size = 0;
        end = 0;
        return this;
    }

    /** How many there are, those that are none included. */
    public int size() {
        return size;
    }

    /** Adds a value. */
    public Values add(byte[] value) {
        reserve(value.length);
        data.copyIn(end, value, 0, value.length);
        return entry(value.length);
    }

    /** Adds a value of 8 bytes, little-endian: what merging states add up. */
    public Values addLong(long value) {
        reserve(Long.BYTES);
        data.buffer.putLong(end, value);
        return entry(Long.BYTES);
    }

    /** Adds that there is none. */
    public Values addNone() {
        return entry(-1);
    }

    private void reserve(int len) {
        if (len > data.capacity - end) {
            data = data.grown(end, (long) end + len);
        }
    }

    private Values entry(int len) {
        reserveIndex(size + 1);
        index.buffer.putLong(size * ENTRY, end | (long) len << 32);
        end += Math.max(0, len);
        size++;
        return this;
    }

    private void reserveIndex(int count) {
        long needed = (long) count * ENTRY;
        if (needed > index.capacity) {
            index = index.grown(Math.min(size * ENTRY, index.capacity), needed);
        }
    }

    private long entryOf(int place) {
        if (place < 0 || place >= size) {
            throw new IndexOutOfBoundsException(place + " of " + size + " values");
        }
        return index.buffer.getLong(place * ENTRY);
    }

    /** The length of a value; -1 where there is none. */
    public int length(int place) {
        return (int) (entryOf(place) >> 32);
    }

    /** A value; null where there is none. */
    public byte[] get(int place) {
        long entry = entryOf(place);
        int len = (int) (entry >> 32);
        return len < 0 ? null : data.bytes((int) entry, len);
    }

    /** A value, into an array: its length, or -1. Where the length is greater than the array's, nothing is copied. */
    public int get(int place, byte[] into) {
        long entry = entryOf(place);
        int len = (int) (entry >> 32);
        if (0 < len && len <= into.length) {
            data.copyOut((int) entry, into, 0, len);
        }
        return len;
    }

    /** A value of 8 bytes, little-endian; {@code absent} where there is none. */
    public long getLong(int place, long absent) {
        long entry = entryOf(place);
        int len = (int) (entry >> 32);
        if (len >= 0 && len != Long.BYTES) {
            throw new IllegalArgumentException("a value of " + len + " bytes is no long");
        }
        return len < 0 ? absent : data.buffer.getLong((int) entry);
    }

    Memory index() {
        return index;
    }

    Memory data() {
        return data;
    }

    /** How much of the data is used, which no thread can make more than there is. */
    int bytes() {
        return Math.min(end, data.capacity);
    }

    /** Makes room for so many values that a call is to find. */
    void prepare(int count) {
        clear();
        reserveIndex(count);
        size = count;
    }

    /** They were found, and have so many bytes; those that didn't fit are fetched. */
    void filled(long bytes) {
        if (bytes > data.capacity) {
            data = data.grown(0, bytes);
            Failures.check(Native.keptAnswer(data.address, data.capacity));
        }
        end = (int) bytes;
    }
}
