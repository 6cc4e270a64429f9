//! Which thread calls, and whether it is inside a callback of the engine.
//!
//! A thread has a token, a number that no other thread ever has. What belongs to one thread notes its token; what belonged to a
//! thread that ended can be taken over. Where the system can't tell of a thread's end, its token says that ([`UNHEARD`]).
//!
//! All that a call asks of its thread lies in one thread-local, as to find one costs a shared library a call.

#![expect(unsafe_code, reason = "the end of a thread is heard of through a key of its own")]

use crate::slot::UNHEARD;
use libc::{
    c_void, pthread_create, pthread_join, pthread_key_create, pthread_key_delete, pthread_key_t, pthread_setspecific,
    pthread_t,
};
use parking_lot::Mutex;
use std::cell::Cell;
use std::collections::HashSet;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The threads that are alive and have a token.
static ALIVE: Mutex<Option<HashSet<u64>>> = Mutex::new(None);
static NEXT: AtomicU64 = AtomicU64::new(1);

/// In the place of a handle: there is none.
const NONE: u64 = 0;
/// In the place of a handle: the thread is inside a callback. No handle, as no kind has such a number.
const INSIDE_CALLBACK: u64 = u64::MAX;

/// What is known of the calling thread.
#[derive(Debug)]
pub(crate) struct Caller {
    /// The handle of an object that is the thread's own, which it used and may use again: [`NONE`] where there is none, and [`INSIDE_CALLBACK`] inside
    /// one. So whoever finds its handle here knows that it is good, whose the object is, and that the thread may call.
    own: Cell<u64>,
    /// Where that handle led to: the slot and the object. Kept by `handles`.
    place: Cell<(*const (), *mut ())>,
    /// Its token; 0 before it was asked for one.
    token: Cell<u64>,
    rounds: Cell<u32>,
}

impl Caller {
    /// Where the object of this handle is, if it is the thread's own and was [kept](Caller::keep). What isn't a handle leads nowhere, but 0 and the greatest
    /// number may.
    #[inline(always)]
    pub(crate) fn kept(&self, handle: u64) -> Option<(*const (), *mut ())> {
        (self.own.get() == handle).then(|| self.place.get())
    }

    /// Keeps where an object is that is the thread's own, until it is [forgotten](Caller::forget). Not for a thread whose end won't be heard of, as
    /// others may take over what that has.
    pub(crate) fn keep(&self, handle: u64, slot: *const (), object: *mut ()) {
        if self.own.get() != INSIDE_CALLBACK {
            self.own.set(handle);
            self.place.set((slot, object));
        }
    }

    /// Forgets it: before the thread gives up any of its rights to it, and when it is not to be used any more.
    pub(crate) fn forget(&self) {
        if self.own.get() != INSIDE_CALLBACK {
            self.own.set(NONE);
        }
    }
}

thread_local! {
    // Without anything to be dropped, so it can be looked at until the very end of a thread.
    static CALLER: Caller = const {
        Caller {
            own: Cell::new(NONE),
            place: Cell::new((std::ptr::null(), std::ptr::null_mut())),
            token: Cell::new(0),
            rounds: Cell::new(0),
        }
    };
}

/// Looks at what is known of the calling thread. Not inside of [`LocalKey::with`](std::thread::LocalKey::with), which the compiler makes a
/// function of, with whatever is done there.
#[inline(always)]
pub(crate) fn with_caller<R>(look: impl FnOnce(&Caller) -> R) -> R {
    let caller = CALLER.with(std::ptr::from_ref);
    // SAFETY: it is the calling thread's, and there until that has ended, as nothing is dropped before.
    look(unsafe { &*caller })
}

static KEY: OnceLock<pthread_key_t> = OnceLock::new();

/// Runs when the library is unloaded, or the process ends: threads that end later must not look for [`ended`].
#[used]
#[unsafe(link_section = ".fini_array")]
static AT_UNLOAD: extern "C" fn() = unloaded;

extern "C" fn unloaded() {
    if let Some(&key) = KEY.get() {
        // SAFETY: it was created, and is deleted once.
        unsafe { pthread_key_delete(key) };
    }
}

/// How often a thread's destructors are called again before it counts as ended. POSIX promises four rounds; what others drop in
/// the first two still has the thread's token.
const ROUNDS_MAX: u32 = 2;

/// The key by which the end of a thread is heard of. Not by the drop of a thread-local, which isn't told of threads that first call
/// while they are ending, and ends the main thread before the process's own `atexit` functions run. Where there is none left, the next
/// thread asks again.
fn key() -> Option<pthread_key_t> {
    if let Some(&key) = KEY.get() {
        return Some(key);
    }
    let mut key = 0;
    // SAFETY: a place for the key, and a function of the right type.
    if unsafe { pthread_key_create(&raw mut key, Some(ended)) } == 0 && KEY.set(key).is_err() {
        // Another thread was faster. SAFETY: it was created just now, and nothing was set by it.
        unsafe { pthread_key_delete(key) };
    }
    KEY.get().copied()
}

/// Has [`ended`] called when the thread ends; false where that can't be.
fn arm(token: u64) -> bool {
    // SAFETY: the key is there for ever; the pointer is but a number that isn't 0.
    key().is_some_and(|key| unsafe { pthread_setspecific(key, token as usize as *const c_void) } == 0)
}

