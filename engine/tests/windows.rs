//! Windows: what opens and closes between two checkpoints, and fits into memory, isn't written.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

use alluvium::{
    Barrier, CheckpointInfo, Engine, EngineOptions, MapRange, MergeOperator, State, StateOptions, Store, StoreOptions,
    Writer,
};
use std::ops::ControlFlow;
use std::path::Path;

/// Keys that are in the store all the time, and keys of windows.
const KEYS: u64 = 1_000;
/// Windows between two checkpoints: 6 MB of keys and values.
const WINDOWS: u64 = 6;
const VALUE: [u8; 200] = [9; 200];
/// What they may add to a checkpoint all the same.
const BOUND_BYTES: u64 = 4 << 10;

/// A store with a state of each kind, all of which have keys on disk.
struct One {
    store: Store,
    writer: Writer,
    values: State,
    lists: State,
    maps: State,
    sums: State,
    label: u64,
}

impl One {
    fn create(engine: &Engine, path: &Path) -> Self {
        let store = Store::create(engine, path, StoreOptions::default()).unwrap();
        let values = store.state(StateOptions::value("values")).unwrap();
        let lists = store.state(StateOptions::list("lists")).unwrap();
        let maps = store.state(StateOptions::map("maps")).unwrap();
        let sums = store.state(StateOptions::merging("sums", MergeOperator::U64Add)).unwrap();
        let writer = store.writer(store.range()).unwrap();
        let mut one = Self { store, writer, values, lists, maps, sums, label: 0 };
        one.change(0..KEYS, 0);
        one.checkpoint();
        one
    }

    /// Gives keys outside of windows other contents.
    fn change(&mut self, keys: std::ops::Range<u64>, version: u64) {
        for number in keys {
            let (name, version) = (number.to_be_bytes(), version.to_le_bytes());
            let key = self.store.key(&name);
            self.writer.put(self.values, key, &version).unwrap();
            self.writer.append(self.lists, key, &version).unwrap();
            self.writer.map_put(self.maps, key, &name, &version).unwrap();
            self.writer.merge(self.sums, key, &1_u64.to_le_bytes()).unwrap();
        }
    }

    /// A window over all keys: filled twice, read, and removed.
    fn window(&mut self, window: u64) {
        let window = window.to_be_bytes();
        for number in (0..KEYS).chain(0..KEYS) {
            let name = number.to_be_bytes();
            let key = self.store.key(&name).in_namespace(&window);
            self.writer.put(self.values, key, &VALUE).unwrap();
            self.writer.append(self.lists, key, &VALUE).unwrap();
            self.writer.map_put(self.maps, key, b"first", &VALUE).unwrap();
            self.writer.map_put(self.maps, key, b"second", &name).unwrap();
            self.writer.merge(self.sums, key, &number.to_le_bytes()).unwrap();
        }
        for number in 0..KEYS {
            let name = number.to_be_bytes();
            let key = self.store.key(&name).in_namespace(&window);
            assert_eq!(self.writer.get(self.values, key).unwrap().unwrap(), VALUE);
            assert_eq!(self.writer.list(self.lists, key).unwrap(), [VALUE, VALUE]);
            assert_eq!(self.writer.map_get(self.maps, key, b"first").unwrap().unwrap(), VALUE);
            assert_eq!(self.writer.get(self.sums, key).unwrap().unwrap(), (2 * number).to_le_bytes());
            for state in [self.values, self.lists, self.sums] {
                self.writer.delete(state, key).unwrap();
            }
            self.writer.map_clear(self.maps, key).unwrap();
        }
    }

    /// Keys outside of windows have what they were given; of windows nothing is there.
    fn check(&mut self, versions: u64, windows: std::ops::Range<u64>) {
        for number in 0..KEYS {
            let name = number.to_be_bytes();
            let key = self.store.key(&name);
            let last = versions - 1;
            assert_eq!(self.writer.get(self.values, key).unwrap().unwrap(), last.to_le_bytes());
            let list: Vec<Vec<u8>> = (0..versions).map(|version| version.to_le_bytes().to_vec()).collect();
            assert_eq!(self.writer.list(self.lists, key).unwrap(), list);
            assert_eq!(self.writer.map_get(self.maps, key, &name).unwrap().unwrap(), last.to_le_bytes());
            assert_eq!(self.writer.get(self.sums, key).unwrap().unwrap(), versions.to_le_bytes());
            for window in windows.clone() {
                let window = window.to_be_bytes();
                let key = key.in_namespace(&window);
                assert_eq!(self.writer.get(self.values, key).unwrap(), None);
                assert!(self.writer.list(self.lists, key).unwrap().is_empty());
                assert_eq!(self.writer.get(self.sums, key).unwrap(), None);
                let mut entries = 0;
                let count = |_: &[u8], _: &[u8]| {
                    entries += 1;
                    ControlFlow::Continue(())
                };
                self.writer.map_scan(self.maps, key, &MapRange::all(), count).unwrap();
                assert_eq!(entries, 0);
            }
        }
    }

    fn checkpoint(&mut self) -> CheckpointInfo {
        self.label += 1;
        self.store.barrier(Barrier::new(self.label)).unwrap().wait().unwrap()
    }
}

#[test]
fn what_opens_and_closes_between_two_checkpoints_is_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::open(EngineOptions { memory_budget_bytes: 64 << 20, ..Default::default() }).unwrap();
    let mut with = One::create(&engine, &directory.path().join("with"));
    let mut without = One::create(&engine, &directory.path().join("without"));
    for round in 1..4 {
        let windows = round * WINDOWS..(round + 1) * WINDOWS;
        let (early, late) = (0..KEYS / 2, KEYS / 2..KEYS);
        for one in [&mut with, &mut without] {
            one.change(early.clone(), round);
        }
        windows.clone().for_each(|window| with.window(window));
        for one in [&mut with, &mut without] {
            one.change(late.clone(), round);
        }
        let (with_windows, plain) = (with.checkpoint(), without.checkpoint());
        assert_eq!(with.store.metrics().spills, 0, "what doesn't fit into memory is written before its window closes");
        let bytes_of = |info: &CheckpointInfo| [info.flushed_bytes, info.changed_bytes];
        for (with_windows, plain) in bytes_of(&with_windows).into_iter().zip(bytes_of(&plain)) {
            assert!(
                with_windows <= plain + BOUND_BYTES,
                "round {round}: {with_windows} bytes, {plain} without windows"
            );
        }
        with.check(round + 1, windows.clone());
        without.check(round + 1, windows);
    }
}
