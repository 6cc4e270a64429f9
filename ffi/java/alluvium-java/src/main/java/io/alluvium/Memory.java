package io.alluvium;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.LongBuffer;
import java.nio.ReadOnlyBufferException;

/**
 * A direct buffer and where it lies. It never changes, so whoever holds one may pass its address on: the memory is there for as long
 * as this is reachable.
 */
final class Memory {
    /** Longs in arrays of bytes, little-endian. */
    static final VarHandle LONGS =
            MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);
    /** Up to so many bytes are copied word by word, which is faster than asking for it. */
    private static final int WORDS_MAX = 64;

    final ByteBuffer buffer;
    /** The same memory. */
    private final LongBuffer longs;

    final long address;
    final int capacity;
    /** What each part of a {@link Key} has at most. */
    final int third;

    private Memory(int capacity) {
        buffer = ByteBuffer.allocateDirect(capacity).order(ByteOrder.LITTLE_ENDIAN);
        longs = buffer.asLongBuffer();
        address = Native.address(buffer);
        this.capacity = capacity;
        third = capacity / 3;
    }

    static Memory allocate(int capacity) {
        NativeLibrary.ensureLoaded();
        return new Memory(capacity);
    }

    /** Memory with the first {@code kept} bytes of this and room for {@code needed}. */
    Memory grown(int kept, long needed) {
        if (needed > Integer.MAX_VALUE - 8) {
            throw new AlluviumException(Status.TOO_LONG, ErrorClass.USAGE, "more than 2 GiB in one buffer");
        }
        Memory grown = allocate((int) Math.min(Integer.MAX_VALUE - 8, Math.max(needed, 2L * capacity)));
        ByteBuffer old = buffer.duplicate();
        old.limit(kept).position(0);
        grown.buffer.duplicate().put(old);
        return grown;
    }

    /** {@link System#arraycopy} between two arrays, but faster for what is short. */
    static void copy(byte[] from, int offset, byte[] into, int at, int len) {
        if (isTwoWords(len)) {
            // Keys, mostly: without a loop. The words may overlap.
            int last = len - Long.BYTES;
            long first = (long) LONGS.get(from, offset);
            LONGS.set(into, at + last, (long) LONGS.get(from, offset + last));
            LONGS.set(into, at, first);
            return;
        }
        if (len > WORDS_MAX) {
            System.arraycopy(from, offset, into, at, len);
            return;
        }
        int copied = 0;
        for (; copied + 8 <= len; copied += 8) {
            LONGS.set(into, at + copied, (long) LONGS.get(from, offset + copied));
        }
        for (; copied < len; copied++) {
            into[at + copied] = from[offset + copied];
        }
    }

    /** The same from a buffer, which is left as it is. */
    static void copy(ByteBuffer from, int begin, byte[] into, int at, int len) {
        if (isTwoWords(len)) {
            int last = len - Long.BYTES;
            LONGS.set(into, at, word(from, begin));
            LONGS.set(into, at + last, word(from, begin + last));
            return;
        }
        if (len > WORDS_MAX) {
            Parts.copy(from, begin, into, at, len);
            return;
        }
        int copied = 0;
        for (; copied + 8 <= len; copied += 8) {
            LONGS.set(into, at + copied, word(from, begin + copied));
        }
        for (; copied < len; copied++) {
            into[at + copied] = from.get(begin + copied);
        }
    }

    /** A word of a buffer, little-endian, whatever the buffer's order is. */
    private static long word(ByteBuffer from, int at) {
        long word = from.getLong(at);
        return from.order() == ByteOrder.LITTLE_ENDIAN ? word : Long.reverseBytes(word);
    }

    /** How much a buffer has from its position on; nothing where another thread, which has no business here, moves that meanwhile. */
    static int remaining(ByteBuffer from, int position) {
        return Math.max(0, from.limit() - position);
    }

    /** How much there is room for in a buffer that is to be filled. */
    static int room(ByteBuffer into) {
        // Not only once there is something to put into it.
        if (into.isReadOnly()) {
            throw new ReadOnlyBufferException();
        }
        return into.remaining();
    }

    /** Whether bytes are copied as their first and their last word. */
    private static boolean isTwoWords(int len) {
        return Long.BYTES <= len && len <= 2 * Long.BYTES;
    }

    void copyIn(int at, long[] from, int begin, int end) {
        LongBuffer target = longs;
        target.position(at / Long.BYTES);
        target.put(from, begin, end - begin);
    }

    void copyOut(int at, long[] into, int count) {
        LongBuffer source = longs;
        source.position(at / Long.BYTES);
        source.get(into, 0, count);
    }

    void copyIn(int at, byte[] from, int offset, int len) {
        if (len == 2 * Long.BYTES) {
            // Keys, mostly: without a loop. Not words that overlap, as a call may read this at once, in words.
            buffer.putLong(at, (long) LONGS.get(from, offset));
            buffer.putLong(at + Long.BYTES, (long) LONGS.get(from, offset + Long.BYTES));
            return;
        }
        if (len > WORDS_MAX) {
            ByteBuffer target = buffer;
            target.limit(capacity).position(at);
            target.put(from, offset, len);
            return;
        }
        int copied = 0;
        for (; copied + 8 <= len; copied += 8) {
            buffer.putLong(at + copied, (long) LONGS.get(from, offset + copied));
        }
        for (; copied < len; copied++) {
            buffer.put(at + copied, from[offset + copied]);
        }
    }

    /** Copies part of a buffer, which is left as it is. */
    void copyIn(int at, ByteBuffer from, int begin, int len) {
        if (len > WORDS_MAX) {
            Parts.copy(from, begin, buffer, at, len);
            return;
        }
        int copied = 0;
        for (; copied + 8 <= len; copied += 8) {
            buffer.putLong(at + copied, word(from, begin + copied));
        }
        for (; copied < len; copied++) {
            buffer.put(at + copied, from.get(begin + copied));
        }
    }

    void copyIn(int at, Memory from, int begin, int len) {
        int copied = 0;
        for (; copied + 8 <= len; copied += 8) {
            buffer.putLong(at + copied, from.buffer.getLong(begin + copied));
        }
        for (; copied < len; copied++) {
            buffer.put(at + copied, from.buffer.get(begin + copied));
        }
    }

    void copyOut(int at, byte[] into, int offset, int len) {
        if (isTwoWords(len)) {
            int last = len - Long.BYTES;
            LONGS.set(into, offset, buffer.getLong(at));
            LONGS.set(into, offset + last, buffer.getLong(at + last));
            return;
        }
        if (len > WORDS_MAX) {
            ByteBuffer source = buffer;
            source.limit(capacity).position(at);
            source.get(into, offset, len);
            return;
        }
        int copied = 0;
        for (; copied + 8 <= len; copied += 8) {
            LONGS.set(into, offset + copied, buffer.getLong(at + copied));
        }
        for (; copied < len; copied++) {
            into[offset + copied] = buffer.get(at + copied);
        }
    }

    /** Copies into a buffer, whose position moves behind it. */
    void copyOut(int at, int len, ByteBuffer into) {
        ByteBuffer source = buffer;
        source.limit(at + len).position(at);
        try {
            into.put(source);
        } finally {
            // Also where another thread has filled the buffer meanwhile: later calls read all of this memory.
            source.clear();
        }
    }

    /** The length of a part of a key that lies here. */
    int part(int len) {
        return Math.min(len, third);
    }

    byte[] bytes(int at, int len) {
        byte[] bytes = new byte[len];
        copyOut(at, bytes, 0, len);
        return bytes;
    }

    /** Says that the memory was needed until here. */
    void keep() {
        Reference.reachabilityFence(this);
    }
}
