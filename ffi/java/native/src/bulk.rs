//! Loads of sorted data, which go to disk at once.

use crate::entry::{Place, bytes, copied_key, count, key, natives, state};
use crate::lists::elements;
use crate::store::StoreObject;
use alluvium::{BulkLoad, Store};
use alluvium_ffi::copied::Room;
use alluvium_ffi::handles::{self, Handle, One};
use alluvium_ffi::{Kind, Object};
use jni::sys::{jint, jlong};
use std::sync::Arc;

/// What a load's handle stands for.
#[derive(Debug)]
pub struct LoadObject {
    /// Borrows from `store`, so it goes first: fields are dropped in their order.
    load: BulkLoad<'static>,
    key_groups: u32,
    /// Counted, so that it stays where it is when this moves.
    _store: Arc<Store>,
}

// SAFETY: the only type of this kind.
unsafe impl Object for LoadObject {
    const KIND: Kind = Kind::BulkLoad;
    type Mode = One;
}

impl LoadObject {
    fn new(store: &Store, records: u64) -> alluvium::Result<Self> {
        let (store, key_groups) = (Arc::new(store.clone()), store.key_groups());
        // SAFETY: it is kept, untouched, for as long as what borrows from it.
        let borrowed: &'static Store = unsafe { &*std::ptr::from_ref(&*store) };
        Ok(Self { load: borrowed.bulk_load(records)?, key_groups, _store: store })
    }
}

natives! {
    /// Begins a load of about so many records.
    fn bulkBegin(store: jlong, records: jlong, out: jlong) {
        let place = Place::at(out)?;
        let load = LoadObject::new(&handles::get::<StoreObject>(store as Handle)?.store, count(records)? as u64)?;
        place.insert(load, store as Handle)
    }

    /// Sets the clock by which what is loaded from now on expires, in ms.
    fn bulkSetTime(load: jlong, now_ms: jlong) {
        handles::get::<LoadObject>(load as Handle)?.as_mut().load.set_time_ms(count(now_ms)? as u64);
        Ok(0)
    }

    /// Loads a value.
    fn bulkPut(load: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, value: jlong, len: jint) {
        let mut object = handles::get::<LoadObject>(load as Handle)?;
        let object = object.as_mut();
        let mut room = Room::new();
        let copied = copied_key(&mut room, key_, key_len, ns_len, 0)?;
        let key = key(object.key_groups, group, &copied)?;
        object.load.put(state(state_)?, key, bytes(value, len)?)?;
        Ok(0)
    }

    /// Loads a list, packed.
    fn bulkPutList(load: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, list: jlong, len: jint) {
        let mut object = handles::get::<LoadObject>(load as Handle)?;
        let object = object.as_mut();
        let mut room = Room::new();
        let copied = copied_key(&mut room, key_, key_len, ns_len, 0)?;
        let key = key(object.key_groups, group, &copied)?;
        object.load.put_list(state(state_)?, key, &elements(bytes(list, len)?)?)?;
        Ok(0)
    }

    /// Loads an entry of a map.
    fn bulkMapPut(
        load: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, user_len: jint, value: jlong, len: jint,
    ) {
        let mut object = handles::get::<LoadObject>(load as Handle)?;
        let object = object.as_mut();
        let mut room = Room::new();
        let copied = copied_key(&mut room, key_, key_len, ns_len, user_len)?;
        let key = key(object.key_groups, group, &copied)?;
        object.load.map_put(state(state_)?, key, copied.user_key, bytes(value, len)?)?;
        Ok(0)
    }

    /// Ends a load. The handle is none from then on, whatever this comes to but for a misuse.
    fn bulkFinish(load: jlong) {
        // The store isn't closed meanwhile.
        let (object, _parent) = handles::remove::<LoadObject>(load as Handle)?.into_parts();
        let LoadObject { load, _store, .. } = object;
        load.finish()?;
        Ok(0)
    }
}
