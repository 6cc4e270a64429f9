//! What was done to files, in order: what a crash at any moment may leave follows from that.
//!
//! A [`Recorder`] notes each change of the files below a directory: the bytes that are written, the lengths that are set, the names that
//! come and go, and what was synced. It is for tests (feature `recorder`): they go through the record, stop anywhere, lose any of what
//! wasn't synced, and open the store that is left. The engine works on real files meanwhile, through either back end, so it is its own
//! code, as it is shipped, whose order of writes and syncs is looked at.
//!
//! A write is noted when it is done, a sync when it has returned: what the record has before it was written before it began, as each
//! file is written and synced by one thread at a time. Directories are changed by several, so their syncs say what they cover.
//! What is copied where links can't be isn't noted.

use super::{files, sys};
use crate::platform::threads::Mutex;
use std::collections::HashMap;
use std::io::Result;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

/// What a name in a directory leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// A file, by its number in this record.
    File(usize),
    /// A directory.
    Directory,
}

/// A change, or a sync of changes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op {
    /// Bytes were written to a file.
    Wrote {
        /// The file's number.
        file: usize,
        /// To where, in bytes.
        offset: u64,
        /// What was written.
        bytes: Vec<u8>,
    },
    /// A file was cut, or made longer by zeros, to so many bytes.
    Length {
        /// The file's number.
        file: usize,
        /// The length in bytes.
        bytes: u64,
    },
    /// All that was done to a file before this is durable.
    Synced {
        /// The file's number.
        file: usize,
    },
    /// A sync of a file failed: what of it wasn't durable may never be, whatever is synced later.
    SyncFailed {
        /// The file's number.
        file: usize,
    },
    /// Names of a directory lead to something else, or to nothing, in one step.
    Named {
        /// The directory.
        directory: PathBuf,
        /// The names, and what they lead to.
        names: Vec<(String, Option<Entry>)>,
    },
    /// A directory's changes among the first `before` of the record are durable.
    DirectorySynced {
        /// The directory.
        directory: PathBuf,
        /// How long the record was when the sync began.
        before: usize,
    },
    /// A sync of a directory failed: the changes of it among the first `before` of the record may never be durable.
    DirectorySyncFailed {
        /// The directory.
        directory: PathBuf,
        /// How long the record was when the sync began.
        before: usize,
    },
}

#[derive(Debug)]
struct Recording {
    root: PathBuf,
    ops: Vec<Op>,
    /// Files by device and inode. A number is used again when its file is gone; then it is the new file's.
    files: HashMap<(u64, u64), usize>,
    names: HashMap<PathBuf, Entry>,
    /// How many files there are.
    count: usize,
}

static RECORDINGS: Mutex<Vec<Recording>> = Mutex::new(Vec::new());

/// Notes what is done below a directory until it is finished.
#[derive(Debug)]
pub struct Recorder {
    root: PathBuf,
}

impl Recorder {
    /// Begins. `there` are the files below `root` (an absolute path without links) that there are already, as paths from it: they have the numbers from 0 on.
    pub fn start(root: &Path, there: &[PathBuf]) -> Self {
        let names = there.iter().enumerate().map(|(file, path)| (root.join(path), Entry::File(file))).collect();
        let known = there.iter().enumerate();
        let files = known.filter_map(|(file, path)| Some((files::file_identity(&root.join(path))?, file))).collect();
        let recording = Recording { root: root.to_owned(), ops: Vec::new(), files, names, count: there.len() };
        RECORDINGS.lock().push(recording);
        Self { root: root.to_owned() }
    }

    /// How many changes and syncs were noted so far.
    pub fn len(&self) -> usize {
        RECORDINGS.lock().iter().find(|recording| recording.root == self.root).map_or(0, |found| found.ops.len())
    }

    /// Whether none were.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends it: what was noted.
    pub fn finish(self) -> Vec<Op> {
        let mut recordings = RECORDINGS.lock();
        let at = recordings.iter().position(|recording| recording.root == self.root);
        at.map_or_else(Vec::new, |at| recordings.swap_remove(at).ops)
    }
}

impl Recording {
    fn name(&mut self, path: &Path, entry: Option<Entry>) -> Option<(String, Option<Entry>)> {
        match entry {
            Some(entry) => self.names.insert(path.to_owned(), entry),
            None => self.names.remove(path),
        };
        Some((path.file_name()?.to_str()?.to_owned(), entry))
    }

