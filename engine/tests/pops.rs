//! Where memory is scarce: maps that are popped from the front, many of them or with large entries, and a budget that
//! was lowered.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

use alluvium::{
    Barrier, Engine, EngineOptions, Key, KeyGroup, MapRange, State, StateOptions, Store, StoreOptions, Writer,
};
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::time::{Duration, Instant};

/// So many ranges of a map are kept apart.
const RANGES: u32 = 256;
/// So many entries lie before them.
const BEGIN: u32 = 60_000;

fn engine(budget_mib: usize) -> Engine {
    Engine::open(EngineOptions { memory_budget_bytes: budget_mib << 20, ..Default::default() }).unwrap()
}

fn create(engine: &Engine, path: &Path) -> (Store, Writer, State) {
    let store = Store::create(engine, path, StoreOptions::default()).unwrap();
    let state = store.state(StateOptions::map("maps")).unwrap();
    let writer = store.writer(store.range()).unwrap();
    (store, writer, state)
}

fn checkpoint(store: &Store, label: u64) {
    store.barrier(Barrier::new(label)).unwrap().wait().unwrap();
}

/// Waits until only the block cache has memory: a thread of the engine may let go of a closed store a moment later.
fn all_is_given_back(engine: &Engine) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while engine.used_bytes() != engine.budget_bytes() / 16 {
        assert!(Instant::now() < deadline, "stores that are gone still have memory: {} bytes", engine.used_bytes());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Closes the store and opens it again: nothing is in memory then.
fn again(engine: &Engine, path: &Path, store: Store, writer: Writer) -> (Store, Writer, State) {
    drop(writer);
    store.close().unwrap();
    all_is_given_back(engine);
    let store = Store::open(engine, path, StoreOptions::default()).unwrap();
    let state = store.state(StateOptions::map("maps")).unwrap();
    let writer = store.writer(store.range()).unwrap();
    (store, writer, state)
}

/// The name of a map; long, so that few of them fill memory.
fn name(map: u32) -> Vec<u8> {
    [&map.to_be_bytes()[..], &[b'k'; 300]].concat()
}

/// Each popped map kept its empty container, for what it knows of the disk, and eviction passed it by: after some tens
/// of thousands of maps memory was full of them, and nothing could be written any more.
#[test]
fn maps_that_were_popped_leave_memory() {
    const MAPS: u32 = 12_000;
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(4);
    let (store, mut writer, state) = create(&engine, directory.path());
    for map in 0..MAPS {
        writer.map_put(state, store.key(&name(map)), b"u", &[1; 20]).unwrap();
    }
    for map in 0..MAPS {
        let popped = writer.map_pop_first(state, store.key(&name(map)));
        assert_eq!(popped.unwrap(), Some((b"u".to_vec(), vec![1; 20])), "of map {map}");
        assert!(engine.used_bytes() <= engine.budget_bytes() + (256 << 10), "{} bytes used", engine.used_bytes());
    }
    for map in (0..MAPS).step_by(37) {
        let key = name(map);
        assert_eq!(writer.map_first(state, store.key(&key)).unwrap(), None);
        writer.map_put(state, store.key(&key), b"v", b"again").unwrap();
        assert_eq!(writer.map_first(state, store.key(&key)).unwrap(), Some((b"v".to_vec(), b"again".to_vec())));
    }
    drop(writer);
    store.close().unwrap();
    all_is_given_back(&engine);
}

/// To look at maps that aren't there left a container for each.
#[test]
fn maps_that_are_absent_take_no_memory() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(4);
    let (store, mut writer, state) = create(&engine, directory.path());
    for map in 0..1_000_u32 {
        writer.map_put(state, store.key(&name(map)), b"u", b"1").unwrap();
    }
    checkpoint(&store, 1);
    let (store, mut writer, state) = again(&engine, directory.path(), store, writer);
    let before = engine.used_bytes();
    for map in 1_000..13_000_u32 {
        assert_eq!(writer.map_first(state, store.key(&name(map))).unwrap(), None);
        assert_eq!(writer.map_pop_first(state, store.key(&name(map))).unwrap(), None);
    }
    // The filter lets some through, and those are remembered for a while.
    let taken = engine.used_bytes().saturating_sub(before);
    assert!(taken < 512 << 10, "{taken} bytes for maps that aren't there");
    for map in 0..1_000_u32 {
        let key = name(map);
        assert_eq!(writer.map_first(state, store.key(&key)).unwrap(), Some((b"u".to_vec(), b"1".to_vec())));
    }
}

