//! Making up for an event by a function of the host's.

use crate::arguments::slice;
use crate::events::{alluvium_applying, alluvium_event_id};
use crate::repair::{alluvium_event_at, of_writer};
use crate::types::*;
use alluvium::{Applying, BadEvent, Compensation, Dependents};
use alluvium_ffi::Misuse;
use alluvium_ffi::applying;
use std::ffi::c_void;

/// Where other events depend on the one that is to be made up for, it is refused.
pub const ALLUVIUM_DEPENDENTS_REFUSE: u32 = 0;
/// The host knows of the events that depend on it, and makes up for what they did as well, or leaves it.
pub const ALLUVIUM_DEPENDENTS_KNOWN: u32 = 1;

/// An event that is to be made up for. What it points to stays until the function that is given it returns.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_bad_event {
    /// Its id.
    pub id: alluvium_event_id,
    /// The writer's clock when it was applied, in ms.
    pub applied_at_ms: u64,
    /// The event itself.
    pub event: alluvium_slice,
    /// The name of the handler that applied it.
    pub handler: alluvium_slice,
    /// That one's version.
    pub version: u32,
    /// The key group that it was applied to.
    pub group: u16,
    /// The events that depend on it, in the order in which they were applied.
    pub dependents: *const alluvium_event_at,
    /// How many they are.
    pub dependents_len: usize,
}

/// Makes up for an event: 0 where that is done; a failure's status, where an operation on `applying` came to it; else a number above 0. It reads and
/// changes the state of the event's key group as it is now, of states that are `traced` and whose values don't expire. It must call nothing of the
/// library but what takes `applying`, and frees errors.
pub type alluvium_undo_fn = Option<
    unsafe extern "C" fn(context: *mut c_void, event: *const alluvium_bad_event, applying: alluvium_applying) -> i32,
>;

/// What a failure of the function is told by.
const NAME: &str = "the function that makes up for an event";

/// Makes up for an event by a function of the host's, for what only the host can undo; it is called once for each key group that the event was applied
/// to. Once for each event: one that was taken back before, in whatever way, is passed over, and the function isn't called. What it changed is
/// written together with the record of that, and lasts with the next commit or checkpoint. `dependents` is `ALLUVIUM_DEPENDENTS_...`. Close
/// `repair` with `alluvium_repair_close`.
///
/// `ALLUVIUM_EVENT` where the changelog doesn't have the event any more, or where others depend on it and the host doesn't say that it knows;
/// `ALLUVIUM_STATE` where the function reads or changes a state that it has no business with; what the function came to. Nothing has changed then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_compensate(
    writer: alluvium_writer,
    event: alluvium_event_id,
    undo: alluvium_undo_fn,
    context: *mut c_void,
    dependents: u32,
    repair: *mut alluvium_repair,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        of_writer(writer, repair, error, |object| {
            let function = undo.ok_or(Misuse::Null("undo"))?;
            let dependents = match dependents {
                ALLUVIUM_DEPENDENTS_REFUSE => Dependents::Refuse,
                ALLUVIUM_DEPENDENTS_KNOWN => Dependents::Known,
                _ => return Err(Misuse::Argument("what is known of dependents is unknown").into()),
            };
            let key_groups = object.key_groups;
            let mut undo = |bad: &BadEvent<'_>, applying: &mut Applying<'_>| {
                let dependents: Vec<alluvium_event_at> = bad.dependents.iter().map(|event| (*event).into()).collect();
                let lent = alluvium_bad_event {
                    id: bad.id.into(),
                    applied_at_ms: bad.applied_at_ms,
                    event: slice(bad.event),
                    handler: slice(bad.handler.as_bytes()),
                    version: bad.version,
                    group: bad.group.0,
                    dependents: dependents.as_ptr(),
                    dependents_len: dependents.len(),
                };
                applying::lend(NAME, applying, key_groups, |id| {
                    function(context, &raw const lent, alluvium_applying { id })
                })
            };
            Ok(object.writer.compensate(event.into(), Compensation::User(&mut undo, dependents))?.into())
        })
    }
}
