//! Rolling back: key groups and states return to a checkpoint, or to a position of the changelog, while the store goes on.
//!
//! Nothing is copied or deleted for it, but for what lies between a checkpoint and a position (`rollback/position.rs`). The scope's slices get the stacks that the checkpoint's manifest describes, and its hot
//! tables are left behind (`hot`), in one step inside the gates of its shards, with their views held: an operation is
//! before it or after it. What was on its way to the disk is told apart by the numbers of rollbacks (`undone`). What is
//! not needed any more goes in the background.
//!
//! With a changelog it is a record there, behind everything that it undid, and recovery does it again; the checkpoint stays until
//! another one has that record.

use crate::changelog::record::Rollback;
use crate::changelog::trace::RolledBack;
use crate::checkpoint::{self, Catalogue, Kept};
use crate::compact;
use crate::error::{Error, Result};
use crate::hot::Part;
use crate::ids::{KeyGroup, KeyGroupRange, SegmentId, StateId};
use crate::manifest::{Manifest, StateInfo};
use crate::past;
use crate::platform::sync::gate::CellBorrow;
use crate::platform::threads;
use crate::reclaim;
use crate::replay;
use crate::scope::Scope;
use crate::shard::{Core, HeldView, Shard};
use crate::stack::{LazySegment, Version};
use crate::states::StateDef;
use crate::store::{State, Store, StoreInner};
use crate::undone::Clearing;
use crate::worker::Task;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

mod position;

use position::Reached;

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
/// Why a checkpoint is none to go back to.
const LEFT: &str = "it is of a history that was left when the store was opened at an earlier one";

/// What a rollback came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rewound {
    /// The checkpoint's label; of a position, that of the nearest one before it, or 0 where there is none.
    pub label: u64,
    /// The number of its manifest; 0 where there is none.
    pub number: u64,
    /// Where the sources of the scope's key groups stood at the checkpoint, and are to go on from: its offsets, cut to the scope. Of a position,
    /// those of the last commit there or before, or of the checkpoint if that came later.
    pub offsets: Vec<(KeyGroupRange, Vec<u8>)>,
    /// The host's metadata, in the checkpoint or commit that the offsets are of.
    pub metadata: Vec<u8>,
    /// The position in the changelog that was gone back to, the checkpoint's or behind it; 0 without a changelog.
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
    /// [`Error::Checkpoint`] where there is none of this label, or it can't be gone back to (it is of a history that was left by [`Store::open_checkpoint`]; or some
    /// states alone were rolled back before and its segments lie in another order, until [`Store::compact`]); [`Error::OutsideRange`] and
    /// [`Error::State`] where the scope isn't the store's; [`Error::State`] also where a state was migrated since; [`Error::Busy`] where
    /// something is staged in the scope, or an operation on it has waited for memory for seconds. Nothing has changed then.
    pub fn rollback(&self, scope: &Scope, to: u64) -> Result<Rewound> {
        run(&self.inner, scope, to)
    }

    /// Takes a scope back to a position of the changelog, while the store goes on: its key groups have what [`Store::as_of_position`] says of
    /// it, and everything else is as it was. Positions are told by commits, checkpoints and [`Store::position`]. In all else it is
    /// [`Store::rollback`]: who reads or writes sees the scope as it was before or as it is after, and it lasts with the next commit.
    ///
    /// What it takes: the changes of these key groups between the newest checkpoint of the [history](crate::StoreOptions::history) before the
    /// position and the position are done again beside the store, events by their handlers, as a recovery would; what they come to is written as one
    /// segment, and swapped in with that checkpoint's segments. Meanwhile the store goes on. Doing it again after a crash takes the same.
    ///
    /// The sources of these key groups are to go on from [`Rewound::offsets`]: as of the last commit there. Where the position isn't a commit's,
    /// what was written between the two is in the state already; events that are known by their ids are passed over then.
    ///
    /// ```
    /// # use alluvium::{Commit, Durability, Engine, EngineOptions, History, Scope, StateOptions, Store, StoreOptions};
    /// # let directory = tempfile::tempdir().map_err(|error| alluvium::Error::Background(error.to_string()))?;
    /// # let engine = Engine::open(EngineOptions::default())?;
    /// let options = StoreOptions {
    ///     durability: Durability::Changelog,
    ///     history: History { checkpoints: 2 },
    ///     ..StoreOptions::default()
    /// };
    /// let store = Store::create(&engine, directory.path(), options)?;
    /// let counts = store.state(StateOptions::value("counts"))?;
    /// let mut writer = store.writer(store.range())?;
    /// let key = store.key(b"JFK");
    /// writer.put(counts, key, b"1")?;
    /// let offsets = vec![(store.range(), b"event 17".to_vec())];
    /// let before = writer.commit(Commit { offsets, ..Commit::default() })?.position;
    /// writer.put(counts, key, b"poison")?;
    /// let range = alluvium::KeyGroupRange::new(key.group.0, key.group.0);
    /// let rewound = store.rollback_to_position(&Scope::groups(range), before)?;
    /// assert_eq!(writer.get(counts, key)?, Some(b"1".to_vec()));
    /// assert_eq!(rewound.offsets, [(range, b"event 17".to_vec())]);
    /// # Ok::<(), alluvium::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Position`] where the history doesn't have the position any more, or not yet; where a bulk load or a migration lies between the
    /// checkpoint and it; where some states alone were rolled back before and segments lie in another order, until [`Store::compact`].
    /// [`Error::Handler`] where a handler isn't there in the version that applied an event between the two, or that one's own error.
    /// [`Error::Checkpoint`] where an earlier rollback lies between the two, and the checkpoint that one went back to isn't kept any more.
    /// [`Error::Options`] without [`StoreOptions::history`](crate::StoreOptions::history). Else as of [`Store::rollback`]. Nothing has changed then.
    pub fn rollback_to_position(&self, scope: &Scope, position: u64) -> Result<Rewound> {
        run_to(&self.inner, scope, position)
    }
}

