//! The ranges that all of a slice is gone through by.
//!
//! One where its layers number states alike. Else one for each (key group, state) of which some layer has anything, as the segments'
//! directories say: of 65,536 key groups and as many states most pairs are nobody's.

use super::Bounds;
use crate::ids::{KeyGroupRange, StateId};
use crate::manifest::StateMap;
use crate::platform::storage::StorageError;
use crate::segment::Segment;
use crate::stack::{Layer, Slice};
use std::sync::Arc;

/// The ranges, in ascending order.
#[derive(Debug)]
pub struct SliceBounds {
    /// The whole slice, where that is one.
    whole: Option<Bounds>,
    range: KeyGroupRange,
    /// How many states the store has.
    states: usize,
    directories: Vec<Directory>,
    /// The key group that is gone through, and those of its states that are left, the last first.
    group: u16,
    left: Vec<u16>,
}

impl SliceBounds {
    /// Those of a slice of a store with so many states.
    pub fn of(slice: &Slice, states: usize) -> Result<Self, StorageError> {
        let range = slice.range;
        let (mut whole, mut directories) = (None, Vec::new());
        if slice.layers.iter().all(|layer| matches!(*layer.map, StateMap::Identity)) {
            let to = range.last().checked_add(1).map(|end| end.to_be_bytes().to_vec());
            whole = Some(Bounds { from: range.first().to_be_bytes().to_vec(), to, reverse: false });
        } else {
            for layer in slice.layers.iter().filter(|layer| layer.segment.meta().groups.intersect(range).is_some()) {
                directories.push(Directory::from(layer, range.first())?);
            }
        }
        Ok(Self { whole, range, states, directories, group: 0, left: Vec::new() })
    }

    fn advance(&mut self) -> Result<Option<Bounds>, StorageError> {
        if let Some(whole) = self.whole.take() {
            return Ok(Some(whole));
        }
        while self.left.is_empty() {
            let next = self.directories.iter().filter_map(|directory| directory.now).map(|(group, _)| group).min();
            let Some(group) = next.filter(|&group| group <= self.range.last()) else { return Ok(None) };
            self.group = group;
            for directory in &mut self.directories {
                directory.take(group, &mut self.left)?;
            }
            self.left.retain(|&state| usize::from(state) < self.states);
            self.left.sort_unstable_by(|a, b| b.cmp(a));
            self.left.dedup();
        }
        let prefix = |state: u16| Bounds::prefix(&[self.group.to_be_bytes(), state.to_be_bytes()].concat());
        Ok(self.left.pop().map(prefix))
    }
}

impl Iterator for SliceBounds {
    type Item = Result<Bounds, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

/// A place in the directory of a layer's segment.
#[derive(Debug)]
struct Directory {
    segment: Arc<Segment>,
    map: Arc<StateMap>,
    at: usize,
    /// The key group and state there, as the segment numbers it; `None` at the end.
    now: Option<(u16, u16)>,
}

impl Directory {
    /// At the first entry of a key group or one behind it.
    fn from(layer: &Layer, first: u16) -> Result<Self, StorageError> {
        let (segment, map) = (Arc::clone(layer.segment.get()?), Arc::clone(&layer.map));
        let (mut low, mut high) = (0, segment.directory_len());
        while low < high {
            let middle = low.midpoint(high);
            match segment.directory_entry(middle)? {
                Some(entry) if entry.group < first => low = middle + 1,
                _ => high = middle,
            }
        }
        let mut directory = Self { segment, map, at: low, now: None };
        directory.look()?;
        Ok(directory)
    }

    fn look(&mut self) -> Result<(), StorageError> {
        self.now = self.segment.directory_entry(self.at)?.map(|entry| (entry.group, entry.state));
        Ok(())
    }

