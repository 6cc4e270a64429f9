//! A sample of what a workload has removed, to be asked for again: it must not be there.

/// So many are kept at most.
const KEPT: usize = 512;

/// Every so-many-th of all that was removed; the more there were, the fewer of them.
#[derive(Debug)]
pub struct Removed<T> {
    sample: Vec<T>,
    count: u64,
    /// A power of two.
    every: u64,
}

impl<T> Default for Removed<T> {
    fn default() -> Self {
        Self { sample: Vec::new(), count: 0, every: 1 }
    }
}

impl<T> Removed<T> {
    /// One was removed.
    #[inline]
    pub fn add(&mut self, removed: T) {
        if self.count & (self.every - 1) == 0 {
            self.keep(removed);
        }
        self.count += 1;
    }

    fn keep(&mut self, removed: T) {
        if self.sample.len() == KEPT {
            let mut index = 0;
            self.sample.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            // KEPT is even: this one's turn is the next of the doubled distance, too.
            self.every *= 2;
        }
        self.sample.push(removed);
    }

    /// Those to be asked for.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.sample.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_spread_over_all() {
        for count in [1_u64, 511, 512, 513, 1024, 1025, 100_000] {
            let mut removed = Removed::default();
            (0..count).for_each(|number| removed.add(number));
            let sample: Vec<u64> = removed.iter().copied().collect();
            assert!(sample.len() <= KEPT && sample.len() as u64 >= count.min(KEPT as u64 / 2), "{}", sample.len());
            let every = removed.every;
            assert!(sample.iter().copied().eq((0..count).step_by(every as usize)), "{count}: {sample:?}");
        }
    }
}
