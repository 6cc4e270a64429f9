package io.alluvium;

/**
 * A commit, and the word on whether it lasts. Closing it changes nothing of that. Any thread may use it.
 *
 * <p>It lasts by itself in a store with a changelog ({@link Durability#CHANGELOG}), without one with the next checkpoint: what asks
 * whether it does is refused then ({@link Status#OPTIONS}).
 */
public final class Committed extends NativeObject {
    Committed(long handle, Store store) {
        super(COMMIT, handle, store);
    }

    /**
     * Waits until it lasts: whatever happens to the process or the machine from then on, the store is found at this commit or a later one.
     * The sync isn't put off for it any more.
     *
     * @throws RetryException where it may still come to last: while the disk is full; and where a bulk load came before it, which only a
     *     checkpoint will have ({@link Status#BUSY})
     */
    public void await() {
        Failures.check(Native.commitWait(handle()));
    }

    /** Whether it lasts by now; fails where it can't come to, or couldn't so far, as {@link #await} does. */
    public boolean isLasting() {
        long result = Native.commitPoll(handle());
        return result != Native.PENDING && Failures.check(result) == 0;
    }

    /** The position in the changelog behind it; each has a greater one than those before. 0 where the store never had a changelog. */
    public long position() {
        return Failures.check(Native.commitPosition(handle()));
    }

    /** What was committed. */
    public CommitInfo info() {
        Scratch scratch = Scratch.take();
        try {
            scratch.answered(Native.commitInfo(handle(), scratch.out.address, scratch.out.capacity));
            return CommitInfo.read(scratch);
        } finally {
            scratch.give();
        }
    }
}
