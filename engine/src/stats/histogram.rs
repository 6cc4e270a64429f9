//! A latency histogram of 2 KiB: log-linear buckets (as HdrHistogram has), recorded without locks.
//!
//! Durations below 64 ns have a bucket each. Above, each power of two is cut into 17 equal buckets, up to 2^32 ns
//! (4.3 s); what is longer shares the last bucket, whose size is known by the maximum alone. A bucket's value is the
//! harmonic mean of its bounds, which is off by at most 3 % from anything in it.
//!
//! Buckets are 32 bits wide. One that comes to 2^31 halves all of them: percentiles keep their shape, with old
//! durations counting for less, and `count`, `sum` and `max` stay exact.

use std::fmt;

use crate::platform::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Durations with a bucket each.
const EXACT: u64 = 1 << EXACT_BITS;
const EXACT_BITS: u32 = 6;
/// Buckets a power of two.
const CUTS: u64 = 17;
/// Durations from here on share the last bucket.
const LIMIT_BITS: u32 = 32;
const BUCKETS: usize = EXACT as usize + ((LIMIT_BITS - EXACT_BITS) as u64 * CUTS) as usize + 1;
/// At this count a bucket halves all: far below the width, as others go on recording meanwhile.
const HALVE_AT: u32 = 1 << 31;

const _: () = assert!(size_of::<Histogram>() <= 2056 || cfg!(loom));

/// The bucket of a duration.
#[inline]
fn bucket(ns: u64) -> usize {
    if ns < EXACT {
        return ns as usize;
    }
    let power = ns.ilog2();
    if power >= LIMIT_BITS {
        return BUCKETS - 1;
    }
    let cut = ((ns - (1 << power)) * CUTS) >> power;
    (EXACT + u64::from(power - EXACT_BITS) * CUTS + cut) as usize
}

/// The shortest duration of a bucket.
fn lower_bound_ns(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < EXACT {
        return bucket;
    }
    let power = (bucket - EXACT) / CUTS + u64::from(EXACT_BITS);
    let cut = (bucket - EXACT) % CUTS;
    (1 << power) + (cut << power).div_ceil(CUTS)
}

/// The duration that stands for a bucket (not for the last one, which has no end).
fn value_ns(bucket: usize) -> u64 {
    let (low, high) = (lower_bound_ns(bucket), lower_bound_ns(bucket + 1) - 1);
    if low == high {
        return low;
    }
    let mean = 2.0 * low as f64 * high as f64 / (low as f64 + high as f64);
    mean.round() as u64
}

