//! The quick path: a counter that is found, and changed in place, in as few instructions as can be.
//!
//! How many operations a processor overlaps while they wait for memory is decided by how many fit into its window, so
//! the length of the commonest path matters beyond the time that its instructions take. Quick is a value of 8 bytes,
//! without namespace or expiry, of the current epoch, that was used before; all of that but the epoch is one
//! comparison of the record's second word. One of an earlier epoch is made current first. Values of any other length have a path of their own,
//! [`Hot::quick_record`], which is tried when this one led to nothing: with both in one, counters took half as long again. Whatever
//! else there is, is left to the general path.

use crate::hot::bucket::{self, tag_of};
use crate::hot::record::{EXPIRY, FRESH, LONE, Record, USED, VALUE, hash_area};
#[cfg(not(loom))]
use crate::hot::table::Head;
use crate::hot::{Hot, Probe};
use crate::key::Key;
use crate::platform::arena::{NONE, Ref, Words};
use crate::platform::sync::atomic::{AtomicU64, Ordering};

/// The value's length and the key area's, kind and flags; not the size class, nor whether anything older is on disk.
const MASK: u64 = 0xFFFF_FFFF_FFFF | (!(FRESH | LONE) as u64) << 56;
const PLAIN: u64 = 8 | ((VALUE | USED) as u64) << 56;
const _: () = assert!(VALUE & EXPIRY == 0);
/// Of any length: not the value's length.
const LONG_MASK: u64 = MASK & !0xFFFF_FFFF;
const LONG_PLAIN: u64 = PLAIN & !0xFFFF_FFFF;
/// A longer value that has to be copied isn't quick: that takes much longer than the way to it.
const COPIED_BYTES_MAX: usize = 4096;

/// Whether a word of a record's has these bytes.
#[inline(always)]
fn is(word: &AtomicU64, bytes: &[u8; 8]) -> bool {
    word.load(Ordering::Relaxed) == u64::from_le_bytes(*bytes)
}

/// A value that can be changed quickly, once its record is of the current epoch.
#[derive(Clone, Copy, Debug)]
pub struct Quick<'a> {
    at: Ref,
    stamp: u32,
    word: &'a AtomicU64,
    value: [u8; 8],
}

impl<'a> Quick<'a> {
    /// What the records' words say.
    #[inline(always)]
    fn new(at: Ref, stamp: &AtomicU64, word: &'a AtomicU64) -> Self {
        let value = word.load(Ordering::Relaxed).to_le_bytes();
        Self { at, stamp: stamp.load(Ordering::Relaxed) as u32, word, value }
    }

    /// Whether the record is of this epoch: only then may it be overwritten.
    #[inline(always)]
    pub const fn is_of(&self, epoch: u32) -> bool {
        self.stamp == epoch
    }

    /// The record.
    #[inline(always)]
    pub const fn at(&self) -> Ref {
        self.at
    }

    /// The value as it is now.
    #[inline(always)]
    pub fn value(&self) -> [u8; 8] {
        self.word.load(Ordering::Relaxed).to_le_bytes()
    }

    /// Overwrites it with what `change` makes of it. Gives that back where it doesn't take the old value's place.
    #[inline(always)]
    pub fn change<V: AsRef<[u8]>>(self, change: impl FnOnce(&[u8; 8]) -> Option<V>) -> Result<(), Option<V>> {
        let value = change(&self.value);
        let Some(Ok(bytes)) = value.as_ref().map(|value| <[u8; 8]>::try_from(value.as_ref())) else {
            return Err(value);
        };
        // One aligned word: readers see the old value or the new one.
        self.word.store(u64::from_le_bytes(bytes), Ordering::Relaxed);
        Ok(())
    }
}

/// How many keys are fetched ahead together: as many cache misses as a core keeps in flight, twice over.
pub const GROUP: usize = 32;

/// What was fetched ahead of a group of keys.
#[derive(Debug)]
pub struct Ahead {
    hashes: [u64; GROUP],
    /// The first record whose tag fits, [`NONE`] where there is none in the home bucket.
    records: [Ref; GROUP],
}

impl Ahead {
    /// Of no keys.
    pub const fn new() -> Self {
        Self { hashes: [0; GROUP], records: [NONE; GROUP] }
    }

    /// The hash of a key.
    #[inline]
    pub const fn hash(&self, index: usize) -> u64 {
        self.hashes[index]
    }
}

