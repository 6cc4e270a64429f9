//! Publishing, finding and reading manifests in a real directory.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::sample::{Random, Size, manifest};
use super::writer::publish;
use super::{Manifest, Parent, reader};
use crate::error::Error;
use crate::platform::storage::{
    AppendFile, Backend, Fault, FileEntry, IoCounters, LogFile, PageCache, ReadFile, ReadRequest, Storage,
    StorageChoice, StorageError, names, open,
};

/// What was asked of a storage, in order, and how many of the steps that change something still succeed.
#[derive(Debug, Default)]
struct Script {
    steps: Mutex<Vec<String>>,
    left: AtomicUsize,
}

impl Script {
    fn step(&self, step: &str, name: &str) -> Result<(), StorageError> {
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if left.is_err() {
            return Err(StorageError::new(Fault::Io, name, 0, "the process died"));
        }
        self.steps.lock().unwrap().push(format!("{step} {name}").trim_end().to_owned());
        Ok(())
    }
}

/// A directory that keeps a record and dies after so many steps.
#[derive(Debug)]
struct Scripted {
    inner: Arc<dyn Storage>,
    script: Arc<Script>,
}

impl Scripted {
    fn new(directory: &Path, steps: usize) -> Self {
        let inner = open(directory, StorageChoice::Posix, PageCache::Everything, false).unwrap();
        Self { inner, script: Arc::new(Script { steps: Mutex::default(), left: AtomicUsize::new(steps) }) }
    }

    fn steps(&self) -> Vec<String> {
        self.script.steps.lock().unwrap().clone()
    }
}

impl Storage for Scripted {
    fn backend(&self) -> Backend {
        self.inner.backend()
    }
    fn root(&self) -> &Path {
        self.inner.root()
    }
    fn counters(&self) -> &IoCounters {
        self.inner.counters()
    }
    fn free_bytes(&self) -> Result<u64, StorageError> {
        self.inner.free_bytes()
    }
    fn list(&self) -> Result<Vec<FileEntry>, StorageError> {
        self.inner.list()
    }
    fn create(&self, name: &str) -> Result<Box<dyn AppendFile>, StorageError> {
        self.script.step("create", name)?;
        Ok(Box::new(ScriptedFile { inner: self.inner.create(name)?, script: Arc::clone(&self.script) }))
    }
    fn create_log(&self, name: &str, first: &[u8], len: u64) -> Result<Box<dyn LogFile>, StorageError> {
        self.script.step("create", name)?;
        self.inner.create_log(name, first, len)
    }
    fn open(&self, name: &str) -> Result<Arc<dyn ReadFile>, StorageError> {
        self.inner.open(name)
    }
    fn read_all(&self, name: &str, max_bytes: u64) -> Result<Vec<u8>, StorageError> {
        self.inner.read_all(name, max_bytes)
    }
    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError> {
        self.script.step("rename to", to)?;
        self.inner.rename(from, to)
    }
    fn remove(&self, name: &str) -> Result<(), StorageError> {
        self.script.step("remove", name)?;
        self.inner.remove(name)
    }
    fn sync_file(&self, name: &str) -> Result<(), StorageError> {
        self.script.step("sync", name)?;
        self.inner.sync_file(name)
    }
    fn sync_dir(&self) -> Result<(), StorageError> {
        self.script.step("sync the directory", "")?;
        self.inner.sync_dir()
    }
    fn sync_other(&self, directory: &Path) -> Result<(), StorageError> {
        self.inner.sync_other(directory)
    }

    fn link_to(&self, name: &str, directory: &Path) -> Result<(), StorageError> {
        self.inner.link_to(name, directory)
    }
    fn link_from(&self, name: &str, directory: &Path, durable: bool) -> Result<(), StorageError> {
        self.inner.link_from(name, directory, durable)
    }
    fn read_batch(&self, batch: &mut [ReadRequest]) {
        self.inner.read_batch(batch);
    }
}

struct ScriptedFile {
    inner: Box<dyn AppendFile>,
    script: Arc<Script>,
}

