//! The filter: a blocked Bloom filter that tells which sort keys a segment may hold.
//!
//! Bits live in blocks of 64 bytes (one cache line), so a probe costs one miss. Of a key's 64-bit hash the upper half
//! chooses the block, `(hash >> 32) * blocks >> 32`; the lower half, multiplied by 0x9E3779B9 (mod 2^32) before each
//! of 6 steps, gives in its upper 9 bits the number of a bit: byte `n / 8` of the block, bit `n % 8` from the lowest.
//! At 10 bits a key about 1 % of absent keys pass (Putze, Sanders, Singler: Cache-, Hash- and Space-Efficient Bloom
//! Filters, 2007).
//!
//! The filter is sized from an estimate and filled in place. One that turns out far too large is *folded*: as the
//! block is chosen by a product, neighbouring blocks `2i` and `2i + 1` of a filter are block `i` of one half its size.
#![expect(unsafe_code, reason = "prefetching is an instruction without a safe form")]

/// The length of a block of the filter.
pub(super) const FILTER_BLOCK_BYTES: usize = 64;
const BITS_PER_KEY: u64 = 10;
const PROBES: usize = 6;
const MULTIPLIER: u32 = 0x9E37_79B9;
/// Hashes gathered before they are put in, so that the cache misses of one batch overlap.
const BATCH: usize = 32;

/// Which block of a filter of `blocks` a hash belongs to. `blocks` is not 0.
#[inline]
pub(super) fn block_of(hash: u64, blocks: u32) -> u32 {
    (((hash >> 32) * u64::from(blocks)) >> 32) as u32
}

/// The 6 bits of a hash within its block.
#[inline]
fn bits_of(hash: u64) -> [usize; PROBES] {
    let mut low = hash as u32;
    [(); PROBES].map(|()| {
        low = low.wrapping_mul(MULTIPLIER);
        (low >> 23) as usize
    })
}

/// The hash under which the filter holds that a container was cleared, from the hash of the container's key.
#[inline]
pub(super) fn clear_mark(hash: u64) -> u64 {
    (hash ^ 0x00C1_EA4E_D000_0001).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32)
}

/// Whether all bits of a hash are set in its block.
#[inline]
pub(super) fn holds(block: &[u8; FILTER_BLOCK_BYTES], hash: u64) -> bool {
    bits_of(hash).into_iter().all(|bit| block[bit / 8] & (1 << (bit % 8)) != 0)
}

/// Asks for a cache line ahead of its use. Without effect on machines that this has no instruction for.
#[inline]
pub(super) fn prefetch(block: &[u8; FILTER_BLOCK_BYTES]) {
    let pointer = block.as_ptr();
    // SAFETY: prefetching has no effect on memory or registers, whatever the address.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(pointer.cast());
    }
    // SAFETY: prefetching has no effect on memory or registers, whatever the address.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{0}]", in(reg) pointer, options(nostack, readonly, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = pointer;
}

/// Fills a filter.
pub(super) struct FilterBuilder {
    blocks: Vec<[u8; FILTER_BLOCK_BYTES]>,
    batch: [u64; BATCH],
    batched: usize,
    keys: u64,
}

impl FilterBuilder {
    /// A filter for about this many keys. More may come; more will pass it, then.
    pub fn new(expected_keys: u64) -> Self {
        let blocks = blocks_for(expected_keys);
        // A multiple of a power of two near a 32nd of it, so that it can be folded down to some 32 blocks.
        let step = 1_u64 << (blocks / 32).checked_ilog2().unwrap_or(0);
        let blocks = blocks.next_multiple_of(step);
        Self { blocks: vec![[0; FILTER_BLOCK_BYTES]; blocks as usize], batch: [0; BATCH], batched: 0, keys: 0 }
    }

    /// Puts a key in.
    #[inline]
    pub fn add(&mut self, hash: u64) {
        self.batch[self.batched] = hash;
        self.batched += 1;
        self.keys += 1;
        if self.batched == BATCH {
            self.put_batch();
        }
    }

    fn put_batch(&mut self) {
        let hashes = &self.batch[..self.batched];
        let count = self.blocks.len() as u32;
        for &hash in hashes {
            prefetch(&self.blocks[block_of(hash, count) as usize]);
        }
        for &hash in hashes {
            let block = &mut self.blocks[block_of(hash, count) as usize];
            for bit in bits_of(hash) {
                block[bit / 8] |= 1 << (bit % 8);
            }
        }
        self.batched = 0;
    }

    /// How many keys were put in.
    pub fn keys(&self) -> u64 {
        self.keys
    }

    /// About how many bytes the finished filter takes.
    pub fn bytes(&self) -> u64 {
        self.keys * BITS_PER_KEY / 8 + FILTER_BLOCK_BYTES as u64
    }

    /// The finished blocks, folded as long as the result holds the keys at their full width.
    pub fn finish(mut self) -> Vec<[u8; FILTER_BLOCK_BYTES]> {
        self.put_batch();
        let needed = blocks_for(self.keys);
        while self.blocks.len().is_multiple_of(2) && self.blocks.len() as u64 / 2 >= needed {
            for index in 0..self.blocks.len() / 2 {
                let (low, high) = (self.blocks[2 * index], self.blocks[2 * index + 1]);
                self.blocks[index] = std::array::from_fn(|byte| low[byte] | high[byte]);
            }
            self.blocks.truncate(self.blocks.len() / 2);
        }
        self.blocks
    }
}

/// How many blocks hold so many keys: at least one, at most as many as 32 bits of hash can choose from.
fn blocks_for(keys: u64) -> u64 {
    const KEYS_MAX: u64 = 1 << 33;
    (keys.min(KEYS_MAX) * BITS_PER_KEY).div_ceil(FILTER_BLOCK_BYTES as u64 * 8).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checksum::hash_key;

    fn false_positives_per_mille(keys: u64, expected: u64) -> (f64, usize) {
        let mut builder = FilterBuilder::new(expected);
        (0..keys).for_each(|key| builder.add(hash_key(&key.to_le_bytes(), 7)));
        let blocks = builder.finish();
        let holds = |key: u64| {
            let hash = hash_key(&key.to_le_bytes(), 7);
            holds(&blocks[block_of(hash, blocks.len() as u32) as usize], hash)
        };
        assert!((0..keys).all(holds), "a key that was put in is missing");
        let passed = (keys..keys + 100_000).filter(|&key| holds(key)).count();
        (passed as f64 / 100.0, blocks.len())
    }

    #[test]
    fn absent_keys_seldom_pass_whatever_was_expected() {
        for (keys, expected) in [(100_000, 100_000), (1000, 1000), (100_000, 3_000_000), (5000, 1 << 20), (3, 100_000)]
        {
            let (per_mille, blocks) = false_positives_per_mille(keys, expected);
            assert!(per_mille <= 13.0, "{per_mille} per mille pass with {keys} of {expected} keys");
            assert!(blocks as u64 <= 2 * blocks_for(keys) + 64, "{blocks} blocks for {keys} of {expected} keys");
        }
    }

    #[test]
    fn more_keys_than_expected_only_pass_more_often() {
        let (per_mille, blocks) = false_positives_per_mille(20_000, 10_000);
        assert!(per_mille < 200.0 && blocks < 220, "{per_mille} per mille, {blocks} blocks");
    }
}
