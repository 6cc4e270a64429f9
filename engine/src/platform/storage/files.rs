//! One directory and the operations on its names that all back ends share.
//!
//! The only file of the engine that uses `std::fs`. Invariant: once [`Directory`] is poisoned it stays so, and every
//! operation that changes the directory is refused.

use crate::platform::safeguards::{Safeguard, stands};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::faults::{self, Call};
use super::{Fault, FileEntry, IoCounters, PageCache, StorageError, names, recorder, sys};

/// An open directory, with what its files share.
#[derive(Debug)]
pub struct Directory {
    root: PathBuf,
    handle: File,
    counters: IoCounters,
    poisoned: AtomicBool,
    direct: AtomicBool,
    caches_single_reads: bool,
    caches_all_reads: AtomicBool,
}

/// A file opened with `O_DIRECT` or, where the file system refuses that, without.
pub struct Opened {
    pub file: OwnedFd,
    pub direct: bool,
    pub len: u64,
}

impl Directory {
    /// Opens `root`, which is made (durably, with its ancestors) if it isn't there and `create` is set.
    pub fn open(root: &Path, cache: PageCache, create: bool) -> Result<Self, StorageError> {
        let failed = |error: std::io::Error| StorageError::from_io(&error, root, 0);
        if create {
            create_directories(root)?;
        }
        faults::at(Call::Open, root).map_err(failed)?;
        let handle = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(root).map_err(failed)?;
        faults::at(Call::Stat, root).map_err(failed)?;
        let root = fs::canonicalize(root).map_err(failed)?;
        let (poisoned, direct) = (AtomicBool::new(false), AtomicBool::new(cache != PageCache::Everything));
        let caches_single_reads = cache == PageCache::SingleReads;
        let caches_all_reads = AtomicBool::new(false);
        let counters = IoCounters::default();
        Ok(Self { root, handle, counters, poisoned, direct, caches_single_reads, caches_all_reads })
    }

    /// Whether single reads go through the page cache, although others don't.
    pub const fn caches_single_reads(&self) -> bool {
        self.caches_single_reads
    }

    /// Whether other reads do as well, for now.
    pub fn caches_all_reads(&self) -> bool {
        // Relaxed: either way gives the same bytes.
        self.caches_all_reads.load(Ordering::Relaxed)
    }

    /// See [`super::Storage::cache_all_reads`].
    pub fn cache_all_reads(&self, all: bool) {
        self.caches_all_reads.store(all && self.caches_single_reads, Ordering::Relaxed);
    }

    /// The directory's absolute path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The totals of all files of the directory.
    pub fn counters(&self) -> &IoCounters {
        &self.counters
    }

    /// Refuses every later change: what is on disk can no longer be told.
    pub fn poison(&self) {
        // Release pairs with the Acquire in `writable`: who sees the flag sees what led to it.
        self.poisoned.store(stands(Safeguard::FailureStays), Ordering::Release);
    }

    /// [`Fault::Poisoned`] after a failed write or sync.
    pub fn writable(&self, path: &Path, offset: u64) -> Result<(), StorageError> {
        // Acquire pairs with the Release in `poison`.
        if self.poisoned.load(Ordering::Acquire) {
            return Err(StorageError::new(Fault::Poisoned, path, offset, "an earlier write or sync failed"));
        }
        Ok(())
    }

    /// Notes that the file system refuses `O_DIRECT`; files opened later don't try it.
    pub fn direct_refused(&self) {
        // Relaxed: the flag only saves attempts.
        if self.direct.swap(false, Ordering::Relaxed) {
            self.counters.count_direct_fallback();
        }
    }

    /// The path of a file of this directory; [`Fault::Name`] for a name that could lead out of it.
    pub fn path(&self, name: &str) -> Result<PathBuf, StorageError> {
        if !names::is_plain_name(name) {
            let detail = format!("{name:?} is not the name of a file in this directory");
            return Err(StorageError::new(Fault::Name, &self.root, 0, detail));
        }
        Ok(self.root.join(name))
    }

