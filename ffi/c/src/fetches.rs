//! What a store wants of its host: segments that are elsewhere.

use crate::arguments::{array_mut, call, give, long_bytes, place, text};
use crate::files::name_out;
use crate::store::StoreObject;
use crate::types::*;
use alluvium::platform::storage::Fault;
use alluvium::{FetchRequest, Fetches};
use alluvium_ffi::handles::{self, Many};
use alluvium_ffi::{Failure, Kind, Misuse, Object, Status};
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

/// The host doesn't have the file any more.
pub const ALLUVIUM_FAULT_MISSING: u32 = 0;
/// The file has another length than it had.
pub const ALLUVIUM_FAULT_LENGTH: u32 = 1;
/// The file has other bytes than it had.
pub const ALLUVIUM_FAULT_CORRUPT: u32 = 2;

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
    let patience = Duration::from_millis(timeout_ms);
    // SAFETY: the contract of the crate's head.
    unsafe {
        wanted(fetches, (requests, requests_len), count, error, |fetches| match timeout_ms {
            0 => fetches.poll(requests_len),
            _ => fetches.wait(requests_len, patience),
        })
    }
}

/// As `alluvium_fetches_wait`, but gives only what somebody waits for: for a host that brings the rest more slowly, or by a thread of its own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_fetches_wait_demanded(
    fetches: alluvium_fetches,
    timeout_ms: u64,
    requests: *mut alluvium_fetch_request,
    requests_len: usize,
    count: *mut usize,
    error: *mut alluvium_error,
) -> alluvium_status {
    let patience = Duration::from_millis(timeout_ms);
    // SAFETY: the contract of the crate's head.
    unsafe {
        wanted(fetches, (requests, requests_len), count, error, |fetches| fetches.wait_demanded(requests_len, patience))
    }
}

unsafe fn wanted(
    fetches: alluvium_fetches,
    (requests, requests_len): (*mut alluvium_fetch_request, usize),
    count: *mut usize,
    error: *mut alluvium_error,
    ask: impl FnOnce(&Fetches) -> Vec<FetchRequest>,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            place(count, "count")?;
            let places = array_mut(requests, requests_len)?;
            let object = handles::get::<FetchesObject>(fetches.id)?;
            let wanted = ask(&object.0);
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

/// Has the host's threads that wait in `alluvium_fetches_wait` or `alluvium_fetches_wait_demanded` return now, with or without anything.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_fetches_wake(
    fetches: alluvium_fetches,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            handles::get::<FetchesObject>(fetches.id)?.0.wake();
            Ok(Status::Ok)
        })
    }
}

/// Has these bytes of a file wanted in the background before what was not preferred, in the order of these calls, and also where the host failed to bring
/// them before. Nothing comes of it where the file is here already, or isn't one of the store's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_fetches_prefer(
    fetches: alluvium_fetches,
    file: *const c_char,
    offset: u64,
    len: u64,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            handles::get::<FetchesObject>(fetches.id)?.0.prefer(text(file, "file")?, offset, len);
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

/// As `alluvium_fetches_fail`, where the host knows that it will never have it as it was: who waits for it gets `ALLUVIUM_CORRUPT`. `fault` is
/// `ALLUVIUM_FAULT_...`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_fetches_refuse(
    fetches: alluvium_fetches,
    id: u64,
    fault: u32,
    problem: *const c_char,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let fault = match fault {
                ALLUVIUM_FAULT_MISSING => Fault::Missing,
                ALLUVIUM_FAULT_LENGTH => Fault::Length,
                ALLUVIUM_FAULT_CORRUPT => Fault::Corrupt,
                _ => return Err(Misuse::Argument("an unknown fault of a file").into()),
            };
            handles::get::<FetchesObject>(fetches.id)?.0.refuse(id, fault, text(problem, "problem")?);
            Ok(Status::Ok)
        })
    }
}

/// Has every read that waits now fail with `ALLUVIUM_ABSENT` (it doesn't end `alluvium_fetches_wait`: `alluvium_fetches_wake` does): a task that is cancelled must not wait for the network.
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

/// How many bytes are not here yet, of all files.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_fetches_absent_bytes(
    fetches: alluvium_fetches,
    bytes: *mut u64,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            give(bytes, "bytes", handles::get::<FetchesObject>(fetches.id)?.0.bytes_absent())?;
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
