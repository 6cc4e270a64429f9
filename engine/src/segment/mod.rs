//! Segments: immutable, sorted files of records.
//!
//! A segment is written once, from its first byte to its last, by a [`SegmentWriter`]; from then on any number of
//! threads read it through a shared [`Segment`]. It holds the records of many key groups and states in the order of
//! their sort keys (`key.rs`), each sort key once.
//!
//! A point read asks [`Segment::may_contain`] (a Bloom filter), then [`Segment::locate`] (the index), reads the one
//! [`Block`] that can hold the key and looks into it with [`Block::get`]. A scan walks a [`SegmentCursor`].
//!
//! Invariants: nothing read from the file is used before the checksum over it was checked; a damaged file gives a
//! [`StorageError`](crate::platform::storage::StorageError) with path and offset, or the right answer, and never a
//! wrong value; no decoder panics, loops without end, or allocates more than a stated bound, whatever the bytes are.
//!
//! The bytes are described in `format.rs` (file, superblock, metadata), `block.rs`, `index.rs` and `filter.rs`, and
//! told as a whole in `docs/format.md`.

mod block;
mod cursor;
mod filter;
mod format;
#[doc(hidden)]
pub mod fuzzing;
mod index;
mod metadata;
mod reader;
mod summary;
#[cfg(test)]
pub mod tests;
mod verify;
mod writer;

pub use block::{Block, Position};
pub use cursor::{BlockSource, SegmentCursor};
pub use format::{DirectoryEntry, SORT_KEY_BYTES_MAX, Section, SegmentMeta, VERSION};
pub use reader::{BlockRef, Opening, Segment};
pub use writer::{SegmentOptions, SegmentWriter};

/// What a record says about its sort key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// The value, whole.
    Put = 0,
    /// There is no value: hides older versions of this one sort key.
    Delete = 1,
    /// An operand, to be combined with what older segments hold.
    Merge = 2,
    /// At a map's container key: hides the container's entries in strictly older segments, none in its own; all of them, or
    /// those in the spans that are its value.
    Clear = 3,
}

impl Kind {
    /// The kind with this number; only the two lowest bits count.
    const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::Put,
            1 => Self::Delete,
            2 => Self::Merge,
            _ => Self::Clear,
        }
    }

    /// Whether a record of this kind hides older ones and holds no value of its key.
    pub const fn is_tombstone(self) -> bool {
        matches!(self, Self::Delete | Self::Clear)
    }
}

/// One record, borrowed from where it lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// The sort key, whole.
    pub sort_key: &'a [u8],
    /// What the record says.
    pub kind: Kind,
    /// When the value expires, in milliseconds of the host's clock; `None` where it never does.
    pub expiry_ms: Option<u64>,
    /// The value or operand; empty in tombstones.
    pub value: &'a [u8],
}