    /// The regular files with names of ours.
    pub fn list(&self) -> Result<Vec<FileEntry>, StorageError> {
        let failed = |error: std::io::Error| StorageError::from_io(&error, &self.root, 0);
        let mut files = Vec::new();
        for entry in entries(&self.root).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let found = match faults::at(Call::Stat, &entry.path()).and_then(|()| entry.metadata()) {
                Ok(found) => found,
                // Removed since the directory was read.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(error)),
            };
            if found.is_file() && names::is_plain_name(&name) {
                files.push(FileEntry { name, len: found.len() });
            }
        }
        Ok(files)
    }

    /// The names of these files. Most file systems tell with a name what it names, so no file is looked at.
    pub fn names(&self) -> Result<Vec<String>, StorageError> {
        let failed = |error: std::io::Error| StorageError::from_io(&error, &self.root, 0);
        let mut found = Vec::new();
        for entry in entries(&self.root).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if !names::is_plain_name(&name) {
                continue;
            }
            match faults::at(Call::Stat, &entry.path()).and_then(|()| entry.file_type()) {
                Ok(kind) if kind.is_file() => found.push(name),
                Ok(_) => {}
                // Removed since the directory was read.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(found)
    }

    /// Creates a file for writing.
    pub fn create(&self, name: &str) -> Result<(PathBuf, Opened), StorageError> {
        let path = self.path(name)?;
        self.writable(&path, 0)?;
        let opened = self.open_direct(&path, true)?;
        recorder::created(&path, opened.file.as_fd());
        Ok((path, opened))
    }

    /// Opens a complete file for reading.
    pub fn open_file(&self, name: &str) -> Result<(PathBuf, Opened), StorageError> {
        let path = self.path(name)?;
        let opened = self.open_direct(&path, false)?;
        Ok((path, opened))
    }

    /// Opens a complete file for reads here and there, through the page cache.
    pub fn open_cached(&self, name: &str) -> Result<OwnedFd, StorageError> {
        let path = self.path(name)?;
        let failed = |error: std::io::Error| StorageError::from_io(&error, &path, 0);
        faults::at(Call::Open, &path).map_err(failed)?;
        let opened = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(&path);
        let file: OwnedFd = opened.map_err(failed)?.into();
        sys::expect_random_reads(file.as_fd());
        Ok(file)
    }

    fn open_direct(&self, path: &Path, write: bool) -> Result<Opened, StorageError> {
        let failed = |error: std::io::Error| StorageError::from_io(&error, path, 0);
        let mut options = OpenOptions::new();
        options.read(!write).write(write).create_new(write);
        let mut direct = self.direct.load(Ordering::Relaxed);
        let flags = libc::O_NOFOLLOW;
        faults::at(if write { Call::Create } else { Call::Open }, path).map_err(failed)?;
        let mut attempt = options.custom_flags(if direct { flags | libc::O_DIRECT } else { flags }).open(path);
        if direct && matches!(&attempt, Err(error) if error.raw_os_error() == Some(libc::EINVAL)) {
            self.direct_refused();
            direct = false;
            // `O_DIRECT` may be refused after the file was made, so an exclusive second open would find it there.
            // A file that was there before gives `EEXIST` above and never comes here.
            attempt = options.create_new(false).create(write).custom_flags(flags).open(path);
        }
        let file = attempt.map_err(failed)?;
        faults::at(Call::Stat, path).map_err(failed)?;
        let found = file.metadata().map_err(failed)?;
        if !found.is_file() {
            return Err(StorageError::new(Fault::Foreign, path, 0, "not a regular file"));
        }
        Ok(Opened { file: file.into(), direct, len: found.len() })
    }

    /// The whole of a file of at most `max_bytes`.
    pub fn read_all(&self, name: &str, max_bytes: u64) -> Result<Vec<u8>, StorageError> {
        let path = self.path(name)?;
        let failed = |error: std::io::Error| StorageError::from_io(&error, &path, 0);
        faults::at(Call::Open, &path).map_err(failed)?;
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(&path).map_err(failed)?;
        faults::at(Call::Stat, &path).map_err(failed)?;
        let len = file.metadata().map_err(failed)?.len();
        if len > max_bytes {
            let detail = format!("{len} bytes long, {max_bytes} at most were expected");
            return Err(StorageError::new(Fault::Length, path, 0, detail));
        }
        let mut bytes = Vec::new();
        if usize::try_from(len).map_or(true, |len| bytes.try_reserve_exact(len).is_err()) {
            return Err(StorageError::new(Fault::Memory, path, 0, format!("no memory for a file of {len} bytes")));
        }
        faults::at(Call::Read, &path).map_err(failed)?;
        // A file that grows while it is read must not make the vector grow past what was reserved.
        let count = file.take(len).read_to_end(&mut bytes).map_err(failed)?;
        if count as u64 != len {
            let detail = format!("{count} bytes were read of {len}");
            return Err(StorageError::new(Fault::Length, path, count as u64, detail));
        }
        self.counters.count_reads(1, len);
        Ok(bytes)
    }

    /// Renames within the directory.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), StorageError> {
        let (from, to) = (self.path(from)?, self.path(to)?);
        self.writable(&from, 0)?;
        recorder::renamed(&from, &to, || rename(&from, &to)).map_err(|error| {
            let error = StorageError::from_io(&error, from, 0);
            if error.fault == Fault::Io {
                // Either name may be the one that is on disk now.
                self.poison();
            }
            error
        })
    }

    /// Removes a file that may be there.
    pub fn remove(&self, name: &str) -> Result<(), StorageError> {
        let path = self.path(name)?;
        self.writable(&path, 0)?;
        remove_file(&path).map_err(|error| StorageError::from_io(&error, path, 0))
    }

    /// Makes the directory's entries durable.
    pub fn sync(&self) -> Result<(), StorageError> {
        self.writable(&self.root, 0)?;
        self.counters.count_fsync();
        sync_directory(&self.handle, &self.root).map_err(|error| {
            self.poison();
            failed_sync(&error, &self.root)
        })
    }

    /// Makes durable what a file has that is there.
    pub fn sync_file(&self, name: &str) -> Result<(), StorageError> {
        let path = self.path(name)?;
        self.writable(&path, 0)?;
        self.sync_at(&path)
    }

    fn sync_at(&self, path: &Path) -> Result<(), StorageError> {
        let failed = |error: std::io::Error| StorageError::from_io(&error, path, 0);
        faults::at(Call::Open, path).map_err(failed)?;
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path).map_err(failed)?;
        self.counters.count_fsync();
        sys::sync_data(file.as_fd()).map_err(|error| {
            self.poison();
            failed_sync(&error, path)
        })
    }

    /// Puts a file of this directory into another, durably but for the name.
    pub fn link_to(&self, name: &str, directory: &Path) -> Result<(), StorageError> {
        let from = self.path(name)?;
        self.writable(&from, 0)?;
        let to = directory.join(name);
        match link(&from, directory, name) {
            // Neither the file that is linked nor one that was there before need have been synced.
            Ok(Put::Linked) => self.sync_at(&to),
            Ok(Put::Copied) => Ok(()),
            Err(error) if error.fault == Fault::Exists && is_same_file(&from, &to) => self.sync_at(&to),
            Err(error) => Err(error),
        }
    }

    /// Makes another directory's entries durable.
    pub fn sync_other(&self, directory: &Path) -> Result<(), StorageError> {
        let handle = open_directory(directory).map_err(|error| StorageError::from_io(&error, directory, 0))?;
        sync_directory(&handle, directory).map_err(|error| failed_sync(&error, directory))
    }

    /// Takes a file of another directory into this; with `durable` as it does so but for the name.
    pub fn link_from(&self, name: &str, directory: &Path, durable: bool) -> Result<(), StorageError> {
        let to = self.path(name)?;
        self.writable(&to, 0)?;
        match link(&directory.join(name), &self.root, name)? {
            Put::Linked if durable => self.sync_at(&to),
            _ => Ok(()),
        }
    }

    /// How many bytes can still be written.
    pub fn free_bytes(&self) -> Result<u64, StorageError> {
        sys::free_bytes(self.handle.as_fd()).map_err(|error| StorageError::from_io(&error, &self.root, 0))
    }
}