impl AppendFile for ScriptedFile {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.script.step("append", "")?;
        self.inner.append(bytes)
    }
    fn len(&self) -> u64 {
        self.inner.len()
    }
    fn finish(self: Box<Self>, durable: bool) -> Result<(), StorageError> {
        self.script.step("finish", if durable { "durably" } else { "" })?;
        self.inner.finish(durable)
    }
}

fn fault(error: Error) -> Option<Fault> {
    if let Error::Storage(error) = error { Some(error.fault) } else { None }
}

fn storage(directory: &Path) -> Arc<dyn Storage> {
    open(directory, StorageChoice::Posix, PageCache::Everything, false).unwrap()
}

fn sample(number: u64, label: Option<u64>) -> Manifest {
    let mut manifest = manifest(&mut Random::seeded(number), Size { segments: 5, slices: 3, states: 2 });
    (manifest.number, manifest.label) = (number, label);
    manifest
}

fn newest_checkpoint(storage: &dyn Storage) -> Result<Option<reader::ManifestFile>, StorageError> {
    reader::newest_checkpoint(storage, &reader::numbers(storage)?)
}

fn checkpoint(storage: &dyn Storage, label: u64) -> Result<Option<reader::ManifestFile>, StorageError> {
    reader::checkpoint(storage, &reader::numbers(storage)?, label)
}

#[test]
fn what_is_published_is_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let storage = storage(directory.path());
    assert_eq!(reader::newest(&*storage).unwrap(), None);
    assert_eq!(newest_checkpoint(&*storage).unwrap(), None);
    let first = publish(&*storage, &sample(1, Some(70)), true).unwrap();
    let mut child = sample(0x10, None);
    child.parent = Some(Parent { number: 1, digest: first.digest });
    let second = publish(&*storage, &child, false).unwrap();
    assert_eq!(reader::numbers(&*storage).unwrap(), [1, 0x10]);

    let read = reader::read(&*storage, 1).unwrap();
    assert_eq!(
        (Arc::unwrap_or_clone(read.manifest), read.digest, read.file_bytes),
        (sample(1, Some(70)), first.digest, first.file_bytes)
    );
    let newest = reader::newest(&*storage).unwrap().unwrap();
    assert_eq!((Arc::unwrap_or_clone(newest.manifest), newest.digest), (child, second.digest));
    for found in [newest_checkpoint(&*storage), checkpoint(&*storage, 70)] {
        assert_eq!(found.unwrap().unwrap().manifest.number, 1);
    }
    assert_eq!(checkpoint(&*storage, 71).unwrap(), None);
    let heads = reader::heads(&*storage).unwrap();
    let labels: Vec<_> = heads.into_iter().map(|(number, head)| (number, head.unwrap().label)).collect();
    assert_eq!(labels, [(1, Some(70)), (0x10, None)]);
    assert_eq!(reader::read(&*storage, 2).unwrap_err().fault, Fault::Missing);
}

#[test]
fn of_two_checkpoints_with_one_label_the_newer_is_meant() {
    let directory = tempfile::tempdir().unwrap();
    let storage = storage(directory.path());
    for number in [3, 4, 5] {
        publish(&*storage, &sample(number, Some(number.min(4))), false).unwrap();
    }
    assert_eq!(checkpoint(&*storage, 4).unwrap().unwrap().manifest.number, 5);
}

/// The directory is synced before the rename too: else a power cut could keep the manifest and lose a segment's name.
#[test]
fn a_durable_publication_syncs_before_and_after_the_rename() {
    let directory = tempfile::tempdir().unwrap();
    let storage = Scripted::new(directory.path(), usize::MAX);
    publish(&storage, &sample(1, None), true).unwrap();
    let (name, temporary) = (names::manifest_name(1), names::temporary_manifest_name(1));
    let steps = [
        format!("remove {temporary}"),
        format!("create {temporary}"),
        "append".to_owned(),
        "finish durably".to_owned(),
        "sync the directory".to_owned(),
        format!("rename to {name}"),
        "sync the directory".to_owned(),
    ];
    assert_eq!(storage.steps(), steps);
}

