//! Locks and conditions: `parking_lot`'s, but that a thread of a world waits for them in the world.
//!
//! In a world nothing else runs while a thread looks at a lock, so a lock that is taken is tried, and waited for until somebody gives it up.

use super::world::{Here, What, here};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::time::{Duration, Instant};

/// A mutex.
#[derive(Default)]
pub struct Mutex<T: ?Sized>(parking_lot::Mutex<T>);

/// A mutex that is held.
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    /// `None` while a condition is waited for.
    held: Option<parking_lot::MutexGuard<'a, T>>,
}

fn address<T: ?Sized>(of: &T) -> What {
    What::At(std::ptr::from_ref(of).addr())
}

/// Takes a lock in a world: `take` tries to.
fn take<G>(here: &Here, lock: What, at: &'static Location<'static>, mut take: impl FnMut() -> Option<G>) -> G {
    here.point(at);
    loop {
        if let Some(guard) = take() {
            return guard;
        }
        here.wait(lock, None, at);
    }
}

fn gave_up(lock: What) {
    if let Some(here) = here() {
        here.wake(lock, true);
    }
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
        let held = match here() {
            None => self.0.lock(),
            Some(here) => take(&here, address(&self.0), Location::caller(), || self.0.try_lock()),
        };
        MutexGuard { mutex: self, held: Some(held) }
    }

    /// Takes it if nobody has it.
    #[track_caller]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        if let Some(here) = here() {
            here.point(Location::caller());
        }
        self.0.try_lock().map(|held| MutexGuard { mutex: self, held: Some(held) })
    }

    /// The value, for who has the mutex to itself.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        drop(self.held.take());
        gave_up(address(&self.mutex.0));
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.held {
            Some(held) => held,
            None => unreachable!("nobody looks while a condition is waited for"),
        }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        match &mut self.held {
            Some(held) => held,
            None => unreachable!("nobody looks while a condition is waited for"),
        }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
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
        match (here(), &mut guard.held) {
            (None, Some(held)) => self.0.wait(held),
            (Some(here), _) => drop(self.wait_in(&here, guard, None, Location::caller())),
            (None, None) => {}
        }
    }

    /// The same, for so long at most.
    #[track_caller]
    pub fn wait_for<T: ?Sized>(&self, guard: &mut MutexGuard<'_, T>, time: Duration) -> WaitTimeoutResult {
        match (here(), &mut guard.held) {
            (None, Some(held)) => WaitTimeoutResult(self.0.wait_for(held, time).timed_out()),
            (Some(here), _) => self.wait_in(&here, guard, Some(here.now() + time), Location::caller()),
            (None, None) => WaitTimeoutResult(false),
        }
    }

    /// The same, until then at most.
    #[track_caller]
    pub fn wait_until<T: ?Sized>(&self, guard: &mut MutexGuard<'_, T>, until: Instant) -> WaitTimeoutResult {
        match (here(), &mut guard.held) {
            (None, Some(held)) => WaitTimeoutResult(self.0.wait_until(held, until).timed_out()),
            (Some(here), _) => self.wait_in(&here, guard, Some(until), Location::caller()),
            (None, None) => WaitTimeoutResult(false),
        }
    }

    fn wait_in<T: ?Sized>(
        &self,
        here: &Here,
        guard: &mut MutexGuard<'_, T>,
        until: Option<Instant>,
        at: &'static Location<'static>,
    ) -> WaitTimeoutResult {
        let mutex = guard.mutex;
        drop(guard.held.take());
        here.wake(address(&mutex.0), true);
        let in_vain = here.wait(address(&self.0), until, at);
        guard.held = Some(take(here, address(&mutex.0), at, || mutex.0.try_lock()));
        WaitTimeoutResult(in_vain)
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

/// A lock that several may read under.
#[derive(Default)]
pub struct RwLock<T: ?Sized>(parking_lot::RwLock<T>);

/// Such a lock, held for reading.
pub struct RwLockReadGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    held: Option<parking_lot::RwLockReadGuard<'a, T>>,
}

/// Such a lock, held for writing.
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    held: Option<parking_lot::RwLockWriteGuard<'a, T>>,
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
        let held = match here() {
            None => self.0.read(),
            Some(here) => take(&here, address(&self.0), Location::caller(), || self.0.try_read()),
        };
        RwLockReadGuard { lock: self, held: Some(held) }
    }

    /// Waits for it, and takes it for writing.
    #[track_caller]
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        let held = match here() {
            None => self.0.write(),
            Some(here) => take(&here, address(&self.0), Location::caller(), || self.0.try_write()),
        };
        RwLockWriteGuard { lock: self, held: Some(held) }
    }
}

impl<T: ?Sized> Drop for RwLockReadGuard<'_, T> {
    fn drop(&mut self) {
        drop(self.held.take());
        gave_up(address(&self.lock.0));
    }
}

impl<T: ?Sized> Drop for RwLockWriteGuard<'_, T> {
    fn drop(&mut self) {
        drop(self.held.take());
        gave_up(address(&self.lock.0));
    }
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.held {
            Some(held) => held,
            None => unreachable!("it is held until it is dropped"),
        }
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.held {
            Some(held) => held,
            None => unreachable!("it is held until it is dropped"),
        }
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        match &mut self.held {
            Some(held) => held,
            None => unreachable!("it is held until it is dropped"),
        }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
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
