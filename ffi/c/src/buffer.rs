//! Buffers: bytes that calls leave for their caller.

use crate::arguments::{Outcome, call, give, outside_callback, place, slice};
use crate::types::*;
use alluvium_ffi::handles::{self, One};
use alluvium_ffi::{Kind, Object, Status};

/// What a buffer's handle stands for.
#[derive(Debug, Default)]
pub struct Buffer {
    /// What was left.
    pub bytes: Vec<u8>,
    /// Of how many records it consists.
    pub records: usize,
}

// SAFETY: the only type of this kind.
unsafe impl Object for Buffer {
    const KIND: Kind = Kind::Buffer;
    type Mode = One;
}

impl Buffer {
    /// Takes out what is in it.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.records = 0;
    }

    /// Puts one record in it.
    pub fn fill(&mut self, bytes: &[u8]) {
        self.clear();
        self.bytes.extend_from_slice(bytes);
        self.records = 1;
    }
}

/// Leaves a value in a buffer.
pub(crate) fn answer(buffer: alluvium_buffer, value: Option<&[u8]>) -> Outcome {
    let mut buffer = handles::get::<Buffer>(buffer.id)?;
    let buffer = buffer.as_mut();
    buffer.clear();
    let Some(value) = value else { return Ok(Status::NotFound) };
    buffer.fill(value);
    Ok(Status::Ok)
}

/// Runs what fills a buffer, which is empty; nothing is left in it where that fails.
pub(crate) fn filling(buffer: alluvium_buffer, fill: impl FnOnce(&mut Buffer) -> Outcome) -> Outcome {
    let mut buffer = handles::get::<Buffer>(buffer.id)?;
    let buffer = buffer.as_mut();
    buffer.clear();
    let outcome = fill(buffer);
    if outcome.is_err() {
        buffer.clear();
    }
    outcome
}

/// Makes an empty buffer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_buffer_new(
    buffer: *mut alluvium_buffer,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            outside_callback()?;
            place(buffer, "buffer")?;
            let id = handles::insert(Buffer::default(), 0)?;
            give(buffer, "buffer", alluvium_buffer { id })?;
            Ok(Status::Ok)
        })
    }
}

/// Where a buffer's bytes are, how many, and of how many records they consist (may be null). They stay until a call fills the buffer
/// again, or it is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_buffer_data(
    buffer: alluvium_buffer,
    data: *mut alluvium_slice,
    records: *mut usize,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(std::ptr::null_mut(), || {
            let buffer = handles::get::<Buffer>(buffer.id)?;
            give(data, "data", slice(&buffer.bytes))?;
            if !records.is_null() {
                give(records, "records", buffer.records)?;
            }
            Ok(Status::Ok)
        })
    }
}

/// Frees a buffer, and its bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_buffer_free(buffer: alluvium_buffer) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { call(std::ptr::null_mut(), || Ok(handles::remove::<Buffer>(buffer.id).map(|_| Status::Ok)?)) }
}
