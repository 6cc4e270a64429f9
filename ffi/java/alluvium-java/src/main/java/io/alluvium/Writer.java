package io.alluvium;

import java.nio.ByteBuffer;
import java.util.List;
import java.util.function.UnaryOperator;

/**
 * The owner of a range of key groups: reads and changes their keys.
 *
 * <p>A writer belongs to the thread that made it; any other gets a {@link WrongThreadException}. Its thread may {@linkplain #giveAway give
 * it away} to one that {@linkplain #adopt adopts} it, or {@linkplain #share share} it with all. One that a virtual thread makes or adopts is
 * shared at once, as the library knows only the thread that carries it, which changes.
 *
 * <p>Methods that take an array or buffer to put a value {@code into} allocate nothing. They return the value's length, or -1 where there is
 * none; where the length is greater than the room, nothing was copied. A buffer's position moves behind what was put into it, and one that is read-only is
 * refused ({@link java.nio.ReadOnlyBufferException}). What is given is what remains in a buffer, direct or not, which is left as it is.
 *
 * <p>Methods whose names end in {@code At} take addresses of memory outside of Java's heap, which has to be there until they return: nobody
 * checks that, and a wrong one crashes the process. The namespace lies directly behind the key. A {@code group} of -1 is that of the
 * key's hash.
 */
public final class Writer extends MapsObject {
    // Operations on many keys, with their numbers in packed batches.
    private static final int PUT = 0;
    private static final int DELETE = 1;
    private static final int APPEND = 2;
    private static final int MERGE = 3;
    private static final int NONE = -1;

    private final Key own = new Key();
    private final Cursor.View view = new Cursor.View(this::fetch);
    private Updates updates;

    Writer(long handle, Store store, boolean shared) {
        super(handle, store, shared);
    }

    /**
     * Sets the clock that decides what is expired, in ms. It is the caller's, begins at 0 with each writer, and only moves when it is set: so it
     * is set before the first operation where anything expires. Compaction purges by the lowest clock of the store's writers: one that never
     * sets it keeps everything.
     */
    public void setTimeMs(long nowMs) {
        boolean locked = enter();
        try {
            Failures.check(Native.writerSetTime(handle(), nowMs));
        } finally {
            leave(locked);
        }
    }

    /** The value of a key; null where there is none. For value and merging states. */
    public byte[] get(State state, byte[] key) {
        boolean locked = enter();
        try {
            return get(state, own.set(key));
        } finally {
            leave(locked);
        }
    }

    /** The value of a key; null where there is none. For value and merging states. */
    public byte[] get(State state, Key key) {
        boolean locked = enter();
        try {
            int len = find(state, key, Integer.MAX_VALUE);
            return len < 0 ? null : scratch.out.bytes(0, len);
        } finally {
            leave(locked);
        }
    }

    /** The value of a key, into an array: its length, or -1. For value and merging states. */
    public int get(State state, byte[] key, byte[] into) {
        boolean locked = enter();
        try {
            return get(state, own.set(key), into);
        } finally {
            leave(locked);
        }
    }

    /** The value of a key, into an array: its length, or -1. For value and merging states. */
    public int get(State state, Key key, byte[] into) {
        boolean locked = enter();
        try {
            int len = find(state, key, into.length);
            if (0 < len && len <= into.length) {
                scratch.out.copyOut(0, into, 0, len);
            }
            return len;
        } finally {
            leave(locked);
        }
    }

    /** The value of a key, into a buffer, whose position moves behind it: its length, or -1. For value and merging states. */
    public int get(State state, Key key, ByteBuffer into) {
        boolean locked = enter();
        try {
            int room = Memory.room(into);
            int len = find(state, key, room);
            if (0 < len && len <= room) {
                scratch.out.copyOut(0, len, into);
            }
            return len;
        } finally {
            leave(locked);
        }
    }

    /** The value of a key at an address, to another address: its length, or -1. */
    public int getAt(
            State state, int group, long key, int keyLen, int namespaceLen, long into, int capacity) {
        boolean locked = enter();
        try {
            return length(Native.writerGet(
                    handle(), state.in(store), group, key, keyLen, namespaceLen, into, capacity));
        } finally {
            leave(locked);
        }
    }

    /** Finds a value, into this writer's memory if it isn't longer than {@code max}. */
    private int find(State state, Key key, int max) {
        Memory keys = key.memory();
        Memory out = scratch.out;
        int len = length(Native.writerGet(
                handle(), state.in(store), key.group(), keys.address, key.keyLen(keys), key.namespaceLen(keys),
                out.address, out.capacity));
        keys.keep();
        if (len > out.capacity && len <= max) {
            scratch.out = out.grown(0, len);
            return find(state, key, max);
        }
        return len;
    }

