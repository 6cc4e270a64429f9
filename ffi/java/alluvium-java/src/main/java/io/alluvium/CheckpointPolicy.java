package io.alluvium;

import java.time.Duration;
import java.util.concurrent.TimeUnit;

/** When checkpoints are due, for a host that asks ({@link Store#nextCheckpoint}): the engine takes none by itself. */
public final class CheckpointPolicy {
    /** Whenever the host wants; none is ever due. */
    public static final CheckpointPolicy MANUAL = new CheckpointPolicy(0, Duration.ZERO, Double.POSITIVE_INFINITY);

    private final int which;
    private final Duration time;
    private final double maxWriteAmplification;

    private CheckpointPolicy(int which, Duration time, double maxWriteAmplification) {
        this.which = which;
        this.time = time;
        this.maxWriteAmplification = maxWriteAmplification;
    }

    private static CheckpointPolicy of(int which, Duration time, double maxWriteAmplification, String what) {
        if (time.isNegative() || time.isZero()) {
            throw new IllegalArgumentException(what + " of " + time);
        }
        return new CheckpointPolicy(which, time, maxWriteAmplification);
    }

    /** So long after the barrier of the last one. */
    public static CheckpointPolicy fixed(Duration interval) {
        return of(1, interval, Double.POSITIVE_INFINITY, "an interval");
    }

    /**
     * As often as makes checkpoints and work that is redone cost least together (Young's formula).
     *
     * @param meanTimeBetweenFailures of what the store's process needs to run
     */
    public static CheckpointPolicy young(Duration meanTimeBetweenFailures) {
        return of(2, meanTimeBetweenFailures, Double.POSITIVE_INFINITY, "a mean time between failures");
    }

    /** As seldom as a recovery within this time allows, after a crash at any moment, whatever is written for it. */
    public static CheckpointPolicy recoveryTime(Duration target) {
        return recoveryTime(target, Double.POSITIVE_INFINITY);
    }

    /**
     * The same under a cap, which is kept where both can't be had; {@link Store#checkpointConflict} says so.
     *
     * @param target how long a recovery may take, catching up included where the rates are known ({@link Store#observeRates})
     * @param maxWriteAmplification how many bytes may be written for each byte that is changed, the log, where there is one, and checkpoints
     *     with the compaction between them; at least 1
     */
    public static CheckpointPolicy recoveryTime(Duration target, double maxWriteAmplification) {
        if (!(maxWriteAmplification >= 1)) {
            throw new IllegalArgumentException("a write amplification of " + maxWriteAmplification);
        }
        return of(3, target, maxWriteAmplification, "a recovery time");
    }

    void write(Scratch scratch) {
        scratch.putInt(which).putLong(TimeUnit.NANOSECONDS.convert(time));
        scratch.putLong(Double.doubleToRawLongBits(maxWriteAmplification));
    }
}
