//! Moving and purging: namespaces that grow together, and values that carry their time themselves.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

#[path = "model/rng.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod rng;

use alluvium::{
    Barrier, Commit, Durability, Engine, EngineOptions, Error, Key, KeyGroup, Merge, MergeOperator, Purge, State,
    StateOptions, Store, StoreOptions, Ttl, Writer,
};
use rng::Rng;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

fn engine(budget_mib: usize) -> Engine {
    Engine::open(EngineOptions { memory_budget_bytes: budget_mib << 20, ..Default::default() }).unwrap()
}

fn open(engine: &Engine, path: &Path) -> Store {
    Store::open_or_create(engine, path, StoreOptions::default()).unwrap()
}

fn checkpoint(store: &Store, label: u64) {
    store.barrier(Barrier::new(label)).unwrap().wait().unwrap();
}

/// Puts one operand behind the other: not commutative, so order shows.
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

/// Elements, and when they expire.
type Elements = Vec<(Vec<u8>, u64)>;

struct Windows {
    store: Option<Store>,
    writer: Option<Writer>,
    lists: State,
    expiring: State,
    texts: State,
    /// Per state, by key and namespace.
    model: [BTreeMap<(u8, u8), Elements>; 3],
    now_ms: u64,
}

const TTL_MS: u64 = 1_000;

impl Windows {
    fn open(engine: &Engine, path: &Path) -> Self {
        let store = open(engine, path);
        let lists = store.state(StateOptions::list("lists")).unwrap();
        let ttl = Ttl { duration_ms: TTL_MS, refresh_on_read: false };
        let expiring = store.state(StateOptions::list("expiring").ttl(ttl)).unwrap();
        let operator = MergeOperator::User(Arc::new(Concatenate));
        let texts = store.state(StateOptions::merging("texts", operator)).unwrap();
        let writer = store.writer(store.range()).unwrap();
        Self { store: Some(store), writer: Some(writer), lists, expiring, texts, model: Default::default(), now_ms: 1 }
    }

    fn states(&self) -> [State; 3] {
        [self.lists, self.expiring, self.texts]
    }

    fn add(&mut self, state: usize, key: u8, namespace: u8, element: Vec<u8>) {
        let (bytes, space) = ([key], [namespace]);
        let at = Key::new(KeyGroup(u16::from(key)), &bytes).in_namespace(&space);
        let handle = self.states()[state];
        let writer = self.writer.as_mut().unwrap();
        if state == 2 { writer.merge(handle, at, &element) } else { writer.append(handle, at, &element) }.unwrap();
        let expiry_ms = if state == 1 { self.now_ms + TTL_MS } else { u64::MAX };
        self.model[state].entry((key, namespace)).or_default().push((element, expiry_ms));
    }

    fn merge(&mut self, state: usize, key: u8, target: u8, sources: &[u8]) {
        let (bytes, space) = ([key], [target]);
        let at = Key::new(KeyGroup(u16::from(key)), &bytes).in_namespace(&space);
        let names: Vec<&[u8]> = sources.iter().map(std::slice::from_ref).collect();
        let handle = self.states()[state];
        self.writer.as_mut().unwrap().merge_namespaces(handle, at, &names).unwrap();
        for source in sources.iter().filter(|source| **source != target) {
            let moved = self.model[state].remove(&(key, *source)).unwrap_or_default();
            self.model[state].entry((key, target)).or_default().extend(moved);
        }
    }

    fn check(&mut self) {
        for state in 0..3 {
            for key in 0..8_u8 {
                for namespace in 0..6_u8 {
                    let none = Vec::new();
                    let elements = self.model[state].get(&(key, namespace)).unwrap_or(&none);
                    let live = elements.iter().filter(|(_, at)| *at > self.now_ms).map(|(element, _)| element.clone());
                    let live: Vec<Vec<u8>> = live.collect();
                    let (bytes, space) = ([key], [namespace]);
                    let at = Key::new(KeyGroup(u16::from(key)), &bytes).in_namespace(&space);
                    let handle = self.states()[state];
                    let writer = self.writer.as_mut().unwrap();
                    let found = match state {
                        2 => writer.get(handle, at).unwrap().into_iter().collect(),
                        _ => writer.list(handle, at).unwrap(),
                    };
                    let wanted = if state == 2 && !live.is_empty() { vec![live.concat()] } else { live };
                    assert_eq!(found, wanted, "state {state}, key {key}, namespace {namespace}");
                }
            }
        }
    }
}

