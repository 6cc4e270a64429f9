//! Every schedule of a reader that follows a reference and an owner that swings it, retires the old and reuses it.
//!
//! The table's cells are loom's, so an owner that writes where a reader reads is reported as such; besides, the
//! reader checks that it never finds what was written at reuse.

use super::super::atomic::{AtomicUsize, Ordering};
use super::super::cell::UnsafeCell;
use super::super::{Arc, thread};
use super::{Domain, Limbo, Slot};

const REUSED: u64 = u64::MAX;

/// A reference, and records that it may lead to.
struct Table {
    reference: AtomicUsize,
    records: [UnsafeCell<u64>; 3],
}

// SAFETY: this is what the models check.
#[expect(unsafe_code, reason = "cells under test")]
unsafe impl Sync for Table {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "cells under test")]
unsafe impl Send for Table {}

impl Table {
    fn new() -> Arc<Self> {
        let records = [UnsafeCell::new(10), UnsafeCell::new(0), UnsafeCell::new(0)];
        Arc::new(Self { reference: AtomicUsize::new(0), records })
    }

    #[expect(unsafe_code, reason = "cells under test")]
    fn read(&self, slot: &Slot) -> u64 {
        let _pin = slot.pin();
        let record = self.reference.load(Ordering::Acquire);
        // SAFETY: the protocol under test keeps writers away.
        self.records[record].with(|value| unsafe { *value })
    }

    #[expect(unsafe_code, reason = "cells under test")]
    fn write(&self, record: usize, value: u64) {
        // SAFETY: the protocol under test keeps readers away.
        self.records[record].with_mut(|slot| unsafe { *slot = value });
    }

    /// Publishes `value` in a free record, retires the one before it, and reuses what may be.
    fn swing(&self, limbo: &mut Limbo, record: usize, value: u64) -> usize {
        let old = self.reference.load(Ordering::Relaxed);
        self.write(record, value);
        self.reference.store(record, Ordering::Release);
        limbo.retire(old as u64);
        self.reuse(limbo)
    }

    fn reuse(&self, limbo: &mut Limbo) -> usize {
        let mut reused = 0;
        limbo.collect(|item| {
            self.write(item as usize, REUSED);
            reused += 1;
        });
        reused
    }
}

fn bounded(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

fn set_up() -> (Arc<Table>, Arc<Domain>, Limbo) {
    let domain = Arc::new(Domain::new());
    let limbo = Limbo::new(&domain, 1);
    (Table::new(), domain, limbo)
}

#[test]
fn loom_reclaim_reader_never_sees_reuse() {
    loom::model(|| {
        let (table, domain, mut limbo) = set_up();
        let slot = Domain::register(&domain);
        let seen = Arc::clone(&table);
        let reader = thread::spawn(move || {
            assert!(matches!(seen.read(&slot), 10 | 11));
            assert!(matches!(seen.read(&slot), 10 | 11));
        });
        table.swing(&mut limbo, 1, 11);
        table.reuse(&mut limbo);
        reader.join().unwrap();
        table.reuse(&mut limbo);
        assert!(limbo.is_empty(), "the reader has left");
    });
}

#[test]
fn loom_reclaim_batches_follow_each_other() {
    bounded(5, || {
        let (table, domain, mut limbo) = set_up();
        let slot = Domain::register(&domain);
        let seen = Arc::clone(&table);
        let reader = thread::spawn(move || {
            assert!(matches!(seen.read(&slot), 10..=12));
            assert!(matches!(seen.read(&slot), 10..=12));
        });
        table.swing(&mut limbo, 1, 11);
        table.swing(&mut limbo, 2, 12);
        table.reuse(&mut limbo);
        reader.join().unwrap();
        table.reuse(&mut limbo);
        assert!(limbo.is_empty(), "the reader has left");
    });
}

#[test]
fn loom_reclaim_reader_registers_and_leaves_meanwhile() {
    loom::model(|| {
        let (table, domain, mut limbo) = set_up();
        let seen = Arc::clone(&table);
        let readers = Arc::clone(&domain);
        let reader = thread::spawn(move || {
            let slot = Domain::register(&readers);
            assert!(matches!(seen.read(&slot), 10 | 11));
        });
        table.swing(&mut limbo, 1, 11);
        table.reuse(&mut limbo);
        reader.join().unwrap();
        assert!(limbo.seal(), "nobody is registering");
        table.reuse(&mut limbo);
        assert!(limbo.is_empty(), "the reader has left");
    });
}

#[test]
fn loom_reclaim_two_readers() {
    bounded(3, || {
        let (table, domain, mut limbo) = set_up();
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let slot = Domain::register(&domain);
                let seen = Arc::clone(&table);
                thread::spawn(move || assert!(matches!(seen.read(&slot), 10 | 11)))
            })
            .collect();
        table.swing(&mut limbo, 1, 11);
        table.reuse(&mut limbo);
        for reader in readers {
            reader.join().unwrap();
        }
        table.reuse(&mut limbo);
        assert!(limbo.is_empty(), "the readers have left");
    });
}

#[test]
fn loom_reclaim_nobody_inside_is_free_at_once() {
    loom::model(|| {
        let (table, domain, mut limbo) = set_up();
        let slot = Domain::register(&domain);
        assert_eq!(table.read(&slot), 10);
        assert_eq!(table.swing(&mut limbo, 1, 11), 1);
        let pin = slot.pin();
        assert_eq!(table.swing(&mut limbo, 2, 12), 0);
        drop(pin);
        assert_eq!(table.reuse(&mut limbo), 1);
    });
}

#[test]
fn loom_reclaim_drain_waits_for_the_reader() {
    loom::model(|| {
        let (table, domain, mut limbo) = set_up();
        let slot = Domain::register(&domain);
        let seen = Arc::clone(&table);
        let reader = thread::spawn(move || assert!(matches!(seen.read(&slot), 10 | 11)));
        table.swing(&mut limbo, 1, 11);
        limbo.drain(|item| table.write(item as usize, REUSED));
        assert!(limbo.is_empty());
        reader.join().unwrap();
    });
}
