//! The pacer: what it answers.

use super::pacer::{Due, Pacer};
use super::{Cause, Conflict, Decision, Kept, Policy, Reason};
use std::time::Duration;

/// The least pause between the end of a checkpoint and the next one's barrier; twice as long after each failure in a row.
const PAUSE_NS: f64 = 50e6;
/// So many failures in a row lengthen it.
const FAILURES_MAX: i32 = 8;
/// What a checkpoint of so many bytes takes, before one was taken: a base, and a time for each byte.
const DURATION_FIRST_NS: (f64, f64) = (50e6, 10.0);
/// What one costs, before one was taken.
const LOST_FIRST_NS: f64 = 100e6;
/// What is kept in reserve for growth of which nothing was seen yet: so many times what was.
const BURST: f64 = 2.0;
/// Of the work that the target allows at most this share is kept in reserve. If more comes in during a checkpoint, the target
/// can't be kept, and beginning earlier wouldn't help: what comes in is then in the way of the next one.
const RESERVE_SHARE: f64 = 0.5;
/// Where the target leaves less time than this share of it for redoing work, that is given to it all the same: checkpoints
/// without a pause help nobody.
const REDO_SHARE_MIN: f64 = 1.0 / 8.0;
/// The cap on write amplification is kept up to so many times the work that the target allows.
const STRETCH_MAX: f64 = 8.0;
/// Memory is short where this share of it is used,
const MEMORY_USED: f64 = 0.85;
/// and worth a checkpoint where this share of it is changed.
const MEMORY_CHANGED: f64 = 0.2;
/// What is almost due is waited for.
const LOOK_NS_MIN: f64 = 20e6;
/// The longest that is waited before the next look, in ns.
const FAR_NS: f64 = 3_600e9;
/// The shortest before the next look at a cap that a checkpoint waits for, in ns, and the longest.
const CREDIT_LOOK_NS: (f64, f64) = (10e6, 1e9);

/// What would have to be redone, in units that take a known time.
#[derive(Clone, Copy, Debug)]
struct Work {
    amount: f64,
    /// Its growth, in units per ns: of late, on average, and at worst.
    fast: f64,
    slow: f64,
    worst: f64,
    /// What redoing a unit takes, in ns: about, and at most.
    redo_ns: f64,
    redo_ns_most: f64,
}

/// A checkpoint that is wished for, if nothing is in the way.
#[derive(Clone, Copy, Debug)]
struct Wish {
    due_in_ns: f64,
    reason: Reason,
    /// For how long it has been due.
    over_ns: f64,
}

impl Wish {
    /// When work that is `missing` comes at `growth`; due now where none is.
    fn after(missing: f64, growth: f64, over_ns: f64, reason: Reason) -> Self {
        let due_in_ns = if missing <= 0.0 { 0.0 } else { (missing / growth).clamp(1.0, FAR_NS) };
        Self { due_in_ns, reason, over_ns }
    }
}

impl Pacer {
    /// How long a recovery would take after a crash now. Includes catching up once both rates are known; without any replay
    /// observed, work is taken to be redone as fast as it was done. [`Duration::MAX`] where input comes in faster than it can be
    /// worked off.
    pub fn predicted_recovery(&self, now_ns: u64) -> Duration {
        let work = self.work(now_ns.max(self.now_ns));
        duration(self.recovery_ns(work.amount, &work))
    }

    /// When the next checkpoint is due. `None` where the policy knows of none. While one is on its way, the next is due
    /// after its end at the earliest: a store flushes one after another, so a later barrier has more in it and is complete
    /// no later. Once one is due it stays so until it begins.
    pub fn next_checkpoint(&mut self, now_ns: u64) -> Option<Decision> {
        self.tick(now_ns);
        let now_ns = self.now_ns;
        let wish = match self.policy {
            Policy::Manual => return None,
            Policy::Fixed(interval) => self.after_interval(now_ns, interval),
            Policy::Young { mtbf } => self.at_optimum(now_ns, mtbf),
            Policy::RecoveryTime { target, max_write_amplification } => {
                return Some(self.within_target(now_ns, target, max_write_amplification));
            }
        };
        let (wish, held_ns) = (self.latched(wish), self.held_ns(now_ns));
        Some(self.settle(now_ns, wish, held_ns))
    }

    /// What stands in the way of the policy's promise, as of the last [`Pacer::next_checkpoint`]. It is said for as long as
    /// it lasts, until a whole checkpoint went by without.
    pub fn conflict(&self) -> Option<Conflict> {
        self.conflict
    }

