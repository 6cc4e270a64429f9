//! Cursors beside a model: through memory and disk, by writers and readers, while the store changes, is flushed, evicted,
//! merged and opened again.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

#[path = "model/rng.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod rng;

#[path = "support/turns.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod turns;

use alluvium::{
    Barrier, Cursor, Engine, EngineOptions, Key, KeyGroup, KeyGroupRange, MapRange, MergeOperator, Packed, Reader,
    State, StateKind, StateOptions, Store, StoreOptions, Ttl, Writer,
};
use rng::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::path::Path;
use turns::in_turns;

const TTL_MS: u64 = 500;
const GROUPS: u16 = 6;

/// Key group, key, namespace.
type Address = (u16, Vec<u8>, Vec<u8>);

/// What a state holds at an address: when each of its elements (or its one value) expires.
#[derive(Clone, Default, Debug)]
struct Content {
    plain: Vec<u64>,
    entries: BTreeMap<Vec<u8>, (Vec<u8>, u64)>,
}

impl Content {
    fn lives(&self, now_ms: u64) -> bool {
        self.plain.iter().any(|&at| at > now_ms) || self.entries.values().any(|(_, at)| *at > now_ms)
    }
}

struct Kept {
    name: &'static str,
    kind: StateKind,
    ttl: Option<Ttl>,
    content: BTreeMap<Address, Content>,
}

struct World {
    engine: Engine,
    store: Option<Store>,
    writer: Option<Writer>,
    reader: Option<Reader>,
    states: Vec<State>,
    kept: Vec<Kept>,
    now_ms: u64,
    label: u64,
    rng: Rng,
    /// What appeared and what went since the walk began: (state, address).
    appeared: BTreeSet<(usize, Address)>,
    gone: BTreeSet<(usize, Address)>,
}

fn kept(name: &'static str, kind: StateKind, ttl: bool) -> Kept {
    let ttl = ttl.then_some(Ttl { duration_ms: TTL_MS, refresh_on_read: false });
    Kept { name, kind, ttl, content: BTreeMap::new() }
}

impl World {
    fn new(path: &Path, seed: u64) -> Self {
        let options = EngineOptions { memory_budget_bytes: 4 << 20, ..Default::default() };
        let engine = Engine::open(options).unwrap();
        let store_options = StoreOptions { key_groups: 16, range: KeyGroupRange::new(0, 15), ..Default::default() };
        let store = Store::create(&engine, path, store_options).unwrap();
        let kept = vec![
            kept("value", StateKind::Value, false),
            kept("value-ttl", StateKind::Value, true),
            kept("list", StateKind::List, false),
            kept("list-ttl", StateKind::List, true),
            kept("sum", StateKind::Merging, false),
            kept("sum-ttl", StateKind::Merging, true),
            kept("map", StateKind::Map, false),
            kept("map-ttl", StateKind::Map, true),
        ];
        let mut world = Self {
            engine,
            store: None,
            writer: None,
            reader: None,
            states: Vec::new(),
            kept,
            now_ms: 1_000,
            label: 0,
            rng: Rng::new(seed),
            appeared: BTreeSet::new(),
            gone: BTreeSet::new(),
        };
        world.adopt(store);
        world
    }

    fn adopt(&mut self, store: Store) {
        let register = |kept: &Kept| {
            let options = match kept.kind {
                StateKind::Value => StateOptions::value(kept.name),
                StateKind::List => StateOptions::list(kept.name),
                StateKind::Merging => StateOptions::merging(kept.name, MergeOperator::U64Add),
                StateKind::Map => StateOptions::map(kept.name),
            };
            store.state(kept.ttl.map_or(options.clone(), |ttl| options.ttl(ttl))).unwrap()
        };
        self.states = self.kept.iter().map(register).collect();
        let mut writer = store.writer(store.range()).unwrap();
        writer.set_time_ms(self.now_ms);
        let reader = store.reader();
        reader.set_time_ms(self.now_ms);
        (self.store, self.writer, self.reader) = (Some(store), Some(writer), Some(reader));
    }

    fn checkpoint(&mut self) {
        self.label += 1;
        let pending = self.store.as_ref().unwrap().barrier(Barrier::new(self.label)).unwrap();
        if self.rng.one_in(2) {
            pending.wait().unwrap();
        }
    }

