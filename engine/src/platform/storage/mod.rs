//! Files: one trait over io_uring and plain system calls.
//!
//! Everything that the engine reads or writes goes through [`Storage`]. A file is written once, from its start to its
//! end, synced, and never changed again: there is no call that overwrites or truncates.
//!
//! Shared by both back ends: `files` (the directory and its names; the only file that uses `std::fs`), `append` (a
//! file being written), `log_file` and `log_group` (a changelog's files, and writing to many of them at once), `reading` (a complete file), `buffer` and `mapping` (what reads return), `lock`, `names`, `sys`
//! (system calls). `hosted` and `fetches` let a host take part: hand on what is written, bring what is elsewhere. `uring` and `posix` differ in how a batch of reads is done: `read_threads` does it for `posix`.

mod append;
mod buffer;
mod call;
mod counters;
mod descriptors;
mod error;
#[cfg(feature = "recorder")]
pub mod faults;
#[cfg(not(feature = "recorder"))]
#[path = "unfailing.rs"]
mod faults;
mod fetches;
mod files;
mod hosted;
mod lock;
mod log_file;
mod log_group;
mod mapping;
pub mod names;
mod posix;
mod read_threads;
mod reading;
#[cfg(feature = "recorder")]
pub mod recorder;
#[cfg(not(feature = "recorder"))]
#[path = "unrecorded.rs"]
mod recorder;
#[cfg(target_os = "linux")]
mod ring;
mod sys;
#[cfg(test)]
mod tests;
#[cfg(target_os = "linux")]
mod uring;

use super::threads;
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

pub use buffer::{ALIGNMENT, Buffer, POOL_MAX_BYTES};
pub use counters::{IoCounters, IoCounts};
pub use error::{Fault, StorageError};
pub use fetches::{FetchRequest, Fetches};
pub use files::{make_scratch, remove_directory, remove_scratches};
pub use hosted::{Hosted, SegmentSink};
pub use lock::{DirLock, lock};
pub use log_group::{LogGroup, LogWrite};
pub use mapping::Mapping;

/// Which back end [`open`] is to take.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum StorageChoice {
    /// io_uring where the system allows it, else plain system calls.
    #[default]
    Auto,
    /// io_uring, or an error from [`open`] where the system doesn't allow it.
    Uring,
    /// Plain system calls.
    Posix,
}

/// What of segments goes through the page cache of the system. What doesn't is read and written with `O_DIRECT`, where the
/// file system allows that.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PageCache {
    /// Nothing: what the engine takes is what its budget says.
    Nothing,
    /// Reads of a block that somebody waits for, and of a few together: where the state is a little larger than the budget,
    /// memory that nobody else needs answers them. Writes, large batches of reads, scans and merges don't pass through it.
    #[default]
    SingleReads,
    /// Everything.
    Everything,
}

/// Opens a directory; with `create` it is made (durably) if it isn't there.
///
/// Take the directory's [`lock()`] first: nothing here keeps two storages from writing the same files.
pub fn open(
    root: &Path,
    choice: StorageChoice,
    cache: PageCache,
    create: bool,
) -> Result<Arc<dyn Storage>, StorageError> {
    let posix = posix::Posix::new(Arc::new(files::Directory::open(root, cache, create)?));
    #[cfg(target_os = "linux")]
    if choice != StorageChoice::Posix && !threads::is_simulated() {
        match uring::Uring::new(posix) {
            Ok(uring) => return Ok(Arc::new(uring)),
            Err((posix, error)) if choice == StorageChoice::Uring => {
                let detail = format!("io_uring can't be set up: {error}");
                return Err(StorageError::new(Fault::Io, posix.root(), 0, detail));
            }
            Err((posix, _)) => {
                posix.counters().count_uring_fallback();
                return Ok(Arc::new(posix));
            }
        }
    }
    Ok(Arc::new(posix))
}

/// Which back end a [`Storage`] is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backend {
    /// io_uring.
    Uring,
    /// `pread` and `pwrite`.
    Posix,
}

/// A file's name and length, as listed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileEntry {
    /// The name, without its directory.
    pub name: String,
    /// The length in bytes.
    pub len: u64,
}

