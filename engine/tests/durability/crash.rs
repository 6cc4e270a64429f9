//! Crashes: a process is killed, and what it leaves is one of its checkpoints, at least the last one it saw complete.

use crate::support::child::Place;
use crate::support::runs::{committed_steps, logged_options};
use crate::support::trace;
use crate::support::workload::{Model, Plan, Rng, Subject, check_store, engine, store_options};
use alluvium::inspect::{self, Severity};
use alluvium::{Error, StorageChoice, Store};
use std::time::Duration;

/// How many rounds the tests below do; `all` steps through every change.
const ROUNDS: &str = "ALLUVIUM_CRASH_ROUNDS";
/// The seed, to do again what failed.
const SEED: &str = "ALLUVIUM_CRASH_SEED";

fn rounds(default: u64) -> u64 {
    match std::env::var(ROUNDS).as_deref() {
        Ok("all") => u64::MAX,
        Ok(number) => number.parse().expect("a number of rounds, or all"),
        Err(_) => default,
    }
}

fn seed() -> u64 {
    let given = std::env::var(SEED).ok().map(|seed| seed.parse().expect("a seed"));
    let seed = given.unwrap_or_else(|| std::process::id().into());
    println!("{SEED}={seed}");
    seed
}

/// Opens what is left in a place and compares it with the model. Returns the label of the checkpoint.
fn check_left(place: &Place, plan: Plan, model: &mut Model, what: &str) -> u64 {
    let log = || place.log();
    let last_complete = place.reported("complete").into_iter().max().unwrap_or(0);
    let engine = engine(StorageChoice::Posix, 4 << 20);
    let store = match Store::open(&engine, &place.store(), store_options()) {
        Ok(store) => store,
        Err(Error::NoCheckpoint { .. }) if last_complete == 0 => return 0,
        Err(error) => panic!("{what}: complete {last_complete}, but: {error}\n{}", log()),
    };
    let faults: Vec<_> = inspect::verify(&place.store()).unwrap();
    let faults: Vec<_> = faults.iter().filter(|finding| finding.severity == Severity::Fault).collect();
    assert!(faults.is_empty(), "{what}: {faults:?}");
    let mut subject = Subject::over(store).unwrap();
    let info = check_store(plan, model, &mut subject, what);
    assert!(place.reported("started").contains(&info.label), "{what}: checkpoint {} was never asked for", info.label);
    assert!(info.label >= last_complete, "{what}: {} after {last_complete} was complete\n{}", info.label, log());
    subject.store.close().unwrap();
    info.label
}

#[test]
fn killed_at_random_moments() {
    let mut rng = Rng(seed());
    let rounds = rounds(30);
    let mut round = 0;
    while round < rounds {
        let plan = Plan {
            seed: rng.next(),
            steps: 60_000,
            every: 700,
            keys: 600,
            value_bytes_max: 6_000,
            waits: false,
            migrates: 900,
        };
        let place = Place::new();
        let mut model = Model::new(plan);
        // Ten kills of one store, so that crashes come on top of what crashes left.
        for _ in 0..10.min(rounds - round) {
            let storage = if rng.below(2) == 0 { StorageChoice::Posix } else { StorageChoice::Auto };
            let mut child = place.process("work", plan, storage).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(20 + rng.below(250)));
            child.kill().unwrap();
            child.wait().unwrap();
            let log = place.log();
            assert!(!log.contains("panicked"), "round {round}: {log}");
            check_left(&place, plan, &mut model, &format!("round {round} of {plan:?}"));
            round += 1;
        }
    }
}

/// What a crash leaves is a commit that a checkpoint has: never what was staged, never a part of a commit.
#[test]
fn killed_at_random_moments_of_transactions() {
    let mut rng = Rng(seed());
    let rounds = rounds(20);
    let mut round = 0;
    while round < rounds {
        let plan = Plan {
            seed: rng.next(),
            steps: 60_000,
            every: 900,
            keys: 900,
            value_bytes_max: 8_000,
            waits: false,
            migrates: 0,
        };
        let place = Place::new();
        let mut model = Model::new(plan);
        for _ in 0..10.min(rounds - round) {
            let mut child = place.process("transact", plan, StorageChoice::Auto).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(20 + rng.below(400)));
            child.kill().unwrap();
            child.wait().unwrap();
            let log = place.log();
            assert!(!log.contains("panicked"), "round {round}: {log}");
            check_left(&place, plan, &mut model, &format!("round {round} of {plan:?}"));
            round += 1;
        }
    }
}