    fn again(&mut self, path: &Path) {
        self.label += 1;
        let store = self.store.take().unwrap();
        store.barrier(Barrier::new(self.label)).unwrap().wait().unwrap();
        (self.writer, self.reader) = (None, None);
        store.close().unwrap();
        let store = Store::open(
            &self.engine,
            path,
            StoreOptions { key_groups: 16, range: KeyGroupRange::new(0, 15), ..Default::default() },
        );
        self.adopt(store.unwrap());
    }

    fn address(&mut self) -> Address {
        let rng = &mut self.rng;
        let key = match rng.below(8) {
            0 => vec![7; 300 + rng.below(20)],
            1 => Vec::new(),
            _ => format!("key-{:05}", rng.below(400)).into_bytes(),
        };
        let namespace = [&b""[..], b"w1", b"window-2"][rng.below(3)].to_vec();
        (rng.below(usize::from(GROUPS)) as u16, key, namespace)
    }

    /// Notes what an operation made of an address.
    fn note(&mut self, state: usize, address: &Address, lived: bool) {
        let lives = self.kept[state].content.get(address).is_some_and(|content| content.lives(self.now_ms));
        if lives && !lived {
            self.appeared.insert((state, address.clone()));
        } else if lived && !lives {
            self.gone.insert((state, address.clone()));
        }
    }

    fn operation(&mut self, state: usize, address: &Address, delete: bool) {
        let kept = &mut self.kept[state];
        let content = kept.content.entry(address.clone()).or_default();
        let lived = content.lives(self.now_ms);
        content.plain.retain(|&at| at > self.now_ms);
        let expiry_ms = kept.ttl.map_or(u64::MAX, |ttl| self.now_ms + ttl.duration_ms);
        let (writer, handle) = (self.writer.as_mut().unwrap(), self.states[state]);
        let key = Key::new(KeyGroup(address.0), &address.1).in_namespace(&address.2);
        let filler = vec![self.rng.below(256) as u8; 8 + self.rng.below(400)];
        match (kept.kind, delete) {
            (StateKind::Map, true) if self.rng.one_in(3) => {
                writer.map_clear(handle, key).unwrap();
                content.entries.clear();
            }
            (StateKind::Map, _) => {
                let user_key = format!("u{:03}", self.rng.below(60)).into_bytes();
                if delete {
                    writer.map_delete(handle, key, &user_key).unwrap();
                    content.entries.remove(&user_key);
                } else {
                    writer.map_put(handle, key, &user_key, &filler).unwrap();
                    content.entries.insert(user_key, (filler, expiry_ms));
                }
            }
            (_, true) => {
                writer.delete(handle, key).unwrap();
                content.plain.clear();
            }
            (StateKind::Value, _) => {
                writer.put(handle, key, &filler).unwrap();
                content.plain = vec![expiry_ms];
            }
            (StateKind::List, _) => {
                writer.append(handle, key, &filler).unwrap();
                content.plain.push(expiry_ms);
            }
            (StateKind::Merging, _) => {
                writer.merge(handle, key, &1_u64.to_le_bytes()).unwrap();
                content.plain = vec![expiry_ms];
            }
        }
        self.note(state, address, lived);
    }

    fn change(&mut self, path: &Path, steps: usize) {
        for _ in 0..steps {
            let state = self.rng.below(self.kept.len());
            let address = self.address();
            let delete = self.rng.one_in(3);
            self.operation(state, &address, delete);
        }
        match self.rng.below(12) {
            0 => self.checkpoint(),
            1 if self.rng.one_in(6) => self.again(path),
            2 if self.rng.one_in(4) => self.store.as_ref().unwrap().compact().unwrap(),
            3 => self.tick(),
            _ => {}
        }
    }

    fn tick(&mut self) {
        let before: Vec<(usize, Address)> = self.living();
        self.now_ms += self.rng.below(TTL_MS as usize / 2) as u64;
        self.writer.as_mut().unwrap().set_time_ms(self.now_ms);
        self.reader.as_ref().unwrap().set_time_ms(self.now_ms);
        let after: BTreeSet<(usize, Address)> = self.living().into_iter().collect();
        self.gone.extend(before.into_iter().filter(|at| !after.contains(at)));
    }

