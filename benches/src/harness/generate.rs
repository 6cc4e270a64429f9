//! Seeded keys, values and distributions.
//!
//! Sequences of operations are made before the clock starts, key bytes and key group in each, so that neither drawing
//! them nor a cache miss in a table of keys is measured. They take no part in what is compared.

use alluvium::{Key, KeyGroup, key::key_group_of};

/// Key groups of the benches' stores.
pub const KEY_GROUPS: u32 = 128;
/// Bytes of a key.
pub const KEY_BYTES: usize = 16;

/// Splitmix64 (Steele, Lea and Flood, *Fast splittable pseudorandom number generators*, OOPSLA 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(mix(seed ^ 0x5851_F42D_4C95_7F2D))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    /// A number in 0.0..1.0.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Bytes that don't compress.
    pub fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }
}

/// A key with its key group, as an operator knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Op {
    /// The bytes.
    pub bytes: [u8; KEY_BYTES],
    /// The key group.
    pub group: KeyGroup,
}

impl Op {
    /// The `i`-th key of all.
    pub fn of(i: u64) -> Self {
        let mut bytes = [0; KEY_BYTES];
        bytes[..8].copy_from_slice(&mix(i.wrapping_add(0x9E37_79B9_7F4A_7C15)).to_be_bytes());
        bytes[8..].copy_from_slice(&mix(!i).to_be_bytes());
        Self { bytes, group: key_group_of(&bytes, KEY_GROUPS) }
    }

    /// As the engine takes it.
    pub fn key(&self) -> Key<'_> {
        Key::new(self.group, &self.bytes)
    }
}

/// The `version`-th value of the `i`-th key: doesn't compress, and can be told from any other.
pub fn value(i: u64, version: u64, out: &mut [u8]) {
    Random::new(i.rotate_left(20) ^ version).fill(out);
}

/// A bijection of 0..n that scatters neighbours: popular keys get far from each other.
pub fn scramble(i: u64, n: u64) -> u64 {
    // A prime above any n that is used, so that it shares no factor with n.
    const PRIME: u64 = 2_654_435_761;
    ((u128::from(i) * u128::from(PRIME)) % u128::from(n)) as u64
}

/// How keys are drawn.
#[derive(Clone, Debug)]
pub enum Draw {
    /// All alike.
    Uniform(u64),
    /// Zipf's law with exponent 0.99, scrambled.
    Zipf(Zipf),
}

impl Draw {
    pub fn uniform(n: u64) -> Self {
        Self::Uniform(n)
    }

    pub fn zipf(n: u64) -> Self {
        Self::Zipf(Zipf::new(n))
    }

    /// The next key's number.
    pub fn next(&self, random: &mut Random) -> u64 {
        match self {
            Self::Uniform(n) => random.below(*n),
            Self::Zipf(zipf) => scramble(zipf.rank(random), zipf.n),
        }
    }

    /// Many operations, made beforehand.
    pub fn sequence(&self, count: usize, seed: u64) -> Vec<Op> {
        let mut random = Random::new(seed);
        (0..count).map(|_| Op::of(self.next(&mut random))).collect()
    }

    /// The keys' numbers, where these are what is needed.
    pub fn numbers(&self, count: usize, seed: u64) -> Vec<u64> {
        let mut random = Random::new(seed);
        (0..count).map(|_| self.next(&mut random)).collect()
    }
}

const THETA: f64 = 0.99;

/// Zipf's law (Gray and others, *Quickly generating billion-record synthetic databases*, SIGMOD 1994).
#[derive(Clone, Debug)]
pub struct Zipf {
    n: u64,
    zeta: f64,
    zeta_2: f64,
    alpha: f64,
    eta: f64,
}

impl Zipf {
    pub fn new(n: u64) -> Self {
        let zeta = zeta(n);
        let zeta_2 = 1.0 + 0.5_f64.powf(THETA);
        let eta = (1.0 - (2.0 / n as f64).powf(1.0 - THETA)) / (1.0 - zeta_2 / zeta);
        Self { n, zeta, zeta_2, alpha: 1.0 / (1.0 - THETA), eta }
    }

    /// A rank, 0 the most popular.
    fn rank(&self, random: &mut Random) -> u64 {
        let u = random.unit();
        let scaled = u * self.zeta;
        if scaled < 1.0 {
            return 0;
        }
        if scaled < self.zeta_2 {
            return 1;
        }
        let rank = (self.n as f64 * (self.eta * u - self.eta + 1.0).powf(self.alpha)) as u64;
        rank.min(self.n - 1)
    }
}

/// The sum of i^-theta for i in 1..=n: exactly up to a point, from there by Euler and Maclaurin.
fn zeta(n: u64) -> f64 {
    let term = |i: f64| i.powf(-THETA);
    let exact = n.min(100_000);
    let head: f64 = (1..=exact).map(|i| term(i as f64)).sum();
    if n == exact {
        return head;
    }
    let (a, b) = (exact as f64, n as f64);
    let integral = (b.powf(1.0 - THETA) - a.powf(1.0 - THETA)) / (1.0 - THETA);
    head + integral + (term(b) - term(a)) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrambling_loses_no_key() {
        for n in [1, 2, 1000, 4096, 100_003] {
            let mut seen: Vec<u64> = (0..n).map(|i| scramble(i, n)).collect();
            seen.sort_unstable();
            assert!(seen.iter().copied().eq(0..n));
        }
    }

    #[test]
    fn the_most_popular_key_has_its_share() {
        let zipf = Zipf::new(1_000_000);
        let mut random = Random::new(1);
        let drawn = 1_000_000;
        let firsts = (0..drawn).filter(|_| zipf.rank(&mut random) == 0).count() as f64 / f64::from(drawn);
        assert!((firsts - 1.0 / zipf.zeta).abs() < 0.002, "{firsts}");
    }
}
