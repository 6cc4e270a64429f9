//! Ranges of a map deleted as a whole: each trap with its story, and random operations beside a model.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

#[path = "model/rng.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod rng;
#[path = "support/turns.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod turns;
#[path = "ranges/world.rs"]
mod world;

use alluvium::{
    Barrier, Batch, CheckpointInfo, Engine, EngineOptions, Error, Key, KeyGroup, MapRange, Operation, Pending, State,
    StateOptions, Store, StoreOptions, Writer,
};
use std::collections::BTreeSet;
use std::ops::{Bound, ControlFlow, Range};
use turns::in_turns;
use world::World;

/// `ALLUVIUM_TEST_SEED` runs one seed, `ALLUVIUM_TEST_ROUNDS` so many of them.
fn with_seeds(seeds: std::ops::Range<u64>, run: impl Fn(u64)) {
    let number = |name| std::env::var(name).ok().and_then(|text: String| text.parse::<u64>().ok());
    if let Some(seed) = number("ALLUVIUM_TEST_SEED") {
        return run(seed);
    }
    let end = number("ALLUVIUM_TEST_ROUNDS").map_or(seeds.end, |rounds| seeds.start + rounds);
    for seed in seeds.start..end {
        println!("ALLUVIUM_TEST_SEED={seed}");
        run(seed);
    }
}

fn run(seed: u64, steps: usize) {
    let spread = [30, 300, 3_000, 20_000][seed as usize % 4];
    let budget_bytes = [4 << 20, 8 << 20, 64 << 20][seed as usize % 3];
    in_turns(seed, || {
        let mut world = World::new(seed, budget_bytes, spread);
        for _ in 0..steps {
            world.step();
        }
        world.compare();
    });
}

#[test]
fn random_operations_beside_a_model() {
    with_seeds(0..12, |seed| run(seed, 3_000));
}

const BUDGET_BYTES: usize = 64 << 20;

fn engine(memory_budget_bytes: usize) -> Engine {
    Engine::open(EngineOptions { memory_budget_bytes, ..Default::default() }).unwrap()
}

/// A store with one map, under the empty key.
struct Story {
    directory: tempfile::TempDir,
    engine: Engine,
    store: Option<Store>,
    writer: Option<Writer>,
    map: State,
    label: u64,
}

const AT: Key<'static> = Key::new(KeyGroup(0), b"");

