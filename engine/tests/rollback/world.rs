//! A store that is rolled back, beside a model that remembers what each checkpoint had.

use crate::rng::Rng;
use alluvium::states::frames;
use alluvium::{
    Barrier, Commit, Cursor, Durability, Engine, EngineOptions, Error, Key, KeyGroup, KeyGroupRange, MapRange,
    MergeOperator, Packed, Pending, Reader, Scope, Snapshot, State, StateOptions, Store, StoreOptions, Writer,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

pub const GROUPS: u16 = 6;
pub const VALUE: usize = 0;
pub const LIST: usize = 1;
pub const SUM: usize = 2;
pub const MAP: usize = 3;
pub const QUEUE: usize = 4;
pub const STATES: usize = 5;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    Value(Vec<u8>),
    List(Vec<Vec<u8>>),
    Sum(u64),
    Map(BTreeMap<Vec<u8>, Vec<u8>>),
}

/// State, key group, key.
pub type Address = (usize, u16, Vec<u8>);
pub type Model = BTreeMap<Address, Content>;

pub fn range() -> KeyGroupRange {
    KeyGroupRange::new(0, GROUPS - 1)
}

pub fn options() -> StoreOptions {
    StoreOptions { key_groups: GROUPS.into(), range: range(), retained_checkpoints: 3, ..StoreOptions::default() }
}

pub fn states_of(store: &Store) -> Vec<State> {
    [
        StateOptions::value("value"),
        StateOptions::list("list"),
        StateOptions::merging("sum", MergeOperator::U64Add),
        StateOptions::map("map"),
        StateOptions::map("queue"),
    ]
    .map(|options| store.state(options).unwrap())
    .to_vec()
}

pub fn key(at: &Address) -> Key<'_> {
    Key::new(KeyGroup(at.1), &at.2)
}

/// Which key groups and states, as the model knows them.
#[derive(Clone, Debug)]
pub struct Part {
    pub range: KeyGroupRange,
    /// None: all.
    pub states: Vec<usize>,
}

impl Part {
    pub fn has(&self, at: &Address) -> bool {
        self.range.contains(KeyGroup(at.1)) && (self.states.is_empty() || self.states.contains(&at.0))
    }

    pub fn scope(&self, states: &[State]) -> Scope {
        let named: Vec<State> = self.states.iter().map(|at| states[*at]).collect();
        Scope::groups(self.range).states(&named)
    }

    /// Puts what one model has of the part into another.
    pub fn roll_back(&self, model: &mut Model, target: &Model) {
        model.retain(|at, _| !self.has(at));
        model.extend(target.iter().filter(|(at, _)| self.has(at)).map(|(at, content)| (at.clone(), content.clone())));
    }

    pub fn random(rng: &mut Rng) -> Self {
        let (a, b) = (rng.below(GROUPS.into()) as u16, rng.below(GROUPS.into()) as u16);
        let range = if rng.one_in(3) { range() } else { KeyGroupRange::new(a, b) };
        let mut states = Vec::new();
        if rng.one_in(2) {
            states = (0..STATES).filter(|_| rng.one_in(2)).collect();
        }
        Self { range, states }
    }
}

/// One change, in the store and in the model.
pub fn change(writer: &mut Writer, states: &[State], model: &mut Model, rng: &mut Rng) -> Option<(usize, u16)> {
    let state = rng.below(STATES);
    let held = writer.range();
    let group = held.first() + rng.below(held.count()) as u16;
    let number = rng.below(if state == MAP || state == QUEUE { 3 } else { 30 }) as u8;
    let at: Address = (state, group, vec![b'k', number]);
    let handle = states[state];
    let len = if rng.one_in(8) { 9_000 } else { 1 + rng.below(60) };
    let bytes = rng.bytes(len);
    match state {
        VALUE => match rng.below(6) {
            0 => {
                writer.delete(handle, key(&at)).unwrap();
                model.remove(&at);
            }
            1 => {
                writer.update(handle, key(&at), |old| old.map(|old| [old, b"+"].concat())).unwrap();
                if let Some(Content::Value(value)) = model.get_mut(&at) {
                    value.push(b'+');
                }
            }
            _ => {
                let bytes = if rng.one_in(2) { vec![rng.below(256) as u8; 8] } else { bytes };
                writer.put(handle, key(&at), &bytes).unwrap();
                model.insert(at.clone(), Content::Value(bytes));
            }
        },
        LIST => {
            if rng.one_in(7) {
                writer.delete(handle, key(&at)).unwrap();
                model.remove(&at);
            } else {
                writer.append(handle, key(&at), &bytes).unwrap();
                match model.entry(at.clone()).or_insert_with(|| Content::List(Vec::new())) {
                    Content::List(list) => list.push(bytes),
                    _ => unreachable!(),
                }
            }
        }
        SUM => {
            if rng.one_in(7) {
                writer.delete(handle, key(&at)).unwrap();
                model.remove(&at);
            } else {
                let operand = rng.below(1_000) as u64;
                writer.merge(handle, key(&at), &operand.to_le_bytes()).unwrap();
                match model.entry(at.clone()).or_insert(Content::Sum(0)) {
                    Content::Sum(sum) => *sum += operand,
                    _ => unreachable!(),
                }
            }
        }
        _ => change_map(writer, handle, &at, model, rng, bytes),
    }
    Some((state, group))
}

