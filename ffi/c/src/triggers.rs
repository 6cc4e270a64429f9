//! Triggers: what a host is told of, its own conditions among them.

use crate::arguments::{Context, call, give, give_optional, place, slice};
use crate::buffer;
use crate::events::{alluvium_applying, alluvium_event_id};
use crate::store::StoreObject;
use crate::types::*;
use alluvium::{Applying, Invariant, Trigger, TriggerId};
use alluvium_ffi::applying;
use alluvium_ffi::handles;
use alluvium_ffi::{Misuse, Status};
use std::ffi::c_void;
use std::fmt;
use std::sync::Arc;

/// Says whether something holds after an event: 1 where it does, 0 where it doesn't; a failure's status, where an operation on `applying` came to it;
/// else another number. It is called by the thread that applied the event, also by several at once, for different key groups. It reads the state of the
/// event's key group through `applying`, and changes nothing there (`ALLUVIUM_OPTIONS`). It must call nothing of the library but what takes `applying`,
/// and frees errors.
pub type alluvium_invariant_fn =
    Option<unsafe extern "C" fn(context: *mut c_void, event: alluvium_slice, applying: alluvium_applying) -> i32>;

/// What a failure of an invariant is told by.
const NAME: &str = "an invariant";

/// A host's invariant.
struct HostInvariant {
    holds: unsafe extern "C" fn(*mut c_void, alluvium_slice, alluvium_applying) -> i32,
    context: Context,
    key_groups: u32,
}

impl fmt::Debug for HostInvariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostInvariant")
    }
}

impl Invariant for HostInvariant {
    fn holds(&self, event: &[u8], applying: &mut Applying<'_>) -> alluvium::Result<bool> {
        applying::lend_asking(NAME, applying, self.key_groups, |id| {
            // SAFETY: the host's function with what its type says.
            unsafe { (self.holds)(self.context.pointer, slice(event), alluvium_applying { id }) }
        })
    }
}

/// Has the host told (`alluvium_store_fired`) of an event with an id, as long as the store is open. Says the trigger's number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_watch_event(
    store: alluvium_store,
    event: alluvium_event_id,
    trigger: *mut u64,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { watch(store, Trigger::Event(event.into()), trigger, error) }
}

/// Has the host told of events that come late: by the writer's clock they lie before one that their key group has had since.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_watch_stragglers(
    store: alluvium_store,
    trigger: *mut u64,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { watch(store, Trigger::Straggler, trigger, error) }
}

/// Has the host told of events after which something doesn't hold. It is looked at after each event that is known by its id. The context is the
/// library's from this call on, whatever it comes to; it is let go when the trigger is no longer looked at (`alluvium_store_unwatch`), or the store is closed.
///
/// Where `holds` fails, `alluvium_writer_apply_event_once` does, with the status that it returned or `ALLUVIUM_EVENT_HANDLER`: the event was applied all
/// the same, the other triggers are looked at, and this one doesn't fire.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_watch_invariant(
    store: alluvium_store,
    holds: alluvium_invariant_fn,
    context: *mut c_void,
    release: alluvium_release_fn,
    trigger: *mut u64,
    error: *mut alluvium_error,
) -> alluvium_status {
    let context = Context::new(context, release);
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            place(trigger, "trigger")?;
            let holds = holds.ok_or(Misuse::Null("holds"))?;
            let object = handles::get::<StoreObject>(store.id)?;
            let invariant = HostInvariant { holds, context, key_groups: object.store.key_groups() };
            give(trigger, "trigger", object.store.watch(Trigger::Invariant(Arc::new(invariant))).number())?;
            Ok(Status::Ok)
        })
    }
}

unsafe fn watch(
    store: alluvium_store,
    what: Trigger,
    trigger: *mut u64,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            place(trigger, "trigger")?;
            let id = handles::get::<StoreObject>(store.id)?.store.watch(what);
            give(trigger, "trigger", id.number())?;
            Ok(Status::Ok)
        })
    }
}

/// Has the host not told of a trigger any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_unwatch(
    store: alluvium_store,
    trigger: u64,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            handles::get::<StoreObject>(store.id)?.store.unwatch(TriggerId::numbered(trigger));
            Ok(Status::Ok)
        })
    }
}

/// What fired since this was last asked, into a buffer: `trigger u64 | offset u64 | source u32 | group u16` each, little-endian, without padding; and
/// how much more fired than was kept, which is 65,536 at most (may be null). `ALLUVIUM_NOT_FOUND` where nothing did.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_fired(
    store: alluvium_store,
    buffer: alluvium_buffer,
    more: *mut u64,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            if !more.is_null() {
                place(more, "more")?;
            }
            let object = handles::get::<StoreObject>(store.id)?;
            buffer::filling(buffer, |out| {
                let (fired, lost) = object.store.fired();
                for one in &fired {
                    out.bytes.extend_from_slice(&one.trigger.number().to_le_bytes());
                    out.bytes.extend_from_slice(&one.event.offset.to_le_bytes());
                    out.bytes.extend_from_slice(&one.event.source.to_le_bytes());
                    out.bytes.extend_from_slice(&one.group.0.to_le_bytes());
                }
                out.records = fired.len();
                give_optional(more, "more", lost)?;
                Ok(if fired.is_empty() { Status::NotFound } else { Status::Ok })
            })
        })
    }
}
