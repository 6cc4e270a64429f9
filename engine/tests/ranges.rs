//! Ranges of a map deleted as a whole: each trap with its story, and random operations beside a model.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

#[path = "model/rng.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod rng;
#[path = "ranges/world.rs"]
mod world;

use world::World;

/// `ALLUVIUM_TEST_SEED` runs one seed, `ALLUVIUM_TEST_ROUNDS` so many of them.
fn with_seeds(seeds: std::ops::Range<u64>, run: impl Fn(u64)) {
    let number = |name| std::env::var(name).ok().and_then(|text: String| text.parse::<u64>().ok());
    if let Some(seed) = number("ALLUVIUM_TEST_SEED") {
        return run(seed);
    }
    let end = number("ALLUVIUM_TEST_ROUNDS").map_or(seeds.end, |rounds| seeds.start + rounds);
    for seed in seeds.start..end {
        println!("ALLUVIUM_TEST_SEED={seed}");
        run(seed);
    }
}

fn run(seed: u64, steps: usize) {
    let spread = [30, 300, 3_000, 20_000][seed as usize % 4];
    let budget_bytes = [4 << 20, 8 << 20, 64 << 20][seed as usize % 3];
    let mut world = World::new(seed, budget_bytes, spread);
    for _ in 0..steps {
        world.step();
    }
    world.compare();
}

#[test]
fn random_operations_beside_a_model() {
    with_seeds(0..12, |seed| run(seed, 3_000));
}
