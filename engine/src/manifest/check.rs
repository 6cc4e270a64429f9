//! What has to hold between the parts of a manifest.
//!
//! Checked before a manifest is written and again when one was read. Linear in the manifest, save for one sort of the
//! segments' ids.

use std::collections::HashSet;
use std::fmt;

use super::format::OFFSET_BYTES_MIN;
use super::{HOST_BYTES_MAX, KEY_GROUPS_MAX, Manifest, NAME_BYTES_MAX, OPAQUE_BYTES_MAX, StateMap, StoreInfo};
use crate::ids::{KeyGroupRange, POSITION_END, SegmentId};
use crate::platform::storage::names::NUMBER_END;
use crate::states::{STATE_NAME_BYTES_MAX, STATES_BYTES_MAX};

// What a store lets in as a state, a manifest takes: else a state would be registered and no checkpoint be complete.
const _: () = assert!(STATE_NAME_BYTES_MAX <= NAME_BYTES_MAX && STATES_BYTES_MAX <= OPAQUE_BYTES_MAX);

/// A part of a manifest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Section {
    /// The fixed part at the front.
    Head,
    /// The states.
    States,
    /// The sources' offsets.
    Offsets,
    /// The host's metadata.
    Metadata,
    /// The segments.
    Segments,
    /// The maps between states' numbers.
    Maps,
    /// Which values are of an older schema.
    Marks,
    /// The slices and their stacks.
    Slices,
}

/// Why a manifest is not one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invalid {
    /// The part that is wrong.
    pub section: Section,
    /// What is wrong with it.
    pub detail: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.section, self.detail)
    }
}

/// Returns early with an [`Invalid`] unless a condition holds; the words are made only then.
macro_rules! require {
    ($condition:expr, $section:ident, $($words:tt)+) => {
        if !$condition {
            return Err(Invalid { section: Section::$section, detail: format!($($words)+) });
        }
    };
}
pub(super) use require;

impl StoreInfo {
    pub(super) fn check(&self) -> Result<(), Invalid> {
        let groups = self.key_groups;
        require!((1..=KEY_GROUPS_MAX).contains(&groups), Head, "{groups} key groups");
        let range = self.range;
        require!(u32::from(range.last()) < groups, Head, "range {range} of {groups} key groups");
        Ok(())
    }
}

/// Whether what a host gives with a barrier or a commit can stand in a manifest of a store of these key groups, and leaves room for all
/// else that does. Files are not held to the latter: what they have was let in.
pub fn check_given(store: KeyGroupRange, offsets: &[(KeyGroupRange, Vec<u8>)], metadata: &[u8]) -> Result<(), Invalid> {
    check_host(store, offsets, metadata)?;
    let of_offsets = offsets.iter().map(|(_, bytes)| (OFFSET_BYTES_MIN + bytes.len()) as u64);
    let bytes = of_offsets.sum::<u64>() + metadata.len() as u64;
    require!(bytes <= HOST_BYTES_MAX, Offsets, "{bytes} bytes, with the metadata, are more than {HOST_BYTES_MAX}");
    Ok(())
}

fn check_host(store: KeyGroupRange, offsets: &[(KeyGroupRange, Vec<u8>)], metadata: &[u8]) -> Result<(), Invalid> {
    let count = offsets.len();
    require!(u32::try_from(count).is_ok(), Offsets, "{count} offsets");
    for (range, bytes) in offsets {
        require!(store.covers(*range), Offsets, "{range} lies outside {store}");
        require!(bytes.len() <= OPAQUE_BYTES_MAX, Offsets, "{range}: {} bytes", bytes.len());
    }
    let len = metadata.len();
    require!(len <= OPAQUE_BYTES_MAX, Metadata, "{len} bytes");
    Ok(())
}

impl Manifest {
    /// Whether the manifest is consistent in itself; all that can be told without opening a segment.
    pub fn check(&self) -> Result<(), Invalid> {
        self.store.check()?;
        let (number, position) = (self.number, self.log_position);
        require!(number < NUMBER_END && position < POSITION_END, Head, "manifest {number}, of position {position}");
        self.check_states()?;
        self.check_host()?;
        self.check_segments()?;
        self.check_maps()?;
        self.check_marks()?;
        self.check_cover()?;
        self.check_stacks()
    }