/// One directory and the files in it.
///
/// Names are plain ([`names::is_plain_name`]); any other is refused with [`Fault::Name`]. After a failed write or sync
/// the storage is *poisoned*: every later change gives [`Fault::Poisoned`], as what is on disk can no longer be told;
/// reads go on. [`Fault::Full`] is the exception: the incomplete file is removed, and a later one may succeed.
pub trait Storage: Send + Sync + Debug {
    /// Which back end this is now: [`Backend::Posix`] once io_uring was denied.
    fn backend(&self) -> Backend;

    /// The directory.
    fn root(&self) -> &Path;

    /// What was read and written so far.
    fn counters(&self) -> &IoCounters;

    /// How many bytes can still be written to the file system; `u64::MAX` where it doesn't say.
    fn free_bytes(&self) -> Result<u64, StorageError>;

    /// The regular files of the directory, in no particular order.
    fn list(&self) -> Result<Vec<FileEntry>, StorageError>;

    /// The names of these files; the files themselves are not looked at.
    fn names(&self) -> Result<Vec<String>, StorageError> {
        Ok(self.list()?.into_iter().map(|file| file.name).collect())
    }

    /// Whether reading a file doesn't have to wait until its host brings it.
    fn is_here(&self, _name: &str) -> bool {
        true
    }

    /// Creates a file to be written from its start; [`Fault::Exists`] where there is one.
    fn create(&self, name: &str) -> Result<Box<dyn AppendFile>, StorageError>;

    /// Makes a file of a changelog, durably: `len` bytes whose room is taken, where the file system can, that begin with `first`, which
    /// is at most a page. [`Fault::Exists`] where there is one.
    fn create_log(&self, name: &str, first: &[u8], len: u64) -> Result<Box<dyn LogFile>, StorageError>;

    /// Opens a file for reading at any place.
    fn open(&self, name: &str) -> Result<Arc<dyn ReadFile>, StorageError>;

    /// The whole of a small file; [`Fault::Length`] where it is longer than `max_bytes` (nothing is allocated then).
    fn read_all(&self, name: &str, max_bytes: u64) -> Result<Vec<u8>, StorageError>;

    /// Renames a file within the directory, replacing `to`.
    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError>;

    /// Unlinks a file; one that is not there counts as done.
    fn remove(&self, name: &str) -> Result<(), StorageError>;

    /// Makes durable what a file has that is there: of a process that died, or that finished it without, it may be in the page cache alone. Not to
    /// be repeated when it failed.
    fn sync_file(&self, name: &str) -> Result<(), StorageError>;

    /// Makes creations, renames and removals durable.
    fn sync_dir(&self) -> Result<(), StorageError>;

    /// Puts `name` into another directory under the same name: a hard link, or a copy where links can't be; either is synced.
    /// One that is there and has the same bytes counts as done; [`Fault::Exists`] where there is another.
    /// [`Storage::sync_other`] makes the name durable.
    fn link_to(&self, name: &str, directory: &Path) -> Result<(), StorageError>;

    /// Makes another directory's entries durable.
    fn sync_other(&self, directory: &Path) -> Result<(), StorageError>;

    /// Takes a file of another directory into this one under the same name: a hard link, synced if `durable`, or a synced copy.
    /// [`Fault::Exists`] where there is one. [`Storage::sync_dir`] makes the name durable.
    fn link_from(&self, name: &str, directory: &Path, durable: bool) -> Result<(), StorageError>;

    /// Has all reads of files that are open go through the page cache, where single ones do ([`PageCache::SingleReads`]), until told otherwise.
    fn cache_all_reads(&self, _all: bool) {}

    /// Does all reads, submitted together, and leaves each one's outcome in it. Returns when all are done.
    fn read_batch(&self, batch: &mut [ReadRequest]);

    /// Does reads that `stream` comes up with as it goes; returns when it has no more and all are done. Where the back
    /// end can, others are under way while it is asked for the next or takes one.
    fn read_stream(&self, stream: &mut dyn ReadStream) {
        loop {
            let mut round: Vec<ReadRequest> = std::iter::from_fn(|| stream.next()).take(ROUND).collect();
            if round.is_empty() {
                return;
            }
            self.read_batch(&mut round);
            round.into_iter().for_each(|request| stream.landed(request));
        }
    }
}

/// How many reads of a stream are done together where they don't overlap with the stream's own work.
const ROUND: usize = 128;

/// Reads that are come up with as others are done.
pub trait ReadStream {
    /// The next read; `None` where there is none for now: it is asked again after each landing.
    fn next(&mut self) -> Option<ReadRequest>;

