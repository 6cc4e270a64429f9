//! The library itself: versions, failures, memory, closing, and what happens when it is unloaded.

use crate::bulk::LoadObject;
use crate::checkpoint::PendingObject;
use crate::commit::CommitObject;
use crate::cursor::CursorObject;
use crate::engine::{self, ShareObject};
use crate::entry::{self, Outcome, natives};
use crate::fetches::FetchesObject;
use crate::files::{FilesObject, IteratorObject};
use crate::past::PastObject;
use crate::reader::{ReaderObject, SnapshotObject};
use crate::store::StoreObject;
use crate::ticket::TicketObject;
use crate::upcall;
use crate::writer::WriterObject;
use alluvium_ffi::handles::{self, Handle};
use alluvium_ffi::{Kind, Misuse, Object, threads};
use jni::objects::JByteBuffer;
use jni::sys::{JNI_VERSION_1_8, JavaVM, jint, jlong};
use jni::{EnvUnowned, Outcome as EnvOutcome};
use std::ffi::c_void;

/// Goes up whenever a native's arguments or answers change: a library of another version is refused.
pub const INTERFACE_VERSION: jlong = 11;

/// Where a direct buffer's memory begins; 0 where it is none.
#[unsafe(export_name = "Java_io_alluvium_Native_address")]
pub extern "system" fn address<'local>(
    mut env: EnvUnowned<'local>,
    _class: jni::objects::JClass<'local>,
    buffer: JByteBuffer<'local>,
) -> jlong {
    let found = env.with_env(|env| env.get_direct_buffer_address(&buffer).map(|address| address as jlong));
    match found.into_outcome() {
        EnvOutcome::Ok(address) => address,
        EnvOutcome::Err(_) | EnvOutcome::Panic(_) => 0,
    }
}

natives! {
    /// [`INTERFACE_VERSION`].
    fn interfaceVersion() {
        Ok(INTERFACE_VERSION)
    }

    /// Does nothing with as many arguments as a get has: what a call costs by itself.
    fn nothing(_handle: jlong, _state: jint, _group: jint, _key: jlong, _key_len: jint, _ns_len: jint, _into: jlong, _capacity: jint) {
        Ok(0)
    }

    /// The last failure of the calling thread: `status i32 | class i32 | message`.
    fn failure(into: jlong, capacity: jint) {
        entry::failure(into, capacity)
    }

    /// An answer of the calling thread's that didn't fit in the memory that its call brought, which has its number.
    fn keptAnswer(number: jlong, into: jlong, capacity: jint) {
        entry::kept_answer(number, into, capacity)
    }

    /// How many objects are open.
    fn openObjects() {
        Ok(handles::open_objects() as jlong)
    }

    /// Closes what a handle of this kind stands for; of an engine it says whether its threads have ended: 0 or 1.
    fn close(kind: jint, handle: jlong) {
        close_object(kind, handle as Handle)
    }

    /// Closes what nobody in Java refers to any more, whatever thread it belonged to.
    fn release(kind: jint, handle: jlong) {
        let handle = handle as Handle;
        if kind == Kind::Writer as jint {
            // SAFETY: the Java object that held the handle was found unreachable, which comes after all of its calls.
            unsafe { handles::reclaim::<WriterObject>(handle) }?;
            return Ok(0);
        }
        close_object(kind, handle)
    }
}

fn removed<T: Object>(handle: Handle) -> Outcome {
    handles::remove::<T>(handle)?;
    Ok(0)
}

fn close_object(kind: jint, handle: Handle) -> Outcome {
    match kind {
        kind if kind == Kind::Engine as jint => engine::close(handle),
        kind if kind == Kind::Store as jint => {
            // The engine isn't closed meanwhile.
            let (store, _parent) = handles::remove::<StoreObject>(handle)?.into_parts();
            let closed = store.close();
            // Of stores that were closed before.
            upcall::let_go();
            closed
        }
        kind if kind == Kind::Share as jint => removed::<ShareObject>(handle),
        kind if kind == Kind::Writer as jint => removed::<WriterObject>(handle),
        kind if kind == Kind::Reader as jint => removed::<ReaderObject>(handle),
        kind if kind == Kind::Snapshot as jint => removed::<SnapshotObject>(handle),
        kind if kind == Kind::Past as jint => removed::<PastObject>(handle),
        kind if kind == Kind::Cursor as jint => removed::<CursorObject>(handle),
        kind if kind == Kind::Ticket as jint => removed::<TicketObject>(handle),
        kind if kind == Kind::Pending as jint => removed::<PendingObject>(handle),
        kind if kind == Kind::Commit as jint => removed::<CommitObject>(handle),
        kind if kind == Kind::Files as jint => removed::<FilesObject>(handle),
        kind if kind == Kind::Fetches as jint => removed::<FetchesObject>(handle),
        kind if kind == Kind::Iterator as jint => removed::<IteratorObject>(handle),
        kind if kind == Kind::BulkLoad as jint => removed::<LoadObject>(handle),
        _ => Err(Misuse::Argument("an unknown kind of object").into()),
    }
}

/// The library was loaded: says which version of JNI it needs.
#[unsafe(no_mangle)]
pub extern "system" fn JNI_OnLoad(_vm: *mut JavaVM, _reserved: *mut c_void) -> jint {
    JNI_VERSION_1_8
}

/// The class loader is gone, and the library is about to go: what is still open is dropped, so that no thread of the engine
/// runs code that is no more.
#[unsafe(no_mangle)]
pub extern "system" fn JNI_OnUnload(_vm: *mut JavaVM, _reserved: *mut c_void) {
    entry::call(|| {
        // Not on this thread, which lives on: whoever had to wait has something left to be done at its end, for which the system keeps the library.
        if !threads::run_apart(drop_all) {
            drop_all();
        }
        upcall::let_go();
        Ok(0)
    });
}

fn drop_all() {
    // SAFETY: natives are called by classes of the loader alone, which is unreachable, and so is every object of theirs.
    unsafe { handles::drop_all() };
}
