//! Size classes: how one owner carves chunks into blocks.
//!
//! A class is a multiple of 8 bytes up to 512 bytes, then an eighth of a power of two up to half a chunk; larger
//! blocks are whole chunks (a *span*). Blocks are cut from the end of the owner's current chunk, freed ones wait in a
//! doubly linked list per class, so that a chunk whose blocks are all free can be taken out of the lists and given
//! back. A chunk is filled from its start without gaps; the class of every block, free or not, stands in the same bits
//! of its second word ([`CLASS_SHIFT`]), so an owner whose blocks keep to that can walk a chunk from block to block.

use super::{Arena, CHUNK_BYTES, NONE, Ref, Share};
use crate::platform::sync::atomic::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

const EXACT: usize = 64;
const STEPS: usize = 8;
/// The largest block within a chunk, in bytes.
const SMALL_BYTES_MAX: usize = CHUNK_BYTES / 2;
/// How many classes lie within a chunk.
const CLASSES: usize = 128;
/// The class of a span.
pub const CLASS_SPAN: u8 = 255;
/// Blocks that are multiples of this are reused in parts and joined before a new chunk is taken.
const LINE_BYTES: usize = 64;
/// So many cache lines of a block that is about to be filled are fetched; behind them the processor sees where that leads.
const FILLED_LINES: usize = 4;
/// Free blocks are much from this share of what is held,
const MUCH_SHARE: usize = 64;
/// and from so many bytes.
const MUCH_BYTES_MIN: usize = 2 * CHUNK_BYTES;
/// A chunk's blocks are worth joining where so much of it is free: less lies too far apart.
const JOINED_SHARE: usize = 16;
/// Of what is guaranteed, one part in so many is left to others that are guaranteed it.
const FLOOR_SHARE: usize = 16;
/// Where the class stands in a block's second word.
pub const CLASS_SHIFT: u32 = 48;

/// The class of a block of at least `bytes`; [`CLASS_SPAN`] where it needs whole chunks.
#[inline]
pub fn class_of(bytes: usize) -> u8 {
    let words = bytes.div_ceil(8).max(2);
    if words <= EXACT && bytes <= SMALL_BYTES_MAX {
        return words as u8;
    }
    if bytes > SMALL_BYTES_MAX {
        return CLASS_SPAN;
    }
    // words lies in (2^top, 2^(top + 1)], cut into STEPS steps.
    let top = (words - 1).ilog2();
    let step = (words - (1 << top)).div_ceil((1 << top) / STEPS);
    (EXACT + (top as usize - 6) * STEPS + step) as u8
}

/// How many bytes a block of a class holds; 0 for a span.
#[inline]
pub fn class_bytes(class: u8) -> usize {
    let class = class as usize;
    if class <= EXACT {
        return class * 8;
    }
    if class >= CLASSES {
        return 0;
    }
    let above = class - EXACT - 1;
    let (top, step) = (6 + above / STEPS, above % STEPS + 1);
    ((1 << top) + step * ((1 << top) / STEPS)) * 8
}

/// What a walk over a chunk finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Walk {
    /// The block.
    pub at: Ref,
    /// Its second word.
    pub word: u64,
}

/// One owner's blocks.
#[derive(Debug)]
pub struct Allocator {
    arena: Arc<Arena>,
    share: Arc<Share>,
    free: [Ref; CLASSES],
    bump: Ref,
    bump_end: Ref,
    chunks: Vec<Ref>,
    spans: BTreeMap<Ref, u32>,
    /// Chunks of all spans.
    span_chunks: usize,
    used_bytes: usize,
    /// What was free when free blocks were last joined; less once less is.
    joined_bytes: usize,
    /// The chunk whose blocks were last joined by [`Allocator::coalesce`].
    joined_last: usize,
    /// Sizes are rounded up to this, which keeps blocks aligned to it.
    grain_bytes: usize,
    /// No chunk is taken while less than this is free in the share: it is left to others. Of what is guaranteed less is left.
    floor_bytes: usize,
}

