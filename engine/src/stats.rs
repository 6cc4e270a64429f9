//! The building blocks of metrics: counters, latency histograms, and the text that monitoring systems read.
//!
//! Recording is lock-free and never waits; reading may be a little behind and may find one number newer than its
//! neighbour. Values that have one writer at a time (a shard's, behind its gate) are recorded by the `_exclusive`
//! forms, which cost a plain load and store instead of an atomic addition.

mod histogram;
mod prometheus;

pub use histogram::{Histogram, HistogramSnapshot};
pub use prometheus::{MetricKind, prometheus, prometheus_summary};

use crate::platform::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
///
/// All accesses are relaxed: a counter orders nothing.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// A counter at 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `amount`, from any thread.
    #[inline]
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// Adds `amount` from a place where no other thread can be adding. Were one to, additions would be lost.
    #[inline]
    pub fn add_exclusive(&self, amount: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
    }

    /// The number now.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Declares a struct of [`Counter`]s and the struct of plain numbers that is its snapshot.
///
/// A counter's doc comment is also its help text in the exported metrics.
///
/// ```
/// alluvium::counters! {
///     /// What a cache does.
///     pub struct CacheCounters => CacheCounts {
///         /// Blocks found.
///         hits,
///         /// Blocks read from a segment.
///         misses,
///     }
/// }
/// let counters = CacheCounters::default();
/// counters.hits.add(2);
/// let mut counts = counters.snapshot();
/// counts.merge(&counters.snapshot());
/// assert_eq!((counts.hits, counts.misses), (4, 0));
/// counts.each(|name, help, value| println!("{name} ({help}) = {value}"));
/// ```
#[macro_export]
macro_rules! counters {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $counters:ident => $counts:ident {
            $($(#[doc = $help:literal])+ $name:ident),+ $(,)?
        }
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Default)]
        $visibility struct $counters {
            $($(#[doc = $help])+ pub $name: $crate::stats::Counter,)+
        }

        impl $counters {
            /// The numbers now.
            $visibility fn snapshot(&self) -> $counts {
                $counts { $($name: self.$name.get(),)+ }
            }
        }

        $(#[$attribute])*
        ///
        /// These are the numbers of one moment.
        #[derive(Debug, Default, Clone, PartialEq, Eq)]
        $visibility struct $counts {
            $($(#[doc = $help])+ pub $name: u64,)+
        }

        impl $counts {
            /// Adds the numbers of another snapshot.
            $visibility fn merge(&mut self, other: &Self) {
                $(self.$name = self.$name.wrapping_add(other.$name);)+
            }

            /// Shows each counter: its name, its help text, its value.
            $visibility fn each(&self, mut show: impl FnMut(&'static str, &'static str, u64)) {
                $(show(stringify!($name), concat!($($help),+).trim(), self.$name);)+
            }
        }
    };
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::Counter;

    crate::counters! {
        /// Counters of a test.
        pub struct TestCounters => TestCounts {
            /// Records put.
            puts,
            /// Bytes written,
            /// in two lines.
            written_bytes,
        }
    }

    #[test]
    fn counters_add_up_over_threads() {
        let counters = Arc::new(TestCounters::default());
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let counters = Arc::clone(&counters);
                thread::spawn(move || (0..10_000).for_each(|_| counters.puts.add(1)))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        counters.written_bytes.add_exclusive(5);
        counters.written_bytes.add_exclusive(6);
        assert_eq!(counters.snapshot(), TestCounts { puts: 40_000, written_bytes: 11 });
    }

    #[test]
    fn snapshots_merge_and_name_their_counters() {
        let counters = TestCounters::default();
        counters.puts.add(3);
        let mut counts = counters.snapshot();
        counts.merge(&TestCounts { puts: 4, written_bytes: 9 });
        let mut shown = Vec::new();
        counts.each(|name, help, value| shown.push((name, help, value)));
        assert_eq!(shown, [("puts", "Records put.", 7), ("written_bytes", "Bytes written, in two lines.", 9)]);
    }

    #[test]
    fn a_counter_wraps_rather_than_panics() {
        let counter = Counter::new();
        counter.add_exclusive(u64::MAX);
        counter.add(2);
        assert_eq!(counter.get(), 1);
    }
}
