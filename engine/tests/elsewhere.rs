//! Segments of which the host has brought a part: what doesn't need the rest doesn't wait for it.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

use alluvium::{
    Barrier, Durability, Engine, EngineOptions, FetchRequest, Fetches, Key, KeyGroup, KeyGroupRange, Retention, State,
    StateOptions, Store, StoreOptions, Writer,
};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::thread::{ScopedJoinHandle, scope, sleep};
use std::time::{Duration, Instant};

/// What waits longer waits for ever.
const PATIENCE: Duration = Duration::from_secs(60);
const GROUP: KeyGroup = KeyGroup(3);
const MOMENT: Duration = Duration::from_millis(1);

fn options() -> StoreOptions {
    StoreOptions {
        key_groups: 8,
        range: KeyGroupRange::new(0, 7),
        durability: Durability::Host,
        retention: Retention::Host { unconfirmed_max: 8 },
        fetch: true,
        compress: false,
        // Filters let the same absent keys pass each time: none that is asked for here.
        hash_seed: Some(1),
        ..Default::default()
    }
}

/// In the order of their numbers, and so of their records.
struct States {
    before: State,
    maps: State,
    empty: State,
    behind: State,
}

impl States {
    fn new(store: &Store) -> Self {
        Self {
            before: store.state(StateOptions::value("before")).unwrap(),
            maps: store.state(StateOptions::map("maps")).unwrap(),
            empty: store.state(StateOptions::value("empty")).unwrap(),
            behind: store.state(StateOptions::value("behind")).unwrap(),
        }
    }
}

fn key(name: &[u8]) -> Key<'_> {
    Key::new(GROUP, name)
}

/// A store, what the host has of it, and who asks the host.
struct World {
    store: Store,
    states: States,
    writer: Writer,
    fetches: Arc<Fetches>,
    remote: HashMap<String, Vec<u8>>,
    _engine: Engine,
}

impl World {
    /// Of two segments, the newer of which clears a map of the older one, in its middle, far from its beginning and its end.
    fn new(directory: &Path) -> Self {
        let engine = || Engine::open(EngineOptions { memory_budget_bytes: 16 << 20, ..Default::default() }).unwrap();
        // One of its own: this one's cache would have blocks of them.
        let source = engine();
        let store = Store::create(&source, &directory.join("a"), StoreOptions { fetch: false, ..options() }).unwrap();
        let states = States::new(&store);
        let mut writer = store.writer(store.range()).unwrap();
        for map in [b"a", b"m", b"z"] {
            writer.map_put(states.maps, key(map), b"u", b"old").unwrap();
        }
        store.barrier(Barrier::new(1)).unwrap().wait().unwrap();
        writer.map_clear(states.maps, key(b"m")).unwrap();
        for number in 0..40_u8 {
            for state in [states.before, states.behind] {
                writer.put(state, key(&[number]), &vec![number; 16 << 10]).unwrap();
            }
        }
        store.barrier(Barrier::new(2)).unwrap().wait().unwrap();
        let files = store.files(2).unwrap();
        let content = |(index, file): (usize, &alluvium::FileInfo)| {
            (file.name.clone(), files.read(index, 0, file.bytes as usize).unwrap())
        };
        let remote = files.list().iter().enumerate().map(content).collect();
        let manifest = files.manifest().to_vec();
        drop((files, writer));
        store.close().unwrap();
        let engine = engine();
        let store = Store::restore_absent(&engine, &directory.join("b"), &[&manifest], options()).unwrap();
        let states = States::new(&store);
        let writer = store.writer(store.range()).unwrap();
        let fetches = store.fetches().unwrap();
        assert_eq!(fetches.files_absent(), 2);
        Self { store, states, writer, fetches, remote, _engine: engine }
    }

    fn bring(&self, request: &FetchRequest) {
        let from = request.offset as usize;
        self.fetches.complete(request.id, &self.remote[&request.file][from..from + request.len]).unwrap();
    }

