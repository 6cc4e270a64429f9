//! A record: one version of one cell, list chunk or map entry in memory.
//!
//! ```text
//! word 0   stamp u32 (low) | sequence u32 (high)
//! word 1   value length u32 | key length u16 | size class u8 | kind and flags u8   (from low to high)
//! [link]   for chains, containers and entries: reference u32 | kind's own u32
//! [expiry] ms u64, where the flag says so
//! key      padded to a word          value      up to the block's end: spare capacity
//! ```
//!
//! The *key area* of a cell, chain or container is `key`, or `key | namespace | len(namespace) u16` with the flag
//! [`NAMESPACE`]; of an entry it is the user key alone, and its link names the container.
//!
//! Invariants: layout (kind's link, expiry flag, key) never changes once a record is published; the value, its length
//! and the expiry change only while the sequence is odd, or by one atomic store of one word; only the owner writes.

use crate::hot::Memory;
use crate::platform::arena::{Arena, Ref};
use crate::platform::sync::atomic::{Ordering, fence};

/// A free block.
pub const FREE: u8 = 0;
/// The full value of a cell.
pub const VALUE: u8 = 1;
/// A deleted cell; of a map's container: everything older of the map is deleted.
pub const TOMBSTONE: u8 = 2;
/// A part of a list or merging state: what was appended in one epoch. Links to the chunk before it.
pub const CHAIN: u8 = 3;
/// A map's container: the root of its order. Never flushed.
pub const ROOT: u8 = 4;
/// A map entry.
pub const ENTRY: u8 = 5;
/// A deleted map entry.
pub const ENTRY_TOMBSTONE: u8 = 6;
/// A record that left the table. It may still stand in a dirty list, and readers may still look at it.
pub const DEAD: u8 = 7;
const KIND: u8 = 0x07;

/// The key area ends in a namespace.
pub const NAMESPACE: u8 = 0x08;
/// An expiry stands before the key.
pub const EXPIRY: u8 = 0x10;
/// Nothing older is on disk, or it is masked there; so deletion needs no tombstone.
pub const FRESH: u8 = 0x20;
/// Used since the clock's hand passed.
pub const USED: u8 = 0x40;
/// Of a chain: nothing older counts, neither the link nor the disk.
pub const BASE: u8 = 0x80;
/// Of a value or an entry: there was nothing older in memory, and the disk wasn't asked; it is where the record is deleted in
/// the epoch that it is of. Lists and merging states have none.
pub const LONE: u8 = BASE;

/// What a record of this kind has of the flags that say what is older. They are of its first epoch alone.
#[inline]
pub const fn first_flags(kind: u8) -> u8 {
    match kind {
        VALUE | ENTRY => FRESH | LONE,
        _ => FRESH,
    }
}

/// Whether a record of this kind is one of a cell: a value, its tombstone or a chain.
#[inline]
pub const fn is_cell(kind: u8) -> bool {
    matches!(kind, VALUE | TOMBSTONE | CHAIN)
}

/// The seed of a container's or cell's hash, from its key area.
#[inline(always)]
pub fn hash_area(area: &[u8], namespaced: bool, seed: u64) -> u64 {
    let seed = seed.wrapping_add(u64::from(namespaced));
    if let (Some(first), Some(last), 8..=16) = (area.first_chunk::<8>(), area.last_chunk::<8>(), area.len()) {
        return hash_short(u64::from_le_bytes(*first), u64::from_le_bytes(*last), area.len(), seed);
    }
    hash_any(area, seed)
}

#[inline(never)]
fn hash_any(area: &[u8], seed: u64) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(area, seed)
}

/// The hash of 8 to 16 bytes, as two words that may overlap: one multiplication of 64 by 64 bits, whose halves are
/// folded (as in Yi, *wyhash*, and Peters, *foldhash*). Keys mostly have this length, and on the quick path a longer
/// hash would take a seventh of all instructions.
#[inline(always)]
fn hash_short(first: u64, last: u64, len: usize, seed: u64) -> u64 {
    let a = first ^ seed.rotate_left(len as u32);
    let b = last ^ seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x2D35_8DCC_AA6C_78A5;
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// The hash of a map entry, from its container's.
#[inline]
pub fn hash_entry(user_key: &[u8], container_hash: u64) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(user_key, container_hash)
}

