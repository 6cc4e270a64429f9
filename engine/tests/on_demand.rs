//! A changelog that is replayed key group by key group: whoever asks for something first has it, right, while the rest is still being replayed.
//!
//! `ALLUVIUM_TEST_SEED=<seed> cargo test -p alluvium --test on_demand` runs that history alone.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

use alluvium::{
    Applying, Barrier, ChangelogOptions, Class, Commit, Cursor, Durability, Engine, EngineOptions, Error, Handler, Key,
    KeyGroup, KeyGroupRange, Merge, MergeOperator, Packed, RecoveryStage, Result, Scope, State, StateOptions, Store,
    StoreOptions, Ttl, Writer,
};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

#[path = "on_demand/random.rs"]
mod random;
#[path = "support/turns.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod turns;

const GROUPS: u16 = 16;

fn engine() -> Engine {
    Engine::open(EngineOptions { memory_budget_bytes: 64 << 20, ..EngineOptions::default() }).unwrap()
}

/// Everything is replayed key group by key group, however little it is.
fn options() -> StoreOptions {
    let changelog = ChangelogOptions { file_bytes: 1 << 20, whole_replay_bytes: 0, ..ChangelogOptions::default() };
    StoreOptions {
        key_groups: GROUPS.into(),
        range: KeyGroupRange::new(0, GROUPS - 1),
        durability: Durability::Changelog,
        changelog,
        ..StoreOptions::default()
    }
}

/// Opens a store, or makes it. One that was dropped lives until the engine's threads have let go of it.
fn open(engine: &Engine, path: &Path, options: &StoreOptions) -> Store {
    loop {
        match Store::open_or_create(engine, path, options.clone()) {
            Err(error) if error.class() == Class::Retry => turns::sleep(Duration::from_millis(1)),
            opened => return opened.unwrap(),
        }
    }
}

fn values(store: &Store) -> State {
    store.state(StateOptions::value("values")).unwrap()
}

fn key(bytes: &[u8; 4]) -> Key<'_> {
    Key::new(KeyGroup(u16::from(bytes[0]) % GROUPS), bytes)
}

fn value(n: u32) -> Vec<u8> {
    n.to_le_bytes().repeat(200 + n as usize % 300)
}

/// A store with so many values behind its birth, that was left without a checkpoint.
fn left_behind(engine: &Engine, path: &Path, options: &StoreOptions, count: u32) {
    let store = open(engine, path, options);
    let state = values(&store);
    let mut writer = store.writer(store.range()).unwrap();
    for n in 0..count {
        writer.put(state, key(&n.to_le_bytes()), &value(n)).unwrap();
        // One file after another, however slow the disk is.
        if n % 400 == 399 {
            writer.commit(Commit::default()).unwrap().wait().unwrap();
        }
    }
}

fn await_complete(store: &Store) {
    while store.recovery().stage != RecoveryStage::Complete {
        turns::sleep(Duration::from_millis(1));
    }
}

#[test]
fn the_first_read_does_not_wait_for_the_rest() {
    let (directory, engine) = (tempfile::tempdir().unwrap(), engine());
    left_behind(&engine, directory.path(), &options(), 8_000);
    let mut early = 0;
    for round in 0..10 {
        let store = open(&engine, directory.path(), &options());
        let state = values(&store);
        assert_eq!(store.recovery().stage, RecoveryStage::Replaying);
        let n = round * 777_u32;
        let found = if round % 2 == 0 {
            store.reader().get(state, key(&n.to_le_bytes())).unwrap()
        } else {
            store.writer(store.range()).unwrap().get(state, key(&n.to_le_bytes())).unwrap()
        };
        assert_eq!(found, Some(value(n)));
        let seen = store.recovery();
        early += u32::from(seen.stage == RecoveryStage::Replaying);
        assert!(seen.replayed_bytes > 0 && (0.0..=1.0).contains(&seen.restored), "{seen:?}");
        await_complete(&store);
        let seen = store.recovery();
        assert_eq!((seen.replayed_bytes, seen.restored), (seen.replay_bytes, 1.0));
        let reader = store.reader();
        (0..8_000_u32).step_by(97).for_each(|n| {
            assert_eq!(reader.get(state, key(&n.to_le_bytes())).unwrap(), Some(value(n)));
        });
        drop(reader);
        store.close().unwrap();
    }
    assert!(early > 0, "every first read waited for everything");
}

