//! Loads of sorted data, which go to disk at once.

use crate::arguments::{all_bytes, bytes, call, give, key, place};
use crate::store::StoreObject;
use crate::types::*;
use crate::writer::numbered;
use alluvium::{BulkLoad, Store};
use alluvium_ffi::handles::{self, One};
use alluvium_ffi::{Kind, Object, Status};
use std::sync::Arc;

/// What a load's handle stands for.
#[derive(Debug)]
pub struct LoadObject {
    /// Borrows from `store`, so it goes first: fields are dropped in their order.
    load: BulkLoad<'static>,
    key_groups: u32,
    /// Counted, so that it stays where it is when this moves.
    _store: Arc<Store>,
}

// SAFETY: the only type of this kind.
unsafe impl Object for LoadObject {
    const KIND: Kind = Kind::BulkLoad;
    type Mode = One;
}

impl LoadObject {
    fn new(store: &Store, records: u64) -> alluvium::Result<Self> {
        let (store, key_groups) = (Arc::new(store.clone()), store.key_groups());
        // SAFETY: it is kept, untouched, for as long as what borrows from it.
        let borrowed: &'static Store = unsafe { &*std::ptr::from_ref(&*store) };
        Ok(Self { load: borrowed.bulk_load(records)?, key_groups, _store: store })
    }
}

/// Begins a load of about so many records, which come in the order of key group, state, key, namespace and user key. Nothing of it is there
/// to be read before `alluvium_bulk_finish`, which closes it, as `alluvium_bulk_abandon` does.
/// A load of which something could not be written has failed: it takes no more records and doesn't end well, and says so with `ALLUVIUM_OPTIONS`
/// where the first error was of the class `ALLUVIUM_CLASS_RETRY`. Give it up, and begin another one. What was refused as wrong changes nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_bulk_begin(
    store: alluvium_store,
    records: u64,
    load: *mut alluvium_bulk_load,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            place(load, "load")?;
            let begun = LoadObject::new(&handles::get::<StoreObject>(store.id)?.store, records)?;
            let id = handles::insert(begun, store.id)?;
            give(load, "load", alluvium_bulk_load { id })?;
            Ok(Status::Ok)
        })
    }
}

/// Sets the clock by which what is loaded from now on expires, in ms; it begins at 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_bulk_set_time(
    load: alluvium_bulk_load,
    now_ms: u64,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            handles::get::<LoadObject>(load.id)?.as_mut().load.set_time_ms(now_ms);
            Ok(Status::Ok)
        })
    }
}

/// Loads a value. `ALLUVIUM_OPTIONS` where it doesn't come behind what was loaded before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_bulk_put(
    load: alluvium_bulk_load,
    state: u16,
    key_: *const alluvium_key,
    value: alluvium_slice,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let mut object = handles::get::<LoadObject>(load.id)?;
            let object = object.as_mut();
            let key = key(key_, object.key_groups)?;
            object.load.put(numbered(state), key, bytes(value)?)?;
            Ok(Status::Ok)
        })
    }
}

/// Loads a list, which isn't empty, as by `alluvium_bulk_put`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_bulk_put_list(
    load: alluvium_bulk_load,
    state: u16,
    key_: *const alluvium_key,
    elements: *const alluvium_slice,
    elements_len: usize,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let mut object = handles::get::<LoadObject>(load.id)?;
            let object = object.as_mut();
            let key = key(key_, object.key_groups)?;
            let elements = all_bytes(elements, elements_len)?;
            object.load.put_list(numbered(state), key, &elements)?;
            Ok(Status::Ok)
        })
    }
}

/// Loads an entry of a map, as by `alluvium_bulk_put`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_bulk_map_put(
    load: alluvium_bulk_load,
    state: u16,
    key_: *const alluvium_key,
    user_key: alluvium_slice,
    value: alluvium_slice,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let mut object = handles::get::<LoadObject>(load.id)?;
            let object = object.as_mut();
            let key = key(key_, object.key_groups)?;
            object.load.map_put(numbered(state), key, bytes(user_key)?, bytes(value)?)?;
            Ok(Status::Ok)
        })
    }
}

/// Ends a load: what was loaded is there to be read, all at once. `ALLUVIUM_STATE` where the store has something of it already: then nothing
/// is loaded. The handle is none from then on, whatever this comes to but for a misuse.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_bulk_finish(load: alluvium_bulk_load, error: *mut alluvium_error) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            // The store isn't closed meanwhile.
            let (object, _parent) = handles::remove::<LoadObject>(load.id)?.into_parts();
            let LoadObject { load, _store, .. } = object;
            load.finish()?;
            Ok(Status::Ok)
        })
    }
}

/// Gives a load up: nothing of it is loaded.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_bulk_abandon(
    load: alluvium_bulk_load,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { call(error, || Ok(handles::remove::<LoadObject>(load.id).map(|_| Status::Ok)?)) }
}