#[test]
fn namespaces_that_are_merged_hold_together_what_each_held() {
    for seed in 1..=12 {
        println!("seed {seed}");
        let directory = tempfile::tempdir().unwrap();
        let engine = engine(4);
        let mut windows = Windows::open(&engine, directory.path());
        let mut rng = Rng::new(seed);
        for label in 0..40 {
            for _ in 0..60 {
                let (state, key, namespace) = (rng.below(3), rng.below(8) as u8, rng.below(6) as u8);
                let element = vec![rng.below(256) as u8; 1 + rng.below(300)];
                windows.add(state, key, namespace, element);
                if rng.one_in(6) {
                    let sources: Vec<u8> = (0..1 + rng.below(4)).map(|_| rng.below(6) as u8).collect();
                    // The same one may be named twice.
                    windows.merge(state, key, namespace, &sources);
                }
            }
            windows.now_ms += rng.below(300) as u64;
            windows.writer.as_mut().unwrap().set_time_ms(windows.now_ms);
            windows.check();
            if rng.one_in(2) {
                checkpoint(windows.store.as_ref().unwrap(), label);
            }
            if rng.one_in(8) {
                let store = windows.store.take().unwrap();
                checkpoint(&store, label);
                windows.writer = None;
                store.close().unwrap();
                let (model, now_ms) = (windows.model, windows.now_ms);
                windows = Windows { model, now_ms, ..Windows::open(&engine, directory.path()) };
                windows.writer.as_mut().unwrap().set_time_ms(now_ms);
                windows.check();
            }
        }
    }
}

#[test]
fn only_lists_and_merging_states_have_namespaces_merged() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(4);
    let store = open(&engine, directory.path());
    let mut writer = store.writer(store.range()).unwrap();
    for options in [StateOptions::value("value"), StateOptions::map("map")] {
        let state = store.state(options).unwrap();
        let refused = writer.merge_namespaces(state, store.key(b"k"), &[b"a"]);
        assert!(matches!(refused, Err(Error::State { .. })), "{refused:?}");
    }
}

/// A value with its time behind a byte of the host's.
fn timed(time_ms: i64, text: &[u8]) -> Vec<u8> {
    [&[7], &time_ms.to_be_bytes()[..], text].concat()
}

