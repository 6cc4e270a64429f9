//! How much of what lies below is hidden by deletions of ranges. Such a deletion is a few bytes and may hide any number of
//! entries; were it not counted, a map whose windows are deleted by range would keep its room until much else is written.
//!
//! It is found out when a deletion is flushed, from the indexes of the segments below, to within some blocks, and kept in
//! memory with the new segment: after the store was opened again it counts from the next deletion of the map on.

use crate::checksum::hash_key;
use crate::error::Result;
use crate::key::{ENTRY_MARK, SortKey, prefix_end};
use crate::segment::{Kind, Segment};
use crate::spans::{SpanRef, Spans};
use crate::stack::{Hides, LazySegment, Slice, Version};
use crate::states::StateDef;
use crate::store::StoreInner;
use std::collections::HashSet;
use std::sync::Arc;

/// What hides less than this, in bytes, isn't noted.
const LEAST_BYTES: u64 = 64 << 10;
/// Of so many containers that a flush has cleared something of it is found out.
pub const CONTAINERS_MAX: usize = 4_096;

/// Notes with a segment that was just flushed how much is hidden of these containers, some of whose entries it clears.
pub fn note(store: &StoreInner, version: &Version, segment: &LazySegment, containers: &[Vec<u8>]) -> Result<()> {
    let states = store.states.read().clone();
    let mut hides = Vec::new();
    for container in containers {
        let Some(at) = SortKey::decode(container) else { continue };
        let Some(def) = states.get(usize::from(at.state.0)) else { continue };
        let slice = version.slice_of(at.key.group);
        if slice.waits_for_host() {
            continue;
        }
        let bytes = hidden_of(slice, def, container)?;
        if bytes >= LEAST_BYTES {
            hides.push(Hides { group: at.key.group, container: hash_key(container, 0), bytes });
        }
    }
    segment.set_hides(hides);
    Ok(())
}

/// About how many bytes of a container's entries are hidden in a slice.
fn hidden_of(slice: &Slice, def: &StateDef, container: &[u8]) -> Result<u64> {
    let (mut hiding, mut bytes) = (Spans::default(), 0);
    let mut key = container.to_vec();
    for layer in &slice.layers {
        let Some(state) = layer.map.to_segment(def.id) else { continue };
        key[2..4].copy_from_slice(&state.0.to_be_bytes());
        let segment = layer.segment.get()?;
        let hash = segment.hash(&key);
        if !segment.may_contain(hash) {
            continue;
        }
        for span in hiding.iter() {
            bytes += bytes_within(segment, &key, span)?;
        }
        // Flushes don't wait for a host; what was cleared there isn't counted then.
        if !segment.may_clear(hash) || !layer.segment.is_here() {
            continue;
        }
        let Some(block) = segment.locate(&key)? else { continue };
        let block = segment.block(block)?;
        match block.get(&key).filter(|entry| entry.kind == Kind::Clear) {
            Some(entry) if entry.value.is_empty() => hiding.insert(&[], None, 0),
            Some(entry) => hiding.insert_all(&Spans::of_clear(entry.value), 0),
            None => {}
        }
    }
    Ok(bytes)
}

/// About how long a container's entries in a span are in a segment, in bytes; the blocks at the ends don't count.
fn bytes_within(segment: &Segment, container: &[u8], span: SpanRef<'_>) -> Result<u64> {
    let entries = [container, &[ENTRY_MARK]].concat();
    let from = [&entries[..], span.from].concat();
    let to = span.to.map_or_else(|| prefix_end(&entries), |to| Some([&entries[..], to].concat()));
    let place = |key: &[u8]| -> Result<u32> {
        let meta = segment.meta();
        if *key <= meta.first_key[..] {
            return Ok(0);
        }
        if *key > meta.last_key[..] {
            return Ok(segment.blocks());
        }
        Ok(segment.locate(key)?.map_or(0, |block| block.index))
    };
    let end = to.map_or(Ok(segment.blocks()), |to| place(&to))?;
    let blocks = end.saturating_sub(place(&from)?).saturating_sub(1);
    Ok(u64::from(blocks) * segment.meta().file_bytes / u64::from(segment.blocks()))
}

/// What segments hide, newest first, when they become one.
pub fn carried(inputs: &[Arc<LazySegment>]) -> Vec<Hides> {
    let mut seen = HashSet::new();
    let all = inputs.iter().flat_map(|segment| segment.hides());
    all.filter(|hides| seen.insert(hides.container)).copied().collect()
}

/// About how many bytes of a slice are hidden. Of each container the newest deletion knows of those before it.
pub fn hidden_in(slice: &Slice) -> f64 {
    let mut seen = HashSet::new();
    let all = slice.layers.iter().flat_map(|layer| layer.segment.hides());
    let here = all.filter(|hides| slice.range.contains(hides.group) && seen.insert(hides.container));
    here.map(|hides| hides.bytes as f64).sum()
}