    fn named(&mut self, changes: &[(&Path, Option<Entry>)]) {
        let Some(directory) = changes.first().and_then(|(path, _)| path.parent()).map(Path::to_owned) else { return };
        let names = changes.iter().filter_map(|(path, entry)| self.name(path, *entry)).collect();
        self.ops.push(Op::Named { directory, names });
    }

    fn new_file(&mut self, identity: (u64, u64)) -> usize {
        let file = self.count;
        self.count += 1;
        self.files.insert(identity, file);
        file
    }
}

/// Does `what` to the name `path` while nothing else is noted, and has `note` note it if it succeeded.
fn with<T>(path: &Path, what: impl FnOnce() -> Result<T>, note: impl FnOnce(&mut Recording, &T)) -> Result<T> {
    let mut recordings = RECORDINGS.lock();
    let done = what()?;
    if let Some(recording) = recordings.iter_mut().find(|recording| path.starts_with(&recording.root)) {
        note(recording, &done);
    }
    Ok(done)
}

fn with_file(file: BorrowedFd<'_>, note: impl FnOnce(&mut Recording, usize)) {
    let mut recordings = RECORDINGS.lock();
    if recordings.is_empty() {
        return;
    }
    let Ok(identity) = sys::identity(file) else { return };
    let known = recordings.iter_mut().find_map(|recording| Some((*recording.files.get(&identity)?, recording)));
    if let Some((file, recording)) = known {
        note(recording, file);
    }
}

/// Notes a file that was made.
pub fn created(path: &Path, file: BorrowedFd<'_>) {
    let mut recordings = RECORDINGS.lock();
    let Some(recording) = recordings.iter_mut().find(|recording| path.starts_with(&recording.root)) else { return };
    let Ok(identity) = sys::identity(file) else { return };
    let file = recording.new_file(identity);
    recording.named(&[(path, Some(Entry::File(file)))]);
}

/// Notes what was written.
pub fn wrote(file: BorrowedFd<'_>, offset: u64, bytes: &[u8]) {
    with_file(file, |recording, file| recording.ops.push(Op::Wrote { file, offset, bytes: bytes.to_vec() }));
}

/// Notes a length that was set.
pub fn length(file: BorrowedFd<'_>, bytes: u64) {
    with_file(file, |recording, file| recording.ops.push(Op::Length { file, bytes }));
}

/// Notes a sync that succeeded.
pub fn synced(file: BorrowedFd<'_>) {
    with_file(file, |recording, file| recording.ops.push(Op::Synced { file }));
}

/// Notes a sync that failed.
pub fn sync_failed(file: BorrowedFd<'_>) {
    with_file(file, |recording, file| recording.ops.push(Op::SyncFailed { file }));
}

/// Renames by `rename`.
pub fn renamed(from: &Path, to: &Path, rename: impl FnOnce() -> Result<()>) -> Result<()> {
    with(from, rename, |recording, ()| {
        let entry = recording.names.get(from).copied();
        recording.named(&[(from, None), (to, entry)]);
    })
}

/// Removes a file, or a directory with all that is in it, by `remove`.
pub fn removed(path: &Path, remove: impl FnOnce() -> Result<()>) -> Result<()> {
    with(path, remove, |recording, ()| {
        recording.names.retain(|name, _| name == path || !name.starts_with(path));
        recording.named(&[(path, None)]);
    })
}

/// Makes a directory by `make`.
pub fn directory_made(path: &Path, make: impl FnOnce() -> Result<()>) -> Result<()> {
    with(path, make, |recording, ()| recording.named(&[(path, Some(Entry::Directory))]))
}

/// Links a file by `link`.
pub fn linked(from: &Path, to: &Path, link: impl FnOnce() -> Result<()>) -> Result<()> {
    with(to, link, |recording, ()| {
        let entry = recording.names.get(from).copied();
        recording.named(&[(to, entry)]);
    })
}

/// Syncs a directory by `sync`.
pub fn directory_synced(directory: &Path, sync: impl FnOnce() -> Result<()>) -> Result<()> {
    // Not while others are kept from changing it: what they change meanwhile may come too late for the sync.
    let root = |recording: &&mut Recording| directory.starts_with(&recording.root);
    let before = RECORDINGS.lock().iter_mut().find(root).map(|recording| recording.ops.len());
    let synced = sync();
    if let (Some(before), Some(recording)) = (before, RECORDINGS.lock().iter_mut().find(root)) {
        let directory = directory.to_owned();
        recording.ops.push(match synced {
            Ok(()) => Op::DirectorySynced { directory, before },
            Err(_) => Op::DirectorySyncFailed { directory, before },
        });
    }
    synced
}
