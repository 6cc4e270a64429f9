package io.alluvium;

import java.util.ArrayList;
import java.util.List;

/** Where a source stands for a range of key groups, in bytes that mean something to the host alone. */
public final class Offset {
    private final KeyGroupRange range;
    private final byte[] bytes;

    /** An offset of these key groups. */
    public Offset(KeyGroupRange range, byte[] bytes) {
        this.range = range;
        this.bytes = bytes.clone();
    }

    /** The key groups. */
    public KeyGroupRange range() {
        return range;
    }

    /** The host's bytes. */
    public byte[] bytes() {
        return bytes.clone();
    }

    static void write(Scratch scratch, List<Offset> offsets) {
        scratch.putInt(offsets.size());
        offsets.forEach(offset -> scratch.putRange(offset.range).putBytes(offset.bytes));
    }

    static List<Offset> read(Scratch scratch) {
        List<Offset> offsets = new ArrayList<>();
        for (int left = scratch.takeInt(); left > 0; left--) {
            KeyGroupRange range = KeyGroupRange.of(scratch.takeInt(), scratch.takeInt());
            offsets.add(new Offset(range, scratch.takeBytes()));
        }
        return List.copyOf(offsets);
    }
}
