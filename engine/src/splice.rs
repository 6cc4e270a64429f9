//! Arrangements that are put together of two: some states of some key groups as one has them, everything else as the other.
//!
//! A layer's map hides the states that it doesn't list, and a slice's range is its layers' clip; so nothing is copied, whatever
//! the segments hold. A segment that both have becomes one layer. Layers that have a state in common keep the order that they
//! have in the arrangement that the state is taken from.

use crate::convert::Older;
use crate::ids::{KeyGroupRange, SegmentId, StateId};
use crate::manifest::StateMap;
use crate::scope::Scope;
use crate::stack::{Layer, LazySegment, Slice, Version};
use std::collections::HashMap;
use std::sync::Arc;

/// The two arrangements can't be put together: they have layers in common in orders that contradict each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Contradiction;

/// Layers without some states; shared maps stay shared.
struct Hiding<'a> {
    /// How many states the store has.
    states: usize,
    hides: &'a dyn Fn(StateId) -> bool,
    maps: HashMap<*const StateMap, Option<Arc<StateMap>>>,
}

impl<'a> Hiding<'a> {
    fn new(states: usize, hides: &'a dyn Fn(StateId) -> bool) -> Self {
        Self { states, hides, maps: HashMap::new() }
    }

    /// The layer without them; `None` where nothing is left of it.
    fn layer(&mut self, layer: &Layer) -> Option<Layer> {
        let Self { states, hides, maps } = self;
        let map = maps.entry(Arc::as_ptr(&layer.map)).or_insert_with(|| without(&layer.map, *states, hides));
        let map = Arc::clone(map.as_ref()?);
        let older = layer.older.as_ref().map(|older| older.joined(&Older::default(), |state| !hides(state)));
        let older = older.filter(|older| !older.states().is_empty()).map(Arc::new);
        Some(Layer { segment: Arc::clone(&layer.segment), map, older })
    }
}

/// A map without some states, if anything is left of it.
fn without(map: &Arc<StateMap>, states: usize, hides: &dyn Fn(StateId) -> bool) -> Option<Arc<StateMap>> {
    let all = (0..=u16::MAX).take(states).map(|state| (StateId(state), StateId(state)));
    let pairs: Vec<(StateId, StateId)> = match &**map {
        StateMap::Identity if !all.clone().any(|(_, to)| hides(to)) => return Some(Arc::clone(map)),
        StateMap::Identity => all.filter(|(_, to)| !hides(*to)).collect(),
        StateMap::Pairs(pairs) => pairs.iter().copied().filter(|(_, to)| !hides(*to)).collect(),
    };
    (!pairs.is_empty()).then(|| Arc::new(StateMap::Pairs(pairs)))
}

/// Whether two maps have a state of the store in common.
fn shares_state(a: &StateMap, b: &StateMap) -> bool {
    match (a, b) {
        (StateMap::Identity, StateMap::Identity) => true,
        (StateMap::Identity, StateMap::Pairs(pairs)) | (StateMap::Pairs(pairs), StateMap::Identity) => {
            !pairs.is_empty()
        }
        (StateMap::Pairs(a), StateMap::Pairs(b)) => a.iter().any(|(_, to)| b.iter().any(|(_, other)| to == other)),
    }
}

/// The slices, cut where a range begins and where it ends.
fn cut_at(slices: &[Arc<Slice>], range: KeyGroupRange) -> Vec<Arc<Slice>> {
    let mut cut = Vec::with_capacity(slices.len() + 2);
    for slice in slices {
        let Some(inside) = slice.range.intersect(range).filter(|inside| *inside != slice.range) else {
            cut.push(Arc::clone(slice));
            continue;
        };
        let before =
            (slice.range.first() < inside.first()).then(|| KeyGroupRange::new(slice.range.first(), inside.first() - 1));
        let behind =
            (inside.last() < slice.range.last()).then(|| KeyGroupRange::new(inside.last() + 1, slice.range.last()));
        for range in before.into_iter().chain([inside]).chain(behind) {
            cut.push(Arc::new(clipped(slice, range)));
        }
    }
    cut
}

/// What a slice has of a range.
fn clipped(slice: &Slice, range: KeyGroupRange) -> Slice {
    let reaches = |layer: &&Layer| layer.segment.meta().groups.intersect(range).is_some();
    Slice { range, layers: slice.layers.iter().filter(reaches).cloned().collect() }
}

