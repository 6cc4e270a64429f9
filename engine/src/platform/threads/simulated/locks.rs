//! Locks and conditions: `parking_lot`'s, but that a thread of a world waits for them in the world.
//!
//! In a world nothing else runs while a thread looks at a lock, so a lock that is taken is tried, and waited for until somebody gives it up.

use super::world::{Here, What, here};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::time::{Duration, Instant};

/// A mutex.
#[derive(Default, Debug)]
pub struct Mutex<T: ?Sized>(parking_lot::Mutex<T>);

/// A lock that several may read under.
#[derive(Default, Debug)]
pub struct RwLock<T: ?Sized>(parking_lot::RwLock<T>);

/// A lock that is held.
pub struct Held<G> {
    // In this order: it is given up, and then those are woken who wait for it.
    guard: G,
    _wakes: Wakes,
}

/// A mutex that is held.
pub type MutexGuard<'a, T> = Held<parking_lot::MutexGuard<'a, T>>;
/// A lock that is held for reading.
pub type RwLockReadGuard<'a, T> = Held<parking_lot::RwLockReadGuard<'a, T>>;
/// A lock that is held for writing.
pub type RwLockWriteGuard<'a, T> = Held<parking_lot::RwLockWriteGuard<'a, T>>;

/// Wakes who waits for something when it is dropped.
struct Wakes(What);

impl Drop for Wakes {
    fn drop(&mut self) {
        if let Some(here) = here() {
            here.wake(self.0, true);
        }
    }
}

fn address<T: ?Sized>(of: &T) -> What {
    What::At(std::ptr::from_ref(of).addr())
}

/// Takes a lock in a world: `attempt` tries to.
fn take<G>(here: &Here, lock: What, at: &'static Location<'static>, mut attempt: impl FnMut() -> Option<G>) -> G {
    here.point(at);
    loop {
        if let Some(guard) = attempt() {
            return guard;
        }
        here.wait(lock, None, at);
    }
}

/// Takes a lock: `wait` waits for it as others than a world's threads do.
#[track_caller]
fn hold<L: ?Sized, G>(lock: &L, wait: impl FnOnce() -> G, attempt: impl FnMut() -> Option<G>) -> Held<G> {
    let guard = match here() {
        None => wait(),
        Some(here) => take(&here, address(lock), Location::caller(), attempt),
    };
    Held { guard, _wakes: Wakes(address(lock)) }
}

impl<T> Mutex<T> {
    /// A mutex around a value.
    pub const fn new(value: T) -> Self {
        Self(parking_lot::Mutex::new(value))
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.0.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits for it, and takes it.
    #[track_caller]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        hold(&self.0, || self.0.lock(), || self.0.try_lock())
    }

    /// Takes it if nobody has it.
    #[track_caller]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        if let Some(here) = here() {
            here.point(Location::caller());
        }
        self.0.try_lock().map(|guard| Held { guard, _wakes: Wakes(address(&self.0)) })
    }
}

impl<T> RwLock<T> {
    /// A lock around a value.
    pub const fn new(value: T) -> Self {
        Self(parking_lot::RwLock::new(value))
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Waits for it, and takes it for reading.
    #[track_caller]
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        hold(&self.0, || self.0.read(), || self.0.try_read())
    }

    /// Waits for it, and takes it for writing.
    #[track_caller]
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        hold(&self.0, || self.0.write(), || self.0.try_write())
    }
}

impl<G: Deref> Deref for Held<G> {
    type Target = G::Target;

    fn deref(&self) -> &G::Target {
        &self.guard
    }
}

impl<G: DerefMut> DerefMut for Held<G> {
    fn deref_mut(&mut self) -> &mut G::Target {
        &mut self.guard
    }
}

impl<G: fmt::Debug> fmt::Debug for Held<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.guard.fmt(f)
    }
}

/// Whether waiting came to an end in vain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Whether the time was over.
    pub const fn timed_out(self) -> bool {
        self.0
    }
}

/// A place to wait until what a mutex guards has changed.
#[derive(Default, Debug)]
pub struct Condvar(parking_lot::Condvar);

impl Condvar {
    /// A place where nobody waits.
    pub const fn new() -> Self {
        Self(parking_lot::Condvar::new())
    }

    /// Gives the mutex up, waits to be notified, and takes it again.
    #[track_caller]
    pub fn wait<T: ?Sized>(&self, guard: &mut MutexGuard<'_, T>) {
        match here() {
            None => self.0.wait(&mut guard.guard),
            Some(here) => drop(self.wait_in(&here, guard, None, Location::caller())),
        }
    }

    /// The same, for so long at most.
    #[track_caller]
    pub fn wait_for<T: ?Sized>(&self, guard: &mut MutexGuard<'_, T>, time: Duration) -> WaitTimeoutResult {
        match here() {
            None => WaitTimeoutResult(self.0.wait_for(&mut guard.guard, time).timed_out()),
            Some(here) => self.wait_in(&here, guard, Some(here.now() + time), Location::caller()),
        }
    }

    /// The same, until then at most.
    #[track_caller]
    pub fn wait_until<T: ?Sized>(&self, guard: &mut MutexGuard<'_, T>, until: Instant) -> WaitTimeoutResult {
        match here() {
            None => WaitTimeoutResult(self.0.wait_until(&mut guard.guard, until).timed_out()),
            Some(here) => self.wait_in(&here, guard, Some(until), Location::caller()),
        }
    }

    fn wait_in<T: ?Sized>(
        &self,
        here: &Here,
        guard: &mut MutexGuard<'_, T>,
        until: Option<Instant>,
        at: &'static Location<'static>,
    ) -> WaitTimeoutResult {
        let mutex = parking_lot::MutexGuard::mutex(&guard.guard);
        let wait = || {
            here.wake(address(mutex), true);
            let in_vain = here.wait(address(&self.0), until, at);
            // Free, and nobody else runs before it is taken again.
            drop(take(here, address(mutex), at, || mutex.try_lock()));
            in_vain
        };
        WaitTimeoutResult(parking_lot::MutexGuard::unlocked(&mut guard.guard, wait))
    }

    /// Wakes one that waits.
    pub fn notify_one(&self) {
        self.notify(false);
        self.0.notify_one();
    }

    /// Wakes all that wait.
    pub fn notify_all(&self) {
        self.notify(true);
        self.0.notify_all();
    }

    fn notify(&self, all: bool) {
        if let Some(here) = here() {
            here.wake(address(&self.0), all);
        }
    }
}

/// What is set once.
#[derive(Debug, Default)]
pub struct OnceLock<T> {
    value: std::sync::OnceLock<T>,
    /// Held while it is made, which may take several turns.
    turn: Mutex<()>,
}

impl<T> OnceLock<T> {
    /// Not set.
    pub const fn new() -> Self {
        Self { value: std::sync::OnceLock::new(), turn: Mutex::new(()) }
    }

    /// What it is set to.
    pub fn get(&self) -> Option<&T> {
        self.value.get()
    }

    /// Sets it, where it isn't.
    pub fn set(&self, value: T) -> Result<(), T> {
        self.value.set(value)
    }

    /// What it is set to, which is made where it isn't set.
    #[track_caller]
    pub fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        if let Some(value) = self.get() {
            return value;
        }
        let _turn = self.turn.lock();
        if let Some(value) = self.get() {
            return value;
        }
        let value = make();
        self.value.get_or_init(|| value)
    }
}
