//! The hot list: records that a store used most, side by side in a file of their own, so that after a crash they return by
//! sequential reads.
//!
//! A list is a hint. Every byte of it is checked when it is read, and what is damaged, foreign or missing is passed over: the same
//! is in the segments. Nor does it say what the store holds: of each value it says in which *stack* it was found, and it counts
//! only where the store still has that stack, at the bottom, and nothing newer of the key above it ([`Stack`]). So neither the
//! checkpoint that was opened, nor a rollback, compaction or migration since can make a value of it a wrong one.

pub mod format;
mod reader;
mod writer;

pub use format::{Chunk, Entry, Stack};
pub use reader::List;
pub use writer::ListWriter;

/// The classes of heat; 0 is the hottest. A list is read in their order.
pub const TIERS: usize = 4;
/// A value that is longer is left out: its key is there, and is looked for in the segments.
pub const VALUE_BYTES_MAX: usize = 16 << 10;

#[cfg(test)]
mod tests;
