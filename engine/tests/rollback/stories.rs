//! What a rollback is, one story each.

use crate::world::{
    Content, GROUPS, LIST, MAP, Model, Part, QUEUE, SUM, VALUE, assert_same, key, options, range, read_all,
    read_checkpoint, states_of,
};
use alluvium::{
    Barrier, CheckpointSource, Class, Commit, Convert, Cursor, Durability, Engine, EngineOptions, Error, Key, KeyGroup,
    KeyGroupRange, MapRange, Packed, Scope, State, StateOptions, Store, StoreOptions, Ttl, Writer,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

fn engine() -> Engine {
    Engine::open(EngineOptions { memory_budget_bytes: 64 << 20, ..EngineOptions::default() }).unwrap()
}

fn logging() -> StoreOptions {
    StoreOptions { durability: Durability::Changelog, ..options() }
}

/// Opens a store. One that was dropped lives until the engine's threads have let go of it.
fn open(engine: &Engine, path: &Path, options: &StoreOptions) -> Store {
    loop {
        match Store::open_or_create(engine, path, options.clone()) {
            Err(error) if error.class() == Class::Retry => std::thread::sleep(Duration::from_millis(1)),
            opened => return opened.unwrap(),
        }
    }
}

fn checkpoint(store: &Store, label: u64) {
    store.barrier(Barrier::new(label)).unwrap().wait().unwrap();
}

fn group(number: u16) -> Scope {
    Scope::groups(KeyGroupRange::new(number, number))
}

/// Puts something of each kind into every key group; other things for another `round`.
fn fill(writer: &mut Writer, states: &[State], round: u8, keys: u8) {
    for number in 0..GROUPS {
        for k in 0..keys {
            let bytes = [k];
            let at = Key::new(KeyGroup(number), &bytes);
            writer.put(states[VALUE], at, &[round; 100]).unwrap();
            writer.append(states[LIST], at, &[round; 10]).unwrap();
            writer.merge(states[SUM], at, &u64::from(round).to_le_bytes()).unwrap();
            for entry in 0..100_u8 {
                writer.map_put(states[MAP], at, &[entry], &[round]).unwrap();
                writer.map_put(states[QUEUE], at, &[entry, round], &[round]).unwrap();
            }
        }
    }
}

/// Deletes in every way that there is.
fn spoil(writer: &mut Writer, states: &[State]) {
    for number in 0..GROUPS {
        let at = |k: &'static [u8]| Key::new(KeyGroup(number), k);
        writer.delete(states[VALUE], at(&[0])).unwrap();
        writer.put(states[VALUE], at(&[77]), b"new").unwrap();
        writer.delete(states[LIST], at(&[0])).unwrap();
        writer.put_list(states[LIST], at(&[1]), &[b"other"]).unwrap();
        writer.delete(states[SUM], at(&[0])).unwrap();
        writer.map_clear(states[MAP], at(&[0])).unwrap();
        writer.map_delete_range(states[MAP], at(&[1]), &alluvium::MapRange::all()).unwrap();
        writer.map_put(states[MAP], at(&[1]), b"new", b"new").unwrap();
        for _ in 0..30 {
            writer.map_pop_first(states[QUEUE], at(&[0])).unwrap().unwrap();
        }
    }
}

#[test]
fn everything_of_the_scope_returns_and_nothing_else_changes() {
    // In memory alone, on disk and in memory, and on disk alone after a recovery.
    for place in 0..3 {
        let directory = tempfile::tempdir().unwrap();
        let engine = engine();
        let store = Store::create(&engine, directory.path(), options()).unwrap();
        let states = states_of(&store);
        let mut writer = store.writer(range()).unwrap();
        fill(&mut writer, &states, 1, 5);
        checkpoint(&store, 1);
        let before = read_all(&mut store.reader(), &states, range());
        fill(&mut writer, &states, 2, 5);
        spoil(&mut writer, &states);
        let (mut store, mut states) = (store, states);
        if place > 0 {
            checkpoint(&store, 2);
        }
        if place == 2 {
            drop(writer);
            store.close().unwrap();
            store = open(&engine, directory.path(), &options());
            states = states_of(&store);
            writer = store.writer(range()).unwrap();
        }
        let mut wanted = read_all(&mut store.reader(), &states, range());
        let parts = [
            Part { range: KeyGroupRange::new(2, 3), states: vec![] },
            Part { range: KeyGroupRange::new(0, 2), states: vec![LIST, MAP] },
            Part { range: range(), states: vec![QUEUE] },
            Part { range: range(), states: vec![] },
        ];
        for part in parts {
            let rewound = store.rollback(&part.scope(&states), 1).unwrap();
            assert_eq!((rewound.label, rewound.offsets.len()), (1, 0));
            part.roll_back(&mut wanted, &before);
            assert_same(&read_all(&mut writer, &states, range()), &wanted, "writer");
            assert_same(&read_all(&mut store.reader(), &states, range()), &wanted, "reader");
        }
        assert_same(&wanted, &before, "all of it");
        // It is written to as ever, and lasts with the next checkpoint.
        fill(&mut writer, &states, 3, 2);
        let wanted = read_all(&mut writer, &states, range());
        checkpoint(&store, 3);
        store.compact().unwrap();
        assert_same(&read_checkpoint(&store, 3), &wanted, "checkpoint");
        drop(writer);
        store.close().unwrap();
        let store = open(&engine, directory.path(), &options());
        assert_same(&read_all(&mut store.reader(), &states_of(&store), range()), &wanted, "reopened");
    }
}

#[test]
fn what_expires_is_there_again_until_it_does() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::create(&engine(), directory.path(), options()).unwrap();
    let ttl = Ttl { duration_ms: 1_000, refresh_on_read: false };
    let state = store.state(StateOptions::value("expires").ttl(ttl)).unwrap();
    let at = Key::new(KeyGroup(1), b"k");
    let mut writer = store.writer(range()).unwrap();
    writer.set_time_ms(100);
    writer.put(state, at, b"old").unwrap();
    checkpoint(&store, 1);
    writer.set_time_ms(900);
    writer.put(state, at, b"new").unwrap();
    store.rollback(&group(1), 1).unwrap();
    assert_eq!(writer.get(state, at).unwrap().unwrap(), b"old");
    writer.set_time_ms(1_100);
    assert_eq!(writer.get(state, at).unwrap(), None, "by the time that it was written at first");
}