    fn after_interval(&self, now_ns: u64, interval: Duration) -> Wish {
        let last_ns = self.in_flight.iter().map(|in_flight| in_flight.mark.at_ns).fold(self.barrier.at_ns, u64::max);
        let due_in = interval.as_nanos() as f64 - now_ns.saturating_sub(last_ns) as f64;
        Wish::after(due_in, 1.0, 0.0, Reason::Interval)
    }

    fn at_optimum(&self, now_ns: u64, mtbf: Duration) -> Wish {
        let work = self.work(now_ns);
        let lost_ns = self.learned.lost.fixed_part().unwrap_or(LOST_FIRST_NS);
        // Of the interval T = √(2 c M / u) a share u has to be redone.
        let used = work.slow * work.redo_ns;
        let optimum = (2.0 * lost_ns * mtbf.as_nanos() as f64 * used).sqrt() / work.redo_ns;
        let missing = if work.amount > 0.0 { optimum - work.amount } else { f64::INFINITY };
        Wish::after(missing, work.fast.max(work.slow), 0.0, Reason::Interval)
    }

    fn within_target(&mut self, now_ns: u64, target: Duration, cap: f64) -> Decision {
        let work = self.work(now_ns);
        let target_ns = target.as_nanos() as f64;
        let limit = self.limit(&work, target_ns);
        let mut wish = self.latched(self.by_work(&work, limit));
        let (memory_used, budget) = self.memory;
        let memory_is_short = memory_used > budget * MEMORY_USED && self.dirty_bytes > budget * MEMORY_CHANGED;
        if memory_is_short {
            wish = Wish { due_in_ns: 0.0, reason: Reason::Memory, over_ns: 0.0 };
        }
        let mut held_ns = self.held_ns(now_ns);
        let is_due = wish.due_in_ns <= 0.0;
        // What is spilled otherwise costs nothing more.
        if is_due && !memory_is_short && self.in_flight.is_empty() {
            held_ns = held_ns.max(self.withheld_ns(&work, limit, cap));
        }
        self.look_for_conflict(now_ns, &work, target_ns, is_due && held_ns <= PAUSE_NS);
        self.settle(now_ns, wish, held_ns)
    }

    /// How much work may have to be redone, for a recovery of at most this long.
    fn limit(&self, work: &Work, target_ns: f64) -> f64 {
        let catching_up = self.catching_up(self.learned.input.peak().max(self.learned.input.fast()));
        (target_ns / catching_up - self.open_ns(true)).max(target_ns * REDO_SHARE_MIN) / work.redo_ns_most
    }

    /// A checkpoint has to begin while there is room for what comes in until it is complete.
    fn by_work(&self, work: &Work, limit: f64) -> Wish {
        let until_ns = self.duration_ns(true) + self.learned.late_ns + PAUSE_NS;
        let begin = |growth: f64| limit - (growth * until_ns).min(limit * RESERVE_SHARE);
        let threshold = begin(work.worst);
        let missing = if work.amount > 0.0 { threshold - work.amount } else { f64::INFINITY };
        let reason = match self.learned.replay.at(1.0) {
            None => Reason::Interval,
            Some(_) if work.fast > BURST * work.slow && work.amount < begin(work.slow) => Reason::Burst,
            Some(_) => Reason::Log,
        };
        let over_ns = if self.looked && work.fast > 0.0 { (-missing).max(0.0) / work.fast } else { 0.0 };
        let wish = Wish::after(missing, work.worst, over_ns, reason);
        // Half way is looked again: what comes in may become faster than ever meanwhile.
        Wish { due_in_ns: wish.due_in_ns.min((wish.due_in_ns / 2.0).max(LOOK_NS_MIN)), ..wish }
    }

    /// What is due stays due, whatever the estimates say meanwhile.
    fn latched(&self, wish: Wish) -> Wish {
        self.due.map_or(wish, |due| Wish { due_in_ns: 0.0, reason: due.reason, over_ns: 0.0 })
    }

    /// The decision, from what is wished for and how long that is held back.
    fn settle(&mut self, now_ns: u64, wish: Wish, held_ns: f64) -> Decision {
        if self.in_flight.is_empty() {
            if wish.due_in_ns > 0.0 {
                self.looked = true;
            } else {
                let since = self.due.filter(|_| held_ns <= 0.0);
                let (at_ns, over_ns) = since.map_or((now_ns, wish.over_ns), |due| (due.at_ns, due.over_ns));
                self.due = Some(Due { reason: wish.reason, at_ns, over_ns });
            }
        }
        Decision { due_in: duration(wish.due_in_ns.max(held_ns)), reason: wish.reason }
    }

