//! What is easy to get wrong in this design, each with the story of how it would show.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

use alluvium::{
    Barrier, Engine, EngineOptions, Error, Key, KeyGroup, KeyGroupRange, MapRange, State, StateOptions, Store,
    StoreOptions, Ttl, Writer,
};
use std::ops::ControlFlow;
use std::path::Path;

fn engine(budget_mib: usize) -> Engine {
    Engine::open(EngineOptions { memory_budget_bytes: budget_mib << 20, ..Default::default() }).unwrap()
}

fn create(engine: &Engine, path: &Path) -> Store {
    Store::create(engine, path, StoreOptions::default()).unwrap()
}

fn open(engine: &Engine, path: &Path) -> Store {
    Store::open(engine, path, StoreOptions::default()).unwrap()
}

fn checkpoint(store: &Store, label: u64) -> alluvium::CheckpointInfo {
    store.barrier(Barrier::new(label)).unwrap().wait().unwrap()
}

/// Closes the store and opens it again, with a writer and its state.
fn again(engine: &Engine, path: &Path, store: Store, writer: Writer, options: StateOptions) -> (Store, Writer, State) {
    drop(writer);
    store.close().unwrap();
    let store = open(engine, path);
    let state = store.state(options).unwrap();
    let writer = store.writer(store.range()).unwrap();
    (store, writer, state)
}

/// A window is a namespace that is put, changed and deleted; what began and ended within an epoch is fresh, so not even
/// a tombstone of it is due.
#[test]
fn windows_that_open_and_close_between_checkpoints_never_reach_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(16);
    let store = create(&engine, directory.path());
    let state = store.state(StateOptions::value("windows")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    for window in 0..100_000_u32 {
        let window = window.to_be_bytes();
        let key = store.key(b"key").in_namespace(&window);
        writer.put(state, key, b"1").unwrap();
        writer.update(state, key, |old| old.map(|old| [old, b"2"].concat())).unwrap();
        assert_eq!(writer.get(state, key).unwrap().unwrap(), b"12");
        writer.delete(state, key).unwrap();
    }
    let info = checkpoint(&store, 1);
    assert_eq!((info.segments, info.flushed_bytes), (0, 0));
    assert!(info.new_bytes < 4_096, "{info:?}");
}

#[test]
fn after_all_windows_are_closed_the_disk_is_near_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(4);
    let store = create(&engine, directory.path());
    let cells = store.state(StateOptions::value("cells")).unwrap();
    let maps = store.state(StateOptions::map("maps")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    for round in 0..4_u32 {
        for key in 0..5_000_u32 {
            let (name, window) = (key.to_be_bytes(), round.to_be_bytes());
            let key = store.key(&name).in_namespace(&window);
            writer.put(cells, key, &[7; 300]).unwrap();
            writer.map_put(maps, key, b"a", b"1").unwrap();
            writer.map_put(maps, key, b"b", b"2").unwrap();
        }
        checkpoint(&store, u64::from(round));
    }
    for round in 0..4_u32 {
        for key in 0..5_000_u32 {
            let (name, window) = (key.to_be_bytes(), round.to_be_bytes());
            let key = store.key(&name).in_namespace(&window);
            writer.delete(cells, key).unwrap();
            writer.map_clear(maps, key).unwrap();
        }
    }
    checkpoint(&store, 10);
    store.compact().unwrap();
    let info = checkpoint(&store, 11);
    assert_eq!(info.segments, 0, "{info:?}");
    drop(writer);
    // Files go in the background; closing waits for it.
    store.close().unwrap();
    let bytes: u64 =
        std::fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
    assert!(bytes < 64 << 10, "{bytes} bytes are left");
}

