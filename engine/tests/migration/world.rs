//! A store whose states are migrated again and again, beside a model of what it holds.
//!
//! A value of schema `n` is a row of items, each of `2 + n` bytes: `n`, and then `n + 1` times the same byte. The conversion
//! from `n` to `n + 1` takes nothing else, so a value that goes through one twice, or past one, is found out.

use crate::rng::Rng;
use alluvium::{
    Barrier, CheckpointSource, Class, Convert, Engine, EngineOptions, Error, Key, KeyGroupRange, MapRange, Merge,
    MergeOperator, Snapshot, State, StateOptions, Store, StoreOptions, Ttl, Writer,
};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

pub const KEY_GROUPS: u32 = 8;
pub const TTL_MS: u64 = 1_000;
const NAMES: [&str; 8] = ["values", "lists", "maps", "texts", "values-x", "lists-x", "maps-x", "texts-x"];
/// Conversions are called by the schema that they take; no run migrates a state more often.
const SCHEMAS: [&str; 12] = [
    "from-0", "from-1", "from-2", "from-3", "from-4", "from-5", "from-6", "from-7", "from-8", "from-9", "from-a",
    "from-b",
];

/// The conversion from a schema to the next.
pub struct From(pub usize);

impl Convert for From {
    fn name(&self) -> &str {
        SCHEMAS[self.0]
    }

    fn convert(&self, old: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        let Self(schema) = *self;
        for item in old.chunks(2 + schema) {
            let right = item.len() == 2 + schema && usize::from(item[0]) == schema;
            if !right || item[1..].iter().any(|byte| *byte != item[1]) {
                return Err(format!("{item:?} is not of schema {schema}"));
            }
            out.push(schema as u8 + 1);
            out.resize(out.len() + schema + 2, item[1]);
        }
        Ok(())
    }
}

pub fn encoded(schema: usize, items: &[u8]) -> Vec<u8> {
    let item = |byte: &u8| std::iter::once(schema as u8).chain(std::iter::repeat_n(*byte, schema + 1));
    items.iter().flat_map(item).collect()
}

/// Puts one operand behind the other.
struct Concatenate;

impl Merge for Concatenate {
    fn name(&self) -> &str {
        "concatenate"
    }

    fn merge(&self, older: &[u8], newer: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(older);
        out.extend_from_slice(newer);
    }
}

pub fn options_of(state: usize) -> StateOptions {
    let name = NAMES[state];
    let options = match state % 4 {
        0 => StateOptions::value(name),
        1 => StateOptions::list(name),
        2 => StateOptions::map(name),
        _ => StateOptions::merging(name, MergeOperator::User(Arc::new(Concatenate))),
    };
    if state < 4 { options } else { options.ttl(Ttl { duration_ms: TTL_MS, refresh_on_read: false }) }
}

/// Bytes, and when they expire.
type Expiring = (Vec<u8>, u64);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Of a value or merging state.
    Whole(Expiring),
    List(Vec<Expiring>),
    Map(BTreeMap<u8, Expiring>),
}

#[derive(Clone, Default, Debug)]
pub struct Model {
    pub cells: BTreeMap<(usize, u8), Cell>,
    /// By state.
    pub schemas: [usize; 8],
    pub now_ms: u64,
}

/// What is to be read of a cell: list elements, or the one value; map entries by user key.
type Seen = (Vec<Vec<u8>>, Vec<(Vec<u8>, Vec<u8>)>);

impl Model {
    fn seen(&self, state: usize, key: u8, now_ms: u64) -> Seen {
        let schema = self.schemas[state];
        let live = |(items, at): &Expiring| (*at > now_ms).then(|| encoded(schema, items));
        match self.cells.get(&(state, key)) {
            None => Seen::default(),
            Some(Cell::Whole(value)) => (live(value).into_iter().collect(), Vec::new()),
            Some(Cell::List(elements)) => (elements.iter().filter_map(live).collect(), Vec::new()),
            Some(Cell::Map(entries)) => {
                let entry = |(key, value): (&u8, &Expiring)| Some((vec![*key], live(value)?));
                (Vec::new(), entries.iter().filter_map(entry).collect())
            }
        }
    }
}

