//! The barrier: the synchronous part of a checkpoint.
//!
//! Each shard's epoch is cut off by handing its dirty lists over, which takes the same time however much changed. The
//! writers go on at once; a thread of the engine flushes what was cut and publishes the manifest.

use crate::checkpoint::{CheckpointInfo, Request};
use crate::error::{Error, Result};
use crate::flush::{self, HeldOff, Job, Taking};
use crate::hot::Sealed;
use crate::ids::KeyGroupRange;
use crate::manifest::check_given;
use crate::platform::sync::gate::OwnerToken;
use crate::platform::threads::{self, Condvar, Mutex, MutexGuard};
use crate::replay;
use crate::shard::{Core, Shard};
use crate::store::{Mark, StoreInner};
use std::sync::Arc;

/// What a checkpoint is to carry.
#[derive(Clone, Debug, Default)]
pub struct Barrier {
    /// The host's name of the checkpoint, opaque; a later one may have any other. Where two have the same one, the
    /// younger is found by it.
    pub label: u64,
    /// Where the sources stand, for each range of key groups, which lie in the store's; at most 256 MiB for each. Empty in a
    /// transactional store, and so is the metadata: its checkpoints have the last commit's.
    pub offsets: Vec<(KeyGroupRange, Vec<u8>)>,
    /// The host's metadata, opaque; at most 256 MiB, and with all offsets, 8 bytes more for each, 512 MiB.
    pub metadata: Vec<u8>,
    /// What becomes of reads in flight.
    pub reads: ReadsInFlight,
    /// The checkpoint stands alone: the host copies all of its files, shared with no other's. It subsumes no checkpoint
    /// and none subsumes it: it stays until it is [released](crate::Store::release) or aborted.
    pub standalone: bool,
}

/// What a barrier does about reads that were submitted and are not done. The state doesn't depend on it: they change
/// nothing. But a host that does something about each answer may want none of it to be open when a checkpoint is cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReadsInFlight {
    /// Wait for them: then all answers are there to be taken. Also for those that writers of other threads submit meanwhile,
    /// as long as there are any.
    #[default]
    Drain,
    /// Fail with [`Error::Busy`].
    Refuse,
}

impl Barrier {
    /// A barrier without offsets or metadata.
    pub fn new(label: u64) -> Self {
        Self { label, ..Self::default() }
    }
}

#[derive(Debug, Default)]
struct State {
    outcome: Option<Result<CheckpointInfo>>,
    aborted: bool,
    /// The number of its manifest, once that is there for good: too late to abort it.
    published: Option<u64>,
}

/// The shared part of a [`Pending`].
#[derive(Debug, Default)]
pub struct Shared {
    state: Mutex<State>,
    done: Condvar,
}

impl Shared {
    /// Says how it ended, unless that was said before: then nothing happens.
    pub fn finish(&self, outcome: Result<CheckpointInfo>) {
        self.state.lock().outcome.get_or_insert(outcome);
        self.done.notify_all();
    }

    fn wait(&self) -> Result<CheckpointInfo> {
        let mut state = self.state.lock();
        loop {
            if let Some(outcome) = &state.outcome {
                return outcome.clone();
            }
            self.done.wait(&mut state);
        }
    }

    /// Says that its manifest is there, unless it was given up before: then the answer is false, and the manifest has to go.
    pub fn is_published(&self, number: u64) -> bool {
        let mut state = self.state.lock();
        if state.outcome.is_none() {
            state.published = Some(number);
        }
        state.published.is_some()
    }

    /// Gives it up; the number of the checkpoint if it is complete already.
    pub fn abort(&self, label: u64) -> Option<u64> {
        let mut state = self.state.lock();
        state.aborted = true;
        if state.outcome.is_none() && state.published.is_none() {
            state.outcome = Some(Err(aborted(label)));
            self.done.notify_all();
        }
        state.published
    }

