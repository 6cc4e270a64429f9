//! The hot tables of one key-group range: everything that lives in memory, updated in place by one owner.
//!
//! One hash table per (key group, state) finds records; a map's entries are records of their own, ordered by a tree
//! under the map's container. Every change follows the *stamp rule*, which makes a barrier O(1):
//!
//! ```text
//! stamp == current             changed in place; it stands in the current dirty list already
//! stamp <= flushed             pushed to the dirty list, stamped, changed in place
//! flushed < stamp < current    copied; the copy takes its place, the old record belongs to the flusher
//! ```
//!
//! Invariants: the owner alone calls anything that takes `&mut Hot`; a sealed record is never changed nor freed before
//! its epoch is flushed and taken apart; whatever leaves a table without having been deleted is on disk, and the
//! table is marked as spilled before.

pub mod bucket;
#[cfg(not(loom))]
pub mod cell;
#[cfg(not(loom))]
pub mod chain;
pub mod commits;
#[cfg(not(loom))]
pub mod cut;
pub mod dirty;
#[cfg(not(loom))]
pub mod epoch;
#[cfg(not(loom))]
pub mod evict;
#[cfg(not(loom))]
pub mod far;
#[cfg(not(loom))]
pub mod fetch;
#[cfg(not(loom))]
pub mod floor;
#[cfg(not(loom))]
pub mod front;
#[cfg(not(loom))]
pub mod heat;
#[cfg(all(test, loom))]
mod loom_models;
#[cfg(not(loom))]
pub mod map;
pub mod memory;
#[cfg(not(loom))]
pub mod order;
#[cfg(not(loom))]
pub mod places;
#[cfg(not(loom))]
pub mod quick;
pub mod record;
#[cfg(not(loom))]
pub mod rewind;
pub mod shared;
pub mod table;
#[cfg(all(test, not(loom)))]
mod tests;
#[cfg(not(loom))]
pub mod transaction;

#[cfg(not(loom))]
pub use epoch::{Hot, Sealed};
#[cfg(not(loom))]
pub use far::{FarEntry, FarMap, FarWalk, compare_containers};
#[cfg(not(loom))]
pub use floor::Loaded;
#[cfg(not(loom))]
pub use front::{Front, FrontEntry};
pub use memory::Memory;
#[cfg(not(loom))]
pub use rewind::Part;

#[cfg(not(loom))]
use crate::platform::arena::{Arena, Ref};

/// The budget has no room for so many bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfMemory {
    /// What was asked for.
    pub bytes: usize,
}

/// The address of a cell or container, hashed once.
#[derive(Clone, Copy, Debug)]
pub struct Probe<'a> {
    /// The state's number.
    pub state: u16,
    /// The key group, counted from the first of the range.
    pub group: u16,
    /// The key area; see [`record`].
    pub area: &'a [u8],
    /// Whether the key area ends in a namespace.
    pub namespaced: bool,
    /// Its hash.
    pub hash: u64,
}

/// The user key of the map entry at `entry`.
#[cfg(not(loom))]
pub fn entry_key(arena: &Arena, entry: Ref) -> &[u8] {
    record::Record::load(arena, entry).area(arena)
}