impl Allocator {
    /// An allocator without any chunk, which takes them from a share of the budget. Blocks are multiples of `grain_bytes` (8 or 64) and aligned to it.
    pub fn new(share: &Arc<Share>, grain_bytes: usize) -> Self {
        debug_assert!(grain_bytes == 8 || grain_bytes == 64);
        Self {
            arena: Arc::clone(&share.arena),
            share: Arc::clone(share),
            free: [NONE; CLASSES],
            bump: NONE,
            bump_end: NONE,
            chunks: Vec::new(),
            spans: BTreeMap::new(),
            span_chunks: 0,
            used_bytes: 0,
            joined_bytes: 0,
            joined_last: 0,
            grain_bytes,
            floor_bytes: 0,
        }
    }

    /// Leaves the last `bytes` of the share to others.
    pub fn set_floor_bytes(&mut self, bytes: usize) {
        self.floor_bytes = bytes;
    }

    /// What is left to others.
    pub fn floor_bytes(&self) -> usize {
        self.floor_bytes
    }

    /// The arena.
    #[inline]
    pub fn arena(&self) -> &Arena {
        &self.arena
    }

    /// Bytes in blocks that are in use.
    pub fn used_bytes(&self) -> usize {
        self.used_bytes
    }

    /// Bytes in chunks and spans held.
    pub fn held_bytes(&self) -> usize {
        (self.chunks.len() + self.span_chunks) * CHUNK_BYTES
    }

    /// A block of at least `bytes` and its class; `None` where the budget has no chunk left.
    #[inline]
    pub fn allocate(&mut self, bytes: usize) -> Option<(Ref, u8)> {
        let class = class_of(bytes.next_multiple_of(self.grain_bytes));
        if class == CLASS_SPAN {
            return self.allocate_span(bytes).map(|at| (at, class));
        }
        let head = self.free[class as usize];
        let at = if head == NONE { self.cut(class)? } else { self.unlink(head, class) };
        let size = class_bytes(class);
        // The next one of this class: to be taken it has to be looked at, then it is filled, and it was left alone for long.
        let next = self.free[class as usize];
        for line in 0..size.div_ceil(LINE_BYTES).min(FILLED_LINES) {
            self.arena.prefetch(next + (line * LINE_BYTES / 8) as Ref);
        }
        self.used_bytes += size;
        let live = self.arena.live(at);
        live.store(live.load(Ordering::Relaxed) + size as u32, Ordering::Relaxed);
        Some((at, class))
    }

    fn allocate_span(&mut self, bytes: usize) -> Option<Ref> {
        let chunks = bytes.div_ceil(CHUNK_BYTES);
        let at = self.arena.take(&self.share, chunks)?;
        self.spans.insert(at, u32::try_from(chunks).ok()?);
        self.span_chunks += chunks;
        self.used_bytes += chunks * CHUNK_BYTES;
        Some(at)
    }

    /// Cuts a block out of the current chunk, a free one or a new chunk.
    fn cut(&mut self, class: u8) -> Option<Ref> {
        if !self.has_bump(class)
            && let Some(at) = self.reuse(class)
        {
            return Some(at);
        }
        self.carve(class).or_else(|| self.split(class))
    }

    /// Cuts a block out of free ones before a new chunk is taken, where much is free and blocks are large: pages of
    /// tables that grow together leave whole chunks of smaller ones behind.
    #[cold]
    fn reuse(&mut self, class: u8) -> Option<Ref> {
        let much = (self.held_bytes() / MUCH_SHARE).max(MUCH_BYTES_MIN);
        let free = self.free_bytes();
        if self.grain_bytes < LINE_BYTES || free < much {
            return None;
        }
        if free >= self.joined_bytes + much {
            // An empty chunk is cut anew with less left over than its halves.
            self.release_empty();
            self.join();
            self.joined_bytes = self.free_bytes();
        }
        // What is free is other blocks now, if less than at the last joining.
        self.joined_bytes = self.joined_bytes.min(free);
        self.split(class)
    }