    /// Whether the host gave it up.
    pub fn is_aborted(&self) -> bool {
        self.state.lock().aborted
    }
}

/// A checkpoint on its way. Dropping it changes nothing: the checkpoint completes all the same.
#[derive(Clone, Debug)]
pub struct Pending {
    label: u64,
    shared: Arc<Shared>,
    store: std::sync::Weak<StoreInner>,
}

impl Pending {
    /// The host's label.
    pub fn label(&self) -> u64 {
        self.label
    }

    /// Waits until the checkpoint is complete, or can't become so. After a [`Class::Retry`](crate::Class) error the
    /// changes are still in memory or on the stack, and the next barrier takes them along.
    ///
    /// A checkpoint that somebody waits for is hurried; one that is only [polled](Pending::poll) leaves more of the
    /// machine to the writers, and takes about twice as long.
    pub fn wait(&self) -> Result<CheckpointInfo> {
        let engine = self.store.upgrade().map(|store| store.engine.clone());
        match engine {
            Some(engine) => engine.hurry(|| self.shared.wait()),
            None => self.shared.wait(),
        }
    }

    /// How it ended; `None` while it is on its way.
    pub fn poll(&self) -> Option<Result<CheckpointInfo>> {
        self.shared.state.lock().outcome.clone()
    }

    /// Gives the checkpoint up. Its changes stay in the store and join the next one. What [`Pending::wait`] says from
    /// then on is final: either it is aborted and taken back, should it just be on its way to the disk, or it was complete
    /// already. Then it is released, which deletes it as soon as there is a younger one.
    pub fn abort(&self) -> Result<()> {
        match (self.store.upgrade(), self.shared.abort(self.label)) {
            (Some(store), Some(number)) => crate::checkpoint::release_number(&store, number),
            _ => Ok(()),
        }
    }
}

pub(crate) fn aborted(label: u64) -> Error {
    Error::Checkpoint { label, problem: "aborted by the host".into() }
}

/// The shard of a writer that asks for a barrier itself, and its token: it is entered without a handshake.
pub(crate) type Own<'a> = (&'a Arc<Shard>, &'a mut OwnerToken<Core>);

/// Cuts all shards of a store; that of the caller, if it is a writer, through its own token.
pub(crate) fn cut(store: &Arc<StoreInner>, barrier: Barrier, mut own: Option<Own<'_>>) -> Result<Pending> {
    store.check_cut()?;
    replay::all(store)?;
    let transactional = store.options.transactional;
    if transactional && !(barrier.offsets.is_empty() && barrier.metadata.is_empty()) {
        let problem = "a transactional store's checkpoint has the offsets and metadata of the last commit".into();
        return Err(Error::Checkpoint { label: barrier.label, problem });
    }
    if let Err(invalid) = check_given(store.info.range, &barrier.offsets, &barrier.metadata) {
        return Err(Error::Checkpoint { label: barrier.label, problem: invalid.to_string() });
    }
    if !store.reads.is_idle() {
        if barrier.reads == ReadsInFlight::Refuse {
            return Err(Error::Busy { problem: "reads are in flight" });
        }
        store.reads.wait_idle();
    }
    let started = threads::now();
    let reading = store.purge_clock.begin();
    let (sealing, mark, (shards, mut purge_clock_ms)) = seal_all(store, &mut own)?;
    let shared = Arc::new(Shared::default());
    let (label, mut barrier) = (barrier.label, barrier);
    let (mut epoch, mut position, mut has_rollbacks) = (crate::store::epoch_of(store), store.log.position(), false);
    if transactional {
        let last = store.last_commit.lock();
        (barrier.offsets, barrier.metadata) = (last.offsets.clone(), last.metadata.clone());
        (epoch, position) = (last.epoch, last.position);
        purge_clock_ms = store.purge_clock.committed_ms();
        // They count at once.
        has_rollbacks = store.log.trace().rolled_back().last().is_some_and(|last| last.position > position);
    }
    let reached = (epoch, (position, has_rollbacks), reading.of(purge_clock_ms));
    let request = Request::new(store, barrier, mark, reached, started, Arc::clone(&shared));
    store.queue.push(store, Job { request: Some(request), _cut: flush::Cut::new(store), ..Job::spill(shards) });
    drop(sealing);
    if store.log.is_full() {
        store.engine.log(store);
    }
    store.counts.barrier_ns.record(u64::try_from(threads::since(started).as_nanos()).unwrap_or(u64::MAX));
    Ok(Pending { label, shared, store: Arc::downgrade(store) })
}