/// A pop loads the next entries in a run, and refused where the whole run found no room in memory.
#[test]
fn entries_larger_than_memory_are_popped() {
    const ENTRIES: u32 = 120;
    let value = |n: u32| vec![n as u8; 200_000];
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(8);
    let (store, mut writer, state) = create(&engine, directory.path());
    let key = store.key(b"map");
    for n in 0..ENTRIES {
        writer.map_put(state, key, &n.to_be_bytes(), &value(n)).unwrap();
    }
    checkpoint(&store, 1);
    for n in 0..ENTRIES {
        let wanted = Some((n.to_be_bytes().to_vec(), value(n)));
        assert!(writer.map_first(state, key).unwrap() == wanted, "the first is not entry {n}");
        assert!(writer.map_pop_first(state, key).unwrap() == wanted, "what was popped is not entry {n}");
        if n % 16 == 0 {
            // What comes before everything that was loaded is found as well.
            writer.map_put(state, key, &(n / 2).to_be_bytes(), b"early").unwrap();
            let early = Some(((n / 2).to_be_bytes().to_vec(), b"early".to_vec()));
            assert_eq!(writer.map_pop_first(state, key).unwrap(), early);
        }
    }
    assert_eq!(writer.map_pop_first(state, key).unwrap(), None);
}

/// Memory is full of what can't leave, so that not one entry can be kept: it is answered as it was read.
#[test]
fn an_entry_that_does_not_fit_into_memory_is_found() {
    let value = |n: u32| vec![n as u8; 3 << 20];
    let directory = tempfile::tempdir().unwrap();
    let large = engine(32);
    let (store, mut writer, state) = create(&large, directory.path());
    for n in 0..3_u32 {
        writer.map_put(state, store.key(b"map"), &n.to_be_bytes(), &value(n)).unwrap();
    }
    writer.map_put(state, store.key(b"map"), &7_u32.to_be_bytes(), b"small").unwrap();
    checkpoint(&store, 1);
    drop(writer);
    store.close().unwrap();
    let small = engine(4);
    let store = Store::open(&small, directory.path(), StoreOptions::default()).unwrap();
    let state = store.state(StateOptions::map("maps")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    let key = store.key(b"map");
    let filler = vec![0; 512 << 10];
    for n in 0..2_u32 {
        writer.map_put(state, store.key(b"filler"), &n.to_be_bytes(), &filler).unwrap();
    }
    for n in 0..3_u32 {
        let wanted = Some((n.to_be_bytes().to_vec(), value(n)));
        assert!(writer.map_first(state, key).unwrap() == wanted, "the first is not entry {n}");
        assert!(writer.map_pop_first(state, key).unwrap() == wanted, "what was popped is not entry {n}");
    }
    assert_eq!(writer.map_pop_first(state, key).unwrap(), Some((7_u32.to_be_bytes().to_vec(), b"small".to_vec())));
    assert_eq!(writer.map_pop_first(state, key).unwrap(), None);
}

/// The block cache kept the sixteenth of the budget that the engine had begun with: all of a budget that was lowered to
/// that, so that nothing could be written.
#[test]
fn a_budget_can_be_lowered_to_what_the_block_cache_was() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(256);
    let (store, mut writer, state) = create(&engine, directory.path());
    for budget_mib in [16, 4, 64] {
        engine.set_budget_bytes(budget_mib << 20).unwrap();
        for n in 0..3_000_u32 {
            writer.map_put(state, store.key(b"map"), &n.to_be_bytes(), &[budget_mib as u8; 2_000]).unwrap();
        }
        let used = engine.used_bytes();
        assert!(used <= (budget_mib << 20) + (128 << 10), "{used} bytes used of {budget_mib} MiB");
    }
    for n in 0..3_000_u32 {
        assert_eq!(writer.map_get(state, store.key(b"map"), &n.to_be_bytes()).unwrap().unwrap(), [64; 2_000]);
    }
}

/// Numbers drawn one after the other from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

