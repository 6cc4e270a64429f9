//! A changelog in the corners: recoveries of recoveries, checkpoints that are taken back, many threads at a recovery, hosts that panic,
//! and what waits to be written.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

use alluvium::{
    Applying, Barrier, ChangelogOptions, Class, Commit, Durability, Engine, EngineOptions, Error, Handler, Key,
    KeyGroup, KeyGroupRange, Lasting, LogMode, Result, State, StateOptions, Store, StoreOptions, Writer,
};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

const GROUPS: u16 = 4;

fn engine() -> Engine {
    Engine::open(EngineOptions { memory_budget_bytes: 64 << 20, ..EngineOptions::default() }).unwrap()
}

fn options() -> StoreOptions {
    StoreOptions {
        key_groups: GROUPS.into(),
        range: KeyGroupRange::new(0, GROUPS - 1),
        durability: Durability::Changelog,
        changelog: ChangelogOptions { file_bytes: 1 << 20, ..ChangelogOptions::default() },
        ..StoreOptions::default()
    }
}

fn transactional() -> StoreOptions {
    StoreOptions { transactional: true, ..options() }
}

/// Opens a store, or makes it. One that was dropped lives until the engine's threads have let go of it.
fn open(engine: &Engine, path: &Path, options: &StoreOptions) -> Store {
    loop {
        match Store::open_or_create(engine, path, options.clone()) {
            Err(error) if error.class() == Class::Retry => std::thread::sleep(Duration::from_millis(1)),
            opened => return opened.unwrap(),
        }
    }
}

fn values(store: &Store) -> State {
    store.state(StateOptions::value("values")).unwrap()
}

fn key(bytes: &[u8]) -> Key<'_> {
    Key::new(KeyGroup(u16::from(bytes[0]) % GROUPS), bytes)
}

fn put(writer: &mut Writer, state: State, n: u32) {
    writer.put(state, key(&n.to_le_bytes()), &n.to_le_bytes()).unwrap();
}

fn get(store: &Store, state: State, n: u32) -> Option<Vec<u8>> {
    store.reader().get(state, key(&n.to_le_bytes())).unwrap()
}

fn logs(directory: &Path) -> usize {
    let files = std::fs::read_dir(directory).unwrap();
    files.filter(|file| file.as_ref().unwrap().file_name().to_string_lossy().ends_with(".changelog")).count()
}