    /// Bytes in free blocks.
    fn free_bytes(&self) -> usize {
        self.held_bytes().saturating_sub(self.used_bytes + (self.bump_end - self.bump) as usize * 8)
    }

    /// Joins free blocks that lie side by side, looking at free ones only.
    fn join(&mut self) {
        let mut free = Vec::new();
        for class in 0..CLASSES as u8 {
            let mut at = std::mem::replace(&mut self.free[class as usize], NONE);
            while at != NONE {
                free.push((at, class_bytes(class)));
                at = self.arena.word(at).load(Ordering::Relaxed) as Ref;
            }
        }
        free.sort_unstable();
        let end = |&(at, bytes): &(Ref, usize)| at + (bytes / 8) as Ref;
        for run in free.chunk_by(|a, b| end(a) == b.0 && !b.0.is_multiple_of((CHUNK_BYTES / 8) as Ref)) {
            self.link_run(run[0].0, run.iter().map(|&(_, bytes)| bytes).sum());
        }
    }

    /// Cuts a block out of a larger free one.
    #[cold]
    fn split(&mut self, class: u8) -> Option<Ref> {
        let size = class_bytes(class);
        // A rest of one word could hold no free block.
        let larger = (class as usize + 1..CLASSES).find(|&larger| {
            self.free[larger] != NONE && class_bytes(larger as u8) >= size && class_bytes(larger as u8) - size != 8
        })?;
        let at = self.unlink(self.free[larger], larger as u8);
        self.link_run(at + (size / 8) as Ref, class_bytes(larger as u8) - size);
        Some(at)
    }

    /// Makes free blocks of a run of bytes, the largest first.
    fn link_run(&mut self, mut at: Ref, mut bytes: usize) {
        while bytes > 0 {
            let mut class = class_of(bytes.min(SMALL_BYTES_MAX));
            while class_bytes(class) > bytes || bytes - class_bytes(class) == 8 {
                class -= 1;
            }
            self.link(at, class);
            at += (class_bytes(class) / 8) as Ref;
            bytes -= class_bytes(class);
        }
    }

    /// Joins free blocks that lie side by side, in the next `chunks` chunks where enough is free for that; only for owners whose
    /// blocks in use have a second word whose highest byte is not 0. Going over all of memory would take tens of milliseconds.
    pub fn coalesce(&mut self, mut chunks: usize) {
        for _ in 0..self.chunks.len() {
            if chunks == 0 {
                return;
            }
            self.joined_last = if self.joined_last + 1 < self.chunks.len() { self.joined_last + 1 } else { 0 };
            let chunk = self.chunks[self.joined_last];
            if CHUNK_BYTES - self.live_bytes(chunk) as usize >= CHUNK_BYTES / JOINED_SHARE {
                self.coalesce_chunk(chunk);
                chunks -= 1;
            }
        }
    }

    fn coalesce_chunk(&mut self, chunk: Ref) {
        let blocks: Vec<Walk> = self.walk(chunk).collect();
        for run in blocks.chunk_by(|a, b| a.word >> 56 == 0 && b.word >> 56 == 0) {
            if run.len() < 2 {
                continue;
            }
            let mut bytes = 0;
            for block in run {
                let class = (block.word >> CLASS_SHIFT) as u8;
                self.unlink(block.at, class);
                bytes += class_bytes(class);
            }
            self.link_run(run[0].at, bytes);
        }
    }

    #[cold]
    fn refill(&mut self) -> Option<()> {
        if !self.share.has_room_above(self.floor_bytes, CHUNK_BYTES, FLOOR_SHARE) {
            return None;
        }
        let at = self.arena.take(&self.share, 1)?;
        self.retire_tail();
        self.chunks.push(at);
        self.bump = at;
        self.bump_end = at + (CHUNK_BYTES / 8) as Ref;
        Some(())
    }

    /// Turns what is left of the current chunk into free blocks, so that the chunk can be walked to its end.
    fn retire_tail(&mut self) {
        let (at, end) = (self.bump, self.bump_end);
        self.bump = end;
        self.link_run(at, (end - at) as usize * 8);
    }

