//! States that are registered again: what a host brings later holds for writers that are there already.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

use alluvium::{Barrier, Engine, EngineOptions, Error, Merge, MergeOperator, StateOptions, Store, StoreOptions, Ttl};
use std::sync::Arc;

fn engine() -> Engine {
    Engine::open(EngineOptions { memory_budget_bytes: 8 << 20, ..Default::default() }).unwrap()
}

#[derive(Debug)]
struct Concat;

impl Merge for Concat {
    fn name(&self) -> &str {
        "concat"
    }

    fn merge(&self, older: &[u8], newer: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(older);
        out.extend_from_slice(newer);
    }
}

#[test]
fn a_writer_learns_of_an_operator_that_is_registered_after_it_was_made() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine();
    let options = || StateOptions::merging("concat", MergeOperator::User(Arc::new(Concat)));
    let store = Store::create(&engine, directory.path(), StoreOptions::default()).unwrap();
    let state = store.state(options()).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    writer.merge(state, store.key(b"k"), b"a").unwrap();
    store.barrier(Barrier::new(1)).unwrap().wait().unwrap();
    drop(writer);
    store.close().unwrap();

    let store = Store::open(&engine, directory.path(), StoreOptions::default()).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    let early = store.compact().unwrap_err();
    assert!(matches!(&early, Error::State { state, .. } if state == "concat"), "{early:?}");
    let state = store.state(options()).unwrap();
    writer.merge(state, store.key(b"k"), b"b").unwrap();
    assert_eq!(writer.get(state, store.key(b"k")).unwrap().unwrap(), b"ab");
    store.compact().unwrap();
    assert_eq!(writer.get(state, store.key(b"k")).unwrap().unwrap(), b"ab");
}

#[test]
fn another_time_to_live_holds_for_what_is_written_from_then_on() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine();
    let store = Store::create(&engine, directory.path(), StoreOptions::default()).unwrap();
    let options = |duration_ms| StateOptions::value("v").ttl(Ttl { duration_ms, refresh_on_read: false });
    let state = store.state(options(10)).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    writer.put(state, store.key(b"short"), b"1").unwrap();
    assert_eq!(store.state(options(1_000)).unwrap(), state);
    writer.put(state, store.key(b"long"), b"2").unwrap();
    writer.set_time_ms(10);
    assert_eq!(writer.get(state, store.key(b"short")).unwrap(), None);
    assert_eq!(writer.get(state, store.key(b"long")).unwrap().unwrap(), b"2");
}

/// A state that is registered by a handle that knows of no time to live has none from then on.
#[test]
fn without_a_time_to_live_what_is_written_lasts_and_what_was_written_before_still_expires() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine();
    let mut store = Store::create(&engine, directory.path(), StoreOptions::default()).unwrap();
    let ttl = Ttl { duration_ms: 1_000, refresh_on_read: true };
    let value = store.state(StateOptions::value("v").ttl(ttl)).unwrap();
    let map = store.state(StateOptions::map("m").ttl(ttl)).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    let number = 1_u64.to_le_bytes();
    for key in [b"old", b"new"] {
        writer.put(value, store.key(key), &number).unwrap();
        writer.map_put(map, store.key(b"k"), key, &number).unwrap();
    }
    store.state(StateOptions::value("v")).unwrap();
    store.state(StateOptions::map("m")).unwrap();
    assert_eq!(store.states().iter().filter_map(|state| state.ttl).count(), 0);
    writer.set_time_ms(500);
    writer.update(value, store.key(b"new"), |old| old.map(<[u8]>::to_vec)).unwrap();
    writer.map_put(map, store.key(b"k"), b"new", &number).unwrap();
    for reopened in [false, true] {
        if reopened {
            store.barrier(Barrier::new(1)).unwrap().wait().unwrap();
            drop(writer);
            store.close().unwrap();
            store = Store::open(&engine, directory.path(), StoreOptions::default()).unwrap();
            writer = store.writer(store.range()).unwrap();
        }
        // Reading refreshes nothing any more.
        writer.set_time_ms(999);
        assert!(writer.get(value, store.key(b"old")).unwrap().is_some());
        assert!(writer.map_get(map, store.key(b"k"), b"old").unwrap().is_some());
        writer.set_time_ms(5_000);
        for (key, lasts) in [(b"old", false), (b"new", true)] {
            assert_eq!(writer.get(value, store.key(key)).unwrap().is_some(), lasts);
            assert_eq!(writer.map_contains(map, store.key(b"k"), key).unwrap(), lasts);
        }
        assert_eq!(writer.map_first(map, store.key(b"k")).unwrap().unwrap().0, b"new");
    }
    writer.update(value, store.key(b"old"), |old| Some([old.unwrap_or(b"none"), b"!"].concat())).unwrap();
    assert_eq!(writer.get(value, store.key(b"old")).unwrap().unwrap(), b"none!");
}

/// Each registration of a state with a schema, by a handle that doesn't give it, had all writers fetch all definitions.
#[test]
fn what_is_registered_again_as_it_is_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine();
    let store = Store::create(&engine, directory.path(), StoreOptions::default()).unwrap();
    let ttl = Ttl { duration_ms: 1_000, refresh_on_read: true };
    let options = || StateOptions::value("v").ttl(ttl);
    store.state(options().user(b"schema")).unwrap();
    let before = store.states();
    store.state(options()).unwrap();
    store.state(options().user(b"schema")).unwrap();
    assert!(Arc::ptr_eq(&before[0], &store.states()[0]));
    store.state(options().user(b"another")).unwrap();
    store.state(options()).unwrap();
    assert_eq!((store.states()[0].user.as_slice(), store.states()[0].ttl), (&b"another"[..], Some(ttl)));
}

/// Keeps the older of two.
#[derive(Debug)]
struct First;

impl Merge for First {
    fn name(&self) -> &str {
        "first"
    }

    fn merge(&self, older: &[u8], _newer: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(older);
    }
}

/// A value and an operand of a later segment were put one behind the other where the operator was not known.
#[test]
fn a_checkpoint_is_not_iterated_without_the_operator_that_a_value_needs() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine();
    let options = || StateOptions::merging("first", MergeOperator::User(Arc::new(First)));
    let store = Store::create(&engine, directory.path(), StoreOptions::default()).unwrap();
    store.barrier(Barrier::new(0)).unwrap().wait().unwrap();
    store.close().unwrap();
    for (label, operand) in [(1, b"a"), (2, b"b")] {
        let store = Store::open(&engine, directory.path(), StoreOptions::default()).unwrap();
        let state = store.state(options()).unwrap();
        let mut writer = store.writer(store.range()).unwrap();
        writer.merge(state, store.key(b"k"), operand).unwrap();
        store.barrier(Barrier::new(label)).unwrap().wait().unwrap();
        store.close().unwrap();
    }
    let store = Store::open(&engine, directory.path(), StoreOptions::default()).unwrap();
    let refused = store.iterate(2).unwrap().next().unwrap().unwrap_err();
    assert!(matches!(&refused, Error::State { state, .. } if state == "first"), "{refused}");
    store.state(options()).unwrap();
    let items: Vec<Vec<u8>> = store.iterate(2).unwrap().map(|item| item.unwrap().value).collect();
    assert_eq!(items, [b"a"]);
}
