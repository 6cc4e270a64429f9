package io.alluvium;

/**
 * A part of an engine's memory budget: see {@link Engine#memoryShare}. Stores that live in it go on when it is closed; the part is given
 * back when the last of them is closed.
 */
public final class MemoryShare extends NativeObject {
    MemoryShare(long handle, Engine engine) {
        super(SHARE, handle, engine);
    }

    /** How much its stores have taken, in bytes. */
    public long usedBytes() {
        return Failures.check(Native.shareUsed(handle()));
    }

    /** Changes its limit, in bytes. A smaller one takes effect as writers work. */
    public void setLimitBytes(long bytes) {
        Failures.check(Native.shareSetLimit(handle(), bytes));
    }
}