/// Of every kind of state: what is too old is read as long as it is there, goes when it is merged, and what lay under it
/// does not come back.
#[test]
fn values_with_their_own_time_are_purged_by_compaction_and_not_before() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(8);
    let purge = Purge { duration_ms: 1_000, time_at: 1 };
    let key = Key::new(KeyGroup(3), b"k");
    for round in 0..2 {
        let store = open(&engine, directory.path());
        let value = store.state(StateOptions::value("value").purge(purge)).unwrap();
        let list = store.state(StateOptions::list("list").purge(purge)).unwrap();
        let map = store.state(StateOptions::map("map").purge(purge)).unwrap();
        let mut writer = store.writer(store.range()).unwrap();
        let base = 100_000 * (round + 1);
        writer.set_time_ms(base as u64);
        // Layers of the same keys: the older ones are younger by their own time, so that they would live if they came back.
        for (label, time_ms) in [(1, base + 5_000), (2, base), (3, base + 200)] {
            writer.put(value, key, &timed(time_ms, b"v")).unwrap();
            writer.append(list, key, &timed(time_ms, &vec![b'e'; 300 * label as usize])).unwrap();
            writer.append(list, key, b"short").unwrap();
            writer.map_put(map, key, b"u", &timed(time_ms, b"m")).unwrap();
            checkpoint(&store, label);
        }
        writer.map_put(map, key, b"young", &timed(base + 9_000, b"m")).unwrap();
        let long = |n: usize| vec![b'e'; 300 * n];
        writer.set_time_ms((base + 1_150) as u64);
        checkpoint(&store, 4);
        store.compact().unwrap();
        checkpoint(&store, 5);
        // By its own time the newest value is not due yet; of the list one element is.
        assert_eq!(writer.get(value, key).unwrap(), Some(timed(base + 200, b"v")));
        drop(writer);
        store.close().unwrap();
        let store = open(&engine, directory.path());
        let mut writer = store.writer(store.range()).unwrap();
        let elements = [timed(base + 5_000, &long(1)), b"short".to_vec(), b"short".to_vec()];
        let elements = [&elements[..], &[timed(base + 200, &long(3)), b"short".to_vec()]].concat();
        let found = writer.list(list, key).unwrap();
        let brief = |list: &[Vec<u8>]| list.iter().map(|e| (e.len(), e.get(8).copied())).collect::<Vec<_>>();
        assert_eq!(brief(&found), brief(&elements), "after the first merge");
        assert_eq!(writer.map_get(map, key, b"u").unwrap(), Some(timed(base + 200, b"m")));
        writer.set_time_ms((base + 1_200) as u64);
        assert_eq!(writer.get(value, key).unwrap(), Some(timed(base + 200, b"v")), "read although it is due");
        drop(writer);
        let mut writer = store.writer(store.range()).unwrap();
        writer.set_time_ms((base + 1_200) as u64);
        checkpoint(&store, 6);
        store.compact().unwrap();
        checkpoint(&store, 7);
        drop(writer);
        store.close().unwrap();
        // What is purged from the disk may still be in memory; opened anew, only the disk counts.
        let store = open(&engine, directory.path());
        let mut writer = store.writer(store.range()).unwrap();
        assert_eq!(writer.get(value, key).unwrap(), None);
        let elements = [timed(base + 5_000, &long(1)), b"short".to_vec(), b"short".to_vec(), b"short".to_vec()];
        assert!(writer.list(list, key).unwrap() == elements, "after the second merge");
        assert_eq!(writer.map_get(map, key, b"u").unwrap(), None);
        assert_eq!(writer.map_get(map, key, b"young").unwrap(), Some(timed(base + 9_000, b"m")));
        writer.map_clear(map, key).unwrap();
        writer.delete(list, key).unwrap();
        checkpoint(&store, 8);
        drop(writer);
        store.close().unwrap();
    }
}

/// States of what lives for a second, by the writer's clock or by its own.
fn short_lived(store: &Store) -> [State; 3] {
    let ttl = Ttl { duration_ms: 1_000, refresh_on_read: false };
    let purge = Purge { duration_ms: 1_000, time_at: 1 };
    let options = [
        StateOptions::value("expires").ttl(ttl),
        StateOptions::list("elements").ttl(ttl),
        StateOptions::value("purged").purge(purge),
    ];
    options.map(|options| store.state(options).unwrap())
}

const LATE_MS: u64 = 10_000_000;
const EARLY_MS: u64 = 5;

/// What is written after the clock went back, and what is read of it.
fn write_early(writer: &mut Writer, [expires, elements, purged]: [State; 3]) {
    let key = Key::new(KeyGroup(3), b"early");
    writer.set_time_ms(EARLY_MS);
    writer.put(expires, key, b"v").unwrap();
    writer.append(elements, key, b"e").unwrap();
    writer.put(purged, key, &timed(EARLY_MS as i64, b"v")).unwrap();
}

fn assert_early(writer: &mut Writer, [expires, elements, purged]: [State; 3], what: &str) {
    let key = Key::new(KeyGroup(3), b"early");
    writer.set_time_ms(EARLY_MS);
    assert_eq!(writer.get(expires, key).unwrap().as_deref(), Some(&b"v"[..]), "{what}");
    assert_eq!(writer.list(elements, key).unwrap(), [b"e"], "{what}");
    assert_eq!(writer.get(purged, key).unwrap(), Some(timed(EARLY_MS as i64, b"v")), "{what}");
}

