//! Checkpoints: from the barrier to their release, and what is known of them.

use crate::arguments::{
    Outcome, array, bytes, call, flag, give, options, place, range, range_out, room_optional, slice, text,
};
use crate::store::StoreObject;
use crate::types::*;
use crate::writer::with;
use alluvium::{Barrier, CheckpointInfo, CommitInfo, Epoch, KeyGroupRange, Pending, ReadsInFlight, Rewound};
use alluvium_ffi::handles::{self, Handle, Many, Parent};
use alluvium_ffi::{Kind, Misuse, Object, Status};
use std::ffi::c_char;
use std::path::Path;

/// What the handle of a checkpoint on its way stands for.
#[derive(Debug)]
pub struct PendingObject {
    pending: Pending,
    store: Handle,
}

// SAFETY: the only type of this kind, and `Sync`.
unsafe impl Object for PendingObject {
    const KIND: Kind = Kind::Pending;
    type Mode = Many;
}

/// What an info's handle stands for.
#[derive(Debug)]
pub struct InfoObject {
    known: CheckpointInfo,
}

// SAFETY: the only type of this kind, and `Sync`.
unsafe impl Object for InfoObject {
    const KIND: Kind = Kind::Info;
    type Mode = Many;
}

/// Reads in flight are waited for when a checkpoint is cut.
pub const ALLUVIUM_READS_DRAIN: u32 = 0;
/// A checkpoint is refused (`ALLUVIUM_BUSY`) while reads are in flight.
pub const ALLUVIUM_READS_REFUSE: u32 = 1;

/// What a checkpoint is to carry. All zero but for `size` and `label` is usual.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_barrier {
    /// The length of this in bytes, as the program knows it.
    pub size: u32,
    /// `ALLUVIUM_READS_...`.
    pub reads: u32,
    /// The host's name of the checkpoint, any number. Where two have the same one, the younger is found by it.
    pub label: u64,
    /// Where the sources stand. Empty in a transactional store, and so is the metadata.
    pub offsets: *const alluvium_offset,
    /// How many.
    pub offsets_len: usize,
    /// The host's metadata.
    pub metadata: alluvium_slice,
    /// Whether the checkpoint stands alone, sharing files with no other: 0 or 1.
    pub standalone: u32,
}

/// Offsets of the caller's.
pub(crate) unsafe fn offsets(
    given: *const alluvium_offset,
    len: usize,
) -> Result<Vec<(KeyGroupRange, Vec<u8>)>, Misuse> {
    // SAFETY: the caller's offsets.
    let given = unsafe { array(given, len) }?.iter();
    // SAFETY: as above.
    given.map(|given| Ok((range(given.range)?, unsafe { bytes(given.offset) }?.to_vec()))).collect()
}

unsafe fn barrier(pointer: *const alluvium_barrier) -> Result<Barrier, Misuse> {
    if pointer.is_null() {
        return Err(Misuse::Null("barrier"));
    }
    let none = alluvium_slice { data: std::ptr::null(), len: 0 };
    let defaults = alluvium_barrier {
        size: 0,
        reads: ALLUVIUM_READS_DRAIN,
        label: 0,
        offsets: std::ptr::null(),
        offsets_len: 0,
        metadata: none,
        standalone: 0,
    };
    // SAFETY: the caller's barrier.
    let given = unsafe { options(pointer, defaults, &[]) }?;
    let reads = match given.reads {
        ALLUVIUM_READS_DRAIN => ReadsInFlight::Drain,
        ALLUVIUM_READS_REFUSE => ReadsInFlight::Refuse,
        _ => return Err(Misuse::Argument("what becomes of reads in flight is unknown")),
    };
    // SAFETY: as above.
    let (offsets, metadata) = unsafe { (offsets(given.offsets, given.offsets_len)?, bytes(given.metadata)?.to_vec()) };
    Ok(Barrier { label: given.label, offsets, metadata, reads, standalone: flag(given.standalone)? })
}

