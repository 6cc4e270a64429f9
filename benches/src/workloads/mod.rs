//! What the engines are compared under: streams of events, seeded, and what an operator does with its state for each of them.
//!
//! A workload is written once for any [`Backend`]. Everything it reads goes into [`Answers`], where it is compared with what the
//! oracle (the same workload over hash maps) has read. What is an operator's own (which windows are open, when they are due) is
//! kept outside of the engine, and is the same for all.

pub mod flights;
pub mod join;
pub mod nexmark;
mod removed;
pub mod rmw;
pub mod session;
pub mod state_ops;
mod timed;
pub mod timers;
pub mod windows;

use crate::backends::{Backend, Kind};
use crate::harness::Outcome;

/// Events of a second of event time.
pub const EVENTS_PER_S: u64 = 20_000;

/// The sum of all that was read, and counts of what was done.
#[derive(Clone, Copy, Default, Debug)]
pub struct Answers {
    digest: u64,
    /// Operations of states: reads, writes, appends, scans.
    pub operations: u64,
    /// Bytes of keys and values written by the workload.
    pub logical_bytes: u64,
}

impl Answers {
    /// What goes on from a [`Answers::digest`].
    pub fn from_digest(digest: u64) -> Self {
        Self { digest, ..Self::default() }
    }

    /// Takes in what was read for the event, or step, `tag`. In any order: batches are answered in any.
    #[inline]
    pub fn see(&mut self, tag: u64, value: Option<&[u8]>) {
        let mut hash = tag ^ 0x9E37_79B9_7F4A_7C15;
        if let Some(value) = value {
            // Its length and both ends: values are made so that these tell them apart, and cost the same for all engines.
            let end = value.last_chunk::<8>().map_or(value.len() as u64, |last| u64::from_le_bytes(*last));
            let start = value.first_chunk::<8>().map_or(0, |first| u64::from_le_bytes(*first));
            hash = fold(hash ^ start, end ^ (value.len() as u64) << 56 ^ 1);
        }
        self.digest = self.digest.wrapping_add(fold(hash, 0xD6E8_FEB8_6659_FD93));
    }

    /// Counts a write of so many bytes of key and value.
    #[inline]
    pub fn wrote(&mut self, bytes: u64) {
        self.logical_bytes += bytes;
    }

    /// Counts operations.
    #[inline]
    pub fn did(&mut self, operations: u64) {
        self.operations += operations;
    }

    /// All that was read so far, as one number.
    pub fn digest(&self) -> u64 {
        self.digest
    }
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b | 1);
    (product as u64) ^ ((product >> 64) as u64)
}

/// A stream of events and what is done for each.
pub trait Workload {
    /// An event, made before the clock starts.
    type Event;

    /// Events that come together where the engine may see several at once; 1: it may not.
    fn batch(&self) -> usize {
        1
    }

    /// The tables.
    fn tables(&self) -> Vec<Kind>;

    /// How many events there are.
    fn events(&self) -> u64;

    /// Fills the state.
    fn load<B: Backend>(&mut self, backend: &mut B, answers: &mut Answers) -> Outcome {
        let _ = (backend, answers);
        Ok(())
    }

    /// Makes the next events.
    fn generate(&mut self, count: usize, out: &mut Vec<Self::Event>);

    /// Does what is to be done for a batch of events.
    fn process<B: Backend>(&mut self, backend: &mut B, events: &[Self::Event], answers: &mut Answers) -> Outcome;

    /// Reads parts of the state back, and parts of what was removed: an error where any of that is there.
    fn check<B: Backend>(&mut self, backend: &mut B, answers: &mut Answers) -> Outcome;

    /// Bytes of keys and values that are live.
    fn live_bytes(&self) -> u64;

    /// Ends all windows; whether there are any.
    fn drain<B: Backend>(&mut self, backend: &mut B, answers: &mut Answers) -> Outcome<bool> {
        let _ = (backend, answers);
        Ok(false)
    }
}
