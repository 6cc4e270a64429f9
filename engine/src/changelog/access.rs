//! What an event read and wrote, as its record in the changelog has it: hashes of keys, not the keys.
//!
//! ```text
//! access    kind u8 | hash of the cell, entry or container, 5 bytes | of an entry: the hash of its container, 5 bytes
//! ```
//!
//! Two keys of one hash are taken for one, so more may seem to depend on an event than does, and never less: among a million keys a
//! key has a double of its 40 bits once in a million times. Pure: no I/O, no clock, and no panic on any input.

use crate::checksum::hash_key;
use crate::ids::StateId;
use crate::key::Key;

/// The length of a hash, in bytes.
const HASH_BYTES: usize = 5;
const HASH_MASK: u64 = (1 << (8 * HASH_BYTES)) - 1;
/// The access is to an entry of a map.
const OF_ENTRY: u8 = 8;
/// Hashes of accesses have a seed of their own, the same in all stores: logs outlive a store's seed.
const SEED: u64 = 0x6163_6365_7373;

/// What was done with a cell, an entry, or a container's entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum AccessKind {
    /// It was read, or found absent.
    Read = 0,
    /// It was overwritten or deleted, without being read.
    Write = 1,
    /// It was read and written.
    Update = 2,
    /// It was added to, without being read: an operand, an element.
    Add = 3,
    /// Entries of a container were read, or found absent, as a range.
    RangeRead = 4,
    /// Entries of a container were deleted as a range.
    RangeWrite = 5,
    /// Both.
    RangeUpdate = 6,
}

impl AccessKind {
    const fn from_u8(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Read,
            1 => Self::Write,
            2 => Self::Update,
            3 => Self::Add,
            4 => Self::RangeRead,
            5 => Self::RangeWrite,
            6 => Self::RangeUpdate,
            _ => return None,
        })
    }

    /// Whether what is done depends on what was there.
    pub const fn reads(self) -> bool {
        matches!(self, Self::Read | Self::Update | Self::RangeRead | Self::RangeUpdate)
    }

    /// Whether something is changed.
    pub const fn writes(self) -> bool {
        !matches!(self, Self::Read | Self::RangeRead)
    }

    /// Whether it is of a container's entries together.
    pub const fn is_range(self) -> bool {
        matches!(self, Self::RangeRead | Self::RangeWrite | Self::RangeUpdate)
    }
}

/// One access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// What was done.
    pub kind: AccessKind,
    /// The hash of the cell or entry; of a range, of the container.
    pub hash: u64,
    /// Of an entry, the hash of its container.
    pub container: Option<u64>,
}

/// The hash of a cell, or of a map's container.
pub fn cell_hash(state: StateId, key: Key<'_>) -> u64 {
    whole_hash(state, key) & HASH_MASK
}

/// The hashes of a map's container, and of an entry of it.
pub fn entry_hashes(state: StateId, key: Key<'_>, user_key: &[u8]) -> (u64, u64) {
    let container = whole_hash(state, key);
    // Not seeded as a namespace's is.
    (container & HASH_MASK, hash_key(user_key, !container) & HASH_MASK)
}

/// The hash of a map's entry.
pub fn entry_hash(state: StateId, key: Key<'_>, user_key: &[u8]) -> u64 {
    entry_hashes(state, key, user_key).1
}

/// Part by part, each seeded with the hash of what comes before: nothing is copied.
#[inline]
fn whole_hash(state: StateId, key: Key<'_>) -> u64 {
    let hash = hash_key(key.key, SEED ^ u64::from(state.0) << 48 ^ u64::from(key.group.0) << 32);
    if key.namespace.is_empty() { hash } else { hash_key(key.namespace, hash) }
}

impl Access {
    /// An access to a cell, or to a container's entries.
    pub const fn of(kind: AccessKind, hash: u64) -> Self {
        Self { kind, hash, container: None }
    }

    /// An access to an entry.
    pub const fn of_entry(kind: AccessKind, hash: u64, container: u64) -> Self {
        Self { kind, hash, container: Some(container) }
    }

    /// What is done, and the hash: of two accesses with the same and the same container one is enough.
    #[inline]
    pub const fn packed(&self) -> u64 {
        let flag = if self.container.is_some() { OF_ENTRY } else { 0 };
        (self.kind as u8 | flag) as u64 | self.hash << 8
    }

