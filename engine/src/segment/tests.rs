//! Segments against a `BTreeMap` of the same records, through the files of a real directory.
//!
//! Every random test prints its seed; `ALLUVIUM_SEED` replays one.

mod damage;
mod document;
mod figures;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::ids::{Epoch, KeyGroup, SegmentId, StateId};
use crate::key::{Key, SortKey, push_entry_key, push_sort_key};
use crate::platform::storage::{Fault, PageCache, Storage, StorageChoice, open};
use crate::spans::Spans;

type Record = (Kind, Option<u64>, Vec<u8>);
type Model = BTreeMap<Vec<u8>, Record>;

const ID: SegmentId = SegmentId::new(0xA11, 7);

fn storage(directory: &Path) -> Arc<dyn Storage> {
    open(directory, StorageChoice::Posix, PageCache::Everything, true).unwrap()
}

fn options(entries: usize) -> SegmentOptions {
    SegmentOptions {
        hash_seed: 99,
        epochs: (Epoch(3), Epoch(5)),
        expected_entries: entries as u64,
        ..Default::default()
    }
}

fn entry<'a>(key: &'a [u8], record: &'a Record) -> Entry<'a> {
    Entry { sort_key: key, kind: record.0, expiry_ms: record.1, value: &record.2 }
}

fn write(storage: &dyn Storage, model: &Model, options: SegmentOptions) -> SegmentMeta {
    let mut writer = SegmentWriter::create(storage, ID, options).unwrap();
    for (key, record) in model {
        writer.add(entry(key, record)).unwrap();
    }
    let estimate = writer.file_bytes();
    let (meta, bytes) = writer.finish(false).unwrap().unwrap();
    assert_eq!(bytes, meta.file_bytes);
    assert!(estimate.abs_diff(bytes) <= 65536 + bytes / 4, "estimated {estimate} of {bytes} bytes");
    meta
}

/// xorshift64*; good enough to choose test data.
struct Random(u64);

