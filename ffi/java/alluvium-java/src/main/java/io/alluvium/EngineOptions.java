package io.alluvium;

/** Options of an {@link Engine}; what isn't set is usual. */
public final class EngineOptions {
    /** How files are read and written. */
    public enum Storage {
        /** io_uring where the machine has it, else as {@link #POSIX}. */
        AUTO,
        /** io_uring, or an error. */
        IO_URING,
        /** Reads and writes of the operating system, in threads of their own. */
        POSIX
    }

    /** What of segments goes through the system's page cache, which is no part of the budget. */
    public enum PageCache {
        /** Nothing, where the file system allows that. */
        NOTHING,
        /** Reads of a block that a caller waits for; writes, batches of reads, scans and merges don't. */
        SINGLE_READS,
        /** Everything. */
        EVERYTHING
    }

    int threads = 2;
    long memoryBudgetBytes = 256L << 20;
    long memoryCeilingBytes;
    Storage storage = Storage.AUTO;
    PageCache pageCache = PageCache.SINGLE_READS;

    /** The usual options. */
    public EngineOptions() {}

    /** Background threads for flushing and compaction: 1 to 64 (2). */
    public EngineOptions threads(int threads) {
        this.threads = threads;
        return this;
    }

    /** The hard limit on what all stores together keep in memory, in bytes: 4 MiB to 32 GiB (256 MiB). It is not Java's heap. */
    public EngineOptions memoryBudgetBytes(long bytes) {
        memoryBudgetBytes = bytes;
        return this;
    }

    /** Up to where the budget can be raised later, in bytes (not at all). */
    public EngineOptions memoryCeilingBytes(long bytes) {
        memoryCeilingBytes = bytes;
        return this;
    }

    /** How files are read and written ({@link Storage#AUTO}). */
    public EngineOptions storage(Storage storage) {
        this.storage = storage;
        return this;
    }

    /** What of segments goes through the system's page cache ({@link PageCache#SINGLE_READS}). */
    public EngineOptions pageCache(PageCache pageCache) {
        this.pageCache = pageCache;
        return this;
    }
}