    /// Whether the current chunk has room for a block.
    fn has_bump(&self, class: u8) -> bool {
        let words = (class_bytes(class) / 8) as Ref;
        // A rest of one word could hold no free block, so such a block is not cut there.
        let fits = self.bump + words == self.bump_end || self.bump + words + 1 < self.bump_end;
        fits && self.bump != NONE
    }

    fn carve(&mut self, class: u8) -> Option<Ref> {
        if !self.has_bump(class) {
            self.refill()?;
        }
        let words = (class_bytes(class) / 8) as Ref;
        let at = self.bump;
        self.bump += words;
        Some(at)
    }

    /// Gives a block back. `class` is the one that [`Allocator::allocate`] returned.
    #[inline]
    pub fn free(&mut self, at: Ref, class: u8) {
        if class == CLASS_SPAN {
            if let Some(chunks) = self.spans.remove(&at) {
                self.span_chunks -= chunks as usize;
                self.used_bytes -= chunks as usize * CHUNK_BYTES;
                self.arena.give_back(&self.share, at, chunks as usize);
            }
            return;
        }
        let size = class_bytes(class);
        self.used_bytes -= size;
        let live = self.arena.live(at);
        live.store(live.load(Ordering::Relaxed) - size as u32, Ordering::Relaxed);
        self.link(at, class);
    }

    fn link(&mut self, at: Ref, class: u8) {
        let head = self.free[class as usize];
        // First word: next free block (low half), previous one (high half). Second word: class alone, kind 0.
        self.arena.word(at).store(u64::from(head), Ordering::Relaxed);
        self.arena.word(at + 1).store(u64::from(class) << CLASS_SHIFT, Ordering::Relaxed);
        if head != NONE {
            let next = self.arena.word(head).load(Ordering::Relaxed);
            self.arena.word(head).store(next & 0xFFFF_FFFF | u64::from(at) << 32, Ordering::Relaxed);
        }
        self.free[class as usize] = at;
    }

    /// Takes a block out of its list. The first one's way back isn't kept: it leads to nothing that is free, and isn't looked at. So
    /// taking that one looks at no other block, of which each is a cache miss of its own.
    fn unlink(&mut self, at: Ref, class: u8) -> Ref {
        let links = self.arena.word(at).load(Ordering::Relaxed);
        let (next, previous) = (links as u32, (links >> 32) as u32);
        if self.free[class as usize] == at {
            self.free[class as usize] = next;
            return at;
        }
        let word = self.arena.word(previous).load(Ordering::Relaxed);
        self.arena.word(previous).store(word & !0xFFFF_FFFF | u64::from(next), Ordering::Relaxed);
        if next != NONE {
            let word = self.arena.word(next).load(Ordering::Relaxed);
            self.arena.word(next).store(word & 0xFFFF_FFFF | u64::from(previous) << 32, Ordering::Relaxed);
        }
        at
    }

    /// How many bytes the block holds.
    pub fn capacity(&self, at: Ref, class: u8) -> usize {
        if class == CLASS_SPAN {
            self.spans.get(&at).map_or(0, |&n| n as usize * CHUNK_BYTES)
        } else {
            class_bytes(class)
        }
    }

    /// The chunks held, spans left out.
    pub fn chunks(&self) -> &[Ref] {
        &self.chunks
    }

    /// Bytes in use in a chunk.
    pub fn live_bytes(&self, chunk: Ref) -> u32 {
        self.arena.live(chunk).load(Ordering::Relaxed)
    }

