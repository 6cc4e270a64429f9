//! Replaying the changelog: what was committed behind the checkpoint that a store was opened at.
//!
//! A store serves at once. A range of key groups is replayed when its writer is claimed, by the thread that claims it, so ranges are
//! replayed side by side; a reader, a barrier or a snapshot has everything replayed first. Nothing of it is appended to the changelog
//! again: the next checkpoint has it.

use crate::changelog::Tail;
use crate::changelog::tail::Redo;
use crate::commit;
use crate::error::{Error, Result};
use crate::events;
use crate::ids::KeyGroupRange;
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
}

#[derive(Debug, Default)]
struct State {
    tail: Option<Arc<Tail>>,
    /// Ranges that nobody has begun with.
    pending: Vec<KeyGroupRange>,
    /// Ranges that are being replayed.
    running: Vec<KeyGroupRange>,
}

impl Replay {
    /// What is to be replayed of the key groups of a store; nothing where there is no tail, or an empty one.
    pub fn new(tail: Option<Tail>, range: KeyGroupRange) -> Self {
        let tail = tail.filter(|tail| !tail.is_empty()).map(Arc::new);
        let active = AtomicBool::new(tail.is_some());
        let pending = if tail.is_some() { vec![range] } else { Vec::new() };
        Self { active, state: Mutex::new(State { tail, pending, running: Vec::new() }), moved: Condvar::new() }
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

    /// Says that ranges were replayed, or are to be replayed by another.
    fn ended(&self, ranges: &[KeyGroupRange], again: bool) {
        let mut state = self.state.lock();
        state.running.retain(|range| !ranges.contains(range));
        if again {
            state.pending.extend(ranges);
        }
        if state.pending.is_empty() && state.running.is_empty() {
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
        let Some(range) = store.replay.next() else { return Ok(()) };
        match store.claim(range) {
            Ok(writer) => drop(writer),
            // Its writer replays it, or was faster.
            Err(Error::RangeClaimed { .. }) => std::thread::yield_now(),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Replays what a writer's range is still to have. Of a transactional store all of it: a commit is of the whole store.
pub(crate) fn range_of(store: &Arc<StoreInner>, writer: &mut Writer) -> Result<()> {
    if !store.replay.is_active() {
        return Ok(());
    }
    let transactional = store.options.transactional;
    let Some((tail, ranges)) = store.replay.begin(writer.range(), transactional) else {
        return if transactional { wait_for_others(store) } else { Ok(()) };
    };
    let outcome = check_host(store, &tail);
    if let Err(error) = outcome {
        store.replay.ended(&ranges, true);
        return Err(error);
    }
    let outcome = if transactional { whole(store, &tail, writer, &ranges) } else { run(store, &tail, &mut [writer]) };
    if let Err(error) = &outcome {
        // Half of it is there: reopening the store begins anew.
        store.fail(error);
    }
    store.replay.ended(&ranges, false);
    outcome
}

fn wait_for_others(store: &StoreInner) -> Result<()> {
    while store.replay.next().is_some() {
        std::thread::yield_now();
    }
    store.check()
}

/// Operators of the host have to be there, as operands may have to be folded, and handlers in the version that applied the events.
fn check_host(store: &StoreInner, tail: &Tail) -> Result<()> {
    store.states.read().iter().try_for_each(|def| def.check_operator())?;
    tail.handlers.iter().try_for_each(|(name, version)| events::find(store, name, *version).map(drop))
}

/// Replays a transactional store, and commits what was replayed.
fn whole(store: &Arc<StoreInner>, tail: &Tail, own: &mut Writer, ranges: &[KeyGroupRange]) -> Result<()> {
    let mut others = Vec::new();
    for range in ranges {
        let (first, last, of) = (range.first(), range.last(), own.range());
        if first < of.first() {
            others.push(write::claim(store, KeyGroupRange::new(first, last.min(of.first() - 1)))?);
        }
        if last > of.last() {
            others.push(write::claim(store, KeyGroupRange::new(first.max(of.last() + 1), last))?);
        }
    }
    let mut writers: Vec<&mut Writer> = others.iter_mut().chain([own]).collect();
    run(store, tail, &mut writers)?;
    commit::commit_replayed(store, tail);
    Ok(())
}

/// Replays the changes of some writers' key groups, in order.
fn run(store: &Arc<StoreInner>, tail: &Tail, writers: &mut [&mut Writer]) -> Result<()> {
    let started = std::time::Instant::now();
    let mut logs: Vec<_> = writers.iter_mut().map(|writer| writer.swap_log(None)).collect();
    let mut changes = 0_u64;
    let outcome = tail.replay(|redo| {
        let group = match &redo {
            Redo::Change { key, .. } => key.group,
            Redo::Event { event, .. } => event.group,
        };
        let Some(writer) = writers.iter_mut().find(|writer| writer.range().contains(group)) else { return Ok(()) };
        changes += 1;
        match redo {
            Redo::Change { state, key, change, expiry_ms } => writer.redo(state, key, change, expiry_ms),
            Redo::Event { handler, version, event } => events::again(writer, (handler, version), event),
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
