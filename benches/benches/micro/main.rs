//! Single operations under criterion, to compare two versions of the code: `cargo bench -p alluvium-bench`.
//!
//! The figures that the project claims come from the program beside this (`docs/benchmarks.md`); here one operation is
//! looked at alone, in a state that fits a core's caches, so that what is measured is mostly instructions.
#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

use alluvium::{Barrier, Engine, EngineOptions, Key, KeyGroup, MapRange, StateOptions, Store, StoreOptions, Writer};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::ops::ControlFlow;

const KEYS: u32 = 20_000;

struct Subject {
    store: Store,
    writer: Writer,
    _directory: tempfile::TempDir,
}

impl Subject {
    fn new() -> Self {
        let directory = tempfile::tempdir_in(".").unwrap();
        let options = EngineOptions { memory_budget_bytes: 64 << 20, ..EngineOptions::default() };
        let store = Store::create(&Engine::open(options).unwrap(), directory.path(), StoreOptions::default()).unwrap();
        let writer = store.writer(store.range()).unwrap();
        Self { store, writer, _directory: directory }
    }
}

/// 16 bytes, in a key group of their own choice.
fn names() -> Vec<(KeyGroup, [u8; 16])> {
    let mix = |number: u32| u128::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    (0..KEYS).map(|number| (KeyGroup((number % 128) as u16), mix(number).to_be_bytes())).collect()
}

fn plus_one(old: Option<&[u8]>) -> Option<[u8; 8]> {
    let old = old.and_then(|old| old.try_into().ok()).map_or(0, u64::from_le_bytes);
    Some((old + 1).to_le_bytes())
}

fn values(criterion: &mut Criterion) {
    let mut subject = Subject::new();
    let state = subject.store.state(StateOptions::value("values")).unwrap();
    let names = names();
    let keys: Vec<Key<'_>> = names.iter().map(|(group, name)| Key::new(*group, name)).collect();
    let writer = &mut subject.writer;
    keys.iter().for_each(|key| writer.put(state, *key, &[0; 8]).unwrap());
    let mut group = criterion.benchmark_group("value");
    group.throughput(Throughput::Elements(1));
    let mut next = keys.iter().cycle();
    group.bench_function("put", |bench| bench.iter(|| writer.put(state, *next.next().unwrap(), &[1; 8]).unwrap()));
    group.bench_function("read", |bench| {
        bench.iter(|| writer.read(state, *next.next().unwrap(), |value| black_box(value.is_some())).unwrap());
    });
    group.bench_function("update", |bench| {
        bench.iter(|| writer.update(state, *next.next().unwrap(), plus_one).unwrap());
    });
    group.throughput(Throughput::Elements(32));
    let mut batches = keys.chunks_exact(32).cycle();
    group.bench_function("update_many, 32 keys", |bench| {
        bench.iter(|| writer.update_many(state, batches.next().unwrap(), |_, old| plus_one(old)).unwrap());
    });
    group.finish();
}

fn maps(criterion: &mut Criterion) {
    let mut subject = Subject::new();
    let state = subject.store.state(StateOptions::map("map")).unwrap();
    let writer = &mut subject.writer;
    let key = Key::new(KeyGroup(3), b"map");
    let user_keys: Vec<[u8; 8]> = (0..u64::from(KEYS)).map(u64::to_be_bytes).collect();
    user_keys.iter().for_each(|user_key| writer.map_put(state, key, user_key, &[0; 8]).unwrap());
    let mut group = criterion.benchmark_group("map");
    let mut next = user_keys.iter().cycle();
    group.bench_function("put", |bench| {
        bench.iter(|| writer.map_put(state, key, next.next().unwrap(), &[1; 8]).unwrap());
    });
    group.bench_function("read", |bench| {
        bench.iter(|| writer.map_read(state, key, next.next().unwrap(), |value| black_box(value.is_some())).unwrap());
    });
    group.bench_function("scan of 100", |bench| {
        bench.iter(|| {
            let from = std::ops::Bound::Included(&next.next().unwrap()[..]);
            let mut left = 100;
            let range = MapRange::between(from, std::ops::Bound::Unbounded);
            let visit = |_: &[u8], value: &[u8]| {
                black_box(value);
                left -= 1;
                if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            writer.map_scan(state, key, &range, visit).unwrap();
        });
    });
    group.finish();
}

fn checkpoints(criterion: &mut Criterion) {
    let mut subject = Subject::new();
    let state = subject.store.state(StateOptions::value("values")).unwrap();
    let names = names();
    let mut label = 0;
    let mut group = criterion.benchmark_group("checkpoint");
    group.sample_size(20);
    group.throughput(Throughput::Elements(u64::from(KEYS)));
    group.bench_function("of 20,000 changed counters, barrier to completion", |bench| {
        let Subject { store, writer, .. } = &mut subject;
        bench.iter_batched(
            || names.iter().for_each(|(group, name)| writer.update(state, Key::new(*group, name), plus_one).unwrap()),
            |()| {
                label += 1;
                store.barrier(Barrier::new(label)).unwrap().wait().unwrap()
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(all, values, maps, checkpoints);
criterion_main!(all);
