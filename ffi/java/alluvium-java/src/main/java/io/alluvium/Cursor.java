package io.alluvium;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.concurrent.atomic.AtomicReference;

/**
 * A place among the keys of a state or the entries of a map, which moves on while the store does. It gives what the writer, reader or
 * snapshot sees that made it, a batch at a time, and goes through a batch without allocating or calling the library.
 *
 * <pre>{@code
 * try (Cursor cursor = writer.entries(delays, route, MapRange.all())) {
 *     while (cursor.next()) {
 *         use(cursor.userKey(), cursor.value());
 *     }
 * }
 * }</pre>
 *
 * <p>One thread at a time; a writer's cursor is for the writer's thread.
 */
public final class Cursor extends NativeObject {
    private static final int HEADER = 12;
    private static final int KEYS = 0;
    private static final int KEYS_IN_NAMESPACE = 1;
    private static final int KEYS_AND_NAMESPACES = 2;
    private static final int ENTRIES = 3;

    private static final int BATCH_BYTES = 1 << 14;
    /** Memory that grew beyond this is not left for the next cursor. */
    private static final int LEFT_BYTES_MAX = 1 << 17;

    private final View view;
    /** Null once it is closed. */
    private Memory batch;
    /** Whether somebody may still look at the memory after this is closed. */
    private boolean isShown;
    private int bytes;
    private boolean more = true;
    /** Whether a batch is gone that the library's cursor is behind. */
    private boolean lost;
    /** Where the record's parts begin, each of which ends where the next begins. */
    private int keyAt;

    private int namespaceAt;
    private int userKeyAt;
    private int valueAt;
    private int recordEnd;

    /** Gets a cursor's next batch. */
    interface Fetch {
        long fetch(long cursor, long into, int capacity);
    }

    /** What cursors go through, with the memory that the last one left for the next: taking new memory is dear. */
    static final class View {
        private final Fetch fetch;
        private final AtomicReference<Memory> idle = new AtomicReference<>();

        View(Fetch fetch) {
            this.fetch = fetch;
        }

        private Memory take() {
            Memory left = idle.getAndSet(null);
            return left == null ? Memory.allocate(BATCH_BYTES) : left;
        }
    }

    private interface What {
        void write(Scratch scratch);
    }

    private Cursor(long handle, NativeObject of, View view) {
        super(CURSOR, handle, of);
        this.view = view;
        batch = view.take();
    }

    /** Closes it. Closing twice does nothing. */
    @Override
    public void close() {
        super.close();
        leaveMemory();
    }

    /** Once, whoever closes it. From here on it is at no record. */
    private synchronized void leaveMemory() {
        Memory left = batch;
        bytes = 0;
        recordEnd = 0;
        keyAt = 0;
        batch = null;
        if (left != null && !isShown && left.capacity <= LEFT_BYTES_MAX) {
            view.idle.set(left);
        }
    }

    private static Cursor open(Store store, NativeObject of, View view, int what, State state, What arguments) {
        Scratch scratch = Scratch.take();
        try {
            arguments.write(scratch);
            if (of.isClosed()) {
                throw new ClosedException(Status.HANDLE, "what the cursor is to be of is closed");
            }
            long result = Native.cursorOpen(
                    store.handle(), scratch.out.address, what, state.in(store), scratch.in.address, scratch.end);
            return new Cursor(scratch.handle(result), of, view);
        } finally {
            scratch.give();
        }
    }

    static Cursor keys(Store store, NativeObject of, View view, State state, KeyGroupRange range) {
        return open(store, of, view, KEYS, state, scratch -> scratch.putRange(range));
    }

    static Cursor keysIn(
            Store store, NativeObject of, View view, State state, KeyGroupRange range, byte[] namespace) {
        return open(store, of, view, KEYS_IN_NAMESPACE, state, scratch -> scratch.putRange(range).putBytes(namespace));
    }

    static Cursor keysAndNamespaces(Store store, NativeObject of, View view, State state, KeyGroupRange range) {
        return open(store, of, view, KEYS_AND_NAMESPACES, state, scratch -> scratch.putRange(range));
    }

    static Cursor entries(Store store, NativeObject of, View view, State state, Key key, MapRange range) {
        return open(store, of, view, ENTRIES, state, scratch -> range.write(scratch.putKey(key)));
    }

    /** How many records at most, and, but for the last of them, how many bytes a batch has: usually 4,096 and 1 MiB. */
    public void setBatch(int recordsMax, int bytesMax) {
        Failures.check(Native.cursorSetBatch(handle(), recordsMax, bytesMax));
    }

    /** Moves on to the next record; false at the end. */
    public boolean next() {
        while (recordEnd >= bytes) {
            if (!fetch()) {
                return false;
            }
        }
        int at = recordEnd;
        ByteBuffer buffer = memory().buffer;
        keyAt = at + HEADER;
        namespaceAt = keyAt + Short.toUnsignedInt(buffer.getShort(at + 2));
        userKeyAt = namespaceAt + Short.toUnsignedInt(buffer.getShort(at + 4));
        valueAt = userKeyAt + Short.toUnsignedInt(buffer.getShort(at + 6));
        recordEnd = valueAt + buffer.getInt(at + 8);
        return true;
    }