pub struct World {
    pub rng: Rng,
    pub engine: Engine,
    pub directory: TempDir,
    pub store: Option<Store>,
    pub writer: Option<Writer>,
    pub states: Vec<State>,
    pub ballast: State,
    pub model: Model,
    /// By label; the last is the newest.
    pub checkpoints: BTreeMap<u64, Model>,
    pub snapshots: Vec<(Snapshot, Model)>,
    label: u64,
    seed: u64,
}

pub fn whole() -> KeyGroupRange {
    KeyGroupRange::new(0, KEY_GROUPS as u16 - 1)
}

fn options(range: KeyGroupRange) -> StoreOptions {
    StoreOptions { key_groups: KEY_GROUPS, range, retained_checkpoints: 3, ..StoreOptions::default() }
}

/// Registers the states; the conversions of all schemas before the ones that they are of, if they are to be brought.
fn register(store: &Store, schemas: &[usize; 8], brings: bool) -> Vec<State> {
    let one = |state: usize| {
        let before = (0..schemas[state]).filter(|_| brings);
        let options = before.fold(options_of(state), |options, schema| options.conversion(Arc::new(From(schema))));
        store.state(options).unwrap()
    };
    (0..8).map(one).collect()
}

impl World {
    pub fn new(seed: u64) -> Self {
        let engine = Engine::open(EngineOptions { memory_budget_bytes: 4 << 20, ..EngineOptions::default() }).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let store = Store::create(&engine, directory.path(), options(whole())).unwrap();
        let states = register(&store, &[0; 8], false);
        let ballast = store.state(StateOptions::value("ballast")).unwrap();
        let mut world = Self {
            rng: Rng::new(seed),
            engine,
            directory,
            store: Some(store),
            writer: None,
            states,
            ballast,
            model: Model { now_ms: 1, ..Model::default() },
            checkpoints: BTreeMap::new(),
            snapshots: Vec::new(),
            label: 0,
            seed,
        };
        world.claim();
        world
    }

    pub fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn claim(&mut self) {
        let mut writer = self.store().writer(whole()).unwrap();
        writer.set_time_ms(self.model.now_ms);
        self.writer = Some(writer);
    }

    pub fn step(&mut self) {
        match self.rng.below(200) {
            0..=1 => self.checkpoint(),
            2 => self.crash(),
            3 => self.close_and_open(),
            4 => self.store().compact().unwrap(),
            5..=6 => self.fill(),
            7..=9 => self.migrate(),
            10 => self.snapshot(),
            11 => self.check_snapshots(),
            12 => self.check_checkpoints(),
            13 if self.rng.one_in(3) => self.rescale(),
            14..=16 => self.check(),
            17..=20 => {
                self.model.now_ms += self.rng.below(300) as u64;
                let now_ms = self.model.now_ms;
                self.writer.as_mut().unwrap().set_time_ms(now_ms);
            }
            _ => self.operate(),
        }
    }

