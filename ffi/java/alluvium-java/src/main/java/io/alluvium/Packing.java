package io.alluvium;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;

/** What is packed inside of values: lists, as {@code len i32 | bytes} for each element, and entries of maps. */
final class Packing {
    private Packing() {}

    static List<byte[]> elements(byte[] packed) {
        ByteBuffer rest = ByteBuffer.wrap(packed).order(ByteOrder.LITTLE_ENDIAN);
        List<byte[]> elements = new ArrayList<>();
        while (rest.hasRemaining()) {
            byte[] element = new byte[rest.getInt()];
            rest.get(element);
            elements.add(element);
        }
        return elements;
    }

    /** Entries as cursors give them. */
    static List<Entry> entries(byte[] packed) {
        ByteBuffer rest = ByteBuffer.wrap(packed).order(ByteOrder.LITTLE_ENDIAN);
        List<Entry> entries = new ArrayList<>();
        while (rest.hasRemaining()) {
            // Key group, key and namespace are empty.
            rest.position(rest.position() + 6);
            byte[] userKey = new byte[Short.toUnsignedInt(rest.getShort())];
            byte[] value = new byte[rest.getInt()];
            rest.get(userKey).get(value);
            entries.add(new Entry(userKey, value));
        }
        return entries;
    }
}
