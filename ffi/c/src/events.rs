//! Events: handlers of the host's that change state for them, applied and logged by the engine.

use crate::arguments::{
    Context, NOTHING, Outcome, Output, answer, bytes, call, copied_key, give, key, map_range, one, place, slice, text,
};
use crate::store::StoreObject;
use crate::types::*;
use crate::writer::{numbered, with};
use alluvium::{Applying, EventId, Handler, HandlerId, Key, KeyGroup, LogMode};
use alluvium_ffi::applying;
use alluvium_ffi::copied::Room;
use alluvium_ffi::handles;
use alluvium_ffi::threads::callback;
use alluvium_ffi::{Failure, Misuse, Status};
use std::ffi::{c_char, c_void};
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

/// What a handler changes in a state is logged as what was changed.
pub const ALLUVIUM_LOG_STATE: u32 = 0;
/// What a handler changes in a state is logged as the event, which recovery applies again.
pub const ALLUVIUM_LOG_EVENT: u32 = 1;
/// What a handler changes in a state is logged as whatever of both is shorter.
pub const ALLUVIUM_LOG_AUTO: u32 = 2;

/// How a state's changes are logged.
pub(crate) fn log_mode(number: u32) -> Result<LogMode, Misuse> {
    match number {
        ALLUVIUM_LOG_STATE => Ok(LogMode::State),
        ALLUVIUM_LOG_EVENT => Ok(LogMode::Event),
        ALLUVIUM_LOG_AUTO => Ok(LogMode::Auto),
        _ => Err(Misuse::Argument("how a state's changes are logged is unknown")),
    }
}

/// The state of an event's key group, for the handler that is given it: on its thread, and until it returns.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_applying {
    /// Its number; 0 is none.
    pub id: u64,
}

/// Which event of the host's sources it is. Of one source offsets rise: in each key group, what has a higher one comes later.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_event_id {
    /// The source, as the host numbers them.
    pub source: u32,
    /// Where in it.
    pub offset: u64,
}

impl From<alluvium_event_id> for EventId {
    fn from(id: alluvium_event_id) -> Self {
        Self { source: id.source, offset: id.offset }
    }
}

impl From<EventId> for alluvium_event_id {
    fn from(id: EventId) -> Self {
        Self { source: id.source, offset: id.offset }
    }
}

/// Applies an event: 0 where that is done; a failure's status, where an operation on `applying` came to it; else a number above 0. It is called by the
/// thread that applies an event, opens a writer or reader of a store whose changelog has some, or repairs; also by several at once, for different key
/// groups. It has to do the same whenever it is given the same event over the same state: everything else comes through
/// `alluvium_applying_determinant`. It must call nothing of the library but what takes `applying`, and frees errors.
pub type alluvium_handler_fn =
    Option<unsafe extern "C" fn(context: *mut c_void, event: alluvium_slice, applying: alluvium_applying) -> i32>;

/// Makes what isn't the same each time. It must call nothing of the library.
pub type alluvium_draw_fn = Option<unsafe extern "C" fn(context: *mut c_void, output: alluvium_output)>;

/// Looks at an entry where it lies, for as long as the callback; anything but 0 says that it has seen enough. It must call nothing of the
/// library.
pub type alluvium_entry_fn =
    Option<unsafe extern "C" fn(context: *mut c_void, user_key: alluvium_slice, value: alluvium_slice) -> i32>;

/// What a host does with events.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_handler {
    /// Its name, 1 to 1,024 bytes.
    pub name: *const c_char,
    /// Moves on with every change that makes it do something else for some event.
    pub version: u32,
    /// Applies an event.
    pub apply: alluvium_handler_fn,
    /// Given to `apply`; any thread may use it.
    pub context: *mut c_void,
    /// Lets `context` go.
    pub release: alluvium_release_fn,
}

/// A host's handler.
struct HostHandler {
    name: String,
    version: u32,
    apply: unsafe extern "C" fn(*mut c_void, alluvium_slice, alluvium_applying) -> i32,
    context: Context,
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
            // SAFETY: the host's function with what its type says.
            unsafe { (self.apply)(self.context.pointer, slice(event), alluvium_applying { id }) }
        })
    }
}

/// Registers what the host does with events, and says its number; one of the same name takes the place of the earlier. Where the changelog has
/// events, their handlers have to be registered, in the version that applied them, before the first writer is opened or the first reader read
/// from (`ALLUVIUM_EVENT_HANDLER` there). The context is the library's from this call on, whatever it comes to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_handler(
    store: alluvium_store,
    handler: *const alluvium_handler,
    number: *mut u32,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let given = one(handler, "handler")?;
            let context = Context::new(given.context, given.release);
            place(number, "number")?;
            let apply = given.apply.ok_or(Misuse::Null("a handler's function"))?;
            let name = text(given.name, "a handler's name")?.to_owned();
            let object = handles::get::<StoreObject>(store.id)?;
            let key_groups = object.store.key_groups();
            let handler = HostHandler { name, version: given.version, apply, context, key_groups };
            give(number, "number", object.store.handler(Arc::new(handler))?.number())?;
            Ok(Status::Ok)
        })
    }
}

