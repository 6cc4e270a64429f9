//! Making up for an event by a function of the host's.
//!
//! The function runs over a scratch store, into which what it touches is brought as it is now; so what it fails at has changed nothing. What it
//! came to there is then written as any other repair is: the changes and the record of it as a whole. Nothing of the host's runs again
//! when that is replayed.
//!
//! What it does can't be checked against anything. So it is noted which keys it, and the event, had to do with: where a later repair depends
//! on one of these it is refused, as what would have been can't be told any more.

use super::plan::{self, Scope};
use super::record::{ANY, ONLY_ADDED, Record};
use super::reexecute::{Scratch, Whole, parts, retract, whole};
use super::{GroupRepair, Outcome, Retraction, Way};
use crate::causality::{Closure, EventAt, Past, closure, unit};
use crate::changelog::access::{AccessKind, cell_hash};
use crate::cursor::Cursor;
use crate::error::{Error, Result};
use crate::events::{Applying, Touched, Watch};
use crate::ids::{EventId, KeyGroup};
use crate::key::{Key, push_sort_key};
use crate::packed::Packed;
use crate::scan::MapRange;
use crate::states::{StateDef, StateKind};
use crate::store::State;
use crate::writer::Writer;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// How [`Writer::compensate`] makes up for an event.
pub enum Compensation<'a> {
    /// As [`Way::Inverse`].
    Inverse,
    /// As [`Way::Reexecute`].
    Reexecute,
    /// By a function of the host's, and what to do where other events depend on the event.
    User(&'a mut Undo<'a>, Dependents),
}

impl fmt::Debug for Compensation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inverse => f.write_str("Inverse"),
            Self::Reexecute => f.write_str("Reexecute"),
            Self::User(_, dependents) => f.debug_tuple("User").field(dependents).finish_non_exhaustive(),
        }
    }
}

/// A host's function that makes up for an event: it reads and changes the state of the event's key group, as it is now. Of states that aren't
/// [traced](crate::StateOptions::traced), or whose values expire, it can do neither. What it fails with fails the call, and nothing has changed.
/// It is called once for each key group that the event was applied to, before anything is written.
pub type Undo<'a> = dyn FnMut(&BadEvent<'_>, &mut Applying<'_>) -> Result<()> + 'a;

/// An event that is to be made up for.
#[derive(Clone, Copy, Debug)]
pub struct BadEvent<'a> {
    /// Its id.
    pub id: EventId,
    /// The key group that it was applied to.
    pub group: KeyGroup,
    /// The event itself.
    pub event: &'a [u8],
    /// The name of the handler that applied it.
    pub handler: &'a str,
    /// That one's version.
    pub version: u32,
    /// The writer's clock then, in ms.
    pub applied_at_ms: u64,
    /// The events that depend on it, in the order in which they were applied.
    pub dependents: &'a [EventAt],
}

/// What is done where other events read what came of the one that a host's function is to make up for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Dependents {
    /// It is refused: what they did depends on it.
    #[default]
    Refuse,
    /// The host knows of them ([`BadEvent::dependents`], [`Store::closure`](crate::Store::closure)), and makes up for what they did as well, or leaves it.
    Known,
}

/// What the host gave.
pub struct User<'a> {
    /// The function.
    pub undo: &'a mut Undo<'a>,
    /// What it knows of.
    pub dependents: Dependents,
}

