//! Merging states, and when values expire: what goes in is what comes out, wherever it lies, whoever reads it, and
//! whatever is registered again meanwhile.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

use alluvium::{
    Barrier, Batch, Class, Engine, EngineOptions, Error, Key, KeyGroup, Merge, MergeOperator, Operation, State,
    StateOptions, Store, StoreOptions, Ttl, Writer,
};
use std::path::Path;
use std::sync::Arc;

fn engine() -> Engine {
    Engine::open(EngineOptions { memory_budget_bytes: 16 << 20, ..Default::default() }).unwrap()
}

fn create(engine: &Engine, path: &Path) -> Store {
    Store::create(engine, path, StoreOptions::default()).unwrap()
}

fn checkpoint(store: &Store, label: u64) {
    store.barrier(Barrier::new(label)).unwrap().wait().unwrap();
}

/// Closes the store and opens it again.
fn again(engine: &Engine, path: &Path, store: Store, writer: Writer) -> Store {
    drop(writer);
    store.close().unwrap();
    Store::open(engine, path, StoreOptions::default()).unwrap()
}

const KEY: Key<'static> = Key::new(KeyGroup(0), b"k");

fn number(writer: &mut Writer, state: State) -> Option<u64> {
    writer.get(state, KEY).unwrap().map(|value| u64::from_le_bytes(value.try_into().unwrap()))
}

fn is_refused<T: std::fmt::Debug>(outcome: alluvium::Result<T>) {
    let refused = outcome.unwrap_err();
    assert!(matches!(refused, Error::State { .. }) && refused.class() == Class::Usage, "{refused}");
}

/// In a chain whose base was read from disk, chunks of many checkpoints were joined as if they were parts of a list.
#[test]
fn operands_of_many_checkpoints_are_merged_not_put_one_after_another() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine();
    let store = create(&engine, directory.path());
    let options = || StateOptions::merging("sum", MergeOperator::U64Add);
    let state = store.state(options()).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    writer.merge(state, KEY, &1_u64.to_le_bytes()).unwrap();
    checkpoint(&store, 0);
    let store = again(&engine, directory.path(), store, writer);
    let state = store.state(options()).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    for round in 1..=30 {
        writer.merge(state, KEY, &1_u64.to_le_bytes()).unwrap();
        assert_eq!(number(&mut writer, state), Some(round + 1));
        checkpoint(&store, round);
    }
}

/// A value of three bytes was taken by `put`; the next operand took its place instead of being added.
#[test]
fn a_value_that_the_operator_does_not_take_is_refused_however_it_comes() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine();
    let store = create(&engine, directory.path());
    let state = store.state(StateOptions::merging("sum", MergeOperator::U64Add)).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    writer.put(state, KEY, &7_u64.to_le_bytes()).unwrap();
    for wrong in [&b""[..], b"abc", &[0; 9]] {
        let mut outcomes = vec![writer.put(state, KEY, wrong), writer.merge(state, KEY, wrong)];
        for operation in [Operation::Put(wrong), Operation::Merge(wrong)] {
            let mut batch = Batch::new();
            batch.push(state, KEY, operation);
            outcomes.push(writer.apply(&batch));
        }
        outcomes.into_iter().for_each(is_refused);
    }
    writer.merge(state, KEY, &1_u64.to_le_bytes()).unwrap();
    assert_eq!(number(&mut writer, state), Some(8));
}

/// Adds, up to a greatest number; under any name.
#[derive(Debug)]
struct Saturating(String);

impl Saturating {
    fn named(name: &str) -> MergeOperator {
        MergeOperator::User(Arc::new(Self(name.to_owned())))
    }
}

impl Merge for Saturating {
    fn name(&self) -> &str {
        &self.0
    }

    fn merge(&self, older: &[u8], newer: &[u8], out: &mut Vec<u8>) {
        let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
        out.extend_from_slice(&number(older).saturating_add(number(newer)).to_le_bytes());
    }
}

/// Under an empty name values were put one after another by a compaction before the operator was there again; under one
/// too long for a manifest no checkpoint was complete any more; under a built-in operator's, that one took its place.
#[test]
fn an_operator_has_a_name_that_it_can_be_found_by() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine();
    let store = create(&engine, directory.path());
    for name in ["", "u64-add", &"n".repeat(1_025), &"n".repeat(70_000)] {
        is_refused(store.state(StateOptions::merging("sum", Saturating::named(name))));
    }
    let longest = "n".repeat(1_024);
    let options = || StateOptions::merging(&longest, Saturating::named(&longest));
    let state = store.state(options()).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    writer.merge(state, KEY, &1_u64.to_le_bytes()).unwrap();
    checkpoint(&store, 1);
    let store = again(&engine, directory.path(), store, writer);
    is_refused(store.compact());
    let state = store.state(options()).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    writer.merge(state, KEY, &u64::MAX.to_le_bytes()).unwrap();
    assert_eq!(number(&mut writer, state), Some(u64::MAX));
}

