//! The gate with real threads and the real barrier, and what an operation costs.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::super::Arc;
use super::super::barrier::Barrier;
use super::{GatedCell, OwnerGate};

/// Both kinds of barrier, whatever this machine would choose.
fn barriers() -> [Barrier; 2] {
    [Barrier::detect(), Barrier::FENCES]
}

/// Runs `story` elsewhere and fails if it doesn't end: the bugs of a handshake are mostly hangs.
fn within_seconds(seconds: u64, story: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel();
    let teller = thread::spawn(move || {
        story();
        done.send(()).unwrap();
    });
    let ended = ended.recv_timeout(Duration::from_secs(seconds));
    assert_ne!(ended, Err(mpsc::RecvTimeoutError::Timeout), "somebody waits for ever");
    teller.join().unwrap();
}

/// Two words that only hold the same number when nobody is half-way.
#[derive(Default)]
struct Pair(u64, u64);

impl Pair {
    fn step(&mut self) {
        assert_eq!(self.0, self.1, "somebody else is inside");
        self.0 += 1;
        std::hint::black_box(&mut *self);
        self.1 += 1;
    }
}

#[test]
fn busy_owner_and_borrowers_lose_no_update() {
    for barrier in barriers() {
        within_seconds(60, move || {
            let cell = Arc::new(GatedCell::with_barrier(Pair::default(), barrier));
            let mut token = GatedCell::claim(&cell).unwrap();
            let owner = thread::spawn(move || {
                for _ in 0..300_000 {
                    token.enter().step();
                }
            });
            let borrowers: Vec<_> = (0..2)
                .map(|_| {
                    let cell = Arc::clone(&cell);
                    thread::spawn(move || {
                        let mut tried = 0;
                        for turn in 0..1_000 {
                            if turn % 3 != 0 {
                                cell.borrow().step();
                                tried += 1;
                            } else if let Some(mut pair) = cell.try_borrow() {
                                pair.step();
                                tried += 1;
                            }
                        }
                        tried
                    })
                })
                .collect();
            owner.join().unwrap();
            let borrowed: u64 = borrowers.into_iter().map(|borrower| borrower.join().unwrap()).sum();
            let pair = cell.borrow();
            assert_eq!((pair.0, pair.1), (300_000 + borrowed, 300_000 + borrowed));
        });
    }
}

/// In a process with threads the fence takes 10 ms until it is ready: the first borrower waits for that, and not the owner for both.
#[test]
fn an_owner_waits_for_no_fence_that_is_not_ready_yet() {
    static READY: std::sync::OnceLock<()> = std::sync::OnceLock::new();
    within_seconds(60, || {
        let cell = Arc::new(GatedCell::with_barrier(0, Barrier::late(&READY)));
        let mut token = GatedCell::claim(&cell).unwrap();
        let borrower = {
            let cell = Arc::clone(&cell);
            thread::spawn(move || *cell.borrow() += 1)
        };
        for _ in 0..10_000 {
            *token.enter() += 1;
            thread::yield_now();
        }
        READY.set(()).unwrap();
        borrower.join().unwrap();
        assert_eq!(*cell.borrow(), 10_001);
    });
}

#[test]
fn an_owner_that_never_pauses_starves_no_borrower() {
    for barrier in barriers() {
        within_seconds(60, move || {
            let cell = Arc::new(GatedCell::with_barrier(false, barrier));
            let mut token = GatedCell::claim(&cell).unwrap();
            let owner = thread::spawn(move || {
                let mut operations = 0_u64;
                while !*token.enter() {
                    operations += 1;
                }
                operations
            });
            for _ in 0..200 {
                drop(cell.borrow());
            }
            *cell.borrow() = true;
            owner.join().unwrap();
        });
    }
}

#[test]
fn borrowers_that_never_pause_starve_no_owner() {
    within_seconds(60, || {
        let cell = Arc::new(GatedCell::new(0_u64));
        let mut token = GatedCell::claim(&cell).unwrap();
        let borrowers: Vec<_> = (0..2)
            .map(|_| {
                let cell = Arc::clone(&cell);
                thread::spawn(move || while *cell.borrow() < 200 {})
            })
            .collect();
        for _ in 0..200 {
            *token.enter() += 1;
        }
        borrowers.into_iter().for_each(|borrower| borrower.join().unwrap());
    });
}

