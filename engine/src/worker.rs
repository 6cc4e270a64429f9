//! The background threads: they take tasks from one queue and run them.
//!
//! A store's flushes run one after another, in the order of their epochs; so do its compactions. Stores don't wait
//! for each other but for threads.

use crate::error::{Error, Result};
use crate::platform::arena::Arena;
use crate::platform::sync::barrier::Barrier;
use crate::platform::threads::{self, JoinHandle, Mutex, OnceLock, Receiver, Sender, unbounded};
use crate::store::StoreInner;
use crate::{compact, flush, group_commit, inflight, reclaim, rollback, warm};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Something to be done in the background.
#[derive(Debug)]
pub enum Task {
    /// The store has flush jobs waiting.
    Flush(Arc<StoreInner>),
    /// The store's stacks may want compacting.
    Compact(Arc<StoreInner>),
    /// The store was opened where these files were; segments that no manifest names are left from a crash.
    Reclaim(Arc<StoreInner>, Vec<String>),
    /// Something was rolled back, and left things behind.
    Clear(Arc<StoreInner>),
    /// The thread ends.
    Stop,
}

/// The threads of an engine.
#[derive(Debug)]
pub struct Workers {
    tasks: Sender<Task>,
    running: Mutex<Vec<JoinHandle<()>>>,
    /// How many threads of the host wait for what is done here.
    waiting: AtomicUsize,
    /// The thread that reads for whoever doesn't wait; started by the first read of that kind.
    reads: OnceLock<Sender<Option<Arc<StoreInner>>>>,
    /// The thread that writes the changelogs; started by the first commit.
    logs: OnceLock<Sender<Option<Weak<StoreInner>>>>,
    /// The thread that warms stores up; started by the first that has itself warmed up.
    warm: OnceLock<Sender<Option<Weak<StoreInner>>>>,
    /// For the thread that populates memory: it ends.
    stops: Arc<AtomicBool>,
}

impl Workers {
    /// Starts so many threads.
    pub fn start(count: usize) -> Result<Self> {
        let (tasks, queue) = unbounded();
        let mut handles = Vec::with_capacity(count);
        for number in 0..count {
            let queue: Receiver<Task> = queue.clone();
            let handle = threads::start(format!("alluvium-{number}"), move || run(&queue))
                .map_err(|error| Error::Background(format!("starting a thread: {error}")))?;
            handles.push(handle);
        }
        let (running, waiting) = (Mutex::new(handles), AtomicUsize::new(0));
        let (reads, logs, warm) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Ok(Self { tasks, running, waiting, reads, logs, warm, stops: Arc::default() })
    }

    /// Adds a task to the queue.
    pub fn submit(&self, task: Task) {
        // The queue lives as long as a thread does; after the last one nothing is left to be done.
        let _ = self.tasks.send(task);
    }

    /// Has a store's reads in flight taken to their ends. They have a thread of their own: one that flushes or merges
    /// would keep them waiting for seconds. So has a store that may have to wait for its host: other stores don't.
    pub fn read(&self, store: &Arc<StoreInner>) {
        if store.fetches.as_ref().is_some_and(|fetches| fetches.files_absent() > 0) {
            let waits = Arc::clone(store);
            let own = move || inflight::run(&waits);
            match threads::start("alluvium-fetched-reads", own) {
                Ok(thread) => {
                    let mut running = self.running.lock();
                    running.retain(|thread| !thread.is_finished());
                    running.push(thread);
                    return;
                }
                Err(error) => tracing::error!(%error, "starting a thread"),
            }
        }
        let reads = self.reads.get_or_init(|| {
            let (reads, queue) = unbounded::<Option<Arc<StoreInner>>>();
            let own = move || {
                while let Ok(Some(store)) = queue.recv() {
                    inflight::run(&store);
                }
            };
            match threads::start("alluvium-reads", own) {
                Ok(thread) => self.running.lock().push(thread),
                Err(error) => tracing::error!(%error, "starting a thread"),
            }
            reads
        });
        if let Err(unsent) = reads.send(Some(Arc::clone(store)))
            && let Some(store) = unsent.into_inner()
        {
            // There is no such thread: slower, but nobody waits for ever.
            inflight::run(&store);
        }
    }

    /// Runs something that takes long on a thread of its own, which ends with it.
    pub fn run_apart(&self, name: &str, work: impl FnOnce() + Send + 'static) {
        match threads::start(name, work) {
            Ok(thread) => {
                let mut running = self.running.lock();
                running.retain(|thread| !thread.is_finished());
                running.push(thread);
            }
            Err(error) => tracing::error!(%error, "starting a thread"),
        }
    }

    /// Has a store's changelog looked at. All changelogs are written by one thread, so that what is to be synced is synced together.
    pub fn log(&self, store: &Arc<StoreInner>) {
        let logs = self.logs.get_or_init(|| {
            let (logs, queue) = unbounded::<Option<Weak<StoreInner>>>();
            match threads::start("alluvium-log", move || group_commit::run(&queue)) {
                Ok(thread) => self.running.lock().push(thread),
                Err(error) => tracing::error!(%error, "starting a thread"),
            }
            logs
        });
        if logs.send(Some(Arc::downgrade(store))).is_err() {
            store.log.end(Error::Background("there is no thread that writes the changelog".into()));
        }
    }

