//! Going back to a position of the changelog: what a scope had there is made beside the store, and put in its place as a checkpoint's is.
//!
//! A store of its own, for the scope's key groups alone, begins with the newest checkpoint before the position, reads that one's segments where
//! they lie, and has the changes up to the position done again, events by their handlers, as a recovery does. What it has changed becomes
//! one segment, which lies on the checkpoint's stacks: that arrangement is swapped in. Until then the store goes on, and nobody sees
//! anything of it; the segment is nobody's before.
//!
//! On the way there may be other rollbacks of the scope: these are done in the store beside, in the same way. Each leads to an earlier
//! position, so there is an end to it.

use super::{LEFT, Target, check_states, patiently};
use crate::beside::Beside;
use crate::changelog::History;
use crate::changelog::format::BlockHeader;
use crate::changelog::record::{self, CommitParts, Event, Record, Rollback};
use crate::checkpoint::{check_state, version_of};
use crate::compact;
use crate::error::{Error, Result};
use crate::events::{self, Handler};
use crate::ids::{Epoch, EventId, KeyGroupRange, SegmentId, StateId};
use crate::manifest::Manifest;
use crate::manifest::format::decode_state;
use crate::past;
use crate::recover;
use crate::scope::Scope;
use crate::stack::{LazySegment, Slice, Version};
use crate::states::StateDef;
use crate::store::StoreInner;
use crate::{barrier, replay};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// So many rollbacks may lie one in the other on the way.
const DEPTH_MAX: usize = 16;

/// What a scope had at a position.
#[derive(Debug)]
pub struct Reached {
    /// The checkpoints that it is made of, the one before the position first; held.
    bases: Vec<Arc<Manifest>>,
    /// Its stacks.
    pub version: Version,
    /// Where the last change ends that it has.
    pub position: u64,
    /// Offsets and metadata of the last commit there, or of the checkpoint.
    pub committed: CommitParts,
    /// The segment that was written for it.
    written: Option<Arc<LazySegment>>,
}

/// A checkpoint to begin with, and the changes from there on.
type Origin = (Arc<Manifest>, History);

impl Reached {
    /// The checkpoint before the position.
    pub fn base(&self) -> &Arc<Manifest> {
        &self.bases[0]
    }

    /// Numbers of the checkpoints without which it can't be made again; 0 for the beginning of the store.
    pub fn needs(&self) -> impl Iterator<Item = u64> {
        self.bases.iter().map(|base| number_of(base))
    }

    /// It isn't put in place: what was written for it goes.
    pub fn discard(&self, store: &StoreInner) {
        self.written.iter().for_each(|segment| compact::take_away(store, segment));
    }
}

/// By which a rollback's record has a checkpoint.
pub fn number_of(base: &Manifest) -> u64 {
    if base.label.is_some() { base.number } else { 0 }
}

/// Where a rollback that the changelog has went to: its checkpoint, held, and the changes from there up to the position.
pub fn source(store: &StoreInner, rollback: &Rollback) -> Result<Origin> {
    let base = if rollback.number == 0 {
        Arc::new(Manifest::of_nothing(0, store.info))
    } else {
        let mut catalogue = store.catalogue.lock();
        let kept = catalogue.kept.get(&rollback.number).map(|kept| Arc::clone(&kept.manifest));
        let base = kept.ok_or_else(|| {
            let problem = format!("key groups {} were rolled back to it", rollback.scope.range());
            Error::Checkpoint { label: rollback.label, problem: format!("{problem}, and it isn't there any more") }
        })?;
        catalogue.note_read(&base);
        base
    };
    let history = past::changes(store, &base, rollback.to.unwrap_or(base.log_position))?;
    Ok((base, history))
}

/// Whose events those of a number are: name and version, as the changelog says them.
type Named = HashMap<u32, (String, u32)>;

/// The handler of an event.
fn handler_of(store: &StoreInner, named: &Named, number: u32) -> Result<Arc<dyn Handler>> {
    let unnamed = || Error::Background("an event in the changelog whose handler isn't named".into());
    let (name, version) = named.get(&number).ok_or_else(unnamed)?;
    events::find(store, name, *version)
}

/// What of a rollback that lies on the way to a position has to be done again for a scope.
fn on_the_way(scope: &Scope, all_states: bool, rollback: &Rollback) -> Option<Scope> {
    if all_states { rollback.scope.within(scope.range()) } else { rollback.scope.meet(scope) }
}

/// Fails where a handler isn't there whose events have to be applied again to do a rollback that the changelog has.
pub fn check_handlers(store: &StoreInner, rollback: &Rollback) -> Result<()> {
    check_handlers_within(store, &rollback.scope, rollback)
}

