//! Maps. Entries in buffers are packed as cursors' records are (`alluvium_cursor_entries`).

use crate::arguments::{NOTHING, answer, bytes, copied_key, give_optional, key, map_range, place_optional, slice};
use crate::buffer::{self, Buffer};
use crate::events::alluvium_entry_fn;
use crate::types::*;
use crate::writer::{WriterObject, numbered, with};
use alluvium::packed;
use alluvium::{Key, KeyGroup, PackedRecord};
use alluvium_ffi::copied::Room;
use alluvium_ffi::threads::callback;
use alluvium_ffi::{Misuse, Status};
use std::ffi::c_void;
use std::ops::ControlFlow;

/// Adds an entry to what lies in a buffer, as a cursor does; nothing is said of its map's key.
pub(crate) fn push(buffer: &mut Buffer, user_key: &[u8], value: &[u8]) {
    packed::push(&mut buffer.bytes, PackedRecord { group: KeyGroup(0), key: &[], namespace: &[], user_key, value });
    buffer.records += 1;
}

/// The value of a map's entry, copied into `memory`, as by `alluvium_writer_get`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_map_get(
    writer: alluvium_writer,
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
        with(writer, error, |object| {
            let key = key(key_, object.key_groups)?;
            let user_key = bytes(user_key)?;
            object.writer.map_read(numbered(state), key, user_key, |value| answer(value, memory, capacity, len))?
        })
    }
}

/// The value of a map's entry, into a buffer, as by `alluvium_writer_get_buffer`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_map_get_buffer(
    writer: alluvium_writer,
    state: u16,
    key_: *const alluvium_key,
    user_key: alluvium_slice,
    buffer: alluvium_buffer,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            let key = key(key_, object.key_groups)?;
            let user_key = bytes(user_key)?;
            object.writer.map_read(numbered(state), key, user_key, |value| buffer::answer(buffer, value))?
        })
    }
}

/// Has `look` look at the value of a map's entry where it lies, as by `alluvium_writer_read`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_map_read(
    writer: alluvium_writer,
    state: u16,
    key_: *const alluvium_key,
    user_key: alluvium_slice,
    look: alluvium_read_fn,
    context: *mut c_void,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            let look = look.ok_or(Misuse::Null("look"))?;
            let mut room = Room::new();
            let (key, user_key) = copied_key(&mut room, key_, user_key, object.key_groups)?;
            let seen = object.writer.map_read(numbered(state), key, user_key, |value| {
                value.map(|value| callback(|| look(context, slice(value)))).is_some()
            })?;
            Ok(if seen { Status::Ok } else { Status::NotFound })
        })
    }
}

/// Whether a map has an entry: `ALLUVIUM_OK` or `ALLUVIUM_NOT_FOUND`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_map_contains(
    writer: alluvium_writer,
    state: u16,
    key_: *const alluvium_key,
    user_key: alluvium_slice,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            let key = key(key_, object.key_groups)?;
            let contains = object.writer.map_contains(numbered(state), key, bytes(user_key)?)?;
            Ok(if contains { Status::Ok } else { Status::NotFound })
        })
    }
}

/// Whether a map has any entry: `ALLUVIUM_OK` or `ALLUVIUM_NOT_FOUND`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_map_any(
    writer: alluvium_writer,
    state: u16,
    key_: *const alluvium_key,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            let key = key(key_, object.key_groups)?;
            let is_empty = object.writer.map_is_empty(numbered(state), key)?;
            Ok(if is_empty { Status::NotFound } else { Status::Ok })
        })
    }
}

/// Puts an entry of a map.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_map_put(
    writer: alluvium_writer,
    state: u16,
    key_: *const alluvium_key,
    user_key: alluvium_slice,
    value: alluvium_slice,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            let key = key(key_, object.key_groups)?;
            object.writer.map_put(numbered(state), key, bytes(user_key)?, bytes(value)?)?;
            Ok(Status::Ok)
        })
    }
}