impl Random {
    fn new(default: u64) -> Self {
        let seed = std::env::var("ALLUVIUM_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(default);
        println!("ALLUVIUM_SEED={seed}");
        Self(seed.max(1))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }

    /// Bytes that repeat themselves.
    fn text(&mut self, len: usize) -> Vec<u8> {
        let word = self.next() % 1000;
        format!("carrier={word} delay={} ", word % 7).bytes().cycle().take(len).collect()
    }

    fn value(&mut self, len: usize) -> Vec<u8> {
        if self.below(2) == 0 { self.text(len) } else { self.bytes(len) }
    }
}

fn cell_key(group: u16, state: u16, key: &[u8], namespace: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    push_sort_key(&mut out, StateId(state), Key::new(KeyGroup(group), key).in_namespace(namespace));
    out
}

fn map_key(group: u16, state: u16, key: &[u8], user_key: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    push_entry_key(&mut out, StateId(state), Key::new(KeyGroup(group), key), user_key);
    out
}

/// Cells, maps with clears, tombstones, operands, expiries; empty keys and values among them.
fn random_model(random: &mut Random, records: usize, value_max: usize) -> Model {
    let mut model = Model::new();
    while model.len() < records {
        let (group, state) = (random.below(5) as u16 * 77, random.below(3) as u16);
        let key_len = random.below(12);
        let key = if random.below(4) == 0 { random.bytes(key_len) } else { random.text(key_len) };
        let user_key_len = random.below(20);
        let sort_key = match random.below(3) {
            0 => cell_key(group, state, &key, &random.next().to_be_bytes()[..random.below(2) * 8]),
            _ => map_key(group, state, &key, &random.bytes(user_key_len)),
        };
        let is_container = SortKey::decode(&sort_key).unwrap().user_key.is_none();
        let expiry = (random.below(3) == 0).then(|| random.next() >> random.below(60));
        let len = random.below(value_max + 1) >> random.below(8);
        let record = match random.below(10) {
            0 => (Kind::Delete, None, Vec::new()),
            1 if is_container => (Kind::Clear, None, Vec::new()),
            2 if is_container => {
                let mut spans = Spans::default();
                for _ in 0..random.below(20) + 1 {
                    let from = random.bytes(user_key_len);
                    spans.insert(&from, Some(&[&from[..], b"to"].concat()), 0);
                }
                (Kind::Clear, None, spans.to_clear().unwrap())
            }
            2 => (Kind::Merge, expiry, random.value(len)),
            _ => (Kind::Put, expiry, random.value(len)),
        };
        model.insert(sort_key, record);
    }
    model
}

/// What a segment says about one key, by the way a point read goes.
fn get(segment: &Segment, key: &[u8]) -> Result<Option<Record>, crate::platform::storage::StorageError> {
    if !segment.may_contain(segment.hash(key)) {
        return Ok(None);
    }
    let Some(place) = segment.locate(key)? else { return Ok(None) };
    let block = segment.read_block(place)?;
    Ok(block.get(key).map(|entry| (entry.kind, entry.expiry_ms, entry.value.to_vec())))
}

/// Keys that lie close to those of the model without being among them.
fn near_keys(model: &Model) -> Vec<Vec<u8>> {
    let near = |key: &Vec<u8>| {
        let mut longer = key.clone();
        longer.push(0);
        let mut greater = key.clone();
        *greater.last_mut().unwrap() = greater.last().unwrap().wrapping_add(1);
        [longer, greater, key[..key.len() - 1].to_vec()]
    };
    let all = model.keys().flat_map(near).chain([Vec::new(), vec![0xFF; 9]]);
    all.filter(|key| !model.contains_key(key)).collect()
}

fn check_points(segment: &Segment, model: &Model) {
    // Each read decodes a block, which takes its time without optimisation.
    let step = (model.len() * segment.meta().logical_bytes.ilog2() as usize / 20_000).max(1);
    for (key, record) in model.iter().step_by(step) {
        segment.prefetch_filter(segment.hash(key));
        assert_eq!(get(segment, key).unwrap().as_ref(), Some(record), "{key:?}");
        let container = SortKey::container_len(key).unwrap();
        assert!(segment.may_contain(segment.hash(&key[..container])), "the container of {key:?}");
    }
    for key in near_keys(model).into_iter().step_by(step) {
        assert_eq!(get(segment, &key).unwrap(), None, "{key:?}");
        if let Some(place) = segment.locate(&key).unwrap() {
            assert_eq!(segment.read_block(place).unwrap().get(&key), None, "past the filter: {key:?}");
        }
    }
}

fn check_entry(cursor: &SegmentCursor, expected: Option<(&Vec<u8>, &Record)>) {
    let expected = expected.map(|(key, record)| entry(key, record));
    assert_eq!(cursor.entry(), expected);
}

fn check_cursor(segment: &Arc<Segment>, model: &Model) {
    let mut cursor = segment.cursor();
    assert_eq!(cursor.entry(), None);
    cursor.seek(&[]).unwrap();
    for expected in model {
        check_entry(&cursor, Some(expected));
        cursor.next().unwrap();
    }
    check_entry(&cursor, None);
    cursor.next().unwrap();
    cursor.seek_last().unwrap();
    for expected in model.iter().rev() {
        check_entry(&cursor, Some(expected));
        cursor.prev().unwrap();
    }
    check_entry(&cursor, None);
}

fn check_seeks(segment: &Arc<Segment>, model: &Model, random: &mut Random) {
    // Blocks of megabytes take their time to decode without optimisation.
    let block_bytes = segment.meta().logical_bytes / u64::from(segment.blocks());
    let seeks = if block_bytes > 9000 { 40 } else { 2000 };
    let mut cursor = segment.cursor();
    let mut keys: Vec<Vec<u8>> = model.keys().cloned().chain(near_keys(model)).collect();
    for _ in 0..keys.len().min(seeks) {
        let key = keys.swap_remove(random.below(keys.len()));
        let mut after = model.range::<Vec<u8>, _>((Bound::Included(&key), Bound::Unbounded));
        let mut before = model.range::<Vec<u8>, _>((Bound::Unbounded, Bound::Excluded(&key)));
        cursor.seek(&key).unwrap();
        check_entry(&cursor, after.next());
        if cursor.entry().is_some() {
            cursor.prev().unwrap();
            check_entry(&cursor, before.clone().next_back());
        }
        cursor.seek_before(&key).unwrap();
        for _ in 0..random.below(40) {
            check_entry(&cursor, before.next_back());
            cursor.prev().unwrap();
        }
        cursor.seek(&key).unwrap();
        let mut forward = model.range::<Vec<u8>, _>((Bound::Included(&key), Bound::Unbounded));
        for _ in 0..random.below(40) {
            check_entry(&cursor, forward.next());
            cursor.next().unwrap();
        }
    }
}

fn check_meta(segment: &Segment, model: &Model) {
    let meta = segment.meta();
    let of = |kind| model.values().filter(|record| record.0 == kind).count() as u64;
    assert_eq!(meta.entries, model.len() as u64);
    assert_eq!((meta.clears, meta.tombstones), (of(Kind::Clear), of(Kind::Clear) + of(Kind::Delete)));
    assert_eq!((&meta.first_key, &meta.last_key), (model.keys().next().unwrap(), model.keys().next_back().unwrap()));
    assert_eq!(meta.expiry_min_ms, model.values().filter_map(|record| record.1).min());
    let all_expire = model.values().all(|record| record.1.is_some() || record.0.is_tombstone());
    let last = model.values().filter_map(|record| record.1).max();
    assert_eq!(meta.expiry_max_ms, last.filter(|_| all_expire));
    let logical = |(key, record): (&Vec<u8>, &Record)| {
        let parts = SortKey::decode(key).unwrap();
        parts.key.key.len() + parts.key.namespace.len() + parts.user_key.map_or(0, <[u8]>::len) + record.2.len()
    };
    assert_eq!(meta.logical_bytes, model.iter().map(logical).sum::<usize>() as u64);
    let mut pairs = BTreeMap::<(u16, u16), u64>::new();
    for key in model.keys() {
        let parts = SortKey::decode(key).unwrap();
        *pairs.entry((parts.key.group.0, parts.state.0)).or_default() += 1;
    }
    assert_eq!(segment.directory_len(), pairs.len());
    for ((group, state), entries) in pairs {
        let found = segment.find_directory(KeyGroup(group), StateId(state)).unwrap().unwrap();
        assert_eq!((found.group, found.state, found.entries), (group, state, entries));
        assert_eq!(segment.find_directory(KeyGroup(group), StateId(9)).unwrap(), None);
    }
}

fn check_all(storage: &dyn Storage, meta: &SegmentMeta, model: &Model, random: &mut Random) {
    assert_eq!(&Segment::read_meta(storage, ID).unwrap(), meta);
    let segment = Arc::new(Segment::open(storage, meta.clone()).unwrap());
    check_meta(&segment, model);
    check_points(&segment, model);
    check_cursor(&segment, model);
    check_seeks(&segment, model, random);
    let mut expected = model.iter();
    segment.verify(&mut |found| assert_eq!(Some(found), expected.next().map(|(k, r)| entry(k, r)))).unwrap();
    assert!(expected.next().is_none());
}

#[test]
fn random_records_come_back() {
    let mut random = Random::new(20_260_101);
    for round in 0..24 {
        let directory = tempfile::tempdir().unwrap();
        let storage = storage(directory.path());
        let records = 1 + random.below(1 << (round % 12));
        let value_max = [0, 30, 300, 9000][round % 4];
        let model = random_model(&mut random, records, value_max);
        let options = SegmentOptions { compress: round % 3 > 0, ..options(model.len()) };
        let meta = write(&*storage, &model, options);
        check_all(&*storage, &meta, &model, &mut random);
    }
}

#[test]
fn values_from_nothing_to_megabytes_come_back() {
    let mut random = Random::new(5);
    let sizes = [0, 1, 30, 31, 32, 3000, 4000, 4096, 9000, 65_535, 65_536, 70_000, 1 << 20, (1 << 20) + 1, 5_000_000];
    for compress in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let storage = storage(directory.path());
        let mut model = Model::new();
        for (index, size) in sizes.into_iter().enumerate() {
            for (state, value) in [random.text(size), random.bytes(size)].into_iter().enumerate() {
                let key = cell_key(1, state as u16, &(index as u32).to_be_bytes(), b"");
                model.insert(key, (Kind::Put, Some(index as u64), value));
            }
        }
        let meta = write(&*storage, &model, SegmentOptions { compress, ..options(model.len()) });
        // Records that are, with their keys, longer than 1 MiB are never compressed; the texts below are.
        let saved = if compress { 190_000 } else { 0 };
        assert!(meta.file_bytes + saved < meta.logical_bytes * 51 / 50 + 16384, "{meta:?}");
        check_all(&*storage, &meta, &model, &mut random);
    }
}