    /// Has a store warmed up. One thread does so for all stores, a little of each in turn: those that flush and merge are needed by
    /// writers, and the one that reads by whoever waits.
    pub fn warm(&self, store: &Arc<StoreInner>) {
        let warm = self.warm.get_or_init(|| {
            let (warm, queue) = unbounded::<Option<Weak<StoreInner>>>();
            let again = warm.clone();
            let own = move || {
                threads::work_in_background();
                while let Ok(Some(store)) = queue.recv() {
                    if store.upgrade().is_some_and(|store| warm::run(&store)) {
                        // The queue is here.
                        let _ = again.send(Some(store));
                    }
                }
            };
            match threads::start("alluvium-warm", own) {
                Ok(thread) => self.running.lock().push(thread),
                Err(error) => tracing::error!(%error, "starting a thread"),
            }
            warm
        });
        if warm.send(Some(Arc::downgrade(store))).is_err() {
            // There is no such thread: then everything is read when it is asked for.
            warm::leave(store);
        }
    }

    /// Has memory populated ahead of its use, by a thread that mostly sleeps.
    pub fn populate(&self, arena: &Arc<Arena>) {
        let (arena, stops) = (Arc::clone(arena), Arc::clone(&self.stops));
        self.run_apart("alluvium-memory", move || {
            threads::work_in_background();
            let (begun, stopped) = (threads::now(), || stops.load(Ordering::Relaxed));
            while threads::since(begun) < FIRST_ANSWERS && !stopped() {
                threads::park_timeout(FIRST_ANSWERS.saturating_sub(threads::since(begun)));
            }
            arena.populate(stopped);
        });
    }

    /// Waits for something that is done here, which is hurried along meanwhile.
    pub fn hurry<R>(&self, wait: impl FnOnce() -> R) -> R {
        // Relaxed: the count only decides who rests, and is looked at again and again.
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let result = wait();
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        result
    }

    fn is_hurried(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0 || !self.tasks.is_empty()
    }
}

/// So long after an engine is opened no memory is populated: other changes of the address space, which an opening makes, would wait for it.
const FIRST_ANSWERS: Duration = Duration::from_millis(50);
/// After so much work a rest as long.
const WORK: Duration = Duration::from_millis(1);
/// The longest rest: somebody may begin to wait meanwhile.
const REST_MAX: Duration = Duration::from_millis(4);

/// Has work that nobody waits for take half of the time: what it reads drives the writers' records from the processor's
/// caches, and the memory that it reads them from is the writers' as well.
pub struct Pace<'a> {
    workers: &'a Workers,
    since: Instant,
}

impl<'a> Pace<'a> {
    /// From now on.
    pub fn new(workers: &'a Workers) -> Self {
        Self { workers, since: threads::now() }
    }

    /// Rests if it is time to, and the work may wait; says whether it did. Called every few dozen microseconds.
    pub fn rest(&mut self, may_wait: impl FnOnce() -> bool) -> bool {
        let worked = threads::since(self.since);
        if worked < WORK {
            return false;
        }
        let rests = !self.workers.is_hurried() && may_wait();
        if rests {
            threads::sleep(worked.min(REST_MAX));
        }
        self.since = threads::now();
        rests
    }
}

fn run(queue: &Receiver<Task>) {
    threads::work_in_background();
    while let Ok(task) = queue.recv() {
        match task {
            Task::Flush(store) => flush::run_next(&store),
            Task::Compact(store) => compact::run(&store),
            Task::Reclaim(store, found) => reclaim::orphans(&store, &found),
            Task::Clear(store) => rollback::clear(&store),
            Task::Stop => return,
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        Barrier::settle();
        let running = std::mem::take(&mut *self.running.lock());
        for _ in &running {
            // More than there are of those that take tasks; the rest is left in the queue.
            self.submit(Task::Stop);
        }
        if let Some(reads) = self.reads.get() {
            drop(reads.send(None));
        }
        if let Some(logs) = self.logs.get() {
            drop(logs.send(None));
        }
        if let Some(warm) = self.warm.get() {
            drop(warm.send(None));
        }
        // Before it is unparked, which orders the two.
        self.stops.store(true, Ordering::Relaxed);
        for thread in running {
            thread.thread().unpark();
            // The last owner of an engine may be a store that a task held, on one of these threads.
            if thread.thread().id() != threads::current().id() {
                let _ = thread.join();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_rests_unless_somebody_waits_for_it() {
        let workers = Workers::start(1).unwrap();
        let mut pace = Pace::new(&workers);
        let mut rests_after_work = |may_wait| {
            std::thread::sleep(WORK);
            pace.rest(|| may_wait)
        };
        assert!(rests_after_work(true));
        assert!(!rests_after_work(false), "it may not wait");
        assert!(!workers.hurry(|| rests_after_work(true)), "somebody waits");
        assert!(rests_after_work(true), "nobody waits any more");
        assert!(!pace.rest(|| true), "it just rested");
    }
}