impl Story {
    fn new(budget_bytes: usize) -> Self {
        let (directory, engine) = (tempfile::tempdir().unwrap(), engine(budget_bytes));
        let store = Store::create(&engine, directory.path(), StoreOptions::default()).unwrap();
        let map = store.state(StateOptions::map("map")).unwrap();
        let writer = store.writer(store.range()).unwrap();
        Self { directory, engine, writer: Some(writer), store: Some(store), map, label: 0 }
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn writer(&mut self) -> &mut Writer {
        self.writer.as_mut().unwrap()
    }

    fn put(&mut self, times: impl IntoIterator<Item = u64>) {
        let map = self.map;
        for time in times {
            self.writer().map_put(map, AT, &time.to_be_bytes(), &time.to_le_bytes()).unwrap();
        }
    }

    fn delete(&mut self, times: Range<u64>) {
        let map = self.map;
        let (from, to) = (times.start.to_be_bytes(), times.end.to_be_bytes());
        let range = MapRange::between(Bound::Included(&from), Bound::Excluded(&to));
        self.writer().map_delete_range(map, AT, &range).unwrap();
    }

    fn barrier(&mut self) -> Pending {
        self.label += 1;
        let barrier = Barrier::new(self.label);
        self.writer().barrier(barrier).unwrap()
    }

    fn checkpoint(&mut self) -> CheckpointInfo {
        self.barrier().wait().unwrap()
    }

    /// What the writer finds, and a reader beside it.
    fn check(&mut self, wanted: impl Iterator<Item = u64> + Clone) {
        let map = self.map;
        let wanted: Vec<u64> = wanted.collect();
        for range in [MapRange::all(), MapRange::all().reversed()] {
            let mut found = Vec::new();
            self.writer()
                .map_scan(map, AT, &range, |user_key, value| {
                    let time = u64::from_be_bytes(user_key.try_into().unwrap());
                    assert_eq!(value, time.to_le_bytes());
                    found.push(time);
                    ControlFlow::Continue(())
                })
                .unwrap();
            if range.reverse {
                found.reverse();
            }
            assert!(found == wanted, "{} entries, should be {}", found.len(), wanted.len());
        }
        let first = self.writer().map_first(map, AT).unwrap().map(|(user_key, _)| user_key);
        assert_eq!(first, wanted.first().map(|time| time.to_be_bytes().to_vec()));
        let reader = self.store().reader();
        for time in (0..40).chain(wanted.iter().copied().take(40)) {
            let value = wanted.binary_search(&time).ok().map(|_| time.to_le_bytes().to_vec());
            assert_eq!(reader.map_get(map, AT, &time.to_be_bytes()).unwrap(), value, "{time}, by a reader");
            assert_eq!(self.writer().map_get(map, AT, &time.to_be_bytes()).unwrap(), value, "{time}");
        }
    }

    fn reopen(&mut self) {
        self.writer = None;
        self.store.take().unwrap().close().unwrap();
        let store = Store::open(&self.engine, self.directory.path(), StoreOptions::default()).unwrap();
        self.map = store.state(StateOptions::map("map")).unwrap();
        self.writer = Some(store.writer(store.range()).unwrap());
        self.store = Some(store);
    }

    /// The times of a checkpoint's entries.
    fn of_checkpoint(&self, label: u64) -> Vec<u64> {
        let items = self.store().iterate(label).unwrap().map(Result::unwrap);
        items.map(|item| u64::from_be_bytes(item.user_key.unwrap().try_into().unwrap())).collect()
    }

    /// Lets the store free what was cut off, bit by bit.
    fn go_on(&mut self) {
        let map = self.map;
        for _ in 0..2_000 {
            self.writer().map_get(map, AT, b"nothing").unwrap();
        }
    }
}

/// A few entries are deleted one by one, more are cut out of the order.
const SIZES: [u64; 3] = [10, 200, 20_000];

#[test]
fn what_is_put_before_a_range_is_deleted_goes_and_what_is_put_after_it_stays() {
    for size in SIZES {
        for freed in [false, true] {
            let mut story = Story::new(BUDGET_BYTES);
            story.put(0..size);
            story.delete(2..size - 2);
            story.check([0, 1, size - 2, size - 1].into_iter());
            if freed {
                story.go_on();
            }
            story.put(3..5);
            let wanted = [0, 1, 3, 4, size - 2, size - 1];
            story.check(wanted.into_iter());
            story.checkpoint();
            assert_eq!(story.of_checkpoint(1), wanted);
            story.check(wanted.into_iter());
            story.reopen();
            story.check(wanted.into_iter());
        }
    }
}

/// The range is deleted while the epoch of its entries is being flushed: they belong into that checkpoint, not into the next.
#[test]
fn an_epoch_that_is_being_flushed_keeps_what_is_deleted_later() {
    for size in SIZES {
        let mut story = Story::new(BUDGET_BYTES);
        story.put(0..size);
        let first = story.barrier();
        story.delete(0..size - 5);
        story.put(2..3);
        let wanted = || [2].into_iter().chain(size - 5..size);
        story.check(wanted());
        let second = story.barrier();
        first.wait().unwrap();
        story.store().retain(1).unwrap();
        second.wait().unwrap();
        assert_eq!(story.of_checkpoint(1), (0..size).collect::<Vec<_>>());
        assert_eq!(story.of_checkpoint(2), wanted().collect::<Vec<_>>());
        story.reopen();
        story.check(wanted());
    }
}

/// The marker in memory has the ranges of two epochs: were the second flush to write the first's range again, it would hide
/// what was put after that.
#[test]
fn a_flush_writes_the_ranges_of_its_own_epoch_alone() {
    for size in SIZES.map(|size| size.max(40)) {
        let mut story = Story::new(BUDGET_BYTES);
        story.put(0..size * 2);
        story.checkpoint();
        story.delete(0..size);
        story.put(5..10);
        let pending = story.barrier();
        story.delete(size..size + 10);
        let second = story.barrier();
        let wanted = || (5..10).chain(size + 10..size * 2);
        story.check(wanted());
        pending.wait().unwrap();
        second.wait().unwrap();
        story.check(wanted());
        story.reopen();
        story.check(wanted());
        // And the same range twice, with a put between.
        story.delete(0..8);
        story.put(6..7);
        story.checkpoint();
        story.delete(0..6);
        story.put(2..3);
        story.checkpoint();
        let wanted = || [2, 6, 8, 9].into_iter().chain(size + 10..size * 2);
        story.check(wanted());
        story.reopen();
        story.check(wanted());
        story.store().compact().unwrap();
        story.check(wanted());
    }
}

/// Each checkpoint deletes a range and puts something into the ranges before: merged, their Clears are one, which hides what
/// is older than all of them and nothing else.
#[test]
fn merged_layers_hide_what_each_of_them_hid() {
    let mut story = Story::new(BUDGET_BYTES);
    let mut model = BTreeSet::new();
    story.put(0..3_000);
    model.extend(0..3_000_u64);
    story.checkpoint();
    for step in 0..60_u64 {
        let from = step * 37 % 2_900;
        story.delete(from..from + 60);
        model.retain(|time| !(from..from + 60).contains(time));
        let new = [from + 30, (from + 1_500) % 3_000, from.saturating_sub(20)];
        story.put(new);
        model.extend(new);
        story.checkpoint();
        if step % 10 == 9 {
            story.reopen();
        }
        story.check(model.iter().copied());
        assert_eq!(story.of_checkpoint(story.label), model.iter().copied().collect::<Vec<_>>());
    }
    story.store().compact().unwrap();
    story.check(model.iter().copied());
}

/// Windows that open and close between two barriers leave nothing on disk, not even that they were deleted.
#[test]
fn windows_of_one_epoch_never_reach_the_disk() {
    for size in SIZES {
        let mut story = Story::new(BUDGET_BYTES);
        let values = story.store().state(StateOptions::value("values")).unwrap();
        story.writer().put(values, AT, b"something else").unwrap();
        let segments = story.checkpoint().segments;
        for round in 0..3 {
            story.put(0..size);
            let map = story.map;
            story.writer().map_expire(map, AT, size).unwrap();
            story.check(std::iter::empty());
            let info = story.checkpoint();
            assert_eq!((info.segments, info.new_segments), (segments, 0), "{size} entries, round {round}");
            story.go_on();
        }
        story.reopen();
        story.check(std::iter::empty());
    }
}

/// One range a flush, however many steps there were, and a few bytes.
#[test]
fn successive_steps_of_retention_are_one_range() {
    let mut story = Story::new(BUDGET_BYTES);
    story.put(0..10_000);
    story.checkpoint();
    let map = story.map;
    for before in 1..5_000 {
        story.writer().map_expire(map, AT, before).unwrap();
    }
    story.check(4_999..10_000);
    let info = story.checkpoint();
    assert!(info.changed_bytes <= 32, "{} bytes", info.changed_bytes);
    story.reopen();
    story.check(4_999..10_000);
}

/// More ranges than a marker takes: entry by entry, with the same outcome.
#[test]
fn very_many_ranges_that_are_apart() {
    let mut story = Story::new(BUDGET_BYTES);
    story.put(0..20_000);
    story.checkpoint();
    for range in 0..400 {
        story.delete(range * 40..range * 40 + 20);
    }
    story.delete(16_000..19_000);
    let wanted =
        || (0..20_000_u64).filter(|time| time % 40 >= 20 || *time >= 16_000).filter(|t| !(16_000..19_000).contains(t));
    story.check(wanted());
    story.checkpoint();
    story.check(wanted());
    story.reopen();
    story.check(wanted());
}

/// What is hidden on disk is passed over, not gone through, in both directions, before the deletion is flushed and after it.
#[test]
fn hidden_runs_are_not_gone_through() {
    let mut story = Story::new(4 << 20);
    const N: u64 = 400_000;
    story.put(0..N);
    story.checkpoint();
    story.reopen();
    story.delete(10..N - 10);
    for flushed in [false, true] {
        if flushed {
            story.checkpoint();
            story.reopen();
        }
        let before = story.store().metrics().io.read_bytes;
        story.check((0..10).chain(N - 10..N));
        let read = story.store().metrics().io.read_bytes - before;
        assert!(read < 1 << 20, "{read} bytes read, flushed: {flushed}");
    }
}

/// A read that was submitted before sees what was there; it isn't kept in memory, where it would live again.
#[test]
fn an_answer_of_before_is_given_and_not_kept() {
    for flushed in [false, true] {
        let mut story = Story::new(BUDGET_BYTES);
        story.put(0..1_000);
        story.checkpoint();
        story.reopen();
        let map = story.map;
        let user_key = 5_u64.to_be_bytes();
        let mut batch = Batch::new();
        batch.push(map, AT, Operation::MapGet(&user_key));
        let mut ticket = story.writer().submit(&batch).unwrap();
        story.delete(0..500);
        if flushed {
            story.checkpoint();
        }
        ticket.wait();
        let answers = story.writer().poll(&mut ticket).unwrap();
        assert_eq!(answers[0].value().unwrap(), Some(&5_u64.to_le_bytes()[..]));
        story.check(500..1_000);
    }
}

/// A map that is popped knows below what nothing lives; a range that goes, and what is put into it, must not confuse that.
#[test]
fn a_map_that_is_popped_and_deleted_from_in_turns() {
    let mut story = Story::new(4 << 20);
    story.put(0..30_000);
    story.checkpoint();
    story.reopen();
    let map = story.map;
    let mut model: BTreeSet<u64> = (0..30_000).collect();
    for step in 0..200_u64 {
        for _ in 0..20 {
            let popped = story.writer().map_pop_first(map, AT).unwrap().map(|(user_key, _)| user_key);
            assert_eq!(popped, model.pop_first().map(|time| time.to_be_bytes().to_vec()), "step {step}");
        }
        let from = if step % 3 == 0 { 0 } else { step * 100 + 50 };
        story.delete(from..step * 100 + 70);
        model.retain(|time| !(from..step * 100 + 70).contains(time));
        if step % 5 == 0 {
            story.put([step * 90, step * 100 + 60]);
            model.extend([step * 90, step * 100 + 60]);
        }
        if step % 20 == 10 {
            story.checkpoint();
        }
    }
    story.check(model.iter().copied());
}

#[test]
fn empty_ranges_and_bounds_that_are_too_long() {
    let mut story = Story::new(BUDGET_BYTES);
    story.put(0..100);
    let map = story.map;
    story.delete(50..50);
    let (from, to) = (60, 50);
    story.delete(from..to);
    story.writer().map_expire(map, AT, 0).unwrap();
    story.check(0..100);
    let long = vec![0; 70_000];
    let range = MapRange::between(Bound::Unbounded, Bound::Excluded(&long));
    let refused = story.writer().map_delete_range(map, AT, &range).unwrap_err();
    assert!(matches!(refused, Error::TooLong { .. }), "{refused}");
    let values = story.store().state(StateOptions::value("values")).unwrap();
    assert!(story.writer().map_expire(values, AT, 5).is_err());
    story.delete(0..100);
    story.check(std::iter::empty());
}

/// What was deleted by range kept its room until other writes made a merge due, however little was left.
#[test]
fn what_is_deleted_gives_its_room_back() {
    let mut story = Story::new(BUDGET_BYTES);
    let map = story.map;
    for time in 0..100_000_u64 {
        let value = rng::Rng::new(time).bytes(100);
        story.writer().map_put(map, AT, &time.to_be_bytes(), &value).unwrap();
    }
    story.checkpoint();
    story.store().compact().unwrap();
    story.checkpoint();
    let whole = story.store().metrics().segment_bytes;
    let merged = story.store().metrics().compacted_bytes;
    // A window after the other.
    for before in (0..=90_000).step_by(10_000) {
        story.writer().map_expire(map, AT, before).unwrap();
        story.checkpoint();
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        // Files go with the next checkpoint.
        story.writer().map_put(map, AT, &200_000_u64.to_be_bytes(), b"1").unwrap();
        story.checkpoint();
        let metrics = story.store().metrics();
        if metrics.segment_bytes < whole / 3 {
            let written = metrics.compacted_bytes - merged;
            // Each window was counted once: a third goes at a time.
            assert!(written < 2 * whole, "{written} bytes were written to give back {whole}");
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{} of {whole} bytes are left", metrics.segment_bytes);
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    story.writer().map_delete(map, AT, &200_000_u64.to_be_bytes()).unwrap();
    let mut left = 0;
    let count = |_: &[u8], _: &[u8]| {
        left += 1;
        ControlFlow::Continue(())
    };
    story.writer().map_scan(map, AT, &MapRange::all(), count).unwrap();
    assert_eq!(left, 10_000);
}
