//! The hash table of one (key group, state): an extendible directory of pages of buckets.
//!
//! A page holds 1 to 64 buckets and grows in small steps; a full page of 64 splits in two by the next bit of the hash,
//! so growth moves one page at a time and there is no pause for rehashing (Fagin et al., *Extendible hashing*, 1979).
//! A record lies in its home bucket or in one of the next few; how many passed a bucket is counted there.
//!
//! The [`Head`] is what readers see: one word that leads to the page or to the directory. The owner publishes a page
//! (or a directory) only when it is complete, and retires the one that it replaces.

use crate::hot::bucket::{self, BUCKET_WORDS, SLOTS, Tags, tag_of};
use crate::hot::{Memory, OutOfMemory};
use crate::platform::arena::{Arena, NONE, Ref, Words, class_of};
use crate::platform::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The sizes that a page grows through, in buckets.
const PAGE_BUCKETS: [u8; 12] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64];
const PAGE_BUCKETS_MAX: u8 = 64;
/// A record goes no further than this from home before its page grows.
const REACH: u32 = 4;
const DEPTH_MAX: u32 = 26;
const BUCKET_BYTES: usize = BUCKET_WORDS as usize * 8;

/// Something older may be on disk: a miss in the table is no answer.
pub const SPILLED: u32 = 1;

/// Entries of maps may be where readers beside the owner don't look: they ask the owner.
#[cfg(not(loom))]
const FAR: u32 = 2;

/// What readers see of a table; 16 bytes.
#[derive(Debug, Default)]
pub struct Head {
    root: AtomicU64,
    flags: AtomicU32,
}

/// A reference to a page (or, as a root, to a directory), packed in a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Page {
    at: Ref,
    buckets: u8,
    depth: u8,
}

impl Page {
    const fn pack(self) -> u64 {
        self.at as u64 | (self.buckets as u64) << 32 | (self.depth as u64) << 40
    }

    const fn unpack(word: u64) -> Self {
        Self { at: word as u32, buckets: (word >> 32) as u8, depth: (word >> 40) as u8 }
    }

    #[inline(always)]
    const fn home(self, hash: u64) -> u32 {
        (((hash >> 8) as u32 as u64 * self.buckets as u64) >> 32) as u32
    }

    #[inline(always)]
    const fn bucket(self, index: u32) -> Ref {
        self.at + index * BUCKET_WORDS
    }

    const fn bytes(self) -> usize {
        self.buckets as usize * BUCKET_BYTES
    }
}

/// Where a record was found.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    bucket: Ref,
    slot: u32,
    /// How many buckets from home.
    steps: u32,
    page: Page,
}

impl Place {
    /// Makes the slot refer to another record of the same key.
    #[inline]
    pub fn swing(self, arena: &Arena, to: Ref) {
        bucket::swing(arena, self.bucket, self.slot, to);
    }
}

impl Head {
    /// Whether a miss is no answer.
    #[inline]
    pub fn is_spilled(&self) -> bool {
        // Pairs with `set_spilled`: a reader that sees the slot of an evicted record empty (Acquire, in `bucket`) sees this.
        self.flags.load(Ordering::Acquire) & SPILLED != 0
    }

    /// Says whether a miss is no answer; set before anything is evicted.
    pub fn set_spilled(&self, spilled: bool) {
        let others = self.flags.load(Ordering::Relaxed) & !SPILLED;
        self.flags.store(others | if spilled { SPILLED } else { 0 }, Ordering::Release);
    }

    /// Whether there are entries that aren't in the table.
    #[cfg(not(loom))]
    #[inline]
    pub fn has_far(&self) -> bool {
        // Pairs with `set_far`: who sees that there are none finds them in the table, or another view.
        self.flags.load(Ordering::Acquire) & FAR != 0
    }

    /// Says so, before the first is put, or that they are in the table or on disk. Only the owner changes it.
    #[cfg(not(loom))]
    pub fn set_far(&self, far: bool) {
        let others = self.flags.load(Ordering::Relaxed) & !FAR;
        self.flags.store(others | if far { FAR } else { 0 }, Ordering::Release);
    }

