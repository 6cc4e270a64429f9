//! How stores and checkpoints end: closing, aborting, failing, exporting; and what that does to others.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

use alluvium::{
    Barrier, CheckpointSource, Class, Engine, EngineOptions, Error, Key, KeyGroup, KeyGroupRange, Merge, MergeOperator,
    Scope, State, StateOptions, Store, StoreOptions, Writer,
};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn engine(budget_mib: usize) -> Engine {
    let memory_budget_bytes = budget_mib << 20;
    Engine::open(EngineOptions { memory_budget_bytes, threads: 1, ..Default::default() }).unwrap()
}

fn options() -> StoreOptions {
    StoreOptions { key_groups: 8, range: KeyGroupRange::new(0, 7), compress: false, ..Default::default() }
}

fn create(engine: &Engine, path: &Path, of: StateOptions) -> (Store, State, Writer) {
    let store = Store::create(engine, path, options()).unwrap();
    let state = store.state(of).unwrap();
    let writer = store.writer(store.range()).unwrap();
    (store, state, writer)
}

fn checkpoint(store: &Store, label: u64) {
    store.barrier(Barrier::new(label)).unwrap().wait().unwrap();
}

fn directory_bytes(path: &Path) -> u64 {
    std::fs::read_dir(path).unwrap().map(|file| file.unwrap().metadata().map_or(0, |metadata| metadata.len())).sum()
}

/// Fills more than the budget; every put must succeed.
fn fill(store: &Store, state: State, writer: &mut Writer) {
    for i in 0..20_000_u64 {
        writer.put(state, store.key(&i.to_be_bytes()), &[2; 1_000]).unwrap();
    }
}

/// Joins operands, and panics on one of them: on the engine's threads always, on others while it is told to.
#[derive(Debug, Default)]
struct Panics {
    anywhere: AtomicBool,
}

impl Merge for Panics {
    fn name(&self) -> &str {
        "panics"
    }

    fn merge(&self, older: &[u8], newer: &[u8], out: &mut Vec<u8>) {
        let on_engine = std::thread::current().name().is_some_and(|name| name.starts_with("alluvium"));
        let panics = on_engine || self.anywhere.load(Ordering::Relaxed);
        assert!(newer != b"boom" || !panics, "a fault of the host");
        out.extend(older);
        out.extend(newer);
    }
}

/// A key of one of the first four key groups.
fn low_key(store: &Store) -> Key<'static> {
    let names: [&[u8]; 8] = [b"a", b"b", b"c", b"d", b"e", b"f", b"g", b"h"];
    names.iter().map(|name| store.key(name)).find(|key| key.group.0 < 4).unwrap()
}

/// Adds an operand to a list of them that is on disk alone: a range that is cut anew begins with nothing in memory.
fn operand_on_disk(store: &Store, state: State, label: u64) -> Result<(), Error> {
    store.writer(KeyGroupRange::new(0, 3))?.merge(state, low_key(store), b"boom")?;
    store.barrier(Barrier::new(label))?.wait()?;
    drop(store.writer(KeyGroupRange::new(0, 1))?);
    Ok(())
}

/// Makes a store fail for good: its operator panics on a thread of the engine that merges segments.
fn fail(store: &Store, state: State) -> Error {
    for label in 0..200 {
        if let Err(error) = operand_on_disk(store, state, label) {
            return error;
        }
    }
    panic!("the store never failed");
}

#[test]
fn a_closed_store_whose_writer_lives_on_gives_its_memory_to_others() {
    let (a_path, b_path) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let engine = engine(8);
    let (a, a_state, mut a_writer) = create(&engine, a_path.path(), StateOptions::value("v"));
    let (b, b_state, mut b_writer) = create(&engine, b_path.path(), StateOptions::value("v"));
    for i in 0..5_000_u64 {
        a_writer.put(a_state, a.key(&i.to_be_bytes()), &[1; 1_000]).unwrap();
    }
    let used = engine.used_bytes();
    let (key, reader) = (5_u64.to_be_bytes(), a.reader());
    let key = a.key(&key);
    a.close().unwrap();
    assert!(engine.used_bytes() < used - (4 << 20), "{} of {used} bytes are in use still", engine.used_bytes());
    let before = directory_bytes(a_path.path());
    fill(&b, b_state, &mut b_writer);
    assert_eq!(directory_bytes(a_path.path()), before, "a closed store wrote");
    assert!(matches!(a_writer.put(a_state, key, b"x"), Err(Error::Closed)));
    assert!(matches!(a_writer.get(a_state, key), Err(Error::Closed)));
    assert!(matches!(reader.get(a_state, key), Err(Error::Closed)));
}

