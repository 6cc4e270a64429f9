//! Lists. They are packed as `len u32 | bytes` for each element, little-endian, in the order of their appending.

use crate::arguments::{NOTHING, all_bytes, bytes, copied_key, key, slice};
use crate::buffer::{self, Buffer};
use crate::types::*;
use crate::writer::{numbered, with};
use alluvium_ffi::copied::Room;
use alluvium_ffi::threads::callback;
use alluvium_ffi::{Misuse, Status};
use std::ffi::c_void;

/// Adds an element to what lies in a buffer.
pub(crate) fn push(buffer: &mut Buffer, element: &[u8]) {
    buffer.bytes.extend_from_slice(&(element.len() as u32).to_le_bytes());
    buffer.bytes.extend_from_slice(element);
    buffer.records += 1;
}

/// Appends an element to a list, without reading it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_append(
    writer: alluvium_writer,
    state: u16,
    key_: *const alluvium_key,
    element: alluvium_slice,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            let key = key(key_, object.key_groups)?;
            object.writer.append(numbered(state), key, bytes(element)?)?;
            Ok(Status::Ok)
        })
    }
}

/// Appends several elements to a list, in order, without reading it: all of them or, where that fails, none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_append_all(
    writer: alluvium_writer,
    state: u16,
    key_: *const alluvium_key,
    elements: *const alluvium_slice,
    elements_len: usize,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            let key = key(key_, object.key_groups)?;
            let elements = all_bytes(elements, elements_len)?;
            object.writer.append_all(numbered(state), key, &elements)?;
            Ok(Status::Ok)
        })
    }
}

/// The elements of a list, into a buffer: `len u32 | bytes` each, little-endian. `ALLUVIUM_NOT_FOUND` where it is empty.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_list(
    writer: alluvium_writer,
    state: u16,
    key_: *const alluvium_key,
    buffer: alluvium_buffer,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            let mut room = Room::new();
            let (key, _) = copied_key(&mut room, key_, NOTHING, object.key_groups)?;
            buffer::filling(buffer, |out| {
                object.writer.list_with(numbered(state), key, |element| push(out, element))?;
                Ok(if out.records == 0 { Status::NotFound } else { Status::Ok })
            })
        })
    }
}

/// Has `look` look at each element of a list where it lies, in order. `ALLUVIUM_NOT_FOUND` where it is empty.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_list_read(
    writer: alluvium_writer,
    state: u16,
    key_: *const alluvium_key,
    look: alluvium_read_fn,
    context: *mut c_void,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            let look = look.ok_or(Misuse::Null("look"))?;
            let (mut room, mut seen) = (Room::new(), false);
            let (key, _) = copied_key(&mut room, key_, NOTHING, object.key_groups)?;
            object.writer.list_with(numbered(state), key, |element| {
                seen = true;
                callback(|| look(context, slice(element)));
            })?;
            Ok(if seen { Status::Ok } else { Status::NotFound })
        })
    }
}

/// Replaces a list; an empty one deletes it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_put_list(
    writer: alluvium_writer,
    state: u16,
    key_: *const alluvium_key,
    elements: *const alluvium_slice,
    elements_len: usize,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            let key = key(key_, object.key_groups)?;
            let elements = all_bytes(elements, elements_len)?;
            object.writer.put_list(numbered(state), key, &elements)?;
            Ok(Status::Ok)
        })
    }
}

/// Moves what a key holds in some namespaces to `key`'s own: lists are appended to its list, values merged into its value. For list and
/// merging states.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_merge_namespaces(
    writer: alluvium_writer,
    state: u16,
    key_: *const alluvium_key,
    sources: *const alluvium_slice,
    sources_len: usize,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            let key = key(key_, object.key_groups)?;
            let sources = all_bytes(sources, sources_len)?;
            object.writer.merge_namespaces(numbered(state), key, &sources)?;
            Ok(Status::Ok)
        })
    }
}
