//! Random histories: crashes, closes and checkpoints at any moment of replaying, with writers and readers of several threads at work meanwhile.

use super::*;
use alluvium::{MapRange, Reader};
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

/// Small and fast: SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (x ^ (x >> 31)) % n
    }
}

const KEYS: u64 = 30;
const USER_KEYS: u64 = 20;

/// What a key group has to have.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
struct Content {
    values: BTreeMap<u8, Vec<u8>>,
    lists: BTreeMap<u8, Vec<Vec<u8>>>,
    maps: BTreeMap<(u8, u8), Vec<u8>>,
    sums: BTreeMap<u8, u64>,
    /// What nobody writes while others read.
    fixed: BTreeMap<u8, Vec<u8>>,
}

type Model = Vec<Content>;

#[derive(Clone, Copy)]
struct States {
    values: State,
    lists: State,
    maps: State,
    sums: State,
    fixed: State,
}

impl States {
    fn of(store: &Store) -> Self {
        let state = |options| store.state(options).unwrap();
        Self {
            values: state(StateOptions::value("values")),
            lists: state(StateOptions::list("lists")),
            maps: state(StateOptions::map("maps")),
            sums: state(StateOptions::merging("sums", MergeOperator::U64Add)),
            fixed: state(StateOptions::value("fixed")),
        }
    }
}

fn bytes(random: &mut Random) -> Vec<u8> {
    // Words take another path.
    let len = if random.below(3) == 0 { 8 } else { random.below(6_000) as usize };
    vec![random.below(256) as u8; len]
}

fn at<'k>(group: u16, key: &'k [u8; 1]) -> Key<'k> {
    Key::new(KeyGroup(group), key)
}

fn change(writer: &mut Writer, states: &States, group: u16, content: &mut Content, random: &mut Random) {
    let (name, user) = (random.below(KEYS) as u8, random.below(USER_KEYS) as u8);
    let (raw, new) = ([name], bytes(random));
    let key = at(group, &raw);
    match random.below(16) {
        0..=4 => {
            writer.put(states.values, key, &new).unwrap();
            content.values.insert(name, new);
        }
        5 => {
            writer.delete(states.values, key).unwrap();
            content.values.remove(&name);
        }
        6 => {
            let expected = content.values.get(&name).cloned();
            writer
                .update(states.values, key, |old| {
                    assert_eq!(old.map(<[u8]>::to_vec), expected, "group {group}, key {name}");
                    Some(new.clone())
                })
                .unwrap();
            content.values.insert(name, new);
        }
        7..=8 => {
            writer.append(states.lists, key, &new).unwrap();
            content.lists.entry(name).or_default().push(new);
        }
        9 => {
            writer.put_list(states.lists, key, &[new.as_slice()]).unwrap();
            content.lists.insert(name, vec![new]);
        }
        10..=11 => {
            writer.map_put(states.maps, key, &[user], &new).unwrap();
            content.maps.insert((name, user), new);
        }
        12 => {
            writer.map_delete(states.maps, key, &[user]).unwrap();
            content.maps.remove(&(name, user));
        }
        13 => {
            let (from, to) = ([user], [user + 5]);
            let range = MapRange::between(Bound::Included(&from), Bound::Excluded(&to));
            writer.map_delete_range(states.maps, key, &range).unwrap();
            content.maps.retain(|(of, at), _| *of != name || !(user..user + 5).contains(at));
        }
        _ => {
            let add = random.below(1 << 40);
            writer.merge(states.sums, key, &add.to_le_bytes()).unwrap();
            *content.sums.entry(name).or_default() += add;
        }
    }
}