    /// How long none can begin: until the one on its way has ended, and for a pause.
    fn held_ns(&self, now_ns: u64) -> f64 {
        if !self.in_flight.is_empty() {
            return self.remaining_ns(now_ns) + PAUSE_NS;
        }
        let pause_ns = PAUSE_NS * f64::from(self.failures.min(FAILURES_MAX)).exp2();
        self.ended_ns.map_or(0.0, |ended_ns| (pause_ns - now_ns.saturating_sub(ended_ns) as f64).max(0.0))
    }

    /// How long a checkpoint is held back by the cap on write amplification; notes the conflict.
    fn withheld_ns(&mut self, work: &Work, limit: f64, cap: f64) -> f64 {
        let learned = &self.learned;
        let expected_bytes = learned.written.at(self.dirty_bytes).unwrap_or(self.dirty_bytes);
        let pending_bytes = if self.logged { self.position - self.barrier.position } else { self.dirty_bytes };
        // What is left of each changed byte's, once it is in the log.
        let log = if self.logged { 1.0 } else { 0.0 };
        let earned_bytes = (cap - log) * (learned.changed_bytes + pending_bytes);
        // An unlimited cap earns nothing that could be counted.
        let missing_bytes =
            if cap == f64::INFINITY { 0.0 } else { learned.written_bytes + expected_bytes - earned_bytes };
        if missing_bytes <= 0.0 {
            return 0.0;
        }
        let more = missing_bytes / (cap - log);
        let (longest, is_too_long) = (limit * STRETCH_MAX, work.amount >= limit * STRETCH_MAX);
        // In units of work; without a log, bytes are taken to come as they did up to now.
        let more_work = if pending_bytes > 0.0 { more * work.amount / pending_bytes } else { f64::INFINITY };
        let reached = (work.amount + more_work).min(longest);
        let kept = if reached >= longest { Kept::Neither } else { Kept::WriteAmplification };
        let needed = log + expected_bytes / pending_bytes.max(1.0);
        let growth_ns = more_work.min(longest) / work.fast.max(f64::MIN_POSITIVE);
        self.note(Cause::WriteAmplification, kept, self.recovery_most_ns(reached, work), needed);
        if is_too_long { 0.0 } else { growth_ns.clamp(CREDIT_LOOK_NS.0, CREDIT_LOOK_NS.1) }
    }

    /// Whether the promise is broken by the end of the checkpoint that is on its way or due, and why.
    fn look_for_conflict(&mut self, now_ns: u64, work: &Work, target_ns: f64, begins: bool) {
        let ahead_ns = match self.in_flight.is_empty() {
            false => self.remaining_ns(now_ns),
            true if begins => self.duration_ns(false),
            true => 0.0,
        };
        let amount = work.amount + work.fast * ahead_ns;
        let reachable_ns = f64::midpoint(self.recovery_ns(amount, work), self.recovery_most_ns(amount, work));
        if reachable_ns <= target_ns {
            return;
        }
        let cause = if self.troubled && self.conflict.is_some_and(|known| known.cause == Cause::WriteAmplification) {
            // It was held back by the cap, and what comes of it was said.
            return;
        } else if f64::midpoint(self.open_ns(false), self.open_ns(true)) > target_ns {
            Cause::OpenCost
        } else if self.redoing_ns(amount, work) <= target_ns && self.rates.capacity.is_some() {
            Cause::CatchingUp
        } else {
            Cause::Checkpoints
        };
        let needed =
            f64::from(u8::from(self.logged)) + self.learned.written_bytes / self.learned.changed_bytes.max(1.0);
        self.note(cause, Kept::WriteAmplification, reachable_ns, needed);
    }

    fn note(&mut self, cause: Cause, kept: Kept, reachable_ns: f64, needed_write_amplification: f64) {
        let known = self.conflict.filter(|known| self.troubled && known.cause == cause);
        let reachable = known.map_or(Duration::ZERO, |known| known.reachable).max(duration(reachable_ns));
        // What it would have taken when it was due; the longer it is held back, the less it looks.
        let needed_write_amplification =
            known.map_or(0.0, |known| known.needed_write_amplification).max(needed_write_amplification);
        self.conflict = Some(Conflict { cause, kept, reachable, needed_write_amplification });
        self.troubled = true;
    }