    static int length(long result) {
        if (result >= 0) {
            return (int) result;
        }
        if (result == Native.NOT_FOUND) {
            return NONE;
        }
        throw Failures.exception(result, null);
    }

    /** Puts a value. For value and merging states. */
    public void put(State state, byte[] key, byte[] value) {
        boolean locked = enter();
        try {
            put(state, own.set(key), value);
        } finally {
            leave(locked);
        }
    }

    /** Puts a value. For value and merging states. */
    public void put(State state, Key key, byte[] value) {
        boolean locked = enter();
        try {
            putIn(state, key, given(value), value.length);
        } finally {
            leave(locked);
        }
    }

    /** Puts what remains in a buffer, which is left as it is. For value and merging states. */
    public void put(State state, Key key, ByteBuffer value) {
        boolean locked = enter();
        try {
            // First: the memory may be another one afterwards.
            int len = given(value);
            putIn(state, key, scratch.in, len);
        } finally {
            leave(locked);
        }
    }

    private void putIn(State state, Key key, Memory value, int len) {
        Memory keys = key.memory();
        Failures.check(Native.writerPut(
                handle(), state.in(store), key.group(), keys.address, key.keyLen(keys), key.namespaceLen(keys),
                value.address, len));
        keys.keep();
    }

    /** Puts a value at an address, of a key at another. */
    public void putAt(State state, int group, long key, int keyLen, int namespaceLen, long value, int len) {
        boolean locked = enter();
        try {
            Failures.check(Native.writerPut(handle(), state.in(store), group, key, keyLen, namespaceLen, value, len));
        } finally {
            leave(locked);
        }
    }

    /** Deletes a value, a list, or a merging state's value. */
    public void delete(State state, byte[] key) {
        boolean locked = enter();
        try {
            delete(state, own.set(key));
        } finally {
            leave(locked);
        }
    }

    /** Deletes a value, a list, or a merging state's value. */
    public void delete(State state, Key key) {
        boolean locked = enter();
        try {
            Memory keys = key.memory();
            Failures.check(Native.writerDelete(
                    handle(), state.in(store), key.group(), keys.address, key.keyLen(keys), key.namespaceLen(keys)));
            keys.keep();
        } finally {
            leave(locked);
        }
    }

    /**
     * Reads a value and puts what {@code change} makes of it: null stands for none, before and after. The function must leave this writer
     * and the key alone. For value states.
     */
    public void update(State state, byte[] key, UnaryOperator<byte[]> change) {
        boolean locked = enter();
        try {
            byte[] changed = change.apply(get(state, key));
            if (changed == null) {
                delete(state, key);
            } else {
                put(state, key, changed);
            }
        } finally {
            leave(locked);
        }
    }

    /** The same with a key that is used again. */
    public void update(State state, Key key, UnaryOperator<byte[]> change) {
        boolean locked = enter();
        try {
            byte[] changed = change.apply(get(state, key));
            if (changed == null) {
                delete(state, key);
            } else {
                put(state, key, changed);
            }
        } finally {
            leave(locked);
        }
    }

    /** Merges an operand into a value, without reading it. For merging states. */
    public void merge(State state, byte[] key, byte[] operand) {
        boolean locked = enter();
        try {
            mergeIn(state, own.set(key), given(operand), operand.length);
        } finally {
            leave(locked);
        }
    }

    /** Merges an operand into a value, without reading it. For merging states. */
    public void merge(State state, Key key, byte[] operand) {
        boolean locked = enter();
        try {
            mergeIn(state, key, given(operand), operand.length);
        } finally {
            leave(locked);
        }
    }

    /** Merges what remains in a buffer, which is left as it is, into a value, without reading it. For merging states. */
    public void merge(State state, Key key, ByteBuffer operand) {
        boolean locked = enter();
        try {
            int len = given(operand);
            mergeIn(state, key, scratch.in, len);
        } finally {
            leave(locked);
        }
    }

    /** Merges a long, as 8 bytes, little-endian, which is what operators of {@code U64} and {@code I64} take. */
    public void mergeLong(State state, Key key, long operand) {
        boolean locked = enter();
        try {
            scratch.in.buffer.putLong(0, operand);
            mergeIn(state, key, scratch.in, Long.BYTES);
        } finally {
            leave(locked);
        }
    }

    private void mergeIn(State state, Key key, Memory operand, int len) {
        Memory keys = key.memory();
        Failures.check(Native.writerMerge(
                handle(), state.in(store), key.group(), keys.address, key.keyLen(keys), key.namespaceLen(keys),
                operand.address, len));
        keys.keep();
    }

