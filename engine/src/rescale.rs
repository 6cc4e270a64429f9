//! Rescaling: the manifest of a store made from parts of others, by clipping alone.
//!
//! No segment is read or written. The result names segments of the inputs, whose files the caller has yet to take into
//! the new store's directory ([`segment_origins`] says from where). What holds:
//! - a key group's stack comes from exactly one input, so stacks of two stores are never united;
//! - a record belongs to the result iff it belonged to an input and its key group lies in the range;
//! - states of one name become one state, whatever numbers the inputs gave them;
//! - the result doesn't depend on the order in which the inputs are given.

use std::collections::HashMap;

use crate::error::Error;
use crate::ids::{Epoch, KeyGroupRange, SegmentId, StateId};
use crate::manifest::{Manifest, Marks, Slice, StackEntry, StateInfo, StateMap, StoreInfo};
use crate::platform::storage::{Fault, StorageError, names};
use crate::segment::SegmentMeta;
use crate::states::{StateKind, decode_expiry};
use std::sync::Arc;

/// The manifest of a store that holds exactly `range`, made from checkpoints whose ranges are disjoint and together
/// cover it. Each input comes with an index of the caller's own (which directory it is from), used in errors and by
/// [`segment_origins`].
///
/// Taken over: the slices and offsets, clipped; the states of all inputs, united by name in the order of the inputs'
/// ranges; the highest epoch, above which the new store has to start; the highest position in a changelog, behind which
/// the new store's begins: so no position that anything in the state names (that a repair noted, say) is one of the new
/// changelog; the lowest purge clock; the latest time of making; the host's metadata where all inputs agree on it, else
/// none. Where inputs give a state different times to live or schemas, the input of the lowest range decides. Hotness is
/// dropped, as is the parent: they mean something in their own directory only. Number 0 and no label: the caller gives it
/// its own.
///
/// # Errors
/// [`Error::Options`] for inputs that overlap, leave a gap, divide the job into another number of key groups or are
/// inconsistent; [`Error::State`] where inputs have a state of one name and different kinds or merge operators, or a list
/// or merging state whose values expire in one of them only;
/// [`Error::Storage`] where they describe one segment differently.
pub fn combine(inputs: &[(Manifest, usize)], range: KeyGroupRange, store: StoreInfo) -> Result<Manifest, Error> {
    let inputs = in_order(inputs, range, &store)?;
    let (states, numbers) = unite_states(&inputs)?;
    let mut parts = Parts::default();
    for ((manifest, origin), numbers) in inputs.iter().zip(&numbers) {
        parts.take_slices(manifest, *origin, range, numbers)?;
    }
    Ok(Manifest {
        number: 0,
        store,
        label: None,
        created_ms: inputs.iter().map(|(manifest, _)| manifest.created_ms).max().unwrap_or(0),
        epoch: inputs.iter().map(|(manifest, _)| manifest.epoch).max().unwrap_or(Epoch(0)),
        purge_clock_ms: inputs.iter().map(|(manifest, _)| manifest.purge_clock_ms).min().unwrap_or(0),
        states,
        offsets: clip_offsets(&inputs, range),
        metadata: common_metadata(&inputs),
        log_position: inputs.iter().map(|(manifest, _)| manifest.log_position).max().unwrap_or(0),
        // Its own changelog begins there.
        has_rollbacks: false,
        is_synced: false,
        parent: None,
        segments: parts.segments,
        maps: parts.maps,
        marks: parts.marks,
        slices: parts.slices,
    })
}

/// For each segment of a combined manifest, the index of an input that has it.
///
/// A segment that several inputs share is found in the first of them. Segments of no input (the manifest isn't one
/// that these inputs combine to) are left out.
pub fn segment_origins(inputs: &[(Manifest, usize)], combined: &Manifest) -> Vec<(SegmentId, usize)> {
    let mut origins = HashMap::new();
    for (manifest, origin) in inputs {
        for segment in &manifest.segments {
            origins.entry(segment.id).or_insert(*origin);
        }
    }
    let origin_of = |segment: &Arc<SegmentMeta>| Some((segment.id, *origins.get(&segment.id)?));
    combined.segments.iter().filter_map(origin_of).collect()
}

