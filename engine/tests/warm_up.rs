//! Warming up: what was hot returns first, what was written meanwhile stays, and a list that is old, damaged or gone harms nothing.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

use alluvium::ids::StateId;
use alluvium::{
    Barrier, Batch, Commit, Durability, Engine, EngineOptions, Error, Key, KeyGroup, KeyGroupRange, MapRange,
    MergeOperator, Operation, RecoveryStage, Scope, State, StateOptions, Store, StoreOptions, Ttl, WarmPart, WarmUp,
    Writer,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn engine(megabytes: usize) -> Engine {
    Engine::open(EngineOptions { memory_budget_bytes: megabytes << 20, ..Default::default() }).unwrap()
}

fn options(warm_up: WarmUp) -> StoreOptions {
    StoreOptions { hot_list_bytes: 1 << 20, warm_up, ..StoreOptions::default() }
}

/// Waits for something that comes in the background.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(120);
    while !is_so() {
        assert!(Instant::now() < patience, "waited for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn until_warm(store: &Store) {
    until("warming up", || store.recovery().stage == RecoveryStage::Complete);
}

fn lists(directory: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "hotlist")).collect()
}

/// Takes a checkpoint and waits for the hot list that is written after it.
fn checkpoint_with_list(store: &Store, label: u64) {
    let before = store.metrics().hot_list_bytes;
    store.barrier(Barrier::new(label)).unwrap().wait().unwrap();
    until("the hot list", || store.metrics().hot_list_bytes > before);
}

fn key(i: u32) -> Vec<u8> {
    format!("key {i}").into_bytes()
}

fn value(i: u32, version: u32) -> Vec<u8> {
    [i.to_le_bytes(), version.to_le_bytes()].concat().repeat(12)
}

/// Reads that went to the disk so far.
fn cold(store: &Store) -> u64 {
    store.metrics().owner.cold_lookups
}

const ALL: u32 = 60_000;
const HOT: u32 = 2_000;

