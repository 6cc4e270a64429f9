//! The types of a normal build: `std`'s, and those of `platform/threads`, in the shape of loom's.
#![expect(unsafe_code, reason = "a raw pointer behind the interface of loom's cell")]

use crate::platform::threads;
pub use std::sync::Arc;

pub use crate::platform::threads::MutexGuard;

/// Atomic words and fences.
pub mod atomic {
    pub use std::sync::atomic::{
        AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
    };
}

/// What to do while waiting for another core.
pub mod hint {
    pub use crate::platform::threads::spin_loop;
}

/// Threads, as far as the protocols need them.
pub mod thread {
    pub use crate::platform::threads::yield_now;
    pub use std::thread::{JoinHandle, spawn};
}

/// Memory that is shared under a protocol of the caller's.
pub mod cell {
    use std::fmt;

    /// A value that is reached through access guards, which loom checks for overlap.
    #[derive(Debug)]
    pub struct UnsafeCell<T: ?Sized>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        /// A cell that holds `value`.
        pub const fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        /// The value, out of its cell.
        pub fn into_inner(self) -> T {
            self.0.into_inner()
        }
    }

    impl<T: ?Sized> UnsafeCell<T> {
        /// Lends the value for reading while `access` runs.
        #[inline(always)]
        pub fn with<R>(&self, access: impl FnOnce(*const T) -> R) -> R {
            access(self.0.get())
        }

        /// Lends the value for writing while `access` runs.
        #[inline(always)]
        pub fn with_mut<R>(&self, access: impl FnOnce(*mut T) -> R) -> R {
            access(self.0.get())
        }

        /// Starts reading; the access lasts until the guard is dropped.
        #[inline(always)]
        pub fn get(&self) -> ConstPtr<T> {
            ConstPtr(self.0.get())
        }

        /// Starts writing; the access lasts until the guard is dropped.
        #[inline(always)]
        pub fn get_mut(&self) -> MutPtr<T> {
            MutPtr(self.0.get())
        }
    }

    /// An access for reading, in progress.
    pub struct ConstPtr<T: ?Sized>(*const T);

    impl<T: ?Sized> ConstPtr<T> {
        /// The value.
        ///
        /// # Safety
        /// The cell still exists and nobody writes to it while the reference lives.
        #[inline(always)]
        pub unsafe fn deref(&self) -> &T {
            // SAFETY: by the caller's promise the value exists and isn't written.
            unsafe { &*self.0 }
        }
    }

    impl<T: ?Sized> fmt::Debug for ConstPtr<T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("ConstPtr")
        }
    }

    /// An access for writing, in progress.
    pub struct MutPtr<T: ?Sized>(*mut T);

    impl<T: ?Sized> MutPtr<T> {
        /// The value.
        ///
        /// # Safety
        /// The cell still exists and there is no other reference to its value while this one lives.
        #[inline(always)]
        #[expect(clippy::mut_from_ref, reason = "the shape of loom's guard; the caller promises to be alone")]
        pub unsafe fn deref(&self) -> &mut T {
            // SAFETY: by the caller's promise the value exists and this is its only reference.
            unsafe { &mut *self.0 }
        }
    }

    impl<T: ?Sized> fmt::Debug for MutPtr<T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("MutPtr")
        }
    }
}

/// A mutex that doesn't poison: what it guards is made whole before each unlock.
#[derive(Debug, Default)]
pub struct Mutex<T>(threads::Mutex<T>);

impl<T> Mutex<T> {
    /// A mutex around `value`.
    pub const fn new(value: T) -> Self {
        Self(threads::Mutex::new(value))
    }

    /// Waits for the mutex and takes it.
    #[inline]
    #[cfg_attr(feature = "simulation", track_caller)]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock()
    }

    /// Takes the mutex if nobody has it.
    #[inline]
    #[cfg_attr(feature = "simulation", track_caller)]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock()
    }
}

/// A place to sleep until what a mutex guards has changed.
#[derive(Debug, Default)]
pub struct Condvar(threads::Condvar);

impl Condvar {
    /// A place where nobody sleeps.
    pub const fn new() -> Self {
        Self(threads::Condvar::new())
    }

    /// Gives the mutex up, sleeps until notified, and takes it again.
    #[cfg_attr(feature = "simulation", track_caller)]
    pub fn wait<'a, T>(&self, mut guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.0.wait(&mut guard);
        guard
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