/// A deletion of what is being flushed: the record is no longer fresh, so it takes a tombstone, or the value comes back.
#[test]
fn what_is_deleted_while_it_is_being_flushed_stays_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(16);
    let store = create(&engine, directory.path());
    let options = || StateOptions::value("v");
    let state = store.state(options()).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    let names: Vec<[u8; 4]> = (0..1_000_u32).map(u32::to_be_bytes).collect();
    for name in &names {
        writer.put(state, store.key(name), b"x").unwrap();
    }
    let first = store.barrier(Barrier::new(1)).unwrap();
    for name in &names {
        writer.delete(state, store.key(name)).unwrap();
    }
    let second = store.barrier(Barrier::new(2)).unwrap();
    first.wait().unwrap();
    second.wait().unwrap();
    let (store, mut writer, state) = again(&engine, directory.path(), store, writer, options());
    for name in &names {
        assert_eq!(writer.get(state, store.key(name)).unwrap(), None);
    }
}

#[test]
fn a_chunk_of_a_list_that_was_flushed_is_never_extended() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(16);
    let store = create(&engine, directory.path());
    let options = || StateOptions::list("l");
    let state = store.state(options()).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    let key = Key::new(KeyGroup(3), b"k");
    let mut wanted = Vec::new();
    for round in 0..30_u8 {
        for element in 0..3 {
            wanted.push(vec![round, element]);
            writer.append(state, key, &[round, element]).unwrap();
        }
        // Some are still in flight when the next elements come.
        let pending = store.barrier(Barrier::new(u64::from(round))).unwrap();
        if round % 3 == 0 {
            pending.wait().unwrap();
            assert_eq!(writer.list(state, key).unwrap(), wanted);
        }
    }
    checkpoint(&store, 100);
    let (store, mut writer, state) = again(&engine, directory.path(), store, writer, options());
    assert_eq!(writer.list(state, key).unwrap(), wanted);
    writer.append(state, key, b"last").unwrap();
    wanted.push(b"last".to_vec());
    checkpoint(&store, 101);
    let (_store, mut writer, state) = again(&engine, directory.path(), store, writer, options());
    assert_eq!(writer.list(state, key).unwrap(), wanted);
}

#[test]
fn an_aborted_checkpoint_s_changes_join_the_next_one() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(16);
    let store = create(&engine, directory.path());
    let options = || StateOptions::value("v");
    let state = store.state(options()).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    checkpoint(&store, 1);
    writer.put(state, store.key(b"a"), b"1").unwrap();
    let aborted = store.barrier(Barrier::new(2)).unwrap();
    aborted.abort().unwrap();
    writer.put(state, store.key(b"b"), b"2").unwrap();
    checkpoint(&store, 3);
    assert!(store.checkpoints().iter().all(|info| info.label != 2));
    let (store, mut writer, state) = again(&engine, directory.path(), store, writer, options());
    assert_eq!(store.restored().unwrap().label, 3);
    assert_eq!(writer.get(state, store.key(b"a")).unwrap().unwrap(), b"1");
    assert_eq!(writer.get(state, store.key(b"b")).unwrap().unwrap(), b"2");
}

#[test]
fn a_checkpoint_that_is_subsumed_while_it_is_iterated_is_read_to_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(16);
    let store = create(&engine, directory.path());
    let state = store.state(StateOptions::value("v")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    for number in 0..5_000_u32 {
        writer.put(state, store.key(&number.to_be_bytes()), b"old").unwrap();
    }
    checkpoint(&store, 1);
    let items = store.iterate(1).unwrap();
    for number in 0..5_000_u32 {
        writer.put(state, store.key(&number.to_be_bytes()), b"new").unwrap();
    }
    checkpoint(&store, 2);
    store.compact().unwrap();
    checkpoint(&store, 3);
    checkpoint(&store, 4);
    let values: Vec<Vec<u8>> = items.map(|item| item.unwrap().value).collect();
    assert_eq!(values.len(), 5_000);
    assert!(values.iter().all(|value| value == b"old"));
}

