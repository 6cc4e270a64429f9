package io.alluvium.bench;

import java.nio.file.Path;

/**
 * What is measured: one engine, with a state of values and one of lists. Places are those of {@link Data}'s keys. Answers are numbers that
 * depend on what was read, so that reading can't be left out.
 */
interface Subject extends AutoCloseable {
    /** Opens it in an empty directory. */
    void open(Path directory, Data data);

    /** The length of the value of one key, copied into an array that is used again; -1 where there is none. */
    int get(byte[] key);

    /** Puts a value of one key. */
    void put(byte[] key, byte[] value);

    /** Reads a value into an array that is used again, adds one to its first 8 bytes, and puts it. */
    void update(byte[] key);

    /** The same by a function of the host's that makes the new value, where there is such a call. */
    default void updateBy(byte[] key) {
        update(key);
    }

    /** The first byte of a value. */
    byte first(byte[] key);

    /** Appends 8 bytes to a list. */
    void append(byte[] key, byte[] element);

    /** Deletes a list. */
    void clear(byte[] key);

    /** {@link #get} of many keys in one call, where there is such a call: the sum of their lengths. */
    long getMany(byte[][] keys);

    /** {@link #put} of many. */
    void putMany(byte[][] keys, byte[] value);

    /** {@link #update} of many. */
    void updateMany(byte[][] keys);

    /** {@link #updateBy} of many. */
    default void updateManyBy(byte[][] keys) {
        updateMany(keys);
    }

    /** {@link #append} to many. */
    void appendMany(byte[][] keys, byte[] element);

    /** Goes through all keys of the values, so many a call where calls give several, and says how many bytes they have. 0: as many as it gives by itself. */
    long scan(int batch);

    @Override
    void close();
}
