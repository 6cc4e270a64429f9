//! Checksums: xxh3, 64 bits, of every byte that the engine writes and later reads.
//!
//! A checksum may be bound to a *place* (a file and an offset in it), so that intact bytes found in the wrong place
//! count as damaged too.

use xxhash_rust::xxh3;

/// The checksum of `bytes`.
pub fn checksum(bytes: &[u8]) -> u64 {
    xxh3::xxh3_64(bytes)
}

/// The 128-bit digest of `bytes`, for whole files that others refer to.
pub fn digest(bytes: &[u8]) -> u128 {
    xxh3::xxh3_128(bytes)
}

/// The hash of a key under a store's or segment's seed. Part of the segment format: filters are keyed by it.
pub fn hash_key(key: &[u8], seed: u64) -> u64 {
    xxh3::xxh3_64_with_seed(key, seed)
}

/// What binds a checksum to `offset` of the file whose identity is `file`: it is combined with the checksum by `xor`.
pub fn place(file: u128, offset: u64) -> u64 {
    let mut bytes = [0; 24];
    bytes[..16].copy_from_slice(&file.to_le_bytes());
    bytes[16..].copy_from_slice(&offset.to_le_bytes());
    xxh3::xxh3_64(&bytes)
}

/// A checksum of bytes that come in pieces; equal to [`checksum`] of all of them together.
#[derive(Clone, Default)]
pub struct Checksum {
    state: xxh3::Xxh3Default,
}

impl Checksum {
    /// The checksum of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
    }

    /// The checksum of all pieces so far.
    pub fn value(&self) -> u64 {
        self.state.digest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_sum_up_to_the_whole() {
        let bytes: Vec<u8> = (0..10_000_u32).map(|i| (i * 7 % 251) as u8).collect();
        for len in [0, 1, 16, 17, 240, 241, 4096, 10_000] {
            let mut pieces = Checksum::new();
            bytes[..len].chunks(97).for_each(|piece| pieces.update(piece));
            assert_eq!(pieces.value(), checksum(&bytes[..len]), "{len} bytes");
        }
    }

    #[test]
    fn values_are_those_of_the_published_xxh3() {
        assert_eq!(checksum(b""), 0x2d06_8005_38d3_94c2);
        assert_eq!(digest(b""), 0x99aa_06d3_0147_98d8_6001_c324_468d_497f);
        assert_ne!(place(1, 0), place(0, 1));
    }
}
