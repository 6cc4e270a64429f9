//! The past: a store as it was at a checkpoint that is kept, or at a position of its changelog; and keys that are brought back to it.

use crate::arguments::{NOTHING, answer, array, bytes, call, copied_key, give, key, map_range, place, range};
use crate::buffer;
use crate::lists;
use crate::maps;
use crate::snapshot::SnapshotObject;
use crate::store::StoreObject;
use crate::types::*;
use crate::writer::{WriterObject, numbered, with};
use alluvium::{AsOf, KeyScope, Past, RolledBack};
use alluvium_ffi::copied::Room;
use alluvium_ffi::handles::{self, Many};
use alluvium_ffi::{Kind, Misuse, Object, Status};
use std::ops::ControlFlow;

/// What the handle of a view of the past stands for.
#[derive(Debug)]
pub struct PastObject {
    past: Past,
    key_groups: u32,
}

// SAFETY: the only type of this kind, and `Sync`.
unsafe impl Object for PastObject {
    const KIND: Kind = Kind::Past;
    type Mode = Many;
}

/// A moment is a checkpoint that is kept, by its label.
pub const ALLUVIUM_AS_OF_LABEL: u32 = 0;
/// A moment is a position of the changelog.
pub const ALLUVIUM_AS_OF_POSITION: u32 = 1;

/// What was brought back.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_rolled_back {
    /// How many keys (a map is one) were written to, as they differed.
    pub keys: u64,
    /// How many values, lists and entries were written or deleted.
    pub changes: u64,
    /// The bytes of their keys and values.
    pub bytes: u64,
}

/// The store as it was at a checkpoint that is kept, as a snapshot: `ALLUVIUM_CHECKPOINT` where none of this label is kept, and the error says which
/// are; `ALLUVIUM_BUSY` while as many as the options allow live. Nothing is flushed for it. States that were registered later are empty;
/// those that were migrated since are refused with `ALLUVIUM_STATE`. Close it with `alluvium_snapshot_close`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_as_of(
    store: alluvium_store,
    label: u64,
    snapshot: *mut alluvium_snapshot,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            place(snapshot, "snapshot")?;
            let object = handles::get::<StoreObject>(store.id)?;
            let (taken, key_groups) = (object.store.as_of(label)?, object.store.key_groups());
            let id = handles::insert(SnapshotObject { snapshot: taken, key_groups, store: store.id }, store.id)?;
            give(snapshot, "snapshot", alluvium_snapshot { id })?;
            Ok(Status::Ok)
        })
    }
}

/// The position in the changelog behind everything that was done so far, committed or not; 0 where there never was one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_position(
    store: alluvium_store,
    position: *mut u64,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            place(position, "position")?;
            give(position, "position", handles::get::<StoreObject>(store.id)?.store.position()?)?;
            Ok(Status::Ok)
        })
    }
}

/// The store as it was at a position of its changelog: every change that ends there or before; of a transactional store, what was committed
/// by then. Needs `history_checkpoints`: `ALLUVIUM_OPTIONS` without; `ALLUVIUM_POSITION` where the history doesn't go back so far, or
/// the changelog not so far forward; `ALLUVIUM_BUSY` as of `alluvium_store_snapshot`, with which these views are counted. Each read goes
/// through the changelog between the nearest checkpoint and the position. Close it with `alluvium_past_close`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_as_of_position(
    store: alluvium_store,
    position: u64,
    past: *mut alluvium_past,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            place(past, "past")?;
            let object = handles::get::<StoreObject>(store.id)?;
            let (view, key_groups) = (object.store.as_of_position(position)?, object.store.key_groups());
            let id = handles::insert(PastObject { past: view, key_groups }, store.id)?;
            give(past, "past", alluvium_past { id })?;
            Ok(Status::Ok)
        })
    }
}

/// The position that it is a view at.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_past_position(
    past: alluvium_past,
    position: *mut u64,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            give(position, "position", handles::get::<PastObject>(past.id)?.past.position())?;
            Ok(Status::Ok)
        })
    }
}

/// Sets the clock that decides what is expired, in ms; it begins at 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_past_set_time(
    past: alluvium_past,
    now_ms: u64,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            handles::get::<PastObject>(past.id)?.past.set_time_ms(now_ms);
            Ok(Status::Ok)
        })
    }
}

/// A value, as by `alluvium_writer_get`. `ALLUVIUM_POSITION` where it can't be told: events of its key group, a bulk load or a migration lie
/// behind the nearest checkpoint.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_past_get(
    past: alluvium_past,
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
            let object = handles::get::<PastObject>(past.id)?;
            let value = object.past.get(numbered(state), key(key_, object.key_groups)?)?;
            answer(value.as_deref(), memory, capacity, len)
        })
    }
}

/// A value, into a buffer, as by `alluvium_writer_get_buffer`: a copy that stays, whatever becomes of the store.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_past_get_buffer(
    past: alluvium_past,
    state: u16,
    key_: *const alluvium_key,
    buffer: alluvium_buffer,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let object = handles::get::<PastObject>(past.id)?;
            let value = object.past.get(numbered(state), key(key_, object.key_groups)?)?;
            buffer::answer(buffer, value.as_deref())
        })
    }
}

