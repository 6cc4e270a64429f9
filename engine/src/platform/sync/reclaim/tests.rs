//! Reclamation with real readers, and what it costs.

use std::thread;
use std::time::Instant;

use super::super::Arc;
use super::super::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use super::super::barrier::Barrier;
use super::{Domain, Limbo};

fn collected(limbo: &mut Limbo) -> Vec<u64> {
    let mut items = Vec::new();
    limbo.collect(|item| items.push(item));
    items
}

#[test]
fn without_readers_a_full_batch_is_free_at_once() {
    let domain = Arc::new(Domain::new());
    let mut limbo = Limbo::new(&domain, 3);
    limbo.retire(1);
    limbo.retire(2);
    assert_eq!(collected(&mut limbo), [0_u64; 0], "the batch is open");
    limbo.retire(3);
    limbo.retire(4);
    assert_eq!(collected(&mut limbo), [1, 2, 3]);
    assert_eq!(limbo.len(), 1);
    assert!(limbo.seal());
    assert_eq!(collected(&mut limbo), [4]);
    assert!(limbo.is_empty());
}

#[test]
fn a_batch_waits_for_the_readers_that_were_inside() {
    let domain = Arc::new(Domain::new());
    let mut limbo = Limbo::new(&domain, 1);
    let (first, second) = (Domain::register(&domain), Domain::register(&domain));
    let inside = first.pin();
    limbo.retire(1);
    let late = second.pin();
    limbo.retire(2);
    assert_eq!(collected(&mut limbo), [0_u64; 0]);
    drop(inside);
    assert_eq!(collected(&mut limbo), [1], "the second reader came after the first batch was sealed");
    // The second reader comes back at once: it is inside again, but not the same time.
    drop(late);
    let _again = second.pin();
    assert_eq!(collected(&mut limbo), [2]);
}

#[test]
fn nested_pins_count_as_the_outermost() {
    let domain = Arc::new(Domain::new());
    let mut limbo = Limbo::new(&domain, 1);
    let slot = Domain::register(&domain);
    let outer = slot.pin();
    let inner = slot.pin();
    limbo.retire(1);
    drop(outer);
    assert_eq!(collected(&mut limbo), [0_u64; 0]);
    drop(inner);
    assert_eq!(collected(&mut limbo), [1]);
}

#[test]
fn slots_are_reused_and_a_leaked_pin_ends_with_its_slot() {
    let domain = Arc::new(Domain::new());
    let mut limbo = Limbo::new(&domain, 1);
    let slot = Domain::register(&domain);
    std::mem::forget(slot.pin());
    limbo.retire(1);
    assert_eq!(collected(&mut limbo), [0_u64; 0]);
    drop(slot);
    assert_eq!(collected(&mut limbo), [1]);
    assert_eq!(domain.readers(), 0);
    for _ in 0..100 {
        drop(Domain::register(&domain).pin());
    }
    let _other = (Domain::register(&domain), Domain::register(&domain));
    assert_eq!(domain.readers(), 2);
    assert_eq!(domain.registry.lock().counts.len(), 2, "as many as there were at a time");
}

#[test]
fn the_owner_does_not_wait_for_the_registry() {
    let domain = Arc::new(Domain::new());
    let mut limbo = Limbo::new(&domain, 1);
    let registering = domain.registry.lock();
    limbo.retire(1);
    assert!(!limbo.seal());
    drop(registering);
    limbo.retire(2);
    assert_eq!(collected(&mut limbo), [1, 2]);
}

/// Records of two words that agree unless the record was reused; a reader that finds them apart held reused memory.
#[test]
fn readers_never_find_reused_records() {
    const RECORDS: usize = 64;
    for barrier in [Barrier::detect(), Barrier::FENCES] {
        let domain = Arc::new(Domain::with_barrier(barrier));
        let records: Arc<Vec<[AtomicU64; 2]>> = Arc::new((0..RECORDS).map(|_| Default::default()).collect());
        let reference = Arc::new(AtomicUsize::new(0));
        let done = Arc::new(AtomicBool::new(false));
        let reading = Arc::new(AtomicUsize::new(0));
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let (domain, records) = (Arc::clone(&domain), Arc::clone(&records));
                let (reference, done, reading) = (Arc::clone(&reference), Arc::clone(&done), Arc::clone(&reading));
                thread::spawn(move || {
                    let mut reads = 0_u64;
                    while !done.load(Ordering::Relaxed) {
                        let slot = Domain::register(&domain);
                        for _ in 0..100 {
                            let _pin = slot.pin();
                            let [left, right] = &records[reference.load(Ordering::Acquire)];
                            let seen = left.load(Ordering::Relaxed);
                            std::hint::spin_loop();
                            assert_eq!(right.load(Ordering::Relaxed), seen, "reused while being read");
                            reads += 1;
                        }
                        if reads == 100 {
                            reading.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    reads
                })
            })
            .collect();
        let mut limbo = Limbo::new(&domain, 8);
        let mut free: Vec<u64> = (1..RECORDS as u64).collect();
        let mut version = 0;
        // On a busy machine the readers may start late. One that is done already has failed.
        let waiting = || reading.load(Ordering::Relaxed) < 3 && !readers.iter().any(thread::JoinHandle::is_finished);
        while version < 100_000 || waiting() {
            let Some(record) = free.pop() else {
                limbo.seal();
                limbo.collect(|item| free.push(item));
                thread::yield_now();
                continue;
            };
            version += 1;
            records[record as usize].iter().for_each(|word| word.store(version, Ordering::Relaxed));
            limbo.retire(reference.swap(record as usize, Ordering::Release) as u64);
            limbo.collect(|item| free.push(item));
        }
        done.store(true, Ordering::Relaxed);
        assert!(readers.into_iter().map(|reader| reader.join().unwrap()).sum::<u64>() >= 300);
        limbo.drain(|item| free.push(item));
        free.sort_unstable();
        free.dedup();
        assert_eq!(free.len(), RECORDS - 1, "every record but the current one came back, once");
    }
}

/// Prints what reclamation costs; run it with `--release -- --nocapture reclaim_costs`.
#[test]
fn reclaim_costs() {
    fn ns(rounds: u32, mut operation: impl FnMut()) -> f64 {
        let best = (0..5).map(|_| {
            let start = Instant::now();
            (0..rounds).for_each(|_| operation());
            start.elapsed()
        });
        best.min().unwrap_or_default().as_nanos() as f64 / f64::from(rounds)
    }
    for barrier in [Barrier::detect(), Barrier::FENCES] {
        println!("{barrier:?}");
        let domain = Arc::new(Domain::with_barrier(barrier));
        let mut limbo = Limbo::new(&domain, Limbo::BATCH_ITEMS);
        let mut retire = || {
            limbo.retire(1);
            limbo.collect(|item| {
                std::hint::black_box(item);
            });
        };
        println!("  retire and collect, no reader:   {:.2} ns", ns(500_000, &mut retire));
        let slot = Domain::register(&domain);
        println!("  retire and collect, idle reader: {:.2} ns", ns(500_000, &mut retire));
        println!("  pin and unpin:                   {:.2} ns", ns(500_000, || drop(slot.pin())));
    }
}