    fn living(&self) -> Vec<(usize, Address)> {
        let of = |(state, kept): (usize, &Kept)| {
            let live = kept.content.iter().filter(|(_, content)| content.lives(self.now_ms));
            live.map(|(address, _)| (state, address.clone())).collect::<Vec<_>>()
        };
        self.kept.iter().enumerate().flat_map(of).collect()
    }

    fn fetch(&mut self, cursor: &mut Cursor, by_reader: bool, out: &mut Packed) -> bool {
        match by_reader {
            true => self.reader.as_ref().unwrap().fetch(cursor, out).unwrap(),
            false => self.writer.as_mut().unwrap().fetch(cursor, out).unwrap(),
        }
    }
}

/// Which keys a walk is to find, and what they are called in its batches.
#[derive(Clone, Copy, Debug)]
enum Which {
    Keys,
    OfNamespace,
    Pairs,
}

const NAMESPACE: &[u8] = b"w1";

impl Which {
    fn cursor(self, state: State, range: KeyGroupRange) -> Cursor {
        match self {
            Self::Keys => Cursor::keys(state, range),
            Self::OfNamespace => Cursor::keys_in_namespace(state, range, NAMESPACE),
            Self::Pairs => Cursor::keys_and_namespaces(state, range),
        }
    }

    /// What the walk gives for an address.
    fn found_as(self, (group, key, namespace): &Address) -> Option<Address> {
        match self {
            Self::Keys => Some((*group, key.clone(), Vec::new())),
            Self::OfNamespace => (namespace == NAMESPACE).then(|| (*group, key.clone(), namespace.clone())),
            Self::Pairs => Some((*group, key.clone(), namespace.clone())),
        }
    }
}

/// Goes through the keys of a state while the store changes `steps` times between two batches.
fn walk_keys(world: &mut World, steps: usize) {
    let state = world.rng.below(world.kept.len());
    let which = *world.rng.pick(&[Which::Keys, Which::OfNamespace, Which::Pairs]);
    let by_reader = world.rng.one_in(2);
    let first = world.rng.below(3) as u16;
    let range = KeyGroupRange::new(first, first + world.rng.below(usize::from(GROUPS)) as u16);
    world.appeared.clear();
    world.gone.clear();
    let wanted = |all: Vec<(usize, Address)>| -> BTreeSet<Address> {
        let of = |(of, address): (usize, Address)| {
            (of == state && range.contains(KeyGroup(address.0))).then(|| which.found_as(&address)).flatten()
        };
        all.into_iter().filter_map(of).collect()
    };
    let before = wanted(world.living());
    let mut cursor = which.cursor(world.states[state], range);
    let mut out = Packed::new(1 + world.rng.below(200), 1 << 20);
    let mut found = BTreeSet::new();
    while world.fetch(&mut cursor, by_reader, &mut out) {
        let now = wanted(world.living());
        for record in out.iter() {
            let address = (record.group.0, record.key.to_vec(), record.namespace.to_vec());
            assert!(now.contains(&address), "{which:?}: {address:?} is not there");
            assert!(found.insert(address.clone()), "{which:?}: {address:?} came twice");
        }
        if steps > 0 {
            for _ in 0..steps {
                let (s, a, d) = (world.rng.below(world.kept.len()), world.address(), world.rng.one_in(2));
                world.operation(s, &a, d);
            }
            match world.rng.below(6) {
                0 => world.checkpoint(),
                1 => world.tick(),
                2 if world.rng.one_in(5) => world.store.as_ref().unwrap().compact().unwrap(),
                _ => {}
            }
        }
    }
    // What some namespace of it kept all the time was there all the time; what went and came back may be missing.
    let gone = wanted(world.gone.iter().cloned().collect());
    let appeared = wanted(world.appeared.iter().cloned().collect());
    for address in before.difference(&gone) {
        assert!(found.contains(address), "{which:?} of {}: {address:?} was not found", world.kept[state].name);
    }
    for address in &found {
        assert!(before.contains(address) || appeared.contains(address), "{which:?}: {address:?} was never there");
    }
}

