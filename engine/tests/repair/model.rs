//! Events that are small programs, a handler that runs them, and a model of what they come to.

use alluvium::{
    Applying, Cursor, Durability, Engine, EngineOptions, EventId, Handler, HandlerId, History, Key, KeyGroup,
    KeyGroupRange, LogMode, MapRange, MergeOperator, Packed, Result, State, StateOptions, Store, StoreOptions, Writer,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub const GROUPS: u16 = 4;
pub const KEYS: u8 = 5;

/// One step of a program. Keys are bytes; numbers are u64 in eight bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Adds to a number.
    Add(u8, u8),
    /// Copies a number to another key.
    Copy(u8, u8),
    /// Puts a number.
    Put(u8, u8),
    /// Deletes it.
    Delete(u8),
    /// Merges into a sum.
    Merge(u8, u8),
    /// Appends to a list.
    Append(u8, u8),
    /// Puts how long a list is.
    Length(u8, u8),
    /// Puts an entry of a map.
    MapPut(u8, u8, u8),
    /// Puts what an entry of a map holds.
    MapGet(u8, u8, u8),
    /// Puts how many entries a map has.
    Count(u8, u8),
    /// Clears a map.
    Clear(u8),
    /// Deletes an entry.
    MapDelete(u8, u8),
    /// Takes a map's first entry, and puts its user key.
    Pop(u8, u8),
    /// Puts what a sum is.
    Sum(u8, u8),
    /// If a number is above another, puts it at a key, else appends it to a list.
    If(u8, u8, u8),
    /// Puts a drawn number.
    Draw(u8),
}

impl Step {
    pub const KINDS: u8 = 16;

    pub fn new(kind: u8, [a, b, c]: [u8; 3]) -> Self {
        match kind {
            0 => Self::Add(a, b),
            1 => Self::Copy(a, b % KEYS),
            2 => Self::Put(a, b),
            3 => Self::Delete(a),
            4 => Self::Merge(a, b),
            5 => Self::Append(a, b),
            6 => Self::Length(a, b % KEYS),
            7 => Self::MapPut(a, b % KEYS, c),
            8 => Self::MapGet(a, b % KEYS, c % KEYS),
            9 => Self::Count(a, b % KEYS),
            10 => Self::Clear(a),
            11 => Self::MapDelete(a, b % KEYS),
            12 => Self::Pop(a, b % KEYS),
            13 => Self::Sum(a, b % KEYS),
            14 => Self::If(a, b, c % KEYS),
            _ => Self::Draw(a),
        }
    }

    fn encode(self) -> [u8; 4] {
        match self {
            Self::Add(a, b) => [0, a, b, 0],
            Self::Copy(a, b) => [1, a, b, 0],
            Self::Put(a, b) => [2, a, b, 0],
            Self::Delete(a) => [3, a, 0, 0],
            Self::Merge(a, b) => [4, a, b, 0],
            Self::Append(a, b) => [5, a, b, 0],
            Self::Length(a, b) => [6, a, b, 0],
            Self::MapPut(a, b, c) => [7, a, b, c],
            Self::MapGet(a, b, c) => [8, a, b, c],
            Self::Count(a, b) => [9, a, b, 0],
            Self::Clear(a) => [10, a, 0, 0],
            Self::MapDelete(a, b) => [11, a, b, 0],
            Self::Pop(a, b) => [12, a, b, 0],
            Self::Sum(a, b) => [13, a, b, 0],
            Self::If(a, b, c) => [14, a, b, c],
            Self::Draw(a) => [15, a, 0, 0],
        }
    }
}

/// An event: its group, its id and its program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    pub group: u16,
    pub id: EventId,
    pub steps: Vec<Step>,
    /// What it drew, once it was applied.
    pub drawn: Vec<u64>,
}

impl Event {
    pub fn bytes(&self) -> Vec<u8> {
        self.steps.iter().flat_map(|step| step.encode()).collect()
    }
}

#[derive(Clone, Copy, Debug)]
pub struct States {
    pub numbers: State,
    pub sums: State,
    pub lists: State,
    pub maps: State,
}

#[derive(Debug)]
pub struct Programs {
    pub states: States,
    pub draws: AtomicU64,
}

fn number(value: Option<Vec<u8>>) -> u64 {
    value.map_or(0, |value| u64::from_le_bytes(value.try_into().unwrap()))
}

impl Handler for Programs {
    fn name(&self) -> &str {
        "programs"
    }

    fn version(&self) -> u32 {
        1
    }

