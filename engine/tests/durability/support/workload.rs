//! A seeded workload and the model that says what its state is after any number of steps.
//!
//! Each step follows from the seed and its number alone, so a process that continues from a checkpoint does what the
//! killed one would have done, and the contents of the checkpoint labelled `n` are what `n` steps make of nothing.

use alluvium::states::{frame, frames};
use alluvium::{
    Barrier, CheckpointInfo, Convert, Engine, EngineOptions, Key, KeyGroup, KeyGroupRange, MapRange, MergeOperator,
    State, StateOptions, StorageChoice, Store, StoreOptions, Writer,
};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Deterministic numbers (splitmix64).
#[derive(Clone, Debug)]
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// What a workload looks like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    pub seed: u64,
    pub steps: u64,
    /// A barrier each so many steps.
    pub every: u64,
    pub keys: u64,
    pub value_bytes_max: u64,
    /// Whether each checkpoint is waited for before the next step.
    pub waits: bool,
    /// A state is migrated each so many steps; 0 for never.
    pub migrates: u64,
}

impl Plan {
    /// As one word, for an environment variable.
    pub fn to_word(self) -> String {
        let Self { seed, steps, every, keys, value_bytes_max, waits, migrates } = self;
        format!("{seed},{steps},{every},{keys},{value_bytes_max},{},{migrates}", u64::from(waits))
    }

    pub fn from_word(word: &str) -> Self {
        let parts: Vec<u64> = word.split(',').map(|part| part.parse().unwrap()).collect();
        let [seed, steps, every, keys, value_bytes_max, waits, migrates] = parts[..] else { panic!("no plan: {word}") };
        Self { seed, steps, every, keys, value_bytes_max, waits: waits != 0, migrates }
    }

    /// The migration before step `n`, if there is one: they are numbered on, and go round the states.
    fn migration(self, n: u64) -> Option<u64> {
        (self.migrates > 0 && n > 0 && n.is_multiple_of(self.migrates)).then(|| n / self.migrates)
    }

    fn step(self, n: u64) -> Step {
        let mut rng = Rng(self.seed ^ n.wrapping_mul(0xD6E8_FEB8_6659_FD93));
        let kind = rng.below(100);
        let id = rng.below(self.keys);
        let namespace = if rng.below(3) == 0 { format!("w{}", rng.below(3)).into_bytes() } else { Vec::new() };
        let key = format!("key-{id}").into_bytes();
        let user_key = format!("u{:03}", rng.below(40)).into_bytes();
        // Empty values are legal, so they come up; most are short, some are not.
        let len = if rng.below(4) == 0 { rng.below(self.value_bytes_max + 1) } else { rng.below(40) };
        let value: Vec<u8> = (0..len).map(|_| rng.next() as u8).collect();
        let change = match kind {
            0..35 => Change::Put(value),
            35..42 => Change::Delete,
            42..57 => Change::Append(value),
            57..60 => Change::DeleteList,
            60..78 => Change::MapPut(user_key, value),
            78..84 => Change::MapDelete(user_key),
            84..86 => Change::MapClear,
            86..89 => Change::MapPopFirst,
            89..98 => Change::Merge(rng.next()),
            _ => Change::DeleteSum,
        };
        Step { key, namespace, change }
    }
}

struct Step {
    key: Vec<u8>,
    namespace: Vec<u8>,
    change: Change,
}

enum Change {
    Put(Vec<u8>),
    Delete,
    Append(Vec<u8>),
    DeleteList,
    MapPut(Vec<u8>, Vec<u8>),
    MapDelete(Vec<u8>),
    MapClear,
    MapPopFirst,
    Merge(u64),
    DeleteSum,
}

/// State, key, namespace, user key.
type Place = (String, Vec<u8>, Vec<u8>, Option<Vec<u8>>);
/// Everything in a store; lists in their frames.
pub type Contents = BTreeMap<Place, Vec<u8>>;

/// The state after a number of steps, computed without the engine.
#[derive(Clone, Debug)]
pub struct Model {
    pub plan: Plan,
    pub done: u64,
    pub contents: Contents,
}

impl Model {
    pub fn new(plan: Plan) -> Self {
        Self { plan, done: 0, contents: Contents::new() }
    }

