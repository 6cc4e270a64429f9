//! Events that are applied once, beside a model: which were, and what they came to, go together through everything that cuts, undoes, moves or
//! loses state between one event and the next.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

#[path = "model/rng.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod rng;
#[path = "support/turns.rs"]
mod turns;

use alluvium::{
    Applying, Barrier, ChangelogOptions, Class, Commit, Durability, Engine, EngineOptions, Error, EventId, Handler,
    HandlerId, History, Key, KeyGroup, KeyGroupRange, LogMode, Result, Scope, State, StateOptions, Store, StoreOptions,
    Writer,
};
use rng::Rng;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const GROUPS: u16 = 6;
/// Set to do one seed again.
const SEED: &str = "ALLUVIUM_TEST_SEED";

/// What an event has its handler do; behind it stands a number.
const ADDS: u8 = 0;
const NOTHING: u8 = 1;
const FAILS: u8 = 2;
const FAILS_LATE: u8 = 3;
const PANICS: u8 = 4;

/// Adds the number to two values, one after the other; or to a third one, and fails.
#[derive(Debug)]
struct Tally([State; 3]);

fn number(value: Option<&[u8]>) -> u64 {
    value.map_or(0, |value| u64::from_le_bytes(value.try_into().unwrap()))
}

impl Handler for Tally {
    fn name(&self) -> &str {
        "tally"
    }

    fn version(&self) -> u32 {
        1
    }

    fn apply(&self, event: &[u8], applying: &mut Applying<'_>) -> Result<()> {
        let key = Key::new(applying.group(), b"k");
        let mut add = |state| {
            let more = u64::from(event[1]);
            applying.update(state, key, |old| Some((number(old) + more).to_le_bytes()))
        };
        let [first, second, failed] = self.0;
        match event[0] {
            ADDS => {
                add(first)?;
                // Whoever cuts does so in the middle, if ever.
                turns::yield_now();
                add(second)
            }
            NOTHING => Ok(()),
            FAILS => Err(refused()),
            FAILS_LATE => add(failed).and_then(|()| Err(refused())),
            // Without a word on the terminal.
            PANICS.. => std::panic::resume_unwind(Box::new("as asked for")),
        }
    }
}

fn refused() -> Error {
    Error::Options { option: "event", problem: "as asked for".into() }
}

/// What a key group holds.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Group {
    /// The last event of each source.
    last: BTreeMap<u32, u64>,
    sums: [u64; 3],
}

type Model = BTreeMap<u16, Group>;

#[derive(Clone, Copy, Debug)]
struct Kind {
    mode: LogMode,
    traced: bool,
    transactional: bool,
    sources: u32,
}

impl Kind {
    fn options(self) -> StoreOptions {
        StoreOptions {
            key_groups: GROUPS.into(),
            range: KeyGroupRange::new(0, GROUPS - 1),
            durability: Durability::Changelog,
            changelog: ChangelogOptions { file_bytes: 1 << 20, ..ChangelogOptions::default() },
            transactional: self.transactional,
            retained_checkpoints: 3,
            history: History { checkpoints: 2 },
            ..StoreOptions::default()
        }
    }

    fn states(self, store: &Store) -> [State; 3] {
        ["first", "second", "failed"].map(|name| {
            let options = StateOptions::value(name).log(self.mode);
            store.state(if self.traced { options.traced() } else { options }).unwrap()
        })
    }
}

/// Opens a store in whose directory an engine's thread may still be at something.
fn open(engine: &Engine, path: &Path, options: &StoreOptions) -> Store {
    for _ in 0..2_000 {
        match Store::open_or_create(engine, path, options.clone()) {
            Err(error) if error.class() == Class::Retry => turns::sleep(std::time::Duration::from_millis(5)),
            outcome => return outcome.unwrap(),
        }
    }
    panic!("the directory stayed locked");
}

/// An open store.
struct Live {
    store: Store,
    writers: Vec<Writer>,
    states: [State; 3],
    ballast: State,
    handler: HandlerId,
}

struct World {
    kind: Kind,
    engine: Engine,
    directory: tempfile::TempDir,
    live: Option<Live>,
    rng: Rng,
    now: Model,
    committed: Model,
    checkpoints: Vec<(u64, Model)>,
    /// Of commits since the last checkpoint.
    positions: Vec<(u64, Model)>,
    label: u64,
    passed_over: usize,
}

