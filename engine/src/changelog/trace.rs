//! Where the changelog has which events, and which keys they read and wrote: an index in memory, four bytes for each key of each part of a run.
//!
//! A run is a stretch of the stream, about as long as a writer's buffer, in up to eight parts. The thread that writes the stream sorts what the writer gathered
//! of it; what lies before the index begins (the store was opened since) is gathered from the files when it is asked for.

use super::access::{Access, AccessKind};
use crate::ids::{EventId, KeyGroupRange};
use std::collections::VecDeque;

/// So far from where a print is expected it lies hardly ever: a hundred of ten thousand is two standard deviations.
const LOOKED_AROUND: usize = 100;

/// A run has so many parts at most, each of which can be gone through alone.
const PARTS_MAX: usize = 8;
/// A part is about so long, in bytes, where its run isn't longer than so many of them.
const PART_BYTES: usize = 32 << 10;
/// A print of what was not only added to.
const MORE: u32 = 1;
/// What a print has beside the hash: in which part, above [`MORE`].
const BESIDE: u32 = (PARTS_MAX as u32 - 1) << 1 | MORE;

/// The part of a hash that the index has, above what it has beside it.
const fn print_of(hash: u64) -> u32 {
    (hash as u32) & !BESIDE
}

/// Parts of a run: a bit for each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Parts(u8);

impl Parts {
    /// All that a run may have.
    pub const ALL: Self = Self(u8::MAX);

    /// Those of either.
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those of any of them.
    pub fn of(all: impl Iterator<Item = Self>) -> Self {
        all.fold(Self::default(), Self::or)
    }

    /// Whether there is none.
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Whether a part is among them.
    pub const fn has(self, part: usize) -> bool {
        self.0 >> part & 1 != 0
    }
}

/// The offsets of a source's events: the source, the lowest, the highest.
type Offsets = (u32, u64, u64);

/// A part that is being gathered.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Begun {
    /// Where it begins, behind where its run does.
    offset: u64,
    /// How many prints come before.
    prints: usize,
    sources: Vec<Offsets>,
}

/// A handler that has a number from a position on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Named {
    /// The position; while it is being gathered, behind where the run begins.
    pub position: u64,
    /// The number in events.
    pub number: u32,
    /// The handler's name.
    pub name: String,
    /// Its version.
    pub version: u32,
}

/// What a writer gathered of the events in its buffer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Gathered {
    /// Of each access's hashes, part by part.
    prints: Vec<u32>,
    parts: Vec<Begun>,
    named: Vec<Named>,
    events: u32,
}

impl Gathered {
    /// Takes an event in, whose record begins `offset` bytes behind where the run does, with its accesses.
    #[inline]
    pub fn add(&mut self, offset: u64, id: EventId, accesses: impl Iterator<Item = Access>) {
        self.events += 1;
        let begins = self.parts.last().is_none_or(|part| offset >= part.offset + PART_BYTES as u64);
        if begins {
            self.begin(offset);
        }
        for access in accesses {
            // In which part it is comes later.
            let more = if access.kind == AccessKind::Add { 0 } else { MORE };
            self.prints.push(print_of(access.hash) | more);
            if let Some(container) = access.container {
                self.prints.push(print_of(container) | more);
            }
        }
        let Some(part) = self.parts.last_mut() else { return };
        take_in(&mut part.sources, (id.source, id.offset, id.offset));
    }

    #[cold]
    fn begin(&mut self, offset: u64) {
        // What comes before its first event is the first one's.
        let offset = if self.parts.is_empty() { 0 } else { offset };
        self.parts.push(Begun { offset, prints: self.prints.len(), sources: Vec::new() });
    }

    /// Notes that a number is a handler's, `offset` bytes behind where the run begins.
    pub fn name(&mut self, offset: u64, number: u32, (name, version): (&str, u32)) {
        self.named.push(Named { position: offset, number, name: name.to_owned(), version });
    }

    /// An empty one with room for as much again.
    pub fn next(&self) -> Self {
        Self { prints: Vec::with_capacity(self.prints.len()), ..Self::default() }
    }