/// Wherever it dies, the newest manifest is the old one or the new one, and the next start goes on from there.
#[test]
fn death_between_any_two_steps_leaves_a_whole_manifest() {
    let (old, new) = (sample(1, Some(1)), sample(2, Some(2)));
    for steps in 0..=7 {
        let directory = tempfile::tempdir().unwrap();
        publish(&*storage(directory.path()), &old, true).unwrap();
        let outcome = publish(&Scripted::new(directory.path(), steps), &new, true);
        assert_eq!(outcome.is_ok(), steps == 7);

        let storage = storage(directory.path());
        let newest = reader::newest(&*storage).unwrap().unwrap().manifest;
        let renamed = steps >= 6;
        assert_eq!(*newest, if renamed { new.clone() } else { old.clone() }, "after {steps} steps");
        let again = publish(&*storage, &new, true).map_err(fault);
        assert_eq!(again.err(), renamed.then_some(Some(Fault::Exists)), "after {steps} steps");
        assert_eq!(*reader::newest(&*storage).unwrap().unwrap().manifest, new);
    }
}

#[test]
fn what_a_dead_attempt_left_is_neither_read_nor_in_the_way() {
    let directory = tempfile::tempdir().unwrap();
    let storage = storage(directory.path());
    fs::write(directory.path().join(names::temporary_manifest_name(1)), b"half a mani").unwrap();
    fs::write(directory.path().join("1.manifest"), b"not one of ours").unwrap();
    assert_eq!(reader::numbers(&*storage).unwrap(), []);
    publish(&*storage, &sample(1, None), true).unwrap();
    assert_eq!(*reader::newest(&*storage).unwrap().unwrap().manifest, sample(1, None));
}

#[test]
fn a_manifest_is_never_replaced_and_an_inconsistent_one_never_written() {
    let directory = tempfile::tempdir().unwrap();
    let storage = storage(directory.path());
    publish(&*storage, &sample(1, None), true).unwrap();
    assert_eq!(fault(publish(&*storage, &sample(1, Some(9)), true).unwrap_err()), Some(Fault::Exists));
    assert_eq!(*reader::newest(&*storage).unwrap().unwrap().manifest, sample(1, None));
    let mut broken = sample(2, None);
    broken.slices.pop();
    let refused = publish(&*storage, &broken, true).unwrap_err();
    assert!(matches!(refused, Error::Checkpoint { label: 0, .. }), "{refused}");
    assert_eq!(storage.list().unwrap().len(), 1);
}

/// Falling back in silence would lose what happened since; the older one opens for whoever asks for it by name.
#[test]
fn a_damaged_newest_manifest_is_an_error_and_the_older_one_still_opens() {
    let directory = tempfile::tempdir().unwrap();
    let storage = storage(directory.path());
    for number in [1, 2] {
        publish(&*storage, &sample(number, Some(number * 10)), true).unwrap();
    }
    let path = directory.path().join(names::manifest_name(2));
    let whole = fs::read(&path).unwrap();
    let mut late = whole.clone();
    *late.last_mut().unwrap() ^= 1;
    let mut early = whole.clone();
    early[40] ^= 1;
    for damaged in [&late[..], &early, &whole[..whole.len() - 1], &whole[..50], b"", b"something else"] {
        fs::write(&path, damaged).unwrap();
        for found in [reader::newest(&*storage), newest_checkpoint(&*storage)] {
            let error = found.unwrap_err();
            assert!(matches!(error.fault, Fault::Corrupt | Fault::Length | Fault::Foreign), "{error}");
            assert_eq!(error.path, path);
        }
        assert_eq!(checkpoint(&*storage, 10).unwrap().unwrap().manifest.number, 1);
        assert!(checkpoint(&*storage, 20).is_err(), "it may be the damaged one");
        assert!(reader::heads(&*storage).unwrap()[0].1.is_ok());
    }
}

#[test]
fn a_manifest_under_the_name_of_another_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let storage = storage(directory.path());
    publish(&*storage, &sample(1, Some(1)), true).unwrap();
    let swapped = directory.path().join(names::manifest_name(2));
    fs::copy(directory.path().join(names::manifest_name(1)), &swapped).unwrap();
    let refusals = [reader::read(&*storage, 2).unwrap_err(), reader::head(&*storage, 2).unwrap_err()];
    for error in refusals {
        assert_eq!((error.fault, &error.path, error.offset), (Fault::Corrupt, &swapped, 24));
    }
}