/// Waits until the directory has so many files of a changelog.
fn await_logs(directory: &Path, count: usize) {
    let since = Instant::now();
    while logs(directory) < count {
        assert!(since.elapsed() < Duration::from_secs(60), "{} files", logs(directory));
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn files_that_were_begun_without_a_commit_are_void_after_a_recovery() {
    let (directory, engine) = (tempfile::tempdir().unwrap(), engine());
    let store = Store::create(&engine, directory.path(), options()).unwrap();
    let state = values(&store);
    let mut writer = store.writer(store.range()).unwrap();
    put(&mut writer, state, 1);
    writer.commit(Commit::default()).unwrap().wait().unwrap();
    for n in 0..16_384_u32 {
        writer.put(state, key(&n.to_be_bytes()), &[7; 1_024]).unwrap();
    }
    await_logs(directory.path(), 3);
    drop((writer, store));
    let report = alluvium::inspect::describe(directory.path()).unwrap();
    assert!(report.bytes_of(alluvium::inspect::FileRole::Changelog) > 3 << 20);
    // A file may just have been being made.
    assert_eq!(faults(directory.path()), [], "of a store that has no checkpoint yet");
    for round in 2..5 {
        let store = open(&engine, directory.path(), &options());
        let state = values(&store);
        let mut writer = store.writer(store.range()).unwrap();
        put(&mut writer, state, round);
        writer.commit(Commit::default()).unwrap().wait().unwrap();
        drop((writer, store));
    }
    let store = open(&engine, directory.path(), &options());
    let state = values(&store);
    for n in 1..5 {
        assert_eq!(get(&store, state, n), Some(n.to_le_bytes().to_vec()));
    }
    assert_eq!(store.reader().get(state, key(&9_u32.to_be_bytes())).unwrap(), None);
}

/// The faults that are found from outside.
fn faults(directory: &Path) -> Vec<alluvium::inspect::Finding> {
    let found = alluvium::inspect::verify(directory).unwrap().into_iter();
    found.filter(|finding| finding.severity == alluvium::inspect::Severity::Fault).collect()
}

#[test]
fn a_changelog_is_checked_from_outside() {
    let (directory, engine) = (tempfile::tempdir().unwrap(), engine());
    let history = alluvium::History { checkpoints: 1 };
    let store = Store::create(&engine, directory.path(), StoreOptions { history, ..options() }).unwrap();
    let state = values(&store);
    let mut writer = store.writer(store.range()).unwrap();
    for n in 0..8_192_u32 {
        writer.put(state, key(&n.to_be_bytes()), &[7; 1_024]).unwrap();
        if n % 1_024 == 1_023 {
            writer.commit(Commit::default()).unwrap().wait().unwrap();
            assert_eq!(faults(directory.path()), [], "while the store is open");
        }
        if n == 4_095 {
            writer.barrier(Barrier::new(1)).unwrap().wait().unwrap();
        }
    }
    drop((writer, store));
    assert_eq!(faults(directory.path()), []);
    let files = std::fs::read_dir(directory.path()).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|of| of == "changelog")).collect();
    files.sort();
    // One that was begun, and got nothing.
    let has_blocks = |path: &PathBuf| std::fs::read(path).unwrap()[4_096..].iter().any(|byte| *byte != 0);
    files.truncate(files.iter().rposition(has_blocks).map_or(0, |last| last + 1));
    assert!(files.len() > 3, "{files:?}");
    // Before the checkpoint and behind it; the end of the last one may count as never written.
    for path in &files[..files.len() - 1] {
        for at in [20, 4_096 + 20, 4_096 + 64 + 1_000] {
            let whole = std::fs::read(path).unwrap();
            let mut damaged = whole.clone();
            damaged[at] ^= 4;
            std::fs::write(path, damaged).unwrap();
            let found = faults(directory.path());
            assert!(found.iter().any(|finding| finding.path == *path), "{at} of {path:?}: {found:?}");
            std::fs::write(path, whole).unwrap();
        }
    }
    std::fs::remove_file(&files[files.len() - 2]).unwrap();
    assert_ne!(faults(directory.path()), [], "a file is missing");
}

/// A checkpoint that is taken back while it is being published made commits last, and files go: both have to wait for the last word.
#[test]
fn a_checkpoint_that_is_taken_back_takes_no_commit_along() {
    let (directory, engine) = (tempfile::tempdir().unwrap(), engine());
    drop(Store::create(&engine, directory.path(), options()).unwrap());
    for round in 0..60_u32 {
        let store = open(&engine, directory.path(), &options());
        let state = values(&store);
        let mut writer = store.writer(store.range()).unwrap();
        for n in 0..round {
            assert_eq!(
                writer.get(state, key(&n.to_le_bytes())).unwrap(),
                Some(n.to_le_bytes().to_vec()),
                "round {round}"
            );
        }
        put(&mut writer, state, round);
        writer.commit(Commit::default()).unwrap().wait().unwrap();
        let pending = writer.barrier(Barrier::new(round.into())).unwrap();
        std::thread::sleep(Duration::from_micros(u64::from(round) * 50));
        pending.abort().unwrap();
        let (outcome, since) = (pending.wait(), Instant::now());
        // Until it is taken back.
        while outcome.is_err() && !store.checkpoints().is_empty() && since.elapsed() < Duration::from_millis(20) {
            std::thread::yield_now();
        }
        drop((writer, store));
    }
}

#[test]
fn writers_that_are_claimed_at_once_find_a_transactional_store_replayed() {
    let (directory, engine) = (tempfile::tempdir().unwrap(), engine());
    let store = Store::create(&engine, directory.path(), transactional()).unwrap();
    let state = values(&store);
    let mut writer = store.writer(store.range()).unwrap();
    for n in 0..10_000 {
        put(&mut writer, state, n);
    }
    writer.commit(Commit::default()).unwrap().wait().unwrap();
    drop((writer, store));
    for _ in 0..10 {
        let store = open(&engine, directory.path(), &transactional());
        let state = values(&store);
        std::thread::scope(|scope| {
            for group in 0..GROUPS {
                let store = &store;
                scope.spawn(move || {
                    let mut writer = store.writer(KeyGroupRange::new(group, group)).unwrap();
                    for n in (0..10_000_u32).filter(|n| key(&n.to_le_bytes()).group.0 == group) {
                        assert!(writer.get(state, key(&n.to_le_bytes())).unwrap().is_some());
                    }
                });
            }
        });
    }
}