/// A store with more than its memory holds, of which some keys are read again and again.
fn store_with_hot_keys(engine: &Engine, directory: &Path) -> (Store, State, Writer) {
    // About as long as what is hot: it is written again as soon as eight times as much was.
    let options = StoreOptions { hot_list_bytes: 512 << 10, ..options(WarmUp::Nothing) };
    let store = Store::create(engine, directory, options).unwrap();
    let state = store.state(StateOptions::value("v")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    for i in 0..ALL {
        writer.put(state, store.key(&key(i)), &value(i, 0)).unwrap();
        if i % 5_000 == 0 {
            store.barrier(Barrier::new(1)).unwrap().wait().unwrap();
        }
        for hot in [i % HOT, i.wrapping_mul(7) % HOT].into_iter().filter(|hot| *hot < i) {
            assert_eq!(writer.get(state, store.key(&key(hot * 30))).unwrap().is_some(), hot * 30 <= i);
        }
    }
    (store, state, writer)
}

/// A store with so many keys in a checkpoint, closed.
fn checkpointed(directory: &Path, keys: u32) {
    let engine = engine(64);
    let store = Store::create(&engine, directory, StoreOptions::default()).unwrap();
    assert_eq!(store.recovery().stage, RecoveryStage::Complete, "a new one has nothing to be brought");
    let state = store.state(StateOptions::value("v")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    (0..keys).for_each(|i| writer.put(state, store.key(&key(i)), &value(i, 0)).unwrap());
    store.barrier(Barrier::new(1)).unwrap().wait().unwrap();
    drop(writer);
    store.close().unwrap();
}

/// Two writers, one after the other: each range is brought once it is claimed.
#[test]
fn a_store_that_fits_into_memory_is_there_again_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    checkpointed(directory.path(), ALL);
    let engine = engine(64);
    let store = Store::open(&engine, directory.path(), StoreOptions::default()).unwrap();
    assert_eq!(store.recovery().stage, RecoveryStage::WarmingUp);
    let state = store.state(StateOptions::value("v")).unwrap();
    let mut low = store.writer(KeyGroupRange::new(0, 63)).unwrap();
    low.put(state, Key::new(KeyGroup(0), b"new"), b"written meanwhile").unwrap();
    let mut high = store.writer(KeyGroupRange::new(64, 127)).unwrap();
    until_warm(&store);
    assert_eq!(store.recovery().brought_records, u64::from(ALL));
    let before = cold(&store);
    for i in 0..ALL {
        let of = store.key(&key(i)).group.0;
        let writer = if of < 64 { &mut low } else { &mut high };
        assert_eq!(writer.get(state, store.key(&key(i))).unwrap().unwrap(), value(i, 0));
    }
    assert_eq!(cold(&store), before, "all of it is in memory");
}

#[test]
fn a_store_that_does_not_fit_is_left_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    checkpointed(directory.path(), ALL);
    let engine = engine(8);
    let store = Store::open(&engine, directory.path(), StoreOptions::default()).unwrap();
    let state = store.state(StateOptions::value("v")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    until_warm(&store);
    assert_eq!(store.recovery().brought_records, 0);
    assert_eq!(writer.get(state, store.key(&key(1))).unwrap().unwrap(), value(1, 0));
}

/// A value and a map's entry of each of so many keys, which are to go at 1,001 ms, and a writer at 900 that finds none of them in memory.
fn expiring_on_disk(directory: &Path, keys: &[Vec<u8>]) -> (Store, State, State, Writer) {
    let ttl = Ttl { duration_ms: 1_000, refresh_on_read: true };
    let states = |store: &Store| {
        let value = store.state(StateOptions::value("v").ttl(ttl)).unwrap();
        (value, store.state(StateOptions::map("m").ttl(ttl)).unwrap())
    };
    {
        let engine = engine(16);
        let store = Store::create(&engine, directory, StoreOptions::default()).unwrap();
        let (v, m) = states(&store);
        let mut writer = store.writer(store.range()).unwrap();
        writer.set_time_ms(1);
        for key in keys {
            writer.put(v, store.key(key), key).unwrap();
            writer.map_put(m, store.key(key), b"entry", key).unwrap();
        }
        store.barrier(Barrier::new(1)).unwrap().wait().unwrap();
        drop(writer);
        store.close().unwrap();
    }
    let nothing = StoreOptions { warm_up: WarmUp::Nothing, ..StoreOptions::default() };
    let store = Store::open(&engine(16), directory, nothing).unwrap();
    let (v, m) = states(&store);
    let mut writer = store.writer(store.range()).unwrap();
    writer.set_time_ms(900);
    (store, v, m, writer)
}

/// A read that comes from disk finds what was brought while it was on its way. Its time begins anew all the same: values and entries, in
/// batches and in flight.
#[test]
fn what_was_brought_while_it_was_read_is_refreshed() {
    let directory = tempfile::tempdir().unwrap();
    let keys: Vec<Vec<u8>> = (0..100).map(key).collect();
    let (store, v, m, mut writer) = expiring_on_disk(directory.path(), &keys);
    let mut batch = Batch::new();
    for key in keys.iter().map(|key| store.key(key)) {
        batch.push(v, key, Operation::Get);
        batch.push(m, key, Operation::MapGet(b"entry"));
    }
    let mut ticket = writer.submit(&batch).unwrap();
    ticket.wait();
    let warming = store.warm(&batch).unwrap();
    warming.wait();
    assert_eq!(warming.brought(), 200);
    assert_eq!(writer.poll(&mut ticket).unwrap().len(), 200);
    writer.set_time_ms(1_800);
    for key in &keys {
        assert_eq!(writer.get(v, store.key(key)).unwrap().as_ref(), Some(key));
        assert_eq!(writer.map_get(m, store.key(key), b"entry").unwrap().as_ref(), Some(key));
    }
}

/// As above, of many keys that are read by one call: what of them isn't in memory is read together, and brought meanwhile.
#[test]
fn what_was_brought_while_many_keys_were_read_is_refreshed() {
    let directory = tempfile::tempdir().unwrap();
    let keys: Vec<Vec<u8>> = (0..100).map(key).collect();
    let (store, v, _, mut writer) = expiring_on_disk(directory.path(), &keys);
    let at: Vec<Key<'_>> = keys.iter().map(|key| store.key(key)).collect();
    let mut all = Batch::new();
    at.iter().for_each(|&key| all.push(v, key, Operation::Get));
    let (mut brought, mut answered) = (None, 0);
    let answers = writer.get_many(v, &at, |index, value| {
        assert_eq!(value, Some(&keys[index][..]));
        answered += 1;
        brought.get_or_insert_with(|| {
            let warming = store.warm(&all).unwrap();
            warming.wait();
            warming.brought()
        });
    });
    answers.unwrap();
    assert_eq!((brought, answered), (Some(100), 100));
    writer.set_time_ms(1_800);
    for key in &keys {
        assert_eq!(writer.get(v, store.key(key)).unwrap().as_ref(), Some(key));
    }
}

/// Which records count as hot when a list is made depends on when the engine's thread comes to it: on a machine with ten others ready to run mostly too late.
#[test]
fn what_was_hot_is_in_memory_again_before_anybody_asks_for_it() {
    let mut missed = Vec::new();
    while missed.last().is_none_or(|missed| *missed >= u64::from(HOT) / 2) {
        assert!(missed.len() < 32, "so many of {HOT} were read from disk: {missed:?}");
        missed.push(hot_keys_that_were_missed());
    }
}

fn hot_keys_that_were_missed() -> u64 {
    let directory = tempfile::tempdir().unwrap();
    {
        let engine = engine(8);
        let (store, state, mut writer) = store_with_hot_keys(&engine, directory.path());
        until("a list", || store.metrics().hot_list_bytes > 0);
        // The first list is of when all was new; those after it know better, each more than the one before.
        let (mut turn, mut lists_made) = (0, 0);
        while turn < 12 || lists_made < 4 {
            assert!(turn < 400, "{lists_made} lists were made");
            let list_bytes = store.metrics().hot_list_bytes;
            for i in 0..HOT {
                assert_eq!(writer.get(state, store.key(&key(i * 30))).unwrap().unwrap(), value(i * 30, 0));
            }
            // Enough is written for the next list, which has what is hot by now.
            let metrics = store.metrics();
            let written = |metrics: &alluvium::Metrics| metrics.flushed_bytes + metrics.compacted_bytes;
            for i in (0..ALL).filter(|i| i % 30 > 0 && i % 4 == turn % 4) {
                writer.put(state, store.key(&key(i)), &value(i, turn)).unwrap();
                if i % 20 == 1 {
                    let hot = i % HOT * 30;
                    assert_eq!(writer.get(state, store.key(&key(hot))).unwrap().unwrap(), value(hot, 0));
                }
            }
            for i in 0..HOT {
                assert_eq!(writer.get(state, store.key(&key(i * 30))).unwrap().unwrap(), value(i * 30, 0));
            }
            store.barrier(Barrier::new(u64::from(turn) + 2)).unwrap().wait().unwrap();
            assert!(written(&store.metrics()) > written(&metrics));
            lists_made += u32::from(store.metrics().hot_list_bytes > list_bytes);
            turn += 1;
        }
        assert!(store.metrics().hot_list_bytes > 0);
        assert_eq!(lists(directory.path()).len(), 1, "each list takes the place of the one before it");
        drop(writer);
        store.close().unwrap();
    }
    let engine = engine(8);
    let store = Store::open(&engine, directory.path(), options(WarmUp::Hottest)).unwrap();
    let begun = store.recovery();
    assert_eq!((begun.stage, begun.warm_up_bytes, begun.restored), (RecoveryStage::WarmingUp, 0, 0.0));
    let state = store.state(StateOptions::value("v")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    until_warm(&store);
    let warm = store.recovery();
    assert!(warm.brought_records > u64::from(HOT) / 2, "{warm:?}");
    assert!(warm.warmed_up_bytes > 0 && warm.restored > 0.5 && warm.remaining == Some(Duration::ZERO), "{warm:?}");
    let before = cold(&store);
    for i in 0..HOT {
        assert_eq!(writer.get(state, store.key(&key(i * 30))).unwrap().unwrap(), value(i * 30, 0));
    }
    let missed = cold(&store) - before;
    println!("{missed} of {HOT} hot keys were read from disk; {warm:?}");
    assert_eq!(store.metrics().warmed_records, warm.brought_records);
    missed
}

#[test]
fn keys_of_queued_events_are_brought_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let (lists, maps, sums) = (StateOptions::list("l"), StateOptions::map("m"), MergeOperator::I64Add);
    let register = |store: &Store| {
        [StateOptions::value("v"), lists.clone(), maps.clone(), StateOptions::merging("s", sums.clone())]
            .map(|options| store.state(options).unwrap())
    };
    {
        let engine = engine(16);
        let store = Store::create(&engine, directory.path(), StoreOptions::default()).unwrap();
        let [v, l, m, s] = register(&store);
        let mut writer = store.writer(store.range()).unwrap();
        for turn in 0..2_u64 {
            for i in 0..3_000 {
                let key = key(i);
                let key = store.key(&key);
                writer.put(v, key, &value(i, 0)).unwrap();
                writer.append(l, key, &turn.to_le_bytes()).unwrap();
                writer.map_put(m, key, b"entry", &value(i, 1)).unwrap();
                writer.merge(s, key, &1_i64.to_le_bytes()).unwrap();
            }
            store.barrier(Barrier::new(turn)).unwrap().wait().unwrap();
        }
        drop(writer);
        store.close().unwrap();
    }
    let engine = engine(16);
    let nothing = StoreOptions { warm_up: WarmUp::Nothing, ..StoreOptions::default() };
    let store = Store::open(&engine, directory.path(), nothing).unwrap();
    let [v, l, m, s] = register(&store);
    let mut writer = store.writer(store.range()).unwrap();
    let keys: Vec<Vec<u8>> = (0..1_000).map(key).collect();
    let mut batch = Batch::new();
    for key in keys.iter().map(|key| store.key(key)) {
        batch.push(v, key, Operation::Get);
        batch.push(l, key, Operation::List);
        batch.push(m, key, Operation::MapGet(b"entry"));
        batch.push(s, key, Operation::Get);
        batch.push(v, key, Operation::Put(b"passed over"));
    }
    batch.push(v, store.key(b"not there"), Operation::Get);
    // What was written before it comes stays.
    writer.put(v, store.key(&keys[0]), b"newer").unwrap();
    writer.delete(v, store.key(&keys[1])).unwrap();
    let warming = store.warm(&batch).unwrap();
    assert_eq!(warming.keys(), 4_001);
    warming.wait();
    assert!(warming.is_done());
    assert_eq!(warming.brought(), 4_000 - 2);
    let before = cold(&store);
    for (i, key) in (0..).zip(keys.iter().map(|key| store.key(key))) {
        let wanted = match i {
            0 => Some(b"newer".to_vec()),
            1 => None,
            i => Some(value(i, 0)),
        };
        assert_eq!(writer.get(v, key).unwrap(), wanted);
        assert_eq!(writer.list(l, key).unwrap(), [0_u64, 1].map(|turn| turn.to_le_bytes().to_vec()));
        assert_eq!(writer.map_get(m, key, b"entry").unwrap().unwrap(), value(i, 1));
        assert_eq!(writer.get(s, key).unwrap().unwrap(), 2_u64.to_le_bytes());
    }
    assert_eq!(cold(&store) - before, 0, "nothing is read from disk any more");
    let again = store.warm(&batch).unwrap();
    again.wait();
    assert_eq!(again.brought(), 0, "all of it is there");
    drop(writer);
    let clone = store.clone();
    store.close().unwrap();
    assert!(matches!(clone.warm(&batch), Err(Error::Closed)));
}

#[test]
fn what_can_not_be_warmed_up_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(16);
    let store = Store::create(&engine, directory.path(), StoreOptions::default()).unwrap();
    let m = store.state(StateOptions::map("m")).unwrap();
    let mut wrong = Batch::new();
    wrong.push(m, store.key(b"k"), Operation::Get);
    assert!(matches!(store.warm(&wrong), Err(Error::State { .. })));
    wrong.clear();
    wrong.push(State::numbered(StateId(9)), store.key(b"k"), Operation::Get);
    assert!(matches!(store.warm(&wrong), Err(Error::State { .. })));
    wrong.clear();
    wrong.push(m, Key::new(KeyGroup(500), b"k"), Operation::MapGet(b"u"));
    assert!(matches!(store.warm(&wrong), Err(Error::OutsideRange { .. })));
    // Nobody has a writer of these: they are passed over, and who waits goes on.
    wrong.clear();
    wrong.push(m, store.key(b"k"), Operation::MapGet(b"u"));
    let warming = store.warm(&wrong).unwrap();
    warming.wait();
    assert_eq!((warming.keys(), warming.brought()), (1, 0));
}

