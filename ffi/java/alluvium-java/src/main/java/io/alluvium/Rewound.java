package io.alluvium;

import java.util.List;

/** What a rollback came to ({@link Store#rollback}, {@link Store#rollbackToPosition}). */
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

    /** The checkpoint's label; of a position, that of the nearest one before it, or 0 where there is none. */
    public long label() {
        return label;
    }

    /** The checkpoint's number in the store; 0 where there is none. */
    public long number() {
        return number;
    }

    /** The position in the changelog that was gone back to, the checkpoint's or behind it; 0 without a changelog. */
    public long position() {
        return position;
    }

    /** The host's metadata in the checkpoint, or, of a position, in the last commit there if that came later. */
    public byte[] metadata() {
        return metadata.clone();
    }

    /**
     * Where the sources of the key groups stood, and are to go on from: the checkpoint's offsets, or, of a position, those of the last commit there if that
     * came later, cut to the key groups.
     */
    public List<Offset> offsets() {
        return offsets;
    }
}
