package io.alluvium;

import java.util.List;
import java.util.function.UnaryOperator;

/**
 * The state as a {@link Handler}, {@link Compensation} or {@link Invariant} sees it: that of its event's key group. Good on the thread of that, until it returns. Keys of other key
 * groups are refused with {@link Status#OUTSIDE_RANGE}.
 */
public final class Applying {
    private static final int GROUP = 0;
    private static final int NOW_MS = 1;
    private static final int PUT = 0;
    private static final int APPEND = 2;
    private static final int MERGE = 3;

    private final Store store;
    private final Scratch scratch = new Scratch();
    private long id;

    Applying(long id, Store store) {
        this.id = id;
        this.store = store;
    }

    void end() {
        id = 0;
    }

    /** The key group of the event. */
    public int group() {
        return (int) Failures.check(Native.applyingNumber(id, GROUP));
    }

    /** The writer's clock, in ms, which is logged with the event. */
    public long nowMs() {
        return Failures.check(Native.applyingNumber(id, NOW_MS));
    }

    /**
     * Something that isn't the same each time, such as the time or a random number: takes what it is now, and returns what to go on with. That is logged;
     * where the event is applied again it is returned, and {@code drawn} counts for nothing.
     */
    public byte[] determinant(byte[] drawn) {
        Memory in = copied(drawn);
        long result = Native.applyingDeterminant(id, in.address, drawn.length, scratch.out.address, scratch.out.capacity);
        in.keep();
        scratch.answered(result);
        return scratch.takeAll();
    }

    /** The value of a key; null where there is none. For value and merging states. */
    public byte[] get(State state, Key key) {
        while (true) {
            Memory keys = key.memory();
            Memory out = scratch.out;
            int len = Writer.length(Native.applyingGet(
                    id, state.in(store), key.group(), keys.address, key.keyLen(keys), key.namespaceLen(keys), out.address, out.capacity));
            keys.keep();
            if (len <= out.capacity) {
                return len < 0 ? null : out.bytes(0, len);
            }
            scratch.out = out.grown(0, len);
        }
    }

    /** Puts a value. For value states. */
    public void put(State state, Key key, byte[] value) {
        add(PUT, state, key, value);
    }

    /** Reads a value and puts what {@code change} makes of it: null stands for none, before and after. For value states. */
    public void update(State state, Key key, UnaryOperator<byte[]> change) {
        byte[] changed = change.apply(get(state, key));
        if (changed == null) {
            delete(state, key);
        } else {
            put(state, key, changed);
        }
    }

    /** Appends an element to a list. */
    public void append(State state, Key key, byte[] element) {
        add(APPEND, state, key, element);
    }

    /** Merges an operand into a value. */
    public void merge(State state, Key key, byte[] operand) {
        add(MERGE, state, key, operand);
    }

    private void add(int operation, State state, Key key, byte[] value) {
        Memory keys = key.memory();
        Memory in = copied(value);
        Failures.check(Native.applyingAdd(
                id, operation, state.in(store), key.group(), keys.address, key.keyLen(keys), key.namespaceLen(keys), in.address, value.length));
        keys.keep();
        in.keep();
    }

    private Memory copied(byte[] bytes) {
        if (bytes.length > scratch.in.capacity) {
            scratch.in = scratch.in.grown(0, bytes.length);
        }
        scratch.in.copyIn(0, bytes, 0, bytes.length);
        return scratch.in;
    }

    /** Deletes a value or list. */
    public void delete(State state, Key key) {
        Memory keys = key.memory();
        Failures.check(Native.applyingDelete(
                id, state.in(store), key.group(), keys.address, key.keyLen(keys), key.namespaceLen(keys)));
        keys.keep();
    }

    /** The elements of a list, in the order of their appending. */
    public List<byte[]> list(State state, Key key) {
        Memory keys = key.memory();
        long result = Native.applyingList(
                id, state.in(store), key.group(), keys.address, key.keyLen(keys), key.namespaceLen(keys),
                scratch.out.address, scratch.out.capacity);
        keys.keep();
        return Packing.elements(scratch.answered(result) ? scratch.takeAll() : new byte[0]);
    }

    private Memory packed(List<byte[]> parts) {
        scratch.end = 0;
        return scratch.putAll(parts).in;
    }

    /** Appends several elements to a list, in order. */
    public void appendAll(State state, Key key, List<byte[]> elements) {
        Memory keys = key.memory();
        Memory in = packed(elements);
        Failures.check(Native.applyingAppendAll(
                id, state.in(store), key.group(), keys.address, key.keyLen(keys), key.namespaceLen(keys), in.address, scratch.end));
        keys.keep();
        in.keep();
    }