/// A queue on disk that is taken from as time goes on: what was taken must be passed by, in memory, on disk, and opened anew.
#[test]
fn a_queue_is_emptied_as_time_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(4);
    let (mut store, mut writer, mut state) = create(&engine, directory.path());
    let key = Key::new(KeyGroup(0), b"");
    let mut model = BTreeMap::new();
    let mut random = Random(7);
    let timer = |due: u64, n: u64| [due.to_be_bytes(), n.to_be_bytes()].concat();
    for n in 0..60_000_u64 {
        let user_key = timer(random.below(100_000) as u64, n);
        writer.map_put(state, key, &user_key, &n.to_le_bytes()).unwrap();
        model.insert(user_key, n.to_le_bytes().to_vec());
    }
    for step in 1..=100_u64 {
        let now = step * 1_000;
        for n in 0..50 {
            let user_key = timer(now + random.below(2_000) as u64, step * 1_000_000 + n);
            writer.map_put(state, key, &user_key, b"late").unwrap();
            model.insert(user_key, b"late".to_vec());
        }
        let mut popped = Vec::new();
        let take = |user_key: &[u8], value: &[u8]| popped.push((user_key.to_vec(), value.to_vec()));
        writer.map_pop_below(state, key, &now.to_be_bytes(), take).unwrap();
        let rest = model.split_off(&now.to_be_bytes()[..]);
        let due = std::mem::replace(&mut model, rest);
        assert!(popped.into_iter().eq(due), "step {step}: not what was due");
        let first = model.first_key_value().map(|(user_key, value)| (user_key.clone(), value.clone()));
        assert_eq!(writer.map_first(state, key).unwrap(), first, "step {step}");
        if step % 7 == 0 {
            checkpoint(&store, step);
        }
        if step % 40 == 0 {
            checkpoint(&store, 1_000 + step);
            (store, writer, state) = again(&engine, directory.path(), store, writer);
        }
    }
}

/// A map with as many deleted ranges as are kept apart is popped entry by entry, while memory runs out again and again: what was taken
/// before it did was given to nobody.
#[test]
fn what_is_popped_is_given_though_memory_runs_out_half_way() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(4);
    let (store, mut writer, state) = create(&engine, directory.path());
    let key = Key::new(KeyGroup(0), b"");
    let mut model = BTreeMap::new();
    // Of the later entries every second one will be deleted.
    let named = |n: u32| [&n.to_be_bytes()[..], &[b'u'; 100]].concat();
    for n in 0..BEGIN + 2 * RANGES {
        writer.map_put(state, key, &named(n), &n.to_le_bytes()).unwrap();
        model.insert(named(n), n.to_le_bytes().to_vec());
    }
    checkpoint(&store, 1);
    let (_store, mut writer, state) = again(&engine, directory.path(), store, writer);
    for n in (BEGIN..BEGIN + 2 * RANGES).step_by(2) {
        let (from, to) = (named(n), named(n + 1));
        let range = MapRange::between(Bound::Included(&from), Bound::Excluded(&to));
        writer.map_delete_range(state, key, &range).unwrap();
        model.remove(&from);
    }
    let mut popped = Vec::new();
    let take = |user_key: &[u8], value: &[u8]| popped.push((user_key.to_vec(), value.to_vec()));
    writer.map_pop_below(state, key, &named(BEGIN), take).unwrap();
    let rest = model.split_off(&named(BEGIN));
    assert_eq!(popped.len(), model.len(), "so many were given, and so many were due");
    assert!(popped.into_iter().eq(model), "not what was due");
    let mut left = BTreeMap::new();
    let visit = |user_key: &[u8], value: &[u8]| {
        left.insert(user_key.to_vec(), value.to_vec());
        ControlFlow::Continue(())
    };
    writer.map_scan(state, key, &MapRange::all(), visit).unwrap();
    assert!(left == rest, "{} entries are left of {}", left.len(), rest.len());
}

/// Pops some of a map, as many as may be, and the same of a model.
fn pop_below(
    writer: &mut Writer,
    (state, key): (State, Key<'_>),
    below: &[u8],
    bytes_max: usize,
    model: &mut BTreeMap<Vec<u8>, Vec<u8>>,
) {
    let mut popped = Vec::new();
    let take = |user_key: &[u8], value: &[u8]| popped.push((user_key.to_vec(), value.to_vec()));
    let more = writer.map_pop_below_up_to(state, key, below, bytes_max, take).unwrap();
    let (mut due, mut bytes) = (Vec::new(), 0);
    while let Some(first) = model.first_entry().filter(|first| first.key().as_slice() < below) {
        bytes += 12 + first.key().len() + first.get().len();
        if bytes > bytes_max {
            break;
        }
        due.push(first.remove_entry());
    }
    let left = model.first_key_value().is_some_and(|(user_key, _)| user_key.as_slice() < below);
    assert!(popped == due, "{} were popped of {} with {bytes_max} bytes", popped.len(), due.len());
    assert_eq!(more, left, "whether there is more");
}

/// 2,000 entries of 100 bytes, but for one in between.
fn fill(writer: &mut Writer, state: State, key: Key<'_>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut model = BTreeMap::new();
    for n in 0..2_000_u32 {
        let value = vec![n as u8; if n == 700 { 9_000 } else { 84 }];
        writer.map_put(state, key, &n.to_be_bytes(), &value).unwrap();
        model.insert(n.to_be_bytes().to_vec(), value);
    }
    model
}

/// Who has room for so many bytes is given no more, and loses nothing of what there is no room for.
#[test]
fn no_more_is_popped_than_there_is_room_for() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(4);
    let (store, mut writer, state) = create(&engine, directory.path());
    let key = Key::new(KeyGroup(0), b"");
    let mut model = fill(&mut writer, state, key);
    let mut left = Vec::new();
    // Of all; not even one fits; one; nine; one that alone is due.
    for (below, bytes_max) in [(2_000_u32, 99), (2_000, 100), (2_000, 999), (11, 1_000)] {
        pop_below(&mut writer, (state, key), &below.to_be_bytes(), bytes_max, &mut model);
        left.push(model.len());
    }
    assert_eq!(left, [2_000, 1_999, 1_990, 1_989]);
    checkpoint(&store, 1);
    let (_store, mut writer, state) = again(&engine, directory.path(), store, writer);
    left.clear();
    for bytes_max in [99, 100, 30_000, 38_800, 5_000, 5_000, 9_016, 50_000, 1 << 20] {
        pop_below(&mut writer, (state, key), &1_900_u32.to_be_bytes(), bytes_max, &mut model);
        left.push(model.len());
    }
    assert_eq!(left, [1_989, 1_988, 1_688, 1_300, 1_300, 1_300, 1_299, 799, 100]);
}