/// A file that is put together out of order, under a temporary name until it is whole.
#[derive(Debug)]
pub struct Partial {
    root: PathBuf,
    path: PathBuf,
    file: File,
}

impl Partial {
    /// An empty file of this length.
    pub fn create(root: &Path, name: &str, len: u64) -> Result<Self, StorageError> {
        let path = root.join(names::temporary_name(name));
        let failed = |error: std::io::Error| StorageError::from_io(&error, &path, 0);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).custom_flags(libc::O_NOFOLLOW);
        let file = options.open(&path).map_err(failed)?;
        recorder::created(&path, file.as_fd());
        file.set_len(len).map_err(failed)?;
        recorder::length(file.as_fd(), len);
        Ok(Self { root: root.to_owned(), path, file })
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Puts bytes to their place.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), StorageError> {
        self.file.write_all_at(bytes, offset).map_err(|error| StorageError::from_io(&error, &self.path, offset))?;
        recorder::wrote(self.file.as_fd(), offset, bytes);
        Ok(())
    }

    /// Gives the file its name; with `durable` it keeps both, file and name, through a crash.
    pub fn finish(&self, name: &str, durable: bool) -> Result<(), StorageError> {
        let failed = |error: std::io::Error| StorageError::from_io(&error, &self.path, 0);
        if durable {
            sys::sync_data(self.file.as_fd()).map_err(|error| failed_sync(&error, &self.path))?;
        }
        let to = self.root.join(name);
        recorder::renamed(&self.path, &to, || rename(&self.path, &to)).map_err(failed)?;
        if durable {
            let root = open_directory(&self.root).map_err(failed)?;
            sync_directory(&root, &self.root).map_err(|error| failed_sync(&error, &self.root))?;
        }
        Ok(())
    }

    /// Takes both of its names away; where that fails the next file takes them over.
    pub fn discard(&self, name: &str) {
        drop(remove_file(&self.path));
        drop(remove_file(&self.root.join(name)));
    }

    /// Removes the beginnings of a file.
    pub fn remove(root: &Path, name: &str) -> std::io::Result<()> {
        remove_file(&root.join(names::temporary_name(name)))
    }
}