    /** Replaces a list; an empty one deletes it. */
    public void putList(State state, Key key, List<byte[]> elements) {
        Memory keys = key.memory();
        Memory in = packed(elements);
        Failures.check(Native.applyingPutList(
                id, state.in(store), key.group(), keys.address, key.keyLen(keys), key.namespaceLen(keys), in.address, scratch.end));
        keys.keep();
        in.keep();
    }

    /**
     * Moves what a key holds in some namespaces to {@code key}'s own: lists are appended to its list, values merged into its value. For list
     * and merging states.
     */
    public void mergeNamespaces(State state, Key key, List<byte[]> sources) {
        Memory keys = key.memory();
        Memory in = packed(sources);
        Failures.check(Native.applyingMergeNamespaces(
                id, state.in(store), key.group(), keys.address, key.keyLen(keys), key.namespaceLen(keys), in.address, scratch.end));
        keys.keep();
        in.keep();
    }

    /** The value of a map's entry; null where there is none. */
    public byte[] mapGet(State state, Key key, byte[] userKey) {
        while (true) {
            Memory keys = key.withUserKey(userKey);
            Memory out = scratch.out;
            int len = Writer.length(Native.applyingMapGet(
                    id, state.in(store), key.group(), keys.address, key.keyLen(keys), key.namespaceLen(keys), keys.part(userKey.length),
                    out.address, out.capacity));
            keys.keep();
            if (len <= out.capacity) {
                return len < 0 ? null : out.bytes(0, len);
            }
            scratch.out = out.grown(0, len);
        }
    }

    /** Whether a map has an entry. */
    public boolean mapContains(State state, Key key, byte[] userKey) {
        Memory keys = key.withUserKey(userKey);
        long result = Native.applyingMapContains(
                id, state.in(store), key.group(), keys.address, key.keyLen(keys), key.namespaceLen(keys), keys.part(userKey.length));
        keys.keep();
        return Failures.check(result) != 0;
    }

    /** The entry of a map with the smallest user key; null where there is none. */
    public Entry mapFirst(State state, Key key) {
        return first(state, key, false);
    }

    /** Takes the entry with the smallest user key out of a map; null where there is none. */
    public Entry mapPopFirst(State state, Key key) {
        return first(state, key, true);
    }

    private Entry first(State state, Key key, boolean pop) {
        while (true) {
            Memory keys = key.memory();
            long result = Native.applyingMapFirst(
                    id, state.in(store), key.group(), keys.address, key.keyLen(keys), key.namespaceLen(keys), pop ? 1 : 0,
                    scratch.out.address, scratch.out.capacity);
            keys.keep();
            if (!pop || result <= scratch.out.capacity) {
                return scratch.answered(result) ? Packing.entries(scratch.takeAll()).get(0) : null;
            }
            // It is still there: nothing is taken out that there is no room for.
            scratch.out = scratch.out.grown(0, result);
        }
    }

    /** Puts an entry of a map. */
    public void mapPut(State state, Key key, byte[] userKey, byte[] value) {
        Memory keys = key.withUserKey(userKey);
        Memory in = copied(value);
        Failures.check(Native.applyingMapPut(
                id, state.in(store), key.group(), keys.address, key.keyLen(keys), key.namespaceLen(keys), keys.part(userKey.length),
                in.address, value.length));
        keys.keep();
        in.keep();
    }

    /** Deletes an entry of a map. */
    public void mapDelete(State state, Key key, byte[] userKey) {
        Memory keys = key.withUserKey(userKey);
        Failures.check(Native.applyingMapDelete(
                id, state.in(store), key.group(), keys.address, key.keyLen(keys), key.namespaceLen(keys), keys.part(userKey.length)));
        keys.keep();
    }

    /** Deletes the entries of a map in a range, whatever its direction, without going through them. */
    public void mapDeleteRange(State state, Key key, MapRange range) {
        Memory keys = key.memory();
        scratch.end = 0;
        range.write(scratch);
        Memory in = scratch.in;
        Failures.check(Native.applyingMapDeleteRange(
                id, state.in(store), key.group(), keys.address, key.keyLen(keys), key.namespaceLen(keys), in.address, scratch.end));
        keys.keep();
        in.keep();
    }

    /** Deletes the entries of a map. */
    public void mapClear(State state, Key key) {
        Memory keys = key.memory();
        Failures.check(Native.applyingMapClear(
                id, state.in(store), key.group(), keys.address, key.keyLen(keys), key.namespaceLen(keys)));
        keys.keep();
    }

    /** The entries of a map in a range, in order. */
    public List<Entry> entries(State state, Key key, MapRange range) {
        scratch.end = 0;
        range.write(scratch.putKey(key));
        long result = Native.applyingEntries(
                id, state.in(store), scratch.in.address, scratch.end, scratch.out.address, scratch.out.capacity);
        return Packing.entries(scratch.answered(result) ? scratch.takeAll() : new byte[0]);
    }
}
