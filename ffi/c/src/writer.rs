//! Writers: values, one key at a time, and whose thread they are.

use crate::arguments::{NOTHING, Outcome, answer, bytes, call, copied_key, give, key, place, range, range_out, slice};
use crate::buffer;
use crate::store::StoreObject;
use crate::types::*;
use alluvium::{State, StateId, Writer};
use alluvium_ffi::copied::Room;
use alluvium_ffi::handles::{self, Handle, Own};
use alluvium_ffi::threads::callback;
use alluvium_ffi::{Kind, Misuse, Object, Status};
use std::ffi::c_void;
use std::ptr::NonNull;

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

/// Runs a writer's operation.
#[inline]
pub(crate) unsafe fn with(
    writer: alluvium_writer,
    error: *mut alluvium_error,
    operation: impl FnOnce(&mut WriterObject) -> Outcome,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { call(error, || operation(&mut *handles::get::<WriterObject>(writer.id)?)) }
}

/// The state of a number.
#[inline]
pub(crate) const fn numbered(state: u16) -> State {
    State::numbered(StateId(state))
}

/// Claims a range of key groups for writing: `ALLUVIUM_RANGE_CLAIMED` while another writer holds any of them, `ALLUVIUM_OUTSIDE_RANGE` where the store
/// doesn't. The writer belongs to the calling thread. Close it with `alluvium_writer_close`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_open(
    store: alluvium_store,
    range_: alluvium_range,
    writer: *mut alluvium_writer,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        call(error, || {
            place(writer, "writer")?;
            let object = handles::get::<StoreObject>(store.id)?;
            let (opened, key_groups) = (object.store.writer(range(range_)?)?, object.store.key_groups());
            let id = handles::insert(WriterObject { writer: opened, key_groups, store: store.id }, store.id)?;
            give(writer, "writer", alluvium_writer { id })?;
            Ok(Status::Ok)
        })
    }
}

/// Lets a writer's range go; what it wrote stays, and so do tickets of it. By its thread alone, or by any where it is shared: `ALLUVIUM_IN_USE` while
/// another one is inside.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_close(writer: alluvium_writer, error: *mut alluvium_error) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { call(error, || Ok(handles::remove::<WriterObject>(writer.id).map(|_| Status::Ok)?)) }
}

/// Gives a writer up to the thread that adopts it first (`alluvium_writer_adopt`). By its thread alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_give_away(
    writer: alluvium_writer,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { call(error, || Ok(handles::give_away::<WriterObject>(writer.id).map(|()| Status::Ok)?)) }
}

/// Makes a writer the calling thread's that was given away, or whose thread has ended: `ALLUVIUM_WRONG_THREAD` else.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_adopt(writer: alluvium_writer, error: *mut alluvium_error) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { call(error, || Ok(handles::adopt::<WriterObject>(writer.id).map(|()| Status::Ok)?)) }
}

/// Lets any thread use a writer from now on, one waiting for the other, which costs each call a lock. By its thread alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_share(writer: alluvium_writer, error: *mut alluvium_error) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe { call(error, || Ok(handles::share::<WriterObject>(writer.id).map(|()| Status::Ok)?)) }
}

/// The key groups of a writer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_range(
    writer: alluvium_writer,
    range: *mut alluvium_range,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            give(range, "range", range_out(object.writer.range()))?;
            Ok(Status::Ok)
        })
    }
}

/// Sets the clock that decides what is expired, in ms. It is the caller's, begins at 0 with each writer, and only moves when it is set: so it is
/// set before the first operation where anything expires. Compaction purges by the lowest clock of the store's writers: one that never sets it keeps everything.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_set_time(
    writer: alluvium_writer,
    now_ms: u64,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            object.writer.set_time_ms(now_ms);
            Ok(Status::Ok)
        })
    }
}

/// A value, copied into `memory`, and its length. `ALLUVIUM_NOT_FOUND` where there is none, and `*len` is 0; `ALLUVIUM_TOO_SMALL` where it is longer than
/// `capacity`: then `*len` says how long. For value and merging states.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_get(
    writer: alluvium_writer,
    state: u16,
    key_: *const alluvium_key,
    memory: *mut u8,
    capacity: usize,
    len: *mut usize,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            let key = key(key_, object.key_groups)?;
            object.writer.read(numbered(state), key, |value| answer(value, memory, capacity, len))?
        })
    }
}

/// A value, into a buffer, which grows as it must: for values whose length nobody knows. `ALLUVIUM_NOT_FOUND` where there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_get_buffer(
    writer: alluvium_writer,
    state: u16,
    key_: *const alluvium_key,
    buffer: alluvium_buffer,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            let key = key(key_, object.key_groups)?;
            object.writer.read(numbered(state), key, |value| buffer::answer(buffer, value))?
        })
    }
}

/// Has `look` look at a value where it lies, which copies nothing: for large values of which little is wanted. `ALLUVIUM_NOT_FOUND` where there
/// is none; then `look` isn't called. For value and merging states.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_read(
    writer: alluvium_writer,
    state: u16,
    key_: *const alluvium_key,
    look: alluvium_read_fn,
    context: *mut c_void,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            let look = look.ok_or(Misuse::Null("look"))?;
            let key = key(key_, object.key_groups)?;
            let seen = object.writer.read(numbered(state), key, |value| {
                value.map(|value| callback(|| look(context, slice(value)))).is_some()
            })?;
            Ok(if seen { Status::Ok } else { Status::NotFound })
        })
    }
}