/// Floors come and go with memory; whatever is known of a map's front, the answers are those of a model.
#[test]
fn fronts_of_maps_are_those_of_a_model() {
    let seed = std::env::var("POPS_SEED").map_or(0x5EED, |seed| seed.parse().unwrap());
    println!("POPS_SEED={seed}");
    let mut random = Random(seed);
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(4);
    let (mut store, mut writer, mut state) = create(&engine, directory.path());
    let mut model = vec![BTreeMap::<Vec<u8>, Vec<u8>>::new(); 60];
    let owned = |entry: Option<(&Vec<u8>, &Vec<u8>)>| entry.map(|(key, value)| (key.clone(), value.clone()));
    for round in 0..12_000_u32 {
        let map = random.below(model.len());
        let (id, entries) = (name(map as u32), &mut model[map]);
        let key = Key::new(KeyGroup(map as u16 % 3), &id);
        let user_key = (random.below(300) as u16).to_be_bytes();
        match random.below(100) {
            0..50 => {
                let bytes = if random.below(10) == 0 { random.below(60_000) } else { random.below(400) };
                let value = vec![round as u8; bytes];
                writer.map_put(state, key, &user_key, &value).unwrap();
                entries.insert(user_key.to_vec(), value);
            }
            50..67 => assert_eq!(writer.map_pop_first(state, key).unwrap(), entries.pop_first()),
            67..70 => {
                let short = |_: &[u8], value: &[u8]| value.len() < 200;
                let popped = writer.map_pop_first_if(state, key, short).unwrap();
                assert_eq!(popped, owned(entries.first_key_value()), "round {round}");
                if popped.is_some_and(|(user_key, value)| short(&user_key, &value)) {
                    entries.pop_first();
                }
            }
            70..75 => {
                // Some of them, or all where it lies behind.
                let below = (random.below(400) as u16).to_be_bytes();
                let bytes_max = [usize::MAX, random.below(2_000), random.below(100_000)][random.below(3)];
                pop_below(&mut writer, (state, key), &below, bytes_max, entries);
            }
            75..85 => assert_eq!(writer.map_first(state, key).unwrap(), owned(entries.first_key_value())),
            85..93 => assert_eq!(writer.map_get(state, key, &user_key).unwrap().as_ref(), entries.get(&user_key[..])),
            93..98 => {
                writer.map_delete(state, key, &user_key).unwrap();
                entries.remove(&user_key[..]);
            }
            98 if random.below(4) == 0 => {
                writer.map_clear(state, key).unwrap();
                entries.clear();
            }
            _ if random.below(20) == 0 => checkpoint(&store, u64::from(round)),
            _ if random.below(60) == 0 => {
                checkpoint(&store, u64::from(round));
                (store, writer, state) = again(&engine, directory.path(), store, writer);
            }
            _ => {}
        }
    }
    for (map, entries) in model.iter_mut().enumerate() {
        let id = name(map as u32);
        let key = Key::new(KeyGroup(map as u16 % 3), &id);
        while let Some(entry) = entries.pop_first() {
            assert_eq!(writer.map_pop_first(state, key).unwrap(), Some(entry));
        }
        assert_eq!(writer.map_pop_first(state, key).unwrap(), None);
    }
}