#[test]
fn a_reader_that_has_everything_replayed_keeps_nobody_from_a_writer() {
    for options in [options(), transactional()] {
        let (directory, engine) = (tempfile::tempdir().unwrap(), engine());
        let store = Store::create(&engine, directory.path(), options.clone()).unwrap();
        let state = values(&store);
        let mut writer = store.writer(store.range()).unwrap();
        (0..20_000).for_each(|n| put(&mut writer, state, n));
        writer.commit(Commit::default()).unwrap().wait().unwrap();
        drop((writer, store));
        for round in 0..10 {
            let store = open(&engine, directory.path(), &options);
            let state = values(&store);
            std::thread::scope(|scope| {
                scope.spawn(|| assert!(get(&store, state, 3).is_some()));
                std::thread::sleep(Duration::from_micros(round * 300));
                let mut writer = store.writer(KeyGroupRange::new(0, 1)).unwrap();
                assert!(writer.get(state, key(&4_u32.to_le_bytes())).unwrap().is_some());
            });
        }
    }
}

/// What came after a checkpoint that was gone back to is void, also where there was no changelog yet.
#[test]
fn a_changelog_that_begins_at_an_older_checkpoint_stays_there() {
    let (directory, engine) = (tempfile::tempdir().unwrap(), engine());
    let plain = StoreOptions { durability: Durability::Checkpoint, retained_checkpoints: 3, ..options() };
    let store = Store::create(&engine, directory.path(), plain).unwrap();
    let state = values(&store);
    let mut writer = store.writer(store.range()).unwrap();
    for n in 1..=2 {
        put(&mut writer, state, n);
        writer.barrier(Barrier::new(n.into())).unwrap().wait().unwrap();
    }
    drop(writer);
    store.close().unwrap();
    let store = Store::open_checkpoint(&engine, directory.path(), 1, options()).unwrap();
    let state = values(&store);
    let mut writer = store.writer(store.range()).unwrap();
    put(&mut writer, state, 3);
    writer.commit(Commit::default()).unwrap().wait().unwrap();
    drop((writer, store));
    let store = open(&engine, directory.path(), &options());
    let state = values(&store);
    assert_eq!([1, 2, 3].map(|n| get(&store, state, n).is_some()), [true, false, true]);
}

/// Opening an older checkpoint publishes it anew, behind what the changelog has by then: under one label there are two.
#[test]
fn a_checkpoint_that_is_released_is_gone_also_where_the_store_was_opened_at_it() {
    let (directory, engine) = (tempfile::tempdir().unwrap(), engine());
    let retaining = StoreOptions { retained_checkpoints: 3, ..options() };
    let store = Store::create(&engine, directory.path(), retaining.clone()).unwrap();
    let state = values(&store);
    let mut writer = store.writer(store.range()).unwrap();
    put(&mut writer, state, 1);
    writer.barrier(Barrier::new(1)).unwrap().wait().unwrap();
    put(&mut writer, state, 2);
    writer.commit(Commit::default()).unwrap().wait().unwrap();
    drop(writer);
    store.close().unwrap();
    let store = Store::open_checkpoint(&engine, directory.path(), 1, retaining).unwrap();
    let labels = |store: &Store| store.checkpoints().iter().map(|info| info.label).collect::<Vec<_>>();
    store.barrier(Barrier::new(2)).unwrap().wait().unwrap();
    assert_eq!(labels(&store), [1, 1, 2]);
    store.release(1).unwrap();
    assert_eq!(labels(&store), [2]);
    assert!(matches!(store.release(1), Err(Error::Checkpoint { label: 1, .. })));
}

