//! Replaying the changelog: what was committed behind the checkpoint that a store was opened at.
//!
//! ```text
//! as a whole   a range of key groups is replayed when its writer is claimed, by the thread that claims it, so ranges are replayed side by
//!              side; a reader has everything replayed first. Of what isn't long, of a transactional store, whose commits are of all
//!              key groups, and where there are events or rollbacks in it
//! by group     each key group is replayed by who asks for it first, and the others in the background meanwhile        (`groups`)
//! ```
//!
//! A barrier or a snapshot has everything replayed first in either case: a checkpoint has all that comes before its position. Nothing of it is
//! appended to the changelog again: the next checkpoint has it.

mod groups;
mod pass;
mod redo;

use crate::changelog::Tail;
use crate::changelog::record::Rollback;
use crate::changelog::tail::Redo;
use crate::commit;
use crate::error::catch;
use crate::error::{Class, Error, Result};
use crate::events;
use crate::ids::{KeyGroup, KeyGroupRange};
use crate::options::StoreOptions;
use crate::platform::threads::{self, Condvar, Mutex};
use crate::rollback;
use crate::store::StoreInner;
use crate::write;
use crate::writer::Writer;
use groups::ByGroup;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What is still to be replayed.
#[derive(Debug)]
pub struct Replay {
    /// Whether anything is.
    active: AtomicBool,
    state: Mutex<State>,
    moved: Condvar,
    /// The tail's length in bytes, and how many key groups it is replayed for.
    total: (u64, u64),
    /// Bytes that were gone through, for each key group that they were gone through for.
    done: AtomicU64,
    /// Held by who claims a range only to have it replayed: somebody else may want a writer of it meanwhile.
    helping: Mutex<()>,
    by_group: ByGroup,
}

/// After so much of the changelog it is said how far replaying is, in bytes.
const TELL_BYTES: u64 = 256 << 10;

/// How replaying some ranges ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// They were replayed.
    Done,
    /// Nothing was done; another may begin with them.
    Again,
    /// Half of it is there: the store failed, and nobody gets to see it.
    Failed,
}

#[derive(Debug, Default)]
struct State {
    tail: Option<Arc<Tail>>,
    /// Ranges that nobody has begun with.
    pending: Vec<KeyGroupRange>,
    /// Ranges that are being replayed.
    running: Vec<KeyGroupRange>,
    has_failed: bool,
}

impl Replay {
    /// What is to be replayed of the key groups of a store; nothing where there is no tail, or an empty one.
    pub fn new(tail: Option<Tail>, range: KeyGroupRange, options: &StoreOptions) -> Self {
        let tail = tail.filter(|tail| !tail.is_empty()).map(Arc::new);
        let goes_by_group = |tail: &Arc<Tail>| {
            !options.transactional && tail.is_by_group() && tail.bytes() > options.changelog.whole_replay_bytes
        };
        let by_group = ByGroup::new(tail.clone().filter(goes_by_group), range);
        let active = AtomicBool::new(tail.is_some());
        let total = (tail.as_ref().map_or(0, |tail| tail.bytes()), range.count() as u64);
        let tail = tail.filter(|_| !by_group.is_active());
        let pending = if tail.is_some() { vec![range] } else { Vec::new() };
        let state = Mutex::new(State { tail, pending, ..State::default() });
        let (done, moved, helping) = (AtomicU64::new(0), Condvar::new(), Mutex::new(()));
        Self { active, state, moved, total, done, helping, by_group }
    }

    /// Whether key groups are replayed one by one, and some still have to be.
    #[inline]
    pub fn is_by_group(&self) -> bool {
        self.by_group.is_active()
    }

    /// Whether any key group of a range is still to be replayed, where they are one by one.
    pub fn has_waiting(&self, range: KeyGroupRange) -> bool {
        self.by_group.is_active() && !self.by_group.is_done(range)
    }

    /// Whether a range that was claimed is warmed up later, when it was replayed.
    pub fn puts_off_warming(&self, range: KeyGroupRange) -> bool {
        self.by_group.is_active() && self.by_group.put_off_warming(range)
    }

    /// Waits until nobody is at replaying key groups one by one. Nobody begins after that.
    pub fn close(&self) {
        self.by_group.close();
    }

    /// How many bytes there were to be replayed when the store was opened, and how many of them were: where only a part of the key
    /// groups was, that part of them.
    pub fn progress(&self) -> (u64, u64) {
        let (bytes, groups) = self.total;
        let done = self.done.load(Ordering::Relaxed) / groups.max(1);
        (bytes, if self.is_active() { done.min(bytes) } else { bytes })
    }

    fn passed(&self, bytes: u64, groups: u64) {
        self.done.fetch_add(bytes.saturating_mul(groups), Ordering::Relaxed);
    }

    /// Whether something is still to be replayed.
    #[inline]
    pub fn is_active(&self) -> bool {
        // Acquire pairs with the Release in `ended`: who sees the end sees what was replayed.
        self.active.load(Ordering::Acquire)
    }