/// Unlinks a file; one that is not there counts as done.
pub fn remove_file(path: &Path) -> std::io::Result<()> {
    match recorder::removed(path, || faults::at(Call::Remove, path).and_then(|()| fs::remove_file(path))) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Which directory `root` is, whatever path leads to it: device and inode, which are its own for as long as what is returned is open.
pub fn identity(root: &Path) -> Result<((u64, u64), OwnedFd), StorageError> {
    let failed = |error: std::io::Error| StorageError::from_io(&error, root, 0);
    faults::at(Call::Stat, root).map_err(failed)?;
    // It is only held: that takes no permission to read, and waits for nobody.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(root).map_err(failed)?;
    let found = opened.metadata().map_err(failed)?;
    if !found.is_dir() {
        return Err(StorageError::new(Fault::Foreign, root, 0, "not a directory"));
    }
    Ok(((found.dev(), found.ino()), opened.into()))
}

/// Which file it is, where there is one.
#[cfg(feature = "recorder")]
pub fn file_identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// Opens the file that stands for the lock of a directory, and makes it if need be.
pub fn open_lock_file(path: &Path) -> Result<OwnedFd, StorageError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).custom_flags(libc::O_NOFOLLOW);
    let file = faults::at(Call::Create, path).and_then(|()| options.open(path));
    Ok(file.map_err(|error| StorageError::from_io(&error, path, 0))?.into())
}

