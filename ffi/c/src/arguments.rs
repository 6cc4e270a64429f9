//! What every function does with its arguments, and with what it came to.

use crate::error;
use crate::types::*;
use alluvium::{Key, KeyGroup, KeyGroupRange, MapRange};
use alluvium_ffi::copied::{CopiedKey, Room};
use alluvium_ffi::handles::{self, Handle, Parent};
use alluvium_ffi::threads::is_inside_callback;
use alluvium_ffi::{Failure, Misuse, Status};
use std::any::Any;
use std::ffi::{CStr, c_char, c_void};
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a function does.
pub type Outcome = Result<Status, Box<Failure>>;

/// Runs a function's body: what went wrong goes to `error`, unless that is null, and a panic no further.
#[inline]
pub unsafe fn call(error: *mut alluvium_error, body: impl FnOnce() -> Outcome) -> alluvium_status {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(status)) => status.code(),
        // SAFETY: the caller's `error`.
        Ok(Err(failure)) => unsafe { error::tell(error, *failure) },
        // SAFETY: as above.
        Err(panic) => unsafe { error::tell(error, Failure::Panic(message_of(&*panic))) },
    }
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned())
}

/// The longest of all that a store keeps, in bytes: what is longer is refused before anybody tries to copy it.
pub(crate) const BYTES_MAX: usize = 1 << 30;

/// Bytes of the caller's that a store may keep.
#[inline]
pub unsafe fn bytes<'a>(slice: alluvium_slice) -> Result<&'a [u8], Misuse> {
    if slice.len > BYTES_MAX {
        return Err(Misuse::Argument("longer than 1 GiB"));
    }
    // SAFETY: the caller's slice.
    unsafe { long_bytes(slice) }
}

/// Several of them, no longer together.
pub unsafe fn all_bytes<'a>(slices: *const alluvium_slice, len: usize) -> Result<Vec<&'a [u8]>, Misuse> {
    // SAFETY: the caller's slices.
    let slices = unsafe { array(slices, len) }?;
    let mut left = BYTES_MAX;
    let mut take = |slice: &alluvium_slice| {
        left = left.checked_sub(slice.len).ok_or(Misuse::Argument("longer than 1 GiB together"))?;
        // SAFETY: as above.
        unsafe { bytes(*slice) }
    };
    slices.iter().map(&mut take).collect()
}

/// Bytes of the caller's, of any length, that are only looked at.
#[inline]
pub unsafe fn long_bytes<'a>(slice: alluvium_slice) -> Result<&'a [u8], Misuse> {
    if slice.len == 0 {
        return Ok(&[]);
    }
    if slice.data.is_null() {
        return Err(Misuse::Null("the data of a slice"));
    }
    if slice.len > isize::MAX as usize {
        return Err(Misuse::Argument("a length below 0"));
    }
    // SAFETY: the header's contract: so many bytes are there.
    Ok(unsafe { std::slice::from_raw_parts(slice.data, slice.len) })
}

/// A number of things of the caller's.
pub unsafe fn array<'a, T>(data: *const T, len: usize) -> Result<&'a [T], Misuse> {
    if len == 0 {
        return Ok(&[]);
    }
    if data.is_null() {
        return Err(Misuse::Null("an array"));
    }
    if !data.is_aligned() || len > isize::MAX as usize / size_of::<T>().max(1) {
        return Err(Misuse::Argument("no array"));
    }
    // SAFETY: the header's contract: so many are there.
    Ok(unsafe { std::slice::from_raw_parts(data, len) })
}

/// A place for so many things.
pub unsafe fn array_mut<'a, T>(data: *mut T, len: usize) -> Result<&'a mut [T], Misuse> {
    // SAFETY: only looked at.
    unsafe { array(data.cast_const(), len) }?;
    if len == 0 {
        return Ok(&mut []);
    }
    // SAFETY: checked above, and the caller's own for as long as the call.
    Ok(unsafe { std::slice::from_raw_parts_mut(data, len) })
}

/// One thing of the caller's.
#[inline]
pub unsafe fn one<'a, T>(pointer: *const T, what: &'static str) -> Result<&'a T, Misuse> {
    if pointer.is_null() || !pointer.is_aligned() {
        return Err(Misuse::Null(what));
    }
    // SAFETY: the header's contract.
    Ok(unsafe { &*pointer })
}

/// Leaves something for the caller.
#[inline]
pub unsafe fn give<T>(pointer: *mut T, what: &'static str, value: T) -> Result<(), Misuse> {
    if pointer.is_null() || !pointer.is_aligned() {
        return Err(Misuse::Null(what));
    }
    // SAFETY: the header's contract.
    unsafe { pointer.write(value) };
    Ok(())
}

