//! Batches: many keys a call, as arrays or packed into one buffer.

use crate::arguments::{array, array_mut, give, key, long_bytes, place};
use crate::ticket::TicketObject;
use crate::types::*;
use crate::writer::{Callbacks, WriterObject, numbered, with};
use alluvium::{Batch, Key};
use alluvium_ffi::handles;
use alluvium_ffi::packed::{self, PackedOperation};
use alluvium_ffi::threads::callback;
use alluvium_ffi::{Failure, Misuse, Status};
use std::ffi::c_void;

/// Operations of a packed batch: see `alluvium_writer_apply`.
pub const ALLUVIUM_OP_PUT: u8 = 0;
/// Delete a value or list.
pub const ALLUVIUM_OP_DELETE: u8 = 1;
/// Append the value to a list.
pub const ALLUVIUM_OP_APPEND: u8 = 2;
/// Merge the value, an operand.
pub const ALLUVIUM_OP_MERGE: u8 = 3;
/// Put a map's entry.
pub const ALLUVIUM_OP_MAP_PUT: u8 = 4;
/// Delete a map's entry.
pub const ALLUVIUM_OP_MAP_DELETE: u8 = 5;
/// Delete a map's entries from the user key on, to the value, which is the first user key that stays.
pub const ALLUVIUM_OP_MAP_DELETE_RANGE: u8 = 6;
/// Delete a map's entries whose user keys begin with a time (8 bytes, big-endian) below the value (8 bytes, little-endian).
pub const ALLUVIUM_OP_MAP_EXPIRE: u8 = 7;
/// Delete a map's entries.
pub const ALLUVIUM_OP_MAP_CLEAR: u8 = 8;
/// Get a value; only to be submitted.
pub const ALLUVIUM_OP_GET: u8 = 9;
/// Get a list; only to be submitted.
pub const ALLUVIUM_OP_LIST: u8 = 10;
/// Get a map's entry; only to be submitted.
pub const ALLUVIUM_OP_MAP_GET: u8 = 11;
/// The flag of an operation whose key group is that of its key's hash.
pub const ALLUVIUM_OP_HASHED: u8 = 1;
/// The flag of a deletion of a range without an upper end.
pub const ALLUVIUM_OP_UNBOUNDED: u8 = 2;

/// For no more keys than these memory is taken before they are looked at.
const AT_ONCE_MAX: usize = 4_096;

unsafe fn keys<'a>(keys: *const alluvium_key, len: usize, object: &WriterObject) -> Result<Vec<Key<'a>>, Misuse> {
    // SAFETY: the caller's keys.
    let given = unsafe { array(keys, len) }?;
    let mut keys = Vec::with_capacity(len.min(AT_ONCE_MAX));
    for one in given {
        // SAFETY: as above.
        keys.push(unsafe { key(one, object.key_groups) }?);
    }
    Ok(keys)
}

/// Reads many keys of a value state: what memory doesn't have is read from disk together. The values lie in `memory`, one behind the other
/// in no particular order; `found` says for each key where. Those for which there is no room have `ALLUVIUM_TOO_SMALL` and their length, and
/// then the call says `ALLUVIUM_TOO_SMALL` too. Neither may overlap the keys.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_get_many(
    writer: alluvium_writer,
    state: u16,
    keys_: *const alluvium_key,
    keys_len: usize,
    memory: *mut u8,
    capacity: usize,
    found: *mut alluvium_found,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            let keys = keys(keys_, keys_len, object)?;
            let (memory, found) = (array_mut(memory, capacity)?, array_mut(found, keys_len)?);
            let (mut used, mut status) = (0, Status::Ok);
            object.writer.get_many(numbered(state), &keys, |index, value| {
                let Some(value) = value else {
                    found[index] = alluvium_found { status: ALLUVIUM_NOT_FOUND, len: 0, at: 0 };
                    return;
                };
                let room = memory.get_mut(used..).and_then(|rest| rest.get_mut(..value.len()));
                let len = value.len() as u32;
                found[index] = alluvium_found { status: ALLUVIUM_OK, len, at: used };
                match room {
                    Some(room) => {
                        room.copy_from_slice(value);
                        used += value.len();
                    }
                    None => {
                        found[index].status = ALLUVIUM_TOO_SMALL;
                        status = Status::TooSmall;
                    }
                }
            })?;
            Ok(status)
        })
    }
}

