//! Whether a merge has to hurry.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// With more layers above the bottom than this, merges hurry as long as flushes bring ever more of them.
const BEHIND: usize = 15;
/// With more than this in any case: a filter rules most layers out for a read of a key, but a scan asks each.
const FAR_BEHIND: usize = 100;
/// Flushes come fast where there is less than this between them.
const FAST: Duration = Duration::from_millis(500);

/// Watches how many layers there are above the bottom while they are merged.
///
/// What a burst of writes left can wait once that is over: reads pay more for a disk that is busy with merges than for layers.
#[derive(Debug)]
pub struct Urgency {
    layers: Cell<usize>,
    /// When the last layer came, or the watch began.
    last: Cell<Instant>,
    /// How long after the one before.
    gap: Cell<Duration>,
}

impl Urgency {
    /// From now on.
    pub fn new(now: Instant) -> Self {
        Self { layers: Cell::new(usize::MAX), last: Cell::new(now), gap: Cell::new(Duration::MAX) }
    }

    /// Whether to hurry, with so many layers now.
    pub fn is_behind(&self, layers: usize, now: Instant) -> bool {
        if layers > self.layers.replace(layers) {
            self.gap.set(now - self.last.replace(now));
        }
        let comes_fast = self.gap.get().max(now - self.last.get()) < FAST;
        layers > FAR_BEHIND || layers > BEHIND && comes_fast
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_hurries_while_flushes_outrun_it() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let urgency = Urgency::new(begin);
        assert!(!urgency.is_behind(40, at(1)), "what there was may wait");
        assert!(!urgency.is_behind(41, at(600)), "it is one flush");
        assert!(urgency.is_behind(42, at(900)), "they come fast");
        assert!(urgency.is_behind(42, at(1_300)));
        assert!(!urgency.is_behind(42, at(1_400)), "it is over");
        assert!(!urgency.is_behind(20, at(1_450)), "what was merged isn't a flush");
        assert!(!urgency.is_behind(21, at(1_500)), "the last one is 600 ms ago");
        assert!(urgency.is_behind(22, at(1_600)));
        assert!(!Urgency::new(begin).is_behind(100, at(1)) && Urgency::new(begin).is_behind(101, at(1)));
        let few = Urgency::new(begin);
        assert!((0..=15).all(|layers| !few.is_behind(layers, at(layers as u64))), "reads don't suffer from these");
    }
}
