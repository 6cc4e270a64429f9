//! Migrations: from the call on every value is of the new schema, whatever happens; what is on disk follows.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

#[path = "model/rng.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod rng;
#[path = "support/turns.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod turns;
#[path = "migration/world.rs"]
mod world;

use alluvium::{
    Barrier, Batch, CheckpointSource, Class, Convert, Engine, EngineOptions, Error, Key, KeyGroup, KeyGroupRange,
    MergeOperator, Operation, Purge, State, StateOptions, Store, StoreOptions,
};
use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use turns::in_turns;
use world::World;

fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("ALLUVIUM_TEST_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => {
            let drawn = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
            (0..count).map(|round| if round < 2 { round + 1 } else { drawn.wrapping_add(round) }).collect()
        }
    }
}

#[test]
fn states_of_all_kinds_are_migrated_at_random_moments() {
    for seed in seeds(6) {
        println!("ALLUVIUM_TEST_SEED={seed}");
        in_turns(seed, || {
            let mut world = World::new(seed);
            for _ in 0..1_500 {
                world.step();
            }
            world.check();
            world.close_and_open();
            world.store().compact().unwrap();
            for state in 0..8 {
                assert!(world.store().migration(world.states[state]).unwrap().is_none(), "all of it was rewritten");
            }
            world.check();
            world.check_checkpoints();
        });
    }
}

/// A conversion that puts a byte in front, and counts how often it is called; it can be told to fail.
#[derive(Default)]
struct Prefix {
    name: &'static str,
    calls: AtomicUsize,
    fails: AtomicBool,
    panics: AtomicBool,
}

thread_local! {
    /// How many conversions this thread did itself.
    static CALLS_HERE: Cell<usize> = const { Cell::new(0) };
}

fn prefix(name: &'static str) -> Arc<Prefix> {
    Arc::new(Prefix { name, ..Prefix::default() })
}

impl Convert for Prefix {
    fn name(&self) -> &str {
        self.name
    }

    fn convert(&self, old: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        CALLS_HERE.set(CALLS_HERE.get() + 1);
        assert!(!self.panics.load(Ordering::Relaxed), "a bug of the host");
        if self.fails.load(Ordering::Relaxed) {
            return Err("no such field".into());
        }
        out.extend_from_slice(self.name.as_bytes());
        out.extend_from_slice(old);
        Ok(())
    }
}

fn engine() -> Engine {
    Engine::open(EngineOptions { memory_budget_bytes: 8 << 20, ..EngineOptions::default() }).unwrap()
}

fn options() -> StoreOptions {
    StoreOptions { retained_checkpoints: 3, ..StoreOptions::default() }
}

fn open(engine: &Engine, path: &Path) -> Store {
    Store::open_or_create(engine, path, options()).unwrap()
}

fn checkpoint(store: &Store, label: u64) {
    store.barrier(Barrier::new(label)).unwrap().wait().unwrap();
}

fn numbers(count: u32) -> impl Iterator<Item = [u8; 4]> {
    (0..count).map(u32::to_be_bytes)
}

