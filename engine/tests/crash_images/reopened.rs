//! A process dies, another one opens its store, and then there is a power cut: what the second one has told, or goes on from, is on disk.

use super::disk::{Choice, Disk, Image};
use super::look;
use super::workload::engine;
use alluvium::recorder::{Op, Recorder};
use alluvium::{
    ChangelogOptions, Class, Commit, Durability, Engine, History, Key, KeyGroup, KeyGroupRange, Lasting, State,
    StateOptions, StorageChoice, Store, StoreOptions, Writer,
};
use std::path::{Path, PathBuf};

const FIRST: Key<'static> = Key::new(KeyGroup(1), b"first");
const SECOND: Key<'static> = Key::new(KeyGroup(2), b"second");

fn options() -> StoreOptions {
    StoreOptions {
        key_groups: 4,
        range: KeyGroupRange::new(0, 3),
        durability: Durability::Changelog,
        changelog: ChangelogOptions { file_bytes: 1 << 20, ..ChangelogOptions::default() },
        history: History { checkpoints: 1 },
        ..StoreOptions::default()
    }
}

/// Opens a store, or makes it. One that was dropped lives until the engine's threads have let go of it.
fn open(engine: &Engine, path: &Path) -> Store {
    loop {
        match Store::open_or_create(engine, path, options()) {
            Err(error) if error.class() == Class::Retry => std::thread::sleep(std::time::Duration::from_millis(1)),
            opened => return opened.unwrap(),
        }
    }
}

fn values(store: &Store) -> State {
    store.state(StateOptions::value("values")).unwrap()
}

fn commit(number: u8, lasting: Lasting) -> Commit {
    Commit { metadata: vec![number], lasting, ..Commit::default() }
}

/// Has all that was written so far written to the files; nothing is synced for it.
fn write_out(store: &Store) {
    drop(store.as_of_position(store.position().unwrap()).unwrap());
}

/// A record of two processes.
struct Run {
    path: PathBuf,
    ops: Vec<Op>,
    /// How long the record was when the second one had opened the store.
    opened: usize,
    /// And when its commit lasted.
    committed: usize,
}

impl Run {
    /// The first one commits, as `leave` has it, and dies; the second one opens the store and commits.
    fn new(place: &Path, leave: impl FnOnce(&Store, State, &mut Writer)) -> Self {
        let path = place.canonicalize().unwrap().join("store");
        let (recorder, engine) = (Recorder::start(&path, &[]), engine(StorageChoice::Posix, 8 << 20));
        let store = open(&engine, &path);
        let state = values(&store);
        let mut writer = store.writer(store.range()).unwrap();
        writer.put(state, FIRST, b"1").unwrap();
        leave(&store, state, &mut writer);
        drop((writer, store));
        let store = open(&engine, &path);
        assert_eq!(store.last_commit().metadata, [1]);
        let opened = recorder.len();
        let state = values(&store);
        let mut writer = store.writer(store.range()).unwrap();
        writer.put(state, SECOND, b"2").unwrap();
        writer.commit(commit(2, Lasting::Soon)).unwrap().wait().unwrap();
        let committed = recorder.len();
        drop((writer, store));
        Self { path, ops: recorder.finish(), opened, committed }
    }

    /// Opens what a power cut after the first `done` changes leaves, for each set of names that may be there.
    fn look(&self, engine: &Engine, done: usize) {
        let mut disk = Disk::new(&self.path, &Image::default());
        self.ops[..done].iter().for_each(|op| disk.step(op));
        let are_names = disk.are_names();
        let names = are_names.iter().filter(|is_name| **is_name).count();
        for set in 0..1_u32 << names {
            for bytes in [false, true] {
                let mut number = 0;
                let kept = are_names.iter().map(|is_name| {
                    number += u32::from(*is_name);
                    if *is_name { set >> (number - 1) & 1 == 1 } else { bytes }
                });
                let choice = Choice { kept: kept.collect(), garbage: None, torn: None, full_length: false };
                let what = format!("{done} of {} changes, names {set:b} of {names}, bytes: {bytes}", self.ops.len());
                self.check(engine, &disk.image(&choice), done >= self.committed, &what);
            }
        }
    }

    fn check(&self, engine: &Engine, image: &Image, lasts: bool, what: &str) {
        let place = look::place();
        let path = place.path().join("store");
        image.write_to(&path);
        let store = Store::open(engine, &path, options()).unwrap_or_else(|error| panic!("{what}: {error}"));
        let (found, state) = (store.last_commit().metadata.clone(), values(&store));
        assert!(found == [2] || found == [1] && !lasts, "{what}: {found:?}");
        let reader = store.reader();
        assert_eq!(reader.get(state, FIRST).unwrap().as_deref(), Some(&b"1"[..]), "{what}");
        assert_eq!(reader.get(state, SECOND).unwrap().is_some(), found == [2], "{what}");
        drop(reader);
        store.close().unwrap();
    }

    fn look_at_all(&self) {
        let engine = engine(StorageChoice::Posix, 8 << 20);
        assert!(self.opened < self.committed && self.committed <= self.ops.len());
        (self.opened..=self.ops.len()).for_each(|done| self.look(&engine, done));
    }
}

/// It was read from the page cache, told, and taken for durable, but nothing ever synced it: it was lost, or the store refused to open for
/// want of it.
#[test]
fn what_was_found_unsynced_is_synced_before_it_is_told() {
    let place = look::place();
    let run = Run::new(place.path(), |store, _, writer| {
        writer.commit(commit(1, Lasting::WithLater)).unwrap();
        write_out(store);
    });
    run.look_at_all();
}

/// Names that go without a sync in between may go in any order: where an older one of them was gone and a younger one was still there, the
/// changelog seemed to lack it, and the store refused to open.
#[test]
fn files_that_are_void_go_one_after_the_other() {
    let place = look::place();
    let run = Run::new(place.path(), |store, state, writer| {
        writer.commit(commit(1, Lasting::Soon)).unwrap().wait().unwrap();
        for n in 0..4 {
            writer.put(state, Key::new(KeyGroup(3), &[n]), &vec![n; 600 << 10]).unwrap();
            write_out(store);
        }
        let files = std::fs::read_dir(place.path().join("store")).unwrap().map(|file| file.unwrap().file_name());
        let logs = files.filter(|name| name.to_string_lossy().ends_with(".changelog")).count();
        assert!(logs > 3, "{logs} files");
    });
    run.look_at_all();
}
