//! Repair: which events depend on others, and taking bad ones back.

use crate::arguments::{Outcome, array, bytes, call, give, key, one, place, slice};
use crate::buffer;
use crate::events::alluvium_event_id;
use crate::lists;
use crate::store::StoreObject;
use crate::types::*;
use crate::writer::{WriterObject, numbered, with};
use alluvium::{Closure, Content, EventAt, EventId, GroupRepair, KeyGroup, Repaired, Retraction, Way};
use alluvium_ffi::handles::{self, Many, Parent};
use alluvium_ffi::{Failure, Kind, Misuse, Object, Status};

/// Events are taken back by the cheaper of the ways that are sure, for each key group.
pub const ALLUVIUM_WAY_AUTO: u32 = 0;
/// Events are taken back by adding the inverse of what they added.
pub const ALLUVIUM_WAY_INVERSE: u32 = 1;
/// Events are taken back by applying again what came after.
pub const ALLUVIUM_WAY_REEXECUTE: u32 = 2;
/// An event was made up for by a function of the host's (`alluvium_writer_compensate`, the only one that takes one).
pub const ALLUVIUM_WAY_USER: u32 = 3;

/// Nothing is there.
pub const ALLUVIUM_CONTENT_NONE: u32 = 0;
/// A value, of a value or merging state or of a map's entry.
pub const ALLUVIUM_CONTENT_VALUE: u32 = 1;
/// A list, packed as by `alluvium_writer_list`.
pub const ALLUVIUM_CONTENT_LIST: u32 = 2;

/// An event and where the changelog has it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_event_at {
    /// The position of its record.
    pub position: u64,
    /// Its id.
    pub id: alluvium_event_id,
    /// Its key group.
    pub group: u16,
}

impl From<EventAt> for alluvium_event_at {
    fn from(EventAt { position, id, group }: EventAt) -> Self {
        Self { position, id: id.into(), group: group.0 }
    }
}

/// How much there is of what a repair, or a question about events, came to.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_counts {
    /// Events that depend on each other (`alluvium_repair_event`).
    pub events: u64,
    /// How many keys and entries these wrote.
    pub keys: u64,
    /// How many traced events the changelog has from the first of them on, about.
    pub suffix_events: u64,
    /// Key groups that were repaired, or would be (`alluvium_repair_group`).
    pub groups: u64,
    /// What changed (`alluvium_repair_retraction`).
    pub retractions: u64,
    /// Events that had been taken back before (`alluvium_repair_before`).
    pub before: u64,
}

/// What a repair did, or would do, in a key group.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_group_repair {
    /// The key group.
    pub group: u16,
    /// Whether all of its events since the checkpoint are applied again: 0 or 1.
    pub is_whole_group: u16,
    /// How: `ALLUVIUM_WAY_INVERSE`, `ALLUVIUM_WAY_REEXECUTE` or `ALLUVIUM_WAY_USER`.
    pub way: u32,
    /// How many bad events it had.
    pub bad: u64,
    /// How many events depend on them.
    pub dependents: u64,
    /// How many events are applied again.
    pub applied_again: u64,
    /// Whether it begins at a checkpoint: 0 or 1.
    pub has_from: u32,
    /// That checkpoint's label.
    pub from: u64,
}

/// What changed at a key, or a map's entry: what whoever was told of `before` has to hear. Its bytes stay until the repair is closed.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_retraction {
    /// The event that was taken back, and that `alluvium_writer_acknowledge` wants.
    pub event: alluvium_event_id,
    /// The state.
    pub state: u16,
    /// The key group.
    pub group: u16,
    /// Whether there is a user key: 0 or 1.
    pub has_user_key: u32,
    /// The key.
    pub key: alluvium_slice,
    /// The namespace.
    pub ns: alluvium_slice,
    /// The user key of a map's entry.
    pub user_key: alluvium_slice,
    /// What it held: `ALLUVIUM_CONTENT_...`.
    pub before_kind: u32,
    /// What it holds since: `ALLUVIUM_CONTENT_...`.
    pub after_kind: u32,
    /// What it held.
    pub before: alluvium_slice,
    /// What it holds since.
    pub after: alluvium_slice,
}