    /// Whether there was no event.
    pub const fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// Where its parts but the first begin, behind where the run does: at records.
    pub fn cuts(&self) -> impl Iterator<Item = usize> + '_ {
        self.parts.iter().skip(1).map(|part| part.offset as usize)
    }

    /// The run that it is of.
    pub fn into_run(mut self, position: u64, end: u64) -> Run {
        let together = self.parts.len().div_ceil(PARTS_MAX).max(1);
        let mut parts: Vec<Part> = Vec::with_capacity(PARTS_MAX);
        for (number, begun) in self.parts.chunks(together).enumerate() {
            let behind = self.parts.get((number + 1) * together).map_or(self.prints.len(), |next| next.prints);
            self.prints[begun[0].prints..behind].iter_mut().for_each(|print| *print |= (number as u32) << 1);
            let mut sources = Vec::new();
            begun.iter().flat_map(|begun| &begun.sources).for_each(|of| take_in(&mut sources, *of));
            parts.push(Part { from: position + begun[0].offset, sources: sources.into_boxed_slice() });
        }
        self.prints.sort_unstable();
        self.prints.dedup();
        self.named.iter_mut().for_each(|named| named.position += position);
        let (prints, parts) = (self.prints.into_boxed_slice(), parts.into_boxed_slice());
        Run { position, end, events: self.events, named: self.named.into_boxed_slice(), prints, parts }
    }
}

fn take_in(sources: &mut Vec<Offsets>, (source, from, to): Offsets) {
    match sources.iter_mut().find(|(known, ..)| *known == source) {
        Some((_, low, high)) => (*low, *high) = ((*low).min(from), (*high).max(to)),
        None => sources.push((source, from, to)),
    }
}

/// A part of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Part {
    from: u64,
    sources: Box<[Offsets]>,
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
    /// The handlers of its events, in the order of the positions.
    pub named: Box<[Named]>,
    /// Ascending, each once: a print is there for each part, and with and without [`MORE`].
    prints: Box<[u32]>,
    parts: Box<[Part]>,
}

impl Run {
    /// How many parts it has.
    pub const fn parts(&self) -> usize {
        self.parts.len()
    }

    /// The numbers of its parts that are among some.
    pub fn among(&self, parts: Parts) -> impl DoubleEndedIterator<Item = usize> + use<> {
        (0..self.parts()).filter(move |part| parts.has(*part))
    }

    /// Where a part begins, at a record, and the position behind it.
    pub fn part(&self, part: usize) -> (u64, u64) {
        (self.parts[part].from, self.parts.get(part + 1).map_or(self.end, |next| next.from))
    }

    /// The part that has a position, if any has.
    pub fn part_at(&self, position: u64) -> Parts {
        if !(self.position..self.end).contains(&position) {
            return Parts::default();
        }
        let behind = self.parts.partition_point(|part| part.from <= position);
        Parts(1 << behind.saturating_sub(1))
    }

    /// The parts that may have an access of this hash.
    pub fn parts_with(&self, hash: u64) -> Parts {
        self.parts_where(hash, |_| true)
    }

    /// The parts that may have an access of this hash that does more than add to it.
    pub fn parts_with_more(&self, hash: u64) -> Parts {
        self.parts_where(hash, |print| print & MORE != 0)
    }

    fn parts_where(&self, hash: u64, counts: impl Fn(u32) -> bool) -> Parts {
        let found = self.prints_from(hash).iter().take_while(|found| **found & !BESIDE == print_of(hash));
        Parts(found.filter(|found| counts(**found)).fold(0, |parts, found| parts | 1 << ((found & BESIDE) >> 1)))
    }

    /// The prints from that of a hash on.
    fn prints_from(&self, hash: u64) -> &[u32] {
        let (print, len) = (print_of(hash), self.prints.len());
        // Prints are spread evenly, so it is known about where one lies.
        let about = ((u64::from(print) * len as u64) >> 32) as usize;
        let (from, to) = (about.saturating_sub(LOOKED_AROUND), len.min(about + LOOKED_AROUND));
        let is_before = from > 0 && print <= self.prints[from - 1];
        let is_behind = to < len && print >= self.prints[to];
        let (from, to) = if is_before || is_behind { (0, len) } else { (from, to) };
        &self.prints[from + self.prints[from..to].partition_point(|found| *found < print)..]
    }

    /// The parts that may have this event.
    pub fn parts_with_event(&self, id: EventId) -> Parts {
        let may_have = |part: &Part| {
            part.sources.iter().any(|&(source, low, high)| source == id.source && (low..=high).contains(&id.offset))
        };
        Parts(self.parts.iter().enumerate().fold(0, |parts, (at, part)| parts | u8::from(may_have(part)) << at))
    }

    fn bytes(&self) -> usize {
        let sources: usize = self.parts.iter().map(|part| size_of_val(&*part.sources)).sum();
        let named: usize = self.named.iter().map(|named| size_of::<Named>() + named.name.len()).sum();
        size_of::<Self>() + size_of_val(&*self.prints) + size_of_val(&*self.parts) + sources + named
    }
}

