//! Putting loaded segments under everything: they hold keys of which the store has nothing, so they need no merging.

use super::merge::{Output, remove};
use super::{Running, share_segments};
use crate::error::{Error, Result};
use crate::ids::{KeyGroup, KeyGroupRange, SegmentId, StateId};
use crate::platform::threads;
use crate::stack::{Layer, LazySegment, Slice, Version};
use crate::states::StateDef;
use crate::store::StoreInner;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How long it waits between two looks at whether all is flushed.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(1);

/// Whether segments that are elsewhere have anything of a key group and state: that doesn't change.
type Seen = HashMap<(SegmentId, [u8; 4]), bool>;

/// Installs segments that hold these states of these key groups; refused where the store has anything of one of them.
pub(crate) fn install_loaded(
    store: &Arc<StoreInner>,
    outputs: &[Output],
    loaded: &BTreeSet<(KeyGroup, StateId)>,
    lineages: &BTreeMap<StateId, u64>,
) -> Result<()> {
    let outcome = look_and_install(store, outputs, loaded, lineages);
    if outcome.is_err() {
        outputs.iter().for_each(|output| remove(store, output));
    }
    outcome
}

fn look_and_install(
    store: &Arc<StoreInner>,
    outputs: &[Output],
    loaded: &BTreeSet<(KeyGroup, StateId)>,
    lineages: &BTreeMap<StateId, u64>,
) -> Result<()> {
    let mut seen = Seen::new();
    loop {
        look_elsewhere(store, loaded, &mut seen)?;
        let is_done = alone(store, || {
            let states = store.states.read().clone();
            check_lineages(&states, lineages)?;
            let is_done = install(store, outputs, (loaded, &seen), &states)?;
            if is_done {
                // The changelog will not have it.
                store.log.skip();
            }
            Ok(is_done)
        })?;
        if is_done {
            return Ok(());
        }
    }
}

/// Looks into what is elsewhere, while nothing is held: it takes as long as the host does.
fn look_elsewhere(store: &StoreInner, loaded: &BTreeSet<(KeyGroup, StateId)>, seen: &mut Seen) -> Result<()> {
    if store.fetches.is_none() {
        return Ok(());
    }
    let version = Arc::clone(&store.version.lock());
    for &(group, state) in loaded {
        for layer in &version.slice_of(group).layers {
            let Some(prefix) = prefix_in(layer, group, state) else { continue };
            let place = (layer.segment.id(), prefix);
            if !layer.segment.is_here() && !seen.contains_key(&place) {
                seen.insert(place, has(&layer.segment, &prefix)?);
            }
        }
    }
    Ok(())
}

/// Fails where a state was migrated meanwhile: what was loaded before is of its older schema.
fn check_lineages(states: &[Arc<StateDef>], lineages: &BTreeMap<StateId, u64>) -> Result<()> {
    let migrated = |def: &&Arc<StateDef>| lineages.get(&def.id).is_some_and(|&lineage| lineage != def.lineage);
    let Some(def) = states.iter().find(migrated) else { return Ok(()) };
    Err(Error::State { state: def.name.clone(), problem: "it was migrated while it was being loaded".into() })
}

/// Runs `work` while no range is claimed, nothing is cut off, flushed or merged.
pub(crate) fn alone<R>(store: &Arc<StoreInner>, work: impl FnOnce() -> Result<R>) -> Result<R> {
    loop {
        store.check()?;
        // Without the locks: a merge takes its time.
        store.engine.hurry(|| store.compaction.wait_idle());
        let _claims = store.claims.lock();
        let _sealing = store.queue.sealing.lock();
        // A checkpoint that was cut before must not have what is loaded now.
        while !store.queue.is_idle() {
            store.trouble.lock().clone().map_or(Ok(()), Err)?;
            store.engine.hurry(|| threads::sleep(PAUSE));
        }
        // A merge under way would count on its inputs being the lowest.
        if store.compaction.start() {
            let _running = Running(&store.compaction);
            return work();
        }
    }
}

/// False, and nothing is done, where something has to be looked at first that is elsewhere.
fn install(
    store: &Arc<StoreInner>,
    outputs: &[Output],
    (loaded, seen): (&BTreeSet<(KeyGroup, StateId)>, &Seen),
    states: &[Arc<StateDef>],
) -> Result<bool> {
    store.check()?;
    let refused = |group: KeyGroup, state: StateId| {
        let problem = format!("key group {} has something of it already; only what is empty is loaded", group.0);
        let state = states.get(usize::from(state.0)).map(|def| def.name.clone());
        Error::State { state: state.unwrap_or_default(), problem }
    };
    let on_disk = Arc::clone(&store.version.lock());
    for &(group, state) in loaded {
        match has_any(on_disk.slice_of(group), group, state, seen)? {
            Some(false) => {}
            Some(true) => return Err(refused(group, state)),
            None => return Ok(false),
        }
    }
    let mut version = store.version.lock();
    let shards = store.shards.lock().clone();
    // Inside all of them at once: what is looked at stays so until the segments are there.
    let mut cores: Vec<_> = shards.iter().map(|shard| (shard, shard.cell.borrow())).collect();
    for &(group, state) in loaded {
        let of_shard = cores.iter().find(|(shard, _)| shard.range.contains(group));
        let of_shard = of_shard.filter(|(shard, core)| core.hot.has_records(state.0, group.0 - shard.range.first()));
        if of_shard.is_some() {
            return Err(refused(group, state));
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
    Ok(true)
}

/// Whether a stack has a record of a state in a key group, be it one that deletes: it would mask what is loaded under it. `None` where only a
/// host could tell.
fn has_any(slice: &Slice, group: KeyGroup, state: StateId, seen: &Seen) -> Result<Option<bool>> {
    for layer in &slice.layers {
        let Some(prefix) = prefix_in(layer, group, state) else { continue };
        let has = match seen.get(&(layer.segment.id(), prefix)) {
            Some(&has) => has,
            None if layer.segment.is_here() => has(&layer.segment, &prefix)?,
            None => return Ok(None),
        };
        if has {
            return Ok(Some(true));
        }
    }
    Ok(Some(false))
}

/// What all sort keys of a state in a key group begin with in a layer, if it can have any.
fn prefix_in(layer: &Layer, group: KeyGroup, state: StateId) -> Option<[u8; 4]> {
    let state = layer.map.to_segment(state)?;
    let ([a, b], [c, d]) = (group.0.to_be_bytes(), state.0.to_be_bytes());
    layer.segment.meta().groups.contains(group).then_some([a, b, c, d])
}

fn has(segment: &LazySegment, prefix: &[u8]) -> Result<bool> {
    let mut cursor = segment.get()?.cursor();
    cursor.seek(prefix)?;
    Ok(cursor.entry().is_some_and(|entry| entry.sort_key.starts_with(prefix)))
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