/// A retraction whose contents lie packed.
#[derive(Debug)]
struct Told {
    event: EventId,
    retraction: Retraction,
    before: (u32, Vec<u8>),
    after: (u32, Vec<u8>),
}

fn packed(content: &Option<Content>) -> (u32, Vec<u8>) {
    match content {
        None => (ALLUVIUM_CONTENT_NONE, Vec::new()),
        Some(Content::Value(value)) => (ALLUVIUM_CONTENT_VALUE, value.clone()),
        Some(Content::List(elements)) => {
            let mut out = buffer::Buffer::default();
            elements.iter().for_each(|element| lists::push(&mut out, element));
            (ALLUVIUM_CONTENT_LIST, out.bytes)
        }
    }
}

impl Told {
    fn new(event: EventId, retraction: Retraction) -> Self {
        let (before, after) = (packed(&retraction.before), packed(&retraction.after));
        Self { event, retraction, before, after }
    }

    fn lent(&self) -> alluvium_retraction {
        let Retraction { state, group, key, namespace, user_key, .. } = &self.retraction;
        alluvium_retraction {
            event: self.event.into(),
            state: state.id().0,
            group: group.0,
            has_user_key: u32::from(user_key.is_some()),
            key: slice(key),
            ns: slice(namespace),
            user_key: slice(user_key.as_deref().unwrap_or_default()),
            before_kind: self.before.0,
            after_kind: self.after.0,
            before: slice(&self.before.1),
            after: slice(&self.after.1),
        }
    }
}

/// What a repair's handle stands for.
#[derive(Debug, Default)]
pub struct RepairObject {
    closure: Closure,
    groups: Vec<GroupRepair>,
    told: Vec<Told>,
    before: Vec<EventId>,
}

// SAFETY: the only type of this kind, and `Sync`.
unsafe impl Object for RepairObject {
    const KIND: Kind = Kind::Repair;
    type Mode = Many;
}

impl From<Repaired> for RepairObject {
    fn from(repaired: Repaired) -> Self {
        let Repaired { closure, groups, retractions, before } = repaired;
        // All of a key group's go with the first of its bad events.
        let event_of = |retraction: &Retraction| {
            let group = groups.iter().find(|repair| repair.group == retraction.group);
            group.and_then(|repair| repair.bad.first().copied())
        };
        let told = |retraction: Retraction| event_of(&retraction).map(|event| Told::new(event, retraction));
        let told = retractions.into_iter().filter_map(told).collect();
        Self { closure, groups, told, before }
    }
}

fn way(number: u32) -> Result<Way, Misuse> {
    match number {
        ALLUVIUM_WAY_AUTO => Ok(Way::Auto),
        ALLUVIUM_WAY_INVERSE => Ok(Way::Inverse),
        ALLUVIUM_WAY_REEXECUTE => Ok(Way::Reexecute),
        _ => Err(Misuse::Argument("an unknown way to take events back")),
    }
}

unsafe fn ids(given: *const alluvium_event_id, len: usize) -> Result<Vec<EventId>, Misuse> {
    // SAFETY: the caller's events.
    Ok(unsafe { array(given, len) }?.iter().map(|id| EventId::from(*id)).collect())
}

unsafe fn leave(repair: *mut alluvium_repair, room: Parent, object: RepairObject) -> Outcome {
    let id = room.insert(object)?;
    // SAFETY: the caller's `repair`, which was checked before.
    unsafe { give(repair, "repair", alluvium_repair { id }) }?;
    Ok(Status::Ok)
}

pub(crate) unsafe fn of_writer(
    writer: alluvium_writer,
    repair: *mut alluvium_repair,
    error: *mut alluvium_error,
    run: impl FnOnce(&mut WriterObject) -> Result<RepairObject, Failure>,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            place(repair, "repair")?;
            let room = handles::reserve_child(object.store)?;
            leave(repair, room, run(object)?)
        })
    }
}

