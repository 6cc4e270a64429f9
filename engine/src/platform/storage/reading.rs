//! A complete file, and the plan of a read from it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use super::buffer::ALIGNMENT;
use super::descriptors::Descriptor;
use super::files::{Directory, Opened};
use super::{Buffer, Fault, Mapping, ReadFile, StorageError, sys};

/// Where a read starts and ends on the device, and which of its bytes were asked for.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// From where to read; a multiple of [`ALIGNMENT`] for a direct read.
    pub offset: u64,
    /// How much to ask for; a multiple of [`ALIGNMENT`] for a direct read, and then perhaps past the file's end.
    pub len: usize,
    /// How many of the bytes read come before those asked for.
    pub skip: usize,
    /// How many bytes have to arrive.
    pub needed: usize,
}

impl Plan {
    /// The plan for `len` bytes from `offset` of `file`; [`Fault::Length`] where the file ends before.
    pub fn new(file: &dyn ReadFile, offset: u64, len: usize, direct: bool) -> Result<Self, StorageError> {
        if offset.checked_add(len as u64).is_none_or(|end| end > file.len()) {
            return Err(past_end(file.path(), offset, len, file.len()));
        }
        let skip = if direct { (offset % ALIGNMENT as u64) as usize } else { 0 };
        let plan = skip.checked_add(len).and_then(|needed| {
            let len = if direct { needed.checked_next_multiple_of(ALIGNMENT)? } else { needed };
            Some(Self { offset: offset - skip as u64, len, skip, needed })
        });
        plan.ok_or_else(|| StorageError::new(Fault::Memory, file.path(), offset, format!("a read of {len} bytes")))
    }

    /// The buffer with only the bytes that were asked for shown. It holds `needed` bytes at least.
    pub fn window(&self, buffer: Buffer) -> Buffer {
        buffer.narrow(self.skip, self.needed - self.skip)
    }
}

/// A file opened for reading, by either back end.
#[derive(Debug)]
pub struct Reading {
    directory: Arc<Directory>,
    path: PathBuf,
    name: String,
    file: Descriptor,
    direct: AtomicBool,
    /// For single reads, where they go through the page cache and others don't.
    cached: OnceLock<Descriptor>,
    len: u64,
}

impl Reading {
    /// Opens a file.
    pub fn open(directory: &Arc<Directory>, name: &str) -> Result<Self, StorageError> {
        let (file, (path, direct, len)) = Descriptor::open(|| {
            let (path, Opened { file, direct, len }) = directory.open_file(name)?;
            Ok((file, (path, direct, len)))
        })?;
        let (directory, name, direct) = (Arc::clone(directory), name.to_owned(), AtomicBool::new(direct));
        Ok(Self { directory, path, name, file, direct, cached: OnceLock::new(), len })
    }

    /// The file, opened again where it was closed in between.
    fn file(&self) -> Result<Arc<OwnedFd>, StorageError> {
        self.file.get(|| {
            let (_, Opened { file, direct, .. }) = self.directory.open_file(&self.name)?;
            // Relaxed: as in `read_at`. Direct reads that were refused once are not tried again.
            if !direct {
                self.direct.store(false, Ordering::Relaxed);
            } else if !self.direct.load(Ordering::Relaxed) {
                sys::stop_direct(file.as_fd()).map_err(|error| StorageError::from_io(&error, &self.path, 0))?;
            }
            Ok((file, ()))
        })
    }

    /// The file opened for reads through the page cache.
    fn cached_file(&self) -> Result<Arc<OwnedFd>, StorageError> {
        let mut open = || Ok((self.directory.open_cached(&self.name)?, ()));
        match self.cached.get() {
            Some(descriptor) => descriptor.get(open),
            None => {
                let (descriptor, ()) = Descriptor::open(&mut open)?;
                // Of two threads that come here at once the first one's stays.
                self.cached.get_or_init(|| descriptor).get(open)
            }
        }
    }

    /// The same where single reads go through it and others don't. `None` also where there is no further descriptor to be had: the one that
    /// there is serves.
    fn file_for_single(&self) -> Option<Arc<OwnedFd>> {
        // Relaxed: as in `read_at`.
        let other = self.directory.caches_single_reads() && self.direct.load(Ordering::Relaxed);
        other.then(|| self.cached_file().ok()).flatten()
    }

    /// The same for all other reads, while they go through it as well.
    fn file_for_all(&self) -> Option<Arc<OwnedFd>> {
        self.directory.caches_all_reads().then(|| self.file_for_single()).flatten()
    }

