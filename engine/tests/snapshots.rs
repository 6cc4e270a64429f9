//! Snapshots beside a model: each holds what was there when it was taken, whatever is written, flushed, merged and deleted
//! afterwards, and costs what the metrics say.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

#[path = "model/rng.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod rng;

use alluvium::{
    Barrier, Class, Cursor, Engine, EngineOptions, Error, Key, KeyGroup, KeyGroupRange, MapRange, MergeOperator,
    Packed, Snapshot, State, StateOptions, Store, StoreOptions, Writer,
};
use rng::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const GROUPS: u16 = 4;

fn options() -> StoreOptions {
    StoreOptions { key_groups: 4, range: KeyGroupRange::new(0, 3), snapshots_max: 5, ..Default::default() }
}

#[derive(Clone, Default, PartialEq, Eq, Debug)]
struct Model {
    values: BTreeMap<(u16, u32), Vec<u8>>,
    lists: BTreeMap<(u16, u32), Vec<Vec<u8>>>,
    sums: BTreeMap<(u16, u32), u64>,
    entries: BTreeMap<(u16, u32), Vec<u8>>,
}

struct States {
    values: State,
    lists: State,
    sums: State,
    maps: State,
}

impl States {
    fn new(store: &Store) -> Self {
        Self {
            values: store.state(StateOptions::value("values")).unwrap(),
            lists: store.state(StateOptions::list("lists")).unwrap(),
            sums: store.state(StateOptions::merging("sums", MergeOperator::U64Add)).unwrap(),
            maps: store.state(StateOptions::map("maps")).unwrap(),
        }
    }

    fn change(&self, writer: &mut Writer, model: &mut Model, rng: &mut Rng) {
        let (group, number) = (rng.below(usize::from(GROUPS)) as u16, rng.below(300) as u32);
        let at = (group, number);
        let bytes = number.to_be_bytes();
        let (key, map) = (Key::new(KeyGroup(group), &bytes), Key::new(KeyGroup(group), b"map"));
        let content = vec![rng.below(256) as u8; 1 + rng.below(700)];
        match rng.below(8) {
            0 => {
                writer.delete(self.values, key).unwrap();
                model.values.remove(&at);
            }
            1 => {
                writer.delete(self.lists, key).unwrap();
                model.lists.remove(&at);
            }
            2 => {
                writer.map_delete(self.maps, map, &bytes).unwrap();
                model.entries.remove(&at);
            }
            3 => {
                writer.append(self.lists, key, &content).unwrap();
                model.lists.entry(at).or_default().push(content);
            }
            4 => {
                writer.merge(self.sums, key, &5_u64.to_le_bytes()).unwrap();
                *model.sums.entry(at).or_default() += 5;
            }
            5 => {
                writer.map_put(self.maps, map, &bytes, &content).unwrap();
                model.entries.insert(at, content);
            }
            _ => {
                writer.put(self.values, key, &content).unwrap();
                model.values.insert(at, content);
            }
        }
    }

    fn check(&self, snapshot: &Snapshot, model: &Model, rng: &mut Rng) {
        for _ in 0..150 {
            let at = (rng.below(usize::from(GROUPS)) as u16, rng.below(300) as u32);
            let bytes = at.1.to_be_bytes();
            let (key, map) = (Key::new(KeyGroup(at.0), &bytes), Key::new(KeyGroup(at.0), b"map"));
            assert_eq!(snapshot.get(self.values, key).unwrap().as_ref(), model.values.get(&at));
            assert_eq!(snapshot.list(self.lists, key).unwrap(), model.lists.get(&at).cloned().unwrap_or_default());
            let sum = model.sums.get(&at).map(|sum| sum.to_le_bytes().to_vec());
            assert_eq!(snapshot.get(self.sums, key).unwrap(), sum);
            assert_eq!(snapshot.map_get(self.maps, map, &bytes).unwrap().as_ref(), model.entries.get(&at));
        }
        let mut out = Packed::new(1 + rng.below(50), 1 << 20);
        let (mut keys, mut found) = (Cursor::keys(self.values, KeyGroupRange::new(0, 3)), BTreeSet::new());
        while snapshot.fetch(&mut keys, &mut out).unwrap() {
            out.iter().for_each(|key| assert!(found.insert((key.group.0, key.key.to_vec())), "{key:?} came twice"));
        }
        let wanted: BTreeSet<_> = model.values.keys().map(|at| (at.0, at.1.to_be_bytes().to_vec())).collect();
        assert_eq!(found, wanted);
        let group = rng.below(usize::from(GROUPS)) as u16;
        let reverse = rng.one_in(2);
        let range = if reverse { MapRange::all().reversed() } else { MapRange::all() };
        let mut entries = Cursor::entries(self.maps, Key::new(KeyGroup(group), b"map"), &range);
        let mut found = Vec::new();
        while snapshot.fetch(&mut entries, &mut out).unwrap() {
            found.extend(out.iter().map(|entry| (entry.user_key.to_vec(), entry.value.to_vec())));
        }
        let mut wanted: Vec<_> = model.entries.range((group, 0)..(group + 1, 0)).collect();
        if reverse {
            wanted.reverse();
        }
        let wanted: Vec<_> = wanted.iter().map(|(at, value)| (at.1.to_be_bytes().to_vec(), value.to_vec())).collect();
        assert!(found == wanted, "entries of {group}");
    }
}

