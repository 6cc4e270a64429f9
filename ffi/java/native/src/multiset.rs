//! Multisets, as values of merging states with the operator `multiset` are: elements with counts.

use crate::entry::{Outcome, answer, bytes, natives};
use crate::wire::{Request, Response};
use alluvium::multiset;
use alluvium_ffi::Misuse;
use jni::sys::{jint, jlong};

fn leave(found: Option<Vec<(&[u8], i64)>>, into: jlong, capacity: jint) -> Outcome {
    let found = found.ok_or(Misuse::Argument("bytes that are no multiset"))?;
    let mut out = Response::default();
    out.int(found.len() as i32);
    for (element, count) in found {
        out.long(count as u64).bytes(element);
    }
    answer(out.0, into, capacity)
}

natives! {
    /// The operand that adds an element so many times: the count, and the element.
    fn multisetOperand(address: jlong, len: jint, into: jlong, capacity: jint) {
        let mut request = Request(bytes(address, len)?);
        let count = request.long()?;
        answer(multiset::operand(request.bytes()?, count), into, capacity)
    }

    /// How often an element is in a multiset, which comes first.
    fn multisetCount(address: jlong, len: jint, into: jlong, capacity: jint) {
        let mut request = Request(bytes(address, len)?);
        let count = multiset::count(request.bytes()?, request.bytes()?);
        answer(count.to_le_bytes().to_vec(), into, capacity)
    }

    /// The elements of a multiset: the count and the element each.
    fn multisetElements(address: jlong, len: jint, into: jlong, capacity: jint) {
        leave(multiset::elements(Request(bytes(address, len)?).bytes()?).ok(), into, capacity)
    }

    /// The greatest that count above 0: how many, and the multiset.
    fn multisetTop(address: jlong, len: jint, into: jlong, capacity: jint) {
        let mut request = Request(bytes(address, len)?);
        let k = request.count()?;
        leave(multiset::top(request.bytes()?, k).ok(), into, capacity)
    }
}
