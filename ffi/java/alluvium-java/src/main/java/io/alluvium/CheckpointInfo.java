package io.alluvium;

import java.util.List;

/** What is known of a checkpoint that is complete. */
public final class CheckpointInfo {
    private final int epoch;
    /** Label, number, time, segments, new segments, all bytes, new bytes, flushed bytes, changed bytes, position. */
    private final long[] numbers = new long[10];

    private final byte[] metadata;
    private final List<Offset> offsets;

    private CheckpointInfo(Scratch scratch) {
        epoch = scratch.takeInt();
        for (int place = 0; place < numbers.length; place++) {
            numbers[place] = scratch.takeLong();
        }
        metadata = scratch.takeBytes();
        offsets = Offset.read(scratch);
    }

    static CheckpointInfo read(Scratch scratch) {
        return new CheckpointInfo(scratch);
    }

    /** Everything of this epoch and earlier ones is in it. */
    public int epoch() {
        return epoch;
    }

    /** The host's label. */
    public long label() {
        return numbers[0];
    }

    /** Its number in the store; each has a greater one than those before. */
    public long number() {
        return numbers[1];
    }

    /** When it was made, in ms since 1970, by the machine's clock. */
    public long createdMs() {
        return numbers[2];
    }

    /** How many segments it names. */
    public long segments() {
        return numbers[3];
    }

    /** How many of them no earlier checkpoint named. */
    public long newSegments() {
        return numbers[4];
    }

    /** Bytes of all its files, the manifest included. */
    public long totalBytes() {
        return numbers[5];
    }

    /** Bytes of the new ones among them. */
    public long newBytes() {
        return numbers[6];
    }

    /** Bytes that were flushed for it. */
    public long flushedBytes() {
        return numbers[7];
    }

    /** Bytes of keys and values that had changed since the checkpoint before. */
    public long changedBytes() {
        return numbers[8];
    }

    /** The position in the changelog before which it has everything; 0 without a changelog. */
    public long position() {
        return numbers[9];
    }

    /** The host's metadata. */
    public byte[] metadata() {
        return metadata.clone();
    }

    /** Where the sources stood. */
    public List<Offset> offsets() {
        return offsets;
    }
}
