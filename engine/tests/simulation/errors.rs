//! Calls about files that go wrong, in a world: the host of `tests/io_errors` does what errors say, while threads take turns by a seed.

use super::case::Case;
use super::host::{Host, Kind, Models};
use super::run::place;
use super::sites;
use super::workload::Rng;
use alluvium::StorageChoice;
use alluvium::faults::{Injection, Site};
use alluvium::simulated::world::{self, Schedule};

/// Has some calls of a case's run go wrong, each in a run of its own.
pub fn play_errors(case: Case) {
    let kind = if case.has_changelog() { Kind::Changelog } else { Kind::Checkpoints };
    let models = Models::new(kind);
    let run = |schedule: u64, injection: Option<Injection>| {
        let place = place();
        let (mut calls, mut struck) = (Vec::new(), 0);
        let ran = world::run(Schedule::new(schedule), || {
            let host = Host::new(place.path(), &models, StorageChoice::Posix, injection);
            host.run();
            calls.extend(host.calls());
            struck = host.struck();
        });
        println!("{ran:?}, {struck} calls went wrong");
        calls
    };
    let calls: Vec<(Site, u64)> = run(case.schedule, None);
    let mut rng = Rng(case.schedule ^ 4);
    for _ in 0..case.crashes {
        let (site, count) = calls[rng.below(calls.len() as u64) as usize];
        let outcomes = sites::outcomes(site);
        let (outcome, lasts) = outcomes[rng.below(outcomes.len() as u64) as usize];
        let injection = Injection { site, nth: rng.below(count), outcome, lasts };
        let schedule = rng.next();
        println!("{}, schedule {schedule}", sites::Case { kind, storage: StorageChoice::Posix, injection });
        run(schedule, Some(injection));
    }
}