impl Version {
    /// As [`Version::with_flushed`], where these scopes were rolled back since the segment's epochs were cut off: what it has of them
    /// stays hidden. `states` is how many states the store has.
    #[must_use]
    pub fn with_flushed_outside(&self, segment: &Arc<LazySegment>, undone: &[Scope], states: usize) -> Self {
        // Clipped first: a scope beside what the segment has must not hide it from a slice that has both.
        let undone: Vec<Scope> = undone.iter().filter_map(|scope| scope.within(segment.meta().groups)).collect();
        if undone.is_empty() {
            return self.with_flushed(segment);
        }
        let mut slices = self.slices.clone();
        for scope in &undone {
            slices = cut_at(&slices, scope.range());
        }
        let top = Layer::of_now(segment);
        let slices = slices.into_iter().map(|slice| {
            if slice.range.intersect(segment.meta().groups).is_none() {
                return slice;
            }
            let hides = |state| {
                undone.iter().any(|scope| scope.range().intersect(slice.range).is_some() && scope.has_state(state))
            };
            let Some(top) = Hiding::new(states, &hides).layer(&top) else { return slice };
            let layers = std::iter::once(top).chain(slice.layers.iter().cloned()).collect();
            Arc::new(Slice { range: slice.range, layers })
        });
        Self { slices: slices.collect() }
    }

    /// The same with what `target` has of a scope, in place of what this has. `states` is how many states the store has.
    pub fn rolled_back(&self, scope: &Scope, target: &Self, states: usize) -> Result<Self, Contradiction> {
        let (in_scope, outside) = (|state| scope.has_state(state), |state| !scope.has_state(state));
        let (mut own, mut theirs) = (Hiding::new(states, &in_scope), Hiding::new(states, &outside));
        let mut slices = Vec::with_capacity(self.slices.len() + target.slices.len());
        let mut is_done = false;
        for slice in cut_at(&self.slices, scope.range()) {
            if !scope.range().covers(slice.range) {
                slices.push(slice);
                continue;
            }
            // With all of its states the scope has the target's slices, whatever this one's are.
            let range = if scope.has_all_states() { scope.range() } else { slice.range };
            if std::mem::replace(&mut is_done, scope.has_all_states()) {
                continue;
            }
            for of_target in &target.slices {
                let Some(range) = of_target.range.intersect(range) else { continue };
                let of_target = clipped(of_target, range);
                if scope.has_all_states() {
                    slices.push(Arc::new(of_target));
                    continue;
                }
                let ours = clipped(&slice, range).layers.iter().filter_map(|layer| own.layer(layer)).collect();
                let theirs = of_target.layers.iter().filter_map(|layer| theirs.layer(layer)).collect();
                slices.push(Arc::new(Slice { range, layers: united(ours, theirs, &in_scope)? }));
            }
        }
        Ok(Self { slices })
    }
}

/// One stack of two that have no state in common; `in_scope` says which states are the second one's.
fn united(
    ours: Vec<Layer>,
    theirs: Vec<Layer>,
    in_scope: &dyn Fn(StateId) -> bool,
) -> Result<Vec<Layer>, Contradiction> {
    let mut at: HashMap<SegmentId, usize> = HashMap::new();
    let mut layers: Vec<Option<Layer>> = Vec::with_capacity(ours.len() + theirs.len());
    // Which lie above each: those that lie there in either stack and have a state in common with it in that stack.
    let mut above: Vec<Vec<usize>> = Vec::new();
    for stack in [&ours, &theirs] {
        let mut places: Vec<usize> = Vec::with_capacity(stack.len());
        for (index, layer) in stack.iter().enumerate() {
            let place = *at.entry(layer.segment.id()).or_insert(layers.len());
            match layers.get_mut(place) {
                Some(Some(known)) => *known = joined(known, layer, in_scope)?,
                _ => {
                    layers.push(Some(layer.clone()));
                    above.push(Vec::new());
                }
            }
            let over = stack[..index].iter().zip(&places).filter(|(over, _)| shares_state(&over.map, &layer.map));
            above[place].extend(over.map(|(_, place)| *place));
            places.push(place);
        }
    }
    let mut stack = Vec::with_capacity(layers.len());
    while stack.len() < layers.len() {
        let is_free =
            |place: &usize| layers[*place].is_some() && above[*place].iter().all(|over| layers[*over].is_none());
        let next = (0..layers.len()).find(is_free).ok_or(Contradiction)?;
        stack.extend(layers[next].take());
    }
    Ok(stack)
}