#[test]
fn empty_keys_and_values_differ_from_absence() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(16);
    let store = create(&engine, directory.path());
    let (values, maps) = (store.state(StateOptions::value("v")).unwrap(), store.state(StateOptions::map("m")).unwrap());
    let lists = store.state(StateOptions::list("l")).unwrap();
    let key = Key::new(KeyGroup(0), b"");
    let mut writer = store.writer(store.range()).unwrap();
    assert_eq!(writer.get(values, key).unwrap(), None);
    writer.put(values, key, b"").unwrap();
    writer.map_put(maps, key, b"", b"").unwrap();
    writer.append(lists, key, b"").unwrap();
    checkpoint(&store, 1);
    drop(writer);
    store.close().unwrap();
    let store = open(&engine, directory.path());
    let mut writer = store.writer(store.range()).unwrap();
    assert_eq!(writer.get(values, key).unwrap(), Some(Vec::new()));
    assert_eq!(writer.map_get(maps, key, b"").unwrap(), Some(Vec::new()));
    assert_eq!(writer.map_first(maps, key).unwrap(), Some((Vec::new(), Vec::new())));
    assert_eq!(writer.list(lists, key).unwrap(), [Vec::<u8>::new()]);
    assert_eq!(writer.get(values, key.in_namespace(b"w")).unwrap(), None);
}

#[test]
fn what_is_too_long_or_outside_the_range_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(16);
    let store = create(&engine, directory.path());
    let (values, maps) = (store.state(StateOptions::value("v")).unwrap(), store.state(StateOptions::map("m")).unwrap());
    let mut writer = store.writer(KeyGroupRange::new(0, 9)).unwrap();
    let long = vec![1; 65_001];
    let inside = Key::new(KeyGroup(1), b"k");
    assert!(matches!(writer.put(values, Key::new(KeyGroup(1), &long), b""), Err(Error::TooLong { .. })));
    assert!(matches!(writer.get(values, Key::new(KeyGroup(1), &long)), Err(Error::TooLong { .. })));
    assert!(matches!(writer.get(values, inside.in_namespace(&long)), Err(Error::TooLong { .. })));
    assert!(matches!(writer.map_put(maps, inside, &long, b""), Err(Error::TooLong { .. })));
    assert!(matches!(writer.put(values, Key::new(KeyGroup(10), b"k"), b""), Err(Error::OutsideRange { .. })));
    assert!(matches!(writer.put(maps, inside, b""), Err(Error::State { .. })));
    writer.put(values, Key::new(KeyGroup(1), &long[1..]), b"longest").unwrap();
    writer.map_put(maps, inside, &long[1..], b"longest").unwrap();
    checkpoint(&store, 1);
    assert_eq!(writer.get(values, Key::new(KeyGroup(1), &long[1..])).unwrap().unwrap(), b"longest");

    for range in [KeyGroupRange::new(0, 9), KeyGroupRange::new(9, 12), KeyGroupRange::new(0, 127)] {
        assert!(matches!(store.writer(range), Err(Error::RangeClaimed { .. })), "{range:?}");
    }
    assert!(matches!(store.writer(KeyGroupRange::new(120, 128)), Err(Error::OutsideRange { .. })));
    let beside = store.writer(KeyGroupRange::new(10, 12)).unwrap();
    drop((writer, beside));
    store.writer(KeyGroupRange::new(5, 11)).unwrap();
}

/// A barrier needs nothing of the writers' threads.
#[test]
fn a_writer_that_never_does_anything_again_holds_no_checkpoint_up() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(4);
    let store = create(&engine, directory.path());
    let options = || StateOptions::value("v");
    let state = store.state(options()).unwrap();
    let mut idle = store.writer(KeyGroupRange::new(0, 63)).unwrap();
    let mut busy = store.writer(KeyGroupRange::new(64, 127)).unwrap();
    for number in 0..2_000_u32 {
        idle.put(state, Key::new(KeyGroup(0), &number.to_be_bytes()), &[1; 500]).unwrap();
    }
    // More than memory has room for beside what the idle one holds.
    for round in 0..4_u64 {
        for number in 0..8_000_u32 {
            busy.put(state, Key::new(KeyGroup(64), &number.to_be_bytes()), &[round as u8; 500]).unwrap();
        }
        checkpoint(&store, round);
    }
    drop((idle, busy));
    store.close().unwrap();
    let store = open(&engine, directory.path());
    let mut writer = store.writer(store.range()).unwrap();
    for number in 0..2_000_u32 {
        assert_eq!(writer.get(state, Key::new(KeyGroup(0), &number.to_be_bytes())).unwrap().unwrap(), [1; 500]);
    }
    for number in 0..8_000_u32 {
        assert_eq!(writer.get(state, Key::new(KeyGroup(64), &number.to_be_bytes())).unwrap().unwrap(), [3; 500]);
    }
}

