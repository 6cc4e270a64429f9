//! Going back to positions of the changelog, beside a model that remembers what was there at each.

use crate::rng::Rng;
use crate::world::{
    Content, GROUPS, LIST, MAP, Model, Part, SUM, VALUE, assert_same, change, key, range, read_all, read_checkpoint,
};
use alluvium::{
    Applying, Barrier, ChangelogOptions, Class, Commit, Durability, Engine, EngineOptions, Error, EventId, Handler,
    HandlerId, History, Key, KeyGroup, KeyGroupRange, LogMode, MergeOperator, Pending, Result, Scope, SegmentSink,
    State, StateOptions, Store, StoreOptions, Writer,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const CHECKPOINTS: usize = 3;

pub fn options() -> StoreOptions {
    StoreOptions {
        durability: Durability::Changelog,
        history: History { checkpoints: CHECKPOINTS },
        changelog: ChangelogOptions { file_bytes: 1 << 20, ..ChangelogOptions::default() },
        ..crate::world::options()
    }
}

pub fn open(engine: &Engine, path: &Path, options: &StoreOptions) -> Store {
    loop {
        match Store::open_or_create(engine, path, options.clone()) {
            Err(error) if error.class() == Class::Retry => std::thread::sleep(Duration::from_millis(1)),
            opened => return opened.unwrap(),
        }
    }
}

/// The states, in the order of [`crate::world`].
fn states_of(store: &Store, log: LogMode) -> Vec<State> {
    let all = [
        StateOptions::value("value"),
        StateOptions::list("list"),
        StateOptions::merging("sum", MergeOperator::U64Add),
        StateOptions::map("map"),
        StateOptions::map("queue"),
    ];
    all.map(|options| store.state(options.log(log)).unwrap()).to_vec()
}

/// Reads a value, and changes states of all kinds by how long it is and by what it draws.
#[derive(Debug)]
pub struct Mixer {
    states: Vec<State>,
    draws: AtomicU64,
}

impl Handler for Mixer {
    fn name(&self) -> &str {
        "mixer"
    }

    fn version(&self) -> u32 {
        1
    }

    fn apply(&self, event: &[u8], applying: &mut Applying<'_>) -> Result<()> {
        let [from, to, n] = [event[0], event[1], event[2]];
        let group = applying.group();
        let (from, to) = ([b'k', from], [b'k', to]);
        let (from, to) = (Key::new(group, &from), Key::new(group, &to));
        let len = applying.get(self.states[VALUE], from)?.map_or(0, |value| value.len() % 50);
        let drawn = applying.determinant(&mut |out| {
            out.extend_from_slice(&self.draws.fetch_add(1, Ordering::Relaxed).to_le_bytes());
        })?;
        applying.put(self.states[VALUE], to, &vec![n; len + 1])?;
        applying.merge(self.states[SUM], to, &u64::from(n).to_le_bytes())?;
        applying.append(self.states[LIST], from, &drawn)?;
        applying.map_put(self.states[MAP], Key::new(group, b"k\x01"), &[b'u', n], &[len as u8])
    }
}

/// What [`Mixer`] does.
fn mix(model: &mut Model, group: u16, event: [u8; 3], drawn: u64) {
    let [from, to, n] = event;
    let at = |state: usize, key: u8| (state, group, vec![b'k', key]);
    let len = match model.get(&at(VALUE, from)) {
        Some(Content::Value(value)) => value.len() % 50,
        _ => 0,
    };
    model.insert(at(VALUE, to), Content::Value(vec![n; len + 1]));
    let Content::Sum(sum) = model.entry(at(SUM, to)).or_insert(Content::Sum(0)) else { unreachable!() };
    *sum += u64::from(n);
    let list = model.entry(at(LIST, from)).or_insert_with(|| Content::List(Vec::new()));
    let Content::List(list) = list else { unreachable!() };
    list.push(drawn.to_le_bytes().to_vec());
    let map = model.entry(at(MAP, 1)).or_insert_with(|| Content::Map(BTreeMap::new()));
    let Content::Map(map) = map else { unreachable!() };
    map.insert(vec![b'u', n], vec![len as u8]);
}

/// What was there, and where the sources stood.
#[derive(Clone, Default)]
struct There {
    model: Model,
    offset: Option<Vec<u8>>,
}

struct World {
    directory: tempfile::TempDir,
    engine: Engine,
    options: StoreOptions,
    log: LogMode,
    store: Option<Store>,
    writers: Vec<Writer>,
    states: Vec<State>,
    handler: HandlerId,
    mixer: Arc<Mixer>,
    events: u64,
    live: There,
    /// What recovery finds, the position of that, and whether a checkpoint has it alone.
    durable: (There, u64, bool),
    /// What came before may be missing in the changelog.
    gap: u64,
    /// By position.
    known: BTreeMap<u64, There>,
    checkpoints: BTreeMap<u64, There>,
    pending: Vec<(Pending, There)>,
    /// The positions behind rollbacks.
    rolled_back: Vec<u64>,
    label: u64,
    rng: Rng,
    done: usize,
    refused: usize,
}

impl World {
    fn new(seed: u64, options: StoreOptions, log: LogMode) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let engine = Engine::open(EngineOptions { memory_budget_bytes: 8 << 20, ..Default::default() }).unwrap();
        let store = open(&engine, directory.path(), &options);
        let states = states_of(&store, log);
        let mixer = Arc::new(Mixer { states: states.clone(), draws: AtomicU64::new(0) });
        let handler = store.handler(Arc::clone(&mixer) as Arc<dyn Handler>).unwrap();
        let mut world = Self {
            directory,
            engine,
            options,
            log,
            store: None,
            writers: Vec::new(),
            states,
            handler,
            mixer,
            events: 0,
            live: There::default(),
            durable: (There::default(), 0, false),
            gap: 0,
            known: BTreeMap::new(),
            checkpoints: BTreeMap::new(),
            pending: Vec::new(),
            rolled_back: Vec::new(),
            label: 0,
            rng: Rng::new(seed),
            done: 0,
            refused: 0,
        };
        world.adopt(store);
        world
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn adopt(&mut self, store: Store) {
        self.states = states_of(&store, self.log);
        self.handler = store.handler(Arc::clone(&self.mixer) as Arc<dyn Handler>).unwrap();
        let ranges = match self.rng.below(GROUPS.into()) as u16 {
            0 => vec![range()],
            cut => vec![KeyGroupRange::new(0, cut - 1), KeyGroupRange::new(cut, GROUPS - 1)],
        };
        self.writers = ranges.into_iter().map(|range| store.writer(range).unwrap()).collect();
        self.store = Some(store);
    }

    fn step(&mut self) {
        match self.rng.below(24) {
            0 | 1 => self.checkpoint(),
            2..=6 => self.commit(),
            7..=10 => self.roll_back(),
            11 if self.rng.one_in(2) => self.roll_back_to_checkpoint(),
            12 if self.rng.one_in(3) => self.store().compact().unwrap(),
            13 if self.rng.one_in(2) => self.crash(),
            14 if !self.options.transactional => {
                // In the middle of what isn't committed.
                let position = self.store().position().unwrap();
                self.known.insert(position, self.live.clone());
            }
            15 | 16 => self.apply_events(),
            _ => {
                for _ in 0..self.rng.below(100) {
                    let at = self.rng.below(self.writers.len());
                    change(&mut self.writers[at], &self.states, &mut self.live.model, &mut self.rng);
                }
            }
        }
    }

    fn apply_events(&mut self) {
        for _ in 0..self.rng.below(20) {
            let group = self.rng.below(GROUPS.into()) as u16;
            let event = [self.rng.below(30) as u8, self.rng.below(30) as u8, self.rng.below(200) as u8];
            let drawn = self.mixer.draws.load(Ordering::Relaxed);
            let (handler, at) = (self.handler, KeyGroup(group));
            let writer = self.writers.iter_mut().find(|writer| writer.range().contains(at)).unwrap();
            self.events += 1;
            if self.rng.one_in(2) {
                writer.apply_event(handler, at, &event).unwrap();
            } else {
                let id = EventId { source: 3, offset: self.events };
                assert!(writer.apply_event_once(handler, at, id, &event).unwrap());
            }
            mix(&mut self.live.model, group, event, drawn);
        }
    }

    fn commit(&mut self) {
        let offset = self.rng.bytes(8);
        let offsets = vec![(range(), offset.clone())];
        let committed = self.store().commit(Commit { offsets, ..Commit::default() }).unwrap();
        committed.wait().unwrap();
        self.live.offset = Some(offset);
        self.known.insert(committed.position, self.live.clone());
        self.durable = (self.live.clone(), committed.position, false);
    }

    fn checkpoint(&mut self) {
        if self.options.transactional {
            self.commit();
        }
        self.label += 1;
        let offsets = match &self.live.offset {
            Some(offset) if !self.options.transactional => vec![(range(), offset.clone())],
            _ => Vec::new(),
        };
        let pending = self.store().barrier(Barrier { offsets, ..Barrier::new(self.label) }).unwrap();
        self.pending.push((pending, self.live.clone()));
        if self.rng.one_in(2) {
            self.settle();
        }
    }

    fn settle(&mut self) {
        for (pending, there) in std::mem::take(&mut self.pending) {
            let info = pending.wait().unwrap();
            if self.store().checkpoints().iter().any(|kept| kept.number == info.number) {
                assert_same(&read_checkpoint(self.store(), info.label), &there.model, "checkpoint");
            }
            if info.position > self.durable.1 {
                self.durable = (there.clone(), info.position, true);
            }
            self.known.insert(info.position, there.clone());
            self.checkpoints.insert(info.label, there);
        }
    }

    fn roll_back(&mut self) {
        if self.known.is_empty() {
            return;
        }
        if self.options.transactional {
            self.commit();
        }
        let at = self.rng.below(self.known.len());
        // Mostly recent ones.
        let at = if self.rng.one_in(4) { at } else { self.known.len() - 1 - at.min(self.rng.below(10)) };
        let (position, there) = self.known.iter().nth(at).map(|(at, there)| (*at, there.clone())).unwrap();
        let part = Part::random(&mut self.rng);
        let outcome = self.store().rollback_to_position(&part.scope(&self.states), position);
        let rewound = match outcome {
            Ok(rewound) => rewound,
            Err(Error::Position { .. } | Error::Checkpoint { .. }) if self.may_be_refused(position) => {
                self.refused += 1;
                return self.check();
            }
            Err(error) => panic!("to {position}: {error}"),
        };
        let offsets: Vec<(KeyGroupRange, Vec<u8>)> =
            there.offset.iter().map(|offset| (part.range, offset.clone())).collect();
        assert_eq!(rewound.offsets, offsets, "to {position}");
        assert!(rewound.position <= position);
        part.roll_back(&mut self.live.model, &there.model);
        self.rolled_back.push(self.store().position().unwrap());
        self.done += 1;
        self.check();
    }

    /// Whether the history may not go back so far, or a rollback on the way not be done again.
    fn may_be_refused(&self, position: u64) -> bool {
        let oldest = self.store().checkpoints().iter().rev().take(CHECKPOINTS).map(|info| info.position).min();
        let is_before = oldest.is_some_and(|oldest| position < oldest) || position < self.gap;
        is_before || self.rolled_back.iter().any(|at| *at <= position)
    }

    fn roll_back_to_checkpoint(&mut self) {
        self.settle();
        if self.options.transactional {
            self.commit();
        }
        let kept = self.store().checkpoints();
        if kept.is_empty() {
            return;
        }
        let label = kept[self.rng.below(kept.len())].label;
        let part = Part::random(&mut self.rng);
        match self.store().rollback(&part.scope(&self.states), label) {
            Ok(_) => {}
            Err(Error::Checkpoint { problem, .. }) if problem.contains("order") => return,
            Err(error) => panic!("to checkpoint {label}: {error}"),
        }
        part.roll_back(&mut self.live.model, &self.checkpoints[&label].model);
        self.rolled_back.push(self.store().position().unwrap());
        self.check();
    }

    fn crash(&mut self) {
        self.settle();
        self.writers.clear();
        let store = self.store.take().unwrap();
        if self.rng.one_in(2) {
            store.close().unwrap();
        } else {
            drop(store);
        }
        let store = open(&self.engine, self.directory.path(), &self.options);
        let (there, position, by_checkpoint) = self.durable.clone();
        self.gap = if by_checkpoint { position } else { self.gap };
        self.known.retain(|at, _| *at <= position);
        self.rolled_back.retain(|at| *at <= position);
        self.live = there;
        self.adopt(store);
        self.check();
    }

    fn check(&mut self) {
        let mut found = Model::new();
        for writer in &mut self.writers {
            let range = writer.range();
            found.append(&mut read_all(writer, &self.states, range));
        }
        assert_same(&found, &self.live.model, "writers");
        let mut reader = self.store().reader();
        assert_same(&read_all(&mut reader, &self.states, range()), &self.live.model, "reader");
    }
}

fn run(seeds: std::ops::Range<u64>, steps: usize, options: &StoreOptions, log: LogMode) {
    let given = std::env::var(crate::SEED).ok().map(|seed| seed.parse().expect("a seed"));
    let seeds = given.map_or(seeds, |seed: u64| seed..seed + 3);
    let (mut done, mut refused) = (0, 0);
    for seed in seeds {
        println!("seed {seed}");
        let mut world = World::new(seed, options.clone(), log);
        for _ in 0..steps {
            world.step();
        }
        world.settle();
        world.crash();
        (done, refused) = (done + world.done, refused + world.refused);
    }
    println!("{done} rollbacks, {refused} refused");
    assert!(done > 20 && refused < done, "{done} rollbacks, {refused} refused");
}

#[test]
fn random_histories_of_changes_and_events_logged_as_changes() {
    run(41..44, 150, &options(), LogMode::State);
}

#[test]
fn random_histories_of_events_that_are_applied_again() {
    run(51..54, 150, &options(), LogMode::Event);
}

#[test]
fn random_histories_of_transactions() {
    run(61..64, 150, &StoreOptions { transactional: true, ..options() }, LogMode::Event);
}

/// One value state, a writer of everything, and the key of a key group.
struct Simple {
    directory: tempfile::TempDir,
    engine: Engine,
    store: Store,
    writer: Writer,
    states: Vec<State>,
}

impl Simple {
    fn new(options: StoreOptions) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let engine = Engine::open(EngineOptions { memory_budget_bytes: 16 << 20, ..Default::default() }).unwrap();
        let store = open(&engine, directory.path(), &options);
        let states = states_of(&store, LogMode::Event);
        let writer = store.writer(range()).unwrap();
        Self { directory, engine, store, writer, states }
    }

    fn put(&mut self, group: u16, value: &[u8]) {
        let at = (VALUE, group, b"k".to_vec());
        self.writer.put(self.states[VALUE], key(&at), value).unwrap();
    }

    fn get(&mut self, group: u16) -> Option<Vec<u8>> {
        let at = (VALUE, group, b"k".to_vec());
        self.writer.get(self.states[VALUE], key(&at)).unwrap()
    }

    fn commit(&mut self, offsets: &[(KeyGroupRange, &[u8])]) -> u64 {
        let offsets = offsets.iter().map(|(range, bytes)| (*range, bytes.to_vec())).collect();
        let commit = Commit { offsets, metadata: b"of the commit".to_vec(), ..Commit::default() };
        let committed = self.writer.commit(commit).unwrap();
        committed.wait().unwrap();
        committed.position
    }

    fn checkpoint(&self, label: u64) -> u64 {
        let offsets = vec![(range(), b"of the checkpoint".to_vec())];
        let barrier = Barrier { offsets, metadata: b"its own".to_vec(), ..Barrier::new(label) };
        self.store.barrier(barrier).unwrap().wait().unwrap().position
    }
}

