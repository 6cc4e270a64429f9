package io.alluvium;

import java.time.Duration;
import java.util.Objects;
import java.util.concurrent.TimeUnit;

/** Options of a {@link Store}; what isn't set is usual. */
public final class StoreOptions {
    int keyGroups = 128;
    KeyGroupRange range;
    Durability durability = Durability.CHECKPOINT;
    Duration changelogDelay = Duration.ofMillis(10);
    long changelogBytes = 1 << 20;
    long changelogFileBytes = 64 << 20;
    long wholeReplayBytes = 64 << 20;
    long historyCheckpoints;
    CheckpointPolicy checkpointPolicy = CheckpointPolicy.MANUAL;
    long retainedCheckpoints = 1;
    boolean hostRetention;
    long unconfirmedMax = 1_024;
    boolean compress = true;
    boolean fetch;
    boolean transactional;
    long snapshotsMax = 16;
    long stagedBytesMax = Long.MAX_VALUE;
    long memoryMinimumBytes;
    MemoryShare share;
    Long hashSeed;
    long hotListBytes;
    WarmUp warmUp = WarmUp.FITTING;

    /** The usual options. */
    public StoreOptions() {}

    /** How many key groups the whole job has: 1 to 65,536 (128). Fixed when the store is created: {@link Status#OPTIONS} where it is opened with another number. */
    public StoreOptions keyGroups(int keyGroups) {
        this.keyGroups = keyGroups;
        return this;
    }

    /** The key groups of this store (all of them). */
    public StoreOptions range(KeyGroupRange range) {
        this.range = range;
        return this;
    }

    /** How far the store goes to make what it has survive ({@link Durability#CHECKPOINT}). */
    public StoreOptions durability(Durability durability) {
        this.durability = Objects.requireNonNull(durability);
        return this;
    }

    /**
     * The host copies each checkpoint's files away itself, and nothing is synced (it doesn't: a checkpoint is complete when its files are
     * durable on this machine's disk). The shorter way to {@link Durability#HOST}, or to {@link Durability#CHECKPOINT}.
     */
    public StoreOptions hostDurability(boolean hostDurability) {
        return durability(hostDurability ? Durability.HOST : Durability.CHECKPOINT);
    }

    /** With a changelog: how long a commit may wait for others, of all stores of the engine, to be synced with them (10 ms). */
    public StoreOptions changelogDelay(Duration delay) {
        changelogDelay = Objects.requireNonNull(delay);
        return this;
    }

    /** With a changelog: a commit waits no longer where so much is to be written, in bytes: at least 1 (1 MiB). */
    public StoreOptions changelogBytes(long bytes) {
        changelogBytes = bytes;
        return this;
    }

    /** How long the changelog's files are, in bytes: 1 MiB to 1 TiB (64 MiB). Each takes its room when it is begun. */
    public StoreOptions changelogFileBytes(long bytes) {
        changelogFileBytes = bytes;
        return this;
    }

    /**
     * Up to how much changelog behind the newest checkpoint a recovery checks and replays as a whole before it serves, in bytes; of more, each key group is
     * replayed when it is first asked for, and the others meanwhile (64 MiB). {@link Long#MAX_VALUE}: always as a whole.
     */
    public StoreOptions wholeReplayBytes(long bytes) {
        wholeReplayBytes = bytes;
        return this;
    }

    /**
     * With a changelog: so many of the newest complete checkpoints are kept, whatever becomes of them otherwise, and the changelog from the
     * oldest of them on, so that the past can be read by position ({@link Store#asOfPosition}); 0: none (0).
     */
    public StoreOptions historyCheckpoints(int checkpoints) {
        historyCheckpoints = checkpoints;
        return this;
    }

    /** When checkpoints are due, for a host that asks: see {@link Store#nextCheckpoint} ({@link CheckpointPolicy#MANUAL}). */
    public StoreOptions checkpointPolicy(CheckpointPolicy policy) {
        checkpointPolicy = Objects.requireNonNull(policy);
        return this;
    }

