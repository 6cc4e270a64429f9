//! The past: a store as it was at a checkpoint that is kept, or at a position of its changelog; and keys that are brought back to it.

use crate::entry::{Place, answer, copied_bytes, copied_key, count, key, natives, state, value};
use crate::maps::push;
use crate::reader::{SnapshotObject, list};
use crate::store::StoreObject;
use crate::wire::{Request, Response};
use crate::writer::of;
use alluvium::{AsOf, Key, KeyScope, Past, RolledBack, State};
use alluvium_ffi::copied::Room;
use alluvium_ffi::handles::{self, Handle, Many};
use alluvium_ffi::{Failure, Kind, Misuse, Object};
use jni::sys::{jint, jlong};
use std::ops::ControlFlow;

/// What the handle of a view of the past stands for.
#[derive(Debug)]
pub struct PastObject {
    past: Past,
    key_groups: u32,
}

// SAFETY: the only type of this kind, and `Sync`.
unsafe impl Object for PastObject {
    const KIND: Kind = Kind::Past;
    type Mode = Many;
}

fn moment(request: &mut Request<'_>) -> Result<AsOf, Misuse> {
    let (kind, which) = (request.int()?, request.long()? as u64);
    match kind {
        0 => Ok(AsOf::Label(which)),
        1 => Ok(AsOf::Position(which)),
        _ => Err(Misuse::Argument("an unknown kind of moment")),
    }
}

fn told(done: RolledBack) -> Vec<u8> {
    let mut out = Response::default();
    out.long(done.keys).long(done.changes).long(done.bytes);
    out.0
}

natives! {
    /// A checkpoint that is kept, as a snapshot.
    fn storeAsOf(store: jlong, out: jlong, label: jlong) {
        let place = Place::at(out)?;
        let object = handles::get::<StoreObject>(store as Handle)?;
        let (snapshot, key_groups) = (object.store.as_of(label as u64)?, object.store.key_groups());
        place.insert(SnapshotObject { snapshot, key_groups }, store as Handle)
    }

    /// The position behind everything that was done so far.
    fn storePosition(store: jlong) {
        Ok(handles::get::<StoreObject>(store as Handle)?.store.position()? as jlong)
    }

    /// A view of a position.
    fn pastOpen(store: jlong, out: jlong, position: jlong) {
        let place = Place::at(out)?;
        let object = handles::get::<StoreObject>(store as Handle)?;
        let (past, key_groups) = (object.store.as_of_position(count(position)? as u64)?, object.store.key_groups());
        place.insert(PastObject { past, key_groups }, store as Handle)
    }

    /// Sets the clock that decides what is expired, in ms.
    fn pastSetTime(past: jlong, now_ms: jlong) {
        handles::get::<PastObject>(past as Handle)?.past.set_time_ms(count(now_ms)? as u64);
        Ok(0)
    }

    /// A value: its length, and itself if it fits.
    fn pastGet(past: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, into: jlong, capacity: jint) {
        let object = handles::get::<PastObject>(past as Handle)?;
        let mut room = Room::new();
        let copied = copied_key(&mut room, key_, key_len, ns_len, 0)?;
        let found = object.past.get(state(state_)?, key(object.key_groups, group, &copied)?)?;
        value(found.as_deref(), into, capacity)
    }

    /// The elements of a list.
    fn pastList(past: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, into: jlong, capacity: jint) {
        let object = handles::get::<PastObject>(past as Handle)?;
        let mut room = Room::new();
        let copied = copied_key(&mut room, key_, key_len, ns_len, 0)?;
        let key = key(object.key_groups, group, &copied)?;
        list(&object.past.list(state(state_)?, key)?, into, capacity)
    }

    /// The value of an entry: its length, and itself if it fits.
    fn pastMapGet(
        past: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, user_len: jint, into: jlong, capacity: jint,
    ) {
        let object = handles::get::<PastObject>(past as Handle)?;
        let mut room = Room::new();
        let copied = copied_key(&mut room, key_, key_len, ns_len, user_len)?;
        let key = key(object.key_groups, group, &copied)?;
        let found = object.past.map_get(state(state_)?, key, copied.user_key)?;
        value(found.as_deref(), into, capacity)
    }

    /// The entries of a map in a range.
    fn pastEntries(past: jlong, state_: jint, address: jlong, len: jint, into: jlong, capacity: jint) {
        let object = handles::get::<PastObject>(past as Handle)?;
        let mut room = Room::new();
        let mut request = Request(copied_bytes(&mut room, address, len)?);
        let (key, range) = (request.key(object.key_groups)?, request.map_range()?);
        let mut out = Vec::new();
        object.past.map_scan(state(state_)?, key, &range, |user_key, value| {
            push(&mut out, user_key, value);
            ControlFlow::Continue(())
        })?;
        answer(out, into, capacity)
    }

    /// Brings keys of a state back: the moment, and the keys.
    fn writerRollbackKeys(writer: jlong, state_: jint, address: jlong, len: jint, into: jlong, capacity: jint) {
        let mut object = of(writer)?;
        let mut room = Room::new();
        let (state, mut request) = (state(state_)?, Request(copied_bytes(&mut room, address, len)?));
        let (to, groups) = (moment(&mut request)?, object.key_groups);
        let keys: Vec<(State, Key<'_>)> = request.list(|request| Ok((state, request.key(groups)?)))?;
        let done = object.writer.rollback_keys(&KeyScope::Keys(&keys), to).map_err(Failure::from)?;
        answer(told(done), into, capacity)
    }

    /// Brings the keys of a prefix back: the moment, the key groups, the prefix.
    fn writerRollbackPrefix(writer: jlong, state_: jint, address: jlong, len: jint, into: jlong, capacity: jint) {
        let mut object = of(writer)?;
        let mut room = Room::new();
        let mut request = Request(copied_bytes(&mut room, address, len)?);
        let (to, groups, prefix) = (moment(&mut request)?, request.range()?, request.bytes()?);
        let done = object.writer.rollback_keys(&KeyScope::Prefix { state: state(state_)?, groups, prefix }, to)?;
        answer(told(done), into, capacity)
    }
}
