//! Causality: which events depend on which, by what the changelog has of their reads and writes.
//!
//! An event depends on another if it read what that one wrote, or what depends on it: Lamport's happened-before, cut down to the data that
//! passed between them (as lineage does: Warp, Chandra and others, SOSP 2011; GeneaLog, Palyvos-Giannas and others, Middleware 2018).
//! Reads of what isn't there count, and so do reads of ranges. Who overwrites without reading ends a chain, and who only adds (an operand,
//! an element) doesn't join one. What is found is never too little; it is too much where two keys share a hash, and where a range of a map was
//! read or deleted, which counts as all of it.
//!
//! Whoever looks goes once through the stream from the first bad event on, and skips the stretches that have none of the keys in
//! question ([`TraceIndex`](crate::changelog::trace::TraceIndex)).

mod history;
mod lines;
mod taint;

pub(crate) use history::{Events, Logged, Past};
pub(crate) use lines::passes;
pub(crate) use taint::{Taints, unit};

use crate::changelog::trace::{Parts, Run};
use crate::error::{Error, Result};
use crate::ids::{EventId, KeyGroup};
use crate::store::StoreInner;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// An event and where the changelog has it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EventAt {
    /// The position of its record.
    pub position: u64,
    /// Its id.
    pub id: EventId,
    /// Its key group.
    pub group: KeyGroup,
}

/// What depends on some events.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Closure {
    /// The events themselves and those that depend on them, in the order in which they were applied.
    pub events: Vec<EventAt>,
    /// How many cells and map entries they wrote, deletions of ranges counted as one each.
    pub keys: usize,
    /// How many traced events the changelog has from the first of them on, about: those that came in a stretch of the changelog together
    /// with it are counted, too.
    pub suffix_events: u64,
}

impl Closure {
    /// The share of what came since the first of the events that depends on them: 0.0 to 1.0.
    pub fn share(&self) -> f64 {
        if self.suffix_events == 0 { 0.0 } else { self.events.len() as f64 / self.suffix_events as f64 }
    }
}

/// Where the changelog has some events, each as often as it was applied to a key group; an error where it doesn't have one of them.
pub(crate) fn find(past: &mut Past, ids: &[EventId]) -> Result<Vec<EventAt>> {
    let wanted: HashSet<EventId> = ids.iter().copied().collect();
    let mut found = Vec::with_capacity(wanted.len());
    for run in past.runs(0) {
        let parts = Parts::of(wanted.iter().map(|id| run.parts_with_event(*id)));
        for part in run.among(parts) {
            for event in past.events(&run, part)?.iter().filter(|event| wanted.contains(&event.id)) {
                found.push(EventAt { position: event.position, id: event.id, group: event.group });
            }
        }
    }
    let has = |id: &EventId| found.iter().any(|event| event.id == *id);
    if let Some(id) = wanted.into_iter().filter(|id| !has(id)).min() {
        return Err(unknown(id));
    }
    found.sort_unstable();
    Ok(found)
}

fn unknown(id: EventId) -> Error {
    let problem = "the changelog doesn't have it: it changed no traced state, was never applied, lies before the repair frontier, or was applied in \
                   another store, which this one was restored from";
    Error::Event { event: id, problem: problem.into() }
}

/// What repairs made of history: it isn't quite what the changelog has any more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Amended {
    /// Events that were taken back in a key group: they did nothing.
    pub void: HashSet<(KeyGroup, EventId)>,
    /// What events touched that the changelog doesn't have, when they were applied again without those: a [unit](taint::unit) by the
    /// position of the event. Whether they read or wrote it isn't told apart.
    pub touched: BTreeSet<(u64, u64)>,
    /// From which position up to which events were applied again: what they overwrote they may not have overwritten then.
    pub again: Vec<(u64, u64)>,
}

