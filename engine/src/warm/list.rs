//! Warming up by the hot list: chunk by chunk, the hottest first.
//!
//! A value of the list counts where the slice still has the stack that it was found in, at its bottom, and no layer above may have anything of
//! the key. Of all others only the key is taken: most of them were changed since, and are in newer segments.

use super::bring::{self, Value};
use super::keys::{self, Wanted};
use super::keyset::KeySet;
use super::runs::{Runs, is_newest};
use super::{is_at_hand, is_full, shard_of, stack_of};
use crate::hot_list::{Chunk, Entry, List, Stack, format};
use crate::ids::KeyGroupRange;
use crate::key::SortKey;
use crate::platform::threads;
use crate::shard::Shard;
use crate::stack::Slice;
use crate::store::StoreInner;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// The level of segments that lie at the bottom.
const BOTTOM: u8 = 2;

/// The newest list of a store that can be read, if there is one.
pub fn newest(store: &Arc<StoreInner>) -> Option<Arc<List>> {
    let number = *store.warm.lists.lock().last()?;
    match List::open(&*store.storage, number, store.info.uuid) {
        Ok(list) => {
            let chunks = || list.chunks().iter();
            let bytes: u64 = chunks().map(|chunk| u64::from(chunk.bytes)).sum();
            let records: u64 = chunks().map(|chunk| u64::from(chunk.records)).sum();
            store.warm.counts.bytes.store(bytes, Ordering::Relaxed);
            store.warm.counts.records.store(records, Ordering::Relaxed);
            Some(Arc::new(list))
        }
        Err(error) => {
            tracing::warn!(%error, "the hot list is left out");
            None
        }
    }
}

/// A pass of some ranges through a list: its values that count, then what newer segments have of its other keys, then the rest of these by
/// lookups.
#[derive(Debug)]
pub struct Pass {
    list: Arc<List>,
    ranges: Vec<KeyGroupRange>,
    /// The chunks whose values are to be brought, the last of them first.
    chunks: Vec<Chunk>,
    /// Those of which something was left, and how many records.
    left: VecDeque<(Chunk, u64)>,
    /// Keys that were left.
    keys: KeySet,
    /// Slices that they are in, and how many of their layers are newer than the values.
    slices: Vec<(Arc<Slice>, usize)>,
    runs: Option<Runs>,
}

/// What a slice makes of the values of a chunk.
struct Place {
    slice: Arc<Slice>,
    /// How many layers are above the stack that they were found in; `None` where it isn't there any more.
    newer: Option<usize>,
}

impl Place {
    fn new(store: &StoreInner, slice: Arc<Slice>, stack: Stack) -> Self {
        let newer = slice.layers.len().checked_sub(stack.layers as usize);
        // Of no layers nothing can be said.
        let newer = newer.filter(|&newer| stack.layers > 0 && stack_of(&slice.layers[newer..]) == stack);
        // What lies above is asked, which may have to be waited for.
        let newer = newer.filter(|&newer| newer == 0 || is_at_hand(store, &slice));
        Self { slice, newer }
    }

    /// Whether a value that was found in the chunk's stack is still the key's.
    fn holds(&self, sort_key: &[u8], at: &SortKey<'_>) -> bool {
        match self.newer {
            None => false,
            Some(0) => true,
            Some(newer) => is_newest(&self.slice, newer, sort_key, at),
        }
    }

    /// How many layers may have something newer than the values, and are no bottom.
    fn runs(&self) -> usize {
        let runs = || self.slice.layers.iter().take_while(|layer| layer.segment.meta().level < BOTTOM).count();
        self.newer.unwrap_or_else(runs)
    }
}

impl Pass {
    /// Of ranges, which were claimed.
    pub fn new(list: &Arc<List>, ranges: Vec<KeyGroupRange>) -> Self {
        let is_wanted = |chunk: &&Chunk| {
            ranges.iter().any(|range| range.intersect(KeyGroupRange::new(chunk.first, chunk.last)).is_some())
        };
        let mut chunks: Vec<Chunk> = list.chunks().iter().filter(is_wanted).copied().collect();
        chunks.sort_unstable_by_key(|chunk| std::cmp::Reverse((chunk.tier, chunk.offset)));
        let keys = KeySet::new(chunks.iter().map(|chunk| u64::from(chunk.records)).sum());
        let (list, left, slices, runs) = (Arc::clone(list), VecDeque::new(), Vec::new(), None);
        Self { list, ranges, chunks, left, keys, slices, runs }
    }

    /// Goes on until a moment; whether there is more.
    pub fn go_on(&mut self, store: &Arc<StoreInner>, until: Instant) -> bool {
        while let Some(chunk) = self.chunks.pop() {
            if !bring::has_room(store) {
                is_full(store);
                return false;
            }
            self.bring_values(store, &chunk);
            if threads::now() >= until {
                return true;
            }
        }
        if self.left.is_empty() {
            return false;
        }
        let (slices, ranges) = (&self.slices, &self.ranges);
        let runs = self.runs.get_or_insert_with(|| {
            tracing::debug!(keys = self.keys.keys(), slices = slices.len(), "hot keys of newer segments");
            Runs::new(slices, ranges)
        });
        if runs.go_on(store, &self.keys, until) {
            return true;
        }
        while threads::now() < until && !self.left.is_empty() {
            if !bring::has_room(store) {
                is_full(store);
                return false;
            }
            let Some((chunk, left)) = self.left.pop_front() else { break };
            self.look_up(store, &chunk);
            store.warm.counts.passed(left, part_of(&chunk, left));
        }
        !self.left.is_empty()
    }

