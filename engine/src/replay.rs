//! Replaying the changelog: what was committed behind the checkpoint that a store was opened at.
//!
//! A store serves at once. A range of key groups is replayed when its writer is claimed, by the thread that claims it, so ranges are
//! replayed side by side; a reader, a barrier or a snapshot has everything replayed first. Nothing of it is appended to the changelog
//! again: the next checkpoint has it.

use crate::changelog::Tail;
use crate::changelog::record::Rollback;
use crate::changelog::tail::Redo;
use crate::commit;
use crate::error::catch;
use crate::error::{Error, Result};
use crate::events;
use crate::ids::KeyGroupRange;
use crate::rollback;
use crate::store::StoreInner;
use crate::write;
use crate::writer::Writer;
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is still to be replayed.
#[derive(Debug, Default)]
pub struct Replay {
    /// Whether anything is.
    active: AtomicBool,
    state: Mutex<State>,
    moved: Condvar,
    /// Held by who claims a range only to have it replayed: somebody else may want a writer of it meanwhile.
    helping: Mutex<()>,
}

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
    pub fn new(tail: Option<Tail>, range: KeyGroupRange) -> Self {
        let tail = tail.filter(|tail| !tail.is_empty()).map(Arc::new);
        let active = AtomicBool::new(tail.is_some());
        let pending = if tail.is_some() { vec![range] } else { Vec::new() };
        let state = Mutex::new(State { tail, pending, ..State::default() });
        Self { active, state, moved: Condvar::new(), helping: Mutex::new(()) }
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

/// Replays everything that is still to be.
pub(crate) fn all(store: &Arc<StoreInner>) -> Result<()> {
    while store.replay.is_active() {
        store.check()?;
        let Some(range) = store.replay.next() else { return store.check() };
        let helping = store.replay.helping.lock();
        match claim_active(store, range) {
            Ok(writer) => drop(writer),
            // Its writer replays it, or was faster.
            Err(Error::RangeClaimed { .. }) => {
                drop(helping);
                std::thread::yield_now();
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A writer of a range, with everything in it that was committed.
pub(crate) fn claim(store: &Arc<StoreInner>, range: KeyGroupRange) -> Result<Writer> {
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
    let outcome = catch(replay);
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
    tail.handlers.iter().try_for_each(|(name, version)| events::find(store, name, *version).map(drop))
}

/// Replays the changes of some ranges of key groups, in order, by the writers that have them. A writer may have others as well, which were
/// replayed before.
fn run(store: &Arc<StoreInner>, tail: &Tail, ranges: &[KeyGroupRange], writers: &mut [&mut Writer]) -> Result<()> {
    let started = std::time::Instant::now();
    let mut logs: Vec<_> = writers.iter_mut().map(|writer| writer.swap_log(None)).collect();
    let mut changes = 0_u64;
    let outcome = tail.replay(|redo| {
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
    let (bytes, elapsed) = (tail.bytes(), started.elapsed());
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
