//! A [`JobStore`] that counts its operations and times a sample of them.

use std::ops::ControlFlow;
use std::time::Instant;

use alluvium::error::Result;
use alluvium::key::Key;

use crate::job::store::{JobStore, Span};
use crate::job::table::Table;

/// One operation in so many is timed, on average. The distance varies, so that the samples don't fall into step with
/// the job's own rhythm.
const SAMPLE_EVERY: u64 = 64;

/// A store under measurement.
pub struct Metered<S> {
    store: S,
    operations: u64,
    next_sample: u64,
    random: u64,
    samples_ns: Vec<u64>,
}

impl<S> Metered<S> {
    /// Begins to measure a store.
    pub fn new(store: S) -> Self {
        Self { store, operations: 0, next_sample: SAMPLE_EVERY, random: 0x9E37_79B9_7F4A_7C15, samples_ns: Vec::new() }
    }

    /// How many operations there were.
    pub fn operations(&self) -> u64 {
        self.operations
    }

    /// The latencies sampled since the last call, rounded to three digits: nanoseconds and how often.
    pub fn take_samples(&mut self) -> Vec<(u64, u64)> {
        self.samples_ns.iter_mut().for_each(|sample| *sample = three_digits(*sample));
        self.samples_ns.sort_unstable();
        let runs = self.samples_ns.chunk_by(|left, right| left == right);
        let samples = runs.map(|run| (run[0], run.len() as u64)).collect();
        self.samples_ns.clear();
        samples
    }

    #[inline]
    fn measure<R>(&mut self, operation: impl FnOnce(&mut S) -> R) -> R {
        self.operations += 1;
        if self.operations < self.next_sample {
            return operation(&mut self.store);
        }
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.next_sample = self.operations + 1 + (self.random >> 33) % (2 * SAMPLE_EVERY - 1);
        let started = Instant::now();
        let outcome = operation(&mut self.store);
        self.samples_ns.push(u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX));
        outcome
    }
}

fn three_digits(number: u64) -> u64 {
    let mut unit = 1;
    while number / unit >= 1_000 {
        unit *= 10;
    }
    number / unit * unit
}

impl<S: JobStore> JobStore for Metered<S> {
    fn read<R>(&mut self, table: Table, key: Key<'_>, with: impl FnOnce(Option<&[u8]>) -> R) -> Result<R> {
        self.measure(|store| store.read(table, key, with))
    }

    fn put(&mut self, table: Table, key: Key<'_>, value: &[u8]) -> Result<()> {
        self.measure(|store| store.put(table, key, value))
    }

    fn delete(&mut self, table: Table, key: Key<'_>) -> Result<()> {
        self.measure(|store| store.delete(table, key))
    }

    fn update<V: AsRef<[u8]>>(
        &mut self,
        table: Table,
        key: Key<'_>,
        with: impl FnOnce(Option<&[u8]>) -> Option<V>,
    ) -> Result<()> {
        self.measure(|store| store.update(table, key, with))
    }

    fn append(&mut self, table: Table, key: Key<'_>, element: &[u8]) -> Result<()> {
        self.measure(|store| store.append(table, key, element))
    }

    fn list(&mut self, table: Table, key: Key<'_>) -> Result<Vec<Vec<u8>>> {
        self.measure(|store| store.list(table, key))
    }

    fn add(&mut self, table: Table, key: Key<'_>, amount: u64) -> Result<()> {
        self.measure(|store| store.add(table, key, amount))
    }

    fn map_get(&mut self, table: Table, key: Key<'_>, user_key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.measure(|store| store.map_get(table, key, user_key))
    }

    fn map_put(&mut self, table: Table, key: Key<'_>, user_key: &[u8], value: &[u8]) -> Result<()> {
        self.measure(|store| store.map_put(table, key, user_key, value))
    }

    fn map_delete(&mut self, table: Table, key: Key<'_>, user_key: &[u8]) -> Result<()> {
        self.measure(|store| store.map_delete(table, key, user_key))
    }

    fn map_clear(&mut self, table: Table, key: Key<'_>) -> Result<()> {
        self.measure(|store| store.map_clear(table, key))
    }

    fn map_scan(
        &mut self,
        table: Table,
        key: Key<'_>,
        span: Span<'_>,
        visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<()> {
        self.measure(|store| store.map_scan(table, key, span, visit))
    }

    fn map_first(&mut self, table: Table, key: Key<'_>) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        self.measure(|store| store.map_first(table, key))
    }

    fn map_pop_first(&mut self, table: Table, key: Key<'_>) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        self.measure(|store| store.map_pop_first(table, key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::memory_store::MemoryStore;

    #[test]
    fn every_operation_counts_and_one_in_sixty_four_is_timed() {
        let mut store = Metered::new(MemoryStore::default());
        let key = Key::hashed(128, b"k");
        for _ in 0..64_000 {
            store.add(Table::Late, key, 1).unwrap();
        }
        assert_eq!(store.operations(), 64_000);
        let samples = store.take_samples();
        let sampled: u64 = samples.iter().map(|&(_, count)| count).sum();
        assert!((700..1_300).contains(&sampled), "{sampled}");
        assert!(samples.is_sorted_by(|left, right| left.0 < right.0));
        assert!(store.take_samples().is_empty());
    }

    #[test]
    fn samples_keep_three_digits() {
        assert_eq!([999, 1_234, 56_789].map(three_digits), [999, 1_230, 56_700]);
    }
}