type Input<'a> = (&'a Manifest, usize);

fn refused(option: &'static str, problem: String) -> Error {
    Error::Options { option, problem }
}

/// The inputs by ascending range, once they are known to fit each other and the wanted range.
fn in_order<'a>(
    inputs: &'a [(Manifest, usize)],
    range: KeyGroupRange,
    store: &StoreInfo,
) -> Result<Vec<Input<'a>>, Error> {
    if store.range != range {
        return Err(refused("range", format!("the new store holds {}, not {range}", store.range)));
    }
    if u32::from(range.last()) >= store.key_groups {
        return Err(refused("range", format!("{range} of {} key groups", store.key_groups)));
    }
    let mut ordered: Vec<Input<'a>> = inputs.iter().map(|(manifest, origin)| (manifest, *origin)).collect();
    ordered.sort_by_key(|(manifest, _)| manifest.store.range);
    for (manifest, origin) in &ordered {
        let (theirs, ours) = (manifest.store.key_groups, store.key_groups);
        if theirs != ours {
            let problem =
                format!("checkpoint {origin} divides the job into {theirs} key groups, the store into {ours}");
            return Err(refused("key_groups", problem));
        }
        manifest.check().map_err(|invalid| refused("checkpoints", format!("checkpoint {origin}: {invalid}")))?;
    }
    for pair in ordered.windows(2) {
        let [(before, one), (after, other)] = pair else { continue };
        let (low, high) = (before.store.range, after.store.range);
        if low.intersect(high).is_some() {
            let problem = format!("checkpoint {one} holds {low} and checkpoint {other} holds {high}: they overlap");
            return Err(refused("checkpoints", problem));
        }
    }
    let mut next = u32::from(range.first());
    for held in ordered.iter().filter_map(|(manifest, _)| manifest.store.range.intersect(range)) {
        if u32::from(held.first()) != next {
            break;
        }
        next = u32::from(held.last()) + 1;
    }
    if next <= u32::from(range.last()) {
        return Err(refused("checkpoints", format!("none of them holds key group {next} of {range}")));
    }
    Ok(ordered)
}

