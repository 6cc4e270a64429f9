package io.alluvium;

/** When a commit lasts, in a store with a changelog ({@link Durability#CHANGELOG}). */
public enum Lasting {
    /** As soon as the changelog is synced, which is shared with other commits ({@link StoreOptions#changelogDelay}). */
    SOON,
    /**
     * With a later one, or with the next checkpoint: nothing is synced for it. After a crash the store is found at some earlier commit, as a
     * whole, with that one's offsets.
     */
    WITH_LATER
}