/// Opens what is left of a store with a changelog and compares it with the model. Returns how many steps it has.
fn check_logged(place: &Place, plan: Plan, model: &mut Model, what: &str) -> u64 {
    let engine = engine(StorageChoice::Posix, 4 << 20);
    let least = ["lasts", "complete"].map(|word| place.reported(word).into_iter().max().unwrap_or(0));
    let store = match Store::open(&engine, &place.store(), logged_options(plan)) {
        Ok(store) => store,
        Err(Error::NoCheckpoint { .. }) if least == [0, 0] => return 0,
        Err(error) => panic!("{what}: {least:?} lasted, but: {error}\n{}", place.log()),
    };
    let steps = committed_steps(&store);
    assert!(least.iter().all(|least| steps >= *least), "{what}: {steps} steps, {least:?} lasted\n{}", place.log());
    let known = steps == 0 || place.reported("asked").contains(&steps) || place.reported("started").contains(&steps);
    assert!(known, "{what}: {steps} steps were never committed");
    let mut subject = Subject::over(store).unwrap();
    let wanted = model.at(steps).clone();
    subject.check_reads(&wanted, what);
    subject.check_absences(plan, &wanted, what);
    subject.store.close().unwrap();
    steps
}

fn logged_plan(seed: u64) -> Plan {
    Plan { seed, steps: 60_000, every: 3_000, keys: 600, value_bytes_max: 4_000, waits: false, migrates: 0 }
}

/// Nothing that was said to last is lost, whether a checkpoint had it or the changelog alone.
#[test]
fn killed_at_random_moments_of_commits() {
    let mut rng = Rng(seed());
    let rounds = rounds(30);
    let mut round = 0;
    while round < rounds {
        let plan = logged_plan(rng.next());
        let place = Place::new();
        let mut model = Model::new(plan);
        for _ in 0..10.min(rounds - round) {
            let storage = if rng.below(2) == 0 { StorageChoice::Posix } else { StorageChoice::Auto };
            let mut child = place.process("log", plan, storage).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(20 + rng.below(400)));
            child.kill().unwrap();
            child.wait().unwrap();
            assert!(!place.log().contains("panicked"), "round {round}: {}", place.log());
            check_logged(&place, plan, &mut model, &format!("round {round} of {plan:?}"));
            round += 1;
        }
    }
}

#[test]
fn killed_between_any_two_changes_of_a_changelog() {
    for seed in [11, 12] {
        let plan = Plan { steps: 2_400, every: 800, keys: 150, ..logged_plan(seed) };
        let mut model = Model::new(plan);
        let place = Place::new();
        let whole = trace::run(&mut place.process("log", plan, StorageChoice::Posix), None);
        assert_eq!(whole.code, Some(0), "{}", place.log());
        assert_eq!(check_logged(&place, plan, &mut model, "undisturbed"), plan.steps);
        let count = rounds(20).min(whole.changes);
        println!("{} changes, {count} of them stepped through", whole.changes);
        for round in 0..count {
            let at = 1 + round * whole.changes / count;
            let place = Place::new();
            let what = format!("seed {seed} killed at change {at}");
            let killed = trace::run(&mut place.process("log", plan, StorageChoice::Posix), Some(at));
            assert!(killed.killed || killed.code == Some(0), "{what}: {killed:?}\n{}", place.log());
            check_logged(&place, plan, &mut model, &what);
            let again = 1 + round * 7 % 40;
            let what = format!("{what}, then at {again}");
            let killed = trace::run(&mut place.process("log", plan, StorageChoice::Posix), Some(again));
            assert!(killed.killed || killed.code == Some(0), "{what}: {killed:?}\n{}", place.log());
            check_logged(&place, plan, &mut model, &what);
        }
    }
}

#[test]
fn killed_between_any_two_changes() {
    let plan =
        Plan { seed: 11, steps: 4_400, every: 400, keys: 250, value_bytes_max: 9_000, waits: true, migrates: 1_100 };
    let mut model = Model::new(plan);
    let place = Place::new();
    let whole = trace::run(&mut place.process("work", plan, StorageChoice::Posix), None);
    assert_eq!(whole.code, Some(0), "{}", place.log());
    assert_eq!(check_left(&place, plan, &mut model, "undisturbed"), plan.steps);
    // A step that shares no factor with the regular course of a checkpoint, from a start that differs each time.
    let count = rounds(40).min(whole.changes);
    let mut rng = Rng(seed());
    let start = rng.below(whole.changes);
    println!("{} changes, {count} of them stepped through", whole.changes);
    for round in 0..count {
        let at = 1 + (start + round * whole.changes / count) % whole.changes;
        let place = Place::new();
        let what = format!("killed at change {at}");
        let killed = trace::run(&mut place.process("work", plan, StorageChoice::Posix), Some(at));
        assert!(killed.killed || killed.code == Some(0), "{what}: {killed:?}\n{}", place.log());
        check_left(&place, plan, &mut model, &what);
        // A second crash, on the way up from the first or soon after.
        let again = 1 + rng.below(40);
        let what = format!("{what}, then at {again}");
        let killed = trace::run(&mut place.process("work", plan, StorageChoice::Posix), Some(again));
        assert!(killed.killed || killed.code == Some(0), "{what}: {killed:?}\n{}", place.log());
        let label = check_left(&place, plan, &mut model, &what);
        // It goes on to the end from there.
        if round % 8 == 0 {
            let ended = place.process("work", plan, StorageChoice::Auto).status().unwrap();
            assert!(ended.success(), "{what}, from {label}: {}", place.log());
            assert_eq!(check_left(&place, plan, &mut model, &what), plan.steps);
        }
    }
}
