//! Rescaling between stores that number their states differently.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

use alluvium::{
    Barrier, CheckpointSource, Engine, EngineOptions, Error, KeyGroup, KeyGroupRange, MapRange, Purge, State,
    StateOptions, Store, StoreOptions, Ttl,
};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn engine() -> Engine {
    Engine::open(EngineOptions { memory_budget_bytes: 8 << 20, ..Default::default() }).unwrap()
}

fn options(range: KeyGroupRange) -> StoreOptions {
    StoreOptions { key_groups: 4, range, ..Default::default() }
}

fn key(group: u16, key: &[u8]) -> alluvium::Key<'_> {
    alluvium::Key::new(KeyGroup(group), key)
}

/// A store of two key groups whose states are registered in the given order, with one map of two entries in each.
fn half(engine: &Engine, path: &Path, range: KeyGroupRange, order: [usize; 4]) {
    let store = Store::create(engine, path, options(range)).unwrap();
    let states: BTreeMap<usize, State> =
        order.into_iter().map(|name| (name, store.state(StateOptions::map(NAMES[name])).unwrap())).collect();
    let mut writer = store.writer(range).unwrap();
    for (name, &state) in &states {
        for group in range.iter() {
            writer.map_put(state, key(group.0, b"k"), b"1", NAMES[*name].as_bytes()).unwrap();
            writer.map_put(state, key(group.0, b"k"), b"2", &group.0.to_le_bytes()).unwrap();
        }
    }
    store.barrier(Barrier::new(1)).unwrap().wait().unwrap();
    drop(writer);
    store.close().unwrap();
}

fn check(store: &Store, states: &[State]) {
    let mut writer = store.writer(store.range()).unwrap();
    for group in store.range().iter() {
        for (name, &state) in NAMES.iter().zip(states) {
            for range in [MapRange::all(), MapRange::all().reversed()] {
                let mut found = Vec::new();
                writer
                    .map_scan(state, key(group.0, b"k"), &range, |user_key, value| {
                        found.push((user_key.to_vec(), value.to_vec()));
                        ControlFlow::Continue(())
                    })
                    .unwrap();
                found.sort();
                let wanted =
                    [(b"1".to_vec(), name.as_bytes().to_vec()), (b"2".to_vec(), group.0.to_le_bytes().to_vec())];
                assert_eq!(found, wanted, "{name} in {group:?}");
            }
        }
    }
}

#[test]
fn stores_that_number_states_otherwise_are_read_and_compacted_state_by_state() {
    let engine = engine();
    let (low, high) = (KeyGroupRange::new(0, 1), KeyGroupRange::new(2, 3));
    let parts = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    half(&engine, parts[0].path(), low, [0, 1, 2, 3]);
    half(&engine, parts[1].path(), high, [3, 2, 0, 1]);
    let whole = tempfile::tempdir().unwrap();
    let sources = parts.each_ref().map(|part| CheckpointSource { directory: part.path().to_owned(), label: None });
    let store = Store::restore(&engine, whole.path(), &sources, options(KeyGroupRange::new(0, 3))).unwrap();
    let states = NAMES.map(|name| store.state(StateOptions::map(name)).unwrap());
    check(&store, &states);
    let items = |label| -> Vec<_> {
        let items = store.iterate(label).unwrap().map(Result::unwrap);
        items.map(|item| (item.group.0, item.state, item.user_key.unwrap(), item.value)).collect()
    };
    let before = items(1);
    assert_eq!(before.len(), 4 * 4 * 2);
    assert!(before.is_sorted(), "{before:?}");

    store.compact().unwrap();
    check(&store, &states);
    store.barrier(Barrier::new(2)).unwrap().wait().unwrap();
    assert_eq!(items(2), before);
}

/// The elements of a list that expires have their times before them, those of one that is purged by a time of its own have not: both were taken
/// for lists that expire, and a list that is purged for another than one that isn't.
#[test]
fn lists_are_joined_where_their_elements_are_of_one_form() {
    let ttl = Ttl { duration_ms: 1_000, refresh_on_read: false };
    let plain = || StateOptions::list("l");
    let purged = || plain().purge(Purge { duration_ms: 1_000, time_at: 0 });
    let expiring = || plain().ttl(ttl);
    let element = b"an element of 23 bytes.";
    for (parts, is_fine) in [
        ([plain(), purged()], true),
        ([purged(), plain()], true),
        ([expiring(), purged()], false),
        ([purged(), expiring()], false),
        ([plain(), expiring()], false),
    ] {
        let (root, engine) = (tempfile::tempdir().unwrap(), engine());
        let mut paths = Vec::new();
        for (group, of) in parts.into_iter().enumerate() {
            let (path, range) = (root.path().join(group.to_string()), KeyGroupRange::new(group as u16, group as u16));
            let store = Store::create(&engine, &path, options(range)).unwrap();
            let state = store.state(of).unwrap();
            let mut writer = store.writer(range).unwrap();
            writer.append(state, key(group as u16, b"k"), element).unwrap();
            store.barrier(Barrier::new(1)).unwrap().wait().unwrap();
            drop(writer);
            store.close().unwrap();
            paths.push(path);
        }
        let sources: Vec<_> =
            paths.iter().map(|path| CheckpointSource { directory: path.clone(), label: None }).collect();
        let whole = root.path().join("whole");
        let restored = Store::restore(&engine, &whole, &sources, options(KeyGroupRange::new(0, 1)));
        let Ok(store) = restored else {
            assert!(!is_fine && matches!(restored, Err(Error::State { state, .. }) if state == "l"));
            continue;
        };
        assert!(is_fine);
        let state = store.state(purged()).unwrap();
        let mut writer = store.writer(store.range()).unwrap();
        for group in 0..2 {
            assert_eq!(writer.list(state, key(group, b"k")).unwrap(), [element]);
        }
    }
}
