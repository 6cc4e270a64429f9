//! Adding the inverse of what bad events added.

use super::plan::{Scope, base_of, events_around};
use super::reexecute::parts;
use super::{Content, Outcome, Retraction};
use crate::causality::{Closure, EventAt, Events, Past, closure, unit};
use crate::changelog::access::{AccessKind, cell_hash};
use crate::error::{Error, Result};
use crate::events::{self, Touched, Watch};
use crate::ids::StateId;
use crate::key::{Key, push_sort_key};
use crate::states::{StateDef, StateKind};
use crate::store::State;
use crate::writer::Writer;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Why it isn't done.
type Reason = String;

/// What an event added, by sort key: an operand, or elements.
type Added = BTreeMap<Vec<u8>, Content>;

/// What changes by adding inverses; why not, where it isn't sure that this is what would be.
pub fn run(
    writer: &mut Writer,
    past: &mut Past,
    (scope, closure_of_all): (&Scope<'_>, &Closure),
    dry: bool,
) -> Result<Result<Outcome, Reason>> {
    if closure_of_all.events.len() > scope.bad.len() {
        return Ok(Err("other events read what came of it".into()));
    }
    let mut changed: BTreeMap<Vec<u8>, (Content, Option<Content>)> = BTreeMap::new();
    for event in scope.bad {
        let added = match added_by(writer, past, scope, event)? {
            Ok(added) => added,
            Err(reason) => return Ok(Err(reason)),
        };
        let (_, taints) = closure(past, std::slice::from_ref(event), &scope.amended)?;
        for (name, content) in added {
            let (state, key) = parts(&name)?;
            if !taints.is_in_question(cell_hash(state, key)) {
                // It was overwritten since.
                continue;
            }
            if !scope.amended.again.is_empty() && others(past, scope, event.position, (state, key))? == Others::Unsure {
                return Ok(Err("it may have been overwritten by what an earlier repair applied again".into()));
            }
            let before = match changed.get(&name) {
                Some((_, now)) => now.clone(),
                None => content_of(writer, state, key)?,
            };
            let Some(now) = before else { return Ok(Err("what it added isn't there any more".into())) };
            let def = writer.def_of(State::numbered(state))?.clone();
            let after = match without(&def, &now, &content) {
                Ok(after) => after,
                Err(reason) => return Ok(Err(reason)),
            };
            let first = changed.remove(&name).map_or(now, |(first, _)| first);
            changed.insert(name, (first, Some(after)));
        }
    }
    for (name, (_, after)) in &mut changed {
        if let Err(reason) = drop_if_nothing(writer, past, scope, name, after)? {
            return Ok(Err(reason));
        }
    }
    if dry {
        return Ok(Ok(Outcome::default()));
    }
    changed.retain(|_, (before, after)| after.as_ref() != Some(before));
    let retractions = changed.into_iter().map(|(name, (before, after))| retraction(&name, before, after));
    Ok(Ok(retractions.collect::<Result<_>>()?))
}

/// What an event added, if it did nothing else: its handler is asked, and nothing is done.
fn added_by(writer: &mut Writer, past: &mut Past, scope: &Scope<'_>, event: &EventAt) -> Result<Result<Added, Reason>> {
    let events = events_around(past, scope, event)?;
    let logged = events.iter().find(|logged| logged.position == event.position);
    let logged = logged.ok_or_else(|| scope.refuse("the changelog doesn't have it any more"))?;
    if logged.accesses.iter().any(|access| access.kind != AccessKind::Add) {
        return Ok(Err("it read or overwrote something, which has no inverse".into()));
    }
    let handler = events::find(past.store(), logged.handler.0, logged.handler.1)?;
    let mut adding = Adding::default();
    let asked = events::ask(writer, &*handler, logged.event, &mut adding);
    match adding.refused {
        Some(reason) => Ok(Err(reason)),
        None => asked.map(|()| Ok(adding.added)),
    }
}

/// Notes what a handler adds, and stops it where it does anything else.
#[derive(Debug, Default)]
struct Adding {
    def: Option<Arc<StateDef>>,
    added: Added,
    refused: Option<Reason>,
}

impl Adding {
    fn refuse(&mut self, reason: impl Into<Reason>) -> Error {
        let reason = reason.into();
        let error = Error::Background(reason.clone());
        self.refused.get_or_insert(reason);
        error
    }
}

impl Watch for Adding {
    fn touch(&mut self, writer: &mut Writer, state: State, _: Key<'_>, what: Touched<'_>) -> Result<()> {
        let def = writer.definition(state)?;
        if !def.traced {
            return Err(self.refuse(format!("state {:?} isn't traced", def.name)));
        }
        if def.ttl.is_some() {
            return Err(self.refuse(format!("values of state {:?} expire", def.name)));
        }
        if !matches!(what, Touched::Cell(AccessKind::Add)) {
            return Err(self.refuse("it reads or overwrites something, which has no inverse"));
        }
        self.def = Some(def);
        Ok(())
    }

    fn add(&mut self, state: State, key: Key<'_>, operand: &[u8]) -> Result<bool> {
        let mut name = Vec::new();
        push_sort_key(&mut name, state.id(), key);
        let merge = self.def.as_ref().and_then(|def| def.merge.clone());
        let before = self.added.remove(&name);
        let after = match (before, merge) {
            (None, Some(_)) => Content::Value(operand.to_vec()),
            (Some(Content::Value(before)), Some(operator)) => {
                let mut after = Vec::new();
                operator.merge(&before, operand, &mut after);
                Content::Value(after)
            }
            (None, None) => Content::List(vec![operand.to_vec()]),
            (Some(Content::List(mut elements)), None) => {
                elements.push(operand.to_vec());
                Content::List(elements)
            }
            (Some(_), _) => return Err(self.refuse("it adds in two ways to one key")),
        };
        self.added.insert(name, after);
        Ok(true)
    }
}

/// What is left of a content without what was added to it.
fn without(def: &StateDef, now: &Content, added: &Content) -> Result<Content, Reason> {
    match (now, added) {
        (Content::Value(now), Content::Value(operand)) => {
            let none = || format!("operator {:?} of state {:?} has no inverse", def.merge_name, def.name);
            let operator = def.merge.as_ref().ok_or_else(none)?;
            let inverse = operator.invert(operand).ok_or_else(none)?;
            let mut after = Vec::new();
            operator.merge(now, &inverse, &mut after);
            Ok(Content::Value(after))
        }
        (Content::List(now), Content::List(elements)) => {
            let mut left = now.clone();
            for element in elements {
                let mut places = left.iter().enumerate().filter(|(_, there)| *there == element).map(|(at, _)| at);
                match (places.next(), places.next()) {
                    (Some(at), None) => drop(left.remove(at)),
                    (None, _) => return Err("what it added isn't there any more".into()),
                    _ => return Err("the list has several elements like the one that it added".into()),
                }
            }
            Ok(Content::List(left))
        }
        _ => Err("what it added is of another kind than what is there".into()),
    }
}

/// A value that says nothing is no value, unless something else added to it, too.
fn drop_if_nothing(
    writer: &mut Writer,
    past: &mut Past,
    scope: &Scope<'_>,
    name: &[u8],
    after: &mut Option<Content>,
) -> Result<Result<(), Reason>> {
    let (state, key) = parts(name)?;
    let def = writer.def_of(State::numbered(state))?.clone();
    let says_nothing = match after {
        Some(Content::List(elements)) => elements.is_empty(),
        Some(Content::Value(value)) => def.merge.as_ref().is_some_and(|operator| operator.is_identity(value)),
        None => false,
    };
    if !says_nothing {
        return Ok(Ok(()));
    }
    if def.kind == StateKind::Merging {
        let Ok(base) = base_of(writer.store(), past, scope) else {
            return Ok(Err(
                "it can't be told whether nothing is left, as no checkpoint from before it is retained".into()
            ));
        };
        let was_there = match &base.checkpoint {
            Some(manifest) => {
                let base = crate::snapshot::Snapshot::of_manifest(writer.store(), manifest)?;
                base.get(State::numbered(state), key)?.is_some()
            }
            None => false,
        };
        match others(past, scope, base.position, (state, key))? {
            Others::None if was_there => return Ok(Ok(())),
            Others::None => {}
            Others::Added => return Ok(Ok(())),
            Others::Unsure => {
                return Ok(Err("others overwrote it, and it can't be told whether nothing is left".into()));
            }
        }
    }
    *after = None;
    Ok(Ok(()))
}

/// What other events than the bad ones did to a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Others {
    /// Nothing.
    None,
    /// They added to it, no more.
    Added,
    /// They did something else, or may have: an earlier repair applied them again.
    Unsure,
}

