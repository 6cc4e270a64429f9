//! One oracle for everything that takes state back: histories in which rollbacks, to checkpoints and to positions, nested ones too, repairs,
//! functions of the host's that make up for events, checkpoints, commits, aborts, crashes, rescaling, compaction and acknowledgements follow
//! each other in every order, beside a plain fold.
//!
//! A job is one store or two; of an odd seed they are transactional. What it does besides events is a walk in which each of the operations comes after each other one once, in random
//! order. After each step every store holds the fold of the events that are left, and owes the retractions that it owes:
//! - I1 what recovery finds is the fold up to the commit that is found, and I2 its offsets are those of that commit;
//! - I3 after a rollback or a repair it is the fold without what was taken back, and I5 nothing depends on that any more;
//! - I4 a crash, whatever is on its way, leaves one of the commits;
//! - I6 downstream sees the outputs of what lasts and no others, each once: changes, and retractions in the engine's own words.

mod compensating;
pub mod fold;
pub mod part;
mod positions;
mod repairing;
mod sink;

use crate::histories::{Random, event, seed};
use crate::model::{Event, GROUPS};
use crate::turns::in_turns;
use alluvium::{CheckpointSource, Engine, EventId, KeyGroupRange, Store};
use fold::Moment;
use part::Part;
use sink::Sink;
use std::collections::{BTreeMap, BTreeSet};

/// What is done besides events.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Deed {
    Checkpoint,
    Commit,
    Crash,
    Rollback,
    NestedRollback,
    Repair,
    Rescale,
    Compact,
    Acknowledge,
    OpenEarlier,
    Compensate,
    Position,
    /// Of transactional stores alone.
    Abort,
}

const DEEDS: [Deed; 13] = [
    Deed::Checkpoint,
    Deed::Commit,
    Deed::Crash,
    Deed::Rollback,
    Deed::NestedRollback,
    Deed::Repair,
    Deed::Rescale,
    Deed::Compact,
    Deed::Acknowledge,
    Deed::OpenEarlier,
    Deed::Compensate,
    Deed::Position,
    Deed::Abort,
];

/// What is done with stores that are transactional, or aren't.
const fn deeds(transactional: bool) -> &'static [Deed] {
    if transactional { &DEEDS } else { DEEDS.split_at(DEEDS.len() - 1).0 }
}

/// A walk in which each deed follows each other one, and itself, once: an Eulerian circuit of all pairs, by Hierholzer.
fn walk(random: &mut Random, deeds: &[Deed]) -> Vec<Deed> {
    let mut next: Vec<Vec<usize>> = vec![(0..deeds.len()).collect(); deeds.len()];
    for successors in &mut next {
        for at in (1..successors.len()).rev() {
            successors.swap(at, random.below(at as u64 + 1) as usize);
        }
    }
    let (mut stack, mut circuit) = (vec![random.below(deeds.len() as u64) as usize], Vec::new());
    while let Some(&at) = stack.last() {
        match next[at].pop() {
            Some(then) => stack.push(then),
            None => circuit.extend(stack.pop()),
        }
    }
    circuit.into_iter().map(|deed| deeds[deed]).collect()
}

/// The stores of a job, its source, and what is downstream of it.
struct Job {
    engine: Engine,
    parts: Vec<Part>,
    /// All events that ever came, in the order of their offsets.
    source: Vec<Event>,
    /// Those that the host leaves out where it reads the source again.
    dropped: BTreeSet<EventId>,
    sink: Sink,
    random: Random,
    label: u64,
    epoch: u64,
    is_transactional: bool,
    seed: u64,
}

impl Job {
    fn new(seed: u64) -> Self {
        let (engine, mut random) = (crate::model::engine(), Random::new(seed));
        let (ranges, is_transactional) = (ranges(&mut random), seed % 2 == 1);
        let options = ranges.into_iter().map(|range| part::options_of(range, is_transactional)).enumerate();
        let parts = options.map(|(at, options)| Part::new(&engine, options, seed, at > 0)).collect();
        let (source, dropped, sink) = (Vec::new(), BTreeSet::new(), Sink::new());
        Self { engine, parts, source, dropped, sink, random, label: 0, epoch: 0, is_transactional, seed }
    }

