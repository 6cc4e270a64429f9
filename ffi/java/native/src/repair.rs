//! Rolling back and repair: which events depend on others, and taking bad ones back.

use crate::checkpoint::put_offsets;
use crate::entry::{answer, bytes, copied_bytes, natives, state};
use crate::events::group;
use crate::store::StoreObject;
use crate::wire::{Request, Response, range};
use crate::writer::of;
use alluvium::{Closure, Content, EventAt, EventId, GroupRepair, Repaired, Retraction, Rewound, Scope, State, Way};
use alluvium_ffi::Misuse;
use alluvium_ffi::copied::Room;
use alluvium_ffi::handles::{self, Handle};
use jni::sys::{jint, jlong};

pub(crate) const fn event(source: jint, offset: jlong) -> EventId {
    EventId { source: source as u32, offset: offset as u64 }
}

fn events(request: &mut Request<'_>) -> Result<Vec<EventId>, Misuse> {
    request.list(|request| Ok(event(request.int()?, request.long()?)))
}

fn way(number: jint) -> Result<Way, Misuse> {
    match number {
        0 => Ok(Way::Auto),
        1 => Ok(Way::Inverse),
        2 => Ok(Way::Reexecute),
        _ => Err(Misuse::Argument("an unknown way to take events back")),
    }
}

pub(crate) fn put_event(out: &mut Response, id: EventId) {
    out.int(id.source as i32).long(id.offset);
}

fn put_closure(out: &mut Response, closure: &Closure) {
    out.long(closure.keys as u64).long(closure.suffix_events).int(closure.events.len() as i32);
    for EventAt { position, id, group } in &closure.events {
        out.long(*position).int(group.0.into());
        put_event(out, *id);
    }
}

fn put_content(out: &mut Response, content: Option<&Content>) {
    match content {
        None => out.int(0),
        Some(Content::Value(value)) => out.int(1).bytes(value),
        Some(Content::List(elements)) => {
            out.int(2).int(elements.len() as i32);
            elements.iter().fold(out, |out, element| out.bytes(element))
        }
    };
}

fn put_retraction(out: &mut Response, event: EventId, retraction: &Retraction) {
    let Retraction { state, group, key, namespace, user_key, before, after } = retraction;
    put_event(out, event);
    out.int(state.id().0.into()).int(group.0.into()).bytes(key).bytes(namespace).int(user_key.is_some().into());
    out.bytes(user_key.as_deref().unwrap_or_default());
    put_content(out, before.as_ref());
    put_content(out, after.as_ref());
}

fn put_group(out: &mut Response, done: &GroupRepair) {
    let GroupRepair { group, way, bad, dependents, applied_again, is_whole_group, from } = done;
    out.int(group.0.into()).int(*way as i32).long(*dependents as u64).long(*applied_again as u64);
    out.int((*is_whole_group).into()).int(from.is_some().into()).long(from.unwrap_or_default());
    put_events(out, bad);
}

pub(crate) fn put_events(out: &mut Response, events: &[EventId]) {
    out.int(events.len() as i32);
    events.iter().for_each(|id| put_event(out, *id));
}

pub(crate) fn repaired(repaired: &Repaired) -> Vec<u8> {
    let mut out = Response::default();
    put_closure(&mut out, &repaired.closure);
    out.int(repaired.groups.len() as i32);
    repaired.groups.iter().for_each(|group| put_group(&mut out, group));
    put_events(&mut out, &repaired.before);
    out.int(repaired.retractions.len() as i32);
    for retraction in &repaired.retractions {
        // All of a key group's go with the first of its bad events.
        let of = repaired.groups.iter().find(|repair| repair.group == retraction.group);
        let of = of.and_then(|repair| repair.bad.first().copied());
        put_retraction(&mut out, of.unwrap_or(event(0, 0)), retraction);
    }
    out.0
}

/// The key groups of a rollback, and their states, none for all.
fn scope(first: jint, last: jint, states: &[u8]) -> Result<Scope, Misuse> {
    let states: Vec<State> = Request(states).list(|request| state(request.int()?))?;
    Ok(Scope::groups(range(first, last)?).states(&states))
}