/// A store with values and a checkpoint of them.
fn filled(engine: &Engine, path: &Path, count: u32) -> (Store, State) {
    let store = open(engine, path);
    let state = store.state(StateOptions::value("v").user(b"old")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    for number in numbers(count) {
        writer.put(state, store.key(&number), &number).unwrap();
    }
    checkpoint(&store, 1);
    (store, state)
}

fn assert_all(store: &Store, state: State, count: u32, prefix: &[u8]) {
    let reader = store.reader();
    for number in numbers(count) {
        let found = reader.get(state, store.key(&number)).unwrap();
        assert_eq!(found, Some([prefix, &number].concat()));
    }
}

fn await_end(store: &Store, state: State) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while let Some(migration) = store.migration(state).unwrap() {
        assert!(Instant::now() < deadline, "{migration:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The point of it: nobody waits for the rewriting, and nobody has to ask for it.
#[test]
fn a_migration_holds_at_once_and_ends_by_itself() {
    let (engine, directory) = (engine(), tempfile::tempdir().unwrap());
    let (store, state) = filled(&engine, directory.path(), 2_000);
    let conversion = prefix("a");
    store.migrate(state, b"new", conversion.clone()).unwrap();
    assert_eq!(CALLS_HERE.get(), 0, "the call itself converts nothing");
    assert_all(&store, state, 2_000, b"a");
    await_end(&store, state);
    let before = conversion.calls.load(Ordering::Relaxed);
    assert_all(&store, state, 2_000, b"a");
    assert_eq!(conversion.calls.load(Ordering::Relaxed), before, "what was rewritten isn't converted again");
    checkpoint(&store, 2);
    store.close().unwrap();
    // The manifest says that it is done: no conversion is needed.
    let store = open(&engine, directory.path());
    let state = store.state(StateOptions::value("v")).unwrap();
    assert_eq!(store.states()[0].user, b"new");
    assert!(store.migration(state).unwrap().is_none());
    assert_all(&store, state, 2_000, b"a");
}

/// What counts is the last checkpoint: before the first one after it, a migration is forgotten like what was written.
#[test]
fn a_migration_lasts_from_the_next_checkpoint_on() {
    let (engine, directory) = (engine(), tempfile::tempdir().unwrap());
    let (store, state) = filled(&engine, directory.path(), 300);
    store.migrate(state, b"new", prefix("a")).unwrap();
    store.writer(store.range()).unwrap().put(state, store.key(&[9]), b"of the new schema").unwrap();
    // Also where all of it was rewritten already.
    store.compact().unwrap();
    drop(store);
    let store = World::patiently(|| Store::open(&engine, directory.path(), options()));
    assert_eq!(store.states()[0].user, b"old");
    let state = store.state(StateOptions::value("v")).unwrap();
    assert!(store.migration(state).unwrap().is_none());
    assert_all(&store, state, 300, b"");
    // The host sees the old schema, and does it again.
    store.migrate(state, b"new", prefix("a")).unwrap();
    assert_all(&store, state, 300, b"a");
    checkpoint(&store, 2);
    drop(store);
    let store = World::patiently(|| Store::open(&engine, directory.path(), options()));
    let state = store.state(StateOptions::value("v").conversion(prefix("a"))).unwrap();
    assert_eq!(store.states()[0].user, b"new");
    assert_all(&store, state, 300, b"a");
    // And an older checkpoint is still of the old schema.
    drop(store);
    let store = World::patiently(|| Store::open_checkpoint(&engine, directory.path(), 1, options()));
    assert_all(&store, state, 300, b"");
}

/// A store that was opened in the middle: values of the old schema would be taken for new ones if they were given out.
#[test]
fn in_the_middle_of_a_migration_values_wait_for_the_conversion() {
    let (engine, directory) = (engine(), tempfile::tempdir().unwrap());
    let (store, state) = filled(&engine, directory.path(), 300);
    let failing = prefix("a");
    failing.fails.store(true, Ordering::Relaxed);
    // So that it doesn't get anywhere in the background.
    store.migrate(state, b"new", failing).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    writer.put(state, store.key(&[0, 0, 0, 7]), b"written since").unwrap();
    checkpoint(&store, 2);
    drop(writer);
    store.close().unwrap();
    let store = open(&engine, directory.path());
    let state = store.state(StateOptions::value("v")).unwrap();
    let under_way = store.migration(state).unwrap().unwrap();
    assert_eq!(under_way.conversions, ["a"]);
    assert!(under_way.segments > 0 && under_way.bytes > 0);
    let lacks = |error: &Error| matches!(error, Error::Conversion { state, conversion, .. } if state == "v" && conversion == "a");
    assert!(lacks(&under_way.obstacle.unwrap()));
    let mut writer = store.writer(store.range()).unwrap();
    assert!(lacks(&writer.get(state, store.key(&[0, 0, 0, 1])).unwrap_err()));
    assert!(lacks(&store.reader().get(state, store.key(&[0, 0, 0, 1])).unwrap_err()));
    assert!(lacks(&store.snapshot().unwrap().get(state, store.key(&[0, 0, 0, 1])).unwrap_err()));
    assert!(lacks(&store.iterate(2).unwrap().find_map(Result::err).unwrap()));
    assert!(lacks(&store.compact().unwrap_err()));
    let mut batch = Batch::default();
    batch.push(state, store.key(&[0, 0, 0, 1]), Operation::Get);
    let mut ticket = writer.submit(&batch).unwrap();
    while !ticket.is_complete() {
        std::thread::yield_now();
    }
    assert!(lacks(writer.poll(&mut ticket).unwrap()[0].value().as_ref().unwrap_err()));
    // What was written since needs no conversion, and writing goes on, checkpoints too.
    assert_eq!(writer.get(state, store.key(&[0, 0, 0, 7])).unwrap().unwrap(), b"written since");
    writer.put(state, store.key(&[0, 0, 0, 8]), b"more").unwrap();
    for label in 3..20 {
        writer.put(state, store.key(&[0, 0, 0, 9]), &[label]).unwrap();
        checkpoint(&store, u64::from(label));
    }
    assert_eq!(store.migration(state).unwrap().unwrap().conversions, ["a"], "merges left it alone");
    // One of another name is none; the right one is, and it goes on by itself.
    store.state(StateOptions::value("v").conversion(prefix("b"))).unwrap();
    assert!(lacks(&writer.get(state, store.key(&[0, 0, 0, 1])).unwrap_err()));
    store.state(StateOptions::value("v").conversion(prefix("a"))).unwrap();
    assert_eq!(writer.get(state, store.key(&[0, 0, 0, 1])).unwrap().unwrap(), b"a\0\0\0\x01");
    await_end(&store, state);
    assert_eq!(writer.get(state, store.key(&[0, 0, 0, 8])).unwrap().unwrap(), b"more");
    assert_eq!(writer.get(state, store.key(&[0, 0, 0, 9])).unwrap().unwrap(), [19]);
}

/// A bug in a conversion is the host's: it must cost neither a value nor the store.
#[test]
fn a_conversion_that_fails_or_panics_loses_nothing() {
    for panics in [false, true] {
        let (engine, directory) = (engine(), tempfile::tempdir().unwrap());
        let (store, state) = filled(&engine, directory.path(), 300);
        let other = store.state(StateOptions::value("other")).unwrap();
        let broken = prefix("a");
        broken.fails.store(!panics, Ordering::Relaxed);
        broken.panics.store(panics, Ordering::Relaxed);
        store.migrate(state, b"", broken).unwrap();
        assert_eq!(store.states()[0].user, b"old", "an empty schema says nothing");
        let mut writer = store.writer(store.range()).unwrap();
        let failed = writer.get(state, store.key(&[0; 4])).unwrap_err();
        let said = if panics { "a bug of the host" } else { "no such field" };
        assert!(failed.to_string().contains(said) && failed.to_string().contains("\"v\""), "{failed}");
        assert_eq!(failed.class(), Class::Usage);
        // The store goes on, merges of what has nothing to do with it too.
        for round in 0..20_u8 {
            writer.put(other, store.key(&[round]), &[round]).unwrap();
            checkpoint(&store, 2 + u64::from(round));
        }
        assert!(store.migration(state).unwrap().unwrap().obstacle.is_some());
        assert!(matches!(store.compact(), Err(Error::Conversion { .. })));
        store.state(StateOptions::value("v").conversion(prefix("a"))).unwrap();
        assert_all(&store, state, 300, b"a");
        await_end(&store, state);
        store.compact().unwrap();
        assert_all(&store, state, 300, b"a");
        drop(writer);
        store.close().unwrap();
    }
}

/// The second one comes while values of the schema before the first are still there: they go through both, those of the
/// schema in between through one.
#[test]
fn migrations_of_a_state_follow_each_other() {
    let (engine, directory) = (engine(), tempfile::tempdir().unwrap());
    let (store, state) = filled(&engine, directory.path(), 300);
    let first = prefix("a");
    first.fails.store(true, Ordering::Relaxed);
    store.migrate(state, b"2", first.clone()).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    writer.put(state, store.key(b"between"), b"2").unwrap();
    let refused = store.migrate(state, b"2", prefix("a")).unwrap_err();
    assert!(matches!(refused, Error::State { .. }), "{refused}");
    store.migrate(state, b"3", prefix("b")).unwrap();
    writer.put(state, store.key(b"after"), b"3").unwrap();
    checkpoint(&store, 2);
    assert_eq!(store.migration(state).unwrap().unwrap().conversions, ["a", "b"]);
    drop(writer);
    store.close().unwrap();
    let store = open(&engine, directory.path());
    let options = StateOptions::value("v").conversion(prefix("b")).conversion(prefix("a"));
    let state = store.state(options).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    for round in 0..2 {
        assert_all(&store, state, 300, b"ba");
        assert_eq!(writer.get(state, store.key(b"between")).unwrap().unwrap(), b"b2");
        assert_eq!(writer.get(state, store.key(b"after")).unwrap().unwrap(), b"3");
        store.compact().unwrap();
        assert!(round == 0 || store.migration(state).unwrap().is_none());
    }
}

/// A writer that is busy with another state isn't in the way, nor is an idle one; one that uses the state is told of.
#[test]
fn writers_may_be_there() {
    let (engine, directory) = (engine(), tempfile::tempdir().unwrap());
    let (store, state) = filled(&engine, directory.path(), 300);
    let busy = store.state(StateOptions::value("busy")).unwrap();
    let (stop, range) = (AtomicBool::new(false), store.range());
    let mut writer = store.writer(range).unwrap();
    writer.put(state, store.key(b"not flushed yet"), b"x").unwrap();
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let mut number = 0_u32;
            while !stop.load(Ordering::Relaxed) {
                writer.put(busy, store.key(&number.to_be_bytes()), b"1").unwrap();
                number = (number + 1) % 10_000;
            }
            writer
        });
        for name in ["a", "b", "c"] {
            store.migrate(state, b"", prefix(name)).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        let mut writer = worker.join().unwrap();
        assert_eq!(writer.get(state, store.key(b"not flushed yet")).unwrap().unwrap(), b"cbax");
    });
    assert_all(&store, state, 300, b"cba");
}

