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
use foldhash::SharedSeed;
use foldhash::fast::FoldHasher;
use std::hash::Hasher;

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
        let mut hasher = hasher(tag);
        hasher.write(value.unwrap_or_default());
        hasher.write_u64(value.map_or(0, |value| value.len() as u64 + 1));
        self.take(hasher);
    }

    /// Takes in an entry of a map.
    #[inline]
    pub fn see_entry(&mut self, tag: u64, user_key: &[u8], value: &[u8]) {
        let mut hasher = hasher(tag);
        hasher.write(user_key);
        hasher.write(value);
        hasher.write_u64((user_key.len() as u64) << 32 | value.len() as u64);
        self.take(hasher);
    }

    #[inline]
    fn take(&mut self, hasher: FoldHasher<'_>) {
        self.digest = self.digest.wrapping_add(hasher.finish());
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

/// Hashes all bytes: what is read costs that for every engine. The seed is fixed, as sums of different processes are compared.
#[inline]
fn hasher(tag: u64) -> FoldHasher<'static> {
    static SEED: SharedSeed = SharedSeed::from_u64(0x416C_6C75_7669_756D);
    FoldHasher::with_seed(tag.wrapping_mul(0x9E37_79B9_7F4A_7C15), &SEED)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(see: impl FnOnce(&mut Answers)) -> u64 {
        let mut answers = Answers::default();
        see(&mut answers);
        answers.digest()
    }

    /// A byte that differs, wherever it is, is another answer; so are bytes that are missing or move from the user key to the value.
    #[test]
    fn every_byte_counts() {
        for len in [0_usize, 1, 3, 8, 9, 16, 17, 31, 32, 33, 64, 100, 256, 257, 500] {
            let value: Vec<u8> = (0..len).map(|at| (at % 7) as u8).collect();
            let right = digest(|answers| answers.see(5, Some(&value)));
            let mut others = vec![
                digest(|answers| answers.see(5, None)),
                digest(|answers| answers.see(6, Some(&value))),
                digest(|answers| answers.see(5, Some(&[&value[..], &[0]].concat()))),
                digest(|answers| answers.see_entry(5, &value, &[])),
                digest(|answers| answers.see_entry(5, &[], &value)),
            ];
            others.extend((0..len).map(|at| {
                let mut changed = value.clone();
                changed[at] ^= 1;
                digest(|answers| answers.see(5, Some(&changed)))
            }));
            others.push(right);
            let count = others.len() - usize::from(len == 0);
            others.sort_unstable();
            others.dedup();
            assert_eq!(others.len(), count, "{len} bytes");
        }
    }

    /// Answers come in any order; which of them belongs to which question is part of them.
    #[test]
    fn what_is_swapped_counts() {
        let see = |pairs: [(u64, &[u8]); 2]| {
            digest(|answers| pairs.iter().for_each(|(tag, value)| answers.see(*tag, Some(value))))
        };
        assert_eq!(see([(1, b"a"), (2, b"b")]), see([(2, b"b"), (1, b"a")]));
        assert_ne!(see([(1, b"a"), (2, b"b")]), see([(1, b"b"), (2, b"a")]));
    }
}
