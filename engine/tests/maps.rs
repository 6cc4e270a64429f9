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

/// A clear that was flushed itself was taken to hide all that is on disk, as long as memory still had it: a reader missed
/// what was put after the clear, was flushed as well and left memory before it.
#[test]
fn a_reader_finds_what_was_put_after_a_clear_that_is_on_disk() {
    const MAPS: u32 = 20_000;
    let directory = tempfile::tempdir().unwrap();
    let engine = engine();
    let store = Store::create(&engine, directory.path(), StoreOptions::default()).unwrap();
    let state = store.state(StateOptions::map("m")).unwrap();
    let filler = store.state(StateOptions::value("filler")).unwrap();
    let names: Vec<&[u8]> = (0..MAPS).map(|map| &*map.to_be_bytes().to_vec().leak()).collect();
    let key = |name: &'static [u8]| alluvium::Key::new(KeyGroup(0), name);
    let mut writer = store.writer(store.range()).unwrap();
    let barrier = |label| store.barrier(Barrier::new(label)).unwrap().wait().unwrap();
    for &name in &names {
        writer.map_put(state, key(name), b"before", b"1").unwrap();
    }
    barrier(1);
    for &name in &names {
        writer.map_clear(state, key(name)).unwrap();
    }
    barrier(2);
    for &name in &names {
        writer.map_put(state, key(name), b"after", name).unwrap();
    }
    barrier(3);
    let reader = store.reader();
    // What is clean leaves memory page by page, and a marker lies in another page than its entries.
    for fill in 0..3_000_u32 {
        writer.put(filler, key(names[0]).in_namespace(&fill.to_be_bytes()), &[7; 4_000]).unwrap();
        if fill % 10 == 0 {
            for &name in names.iter().step_by(17) {
                assert_eq!(reader.map_get(state, key(name), b"after").unwrap().as_deref(), Some(name), "fill {fill}");
                assert_eq!(reader.map_get(state, key(name), b"before").unwrap(), None, "fill {fill}");
            }
        }
    }
}