    /// Brings what others wait for until one of them is done.
    fn bring_until_done<T>(&self, waiting: ScopedJoinHandle<'_, T>) -> T {
        while !waiting.is_finished() {
            self.fetches.wait_demanded(9, MOMENT).iter().for_each(|request| self.bring(request));
        }
        waiting.join().unwrap()
    }

    /// Has the segments opened, which takes their beginnings and ends.
    fn open(&self) {
        let (reader, maps) = (self.store.reader(), self.states.maps);
        let found =
            scope(|scope| self.bring_until_done(scope.spawn(move || reader.map_get(maps, key(b"n"), b"u").unwrap())));
        assert_eq!(found, None);
        assert_eq!(self.fetches.files_absent(), 1, "the long one is not here yet");
    }

    fn check_all(&self) {
        let (store, states) = (&self.store, &self.states);
        scope(|scope| {
            let reading = scope.spawn(|| {
                let reader = store.reader();
                for number in 0..40_u8 {
                    for state in [states.before, states.behind] {
                        assert_eq!(reader.get(state, key(&[number])).unwrap().unwrap(), vec![number; 16 << 10]);
                    }
                }
                for (map, value) in [(b"a", Some(b"old".to_vec())), (b"m", None), (b"z", Some(b"old".to_vec()))] {
                    assert_eq!(reader.map_get(states.maps, key(map), b"u").unwrap(), value);
                }
            });
            self.bring_until_done(reading);
        });
    }
}

/// How much of what lies below a deletion hides was looked up in blocks that the host had yet to bring.
#[test]
fn a_flush_of_a_deletion_by_range_waits_for_no_host() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::new(directory.path());
    world.open();
    let maps = world.states.maps;
    world.writer.map_clear(maps, key(b"m")).unwrap();
    let asked = scope(|scope| {
        let checkpoint = scope.spawn(|| world.store.barrier(Barrier::new(3)).unwrap().wait().unwrap());
        let mut asked = Vec::new();
        while !checkpoint.is_finished() {
            for request in world.fetches.wait_demanded(9, MOMENT) {
                world.fetches.fail(request.id, "no network");
                asked.push((request.offset, request.len));
            }
        }
        assert_eq!(checkpoint.join().unwrap().label, 3);
        asked
    });
    assert!(asked.is_empty(), "{asked:?}");
    world.check_all();
}

/// Whether segments elsewhere have anything of what was loaded was looked up while every barrier was held up.
#[test]
fn a_load_that_waits_for_its_host_holds_up_no_barrier() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = World::new(directory.path());
    let empty = world.states.empty;
    world.writer.put(world.states.before, Key::new(KeyGroup(5), b"k"), b"new").unwrap();
    let mut load = world.store.bulk_load(1).unwrap();
    load.put(empty, key(b"k"), b"loaded").unwrap();
    scope(|scope| {
        let finishing = scope.spawn(|| load.finish());
        let mut asked = Vec::new();
        while asked.is_empty() {
            assert!(!finishing.is_finished(), "it has to look at what is elsewhere");
            asked = world.fetches.wait_demanded(9, MOMENT);
        }
        let checkpoint = scope.spawn(|| world.store.barrier(Barrier::new(3)).unwrap().wait().unwrap());
        let since = Instant::now();
        while !checkpoint.is_finished() && since.elapsed() < PATIENCE {
            sleep(MOMENT);
        }
        let is_held_up = !checkpoint.is_finished();
        asked.iter().for_each(|request| world.bring(request));
        world.bring_until_done(finishing).unwrap();
        assert!(!is_held_up, "the barrier waited for the host");
    });
    assert_eq!(world.store.reader().get(empty, key(b"k")).unwrap().unwrap(), b"loaded");
    // What is there already is seen elsewhere, too.
    let mut load = world.store.bulk_load(1).unwrap();
    load.put(world.states.behind, key(b"k"), b"refused").unwrap();
    let refused = scope(|scope| world.bring_until_done(scope.spawn(|| load.finish())));
    assert!(matches!(refused, Err(alluvium::Error::State { state, .. }) if state == "behind"));
    world.check_all();
}