    fn next(&self) -> u64 {
        self.source.last().map_or(0, |event| event.id.offset + 1)
    }

    fn some_part(&mut self) -> usize {
        self.random.below(self.parts.len() as u64) as usize
    }

    /// New events, of which some go to two key groups.
    fn feed(&mut self, count: u64) {
        for _ in 0..count {
            let offset = self.next();
            let source = self.random.below(2) as u32;
            let first = event(&mut self.random, source, offset);
            let mut all = vec![first];
            if self.random.below(5) == 0 {
                let second = event(&mut self.random, source, offset);
                all.extend((second.group != all[0].group).then_some(second));
            }
            for event in all {
                self.source.push(event.clone());
                self.apply(event);
                if self.random.below(6) == 0 {
                    let at = self.some_part();
                    self.parts[at].note_position();
                }
            }
        }
    }

    fn apply(&mut self, event: Event) {
        let part = self.parts.iter_mut().find(|part| part.range.contains(alluvium::KeyGroup(event.group)));
        part.unwrap().apply(event);
    }

    /// Reads the source again from an offset on, for some key groups: what was applied counts once.
    fn catch_up(&mut self, groups: &[u16], from: u64) {
        let again = |event: &&Event| {
            groups.contains(&event.group) && event.id.offset >= from && !self.dropped.contains(&event.id)
        };
        let events: Vec<Event> = self.source.iter().filter(again).cloned().collect();
        events.into_iter().for_each(|event| self.apply(event));
    }

    fn do_one(&mut self, deed: Deed) -> bool {
        match deed {
            Deed::Checkpoint => self.checkpoint(),
            Deed::Commit => self.commit(),
            Deed::Crash => self.crash(),
            Deed::Rollback => self.roll_back(),
            Deed::NestedRollback => self.roll_back_twice(),
            Deed::Repair => self.repair(),
            Deed::Rescale => self.rescale(),
            Deed::Compact => {
                let at = self.some_part();
                self.parts[at].store().compact().unwrap();
                self.parts[at].check();
                true
            }
            Deed::Acknowledge => self.acknowledge(),
            Deed::OpenEarlier => self.open_earlier(),
            Deed::Compensate => self.compensate(),
            Deed::Position => self.roll_back_to_position(),
            Deed::Abort => self.abort(),
        }
    }

    /// A checkpoint of all stores under one label, of all that they have.
    fn begin_checkpoint(&mut self) {
        if self.is_transactional {
            self.commit();
        }
        self.begin_checkpoint_of_what_counts();
    }

    /// The same of what was committed, where there are transactions.
    fn begin_checkpoint_of_what_counts(&mut self) {
        (self.label, self.epoch) = (self.label + 1, self.epoch + 1);
        let next = self.next();
        for part in &mut self.parts {
            part.checkpoint(self.label, self.epoch, next);
        }
    }

    fn settle(&mut self) {
        self.parts.iter_mut().for_each(|part| part.settle(&mut self.sink));
    }

    fn checkpoint(&mut self) -> bool {
        if self.random.below(2) == 0 {
            self.begin_checkpoint();
        } else {
            self.begin_checkpoint_of_what_counts();
        }
        if self.random.below(3) > 0 {
            self.settle();
            let at = self.some_part();
            let kept = self.parts[at].kept();
            if !kept.is_empty() && self.random.below(3) == 0 {
                let label = kept[self.random.below(kept.len() as u64) as usize];
                self.parts[at].retain(label);
            }
        }
        true
    }

    fn commit(&mut self) -> bool {
        self.epoch += 1;
        let next = self.next();
        self.parts.iter_mut().for_each(|part| part.commit(self.epoch, next));
        if self.random.below(2) == 0 {
            self.settle();
        }
        true
    }