    /// Reads until the bytes asked for are there. `Ok(None)` where the file turned out not to do direct reads.
    fn read(&self, file: &OwnedFd, offset: u64, len: usize, direct: bool) -> Result<Option<Buffer>, StorageError> {
        let plan = Plan::new(self, offset, len, direct)?;
        let mut buffer = Buffer::allocate(plan.len, &self.path, offset)?;
        let mut reached = 0;
        while buffer.len() < plan.needed {
            let from = plan.offset + buffer.len() as u64;
            match sys::read_at(file.as_fd(), &mut buffer, plan.len, from) {
                Ok(_) if buffer.len() >= plan.needed => {}
                // The file was as long when it was opened: something else has cut it since.
                Ok(0) => return Err(past_end(&self.path, offset, len, from)),
                // It stops within the same page again: the file ends there now, or direct reads do.
                Ok(_) if buffer.len() <= reached => {
                    let end =
                        sys::len(file.as_fd()).map_err(|error| StorageError::from_io(&error, &self.path, from))?;
                    let is_there = offset.checked_add(len as u64).is_some_and(|needed| needed <= end);
                    return if is_there { Ok(None) } else { Err(past_end(&self.path, offset, len, end)) };
                }
                Ok(_) => {
                    reached = buffer.len();
                    if direct {
                        // Go on from a page border only.
                        buffer.truncate(reached - reached % ALIGNMENT);
                    }
                }
                Err(error) if direct && error.raw_os_error() == Some(libc::EINVAL) => return Ok(None),
                Err(error) => return Err(StorageError::from_io(&error, &self.path, from)),
            }
        }
        self.directory.counters().count_reads(1, buffer.len() as u64);
        Ok(Some(plan.window(buffer)))
    }

    fn read_cached(&self, file: &OwnedFd, offset: u64, len: usize) -> Result<Buffer, StorageError> {
        let refused = || StorageError::new(Fault::Io, &self.path, offset, "the read was refused");
        self.read(file, offset, len, false)?.ok_or_else(refused)
    }
}

impl ReadFile for Reading {
    fn path(&self) -> &Path {
        &self.path
    }

    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, len: usize) -> Result<Buffer, StorageError> {
        if let Some(file) = self.file_for_all() {
            return self.read_cached(&file, offset, len);
        }
        // Relaxed: a stale `true` costs one refused read, after which the page cache answers.
        if self.direct.load(Ordering::Relaxed) {
            if let Some(buffer) = self.read(&*self.file()?, offset, len, true)? {
                return Ok(buffer);
            }
            sys::stop_direct(self.file()?.as_fd())
                .map_err(|error| StorageError::from_io(&error, &self.path, offset))?;
            self.direct.store(false, Ordering::Relaxed);
            self.directory.direct_refused();
        }
        self.read_cached(&*self.file()?, offset, len)
    }

    fn read_single(&self, offset: u64, len: usize) -> Result<Buffer, StorageError> {
        match self.file_for_single() {
            Some(file) => self.read_cached(&file, offset, len),
            None => self.read_at(offset, len),
        }
    }

    fn map(&self, offset: u64, len: usize) -> Result<Mapping, StorageError> {
        let failed = |error: std::io::Error| StorageError::from_io(&error, &self.path, offset);
        // Asked anew: touching a mapped page that the file no longer has would kill the process.
        let file = self.file()?;
        let now = sys::len(file.as_fd()).map_err(failed)?;
        if offset.checked_add(len as u64).is_none_or(|end| end > now.min(self.len)) {
            return Err(past_end(&self.path, offset, len, now));
        }
        Mapping::new(file.as_fd(), offset, len).map_err(failed)
    }

    fn descriptor(&self) -> Option<(Arc<OwnedFd>, bool)> {
        if let Some(file) = self.file_for_all() {
            return Some((file, false));
        }
        Some((self.file().ok()?, self.direct.load(Ordering::Relaxed)))
    }

    fn descriptor_for_single(&self) -> Option<(Arc<OwnedFd>, bool)> {
        self.file_for_single().map_or_else(|| self.descriptor(), |file| Some((file, false)))
    }
}

fn past_end(path: &Path, offset: u64, len: usize, end: u64) -> StorageError {
    StorageError::new(Fault::Length, path, offset, format!("{len} bytes are wanted, but the file ends at {end}"))
}