/// Puts a value. For value and merging states.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_put(
    writer: alluvium_writer,
    state: u16,
    key_: *const alluvium_key,
    value: alluvium_slice,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            let key = key(key_, object.key_groups)?;
            object.writer.put(numbered(state), key, bytes(value)?)?;
            Ok(Status::Ok)
        })
    }
}

/// Deletes a value, a list, or a merging state's value.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_delete(
    writer: alluvium_writer,
    state: u16,
    key_: *const alluvium_key,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            let key = key(key_, object.key_groups)?;
            object.writer.delete(numbered(state), key)?;
            Ok(Status::Ok)
        })
    }
}

/// Merges an operand into a value, without reading it. For merging states.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_merge(
    writer: alluvium_writer,
    state: u16,
    key_: *const alluvium_key,
    operand: alluvium_slice,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            let key = key(key_, object.key_groups)?;
            object.writer.merge(numbered(state), key, bytes(operand)?)?;
            Ok(Status::Ok)
        })
    }
}

/// What a callback made of a value.
pub(crate) enum Changed {
    /// 8 bytes, copied: what most callbacks give, so nothing else is done to them.
    Word([u8; 8]),
    /// The host's bytes, which stay for as long as the call that the callback belongs to.
    Lent(*const [u8]),
    Copied(Box<[u8]>),
}

impl AsRef<[u8]> for Changed {
    #[inline(always)]
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Word(bytes) => bytes,
            // SAFETY: `Callbacks::take` had them of a slice that outlives this.
            Self::Lent(bytes) => unsafe { &**bytes },
            Self::Copied(bytes) => bytes,
        }
    }
}

fn overlap(a: &[u8], b: &[u8]) -> bool {
    let (a, b) = (a.as_ptr_range(), b.as_ptr_range());
    a.start < b.end && b.start < a.end
}

/// A host's callback that changes values, for one call: whoever uses it does so inside of [`callback`], once for all of its keys.
pub(crate) struct Callbacks {
    change: unsafe extern "C" fn(*mut c_void, usize, alluvium_slice, *mut alluvium_slice) -> i32,
    context: *mut c_void,
    /// It is called once, so what it gives stays until the call is done.
    is_single: bool,
    /// The first that it gave wrongly; the value is kept then.
    misuse: Option<Misuse>,
}

impl Callbacks {
    pub fn new(change: alluvium_update_fn, context: *mut c_void, is_single: bool) -> Result<Self, Misuse> {
        let change = change.ok_or(Misuse::Null("change"))?;
        Ok(Self { change, context, is_single, misuse: None })
    }

    /// Has the callback change a value.
    #[inline(always)]
    pub unsafe fn change(&mut self, index: usize, old: Option<&[u8]>) -> Option<Changed> {
        let mut value = NOTHING;
        let given = old.map_or(NOTHING, slice);
        // SAFETY: the host's function with what its type says.
        let answer = unsafe { (self.change)(self.context, index, given, &raw mut value) };
        if answer == ALLUVIUM_PUT
            && value.len == 8
            && let Some(word) = NonNull::new(value.data.cast_mut())
        {
            // SAFETY: the host's value.
            return Some(Changed::Word(unsafe { word.cast::<[u8; 8]>().read() }));
        }
        // SAFETY: as above.
        unsafe { self.take(answer, value, old) }
    }

    /// Takes whatever else a callback may answer.
    #[inline(never)]
    unsafe fn take(&mut self, answer: i32, value: alluvium_slice, old: Option<&[u8]>) -> Option<Changed> {
        match answer {
            // SAFETY: the host's value.
            ALLUVIUM_PUT => match unsafe { bytes(value) } {
                // Of what it was given it may give a part back, which doesn't stay.
                Ok(value) if self.is_single && !old.is_some_and(|old| overlap(old, value)) => {
                    return Some(Changed::Lent(value));
                }
                Ok(value) => return Some(Changed::Copied(value.into())),
                Err(wrong) => _ = self.misuse.get_or_insert(wrong),
            },
            ALLUVIUM_DELETE => return None,
            ALLUVIUM_KEEP => {}
            _ => {
                let wrong = Misuse::Argument("an update's callback returned an unknown number");
                self.misuse.get_or_insert(wrong);
            }
        }
        old.map(|old| Changed::Copied(old.into()))
    }

    /// What the call comes to.
    #[inline]
    pub fn outcome(self) -> Outcome {
        self.misuse.map_or(Ok(Status::Ok), |misuse| Err(misuse.into()))
    }
}

/// Reads a value and writes what `change` makes of it, in one step. For value states. Where `change` returns what it may not, the value is kept
/// (`ALLUVIUM_KEEP`) and the call fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn alluvium_writer_update(
    writer: alluvium_writer,
    state: u16,
    key_: *const alluvium_key,
    change: alluvium_update_fn,
    context: *mut c_void,
    error: *mut alluvium_error,
) -> alluvium_status {
    // SAFETY: the contract of the crate's head.
    unsafe {
        with(writer, error, |object| {
            let mut callbacks = Callbacks::new(change, context, true)?;
            let mut room = Room::new();
            let (key, _) = copied_key(&mut room, key_, NOTHING, object.key_groups)?;
            callback(|| object.writer.update(numbered(state), key, |old| callbacks.change(0, old)))?;
            callbacks.outcome()
        })
    }
}
