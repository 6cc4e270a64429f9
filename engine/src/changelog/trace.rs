//! Where the changelog has which events, and which keys they read and wrote: an index in memory, four bytes for each key of each run.
//!
//! A run is a stretch of the stream, about as long as a writer's buffer. The thread that writes the stream sorts what the writer gathered
//! of it; what lies before the index begins (the store was opened since) is gathered from the files when it is asked for.

use super::access::Accesses;
use crate::ids::{EventId, KeyGroupRange};
use std::collections::VecDeque;

/// So far from where a print is expected it lies hardly ever: a hundred of ten thousand is two standard deviations.
const LOOKED_AROUND: usize = 100;

/// What a writer gathered of the events in its buffer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Gathered {
    /// Of each access's hashes.
    prints: Vec<u32>,
    /// The lowest and the highest offset of each source.
    sources: Vec<(u32, u64, u64)>,
    events: u32,
}

/// The part of a hash that the index has.
const fn print_of(hash: u64) -> u32 {
    hash as u32
}

impl Gathered {
    /// Takes an event in.
    pub fn add(&mut self, id: EventId, accesses: Accesses<'_>) {
        self.events += 1;
        self.prints.extend(accesses.iter().flat_map(|access| access.hashes()).map(print_of));
        match self.sources.iter_mut().find(|(source, ..)| *source == id.source) {
            Some((_, low, high)) => (*low, *high) = ((*low).min(id.offset), (*high).max(id.offset)),
            None => self.sources.push((id.source, id.offset, id.offset)),
        }
    }

    /// An empty one with room for as much again.
    pub fn next(&self) -> Self {
        Self { prints: Vec::with_capacity(self.prints.len()), ..Self::default() }
    }

    /// Whether there was no event.
    pub const fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// The run that it is of.
    pub fn into_run(mut self, position: u64, end: u64) -> Run {
        self.prints.sort_unstable();
        self.prints.dedup();
        let prints = self.prints.into_boxed_slice();
        Run { position, end, events: self.events, named: Vec::new(), prints, sources: self.sources }
    }
}

/// A stretch of the stream that has traced events.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// Where it begins: at a record.
    pub position: u64,
    /// The position behind it.
    pub end: u64,
    /// How many traced events it has.
    pub events: u32,
    /// The handlers that were named before it, where it may not name all of its own: number, name, version.
    pub named: Vec<(u32, String, u32)>,
    /// Ascending, each once.
    prints: Box<[u32]>,
    sources: Vec<(u32, u64, u64)>,
}

impl Run {
    /// Whether it may have an access of this hash.
    pub fn may_have(&self, hash: u64) -> bool {
        let (print, len) = (print_of(hash), self.prints.len());
        // Prints are spread evenly, so it is known about where one lies.
        let about = ((u64::from(print) * len as u64) >> 32) as usize;
        let (from, to) = (about.saturating_sub(LOOKED_AROUND), len.min(about + LOOKED_AROUND));
        let is_before = from > 0 && print <= self.prints[from - 1];
        let is_behind = to < len && print >= self.prints[to];
        let within = if is_before || is_behind { &self.prints[..] } else { &self.prints[from..to] };
        within.binary_search(&print).is_ok()
    }

    /// Whether it may have this event.
    pub fn may_have_event(&self, id: EventId) -> bool {
        self.sources.iter().any(|&(source, low, high)| source == id.source && (low..=high).contains(&id.offset))
    }
}

/// A rollback of key groups, as the stream has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RolledBack {
    /// The position behind its record.
    pub position: u64,
    /// The key groups.
    pub groups: KeyGroupRange,
    /// The position of the checkpoint that they went back to; `None` where that isn't known any more.
    pub target: Option<u64>,
    /// Whether all states went back.
    pub whole: bool,
}

/// The runs of a changelog, and the rollbacks.
#[derive(Debug, Default)]
pub struct TraceIndex {
    /// All runs from this position on are in it.
    from: u64,
    runs: VecDeque<std::sync::Arc<Run>>,
    rolled_back: Vec<RolledBack>,
}

impl TraceIndex {
    /// One that begins at a position.
    pub const fn new(from: u64) -> Self {
        Self { from, runs: VecDeque::new(), rolled_back: Vec::new() }
    }

    /// The position that it has all runs from.
    pub const fn from(&self) -> u64 {
        self.from
    }

    /// Adds the next run.
    pub fn push(&mut self, run: Run) {
        self.runs.push_back(std::sync::Arc::new(run));
    }