unsafe fn leave(pending: *mut alluvium_pending, room: Parent, cut: Pending, store: Handle) -> Outcome {
    let id = room.insert(PendingObject { pending: cut, store })?;
    // SAFETY: the caller's `pending`.
    unsafe { give(pending, "pending", alluvium_pending { id }) }?;
    Ok(Status::Ok)
}

/// Cuts the store's epoch: everything written before is in the checkpoint, nothing written after. It becomes complete in the background.
/// Close what it gives with `alluvium_pending_close`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_barrier(
    store: alluvium_store,
    barrier_: *const alluvium_barrier,
    pending: *mut alluvium_pending,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            place(pending, "pending")?;
            let barrier = barrier(barrier_)?;
            let object = handles::get::<StoreObject>(store.id)?;
            let room = handles::reserve_child(store.id)?;
            leave(pending, room, object.store.barrier(barrier)?, store.id)
        })
    }
}

/// `alluvium_store_barrier` of the writer's store, all its writers included: from the thread of a writer it is the shorter way.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_barrier(
    writer: alluvium_writer,
    barrier_: *const alluvium_barrier,
    pending: *mut alluvium_pending,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            place(pending, "pending")?;
            let (barrier, room) = (barrier(barrier_)?, handles::reserve_child(object.store)?);
            leave(pending, room, object.writer.barrier(barrier)?, object.store)
        })
    }
}

pub(crate) unsafe fn leave_info(info: *mut alluvium_info, known: CheckpointInfo, store: Handle) -> Outcome {
    // SAFETY: the caller's `info`.
    unsafe { leave_in(info, room_optional(info, "info", store)?, known) }
}

/// What a rollback came to, as an info.
pub(crate) unsafe fn leave_rewound(info: *mut alluvium_info, room: Option<Parent>, rewound: Rewound) -> Outcome {
    let Rewound { label, number, offsets, metadata, position } = rewound;
    let known = CheckpointInfo { label, number, position, offsets, metadata, ..nothing_known() };
    // SAFETY: the caller's `info`.
    unsafe { leave_in(info, room, known) }
}

const fn nothing_known() -> CheckpointInfo {
    CheckpointInfo {
        label: 0,
        number: 0,
        epoch: Epoch(0),
        created_ms: 0,
        position: 0,
        offsets: Vec::new(),
        metadata: Vec::new(),
        segments: 0,
        new_segments: 0,
        total_bytes: 0,
        new_bytes: 0,
        flushed_bytes: 0,
        changed_bytes: 0,
    }
}

unsafe fn leave_in(info: *mut alluvium_info, room: Option<Parent>, known: CheckpointInfo) -> Outcome {
    if let Some(room) = room {
        let id = room.insert(InfoObject { known })?;
        // SAFETY: the caller's `info`.
        unsafe { give(info, "info", alluvium_info { id }) }?;
    }
    Ok(Status::Ok)
}

/// Waits until a checkpoint is complete, or can't become so, and gives what is known of it (`info` may be null; else close it with
/// `alluvium_info_close`). `ALLUVIUM_CHECKPOINT` where it was given up. Several threads may wait, and each may ask again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_pending_wait(
    pending: alluvium_pending,
    info: *mut alluvium_info,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let object = handles::get::<PendingObject>(pending.id)?;
            leave_info(info, object.pending.wait()?, object.store)
        })
    }
}

/// The label of a checkpoint on its way.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_pending_label(
    pending: alluvium_pending,
    label: *mut u64,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            give(label, "label", handles::get::<PendingObject>(pending.id)?.pending.label())?;
            Ok(Status::Ok)
        })
    }
}

/// As `alluvium_pending_wait`, but says `ALLUVIUM_PENDING` at once while the checkpoint is on its way.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_pending_poll(
    pending: alluvium_pending,
    info: *mut alluvium_info,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let object = handles::get::<PendingObject>(pending.id)?;
            match object.pending.poll() {
                None => Ok(Status::Pending),
                Some(outcome) => leave_info(info, outcome?, object.store),
            }
        })
    }
}