/// Has the host's function make up for the events of a key group: what changes.
pub fn run(
    writer: &mut Writer,
    past: &mut Past,
    scope: &mut Scope<'_>,
    user: &mut User<'_>,
) -> Result<(GroupRepair, Closure, Outcome)> {
    plan::check_whole(past, scope)?;
    let (found, taints) = closure(past, scope.bad, &scope.amended)?;
    let others = found.events.iter().filter(|event| !scope.is_bad(event.id));
    let dependents: Vec<EventAt> = others.copied().collect();
    if let (Some(first), Dependents::Refuse) = (dependents.first(), user.dependents) {
        let count = dependents.len();
        let problem = format!(
            "{count} other events depend on it, the first of them {}, and the host doesn't say that it knows",
            first.id
        );
        return Err(scope.refuse(problem));
    }
    let first = scope.first();
    let obstacle = obstacle(scope, |unit| taints.units().contains(&unit), true, |record| record.at > first);
    if let (Some(reason), Dependents::Refuse) = (obstacle, user.dependents) {
        return Err(scope.refuse(format!("what depends on it can't be told: {reason}")));
    }
    let mut outcome = Outcome::new();
    for event in scope.bad {
        let (retractions, units) = undo(writer, past, scope, (event, &dependents), user)?;
        outcome.extend(retractions);
        let marked = |(unit, added): (u64, bool)| (event.position, if added { unit | ONLY_ADDED } else { unit });
        scope.amended.touched.extend(units.into_iter().map(marked));
        if let Some(last) = dependents.last() {
            // What they would have read and written without it the host alone knows.
            scope.amended.touched.insert((event.position, ANY | last.position));
        }
    }
    Ok((scope.done(Way::User, &found, 0), found, outcome))
}

/// Units, and whether they were only added to.
type Units = BTreeMap<u64, bool>;

fn undo(
    writer: &mut Writer,
    past: &mut Past,
    scope: &Scope<'_>,
    (event, dependents): (&EventAt, &[EventAt]),
    user: &mut User<'_>,
) -> Result<(Vec<Retraction>, Units)> {
    let events = plan::events_around(past, scope, event)?;
    let logged = events.iter().find(|logged| logged.position == event.position);
    let logged = logged.ok_or_else(|| scope.refuse("the changelog doesn't have it any more"))?;
    let bad = BadEvent {
        id: logged.id,
        group: logged.group,
        event: logged.event.event,
        handler: logged.handler.0,
        version: logged.handler.1,
        applied_at_ms: logged.event.now_ms,
        dependents,
    };
    let mut scratch = Scratch::new(writer.store(), scope, None, &None)?;
    let now_ms = writer.time_ms();
    let mut now = Now::new(writer);
    for access in logged.accesses.iter().filter(|access| access.kind.writes()) {
        now.note(unit(access), access.kind == AccessKind::Add);
    }
    let mut applying = Applying::compensating(scratch.writer()?, scope.group, now_ms, &mut now);
    crate::error::catch(|| (user.undo)(&bad, &mut applying))?;
    let retractions = now.changed(scratch.writer()?)?;
    Ok((retractions, now.units))
}

/// Brings what the function is about to read or write into the scratch store, as it is now.
#[derive(Debug)]
struct Now<'a> {
    writer: &'a mut Writer,
    defs: Vec<Arc<StateDef>>,
    /// Values, lists, and maps with all of their entries, by sort key.
    whole: BTreeSet<Vec<u8>>,
    /// Single entries, by the sort keys of their maps.
    entries: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>,
    units: Units,
}

impl<'a> Now<'a> {
    fn new(writer: &'a mut Writer) -> Self {
        let defs = writer.store().states.read().clone();
        let (whole, entries, units) = (BTreeSet::new(), BTreeMap::new(), Units::new());
        Self { writer, defs, whole, entries, units }
    }

    fn note(&mut self, unit: u64, only_added: bool) {
        self.units.entry(unit).and_modify(|so_far| *so_far &= only_added).or_insert(only_added);
    }

    /// Fails where the function has no business with a state.
    fn check(&self, state: State) -> Result<StateKind> {
        let def = self.defs.get(usize::from(state.id().0));
        let def = def.ok_or_else(|| Error::Background("a state that isn't there".into()))?;
        let problem = match (def.traced, def.ttl) {
            (false, _) => "it isn't traced: who depends on what a compensation changes could not be told",
            (true, Some(_)) => "its values expire: what a compensation changes could not be told",
            (true, None) => return Ok(def.kind),
        };
        Err(Error::State { state: def.name.clone(), problem: problem.into() })
    }

