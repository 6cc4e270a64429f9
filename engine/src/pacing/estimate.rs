//! Estimators: what something will cost, learnt from what it cost before.
//!
//! They follow a level and the mean deviation from it, as TCP's retransmission timer does (Jacobson, *Congestion avoidance
//! and control*, SIGCOMM 1988, appendix A): the level is the prediction, and four deviations above it the bound that
//! promises are made by. Two observations in a row that are more than a factor of two off on the same side are a new
//! regime (another disk, a throttled one): what was learnt before is forgotten. One alone is not learnt, as it may be a
//! hiccup; but a slow one counts in the bound until it is refuted.

/// What an observation counts for when the next one comes, unless it is remembered longer.
const KEPT: f64 = 0.85;
const KEPT_LONG: f64 = 0.98;
/// How much of what is new of the deviation is learnt at once.
const DEVIATION_GAIN: f64 = 1.0 / 8.0;
/// The mean deviation that is assumed at first, as a part of the level.
const DEVIATION_FIRST: f64 = 0.125;
/// The bound lies so many mean deviations above the level,
const DEVIATIONS: f64 = 4.0;
/// at least this part of it, and at most the other.
const MARGIN: (f64, f64) = (0.15, 1.0);
/// An observation that is off by more than this factor may be of a new regime.
const OFF: f64 = 2.0;
/// Sizes have to differ so much (variance by squared mean) before a base is told from a slope.
const SPREAD_MIN: f64 = 0.01;
/// Sizes below this part of the mean say little of the others: of an affine cost, as base and slope may be told apart badly;
/// of a proportional one, as nothing is quite without a base.
const TINY_AFFINE: f64 = 1.0 / 8.0;
const TINY_PROPORTIONAL: f64 = 1.0 / 32.0;

/// How a cost grows with the size of what it is paid for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    /// By so much for each unit.
    Proportional,
    /// A base, and so much for each unit.
    Affine,
}

/// What something of a size costs. See the module's head.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Cost {
    shape: Shape,
    /// What an observation counts for when the next one comes.
    kept: f64,
    /// Sums over the observations, each weighed by its age: of ones, sizes, costs, their squares and products.
    weight: f64,
    sizes: f64,
    costs: f64,
    sizes_squared: f64,
    costs_squared: f64,
    products: f64,
    /// The mean deviation, as a part of the level.
    deviation: f64,
    largest: f64,
    /// By what factor the last observation was off, if it wasn't learnt.
    suspect: Option<f64>,
}

impl Cost {
    /// Nothing observed yet.
    pub const fn new(shape: Shape) -> Self {
        Self {
            shape,
            kept: KEPT,
            weight: 0.0,
            sizes: 0.0,
            costs: 0.0,
            sizes_squared: 0.0,
            costs_squared: 0.0,
            products: 0.0,
            deviation: DEVIATION_FIRST,
            largest: 0.0,
            suspect: None,
        }
    }

    /// Nothing observed yet; longer remembered than others, so that sizes which hardly vary tell base and slope apart.
    pub const fn remembered(shape: Shape) -> Self {
        Self { kept: KEPT_LONG, ..Self::new(shape) }
    }

    /// What is to be expected for a size; `None` before the first observation.
    pub fn at(&self, size: f64) -> Option<f64> {
        if self.weight == 0.0 {
            return None;
        }
        let (mean_size, mean_cost) = self.means();
        Some(match self.line() {
            Some((base, slope)) => base + slope * size,
            None if mean_size > 0.0 => mean_cost / mean_size * size,
            None => mean_cost,
        })
    }

    /// What a size will hardly cost more than, a suspicion apart; `None` before the first observation.
    pub fn bound(&self, size: f64) -> Option<f64> {
        let level = self.at(size)?;
        // Small ones may cost as much as larger ones did, as long as the base isn't known.
        let unsure = self.shape == Shape::Affine && self.line().is_none();
        let level = if unsure { level.max(self.means().1) } else { level };
        Some(level * self.margin())
    }

    /// By what factor costs may have risen, as the last observation has it; 1 where it was as expected.
    pub fn suspicion(&self) -> f64 {
        self.suspect.unwrap_or(1.0).max(1.0)
    }

    /// By what factor the bound lies above the level.
    pub fn margin(&self) -> f64 {
        1.0 + (DEVIATIONS * self.deviation).clamp(MARGIN.0, MARGIN.1)
    }

    /// The part of the mean cost that doesn't grow with the size; at least a tenth. The less sizes explain of how costs
    /// differ, the more of it counts as fixed: the slope is shrunk as James and Stein have it, by its variance over its square.
    pub fn fixed_part(&self) -> Option<f64> {
        if self.weight == 0.0 {
            return None;
        }
        let (mean_size, mean_cost) = self.means();
        let [size_variance, cost_variance, covariance] = self.variances();
        let explained = covariance * covariance / (size_variance * cost_variance);
        if !(covariance > 0.0 && explained > 0.0) {
            return Some(mean_cost);
        }
        let noise = (1.0 - explained).max(0.0) / (explained * self.weight);
        let slope = covariance / size_variance * (1.0 - noise).max(0.0);
        Some((mean_cost - slope * mean_size).max(mean_cost / 10.0))
    }