/// The same, where the caller may not want it.
pub unsafe fn give_optional<T>(pointer: *mut T, what: &'static str, value: T) -> Result<(), Misuse> {
    // SAFETY: the header's contract.
    if pointer.is_null() { Ok(()) } else { unsafe { give(pointer, what, value) } }
}

/// Room for the handle of something that the caller may not want: made sure of before anything is done that stays done.
pub fn room_optional<T>(pointer: *mut T, what: &'static str, parent: Handle) -> Result<Option<Parent>, Misuse> {
    if pointer.is_null() {
        return Ok(None);
    }
    place(pointer, what)?;
    handles::reserve_child(parent).map(Some)
}

/// Checks that something can be left for the caller, before it is made.
pub fn place<T>(pointer: *mut T, what: &'static str) -> Result<(), Misuse> {
    if pointer.is_null() || !pointer.is_aligned() { Err(Misuse::Null(what)) } else { Ok(()) }
}

/// The same, where the caller may not want it: before anything is done that stays done.
pub fn place_optional<T>(pointer: *mut T, what: &'static str) -> Result<(), Misuse> {
    if pointer.is_null() { Ok(()) } else { place(pointer, what) }
}

/// For what makes an object of nothing: what has a handle to look up is refused there.
pub fn outside_callback() -> Result<(), Misuse> {
    if is_inside_callback() { Err(Misuse::InsideCallback) } else { Ok(()) }
}

/// Text of the caller's.
pub unsafe fn text<'a>(pointer: *const c_char, what: &'static str) -> Result<&'a str, Misuse> {
    if pointer.is_null() {
        return Err(Misuse::Null(what));
    }
    // SAFETY: the header's contract: it ends with a zero.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_str().map_err(|_| Misuse::Argument("a text that is not UTF-8"))
}

/// A key of the caller's.
#[inline]
pub unsafe fn key<'a>(pointer: *const alluvium_key, key_groups: u32) -> Result<Key<'a>, Misuse> {
    // SAFETY: the caller's key.
    let given = unsafe { one(pointer, "the key") }?;
    // SAFETY: as above.
    let (key, namespace) = unsafe { (bytes(given.key)?, bytes(given.ns)?) };
    Ok(key_in(group_of(given.group)?, key, key_groups).in_namespace(namespace))
}

/// A key of the caller's, and a user key, copied: for calls that use them after a callback ran, or after something was left in a buffer. Both
/// may have changed them, or what lay in the buffer may be the key.
#[inline(always)]
pub unsafe fn copied_key(
    room: &mut Room,
    pointer: *const alluvium_key,
    user_key: alluvium_slice,
    key_groups: u32,
) -> Result<(Key<'_>, &[u8]), Failure> {
    // SAFETY: the caller's key.
    let given = unsafe { one(pointer, "the key") }?;
    let group = group_of(given.group)?;
    // SAFETY: the caller's slices.
    let parts = unsafe { [bytes(given.key)?, bytes(given.ns)?, bytes(user_key)?] };
    CopiedKey::check_len(parts.iter().map(|part| part.len()).sum())?;
    let copied = CopiedKey::gathered(room, parts);
    Ok((key_in(group, copied.key, key_groups).in_namespace(copied.namespace), copied.user_key))
}

/// A key in its key group.
#[inline]
fn key_in(group: Option<KeyGroup>, key: &[u8], key_groups: u32) -> Key<'_> {
    match group {
        None => Key::hashed(key_groups, key),
        Some(group) => Key::new(group, key),
    }
}

/// The key group that a key names, if it names one.
#[inline]
fn group_of(group: i32) -> Result<Option<KeyGroup>, Misuse> {
    if group == ALLUVIUM_GROUP_BY_HASH {
        return Ok(None);
    }
    let group = u16::try_from(group).map_err(|_| Misuse::Argument("a key group is in 0 to 65,535"))?;
    Ok(Some(KeyGroup(group)))
}

/// A range of key groups.
pub fn range(range: alluvium_range) -> Result<KeyGroupRange, Misuse> {
    if range.first > range.last {
        return Err(Misuse::Argument("a range that ends before it begins"));
    }
    Ok(KeyGroupRange::new(range.first, range.last))
}

/// The same for the caller.
pub fn range_out(range: KeyGroupRange) -> alluvium_range {
    alluvium_range { first: range.first(), last: range.last() }
}

/// A range of entries; null is all of them.
pub unsafe fn map_range<'a>(pointer: *const alluvium_map_range) -> Result<MapRange<'a>, Misuse> {
    if pointer.is_null() {
        return Ok(MapRange::all());
    }
    // SAFETY: the caller's range.
    let range = unsafe { one(pointer, "the range") }?;
    let bound = |kind, slice| {
        // SAFETY: as above.
        let bytes = unsafe { bytes(slice) }?;
        match kind {
            ALLUVIUM_UNBOUNDED => Ok(Bound::Unbounded),
            ALLUVIUM_INCLUDED => Ok(Bound::Included(bytes)),
            ALLUVIUM_EXCLUDED => Ok(Bound::Excluded(bytes)),
            _ => Err(Misuse::Argument("an unknown kind of bound")),
        }
    };
    let (from, to) = (bound(range.from_kind, range.from)?, bound(range.to_kind, range.to)?);
    // SAFETY: as above.
    let prefix = unsafe { bytes(range.prefix) }?;
    Ok(MapRange { from, to, prefix, reverse: flag(range.reverse)? })
}

