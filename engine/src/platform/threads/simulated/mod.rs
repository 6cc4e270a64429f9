//! Those of a world, for the threads that one runs; the system's for all others.

mod channel;
mod locks;
pub mod world;

use std::io::Result;
use std::panic::Location;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use world::{Here, What, here};

pub use channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
pub use locks::{Condvar, Mutex, MutexGuard, OnceLock, RwLock, RwLockWriteGuard};

/// A thread, as others know it.
#[derive(Clone, Debug)]
pub struct Thread {
    thread: std::thread::Thread,
    place: Option<Here>,
}

impl Thread {
    /// Wakes it where it is parked, or is about to be.
    pub fn unpark(&self) {
        match &self.place {
            Some(place) => place.unpark(),
            None => self.thread.unpark(),
        }
    }

    /// Its identity.
    pub fn id(&self) -> std::thread::ThreadId {
        self.thread.id()
    }
}

/// The calling thread.
pub fn current() -> Thread {
    Thread { thread: std::thread::current(), place: here() }
}

/// A thread that was started.
#[derive(Debug)]
pub struct JoinHandle<T> {
    handle: std::thread::JoinHandle<T>,
    thread: Thread,
}

impl<T> JoinHandle<T> {
    /// Waits until it ends.
    #[track_caller]
    pub fn join(self) -> std::thread::Result<T> {
        if let (Some(here), Some(place)) = (here(), &self.thread.place) {
            here.await_end(place, Location::caller());
        }
        self.handle.join()
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        match &self.thread.place {
            Some(place) => place.has_ended(),
            None => self.handle.is_finished(),
        }
    }

    /// The thread.
    pub const fn thread(&self) -> &Thread {
        &self.thread
    }
}

/// Starts a thread, in the world that the calling one is in.
#[track_caller]
pub fn start(name: impl Into<String>, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    let name = name.into();
    let place = here().map(|here| here.join(&name, Location::caller()));
    let builder = std::thread::Builder::new().name(name);
    let started = match place.clone() {
        Some(place) => builder.spawn(move || place.work(work)),
        None => builder.spawn(work),
    };
    match started {
        Ok(handle) => {
            let thread = Thread { thread: handle.thread().clone(), place };
            Ok(JoinHandle { handle, thread })
        }
        Err(error) => {
            if let Some(place) = place {
                place.end();
            }
            Err(error)
        }
    }
}

/// Waits to be unparked.
#[track_caller]
pub fn park() {
    match here() {
        Some(here) => here.park(None, Location::caller()),
        None => std::thread::park(),
    }
}

/// The same, for so long at most.
#[track_caller]
pub fn park_timeout(time: Duration) {
    match here() {
        Some(here) => here.park(Some(here.now() + time), Location::caller()),
        None => std::thread::park_timeout(time),
    }
}

/// Waits for so long.
#[track_caller]
pub fn sleep(time: Duration) {
    match here() {
        Some(here) => drop(here.wait(What::Time, Some(here.now() + time), Location::caller())),
        None => std::thread::sleep(time),
    }
}

/// Lets others go first.
#[track_caller]
pub fn yield_now() {
    match here() {
        Some(here) => here.spin(Location::caller()),
        None => std::thread::yield_now(),
    }
}

/// While another core is waited for.
#[track_caller]
pub fn spin_loop() {
    match here() {
        Some(here) => here.spin(Location::caller()),
        None => std::hint::spin_loop(),
    }
}

/// What time it is, by a clock that never goes back.
pub fn now() -> Instant {
    here().map_or_else(Instant::now, |here| here.now())
}

/// How long ago that was.
pub fn since(then: Instant) -> Duration {
    now().saturating_duration_since(then)
}

/// The time since 1970.
pub fn unix_time() -> Duration {
    match here() {
        Some(here) => here.unix_time(),
        None => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
    }
}

/// A number that a world drew.
pub fn drawn() -> Option<u64> {
    here().map(|here| here.draw())
}

/// Before a call of the system that takes its time.
#[track_caller]
pub fn pass() {
    if let Some(here) = here() {
        here.pass(Location::caller());
    }
}

/// Whether the calling thread is one of a world, where the kernel does nothing in an order of its own.
pub fn is_simulated() -> bool {
    here().is_some()
}