#[test]
fn a_declared_order_is_kept_and_ends_where_memory_does() {
    let directory = tempfile::tempdir().unwrap();
    let states = ["first", "second", "third"];
    {
        let engine = engine(64);
        let store = Store::create(&engine, directory.path(), StoreOptions::default()).unwrap();
        let states = states.map(|name| store.state(StateOptions::value(name)).unwrap());
        let mut writer = store.writer(store.range()).unwrap();
        for i in 0..30_000 {
            for state in states {
                writer.put(state, store.key(&key(i)), &value(i, 1)).unwrap();
            }
        }
        store.barrier(Barrier::new(1)).unwrap().wait().unwrap();
        drop(writer);
        store.close().unwrap();
    }
    let part = |state: &str, groups| WarmPart { state: Some(state.to_owned()), groups };
    let low = KeyGroupRange::new(0, 9);
    let order = vec![part("no such state", None), part("third", Some(low)), part("second", None)];
    let engine = engine(8);
    let options = StoreOptions { warm_up: WarmUp::Declared(order), ..StoreOptions::default() };
    let store = Store::open(&engine, directory.path(), options).unwrap();
    let states = states.map(|name| store.state(StateOptions::value(name)).unwrap());
    // In two ranges, which are warmed up one after the other.
    let mut writers = [(0, 63), (64, 127)].map(|(a, b)| store.writer(KeyGroupRange::new(a, b)).unwrap());
    until_warm(&store);
    let warm = store.recovery();
    assert!(warm.brought_records > 5_000 && warm.brought_records < 40_000, "{warm:?}");
    let mut in_memory = [0; 3];
    for i in (0..30_000).filter(|i| low.contains(store.key(&key(*i)).group)) {
        for (state, count) in states.iter().zip(&mut in_memory) {
            let before = cold(&store);
            let found = writers[0].get(*state, store.key(&key(i))).unwrap();
            assert_eq!(found.unwrap(), value(i, 1));
            *count += u64::from(cold(&store) == before);
        }
        if i > 5_000 {
            break;
        }
    }
    let [first, second, third] = in_memory;
    println!("in memory of those asked for: {first} {second} {third}");
    assert!(first == 0 && third > 100, "{in_memory:?}");
    assert!(writers[1].get(states[0], store.key(&key(1))).map(|found| found.is_some()).unwrap_or(true));
}