    /// Takes what is pending of a range, or all that is, to be replayed by the caller.
    fn begin(&self, range: KeyGroupRange, all: bool) -> Option<(Arc<Tail>, Vec<KeyGroupRange>)> {
        let mut state = self.state.lock();
        let tail = Arc::clone(state.tail.as_ref()?);
        let (mut mine, mut left) = (Vec::new(), Vec::new());
        for piece in std::mem::take(&mut state.pending) {
            match piece.intersect(range) {
                Some(shared) if !all => {
                    mine.push(shared);
                    left.extend(
                        piece
                            .first()
                            .lt(&shared.first())
                            .then(|| KeyGroupRange::new(piece.first(), shared.first() - 1)),
                    );
                    left.extend(
                        piece.last().gt(&shared.last()).then(|| KeyGroupRange::new(shared.last() + 1, piece.last())),
                    );
                }
                None if !all => left.push(piece),
                _ => mine.push(piece),
            }
        }
        state.pending = left;
        state.running.extend(&mine);
        (!mine.is_empty()).then_some((tail, mine))
    }

    /// Says how replaying ranges ended.
    fn ended(&self, ranges: &[KeyGroupRange], end: End) {
        let mut state = self.state.lock();
        state.running.retain(|range| !ranges.contains(range));
        match end {
            End::Done => {}
            End::Again => state.pending.extend(ranges),
            End::Failed => state.has_failed = true,
        }
        if state.pending.is_empty() && state.running.is_empty() && !state.has_failed {
            state.tail = None;
            self.active.store(false, Ordering::Release);
        }
        drop(state);
        self.moved.notify_all();
    }

    /// A range that nobody has begun with; waits where others are at all that is left.
    fn next(&self) -> Option<KeyGroupRange> {
        let mut state = self.state.lock();
        loop {
            if let Some(range) = state.pending.first() {
                return Some(*range);
            }
            if state.running.is_empty() {
                return None;
            }
            self.moved.wait(&mut state);
        }
    }
}

/// Sees to it that a key group was replayed, before it is read beside its owner.
pub(crate) fn before_reading(store: &Arc<StoreInner>, group: KeyGroup) -> Result<()> {
    if store.replay.is_active() { before_first_read(store, group) } else { Ok(()) }
}

#[cold]
fn before_first_read(store: &Arc<StoreInner>, group: KeyGroup) -> Result<()> {
    if store.replay.is_by_group() { groups::demand(store, group) } else { all(store) }
}

/// Sees to it that a key group was replayed, before its owner does anything with it. The caller is outside the gate.
#[inline]
pub(crate) fn before_operation(store: &Arc<StoreInner>, group: KeyGroup) -> Result<()> {
    if store.replay.is_by_group() { groups::demand(store, group) } else { Ok(()) }
}

