package io.alluvium;

/** An entry of a map: a user key and its value, which are the caller's own. */
public final class Entry {
    private final byte[] userKey;
    private final byte[] value;

    Entry(byte[] userKey, byte[] value) {
        this.userKey = userKey;
        this.value = value;
    }

    /** The user key. */
    public byte[] userKey() {
        return userKey;
    }

    /** The value. */
    public byte[] value() {
        return value;
    }
}
