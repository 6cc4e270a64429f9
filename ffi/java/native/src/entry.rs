//! What every function does with its arguments, and with what it came to.

use alluvium::{Class, Key, KeyGroup, State, StateId};
use alluvium_ffi::copied::{CopiedKey, Room};
use alluvium_ffi::handles::{self, Handle, Parent};
use alluvium_ffi::{Failure, Misuse, Object};
use jni::sys::{jint, jlong};
use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI64, Ordering};

/// There is no such value, or no more of them. Apart from all statuses, which are failures.
pub const NOT_FOUND: jlong = -1_000;
/// It isn't there yet.
pub const PENDING: jlong = -1_001;

/// What a function does.
pub type Outcome = Result<jlong, Failure>;

/// Declares natives of `io.alluvium.Native`: the body's outcome becomes the number that Java gets, and a panic ends there.
macro_rules! natives {
    ($($(#[$doc:meta])* fn $name:ident($($argument:ident: $kind:ty),* $(,)?) $body:block)*) => { $(
        $(#[$doc])*
        #[unsafe(export_name = concat!("Java_io_alluvium_Native_", stringify!($name)))]
        pub extern "system" fn $name(
            _env: jni::EnvUnowned<'_>,
            _class: jni::objects::JClass<'_>,
            $($argument: $kind),*
        ) -> jni::sys::jlong {
            $crate::entry::call(|| -> $crate::entry::Outcome { $body })
        }
    )* };
}
pub(crate) use natives;

thread_local! {
    /// The last failure of this thread, until Java asks for it.
    static FAILURE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// An answer of this thread that was too long for the memory that it was to go to, and its number.
    static ANSWER: RefCell<(jlong, Vec<u8>)> = const { RefCell::new((0, Vec::new())) };
}

/// How many answers were kept. A virtual thread may have another carrier when it comes for its answer: the numbers are the process's.
static KEPT: AtomicI64 = AtomicI64::new(0);

/// Runs a function's body.
#[inline]
pub fn call(body: impl FnOnce() -> Outcome) -> jlong {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(answer)) => answer,
        Ok(Err(failure)) => tell(&failure),
        Err(panic) => tell(&Failure::Panic(message_of(&*panic))),
    }
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned())
}

/// What a caller can do about a failure, as Java counts it.
pub fn class_of(failure: &Failure) -> i32 {
    let class = match failure {
        Failure::Engine(error) => Some(error.class()),
        _ => failure.status().class(),
    };
    match class {
        Some(Class::Retry) => 1,
        Some(Class::Fail) => 3,
        Some(Class::Corrupt) => 4,
        // Every failure has a class.
        Some(Class::Usage) | None => 2,
    }
}

/// Keeps a failure as `status i32 | class i32 | message`, and says its status.
#[cold]
fn tell(failure: &Failure) -> jlong {
    let status = failure.status();
    FAILURE.with_borrow_mut(|kept| {
        kept.clear();
        kept.extend_from_slice(&status.code().to_le_bytes());
        kept.extend_from_slice(&class_of(failure).to_le_bytes());
        kept.extend_from_slice(failure.to_string().as_bytes());
    });
    jlong::from(status.code())
}

/// Leaves the last failure, if it fits, and says its length.
pub fn failure(into: jlong, capacity: jint) -> Outcome {
    FAILURE.with_borrow(|kept| value(Some(kept), into, capacity))
}

/// Leaves bytes in memory of the caller's and says how many there are. Those that don't fit are [kept](keep).
pub fn answer(bytes: Vec<u8>, into: jlong, capacity: jint) -> Outcome {
    let memory = memory(into, capacity)?;
    let len = bytes.len();
    match memory.get_mut(..len) {
        Some(place) => place.copy_from_slice(&bytes),
        None => keep(bytes, memory),
    }
    Ok(len as jlong)
}

