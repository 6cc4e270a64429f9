//! Files: one trait over io_uring and plain system calls.
//!
//! Everything that the engine reads or writes goes through [`Storage`]. A file is written once, from its start to its
//! end, synced, and never changed again: there is no call that overwrites or truncates.

mod buffer;
mod error;

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

pub use buffer::{Buffer, Mapping};
pub use error::{Fault, StorageError};

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
pub trait Storage: Send + Sync + Debug {
    /// Which back end this is.
    fn backend(&self) -> Backend;

    /// The directory.
    fn root(&self) -> &Path;

    /// The regular files of the directory, in no particular order.
    fn list(&self) -> Result<Vec<FileEntry>, StorageError>;

    /// Creates a file to be written from its start; [`Fault::Exists`] where there is one.
    fn create(&self, name: &str) -> Result<Box<dyn AppendFile>, StorageError>;

    /// Opens a file for reading at any place.
    fn open(&self, name: &str) -> Result<Arc<dyn ReadFile>, StorageError>;

    /// The whole of a small file; [`Fault::Length`] where it is longer than `max_bytes` (nothing is allocated then).
    fn read_all(&self, name: &str, max_bytes: u64) -> Result<Vec<u8>, StorageError>;

    /// Renames a file within the directory, replacing `to`.
    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError>;

    /// Unlinks a file; one that is not there counts as done.
    fn remove(&self, name: &str) -> Result<(), StorageError>;

    /// Makes creations, renames and removals durable.
    fn sync_dir(&self) -> Result<(), StorageError>;

    /// Puts `name` into another directory under the same name: a hard link, or a synced copy where links can't be.
    fn link_to(&self, name: &str, directory: &Path) -> Result<(), StorageError>;

    /// Takes a file of another directory into this one under the same name: a hard link, or a synced copy.
    fn link_from(&self, name: &str, directory: &Path) -> Result<(), StorageError>;

    /// Does all reads, submitted together, and leaves each one's outcome in it. Returns when all are done.
    fn read_batch(&self, batch: &mut [ReadRequest]);
}

/// A file being written. Dropping it without [`AppendFile::sync`] leaves a file that nothing refers to.
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

    /// The same bytes through the page cache, mapped; for immutable metadata only.
    fn map(&self, offset: u64, len: usize) -> Result<Mapping, StorageError>;

    /// The file descriptor for the back end that opened it, and whether it is opened with `O_DIRECT`.
    fn descriptor(&self) -> Option<(std::os::fd::RawFd, bool)>;
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
    /// What came of it; `None` before.
    pub outcome: Option<Result<Buffer, StorageError>>,
}

impl ReadRequest {
    /// A read that has not been done yet.
    pub fn new(file: Arc<dyn ReadFile>, offset: u64, len: usize) -> Self {
        Self { file, offset, len, outcome: None }
    }
}
