//! A file being written, from its start to its end.
//!
//! Bytes are gathered in an aligned buffer and written in large aligned chunks, with `O_DIRECT` where the file system
//! allows it. Only the last, incomplete page goes through the page cache, so that the file's length is exact.
//! Invariants: `written` is a multiple of [`ALIGNMENT`]; `written` plus what is buffered is the length; a file that
//! failed or was given up is removed, once.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use super::buffer::ALIGNMENT;
use super::files::{Directory, Opened, remove_file};
use super::{AppendFile, Buffer, Fault, StorageError, sys};

/// How much is gathered before it is written, in bytes.
const CHUNK_BYTES: usize = 1 << 20;

/// A file that this process creates.
pub struct Appender {
    directory: Arc<Directory>,
    path: PathBuf,
    file: OwnedFd,
    direct: bool,
    buffer: Buffer,
    written: u64,
    state: State,
}

enum State {
    Writing,
    /// What every later call gets.
    Failed(StorageError),
    Complete,
}

impl Appender {
    /// Creates a file.
    pub fn create(directory: &Arc<Directory>, name: &str) -> Result<Self, StorageError> {
        let (path, opened) = directory.create(name)?;
        Self::over(Arc::clone(directory), path, opened)
    }

    /// Writes to an empty file.
    pub fn over(directory: Arc<Directory>, path: PathBuf, opened: Opened) -> Result<Self, StorageError> {
        let Opened { file, direct, .. } = opened;
        let mut appender =
            Self { directory, path, file, direct, buffer: Buffer::default(), written: 0, state: State::Writing };
        // From here on a failure drops the appender, which removes the file.
        appender.buffer = Buffer::allocate(CHUNK_BYTES, &appender.path, 0)?;
        Ok(appender)
    }

    fn usable(&self) -> Result<(), StorageError> {
        match &self.state {
            State::Failed(error) => Err(error.clone()),
            _ => self.directory.writable(&self.path, self.written),
        }
    }

    /// Writes the buffer out up to its last page border, or whole at the end of the file.
    fn flush(&mut self, last: bool) -> Result<(), StorageError> {
        let len = self.buffer.len();
        let whole = len - len % ALIGNMENT;
        debug_assert!(last || whole == len, "only the last chunk may be odd");
        self.write(0, whole)?;
        if whole < len {
            if self.direct {
                sys::stop_direct(self.file.as_fd()).map_err(|error| self.failed(&error, whole))?;
                self.direct = false;
            }
            self.write(whole, len)?;
        }
        self.written += len as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Writes `from..to` of the buffer to its place.
    fn write(&mut self, from: usize, to: usize) -> Result<(), StorageError> {
        let mut done = from;
        while done < to {
            let outcome = sys::write_at(self.file.as_fd(), &self.buffer[done..to], self.written + done as u64);
            match outcome {
                Ok(count) if count > 0 => {
                    self.directory.counters().count_write(count as u64);
                    done += count;
                    // A short direct write may stop within a page; the page cache takes the rest from there.
                    if self.direct && done < to && !done.is_multiple_of(ALIGNMENT) {
                        sys::stop_direct(self.file.as_fd()).map_err(|error| self.failed(&error, done))?;
                        self.direct = false;
                    }
                }
                Ok(_) => {
                    let error = std::io::Error::other("nothing was written");
                    return Err(self.failed(&error, done));
                }
                Err(error) if self.direct && error.raw_os_error() == Some(libc::EINVAL) => {
                    sys::stop_direct(self.file.as_fd()).map_err(|error| self.failed(&error, done))?;
                    self.direct = false;
                    self.directory.direct_refused();
                }
                Err(error) => return Err(self.failed(&error, done)),
            }
        }
        Ok(())
    }

    /// Notes a failed write or sync: a full disk costs this file only, anything else the whole storage.
    fn failed(&mut self, error: &std::io::Error, done: usize) -> StorageError {
        let mut error = StorageError::from_io(error, &self.path, self.written + done as u64);
        if error.fault == Fault::Full {
            error = self.give_up(error);
        } else {
            self.directory.poison();
        }
        self.state = State::Failed(error.clone());
        error
    }

    /// Removes the file; a failure to do so is told with what led here.
    fn give_up(&self, error: StorageError) -> StorageError {
        // Emptied too, as its room is not free before the descriptor is closed, which the caller may put off.
        let emptied = sys::empty(self.file.as_fd());
        match remove_file(&self.path).and(emptied) {
            Ok(()) => error,
            Err(left) => error.with_note(&format!("; the file could not be removed: {left}")),
        }
    }
}

impl AppendFile for Appender {
    fn append(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.usable()?;
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = &rest[self.buffer.push(rest)..];
            if self.buffer.room() == 0 {
                self.flush(false)?;
            }
        }
        Ok(())
    }

    fn len(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn finish(mut self: Box<Self>, durable: bool) -> Result<(), StorageError> {
        self.usable()?;
        self.flush(true)?;
        if durable {
            self.directory.counters().count_fsync();
            sys::sync_data(self.file.as_fd()).map_err(|error| self.failed(&error, 0))?;
        }
        self.state = State::Complete;
        Ok(())
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        // After a failure the file is gone already, and its name may be another's; in a poisoned directory nothing
        // is changed any more.
        if matches!(self.state, State::Writing) && self.directory.writable(&self.path, 0).is_ok() {
            // A file that stays is told apart by every reader, as nothing refers to it, and reclaimed at the next open.
            drop(remove_file(&self.path));
        }
    }
}