/// Has a handler apply an event to the state of one key group of the writer. With a changelog it is logged as the event or as what it changed, as
/// `log_mode` of the states says that it changed. What the handler changed before it fails stays.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_apply_event(
    writer: alluvium_writer,
    handler: u32,
    group: u16,
    event: alluvium_slice,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            object.writer.apply_event(HandlerId::numbered(handler), KeyGroup(group), bytes(event)?)?;
            Ok(Status::Ok)
        })
    }
}

/// The same with an event that is known by its id, and that happens once: `applied` (may be null) is 0 where it, or one of its source behind it, was
/// applied to this key group before, else 1. Its changes are in a commit or checkpoint together; where it changes a state that is `traced` it is
/// logged with what it read and wrote, so that it can be taken back. `ALLUVIUM_OPTIONS` where the store has no changelog.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_apply_event_once(
    writer: alluvium_writer,
    handler: u32,
    group: u16,
    id: alluvium_event_id,
    event: alluvium_slice,
    applied: *mut u32,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            let (handler, group) = (HandlerId::numbered(handler), KeyGroup(group));
            let is_new = object.writer.apply_event_once(handler, group, id.into(), bytes(event)?)?;
            crate::arguments::give_optional(applied, "applied", u32::from(is_new))?;
            Ok(Status::Ok)
        })
    }
}

/// Runs an operation of a handler.
pub(crate) unsafe fn inside<R>(
    applying: alluvium_applying,
    error: *mut alluvium_error,
    operation: impl FnOnce(&mut Applying<'_>, u32) -> Result<R, Failure>,
    done: impl FnOnce(R) -> Outcome,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { call(error, || done(applying::with(applying.id, operation)?)) }
}

pub(crate) unsafe fn changing(
    applying: alluvium_applying,
    key_: *const alluvium_key,
    error: *mut alluvium_error,
    operation: impl FnOnce(&mut Applying<'_>, Key<'_>) -> Result<(), Failure>,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        inside(applying, error, |inner, key_groups| operation(inner, key(key_, key_groups)?), |()| Ok(Status::Ok))
    }
}

/// The key group of the event: keys of others are refused with `ALLUVIUM_OUTSIDE_RANGE`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_applying_group(
    applying: alluvium_applying,
    group: *mut u16,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        inside(
            applying,
            error,
            |inner, _| Ok(inner.group().0),
            |found| {
                give(group, "group", found)?;
                Ok(Status::Ok)
            },
        )
    }
}

/// The writer's clock, in ms, which is logged with the event.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_applying_now(
    applying: alluvium_applying,
    now_ms: *mut u64,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        inside(
            applying,
            error,
            |inner, _| Ok(inner.now_ms()),
            |found| {
                give(now_ms, "now_ms", found)?;
                Ok(Status::Ok)
            },
        )
    }
}

/// Something that isn't the same each time, such as the time or a random number, copied into `memory`: made by `draw` and logged; where the
/// event is applied again it is what was logged, and `draw` isn't called. `ALLUVIUM_ARGUMENT` where `draw` gives no bytes, or more than 1 GiB: the event
/// fails then, whatever its handler says. `ALLUVIUM_TOO_SMALL` where it doesn't fit: it is drawn then, and can't be
/// had any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_applying_determinant(
    applying: alluvium_applying,
    draw: alluvium_draw_fn,
    context: *mut c_void,
    memory: *mut u8,
    capacity: usize,
    len: *mut usize,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        let operation = |inner: &mut Applying<'_>, _| {
            let draw = draw.ok_or(Misuse::Null("draw"))?;
            place(len, "len")?;
            let mut is_whole = true;
            let drawn = inner.determinant(&mut |out| {
                let mut output = Output::new(out);
                let lent = output.lent();
                callback(|| draw(context, lent));
                is_whole = !output.too_long;
            })?;
            Ok((drawn, is_whole))
        };
        inside(applying, error, operation, |(drawn, is_whole)| {
            if !is_whole {
                applying::spoil(applying.id);
                return Err(Misuse::Argument("what was drawn is no bytes, or longer than 1 GiB").into());
            }
            answer(Some(&drawn), memory, capacity, len)
        })
    }
}

