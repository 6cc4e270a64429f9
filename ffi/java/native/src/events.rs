//! Events: handlers of the host's that change state for them, applied and logged by the engine.

use crate::entry::{
    self, NOT_FOUND, Outcome, answer, bytes, copied_bytes, copied_key, flag, key, memory, natives, state, value,
};
use crate::lists::elements;
use crate::maps::push;
use crate::reader::list;
use crate::store::StoreObject;
use crate::upcall::{HostCall, NOT_CALLED};
use crate::wire::Request;
use crate::writer::of;
use alluvium::packed::HEADER_BYTES;
use alluvium::{Applying, EventId, Handler, HandlerId, Key, KeyGroup, State};
use alluvium_ffi::applying;
use alluvium_ffi::copied::Room;
use alluvium_ffi::handles::{self, Handle};
use alluvium_ffi::{Failure, Misuse};
use jni::objects::{JObject, JValue};
use jni::sys::{jint, jlong};
use jni::{EnvUnowned, Outcome as EnvOutcome, jni_sig, jni_str};
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

/// A host's handler. Java's store keeps the object that is called.
struct HostHandler {
    call: HostCall,
    name: String,
    version: u32,
    key_groups: u32,
}

impl fmt::Debug for HostHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Handler for HostHandler {
    fn name(&self) -> &str {
        &self.name
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn apply(&self, event: &[u8], applying: &mut Applying<'_>) -> alluvium::Result<()> {
        applying::lend(&self.name, applying, self.key_groups, |id| {
            self.call.run(NOT_CALLED, |env, call| {
                let event = env.byte_array_from_slice(event)?;
                let arguments = [JValue::Object(&event), JValue::Long(id as jlong)];
                env.call_method(call, jni_str!("apply"), jni_sig!("([BJ)I"), &arguments)?.i()
            })
        })
    }
}

fn register(call: HostCall, store: jlong, address: jlong, len: jint) -> Outcome {
    let mut request = Request(bytes(address, len)?);
    let (name, version) = (request.text()?.to_owned(), request.int()? as u32);
    let object = handles::get::<StoreObject>(store as Handle)?;
    let key_groups = object.store.key_groups();
    let handler = HostHandler { call, name, version, key_groups };
    Ok(object.store.handler(Arc::new(handler))?.number().into())
}

/// Registers a handler, and says its number.
#[unsafe(export_name = "Java_io_alluvium_Native_storeHandler")]
pub extern "system" fn store_handler<'local>(
    mut env: EnvUnowned<'local>,
    _class: jni::objects::JClass<'local>,
    store: jlong,
    handler: JObject<'local>,
    address: jlong,
    len: jint,
) -> jlong {
    let found = env.with_env(|env| HostCall::new(env, &handler));
    entry::call(|| match found.into_outcome() {
        EnvOutcome::Ok(call) => register(call, store, address, len),
        EnvOutcome::Err(_) | EnvOutcome::Panic(_) => {
            Err(Misuse::Argument("a handler that can't be referred to").into())
        }
    })
}

pub(crate) fn group(number: jint) -> Result<KeyGroup, Misuse> {
    u16::try_from(number).map(KeyGroup).map_err(|_| Misuse::Argument("a key group is in 0 to 65,535"))
}

fn handler(number: jint) -> HandlerId {
    HandlerId::numbered(number as u32)
}

/// A key with its parts where a call has it, and the user key behind it.
type Place = (jint, jlong, jint, jint, jint);

/// Runs an operation of a handler on a key.
fn at<R>(
    id: jlong,
    number: jint,
    (group, address, key_len, ns_len, user_len): Place,
    operation: impl FnOnce(&mut Applying<'_>, State, Key<'_>, &[u8]) -> alluvium::Result<R>,
) -> Result<R, Failure> {
    applying::with(id as u64, |applying, key_groups| {
        let mut room = Room::new();
        let copied = copied_key(&mut room, address, key_len, ns_len, user_len)?;
        let key = key(key_groups, group, &copied)?;
        Ok(operation(applying, state(number)?, key, copied.user_key)?)
    })
}

