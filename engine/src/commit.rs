//! Commits: everything up to a moment, with the sources' offsets; and transactional stores, where it is staged before, and can be undone.
//!
//! With a changelog a commit is a record in it, behind everything that the shards changed: recovery goes to a commit, never in between.
//!
//! An epoch number divides what is committed from what is not, in memory and on disk: a commit raises it, an abort takes
//! away what lies above. What has been spilled of a transaction lies in segments of its own on top of the stacks, which
//! checkpoints, committed reads and merges leave out by that number.

use crate::barrier::{self, Own, Whole};
use crate::changelog::{Changelog, Tail};
use crate::checkpoint::CheckpointInfo;
use crate::error::{Error, Result};
use crate::ids::{Epoch, KeyGroupRange};
use crate::manifest::check_given;
use crate::platform::sync::gate::{CellBorrow, CellGuard};
use crate::platform::threads;
use crate::reclaim;
use crate::replay;
use crate::shard::{Core, Shard};
use crate::stack::Version;
use crate::store::StoreInner;
use std::ops::Deref;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

/// When a commit lasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Lasting {
    /// As soon as the changelog is synced, which is shared with other commits ([`ChangelogOptions::delay`](crate::ChangelogOptions)).
    #[default]
    Soon,
    /// With a later one, or with the next checkpoint: nothing is synced for it. A crash goes back to some earlier commit, as a whole, with
    /// that one's offsets.
    WithLater,
}

/// What goes with the state that is committed.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// Where the sources stand, for each range of key groups, which lie in the store's; at most 256 MiB for each.
    pub offsets: Vec<(KeyGroupRange, Vec<u8>)>,
    /// The host's metadata, opaque; at most 256 MiB, and with all offsets, 8 bytes more for each, 512 MiB.
    pub metadata: Vec<u8>,
    /// When it lasts.
    pub lasting: Lasting,
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
    /// The position in the changelog behind it; 0 without a changelog.
    pub position: u64,
}

/// A commit, and the word on whether it lasts. Dropping it changes nothing. It reads like the [`CommitInfo`] in it.
#[derive(Clone, Debug)]
pub struct Committed {
    info: Arc<CommitInfo>,
    log: Arc<Changelog>,
    store: Weak<StoreInner>,
}

impl Deref for Committed {
    type Target = CommitInfo;

    fn deref(&self) -> &CommitInfo {
        &self.info
    }
}

impl Committed {
    /// What was committed.
    pub fn info(&self) -> &Arc<CommitInfo> {
        &self.info
    }

    /// Waits until it lasts: whatever happens to the process or the machine from then on, the store is found at this commit or a later one.
    /// The sync isn't put off for it any more.
    ///
    /// # Errors
    /// [`Error::Options`] where the store has no changelog: it lasts with the next checkpoint then. [`Error::Busy`] where a bulk load or a
    /// migration came before it that no complete checkpoint had when it was asked for: it lasts with a later checkpoint, or with a commit after one.
    /// A [`Class::Retry`](crate::Class) error while the disk is full: it may still come to last. Any other error is final.
    pub fn wait(&self) -> Result<()> {
        self.check()?;
        self.log.wait(self.info.position, || {
            if let Some(store) = self.store.upgrade() {
                store.engine.log(&store);
            }
        })
    }

    /// Whether it lasts by now; `None` while that isn't known. Errors as of [`Committed::wait`].
    pub fn poll(&self) -> Option<Result<()>> {
        match self.check() {
            Ok(()) => self.log.poll(self.info.position),
            Err(error) => Some(Err(error)),
        }
    }

    /// Calls `call` once, when it lasts, or can't come to: at once, or later on a thread of the engine, which it mustn't hold up. It must not call
    /// the store.
    pub fn when_lasting(&self, call: impl FnOnce(Result<()>) + Send + 'static) {
        match self.check() {
            Ok(()) => self.log.when(self.info.position, Box::new(call)),
            Err(error) => call(Err(error)),
        }
    }

