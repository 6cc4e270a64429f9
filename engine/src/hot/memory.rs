//! The memory of one shard: three allocators and what waits for readers to leave.
//!
//! Records lie in chunks of their own, which the clock's hand can walk; index lines, directories and map nodes lie in
//! others, aligned to cache lines, and so do dirty lists, whose chunks go back after the flush. A block that readers may have seen is *retired*: it is reused only
//! after every reader that was inside a call has left it.

use crate::platform::arena::{Allocator, Arena, CLASS_SPAN, Ref, Share, class_of};
use crate::platform::sync;
use crate::platform::sync::reclaim::{Domain, Limbo};
use std::sync::Arc;

const INDEX: u64 = 1 << 40;
/// Memory is short where less than one part in so many of the budget is free.
const SHORT_SHARE: usize = 8;

/// Blocks of one shard; see the module's head.
#[derive(Debug)]
pub struct Memory {
    arena: Arc<Arena>,
    share: Arc<Share>,
    records: Allocator,
    index: Allocator,
    lists: Allocator,
    limbo: Limbo,
    retired_bytes: usize,
    /// The record for which no block was found last, in bytes; 0 once it was asked for.
    missed_bytes: usize,
    /// So many allocations go well before one is refused, and so many before the next; the last of the numbers comes first.
    #[cfg(test)]
    pub refused: Vec<u32>,
}

impl Memory {
    /// Nothing allocated yet, of a share of the arena.
    pub fn new(arena: Arc<Arena>, share: &Arc<Share>, domain: &sync::Arc<Domain>) -> Self {
        Self {
            records: Allocator::new(share, 8),
            index: Allocator::new(share, 64),
            lists: Allocator::new(share, 64),
            share: Arc::clone(share),
            limbo: Limbo::new(domain, Limbo::BATCH_ITEMS),
            arena,
            retired_bytes: 0,
            missed_bytes: 0,
            #[cfg(test)]
            refused: Vec::new(),
        }
    }

    #[cfg(test)]
    fn refuses(&mut self) -> bool {
        let Some(left) = self.refused.last_mut() else { return false };
        let refuses = *left == 0;
        *left = left.saturating_sub(1);
        if refuses {
            self.refused.pop();
        }
        refuses
    }

    #[cfg(not(test))]
    #[inline]
    #[expect(clippy::unused_self, reason = "tests refuse")]
    const fn refuses(&mut self) -> bool {
        false
    }

    /// The arena.
    #[inline]
    pub fn arena(&self) -> &Arena {
        &self.arena
    }

    /// The share of the budget that it is taken from.
    #[inline]
    pub fn share(&self) -> &Share {
        &self.share
    }

    /// Sees to it that records leave room for what finds them: index lines, dirty lists and map nodes can't be evicted,
    /// and chunks full of records of many ages are hard to empty.
    pub fn set_floor(&mut self) {
        let floor = (self.share.limit_bytes() / 16).max((self.index.held_bytes() + self.lists.held_bytes()) / 4);
        self.records.set_floor_bytes(floor);
    }

    /// What a block of so many bytes leaves free, if it is a record's: one with chunks of its own leaves nothing.
    pub fn floor_bytes(&self, bytes: usize) -> usize {
        if class_of(bytes) == CLASS_SPAN { 0 } else { self.records.floor_bytes() }
    }

    /// Whether so little of the budget is free that what isn't needed soon had better leave.
    pub fn is_short(&self) -> bool {
        self.share.free_bytes() < self.share.limit_bytes() / SHORT_SHARE
    }

    /// The record blocks.
    pub fn records(&mut self) -> &mut Allocator {
        &mut self.records
    }

    /// Bytes in chunks held by this shard.
    pub fn held_bytes(&self) -> usize {
        self.records.held_bytes() + self.index.held_bytes() + self.lists.held_bytes()
    }

    /// Bytes in blocks in use by this shard.
    pub fn used_bytes(&self) -> usize {
        self.records.used_bytes() + self.index.used_bytes() + self.lists.used_bytes()
    }

    /// Bytes of records retired since the beginning, wrapping around.
    pub fn retired_bytes(&self) -> usize {
        self.retired_bytes
    }

    /// A block for a record.
    #[inline]
    pub fn allocate_record(&mut self, bytes: usize) -> Option<(Ref, u8)> {
        let block = if self.refuses() { None } else { self.records.allocate(bytes) };
        if block.is_none() {
            self.missed_bytes = bytes;
        }
        block
    }