/// Compaction went on by the time from before the rollback: it removed what the rollback had brought back, and what was written since.
#[test]
fn what_a_rollback_brings_back_is_not_purged_by_the_time_before_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::create(&engine(), directory.path(), options()).unwrap();
    let ttl = Ttl { duration_ms: 100, refresh_on_read: false };
    let state = store.state(StateOptions::value("expires").ttl(ttl)).unwrap();
    let other = store.state(StateOptions::value("other")).unwrap();
    let [first, second] = [b"k", b"l"].map(|key| Key::new(KeyGroup(1), key));
    let mut writer = store.writer(range()).unwrap();
    writer.set_time_ms(100);
    writer.put(state, first, b"old").unwrap();
    checkpoint(&store, 1);
    store.retain(1).unwrap();
    writer.set_time_ms(1_000);
    writer.put(other, first, b"value").unwrap();
    checkpoint(&store, 2);
    store.rollback(&group(1), 1).unwrap();
    writer.set_time_ms(120);
    writer.put(state, second, b"new").unwrap();
    for label in 3..5 {
        checkpoint(&store, label);
        store.compact().unwrap();
        assert_eq!(writer.get(state, first).unwrap().unwrap(), b"old");
        assert_eq!(writer.get(state, second).unwrap().unwrap(), b"new");
    }
    writer.set_time_ms(210);
    assert_eq!(writer.get(state, first).unwrap(), None);
    assert_eq!(writer.get(state, second).unwrap().unwrap(), b"new");
}

