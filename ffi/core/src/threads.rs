//! Which thread calls, and whether it is inside a callback of the engine.
//!
//! A thread has a token, a number that no other thread ever has. What belongs to one thread notes its token; what belonged to a
//! thread that ended can be taken over.

use parking_lot::Mutex;
use std::cell::Cell;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

/// The threads that are alive and have a token.
static ALIVE: Mutex<Option<HashSet<u64>>> = Mutex::new(None);
static NEXT: AtomicU64 = AtomicU64::new(1);

thread_local! {
    // Apart from what has to be dropped, so that the quick look needs no registration with the thread's end.
    static TOKEN: Cell<u64> = const { Cell::new(0) };
    static CALLBACKS: Cell<u32> = const { Cell::new(0) };
    static END: Cell<Option<End>> = const { Cell::new(None) };
}

/// Strikes a thread from the living ones when it ends.
struct End(u64);

impl Drop for End {
    fn drop(&mut self) {
        // A call that comes yet, from what else the thread drops, gets a new token.
        TOKEN.set(0);
        if let Some(alive) = ALIVE.lock().as_mut() {
            alive.remove(&self.0);
        }
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
    // While the thread ends there may be nothing to register with: then it counts as one that has ended already, so that others can
    // take over what it leaves.
    if END.try_with(|end| end.set(Some(End(token)))).is_err()
        && let Some(alive) = ALIVE.lock().as_mut()
    {
        alive.remove(&token);
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
