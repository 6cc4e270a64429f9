//! Batches: many keys a call.
//!
//! Keys and values come as an index and data. An entry of the index is a number of 64 bits. A key's has, from the lowest bit on, its end
//! (31 bits; it begins where the one before ends), its group and one, or 0 for that of its hash (17), and the length of its
//! namespace, which is its last part (16). A value's has where it begins (32), and its length as an i32, -1 where there is none.

use crate::entry::{Place, bytes, copied_bytes, keep, key_of, memory, natives, state};
use crate::ticket::TicketObject;
use crate::writer::{WriterObject, of};
use alluvium::{Batch, Key, Operation};
use alluvium_ffi::copied::Room;
use alluvium_ffi::handles;
use alluvium_ffi::packed::{self, Code};
use alluvium_ffi::{Failure, Misuse};
use jni::sys::{jint, jlong};

const ENTRY_BYTES: usize = 8;

fn index_len(count: jint) -> Result<jint, Misuse> {
    count.checked_mul(ENTRY_BYTES as jint).ok_or(Misuse::Argument("a batch that is too long"))
}

/// The entries of an index, each of which is looked at once.
fn entries(index: &[u8]) -> impl Iterator<Item = u64> {
    let (entries, _) = index.as_chunks::<ENTRY_BYTES>();
    entries.iter().map(|entry| u64::from_le_bytes(*entry))
}

/// The keys of a batch, one after the other.
fn each_key<'a>(key_groups: u32, index: &[u8], data: &'a [u8]) -> impl Iterator<Item = Result<Key<'a>, Misuse>> {
    const WRONG: Misuse = Misuse::Argument("an index of keys that doesn't fit their data");
    let mut begin = 0;
    entries(index).map(move |entry| {
        let end = (entry & 0x7fff_ffff) as usize;
        let parts = data.get(begin..end).ok_or(WRONG)?;
        begin = end;
        let ns_len = (entry >> 48) as usize;
        let (key, namespace) = parts.split_at(parts.len().checked_sub(ns_len).ok_or(WRONG)?);
        key_of(key_groups, (entry >> 31 & 0x1_ffff) as jint - 1, key, namespace)
    })
}

/// The keys of a batch.
fn keys<'a>(key_groups: u32, index: jlong, count: jint, data: &'a [u8]) -> Result<Vec<Key<'a>>, Misuse> {
    let mut room = Room::new();
    let index = copied_bytes(&mut room, index, index_len(count)?)?;
    // As many as there are, so it doesn't grow piece by piece.
    let mut keys = Vec::with_capacity(index.len() / ENTRY_BYTES);
    for key in each_key(key_groups, index, data) {
        keys.push(key?);
    }
    Ok(keys)
}

/// The values of a batch, one after the other.
fn each_value<'a>(index: &[u8], data: &'a [u8]) -> impl Iterator<Item = Result<Option<&'a [u8]>, Misuse>> {
    const WRONG: Misuse = Misuse::Argument("an index of values that doesn't fit their data");
    entries(index).map(move |entry| {
        let Ok(len) = usize::try_from((entry >> 32) as i32) else { return Ok(None) };
        let rest = data.get(entry as u32 as usize..);
        rest.and_then(|rest| rest.get(..len)).map(Some).ok_or(WRONG)
    })
}

/// What is to be done to a key that is given this value; `code` is that of all of the batch.
fn operation_of(code: Option<Code>, value: Option<&[u8]>) -> Result<Operation<'_>, Misuse> {
    const WITHOUT: Misuse = Misuse::Argument("a key of a batch without a value");
    match (code, value) {
        // What an update made of a value: nothing.
        (Some(Code::Put), None) => Ok(Operation::Delete),
        (Some(Code::Put), Some(value)) => Ok(Operation::Put(value)),
        (Some(Code::Append), value) => Ok(Operation::Append(value.ok_or(WITHOUT)?)),
        (Some(Code::Merge), value) => Ok(Operation::Merge(value.ok_or(WITHOUT)?)),
        _ => Err(Misuse::Argument("an operation that isn't done to many keys")),
    }
}

/// Memory for values that are found, and what it doesn't hold.
struct Found<'a> {
    index: &'a mut [[u8; ENTRY_BYTES]],
    data: &'a mut [u8],
    used: usize,
    /// Everything, from when `data` was too small for it.
    overflow: Option<Vec<u8>>,
}

impl Found<'_> {
    #[inline]
    fn put(&mut self, place: usize, value: Option<&[u8]>) {
        let len = value.map_or(-1, |value| value.len() as i32);
        if let Some(entry) = self.index.get_mut(place) {
            *entry = (u64::from(self.used as u32) | u64::from(len as u32) << 32).to_le_bytes();
        }
        let Some(value) = value else { return };
        let room = self.data.get_mut(self.used..).and_then(|rest| rest.get_mut(..value.len()));
        match (&mut self.overflow, room) {
            (None, Some(room)) => room.copy_from_slice(value),
            (overflow, _) => {
                overflow.get_or_insert_with(|| self.data[..self.used].to_vec()).extend_from_slice(value);
            }
        }
        self.used += value.len();
    }
}