#[test]
fn a_store_that_failed_harms_no_other() {
    let (a_path, b_path) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let engine = engine(8);
    let operator = MergeOperator::User(Arc::new(Panics::default()));
    let (a, a_state, a_writer) = create(&engine, a_path.path(), StateOptions::merging("m", operator));
    drop(a_writer);
    let mut a_writer = a.writer(KeyGroupRange::new(4, 7)).unwrap();
    let (b, b_state, mut b_writer) = create(&engine, b_path.path(), StateOptions::value("v"));
    let other = a.state(StateOptions::value("v")).unwrap();
    assert_eq!(fail(&a, a_state).class(), Class::Fail);
    let mut refused = 0;
    for i in 0..10_000_u64 {
        // There is room for some; what is spilled to make more can't be written any more.
        let name = i.to_be_bytes();
        let key = Key { group: KeyGroup(4 + i as u16 % 4), ..a.key(&name) };
        refused += u32::from(a_writer.put(other, key, &[1; 1_000]).is_err());
        if refused == 10 {
            break;
        }
    }
    assert_eq!(refused, 10);
    // What is stuck there keeps its memory until that store is closed: that alone may be felt here.
    for i in 0..100_u64 {
        let outcome = b_writer.put(b_state, b.key(&i.to_be_bytes()), &[2; 1_000]);
        assert!(matches!(outcome, Ok(()) | Err(Error::Budget { .. })), "{outcome:?}");
    }
    checkpoint(&b, 1);
    assert!(a.close().is_err());
    fill(&b, b_state, &mut b_writer);
}

#[test]
fn a_panic_of_a_merge_operator_fails_the_store_and_hangs_nobody() {
    let path = tempfile::tempdir().unwrap();
    let engine = engine(8);
    let operator = MergeOperator::User(Arc::new(Panics::default()));
    let (store, state, writer) = create(&engine, path.path(), StateOptions::merging("m", operator));
    drop(writer);
    assert_eq!(fail(&store, state).class(), Class::Fail);
    assert_eq!(store.barrier(Barrier::new(1_000)).map(|_| ()).unwrap_err().class(), Class::Fail);
    assert_eq!(store.close().unwrap_err().class(), Class::Fail);
    // The engine's only thread is still there.
    let other = tempfile::tempdir().unwrap();
    let (store, state, mut writer) = create(&engine, other.path(), StateOptions::value("v"));
    writer.put(state, store.key(b"k"), b"v").unwrap();
    checkpoint(&store, 1);
}

#[test]
fn a_panic_in_a_compaction_that_was_asked_for_leaves_the_store_in_order() {
    let path = tempfile::tempdir().unwrap();
    let engine = engine(8);
    let panics = Arc::new(Panics::default());
    let operator = MergeOperator::User(panics.clone());
    let (store, state, writer) = create(&engine, path.path(), StateOptions::merging("m", operator));
    drop(writer);
    for label in 1..=2 {
        operand_on_disk(&store, state, label).unwrap();
    }
    panics.anywhere.store(true, Ordering::Relaxed);
    assert!(catch_unwind(AssertUnwindSafe(|| store.compact())).is_err());
    panics.anywhere.store(false, Ordering::Relaxed);
    store.compact().unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    assert_eq!(writer.get(state, low_key(&store)).unwrap().unwrap(), b"boomboom");
    drop(writer);
    store.close().unwrap();
}

thread_local! {
    /// How often this thread was asked to join operands since it began with the operation that it is at.
    static JOINED: Cell<usize> = const { Cell::new(0) };
}

/// Joins operands, and panics where an operation comes to it for a second time: that has waited for memory in between.
#[derive(Debug)]
struct PanicsAgain;

impl Merge for PanicsAgain {
    fn name(&self) -> &str {
        "panics again"
    }

    fn merge(&self, older: &[u8], newer: &[u8], out: &mut Vec<u8>) {
        JOINED.set(JOINED.get() + 1);
        assert!(JOINED.get() < 2, "a fault of the host");
        out.extend(older);
        out.extend(newer);
    }
}