    /** The batch's, which another thread may take away by closing this at any moment. */
    private Memory memory() {
        Memory memory = batch;
        if (memory == null) {
            throw new ClosedException(Status.HANDLE, "the cursor is closed");
        }
        return memory;
    }

    /** Gets the next batch, which may be empty; false where there is none any more. */
    private boolean fetch() {
        recordEnd = 0;
        bytes = 0;
        keyAt = 0;
        if (!more && !isClosed()) {
            return false;
        }
        // Where and how long have to be of the same memory, whoever puts another one there.
        Memory memory = memory();
        if (lost) {
            throw new AlluviumException(Status.OTHER, ErrorClass.FAIL, "the cursor has lost a batch that there was no memory for");
        }
        long result = Failures.check(view.fetch.fetch(handle(), memory.address, memory.capacity));
        long len = result >>> 1;
        if (len > memory.capacity) {
            // Unless it gets here: the library's cursor is behind it.
            lost = true;
            memory = Failures.kept(memory, len);
            batch = memory;
            lost = false;
        }
        memory.keep();
        bytes = (int) len;
        more = (result & 1) != 0;
        return true;
    }

    /**
     * The next batch as it was packed, for those who go through it themselves; null at the end. It is the cursor's memory, and changes with
     * the next call. Records are, little-endian and without padding: {@code key group u16 | len(key) u16 | len(namespace) u16 | len(user
     * key) u16 | len(value) u32 | key | namespace | user key | value}, with what the cursor doesn't give empty.
     */
    public ByteBuffer nextBatch() {
        do {
            if (!fetch()) {
                return null;
            }
        } while (bytes == 0);
        isShown = true;
        ByteBuffer shown = memory().buffer.asReadOnlyBuffer().order(ByteOrder.LITTLE_ENDIAN);
        shown.limit(bytes).position(0);
        recordEnd = bytes;
        return shown;
    }

    private void check() {
        if (keyAt == 0) {
            throw new IllegalStateException("the cursor is at no record: call next");
        }
    }

    /** The record's key group. */
    public int group() {
        check();
        return Short.toUnsignedInt(memory().buffer.getShort(keyAt - HEADER));
    }

    /** The record's key. */
    public byte[] key() {
        check();
        return memory().bytes(keyAt, namespaceAt - keyAt);
    }

    /** The record's namespace. */
    public byte[] namespace() {
        check();
        return memory().bytes(namespaceAt, userKeyAt - namespaceAt);
    }

    /** The entry's user key. */
    public byte[] userKey() {
        check();
        return memory().bytes(userKeyAt, valueAt - userKeyAt);
    }

    /** The entry's value. */
    public byte[] value() {
        check();
        return memory().bytes(valueAt, recordEnd - valueAt);
    }

    /** The record's key, into an array: its length. Where that is greater than the array's, nothing is copied. */
    public int key(byte[] into) {
        return part(keyAt, namespaceAt, into);
    }

    /** The record's namespace, into an array, as by {@link #key(byte[])}. */
    public int namespace(byte[] into) {
        return part(namespaceAt, userKeyAt, into);
    }

    /** The entry's user key, into an array, as by {@link #key(byte[])}. */
    public int userKey(byte[] into) {
        return part(userKeyAt, valueAt, into);
    }

    /** The entry's value, into an array, as by {@link #key(byte[])}. */
    public int value(byte[] into) {
        return part(valueAt, recordEnd, into);
    }

    /**
     * The record's key, into a buffer, whose position moves behind it: its length. Where that is greater than what remains in the buffer, nothing is
     * copied.
     */
    public int key(ByteBuffer into) {
        return part(keyAt, namespaceAt, into);
    }

    /** The record's namespace, into a buffer, as by {@link #key(ByteBuffer)}. */
    public int namespace(ByteBuffer into) {
        return part(namespaceAt, userKeyAt, into);
    }

    /** The entry's user key, into a buffer, as by {@link #key(ByteBuffer)}. */
    public int userKey(ByteBuffer into) {
        return part(userKeyAt, valueAt, into);
    }

    /** The entry's value, into a buffer, as by {@link #key(ByteBuffer)}. */
    public int value(ByteBuffer into) {
        return part(valueAt, recordEnd, into);
    }

    private int part(int from, int to, ByteBuffer into) {
        int room = Memory.room(into);
        check();
        int len = to - from;
        if (len <= room) {
            memory().copyOut(from, len, into);
        }
        return len;
    }

    private int part(int from, int to, byte[] into) {
        check();
        int len = to - from;
        if (len <= into.length) {
            memory().copyOut(from, into, 0, len);
        }
        return len;
    }
}