    /// Goes on (or starts again) to the state after `n` steps.
    pub fn at(&mut self, n: u64) -> &Contents {
        if n < self.done {
            *self = Self::new(self.plan);
        }
        while self.done < n {
            if let Some(number) = self.plan.migration(self.done) {
                self.migrate(STATES[number as usize % 4]);
            }
            let step = self.plan.step(self.done);
            self.apply(step);
            self.done += 1;
        }
        &self.contents
    }

    fn migrate(&mut self, migrated: &str) {
        for ((state, ..), value) in self.contents.iter_mut().filter(|((state, ..), _)| state == migrated) {
            let mut out = Vec::new();
            if state == "lists" {
                for (_, element) in frames(value, false) {
                    out.extend_from_slice(frame(element, None).as_bytes());
                    convert("lists", element, &mut out);
                }
            } else {
                convert(state, value, &mut out);
            }
            *value = out;
        }
    }

    fn apply(&mut self, Step { key, namespace, change }: Step) {
        let place =
            |state: &str, user_key: Option<Vec<u8>>| (state.to_owned(), key.clone(), namespace.clone(), user_key);
        let contents = &mut self.contents;
        let first_of = |contents: &Contents| {
            let mut after = contents.range(place("maps", Some(Vec::new()))..);
            after
                .next()
                .map(|(found, _)| found.clone())
                .filter(|found| (found.0.as_str(), &found.1, &found.2) == ("maps", &key, &namespace))
        };
        match change {
            Change::Put(value) => {
                contents.insert(place("values", None), value);
            }
            Change::Delete => {
                contents.remove(&place("values", None));
            }
            Change::Append(element) => {
                let list = contents.entry(place("lists", None)).or_default();
                list.extend_from_slice(frame(&element, None).as_bytes());
                list.extend_from_slice(&element);
            }
            Change::DeleteList => {
                contents.remove(&place("lists", None));
            }
            Change::MapPut(user_key, value) => {
                contents.insert(place("maps", Some(user_key)), value);
            }
            Change::MapDelete(user_key) => {
                contents.remove(&place("maps", Some(user_key)));
            }
            Change::MapClear => {
                while let Some(first) = first_of(contents) {
                    contents.remove(&first);
                }
            }
            Change::MapPopFirst => {
                if let Some(first) = first_of(contents) {
                    contents.remove(&first);
                }
            }
            Change::Merge(number) => {
                let sum = contents.entry(place("sums", None)).or_insert_with(|| vec![0; 8]);
                let old = u64::from_le_bytes(sum[..].try_into().unwrap());
                *sum = old.wrapping_add(number).to_le_bytes().to_vec();
            }
            Change::DeleteSum => {
                contents.remove(&place("sums", None));
            }
        }
    }
}

const STATES: [&str; 4] = ["values", "lists", "maps", "sums"];
/// No run has more migrations.
const MIGRATIONS_MAX: u64 = 100;

/// What a migration does to a value: done twice, or not at all, it shows. Sums of what is converted are what sums are
/// converted to.
fn convert(state: &str, old: &[u8], out: &mut Vec<u8>) {
    if state == "sums" {
        let sum = u64::from_le_bytes(old.try_into().unwrap());
        out.extend_from_slice(&sum.wrapping_mul(3).to_le_bytes());
    } else {
        out.extend(old.iter().map(|byte| byte.wrapping_add(1)));
    }
}

struct Migrating {
    name: String,
    state: &'static str,
}

impl Migrating {
    fn new(number: u64) -> Arc<Self> {
        Arc::new(Self { name: format!("migration {number}"), state: STATES[number as usize % 4] })
    }
}

impl Convert for Migrating {
    fn name(&self) -> &str {
        &self.name
    }

    fn convert(&self, old: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        convert(self.state, old, out);
        Ok(())
    }
}

/// Options with all conversions that the state may be in the middle of.
fn with_conversions(options: StateOptions, state: &str) -> StateOptions {
    let numbers = (0..MIGRATIONS_MAX).filter(|number| STATES[*number as usize % 4] == state);
    numbers.fold(options, |options, number| options.conversion(Migrating::new(number)))
}

/// The store under test, with its states and one writer: of all key groups, or of a part that has its own plan.
pub struct Subject {
    pub store: Store,
    pub writer: Writer,
    range: KeyGroupRange,
    values: State,
    lists: State,
    maps: State,
    sums: State,
}

