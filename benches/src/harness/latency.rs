//! Latencies, sampled or complete.

use super::{Outcome, Run};
use hdrhistogram::Histogram;
use std::time::Instant;

/// One operation in about 64 is timed, so that timing doesn't level what is compared. Odd and prime, so that what an
/// engine does every 32 or 64 operations is neither always timed nor never.
const EVERY: usize = 61;
/// Longest latency kept apart, in ns.
const MAX_NS: u64 = 600_000_000_000;

/// A histogram of latencies in ns.
#[derive(Clone, Debug)]
pub struct Latency {
    histogram: Histogram<u64>,
}

impl Latency {
    pub fn new() -> Outcome<Self> {
        Ok(Self { histogram: Histogram::new_with_bounds(1, MAX_NS, 3)? })
    }

    pub fn add(&mut self, ns: u64) {
        self.histogram.saturating_record(ns.max(1));
    }

    /// Runs the `index`-th operation, timed if it is its turn.
    #[inline]
    pub fn sample<R>(&mut self, index: usize, operation: impl FnOnce() -> R) -> R {
        if !index.is_multiple_of(EVERY) {
            return operation();
        }
        let started = Instant::now();
        let result = operation();
        self.add(started.elapsed().as_nanos() as u64);
        result
    }

    pub fn percentile(&self, percent: f64) -> f64 {
        self.histogram.value_at_percentile(percent) as f64
    }

    pub fn max(&self) -> f64 {
        self.histogram.max() as f64
    }

    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// Reports p50, p99, p99.9 and the longest.
    pub fn report(&self, run: &mut Run, case: &str, what: &str) -> Outcome {
        for (name, percent) in [("p50", 50.0), ("p99", 99.0), ("p99.9", 99.9)] {
            run.figure(case, &format!("{what} {name}"), self.percentile(percent), "ns")?;
        }
        run.figure(case, &format!("{what} longest"), self.max(), "ns")
    }
}
