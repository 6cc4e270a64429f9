//! Loading sorted data: what is loaded is there, all at once, in segments that no merge touches again, and only where there
//! was nothing.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

use alluvium::key::{push_entry_key, push_sort_key};
use alluvium::{
    Barrier, Cursor, Engine, EngineOptions, Error, Key, KeyGroup, MapRange, MergeOperator, Packed, State, StateOptions,
    Store, StoreOptions, Ttl,
};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;

fn engine() -> Engine {
    Engine::open(EngineOptions { memory_budget_bytes: 8 << 20, ..Default::default() }).unwrap()
}

fn create(engine: &Engine, path: &Path) -> Store {
    Store::create(engine, path, StoreOptions::default()).unwrap()
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
}

enum Record {
    Value(u32),
    List(u32),
    Sum(u32),
    Entry(u32, u32),
}

/// What is loaded: a record for each kind and number, by sort key.
fn records(store: &Store, states: &States, numbers: u32) -> BTreeMap<Vec<u8>, Record> {
    let mut records = BTreeMap::new();
    for number in 0..numbers {
        let bytes = number.to_be_bytes();
        let key = store.key(&bytes);
        let mut at = |state: State, user_key: Option<u32>, record| {
            let mut sort_key = Vec::new();
            match user_key {
                None => push_sort_key(&mut sort_key, state.id(), key),
                Some(user_key) => push_entry_key(&mut sort_key, state.id(), key, &user_key.to_be_bytes()),
            }
            records.insert(sort_key, record);
        };
        at(states.values, None, Record::Value(number));
        at(states.lists, None, Record::List(number));
        at(states.sums, None, Record::Sum(number));
        (0..number % 5).for_each(|entry| at(states.maps, Some(entry), Record::Entry(number, entry)));
    }
    records
}

fn load(store: &Store, states: &States, records: &BTreeMap<Vec<u8>, Record>) -> Result<(), Error> {
    let mut load = store.bulk_load(records.len() as u64)?;
    for record in records.values() {
        match *record {
            Record::Value(number) => load.put(states.values, store.key(&number.to_be_bytes()), &[number as u8; 100])?,
            Record::List(number) => {
                load.put_list(states.lists, store.key(&number.to_be_bytes()), &[b"a", &number.to_be_bytes()])?;
            }
            Record::Sum(number) => {
                load.put(states.sums, store.key(&number.to_be_bytes()), &u64::from(number).to_le_bytes())?;
            }
            Record::Entry(number, entry) => {
                load.map_put(states.maps, store.key(&number.to_be_bytes()), &entry.to_be_bytes(), b"entry")?;
            }
        }
    }
    load.finish()
}

