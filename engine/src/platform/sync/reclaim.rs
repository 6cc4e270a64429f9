//! When memory that lock-free readers may still look at can be used again.
//!
//! Quiescence by batches, in the manner of epoch-based reclamation (Fraser, "Practical lock-freedom", 2004, section
//! 5.2.3), but without a global epoch that one slow reader would hold for everybody: each reader has a counter, odd
//! while it is inside a read call. The owner gathers what it unlinked; a full batch is sealed by one fence and a look
//! at the counters, and is free once each counter that was odd has moved. An item costs the owner a push.
//!
//! ```text
//! reader: count odd; light; load references, read them; count even
//! owner:  unlink items ... (a batch is full) heavy; note the odd counts ... (later) all of them moved? reuse
//! ```
//!
//! Invariants:
//! - A reader whose counter the owner found even, or that registered after the owner's look, entered after the items
//!   were unlinked and can't reach them. A reader found odd may hold them until its counter moves.
//! - Batches become free in the order in which they were sealed: a reader that keeps an earlier one is noted in all
//!   later ones too.
//! - The owner waits for nobody: not for a reader, and not for the registry's mutex.
//!
//! Each shard has a [`Limbo`]; it is reached by whoever is inside the shard's gate. Readers get a [`Slot`] each. Both
//! share a [`Domain`].

#[cfg(all(test, loom))]
mod loom_models;
#[cfg(all(test, not(loom)))]
mod tests;

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::mem;

use crossbeam::utils::CachePadded;

use super::atomic::{AtomicU64, Ordering};
use super::barrier::Barrier;
use super::{Arc, Mutex, thread};

/// A reader's counter: odd while it is inside. Only the reader that holds the slot writes it.
type Count = Arc<CachePadded<AtomicU64>>;

/// What owners and readers have in common: the list of readers.
pub struct Domain {
    barrier: Barrier,
    registry: Mutex<Registry>,
}

struct Registry {
    /// Counters of all slots ever given out; those of dropped slots are even and wait in `idle`.
    counts: Vec<Count>,
    /// Indices of counters without a reader.
    idle: Vec<usize>,
}

impl Registry {
    fn has_readers(&self) -> bool {
        self.idle.len() < self.counts.len()
    }
}

impl Default for Domain {
    fn default() -> Self {
        Self::new()
    }
}

impl Domain {
    /// A domain without readers, on the cheapest barrier of this process.
    pub fn new() -> Self {
        Self::with_barrier(Barrier::detect())
    }

    /// A domain without readers, on the given barrier.
    pub fn with_barrier(barrier: Barrier) -> Self {
        Self { barrier, registry: Mutex::new(Registry { counts: Vec::new(), idle: Vec::new() }) }
    }

    /// Registers a reader. Dropping the slot ends it; slots are reused, so memory follows the most readers at a time.
    pub fn register(domain: &Arc<Self>) -> Slot {
        let mut registry = domain.registry.lock();
        let index = registry.idle.pop().unwrap_or_else(|| {
            registry.counts.push(Arc::new(CachePadded::new(AtomicU64::new(0))));
            registry.counts.len() - 1
        });
        let count = Arc::clone(&registry.counts[index]);
        drop(registry);
        // Relaxed: the slot's last holder gave it back under the mutex.
        let value = count.load(Ordering::Relaxed);
        Slot { count, value: Cell::new(value), depth: Cell::new(0), index, domain: Arc::clone(domain) }
    }

    /// How many readers are registered.
    pub fn readers(&self) -> usize {
        let registry = self.registry.lock();
        registry.counts.len() - registry.idle.len()
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Domain").field("barrier", &self.barrier).finish_non_exhaustive()
    }
}

/// A registered reader. It may move between threads, not be shared by them: each has its own.
pub struct Slot {
    count: Count,
    /// What `count` holds, as only this slot writes it.
    value: Cell<u64>,
    depth: Cell<u32>,
    index: usize,
    domain: Arc<Domain>,
}

impl Slot {
    /// Goes inside until the guard is dropped. What is reachable meanwhile isn't reused. Pins nest; the outermost
    /// counts.
    #[inline]
    pub fn pin(&self) -> Pin<'_> {
        let depth = self.depth.get();
        self.depth.set(depth + 1);
        if depth == 0 {
            let value = self.value.get() + 1;
            self.value.set(value);
            // Release, not Relaxed: an owner that sees this count instead of the even one before it takes the earlier
            // read call for finished, and needs it to have happened before (the Acquire in `has_moved` and `seal`).
            self.count.store(value, Ordering::Release);
            // Orders the store of the count before the loads of references; pairs with the heavy side in `seal`.
            self.domain.barrier.light();
        }
        Pin { slot: self }
    }

    #[inline]
    fn unpin(&self) {
        let depth = self.depth.get() - 1;
        self.depth.set(depth);
        if depth == 0 {
            self.leave();
        }
    }

    #[inline]
    fn leave(&self) {
        let value = self.value.get() + 1;
        self.value.set(value);
        // Release: pairs with the Acquire in `has_moved` and `seal`; our reads precede the owner's reuse.
        self.count.store(value, Ordering::Release);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // A pin that was leaked can't be used any more: it borrowed the slot.
        if self.depth.get() != 0 {
            self.leave();
        }
        self.domain.registry.lock().idle.push(self.index);
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("index", &self.index).field("depth", &self.depth.get()).finish_non_exhaustive()
    }
}

