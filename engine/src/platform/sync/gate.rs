//! Who may touch a shard: its owner, for free, or one borrower, by asking.
//!
//! A shard belongs to one Writer, which enters and leaves it on every operation. Now and then another thread needs it
//! for a moment: a barrier, a spill or an eviction while the Writer is idle. [`OwnerGate`] is the handshake between
//! the two, a Dekker exclusion with an asymmetric fence: the owner pays two plain stores and two plain loads.
//!
//! ```text
//! owner:    owner = IN; light; request == 0 ? inside : back out and wait      ...      owner = OUT; light; request ? wake
//! borrower: request = 1; heavy; wait until owner == OUT; inside               ...      request = 0; wake
//! ```
//!
//! Invariants:
//! - At most one of {the owner, one borrower} is inside.
//! - `request` changes only under the mutex `state`, and is 1 exactly while `state.borrowed`.
//! - An idle owner blocks nobody: a borrower waits only for an operation in progress.
//! - Nobody starves: an owner that finds a request backs out, however often it enters; a borrower that is done lets a
//!   waiting owner in before the next borrower.
//!
//! A thread that is inside a gate must not wait for a borrower (it would wait for itself), so: leave before waiting
//! for an engine thread, and don't `borrow` while inside another gate; `try_borrow` is fine there.

mod cell;
#[cfg(all(test, loom))]
mod loom_models;
#[cfg(all(test, not(loom)))]
mod tests;

use crate::platform::safeguards::{Safeguard, stands};
use std::marker::PhantomData;

use crossbeam::utils::CachePadded;

use super::atomic::{AtomicU32, Ordering};
use super::barrier::Barrier;
use super::{Condvar, Mutex, MutexGuard, hint};

pub use cell::{CellBorrow, CellGuard, GatedCell, OwnerToken};

const OUT: u32 = 0;
const IN: u32 = 1;

/// How often to look again before sleeping: some microseconds, about what falling asleep and waking would take.
/// Models look once: loom explores every schedule anyway.
const SPINS: u32 = if cfg!(loom) { 0 } else { 100 };

/// The ownership handshake of one shard.
#[derive(Debug)]
pub struct OwnerGate {
    line: CachePadded<Line>,
    state: Mutex<State>,
    /// Where waiting borrowers and a waiting owner sleep: somebody's turn has ended.
    turn: Condvar,
    /// Where the one active borrower sleeps: the owner has left.
    left: Condvar,
}

/// All that the owner touches on its way in and out: one cache line, which it nearly always has to itself.
#[derive(Debug)]
struct Line {
    owner: AtomicU32,
    request: AtomicU32,
    barrier: Barrier,
}

#[derive(Debug)]
struct State {
    /// A borrower is inside or on its way in.
    borrowed: bool,
    /// The owner backed out and has the next turn.
    owner_waits: bool,
}

impl Default for OwnerGate {
    fn default() -> Self {
        Self::new()
    }
}

impl OwnerGate {
    /// A gate with nobody inside, on the cheapest barrier of this process.
    pub fn new() -> Self {
        Self::with_barrier(Barrier::detect())
    }

    /// A gate with nobody inside, on the given barrier.
    pub fn with_barrier(barrier: Barrier) -> Self {
        Self {
            line: CachePadded::new(Line { owner: AtomicU32::new(OUT), request: AtomicU32::new(0), barrier }),
            state: Mutex::new(State { borrowed: false, owner_waits: false }),
            turn: Condvar::new(),
            left: Condvar::new(),
        }
    }

