//! Values in memory, of one writer: the tables of `engine/src/hot`, and the way to them.

use super::clock::{ProcessorBencher, ProcessorCriterion};
use super::{KEYS, Subject, keys, names, once_each, plus_one};
use alluvium::{Barrier, Key, State, StateOptions, Writer};
use criterion::Throughput;
use std::hint::black_box;

pub fn all(criterion: &mut ProcessorCriterion) {
    known(criterion);
    new(criterion);
    first_after_a_barrier(criterion);
}

fn read(bench: &mut ProcessorBencher<'_>, writer: &mut Writer, state: State, keys: &[Key<'_>]) {
    let mut next = keys.iter().cycle();
    bench.iter(|| writer.read(state, *next.next().unwrap(), |value| black_box(value.is_some())).unwrap());
}

/// Keys that memory has, and those of which it knows that they are nowhere: nothing was ever evicted.
fn known(criterion: &mut ProcessorCriterion) {
    let mut subject = Subject::new();
    let state = subject.store.state(StateOptions::value("values")).unwrap();
    let (present, absent) = (names(0..KEYS), names(KEYS..2 * KEYS));
    let (present, absent) = (keys(&present), keys(&absent));
    let writer = &mut subject.writer;
    present.iter().for_each(|key| writer.put(state, *key, &[0; 8]).unwrap());
    let mut group = criterion.benchmark_group("value");
    group.throughput(Throughput::Elements(1));
    group.bench_function("read, hit", |bench| read(bench, writer, state, &present));
    group.bench_function("read, miss", |bench| read(bench, writer, state, &absent));
    let mut next = present.iter().cycle();
    group.bench_function("put", |bench| bench.iter(|| writer.put(state, *next.next().unwrap(), &[1; 8]).unwrap()));
    group.bench_function("update", |bench| {
        bench.iter(|| writer.update(state, *next.next().unwrap(), plus_one).unwrap());
    });
    group.throughput(Throughput::Elements(32));
    let mut batches = present.chunks_exact(32).cycle();
    group.bench_function("update_many, 32 keys", |bench| {
        bench.iter(|| writer.update_many(state, batches.next().unwrap(), |_, old| plus_one(old)).unwrap());
    });
    group.throughput(Throughput::Elements(1));
    // Not what the quick path takes: any length but 8 bytes. Fewer keys, so that these too fit a core's caches.
    let longer = &present[..KEYS as usize / 8];
    longer.iter().for_each(|key| writer.put(state, *key, &[0; 100]).unwrap());
    let mut next = longer.iter().cycle();
    group.bench_function("update, 100 bytes", |bench| {
        bench.iter(|| writer.update(state, *next.next().unwrap(), |_| Some([1; 100])).unwrap());
    });
    group.finish();
}

/// Keys that come and go: in a store that never flushed, a deleted record leaves nothing behind.
fn new(criterion: &mut ProcessorCriterion) {
    let mut subject = Subject::new();
    let state = subject.store.state(StateOptions::value("values")).unwrap();
    let names = names(0..KEYS);
    let keys = keys(&names);
    let insert = |writer: &mut Writer, key: Key<'_>| writer.put(state, key, &[1; 8]).unwrap();
    let delete = |writer: &mut Writer, key: Key<'_>| writer.delete(state, key).unwrap();
    let insert_all = |writer: &mut Writer| keys.iter().for_each(|key| insert(writer, *key));
    let delete_all = |writer: &mut Writer| keys.iter().for_each(|key| delete(writer, *key));
    let writer = &mut subject.writer;
    let mut group = criterion.benchmark_group("value");
    group.throughput(Throughput::Elements(1));
    group.bench_function("insert", |bench| {
        bench.iter_custom(|count| once_each(&keys, count, insert, delete_all, writer));
    });
    group.bench_function("delete, of a record that was never flushed", |bench| {
        bench.iter_custom(|count| once_each(&keys, count, delete, insert_all, writer));
    });
    group.finish();
}

/// What the first change to a record costs after each barrier: it has to be entered in a dirty list.
fn first_after_a_barrier(criterion: &mut ProcessorCriterion) {
    let mut subject = Subject::new();
    let state = subject.store.state(StateOptions::value("values")).unwrap();
    let names = names(0..KEYS);
    let keys = keys(&names);
    let writer = &mut subject.writer;
    keys.iter().for_each(|key| writer.put(state, *key, &[0; 8]).unwrap());
    let update = |writer: &mut Writer, key: Key<'_>| writer.update(state, key, plus_one).unwrap();
    let checkpoint = |writer: &mut Writer| _ = writer.barrier(Barrier::new(1)).unwrap().wait().unwrap();
    let mut group = criterion.benchmark_group("value");
    group.throughput(Throughput::Elements(1));
    group.bench_function("update, the first after a barrier", |bench| {
        bench.iter_custom(|count| once_each(&keys, count, update, checkpoint, writer));
    });
    group.finish();
}
