//! Checkpoints: how long one takes, and how long its barrier holds the writer that asks for it.

use super::{KEYS, Subject, names, plus_one};
use alluvium::{Barrier, Key, StateOptions};
use criterion::{BatchSize, Criterion, SamplingMode, Throughput};
use std::time::{Duration, Instant};

pub fn all(criterion: &mut Criterion) {
    let mut subject = Subject::new();
    let state = subject.store.state(StateOptions::value("values")).unwrap();
    let names = names(0..KEYS);
    let writer = &mut subject.writer;
    let mut label = 0;
    let mut group = criterion.benchmark_group("checkpoint");
    group.sample_size(20).sampling_mode(SamplingMode::Flat).measurement_time(Duration::from_secs(2));
    // The same time, however much it cuts off: it hands lists over.
    for count in [200, KEYS] {
        group.bench_function(format!("the barrier alone, {count} changed counters"), |bench| {
            bench.iter_custom(|barriers| {
                let mut time = Duration::ZERO;
                for _ in 0..barriers {
                    let changed = names[..count as usize].iter();
                    changed.for_each(|(group, name)| writer.update(state, Key::new(*group, name), plus_one).unwrap());
                    label += 1;
                    let start = Instant::now();
                    let pending = writer.barrier(Barrier::new(label)).unwrap();
                    time += start.elapsed();
                    pending.wait().unwrap();
                }
                time
            });
        });
    }
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
