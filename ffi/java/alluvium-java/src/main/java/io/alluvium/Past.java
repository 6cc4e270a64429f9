package io.alluvium;

import java.util.List;

/**
 * A store as it was at a position of its changelog, read while it goes on. Any thread may use it. It keeps files on disk until it is closed,
 * and counts as a snapshot.
 *
 * <p>Each read goes through the changelog between the nearest checkpoint and the position. It fails with {@link Status#POSITION} where the
 * changelog can't tell: a bulk load or a migration lies there, or events of the key's group.
 */
public final class Past extends PointView {
    private final long position;

    Past(long handle, Store store, long position) {
        super(PAST, handle, store);
        this.position = position;
    }

    /** The position. */
    public long position() {
        return position;
    }

    /** The entries of a map in a range, in order, all at once. */
    public List<Entry> entries(State state, Key key, MapRange range) {
        Scratch scratch = Scratch.take();
        try {
            range.write(scratch.putKey(key));
            long result = Native.pastEntries(
                    handle(), state.in(store), scratch.in.address, scratch.end, scratch.out.address, scratch.out.capacity);
            return Packing.entries(scratch.answered(result) ? scratch.takeAll() : new byte[0]);
        } finally {
            scratch.give();
        }
    }

    @Override
    long get(int state, int group, long key, int keyLen, int namespaceLen, long into, int capacity) {
        return Native.pastGet(handle(), state, group, key, keyLen, namespaceLen, into, capacity);
    }

    @Override
    long list(int state, int group, long key, int keyLen, int namespaceLen, long into, int capacity) {
        return Native.pastList(handle(), state, group, key, keyLen, namespaceLen, into, capacity);
    }

    @Override
    long mapGet(
            int state, int group, long key, int keyLen, int namespaceLen, int userKeyLen, long into, int capacity) {
        return Native.pastMapGet(handle(), state, group, key, keyLen, namespaceLen, userKeyLen, into, capacity);
    }

    @Override
    long setTime(long nowMs) {
        return Native.pastSetTime(handle(), nowMs);
    }
}
