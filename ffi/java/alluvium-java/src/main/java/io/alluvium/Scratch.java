package io.alluvium;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Function;

/**
 * Memory of one call at a time: arguments that are packed one after another, and an answer that is read so. The native side's
 * {@code wire.rs} is the other end.
 */
final class Scratch {
    private static final int CAPACITY = 512;
    private static final AtomicReference<Scratch> IDLE = new AtomicReference<>();

    Memory in = Memory.allocate(CAPACITY);
    Memory out = Memory.allocate(CAPACITY);
    /** Where arguments end. */
    int end;
    private int at;
    private int limit;

    /** One that nobody uses. */
    static Scratch take() {
        return take(IDLE);
    }

    static Scratch take(AtomicReference<Scratch> pool) {
        Scratch idle = pool.getAndSet(null);
        if (idle == null) {
            idle = new Scratch();
        }
        idle.end = 0;
        return idle;
    }

    /** Gives it back, unless it has become large. */
    void give() {
        if (in.capacity + out.capacity <= 1 << 16) {
            IDLE.set(this);
        }
    }

    private void reserve(int len) {
        if (len > in.capacity - end) {
            in = in.grown(end, (long) end + len);
        }
    }

    Scratch putInt(int number) {
        reserve(4);
        in.buffer.putInt(end, number);
        end += 4;
        return this;
    }

    Scratch putFlag(boolean flag) {
        return putInt(flag ? 1 : 0);
    }

    Scratch putLong(long number) {
        reserve(8);
        in.buffer.putLong(end, number);
        end += 8;
        return this;
    }

    Scratch putBytes(byte[] bytes) {
        putInt(bytes.length);
        reserve(bytes.length);
        in.copyIn(end, bytes, 0, bytes.length);
        end += bytes.length;
        return this;
    }

    Scratch putAll(List<byte[]> parts) {
        for (byte[] part : parts) {
            putBytes(part);
        }
        return this;
    }

    Scratch putText(String text) {
        return putBytes(text.getBytes(StandardCharsets.UTF_8));
    }

    Scratch putRange(KeyGroupRange range) {
        return putInt(range.first()).putInt(range.last());
    }

    Scratch putKey(Key key) {
        Memory memory = key.memory();
        int keyLen = key.keyLen();
        putInt(key.group());
        return putBytes(memory.bytes(0, keyLen)).putBytes(memory.bytes(keyLen, key.namespaceLen()));
    }

    /** Bytes alone, without their length. */
    void putRaw(ByteBuffer bytes) {
        int begin = bytes.position();
        int len = Memory.remaining(bytes, begin);
        reserve(len);
        in.copyIn(end, bytes, begin, len);
        end += len;
    }

    /** Makes room for an answer of so many bytes. */
    void room(int bytes) {
        if (out.capacity < bytes) {
            out = out.grown(0, bytes);
        }
    }

    /** Makes room for an answer of so many bytes, if there is memory for it; else what there is has to do. */
    void widen(int bytes) {
        try {
            room(bytes);
        } catch (OutOfMemoryError none) {
            // Whoever calls goes on in smaller steps.
        }
    }

    /** A handle that a call left at the beginning of {@link #out}. */
    long handle(long result) {
        Failures.check(result);
        return out.buffer.getLong(0);
    }

    /** Begins to read a call's answer; false where there is none. What didn't fit is fetched. */
    boolean answered(long result) {
        if (result == Native.NOT_FOUND || result == Native.PENDING) {
            return false;
        }
        Failures.check(result);
        at = 0;
        limit = 0;
        if (result > out.capacity) {
            out = Failures.kept(out, result);
        }
        limit = (int) result;
        return true;
    }

    boolean isAtEnd() {
        return at >= limit;
    }

    int takeInt() {
        at += 4;
        return out.buffer.getInt(at - 4);
    }

    boolean takeFlag() {
        return takeInt() != 0;
    }

    long takeLong() {
        at += 8;
        return out.buffer.getLong(at - 8);
    }

    byte[] takeBytes() {
        int len = takeInt();
        at += len;
        return out.bytes(at - len, len);
    }

    String takeText() {
        return new String(takeBytes(), StandardCharsets.UTF_8);
    }

    /** So many of something. */
    <T> List<T> takeList(Function<Scratch, T> one) {
        List<T> all = new ArrayList<>();
        for (int left = takeInt(); left > 0; left--) {
            all.add(one.apply(this));
        }
        return Collections.unmodifiableList(all);
    }

    /** All of the answer. */
    byte[] takeAll() {
        at = limit;
        return out.bytes(0, limit);
    }
}