    #[inline(always)]
    fn root(&self) -> Page {
        // Pairs with the stores of `insert`, `install` and `double`: whoever sees a page or directory sees what is in it.
        Page::unpack(self.root.load(Ordering::Acquire))
    }

    #[inline(always)]
    fn page(&self, words: Words<'_>, hash: u64) -> Page {
        let root = self.root();
        if root.depth == 0 {
            return root;
        }
        let entry = root.at + (hash >> (64 - u32::from(root.depth))) as Ref;
        // Pairs with `install`.
        Page::unpack(words.word(entry).load(Ordering::Acquire))
    }

    /// The home bucket of a hash; [`NONE`], which holds no tags, in an empty table.
    #[cfg(not(loom))]
    #[inline(always)]
    pub fn home(&self, words: Words<'_>, hash: u64) -> Ref {
        let page = self.page(words, hash);
        page.bucket(page.home(hash))
    }

    /// The bucket behind the home bucket of a hash, where records go that found no room; [`NONE`] at the page's end.
    #[cfg(not(loom))]
    #[inline]
    pub fn next_to_home(&self, words: Words<'_>, hash: u64) -> Ref {
        let page = self.page(words, hash);
        let next = page.home(hash) + 1;
        if next < u32::from(page.buckets) { page.bucket(next) } else { NONE }
    }

    /// Fetches the home bucket of a hash into the cache.
    #[inline]
    pub fn prefetch(&self, arena: &Arena, hash: u64) {
        let page = self.page(arena.words(), hash);
        if page.at != NONE {
            arena.prefetch(page.bucket(page.home(hash)));
        }
    }

    /// The record of this hash that `is_it` accepts, and where it lies.
    #[inline(always)]
    pub fn find(&self, arena: &Arena, hash: u64, mut is_it: impl FnMut(Ref) -> bool) -> Option<(Ref, Place)> {
        let words = arena.words();
        let page = self.page(words, hash);
        if page.at == NONE {
            return None;
        }
        let tag = tag_of(hash);
        let mut index = page.home(hash);
        for steps in 0..u32::from(page.buckets) {
            let at = page.bucket(index);
            let tags = Tags::load(words, at);
            let mut mask = tags.matches(tag);
            while mask != 0 {
                let slot = mask.trailing_zeros();
                let found = bucket::reference(words, at, slot);
                if found != NONE && is_it(found) {
                    return Some((found, Place { bucket: at, slot, steps, page }));
                }
                mask &= mask - 1;
            }
            if tags.passed() == 0 {
                return None;
            }
            index = if index + 1 == u32::from(page.buckets) { 0 } else { index + 1 };
        }
        None
    }

    /// What `is_it` makes of the first record that it accepts among those whose tag fits the hash: as [`Head::find`], for the owner alone,
    /// and without a place. A slot may be empty still, [`NONE`].
    #[inline(always)]
    pub fn find_quickly<R>(&self, words: Words<'_>, hash: u64, mut is_it: impl FnMut(Ref) -> Option<R>) -> Option<R> {
        let page = self.page(words, hash);
        if page.at == NONE {
            return None;
        }
        let tag = tag_of(hash);
        let mut index = page.home(hash);
        loop {
            let at = page.bucket(index);
            let tags = Tags::load(words, at);
            let mut mask = tags.matches(tag);
            while mask != 0 {
                let found = is_it(bucket::reference(words, at, mask.trailing_zeros()));
                if found.is_some() {
                    return found;
                }
                mask &= mask - 1;
            }
            if tags.passed() == 0 {
                return None;
            }
            index = if index + 1 == u32::from(page.buckets) { 0 } else { index + 1 };
            if index == page.home(hash) {
                return None;
            }
        }
    }

    /// Fetches the first record whose tag fits the hash into the cache.
    #[inline]
    pub fn prefetch_record(&self, arena: &Arena, hash: u64) {
        if let Some(record) = self.first_alike(arena, hash) {
            arena.prefetch(record);
            // As often as not its value lies in the next cache line.
            arena.prefetch(record + 4);
        }
    }

