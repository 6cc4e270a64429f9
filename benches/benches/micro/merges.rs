//! Merges of sorted runs into one, as compaction does them, without what is around it. What they read comes
//! from the page cache, and what they write goes there.

use super::clock::ProcessorCriterion;
use super::{KEYS, Name, Subject, names};
use alluvium::measuring::Merge;
use alluvium::{Barrier, Durability, EngineOptions, Key, PageCache, StateOptions, StoreOptions};
use criterion::{SamplingMode, Throughput};
use std::time::Duration;

/// Keys of the store whose bottom was loaded.
const LOADED: u32 = 200_000;

pub fn all(criterion: &mut ProcessorCriterion) {
    let mut group = criterion.benchmark_group("merge");
    group.sample_size(20).sampling_mode(SamplingMode::Flat).measurement_time(Duration::from_secs(2));
    for (name, inputs, left, subject) in [
        ("4 flushes, each of three quarters of 20,000 counters", 4, KEYS, flushes()),
        ("a bottom of 200,000 counters and 7 flushes of a 25th each", 8, LOADED, bottom_and_flushes()),
    ] {
        let merge = Merge::of(&subject.store).unwrap();
        assert_eq!((merge.inputs(), merge.run().unwrap()), (inputs, left.into()));
        group.throughput(Throughput::Elements(merge.records()));
        group.bench_function(name, |bench| bench.iter(|| merge.run().unwrap()));
    }
    group.finish();
}

fn subject() -> Subject {
    let engine = EngineOptions { page_cache: PageCache::Everything, ..EngineOptions::default() };
    Subject::with(engine, StoreOptions { durability: Durability::Host, ..StoreOptions::default() })
}

/// Puts some of the counters and has them flushed.
fn flush<'a>(subject: &mut Subject, names: impl Iterator<Item = &'a Name>) {
    let state = subject.store.state(StateOptions::value("values")).unwrap();
    names.for_each(|(group, name)| subject.writer.put(state, Key::new(*group, name), &[1; 8]).unwrap());
    subject.writer.barrier(Barrier::new(1)).unwrap().wait().unwrap();
}

/// One fewer than are merged without being asked.
fn flushes() -> Subject {
    let (mut subject, names) = (subject(), names(0..KEYS));
    for run in 0..4 {
        flush(&mut subject, names.iter().enumerate().filter(|(at, _)| at % 4 != run).map(|(_, name)| name));
    }
    subject
}

/// As they are just before what lies above the bottom is a large enough share of it.
fn bottom_and_flushes() -> Subject {
    let (mut subject, mut names) = (subject(), names(0..LOADED));
    let state = subject.store.state(StateOptions::value("values")).unwrap();
    names.sort_unstable();
    let mut load = subject.store.bulk_load(LOADED.into()).unwrap();
    names.iter().for_each(|(group, name)| load.put(state, Key::new(*group, name), &[0; 8]).unwrap());
    load.finish().unwrap();
    for run in 0..7 {
        flush(&mut subject, names.iter().skip(run).step_by(25));
    }
    subject
}