    fn check(&self) -> Result<()> {
        if self.log.is_on() {
            return Ok(());
        }
        let problem = "without a changelog a commit lasts with the next checkpoint".into();
        Err(Error::Options { option: "durability", problem })
    }
}

impl CommitInfo {
    /// What a store finds committed that begins at an epoch, with a checkpoint or without.
    pub(crate) fn restored(
        checkpoint: Option<&CheckpointInfo>,
        tail: Option<&Tail>,
        epoch: u32,
        position: u64,
    ) -> Self {
        let of_checkpoint = || checkpoint.map(|info| (info.offsets.clone(), info.metadata.clone()));
        let last = tail.and_then(|tail| tail.last.clone());
        let (offsets, metadata) = last.or_else(of_checkpoint).unwrap_or_default();
        Self { epoch: Epoch(epoch), offsets, metadata, position }
    }
}

/// Fails where a store isn't transactional, with what that is a problem for.
fn check_transactional(store: &StoreInner, problem: &str) -> Result<()> {
    store.check_cut()?;
    if store.options.transactional {
        return Ok(());
    }
    Err(Error::Options { option: "transactional", problem: problem.into() })
}

/// Commits all shards of a store; that of the caller, if it is a writer, through its own token.
pub(crate) fn commit(store: &Arc<StoreInner>, commit: Commit, mut own: Option<Own<'_>>) -> Result<Committed> {
    if store.log.is_on() {
        store.check_cut()?;
    } else {
        check_transactional(
            store,
            "the store was opened without it, and without a changelog: a commit needs one of them",
        )?;
    }
    if store.options.transactional {
        // What is replayed is committed before.
        replay::all(store)?;
    }
    if let Err(invalid) = check_given(store.info.range, &commit.offsets, &commit.metadata) {
        return Err(Error::Options { option: "commit", problem: invalid.to_string() });
    }
    if store.log.is_behind() {
        // Commits come faster than the disk takes them, however little each one is.
        store.engine.log(store);
        store.engine.hurry(|| store.log.catch_up())?;
    }
    let started = threads::now();
    // An operation is seldom left in its middle, and each gate is borrowed to find out: first that is left to the commit itself.
    let mut whole = Whole::Events;
    let (sealing, epoch) = loop {
        // No epoch is cut off, and none begun, between the first shard and the last.
        let sealing = barrier::lock_sealing(store, own.as_ref().map(|(shard, _)| *shard), whole);
        store.check()?;
        let epoch = crate::store::epoch_of(store);
        if commit_shards(store, &mut own, epoch) {
            break (sealing, epoch);
        }
        whole = Whole::Operations;
    };
    let (offsets, metadata) = (commit.offsets, commit.metadata);
    let soon = commit.lasting == Lasting::Soon;
    let logs = store.log.is_on();
    let position = if logs { store.log.commit(&offsets, &metadata, soon, started) } else { store.log.position() };
    let info = Arc::new(CommitInfo { epoch, offsets, metadata, position });
    *store.last_commit.lock() = Arc::clone(&info);
    drop(sealing);
    if logs && (soon || store.log.is_full()) {
        store.engine.log(store);
    }
    store.counts.commits.fetch_add(1, Ordering::Relaxed);
    store.counts.commit_ns.record(u64::try_from(threads::since(started).as_nanos()).unwrap_or(u64::MAX));
    Ok(Committed { info, log: Arc::clone(&store.log), store: Arc::downgrade(store) })
}

/// Commits all shards, at one moment; false, and nothing was done, where another's is in the middle of an operation.
fn commit_shards(store: &StoreInner, own: &mut Option<Own<'_>>, epoch: Epoch) -> bool {
    let shards = store.shards.lock().clone();
    let reading = store.options.transactional.then(|| store.purge_clock.begin());
    let mut cores = enter_all(&shards, own);
    if cores.iter_mut().any(|inside| matches!(inside, Inside::Borrowed(core) if core.hot.is_unfinished())) {
        return false;
    }
    let lowest_ms = cores.iter_mut().map(|inside| commit_shard(store, inside.core(), epoch)).min();
    drop(cores);
    if let (Some(lowest_ms), Some(reading)) = (lowest_ms, reading) {
        store.purge_clock.commit(&reading.of(lowest_ms));
    }
    true
}

