package io.alluvium.bench;

import java.nio.ByteBuffer;
import java.util.SplittableRandom;

/** Keys of 16 bytes, in no order, those that are there and as many that are not. */
final class Data {
    final byte[][] keys;
    final byte[][] absent;
    final int valueBytes;
    private final SplittableRandom random = new SplittableRandom(7);

    Data(int count, int valueBytes) {
        this.valueBytes = valueBytes;
        keys = new byte[count][];
        absent = new byte[count][];
        for (int place = 0; place < count; place++) {
            keys[place] = key(2L * place);
            absent[place] = key(2L * place + 1);
        }
    }

    private static byte[] key(long number) {
        long mixed = number * 0x9E3779B97F4A7C15L;
        return ByteBuffer.allocate(16).putLong(mixed ^ (mixed >>> 32)).putLong(number).array();
    }

    byte[] any() {
        return keys[random.nextInt(keys.length)];
    }

    byte[] anyAbsent() {
        return absent[random.nextInt(absent.length)];
    }

    /** Fills a batch with different keys: a random one, and every so manieth behind it. */
    void batch(byte[][] from, byte[][] batch) {
        int at = random.nextInt(from.length);
        int step = Math.max(1, from.length / batch.length - 1);
        for (int place = 0; place < batch.length; place++) {
            batch[place] = from[at];
            at = (at + step) % from.length;
        }
    }

    boolean isHundredth() {
        return random.nextInt(100) == 0;
    }

    byte[] value() {
        return new byte[valueBytes];
    }
}
