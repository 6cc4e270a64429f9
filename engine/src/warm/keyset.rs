//! A set of keys that may say yes to one that isn't in it: a Bloom filter (Bloom, *Space/time trade-offs in hash coding*, 1970).

use crate::checksum::hash_key;

/// Bits for each key: one in a hundred others is taken for one of them.
const BITS_A_KEY: u64 = 10;
/// How many of them are set.
const PROBES: u32 = 4;
/// The most bits: 8 MiB.
const BITS_MAX: u64 = 1 << 26;

/// A set of sort keys.
#[derive(Debug)]
pub struct KeySet {
    words: Vec<u64>,
    keys: u64,
}

impl KeySet {
    /// An empty one, for so many keys.
    pub fn new(keys: u64) -> Self {
        let bits = keys.saturating_mul(BITS_A_KEY).clamp(64, BITS_MAX).next_power_of_two();
        Self { words: vec![0; (bits / 64) as usize], keys: 0 }
    }

    /// The bits of a key, by double hashing.
    fn bits(&self, sort_key: &[u8]) -> impl Iterator<Item = u64> + use<> {
        let hash = hash_key(sort_key, 0x5EED);
        let (step, mask) = ((hash >> 32) | 1, self.words.len() as u64 * 64 - 1);
        (0..u64::from(PROBES)).map(move |probe| hash.wrapping_add(probe.wrapping_mul(step)) & mask)
    }

    /// Adds a key.
    pub fn add(&mut self, sort_key: &[u8]) {
        for bit in self.bits(sort_key) {
            self.words[(bit / 64) as usize] |= 1 << (bit % 64);
        }
        self.keys += 1;
    }

    /// How many were added.
    pub const fn keys(&self) -> u64 {
        self.keys
    }

    /// Whether a key was added; sometimes also where it wasn't.
    pub fn may_have(&self, sort_key: &[u8]) -> bool {
        self.bits(sort_key).all(|bit| self.words[(bit / 64) as usize] >> (bit % 64) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_there_and_little_else() {
        let mut set = KeySet::new(10_000);
        (0..10_000_u32).for_each(|i| set.add(&i.to_be_bytes()));
        assert!((0..10_000_u32).all(|i| set.may_have(&i.to_be_bytes())));
        let others = (10_000..110_000_u32).filter(|i| set.may_have(&i.to_be_bytes())).count();
        assert!(others < 3_000, "{others} of 100,000 others");
        assert!(!KeySet::new(0).may_have(b"k"));
    }
}
