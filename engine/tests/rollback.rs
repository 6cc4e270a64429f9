//! Rolling back beside a model: a scope has what it had at the checkpoint, everything else is as it was, whatever is written,
//! flushed, merged, recovered and rolled back besides.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

#[path = "rollback/crash.rs"]
mod crash;
#[path = "rollback/positions.rs"]
mod positions;
#[path = "model/rng.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod rng;
#[path = "rollback/stories.rs"]
mod stories;
#[path = "support/turns.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod turns;
#[path = "rollback/world.rs"]
mod world;

use alluvium::{Durability, StoreOptions};
use turns::in_turns;
use world::{World, options};

/// Set to do one seed again, or others than usual.
const SEED: &str = "ALLUVIUM_TEST_SEED";

fn run(seeds: std::ops::Range<u64>, steps: usize, options: &StoreOptions) {
    let (mut rollbacks, mut redone) = (0, 0);
    let given = std::env::var(SEED).ok().map(|seed| seed.parse().expect("a seed"));
    let seeds = given.map_or(seeds, |seed: u64| seed..seed + 3);
    for seed in seeds {
        println!("seed {seed}");
        in_turns(seed, || {
            let mut world = World::new(seed, options.clone());
            for _ in 0..steps {
                world.step();
            }
            world.check();
            world.check_snapshots();
            world.check_checkpoints();
            (rollbacks, redone) = (rollbacks + world.rollbacks, redone + world.redone);
        });
    }
    assert!(rollbacks > 10 && redone > 0, "{rollbacks} rollbacks and {redone} recoveries say little");
}

#[test]
fn a_random_history_is_what_the_model_says() {
    run(1..4, 120, &options());
}

#[test]
fn a_random_history_with_a_changelog_is_what_the_model_says() {
    run(11..14, 120, &StoreOptions { durability: Durability::Changelog, ..options() });
}

#[test]
fn a_random_history_of_transactions_is_what_the_model_says() {
    run(21..24, 120, &StoreOptions { transactional: true, ..options() });
}

#[test]
fn a_random_history_of_transactions_with_a_changelog_is_what_the_model_says() {
    run(31..34, 120, &StoreOptions { transactional: true, durability: Durability::Changelog, ..options() });
}