    /// Adds a rollback.
    pub fn roll_back(&mut self, rolled_back: RolledBack) {
        self.rolled_back.push(rolled_back);
    }

    /// The rollbacks, in their order.
    pub fn rolled_back(&self) -> &[RolledBack] {
        &self.rolled_back
    }

    /// Adds the runs and rollbacks between a position and what it has.
    pub fn complete(&mut self, from: u64, runs: Vec<Run>, rolled_back: Vec<RolledBack>) {
        self.rolled_back.splice(..0, rolled_back);
        for run in runs.into_iter().rev() {
            self.runs.push_front(std::sync::Arc::new(run));
        }
        self.from = from;
    }

    /// Forgets what lies before a position.
    pub fn cut(&mut self, position: u64) {
        while self.runs.front().is_some_and(|run| run.end <= position) {
            self.runs.pop_front();
        }
        self.rolled_back.retain(|rolled_back| rolled_back.position > position);
        self.from = self.from.max(position);
    }

    /// The runs that end behind a position, in order.
    pub fn behind(&self, position: u64) -> Vec<std::sync::Arc<Run>> {
        let first = self.runs.partition_point(|run| run.end <= position);
        self.runs.range(first..).cloned().collect()
    }

    /// How much memory it takes, in bytes, about.
    pub fn bytes(&self) -> usize {
        self.runs.iter().map(|run| size_of::<Run>() + 4 * run.prints.len() + 24 * run.sources.len()).sum()
    }
}

#[cfg(test)]
mod unit {
    use super::super::access::{Access, AccessKind};
    use super::*;

    fn run(ids: &[(u32, u64)], hashes: &[u64], position: u64, end: u64) -> Run {
        let mut gathered = Gathered::default();
        for &(source, offset) in ids {
            let mut bytes = Vec::new();
            hashes.iter().for_each(|&hash| Access::of(AccessKind::Read, hash).push(&mut bytes));
            gathered.add(EventId { source, offset }, Accesses::new(&bytes).unwrap());
        }
        gathered.into_run(position, end)
    }

    #[test]
    fn runs_are_found_by_key_and_by_event() {
        let one = run(&[(1, 5), (2, 9), (1, 7)], &[3, 1 << 35, 3], 100, 200);
        assert_eq!((one.events, one.prints.len()), (3, 2));
        assert!(one.may_have(3) && one.may_have(1 << 35) && !one.may_have(4));
        let event = |source, offset| one.may_have_event(EventId { source, offset });
        assert!(event(1, 5) && event(1, 6) && event(2, 9) && !event(1, 8) && !event(2, 5) && !event(3, 5));
    }

    #[test]
    fn prints_are_found_wherever_they_lie() {
        let mut state = 7_u64;
        let mut draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        for (count, shift) in [(1, 0), (3, 0), (150, 0), (5_000, 0), (5_000, 12), (5_000, 24)] {
            // Shifted ones lie together, where they aren't expected.
            let hashes: Vec<u64> = (0..count).map(|_| (draw() << 1) >> shift).collect();
            let found = run(&[(1, 1)], &hashes, 0, 1);
            assert!(hashes.iter().all(|hash| found.may_have(*hash)), "{count} {shift}");
            let all: std::collections::BTreeSet<u32> = hashes.iter().map(|hash| print_of(*hash)).collect();
            for _ in 0..5_000 {
                let hash = draw() << 1 | draw() & 1;
                assert_eq!(found.may_have(hash), all.contains(&print_of(hash)), "{count} {shift} {hash}");
            }
            let ends = [0, 1, u64::from(u32::MAX)];
            assert!(ends.iter().all(|hash| found.may_have(*hash) == all.contains(&print_of(*hash))));
        }
    }

    #[test]
    fn an_index_is_cut_and_completed() {
        let mut index = TraceIndex::new(100);
        for position in [100, 200, 300] {
            index.push(run(&[(1, position)], &[position], position, position + 100));
        }
        index.complete(0, vec![run(&[(1, 0)], &[0], 0, 50), run(&[(1, 50)], &[50], 50, 100)], Vec::new());
        let begins =
            |index: &TraceIndex, behind| index.behind(behind).iter().map(|run| run.position).collect::<Vec<_>>();
        assert_eq!(begins(&index, 0), [0, 50, 100, 200, 300]);
        assert_eq!(begins(&index, 200), [200, 300]);
        index.cut(250);
        assert_eq!((begins(&index, 0), index.from()), (vec![200, 300], 250));
        index.cut(400);
        assert_eq!((begins(&index, 0), index.from(), index.bytes()), (vec![], 400, 0));
    }
}