/// What a record is made of.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// Kind and flags.
    pub tag: u8,
    /// The epoch it was written in.
    pub stamp: u32,
    /// The link word; ignored for kinds without.
    pub link: u64,
    /// The expiry in ms; present exactly where the flag is.
    pub expiry_ms: u64,
    /// The key area.
    pub area: &'a [u8],
    /// The value, in parts that are put one after another.
    pub value: [&'a [u8]; 2],
    /// Bytes to keep free behind the value.
    pub spare: usize,
}

/// A record's place and its second word as last loaded.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// Its place.
    pub at: Ref,
    word: u64,
}

/// What a reader copied of a record, along with its value.
#[derive(Clone, Copy, Debug)]
pub struct Copied {
    /// The record as it was then.
    pub record: Record,
    /// The epoch of its last change.
    pub stamp: u32,
    /// When it expires, in ms of the writer's clock.
    pub expiry_ms: Option<u64>,
}

#[inline]
const fn has_link(kind: u8) -> bool {
    matches!(kind, CHAIN | ROOT | ENTRY | ENTRY_TOMBSTONE)
}

#[inline]
const fn lead_words(tag: u8) -> Ref {
    2 + has_link(tag & KIND) as Ref + (tag & EXPIRY != 0) as Ref
}

/// How many bytes a record of these sizes takes, spare capacity left out.
pub const fn record_bytes(tag: u8, area: usize, value: usize) -> usize {
    lead_words(tag) as usize * 8 + area.next_multiple_of(8) + value
}

impl Record {
    /// Writes a new record that nobody sees yet; `None` where memory is out.
    pub fn create(memory: &mut Memory, parts: Parts<'_>) -> Option<Self> {
        let value_bytes = parts.value[0].len() + parts.value[1].len();
        let bytes = record_bytes(parts.tag, parts.area.len(), value_bytes) + parts.spare;
        let (at, class) = memory.allocate_record(bytes)?;
        let arena = memory.arena();
        let word =
            value_bytes as u64 | (parts.area.len() as u64) << 32 | u64::from(class) << 48 | u64::from(parts.tag) << 56;
        arena.word(at).store(u64::from(parts.stamp), Ordering::Relaxed);
        arena.word(at + 1).store(word, Ordering::Relaxed);
        let record = Self { at, word };
        if has_link(record.kind()) {
            arena.word(at + 2).store(parts.link, Ordering::Relaxed);
        }
        if record.has(EXPIRY) {
            arena.word(record.expiry_at()).store(parts.expiry_ms, Ordering::Relaxed);
        }
        arena.write(record.area_at(), parts.area);
        arena.write(record.value_at(), parts.value[0]);
        if !parts.value[1].is_empty() {
            record.append_bytes(arena, parts.value[0].len(), parts.value[1]);
        }
        Some(record)
    }

    /// A copy of another epoch, not fresh, that nobody sees yet; `None` where memory is out. Only for values of full
    /// blocks or less than a span.
    pub fn duplicate(self, memory: &mut Memory, stamp: u32) -> Option<Self> {
        let words = self.value_at() - self.at + self.value_len().div_ceil(8) as Ref;
        let (at, class) = memory.allocate_record(words as usize * 8)?;
        let arena = memory.arena();
        let tag = self.tag() & !first_flags(self.kind());
        let word = self.word & !(0xFFFF << 48) | u64::from(class) << 48 | u64::from(tag) << 56;
        arena.word(at).store(u64::from(stamp), Ordering::Relaxed);
        arena.word(at + 1).store(word, Ordering::Relaxed);
        for index in 2..words {
            arena.word(at + index).store(arena.word(self.at + index).load(Ordering::Relaxed), Ordering::Relaxed);
        }
        Some(Self { at, word })
    }

    /// The record at `at`.
    #[inline(always)]
    pub fn load(arena: &Arena, at: Ref) -> Self {
        Self { at, word: arena.word(at + 1).load(Ordering::Relaxed) }
    }

