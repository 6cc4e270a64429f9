//! Stores beside a model of plain ordered maps: random operations of every kind, with checkpoints, crashes, reopening,
//! rescaling, spills and compactions in between. What every operation answers is compared, and now and then all of it.
//!
//! A failure prints its seed, how the run was set up, and the last operations. To run that seed alone:
//! `ALLUVIUM_TEST_SEED=<seed> cargo test --release -p alluvium --test model`; a long sweep from there on:
//! `ALLUVIUM_TEST_SEED=1000 ALLUVIUM_TEST_ROUNDS=500 cargo test --release -p alluvium --test model`.
//! `ALLUVIUM_TEST_LINES=100000` shows more of the operations than the last few.
//! Seeds decide what is done; the threads of the engine make runs of one seed differ a little all the same, but with the feature `simulation` (`support/turns.rs`).

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

#[path = "model/check.rs"]
mod check;
#[path = "model/instance.rs"]
mod instance;
#[path = "model/oracle.rs"]
mod oracle;
#[path = "model/rng.rs"]
mod rng;
#[path = "support/turns.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod turns;
#[path = "model/world.rs"]
mod world;

use instance::Shape;
use rng::Rng;
use turns::in_turns;
use world::{Setup, World};

/// Rounds without an environment that says otherwise.
const ROUNDS: u64 = 4;

/// Runs some rounds of one kind of setup, each with its own seed.
fn sweep(first: u64, setup: impl Fn(&mut Rng) -> Setup) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seed = number("ALLUVIUM_TEST_SEED");
    let rounds = number("ALLUVIUM_TEST_ROUNDS").unwrap_or(if seed.is_some() { 1 } else { ROUNDS });
    for seed in (seed.unwrap_or(first)..).take(rounds as usize) {
        let setup = setup(&mut Rng::new(seed));
        println!("ALLUVIUM_TEST_SEED={seed} {setup:?}");
        in_turns(seed, || World::new(seed, setup).run());
    }
}

fn setup(rng: &mut Rng) -> Setup {
    Setup {
        stores: 1,
        budget_mib: 16,
        threads: 1 + rng.below(2),
        posix: rng.one_in(2),
        retained: 1 + rng.below(3),
        compress: rng.one_in(2),
        shape: Shape { groups: 8, keys: 40, value_bytes: 60, long_one_in: 4 },
        steps: 4_000,
        changelog: false,
        by_group: false,
    }
}

#[test]
fn small_state_and_many_collisions() {
    sweep(100, |rng| Setup { shape: Shape { groups: 3, keys: 12, value_bytes: 40, long_one_in: 8 }, ..setup(rng) });
}

#[test]
fn more_keys_than_fit_a_block() {
    sweep(200, |rng| Setup { shape: Shape { groups: 16, keys: 400, value_bytes: 300, long_one_in: 4 }, ..setup(rng) });
}

#[test]
fn state_that_outgrows_the_budget() {
    let shape = Shape { groups: 16, keys: 300, value_bytes: 4_000, long_one_in: 4 };
    sweep(300, |rng| Setup { budget_mib: 4, shape, ..setup(rng) });
}

/// What is committed between checkpoints is found again, and nothing of what came after.
#[test]
fn commits_in_a_changelog() {
    let shape = Shape { groups: 8, keys: 60, value_bytes: 200, long_one_in: 4 };
    sweep(500, |rng| Setup { changelog: true, shape, ..setup(rng) });
}

#[test]
fn commits_in_a_changelog_of_a_state_that_outgrows_the_budget() {
    let shape = Shape { groups: 16, keys: 300, value_bytes: 3_000, long_one_in: 4 };
    sweep(600, |rng| Setup { changelog: true, budget_mib: 4, shape, ..setup(rng) });
}

/// What was committed is replayed when it is asked for.
#[test]
fn commits_that_are_replayed_key_group_by_key_group() {
    let shape = Shape { groups: 8, keys: 60, value_bytes: 2_000, long_one_in: 4 };
    sweep(700, |rng| Setup { changelog: true, by_group: true, shape, ..setup(rng) });
    let shape = Shape { groups: 16, keys: 300, value_bytes: 3_000, long_one_in: 4 };
    sweep(720, |rng| Setup { changelog: true, by_group: true, budget_mib: 4, shape, ..setup(rng) });
}

#[test]
fn two_stores_that_compete_for_memory() {
    let shape = Shape { groups: 8, keys: 150, value_bytes: 3_000, long_one_in: 4 };
    sweep(400, |rng| Setup { stores: 2, budget_mib: 6, shape, ..setup(rng) });
}
