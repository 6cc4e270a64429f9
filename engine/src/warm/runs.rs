//! Of keys that the hot list has without a value that counts, what segments have that are newer than the list: what is hot is mostly there, and many to a
//! block, so they are read from their beginning to their end, the newest first.

use super::bring::{self, Value};
use super::keyset::KeySet;
use super::{is_at_hand, is_full, shard_of};
use crate::error::Result;
use crate::ids::{KeyGroup, KeyGroupRange, SegmentId};
use crate::key::{SortKey, group_of};
use crate::manifest::StateMap;
use crate::platform::threads;
use crate::segment::{Kind, SegmentCursor};
use crate::shard::Shard;
use crate::stack::{Layer, LazySegment, Lookup, Slice};
use crate::states::{StateDef, StateKind};
use crate::store::StoreInner;
use std::sync::Arc;
use std::time::Instant;

/// How many records are gone through before what was found of them is kept.
const RECORDS_AT_ONCE: usize = 2_048;
/// Bytes of values that are held before they are kept.
const HELD_BYTES: usize = 1 << 20;

/// Segments to be read, each for a range of key groups.
#[derive(Debug, Default)]
pub struct Runs {
    /// The last of them first.
    segments: Vec<(Arc<LazySegment>, KeyGroupRange)>,
    cursor: Option<SegmentCursor>,
}

/// A record that was found.
struct Found {
    sort_key: Vec<u8>,
    value: Vec<u8>,
    expiry_ms: Option<u64>,
}

impl Runs {
    /// The newest `count` layers of slices, of some key groups; of them what can be read as it is.
    pub fn new(slices: &[(Arc<Slice>, usize)], ranges: &[KeyGroupRange]) -> Self {
        let mut segments = Vec::new();
        let most = slices.iter().map(|(_, count)| *count).max().unwrap_or_default();
        for layer in (0..most).rev() {
            for (slice, _) in slices.iter().filter(|(_, count)| layer < *count) {
                let Some(of) = slice.layers.get(layer) else { continue };
                if !is_as_written(of) {
                    continue;
                }
                let groups = ranges.iter().filter_map(|range| range.intersect(slice.range));
                let groups = groups.filter_map(|range| range.intersect(of.segment.meta().groups));
                segments.extend(groups.map(|range| (Arc::clone(&of.segment), range)));
            }
        }
        Self { segments, cursor: None }
    }

    /// Goes on until a moment; whether there is more.
    pub fn go_on(&mut self, store: &Arc<StoreInner>, wanted: &KeySet, until: Instant) -> bool {
        while !self.segments.is_empty() {
            if !bring::has_room(store) {
                is_full(store);
                self.segments.clear();
                return false;
            }
            match self.read_some(store, wanted) {
                Ok(true) => {}
                Ok(false) => {
                    self.cursor = None;
                    self.segments.pop();
                }
                Err(error) => {
                    // Whoever asks for what is in it is told.
                    tracing::warn!(%error, "a segment is left out of warming up");
                    self.cursor = None;
                    self.segments.pop();
                }
            }
            if threads::now() >= until {
                break;
            }
        }
        !self.segments.is_empty()
    }

    /// Reads the next records of a segment; false at its end.
    fn read_some(&mut self, store: &Arc<StoreInner>, wanted: &KeySet) -> Result<bool> {
        let Some((segment, range)) = self.segments.last() else { return Ok(false) };
        if store.fetches.is_some() && !segment.is_here() {
            return Ok(false);
        }
        if self.cursor.is_none() {
            let mut cursor = segment.get()?.cursor();
            cursor.seek(&range.first().to_be_bytes())?;
            self.cursor = Some(cursor);
        }
        let Some(cursor) = &mut self.cursor else { return Ok(false) };
        let defs = store.states.read().clone();
        let mut found: Vec<Found> = Vec::new();
        let mut held_bytes = 0;
        let mut more = true;
        for _ in 0..RECORDS_AT_ONCE {
            let Some(entry) = cursor.entry().filter(|entry| is_in(entry.sort_key, *range)) else {
                more = false;
                break;
            };
            if entry.kind == Kind::Put && wanted.may_have(entry.sort_key) && is_whole(&defs, entry.sort_key) {
                let (sort_key, value) = (entry.sort_key.to_vec(), entry.value.to_vec());
                held_bytes += value.len();
                found.push(Found { sort_key, value, expiry_ms: entry.expiry_ms });
            }
            cursor.next()?;
            if held_bytes >= HELD_BYTES {
                break;
            }
        }
        let (id, epoch) = (segment.id(), segment.meta().epoch_high.0);
        let same_group = |a: &Found, b: &Found| group_of(&a.sort_key) == group_of(&b.sort_key);
        found.chunk_by(same_group).for_each(|of_group| keep(store, (id, epoch), of_group));
        Ok(more)
    }
}

fn is_in(sort_key: &[u8], range: KeyGroupRange) -> bool {
    group_of(sort_key).is_some_and(|group| group.0 <= range.last())
}

/// Whether a full value of the state is all that there is to be kept of it.
fn is_whole(defs: &[Arc<StateDef>], sort_key: &[u8]) -> bool {
    let state = SortKey::decode(sort_key).and_then(|at| defs.get(usize::from(at.state.0)));
    state.is_some_and(|def| def.kind != StateKind::List)
}

/// Keeps what was found in a segment of a key group, where nothing newer may have it.
fn keep(store: &Arc<StoreInner>, (id, epoch): (SegmentId, u32), found: &[Found]) {
    let shards = store.shards.lock().clone();
    let Some(group) = found.first().and_then(|first| group_of(&first.sort_key)) else { return };
    let Some((shard, slice, layer)) = place_of(&shards, group, id) else { return };
    if !is_at_hand(store, &slice) {
        return;
    }
    let values: Vec<Value<'_>> = found
        .iter()
        .filter_map(|Found { sort_key, value, expiry_ms }| {
            let at = SortKey::decode(sort_key)?;
            let value = Value { state: at.state, at, slice: &slice, value, expiry_ms: *expiry_ms, epoch };
            (layer == 0 || is_newest(&slice, layer, sort_key, &at)).then_some(value)
        })
        .collect();
    let (records, bytes) = bring::keep_all(shard, &values, false);
    store.warm.counts.brought(records, bytes);
}

/// Whether what the segment has counts as it stands there: of no state is it hidden, as after a rollback of some, or of an older schema.
fn is_as_written(layer: &Layer) -> bool {
    layer.older.is_none() && matches!(*layer.map, StateMap::Identity)
}

/// Where a segment lies in the slice of a key group now, if what it has counts as it stands there.
fn place_of(shards: &[Arc<Shard>], group: KeyGroup, id: SegmentId) -> Option<(&Arc<Shard>, Arc<Slice>, usize)> {
    let shard = &shards[shard_of(shards, group.0)?];
    let slice = shard.view().1.slice_of(group);
    let layer = slice.layers.iter().position(|layer| layer.segment.id() == id && is_as_written(layer))?;
    Some((shard, slice, layer))
}

/// Whether no layer above one that has a key may have anything of it.
pub fn is_newest(slice: &Arc<Slice>, layer: usize, sort_key: &[u8], at: &SortKey<'_>) -> bool {
    let container = at.user_key.map_or(0, |user_key| sort_key.len() - user_key.len() - 1);
    let mut lookup = Lookup::new(Arc::clone(slice), at.state, sort_key.to_vec(), container, 0);
    // It names the newest layer that may have something.
    matches!(lookup.next(), Ok(Some(_)) if lookup.layer() >= layer)
}
