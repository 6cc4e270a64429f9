//! Multisets, as values of merging states with the operator `multiset` are: elements with counts.

use crate::arguments::{Outcome, bytes, call, give};
use crate::buffer;
use crate::types::*;
use alluvium::multiset;
use alluvium_ffi::{Misuse, Status};

/// The operand that adds `count` times an element, into a buffer; a negative count takes away.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_multiset_operand(
    element: alluvium_slice,
    count: i64,
    operand: alluvium_buffer,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { call(error, || buffer::answer(operand, Some(&multiset::operand(bytes(element)?, count)))) }
}

/// How often an element is in a multiset; 0 for bytes that are none. Callbacks may call this, too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_multiset_count(
    multiset_: alluvium_slice,
    element: alluvium_slice,
    count: *mut i64,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            give(count, "count", multiset::count(bytes(multiset_)?, bytes(element)?))?;
            Ok(Status::Ok)
        })
    }
}

/// The elements of a multiset, ascending, into a buffer: `count i64 | len u32 | element` each, little-endian, without padding. `ALLUVIUM_ARGUMENT` for
/// bytes that are none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_multiset_elements(
    multiset_: alluvium_slice,
    elements: alluvium_buffer,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { call(error, || leave(multiset_, elements, |multiset| multiset::elements(multiset).ok())) }
}

/// The `k` greatest elements that count above 0, greatest first, as by `alluvium_multiset_elements`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_multiset_top(
    multiset_: alluvium_slice,
    k: usize,
    elements: alluvium_buffer,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { call(error, || leave(multiset_, elements, |multiset| multiset::top(multiset, k).ok())) }
}

unsafe fn leave(
    multiset: alluvium_slice,
    elements: alluvium_buffer,
    find: impl FnOnce(&[u8]) -> Option<Vec<(&[u8], i64)>>,
) -> Outcome {
    // Copied: the multiset may lie in the buffer.
    // SAFETY: the contract of the crate's head.
    let multiset = unsafe { bytes(multiset) }?.to_vec();
    let found = find(&multiset).ok_or(Misuse::Argument("bytes that are no multiset"))?;
    buffer::filling(elements, |out| {
        for (element, count) in &found {
            out.bytes.extend_from_slice(&count.to_le_bytes());
            out.bytes.extend_from_slice(&(element.len() as u32).to_le_bytes());
            out.bytes.extend_from_slice(element);
        }
        out.records = found.len();
        Ok(Status::Ok)
    })
}