impl Amended {
    /// What an event touched besides.
    pub fn of(&self, position: u64) -> impl Iterator<Item = u64> {
        self.touched.range((position, 0)..=(position, u64::MAX)).map(|(_, unit)| *unit)
    }

    /// The parts of a stretch that have events which touched something besides.
    pub fn parts_of(&self, run: &Run) -> Parts {
        Parts::of(self.touched.range((run.position, 0)..(run.end, 0)).map(|(position, _)| run.part_at(*position)))
    }

    /// Whether an event at a position was applied again by a repair since: it may have done something else.
    pub fn was_applied_again(&self, position: u64) -> bool {
        self.again.iter().any(|(from, to)| (*from..*to).contains(&position))
    }
}

/// What depends on `bad` events, which are given in order.
pub(crate) fn closure(past: &mut Past, bad: &[EventAt], amended: &Amended) -> Result<(Closure, Taints)> {
    let (mut taints, mut found) = (Taints::default(), Closure::default());
    let Some(first) = bad.first() else { return Ok((found, taints)) };
    let bad_at: HashSet<u64> = bad.iter().map(|event| event.position).collect();
    for run in past.runs(first.position) {
        found.suffix_events += u64::from(run.events);
        let of_bad = Parts::of(bad.iter().map(|event| run.part_at(event.position)));
        let besides = of_bad.or(amended.parts_of(&run));
        // Who only adds depends on nothing, and leaves in question what was.
        let mut parts = besides.or(taints.parts_with_more(&run));
        for part in 0..run.parts() {
            if !parts.has(part) {
                continue;
            }
            let events = past.events(&run, part)?;
            if go_through(past, &events, (first.position, &bad_at), amended, (&mut found, &mut taints)) {
                parts = besides.or(taints.parts_with_more(&run));
            }
        }
    }
    found.keys = taints.written();
    Ok((found, taints))
}

/// Goes through the events of a part; whether other keys may be in question behind it.
fn go_through(
    past: &Past,
    events: &Events,
    (first, bad_at): (u64, &HashSet<u64>),
    amended: &Amended,
    (found, taints): (&mut Closure, &mut Taints),
) -> bool {
    let before = found.events.len();
    for event in events.iter().filter(|event| event.position >= first) {
        let is_bad = bad_at.contains(&event.position);
        if !is_bad && amended.void.contains(&(event.group, event.id)) {
            continue;
        }
        let mut besides = amended.of(event.position);
        if is_bad || taints.reaches(event.accesses) || besides.any(|unit| taints.reaches_unit(unit)) {
            taints.spread(event.accesses);
            amended.of(event.position).for_each(|unit| taints.taint(unit));
            found.events.push(EventAt { position: event.position, id: event.id, group: event.group });
        } else if !amended.was_applied_again(event.position) && !past.was_torn(event.group, event.position) {
            taints.overwritten(event.accesses);
        }
    }
    found.events.len() > before
}

/// [`Store::provenance`](crate::Store::provenance): the events that a key's content comes from, in the order in which they were applied.
pub(crate) fn provenance(store: &Arc<StoreInner>, hash: u64, container: u64) -> Result<Vec<EventAt>> {
    let mut past = Past::open(store, None)?;
    let (mut wanted, mut found) = (Taints::of(hash, container), Vec::new());
    for run in past.runs(0).into_iter().rev() {
        let mut parts = wanted.parts_of(&run);
        for part in (0..run.parts()).rev() {
            if !parts.has(part) {
                continue;
            }
            let before = found.len();
            for event in past.events(&run, part)?.iter().rev() {
                if wanted.is_made_by(event.accesses) {
                    // What it overwrote is there again, perhaps, where some states were rolled back since.
                    wanted.made_from(event.accesses, !past.was_torn(event.group, event.position));
                    found.push(EventAt { position: event.position, id: event.id, group: event.group });
                }
            }
            if found.len() > before {
                parts = wanted.parts_of(&run);
            }
        }
    }
    found.reverse();
    Ok(found)
}
