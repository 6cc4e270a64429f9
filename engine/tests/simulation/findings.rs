//! That worlds find what there is to find: small programs that are wrong, each in its own way, and one that is right.

use super::run::{Outcome, run_apart};
use alluvium::platform::threads::{Condvar, Mutex, start, yield_now};
use alluvium::simulated::world::{self, Schedule};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How many schedules a program is given.
const SCHEDULES: u64 = 200;

/// Two threads that each add one to a number; `apart` lets the lock go in between reading and writing it.
fn sum(seed: u64, apart: bool) -> (u64, u64) {
    let number = Arc::new(Mutex::new(0));
    let ran = world::run(Schedule::new(seed), || {
        let add = |number: Arc<Mutex<u64>>| {
            move || {
                if apart {
                    let read = *number.lock();
                    *number.lock() = read + 1;
                } else {
                    *number.lock() += 1;
                }
            }
        };
        let threads = [start("one", add(Arc::clone(&number))), start("other", add(Arc::clone(&number)))];
        threads.into_iter().for_each(|thread| thread.unwrap().join().unwrap());
    });
    let sum = *number.lock();
    (sum, ran.trace)
}

/// Two threads that take two locks, each in its own order.
fn locks_in_two_orders(seed: u64) {
    world::run(Schedule::new(seed), || {
        let (one, other) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(())));
        let both = |first: &Arc<Mutex<()>>, second: &Arc<Mutex<()>>| {
            let (first, second) = (Arc::clone(first), Arc::clone(second));
            move || {
                let _first = first.lock();
                let _second = second.lock();
            }
        };
        start("one", both(&one, &other)).unwrap();
        start("other", both(&other, &one)).unwrap();
    });
}

/// A thread that waits for another, which may have told it before.
fn told_too_early(seed: u64) {
    world::run(Schedule::new(seed), || {
        let (told, place) = (Arc::new(AtomicBool::new(false)), Arc::new((Mutex::new(()), Condvar::new())));
        let (also_told, also_place) = (Arc::clone(&told), Arc::clone(&place));
        let tell = move || {
            // Not under the lock: in between looking and waiting.
            also_told.store(true, Ordering::Relaxed);
            also_place.1.notify_all();
        };
        start("tells", tell).unwrap();
        let looked = told.load(Ordering::Relaxed);
        let mut held = place.0.lock();
        if !looked {
            place.1.wait(&mut held);
        }
    });
}

/// A thread that spins until something that nobody does.
fn without_end(seed: u64) {
    world::run(Schedule::new(seed), || {
        loop {
            yield_now();
        }
    });
}

fn panics(seed: u64) {
    world::run(Schedule::new(seed), || {
        start("panics", || panic!("as it was told to")).unwrap();
    });
}

/// What a process does in one of the roles.
pub fn role(role: &str) {
    let each = |program: fn(u64)| (0..SCHEDULES).for_each(program);
    match role {
        "locks" => each(locks_in_two_orders),
        "told" => each(told_too_early),
        "endless" => without_end(1),
        "panics" => panics(1),
        _ => {}
    }
}

fn finds(role: &str, what: &str) {
    match run_apart(role, &[]) {
        Outcome::Failed { said, .. } => {
            assert!(said.contains(what), "{said}");
            assert!(said.contains(&format!("exit status: {}", world::EXIT_CODE)), "{said}");
        }
        Outcome::Passed(said) => panic!("{role}: nothing is found: {said}"),
    }
}

#[test]
fn threads_that_wait_for_each_other_are_found() {
    finds("locks", "all threads wait for each other");
    finds("told", "all threads wait for each other");
}

#[test]
fn runs_without_end_are_found() {
    finds("endless", "the run has no end");
}

#[test]
fn panics_are_found() {
    finds("panics", "a thread panicked");
}

#[test]
fn a_lost_update_is_found_and_found_again() {
    let sums: BTreeSet<u64> = (0..SCHEDULES).map(|seed| sum(seed, true).0).collect();
    assert_eq!(sums, BTreeSet::from([1, 2]));
    let traces: BTreeSet<u64> = (0..SCHEDULES).map(|seed| sum(seed, true).1).collect();
    assert!(traces.len() as u64 > SCHEDULES / 2, "{} of {SCHEDULES} schedules differ", traces.len());
    for seed in 0..SCHEDULES {
        assert_eq!(sum(seed, true), sum(seed, true), "schedule {seed}");
        assert_eq!(sum(seed, false).0, 2, "schedule {seed}");
    }
}

#[test]
fn time_passes_as_it_is_waited_for() {
    use alluvium::platform::threads::{now, park, since, sleep};
    let hour = Duration::from_secs(3_600);
    let ran = world::run(Schedule::new(7), || {
        let begun = now();
        let sleeps = |hours: u32| start("sleeps", move || sleep(hours * hour)).unwrap();
        let (short, long) = (sleeps(1), sleeps(3));
        short.join().unwrap();
        assert!((hour..2 * hour).contains(&since(begun)));
        long.join().unwrap();
        assert!((3 * hour..4 * hour).contains(&since(begun)));
        let place = (Mutex::new(()), Condvar::new());
        assert!(place.1.wait_for(&mut place.0.lock(), hour).timed_out());
        let parked = start("parked", park).unwrap();
        parked.thread().unpark();
        parked.join().unwrap();
    });
    assert!((4 * hour..5 * hour).contains(&ran.took), "{ran:?}");
    assert_eq!(ran.threads, 4);
}
