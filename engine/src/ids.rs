//! Small identifiers that every layer shares.
//!
//! They are plain numbers in newtypes, so that a key group is never taken for a state and an epoch never for a
//! segment. All of them have a fixed width on disk (little-endian), given with each.

use std::fmt;

/// Positions in a changelog end here: what lies behind one can always be counted.
pub const POSITION_END: u64 = 1 << 62;

/// A hash shard of the key space: the unit of rescaling, ownership and rollback. 2 bytes on disk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct KeyGroup(pub u16);

/// An inclusive range of key groups.
///
/// `first <= last` always holds: [`KeyGroupRange::new`] orders its arguments.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyGroupRange {
    first: u16,
    last: u16,
}

impl KeyGroupRange {
    /// The range from `first` to `last`, both included. The arguments are swapped when they are out of order.
    pub const fn new(first: u16, last: u16) -> Self {
        if first <= last { Self { first, last } } else { Self { first: last, last: first } }
    }

    /// The first key group of the range.
    pub const fn first(self) -> u16 {
        self.first
    }

    /// The last key group of the range, which belongs to it.
    pub const fn last(self) -> u16 {
        self.last
    }

    /// How many key groups the range holds: 1 to 65,536.
    pub const fn count(self) -> usize {
        (self.last - self.first) as usize + 1
    }

    /// Whether `group` lies in the range.
    pub const fn contains(self, group: KeyGroup) -> bool {
        self.first <= group.0 && group.0 <= self.last
    }

    /// Whether every key group of `other` lies in this range.
    pub const fn covers(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// The key groups that both ranges hold, or `None` when they hold none in common.
    pub fn intersect(self, other: Self) -> Option<Self> {
        let first = self.first.max(other.first);
        let last = self.last.min(other.last);
        (first <= last).then_some(Self { first, last })
    }

    /// The key groups in ascending order.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = KeyGroup> {
        (self.first..=self.last).map(KeyGroup)
    }
}

impl fmt::Debug for KeyGroupRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..={}", self.first, self.last)
    }
}

impl fmt::Display for KeyGroupRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..={}", self.first, self.last)
    }
}

/// A state of a store: its index in the store's list of states. 2 bytes on disk.
///
/// The number is local to a store (and to the segments that it wrote): a restored store maps the ids of its inputs
/// by the states' names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StateId(pub u16);

/// What happened between two cuts of a store; numbered upwards, never reused. 4 bytes on disk.
///
/// 0 is never the epoch of a record: a new store starts at 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Epoch(pub u32);

/// A segment's identity: 16 bytes, which also name its file.
///
/// The high half is drawn at random each time a store is opened (the *attempt*), the low half counts; so two attempts
/// that race on one directory can't write the same file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId(pub u128);

impl SegmentId {
    /// The `counter`-th segment of the given attempt.
    pub const fn new(attempt: u64, counter: u64) -> Self {
        Self(((attempt as u128) << 64) | counter as u128)
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SegmentId({self})")
    }
}
/// An event of a source, such as a record of a partition. 12 bytes on disk.
///
/// Of one source offsets rise: in each key group, what has a higher one comes later.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EventId {
    /// The source, as the host numbers them.
    pub source: u32,
    /// Where in it.
    pub offset: u64,
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.source, self.offset)
    }
}
