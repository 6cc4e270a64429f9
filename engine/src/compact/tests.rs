//! How many files are new to a checkpoint, and that what is merged for several slices at once is what was there.

use super::pick::BOTTOM;
use crate::{
    Barrier, CheckpointSource, Engine, EngineOptions, KeyGroupRange, State, StateOptions, Store, StoreOptions, Writer,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;

/// A checkpoint has at most so many files that the one before it did not name.
const NEW_MAX: usize = 20;
const VALUE_BYTES: usize = 200;

/// As large as what a thousandfold budget and a thousandfold fragment would hold.
const BUDGET_BYTES: usize = 4 << 20;
const FRAGMENT_BYTES: u64 = 256 << 10;

struct Job {
    store: Store,
    writer: Writer,
    state: State,
    random: u64,
    /// By key, what was written last.
    written: BTreeMap<u32, u64>,
    label: u64,
    new_files: Vec<usize>,
}

fn options(range: KeyGroupRange) -> StoreOptions {
    StoreOptions { compress: false, range, ..StoreOptions::default() }
}

fn whole() -> KeyGroupRange {
    KeyGroupRange::new(0, 127)
}

fn value(number: u64) -> [u8; VALUE_BYTES] {
    let mut value = [0; VALUE_BYTES];
    for (at, chunk) in value.chunks_mut(8).enumerate() {
        chunk.copy_from_slice(&(number ^ at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
    }
    value
}

impl Job {
    fn over(store: Store) -> Self {
        store.inner.compaction.fragment_bytes.store(FRAGMENT_BYTES, Ordering::Relaxed);
        let state = store.state(StateOptions::value("v")).unwrap();
        let writer = store.writer(store.range()).unwrap();
        Self { store, writer, state, random: 1, written: BTreeMap::new(), label: 0, new_files: Vec::new() }
    }

    fn holds(&self, key: u32) -> bool {
        self.store.range().contains(self.store.key(&key.to_le_bytes()).group)
    }

    fn put(&mut self, key: u32) {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let number = self.random >> 16;
        self.writer.put(self.state, self.store.key(&key.to_le_bytes()), &value(number)).unwrap();
        self.written.insert(key, number);
    }

    fn update(&mut self, keys: u32, count: u32) {
        for _ in 0..count {
            let key = (self.random >> 33) as u32 % keys;
            self.put(key);
        }
    }

    fn checkpoint(&mut self) {
        self.label += 1;
        let info = self.store.barrier(Barrier::new(self.label)).unwrap().wait().unwrap();
        self.new_files.push(info.new_segments);
    }

    /// Waits until all is merged that is to be.
    fn settle(&self) {
        self.store.inner.queue.wait_idle();
        self.store.inner.compaction.wait_idle();
    }

    fn check(&mut self) {
        let reader = self.store.reader();
        for (key, number) in &self.written {
            let found = reader.get(self.state, self.store.key(&key.to_le_bytes())).unwrap();
            assert!(found.is_some_and(|found| found == value(*number)), "key {key}");
        }
    }

    fn slices(&self) -> usize {
        self.store.inner.version.lock().slices.len()
    }
}

fn create(engine: &Engine, path: &Path, range: KeyGroupRange) -> Job {
    Job::over(Store::create(engine, path, options(range)).unwrap())
}

fn engine() -> Engine {
    Engine::open(EngineOptions { memory_budget_bytes: BUDGET_BYTES, threads: 2, ..EngineOptions::default() }).unwrap()
}

impl Job {
    /// Updates at random, with as much merging as there is to be before each checkpoint; then all that is there.
    fn run(&mut self, keys: u32, updates: u32, rounds: usize) {
        for _ in 0..rounds {
            self.update(keys, updates);
            self.settle();
            self.checkpoint();
        }
        self.check();
        let (slices, metrics) = (self.slices(), self.store.metrics());
        let merged = metrics.compacted_bytes as f64 / metrics.flushed_bytes as f64;
        println!("{slices} slices, new files {:?}, merged / flushed {merged:.2}", self.new_files);
    }

    fn assert_few(&self, from: usize) {
        let few = self.new_files[from..].iter().all(|&files| files <= NEW_MAX);
        assert!(few && self.new_files.len() > from, "{:?}", self.new_files);
    }
}

/// The bottom is cut into no more segments than may all be new, so it doesn't matter how much is updated.
#[test]
fn all_files_of_a_small_store_may_be_new() {
    let (engine, directory) = (engine(), tempfile::tempdir().unwrap());
    let mut job = create(&engine, directory.path(), whole());
    let keys = 48_000;
    (0..keys).for_each(|key| job.put(key));
    job.checkpoint();
    job.run(keys, 40_000, 12);
    // Cut by what is left of them, not by what was merged: else there are twice as many, of half the length.
    assert!((7..=14).contains(&job.slices()), "{}", job.slices());
    job.assert_few(0);
}

/// A bottom of more segments than that: merges wait for the next checkpoint where it comes soon enough.
#[test]
fn merges_of_a_large_store_are_spread_over_checkpoints() {
    let (engine, directory) = (engine(), tempfile::tempdir().unwrap());
    let mut job = create(&engine, directory.path(), whole());
    let keys = 120_000;
    (0..keys).for_each(|key| job.put(key));
    job.checkpoint();
    job.run(keys, 9_000, 20);
    assert!(job.slices() > NEW_MAX, "{}", job.slices());
    // What was one slice was cut into all of them at once.
    job.assert_few(3);
}

/// A store that was put together from many has a slice of each: they are merged into fewer.
#[test]
fn small_neighbours_become_one() {
    let (engine, parts) = (engine(), 32_u16);
    let mut sources = Vec::new();
    let mut written = BTreeMap::new();
    for part in 0..parts {
        let directory = tempfile::tempdir().unwrap();
        let mut job = create(&engine, directory.path(), KeyGroupRange::new(part * 4, part * 4 + 3));
        let keys: Vec<u32> = (0..20_000).filter(|key: &u32| job.holds(*key)).collect();
        keys.into_iter().for_each(|key| job.put(key));
        job.checkpoint();
        written.extend(std::mem::take(&mut job.written));
        sources.push((directory, job));
    }
    let sources: Vec<tempfile::TempDir> = sources
        .into_iter()
        .map(|(directory, job)| {
            drop(job.writer);
            job.store.close().unwrap();
            directory
        })
        .collect();
    let checkpoints: Vec<CheckpointSource> = sources
        .iter()
        .map(|directory| CheckpointSource { directory: directory.path().to_owned(), label: None })
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let store = Store::restore(&engine, directory.path(), &checkpoints, options(whole())).unwrap();
    let mut job = Job::over(store);
    job.written = written;
    assert_eq!(job.slices(), usize::from(parts));
    job.run(20_000, 4_000, 14);
    assert!(job.slices() <= 20, "{}", job.slices());
    job.assert_few(0);
    job.store.compact().unwrap();
    job.check();
    let version = job.store.inner.version.lock().clone();
    assert!(version.slices.iter().all(|slice| slice.layers.iter().all(|layer| layer.segment.meta().level == BOTTOM)));
}

/// State that is deleted key by key gives its room back without anything else being written: 30 bytes of each tombstone were too
/// few to have the records below them merged away.
#[test]
fn what_is_deleted_by_key_leaves_the_disk() {
    for rounds in [1, 8] {
        let (engine, directory) = (engine(), tempfile::tempdir().unwrap());
        let mut job = create(&engine, directory.path(), whole());
        for _ in 0..rounds {
            (0..20_000).for_each(|key| job.put(key));
            job.checkpoint();
            job.settle();
        }
        let bytes = |job: &Job| job.store.metrics().segment_bytes;
        let full = bytes(&job);
        // All but one in twenty.
        for key in (0..20_000_u32).filter(|key| key % 20 > 0) {
            job.writer.delete(job.state, job.store.key(&key.to_le_bytes())).unwrap();
            job.written.remove(&key);
        }
        job.checkpoint();
        job.settle();
        // What was merged leaves with the next checkpoint.
        job.checkpoint();
        assert!(bytes(&job) < full / 8, "{rounds} rounds: {} of {full} bytes are left", bytes(&job));
        job.check();
    }
}

/// Records that come and go in the overlay don't count against a bottom that they never reach: its records are large and stay, and
/// were taken for deleted.
#[test]
fn what_comes_and_goes_above_leaves_the_bottom_alone() {
    let (engine, directory) = (engine(), tempfile::tempdir().unwrap());
    let mut job = create(&engine, directory.path(), whole());
    (0..2_000).for_each(|key| job.put(key));
    job.checkpoint();
    job.store.compact().unwrap();
    let (full, before) = (job.store.metrics().segment_bytes, job.store.metrics().compacted_bytes);
    let small = job.store.state(StateOptions::value("small")).unwrap();
    for round in 0..20_u32 {
        for is_put in [true, false] {
            for key in (0..500).map(|key| round * 500 + key) {
                let bytes = key.to_le_bytes();
                let key = job.store.key(&bytes);
                if is_put { job.writer.put(small, key, b"here") } else { job.writer.delete(small, key) }.unwrap();
            }
            job.checkpoint();
            job.settle();
        }
    }
    let merged = job.store.metrics().compacted_bytes - before;
    assert!(merged < full * 8, "{merged} bytes merged over a bottom of {full}");
    job.check();
}

/// What is new and goes before it was ever flushed leaves nothing on disk, however it goes, though others of its table are there.
#[test]
fn what_comes_and_goes_between_cuts_leaves_no_tombstones() {
    let (engine, directory) = (engine(), tempfile::tempdir().unwrap());
    let mut job = create(&engine, directory.path(), whole());
    (0..48_000).for_each(|key| job.put(key));
    job.checkpoint();
    job.store.compact().unwrap();
    let tombstones = |job: &Job| -> u64 {
        job.store.inner.version.lock().segments().iter().map(|segment| segment.meta().tombstones).sum()
    };
    assert_eq!(tombstones(&job), 0);
    let count = 3_000_u32;
    for (key, way) in (0..count).map(|n| (1_000_000 + n, n % 3)) {
        let bytes = key.to_le_bytes();
        let key = job.store.key(&bytes);
        job.writer.put(job.state, key, b"soon gone").unwrap();
        match way {
            0 => job.writer.delete(job.state, key).unwrap(),
            1 => job.writer.update(job.state, key, |_| None::<[u8; 1]>).unwrap(),
            _ => job.writer.update_many(job.state, &[key], |_, _| None::<[u8; 1]>).unwrap(),
        }
    }
    job.checkpoint();
    // A filter that says perhaps makes some.
    assert!(tombstones(&job) < u64::from(count) / 20, "{} of {count}", tombstones(&job));
    job.check();
}

/// A merge that is only timed can be done any number of times: it neither takes its inputs' place nor leaves files.
#[test]
fn a_measured_merge_leaves_the_store_as_it_is() {
    let (engine, directory) = (engine(), tempfile::tempdir().unwrap());
    let mut job = create(&engine, directory.path(), whole());
    assert!(super::measuring::Merge::of(&job.store).is_none());
    for _ in 0..3 {
        (0..1000).for_each(|key| job.put(key));
        job.checkpoint();
    }
    // A checkpoint removes what it subsumed behind it.
    job.settle();
    let files = || job.store.inner.storage.names().unwrap().len();
    let (before, merge) = (files(), super::measuring::Merge::of(&job.store).unwrap());
    assert_eq!((merge.inputs(), merge.records()), (3, 3000));
    for _ in 0..2 {
        assert_eq!(merge.run().unwrap(), 1000);
        assert_eq!(files(), before);
    }
    job.check();
}

/// Two stores put together, with two writers: what one has staged and spilled lies in one of the slices alone. A layer
/// above it was merged into the bottom of the other slice, and lay on top of both when they were one: it counted twice.
#[test]
fn slices_are_not_joined_under_what_is_staged() {
    use crate::{Commit, Key, KeyGroup, MergeOperator};
    let engine = engine();
    let sum = || StateOptions::merging("sum", MergeOperator::U64Add);
    let at = |group| Key::new(KeyGroup(group), b"k");
    let parts = [(0, 63), (64, 127)].map(|(first, last)| {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::create(&engine, directory.path(), options(KeyGroupRange::new(first, last))).unwrap();
        let (state, mut writer) = (store.state(sum()).unwrap(), store.writer(store.range()).unwrap());
        for group in [6_u16, 40, 100].into_iter().filter(|group| (first..=last).contains(group)) {
            writer.put(state, at(group), &10_u64.to_le_bytes()).unwrap();
        }
        store.barrier(Barrier::new(1)).unwrap().wait().unwrap();
        drop(writer);
        store.close().unwrap();
        directory
    });
    let sources = parts.each_ref().map(|part| CheckpointSource { directory: part.path().to_owned(), label: None });
    let directory = tempfile::tempdir().unwrap();
    let transactional = StoreOptions { transactional: true, ..options(whole()) };
    let store = Store::restore(&engine, directory.path(), &sources, transactional).unwrap();
    let state = store.state(sum()).unwrap();
    let mut staging = store.writer(KeyGroupRange::new(0, 31)).unwrap();
    let mut other = store.writer(KeyGroupRange::new(32, 127)).unwrap();
    let one = 1_u64.to_le_bytes();
    other.merge(state, at(40), &one).unwrap();
    other.merge(state, at(100), &one).unwrap();
    store.commit(Commit::default()).unwrap();
    staging.merge(state, at(6), &one).unwrap();
    {
        let _sealing = store.inner.queue.sealing.lock();
        let shard = store.inner.shards.lock()[0].clone();
        let mut core = shard.cell.borrow();
        core.settle(&shard);
        let sealed = core.hot.seal_staged(store.inner.next_epoch()).unwrap();
        drop(core);
        store.inner.queue.push(&store.inner, crate::flush::Job::spill(vec![(shard, sealed)]));
    }
    store.inner.queue.wait_idle();
    store.barrier(Barrier::new(2)).unwrap().wait().unwrap();
    let sums = || {
        let get = |group| store.reader().get(state, at(group)).unwrap().unwrap();
        [6, 40, 100].map(|group| u64::from_le_bytes(get(group).try_into().unwrap()))
    };
    assert_eq!(sums(), [11; 3]);
    store.compact().unwrap();
    assert_eq!(sums(), [11; 3]);
    store.commit(Commit::default()).unwrap();
    store.barrier(Barrier::new(3)).unwrap().wait().unwrap();
    store.compact().unwrap();
    assert_eq!(sums(), [11; 3]);
}

/// A list that has become too long for one record failed the store when it was merged. Its slice is left as it is, and merged when the list
/// was deleted.
#[test]
fn a_slice_with_a_list_that_is_too_long_is_left_until_that_is_gone() {
    let (engine, directory) = (engine(), tempfile::tempdir().unwrap());
    let mut job = create(&engine, directory.path(), whole());
    job.store.inner.compaction.value_bytes_max.store(1_000, Ordering::Relaxed);
    let list = job.store.state(StateOptions::list("list")).unwrap();
    let mut elements: Vec<Vec<u8>> = Vec::new();
    let layers =
        |job: &Job| job.store.inner.version.lock().slices.iter().map(|slice| slice.layers.len()).max().unwrap();
    for round in 0..20_u8 {
        elements.push(vec![round; 150]);
        job.writer.append(list, job.store.key(b"long"), &[round; 150]).unwrap();
        (0..50).for_each(|key| job.put(u32::from(round) * 10 + key));
        job.checkpoint();
        job.settle();
        assert!(job.store.inner.failure.lock().is_none(), "round {round}");
        assert_eq!(job.writer.list(list, job.store.key(b"long")).unwrap(), elements, "round {round}");
        job.check();
    }
    assert!(layers(&job) > 6, "{} layers: too long for one record", layers(&job));
    let refused = job.store.compact().unwrap_err();
    assert!(matches!(refused, crate::Error::TooLong { max_bytes: 1_000, .. }), "{refused}");

    job.writer.delete(list, job.store.key(b"long")).unwrap();
    for round in 0..40 {
        (0..50).for_each(|key| job.put(round * 10 + key));
        job.checkpoint();
        job.settle();
    }
    assert!(layers(&job) <= 14, "{} layers", layers(&job));
    job.store.compact().unwrap();
    assert_eq!(job.writer.list(list, job.store.key(b"long")).unwrap(), Vec::<Vec<u8>>::new());
    job.check();
}