/// `alluvium_writer_update` of many keys: what memory doesn't have is read from disk together. A key that occurs twice is changed twice, in
/// order; else the order is any. `change` is told the key's place, and called once for each key. Where it returns what it may not, that key keeps
/// its value, the others are changed as it says, and the call fails with the first such mistake. Where it fails for another reason, some keys are
/// changed and others aren't, and the error doesn't say which.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_update_many(
    writer: alluvium_writer,
    state: u16,
    keys_: *const alluvium_key,
    keys_len: usize,
    change: alluvium_update_fn,
    context: *mut c_void,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            let mut callbacks = Callbacks::new(change, context, false)?;
            let keys = keys(keys_, keys_len, object)?;
            let change = |index, old: Option<&[u8]>| callbacks.change(index, old);
            callback(|| object.writer.update_many(numbered(state), &keys, change))?;
            callbacks.outcome()
        })
    }
}

/// Fetches what memory has of these keys in these states into the processor's caches: worth it some dozen keys ahead of their use.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_prefetch(
    writer: alluvium_writer,
    states: *const u16,
    states_len: usize,
    keys_: *const alluvium_key,
    keys_len: usize,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            let states: Vec<_> = array(states, states_len)?.iter().map(|&state| numbered(state)).collect();
            let keys = keys(keys_, keys_len, object)?;
            object.writer.prefetch(&states, keys);
            Ok(Status::Ok)
        })
    }
}

/// Decodes a packed batch and does something with it.
unsafe fn with_batch(
    object: &mut WriterObject,
    batch: alluvium_slice,
    run: impl FnOnce(&mut WriterObject, &Batch<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    // SAFETY: the caller's batch.
    let operations: Vec<PackedOperation<'_>> = packed::decode(unsafe { long_bytes(batch) }?)?;
    let ranges = packed::ranges(&operations);
    let batch = packed::batch(&operations, &ranges, object.key_groups)?;
    run(object, &batch)
}

/// Does the operations of a packed batch, in order; reads are not among them. Where one fails, those before it are done, those after it not.
///
/// Each operation is, little-endian and without padding: `operation u8 | flags u8 | state u16 | key group u16 | len(key) u16 | len(namespace)
/// u16 | len(user key) u16 | len(value) u32 | key | namespace | user key | value`, with what it doesn't have empty. See `ALLUVIUM_OP_...`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_apply(
    writer: alluvium_writer,
    batch: alluvium_slice,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            with_batch(object, batch, |object, batch| Ok(object.writer.apply(batch)?))?;
            Ok(Status::Ok)
        })
    }
}

/// Does the operations of a packed batch, in order, reads among them, without waiting for the disk: answers come by the ticket.
/// `ALLUVIUM_BUSY` while too many reads are in flight: then nothing was done. Close the ticket with `alluvium_ticket_close`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_submit(
    writer: alluvium_writer,
    batch: alluvium_slice,
    ticket: *mut alluvium_ticket,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            place(ticket, "ticket")?;
            let room = handles::reserve_child(object.store)?;
            let mut submitted = None;
            with_batch(object, batch, |object, batch| {
                submitted = Some(object.writer.submit(batch)?);
                Ok(())
            })?;
            let Some(submitted) = submitted else { return Ok(Status::Busy) };
            let id = room.insert(TicketObject { ticket: submitted, store: object.store })?;
            give(ticket, "ticket", alluvium_ticket { id })?;
            Ok(Status::Ok)
        })
    }
}

/// Whether so many reads are in flight that no batch is submitted for now: 0 or 1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_is_full(
    writer: alluvium_writer,
    is_full: *mut u32,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            give(is_full, "is_full", u32::from(object.writer.is_full()))?;
            Ok(Status::Ok)
        })
    }
}
