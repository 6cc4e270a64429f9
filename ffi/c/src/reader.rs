//! Readers: reads beside the writers, from any thread.

use crate::arguments::{answer, bytes, call, give, key, place};
use crate::buffer;
use crate::lists;
use crate::store::StoreObject;
use crate::types::*;
use crate::writer::numbered;
use alluvium::Reader;
use alluvium_ffi::handles::{self, Handle, Many};
use alluvium_ffi::{Kind, Object, Status};

/// What a reader's handle stands for.
#[derive(Debug)]
pub struct ReaderObject {
    pub(crate) reader: Reader,
    key_groups: u32,
    /// The store's handle.
    pub(crate) store: Handle,
}

// SAFETY: the only type of this kind, and `Sync`.
unsafe impl Object for ReaderObject {
    const KIND: Kind = Kind::Reader;
    type Mode = Many;
}

/// Makes a reader, of the whole store and beside its writers; with `committed` (0 or 1) of what is committed alone, in a transactional store. Close it with `alluvium_reader_close`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_reader_open(
    store: alluvium_store,
    committed: u32,
    reader: *mut alluvium_reader,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            place(reader, "reader")?;
            let committed = crate::arguments::flag(committed)?;
            let object = handles::get::<StoreObject>(store.id)?;
            let (opened, key_groups) = (object.store.reader(), object.store.key_groups());
            let opened = if committed { opened.committed() } else { opened };
            let id = handles::insert(ReaderObject { reader: opened, key_groups, store: store.id }, store.id)?;
            give(reader, "reader", alluvium_reader { id })?;
            Ok(Status::Ok)
        })
    }
}

/// Sets the clock that decides what is expired, in ms; it begins at 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_reader_set_time(
    reader: alluvium_reader,
    now_ms: u64,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            handles::get::<ReaderObject>(reader.id)?.reader.set_time_ms(now_ms);
            Ok(Status::Ok)
        })
    }
}

/// A value, as by `alluvium_writer_get`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_reader_get(
    reader: alluvium_reader,
    state: u16,
    key_: *const alluvium_key,
    memory: *mut u8,
    capacity: usize,
    len: *mut usize,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let object = handles::get::<ReaderObject>(reader.id)?;
            let value = object.reader.get(numbered(state), key(key_, object.key_groups)?)?;
            answer(value.as_deref(), memory, capacity, len)
        })
    }
}

/// A value, into a buffer, as by `alluvium_writer_get_buffer`: a copy that stays, whatever becomes of the store.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_reader_get_buffer(
    reader: alluvium_reader,
    state: u16,
    key_: *const alluvium_key,
    buffer: alluvium_buffer,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let object = handles::get::<ReaderObject>(reader.id)?;
            let value = object.reader.get(numbered(state), key(key_, object.key_groups)?)?;
            buffer::answer(buffer, value.as_deref())
        })
    }
}

/// A list, as by `alluvium_writer_list`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_reader_list(
    reader: alluvium_reader,
    state: u16,
    key_: *const alluvium_key,
    buffer: alluvium_buffer,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let object = handles::get::<ReaderObject>(reader.id)?;
            let elements = object.reader.list(numbered(state), key(key_, object.key_groups)?)?;
            buffer::filling(buffer, |out| {
                elements.iter().for_each(|element| lists::push(out, element));
                Ok(if elements.is_empty() { Status::NotFound } else { Status::Ok })
            })
        })
    }
}

/// The value of a map's entry, as by `alluvium_writer_map_get`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_reader_map_get(
    reader: alluvium_reader,
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
        call(error, || {
            let object = handles::get::<ReaderObject>(reader.id)?;
            let key = key(key_, object.key_groups)?;
            let value = object.reader.map_get(numbered(state), key, bytes(user_key)?)?;
            answer(value.as_deref(), memory, capacity, len)
        })
    }
}

/// The value of a map's entry, into a buffer, as by `alluvium_reader_get_buffer`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_reader_map_get_buffer(
    reader: alluvium_reader,
    state: u16,
    key_: *const alluvium_key,
    user_key: alluvium_slice,
    buffer: alluvium_buffer,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let object = handles::get::<ReaderObject>(reader.id)?;
            let key = key(key_, object.key_groups)?;
            let value = object.reader.map_get(numbered(state), key, bytes(user_key)?)?;
            buffer::answer(buffer, value.as_deref())
        })
    }
}

/// Whether a map has an entry: `ALLUVIUM_OK` or `ALLUVIUM_NOT_FOUND`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_reader_map_contains(
    reader: alluvium_reader,
    state: u16,
    key_: *const alluvium_key,
    user_key: alluvium_slice,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let object = handles::get::<ReaderObject>(reader.id)?;
            let key = key(key_, object.key_groups)?;
            let contains = object.reader.map_contains(numbered(state), key, bytes(user_key)?)?;
            Ok(if contains { Status::Ok } else { Status::NotFound })
        })
    }
}

/// Closes a reader: `ALLUVIUM_IN_USE` while a call uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_reader_close(reader: alluvium_reader, error: *mut alluvium_error) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { call(error, || Ok(handles::remove::<ReaderObject>(reader.id).map(|_| Status::Ok)?)) }
}
