package io.alluvium;

import java.time.Duration;

/** A recovery time that can't be kept, as things are: see {@link CheckpointPolicy#recoveryTime(Duration, double)}. */
public final class CheckpointConflict {
    /** Why it can't be kept. */
    public enum Cause {
        /** It takes more writing than is allowed. */
        WRITE_AMPLIFICATION,
        /** Opening the store alone takes longer. */
        OPEN_COST,
        /** While a checkpoint is taken more comes in than may have to be redone. */
        CHECKPOINTS,
        /** Input comes in too fast to catch up with it in time. */
        CATCHING_UP
    }

    /** What is kept where not everything can be. */
    public enum Kept {
        /** The cap on write amplification. */
        WRITE_AMPLIFICATION,
        /** Neither the recovery time nor the cap. */
        NEITHER
    }

    private final Cause cause;
    private final Kept kept;
    private final Duration reachable;
    private final double neededWriteAmplification;

    private CheckpointConflict(Cause cause, Kept kept, Duration reachable, double neededWriteAmplification) {
        this.cause = cause;
        this.kept = kept;
        this.reachable = reachable;
        this.neededWriteAmplification = neededWriteAmplification;
    }

    static CheckpointConflict read(Scratch scratch) {
        Cause cause = Cause.values()[scratch.takeInt()];
        Kept kept = Kept.values()[scratch.takeInt()];
        Duration reachable = Duration.ofNanos(scratch.takeLong());
        return new CheckpointConflict(cause, kept, reachable, Double.longBitsToDouble(scratch.takeLong()));
    }

    /** What stands in the way. */
    public Cause cause() {
        return cause;
    }

    /** What is kept all the same. */
    public Kept kept() {
        return kept;
    }

    /** How long a recovery may take instead; {@link Long#MAX_VALUE} nanoseconds where there is no end to it. */
    public Duration reachable() {
        return reachable;
    }

    /** The write amplification that the recovery time would take, about. */
    public double neededWriteAmplification() {
        return neededWriteAmplification;
    }

    @Override
    public String toString() {
        return cause + ", a recovery may take " + reachable;
    }
}
