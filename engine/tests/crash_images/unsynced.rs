//! What a store that syncs nothing wrote, as its host copies it away (`Durability::Host`), is synced where it becomes part of something
//! that lasts: an export, a restored store, a checkpoint or a commit of a store that was opened again with another durability.

use super::look;
use alluvium::recorder::{Entry, Op, Recorder};
use alluvium::{
    Barrier, CheckpointSource, Commit, Durability, Engine, EngineOptions, State, StateOptions, Store, StoreOptions,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Which files have something that isn't synced, and what leads to them.
#[derive(Default)]
struct Seen {
    unsynced: BTreeSet<usize>,
    names: BTreeMap<PathBuf, usize>,
}

impl Seen {
    fn after(ops: &[Op]) -> Self {
        let mut seen = Self::default();
        ops.iter().for_each(|op| seen.step(op));
        seen
    }

    fn step(&mut self, op: &Op) {
        match op {
            Op::Wrote { file, .. } | Op::Length { file, .. } => {
                self.unsynced.insert(*file);
            }
            Op::Synced { file } => {
                self.unsynced.remove(file);
            }
            Op::Named { directory, names } => {
                for (name, entry) in names {
                    match entry {
                        Some(Entry::File(file)) => self.names.insert(directory.join(name), *file),
                        _ => self.names.remove(&directory.join(name)),
                    };
                }
            }
            _ => {}
        }
    }

    /// The names in a directory that end so, of files with something that isn't synced.
    fn unsynced_in(&self, directory: &Path, end: &str) -> Vec<&Path> {
        let is_it = |path: &Path| path.parent() == Some(directory) && path.to_str().unwrap().ends_with(end);
        let found = self.names.iter().filter(|(path, file)| is_it(path) && self.unsynced.contains(file));
        found.map(|(path, _)| &**path).collect()
    }

    fn count_in(&self, directory: &Path) -> usize {
        self.names.keys().filter(|path| path.parent() == Some(directory)).count()
    }
}

/// Whenever the names of a directory become durable, what they lead to is; how often that was.
fn durable_names(ops: &[Op], of: &Path) -> usize {
    let mut count = 0;
    let mut seen = Seen::default();
    for op in ops {
        if let Op::DirectorySynced { directory, .. } = op
            && directory == of
        {
            assert_eq!(seen.unsynced_in(of, ""), Vec::<&Path>::new(), "named durably before it is synced");
            count += 1;
        }
        seen.step(op);
    }
    count
}

fn options(durability: Durability) -> StoreOptions {
    StoreOptions { durability, ..StoreOptions::default() }
}

fn engine() -> Engine {
    Engine::open(EngineOptions { memory_budget_bytes: 4 << 20, ..EngineOptions::default() }).unwrap()
}

/// Puts some values, of which the checkpoint of this label is.
fn checkpoint(store: &Store, label: u64) -> State {
    let state = store.state(StateOptions::value("v")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    for key in 0..200_u64 {
        writer.put(state, store.key(&key.to_le_bytes()), &(key + label).to_le_bytes()).unwrap();
    }
    writer.barrier(Barrier::new(label)).unwrap().wait().unwrap();
    state
}

/// A store that synced nothing of two checkpoints, closed; in a place that is being recorded.
fn hosted(engine: &Engine, root: &Path) -> Recorder {
    let recorder = Recorder::start(root, &[]);
    let store = Store::create(engine, &root.join("store"), options(Durability::Host)).unwrap();
    checkpoint(&store, 1);
    checkpoint(&store, 2);
    store.close().unwrap();
    recorder
}

#[test]
fn what_is_exported_is_synced() {
    let (engine, place) = (engine(), look::place());
    let root = place.path().canonicalize().unwrap();
    let recorder = Recorder::start(&root, &[]);
    let store = Store::create(&engine, &root.join("store"), options(Durability::Host)).unwrap();
    checkpoint(&store, 1);
    let exported = root.join("exported");
    std::fs::create_dir(&exported).unwrap();
    store.export(1, &exported).unwrap();
    checkpoint(&store, 2);
    store.export(2, &exported).unwrap();
    store.close().unwrap();
    let ops = recorder.finish();
    assert_eq!(durable_names(&ops, &exported), 4);
    assert!(Seen::after(&ops).count_in(&exported) >= 4, "two manifests, and a segment of each");
}

/// A link that an export left that was cut short says nothing of what it leads to.
#[test]
fn what_was_linked_before_is_synced() {
    let (engine, place) = (engine(), look::place());
    let root = place.path().canonicalize().unwrap();
    let (recorder, path) = (Recorder::start(&root, &[]), root.join("store"));
    let store = Store::create(&engine, &path, options(Durability::Host)).unwrap();
    checkpoint(&store, 1);
    let exported = root.join("exported");
    std::fs::create_dir(&exported).unwrap();
    for name in store.files(1).unwrap().list().iter().map(|file| &file.name) {
        std::fs::hard_link(path.join(name), exported.join(name)).unwrap();
    }
    store.export(1, &exported).unwrap();
    store.close().unwrap();
    let seen = Seen::after(&recorder.finish());
    assert_eq!(seen.unsynced_in(&path, ""), Vec::<&Path>::new());
}

#[test]
fn what_is_restored_is_synced() {
    let (engine, place) = (engine(), look::place());
    let root = place.path().canonicalize().unwrap();
    let recorder = hosted(&engine, &root);
    let restored = root.join("restored");
    let source = CheckpointSource { directory: root.join("store"), label: None };
    let store = Store::restore(&engine, &restored, &[source], options(Durability::Checkpoint)).unwrap();
    store.close().unwrap();
    assert_eq!(durable_names(&recorder.finish(), &restored), 2, "before its manifest has its name, and after");
}

#[test]
fn what_was_unsynced_is_synced_before_a_checkpoint_names_it() {
    let (engine, place) = (engine(), look::place());
    let root = place.path().canonicalize().unwrap();
    let recorder = hosted(&engine, &root);
    let path = root.join("store");
    let before = recorder.len();
    let store = Store::open(&engine, &path, options(Durability::Checkpoint)).unwrap();
    let opened = recorder.len();
    checkpoint(&store, 3);
    store.close().unwrap();

    // Nothing is synced twice: the checkpoint says that it was.
    let again = recorder.len();
    let store = Store::open(&engine, &path, options(Durability::Checkpoint)).unwrap();
    checkpoint(&store, 4);
    store.close().unwrap();

    let ops = recorder.finish();
    assert!(!Seen::after(&ops[..before]).unsynced_in(&path, ".segment").is_empty());
    let synced = |ops: &[Op]| ops.iter().filter(|op| matches!(op, Op::Synced { .. })).count();
    assert_eq!(synced(&ops[before..opened]), 0, "opening is for nothing that takes long");
    let mut seen = Seen::after(&ops[..opened]);
    let mut named = 0;
    for op in &ops[opened..] {
        seen.step(op);
        let is_manifest = |name: &String| name.ends_with(".manifest");
        if let Op::Named { names, .. } = op
            && names.iter().any(|(name, entry)| is_manifest(name) && entry.is_some())
        {
            named += 1;
            assert_eq!(seen.unsynced_in(&path, ".segment"), Vec::<&Path>::new(), "named before it is synced");
        }
    }
    assert_eq!(named, 2);
    assert_eq!(synced(&ops[again..]), 2, "a segment and a manifest");
}

/// Recovery goes on from the checkpoint: without it the changelog is for nothing.
#[test]
fn what_was_unsynced_is_synced_before_a_commit_lasts() {
    let (engine, place) = (engine(), look::place());
    let root = place.path().canonicalize().unwrap();
    let recorder = hosted(&engine, &root);
    let path = root.join("store");
    let store = Store::open(&engine, &path, options(Durability::Changelog)).unwrap();
    let state = store.state(StateOptions::value("v")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    writer.put(state, store.key(b"k"), b"committed").unwrap();
    writer.commit(Commit::default()).unwrap().wait().unwrap();
    let lasts = recorder.len();
    drop(writer);
    store.close().unwrap();
    let ops = recorder.finish();
    let seen = Seen::after(&ops[..lasts]);
    for end in [".segment", ".manifest"] {
        assert_eq!(seen.unsynced_in(&path, end), Vec::<&Path>::new(), "the checkpoint that the commit lies behind");
    }
    assert!(seen.count_in(&path) >= 3, "segments, manifests, a changelog");
    let is_of_names = |op: &Op| matches!(op, Op::DirectorySynced { directory, .. } if *directory == path);
    assert!(ops[..lasts].iter().any(is_of_names), "and their names");
}