/// Replays everything that is still to be.
pub(crate) fn all(store: &Arc<StoreInner>) -> Result<()> {
    if store.replay.is_by_group() {
        return groups::complete(store, store.info.range);
    }
    while store.replay.is_active() {
        store.check()?;
        let Some(range) = store.replay.next() else { return store.check() };
        let helping = store.replay.helping.lock();
        match claim_active(store, range) {
            Ok(writer) => drop(writer),
            // Its writer replays it, or was faster.
            Err(Error::RangeClaimed { .. }) => {
                drop(helping);
                threads::yield_now();
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A writer of a range, with everything in it that was committed.
pub(crate) fn claim(store: &Arc<StoreInner>, range: KeyGroupRange) -> Result<Writer> {
    if store.replay.is_by_group() {
        return groups::claim(store, range);
    }
    // A transactional store is replayed as a whole: one at a time.
    if !(store.options.transactional && store.replay.is_active()) {
        match claim_active(store, range) {
            Err(Error::RangeClaimed { .. }) => {}
            outcome => return outcome,
        }
    }
    // Perhaps it is claimed only by who has it replayed for a reader, say: that is nobody's business.
    let _helping = store.replay.helping.lock();
    claim_active(store, range)
}

fn claim_active(store: &Arc<StoreInner>, range: KeyGroupRange) -> Result<Writer> {
    if store.options.transactional {
        return claim_after_all(store, range);
    }
    let mut writer = write::claim(store, range)?;
    let Some((tail, ranges)) = store.replay.begin(range, false) else { return Ok(writer) };
    if let Err(error) = check_host(store, &tail) {
        store.replay.ended(&ranges, End::Again);
        return Err(error);
    }
    finish(store, &ranges, || run(store, &tail, &ranges, &mut [&mut writer]))?;
    Ok(writer)
}

/// Of a transactional store everything is replayed before anybody gets a writer: a commit is of the whole store. The caller holds
/// [`Replay::helping`] where something is still to be replayed.
fn claim_after_all(store: &Arc<StoreInner>, range: KeyGroupRange) -> Result<Writer> {
    let Some((tail, ranges)) = store.replay.begin(range, true) else {
        store.check()?;
        return write::claim(store, range);
    };
    let claimed = check_host(store, &tail).and_then(|()| claim_whole(store, range));
    let (mut own, mut others) = match claimed {
        Ok(claimed) => claimed,
        Err(error) => {
            store.replay.ended(&ranges, End::Again);
            return Err(error);
        }
    };
    finish(store, &ranges, || {
        let mut writers: Vec<&mut Writer> = others.iter_mut().chain([&mut own]).collect();
        run(store, &tail, &ranges, &mut writers)?;
        commit::commit_replayed(store, &tail);
        Ok(())
    })?;
    Ok(own)
}

/// Claims a range, and all others of the store beside it.
fn claim_whole(store: &Arc<StoreInner>, range: KeyGroupRange) -> Result<(Writer, Vec<Writer>)> {
    let (own, all) = (write::claim(store, range)?, store.info.range);
    let mut others = Vec::new();
    if all.first() < range.first() {
        others.push(write::claim(store, KeyGroupRange::new(all.first(), range.first() - 1))?);
    }
    if range.last() < all.last() {
        others.push(write::claim(store, KeyGroupRange::new(range.last() + 1, all.last()))?);
    }
    Ok((own, others))
}

/// Runs what replays ranges, code of the host included, and says how it ended.
fn finish(store: &StoreInner, ranges: &[KeyGroupRange], replay: impl FnOnce() -> Result<()>) -> Result<()> {
    let outcome = catch(replay).map_err(|error| match error.class() {
        // To try again is no help, whatever it failed for.
        Class::Retry => {
            Error::Background(format!("the changelog was replayed in part only; open the store again: {error}"))
        }
        _ => error,
    });
    if let Err(error) = &outcome {
        // Reopening the store begins anew.
        store.fail(error);
    }
    store.replay.ended(ranges, if outcome.is_ok() { End::Done } else { End::Failed });
    outcome
}

/// Operators of the host have to be there, as operands may have to be folded, and handlers in the version that applied the events.
fn check_host(store: &StoreInner, tail: &Tail) -> Result<()> {
    store.states.read().iter().try_for_each(|def| def.check_operator())?;
    tail.handlers.iter().try_for_each(|(name, version)| events::find(store, name, *version).map(drop))?;
    tail.rollbacks.iter().try_for_each(|(rollback, _)| rollback::check_handlers(store, rollback))
}

/// Replays the changes of some ranges of key groups, in order, by the writers that have them. A writer may have others as well, which were
/// replayed before.
fn run(store: &Arc<StoreInner>, tail: &Tail, ranges: &[KeyGroupRange], writers: &mut [&mut Writer]) -> Result<()> {
    let started = threads::now();
    let mut logs: Vec<_> = writers.iter_mut().map(|writer| writer.swap_log(None)).collect();
    let mut changes = 0_u64;
    let groups: u64 = ranges.iter().map(|range| range.count() as u64).sum();
    let mut told = tail.from;
    let outcome = tail.replay(|redo, end| {
        if end.saturating_sub(told) >= TELL_BYTES {
            store.replay.passed(end - told, groups);
            told = end;
        }
        let group = match &redo {
            Redo::Change { key, .. } => key.group,
            Redo::Event { event, .. } => event.group,
            Redo::Rollback(rollback) => return roll_back(store, ranges, rollback),
        };
        if !ranges.iter().any(|range| range.contains(group)) {
            return Ok(());
        }
        let Some(writer) = writers.iter_mut().find(|writer| writer.range().contains(group)) else { return Ok(()) };
        changes += 1;
        match redo {
            Redo::Change { state, key, change, expiry_ms } => writer.redo(state, key, change, expiry_ms),
            Redo::Event { handler, version, id, event } => {
                let handler = events::find(store, handler, version)?;
                if events::again(writer, &*handler, id, event, None)? {
                    Ok(())
                } else {
                    Err(events::asks_less(&*handler))
                }
            }
            Redo::Rollback(_) => Ok(()),
        }
    });
    for (writer, log) in writers.iter_mut().zip(&mut logs) {
        writer.swap_log(log.take());
    }
    let (bytes, elapsed) = (tail.bytes(), threads::since(started));
    store.replay.passed(tail.to.saturating_sub(told), groups);
    if store.log.is_on() && outcome.is_ok() {
        store.paced.replayed(bytes, elapsed);
    }
    tracing::info!(path = %store.storage.root().display(), bytes, changes, ?elapsed, "changelog replayed");
    outcome
}

/// Rolls back what it says of the ranges that are being replayed. Of a transactional store all that was replayed so far is committed before:
/// it was when this was done first.
fn roll_back(store: &Arc<StoreInner>, ranges: &[KeyGroupRange], rollback: &Rollback) -> Result<()> {
    if store.options.transactional {
        commit::commit_so_far(store);
    }
    let mut scopes = ranges.iter().filter_map(|range| rollback.scope.within(*range));
    scopes.try_for_each(|scope| rollback::again(store, &scope, rollback))
}