    /// A copy in a larger block, extended by `parts`, put one after another, with `spare` bytes behind them, that nobody sees yet;
    /// `None` where memory is out. The link is the old one's, and the expiry where the layout has one. Only for values of less
    /// than a span.
    pub fn grown(
        self,
        memory: &mut Memory,
        tag: u8,
        stamp: u32,
        parts: [&[u8]; 2],
        spare: usize,
        expiry_ms: Option<u64>,
    ) -> Option<Self> {
        let words = self.value_at() - self.at + self.value_len().div_ceil(8) as Ref;
        let bytes = (self.value_at() - self.at) as usize * 8 + self.value_len() + parts[0].len() + parts[1].len();
        let (at, class) = memory.allocate_record(bytes + spare)?;
        let arena = memory.arena();
        arena.word(at).store(u64::from(stamp), Ordering::Relaxed);
        for index in 2..words {
            arena.word(at + index).store(arena.word(self.at + index).load(Ordering::Relaxed), Ordering::Relaxed);
        }
        let word = self.word & !(0xFFFF << 48) | u64::from(class) << 48 | u64::from(tag) << 56;
        let mut copy = Self { at, word };
        for part in parts {
            copy.append_bytes(arena, copy.value_len(), part);
            copy.word += part.len() as u64;
        }
        arena.word(at + 1).store(copy.word, Ordering::Relaxed);
        copy.set_expiry_ms(arena, expiry_ms);
        Some(copy)
    }

    /// Kind and flags.
    #[inline(always)]
    pub const fn tag(self) -> u8 {
        (self.word >> 56) as u8
    }

    /// The kind.
    #[inline(always)]
    pub const fn kind(self) -> u8 {
        self.tag() & KIND
    }

    /// Whether a flag is set.
    #[inline(always)]
    pub const fn has(self, flag: u8) -> bool {
        self.tag() & flag != 0
    }

    /// The size class of its block.
    #[inline]
    pub const fn class(self) -> u8 {
        (self.word >> 48) as u8
    }

    /// The value's length in bytes.
    #[inline(always)]
    pub const fn value_len(self) -> usize {
        self.word as u32 as usize
    }

    /// The key area's length in bytes.
    #[inline(always)]
    pub const fn area_len(self) -> usize {
        (self.word >> 32) as u16 as usize
    }

    const fn expiry_at(self) -> Ref {
        self.at + 2 + has_link(self.kind()) as Ref
    }

    /// Where the key area starts.
    #[inline(always)]
    pub const fn area_at(self) -> Ref {
        self.at + lead_words(self.tag())
    }

    /// Where the value starts.
    #[inline(always)]
    pub const fn value_at(self) -> Ref {
        self.area_at() + self.area_len().div_ceil(8) as Ref
    }

    /// The epoch of the last change.
    #[inline]
    pub fn stamp(self, arena: &Arena) -> u32 {
        arena.word(self.at).load(Ordering::Relaxed) as u32
    }

    /// The link word; 0 for kinds without.
    #[inline]
    pub fn link(self, arena: &Arena) -> u64 {
        if has_link(self.kind()) { arena.word(self.at + 2).load(Ordering::Relaxed) } else { 0 }
    }

    /// The link word as readers load it, who follow it.
    #[inline]
    pub fn link_shared(self, arena: &Arena) -> u64 {
        // Acquire: pairs with the release store in `set_link`, and brings the record that the link leads to.
        if has_link(self.kind()) { arena.word(self.at + 2).load(Ordering::Acquire) } else { 0 }
    }

    /// Changes the link word of a record whose kind has one. Only for words that readers don't follow, or that lead
    /// to places as valid as before.
    pub fn set_link(self, arena: &Arena, link: u64) {
        debug_assert!(has_link(self.kind()));
        arena.word(self.at + 2).store(link, Ordering::Release);
    }

    /// When it expires, in ms of the caller's clock.
    #[inline]
    pub fn expiry_ms(self, arena: &Arena) -> Option<u64> {
        self.has(EXPIRY).then(|| arena.word(self.expiry_at()).load(Ordering::Relaxed))
    }

    /// Whether its key area is `area`.
    #[inline(always)]
    pub fn is_at(self, arena: &Arena, area: &[u8], namespaced: bool) -> bool {
        // Key length and namespace flag, compared at once.
        const MASK: u64 = 0xFFFF << 32 | (NAMESPACE as u64) << 56;
        let wanted = (area.len() as u64) << 32 | if namespaced { (NAMESPACE as u64) << 56 } else { 0 };
        self.word & MASK == wanted && arena.equals(self.area_at(), area)
    }

    /// The key area.
    #[cfg(not(loom))]
    #[inline]
    #[expect(unsafe_code, reason = "key areas are immutable while their record is reachable")]
    pub fn area(self, arena: &Arena) -> &[u8] {
        // SAFETY: a key area is written before publication and never after; the caller reached the record, so it is
        // not reclaimed while the owner or a pinned reader looks at it.
        unsafe { arena.bytes(self.area_at(), self.area_len()) }
    }

