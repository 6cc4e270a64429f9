//! Latencies, sampled or complete.

use super::{Outcome, Run};
use hdrhistogram::Histogram;
use std::time::{Duration, Instant};

/// One operation in about 64 is timed, so that timing doesn't level what is compared. Odd and prime, so that what an
/// engine does every 32 or 64 operations is neither always timed nor never.
const EVERY: usize = 61;
/// Longest latency kept apart, in ns.
const MAX_NS: u64 = 600_000_000_000;

/// A histogram of latencies in ns.
#[derive(Clone, Debug)]
pub struct Latency {
    histogram: Histogram<u64>,
    /// When the last one that was timed ended, while there is nothing but operations.
    since: Option<Instant>,
    /// The longest stretch of operations that were not timed.
    stretch_max: Option<Duration>,
}

impl Latency {
    pub fn new() -> Outcome<Self> {
        Ok(Self { histogram: Histogram::new_with_bounds(1, MAX_NS, 3)?, since: None, stretch_max: None })
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
        let ended = Instant::now();
        self.add((ended - started).as_nanos() as u64);
        if let Some(since) = self.since {
            self.stretched(started - since);
            self.since = Some(ended);
        }
        result
    }

    /// From now on there is nothing but operations, until [`Latency::pause`].
    pub fn resume(&mut self) {
        self.since = Some(Instant::now());
    }

    /// Something else begins, which isn't to count as an operation.
    pub fn pause(&mut self) {
        if let Some(since) = self.since.take() {
            self.stretched(since.elapsed());
        }
    }

    fn stretched(&mut self, stretch: Duration) {
        self.stretch_max = self.stretch_max.max(Some(stretch));
    }

    /// No operation between [`Latency::resume`] and [`Latency::pause`] took longer than so many ns, timed or not. Those between two that are
    /// timed took as long together as lies between: that is known without another look at the clock, which would take a fifth of the time of
    /// the fastest operations. `None` where it wasn't asked for.
    pub fn longest_of_all(&self) -> Option<u64> {
        Some((self.stretch_max?.as_nanos() as u64).max(self.histogram.max()))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What isn't timed is bounded by what is around it, and what is no operation isn't in it.
    #[test]
    fn the_longest_of_all_is_known() -> Outcome {
        let (long, longer) = (Duration::from_millis(20), Duration::from_millis(2_000));
        let mut latency = Latency::new()?;
        assert_eq!(latency.longest_of_all(), None);
        latency.resume();
        for index in 0..2 * EVERY {
            latency.sample(index, || {
                if index == EVERY + 5 {
                    std::thread::sleep(long)
                }
            });
        }
        latency.pause();
        assert!(latency.longest_of_all() >= Some(long.as_nanos() as u64), "{latency:?}");
        let stretch = latency.stretch_max;
        // As if something else had begun so long ago.
        latency.since = None;
        latency.sample(0, || ());
        assert_eq!(latency.stretch_max, stretch);
        latency.since = Instant::now().checked_sub(longer);
        latency.pause();
        assert!(latency.stretch_max >= Some(longer) && latency.since.is_none(), "{latency:?}");
        Ok(())
    }
}