/// What was cut before has what it had, however late it becomes complete, and what is cut afterwards has the rollback.
#[test]
fn what_is_on_its_way_has_what_was_there_when_it_was_cut() {
    for round in 0..10 {
        let directory = tempfile::tempdir().unwrap();
        let engine = engine();
        let store = Store::create(&engine, directory.path(), options()).unwrap();
        let states = states_of(&store);
        let mut writer = store.writer(range()).unwrap();
        fill(&mut writer, &states, 1, 20);
        checkpoint(&store, 1);
        let first = read_all(&mut writer, &states, range());
        fill(&mut writer, &states, 2, 20);
        let second = read_all(&mut writer, &states, range());
        let pending = store.barrier(Barrier::new(2)).unwrap();
        fill(&mut writer, &states, 3, 20);
        let mut third = read_all(&mut writer, &states, range());
        let mut snapshot = store.snapshot().unwrap();
        if round % 2 == 1 {
            std::thread::sleep(Duration::from_millis(round));
        }
        let part =
            Part { range: KeyGroupRange::new(1, 4), states: if round % 3 == 0 { vec![LIST, SUM] } else { vec![] } };
        store.rollback(&part.scope(&states), 1).unwrap();
        let snapshot_of = third.clone();
        part.roll_back(&mut third, &first);
        // Another one on top, while what was cut before the first is perhaps still on its way.
        let other = Part { range: KeyGroupRange::new(3, 5), states: vec![] };
        store.rollback(&other.scope(&states), 1).unwrap();
        other.roll_back(&mut third, &first);
        assert_same(&read_all(&mut store.reader(), &states, range()), &third, "at once");
        let after = store.barrier(Barrier::new(3)).unwrap();
        pending.wait().unwrap();
        assert_same(&read_checkpoint(&store, 2), &second, "cut before");
        assert_same(&read_all(&mut snapshot, &states, range()), &snapshot_of, "taken before");
        after.wait().unwrap();
        assert_same(&read_checkpoint(&store, 3), &third, "cut after");
        assert_same(&read_all(&mut store.reader(), &states, range()), &third, "flushed");
        // Forth to what was undone, and back.
        let whole = Part { range: range(), states: vec![] };
        store.rollback(&whole.scope(&states), 2).unwrap();
        assert_same(&read_all(&mut writer, &states, range()), &second, "forth");
        store.rollback(&whole.scope(&states), 3).unwrap();
        assert_same(&read_all(&mut writer, &states, range()), &third, "and back");
    }
}

/// A list is either what the checkpoint has or that with one generation behind it.
#[test]
fn readers_see_before_or_after_and_never_a_mix() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::create(&engine(), directory.path(), options()).unwrap();
    let states = states_of(&store);
    let mut writer = store.writer(range()).unwrap();
    let at = Key::new(KeyGroup(2), b"k");
    for i in 0..10_u8 {
        writer.append(states[LIST], at, &[0, i]).unwrap();
        writer.map_put(states[MAP], at, &[i], &[0]).unwrap();
    }
    writer.put(states[VALUE], at, &[0]).unwrap();
    checkpoint(&store, 1);
    let (done, failed) = (AtomicBool::new(false), Mutex::new(None));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let reader = store.reader();
                while !done.load(Ordering::Relaxed) {
                    let list = reader.list(states[LIST], at).unwrap();
                    let (base, rest) = list.split_at(list.len().min(10));
                    let is_base = base.len() == 10 && base.iter().zip(0..).all(|(element, i)| element == &[0, i]);
                    let is_one = rest.iter().zip(0..).all(|(element, i)| element == &[rest[0][0], i]);
                    let value = reader.get(states[VALUE], at).unwrap();
                    let entry = reader.map_get(states[MAP], at, &[3]).unwrap();
                    let known = value.as_ref().is_some_and(|value| value.len() == 1) && entry.is_some();
                    if !is_base || !is_one || !known {
                        *failed.lock().unwrap() = Some((list, value, entry));
                    }
                }
            });
        }
        for generation in 1..200_u8 {
            for i in 0..5 {
                writer.append(states[LIST], at, &[generation, i]).unwrap();
            }
            writer.put(states[VALUE], at, &[generation]).unwrap();
            writer.map_put(states[MAP], at, &[3], &[generation]).unwrap();
            if generation % 7 == 0 {
                drop(store.barrier(Barrier::new(u64::from(generation) * 10)).unwrap());
                store.retain(1).unwrap();
            }
            store.rollback(&group(2), 1).unwrap();
            assert_eq!(writer.get(states[VALUE], at).unwrap().unwrap(), [0]);
        }
        done.store(true, Ordering::Relaxed);
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_none(), "{failed:?}");
}

