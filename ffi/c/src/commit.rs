//! Commits, and whether they last: of a store with a changelog they do without a checkpoint.

use crate::arguments::{Context, Outcome, call, give, place, room_optional};
use crate::checkpoint::leave_commit;
use crate::store::StoreObject;
use crate::transaction::commit as given;
use crate::types::*;
use crate::writer::with;
use alluvium::{Committed, Lasting};
use alluvium_ffi::handles::{self, Handle, Many, Parent};
use alluvium_ffi::threads::callback;
use alluvium_ffi::{Failure, Kind, Misuse, Object, Status};
use std::ffi::c_void;

/// What a commit's handle stands for.
#[derive(Debug)]
pub struct CommitObject {
    committed: Committed,
    store: Handle,
}

// SAFETY: the only type of this kind, and `Sync`.
unsafe impl Object for CommitObject {
    const KIND: Kind = Kind::Commit;
    type Mode = Many;
}

/// A commit lasts as soon as the changelog is synced, which is shared with other commits (`changelog_delay_us`).
pub const ALLUVIUM_LASTING_SOON: u32 = 0;
/// A commit lasts with a later one, or with the next checkpoint: nothing is synced for it. After a crash the store is found at some earlier
/// commit, as a whole, with that one's offsets.
pub const ALLUVIUM_LASTING_WITH_LATER: u32 = 1;

fn when(number: u32) -> Result<Lasting, Misuse> {
    match number {
        ALLUVIUM_LASTING_SOON => Ok(Lasting::Soon),
        ALLUVIUM_LASTING_WITH_LATER => Ok(Lasting::WithLater),
        _ => Err(Misuse::Argument("when a commit is to last is unknown")),
    }
}

unsafe fn leave(commit: *mut alluvium_commit, room: Option<Parent>, committed: Committed, store: Handle) -> Outcome {
    if let Some(room) = room {
        let id = room.insert(CommitObject { committed, store })?;
        // SAFETY: the caller's `commit`.
        unsafe { give(commit, "commit", alluvium_commit { id }) }?;
    }
    Ok(Status::Ok)
}

/// Commits what all writers of a store wrote, as one, with where the sources stand and the host's metadata, and leaves the word on whether it
/// lasts. `lasting` is `ALLUVIUM_LASTING_...`. Needs a changelog (`ALLUVIUM_DURABILITY_CHANGELOG`) or a transactional store, which may have
/// one too. `commit` may be null; else close it with `alluvium_commit_close`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_store_commit_lasting(
    store: alluvium_store,
    offsets: *const alluvium_offset,
    offsets_len: usize,
    metadata: alluvium_slice,
    lasting: u32,
    commit: *mut alluvium_commit,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            let mut what = given(offsets, offsets_len, metadata)?;
            what.lasting = when(lasting)?;
            let object = handles::get::<StoreObject>(store.id)?;
            let room = room_optional(commit, "commit", store.id)?;
            leave(commit, room, object.store.commit(what)?, store.id)
        })
    }
}

/// `alluvium_store_commit_lasting` of the writer's store, all its writers included, the shorter way.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_commit_lasting(
    writer: alluvium_writer,
    offsets: *const alluvium_offset,
    offsets_len: usize,
    metadata: alluvium_slice,
    lasting: u32,
    commit: *mut alluvium_commit,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            let mut what = given(offsets, offsets_len, metadata)?;
            what.lasting = when(lasting)?;
            let room = room_optional(commit, "commit", object.store)?;
            leave(commit, room, object.writer.commit(what)?, object.store)
        })
    }
}

/// Waits until a commit lasts: whatever happens to the process or the machine from then on, the store is found at this commit or a later one.
/// The sync isn't put off for it any more. `ALLUVIUM_OPTIONS` where the store has no changelog: it lasts with the next checkpoint then.
/// `ALLUVIUM_BUSY` where a bulk load or a migration came before it that only a checkpoint will have. A failure of the class
/// `ALLUVIUM_CLASS_RETRY` isn't final: it may still come to last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_commit_wait(commit: alluvium_commit, error: *mut alluvium_error) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            handles::get::<CommitObject>(commit.id)?.committed.wait()?;
            Ok(Status::Ok)
        })
    }
}

/// As `alluvium_commit_wait`, but says `ALLUVIUM_PENDING` at once while the commit doesn't last yet, and hurries nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_commit_poll(commit: alluvium_commit, error: *mut alluvium_error) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || match handles::get::<CommitObject>(commit.id)?.committed.poll() {
            None => Ok(Status::Pending),
            Some(outcome) => {
                outcome?;
                Ok(Status::Ok)
            }
        })
    }
}

/// Has `lasting` called once, when a commit lasts or can't come to: now, if that is known, else by a thread of the library, which syncs nothing
/// more until it returns. It is called when the store is closed at the latest, and may be after `alluvium_commit_wait` returned; closing the commit
/// doesn't take that back. `context` is the library's from the call on, whatever that comes to, and is let go by `release`, which may be null, when
/// `lasting` was called.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_commit_on_lasting(
    commit: alluvium_commit,
    lasting: alluvium_lasting_fn,
    context: *mut c_void,
    release: alluvium_release_fn,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            // First: it is let go whatever comes.
            let context = Context::new(context, release);
            let lasting = lasting.ok_or(Misuse::Null("lasting"))?;
            handles::get::<CommitObject>(commit.id)?.committed.when_lasting(move |outcome| {
                let context = &context;
                let status = outcome.map_or_else(|error| Failure::from(error).status(), |()| Status::Ok);
                callback(|| lasting(context.pointer, status.code()));
            });
            Ok(Status::Ok)
        })
    }
}

/// The position in the changelog behind a commit; each has a greater one than those before. 0 where the store never had a changelog.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_commit_position(
    commit: alluvium_commit,
    position: *mut u64,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            give(position, "position", handles::get::<CommitObject>(commit.id)?.committed.position)?;
            Ok(Status::Ok)
        })
    }
}

/// What was committed; close it with `alluvium_info_close`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_commit_info(
    commit: alluvium_commit,
    info: *mut alluvium_info,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            place(info, "info")?;
            let object = handles::get::<CommitObject>(commit.id)?;
            leave_commit(info, room_optional(info, "info", object.store)?, &object.committed)
        })
    }
}

/// Closes a commit's handle; it comes to last all the same. `ALLUVIUM_IN_USE` while a call waits for it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_commit_close(commit: alluvium_commit, error: *mut alluvium_error) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { call(error, || Ok(handles::remove::<CommitObject>(commit.id).map(|_| Status::Ok)?)) }
}