#[test]
fn one_thread_owns_two_stores_at_the_memory_floor() {
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let engine = engine(4);
    let stores = directories.each_ref().map(|directory| create(&engine, directory.path()));
    let states = stores.each_ref().map(|store| store.state(StateOptions::value("v")).unwrap());
    let mut writers = stores.each_ref().map(|store| store.writer(store.range()).unwrap());
    for turn in 0..60_u32 {
        // In turns of some hundreds, so that each meets the other's dirty memory.
        let at = (turn % 2) as usize;
        for number in 0..400_u32 {
            let name = [turn.to_be_bytes(), number.to_be_bytes()].concat();
            writers[at].put(states[at], stores[at].key(&name), &[turn as u8; 1_000]).unwrap();
        }
        assert!(engine.used_bytes() <= engine.budget_bytes());
    }
    for turn in 0..60_u32 {
        let at = (turn % 2) as usize;
        for number in 0..400_u32 {
            let name = [turn.to_be_bytes(), number.to_be_bytes()].concat();
            let found = writers[at].get(states[at], stores[at].key(&name)).unwrap();
            assert_eq!(found.unwrap(), [turn as u8; 1_000]);
        }
    }
}

#[test]
fn long_values_go_through_a_budget_that_holds_them_and_are_refused_by_one_that_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(96);
    let store = create(&engine, directory.path());
    let options = || StateOptions::value("v");
    let state = store.state(options()).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    let value = |mib: usize| -> Vec<u8> { (0..mib << 20).map(|at| (at * mib / 1_000) as u8).collect() };
    for mib in [8, 16, 64, 8, 24] {
        writer.put(state, store.key(&[mib as u8]), &value(mib)).unwrap();
        assert!(engine.used_bytes() <= engine.budget_bytes());
    }
    let error = writer.put(state, store.key(b"beyond"), &vec![1; 100 << 20]).unwrap_err();
    assert!(matches!(error, Error::Budget { .. }), "{error}");
    writer.put(state, store.key(b"after"), b"1").unwrap();
    checkpoint(&store, 1);
    for mib in [8, 16, 24, 64] {
        assert!(writer.get(state, store.key(&[mib as u8])).unwrap().unwrap() == value(mib), "{mib} MiB");
    }
    let (store, mut writer, state) = again(&engine, directory.path(), store, writer, options());
    for mib in [8, 16, 24, 64] {
        assert!(writer.get(state, store.key(&[mib as u8])).unwrap().unwrap() == value(mib), "{mib} MiB, reopened");
    }
    assert_eq!(writer.get(state, store.key(b"beyond")).unwrap(), None);
    assert_eq!(writer.get(state, store.key(b"after")).unwrap().unwrap(), b"1");
}