/// What other events than the bad ones did to a key since a position.
fn others(past: &mut Past, scope: &Scope<'_>, position: u64, (state, key): (StateId, Key<'_>)) -> Result<Others> {
    let key = cell_hash(state, key);
    let mut found = Others::None;
    for run in past.runs(position) {
        let parts = run.parts_with(key).or(scope.amended.parts_of(&run));
        for part in run.among(parts) {
            let events = past.events(&run, part)?;
            found = match others_of(&events, scope, position, key) {
                Others::None => found,
                Others::Added => Others::Added,
                Others::Unsure => return Ok(Others::Unsure),
            };
        }
    }
    Ok(found)
}

fn others_of(events: &Events, scope: &Scope<'_>, position: u64, key: u64) -> Others {
    let mut found = Others::None;
    for event in events.iter().filter(|event| event.position >= position) {
        let counts = event.group == scope.group && !scope.is_bad(event.id);
        if !counts || scope.amended.void.contains(&(event.group, event.id)) {
            continue;
        }
        let mut writes = event.accesses.iter().filter(|access| access.kind.writes() && unit(*access) == key).peekable();
        let touched = scope.amended.of(event.position).any(|unit| unit == key);
        if writes.peek().is_none() && !touched {
            continue;
        }
        // One that reads nothing does the same each time.
        let may_differ =
            scope.amended.was_applied_again(event.position) && event.accesses.iter().any(|access| access.kind.reads());
        if touched || may_differ || writes.any(|access| access.kind != AccessKind::Add) {
            return Others::Unsure;
        }
        found = Others::Added;
    }
    found
}

/// What a value, a merging state's value or a list is now.
fn content_of(writer: &mut Writer, state: StateId, key: Key<'_>) -> Result<Option<Content>> {
    let state = State::numbered(state);
    if writer.def_of(state)?.kind == StateKind::List {
        let elements = writer.list(state, key)?;
        return Ok((!elements.is_empty()).then_some(Content::List(elements)));
    }
    Ok(writer.get(state, key)?.map(Content::Value))
}

fn retraction(name: &[u8], before: Content, after: Option<Content>) -> Result<Retraction> {
    let (state, key) = parts(name)?;
    Ok(Retraction {
        state: State::numbered(state),
        group: key.group,
        key: key.key.to_vec(),
        namespace: key.namespace.to_vec(),
        user_key: None,
        before: Some(before),
        after,
    })
}
