package io.alluvium;

import java.util.List;

/** What is known of a commit. */
public final class CommitInfo {
    private final int epoch;
    private final byte[] metadata;
    private final List<Offset> offsets;

    private CommitInfo(int epoch, byte[] metadata, List<Offset> offsets) {
        this.epoch = epoch;
        this.metadata = metadata;
        this.offsets = offsets;
    }

    static CommitInfo read(Scratch scratch) {
        return new CommitInfo(scratch.takeInt(), scratch.takeBytes(), Offset.read(scratch));
    }

    /** Everything of this epoch and earlier ones is committed. */
    public int epoch() {
        return epoch;
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