fn groups(first: u16, last: u16) -> Scope {
    Scope::groups(KeyGroupRange::new(first, last))
}

#[test]
fn offsets_are_those_of_the_last_commit_there() {
    let mut simple = Simple::new(options());
    let halves = [KeyGroupRange::new(0, 2), KeyGroupRange::new(3, 5)];
    simple.put(2, b"1");
    let first = simple.commit(&[(halves[0], b"a1"), (halves[1], b"b1")]);
    simple.put(2, b"2");
    let checkpoint = simple.checkpoint(9);
    simple.put(2, b"3");
    let between = simple.store.position().unwrap();
    let second = simple.commit(&[(halves[0], b"a2"), (halves[1], b"b2")]);
    simple.put(2, b"4");
    let mut back = |position: u64, scope: Scope| {
        let rewound = simple.store.rollback_to_position(&scope, position).unwrap();
        let offsets = rewound.offsets.iter().map(|(range, bytes)| (range.first(), range.last(), bytes.clone()));
        (simple.get(2).unwrap(), rewound.label, rewound.position, offsets.collect::<Vec<_>>(), rewound.metadata)
    };
    let commit = b"of the commit".to_vec();
    let both = |a: &[u8], b: &[u8]| vec![(1, 2, a.to_vec()), (3, 4, b.to_vec())];
    assert_eq!(back(second, groups(1, 4)), (b"3".to_vec(), 9, second, both(b"a2", b"b2"), commit.clone()));
    let of_checkpoint = vec![(1, 4, b"of the checkpoint".to_vec())];
    assert_eq!(back(between, groups(1, 4)), (b"3".to_vec(), 9, between, of_checkpoint.clone(), b"its own".to_vec()));
    assert_eq!(back(checkpoint, groups(1, 4)), (b"2".to_vec(), 9, checkpoint, of_checkpoint, b"its own".to_vec()));
    // Before there was any checkpoint; the history has it still.
    assert!(simple.store.rollback_to_position(&groups(1, 4), first).is_err(), "the history begins at checkpoint 9");
    let mut simple = Simple::new(options());
    simple.put(2, b"1");
    let first = simple.commit(&[(halves[0], b"a1")]);
    simple.put(2, b"2");
    let rewound = simple.store.rollback_to_position(&groups(2, 2), first).unwrap();
    assert_eq!((rewound.label, rewound.number, rewound.position), (0, 0, first));
    assert_eq!(rewound.offsets, [(KeyGroupRange::new(2, 2), b"a1".to_vec())]);
    assert_eq!(simple.get(2).unwrap(), b"1");
    simple.put(3, b"of another key group");
    simple.commit(&[]);
    // And so has recovery.
    let Simple { directory, engine, store, writer, .. } = simple;
    drop(writer);
    store.close().unwrap();
    let store = open(&engine, directory.path(), &options());
    let states = states_of(&store, LogMode::Event);
    let reader = store.reader();
    let get = |group: u16| reader.get(states[VALUE], Key::new(KeyGroup(group), b"k")).unwrap();
    assert_eq!((get(2), get(3)), (Some(b"1".to_vec()), Some(b"of another key group".to_vec())));
}

