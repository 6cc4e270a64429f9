//! The whole engine in a world: writers, readers, checkpoints and the engine's own threads take turns by a seed, on a disk that loses what
//! wasn't synced. What fails fails again, and with less.
//!
//! A case (`case`) is played (`play`), and crashes are looked at (`look`), each recovery in a world of its own; calls about files go wrong (`errors`). Cases run in processes of
//! their own: what is found ends the process (`alluvium::simulated::world`). Then the case is made smaller for as long as it still fails,
//! and the smallest one is printed with how to do it again.
//!
//! `ALLUVIUM_SIMULATIONS` is how many cases are played (400; an eighth as many with calls that go wrong), `ALLUVIUM_SIMULATION_SEED` the first one's seed (1), `ALLUVIUM_SIMULATION` a case to be played
//! alone.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

mod case;
mod damage;
#[path = "../crash_images/disk.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod disk;
mod errors;
mod findings;
#[path = "../io_errors/host.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod host;
mod look;
mod notes;
mod play;
mod run;
mod safeguards;
#[path = "../io_errors/sites.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod sites;
#[path = "../durability/support/workload.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod workload;

use case::Case;
use run::{Outcome, number, played_alone, run_apart, sweep};

/// Plays cases, and looks at what crashes leave.
#[test]
fn nothing_is_lost_in_any_turn_of_events() {
    if !played_alone("cases") {
        sweep("cases", number("ALLUVIUM_SIMULATIONS", 400));
    }
}

/// The same where calls about files go wrong.
#[test]
fn nothing_is_lost_where_calls_fail() {
    if !played_alone("errors") {
        sweep("errors", number("ALLUVIUM_SIMULATIONS", 400) / 8);
    }
}

/// What a disk gives back otherwise than it was written is read right, or not at all.
#[test]
fn nothing_is_misread() {
    if !played_alone("damage") {
        sweep("damage", number("ALLUVIUM_SIMULATIONS", 400) / 8);
    }
}

/// The same case comes to the same turns, the same changes of files, at the same moments.
#[test]
fn a_case_that_is_played_again_goes_the_same_way() {
    let count = number("ALLUVIUM_SIMULATIONS", 400) / 20;
    let cases: Vec<Case> = (0..count).map(|seed| Case { crashes: 0, ..Case::new(seed) }).collect();
    match run_apart("twice", &cases) {
        Outcome::Passed(said) => println!("{said}"),
        Outcome::Failed { said, .. } => panic!("{said}"),
    }
}
