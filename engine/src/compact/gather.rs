//! Gathering: the small segments that spills left since the last checkpoint become one before the next is published, so
//! that a checkpoint has few new files, each of which a host may have to copy and keep count of.
//!
//! What is gathered are the newest flushes, those that lie on top of every stack that they are in; they are merged for all
//! slices at once into a single segment, which takes their place.

use super::merge::{Output, Sink, merge_into};
use super::{Running, share_segments};
use crate::error::{Error, Result};
use crate::ids::SegmentId;
use crate::reclaim;
use crate::stack::{Layer, LazySegment, Slice, Version};
use crate::store::StoreInner;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A checkpoint has at most so many new small segments of flushes, its own among them.
const NEW_MAX: usize = 8;
/// How long a checkpoint waits for a merge to end.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);
/// What is longer is no small segment, in bytes.
const SMALL_BYTES: u64 = 8 << 20;

/// Gathers the small flushes that the newest checkpoint doesn't name, if there are many. The caller runs the store's
/// flushes.
pub(crate) fn gather(store: &Arc<StoreInner>) -> Result<()> {
    let known: HashSet<SegmentId> = {
        let catalogue = store.catalogue.lock();
        let newest = catalogue.kept.last_key_value().map(|(_, kept)| &kept.manifest);
        newest.iter().flat_map(|manifest| manifest.segments.iter().map(|meta| meta.id)).collect()
    };
    let version = Arc::clone(&store.version.lock());
    let committed = store.mergeable_epoch();
    let is_new = |layer: &Layer| {
        let meta = layer.segment.meta();
        let small = meta.level == 0 && meta.file_bytes < SMALL_BYTES && !known.contains(&meta.id);
        let mergeable = meta.epoch_low.0 <= committed && layer.segment.is_here() && layer.obstacle().is_none();
        small && mergeable
    };
    if version.segments().iter().filter(|segment| is_new(&as_layer(segment))).count() <= NEW_MAX {
        return Ok(());
    }
    // A merging state whose operator the host has not brought yet can't be folded.
    if store.states.read().iter().any(|def| def.check_operator().is_err()) {
        return Ok(());
    }
    // A merge under way would find its inputs gone. If it takes long, the checkpoint has more files.
    if !store.compaction.start_within(store, PATIENCE) {
        return Ok(());
    }
    let _running = Running(&store.compaction);
    let version = Arc::clone(&store.version.lock());
    let chosen = on_top(&version, is_new);
    if chosen.len() < 2 {
        return Ok(());
    }
    let outputs = match merge_all(store, &version, &chosen) {
        // They are left alone until the host brings another conversion.
        Err(Error::Conversion { .. }) => return Ok(()),
        outputs => outputs?,
    };
    install(store, &version, &chosen, &outputs);
    store.counts.compactions.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

fn as_layer(segment: &Arc<LazySegment>) -> Layer {
    Layer::of_now(segment)
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
    let inputs: Vec<Layer> =
        version.segments().iter().filter(|segment| chosen.contains(&segment.id())).map(as_layer).collect();
    let mut sink = Sink::of_flushes(store, &inputs);
    for slice in &version.slices {
        let top = slice.layers.iter().take_while(|layer| chosen.contains(&layer.segment.id())).cloned();
        let part = Slice { range: slice.range, layers: top.collect() };
        if !part.layers.is_empty() {
            merge_into(store, &mut sink, &part, false, || false)?;
        }
    }
    let outputs = sink.finish()?;
    let bytes: u64 = outputs.iter().map(|output| output.meta.file_bytes).sum();
    store.counts.compacted_bytes.fetch_add(bytes, Ordering::Relaxed);
    tracing::debug!(inputs = inputs.len(), bytes, "gathered");
    Ok(outputs)
}

/// Puts the output where the inputs were. Nothing came on top meanwhile: flushes are the caller's.
fn install(store: &Arc<StoreInner>, version: &Version, chosen: &HashSet<SegmentId>, outputs: &[Output]) {
    let made: Vec<Layer> = outputs.iter().map(|output| output.layer(store)).collect();
    let mut dropped: Vec<Arc<LazySegment>> = version.segments();
    dropped.retain(|segment| chosen.contains(&segment.id()));
    // Noted before anybody can find them gone.
    let mut catalogue = store.catalogue.lock();
    let mut current = store.version.lock();
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
}
