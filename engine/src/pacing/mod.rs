//! Pacing: when the next checkpoint is due, so that a recovery takes no longer than was promised.
//!
//! A [`Pacer`] decides. It is pure: it is told what happened and when, and has no clock, no thread and no files; so that
//! what it decides can be tried out over months of simulated time. A store has one and tells it what the store measures
//! ([`Store::next_checkpoint`](crate::Store::next_checkpoint)).
//!
//! **The model.** A crash at any moment is followed by opening the newest complete checkpoint, by redoing the work since
//! its barrier, and by catching up with what came in meanwhile:
//!
//! ```text
//! recovery = (open cost + work / replay rate) × capacity / (capacity − input rate)
//! ```
//!
//! Work is what the changelog has since that barrier, in bytes; without a changelog it is what the host has to replay. A
//! crash just before a checkpoint is complete counts from the one before it. So what has to stay within the target is
//! the work at the *end* of a checkpoint, and it has to begin while there is room for what will come during it.
//!
//! `estimate.rs` learns what things cost, `pacer.rs` is what the pacer is told, `plan.rs` what it answers.
//! `docs/recovery.md` has the formulas with their reasons.

mod estimate;
mod pacer;
mod plan;
#[cfg(all(test, not(loom)))]
mod simulation;
#[cfg(all(test, not(loom)))]
mod tests;

pub use pacer::{Learned, Pacer};

use crate::error::{Error, Result};
use std::time::Duration;

/// When checkpoints are due: [`StoreOptions::checkpoint_policy`](crate::StoreOptions::checkpoint_policy).
///
/// The engine takes no checkpoint by itself, as the offsets of the sources are the host's: it says when one is due
/// ([`Store::next_checkpoint`](crate::Store::next_checkpoint)).
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum Policy {
    /// Whenever the host wants; none is ever due.
    #[default]
    Manual,
    /// So long after the barrier of the last one.
    Fixed(Duration),
    /// Often enough that checkpoints and redone work together cost as little as they can: `T = √(2 c M)` for checkpoints
    /// that cost `c` and a mean time `M` between failures (Young, *A first order approximation to the optimum checkpoint
    /// interval*, CACM 17(9), 1974). Work that is redone `1/u` times as fast as it was done costs only `u` of its time, so
    /// it is `√(2 c M / u)`.
    ///
    /// The optimum for streams depends on the same two numbers alone (Jayasekara, Harwood, Karunasekera, *A utilization
    /// model for optimization of checkpoint intervals in distributed stream processing systems*, FGCS 110, 2020), and differs from Young's by less
    /// than a hundredth where `c` is small beside `M`, so the first-order formula is all that is needed. `c` is the
    /// throughput lost, not how long a checkpoint takes, and only the part of it that isn't proportional to what
    /// changed: the rest is paid however often checkpoints are taken.
    Young {
        /// The mean time between failures of what the store's process needs to run.
        mtbf: Duration,
    },
    /// As seldom as a recovery time can be kept for a crash at any moment, also during a checkpoint.
    ///
    /// Where both can't be had, the cap on write amplification is kept, as writing is paid for all the time and a long
    /// recovery after a crash alone: checkpoints are as frequent as the cap allows, and
    /// [`Store::checkpoint_conflict`](crate::Store::checkpoint_conflict) says what recovery takes instead. If the work to be redone grows to eight times
    /// what the target allows, a checkpoint is due all the same, and the conflict says that neither is kept.
    RecoveryTime {
        /// How long a recovery may take, catching up included where the rates are known.
        target: Duration,
        /// How many bytes may be written for each byte that is changed: the log, where there is one, and checkpoints with
        /// the compaction between them; over the last eight checkpoints or so. At least 1; `f64::INFINITY` for no cap.
        max_write_amplification: f64,
    },
}

impl Policy {
    pub(crate) fn validate(&self) -> Result<()> {
        let problem = |problem: &str| Err(Error::Options { option: "checkpoint_policy", problem: problem.into() });
        match *self {
            Self::Fixed(Duration::ZERO) => problem("an interval of 0"),
            Self::Young { mtbf: Duration::ZERO } => problem("a mean time between failures of 0"),
            Self::RecoveryTime { target: Duration::ZERO, .. } => problem("a recovery time of 0"),
            Self::RecoveryTime { max_write_amplification: cap, .. } if cap.is_nan() || cap < 1.0 => {
                problem("a write amplification below 1")
            }
            _ => Ok(()),
        }
    }
}

/// When the next checkpoint is due, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decision {
    /// How long it is until then at the earliest, were input to come as fast as it ever does; zero when it is due now.
    /// Nothing is missed by looking again only then, if bursts are no faster than earlier ones or the known capacity.
    pub due_in: Duration,
    /// Why.
    pub reason: Reason,
}

impl Decision {
    /// Whether it is due now.
    pub fn is_due(&self) -> bool {
        self.due_in.is_zero()
    }
}

/// Why a checkpoint is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// Time has passed since the last one.
    Interval,
    /// What would have to be redone has grown.
    Log,
    /// It grows faster than on average.
    Burst,
    /// Memory is short and much of it holds changes: they are about to be spilled, and might as well become a checkpoint.
    Memory,
}

/// A promise that can't be kept, as things are. See [`Policy::RecoveryTime`].
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Conflict {
    /// What stands in the way.
    pub cause: Cause,
    /// What is kept all the same.
    pub kept: Kept,
    /// How long a recovery may take instead of the target; [`Duration::MAX`] where there is no end to it.
    pub reachable: Duration,
    /// The write amplification that the target would take, about.
    pub needed_write_amplification: f64,
}

/// Why the target of a recovery can't be kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// It takes more writing than is allowed.
    WriteAmplification,
    /// Opening the store alone takes longer.
    OpenCost,
    /// While a checkpoint is taken more comes in than may have to be redone.
    Checkpoints,
    /// Input comes in too fast to catch up with it in time.
    CatchingUp,
}

/// What is kept where not everything can be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kept {
    /// The cap on write amplification.
    WriteAmplification,
    /// Neither the target nor the cap.
    Neither,
}

/// How fast work comes in, and how fast it can be done, in units of work per second; what isn't known is left out.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Rates {
    /// What comes in.
    pub input: Option<f64>,
    /// What can be done when there is enough of it.
    pub capacity: Option<f64>,
}

/// What became of a checkpoint that is complete.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Completed {
    /// From the barrier to the end.
    pub took: Duration,
    /// How much processing time it cost: throughput lost, as the time in which as much would have been done.
    pub lost: Duration,
    /// Bytes written for it, compaction since the one before it included.
    pub written_bytes: u64,
    /// Bytes of keys and values that were changed, for stores without a changelog.
    pub changed_bytes: u64,
}