    fn bring_whole(&mut self, into: &mut Writer, state: State, key: Key<'_>) -> Result<()> {
        let name = name_of(state, key);
        if self.whole.contains(&name) {
            return Ok(());
        }
        match self.check(state)? {
            StateKind::Value | StateKind::Merging => {
                if let Some(value) = self.writer.get(state, key)? {
                    into.put(state, key, &value)?;
                }
            }
            StateKind::List => {
                let elements = self.writer.list(state, key)?;
                let elements: Vec<&[u8]> = elements.iter().map(Vec::as_slice).collect();
                into.put_list(state, key, &elements)?;
            }
            StateKind::Map => {
                let there = self.entries.get(&name);
                let (mut cursor, mut batch) = (Cursor::entries(state, key, &MapRange::all()), Packed::default());
                while self.writer.fetch(&mut cursor, &mut batch)? {
                    // What was brought before may have been changed since.
                    for entry in batch.iter().filter(|entry| there.is_none_or(|there| !there.contains(entry.user_key)))
                    {
                        into.map_put(state, key, entry.user_key, entry.value)?;
                    }
                }
            }
        }
        self.whole.insert(name);
        Ok(())
    }

    fn bring_entry(&mut self, into: &mut Writer, state: State, key: Key<'_>, user_key: &[u8]) -> Result<()> {
        let name = name_of(state, key);
        if self.whole.contains(&name) || self.entries.get(&name).is_some_and(|there| there.contains(user_key)) {
            return Ok(());
        }
        if let Some(value) = self.writer.map_get(state, key, user_key)? {
            into.map_put(state, key, user_key, &value)?;
        }
        self.entries.entry(name).or_default().insert(user_key.to_vec());
        Ok(())
    }

    /// What the scratch store has otherwise than it is now.
    fn changed(&mut self, scratch: &mut Writer) -> Result<Vec<Retraction>> {
        let mut out = Vec::new();
        for name in &self.whole {
            let before = whole(self.writer, name)?;
            retract(name, before, whole(scratch, name)?, &mut out)?;
        }
        for (name, user_keys) in self.entries.iter().filter(|(name, _)| !self.whole.contains(*name)) {
            let (state, key) = parts(name)?;
            let state = State::numbered(state);
            let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
            for user_key in user_keys {
                before.extend(self.writer.map_get(state, key, user_key)?.map(|value| (user_key.clone(), value)));
                after.extend(scratch.map_get(state, key, user_key)?.map(|value| (user_key.clone(), value)));
            }
            retract(name, Whole::Map(before), Whole::Map(after), &mut out)?;
        }
        out.sort();
        Ok(out)
    }
}

fn name_of(state: State, key: Key<'_>) -> Vec<u8> {
    let mut name = Vec::new();
    push_sort_key(&mut name, state.id(), key);
    name
}

impl Watch for Now<'_> {
    fn touch(&mut self, writer: &mut Writer, state: State, key: Key<'_>, what: Touched<'_>) -> Result<()> {
        self.check(state)?;
        if let Touched::Namespaces(sources) = what {
            for source in sources {
                self.touch(writer, state, key.in_namespace(source), Touched::Cell(AccessKind::Update))?;
            }
            return self.touch(writer, state, key, Touched::Cell(AccessKind::Update));
        }
        let unit = cell_hash(state.id(), key);
        self.note(unit, matches!(what, Touched::Cell(AccessKind::Add)));
        match what {
            Touched::Entry(user_key, _) => self.bring_entry(writer, state, key, user_key),
            _ => self.bring_whole(writer, state, key),
        }
    }
}

/// Why what a repair comes to can't be told any more, if a function of the host's had to do with one of the keys that it goes by:
/// `is_in_the_way` says of which earlier repairs that counts.
pub fn obstacle(
    scope: &Scope<'_>,
    has: impl Fn(u64) -> bool,
    adding_is_no_harm: bool,
    is_in_the_way: impl Fn(&Record) -> bool,
) -> Option<String> {
    let mut earlier = scope.earlier.iter().filter(|record| is_in_the_way(record));
    let first = scope.first();
    let harms = |(unit, added): (u64, bool)| match unit & ANY {
        0 => !(added && adding_is_no_harm) && has(unit),
        _ => first <= unit & !ANY,
    };
    let found = earlier.find(|record| record.by_host().any(harms))?;
    Some(format!("it may depend on what a function of the host's changed to make up for event {}", found.id))
}

/// What is told of one that has no function.
pub fn no_function() -> Error {
    let problem = "the function that makes up for an event is given to Writer::compensate".into();
    Error::Options { option: "way", problem }
}
