//! The types of a model run: loom's, with `parking_lot`'s manners for the locks.

use std::sync::PoisonError;

pub use loom::sync::{Arc, MutexGuard};

/// Atomic words and fences.
pub mod atomic {
    pub use loom::sync::atomic::{
        AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
    };
}

/// What to do while waiting for another core.
pub mod hint {
    pub use loom::hint::spin_loop;
}

/// Threads, as far as the protocols need them.
pub mod thread {
    pub use loom::thread::{JoinHandle, spawn, yield_now};
}

/// Memory that is shared under a protocol of the caller's.
pub mod cell {
    pub use loom::cell::{ConstPtr, MutPtr, UnsafeCell};
}

/// A mutex that doesn't poison: what it guards is made whole before each unlock.
#[derive(Debug)]
pub struct Mutex<T>(loom::sync::Mutex<T>);

impl<T> Mutex<T> {
    /// A mutex around `value`.
    pub fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    /// Waits for the mutex and takes it.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the mutex if nobody has it.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().ok()
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

/// A place to sleep until what a mutex guards has changed.
#[derive(Debug)]
pub struct Condvar(loom::sync::Condvar);

impl Condvar {
    /// A place where nobody sleeps.
    pub fn new() -> Self {
        Self(loom::sync::Condvar::new())
    }

    /// Gives the mutex up, sleeps until notified, and takes it again.
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.0.wait(guard).unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes one sleeper.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Wakes all sleepers.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

impl Default for Condvar {
    fn default() -> Self {
        Self::new()
    }
}
