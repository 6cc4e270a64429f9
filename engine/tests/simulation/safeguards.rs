//! That it would show: with any of the engine's safeguards taken away, some case fails.

use super::case::Case;
use super::run::{Outcome, run_without};
use alluvium::platform::safeguards::{SAFEGUARDS, Safeguard};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many cases a process plays, and how many cases a safeguard is given to be missed.
const CASES_OF_A_PROCESS: u64 = 20;
const CASES_MAX: u64 = 2_000;

/// What finds out about it.
fn role(safeguard: Safeguard) -> &'static str {
    match safeguard {
        Safeguard::FailureStays => "errors",
        Safeguard::BlockChecksum
        | Safeguard::MetadataChecksum
        | Safeguard::ManifestChecksum
        | Safeguard::LogPayloadChecksum => "damage",
        _ => "cases",
    }
}

/// How many cases it takes until one fails, and how that one fails; none where none does.
fn cases_until_one_fails(safeguard: Safeguard) -> Option<(u64, String)> {
    let role = role(safeguard);
    for begin in (0..CASES_MAX).step_by(CASES_OF_A_PROCESS as usize) {
        let cases: Vec<Case> = (begin..begin + CASES_OF_A_PROCESS).map(|seed| Case::new(1 + seed)).collect();
        if let Outcome::Failed { case, said } = run_without(Some(safeguard), role, &cases) {
            let count = cases.iter().position(|one| Some(*one) == case).map_or(0, |at| at as u64 + 1);
            let how = said.lines().skip_while(|line| !line.contains("panicked at")).nth(1);
            let how = how.or_else(|| said.lines().next_back()).unwrap_or_default();
            return Some((begin + count, how.chars().take(160).collect()));
        }
    }
    None
}

#[test]
fn no_safeguard_can_be_taken_away_unnoticed() {
    let (next, missed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let only = std::env::var("ALLUVIUM_SAFEGUARD").ok();
    let each = || {
        while let Some(&safeguard) = SAFEGUARDS.get(next.fetch_add(1, Ordering::Relaxed)) {
            if only.as_ref().is_some_and(|only| *only != format!("{safeguard:?}")) {
                continue;
            }
            match cases_until_one_fails(safeguard) {
                Some((count, how)) => println!("{safeguard:?} taken away: case {count} fails: {how}"),
                None => {
                    println!("{safeguard:?} taken away: none of {CASES_MAX} cases fails");
                    missed.lock().unwrap().push(safeguard);
                }
            }
        }
    };
    let processors = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| (0..processors).for_each(|_| drop(scope.spawn(each))));
    let missed = missed.into_inner().unwrap();
    assert!(missed.is_empty(), "nothing notices that these are missing: {missed:?}");
}