/// What is expired is never given back: from memory, from segments, merged, scanned, or after compaction.
#[test]
fn what_is_expired_is_never_returned() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(16);
    let store = create(&engine, directory.path());
    let ttl = Ttl { duration_ms: 100, refresh_on_read: false };
    let sums = || StateOptions::merging("s", alluvium::MergeOperator::U64Add).ttl(ttl);
    let (state, maps) = (store.state(sums()).unwrap(), store.state(StateOptions::map("m").ttl(ttl)).unwrap());
    let key = Key::new(KeyGroup(0), b"k");
    let mut writer = store.writer(store.range()).unwrap();
    writer.merge(state, key, &5_u64.to_le_bytes()).unwrap();
    writer.map_put(maps, key, b"old", b"1").unwrap();
    checkpoint(&store, 1);
    drop(writer);
    store.close().unwrap();
    let store = open(&engine, directory.path());
    let (state, maps) = (store.state(sums()).unwrap(), store.state(StateOptions::map("m").ttl(ttl)).unwrap());
    let mut writer = store.writer(store.range()).unwrap();
    // The 5 had expired when the 3 came, whatever clock a compaction goes by.
    writer.set_time_ms(150);
    writer.merge(state, key, &3_u64.to_le_bytes()).unwrap();
    writer.map_put(maps, key, b"new", b"2").unwrap();
    checkpoint(&store, 2);
    store.compact().unwrap();
    drop(writer);
    store.close().unwrap();
    let store = open(&engine, directory.path());
    let (state, maps) = (store.state(sums()).unwrap(), store.state(StateOptions::map("m").ttl(ttl)).unwrap());
    let mut writer = store.writer(store.range()).unwrap();
    writer.set_time_ms(200);
    assert_eq!(writer.get(state, key).unwrap().unwrap(), 3_u64.to_le_bytes());
    let mut found = Vec::new();
    writer
        .map_scan(maps, key, &MapRange::all(), |user_key, _| {
            found.push(user_key.to_vec());
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(found, [b"new"]);
    assert_eq!(writer.map_first(maps, key).unwrap().unwrap().0, b"new");
    writer.set_time_ms(250);
    assert_eq!(writer.get(state, key).unwrap(), None);
    assert!(writer.map_is_empty(maps, key).unwrap());
}

/// Counters of the current epoch are changed on a path of their own, others on the general one, and a batch goes from
/// the first to the second at any key: all lengths of keys, in key groups of the host's choice, some keys in several
/// groups, some twice in a batch; values that change their length; checkpoints between.
#[test]
fn quick_changes_and_general_ones_are_the_same() {
    let seed = std::env::var("ALLUVIUM_SEED").map_or(11, |seed| seed.parse().unwrap());
    println!("ALLUVIUM_SEED={seed}");
    let mut state_of_random: u64 = seed;
    let mut below = |bound: u64| {
        state_of_random =
            state_of_random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state_of_random >> 33) % bound
    };
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(16);
    let store = create(&engine, directory.path());
    let states = ["a", "b"].map(|name| store.state(StateOptions::value(name)).unwrap());
    let mut writer = store.writer(store.range()).unwrap();
    let keys: Vec<(KeyGroup, Vec<u8>)> = (0..600_u64)
        .map(|number| (KeyGroup((number % 4) as u16 * 31), vec![(number / 164) as u8; (number / 4 % 41) as usize]))
        .collect();
    let mut model = std::collections::HashMap::<(usize, &(KeyGroup, Vec<u8>)), Vec<u8>>::new();
    let all = &keys;
    let next = |old: Option<&[u8]>, way: u64| match (old, way) {
        (_, 0) => None,
        (_, 1) => Some(vec![9; 3]),
        (Some(old), _) if old.len() == 8 => {
            Some((u64::from_le_bytes(old.try_into().unwrap()) + way).to_le_bytes().to_vec())
        }
        _ => Some(way.to_le_bytes().to_vec()),
    };
    for round in 0..4_000_u64 {
        let which = below(2) as usize;
        let count = [1, 1, 3, 40][below(4) as usize];
        let chosen: Vec<(usize, u64)> = (0..count)
            .map(|_| (below(keys.len() as u64) as usize, if below(30) == 0 { below(2) } else { 2 + below(5) }))
            .collect();
        if count == 1 {
            let (index, way) = chosen[0];
            let key = Key::new(keys[index].0, &keys[index].1);
            writer.update(states[which], key, |old| next(old, way)).unwrap();
        } else {
            let keys: Vec<Key<'_>> = chosen.iter().map(|&(index, _)| Key::new(keys[index].0, &keys[index].1)).collect();
            writer.update_many(states[which], &keys, |at, old| next(old, chosen[at].1)).unwrap();
        }
        for (index, way) in chosen {
            match next(model.get(&(which, &all[index])).map(Vec::as_slice), way) {
                Some(value) => model.insert((which, &all[index]), value),
                None => model.remove(&(which, &all[index])),
            };
        }
        if round % 500 == 499 {
            checkpoint(&store, round);
        }
    }
    for (which, &state) in states.iter().enumerate() {
        for (index, (group, key)) in keys.iter().enumerate() {
            let found = writer.get(state, Key::new(*group, key)).unwrap();
            assert_eq!(found.as_deref(), model.get(&(which, &all[index])).map(Vec::as_slice), "{which} {index}");
        }
    }
    let outside = writer.update(states[0], Key::new(KeyGroup(128), &[0; 16]), |_| Some([0; 8])).unwrap_err();
    assert!(matches!(outside, Error::OutsideRange { .. }), "{outside:?}");
}

