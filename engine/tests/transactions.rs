//! Transactional stores beside a model of two views: what the owner staged, and what was committed.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

#[path = "model/rng.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod rng;
#[path = "support/turns.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod turns;
#[path = "transactions/world.rs"]
mod world;

use alluvium::{
    Barrier, Class, Commit, Convert, Cursor, Durability, Engine, EngineOptions, Error, Key, KeyGroup, KeyGroupRange,
    MapRange, MergeOperator, Packed, State, StateOptions, Store, StoreOptions, Ttl, Writer,
};
use rng::Rng;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use turns::in_turns;
use world::{World, options, transactional};

fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("ALLUVIUM_TEST_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (1..=count).collect(),
    }
}

fn run(seed: u64, steps: usize, pressure: bool) {
    println!("ALLUVIUM_TEST_SEED={seed}");
    in_turns(seed, || {
        let mut world = World::new(seed, if pressure { 4 << 20 } else { 64 << 20 });
        for _ in 0..steps {
            world.step(pressure);
        }
        world.check_all();
        world.reopen();
        world.check_all();
    });
}

#[test]
fn two_views_beside_a_model() {
    for seed in seeds(20) {
        run(seed, 4_000, false);
    }
}

#[test]
fn two_views_beside_a_model_when_memory_is_short() {
    for seed in seeds(12) {
        run(seed, 1_500, true);
    }
}

/// A store of one value state, and its writer.
fn small(path: &Path, budget_bytes: usize, options: StoreOptions) -> (Engine, Store, State, Writer) {
    let engine = Engine::open(EngineOptions { memory_budget_bytes: budget_bytes, ..Default::default() }).unwrap();
    let store = Store::create(&engine, path, options).unwrap();
    let state = store.state(StateOptions::value("v")).unwrap();
    let writer = store.writer(store.range()).unwrap();
    (engine, store, state, writer)
}

#[test]
fn what_is_staged_is_in_no_checkpoint() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, store, state, mut writer) = small(directory.path(), 8 << 20, transactional());
    let key = store.key(b"k");
    writer.put(state, key, b"committed").unwrap();
    writer.commit(Commit { metadata: b"1".to_vec(), ..Default::default() }).unwrap();
    writer.put(state, key, b"staged").unwrap();
    writer.put(state, store.key(b"new"), b"staged").unwrap();
    let info = store.barrier(Barrier::new(1)).unwrap().wait().unwrap();
    assert_eq!(info.metadata, b"1");
    assert_eq!(writer.get(state, key).unwrap().unwrap(), b"staged");
    let refused = writer.barrier(Barrier { metadata: b"2".to_vec(), ..Barrier::new(2) });
    assert!(matches!(refused, Err(Error::Checkpoint { .. })), "{refused:?}");
    drop(writer);
    store.close().unwrap();
    let store = Store::open(&engine, directory.path(), transactional()).unwrap();
    let state = store.state(StateOptions::value("v")).unwrap();
    assert_eq!(store.reader().get(state, store.key(b"k")).unwrap().unwrap(), b"committed");
    assert_eq!(store.reader().get(state, store.key(b"new")).unwrap(), None);
    assert_eq!(store.last_commit().metadata, b"1");
}

#[test]
fn more_than_memory_is_staged_and_undone() {
    let directory = tempfile::tempdir().unwrap();
    let (_engine, store, state, mut writer) = small(directory.path(), 4 << 20, transactional());
    let keys: Vec<[u8; 4]> = (0..20_000_u32).map(u32::to_be_bytes).collect();
    for key in &keys {
        writer.put(state, store.key(key), &[1; 500]).unwrap();
    }
    writer.commit(Commit::default()).unwrap();
    let committed = store.reader().committed();
    for (value, commits) in [(2_u8, false), (3, true)] {
        for key in &keys {
            writer.put(state, store.key(key), &[value; 500]).unwrap();
        }
        assert!(store.staged_bytes() > 20_000 * 500, "{}", store.staged_bytes());
        assert!(store.metrics().spills > 3);
        for key in keys.iter().step_by(97) {
            assert_eq!(committed.get(state, store.key(key)).unwrap().unwrap(), [1; 500]);
            assert_eq!(writer.get(state, store.key(key)).unwrap().unwrap(), [value; 500]);
        }
        // None of it is in a checkpoint that is cut meanwhile.
        store.barrier(Barrier::new(value.into())).unwrap().wait().unwrap();
        let old = store.iterate(value.into()).unwrap().map(|item| item.unwrap().value);
        assert!(old.into_iter().all(|found| found == [1; 500]));
        if commits {
            drop(writer.commit(Commit::default()).unwrap());
        } else {
            writer.abort_transaction().unwrap();
        }
        let expected = if commits { value } else { 1 };
        assert_eq!(store.staged_bytes(), 0);
        for key in &keys {
            assert_eq!(writer.get(state, store.key(key)).unwrap().unwrap(), [expected; 500]);
        }
    }
    store.barrier(Barrier::new(4)).unwrap().wait().unwrap();
    assert_eq!(store.iterate(4).unwrap().filter(|item| item.as_ref().unwrap().value == [3; 500]).count(), keys.len());
}