/// A checkpoint of a transactional store is of the last commit, and has what was rolled back since, as that counts at once. It was taken
/// for what the commit had left.
#[test]
fn a_commits_position_has_nothing_of_what_was_rolled_back_after_it() {
    let mut simple = Simple::new(StoreOptions { transactional: true, ..options() });
    let checkpoint =
        |simple: &Simple, label| simple.store.barrier(Barrier::new(label)).unwrap().wait().unwrap().position;
    simple.put(0, b"first");
    let first = simple.commit(&[]);
    assert_eq!(checkpoint(&simple, 1), first);
    simple.put(0, b"second");
    simple.put(1, b"another's");
    let second = simple.commit(&[]);
    let before = simple.store.position().unwrap();
    simple.store.rollback(&groups(0, 0), 1).unwrap();
    assert_eq!(checkpoint(&simple, 2), second);
    let there = |simple: &Simple, position| {
        let at = (VALUE, 0, b"k".to_vec());
        simple.store.as_of_position(position).unwrap().get(simple.states[VALUE], key(&at)).unwrap()
    };
    for position in [second, before] {
        assert_eq!(there(&simple, position), Some(b"second".to_vec()));
        simple.store.rollback_to_position(&groups(0, 0), position).unwrap();
        assert_eq!(simple.get(0), Some(b"second".to_vec()));
        simple.store.rollback(&groups(0, 0), 2).unwrap();
        assert_eq!(simple.get(0), Some(b"first".to_vec()));
    }
    simple.store.rollback_to_position(&groups(0, 0), second).unwrap();
    simple.put(0, b"third");
    let third = simple.commit(&[]);
    assert_eq!(checkpoint(&simple, 3), third);
    assert_eq!(there(&simple, second), Some(b"second".to_vec()), "though something was committed since");
    assert_eq!(there(&simple, third), Some(b"third".to_vec()));
    // Without a checkpoint from before it can't be told.
    for label in 4..6 {
        simple.put(2, b"more");
        simple.commit(&[]);
        checkpoint(&simple, label);
    }
    let refused = simple.store.rollback_to_position(&groups(0, 0), second);
    assert!(matches!(refused, Err(Error::Position { .. })), "{refused:?}");
}

