package io.alluvium;

/** The memory budget and background threads of a process, shared by all of its stores. Any thread may use it. */
public final class Engine extends NativeObject {
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

    /** How many objects of this library are open, for tests of programs that close what they open. */
    public static long openObjects() {
        NativeLibrary.ensureLoaded();
        return Failures.check(Native.openObjects());
    }
}