impl World {
    fn new(kind: Kind, seed: u64) -> Self {
        let engine = Engine::open(EngineOptions { memory_budget_bytes: 4 << 20, ..EngineOptions::default() }).unwrap();
        let now: Model = (0..GROUPS).map(|group| (group, Group::default())).collect();
        let mut world = Self {
            kind,
            engine,
            directory: tempfile::tempdir().unwrap(),
            live: None,
            rng: Rng::new(seed),
            committed: now.clone(),
            now,
            checkpoints: Vec::new(),
            positions: Vec::new(),
            label: 0,
            passed_over: 0,
        };
        world.open();
        world.commit();
        world.checkpoint();
        world
    }

    fn open(&mut self) {
        let store = open(&self.engine, self.directory.path(), &self.kind.options());
        let states = self.kind.states(&store);
        let ballast = store.state(StateOptions::value("ballast")).unwrap();
        let handler = store.handler(Arc::new(Tally(states))).unwrap();
        self.live = Some(Live { store, writers: Vec::new(), states, ballast, handler });
        self.hand_over();
    }

    fn live(&mut self) -> &mut Live {
        self.live.as_mut().unwrap()
    }

    /// Other writers have the key groups from now on.
    fn hand_over(&mut self) {
        let cuts = [self.rng.below(GROUPS.into()) as u16, self.rng.below(GROUPS.into()) as u16];
        let live = self.live();
        live.writers.clear();
        let mut from = 0;
        for end in [cuts[0].min(cuts[1]), cuts[0].max(cuts[1]), GROUPS] {
            if from < end {
                live.writers.push(live.store.writer(KeyGroupRange::new(from, end - 1)).unwrap());
                from = end;
            }
        }
    }

    fn apply(&mut self, group: u16, id: EventId, event: [u8; 2]) -> Result<bool> {
        let Live { writers, handler, .. } = self.live();
        let writer = writers.iter_mut().find(|writer| writer.range().contains(KeyGroup(group))).unwrap();
        writer.apply_event_once(*handler, KeyGroup(group), id, &event)
    }

    /// An event, mostly the next of its source, sometimes one that was before.
    fn event(&mut self) {
        let group = self.rng.below(GROUPS.into()) as u16;
        let source = self.rng.below(self.kind.sources as usize) as u32;
        let last = self.now[&group].last.get(&source).copied();
        let next = last.map_or(0, |last| last + 1) + self.rng.below(3) as u64;
        let offset = if self.rng.one_in(6) { self.rng.below(next as usize + 1) as u64 } else { next };
        let does = if self.rng.one_in(8) { 1 + self.rng.below(4) as u8 } else { ADDS };
        let by = self.rng.below(250) as u8;
        let outcome = self.apply(group, EventId { source, offset }, [does, by]);
        let of_group = self.now.get_mut(&group).unwrap();
        if last.is_some_and(|last| offset <= last) {
            assert!(!outcome.unwrap(), "{offset} after {last:?}");
            self.passed_over += 1;
            return;
        }
        assert_eq!(outcome.is_ok(), does < FAILS, "{outcome:?}");
        if does == FAILS_LATE {
            of_group.sums[2] += u64::from(by);
        }
        if let Ok(is_applied) = outcome {
            assert!(is_applied, "{offset} after {last:?}");
            of_group.last.insert(source, offset);
            let more = if does == ADDS { u64::from(by) } else { 0 };
            of_group.sums[0] += more;
            of_group.sums[1] += more;
        }
    }

    /// More than memory has room for.
    fn ballast(&mut self) {
        for _ in 0..100 {
            let (group, number) = (KeyGroup(self.rng.below(GROUPS.into()) as u16), self.rng.below(8_000) as u32);
            let Live { writers, ballast, .. } = self.live();
            let writer = writers.iter_mut().find(|writer| writer.range().contains(group)).unwrap();
            writer.put(*ballast, Key::new(group, &number.to_be_bytes()), &[number as u8; 1_000]).unwrap();
        }
    }

    fn commit(&mut self) {
        let by_writer = self.rng.one_in(2);
        let Live { store, writers, .. } = self.live();
        let committed = match writers.first_mut().filter(|_| by_writer) {
            Some(writer) => writer.commit(Commit::default()).unwrap(),
            None => store.commit(Commit::default()).unwrap(),
        };
        committed.wait().unwrap();
        let position = committed.position;
        self.committed.clone_from(&self.now);
        self.positions.push((position, self.now.clone()));
    }

    fn checkpoint(&mut self) {
        self.label += 1;
        let (label, by_writer) = (self.label, self.rng.one_in(2));
        let Live { store, writers, .. } = self.live();
        let pending = match writers.first_mut().filter(|_| by_writer) {
            Some(writer) => writer.barrier(Barrier::new(label)).unwrap(),
            None => store.barrier(Barrier::new(label)).unwrap(),
        };
        pending.wait().unwrap();
        if !self.kind.transactional {
            self.committed.clone_from(&self.now);
        }
        self.checkpoints.push((label, self.committed.clone()));
        let old = self.checkpoints.len().saturating_sub(3);
        self.checkpoints.drain(..old);
        self.positions.clear();
    }