/// Durations, counted by their size. Recorded by any number of threads, read at any time.
pub struct Histogram {
    buckets: [AtomicU32; BUCKETS],
    /// What halving took out of the buckets.
    halved: AtomicU64,
    sum_ns: AtomicU64,
    max_ns: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl Histogram {
    /// An empty histogram.
    pub fn new() -> Self {
        Self {
            buckets: std::array::from_fn(|_| AtomicU32::new(0)),
            halved: AtomicU64::new(0),
            sum_ns: AtomicU64::new(0),
            max_ns: AtomicU64::new(0),
        }
    }

    /// Records a duration, from any thread.
    #[inline]
    pub fn record(&self, ns: u64) {
        let before = self.buckets[bucket(ns)].fetch_add(1, Ordering::Relaxed);
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
        if ns > self.max_ns.load(Ordering::Relaxed) {
            self.max_ns.fetch_max(ns, Ordering::Relaxed);
        }
        if before == HALVE_AT - 1 {
            self.halve();
        }
    }

    /// Records a duration from a place where no other thread can be recording. Were one to, records would be lost.
    #[inline]
    pub fn record_exclusive(&self, ns: u64) {
        let bucket = &self.buckets[bucket(ns)];
        let before = bucket.load(Ordering::Relaxed);
        bucket.store(before.wrapping_add(1), Ordering::Relaxed);
        self.sum_ns.store(self.sum_ns.load(Ordering::Relaxed).wrapping_add(ns), Ordering::Relaxed);
        if ns > self.max_ns.load(Ordering::Relaxed) {
            self.max_ns.store(ns, Ordering::Relaxed);
        }
        if before == HALVE_AT - 1 {
            self.halve();
        }
    }

    /// Halves every bucket, by subtraction: what others record meanwhile isn't lost.
    #[cold]
    fn halve(&self) {
        for bucket in &self.buckets {
            let half = bucket.load(Ordering::Relaxed) / 2;
            bucket.fetch_sub(half, Ordering::Relaxed);
            self.halved.fetch_add(u64::from(half), Ordering::Relaxed);
        }
    }

    /// The numbers now, to compute with.
    pub fn snapshot(&self) -> HistogramSnapshot {
        let mut snapshot = HistogramSnapshot::default();
        self.add_to(&mut snapshot);
        snapshot
    }

    /// Adds this histogram to a snapshot: as `merge`, without a copy between.
    pub fn add_to(&self, snapshot: &mut HistogramSnapshot) {
        let buckets = snapshot.buckets_mut();
        let mut weight = 0;
        for (sum, bucket) in buckets.iter_mut().zip(&self.buckets) {
            let count = u64::from(bucket.load(Ordering::Relaxed));
            *sum += count;
            weight += count;
        }
        snapshot.weight += weight;
        snapshot.count += weight + self.halved.load(Ordering::Relaxed);
        snapshot.sum_ns = snapshot.sum_ns.wrapping_add(self.sum_ns.load(Ordering::Relaxed));
        snapshot.max_ns = snapshot.max_ns.max(self.max_ns.load(Ordering::Relaxed));
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.snapshot().fmt(f)
    }
}

/// What one or several histograms held at a moment.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct HistogramSnapshot {
    /// Empty (nothing recorded) or of length `BUCKETS`.
    buckets: Vec<u64>,
    /// The sum of the buckets: `count` less what halving took out.
    weight: u64,
    count: u64,
    sum_ns: u64,
    max_ns: u64,
}

impl HistogramSnapshot {
    fn buckets_mut(&mut self) -> &mut [u64] {
        self.buckets.resize(BUCKETS, 0);
        &mut self.buckets
    }

    /// How many durations were recorded.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The sum of all durations.
    pub fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    /// The longest duration, exactly; 0 if there is none.
    pub fn max_ns(&self) -> u64 {
        self.max_ns
    }

    /// The mean duration; 0 if there is none.
    pub fn mean_ns(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum_ns as f64 / self.count as f64 }
    }

    /// The duration that a share `q` of all durations doesn't exceed (0.5 is the median, 1.0 the maximum), at most 3 %
    /// off up to 4.3 s; a quantile among longer ones is given as the maximum. 0 if nothing was recorded.
    pub fn percentile(&self, q: f64) -> u64 {
        let rank = ((q.clamp(0.0, 1.0) * self.weight as f64).ceil() as u64).max(1);
        if rank >= self.weight {
            return self.max_ns;
        }
        let mut passed = 0;
        for (bucket, count) in self.buckets[..BUCKETS - 1].iter().enumerate() {
            passed += count;
            if passed >= rank {
                return value_ns(bucket).min(self.max_ns);
            }
        }
        self.max_ns
    }

    /// Adds what another snapshot holds.
    pub fn merge(&mut self, other: &Self) {
        for (sum, count) in self.buckets_mut().iter_mut().zip(&other.buckets) {
            *sum += count;
        }
        self.weight += other.weight;
        self.count += other.count;
        self.sum_ns = self.sum_ns.wrapping_add(other.sum_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
    }
}