/// A manifest has room for all that was registered, or no checkpoint of the store is complete any more.
#[test]
fn what_is_registered_fits_a_manifest() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine();
    let store = create(&engine, directory.path());
    is_refused(store.state(StateOptions::value("")));
    is_refused(store.state(StateOptions::value(&"n".repeat(1_025))));
    let schema = vec![7; 40 << 20];
    let first = store.state(StateOptions::value("first").user(&schema)).unwrap();
    is_refused(store.state(StateOptions::value("second").user(&schema)));
    let second = store.state(StateOptions::value("second").user(b"short")).unwrap();
    is_refused(store.state(StateOptions::value("second").user(&schema)));
    assert_eq!(store.state(StateOptions::value("first").user(&schema)).unwrap(), first);
    assert_eq!((store.states().len(), second.id().0), (2, 1));
    assert_eq!(store.states()[1].user, b"short");
    checkpoint(&store, 1);
}

/// A reader that the writer was too fast for read by the writer's clock, and started the value's time anew.
#[test]
fn what_has_expired_for_a_reader_is_gone_however_fast_the_writer_is() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::open(EngineOptions { memory_budget_bytes: 64 << 20, ..Default::default() }).unwrap();
    let store = create(&engine, directory.path());
    let ttl = Ttl { duration_ms: 1_000, refresh_on_read: true };
    let state = store.state(StateOptions::value("value").ttl(ttl)).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    let reader = store.reader();
    reader.set_time_ms(1_000_000);
    let value = vec![7; 4 << 20];
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                writer.put(state, KEY, &value).unwrap();
            }
        });
        let ends = std::time::Instant::now() + std::time::Duration::from_secs(1);
        while std::time::Instant::now() < ends {
            let seen = reader.get(state, KEY).unwrap().map(|value| value.len());
            done.store(seen.is_some(), std::sync::atomic::Ordering::Relaxed);
            assert_eq!(seen, None);
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

/// Without its time to live, 10 that had expired and 5 merged into it later were 15 in memory or after a compaction, and
/// 5 on disk.
#[test]
fn whether_merged_values_expire_is_settled_when_the_state_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine();
    let store = create(&engine, directory.path());
    let ttl = Ttl { duration_ms: 1_000, refresh_on_read: false };
    let sum = |name: &str| StateOptions::merging(name, MergeOperator::U64Add);
    let expiring = store.state(sum("expiring").ttl(ttl)).unwrap();
    store.state(sum("lasting")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    writer.merge(expiring, KEY, &10_u64.to_le_bytes()).unwrap();
    is_refused(store.state(sum("expiring")));
    checkpoint(&store, 1);
    let store = again(&engine, directory.path(), store, writer);
    is_refused(store.state(sum("expiring")));
    is_refused(store.state(sum("lasting").ttl(ttl)));
    assert_eq!(store.state(sum("expiring").ttl(Ttl { duration_ms: 1, ..ttl })).unwrap(), expiring);
}

/// A time to live of another length: what was merged before keeps its own, wherever it lies.
#[test]
fn a_longer_time_to_live_holds_from_the_next_operand_on_wherever_the_value_lies() {
    let ttl = |duration_ms| Ttl { duration_ms, refresh_on_read: false };
    let sum = |duration_ms| StateOptions::merging("sum", MergeOperator::U64Add).ttl(ttl(duration_ms));
    for (second_at_ms, wanted) in [(500, 15), (1_000, 5)] {
        for (reopened, compacted, read) in [(0, false, false), (1, false, false), (1, true, false), (2, true, true)] {
            let directory = tempfile::tempdir().unwrap();
            let engine = engine();
            let mut store = create(&engine, directory.path());
            let state = store.state(sum(1_000)).unwrap();
            let mut writer = store.writer(store.range()).unwrap();
            writer.merge(state, KEY, &10_u64.to_le_bytes()).unwrap();
            checkpoint(&store, 1);
            if reopened > 1 {
                store = again(&engine, directory.path(), store, writer);
                writer = store.writer(store.range()).unwrap();
            }
            store.state(sum(10_000)).unwrap();
            writer.set_time_ms(second_at_ms);
            writer.merge(state, KEY, &5_u64.to_le_bytes()).unwrap();
            checkpoint(&store, 2);
            if read {
                assert_eq!(number(&mut writer, state), Some(wanted));
            }
            if reopened > 0 {
                store = again(&engine, directory.path(), store, writer);
                store.state(sum(10_000)).unwrap();
                writer = store.writer(store.range()).unwrap();
            }
            if compacted {
                store.compact().unwrap();
            }
            writer.set_time_ms(2_000);
            assert_eq!(number(&mut writer, state), Some(wanted), "{second_at_ms} {reopened} {compacted} {read}");
            writer.set_time_ms(second_at_ms + 10_000);
            assert_eq!(number(&mut writer, state), None);
        }
    }
}
