//! Merging states: what goes in is what comes out, wherever the value lies and whatever is registered meanwhile.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

use alluvium::{
    Barrier, Batch, Class, Engine, EngineOptions, Error, Key, KeyGroup, MergeOperator, Operation, State, StateOptions,
    Store, StoreOptions, Writer,
};
use std::path::Path;

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
        for outcome in outcomes {
            let refused = outcome.unwrap_err();
            assert!(matches!(refused, Error::State { .. }) && refused.class() == Class::Usage, "{refused}");
        }
    }
    writer.merge(state, KEY, &1_u64.to_le_bytes()).unwrap();
    assert_eq!(number(&mut writer, state), Some(8));
}
