//! The engine: one per process; the memory budget and the background threads that all its stores share.

use crate::cache::BlockCache;
use crate::error::{Error, Result};
use crate::options::{BUDGET_BYTES_MIN, EngineOptions, MemoryShare, SHARE_BYTES_MIN, StoreOptions};
use crate::platform::arena::{Arena, Share};
use crate::platform::sync::reclaim::Domain;
use crate::platform::threads::{self, Mutex};
use crate::store::StoreInner;
use crate::worker::{Task, Workers};
use std::sync::{Arc, Weak};

/// The memory budget and background threads of a process; cheap to clone, closed when the last clone and the last of
/// its stores are gone.
///
/// ```
/// use alluvium::{Engine, EngineOptions};
/// let engine = Engine::open(EngineOptions { memory_budget_bytes: 16 << 20, ..Default::default() })?;
/// assert_eq!(engine.budget_bytes(), 16 << 20);
/// # Ok::<(), alluvium::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Engine {
    pub(crate) inner: Arc<EngineInner>,
}

#[derive(Debug)]
pub(crate) struct EngineInner {
    pub arena: Arc<Arena>,
    pub cache: Arc<BlockCache>,
    pub domain: Arc<Domain>,
    pub options: EngineOptions,
    pub workers: Workers,
    stores: Mutex<Vec<Weak<StoreInner>>>,
}