#[test]
fn what_cannot_be_told_is_refused() {
    let mut simple = Simple::new(StoreOptions { history: History { checkpoints: 0 }, ..options() });
    let position = simple.commit(&[]);
    let refused = simple.store.rollback_to_position(&groups(0, 5), position);
    assert!(matches!(refused, Err(Error::Options { option: "history", .. })), "{refused:?}");
    let mut simple = Simple::new(options());
    simple.put(1, b"1");
    let first = simple.commit(&[]);
    let ahead = simple.store.rollback_to_position(&groups(0, 5), first + 1_000);
    assert!(matches!(ahead, Err(Error::Position { .. })), "{ahead:?}");
    let outside = simple.store.rollback_to_position(&groups(0, GROUPS), first);
    assert!(matches!(outside, Err(Error::OutsideRange { .. })), "{outside:?}");
    for label in 1..=4 {
        simple.put(1, &[label as u8]);
        simple.checkpoint(label);
    }
    let gone = simple.store.rollback_to_position(&groups(0, 5), first);
    assert!(matches!(gone, Err(Error::Position { position, .. }) if position == first), "{gone:?}");
    assert_eq!(simple.get(1).unwrap(), [4]);
    // A bulk load is in no changelog.
    let Simple { directory, engine, store, writer, states } = simple;
    drop(writer);
    let mut load = store.bulk_load(1).unwrap();
    load.map_put(states[MAP], Key::new(KeyGroup(5), b"k"), b"u", b"v").unwrap();
    load.finish().unwrap();
    let mut simple = Simple { writer: store.writer(range()).unwrap(), directory, engine, store, states };
    simple.put(1, b"5");
    let position = simple.store.position().unwrap();
    let loaded = simple.store.rollback_to_position(&groups(0, 0), position);
    assert!(matches!(loaded, Err(Error::Position { .. })), "{loaded:?}");
    assert_eq!(simple.get(1).unwrap(), b"5");
    let left: Vec<_> =
        std::fs::read_dir(simple.directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_str().unwrap().starts_with("scratch")), "{left:?}");
}