/// One layer of two of the same segment that have no state in common.
fn joined(ours: &Layer, theirs: &Layer, in_scope: &dyn Fn(StateId) -> bool) -> Result<Layer, Contradiction> {
    let (StateMap::Pairs(own), StateMap::Pairs(other)) = (&*ours.map, &*theirs.map) else { return Err(Contradiction) };
    let mut pairs: Vec<(StateId, StateId)> = own.iter().chain(other).copied().collect();
    pairs.sort_unstable();
    if pairs.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err(Contradiction);
    }
    let none = Older::default();
    let older = theirs.older.as_deref().unwrap_or(&none).joined(ours.older.as_deref().unwrap_or(&none), in_scope);
    let older = (!older.states().is_empty()).then(|| Arc::new(older));
    Ok(Layer { segment: Arc::clone(&ours.segment), map: Arc::new(StateMap::Pairs(pairs)), older })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::cache::BlockCache;
    use crate::engine::Engine;
    use crate::ids::{Epoch, KeyGroup};
    use crate::manifest::sample::{Random, segment_meta};
    use crate::options::EngineOptions;
    use crate::platform::storage::{self, PageCache, Storage, StorageChoice};
    use std::collections::BTreeMap;

    const GROUPS: u16 = 6;
    const STATES: u16 = 4;

    /// Which segments each key group's states are read from, newest first.
    fn stacks(version: &Version) -> BTreeMap<(u16, u16), Vec<SegmentId>> {
        let mut stacks = BTreeMap::new();
        let mut next = 0;
        for slice in &version.slices {
            assert_eq!(slice.range.first(), next, "slices without gaps");
            next = slice.range.last() + 1;
            let mut ids: Vec<SegmentId> = slice.layers.iter().map(|layer| layer.segment.id()).collect();
            ids.sort_unstable();
            assert!(ids.windows(2).all(|pair| pair[0] != pair[1]), "a stack with a segment twice");
            for group in slice.range.iter() {
                for state in (0..STATES).map(StateId) {
                    let shows = |layer: &&Layer| {
                        layer.segment.meta().groups.contains(group) && layer.map.to_segment(state) == Some(state)
                    };
                    let stack = slice.layers.iter().filter(shows).map(|layer| layer.segment.id()).collect();
                    stacks.insert((group.0, state.0), stack);
                }
            }
        }
        assert_eq!(next, GROUPS);
        stacks
    }

    fn random_range(random: &mut Random) -> KeyGroupRange {
        KeyGroupRange::new(random.below(GROUPS.into()) as u16, random.below(GROUPS.into()) as u16)
    }

    fn random_scope(random: &mut Random) -> Scope {
        let states = (0..STATES).map(StateId).filter(|_| random.chance(3)).collect();
        Scope::groups(random_range(random)).of_states(states)
    }

    /// Flushes, late ones too, and rollbacks of all kinds: each state of each key group has the stack that it has to have.
    #[test]
    fn each_state_has_the_stack_of_its_own_arrangement() {
        let directory = tempfile::tempdir().unwrap();
        let engine = Engine::open(EngineOptions { memory_budget_bytes: 4 << 20, ..Default::default() }).unwrap();
        let storage: Arc<dyn Storage> =
            storage::open(directory.path(), StorageChoice::Posix, PageCache::Everything, true).unwrap();
        let cache: &Arc<BlockCache> = &engine.inner.cache;
        let (mut rolled_back, mut refused) = (0, 0);
        for seed in 0..300 {
            let mut random = Random::seeded(seed);
            let mut version = Version::empty(KeyGroupRange::new(0, GROUPS - 1));
            let mut known = vec![version.clone()];
            for step in 1..40_u32 {
                let before = stacks(&version);
                if random.chance(2) {
                    let groups = random_range(&mut random);
                    let meta = segment_meta(&mut random, SegmentId(step.into()), groups, Epoch(step));
                    let segment = Arc::new(LazySegment::new(&storage, cache, Arc::new(meta)));
                    let undone: Vec<Scope> = (0..random.below(3)).map(|_| random_scope(&mut random)).collect();
                    version = version.with_flushed_outside(&segment, &undone, STATES.into());
                    for ((group, state), stack) in stacks(&version) {
                        let mut wanted = before[&(group, state)].clone();
                        let is_undone = undone.iter().any(|scope| scope.has(KeyGroup(group), StateId(state)));
                        if groups.contains(KeyGroup(group)) && !is_undone {
                            wanted.insert(0, segment.id());
                        }
                        assert_eq!(stack, wanted, "seed {seed}, step {step}: state {state} of key group {group}");
                    }
                } else if random.chance(2) {
                    known.push(version.clone());
                } else {
                    let (scope, target) = (random_scope(&mut random), random.below(known.len()));
                    let target = &known[target];
                    let Ok(next) = version.rolled_back(&scope, target, STATES.into()) else {
                        assert!(!scope.has_all_states(), "seed {seed}: all states are never refused");
                        refused += 1;
                        continue;
                    };
                    rolled_back += 1;
                    let of_target = stacks(target);
                    for (at, stack) in stacks(&next) {
                        let is_in = scope.has(KeyGroup(at.0), StateId(at.1));
                        let wanted = if is_in { &of_target[&at] } else { &before[&at] };
                        assert_eq!(&stack, wanted, "seed {seed}, step {step}: (key group, state) {at:?}");
                    }
                    version = next;
                }
            }
        }
        println!("{rolled_back} rolled back, {refused} refused");
        assert!(rolled_back > 1_000 && refused < rolled_back / 10, "{rolled_back} rolled back, {refused} refused");
    }
}
