//! The back end of io_uring: a batch of reads is submitted in one system call and kept in flight together.
//!
//! Everything but batches is done as the [`Posix`] back end does it: a single read or a large sequential write is one
//! system call either way. Once the kernel denies io_uring, batches go there too.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use crossbeam::queue::ArrayQueue;

use super::posix::Posix;
use super::reading::Plan;
use super::ring::{DEPTH, Landing, MAX_READ_BYTES, Ring};
use super::{AppendFile, Backend, Buffer, FileEntry, IoCounters, ReadFile, ReadRequest, Storage, StorageError};

/// How many rings are kept for the next batch; as many more as there are threads are made when needed.
const IDLE_RINGS: usize = 16;

/// How often in a row the kernel may be out of resources before the ring is given up.
const MAX_REFUSALS: usize = 1000;

/// Rings without anything in flight, shared by all storages of the process.
static IDLE: LazyLock<ArrayQueue<Ring>> = LazyLock::new(|| ArrayQueue::new(IDLE_RINGS));

/// One directory, by io_uring.
#[derive(Debug)]
pub struct Uring {
    posix: Posix,
    denied: AtomicBool,
}

impl Uring {
    /// A back end over `posix`, which is given back where io_uring can't be set up.
    pub fn new(posix: Posix) -> Result<Self, (Posix, io::Error)> {
        match Ring::new() {
            Ok(ring) => {
                keep(ring);
                Ok(Self { posix, denied: AtomicBool::new(false) })
            }
            Err(error) => Err((posix, error)),
        }
    }

    /// Stops using io_uring.
    fn deny(&self) {
        // Relaxed: the flag orders nothing; a thread that sees it late is denied by the kernel itself.
        if !self.denied.swap(true, Ordering::Relaxed) {
            self.posix.counters().count_uring_fallback();
        }
    }

    fn is_denied(&self) -> bool {
        self.denied.load(Ordering::Relaxed)
    }

    /// Does all reads on a ring. On an error, those that are not marked as done in `is_done` are not.
    fn read_on(
        &self,
        ring: &mut Ring,
        batch: &mut [ReadRequest],
        is_done: &mut [bool],
        landed: &mut dyn FnMut(usize, &mut ReadRequest),
    ) -> io::Result<()> {
        let (mut next, mut refusals, mut came) = (0, 0, Vec::with_capacity(DEPTH));
        loop {
            while next < batch.len() && ring.in_flight() < DEPTH {
                start(ring, next, &mut batch[next]);
                if batch[next].outcome.is_some() {
                    came.push(next);
                }
                next += 1;
            }
            if !came.is_empty() {
                // The device goes on with those behind while these are looked at. What isn't taken now, `wait` submits.
                drop(ring.submit());
                for index in came.drain(..) {
                    is_done[index] = true;
                    landed(index, &mut batch[index]);
                }
            }
            if ring.in_flight() == 0 {
                return Ok(());
            }
            // With more to come, half of them are refilled at a time: the device is kept busy with few calls.
            let all = next == batch.len();
            let want = if all { ring.in_flight().min(DEPTH / 4) } else { ring.in_flight().div_ceil(2) };
            match ring.wait(want) {
                Ok(()) => refusals = 0,
                Err(error) => match error.raw_os_error() {
                    Some(libc::EINTR) => {}
                    Some(libc::EAGAIN | libc::EBUSY) if refusals < MAX_REFUSALS => {
                        refusals += 1;
                        std::thread::yield_now();
                    }
                    _ => return Err(error),
                },
            }
            while let Some(landing) = ring.take() {
                came.push(landing.index);
                self.land(landing, batch);
            }
        }
    }

    /// Notes the outcome of a read that came back.
    fn land(&self, Landing { index, plan, outcome }: Landing, batch: &mut [ReadRequest]) {
        let request = &mut batch[index];
        request.outcome = Some(match outcome {
            Ok(buffer) if buffer.len() >= plan.needed => {
                self.posix.counters().count_reads(1, buffer.len() as u64);
                Ok(plan.window(buffer))
            }
            // Short, interrupted or refused: a plain read goes on to the end, does without `O_DIRECT` if it must, and
            // tells what is wrong with the file.
            _ => request.file.read_at(request.offset, request.len),
        });
    }
}

