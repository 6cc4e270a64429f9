//! Parts of the memory budget: limits hold, what is guaranteed is there, and stores of different parts don't feel each
//! other.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

use alluvium::{
    Barrier, Engine, EngineOptions, Error, Key, KeyGroup, MemoryShare, State, StateOptions, Store, StoreOptions, Writer,
};
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

/// A queue that was opened anew and popped once: what is put behind its front from then on is put far.
struct Queue {
    store: Store,
    writer: Writer,
    state: State,
    next: u64,
}

impl Queue {
    const KEY: Key<'static> = Key::new(KeyGroup(0), b"queue");

    fn open(engine: &Engine, path: &Path, share: Option<&MemoryShare>, minimum_bytes: usize) -> Self {
        let options =
            || StoreOptions { memory_share: share.cloned(), memory_minimum_bytes: minimum_bytes, ..Default::default() };
        let open = |store: Store, next: u64| {
            let state = store.state(StateOptions::map("queue")).unwrap();
            let writer = store.writer(store.range()).unwrap();
            Self { store, writer, state, next }
        };
        let mut queue = open(Store::create(engine, path, options()).unwrap(), 0);
        (0..2_000).for_each(|_| queue.put());
        queue.store.barrier(Barrier::new(1)).unwrap().wait().unwrap();
        let Self { store, writer, next, .. } = queue;
        drop(writer);
        store.close().unwrap();
        let mut queue = open(Store::open(engine, path, options()).unwrap(), next);
        // As a range: a tombstone would end the putting far.
        let mut popped = 0;
        queue.writer.map_pop_below(queue.state, Self::KEY, &1_u64.to_be_bytes(), |_, _| popped += 1).unwrap();
        assert_eq!(popped, 1);
        queue
    }

    fn put(&mut self) {
        let value = [self.next as u8; 1_000];
        self.writer.map_put(self.state, Self::KEY, &self.next.to_be_bytes(), &value).unwrap();
        self.next += 1;
    }

    /// Takes everything out.
    fn empty(&mut self) {
        for number in 1..self.next {
            let (user_key, value) = self.writer.map_pop_first(self.state, Self::KEY).unwrap().unwrap();
            assert_eq!(user_key, number.to_be_bytes());
            assert_eq!(value, [number as u8; 1_000], "entry {number}");
        }
        assert_eq!(self.writer.map_pop_first(self.state, Self::KEY).unwrap(), None);
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
fn what_is_put_far_stays_within_its_part() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(64);
    let slot = engine.memory_share(0, 8 * MIB).unwrap();
    let before = engine.used_bytes();
    let mut queue = Queue::open(&engine, &directory.path().join("queue"), Some(&slot), 0);
    for _ in 0..60 {
        (0..1_000).for_each(|_| queue.put());
        // Fronts may go beyond the limit by a 32nd of it.
        assert!(slot.used_bytes() <= 8 * MIB + 8 * MIB / 32, "{} bytes of 8 MiB", slot.used_bytes());
        // What a flush needs while it is under way counts for the whole budget alone.
        assert!(engine.used_bytes() <= before + 9 * MIB, "{} bytes more", engine.used_bytes() - before);
    }
    assert!(queue.store.metrics().spills > 0);
    queue.empty();
}

/// What was put far counts for what is guaranteed: who has more than that gives it up, also idle.
#[test]
fn what_was_put_far_is_given_up_beyond_what_is_guaranteed() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(32);
    let mut queue = Queue::open(&engine, &directory.path().join("queue"), None, 8 * MIB);
    let before = engine.used_bytes();
    while engine.used_bytes() < before + 12 * MIB {
        queue.put();
    }
    assert_eq!(queue.store.metrics().spills, 0);
    let held = queue.store.metrics().memory_bytes;
    let mut other = One::create(&engine, &directory.path().join("other"), None, 0);
    let value = vec![7; 19 * MIB];
    other.writer.put(other.state, other.store.key(b"long"), &value).unwrap();
    assert!(queue.store.metrics().memory_bytes < held && queue.store.metrics().spills > 0);
    assert_eq!(other.writer.get(other.state, other.store.key(b"long")).unwrap(), Some(value));
    queue.empty();
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