    /// One change of one cell.
    pub fn operate(&mut self) {
        let (state, key) = (self.rng.below(8), self.rng.below(24) as u8);
        let items = vec![self.rng.next() as u8; 1 + self.rng.below(4)];
        let user_key = self.rng.below(6) as u8;
        let schema = self.model.schemas[state];
        let value = encoded(schema, &items);
        let now_ms = self.model.now_ms;
        let expiry_ms = if state < 4 { u64::MAX } else { now_ms + TTL_MS };
        let handle = self.states[state];
        let bytes = [key];
        let at = Key::hashed(KEY_GROUPS, &bytes);
        let writer = self.writer.as_mut().unwrap();
        let cells = &mut self.model.cells;
        let deletes = self.rng.one_in(6);
        match state % 4 {
            2 if self.rng.one_in(15) => {
                writer.map_clear(handle, at).unwrap();
                cells.remove(&(state, key));
            }
            2 if self.rng.one_in(10) => {
                let popped = writer.map_pop_first(handle, at).unwrap();
                let Some(Cell::Map(entries)) = cells.get_mut(&(state, key)) else { return assert_eq!(popped, None) };
                let first = entries.iter().find(|(_, (_, at))| *at > now_ms).map(|(first, _)| *first);
                let first = first.and_then(|first| Some((vec![first], entries.remove(&first)?.0)));
                assert_eq!(popped, first.map(|(first, items)| (first, encoded(schema, &items))), "{}", self.seed);
            }
            2 => {
                let Cell::Map(entries) = cells.entry((state, key)).or_insert(Cell::Map(BTreeMap::new())) else {
                    return;
                };
                if deletes {
                    writer.map_delete(handle, at, &[user_key]).unwrap();
                    entries.remove(&user_key);
                } else {
                    writer.map_put(handle, at, &[user_key], &value).unwrap();
                    entries.insert(user_key, (items, expiry_ms));
                }
            }
            _ if deletes => {
                writer.delete(handle, at).unwrap();
                cells.remove(&(state, key));
            }
            0 => {
                writer.put(handle, at, &value).unwrap();
                cells.insert((state, key), Cell::Whole((items, expiry_ms)));
            }
            1 => {
                writer.append(handle, at, &value).unwrap();
                let Cell::List(elements) = cells.entry((state, key)).or_insert(Cell::List(Vec::new())) else { return };
                elements.push((items, expiry_ms));
            }
            _ => {
                writer.merge(handle, at, &value).unwrap();
                let before = match cells.get(&(state, key)) {
                    Some(Cell::Whole((before, at))) if *at > now_ms => before.clone(),
                    _ => Vec::new(),
                };
                cells.insert((state, key), Cell::Whole(([before, items].concat(), expiry_ms)));
            }
        }
    }

    /// Writes so much else that what is there leaves memory.
    pub fn fill(&mut self) {
        let (writer, ballast) = (self.writer.as_mut().unwrap(), self.ballast);
        for _ in 0..1_500 {
            let key = (self.rng.below(6_000) as u32).to_be_bytes();
            writer.put(ballast, Key::hashed(KEY_GROUPS, &key), &[7; 1_000]).unwrap();
        }
    }

    pub fn migrate(&mut self) {
        let state = self.rng.below(8);
        self.migrate_one(state);
    }

    pub fn migrate_one(&mut self, state: usize) {
        let from = self.model.schemas[state];
        if from + 1 == SCHEMAS.len() {
            return;
        }
        let schema = [from as u8 + 1];
        self.store().migrate(self.states[state], &schema, Arc::new(From(from))).unwrap();
        self.model.schemas[state] += 1;
        assert_eq!(self.store().states()[state].user, schema);
    }

    pub fn checkpoint(&mut self) {
        self.label += 1;
        self.store().barrier(Barrier::new(self.label)).unwrap().wait().unwrap();
        self.checkpoints.insert(self.label, self.model.clone());
    }

    fn forget(&mut self) -> Model {
        self.snapshots.clear();
        self.writer = None;
        let now_ms = self.model.now_ms;
        let last = self.checkpoints.last_key_value().map(|(_, model)| model.clone());
        Model { now_ms, ..last.unwrap_or_default() }
    }

    /// What was not in the last checkpoint is lost, migrations too.
    pub fn crash(&mut self) {
        if self.checkpoints.is_empty() {
            self.checkpoint();
        }
        self.model = self.forget();
        self.store = None;
        self.open();
    }

    pub fn close_and_open(&mut self) {
        self.checkpoint();
        self.model = self.forget();
        self.store.take().unwrap().close().unwrap();
        self.open();
    }

    fn open(&mut self) {
        let (engine, path) = (&self.engine, self.directory.path());
        self.store = Some(Self::patiently(|| Store::open(engine, path, options(whole()))));
        self.register_and_claim();
    }

    /// Tries again while a thread of the engine still holds the directory.
    pub fn patiently(mut open: impl FnMut() -> Result<Store, Error>) -> Store {
        loop {
            match open() {
                Err(error) if error.class() == Class::Retry => crate::turns::sleep(Duration::from_millis(2)),
                store => return store.unwrap(),
            }
        }
    }

