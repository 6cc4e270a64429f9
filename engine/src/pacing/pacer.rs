//! The pacer: what it is told.
//!
//! Every call comes with the time, in ns by any clock that doesn't go back; a time before the last one counts as that.

use super::estimate::{Cost, Growth, Shape};
use super::{Completed, Conflict, Policy, Rates, Reason};
use std::time::Duration;

/// What a checkpoint's writing counts for when the next one is complete.
const WRITTEN_KEPT: f64 = 7.0 / 8.0;
/// How much of how late hosts begin is remembered from one checkpoint to the next.
const LATE_KEPT: f64 = 0.9;

/// What a pacer has learnt of its store and machine, to be given to the next one after a crash.
#[derive(Clone, PartialEq, Debug)]
pub struct Learned {
    /// Opening, of size 1, in ns.
    pub(super) open: Cost,
    /// Redoing work, by its units, in ns.
    pub(super) replay: Cost,
    /// Of checkpoints, by changed bytes: the time to the end, in ns; bytes written; processing time lost, in ns.
    pub(super) duration: Cost,
    pub(super) written: Cost,
    pub(super) lost: Cost,
    /// Work, in units per ns.
    pub(super) growth: Growth,
    /// Input, in its own units.
    pub(super) input: Growth,
    /// How long after it is due a checkpoint begins.
    pub(super) late_ns: f64,
    /// Bytes that checkpoints wrote, and those that were changed for them, of late.
    pub(super) written_bytes: f64,
    pub(super) changed_bytes: f64,
}

impl Default for Learned {
    fn default() -> Self {
        Self {
            open: Cost::new(Shape::Proportional),
            replay: Cost::new(Shape::Proportional),
            duration: Cost::new(Shape::Affine),
            written: Cost::new(Shape::Affine),
            lost: Cost::remembered(Shape::Affine),
            growth: Growth::default(),
            input: Growth::default(),
            late_ns: 0.0,
            written_bytes: 0.0,
            changed_bytes: 0.0,
        }
    }
}

/// Where a barrier was.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    pub at_ns: u64,
    /// How much work there was before it, from the beginning.
    pub position: f64,
}

/// A checkpoint on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct InFlight {
    pub number: u64,
    pub mark: Mark,
    pub dirty_bytes: f64,
}

/// A checkpoint that is due and hasn't begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub reason: Reason,
    /// Since when it might have begun.
    pub at_ns: u64,
    /// For how long it was due by then.
    pub over_ns: f64,
}

/// Decides when checkpoints are due. See the [module](super)'s head.
///
/// ```
/// use alluvium::pacing::{Completed, Pacer, Policy};
/// use std::time::Duration;
///
/// let policy = Policy::RecoveryTime { target: Duration::from_secs(2), max_write_amplification: 4.0 };
/// let mut pacer = Pacer::new(policy, true, 0);
/// let second = 1_000_000_000;
/// pacer.observe_open(0, Duration::from_millis(20));
/// pacer.observe_replay(0, 100 << 20, Duration::from_secs(1));
/// pacer.observe_log(0, 0);
/// pacer.observe_log(second, 10 << 20);
/// assert!(!pacer.next_checkpoint(second).unwrap().is_due());
/// pacer.observe_log(15 * second, 150 << 20);
/// assert!(pacer.next_checkpoint(15 * second).unwrap().is_due());
/// pacer.checkpoint_begun(15 * second, 1);
/// pacer.checkpoint_completed(16 * second, 1, Completed { took: Duration::from_secs(1), ..Completed::default() });
/// assert!(!pacer.next_checkpoint(16 * second).unwrap().is_due());
/// assert!(pacer.conflict().is_none());
/// ```
#[derive(Clone, Debug)]
pub struct Pacer {
    pub(super) policy: Policy,
    /// Whether work is written to a changelog.
    pub(super) logged: bool,
    pub(super) learned: Learned,
    pub(super) now_ns: u64,
    /// The barrier of the newest complete checkpoint; at first, the opening.
    pub(super) barrier: Mark,
    pub(super) position: f64,
    pub(super) in_flight: Vec<InFlight>,
    /// When the last one ended, well or not, and how many ended badly since one did well.
    pub(super) ended_ns: Option<u64>,
    pub(super) failures: i32,
    pub(super) dirty_bytes: f64,
    pub(super) memory: (f64, f64),
    pub(super) rates: Rates,
    rates_at_ns: u64,
    /// By what factor the disk has become slower since a replay was measured, as checkpoints show.
    pub(super) slower: f64,
    pub(super) due: Option<Due>,
    /// A look since the last checkpoint found none due.
    pub(super) looked: bool,
    pub(super) conflict: Option<Conflict>,
    /// There was one since the last checkpoint ended.
    pub(super) troubled: bool,
}

impl Pacer {
    /// For a store that was opened just now. `logged` says whether the store's changes are written to a changelog: then
    /// work is counted in its bytes, and they count as written.
    pub fn new(policy: Policy, logged: bool, now_ns: u64) -> Self {
        Self::resume(policy, logged, Learned::default(), now_ns)
    }

    /// The same with what another one learnt.
    pub fn resume(policy: Policy, logged: bool, learned: Learned, now_ns: u64) -> Self {
        let (growth, input) = (learned.growth.unwatched(), learned.input.unwatched());
        Self {
            policy,
            logged,
            learned: Learned { growth, input, ..learned },
            now_ns,
            barrier: Mark { at_ns: now_ns, position: 0.0 },
            position: 0.0,
            in_flight: Vec::new(),
            ended_ns: None,
            failures: 0,
            dirty_bytes: 0.0,
            memory: (0.0, 0.0),
            rates: Rates::default(),
            rates_at_ns: now_ns,
            slower: 1.0,
            due: None,
            looked: false,
            conflict: None,
            troubled: false,
        }
    }

