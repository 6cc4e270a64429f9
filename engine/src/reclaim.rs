//! Reclaim: deleting the files that no retained checkpoint and no stack names any more.
//!
//! A segment is deleted only after the manifest that drops it is durable, and while nobody holds it: iterators and
//! views keep their segments by holding them, or the manifest that names them. Nothing is deleted once the store is closed:
//! the directory may be another's then, who may have put files there under the same names.

use crate::checkpoint::Catalogue;
use crate::ids::SegmentId;
use crate::life_cycle;
use crate::platform::safeguards::{Safeguard, stands};
use crate::platform::storage::{StorageError, names};
use crate::stack::{LazySegment, Version};
use crate::store::StoreInner;
use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

/// Drops the checkpoints that are subsumed and deletes what nothing needs. Failures are left for the next time: the
/// files are still in the catalogue's garbage.
pub(crate) fn run(store: &Arc<StoreInner>) {
    {
        let version = Arc::clone(&store.version.lock());
        let mut catalogue = store.catalogue.lock();
        for number in life_cycle::superfluous(&catalogue, &store.options) {
            drop_checkpoint(&mut catalogue, number, &version);
        }
    }
    if let Err(error) = remove_manifests(store) {
        tracing::warn!(%error, "a manifest could not be removed");
        return;
    }
    remove_segments(store);
}

/// Deletes the segments that left the stacks and that no checkpoint names: between two checkpoints what was spilled is
/// merged over and over.
pub(crate) fn leftovers(store: &StoreInner) {
    match remove_manifests(store) {
        Ok(()) => remove_segments(store),
        Err(error) => tracing::warn!(%error, "a manifest could not be removed"),
    }
}

/// Deletes those of the segments among `files` that neither a checkpoint nor a stack names. All were there before the
/// store was opened.
pub(crate) fn orphans(store: &Arc<StoreInner>, files: &[String]) {
    let named: HashSet<SegmentId> = {
        let catalogue = store.catalogue.lock();
        let kept = catalogue.kept.values().flat_map(|kept| kept.manifest.segments.iter().map(|meta| meta.id));
        let noted = catalogue.garbage.keys().copied();
        kept.chain(noted).collect()
    };
    let found = files.iter().filter_map(|name| names::parse_segment_name(name)).map(SegmentId);
    let orphans: Vec<SegmentId> = found.filter(|id| !named.contains(id)).collect();
    if orphans.is_empty() {
        return;
    }
    store.catalogue.lock().garbage.extend(orphans.into_iter().map(|id| (id, Weak::new())));
    // Not `run`, which would drop checkpoints that the host has not had the time to retain.
    leftovers(store);
}

/// Deletes the manifests of checkpoints that were let go of, for good: a manifest that is left, or that comes back with
/// a crash, must not name a segment that is gone.
pub(crate) fn remove_manifests(store: &StoreInner) -> Result<(), StorageError> {
    // Held until it is done: closing gives it up, and waits for that.
    let directory = store.lock.lock();
    if directory.is_none() {
        return Ok(());
    }
    let doomed = store.catalogue.lock().doomed.clone();
    if doomed.is_empty() {
        return Ok(());
    }
    for &number in &doomed {
        store.storage.remove(&names::manifest_name(number))?;
    }
    if stands(Safeguard::ManifestsGoFirst) {
        store.storage.sync_dir()?;
    }
    store.catalogue.lock().doomed.retain(|number| !doomed.contains(number));
    Ok(())
}

/// Takes a checkpoint out of the catalogue; its manifest is to be deleted, and its segments may be garbage.
pub(crate) fn drop_checkpoint(catalogue: &mut Catalogue, number: u64, version: &Version) {
    let Some(kept) = catalogue.kept.remove(&number) else { return };
    catalogue.doomed.push(number);
    catalogue.gone.push(Arc::downgrade(&kept.manifest));
    let live: std::collections::HashMap<SegmentId, Weak<LazySegment>> =
        version.segments().iter().map(|segment| (segment.id(), Arc::downgrade(segment))).collect();
    for meta in &kept.manifest.segments {
        let weak = live.get(&meta.id).cloned().unwrap_or_default();
        // What was noted when a compaction dropped the segment knows who still holds it; keep that.
        catalogue.garbage.entry(meta.id).or_insert(weak);
    }
}