    fn apply(&self, event: &[u8], applying: &mut Applying<'_>) -> Result<()> {
        for step in event.chunks_exact(4) {
            self.step(Step::new(step[0], [step[1], step[2], step[3]]), applying)?;
        }
        Ok(())
    }
}

impl Programs {
    fn step(&self, step: Step, applying: &mut Applying<'_>) -> Result<()> {
        let States { numbers, sums, lists, maps } = self.states;
        let group = applying.group();
        let names: Vec<[u8; 1]> = (0..=255).map(|byte| [byte]).collect();
        let key = |at: u8| Key::new(group, &names[usize::from(at)]);
        let word = |n: u64| n.to_le_bytes();
        match step {
            Step::Add(a, n) => applying
                .update(numbers, key(a), |old| Some((number(old.map(<[u8]>::to_vec)) + u64::from(n)).to_le_bytes())),
            Step::Copy(a, b) => {
                let value = number(applying.get(numbers, key(a))?);
                applying.put(numbers, key(b), &word(value))
            }
            Step::Put(a, n) => applying.put(numbers, key(a), &word(n.into())),
            Step::Delete(a) => applying.delete(numbers, key(a)),
            Step::Merge(a, n) => applying.merge(sums, key(a), &word(n.into())),
            Step::Append(a, n) => applying.append(lists, key(a), &[n]),
            Step::Length(a, b) => {
                let length = applying.list(lists, key(a))?.len();
                applying.put(numbers, key(b), &word(length as u64))
            }
            Step::MapPut(a, user_key, n) => applying.map_put(maps, key(a), &[user_key], &[n]),
            Step::MapGet(a, user_key, b) => {
                let found = applying.map_get(maps, key(a), &[user_key])?;
                applying.put(numbers, key(b), &word(found.map_or(1_000, |found| found[0].into())))
            }
            Step::Count(a, b) => {
                let mut count = 0;
                applying.map_scan(maps, key(a), &MapRange::all(), |_, _| {
                    count += 1;
                    ControlFlow::Continue(())
                })?;
                applying.put(numbers, key(b), &word(count))
            }
            Step::Clear(a) => applying.map_clear(maps, key(a)),
            Step::MapDelete(a, user_key) => applying.map_delete(maps, key(a), &[user_key]),
            Step::Pop(a, b) => {
                let popped = applying.map_pop_first(maps, key(a))?;
                applying.put(numbers, key(b), &word(popped.map_or(2_000, |(user_key, _)| user_key[0].into())))
            }
            Step::Sum(a, b) => {
                let sum = number(applying.get(sums, key(a))?);
                applying.put(numbers, key(b), &word(sum))
            }
            Step::If(a, n, b) => {
                let value = number(applying.get(numbers, key(a))?);
                if value > n.into() {
                    applying.put(numbers, key(b), &word(value))
                } else {
                    applying.append(lists, key(b), &[n])
                }
            }
            Step::Draw(a) => {
                let drawn = applying.determinant(&mut |out| {
                    out.extend_from_slice(&self.draws.fetch_add(1, Ordering::Relaxed).to_le_bytes());
                })?;
                applying.put(numbers, key(a), &drawn)
            }
        }
    }
}

/// What a group holds.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Content {
    pub numbers: BTreeMap<u8, u64>,
    pub sums: BTreeMap<u8, u64>,
    pub lists: BTreeMap<u8, Vec<u8>>,
    pub maps: BTreeMap<u8, BTreeMap<u8, u8>>,
}

/// A place that a step reads or writes: its kind, key, and user key.
pub type Place = (u8, u8, Option<u8>);

/// What an event read, wrote over without reading, and wrote at all.
#[derive(Default)]
pub struct Touched {
    pub reads: BTreeSet<Place>,
    pub overwrites: BTreeSet<Place>,
    pub writes: BTreeSet<Place>,
}

impl Content {
    pub fn apply(&mut self, event: &Event) -> Touched {
        let (mut touched, mut drawn) = (Touched::default(), event.drawn.iter());
        for step in &event.steps {
            self.step(*step, &mut drawn, &mut touched);
        }
        touched
    }

    fn put(&mut self, touched: &mut Touched, key: u8, n: u64) {
        self.numbers.insert(key, n);
        touched.overwrites.insert((0, key, None));
        touched.writes.insert((0, key, None));
    }