fn change_map(writer: &mut Writer, handle: State, at: &Address, model: &mut Model, rng: &mut Rng, bytes: Vec<u8>) {
    let entry = model.entry(at.clone()).or_insert_with(|| Content::Map(BTreeMap::new()));
    let Content::Map(map) = entry else { unreachable!() };
    let user_key = |rng: &mut Rng| vec![b'u', rng.below(200) as u8];
    match rng.below(12) {
        0 => {
            writer.map_clear(handle, key(at)).unwrap();
            map.clear();
        }
        1 => {
            let user_key = user_key(rng);
            writer.map_delete(handle, key(at), &user_key).unwrap();
            map.remove(&user_key);
        }
        2 => {
            let (from, to) = (user_key(rng), user_key(rng));
            let range = MapRange::between(Bound::Included(&from), Bound::Excluded(&to));
            writer.map_delete_range(handle, key(at), &range).unwrap();
            map.retain(|user_key, _| !(*user_key >= from && *user_key < to));
        }
        3 | 4 if at.0 == QUEUE => {
            let popped = writer.map_pop_first(handle, key(at)).unwrap();
            assert_eq!(popped, map.pop_first());
        }
        5 => {
            // Many, so that ranges of them are cut out as a whole.
            for number in 0..200 {
                let user_key = vec![b'u', number];
                writer.map_put(handle, key(at), &user_key, &bytes).unwrap();
                map.insert(user_key, bytes.clone());
            }
        }
        _ => {
            let user_key = user_key(rng);
            writer.map_put(handle, key(at), &user_key, &bytes).unwrap();
            map.insert(user_key, bytes);
        }
    }
    if map.is_empty() {
        model.remove(at);
    }
}

