package io.alluvium;

import java.time.Duration;

/** The memory budget and background threads of a process, shared by all of its stores. Any thread may use it. */
public final class Engine extends NativeObject {
    /** For longer nobody has to count. */
    private static final Duration PATIENCE_MAX = Duration.ofDays(365);

    /** Whether its threads had ended when it was closed. */
    private volatile boolean ended;

    private Engine(long handle) {
        super(ENGINE, handle, null);
    }

    /**
     * Starts an engine.
     *
     * @throws UnsupportedPlatformException where there is no native library for this machine
     */
    public static Engine open(EngineOptions options) {
        NativeLibrary.ensureLoaded();
        Scratch scratch = Scratch.take();
        try {
            return new Engine(scratch.handle(Native.engineOpen(
                    scratch.out.address,
                    options.threads,
                    options.memoryBudgetBytes,
                    options.memoryCeilingBytes,
                    options.storage.ordinal(),
                    options.pageCache.ordinal())));
        } finally {
            scratch.give();
        }
    }

    /** Starts an engine with the usual options. */
    public static Engine open() {
        return open(new EngineOptions());
    }

    /** The memory budget, in bytes. */
    public long budgetBytes() {
        return Failures.check(Native.engineBudget(handle()));
    }

    /** How much of it is in use, in bytes. */
    public long usedBytes() {
        return Failures.check(Native.engineUsed(handle()));
    }

    /** Changes the budget: from 4 MiB up to the options' ceiling. */
    public void setBudgetBytes(long bytes) {
        Failures.check(Native.engineSetBudget(handle(), bytes));
    }

    /**
     * Makes a part of the budget for a group of stores: they take no more than {@code limitBytes} together, and nobody else takes of
     * {@code minimumBytes}.
     */
    public MemoryShare memoryShare(long minimumBytes, long limitBytes) {
        Scratch scratch = Scratch.take();
        try {
            long result = Native.shareOpen(handle(), scratch.out.address, minimumBytes, limitBytes);
            return new MemoryShare(scratch.handle(result), this);
        } finally {
            scratch.give();
        }
    }

    /**
     * Closes it, and waits for the end of its threads, which may still be at something for a store that was closed: for 30 seconds at most. Where
     * something holds one of them for longer, such as a disk that doesn't answer, this returns all the same, the engine is closed, and the thread ends
     * later. {@link #closeWithin} is for those who want to know. Closing twice does nothing.
     *
     * @throws StillOpenException while a store or a share of it is open; then it stays open
     * @throws RetryException while another thread uses it; then it stays open
     */
    @Override
    public void close() {
        end(handle -> Native.close(ENGINE, handle));
    }

    /**
     * As {@link #close}, but waits up to {@code patience}, and says whether all threads of the engine have ended. Where not, they do later; the engine is
     * closed all the same. Closing twice does nothing, and says what there was to say the first time.
     *
     * @throws StillOpenException while a store or a share of it is open; then it stays open
     * @throws RetryException while another thread uses it; then it stays open
     */
    public boolean closeWithin(Duration patience) {
        long ms = (patience.compareTo(PATIENCE_MAX) < 0 ? patience : PATIENCE_MAX).toMillis();
        return end(handle -> Native.engineCloseWithin(handle, ms));
    }

    /** Closes it so, and says whether its threads have ended. */
    boolean end(Closing closing) {
        long result = close(closing);
        if (result >= 0) {
            ended = result != 0;
        }
        return ended;
    }

    /** How many objects of this library are open, for tests of programs that close what they open. */
    public static long openObjects() {
        NativeLibrary.ensureLoaded();
        return Failures.check(Native.openObjects());
    }
}