    /// The size of the block that the last record didn't find; 0 where it was asked for since.
    pub fn take_missed_bytes(&mut self) -> usize {
        std::mem::take(&mut self.missed_bytes)
    }

    /// Charges heap memory to the share, if that has it.
    pub fn charge(&mut self, bytes: usize) -> bool {
        !self.refuses() && self.share.charge(bytes)
    }

    /// The same of what is [favoured](Share::charge_favoured).
    pub fn charge_favoured(&mut self, more: (usize, usize), held_bytes: usize) -> bool {
        !self.refuses() && self.share.charge_favoured(more, held_bytes)
    }

    /// Whether a record of so many bytes would find a block now.
    pub fn has_room(&mut self, bytes: usize) -> bool {
        let block = if self.refuses() { None } else { self.records.allocate(bytes) };
        if let Some((at, class)) = block {
            self.records.free(at, class);
        }
        block.is_some()
    }

    /// How many bytes a record's block holds.
    #[inline]
    pub fn record_capacity(&self, at: Ref, class: u8) -> usize {
        self.records.capacity(at, class)
    }

    /// A block for the index, aligned to a cache line, zeroed.
    pub fn allocate_index(&mut self, bytes: usize) -> Option<(Ref, u8)> {
        let block = if self.refuses() { None } else { self.index.allocate(bytes) };
        let (at, class) = block?;
        let words = bytes.div_ceil(8) as Ref;
        for word in at..at + words {
            self.arena.word(word).store(0, crate::platform::sync::atomic::Ordering::Relaxed);
        }
        #[cfg(loom)]
        for half in 0..words as usize * 2 {
            self.arena.half(at, half).store(0, crate::platform::sync::atomic::Ordering::Relaxed);
        }
        Some((at, class))
    }

    /// A block of a dirty list, aligned to a cache line.
    pub fn allocate_list(&mut self, bytes: usize) -> Option<(Ref, u8)> {
        if self.refuses() { None } else { self.lists.allocate(bytes) }
    }

    /// How many bytes a block of a dirty list holds.
    #[inline]
    pub fn list_capacity(&self, at: Ref, class: u8) -> usize {
        self.lists.capacity(at, class)
    }

    /// Frees a block of a dirty list; only the owner looks at it.
    pub fn free_list(&mut self, at: Ref, class: u8) {
        self.lists.free(at, class);
    }

    /// Gives back the chunks of dirty lists and index blocks that are empty. Returns how many there were.
    pub fn release_empty_index(&mut self) -> usize {
        self.index.release_empty() + self.lists.release_empty()
    }

    /// Gives back chunks of dirty lists after a flush, where most of what they hold is free.
    pub fn release_lists(&mut self) {
        if self.lists.used_bytes() * 2 < self.lists.held_bytes() {
            self.lists.release_empty();
        }
    }

    /// Frees a record's block that readers may be looking at.
    #[inline]
    pub fn retire_record(&mut self, at: Ref, class: u8) {
        self.retired_bytes = self.retired_bytes.wrapping_add(self.records.capacity(at, class));
        self.retire(u64::from(at) | u64::from(class) << 32);
    }

    /// Frees an index block that readers may be looking at.
    pub fn retire_index(&mut self, at: Ref, class: u8) {
        self.retire(u64::from(at) | u64::from(class) << 32 | INDEX);
    }

    /// Frees an index block that only the owner ever looked at.
    pub fn free_index(&mut self, at: Ref, class: u8) {
        self.index.free(at, class);
    }

    fn retire(&mut self, item: u64) {
        self.limbo.retire(item);
        if self.limbo.len() >= Limbo::BATCH_ITEMS {
            self.take_back();
        }
    }

    /// Takes back all that no reader can be looking at any more, of what was retired up to now.
    pub fn collect(&mut self) {
        self.limbo.seal();
        self.take_back();
    }

    /// Takes back what it can of what readers may have been looking at; whether there was anything. They may just have left.
    pub fn awaits_readers(&mut self) -> bool {
        let any = !self.limbo.is_empty();
        self.collect();
        any
    }

    fn take_back(&mut self) {
        let Self { records, index, limbo, .. } = self;
        limbo.collect(|item| {
            let (at, class) = (item as Ref, (item >> 32) as u8);
            if item & INDEX == 0 { records.free(at, class) } else { index.free(at, class) }
        });
    }
}

impl Drop for Memory {
    /// Waits for the readers that are inside: the chunks go to others, and any block of theirs may be looked at. The
    /// caller has seen to it that no further reader gets here, and is none itself.
    fn drop(&mut self) {
        self.limbo.retire(0);
        self.limbo.drain(|_| {});
    }
}