    /** Appends an element to a list, without reading it. */
    public void append(State state, byte[] key, byte[] element) {
        boolean locked = enter();
        try {
            append(state, own.set(key), element);
        } finally {
            leave(locked);
        }
    }

    /** Appends an element to a list, without reading it. */
    public void append(State state, Key key, byte[] element) {
        boolean locked = enter();
        try {
            appendIn(state, key, given(element), element.length);
        } finally {
            leave(locked);
        }
    }

    /** Appends what remains in a buffer, which is left as it is, to a list, without reading that. */
    public void append(State state, Key key, ByteBuffer element) {
        boolean locked = enter();
        try {
            int len = given(element);
            appendIn(state, key, scratch.in, len);
        } finally {
            leave(locked);
        }
    }

    private void appendIn(State state, Key key, Memory element, int len) {
        Memory keys = key.memory();
        Failures.check(Native.writerAppend(
                handle(), state.in(store), key.group(), keys.address, key.keyLen(keys), key.namespaceLen(keys),
                element.address, len));
        keys.keep();
    }

    /** The elements of a list, in the order of their appending. */
    public List<byte[]> list(State state, byte[] key) {
        boolean locked = enter();
        try {
            return list(state, own.set(key));
        } finally {
            leave(locked);
        }
    }

    /** The elements of a list, in the order of their appending. */
    public List<byte[]> list(State state, Key key) {
        boolean locked = enter();
        try {
            Memory keys = key.memory();
            long result = Native.writerList(
                    handle(), state.in(store), key.group(), keys.address, key.keyLen(keys), key.namespaceLen(keys),
                    scratch.out.address, scratch.out.capacity);
            keys.keep();
            return Packing.elements(scratch.answered(result) ? scratch.takeAll() : new byte[0]);
        } finally {
            leave(locked);
        }
    }

    private Scratch packed(List<byte[]> parts) {
        scratch.end = 0;
        return scratch.putAll(parts);
    }

    /** Appends several elements to a list, in order, without reading it: all of them or, where that fails, none. */
    public void appendAll(State state, Key key, List<byte[]> elements) {
        boolean locked = enter();
        try {
            Memory keys = key.memory();
            packed(elements);
            Failures.check(Native.writerAppendAll(
                    handle(), state.in(store), key.group(), keys.address, key.keyLen(keys), key.namespaceLen(keys),
                    scratch.in.address, scratch.end));
            keys.keep();
        } finally {
            leave(locked);
        }
    }

    /** Replaces a list; an empty one deletes it. */
    public void putList(State state, Key key, List<byte[]> elements) {
        boolean locked = enter();
        try {
            Memory keys = key.memory();
            packed(elements);
            Failures.check(Native.writerPutList(
                    handle(), state.in(store), key.group(), keys.address, key.keyLen(keys), key.namespaceLen(keys),
                    scratch.in.address, scratch.end));
            keys.keep();
        } finally {
            leave(locked);
        }
    }

    /**
     * Moves what a key holds in some namespaces to {@code key}'s own: lists are appended to its list, values merged into its value. For list
     * and merging states.
     */
    public void mergeNamespaces(State state, Key key, List<byte[]> sources) {
        boolean locked = enter();
        try {
            Memory keys = key.memory();
            packed(sources);
            Failures.check(Native.writerMergeNamespaces(
                    handle(), state.in(store), key.group(), keys.address, key.keyLen(keys), key.namespaceLen(keys),
                    scratch.in.address, scratch.end));
            keys.keep();
        } finally {
            leave(locked);
        }
    }

    // Many keys a call.

    /** Reads many keys of a value state: what memory doesn't have is read from disk together. */
    public void getMany(State state, Keys keys, Values found) {
        boolean locked = enter();
        try {
            Memory index = keys.index();
            Memory data = keys.data();
            int count = keys.count(index);
            Memory foundIndex = found.room(count);
            Memory foundData = found.data();
            long result = Native.writerGetMany(
                    handle(), state.in(store), count, index.address, data.address, keys.bytes(data),
                    foundIndex.address, foundData.address, foundData.capacity);
            index.keep();
            data.keep();
            foundIndex.keep();
            foundData.keep();
            found.filled(foundIndex, count, Failures.check(result));
        } finally {
            leave(locked);
        }
    }

    /** Puts the value of each key; where there is none, deletes the key's. Where one fails, those before it are done. */
    public void putMany(State state, Keys keys, Values values) {
        writeMany(state, PUT, keys, values);
    }

    /** Merges an operand into the value of each key. For merging states. Where one fails, those before it are done. */
    public void mergeMany(State state, Keys keys, Values operands) {
        writeMany(state, MERGE, keys, operands);
    }

    /** Appends an element to the list of each key. Where one fails, those before it are done. */
    public void appendMany(State state, Keys keys, Values elements) {
        writeMany(state, APPEND, keys, elements);
    }