/// Commits one shard, and moves to the changelog what it appended; its clock, in ms.
fn commit_shard(store: &StoreInner, core: &mut Core, epoch: Epoch) -> u64 {
    if store.options.transactional {
        core.hot.commit(epoch.0, store.next_epoch());
    }
    if store.log.is_on() {
        store.log.append(|empty| core.take_log(empty));
    }
    core.take_time_ms()
}

/// Moves to the changelog what all writers did so far, without a commit; the position behind it.
pub(crate) fn log_all(store: &Arc<StoreInner>) -> Result<u64> {
    // Half of an event stays in its buffer: its record takes the place of it.
    let _sealing = barrier::lock_sealing(store, None, Whole::Events);
    store.check()?;
    for shard in store.shards.lock().clone() {
        let mut core = shard.cell.borrow();
        store.log.append(|empty| core.take_log(empty));
    }
    Ok(store.log.position())
}

/// Commits what was replayed into the shards of a transactional store: what the changelog's last commit left.
pub(crate) fn commit_replayed(store: &Arc<StoreInner>, tail: &Tail) {
    let epoch = commit_so_far(store);
    let info = CommitInfo::restored(store.restored.as_ref(), Some(tail), epoch.0, tail.to);
    *store.last_commit.lock() = Arc::new(info);
}

/// Commits what was replayed so far; up to which epoch.
pub(crate) fn commit_so_far(store: &StoreInner) -> Epoch {
    let _sealing = store.queue.sealing.lock();
    let epoch = crate::store::epoch_of(store);
    for shard in store.shards.lock().clone() {
        shard.cell.borrow().hot.commit(epoch.0, store.next_epoch());
    }
    epoch
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

/// Goes inside all shards at once; that of the caller, if it is a writer, through its own token.
fn enter_all<'a>(shards: &'a [Arc<Shard>], own: &'a mut Option<Own<'_>>) -> Vec<Inside<'a>> {
    let mut own = own.as_mut().map(|(shard, token)| (*shard, &mut **token));
    let enter = |shard: &'a Arc<Shard>| match own.take_if(|(of, _)| Arc::ptr_eq(of, shard)) {
        Some((_, token)) => Inside::Own(token.enter()),
        None => Inside::Borrowed(shard.cell.borrow()),
    };
    shards.iter().map(enter).collect()
}

