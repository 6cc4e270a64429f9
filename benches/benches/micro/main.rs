//! Single operations under criterion, to compare two versions of the code: `cargo bench -p alluvium-bench`.
//!
//! The figures that the project claims come from the program beside this (`docs/benchmarks.md`); here one operation is
//! looked at alone, in a state that fits a core's caches, so that what is measured is mostly instructions.
#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

mod blocks;
mod checkpoints;
mod clock;
mod filters;
mod maps;
mod merges;
mod segments;
mod values;

use alluvium::{Engine, EngineOptions, Key, KeyGroup, Store, StoreOptions, Writer};
use clock::{ProcessorCriterion, ProcessorTime, processor_time};
use criterion::{Criterion, criterion_group, criterion_main};
use std::time::Duration;

const KEYS: u32 = 20_000;

struct Subject {
    store: Store,
    writer: Writer,
    _directory: tempfile::TempDir,
}

impl Subject {
    fn new() -> Self {
        Self::with(EngineOptions::default(), StoreOptions::default())
    }

    fn with(engine: EngineOptions, store: StoreOptions) -> Self {
        let directory = tempfile::tempdir_in(".").unwrap();
        let engine = Engine::open(EngineOptions { memory_budget_bytes: 64 << 20, ..engine }).unwrap();
        let store = Store::create(&engine, directory.path(), store).unwrap();
        let writer = store.writer(store.range()).unwrap();
        Self { store, writer, _directory: directory }
    }
}

/// The name of a key: 16 bytes, in a key group of its own choice.
type Name = (KeyGroup, [u8; 16]);

/// The names with these numbers, each number another one.
fn names(numbers: std::ops::Range<u32>) -> Vec<Name> {
    let mix = |number: u32| u128::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    numbers.map(|number| (KeyGroup((number % 128) as u16), mix(number).to_be_bytes())).collect()
}

fn keys(names: &[Name]) -> Vec<Key<'_>> {
    names.iter().map(|(group, name)| Key::new(*group, name)).collect()
}

fn plus_one(old: Option<&[u8]>) -> Option<[u8; 8]> {
    let old = old.and_then(|old| old.try_into().ok()).map_or(0, u64::from_le_bytes);
    Some((old + 1).to_le_bytes())
}

/// The processor's time of `count` operations that each key takes only once until `restore` has put everything back, which
/// isn't counted. They are timed in whole rounds: how long the first ones take after `restore` is no measure of the others.
fn once_each<T>(
    keys: &[Key<'_>],
    count: u64,
    each: impl Fn(&mut T, Key<'_>),
    restore: impl Fn(&mut T),
    on: &mut T,
) -> Duration {
    let rounds = count.div_ceil(keys.len() as u64);
    let mut time = Duration::ZERO;
    for _ in 0..rounds {
        restore(on);
        let start = processor_time();
        keys.iter().for_each(|key| each(on, *key));
        time += processor_time() - start;
    }
    time.mul_f64(count as f64 / (rounds * keys.len() as u64) as f64)
}

/// Short: all of them together take a minute and a half.
fn config() -> Criterion {
    let (warm_up, measurement) = (Duration::from_millis(300), Duration::from_millis(1000));
    Criterion::default().warm_up_time(warm_up).measurement_time(measurement).sample_size(40).nresamples(10_000)
}

fn computing_config() -> ProcessorCriterion {
    config().with_measurement(ProcessorTime)
}

criterion_group! {
    name = computing;
    config = computing_config();
    targets = values::all, maps::all, blocks::all, filters::all, merges::all
}
criterion_group! {
    name = waiting;
    config = config();
    targets = checkpoints::all
}
criterion_main!(computing, waiting);