/// Keeps an answer for [`kept_answer`], and leaves its number where the caller's memory begins, which has room for that.
pub fn keep(bytes: Vec<u8>, memory: &mut [u8]) {
    let number = KEPT.fetch_add(1, Ordering::Relaxed) + 1;
    if let Some(place) = memory.first_chunk_mut() {
        *place = number.to_le_bytes();
    }
    ANSWER.set((number, bytes));
}

/// Leaves the answer of this number, which didn't fit before. There is none where this thread has kept another since, or none at all; and it
/// stays where there is too little memory for it.
pub fn kept_answer(number: jlong, into: jlong, capacity: jint) -> Outcome {
    let memory = memory(into, capacity)?;
    ANSWER.with_borrow_mut(|(kept, bytes)| {
        let Some(place) = memory.get_mut(..bytes.len()).filter(|_| *kept == number) else { return Ok(NOT_FOUND) };
        place.copy_from_slice(bytes);
        *kept = 0;
        Ok(std::mem::take(bytes).len() as jlong)
    })
}

/// Leaves a value in memory of the caller's, if it fits, and says its length.
#[inline]
pub fn value(value: Option<&[u8]>, into: jlong, capacity: jint) -> Outcome {
    let Some(value) = value else { return Ok(NOT_FOUND) };
    let memory = memory(into, capacity)?;
    if let Some(place) = memory.get_mut(..value.len()) {
        place.copy_from_slice(value);
    }
    Ok(value.len() as jlong)
}

/// Bytes of the caller's.
#[inline]
pub fn bytes<'a>(address: jlong, len: jint) -> Result<&'a [u8], Misuse> {
    let len = checked(address, len)?;
    if len == 0 {
        return Ok(&[]);
    }
    // SAFETY: the contract of the crate's head.
    Ok(unsafe { std::slice::from_raw_parts(address as *const u8, len) })
}

/// Memory of the caller's.
#[inline]
pub fn memory<'a>(address: jlong, len: jint) -> Result<&'a mut [u8], Misuse> {
    let len = checked(address, len)?;
    if len == 0 {
        return Ok(&mut []);
    }
    // SAFETY: the contract of the crate's head.
    Ok(unsafe { std::slice::from_raw_parts_mut(address as *mut u8, len) })
}

#[inline]
fn checked(address: jlong, len: jint) -> Result<usize, Misuse> {
    let len = len_of(len)?;
    if len > 0 && address == 0 { Err(Misuse::Null("an address")) } else { Ok(len) }
}

#[inline]
fn len_of(len: jint) -> Result<usize, Misuse> {
    usize::try_from(len).map_err(|_| Misuse::Argument("a length below 0"))
}

/// Where a call puts the handle that it makes.
pub struct Place<'a>(&'a mut [u8; 8]);

impl Place<'_> {
    /// Checked before anything is made.
    pub fn at(address: jlong) -> Result<Self, Misuse> {
        let memory = memory(address, 8)?;
        memory.first_chunk_mut().map(Self).ok_or(Misuse::Null("the place for a handle"))
    }

    /// Gives an object a handle, and leaves that.
    pub fn insert<T: Object>(self, object: T, parent: Handle) -> Outcome {
        self.insert_found(object, parent).map(|_handle| 0)
    }

    /// The same, and says the handle.
    pub fn insert_found<T: Object>(self, object: T, parent: Handle) -> Result<Handle, Failure> {
        let handle = handles::reserve_child(parent)?.insert(object)?;
        *self.0 = handle.to_le_bytes();
        Ok(handle)
    }

    /// The same where there was room for the handle before the object was made.
    pub fn insert_in<T: Object>(self, room: Parent, object: T) -> Outcome {
        *self.0 = room.insert(object)?.to_le_bytes();
        Ok(0)
    }
}

/// The state of a number.
#[inline]
pub fn state(number: jint) -> Result<State, Misuse> {
    let number = u16::try_from(number).map_err(|_| Misuse::Argument("a state's number is in 0 to 65,535"))?;
    Ok(State::numbered(StateId(number)))
}

