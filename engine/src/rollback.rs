//! Rolling back: key groups and states return to a checkpoint, while the store goes on.
//!
//! Nothing is copied or deleted for it. The scope's slices get the stacks that the checkpoint's manifest describes, and its hot
//! tables are left behind (`hot`), in one step inside the gates of its shards, with their views held: an operation is
//! before it or after it. What was on its way to the disk is told apart by the numbers of rollbacks (`undone`). What is
//! not needed any more goes in the background.
//!
//! With a changelog it is a record there, behind everything that it undid, and recovery does it again; the checkpoint stays until
//! another one has that record.

use crate::changelog::record::Rollback;
use crate::changelog::trace::RolledBack;
use crate::checkpoint::{self, Kept};
use crate::compact;
use crate::error::{Error, Result};
use crate::hot::Part;
use crate::ids::{KeyGroup, KeyGroupRange, SegmentId, StateId};
use crate::manifest::{Manifest, StateInfo};
use crate::platform::sync::gate::CellBorrow;
use crate::reclaim;
use crate::replay;
use crate::scope::Scope;
use crate::shard::{Core, HeldView, Shard};
use crate::stack::{LazySegment, Version};
use crate::store::{State, Store, StoreInner};
use crate::undone::Clearing;
use crate::worker::Task;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long it waits for a writer's operation that is between two of its steps, waiting for memory.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks at whether it has ended.
const PAUSE: Duration = Duration::from_millis(1);
/// Pieces of what was left behind that are freed while a writer waits.
const PIECES_AT_ONCE: usize = 2;
/// The rest after them.
const REST: Duration = Duration::from_micros(100);
/// After so many rests other tasks come first.
const ROUNDS: u32 = 32;

/// What a rollback came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rewound {
    /// The checkpoint's label.
    pub label: u64,
    /// The number of its manifest.
    pub number: u64,
    /// Where the sources of the scope's key groups stood at the checkpoint, and are to go on from: its offsets, cut to the scope.
    pub offsets: Vec<(KeyGroupRange, Vec<u8>)>,
    /// The host's metadata in the checkpoint.
    pub metadata: Vec<u8>,
    /// The checkpoint's position in the changelog; 0 without one.
    pub position: u64,
}

impl Scope {
    /// The same key groups, with these states alone; with all, where none is given.
    #[must_use]
    pub fn states(self, states: &[State]) -> Self {
        self.of_states(states.iter().map(|state| state.id()).collect())
    }
}

impl Store {
    /// Takes a scope back to a retained checkpoint, at once, while the store goes on: its key groups have what they had at the
    /// checkpoint, and everything else is as it was. It takes some milliseconds at most, however much it undoes, and nothing is read or
    /// written for it; what was undone leaves memory and disk in the background. `to` is the label of a checkpoint that is complete and
    /// still [there](Store::checkpoints), be it older or younger than where the scope stands: back to one that an earlier rollback left
    /// behind is *forth*, and as good.
    ///
    /// An operation of a writer or reader sees the scope as it was before or as it is after. Cursors see either from one batch to
    /// the next. Snapshots that were taken before, and checkpoints whose barrier came before, have what they had. It is no part of a
    /// transaction, and takes nothing back from one.
    ///
    /// Without a changelog it lasts with the next checkpoint; with one, with the next commit: the host goes on from
    /// [`Rewound::offsets`], and says with its next barrier or commit where it stands.
    ///
    /// ```
    /// # use alluvium::{Barrier, Engine, Scope, StateOptions, Store, StoreOptions};
    /// # let directory = tempfile::tempdir().map_err(|error| alluvium::Error::Background(error.to_string()))?;
    /// # let engine = Engine::open(alluvium::EngineOptions::default())?;
    /// # let store = Store::create(&engine, directory.path(), StoreOptions::default())?;
    /// let counts = store.state(StateOptions::value("counts"))?;
    /// let mut writer = store.writer(store.range())?;
    /// let key = store.key(b"JFK");
    /// writer.put(counts, key, b"1")?;
    /// let offsets = vec![(store.range(), b"event 17".to_vec())];
    /// store.barrier(Barrier { offsets, ..Barrier::new(1) })?.wait()?;
    /// writer.put(counts, key, b"poison")?;
    /// let range = alluvium::KeyGroupRange::new(key.group.0, key.group.0);
    /// let rewound = store.rollback(&Scope::groups(range), 1)?;
    /// assert_eq!(writer.get(counts, key)?, Some(b"1".to_vec()));
    /// assert_eq!(rewound.offsets, [(range, b"event 17".to_vec())]);
    /// # Ok::<(), alluvium::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Checkpoint`] where there is none of this label, or it can't be gone back to (it is of a history that was given up; or some
    /// states alone were rolled back before and its segments lie in another order, until [`Store::compact`]); [`Error::OutsideRange`] and
    /// [`Error::State`] where the scope isn't the store's; [`Error::State`] also where a state was migrated since; [`Error::Busy`] where
    /// something is staged in the scope, or an operation on it has waited for memory for seconds. Nothing has changed then.
    pub fn rollback(&self, scope: &Scope, to: u64) -> Result<Rewound> {
        run(&self.inner, scope, to)
    }
}