fn check_handlers_within(store: &StoreInner, scope: &Scope, rollback: &Rollback) -> Result<()> {
    let (_base, history) = source(store, rollback)?;
    let (all_states, mut named) = (history.has_events(), Named::new());
    let is_wanted = |header: &BlockHeader| header.has_events || header.has_states;
    history.records_of(history.from(), history.to(), is_wanted, |record, _, _| {
        match record {
            Record::Handler { number, version, name } => drop(named.insert(number, (name.to_owned(), version))),
            Record::Event(event) | Record::Traced(_, event, _) if scope.range().contains(event.group) => {
                handler_of(store, &named, event.handler).map(drop)?;
            }
            Record::Rollback(inner) => {
                if let Some(scope) = on_the_way(scope, all_states, &inner) {
                    check_handlers_within(store, &scope, &inner)?;
                }
            }
            _ => {}
        }
        Ok(true)
    })
}

/// Makes what a scope of a store had; what has to be written for it goes `into` a store that numbers its states alike.
pub fn reach(
    store: &Arc<StoreInner>,
    into: &Arc<StoreInner>,
    scope: &Scope,
    (base, history): Origin,
    depth: usize,
) -> Result<Reached> {
    let refused = |problem: String| Error::Position { position: history.to(), problem };
    if depth > DEPTH_MAX {
        return Err(refused("too many rollbacks lie on the way; a checkpoint behind them would end that".into()));
    }
    let states = store.state_infos();
    check_states(scope, &base, &states)?;
    if base.epoch.0 > crate::store::epoch_of(store).0.min(store.committed_epoch()) {
        return Err(refused(format!("its checkpoint can't be gone back to: {LEFT}")));
    }
    let defs = store.states.read().clone();
    let whole = version_of(&store.storage, &store.engine.inner.cache, &base, &defs, &store.conversions);
    let whole = part(&whole, &Scope::groups(scope.range()), states.len())?;
    let committed = (base.offsets.clone(), base.metadata.clone());
    let position = history.from();
    let mut reached = Reached { bases: vec![base], version: whole, position, committed, written: None };
    if history.from() < history.to() {
        replay_beside(store, into, scope, &history, &mut reached, depth)?;
    }
    Ok(reached)
}

/// What an arrangement has of a scope.
fn part(version: &Version, scope: &Scope, states: usize) -> Result<Version> {
    let nothing = Version::empty(scope.range());
    let part = nothing.rolled_back(scope, version, states);
    part.map_err(|_| Error::Background("the stacks of a checkpoint contradict each other".into()))
}

/// Has the changes done again in a store beside, and brings what came of them.
fn replay_beside(
    store: &Arc<StoreInner>,
    into: &Arc<StoreInner>,
    scope: &Scope,
    history: &History,
    reached: &mut Reached,
    depth: usize,
) -> Result<()> {
    let epoch = reached.base().epoch.max(Epoch(1));
    let begin = std::mem::replace(&mut reached.version, Version::empty(scope.range()));
    let mut beside = open_beside(store, (scope.range(), begin, epoch))?;
    let all_states = history.has_events();
    let states = store.states.read().clone();
    let count = states.len();
    let mut replay = Replaying {
        store,
        scope,
        states,
        all_states,
        is_checked: false,
        reached: &mut *reached,
        named: Named::new(),
        others: HashSet::new(),
        depth,
    };
    history.records(history.from(), history.to(), |record, begin, end| {
        replay.reached.position = end;
        replay.take(&mut beside, record, begin)?;
        Ok(true)
    })?;
    let stacks = stacks(&beside)?;
    let version = part(&stacks, scope, count)?;
    let known: HashSet<SegmentId> =
        reached.bases.iter().flat_map(|base| base.segments.iter().map(|meta| meta.id)).collect();
    let sorted = |slice: &Slice, is_known: bool| {
        let layers = slice.layers.iter().filter(|layer| known.contains(&layer.segment.id()) == is_known);
        Slice { range: slice.range, layers: layers.cloned().collect() }
    };
    let new: Vec<Slice> = version.slices.iter().map(|slice| sorted(slice, false)).collect();
    let below = Version { slices: version.slices.iter().map(|slice| Arc::new(sorted(slice, true))).collect() };
    // Of all that is new nothing lies below anything of the checkpoints that it has a state in common with.
    let epoch = reached.bases.iter().map(|base| base.epoch).fold(epoch, Epoch::max);
    reached.written = compact::bring(beside.inner()?, into, &new, epoch)?;
    reached.version = match &reached.written {
        Some(segment) => below.with_flushed(segment),
        None => below,
    };
    Ok(())
}

