//! What a store wants of its host: segments that are elsewhere.

use crate::arguments::{array_mut, call, give, long_bytes, place, text};
use crate::checkpoint::name_out;
use crate::store::StoreObject;
use crate::types::*;
use alluvium::Fetches;
use alluvium_ffi::handles::{self, Many};
use alluvium_ffi::{Failure, Kind, Object, Status};
use std::ffi::c_char;
use std::sync::Arc;
use std::time::Duration;

/// What the handle of a store's wants stands for.
#[derive(Debug)]
pub struct FetchesObject(Arc<Fetches>);

// SAFETY: the only type of this kind, and `Sync`.
unsafe impl Object for FetchesObject {
    const KIND: Kind = Kind::Fetches;
    type Mode = Many;
}

/// Bytes of a file that a store wants.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_fetch_request {
    /// What the answer names.
    pub id: u64,
    /// The file's name, as in `alluvium_file`.
    pub file: [c_char; 64],
    /// From where, in bytes.
    pub offset: u64,
    /// How many bytes.
    pub len: usize,
    /// Whether somebody waits for it: 0 or 1.
    pub on_demand: u32,
}

/// What a store wants of its host; `ALLUVIUM_NOT_FOUND` without the option `fetch`. Close it with `alluvium_fetches_close`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_fetches(
    store: alluvium_store,
    fetches: *mut alluvium_fetches,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            place(fetches, "fetches")?;
            let Some(wants) = handles::get::<StoreObject>(store.id)?.store.fetches() else {
                return Ok(Status::NotFound);
            };
            let id = handles::insert(FetchesObject(wants), store.id)?;
            give(fetches, "fetches", alluvium_fetches { id })?;
            Ok(Status::Ok)
        })
    }
}

/// What is wanted now, at most `requests_len` requests, what somebody waits for first; waits up to `timeout_ms` until there is anything.
/// Each request is given once, and answered with `alluvium_fetches_complete` or `alluvium_fetches_fail`, in any order.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_fetches_wait(
    fetches: alluvium_fetches,
    timeout_ms: u64,
    requests: *mut alluvium_fetch_request,
    requests_len: usize,
    count: *mut usize,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            place(count, "count")?;
            let places = array_mut(requests, requests_len)?;
            let object = handles::get::<FetchesObject>(fetches.id)?;
            let wanted = match timeout_ms {
                0 => object.0.poll(requests_len),
                _ => object.0.wait(requests_len, Duration::from_millis(timeout_ms)),
            };
            for (place, request) in places.iter_mut().zip(&wanted) {
                *place = alluvium_fetch_request {
                    id: request.id,
                    file: name_out(&request.file),
                    offset: request.offset,
                    len: request.len,
                    on_demand: u32::from(request.on_demand),
                };
            }
            give(count, "count", wanted.len())?;
            Ok(Status::Ok)
        })
    }
}

/// Brings what a request asked for, all of it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_fetches_complete(
    fetches: alluvium_fetches,
    id: u64,
    data: alluvium_slice,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let object = handles::get::<FetchesObject>(fetches.id)?;
            let brought = object.0.complete(id, long_bytes(data)?);
            brought.map_err(|error| Failure::from(alluvium::Error::from(error)))?;
            Ok(Status::Ok)
        })
    }
}

/// Says that the host can't bring what a request asked for: who waits for it gets `ALLUVIUM_ABSENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_fetches_fail(
    fetches: alluvium_fetches,
    id: u64,
    problem: *const c_char,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            handles::get::<FetchesObject>(fetches.id)?.0.fail(id, text(problem, "problem")?);
            Ok(Status::Ok)
        })
    }
}

/// Has every read that waits now fail with `ALLUVIUM_ABSENT` (it doesn't end `alluvium_fetches_wait`, which has a time limit for that): a task that is cancelled must not wait for the network.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_fetches_cancel(
    fetches: alluvium_fetches,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            handles::get::<FetchesObject>(fetches.id)?.0.cancel_waits();
            Ok(Status::Ok)
        })
    }
}

/// How many files are not here yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_fetches_absent(
    fetches: alluvium_fetches,
    count: *mut usize,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            give(count, "count", handles::get::<FetchesObject>(fetches.id)?.0.files_absent())?;
            Ok(Status::Ok)
        })
    }
}

/// Closes the handle; the store wants what it wants all the same. `ALLUVIUM_IN_USE` while a call waits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_fetches_close(
    fetches: alluvium_fetches,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { call(error, || Ok(handles::remove::<FetchesObject>(fetches.id).map(|_| Status::Ok)?)) }
}
