//! Parts of the memory budget: limits hold, what is guaranteed is there, and stores of different parts don't feel each
//! other.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

use alluvium::{Barrier, Engine, EngineOptions, Error, MemoryShare, State, StateOptions, Store, StoreOptions, Writer};
use std::path::Path;

const MIB: usize = 1 << 20;

fn engine(budget_mib: usize) -> Engine {
    Engine::open(EngineOptions { memory_budget_bytes: budget_mib * MIB, ..Default::default() }).unwrap()
}

struct One {
    store: Store,
    writer: Writer,
    state: State,
    next: u32,
}

impl One {
    fn create(engine: &Engine, path: &Path, share: Option<&MemoryShare>, minimum_bytes: usize) -> Self {
        let options =
            StoreOptions { memory_share: share.cloned(), memory_minimum_bytes: minimum_bytes, ..Default::default() };
        let store = Store::create(engine, path, options).unwrap();
        let state = store.state(StateOptions::value("v")).unwrap();
        let writer = store.writer(store.range()).unwrap();
        Self { store, writer, state, next: 0 }
    }

    /// Puts some MiB of records of about 1 KiB.
    fn put(&mut self, mib: u32) {
        for _ in 0..mib * 1_000 {
            self.put_one();
        }
    }

    fn put_one(&mut self) {
        let key = self.next.to_be_bytes();
        self.writer.put(self.state, self.store.key(&key), &[self.next as u8; 1_000]).unwrap();
        self.next += 1;
    }

    fn check(&mut self) {
        for number in (0..self.next).step_by(37) {
            let found = self.writer.get(self.state, self.store.key(&number.to_be_bytes())).unwrap().unwrap();
            assert_eq!(found, [number as u8; 1_000], "record {number}");
        }
    }

    fn memory_bytes(&self) -> usize {
        usize::try_from(self.store.metrics().memory_bytes).unwrap()
    }
}

#[test]
fn a_store_stays_within_its_part_and_leaves_the_rest_alone() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(48);
    let slot = engine.memory_share(0, 8 * MIB).unwrap();
    let mut small = One::create(&engine, &directory.path().join("small"), Some(&slot), 0);
    let mut twin = One::create(&engine, &directory.path().join("twin"), Some(&slot), 0);
    let mut large = One::create(&engine, &directory.path().join("large"), None, 0);
    large.put(20);
    let before = large.memory_bytes();
    assert!(before >= 20 * MIB);
    for _ in 0..10 {
        small.put(3);
        twin.put(3);
        assert!(slot.used_bytes() <= 8 * MIB, "{} bytes of 8 MiB", slot.used_bytes());
        // Not of one moment: a flush may just be giving something back.
        assert!(slot.used_bytes().abs_diff(small.memory_bytes() + twin.memory_bytes()) < MIB);
    }
    assert_eq!(large.memory_bytes(), before, "what is short in one part was taken from another");
    assert_eq!(large.store.metrics().spills, 0);
    assert!(small.store.metrics().spills > 0 && twin.store.metrics().spills > 0);
    slot.set_limit_bytes(6 * MIB);
    let mut rounds = 0;
    while slot.used_bytes() > 6 * MIB {
        small.put(1);
        twin.put(1);
        rounds += 1;
        assert!(rounds < 1_000, "{} bytes of 6 MiB", slot.used_bytes());
    }
    [small, twin, large].iter_mut().for_each(One::check);
}

#[test]
fn what_is_guaranteed_is_there_however_late() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(32);
    let mut hungry = One::create(&engine, &directory.path().join("hungry"), None, 0);
    // Everything is taken before the other store comes.
    hungry.put(60);
    let mut late = One::create(&engine, &directory.path().join("late"), None, 12 * MIB);
    late.put(10);
    let held = late.memory_bytes();
    assert!(held >= 9 * MIB, "{held} bytes of 10 MiB in a part of 12");
    // And it stays there, idle.
    hungry.put(60);
    assert_eq!(late.memory_bytes(), held, "it was taken from an idle store");
    assert!(engine.used_bytes() <= engine.budget_bytes() + (256 << 10));
    late.store.barrier(Barrier::new(1)).unwrap().wait().unwrap();
    [&mut hungry, &mut late].into_iter().for_each(One::check);
    let One { store, writer, .. } = late;
    drop(writer);
    store.close().unwrap();
    // What it had is others' again.
    hungry.put(60);
    assert!(hungry.memory_bytes() > 24 * MIB, "{} bytes", hungry.memory_bytes());
}