#[test]
fn writers_never_wait_for_what_nobody_writes() {
    let (directory, engine) = (tempfile::tempdir().unwrap(), engine());
    let changelog = ChangelogOptions { bytes: usize::MAX, ..options().changelog };
    let store = Store::create(&engine, directory.path(), StoreOptions { changelog, ..options() }).unwrap();
    let state = values(&store);
    let mut writer = store.writer(store.range()).unwrap();
    for n in 0..24_u32 << 10 {
        writer.put(state, key(&(n % 64).to_be_bytes()), &[1; 1_024]).unwrap();
    }
}

#[test]
fn commits_that_last_with_later_ones_are_written_all_the_same() {
    let (directory, engine) = (tempfile::tempdir().unwrap(), engine());
    let store = Store::create(&engine, directory.path(), options()).unwrap();
    let state = values(&store);
    let mut writer = store.writer(store.range()).unwrap();
    for n in 0..1_024_u32 {
        writer.put(state, key(&(n % 64).to_be_bytes()), &[1; 4_096]).unwrap();
        writer.commit(Commit { lasting: Lasting::WithLater, ..Commit::default() }).unwrap();
    }
    await_logs(directory.path(), 1);
}

#[test]
fn a_commit_after_a_load_and_a_checkpoint_lasts() {
    let (directory, engine) = (tempfile::tempdir().unwrap(), engine());
    let store = Store::create(&engine, directory.path(), options()).unwrap();
    let state = values(&store);
    let mut load = store.bulk_load(1).unwrap();
    load.put(state, Key::new(KeyGroup(0), b"loaded"), b"1").unwrap();
    load.finish().unwrap();
    let refused = store.commit(Commit::default()).unwrap().wait().unwrap_err();
    assert_eq!(refused.class(), Class::Retry, "{refused}");
    store.barrier(Barrier::new(1)).unwrap().wait().unwrap();
    store.commit(Commit::default()).unwrap().wait().unwrap();
    // One that is refused loads nothing.
    let mut load = store.bulk_load(1).unwrap();
    load.put(state, Key::new(KeyGroup(0), b"loaded"), b"1").unwrap();
    load.finish().unwrap_err();
    store.commit(Commit::default()).unwrap().wait().unwrap();
}

/// One that came behind the barrier of the checkpoint with the load, and before that was complete, was said to last and was gone after a crash.
#[test]
fn a_commit_beside_the_checkpoint_of_a_load_is_there_once_it_is_said_to_last() {
    for is_followed in [false, true] {
        let (directory, engine) = (tempfile::tempdir().unwrap(), engine());
        let store = Store::create(&engine, directory.path(), options()).unwrap();
        let state = values(&store);
        let mut load = store.bulk_load(1).unwrap();
        load.put(state, Key::new(KeyGroup(0), b"loaded"), b"1").unwrap();
        load.finish().unwrap();
        let mut writer = store.writer(store.range()).unwrap();
        for n in 0..20_000_u32 {
            writer.put(state, key(&n.to_le_bytes()), &[5; 100]).unwrap();
        }
        let pending = writer.barrier(Barrier::new(1)).unwrap();
        put(&mut writer, state, 20_000);
        let committed = writer.commit(Commit { metadata: b"first".to_vec(), ..Commit::default() }).unwrap();
        pending.wait().unwrap();
        if is_followed {
            put(&mut writer, state, 20_001);
            let next = writer.commit(Commit { metadata: b"second".to_vec(), ..Commit::default() }).unwrap();
            next.wait().unwrap();
        }
        let lasts = match committed.wait() {
            Ok(()) => true,
            Err(error) => {
                assert!(!is_followed && error.class() == Class::Retry, "{error}");
                false
            }
        };
        drop((writer, store));
        let store = open(&engine, directory.path(), &options());
        let state = values(&store);
        if lasts {
            let expected: &[u8] = if is_followed { b"second" } else { b"first" };
            assert_eq!(store.last_commit().metadata, expected);
            assert!(get(&store, state, 20_000).is_some());
        }
        assert_eq!(get(&store, state, 20_001).is_some(), is_followed);
        assert_eq!(store.reader().get(state, Key::new(KeyGroup(0), b"loaded")).unwrap().unwrap(), b"1");
    }
}