/// What is there before and after is found once, whatever a cursor has just gone through.
#[test]
fn cursors_go_on_over_a_rollback() {
    for (spilled, batch) in [(false, 1), (false, 7), (true, 7), (true, 40)] {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::create(&engine(), directory.path(), options()).unwrap();
        let states = states_of(&store);
        let mut writer = store.writer(range()).unwrap();
        let at = |number: u16, k: &'static [u8; 1]| Key::new(KeyGroup(number), k);
        for number in 0..GROUPS {
            for k in 0..60_u8 {
                writer.put(states[VALUE], Key::new(KeyGroup(number), &[k]), &[k]).unwrap();
                writer.map_put(states[MAP], at(number, b"m"), &[k], &[k]).unwrap();
            }
        }
        checkpoint(&store, 1);
        for number in 0..GROUPS {
            for k in 40..90_u8 {
                writer.put(states[VALUE], Key::new(KeyGroup(number), &[k]), b"other").unwrap();
                writer.map_put(states[MAP], at(number, b"m"), &[k], b"other").unwrap();
            }
            for k in 0..20_u8 {
                writer.delete(states[VALUE], Key::new(KeyGroup(number), &[k])).unwrap();
                writer.map_delete(states[MAP], at(number, b"m"), &[k]).unwrap();
            }
        }
        if spilled {
            checkpoint(&store, 2);
        }
        let reader = store.reader();
        let mut out = Packed::new(batch, 1 << 16);
        let mut keys = Cursor::keys(states[VALUE], range());
        let mut entries = Cursor::entries(states[MAP], at(3, b"m"), &MapRange::all());
        let (mut found, mut of_map) = (Vec::new(), Vec::new());
        for step in 0.. {
            let more = reader.fetch(&mut keys, &mut out).unwrap();
            found.extend(out.iter().take_while(|_| more).map(|key| (key.group.0, key.key[0])));
            let more_entries = reader.fetch(&mut entries, &mut out).unwrap();
            of_map.extend(out.iter().take_while(|_| more_entries).map(|entry| entry.user_key[0]));
            if step == 3 {
                store.rollback(&Scope::groups(KeyGroupRange::new(0, 3)), 1).unwrap();
            }
            if !more && !more_entries {
                break;
            }
        }
        found.sort_unstable();
        assert!(found.windows(2).all(|pair| pair[0] != pair[1]), "a key came twice");
        let there = |number: u16, k: u8| found.binary_search(&(number, k)).is_ok();
        for number in 0..GROUPS {
            assert!((20..60).all(|k| there(number, k)), "key group {number} lacks what was always there");
            assert!((0..20).all(|k| number < 4 || !there(number, k)), "key group {number} has what was deleted");
        }
        assert!(of_map.is_sorted_by(|a, b| a < b) && (20..60).all(|k| of_map.contains(&k)), "{of_map:?}");
    }
}