/// Bytes of the caller's that are looked at more than once, copied: whatever another thread of the host writes there meanwhile.
#[inline]
pub fn copied_bytes(room: &mut Room, address: jlong, len: jint) -> Result<&[u8], Misuse> {
    let len = checked(address, len)?;
    // SAFETY: the contract of the crate's head.
    Ok(unsafe { room.copy(address as *const u8, len) })
}

/// A key, which its namespace and, of an entry, its user key follow in memory, copied.
#[inline]
pub fn copied_key(
    room: &mut Room,
    address: jlong,
    key_len: jint,
    ns_len: jint,
    user_len: jint,
) -> Result<CopiedKey<'_>, Failure> {
    let lens = [len_of(key_len)?, len_of(ns_len)?, len_of(user_len)?];
    let bytes = lens.iter().sum();
    CopiedKey::check_len(bytes)?;
    if bytes > 0 && address == 0 {
        return Err(Misuse::Null("an address").into());
    }
    // SAFETY: the contract of the crate's head.
    Ok(unsafe { CopiedKey::of(room, address as *const u8, lens) })
}

/// The key of a copy; below 0, `group` is that of the key's hash.
#[inline]
pub fn key<'a>(key_groups: u32, group: jint, copied: &CopiedKey<'a>) -> Result<Key<'a>, Misuse> {
    key_of(key_groups, group, copied.key, copied.namespace)
}

/// The same of parts.
#[inline]
pub fn key_of<'a>(key_groups: u32, group: jint, key: &'a [u8], namespace: &'a [u8]) -> Result<Key<'a>, Misuse> {
    let key = if group < 0 {
        Key::hashed(key_groups, key)
    } else {
        let group = u16::try_from(group).map_err(|_| Misuse::Argument("a key group is in 0 to 65,535"))?;
        Key::new(KeyGroup(group), key)
    };
    Ok(key.in_namespace(namespace))
}

/// 0 or 1.
pub fn flag(number: jint) -> Result<bool, Misuse> {
    match number {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Misuse::Argument("a flag is 0 or 1")),
    }
}

/// A number of bytes, or of things.
pub fn count(number: jlong) -> Result<usize, Misuse> {
    usize::try_from(number).map_err(|_| Misuse::Argument("a number below 0"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alluvium_ffi::handles::Own;
    use alluvium_ffi::{Kind, Status};

    struct Desk(jlong);

    // SAFETY: nothing else here is of this kind.
    unsafe impl Object for Desk {
        const KIND: Kind = Kind::Buffer;
        type Mode = Own;
    }

    fn told() -> (Vec<u8>, String) {
        FAILURE.with_borrow(|kept| (kept[..8].to_vec(), String::from_utf8_lossy(&kept[8..]).into_owned()))
    }

    /// Java gets a number and the words of the panic, and from then on nothing of the object but its end.
    #[test]
    fn a_panic_ends_at_the_border() {
        const PANIC: jlong = Status::Panic.code() as jlong;
        let Ok(desk) = handles::insert(Desk(1), 0) else { panic!("there is room") };
        let outcome = call(|| {
            let desk = handles::get::<Desk>(desk)?;
            assert_eq!(desk.0, 2, "on purpose");
            Ok(desk.0)
        });
        assert_eq!(outcome, PANIC);
        let (numbers, words) = told();
        assert_eq!(numbers, [Status::Panic.code().to_le_bytes(), 3_i32.to_le_bytes()].concat());
        assert!(words.starts_with("a bug of the engine: ") && words.contains("on purpose"), "{words}");
        assert_eq!(call(|| Ok(handles::get::<Desk>(desk)?.0)), PANIC);
        assert_eq!(told().1, "a call panicked while it used the object; it can only be closed");
        let close = || -> Outcome {
            handles::remove::<Desk>(desk)?;
            Ok(0)
        };
        assert_eq!(call(close), 0);
        assert_eq!(call(close), jlong::from(Status::Handle.code()));
    }
}
