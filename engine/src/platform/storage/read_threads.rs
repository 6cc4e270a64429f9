//! Threads that read for a back end without io_uring, so that a batch keeps more than one request on the device.
//!
//! The threads are shared by all storages of the process, start with the first batch that wants them and end with the
//! last storage that used them. The calling thread reads too, so a batch is done even where no thread could be started.

use crate::platform::threads::{self, Mutex, Receiver, Sender, bounded, unbounded};
use std::sync::{Arc, Weak};

use super::{Buffer, ReadRequest, StorageError};

/// How many threads read beside the calling ones.
const THREADS: usize = 8;

static SHARED: Mutex<Weak<Threads>> = Mutex::new(Weak::new());

/// A storage's hold on the shared threads; empty until the first batch.
#[derive(Debug, Default)]
pub struct ReadThreads(Mutex<Option<Arc<Threads>>>);

#[derive(Debug)]
struct Threads {
    jobs: Sender<Job>,
}

/// What a thread is asked: to help with a batch until nothing of it is left.
struct Job {
    reads: Receiver<Read>,
    done: Sender<Done>,
}

/// One read of a batch, by its index.
struct Read {
    index: usize,
    request: ReadRequest,
}

type Done = (usize, Result<Buffer, StorageError>);

impl ReadThreads {
    /// Does all reads of a batch.
    pub fn read_batch(&self, batch: &mut [ReadRequest]) {
        let (todo, reads) = bounded(batch.len());
        let (done, results) = bounded(batch.len());
        for (index, request) in batch.iter_mut().enumerate() {
            request.outcome = None;
            // The channel holds the whole batch, and its receiver is at hand: sending can't fail.
            drop(todo.try_send(Read { index, request: request.again() }));
        }
        drop(todo);
        let threads = self.threads();
        for _ in 1..batch.len().min(THREADS + 1) {
            drop(threads.jobs.send(Job { reads: reads.clone(), done: done.clone() }));
        }
        help(&Job { reads, done });
        // Counted, as a job that no thread has taken up yet keeps the channel open.
        for (index, outcome) in results.iter().take(batch.len()) {
            batch[index].outcome = Some(outcome);
        }
        // The channel closes early where a thread died with its read: that one is done here.
        for request in batch.iter_mut().filter(|request| request.outcome.is_none()) {
            request.outcome = Some(request.read());
        }
    }

    fn threads(&self) -> Arc<Threads> {
        let mut held = self.0.lock();
        Arc::clone(held.get_or_insert_with(|| {
            let mut shared = SHARED.lock();
            shared.upgrade().unwrap_or_else(|| {
                let threads = Arc::new(Threads::start());
                *shared = Arc::downgrade(&threads);
                threads
            })
        }))
    }
}

impl Threads {
    fn start() -> Self {
        let (jobs, asked) = unbounded::<Job>();
        for number in 0..THREADS {
            let asked = asked.clone();
            let work = move || asked.iter().for_each(|job| help(&job));
            // A thread that can't be started is done without; the others and the caller read its share.
            drop(threads::start(format!("alluvium-read-{number}"), work));
        }
        Self { jobs }
    }
}

fn help(job: &Job) {
    for read in job.reads.try_iter() {
        let outcome = read.request.read();
        // The file is let go of before its result is known, so that the batch's end is the end of its use.
        drop(read.request);
        drop(job.done.send((read.index, outcome)));
    }
}