/// Goes through the entries of a map, which changes meanwhile.
fn walk_entries(world: &mut World, steps: usize) {
    let state = 6 + world.rng.below(2);
    let maps: Vec<Address> = world.kept[state].content.keys().cloned().collect();
    let address = if maps.is_empty() { world.address() } else { world.rng.pick(&maps).clone() };
    let bound = |rng: &mut Rng| match rng.below(3) {
        0 => None,
        n => Some((format!("u{:03}", rng.below(60)).into_bytes(), n == 1)),
    };
    let (from, to) = (bound(&mut world.rng), bound(&mut world.rng));
    let as_bound = |bound: &Option<(Vec<u8>, bool)>| match bound {
        None => Bound::Unbounded,
        Some((key, true)) => Bound::Included(key.clone()),
        Some((key, false)) => Bound::Excluded(key.clone()),
    };
    let (from, to) = (as_bound(&from), as_bound(&to));
    let reverse = world.rng.one_in(2);
    let prefix = [&b""[..], b"u0", b"u03"][world.rng.below(3)];
    let (from_ref, to_ref) = (from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice));
    let range = MapRange { from: from_ref, to: to_ref, prefix, reverse };
    let inside = |user_key: &[u8]| {
        let above = match from_ref {
            Bound::Unbounded => true,
            Bound::Included(from) => user_key >= from,
            Bound::Excluded(from) => user_key > from,
        };
        let below = match to_ref {
            Bound::Unbounded => true,
            Bound::Included(to) => user_key <= to,
            Bound::Excluded(to) => user_key < to,
        };
        above && below && user_key.starts_with(prefix)
    };
    let now = |world: &World| -> BTreeMap<Vec<u8>, Vec<u8>> {
        let content = world.kept[state].content.get(&address);
        let live = content.iter().flat_map(|content| &content.entries);
        let live = live.filter(|(user_key, (_, at))| *at > world.now_ms && inside(user_key));
        live.map(|(user_key, (value, _))| (user_key.clone(), value.clone())).collect()
    };
    let by_reader = world.rng.one_in(2);
    let key = Key::new(KeyGroup(address.0), &address.1).in_namespace(&address.2);
    let mut cursor = Cursor::entries(world.states[state], key, &range);
    let mut out = Packed::new(1 + world.rng.below(20), 1 << 20);
    let mut always = now(world).into_keys().collect::<BTreeSet<_>>();
    let mut found: Vec<Vec<u8>> = Vec::new();
    while world.fetch(&mut cursor, by_reader, &mut out) {
        let there = now(world);
        for record in out.iter() {
            assert_eq!(there.get(record.user_key).map(Vec::as_slice), Some(record.value), "{:?}", record.user_key);
            let in_order = found.last().is_none_or(|last| match reverse {
                true => last.as_slice() > record.user_key,
                false => last.as_slice() < record.user_key,
            });
            assert!(in_order, "{:?} after {:?}", record.user_key, found.last());
            found.push(record.user_key.to_vec());
        }
        for _ in 0..steps {
            let delete = world.rng.one_in(2);
            world.operation(state, &address, delete);
        }
        if steps > 0 && world.rng.one_in(4) {
            world.checkpoint();
        }
        let there = now(world);
        always.retain(|user_key| there.contains_key(user_key));
    }
    let found: BTreeSet<Vec<u8>> = found.into_iter().collect();
    assert!(always.is_subset(&found), "missing {:?}", always.difference(&found).collect::<Vec<_>>());
}

fn run(seed: u64) {
    println!("seed {seed}");
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::new(directory.path(), seed);
    for round in 0..40 {
        let steps = 50 + world.rng.below(400);
        world.change(directory.path(), steps);
        let beside = if round % 2 == 0 { 0 } else { 1 + world.rng.below(30) };
        walk_keys(&mut world, beside);
        for _ in 0..4 {
            let beside = world.rng.below(3);
            walk_entries(&mut world, beside);
        }
    }
}