impl fmt::Debug for HistogramSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram")
            .field("count", &self.count)
            .field("p50_ns", &self.percentile(0.5))
            .field("p99_ns", &self.percentile(0.99))
            .field("p999_ns", &self.percentile(0.999))
            .field("max_ns", &self.max_ns)
            .finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn buckets_follow_each_other_without_gaps() {
        for index in 0..BUCKETS {
            assert_eq!(bucket(lower_bound_ns(index)), index, "the first of bucket {index}");
            if index > 0 {
                assert_eq!(bucket(lower_bound_ns(index) - 1), index - 1, "the last before bucket {index}");
            }
        }
        assert_eq!(lower_bound_ns(BUCKETS - 1), 1 << LIMIT_BITS);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn a_bucket_stands_for_its_durations_within_three_percent() {
        for index in 1..BUCKETS - 1 {
            for ns in [lower_bound_ns(index), lower_bound_ns(index + 1) - 1] {
                let error = (value_ns(index) as f64 - ns as f64).abs() / ns as f64;
                assert!(error <= 0.03, "bucket {index}: {ns} ns is given as {}", value_ns(index));
            }
        }
    }

    #[test]
    fn nothing_recorded_is_zero_everywhere() {
        let empty = Histogram::new().snapshot();
        assert_eq!((empty.count(), empty.max_ns(), empty.percentile(0.5), empty.percentile(1.0)), (0, 0, 0, 0));
        assert_eq!(HistogramSnapshot::default().percentile(0.99), 0);
        assert_eq!(HistogramSnapshot::default().mean_ns(), 0.0);
    }

    #[test]
    fn a_long_stall_is_reported_as_the_maximum() {
        let histogram = Histogram::new();
        (0..10).for_each(|_| histogram.record(100));
        histogram.record(60_000_000_000);
        histogram.record(90_000_000_000);
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.percentile(0.9), 90_000_000_000);
        assert!((97..=103).contains(&snapshot.percentile(0.5)));
    }

    #[test]
    fn a_full_bucket_halves_all_and_keeps_the_count() {
        for record in [Histogram::record, Histogram::record_exclusive] {
            let histogram = Histogram::new();
            histogram.buckets[bucket(1_000)].store(1_000_000, Ordering::Relaxed);
            histogram.buckets[bucket(10)].store(HALVE_AT - 1, Ordering::Relaxed);
            record(&histogram, 10);
            assert_eq!(histogram.buckets[bucket(10)].load(Ordering::Relaxed), HALVE_AT / 2);
            assert_eq!(histogram.buckets[bucket(1_000)].load(Ordering::Relaxed), 500_000);
            assert_eq!(histogram.snapshot().count(), u64::from(HALVE_AT) + 1_000_000);
            assert_eq!(histogram.snapshot().percentile(0.5), 10);
        }
    }

    #[test]
    fn threads_record_beside_each_other() {
        let histogram = Arc::new(Histogram::new());
        let threads: Vec<_> = (1..=4_u64)
            .map(|thread| {
                let histogram = Arc::clone(&histogram);
                thread::spawn(move || (0..10_000).for_each(|_| histogram.record(thread * 1_000)))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let snapshot = histogram.snapshot();
        assert_eq!((snapshot.count(), snapshot.sum_ns(), snapshot.max_ns()), (40_000, 100_000_000, 4_000));
    }

    fn exact_percentile(sorted: &[u64], q: f64) -> u64 {
        let rank = ((q * sorted.len() as f64).ceil() as usize).max(1);
        sorted[rank - 1]
    }

    proptest! {
        /// Beside a sorted list: percentiles within 3 %, and merging is the same as recording in one.
        #[test]
        fn percentiles_agree_with_a_sorted_list(
            mut left in prop::collection::vec((0_u32..32, any::<u64>()), 1..200),
            right in prop::collection::vec((0_u32..32, any::<u64>()), 0..200),
            q in 0.0_f64..=1.0,
        ) {
            let size = |&(bits, ns): &(u32, u64)| ns % (1 << bits);
            let (first, second, both) = (Histogram::new(), Histogram::new(), Histogram::new());
            left.iter().map(size).for_each(|ns| { first.record(ns); both.record_exclusive(ns); });
            right.iter().map(size).for_each(|ns| { second.record_exclusive(ns); both.record(ns); });
            let mut merged = first.snapshot();
            merged.merge(&second.snapshot());
            prop_assert_eq!(&merged, &both.snapshot());
            left.extend(right);
            let mut sorted: Vec<u64> = left.iter().map(size).collect();
            sorted.sort_unstable();
            prop_assert_eq!(merged.count(), sorted.len() as u64);
            prop_assert_eq!(merged.max_ns(), sorted[sorted.len() - 1]);
            let (given, exact) = (merged.percentile(q) as f64, exact_percentile(&sorted, q) as f64);
            prop_assert!((given - exact).abs() <= exact * 0.03, "q {}: {} for {}", q, given, exact);
        }
    }
}
