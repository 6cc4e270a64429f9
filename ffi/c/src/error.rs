//! What went wrong, in words; and the library's version.

use crate::arguments::{call, give, place};
use crate::types::*;
use alluvium::Class;
use alluvium_ffi::handles::{self, Many};
use alluvium_ffi::{Failure, Kind, Object, Status};
use std::ffi::{CString, c_char};

/// What an error's handle stands for.
#[derive(Debug)]
pub struct Told {
    status: Status,
    class: i32,
    message: CString,
}

// SAFETY: the only type of this kind, and `Sync`.
unsafe impl Object for Told {
    const KIND: Kind = Kind::Error;
    type Mode = Many;
}

/// Leaves an error with the caller, who may not want it.
#[cold]
pub(crate) unsafe fn tell(error: *mut alluvium_error, failure: Failure) -> alluvium_status {
    let status = failure.status();
    if place(error, "error").is_ok() {
        let message = CString::new(failure.to_string().replace('\0', " ")).unwrap_or_default();
        let class = match &failure {
            Failure::Engine(error) => class_number(Some(error.class())),
            _ => class_number(status.class()),
        };
        let id = handles::insert(Told { status, class, message }, 0).unwrap_or(0);
        // SAFETY: the caller's `error`.
        let _misaligned = unsafe { give(error, "error", alluvium_error { id }) };
    }
    status.code()
}

const fn class_number(class: Option<Class>) -> i32 {
    match class {
        None => ALLUVIUM_CLASS_NONE,
        Some(Class::Retry) => ALLUVIUM_CLASS_RETRY,
        Some(Class::Usage) => ALLUVIUM_CLASS_USAGE,
        Some(Class::Fail) => ALLUVIUM_CLASS_FAIL,
        Some(Class::Corrupt) => ALLUVIUM_CLASS_CORRUPT,
    }
}

/// The error's status, its class (`ALLUVIUM_CLASS_...`), and its message, which stays until the error is freed. Any of the three may be
/// null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_error_get(
    error: alluvium_error,
    status: *mut alluvium_status,
    class_: *mut i32,
    message: *mut *const c_char,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(std::ptr::null_mut(), || {
            let told = handles::get::<Told>(error.id)?;
            if !status.is_null() {
                give(status, "status", told.status.code())?;
            }
            if !class_.is_null() {
                give(class_, "class_", told.class)?;
            }
            if !message.is_null() {
                give(message, "message", told.message.as_ptr())?;
            }
            Ok(Status::Ok)
        })
    }
}

/// Frees an error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_error_free(error: alluvium_error) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { call(std::ptr::null_mut(), || Ok(handles::remove::<Told>(error.id).map(|_| Status::Ok)?)) }
}

/// A few words on a status, for logs; never null.
#[unsafe(no_mangle)]
pub extern "C" fn alluvium_status_text(status: alluvium_status) -> *const c_char {
    /// The texts with the zeros that C wants, made once.
    static TEXTS: std::sync::OnceLock<Vec<(i32, CString)>> = std::sync::OnceLock::new();
    let texts = TEXTS.get_or_init(|| {
        let text = |status: Status| (status.code(), CString::new(status.text()).unwrap_or_default());
        Status::ALL.into_iter().map(text).collect()
    });
    let known = texts.iter().find(|(code, _)| *code == status);
    known.map_or(c"an unknown status".as_ptr(), |(_, text)| text.as_ptr())
}

/// What a caller can do about a status: `ALLUVIUM_CLASS_...`. That of an error (`alluvium_error_get`) is more exact where a file is at
/// fault.
#[unsafe(no_mangle)]
pub extern "C" fn alluvium_status_class(status: alluvium_status) -> i32 {
    class_number(Status::from_code(status).and_then(Status::class))
}

/// The library's version, such as `0.1.0`.
#[unsafe(no_mangle)]
pub extern "C" fn alluvium_version() -> *const c_char {
    const VERSION: &std::ffi::CStr =
        match std::ffi::CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(version) => version,
            Err(_) => c"",
        };
    VERSION.as_ptr()
}

/// Whether the library does what a program expects that was compiled with a header of this `ALLUVIUM_ABI_VERSION`: `ALLUVIUM_OK`, else
/// `ALLUVIUM_ABI`.
#[unsafe(no_mangle)]
pub extern "C" fn alluvium_check_abi(version: u32) -> alluvium_status {
    if version == ALLUVIUM_ABI_VERSION { ALLUVIUM_OK } else { ALLUVIUM_ABI }
}

/// How many handles are open in the process, errors and buffers included: 0 after a program that closes what it opens.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_open_handles(count: *mut usize) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(std::ptr::null_mut(), || {
            place(count, "count")?;
            give(count, "count", handles::open_objects())?;
            Ok(Status::Ok)
        })
    }
}