/// A reader that is not used any more knows the shard of a writer that is gone; the memory must go to the next writer
/// all the same.
#[test]
fn an_idle_reader_keeps_no_memory_from_the_next_writer() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(4);
    let store = create(&engine, directory.path());
    let state = store.state(StateOptions::value("values")).unwrap();
    let reader = store.reader();
    let value = |number: u32, round: u32| [(number * 31 + round) as u8; 500];
    let keys: Vec<[u8; 4]> = (0..8_000_u32).map(u32::to_be_bytes).collect();
    let halves = [KeyGroupRange::new(0, 63), KeyGroupRange::new(64, 127)];
    for round in 0..4 {
        let ranges = if round % 2 == 0 { vec![store.range()] } else { halves.to_vec() };
        let mut writers: Vec<Writer> = ranges.iter().map(|&range| store.writer(range).unwrap()).collect();
        for (number, key) in (0..).zip(&keys) {
            let key = store.key(key);
            let at = ranges.iter().position(|range| range.contains(key.group)).unwrap();
            writers[at].put(state, key, &value(number, round)).unwrap();
        }
        for (number, key) in (0..).zip(&keys).step_by(97) {
            let found = reader.get(state, store.key(key)).unwrap();
            assert_eq!(found.as_deref(), Some(&value(number, round)[..]), "round {round}, key {number}");
        }
    }
}

/// A process that dies before its first checkpoint leaves segments (it spilled) and no checkpoint: starting it again
/// creates the store again, and what was left goes.
#[test]
fn a_store_is_created_where_one_died_before_its_first_checkpoint() {
    let directory = tempfile::tempdir().unwrap();
    let segments = || {
        let names = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_str().unwrap().ends_with(".segment")).collect::<Vec<_>>()
    };
    let fill = |round: u8| {
        let engine = engine(4);
        let store = create(&engine, directory.path());
        let state = store.state(StateOptions::value("values")).unwrap();
        let mut writer = store.writer(store.range()).unwrap();
        for number in 0..10_000_u32 {
            writer.put(state, store.key(&number.to_be_bytes()), &[round; 1000]).unwrap();
        }
        (engine, store, writer)
    };
    let (engine, store, writer) = fill(1);
    drop(writer);
    store.close().unwrap();
    drop(engine);
    let left = segments();
    assert!(!left.is_empty(), "nothing was spilled, so this shows nothing");
    let (engine, store, writer) = fill(2);
    checkpoint(&store, 1);
    assert!(segments().iter().all(|name| !left.contains(name)), "segments that nothing names are still there");
    drop(writer);
    store.close().unwrap();
    let again = Store::create(&engine, directory.path(), StoreOptions::default());
    assert!(again.is_err(), "a checkpoint is there now");
}

