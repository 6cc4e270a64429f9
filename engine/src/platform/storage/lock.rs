//! The exclusive hold on a directory, against other processes and against other stores of this one.
//!
//! Between processes it is `flock` on the file `LOCK`, which the kernel lets go of when the process dies, however it
//! dies. Within the process it is a registry too, as `flock` is per process on some network file systems: there, a
//! second open of the file would even give up the first one's lock when closed. So the registry is asked first.

use crate::platform::threads::Mutex;
use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::{Fault, StorageError, files, names, sys};

/// The directories that this process holds, by device and inode.
static HELD: Mutex<BTreeSet<(u64, u64)>> = Mutex::new(BTreeSet::new());

/// A directory held exclusively until this is dropped or the process ends.
#[derive(Debug)]
pub struct DirLock {
    path: PathBuf,
    // Unlocked by `drop`, and so before the registry forgets the directory.
    file: OwnedFd,
    _entry: Entry,
}

impl Drop for DirLock {
    fn drop(&mut self) {
        // Not left to closing the file: a process that another thread is forking just now has it open too until it
        // executes its program, and would go on holding the directory. Should this fail, closing is what is left.
        let _ = sys::unlock(self.file.as_fd());
    }
}

/// What the registry has of a directory. It is open until it has been forgotten there, or, were the directory removed meanwhile, its inode
/// could become another's, which would count as held.
#[derive(Debug)]
struct Entry {
    identity: (u64, u64),
    _root: OwnedFd,
}

impl Drop for Entry {
    fn drop(&mut self) {
        HELD.lock().remove(&self.identity);
    }
}

impl DirLock {
    /// The locked file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Holds a directory; [`Fault::Locked`] at once where another process or store holds it.
pub fn lock(root: &Path) -> Result<DirLock, StorageError> {
    let path = root.join(names::LOCK);
    let (identity, root) = files::identity(root)?;
    if !HELD.lock().insert(identity) {
        return Err(StorageError::new(Fault::Locked, path, 0, "this process has the directory open already"));
    }
    let entry = Entry { identity, _root: root };
    let file = files::open_lock_file(&path)?;
    match sys::lock_exclusive(file.as_fd()) {
        Ok(()) => Ok(DirLock { path, file, _entry: entry }),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            Err(StorageError::new(Fault::Locked, path, 0, "another process has the directory open"))
        }
        Err(error) => Err(StorageError::from_io(&error, path, 0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forked_process_holds_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let held = lock(directory.path()).unwrap();
        // What a fork leaves open in the child until it executes its program.
        let inherited = held.file.try_clone().unwrap();
        drop(held);
        assert!(lock(directory.path()).is_ok());
        drop(inherited);
    }

    /// A file system gives what was removed to the next one's number, which isn't the directory that is held.
    #[test]
    fn a_directory_that_was_removed_while_it_was_held_is_no_other() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("removed");
        std::fs::create_dir(&path).unwrap();
        let held = lock(&path).unwrap();
        std::fs::remove_dir_all(&path).unwrap();
        for number in 0..100 {
            let other = parent.path().join(number.to_string());
            std::fs::create_dir(&other).unwrap();
            assert!(lock(&other).is_ok(), "{number}");
        }
        drop(held);
    }
}
