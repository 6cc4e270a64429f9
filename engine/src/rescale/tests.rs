//! Reading through a combined manifest gives what reading through its inputs gave.
//!
//! The world is a tiny simulation: a segment is an ordered map, a store is a manifest over such segments, and beside
//! every store stands the model: what each (key group, state's name, key) holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{combine, segment_origins};
use crate::error::Error;
use crate::ids::{Epoch, KeyGroup, KeyGroupRange, SegmentId, StateId};
use crate::manifest::sample::{Random, segment_meta};
use crate::manifest::{Manifest, Marks, Slice, StackEntry, StateInfo, StateMap, StoreInfo, format};
use crate::platform::storage::Fault;
use crate::states::StateKind;

const KEY_GROUPS: u32 = 32;
const NAMES: [&str; 5] = ["delays", "sessions", "joins", "routes", "timers"];
const KEYS: u8 = 3;

/// (key group, state in the segment's numbering, key) → a value, or `None` for a tombstone.
type Records = BTreeMap<(u16, u16, u8), Option<u64>>;
/// (key group, state's name, key) → value.
type Model = BTreeMap<(u16, &'static str, u8), u64>;

/// The segments of all stores: what the disk holds.
struct World {
    random: Random,
    segments: BTreeMap<SegmentId, Records>,
    stores: u64,
}

impl World {
    fn new(random: Random) -> Self {
        Self { random, segments: BTreeMap::new(), stores: 0 }
    }

    fn store_info(&mut self, range: KeyGroupRange) -> StoreInfo {
        self.stores += 1;
        StoreInfo { uuid: self.stores.into(), hash_seed: self.random.next(), key_groups: KEY_GROUPS, range }
    }

    /// An empty store whose states are registered in an order of its own.
    fn create(&mut self, range: KeyGroupRange) -> Manifest {
        let slices = self.random.cut(range, 4);
        let mut manifest = Manifest {
            number: 1,
            store: self.store_info(range),
            label: Some(1),
            created_ms: 1_000 + self.random.below(1_000) as u64,
            epoch: Epoch(1 + self.random.below(10) as u32),
            purge_clock_ms: self.random.below(1_000) as u64,
            states: Vec::new(),
            offsets: self.random.cut(range, 3).into_iter().map(|range| (range, range.to_string().into())).collect(),
            metadata: b"job".to_vec(),
            log_position: 9,
            has_rollbacks: false,
            is_synced: false,
            parent: None,
            segments: Vec::new(),
            maps: vec![StateMap::Identity],
            marks: vec![Marks::default()],
            slices: slices.into_iter().map(|range| Slice { range, stack: Vec::new(), hot: b"hot".to_vec() }).collect(),
        };
        self.register(&mut manifest, 3);
        manifest
    }

    /// Registers up to `count` more states, in random order.
    fn register(&mut self, manifest: &mut Manifest, count: usize) {
        let mut names = NAMES;
        self.random.shuffle(&mut names);
        for name in names.into_iter().filter(|name| manifest.state(name).is_none()).take(count).collect::<Vec<_>>() {
            let id = StateId(manifest.states.len() as u16);
            manifest.states.push(state(name, id));
        }
    }

    /// One flush: puts and deletes all over the store, in one segment on top of every stack that it touches.
    fn flush(&mut self, manifest: &mut Manifest, model: &mut Model) {
        manifest.epoch.0 += 1;
        let mut records = Records::new();
        let range = manifest.store.range;
        for _ in 0..1 + self.random.below(40) {
            let group = range.first() + self.random.below(range.count()) as u16;
            let state = &manifest.states[self.random.below(manifest.states.len())];
            let key = self.random.below(usize::from(KEYS)) as u8;
            let value = (!self.random.chance(4)).then(|| self.random.next());
            records.insert((group, state.id.0, key), value);
            let name = NAMES.into_iter().find(|name| *name == state.name).unwrap();
            match value {
                Some(value) => model.insert((group, name, key), value),
                None => model.remove(&(group, name, key)),
            };
        }
        self.install(manifest, records, None);
    }

    /// Merges the whole stack of one slice into one segment in the store's own numbering.
    fn compact(&mut self, manifest: &mut Manifest) {
        let index = self.random.below(manifest.slices.len());
        let mut records = Records::new();
        for group in manifest.slices[index].range.iter() {
            for state in &manifest.states {
                for key in 0..KEYS {
                    if let Some(value) = self.read(manifest, group, &state.name, key) {
                        records.insert((group.0, state.id.0, key), Some(value));
                    }
                }
            }
        }
        manifest.slices[index].stack.clear();
        if !records.is_empty() {
            self.install(manifest, records, Some(index));
        }
        drop_unused(manifest);
    }

    fn install(&mut self, manifest: &mut Manifest, records: Records, only: Option<usize>) {
        let id = SegmentId::new(5, self.segments.len() as u64);
        let groups = KeyGroupRange::new(records.keys().next().unwrap().0, records.keys().next_back().unwrap().0);
        let segment = manifest.segments.len() as u32;
        manifest.segments.push(Arc::new(segment_meta(&mut self.random, id, groups, manifest.epoch)));
        for (index, slice) in manifest.slices.iter_mut().enumerate() {
            if only.map_or(slice.range.intersect(groups).is_some(), |only| only == index) {
                slice.stack.insert(0, StackEntry { segment, map: 0, marks: 0 });
            }
        }
        self.segments.insert(id, records);
    }

    /// The way of a read: slice of the key group, its stack from the newest, the state's number in each segment.
    fn read(&self, manifest: &Manifest, group: KeyGroup, name: &str, key: u8) -> Option<u64> {
        let state = manifest.state(name)?;
        for entry in &manifest.slice_of(group)?.stack {
            let records = &self.segments[&manifest.segments[entry.segment as usize].id];
            let Some(number) = manifest.maps[entry.map as usize].to_segment(state.id) else { continue };
            if let Some(value) = records.get(&(group.0, number.0, key)) {
                return *value;
            }
        }
        None
    }

    /// All that is there to read, key by key.
    fn contents(&self, manifest: &Manifest) -> Model {
        let mut contents = Model::new();
        for group in (0..KEY_GROUPS as u16).map(KeyGroup) {
            for name in NAMES {
                for key in 0..KEYS {
                    if let Some(value) = self.read(manifest, group, name, key) {
                        contents.insert((group.0, name, key), value);
                    }
                }
            }
        }
        contents
    }

    /// Lives a little: flushes, new states, compactions.
    fn live(&mut self, manifest: &mut Manifest, model: &mut Model) {
        for _ in 0..1 + self.random.below(4) {
            self.flush(manifest, model);
            if self.random.chance(3) {
                self.register(manifest, 1);
            }
            if self.random.chance(3) {
                self.compact(manifest);
            }
        }
        let read_back = self.contents(manifest);
        let expected: Model = model
            .iter()
            .filter(|(at, _)| manifest.store.range.contains(KeyGroup(at.0)))
            .map(|(k, v)| (*k, *v))
            .collect();
        assert_eq!(read_back, expected, "the simulation itself");
    }

    /// Combines the inputs for `range` and holds the result against the model and against the inputs.
    fn rescale(&mut self, inputs: &[(Manifest, usize)], range: KeyGroupRange, model: &Model) -> Manifest {
        let info = self.store_info(range);
        let combined = combine(inputs, range, info).unwrap();
        let bytes = format::encode(&combined).unwrap();
        assert_eq!(format::decode(&bytes, "x".as_ref()).unwrap(), combined);

        let inside = |group: u16| range.contains(KeyGroup(group));
        let expected: Model = model.iter().filter(|(at, _)| inside(at.0)).map(|(k, v)| (*k, *v)).collect();
        assert_eq!(self.contents(&combined), expected);
        let through_inputs: Model =
            inputs.iter().flat_map(|(input, _)| self.contents(input)).filter(|(at, _)| inside(at.0)).collect();
        assert_eq!(through_inputs, expected);

        for group in range.iter() {
            let before = inputs.iter().find_map(|(input, _)| offset_of(input, group));
            assert_eq!(offset_of(&combined, group), before, "{group:?}");
        }
        assert_eq!(Some(combined.epoch), inputs.iter().map(|(input, _)| input.epoch).max());
        assert_eq!(Some(combined.purge_clock_ms), inputs.iter().map(|(input, _)| input.purge_clock_ms).min());
        let origins = segment_origins(inputs, &combined);
        assert_eq!(origins.len(), combined.segments.len());
        for (id, origin) in origins {
            let (input, _) = inputs.iter().find(|(_, index)| *index == origin).unwrap();
            assert!(input.segments.iter().any(|segment| segment.id == id));
        }
        combined
    }
}

fn offset_of(manifest: &Manifest, group: KeyGroup) -> Option<&[u8]> {
    manifest.offsets.iter().find(|(range, _)| range.contains(group)).map(|(_, bytes)| bytes.as_slice())
}

fn state(name: &str, id: StateId) -> StateInfo {
    let user = format!("schema of {name}").into_bytes();
    let (name, kind, merge) = (name.to_owned(), name.len() as u8, String::new());
    StateInfo { name, id, kind, ttl: None, merge, user, lineage: 0, conversions: Vec::new() }
}

/// Drops the segments that no stack uses, as an install after a compaction does.
fn drop_unused(manifest: &mut Manifest) {
    let used: BTreeSet<u32> =
        manifest.slices.iter().flat_map(|slice| &slice.stack).map(|entry| entry.segment).collect();
    let kept: Vec<u32> = used.into_iter().collect();
    manifest.segments = kept.iter().map(|&index| manifest.segments[index as usize].clone()).collect();
    for entry in manifest.slices.iter_mut().flat_map(|slice| &mut slice.stack) {
        entry.segment = kept.binary_search(&entry.segment).unwrap() as u32;
    }
}

fn all() -> KeyGroupRange {
    KeyGroupRange::new(0, (KEY_GROUPS - 1) as u16)
}

/// A job of these ranges that has lived, and what it holds.
fn job(world: &mut World, ranges: &[KeyGroupRange]) -> (Vec<(Manifest, usize)>, Model) {
    let mut model = Model::new();
    let stores = ranges.iter().enumerate().map(|(index, &range)| {
        let mut manifest = world.create(range);
        world.live(&mut manifest, &mut model);
        (manifest, index)
    });
    (stores.collect(), model)
}

/// From `before` stores to `after` stores, each made from all inputs.
fn rescaled(before: usize, after: usize) {
    let mut world = World::new(Random::announced(&format!("{before} to {after}")));
    for _ in 0..60 {
        let ranges = |count: usize| -> Vec<KeyGroupRange> {
            let bound = |index: usize| (index * KEY_GROUPS as usize / count) as u16;
            (0..count).map(|index| KeyGroupRange::new(bound(index), bound(index + 1) - 1)).collect()
        };
        let (mut inputs, model) = job(&mut world, &ranges(before));
        world.random.shuffle(&mut inputs);
        for range in ranges(after) {
            world.rescale(&inputs, range, &model);
        }
    }
}

#[test]
fn one_to_one() {
    rescaled(1, 1);
}

#[test]
fn one_to_many() {
    rescaled(1, 5);
}

#[test]
fn many_to_one() {
    rescaled(5, 1);
}

#[test]
fn many_to_many() {
    rescaled(3, 5);
    rescaled(5, 3);
}

/// Combined manifests live on, register states and compact, and are combined again, five times over.
#[test]
fn rescaling_what_was_rescaled() {
    let mut world = World::new(Random::announced("rescaling_what_was_rescaled"));
    for _ in 0..40 {
        let ranges = world.random.cut(all(), 4);
        let (mut inputs, mut model) = job(&mut world, &ranges);
        for _ in 0..5 {
            world.random.shuffle(&mut inputs);
            let ranges = world.random.cut(all(), 4);
            let mut outputs = Vec::new();
            for (index, range) in ranges.into_iter().enumerate() {
                // Only those that hold a part of the range, or all of them: both are allowed.
                let mut chosen = inputs.clone();
                if world.random.chance(2) {
                    chosen.retain(|(input, _)| input.store.range.intersect(range).is_some());
                }
                outputs.push((world.rescale(&chosen, range, &model), index));
            }
            for (manifest, _) in &mut outputs {
                world.live(manifest, &mut model);
            }
            inputs = outputs;
        }
    }
}

/// Two halves number the same two states the other way round; united twice over, the maps have to compose.
#[test]
fn maps_compose_over_several_rescalings() {
    let mut world = World::new(Random::seeded(3));
    let mut model = Model::new();
    let halves = [KeyGroupRange::new(0, 15), KeyGroupRange::new(16, 31)];
    let mut inputs: Vec<(Manifest, usize)> = Vec::new();
    for (index, names) in [["delays", "sessions"], ["sessions", "delays"]].into_iter().enumerate() {
        let mut manifest = world.create(halves[index]);
        manifest.states = (0..).zip(names).map(|(id, name)| state(name, StateId(id))).collect();
        world.flush(&mut manifest, &mut model);
        inputs.push((manifest, index));
    }
    let whole = world.rescale(&inputs, all(), &model);
    let names: Vec<&str> = whole.states.iter().map(|state| state.name.as_str()).collect();
    assert_eq!(names, ["delays", "sessions"]);
    let swapped = StateMap::Pairs(vec![(StateId(0), StateId(1)), (StateId(1), StateId(0))]);
    assert_eq!(whole.maps, [StateMap::Identity, swapped]);

    // The upper half beside a lower one that begins with a third state: every number moves again.
    let upper = world.rescale(&[(whole, 0)], halves[1], &model);
    let mut lower = world.create(halves[0]);
    lower.states = vec![state("joins", StateId(0))];
    model.retain(|&(group, ..), _| group >= 16);
    world.flush(&mut lower, &mut model);
    let again = world.rescale(&[(upper, 0), (lower, 1)], all(), &model);
    let moved = StateMap::Pairs(vec![(StateId(0), StateId(2)), (StateId(1), StateId(1))]);
    assert_eq!(again.maps, [StateMap::Identity, moved]);
}

#[test]
fn an_unchanged_store_keeps_its_numbers_and_stacks() {
    let mut world = World::new(Random::seeded(4));
    let (inputs, model) = job(&mut world, &[all()]);
    let combined = world.rescale(&inputs, all(), &model);
    let (input, _) = &inputs[0];
    assert_eq!(combined.states, input.states);
    assert_eq!(combined.maps, [StateMap::Identity]);
    assert_eq!((&combined.metadata, combined.created_ms), (&input.metadata, input.created_ms));
    assert_eq!((combined.number, combined.label, combined.parent), (0, None, None));
    // What the state says of positions of its changelog lies before all of the new one.
    assert_eq!(combined.log_position, input.log_position);
    let ranges = |manifest: &Manifest| manifest.slices.iter().map(|slice| slice.range).collect::<Vec<_>>();
    assert_eq!(ranges(&combined), ranges(input));
}

/// Splitting and uniting leaves no trace: segments that the parts share are listed once, offsets grow together.
#[test]
fn parts_that_come_together_again_share_their_segments() {
    let mut world = World::new(Random::seeded(5));
    let (mut inputs, model) = job(&mut world, &[all()]);
    inputs[0].0.offsets = vec![(all(), b"42".to_vec())];
    let quarters = [0, 8, 16, 24].map(|first| KeyGroupRange::new(first, first + 7));
    let mut parts: Vec<(Manifest, usize)> = Vec::new();
    for (index, range) in quarters.into_iter().enumerate() {
        parts.push((world.rescale(&inputs, range, &model), index));
    }
    let whole = world.rescale(&parts, all(), &model);
    assert_eq!(whole.offsets, [(all(), b"42".to_vec())]);
    let ids = |manifest: &Manifest| manifest.segments.iter().map(|segment| segment.id).collect::<BTreeSet<_>>();
    assert_eq!(ids(&whole), ids(&inputs[0].0));
    assert_eq!(whole.segments.len(), ids(&whole).len());
}

#[test]
fn the_order_of_the_inputs_changes_nothing() {
    let mut world = World::new(Random::announced("the_order_of_the_inputs_changes_nothing"));
    let ranges = world.random.cut(all(), 6);
    let (mut inputs, _) = job(&mut world, &ranges);
    let info = world.store_info(all());
    let expected = combine(&inputs, all(), info).unwrap();
    for _ in 0..10 {
        world.random.shuffle(&mut inputs);
        assert_eq!(combine(&inputs, all(), info).unwrap(), expected);
    }
}

/// A state that a map doesn't list is hidden, and stays so.
#[test]
fn hidden_states_stay_hidden() {
    let mut world = World::new(Random::seeded(6));
    let mut model = Model::new();
    let mut manifest = world.create(all());
    world.flush(&mut manifest, &mut model);
    let hidden = manifest.states[1].name.clone();
    manifest.maps.push(StateMap::Pairs(vec![(StateId(0), StateId(0)), (StateId(2), StateId(2))]));
    for entry in manifest.slices.iter_mut().flat_map(|slice| &mut slice.stack) {
        entry.map = 1;
    }
    assert!(model.keys().any(|(_, name, _)| *name == hidden));
    model.retain(|(_, name, _), _| *name != hidden);
    world.rescale(&[(manifest, 0)], all(), &model);
}

#[test]
fn metadata_is_kept_where_all_agree() {
    let mut world = World::new(Random::seeded(7));
    let (mut inputs, model) = job(&mut world, &[KeyGroupRange::new(0, 9), KeyGroupRange::new(10, 31)]);
    assert_eq!(world.rescale(&inputs, all(), &model).metadata, b"job");
    inputs[1].0.metadata = b"other".to_vec();
    assert_eq!(world.rescale(&inputs, all(), &model).metadata, b"");
}

/// Two stores that fit each other, to be broken by a test.
fn two() -> (World, Vec<(Manifest, usize)>) {
    let mut world = World::new(Random::seeded(8));
    let (inputs, _) = job(&mut world, &[KeyGroupRange::new(0, 9), KeyGroupRange::new(10, 31)]);
    (world, inputs)
}

fn refusal(world: &mut World, inputs: &[(Manifest, usize)], range: KeyGroupRange) -> Error {
    let info = world.store_info(range);
    combine(inputs, range, info).unwrap_err()
}

fn assert_options(error: &Error, wanted: &str, words: &[&str]) {
    let Error::Options { option, problem } = error else { panic!("{error}") };
    assert_eq!(*option, wanted, "{error}");
    for word in words {
        assert!(problem.contains(word), "{word} in: {error}");
    }
}

#[test]
fn inputs_that_overlap_are_refused() {
    let (mut world, mut inputs) = two();
    inputs.push((world.create(KeyGroupRange::new(9, 9)), 7));
    let error = refusal(&mut world, &inputs, all());
    assert_options(&error, "checkpoints", &["checkpoint 0 holds 0..=9", "checkpoint 7 holds 9..=9", "overlap"]);
    let twice = [inputs[0].clone(), inputs[0].clone()];
    let error = refusal(&mut world, &twice, KeyGroupRange::new(0, 9));
    assert_options(&error, "checkpoints", &["overlap"]);
}

#[test]
fn a_gap_in_the_cover_is_refused() {
    let (mut world, inputs) = two();
    assert_options(&refusal(&mut world, &inputs[..1], all()), "checkpoints", &["key group 10 of 0..=31"]);
    assert_options(&refusal(&mut world, &inputs[1..], all()), "checkpoints", &["key group 0 of 0..=31"]);
    assert_options(&refusal(&mut world, &[], all()), "checkpoints", &["key group 0 of 0..=31"]);
    let apart = [inputs[0].clone(), (world.create(KeyGroupRange::new(12, 31)), 1)];
    assert_options(&refusal(&mut world, &apart, all()), "checkpoints", &["key group 10 of 0..=31"]);
    let outside = KeyGroupRange::new(10, 32);
    assert_options(&refusal(&mut world, &inputs, outside), "range", &["10..=32 of 32 key groups"]);
}

#[test]
fn another_number_of_key_groups_is_refused() {
    let (mut world, mut inputs) = two();
    inputs[1].0.store.key_groups = 64;
    assert_options(&refusal(&mut world, &inputs, all()), "key_groups", &["checkpoint 1", "64", "32"]);
    let info = StoreInfo { key_groups: 64, ..world.store_info(all()) };
    assert_options(&combine(&inputs[..1], all(), info).unwrap_err(), "key_groups", &["checkpoint 0", "32", "64"]);
    let other = world.store_info(KeyGroupRange::new(0, 5));
    assert_options(&combine(&inputs, all(), other).unwrap_err(), "range", &["0..=5", "0..=31"]);
}

#[test]
fn states_that_disagree_are_refused_by_name() {
    for (change, word) in [(0, "kind"), (1, "merged"), (2, "expire")] {
        let (mut world, mut inputs) = two();
        let name = inputs[0].0.states[0].name.clone();
        world.register(&mut inputs[1].0, NAMES.len());
        let state = inputs[1].0.states.iter_mut().find(|state| state.name == name).unwrap();
        match change {
            0 => state.kind ^= 0x80,
            1 => state.merge = "f64-max".to_owned(),
            _ => {
                state.kind = StateKind::Merging as u8;
                state.ttl = Some(vec![0; 9]);
                inputs[0].0.states[0].kind = StateKind::Merging as u8;
            }
        }
        let error = refusal(&mut world, &inputs, all());
        let Error::State { state, problem } = &error else { panic!("{error}") };
        assert!(*state == name && problem.contains(word), "{error}");
    }
}

#[test]
fn inconsistent_inputs_are_refused() {
    let (mut world, mut inputs) = two();
    inputs[1].0.slices[0].stack.push(StackEntry { segment: 99, map: 0, marks: 0 });
    assert_options(&refusal(&mut world, &inputs, all()), "checkpoints", &["checkpoint 1", "segment 99"]);
}

/// Of two descriptions of one file one is wrong, and nobody can tell which.
#[test]
fn segments_described_differently_are_refused() {
    let (mut world, inputs) = two();
    let info = world.store_info(all());
    let whole = combine(&inputs, all(), info).unwrap();
    let mut parts = Vec::new();
    for (index, range) in [KeyGroupRange::new(0, 20), KeyGroupRange::new(21, 31)].into_iter().enumerate() {
        let info = world.store_info(range);
        parts.push((combine(&[(whole.clone(), 0)], range, info).unwrap(), index));
    }
    let shared = parts[0].0.segments.iter().position(|meta| parts[1].0.segments.contains(meta)).unwrap();
    Arc::make_mut(&mut parts[0].0.segments[shared]).entries += 1;
    let error = refusal(&mut world, &parts, all());
    let Error::Storage(storage) = &error else { panic!("{error}") };
    let id = parts[0].0.segments[shared].id;
    assert_eq!((storage.fault, storage.path.to_str().unwrap()), (Fault::Corrupt, &*format!("{id}.segment")));
}
