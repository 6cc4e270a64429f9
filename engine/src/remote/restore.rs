//! From checkpoints in remote directories to a store that serves.

use super::carrier::{Carrier, Origin, Piece, Restoring};
use super::error::RemoteResult;
use super::format::Checkpoint;
use super::ledger::{self, Listing};
use super::options::RestoreOptions;
use super::{Inner, Remote};
use crate::engine::Engine;
use crate::error::Error;
use crate::ids::KeyGroupRange;
use crate::manifest::Manifest;
use crate::options::StoreOptions;
use crate::platform::storage::names;
use crate::store::Store;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

/// How often the newest checkpoint is looked for anew, where it was deleted since it was listed.
const LOOKS: usize = 3;

/// A checkpoint to restore from.
#[derive(Clone, Debug)]
pub struct RemoteSource {
    /// The directory.
    pub remote: Remote,
    /// Which checkpoint; `None`: the newest.
    pub label: Option<u64>,
}

/// Makes a new store in `path` that holds the key groups of `options.range`, from remote checkpoints that together cover
/// them: one store from one, several from one, one from several, as [`Store::restore`] does with directories.
///
/// It serves when this returns: two requests to each directory are waited for. What a read needs is brought at once, the rest
/// in the background ([`RestoreOptions`]). [`StoreOptions::fetch`] is implied. The checkpoints must stay in their directories
/// until all of it is here; a store that goes on uploading to the directory that it was restored from keeps what it still
/// needs by itself.
///
/// # Errors
/// [`RemoteError::NoCheckpoint`](super::RemoteError::NoCheckpoint); an object that is missing, truncated, altered or can't be
/// reached, by its name; [`RemoteError::Engine`](super::RemoteError::Engine) as [`Store::restore_absent`] has it.
pub fn restore(
    engine: &Engine,
    path: &Path,
    sources: &[RemoteSource],
    options: StoreOptions,
    how: RestoreOptions,
) -> RemoteResult<(Store, Restoring)> {
    how.validate()?;
    let found = find(sources, options.range)?;
    let manifests: Vec<&[u8]> = found.iter().map(|(_, checkpoint)| &*checkpoint.manifest_bytes).collect();
    let options = StoreOptions { fetch: true, ..options };
    let store = Store::restore_absent(engine, path, &manifests, options)?;
    let restoring = attach(&store, &found, how)?;
    Ok((store, restoring))
}

/// Goes on with a restore that a crash cut short: `store` was opened ([`Store::open`]) with [`StoreOptions::fetch`], in the
/// directory that it was restored into, and `sources` are those that it was restored from. Files that were here whole are not
/// brought again.
///
/// # Errors
/// As [`restore()`]; and [`Error::Options`] where the store was opened without [`StoreOptions::fetch`].
pub fn resume(store: &Store, sources: &[RemoteSource], how: RestoreOptions) -> RemoteResult<Restoring> {
    how.validate()?;
    attach(store, &find(sources, store.range())?, how)
}

type Found = Vec<(Arc<Inner>, Checkpoint)>;

/// The checkpoints, all read at the same time. What they name of `range` is there.
fn find(sources: &[RemoteSource], range: KeyGroupRange) -> RemoteResult<Found> {
    let begin = |source: &RemoteSource| {
        let inner = Arc::clone(&source.remote.inner);
        let read = read(Arc::clone(&inner), source.label, range);
        (Arc::clone(&inner), inner.runtime.begin(read))
    };
    let running: Vec<_> = sources.iter().map(begin).collect();
    running.into_iter().map(|(inner, running)| Ok((inner, running.wait()?))).collect()
}

async fn read(inner: Arc<Inner>, label: Option<u64>, range: KeyGroupRange) -> RemoteResult<Checkpoint> {
    let access = &inner.access;
    let mut looks = 0;
    loop {
        looks += 1;
        let listing = Listing::take(access).await?;
        let (sequence, bytes) = ledger::find(&inner, &listing, label).await?;
        let checkpoint = match ledger::read(access, sequence, bytes).await {
            // A store that goes on uploading deletes old ones; a newer one is there by now.
            Err(error) if error.fault() == Some(super::RemoteFault::Missing) && looks < LOOKS => continue,
            outcome => outcome?,
        };
        // It is better to learn at once that a segment is missing than when it is needed.
        let needed = needed(&checkpoint.manifest, range);
        let segments = checkpoint.manifest.segments.iter().filter(|meta| needed.contains(&meta.id.0));
        let check = |meta: &Arc<crate::segment::SegmentMeta>| {
            listing.check_segment(access, &names::segment_name(meta.id.0), meta.file_bytes)
        };
        match { segments }.try_for_each(check) {
            Err(_) if label.is_none() && looks < LOOKS => {}
            outcome => return outcome.map(|()| checkpoint),
        }
    }
}

/// The segments that some slice with key groups of `range` lies on.
fn needed(manifest: &Manifest, range: KeyGroupRange) -> HashSet<u128> {
    let slices = manifest.slices.iter().filter(|slice| slice.range.intersect(range).is_some());
    let entries = slices.flat_map(|slice| &slice.stack);
    entries.filter_map(|entry| Some(manifest.segments.get(entry.segment as usize)?.id.0)).collect()
}

fn attach(store: &Store, found: &Found, how: RestoreOptions) -> RemoteResult<Restoring> {
    let fetches = store.fetches().ok_or_else(|| {
        let problem = "the store was opened without it: nothing can be brought".into();
        Error::Options { option: "fetch", problem }
    })?;
    let mut origins = HashMap::new();
    for (remote, checkpoint) in found {
        for (meta, sums) in checkpoint.manifest.segments.iter().zip(&checkpoint.sums) {
            let name = names::segment_name(meta.id.0);
            let object = remote.access.segment(&name);
            let (remote, sums, len) = (Arc::clone(remote), Arc::clone(sums), meta.file_bytes);
            origins.entry(name).or_insert(Origin { remote, object, len, sums });
        }
    }
    let order = order(found, &how.first);
    Carrier::start(fetches, origins, order, how)
}

/// The segments in the order in which they are to be brought: those with key groups that are wanted first; then the youngest,
/// in which lies what changes most; then the smallest.
fn order(found: &Found, first: &[KeyGroupRange]) -> Vec<Piece> {
    let mut ranked = HashMap::new();
    for (_, Checkpoint { manifest, .. }) in found {
        for slice in &manifest.slices {
            let rank = first.iter().position(|range| range.intersect(slice.range).is_some()).unwrap_or(first.len());
            for meta in slice.stack.iter().filter_map(|entry| manifest.segments.get(entry.segment as usize)) {
                let best = ranked.entry(meta.id.0).or_insert((rank, Arc::clone(meta)));
                best.0 = best.0.min(rank);
            }
        }
    }
    let mut ranked: Vec<_> = ranked.into_values().collect();
    ranked.sort_by_key(|(rank, meta)| (*rank, meta.level, meta.file_bytes, meta.id));
    let piece = |(_, meta): (usize, Arc<crate::segment::SegmentMeta>)| Piece {
        name: names::segment_name(meta.id.0),
        len: meta.file_bytes,
        metadata: meta.metadata.offset,
    };
    ranked.into_iter().map(piece).collect()
}