    /** Deletes each key. Where one fails, those before it are done. */
    public void deleteMany(State state, Keys keys) {
        writeMany(state, DELETE, keys, null);
    }

    private void writeMany(State state, int operation, Keys keys, Values values) {
        boolean locked = enter();
        try {
            if (values != null && values.size() != keys.size()) {
                throw new IllegalArgumentException(keys.size() + " keys, but " + values.size() + " values");
            }
            Memory index = keys.index();
            Memory data = keys.data();
            int count = keys.count(index);
            Memory valuesIndex = values == null ? index : values.index(count);
            Memory valuesData = values == null ? data : values.data();
            long result = Native.writerWriteMany(
                    handle(), state.in(store), operation, count, index.address, data.address, keys.bytes(data),
                    valuesIndex.address, valuesData.address, values == null ? 0 : values.bytes(valuesData));
            index.keep();
            data.keep();
            valuesIndex.keep();
            valuesData.keep();
            Failures.check(result);
        } finally {
            leave(locked);
        }
    }

    /**
     * Changes many keys of a value state as {@link #update} does, with one call to read them and one to write them. A key that occurs twice
     * is changed twice, in order. Where the call that writes fails, those keys before the one that failed are changed.
     */
    public void updateMany(State state, Keys keys, ManyUpdate change) {
        boolean locked = enter();
        try {
            if (updates == null) {
                updates = new Updates();
            }
            getMany(state, keys, updates.old);
            updates.run(keys, store, change);
            putMany(state, keys, updates.now);
        } finally {
            leave(locked);
        }
    }

    /** Fetches what memory has of these keys into the processor's caches: worth it some dozen keys ahead of their use. */
    public void prefetch(State state, Keys keys) {
        boolean locked = enter();
        try {
            Memory index = keys.index();
            Memory data = keys.data();
            Failures.check(Native.writerPrefetch(
                    handle(), state.in(store), keys.count(index), index.address, data.address, keys.bytes(data)));
            index.keep();
            data.keep();
        } finally {
            leave(locked);
        }
    }

    /** Does the operations of a batch, in order; reads are not among them. Where one fails, those before it are done, those after it not. */
    public void apply(Batch batch) {
        boolean locked = enter();
        try {
            Memory memory = batch.memory(store);
            Failures.check(Native.writerApply(handle(), memory.address, batch.bytes(memory)));
            memory.keep();
        } finally {
            leave(locked);
        }
    }

    /**
     * Does the operations of a batch, in order, reads among them, without waiting for the disk: answers come by the ticket. {@link
     * Status#BUSY} while too many reads are in flight: then nothing was done.
     */
    public Ticket submit(Batch batch) {
        boolean locked = enter();
        try {
            Memory memory = batch.memory(store);
            long result = Native.writerSubmit(handle(), memory.address, batch.bytes(memory), scratch.out.address);
            memory.keep();
            return new Ticket(scratch.handle(result), store);
        } finally {
            leave(locked);
        }
    }

    /** Whether so many reads are in flight that no batch is submitted for now. */
    public boolean isFull() {
        boolean locked = enter();
        try {
            return Failures.check(Native.writerIsFull(handle())) != 0;
        } finally {
            leave(locked);
        }
    }

    /** As {@link Ticket#poll}, by the thread of the writer that it was submitted to; what was read from disk is kept in memory. */
    public List<Answer> poll(Ticket ticket) {
        boolean locked = enter();
        try {
            return ticket.taken(
                    scratch,
                    Native.writerPoll(handle(), ticket.handle(), scratch.out.address, scratch.out.capacity));
        } finally {
            leave(locked);
        }
    }

    // Cursors.

    private long fetch(long cursor, long into, int capacity) {
        boolean locked = enter();
        try {
            return Native.writerFetch(handle(), cursor, into, capacity);
        } finally {
            leave(locked);
        }
    }

    /** A cursor of the keys of a state in a range of key groups, each once, whatever namespaces it has. */
    public Cursor keys(State state, KeyGroupRange range) {
        return Cursor.keys(store, this, view, state, range);
    }

    /** A cursor of the keys that a state has in one namespace. */
    public Cursor keys(State state, KeyGroupRange range, byte[] namespace) {
        return Cursor.keysIn(store, this, view, state, range, namespace);
    }

    /** A cursor of the pairs of key and namespace of a state. */
    public Cursor keysAndNamespaces(State state, KeyGroupRange range) {
        return Cursor.keysAndNamespaces(store, this, view, state, range);
    }

    /** A cursor of the entries of a map. */
    public Cursor entries(State state, Key key, MapRange range) {
        return Cursor.entries(store, this, view, state, key, range);
    }
}
