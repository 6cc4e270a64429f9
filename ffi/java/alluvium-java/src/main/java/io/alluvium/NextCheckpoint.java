package io.alluvium;

import java.time.Duration;

/** When the next checkpoint is due, and why. */
public final class NextCheckpoint {
    /** Why a checkpoint is due. */
    public enum Reason {
        /** Time has passed since the last one. */
        INTERVAL,
        /** What would have to be redone has grown. */
        LOG,
        /** It grows faster than on average. */
        BURST,
        /** Memory is short and much of it holds changes: they are about to be spilled, and might as well become a checkpoint. */
        MEMORY
    }

    private final Duration dueIn;
    private final Reason reason;

    private NextCheckpoint(Duration dueIn, Reason reason) {
        this.dueIn = dueIn;
        this.reason = reason;
    }

    static NextCheckpoint read(Scratch scratch) {
        return new NextCheckpoint(Duration.ofNanos(scratch.takeLong()), Reason.values()[scratch.takeInt()]);
    }

    /** Whether it is due now. */
    public boolean isDue() {
        return dueIn.isZero();
    }

    /**
     * How long it is until then at the earliest, were input to come as fast as it ever does; zero when it is due now. Nothing is missed by
     * looking again only then, if bursts are no faster than earlier ones or the known capacity.
     */
    public Duration dueIn() {
        return dueIn;
    }

    /** Why. */
    public Reason reason() {
        return reason;
    }

    @Override
    public String toString() {
        return "in " + dueIn + ": " + reason;
    }
}