/// An operation that waits for memory is between two of its steps, and rollbacks wait for its end. One in which the host's code panicked
/// never ended, and rollbacks failed for good.
#[test]
fn an_operation_that_panics_after_it_waited_for_memory_has_ended() {
    let path = tempfile::tempdir().unwrap();
    let engine = engine(8);
    let operator = MergeOperator::User(Arc::new(PanicsAgain));
    let store = Store::create(&engine, path.path(), StoreOptions { retained_checkpoints: 4, ..options() }).unwrap();
    let [state, other] =
        [StateOptions::merging("m", operator), StateOptions::value("v")].map(|of| store.state(of).unwrap());
    let mut writer = store.writer(store.range()).unwrap();
    writer.put(other, store.key(b"k"), b"before").unwrap();
    checkpoint(&store, 1);
    writer.put(other, store.key(b"k"), b"after").unwrap();

    let (mut joined, mut panicked) = (Vec::new(), Vec::new());
    for i in 0..100_000_u32 {
        let name = i.to_be_bytes();
        writer.merge(state, store.key(&name), &[1; 1_000]).unwrap();
        JOINED.set(0);
        match catch_unwind(AssertUnwindSafe(|| writer.merge(state, store.key(&name), &[2; 1_000]))) {
            Ok(outcome) => outcome.map(|()| joined.push(name)).unwrap(),
            Err(_) => panicked.push(name),
        }
        if panicked.len() == 3 {
            break;
        }
    }
    assert_eq!(panicked.len(), 3, "after {} that did not", joined.len());
    // It hadn't changed anything, and what comes after it is done.
    checkpoint(&store, 2);
    for (names, wanted) in [(&panicked, vec![1; 1_000]), (&joined, [[1; 1_000], [2; 1_000]].concat())] {
        for name in names {
            JOINED.set(0);
            assert_eq!(writer.get(state, store.key(name)).unwrap().unwrap(), wanted);
        }
    }
    // The host's function of an update, which is called once.
    let update = || writer.update(other, store.key(b"k"), |_| -> Option<Vec<u8>> { panic!("a fault of the host") });
    assert!(catch_unwind(AssertUnwindSafe(update)).is_err());
    assert_eq!(writer.get(other, store.key(b"k")).unwrap().unwrap(), b"after");
    checkpoint(&store, 3);
    store.rollback(&Scope::groups(store.range()), 1).unwrap();
    assert_eq!(writer.get(other, store.key(b"k")).unwrap().unwrap(), b"before");
    assert_eq!(writer.get(state, store.key(&joined[0])).unwrap(), None);
    checkpoint(&store, 4);
}

#[test]
fn a_barrier_that_can_not_be_written_down_is_refused_and_harms_nothing() {
    let path = tempfile::tempdir().unwrap();
    let engine = engine(8);
    let (store, state, mut writer) = create(&engine, path.path(), StateOptions::value("v"));
    writer.put(state, store.key(b"k"), b"v").unwrap();
    let outside = Barrier { offsets: vec![(KeyGroupRange::new(0, 8), vec![1])], ..Barrier::new(1) };
    assert_eq!(store.barrier(outside).map(|_| ()).unwrap_err().class(), Class::Usage);
    let long = Barrier { metadata: vec![0; (1 << 28) + 1], ..Barrier::new(1) };
    assert_eq!(store.barrier(long).map(|_| ()).unwrap_err().class(), Class::Usage);
    checkpoint(&store, 2);
}

#[test]
fn what_was_answered_as_aborted_is_no_checkpoint_and_the_one_before_stays() {
    let path = tempfile::tempdir().unwrap();
    let engine = engine(8);
    let (store, state, mut writer) = create(&engine, path.path(), StateOptions::value("v"));
    checkpoint(&store, 0);
    let (mut last, mut aborted) = (0, 0);
    for label in 1..400_u64 {
        writer.put(state, store.key(&label.to_be_bytes()), b"x").unwrap();
        let pending = store.barrier(Barrier::new(label)).unwrap();
        std::thread::sleep(Duration::from_micros(label * 7_919 % 6_000));
        pending.abort().unwrap();
        if pending.wait().is_ok() {
            last = label;
        } else {
            aborted += 1;
        }
    }
    println!("{aborted} of 399 were aborted");
    drop(writer);
    // Waits for what is under way.
    let clone = store.clone();
    store.close().unwrap();
    let kept: Vec<u64> = clone.checkpoints().iter().map(|info| info.label).collect();
    assert_eq!(kept, [last]);
    drop(clone);
    let store = Store::open(&engine, path.path(), options()).unwrap();
    assert_eq!(store.restored().unwrap().label, last);
    let (state, mut writer) = (store.state(StateOptions::value("v")).unwrap(), store.writer(store.range()).unwrap());
    for label in 1..=last {
        assert_eq!(writer.get(state, store.key(&label.to_be_bytes())).unwrap().as_deref(), Some(&b"x"[..]), "{label}");
    }
}

