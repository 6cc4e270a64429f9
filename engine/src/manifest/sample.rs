//! Random manifests for tests, from seeds that a failing test prints.

use super::{Manifest, Marks, Parent, Slice, StackEntry, StateInfo, StateMap, StoreInfo};
use crate::ids::{Epoch, KeyGroup, KeyGroupRange, SegmentId, StateId};
use crate::key::{Key, push_sort_key};
use crate::segment::{Section, SegmentMeta};
use std::sync::Arc;

/// SplitMix64 (Steele, Lea, Flood: *Fast splittable pseudorandom number generators*, 2014).
pub(crate) struct Random(u64);

impl Random {
    /// Seeded by `ALLUVIUM_TEST_SEED`, else by the clock; prints the seed, which the test runner shows on a failure.
    pub(crate) fn announced(test: &str) -> Self {
        let given = std::env::var("ALLUVIUM_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let clock = || std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
        let seed = given.unwrap_or_else(clock);
        println!("{test}: run again with ALLUVIUM_TEST_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(crate) fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    pub(crate) fn bytes(&mut self, len_max: usize) -> Vec<u8> {
        let len = self.below(len_max + 1);
        (0..len).map(|_| self.next() as u8).collect()
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    /// Cuts a range into 1 to `parts_max` pieces.
    pub(crate) fn cut(&mut self, range: KeyGroupRange, parts_max: usize) -> Vec<KeyGroupRange> {
        let parts = 1 + self.below(parts_max.min(range.count()));
        let mut starts: Vec<u16> =
            (1..parts).map(|_| range.first() + self.below(range.count()) as u16).chain([range.first()]).collect();
        starts.sort_unstable();
        starts.dedup();
        let ends = starts.iter().skip(1).map(|start| start - 1).chain([range.last()]);
        starts.iter().zip(ends).map(|(&first, last)| KeyGroupRange::new(first, last)).collect()
    }
}

/// The description of a segment that could exist: its parts add up to its length.
pub(crate) fn segment_meta(random: &mut Random, id: SegmentId, groups: KeyGroupRange, epoch: Epoch) -> SegmentMeta {
    let mut keys = [Vec::new(), Vec::new()];
    for (key, group) in keys.iter_mut().zip([groups.first(), groups.last()]) {
        push_sort_key(key, StateId(0), Key::new(KeyGroup(group), &random.next().to_le_bytes()));
    }
    keys.sort();
    let [first_key, last_key] = keys;
    let blocks = 1 + random.below(50) as u32;
    let entries = u64::from(blocks) * 10;
    let (filter_blocks, directory_entries, index_bytes) = (1 + random.below(9) as u32, 1 + random.below(9) as u32, 128);
    let tables = (u64::from(blocks) * 8).next_multiple_of(64);
    let metadata_bytes = u64::from(filter_blocks) * 64 + tables + index_bytes + u64::from(directory_entries) * 64;
    let metadata = Section { offset: 4096 * (2 + u64::from(blocks)), len: metadata_bytes, checksum: random.next() };
    let expiry_min_ms = random.chance(2).then(|| 1_000 + random.below(1_000) as u64);
    let mut meta = SegmentMeta {
        id,
        file_bytes: 0,
        epoch_low: Epoch(1 + random.below(epoch.0 as usize) as u32),
        epoch_high: epoch,
        hash_seed: random.next(),
        level: random.below(3) as u8,
        groups,
        entries,
        tombstones: entries / 4,
        clears: entries / 8,
        expiring: expiry_min_ms.map_or(0, |_| entries - entries / 4),
        logical_bytes: entries * 24,
        expiry_min_ms,
        expiry_max_ms: expiry_min_ms.map(|expiry| expiry + 500),
        blocks,
        directory_entries,
        filter_blocks,
        filter_keys: entries + 5,
        index_bytes,
        index_root: 64,
        metadata,
        first_key,
        last_key,
    };
    let closing = metadata.offset + metadata_bytes + metadata_bytes.div_ceil(16_384) * 8;
    meta.file_bytes = closing + meta.encoded_bytes() as u64 + 128;
    meta
}

/// How large a random manifest is made.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) segments: usize,
    pub(crate) slices: usize,
    pub(crate) states: usize,
}

/// A consistent manifest of up to this size.
pub(crate) fn manifest(random: &mut Random, size: Size) -> Manifest {
    let key_groups = 128_u32.max(size.slices as u32);
    let first = if size.segments < 1_000 { random.below(64) as u16 } else { 0 };
    let range = KeyGroupRange::new(first, (key_groups - 1) as u16);
    let epoch = Epoch(1 + random.below(1 << 20) as u32);
    let states = states(random, size.states);
    let maps = maps(random, states.len());
    let all_marks = marks(random, &states);
    let mut marks = vec![Marks::default()];
    let cuts = random.cut(range, size.slices);
    let mut slices: Vec<Slice> = cuts
        .into_iter()
        .map(|range| Slice {
            range,
            stack: Vec::new(),
            hot: if random.chance(4) { random.bytes(16) } else { Vec::new() },
        })
        .collect();
    let segments = (0..size.segments)
        .map(|index| {
            let at = random.below(slices.len());
            let until = (at + 1 + random.below(3)).min(slices.len());
            for slice in &mut slices[at..until] {
                // Those that some entry has, so that none is left over.
                let entry_marks = &all_marks[random.below(all_marks.len())];
                let known = marks.iter().position(|known| known == entry_marks);
                let at = known.unwrap_or_else(|| {
                    marks.push(entry_marks.clone());
                    marks.len() - 1
                });
                let map = random.below(maps.len()) as u32;
                slice.stack.push(StackEntry { segment: index as u32, map, marks: at as u32 });
            }
            let groups = KeyGroupRange::new(slices[at].range.first(), slices[until - 1].range.last());
            Arc::new(segment_meta(random, SegmentId::new(77, index as u64), groups, epoch))
        })
        .collect();
    let offsets = random.cut(range, 5).into_iter().map(|range| (range, random.bytes(40))).collect();
    Manifest {
        number: random.next() >> 2,
        store: StoreInfo { uuid: u128::from(random.next()) << 64, hash_seed: random.next(), key_groups, range },
        label: random.chance(2).then(|| random.next()),
        created_ms: random.next(),
        epoch,
        purge_clock_ms: random.next(),
        states,
        offsets,
        metadata: random.bytes(100),
        log_position: random.next() >> 2,
        has_rollbacks: random.chance(4),
        is_synced: random.chance(2),
        parent: random.chance(2).then(|| Parent { number: random.next(), digest: random.next() }),
        segments,
        maps,
        marks,
        slices,
    }
}

fn states(random: &mut Random, count: usize) -> Vec<StateInfo> {
    let conversions = |random: &mut Random| (0..random.below(4)).map(|step| format!("é{step}")).collect::<Vec<_>>();
    let state = |(index, random): (usize, &mut Random)| StateInfo {
        name: format!("état-{index}"),
        id: StateId(index as u16),
        kind: random.below(4) as u8,
        ttl: random.chance(3).then(|| random.bytes(12)),
        merge: if random.chance(3) { "u64-add".to_owned() } else { String::new() },
        user: random.bytes(30),
        lineage: if random.chance(2) { random.next() } else { 0 },
        conversions: Vec::new(),
    };
    let mut states: Vec<StateInfo> = (0..count).map(|index| state((index, &mut *random))).collect();
    for state in states.iter_mut().filter(|state| state.lineage != 0) {
        state.conversions = conversions(random);
    }
    states
}

/// None, and some that values of these states may have.
fn marks(random: &mut Random, states: &[StateInfo]) -> Vec<Marks> {
    let mut all = vec![Marks::default()];
    for _ in 0..random.below(4) {
        let mut marks = Vec::new();
        for state in states.iter().filter(|state| !state.conversions.is_empty()) {
            if random.chance(2) {
                marks.push((state.id, 1 + random.below(state.conversions.len()) as u16));
            }
        }
        all.push(Marks(marks));
    }
    all
}

fn maps(random: &mut Random, states: usize) -> Vec<StateMap> {
    let mut maps = vec![StateMap::Identity];
    for _ in 0..random.below(4) {
        let mut targets: Vec<StateId> = (0..states as u16).map(StateId).collect();
        random.shuffle(&mut targets);
        targets.truncate(random.below(states + 1));
        maps.push(StateMap::Pairs((0..).step_by(2).map(StateId).zip(targets).collect()));
    }
    maps
}