/// A list, as by `alluvium_writer_list`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_past_list(
    past: alluvium_past,
    state: u16,
    key_: *const alluvium_key,
    buffer: alluvium_buffer,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let object = handles::get::<PastObject>(past.id)?;
            let elements = object.past.list(numbered(state), key(key_, object.key_groups)?)?;
            buffer::filling(buffer, |out| {
                elements.iter().for_each(|element| lists::push(out, element));
                Ok(if elements.is_empty() { Status::NotFound } else { Status::Ok })
            })
        })
    }
}

/// The value of a map's entry, as by `alluvium_writer_map_get`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_past_map_get(
    past: alluvium_past,
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
            let object = handles::get::<PastObject>(past.id)?;
            let key = key(key_, object.key_groups)?;
            let value = object.past.map_get(numbered(state), key, bytes(user_key)?)?;
            answer(value.as_deref(), memory, capacity, len)
        })
    }
}

/// The value of a map's entry, into a buffer, as by `alluvium_past_get_buffer`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_past_map_get_buffer(
    past: alluvium_past,
    state: u16,
    key_: *const alluvium_key,
    user_key: alluvium_slice,
    buffer: alluvium_buffer,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let object = handles::get::<PastObject>(past.id)?;
            let key = key(key_, object.key_groups)?;
            let value = object.past.map_get(numbered(state), key, bytes(user_key)?)?;
            buffer::answer(buffer, value.as_deref())
        })
    }
}

/// The entries of a map in a range, in order, all at once, into a buffer, records as of `alluvium_writer_map_first`; null: all of them.
/// `ALLUVIUM_NOT_FOUND` where there are none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_past_map_entries(
    past: alluvium_past,
    state: u16,
    key_: *const alluvium_key,
    range: *const alluvium_map_range,
    buffer: alluvium_buffer,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let object = handles::get::<PastObject>(past.id)?;
            let (key, range) = (key(key_, object.key_groups)?, map_range(range)?);
            buffer::filling(buffer, |out| {
                let mut found = false;
                object.past.map_scan(numbered(state), key, &range, |user_key, value| {
                    maps::push(out, user_key, value);
                    found = true;
                    ControlFlow::Continue(())
                })?;
                Ok(if found { Status::Ok } else { Status::NotFound })
            })
        })
    }
}

/// Closes a view: `ALLUVIUM_IN_USE` while a call uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_past_close(past: alluvium_past, error: *mut alluvium_error) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { call(error, || Ok(handles::remove::<PastObject>(past.id).map(|_| Status::Ok)?)) }
}

fn moment(as_of: u32, which: u64) -> Result<AsOf, Misuse> {
    match as_of {
        ALLUVIUM_AS_OF_LABEL => Ok(AsOf::Label(which)),
        ALLUVIUM_AS_OF_POSITION => Ok(AsOf::Position(which)),
        _ => Err(Misuse::Argument("an unknown kind of moment")),
    }
}

unsafe fn bring_back(
    writer: alluvium_writer,
    (as_of, which): (u32, u64),
    done: *mut alluvium_rolled_back,
    error: *mut alluvium_error,
    run: impl FnOnce(&mut WriterObject, AsOf) -> Result<RolledBack, alluvium_ffi::Failure>,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            place(done, "done")?;
            let RolledBack { keys, changes, bytes } = run(object, moment(as_of, which)?)?;
            give(done, "done", alluvium_rolled_back { keys, changes, bytes })?;
            Ok(Status::Ok)
        })
    }
}

/// Brings keys of a writer back to what they were at a moment (`ALLUVIUM_AS_OF_...`, and the label or position), each in the state at the same place of
/// `states`: values, lists, merged values and whole maps, with the times at which they expire. What wasn't there then is deleted, what is
/// equal isn't written. These are changes as any others. Where it fails, keys before the one that it failed at are brought back, and the
/// same call goes on. `ALLUVIUM_CHECKPOINT`, `ALLUVIUM_POSITION` and `ALLUVIUM_STATE` where it can't be told what they were.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_rollback_keys(
    writer: alluvium_writer,
    states: *const u16,
    keys_: *const alluvium_key,
    keys_len: usize,
    as_of: u32,
    which: u64,
    done: *mut alluvium_rolled_back,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        bring_back(writer, (as_of, which), done, error, |object, to| {
            // They are looked at more than once.
            let given: Vec<_> = array(states, keys_len)?.iter().zip(array(keys_, keys_len)?).collect();
            let mut rooms: Vec<Room> = given.iter().map(|_| Room::new()).collect();
            let mut keys = Vec::with_capacity(given.len());
            for (room, (state, key)) in rooms.iter_mut().zip(given) {
                let (key, _) = copied_key(room, key, NOTHING, object.key_groups)?;
                keys.push((numbered(*state), key));
            }
            Ok(object.writer.rollback_keys(&KeyScope::Keys(&keys), to)?)
        })
    }
}

/// As `alluvium_writer_rollback_keys`, the keys of a state in a range of the writer's key groups that begin with a prefix, in all namespaces.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_rollback_prefix(
    writer: alluvium_writer,
    state: u16,
    groups: alluvium_range,
    prefix: alluvium_slice,
    as_of: u32,
    which: u64,
    done: *mut alluvium_rolled_back,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        bring_back(writer, (as_of, which), done, error, |object, to| {
            let (groups, prefix) = (range(groups)?, bytes(prefix)?.to_vec());
            let scope = KeyScope::Prefix { state: numbered(state), groups, prefix: &prefix };
            Ok(object.writer.rollback_keys(&scope, to)?)
        })
    }
}
