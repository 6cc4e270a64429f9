package io.alluvium.flink;

import io.alluvium.Cursor;
import io.alluvium.Key;

/** A key in a namespace that lasts: on Java's heap, as the memory of a {@link Key} is outside of it, and dear to take. */
final class StoredKey {
    final byte[] key;
    final byte[] namespace;
    final int group;

    private StoredKey(byte[] key, byte[] namespace, int group) {
        this.key = key;
        this.namespace = namespace;
        this.group = group;
    }

    /** What a key is now. */
    static StoredKey of(Key key) {
        return new StoredKey(key.key(), key.namespace(), key.group());
    }

    /** What a cursor is at. */
    static StoredKey of(Cursor cursor) {
        return new StoredKey(cursor.key(), cursor.namespace(), cursor.group());
    }

    /** Sets a key to this. */
    Key in(Key key) {
        return key.set(this.key).namespace(namespace).group(group);
    }
}