    fn check_states(&self) -> Result<(), Invalid> {
        let count = self.states.len();
        require!(count <= usize::from(u16::MAX) + 1, States, "{count} states");
        let mut names = HashSet::with_capacity(count);
        for (index, state) in self.states.iter().enumerate() {
            let id = state.id.0;
            require!(usize::from(id) == index, States, "state {index} is numbered {id}");
            for (what, len) in [("name", state.name.len()), ("merge operator's name", state.merge.len())] {
                require!(len <= NAME_BYTES_MAX, States, "state {index}: a {what} of {len} bytes");
            }
            for (what, len) in [("ttl", state.ttl.as_ref().map_or(0, Vec::len)), ("schema", state.user.len())] {
                require!(len <= OPAQUE_BYTES_MAX, States, "state {index}: a {what} of {len} bytes");
            }
            require!(names.insert(state.name.as_str()), States, "two states are named {:?}", state.name);
        }
        Ok(())
    }

    fn check_host(&self) -> Result<(), Invalid> {
        check_host(self.store.range, &self.offsets, &self.metadata)
    }

    fn check_segments(&self) -> Result<(), Invalid> {
        let count = self.segments.len();
        require!(u32::try_from(count).is_ok(), Segments, "{count} segments");
        for segment in &self.segments {
            let (id, low, high) = (segment.id, segment.epoch_low.0, segment.epoch_high.0);
            require!(
                low <= high && high <= self.epoch.0,
                Segments,
                "segment {id} holds epochs {low} to {high} in a manifest of epoch {}",
                self.epoch.0
            );
            let (groups, all) = (segment.groups, self.store.key_groups);
            require!(u32::from(groups.last()) < all, Segments, "segment {id} holds {groups} of {all} key groups");
        }
        let mut ids: Vec<SegmentId> = self.segments.iter().map(|segment| segment.id).collect();
        ids.sort_unstable();
        let twice = ids.windows(2).find(|pair| pair[0] == pair[1]);
        require!(twice.is_none(), Segments, "segment {} is listed twice", twice.map_or(SegmentId(0), |pair| pair[0]));
        Ok(())
    }

    fn check_maps(&self) -> Result<(), Invalid> {
        let count = self.maps.len();
        require!(u32::try_from(count).is_ok(), Maps, "{count} maps");
        require!(self.maps.first() == Some(&StateMap::Identity), Maps, "map 0 is not the identity");
        // The last map that each state is a target of: one table for all maps, so that many empty ones cost nothing.
        let mut target_of = vec![0_usize; self.states.len()];
        for (index, map) in self.maps.iter().enumerate().skip(1) {
            let StateMap::Pairs(pairs) = map else {
                require!(false, Maps, "map {index} is the identity again");
                continue;
            };
            require!(pairs.is_sorted_by(|a, b| a.0 < b.0), Maps, "map {index} is not in ascending order");
            for &(_, to) in pairs {
                let seen = target_of.get_mut(usize::from(to.0));
                require!(seen.is_some(), Maps, "map {index} names state {} of {}", to.0, self.states.len());
                if let Some(seen) = seen {
                    require!(*seen != index, Maps, "map {index} names state {} twice", to.0);
                    *seen = index;
                }
            }
        }
        Ok(())
    }

    fn check_cover(&self) -> Result<(), Invalid> {
        let mut next = u32::from(self.store.range.first());
        for (index, slice) in self.slices.iter().enumerate() {
            let range = slice.range;
            require!(u32::from(range.first()) == next, Slices, "slice {index} is {range}, not from {next}");
            next = u32::from(range.last()) + 1;
            require!(slice.hot.len() <= OPAQUE_BYTES_MAX, Slices, "slice {index}: {} hot bytes", slice.hot.len());
            require!(u32::try_from(slice.stack.len()).is_ok(), Slices, "slice {index}: {} entries", slice.stack.len());
        }
        let end = u32::from(self.store.range.last()) + 1;
        require!(next == end, Slices, "the slices end before key group {next}, the store's range before {end}");
        Ok(())
    }

    fn check_stacks(&self) -> Result<(), Invalid> {
        // The last slice (counted from 1) that each segment was seen in.
        let mut slice_of = vec![0_usize; self.segments.len()];
        for (index, slice) in self.slices.iter().enumerate() {
            for entry in &slice.stack {
                let (segment, map) = (entry.segment, entry.map);
                require!((map as usize) < self.maps.len(), Slices, "slice {index} names map {map}");
                let marks = entry.marks;
                require!((marks as usize) < self.marks.len(), Slices, "slice {index} names marks {marks}");
                let seen = slice_of.get_mut(segment as usize);
                require!(seen.is_some(), Slices, "slice {index} names segment {segment}");
                if let Some(seen) = seen {
                    require!(*seen != index + 1, Slices, "slice {index} names segment {segment} twice");
                    *seen = index + 1;
                }
            }
        }
        let unused = slice_of.iter().position(|&slice| slice == 0);
        require!(unused.is_none(), Segments, "no slice uses segment {}", unused.unwrap_or(0));
        Ok(())
    }
}