/// Removes a directory and all that is in it.
pub fn remove_directory(path: &Path) -> Result<(), StorageError> {
    let remove = || faults::at(Call::Remove, path).and_then(|()| fs::remove_dir_all(path));
    recorder::removed(path, remove).map_err(|error| StorageError::from_io(&error, path, 0))
}

/// Makes a directory in one that is there, not synced: it isn't to outlast a crash.
pub fn make_scratch(path: &Path) -> Result<(), StorageError> {
    let make = || faults::at(Call::MakeDirectory, path).and_then(|()| fs::create_dir(path));
    recorder::directory_made(path, make).map_err(|error| StorageError::from_io(&error, path, 0))
}

/// Removes the directories of scratch stores that a crash left in a store's directory, which nobody else has open.
pub fn remove_scratches(root: &Path) -> Result<(), StorageError> {
    let failed = |error: std::io::Error| StorageError::from_io(&error, root, 0);
    for entry in entries(root).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name().to_str().is_some_and(names::is_scratch_name) {
            remove_directory(&entry.path())?;
        }
    }
    Ok(())
}

/// Makes a directory and its missing ancestors, each synced into its parent. Where one can't be made, or not synced, all go again: who finds
/// them there takes them for durable.
fn create_directories(root: &Path) -> Result<(), StorageError> {
    let absolute = std::path::absolute(root).map_err(|error| StorageError::from_io(&error, root, 0))?;
    let missing: Vec<&Path> = absolute.ancestors().take_while(|path| !path.exists()).collect();
    let made = missing.iter().rev().try_for_each(|directory| create_durably(directory, root));
    if made.is_err() {
        // What can't be removed has something in it, and is somebody else's as well.
        missing.iter().for_each(|made| drop(fs::remove_dir(made)));
    }
    made
}

fn create_durably(directory: &Path, root: &Path) -> Result<(), StorageError> {
    let failed = |error: std::io::Error| StorageError::from_io(&error, root, 0);
    faults::at(Call::MakeDirectory, directory).map_err(failed)?;
    match fs::create_dir(directory) {
        // Somebody else's, who makes it durable; so is what is synced here.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && directory.is_dir() => {}
        made => made.map_err(failed)?,
    }
    let Some(parent) = directory.parent() else { return Ok(()) };
    let handle = open_directory(parent).map_err(failed)?;
    sync_directory(&handle, parent).map_err(|error| failed_sync(&error, root))
}

/// What a directory holds; asking for it can fail, and each entry can.
fn entries(root: &Path) -> std::io::Result<impl Iterator<Item = std::io::Result<fs::DirEntry>>> {
    faults::at(Call::List, root)?;
    let root = root.to_owned();
    Ok(fs::read_dir(&root)?.map(move |entry| faults::at(Call::List, &root).and(entry)))
}

/// Never `Full`: that would invite a second try, which could succeed without what was to be synced on disk.
fn failed_sync(error: &std::io::Error, path: &Path) -> StorageError {
    StorageError::new(Fault::Io, path, 0, error.to_string())
}

fn open_directory(path: &Path) -> std::io::Result<File> {
    faults::at(Call::Open, path)?;
    File::open(path)
}

fn rename(from: &Path, to: &Path) -> std::io::Result<()> {
    faults::at(Call::Rename, from)?;
    fs::rename(from, to)
}

/// What an open file was found by.
#[cfg(feature = "recorder")]
pub fn path_of(file: std::os::fd::BorrowedFd<'_>) -> Option<PathBuf> {
    use std::os::fd::AsRawFd;
    fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()
}

fn sync_directory(handle: &File, path: &Path) -> std::io::Result<()> {
    match recorder::directory_synced(path, || sys::sync_all(handle.as_fd())) {
        // Some network and FUSE file systems have no sync for directories, their entries being durable at once.
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOTSUP)) => Ok(()),
        outcome => outcome,
    }
}

