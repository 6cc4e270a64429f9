//! What can go wrong with a file, with its path and offset.

use std::path::PathBuf;

/// Why a file operation failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// The operating system refused a read or write.
    Io,
    /// The disk, the quota or the file size limit is reached; free some room and try again.
    Full,
    /// The process has no file descriptor left; close some and try again.
    TooManyFiles,
    /// There is no memory for what is to be read or written; free some and try again.
    Memory,
    /// The name can't be that of a file in the directory; nothing was done.
    Name,
    /// The file isn't there.
    Missing,
    /// The file is elsewhere, and its host could not bring it, or the wait for it was called off; try again.
    Absent,
    /// The file is shorter or longer than what refers to it says.
    Length,
    /// A checksum, a bound or a cross-reference doesn't hold.
    Corrupt,
    /// The file is not of this kind at all (wrong magic), or belongs to another store.
    Foreign,
    /// The file's format version is newer than this program reads.
    NewerVersion,
    /// Another process, or another store of this process, holds the directory.
    Locked,
    /// A file of this name exists already.
    Exists,
    /// An earlier write or fsync of this store failed: what is on disk can no longer be told, so nothing is written.
    Poisoned,
}

impl Fault {
    /// Whether it says nothing of the file, only that it couldn't be looked at just then.
    pub const fn is_passing(self) -> bool {
        matches!(self, Self::TooManyFiles | Self::Memory | Self::Absent)
    }
}

/// A failed file operation.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{path}: {fault:?} at offset {offset}: {detail}", path = path.display())]
pub struct StorageError {
    /// What kind of failure it is.
    pub fault: Fault,
    /// The file or directory.
    pub path: PathBuf,
    /// Where in the file, in bytes; 0 where no place can be told.
    pub offset: u64,
    /// What was found, in words.
    pub detail: String,
}

impl StorageError {
    /// A failure of `fault` at `offset` of `path`.
    pub fn new(fault: Fault, path: impl Into<PathBuf>, offset: u64, detail: impl Into<String>) -> Self {
        Self { fault, path: path.into(), offset, detail: detail.into() }
    }

    /// The failure that an I/O error of the standard library stands for.
    pub fn from_io(error: &std::io::Error, path: impl Into<PathBuf>, offset: u64) -> Self {
        let fault = match error.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG) => Fault::Full,
            Some(libc::EMFILE | libc::ENFILE) => Fault::TooManyFiles,
            Some(libc::ENOMEM) => Fault::Memory,
            Some(libc::ENOENT) => Fault::Missing,
            Some(libc::EEXIST) => Fault::Exists,
            _ => Fault::Io,
        };
        Self::new(fault, path, offset, error.to_string())
    }

    /// The same failure with more said about it.
    pub fn with_note(mut self, note: &str) -> Self {
        self.detail.push_str(note);
        self
    }
}