    /// Brings the values of a chunk that count, and notes the keys of the others.
    fn bring_values(&mut self, store: &Arc<StoreInner>, chunk: &Chunk) {
        let list = Arc::clone(&self.list);
        let left = with_entries(&list, chunk, |entries| self.bring_entries(store, chunk, entries)).unwrap_or_default();
        store.warm.counts.passed(u64::from(chunk.records) - left, u64::from(chunk.bytes) - part_of(chunk, left));
        if left > 0 {
            self.left.push_back((*chunk, left));
        }
    }

    /// How many records of a chunk are left.
    fn bring_entries(&mut self, store: &Arc<StoreInner>, chunk: &Chunk, entries: &[Entry<'_>]) -> u64 {
        let shards = store.shards.lock().clone();
        let (mut group, mut left) = (None, 0);
        let mut place: Option<(usize, Place)> = None;
        // In a chunk they are in the order of key groups.
        let mut values: Vec<(usize, &Entry<'_>, SortKey<'_>, Arc<Slice>)> = Vec::new();
        for entry in entries {
            let Some(at) = SortKey::decode(entry.sort_key) else { continue };
            if !self.ranges.iter().any(|range| range.contains(at.key.group)) {
                continue;
            }
            if group != Some(at.key.group) {
                group = Some(at.key.group);
                place = shard_of(&shards, at.key.group.0).map(|shard| {
                    (shard, Place::new(store, shards[shard].view().1.slice_of(at.key.group), chunk.stack))
                });
            }
            let Some((shard, place)) = &place else { continue };
            if entry.value.is_some() && place.holds(entry.sort_key, &at) {
                values.push((*shard, entry, at, Arc::clone(&place.slice)));
                continue;
            }
            left += 1;
            self.keys.add(entry.sort_key);
            match self.slices.iter_mut().find(|(slice, _)| slice.range == place.slice.range) {
                Some((_, runs)) => *runs = place.runs().max(*runs),
                None => self.slices.push((Arc::clone(&place.slice), place.runs())),
            }
        }
        keep(store, &shards, &values);
        left
    }

    /// Looks up what memory doesn't have of a chunk.
    fn look_up(&self, store: &Arc<StoreInner>, chunk: &Chunk) {
        let wanted = with_entries(&self.list, chunk, |entries| {
            let is_ours = |at: &SortKey<'_>| self.ranges.iter().any(|range| range.contains(at.key.group));
            let wanted = |entry: &Entry<'_>| {
                let at = SortKey::decode(entry.sort_key).filter(is_ours)?;
                Some(Wanted { state: at.state, sort_key: entry.sort_key.to_vec() })
            };
            entries.iter().filter_map(wanted).collect::<Vec<_>>()
        });
        let mut wanted = wanted.unwrap_or_default();
        // Neighbours lie in one block.
        wanted.sort_unstable_by(|a, b| a.sort_key.cmp(&b.sort_key));
        for some in wanted.chunks(keys::AT_ONCE) {
            keys::look_up(store, some.to_vec(), false);
        }
    }
}

/// About how many bytes of a chunk so many of its records are.
fn part_of(chunk: &Chunk, records: u64) -> u64 {
    (u64::from(chunk.bytes) * records).checked_div(u64::from(chunk.records)).unwrap_or_default()
}

/// Gives the records of a chunk to `take`; not those of one that can't be read.
fn with_entries<R>(list: &List, chunk: &Chunk, take: impl FnOnce(&[Entry<'_>]) -> R) -> Option<R> {
    let read = list.read(chunk);
    let entries = match &read {
        Ok(bytes) => format::entries(chunk, bytes).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match entries {
        Ok(entries) => Some(take(&entries)),
        Err(error) => {
            tracing::warn!(error, at = chunk.offset, "a part of the hot list is left out");
            None
        }
    }
}

/// Keeps values of the list.
fn keep(store: &StoreInner, shards: &[Arc<Shard>], values: &[(usize, &Entry<'_>, SortKey<'_>, Arc<Slice>)]) {
    for of_shard in values.chunk_by(|(a, ..), (b, ..)| a == b) {
        let Some(shard) = of_shard.first().and_then(|(shard, ..)| shards.get(*shard)) else { continue };
        let values: Vec<Value<'_>> = of_shard
            .iter()
            .filter_map(|(_, entry, at, slice)| {
                let (state, at, expiry_ms, epoch) = (at.state, *at, entry.expiry_ms, entry.epoch);
                Some(Value { state, at, slice, value: entry.value?, expiry_ms, epoch })
            })
            .collect();
        let (records, bytes) = bring::keep_all(shard, &values, false);
        store.warm.counts.brought(records, bytes);
    }
}
