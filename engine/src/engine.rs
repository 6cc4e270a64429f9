//! The engine: one per process; the memory budget and the background threads that all its stores share.

use crate::cache::BlockCache;
use crate::error::{Error, Result};
use crate::options::{BUDGET_BYTES_MIN, EngineOptions};
use crate::platform::arena::Arena;
use crate::platform::sync::reclaim::Domain;
use crate::store::StoreInner;
use crate::worker::{Task, Workers};
use parking_lot::Mutex;
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
        let workers = Workers::start(options.threads)?;
        let arena = Arc::new(arena);
        let inner = EngineInner {
            cache: Arc::new(BlockCache::new(&arena)),
            arena,
            domain: Arc::new(Domain::new()),
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

    /// Waits for what the engine's threads do, which is hurried along meanwhile.
    pub(crate) fn hurry<R>(&self, wait: impl FnOnce() -> R) -> R {
        self.inner.workers.hurry(wait)
    }
}
