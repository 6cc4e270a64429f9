//! Commits of a store that is transactional or has a changelog, and transactions: all or nothing of what is written between two of them.

use crate::arguments::{Outcome, bytes, call, give, place, room_optional};
use crate::checkpoint::{leave_commit, offsets};
use crate::store::StoreObject;
use crate::types::*;
use crate::writer::with;
use alluvium::Commit;
use alluvium_ffi::handles;
use alluvium_ffi::{Misuse, Status};

/// A commit of the caller's.
pub(crate) unsafe fn commit(
    given: *const alluvium_offset,
    len: usize,
    metadata: alluvium_slice,
) -> Result<Commit, Misuse> {
    // SAFETY: the caller's.
    unsafe { Ok(Commit { offsets: offsets(given, len)?, metadata: bytes(metadata)?.to_vec(), ..Commit::default() }) }
}

/// Commits what all writers of the store wrote, as one, with where the sources stand and the host's metadata: what is staged, in a transactional
/// store. It lasts with the next checkpoint, and where the store has a changelog soon by itself: `alluvium_store_commit_lasting` says when.
/// `info` may be null; else close it with `alluvium_info_close`. `ALLUVIUM_OPTIONS` where the store is neither transactional nor has a changelog.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_commit(
    store: alluvium_store,
    offsets: *const alluvium_offset,
    offsets_len: usize,
    metadata: alluvium_slice,
    info: *mut alluvium_info,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let commit = commit(offsets, offsets_len, metadata)?;
            let object = handles::get::<StoreObject>(store.id)?;
            let room = room_optional(info, "info", store.id)?;
            let committed = object.store.commit(commit)?;
            leave_commit(info, room, &committed)
        })
    }
}

/// `alluvium_store_commit` of the writer's store, all its writers included, the shorter way.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_commit(
    writer: alluvium_writer,
    offsets: *const alluvium_offset,
    offsets_len: usize,
    metadata: alluvium_slice,
    info: *mut alluvium_info,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            let commit = commit(offsets, offsets_len, metadata)?;
            let room = room_optional(info, "info", object.store)?;
            let committed = object.writer.commit(commit)?;
            leave_commit(info, room, &committed)
        })
    }
}

/// Undoes what is staged, by all writers of the store, as one. `ALLUVIUM_OPTIONS` where the store isn't transactional.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_abort_transaction(
    store: alluvium_store,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            handles::get::<StoreObject>(store.id)?.store.abort_transaction()?;
            Ok(Status::Ok)
        })
    }
}

/// `alluvium_store_abort_transaction` of the writer's store, the shorter way.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_abort_transaction(
    writer: alluvium_writer,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| -> Outcome {
            object.writer.abort_transaction()?;
            Ok(Status::Ok)
        })
    }
}

/// What was committed last; before the first commit, what the store was opened with: no offsets and no metadata where that was nothing. Close it with
/// `alluvium_info_close`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_last_commit(
    store: alluvium_store,
    info: *mut alluvium_info,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            place(info, "info")?;
            let object = handles::get::<StoreObject>(store.id)?;
            leave_commit(info, room_optional(info, "info", store.id)?, &object.store.last_commit())
        })
    }
}

/// How much is staged, in bytes, about.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_staged_bytes(
    store: alluvium_store,
    staged_bytes: *mut u64,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let staged = handles::get::<StoreObject>(store.id)?.store.staged_bytes();
            give(staged_bytes, "staged_bytes", staged as u64)?;
            Ok(Status::Ok)
        })
    }
}