#[test]
fn a_snapshot_stays_as_it_was() {
    for seed in 1..=6 {
        println!("seed {seed}");
        let directory = tempfile::tempdir().unwrap();
        let engine = Engine::open(EngineOptions { memory_budget_bytes: 4 << 20, ..Default::default() }).unwrap();
        let store = Store::create(&engine, directory.path(), options()).unwrap();
        let states = States::new(&store);
        let mut writer = store.writer(store.range()).unwrap();
        let (mut rng, mut model) = (Rng::new(seed), Model::default());
        let mut snapshots: Vec<(Snapshot, Model)> = Vec::new();
        for step in 0..60 {
            for _ in 0..rng.below(300) {
                states.change(&mut writer, &mut model, &mut rng);
            }
            match rng.below(6) {
                0 if snapshots.len() < 5 => snapshots.push((store.snapshot().unwrap(), model.clone())),
                1 => drop(store.barrier(Barrier::new(step)).unwrap()),
                2 if rng.one_in(3) => store.compact().unwrap(),
                3 if !snapshots.is_empty() => {
                    let (snapshot, model) = rng.pick(&snapshots).clone();
                    // Readers of another thread, beside the writer.
                    states.check(&snapshot, &model, &mut rng);
                }
                4 if snapshots.len() > 2 => drop(snapshots.swap_remove(rng.below(3))),
                _ => {}
            }
        }
        snapshots.iter().for_each(|(snapshot, model)| states.check(snapshot, model, &mut rng));
    }
}

#[test]
fn snapshots_are_few_and_their_cost_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::open(EngineOptions { memory_budget_bytes: 8 << 20, ..Default::default() }).unwrap();
    let store = Store::create(&engine, directory.path(), options()).unwrap();
    let state = store.state(StateOptions::value("v")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    let mut fill = |byte: u8| {
        for number in 0..4_000_u32 {
            writer.put(state, store.key(&number.to_be_bytes()), &[byte; 300]).unwrap();
        }
    };
    fill(1);
    let first = store.snapshot().unwrap();
    let more: Vec<Snapshot> = (0..4).map(|_| store.snapshot().unwrap()).collect();
    let refused = store.snapshot().unwrap_err();
    assert!(matches!(refused, Error::Busy { .. }) && refused.class() == Class::Retry);
    drop(more);
    first.wait().unwrap();
    // One that is dropped lives until it is complete.
    while store.metrics().snapshots > 1 {
        std::thread::yield_now();
    }
    let metrics = store.metrics();
    assert_eq!((metrics.snapshots, metrics.snapshot_bytes), (1, 0), "what it needs the store needs as well");
    fill(2);
    store.barrier(Barrier::new(1)).unwrap().wait().unwrap();
    store.compact().unwrap();
    store.barrier(Barrier::new(2)).unwrap().wait().unwrap();
    let metrics = store.metrics();
    assert!(metrics.snapshots == 1 && metrics.snapshot_bytes > 10_000, "{}", metrics.snapshot_bytes);
    let segments = || std::fs::read_dir(directory.path()).unwrap().count();
    let before = segments();
    assert_eq!(first.get(state, store.key(&7_u32.to_be_bytes())).unwrap().unwrap(), [1; 300]);
    drop(first);
    store.barrier(Barrier::new(3)).unwrap().wait().unwrap();
    // Deleted in the background, once the checkpoint is complete.
    let deadline = Instant::now() + Duration::from_secs(30);
    while segments() >= before {
        assert!(Instant::now() < deadline, "what only the snapshot needed is still there");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(store.metrics().snapshots, 0);
}

#[test]
fn a_snapshot_of_a_closed_store_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::open(EngineOptions::default()).unwrap();
    let store = Store::create(&engine, directory.path(), options()).unwrap();
    let state = store.state(StateOptions::value("v")).unwrap();
    let snapshot = store.snapshot().unwrap();
    assert_eq!(snapshot.get(state, Key::new(KeyGroup(0), b"k")).unwrap(), None);
    assert!(snapshot.get(state, Key::new(KeyGroup(9), b"k")).is_err());
    assert!(snapshot.list(state, Key::new(KeyGroup(0), b"k")).is_err());
    store.close().unwrap();
    assert!(matches!(snapshot.get(state, Key::new(KeyGroup(0), b"k")), Err(Error::Closed)));
}
