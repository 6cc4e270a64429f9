//! Which way a key group is repaired, and which keys and events it takes.

use super::{GroupRepair, Outcome, Way, inverse, reexecute, user};
use crate::causality::{Amended, Closure, EventAt, Events, Past, closure, passes, unit};
use crate::changelog::access::Accesses;
use crate::changelog::trace::{Parts, Run};
use crate::checkpoint::Kept;
use crate::error::{Error, Result};
use crate::ids::{EventId, KeyGroup};
use crate::manifest::Manifest;
use crate::repair::record::Record;
use crate::store::StoreInner;
use crate::writer::Writer;
use std::collections::HashSet;
use std::sync::Arc;

/// Above so many keys all events of the key group are applied again: looking for those that matter would take longer.
const UNITS_MAX: usize = 10_000;
/// How often events may turn out to read, without the bad ones, what they didn't read with them, before all are applied again.
const GROWN_MAX: usize = 16;

const TORN: &str = "some states of its key group were rolled back apart from others since";

/// What is to be repaired in a key group.
#[derive(Clone, Debug)]
pub struct Scope<'a> {
    /// The key group.
    pub group: KeyGroup,
    /// The bad events in it, in order; at least one.
    pub bad: &'a [EventAt],
    /// What was taken back before.
    pub earlier: &'a [Record],
    /// What that made of history, and what applying events again without the bad ones does.
    pub amended: Amended,
}

impl Scope<'_> {
    /// What was done, so far as it is the same for all ways.
    pub fn done(&self, way: Way, closure: &Closure, applied_again: usize) -> GroupRepair {
        GroupRepair {
            group: self.group,
            way,
            bad: self.bad.iter().map(|event| event.id).collect(),
            dependents: closure.events.len() - self.bad.len(),
            applied_again,
            is_whole_group: false,
            from: None,
        }
    }

    /// The position of the first bad event.
    pub fn first(&self) -> u64 {
        self.bad.first().map_or(0, |event| event.position)
    }

    /// Why it isn't repaired.
    pub fn refuse(&self, problem: impl Into<String>) -> Error {
        let event = self.bad.first().map_or(EventId { source: 0, offset: 0 }, |event| event.id);
        Error::Event { event, problem: problem.into() }
    }

    /// The parts of a stretch of the changelog that have events which have to do with any of the keys.
    pub fn parts_of(&self, units: &Units, run: &Run) -> Parts {
        let Some(units) = units else { return Parts::ALL };
        Parts::of(units.iter().map(|unit| run.parts_with(*unit))).or(self.amended.parts_of(run))
    }

    /// Whether an event writes any of the keys.
    pub fn concerns(&self, units: &Units, position: u64, accesses: Accesses<'_>) -> bool {
        let Some(units) = units else { return true };
        let mut writes = accesses.iter().filter(|access| access.kind.writes());
        writes.any(|access| units.contains(&unit(access)))
            || self.amended.of(position).any(|unit| units.contains(&unit))
    }

    /// Whether an event is one of the bad ones.
    pub fn is_bad(&self, id: EventId) -> bool {
        self.bad.iter().any(|event| event.id == id)
    }
}

/// Where applying again begins.
#[derive(Clone, Debug)]
pub struct Base {
    /// The position that it has everything before.
    pub position: u64,
    /// The checkpoint, which isn't found by its label alone: a younger one may have the same. `None` where it is the empty store.
    pub checkpoint: Option<Arc<Manifest>>,
}

/// The keys that are applied again: all of the key group where there is no set.
pub type Units = Option<HashSet<u64>>;

/// Repairs a key group, or says how it would be.
pub fn run(
    writer: &mut Writer,
    past: &mut Past,
    scope: &mut Scope<'_>,
    way: Way,
    dry: bool,
) -> Result<(GroupRepair, Closure, Outcome)> {
    check_whole(past, scope)?;
    let (mut found, taints) = closure(past, scope.bad, &scope.amended)?;
    if way != Way::Reexecute {
        let first = scope.first();
        let obstacle = user::obstacle(scope, |unit| taints.units().contains(&unit), true, |record| record.at > first);
        let outcome = match obstacle {
            Some(reason) => Err(reason),
            None => inverse::run(writer, past, (scope, &found), dry)?,
        };
        match outcome {
            Ok(outcome) => return Ok((scope.done(Way::Inverse, &found, 0), found, outcome)),
            Err(reason) if way == Way::Inverse => return Err(scope.refuse(reason)),
            Err(_) => {}
        }
    }
    let base = base_of(writer.store(), past, scope)?;
    let mut units = Some(taints.units().clone());
    for attempt in 0_usize.. {
        let again = gather(past, scope, &base, &mut units)?;
        let has = |unit: u64| units.as_ref().is_none_or(|units| units.contains(&unit));
        if let Some(reason) = user::obstacle(scope, has, false, |record| record.position >= base.position) {
            return Err(scope.refuse(reason));
        }
        let from = base.checkpoint.as_ref().and_then(|manifest| manifest.label);
        let done = GroupRepair { is_whole_group: units.is_none(), from, ..scope.done(Way::Reexecute, &found, again) };
        if dry {
            return Ok((done, found, Outcome::new()));
        }
        let grown = match reexecute::run(writer, past, (scope, &found), &base, &units)? {
            Ok(outcome) => return Ok((done, found, outcome)),
            Err(grown) => grown,
        };
        // Without the bad events something else happens than the changelog has.
        scope.amended.touched.extend(grown.touched);
        let taints;
        (found, taints) = closure(past, scope.bad, &scope.amended)?;
        match &mut units {
            Some(units) if attempt < GROWN_MAX => {
                units.extend(grown.read);
                units.extend(taints.units());
            }
            _ => units = None,
        }
    }
    Err(scope.refuse("it can't be found out what has to be applied again"))
}

