package io.alluvium;

import java.util.List;

/** What is known of a commit. */
public final class CommitInfo {
    private final int epoch;
    private final long position;
    private final byte[] metadata;
    private final List<Offset> offsets;

    private CommitInfo(int epoch, long position, byte[] metadata, List<Offset> offsets) {
        this.epoch = epoch;
        this.position = position;
        this.metadata = metadata;
        this.offsets = offsets;
    }

    static CommitInfo read(Scratch scratch) {
        return new CommitInfo(scratch.takeInt(), scratch.takeLong(), scratch.takeBytes(), Offset.read(scratch));
    }

    /** Everything of this epoch and earlier ones is committed. */
    public int epoch() {
        return epoch;
    }

    /** The position in the changelog behind it; 0 where the store never had a changelog. */
    public long position() {
        return position;
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