/// Changes being done again.
struct Replaying<'a> {
    store: &'a Arc<StoreInner>,
    scope: &'a Scope,
    states: Vec<Arc<StateDef>>,
    /// Whether states outside the scope are needed as well: a handler may read any.
    all_states: bool,
    /// Whether all states were found to be what they were.
    is_checked: bool,
    reached: &'a mut Reached,
    named: Named,
    /// The numbers of states that were another's then.
    others: HashSet<StateId>,
    depth: usize,
}

impl Replaying<'_> {
    fn refuse<R>(&self, problem: String) -> Result<R> {
        Err(Error::Position { position: self.reached.position, problem })
    }

    fn take(&mut self, beside: &mut Beside, record: Record<'_>, begin: u64) -> Result<()> {
        let range = self.scope.range();
        match record {
            Record::Change { state, key, change, expiry_ms }
                if range.contains(key.group) && self.is_needed(state)? =>
            {
                beside.writer()?.redo(state, key, change, expiry_ms)?;
            }
            Record::Event(event) if range.contains(event.group) => self.apply(beside, None, event)?,
            Record::Traced(id, event, _) if range.contains(event.group) => self.apply(beside, Some(id), event)?,
            Record::Handler { number, version, name } => drop(self.named.insert(number, (name.to_owned(), version))),
            Record::State(described) => {
                let info = decode_state(described)
                    .map_err(|error| Error::Background(format!("a state in the changelog: {error}")))?;
                let is_same = |def: &Arc<StateDef>| def.name == info.name;
                if !self.states.get(usize::from(info.id.0)).is_some_and(is_same) {
                    self.others.insert(info.id);
                }
            }
            Record::Nothing => return self.refuse(format!("there was a load or a migration at {begin}")),
            Record::Commit(parts) => {
                let parts = record::commit_parts(parts);
                let parts = parts.map_err(|error| Error::Background(format!("a commit in the changelog: {error}")))?;
                self.reached.committed = parts;
            }
            Record::Rollback(rollback) => self.roll_back(beside, &rollback)?,
            _ => {}
        }
        Ok(())
    }

    /// Whether the changes of a state have to be done again; an error where they can't be.
    fn is_needed(&self, state: StateId) -> Result<bool> {
        let in_scope = self.scope.has_state(state);
        if !in_scope && !self.all_states {
            return Ok(false);
        }
        let def = self.states.get(usize::from(state.0)).filter(|_| !self.others.contains(&state));
        let Some(def) = def else {
            let problem = "another state had its number then".into();
            return Err(Error::State { state: format!("{state:?}"), problem });
        };
        check_state(self.reached.base(), def)?;
        Ok(true)
    }

    fn apply(&mut self, beside: &mut Beside, id: Option<EventId>, event: Event<'_>) -> Result<()> {
        if !self.is_checked {
            // It may read any state.
            check_states(&Scope::groups(self.scope.range()), self.reached.base(), &self.store.state_infos())?;
            self.is_checked = true;
        }
        let handler = handler_of(self.store, &self.named, event.handler)?;
        if events::again(beside.writer()?, &*handler, id, event, None)? {
            return Ok(());
        }
        Err(events::asks_less(&*handler))
    }

    fn roll_back(&mut self, beside: &mut Beside, rollback: &Rollback) -> Result<()> {
        let Some(inner) = on_the_way(self.scope, self.all_states, rollback) else { return Ok(()) };
        let from = source(self.store, rollback)?;
        let target = reach(self.store, beside.inner()?, &inner, from, self.depth + 1)?;
        let done = patiently(beside.inner()?, &inner, Target::Reached(&target, false));
        if done.is_err() {
            target.discard(beside.inner()?);
        }
        self.reached.bases.extend(target.bases);
        done.map(drop)
    }
}

/// A store beside the store that begins with some stacks.
fn open_beside(of: &Arc<StoreInner>, begin: (KeyGroupRange, Version, Epoch)) -> Result<Beside> {
    Beside::new(of, |directory| {
        let store = recover::beside(of, directory, begin)?;
        let writer = replay::claim(&store.inner, store.range())?;
        Ok((store, writer))
    })
}

/// Its stacks, with all that it has.
fn stacks(beside: &Beside) -> Result<Arc<Version>> {
    let inner = beside.inner()?;
    let taking = barrier::cut_snapshot(inner)?;
    inner.engine.hurry(|| taking.wait())
}