fn check_key(writer: &mut Writer, states: &States, group: u16, content: &Content, name: u8) {
    let raw = [name];
    let (key, what) = (at(group, &raw), format!("group {group}, key {name}"));
    assert_eq!(writer.get(states.values, key).unwrap(), content.values.get(&name).cloned(), "{what}");
    assert_eq!(
        writer.list(states.lists, key).unwrap(),
        content.lists.get(&name).cloned().unwrap_or_default(),
        "{what}"
    );
    let sum = content.sums.get(&name).map(|sum| sum.to_le_bytes().to_vec());
    assert_eq!(writer.get(states.sums, key).unwrap(), sum, "{what}");
    let mut found = Vec::new();
    writer
        .map_scan(states.maps, key, &MapRange::all(), |user, value| {
            found.push((user[0], value.to_vec()));
            ControlFlow::Continue(())
        })
        .unwrap();
    let expected = content.maps.range((name, 0)..=(name, u8::MAX)).map(|((_, user), value)| (*user, value.clone()));
    assert!(found.into_iter().eq(expected), "{what}: the map");
    assert_eq!(writer.get(states.fixed, key).unwrap(), content.fixed.get(&name).cloned(), "{what}");
}

fn check_all(store: &Store, states: &States, model: &Model, random: &mut Random) {
    let mut writer = store.writer(store.range()).unwrap();
    let first = random.below(u64::from(GROUPS)) as u16;
    for group in (0..GROUPS).map(|group| (first + group) % GROUPS) {
        for name in 0..KEYS as u8 {
            check_key(&mut writer, states, group, &model[usize::from(group)], name);
        }
    }
    check_walk(store, states, model);
}

/// Everything that a reader comes by.
fn check_walk(store: &Store, states: &States, model: &Model) {
    let (reader, mut packed, mut found) = (store.reader(), Packed::default(), Vec::new());
    let mut cursor = Cursor::keys(states.fixed, store.range());
    while reader.fetch(&mut cursor, &mut packed).unwrap() {
        found.extend(packed.iter().map(|record| (record.group.0, record.key[0])));
    }
    found.sort_unstable();
    let expected = (0..).zip(model).flat_map(|(group, content)| content.fixed.keys().map(move |name| (group, *name)));
    assert!(found.into_iter().eq(expected));
}

/// Reads what nobody writes.
fn read(reader: &Reader, states: &States, model: &Model, random: &mut Random) {
    for _ in 0..60 {
        let (group, name) = (random.below(u64::from(GROUPS)) as u16, [random.below(KEYS) as u8]);
        let expected = model[usize::from(group)].fixed.get(&name[0]).cloned();
        assert_eq!(reader.get(states.fixed, at(group, &name)).unwrap(), expected, "group {group}, key {name:?}");
    }
}

/// Writes to its key groups, and reads them.
fn work(writer: &mut Writer, states: &States, contents: &mut [Content], writes: bool, random: &mut Random) {
    let first = writer.range().first();
    for _ in 0..100 {
        let place = random.below(contents.len() as u64) as usize;
        let (group, content) = (first + place as u16, &mut contents[place]);
        if writes && random.below(2) == 0 {
            change(writer, states, group, content, random);
        } else {
            check_key(writer, states, group, content, random.below(KEYS) as u8);
        }
    }
}