    /// The key area taken apart: key and namespace.
    #[cfg(not(loom))]
    #[inline]
    pub fn key_parts(self, arena: &Arena) -> (&[u8], &[u8]) {
        let area = self.area(arena);
        if !self.has(NAMESPACE) {
            return (area, &[]);
        }
        let Some((rest, len)) = area.split_last_chunk::<2>() else { return (area, &[]) };
        rest.split_at(rest.len().saturating_sub(usize::from(u16::from_le_bytes(*len))))
    }

    /// The value.
    ///
    /// # Safety
    /// The caller is the owner and changes nothing while the slice lives, or the record is sealed.
    #[cfg(not(loom))]
    #[inline]
    #[expect(unsafe_code, reason = "borrows a value whose writers the caller rules out")]
    pub unsafe fn value(self, arena: &Arena) -> &[u8] {
        // SAFETY: the caller rules out writers.
        unsafe { arena.bytes(self.value_at(), self.value_len()) }
    }

    /// How many bytes of value the block has room for.
    pub fn capacity(self, memory: &Memory) -> usize {
        memory.record_capacity(self.at, self.class()) - (self.value_at() - self.at) as usize * 8
    }

    /// Sets the stamp.
    #[inline]
    pub fn set_stamp(self, arena: &Arena, stamp: u32) {
        let word = arena.word(self.at);
        // Release: a reader may take the sequence from this store, and needs the value that belongs to it.
        word.store(word.load(Ordering::Relaxed) & !0xFFFF_FFFF | u64::from(stamp), Ordering::Release);
    }

    /// Overwrites a value of one word with another: the commonest change. False, and nothing done, where the record is
    /// not such a value of the epoch `current` or carries an expiry.
    #[inline(always)]
    pub fn overwrite_word(self, arena: &Arena, current: u32, value: &[u8]) -> bool {
        const MASK: u64 = 0xFFFF_FFFF | ((KIND | EXPIRY | USED) as u64) << 56;
        const PLAIN: u64 = 8 | ((VALUE | USED) as u64) << 56;
        let Ok(value) = <[u8; 8]>::try_from(value) else { return false };
        if self.word & MASK != PLAIN || self.stamp(arena) != current {
            return false;
        }
        // One aligned word: readers see the old value or the new one.
        arena.word(self.value_at()).store(u64::from_le_bytes(value), Ordering::Relaxed);
        true
    }

    /// Replaces kind and flags; the layout must stay the same.
    #[inline]
    pub fn set_tag(&mut self, arena: &Arena, tag: u8) {
        debug_assert!(lead_words(tag) == lead_words(self.tag()) || tag & KIND == DEAD);
        self.word = self.word & !(0xFF << 56) | u64::from(tag) << 56;
        // Release: a reader that finds a dead record looks again, and finds what took its place.
        arena.word(self.at + 1).store(self.word, Ordering::Release);
    }

    /// Marks the record as dead and links it to another dead one. The link lies where the sequence was and may equal an
    /// earlier one, so a reader that has copied the value looks for the mark as well.
    pub fn bury(&mut self, arena: &Arena, next: Ref) {
        self.set_tag(arena, DEAD);
        let word = arena.word(self.at);
        // Release: pairs with the second acquire load in `copy`; who takes the link for a sequence sees the mark.
        word.store(word.load(Ordering::Relaxed) & 0xFFFF_FFFF | u64::from(next) << 32, Ordering::Release);
    }

    /// Links this dead record to another one than it was buried with.
    #[cfg(not(loom))]
    pub fn set_next_dead(self, arena: &Arena, next: Ref) {
        let word = arena.word(self.at);
        // Release: as in `bury`.
        word.store(word.load(Ordering::Relaxed) & 0xFFFF_FFFF | u64::from(next) << 32, Ordering::Release);
    }

    /// The dead record that this dead one was linked to.
    pub fn next_dead(self, arena: &Arena) -> Ref {
        (arena.word(self.at).load(Ordering::Relaxed) >> 32) as Ref
    }

    /// Marks the record as used.
    #[inline]
    pub fn touch(mut self, arena: &Arena) {
        if !self.has(USED) {
            self.set_tag(arena, self.tag() | USED);
        }
    }