/// Undoes what is staged in all shards.
pub(crate) fn abort(store: &Arc<StoreInner>, mut own: Option<Own<'_>>) -> Result<()> {
    check_transactional(store, "the store was opened without it")?;
    let _sealing = barrier::lock_sealing(store, own.as_ref().map(|(shard, _)| *shard), Whole::Events);
    store.check_open()?;
    let shards = store.shards.lock().clone();
    let mut withdrawn = Vec::new();
    for shard in &shards {
        await_staged(store, shard, &mut own, &mut withdrawn)?;
    }
    let mut catalogue = store.catalogue.lock();
    let mut version = store.version.lock();
    // Inside all of them at once, and the segments go before anybody gets in: else what is staged might be read back.
    let mut cores = enter_all(&shards, &mut own);
    for (shard, epoch) in &withdrawn {
        // As if it were flushed: its lists are taken apart. Nobody looks for its records before they are undone.
        shard.publish(Arc::clone(&version), Some(*epoch));
    }
    for (shard, inside) in shards.iter().zip(&mut cores) {
        let core = inside.core();
        core.settle(shard);
        core.hot.abort();
        if store.log.is_on() {
            store.log.append(|empty| core.take_log(empty));
        }
    }
    if store.log.is_on() {
        store.log.abort();
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
    withdrawn.iter().for_each(|(shard, _)| shard.signal());
    store.counts.aborts.fetch_add(1, Ordering::Relaxed);
    reclaim::leftovers(store);
    Ok(())
}

/// Sees to it that nothing of a shard that is staged is being flushed: the flusher reads it where it lies. What is in line to be
/// flushed needn't be, and may find no room for what the transaction itself has filled the disk with: it is withdrawn, and counts as in
/// flight until it is undone, as it is on no disk. Only where the store has failed or was closed does this fail, and then nothing of it matters.
fn await_staged(
    store: &StoreInner,
    shard: &Arc<Shard>,
    own: &mut Option<Own<'_>>,
    withdrawn: &mut Vec<(Arc<Shard>, u32)>,
) -> Result<()> {
    loop {
        let seen = shard.progress();
        let left = withdrawn.iter().filter(|(of, _)| Arc::ptr_eq(of, shard)).count();
        let look = |core: &mut Core| {
            core.settle(shard);
            core.hot.staged_in_flight() > left
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
            withdrawn.extend(job.shards.into_iter().map(|(shard, sealed)| (shard, sealed.epoch)));
            continue;
        }
        // As in `barrier::seal`.
        store.check()?;
        store.engine.hurry(|| shard.wait(seen));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flush::Job;
    use crate::ids::{KeyGroup, KeyGroupRange};
    use crate::{Engine, EngineOptions, Key, StateOptions, Store, StoreOptions};

    /// What an abort takes out of the line is on no disk: while it waits for another flush to end, it is read and evicted as what is in flight.
    #[test]
    fn what_an_abort_withdraws_does_not_count_as_flushed() {
        let directory = tempfile::tempdir().unwrap();
        let engine = Engine::open(EngineOptions { memory_budget_bytes: 8 << 20, ..Default::default() }).unwrap();
        let options = StoreOptions { transactional: true, ..Default::default() };
        let store = Store::create(&engine, directory.path(), options).unwrap();
        let state = store.state(StateOptions::value("v")).unwrap();
        let halves = [KeyGroupRange::new(0, 63), KeyGroupRange::new(64, store.range().last())];
        let mut writers = halves.map(|half| store.writer(half).unwrap());
        let keys = halves.map(|half| Key::new(KeyGroup(half.first()), b"k"));
        for (writer, key) in writers.iter_mut().zip(keys) {
            writer.put(state, key, b"committed").unwrap();
        }
        store.commit(Commit::default()).unwrap();
        store.barrier(crate::Barrier::new(1)).unwrap().wait().unwrap();
        for (writer, key) in writers.iter_mut().zip(keys) {
            writer.put(state, key, b"staged").unwrap();
        }
        let inner = &store.inner;
        let shards = inner.shards.lock().clone();
        let cut: Vec<_> =
            shards.iter().map(|shard| shard.cell.borrow().hot.seal_staged(inner.next_epoch()).unwrap()).collect();
        let epoch = cut[1].epoch;
        inner.queue.hold();
        let first = cut.into_iter().next().unwrap();
        inner.queue.push(inner, Job::spill(vec![(Arc::clone(&shards[0]), first)]));
        std::thread::scope(|scope| {
            let abort = scope.spawn(|| store.abort_transaction());
            // The other one's flush is under way: the abort would be through with the first one by now.
            std::thread::sleep(std::time::Duration::from_millis(30));
            let in_flight = {
                let core = &mut shards[0].cell.borrow();
                core.settle(&shards[0]);
                core.hot.staged_in_flight()
            };
            let version = Arc::clone(&inner.version.lock());
            shards[1].publish(version, Some(epoch));
            shards[1].signal();
            // Not before the abort can end: else it would be waited for.
            assert_eq!(in_flight, 1);
            abort.join().unwrap().unwrap();
        });
        for (writer, key) in writers.iter_mut().zip(keys) {
            assert_eq!(writer.get(state, key).unwrap().unwrap(), b"committed");
            writer.put(state, key, b"later").unwrap();
        }
    }
}
