package io.alluvium;

/**
 * Reads beside the writers. Any thread may use it; threads that read much have one each, which saves them from waiting for each other.
 */
public final class Reader extends ReadView {
    Reader(long handle, Store store) {
        super(READER, handle, store);
    }

    /** Whether a map has an entry. */
    public boolean mapContains(State state, Key key, byte[] userKey) {
        Memory keys = key.withUserKey(userKey);
        long result = Native.readerMapContains(
                handle(), state.in(store), key.group(), keys.address, key.keyLen(keys), key.namespaceLen(keys), keys.part(userKey.length));
        keys.keep();
        return Failures.check(result) != 0;
    }

    @Override
    long get(int state, int group, long key, int keyLen, int namespaceLen, long into, int capacity) {
        return Native.readerGet(handle(), state, group, key, keyLen, namespaceLen, into, capacity);
    }

    @Override
    long list(int state, int group, long key, int keyLen, int namespaceLen, long into, int capacity) {
        return Native.readerList(handle(), state, group, key, keyLen, namespaceLen, into, capacity);
    }

    @Override
    long mapGet(
            int state, int group, long key, int keyLen, int namespaceLen, int userKeyLen, long into, int capacity) {
        return Native.readerMapGet(
                handle(), state, group, key, keyLen, namespaceLen, userKeyLen, into, capacity);
    }

    @Override
    long fetch(long cursor, long into, int capacity) {
        return Native.readerFetch(handle(), cursor, into, capacity);
    }

    @Override
    long setTime(long nowMs) {
        return Native.readerSetTime(handle(), nowMs);
    }
}