    fn register_and_claim(&mut self) {
        let schemas = self.model.schemas;
        self.ballast = self.store().state(StateOptions::value("ballast")).unwrap();
        if self.rng.one_in(2) {
            self.states = register(self.store(), &schemas, false);
            self.claim();
            self.check_without_conversions();
        }
        self.states = register(self.store(), &schemas, true);
        self.claim_again();
        self.check();
    }

    fn claim_again(&mut self) {
        self.writer = None;
        self.claim();
    }

    /// Before the host brings the conversions, values are told as they are to be, or it is said that they can't be.
    fn check_without_conversions(&mut self) {
        for (state, called) in NAMES.into_iter().enumerate() {
            for key in 0..24 {
                match self.read(state, key) {
                    Ok(seen) => assert_eq!(seen, self.model.seen(state, key, self.model.now_ms), "{state} {key}"),
                    Err(Error::Conversion { state: name, .. }) => {
                        assert_eq!(name, called);
                        assert!(self.store().migration(self.states[state]).unwrap().unwrap().obstacle.is_some());
                    }
                    Err(other) => panic!("{other}"),
                }
            }
        }
    }

    fn read(&mut self, state: usize, key: u8) -> Result<Seen, Error> {
        let handle = self.states[state];
        let bytes = [key];
        let at = Key::hashed(KEY_GROUPS, &bytes);
        let writer = self.writer.as_mut().unwrap();
        let mut entries = Vec::new();
        let cells = match state % 4 {
            1 => writer.list(handle, at)?,
            2 => {
                writer.map_scan(handle, at, &MapRange::all(), |user_key, value| {
                    entries.push((user_key.to_vec(), value.to_vec()));
                    ControlFlow::Continue(())
                })?;
                Vec::new()
            }
            _ => writer.get(handle, at)?.into_iter().collect(),
        };
        Ok((cells, entries))
    }

    /// Everything, by a writer, one by one and in batches, and by a reader.
    pub fn check(&mut self) {
        let reader = self.store().reader();
        reader.set_time_ms(self.model.now_ms);
        for (state, name) in NAMES.iter().enumerate() {
            let handle = self.states[state];
            for key in 0..24_u8 {
                let wanted = self.model.seen(state, key, self.model.now_ms);
                let bytes = [key];
                let at = Key::hashed(KEY_GROUPS, &bytes);
                let read = match state % 4 {
                    1 => reader.list(handle, at).unwrap(),
                    2 => Vec::new(),
                    _ => reader.get(handle, at).unwrap().into_iter().collect(),
                };
                assert_eq!(read, wanted.0, "seed {}: reader, {name} {key}", self.seed);
                for user_key in 0..6_u8 {
                    let entry = if state % 4 == 2 { reader.map_get(handle, at, &[user_key]).unwrap() } else { None };
                    let found = wanted.1.iter().find(|(key, _)| *key == [user_key]).map(|(_, value)| value);
                    assert_eq!(entry.as_ref(), found, "seed {}: reader, {name} {key}", self.seed);
                }
                let seen = self.read(state, key).unwrap();
                assert_eq!(seen, wanted, "seed {}: {name} {key}", self.seed);
            }
            if state % 4 == 0 {
                self.check_batch(state);
            }
        }
    }

    fn check_batch(&mut self, state: usize) {
        let names: Vec<[u8; 1]> = (0..24).map(|key| [key]).collect();
        let keys: Vec<Key<'_>> = names.iter().map(|name| Key::hashed(KEY_GROUPS, name)).collect();
        let mut seen = vec![None; keys.len()];
        let handle = self.states[state];
        let writer = self.writer.as_mut().unwrap();
        writer.get_many(handle, &keys, |index, value| seen[index] = value.map(<[u8]>::to_vec)).unwrap();
        for (key, seen) in (0..24).zip(seen) {
            let wanted = self.model.seen(state, key, self.model.now_ms).0;
            assert_eq!(seen.into_iter().collect::<Vec<_>>(), wanted, "seed {}: batch {state} {key}", self.seed);
        }
    }