    /// The first record in the home bucket whose tag fits the hash.
    #[inline]
    pub fn first_alike(&self, arena: &Arena, hash: u64) -> Option<Ref> {
        let words = arena.words();
        let page = self.page(words, hash);
        if page.at == NONE {
            return None;
        }
        let at = page.bucket(page.home(hash));
        let mask = Tags::load(words, at).matches(tag_of(hash));
        (mask != 0).then(|| bucket::reference(words, at, mask.trailing_zeros())).filter(|&record| record != NONE)
    }

    /// Adds a record that is not there yet. `hash_of` tells the hash of a record that is, for growing.
    pub fn insert(
        &self,
        memory: &mut Memory,
        hash: u64,
        record: Ref,
        hash_of: &impl Fn(&Arena, Ref) -> u64,
    ) -> Result<(), OutOfMemory> {
        if self.root().at == NONE {
            let page = new_page(memory, PAGE_BUCKETS[0], 0)?;
            self.root.store(page.pack(), Ordering::Release);
        }
        loop {
            let page = self.page(memory.arena().words(), hash);
            if place(memory.arena(), page, hash, record, REACH) {
                return Ok(());
            }
            self.grow(memory, hash, page, hash_of)?;
        }
    }

    /// Takes a record out. Its block stays the caller's.
    pub fn remove(&self, arena: &Arena, found: Place) {
        bucket::clear(arena, found.bucket, found.slot);
        let first = (found.bucket - found.page.at) / BUCKET_WORDS;
        for step in 1..=found.steps {
            let index = (first + u32::from(found.page.buckets) - step) % u32::from(found.page.buckets);
            bucket::pass(arena, found.page.bucket(index), false);
        }
    }

    #[cold]
    fn grow(
        &self,
        memory: &mut Memory,
        hash: u64,
        page: Page,
        hash_of: &impl Fn(&Arena, Ref) -> u64,
    ) -> Result<(), OutOfMemory> {
        let records = records_of(memory.arena(), page, hash_of);
        let Some(&larger) = PAGE_BUCKETS.iter().find(|&&buckets| buckets > page.buckets) else {
            return self.split(memory, hash, page, &records);
        };
        let grown = new_page(memory, larger, page.depth)?;
        fill(memory.arena(), grown, records.iter());
        self.install(memory.arena(), hash, grown, page.depth);
        retire_page(memory, page);
        Ok(())
    }

    fn split(&self, memory: &mut Memory, hash: u64, page: Page, records: &[(u64, Ref)]) -> Result<(), OutOfMemory> {
        let depth = page.depth + 1;
        if u32::from(depth) > DEPTH_MAX {
            // Hashes are keyed, so nobody can lead us here but a table beyond what an arena holds.
            return Err(OutOfMemory { bytes: page.bytes() });
        }
        if depth > self.root().depth {
            self.double(memory)?;
        }
        let bit = 64 - u32::from(depth);
        let is_high = |&&(hash, _): &&(u64, Ref)| hash >> bit & 1 == 1;
        let highs = records.iter().filter(is_high).count();
        let low = new_page(memory, buckets_for(records.len() - highs), depth)?;
        let high = match new_page(memory, buckets_for(highs), depth) {
            Ok(high) => high,
            Err(error) => {
                memory.free_index(low.at, class_of(low.bytes()));
                return Err(error);
            }
        };
        fill(memory.arena(), low, records.iter().filter(|record| !is_high(record)));
        fill(memory.arena(), high, records.iter().filter(is_high));
        let prefix = hash >> bit & !1;
        self.install(memory.arena(), prefix << bit, low, depth);
        self.install(memory.arena(), (prefix | 1) << bit, high, depth);
        retire_page(memory, page);
        Ok(())
    }

    /// Makes every directory entry of the hash's first `depth` bits lead to `page`.
    fn install(&self, arena: &Arena, hash: u64, page: Page, depth: u8) {
        let root = self.root();
        if root.depth == 0 {
            self.root.store(page.pack(), Ordering::Release);
            return;
        }
        let spread = root.depth - depth;
        let first = ((hash >> (64 - u32::from(root.depth))) >> spread << spread) as Ref;
        for entry in first..first + (1 << spread) {
            arena.word(root.at + entry).store(page.pack(), Ordering::Release);
        }
    }