#[test]
fn the_longest_keys_and_long_common_prefixes_come_back() {
    let mut random = Random::new(6);
    let directory = tempfile::tempdir().unwrap();
    let storage = storage(directory.path());
    let mut model = Model::new();
    let outer = random.bytes(64_990);
    for index in 0..90_u32 {
        let mut user_key = vec![7; 64_000];
        user_key.extend_from_slice(&index.to_be_bytes());
        model.insert(map_key(0, 0, &outer, &user_key), (Kind::Put, None, random.bytes(200)));
    }
    model.insert(cell_key(0, 0, b"", b""), (Kind::Put, None, Vec::new()));
    let meta = write(&*storage, &model, SegmentOptions { compress: false, ..options(model.len()) });
    check_all(&*storage, &meta, &model, &mut random);
}

#[test]
fn many_blocks_with_keys_that_tie_are_told_apart_at_each_level() {
    let mut random = Random::new(8);
    let directory = tempfile::tempdir().unwrap();
    let storage = storage(directory.path());
    let mut model = Model::new();
    // Short keys on either side keep the common prefixes short; between, keys differ only far behind.
    for index in 0..30_000_u32 {
        let (group, key) = if index % 50 == 0 { (index as u16, vec![1]) } else { (600, vec![9; 40]) };
        let user_key = [&[0x42; 30][..], &index.to_be_bytes()].concat();
        model.insert(map_key(group, 1, &key, &user_key), (Kind::Put, None, random.bytes(700)));
    }
    let meta = write(&*storage, &model, SegmentOptions { compress: false, ..options(model.len()) });
    assert!(meta.blocks > 4096, "{} blocks", meta.blocks);
    let segment = Arc::new(Segment::open(&*storage, meta).unwrap());
    check_cursor(&segment, &model);
    check_seeks(&segment, &model, &mut random);
    for key in model.keys() {
        assert!(get(&segment, key).unwrap().is_some());
    }
    segment.verify(&mut |_| {}).unwrap();
}

