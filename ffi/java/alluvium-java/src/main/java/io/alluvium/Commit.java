package io.alluvium;

import java.util.ArrayList;
import java.util.List;

/** What a commit carries: where the sources stand, and the host's metadata. */
public final class Commit {
    private final List<Offset> offsets = new ArrayList<>();
    private byte[] metadata = {};

    /** A commit that carries nothing. */
    public Commit() {}

    /** Adds where a source stands. */
    public Commit offset(Offset offset) {
        offsets.add(offset);
        return this;
    }

    /** The host's metadata. */
    public Commit metadata(byte[] metadata) {
        this.metadata = metadata.clone();
        return this;
    }

    void write(Scratch scratch) {
        scratch.putBytes(metadata);
        Offset.write(scratch, offsets);
    }
}
