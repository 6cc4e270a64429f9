//! The asymmetric fence: a pair of fences of which one side is free.
//!
//! Two threads that each store a flag and then look at the other's must not both miss. That takes a full fence on
//! both sides, some nanoseconds each time. Here one side runs on every operation (a Writer, a Reader) and the other a few
//! times a second, so the rare side pays for both: Linux's `membarrier(PRIVATE_EXPEDITED)` makes every running thread
//! of the process execute a full fence, and the frequent side only has to keep the compiler from reordering.
//!
//! Invariant: for a `light` on one thread and a `heavy` on another, either what precedes the `light` is visible after
//! the `heavy`, or what precedes the `heavy` is visible after the `light`. Both sides of a protocol must use the same
//! [`Barrier`] value. Where the kernel has no membarrier (or a sandbox denies it) both sides are SeqCst fences, which
//! give the same invariant; that is decided once in a process. Under loom it is always the fences: the models check
//! the protocols given the invariant, and membarrier's manual page promises the invariant. A SeqCst fence on the
//! light side is also an acquire and a release fence, which the compiler fence isn't on weakly ordered machines: no
//! protocol may lean on `light` for that, and the models can't tell when one does.

use super::atomic::{Ordering, fence};

/// How the two sides of an asymmetric protocol are kept in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Barrier {
    expedited: bool,
}

impl Barrier {
    /// SeqCst fences on both sides: works everywhere.
    pub const FENCES: Self = Self { expedited: false };

    /// The cheapest barrier that this process may use. The first call registers the process with the kernel.
    #[cfg(all(target_os = "linux", not(any(loom, miri))))]
    pub fn detect() -> Self {
        static DETECTED: std::sync::OnceLock<Barrier> = std::sync::OnceLock::new();
        *DETECTED.get_or_init(|| Self { expedited: membarrier::register() })
    }

    /// The cheapest barrier that this process may use.
    #[cfg(not(all(target_os = "linux", not(any(loom, miri)))))]
    pub fn detect() -> Self {
        Self::FENCES
    }

    /// Whether the light side is free.
    pub const fn is_asymmetric(self) -> bool {
        self.expedited
    }

    /// The side that runs often.
    #[inline(always)]
    pub fn light(self) {
        if self.expedited {
            std::sync::atomic::compiler_fence(Ordering::SeqCst);
        } else {
            fence(Ordering::SeqCst);
        }
    }

    /// The side that runs rarely: a system call of some microseconds, which interrupts the process's other cores.
    ///
    /// # Panics
    /// When the kernel refuses a command that it accepted at registration (a system call filter was installed since).
    /// Going on without the barrier would let two threads into one shard.
    pub fn heavy(self) {
        fence(Ordering::SeqCst);
        #[cfg(all(target_os = "linux", not(any(loom, miri))))]
        if self.expedited {
            assert!(membarrier::run(), "membarrier was registered, but the kernel refuses it now");
        }
    }
}

#[cfg(all(target_os = "linux", not(any(loom, miri))))]
mod membarrier {
    //! The system call, which libc doesn't wrap.
    #![expect(unsafe_code, reason = "a raw system call")]

    fn call(command: libc::c_long) -> libc::c_long {
        // SAFETY: membarrier takes two integers (and an ignored third) and touches no memory of the caller's.
        unsafe { libc::syscall(libc::SYS_membarrier, command, 0 as libc::c_long, 0 as libc::c_long) }
    }

    /// Registers the process; false where the kernel or a sandbox says no.
    pub(super) fn register() -> bool {
        call(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED as libc::c_long) == 0 && run()
    }

    /// One barrier over all threads of the process.
    pub(super) fn run() -> bool {
        call(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED as libc::c_long) == 0
    }
}