#[test]
fn what_may_be_staged_is_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let options = StoreOptions { staged_bytes_max: 100_000, ..transactional() };
    let (_engine, store, state, mut writer) = small(directory.path(), 8 << 20, options);
    let put = |writer: &mut Writer| {
        (0..1_000_u32).find_map(|n| writer.put(state, store.key(&n.to_be_bytes()), &[1; 1_000]).err())
    };
    let refused = put(&mut writer).unwrap();
    assert!(matches!(refused, Error::Staged { bytes: 100_000..102_000, max_bytes: 100_000 }), "{refused:?}");
    assert_eq!(refused.class(), Class::Retry);
    assert!(writer.get(state, store.key(&0_u32.to_be_bytes())).unwrap().is_some());
    writer.commit(Commit::default()).unwrap();
    assert!(put(&mut writer).is_some());
    writer.abort_transaction().unwrap();
    assert!(writer.put(state, store.key(b"k"), b"v").is_ok());
}

#[test]
fn a_range_with_an_open_transaction_is_not_cut_anew() {
    let directory = tempfile::tempdir().unwrap();
    let (_engine, store, state, mut writer) = small(directory.path(), 8 << 20, options());
    writer.put(state, Key::new(KeyGroup(0), b"k"), b"staged").unwrap();
    drop(writer);
    let half = KeyGroupRange::new(0, 1);
    assert!(matches!(store.writer(half), Err(Error::Busy { .. })));
    // The same range goes on with it.
    let mut writer = store.writer(store.range()).unwrap();
    assert_eq!(writer.get(state, Key::new(KeyGroup(0), b"k")).unwrap().unwrap(), b"staged");
    drop(writer);
    store.commit(Commit::default()).unwrap();
    let mut writer = store.writer(half).unwrap();
    assert_eq!(writer.get(state, Key::new(KeyGroup(0), b"k")).unwrap().unwrap(), b"staged");
}

#[test]
fn one_commit_for_all_writers() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::open(EngineOptions { memory_budget_bytes: 8 << 20, ..Default::default() }).unwrap();
    let store = Store::create(&engine, directory.path(), options()).unwrap();
    let state = store.state(StateOptions::value("v")).unwrap();
    let mut writers = [(0, 1), (2, 3)].map(|(first, last)| store.writer(KeyGroupRange::new(first, last)).unwrap());
    let keys = [Key::new(KeyGroup(0), b"a"), Key::new(KeyGroup(3), b"b")];
    let committed = store.reader().committed();
    for round in 0..4_u8 {
        for (writer, key) in writers.iter_mut().zip(keys) {
            writer.put(state, key, &[round]).unwrap();
        }
        if round % 2 == 0 {
            drop(writers[0].commit(Commit::default()).unwrap())
        } else {
            writers[1].abort_transaction().unwrap()
        }
        for (writer, key) in writers.iter_mut().zip(keys) {
            let expected = Some(vec![round - round % 2]);
            assert_eq!(writer.get(state, key).unwrap(), expected);
            assert_eq!(committed.get(state, key).unwrap(), expected);
        }
    }
}

#[test]
fn a_store_that_is_not_transactional_commits_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (_engine, store, state, mut writer) = small(directory.path(), 8 << 20, StoreOptions::default());
    assert!(matches!(writer.commit(Commit::default()), Err(Error::Options { .. })));
    assert!(matches!(store.abort_transaction(), Err(Error::Options { .. })));
    writer.put(state, store.key(b"k"), b"v").unwrap();
    assert_eq!(store.reader().committed().get(state, store.key(b"k")).unwrap().unwrap(), b"v");
}

