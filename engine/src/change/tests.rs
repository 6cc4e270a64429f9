//! Values that become longer than a value may be, with a limit that is small.

use super::*;
use crate::ids::KeyGroup;
use crate::options::{EngineOptions, StoreOptions};
use crate::states::{Merge, StateOptions, Ttl};
use crate::store::Store;
use crate::write;
use crate::{Barrier, Commit, Engine};
use std::path::Path;
use std::sync::Arc;

const LIMIT: usize = 100;
const KEY: Key<'static> = Key::new(KeyGroup(0), b"k");
/// Two of them are too long for one value.
const SOME: [u8; 60] = [7; 60];

/// One after the other.
struct Joined;

impl Merge for Joined {
    fn name(&self) -> &'static str {
        "joined"
    }

    fn merge(&self, older: &[u8], newer: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(older);
        out.extend_from_slice(newer);
    }
}

fn joined(name: &str) -> StateOptions {
    StateOptions::merging(name, MergeOperator::User(Arc::new(Joined)))
}

fn engine() -> Engine {
    Engine::open(EngineOptions { memory_budget_bytes: 4 << 20, ..Default::default() }).unwrap()
}

fn create(engine: &Engine, path: &Path, transactional: bool) -> Store {
    Store::create(engine, path, StoreOptions { transactional, ..Default::default() }).unwrap()
}

fn limit(store: &Store) {
    store.inner.shards.lock().iter().for_each(|shard| shard.cell.borrow().hot.value_bytes_max = LIMIT);
}

fn checkpoint(store: &Store, label: u64) {
    store.barrier(Barrier::new(label)).unwrap().wait().unwrap();
}

fn is_too_long<T: std::fmt::Debug>(outcome: Result<T>) {
    let is_it = matches!(&outcome, Err(Error::TooLong { what: "value", max_bytes: LIMIT, bytes }) if *bytes > LIMIT);
    assert!(is_it, "{outcome:?}");
}

#[test]
fn an_element_that_makes_a_list_too_long_is_refused() {
    let (engine, directory) = (engine(), tempfile::tempdir().unwrap());
    let store = create(&engine, directory.path(), false);
    let state = store.state(StateOptions::list("list")).unwrap();
    let (mut writer, reader) = (store.writer(store.range()).unwrap(), store.reader());
    limit(&store);
    // With its frame.
    is_too_long(writer.append(state, KEY, &[0; LIMIT]));
    assert_eq!(writer.list(state, KEY).unwrap(), Vec::<Vec<u8>>::new());
    writer.append(state, KEY, &SOME).unwrap();
    is_too_long(writer.append(state, KEY, &SOME));
    writer.append(state, KEY, b"short").unwrap();
    assert_eq!(writer.list(state, KEY).unwrap(), [&SOME[..], b"short"]);
    checkpoint(&store, 1);

    // What is on disk isn't read for it, so only reading it tells.
    writer.append(state, KEY, &SOME).unwrap();
    is_too_long(writer.list(state, KEY));
    checkpoint(&store, 2);
    is_too_long(writer.list(state, KEY));
    assert_eq!(reader.list(state, KEY).unwrap(), [&SOME[..], b"short", &SOME], "which has no such limit here");
    writer.delete(state, KEY).unwrap();
    writer.append(state, KEY, &SOME).unwrap();
    assert_eq!(writer.list(state, KEY).unwrap(), [SOME]);
    checkpoint(&store, 3);
    store.compact().unwrap();
}

#[test]
fn what_an_operator_makes_too_long_is_refused() {
    let (engine, directory) = (engine(), tempfile::tempdir().unwrap());
    let expires = || joined("expires").ttl(Ttl { duration_ms: 1_000, refresh_on_read: false });
    let store = create(&engine, directory.path(), false);
    let states = [joined("stays"), expires()].map(|options| store.state(options).unwrap());
    let mut writer = store.writer(store.range()).unwrap();
    limit(&store);
    for state in states {
        writer.merge(state, KEY, &SOME).unwrap();
        is_too_long(writer.merge(state, KEY, &SOME));
        assert_eq!(writer.get(state, KEY).unwrap().unwrap(), SOME);
        writer.merge(state, KEY, &[7; 40]).unwrap();
        assert_eq!(writer.get(state, KEY).unwrap().unwrap(), [7; LIMIT]);
    }
    checkpoint(&store, 1);
    drop(writer);
    store.close().unwrap();

    // Operands above what is on disk, which isn't read.
    let store = Store::open(&engine, directory.path(), StoreOptions::default()).unwrap();
    let [stays, expires] = [joined("stays"), expires()].map(|options| store.state(options).unwrap());
    let mut writer = store.writer(store.range()).unwrap();
    limit(&store);
    writer.merge(stays, KEY, &SOME).unwrap();
    is_too_long(writer.merge(stays, KEY, &SOME));
    is_too_long(writer.merge(expires, KEY, b"more"));
    checkpoint(&store, 2);
    is_too_long(writer.get(stays, KEY));
    assert_eq!(store.reader().get(stays, KEY).unwrap().unwrap(), [7; LIMIT + SOME.len()]);
}