    /// Changes tag, value and expiry in place. The value must fit the capacity.
    #[inline(always)]
    pub fn replace(&mut self, arena: &Arena, tag: u8, expiry_ms: Option<u64>, value: &[u8]) {
        let word = self.word & !(0xFF << 56 | 0xFFFF_FFFF) | u64::from(tag) << 56 | value.len() as u64;
        if value.len() == 8 && word == self.word && expiry_ms.is_none() {
            // One aligned word: readers see the old value or the new one.
            arena.write_words(self.value_at(), value);
            return;
        }
        self.guarded(arena, |record| {
            record.word = word;
            arena.word(record.at + 1).store(word, Ordering::Relaxed);
            record.set_expiry_ms(arena, expiry_ms);
            arena.write_words(record.value_at(), value);
        });
    }

    /// Extends the value by `parts`, put one after another, and sets the expiry where the layout has one; readers see
    /// all of it or nothing. The parts must fit.
    pub fn extend(&mut self, arena: &Arena, parts: [&[u8]; 2], expiry_ms: Option<u64>) {
        self.guarded(arena, |record| {
            for part in parts {
                record.append_bytes(arena, record.value_len(), part);
                record.word += part.len() as u64;
            }
            arena.word(record.at + 1).store(record.word, Ordering::Relaxed);
            record.set_expiry_ms(arena, expiry_ms);
        });
    }

    /// Sets the expiry alone, where the layout has one.
    pub fn set_expiry_ms(self, arena: &Arena, expiry_ms: Option<u64>) {
        if let Some(expiry_ms) = expiry_ms
            && self.has(EXPIRY)
        {
            arena.word(self.expiry_at()).store(expiry_ms, Ordering::Relaxed);
        }
    }

    /// Writes `bytes` behind the first `len` bytes of the value, keeping those.
    fn append_bytes(self, arena: &Arena, len: usize, bytes: &[u8]) {
        let from = self.value_at() + (len / 8) as Ref;
        let inside = len % 8;
        let rest = if inside == 0 {
            bytes
        } else {
            let (head, rest) = bytes.split_at(bytes.len().min(8 - inside));
            let mut word = arena.word(from).load(Ordering::Relaxed).to_le_bytes();
            word[inside..inside + head.len()].copy_from_slice(head);
            arena.word(from).store(u64::from_le_bytes(word), Ordering::Relaxed);
            rest
        };
        arena.write_words(from + (inside != 0) as Ref, rest);
    }

    /// Runs a change under the record's sequence: odd while it lasts.
    #[inline]
    fn guarded(&mut self, arena: &Arena, change: impl FnOnce(&mut Self)) {
        let head = arena.word(self.at);
        let before = head.load(Ordering::Relaxed);
        head.store(before.wrapping_add(1 << 32), Ordering::Relaxed);
        // Pairs with the acquire fence in `copy`: a reader that saw any of the change sees the odd sequence.
        fence(Ordering::Release);
        change(self);
        // Pairs with the acquire load at the start of `copy`.
        head.store(before.wrapping_add(2 << 32), Ordering::Release);
    }

    /// A reader's copy of a consistent version, its value appended to `out`; `None` where the owner changed it
    /// meanwhile, or where it is dead.
    pub fn copy(arena: &Arena, at: Ref, out: &mut Vec<u8>) -> Option<Copied> {
        // Pairs with the release store at the end of `guarded`.
        let head = arena.word(at).load(Ordering::Acquire);
        let before = head >> 32;
        if before & 1 == 1 {
            return None;
        }
        let record = Self::load(arena, at);
        let expiry_ms = record.expiry_ms(arena);
        let start = out.len();
        arena.read_words(record.value_at(), record.value_len(), out);
        // Pairs with the release fence in `guarded`.
        fence(Ordering::Acquire);
        // Acquire: pairs with the release store in `bury`, which may have made a link of the sequence.
        let is_same = arena.word(at).load(Ordering::Acquire) >> 32 == before;
        if is_same && Self::load(arena, at).kind() != DEAD {
            return Some(Copied { record, stamp: head as u32, expiry_ms });
        }
        out.truncate(start);
        None
    }
}

const _: () = assert!(record_bytes(VALUE, 0, 0) == 16 && record_bytes(ENTRY | EXPIRY, 0, 0) == 32);