impl StoreInner {
    /// The arrangement as what was cut off when `rollback` was the last one has it.
    pub(crate) fn version_before(&self, rollback: u64) -> Arc<Version> {
        let version = self.version.lock();
        Arc::clone(self.rollbacks.lock().before(rollback).unwrap_or(&version))
    }
}

/// Which checkpoint, and who wants it.
#[derive(Clone, Copy)]
enum Target {
    /// The host names its label.
    Label(u64),
    /// The changelog names its number, and the label.
    Number(u64, u64),
}

/// Rolls a scope back to the checkpoint with a label.
pub(crate) fn run(store: &Arc<StoreInner>, scope: &Scope, label: u64) -> Result<Rewound> {
    store.check_cut()?;
    replay::all(store)?;
    check_scope(store, scope)?;
    let started = Instant::now();
    let rewound = patiently(store, scope, Target::Label(label))?;
    tracing::info!(label, range = %scope.range(), elapsed_ns = started.elapsed().as_nanos() as u64, "rolled back");
    Ok(rewound)
}

/// Does again what the changelog says, for key groups that are being replayed.
pub(crate) fn again(store: &Arc<StoreInner>, scope: &Scope, rollback: &Rollback) -> Result<()> {
    patiently(store, scope, Target::Number(rollback.number, rollback.label)).map(drop)
}

fn patiently(store: &Arc<StoreInner>, scope: &Scope, target: Target) -> Result<Rewound> {
    let deadline = Instant::now() + PATIENCE;
    let rewound = loop {
        if let Some(rewound) = attempt(store, scope, target)? {
            break rewound;
        }
        if Instant::now() > deadline {
            return Err(Error::Busy { problem: "an operation on these key groups is waiting for memory" });
        }
        store.engine.hurry(|| std::thread::sleep(PAUSE));
    };
    store.queue.forget_rollbacks(store);
    if store.clearing.lock().begins() {
        store.engine.submit(Task::Clear(Arc::clone(store)));
    }
    compact::consider(store);
    if store.log.is_full() {
        store.engine.log(store);
    }
    Ok(rewound)
}

fn check_scope(store: &StoreInner, scope: &Scope) -> Result<()> {
    let (of, range) = (store.info.range, scope.range());
    if !of.covers(range) {
        let outside = if of.contains(KeyGroup(range.first())) { range.last() } else { range.first() };
        return Err(Error::OutsideRange { group: KeyGroup(outside), range: of });
    }
    let states = store.states.read().len();
    match scope.state_ids().iter().find(|state| usize::from(state.0) >= states) {
        None => Ok(()),
        Some(state) => {
            Err(Error::State { state: format!("number {}", state.0), problem: "not a state of this store".into() })
        }
    }
}