    /// One task dies, or all do; who takes over reads the source from where it stood, or from the beginning, or what came meanwhile is lost.
    fn crash(&mut self) -> bool {
        let one = (self.random.below(2) == 0).then(|| self.some_part());
        for at in (0..self.parts.len()).filter(|at| one.is_none_or(|one| one == *at)) {
            self.parts[at].crash(&self.engine, &mut self.sink, &mut self.random);
            let (groups, from) = (self.parts[at].groups(), self.parts[at].now.next);
            match self.random.below(3) {
                0 => self.catch_up(&groups, from),
                1 => self.catch_up(&groups, 0),
                _ => {}
            }
        }
        true
    }

    /// Some key groups of a store.
    fn some_groups(&mut self, at: usize) -> KeyGroupRange {
        let groups = self.parts[at].groups();
        let mut draw = || groups[self.random.below(groups.len() as u64) as usize];
        let (a, b) = (draw(), draw());
        KeyGroupRange::new(a.min(b), a.max(b))
    }

    /// What is staged is committed or undone, or stays where it is.
    fn end_transaction(&mut self, at: usize) {
        if self.is_transactional {
            match self.random.below(8) {
                0 => {}
                1..4 => self.parts[at].abort(),
                _ => {
                    self.commit();
                    self.parts[at].settle(&mut self.sink);
                }
            }
        }
    }

    fn abort(&mut self) -> bool {
        let one = (self.random.below(2) == 0).then(|| self.some_part());
        for at in (0..self.parts.len()).filter(|at| one.is_none_or(|one| one == *at)) {
            self.parts[at].abort();
            let (groups, from) = (self.parts[at].groups(), self.parts[at].now.next);
            if self.random.below(2) == 0 {
                self.catch_up(&groups, from);
            }
        }
        true
    }

    /// Rolls back to a checkpoint or a position, and perhaps catches up; false where it was refused.
    fn roll_back_to(&mut self, at: usize, groups: KeyGroupRange, to: To) -> bool {
        let part = &mut self.parts[at];
        let void: BTreeSet<EventId> =
            groups.iter().flat_map(|group| part.now.groups[&group.0].void.iter().copied()).collect();
        let (is_done, from) = match to {
            To::Checkpoint(label) => (part.roll_back(groups, label), part.checkpoints[&label].next),
            To::Position(position) => (part.roll_back_to(groups, position), part.positions.known[&position].next),
        };
        part.check();
        if !is_done {
            return false;
        }
        let all = part.groups();
        if self.random.below(2) == 0 {
            self.dropped.extend(void);
        }
        let of_scope: Vec<u16> = groups.iter().map(|group| group.0).collect();
        match self.random.below(4) {
            0 => self.catch_up(&of_scope, from),
            1 => self.catch_up(&all, from),
            2 => self.catch_up(&all, 0),
            _ => {}
        }
        self.parts[at].check();
        true
    }

    fn roll_back(&mut self) -> bool {
        let at = self.some_part();
        self.end_transaction(at);
        self.parts[at].settle(&mut self.sink);
        let kept = self.parts[at].kept();
        if kept.is_empty() {
            return false;
        }
        let (groups, label) = (self.some_groups(at), kept[self.random.below(kept.len() as u64) as usize]);
        self.roll_back_to(at, groups, To::Checkpoint(label))
    }

    /// Between checkpoints, or to one; until it isn't refused.
    fn roll_back_to_position(&mut self) -> bool {
        let at = self.some_part();
        (0..4).any(|attempt| {
            if attempt > 0 {
                self.commit();
                self.feed(4);
            }
            self.end_transaction(at);
            self.parts[at].settle(&mut self.sink);
            let known: Vec<u64> = self.parts[at].positions.known.keys().copied().collect();
            if known.is_empty() {
                return false;
            }
            let back = self.random.below(known.len() as u64).min(self.random.below(10)) as usize;
            let groups = self.some_groups(at);
            self.roll_back_to(at, groups, To::Position(known[known.len() - 1 - back]))
        })
    }