/// So often it is looked again at once whether another writer has ended what has to be whole: an event mostly takes less than a microsecond.
const LOOKS_AT_ONCE: u32 = 32;
/// How long to wait before looking again from then on.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(1);

/// How long an event that is about to begin waits before it looks again whether it is held off.
const EVENT_PAUSE: std::time::Duration = std::time::Duration::from_micros(50);

/// What has to be whole in what is cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Whole {
    /// Events that are known by their ids.
    Events,
    /// Those, and operations of many steps.
    Operations,
}

/// [`Queue::sealing`](crate::flush::Queue::sealing) is held, no event is under way in other shards than the caller's, and none begins.
#[derive(Debug)]
#[must_use = "events begin when it is dropped"]
pub(crate) struct Sealing<'a> {
    _sealing: MutexGuard<'a, ()>,
    _held_off: HeldOff<'a>,
}

/// Waits as long as events are held off. The caller is outside its gate.
#[cold]
pub(crate) fn await_events(store: &StoreInner) {
    while store.queue.holds_events_off() {
        // Who cuts holds it to the end; who waits for another's event to end doesn't.
        drop(store.queue.sealing.lock());
        if store.queue.holds_events_off() {
            threads::sleep(EVENT_PAUSE);
        }
    }
}

/// Locks [`Queue::sealing`](crate::flush::Queue::sealing) when no shard, that of the caller aside, is in the middle of what has to be whole.
///
/// An event takes no lock for it: whether events are held off is looked at inside the gate, by which the owner also says that it is at one. Here
/// the former is said first, and each gate is borrowed then: its owner is found at an event, or finds out before it begins with the next one.
pub(crate) fn lock_sealing<'a>(store: &'a StoreInner, own: Option<&Arc<Shard>>, whole: Whole) -> Sealing<'a> {
    let held_off = store.queue.hold_events_off();
    let mut looks = 0;
    loop {
        let sealing = store.queue.sealing.lock();
        let shards = store.shards.lock().clone();
        let mut others = shards.iter().filter(|shard| own.is_none_or(|own| !Arc::ptr_eq(own, shard)));
        if !others.any(|shard| is_amid(shard, whole)) {
            return Sealing { _sealing: sealing, _held_off: held_off };
        }
        // It may have to spill, which takes what we hold.
        drop(sealing);
        looks += 1;
        if looks <= LOOKS_AT_ONCE {
            threads::yield_now();
        } else {
            store.engine.hurry(|| threads::sleep(PAUSE));
        }
    }
}

/// Whether a shard's owner is in the middle of what has to be whole.
fn is_amid(shard: &Shard, whole: Whole) -> bool {
    match whole {
        // Who begins with the first one in its shard waits for the lock that is held here.
        Whole::Events => shard.has_events() && shard.cell.borrow().in_event,
        Whole::Operations => {
            let core = shard.cell.borrow();
            core.in_event || core.hot.is_unfinished()
        }
    }
}

/// What was cut off of each shard.
type Cut = Vec<(Arc<Shard>, Sealed)>;

