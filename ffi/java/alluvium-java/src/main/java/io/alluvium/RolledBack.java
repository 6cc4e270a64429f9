package io.alluvium;

/** What was brought back ({@link Writer#rollbackKeys}). */
public final class RolledBack {
    private final long keys;
    private final long changes;
    private final long bytes;

    private RolledBack(Scratch scratch) {
        keys = scratch.takeLong();
        changes = scratch.takeLong();
        bytes = scratch.takeLong();
    }

    static RolledBack read(Scratch scratch) {
        return new RolledBack(scratch);
    }

    /** How many keys (a map is one) were written to, as they differed. */
    public long keys() {
        return keys;
    }

    /** How many values, lists and entries were written or deleted. */
    public long changes() {
        return changes;
    }

    /** The bytes of their keys and values. */
    public long bytes() {
        return bytes;
    }
}