    fn double(&self, memory: &mut Memory) -> Result<(), OutOfMemory> {
        let root = self.root();
        let entries = 1_usize << root.depth;
        let bytes = entries * 2 * 8;
        let (at, _) = memory.allocate_index(bytes).ok_or(OutOfMemory { bytes })?;
        let arena = memory.arena();
        for entry in 0..entries as Ref {
            // Relaxed: the owner's own stores, and a block that nobody knows of before the root leads to it.
            let page = if root.depth == 0 { root.pack() } else { arena.word(root.at + entry).load(Ordering::Relaxed) };
            arena.word(at + entry * 2).store(page, Ordering::Relaxed);
            arena.word(at + entry * 2 + 1).store(page, Ordering::Relaxed);
        }
        self.root.store(Page { at, buckets: 0, depth: root.depth + 1 }.pack(), Ordering::Release);
        if root.depth > 0 {
            memory.retire_index(root.at, class_of((entries * 8).next_multiple_of(64)));
        }
        Ok(())
    }

    /// How many pages there are to be visited by [`Head::visit_page`]: directory entries, some of which share a page.
    pub fn page_count(&self) -> usize {
        let root = self.root();
        if root.at == NONE { 0 } else { 1 << root.depth }
    }

    /// Calls `visit` with every record of the page behind a directory entry. A page with several entries is visited
    /// at its first only.
    pub fn visit_page(&self, arena: &Arena, entry: usize, visit: impl FnMut(Ref)) {
        let root = self.root();
        let page = if root.depth == 0 {
            root
        } else {
            let load = |entry: usize| Page::unpack(arena.word(root.at + entry as Ref).load(Ordering::Relaxed));
            let page = load(entry);
            if entry > 0 && load(entry - 1) == page {
                return;
            }
            page
        };
        visit_records(arena, page, visit);
    }

    /// Calls `visit` with every record of the page that a hash leads to; the first hash behind that page's, if any: so a
    /// walk finds its place again however the table has grown.
    #[cfg(not(loom))]
    pub fn visit_page_of(&self, arena: &Arena, hash: u64, visit: impl FnMut(Ref)) -> Option<u64> {
        let page = self.page(arena.words(), hash);
        visit_records(arena, page, visit);
        if page.depth == 0 {
            return None;
        }
        let shift = 64 - u32::from(page.depth);
        ((hash >> shift) + 1).checked_mul(1 << shift)
    }

    /// Empties the table in one step; what was in it is to be taken apart piece by piece.
    #[cfg(not(loom))]
    pub fn detach(&self) -> Option<Detached> {
        let root = self.root();
        if root.at == NONE {
            return None;
        }
        self.root.store(0, Ordering::Release);
        Some(Detached { root, entry: 0, bucket: 0 })
    }

    /// Takes the whole table apart; the records' blocks stay the caller's.
    pub fn clear(&self, memory: &mut Memory) {
        let root = self.root();
        if root.at == NONE {
            return;
        }
        self.root.store(0, Ordering::Release);
        if root.depth == 0 {
            retire_page(memory, root);
            return;
        }
        let entries = 1_usize << root.depth;
        let mut last = NONE;
        for entry in 0..entries as Ref {
            let page = Page::unpack(memory.arena().word(root.at + entry).load(Ordering::Relaxed));
            if page.at != last {
                last = page.at;
                retire_page(memory, page);
            }
        }
        memory.retire_index(root.at, class_of((entries * 8).next_multiple_of(64)));
    }
}

/// What was in a table that was emptied in one step.
#[cfg(not(loom))]
#[derive(Debug)]
pub struct Detached {
    root: Page,
    /// The directory's entry whose page comes next.
    entry: usize,
    /// The bucket of that page which comes next.
    bucket: u32,
}

/// How many buckets of a detached table are gone through at once.
#[cfg(not(loom))]
const BUCKETS_AT_ONCE: u32 = 16;