/// How a model's content is read: by a writer, a reader or a snapshot.
pub trait Reads {
    fn get(&mut self, state: State, key: Key<'_>) -> Option<Vec<u8>>;
    fn list(&mut self, state: State, key: Key<'_>) -> Vec<Vec<u8>>;
    fn fetch(&mut self, cursor: &mut Cursor, out: &mut Packed) -> bool;
}

macro_rules! reads {
    ($($of:ty),*) => {$(
        impl Reads for $of {
            fn get(&mut self, state: State, key: Key<'_>) -> Option<Vec<u8>> {
                <$of>::get(self, state, key).unwrap()
            }
            fn list(&mut self, state: State, key: Key<'_>) -> Vec<Vec<u8>> {
                <$of>::list(self, state, key).unwrap()
            }
            fn fetch(&mut self, cursor: &mut Cursor, out: &mut Packed) -> bool {
                <$of>::fetch(self, cursor, out).unwrap()
            }
        }
    )*};
}
reads!(Writer, Reader, Snapshot);

/// Everything of some key groups.
pub fn read_all(from: &mut impl Reads, states: &[State], range: KeyGroupRange) -> Model {
    let mut model = Model::new();
    let mut out = Packed::new(64, 1 << 16);
    for (state, &handle) in states.iter().enumerate() {
        let mut keys: BTreeSet<(u16, Vec<u8>)> = BTreeSet::new();
        let mut cursor = Cursor::keys(handle, range);
        while from.fetch(&mut cursor, &mut out) {
            for key in out.iter() {
                assert!(keys.insert((key.group.0, key.key.to_vec())), "{key:?} came twice");
            }
        }
        for (group, bytes) in keys {
            let at = (state, group, bytes);
            let content = match state {
                VALUE => Content::Value(from.get(handle, key(&at)).expect("a key that a cursor gave")),
                LIST => Content::List(from.list(handle, key(&at))),
                SUM => Content::Sum(sum_of(&from.get(handle, key(&at)).expect("a key that a cursor gave"))),
                _ => {
                    let mut entries = Cursor::entries(handle, key(&at), &MapRange::all());
                    let mut map = BTreeMap::new();
                    while from.fetch(&mut entries, &mut out) {
                        map.extend(out.iter().map(|entry| (entry.user_key.to_vec(), entry.value.to_vec())));
                    }
                    Content::Map(map)
                }
            };
            model.insert(at, content);
        }
    }
    model
}

fn sum_of(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().unwrap())
}

/// Everything that a checkpoint has.
pub fn read_checkpoint(store: &Store, label: u64) -> Model {
    let names = ["value", "list", "sum", "map", "queue"];
    let mut model = Model::new();
    for item in store.iterate(label).unwrap() {
        let item = item.unwrap();
        if item.state.starts_with("alluvium.") {
            // The engine's own.
            continue;
        }
        let state = names.iter().position(|name| *name == item.state).unwrap();
        let at = (state, item.group.0, item.key);
        match state {
            VALUE => drop(model.insert(at, Content::Value(item.value))),
            LIST => {
                let list = frames(&item.value, false).map(|(_, element)| element.to_vec()).collect();
                model.insert(at, Content::List(list));
            }
            SUM => drop(model.insert(at, Content::Sum(sum_of(&item.value)))),
            _ => match model.entry(at).or_insert_with(|| Content::Map(BTreeMap::new())) {
                Content::Map(map) => drop(map.insert(item.user_key.unwrap(), item.value)),
                _ => unreachable!(),
            },
        }
    }
    model
}

/// Says where two models differ, and not all that they have.
pub fn assert_same(found: &Model, wanted: &Model, what: &str) {
    if found == wanted {
        return;
    }
    for at in found.keys().chain(wanted.keys()) {
        let (found, wanted) = (found.get(at), wanted.get(at));
        assert!(found == wanted, "{what}: {at:?}: found {found:?}, wanted {wanted:?}");
    }
}

pub struct World {
    pub directory: tempfile::TempDir,
    pub engine: Engine,
    pub options: StoreOptions,
    store: Option<Store>,
    writers: Vec<Writer>,
    states: Vec<State>,
    live: Model,
    committed: Model,
    /// What is staged, where changes have to be committed.
    touched: BTreeSet<(usize, u16)>,
    /// What recovery finds: what the newest checkpoint or commit had that lasts.
    durable: Model,
    checkpoints: BTreeMap<u64, Model>,
    pending: Vec<(Pending, Model)>,
    snapshots: Vec<(Snapshot, Model)>,
    label: u64,
    rng: Rng,
    pub rollbacks: usize,
    pub redone: usize,
}

impl World {
    pub fn new(seed: u64, options: StoreOptions) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let engine = Engine::open(EngineOptions { memory_budget_bytes: 4 << 20, ..Default::default() }).unwrap();
        let store = Store::create(&engine, directory.path(), options.clone()).unwrap();
        let mut world = Self {
            directory,
            engine,
            options,
            store: None,
            writers: Vec::new(),
            states: Vec::new(),
            live: Model::new(),
            committed: Model::new(),
            touched: BTreeSet::new(),
            durable: Model::new(),
            checkpoints: BTreeMap::new(),
            pending: Vec::new(),
            snapshots: Vec::new(),
            label: 0,
            rng: Rng::new(seed),
            rollbacks: 0,
            redone: 0,
        };
        world.adopt(store);
        world.checkpoint(true);
        world
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn adopt(&mut self, store: Store) {
        self.states = states_of(&store);
        let cut = self.rng.below(GROUPS.into()) as u16;
        let ranges = match cut {
            0 => vec![range()],
            cut => vec![KeyGroupRange::new(0, cut - 1), KeyGroupRange::new(cut, GROUPS - 1)],
        };
        self.writers = ranges.into_iter().map(|range| store.writer(range).unwrap()).collect();
        self.store = Some(store);
    }

    fn logs(&self) -> bool {
        self.options.durability == Durability::Changelog
    }

    pub fn step(&mut self) {
        match self.rng.below(20) {
            0 | 1 => {
                let waits = self.rng.one_in(2);
                self.checkpoint(waits);
            }
            2..=4 => self.roll_back(),
            5 if self.rng.one_in(3) => self.store().compact().unwrap(),
            6 => self.commit(),
            7 if self.rng.one_in(2) => self.reopen(),
            8 => self.check(),
            9 if self.snapshots.len() < 3 => {
                let snapshot = self.store().snapshot().unwrap();
                let model = if self.options.transactional { &self.committed } else { &self.live };
                self.snapshots.push((snapshot, model.clone()));
            }
            10 => self.check_snapshots(),
            11 if self.options.transactional => {
                self.store().abort_transaction().unwrap();
                self.live = self.committed.clone();
                self.touched.clear();
            }
            12 => {
                let at = self.rng.below(self.checkpoints.len());
                let label = *self.checkpoints.keys().nth(at).unwrap();
                // It may be gone.
                drop(self.store().retain(label));
            }
            13 => self.settle(),
            _ => {
                for _ in 0..self.rng.below(150) {
                    let at = self.rng.below(self.writers.len());
                    let touched = change(&mut self.writers[at], &self.states, &mut self.live, &mut self.rng);
                    if self.options.transactional {
                        self.touched.extend(touched);
                    }
                }
                if !self.options.transactional {
                    self.committed = self.live.clone();
                }
            }
        }
    }

