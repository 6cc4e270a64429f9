//! Cursors: going through the keys of a state or the entries of a map, a batch of them a call.

use crate::arguments::{Outcome, bytes, call, give, key, map_range, place, range};
use crate::buffer::{self, Buffer};
use crate::reader::ReaderObject;
use crate::snapshot::SnapshotObject;
use crate::store::StoreObject;
use crate::types::*;
use crate::writer::{numbered, with};
use alluvium::{Cursor, Packed};
use alluvium_ffi::handles::{self, Handle, One};
use alluvium_ffi::{Failure, Kind, Misuse, Object, Status};

/// What a cursor's handle stands for.
#[derive(Debug)]
pub struct CursorObject {
    cursor: Cursor,
    packed: Packed,
    /// The store's handle.
    store: Handle,
    /// The snapshot whose own it became.
    snapshot: Option<Handle>,
}

// SAFETY: the only type of this kind.
unsafe impl Object for CursorObject {
    const KIND: Kind = Kind::Cursor;
    type Mode = One;
}

/// Makes a cursor with `make`, which is told how many key groups there are.
unsafe fn open(
    store: alluvium_store,
    cursor: *mut alluvium_cursor,
    error: *mut alluvium_error,
    make: impl FnOnce(u32) -> Result<Cursor, Failure>,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            place(cursor, "cursor")?;
            let key_groups = handles::get::<StoreObject>(store.id)?.store.key_groups();
            let made =
                CursorObject { cursor: make(key_groups)?, packed: Packed::default(), store: store.id, snapshot: None };
            give(cursor, "cursor", alluvium_cursor { id: handles::insert(made, store.id)? })?;
            Ok(Status::Ok)
        })
    }
}

/// A cursor of the keys of a state in a range of key groups, each once, whatever namespaces it has. Close it with
/// `alluvium_cursor_close`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_cursor_keys(
    store: alluvium_store,
    state: u16,
    range_: alluvium_range,
    cursor: *mut alluvium_cursor,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { open(store, cursor, error, |_| Ok(Cursor::keys(numbered(state), range(range_)?))) }
}

/// A cursor of the keys that a state has in one namespace. Close it with `alluvium_cursor_close`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_cursor_keys_in_namespace(
    store: alluvium_store,
    state: u16,
    range_: alluvium_range,
    ns: alluvium_slice,
    cursor: *mut alluvium_cursor,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        open(store, cursor, error, |_| Ok(Cursor::keys_in_namespace(numbered(state), range(range_)?, bytes(ns)?)))
    }
}

/// A cursor of the pairs of key and namespace of a state. Close it with `alluvium_cursor_close`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_cursor_keys_and_namespaces(
    store: alluvium_store,
    state: u16,
    range_: alluvium_range,
    cursor: *mut alluvium_cursor,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { open(store, cursor, error, |_| Ok(Cursor::keys_and_namespaces(numbered(state), range(range_)?))) }
}

/// A cursor of the entries of a map in a range; null: all of them. Close it with `alluvium_cursor_close`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_cursor_entries(
    store: alluvium_store,
    state: u16,
    key_: *const alluvium_key,
    range: *const alluvium_map_range,
    cursor: *mut alluvium_cursor,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        open(store, cursor, error, |key_groups| {
            Ok(Cursor::entries(numbered(state), key(key_, key_groups)?, &map_range(range)?))
        })
    }
}

/// How many records at most, and, but for the last of them, how many bytes a cursor gives a call: usually 4,096 and 1 MiB.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_cursor_set_batch(
    cursor: alluvium_cursor,
    records_max: usize,
    bytes_max: usize,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            handles::get::<CursorObject>(cursor.id)?.as_mut().packed = Packed::new(records_max, bytes_max);
            Ok(Status::Ok)
        })
    }
}

/// Runs what fetches a batch of a store, or of a snapshot of it, and leaves it in a buffer.
fn fetch(
    cursor: alluvium_cursor,
    (store, snapshot): (Handle, Option<Handle>),
    buffer: alluvium_buffer,
    fetch: impl FnOnce(&mut Cursor, &mut Packed) -> alluvium::Result<bool>,
) -> Outcome {
    let mut object = handles::get::<CursorObject>(cursor.id)?;
    let object = object.as_mut();
    if object.store != store {
        return Err(Misuse::Argument("a cursor of another store").into());
    }
    if object.snapshot.is_some() && object.snapshot != snapshot {
        return Err(Misuse::Argument("a cursor that belongs to a snapshot").into());
    }
    let CursorObject { cursor, packed, snapshot: owner, .. } = object;
    buffer::filling(buffer, |out: &mut Buffer| {
        // Not before: where the buffer is none nothing is done.
        *owner = snapshot;
        let more = fetch(cursor, packed)?;
        out.records = packed.len();
        packed.swap_out(&mut out.bytes);
        Ok(if more { Status::Ok } else { Status::NotFound })
    })
}

/// The next batch of what a cursor goes through, into a buffer, with the writer's view of it: `ALLUVIUM_NOT_FOUND` at the end, with an empty buffer.
/// A cursor that failed fails again with the same error; begin with a new one. `ALLUVIUM_ARGUMENT` for one of another store, or of a snapshot. Each record
/// is, little-endian and without padding: `key group u16 | len(key) u16 | len(namespace) u16 | len(user key) u16 | len(value) u32 | key |
/// namespace | user key | value`, with what the cursor doesn't give empty.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_fetch(
    writer: alluvium_writer,
    cursor: alluvium_cursor,
    buffer: alluvium_buffer,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            fetch(cursor, (object.store, None), buffer, |cursor, packed| object.writer.fetch(cursor, packed))
        })
    }
}

/// As `alluvium_writer_fetch`, with a reader's view.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_reader_fetch(
    reader: alluvium_reader,
    cursor: alluvium_cursor,
    buffer: alluvium_buffer,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let reader = handles::get::<ReaderObject>(reader.id)?;
            fetch(cursor, (reader.store, None), buffer, |cursor, packed| reader.reader.fetch(cursor, packed))
        })
    }
}

/// As `alluvium_writer_fetch`, in a snapshot, whose own the cursor is from then on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_snapshot_fetch(
    snapshot: alluvium_snapshot,
    cursor: alluvium_cursor,
    buffer: alluvium_buffer,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let object = handles::get::<SnapshotObject>(snapshot.id)?;
            let owner = (object.store, Some(snapshot.id));
            fetch(cursor, owner, buffer, |cursor, packed| object.snapshot.fetch(cursor, packed))
        })
    }
}

/// Closes a cursor. Files that it goes through stay on disk until then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_cursor_close(cursor: alluvium_cursor, error: *mut alluvium_error) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { call(error, || Ok(handles::remove::<CursorObject>(cursor.id).map(|_| Status::Ok)?)) }
}