#[cfg(not(loom))]
impl Detached {
    /// Puts the records of the next few buckets into `records`, and frees what led to them; false where that was all.
    pub fn take_some(&mut self, memory: &mut Memory, records: &mut Vec<Ref>) -> bool {
        let Self { root, entry, bucket } = self;
        let entries = 1_usize << root.depth;
        let load = |arena: &Arena, entry: usize| match root.depth {
            0 => *root,
            _ => Page::unpack(arena.word(root.at + entry as Ref).load(Ordering::Relaxed)),
        };
        let page = load(memory.arena(), *entry);
        let to = (*bucket + BUCKETS_AT_ONCE).min(u32::from(page.buckets));
        visit_buckets(memory.arena(), page, *bucket..to, |at| records.push(at));
        *bucket = to;
        if to < u32::from(page.buckets) {
            return true;
        }
        *bucket = 0;
        while *entry < entries && load(memory.arena(), *entry) == page {
            *entry += 1;
        }
        retire_page(memory, page);
        if *entry < entries {
            return true;
        }
        if root.depth > 0 {
            memory.retire_index(root.at, class_of((entries * 8).next_multiple_of(64)));
        }
        false
    }
}

fn visit_records(arena: &Arena, page: Page, visit: impl FnMut(Ref)) {
    if page.at != NONE {
        visit_buckets(arena, page, 0..u32::from(page.buckets), visit);
    }
}

fn visit_buckets(arena: &Arena, page: Page, buckets: std::ops::Range<u32>, mut visit: impl FnMut(Ref)) {
    if buckets.is_empty() {
        return;
    }
    prefetch_all(arena, page.bucket(buckets.start));
    for index in buckets.clone() {
        let at = page.bucket(index);
        if index + 1 < buckets.end {
            prefetch_all(arena, at + BUCKET_WORDS);
        }
        for slot in slots(!Tags::load(arena.words(), at).empties()) {
            visit(bucket::reference(arena.words(), at, slot));
        }
    }
}

fn prefetch_all(arena: &Arena, bucket_at: Ref) {
    for slot in slots(!Tags::load(arena.words(), bucket_at).empties()) {
        arena.prefetch(bucket::reference(arena.words(), bucket_at, slot));
    }
}

fn new_page(memory: &mut Memory, buckets: u8, depth: u8) -> Result<Page, OutOfMemory> {
    let bytes = usize::from(buckets) * BUCKET_BYTES;
    let (at, _) = memory.allocate_index(bytes).ok_or(OutOfMemory { bytes })?;
    Ok(Page { at, buckets, depth })
}

fn retire_page(memory: &mut Memory, page: Page) {
    memory.retire_index(page.at, class_of(page.bytes()));
}

/// Puts a record into the first bucket with room, at most `reach` buckets from home.
#[inline]
fn place(arena: &Arena, page: Page, hash: u64, record: Ref, reach: u32) -> bool {
    let buckets = u32::from(page.buckets);
    let home = page.home(hash);
    for steps in 0..reach.min(buckets) {
        let at = page.bucket((home + steps) % buckets);
        let empties = Tags::load(arena.words(), at).empties();
        if empties != 0 {
            for step in 0..steps {
                bucket::pass(arena, page.bucket((home + step) % buckets), true);
            }
            bucket::put(arena, at, empties.trailing_zeros(), tag_of(hash), record);
            return true;
        }
    }
    false
}

/// How many buckets hold so many records at three quarters of their slots.
fn buckets_for(records: usize) -> u8 {
    let wanted = records.div_ceil(SLOTS * 3 / 4);
    PAGE_BUCKETS.iter().copied().find(|&buckets| usize::from(buckets) >= wanted).unwrap_or(PAGE_BUCKETS_MAX)
}

/// The records of a page with their hashes.
fn records_of(arena: &Arena, page: Page, hash_of: &impl Fn(&Arena, Ref) -> u64) -> Vec<(u64, Ref)> {
    let mut records = Vec::with_capacity(usize::from(page.buckets) * SLOTS);
    visit_records(arena, page, |record| records.push((hash_of(arena, record), record)));
    records
}

/// Puts records into a page that holds as many: within the whole page there is a place for each.
fn fill<'a>(arena: &Arena, page: Page, records: impl Iterator<Item = &'a (u64, Ref)>) {
    for &(hash, record) in records {
        let placed = place(arena, page, hash, record, u32::MAX);
        assert!(placed, "a page of {} buckets overflowed", page.buckets);
    }
}

/// The slots whose bit is set.
fn slots(mask: u32) -> impl Iterator<Item = u32> {
    (0..SLOTS as u32).filter(move |slot| mask >> slot & 1 == 1)
}