#[test]
fn events_want_their_handlers_also_when_it_is_done_again() {
    let mut simple = Simple::new(options());
    let mixer = Arc::new(Mixer { states: simple.states.clone(), draws: AtomicU64::new(0) });
    let handler = simple.store.handler(Arc::clone(&mixer) as Arc<dyn Handler>).unwrap();
    let mut model = Model::new();
    simple.checkpoint(1);
    for (event, drawn) in [([1, 2, 3], 0), ([2, 1, 4], 1)] {
        simple.writer.apply_event(handler, KeyGroup(1), &event).unwrap();
        mix(&mut model, 1, event, drawn);
    }
    let position = simple.commit(&[]);
    simple.writer.apply_event(handler, KeyGroup(1), &[1, 1, 1]).unwrap();
    simple.checkpoint(2);
    // Without its handler.
    let Simple { directory, engine, store, writer, .. } = simple;
    drop(writer);
    store.close().unwrap();
    let store = open(&engine, directory.path(), &options());
    let states = states_of(&store, LogMode::Event);
    let refused = store.rollback_to_position(&groups(1, 1), position);
    assert!(matches!(refused, Err(Error::Handler { .. })), "{refused:?}");
    store.handler(Arc::clone(&mixer) as Arc<dyn Handler>).unwrap();
    store.rollback_to_position(&groups(1, 1), position).unwrap();
    assert_same(&read_all(&mut store.reader(), &states, range()), &model, "gone back");
    store.commit(Commit::default()).unwrap().wait().unwrap();
    drop(store);
    // A crash: the same again, behind a checkpoint that doesn't have the events any more.
    let store = open(&engine, directory.path(), &options());
    let states = states_of(&store, LogMode::Event);
    let refused = store.writer(range());
    assert!(matches!(refused, Err(Error::Handler { .. })), "{refused:?}");
    store.handler(mixer).unwrap();
    let mut writer = store.writer(range()).unwrap();
    assert_same(&read_all(&mut writer, &states, range()), &model, "done again");
}

