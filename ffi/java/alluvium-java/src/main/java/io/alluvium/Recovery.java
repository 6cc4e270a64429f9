package io.alluvium;

import java.time.Duration;
import java.util.Optional;

/** How far the recovery of a store is: see {@link Store#recovery()}. */
public final class Recovery {
    /** What a store that was opened is at. */
    public enum Stage {
        /** Something of the changelog is still to be replayed: key groups that nobody asked for yet are replayed meanwhile, or wait for a writer. */
        REPLAYING,
        /** What was hot is still to be brought into memory. The store serves, and reads from disk what isn't there. */
        WARMING_UP,
        /** Nothing is left to be done. */
        COMPLETE
    }

    private final Stage stage;
    private final double restored;
    private final Duration elapsed;
    private final Optional<Duration> remaining;
    private final long[] counts = new long[8];

    private Recovery(Scratch scratch) {
        stage = Stage.values()[scratch.takeInt()];
        restored = scratch.takeInt() / 1_000.0;
        elapsed = Duration.ofNanos(scratch.takeLong());
        long left = scratch.takeLong();
        remaining = left < 0 ? Optional.empty() : Optional.of(Duration.ofNanos(left));
        for (int i = 0; i < counts.length; i++) {
            counts[i] = scratch.takeLong();
        }
    }

    static Recovery read(Scratch scratch) {
        return new Recovery(scratch);
    }

    /** What it is at. */
    public Stage stage() {
        return stage;
    }

    /**
     * The part of all bytes, to be replayed and to be brought into memory, that is done: 0 to 1, in steps of a thousandth. It stays below 1 where memory
     * was too small.
     */
    public double restored() {
        return restored;
    }

    /** Since the store began to be opened. */
    public Duration elapsed() {
        return elapsed;
    }

    /** How long the rest will take, at the rate so far; empty before there is one. */
    public Optional<Duration> remaining() {
        return remaining;
    }

    /** Bytes of the changelog that there were to be replayed. */
    public long replayBytes() {
        return counts[0];
    }

    /** How many of them were. */
    public long replayedBytes() {
        return counts[1];
    }

    /** Bytes that there are to be brought into memory, about; 0 before the first writer was opened. */
    public long warmUpBytes() {
        return counts[2];
    }

    /** How many of them were gone through. */
    public long warmedUpBytes() {
        return counts[3];
    }

    /** Records that there are to be brought into memory, about. */
    public long warmUpRecords() {
        return counts[4];
    }

    /** How many of them were gone through. */
    public long warmedUpRecords() {
        return counts[5];
    }

    /** Records that were brought into memory, those for {@link Store#warm} included. */
    public long broughtRecords() {
        return counts[6];
    }

    /** Their keys and values, in bytes. */
    public long broughtBytes() {
        return counts[7];
    }

    @Override
    public String toString() {
        return stage + ", " + Math.round(restored * 1_000) / 10.0 + " % restored after " + elapsed;
    }
}