/// 0 or 1.
pub fn flag(number: u32) -> Result<bool, Misuse> {
    match number {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Misuse::Argument("a flag is 0 or 1")),
    }
}

/// Options that begin with their size; null is the usual ones. Of a program that was compiled before some fields were added, whose options
/// have one of the sizes `before`, these are what `defaults` says.
pub unsafe fn options<T: Copy>(pointer: *const T, defaults: T, before: &[usize]) -> Result<T, Misuse> {
    if pointer.is_null() {
        return Ok(defaults);
    }
    if !pointer.is_aligned() {
        return Err(Misuse::Argument("options that are not aligned"));
    }
    // SAFETY: all options begin so.
    let size = unsafe { pointer.cast::<u32>().read() } as usize;
    if size != size_of::<T>() && !before.contains(&size) {
        return Err(Misuse::Abi);
    }
    let mut given = defaults;
    // SAFETY: so many bytes are there, and there is room for them, as options only ever grew; what they end with is a whole field.
    unsafe {
        std::ptr::copy_nonoverlapping(pointer.cast::<u8>(), (&raw mut given).cast::<u8>(), size.min(size_of::<T>()))
    };
    Ok(given)
}

/// Gives the caller a value, in its own memory.
#[inline]
pub unsafe fn answer(value: Option<&[u8]>, memory: *mut u8, capacity: usize, len: *mut usize) -> Outcome {
    let Some(value) = value else {
        // SAFETY: the caller's `len`.
        unsafe { give(len, "len", 0) }?;
        return Ok(Status::NotFound);
    };
    // SAFETY: the caller's `len`.
    unsafe { give(len, "len", value.len()) }?;
    if value.len() > capacity {
        return Ok(Status::TooSmall);
    }
    if !value.is_empty() {
        place(memory, "the memory for the value")?;
        // The commonest length, without a call.
        if let Ok(word) = <[u8; 8]>::try_from(value) {
            // SAFETY: as below.
            unsafe { memory.cast::<[u8; 8]>().write(word) };
            return Ok(Status::Ok);
        }
        // SAFETY: `capacity` bytes are there, and the engine's memory is elsewhere.
        unsafe { std::ptr::copy_nonoverlapping(value.as_ptr(), memory, value.len()) };
    }
    Ok(Status::Ok)
}

/// No bytes.
pub(crate) const NOTHING: alluvium_slice = alluvium_slice { data: std::ptr::null(), len: 0 };

/// The caller's slice of these bytes.
pub fn slice(bytes: &[u8]) -> alluvium_slice {
    alluvium_slice { data: bytes.as_ptr(), len: bytes.len() }
}

/// A context of callbacks, let go when the last of them is.
#[derive(Debug)]
pub struct Context {
    /// What the callbacks are given.
    pub pointer: *mut c_void,
    release: alluvium_release_fn,
}

impl Context {
    /// Takes a context over.
    pub const fn new(pointer: *mut c_void, release: alluvium_release_fn) -> Self {
        Self { pointer, release }
    }
}

// SAFETY: the header says that any thread may use it.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Drop for Context {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            let pointer = self.pointer;
            // SAFETY: the caller's function, for this context, once.
            alluvium_ffi::threads::callback(|| unsafe { release(pointer) });
        }
    }
}

/// What a callback makes.
#[derive(Debug)]
pub struct Output<'a> {
    out: &'a mut Vec<u8>,
    /// It made more than a store keeps, which was left out.
    pub too_long: bool,
}

impl<'a> Output<'a> {
    /// Takes what a callback makes, behind what is in `out`.
    pub const fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, too_long: false }
    }

    /// As the callback knows it, for as long as it runs.
    pub fn lent(&mut self) -> alluvium_output {
        alluvium_output { context: std::ptr::from_mut(self).cast(), write: Some(write) }
    }
}

unsafe extern "C" fn write(context: *mut c_void, data: *const u8, len: usize) {
    // SAFETY: of `Output::lent`, which is lent to the callback for as long as it runs.
    let Some(output) = (unsafe { context.cast::<Output<'_>>().as_mut() }) else { return };
    // SAFETY: the callback's bytes.
    match unsafe { bytes(alluvium_slice { data, len }) } {
        Ok(bytes) if output.out.len() + bytes.len() <= BYTES_MAX => output.out.extend_from_slice(bytes),
        _ => output.too_long = true,
    }
}