/// Notes segments that leave the stacks. The catalogue is locked until they have left: else one that somebody still reads
/// might be found unneeded in between.
pub(crate) fn note(catalogue: &mut Catalogue, dropped: &[Arc<LazySegment>]) {
    for segment in dropped {
        catalogue.garbage.insert(segment.id(), Arc::downgrade(segment));
    }
}

fn remove_segments(store: &StoreInner) {
    // A shard whose writer is idle would hold the segments of its last operation's view.
    let shards = store.shards.lock().clone();
    for shard in shards {
        shard.cell.borrow().settle(&shard);
    }
    // Held until it is done: closing gives it up, and waits for that.
    let directory = store.lock.lock();
    if directory.is_none() {
        return;
    }
    let mut catalogue = store.catalogue.lock();
    if !catalogue.doomed.is_empty() {
        // Another thread let go of a checkpoint since its caller removed manifests: that one's may still be there, and name anything.
        return;
    }
    // After the catalogue: what a compaction drops from now on is noted after this, and not forgotten below.
    let version = Arc::clone(&store.version.lock());
    let in_use: HashSet<SegmentId> = version.segments().iter().map(|segment| segment.id()).collect();
    catalogue.gone.retain(|manifest| manifest.strong_count() > 0);
    let read = catalogue.gone.iter().filter_map(Weak::upgrade);
    let manifests = catalogue.kept.values().map(|kept| Arc::clone(&kept.manifest)).chain(read);
    let named: HashSet<SegmentId> =
        manifests.flat_map(|manifest| manifest.segments.iter().map(|meta| meta.id).collect::<Vec<_>>()).collect();
    let mut dead: Vec<SegmentId> = catalogue
        .garbage
        .iter()
        .filter(|(id, held)| !in_use.contains(id) && !named.contains(id) && held.strong_count() == 0)
        .map(|(&id, _)| id)
        .collect();
    // The oldest first: what has the same turns has the same changes of files.
    dead.sort_unstable();
    for id in dead {
        match store.storage.remove(&names::segment_name(id.0)) {
            Ok(()) => {
                catalogue.garbage.remove(&id);
                store.counts.segments_removed.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => tracing::warn!(%error, "a segment could not be removed"),
        }
    }
    // Segments in use that are named as garbage come up again when they leave the stacks.
    catalogue.garbage.retain(|id, _| !in_use.contains(id));
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::engine::Engine;
    use crate::options::{EngineOptions, StoreOptions};
    use crate::store::Store;

    /// A thread that had found no manifest to remove went on to the segments of a checkpoint that another one let go of meanwhile: where
    /// that one's manifest couldn't be removed, or came back with a crash, it named what was gone.
    #[test]
    fn segments_stay_as_long_as_a_manifest_that_is_to_go() {
        let directory = tempfile::tempdir().unwrap();
        let engine = Engine::open(EngineOptions { memory_budget_bytes: 4 << 20, ..Default::default() }).unwrap();
        let store = Store::create(&engine, directory.path(), StoreOptions::default()).unwrap();
        let segment = directory.path().join(names::segment_name(1));
        std::fs::write(&segment, b"segment").unwrap();
        {
            let mut catalogue = store.inner.catalogue.lock();
            catalogue.garbage.insert(SegmentId(1), Weak::new());
            catalogue.doomed.push(7);
        }
        remove_segments(&store.inner);
        assert!(segment.exists());
        leftovers(&store.inner);
        assert!(!segment.exists());
        store.close().unwrap();
    }

    /// The task that looks for what a crash left may come late.
    #[test]
    fn what_is_there_after_closing_is_another_stores() {
        let directory = tempfile::tempdir().unwrap();
        let engine = Engine::open(EngineOptions { memory_budget_bytes: 4 << 20, ..Default::default() }).unwrap();
        let store = Store::create(&engine, directory.path(), StoreOptions::default()).unwrap();
        let inner = Arc::clone(&store.inner);
        let orphan = |id| {
            let name = names::segment_name(id);
            std::fs::write(directory.path().join(&name), b"segment").unwrap();
            name
        };
        let (before, after) = (orphan(1), orphan(2));
        orphans(&inner, std::slice::from_ref(&before));
        assert!(!directory.path().join(&before).exists());
        store.close().unwrap();
        orphans(&inner, std::slice::from_ref(&after));
        assert!(directory.path().join(&after).exists());
    }
}