natives! {
    /// Has a handler apply an event.
    fn writerApplyEvent(writer: jlong, number: jint, group_: jint, event: jlong, len: jint) {
        let mut object = of(writer)?;
        // A copy: its handler has the memory that it lies in within reach.
        let mut room = Room::new();
        let event = copied_bytes(&mut room, event, len)?;
        object.writer.apply_event(handler(number), group(group_)?, event)?;
        Ok(0)
    }

    /// The same with an event that happens once: 1, or 0 where it was applied before.
    fn writerApplyEventOnce(
        writer: jlong, number: jint, group_: jint, source: jint, offset: jlong, event: jlong, len: jint,
    ) {
        let mut object = of(writer)?;
        let mut room = Room::new();
        let event = copied_bytes(&mut room, event, len)?;
        let id = EventId { source: source as u32, offset: offset as u64 };
        Ok(object.writer.apply_event_once(handler(number), group(group_)?, id, event)?.into())
    }

    /// The key group of an event (0), the writer's clock (1).
    fn applyingNumber(id: jlong, which: jint) {
        applying::with(id as u64, |applying, _| match which {
            0 => Ok(applying.group().0.into()),
            1 => Ok(applying.now_ms() as jlong),
            _ => Err(Misuse::Argument("an unknown number").into()),
        })
    }

    /// What was drawn, or, where the event is applied again, what was logged of it.
    fn applyingDeterminant(id: jlong, drawn: jlong, len: jint, into: jlong, capacity: jint) {
        let drawn = bytes(drawn, len)?;
        let known = applying::with(id as u64, |applying, _| {
            Ok(applying.determinant(&mut |out| out.extend_from_slice(drawn))?)
        })?;
        answer(known, into, capacity)
    }

    /// A value: its length, and itself if it fits.
    fn applyingGet(id: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, into: jlong, capacity: jint) {
        let found = at(id, state_, (group, key_, key_len, ns_len, 0), |applying, state, key, _| applying.get(state, key))?;
        value(found.as_deref(), into, capacity)
    }

    /// Puts a value (0), appends an element (2), merges an operand (3): an operation's number, as in packed batches.
    fn applyingAdd(
        id: jlong, operation: jint, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, value: jlong, len: jint,
    ) {
        let value = bytes(value, len)?;
        at(id, state_, (group, key_, key_len, ns_len, 0), |applying, state, key, _| match operation {
            0 => applying.put(state, key, value),
            2 => applying.append(state, key, value),
            _ => applying.merge(state, key, value),
        })?;
        Ok(0)
    }

    /// Deletes a value or list.
    fn applyingDelete(id: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint) {
        at(id, state_, (group, key_, key_len, ns_len, 0), |applying, state, key, _| applying.delete(state, key))?;
        Ok(0)
    }

    /// The elements of a list.
    fn applyingList(id: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, into: jlong, capacity: jint) {
        let found = at(id, state_, (group, key_, key_len, ns_len, 0), |applying, state, key, _| applying.list(state, key))?;
        list(&found, into, capacity)
    }

    /// Appends several elements to a list.
    fn applyingAppendAll(id: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, new: jlong, len: jint) {
        let new = elements(bytes(new, len)?)?;
        at(id, state_, (group, key_, key_len, ns_len, 0), |applying, state, key, _| applying.append_all(state, key, &new))?;
        Ok(0)
    }

    /// Replaces a list; an empty one deletes it.
    fn applyingPutList(id: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, new: jlong, len: jint) {
        let new = elements(bytes(new, len)?)?;
        at(id, state_, (group, key_, key_len, ns_len, 0), |applying, state, key, _| applying.put_list(state, key, &new))?;
        Ok(0)
    }

    /// Moves what a key holds in some namespaces to the key's own.
    fn applyingMergeNamespaces(
        id: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, sources: jlong, len: jint,
    ) {
        let mut room = Room::new();
        let sources = elements(copied_bytes(&mut room, sources, len)?)?;
        let place = (group, key_, key_len, ns_len, 0);
        at(id, state_, place, |applying, state, key, _| applying.merge_namespaces(state, key, &sources))?;
        Ok(0)
    }

    /// The value of an entry: its length, and itself if it fits.
    fn applyingMapGet(
        id: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, user_len: jint, into: jlong, capacity: jint,
    ) {
        let place = (group, key_, key_len, ns_len, user_len);
        let found = at(id, state_, place, |applying, state, key, user_key| applying.map_get(state, key, user_key))?;
        value(found.as_deref(), into, capacity)
    }

    /// Whether there is an entry: 0 or 1.
    fn applyingMapContains(id: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, user_len: jint) {
        let place = (group, key_, key_len, ns_len, user_len);
        Ok(at(id, state_, place, |applying, state, key, user_key| applying.map_contains(state, key, user_key))?.into())
    }

    /// The first entry, which is taken out (1), if it fits in the memory, or not (0).
    fn applyingMapFirst(
        id: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, pop: jint, into: jlong, capacity: jint,
    ) {
        let (pops, room) = (flag(pop)?, memory(into, capacity)?.len());
        let found = at(id, state_, (group, key_, key_len, ns_len, 0), |applying, state, key, _| {
            let found = applying.map_first(state, key)?;
            let fits = |(user_key, value): &(Vec<u8>, Vec<u8>)| HEADER_BYTES + user_key.len() + value.len() <= room;
            // What there is no room for stays. None is asked for as well, as who may not change anything is to be told.
            if pops && found.as_ref().is_none_or(fits) { applying.map_pop_first(state, key) } else { Ok(found) }
        })?;
        let Some((user_key, value)) = found else { return Ok(NOT_FOUND) };
        let mut out = Vec::new();
        push(&mut out, &user_key, &value);
        answer(out, into, capacity)
    }

    /// Puts an entry.
    fn applyingMapPut(
        id: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, user_len: jint, value: jlong, len: jint,
    ) {
        let (place, value) = ((group, key_, key_len, ns_len, user_len), bytes(value, len)?);
        at(id, state_, place, |applying, state, key, user_key| applying.map_put(state, key, user_key, value))?;
        Ok(0)
    }

    /// Deletes an entry.
    fn applyingMapDelete(id: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, user_len: jint) {
        let place = (group, key_, key_len, ns_len, user_len);
        at(id, state_, place, |applying, state, key, user_key| applying.map_delete(state, key, user_key))?;
        Ok(0)
    }

    /// Deletes the entries of a map in a range.
    fn applyingMapDeleteRange(
        id: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, range: jlong, len: jint,
    ) {
        let range = Request(bytes(range, len)?).map_range()?;
        let place = (group, key_, key_len, ns_len, 0);
        at(id, state_, place, |applying, state, key, _| applying.map_delete_range(state, key, &range))?;
        Ok(0)
    }

    /// Deletes the entries of a map.
    fn applyingMapClear(id: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint) {
        at(id, state_, (group, key_, key_len, ns_len, 0), |applying, state, key, _| applying.map_clear(state, key))?;
        Ok(0)
    }

    /// The entries of a map in a range.
    fn applyingEntries(id: jlong, state_: jint, address: jlong, len: jint, into: jlong, capacity: jint) {
        let mut room = Room::new();
        let mut request = Request(copied_bytes(&mut room, address, len)?);
        let mut out = Vec::new();
        applying::with(id as u64, |applying, key_groups| {
            let (key, range) = (request.key(key_groups)?, request.map_range()?);
            applying.map_scan(state(state_)?, key, &range, |user_key, value| {
                push(&mut out, user_key, value);
                ControlFlow::Continue(())
            })?;
            Ok(())
        })?;
        answer(out, into, capacity)
    }
}