/// The states of all inputs under new numbers, and for each input the new number of each of its states.
fn unite_states(inputs: &[Input<'_>]) -> Result<(Vec<StateInfo>, Vec<Vec<StateId>>), Error> {
    let mut states: Vec<StateInfo> = Vec::new();
    let mut by_name: HashMap<&str, StateId> = HashMap::new();
    let mut numbers = Vec::with_capacity(inputs.len());
    for (manifest, origin) in inputs {
        let mut numbers_here = Vec::with_capacity(manifest.states.len());
        for state in &manifest.states {
            let id = match by_name.get(state.name.as_str()) {
                Some(&id) => id,
                None => {
                    let id = next_id(states.len(), state)?;
                    by_name.insert(&state.name, id);
                    states.push(StateInfo { id, ..state.clone() });
                    id
                }
            };
            let known = &mut states[usize::from(id.0)];
            check_agreement(known, state, *origin)?;
            // What one of them has yet to go through is the end of what the other has.
            if known.conversions.len() < state.conversions.len() {
                known.conversions.clone_from(&state.conversions);
                known.lineage = state.lineage;
            }
            numbers_here.push(id);
        }
        numbers.push(numbers_here);
    }
    Ok((states, numbers))
}

fn next_id(count: usize, state: &StateInfo) -> Result<StateId, Error> {
    let problem = || format!("the checkpoints together have more than {count} states");
    u16::try_from(count).map(StateId).map_err(|_| Error::State { state: state.name.clone(), problem: problem() })
}

/// Whether a state's values have times to live, which a list's elements have in their frames; not whether compaction purges them by their own
/// time.
fn expires(state: &StateInfo) -> bool {
    state.ttl.as_deref().and_then(decode_expiry).is_some_and(|(ttl, _)| ttl.is_some())
}

fn check_agreement(known: &StateInfo, state: &StateInfo, origin: usize) -> Result<(), Error> {
    let problem = if known.kind != state.kind {
        format!("of kind {} in checkpoint {origin}, of kind {} in another", state.kind, known.kind)
    } else if known.merge != state.merge {
        format!("merged by {:?} in checkpoint {origin}, by {:?} in another", state.merge, known.merge)
    } else if expires(known) != expires(state) && StateKind::from_u8(state.kind).is_some_and(StateKind::settles_expiry)
    {
        format!("its values expire in checkpoint {origin} or in another, not in both")
    } else if !are_of_one_schema(known, state) {
        format!("in checkpoint {origin} it went through other migrations than in another")
    } else {
        return Ok(());
    };
    Err(Error::State { state: state.name.clone(), problem })
}

/// Whether the values of two stores' states are of one schema: the same conversions led there, or their host describes both
/// alike, as it does where a state is new in one store and was migrated in the other. And what values of one of them have
/// yet to go through must be the end of what those of the other have, or the marks of one would mislead the other's.
fn are_of_one_schema(known: &StateInfo, state: &StateInfo) -> bool {
    let alike = known.lineage == state.lineage || (!known.user.is_empty() && known.user == state.user);
    alike && (known.conversions.ends_with(&state.conversions) || state.conversions.ends_with(&known.conversions))
}

/// The lists of the new manifest as they grow, and where in them each thing already is.
struct Parts {
    segments: Vec<Arc<SegmentMeta>>,
    maps: Vec<StateMap>,
    marks: Vec<Marks>,
    slices: Vec<Slice>,
    segment_at: HashMap<SegmentId, u32>,
    map_at: HashMap<StateMap, u32>,
    marks_at: HashMap<Marks, u32>,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            segments: Vec::new(),
            maps: vec![StateMap::Identity],
            marks: vec![Marks::default()],
            slices: Vec::new(),
            segment_at: HashMap::new(),
            map_at: HashMap::from([(StateMap::Identity, 0)]),
            marks_at: HashMap::from([(Marks::default(), 0)]),
        }
    }
}

impl Parts {
    /// Appends what `manifest` has of `range`. Entries whose segments hold nothing of a slice are left out of it.
    fn take_slices(
        &mut self,
        manifest: &Manifest,
        origin: usize,
        range: KeyGroupRange,
        numbers: &[StateId],
    ) -> Result<(), Error> {
        // Where each segment and map of the input lies in the new lists: each is looked up by content once.
        let mut segments: Vec<Option<u32>> = vec![None; manifest.segments.len()];
        let mut maps: Vec<Option<u32>> = vec![None; manifest.maps.len()];
        let mut marks: Vec<Option<u32>> = vec![None; manifest.marks.len()];
        for slice in &manifest.slices {
            let Some(clip) = slice.range.intersect(range) else { continue };
            let mut stack = Vec::with_capacity(slice.stack.len());
            for entry in &slice.stack {
                let (old_segment, old_map) = (entry.segment as usize, entry.map as usize);
                let meta = &manifest.segments[old_segment];
                if meta.groups.intersect(clip).is_none() {
                    continue;
                }
                let segment = match segments[old_segment] {
                    Some(segment) => segment,
                    None => *segments[old_segment].insert(self.segment(meta, origin)?),
                };
                let map = match maps[old_map] {
                    Some(map) => map,
                    None => *maps[old_map].insert(self.map(compose(&manifest.maps[old_map], numbers))),
                };
                let old_marks = entry.marks as usize;
                let marks = match marks[old_marks] {
                    Some(marks) => marks,
                    None => *marks[old_marks].insert(self.marks(&manifest.marks[old_marks], numbers)),
                };
                stack.push(StackEntry { segment, map, marks });
            }
            self.slices.push(Slice { range: clip, stack, hot: Vec::new() });
        }
        Ok(())
    }

