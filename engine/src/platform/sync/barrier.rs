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
    /// What the heavy side waits for.
    #[cfg(test)]
    late: Option<&'static std::sync::OnceLock<()>>,
}

impl Barrier {
    /// SeqCst fences on both sides: works everywhere.
    pub const FENCES: Self = Self::new(false);

    const fn new(expedited: bool) -> Self {
        Self {
            expedited,
            #[cfg(test)]
            late: None,
        }
    }

    /// Fences, of which the heavy one isn't ready before something is there.
    #[cfg(test)]
    pub const fn late(ready: &'static std::sync::OnceLock<()>) -> Self {
        Self { expedited: false, late: Some(ready) }
    }

    /// The cheapest barrier that this process may use. The first call has the process registered with the kernel, beside the caller:
    /// in a process with threads that takes 10 ms and more, and the first heavy side waits for it ([`Barrier::await_ready`]).
    #[cfg(all(target_os = "linux", not(any(loom, miri))))]
    pub fn detect() -> Self {
        static DETECTED: std::sync::OnceLock<Barrier> = std::sync::OnceLock::new();
        *DETECTED.get_or_init(|| Self::new(membarrier::begin()))
    }

    /// The cheapest barrier that this process may use.
    #[cfg(not(all(target_os = "linux", not(any(loom, miri)))))]
    pub fn detect() -> Self {
        Self::FENCES
    }

    /// Waits until nothing of it runs beside the caller any more: for those who unload this code.
    pub fn settle() {
        #[cfg(all(target_os = "linux", not(any(loom, miri))))]
        membarrier::settle();
    }

    /// Waits until the heavy side takes no longer than it does: what makes others wait for it comes after this.
    pub fn await_ready(self) {
        #[cfg(all(target_os = "linux", not(any(loom, miri))))]
        if self.expedited {
            membarrier::is_registered();
        }
        #[cfg(test)]
        if let Some(ready) = self.late {
            ready.wait();
        }
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
    /// When the kernel refuses a command that it said it knows (a system call filter was installed since).
    /// Going on without the barrier would let two threads into one shard.
    pub fn heavy(self) {
        self.await_ready();
        fence(Ordering::SeqCst);
        #[cfg(all(target_os = "linux", not(any(loom, miri))))]
        if self.expedited {
            assert!(membarrier::run(), "the kernel said that it knows membarrier, and refuses it");
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

    use std::sync::OnceLock;

    /// Whether the process is registered; empty until that is known.
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    /// The thread that registers it.
    static BESIDE: parking_lot::Mutex<Option<std::thread::JoinHandle<()>>> = parking_lot::Mutex::new(None);

    /// Begins to register the process; false where the kernel or a sandbox says that it has none of this.
    pub(super) fn begin() -> bool {
        let wanted = libc::MEMBARRIER_CMD_GLOBAL
            | libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED
            | libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED;
        let known = call(libc::MEMBARRIER_CMD_QUERY as libc::c_long);
        if known < 0 || known & wanted as libc::c_long != wanted as libc::c_long {
            return false;
        }
        match std::thread::Builder::new().name("alluvium-barrier".into()).spawn(register) {
            Ok(thread) => *BESIDE.lock() = Some(thread),
            Err(_) => register(),
        }
        true
    }

    fn register() {
        let command = libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED;
        // Only here, once.
        let _ = REGISTERED.set(call(command as libc::c_long) == 0);
    }

    /// Waits until the thread that registers the process has ended.
    pub(super) fn settle() {
        let beside = BESIDE.lock().take();
        if let Some(thread) = beside {
            // It has nothing to say.
            let _ = thread.join();
        }
    }

    /// Whether the process is registered: waits until that is known.
    pub(super) fn is_registered() -> bool {
        *REGISTERED.wait()
    }

    /// One barrier over all threads of the process. Where it came not to be registered after all: over all threads there are, which
    /// takes milliseconds.
    pub(super) fn run() -> bool {
        let command = match is_registered() {
            true => libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED,
            false => libc::MEMBARRIER_CMD_GLOBAL,
        };
        call(command as libc::c_long) == 0
    }
}