#[test]
fn it_goes_on_after_rescaling() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let engine = engine();
    let store = Store::create(&engine, one.path(), options()).unwrap();
    let states = states_of(&store);
    let mut writer = store.writer(range()).unwrap();
    fill(&mut writer, &states, 1, 3);
    checkpoint(&store, 1);
    let mut wanted = read_all(&mut writer, &states, range());
    let first = wanted.clone();
    fill(&mut writer, &states, 2, 3);
    checkpoint(&store, 2);
    let part = Part { range: KeyGroupRange::new(2, 5), states: vec![VALUE, QUEUE] };
    wanted = read_all(&mut writer, &states, range());
    store.rollback(&part.scope(&states), 1).unwrap();
    part.roll_back(&mut wanted, &first);
    checkpoint(&store, 3);
    let half = KeyGroupRange::new(1, 3);
    let source = CheckpointSource { directory: one.path().to_owned(), label: Some(3) };
    let restored = Store::restore(&engine, two.path(), &[source], StoreOptions { range: half, ..options() }).unwrap();
    let of_restored = states_of(&restored);
    let in_half = |(state, group, _): &(usize, u16, Vec<u8>)| *state < 5 && half.contains(KeyGroup(*group));
    let mut wanted: Model = wanted.into_iter().filter(|(at, _)| in_half(at)).collect();
    assert_same(&read_all(&mut restored.reader(), &of_restored, half), &wanted, "restored");
    // Its own checkpoint, made of the other store's, is one to go back to.
    let mut writer = restored.writer(half).unwrap();
    for number in 1..4 {
        writer.put(of_restored[VALUE], Key::new(KeyGroup(number), &[1]), b"changed").unwrap();
    }
    restored.rollback(&Scope::groups(KeyGroupRange::new(1, 2)), 3).unwrap();
    wanted.insert((VALUE, 3, vec![1]), Content::Value(b"changed".to_vec()));
    assert_same(&read_all(&mut writer, &of_restored, half), &wanted, "rolled back");
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine();
    let transactional = StoreOptions { transactional: true, ..options() };
    let store = Store::create(&engine, directory.path(), transactional.clone()).unwrap();
    let states = states_of(&store);
    let mut writer = store.writer(range()).unwrap();
    let at = |number| Key::new(KeyGroup(number), b"k");
    writer.put(states[VALUE], at(1), b"1").unwrap();
    store.commit(Commit::default()).unwrap();
    checkpoint(&store, 1);
    checkpoint(&store, 2);
    let refused = store.rollback(&group(1), 7).unwrap_err();
    assert!(matches!(refused, Error::Checkpoint { label: 7, .. }) && refused.to_string().contains("1, 2"), "{refused}");
    let outside = Scope::groups(KeyGroupRange::new(4, GROUPS));
    assert!(matches!(store.rollback(&outside, 1), Err(Error::OutsideRange { group: KeyGroup(GROUPS), .. })));
    let unknown = group(1).states(&[State::numbered(alluvium::StateId(99))]);
    assert!(matches!(store.rollback(&unknown, 1), Err(Error::State { .. })));
    writer.put(states[VALUE], at(1), b"staged").unwrap();
    let refused = store.rollback(&group(1), 1).unwrap_err();
    assert!(matches!(refused, Error::Busy { .. }), "{refused}");
    assert_eq!(writer.get(states[VALUE], at(1)).unwrap().unwrap(), b"staged");
    // Beside what is staged it goes on; an abort takes nothing of it back.
    store.rollback(&group(1).states(&[states[LIST]]), 1).unwrap();
    store.rollback(&group(2), 1).unwrap();
    store.abort_transaction().unwrap();
    store.rollback(&group(1), 1).unwrap();
    assert_eq!(writer.get(states[VALUE], at(1)).unwrap().unwrap(), b"1");

    #[derive(Debug)]
    struct Same;
    impl Convert for Same {
        fn name(&self) -> &str {
            "same"
        }
        fn convert(&self, old: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
            out.extend_from_slice(old);
            Ok(())
        }
    }
    store.migrate(states[VALUE], b"new", Arc::new(Same)).unwrap();
    assert!(matches!(store.rollback(&group(1), 1), Err(Error::State { .. })), "of an older schema");
    store.rollback(&group(1).states(&states[1..]), 1).unwrap();
    assert_eq!(writer.get(states[VALUE], at(1)).unwrap().unwrap(), b"1");
}

/// What came after the checkpoint that a store is opened at is of another history.
#[test]
fn a_history_that_was_given_up_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine();
    let store = Store::create(&engine, directory.path(), options()).unwrap();
    let states = states_of(&store);
    let mut writer = store.writer(range()).unwrap();
    for label in 1..4 {
        fill(&mut writer, &states, label as u8, 1);
        checkpoint(&store, label);
    }
    drop(writer);
    store.close().unwrap();
    let store = Store::open_checkpoint(&engine, directory.path(), 1, options()).unwrap();
    let wanted = read_all(&mut store.reader(), &states, range());
    assert!(matches!(store.rollback(&group(1), 3), Err(Error::Checkpoint { label: 3, .. })));
    assert_same(&read_all(&mut store.reader(), &states, range()), &wanted, "refused");
    store.rollback(&group(1), 1).unwrap();
}