/// A small engine.
pub fn engine(storage: StorageChoice, budget_bytes: usize) -> Engine {
    engine_of_threads(storage, budget_bytes, 1)
}

/// The same with so many threads.
pub fn engine_of_threads(storage: StorageChoice, budget_bytes: usize, threads: usize) -> Engine {
    Engine::open(EngineOptions { memory_budget_bytes: budget_bytes, threads, storage, ..Default::default() }).unwrap()
}

/// The options of all stores under test.
pub fn store_options() -> StoreOptions {
    StoreOptions {
        key_groups: 16,
        range: KeyGroupRange::new(0, 15),
        retained_checkpoints: 2,
        hash_seed: Some(7),
        ..Default::default()
    }
}

impl Subject {
    pub fn over(store: Store) -> alluvium::Result<Self> {
        let range = store.range();
        Self::over_part(store, range)
    }

    /// The same over a part of the key groups.
    pub fn over_part(store: Store, range: KeyGroupRange) -> alluvium::Result<Self> {
        let values = store.state(with_conversions(StateOptions::value("values"), "values"))?;
        let lists = store.state(with_conversions(StateOptions::list("lists"), "lists"))?;
        let maps = store.state(with_conversions(StateOptions::map("maps"), "maps"))?;
        let sums = StateOptions::merging("sums", MergeOperator::U64Add);
        let sums = store.state(with_conversions(sums, "sums"))?;
        let writer = store.writer(range)?;
        Ok(Self { store, writer, range, values, lists, maps, sums })
    }

    /// The key of a name, in one of this subject's key groups.
    pub fn key<'a>(&self, name: &'a [u8]) -> Key<'a> {
        Self::key_in(&self.store, self.range, name)
    }

    /// The key of a name in a part of a store.
    pub fn key_in<'a>(store: &Store, part: KeyGroupRange, name: &'a [u8]) -> Key<'a> {
        let hashed = store.key(name).group.0 % part.count() as u16;
        Key::new(KeyGroup(part.first() + hashed), name)
    }

    /// Does step `n` of a plan.
    pub fn step(&mut self, plan: Plan, n: u64) -> alluvium::Result<()> {
        if let Some(number) = plan.migration(n) {
            let state = [self.values, self.lists, self.maps, self.sums][number as usize % 4];
            self.store.migrate(state, &number.to_le_bytes(), Migrating::new(number))?;
        }
        let Step { key, namespace, change } = plan.step(n);
        let key = self.key(&key).in_namespace(&namespace);
        let writer = &mut self.writer;
        match change {
            Change::Put(value) => writer.put(self.values, key, &value),
            Change::Delete => writer.delete(self.values, key),
            Change::Append(element) => writer.append(self.lists, key, &element),
            Change::DeleteList => writer.delete(self.lists, key),
            Change::MapPut(user_key, value) => writer.map_put(self.maps, key, &user_key, &value),
            Change::MapDelete(user_key) => writer.map_delete(self.maps, key, &user_key),
            Change::MapClear => writer.map_clear(self.maps, key),
            Change::MapPopFirst => writer.map_pop_first(self.maps, key).map(drop),
            Change::Merge(number) => writer.merge(self.sums, key, &number.to_le_bytes()),
            Change::DeleteSum => writer.delete(self.sums, key),
        }
    }

    /// The map state.
    pub fn maps(&self) -> State {
        self.maps
    }

    /// What a writer reads at a place; lists in their frames.
    pub fn read(&mut self, state: &str, key: Key<'_>, user_key: Option<&[u8]>) -> alluvium::Result<Option<Vec<u8>>> {
        match (state, user_key) {
            ("values", _) => self.writer.get(self.values, key),
            ("sums", _) => self.writer.get(self.sums, key),
            ("maps", Some(user_key)) => self.writer.map_get(self.maps, key, user_key),
            _ => {
                let elements = self.writer.list(self.lists, key)?;
                let framed = elements.iter().map(|element| [frame(element, None).as_bytes(), element].concat());
                Ok(Some(framed.collect::<Vec<_>>().concat()))
            }
        }
    }

    /// The entries of a map, in their order.
    pub fn each_entry(&mut self, key: Key<'_>, mut each: impl FnMut(&[u8], &[u8])) -> alluvium::Result<()> {
        let each = |user_key: &[u8], value: &[u8]| {
            each(user_key, value);
            ControlFlow::Continue(())
        };
        self.writer.map_scan(self.maps, key, &MapRange::all(), each)
    }

    /// The barrier after `n` steps.
    pub fn barrier(n: u64) -> Barrier {
        Barrier { offsets: vec![(store_options().range, offset(n))], metadata: offset(!n), ..Barrier::new(n) }
    }

    /// Compares all that the writer reads, key by key, with the model.
    pub fn check_reads(&mut self, wanted: &Contents, what: &str) {
        type Pair<'a> = (&'a [u8], &'a [u8]);
        let mut maps = BTreeMap::<Pair<'_>, Vec<Pair<'_>>>::new();
        for ((state, name, namespace, user_key), value) in wanted {
            let key = self.key(name).in_namespace(namespace);
            let found = self.read(state, key, user_key.as_deref()).unwrap();
            if let Some(user_key) = user_key {
                maps.entry((name, namespace)).or_default().push((user_key, value));
            }
            assert_eq!(found.as_deref(), Some(&value[..]), "{what}: {state} of {key:?}");
        }
        for ((name, namespace), entries) in maps {
            let key = self.key(name).in_namespace(namespace);
            let mut found = Vec::new();
            self.each_entry(key, |user_key, value| found.push((user_key.to_vec(), value.to_vec()))).unwrap();
            let found: Vec<(&[u8], &[u8])> =
                found.iter().map(|(user_key, value)| (&user_key[..], &value[..])).collect();
            assert_eq!(found, entries, "{what}: map of {key:?}");
        }
    }

    /// Compares what is absent in the model: none of it is there.
    pub fn check_absences(&mut self, plan: Plan, wanted: &Contents, what: &str) {
        for id in 0..plan.keys {
            let name = format!("key-{id}").into_bytes();
            for namespace in [&b""[..], b"w0", b"w1", b"w2"] {
                let key = self.key(&name).in_namespace(namespace);
                let there =
                    |state: &str| wanted.contains_key(&(state.to_owned(), name.clone(), namespace.to_vec(), None));
                assert_eq!(self.writer.get(self.values, key).unwrap().is_some(), there("values"), "{what}: {key:?}");
                assert_eq!(self.writer.get(self.sums, key).unwrap().is_some(), there("sums"), "{what}: {key:?}");
                assert_eq!(!self.writer.list(self.lists, key).unwrap().is_empty(), there("lists"), "{what}: {key:?}");
            }
        }
    }
}