/// The budget of a running engine can be lowered and raised.
#[test]
fn a_budget_that_changes_is_kept_from_then_on() {
    let directory = tempfile::tempdir().unwrap();
    let options = EngineOptions { memory_budget_bytes: 8 << 20, memory_ceiling_bytes: 24 << 20, ..Default::default() };
    let engine = Engine::open(options).unwrap();
    let store = create(&engine, directory.path());
    let state = store.state(StateOptions::value("values")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    for (round, budget) in [(1_u8, 24_usize << 20), (2, 4 << 20), (3, 16 << 20)] {
        engine.set_budget_bytes(budget).unwrap();
        for number in 0..20_000_u32 {
            writer.put(state, store.key(&number.to_be_bytes()), &[round; 1000]).unwrap();
        }
        // A little is charged whether there is room or not, and given back.
        assert!(engine.used_bytes() <= budget + (64 << 10), "{} bytes of {budget}", engine.used_bytes());
        for number in (0..20_000_u32).step_by(317) {
            assert_eq!(writer.get(state, store.key(&number.to_be_bytes())).unwrap().unwrap(), [round; 1000]);
        }
    }
    assert!(matches!(engine.set_budget_bytes(25 << 20), Err(Error::Options { .. })));
    assert!(matches!(engine.set_budget_bytes(1 << 20), Err(Error::Options { .. })));
}

/// The commonest case of streaming: a new window's key is not there. As long as something of its table is on disk that takes
/// a look at filters; after all of it is gone it must not.
#[test]
fn once_nothing_is_left_on_disk_a_miss_in_memory_is_an_answer_again() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(4);
    let store = create(&engine, directory.path());
    let state = store.state(StateOptions::value("v")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    let names: Vec<[u8; 8]> = (0..20_000_u64).map(u64::to_be_bytes).collect();
    for round in 1..=3_u64 {
        for name in &names {
            writer.put(state, store.key(name), &[7; 500]).unwrap();
        }
        for name in &names {
            writer.delete(state, store.key(name)).unwrap();
        }
        checkpoint(&store, round);
        store.compact().unwrap();
        assert_eq!(checkpoint(&store, round + 10).segments, 0);
        let reader = store.reader();
        let before = store.metrics().owner;
        for name in &names {
            assert_eq!(writer.get(state, store.key(name)).unwrap(), None);
            assert_eq!(reader.get(state, store.key(name)).unwrap(), None);
        }
        let after = store.metrics().owner;
        assert_eq!((after.cold_lookups, after.filter_probes), (before.cold_lookups, before.filter_probes), "{round}");
    }
    // And what is spilled then is found.
    for name in &names {
        writer.put(state, store.key(name), &[8; 500]).unwrap();
    }
    for name in &names {
        assert_eq!(writer.get(state, store.key(name)).unwrap().unwrap(), [8; 500]);
    }
    assert!(store.metrics().owner.cold_lookups > 0);
}

/// The writer's own range is cut inside its own gate, the others' by asking: both must be in the checkpoint, and nothing of
/// what comes after it; with more barriers than may be in flight.
#[test]
fn a_writer_s_barrier_cuts_every_writer_s_range() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(16);
    let store = create(&engine, directory.path());
    let state = store.state(StateOptions::value("v")).unwrap();
    let last = store.range().last();
    let mut low = store.writer(KeyGroupRange::new(0, last / 2)).unwrap();
    let mut high = store.writer(KeyGroupRange::new(last / 2 + 1, last)).unwrap();
    let key = |group: u16| Key::new(KeyGroup(group), b"k");
    let mut pending = Vec::new();
    for label in 1..=8_u64 {
        low.put(state, key(0), &label.to_le_bytes()).unwrap();
        high.put(state, key(last), &label.to_le_bytes()).unwrap();
        let writer = if label % 2 == 0 { &mut low } else { &mut high };
        pending.push(writer.barrier(Barrier::new(label)).unwrap());
        low.put(state, key(0), b"after").unwrap();
        high.put(state, key(last), b"after").unwrap();
        if label == 8 {
            let values: Vec<Vec<u8>> = {
                pending.pop().unwrap().wait().unwrap();
                store.iterate(label).unwrap().map(|item| item.unwrap().value).collect()
            };
            assert_eq!(values, [label.to_le_bytes(), label.to_le_bytes()]);
        }
    }
    for checkpoint in pending {
        checkpoint.wait().unwrap();
    }
}