/// Strikes a thread from the living ones.
unsafe extern "C" fn ended(token: *mut c_void) {
    let token = token as usize as u64;
    let is_over = with_caller(|caller| {
        let rounds = caller.rounds.replace(caller.rounds.get() + 1);
        if rounds < ROUNDS_MAX && arm(token) {
            return false;
        }
        // A call that comes yet gets a new token.
        caller.token.set(0);
        caller.own.set(NONE);
        true
    });
    if is_over {
        strike(token);
    }
}

fn strike(token: u64) {
    if let Some(alive) = ALIVE.lock().as_mut() {
        alive.remove(&token);
    }
}

/// The token of the calling thread; never 0.
#[inline]
pub fn token() -> u64 {
    with_caller(|caller| {
        if caller.token.get() == 0 {
            new_token(caller);
        }
        caller.token.get()
    })
}

#[cold]
fn new_token(caller: &Caller) {
    let token = NEXT.fetch_add(1, Ordering::Relaxed);
    if !arm(token) {
        caller.token.set(token | UNHEARD);
        return;
    }
    ALIVE.lock().get_or_insert_with(HashSet::new).insert(token);
    caller.token.set(token);
}

/// Whether the thread of this token is known not to have ended.
pub fn is_alive(token: u64) -> bool {
    ALIVE.lock().as_ref().is_some_and(|alive| alive.contains(&token))
}

/// Whether the calling thread is inside a callback.
#[inline]
pub fn is_inside_callback() -> bool {
    with_caller(|caller| caller.own.get() == INSIDE_CALLBACK)
}

/// Runs a host's callback: what it calls of the engine is refused, as it would wait for itself.
#[inline(always)]
pub fn callback<R>(call: impl FnOnce() -> R) -> R {
    /// Puts back what the thread had before.
    struct Leave<'a>(&'a Caller, u64);
    impl Drop for Leave<'_> {
        fn drop(&mut self) {
            self.0.own.set(self.1);
        }
    }
    with_caller(|caller| {
        let _leave = Leave(caller, caller.own.replace(INSIDE_CALLBACK));
        call()
    })
}

/// Runs something on a thread of its own, and returns when that has ended: what it leaves to be done at the end of its thread is done then, and nothing of
/// it is left to the calling one, as the standard library leaves something there for each thread that it starts. False where there is no thread to be had.
pub fn run_apart(work: fn()) -> bool {
    extern "C" fn run(work: *mut c_void) -> *mut c_void {
        // SAFETY: `run_apart` has it, and waits.
        let work = unsafe { *work.cast::<fn()>() };
        drop(std::panic::catch_unwind(work));
        std::ptr::null_mut()
    }
    let (mut thread, mut work): (pthread_t, fn()) = (0, work);
    let at = (&raw mut work).cast();
    // SAFETY: places for the thread and for what it runs, which are there until it has ended.
    unsafe {
        pthread_create(&raw mut thread, std::ptr::null(), run, at) == 0
            && pthread_join(thread, std::ptr::null_mut()) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_apart_is_over_with_all_that_it_left() {
        static ENDED: AtomicU64 = AtomicU64::new(0);
        struct Last;
        impl Drop for Last {
            fn drop(&mut self) {
                ENDED.fetch_add(1, Ordering::Relaxed);
            }
        }
        thread_local! {
            static LAST: Last = const { Last };
        }
        fn work() {
            LAST.with(|_| assert_eq!(ENDED.load(Ordering::Relaxed), 0));
            assert!(!is_inside_callback(), "on purpose");
        }
        callback(|| assert!(run_apart(work), "there is a thread"));
        assert_eq!(ENDED.load(Ordering::Relaxed), 1);
        assert!(run_apart(|| assert!(is_inside_callback(), "on purpose")), "a panic is its thread's");
    }

    #[test]
    fn threads_have_tokens_of_their_own_until_they_end() {
        let own = token();
        assert_eq!(token(), own);
        let other = std::thread::spawn(|| (token(), is_alive(token()))).join().unwrap();
        assert_ne!(other.0, own);
        assert!(other.1);
        assert!(is_alive(own));
        assert!(!is_alive(other.0));
    }

    #[test]
    fn callbacks_are_noticed_also_when_they_panic() {
        assert!(!is_inside_callback());
        let panicked = std::panic::catch_unwind(|| callback(|| assert!(!is_inside_callback(), "on purpose")));
        assert!(panicked.is_err());
        assert!(callback(is_inside_callback));
        assert!(!is_inside_callback());
    }

    /// What a thread keeps is found outside of callbacks alone, again after them, and nothing changes it inside.
    #[test]
    fn what_a_thread_keeps_is_hidden_inside_callbacks() {
        token();
        let kept = |handle| with_caller(|caller| caller.kept(handle)).map(|(_, object)| object.addr());
        let place = |number: usize| std::ptr::without_provenance_mut(number);
        let keep = |handle, number| with_caller(|caller| caller.keep(handle, std::ptr::null(), place(number)));
        assert_eq!(kept(7), None);
        keep(7, 70);
        assert_eq!((kept(7), kept(8)), (Some(70), None));
        callback(|| {
            assert_eq!(kept(7), None);
            callback(|| assert_eq!(kept(7), None));
            keep(8, 80);
            with_caller(Caller::forget);
            assert!(is_inside_callback(), "in the outer one");
        });
        assert_eq!((kept(7), kept(8)), (Some(70), None));
        with_caller(Caller::forget);
        assert_eq!(kept(7), None);
    }
}
