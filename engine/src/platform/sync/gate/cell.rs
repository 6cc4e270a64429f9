//! A value behind a gate: the owner's by token, anybody else's by borrowing.
//!
//! Invariant: there is at most one [`OwnerToken`] of a cell, and it is borrowed mutably while the owner is inside; so
//! the owner's side of the gate is used by one thread at a time, as the gate demands, and the references handed out
//! by [`CellGuard`] and [`CellBorrow`] are alone.
#![expect(unsafe_code, reason = "the gate stands in for the borrow checker")]

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use super::super::Arc;
use super::super::atomic::{AtomicBool, Ordering};
use super::super::barrier::Barrier;
use super::super::cell::{MutPtr, UnsafeCell};
use super::{BorrowGuard, OwnerGate, OwnerGuard};

/// A value that its owner reaches for free and others by borrowing it from the owner.
///
/// ```
/// use alluvium::platform::sync::{Arc, gate::GatedCell};
///
/// let cell = Arc::new(GatedCell::new(1));
/// let mut token = GatedCell::claim(&cell).expect("nobody owns it yet");
/// *token.enter() += 1;
/// *cell.borrow() += 1; // from any thread, whether the owner is busy or idle
/// assert_eq!(*token.enter(), 3);
/// ```
pub struct GatedCell<T> {
    gate: OwnerGate,
    claimed: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the gate lets one thread at a time reach the value, and orders each visit after the one before; so sharing
// the cell only ever moves the value between threads.
unsafe impl<T: Send> Sync for GatedCell<T> {}
// SAFETY: a cell that is moved moves its value; nobody is inside it then.
unsafe impl<T: Send> Send for GatedCell<T> {}

impl<T> GatedCell<T> {
    /// A cell without an owner.
    pub fn new(value: T) -> Self {
        Self::with_barrier(value, Barrier::detect())
    }

    /// A cell without an owner, on the given barrier.
    pub fn with_barrier(value: T, barrier: Barrier) -> Self {
        Self { gate: OwnerGate::with_barrier(barrier), claimed: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// Makes the caller the owner, unless there is one. Dropping the token ends the ownership.
    pub fn claim(cell: &Arc<Self>) -> Option<OwnerToken<T>> {
        // Acquire: pairs with the Release in `OwnerToken::drop`; one owner's operations precede the next one's.
        let taken = cell.claimed.swap(true, Ordering::Acquire);
        (!taken).then(|| OwnerToken { cell: Arc::clone(cell), not_sync: PhantomData })
    }

    /// Whether there is an owner: true as of some moment in the call.
    pub fn is_claimed(&self) -> bool {
        self.claimed.load(Ordering::Relaxed)
    }

    /// Takes the value from its owner (or from nobody) until the guard is dropped. Waits for other borrowers and for
    /// the owner's operation in progress; see the module's note on waiting while inside a gate.
    pub fn borrow(&self) -> CellBorrow<'_, T> {
        let gate = self.gate.borrow();
        CellBorrow { value: self.value.get_mut(), _gate: gate, _value: PhantomData }
    }

    /// Takes the value if neither its owner nor a borrower is inside or waits for it.
    pub fn try_borrow(&self) -> Option<CellBorrow<'_, T>> {
        let gate = self.gate.try_borrow()?;
        Some(CellBorrow { value: self.value.get_mut(), _gate: gate, _value: PhantomData })
    }

    /// The value, out of its cell.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T> fmt::Debug for GatedCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatedCell").field("claimed", &self.is_claimed()).finish_non_exhaustive()
    }
}

/// The right to enter a cell as its owner: one exists at a time. It may move between threads, not be shared by them.
pub struct OwnerToken<T> {
    cell: Arc<GatedCell<T>>,
    not_sync: PhantomData<Cell<()>>,
}

impl<T> OwnerToken<T> {
    /// Goes inside until the guard is dropped: about a nanosecond, unless a borrower is there.
    #[inline]
    pub fn enter(&mut self) -> CellGuard<'_, T> {
        let gate = self.cell.gate.enter();
        CellGuard { value: self.cell.value.get_mut(), gate, _value: PhantomData }
    }

    /// The cell that this token owns.
    pub fn cell(&self) -> &Arc<GatedCell<T>> {
        &self.cell
    }
}

impl<T> Drop for OwnerToken<T> {
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `GatedCell::claim`.
        self.cell.claimed.store(false, Ordering::Release);
    }
}

impl<T> fmt::Debug for OwnerToken<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnerToken")
    }
}

/// The owner is inside, with the value.
#[must_use = "the owner leaves when the guard is dropped"]
pub struct CellGuard<'a, T> {
    // Dropped in this order: the access ends, then the gate opens.
    value: MutPtr<T>,
    gate: OwnerGuard<'a>,
    _value: PhantomData<&'a mut T>,
}

impl<T> CellGuard<'_, T> {
    /// Whether a borrower is waiting for the owner to leave: long operations look now and then, and leave.
    #[inline]
    pub fn is_wanted(&self) -> bool {
        self.gate.is_wanted()
    }
}

impl<T> Deref for CellGuard<'_, T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the owner is inside, so nobody else is, and the token is borrowed for as long as the guard lives.
        unsafe { self.value.deref() }
    }
}

impl<T> DerefMut for CellGuard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the owner is inside, so nobody else is, and the guard is borrowed mutably.
        unsafe { self.value.deref() }
    }
}

impl<T> fmt::Debug for CellGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CellGuard")
    }
}

/// A borrower is inside, with the value.
#[must_use = "the value is given back when the guard is dropped"]
pub struct CellBorrow<'a, T> {
    // Dropped in this order: the access ends, then the gate opens.
    value: MutPtr<T>,
    _gate: BorrowGuard<'a>,
    _value: PhantomData<&'a mut T>,
}

impl<T> Deref for CellBorrow<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: a borrower inside the gate is alone there.
        unsafe { self.value.deref() }
    }
}

impl<T> DerefMut for CellBorrow<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: a borrower inside the gate is alone there, and the guard is borrowed mutably.
        unsafe { self.value.deref() }
    }
}

impl<T> fmt::Debug for CellBorrow<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CellBorrow")
    }
}