#[test]
fn a_deleted_key_that_the_list_has_stays_deleted_after_its_tombstone_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(16);
    let store = Store::create(&engine, directory.path(), options(WarmUp::Nothing)).unwrap();
    let state = store.state(StateOptions::value("v")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    (0..2_000).for_each(|i| writer.put(state, store.key(&key(i)), &value(i, 0)).unwrap());
    store.barrier(Barrier::new(1)).unwrap().wait().unwrap();
    until("the first list", || store.metrics().hot_list_bytes > 0);
    // Half of them deleted, and merged with their tombstones: nothing on disk says of them that they were ever there.
    (0..1_000).for_each(|i| writer.delete(state, store.key(&key(i))).unwrap());
    store.barrier(Barrier::new(2)).unwrap().wait().unwrap();
    let list = lists(directory.path()).remove(0);
    let bytes = std::fs::read(&list).unwrap();
    store.compact().unwrap();
    store.barrier(Barrier::new(3)).unwrap().wait().unwrap();
    drop(writer);
    store.close().unwrap();
    lists(directory.path()).iter().for_each(|list| std::fs::remove_file(list).unwrap());
    std::fs::write(&list, bytes).unwrap();
    let store = Store::open(&engine, directory.path(), options(WarmUp::Hottest)).unwrap();
    let state = store.state(StateOptions::value("v")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    until_warm(&store);
    for i in 0..2_000 {
        let wanted = (i >= 1_000).then(|| value(i, 0));
        assert_eq!(writer.get(state, store.key(&key(i))).unwrap(), wanted, "{i}");
    }
    assert!(store.recovery().brought_records > 0);
}

#[test]
fn a_damaged_list_is_left_out() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(16);
    let store = Store::create(&engine, directory.path(), options(WarmUp::Nothing)).unwrap();
    let state = store.state(StateOptions::value("v")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    (0..4_000).for_each(|i| writer.put(state, store.key(&key(i)), &value(i, 0)).unwrap());
    checkpoint_with_list(&store, 1);
    drop(writer);
    store.close().unwrap();
    let list = lists(directory.path()).remove(0);
    let whole = std::fs::read(&list).unwrap();
    let mut places: Vec<usize> = (0..whole.len()).step_by(whole.len() / 7).collect();
    places.extend([whole.len() - 1, whole.len() - 100]);
    for at in places {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        std::fs::write(&list, bytes).unwrap();
        let notes = alluvium::inspect::verify(directory.path()).unwrap();
        assert!(notes.iter().any(|note| note.problem.contains("hot list")), "{at}: {notes:?}");
        let store = Store::open(&engine, directory.path(), options(WarmUp::Hottest)).unwrap();
        let state = store.state(StateOptions::value("v")).unwrap();
        let mut writer = store.writer(store.range()).unwrap();
        until_warm(&store);
        for i in 0..4_000 {
            assert_eq!(writer.get(state, store.key(&key(i))).unwrap().unwrap(), value(i, 0), "bit at {at}");
        }
        drop(writer);
        store.close().unwrap();
    }
    // A store that keeps none removes what is there, with its next checkpoint.
    let store =
        Store::open(&engine, directory.path(), StoreOptions { warm_up: WarmUp::Nothing, ..StoreOptions::default() })
            .unwrap();
    assert_eq!(lists(directory.path()).len(), 1);
    store.barrier(Barrier::new(2)).unwrap().wait().unwrap();
    until("the list's removal", || lists(directory.path()).is_empty());
}

#[test]
fn progress_is_told_of_what_is_replayed() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(16);
    let logged = || StoreOptions { durability: Durability::Changelog, ..StoreOptions::default() };
    let store = Store::create(&engine, directory.path(), logged()).unwrap();
    let state = store.state(StateOptions::value("v")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    (0..4_000).for_each(|i| writer.put(state, store.key(&key(i)), &value(i, 0)).unwrap());
    writer.commit(Commit::default()).unwrap().wait().unwrap();
    drop(writer);
    store.close().unwrap();
    let store = Store::open(&engine, directory.path(), logged()).unwrap();
    let begun = store.recovery();
    assert_eq!((begun.stage, begun.replayed_bytes, begun.restored), (RecoveryStage::Replaying, 0, 0.0));
    assert!(begun.replay_bytes > 4_000 * 96 && begun.remaining.is_none(), "{begun:?}");
    let state = store.state(StateOptions::value("v")).unwrap();
    let half = store.writer(KeyGroupRange::new(0, 63)).unwrap();
    let halfway = store.recovery();
    assert_eq!(halfway.stage, RecoveryStage::Replaying);
    assert!((halfway.restored - 0.5).abs() < 0.01 && halfway.remaining.is_some(), "{halfway:?}");
    let mut other = store.writer(KeyGroupRange::new(64, 127)).unwrap();
    let done = store.recovery();
    assert_eq!((done.stage, done.replayed_bytes, done.restored), (RecoveryStage::Complete, done.replay_bytes, 1.0));
    assert_eq!(store.metrics().restored_permille, 1_000);
    let i = (0..).find(|i| store.key(&key(*i)).group.0 > 63).unwrap();
    assert_eq!(other.get(state, store.key(&key(i))).unwrap().unwrap(), value(i, 0));
    drop(half);
}

#[path = "warm_up/random.rs"]
mod random;

/// Behind the front of a queue, puts don't look for records: one that warming up brought from the disk hid what was put, before it or after.
#[test]
fn what_was_put_behind_the_front_of_a_queue_is_newer_than_what_is_brought() {
    for is_put_first in [true, false] {
        let (directory, engine) = (tempfile::tempdir().unwrap(), engine(64));
        let store = Store::create(&engine, directory.path(), StoreOptions::default()).unwrap();
        let queue = store.state(StateOptions::map("queue")).unwrap();
        let mut writer = store.writer(store.range()).unwrap();
        let name = Key::new(KeyGroup(3), b"queue");
        let mut model = BTreeMap::new();
        for n in 0..2_000_u32 {
            writer.map_put(queue, name, &n.to_be_bytes(), b"old").unwrap();
            model.insert(n.to_be_bytes().to_vec(), b"old".to_vec());
        }
        store.barrier(Barrier::new(1)).unwrap().wait().unwrap();
        drop(writer);
        store.close().unwrap();

        let store = Store::open(&engine, directory.path(), StoreOptions::default()).unwrap();
        let queue = store.state(StateOptions::map("queue")).unwrap();
        let mut writer = store.writer(store.range()).unwrap();
        assert_eq!(writer.map_first(queue, name).unwrap(), Some((0_u32.to_be_bytes().to_vec(), b"old".to_vec())));
        let last = 1_500_u32.to_be_bytes();
        let put = |writer: &mut Writer| writer.map_put(queue, name, &last, b"new").unwrap();
        if is_put_first {
            put(&mut writer);
        }
        let mut batch = Batch::new();
        batch.push(queue, name, Operation::MapGet(&last));
        let warming = store.warm(&batch).unwrap();
        warming.wait();
        assert_eq!(warming.brought(), 0);
        if !is_put_first {
            put(&mut writer);
        }
        model.insert(last.to_vec(), b"new".to_vec());
        assert_eq!(writer.map_get(queue, name, &last).unwrap().as_deref(), Some(&b"new"[..]), "{is_put_first}");
        store.barrier(Barrier::new(2)).unwrap().wait().unwrap();
        drop(writer);
        store.close().unwrap();

        let store = Store::open(&engine, directory.path(), StoreOptions::default()).unwrap();
        let queue = store.state(StateOptions::map("queue")).unwrap();
        let mut writer = store.writer(store.range()).unwrap();
        let mut found = BTreeMap::new();
        while let Some((user_key, value)) = writer.map_pop_first(queue, name).unwrap() {
            found.insert(user_key, value);
        }
        assert!(found == model, "put first: {is_put_first}");
    }
}