    /// Goes past a key group, which none before it is left of, and adds its states, as the store numbers them.
    fn take(&mut self, group: u16, states: &mut Vec<u16>) -> Result<(), StorageError> {
        while let Some((_, state)) = self.now.filter(|(of, _)| *of == group) {
            states.extend(self.map.to_store(StateId(state)).map(|state| state.0));
            self.at += 1;
            self.look()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::BlockCache;
    use crate::ids::{KeyGroup, SegmentId};
    use crate::key::{Key, push_sort_key};
    use crate::platform::arena::Arena;
    use crate::platform::storage::{PageCache, Storage, StorageChoice, open};
    use crate::segment::{Entry, Kind, SegmentOptions, SegmentWriter};
    use crate::stack::LazySegment;
    use std::collections::BTreeSet;

    type Pairs = BTreeSet<(u16, u16)>;

    struct World {
        _directory: tempfile::TempDir,
        storage: Arc<dyn Storage>,
        cache: Arc<BlockCache>,
        segments: u64,
        random: u64,
    }

    impl World {
        fn new(seed: u64) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let storage = open(directory.path(), StorageChoice::Posix, PageCache::Everything, true).unwrap();
            let cache = Arc::new(BlockCache::new(&Arc::new(Arena::new(4 << 20, 0).unwrap())));
            Self { _directory: directory, storage, cache, segments: 0, random: seed }
        }

        fn below(&mut self, bound: u16) -> u16 {
            self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((self.random >> 33) % u64::from(bound)) as u16
        }

        fn layer(&mut self, pairs: &Pairs, map: StateMap) -> Layer {
            self.segments += 1;
            let id = SegmentId::new(1, self.segments);
            let mut writer = SegmentWriter::create(&*self.storage, id, SegmentOptions::default()).unwrap();
            for &(group, state) in pairs {
                let mut sort_key = Vec::new();
                push_sort_key(&mut sort_key, StateId(state), Key::new(KeyGroup(group), b"k"));
                writer.add(Entry { sort_key: &sort_key, kind: Kind::Put, expiry_ms: None, value: b"v" }).unwrap();
            }
            let (meta, _) = writer.finish(false).unwrap().unwrap();
            let segment = LazySegment::new(&self.storage, &self.cache, Arc::new(meta));
            Layer { segment: Arc::new(segment), map: Arc::new(map), older: None }
        }
    }

    fn all(slice: &Slice, states: usize) -> Vec<Bounds> {
        SliceBounds::of(slice, states).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn they_are_those_of_which_some_layer_has_anything() {
        const STATES: u16 = 9;
        for seed in 0..60 {
            let mut world = World::new(seed);
            let first = world.below(300);
            let range = KeyGroupRange::new(first, first + world.below(40));
            let mut slice = Slice { range, layers: Vec::new() };
            let mut wanted = Pairs::new();
            for layer in 0..=world.below(4) {
                let count = 1 + world.below(60);
                let pairs: Pairs = (0..count).map(|_| (world.below(360), world.below(STATES))).collect();
                // The first is numbered otherwise in any case; some states of it are hidden.
                let map = if layer == 0 || world.below(2) == 0 {
                    let shift = world.below(STATES);
                    let shown = (0..STATES).filter(|state| !(state + shift).is_multiple_of(3));
                    StateMap::Pairs(
                        shown.map(|state| (StateId(state), StateId((state * 2 + shift) % STATES))).collect(),
                    )
                } else {
                    StateMap::Identity
                };
                let here = pairs.iter().filter(|(group, _)| range.contains(KeyGroup(*group)));
                wanted.extend(here.filter_map(|&(group, state)| Some((group, map.to_store(StateId(state))?.0))));
                slice.layers.push(world.layer(&pairs, map));
            }
            let prefix =
                |&(group, state): &(u16, u16)| Bounds::prefix(&[group.to_be_bytes(), state.to_be_bytes()].concat());
            let (found, wanted) = (all(&slice, usize::from(STATES)), wanted.iter().map(prefix).collect::<Vec<_>>());
            let parts =
                |bounds: &[Bounds]| bounds.iter().map(|of| (of.from.clone(), of.to.clone())).collect::<Vec<_>>();
            assert_eq!(parts(&found), parts(&wanted), "seed {seed}");
        }
    }

    #[test]
    fn a_slice_whose_layers_number_states_alike_is_one() {
        let mut world = World::new(1);
        let layers = vec![world.layer(&Pairs::from([(3, 1), (u16::MAX, 0)]), StateMap::Identity)];
        for (range, to) in [(KeyGroupRange::new(2, 7), Some(vec![0, 8])), (KeyGroupRange::new(2, u16::MAX), None)] {
            let found = all(&Slice { range, layers: layers.clone() }, 5);
            assert_eq!(found.len(), 1);
            assert_eq!((&found[0].from, &found[0].to), (&vec![0, 2], &to));
        }
    }

    /// One list of all pairs would take some gigabytes.
    #[test]
    fn pairs_that_nobody_has_take_no_room() {
        let mut world = World::new(1);
        let pairs = Pairs::from([(0, 4), (65_535, 0), (65_535, u16::MAX)]);
        let hides = StateMap::Pairs((1..u16::MAX).map(|state| (StateId(state), StateId(state))).collect());
        let layers = vec![world.layer(&pairs, StateMap::Identity), world.layer(&Pairs::from([(9, 0), (9, 1)]), hides)];
        let found = all(&Slice { range: KeyGroupRange::new(0, u16::MAX), layers }, 65_536);
        let from: Vec<&[u8]> = found.iter().map(|bounds| &bounds.from[..]).collect();
        assert_eq!(from, [&[0, 0, 0, 4][..], &[0, 9, 0, 1], &[255, 255, 0, 0], &[255, 255, 255, 255]]);
    }
}
