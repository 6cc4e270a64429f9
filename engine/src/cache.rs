//! The block cache: decoded blocks of segments, shared by all stores of an engine.
//!
//! A point read that finds something promotes the *record* to the hot table, so this cache is small: it serves what
//! promotion can't, which is ranges scanned again and again, absent keys that a filter let through, and neighbours of
//! what was just read. Scans that go on past their first block read ahead and leave the cache alone.
//!
//! Blocks lie on the heap. Their room is set aside from the memory budget when the engine starts, and again when the
//! budget changes, so that a budget full of state can't starve the cache and the cache can't break the budget. Within it,
//! the *clock* chooses what leaves (Corbató, A Paging Experiment with the Multics System, 1968): a block that was used
//! since the hand passed last stays for another round. The cache is cut into parts, each under a lock of its own; how
//! many of them are in use depends on its size, and those that aren't have no room.

use crate::ids::SegmentId;
use crate::platform::arena::Arena;
use crate::platform::threads::Mutex;
use crate::segment::{Block, BlockRef, BlockSource};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Which share of the memory budget is the cache's: one part in so many.
const SHARE: usize = 16;
/// Parts are no smaller than this, as long as there are several.
const PART_BYTES_MIN: usize = 1 << 20;
const PARTS_MAX: usize = 16;
/// What an entry costs beside the block itself: its slot and its place in the table, about.
const ENTRY_BYTES: usize = 96;

type Name = (SegmentId, u32);

/// See the module's head.
#[derive(Debug)]
pub struct BlockCache {
    arena: Arc<Arena>,
    /// Whoever changes the size holds it.
    reserved_bytes: Mutex<usize>,
    parts: [Mutex<Part>; PARTS_MAX],
    parts_in_use: AtomicUsize,
    hits: AtomicU64,
    misses: AtomicU64,
}

#[derive(Debug, Default)]
struct Part {
    places: HashMap<Name, usize>,
    /// The hand goes round them. What is free lies behind it, so that a new block has a whole round before it.
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    hand: usize,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Slot {
    name: Name,
    block: Arc<Block>,
    bytes: usize,
    used: bool,
}

impl BlockCache {
    /// An empty cache, whose room is taken from the arena's budget.
    pub fn new(arena: &Arc<Arena>) -> Self {
        let cache = Self {
            arena: Arc::clone(arena),
            reserved_bytes: Mutex::new(0),
            parts: Default::default(),
            parts_in_use: AtomicUsize::new(1),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        };
        cache.fit();
        cache
    }

    /// Takes its share of what the arena's budget is now: blocks go if it has become smaller. All of them go where another
    /// number of parts is in use, as a block's part depends on that.
    pub fn fit(&self) {
        let mut reserved_bytes = self.reserved_bytes.lock();
        let bytes = self.arena.budget_bytes() / SHARE;
        let parts = (bytes / PART_BYTES_MIN).clamp(1, PARTS_MAX);
        let same = self.parts_in_use.swap(parts, Ordering::Relaxed) == parts;
        for (index, part) in self.parts.iter().enumerate() {
            // One who still goes by the old number may put a block where nobody looks for it; in time it leaves.
            part.lock().fit(if index < parts { bytes / parts } else { 0 }, same);
        }
        if bytes > *reserved_bytes {
            self.arena.charge_forced(bytes - *reserved_bytes);
        } else {
            self.arena.uncharge(*reserved_bytes - bytes);
        }
        *reserved_bytes = bytes;
    }

    /// How often a block was there, and how often it wasn't.
    pub fn hits_and_misses(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }

    fn part(&self, (segment, block): Name) -> &Mutex<Part> {
        let mixed = (segment.0 as u64 ^ u64::from(block)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        &self.parts[(mixed as usize) % self.parts_in_use.load(Ordering::Relaxed)]
    }
}

impl Drop for BlockCache {
    fn drop(&mut self) {
        self.arena.uncharge(*self.reserved_bytes.lock());
    }
}

impl BlockSource for BlockCache {
    fn get(&self, segment: SegmentId, block: BlockRef) -> Option<Arc<Block>> {
        let name = (segment, block.index);
        let found = self.part(name).lock().get(name);
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    fn put(&self, segment: SegmentId, block: BlockRef, content: &Arc<Block>) {
        let name = (segment, block.index);
        self.part(name).lock().put(name, content);
    }
}

impl Part {
    /// Takes another bound, and lets go of what is above it, or of everything.
    fn fit(&mut self, bytes_max: usize, keep: bool) {
        if !keep {
            *self = Self::default();
        }
        self.bytes_max = bytes_max;
        while self.bytes > bytes_max {
            self.evict();
        }
    }

    fn get(&mut self, name: Name) -> Option<Arc<Block>> {
        let slot = self.slots[*self.places.get(&name)?].as_mut()?;
        slot.used = true;
        Some(Arc::clone(&slot.block))
    }