#[test]
fn a_block_of_tens_of_thousands_of_records_comes_back() {
    let mut random = Random::new(9);
    let directory = tempfile::tempdir().unwrap();
    let storage = storage(directory.path());
    let model: Model =
        (0..40_000_u32).map(|index| (map_key(0, 0, b"", &index.to_be_bytes()), (Kind::Delete, None, vec![]))).collect();
    let options = SegmentOptions { block_bytes: 1 << 20, ..options(model.len()) };
    let meta = write(&*storage, &model, options);
    assert!(meta.blocks < 10 && meta.file_bytes < 4 * 40_000, "{meta:?}");
    check_all(&*storage, &meta, &model, &mut random);
}

#[test]
fn an_empty_segment_leaves_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let storage = storage(directory.path());
    let writer = SegmentWriter::create(&*storage, ID, options(0)).unwrap();
    assert_eq!(writer.finish(true).unwrap(), None);
    assert_eq!(storage.list().unwrap(), []);
}

#[test]
fn records_that_break_the_rules_are_refused_and_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let storage = storage(directory.path());
    let mut writer = SegmentWriter::create(&*storage, ID, options(2)).unwrap();
    let (low, high) = (cell_key(1, 1, b"a", b""), cell_key(1, 1, b"b", b""));
    let in_map = map_key(2, 1, b"a", b"x");
    let put = (Kind::Put, None, b"value".to_vec());
    writer.add(entry(&high, &put)).unwrap();
    let gone = (Kind::Delete, None, b"value".to_vec());
    let ends = (Kind::Clear, Some(9), Vec::new());
    let clear = (Kind::Clear, None, Vec::new());
    let no_spans = (Kind::Clear, None, b"value".to_vec());
    let higher = cell_key(2, 1, b"", b"");
    let long = [&in_map[..], &[0; SORT_KEY_BYTES_MAX]].concat();
    for (key, record) in [
        (&low, &put),
        (&high, &put),
        (&higher, &gone),
        (&higher, &ends),
        (&higher, &no_spans),
        (&in_map, &clear),
        (&long, &put),
    ] {
        assert_eq!(writer.add(entry(key, record)).unwrap_err().fault, Fault::Corrupt, "{key:?}");
    }
    assert!(writer.add(entry(b"no sort key", &put)).is_err());
    writer.add(entry(&in_map, &put)).unwrap();
    let (meta, _) = writer.finish(false).unwrap().unwrap();
    let model = Model::from([(high, put.clone()), (in_map, put)]);
    check_all(&*storage, &meta, &model, &mut Random::new(1));
}