/// Gives a checkpoint up. Its changes stay in the store and join the next one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_pending_abort(
    pending: alluvium_pending,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            handles::get::<PendingObject>(pending.id)?.pending.abort()?;
            Ok(Status::Ok)
        })
    }
}

/// Closes the handle of a checkpoint on its way; the checkpoint completes all the same. `ALLUVIUM_IN_USE` while a call waits for it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_pending_close(
    pending: alluvium_pending,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { call(error, || Ok(handles::remove::<PendingObject>(pending.id).map(|_| Status::Ok)?)) }
}

/// The numbers of a checkpoint. Of a commit, the epoch alone.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct alluvium_numbers {
    /// The length of this in bytes, as the program knows it; set it before.
    pub size: u32,
    /// Everything of this epoch and earlier ones is in it.
    pub epoch: u32,
    /// The host's label.
    pub label: u64,
    /// Its number in the store; each has a greater one than those before.
    pub number: u64,
    /// When it was made, in ms since 1970, by the machine's clock.
    pub created_ms: u64,
    /// How many segments it names.
    pub segments: u64,
    /// How many of them no earlier checkpoint named.
    pub new_segments: u64,
    /// Bytes of all its files, the manifest included.
    pub total_bytes: u64,
    /// Bytes of the new ones among them.
    pub new_bytes: u64,
    /// Bytes that were flushed for it.
    pub flushed_bytes: u64,
    /// Bytes of keys and values that had changed since the checkpoint before.
    pub changed_bytes: u64,
    /// How many ranges of key groups have offsets.
    pub offsets: u64,
}

/// The numbers of a checkpoint or commit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_info_numbers(
    info: alluvium_info,
    numbers: *mut alluvium_numbers,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let object = handles::get::<InfoObject>(info.id)?;
            place(numbers, "numbers")?;
            let size = numbers.cast::<u32>().read();
            if size as usize != size_of::<alluvium_numbers>() {
                return Err(Misuse::Abi.into());
            }
            let known = &object.known;
            let all = alluvium_numbers {
                size,
                epoch: known.epoch.0,
                label: known.label,
                number: known.number,
                created_ms: known.created_ms,
                segments: known.segments as u64,
                new_segments: known.new_segments as u64,
                total_bytes: known.total_bytes,
                new_bytes: known.new_bytes,
                flushed_bytes: known.flushed_bytes,
                changed_bytes: known.changed_bytes,
                offsets: known.offsets.len() as u64,
            };
            give(numbers, "numbers", all)?;
            Ok(Status::Ok)
        })
    }
}

/// The host's metadata of a checkpoint or commit; it stays until the info is closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_info_metadata(
    info: alluvium_info,
    metadata: *mut alluvium_slice,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            give(metadata, "metadata", slice(&handles::get::<InfoObject>(info.id)?.known.metadata))?;
            Ok(Status::Ok)
        })
    }
}

/// Where the sources stood for a range of key groups, by its place; the bytes stay until the info is closed. `ALLUVIUM_NOT_FOUND` where
/// there is no such place.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_info_offset(
    info: alluvium_info,
    index: usize,
    offset: *mut alluvium_offset,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            place(offset, "offset")?;
            let object = handles::get::<InfoObject>(info.id)?;
            let Some((range, bytes)) = object.known.offsets.get(index) else { return Ok(Status::NotFound) };
            give(offset, "offset", alluvium_offset { range: range_out(*range), offset: slice(bytes) })?;
            Ok(Status::Ok)
        })
    }
}

/// The position in the changelog behind a commit, or before which a checkpoint has everything; 0 where there is no changelog.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_info_position(
    info: alluvium_info,
    position: *mut u64,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            give(position, "position", handles::get::<InfoObject>(info.id)?.known.position)?;
            Ok(Status::Ok)
        })
    }
}