/// What was staged when a checkpoint was cut, and committed before it was published, was merged with what it has, and so
/// came into it, under the offsets of the commit before.
#[test]
fn what_is_committed_behind_a_barrier_is_not_merged_into_its_checkpoint() {
    for round in 0..6 {
        let directory = tempfile::tempdir().unwrap();
        let (_engine, store, state, mut writer) = small(directory.path(), 4 << 20, transactional());
        let keys: Vec<[u8; 4]> = (0..14_000_u32).map(u32::to_be_bytes).collect();
        let put = |writer: &mut Writer, value: u8| {
            keys.iter().for_each(|key| writer.put(state, store.key(key), &[value; 900]).unwrap());
        };
        put(&mut writer, 1);
        writer.commit(Commit::default()).unwrap();
        put(&mut writer, 2);
        // Its last spills are still under way; the checkpoint comes behind them.
        let pending = writer.barrier(Barrier::new(1)).unwrap();
        writer.commit(Commit::default()).unwrap();
        if round % 2 == 0 {
            store.compact().unwrap();
        }
        pending.wait().unwrap();
        let old = store.iterate(1).unwrap().filter(|item| item.as_ref().unwrap().value == [1; 900]).count();
        assert_eq!(old, keys.len(), "round {round}");
        store.barrier(Barrier::new(2)).unwrap().wait().unwrap();
        assert!(store.iterate(2).unwrap().all(|item| item.unwrap().value == [2; 900]));
    }
}

