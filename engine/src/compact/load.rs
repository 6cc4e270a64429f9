//! Putting loaded segments under everything: they hold keys of which the store has nothing, so they need no merging.

use super::merge::Output;
use super::{Running, share_segments};
use crate::error::{Error, Result};
use crate::ids::{KeyGroup, KeyGroupRange, StateId};
use crate::reclaim;
use crate::stack::{Layer, LazySegment, Slice, Version};
use crate::store::StoreInner;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Installs segments that hold these states of these key groups; refused where the store has anything of one of them.
pub(crate) fn install_loaded(
    store: &Arc<StoreInner>,
    outputs: &[Output],
    loaded: &BTreeSet<(KeyGroup, StateId)>,
) -> Result<()> {
    store.check()?;
    let claims = store.claims.lock();
    let sealing = store.queue.sealing.lock();
    // A merge under way counts on its inputs being the lowest. Under the locks: a barrier that holds them may wait for a
    // flush that waits for merges to end.
    store.compaction.start_soon(store);
    let running = Running(&store.compaction);
    let outcome = install(store, outputs, loaded);
    drop((running, sealing, claims));
    if outcome.is_err() {
        let dropped: Vec<Arc<LazySegment>> = outputs.iter().map(|output| output.layer(store).segment).collect();
        reclaim::note(store, &dropped);
        drop(dropped);
        reclaim::leftovers(store);
    }
    outcome
}

fn install(store: &Arc<StoreInner>, outputs: &[Output], loaded: &BTreeSet<(KeyGroup, StateId)>) -> Result<()> {
    store.check()?;
    let mut version = store.version.lock();
    let shards = store.shards.lock().clone();
    // Inside all of them at once: what is looked at stays so until the segments are there.
    let mut cores: Vec<_> = shards.iter().map(|shard| (shard, shard.cell.borrow())).collect();
    for &(group, state) in loaded {
        let of_shard = cores.iter().find(|(shard, _)| shard.range.contains(group));
        let empty = match of_shard {
            Some((shard, core)) => core.hot.has_nothing(state.0, group.0 - shard.range.first()),
            None => version.slice_of(group).layers.is_empty(),
        };
        if !empty {
            let problem = format!("key group {} has something of it already; only what is empty is loaded", group.0);
            let state = store.states.read().get(usize::from(state.0)).map(|def| def.name.clone());
            return Err(Error::State { state: state.unwrap_or_default(), problem });
        }
    }
    for &(group, state) in loaded {
        if let Some((shard, core)) = cores.iter_mut().find(|(shard, _)| shard.range.contains(group)) {
            core.hot.table_head(state.0, group.0 - shard.range.first()).set_spilled(true);
        }
    }
    let bytes: u64 = outputs.iter().map(|output| output.meta.file_bytes).sum();
    store.counts.flushes.fetch_add(1, Ordering::Relaxed);
    store.counts.flushed_bytes.fetch_add(bytes, Ordering::Relaxed);
    *version = Arc::new(under(&version, store, outputs));
    for shard in &shards {
        shard.publish(Arc::clone(&version), None);
    }
    Ok(())
}

/// The same arrangement with these segments under it, its slices cut where one of them ends and the next begins.
fn under(version: &Version, store: &StoreInner, outputs: &[Output]) -> Version {
    let ends = outputs.windows(2).map(|pair| (pair[0].meta.groups.last(), pair[1].meta.groups.first()));
    let ends: Vec<u16> = ends.filter(|(last, next)| last < next).map(|(last, _)| last).collect();
    let layers: Vec<Layer> = outputs.iter().map(|output| output.layer(store)).collect();
    let mut slices = Vec::new();
    for slice in &version.slices {
        let mut first = slice.range.first();
        let inside =
            ends.iter().copied().filter(|&end| slice.range.contains(KeyGroup(end)) && end < slice.range.last());
        for last in inside.chain([slice.range.last()]) {
            let range = KeyGroupRange::new(first, last);
            let reaches = |layer: &&Layer| layer.segment.meta().groups.intersect(range).is_some();
            let all = slice.layers.iter().chain(&layers).filter(reaches).cloned().collect();
            slices.push(Arc::new(Slice { range, layers: all }));
            first = last.wrapping_add(1);
        }
    }
    Version { slices: share_segments(slices) }
}