    /// Learns what a size cost. The answer is 1, or by what factor costs have changed if that is a new regime.
    pub fn observe(&mut self, size: f64, cost: f64) -> f64 {
        if !(size >= 0.0 && cost > 0.0 && size.is_finite() && cost.is_finite()) {
            return 1.0;
        }
        let Some(expected) = self.at(size).filter(|&expected| expected > 0.0) else {
            self.add(size, cost);
            return 1.0;
        };
        let off = self.off_by(size, cost, expected);
        let tiny = if self.shape == Shape::Affine { TINY_AFFINE } else { TINY_PROPORTIONAL };
        if (tiny * self.means().0..=OFF * self.largest).contains(&size) {
            self.deviation += ((off - 1.0).abs().min(1.0) - self.deviation) * DEVIATION_GAIN;
            if !(1.0 / OFF..=OFF).contains(&off) {
                let confirmed = self.suspect.replace(off).is_some_and(|before| (before > 1.0) == (off > 1.0));
                if confirmed {
                    *self = Self { kept: self.kept, ..Self::new(self.shape) };
                    self.add(size, cost);
                    return off;
                }
                return 1.0;
            }
            self.suspect = None;
        }
        self.add(size, cost);
        1.0
    }

    /// By what factor an observation is off. One that was cheap because it is small is not off.
    fn off_by(&self, size: f64, cost: f64, expected: f64) -> f64 {
        let off = cost / expected;
        let (mean_size, mean_cost) = self.means();
        if off >= 1.0 || size == 0.0 || mean_size == 0.0 {
            return off;
        }
        off.max(cost / size / (mean_cost / mean_size)).min(1.0)
    }

    fn add(&mut self, size: f64, cost: f64) {
        let sums = [
            (&mut self.weight, 1.0),
            (&mut self.sizes, size),
            (&mut self.costs, cost),
            (&mut self.sizes_squared, size * size),
            (&mut self.costs_squared, cost * cost),
            (&mut self.products, size * cost),
        ];
        for (sum, value) in sums {
            *sum = *sum * self.kept + value;
        }
        self.largest = (self.largest * self.kept).max(size);
    }

    fn means(&self) -> (f64, f64) {
        (self.sizes / self.weight.max(f64::MIN_POSITIVE), self.costs / self.weight.max(f64::MIN_POSITIVE))
    }

    /// Of sizes, of costs, and the covariance.
    fn variances(&self) -> [f64; 3] {
        let (size, cost) = self.means();
        [
            self.sizes_squared / self.weight - size * size,
            self.costs_squared / self.weight - cost * cost,
            self.products / self.weight - size * cost,
        ]
    }

    /// Base and slope by least squares, neither below 0; `None` where they can't be told apart.
    fn line(&self) -> Option<(f64, f64)> {
        let (mean_size, mean_cost) = self.means();
        if self.shape == Shape::Proportional || mean_size <= 0.0 {
            return None;
        }
        let [size_variance, _, covariance] = self.variances();
        if size_variance <= SPREAD_MIN * mean_size * mean_size {
            return None;
        }
        let slope = (covariance / size_variance).clamp(0.0, mean_cost / mean_size);
        Some((mean_cost - slope * mean_size, slope))
    }
}

/// How fast something grows, in units per ns: of late, on average, and at its fastest.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Growth {
    /// The look that the next one is compared with: when, and the total.
    last: Option<(u64, f64)>,
    /// What was told last.
    told: Option<(u64, f64)>,
    watched_ns: f64,
    fast: f64,
    slow: f64,
    peak: f64,
}

/// Over what time the growth of late is averaged,
const FAST_NS: f64 = 0.25e9;
/// and the average one; each over at least the time between two looks.
const SLOW_NS: f64 = 30e9;
/// After what time half of a peak is forgotten.
const PEAK_HALF_LIFE_NS: f64 = 3_600e9;
/// Looks that are closer are one.
const LOOK_NS_MIN: f64 = 1e6;

impl Growth {
    /// Its total was so much at this time. A total that is smaller than before begins anew.
    pub fn observe(&mut self, now_ns: u64, total: f64) {
        self.told = Some((now_ns, total));
        let Some((then_ns, before)) = self.last else {
            self.last = self.told;
            return;
        };
        let elapsed_ns = now_ns.saturating_sub(then_ns) as f64;
        if total >= before && elapsed_ns < LOOK_NS_MIN {
            return;
        }
        self.last = self.told;
        if total >= before {
            self.learn(elapsed_ns, (total - before) / elapsed_ns);
        }
    }

    /// It grew at this rate for so long.
    pub fn learn(&mut self, elapsed_ns: f64, rate: f64) {
        self.watched_ns += elapsed_ns;
        // At first the mean of all that was seen.
        let share = elapsed_ns / self.watched_ns.max(1.0);
        self.fast += (rate - self.fast) * (1.0 - (-elapsed_ns / FAST_NS).exp()).max(share);
        self.slow += (rate - self.slow) * (1.0 - (-elapsed_ns / SLOW_NS).exp()).max(share);
        self.peak = (self.peak * (-elapsed_ns / PEAK_HALF_LIFE_NS).exp2()).max(self.fast);
    }

    /// What was learnt, for a process that watches anew.
    pub fn unwatched(&self) -> Self {
        Self { last: None, told: None, ..self.clone() }
    }

    /// Of late.
    pub fn fast(&self) -> f64 {
        self.fast
    }

    /// On average.
    pub fn slow(&self) -> f64 {
        self.slow
    }

    /// At its fastest, as far as it isn't forgotten.
    pub fn peak(&self) -> f64 {
        self.peak
    }

    /// What the total is by now, if it went on as of late.
    pub fn total(&self, now_ns: u64) -> f64 {
        self.told.map_or(0.0, |(then_ns, total)| total + self.fast * now_ns.saturating_sub(then_ns) as f64)
    }
}
