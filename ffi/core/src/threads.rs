//! Which thread calls, and whether it is inside a callback of the engine.
//!
//! A thread has a token, a number that no other thread ever has. What belongs to one thread notes its token; what belonged to a
//! thread that ended can be taken over.
//!
//! All that a call asks of its thread lies in one thread-local, as to find one costs a shared library a call.

#![expect(unsafe_code, reason = "the end of a thread is heard of through a key of its own")]

use libc::{c_void, pthread_key_create, pthread_key_delete, pthread_key_t, pthread_setspecific};
use parking_lot::Mutex;
use std::cell::Cell;
use std::collections::HashSet;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The threads that are alive and have a token.
static ALIVE: Mutex<Option<HashSet<u64>>> = Mutex::new(None);
static NEXT: AtomicU64 = AtomicU64::new(1);

/// What a thread without a token comes in by. No thread's token, nor what a slot has that is nobody's.
const NO_TOKEN: u64 = u64::MAX - 1;
/// What a thread comes in by that is inside a callback; likewise.
const INSIDE_CALLBACK: u64 = u64::MAX - 2;

/// What is known of the calling thread.
#[derive(Debug)]
pub(crate) struct Caller {
    /// What it comes in by: its token; [`NO_TOKEN`] before it was asked for one, [`INSIDE_CALLBACK`] inside one. So whoever finds its token
    /// here knows both.
    pass: Cell<u64>,
    /// Its token; 0 before it was asked for one.
    token: Cell<u64>,
    rounds: Cell<u32>,
    /// For `handles`: the handle of an object of its own that the thread used, and where that led to.
    #[cfg(not(loom))]
    pub(crate) last: Cell<(u64, *const ())>,
}

impl Caller {
    /// The token of a thread that isn't inside a callback. Of others a number that is no thread's.
    #[cfg(not(loom))]
    #[inline]
    pub(crate) fn pass(&self) -> u64 {
        self.pass.get()
    }
}

thread_local! {
    // Without anything to be dropped, so it can be looked at until the very end of a thread.
    static CALLER: Caller = const {
        Caller {
            pass: Cell::new(NO_TOKEN),
            token: Cell::new(0),
            rounds: Cell::new(0),
            #[cfg(not(loom))]
            last: Cell::new((0, std::ptr::null())),
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

static KEY: OnceLock<Option<pthread_key_t>> = OnceLock::new();

/// Runs when the library is unloaded, or the process ends: threads that end later must not look for [`ended`].
#[used]
#[unsafe(link_section = ".fini_array")]
static AT_UNLOAD: extern "C" fn() = unloaded;

extern "C" fn unloaded() {
    if let Some(&Some(key)) = KEY.get() {
        // SAFETY: it was created, and is deleted once.
        unsafe { pthread_key_delete(key) };
    }
}

/// How often a thread's destructors are called again before it counts as ended. POSIX promises four rounds; what others drop in
/// the first two still has the thread's token.
const ROUNDS_MAX: u32 = 2;

/// The key by which the end of a thread is heard of. Not by the drop of a thread-local, which isn't told of threads that first call
/// while they are ending, and ends the main thread before the process's own `atexit` functions run.
fn key() -> Option<pthread_key_t> {
    *KEY.get_or_init(|| {
        let mut key = 0;
        // SAFETY: a place for the key, and a function of the right type.
        (unsafe { pthread_key_create(&raw mut key, Some(ended)) } == 0).then_some(key)
    })
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
        caller.pass.set(NO_TOKEN);
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
        let token = caller.token.get();
        // Also where it got its token inside a callback.
        if caller.pass.get() == NO_TOKEN {
            caller.pass.set(token);
        }
        token
    })
}

#[cold]
fn new_token(caller: &Caller) {
    let token = NEXT.fetch_add(1, Ordering::Relaxed);
    ALIVE.lock().get_or_insert_with(HashSet::new).insert(token);
    caller.token.set(token);
    if !arm(token) {
        // Nobody will hear of its end: so it counts as one that has ended already, and others can take over what it leaves.
        strike(token);
    }
}

/// Whether the thread of this token has not ended.
pub fn is_alive(token: u64) -> bool {
    ALIVE.lock().as_ref().is_some_and(|alive| alive.contains(&token))
}

/// Whether the calling thread is inside a callback.
#[inline]
pub fn is_inside_callback() -> bool {
    with_caller(|caller| caller.pass.get() == INSIDE_CALLBACK)
}

/// Runs a host's callback: what it calls of the engine is refused, as it would wait for itself.
#[inline(always)]
pub fn callback<R>(call: impl FnOnce() -> R) -> R {
    /// Puts back what the thread came in by.
    struct Leave<'a>(&'a Caller, u64);
    impl Drop for Leave<'_> {
        fn drop(&mut self) {
            self.0.pass.set(self.1);
        }
    }
    with_caller(|caller| {
        let _leave = Leave(caller, caller.pass.replace(INSIDE_CALLBACK));
        call()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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

    /// What a thread comes in by is its token, but inside callbacks, in those inside them too, and before it has one.
    #[test]
    fn a_thread_comes_in_by_its_token_alone() {
        let pass = || with_caller(|caller| caller.pass.get());
        std::thread::spawn(move || {
            assert_eq!(pass(), NO_TOKEN);
            // One that gets its token inside a callback comes in by it once it was asked for outside.
            let own = callback(|| {
                assert_eq!(pass(), INSIDE_CALLBACK);
                let own = token();
                assert_eq!(callback(pass), INSIDE_CALLBACK);
                assert_eq!(pass(), INSIDE_CALLBACK, "still in the outer one");
                own
            });
            assert_eq!(pass(), NO_TOKEN);
            assert_eq!(token(), own);
            assert_eq!(pass(), own);
        })
        .join()
        .unwrap();
        let own = token();
        assert_eq!(pass(), own);
        assert_eq!(callback(pass), INSIDE_CALLBACK);
        assert_eq!(pass(), own);
    }
}
