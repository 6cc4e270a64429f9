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

/// What the last commit left of a list is linked to nothing where the rest of it was read from the disk after something was appended.
#[test]
fn an_abort_leaves_nothing_of_a_list_that_was_read_in_the_transaction() {
    [false, true].into_iter().for_each(an_abort_leaves_nothing);
}

fn an_abort_leaves_nothing(replaces: bool) {
    let (engine, directory) = (engine(), tempfile::tempdir().unwrap());
    let store = create(&engine, directory.path(), true);
    let lists = store.state(StateOptions::list("lists")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    let shard = store.inner.shards.lock()[0].clone();
    let mut used = Vec::new();
    for round in 0..12_u8 {
        writer.append(lists, KEY, &[round; 8_000]).unwrap();
        drop(writer.commit(Commit::default()).unwrap());
        checkpoint(&store, round.into());
        writer.append(lists, KEY, b"staged").unwrap();
        assert_eq!(writer.list(lists, KEY).unwrap().len(), usize::from(round) + 2);
        if replaces {
            // What was read is no second version that is kept.
            writer.put_list(lists, KEY, &[b"staged"]).unwrap();
        }
        writer.abort_transaction().unwrap();
        let elements: Vec<Vec<u8>> = (0..=round).map(|round| vec![round; 8_000]).collect();
        assert_eq!(writer.list(lists, KEY).unwrap(), elements);
        let core = &mut shard.cell.borrow();
        while core.hot.has_chores() {
            core.hot.work();
        }
        core.hot.evict(usize::MAX);
        core.hot.memory.collect();
        used.push(core.hot.memory.used_bytes());
    }
    assert!(used[11] < used[1] + 8_000, "{used:?}");
}

const fn key(bytes: &[u8]) -> Key<'_> {
    Key::new(KeyGroup(0), bytes)
}

/// Records hold lengths in 24 bits: a key that is longer looks like a short one to who compares words alone.
#[test]
fn a_key_that_is_too_long_is_refused_whatever_is_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::open(EngineOptions { memory_budget_bytes: 8 << 20, ..Default::default() }).unwrap();
    let store = create(&engine, directory.path(), false);
    let state = store.state(StateOptions::value("v")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    for n in 0..20_000_u128 {
        // What was updated once is quick.
        writer.put(state, key(&n.to_le_bytes()), &[0; 8]).unwrap();
        writer.put(state, key(&n.to_le_bytes()), &[1; 8]).unwrap();
    }
    let mut long = vec![0; (1 << 24) + 16];
    for n in 0..300_u32 {
        long[..4].copy_from_slice(&n.to_le_bytes());
        let refused = [
            writer.put(state, key(&long), &[2; 8]),
            writer.update(state, key(&long), |_| Some([2; 8])),
            writer.update_many(state, &[key(&long)], |_, _| Some([2; 8])),
        ];
        for refused in refused {
            assert!(matches!(refused, Err(Error::TooLong { .. })), "{refused:?}");
        }
    }
}