/// Cuts all shards for a snapshot.
pub(crate) fn cut_snapshot(store: &Arc<StoreInner>) -> Result<Arc<Taking>> {
    store.check_cut()?;
    replay::all(store)?;
    let (_sealing, _, (shards, _)) = seal_all(store, &mut None)?;
    let taking = Arc::new(Taking::up_to(store.committed_epoch()));
    let snapshot = Some(Arc::clone(&taking));
    store.queue.push(store, Job { snapshot, _cut: flush::Cut::new(store), ..Job::spill(shards) });
    Ok(taking)
}

/// Cuts all shards of a store when none is in the middle of an event or of an operation, and keeps its sealing locked: what was asked for
/// until then, what is to be flushed of the shards, and the lowest time that their writers had set, in ms.
fn seal_all<'a>(store: &'a Arc<StoreInner>, own: &mut Option<Own<'_>>) -> Result<(Sealing<'a>, Mark, (Cut, u64))> {
    // An operation is seldom left in its middle, and each gate is borrowed to find out: first that is left to the cut itself.
    let mut whole = Whole::Events;
    loop {
        let sealing = lock_sealing(store, own.as_ref().map(|(shard, _)| *shard), whole);
        let mark = store.mark_work();
        if let Some(cut) = try_seal_all(store, own)? {
            return Ok((sealing, mark, cut));
        }
        whole = Whole::Operations;
    }
}

/// The same under [`Queue::sealing`](crate::flush::Queue::sealing); `None` where another's shard is in the middle of an operation.
fn try_seal_all(store: &Arc<StoreInner>, own: &mut Option<Own<'_>>) -> Result<Option<(Cut, u64)>> {
    store.check_open()?;
    let mut shards = Vec::new();
    let mut lowest_ms = u64::MAX;
    let all = store.shards.lock().clone();
    let mut is_whole = Ok(true);
    for shard in &all {
        let token = own.as_mut().filter(|(of, _)| Arc::ptr_eq(of, shard)).map(|(_, token)| &mut **token);
        is_whole = seal(store, shard, token, &mut shards, &mut lowest_ms);
        if !matches!(is_whole, Ok(true)) {
            break;
        }
    }
    if matches!(is_whole, Ok(true)) {
        // Without writers the time stands still.
        return Ok(Some((shards, if all.is_empty() { store.purge_clock.now_ms() } else { lowest_ms })));
    }
    // What was cut off before is flushed all the same: nothing else leads to it any more.
    if !shards.is_empty() {
        store.queue.push(store, Job::spill(shards));
    }
    is_whole.map(|_| None)
}

/// Cuts one shard, and waits for room where two of its epochs are in flight: checkpoints come faster than the disk
/// takes them. False where another's is in the middle of an operation.
fn seal(
    store: &Arc<StoreInner>,
    shard: &Arc<Shard>,
    mut token: Option<&mut OwnerToken<Core>>,
    cut: &mut Cut,
    lowest_ms: &mut u64,
) -> Result<bool> {
    loop {
        let seen = shard.progress();
        let is_cut = match &mut token {
            Some(token) => seal_core(store, shard, &mut token.enter(), cut, lowest_ms),
            None => {
                let core = &mut shard.cell.borrow();
                if core.hot.is_unfinished() {
                    return Ok(false);
                }
                seal_core(store, shard, core, cut, lowest_ms)
            }
        };
        if is_cut {
            return Ok(true);
        }
        // A store that failed signals once: who has looked at the progress before and finds no failure is signalled.
        store.check()?;
        store.engine.hurry(|| shard.wait(seen));
        store.check()?;
        // A full disk: the host learns of it, and what is in flight stays in line.
        if let Some(error) = store.trouble.lock().clone() {
            return Err(error);
        }
    }
}