    /** How many of the newest checkpoints are kept (1). */
    public StoreOptions retainedCheckpoints(int checkpoints) {
        retainedCheckpoints = checkpoints;
        return this;
    }

    /**
     * The host says what became of each checkpoint ({@link Store#confirm} and so on); at most so many that it said nothing of are kept
     * (it doesn't).
     */
    public StoreOptions hostRetention(int unconfirmedMax) {
        hostRetention = true;
        this.unconfirmedMax = unconfirmedMax;
        return this;
    }

    /** Whether segments are compressed where it pays (they are). */
    public StoreOptions compress(boolean compress) {
        this.compress = compress;
        return this;
    }

    /** Whether segments that aren't in the directory are asked of the host: see {@link Fetches} (they aren't). */
    public StoreOptions fetch(boolean fetch) {
        this.fetch = fetch;
        return this;
    }

    /** Whether what is written is staged until it is committed (it isn't). */
    public StoreOptions transactional(boolean transactional) {
        this.transactional = transactional;
        return this;
    }

    /** How many snapshots may live at once (16). */
    public StoreOptions snapshotsMax(int snapshots) {
        snapshotsMax = snapshots;
        return this;
    }

    /** How much each writer of a transactional store may have staged, in bytes, about (no limit). */
    public StoreOptions stagedBytesMax(long bytes) {
        stagedBytesMax = bytes;
        return this;
    }

    /** What no other store takes of the memory that this one lives in, in bytes (0). */
    public StoreOptions memoryMinimumBytes(long bytes) {
        memoryMinimumBytes = bytes;
        return this;
    }

    /** The part of the engine's budget that the store lives in (the whole). */
    public StoreOptions memoryShare(MemoryShare share) {
        this.share = share;
        return this;
    }

    /** The seed of the store's hashes (one is drawn). Stores that are to be merged by rescaling may share one. */
    public StoreOptions hashSeed(long seed) {
        hashSeed = seed;
        return this;
    }

    /**
     * How long the hot list is, in bytes, about: a file beside the checkpoints with the records that are used most, so that they return by
     * sequential reads after a crash ({@link WarmUp#HOTTEST}). It is written anew now and then, after a checkpoint, and adds an eighth to what the
     * store writes at most. 0: none is kept (0).
     */
    public StoreOptions hotListBytes(long bytes) {
        hotListBytes = bytes;
        return this;
    }

    /** What is brought into memory once the store is open and its writers are ({@link WarmUp#FITTING}). */
    public StoreOptions warmUp(WarmUp warmUp) {
        this.warmUp = Objects.requireNonNull(warmUp);
        return this;
    }

    void write(Scratch scratch) {
        KeyGroupRange all = range == null ? KeyGroupRange.of(0, Math.max(0, Math.min(keyGroups, 65_536) - 1)) : range;
        scratch.putInt(keyGroups).putRange(all).putInt(durability.ordinal()).putLong(retainedCheckpoints);
        scratch.putFlag(hostRetention).putLong(unconfirmedMax);
        scratch.putFlag(compress).putFlag(fetch).putFlag(transactional);
        scratch.putLong(snapshotsMax).putLong(stagedBytesMax).putLong(memoryMinimumBytes);
        scratch.putLong(share == null ? 0 : openHandle(share));
        scratch.putFlag(hashSeed != null).putLong(hashSeed == null ? 0 : hashSeed);
        scratch.putLong(TimeUnit.MICROSECONDS.convert(changelogDelay)).putLong(changelogBytes).putLong(changelogFileBytes);
        scratch.putLong(wholeReplayBytes).putLong(historyCheckpoints);
        checkpointPolicy.write(scratch);
        scratch.putLong(hotListBytes);
        warmUp.write(scratch);
    }

    private static long openHandle(MemoryShare share) {
        long handle = share.handle();
        // 0 would be the whole budget.
        if (handle == 0) {
            throw new ClosedException(Status.HANDLE, "the share is closed");
        }
        return handle;
    }
}