/// Takes bad events back: what they and the events that depend on them wrote becomes what it would be had they never come. Once for each event: one
/// that was taken back is passed over. `way_` is `ALLUVIUM_WAY_...`. The events have to be in this writer's key groups, and to have changed `traced`
/// states alone. It lasts with the next commit or checkpoint, as a whole. Close `repair` with `alluvium_repair_close`.
///
/// `ALLUVIUM_EVENT` where the changelog doesn't have one of the events any more, where no checkpoint is left from before it, where the way isn't sure, or
/// where applying the events again doesn't come to what is there: nothing has changed then. `ALLUVIUM_EVENT_HANDLER` where a handler isn't there in the
/// version that applied them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_repair(
    writer: alluvium_writer,
    bad: *const alluvium_event_id,
    bad_len: usize,
    way_: u32,
    repair: *mut alluvium_repair,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        of_writer(writer, repair, error, |object| Ok(object.writer.repair(&ids(bad, bad_len)?, way(way_)?)?.into()))
    }
}

/// What `alluvium_writer_repair` would do, without doing it. What would change isn't known before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_plan_repair(
    writer: alluvium_writer,
    bad: *const alluvium_event_id,
    bad_len: usize,
    way_: u32,
    repair: *mut alluvium_repair,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        of_writer(writer, repair, error, |object| {
            Ok(object.writer.plan_repair(&ids(bad, bad_len)?, way(way_)?)?.into())
        })
    }
}

/// What changed by repairs whose retractions the host hasn't said that it has, also before the store was opened: of the writer's key groups.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_retractions(
    writer: alluvium_writer,
    repair: *mut alluvium_repair,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        of_writer(writer, repair, error, |object| {
            let found = object.writer.retractions()?.into_iter();
            let told = found.flat_map(|(event, of)| of.into_iter().map(move |one| Told::new(event, one)));
            Ok(RepairObject { told: told.collect(), ..RepairObject::default() })
        })
    }
}

/// Says that the host has the retractions of an event that was taken back in a key group: they aren't kept any longer than until the next commit
/// or checkpoint. `ALLUVIUM_EVENT` where it was not taken back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_acknowledge(
    writer: alluvium_writer,
    group: u16,
    event: alluvium_event_id,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            object.writer.acknowledge(KeyGroup(group), event.into())?;
            Ok(Status::Ok)
        })
    }
}

/// The events that depend on some events, these included, and how much they wrote: of the states that are `traced`, as far back as the changelog
/// goes. `ALLUVIUM_EVENT` where the changelog doesn't have one of them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_closure(
    store: alluvium_store,
    events: *const alluvium_event_id,
    events_len: usize,
    repair: *mut alluvium_repair,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            place(repair, "repair")?;
            let closure = handles::get::<StoreObject>(store.id)?.store.closure(&ids(events, events_len)?)?;
            leave(repair, handles::reserve_child(store.id)?, RepairObject { closure, ..RepairObject::default() })
        })
    }
}

/// The events that the content of a key comes from, by way of other keys, too, in the order in which they were applied. Of a map, those of an entry,
/// or, where `user_key` is null, of all entries.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_provenance(
    store: alluvium_store,
    state: u16,
    key_: *const alluvium_key,
    user_key: *const alluvium_slice,
    repair: *mut alluvium_repair,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            place(repair, "repair")?;
            let object = handles::get::<StoreObject>(store.id)?;
            let key = key(key_, object.store.key_groups())?;
            let user_key = if user_key.is_null() { None } else { Some(bytes(*one(user_key, "user_key")?)?) };
            let events = object.store.provenance(numbered(state), key, user_key)?;
            let closure = Closure { events, ..Closure::default() };
            leave(repair, handles::reserve_child(store.id)?, RepairObject { closure, ..RepairObject::default() })
        })
    }
}