/// A read that is in flight has the old value. Kept in memory, it would be read as a new one.
#[test]
fn reads_in_flight_are_not_kept() {
    let (engine, directory) = (engine(), tempfile::tempdir().unwrap());
    let (store, _) = filled(&engine, directory.path(), 3_000);
    store.close().unwrap();
    let store = open(&engine, directory.path());
    let state = store.state(StateOptions::value("v")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    let mut batch = Batch::default();
    let keys: Vec<[u8; 4]> = numbers(3_000).collect();
    keys.iter().for_each(|key| batch.push(state, store.key(key), Operation::Get));
    let mut ticket = writer.submit(&batch).unwrap();
    store.migrate(state, b"new", prefix("a")).unwrap();
    let mut taken = 0;
    while taken < keys.len() {
        for answer in writer.poll(&mut ticket).unwrap() {
            assert_eq!(answer.value().unwrap().unwrap(), keys[answer.index()], "as of the moment of its asking");
            taken += 1;
        }
    }
    for key in &keys {
        assert_eq!(writer.get(state, store.key(key)).unwrap().unwrap(), [b"a", &key[..]].concat());
    }
}

/// What is loaded is of the schema of the moment at which it was given; under a mark it would be converted, beside one not.
#[test]
fn bulk_loads_and_migrations_keep_out_of_each_others_way() {
    let (engine, directory) = (engine(), tempfile::tempdir().unwrap());
    let store = open(&engine, directory.path());
    let state = store.state(StateOptions::value("v")).unwrap();
    let at = |group| Key::new(KeyGroup(group), b"k");
    let mut early = store.bulk_load(1).unwrap();
    early.put(state, at(1), b"early").unwrap();
    early.finish().unwrap();
    let mut open = store.bulk_load(1).unwrap();
    open.put(state, at(2), b"open").unwrap();
    store.migrate(state, b"", prefix("a")).unwrap();
    assert!(matches!(open.finish(), Err(Error::State { .. })));
    let mut late = store.bulk_load(1).unwrap();
    late.put(state, at(2), b"late").unwrap();
    late.finish().unwrap();
    for _ in 0..2 {
        let reader = store.reader();
        assert_eq!(reader.get(state, at(1)).unwrap().unwrap(), b"aearly");
        assert_eq!(reader.get(state, at(2)).unwrap().unwrap(), b"late");
        store.compact().unwrap();
    }
}

/// Operands are converted one by one, also by built-in operators, which take 8 bytes and nothing else.
#[test]
fn operands_go_on_being_merged() {
    struct Thousandfold;
    impl Convert for Thousandfold {
        fn name(&self) -> &str {
            "seconds to ms"
        }
        fn convert(&self, old: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
            let seconds = u64::from_le_bytes(old.try_into().map_err(|_| "no number")?);
            out.extend_from_slice(&(seconds * 1_000).to_le_bytes());
            Ok(())
        }
    }
    let (engine, directory) = (engine(), tempfile::tempdir().unwrap());
    let store = open(&engine, directory.path());
    let state = store.state(StateOptions::merging("sum", MergeOperator::U64Add)).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    let key = store.key(b"k");
    for seconds in 1..=3_u64 {
        writer.merge(state, key, &seconds.to_le_bytes()).unwrap();
        checkpoint(&store, seconds);
    }
    let before = store.snapshot().unwrap();
    store.migrate(state, b"", Arc::new(Thousandfold)).unwrap();
    writer.merge(state, key, &4_u64.to_le_bytes()).unwrap();
    for _ in 0..2 {
        assert_eq!(writer.get(state, key).unwrap().unwrap(), 6_004_u64.to_le_bytes());
        store.compact().unwrap();
        assert_eq!(before.get(state, key).unwrap().unwrap(), 6_u64.to_le_bytes());
    }
    store.migrate(state, b"", prefix("wider")).unwrap();
    let refused = store.reader().get(state, key).unwrap_err();
    assert!(refused.to_string().contains("13 bytes"), "{refused}");
}

/// The time in a value is looked for where the new schema has it.
#[test]
fn values_are_purged_by_what_they_are_converted_to() {
    let (engine, directory) = (engine(), tempfile::tempdir().unwrap());
    let store = open(&engine, directory.path());
    let purged = |time_at| StateOptions::value("v").purge(Purge { duration_ms: 1_000, time_at });
    let state = store.state(purged(0)).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    for (key, time_ms) in [(b"old", 500_i64), (b"new", 9_500)] {
        writer.put(state, store.key(key), &time_ms.to_be_bytes()).unwrap();
    }
    checkpoint(&store, 1);
    store.state(purged(1)).unwrap();
    store.migrate(state, b"", prefix("a")).unwrap();
    writer.set_time_ms(10_000);
    checkpoint(&store, 2);
    store.compact().unwrap();
    assert_eq!(writer.get(state, store.key(b"old")).unwrap(), None);
    assert!(writer.get(state, store.key(b"new")).unwrap().is_some());
}

/// What is elsewhere is converted like what is here, and rewritten when the host has brought it.
#[test]
fn segments_that_are_elsewhere_are_migrated_too() {
    let (engine, directory, target) = (engine(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, _) = filled(&engine, directory.path(), 300);
    let manifest = store.files(1).unwrap().manifest().to_vec();
    store.close().unwrap();
    let options = StoreOptions { fetch: true, ..options() };
    let store = Store::restore_absent(&engine, target.path(), &[&manifest], options).unwrap();
    let state = store.state(StateOptions::value("v")).unwrap();
    let conversion = prefix("a");
    store.migrate(state, b"new", conversion.clone()).unwrap();
    store.writer(store.range()).unwrap().put(state, store.key(b"here"), b"new").unwrap();
    checkpoint(&store, 2);
    assert!(store.migration(state).unwrap().is_some());
    assert_eq!(conversion.calls.load(Ordering::Relaxed), 0, "nothing of it was touched");
    let fetches = store.fetches().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while fetches.files_absent() > 0 {
                for request in fetches.wait(4, Duration::from_millis(5)) {
                    let from = std::fs::read(directory.path().join(&request.file)).unwrap();
                    let offset = request.offset as usize;
                    fetches.complete(request.id, &from[offset..offset + request.len]).unwrap();
                }
            }
        });
        assert_all(&store, state, 300, b"a");
    });
    store.compact().unwrap();
    assert!(store.migration(state).unwrap().is_none());
    assert_all(&store, state, 300, b"a");
}

