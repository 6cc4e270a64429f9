//! Checkpoints: from the barrier to their release, and what is known of them.

use crate::entry::{NOT_FOUND, PENDING, Place, answer, bytes, natives};
use crate::store::StoreObject;
use crate::wire::{Request, Response};
use crate::writer;
use alluvium::{Barrier, CheckpointInfo, KeyGroupRange, Pending, ReadsInFlight};
use alluvium_ffi::handles::{self, Handle, Many};
use alluvium_ffi::{Kind, Misuse, Object};
use jni::sys::{jint, jlong};
use std::path::Path;

/// What the handle of a checkpoint on its way stands for.
#[derive(Debug)]
pub struct PendingObject(Pending);

// SAFETY: the only type of this kind, and `Sync`.
unsafe impl Object for PendingObject {
    const KIND: Kind = Kind::Pending;
    type Mode = Many;
}

pub(crate) type Offsets = Vec<(KeyGroupRange, Vec<u8>)>;

pub(crate) fn offsets(request: &mut Request<'_>) -> Result<Offsets, Misuse> {
    request.list(|request| Ok((request.range()?, request.bytes()?.to_vec())))
}

/// Label, whether reads in flight refuse it, whether it stands alone, metadata, offsets.
fn barrier(address: jlong, len: jint) -> Result<Barrier, Misuse> {
    let mut request = Request(bytes(address, len)?);
    let label = request.long()? as u64;
    let reads = if request.flag()? { ReadsInFlight::Refuse } else { ReadsInFlight::Drain };
    let (standalone, metadata) = (request.flag()?, request.bytes()?.to_vec());
    Ok(Barrier { label, offsets: offsets(&mut request)?, metadata, reads, standalone })
}

pub(crate) fn put_offsets(out: &mut Response, metadata: &[u8], offsets: &Offsets) {
    out.bytes(metadata).int(offsets.len() as i32);
    for (range, offset) in offsets {
        out.int(range.first().into()).int(range.last().into()).bytes(offset);
    }
}

/// Epoch, label, number, time, segments, bytes and position; then metadata and offsets.
fn put_info(out: &mut Response, info: &CheckpointInfo) {
    out.int(info.epoch.0 as i32).long(info.label).long(info.number).long(info.created_ms);
    out.long(info.segments as u64).long(info.new_segments as u64).long(info.total_bytes).long(info.new_bytes);
    out.long(info.flushed_bytes).long(info.changed_bytes).long(info.position);
    put_offsets(out, &info.metadata, &info.offsets);
}

pub(crate) fn info(info: &CheckpointInfo) -> Vec<u8> {
    let mut out = Response::default();
    put_info(&mut out, info);
    out.0
}

natives! {
    /// Cuts the store's epoch.
    fn storeBarrier(store: jlong, out: jlong, address: jlong, len: jint) {
        let (place, barrier) = (Place::at(out)?, barrier(address, len)?);
        let object = handles::get::<StoreObject>(store as Handle)?;
        let room = handles::reserve_child(store as Handle)?;
        place.insert_in(room, PendingObject(object.store.barrier(barrier)?))
    }

    /// The same from a writer's thread.
    fn writerBarrier(writer: jlong, out: jlong, address: jlong, len: jint) {
        let (place, barrier) = (Place::at(out)?, barrier(address, len)?);
        let mut object = writer::of(writer)?;
        let room = handles::reserve_child(object.store)?;
        place.insert_in(room, PendingObject(object.writer.barrier(barrier)?))
    }

    /// The label of a checkpoint on its way, into 8 bytes.
    fn pendingLabel(pending: jlong, into: jlong, capacity: jint) {
        let label = handles::get::<PendingObject>(pending as Handle)?.0.label();
        answer(label.to_le_bytes().to_vec(), into, capacity)
    }

    /// Waits until a checkpoint is complete, and says what is known of it.
    fn pendingWait(pending: jlong, into: jlong, capacity: jint) {
        let known = handles::get::<PendingObject>(pending as Handle)?.0.wait()?;
        answer(info(&known), into, capacity)
    }

    /// The same without waiting.
    fn pendingPoll(pending: jlong, into: jlong, capacity: jint) {
        match handles::get::<PendingObject>(pending as Handle)?.0.poll() {
            None => Ok(PENDING),
            Some(known) => answer(info(&known?), into, capacity),
        }
    }

    /// Gives a checkpoint up.
    fn pendingAbort(pending: jlong) {
        handles::get::<PendingObject>(pending as Handle)?.0.abort()?;
        Ok(0)
    }

    /// What is known of all checkpoints that a store keeps, oldest first.
    fn storeCheckpoints(store: jlong, into: jlong, capacity: jint) {
        let all = handles::get::<StoreObject>(store as Handle)?.store.checkpoints();
        let mut out = Response::default();
        out.int(all.len() as i32);
        all.iter().for_each(|one| put_info(&mut out, one));
        answer(out.0, into, capacity)
    }

    /// What is known of the checkpoint that a store was opened at.
    fn storeRestored(store: jlong, into: jlong, capacity: jint) {
        let object = handles::get::<StoreObject>(store as Handle)?;
        let Some(known) = object.store.restored() else { return Ok(NOT_FOUND) };
        answer(info(known), into, capacity)
    }

    /// Says something of a checkpoint: retain (0), release (1), confirm (2), abort (3), subsume (4).
    fn storeSay(store: jlong, what: jint, label: jlong) {
        let object = handles::get::<StoreObject>(store as Handle)?;
        let (store, label) = (&object.store, label as u64);
        match what {
            0 => store.retain(label)?,
            1 => store.release(label)?,
            2 => store.confirm(label)?,
            3 => store.abort(label)?,
            4 => store.subsume(label)?,
            _ => return Err(Misuse::Argument("an unknown word on a checkpoint").into()),
        }
        Ok(0)
    }

    /// Puts a checkpoint's files into another directory.
    fn storeExport(store: jlong, label: jlong, address: jlong, len: jint) {
        let directory = Path::new(Request(bytes(address, len)?).text()?);
        handles::get::<StoreObject>(store as Handle)?.store.export(label as u64, directory)?;
        Ok(0)
    }
}