/// As soon as enough epochs had passed it was gone back to; after a crash they hadn't, and the store could not be opened any more.
#[test]
fn a_history_that_was_given_up_is_refused_whatever_comes_after_it() {
    for kind in [options(), logging()] {
        let (directory, engine) = (tempfile::tempdir().unwrap(), engine());
        let options = StoreOptions { retained_checkpoints: 8, ..kind };
        let store = Store::create(&engine, directory.path(), options.clone()).unwrap();
        let states = states_of(&store);
        let mut writer = store.writer(range()).unwrap();
        for label in 1..=6 {
            fill(&mut writer, &states, label as u8, 1);
            checkpoint(&store, label);
        }
        drop(writer);
        store.close().unwrap();
        let refuses = |store: &Store| {
            for label in 2..=6 {
                let refused = store.rollback(&Scope::groups(range()), label);
                assert!(matches!(refused, Err(Error::Checkpoint { .. })), "{label}: {refused:?}");
            }
        };
        let store = Store::open_checkpoint(&engine, directory.path(), 1, options.clone()).unwrap();
        let states = states_of(&store);
        let mut writer = store.writer(range()).unwrap();
        for round in 7..14 {
            fill(&mut writer, &states, round, 1);
            drop(store.snapshot().unwrap());
        }
        let wanted = read_all(&mut store.reader(), &states, range());
        refuses(&store);
        assert_same(&read_all(&mut store.reader(), &states, range()), &wanted, "refused");
        checkpoint(&store, 7);
        refuses(&store);
        drop((writer, store));
        let store = open(&engine, directory.path(), &options);
        refuses(&store);
        let states = states_of(&store);
        assert_same(&read_all(&mut store.reader(), &states, range()), &wanted, "recovered");
        // This one is of both.
        store.rollback(&Scope::groups(range()), 1).unwrap();
        assert_same(&read_all(&mut store.reader(), &states, range()), &read_checkpoint(&store, 1), "gone back");
    }
}

/// Where nothing says any more that it was left, it is gone back to, also after a crash; not where it has a state that there isn't any more.
#[test]
fn what_was_gone_back_to_is_gone_back_to_again() {
    for has_another in [false, true] {
        let (directory, engine) = (tempfile::tempdir().unwrap(), engine());
        let many = StoreOptions { retained_checkpoints: 12, ..logging() };
        let store = Store::create(&engine, directory.path(), many).unwrap();
        let states = states_of(&store);
        let mut writer = store.writer(range()).unwrap();
        for label in 1..=12 {
            fill(&mut writer, &states, label as u8, 1);
            if has_another && label == 12 {
                let another = store.state(StateOptions::value("another")).unwrap();
                writer.put(another, Key::new(KeyGroup(1), b"k"), b"v").unwrap();
            }
            checkpoint(&store, label);
        }
        let left = read_all(&mut store.reader(), &states, range());
        drop(writer);
        store.close().unwrap();
        let few = StoreOptions { retained_checkpoints: 1, ..logging() };
        let store = Store::open_checkpoint(&engine, directory.path(), 1, few.clone()).unwrap();
        store.retain(12).unwrap();
        let states = states_of(&store);
        let mut writer = store.writer(range()).unwrap();
        fill(&mut writer, &states, 13, 1);
        checkpoint(&store, 13);
        let deadline = Instant::now() + Duration::from_secs(60);
        while store.checkpoints().iter().map(|info| info.label).ne([12, 13]) {
            assert!(Instant::now() < deadline, "{:?}", store.checkpoints());
            std::thread::sleep(Duration::from_millis(1));
        }
        drop((writer, store));
        let store = open(&engine, directory.path(), &few);
        let states = states_of(&store);
        let mut writer = store.writer(range()).unwrap();
        for round in 14..30 {
            fill(&mut writer, &states, round, 1);
            drop(store.snapshot().unwrap());
        }
        if has_another {
            let refused = store.rollback(&Scope::groups(range()), 12);
            assert!(matches!(refused, Err(Error::State { .. })), "{refused:?}");
            store.state(StateOptions::value("another")).unwrap();
        }
        store.rollback(&Scope::groups(range()), 12).unwrap();
        writer.commit(Commit::default()).unwrap().wait().unwrap();
        drop((writer, store));
        let store = open(&engine, directory.path(), &few);
        let states = states_of(&store);
        drop(store.writer(range()).unwrap());
        assert_same(&read_all(&mut store.reader(), &states, range()), &left, "gone back to again");
        let another = store.state(StateOptions::value("another")).unwrap();
        let found = store.reader().get(another, Key::new(KeyGroup(1), b"k")).unwrap();
        assert_eq!(found.is_some(), has_another);
    }
}