/// The offset (and, inverted, the metadata) that goes with a label.
fn offset(n: u64) -> Vec<u8> {
    n.to_be_bytes().to_vec()
}

/// Everything in a retained checkpoint.
pub fn contents_of(store: &Store, label: u64) -> alluvium::Result<Contents> {
    let place = |item: alluvium::checkpoint::Item| ((item.state, item.key, item.namespace, item.user_key), item.value);
    store.iterate(label)?.map(|item| item.map(place)).collect()
}

/// Compares all that a store holds with the model: each retained checkpoint as a whole, then all reads.
pub fn check_store(plan: Plan, model: &mut Model, subject: &mut Subject, what: &str) -> CheckpointInfo {
    let restored = subject.store.restored().cloned().expect("the store was opened at a checkpoint");
    for info in subject.store.checkpoints() {
        let Ok(found) = contents_of(&subject.store, info.label) else { panic!("{what}: checkpoint {}", info.label) };
        let mut older = Model::new(plan);
        let wanted = if info.label == restored.label { model.at(info.label) } else { older.at(info.label) };
        assert_same(&found, wanted, &format!("{what}: checkpoint {}", info.label));
        assert_eq!(info.offsets, [(subject.store.range(), offset(info.label))], "{what}");
        assert_eq!(info.metadata, offset(!info.label), "{what}");
    }
    let wanted = model.at(restored.label).clone();
    subject.check_reads(&wanted, what);
    subject.check_absences(plan, &wanted, what);
    restored
}

/// Fails with the first difference, not with both whole contents.
pub fn assert_same(found: &Contents, wanted: &Contents, what: &str) {
    if found == wanted {
        return;
    }
    let missing = wanted.iter().find(|&(place, value)| found.get(place) != Some(value));
    let extra = found.iter().find(|&(place, value)| wanted.get(place) != Some(value));
    panic!("{what}: wanted {missing:?}, found {extra:?}; {} and {} places", wanted.len(), found.len());
}