#[test]
fn an_owner_inside_for_long_is_waited_for_asleep() {
    within_seconds(60, || {
        let cell = Arc::new(GatedCell::new(0));
        let mut token = GatedCell::claim(&cell).unwrap();
        let mut inside = token.enter();
        assert!(!inside.is_wanted());
        assert!(cell.try_borrow().is_none(), "the owner is inside");
        let other = Arc::clone(&cell);
        let borrower = thread::spawn(move || *other.borrow());
        while !inside.is_wanted() {
            thread::yield_now();
        }
        // Long enough for the borrower to have fallen asleep: leaving must wake it.
        thread::sleep(Duration::from_millis(50));
        *inside = 7;
        drop(inside);
        assert_eq!(borrower.join().unwrap(), 7);
    });
}

#[test]
fn an_idle_owner_blocks_nobody() {
    within_seconds(60, || {
        let cell = Arc::new(GatedCell::new(0));
        let mut token = GatedCell::claim(&cell).unwrap();
        *token.enter() += 1;
        *cell.borrow() += 1;
        *cell.try_borrow().unwrap() += 1;
        assert_eq!(*token.enter(), 3);
    });
}

#[test]
fn there_is_one_owner_at_a_time() {
    let cell = Arc::new(GatedCell::new(1));
    let token = GatedCell::claim(&cell).unwrap();
    assert!(GatedCell::claim(&cell).is_none());
    assert!(cell.is_claimed());
    drop(token);
    assert!(!cell.is_claimed());
    *GatedCell::claim(&cell).unwrap().enter() += 1;
    assert_eq!(Arc::into_inner(cell).unwrap().into_inner(), 2);
}

#[test]
fn leaked_guards_block_but_never_admit_two() {
    let cell = Arc::new(GatedCell::new(0));
    let mut token = GatedCell::claim(&cell).unwrap();
    std::mem::forget(token.enter());
    assert!(cell.try_borrow().is_none());
    *token.enter() += 1;
    // The owner has left properly now.
    let borrowed = cell.try_borrow().unwrap();
    assert!(cell.try_borrow().is_none());
    assert_eq!(*borrowed, 1);
}

#[test]
fn a_panic_inside_opens_the_gate() {
    let cell = Arc::new(GatedCell::new(0));
    let other = Arc::clone(&cell);
    let outcome = thread::spawn(move || {
        let mut token = GatedCell::claim(&other).unwrap();
        let _inside = token.enter();
        std::panic::resume_unwind(Box::new("inside"));
    })
    .join();
    assert!(outcome.is_err());
    assert_eq!(*cell.try_borrow().unwrap(), 0);
    assert!(GatedCell::claim(&cell).is_some());
}

#[test]
fn tokens_are_sent_but_not_shared() {
    fn sent<T: Send>() {}
    sent::<super::OwnerToken<std::cell::Cell<u8>>>();
    sent::<Arc<GatedCell<std::cell::Cell<u8>>>>();
}

/// Prints what the gate costs; run it with `--release -- --nocapture operation_costs`.
#[test]
fn operation_costs() {
    fn ns(rounds: u32, mut operation: impl FnMut()) -> f64 {
        let best = (0..5).map(|_| {
            let start = Instant::now();
            (0..rounds).for_each(|_| operation());
            start.elapsed()
        });
        best.min().unwrap_or_default().as_nanos() as f64 / f64::from(rounds)
    }
    let mut plain = 0_u64;
    println!("nothing but an increment: {:.2} ns", ns(1_000_000, || *std::hint::black_box(&mut plain) += 1));
    for barrier in barriers() {
        println!("{barrier:?}");
        let cell = Arc::new(GatedCell::with_barrier(0_u64, barrier));
        let mut token = GatedCell::claim(&cell).unwrap();
        println!("  enter, increment, leave:  {:.2} ns", ns(1_000_000, || *token.enter() += 1));
        println!("  borrow and give back:     {:.0} ns", ns(1_000, || *cell.borrow() += 1));
        println!("  heavy side alone:         {:.0} ns", ns(1_000, || barrier.heavy()));
        let gate = OwnerGate::with_barrier(barrier);
        println!("  bare gate:                {:.2} ns", ns(1_000_000, || drop(gate.enter())));
        assert_eq!(*token.enter(), 5_005_000);
    }
}