/// Deletes an entry of a map.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_map_delete(
    writer: alluvium_writer,
    state: u16,
    key_: *const alluvium_key,
    user_key: alluvium_slice,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            let key = key(key_, object.key_groups)?;
            object.writer.map_delete(numbered(state), key, bytes(user_key)?)?;
            Ok(Status::Ok)
        })
    }
}

/// Deletes the entries of a map in a range, whatever its direction; null: all of them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_map_delete_range(
    writer: alluvium_writer,
    state: u16,
    key_: *const alluvium_key,
    range: *const alluvium_map_range,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            let key = key(key_, object.key_groups)?;
            object.writer.map_delete_range(numbered(state), key, &map_range(range)?)?;
            Ok(Status::Ok)
        })
    }
}

/// Deletes the entries of a map whose time is below `before`: those whose user keys begin with it, as 8 bytes, big-endian.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_map_expire(
    writer: alluvium_writer,
    state: u16,
    key_: *const alluvium_key,
    before: u64,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            let key = key(key_, object.key_groups)?;
            object.writer.map_expire(numbered(state), key, before)?;
            Ok(Status::Ok)
        })
    }
}

/// Deletes all entries of a map.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_map_clear(
    writer: alluvium_writer,
    state: u16,
    key_: *const alluvium_key,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            let key = key(key_, object.key_groups)?;
            object.writer.map_clear(numbered(state), key)?;
            Ok(Status::Ok)
        })
    }
}

/// Runs what finds one entry, and leaves it in a buffer.
unsafe fn entry(
    writer: alluvium_writer,
    key_: *const alluvium_key,
    buffer: alluvium_buffer,
    error: *mut alluvium_error,
    find: impl FnOnce(&mut WriterObject, Key<'_>) -> alluvium::Result<Option<(Vec<u8>, Vec<u8>)>>,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            let mut room = Room::new();
            let (key, _) = copied_key(&mut room, key_, NOTHING, object.key_groups)?;
            buffer::filling(buffer, |out| {
                let Some((user_key, value)) = find(object, key)? else { return Ok(Status::NotFound) };
                push(out, &user_key, &value);
                Ok(Status::Ok)
            })
        })
    }
}

/// The entry of a map with the smallest user key, into a buffer: a record as of `alluvium_writer_fetch`, with key group 0, and key and namespace empty.
/// `ALLUVIUM_NOT_FOUND` where there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_map_first(
    writer: alluvium_writer,
    state: u16,
    key_: *const alluvium_key,
    buffer: alluvium_buffer,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { entry(writer, key_, buffer, error, |object, key| object.writer.map_first(numbered(state), key)) }
}

/// The entry of a map with the greatest user key, as by `alluvium_writer_map_first`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_map_last(
    writer: alluvium_writer,
    state: u16,
    key_: *const alluvium_key,
    buffer: alluvium_buffer,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { entry(writer, key_, buffer, error, |object, key| object.writer.map_last(numbered(state), key)) }
}

/// Has `visit` look at the entries of a map in a range where they lie, in order, until it has seen enough; null: all of them. It must leave the range alone.
/// `ALLUVIUM_NOT_FOUND` where there are none. A cursor (`alluvium_cursor_entries`) is for more than a callback may look at in one call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_map_scan(
    writer: alluvium_writer,
    state: u16,
    key_: *const alluvium_key,
    range: *const alluvium_map_range,
    visit: alluvium_entry_fn,
    context: *mut c_void,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            let visit = visit.ok_or(Misuse::Null("visit"))?;
            let (mut room, mut seen) = (Room::new(), false);
            let (key, _) = copied_key(&mut room, key_, NOTHING, object.key_groups)?;
            object.writer.map_scan(numbered(state), key, &map_range(range)?, |user_key, value| {
                seen = true;
                match callback(|| visit(context, slice(user_key), slice(value))) {
                    0 => ControlFlow::Continue(()),
                    _ => ControlFlow::Break(()),
                }
            })?;
            Ok(if seen { Status::Ok } else { Status::NotFound })
        })
    }
}