/// Holds up the threads that write segments, but for one.
#[derive(Debug)]
struct Dam {
    closed: AtomicBool,
    but: std::thread::ThreadId,
}

impl SegmentSink for Dam {
    fn write(&self, _name: &str, _offset: u64, _bytes: &[u8]) {
        while self.closed.load(Ordering::Acquire) && std::thread::current().id() != self.but {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn complete(&self, _name: &str, _len: u64) {}

    fn abandon(&self, _name: &str) {}
}

/// A checkpoint that was cut before, and becomes complete after, takes the place of the one that was gone back to.
#[test]
fn what_going_back_takes_is_kept_until_a_checkpoint_has_it() {
    let dam = Arc::new(Dam { closed: AtomicBool::new(false), but: std::thread::current().id() });
    let sink: Arc<dyn SegmentSink> = Arc::clone(&dam) as _;
    let kept = StoreOptions { history: History { checkpoints: 1 }, retained_checkpoints: 1, ..options() };
    let mut simple = Simple::new(StoreOptions { sink: Some(sink), ..kept.clone() });
    simple.put(1, &[1; 200_000]);
    simple.checkpoint(1);
    // Files of the changelog go one by one.
    let mut positions = Vec::new();
    for round in 2..20_u8 {
        simple.put(1, &[round; 200_000]);
        positions.push(simple.commit(&[]));
    }
    dam.closed.store(true, Ordering::Release);
    let pending = simple.store.barrier(Barrier::new(2)).unwrap();
    simple.put(1, b"undone");
    simple.store.rollback_to_position(&groups(1, 1), positions[3]).unwrap();
    simple.commit(&[]);
    dam.closed.store(false, Ordering::Release);
    pending.wait().unwrap();
    simple.put(1, b"lost");
    for label in 3..5 {
        let Simple { directory, engine, store, writer, .. } = simple;
        drop((writer, store));
        let store = open(&engine, directory.path(), &kept);
        let states = states_of(&store, LogMode::Event);
        simple = Simple { writer: store.writer(range()).unwrap(), directory, engine, store, states };
        assert_eq!(simple.get(1), Some(vec![5; 200_000]), "before checkpoint {label}");
        assert!(simple.store.checkpoints().iter().any(|info| info.label == 1) == (label == 3));
        // From now on nothing of it is needed.
        simple.checkpoint(label);
        // They go behind the word that it is complete.
        while simple.store.checkpoints().len() > 1 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A checkpoint that was gone back from stays as long as the host wants it, and the changelog behind it no longer than it is needed: it stayed
/// as long as the checkpoint once anybody had looked at a position behind it.
#[test]
fn the_changelog_goes_although_the_checkpoint_before_the_position_stays() {
    let mut simple =
        Simple::new(StoreOptions { history: History { checkpoints: 1 }, retained_checkpoints: 1, ..options() });
    simple.checkpoint(1);
    simple.store.retain(1).unwrap();
    simple.put(1, b"there");
    let position = simple.commit(&[]);
    drop(simple.store.as_of_position(position).unwrap());
    simple.store.rollback_to_position(&groups(1, 1), position).unwrap();
    let logs = |simple: &Simple| {
        let names = std::fs::read_dir(simple.directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_str().unwrap().ends_with(".changelog")).count()
    };
    for round in 2..20_u8 {
        simple.put(1, &[round; 200_000]);
        simple.commit(&[]);
    }
    assert!(logs(&simple) > 3);
    for label in 2..4 {
        simple.checkpoint(label);
        simple.commit(&[]);
    }
    // A checkpoint is complete when the files before it are gone.
    assert!(logs(&simple) <= 2, "{} files", logs(&simple));
    assert!(simple.store.checkpoints().iter().any(|info| info.label == 1));
}

#[test]
fn readers_see_it_before_or_after() {
    let mut simple = Simple::new(options());
    simple.checkpoint(1);
    let at = (VALUE, 3_u16, b"k".to_vec());
    simple.put(3, b"old");
    let position = simple.commit(&[]);
    simple.put(3, b"new");
    let (reader, state) = (simple.store.reader(), simple.states[VALUE]);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut seen = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let found = reader.get(state, key(&at)).unwrap().unwrap();
                if seen.last() != Some(&found) {
                    seen.push(found);
                }
            }
            seen
        });
        simple.store.rollback_to_position(&groups(2, 4), position).unwrap();
        assert_eq!(simple.get(3).unwrap(), b"old");
        stop.store(true, Ordering::Relaxed);
        let seen = looking.join().unwrap();
        assert!(seen.len() <= 2 && seen.iter().all(|value| value == b"old" || value == b"new"), "{seen:?}");
        assert_eq!(reader.get(state, key(&at)).unwrap().unwrap(), b"old");
    });
}
