package io.alluvium;

import java.nio.ByteBuffer;
import java.util.Arrays;

/**
 * Keys of a call on many: filled, used, cleared, and filled again, without allocating. It belongs to one thread at a time.
 *
 * <p>Keys are gathered in arrays, to which the compiler's code writes at once, and copied out of Java's heap together.
 */
public final class Keys {
    private static final int GROUP_SHIFT = 31;
    private static final int NAMESPACE_SHIFT = 48;
    private static final int GROUPS = (1 << 17) - 1;
    private static final int PART_MAX = 65_535;

    /**
     * For each key where it ends (31 bits; it begins where the one before ends), its group and one, or 0 for that of its hash (17 bits), and
     * the length of its namespace (16 bits).
     */
    private long[] index = new long[64];

    private byte[] data = new byte[64 * 32];
    private int size;
    private int end;
    /** How many keys, and bytes of them, are in the memory that calls read. */
    private int copied;

    private int copiedEnd;
    private Memory indexMemory = Memory.allocate(64 * Long.BYTES);
    private Memory dataMemory = Memory.allocate(64 * 32);

    /** No keys. */
    public Keys() {}

    /** Takes all keys out. */
    public Keys clear() {
        size = 0;
        end = 0;
        copied = 0;
        copiedEnd = 0;
        return this;
    }

    /** How many there are. */
    public int size() {
        return size;
    }

    /** Adds a key of the key group of its hash, in no namespace. */
    public Keys add(byte[] key) {
        reserve(key.length);
        Memory.copy(key, 0, data, end, key.length);
        end += key.length;
        return entry(-1, 0);
    }

    /** Adds what remains in a buffer, which is left as it is, as a key of the key group of its hash, in no namespace. */
    public Keys add(ByteBuffer key) {
        int begin = key.position();
        int len = Memory.remaining(key, begin);
        reserve(len);
        Memory.copy(key, begin, data, end, len);
        end += len;
        return entry(-1, 0);
    }

    /** Adds a key of 8 bytes, little-endian, of the key group of its hash, in no namespace. */
    public Keys addLong(long key) {
        reserve(Long.BYTES);
        Memory.LONGS.set(data, end, key);
        end += Long.BYTES;
        return entry(-1, 0);
    }

    /** Adds a key with its namespace and group. */
    public Keys add(Key key) {
        int len = key.keyLen() + key.namespaceLen();
        if (key.namespaceLen() > PART_MAX) {
            throw new AlluviumException(Status.TOO_LONG, ErrorClass.USAGE, "a namespace is longer than 65,000 bytes");
        }
        reserve(len);
        key.memory().copyOut(0, data, end, len);
        end += len;
        return entry(key.group(), key.namespaceLen());
    }

    private void reserve(int len) {
        if (len > data.length - end) {
            long needed = (long) end + len;
            if (needed > Integer.MAX_VALUE - 8) {
                throw new AlluviumException(Status.TOO_LONG, ErrorClass.USAGE, "the keys have more than 2 GiB");
            }
            data = Arrays.copyOf(data, (int) Math.max(needed, Math.min(2L * data.length, Integer.MAX_VALUE - 8)));
        }
    }

    private Keys entry(int group, int namespaceLen) {
        if (size == index.length) {
            index = Arrays.copyOf(index, 2 * size);
        }
        index[size++] = end | (group + 1L) << GROUP_SHIFT | (long) namespaceLen << NAMESPACE_SHIFT;
        return this;
    }

    /** The memory that calls read the index from. */
    Memory index() {
        if (copied < size) {
            if ((long) size * Long.BYTES > indexMemory.capacity) {
                indexMemory = indexMemory.grown(copied * Long.BYTES, (long) size * Long.BYTES);
            }
            indexMemory.copyIn(copied * Long.BYTES, index, copied, size);
            copied = size;
        }
        return indexMemory;
    }

    /** The memory that calls read the keys from. */
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

    /** How many of them the index has, which no thread can make more than there is room for. */
    int count(Memory index) {
        return Math.min(size, index.capacity / Long.BYTES);
    }

    /** How much of the data is used, likewise. */
    int bytes(Memory data) {
        return Math.min(end, data.capacity);
    }

    private int begin(int place) {
        return place == 0 ? 0 : end(place - 1);
    }

    private int end(int place) {
        return (int) index[place] & Integer.MAX_VALUE;
    }

    private int givenGroup(int place) {
        return (int) (index[place] >>> GROUP_SHIFT & GROUPS) - 1;
    }

    private int namespaceLen(int place) {
        return (int) (index[place] >>> NAMESPACE_SHIFT);
    }

    /** Whether the groups of some are given, and those of others their hashes'. */
    boolean isMixed() {
        boolean given = false;
        boolean hashed = false;
        for (int place = 0; place < size; place++) {
            given |= givenGroup(place) >= 0;
            hashed |= givenGroup(place) < 0;
        }
        return given && hashed;
    }

    /** The key group, to be compared: with a store that of the hash where none was given, without one -1 there. */
    private int group(int place, Store store) {
        int given = givenGroup(place);
        if (given >= 0 || store == null) {
            return given;
        }
        return store.groupOf(Arrays.copyOfRange(data, begin(place), end(place) - namespaceLen(place)));
    }

    /** Of a key; with the keys' store where they are {@linkplain #isMixed mixed}, else without. */
    int hash(int place, Store store) {
        int hash = 31 * group(place, store) + namespaceLen(place);
        for (int at = begin(place); at < end(place); at++) {
            hash = 31 * hash + data[at];
        }
        return (int) ((hash * 0x9E3779B97F4A7C15L) >>> 32);
    }

    /** Whether two are the same key, likewise. */
    boolean isSame(int one, int other, Store store) {
        return namespaceLen(one) == namespaceLen(other)
                && Arrays.equals(data, begin(one), end(one), data, begin(other), end(other))
                && group(one, store) == group(other, store);
    }
}
