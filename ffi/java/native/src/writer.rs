//! Writers: values, one key at a time, and whose thread they are.

use crate::entry::{Outcome, Place, bytes, copied_key, count, flag, key, natives, state, value};
use crate::store::StoreObject;
use crate::wire::range;
use alluvium::Writer;
use alluvium_ffi::copied::Room;
use alluvium_ffi::handles::{self, Guard, Handle, Own};
use alluvium_ffi::{Kind, Misuse, Object};
use jni::sys::{jint, jlong};

/// What a writer's handle stands for.
#[derive(Debug)]
pub struct WriterObject {
    pub(crate) writer: Writer,
    pub(crate) key_groups: u32,
    /// The store's handle.
    pub(crate) store: Handle,
}

// SAFETY: the only type of this kind.
unsafe impl Object for WriterObject {
    const KIND: Kind = Kind::Writer;
    type Mode = Own;
}

/// Reaches a writer.
#[inline]
pub fn of(handle: jlong) -> Result<Guard<WriterObject>, Misuse> {
    handles::get(handle as Handle)
}

const DONE: Outcome = Ok(0);

natives! {
    /// Claims a range of key groups for writing, by the calling thread, or by any: at once, as one that is carried by others may be on another at its next call.
    fn writerOpen(store: jlong, out: jlong, first: jint, last: jint, shared: jint) {
        let shared = flag(shared)?;
        let place = Place::at(out)?;
        let object = handles::get::<StoreObject>(store as Handle)?;
        let (writer, key_groups) = (object.store.writer(range(first, last)?)?, object.store.key_groups());
        let handle = place.insert_found(WriterObject { writer, key_groups, store: store as Handle }, store as Handle)?;
        if shared {
            handles::share::<WriterObject>(handle)?;
        }
        DONE
    }

    /// Gives a writer up to the thread that adopts it first.
    fn writerGiveAway(writer: jlong) {
        handles::give_away::<WriterObject>(writer as Handle)?;
        DONE
    }

    /// Makes a writer the calling thread's that was given away, or whose thread has ended; or any thread's, as by `writerOpen`.
    fn writerAdopt(writer: jlong, shared: jint) {
        let shared = flag(shared)?;
        handles::adopt::<WriterObject>(writer as Handle)?;
        if shared {
            handles::share::<WriterObject>(writer as Handle)?;
        }
        DONE
    }

    /// Lets any thread use a writer from now on.
    fn writerShare(writer: jlong) {
        handles::share::<WriterObject>(writer as Handle)?;
        DONE
    }

    /// Sets the clock that decides what is expired, in ms.
    fn writerSetTime(writer: jlong, now_ms: jlong) {
        of(writer)?.writer.set_time_ms(count(now_ms)? as u64);
        DONE
    }

    /// A value: its length, and itself if it fits.
    fn writerGet(writer: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, into: jlong, capacity: jint) {
        let mut object = of(writer)?;
        let mut room = Room::new();
        let copied = copied_key(&mut room, key_, key_len, ns_len, 0)?;
        let key = key(object.key_groups, group, &copied)?;
        object.writer.read(state(state_)?, key, |found| value(found, into, capacity))?
    }

    /// Puts a value.
    fn writerPut(writer: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, value: jlong, len: jint) {
        let mut object = of(writer)?;
        let mut room = Room::new();
        let copied = copied_key(&mut room, key_, key_len, ns_len, 0)?;
        let key = key(object.key_groups, group, &copied)?;
        object.writer.put(state(state_)?, key, bytes(value, len)?)?;
        DONE
    }

    /// Deletes a value or list.
    fn writerDelete(writer: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint) {
        let mut object = of(writer)?;
        let mut room = Room::new();
        let copied = copied_key(&mut room, key_, key_len, ns_len, 0)?;
        let key = key(object.key_groups, group, &copied)?;
        object.writer.delete(state(state_)?, key)?;
        DONE
    }

    /// Merges an operand into a value.
    fn writerMerge(writer: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, operand: jlong, len: jint) {
        let mut object = of(writer)?;
        let mut room = Room::new();
        let copied = copied_key(&mut room, key_, key_len, ns_len, 0)?;
        let key = key(object.key_groups, group, &copied)?;
        object.writer.merge(state(state_)?, key, bytes(operand, len)?)?;
        DONE
    }

    /// Appends an element to a list.
    fn writerAppend(writer: jlong, state_: jint, group: jint, key_: jlong, key_len: jint, ns_len: jint, element: jlong, len: jint) {
        let mut object = of(writer)?;
        let mut room = Room::new();
        let copied = copied_key(&mut room, key_, key_len, ns_len, 0)?;
        let key = key(object.key_groups, group, &copied)?;
        object.writer.append(state(state_)?, key, bytes(element, len)?)?;
        DONE
    }
}