/// Readers on other threads, while batches of changes are staged, committed or undone: only committed values are seen, each
/// key's in the order of the commits.
#[test]
fn committed_readers_on_other_threads() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::open(EngineOptions { memory_budget_bytes: 4 << 20, ..Default::default() }).unwrap();
    let store = Store::create(&engine, directory.path(), options()).unwrap();
    let values = store.state(StateOptions::value("values")).unwrap();
    let lists = store.state(StateOptions::list("lists")).unwrap();
    let maps = store.state(StateOptions::map("maps")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    let keys: Vec<[u8; 2]> = (0..300_u16).map(u16::to_be_bytes).collect();
    let value = |round: u64| [round.to_le_bytes().to_vec(), vec![0; 500]].concat();
    let round_of = |value: &[u8]| u64::from_le_bytes(value[..8].try_into().unwrap());
    let stage = |writer: &mut Writer, round: u64| {
        for key in &keys {
            let key = store.key(key);
            writer.put(values, key, &value(round)).unwrap();
            writer.delete(lists, key).unwrap();
            writer.append(lists, key, &round.to_le_bytes()).unwrap();
            writer.append(lists, key, &value(round)).unwrap();
            writer.map_clear(maps, key).unwrap();
            writer.map_put(maps, key, b"u", &value(round)).unwrap();
        }
    };
    stage(&mut writer, 0);
    writer.commit(Commit::default()).unwrap();
    let (ended, reads) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for number in 0..2 {
            let (reader, keys, ended, reads, store) = (store.reader().committed(), &keys, &ended, &reads, &store);
            scope.spawn(move || {
                let (mut rng, mut seen) = (Rng::new(number), vec![0; keys.len()]);
                while !ended.load(Ordering::Relaxed) {
                    let at = rng.below(keys.len());
                    let key = store.key(&keys[at]);
                    let round = match rng.below(3) {
                        0 => round_of(&reader.get(values, key).unwrap().unwrap()),
                        1 => round_of(&reader.map_get(maps, key, b"u").unwrap().unwrap()),
                        _ => {
                            let list = reader.list(lists, key).unwrap();
                            assert_eq!((list.len(), round_of(&list[0])), (2, round_of(&list[1])), "{at}");
                            round_of(&list[0])
                        }
                    };
                    assert!(round % 2 == 0 && round >= seen[at], "round {round} of {at} after {}", seen[at]);
                    seen[at] = round;
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // Until they have seen enough, however slow they are.
        for round in (1..).take_while(|round| *round < 120 || reads.load(Ordering::Relaxed) < 20_000) {
            stage(&mut writer, round);
            if round % 2 == 0 {
                writer.commit(Commit::default()).unwrap();
            } else {
                writer.abort_transaction().unwrap();
            }
            if round % 16 == 0 {
                drop(store.barrier(Barrier::new(round)).unwrap());
            }
        }
        ended.store(true, Ordering::Relaxed);
    });
}

/// A migration empties the state's tables: what is staged has no place to go.
#[test]
fn a_state_is_not_migrated_in_the_middle_of_a_transaction() {
    #[derive(Debug)]
    struct Longer;
    impl Convert for Longer {
        fn name(&self) -> &str {
            "longer"
        }
        fn convert(&self, old: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
            out.extend_from_slice(old);
            out.push(b'!');
            Ok(())
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let (_engine, store, state, mut writer) = small(directory.path(), 8 << 20, transactional());
    let key = store.key(b"k");
    writer.put(state, key, b"old").unwrap();
    writer.commit(Commit::default()).unwrap();
    writer.put(state, key, b"staged").unwrap();
    assert!(matches!(store.migrate(state, b"2", Arc::new(Longer)), Err(Error::Busy { .. })));
    writer.abort_transaction().unwrap();
    store.migrate(state, b"2", Arc::new(Longer)).unwrap();
    let committed = store.reader().committed();
    assert_eq!(committed.get(state, key).unwrap().unwrap(), b"old!");
    writer.put(state, key, b"new").unwrap();
    assert_eq!(committed.get(state, key).unwrap().unwrap(), b"old!");
    writer.commit(Commit::default()).unwrap();
    assert_eq!(committed.get(state, key).unwrap().unwrap(), b"new");
}

/// An operation that waited for memory while another thread undid the transaction went on with what it had read before.
#[test]
fn what_was_undone_is_not_written_by_who_had_read_it() {
    let directory = tempfile::tempdir().unwrap();
    let (_engine, store, state, mut writer) = small(directory.path(), 4 << 20, transactional());
    let filler = store.state(StateOptions::value("filler")).unwrap();
    let key = store.key(b"k");
    writer.put(state, key, b"committed").unwrap();
    writer.commit(Commit::default()).unwrap();
    for round in 0..12_u32 {
        writer.put(state, key, b"staged").unwrap();
        for number in 0..3_000_u32 {
            writer.put(filler, store.key(&number.to_be_bytes()), &[round as u8; 1_000]).unwrap();
        }
        let go = AtomicBool::new(false);
        let outcome = std::thread::scope(|scope| {
            let aborting = scope.spawn(|| {
                while !go.load(Ordering::SeqCst) {
                    std::hint::spin_loop();
                }
                store.abort_transaction().unwrap();
            });
            let change = |old: Option<&[u8]>| {
                go.store(true, Ordering::SeqCst);
                std::thread::sleep(std::time::Duration::from_millis(10));
                Some([old.unwrap_or_default(), &vec![b'+'; 1 << 20][..]].concat())
            };
            let outcome = if round % 2 == 0 {
                writer.update(state, key, change)
            } else {
                writer.update_many(state, &[key], |_, old| change(old))
            };
            aborting.join().unwrap();
            outcome
        });
        match outcome {
            Ok(()) => {}
            Err(error) => assert!(matches!(error, Error::Busy { .. }), "{error}"),
        }
        let now = writer.get(state, key).unwrap().unwrap();
        assert!(now.starts_with(b"committed"), "round {round}: {:?}", &now[..9]);
        writer.abort_transaction().unwrap();
        assert_eq!(writer.get(state, key).unwrap().unwrap(), b"committed");
    }
}

#[test]
fn a_value_that_grows_and_shrinks_is_staged_once() {
    let directory = tempfile::tempdir().unwrap();
    let options = StoreOptions { staged_bytes_max: 1 << 20, ..transactional() };
    let (_engine, store, state, mut writer) = small(directory.path(), 8 << 20, options);
    for number in 0..20_000 {
        let len = if number % 2 == 0 { 300 } else { 8 };
        writer.put(state, store.key(b"k"), &vec![1; len]).unwrap();
    }
    assert!(store.staged_bytes() < 1_000, "{}", store.staged_bytes());
}

/// What commits leave behind is freed as fast as it comes: also of many small tables, and beside flushes.
#[test]
fn many_commits_take_no_more_memory() {
    for barriers in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let many_groups = StoreOptions { key_groups: 4_096, range: KeyGroupRange::new(0, 4_095), ..transactional() };
        let (_engine, store, state, mut writer) = small(directory.path(), 512 << 20, many_groups);
        let keys: Vec<[u8; 8]> = (0..4_096_u64).map(u64::to_be_bytes).collect();
        let key = |group: usize| Key::new(KeyGroup(group as u16), &keys[group]);
        let all: Vec<Key<'_>> = (0..keys.len()).map(key).collect();
        for round in 1..=150_u64 {
            if barriers {
                all.iter().for_each(|&key| writer.put(state, key, &round.to_le_bytes()).unwrap());
            } else {
                writer.update_many(state, &all, |_, _| Some(round.to_le_bytes())).unwrap();
            }
            writer.commit(Commit::default()).unwrap();
            if barriers && round % 8 == 0 {
                writer.barrier(Barrier::new(round)).unwrap().wait().unwrap();
            }
        }
        let memory = store.metrics().memory_bytes;
        assert!(memory < 24 << 20, "{memory} bytes for 4,096 counters, barriers: {barriers}");
    }
}

/// A shard that was claimed beside a commit of another thread had epochs on both sides of it: what it staged then was
/// flushed as if it were committed, and an abort left it there.
#[test]
fn a_range_is_claimed_beside_commits() {
    let directory = tempfile::tempdir().unwrap();
    let (_engine, store, state, writer) = small(directory.path(), 16 << 20, options());
    drop(writer);
    let (stop, between) = (AtomicBool::new(false), std::sync::Mutex::new(()));
    let key = Key::new(KeyGroup(0), b"k");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                {
                    let _alone = between.lock().unwrap();
                    store.commit(Commit::default()).unwrap();
                }
                std::thread::yield_now();
            }
        });
        let committed = store.reader().committed();
        for round in 0..300_u64 {
            let range = KeyGroupRange::new(0, if round % 2 == 0 { 3 } else { 1 });
            let mut writer = loop {
                match store.writer(range) {
                    Ok(writer) => break writer,
                    Err(error) => assert!(matches!(error, Error::Busy { .. }), "{error}"),
                }
            };
            writer.put(state, key, &round.to_le_bytes()).unwrap();
            let alone = between.lock().unwrap();
            // Nobody commits now: either it is committed, or it is undone.
            let seen = committed.get(state, key).unwrap();
            writer.abort_transaction().unwrap();
            assert_eq!(writer.get(state, key).unwrap(), seen, "round {round}");
            drop((writer, alone));
        }
        stop.store(true, Ordering::SeqCst);
    });
}

