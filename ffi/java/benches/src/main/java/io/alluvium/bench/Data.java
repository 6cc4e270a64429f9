package io.alluvium.bench;

import java.nio.ByteBuffer;
import java.util.SplittableRandom;

/**
 * Keys of 16 bytes, those that are there and as many that are not. They lie in memory in the order in which they are asked for, which is
 * that of no engine: a host has just read the key of the event that it works on, so what fetching one from memory costs is no part of a call.
 */
final class Data {
    final byte[][] keys;
    final byte[][] absent;
    final int valueBytes;
    private final SplittableRandom random = new SplittableRandom(7);
    private int next;

    Data(int count, int valueBytes) {
        this.valueBytes = valueBytes;
        long[] numbers = new long[count];
        for (int place = 0; place < count; place++) {
            int other = random.nextInt(place + 1);
            numbers[place] = numbers[other];
            numbers[other] = 2L * place;
        }
        keys = new byte[count][];
        absent = new byte[count][];
        for (int place = 0; place < count; place++) {
            keys[place] = key(numbers[place]);
        }
        for (int place = 0; place < count; place++) {
            absent[place] = key(numbers[place] + 1);
        }
    }

    private static byte[] key(long number) {
        long mixed = number * 0x9E3779B97F4A7C15L;
        return ByteBuffer.allocate(16).putLong(mixed ^ (mixed >>> 32)).putLong(number).array();
    }

    private int place() {
        next = next + 1 < keys.length ? next + 1 : 0;
        return next;
    }

    byte[] any() {
        return keys[place()];
    }

    byte[] anyAbsent() {
        return absent[place()];
    }

    /** Fills a batch with different keys. */
    void batch(byte[][] from, byte[][] batch) {
        for (int place = 0; place < batch.length; place++) {
            batch[place] = from[place()];
        }
    }

    boolean isHundredth() {
        return random.nextInt(100) == 0;
    }

    byte[] value() {
        return new byte[valueBytes];
    }
}