/// A half of a job that was migrated and a half that was not: no schema is right for the whole.
#[test]
fn halves_of_different_schemas_are_not_united() {
    let engine = engine();
    let halves = [(KeyGroupRange::new(0, 63), "a"), (KeyGroupRange::new(64, 127), "")];
    let outcome = |migrations: [&'static str; 2], schemas: [&[u8]; 2]| {
        let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        for (at, (range, _)) in halves.iter().enumerate() {
            let options = StoreOptions { range: *range, ..StoreOptions::default() };
            let store = Store::create(&engine, directories[at].path(), options).unwrap();
            let state = store.state(StateOptions::value("v").user(schemas[at])).unwrap();
            let mut writer = store.writer(*range).unwrap();
            writer.put(state, Key::new(KeyGroup(range.first()), b"k"), b"1").unwrap();
            if !migrations[at].is_empty() {
                store.migrate(state, b"", prefix(migrations[at])).unwrap();
            }
            checkpoint(&store, 1);
            drop(writer);
            store.close().unwrap();
        }
        let sources = directories
            .each_ref()
            .map(|directory| CheckpointSource { directory: directory.path().to_owned(), label: None });
        let target = tempfile::tempdir().unwrap();
        let options = StoreOptions::default();
        Store::restore(&engine, target.path(), &sources, options).map(|store| (store, target))
    };
    for migrations in [["a", ""], ["", "a"], ["a", "b"]] {
        let refused = outcome(migrations, [b"", b""]).unwrap_err();
        assert!(matches!(&refused, Error::State { state, .. } if state == "v"), "{refused}");
    }
    // Both alike; or the host says that what is new in one of them is of the schema that the other was migrated to.
    for (migrations, seen) in
        [(["a", "a"], [b"a1".to_vec(), b"a1".to_vec()]), (["a", ""], [b"a1".to_vec(), b"1".to_vec()])]
    {
        let (store, _directory) = outcome(migrations, [b"same", b"same"]).unwrap();
        let state = store.state(StateOptions::value("v").conversion(prefix("a"))).unwrap();
        for ((range, _), seen) in halves.iter().zip(seen) {
            let found = store.reader().get(state, Key::new(KeyGroup(range.first()), b"k")).unwrap();
            assert_eq!(found, Some(seen));
        }
    }
}

#[test]
fn a_conversion_has_a_name() {
    let (engine, directory) = (engine(), tempfile::tempdir().unwrap());
    let (store, state) = filled(&engine, directory.path(), 3);
    assert!(matches!(store.migrate(state, b"new", prefix("")), Err(Error::State { .. })));
    assert!(store.state(StateOptions::value("v").conversion(prefix(""))).is_err());
    assert_eq!(store.states()[0].user, b"old");
    assert_all(&store, state, 3, b"");
}
