//! The hot tables beside a model: random operations with printed seeds, a `BTreeMap` as the judge.
//!
//! A run that failed is repeated alone with `HOT_SEED=<seed> cargo test -p alluvium hot::tests`.

mod dirty;
mod disk;
mod far;
mod model;
mod order;
mod places;
mod readers;
mod stories;
mod table;
mod world;

use crate::hot::Memory;
use crate::platform::arena::{Arena, CHUNK_BYTES};
use crate::platform::sync::reclaim::Domain;
use std::sync::Arc;

/// Xorshift (Marsaglia, 2003): all that tests need.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        for _ in 0..8 {
            random.word();
        }
        random
    }

    fn word(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Below `n`.
    fn below(&mut self, n: usize) -> usize {
        (((self.word() >> 32) * n as u64) >> 32) as usize
    }

    /// True once in `n`.
    fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.word() as u8).collect()
    }
}

/// Runs a test with each of its seeds, or with the one that the environment names.
fn with_seeds(seeds: std::ops::Range<u64>, mut run: impl FnMut(u64)) {
    let asked = std::env::var("HOT_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in asked.map_or(seeds, |seed| seed..seed + 1) {
        println!("HOT_SEED={seed}");
        run(seed);
    }
}

/// An arena with a budget of `chunks` chunks, and a domain for its readers.
fn arena(chunks: usize) -> (Arc<Arena>, Arc<Domain>) {
    (Arc::new(Arena::new(chunks * CHUNK_BYTES, (chunks + 1) * CHUNK_BYTES).unwrap()), Arc::new(Domain::new()))
}

/// Memory with a budget of `chunks` chunks.
fn memory(chunks: usize) -> Memory {
    let (arena, domain) = arena(chunks);
    let share = crate::platform::arena::Share::of(&arena);
    Memory::new(arena, &share, &domain)
}