/// Whether two files are one, or have the same bytes.
fn is_same_file(a: &Path, b: &Path) -> bool {
    let same = || -> std::io::Result<bool> {
        let (of_a, of_b) = (fs::metadata(a)?, fs::metadata(b)?);
        if (of_a.dev(), of_a.ino()) == (of_b.dev(), of_b.ino()) {
            return Ok(true);
        }
        Ok(of_a.len() == of_b.len() && has_same_bytes(a, b)?)
    };
    same().unwrap_or(false)
}

fn has_same_bytes(a: &Path, b: &Path) -> std::io::Result<bool> {
    faults::at(Call::Read, b)?;
    let (mut a, mut b) = (BufReader::new(File::open(a)?), BufReader::new(File::open(b)?));
    loop {
        let (of_a, of_b) = (a.fill_buf()?, b.fill_buf()?);
        let n = of_a.len().min(of_b.len());
        if n == 0 || of_a[..n] != of_b[..n] {
            return Ok(of_a.is_empty() && of_b.is_empty());
        }
        a.consume(n);
        b.consume(n);
    }
}

/// How a file came into another directory.
enum Put {
    /// By a hard link: it is as durable as it was.
    Linked,
    /// As a copy, synced.
    Copied,
}

/// Hard-links `from` as `directory/name`, or copies it where that can't be.
fn link(from: &Path, directory: &Path, name: &str) -> Result<Put, StorageError> {
    let to = directory.join(name);
    let error =
        match recorder::linked(from, &to, || faults::at(Call::Link, from).and_then(|()| fs::hard_link(from, &to))) {
            Ok(()) => return Ok(Put::Linked),
            Err(error) => error,
        };
    match error.raw_os_error() {
        // Another file system, one without links, a foreign owner (`protected_hardlinks`), or too many links.
        Some(libc::EXDEV | libc::EPERM | libc::EACCES | libc::EOPNOTSUPP | libc::ENOSYS | libc::EMLINK) => {
            copy(from, directory, name).map(|()| Put::Copied)
        }
        Some(libc::EEXIST) => Err(StorageError::from_io(&error, to, 0)),
        _ => Err(StorageError::from_io(&error, from, 0)),
    }
}

/// Copies `from` to `directory/name` and syncs it. It has its final name only once it is whole.
fn copy(from: &Path, directory: &Path, name: &str) -> Result<(), StorageError> {
    let to = directory.join(name);
    if to.exists() {
        return Err(StorageError::new(Fault::Exists, to, 0, "there is a file of this name"));
    }
    // As any file of a store: a link in its place may lead out of the directory.
    let mut options = OpenOptions::new();
    let source = faults::at(Call::Open, from);
    let source = source.and_then(|()| options.read(true).custom_flags(libc::O_NOFOLLOW).open(from));
    let mut source = source.map_err(|error| StorageError::from_io(&error, from, 0))?;
    let temporary = directory.join(names::temporary_name(name));
    let failed = |error: std::io::Error| StorageError::from_io(&error, &temporary, 0);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    let target = faults::at(Call::Create, &temporary).and_then(|()| options.open(&temporary));
    let mut target = target.map_err(failed)?;
    recorder::created(&temporary, target.as_fd());
    let copied = faults::at(Call::Write, &temporary)
        .and_then(|()| std::io::copy(&mut source, &mut target))
        .and_then(|_| sys::sync_data(target.as_fd()))
        .and_then(|()| recorder::renamed(&temporary, &to, || rename(&temporary, &to)));
    copied.map_err(|error| match remove_file(&temporary) {
        Ok(()) => failed(error),
        Err(left) => {
            StorageError::from_io(&error, &temporary, 0).with_note(&format!("; it could not be removed: {left}"))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_copied_is_a_file_and_no_link() {
        let (there, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (file, link) = (there.path().join("a.segment"), there.path().join("b.segment"));
        fs::write(&file, b"sediment").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        copy(&file, here.path(), "a.segment").unwrap();
        assert_eq!(fs::read(here.path().join("a.segment")).unwrap(), b"sediment");
        assert!(copy(&link, here.path(), "b.segment").is_err());
        assert!(!here.path().join("b.segment").exists());
    }
}
