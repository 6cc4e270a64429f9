package io.alluvium;

/** How far a {@link Store} goes to make what it has survive. */
public enum Durability {
    /** A checkpoint is complete when its files are durable on this machine's disk. */
    CHECKPOINT,
    /** The host copies each checkpoint's files away itself: nothing is synced. */
    HOST,
    /**
     * As {@link #CHECKPOINT}, and what is committed between two checkpoints lasts too: what changes is appended to a changelog, which is
     * replayed when the store is opened again. See {@link Store#commit(Commit, Lasting)}.
     */
    CHANGELOG
}
