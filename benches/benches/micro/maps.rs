//! Entries of one map in memory.

use super::clock::ProcessorCriterion;
use super::{KEYS, Subject};
use alluvium::{Key, KeyGroup, MapRange, StateOptions};
use std::hint::black_box;
use std::ops::ControlFlow;

pub fn all(criterion: &mut ProcessorCriterion) {
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
