//! Walks that go on somewhere, beside one that went over everything.

use super::*;
use crate::cache::BlockCache;
use crate::ids::{KeyGroup, SegmentId};
use crate::key::{Key, push_entry_key, push_sort_key};
use crate::manifest::sample::Random;
use crate::platform::arena::Arena;
use crate::platform::storage::{PageCache, Storage, StorageChoice, open};
use crate::segment::{Entry, SegmentOptions, SegmentWriter};
use crate::stack::LazySegment;
use std::collections::BTreeMap;

const STATE: StateId = StateId(3);
const MAPS: u8 = 4;
const ENTRIES: u8 = 30;

/// Random records of some maps: entries that were put or deleted, ranges that were cleared.
fn records(random: &mut Random) -> BTreeMap<Vec<u8>, (Kind, Vec<u8>)> {
    let mut records = BTreeMap::new();
    for name in 0..MAPS {
        let (bytes, mut container) = ([name], Vec::new());
        let key = Key::new(KeyGroup(0), &bytes);
        push_sort_key(&mut container, STATE, key);
        if random.below(2) == 0 {
            let mut spans = Spans::default();
            for _ in 0..=random.below(3) {
                let (from, to) = (random.below(30) as u8, random.below(35) as u8);
                spans.insert(&[from], (to < ENTRIES).then_some(&[to]), 0);
            }
            records.extend(spans.to_clear().map(|value| (container, (Kind::Clear, value))));
        }
        for _ in 0..random.below(25) {
            let mut sort_key = Vec::new();
            push_entry_key(&mut sort_key, STATE, key, &[random.below(30) as u8]);
            let is_put = random.below(4) > 0;
            let record = if is_put { (Kind::Put, vec![random.below(250) as u8]) } else { (Kind::Delete, Vec::new()) };
            records.insert(sort_key, record);
        }
    }
    records
}

/// What a walk comes to, with the values.
fn rest(mut merged: Merged) -> Vec<(Vec<u8>, Base, Vec<u8>)> {
    let mut all = Vec::new();
    while let Some(resolved) = merged.next().unwrap() {
        all.push((resolved.sort_key.clone(), resolved.base, resolved.value.clone()));
    }
    all
}

#[test]
fn a_walk_goes_on_behind_any_key_as_one_that_came_there() {
    let mut random = Random::announced("walks that go on");
    for round in 0..60 {
        let cache = Arc::new(BlockCache::new(&Arc::new(Arena::new(4 << 20, 0).unwrap())));
        let directory = tempfile::tempdir().unwrap();
        let storage: Arc<dyn Storage> =
            open(directory.path(), StorageChoice::Posix, PageCache::Everything, true).unwrap();
        let layer = |number: u64, records: BTreeMap<Vec<u8>, (Kind, Vec<u8>)>| {
            let id = SegmentId::new(1, number);
            let mut writer = SegmentWriter::create(&*storage, id, SegmentOptions::default()).unwrap();
            for (sort_key, (kind, value)) in &records {
                writer.add(Entry { sort_key, kind: *kind, expiry_ms: None, value }).unwrap();
            }
            let (meta, _) = writer.finish(false).unwrap()?;
            let segment = Arc::new(LazySegment::new(&storage, &cache, Arc::new(meta)));
            Some(Layer { segment, map: Arc::new(StateMap::Identity), older: None })
        };
        let layers: Vec<Layer> = (1..4).filter_map(|number| layer(number, records(&mut random))).collect();
        let bounds = || Bounds::prefix(&[0_u16.to_be_bytes(), STATE.0.to_be_bytes()].concat());
        let all = rest(Merged::new(&layers, bounds(), 0).unwrap());
        for name in 0..MAPS {
            let (bytes, mut container) = ([name], Vec::new());
            let key = Key::new(KeyGroup(0), &bytes);
            push_sort_key(&mut container, STATE, key);
            let entry = |number: u8| {
                let mut sort_key = Vec::new();
                push_entry_key(&mut sort_key, STATE, key, &[number]);
                sort_key
            };
            // Behind each entry that there may be, and behind the map's own record.
            for last in (0..ENTRIES).map(entry).chain([container]) {
                let gone_on = rest(Merged::behind(&layers, bounds(), 0, &last).unwrap());
                let expected: Vec<_> = all.iter().filter(|(sort_key, ..)| *sort_key > last).cloned().collect();
                assert_eq!(gone_on, expected, "round {round}, behind {last:?}");
            }
        }
    }
}