/// A store that holds nothing has nothing to give up for its first record, and of a part that is full the last sixteenth is left to what finds
/// records: what others of the part have makes room, whatever lies outside.
#[test]
fn a_new_store_in_a_full_part_takes_from_that_part() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(64);
    let slot = engine.memory_share(0, 8 * MIB).unwrap();
    let mut large = One::create(&engine, &directory.path().join("large"), None, 0);
    large.put(30);
    let mut first = One::create(&engine, &directory.path().join("first"), Some(&slot), 0);
    first.put(7);
    // Nothing is under way that would give anything back later.
    first.store.barrier(Barrier::new(1)).unwrap().wait().unwrap();
    // Long values take what is left to others: then there is no chunk for records.
    let mut long = 0_u32;
    while long == 0 || 8 * MIB - slot.used_bytes() >= MIB / 2 + (32 << 10) {
        let key = [&b"long"[..], &long.to_be_bytes()].concat();
        first.writer.put(first.state, first.store.key(&key), &[7; 20_000]).unwrap();
        long += 1;
        assert!(long < 10_000, "{} bytes of 8 MiB", slot.used_bytes());
    }
    let before = (large.memory_bytes(), first.memory_bytes());
    let mut second = One::create(&engine, &directory.path().join("second"), Some(&slot), 0);
    second.put_one();
    assert_eq!(large.memory_bytes(), before.0, "what is short in one part was taken from another");
    assert_eq!(large.store.metrics().spills, 0);
    assert!(first.memory_bytes() < before.1);
    [first, second, large].iter_mut().for_each(One::check);
}

#[test]
fn no_more_is_promised_than_there_is() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(32);
    let refused = |outcome: Result<MemoryShare, Error>| assert!(matches!(outcome, Err(Error::Options { .. })));
    refused(engine.memory_share(0, 1_000));
    refused(engine.memory_share(3 * MIB, 2 * MIB));
    refused(engine.memory_share(33 * MIB, 64 * MIB));
    let slot = engine.memory_share(20 * MIB, 24 * MIB).unwrap();
    refused(engine.memory_share(20 * MIB, 24 * MIB));
    let too_much =
        StoreOptions { memory_share: Some(slot.clone()), memory_minimum_bytes: 25 * MIB, ..Default::default() };
    let outcome = Store::create(&engine, directory.path(), too_much);
    assert!(matches!(outcome, Err(Error::Options { option: "memory_minimum_bytes", .. })));
    let other = self::engine(8);
    let foreign = StoreOptions { memory_share: Some(slot.clone()), ..Default::default() };
    assert!(matches!(Store::create(&other, directory.path(), foreign), Err(Error::Options { .. })));
    // What a store is promised in a part, the whole has to have.
    let unlimited = engine.memory_share(0, usize::MAX).unwrap();
    let of_it = |minimum_bytes| StoreOptions {
        memory_share: Some(unlimited.clone()),
        memory_minimum_bytes: minimum_bytes,
        ..Default::default()
    };
    let outcome = Store::create(&engine, directory.path(), of_it(14 * MIB));
    assert!(matches!(outcome, Err(Error::Options { option: "memory_minimum_bytes", .. })));
    let store = Store::create(&engine, directory.path(), of_it(6 * MIB)).unwrap();
    refused(engine.memory_share(8 * MIB, 8 * MIB));
    store.close().unwrap();
    engine.memory_share(8 * MIB, 8 * MIB).unwrap();
    drop(slot);
    engine.memory_share(20 * MIB, 24 * MIB).unwrap();
}