#[test]
fn the_memory_of_what_was_undone_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::create(&engine(), directory.path(), options()).unwrap();
    let states = states_of(&store);
    let mut writer = store.writer(range()).unwrap();
    fill(&mut writer, &states, 1, 2);
    checkpoint(&store, 1);
    let least = store.metrics().memory_bytes;
    for round in 0..4_u8 {
        for i in 0..20_000_u32 {
            let bytes = i.to_le_bytes();
            let at = Key::new(KeyGroup(3), &bytes);
            writer.put(states[VALUE], at, &[round; 300]).unwrap();
            writer.append(states[LIST], at, &[round; 20]).unwrap();
            writer.map_put(states[MAP], Key::new(KeyGroup(3), &bytes[1..]), &bytes, &[round; 50]).unwrap();
        }
        let range = KeyGroupRange::new(3, 3);
        if round % 2 == 0 {
            // Cut out, and not freed yet; and being flushed.
            writer.map_clear(states[MAP], Key::new(KeyGroup(3), &[0, 0, 0])).unwrap();
            drop(store.barrier(Barrier::new(2 + u64::from(round))).unwrap());
            store.retain(1).unwrap();
        }
        assert!(store.metrics().memory_bytes > least + (5 << 20));
        store.rollback(&Scope::groups(range), 1).unwrap();
        // Without its owner, which is idle.
        let deadline = Instant::now() + Duration::from_secs(60);
        while store.metrics().memory_bytes > least + (1 << 20) {
            assert!(Instant::now() < deadline, "{} bytes, at first {least}", store.metrics().memory_bytes);
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(writer.get(states[VALUE], Key::new(KeyGroup(3), &[1])).unwrap().unwrap(), [1; 100]);
    }
}

#[test]
fn offsets_are_those_of_the_scope() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::create(&engine(), directory.path(), options()).unwrap();
    let offset = |first, last, bytes: &[u8]| (KeyGroupRange::new(first, last), bytes.to_vec());
    let offsets = vec![offset(0, 2, b"a"), offset(3, 5, b"b")];
    let barrier = Barrier { offsets, metadata: b"meta".to_vec(), ..Barrier::new(1) };
    store.barrier(barrier).unwrap().wait().unwrap();
    let rewound = store.rollback(&Scope::groups(KeyGroupRange::new(1, 3)), 1).unwrap();
    assert_eq!(rewound.offsets, [offset(1, 2, b"a"), offset(3, 3, b"b")]);
    assert_eq!((rewound.metadata, rewound.number), (b"meta".to_vec(), store.checkpoints()[0].number));
}

/// It lasts with the commit that follows, in its place among the changes, and needs its checkpoint until another one has it.
#[test]
fn with_a_changelog_it_lasts_with_the_next_commit() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine();
    let options = StoreOptions { retained_checkpoints: 1, ..logging() };
    let at = |number| Key::new(KeyGroup(number), b"k");
    let mut wanted: BTreeMap<u16, u64> = BTreeMap::new();
    for (round, commits) in [(1_u64, false), (2, true), (3, true)] {
        let store = open(&engine, directory.path(), &options);
        let state = states_of(&store)[SUM];
        let mut writer = store.writer(range()).unwrap();
        for number in 0..GROUPS {
            writer.merge(state, at(number), &1_u64.to_le_bytes()).unwrap();
            *wanted.entry(number).or_insert(0) += 1;
        }
        let to = round * 10;
        checkpoint(&store, to);
        let before = wanted.clone();
        for number in 0..GROUPS {
            writer.merge(state, at(number), &100_u64.to_le_bytes()).unwrap();
            *wanted.entry(number).or_insert(0) += 100;
        }
        store.commit(Commit::default()).unwrap().wait().unwrap();
        let rewound = store.rollback(&Scope::groups(KeyGroupRange::new(1, 3)), to).unwrap();
        assert_eq!(rewound.label, to);
        if commits {
            wanted.extend((1..=3).map(|number| (number, before[&number])));
            for number in 0..GROUPS {
                writer.merge(state, at(number), &1_000_u64.to_le_bytes()).unwrap();
                *wanted.entry(number).or_insert(0) += 1_000;
            }
            store.commit(Commit::default()).unwrap().wait().unwrap();
            // The host lets go of it; the changelog doesn't.
            store.release(to).unwrap();
        }
        drop(writer);
        drop(store);
        // A range at a time; each has what it has to have once it was replayed.
        let store = open(&engine, directory.path(), &options);
        let state = states_of(&store)[SUM];
        for range in [KeyGroupRange::new(0, 1), KeyGroupRange::new(2, 2)] {
            let mut writer = store.writer(range).unwrap();
            for number in range.iter() {
                let sum = writer.get(state, at(number.0)).unwrap().unwrap();
                assert_eq!(sum, wanted[&number.0].to_le_bytes(), "round {round}, key group {number:?}");
            }
        }
        let reader = store.reader();
        for (number, sum) in &wanted {
            assert_eq!(reader.get(state, at(*number)).unwrap().unwrap(), sum.to_le_bytes(), "round {round}, {number}");
        }
        // A checkpoint has it, and nothing needs the old one any more.
        checkpoint(&store, to + 1);
        checkpoint(&store, to + 2);
        let labels: Vec<u64> = store.checkpoints().iter().map(|info| info.label).collect();
        assert_eq!(labels.last(), Some(&(to + 2)), "{labels:?}");
        store.close().unwrap();
    }
}