    /// Lets the owner in; waits while a borrower is inside.
    ///
    /// There is one owner: calls from several threads are the caller's to exclude. [`OwnerToken`] does so.
    #[inline]
    pub fn enter(&self) -> OwnerGuard<'_> {
        self.line.owner.store(IN, Ordering::Relaxed);
        // Orders the store of `owner` before the load of `request`; pairs with the heavy side in `ask`.
        self.line.barrier.light();
        // Acquire: a 0 stored by the last borrower (its Release in `give_back`) brings what that borrower wrote.
        if self.line.request.load(Ordering::Acquire) != 0 {
            self.enter_after_borrower();
        }
        OwnerGuard { gate: self, not_send: PhantomData }
    }

    /// Takes the gate from its owner: waits for other borrowers and for the owner's operation in progress.
    pub fn borrow(&self) -> BorrowGuard<'_> {
        // An owner that sees the request waits for all that the fence takes.
        self.line.barrier.await_ready();
        let mut state = self.state.lock();
        while state.borrowed || state.owner_waits {
            state = self.turn.wait(state);
        }
        let guard = self.ask(state);
        if stands(Safeguard::GateWaits) && !self.spin_until(|| self.owner_is_out()) {
            let mut state = self.state.lock();
            // The owner, which was inside after our heavy fence, finds the request when it leaves, and then takes the
            // mutex to wake us: it can't do so between this look and the sleep.
            while !self.owner_is_out() {
                state = self.left.wait(state);
            }
        }
        guard
    }

    /// Takes the gate if neither the owner nor a borrower is inside or waits for it. Doesn't wait.
    pub fn try_borrow(&self) -> Option<BorrowGuard<'_>> {
        // A hint that spares the barrier, so any value will do.
        if self.line.owner.load(Ordering::Relaxed) != OUT {
            return None;
        }
        let state = self.state.lock();
        if state.borrowed || state.owner_waits {
            return None;
        }
        let guard = self.ask(state);
        self.owner_is_out().then_some(guard)
    }

    /// Raises the request. From here on an owner that enters backs out; one that is inside may still be.
    fn ask<'a>(&'a self, mut state: MutexGuard<'a, State>) -> BorrowGuard<'a> {
        state.borrowed = true;
        self.line.request.store(1, Ordering::Relaxed);
        drop(state);
        // Made before the fence, so that the request is taken back should the fence panic.
        let guard = BorrowGuard { gate: self, not_send: PhantomData };
        // Orders the store of `request` before the loads of `owner`; pairs with the light sides in `enter` and in
        // `OwnerGuard::drop`: the owner sees the request, or we see what it stored.
        self.line.barrier.heavy();
        guard
    }

    fn owner_is_out(&self) -> bool {
        // Acquire: pairs with the Release stores of OUT, and brings what the owner wrote.
        self.line.owner.load(Ordering::Acquire) == OUT
    }

    fn spin_until(&self, done: impl Fn() -> bool) -> bool {
        let look = |_| {
            let seen = done();
            if !seen {
                hint::spin_loop();
            }
            seen
        };
        (0..SPINS).any(look) || done()
    }

    /// The owner's way in when a borrower has asked: back out, wait for the borrower, go in before the next one.
    #[cold]
    #[inline(never)]
    fn enter_after_borrower(&self) {
        let mut state = self.state.lock();
        // Release: as in `OwnerGuard::drop`; whoever reads this OUT also needs what earlier operations wrote.
        self.line.owner.store(OUT, Ordering::Release);
        state.owner_waits = true;
        // The borrower may have seen the IN that was just taken back, and sleep because of it.
        self.left.notify_one();
        drop(state);
        self.spin_until(|| self.line.request.load(Ordering::Relaxed) == 0);
        state = self.state.lock();
        while state.borrowed {
            state = self.turn.wait(state);
        }
        // No fence: the next request is raised under the mutex, after this store.
        self.line.owner.store(IN, Ordering::Relaxed);
        state.owner_waits = false;
        drop(state);
        self.turn.notify_all();
    }

    #[cold]
    #[inline(never)]
    fn wake_borrower(&self) {
        // Through the mutex, so as not to fall between the borrower's look and its sleep.
        drop(self.state.lock());
        self.left.notify_one();
    }

    fn give_back(&self) {
        let mut state = self.state.lock();
        state.borrowed = false;
        // Release: pairs with the owner's Acquire in `enter`.
        self.line.request.store(0, Ordering::Release);
        drop(state);
        self.turn.notify_all();
    }
}

/// The owner is inside; dropping it lets the owner out.
#[derive(Debug)]
#[must_use = "the owner leaves when the guard is dropped"]
pub struct OwnerGuard<'a> {
    gate: &'a OwnerGate,
    /// The fence orders one thread's way in with the same thread's way out.
    not_send: PhantomData<*mut ()>,
}

impl OwnerGuard<'_> {
    /// Whether a borrower is waiting for the owner to leave: long operations look now and then, and leave.
    #[inline]
    pub fn is_wanted(&self) -> bool {
        // A hint: seen late, it is acted on late.
        self.gate.line.request.load(Ordering::Relaxed) != 0
    }
}

impl Drop for OwnerGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        let line = &*self.gate.line;
        // Release: pairs with the Acquire of `owner_is_out`.
        line.owner.store(OUT, Ordering::Release);
        // Orders the store of `owner` before the load of `request`: the borrower sees OUT, or we see that it may
        // sleep. Pairs with the heavy side in `ask`.
        line.barrier.light();
        if line.request.load(Ordering::Relaxed) != 0 {
            self.gate.wake_borrower();
        }
    }
}

/// A borrower is inside; dropping it gives the gate back.
#[derive(Debug)]
#[must_use = "the gate is given back when the guard is dropped"]
pub struct BorrowGuard<'a> {
    gate: &'a OwnerGate,
    not_send: PhantomData<*mut ()>,
}

impl Drop for BorrowGuard<'_> {
    fn drop(&mut self) {
        self.gate.give_back();
    }
}