impl Engine {
    /// Starts an engine. Fails where the options are wrong or the address space can't be reserved.
    pub fn open(options: EngineOptions) -> Result<Self> {
        options.validate()?;
        let arena = Arena::new(options.memory_budget_bytes, options.memory_ceiling_bytes)
            .map_err(|error| Error::Background(error.to_string()))?;
        // Has the process registered with the kernel. Early: where there are threads the kernel takes 10 ms for it, which go by beside
        // what follows.
        let domain = Arc::new(Domain::new());
        let workers = Workers::start(options.threads)?;
        let arena = Arc::new(arena);
        workers.populate(&arena);
        let inner = EngineInner {
            cache: Arc::new(BlockCache::new(&arena)),
            arena,
            domain,
            options,
            workers,
            stores: Mutex::new(Vec::new()),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The memory budget, in bytes.
    pub fn budget_bytes(&self) -> usize {
        self.inner.arena.budget_bytes()
    }

    /// Closes the engine, and waits up to `patience` for the end of its threads: they may still be at something for a store
    /// that was closed. Says whether they have ended; they do so later where not, or where a clone or store is open. For hosts that
    /// unload the code which those threads run.
    ///
    /// ```
    /// use alluvium::{Engine, EngineOptions};
    /// let engine = Engine::open(EngineOptions::default())?;
    /// let clone = engine.clone();
    /// assert!(!engine.close_within(std::time::Duration::from_millis(1)));
    /// assert!(clone.close_within(std::time::Duration::from_secs(60)));
    /// # Ok::<(), alluvium::Error>(())
    /// ```
    pub fn close_within(self, patience: std::time::Duration) -> bool {
        let until = threads::now() + patience;
        let mut inner = self.inner;
        loop {
            match Arc::try_unwrap(inner) {
                // Joins them: this is none of them.
                Ok(last) => {
                    drop(last);
                    return true;
                }
                Err(shared) if threads::now() >= until => {
                    drop(shared);
                    return false;
                }
                Err(shared) => inner = shared,
            }
            threads::sleep(std::time::Duration::from_millis(1));
        }
    }

    /// How much of the budget is in use, in bytes. What was freed but not given back by a store counts as
    /// used, and so does the room of the block cache, a sixteenth of the budget.
    pub fn used_bytes(&self) -> usize {
        self.inner.arena.used_bytes()
    }

    /// Changes the memory budget, in bytes: at least 4 MiB, at most
    /// [`memory_ceiling_bytes`](EngineOptions::memory_ceiling_bytes). A smaller one takes effect as writers work: they
    /// spill and give back what is above it. The block cache takes its sixteenth of the new one at once.
    ///
    /// ```
    /// use alluvium::{Engine, EngineOptions};
    /// let options = EngineOptions { memory_budget_bytes: 16 << 20, memory_ceiling_bytes: 64 << 20, ..Default::default() };
    /// let engine = Engine::open(options)?;
    /// engine.set_budget_bytes(48 << 20)?;
    /// assert_eq!(engine.budget_bytes(), 48 << 20);
    /// assert!(engine.set_budget_bytes(65 << 20).is_err());
    /// # Ok::<(), alluvium::Error>(())
    /// ```
    pub fn set_budget_bytes(&self, bytes: usize) -> Result<()> {
        let options = &self.inner.options;
        let ceiling = options.memory_ceiling_bytes.max(options.memory_budget_bytes);
        if !(BUDGET_BYTES_MIN..=ceiling).contains(&bytes) {
            let problem = format!("{bytes} is not in {BUDGET_BYTES_MIN} to {ceiling}");
            return Err(Error::Options { option: "memory_budget_bytes", problem });
        }
        self.inner.arena.set_budget_bytes(bytes);
        self.inner.cache.fit();
        Ok(())
    }

    /// A part of the memory budget for a group of stores ([`StoreOptions::memory_share`]): they take no more than
    /// `limit_bytes` together, and nobody else takes of `minimum_bytes`, used or not. What the engine keeps for itself, the
    /// block cache above all, is not in it.
    ///
    /// [`Error::Options`] where a limit is below 1 MiB or the minimum, or where the budget can't guarantee so much more.
    ///
    /// ```
    /// use alluvium::{Engine, EngineOptions, Store, StoreOptions};
    /// # let directory = tempfile::tempdir().map_err(|error| alluvium::Error::Background(error.to_string()))?;
    /// let engine = Engine::open(EngineOptions { memory_budget_bytes: 64 << 20, ..Default::default() })?;
    /// let slot = engine.memory_share(16 << 20, 32 << 20)?;
    /// let options = StoreOptions { memory_share: Some(slot.clone()), memory_minimum_bytes: 1 << 20, ..Default::default() };
    /// let store = Store::create(&engine, directory.path(), options)?;
    /// assert_eq!(slot.used_bytes(), 0);
    /// # Ok::<(), alluvium::Error>(())
    /// ```
    pub fn memory_share(&self, minimum_bytes: usize, limit_bytes: usize) -> Result<MemoryShare> {
        let problem = |problem: &str| Err(Error::Options { option: "memory_share", problem: problem.to_owned() });
        if limit_bytes < SHARE_BYTES_MIN || limit_bytes < minimum_bytes {
            return problem("the limit is less than 1 MiB, or than the minimum");
        }
        match Share::open(&self.inner.arena, None, minimum_bytes, limit_bytes) {
            Some(share) => Ok(MemoryShare(share)),
            None => problem("the budget has promised too much already"),
        }
    }

    /// The part of the budget of a store with these options.
    pub(crate) fn share_of(&self, options: &StoreOptions) -> Result<Arc<Share>> {
        let problem = |option, problem: &str| Err(Error::Options { option, problem: problem.to_owned() });
        let group = options.memory_share.as_ref().map(|share| &share.0);
        if group.is_some_and(|group| !Arc::ptr_eq(group.arena(), &self.inner.arena)) {
            return problem("memory_share", "a part of another engine's budget");
        }
        match Share::open(&self.inner.arena, group, options.memory_minimum_bytes, usize::MAX) {
            Some(share) => Ok(share),
            None => problem("memory_minimum_bytes", "what it lies in has promised too much already"),
        }
    }

    pub(crate) fn enlist(&self, store: &Arc<StoreInner>) {
        let mut stores = self.inner.stores.lock();
        stores.retain(|store| store.strong_count() > 0);
        stores.push(Arc::downgrade(store));
    }

    /// The stores that are open now.
    pub(crate) fn stores(&self) -> Vec<Arc<StoreInner>> {
        self.inner.stores.lock().iter().filter_map(Weak::upgrade).collect()
    }

    pub(crate) fn submit(&self, task: Task) {
        self.inner.workers.submit(task);
    }

    /// Has a store's changelog looked at: something may have to be written.
    pub(crate) fn log(&self, store: &Arc<StoreInner>) {
        self.inner.workers.log(store);
    }

    /// Waits for what the engine's threads do, which is hurried along meanwhile.
    pub(crate) fn hurry<R>(&self, wait: impl FnOnce() -> R) -> R {
        self.inner.workers.hurry(wait)
    }
}