#[test]
fn what_is_loaded_is_there_and_can_be_changed() {
    const NUMBERS: u32 = 60_000;
    let directory = tempfile::tempdir().unwrap();
    let engine = engine();
    let mut store = create(&engine, directory.path());
    let states = States::new(&store);
    // A writer that lives before the load, and a state that has something already.
    let other = store.state(StateOptions::value("other")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    writer.put(other, store.key(b"k"), b"1").unwrap();
    assert_eq!(writer.get(states.values, store.key(&7_u32.to_be_bytes())).unwrap(), None);
    let all = records(&store, &states, NUMBERS);
    let written = store.metrics().io.written_bytes;
    load(&store, &states, &all).unwrap();
    let metrics = store.metrics();
    let loaded = metrics.segment_bytes;
    assert!(metrics.io.written_bytes - written < loaded + loaded / 10, "it was written more than once");
    for round in 0..2 {
        for number in (0..NUMBERS).step_by(101) {
            let bytes = number.to_be_bytes();
            let key = store.key(&bytes);
            assert_eq!(writer.get(states.values, key).unwrap().unwrap(), [number as u8; 100]);
            assert_eq!(writer.list(states.lists, key).unwrap(), [&b"a"[..], &bytes]);
            assert_eq!(writer.get(states.sums, key).unwrap().unwrap(), u64::from(number).to_le_bytes());
            let mut entries = 0;
            let count = |_: &[u8], value: &[u8]| {
                assert_eq!(value, b"entry");
                entries += 1;
                ControlFlow::Continue(())
            };
            writer.map_scan(states.maps, key, &MapRange::all(), count).unwrap();
            assert_eq!(entries, number % 5);
        }
        let (mut cursor, mut out, mut found) = (Cursor::keys(states.values, store.range()), Packed::default(), 0);
        while writer.fetch(&mut cursor, &mut out).unwrap() {
            found += out.len();
        }
        assert_eq!(found, NUMBERS as usize);
        assert_eq!(writer.get(other, store.key(b"k")).unwrap().unwrap(), b"1");
        if round == 0 {
            store.barrier(Barrier::new(1)).unwrap().wait().unwrap();
            drop(writer);
            store.close().unwrap();
            store = Store::open(&engine, directory.path(), StoreOptions::default()).unwrap();
            let again = States::new(&store);
            assert_eq!(again.maps, states.maps);
            writer = store.writer(store.range()).unwrap();
        }
    }
    assert_eq!(store.metrics().compacted_bytes, 0, "what was loaded was merged");
    // Loaded and changed: deleted, put anew, appended to, merged into; then merged on disk.
    let key = store.key(b"\0\0\0\x07");
    writer.delete(states.values, key).unwrap();
    writer.append(states.lists, key, b"more").unwrap();
    writer.merge(states.sums, key, &1_u64.to_le_bytes()).unwrap();
    writer.map_clear(states.maps, store.key(b"\0\0\0\x04")).unwrap();
    store.barrier(Barrier::new(2)).unwrap().wait().unwrap();
    store.compact().unwrap();
    assert_eq!(writer.get(states.values, key).unwrap(), None);
    assert_eq!(writer.list(states.lists, key).unwrap(), [&b"a"[..], b"\0\0\0\x07", b"more"]);
    assert_eq!(writer.get(states.sums, key).unwrap().unwrap(), 8_u64.to_le_bytes());
    assert!(writer.map_is_empty(states.maps, store.key(b"\0\0\0\x04")).unwrap());
}

#[test]
fn only_what_is_empty_is_loaded_and_only_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine();
    let store = create(&engine, directory.path());
    let states = States::new(&store);
    let key = |group: u16| Key::new(KeyGroup(group), b"k");
    let mut writer = store.writer(store.range()).unwrap();
    let try_one = |group: u16| {
        let mut load = store.bulk_load(1)?;
        load.put(states.values, key(group), b"loaded")?;
        load.finish()
    };
    // Something in memory, on disk, and of both.
    writer.put(states.values, key(3), b"put").unwrap();
    assert!(matches!(try_one(3), Err(Error::State { .. })));
    store.barrier(Barrier::new(1)).unwrap().wait().unwrap();
    assert!(matches!(try_one(3), Err(Error::State { .. })));
    try_one(4).unwrap();
    assert!(matches!(try_one(4), Err(Error::State { .. })), "loaded twice");
    assert_eq!(writer.get(states.values, key(3)).unwrap().unwrap(), b"put");
    assert_eq!(writer.get(states.values, key(4)).unwrap().unwrap(), b"loaded");
    let mut load = store.bulk_load(9).unwrap();
    load.put(states.values, key(6), b"1").unwrap();
    for refused in [
        load.put(states.values, key(6), b"twice"),
        load.put(states.values, key(5), b"back"),
        load.put(states.maps, key(7), b"no value"),
        load.put(states.sums, key(7), b"not 8 bytes"),
        load.put_list(states.lists, key(7), &[]),
        load.map_put(states.values, key(7), b"u", b"no map"),
        load.put(states.values, Key::new(KeyGroup(999), b"k"), b"outside"),
    ] {
        assert!(refused.is_err());
    }
    drop(load);
    assert_eq!(writer.get(states.values, key(6)).unwrap(), None, "a load that was dropped");
    // What was refused or dropped leaves no file. What a merge replaced goes in the background, when no checkpoint names it.
    let is_segment =
        |file: std::io::Result<std::fs::DirEntry>| file.unwrap().file_name().to_string_lossy().ends_with(".segment");
    let files =
        || std::fs::read_dir(directory.path()).unwrap().filter_map(|file| is_segment(file).then_some(())).count();
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(60);
    for label in 2.. {
        store.barrier(Barrier::new(label)).unwrap().wait().unwrap();
        if files() as u64 == store.metrics().segments {
            break;
        }
        assert!(std::time::Instant::now() < patience, "{} files of {} segments", files(), store.metrics().segments);
        std::thread::yield_now();
    }
    store.close().unwrap();
}

#[test]
fn what_is_loaded_expires_by_the_clock_of_the_load() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine();
    let store = create(&engine, directory.path());
    let ttl = Ttl { duration_ms: 100, refresh_on_read: false };
    let values = store.state(StateOptions::value("v").ttl(ttl)).unwrap();
    let mut load = store.bulk_load(2).unwrap();
    load.set_time_ms(1_000);
    load.put(values, Key::new(KeyGroup(0), b"k"), b"1").unwrap();
    load.finish().unwrap();
    let reader = store.reader();
    reader.set_time_ms(1_099);
    assert!(reader.get(values, Key::new(KeyGroup(0), b"k")).unwrap().is_some());
    reader.set_time_ms(1_100);
    assert_eq!(reader.get(values, Key::new(KeyGroup(0), b"k")).unwrap(), None);
}

/// What deletes on disk masked what was loaded under it, once it had left memory.
#[test]
fn what_is_deleted_on_disk_is_no_empty_place() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::open(EngineOptions { memory_budget_bytes: 4 << 20, ..Default::default() }).unwrap();
    let store = create(&engine, directory.path());
    let states = States::new(&store);
    let other = store.state(StateOptions::value("other")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    let key = Key::new(KeyGroup(3), b"k");
    writer.put(states.values, key, b"put").unwrap();
    writer.map_put(states.maps, key, b"u", b"put").unwrap();
    store.barrier(Barrier::new(1)).unwrap().wait().unwrap();
    writer.delete(states.values, key).unwrap();
    writer.map_clear(states.maps, key).unwrap();
    store.barrier(Barrier::new(2)).unwrap().wait().unwrap();
    // Everything clean leaves memory.
    for number in 0..30_000_u32 {
        writer.put(other, store.key(&number.to_be_bytes()), &[1; 500]).unwrap();
    }
    let mut try_both = |loaded: bool| {
        let mut load = store.bulk_load(2).unwrap();
        load.put(states.values, key, b"loaded").unwrap();
        load.map_put(states.maps, key, b"u", b"loaded").unwrap();
        assert_eq!(load.finish().is_ok(), loaded);
        let expected = loaded.then(|| b"loaded".to_vec());
        assert_eq!(writer.get(states.values, key).unwrap(), expected);
        assert_eq!(writer.map_get(states.maps, key, b"u").unwrap(), expected);
    };
    let merged = store.metrics().compactions > 0;
    if !merged {
        try_both(false);
    }
    store.compact().unwrap();
    try_both(true);
}
