//! When to crash: drawn from a seed, so that a run can be repeated.

/// A crash to come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PlannedCrash {
    /// Not before the worker has reported this event.
    pub event: u64,
    /// So long after that report.
    pub delay_ms: u64,
}

/// Random numbers from a seed (splitmix64).
pub struct Random(u64);

impl Random {
    /// Numbers from `seed` on.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// One below `bound`; 0 where that is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

/// A seed that differs from run to run.
pub fn fresh_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    // The standard library's hasher keys come from the operating system. Short enough to type again.
    std::collections::hash_map::RandomState::new().build_hasher().finish() % 1_000_000
}

/// The moments of `crashes` crashes over `events` events, in order. The last tenth is left alone, so that no crash comes
/// after the end.
pub fn crashes(seed: u64, crashes: u32, events: u64) -> Vec<PlannedCrash> {
    const DELAY_MS_MAX: u64 = 60;
    let mut random = Random(seed);
    let span = events - events / 10;
    let draw = |_| PlannedCrash { event: 1 + random.below(span), delay_ms: random.below(DELAY_MS_MAX) };
    let mut planned: Vec<PlannedCrash> = (0..crashes).map(draw).collect();
    planned.sort_by_key(|crash| crash.event);
    planned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_crashes_again() {
        let planned = crashes(7, 5, 1_000_000);
        assert_eq!(planned, crashes(7, 5, 1_000_000));
        assert_ne!(planned, crashes(8, 5, 1_000_000));
        assert_eq!(planned.len(), 5);
        assert!(planned.is_sorted_by_key(|crash| crash.event));
        assert!(planned.iter().all(|crash| crash.event >= 1 && crash.event <= 900_000));
        assert!(crashes(7, 3, 1).iter().all(|crash| crash.event == 1));
    }
}