    /// What it has learnt up to now.
    pub fn learned(&self) -> Learned {
        self.learned.clone()
    }

    /// The policy that it goes by.
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// Opening the store took so long, redoing apart.
    pub fn observe_open(&mut self, now_ns: u64, took: Duration) {
        self.tick(now_ns);
        self.learned.open.observe(1.0, nanoseconds(took));
    }

    /// So much work was redone in this time: at a recovery, or in a trial that is like one.
    pub fn observe_replay(&mut self, now_ns: u64, work: u64, took: Duration) {
        self.tick(now_ns);
        if work > 0 {
            self.learned.replay.observe(work as f64, nanoseconds(took));
            self.slower = 1.0;
        }
    }

    /// So much work has been done since the barrier of the newest complete checkpoint, and would have to be redone: with a
    /// changelog, its bytes since there.
    pub fn observe_log(&mut self, now_ns: u64, bytes_since_checkpoint: u64) {
        self.tick(now_ns);
        self.position = self.barrier.position + bytes_since_checkpoint as f64;
        self.learned.growth.observe(self.now_ns, self.position);
    }

    /// So much has changed since the last barrier, in bytes: what a checkpoint would have to write.
    pub fn observe_dirty(&mut self, now_ns: u64, bytes: u64) {
        self.tick(now_ns);
        self.dirty_bytes = bytes as f64;
    }

    /// So much of the memory that the store may use is in use, in bytes.
    pub fn observe_memory(&mut self, now_ns: u64, used_bytes: u64, budget_bytes: u64) {
        self.tick(now_ns);
        self.memory = (used_bytes as f64, budget_bytes as f64);
    }

    /// How fast input comes in and can be worked off, as far as it is known. Any unit will do that is the same for both.
    /// Once both are known, recovery includes catching up.
    pub fn observe_rates(&mut self, now_ns: u64, rates: Rates) {
        self.tick(now_ns);
        let elapsed_ns = self.now_ns.saturating_sub(self.rates_at_ns).max(1) as f64;
        if let Some(input) = rates.input.filter(|input| *input >= 0.0 && input.is_finite()) {
            self.learned.input.learn(elapsed_ns, input);
        }
        // One that is no number says nothing.
        self.rates =
            Rates { capacity: rates.capacity.filter(|capacity| *capacity >= 0.0 && capacity.is_finite()), ..rates };
        self.rates_at_ns = self.now_ns;
    }

    /// A checkpoint's barrier was cut. `number` is the caller's, to tell several on their way apart.
    pub fn checkpoint_begun(&mut self, now_ns: u64, number: u64) {
        self.tick(now_ns);
        if let Some(due) = self.due.take().filter(|_| !self.troubled) {
            let late_ns = due.over_ns + self.now_ns.saturating_sub(due.at_ns) as f64;
            self.learned.late_ns = (self.learned.late_ns * LATE_KEPT).max(late_ns);
        }
        self.looked = false;
        let mark = Mark { at_ns: self.now_ns, position: self.position };
        self.in_flight.push(InFlight { number, mark, dirty_bytes: self.dirty_bytes });
        self.dirty_bytes = 0.0;
    }

    /// It is complete: a crash from now on goes back to it.
    pub fn checkpoint_completed(&mut self, now_ns: u64, number: u64, completed: Completed) {
        self.tick(now_ns);
        let Some(at) = self.in_flight.iter().position(|in_flight| in_flight.number == number) else { return };
        let InFlight { mark, dirty_bytes, .. } = self.in_flight.remove(at);
        let learned = &mut self.learned;
        let changed = learned.duration.observe(dirty_bytes, nanoseconds(completed.took));
        self.slower = (self.slower * changed).max(1.0);
        learned.written.observe(dirty_bytes, completed.written_bytes as f64);
        learned.lost.observe(dirty_bytes, nanoseconds(completed.lost));
        let work = (mark.position - self.barrier.position).max(0.0);
        let changed_bytes = if self.logged { work } else { completed.changed_bytes as f64 };
        learned.written_bytes = learned.written_bytes * WRITTEN_KEPT + completed.written_bytes as f64;
        learned.changed_bytes = learned.changed_bytes * WRITTEN_KEPT + changed_bytes;
        self.barrier = mark;
        self.failures = 0;
        if !self.troubled {
            self.conflict = None;
        }
        self.troubled = false;
        self.end();
    }

    /// It was given up, by whom ever. What it was to have joins the next one.
    pub fn checkpoint_failed(&mut self, now_ns: u64, number: u64) {
        self.tick(now_ns);
        let before = self.in_flight.len();
        self.in_flight.retain(|in_flight| in_flight.number != number);
        if self.in_flight.len() < before {
            self.failures = self.failures.saturating_add(1);
            self.end();
        }
    }

    fn end(&mut self) {
        self.ended_ns = Some(self.now_ns);
        self.due = None;
        self.looked = false;
    }

    pub(super) fn tick(&mut self, now_ns: u64) {
        self.now_ns = self.now_ns.max(now_ns);
    }
}

fn nanoseconds(duration: Duration) -> f64 {
    duration.as_nanos() as f64
}