    /// Back, on from there, and back further.
    fn roll_back_twice(&mut self) -> bool {
        let at = self.some_part();
        self.parts[at].settle(&mut self.sink);
        while self.parts[at].kept().len() < 2 {
            self.feed(2);
            self.begin_checkpoint();
            self.settle();
        }
        let kept = self.parts[at].kept();
        let first = 1 + self.random.below(kept.len() as u64 - 1) as usize;
        let groups = self.some_groups(at);
        self.end_transaction(at);
        let is_first_done = self.roll_back_to(at, groups, To::Checkpoint(kept[first]));
        let some = self.random.below(4);
        self.feed(some);
        if self.random.below(2) == 0 {
            self.commit();
        }
        let second = self.random.below(first as u64) as usize;
        self.end_transaction(at);
        self.roll_back_to(at, groups, To::Checkpoint(kept[second])) && is_first_done
    }

    /// Takes back what came last, or anything, until something is.
    fn repair(&mut self) -> bool {
        (0..6).any(|attempt| {
            let at = self.some_part();
            if attempt > 0 {
                self.feed(4);
            }
            let bad = self.some_events(at);
            !bad.is_empty() && repairing::repair(&mut self.parts[at], &mut self.random, &bad)
        })
    }

    /// Has the host make up for what came last, or anything, until it does.
    fn compensate(&mut self) -> bool {
        (0..6).any(|attempt| {
            let at = self.some_part();
            if attempt > 0 {
                self.feed(4);
            }
            let bad = self.some_events(at).first().copied();
            bad.is_some_and(|bad| compensating::compensate(&mut self.parts[at], &mut self.random, bad))
        })
    }

    /// Some events that a store had of late, or that were taken back in it, or any.
    fn some_events(&mut self, at: usize) -> BTreeSet<EventId> {
        let (mut recent, mut void): (Vec<EventId>, Vec<EventId>) = Default::default();
        for group in self.parts[at].now.groups.values() {
            recent.extend(group.events.iter().rev().take(6).map(|event| event.id));
            void.extend(&group.void);
        }
        let all: Vec<EventId> = self.source.iter().map(|event| event.id).collect();
        let mut bad = BTreeSet::new();
        for _ in 0..=self.random.below(3) {
            let from = match self.random.below(12) {
                0 => &all,
                1 | 2 => &void,
                _ => &recent,
            };
            if !from.is_empty() {
                bad.insert(from[self.random.below(from.len() as u64) as usize]);
            }
        }
        bad
    }

    /// The host has some retractions of what it committed.
    fn acknowledge(&mut self) -> bool {
        if self.parts.iter().all(|part| part.now.groups.values().all(|group| group.owed.is_empty())) {
            self.repair();
        }
        self.commit();
        self.settle();
        let first = self.some_part();
        let count = self.parts.len();
        (first..first + count).any(|at| self.parts[at % count].acknowledge(&mut self.random))
    }