/// A value, as by `alluvium_writer_get`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_applying_get(
    applying: alluvium_applying,
    state: u16,
    key_: *const alluvium_key,
    memory: *mut u8,
    capacity: usize,
    len: *mut usize,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        let operation = |inner: &mut Applying<'_>, key_groups| Ok(inner.get(numbered(state), key(key_, key_groups)?)?);
        inside(applying, error, operation, |value| answer(value.as_deref(), memory, capacity, len))
    }
}

/// Puts a value.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_applying_put(
    applying: alluvium_applying,
    state: u16,
    key_: *const alluvium_key,
    value: alluvium_slice,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { changing(applying, key_, error, |inner, key| Ok(inner.put(numbered(state), key, bytes(value)?)?)) }
}

/// Deletes a value, a list, or a merging state's value.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_applying_delete(
    applying: alluvium_applying,
    state: u16,
    key_: *const alluvium_key,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { changing(applying, key_, error, |inner, key| Ok(inner.delete(numbered(state), key)?)) }
}

/// Merges an operand into a value, without reading it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_applying_merge(
    applying: alluvium_applying,
    state: u16,
    key_: *const alluvium_key,
    operand: alluvium_slice,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { changing(applying, key_, error, |inner, key| Ok(inner.merge(numbered(state), key, bytes(operand)?)?)) }
}

/// Appends an element to a list, without reading it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_applying_append(
    applying: alluvium_applying,
    state: u16,
    key_: *const alluvium_key,
    element: alluvium_slice,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { changing(applying, key_, error, |inner, key| Ok(inner.append(numbered(state), key, bytes(element)?)?)) }
}

/// Has `visit` look at the elements of a list, in order. `ALLUVIUM_NOT_FOUND` where it is empty.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_applying_list(
    applying: alluvium_applying,
    state: u16,
    key_: *const alluvium_key,
    visit: alluvium_read_fn,
    context: *mut c_void,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        let operation = |inner: &mut Applying<'_>, key_groups| {
            let visit = visit.ok_or(Misuse::Null("visit"))?;
            let elements = inner.list(numbered(state), key(key_, key_groups)?)?;
            elements.iter().for_each(|element| visit(context, slice(element)));
            Ok(elements.is_empty())
        };
        inside(applying, error, operation, |is_empty| Ok(if is_empty { Status::NotFound } else { Status::Ok }))
    }
}

/// The value of a map's entry, as by `alluvium_writer_map_get`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_applying_map_get(
    applying: alluvium_applying,
    state: u16,
    key_: *const alluvium_key,
    user_key: alluvium_slice,
    memory: *mut u8,
    capacity: usize,
    len: *mut usize,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        let operation = |inner: &mut Applying<'_>, key_groups| {
            Ok(inner.map_get(numbered(state), key(key_, key_groups)?, bytes(user_key)?)?)
        };
        inside(applying, error, operation, |value| answer(value.as_deref(), memory, capacity, len))
    }
}

/// Puts an entry of a map.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_applying_map_put(
    applying: alluvium_applying,
    state: u16,
    key_: *const alluvium_key,
    user_key: alluvium_slice,
    value: alluvium_slice,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        changing(applying, key_, error, |inner, key| {
            Ok(inner.map_put(numbered(state), key, bytes(user_key)?, bytes(value)?)?)
        })
    }
}

/// Deletes an entry of a map.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_applying_map_delete(
    applying: alluvium_applying,
    state: u16,
    key_: *const alluvium_key,
    user_key: alluvium_slice,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        changing(applying, key_, error, |inner, key| Ok(inner.map_delete(numbered(state), key, bytes(user_key)?)?))
    }
}

/// Deletes the entries of a map.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_applying_map_clear(
    applying: alluvium_applying,
    state: u16,
    key_: *const alluvium_key,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { changing(applying, key_, error, |inner, key| Ok(inner.map_clear(numbered(state), key)?)) }
}

/// Has `visit` look at the entries of a map in a range, in order; null: all of them. `ALLUVIUM_NOT_FOUND` where there are none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_applying_map_scan(
    applying: alluvium_applying,
    state: u16,
    key_: *const alluvium_key,
    range: *const alluvium_map_range,
    visit: alluvium_entry_fn,
    context: *mut c_void,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        let operation = |inner: &mut Applying<'_>, key_groups| {
            let visit = visit.ok_or(Misuse::Null("visit"))?;
            let (mut found, mut room) = (false, Room::new());
            let (key, _) = copied_key(&mut room, key_, NOTHING, key_groups)?;
            inner.map_scan(numbered(state), key, &map_range(range)?, |user_key, value| {
                found = true;
                match visit(context, slice(user_key), slice(value)) {
                    0 => ControlFlow::Continue(()),
                    _ => ControlFlow::Break(()),
                }
            })?;
            Ok(found)
        };
        inside(applying, error, operation, |found| Ok(if found { Status::Ok } else { Status::NotFound }))
    }
}