fn rewound(rewound: Rewound) -> Vec<u8> {
    let Rewound { label, number, offsets, metadata, position } = rewound;
    let mut out = Response::default();
    out.long(label).long(number).long(position);
    put_offsets(&mut out, &metadata, &offsets);
    out.0
}

natives! {
    /// Takes key groups back to a checkpoint: their states, none for all. Label, number and position; then metadata and offsets.
    fn storeRollback(store: jlong, first: jint, last: jint, label: jlong, address: jlong, len: jint, into: jlong, capacity: jint) {
        let scope = scope(first, last, bytes(address, len)?)?;
        answer(rewound(handles::get::<StoreObject>(store as Handle)?.store.rollback(&scope, label as u64)?), into, capacity)
    }

    /// The same to a position.
    fn storeRollbackToPosition(
        store: jlong, first: jint, last: jint, position: jlong, address: jlong, len: jint, into: jlong, capacity: jint,
    ) {
        let scope = scope(first, last, bytes(address, len)?)?;
        let store = handles::get::<StoreObject>(store as Handle)?;
        answer(rewound(store.store.rollback_to_position(&scope, position as u64)?), into, capacity)
    }

    /// Takes events back, or says what that would be.
    fn writerRepair(writer: jlong, way_: jint, dry: jint, address: jlong, len: jint, into: jlong, capacity: jint) {
        let mut object = of(writer)?;
        // A copy: handlers have the memory that it lies in within reach.
        let mut room = Room::new();
        let (bad, way) = (events(&mut Request(copied_bytes(&mut room, address, len)?))?, way(way_)?);
        let done = match dry {
            0 => object.writer.repair(&bad, way)?,
            _ => object.writer.plan_repair(&bad, way)?,
        };
        answer(repaired(&done), into, capacity)
    }

    /// What changed by repairs that the host hasn't acknowledged.
    fn writerRetractions(writer: jlong, into: jlong, capacity: jint) {
        let found = of(writer)?.writer.retractions()?;
        let mut out = Response::default();
        out.int(found.iter().map(|(_, of)| of.len()).sum::<usize>() as i32);
        for (event, of) in &found {
            of.iter().for_each(|retraction| put_retraction(&mut out, *event, retraction));
        }
        answer(out.0, into, capacity)
    }

    /// Says that the host has the retractions of an event.
    fn writerAcknowledge(writer: jlong, group_: jint, source: jint, offset: jlong) {
        of(writer)?.writer.acknowledge(group(group_)?, event(source, offset))?;
        Ok(0)
    }

    /// The events that depend on some events.
    fn storeClosure(store: jlong, address: jlong, len: jint, into: jlong, capacity: jint) {
        let bad = events(&mut Request(bytes(address, len)?))?;
        let closure = handles::get::<StoreObject>(store as Handle)?.store.closure(&bad)?;
        let mut out = Response::default();
        put_closure(&mut out, &closure);
        answer(out.0, into, capacity)
    }

    /// The events that the content of a key comes from: the key, whether there is a user key, and that.
    fn storeProvenance(store: jlong, state_: jint, address: jlong, len: jint, into: jlong, capacity: jint) {
        let object = handles::get::<StoreObject>(store as Handle)?;
        let mut room = Room::new();
        let mut request = Request(copied_bytes(&mut room, address, len)?);
        let (key, is_entry, user_key) = (request.key(object.store.key_groups())?, request.flag()?, request.bytes()?);
        let events = object.store.provenance(state(state_)?, key, is_entry.then_some(user_key))?;
        let mut out = Response::default();
        put_closure(&mut out, &Closure { events, ..Closure::default() });
        answer(out.0, into, capacity)
    }

    /// Whether an event was applied to a key group: 0 or 1.
    fn storeAlreadyApplied(store: jlong, group_: jint, source: jint, offset: jlong) {
        let object = handles::get::<StoreObject>(store as Handle)?;
        Ok(object.store.already_applied(group(group_)?, event(source, offset))?.into())
    }
}