/// Fails where it can't be told what the key group's states were.
pub fn check_whole(past: &Past, scope: &Scope<'_>) -> Result<()> {
    if past.was_torn(scope.group, scope.first()) { Err(scope.refuse(TORN)) } else { Ok(()) }
}

/// The events around one of them, and itself.
pub fn events_around(past: &mut Past, scope: &Scope<'_>, event: &EventAt) -> Result<Arc<Events>> {
    let runs = past.runs(event.position);
    let run = runs.first().ok_or_else(|| scope.refuse("the changelog doesn't have it any more"))?;
    let part = run.among(run.part_at(event.position)).next().unwrap_or(0);
    past.events(run, part)
}

/// The newest checkpoint that has nothing of the bad events, nor of one that was taken back after the checkpoint.
pub fn base_of(store: &Arc<StoreInner>, past: &mut Past, scope: &Scope<'_>) -> Result<Base> {
    let mut before = scope.first();
    let line = past.line(scope.group);
    loop {
        let base = {
            let catalogue = store.catalogue.lock();
            let mut kept = catalogue.kept.values().filter(|kept| kept.manifest.label.is_some());
            let is_before = |at: u64| at <= before && passes(&line, at);
            let newest = kept.rfind(|Kept { manifest, .. }| {
                let at = manifest.log_position;
                is_before(at) && !(manifest.has_rollbacks && past.was_rolled_back(scope.group, at))
            });
            newest.map(|Kept { manifest, .. }| Base {
                position: manifest.log_position,
                checkpoint: Some(Arc::clone(manifest)),
            })
        };
        let nothing = past.begins_with_nothing(scope.group).then_some(Base { position: 0, checkpoint: None });
        let Some(base) = base.or(nothing).filter(|base| past.has_since(scope.group, base.position)) else {
            let problem = "no checkpoint from before it is retained, with the changelog from there on";
            return Err(scope.refuse(problem));
        };
        if past.was_torn(scope.group, base.position) {
            return Err(scope.refuse(TORN));
        }
        let spoils = |record: &&Record| record.position < base.position && base.position <= record.at;
        match scope.earlier.iter().filter(spoils).map(|record| record.position).min() {
            Some(position) => before = position,
            None => return Ok(base),
        }
    }
}

/// Adds to the keys what the events that write them read, until there is nothing more; how many events that are, the bad ones aside.
fn gather(past: &mut Past, scope: &Scope<'_>, base: &Base, units: &mut Units) -> Result<usize> {
    loop {
        let (mut again, mut grown) = (0, HashSet::new());
        for run in past.runs(base.position) {
            let parts = scope.parts_of(units, &run);
            for part in run.among(parts) {
                let events = past.events(&run, part)?;
                again += gather_of(&events, scope, base, units, &mut grown);
            }
        }
        match units {
            Some(known) if !grown.is_empty() => {
                known.extend(grown);
                if known.len() > UNITS_MAX {
                    *units = None;
                }
            }
            _ => return Ok(again),
        }
    }
}

fn gather_of(events: &Events, scope: &Scope<'_>, base: &Base, units: &Units, grown: &mut HashSet<u64>) -> usize {
    let mut again = 0;
    for event in events.iter() {
        let counts = event.group == scope.group && event.position >= base.position;
        if !counts || scope.amended.void.contains(&(event.group, event.id)) {
            continue;
        }
        if !scope.concerns(units, event.position, event.accesses) {
            continue;
        }
        again += usize::from(!scope.is_bad(event.id));
        if let Some(units) = units {
            let reads = event.accesses.iter().filter(|access| access.kind.reads()).map(unit);
            let besides = scope.amended.of(event.position);
            grown.extend(reads.chain(besides).filter(|unit| !units.contains(unit)));
        }
    }
    again
}
