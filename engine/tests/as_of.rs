//! Reading the past, and bringing it back.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

#[path = "as_of/model.rs"]
mod model;
#[path = "model/rng.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod rng;

use alluvium::convert::Convert;
use alluvium::{
    Applying, AsOf, Barrier, ChangelogOptions, Commit, Cursor, Durability, Engine, EngineOptions, Error, Handler,
    History, Key, KeyGroup, KeyGroupRange, KeyScope, LogMode, MapRange, Packed, RolledBack, State, StateOptions, Store,
    StoreOptions, Ttl,
};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

fn engine() -> Engine {
    Engine::open(EngineOptions::default()).unwrap()
}

fn options(checkpoints: usize) -> StoreOptions {
    StoreOptions {
        key_groups: 4,
        range: KeyGroupRange::new(0, 3),
        durability: Durability::Changelog,
        changelog: ChangelogOptions { file_bytes: 1 << 20, ..Default::default() },
        history: History { checkpoints },
        ..Default::default()
    }
}

const fn key(name: &[u8]) -> Key<'_> {
    Key::new(KeyGroup(1), name)
}

fn checkpoint(store: &Store, label: u64) -> u64 {
    store.barrier(Barrier::new(label)).unwrap().wait().unwrap().position
}

fn commit(store: &Store) -> u64 {
    let committed = store.commit(Commit::default()).unwrap();
    committed.wait().unwrap();
    committed.position
}

/// Waits until these are the checkpoints that are kept: those that are subsumed go in the background.
fn await_kept(store: &Store, expected: &[u64]) {
    let waiting = std::time::Instant::now();
    loop {
        let kept: Vec<u64> = store.checkpoints().iter().map(|info| info.label).collect();
        if kept == expected {
            return;
        }
        assert!(waiting.elapsed().as_secs() < 60, "{kept:?} are kept, not {expected:?}");
        std::thread::yield_now();
    }
}

/// Waits until the files of the log have at most so many bytes, as they are cut in the background: how many they have.
fn await_log(directory: &Path, at_most: u64) -> u64 {
    let waiting = std::time::Instant::now();
    loop {
        let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
        let logs = entries.filter(|entry| entry.file_name().to_string_lossy().contains("log"));
        // A file may go between its listing and its length.
        let bytes: u64 = logs.filter_map(|log| log.metadata().ok()).map(|log| log.len()).sum();
        if bytes <= at_most {
            return bytes;
        }
        assert!(waiting.elapsed().as_secs() < 60, "{bytes} bytes of log, not {at_most}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn segments(directory: &Path) -> usize {
    let names = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().contains("seg")).count()
}

/// All keys and values of a value state, as a snapshot has them.
fn all(snapshot: &alluvium::Snapshot, state: State) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (mut cursor, mut found, mut all) =
        (Cursor::keys(state, KeyGroupRange::new(0, 3)), Packed::default(), Vec::new());
    while snapshot.fetch(&mut cursor, &mut found).unwrap() {
        for found in found.iter() {
            let at = Key::new(found.group, found.key);
            all.push((found.key.to_vec(), snapshot.get(state, at).unwrap().unwrap()));
        }
    }
    all.sort();
    all
}