impl StoreInner {
    /// The arrangement as what was cut off when `rollback` was the last one has it.
    pub(crate) fn version_before(&self, rollback: u64) -> Arc<Version> {
        let version = self.version.lock();
        Arc::clone(self.rollbacks.lock().before(rollback).unwrap_or(&version))
    }
}

/// Where to, and who wants it.
#[derive(Clone, Copy)]
enum Target<'a> {
    /// The host names a checkpoint's label.
    Label(u64),
    /// The changelog names a checkpoint's number, and the label.
    Number(u64, u64),
    /// What was made of a position; whether the changelog is to have it.
    Reached(&'a Reached, bool),
}

/// Rolls a scope back to the checkpoint with a label.
pub(crate) fn run(store: &Arc<StoreInner>, scope: &Scope, label: u64) -> Result<Rewound> {
    store.check_cut()?;
    replay::all(store)?;
    check_scope(store, scope)?;
    let started = threads::now();
    let rewound = patiently(store, scope, Target::Label(label))?;
    tracing::info!(label, range = %scope.range(), elapsed_ns = threads::since(started).as_nanos() as u64, "rolled back");
    Ok(rewound)
}

/// Rolls a scope back to a position.
pub(crate) fn run_to(store: &Arc<StoreInner>, scope: &Scope, position: u64) -> Result<Rewound> {
    store.check_cut()?;
    replay::all(store)?;
    check_scope(store, scope)?;
    let started = threads::now();
    let reached = position::reach(store, store, scope, past::reach(store, position)?, 0)?;
    let rewound = put_in_place(store, scope, &reached, true)?;
    tracing::info!(position, range = %scope.range(), elapsed_ns = threads::since(started).as_nanos() as u64, "rolled back");
    Ok(rewound)
}

/// Does again what the changelog says, for key groups that are being replayed.
pub(crate) fn again(store: &Arc<StoreInner>, scope: &Scope, rollback: &Rollback) -> Result<()> {
    if rollback.to.is_none() {
        return patiently(store, scope, Target::Number(rollback.number, rollback.label)).map(drop);
    }
    let reached = position::reach(store, store, scope, position::source(store, rollback)?, 0)?;
    put_in_place(store, scope, &reached, false).map(drop)
}

/// Fails where a handler isn't there that [`again`] needs.
pub(crate) fn check_handlers(store: &StoreInner, rollback: &Rollback) -> Result<()> {
    if rollback.to.is_some() { position::check_handlers(store, rollback) } else { Ok(()) }
}