#[test]
fn what_compaction_leaves_is_deleted_without_a_checkpoint() {
    let path = tempfile::tempdir().unwrap();
    let engine = engine(4);
    let (store, state, mut writer) = create(&engine, path.path(), StateOptions::value("v"));
    for i in 0..60_000_u64 {
        let key = (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) % 4_000;
        writer.put(state, store.key(&key.to_be_bytes()), &i.to_le_bytes().repeat(125)).unwrap();
    }
    store.compact().unwrap();
    let bytes = directory_bytes(path.path());
    assert!(bytes < 12 << 20, "{bytes} bytes for 4 MB of state");
}

#[test]
fn a_closed_store_touches_no_file() {
    let path = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let engine = engine(8);
    let kept = StoreOptions { retained_checkpoints: 3, ..options() };
    let old = Store::create(&engine, path.path(), kept.clone()).unwrap();
    for label in 1..=3 {
        checkpoint(&old, label);
    }
    old.clone().close().unwrap();
    let new = Store::open(&engine, path.path(), kept).unwrap();
    assert!(matches!(old.release(1), Err(Error::Closed)));
    assert!(matches!(old.retain(1), Err(Error::Closed)));
    assert!(matches!(old.export(1, elsewhere.path()), Err(Error::Closed)));
    assert!(matches!(old.iterate(1), Err(Error::Closed)));
    assert!(matches!(old.compact(), Err(Error::Closed)));
    let labels: Vec<u64> = new.checkpoints().iter().map(|info| info.label).collect();
    assert_eq!(labels, [1, 2, 3]);
    new.export(1, elsewhere.path()).unwrap();
}

#[test]
fn checkpoints_are_exported_to_one_directory_one_after_another() {
    let path = tempfile::tempdir().unwrap();
    let (exported, restored) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let engine = engine(8);
    let (store, state, mut writer) = create(&engine, path.path(), StateOptions::value("v"));
    for label in 1..=3_u8 {
        writer.put(state, store.key(&[label]), &[label]).unwrap();
        checkpoint(&store, u64::from(label));
        store.export(u64::from(label), exported.path()).unwrap();
        store.export(u64::from(label), exported.path()).unwrap();
    }
    // Another file under a segment's name is not taken for it.
    let foreign = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(exported.path()).unwrap() {
        std::fs::write(foreign.path().join(file.unwrap().file_name()), b"something else").unwrap();
    }
    assert_eq!(store.export(3, foreign.path()).unwrap_err().class(), Class::Usage);
    // A directory that isn't there is the caller's mistake: no segment is missing.
    let error = store.export(3, &foreign.path().join("none")).unwrap_err();
    assert_eq!(error.class(), Class::Usage);
    assert!(error.to_string().contains("none is no directory"), "{error}");
    for label in 1..=3_u8 {
        let source = CheckpointSource { directory: exported.path().to_owned(), label: Some(u64::from(label)) };
        let target = restored.path().join(label.to_string());
        let store = Store::restore(&engine, &target, &[source], options()).unwrap();
        let (state, mut writer) =
            (store.state(StateOptions::value("v")).unwrap(), store.writer(store.range()).unwrap());
        for key in 1..=3_u8 {
            let value = writer.get(state, store.key(&[key])).unwrap();
            assert_eq!(value.is_some(), key <= label, "key {key} of checkpoint {label}");
        }
    }
}