/// What one writer replayed of its key groups was replayed again, and counted twice, by one that claimed more.
#[test]
fn what_was_replayed_once_is_not_replayed_again_with_a_larger_range() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine();
    let store = open(&engine, directory.path(), &logging());
    let state = states_of(&store)[SUM];
    let mut writer = store.writer(range()).unwrap();
    for number in 0..GROUPS {
        writer.merge(state, Key::new(KeyGroup(number), b"k"), &7_u64.to_le_bytes()).unwrap();
    }
    store.commit(Commit::default()).unwrap().wait().unwrap();
    drop(writer);
    store.close().unwrap();
    let store = open(&engine, directory.path(), &logging());
    let state = states_of(&store)[SUM];
    drop(store.writer(KeyGroupRange::new(1, 2)).unwrap());
    let mut writer = store.writer(range()).unwrap();
    for number in 0..GROUPS {
        let at = (SUM, number, b"k".to_vec());
        assert_eq!(writer.get(state, key(&at)).unwrap().unwrap(), 7_u64.to_le_bytes(), "key group {number}");
    }
}

/// What is gone through after some states were rolled back is what is there: most key groups have nothing of most states.
#[test]
fn many_key_groups_and_states_take_no_longer_for_what_they_do_not_have() {
    let (engine, directory) = (engine(), tempfile::tempdir().unwrap());
    let whole = KeyGroupRange::new(0, u16::MAX);
    let kept = StoreOptions { retained_checkpoints: 3, ..StoreOptions::default() };
    let options = StoreOptions { key_groups: 65_536, range: whole, ..kept };
    let store = open(&engine, directory.path(), &options);
    let names: Vec<String> = (0..300).map(|number| format!("state {number:03}")).collect();
    let states: Vec<State> = names.iter().map(|name| store.state(StateOptions::value(name)).unwrap()).collect();
    let mut writer = store.writer(KeyGroupRange::new(7, 9)).unwrap();
    let mut put = |group: u16, value: &[u8]| {
        states.iter().for_each(|&state| writer.put(state, Key::new(KeyGroup(group), b"k"), value).unwrap());
    };
    put(7, b"before");
    checkpoint(&store, 1);
    put(7, b"after");
    put(9, b"after");
    checkpoint(&store, 2);
    store.rollback(&Scope::groups(whole).states(&states[..2]), 1).unwrap();
    checkpoint(&store, 3);
    let all = |label: u64| {
        let items = store.iterate(label).unwrap().map(Result::unwrap);
        items.map(|item| (item.group.0, item.state, item.value)).collect::<Vec<_>>()
    };
    let rolled_back = |name: &str| names[..2].iter().any(|of| of == name);
    let mut wanted: Vec<(u16, String, Vec<u8>)> = Vec::new();
    for name in &names {
        wanted.push((7, name.clone(), if rolled_back(name) { b"before".to_vec() } else { b"after".to_vec() }));
    }
    wanted.extend(names[2..].iter().map(|name| (9, name.clone(), b"after".to_vec())));
    assert_eq!(all(3), wanted);
    store.compact().unwrap();
    checkpoint(&store, 4);
    assert_eq!(all(4), wanted);
}