/// Closes an info.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_info_close(info: alluvium_info, error: *mut alluvium_error) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { call(error, || Ok(handles::remove::<InfoObject>(info.id).map(|_| Status::Ok)?)) }
}

/// What is known of a commit, as an info.
pub(crate) unsafe fn leave_commit(info: *mut alluvium_info, room: Option<Parent>, commit: &CommitInfo) -> Outcome {
    let (epoch, position) = (commit.epoch, commit.position);
    let (offsets, metadata) = (commit.offsets.clone(), commit.metadata.clone());
    let known = CheckpointInfo { epoch, position, offsets, metadata, ..nothing_known() };
    // SAFETY: the caller's `info`.
    unsafe { leave_in(info, room, known) }
}

/// How many checkpoints a store keeps.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_checkpoints(
    store: alluvium_store,
    count: *mut usize,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            give(count, "count", handles::get::<StoreObject>(store.id)?.store.checkpoints().len())?;
            Ok(Status::Ok)
        })
    }
}

/// What is known of a checkpoint that a store keeps, by its place, oldest first; `ALLUVIUM_NOT_FOUND` where there is no such place. Close it
/// with `alluvium_info_close`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_checkpoint(
    store: alluvium_store,
    index: usize,
    info: *mut alluvium_info,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            place(info, "info")?;
            let mut all = handles::get::<StoreObject>(store.id)?.store.checkpoints();
            if index >= all.len() {
                return Ok(Status::NotFound);
            }
            leave_info(info, all.swap_remove(index), store.id)
        })
    }
}

/// What is known of the checkpoint that a store was opened at; `ALLUVIUM_NOT_FOUND` where it was created. Close it with
/// `alluvium_info_close`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_restored(
    store: alluvium_store,
    info: *mut alluvium_info,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            place(info, "info")?;
            let object = handles::get::<StoreObject>(store.id)?;
            let Some(known) = object.store.restored() else { return Ok(Status::NotFound) };
            leave_info(info, known.clone(), store.id)
        })
    }
}

/// Runs what says something of a checkpoint.
unsafe fn said(
    store: alluvium_store,
    error: *mut alluvium_error,
    say: impl FnOnce(&alluvium::Store) -> alluvium::Result<()>,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            say(&handles::get::<StoreObject>(store.id)?.store)?;
            Ok(Status::Ok)
        })
    }
}

/// Keeps a checkpoint until it is released or the store is closed. That isn't written down: whoever opens the store again retains it again, before the next
/// checkpoint is complete. `ALLUVIUM_CHECKPOINT` where the store has none of this label.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_retain(
    store: alluvium_store,
    label: u64,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { said(store, error, |store| store.retain(label)) }
}

/// Lets go of a checkpoint. The newest one always stays; so does that which the store was opened at, until the next is complete.
/// `ALLUVIUM_CHECKPOINT` where the store has none of this label.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_release(
    store: alluvium_store,
    label: u64,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { said(store, error, |store| store.release(label)) }
}

/// The host's word that a checkpoint is complete, its parts in other places included. Words may come late, twice, or for what is gone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_confirm(
    store: alluvium_store,
    label: u64,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { said(store, error, |store| store.confirm(label)) }
}

/// The host's word that it gave a checkpoint up.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_abort(
    store: alluvium_store,
    label: u64,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { said(store, error, |store| store.abort(label)) }
}

/// The host's word that it needs neither this checkpoint nor those before it any more, but for those that it retains.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_subsume(
    store: alluvium_store,
    label: u64,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { said(store, error, |store| store.subsume(label)) }
}

/// Puts a checkpoint's files into another, existing directory, durably: it can then be opened or restored from.
/// `ALLUVIUM_OPTIONS` where there is no such directory, `ALLUVIUM_EXISTS` where another file has the name of one of them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_export(
    store: alluvium_store,
    label: u64,
    directory: *const c_char,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let directory = Path::new(text(directory, "directory")?);
            handles::get::<StoreObject>(store.id)?.store.export(label, directory)?;
            Ok(Status::Ok)
        })
    }
}