/// Nothing is appended between the load and the barrier.
#[test]
fn a_checkpoint_right_after_a_load_has_it() {
    let (directory, engine) = (tempfile::tempdir().unwrap(), engine());
    let store = Store::create(&engine, directory.path(), options()).unwrap();
    let state = values(&store);
    let mut load = store.bulk_load(1).unwrap();
    load.put(state, Key::new(KeyGroup(0), b"loaded"), b"1").unwrap();
    load.finish().unwrap();
    store.barrier(Barrier::new(1)).unwrap().wait().unwrap();
    store.commit(Commit::default()).unwrap().wait().unwrap();
}

#[test]
fn a_callback_that_panics_harms_no_later_commit() {
    let (directory, engine) = (tempfile::tempdir().unwrap(), engine());
    let store = Store::create(&engine, directory.path(), options()).unwrap();
    let (told, hears) = mpsc::channel();
    store.commit(Commit::default()).unwrap().when_lasting(move |outcome| {
        told.send(outcome.is_ok()).unwrap();
        panic!("the host's trouble");
    });
    assert!(hears.recv_timeout(Duration::from_secs(60)).unwrap());
    for _ in 0..3 {
        store.commit(Commit::default()).unwrap().wait().unwrap();
    }
}

/// Puts an event, unless it is to panic.
#[derive(Debug)]
struct Putting(State, Arc<AtomicBool>);

impl Handler for Putting {
    fn name(&self) -> &str {
        "putting"
    }

    fn version(&self) -> u32 {
        1
    }

    fn apply(&self, event: &[u8], applying: &mut Applying<'_>) -> Result<()> {
        assert!(!self.1.load(Ordering::Relaxed), "the host's trouble");
        applying.put(self.0, Key::new(applying.group(), event), event)
    }
}

#[test]
fn a_handler_that_panics_in_a_recovery_fails_the_store_and_loses_nothing() {
    let (directory, engine) = (tempfile::tempdir().unwrap(), engine());
    let opened = |panics: bool| {
        let store = open(&engine, directory.path(), &options());
        let state = store.state(StateOptions::value("events").log(LogMode::Event)).unwrap();
        let handler = store.handler(Arc::new(Putting(state, Arc::new(AtomicBool::new(panics))))).unwrap();
        (store, state, handler)
    };
    let (store, _, handler) = opened(false);
    let mut writer = store.writer(store.range()).unwrap();
    writer.apply_event(handler, KeyGroup(1), b"event").unwrap();
    writer.commit(Commit::default()).unwrap().wait().unwrap();
    drop((writer, store));
    let (store, state, _) = opened(true);
    for _ in 0..2 {
        assert!(matches!(store.writer(store.range()), Err(Error::Background(_))));
        assert!(store.reader().get(state, Key::new(KeyGroup(1), b"event")).is_err());
    }
    drop(store);
    let (store, state, _) = opened(false);
    assert_eq!(store.reader().get(state, Key::new(KeyGroup(1), b"event")).unwrap().unwrap(), b"event");
}

/// What was committed is replayed as one, however little may be staged.
#[test]
fn what_may_be_staged_holds_no_recovery_up() {
    let (directory, engine) = (tempfile::tempdir().unwrap(), engine());
    let options = StoreOptions { staged_bytes_max: 64 << 10, ..transactional() };
    let store = Store::create(&engine, directory.path(), options.clone()).unwrap();
    let state = values(&store);
    let mut writer = store.writer(store.range()).unwrap();
    for n in 0..1_000_u32 {
        writer.put(state, key(&n.to_le_bytes()), &[3; 1_024]).unwrap();
        if n % 10 == 9 {
            writer.commit(Commit { lasting: Lasting::WithLater, ..Commit::default() }).unwrap();
        }
    }
    writer.commit(Commit::default()).unwrap().wait().unwrap();
    drop((writer, store));
    let store = open(&engine, directory.path(), &options);
    let state = values(&store);
    let mut writer = store.writer(store.range()).unwrap();
    for n in 0..1_000_u32 {
        assert_eq!(writer.get(state, key(&n.to_le_bytes())).unwrap().unwrap().len(), 1_024);
    }
}
