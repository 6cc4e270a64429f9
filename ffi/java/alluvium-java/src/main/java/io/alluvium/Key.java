package io.alluvium;

import java.nio.ByteBuffer;
import java.util.Objects;

/**
 * A key, in a namespace, of a key group: set, used, and set again, without allocating.
 *
 * <pre>{@code
 * Key key = new Key();
 * writer.put(state, key.set(route).namespace(window), value);
 * }</pre>
 *
 * <p>It belongs to one thread at a time. Key and namespace have 65,000 bytes together at most.
 */
public final class Key {
    private static final int CAPACITY = 384;

    /**
     * Key, namespace and user key, of which each has a third at most. So the lengths that a call passes can be held to what there is, also
     * where another thread, which has no business here, changes them.
     */
    private Memory memory = Memory.allocate(CAPACITY);
    private int keyLen;
    private int namespaceLen;
    private int group = -1;

    /** An empty key. */
    public Key() {}

    /** A key of these bytes. */
    public static Key of(byte[] key) {
        return new Key().set(key);
    }

    /** Sets the key. Its namespace becomes empty, its group that of its hash. */
    public Key set(byte[] key) {
        return set(key, 0, key.length);
    }

    /** Sets the key to part of an array. Its namespace becomes empty, its group that of its hash. */
    public Key set(byte[] key, int offset, int len) {
        Objects.checkFromIndexSize(offset, len, key.length);
        reserve(0, len);
        memory.copyIn(0, key, offset, len);
        return reset(len);
    }

    /** Sets the key to what remains in a buffer, which is left as it is. Its namespace becomes empty, its group that of its hash. */
    public Key set(ByteBuffer key) {
        int begin = key.position();
        int len = Memory.remaining(key, begin);
        reserve(0, len);
        memory.copyIn(0, key, begin, len);
        return reset(len);
    }

    private Key reset(int len) {
        keyLen = len;
        namespaceLen = 0;
        group = -1;
        return this;
    }

    /** Sets the namespace. */
    public Key namespace(byte[] namespace) {
        reserve(keyLen, namespace.length);
        memory.copyIn(keyLen, namespace, 0, namespace.length);
        namespaceLen = namespace.length;
        return this;
    }

    /** Sets the namespace to what remains in a buffer, which is left as it is. */
    public Key namespace(ByteBuffer namespace) {
        int begin = namespace.position();
        int len = Memory.remaining(namespace, begin);
        reserve(keyLen, len);
        memory.copyIn(keyLen, namespace, begin, len);
        namespaceLen = len;
        return this;
    }

    /**
     * Sets the key group, for hosts that have a hash of their own. The group is part of what names a key, so the same bytes in two groups are
     * two keys: either all keys of a state go by the hash, or all by the host's groups.
     *
     * @throws IllegalArgumentException unless it is in 0 to 65,535
     */
    public Key group(int group) {
        if (group < 0 || group > 65_535) {
            throw new IllegalArgumentException("no key group: " + group);
        }
        this.group = group;
        return this;
    }

    /** The key group that was set; -1 where it is that of the key's hash. */
    public int group() {
        return group;
    }

    /** The key's bytes, copied. */
    public byte[] key() {
        return memory.bytes(0, keyLen);
    }

    /** The namespace's bytes, copied. */
    public byte[] namespace() {
        return memory.bytes(keyLen, namespaceLen);
    }

    private void reserve(int kept, int len) {
        if (len > memory.third) {
            memory = memory.grown(kept, 3L * len);
        }
    }

    Memory memory() {
        return memory;
    }

    int keyLen() {
        return keyLen;
    }

    int namespaceLen() {
        return namespaceLen;
    }

    /** The key's length, for a call on this memory. */
    int keyLen(Memory memory) {
        return memory.part(keyLen);
    }

    /** The namespace's length, for a call on this memory. */
    int namespaceLen(Memory memory) {
        return memory.part(namespaceLen);
    }

    /** Puts a user key behind the namespace, where it stays until the key is set. */
    Memory withUserKey(byte[] userKey) {
        int before = keyLen + namespaceLen;
        reserve(before, userKey.length);
        memory.copyIn(before, userKey, 0, userKey.length);
        return memory;
    }

    /** The same with part of a buffer. */
    Memory withUserKey(ByteBuffer userKey, int begin, int len) {
        int before = keyLen + namespaceLen;
        reserve(before, len);
        memory.copyIn(before, userKey, begin, len);
        return memory;
    }
}
