package io.alluvium;

import java.util.ArrayList;
import java.util.List;

/** What a checkpoint is to carry: the host's label, and where its sources stand. */
public final class Checkpoint {
    private final long label;
    private final List<Offset> offsets = new ArrayList<>();
    private byte[] metadata = {};
    private boolean refuseWhileReading;
    private boolean standalone;

    private Checkpoint(long label) {
        this.label = label;
    }

    /** A checkpoint of this label, any number. Where two have the same one, the younger is found by it. */
    public static Checkpoint of(long label) {
        return new Checkpoint(label);
    }

    /** Adds where a source stands. Not in a transactional store, whose commits carry that. */
    public Checkpoint offset(Offset offset) {
        offsets.add(offset);
        return this;
    }

    /** The host's metadata. Not in a transactional store, whose commits carry it. */
    public Checkpoint metadata(byte[] metadata) {
        this.metadata = metadata.clone();
        return this;
    }

    /** Reads in flight ({@link Writer#submit}) make it {@link Status#BUSY}; else they are waited for. */
    public Checkpoint refuseWhileReading() {
        refuseWhileReading = true;
        return this;
    }

    /** It shares files with no other checkpoint. */
    public Checkpoint standalone() {
        standalone = true;
        return this;
    }

    void write(Scratch scratch) {
        scratch.putLong(label).putFlag(refuseWhileReading).putFlag(standalone).putBytes(metadata);
        Offset.write(scratch, offsets);
    }
}