    /// The blocks of a chunk from its start; only for owners that keep the class in the second word of every block.
    pub fn walk(&self, chunk: Ref) -> impl Iterator<Item = Walk> + use<> {
        let arena = Arc::clone(&self.arena);
        let full = chunk + (CHUNK_BYTES / 8) as Ref;
        let end = if self.bump_end == full { self.bump } else { full };
        let mut at = chunk;
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let word = arena.word(at + 1).load(Ordering::Relaxed);
            let found = Walk { at, word };
            at += (class_bytes((word >> CLASS_SHIFT) as u8) / 8).max(2) as Ref;
            Some(found)
        })
    }

    /// Gives every chunk back none of whose blocks is in use. Returns how many. Looks at the blocks of those alone; all of them
    /// are free, and say their class.
    pub fn release_empty(&mut self) -> usize {
        (0..self.chunks.len()).rev().filter(|&index| self.release_if_empty(index)).count()
    }

    /// Gives the `index`-th chunk back if none of its blocks is in use; the last chunk takes its place.
    pub fn release_if_empty(&mut self, index: usize) -> bool {
        let chunk = self.chunks[index];
        if self.arena.live(chunk).load(Ordering::Relaxed) != 0 {
            return false;
        }
        if self.bump_end == chunk + (CHUNK_BYTES / 8) as Ref {
            self.retire_tail();
            (self.bump, self.bump_end) = (NONE, NONE);
        }
        let blocks: Vec<Walk> = self.walk(chunk).collect();
        for block in blocks {
            self.unlink(block.at, (block.word >> CLASS_SHIFT) as u8);
        }
        self.chunks.swap_remove(index);
        self.arena.give_back(&self.share, chunk, 1);
        true
    }
}

impl Drop for Allocator {
    fn drop(&mut self) {
        for &chunk in &self.chunks {
            self.arena.live(chunk).store(0, Ordering::Relaxed);
            self.arena.give_back(&self.share, chunk, 1);
        }
        for (&at, &chunks) in &self.spans {
            self.arena.give_back(&self.share, at, chunks as usize);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    #[cfg(all(target_os = "linux", not(loom)))]
    fn huge_pages_are_denied_where_the_kernel_has_none() {
        let memory = std::path::Path::new("/sys/kernel/mm");
        // Nothing says what the kernel has where that isn't mounted, as in a bare chroot.
        if memory.exists() {
            let arena = Arena::new(4 << 20, 4 << 20).unwrap();
            assert_eq!(arena.has_huge_pages(), memory.join("transparent_hugepage").exists());
        }
    }

    #[test]
    fn a_class_holds_what_it_is_chosen_for_and_wastes_an_eighth_at_most() {
        let mut last = 0;
        for bytes in 1..=SMALL_BYTES_MAX {
            let class = class_of(bytes);
            let size = class_bytes(class);
            assert!(size >= bytes && (class as usize) < CLASSES, "{bytes} in class {class} of {size}");
            assert!(size <= bytes.next_multiple_of(8).max(16) + bytes / 8 + 8, "{bytes} in {size}");
            assert!(size >= last);
            assert!(bytes <= 512 || size.is_multiple_of(64));
            last = size;
        }
        assert_eq!(class_of(SMALL_BYTES_MAX + 1), CLASS_SPAN);
    }

    #[test]
    fn blocks_never_overlap_and_empty_chunks_go_back() {
        let arena = Arc::new(Arena::new(64 * CHUNK_BYTES, 0).unwrap());
        let mut allocator = Allocator::new(&Share::of(&arena), 8);
        let mut live: Vec<(Ref, u8, usize, u8)> = Vec::new();
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut random = move |n: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % n as u64) as usize
        };
        for round in 0..20_000 {
            if random(3) > 0 {
                let bytes = if random(50) == 0 { random(100_000) + 1 } else { random(600) + 16 };
                if let Some((at, class)) = allocator.allocate(bytes) {
                    // The second word carries the class, as walking needs; the rest is a pattern to be found again.
                    let fill = round as u8;
                    arena.word(at).store(u64::from(fill), Ordering::Relaxed);
                    arena.word(at + 1).store(u64::from(class) << CLASS_SHIFT | 1 << 56, Ordering::Relaxed);
                    arena.write(at + 2, &vec![fill; bytes.saturating_sub(16)]);
                    live.push((at, class, bytes, fill));
                }
            } else if random(200) == 0 {
                allocator.coalesce(random(4) + 1);
            } else if !live.is_empty() {
                let (at, class, bytes, fill) = live.swap_remove(random(live.len()));
                assert_eq!(arena.word(at).load(Ordering::Relaxed), u64::from(fill));
                assert!(arena.equals(at + 2, &vec![fill; bytes.saturating_sub(16)]), "block {at} was overwritten");
                allocator.free(at, class);
            }
        }
        for (at, class, ..) in live.drain(..) {
            allocator.free(at, class);
        }
        assert_eq!(allocator.used_bytes(), 0);
        for index in (0..allocator.chunks().len()).rev() {
            assert!(allocator.release_if_empty(index));
        }
        assert_eq!(arena.used_bytes(), 0);
        assert!(allocator.allocate(100).is_some());
    }