/// A list, and a sum of which more is on disk, got a chunk with each commit, and each operation walked through all of them.
#[test]
fn chains_don_t_grow_with_commits() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, store, _, writer) = small(directory.path(), 64 << 20, transactional());
    let list = store.state(StateOptions::list("list")).unwrap();
    let sum = store.state(StateOptions::merging("sum", MergeOperator::U64Add)).unwrap();
    drop(writer);
    let (mut store, mut elements) = (store, Vec::new());
    for round in 0..3_u64 {
        let mut writer = store.writer(store.range()).unwrap();
        for number in 0..3_000_u64 {
            let element = (round * 10_000 + number).to_le_bytes()[..1 + number as usize % 8].to_vec();
            writer.append(list, store.key(b"k"), &element).unwrap();
            writer.merge(sum, store.key(b"k"), &1_u64.to_le_bytes()).unwrap();
            elements.push(element);
            if number % 1_000 == 500 {
                writer.append(list, store.key(b"k"), b"undone").unwrap();
                writer.abort_transaction().unwrap();
                elements.pop();
                writer.append(list, store.key(b"k"), elements.last().unwrap()).unwrap();
                elements.push(elements.last().unwrap().clone());
                writer.merge(sum, store.key(b"k"), &1_u64.to_le_bytes()).unwrap();
            }
            writer.commit(Commit::default()).unwrap();
        }
        let committed = store.reader().committed();
        assert_eq!(writer.list(list, store.key(b"k")).unwrap(), elements);
        assert_eq!(committed.list(list, store.key(b"k")).unwrap(), elements);
        let counted = ((round + 1) * 3_000).to_le_bytes();
        assert_eq!(writer.get(sum, store.key(b"k")).unwrap().unwrap(), counted);
        assert_eq!(committed.get(sum, store.key(b"k")).unwrap().unwrap(), counted);
        store.barrier(Barrier::new(round)).unwrap().wait().unwrap();
        drop(writer);
        store.close().unwrap();
        store = Store::open(&engine, directory.path(), transactional()).unwrap();
        store.state(StateOptions::merging("sum", MergeOperator::U64Add)).unwrap();
        assert_eq!(store.reader().list(list, store.key(b"k")).unwrap(), elements);
    }
}

