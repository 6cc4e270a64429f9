//! What a storage instance has read and written so far.

use std::sync::atomic::{AtomicU64, Ordering};

/// Running totals of one [`Storage`](super::Storage), counted by all threads.
///
/// The totals order nothing else, so every access is `Relaxed`.
#[derive(Debug, Default)]
pub struct IoCounters {
    reads: AtomicU64,
    read_bytes: AtomicU64,
    writes: AtomicU64,
    written_bytes: AtomicU64,
    fsyncs: AtomicU64,
    uring_fallbacks: AtomicU64,
    direct_fallbacks: AtomicU64,
}

/// [`IoCounters`] at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct IoCounts {
    /// Reads that were asked for and answered.
    pub reads: u64,
    /// Bytes that the device or page cache gave, alignment included.
    pub read_bytes: u64,
    /// Write calls to the operating system.
    pub writes: u64,
    /// Bytes that they wrote.
    pub written_bytes: u64,
    /// Syncs of files and of the directory.
    pub fsyncs: u64,
    /// How often io_uring was denied or broke, and plain system calls took over.
    pub uring_fallbacks: u64,
    /// How often the file system refused `O_DIRECT`, and the page cache took over.
    pub direct_fallbacks: u64,
}

impl IoCounters {
    /// The totals now. Each is exact; together they are of slightly different moments.
    pub fn snapshot(&self) -> IoCounts {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        IoCounts {
            reads: load(&self.reads),
            read_bytes: load(&self.read_bytes),
            writes: load(&self.writes),
            written_bytes: load(&self.written_bytes),
            fsyncs: load(&self.fsyncs),
            uring_fallbacks: load(&self.uring_fallbacks),
            direct_fallbacks: load(&self.direct_fallbacks),
        }
    }

    /// Counts reads that brought `bytes` together.
    pub fn count_reads(&self, reads: u64, bytes: u64) {
        self.reads.fetch_add(reads, Ordering::Relaxed);
        self.read_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts one write.
    pub fn count_write(&self, bytes: u64) {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.written_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts one sync.
    pub fn count_fsync(&self) {
        self.fsyncs.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one change from io_uring to plain system calls.
    pub fn count_uring_fallback(&self) {
        self.uring_fallbacks.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one change from `O_DIRECT` to the page cache.
    pub fn count_direct_fallback(&self) {
        self.direct_fallbacks.fetch_add(1, Ordering::Relaxed);
    }
}