fn put_in_place(store: &Arc<StoreInner>, scope: &Scope, reached: &Reached, logs: bool) -> Result<Rewound> {
    let outcome = patiently(store, scope, Target::Reached(reached, logs));
    if outcome.is_err() {
        reached.discard(store);
    }
    outcome
}

fn patiently(store: &Arc<StoreInner>, scope: &Scope, target: Target<'_>) -> Result<Rewound> {
    let deadline = threads::now() + PATIENCE;
    // The event that is under way is the last one until then: else it would have to be met between two of them.
    let _held_off = store.queue.hold_events_off();
    let rewound = loop {
        if let Some(rewound) = attempt(store, scope, target)? {
            break rewound;
        }
        if threads::now() > deadline {
            return Err(Error::Busy { problem: "an operation on these key groups is waiting for memory" });
        }
        store.engine.hurry(|| threads::sleep(PAUSE));
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

/// What takes the place of a scope's stacks, and what is said of it.
struct Aim {
    manifest: Arc<Manifest>,
    version: Version,
    rewound: Rewound,
    /// What the changelog is to have of it, and whether doing it again begins with the beginning of the store.
    logged: Option<(Rollback, bool)>,
    is_position: bool,
}

impl Aim {
    fn new(
        store: &StoreInner,
        (states, catalogue): (&[Arc<StateDef>], &Catalogue),
        scope: &Scope,
        target: Target<'_>,
    ) -> Result<Self> {
        let (label, logs) = match target {
            Target::Reached(reached, logs) => return Self::at_position(catalogue, scope, reached, logs),
            Target::Label(label) => (label, true),
            Target::Number(_, label) => (label, false),
        };
        let kept = find(catalogue, target)?;
        let manifest = Arc::clone(&kept.manifest);
        // Where changes have to be committed, what is of later epochs counts as staged.
        let is_later = manifest.epoch.0 > crate::store::epoch_of(store).0.min(store.committed_epoch());
        // What was accepted is done again.
        if is_later || kept.left && logs {
            return Err(Error::Checkpoint { label, problem: LEFT.into() });
        }
        let cache = &store.engine.inner.cache;
        let version = checkpoint::version_of(&store.storage, cache, &manifest, states, &store.conversions);
        let rewound = rewound(scope, &manifest, (&kept.info.offsets, &kept.info.metadata), manifest.log_position);
        let (number, label) = (kept.info.number, kept.info.label);
        let rollback = || Rollback { number, label, to: None, scope: scope.clone() };
        Ok(Self { manifest, version, rewound, logged: logs.then(|| (rollback(), false)), is_position: false })
    }

    fn at_position(catalogue: &Catalogue, scope: &Scope, reached: &Reached, logs: bool) -> Result<Self> {
        let (base, position) = (reached.base(), reached.position);
        if logs && !reached.needs().all(|number| number == 0 || catalogue.kept.contains_key(&number)) {
            let problem = "checkpoints that it takes were let go of meanwhile".into();
            return Err(Error::Position { position, problem });
        }
        if logs && catalogue.kept.get(&base.number).is_some_and(|base| base.left) {
            return Err(Error::Position { position, problem: format!("its checkpoint can't be gone back to: {LEFT}") });
        }
        let (offsets, metadata) = &reached.committed;
        let rewound = rewound(scope, base, (offsets, metadata), position);
        let (number, label) = (rewound.number, rewound.label);
        let rollback = || Rollback { number, label, to: Some(position), scope: scope.clone() };
        let from_beginning = reached.needs().any(|number| number == 0);
        Ok(Self {
            manifest: Arc::clone(base),
            version: reached.version.clone(),
            rewound,
            logged: logs.then(|| (rollback(), from_beginning)),
            is_position: true,
        })
    }

    fn refuse(&self, problem: &str) -> Error {
        let (label, position, problem) = (self.rewound.label, self.rewound.position, problem.into());
        if self.is_position { Error::Position { position, problem } } else { Error::Checkpoint { label, problem } }
    }
}

/// Rolls back, unless an operation is between two of its steps in the scope; then nothing has changed.
fn attempt(store: &Arc<StoreInner>, scope: &Scope, target: Target<'_>) -> Result<Option<Rewound>> {
    // No barrier, commit or claim comes in between, and nothing is cut off.
    let _sealing = store.queue.sealing.lock();
    store.check()?;
    let states = store.state_infos();
    let defs = store.states.read().clone();
    let mut catalogue = store.catalogue.lock();
    let mut aim = Aim::new(store, (&defs, &catalogue), scope, target)?;
    check_states(scope, &aim.manifest, &states)?;
    let mut version = store.version.lock();
    share_segments(&mut aim.version, &version, &catalogue.garbage);
    let next = version.rolled_back(scope, &aim.version, states.len());
    let next = Arc::new(next.map_err(|_| aim.refuse("its segments lie in another order; compact the store first"))?);
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
    if store.log.is_on() {
        log(store, &mut catalogue, &aim);
    }
    let before = std::mem::replace(&mut *version, Arc::clone(&next));
    store.rollbacks.lock().note(scope, &before);
    // What it brings back was alive then. Merges that went by the later time are for nothing, as they see that there was a rollback.
    store.purge_clock.go_back(aim.manifest.purge_clock_ms);
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
    Ok(Some(aim.rewound))
}

/// Has the changelog have it, and keeps what doing it again takes.
fn log(store: &StoreInner, catalogue: &mut Catalogue, aim: &Aim) {
    let Some((rollback, from_beginning)) = &aim.logged else { return };
    let position = store.log.rollback(rollback);
    catalogue.pin(rollback, position, *from_beginning);
    let (groups, whole) = (rollback.scope.range(), rollback.scope.state_ids().is_empty());
    let is_known = aim.is_position || !aim.manifest.has_rollbacks;
    let target = is_known.then_some(aim.rewound.position);
    store.log.trace().roll_back(RolledBack { position, groups, target, whole });
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

fn find(catalogue: &Catalogue, target: Target<'_>) -> Result<Kept> {
    let kept = match target {
        Target::Label(label) => catalogue.find(label).ok(),
        Target::Number(number, _) => catalogue.kept.get(&number),
        Target::Reached(reached, _) => catalogue.kept.get(&reached.base().number),
    };
    if let Some(kept) = kept {
        return Ok(kept.clone());
    }
    let labels: Vec<String> = catalogue.kept.values().map(|kept| kept.info.label.to_string()).collect();
    let (label, problem) = match target {
        Target::Label(label) => (label, format!("not retained; there are: {}", labels.join(", "))),
        Target::Number(number, label) => (
            label,
            format!("the changelog says that something was rolled back to it, and its manifest {number} isn't there"),
        ),
        Target::Reached(reached, _) => (reached.base().label.unwrap_or(0), "not retained".into()),
    };
    Err(Error::Checkpoint { label, problem })
}

/// A state of the scope is what it was at the checkpoint, or came later; none that the checkpoint has is missing.
fn check_states(scope: &Scope, manifest: &Manifest, states: &[StateInfo]) -> Result<()> {
    let is_other = |(then, now): &(&StateInfo, &StateInfo)| {
        scope.has_state(now.id)
            && (&then.name, then.kind, &then.merge, then.lineage) != (&now.name, now.kind, &now.merge, now.lineage)
    };
    let refused =
        |state: &StateInfo, problem: &str| Err(Error::State { state: state.name.clone(), problem: problem.into() });
    if let Some((_, now)) = manifest.states.iter().zip(states).find(is_other) {
        return refused(now, "it was of another schema at the checkpoint, or its number was another state's");
    }
    // Of a history that was left. Its layers have it, and so would the next state that is registered, whatever it is.
    match manifest.states.get(states.len()) {
        Some(then) => refused(then, "the checkpoint has it, and the store doesn't"),
        None => Ok(()),
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

fn rewound(
    scope: &Scope,
    manifest: &Manifest,
    (offsets, metadata): (&[(KeyGroupRange, Vec<u8>)], &[u8]),
    position: u64,
) -> Rewound {
    let inside = |(range, bytes): &(KeyGroupRange, Vec<u8>)| Some((range.intersect(scope.range())?, bytes.clone()));
    Rewound {
        label: manifest.label.unwrap_or(0),
        number: position::number_of(manifest),
        offsets: offsets.iter().filter_map(inside).collect(),
        metadata: metadata.to_vec(),
        position,
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
        // Closing it takes all of it away.
        while store.check_open().is_ok() && clear_a_little(store, &shard) {
            threads::sleep(REST);
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