/// Whether an event, or one of its source behind it, was applied to a key group: 0 or 1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_already_applied(
    store: alluvium_store,
    group: u16,
    event: alluvium_event_id,
    applied: *mut u32,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            place(applied, "applied")?;
            let is_applied =
                handles::get::<StoreObject>(store.id)?.store.already_applied(KeyGroup(group), event.into())?;
            give(applied, "applied", u32::from(is_applied))?;
            Ok(Status::Ok)
        })
    }
}

unsafe fn part<T>(
    repair: alluvium_repair,
    into: *mut T,
    error: *mut alluvium_error,
    find: impl FnOnce(&RepairObject) -> Option<T>,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            place(into, "the place for the answer")?;
            let Some(found) = find(&*handles::get::<RepairObject>(repair.id)?) else { return Ok(Status::NotFound) };
            give(into, "the place for the answer", found)?;
            Ok(Status::Ok)
        })
    }
}

/// How much there is of all that follows.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_repair_counts(
    repair: alluvium_repair,
    counts: *mut alluvium_counts,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        part(repair, counts, error, |object| {
            Some(alluvium_counts {
                events: object.closure.events.len() as u64,
                keys: object.closure.keys as u64,
                suffix_events: object.closure.suffix_events,
                groups: object.groups.len() as u64,
                retractions: object.told.len() as u64,
                before: object.before.len() as u64,
            })
        })
    }
}

/// An event of those that depend on each other, by its place, in the order in which they were applied. `ALLUVIUM_NOT_FOUND` where there is no such place.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_repair_event(
    repair: alluvium_repair,
    index: usize,
    event: *mut alluvium_event_at,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { part(repair, event, error, |object| object.closure.events.get(index).map(|event| (*event).into())) }
}

/// What was done, or would be, in a key group, by its place. `ALLUVIUM_NOT_FOUND` where there is no such place.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_repair_group(
    repair: alluvium_repair,
    index: usize,
    group: *mut alluvium_group_repair,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        part(repair, group, error, |object| {
            let done = object.groups.get(index)?;
            Some(alluvium_group_repair {
                group: done.group.0,
                is_whole_group: u16::from(done.is_whole_group),
                way: match done.way {
                    Way::Auto => ALLUVIUM_WAY_AUTO,
                    Way::Inverse => ALLUVIUM_WAY_INVERSE,
                    Way::Reexecute => ALLUVIUM_WAY_REEXECUTE,
                    Way::User => ALLUVIUM_WAY_USER,
                },
                bad: done.bad.len() as u64,
                dependents: done.dependents as u64,
                applied_again: done.applied_again as u64,
                has_from: u32::from(done.from.is_some()),
                from: done.from.unwrap_or_default(),
            })
        })
    }
}

/// A bad event of a key group, by the group's place and its own. `ALLUVIUM_NOT_FOUND` where there is no such place.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_repair_bad(
    repair: alluvium_repair,
    group: usize,
    index: usize,
    event: *mut alluvium_event_id,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { part(repair, event, error, |object| object.groups.get(group)?.bad.get(index).map(|id| (*id).into())) }
}

/// What changed, by its place, in the order of key groups, states and keys. `ALLUVIUM_NOT_FOUND` where there is no such place.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_repair_retraction(
    repair: alluvium_repair,
    index: usize,
    retraction: *mut alluvium_retraction,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { part(repair, retraction, error, |object| object.told.get(index).map(Told::lent)) }
}

/// An event that had been taken back before, by its place. `ALLUVIUM_NOT_FOUND` where there is no such place.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_repair_before(
    repair: alluvium_repair,
    index: usize,
    event: *mut alluvium_event_id,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { part(repair, event, error, |object| object.before.get(index).map(|id| (*id).into())) }
}

/// Closes what a repair or question came to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_repair_close(repair: alluvium_repair, error: *mut alluvium_error) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { call(error, || Ok(handles::remove::<RepairObject>(repair.id).map(|_| Status::Ok)?)) }
}