/// Where memory runs out in the middle of a clear its writer waits, and another thread's commit took the half that was done.
#[test]
fn a_clear_is_committed_whole() {
    let directory = tempfile::tempdir().unwrap();
    let (_engine, store, _, mut writer) = small(directory.path(), 4 << 20, transactional());
    let map = store.state(StateOptions::map("map")).unwrap();
    let key = store.key(b"k");
    let committed = store.reader().committed();
    let entries = || {
        let (mut cursor, mut out) = (Cursor::entries(map, key, &MapRange::all()), Packed::new(100_000, 16 << 20));
        committed.fetch(&mut cursor, &mut out).unwrap();
        out.len()
    };
    for round in 0..6_u8 {
        for number in 0..14_000_u32 {
            writer.map_put(map, key, &number.to_be_bytes(), &[round; 24]).unwrap();
        }
        writer.commit(Commit::default()).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    store.commit(Commit::default()).unwrap();
                    let seen = entries();
                    assert!(seen == 0 || seen == 14_000, "{seen} entries in round {round}");
                }
            });
            writer.map_clear(map, key).unwrap();
            done.store(true, Ordering::SeqCst);
        });
        writer.commit(Commit::default()).unwrap();
        assert_eq!(entries(), 0);
    }
}

/// Compaction went by the clock of the barrier, and removed from the last commit what was alive in it: a read that is staged kept it alive, and a
/// crash undid that.
#[test]
fn what_is_alive_in_the_last_commit_is_not_purged_by_the_clock_of_what_is_staged() {
    for durability in [Durability::Changelog, Durability::Checkpoint] {
        let directory = tempfile::tempdir().unwrap();
        let options = StoreOptions { durability, ..transactional() };
        let (engine, store, _, mut writer) = small(directory.path(), 64 << 20, options.clone());
        let expires = || StateOptions::value("e").ttl(Ttl { duration_ms: 100, refresh_on_read: true });
        let (state, key) = (store.state(expires()).unwrap(), Key::new(KeyGroup(0), b"k"));
        let checkpoint = |label| store.barrier(Barrier::new(label)).unwrap().wait().unwrap();
        writer.set_time_ms(100);
        writer.put(state, key, b"v").unwrap();
        writer.commit(Commit::default()).unwrap();
        checkpoint(1);
        for now_ms in [190, 250] {
            writer.set_time_ms(now_ms);
            assert_eq!(writer.get(state, key).unwrap().unwrap(), b"v");
        }
        checkpoint(2);
        store.compact().unwrap();
        checkpoint(3);
        let mut now_ms = 110;
        if durability == Durability::Changelog {
            writer.commit(Commit::default()).unwrap().wait().unwrap();
            now_ms = 340;
        }
        drop(writer);
        store.close().unwrap();
        let store = Store::open(&engine, directory.path(), options).unwrap();
        let (state, mut writer) = (store.state(expires()).unwrap(), store.writer(store.range()).unwrap());
        writer.set_time_ms(now_ms);
        assert_eq!(writer.get(state, key).unwrap().as_deref(), Some(&b"v"[..]), "{durability:?}");
    }
}

/// What was popped is deleted entry by entry, as it is staged: where memory runs out in the middle of that, all of it is given all the same.
#[test]
fn what_is_popped_is_given_however_short_memory_is() {
    for (count, on_disk) in [(15_000_u64, false), (20_000, false), (30_000, false), (30_000, true)] {
        let directory = tempfile::tempdir().unwrap();
        let engine = Engine::open(EngineOptions { memory_budget_bytes: 4 << 20, ..Default::default() }).unwrap();
        let store = Store::create(&engine, directory.path(), transactional()).unwrap();
        let timers = store.state(StateOptions::map("timers")).unwrap();
        let mut writer = store.writer(store.range()).unwrap();
        let key = store.key(b"queue");
        for n in 0..count {
            writer.map_put(timers, key, &n.to_be_bytes(), &[n as u8; 64]).unwrap();
        }
        writer.commit(Commit::default()).unwrap();
        store.barrier(Barrier::new(1)).unwrap().wait().unwrap();
        if on_disk {
            store.compact().unwrap();
        }
        let mut popped = Vec::new();
        for to in [count / 3, count / 2, count] {
            let take = |user_key: &[u8], value: &[u8]| {
                let n = u64::from_be_bytes(user_key.try_into().unwrap());
                assert_eq!(value, [n as u8; 64]);
                popped.push(n);
            };
            writer.map_pop_below(timers, key, &to.to_be_bytes(), take).unwrap();
            assert!(popped.iter().copied().eq(0..to), "{} of {to}", popped.len());
        }
        assert!(writer.map_is_empty(timers, key).unwrap());
        writer.abort_transaction().unwrap();
        assert_eq!(writer.map_first(timers, key).unwrap().unwrap().0, 0_u64.to_be_bytes());
    }
}
