//! Which thread calls, and whether it is inside a callback of the engine.
//!
//! A thread has a token, a number that no other thread ever has. What belongs to one thread notes its token; what belonged to a
//! thread that ended can be taken over.

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

thread_local! {
    // Without anything to be dropped, so these can be looked at until the very end of a thread.
    static TOKEN: Cell<u64> = const { Cell::new(0) };
    static CALLBACKS: Cell<u32> = const { Cell::new(0) };
    static ROUNDS: Cell<u32> = const { Cell::new(0) };
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
    let rounds = ROUNDS.get();
    ROUNDS.set(rounds + 1);
    if rounds < ROUNDS_MAX && arm(token) {
        return;
    }
    // A call that comes yet gets a new token.
    TOKEN.set(0);
    strike(token);
}

fn strike(token: u64) {
    if let Some(alive) = ALIVE.lock().as_mut() {
        alive.remove(&token);
    }
}

/// The token of the calling thread; never 0.
#[inline]
pub fn token() -> u64 {
    match TOKEN.get() {
        0 => new_token(),
        token => token,
    }
}

#[cold]
fn new_token() -> u64 {
    let token = NEXT.fetch_add(1, Ordering::Relaxed);
    ALIVE.lock().get_or_insert_with(HashSet::new).insert(token);
    TOKEN.set(token);
    if !arm(token) {
        // Nobody will hear of its end: so it counts as one that has ended already, and others can take over what it leaves.
        strike(token);
    }
    token
}

/// Whether the thread of this token has not ended.
pub fn is_alive(token: u64) -> bool {
    ALIVE.lock().as_ref().is_some_and(|alive| alive.contains(&token))
}

/// Whether the calling thread is inside a callback.
#[inline]
pub fn is_inside_callback() -> bool {
    CALLBACKS.get() != 0
}

/// Runs a host's callback: what it calls of the engine is refused, as it would wait for itself.
#[inline]
pub fn callback<R>(call: impl FnOnce() -> R) -> R {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            CALLBACKS.set(CALLBACKS.get() - 1);
        }
    }
    CALLBACKS.set(CALLBACKS.get() + 1);
    let _leave = Leave;
    call()
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
}
