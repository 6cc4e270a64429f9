//! Blocks of a segment, as they are once read from disk: decoded, searched, gone through.

use super::clock::ProcessorCriterion;
use super::names;
use super::segments::{Sample, sort_key};
use alluvium::segment::{Block, BlockRef, Position, SegmentOptions};
use criterion::{BatchSize, Throughput};
use std::hint::black_box;

/// So few blocks are read ahead of each decoding that they are in the caches still.
const BATCH: BatchSize = BatchSize::NumIterations(32);

/// Enough for some blocks of each kind.
const RECORDS: u32 = 3000;

pub fn all(criterion: &mut ProcessorCriterion) {
    let plain = |block_bytes| SegmentOptions { block_bytes, compress: false, ..SegmentOptions::default() };
    let counter = |number: u32| u64::from(number).to_le_bytes().to_vec();
    of_kind(criterion, "4 KiB of counters", plain(4096), counter);
    of_kind(criterion, "4 KiB of text", plain(4096), text);
    of_kind(criterion, "16 KiB of text", plain(16 << 10), text);
    of_kind(criterion, "16 KiB of text, LZ4", SegmentOptions::default(), text);
}

/// 100 bytes that LZ4 makes about half as long.
fn text(number: u32) -> Vec<u8> {
    let mix = u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let (auction, price) = (mix >> 44, mix & 0xFFFF);
    let mut text =
        format!(r#"{{"auction":{auction},"bidder":{number},"channel":"web","price":{price},"url":"https://"#);
    while text.len() < 100 {
        text.push(char::from(b'a' + (mix >> (text.len() % 50)) as u8 % 26));
    }
    text.truncate(100);
    text.into_bytes()
}

fn of_kind(criterion: &mut ProcessorCriterion, kind: &str, options: SegmentOptions, value: impl Fn(u32) -> Vec<u8>) {
    let compress = options.compress;
    let mut records: Vec<(Vec<u8>, Vec<u8>)> =
        (0..).zip(names(0..RECORDS)).map(|(number, (_, name))| (sort_key(&name), value(number))).collect();
    records.sort_unstable();
    let sample = Sample::new(options, records.into_iter());
    let segment = &sample.segment;
    let place = segment.block_ref(segment.blocks() / 2).unwrap();
    let stored = |place: BlockRef| segment.file().read_at(place.offset, place.len as usize).unwrap();
    let block = segment.decode(place, stored(place)).unwrap();
    assert_eq!(compress, block.memory_bytes() > place.len as usize * 5 / 4, "compressed or not");
    let keys = keys_of(&block);
    // In leaps, so that no two of them in a row share a restart interval.
    let mut next = keys.iter().cycle().step_by(23);
    let mut group = criterion.benchmark_group("block");
    group.throughput(Throughput::Elements(1));
    group.bench_function(format!("decode and get one, {kind}"), |bench| {
        let decode = |(stored, key): (_, &Vec<u8>)| {
            let block = segment.decode(place, stored).unwrap();
            black_box(block.get(key).is_some());
            block
        };
        bench.iter_batched(|| (stored(place), next.next().unwrap()), decode, BATCH);
    });
    group.bench_function(format!("get one, {kind}"), |bench| {
        bench.iter(|| black_box(block.get(next.next().unwrap()).is_some()));
    });
    group.throughput(Throughput::Elements(keys.len() as u64));
    let mut position = Position::default();
    group.bench_function(format!("all {} entries, {kind}", keys.len()), |bench| {
        bench.iter(|| walk(&block, &mut position, |_, value| _ = black_box(value)));
    });
    group.finish();
}

fn walk(block: &Block, position: &mut Position, mut visit: impl FnMut(&[u8], &[u8])) {
    block.first(position);
    while let Some(entry) = block.entry(position) {
        visit(entry.sort_key, entry.value);
        block.next(position);
    }
}

fn keys_of(block: &Block) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    walk(block, &mut Position::default(), |key, _| keys.push(key.to_vec()));
    keys
}