/// Cuts what changed in one shard, if anything did; false where two of its epochs are in flight.
fn seal_core(store: &StoreInner, shard: &Arc<Shard>, core: &mut Core, cut: &mut Cut, lowest_ms: &mut u64) -> bool {
    core.settle(shard);
    *lowest_ms = (*lowest_ms).min(core.take_time_ms());
    if core.hot.is_dirty() {
        let sealed = core.hot.seal(store.next_epoch());
        cut.extend(sealed.map(|sealed| (Arc::clone(shard), sealed)));
    }
    // If it was cut off it has a new epoch.
    let is_cut = !core.hot.is_dirty();
    if is_cut && store.log.is_on() {
        // What is appended from now on is not in what was cut off.
        store.log.append(|empty| core.take_log(empty));
    }
    is_cut
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::{Commit, CommitInfo};
    use crate::engine::Engine;
    use crate::options::{EngineOptions, StoreOptions};
    use crate::states::StateOptions;
    use crate::store::Store;

    fn engine() -> Engine {
        Engine::open(EngineOptions { memory_budget_bytes: 4 << 20, ..Default::default() }).unwrap()
    }

    /// Each may be that long, all of them together may not: a manifest has no room for them.
    #[test]
    fn more_than_a_manifest_has_room_for_is_refused_and_changes_nothing() {
        // Zeroed memory that nobody touches takes none.
        let offsets = |count: usize| -> Vec<(KeyGroupRange, Vec<u8>)> {
            (0..count).map(|_| (KeyGroupRange::new(0, 9), vec![0; 250 << 20])).collect()
        };
        for transactional in [false, true] {
            let directory = tempfile::tempdir().unwrap();
            let options = StoreOptions { transactional, ..Default::default() };
            let store = Store::create(&engine(), directory.path(), options).unwrap();
            let state = store.state(StateOptions::value("v")).unwrap();
            let mut writer = store.writer(store.range()).unwrap();
            writer.put(state, store.key(b"k"), b"v").unwrap();
            let refused = match transactional {
                false => writer.barrier(Barrier { offsets: offsets(5), ..Barrier::new(1) }).map(drop),
                true => writer.commit(Commit { offsets: offsets(5), ..Commit::default() }).map(drop),
            };
            assert!(matches!(refused, Err(Error::Checkpoint { .. } | Error::Options { .. })), "{refused:?}");
            if transactional {
                assert!(store.last_commit().offsets.is_empty());
                writer.commit(Commit { metadata: b"m".to_vec(), ..Commit::default() }).unwrap();
            }
            let metadata = if transactional { Vec::new() } else { b"m".to_vec() };
            let info = writer.barrier(Barrier { metadata, ..Barrier::new(2) }).unwrap().wait().unwrap();
            assert_eq!(info.metadata, b"m");
            assert_eq!(writer.get(state, store.key(b"k")).unwrap().unwrap(), b"v");
        }
    }

    /// An operation that waits for memory between two of its steps is out of its gate meanwhile, and yet in no checkpoint or snapshot by half.
    #[test]
    fn nothing_is_cut_off_in_the_middle_of_an_operation() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::create(&engine(), directory.path(), StoreOptions::default()).unwrap();
        let state = store.state(StateOptions::value("v")).unwrap();
        let mut writer = store.writer(store.range()).unwrap();
        let shard = store.inner.shards.lock()[0].clone();
        for label in 1..20 {
            writer.put(state, store.key(b"first"), &[label]).unwrap();
            shard.cell.borrow().hot.set_unfinished(true);
            let (cut, taken) = std::thread::scope(|scope| {
                let cut = scope.spawn(|| store.barrier(Barrier::new(label.into())).unwrap().wait().unwrap());
                let taken = scope.spawn(|| store.snapshot().unwrap());
                // Both would be through by now.
                std::thread::sleep(std::time::Duration::from_millis(10));
                writer.put(state, store.key(b"second"), &[label]).unwrap();
                shard.cell.borrow().hot.set_unfinished(false);
                (cut.join().unwrap(), taken.join().unwrap())
            });
            let all: Vec<_> = store.iterate(cut.label).unwrap().map(|item| item.unwrap().value).collect();
            assert_eq!(all, [[label], [label]]);
            assert_eq!(taken.get(state, store.key(b"second")).unwrap().unwrap(), [label]);
        }
    }

    /// Nor is it committed by half.
    #[test]
    fn nothing_is_committed_in_the_middle_of_an_operation() {
        let directory = tempfile::tempdir().unwrap();
        let options = StoreOptions { transactional: true, ..Default::default() };
        let store = Store::create(&engine(), directory.path(), options).unwrap();
        let state = store.state(StateOptions::value("v")).unwrap();
        let mut writer = store.writer(store.range()).unwrap();
        let shard = store.inner.shards.lock()[0].clone();
        for round in 1..10_u8 {
            writer.put(state, store.key(b"first"), &[round]).unwrap();
            shard.cell.borrow().hot.set_unfinished(true);
            std::thread::scope(|scope| {
                let commit = scope.spawn(|| store.commit(Commit::default()).unwrap());
                // It would be through by now.
                std::thread::sleep(std::time::Duration::from_millis(10));
                writer.put(state, store.key(b"second"), &[round]).unwrap();
                shard.cell.borrow().hot.set_unfinished(false);
                drop(commit.join().unwrap());
            });
            writer.abort_transaction().unwrap();
            assert_eq!(writer.get(state, store.key(b"first")).unwrap().unwrap(), [round]);
            assert_eq!(writer.get(state, store.key(b"second")).unwrap().unwrap(), [round]);
        }
    }

    /// What was in flight when a store failed stays there, and nobody is signalled any more.
    #[test]
    fn nothing_waits_for_what_is_in_flight_in_a_store_that_failed() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::create(&engine(), directory.path(), StoreOptions::default()).unwrap();
        let state = store.state(StateOptions::value("v")).unwrap();
        let mut writer = store.writer(store.range()).unwrap();
        let shard = store.inner.shards.lock()[0].clone();
        for n in 0..3_u8 {
            writer.put(state, store.key(&[n]), &[n]).unwrap();
            // As if their flushes had failed.
            assert_eq!(shard.cell.borrow().hot.seal(store.inner.next_epoch()).is_some(), n < 2);
        }
        store.inner.fail(&Error::Background("a flush failed".into()));
        let failed = |outcome: Result<()>| assert!(matches!(outcome, Err(Error::Background(_))), "{outcome:?}");
        failed(seal_all(&store.inner, &mut None).map(drop));
        drop(writer);
        failed(store.writer(KeyGroupRange::new(0, 0)).map(drop));
        drop(store.close());
    }

    /// As offsets that were let in once may be. Only the checkpoint that was to carry it can't be complete.
    #[test]
    fn what_no_manifest_takes_fails_the_checkpoint_and_not_the_store() {
        let directory = tempfile::tempdir().unwrap();
        let options = StoreOptions { transactional: true, ..Default::default() };
        let store = Store::create(&engine(), directory.path(), options).unwrap();
        let state = store.state(StateOptions::value("v")).unwrap();
        let mut writer = store.writer(store.range()).unwrap();
        writer.put(state, store.key(b"k"), b"v").unwrap();
        writer.commit(Commit::default()).unwrap();
        let outside = KeyGroupRange::new(store.range().last() + 1, store.range().last() + 1);
        {
            let mut last = store.inner.last_commit.lock();
            *last = Arc::new(CommitInfo { offsets: vec![(outside, Vec::new())], ..(**last).clone() });
        }
        let refused = writer.barrier(Barrier::new(1)).unwrap().wait();
        assert!(matches!(refused, Err(Error::Checkpoint { label: 1, .. })), "{refused:?}");
        writer.put(state, store.key(b"k"), b"w").unwrap();
        writer.commit(Commit::default()).unwrap();
        assert_eq!(writer.barrier(Barrier::new(2)).unwrap().wait().unwrap().label, 2);
        let all: Vec<_> = store.iterate(2).unwrap().map(|item| item.unwrap().value).collect();
        assert_eq!(all, [b"w"]);
    }
}
