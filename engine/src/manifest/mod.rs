//! Manifests: the immutable files that say what a store holds.
//!
//! A manifest names every segment of one cut of a store, and for each slice of the store's key groups the stack of
//! segments that holds its state. A checkpoint is a manifest with a label; one without a label records a change of the
//! segments alone (a spill, a compaction). Everything else that a restart needs travels with it: the states, the
//! source offsets, the clocks.
//!
//! Invariants, which [`Manifest::check`] states in full and which hold for everything that was read or is written:
//! - the slices cover every key group of the store's range exactly once, in ascending order;
//! - each segment is listed once, some stack uses it, and no stack uses it twice;
//! - no record in it is younger than [`Manifest::epoch`];
//! - map 0 is the identity, and no map sends two states to one;
//! - marks 0 are none, and none have a state's values go through more conversions than the state lists.
//!
//! [`mod@format`] is the bytes, [`writer`] publishes, [`reader`] finds and reads, [`Unsynced`] is what of those that were read may
//! not be durable.

mod check;
pub mod format;
mod marks;
#[cfg(test)]
mod publish_tests;
pub mod reader;
#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;
mod unsynced;
pub mod writer;

pub use check::{Invalid, Section, check_given};
pub use format::Head;
pub use marks::Marks;
pub use reader::ManifestFile;
pub use unsynced::Unsynced;

use crate::ids::{Epoch, KeyGroup, KeyGroupRange, StateId};
use crate::segment::SegmentMeta;
use std::sync::Arc;

/// The longest name of a state or of a merge operator, in bytes.
pub const NAME_BYTES_MAX: usize = u16::MAX as usize;
/// The longest opaque field (metadata, one offset, one state's schema), in bytes (256 MiB).
pub const OPAQUE_BYTES_MAX: usize = 1 << 28;
/// The longest manifest file, in bytes (1 GiB).
pub const MANIFEST_BYTES_MAX: u64 = 1 << 30;
/// The most that offsets and metadata may take together where a host gives them, in bytes (512 MiB): all else has room beside them.
pub const HOST_BYTES_MAX: u64 = MANIFEST_BYTES_MAX / 2;
/// The most key groups that a job can have.
pub const KEY_GROUPS_MAX: u32 = 1 << 16;

/// Which store a manifest belongs to, and which part of the job's key groups the store holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoreInfo {
    /// Drawn when the store was created.
    pub uuid: u128,
    /// The seed of the store's hashes.
    pub hash_seed: u64,
    /// How many key groups the whole job has: 1 to 65,536.
    pub key_groups: u32,
    /// The key groups of this store.
    pub range: KeyGroupRange,
}

/// A state, as it was registered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StateInfo {
    /// Its name, unique in the store; at most [`NAME_BYTES_MAX`] bytes.
    pub name: String,
    /// Its number in this store: the position in [`Manifest::states`].
    pub id: StateId,
    /// Which kind of state it is, as the engine numbers them.
    pub kind: u8,
    /// The encoded time to live; `None` where values don't expire.
    pub ttl: Option<Vec<u8>>,
    /// The merge operator's name; empty where there is none.
    pub merge: String,
    /// The host's schema, opaque.
    pub user: Vec<u8>,
    /// Which conversions led to its schema ([`lineage_of`](crate::convert::lineage_of)); 0 for none.
    pub lineage: u64,
    /// The names of those that some values have yet to go through, in the order in which they are applied.
    pub conversions: Vec<String>,
}

/// How the states' numbers in a segment become the store's.
///
/// A restored store may number its states otherwise than the store that wrote a segment. A state that a map doesn't
/// list is hidden: its records are not part of the store.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum StateMap {
    /// The same numbers.
    Identity,
    /// (in the segment, in the store), ascending by the first; no two with the same second.
    Pairs(Vec<(StateId, StateId)>),
}

impl StateMap {
    /// The store's number of a state of the segment; `None` where it is hidden.
    pub fn to_store(&self, state: StateId) -> Option<StateId> {
        match self {
            Self::Identity => Some(state),
            Self::Pairs(pairs) => {
                let at = pairs.binary_search_by_key(&state, |&(from, _)| from).ok()?;
                pairs.get(at).map(|&(_, to)| to)
            }
        }
    }

