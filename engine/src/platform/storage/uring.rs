//! The back end of io_uring: a many reads are submitted in few system calls and kept in flight together.
//!
//! Everything but batches is done as the [`Posix`] back end does it: a single read or a large sequential write is one
//! system call either way. Once the kernel denies io_uring, batches go there too.

use crate::platform::threads;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use crossbeam::queue::ArrayQueue;

use super::posix::Posix;
use super::reading::Plan;
use super::ring::{DEPTH, Landing, MAX_READ_BYTES, Ring};
use super::{
    AppendFile, Backend, Buffer, FileEntry, IoCounters, LogFile, ReadFile, ReadRequest, ReadStream, Storage,
    StorageError,
};

/// How many rings are kept for the next batch; as many more as there are threads are made when needed.
const IDLE_RINGS: usize = 16;

/// How often in a row the kernel may be out of resources before the ring is given up.
const MAX_REFUSALS: usize = 1000;

/// How many reads are waited for at once: each wait is a system call.
const WAIT: usize = DEPTH / 4;

/// How many reads are handed to the device at once, for the same reason.
const SUBMITTED_TOGETHER: usize = 16;

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

    /// Does a stream's reads on a ring. After an error, those in flight are left there.
    fn stream_on(&self, ring: &mut Ring, stream: &mut dyn ReadStream) -> io::Result<()> {
        let mut refusals = 0;
        loop {
            self.fill(ring, stream);
            if ring.in_flight() == 0 {
                return Ok(());
            }
            match ring.wait(ring.in_flight().min(WAIT)) {
                Ok(()) => refusals = 0,
                Err(error) => match error.raw_os_error() {
                    Some(libc::EINTR) => {}
                    Some(libc::EAGAIN | libc::EBUSY) if refusals < MAX_REFUSALS => {
                        refusals += 1;
                        threads::yield_now();
                    }
                    _ => return Err(error),
                },
            }
            while let Some(landing) = ring.take() {
                stream.landed(self.outcome(landing));
                // One for one: the device has as much to do as before.
                self.fill(ring, stream);
            }
        }
    }

    /// Queues what the stream has until the ring is full, and lets the device begin with it.
    fn fill(&self, ring: &mut Ring, stream: &mut dyn ReadStream) {
        while ring.in_flight() < DEPTH {
            let Some(request) = stream.next() else { return };
            if let Err(request) = push(ring, request) {
                stream.landed(request);
            }
            if ring.queued() >= SUBMITTED_TOGETHER {
                // What isn't taken now, `wait` submits, and sees why.
                drop(ring.submit());
            }
        }
    }

    /// The request of a read that came back, with its outcome.
    fn outcome(&self, Landing { mut request, plan, outcome }: Landing) -> ReadRequest {
        request.outcome = Some(match outcome {
            Ok(buffer) if buffer.len() >= plan.needed => {
                self.posix.counters().count_reads(1, buffer.len() as u64);
                Ok(plan.window(buffer))
            }
            // Short, interrupted or refused: a plain read goes on to the end, does without `O_DIRECT` if it must, and
            // tells what is wrong with the file.
            _ => request.read(),
        });
        request
    }
}

/// Queues a read, or does it at once where it isn't one for the ring and gives it back.
fn push(ring: &mut Ring, mut request: ReadRequest) -> Result<(), ReadRequest> {
    let (offset, len) = (request.offset, request.len);
    request.outcome = None;
    let file = &request.file;
    match if request.cached { file.descriptor_for_single() } else { file.descriptor() } {
        Some((file, direct)) if (1..MAX_READ_BYTES / 2).contains(&len) => {
            match prepare(&*request.file, offset, len, direct) {
                Ok((plan, buffer)) => match ring.push(request, file, plan, buffer) {
                    Ok(()) => return Ok(()),
                    Err(refused) => request = refused,
                },
                Err(error) => {
                    request.outcome = Some(Err(error));
                    return Err(request);
                }
            }
        }
        _ => {}
    }
    request.outcome = Some(request.read());
    Err(request)
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

    fn create_log(&self, name: &str, first: &[u8], len: u64) -> Result<Box<dyn LogFile>, StorageError> {
        self.posix.create_log(name, first, len)
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

    fn sync_file(&self, name: &str) -> Result<(), StorageError> {
        self.posix.sync_file(name)
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

    fn link_from(&self, name: &str, directory: &Path, durable: bool) -> Result<(), StorageError> {
        self.posix.link_from(name, directory, durable)
    }

    fn cache_all_reads(&self, all: bool) {
        self.posix.cache_all_reads(all);
    }

    fn read_batch(&self, batch: &mut [ReadRequest]) {
        if batch.len() < 2 {
            return self.posix.read_batch(batch);
        }
        self.read_stream(&mut Whole { batch, next: 0 });
    }

    fn read_stream(&self, stream: &mut dyn ReadStream) {
        if self.is_denied() {
            return self.posix.read_stream(stream);
        }
        let mut ring = match IDLE.pop().map_or_else(Ring::new, Ok) {
            Ok(ring) => ring,
            Err(error) => {
                if !is_passing(&error) {
                    self.deny();
                }
                return self.posix.read_stream(stream);
            }
        };
        match self.stream_on(&mut ring, stream) {
            Ok(()) => keep(ring),
            Err(_) => {
                self.deny();
                for mut request in ring.abandon() {
                    request.outcome = Some(request.read());
                    stream.landed(request);
                }
                self.posix.read_stream(stream);
            }
        }
    }
}

/// All reads of a batch, as a stream.
struct Whole<'a> {
    batch: &'a mut [ReadRequest],
    next: usize,
}

impl ReadStream for Whole<'_> {
    fn next(&mut self) -> Option<ReadRequest> {
        let request = self.batch.get(self.next)?;
        let tag = self.next;
        self.next += 1;
        Some(ReadRequest { tag, ..request.again() })
    }

    fn landed(&mut self, request: ReadRequest) {
        self.batch[request.tag].outcome = request.outcome;
    }
}
