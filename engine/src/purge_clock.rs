//! The purge clock: the time by which compaction decides what is expired.
//!
//! It is the lowest that the writers had set when the newest complete checkpoint was cut; of a transactional store, when what that checkpoint has
//! was committed: what is staged isn't in it, and has no say. It rises, and goes back with rollbacks.

use std::sync::atomic::{AtomicU64, Ordering};

/// See the module's head. All of it in ms, as writers set it.
#[derive(Debug)]
pub struct PurgeClock {
    now_ms: AtomicU64,
    committed_ms: AtomicU64,
}

impl PurgeClock {
    /// As a checkpoint has it.
    pub const fn new(ms: u64) -> Self {
        Self { now_ms: AtomicU64::new(ms), committed_ms: AtomicU64::new(ms) }
    }

    /// The time. Whoever merges by it looks at it before what is merged is picked.
    pub fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    /// A checkpoint is complete.
    pub fn reach(&self, ms: u64) {
        self.now_ms.fetch_max(ms, Ordering::Relaxed);
    }

    /// What a checkpoint has that was cut at this time is there again, and alive as it was then.
    pub fn go_back(&self, ms: u64) {
        self.now_ms.fetch_min(ms, Ordering::Relaxed);
        self.committed_ms.fetch_min(ms, Ordering::Relaxed);
    }

    /// The lowest time that the writers had set at the last commit.
    pub fn committed_ms(&self) -> u64 {
        self.committed_ms.load(Ordering::Relaxed)
    }

    /// A commit.
    pub fn commit(&self, ms: u64) {
        self.committed_ms.store(ms, Ordering::Relaxed);
    }
}
