//! Gathering: the small segments that spills left since the last checkpoint become one before the next is published, so
//! that a checkpoint has few new files, each of which a host may have to copy and keep count of.
//!
//! What is gathered are the newest flushes, those that lie on top of every stack that they are in; they are merged for all
//! slices at once into a single segment, which takes their place.

use super::hidden::carried;
use super::merge::{Output, Sink, merge_into, remove};
use super::pick::BOTTOM;
use super::share_segments;
use super::work::known;
use crate::error::{Error, Result};
use crate::ids::SegmentId;
use crate::reclaim;
use crate::stack::{Layer, LazySegment, Slice, Version};
use crate::store::StoreInner;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A checkpoint has at most so many new small segments of flushes, its own among them.
const SMALL_MAX: usize = 6;
/// How long a checkpoint waits for a merge that is under way.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(4);
/// With more new segments than this, large ones are gathered too.
const NEW_MAX: usize = 18;
/// What is longer is no small segment, in bytes.
const SMALL_BYTES: u64 = 8 << 20;

/// Gathers what is new since the newest checkpoint, if there is much of it. The caller runs the store's flushes; `rollback` was the
/// last one before what it runs was cut off: after a later one that isn't told by the stacks of now.
pub(crate) fn gather(store: &Arc<StoreInner>, rollback: u64) -> Result<()> {
    if store.rollbacks.lock().last() != rollback {
        return Ok(());
    }
    let known = known(store);
    // Nobody picks what is being gathered, nor is gathered what is being merged.
    let look = || {
        let (merging, version) = (store.compaction.inputs.lock(), Arc::clone(&store.version.lock()));
        let chosen = choose(&version, known.as_ref(), &merging, store.mergeable_epoch());
        (merging, version, chosen)
    };
    let (mut merging, mut version, mut chosen) = look();
    if known.is_some() && !merging.is_empty() && new_ones(&version, known.as_ref()) > NEW_MAX + chosen.len() {
        // Too many, and they are becoming fewer just now. If that takes long, the checkpoint has more files.
        drop(merging);
        store.compaction.end_within(store, PATIENCE);
        (merging, version, chosen) = look();
    }
    let has_chosen = |slice: &Slice| slice.layers.iter().any(|layer| chosen.contains(&layer.segment.id()));
    let is_left = |slice: &Arc<Slice>| store.compaction.is_put_off(slice) && has_chosen(slice);
    if chosen.len() < 2 || version.slices.iter().any(is_left) {
        return Ok(());
    }
    // A merging state whose operator the host has not brought yet can't be folded.
    if store.states.read().iter().any(|def| def.check_operator().is_err()) {
        return Ok(());
    }
    let outputs = match merge_all(store, &version, &chosen) {
        // They are left alone until the host brings another conversion.
        Err(Error::Conversion { .. }) => return Ok(()),
        // It would not even fit into one record; the checkpoint has more files.
        Err(Error::TooLong { .. }) => return Ok(()),
        outputs => outputs?,
    };
    if !install(store, &version, &chosen, &outputs, rollback) {
        outputs.iter().for_each(|output| remove(store, output));
    }
    drop(merging);
    store.counts.compactions.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

fn is_new(known: Option<&HashSet<SegmentId>>, id: SegmentId) -> bool {
    known.is_none_or(|known| !known.contains(&id))
}

fn new_ones(version: &Version, known: Option<&HashSet<SegmentId>>) -> usize {
    version.segments().iter().filter(|segment| is_new(known, segment.id())).count()
}

/// Which segments: the small flushes if there are many; whatever is new and no bottom where there are too many new ones. None
/// that is staged, nor one that lies under such a one.
fn choose(
    version: &Version,
    known: Option<&HashSet<SegmentId>>,
    merging: &HashSet<SegmentId>,
    mergeable: u32,
) -> HashSet<SegmentId> {
    let is_free = |layer: &Layer| {
        let (id, epoch) = (layer.segment.id(), layer.segment.meta().epoch_low.0);
        let is_free = is_new(known, id) && !merging.contains(&id) && epoch <= mergeable;
        is_free && layer.segment.is_here() && layer.obstacle().is_none()
    };
    let is_small = |layer: &Layer| layer.segment.meta().level == 0 && layer.segment.meta().file_bytes < SMALL_BYTES;
    let small = on_top(version, |layer| is_small(layer) && is_free(layer));
    let small = if small.len() > SMALL_MAX { small } else { HashSet::new() };
    let new = new_ones(version, known);
    // The first checkpoint names what there is.
    if known.is_none() || new - small.len().saturating_sub(1) <= NEW_MAX {
        return small;
    }
    on_top(version, |layer| layer.segment.meta().level < BOTTOM && is_free(layer))
}

/// The wanted segments that lie on top wherever they lie: with nothing above them but each other.
fn on_top(version: &Version, is_wanted: impl Fn(&Layer) -> bool) -> HashSet<SegmentId> {
    let layers = || version.slices.iter().flat_map(|slice| &slice.layers);
    let mut chosen: HashSet<SegmentId> =
        layers().filter(|layer| is_wanted(layer)).map(|layer| layer.segment.id()).collect();
    loop {
        let before = chosen.len();
        for slice in &version.slices {
            let top = slice.layers.iter().take_while(|layer| chosen.contains(&layer.segment.id())).count();
            slice.layers[top..].iter().for_each(|layer| {
                chosen.remove(&layer.segment.id());
            });
        }
        if chosen.len() == before {
            return chosen;
        }
    }
}

fn merge_all(store: &Arc<StoreInner>, version: &Version, chosen: &HashSet<SegmentId>) -> Result<Vec<Output>> {
    let mut inputs = version.segments();
    inputs.retain(|segment| chosen.contains(&segment.id()));
    let mut sink = Sink::of_flushes(store, &inputs);
    // Nothing comes on top meanwhile.
    let now_ms = store.purge_clock.now_ms();
    for slice in &version.slices {
        let top = slice.layers.iter().take_while(|layer| chosen.contains(&layer.segment.id())).cloned();
        let part = Slice { range: slice.range, layers: top.collect() };
        if !part.layers.is_empty() {
            merge_into(store, &mut sink, &part, (false, now_ms), || false)
                .inspect_err(|error| store.compaction.put_off(slice, error))?;
        }
    }
    let mut outputs = sink.finish()?;
    if let Some(output) = outputs.first_mut() {
        output.hides = carried(&inputs);
    }
    let bytes: u64 = outputs.iter().map(|output| output.meta.file_bytes).sum();
    store.counts.compacted_bytes.fetch_add(bytes, Ordering::Relaxed);
    tracing::debug!(inputs = inputs.len(), bytes, "gathered");
    Ok(outputs)
}

/// Puts the output where the inputs were. Nothing came on top meanwhile: flushes are the caller's. False, and nothing was done, where
/// something was rolled back meanwhile.
fn install(
    store: &Arc<StoreInner>,
    version: &Version,
    chosen: &HashSet<SegmentId>,
    outputs: &[Output],
    rollback: u64,
) -> bool {
    let made: Vec<Layer> = outputs.iter().map(|output| output.layer(store)).collect();
    let mut dropped: Vec<Arc<LazySegment>> = version.segments();
    dropped.retain(|segment| chosen.contains(&segment.id()));
    // Noted before anybody can find them gone.
    let mut catalogue = store.catalogue.lock();
    let mut current = store.version.lock();
    if store.rollbacks.lock().last() != rollback {
        return false;
    }
    let slices = current.slices.iter().map(|slice| {
        let rest = slice.layers.iter().filter(|layer| !chosen.contains(&layer.segment.id())).cloned();
        let had_some = slice.layers.iter().any(|layer| chosen.contains(&layer.segment.id()));
        let reaches = |layer: &&Layer| had_some && layer.segment.meta().groups.intersect(slice.range).is_some();
        let layers = made.iter().filter(reaches).cloned().chain(rest).collect();
        Arc::new(Slice { range: slice.range, layers })
    });
    *current = Arc::new(Version { slices: share_segments(slices.collect()) });
    for shard in store.shards.lock().iter() {
        shard.publish(Arc::clone(&current), None);
    }
    reclaim::note(&mut catalogue, &dropped);
    true
}