    fn map_step(&mut self, step: Step, touched: &mut Touched) {
        let entries = |content: &Self, a: u8| -> Vec<u8> {
            content.maps.get(&a).map_or(Vec::new(), |map| map.keys().copied().collect())
        };
        match step {
            Step::MapPut(a, user_key, n) => {
                touched.overwrites.insert((3, a, Some(user_key)));
                touched.writes.insert((3, a, Some(user_key)));
                self.maps.entry(a).or_default().insert(user_key, n);
            }
            Step::MapGet(a, user_key, b) => {
                touched.reads.insert((3, a, Some(user_key)));
                let found = self.maps.get(&a).and_then(|map| map.get(&user_key)).map_or(1_000, |n| u64::from(*n));
                self.put(touched, b, found);
            }
            Step::Count(a, b) => {
                touched.reads.extend((0..KEYS).map(|user_key| (3, a, Some(user_key))));
                let count = entries(self, a).len();
                self.put(touched, b, count as u64);
            }
            Step::Clear(a) => {
                touched.writes.extend((0..KEYS).map(|user_key| (3, a, Some(user_key))));
                self.maps.remove(&a);
            }
            Step::MapDelete(a, user_key) => {
                touched.overwrites.insert((3, a, Some(user_key)));
                touched.writes.insert((3, a, Some(user_key)));
                self.maps.entry(a).or_default().remove(&user_key);
            }
            Step::Pop(a, b) => {
                touched.reads.extend((0..KEYS).map(|user_key| (3, a, Some(user_key))));
                let first = entries(self, a).first().copied();
                if let Some(first) = first {
                    touched.writes.insert((3, a, Some(first)));
                    self.maps.entry(a).or_default().remove(&first);
                }
                self.put(touched, b, first.map_or(2_000, u64::from));
            }
            _ => {}
        }
    }

    fn step<'a>(&mut self, step: Step, drawn: &mut impl Iterator<Item = &'a u64>, touched: &mut Touched) {
        match step {
            Step::Add(a, n) => {
                touched.reads.insert((0, a, None));
                touched.writes.insert((0, a, None));
                *self.numbers.entry(a).or_default() += u64::from(n);
            }
            Step::Copy(a, b) => {
                touched.reads.insert((0, a, None));
                let value = self.numbers.get(&a).copied().unwrap_or(0);
                self.put(touched, b, value);
            }
            Step::Put(a, n) => self.put(touched, a, n.into()),
            Step::Delete(a) => {
                self.numbers.remove(&a);
                touched.overwrites.insert((0, a, None));
                touched.writes.insert((0, a, None));
            }
            Step::Merge(a, n) => {
                touched.writes.insert((1, a, None));
                *self.sums.entry(a).or_default() += u64::from(n);
            }
            Step::Append(a, n) => {
                touched.writes.insert((2, a, None));
                self.lists.entry(a).or_default().push(n);
            }
            Step::Length(a, b) => {
                touched.reads.insert((2, a, None));
                let length = self.lists.get(&a).map_or(0, Vec::len);
                self.put(touched, b, length as u64);
            }
            Step::Sum(a, b) => {
                touched.reads.insert((1, a, None));
                let sum = self.sums.get(&a).copied().unwrap_or(0);
                self.put(touched, b, sum);
            }
            Step::If(a, n, b) => {
                touched.reads.insert((0, a, None));
                let value = self.numbers.get(&a).copied().unwrap_or(0);
                if value > n.into() {
                    self.put(touched, b, value);
                } else {
                    touched.writes.insert((2, b, None));
                    self.lists.entry(b).or_default().push(n);
                }
            }
            Step::Draw(a) => self.put(touched, a, drawn.next().copied().unwrap()),
            step => self.map_step(step, touched),
        }
        self.maps.retain(|_, map| !map.is_empty());
    }
}

/// A store with the handler, and the model beside it.
pub struct World {
    pub store: Store,
    pub writer: Writer,
    pub handler: HandlerId,
    pub programs: Arc<Programs>,
}

pub fn options(checkpoints: usize) -> StoreOptions {
    StoreOptions {
        key_groups: GROUPS.into(),
        range: KeyGroupRange::new(0, GROUPS - 1),
        durability: Durability::Changelog,
        history: History { checkpoints },
        ..StoreOptions::default()
    }
}

pub fn engine() -> Engine {
    Engine::open(EngineOptions { memory_budget_bytes: 16 << 20, ..EngineOptions::default() }).unwrap()
}

impl World {
    pub fn open(engine: &Engine, path: &Path, draws: u64, checkpoints: usize) -> Self {
        Self::over(Store::open_or_create(engine, path, options(checkpoints)).unwrap(), draws)
    }