/// Takes the entry with the smallest user key out of a map, which it gives as `alluvium_writer_map_first` does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_map_pop_first(
    writer: alluvium_writer,
    state: u16,
    key_: *const alluvium_key,
    buffer: alluvium_buffer,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { entry(writer, key_, buffer, error, |object, key| object.writer.map_pop_first(numbered(state), key)) }
}

/// Takes all entries with user keys below `below` out of a map, in order, into a buffer, records as of
/// `alluvium_writer_map_first`: the timers that are due. `ALLUVIUM_NOT_FOUND` where there are none. What is in the buffer when this fails is taken out
/// all the same.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_map_pop_below(
    writer: alluvium_writer,
    state: u16,
    key_: *const alluvium_key,
    below: alluvium_slice,
    buffer: alluvium_buffer,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            let mut room = Room::new();
            let (key, below) = copied_key(&mut room, key_, below, object.key_groups)?;
            let mut buffer = alluvium_ffi::handles::get::<Buffer>(buffer.id)?;
            let out = buffer.as_mut();
            out.clear();
            object.writer.map_pop_below(numbered(state), key, below, |user_key, value| push(out, user_key, value))?;
            Ok(if out.records == 0 { Status::NotFound } else { Status::Ok })
        })
    }
}

/// As `alluvium_writer_map_pop_first`, but leaves the entry where it is unless `takes` says so of it; in the buffer it is in any case. `taken` (may be null):
/// whether it was taken out, 0 or 1.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_map_pop_first_if(
    writer: alluvium_writer,
    state: u16,
    key_: *const alluvium_key,
    takes: alluvium_takes_fn,
    context: *mut c_void,
    buffer: alluvium_buffer,
    taken: *mut u32,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            let takes = takes.ok_or(Misuse::Null("takes"))?;
            place_optional(taken, "taken")?;
            let mut room = Room::new();
            let (key, _) = copied_key(&mut room, key_, NOTHING, object.key_groups)?;
            let mut is_taken = false;
            let outcome = buffer::filling(buffer, |out| {
                let found = object.writer.map_pop_first_if(numbered(state), key, |user_key, value| {
                    is_taken = callback(|| takes(context, slice(user_key), slice(value))) != 0;
                    is_taken
                })?;
                let Some((user_key, value)) = found else { return Ok(Status::NotFound) };
                push(out, &user_key, &value);
                Ok(Status::Ok)
            })?;
            give_optional(taken, "taken", u32::from(is_taken))?;
            Ok(outcome)
        })
    }
}

/// As `alluvium_writer_map_pop_below`, but takes out no more than `bytes_max` of the buffer's bytes, and says whether there are more (may be null): 0 or 1.
/// `ALLUVIUM_TOO_SMALL` where the first entry alone is longer: nothing is taken out then. For callers that may have no room for what is out of the map.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_map_pop_below_up_to(
    writer: alluvium_writer,
    state: u16,
    key_: *const alluvium_key,
    below: alluvium_slice,
    bytes_max: usize,
    buffer: alluvium_buffer,
    more: *mut u32,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            place_optional(more, "more")?;
            let mut room = Room::new();
            let (key, below) = copied_key(&mut room, key_, below, object.key_groups)?;
            let mut buffer = alluvium_ffi::handles::get::<Buffer>(buffer.id)?;
            let out = buffer.as_mut();
            out.clear();
            let visit = |user_key: &[u8], value: &[u8]| push(out, user_key, value);
            let has_more = object.writer.map_pop_below_up_to(numbered(state), key, below, bytes_max, visit)?;
            give_optional(more, "more", u32::from(has_more))?;
            Ok(match out.records {
                0 if has_more => Status::TooSmall,
                0 => Status::NotFound,
                _ => Status::Ok,
            })
        })
    }
}