impl Hot {
    /// The value of a key, if it is quick. `group` is counted from the first of the range; one outside has no quick keys.
    #[inline(always)]
    pub fn quick(&self, state: u16, group: u16, hash: u64, area: &[u8]) -> Option<Quick<'_>> {
        let words = self.arena().words();
        let head = self.heads.get(usize::from(state))?.get(usize::from(group))?;
        // A loop for each, so that the usual length's is short.
        if let ([a, b], []) = area.as_chunks::<8>() {
            return head.find_quickly(words, hash, |at| self.quick_of_two_words(words, at, a, b));
        }
        head.find_quickly(words, hash, |at| self.quick_at(words, at, area))
    }

    /// The value of a key without namespace in a state whose values don't expire, `Some(None)` where there is none; `None` where
    /// there is more to it: the disk has to be asked, or the record to be marked as used. `group` as for [`Hot::quick`].
    /// A function of its own: it needs every register, and in its callers, which have others in mind, it would keep half of what it knows on
    /// the stack.
    #[cfg(not(loom))]
    #[inline(never)]
    pub fn quick_value(&self, state: u16, group: u16, hash: u64, area: &[u8]) -> Option<Option<&[u8]>> {
        let words = self.arena().words();
        let head = self.heads.get(usize::from(state))?.get(usize::from(group))?;
        let ([a, b], []) = area.as_chunks::<8>() else { return self.value_of_any(head, hash, area) };
        let mut is_alike = false;
        let found = head.find_quickly(words, hash, |at| {
            let [lead, first, second] = words.array::<3>(at + 1);
            let lead = lead.load(Ordering::Relaxed);
            let found = lead & LONG_MASK == LONG_PLAIN | 16 << 32 && is(first, a) && is(second, b);
            is_alike |= !found;
            found.then_some((at, lead as u32 as usize))
        });
        match found {
            Some((at, len)) => Some(Some(self.value_behind_two_words(at, len))),
            None if is_alike => self.value_of_any(head, hash, area),
            None => (!head.is_spilled()).then_some(None),
        }
    }

    /// [`Hot::quick_value`] of keys of any length; and where a record with the same tag isn't a plain value of the key: it may be one that isn't
    /// plain.
    #[cfg(not(loom))]
    #[inline(never)]
    fn value_of_any(&self, head: &Head, hash: u64, area: &[u8]) -> Option<Option<&[u8]>> {
        let arena = self.arena();
        let Some((at, _)) = head.find(arena, hash, |at| Record::load(arena, at).is_at(arena, area, false)) else {
            return (!head.is_spilled()).then_some(None);
        };
        let record = Record::load(arena, at);
        let is_quick = record.kind() == VALUE && record.has(USED) && !record.has(EXPIRY);
        is_quick.then(|| Some(self.value_of(record)))
    }

    /// As [`Hot::quick_at`] for the length that keys mostly have: one look at where the record lies, then words of it.
    #[inline(always)]
    fn quick_of_two_words<'a>(&self, words: Words<'a>, at: Ref, a: &[u8; 8], b: &[u8; 8]) -> Option<Quick<'a>> {
        let [stamp, lead, first, second, value] = words.array::<5>(at);
        let found = lead.load(Ordering::Relaxed) & MASK == PLAIN | 16 << 32 && is(first, a) && is(second, b);
        found.then(|| Quick::new(at, stamp, value))
    }

    /// As [`Hot::quick`], of the current epoch; for what wasn't found where [`Hot::look_ahead`] said: another key's tag came
    /// first, it lies beyond its home bucket, or it is of an earlier epoch and a copy may be in its place by now.
    #[inline(never)]
    pub fn quick_now(&mut self, state: u16, group: u16, hash: u64, area: &[u8]) -> Option<Quick<'_>> {
        let found = self.quick(state, group, hash, area)?;
        let at = found.at();
        if found.is_of(self.current) {
            return self.quick_at(self.arena().words(), at, area);
        }
        self.quicken(state, group, hash, at)
    }

    /// The value at `at`, if it is quick: of a record that is known to be of this key of four bytes, or was.
    #[inline(always)]
    pub(super) fn quick_of_half_a_word(&self, at: Ref, key: [u8; 4]) -> Option<Quick<'_>> {
        let [stamp, lead, area, value] = self.arena().words().array::<4>(at);
        let is_plain = lead.load(Ordering::Relaxed) & MASK == PLAIN | 4 << 32;
        let is_it = is_plain && area.load(Ordering::Relaxed) as u32 == u32::from_le_bytes(key);
        is_it.then(|| Quick::new(at, stamp, value))
    }

    /// Makes the record of a value that is quick, but of an earlier epoch, one of the current epoch, by the stamp rule:
    /// enters it in the dirty list, or puts a copy in its place. Returns where the value may be overwritten then; `None`,
    /// and nothing is changed, where there is no memory. Every key that changes often comes here after each barrier.
    #[inline(never)]
    pub fn quicken(&mut self, state: u16, group: u16, hash: u64, at: Ref) -> Option<Quick<'_>> {
        let record = self.quicken_record(state, group, hash, at)?;
        let words = self.memory.arena().words();
        Some(Quick::new(record.at, words.word(record.at), words.word(record.value_at())))
    }

    #[inline]
    fn quicken_record(&mut self, state: u16, group: u16, hash: u64, at: Ref) -> Option<Record> {
        let probe = Probe { state, group, area: &[], namespaced: false, hash };
        let mut record = Record::load(self.arena(), at);
        if self.claim(&probe, &mut record).ok()? {
            return Some(record);
        }
        let (_, place) = self.head(&probe).find(self.arena(), hash, |found| found == at)?;
        let copy = record.duplicate(&mut self.memory, self.current)?;
        self.supersede(&probe, place, record, copy).ok()?;
        Some(copy)
    }

    /// The record of a key whose value is quick but for its length, made one of the current epoch. `group` as for [`Hot::quick`];
    /// `None` where there is more to it.
    #[cfg(not(loom))]
    #[inline]
    pub fn quick_record(&mut self, state: u16, group: u16, hash: u64, area: &[u8]) -> Option<Record> {
        let words = self.arena().words();
        let head = self.heads.get(usize::from(state))?.get(usize::from(group))?;
        let wanted = LONG_PLAIN | (area.len() as u64) << 32;
        let found = head.find_quickly(words, hash, |at| {
            let is_it = words.word(at + 1).load(Ordering::Relaxed) & LONG_MASK == wanted;
            (is_it && self.arena().equals(at + 2, area)).then_some(at)
        })?;
        let record = Record::load(self.arena(), found);
        if record.stamp(self.arena()) == self.current {
            return Some(record);
        }
        if record.value_len() > COPIED_BYTES_MAX || self.transaction.is_some() {
            return None;
        }
        self.quicken_record(state, group, hash, found)
    }

    /// Overwrites the value of what [`Hot::quick_record`] found with what `change` makes of it. Gives that back where it doesn't take the
    /// old value's place.
    #[cfg(not(loom))]
    #[inline]
    pub fn change_quickly<V: AsRef<[u8]>>(
        &mut self,
        mut record: Record,
        change: impl FnOnce(&[u8]) -> Option<V>,
    ) -> Result<(), Option<V>> {
        let value = change(self.value_of(record));
        match &value {
            Some(new) if new.as_ref().len() == record.value_len() => {
                record.replace(self.memory.arena(), record.tag(), None, new.as_ref());
                Ok(())
            }
            _ => Err(value),
        }
    }

    /// The value of the record at `at`, if it is quick and of this key. The record must be one of the key's table.
    #[inline(always)]
    fn quick_at<'a>(&self, words: Words<'a>, at: Ref, area: &[u8]) -> Option<Quick<'a>> {
        if let ([a, b], []) = area.as_chunks::<8>() {
            return self.quick_of_two_words(words, at, a, b);
        }
        let wanted = PLAIN | (area.len() as u64) << 32;
        let found = words.word(at + 1).load(Ordering::Relaxed) & MASK == wanted && self.arena().equals(at + 2, area);
        let value = words.word(at + 2 + area.len().div_ceil(8) as Ref);
        found.then(|| Quick::new(at, words.word(at), value))
    }

    /// Fetches what leads to the values of at most [`GROUP`] keys without namespaces, whose key groups are counted from
    /// `first`: all buckets, then all records, so that their misses overlap.
    #[inline(always)]
    pub fn look_ahead(&self, state: u16, first: u16, keys: &[Key<'_>], ahead: &mut Ahead) {
        let (arena, words) = (self.arena(), self.arena().words());
        let heads = &*self.heads[state as usize];
        // A small record starts in one cache line and, as often as not, has its value in the next.
        let fetch = |record: Ref| {
            arena.prefetch(record);
            arena.prefetch(record + 4);
        };
        for ((key, hash), record) in keys.iter().zip(&mut ahead.hashes).zip(&mut ahead.records) {
            *hash = hash_area(key.key, false, self.seed);
            *record = heads[usize::from(key.group.0 - first)].home(words, *hash);
            arena.prefetch(*record);
        }
        let (mut astray, mut strays) = ([0_u8; GROUP], 0);
        for (index, (hash, record)) in ahead.hashes.iter().zip(&mut ahead.records).take(keys.len()).enumerate() {
            let (first, last) = bucket::first_and_last(words, *record, tag_of(*hash));
            fetch(first);
            fetch(last);
            *record = first;
            astray[strays] = index as u8;
            strays += usize::from(first == NONE);
            strays &= GROUP - 1;
        }
        // What has no place in its home bucket: as one after the other they would cost two waits each.
        for &index in &astray[..strays] {
            let index = usize::from(index);
            let hash = ahead.hashes[index];
            let head = &heads[usize::from(keys[index].group.0 - first)];
            ahead.records[index] = head.next_to_home(words, hash);
            arena.prefetch(ahead.records[index]);
        }
        for &index in &astray[..strays] {
            let index = usize::from(index);
            let (first, _) = bucket::first_and_last(words, ahead.records[index], tag_of(ahead.hashes[index]));
            fetch(first);
            ahead.records[index] = first;
        }
    }

    /// The value of a key that was looked ahead for, if it is quick; only as long as no table changed since.
    #[inline(always)]
    pub fn quick_ahead(&self, ahead: &Ahead, index: usize, area: &[u8]) -> Option<Quick<'_>> {
        self.quick_at(self.arena().words(), ahead.records[index], area)
    }
}
