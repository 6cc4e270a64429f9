//! The filter of a segment: one key after the other, as lookups ask it.

use super::clock::{ProcessorBencher, ProcessorCriterion};
use super::segments::{Sample, sort_key};
use alluvium::segment::{Segment, SegmentOptions};
use criterion::Throughput;
use std::cell::LazyCell;
use std::hint::black_box;

/// A filter of 25 KB, which a core's cache holds.
const FEW: u32 = 20_000;
/// One of 2.5 MB, which it doesn't.
const MANY: u32 = 2_000_000;
/// So many keys of each kind are asked for; a power of two, which batches divide.
const ASKED: u32 = 1 << 14;
/// As many as the engine goes through together elsewhere.
const BATCH: usize = 32;

fn key(number: u32) -> Vec<u8> {
    sort_key(&u128::from(number).to_be_bytes())
}

fn sample(keys: u32) -> Sample {
    let options = SegmentOptions { expected_entries: keys.into(), compress: false, ..SegmentOptions::default() };
    Sample::new(options, (0..keys).map(|number| (key(number), [])))
}

/// The hashes of keys that are there, and of others, each in the order of nothing.
fn hashes(segment: &Segment, keys: u32) -> [Vec<u64>; 2] {
    let scattered = |number: u32| (u64::from(number) * 1_000_003 % u64::from(keys)) as u32;
    let hash = |number: u32| segment.hash(&key(number));
    [(0..ASKED).map(|number| hash(scattered(number))).collect(), (0..ASKED).map(|number| hash(keys + number)).collect()]
}

fn one(bench: &mut ProcessorBencher<'_>, segment: &Segment, hashes: &[u64]) {
    let mut next = hashes.iter().cycle();
    bench.iter(|| black_box(segment.may_contain(*next.next().unwrap())));
}

fn batch(bench: &mut ProcessorBencher<'_>, segment: &Segment, hashes: &[u64], fetch: bool) {
    let mut batches = hashes.chunks_exact(BATCH).cycle();
    bench.iter(|| {
        let batch = batches.next().unwrap();
        if fetch {
            batch.iter().for_each(|hash| segment.prefetch_filter(*hash));
        }
        batch.iter().filter(|hash| segment.may_contain(**hash)).count()
    });
}

pub fn all(criterion: &mut ProcessorCriterion) {
    let mut group = criterion.benchmark_group("filter");
    group.throughput(Throughput::Elements(1));
    let few = sample(FEW);
    let keys: Vec<Vec<u8>> = (0..ASKED).map(key).collect();
    let mut next = keys.iter().cycle();
    group.bench_function("the hash of a key", |bench| bench.iter(|| few.segment.hash(next.next().unwrap())));
    let [present, absent] = hashes(&few.segment, FEW);
    group.bench_function("hit, 20,000 keys", |bench| one(bench, &few.segment, &present));
    group.bench_function("miss, 20,000 keys", |bench| one(bench, &few.segment, &absent));
    // Writing it takes longer than a bench does; where others are asked for, it isn't needed.
    let many = LazyCell::new(|| {
        let many = sample(MANY);
        let hashes = hashes(&many.segment, MANY);
        (many, hashes)
    });
    for (name, kind) in [("hit", 0), ("miss", 1)] {
        group.bench_function(format!("{name}, 2 M keys"), |bench| {
            let (many, hashes) = &*many;
            one(bench, &many.segment, &hashes[kind]);
        });
    }
    group.throughput(Throughput::Elements(BATCH as u64));
    for (name, kind) in [("hits", 0), ("misses", 1)] {
        for (how, fetch) in [("one after the other", false), ("fetched ahead", true)] {
            group.bench_function(format!("32 {name} {how}, 2 M keys"), |bench| {
                let (many, hashes) = &*many;
                batch(bench, &many.segment, &hashes[kind], fetch);
            });
        }
    }
    group.finish();
}
