//! A bound on open files.
//!
//! A store may have more segments than the process may have descriptors. So a file that is read keeps its descriptor
//! only until too many are open: then those that were not used lately are closed, and opened again by the next read.
//! The bound is one for the process, as the system's is; a clock's hand goes over what is open.

use crate::platform::threads::Mutex;
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::{Arc, LazyLock, Weak};

use super::{Fault, StorageError, sys};

/// The most descriptors for reading, where the system allows as many.
const OPEN_MAX: usize = 4096;

/// What is open, in the order in which the hand comes to it. An entry whose file is gone is passed over.
static OPEN: Mutex<VecDeque<Weak<Mutex<Slot>>>> = Mutex::new(VecDeque::new());

/// Half of what the process may have: the host has files too.
static LIMIT: LazyLock<usize> = LazyLock::new(|| (sys::descriptors_max() / 2).clamp(8, OPEN_MAX));

#[derive(Debug)]
struct Slot {
    file: Option<Arc<OwnedFd>>,
    /// Since the hand passed.
    used: bool,
}

/// A descriptor that is there when it is needed.
#[derive(Debug)]
pub struct Descriptor {
    slot: Arc<Mutex<Slot>>,
}

impl Descriptor {
    /// Opens a file; `open` does so, here and in [`Descriptor::get`].
    pub fn open<R>(mut open: impl FnMut() -> Result<(OwnedFd, R), StorageError>) -> Result<(Self, R), StorageError> {
        let (file, rest) = with_room(&mut open)?;
        let slot = Arc::new(Mutex::new(Slot { file: Some(Arc::new(file)), used: true }));
        enlist(&slot);
        Ok((Self { slot }, rest))
    }

    /// The descriptor. It stays open as long as it is held, whatever the hand does.
    pub fn get<R>(
        &self,
        mut open: impl FnMut() -> Result<(OwnedFd, R), StorageError>,
    ) -> Result<Arc<OwnedFd>, StorageError> {
        {
            let mut slot = self.slot.lock();
            slot.used = true;
            if let Some(file) = &slot.file {
                return Ok(Arc::clone(file));
            }
        }
        // Outside the lock, which the hand takes. Two threads may both come here: the second one's descriptor stays.
        let (file, _) = with_room(&mut open)?;
        let file = Arc::new(file);
        self.slot.lock().file = Some(Arc::clone(&file));
        enlist(&self.slot);
        Ok(file)
    }
}

/// Opens a file, and where there is no descriptor left, once more after half of what is open was closed.
fn with_room<R>(open: &mut impl FnMut() -> Result<(OwnedFd, R), StorageError>) -> Result<(OwnedFd, R), StorageError> {
    match open() {
        Err(error) if error.fault == Fault::TooManyFiles => {
            let open_now = OPEN.lock().len();
            close_all_but(open_now / 2);
            open()
        }
        outcome => outcome,
    }
}

fn enlist(slot: &Arc<Mutex<Slot>>) {
    OPEN.lock().push_back(Arc::downgrade(slot));
    close_all_but(*LIMIT);
}

/// Moves the hand on until no more than `limit` are open. What was used since it passed gets one more round.
fn close_all_but(limit: usize) {
    let mut open = OPEN.lock();
    let mut spared = open.len();
    while open.len() > limit {
        let Some(first) = open.pop_front() else { return };
        let Some(slot) = first.upgrade() else { continue };
        let mut slot = slot.lock();
        if slot.used && spared > 0 {
            spared -= 1;
            slot.used = false;
            open.push_back(first);
        } else {
            slot.file = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{PageCache, StorageChoice};
    use super::*;
    use crate::platform::storage;

    /// As [`super::super::reading::Reading`] does with files, with descriptors that are told apart by number.
    fn descriptor() -> Descriptor {
        Descriptor::open(|| Ok((lone_file(), ()))).unwrap().0
    }

    fn lone_file() -> OwnedFd {
        std::io::pipe().unwrap().0.into()
    }

    #[test]
    fn what_was_closed_is_opened_again() {
        let files: Vec<Descriptor> = (0..100).map(|_| descriptor()).collect();
        let held = files[0].get(|| Ok((lone_file(), ()))).unwrap();
        close_all_but(10);
        let open = |files: &[Descriptor]| files.iter().filter(|file| file.slot.lock().file.is_some()).count();
        assert!(open(&files) <= 10, "{} are open", open(&files));
        // All of them: which ten were spared depends on the tests that run beside this one, as the bound is the process's.
        close_all_but(0);
        assert_eq!(Arc::strong_count(&held), 1);
        let mut opened = 0;
        for file in &files {
            file.get(|| {
                opened += 1;
                Ok((lone_file(), ()))
            })
            .unwrap();
        }
        assert_eq!(opened, 100);
    }

    #[test]
    fn files_are_read_however_few_may_be_open() {
        let directory = tempfile::tempdir().unwrap();
        let all = [StorageChoice::Auto, StorageChoice::Posix];
        for (choice, cache) in
            all.into_iter().flat_map(|choice| [(choice, PageCache::Nothing), (choice, PageCache::SingleReads)])
        {
            let storage = storage::open(directory.path(), choice, cache, true).unwrap();
            let name = |n: u8| format!("{n:032x}.segment");
            for n in 0..60_u8 {
                let mut file = storage.create(&name(n)).unwrap();
                file.append(&[n; 5_000]).unwrap();
                file.finish(false).unwrap();
            }
            let files: Vec<_> = (0..60_u8).map(|n| storage.open(&name(n)).unwrap()).collect();
            for round in 0..5 {
                close_all_but(round);
                for cached in [false, true] {
                    let new = |file| super::super::ReadRequest::new(file, 100, 3_000);
                    let request = |file| super::super::ReadRequest { cached, ..new(file) };
                    let mut batch: Vec<_> = files.iter().cloned().map(request).collect();
                    storage.read_batch(&mut batch);
                    for (n, read) in (0..60_u8).zip(batch) {
                        assert_eq!(&*read.outcome.unwrap().unwrap(), &[n; 3_000]);
                    }
                    close_all_but(round);
                }
                for (n, file) in (0..60_u8).zip(&files) {
                    assert_eq!(&*file.read_at(4_000, 1_000).unwrap(), &[n; 1_000]);
                    assert_eq!(&*file.read_single(4_000, 1_000).unwrap(), &[n; 1_000]);
                }
            }
            for n in 0..60_u8 {
                storage.remove(&name(n)).unwrap();
            }
        }
    }
}