#[test]
fn a_view_keeps_its_segments_while_checkpoints_come_and_go() {
    let (engine, directory) = (engine(), tempfile::tempdir().unwrap());
    // Checkpoints need no changelog.
    let plain = StoreOptions { key_groups: 4, range: KeyGroupRange::new(0, 3), ..Default::default() };
    let store = Store::create(&engine, directory.path(), plain).unwrap();
    let state = store.state(StateOptions::value("v")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    let expected = |round: u8| (0..50_u8).map(|n| (vec![n], vec![round; 200])).collect::<Vec<_>>();
    let mut views = Vec::new();
    for round in 1..=6_u8 {
        for n in 0..50 {
            writer.put(state, key(&[n]), &[round; 200]).unwrap();
        }
        checkpoint(&store, u64::from(round));
        if round == 1 {
            store.retain(1).unwrap();
        }
        if round == 1 || round == 3 {
            views.push((round, store.as_of(u64::from(round)).unwrap()));
        }
    }
    store.release(1).unwrap();
    store.compact().unwrap();
    checkpoint(&store, 7);
    await_kept(&store, &[7]);
    for label in [1, 2, 3] {
        let error = store.as_of(label).unwrap_err();
        assert!(matches!(&error, Error::Checkpoint { .. }) && error.to_string().ends_with("[7]"), "{error}");
        assert!(matches!(
            writer.rollback_keys(&KeyScope::Keys(&[]), AsOf::Label(label)),
            Err(Error::Checkpoint { .. })
        ));
    }
    let metrics = store.metrics();
    assert!(metrics.snapshots == 2 && metrics.snapshot_bytes > 0, "{metrics:?}");
    std::thread::scope(|scope| {
        for (round, view) in &views {
            scope.spawn(move || {
                for _ in 0..20 {
                    assert_eq!(all(view, state), expected(*round));
                }
            });
        }
        for n in 0..50 {
            writer.delete(state, key(&[n])).unwrap();
        }
        checkpoint(&store, 8);
        store.compact().unwrap();
    });
    let held = segments(directory.path());
    drop(views);
    // The files go with a later checkpoint, in the background.
    let waiting = std::time::Instant::now();
    let mut label = 9;
    while segments(directory.path()) >= held {
        assert!(waiting.elapsed().as_secs() < 60, "{held} segments stay");
        checkpoint(&store, label);
        label += 1;
    }
    assert_eq!(store.metrics().snapshots, 0);
    assert_eq!(all(&store.as_of(label - 1).unwrap(), state), []);
    assert!(matches!(store.as_of_position(0), Err(Error::Options { option: "history", .. })));
    assert!(matches!(
        writer.rollback_keys(&KeyScope::Keys(&[]), AsOf::Position(0)),
        Err(Error::Options { option: "history", .. })
    ));
}

#[test]
fn as_many_views_live_as_snapshots_may() {
    let (engine, directory) = (engine(), tempfile::tempdir().unwrap());
    let store = Store::create(&engine, directory.path(), StoreOptions { snapshots_max: 2, ..options(1) }).unwrap();
    checkpoint(&store, 1);
    let (_one, _two) = (store.as_of(1).unwrap(), store.as_of_position(0).unwrap());
    assert!(matches!(store.as_of(1), Err(Error::Busy { .. })));
    assert!(matches!(store.as_of_position(0), Err(Error::Busy { .. })));
    drop(_two);
    assert!(store.as_of_position(0).is_ok());
}

/// Each change has a position of its own, before it is committed, written, or moved to the stream.
#[test]
fn every_change_can_be_read_as_of_its_position() {
    let (engine, directory) = (engine(), tempfile::tempdir().unwrap());
    let store = Store::create(&engine, directory.path(), options(2)).unwrap();
    let state = store.state(StateOptions::value("v")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    let mut positions = Vec::new();
    for n in 0..40_u64 {
        writer.put(state, key(b"k"), &n.to_le_bytes()).unwrap();
        positions.push(store.position().unwrap());
        if n == 10 || n == 20 {
            assert_eq!(checkpoint(&store, n), positions[n as usize]);
        }
    }
    writer.put(state, key(b"k"), b"in the writer's buffer").unwrap();
    for (n, &position) in positions.iter().enumerate() {
        if n < 10 {
            assert!(matches!(store.as_of_position(position), Err(Error::Position { .. })), "{n}");
            continue;
        }
        for at in [position, position + 1] {
            // In the middle of the next change, this one is the last.
            let past = store.as_of_position(at).unwrap();
            assert_eq!(past.get(state, key(b"k")).unwrap().unwrap(), n.to_le_bytes(), "{at}");
            assert_eq!((past.position(), past.get(state, key(b"l")).unwrap()), (at, None));
        }
        let done = writer.rollback_keys(&KeyScope::Keys(&[(state, key(b"k"))]), AsOf::Position(position)).unwrap();
        assert_eq!((done.keys, done.changes, done.bytes), (1, 1, 9));
        assert_eq!(writer.get(state, key(b"k")).unwrap().unwrap(), n.to_le_bytes());
    }
    let end = store.position().unwrap();
    assert!(matches!(store.as_of_position(end + 1), Err(Error::Position { position, .. }) if position == end + 1));
    assert!(matches!(store.as_of_position(u64::MAX), Err(Error::Position { .. })));
    let past = store.as_of_position(end).unwrap();
    assert!(matches!(past.get(state, Key::new(KeyGroup(9), b"k")), Err(Error::OutsideRange { .. })));
    assert!(matches!(past.list(state, key(b"k")), Err(Error::State { .. })));
    drop(writer);
    store.close().unwrap();
    assert!(matches!(past.get(state, key(b"k")), Err(Error::Closed)));
}

#[test]
fn the_log_is_kept_as_far_back_as_the_history_and_its_readers_go() {
    // What the values of a round take, without their keys and headers.
    const ROUND: u64 = 700 * 2_000;
    let run = |checkpoints: usize, holds: bool, at_most: u64| {
        let (engine, directory) = (engine(), tempfile::tempdir().unwrap());
        let store = Store::create(&engine, directory.path(), options(checkpoints)).unwrap();
        let state = store.state(StateOptions::value("v")).unwrap();
        let mut writer = store.writer(store.range()).unwrap();
        let mut held = None;
        for round in 1..=12_u64 {
            for n in 0..700_u64 {
                writer.put(state, key(&n.to_le_bytes()), &[round as u8; 2_000]).unwrap();
            }
            commit(&store);
            checkpoint(&store, round);
            if holds && round == 2 {
                held = Some(store.as_of_position(store.position().unwrap()).unwrap());
            }
        }
        let bytes = await_log(directory.path(), at_most);
        if let Some(past) = held {
            assert_eq!(past.get(state, key(&3_u64.to_le_bytes())).unwrap().unwrap(), [2; 2_000]);
        }
        bytes
    };
    // The log may hold a whole file more than is asked of it at either end: a file has a block at least, and a block
    // of a writer that is ahead of the disk has up to a round.
    run(0, false, 3 * ROUND);
    run(1, false, 3 * ROUND);
    let four = run(4, false, 6 * ROUND);

    assert!(four >= 3 * ROUND, "{four}");
    let held = run(1, true, u64::MAX);
    assert!(held >= 10 * ROUND, "{held}");
}

#[derive(Debug)]
struct Count(State);

impl Handler for Count {
    fn name(&self) -> &str {
        "count"
    }
    fn version(&self) -> u32 {
        1
    }
    fn apply(&self, event: &[u8], applying: &mut Applying<'_>) -> alluvium::Result<()> {
        let key = Key::new(applying.group(), event);
        applying.update(self.0, key, |old| Some([old.unwrap_or_default(), b"x"].concat()))
    }
}

#[test]
fn what_the_changelog_does_not_have_is_refused() {
    let (engine, directory) = (engine(), tempfile::tempdir().unwrap());
    let store = Store::create(&engine, directory.path(), options(4)).unwrap();
    let state = store.state(StateOptions::value("v").log(LogMode::Event)).unwrap();
    let count = store.handler(Arc::new(Count(state))).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    let other = Key::new(KeyGroup(2), b"k");
    writer.put(state, other, b"1").unwrap();
    let before = commit(&store);
    writer.apply_event(count, KeyGroup(1), b"k").unwrap();
    let behind = commit(&store);
    // An event, for its key group.
    let past = store.as_of_position(behind).unwrap();
    assert!(matches!(past.get(state, key(b"k")), Err(Error::Position { .. })));
    assert_eq!(past.get(state, other).unwrap().unwrap(), b"1");
    assert_eq!(store.as_of_position(before).unwrap().get(state, key(b"k")).unwrap(), None);
    let scope = KeyScope::Keys(&[(state, other), (state, key(b"k"))]);
    assert!(matches!(writer.rollback_keys(&scope, AsOf::Position(behind)), Err(Error::Position { .. })));
    // A checkpoint has what it did.
    let position = checkpoint(&store, 1);
    assert_eq!(store.as_of_position(position).unwrap().get(state, key(b"k")).unwrap().unwrap(), b"x");
    // A load, until a checkpoint has it.
    let mut load = store.bulk_load(1).unwrap();
    load.put(state, Key::new(KeyGroup(3), b"loaded"), b"7").unwrap();
    load.finish().unwrap();
    writer.put(state, other, b"2").unwrap();
    let loaded = store.position().unwrap();
    let past = store.as_of_position(loaded).unwrap();
    assert!(matches!(past.get(state, Key::new(KeyGroup(3), b"loaded")), Err(Error::Position { .. })));
    assert!(matches!(past.get(state, other), Err(Error::Position { .. })));
    assert_eq!(store.as_of_position(position).unwrap().get(state, other).unwrap().unwrap(), b"1");
    writer.put(state, other, b"3").unwrap();
    let position = checkpoint(&store, 2);
    let past = store.as_of_position(position).unwrap();
    assert_eq!(past.get(state, Key::new(KeyGroup(3), b"loaded")).unwrap().unwrap(), b"7");
    assert!(matches!(store.as_of_position(loaded).unwrap().get(state, other), Err(Error::Position { .. })));
}

#[derive(Debug)]
struct Louder;

impl Convert for Louder {
    fn name(&self) -> &str {
        "louder"
    }
    fn convert(&self, old: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        out.extend_from_slice(old);
        out.push(b'!');
        Ok(())
    }
}

#[test]
fn states_that_came_later_are_empty_and_those_that_were_migrated_are_refused() {
    let (engine, directory) = (engine(), tempfile::tempdir().unwrap());
    let store = Store::create(&engine, directory.path(), options(4)).unwrap();
    let state = store.state(StateOptions::value("v")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    writer.put(state, key(b"k"), b"hello").unwrap();
    let first = checkpoint(&store, 1);
    let later = store.state(StateOptions::map("later")).unwrap();
    writer.map_put(later, key(b"m"), b"a", b"1").unwrap();
    let second = store.position().unwrap();
    assert_eq!(store.as_of(1).unwrap().map_get(later, key(b"m"), b"a").unwrap(), None);
    assert_eq!(store.as_of_position(first).unwrap().map_get(later, key(b"m"), b"a").unwrap(), None);
    let past = store.as_of_position(second).unwrap();
    assert_eq!(past.map_get(later, key(b"m"), b"a").unwrap().unwrap(), b"1");
    let done = writer.rollback_keys(&KeyScope::Keys(&[(later, key(b"m"))]), AsOf::Label(1)).unwrap();
    assert_eq!((done.keys, writer.map_first(later, key(b"m")).unwrap()), (1, None));

    store.migrate(state, b"loud", Arc::new(Louder)).unwrap();
    checkpoint(&store, 2);
    assert!(matches!(store.as_of(1).unwrap().get(state, key(b"k")), Err(Error::State { .. })));
    assert!(matches!(store.as_of_position(first).unwrap().get(state, key(b"k")), Err(Error::State { .. })));
    let scope = KeyScope::Keys(&[(state, key(b"k"))]);
    assert!(matches!(writer.rollback_keys(&scope, AsOf::Label(1)), Err(Error::State { .. })));
    assert_eq!(store.as_of(1).unwrap().map_get(later, key(b"m"), b"a").unwrap(), None);
    // Under way at the checkpoint or over by then, its values are of the new schema.
    assert_eq!(store.as_of(2).unwrap().get(state, key(b"k")).unwrap().unwrap(), b"hello!");
    writer.put(state, key(b"k"), b"bye!").unwrap();
    assert_eq!(writer.rollback_keys(&scope, AsOf::Label(2)).unwrap().keys, 1);
    assert_eq!(writer.get(state, key(b"k")).unwrap().unwrap(), b"hello!");
}

/// What is staged isn't there before it is committed, and never if it is undone.
#[test]
fn a_transactional_stores_past_is_what_was_committed() {
    let (engine, directory) = (engine(), tempfile::tempdir().unwrap());
    let options = StoreOptions { transactional: true, staged_bytes_max: 60 << 10, ..options(3) };
    let store = Store::create(&engine, directory.path(), options).unwrap();
    let state = store.state(StateOptions::value("v")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    writer.put(state, key(b"k"), b"1").unwrap();
    let one = commit(&store);
    writer.put(state, key(b"k"), b"undone").unwrap();
    let undone = store.position().unwrap();
    assert_eq!(store.as_of_position(undone).unwrap().get(state, key(b"k")).unwrap().unwrap(), b"1");
    store.abort_transaction().unwrap();
    writer.put(state, key(b"l"), b"2").unwrap();
    let two = commit(&store);
    for position in [one, undone, two - 1, two] {
        let past = store.as_of_position(position).unwrap();
        assert_eq!(past.get(state, key(b"k")).unwrap().unwrap(), b"1", "{position}");
        assert_eq!(past.get(state, key(b"l")).unwrap().is_some(), position == two, "{position}");
    }
    checkpoint(&store, 1);
    // More than may be staged comes back in parts.
    let numbers: Vec<[u8; 2]> = (0..200_u16).map(u16::to_be_bytes).collect();
    for (at, number) in numbers.iter().enumerate() {
        writer.put(state, key(number), &[3; 1_000]).unwrap();
        if at % 20 == 0 {
            commit(&store);
        }
    }
    let full = commit(&store);
    for (at, number) in numbers.iter().enumerate() {
        writer.put(state, key(number), &[4; 1_000]).unwrap();
        if at % 20 == 0 {
            commit(&store);
        }
    }
    commit(&store);
    let scope = KeyScope::Prefix { state, groups: KeyGroupRange::new(0, 3), prefix: &[0] };
    let mut attempts = 0;
    while let Err(error) = writer.rollback_keys(&scope, AsOf::Position(full)) {
        assert!(matches!(error, Error::Staged { .. }), "{error}");
        commit(&store);
        attempts += 1;
    }
    commit(&store);
    assert!((2..20).contains(&attempts), "{attempts}");
    for number in &numbers {
        assert_eq!(writer.get(state, key(number)).unwrap().unwrap(), [3; 1_000]);
    }
    assert_eq!(writer.get(state, key(b"k")).unwrap().unwrap(), b"1");
}

/// What came after the checkpoint that a store was opened at can be read as long as its checkpoints are there.
#[test]
fn a_store_that_went_back_still_has_what_it_left() {
    let (engine, directory) = (engine(), tempfile::tempdir().unwrap());
    let store = Store::create(&engine, directory.path(), options(3)).unwrap();
    let state = store.state(StateOptions::value("v")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    writer.put(state, key(b"k"), b"1").unwrap();
    checkpoint(&store, 1);
    let left = store.state(StateOptions::value("left")).unwrap();
    writer.put(left, key(b"k"), b"of the one that was left").unwrap();
    writer.put(state, key(b"k"), b"2").unwrap();
    let second = checkpoint(&store, 2);
    writer.put(state, key(b"k"), b"3").unwrap();
    writer.put(left, key(b"k"), b"again").unwrap();
    let third = commit(&store);
    drop(writer);
    store.close().unwrap();

    let store = Store::open_checkpoint(&engine, directory.path(), 1, options(3)).unwrap();
    let state = store.state(StateOptions::value("v")).unwrap();
    let right = store.state(StateOptions::value("right")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    assert_eq!(writer.get(state, key(b"k")).unwrap().unwrap(), b"1");
    writer.put(state, key(b"k"), b"4").unwrap();
    let fourth = commit(&store);
    for (position, expected) in [(second, b"2"), (third, b"3"), (fourth, b"4")] {
        let past = store.as_of_position(position).unwrap();
        assert_eq!(past.get(state, key(b"k")).unwrap().unwrap(), expected);
    }
    // Between the two there is nothing.
    assert!(matches!(store.as_of_position((third + fourth) / 2), Err(Error::Position { .. })));
    // Another state has the number of the one that is gone.
    assert!(matches!(store.as_of(2).unwrap().get(right, key(b"k")), Err(Error::State { .. })));
    assert!(matches!(store.as_of_position(third).unwrap().get(right, key(b"k")), Err(Error::State { .. })));
    assert_eq!(store.as_of_position(fourth).unwrap().get(right, key(b"k")).unwrap(), None);
    // What was left is brought back.
    let scope = KeyScope::Keys(&[(state, key(b"k"))]);
    writer.rollback_keys(&scope, AsOf::Position(third)).unwrap();
    assert_eq!(writer.get(state, key(b"k")).unwrap().unwrap(), b"3");
}

#[test]
fn maps_come_back_with_few_writes_and_their_times() {
    let (engine, directory) = (engine(), tempfile::tempdir().unwrap());
    let store = Store::create(&engine, directory.path(), options(2)).unwrap();
    let ttl = Ttl { duration_ms: 100, refresh_on_read: true };
    let maps = store.state(StateOptions::map("maps").ttl(ttl)).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    writer.set_time_ms(1_000);
    for n in 0..1_000_u16 {
        writer.map_put(maps, key(b"m"), &n.to_be_bytes(), b"then").unwrap();
    }
    let then = checkpoint(&store, 1);
    writer.set_time_ms(1_050);
    let scope = KeyScope::Keys(&[(maps, key(b"m")), (maps, key(b"none"))]);
    for (to, of) in [(AsOf::Label(1), 0), (AsOf::Position(then), 1)] {
        assert_eq!(writer.rollback_keys(&scope, to).unwrap(), RolledBack::default());
        // One of each: changed, deleted, new, and one that lives longer.
        writer.map_put(maps, key(b"m"), &5_u16.to_be_bytes(), b"now").unwrap();
        writer.map_delete(maps, key(b"m"), &6_u16.to_be_bytes()).unwrap();
        writer.map_put(maps, key(b"m"), b"new", b"now").unwrap();
        assert!(writer.map_get(maps, key(b"m"), &7_u16.to_be_bytes()).unwrap().is_some());
        writer.map_put(maps, key(b"none"), &[of], b"now").unwrap();
        let done = writer.rollback_keys(&scope, to).unwrap();
        assert_eq!((done.keys, done.changes), (2, 5));
        let mut found = Vec::new();
        writer
            .map_scan(maps, key(b"m"), &MapRange::all(), |user_key, value| {
                assert_eq!(value, b"then");
                found.push(user_key.to_vec());
                ControlFlow::Continue(())
            })
            .unwrap();
        assert_eq!(found, (0..1_000_u16).map(|n| n.to_be_bytes().to_vec()).collect::<Vec<_>>());
        assert_eq!(writer.map_first(maps, key(b"none")).unwrap(), None);
    }
    // Read twice, an entry lives longer twice.
    writer.set_time_ms(1_080);
    let user_key = 9_u16.to_be_bytes();
    for (now_ms, lives_until) in [(1_080, 1_180), (1_090, 1_190)] {
        writer.set_time_ms(now_ms);
        assert!(writer.map_get(maps, key(b"m"), &user_key).unwrap().is_some());
        let past = store.as_of_position(store.position().unwrap()).unwrap();
        for (at, lives) in [(lives_until - 1, true), (lives_until, false)] {
            past.set_time_ms(at);
            assert_eq!(past.map_get(maps, key(b"m"), &user_key).unwrap().is_some(), lives, "{at}");
            let mut found = 0;
            past.map_scan(maps, key(b"m"), &MapRange::all(), |_, _| {
                found += 1;
                ControlFlow::Continue(())
            })
            .unwrap();
            assert_eq!(found, usize::from(lives), "{at}");
        }
    }
    assert_eq!(writer.rollback_keys(&scope, AsOf::Label(1)).unwrap().changes, 1);
    // All expire when they would have.
    writer.set_time_ms(1_100);
    assert_eq!(writer.map_first(maps, key(b"m")).unwrap(), None);
    let done = writer.rollback_keys(&scope, AsOf::Label(1)).unwrap();
    assert_eq!((done, writer.map_first(maps, key(b"m")).unwrap()), (RolledBack::default(), None));
    assert!(matches!(
        writer.rollback_keys(&KeyScope::Keys(&[(maps, Key::new(KeyGroup(9), b"m"))]), AsOf::Label(1)),
        Err(Error::OutsideRange { .. })
    ));
    let outside = KeyScope::Prefix { state: maps, groups: KeyGroupRange::new(2, 9), prefix: b"" };
    assert!(matches!(writer.rollback_keys(&outside, AsOf::Label(1)), Err(Error::OutsideRange { .. })));
}

/// A store that was dropped lives until the engine's threads have let go of it.
fn reopen(engine: &Engine, path: &Path, options: StoreOptions) -> Store {
    loop {
        match Store::open(engine, path, options.clone()) {
            Err(error) if error.class() == alluvium::Class::Retry => std::thread::sleep(Duration::from_millis(1)),
            opened => return opened.unwrap(),
        }
    }
}

/// It was served for what the next run did at the same positions, where a checkpoint had that before anything of it was written to the log.
#[test]
fn what_a_crash_left_uncommitted_is_nobodys_past() {
    let (engine, directory) = (engine(), tempfile::tempdir().unwrap());
    let delay = Duration::from_secs(3_600);
    let options = StoreOptions { changelog: ChangelogOptions { delay, ..options(2).changelog }, ..options(2) };
    let store = Store::create(&engine, directory.path(), options.clone()).unwrap();
    let state = store.state(StateOptions::value("v")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    writer.put(state, key(b"a"), b"1").unwrap();
    commit(&store);
    let first = checkpoint(&store, 1);
    writer.put(state, key(b"a"), b"2").unwrap();
    writer.put(state, key(b"a2"), &[0; 1_000]).unwrap();
    // Which writes it to the files.
    drop(store.as_of_position(store.position().unwrap()).unwrap());
    drop((writer, store));

    let store = reopen(&engine, directory.path(), options.clone());
    let state = store.state(StateOptions::value("v")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    writer.put(state, key(b"b"), &[7; 200]).unwrap();
    let between = store.position().unwrap();
    writer.put(state, key(b"c"), b"3").unwrap();
    let second = checkpoint(&store, 2);
    drop((writer, store));

    let store = reopen(&engine, directory.path(), options);
    let state = store.state(StateOptions::value("v")).unwrap();
    for (position, expected) in [(first, None), (second, Some(&[7; 200][..]))] {
        let past = store.as_of_position(position).unwrap();
        assert_eq!(past.get(state, key(b"a")).unwrap().as_deref(), Some(&b"1"[..]));
        assert_eq!(past.get(state, key(b"b")).unwrap().as_deref(), expected);
    }
    let refused = store.as_of_position(between).and_then(|past| past.get(state, key(b"a")));
    assert!(matches!(refused, Err(Error::Position { .. })), "{refused:?}");
}

/// What was brought back lasts as other changes do.
#[test]
fn what_was_brought_back_is_found_after_a_crash() {
    let (engine, directory) = (engine(), tempfile::tempdir().unwrap());
    let store = Store::create(&engine, directory.path(), options(2)).unwrap();
    let (values, lists) =
        (store.state(StateOptions::value("v")).unwrap(), store.state(StateOptions::list("l")).unwrap());
    let mut writer = store.writer(store.range()).unwrap();
    writer.put(values, key(b"k"), b"then").unwrap();
    writer.append(lists, key(b"k"), b"a").unwrap();
    writer.append(lists, key(b"k"), b"b").unwrap();
    let then = commit(&store);
    writer.delete(values, key(b"k")).unwrap();
    writer.put(values, key(b"other"), b"new").unwrap();
    writer.append(lists, key(b"k"), b"c").unwrap();
    commit(&store);
    let keys = [(values, key(b"k")), (values, key(b"other")), (lists, key(b"k"))];
    assert_eq!(writer.rollback_keys(&KeyScope::Keys(&keys), AsOf::Position(then)).unwrap().keys, 3);
    commit(&store);
    drop((writer, store));
    let store = reopen(&engine, directory.path(), options(2));
    let (values, lists) =
        (store.state(StateOptions::value("v")).unwrap(), store.state(StateOptions::list("l")).unwrap());
    let reader = store.reader();
    assert_eq!(reader.get(values, key(b"k")).unwrap().unwrap(), b"then");
    assert_eq!(reader.get(values, key(b"other")).unwrap(), None);
    assert_eq!(reader.list(lists, key(b"k")).unwrap(), [b"a", b"b"]);
    assert_eq!(store.as_of_position(then).unwrap().list(lists, key(b"k")).unwrap(), [b"a", b"b"]);
}

/// Positions, and how many changes were made by then.
#[derive(Default)]
struct Known(std::sync::Mutex<Vec<(u64, u64)>>);

impl Known {
    fn add(&self, position: u64, count: u64) {
        self.0.lock().unwrap().push((position, count));
    }

    /// One of them, a late one mostly.
    fn pick(&self, rng: &mut rng::Rng) -> Option<(u64, u64)> {
        let known = self.0.lock().unwrap();
        let from = if rng.one_in(4) { 0 } else { known.len().saturating_sub(100) };
        (!known.is_empty()).then(|| *rng.pick(&known[from..]))
    }
}

/// Readers of the past, a writer that commits, checkpoints and merges beside each other: a position says what was there, or that it is
/// beyond the history by now.
#[test]
fn the_past_is_read_while_everything_moves_on() {
    const KEYS: u64 = 50;
    let (engine, directory) = (engine(), tempfile::tempdir().unwrap());
    let store = Store::create(&engine, directory.path(), options(3)).unwrap();
    let state = store.state(StateOptions::value("v")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    let (known, over) = (Known::default(), AtomicBool::new(false));
    let (read, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for seed in 0..2 {
            let (store, known, over, read, refused) = (&store, &known, &over, &read, &refused);
            scope.spawn(move || {
                let mut rng = rng::Rng::new(seed);
                while !over.load(Ordering::Relaxed) {
                    let Some((position, count)) = known.pick(&mut rng) else { continue };
                    let past = match store.as_of_position(position) {
                        Err(Error::Position { .. }) => {
                            refused.fetch_add(1, Ordering::Relaxed);
                            continue;
                        }
                        outcome => outcome.unwrap(),
                    };
                    for _ in 0..3 {
                        let n = rng.below(KEYS as usize) as u64;
                        // The last change of the key up to then.
                        let last = (count.saturating_sub(KEYS)..count).find(|change| change % KEYS == n);
                        let found = past.get(state, key(&n.to_le_bytes())).unwrap();
                        let found = found.map(|found| u64::from_le_bytes(found[..8].try_into().unwrap()));
                        assert_eq!(found, last, "{count} changes at {position}");
                    }
                    read.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut value = vec![7; 1_000];
        for count in 0..6_000_u64 {
            value[..8].copy_from_slice(&count.to_le_bytes());
            writer.put(state, key(&(count % KEYS).to_le_bytes()), &value).unwrap();
            if count % 7 == 0 {
                known.add(store.commit(Commit::default()).unwrap().position, count + 1);
            }
            if count % 301 == 0 {
                known.add(checkpoint(&store, count), count + 1);
            }
        }
        let waiting = std::time::Instant::now();
        while read.load(Ordering::Relaxed) < 20 && waiting.elapsed().as_secs() < 60 {
            std::thread::yield_now();
        }
        over.store(true, Ordering::Relaxed);
    });
    let (read, refused) = (read.into_inner(), refused.into_inner());
    assert!(read >= 20, "{read} read, {refused} refused");
}