#[test]
fn open_or_create_opens_what_is_there() {
    let path = tempfile::tempdir().unwrap();
    let engine = engine(8);
    let store = Store::open_or_create(&engine, path.path(), options()).unwrap();
    assert!(store.restored().is_none());
    checkpoint(&store, 7);
    store.close().unwrap();
    let store = Store::open_or_create(&engine, path.path(), options()).unwrap();
    assert_eq!(store.restored().unwrap().label, 7);
    store.close().unwrap();
    // A damaged checkpoint is no reason to begin anew.
    for file in std::fs::read_dir(path.path()).unwrap() {
        let file = file.unwrap().path();
        if file.to_string_lossy().contains("manifest") {
            std::fs::write(file, b"damaged").unwrap();
        }
    }
    let refused = Store::open_or_create(&engine, path.path(), options()).unwrap_err();
    assert_eq!(refused.class(), Class::Corrupt);
}

/// One that was given up while its manifest was being written was among those that are kept for a moment: whoever let go of the one before it
/// then was left with none.
#[test]
fn a_checkpoint_that_is_given_up_is_never_among_those_that_are_kept() {
    let (directory, engine) = (tempfile::tempdir().unwrap(), engine(16));
    let (store, state, mut writer) = create(&engine, directory.path(), StateOptions::value("v"));
    checkpoint(&store, 0);
    let mut given_up = 0;
    for round in 1..200_u64 {
        writer.put(state, store.key(b"k"), &round.to_le_bytes()).unwrap();
        let pending = store.barrier(Barrier::new(round)).unwrap();
        let (was_seen, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
        let mut is_given_up = false;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    if store.checkpoints().iter().any(|kept| kept.label == round) {
                        was_seen.store(true, Ordering::Relaxed);
                    }
                }
            });
            std::thread::sleep(Duration::from_micros(round % 50 * 40));
            let aborted = pending.abort();
            is_given_up = pending.wait().is_err();
            // Until it is taken back, mostly.
            std::thread::sleep(Duration::from_millis(if is_given_up { 2 } else { 0 }));
            is_over.store(true, Ordering::Relaxed);
            aborted.unwrap();
        });
        assert!(!is_given_up || !was_seen.load(Ordering::Relaxed), "round {round}");
        given_up += u32::from(is_given_up);
        assert!(!store.checkpoints().is_empty());
    }
    assert!(given_up > 0, "none was given up in time");
    drop(writer);
    store.close().unwrap();
}

fn labels(store: &Store) -> Vec<u64> {
    store.checkpoints().iter().map(|kept| kept.label).collect()
}

