//! Cursors: going through the keys of a state or the entries of a map, a batch of them a call.

use crate::entry::{Outcome, Place, bytes, count, keep, natives, state};
use crate::reader::{ReaderObject, SnapshotObject};
use crate::store::StoreObject;
use crate::wire::Request;
use crate::writer;
use alluvium::{Cursor, Packed};
use alluvium_ffi::handles::{self, Handle, One};
use alluvium_ffi::{Kind, Misuse, Object};
use jni::sys::{jint, jlong};

/// What a cursor's handle stands for.
#[derive(Debug)]
pub struct CursorObject {
    cursor: Cursor,
    packed: Packed,
}

// SAFETY: the only type of this kind.
unsafe impl Object for CursorObject {
    const KIND: Kind = Kind::Cursor;
    type Mode = One;
}

/// Leaves a batch: twice its length in bytes, and one more where there are more to come.
fn fetch(
    cursor: jlong,
    into: jlong,
    capacity: jint,
    fetch: impl FnOnce(&mut Cursor, &mut Packed) -> alluvium::Result<bool>,
) -> Outcome {
    let mut object = handles::get::<CursorObject>(cursor as Handle)?;
    let CursorObject { cursor, packed } = object.as_mut();
    let memory = crate::entry::memory(into, capacity)?;
    let more = fetch(cursor, packed)?;
    let len = packed.as_bytes().len();
    if let Some(place) = memory.get_mut(..len) {
        place.copy_from_slice(packed.as_bytes());
    } else {
        let mut bytes = Vec::new();
        packed.swap_out(&mut bytes);
        keep(bytes, memory);
    }
    Ok(2 * len as jlong + jlong::from(more))
}

natives! {
    /// Makes a cursor of keys (0), keys in a namespace (1), keys and namespaces (2), entries (3).
    fn cursorOpen(store: jlong, out: jlong, what: jint, state_: jint, address: jlong, len: jint) {
        let place = Place::at(out)?;
        let (mut request, state) = (Request(bytes(address, len)?), state(state_)?);
        let key_groups = handles::get::<StoreObject>(store as Handle)?.store.key_groups();
        let cursor = match what {
            0 => Cursor::keys(state, request.range()?),
            1 => Cursor::keys_in_namespace(state, request.range()?, request.bytes()?),
            2 => Cursor::keys_and_namespaces(state, request.range()?),
            3 => Cursor::entries(state, request.key(key_groups)?, &request.map_range()?),
            _ => return Err(Misuse::Argument("an unknown kind of cursor").into()),
        };
        place.insert(CursorObject { cursor, packed: Packed::default() }, store as Handle)
    }

    /// How many records at most, and, but for the last of them, how many bytes a cursor gives a call.
    fn cursorSetBatch(cursor: jlong, records: jlong, bytes: jlong) {
        handles::get::<CursorObject>(cursor as Handle)?.as_mut().packed = Packed::new(count(records)?, count(bytes)?);
        Ok(0)
    }

    /// The next batch, with a writer's view.
    fn writerFetch(writer: jlong, cursor: jlong, into: jlong, capacity: jint) {
        let mut object = writer::of(writer)?;
        fetch(cursor, into, capacity, |cursor, packed| object.writer.fetch(cursor, packed))
    }

    /// The next batch, with a reader's view.
    fn readerFetch(reader: jlong, cursor: jlong, into: jlong, capacity: jint) {
        let object = handles::get::<ReaderObject>(reader as Handle)?;
        fetch(cursor, into, capacity, |cursor, packed| object.reader.fetch(cursor, packed))
    }

    /// The next batch, in a snapshot.
    fn snapshotFetch(snapshot: jlong, cursor: jlong, into: jlong, capacity: jint) {
        let object = handles::get::<SnapshotObject>(snapshot as Handle)?;
        fetch(cursor, into, capacity, |cursor, packed| object.snapshot.fetch(cursor, packed))
    }
}
