//! Lists, and namespaces that merge. Lists are packed as `len i32 | bytes` for each element, in the order of their appending.

use crate::entry::{NOT_FOUND, answer, bytes, copied_bytes, copied_key, key, natives, state};
use crate::wire::{Request, Response};
use crate::writer::of;
use alluvium_ffi::Misuse;
use alluvium_ffi::copied::Room;
use jni::sys::{jint, jlong};

/// Packed elements.
pub fn elements(packed: &[u8]) -> Result<Vec<&[u8]>, Misuse> {
    let mut request = Request(packed);
    let mut elements = Vec::new();
    while !request.0.is_empty() {
        elements.push(request.bytes()?);
    }
    Ok(elements)
}

natives! {
    /// The elements of a list.
    fn writerList(writer: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, into: jlong, capacity: jint) {
        let mut object = of(writer)?;
        let mut room = Room::new();
        let copied = copied_key(&mut room, key_, key_len, ns_len, 0)?;
        let key = key(object.key_groups, group, &copied)?;
        let mut out = Response::default();
        object.writer.list_with(state(state_)?, key, |element| {
            out.bytes(element);
        })?;
        if out.0.is_empty() { Ok(NOT_FOUND) } else { answer(out.0, into, capacity) }
    }

    /// Appends several elements to a list.
    fn writerAppendAll(writer: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, list: jlong, len: jint) {
        let mut object = of(writer)?;
        let mut room = Room::new();
        let copied = copied_key(&mut room, key_, key_len, ns_len, 0)?;
        let key = key(object.key_groups, group, &copied)?;
        object.writer.append_all(state(state_)?, key, &elements(bytes(list, len)?)?)?;
        Ok(0)
    }

    /// Replaces a list; an empty one deletes it.
    fn writerPutList(writer: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, list: jlong, len: jint) {
        let mut object = of(writer)?;
        let mut room = Room::new();
        let copied = copied_key(&mut room, key_, key_len, ns_len, 0)?;
        let key = key(object.key_groups, group, &copied)?;
        object.writer.put_list(state(state_)?, key, &elements(bytes(list, len)?)?)?;
        Ok(0)
    }

    /// Moves what a key holds in some namespaces to the key's own.
    fn writerMergeNamespaces(writer: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, sources: jlong, len: jint) {
        let mut object = of(writer)?;
        let mut room = Room::new();
        let copied = copied_key(&mut room, key_, key_len, ns_len, 0)?;
        let key = key(object.key_groups, group, &copied)?;
        let mut sources_room = Room::new();
        let sources = copied_bytes(&mut sources_room, sources, len)?;
        object.writer.merge_namespaces(state(state_)?, key, &elements(sources)?)?;
        Ok(0)
    }
}