#[test]
fn namespaces_that_are_too_long_together_stay_apart() {
    let (engine, directory) = (engine(), tempfile::tempdir().unwrap());
    let store = create(&engine, directory.path(), false);
    let (list, value) = (store.state(StateOptions::list("list")).unwrap(), store.state(joined("value")).unwrap());
    let mut writer = store.writer(store.range()).unwrap();
    limit(&store);
    let at = |namespace: &'static [u8]| KEY.in_namespace(namespace);
    for namespace in [&b"a"[..], b"b"] {
        writer.append(list, at(namespace), &SOME).unwrap();
        writer.merge(value, at(namespace), &SOME).unwrap();
    }
    for state in [list, value] {
        // Together, and with what the target has.
        is_too_long(writer.merge_namespaces(state, at(b"c"), &[b"a", b"b"]));
        is_too_long(writer.merge_namespaces(state, at(b"a"), &[b"b"]));
    }
    for namespace in [&b"a"[..], b"b"] {
        assert_eq!(writer.list(list, at(namespace)).unwrap(), [SOME]);
        assert_eq!(writer.get(value, at(namespace)).unwrap().unwrap(), SOME);
    }
    assert_eq!(writer.get(value, at(b"c")).unwrap(), None);
}

/// Several commits' parts are flushed as one record.
#[test]
fn what_is_committed_bit_by_bit_counts_as_one() {
    let (engine, directory) = (engine(), tempfile::tempdir().unwrap());
    let store = create(&engine, directory.path(), true);
    let state = store.state(StateOptions::list("list")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    limit(&store);
    writer.append(state, KEY, &SOME).unwrap();
    writer.commit(Commit::default()).unwrap();
    is_too_long(writer.append(state, KEY, &SOME));
    writer.append(state, KEY, b"short").unwrap();
    writer.commit(Commit::default()).unwrap();
    is_too_long(writer.append(state, KEY, &SOME));
    checkpoint(&store, 1);
    writer.append(state, KEY, &SOME).unwrap();
    writer.commit(Commit::default()).unwrap();
    checkpoint(&store, 2);
    assert_eq!(store.reader().list(state, KEY).unwrap(), [&SOME[..], b"short", &SOME]);
}

/// What was added in several epochs comes all at once when it is done again: that must not fail.
#[test]
fn what_was_let_in_is_done_again() {
    for transactional in [false, true] {
        let (engine, directory) = (engine(), tempfile::tempdir().unwrap());
        let store = create(&engine, directory.path(), transactional);
        let (list, value) = (store.state(StateOptions::list("list")).unwrap(), store.state(joined("value")).unwrap());
        let _writer = store.writer(store.range()).unwrap();
        limit(&store);
        let shard = Arc::clone(&store.inner.shards.lock()[0]);
        let frames = [frame(&SOME, None).as_bytes(), &SOME].concat();
        for (state, change) in [(list, Change::Append(&frames)), (value, Change::Merge(&SOME))] {
            let def = Arc::clone(&store.inner.states.read()[usize::from(state.0.0)]);
            for _ in 0..3 {
                let again = |core: &mut Core| {
                    let probe = core.hot.probe(state.0.0, 0, KEY.key, false);
                    redo(core, &def, KEY, &probe, change, None)
                };
                assert!(write::run_beside(&store.inner, &shard, again).unwrap());
            }
        }
        let reader = store.reader();
        assert_eq!(reader.list(list, KEY).unwrap(), [SOME; 3]);
        assert_eq!(reader.get(value, KEY).unwrap().unwrap(), [7; 3 * SOME.len()]);
    }
}