    /// Other stores go on from a checkpoint of all of them.
    fn rescale(&mut self) -> bool {
        self.settle();
        let mut common: BTreeSet<u64> = self.parts[0].kept().into_iter().collect();
        for part in &self.parts {
            let kept = part.kept();
            // Those of one moment of the source.
            let of = |part: &Part, label: &u64| (part.checkpoints[label].next, part.checkpoints[label].epoch);
            common.retain(|label| kept.contains(label) && of(part, label) == of(&self.parts[0], label));
        }
        let common: Vec<u64> = common.into_iter().collect();
        let is_new = common.is_empty() || self.random.below(4) > 0;
        let label = if is_new {
            self.begin_checkpoint();
            self.settle();
            self.label
        } else {
            common[self.random.below(common.len() as u64) as usize]
        };
        let draws = self.parts.iter().map(Part::draws).max().unwrap_or(0);
        let (mut all, mut sources, mut directories) = (Moment::default(), Vec::new(), Vec::new());
        for part in std::mem::take(&mut self.parts) {
            let (directory, checkpoints) = part.end(self.random.below(2) == 0);
            let then = &checkpoints[&label];
            (all.next, all.epoch) = (then.next, then.epoch);
            all.groups.extend(then.groups.iter().map(|(group, model)| (*group, model.clone())));
            sources.push(CheckpointSource { directory: directory.path().to_owned(), label: Some(label) });
            directories.push(directory);
        }
        for range in ranges(&mut self.random) {
            let (directory, options) = (part::directory(), part::options_of(range, self.is_transactional));
            let store = Store::restore(&self.engine, directory.path(), &sources, options).unwrap();
            let of_range = all.groups.iter().filter(|(group, _)| range.contains(alluvium::KeyGroup(**group)));
            let groups = of_range.map(|(group, model)| (*group, model.clone())).collect();
            let moment = (Moment { groups, ..all }, Some(label));
            let mut part = Part::over((store, self.is_transactional), directory, moment, self.seed, draws);
            let owes = part.is_told_again(&self.sink);
            assert!(!is_new || !owes, "nothing was gone back to, seed {}", self.seed);
            part.check();
            self.parts.push(part);
        }
        true
    }

    fn open_earlier(&mut self) -> bool {
        let at = self.some_part();
        self.parts[at].settle(&mut self.sink);
        let kept = self.parts[at].kept();
        if kept.is_empty() {
            return false;
        }
        let label = kept[self.random.below(kept.len() as u64) as usize];
        self.parts[at].open_at(&self.engine, label, &mut self.sink, &mut self.random);
        if self.random.below(2) == 0 {
            let (groups, from) = (self.parts[at].groups(), self.parts[at].now.next);
            self.catch_up(&groups, from);
        }
        true
    }
}

/// Where a rollback goes to.
#[derive(Clone, Copy)]
enum To {
    Checkpoint(u64),
    Position(u64),
}

/// The key groups of the stores of a job: all in one, or in two parts.
fn ranges(random: &mut Random) -> Vec<KeyGroupRange> {
    if random.below(2) == 0 {
        return vec![KeyGroupRange::new(0, GROUPS - 1)];
    }
    let cut = 1 + random.below(u64::from(GROUPS) - 1) as u16;
    vec![KeyGroupRange::new(0, cut - 1), KeyGroupRange::new(cut, GROUPS - 1)]
}

/// How often which deed came after which, each of them done and not refused.
type Seen = BTreeMap<(Deed, Deed), u64>;

fn history(seed: u64, seen: &mut Seen) {
    let mut job = Job::new(seed);
    job.feed(8);
    job.begin_checkpoint();
    job.settle();
    job.feed(8);
    let mut before = None;
    for deed in walk(&mut job.random, deeds(job.is_transactional)) {
        let is_done = job.do_one(deed);
        if let Some(before) = before.filter(|_| is_done) {
            *seen.entry((before, deed)).or_default() += 1;
        }
        before = is_done.then_some(deed);
        let some = job.random.below(6);
        job.feed(some);
    }
    job.settle();
    job.parts.iter_mut().for_each(Part::check);
}

#[test]
fn whatever_is_taken_back_the_fold_of_the_rest_is_left() {
    let seed = seed();
    let rounds: u64 = std::env::var("ALLUVIUM_HISTORIES").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(10);
    let mut seen = Seen::new();
    for round in 0..rounds {
        let seed = seed.wrapping_add(round);
        println!("seed {seed}");
        in_turns(seed, || history(seed, &mut seen));
    }
    println!("{rounds} histories, {} deeds after one another", seen.values().sum::<u64>());
    // Fewer may have had no checkpoint to go back to each time.
    if rounds >= 10 {
        let all = DEEDS.iter().flat_map(|before| DEEDS.iter().map(move |deed| (*before, *deed)));
        let missing: Vec<_> = all.filter(|pair| !seen.contains_key(pair)).collect();
        assert!(missing.is_empty(), "never one after the other: {missing:?}");
    }
}
