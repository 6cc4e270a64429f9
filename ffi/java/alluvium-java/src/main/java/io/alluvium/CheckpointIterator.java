package io.alluvium;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;

/**
 * Goes through everything in a checkpoint. One thread at a time.
 *
 * <p>One that failed fails again with the same error, whatever its class; begin with a new one.
 */
public final class CheckpointIterator extends NativeObject implements Iterator<CheckpointIterator.Item> {
    private static final int BATCH_BYTES = 1 << 16;

    private final List<State> states;
    private final Scratch scratch = new Scratch();
    private final ArrayDeque<Item> items = new ArrayDeque<>();
    /** Whether items are gone that the library's iterator is behind. */
    private boolean lost;

    /** A record of a checkpoint. */
    public static final class Item {
        private final State state;
        private final int group;
        private final byte[] key;
        private final byte[] namespace;
        private final byte[] userKey;
        private final long expiryMs;
        private final byte[] value;

        private Item(State state, Scratch scratch) {
            this.state = state;
            group = scratch.takeInt();
            key = scratch.takeBytes();
            namespace = scratch.takeBytes();
            boolean isEntry = scratch.takeFlag();
            byte[] entryKey = scratch.takeBytes();
            userKey = isEntry ? entryKey : null;
            expiryMs = scratch.takeLong();
            value = scratch.takeBytes();
        }

        /** The state. */
        public State state() {
            return state;
        }

        /** The key group. */
        public int group() {
            return group;
        }

        /** The key. */
        public byte[] key() {
            return key;
        }

        /** The namespace. */
        public byte[] namespace() {
            return namespace;
        }

        /** The user key of a map's entry; null of what is none. */
        public byte[] userKey() {
            return userKey;
        }

        /** When it expires, in ms; {@link Long#MAX_VALUE}: never. Elements of lists have times of their own, which are not told. */
        public long expiryMs() {
            return expiryMs;
        }

        /** The value; null of a list. */
        public byte[] value() {
            return state.kind() == State.Kind.LIST ? null : value;
        }

        /** The elements of a list; none of what is no list. */
        public List<byte[]> elements() {
            return state.kind() == State.Kind.LIST ? Packing.elements(value) : new ArrayList<>();
        }
    }

    CheckpointIterator(long handle, Store store, List<State> states) {
        super(ITERATOR, handle, store);
        this.states = states;
    }

    @Override
    public synchronized boolean hasNext() {
        if (!items.isEmpty()) {
            return true;
        }
        if (lost) {
            throw new AlluviumException(Status.OTHER, ErrorClass.FAIL, "the iterator has lost items that there was no memory for");
        }
        long result = Native.iteratorNext(handle(), BATCH_BYTES, scratch.out.address, scratch.out.capacity);
        if (result == Native.NOT_FOUND) {
            return false;
        }
        Failures.check(result);
        // Unless they get here: the library's iterator is behind them.
        lost = true;
        scratch.answered(result);
        while (!scratch.isAtEnd()) {
            items.add(new Item(states.get(scratch.takeInt()), scratch));
        }
        lost = false;
        return true;
    }

    @Override
    public synchronized Item next() {
        if (!hasNext()) {
            throw new NoSuchElementException();
        }
        return items.remove();
    }
}