/// What is checked only when it is read fails every call that needs it, and what was written stays as it is.
#[test]
fn damage_that_is_found_later_is_refused_before_anything_is_served() {
    let (directory, engine) = (tempfile::tempdir().unwrap(), engine());
    left_behind(&engine, directory.path(), &options(), 4_000);
    let mut logs: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().path()).collect();
    logs.retain(|path| path.to_string_lossy().ends_with(".changelog"));
    logs.sort();
    assert!(logs.len() > 2);
    let sound = std::fs::read(&logs[1]).unwrap();
    let mut damaged = sound.clone();
    // In a value, which repeats itself: neither a header nor a length is wrong.
    let is_in_value = |at: &usize| {
        let around = &sound[at - 64..at + 64];
        around.iter().any(|byte| *byte != 0) && around.iter().zip(&around[4..]).all(|(a, b)| a == b)
    };
    let at = (sound.len() / 3..).find(is_in_value).unwrap();
    damaged[at] ^= 1;
    std::fs::write(&logs[1], &damaged).unwrap();
    let is_refused = |error: Error| {
        assert!(matches!(&error, Error::Storage(storage) if storage.path == logs[1]), "{error}");
        assert_eq!(error.class(), Class::Corrupt);
    };
    for group in [0, 5, GROUPS - 1] {
        let store = open(&engine, directory.path(), &options());
        let state = values(&store);
        let bytes = [group as u8, 0, 0, 0];
        if group == 5 {
            is_refused(store.reader().get(state, key(&bytes)).unwrap_err());
        }
        if let Ok(mut writer) = store.writer(store.range()).map_err(is_refused) {
            is_refused(writer.get(state, key(&bytes)).unwrap_err());
            is_refused(writer.put(state, key(&bytes), b"new").unwrap_err());
            is_refused(writer.fetch(&mut Cursor::keys(state, store.range()), &mut Packed::default()).unwrap_err());
        }
        is_refused(store.barrier(Barrier::new(1)).unwrap_err());
        is_refused(store.reader().get(state, key(&bytes)).unwrap_err());
        drop(store);
    }
    std::fs::write(&logs[1], &sound).unwrap();
    let store = open(&engine, directory.path(), &options());
    let state = values(&store);
    (0..4_000_u32).step_by(31).for_each(|n| {
        assert_eq!(store.reader().get(state, key(&n.to_le_bytes())).unwrap(), Some(value(n)));
    });
}

/// The clock of a writer that is there already must not make anything expire that is being replayed, or live longer.
#[test]
fn what_expires_is_replayed_beside_a_writer_that_has_a_clock() {
    let ttl = Ttl { duration_ms: 1_000, refresh_on_read: true };
    let states = |store: &Store| {
        [
            StateOptions::merging("sums", MergeOperator::U64Add).ttl(ttl),
            StateOptions::list("lists").ttl(ttl),
            StateOptions::value("values").ttl(ttl),
        ]
        .map(|options| store.state(options).unwrap())
    };
    for (now_ms, live) in [(1_200, true), (5_000, false), (1_900, false)] {
        let (directory, engine) = (tempfile::tempdir().unwrap(), engine());
        let store = open(&engine, directory.path(), &options());
        let [sums, lists, values] = states(&store);
        let mut writer = store.writer(store.range()).unwrap();
        let keys: Vec<[u8; 4]> = (0..200_u32).map(u32::to_le_bytes).collect();
        for time in [0, 300, 600] {
            writer.set_time_ms(time);
            for bytes in &keys {
                writer.merge(sums, key(bytes), &1_u64.to_le_bytes()).unwrap();
                writer.append(lists, key(bytes), &time.to_le_bytes()).unwrap();
                writer.put(values, key(bytes), &time.to_le_bytes()).unwrap();
            }
        }
        // So it lives until 1,650.
        writer.set_time_ms(650);
        keys.iter().for_each(|bytes| drop(writer.get(values, key(bytes)).unwrap()));
        writer.commit(Commit::default()).unwrap().wait().unwrap();
        drop((writer, store));
        let store = open(&engine, directory.path(), &options());
        let [sums, lists, values] = states(&store);
        let mut writer = store.writer(store.range()).unwrap();
        writer.set_time_ms(now_ms);
        for bytes in &keys {
            assert_eq!(writer.get(sums, key(bytes)).unwrap().is_some(), live && now_ms < 1_600);
            let elements = writer.list(lists, key(bytes)).unwrap();
            let expected: Vec<Vec<u8>> = [0_u64, 300, 600]
                .iter()
                .filter(|time| *time + 1_000 > now_ms)
                .map(|t| t.to_le_bytes().to_vec())
                .collect();
            assert_eq!(elements, expected);
            let expected = (now_ms < 1_650).then(|| 600_u64.to_le_bytes().to_vec());
            assert_eq!(writer.get(values, key(bytes)).unwrap(), expected);
        }
        await_complete(&store);
        writer.put(values, key(&keys[0]), b"goes on").unwrap();
        writer.set_time_ms(now_ms + 999);
        assert!(writer.get(values, key(&keys[0])).unwrap().is_some());
        writer.set_time_ms(now_ms + 3_000);
        assert!(writer.get(values, key(&keys[0])).unwrap().is_none());
    }
}