natives! {
    /// Reads many keys of a value state: says how many bytes their values have. The index is filled in any case; where the data's
    /// memory is too small, the data is the kept answer.
    fn writerGetMany(
        writer: jlong, state_: jint, count: jint, keys_index: jlong, keys_data: jlong, keys_len: jint,
        values_index: jlong, values_data: jlong, capacity: jint,
    ) {
        let mut object = of(writer)?;
        let mut room = Room::new();
        let data = copied_bytes(&mut room, keys_data, keys_len)?;
        let keys = keys(object.key_groups, keys_index, count, data)?;
        let (index, _) = memory(values_index, index_len(count)?)?.as_chunks_mut();
        let mut found = Found { index, data: memory(values_data, capacity)?, used: 0, overflow: None };
        object.writer.get_many(state(state_)?, &keys, |place, value| found.put(place, value))?;
        if i32::try_from(found.used).is_err() {
            return Err(Misuse::Argument("the values of a batch have more than 2 GiB").into());
        }
        if let Some(all) = found.overflow {
            keep(all, found.data);
        }
        Ok(found.used as jlong)
    }

    /// Writes many keys: puts (an operation's number, as in packed batches), appends, merges or deletes.
    fn writerWriteMany(
        writer: jlong, state_: jint, operation: jint, count: jint, keys_index: jlong, keys_data: jlong, keys_len: jint,
        values_index: jlong, values_data: jlong, values_len: jint,
    ) {
        let mut object = of(writer)?;
        let state = state(state_)?;
        let (mut data_room, mut keys_room, mut values_room) = (Room::new(), Room::new(), Room::new());
        let data = copied_bytes(&mut data_room, keys_data, keys_len)?;
        let index = copied_bytes(&mut keys_room, keys_index, index_len(count)?)?;
        let keys = each_key(object.key_groups, index, data);
        let mut batch = Batch::with_capacity(index.len() / ENTRY_BYTES);
        if operation == Code::Delete as jint {
            for key in keys {
                batch.push(state, key?, Operation::Delete);
            }
        } else {
            let code = usize::try_from(operation).ok().and_then(|code| Code::ALL.get(code)).copied();
            let index = copied_bytes(&mut values_room, values_index, index_len(count)?)?;
            for (key, value) in keys.zip(each_value(index, bytes(values_data, values_len)?)) {
                batch.push(state, key?, operation_of(code, value?)?);
            }
        }
        object.writer.apply(&batch)?;
        Ok(0)
    }

    /// Fetches what memory has of these keys into the processor's caches.
    fn writerPrefetch(writer: jlong, state_: jint, count: jint, keys_index: jlong, keys_data: jlong, keys_len: jint) {
        let mut object = of(writer)?;
        let mut room = Room::new();
        let data = copied_bytes(&mut room, keys_data, keys_len)?;
        let keys = keys(object.key_groups, keys_index, count, data)?;
        object.writer.prefetch(&[state(state_)?], keys);
        Ok(0)
    }

    /// Does the operations of a packed batch.
    fn writerApply(writer: jlong, address: jlong, len: jint) {
        with_batch(&mut *of(writer)?, address, len, |object, batch| Ok(object.writer.apply(batch)?))?;
        Ok(0)
    }

    /// Does the operations of a packed batch, reads among them, without waiting for the disk.
    fn writerSubmit(writer: jlong, address: jlong, len: jint, out: jlong) {
        let place = Place::at(out)?;
        let mut object = of(writer)?;
        let room = handles::reserve_child(object.store)?;
        let ticket = with_batch(&mut object, address, len, |object, batch| Ok(object.writer.submit(batch)?))?;
        place.insert_in(room, TicketObject::new(ticket))
    }

    /// Whether so many reads are in flight that no batch is submitted for now: 0 or 1.
    fn writerIsFull(writer: jlong) {
        Ok(of(writer)?.writer.is_full().into())
    }
}

fn with_batch<R>(
    object: &mut WriterObject,
    address: jlong,
    len: jint,
    run: impl FnOnce(&mut WriterObject, &Batch<'_>) -> Result<R, Failure>,
) -> Result<R, Failure> {
    // A copy: what another thread of the host writes over meanwhile, against the rules, must not be two different keys to the engine, which
    // hashes and compares them more than once.
    let mut room = Room::new();
    let operations = packed::decode(copied_bytes(&mut room, address, len)?)?;
    let ranges = packed::ranges(&operations);
    let batch = packed::batch(&operations, &ranges, object.key_groups)?;
    run(object, &batch)
}
