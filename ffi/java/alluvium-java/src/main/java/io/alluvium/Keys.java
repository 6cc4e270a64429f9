package io.alluvium;

/**
 * Keys of a call on many, packed into memory outside of Java's heap: filled, used, cleared, and filled again, without allocating. It belongs
 * to one thread at a time.
 */
public final class Keys {
    /** {@code group i32 | end i32 | len(namespace) i32}: a key begins where the one before ends. */
    private static final int ENTRY = 12;

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
        index.buffer.putInt(at, group);
        index.buffer.putInt(at + 4, end);
        index.buffer.putInt(at + 8, namespaceLen);
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
        return place == 0 ? 0 : index.buffer.getInt((place - 1) * ENTRY + 4);
    }

    private int end(int place) {
        return index.buffer.getInt(place * ENTRY + 4);
    }

    int hash(int place) {
        int hash = index.buffer.getInt(place * ENTRY + 8);
        for (int at = begin(place); at < end(place); at++) {
            hash = 31 * hash + data.buffer.get(at);
        }
        return (int) ((hash * 0x9E3779B97F4A7C15L) >>> 32);
    }

    boolean isSame(int one, int other) {
        int len = end(one) - begin(one);
        boolean same = len == end(other) - begin(other)
                && index.buffer.getInt(one * ENTRY) == index.buffer.getInt(other * ENTRY)
                && index.buffer.getInt(one * ENTRY + 8) == index.buffer.getInt(other * ENTRY + 8);
        for (int at = 0; same && at < len; at++) {
            same = data.buffer.get(begin(one) + at) == data.buffer.get(begin(other) + at);
        }
        return same;
    }
}