/// A rollback of key groups, as the stream has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RolledBack {
    /// The position behind its record.
    pub position: u64,
    /// The key groups.
    pub groups: KeyGroupRange,
    /// The position that they went back to, mostly a checkpoint's; `None` where that isn't known any more, or the checkpoint has what was rolled
    /// back behind its position.
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
        self.runs.iter().map(|run| run.bytes()).sum()
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    /// Accesses to some cells.
    fn accesses(hashes: &[u64], kind: AccessKind) -> impl Iterator<Item = Access> {
        hashes.iter().map(move |hash| Access::of(kind, *hash))
    }

    fn run(ids: &[(u32, u64)], hashes: &[u64], position: u64, end: u64) -> Run {
        let mut gathered = Gathered::default();
        for &(source, offset) in ids {
            gathered.add(0, EventId { source, offset }, accesses(hashes, AccessKind::Read));
        }
        gathered.into_run(position, end)
    }

    /// A hash of 40 bits.
    fn hash(number: u64) -> u64 {
        number << 8
    }

    #[test]
    fn runs_are_found_by_key_and_by_event() {
        let one = run(&[(1, 5), (2, 9), (1, 7)], &[hash(3), hash(1 << 27), hash(3)], 100, 200);
        assert_eq!((one.events, one.prints.len(), one.parts()), (3, 2, 1));
        assert_eq!([3, 1 << 27, 4].map(|number| one.parts_with(hash(number)).0), [1, 1, 0]);
        let event = |source, offset| !one.parts_with_event(EventId { source, offset }).is_none();
        assert!(event(1, 5) && event(1, 6) && event(2, 9) && !event(1, 8) && !event(2, 5) && !event(3, 5));
    }

    #[test]
    fn parts_have_what_lies_in_them() {
        for count in [1_u64, 3, 8, 9, 20, 100] {
            let mut gathered = Gathered::default();
            gathered.name(0, 7, ("one", 1));
            for number in 0..count {
                let kind = if number % 2 == 0 { AccessKind::Add } else { AccessKind::Write };
                let both = [Access::of(kind, hash(number)), Access::of(AccessKind::Add, hash(1_000))].into_iter();
                let offset = 10 + number * PART_BYTES as u64;
                gathered.add(offset, EventId { source: 1, offset: 10 * number }, both);
            }
            let end = 1_000 + count * PART_BYTES as u64;
            let run = gathered.into_run(1_000, end + 10);
            assert_eq!(run.named[0].position, 1_000);
            assert_eq!(run.part(0).0, 1_000, "{count}");
            assert_eq!(run.part(run.parts() - 1).1, end + 10, "{count}");
            assert!(run.parts() <= PARTS_MAX && run.parts() >= (count as usize).min(PARTS_MAX / 2), "{count}");
            let mut every = Parts::default();
            for number in 0..count {
                let part = run.part_at(1_010 + number * PART_BYTES as u64);
                every = every.or(part);
                assert_eq!(run.parts_with(hash(number)), part, "{number} of {count}");
                let more = if number % 2 == 0 { Parts::default() } else { part };
                assert_eq!(run.parts_with_more(hash(number)), more, "{number} of {count}");
                let event = run.parts_with_event(EventId { source: 1, offset: 10 * number });
                assert_eq!(event, part, "{number} of {count}");
                let at = (0..run.parts()).find(|at| part.has(*at)).unwrap();
                let (from, to) = run.part(at);
                assert!((from..to).contains(&(1_010 + number * PART_BYTES as u64)));
            }
            assert_eq!(run.parts_with(hash(1_000)), every, "{count}");
            assert!(run.parts_with_more(hash(1_000)).is_none() && run.parts_with(hash(2_000)).is_none());
            assert!(run.part_at(999).is_none() && run.part_at(end + 10).is_none());
        }
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
            let has = |hash| !found.parts_with(hash).is_none();
            assert!(hashes.iter().all(|hash| has(*hash)), "{count} {shift}");
            let all: std::collections::BTreeSet<u32> = hashes.iter().map(|hash| print_of(*hash)).collect();
            for _ in 0..5_000 {
                let hash = draw() << 1 | draw() & 1;
                assert_eq!(has(hash), all.contains(&print_of(hash)), "{count} {shift} {hash}");
            }
            let ends = [0, 1, u64::from(u32::MAX)];
            assert!(ends.iter().all(|hash| has(*hash) == all.contains(&print_of(*hash))));
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