/// Rolls back, unless an operation is between two of its steps in the scope; then nothing has changed.
fn attempt(store: &Arc<StoreInner>, scope: &Scope, target: Target) -> Result<Option<Rewound>> {
    // No barrier, commit or claim comes in between, and nothing is cut off.
    let _sealing = store.queue.sealing.lock();
    store.check()?;
    let states = store.state_infos();
    let defs = store.states.read().clone();
    let mut catalogue = store.catalogue.lock();
    let kept = find(store, &catalogue, target)?;
    check_states(scope, &kept.manifest, &states)?;
    // Where changes have to be committed, what is of later epochs counts as staged.
    if kept.manifest.epoch.0 > crate::store::epoch_of(store).0.min(store.committed_epoch()) {
        return Err(refused(&kept, "it is of a history that was left when the store was opened at an earlier one"));
    }
    let mut version = store.version.lock();
    let (storage, cache) = (&store.storage, &store.engine.inner.cache);
    let mut of_checkpoint = checkpoint::version_of(storage, cache, &kept.manifest, &defs, &store.conversions);
    share_segments(&mut of_checkpoint, &version, &catalogue.garbage);
    let next = version.rolled_back(scope, &of_checkpoint, states.len());
    let next =
        Arc::new(next.map_err(|_| refused(&kept, "its segments lie in another order; compact the store first"))?);
    let shards = store.shards.lock().clone();
    // Inside all of them at once: nobody sees one part of it without the other.
    let mut inside = enter(&shards, scope, states.len());
    if inside.iter().any(|(_, core, _)| core.in_event || core.hot.has_open_steps()) {
        return Ok(None);
    }
    if inside.iter().any(|(_, core, part)| core.hot.has_staged_in(part)) {
        return Err(Error::Busy { problem: "a transaction is open in what is to be rolled back" });
    }
    let mut views: Vec<(&Arc<Shard>, Option<HeldView<'_>>)> = shards.iter().map(|shard| (shard, None)).collect();
    for (shard, view) in &mut views {
        if inside.iter().any(|(of, ..)| Arc::ptr_eq(of, shard)) {
            *view = Some(shard.hold_view());
        }
    }
    for (_, core, part) in &mut inside {
        core.hot.rewind(part);
        if store.log.is_on() {
            store.log.append(|empty| core.take_log(empty));
        }
    }
    if store.log.is_on() && matches!(target, Target::Label(_)) {
        let (number, label) = (kept.info.number, kept.info.label);
        let position = store.log.rollback(&Rollback { number, label, scope: scope.clone() });
        catalogue.pinned.push((number, position));
        let (target, whole) = (Some(kept.manifest.log_position), scope.state_ids().is_empty());
        store.log.trace().roll_back(RolledBack { position, groups: scope.range(), target, whole });
    }
    let before = std::mem::replace(&mut *version, Arc::clone(&next));
    store.rollbacks.lock().note(scope, &before);
    for (shard, view) in views {
        match view {
            Some(view) => view.publish(Arc::clone(&next)),
            None => shard.publish(Arc::clone(&next), None),
        }
    }
    inside.iter_mut().for_each(|(shard, core, _)| core.settle(shard));
    drop((inside, version));
    let stays: HashSet<SegmentId> = next.segments().iter().map(|segment| segment.id()).collect();
    let mut dropped = before.segments();
    dropped.retain(|segment| !stays.contains(&segment.id()));
    reclaim::note(&mut catalogue, &dropped);
    Ok(Some(rewound(scope, &kept)))
}

/// A shard that is in the scope, entered, and what of it is.
type Inside<'a> = (&'a Arc<Shard>, CellBorrow<'a, Core>, Part);

/// Enters the shards of a scope.
fn enter<'a>(shards: &'a [Arc<Shard>], scope: &Scope, states: usize) -> Vec<Inside<'a>> {
    let in_scope = (0..=u16::MAX).take(states).filter(|state| scope.has_state(StateId(*state)));
    let of_scope: Vec<u16> = in_scope.collect();
    let part = |shard: &'a Arc<Shard>| {
        let range = shard.range.intersect(scope.range())?;
        let first = shard.range.first();
        let groups = range.first() - first..=range.last() - first;
        let mut core = shard.cell.borrow();
        core.settle(shard);
        Some((shard, core, Part { states: of_scope.clone(), groups }))
    };
    shards.iter().filter_map(part).collect()
}

fn find(store: &StoreInner, catalogue: &checkpoint::Catalogue, target: Target) -> Result<Kept> {
    let kept = match target {
        Target::Label(label) => catalogue.find(label).ok(),
        Target::Number(number, _) => catalogue.kept.get(&number),
    };
    // One that is just being published may still be taken back.
    let open = store.open_checkpoints.lock();
    let is_doubtful =
        |kept: &&Kept| open.iter().any(|open| open.number == Some(kept.info.number) && !open.shared.is_for_good());
    if let Some(kept) = kept.filter(|kept| !is_doubtful(kept)) {
        return Ok(kept.clone());
    }
    let labels: Vec<String> = catalogue.kept.values().map(|kept| kept.info.label.to_string()).collect();
    let (label, problem) = match target {
        Target::Label(label) => (label, format!("not retained; there are: {}", labels.join(", "))),
        Target::Number(number, label) => (
            label,
            format!("the changelog says that something was rolled back to it, and its manifest {number} isn't there"),
        ),
    };
    Err(Error::Checkpoint { label, problem })
}

fn refused(kept: &Kept, problem: &str) -> Error {
    Error::Checkpoint { label: kept.info.label, problem: problem.into() }
}

