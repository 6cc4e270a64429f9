//! Applying events again without the bad ones, in a scratch store.

use super::plan::{Base, Scope, Units};
use super::{Content, Outcome, Retraction};
use crate::beside::Beside;
use crate::causality::{Closure, Logged, Past};
use crate::changelog::access::{AccessKind, cell_hash, entry_hash};
use crate::cursor::Cursor;
use crate::error::{Error, Result};
use crate::events::{self, Touched, Watch};
use crate::ids::{KeyGroupRange, StateId};
use crate::key::{Key, SortKey, push_sort_key};
use crate::packed::Packed;
use crate::snapshot::Snapshot;
use crate::states::{StateDef, StateKind, StateOptions};
use crate::store::{State, Store, StoreInner};
use crate::writer::Writer;
use crate::{Durability, MapRange, StoreOptions};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

/// What a cell or a map holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Whole {
    #[default]
    /// Nothing.
    Nothing,
    /// A value, or a list.
    One(Content),
    /// Entries.
    Map(BTreeMap<Vec<u8>, Vec<u8>>),
}

/// Sort keys, which name cells and maps.
type Names = BTreeSet<Vec<u8>>;

/// What events touch that isn't among the keys that are applied again.
#[derive(Debug, Default)]
pub struct Grown {
    /// What is read.
    pub read: HashSet<u64>,
    /// What is touched, and by the event at which position.
    pub touched: Vec<(u64, u64)>,
}

impl Grown {
    const fn is_nothing(&self) -> bool {
        self.touched.is_empty()
    }
}

