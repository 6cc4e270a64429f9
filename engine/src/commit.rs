//! Transactional stores: committing what is staged, or undoing it, in all shards as one.
//!
//! An epoch number divides what is committed from what is not, in memory and on disk: a commit raises it, an abort takes
//! away what lies above. What has been spilled of a transaction lies in segments of its own on top of the stacks, which
//! checkpoints, committed reads and merges leave out by that number.

use crate::barrier::Own;
use crate::checkpoint::CheckpointInfo;
use crate::error::{Error, Result};
use crate::ids::{Epoch, KeyGroupRange};
use crate::manifest::check_host;
use crate::platform::sync::gate::{CellBorrow, CellGuard};
use crate::reclaim;
use crate::shard::{Core, Shard};
use crate::stack::Version;
use crate::store::StoreInner;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// What goes with the state that is committed.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// Where the sources stand, for each range of key groups, which lie in the store's; at most 256 MiB for each.
    pub offsets: Vec<(KeyGroupRange, Vec<u8>)>,
    /// The host's metadata, opaque; at most 256 MiB.
    pub metadata: Vec<u8>,
}

/// What was committed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommitInfo {
    /// Everything of this epoch and earlier ones is committed.
    pub epoch: Epoch,
    /// Where the sources stood.
    pub offsets: Vec<(KeyGroupRange, Vec<u8>)>,
    /// The host's metadata.
    pub metadata: Vec<u8>,
}

impl CommitInfo {
    /// What a store finds committed that begins at an epoch, with a checkpoint or without.
    pub(crate) fn restored(checkpoint: Option<&CheckpointInfo>, epoch: u32) -> Self {
        let (offsets, metadata) =
            checkpoint.map(|info| (info.offsets.clone(), info.metadata.clone())).unwrap_or_default();
        Self { epoch: Epoch(epoch), offsets, metadata }
    }
}

fn check_transactional(store: &StoreInner) -> Result<()> {
    store.check_cut()?;
    if store.options.transactional {
        return Ok(());
    }
    Err(Error::Options { option: "transactional", problem: "the store was opened without it".into() })
}

/// Commits all shards of a store; that of the caller, if it is a writer, through its own token.
pub(crate) fn commit(store: &Arc<StoreInner>, commit: Commit, mut own: Option<Own<'_>>) -> Result<Arc<CommitInfo>> {
    check_transactional(store)?;
    if let Err(invalid) = check_host(store.info.range, &commit.offsets, &commit.metadata) {
        return Err(Error::Options { option: "commit", problem: invalid.to_string() });
    }
    let started = Instant::now();
    // No epoch is cut off, and none begun, between the first shard and the last.
    let sealing = loop {
        let sealing = store.queue.sealing.lock();
        store.check()?;
        let own = own.as_ref().map(|(shard, _)| Arc::clone(shard));
        if !is_unfinished(store, own.as_ref()) {
            break sealing;
        }
        // It may have to spill, which takes what we hold.
        drop(sealing);
        store.engine.hurry(|| std::thread::sleep(PAUSE));
    };
    let epoch = crate::store::epoch_of(store);
    let shards = store.shards.lock().clone();
    for shard in shards {
        let next = store.next_epoch();
        match own.as_mut().filter(|(of, _)| Arc::ptr_eq(of, &shard)) {
            Some((_, token)) => token.enter().hot.commit(epoch.0, next),
            None => shard.cell.borrow().hot.commit(epoch.0, next),
        }
    }
    let info = Arc::new(CommitInfo { epoch, offsets: commit.offsets, metadata: commit.metadata });
    *store.last_commit.lock() = Arc::clone(&info);
    drop(sealing);
    store.counts.commits.fetch_add(1, Ordering::Relaxed);
    store.counts.commit_ns.record(u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX));
    Ok(info)
}

/// How long a commit waits before it looks again whether another writer's operation has ended that waits for memory.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(1);

/// Whether a writer, the caller aside, is between two steps of one operation.
fn is_unfinished(store: &StoreInner, own: Option<&Arc<Shard>>) -> bool {
    let shards = store.shards.lock().clone();
    let mut others = shards.iter().filter(|shard| own.is_none_or(|own| !Arc::ptr_eq(own, shard)));
    others.any(|shard| shard.cell.borrow().hot.is_unfinished())
}

/// A shard's core, however it was come by.
enum Inside<'a> {
    Own(CellGuard<'a, Core>),
    Borrowed(CellBorrow<'a, Core>),
}

impl Inside<'_> {
    fn core(&mut self) -> &mut Core {
        match self {
            Self::Own(core) => core,
            Self::Borrowed(core) => core,
        }
    }
}

/// Undoes what is staged in all shards.
pub(crate) fn abort(store: &Arc<StoreInner>, mut own: Option<Own<'_>>) -> Result<()> {
    check_transactional(store)?;
    let _sealing = store.queue.sealing.lock();
    store.check_open()?;
    let shards = store.shards.lock().clone();
    for shard in &shards {
        await_staged(store, shard, &mut own)?;
    }
    let mut catalogue = store.catalogue.lock();
    let mut version = store.version.lock();
    // Inside all of them at once, and the segments go before anybody gets in: else what is staged might be read back.
    let mut cores: Vec<Inside<'_>> = Vec::with_capacity(shards.len());
    for shard in &shards {
        cores.push(match own.take_if(|(of, _)| Arc::ptr_eq(of, shard)) {
            Some((_, token)) => Inside::Own(token.enter()),
            None => Inside::Borrowed(shard.cell.borrow()),
        });
    }
    for inside in &mut cores {
        inside.core().hot.abort();
    }
    let committed = Version::up_to(&version, store.committed_epoch());
    if !Arc::ptr_eq(&committed, &version) {
        let stays: std::collections::HashSet<_> = committed.segments().iter().map(|segment| segment.id()).collect();
        let mut dropped = version.segments();
        dropped.retain(|segment| !stays.contains(&segment.id()));
        *version = committed;
        for shard in &shards {
            shard.publish(Arc::clone(&version), None);
        }
        reclaim::note(&mut catalogue, &dropped);
    }
    drop((cores, version, catalogue));
    store.counts.aborts.fetch_add(1, Ordering::Relaxed);
    reclaim::leftovers(store);
    Ok(())
}

/// Sees to it that nothing of a shard that is staged is being flushed: the flusher reads it where it lies. What is in line to be
/// flushed needn't be, and may find no room for what the transaction itself has filled the disk with.
fn await_staged(store: &StoreInner, shard: &Arc<Shard>, own: &mut Option<Own<'_>>) -> Result<()> {
    loop {
        let seen = shard.progress();
        let look = |core: &mut Core| {
            core.settle(shard);
            core.hot.has_staged_in_flight()
        };
        let in_flight = match own.as_mut().filter(|(of, _)| Arc::ptr_eq(of, shard)) {
            Some((_, token)) => look(&mut token.enter()),
            None => look(&mut shard.cell.borrow()),
        };
        if !in_flight {
            return Ok(());
        }
        if let Some(job) = store.queue.withdraw(shard, store.committed_epoch()) {
            *store.trouble.lock() = None;
            let version = store.version.lock();
            for (shard, sealed) in job.shards {
                // As if it were flushed: its lists are taken apart. Its records are undone before anybody looks for them.
                shard.publish(Arc::clone(&version), Some(sealed.epoch));
                shard.signal();
            }
            continue;
        }
        store.engine.hurry(|| shard.wait(seen));
        store.check()?;
    }
}
