//! Merging states: what goes in is what comes out, wherever the value lies and whatever is registered meanwhile.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

use alluvium::{
    Barrier, Engine, EngineOptions, Key, KeyGroup, MergeOperator, State, StateOptions, Store, StoreOptions, Writer,
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
