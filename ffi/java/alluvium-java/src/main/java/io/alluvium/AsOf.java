package io.alluvium;

/** A moment of a store's past. */
public final class AsOf {
    private final int kind;
    private final long which;

    private AsOf(int kind, long which) {
        this.kind = kind;
        this.which = which;
    }

    /** A checkpoint that is kept, by its label. */
    public static AsOf label(long label) {
        return new AsOf(0, label);
    }

    /** A position of the changelog ({@link Past}). */
    public static AsOf position(long position) {
        return new AsOf(1, position);
    }

    Scratch write(Scratch scratch) {
        return scratch.putInt(kind).putLong(which);
    }
}