/// A state of the scope is what it was at the checkpoint, or came later.
fn check_states(scope: &Scope, manifest: &Manifest, states: &[StateInfo]) -> Result<()> {
    let is_other = |(then, now): &(&StateInfo, &StateInfo)| {
        scope.has_state(now.id)
            && (&then.name, then.kind, &then.merge, then.lineage) != (&now.name, now.kind, &now.merge, now.lineage)
    };
    let refused = |state: &StateInfo| {
        let problem = "it was of another schema at the checkpoint, or its number was another state's".into();
        Err(Error::State { state: state.name.clone(), problem })
    };
    match manifest.states.iter().zip(states).find(is_other) {
        None => Ok(()),
        Some((_, now)) => refused(now),
    }
}

/// Has an arrangement share the open segments of another, and those that left the stacks and that somebody still holds: one segment
/// is open once, or nobody could tell when it isn't needed any more.
fn share_segments(version: &mut Version, of_now: &Version, garbage: &HashMap<SegmentId, std::sync::Weak<LazySegment>>) {
    let mut known: HashMap<SegmentId, Arc<LazySegment>> =
        of_now.segments().into_iter().map(|segment| (segment.id(), segment)).collect();
    for slice in &mut version.slices {
        for layer in &mut Arc::make_mut(slice).layers {
            let id = layer.segment.id();
            let held =
                || garbage.get(&id).and_then(std::sync::Weak::upgrade).unwrap_or_else(|| Arc::clone(&layer.segment));
            let shared = Arc::clone(known.entry(id).or_insert_with(held));
            layer.segment = shared;
        }
    }
}

fn rewound(scope: &Scope, kept: &Kept) -> Rewound {
    let inside = |(range, bytes): &(KeyGroupRange, Vec<u8>)| Some((range.intersect(scope.range())?, bytes.clone()));
    Rewound {
        label: kept.info.label,
        number: kept.info.number,
        offsets: kept.info.offsets.iter().filter_map(inside).collect(),
        metadata: kept.info.metadata.clone(),
        position: kept.manifest.log_position,
    }
}

/// Frees what rollbacks left behind, in memory and on disk; on a thread of the engine. Mostly it rests: a thread that the system
/// takes the processor from while it is inside a gate holds the owner up until it has it back.
pub(crate) fn clear(store: &Arc<StoreInner>) {
    // Before it is looked for: what is left behind from now on says so again.
    *store.clearing.lock() = Clearing::Idle;
    // Not locked while it goes on.
    let (mut rounds, shards) = (0, store.shards.lock().clone());
    for shard in shards {
        while clear_a_little(store, &shard) {
            std::thread::sleep(REST);
            rounds += 1;
            if rounds == ROUNDS {
                // It is another task's turn.
                if store.clearing.lock().begins() {
                    store.engine.submit(Task::Clear(Arc::clone(store)));
                }
                return;
            }
        }
    }
    reclaim::leftovers(store);
}

/// Frees some of what a shard has left behind; false where there is nothing that can be freed now.
fn clear_a_little(store: &StoreInner, shard: &Arc<Shard>) -> bool {
    let mut core = shard.cell.borrow();
    core.settle(shard);
    if (0..PIECES_AT_ONCE).all(|_| core.hot.work()) {
        return true;
    }
    if !core.hot.has_graves() {
        core.hot.give_back_empty();
        return false;
    }
    // It is just being flushed, and that has it looked at again. Unless it has ended by now, and nobody had said so.
    store.clearing.lock().waits();
    core.settle(shard);
    core.hot.has_chores()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;
    use crate::options::{EngineOptions, StoreOptions};

    /// Who has the view of before while the tables are being emptied must find in the end that it is another.
    #[test]
    fn a_view_that_is_held_is_nobodys_any_more() {
        let directory = tempfile::tempdir().unwrap();
        let engine = Engine::open(EngineOptions { memory_budget_bytes: 4 << 20, ..Default::default() }).unwrap();
        let store = Store::create(&engine, directory.path(), StoreOptions::default()).unwrap();
        let _writer = store.writer(store.range()).unwrap();
        let shard = Arc::clone(&store.inner.shards.lock()[0]);
        let (number, view) = shard.view();
        let held = shard.hold_view();
        let meanwhile = shard.view_number();
        assert_ne!(meanwhile, number);
        held.publish(Arc::clone(&view.version));
        let (after, _) = shard.view();
        assert!(after != number && after != meanwhile, "no view was ever taken with the number of meanwhile");
    }
}
