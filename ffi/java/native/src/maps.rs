//! Maps. A user key follows its key and namespace in memory; entries are packed as cursors' records are.

use crate::entry::{NOT_FOUND, answer, bytes, copied_key, count, key, memory, natives, state, value};
use crate::wire::Request;
use crate::writer::of;
use alluvium::packed::{self, HEADER_BYTES};
use alluvium::{KeyGroup, PackedRecord};
use alluvium_ffi::Misuse;
use alluvium_ffi::copied::Room;
use jni::sys::{jint, jlong};

/// Adds an entry, as a cursor does, with what it doesn't say empty.
pub fn push(out: &mut Vec<u8>, user_key: &[u8], value: &[u8]) {
    packed::push(out, PackedRecord { group: KeyGroup(0), key: &[], namespace: &[], user_key, value });
}

natives! {
    /// The value of an entry: its length, and itself if it fits.
    fn writerMapGet(
        writer: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, user_len: jint, into: jlong, capacity: jint,
    ) {
        let mut object = of(writer)?;
        let mut room = Room::new();
        let copied = copied_key(&mut room, key_, key_len, ns_len, user_len)?;
        let key = key(object.key_groups, group, &copied)?;
        object.writer.map_read(state(state_)?, key, copied.user_key, |found| value(found, into, capacity))?
    }

    /// Whether there is an entry, 0 or 1; below 0, `user_len` asks for any.
    fn writerMapContains(writer: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, user_len: jint) {
        let mut object = of(writer)?;
        let mut room = Room::new();
        let copied = copied_key(&mut room, key_, key_len, ns_len, user_len.max(0))?;
        let key = key(object.key_groups, group, &copied)?;
        if user_len < 0 {
            return Ok((!object.writer.map_is_empty(state(state_)?, key)?).into());
        }
        Ok(object.writer.map_contains(state(state_)?, key, copied.user_key)?.into())
    }

    /// Puts an entry.
    fn writerMapPut(
        writer: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, user_len: jint, value: jlong, len: jint,
    ) {
        let mut object = of(writer)?;
        let mut room = Room::new();
        let copied = copied_key(&mut room, key_, key_len, ns_len, user_len)?;
        let key = key(object.key_groups, group, &copied)?;
        object.writer.map_put(state(state_)?, key, copied.user_key, bytes(value, len)?)?;
        Ok(0)
    }

    /// Deletes an entry.
    fn writerMapDelete(writer: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, user_len: jint) {
        let mut object = of(writer)?;
        let mut room = Room::new();
        let copied = copied_key(&mut room, key_, key_len, ns_len, user_len)?;
        let key = key(object.key_groups, group, &copied)?;
        object.writer.map_delete(state(state_)?, key, copied.user_key)?;
        Ok(0)
    }

    /// Deletes the entries in a range.
    fn writerMapDeleteRange(writer: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, range: jlong, len: jint) {
        let mut object = of(writer)?;
        let mut room = Room::new();
        let copied = copied_key(&mut room, key_, key_len, ns_len, 0)?;
        let key = key(object.key_groups, group, &copied)?;
        let range = Request(bytes(range, len)?).map_range()?;
        object.writer.map_delete_range(state(state_)?, key, &range)?;
        Ok(0)
    }

    /// Deletes the entries whose time is below `before`.
    fn writerMapExpire(writer: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, before: jlong) {
        let mut object = of(writer)?;
        let mut room = Room::new();
        let copied = copied_key(&mut room, key_, key_len, ns_len, 0)?;
        let key = key(object.key_groups, group, &copied)?;
        object.writer.map_expire(state(state_)?, key, count(before)? as u64)?;
        Ok(0)
    }

    /// Deletes all entries.
    fn writerMapClear(writer: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint) {
        let mut object = of(writer)?;
        let mut room = Room::new();
        let copied = copied_key(&mut room, key_, key_len, ns_len, 0)?;
        let key = key(object.key_groups, group, &copied)?;
        object.writer.map_clear(state(state_)?, key)?;
        Ok(0)
    }

    /// One entry: the first (0), the last (1), or the first, which is taken out if it fits in the memory (2).
    fn writerMapEdge(
        writer: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, which: jint, into: jlong, capacity: jint,
    ) {
        let mut object = of(writer)?;
        let mut room = Room::new();
        let copied = copied_key(&mut room, key_, key_len, ns_len, 0)?;
        let (key, state, room) = (key(object.key_groups, group, &copied)?, state(state_)?, memory(into, capacity)?.len());
        let fits = |user_key: &[u8], value: &[u8]| HEADER_BYTES + user_key.len() + value.len() <= room;
        let found = match which {
            0 => object.writer.map_first(state, key)?,
            1 => object.writer.map_last(state, key)?,
            2 => object.writer.map_pop_first_if(state, key, fits)?,
            _ => return Err(Misuse::Argument("an unknown end of a map").into()),
        };
        let Some((user_key, value)) = found else { return Ok(NOT_FOUND) };
        let mut out = Vec::new();
        push(&mut out, &user_key, &value);
        answer(out, into, capacity)
    }

    /// Takes entries with user keys below the one behind the key out of the map, as many as fit in the memory: twice their length in bytes, and
    /// one more where there are more. Where not one fits, nothing is taken, and the length is that of the first.
    fn writerMapPopBelow(
        writer: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, user_len: jint, into: jlong, capacity: jint,
    ) {
        let mut object = of(writer)?;
        let mut room = Room::new();
        let copied = copied_key(&mut room, key_, key_len, ns_len, user_len)?;
        let (key, state, room) = (key(object.key_groups, group, &copied)?, state(state_)?, memory(into, capacity)?.len());
        let mut out = Vec::new();
        let popped = object.writer.map_pop_below_up_to(state, key, copied.user_key, room, |user_key, value| push(&mut out, user_key, value));
        if !out.is_empty() {
            // What was taken out must reach the caller. What stopped it stops the next call too, which has nothing to lose.
            return Ok(2 * answer(out, into, capacity)? + jlong::from(popped.unwrap_or(true)));
        }
        if popped? && let Some((user_key, value)) = object.writer.map_first(state, key)? {
            return Ok(2 * (HEADER_BYTES + user_key.len() + value.len()) as jlong + 1);
        }
        Ok(0)
    }
}
