//! What a handler does to state beside single values: lists, namespaces, parts of maps, and changes of values.

use crate::arguments::{NOTHING, all_bytes, bytes, copied_key, key, map_range, slice};
use crate::events::{alluvium_applying, alluvium_entry_fn, changing, inside};
use crate::types::*;
use crate::writer::{Callbacks, numbered};
use alluvium::{Applying, Key};
use alluvium_ffi::copied::Room;
use alluvium_ffi::{Failure, Misuse, Status};
use std::ffi::c_void;

/// Reads a value and writes what `change` makes of it, as by `alluvium_writer_update`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_applying_update(
    applying: alluvium_applying,
    state: u16,
    key_: *const alluvium_key,
    change: alluvium_update_fn,
    context: *mut c_void,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        let operation = |inner: &mut Applying<'_>, key_groups| {
            let mut callbacks = Callbacks::new(change, context, true)?;
            let mut room = Room::new();
            let (key, _) = copied_key(&mut room, key_, NOTHING, key_groups)?;
            inner.update(numbered(state), key, |old| callbacks.change(0, old))?;
            Ok(callbacks)
        };
        inside(applying, error, operation, |callbacks| callbacks.outcome())
    }
}

/// Appends several elements to a list, as by `alluvium_writer_append_all`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_applying_append_all(
    applying: alluvium_applying,
    state: u16,
    key_: *const alluvium_key,
    elements: *const alluvium_slice,
    elements_len: usize,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        changing(applying, key_, error, |inner, key| {
            Ok(inner.append_all(numbered(state), key, &all_bytes(elements, elements_len)?)?)
        })
    }
}

/// Replaces a list; an empty one deletes it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_applying_put_list(
    applying: alluvium_applying,
    state: u16,
    key_: *const alluvium_key,
    elements: *const alluvium_slice,
    elements_len: usize,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        changing(applying, key_, error, |inner, key| {
            Ok(inner.put_list(numbered(state), key, &all_bytes(elements, elements_len)?)?)
        })
    }
}

/// Moves what a key holds in some namespaces to `key`'s own, as by `alluvium_writer_merge_namespaces`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_applying_merge_namespaces(
    applying: alluvium_applying,
    state: u16,
    key_: *const alluvium_key,
    sources: *const alluvium_slice,
    sources_len: usize,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        changing(applying, key_, error, |inner, key| {
            Ok(inner.merge_namespaces(numbered(state), key, &all_bytes(sources, sources_len)?)?)
        })
    }
}

/// Whether a map has an entry: `ALLUVIUM_OK` or `ALLUVIUM_NOT_FOUND`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_applying_map_contains(
    applying: alluvium_applying,
    state: u16,
    key_: *const alluvium_key,
    user_key: alluvium_slice,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        let operation = |inner: &mut Applying<'_>, key_groups| {
            Ok(inner.map_contains(numbered(state), key(key_, key_groups)?, bytes(user_key)?)?)
        };
        inside(applying, error, operation, |contains| Ok(if contains { Status::Ok } else { Status::NotFound }))
    }
}

/// Deletes the entries of a map in a range, whatever its direction; null: all of them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_applying_map_delete_range(
    applying: alluvium_applying,
    state: u16,
    key_: *const alluvium_key,
    range: *const alluvium_map_range,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        changing(applying, key_, error, |inner, key| {
            Ok(inner.map_delete_range(numbered(state), key, &map_range(range)?)?)
        })
    }
}

/// Has `look` look at the entry of a map with the smallest user key; what it returns is of no account. `ALLUVIUM_NOT_FOUND` where there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_applying_map_first(
    applying: alluvium_applying,
    state: u16,
    key_: *const alluvium_key,
    look: alluvium_entry_fn,
    context: *mut c_void,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { entry(applying, key_, (look, context), error, |inner, key| inner.map_first(numbered(state), key)) }
}

/// Takes the entry with the smallest user key out of a map, and has `look` look at it as `alluvium_applying_map_first` does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_applying_map_pop_first(
    applying: alluvium_applying,
    state: u16,
    key_: *const alluvium_key,
    look: alluvium_entry_fn,
    context: *mut c_void,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { entry(applying, key_, (look, context), error, |inner, key| inner.map_pop_first(numbered(state), key)) }
}

/// A user key and its value.
type Entry = (Vec<u8>, Vec<u8>);

unsafe fn entry(
    applying: alluvium_applying,
    key_: *const alluvium_key,
    (look, context): (alluvium_entry_fn, *mut c_void),
    error: *mut alluvium_error,
    operation: impl FnOnce(&mut Applying<'_>, Key<'_>) -> alluvium::Result<Option<Entry>>,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        let operation = |inner: &mut Applying<'_>, key_groups| -> Result<Option<Entry>, Failure> {
            // Before anything is taken out.
            look.ok_or(Misuse::Null("look"))?;
            let found = operation(inner, key(key_, key_groups)?)?;
            if let (Some((user_key, value)), Some(look)) = (&found, look) {
                look(context, slice(user_key), slice(value));
            }
            Ok(found)
        };
        inside(applying, error, operation, |found| Ok(if found.is_some() { Status::Ok } else { Status::NotFound }))
    }
}
