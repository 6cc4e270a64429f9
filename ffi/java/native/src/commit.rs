//! Commits, whether they last, and aborts.

use crate::checkpoint::{offsets, put_offsets};
use crate::entry::{PENDING, Place, answer, bytes, natives};
use crate::store::StoreObject;
use crate::wire::{Request, Response};
use crate::writer;
use alluvium::{Commit, CommitInfo, Committed, Lasting};
use alluvium_ffi::handles::{self, Handle, Many};
use alluvium_ffi::{Kind, Misuse, Object};
use jni::sys::{jint, jlong};

/// What a commit's handle stands for.
#[derive(Debug)]
pub struct CommitObject(Committed);

// SAFETY: the only type of this kind, and `Sync`.
unsafe impl Object for CommitObject {
    const KIND: Kind = Kind::Commit;
    type Mode = Many;
}

/// Metadata, offsets.
fn commit(address: jlong, len: jint) -> Result<Commit, Misuse> {
    let mut request = Request(bytes(address, len)?);
    let metadata = request.bytes()?.to_vec();
    Ok(Commit { offsets: offsets(&mut request)?, metadata, ..Commit::default() })
}

/// The same, and when it is to last: soon (0), with a later one (1).
fn commit_lasting(lasting: jint, address: jlong, len: jint) -> Result<Commit, Misuse> {
    let lasting = match lasting {
        0 => Lasting::Soon,
        1 => Lasting::WithLater,
        _ => return Err(Misuse::Argument("when a commit is to last is unknown")),
    };
    Ok(Commit { lasting, ..commit(address, len)? })
}

/// Epoch and position; then metadata and offsets.
fn committed(commit: &CommitInfo) -> Vec<u8> {
    let mut out = Response::default();
    out.int(commit.epoch.0 as i32).long(commit.position);
    put_offsets(&mut out, &commit.metadata, &commit.offsets);
    out.0
}

natives! {
    /// Commits what all writers of the store wrote.
    fn storeCommit(store: jlong, address: jlong, len: jint, into: jlong, capacity: jint) {
        let commit = commit(address, len)?;
        let known = handles::get::<StoreObject>(store as Handle)?.store.commit(commit)?;
        answer(committed(&known), into, capacity)
    }

    /// The same from a writer's thread.
    fn writerCommit(writer: jlong, address: jlong, len: jint, into: jlong, capacity: jint) {
        let commit = commit(address, len)?;
        let known = writer::of(writer)?.writer.commit(commit)?;
        answer(committed(&known), into, capacity)
    }

    /// Commits what all writers of the store wrote, and leaves the word on whether it lasts.
    fn storeCommitLasting(store: jlong, out: jlong, lasting: jint, address: jlong, len: jint) {
        let (place, commit) = (Place::at(out)?, commit_lasting(lasting, address, len)?);
        let object = handles::get::<StoreObject>(store as Handle)?;
        let room = handles::reserve_child(store as Handle)?;
        place.insert_in(room, CommitObject(object.store.commit(commit)?))
    }

    /// The same from a writer's thread.
    fn writerCommitLasting(writer: jlong, out: jlong, lasting: jint, address: jlong, len: jint) {
        let (place, commit) = (Place::at(out)?, commit_lasting(lasting, address, len)?);
        let mut object = writer::of(writer)?;
        let room = handles::reserve_child(object.store)?;
        place.insert_in(room, CommitObject(object.writer.commit(commit)?))
    }

    /// Waits until a commit lasts.
    fn commitWait(commit: jlong) {
        handles::get::<CommitObject>(commit as Handle)?.0.wait()?;
        Ok(0)
    }

    /// Whether it does.
    fn commitPoll(commit: jlong) {
        match handles::get::<CommitObject>(commit as Handle)?.0.poll() {
            None => Ok(PENDING),
            Some(outcome) => {
                outcome?;
                Ok(0)
            }
        }
    }

    /// The position in the changelog behind it.
    fn commitPosition(commit: jlong) {
        Ok(handles::get::<CommitObject>(commit as Handle)?.0.position as jlong)
    }

    /// What was committed.
    fn commitInfo(commit: jlong, into: jlong, capacity: jint) {
        let object = handles::get::<CommitObject>(commit as Handle)?;
        answer(committed(&object.0), into, capacity)
    }

    /// What was committed last.
    fn storeLastCommit(store: jlong, into: jlong, capacity: jint) {
        let last = handles::get::<StoreObject>(store as Handle)?.store.last_commit();
        answer(committed(&last), into, capacity)
    }

    /// Undoes what is staged by all writers of the store.
    fn storeAbortTransaction(store: jlong) {
        handles::get::<StoreObject>(store as Handle)?.store.abort_transaction()?;
        Ok(0)
    }

    /// The same from a writer's thread.
    fn writerAbortTransaction(writer: jlong) {
        writer::of(writer)?.writer.abort_transaction()?;
        Ok(0)
    }
}
