//! The background threads: they take tasks from one queue and run them.
//!
//! A store's flushes run one after another, in the order of their epochs; so do its compactions. Stores don't wait
//! for each other but for threads.

use crate::error::{Error, Result};
use crate::store::StoreInner;
use crate::{compact, flush, reclaim};
use crossbeam::channel::{Receiver, Sender, unbounded};
use parking_lot::Mutex;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

/// Something to be done in the background.
#[derive(Debug)]
pub enum Task {
    /// The store has flush jobs waiting.
    Flush(Arc<StoreInner>),
    /// The store's stacks may want compacting.
    Compact(Arc<StoreInner>),
    /// The store was opened where these files were; segments that no manifest names are left from a crash.
    Reclaim(Arc<StoreInner>, Vec<String>),
    /// The thread ends.
    Stop,
}

/// The threads of an engine.
#[derive(Debug)]
pub struct Workers {
    tasks: Sender<Task>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Workers {
    /// Starts `threads` threads.
    pub fn start(threads: usize) -> Result<Self> {
        let (tasks, queue) = unbounded();
        let mut handles = Vec::with_capacity(threads);
        for number in 0..threads {
            let queue: Receiver<Task> = queue.clone();
            let handle = std::thread::Builder::new()
                .name(format!("alluvium-{number}"))
                .spawn(move || run(&queue))
                .map_err(|error| Error::Background(format!("starting a thread: {error}")))?;
            handles.push(handle);
        }
        Ok(Self { tasks, threads: Mutex::new(handles) })
    }

    /// Adds a task to the queue.
    pub fn submit(&self, task: Task) {
        // The queue lives as long as a thread does; after the last one nothing is left to be done.
        let _ = self.tasks.send(task);
    }
}

fn run(queue: &Receiver<Task>) {
    crate::platform::thread::work_in_background();
    while let Ok(task) = queue.recv() {
        match task {
            Task::Flush(store) => flush::run_next(&store),
            Task::Compact(store) => compact::run(&store),
            Task::Reclaim(store, found) => reclaim::orphans(&store, &found),
            Task::Stop => return,
        }
    }
}

/// Runs work that may come to code of the host (a merge operator): a panic there fails the store, not the thread that
/// all stores share.
pub(crate) fn catch<R>(work: impl FnOnce() -> Result<R>) -> Result<R> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<&str>().map(|said| (*said).to_owned());
        let said = said.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        Err(Error::Background(format!("it panicked: {said}")))
    })
}

impl Drop for Workers {
    fn drop(&mut self) {
        let threads = std::mem::take(&mut *self.threads.lock());
        for _ in &threads {
            self.submit(Task::Stop);
        }
        for thread in threads {
            // The last owner of an engine may be a store that a task held, on one of these threads.
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}