#[test]
fn cursors_find_what_is_there_and_nothing_else() {
    let from = std::env::var("ALLUVIUM_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let runs = std::env::var("ALLUVIUM_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(6);
    (from..from + runs).for_each(|seed| in_turns(seed, || run(seed)));
}

/// More keys in one key group than a window takes: it is gone through in several, sorted.
#[test]
fn a_large_key_group_is_gone_through_in_parts() {
    const KEYS: u32 = 40_000;
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::open(EngineOptions { memory_budget_bytes: 4 << 20, ..Default::default() }).unwrap();
    let store = Store::create(&engine, directory.path(), StoreOptions::default()).unwrap();
    let state = store.state(StateOptions::value("v")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    for number in 0..KEYS {
        writer.put(state, Key::new(KeyGroup(3), &number.to_be_bytes()), &[1; 40]).unwrap();
        if number == KEYS / 2 {
            store.barrier(Barrier::new(1)).unwrap().wait().unwrap();
        }
    }
    for number in (0..KEYS).step_by(3) {
        writer.delete(state, Key::new(KeyGroup(3), &number.to_be_bytes())).unwrap();
    }
    let wanted: Vec<Vec<u8>> = (0..KEYS).filter(|n| n % 3 != 0).map(|n| n.to_be_bytes().to_vec()).collect();
    let (mut cursor, mut out) = (Cursor::keys(state, store.range()), Packed::default());
    let mut found = Vec::new();
    while writer.fetch(&mut cursor, &mut out).unwrap() {
        found.extend(out.iter().map(|record| record.key.to_vec()));
    }
    assert_eq!(found.len(), wanted.len());
    found.sort();
    assert_eq!(found, wanted);
}

#[test]
fn a_cursor_refuses_what_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::open(EngineOptions::default()).unwrap();
    let options = StoreOptions { range: KeyGroupRange::new(0, 9), ..Default::default() };
    let store = Store::create(&engine, directory.path(), options).unwrap();
    let values = store.state(StateOptions::value("v")).unwrap();
    let mut writer = store.writer(KeyGroupRange::new(0, 4)).unwrap();
    let mut out = Packed::default();
    let mut outside = Cursor::keys(values, KeyGroupRange::new(4, 5));
    assert!(writer.fetch(&mut outside, &mut out).is_err());
    assert!(writer.fetch(&mut outside, &mut out).is_err(), "a failed cursor goes on");
    let mut no_map = Cursor::entries(values, Key::new(KeyGroup(0), b"k"), &MapRange::all());
    assert!(writer.fetch(&mut no_map, &mut out).is_err());
    // A reader may look at key groups that nobody writes.
    assert!(!store.reader().fetch(&mut Cursor::keys(values, store.range()), &mut out).unwrap());
    store.close().unwrap();
    assert!(writer.fetch(&mut Cursor::keys(values, KeyGroupRange::new(0, 4)), &mut out).is_err());
}

/// In memory a map may be two records, its container and what hides the entries that are on disk. Where nothing had left memory they
/// were taken for two keys.
#[test]
fn a_map_that_was_partly_deleted_is_found_once() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::open(EngineOptions::default()).unwrap();
    let store = Store::create(&engine, directory.path(), StoreOptions::default()).unwrap();
    let state = store.state(StateOptions::map("maps")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    let key = |number: &'static [u8; 1]| Key::new(KeyGroup(3), number);
    let numbers: [[u8; 1]; 200] = std::array::from_fn(|number| [number as u8]);
    let numbers: &'static [[u8; 1]; 200] = Box::leak(Box::new(numbers));
    for number in numbers {
        writer.map_put(state, key(number), b"a", b"1").unwrap();
        writer.map_put(state, key(number), b"b", b"2").unwrap();
    }
    store.barrier(Barrier::new(1)).unwrap().wait().unwrap();
    for number in numbers {
        let range = MapRange::between(Bound::Included(b"a"), Bound::Excluded(b"b"));
        writer.map_delete_range(state, key(number), &range).unwrap();
        writer.map_put(state, key(number), b"c", b"3").unwrap();
    }
    for mut cursor in [Cursor::keys(state, store.range()), Cursor::keys_and_namespaces(state, store.range())] {
        let (mut found, mut all) = (Packed::default(), Vec::new());
        while writer.fetch(&mut cursor, &mut found).unwrap() {
            all.extend(found.iter().map(|found| found.key[0]));
        }
        all.sort_unstable();
        assert_eq!(all, (0..200).collect::<Vec<u8>>());
    }
}