/// Waits for what is done in the background.
fn until_kept(store: &Store, wanted: &[u64]) {
    let since = std::time::Instant::now();
    while labels(store) != wanted {
        assert!(since.elapsed() < Duration::from_secs(60), "{:?}, not {wanted:?}", labels(store));
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Leaves a store with four checkpoints that were retained, each with its label at a key.
fn four_retained(engine: &Engine, path: &Path) {
    let (store, state, mut writer) = create(engine, path, StateOptions::value("v"));
    for label in 1..=4_u64 {
        writer.put(state, store.key(b"k"), &label.to_le_bytes()).unwrap();
        checkpoint(&store, label);
        store.retain(label).unwrap();
    }
    drop(writer);
    store.close().unwrap();
}

/// Any word about a checkpoint had all others go that `retained_checkpoints` doesn't count, the one that the store was opened at among them.
#[test]
fn what_a_store_was_opened_at_stays_until_it_has_a_checkpoint_of_its_own() {
    let (directory, engine) = (tempfile::tempdir().unwrap(), engine(16));
    four_retained(&engine, directory.path());
    let store = Store::open(&engine, directory.path(), options()).unwrap();
    store.release(1).unwrap();
    store.confirm(4).unwrap();
    let pending = store.barrier(Barrier::new(9)).unwrap();
    pending.abort().unwrap();
    if pending.wait().is_err() {
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(labels(&store), [2, 3, 4]);
        store.retain(2).unwrap();
    }
    store.close().unwrap();

    let other = tempfile::tempdir().unwrap();
    four_retained(&engine, other.path());
    for _ in 0..2 {
        let store = Store::open_checkpoint(&engine, other.path(), 3, options()).unwrap();
        let state = store.state(StateOptions::value("v")).unwrap();
        assert_eq!(store.reader().get(state, store.key(b"k")).unwrap(), Some(3_u64.to_le_bytes().to_vec()));
        store.subsume(3).unwrap();
        store.release(3).unwrap();
        until_kept(&store, &[3, 4]);
        store.close().unwrap();
    }
    let store = Store::open_checkpoint(&engine, other.path(), 3, options()).unwrap();
    checkpoint(&store, 5);
    until_kept(&store, &[5]);
    store.close().unwrap();
}

/// A remote directory says that it needs old ones no longer, of its own accord.
#[test]
fn a_checkpoint_that_is_retained_stays_whoever_needs_it_no_longer() {
    let (directory, engine) = (tempfile::tempdir().unwrap(), engine(16));
    let (store, state, mut writer) = create(&engine, directory.path(), StateOptions::value("v"));
    for label in 1..=4_u64 {
        writer.put(state, store.key(b"k"), &label.to_le_bytes()).unwrap();
        checkpoint(&store, label);
        if label == 1 {
            store.retain(1).unwrap();
        }
        store.subsume(label - 1).unwrap();
    }
    store.subsume(3).unwrap();
    until_kept(&store, &[1, 4]);
    let mut found = store.iterate(1).unwrap();
    assert_eq!(found.next().unwrap().unwrap().value, 1_u64.to_le_bytes());
    store.release(1).unwrap();
    until_kept(&store, &[4]);
    drop((writer, found));
    store.close().unwrap();
}

/// States that came after the checkpoint that the store was opened at were left out, or given under another's name.
#[test]
fn a_younger_checkpoint_is_not_read_with_other_states_than_its_own() {
    let (directory, engine) = (tempfile::tempdir().unwrap(), engine(16));
    let options = StoreOptions { retained_checkpoints: 2, ..options() };
    let store = Store::create(&engine, directory.path(), options.clone()).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    for (label, name) in [(1, "a"), (2, "b")] {
        let state = store.state(StateOptions::value(name)).unwrap();
        writer.put(state, store.key(b"k"), name.as_bytes()).unwrap();
        checkpoint(&store, label);
    }
    drop(writer);
    store.close().unwrap();
    let store = Store::open_checkpoint(&engine, directory.path(), 1, options).unwrap();
    let named = |label| -> Vec<String> { store.iterate(label).unwrap().map(|item| item.unwrap().state).collect() };
    assert_eq!(named(1), ["a"]);
    assert!(matches!(store.iterate(2), Err(Error::State { state, .. }) if state == "b"));
    store.state(StateOptions::value("c")).unwrap();
    assert!(matches!(store.iterate(2), Err(Error::State { state, .. }) if state == "b"));
    store.state(StateOptions::value("b")).unwrap();
    assert_eq!(named(1), ["a"]);
    store.close().unwrap();
}

/// Behind damage it gave what older layers have of the keys that the damaged one had overwritten.
#[test]
fn who_goes_through_a_checkpoint_gets_nothing_more_behind_damage() {
    let (directory, engine) = (tempfile::tempdir().unwrap(), engine(16));
    let (store, state, mut writer) = create(&engine, directory.path(), StateOptions::value("v"));
    let mut segments = Vec::new();
    for label in 1..=2_u8 {
        for key in 0..2_000_u32 {
            writer.put(state, Key::new(KeyGroup(3), &key.to_be_bytes()), &[label; 100]).unwrap();
        }
        checkpoint(&store, label.into());
        let files = store.files(label.into()).unwrap();
        let named = files.list().iter().map(|file| file.name.clone()).filter(|name| name.ends_with(".segment"));
        let new: Vec<String> = named.filter(|name| !segments.contains(name)).collect();
        segments.extend(new);
    }
    drop(writer);
    store.close().unwrap();
    assert_eq!(segments.len(), 2);
    let newest = directory.path().join(&segments[1]);
    let mut bytes = std::fs::read(&newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&newest, bytes).unwrap();

    let store = Store::open(&engine, directory.path(), options()).unwrap();
    let mut found = store.iterate(2).unwrap();
    let mut items = 0;
    let error = loop {
        match found.next().unwrap() {
            Ok(item) => assert_eq!(item.value, [2; 100]),
            Err(error) => break error,
        }
        items += 1;
    };
    assert!(items > 100 && error.class() == Class::Corrupt, "{items} before {error}");
    for _ in 0..2 {
        // Not the end: who doesn't heed an error must not take what came for all.
        assert_eq!(found.next().unwrap().unwrap_err().to_string(), error.to_string());
    }
    drop(found);
    store.close().unwrap();
}
