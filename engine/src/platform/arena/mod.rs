//! Memory: one reservation of address space, committed in chunks within one hard budget.
//!
//! Everything that grows with the data lives here: index lines, records, map nodes, dirty lists. A place is named by a
//! [`Ref`], 32 bits that count words of 8 bytes from the start of the reservation, so an arena spans at most 32 GiB.
//!
//! Invariants:
//! - the whole reservation stays readable and writable until the arena is dropped, so a stale `Ref` can read garbage
//!   but never fault;
//! - words that more than one thread may look at are touched only through [`Arena::word`] and [`Arena::half`]; bytes
//!   that are immutable while shared may be borrowed by [`Arena::bytes`];
//! - `used_bytes <= budget_bytes` but for charges that were forced, which are counted.

mod ahead;
mod classes;
mod pages;
mod shares;

pub use classes::{Allocator, CLASS_SPAN, Walk, class_bytes, class_of};
pub use pages::{Arena, ArenaError, CHUNK_BYTES, Words};
pub use shares::Share;

/// A place in an [`Arena`]: its offset in words of 8 bytes. 0 is no place.
pub type Ref = u32;

/// No place.
pub const NONE: Ref = 0;