    /// Keeps a block, unless it is there already (another thread read it, too) or would take more than a quarter.
    fn put(&mut self, name: Name, block: &Arc<Block>) {
        let bytes = block.memory_bytes() + ENTRY_BYTES;
        if bytes > self.bytes_max / 4 || self.places.contains_key(&name) {
            return;
        }
        while self.bytes + bytes > self.bytes_max {
            self.evict();
        }
        self.bytes += bytes;
        let slot = Some(Slot { name, block: Arc::clone(block), bytes, used: false });
        let at = self.free.pop().unwrap_or(self.slots.len());
        self.places.insert(name, at);
        match self.slots.get_mut(at) {
            Some(free) => *free = slot,
            None => self.slots.push(slot),
        }
    }

    /// Lets go of the first block from the hand on that wasn't used since the hand passed. There is at least one block.
    fn evict(&mut self) {
        loop {
            if self.hand >= self.slots.len() {
                self.hand = 0;
            }
            let at = self.hand;
            self.hand += 1;
            if let Some(gone) = self.slots[at].take_if(|slot| !std::mem::take(&mut slot.used)) {
                self.bytes -= gone.bytes;
                self.places.remove(&gone.name);
                self.free.push(at);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::tests::random_segment;
    use std::collections::HashSet;

    /// Every block that comes back is the one that went in, the bound holds, and what is used again and again stays.
    #[test]
    fn it_returns_what_went_in_within_its_bound_and_keeps_what_is_used() {
        let (_directory, segment) = random_segment(7, 20_000, 200);
        let arena = Arc::new(Arena::new(4 << 20, 0).unwrap());
        let cache = BlockCache::new(&arena);
        assert_eq!(arena.used_bytes(), arena.budget_bytes() / SHARE);
        let favourite = segment.block_ref(0).unwrap();
        cache.put(segment.meta().id, favourite, &Arc::new(segment.read_block(favourite).unwrap()));
        let mut present = HashSet::new();
        for index in 1..segment.blocks() {
            let place = segment.block_ref(index).unwrap();
            let block = Arc::new(segment.read_block(place).unwrap());
            cache.put(segment.meta().id, place, &block);
            assert!(cache.get(segment.meta().id, favourite).is_some(), "used all the time, and gone at block {index}");
            present.insert(index);
            let part = cache.parts[0].lock();
            assert!(part.bytes <= part.bytes_max);
            let slots = || part.slots.iter().flatten();
            assert_eq!(part.bytes, slots().map(|slot| slot.bytes).sum::<usize>());
            assert_eq!((part.places.len(), slots().count()), (part.slots.len() - part.free.len(), part.places.len()));
            let kept = part.slots[part.places[&(segment.meta().id, index)]].as_ref().unwrap();
            assert!(Arc::ptr_eq(&kept.block, &block), "what came last left at once");
        }
        let left = present.iter().filter(|&&index| {
            let place = segment.block_ref(index).unwrap();
            let Some(found) = cache.get(segment.meta().id, place) else { return false };
            assert_eq!(found.len(), segment.read_block(place).unwrap().len());
            true
        });
        let left = left.count();
        assert!((2..present.len()).contains(&left), "{left} of {} blocks are left", present.len());
        let (hits, misses) = cache.hits_and_misses();
        assert!(hits > 0 && misses > 0);
        drop(cache);
        assert_eq!(arena.used_bytes(), 0);
    }
    /// Its room follows the budget both ways, and what it says it has is what is charged.
    #[test]
    fn it_fits_itself_to_a_budget_that_changes() {
        let (_directory, segment) = random_segment(8, 20_000, 200);
        let arena = Arc::new(Arena::new(256 << 20, 0).unwrap());
        let cache = BlockCache::new(&arena);
        let blocks: Vec<(BlockRef, Arc<Block>)> = (0..segment.blocks())
            .map(|index| segment.block_ref(index).unwrap())
            .map(|place| (place, Arc::new(segment.read_block(place).unwrap())))
            .collect();
        for budget_mib in [256, 250, 20, 16, 4, 7, 256] {
            arena.set_budget_bytes(budget_mib << 20);
            cache.fit();
            assert_eq!(arena.used_bytes(), arena.budget_bytes() / SHARE);
            let bytes = || cache.parts.iter().map(|part| part.lock().bytes).sum::<usize>();
            assert!(bytes() <= arena.budget_bytes() / SHARE, "{} bytes of {budget_mib} MiB", bytes());
            for (place, block) in &blocks {
                cache.put(segment.meta().id, *place, block);
            }
            assert!(bytes() <= arena.budget_bytes() / SHARE && bytes() > 0, "{} bytes of {budget_mib} MiB", bytes());
            let (last, block) = blocks.last().unwrap();
            assert!(Arc::ptr_eq(&cache.get(segment.meta().id, *last).unwrap(), block));
        }
        drop(cache);
        assert_eq!(arena.used_bytes(), 0);
    }
}