    fn work(&self, now_ns: u64) -> Work {
        let learned = &self.learned;
        let (Some(redo_ns), Some(redo_ns_most)) = (learned.replay.at(1.0), learned.replay.bound(1.0)) else {
            // Redone as fast as it was done, at worst: then it had to wait for its input.
            let since_ns = now_ns.saturating_sub(self.barrier.at_ns) as f64;
            let amount = if self.position > self.barrier.position { since_ns } else { 0.0 };
            return Work { amount, fast: 1.0, slow: 1.0, worst: 1.0, redo_ns: 1.0, redo_ns_most: 1.0 };
        };
        let growth = &learned.growth;
        let (fast, slow) = (growth.fast(), growth.slow());
        Work {
            amount: (growth.total(now_ns) - self.barrier.position).max(0.0),
            fast,
            slow,
            worst: (BURST * fast.max(slow)).max(growth.peak()).max(self.capacity()),
            redo_ns: redo_ns * self.slower,
            redo_ns_most: redo_ns_most * self.slower * self.suspicion(now_ns),
        }
    }

    /// How fast work can be done, in its units per ns; 0 where that isn't known.
    fn capacity(&self) -> f64 {
        let (growth, input) = (&self.learned.growth, &self.learned.input);
        match self.rates.capacity {
            Some(capacity) if input.slow() > 0.0 => capacity * growth.slow() / input.slow(),
            _ => 0.0,
        }
    }

    /// By what factor the disk may have become slower: as the last checkpoint, opening or replay was, or a checkpoint
    /// that doesn't end.
    fn suspicion(&self, now_ns: u64) -> f64 {
        let overdue = self.in_flight.first().and_then(|in_flight| {
            let expected_ns = self.learned.duration.bound(in_flight.dirty_bytes)?;
            Some(now_ns.saturating_sub(in_flight.mark.at_ns) as f64 / expected_ns.max(PAUSE_NS))
        });
        let learned = &self.learned;
        let costs = [&learned.duration, &learned.open, &learned.replay];
        costs.iter().map(|cost| cost.suspicion()).fold(overdue.unwrap_or(1.0), f64::max)
    }

    /// How long a checkpoint would take that began now: about, or at most.
    fn duration_ns(&self, most: bool) -> f64 {
        let (learned, bytes) = (&self.learned.duration, self.dirty_bytes);
        let known = if most { learned.bound(bytes).map(|ns| ns * learned.suspicion()) } else { learned.at(bytes) };
        known.unwrap_or(DURATION_FIRST_NS.0 + bytes * DURATION_FIRST_NS.1)
    }

    /// How long the one on its way will still take: longer, the longer it takes already.
    fn remaining_ns(&self, now_ns: u64) -> f64 {
        let remaining = self.in_flight.last().map(|in_flight| {
            let elapsed_ns = now_ns.saturating_sub(in_flight.mark.at_ns) as f64;
            let known_ns = self.learned.duration.at(in_flight.dirty_bytes);
            let expected_ns = known_ns.unwrap_or(DURATION_FIRST_NS.0 + in_flight.dirty_bytes * DURATION_FIRST_NS.1);
            (expected_ns - elapsed_ns).max(elapsed_ns / 4.0)
        });
        remaining.unwrap_or(0.0)
    }

    fn open_ns(&self, most: bool) -> f64 {
        let open = &self.learned.open;
        let known = if most { open.bound(1.0).map(|ns| ns * self.suspicion(self.now_ns)) } else { open.at(1.0) };
        known.unwrap_or(0.0) * self.slower
    }

    /// By what factor catching up lengthens a recovery with this input.
    fn catching_up(&self, input: f64) -> f64 {
        match self.rates.capacity {
            Some(capacity) if input < capacity => capacity / (capacity - input),
            Some(_) => f64::INFINITY,
            None => 1.0,
        }
    }

    /// Opening, and redoing so much work.
    fn redoing_ns(&self, amount: f64, work: &Work) -> f64 {
        self.open_ns(false) + amount * work.redo_ns
    }

    /// The whole of a recovery: about.
    fn recovery_ns(&self, amount: f64, work: &Work) -> f64 {
        let input = &self.learned.input;
        // Between the present and the average: bursts end, but not at once.
        self.redoing_ns(amount, work) * self.catching_up(f64::midpoint(input.fast(), input.slow()))
    }

    /// The whole of a recovery: at most.
    fn recovery_most_ns(&self, amount: f64, work: &Work) -> f64 {
        let input = &self.learned.input;
        let redoing_ns = self.open_ns(true) + amount * work.redo_ns_most;
        redoing_ns * self.catching_up(input.peak().max(input.fast()))
    }
}

fn duration(ns: f64) -> Duration {
    if ns < u64::MAX as f64 { Duration::from_nanos(ns as u64) } else { Duration::MAX }
}
