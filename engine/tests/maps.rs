//! Maps between memory and disk.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

use alluvium::{Barrier, Engine, EngineOptions, KeyGroup, StateOptions, Store, StoreOptions};

fn engine() -> Engine {
    Engine::open(EngineOptions { memory_budget_bytes: 8 << 20, ..Default::default() }).unwrap()
}

/// The entry of the map is the first record of its segment, and the map's own key, which is none of the records, lies
/// before it: the segment was taken to have nothing of the map, and the clear left no mark.
#[test]
fn a_map_that_comes_first_in_its_segment_stays_cleared() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine();
    let store = Store::create(&engine, directory.path(), StoreOptions::default()).unwrap();
    let state = store.state(StateOptions::map("m")).unwrap();
    let key = alluvium::Key::new(KeyGroup(0), b"");
    let mut writer = store.writer(store.range()).unwrap();
    writer.map_put(state, key, b"a", b"1").unwrap();
    store.barrier(Barrier::new(1)).unwrap().wait().unwrap();
    drop(writer);
    store.close().unwrap();

    let store = Store::open(&engine, directory.path(), StoreOptions::default()).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    writer.map_clear(state, key).unwrap();
    assert!(writer.map_is_empty(state, key).unwrap());
    store.barrier(Barrier::new(2)).unwrap().wait().unwrap();
    drop(writer);
    store.close().unwrap();

    let store = Store::open(&engine, directory.path(), StoreOptions::default()).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    assert!(writer.map_is_empty(state, key).unwrap());
    assert_eq!(writer.map_get(state, key, b"a").unwrap(), None);
}