/// The purge clock only rose: when the host's went back, also by a restart on another machine, compaction removed what was written from then on,
/// from the disk, where it was missed only once it wasn't in memory any more.
#[test]
fn what_is_written_after_the_clock_went_back_is_not_purged_by_the_time_before() {
    let durabilities = [Durability::Checkpoint, Durability::Changelog];
    for (durability, transactional) in durabilities.into_iter().flat_map(|of| [(of, false), (of, true)]) {
        for how in ["at once", "behind a cut", "after a restart", "after a crash"] {
            if how == "after a crash" && durability == Durability::Checkpoint {
                continue;
            }
            let what = format!("{durability:?}, transactional {transactional}, {how}");
            let directory = tempfile::tempdir().unwrap();
            let engine = engine(8);
            let options = StoreOptions { durability, transactional, ..StoreOptions::default() };
            let open = || Store::open_or_create(&engine, directory.path(), options.clone()).unwrap();
            let commit = |writer: &mut Writer| {
                if transactional || durability == Durability::Changelog {
                    let committed = writer.commit(Commit::default()).unwrap();
                    if durability == Durability::Changelog {
                        committed.wait().unwrap();
                    }
                }
            };
            let mut store = open();
            let mut states = short_lived(&store);
            let mut writer = store.writer(store.range()).unwrap();
            writer.set_time_ms(LATE_MS);
            writer.put(states[0], Key::new(KeyGroup(3), b"late"), b"v").unwrap();
            commit(&mut writer);
            let late = store.barrier(Barrier::new(1)).unwrap();
            if how == "behind a cut" {
                write_early(&mut writer, states);
                late.wait().unwrap();
            } else {
                late.wait().unwrap();
                if how == "after a restart" {
                    drop(writer);
                    store.close().unwrap();
                    store = open();
                    (states, writer) = (short_lived(&store), store.writer(store.range()).unwrap());
                }
                write_early(&mut writer, states);
            }
            commit(&mut writer);
            if how == "after a crash" {
                drop(writer);
                store.close().unwrap();
                store = open();
                (states, writer) = (short_lived(&store), store.writer(store.range()).unwrap());
                // Nobody has set a time yet when it is replayed and merged.
                store.snapshot().unwrap().wait().unwrap();
                store.compact().unwrap();
                writer.set_time_ms(EARLY_MS);
            }
            // On disk before the next checkpoint, and merged.
            store.snapshot().unwrap().wait().unwrap();
            store.compact().unwrap();
            checkpoint(&store, 2);
            store.compact().unwrap();
            checkpoint(&store, 3);
            drop(writer);
            store.close().unwrap();
            let store = open();
            let states = short_lived(&store);
            assert_early(&mut store.writer(store.range()).unwrap(), states, &what);
        }
    }
}

/// It goes on with the clock again.
#[test]
fn what_expired_since_is_purged_although_the_clock_had_gone_back() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(8);
    let store = open(&engine, directory.path());
    let states = short_lived(&store);
    let mut writer = store.writer(store.range()).unwrap();
    writer.set_time_ms(LATE_MS);
    checkpoint(&store, 1);
    write_early(&mut writer, states);
    checkpoint(&store, 2);
    writer.set_time_ms(EARLY_MS + 1_000);
    checkpoint(&store, 3);
    store.compact().unwrap();
    checkpoint(&store, 4);
    assert_eq!(store.iterate(4).unwrap().count(), 0);
}

#[test]
fn a_state_expires_or_is_purged_and_says_which() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(4);
    let purge = Purge { duration_ms: 5, time_at: 0 };
    let ttl = Ttl { duration_ms: 5, refresh_on_read: true };
    let store = open(&engine, directory.path());
    for refused in [
        StateOptions::value("v").purge(purge).ttl(ttl),
        StateOptions::value("v").purge(Purge { duration_ms: 0, time_at: 0 }),
    ] {
        assert!(matches!(store.state(refused), Err(Error::State { .. })));
    }
    store.state(StateOptions::value("v").purge(purge)).unwrap();
    checkpoint(&store, 1);
    store.close().unwrap();
    let store = open(&engine, directory.path());
    assert_eq!(store.states()[0].purge, Some(purge));
    assert_eq!(store.states()[0].ttl, None);
}
