//! The purge clock: the time by which compaction decides what is expired.
//!
//! It is the lowest that the writers had set when the newest complete checkpoint was cut; of a transactional store, when what that checkpoint has
//! was committed: what is staged isn't in it, and has no say. It goes back with rollbacks, with a checkpoint that was cut at an earlier time, and
//! at once where a writer sets an earlier time: what is written from then on lives by that one.

use crate::platform::threads::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// See the module's head. All of it in ms, as writers set it.
#[derive(Debug)]
pub struct PurgeClock {
    times: Mutex<Times>,
}

#[derive(Debug)]
struct Times {
    now_ms: u64,
    committed_ms: u64,
    /// Of the cuts and commits on their way, the earliest time that the clock went back to since they began.
    floors: Vec<Weak<AtomicU64>>,
}

/// A cut or commit on its way: it must not bring the clock behind what it went back to meanwhile.
#[derive(Debug)]
pub struct Reading {
    ms: u64,
    floor_ms: Arc<AtomicU64>,
}

impl Reading {
    /// What the writers' clocks came to.
    #[must_use]
    pub fn of(self, ms: u64) -> Self {
        Self { ms, ..self }
    }

    /// What they came to when they were read.
    pub const fn ms(&self) -> u64 {
        self.ms
    }

    /// The same, or the time that the clock went back to since. Under the clock's lock, as what sets it is.
    fn safe_ms(&self) -> u64 {
        self.ms.min(self.floor_ms.load(Ordering::Relaxed))
    }
}

impl PurgeClock {
    /// As a checkpoint has it.
    pub const fn new(ms: u64) -> Self {
        Self { times: Mutex::new(Times { now_ms: ms, committed_ms: ms, floors: Vec::new() }) }
    }

    /// The time. Whoever merges by it looks at it before what is merged is picked, and again afterwards: the lower one counts.
    pub fn now_ms(&self) -> u64 {
        self.times.lock().now_ms
    }

    /// A cut or a commit begins to read the writers' clocks.
    pub fn begin(&self) -> Reading {
        let floor_ms = Arc::new(AtomicU64::new(u64::MAX));
        let mut times = self.times.lock();
        times.floors.retain(|floor| floor.strong_count() > 0);
        times.floors.push(Arc::downgrade(&floor_ms));
        Reading { ms: u64::MAX, floor_ms }
    }

    /// The checkpoint of a cut is complete.
    pub fn reach(&self, reading: &Reading) {
        let mut times = self.times.lock();
        times.now_ms = reading.safe_ms();
    }

    /// What a checkpoint has that was cut at this time is there again, and alive as it was then; or a writer goes on at it.
    pub fn go_back(&self, ms: u64) {
        let mut times = self.times.lock();
        times.now_ms = times.now_ms.min(ms);
        times.committed_ms = times.committed_ms.min(ms);
        for floor in times.floors.iter().filter_map(Weak::upgrade) {
            floor.fetch_min(ms, Ordering::Relaxed);
        }
    }

    /// The lowest time that the writers had set at the last commit.
    pub fn committed_ms(&self) -> u64 {
        self.times.lock().committed_ms
    }

    /// A commit.
    pub fn commit(&self, reading: &Reading) {
        let mut times = self.times.lock();
        times.committed_ms = reading.safe_ms();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_newest_checkpoints_own() {
        let clock = PurgeClock::new(5);
        for ms in [100, 30, 200] {
            let reading = clock.begin().of(ms);
            assert_ne!(clock.now_ms(), ms, "not before the checkpoint is complete");
            clock.reach(&reading);
            assert_eq!(clock.now_ms(), ms);
        }
        assert_eq!(clock.committed_ms(), 5, "nothing was committed");
    }

    /// Whether the time goes back before the clocks were read, or after.
    #[test]
    fn what_is_on_its_way_does_not_pass_a_time_that_was_gone_back_to() {
        for first in [true, false] {
            let clock = PurgeClock::new(50);
            let (mut cut, mut commit) = (clock.begin(), clock.begin());
            if first {
                clock.go_back(70);
            }
            (cut, commit) = (cut.of(100), commit.of(100));
            if !first {
                clock.go_back(70);
            }
            assert_eq!(clock.now_ms(), 50);
            clock.commit(&commit);
            clock.reach(&cut);
            assert_eq!((cut.ms(), clock.now_ms(), clock.committed_ms()), (100, 70, 70));
            let later = clock.begin().of(100);
            clock.reach(&later);
            assert_eq!(clock.now_ms(), 100);
        }
    }

    #[test]
    fn what_has_ended_is_forgotten() {
        let clock = PurgeClock::new(0);
        for _ in 0..100 {
            drop(clock.begin());
        }
        assert_eq!(clock.times.lock().floors.len(), 1);
    }
}
