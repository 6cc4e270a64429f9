package io.alluvium;

/**
 * Keys of a call on many, packed into memory outside of Java's heap: filled, used, cleared, and filled again, without allocating. It belongs
 * to one thread at a time.
 */
public final class Keys {
    /**
     * A key's entry is one long: where it ends (31 bits; it begins where the one before ends), its group and one, or 0 for that of its hash
     * (17 bits), and the length of its namespace (16 bits).
     */
    private static final int ENTRY = 8;

    private static final int GROUP_SHIFT = 31;
    private static final int NAMESPACE_SHIFT = 48;
    private static final int NAMESPACE_MAX = 65_535;

    private Memory index = Memory.allocate(64 * ENTRY);
    private Memory data = Memory.allocate(64 * 32);
    private int size;
    private int end;

    /** No keys. */
    public Keys() {}

    /** Takes all keys out. */
    public Keys clear() {
        size = 0;
        end = 0;
        return this;
    }

    /** How many there are. */
    public int size() {
        return size;
    }

    /** Adds a key of the key group of its hash, in no namespace. */
    public Keys add(byte[] key) {
        reserve(key.length);
        data.copyIn(end, key, 0, key.length);
        end += key.length;
        return entry(-1, 0);
    }

    /** Adds a key of 8 bytes, little-endian, of the key group of its hash, in no namespace. */
    public Keys addLong(long key) {
        reserve(Long.BYTES);
        data.buffer.putLong(end, key);
        end += Long.BYTES;
        return entry(-1, 0);
    }

    /** Adds a key with its namespace and group. */
    public Keys add(Key key) {
        Memory from = key.memory();
        if (key.namespaceLen() > NAMESPACE_MAX) {
            throw new AlluviumException(Status.TOO_LONG, ErrorClass.USAGE, "a namespace is longer than 65,000 bytes");
        }
        int len = key.keyLen() + key.namespaceLen();
        reserve(len);
        data.copyIn(end, from, 0, len);
        end += len;
        return entry(key.group(), key.namespaceLen());
    }

    private void reserve(int len) {
        if (len > data.capacity - end) {
            data = data.grown(end, (long) end + len);
        }
    }

    private Keys entry(int group, int namespaceLen) {
        int at = size * ENTRY;
        if (at + ENTRY > index.capacity) {
            index = index.grown(at, (long) at + ENTRY);
        }
        index.buffer.putLong(at, end | (group + 1L) << GROUP_SHIFT | (long) namespaceLen << NAMESPACE_SHIFT);
        size++;
        return this;
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

    private int begin(int place) {
        return place == 0 ? 0 : end(place - 1);
    }

    private int end(int place) {
        return index.buffer.getInt(place * ENTRY) & Integer.MAX_VALUE;
    }

    private long groupAndNamespace(int place) {
        return index.buffer.getLong(place * ENTRY) >>> GROUP_SHIFT;
    }

    int hash(int place) {
        int hash = (int) groupAndNamespace(place);
        for (int at = begin(place); at < end(place); at++) {
            hash = 31 * hash + data.buffer.get(at);
        }
        return (int) ((hash * 0x9E3779B97F4A7C15L) >>> 32);
    }

    boolean isSame(int one, int other) {
        int len = end(one) - begin(one);
        boolean same = len == end(other) - begin(other)
                && groupAndNamespace(one) == groupAndNamespace(other);
        for (int at = 0; same && at < len; at++) {
            same = data.buffer.get(begin(one) + at) == data.buffer.get(begin(other) + at);
        }
        return same;
    }
}
