package io.alluvium;

/**
 * A store as it was at some moment, read while it goes on. Any thread may use it. It keeps files on disk until it is closed.
 */
public final class Snapshot extends ReadView {
    Snapshot(long handle, Store store) {
        super(SNAPSHOT, handle, store);
    }

    /** Waits until what it holds is flushed. Reads do so by themselves. */
    public void await() {
        Failures.check(Native.snapshotWait(handle()));
    }

    @Override
    long get(int state, int group, long key, int keyLen, int namespaceLen, long into, int capacity) {
        return Native.snapshotGet(handle(), state, group, key, keyLen, namespaceLen, into, capacity);
    }

    @Override
    long list(int state, int group, long key, int keyLen, int namespaceLen, long into, int capacity) {
        return Native.snapshotList(handle(), state, group, key, keyLen, namespaceLen, into, capacity);
    }

    @Override
    long mapGet(
            int state, int group, long key, int keyLen, int namespaceLen, int userKeyLen, long into, int capacity) {
        return Native.snapshotMapGet(
                handle(), state, group, key, keyLen, namespaceLen, userKeyLen, into, capacity);
    }

    @Override
    long fetch(long cursor, long into, int capacity) {
        return Native.snapshotFetch(handle(), cursor, into, capacity);
    }

    @Override
    long setTime(long nowMs) {
        return Native.snapshotSetTime(handle(), nowMs);
    }
}