    /// Takes a read that is done, with its outcome. They come in no particular order.
    fn landed(&mut self, request: ReadRequest);
}

/// A file being written. Dropping it without [`AppendFile::finish`] removes it, or leaves a file that nothing refers
/// to where it can't be removed. After a failure, every later call fails the same way.
pub trait AppendFile: Send {
    /// Appends bytes.
    fn append(&mut self, bytes: &[u8]) -> Result<(), StorageError>;

    /// How many bytes were appended.
    fn len(&self) -> u64;

    /// Whether nothing was appended.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes out what is buffered and makes it durable (`fdatasync`) if `durable`; the file is complete then.
    fn finish(self: Box<Self>, durable: bool) -> Result<(), StorageError>;
}

/// A file of a changelog: written page by page, read only when a store is opened. Bytes that were written are never written again, but
/// for those of a write that failed for want of room.
pub trait LogFile: Send + Debug {
    /// The file's path, for errors.
    fn path(&self) -> &Path;

    /// The length in bytes, which doesn't change.
    fn len(&self) -> u64;

    /// Whether it has no room at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes whole pages to a place that is a multiple of a page.
    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StorageError>;

    /// Makes durable what was written. Not to be repeated when it failed.
    fn sync(&mut self) -> Result<(), StorageError>;

    /// The file descriptor, for a [`LogGroup`]; `None` where there is none, or nothing is to be written any more.
    fn descriptor(&self) -> Option<Arc<std::os::fd::OwnedFd>>;

    /// Counts what a [`LogGroup`] wrote, and perhaps synced, through the descriptor.
    fn wrote(&self, bytes: u64, synced: bool);

    /// Refuses every later change of the directory: a sync through the descriptor failed.
    fn poison(&self);
}

/// A complete file, read at any place.
pub trait ReadFile: Send + Sync + Debug {
    /// The file's path, for errors.
    fn path(&self) -> &Path;

    /// The length in bytes.
    fn len(&self) -> u64;

    /// Whether the file is empty.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads `len` bytes from `offset`; [`Fault::Length`] where the file ends before.
    fn read_at(&self, offset: u64, len: usize) -> Result<Buffer, StorageError>;

    /// The same for one read that somebody waits for, through the page cache where that is for such reads
    /// ([`PageCache::SingleReads`]).
    fn read_single(&self, offset: u64, len: usize) -> Result<Buffer, StorageError> {
        self.read_at(offset, len)
    }

    /// The same bytes through the page cache, mapped; for immutable metadata only.
    fn map(&self, offset: u64, len: usize) -> Result<Mapping, StorageError>;

    /// The file descriptor for the back end that opened it, held open, and whether it is opened with `O_DIRECT`. `None`
    /// where there is none to be had: [`ReadFile::read_at`] says why.
    fn descriptor(&self) -> Option<(Arc<std::os::fd::OwnedFd>, bool)>;

    /// The same for reads like [`ReadFile::read_single`].
    fn descriptor_for_single(&self) -> Option<(Arc<std::os::fd::OwnedFd>, bool)> {
        self.descriptor()
    }
}

/// One read of a batch.
#[derive(Debug)]
pub struct ReadRequest {
    /// The file.
    pub file: Arc<dyn ReadFile>,
    /// From where, in bytes.
    pub offset: u64,
    /// How many bytes.
    pub len: usize,
    /// What the one who asks knows it by.
    pub tag: usize,
    /// Whether it goes through the page cache where single reads do ([`PageCache::SingleReads`]): one of a few that are waited for.
    pub cached: bool,
    /// What came of it; `None` before.
    pub outcome: Option<Result<Buffer, StorageError>>,
}

impl ReadRequest {
    /// A read that has not been done yet.
    pub fn new(file: Arc<dyn ReadFile>, offset: u64, len: usize) -> Self {
        Self { file, offset, len, tag: 0, cached: false, outcome: None }
    }

    /// The same read, not done yet.
    pub fn again(&self) -> Self {
        let Self { file, offset, len, tag, cached, .. } = self;
        Self { tag: *tag, cached: *cached, ..Self::new(Arc::clone(file), *offset, *len) }
    }

    /// Does the read by itself.
    pub fn read(&self) -> Result<Buffer, StorageError> {
        let Self { file, offset, len, .. } = self;
        if self.cached { file.read_single(*offset, *len) } else { file.read_at(*offset, *len) }
    }
}
