//! A file of a changelog: its room is taken when it is made, and it is written in whole pages from its start to its end.
//!
//! It is made under a temporary name with its first page in it, and gets its own name when both are durable: a file of that name
//! always begins with a whole first page. What is written later is durable once [`LogFile::sync`] says so. A failure poisons the
//! directory, as with any other file.

use crate::platform::safeguards::{Safeguard, stands};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::buffer::ALIGNMENT;
use super::files::{Directory, Opened, remove_file};
use super::{Buffer, Fault, LogFile, StorageError, names, sys};

/// A changelog's file that this process writes.
#[derive(Debug)]
pub struct PreallocatedFile {
    directory: Arc<Directory>,
    path: PathBuf,
    file: Arc<OwnedFd>,
    direct: bool,
    len: u64,
}

impl PreallocatedFile {
    /// Makes a file of `len` bytes that begins with `first`, of at most a page, durably. Where the file system can't take the room
    /// beforehand, it is taken as the file is written.
    pub fn create(directory: &Arc<Directory>, name: &str, first: &[u8], len: u64) -> Result<Self, StorageError> {
        let temporary = names::temporary_name(name);
        // One that a crash cut short.
        directory.remove(&temporary)?;
        let (path, opened) = directory.create(&temporary)?;
        let Opened { file, direct, .. } = opened;
        let mut made = Self { directory: Arc::clone(directory), path, file: Arc::new(file), direct, len };
        let filled = made.fill(first);
        let named = filled.and_then(|()| directory.rename(&temporary, name));
        let named = named.and_then(|()| if stands(Safeguard::ChangelogNamed) { directory.sync() } else { Ok(()) });
        if let Err(error) = named {
            // Nothing refers to it; what stays of it is removed when the store is opened.
            drop(remove_file(&made.path));
            return Err(error);
        }
        made.path = directory.path(name)?;
        Ok(made)
    }

    fn fill(&mut self, first: &[u8]) -> Result<(), StorageError> {
        if let Err(error) = sys::allocate(self.file.as_fd(), self.len)
            && error.raw_os_error() == Some(libc::ENOSPC)
        {
            return Err(StorageError::from_io(&error, &self.path, 0));
        }
        let mut page = Buffer::allocate(ALIGNMENT, &self.path, 0)?;
        page.push(first);
        page.pad(ALIGNMENT);
        self.write(0, &page)?;
        if stands(Safeguard::ChangelogMade) { self.sync() } else { Ok(()) }
    }

    /// Notes a failed write or sync.
    fn failed(&self, error: &std::io::Error, offset: u64) -> StorageError {
        let error = StorageError::from_io(error, &self.path, offset);
        // Without room nothing was written; the caller may try again when there is some.
        if error.fault != Fault::Full {
            self.directory.poison();
        }
        error
    }
}

impl LogFile for PreallocatedFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn len(&self) -> u64 {
        self.len
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), StorageError> {
        self.directory.writable(&self.path, offset)?;
        let mut done = 0;
        while done < bytes.len() {
            match sys::write_at(self.file.as_fd(), &bytes[done..], offset + done as u64) {
                Ok(count) if count > 0 => {
                    self.directory.counters().count_write(count as u64);
                    done += count;
                    // It may stop within a page; the page cache takes the rest from there.
                    if self.direct && done < bytes.len() && !done.is_multiple_of(ALIGNMENT) {
                        sys::stop_direct(self.file.as_fd()).map_err(|error| self.failed(&error, offset))?;
                        self.direct = false;
                    }
                }
                Ok(_) => return Err(self.failed(&std::io::Error::other("nothing was written"), offset + done as u64)),
                Err(error) if self.direct && error.raw_os_error() == Some(libc::EINVAL) => {
                    sys::stop_direct(self.file.as_fd()).map_err(|error| self.failed(&error, offset))?;
                    self.direct = false;
                    self.directory.direct_refused();
                }
                Err(error) => return Err(self.failed(&error, offset + done as u64)),
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.directory.writable(&self.path, 0)?;
        self.directory.counters().count_fsync();
        sys::sync_data(self.file.as_fd()).map_err(|error| {
            self.directory.poison();
            // Never `Full`: that would invite a second try, which could succeed without the bytes on disk.
            StorageError::new(Fault::Io, &self.path, 0, error.to_string())
        })
    }

    fn descriptor(&self) -> Option<Arc<OwnedFd>> {
        self.directory.writable(&self.path, 0).is_ok().then(|| Arc::clone(&self.file))
    }

    fn wrote(&self, bytes: u64, synced: bool) {
        self.directory.counters().count_write(bytes);
        if synced {
            self.directory.counters().count_fsync();
        }
    }

    fn poison(&self) {
        self.directory.poison();
    }
}