    fn roll_back(&mut self) {
        if self.kind.transactional {
            self.commit();
        }
        let (a, b) = (self.rng.below(GROUPS.into()) as u16, self.rng.below(GROUPS.into()) as u16);
        let scope = Scope::groups(KeyGroupRange::new(a.min(b), a.max(b)));
        let to_position = !self.positions.is_empty() && self.rng.one_in(2);
        let then = if to_position {
            let (position, then) = self.rng.pick(&self.positions).clone();
            self.live().store.rollback_to_position(&scope, position).unwrap();
            then
        } else {
            let (label, then) = self.rng.pick(&self.checkpoints).clone();
            self.live().store.rollback(&scope, label).unwrap();
            then
        };
        for group in a.min(b)..=a.max(b) {
            self.now.insert(group, then[&group].clone());
        }
        if self.kind.transactional {
            // It is no part of a transaction.
            self.commit();
        }
    }

    fn abort(&mut self) {
        if self.kind.transactional {
            self.live().store.abort_transaction().unwrap();
            self.now.clone_from(&self.committed);
        }
    }

    fn crash(&mut self) {
        self.live = None;
        self.now.clone_from(&self.committed);
        self.open();
    }

    fn close(&mut self) {
        self.commit();
        let mut live = self.live.take().unwrap();
        if self.rng.one_in(2) {
            let writer = live.writers.first_mut().unwrap();
            live.store.close().unwrap();
            // What it remembers of its tables is nobody's any more.
            let group = KeyGroup(writer.range().first());
            let refused =
                writer.apply_event_once(live.handler, group, EventId { source: 0, offset: u64::MAX }, &[ADDS, 1]);
            assert!(matches!(refused, Err(Error::Closed)), "{refused:?}");
        } else {
            live.writers.clear();
            live.store.close().unwrap();
        }
        drop(live.writers);
        self.open();
    }

    fn check(&mut self) {
        let live = self.live.as_ref().unwrap();
        let reader = live.store.reader();
        for (group, model) in &self.now {
            let group = KeyGroup(*group);
            for (state, sum) in live.states.iter().zip(model.sums) {
                let found = reader.get(*state, Key::new(group, b"k")).unwrap();
                assert_eq!(number(found.as_deref()), sum, "{group:?}");
            }
            for source in 0..self.kind.sources {
                let knows = |offset| live.store.already_applied(group, EventId { source, offset }).unwrap();
                let last = model.last.get(&source).copied();
                assert!(last.is_none_or(knows), "{group:?}, {source}: {last:?}");
                assert!(!knows(last.map_or(0, |last| last + 1)), "{group:?}, {source}: more than {last:?}");
            }
        }
    }

    fn step(&mut self) {
        let some = self.rng.below(30);
        (0..some).for_each(|_| self.event());
        match self.rng.below(20) {
            0..4 => self.commit(),
            4..6 => self.checkpoint(),
            6..9 => self.roll_back(),
            9..11 => self.abort(),
            11..13 => self.crash(),
            13 => self.close(),
            14..17 => {
                if self.kind.transactional {
                    self.commit();
                }
                self.hand_over();
            }
            _ => self.ballast(),
        }
        self.check();
    }
}

fn run(kind: Kind, seeds: std::ops::Range<u64>) {
    let given = std::env::var(SEED).ok().map(|seed| seed.parse().unwrap());
    for seed in given.map_or(seeds, |seed: u64| seed..seed + 1) {
        println!("seed {seed}, {kind:?}");
        turns::in_turns(seed, || {
            let mut world = World::new(kind, seed);
            (0..80).for_each(|_| world.step());
            assert!(world.passed_over > 20, "only {} events came again", world.passed_over);
        });
    }
}

#[test]
fn what_is_applied_and_what_it_came_to_go_together() {
    for (mode, traced) in
        [(LogMode::State, false), (LogMode::Event, false), (LogMode::Event, true), (LogMode::State, true)]
    {
        run(Kind { mode, traced, transactional: false, sources: 2 }, 1..4);
    }
}

#[test]
fn the_same_of_many_sources() {
    run(Kind { mode: LogMode::Auto, traced: true, transactional: false, sources: 60 }, 11..14);
}

