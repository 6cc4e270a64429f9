package io.alluvium;

import java.util.Optional;

/** A checkpoint on its way. It completes also when this is closed. Any thread may use it. */
public final class PendingCheckpoint extends NativeObject {
    PendingCheckpoint(long handle, Store store) {
        super(PENDING, handle, store);
    }

    /** Its label. */
    public long label() {
        Scratch scratch = Scratch.take();
        try {
            scratch.answered(Native.pendingLabel(handle(), scratch.out.address, scratch.out.capacity));
            return scratch.takeLong();
        } finally {
            scratch.give();
        }
    }

    /** Waits until it is complete, and says what is known of it; fails where it can't become so. */
    public CheckpointInfo await() {
        // Not the shared scratch's: others need that meanwhile.
        Scratch scratch = new Scratch();
        scratch.answered(Native.pendingWait(handle(), scratch.out.address, scratch.out.capacity));
        return CheckpointInfo.read(scratch);
    }

    /** The same without waiting: empty while it is on its way. */
    public Optional<CheckpointInfo> poll() {
        Scratch scratch = Scratch.take();
        try {
            long result = Native.pendingPoll(handle(), scratch.out.address, scratch.out.capacity);
            return scratch.answered(result) ? Optional.of(CheckpointInfo.read(scratch)) : Optional.empty();
        } finally {
            scratch.give();
        }
    }

    /** Gives it up. Its changes stay in the store and join the next one. */
    public void abort() {
        Failures.check(Native.pendingAbort(handle()));
    }
}