/// Queues a read, or does it at once where it isn't one for the ring.
fn start(ring: &mut Ring, index: usize, request: &mut ReadRequest) {
    let (offset, len) = (request.offset, request.len);
    let queued = match request.file.descriptor() {
        Some((file, direct)) if (1..MAX_READ_BYTES / 2).contains(&len) => prepare(&*request.file, offset, len, direct)
            .map(|(plan, buffer)| ring.push(index, file, plan, buffer).is_ok()),
        _ => Ok(false),
    };
    match queued {
        Ok(true) => {}
        Ok(false) => request.outcome = Some(request.file.read_at(offset, len)),
        Err(error) => request.outcome = Some(Err(error)),
    }
}

fn prepare(file: &dyn ReadFile, offset: u64, len: usize, direct: bool) -> Result<(Plan, Buffer), StorageError> {
    let plan = Plan::new(file, offset, len, direct)?;
    Ok((plan, Buffer::allocate(plan.len, file.path(), offset)?))
}

/// Keeps a ring for the next batch, or closes it where there are enough.
fn keep(ring: Ring) {
    drop(IDLE.push(ring));
}

/// Whether io_uring may work again once the process or the system has more of something.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EAGAIN))
}

impl Storage for Uring {
    fn backend(&self) -> Backend {
        if self.is_denied() { Backend::Posix } else { Backend::Uring }
    }

    fn root(&self) -> &Path {
        self.posix.root()
    }

    fn counters(&self) -> &IoCounters {
        self.posix.counters()
    }

    fn free_bytes(&self) -> Result<u64, StorageError> {
        self.posix.free_bytes()
    }

    fn list(&self) -> Result<Vec<FileEntry>, StorageError> {
        self.posix.list()
    }

    fn names(&self) -> Result<Vec<String>, StorageError> {
        self.posix.names()
    }

    fn create(&self, name: &str) -> Result<Box<dyn AppendFile>, StorageError> {
        self.posix.create(name)
    }

    fn open(&self, name: &str) -> Result<Arc<dyn ReadFile>, StorageError> {
        self.posix.open(name)
    }

    fn read_all(&self, name: &str, max_bytes: u64) -> Result<Vec<u8>, StorageError> {
        self.posix.read_all(name, max_bytes)
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError> {
        self.posix.rename(from, to)
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        self.posix.remove(name)
    }

    fn sync_dir(&self) -> Result<(), StorageError> {
        self.posix.sync_dir()
    }

    fn sync_other(&self, directory: &Path) -> Result<(), StorageError> {
        self.posix.sync_other(directory)
    }

    fn link_to(&self, name: &str, directory: &Path) -> Result<(), StorageError> {
        self.posix.link_to(name, directory)
    }

    fn link_from(&self, name: &str, directory: &Path) -> Result<(), StorageError> {
        self.posix.link_from(name, directory)
    }

    fn read_batch(&self, batch: &mut [ReadRequest]) {
        self.read_each(batch, &mut |_, _| {});
    }

    fn read_each(&self, batch: &mut [ReadRequest], landed: &mut dyn FnMut(usize, &mut ReadRequest)) {
        if batch.len() < 2 || self.is_denied() {
            return self.posix.read_each(batch, landed);
        }
        let mut ring = match IDLE.pop().map_or_else(Ring::new, Ok) {
            Ok(ring) => ring,
            Err(error) => {
                if !is_passing(&error) {
                    self.deny();
                }
                return self.posix.read_each(batch, landed);
            }
        };
        for request in batch.iter_mut() {
            request.outcome = None;
        }
        let mut is_done = vec![false; batch.len()];
        match self.read_on(&mut ring, batch, &mut is_done, landed) {
            Ok(()) => keep(ring),
            Err(_) => {
                // What is in flight can't be waited for any more; the ring is dropped, which leaks those buffers.
                drop(ring);
                self.deny();
                for (index, request) in batch.iter_mut().enumerate().filter(|(index, _)| !is_done[*index]) {
                    request.outcome = Some(request.file.read_at(request.offset, request.len));
                    landed(index, request);
                }
            }
        }
    }
}