struct World {
    directory: tempfile::TempDir,
    engine: Engine,
    random: Random,
    model: Model,
    /// What was committed, by number.
    commits: BTreeMap<u64, Model>,
    label: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        // So that some of it is spilled while it is replayed.
        let memory_budget_bytes = if random.below(2) == 0 { 6 << 20 } else { 64 << 20 };
        let engine = Engine::open(EngineOptions { memory_budget_bytes, ..EngineOptions::default() }).unwrap();
        let model = vec![Content::default(); usize::from(GROUPS)];
        let commits = BTreeMap::from([(0, model.clone())]);
        Self { directory: tempfile::tempdir().unwrap(), engine, random, model, commits, label: 0 }
    }

    /// The offsets that say what is committed from now on.
    fn offsets(&mut self) -> Vec<(KeyGroupRange, Vec<u8>)> {
        let number = self.commits.keys().last().unwrap() + 1;
        self.commits.insert(number, self.model.clone());
        vec![(KeyGroupRange::new(0, GROUPS - 1), number.to_le_bytes().to_vec())]
    }

    fn commit(&mut self, store: &Store) {
        let offsets = self.offsets();
        store.commit(Commit { offsets, ..Commit::default() }).unwrap().wait().unwrap();
    }

    fn checkpoint(&mut self, store: &Store) {
        self.label += 1;
        let barrier = Barrier { offsets: self.offsets(), ..Barrier::new(self.label) };
        store.barrier(barrier).unwrap().wait().unwrap();
    }

    /// Opens the store at the last commit, which has everything that was committed.
    fn open(&mut self) -> (Store, States) {
        let store = open(&self.engine, self.directory.path(), &options());
        let offsets = store.last_commit().offsets.clone();
        let number = offsets.first().map_or(0, |(_, number)| u64::from_le_bytes(number[..].try_into().unwrap()));
        assert_eq!(number, *self.commits.keys().last().unwrap());
        self.model = self.commits[&number].clone();
        let states = States::of(&store);
        (store, states)
    }

    /// Threads with a range each, and others that read, all at once, while it is being replayed.
    fn work_at_once(&mut self, store: &Store, states: &States, writes: bool) {
        let mut cuts: Vec<u16> = (0..self.random.below(4)).map(|_| 1 + self.random.below(15) as u16).collect();
        cuts.extend([0, GROUPS]);
        cuts.sort_unstable();
        cuts.dedup();
        let (before, mut rest) = (self.model.clone(), &mut self.model[..]);
        println!("  cut at {cuts:?}, writes: {writes}");
        turns::scope(|scope| {
            for cut in cuts.windows(2) {
                let (mine, others) = std::mem::take(&mut rest).split_at_mut(usize::from(cut[1] - cut[0]));
                rest = others;
                let (range, mut random) = (KeyGroupRange::new(cut[0], cut[1] - 1), Random(self.random.below(u64::MAX)));
                scope.spawn(move || {
                    let mut writer = store.writer(range).unwrap();
                    work(&mut writer, states, mine, writes, &mut random);
                });
            }
            for _ in 0..2 {
                let (mut random, before) = (Random(self.random.below(u64::MAX)), &before);
                scope.spawn(move || {
                    let reader = store.reader();
                    read(&reader, states, before, &mut random);
                    if random.below(2) == 0 {
                        check_walk(store, states, before);
                    }
                });
            }
        });
    }

    /// Changes everything, those included that others only read.
    fn change(&mut self, store: &Store, states: &States) {
        let mut writer = store.writer(store.range()).unwrap();
        for _ in 0..100 + self.random.below(400) {
            let group = self.random.below(u64::from(GROUPS)) as u16;
            let content = &mut self.model[usize::from(group)];
            change(&mut writer, states, group, content, &mut self.random);
            if self.random.below(4) == 0 {
                let (name, new) = ([self.random.below(KEYS) as u8], bytes(&mut self.random));
                writer.put(states.fixed, at(group, &name), &new).unwrap();
                content.fixed.insert(name[0], new);
            }
        }
    }

    fn round(&mut self) {
        let (store, states) = self.open();
        let recovery = store.recovery();
        println!("  {} bytes to be replayed", recovery.replay_bytes);
        let what = self.random.below(8);
        match what {
            0 => self.work_at_once(&store, &states, false),
            1..=3 => self.work_at_once(&store, &states, true),
            4 => self.checkpoint(&store),
            5 => check_all(&store, &states, &self.model, &mut self.random),
            6 => self.change(&store, &states),
            // It is left as soon as it is open.
            _ => drop(store.writer(store.range()).unwrap()),
        }
        if self.random.below(3) > 0 {
            self.commit(&store);
        }
        if self.random.below(2) == 0 {
            self.change(&store, &states);
            self.commit(&store);
        }
        if self.random.below(6) == 0 {
            self.checkpoint(&store);
        }
        if self.random.below(3) == 0 {
            check_all(&store, &states, &self.model, &mut self.random);
        }
        if self.random.below(2) == 0 {
            store.close().unwrap();
        }
    }
}

#[test]
fn random_histories() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seed = number("ALLUVIUM_TEST_SEED");
    let rounds = number("ALLUVIUM_TEST_ROUNDS").unwrap_or(if seed.is_some() { 1 } else { 6 });
    for seed in (seed.unwrap_or(1)..).take(rounds as usize) {
        println!("ALLUVIUM_TEST_SEED={seed}");
        turns::in_turns(seed, || {
            let mut world = World::new(seed);
            (0..12).for_each(|_| world.round());
            let (store, states) = world.open();
            check_all(&store, &states, &world.model, &mut world.random);
        });
    }
}
