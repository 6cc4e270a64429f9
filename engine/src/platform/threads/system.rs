//! Those of the system.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
pub use parking_lot::{Condvar, Mutex, MutexGuard, RwLock, RwLockWriteGuard};
pub use std::hint::spin_loop;
pub use std::sync::OnceLock;
pub use std::thread::{JoinHandle, Thread, current, park, park_timeout, sleep, yield_now};

/// Starts a thread.
pub fn start(name: impl Into<String>, work: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.into()).spawn(work)
}

/// What time it is, by a clock that never goes back.
#[inline(always)]
pub fn now() -> Instant {
    Instant::now()
}

/// How long ago that was.
#[inline(always)]
pub fn since(then: Instant) -> Duration {
    then.elapsed()
}

/// The time since 1970, by the clock of the system; zero where that is before.
pub fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A number that a world drew; there is none.
#[inline(always)]
pub const fn drawn() -> Option<u64> {
    None
}

/// Before a call of the system that takes its time.
#[inline(always)]
pub const fn pass() {}

/// Whether the calling thread is one of a world, where the kernel does nothing in an order of its own; none is.
#[inline(always)]
pub const fn is_simulated() -> bool {
    false
}