#[test]
fn seeks_go_through_the_cache_and_reading_ahead_past_it() {
    #[derive(Debug, Default)]
    struct Counting(parking_lot::Mutex<std::collections::HashMap<u32, Arc<Block>>>);
    impl BlockSource for Counting {
        fn get(&self, segment: SegmentId, block: BlockRef) -> Option<Arc<Block>> {
            assert_eq!(segment, ID);
            self.0.lock().get(&block.index).cloned()
        }
        fn put(&self, segment: SegmentId, block: BlockRef, content: &Arc<Block>) {
            assert_eq!(segment, ID);
            assert!(self.0.lock().insert(block.index, Arc::clone(content)).is_none(), "read though it was cached");
        }
    }
    let mut random = Random::new(10);
    let directory = tempfile::tempdir().unwrap();
    let storage = storage(directory.path());
    let model = random_model(&mut random, 2000, 300);
    let meta = write(&*storage, &model, options(model.len()));
    let cache = Arc::new(Counting::default());
    let segment = Segment::open(&*storage, meta).unwrap().with_cache(Arc::clone(&cache) as Arc<dyn BlockSource>);
    let mut cursor = Arc::new(segment).cursor();
    for expected in model.iter().take(500) {
        cursor.seek(expected.0).unwrap();
        check_entry(&cursor, Some(expected));
    }
    let seeks = cache.0.lock().len();
    assert!((2..=cursor.segment().blocks() as usize).contains(&seeks), "{seeks} blocks in the cache");
    while cursor.entry().is_some() {
        cursor.next().unwrap();
    }
    assert_eq!(cache.0.lock().len(), seeks, "reading ahead goes past the cache");
}

#[test]
fn the_filter_tells_cleared_containers_from_others() {
    let directory = tempfile::tempdir().unwrap();
    let storage = storage(directory.path());
    let mut model = Model::new();
    for number in 0..2000_u32 {
        let name = number.to_be_bytes();
        model.insert(map_key(1, 2, &name, b"entry"), (Kind::Put, None, b"value".to_vec()));
        if number % 2 == 0 {
            model.insert(cell_key(1, 2, &name, b""), (Kind::Clear, None, Vec::new()));
        }
    }
    let meta = write(&*storage, &model, options(model.len()));
    let segment = Segment::open(&*storage, meta).unwrap();
    let may_clear = |number: u32| segment.may_clear(segment.hash(&cell_key(1, 2, &number.to_be_bytes(), b"")));
    assert!((0..2000).step_by(2).all(may_clear));
    let wrong = (1..2000).step_by(2).filter(|&number| may_clear(number)).count();
    assert!(wrong < 100, "{wrong} of 1,000 containers with entries alone pass for cleared");
}

/// A segment of random records, for tests of what stands above segments; keep the directory while it is in use.
pub fn random_segment(seed: u64, records: usize, value_max: usize) -> (tempfile::TempDir, Segment) {
    let directory = tempfile::tempdir().unwrap();
    let storage = storage(directory.path());
    let model = random_model(&mut Random::new(seed), records, value_max);
    let meta = write(&*storage, &model, options(model.len()));
    let segment = Segment::open(&*storage, meta).unwrap();
    (directory, segment)
}
