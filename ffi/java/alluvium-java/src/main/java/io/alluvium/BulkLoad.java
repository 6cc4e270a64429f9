package io.alluvium;

import java.util.List;

/**
 * A load of sorted data, which goes to disk at once: records come in the order of key group, state, key, namespace and user key. Nothing of
 * it is there to be read before {@link #finish}; closing it before gives it up. One thread at a time.
 *
 * <p>A load of which something could not be written has failed: it takes no more records and doesn't end well, and says so with
 * {@link Status#OPTIONS} where the first error was of the class {@link ErrorClass#RETRY}. Close it, and begin another one. What was refused as
 * wrong changes nothing.
 */
public final class BulkLoad extends NativeObject {
    private final Store store;
    private final Scratch scratch = new Scratch();

    BulkLoad(long handle, Store store) {
        super(BULK_LOAD, handle, store);
        this.store = store;
    }

    /** Sets the clock by which what is loaded from now on expires, in ms; it begins at 0. */
    public synchronized void setTimeMs(long nowMs) {
        Failures.check(Native.bulkSetTime(handle(), nowMs));
    }

    private Memory packed(byte[] value) {
        scratch.end = 0;
        scratch.putBytes(value);
        return scratch.in;
    }

    /** Loads a value. */
    public synchronized void put(State state, Key key, byte[] value) {
        Memory keys = key.memory();
        Memory values = packed(value);
        Failures.check(Native.bulkPut(
                handle(), state.in(store), key.group(), keys.address, key.keyLen(keys), key.namespaceLen(keys),
                values.address + 4, value.length));
        keys.keep();
        values.keep();
    }

    /** Loads a list, which isn't empty. */
    public synchronized void putList(State state, Key key, List<byte[]> elements) {
        scratch.end = 0;
        scratch.putAll(elements);
        Memory keys = key.memory();
        Memory values = scratch.in;
        Failures.check(Native.bulkPutList(
                handle(), state.in(store), key.group(), keys.address, key.keyLen(keys), key.namespaceLen(keys),
                values.address, scratch.end));
        keys.keep();
        values.keep();
    }

    /** Loads an entry of a map. */
    public synchronized void mapPut(State state, Key key, byte[] userKey, byte[] value) {
        Memory keys = key.withUserKey(userKey);
        Memory values = packed(value);
        Failures.check(Native.bulkMapPut(
                handle(), state.in(store), key.group(), keys.address, key.keyLen(keys), key.namespaceLen(keys), keys.part(userKey.length),
                values.address + 4, value.length));
        keys.keep();
        values.keep();
    }

    /**
     * Ends the load: what was loaded is there to be read, all at once. {@link Status#STATE} where the store has something of it already:
     * then nothing is loaded. It is closed whatever this comes to.
     */
    public void finish() {
        if (isClosed()) {
            throw new ClosedException(Status.HANDLE, "the load is finished or was given up");
        }
        close(Native::bulkFinish);
    }
}