    fn segment(&mut self, meta: &Arc<SegmentMeta>, origin: usize) -> Result<u32, Error> {
        if let Some(&at) = self.segment_at.get(&meta.id) {
            // Two stores that were split off one share its segments. A file doesn't change, nor can its description.
            if self.segments[at as usize] != *meta {
                let detail = format!("checkpoint {origin} describes the segment otherwise than another checkpoint");
                let name = names::segment_name(meta.id.0);
                return Err(Error::Storage(StorageError::new(Fault::Corrupt, name, 0, detail)));
            }
            return Ok(at);
        }
        let at = self.segments.len() as u32;
        self.segment_at.insert(meta.id, at);
        self.segments.push(Arc::clone(meta));
        Ok(at)
    }

    /// Marks go by the store's numbers of the states, and count from the end of a state's conversions.
    fn marks(&mut self, Marks(marks): &Marks, numbers: &[StateId]) -> u32 {
        let renumbered = |&(state, steps): &(StateId, u16)| Some((*numbers.get(usize::from(state.0))?, steps));
        let mut marks: Vec<(StateId, u16)> = marks.iter().filter_map(renumbered).collect();
        marks.sort_unstable();
        let marks = Marks(marks);
        *self.marks_at.entry(marks.clone()).or_insert_with(|| {
            self.marks.push(marks);
            self.marks.len() as u32 - 1
        })
    }

    fn map(&mut self, map: StateMap) -> u32 {
        if let Some(&at) = self.map_at.get(&map) {
            return at;
        }
        let at = self.maps.len() as u32;
        self.maps.push(map.clone());
        self.map_at.insert(map, at);
        at
    }
}

/// The map from a segment's states to the new store's: first the input's `map`, then its states' new `numbers`.
///
/// A map that hides states stays a list of pairs even where no number changes, so that they stay hidden.
fn compose(map: &StateMap, numbers: &[StateId]) -> StateMap {
    let renumbered = |state: &StateId| numbers.get(usize::from(state.0)).copied();
    match map {
        StateMap::Identity => {
            let pairs = (0..=u16::MAX).map(StateId).zip(numbers.iter().copied());
            if pairs.clone().all(|(from, to)| from == to) {
                StateMap::Identity
            } else {
                StateMap::Pairs(pairs.collect())
            }
        }
        StateMap::Pairs(pairs) => {
            StateMap::Pairs(pairs.iter().filter_map(|(from, to)| Some((*from, renumbered(to)?))).collect())
        }
    }
}

/// The offsets of what lies in `range`. Neighbours with equal offsets become one, so that stores that are split and
/// united again and again don't gather fragments.
fn clip_offsets(inputs: &[Input<'_>], range: KeyGroupRange) -> Vec<(KeyGroupRange, Vec<u8>)> {
    let mut offsets: Vec<(KeyGroupRange, Vec<u8>)> = Vec::new();
    for (groups, bytes) in inputs.iter().flat_map(|(manifest, _)| &manifest.offsets) {
        let Some(clip) = groups.intersect(range) else { continue };
        match offsets.last_mut() {
            Some((before, same)) if before.last().checked_add(1) == Some(clip.first()) && same == bytes => {
                *before = KeyGroupRange::new(before.first(), clip.last());
            }
            _ => offsets.push((clip, bytes.clone())),
        }
    }
    offsets
}

fn common_metadata(inputs: &[Input<'_>]) -> Vec<u8> {
    match inputs {
        [(first, _), rest @ ..] if rest.iter().all(|(other, _)| other.metadata == first.metadata) => {
            first.metadata.clone()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
