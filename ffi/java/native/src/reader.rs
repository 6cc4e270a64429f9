//! Readers and snapshots: reads beside the writers, from any thread.

use crate::entry::{NOT_FOUND, Outcome, Place, answer, copied_key, count, flag, key, natives, state, value};
use crate::store::StoreObject;
use crate::wire::Response;
use alluvium::{Reader, Snapshot};
use alluvium_ffi::copied::Room;
use alluvium_ffi::handles::{self, Handle, Many};
use alluvium_ffi::{Kind, Object};
use jni::sys::{jint, jlong};

/// What a reader's handle stands for.
#[derive(Debug)]
pub struct ReaderObject {
    pub(crate) reader: Reader,
    key_groups: u32,
}

// SAFETY: the only type of this kind, and `Sync`.
unsafe impl Object for ReaderObject {
    const KIND: Kind = Kind::Reader;
    type Mode = Many;
}

/// What a snapshot's handle stands for.
#[derive(Debug)]
pub struct SnapshotObject {
    pub(crate) snapshot: Snapshot,
    pub(crate) key_groups: u32,
}

// SAFETY: the only type of this kind, and `Sync`.
unsafe impl Object for SnapshotObject {
    const KIND: Kind = Kind::Snapshot;
    type Mode = Many;
}

/// Answers with the elements of a list.
pub fn list(elements: &[Vec<u8>], into: jlong, capacity: jint) -> Outcome {
    if elements.is_empty() {
        return Ok(NOT_FOUND);
    }
    let mut out = Response::default();
    elements.iter().for_each(|element| {
        out.bytes(element);
    });
    answer(out.0, into, capacity)
}

natives! {
    /// Makes a reader, of everything or of what is committed.
    fn readerOpen(store: jlong, out: jlong, committed: jint) {
        let (place, committed) = (Place::at(out)?, flag(committed)?);
        let object = handles::get::<StoreObject>(store as Handle)?;
        let (reader, key_groups) = (object.store.reader(), object.store.key_groups());
        let reader = if committed { reader.committed() } else { reader };
        place.insert(ReaderObject { reader, key_groups }, store as Handle)
    }

    /// Sets the clock that decides what is expired, in ms.
    fn readerSetTime(reader: jlong, now_ms: jlong) {
        handles::get::<ReaderObject>(reader as Handle)?.reader.set_time_ms(count(now_ms)? as u64);
        Ok(0)
    }

    /// A value: its length, and itself if it fits.
    fn readerGet(reader: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, into: jlong, capacity: jint) {
        let object = handles::get::<ReaderObject>(reader as Handle)?;
        let mut room = Room::new();
        let copied = copied_key(&mut room, key_, key_len, ns_len, 0)?;
        let found = object.reader.get(state(state_)?, key(object.key_groups, group, &copied)?)?;
        value(found.as_deref(), into, capacity)
    }

    /// The elements of a list.
    fn readerList(reader: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, into: jlong, capacity: jint) {
        let object = handles::get::<ReaderObject>(reader as Handle)?;
        let mut room = Room::new();
        let copied = copied_key(&mut room, key_, key_len, ns_len, 0)?;
        let key = key(object.key_groups, group, &copied)?;
        list(&object.reader.list(state(state_)?, key)?, into, capacity)
    }

    /// The value of an entry: its length, and itself if it fits.
    fn readerMapGet(
        reader: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, user_len: jint, into: jlong, capacity: jint,
    ) {
        let object = handles::get::<ReaderObject>(reader as Handle)?;
        let mut room = Room::new();
        let copied = copied_key(&mut room, key_, key_len, ns_len, user_len)?;
        let key = key(object.key_groups, group, &copied)?;
        let found = object.reader.map_get(state(state_)?, key, copied.user_key)?;
        value(found.as_deref(), into, capacity)
    }

    /// Whether a map has an entry: 1, or 0.
    fn readerMapContains(reader: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, user_len: jint) {
        let object = handles::get::<ReaderObject>(reader as Handle)?;
        let mut room = Room::new();
        let copied = copied_key(&mut room, key_, key_len, ns_len, user_len)?;
        let key = key(object.key_groups, group, &copied)?;
        Ok(object.reader.map_contains(state(state_)?, key, copied.user_key)?.into())
    }

    /// Takes a snapshot.
    fn snapshotOpen(store: jlong, out: jlong) {
        let place = Place::at(out)?;
        let object = handles::get::<StoreObject>(store as Handle)?;
        let (snapshot, key_groups) = (object.store.snapshot()?, object.store.key_groups());
        place.insert(SnapshotObject { snapshot, key_groups }, store as Handle)
    }

    /// Waits until what a snapshot holds is flushed.
    fn snapshotWait(snapshot: jlong) {
        handles::get::<SnapshotObject>(snapshot as Handle)?.snapshot.wait()?;
        Ok(0)
    }

    /// Sets the clock that decides what is expired, in ms.
    fn snapshotSetTime(snapshot: jlong, now_ms: jlong) {
        handles::get::<SnapshotObject>(snapshot as Handle)?.snapshot.set_time_ms(count(now_ms)? as u64);
        Ok(0)
    }

    /// A value: its length, and itself if it fits.
    fn snapshotGet(snapshot: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, into: jlong, capacity: jint) {
        let object = handles::get::<SnapshotObject>(snapshot as Handle)?;
        let mut room = Room::new();
        let copied = copied_key(&mut room, key_, key_len, ns_len, 0)?;
        let found = object.snapshot.get(state(state_)?, key(object.key_groups, group, &copied)?)?;
        value(found.as_deref(), into, capacity)
    }

    /// The elements of a list.
    fn snapshotList(snapshot: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, into: jlong, capacity: jint) {
        let object = handles::get::<SnapshotObject>(snapshot as Handle)?;
        let mut room = Room::new();
        let copied = copied_key(&mut room, key_, key_len, ns_len, 0)?;
        let key = key(object.key_groups, group, &copied)?;
        list(&object.snapshot.list(state(state_)?, key)?, into, capacity)
    }

    /// The value of an entry: its length, and itself if it fits.
    fn snapshotMapGet(
        snapshot: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, user_len: jint, into: jlong,
        capacity: jint,
    ) {
        let object = handles::get::<SnapshotObject>(snapshot as Handle)?;
        let mut room = Room::new();
        let copied = copied_key(&mut room, key_, key_len, ns_len, user_len)?;
        let key = key(object.key_groups, group, &copied)?;
        let found = object.snapshot.map_get(state(state_)?, key, copied.user_key)?;
        value(found.as_deref(), into, capacity)
    }
}