    #[test]
    fn taking_the_first_free_block_touches_no_other() {
        let arena = Arc::new(Arena::new(64 * CHUNK_BYTES, 0).unwrap());
        let mut allocator = Allocator::new(&Share::of(&arena), 8);
        let blocks: Vec<(Ref, u8)> = (0..4).map(|_| allocator.allocate(40).unwrap()).collect();
        for &(at, class) in &blocks {
            allocator.free(at, class);
        }
        let words = |at: Ref| [arena.word(at).load(Ordering::Relaxed), arena.word(at + 1).load(Ordering::Relaxed)];
        for taken in (0..4).rev() {
            let before: Vec<[u64; 2]> = blocks[..taken].iter().map(|&(at, _)| words(at)).collect();
            assert_eq!(allocator.allocate(40), Some(blocks[taken]), "the last one that was freed");
            let after: Vec<[u64; 2]> = blocks[..taken].iter().map(|&(at, _)| words(at)).collect();
            assert_eq!(before, after);
        }
    }

    #[test]
    fn freed_lines_are_joined_before_a_new_chunk_is_taken() {
        let arena = Arc::new(Arena::new(64 * CHUNK_BYTES, 0).unwrap());
        let mut allocator = Allocator::new(&Share::of(&arena), 64);
        let small: Vec<(Ref, u8)> = (0..512).map(|_| allocator.allocate(1024).unwrap()).collect();
        let held = allocator.held_bytes();
        assert_eq!(held, 512 * 1024);
        for &(at, class) in &small {
            arena.write(at, &[9; 1024]);
            allocator.free(at, class);
        }
        let mut large: Vec<(Ref, u8)> = (0..130).map(|_| allocator.allocate(3072).unwrap()).collect();
        assert!(allocator.held_bytes() <= held, "{} bytes held", allocator.held_bytes());
        large.sort_unstable();
        for pair in large.windows(2) {
            assert!(pair[0].0 + 3072 / 8 <= pair[1].0, "blocks {pair:?} overlap");
        }
        for (at, class) in large {
            allocator.free(at, class);
        }
        assert_eq!(allocator.used_bytes(), 0);
        allocator.release_empty();
        assert_eq!(arena.used_bytes(), 0);
    }

    #[test]
    fn a_walk_sees_every_block_of_a_chunk_once() {
        let arena = Arc::new(Arena::new(8 * CHUNK_BYTES, 0).unwrap());
        let mut allocator = Allocator::new(&Share::of(&arena), 8);
        let mut placed = Vec::new();
        for n in 0..900_usize {
            let (at, class) = allocator.allocate(16 + n % 200).unwrap();
            arena.word(at + 1).store(u64::from(class) << CLASS_SHIFT | 1 << 56, Ordering::Relaxed);
            placed.push(at);
        }
        let mut seen: Vec<Ref> = allocator
            .chunks()
            .iter()
            .flat_map(|&chunk| allocator.walk(chunk))
            .filter(|block| block.word >> 56 == 1)
            .map(|block| block.at)
            .collect();
        // The ends of chunks are cut into blocks that are used later, so the order is not that of allocation.
        seen.sort_unstable();
        placed.sort_unstable();
        assert_eq!(seen, placed);
    }
}
