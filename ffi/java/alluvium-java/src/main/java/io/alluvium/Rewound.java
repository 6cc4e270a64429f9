package io.alluvium;

import java.util.List;

/** What a rollback came to ({@link Store#rollback}). */
public final class Rewound {
    private final long label;
    private final long number;
    private final long position;
    private final byte[] metadata;
    private final List<Offset> offsets;

    private Rewound(Scratch scratch) {
        label = scratch.takeLong();
        number = scratch.takeLong();
        position = scratch.takeLong();
        metadata = scratch.takeBytes();
        offsets = Offset.read(scratch);
    }

    static Rewound read(Scratch scratch) {
        return new Rewound(scratch);
    }

    /** The checkpoint's label. */
    public long label() {
        return label;
    }

    /** The checkpoint's number in the store. */
    public long number() {
        return number;
    }

    /** The checkpoint's position in the changelog; 0 without one. */
    public long position() {
        return position;
    }

    /** The host's metadata in the checkpoint. */
    public byte[] metadata() {
        return metadata.clone();
    }

    /** Where the sources of the key groups stood at the checkpoint, and are to go on from: its offsets, cut to the key groups. */
    public List<Offset> offsets() {
        return offsets;
    }
}
