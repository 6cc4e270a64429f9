//! What threads wait on, and what time it is: locks, channels, threads, clocks.
//!
//! They are the system's, by way of `parking_lot`, `crossbeam` and `std`, and the whole engine takes them from here. With the feature
//! `simulation` a thread that a world runs (`simulated/world.rs`) gets those of that world instead: one of its threads runs at a time, a
//! seed decides which, and time passes as the world says. So a run of the whole engine, threads and all, happens again as it happened.

mod background;
#[cfg(feature = "simulation")]
pub mod simulated;
#[cfg(not(feature = "simulation"))]
mod system;

#[cfg(feature = "simulation")]
use simulated as face;
#[cfg(not(feature = "simulation"))]
use system as face;

pub use background::work_in_background;
pub use face::{
    Condvar, JoinHandle, Mutex, MutexGuard, OnceLock, Receiver, RecvTimeoutError, RwLock, RwLockWriteGuard, Sender,
    Thread, bounded, current, drawn, is_simulated, now, park, park_timeout, pass, since, sleep, spin_loop, start,
    unbounded, unix_time, yield_now,
};
