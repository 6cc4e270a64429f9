//! Snapshots: a store as it was, to be read while it goes on.

use crate::arguments::{answer, bytes, call, give, key, place};
use crate::buffer;
use crate::lists;
use crate::store::StoreObject;
use crate::types::*;
use crate::writer::numbered;
use alluvium::Snapshot;
use alluvium_ffi::handles::{self, Handle, Many};
use alluvium_ffi::{Kind, Object, Status};

/// What a snapshot's handle stands for.
#[derive(Debug)]
pub struct SnapshotObject {
    pub(crate) snapshot: Snapshot,
    pub(crate) key_groups: u32,
    /// The store's handle.
    pub(crate) store: Handle,
}

// SAFETY: the only type of this kind, and `Sync`.
unsafe impl Object for SnapshotObject {
    const KIND: Kind = Kind::Snapshot;
    type Mode = Many;
}

/// Takes a snapshot, of a transactional store as the last commit left it: `ALLUVIUM_BUSY` while as many as the options allow live. It keeps
/// files on disk until it is closed with `alluvium_snapshot_close`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_snapshot(
    store: alluvium_store,
    snapshot: *mut alluvium_snapshot,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            place(snapshot, "snapshot")?;
            let object = handles::get::<StoreObject>(store.id)?;
            let (taken, key_groups) = (object.store.snapshot()?, object.store.key_groups());
            let id = handles::insert(SnapshotObject { snapshot: taken, key_groups, store: store.id }, store.id)?;
            give(snapshot, "snapshot", alluvium_snapshot { id })?;
            Ok(Status::Ok)
        })
    }
}

/// Sets the clock that decides what is expired, in ms; it begins at 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_snapshot_set_time(
    snapshot: alluvium_snapshot,
    now_ms: u64,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            handles::get::<SnapshotObject>(snapshot.id)?.snapshot.set_time_ms(now_ms);
            Ok(Status::Ok)
        })
    }
}

/// A value, as by `alluvium_writer_get`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_snapshot_get(
    snapshot: alluvium_snapshot,
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
            let object = handles::get::<SnapshotObject>(snapshot.id)?;
            let value = object.snapshot.get(numbered(state), key(key_, object.key_groups)?)?;
            answer(value.as_deref(), memory, capacity, len)
        })
    }
}

/// A value, into a buffer, as by `alluvium_writer_get_buffer`: a copy that stays, whatever becomes of the store.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_snapshot_get_buffer(
    snapshot: alluvium_snapshot,
    state: u16,
    key_: *const alluvium_key,
    buffer: alluvium_buffer,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let object = handles::get::<SnapshotObject>(snapshot.id)?;
            let value = object.snapshot.get(numbered(state), key(key_, object.key_groups)?)?;
            buffer::answer(buffer, value.as_deref())
        })
    }
}

/// A list, as by `alluvium_writer_list`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_snapshot_list(
    snapshot: alluvium_snapshot,
    state: u16,
    key_: *const alluvium_key,
    buffer: alluvium_buffer,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let object = handles::get::<SnapshotObject>(snapshot.id)?;
            let elements = object.snapshot.list(numbered(state), key(key_, object.key_groups)?)?;
            buffer::filling(buffer, |out| {
                elements.iter().for_each(|element| lists::push(out, element));
                Ok(if elements.is_empty() { Status::NotFound } else { Status::Ok })
            })
        })
    }
}

/// The value of a map's entry, as by `alluvium_writer_map_get`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_snapshot_map_get(
    snapshot: alluvium_snapshot,
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
            let object = handles::get::<SnapshotObject>(snapshot.id)?;
            let key = key(key_, object.key_groups)?;
            let value = object.snapshot.map_get(numbered(state), key, bytes(user_key)?)?;
            answer(value.as_deref(), memory, capacity, len)
        })
    }
}

/// The value of a map's entry, into a buffer, as by `alluvium_snapshot_get_buffer`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_snapshot_map_get_buffer(
    snapshot: alluvium_snapshot,
    state: u16,
    key_: *const alluvium_key,
    user_key: alluvium_slice,
    buffer: alluvium_buffer,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let object = handles::get::<SnapshotObject>(snapshot.id)?;
            let key = key(key_, object.key_groups)?;
            let value = object.snapshot.map_get(numbered(state), key, bytes(user_key)?)?;
            buffer::answer(buffer, value.as_deref())
        })
    }
}

/// Waits until what a snapshot holds is flushed. Reads do so by themselves.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_snapshot_wait(
    snapshot: alluvium_snapshot,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            handles::get::<SnapshotObject>(snapshot.id)?.snapshot.wait()?;
            Ok(Status::Ok)
        })
    }
}

/// Closes a snapshot: `ALLUVIUM_IN_USE` while a call uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_snapshot_close(
    snapshot: alluvium_snapshot,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { call(error, || Ok(handles::remove::<SnapshotObject>(snapshot.id).map(|_| Status::Ok)?)) }
}
