package io.alluvium;

import java.nio.ByteBuffer;
import java.util.Arrays;

/**
 * Values of a call on many keys: filled by a read, or to be written; used again without allocating. It belongs to one thread at a time.
 *
 * <p>Values that are added are gathered in an array, and copied out of Java's heap together, unless they are long; values that were found stay
 * outside of it until they are asked for.
 */
public final class Values {
    /** Values of so many bytes are copied out of Java's heap one by one: to copy them twice would take longer than to ask for it. */
    private static final int DIRECT_MIN = 256;

    /** For each value where it begins (the low half), and its length, which is -1 of none. */
    private long[] index = new long[64];

    private byte[] data = {};
    private int size;
    private int end;
    /** How many bytes are in the memory that calls use: all, after a read. */
    private int copiedEnd;

    private Memory indexMemory = Memory.allocate(64 * Long.BYTES);
    private Memory dataMemory = Memory.allocate(64 * 64);

    /** No values. */
    public Values() {}

    /** Takes all values out. */
    public Values clear() {
        size = 0;
        end = 0;
        copiedEnd = 0;
        return this;
    }

    /** How many there are, those that are none included. */
    public int size() {
        return size;
    }

    /** Adds a value. */
    public Values add(byte[] value) {
        if (value.length >= DIRECT_MIN) {
            direct(value.length).copyIn(end, value, 0, value.length);
            copiedEnd = end + value.length;
            return entry(value.length);
        }
        reserve(value.length);
        Memory.copy(value, 0, data, end, value.length);
        return entry(value.length);
    }

    /** Adds what remains in a buffer, which is left as it is. */
    public Values add(ByteBuffer value) {
        int begin = value.position();
        int len = Memory.remaining(value, begin);
        if (len >= DIRECT_MIN) {
            direct(len).copyIn(end, value, begin, len);
            copiedEnd = end + len;
            return entry(len);
        }
        reserve(len);
        Memory.copy(value, begin, data, end, len);
        return entry(len);
    }

    /** Memory with room for a value that isn't gathered in the array. */
    private Memory direct(int len) {
        long needed = (long) end + len;
        if (needed > Integer.MAX_VALUE - 8) {
            throw new AlluviumException(Status.TOO_LONG, ErrorClass.USAGE, "the values have more than 2 GiB");
        }
        // With what was gathered before.
        Memory memory = data();
        if (needed > memory.capacity) {
            memory = memory.grown(end, needed);
            dataMemory = memory;
        }
        return memory;
    }

    /** Adds a value of 8 bytes, little-endian: what merging states add up. */
    public Values addLong(long value) {
        reserve(Long.BYTES);
        Memory.LONGS.set(data, end, value);
        return entry(Long.BYTES);
    }

    /** Adds that there is none. */
    public Values addNone() {
        return entry(-1);
    }

    private void reserve(int len) {
        if (len > data.length - end) {
            long needed = Math.max((long) end + len, 64 * 64);
            if (needed > Integer.MAX_VALUE - 8) {
                throw new AlluviumException(Status.TOO_LONG, ErrorClass.USAGE, "the values have more than 2 GiB");
            }
            // What a read found is not in the array, and isn't needed there.
            data = Arrays.copyOf(data, (int) Math.max(needed, Math.min(2L * data.length, Integer.MAX_VALUE - 8)));
        }
    }

    private Values entry(int len) {
        if (size == index.length) {
            index = Arrays.copyOf(index, 2 * size);
        }
        index[size++] = end | (long) len << 32;
        end += Math.max(0, len);
        return this;
    }

    private long entryOf(int place) {
        if (place < 0 || place >= size) {
            throw new IndexOutOfBoundsException(place + " of " + size + " values");
        }
        return index[place];
    }

    /** The length of a value; -1 where there is none. */
    public int length(int place) {
        return (int) (entryOf(place) >> 32);
    }

    /** A value; null where there is none. */
    public byte[] get(int place) {
        int len = length(place);
        if (len < 0) {
            return null;
        }
        byte[] value = new byte[len];
        get(place, value);
        return value;
    }

    /** A value, into an array: its length, or -1. Where the length is greater than the array's, nothing is copied. */
    public int get(int place, byte[] into) {
        long entry = entryOf(place);
        int begin = (int) entry;
        int len = (int) (entry >> 32);
        if (0 < len && len <= into.length) {
            if (begin < copiedEnd) {
                dataMemory.copyOut(begin, into, 0, len);
            } else {
                Memory.copy(data, begin, into, 0, len);
            }
        }
        return len;
    }

    /**
     * A value, into a buffer, whose position moves behind it: its length, or -1. Where the length is greater than what remains in the buffer, nothing is
     * copied.
     */
    public int get(int place, ByteBuffer into) {
        int room = Memory.room(into);
        long entry = entryOf(place);
        int begin = (int) entry;
        int len = (int) (entry >> 32);
        if (0 < len && len <= room) {
            if (begin < copiedEnd) {
                dataMemory.copyOut(begin, len, into);
            } else {
                into.put(data, begin, len);
            }
        }
        return len;
    }

    /** A value of 8 bytes, little-endian; {@code absent} where there is none. */
    public long getLong(int place, long absent) {
        long entry = entryOf(place);
        int begin = (int) entry;
        int len = (int) (entry >> 32);
        if (len >= 0 && len != Long.BYTES) {
            throw new IllegalArgumentException("a value of " + len + " bytes is no long");
        }
        if (len < 0) {
            return absent;
        }
        return begin < copiedEnd ? dataMemory.buffer.getLong(begin) : (long) Memory.LONGS.get(data, begin);
    }

    /** The memory that a call reads the index of so many values from. */
    Memory index(int count) {
        Memory memory = indexRoom(count);
        memory.copyIn(0, index, 0, Math.min(count, index.length));
        return memory;
    }

    private Memory indexRoom(int count) {
        // One that another thread puts there meanwhile may be smaller.
        Memory memory = indexMemory;
        if ((long) count * Long.BYTES > memory.capacity) {
            memory = memory.grown(0, (long) count * Long.BYTES);
            indexMemory = memory;
        }
        return memory;
    }

    /** The memory that a call reads the values from, or writes them to. */
    Memory data() {
        if (copiedEnd < end) {
            if (end > dataMemory.capacity) {
                dataMemory = dataMemory.grown(copiedEnd, end);
            }
            dataMemory.copyIn(copiedEnd, data, copiedEnd, end - copiedEnd);
            copiedEnd = end;
        }
        return dataMemory;
    }

    /** How much of the data is used, which no thread can make more than there is. */
    int bytes(Memory data) {
        return Math.min(end, data.capacity);
    }

    /** Takes all values out, and makes room for the index of so many that a call is to find. */
    Memory room(int count) {
        clear();
        if (count > index.length) {
            index = new long[Math.max(count, 2 * index.length)];
        }
        return indexRoom(count);
    }

    /** They were found, and have so many bytes; those that didn't fit are fetched. */
    void filled(Memory found, int count, long bytes) {
        Memory memory = dataMemory;
        if (bytes > memory.capacity) {
            memory = Failures.kept(memory, bytes);
            dataMemory = memory;
        }
        found.copyOut(0, index, count);
        size = count;
        end = (int) bytes;
        copiedEnd = end;
    }
}