/// A read call in progress.
#[derive(Debug)]
#[must_use = "the reader leaves when the pin is dropped"]
pub struct Pin<'a> {
    slot: &'a Slot,
}

impl Drop for Pin<'_> {
    #[inline]
    fn drop(&mut self) {
        self.slot.unpin();
    }
}

/// Items retired together, and the readers that may still look at them.
struct Batch {
    items: Vec<u64>,
    /// Counters that were odd when the batch was sealed, with their values.
    inside: Vec<(Count, u64)>,
}

/// What an owner has unlinked and can't reuse yet. An item is a word whose meaning is the owner's (a reference into
/// the arena, with its size class).
///
/// Items that are still in limbo when it is dropped are forgotten, not handed back: [`Limbo::drain`] first.
pub struct Limbo {
    domain: Arc<Domain>,
    batch_items: usize,
    open: Vec<u64>,
    sealed: VecDeque<Batch>,
    sealed_items: usize,
    /// Emptied vectors, for the next batches.
    spare: Vec<Vec<u64>>,
}

/// Emptied vectors that a limbo keeps: two batches on their way are the steady state.
const SPARES: usize = 2;

impl Limbo {
    /// A batch size at which the fence is some nanoseconds an item, and a batch of small records some tens of KiB.
    pub const BATCH_ITEMS: usize = 512;

    /// An empty limbo that seals a batch every `batch_items` items (at least one).
    pub fn new(domain: &Arc<Domain>, batch_items: usize) -> Self {
        Self {
            domain: Arc::clone(domain),
            batch_items: batch_items.max(1),
            open: Vec::new(),
            sealed: VecDeque::new(),
            sealed_items: 0,
            spare: Vec::new(),
        }
    }

    /// Takes an item that no reference leads to any more: readers that come from now on can't find it.
    #[inline]
    pub fn retire(&mut self, item: u64) {
        self.open.push(item);
        if self.open.len() >= self.batch_items {
            self.seal();
        }
    }

    /// Hands back every item that no reader can be looking at, in the order in which they were retired.
    #[inline]
    pub fn collect(&mut self, mut reuse: impl FnMut(u64)) {
        while let Some(batch) = self.sealed.front_mut() {
            batch.inside.retain(|(count, noted)| !has_moved(count, *noted));
            if !batch.inside.is_empty() {
                return;
            }
            let Some(mut batch) = self.sealed.pop_front() else { return };
            self.sealed_items -= batch.items.len();
            batch.items.drain(..).for_each(&mut reuse);
            if self.spare.len() < SPARES {
                self.spare.push(batch.items);
            }
        }
    }

    /// Seals the open batch before it is full, so that its items can be collected soon: for an owner that is short of
    /// memory or about to be idle. False if the registry was busy (a reader is just registering): then the batch stays
    /// open until the next call or the next item.
    #[cold]
    pub fn seal(&mut self) -> bool {
        if self.open.is_empty() {
            return true;
        }
        let Some(registry) = self.domain.registry.try_lock() else { return false };
        let mut inside = Vec::new();
        // Without readers there is nothing to fence: the last one left, and the next one comes, through the mutex.
        if registry.has_readers() {
            // Orders the unlinking of the items before the loads of the counts; pairs with the light side in `pin`: a
            // reader whose odd count we don't see sees that the items are gone.
            self.domain.barrier.heavy();
            for count in &registry.counts {
                // Acquire: pairs with the Release in `leave`; an even count means that those reads are done.
                let noted = count.load(Ordering::Acquire);
                if noted % 2 == 1 {
                    inside.push((Arc::clone(count), noted));
                }
            }
        }
        drop(registry);
        let items = mem::replace(&mut self.open, self.spare.pop().unwrap_or_default());
        self.sealed_items += items.len();
        self.sealed.push_back(Batch { items, inside });
        true
    }

    /// Hands back all items, waiting for the readers that may look at them: for closing a shard, not for an operation.
    pub fn drain(&mut self, mut reuse: impl FnMut(u64)) {
        loop {
            let sealed = self.seal();
            self.collect(&mut reuse);
            if sealed && self.sealed.is_empty() {
                return;
            }
            thread::yield_now();
        }
    }

    /// How many items are in limbo.
    pub fn len(&self) -> usize {
        self.open.len() + self.sealed_items
    }

    /// Whether no item is in limbo.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Limbo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limbo")
            .field("open", &self.open.len())
            .field("sealed_batches", &self.sealed.len())
            .finish_non_exhaustive()
    }
}

fn has_moved(count: &Count, noted: u64) -> bool {
    // Acquire: pairs with the Release in `leave` (or in a later `pin`); the noted read call precedes the reuse.
    count.load(Ordering::Acquire) != noted
}