#[test]
fn the_same_in_transactions() {
    for (mode, traced) in [(LogMode::State, false), (LogMode::Event, true)] {
        run(Kind { mode, traced, transactional: true, sources: 2 }, 21..24);
    }
}

/// How many events each of the writers applies.
const EVENTS: u64 = 40_000;
/// How many checkpoints are taken meanwhile at most.
const CHECKPOINTS: u64 = 500;

/// Applies events to the writer's key groups in turns, each adding 1.
fn apply_all(mut writer: Writer, handler: HandlerId, first: KeyGroup) -> Writer {
    for offset in 0..EVENTS {
        let group = KeyGroup(first.0 + (offset % 2) as u16);
        let id = EventId { source: u32::from(first.0), offset: offset / 2 };
        assert!(writer.apply_event_once(handler, group, id, &[ADDS, 1]).unwrap());
    }
    writer
}

/// Commits, cuts and looks while two writers of neighbouring ranges are at it; the positions of the commits.
fn cut_meanwhile(store: &Store, is_done: &AtomicBool) -> Vec<u64> {
    let (mut positions, mut round) = (Vec::new(), 0);
    while !is_done.load(Ordering::Acquire) {
        let commit = store.commit(Commit::default()).unwrap();
        positions.push(commit.position);
        match round % 16 {
            // No more than the history keeps, however long the writers take.
            3 if round < 16 * CHECKPOINTS => drop(store.barrier(Barrier::new(round)).unwrap().wait().unwrap()),
            7 => drop(store.snapshot().unwrap()),
            9 => drop(store.position().unwrap()),
            11 => drop(store.closure(&[]).unwrap()),
            13 => commit.wait().unwrap(),
            _ => {}
        }
        round += 1;
    }
    positions
}

/// The two values of a key group that each event adds to.
fn both(get: impl Fn(State) -> Option<Vec<u8>>, states: [State; 3]) -> (u64, u64) {
    let [first, second] = [states[0], states[1]].map(|state| number(get(state).as_deref()));
    (first, second)
}

fn beside_one_another(mode: LogMode, traced: bool) {
    let kind = Kind { mode, traced, transactional: false, sources: 1 };
    let options = StoreOptions { history: History { checkpoints: 2 * CHECKPOINTS as usize }, ..kind.options() };
    let engine = Engine::open(EngineOptions { memory_budget_bytes: 16 << 20, ..EngineOptions::default() }).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let store = open(&engine, directory.path(), &options);
    let states = kind.states(&store);
    let handler = store.handler(Arc::new(Tally(states))).unwrap();
    // What the history begins with.
    store.barrier(Barrier::new(1_000_000)).unwrap().wait().unwrap();
    let is_done = AtomicBool::new(false);
    let positions = turns::scope(|scope| {
        let of = |first| {
            let writer = store.writer(KeyGroupRange::new(first, first + 1)).unwrap();
            scope.spawn(move || apply_all(writer, handler, KeyGroup(first)))
        };
        let (left, right) = (of(0), of(2));
        let cutting = scope.spawn(|| cut_meanwhile(&store, &is_done));
        drop((left.join().unwrap(), right.join().unwrap()));
        is_done.store(true, Ordering::Release);
        cutting.join().unwrap()
    });
    assert!(positions.len() > 10 || cfg!(feature = "simulation"), "{} commits", positions.len());
    if mode == LogMode::State {
        for position in positions.iter().step_by(positions.len() / 40 + 1) {
            let past = store.as_of_position(*position).unwrap();
            for group in 0..4 {
                let (first, second) = both(|state| past.get(state, Key::new(KeyGroup(group), b"k")).unwrap(), states);
                assert_eq!(first, second, "an event was cut at {position}, in {group}");
            }
        }
    }
    drop(store);
    let store = open(&engine, directory.path(), &options);
    store.handler(Arc::new(Tally(kind.states(&store)))).unwrap();
    for group in 0..4_u16 {
        let (first, second) = both(|state| store.reader().get(state, Key::new(KeyGroup(group), b"k")).unwrap(), states);
        let knows =
            |offset| store.already_applied(KeyGroup(group), EventId { source: u32::from(group & 2), offset }).unwrap();
        assert!(first == second && first > 0 && knows(first - 1) && !knows(first), "{first}, {second}, in {group}");
    }
}

#[test]
fn no_event_is_cut_in_its_middle_by_who_cuts_beside_it() {
    for (mode, traced) in [(LogMode::State, false), (LogMode::Event, true)] {
        for seed in 0..if cfg!(feature = "simulation") { 20 } else { 1 } {
            turns::in_turns(seed, || beside_one_another(mode, traced));
        }
    }
}