    /// The segment's number of a state of the store; `None` where the segment has nothing of it. Linear in the map.
    pub fn to_segment(&self, state: StateId) -> Option<StateId> {
        match self {
            Self::Identity => Some(state),
            Self::Pairs(pairs) => pairs.iter().find(|&&(_, to)| to == state).map(|&(from, _)| from),
        }
    }
}

/// A segment in a stack.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct StackEntry {
    /// The index in [`Manifest::segments`].
    pub segment: u32,
    /// The index in [`Manifest::maps`].
    pub map: u32,
    /// The index in [`Manifest::marks`].
    pub marks: u32,
}

/// A run of key groups and the segments that hold their state.
///
/// The range is the clip of every entry: what a segment holds of other key groups is not part of this slice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Slice {
    /// The key groups.
    pub range: KeyGroupRange,
    /// Newest first.
    pub stack: Vec<StackEntry>,
    /// Which records are hot; reserved, empty for now.
    pub hot: Vec<u8>,
}

/// The manifest that another one was made from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parent {
    /// Its number.
    pub number: u64,
    /// Its [`ManifestFile::digest`].
    pub digest: u64,
}

/// One cut of a store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Manifest {
    /// Increasing in a directory, and the name of the file.
    pub number: u64,
    /// The store.
    pub store: StoreInfo,
    /// The host's name of the checkpoint; `None` for a manifest that the engine wrote for itself.
    pub label: Option<u64>,
    /// When it was made, by the machine's clock, in milliseconds since 1970.
    pub created_ms: u64,
    /// No record is of a later epoch.
    pub epoch: Epoch,
    /// What expires up to this time (the caller's clock, in milliseconds) may be purged.
    pub purge_clock_ms: u64,
    /// The states, in the order of their numbers.
    pub states: Vec<StateInfo>,
    /// The sources' offsets for each range of key groups. Ranges may be missing and may overlap.
    pub offsets: Vec<(KeyGroupRange, Vec<u8>)>,
    /// The host's metadata, opaque.
    pub metadata: Vec<u8>,
    /// The position in the changelog before which it has everything; 0 where there never was one.
    pub log_position: u64,
    /// Whether it has what was rolled back behind that position, too: of a transactional store, since the commit that it is of.
    pub has_rollbacks: bool,
    /// Whether it was published durably, and all that it names was synced before. Where it isn't said that may be so, too.
    pub is_synced: bool,
    /// The manifest that this one was made from, in the same directory.
    pub parent: Option<Parent>,
    /// The segments, each once.
    pub segments: Vec<Arc<SegmentMeta>>,
    /// The maps that stack entries name; the first is [`StateMap::Identity`] and the only one.
    pub maps: Vec<StateMap>,
    /// What stack entries say of older schemas; the first says nothing, and is the only one that does.
    pub marks: Vec<Marks>,
    /// Ascending; together they cover the store's range.
    pub slices: Vec<Slice>,
}

impl Manifest {
    /// What a store begins with: nothing.
    pub fn of_nothing(number: u64, store: StoreInfo) -> Self {
        Self {
            number,
            store,
            label: None,
            created_ms: 0,
            epoch: Epoch(0),
            purge_clock_ms: 0,
            states: Vec::new(),
            offsets: Vec::new(),
            metadata: Vec::new(),
            log_position: 0,
            has_rollbacks: false,
            is_synced: false,
            parent: None,
            segments: Vec::new(),
            maps: vec![StateMap::Identity],
            marks: vec![Marks::default()],
            slices: vec![Slice { range: store.range, stack: Vec::new(), hot: Vec::new() }],
        }
    }

    /// The slice that holds a key group; `None` where the store doesn't hold it.
    pub fn slice_of(&self, group: KeyGroup) -> Option<&Slice> {
        let after = self.slices.partition_point(|slice| slice.range.first() <= group.0);
        let slice = self.slices.get(after.checked_sub(1)?)?;
        slice.range.contains(group).then_some(slice)
    }

    /// The state of this name.
    pub fn state(&self, name: &str) -> Option<&StateInfo> {
        self.states.iter().find(|state| state.name == name)
    }
}