    fn snapshot(&mut self) {
        let snapshot = self.store().snapshot().unwrap();
        snapshot.set_time_ms(self.model.now_ms);
        self.snapshots.push((snapshot, self.model.clone()));
        if self.snapshots.len() > 3 {
            self.snapshots.remove(0);
        }
    }

    /// A snapshot gives values as they were when it was taken, of the schema of then.
    fn check_snapshots(&self) {
        for (snapshot, model) in &self.snapshots {
            for (state, name) in NAMES.iter().enumerate() {
                for key in 0..24_u8 {
                    let (handle, bytes) = (self.states[state], [key]);
                    let at = Key::hashed(KEY_GROUPS, &bytes);
                    let (cells, entries) = model.seen(state, key, model.now_ms);
                    let read = match state % 4 {
                        1 => snapshot.list(handle, at).unwrap(),
                        2 => Vec::new(),
                        _ => snapshot.get(handle, at).unwrap().into_iter().collect(),
                    };
                    assert_eq!(read, cells, "seed {}: snapshot, {name} {key}", self.seed);
                    for (user_key, value) in entries {
                        assert_eq!(snapshot.map_get(handle, at, &user_key).unwrap(), Some(value), "{}", self.seed);
                    }
                }
            }
        }
    }

    /// A checkpoint has values as they were at its barrier, of the schema of then.
    pub fn check_checkpoints(&self) {
        for info in self.store().checkpoints() {
            let Some(model) = self.checkpoints.get(&info.label) else { continue };
            let mut wanted = BTreeMap::new();
            for (state, key) in model.cells.keys().copied() {
                let (cells, entries) = model.seen(state, key, model.now_ms);
                for value in cells {
                    wanted.entry((state, key, None)).or_insert_with(Vec::new).extend(value);
                }
                for (user_key, value) in entries {
                    wanted.insert((state, key, Some(user_key)), value);
                }
            }
            let mut found = BTreeMap::new();
            for item in self.store().iterate(info.label).unwrap() {
                let item = item.unwrap();
                let Some(state) = NAMES.iter().position(|name| *name == item.state) else { continue };
                let value = if state % 4 == 1 {
                    let frames = alluvium::states::frames(&item.value, state >= 4);
                    frames.flat_map(|(_, element)| element.to_vec()).collect()
                } else {
                    item.value
                };
                found.insert((state, item.key[0], item.user_key), value);
            }
            assert_eq!(found, wanted, "seed {}: checkpoint {}", self.seed, info.label);
        }
    }

    /// One store becomes two, both of which are migrated alike, and one again.
    pub fn rescale(&mut self) {
        self.checkpoint();
        self.model = self.forget();
        self.store.take().unwrap().close().unwrap();
        let half = |first, last| (KeyGroupRange::new(first, last), tempfile::tempdir().unwrap());
        let halves = [half(0, 2), half(3, KEY_GROUPS as u16 - 1)];
        let source = |directory: &TempDir| CheckpointSource { directory: directory.path().to_owned(), label: None };
        let (state, before) = (self.rng.below(8), self.model.schemas);
        let migrates = self.rng.one_in(2) && before[state] + 1 < SCHEMAS.len();
        for (at, (range, directory)) in halves.iter().enumerate() {
            let store = Store::restore(&self.engine, directory.path(), &[source(&self.directory)], options(*range));
            let store = store.unwrap();
            // One of them may be far ahead of the other.
            let handles = register(&store, &before, at == 0 || self.rng.one_in(2));
            if migrates {
                let from = before[state];
                store.migrate(handles[state], &[from as u8 + 1], Arc::new(From(from))).unwrap();
            }
            if at == 0 {
                store.compact().unwrap();
            }
            store.barrier(Barrier::new(self.label)).unwrap().wait().unwrap();
            store.close().unwrap();
        }
        self.model.schemas[state] += usize::from(migrates);
        let directory = tempfile::tempdir().unwrap();
        let sources = [source(&halves[1].1), source(&halves[0].1)];
        let store = Store::restore(&self.engine, directory.path(), &sources, options(whole())).unwrap();
        self.directory = directory;
        self.store = Some(store);
        self.checkpoints.clear();
        self.register_and_claim();
        self.checkpoint();
    }
}