    pub fn checkpoint(&mut self, waits: bool) {
        self.label += 1;
        let pending = self.store().barrier(Barrier::new(self.label)).unwrap();
        let model = if self.options.transactional { &self.committed } else { &self.live };
        self.pending.push((pending, model.clone()));
        if waits {
            self.settle();
        }
    }

    /// Waits for the checkpoints that are on their way.
    fn settle(&mut self) {
        for (pending, model) in std::mem::take(&mut self.pending) {
            pending.wait().unwrap();
            self.checkpoints.insert(pending.label(), model.clone());
            // A commit that lasts may be later.
            if !self.logs() {
                self.durable = model;
            }
        }
    }

    fn commit(&mut self) {
        if !self.logs() && !self.options.transactional {
            return;
        }
        let committed = self.store().commit(Commit::default()).unwrap();
        self.committed = self.live.clone();
        self.touched.clear();
        if self.logs() {
            committed.wait().unwrap();
            self.durable = self.live.clone();
        }
    }

    pub fn roll_back(&mut self) {
        if self.rng.one_in(3) {
            self.settle();
        }
        let part = Part::random(&mut self.rng);
        let there = self.store().checkpoints();
        let to = self.rng.pick(&there).label;
        if self.pending.iter().any(|(pending, _)| pending.label() == to) {
            self.settle();
        }
        let outcome = self.store().rollback(&part.scope(&self.states), to);
        let is_staged = |&(state, group): &(usize, u16)| part.has(&(state, group, Vec::new()));
        match outcome {
            Err(Error::Busy { .. }) => {
                assert!(self.touched.iter().any(is_staged), "nothing is staged in {part:?}");
                return;
            }
            // It was subsumed meanwhile, by one that was on its way.
            Err(Error::Checkpoint { .. }) if self.store().checkpoints().iter().all(|info| info.label != to) => return,
            outcome => assert_eq!(outcome.unwrap().label, to),
        }
        let target = self.checkpoints[&to].clone();
        part.roll_back(&mut self.live, &target);
        part.roll_back(&mut self.committed, &target);
        self.rollbacks += 1;
        if self.rng.one_in(2) {
            self.check();
        }
    }

    fn reopen(&mut self) {
        self.settle();
        if self.logs() && self.rng.one_in(2) {
            self.commit();
        }
        self.snapshots.clear();
        let with_checkpoint = self.rng.one_in(2);
        if with_checkpoint {
            if self.options.transactional {
                self.commit();
            }
            self.checkpoint(true);
            self.durable = if self.options.transactional { self.committed.clone() } else { self.live.clone() };
        } else if self.logs() {
            // What was checkpointed after the last commit is found as well; so that the model knows, all is committed.
            self.commit();
        }
        self.writers.clear();
        let store = self.store.take().unwrap();
        if self.rng.one_in(2) {
            store.close().unwrap();
        } else {
            drop(store);
        }
        let store = loop {
            match Store::open(&self.engine, self.directory.path(), self.options.clone()) {
                Err(error) if error.class() == alluvium::Class::Retry => crate::turns::yield_now(),
                opened => break opened.unwrap(),
            }
        };
        self.adopt(store);
        (self.live, self.committed) = (self.durable.clone(), self.durable.clone());
        self.touched.clear();
        self.redone += 1;
        self.check();
    }

    pub fn check(&mut self) {
        let mut found = Model::new();
        for writer in &mut self.writers {
            let range = writer.range();
            found.append(&mut read_all(writer, &self.states, range));
        }
        assert_same(&found, &self.live, "writers");
        let mut reader = self.store().reader();
        assert_same(&read_all(&mut reader, &self.states, range()), &self.live, "reader");
        let mut reader = self.store().reader().committed();
        assert_same(&read_all(&mut reader, &self.states, range()), &self.committed, "committed reader");
    }

    pub fn check_snapshots(&mut self) {
        for (snapshot, model) in &mut self.snapshots {
            assert_same(&read_all(snapshot, &self.states, range()), model, "snapshot");
        }
        if self.rng.one_in(2) {
            self.snapshots.clear();
        }
    }

    pub fn check_checkpoints(&mut self) {
        self.settle();
        for info in self.store().checkpoints() {
            let found = read_checkpoint(self.store(), info.label);
            assert_same(&found, &self.checkpoints[&info.label], &format!("checkpoint {}", info.label));
        }
    }
}