    /// Of a store that is open.
    pub fn over(store: Store, draws: u64) -> Self {
        let traced = |options: StateOptions| store.state(options.log(LogMode::Event).traced()).unwrap();
        let states = States {
            numbers: traced(StateOptions::value("numbers")),
            sums: traced(StateOptions::merging("sums", MergeOperator::U64Add)),
            lists: traced(StateOptions::list("lists")),
            maps: traced(StateOptions::map("maps")),
        };
        let programs = Arc::new(Programs { states, draws: AtomicU64::new(draws) });
        let handler = store.handler(Arc::clone(&programs) as Arc<dyn Handler>).unwrap();
        let writer = store.writer(store.range()).unwrap();
        Self { store, writer, handler, programs }
    }

    /// Applies an event, and notes what it drew.
    pub fn apply(&mut self, event: &mut Event) {
        let first = self.programs.draws.load(Ordering::Relaxed);
        let applied = self.writer.apply_event_once(self.handler, KeyGroup(event.group), event.id, &event.bytes());
        assert!(applied.unwrap(), "applied before: {event:?}");
        event.drawn = (first..self.programs.draws.load(Ordering::Relaxed)).collect();
    }

    /// All that a group holds.
    pub fn content(&mut self, group: u16) -> Content {
        let mut content = Content::default();
        let States { numbers, sums, lists, maps } = self.programs.states;
        let group = KeyGroup(group);
        for (state, out) in [(numbers, &mut content.numbers), (sums, &mut content.sums)] {
            for name in self.keys(state, group) {
                let value = self.writer.get(state, Key::new(group, &[name])).unwrap();
                out.insert(name, number(value));
            }
        }
        for name in self.keys(lists, group) {
            let elements = self.writer.list(lists, Key::new(group, &[name])).unwrap();
            content.lists.insert(name, elements.concat());
        }
        for name in self.keys(maps, group) {
            let mut entries = BTreeMap::new();
            let visit = |user_key: &[u8], value: &[u8]| {
                entries.insert(user_key[0], value[0]);
                ControlFlow::Continue(())
            };
            self.writer.map_scan(maps, Key::new(group, &[name]), &MapRange::all(), visit).unwrap();
            content.maps.insert(name, entries);
        }
        content
    }

    /// All that was committed of a group.
    pub fn committed(&self, group: u16) -> Content {
        let (reader, mut content) = (self.store.reader().committed(), Content::default());
        let States { numbers, sums, lists, maps } = self.programs.states;
        let range = KeyGroupRange::new(group, group);
        let keys = |state: State| {
            let (mut cursor, mut batch, mut names) = (Cursor::keys(state, range), Packed::default(), Vec::new());
            while reader.fetch(&mut cursor, &mut batch).unwrap() {
                names.extend(batch.iter().map(|record| record.key.to_vec()));
            }
            names
        };
        for (state, out) in [(numbers, &mut content.numbers), (sums, &mut content.sums)] {
            out.extend(
                keys(state)
                    .into_iter()
                    .map(|name| (name[0], number(reader.get(state, Key::new(KeyGroup(group), &name)).unwrap()))),
            );
        }
        for name in keys(lists) {
            content.lists.insert(name[0], reader.list(lists, Key::new(KeyGroup(group), &name)).unwrap().concat());
        }
        for name in keys(maps) {
            let (key, mut batch) = (Key::new(KeyGroup(group), &name), Packed::default());
            let (mut cursor, entries) = (Cursor::entries(maps, key, &MapRange::all()), content.maps.entry(name[0]));
            let entries = entries.or_default();
            while reader.fetch(&mut cursor, &mut batch).unwrap() {
                entries.extend(batch.iter().map(|entry| (entry.user_key[0], entry.value[0])));
            }
        }
        content
    }

    fn keys(&mut self, state: State, group: KeyGroup) -> Vec<u8> {
        let (mut cursor, mut batch) = (Cursor::keys(state, KeyGroupRange::new(group.0, group.0)), Packed::default());
        let mut names = Vec::new();
        while self.writer.fetch(&mut cursor, &mut batch).unwrap() {
            names.extend(batch.iter().map(|record| record.key[0]));
        }
        names
    }
}

/// What the events come to, without the bad ones.
pub fn fold(events: &[Event], bad: &BTreeSet<EventId>) -> Vec<Content> {
    let mut contents = vec![Content::default(); GROUPS.into()];
    for event in events.iter().filter(|event| !bad.contains(&event.id)) {
        contents[usize::from(event.group)].apply(event);
    }
    contents
}