/// Counts events.
#[derive(Debug)]
struct Count(State);

impl Handler for Count {
    fn name(&self) -> &str {
        "count"
    }

    fn version(&self) -> u32 {
        1
    }

    fn apply(&self, event: &[u8], applying: &mut Applying<'_>) -> Result<()> {
        let key = Key::new(applying.group(), event);
        applying.update(self.0, key, |old| {
            let old = old.and_then(|old| old.try_into().ok()).map_or(0, u64::from_le_bytes);
            Some((old + 1).to_le_bytes())
        })
    }
}

/// What is of all key groups, or needs the host's code, is replayed before the writer is there.
#[test]
fn what_can_not_be_replayed_by_key_group_is_replayed_as_a_whole() {
    for case in ["transactional", "events", "a rollback"] {
        let (directory, engine) = (tempfile::tempdir().unwrap(), engine());
        let options = StoreOptions { transactional: case == "transactional", ..options() };
        let counts = StateOptions::value("counts").log(alluvium::LogMode::Event);
        let store = open(&engine, directory.path(), &options);
        let state = store.state(counts.clone()).unwrap();
        let handler = store.handler(Arc::new(Count(state))).unwrap();
        let mut writer = store.writer(store.range()).unwrap();
        if case == "a rollback" {
            store.barrier(Barrier::new(1)).unwrap().wait().unwrap();
        }
        for n in 0..500_u32 {
            let bytes = n.to_le_bytes();
            if case == "events" {
                writer.apply_event(handler, key(&bytes).group, &bytes).unwrap();
            } else {
                writer.put(state, key(&bytes), &1_u64.to_le_bytes()).unwrap();
            }
        }
        if case == "a rollback" {
            store.rollback(&Scope::groups(KeyGroupRange::new(0, 3)), 1).unwrap();
        }
        writer.commit(Commit::default()).unwrap().wait().unwrap();
        drop((writer, store));
        let store = open(&engine, directory.path(), &options);
        let state = store.state(counts).unwrap();
        store.handler(Arc::new(Count(state))).unwrap();
        assert_eq!(store.recovery().stage, RecoveryStage::Replaying);
        let mut writer = store.writer(store.range()).unwrap();
        assert_eq!(store.recovery().stage, RecoveryStage::Complete, "{case}");
        for n in 0..500_u32 {
            let bytes = n.to_le_bytes();
            let gone = case == "a rollback" && key(&bytes).group.0 < 4;
            let expected = (!gone).then(|| 1_u64.to_le_bytes().to_vec());
            assert_eq!(writer.get(state, key(&bytes)).unwrap(), expected, "{case}, {n}");
        }
    }
}

/// The sum of two numbers.
#[derive(Debug)]
struct Adds;

impl Merge for Adds {
    fn name(&self) -> &str {
        "adds"
    }

    fn merge(&self, older: &[u8], newer: &[u8], out: &mut Vec<u8>) {
        let number = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
        out.extend_from_slice(&(number(older) + number(newer)).to_le_bytes());
    }
}

/// Operators have to be there before anything is replayed, as ever.
#[test]
fn an_operator_that_is_missing_is_asked_for() {
    let sum = || MergeOperator::User(Arc::new(Adds));
    let (directory, engine) = (tempfile::tempdir().unwrap(), engine());
    let store = open(&engine, directory.path(), &options());
    let state = store.state(StateOptions::merging("sums", sum())).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    (0..100_u32).for_each(|n| writer.merge(state, key(&(n % 20).to_le_bytes()), &1_u64.to_le_bytes()).unwrap());
    writer.commit(Commit::default()).unwrap().wait().unwrap();
    drop((writer, store));
    let store = open(&engine, directory.path(), &options());
    assert!(matches!(store.writer(store.range()), Err(Error::State { .. })));
    let state = store.state(StateOptions::merging("sums", sum())).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    (0..20_u32).for_each(|n| {
        assert_eq!(writer.get(state, key(&n.to_le_bytes())).unwrap(), Some(5_u64.to_le_bytes().to_vec()));
    });
}