/// What changes by leaving the bad events out; what is touched without them and wasn't with them, where there is anything.
pub fn run(
    writer: &mut Writer,
    past: &mut Past,
    (scope, closure): (&Scope<'_>, &Closure),
    base: &Base,
    units: &Units,
) -> Result<Result<Outcome, Grown>> {
    let store = Arc::clone(writer.store());
    let snapshot = base.checkpoint.as_ref().map(|manifest| Snapshot::of_manifest(&store, manifest)).transpose()?;
    let mut with = Scratch::new(&store, scope, snapshot.clone(), units)?;
    let mut without = Scratch::new(&store, scope, snapshot, units)?;
    let dependents: HashSet<u64> = closure.events.iter().map(|event| event.position).collect();
    with.apply(past, scope, base, (&dependents, false))?;
    without.apply(past, scope, base, (&dependents, true))?;
    let grown = std::mem::take(&mut without.watch.grown);
    if !grown.is_nothing() {
        return Ok(Err(grown));
    }
    let names: Names = with.watch.loaded.union(&without.watch.loaded).cloned().collect();
    let mut outcome = Outcome::new();
    for name in &names {
        let there = whole(writer, name)?;
        if with.whole(name)? != there {
            let problem = "applying the events again doesn't come to what is there: something else changed it, or a handler \
                           doesn't do the same each time";
            return Err(scope.refuse(problem));
        }
        retract(name, there, without.whole(name)?, &mut outcome)?;
    }
    Ok(Ok(outcome))
}

/// A store beside the store, for one key group, with the same states.
#[derive(Debug)]
pub struct Scratch {
    beside: Beside,
    watch: Loader,
}

impl Scratch {
    /// An empty one; what events are about to read comes from a checkpoint, if there is one.
    pub fn new(store: &Arc<StoreInner>, scope: &Scope<'_>, base: Option<Snapshot>, units: &Units) -> Result<Self> {
        let options = StoreOptions {
            // Nothing of it has to last: nothing is synced.
            durability: Durability::Host,
            key_groups: store.info.key_groups,
            range: KeyGroupRange::new(scope.group.0, scope.group.0),
            memory_share: store.options.memory_share.clone(),
            ..StoreOptions::default()
        };
        let defs = store.states.read().clone();
        let watch = Loader { base, units: units.clone(), defs: defs.clone(), ..Loader::default() };
        let beside = Beside::new(store, |directory| {
            let made = Store::create(&store.engine, directory, options)?;
            for def in &defs {
                made.inner.register(options_of(def))?;
            }
            let writer = made.writer(made.range())?;
            Ok((made, writer))
        })?;
        Ok(Self { beside, watch })
    }

    /// The writer of it.
    pub fn writer(&mut self) -> Result<&mut Writer> {
        self.beside.writer()
    }

    /// Applies the events again that concern the keys, from the base on. Without the bad ones those that depend on them may do something else
    /// than they did; it ends where one of them reads what isn't there.
    fn apply(
        &mut self,
        past: &mut Past,
        scope: &Scope<'_>,
        base: &Base,
        (dependents, is_without): (&HashSet<u64>, bool),
    ) -> Result<()> {
        let units = self.watch.units.clone();
        for run in past.runs(base.position) {
            let parts = scope.parts_of(&units, &run);
            for part in run.among(parts) {
                let events = past.events(&run, part)?;
                for event in events.iter().filter(|event| event.position >= base.position) {
                    let is_out =
                        scope.amended.void.contains(&(event.group, event.id)) || (is_without && scope.is_bad(event.id));
                    let counts = event.group == scope.group && !is_out;
                    if !counts || !scope.concerns(&units, event.position, event.accesses) {
                        continue;
                    }
                    self.apply_one(past, scope, &event, (dependents.contains(&event.position), is_without))?;
                    if !self.watch.grown.read.is_empty() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn apply_one(
        &mut self,
        past: &Past,
        scope: &Scope<'_>,
        event: &Logged<'_>,
        (depends, is_without): (bool, bool),
    ) -> Result<()> {
        let writer = self.beside.writer()?;
        let handler = events::find(past.store(), event.handler.0, event.handler.1)?;
        self.watch.is_undone = depends;
        self.watch.differs_at = (depends && is_without).then_some(event.position);
        self.watch.known.clear();
        if self.watch.differs_at.is_some() {
            for access in event.accesses.iter() {
                self.watch.known.extend(access.kind.reads().then_some((access.hash, false)));
                self.watch.known.extend(access.kind.writes().then_some((access.hash, true)));
            }
            let units = scope.amended.of(event.position);
            self.watch.known.extend(units.flat_map(|unit| [(unit, false), (unit, true)]));
        }
        let done = events::again(writer, &*handler, None, event.event, Some(&mut self.watch));
        // Without the bad ones it may be less, and it ends where one of them reads what isn't there.
        if self.watch.grown.read.is_empty() && !done? && self.watch.differs_at.is_none() {
            return Err(events::asks_less(&*handler));
        }
        Ok(())
    }

    /// What it holds of a cell or map.
    fn whole(&mut self, name: &[u8]) -> Result<Whole> {
        let Self { beside, watch } = self;
        let writer = beside.writer()?;
        // One that only the other pass came to is here what it was at the base.
        watch.load(writer, name)?;
        whole(writer, name)
    }
}

/// How a state of the scratch store is registered.
fn options_of(def: &StateDef) -> StateOptions {
    StateOptions {
        name: def.name.clone(),
        kind: def.kind,
        ttl: def.ttl,
        purge: def.purge,
        merge: def.merge.clone(),
        user: def.user.clone(),
        log: def.log,
        traced: false,
        conversions: Vec::new(),
    }
}

/// Brings from the base what events are about to read or write.
#[derive(Default, Debug)]
struct Loader {
    base: Option<Snapshot>,
    units: Units,
    defs: Vec<Arc<StateDef>>,
    /// What was brought, or found to be nothing.
    loaded: Names,
    /// Whether the event that is being applied is bad, or depends on one that is.
    is_undone: bool,
    /// The position of the event that is being applied, if it may do something else than it did.
    differs_at: Option<u64>,
    /// What that event is known to touch: hashes of cells, entries and containers, each as read (false) and as written (true).
    known: HashSet<(u64, bool)>,
    /// What is touched and wasn't to be.
    grown: Grown,
}

impl Watch for Loader {
    fn touch(&mut self, writer: &mut Writer, state: State, key: Key<'_>, what: Touched<'_>) -> Result<()> {
        let reads = match what {
            Touched::Cell(kind) | Touched::Entry(_, kind) | Touched::Range(kind) => kind.reads(),
            Touched::Namespaces(sources) => {
                for source in sources {
                    self.touch(writer, state, key.in_namespace(source), Touched::Cell(AccessKind::Update))?;
                }
                true
            }
        };
        if self.is_undone
            && let Some(def) = self.defs.get(usize::from(state.id().0)).filter(|def| !def.traced)
        {
            return Err(untraced(def));
        }
        let unit = cell_hash(state.id(), key);
        self.note(state, key, what, unit);
        if self.units.as_ref().is_some_and(|units| !units.contains(&unit)) {
            if !reads {
                // Who does what it did leaves others as they are.
                return Ok(());
            }
            if self.differs_at.is_some() {
                self.grown.read.insert(unit);
            }
            return Err(unlogged());
        }
        let mut name = Vec::new();
        push_sort_key(&mut name, state.id(), key);
        self.load(writer, &name)
    }
}

impl Loader {
    /// Notes what an event does that it isn't known to do: who comes after may depend on it.
    fn note(&mut self, state: State, key: Key<'_>, what: Touched<'_>, unit: u64) {
        let Some(position) = self.differs_at else { return };
        let (hash, reads, writes) = match what {
            Touched::Cell(kind) | Touched::Range(kind) => (unit, kind.reads(), kind.writes()),
            Touched::Entry(user_key, kind) => (entry_hash(state.id(), key, user_key), kind.reads(), kind.writes()),
            Touched::Namespaces(_) => (unit, true, true),
        };
        // That it is written says nothing of its being read.
        let knows = |hash, reads: bool, writes: bool| {
            (!reads || self.known.contains(&(hash, false))) && (!writes || self.known.contains(&(hash, true)))
        };
        // All of a unit is known where an earlier repair, or an earlier attempt, found it.
        if !knows(hash, reads, writes) && !knows(unit, true, true) {
            self.grown.touched.push((position, unit));
        }
    }

    fn load(&mut self, writer: &mut Writer, name: &[u8]) -> Result<()> {
        if self.loaded.contains(name) {
            return Ok(());
        }
        let (state, key) = parts(name)?;
        let def = self.defs.get(usize::from(state.0)).cloned();
        let def = def.ok_or_else(|| Error::Background("an event of a state that isn't there".into()))?;
        if !def.traced {
            return Err(untraced(&def));
        }
        if def.ttl.is_some() {
            let problem = "its values expire: events of it can't be applied again".into();
            return Err(Error::State { state: def.name.clone(), problem });
        }
        self.loaded.insert(name.to_vec());
        let Some(base) = &self.base else { return Ok(()) };
        let state = State::numbered(state);
        match def.kind {
            StateKind::Value | StateKind::Merging => match base.get(state, key)? {
                Some(value) => writer.put(state, key, &value),
                None => Ok(()),
            },
            StateKind::List => {
                let elements = base.list(state, key)?;
                let elements: Vec<&[u8]> = elements.iter().map(Vec::as_slice).collect();
                writer.put_list(state, key, &elements)
            }
            StateKind::Map => {
                let (mut cursor, mut batch) = (Cursor::entries(state, key, &MapRange::all()), Packed::default());
                while base.fetch(&mut cursor, &mut batch)? {
                    for entry in batch.iter() {
                        writer.map_put(state, key, entry.user_key, entry.value)?;
                    }
                }
                Ok(())
            }
        }
    }
}

fn untraced(def: &StateDef) -> Error {
    let problem = "it isn't traced, and an event that is to be taken back or applied again reads or writes it".into();
    Error::State { state: def.name.clone(), problem }
}

fn unlogged() -> Error {
    Error::Busy { problem: "an event that is applied again reads what the changelog doesn't have it read" }
}

/// State and key of a sort key.
pub fn parts(name: &[u8]) -> Result<(StateId, Key<'_>)> {
    let parts = SortKey::decode(name).map(|parts| (parts.state, parts.key));
    parts.ok_or_else(|| Error::Background("a key that is none".into()))
}

/// What a cell or map holds.
pub fn whole(writer: &mut Writer, name: &[u8]) -> Result<Whole> {
    let (state, key) = parts(name)?;
    let state = State::numbered(state);
    match writer.def_of(state)?.kind {
        StateKind::Value | StateKind::Merging => {
            let value = writer.get(state, key)?;
            Ok(value.map_or(Whole::Nothing, |value| Whole::One(Content::Value(value))))
        }
        StateKind::List => {
            let elements = writer.list(state, key)?;
            Ok(if elements.is_empty() { Whole::Nothing } else { Whole::One(Content::List(elements)) })
        }
        StateKind::Map => {
            let mut entries = BTreeMap::new();
            writer.map_scan(state, key, &MapRange::all(), |user_key, value| {
                entries.insert(user_key.to_vec(), value.to_vec());
                ControlFlow::Continue(())
            })?;
            Ok(if entries.is_empty() { Whole::Nothing } else { Whole::Map(entries) })
        }
    }
}

/// What changes at a cell, or at the entries of a map.
pub fn retract(name: &[u8], before: Whole, after: Whole, out: &mut Vec<Retraction>) -> Result<()> {
    if before == after {
        return Ok(());
    }
    let (state, key) = parts(name)?;
    let retraction = |user_key: Option<&[u8]>, before, after| Retraction {
        state: State::numbered(state),
        group: key.group,
        key: key.key.to_vec(),
        namespace: key.namespace.to_vec(),
        user_key: user_key.map(<[u8]>::to_vec),
        before,
        after,
    };
    let is_map = matches!(before, Whole::Map(_)) || matches!(after, Whole::Map(_));
    let (one, entries) = (
        |whole: Whole| if let Whole::One(content) = whole { Some(content) } else { None },
        |whole: Whole| if let Whole::Map(entries) = whole { entries } else { BTreeMap::new() },
    );
    if !is_map {
        out.push(retraction(None, one(before), one(after)));
        return Ok(());
    }
    let (before, after) = (entries(before), entries(after));
    let user_keys: BTreeSet<&Vec<u8>> = before.keys().chain(after.keys()).collect();
    for user_key in user_keys {
        let (old, new) = (before.get(user_key), after.get(user_key));
        if old != new {
            let content = |value: Option<&Vec<u8>>| value.map(|value| Content::Value(value.clone()));
            out.push(retraction(Some(user_key), content(old), content(new)));
        }
    }
    Ok(())
}
