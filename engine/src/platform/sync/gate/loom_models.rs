//! Every schedule of the gate, small as it is: two increments must never meet, be lost, or wait for ever.
//!
//! Loom itself reports overlapping accesses to the cell (its guards last as long as ours), data races, deadlocks (a
//! lost wake-up is one) and leaks.

use super::super::atomic::{AtomicU32, Ordering};
use super::super::{Arc, thread};
use super::{GatedCell, OwnerToken};

fn cell() -> (Arc<GatedCell<u32>>, OwnerToken<u32>) {
    let cell = Arc::new(GatedCell::new(0));
    let token = GatedCell::claim(&cell).unwrap();
    (cell, token)
}

/// For models with too many schedules to see all: a bug of a protocol this small shows within a few preemptions.
fn bounded(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

#[test]
fn loom_gate_owner_and_borrower_lose_no_update() {
    loom::model(|| {
        let (cell, mut token) = cell();
        let owner = thread::spawn(move || {
            *token.enter() += 1;
            *token.enter() += 1;
        });
        *cell.borrow() += 1;
        owner.join().unwrap();
        assert_eq!(*cell.borrow(), 3);
    });
}

#[test]
fn loom_gate_borrower_comes_back_while_the_owner_works() {
    bounded(4, || {
        let (cell, mut token) = cell();
        let owner = thread::spawn(move || {
            *token.enter() += 1;
            *token.enter() += 1;
        });
        *cell.borrow() += 1;
        *cell.borrow() += 1;
        owner.join().unwrap();
        assert_eq!(*cell.borrow(), 4);
    });
}

#[test]
fn loom_gate_two_borrowers_and_the_owner() {
    bounded(3, || {
        let (cell, mut token) = cell();
        let other = Arc::clone(&cell);
        let owner = thread::spawn(move || *token.enter() += 1);
        let borrower = thread::spawn(move || *other.borrow() += 1);
        *cell.borrow() += 1;
        owner.join().unwrap();
        borrower.join().unwrap();
        assert_eq!(*cell.borrow(), 3);
    });
}

#[test]
fn loom_gate_idle_owner_blocks_nobody() {
    loom::model(|| {
        let (cell, mut token) = cell();
        *token.enter() += 1;
        let other = Arc::clone(&cell);
        let borrower = thread::spawn(move || *other.borrow() += 1);
        *cell.borrow() += 1;
        borrower.join().unwrap();
        assert_eq!(*token.enter(), 3);
    });
}

#[test]
fn loom_gate_owner_leaves_for_good_while_a_borrower_waits() {
    bounded(4, || {
        let (cell, mut token) = cell();
        let owner = thread::spawn(move || {
            *token.enter() += 1;
            drop(token);
        });
        *cell.borrow() += 1;
        // The next owner may come as soon as the token is gone, and finds everything that the first one wrote.
        if let Some(mut next) = GatedCell::claim(&cell) {
            *next.enter() += 1;
            drop(next);
        } else {
            *cell.borrow() += 1;
        }
        owner.join().unwrap();
        assert_eq!(*cell.borrow(), 3);
    });
}

#[test]
fn loom_gate_try_borrow_takes_turns_or_leaves() {
    loom::model(|| {
        let (cell, mut token) = cell();
        let owner = thread::spawn(move || {
            *token.enter() += 1;
            *token.enter() += 1;
        });
        let taken = u32::from(cell.try_borrow().map(|mut value| *value += 1).is_some());
        owner.join().unwrap();
        assert_eq!(*cell.borrow(), 2 + taken);
    });
}

#[test]
fn loom_gate_try_borrow_beside_a_borrower() {
    bounded(3, || {
        let (cell, mut token) = cell();
        let other = Arc::clone(&cell);
        let owner = thread::spawn(move || *token.enter() += 1);
        let borrower = thread::spawn(move || *other.borrow() += 1);
        let taken = u32::from(cell.try_borrow().map(|mut value| *value += 1).is_some());
        owner.join().unwrap();
        borrower.join().unwrap();
        assert_eq!(*cell.borrow(), 2 + taken);
    });
}

#[test]
fn loom_gate_token_moves_between_threads() {
    bounded(4, || {
        let (cell, mut token) = cell();
        let first = thread::spawn(move || {
            *token.enter() += 1;
            token
        });
        let second = thread::spawn(move || {
            let mut token = first.join().unwrap();
            *token.enter() += 1;
        });
        *cell.borrow() += 1;
        second.join().unwrap();
        assert_eq!(*cell.borrow(), 3);
    });
}

#[test]
fn loom_gate_next_owner_finds_what_the_last_one_wrote() {
    loom::model(|| {
        let (cell, mut token) = cell();
        let first = thread::spawn(move || {
            *token.enter() += 1;
            drop(token);
        });
        let claimed = GatedCell::claim(&cell).map(|mut next| *next.enter() += 1).is_some();
        first.join().unwrap();
        assert_eq!(*cell.borrow(), 1 + u32::from(claimed));
    });
}

/// How events begin without a lock (`barrier::lock_sealing`): who holds them off says so, borrows the gate to see whether the owner is at one,
/// and cuts inside the gate later on. The owner looks inside the gate, by which it also says that it is at one.
#[test]
fn loom_gate_who_holds_events_off_never_cuts_one() {
    const AT_ONE: u32 = 1;
    bounded(4, || {
        let (cell, mut token) = cell();
        let held_off = Arc::new(AtomicU32::new(0));
        let looked_at = Arc::clone(&held_off);
        let owner = thread::spawn(move || {
            for _ in 0..2 {
                let mut event = token.enter();
                if looked_at.load(Ordering::Relaxed) == 0 {
                    *event = AT_ONE;
                    drop(event);
                    *token.enter() = 0;
                }
            }
        });
        held_off.store(1, Ordering::Relaxed);
        let is_at_one = *cell.borrow() == AT_ONE;
        if !is_at_one {
            assert_ne!(*cell.borrow(), AT_ONE, "one was cut");
        }
        owner.join().unwrap();
    });
}