    /// Appends it.
    #[inline]
    pub fn push(&self, out: &mut Vec<u8>) {
        push_low(out, self.packed(), 1 + HASH_BYTES);
        if let Some(container) = self.container {
            push_low(out, container, HASH_BYTES);
        }
    }

    /// The hashes that it is found by.
    #[inline]
    pub fn hashes(self) -> impl Iterator<Item = u64> {
        std::iter::once(self.hash).chain(self.container)
    }

    /// The next one and the bytes behind it; `None` where there is none.
    fn take(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (&tag, rest) = bytes.split_first()?;
        let kind = AccessKind::from_u8(tag & !OF_ENTRY)?;
        let (hash, rest) = take_hash(rest)?;
        if tag & OF_ENTRY == 0 {
            return Some((Self::of(kind, hash), rest));
        }
        let (container, rest) = take_hash(rest)?;
        Some((Self::of_entry(kind, hash, container), rest))
    }
}

/// Appends the low bytes of a word: a whole one is appended by one store, and cut off again.
#[inline]
fn push_low(out: &mut Vec<u8>, word: u64, len: usize) {
    out.extend_from_slice(&word.to_le_bytes());
    out.truncate(out.len() - (size_of::<u64>() - len));
}

fn take_hash(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (hash, rest) = bytes.split_first_chunk::<HASH_BYTES>()?;
    let mut word = [0; 8];
    word[..HASH_BYTES].copy_from_slice(hash);
    Some((u64::from_le_bytes(word), rest))
}

/// The accesses of an event, in the order in which they were first made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Accesses<'a> {
    bytes: &'a [u8],
}

impl<'a> Accesses<'a> {
    /// What [`Access::push`] appended; `None` where the bytes are something else.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes;
        while !rest.is_empty() {
            (_, rest) = Access::take(rest)?;
        }
        Some(Self { bytes })
    }

    /// What [`Access::push`] appended, as whoever had it append them knows.
    pub fn pushed(bytes: &'a [u8]) -> Self {
        debug_assert!(Self::new(bytes).is_some(), "whole accesses");
        Self { bytes }
    }

    /// The bytes.
    pub const fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Access> + 'a {
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            let (access, behind) = Access::take(rest)?;
            rest = behind;
            Some(access)
        })
    }
}

#[cfg(test)]
mod unit {
    use super::*;
    use crate::ids::KeyGroup;

    #[test]
    fn accesses_are_read_back_and_nothing_else_is_taken() {
        let kinds = (0..7).map(|number| AccessKind::from_u8(number).unwrap());
        let all: Vec<Access> =
            kinds.flat_map(|kind| [Access::of(kind, HASH_MASK), Access::of_entry(kind, 1 << 33, 7)]).collect();
        let mut bytes = Vec::new();
        all.iter().for_each(|access| access.push(&mut bytes));
        let accesses = Accesses::new(&bytes).unwrap();
        assert_eq!(accesses.iter().collect::<Vec<_>>(), all);
        assert_eq!(Accesses::new(&bytes[..bytes.len() - 1]), None, "cut off");
        assert_eq!(Accesses::new(&[7, 0, 0, 0, 0, 0]), None, "no such kind");
        assert_eq!(Accesses::new(&[]).unwrap().iter().count(), 0);
    }

    #[test]
    fn an_entry_is_not_its_container_nor_another() {
        let key = Key { group: KeyGroup(3), key: b"k", namespace: b"n" };
        let other = Key { group: KeyGroup(3), key: b"kn", namespace: b"" };
        let mut hashes = vec![
            cell_hash(StateId(1), key),
            cell_hash(StateId(2), key),
            cell_hash(StateId(1), other),
            cell_hash(StateId(1), Key { group: KeyGroup(4), ..key }),
            cell_hash(StateId(1), key.in_namespace(b"m")),
            entry_hash(StateId(1), key.in_namespace(b""), b"n"),
            entry_hash(StateId(1), key, b""),
            entry_hash(StateId(1), key, b"u"),
        ];
        for user_key in [&b""[..], b"u", &[7; 99]] {
            let both = (cell_hash(StateId(1), key), entry_hash(StateId(1), key, user_key));
            assert_eq!(entry_hashes(StateId(1), key, user_key), both);
        }
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), 8);
    }
}
