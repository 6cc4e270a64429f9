//! A store tells when its next checkpoint is due, by what it measures and what its host says.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

use alluvium::pacing::{Cause, Kept, Policy, Rates, Reason};
use alluvium::{Barrier, Engine, EngineOptions, Error, State, StateOptions, Store, StoreOptions, Writer};
use std::path::Path;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn engine() -> Engine {
    Engine::open(EngineOptions { memory_budget_bytes: 16 << 20, threads: 1, ..Default::default() }).unwrap()
}

fn options(checkpoint_policy: Policy) -> StoreOptions {
    StoreOptions { checkpoint_policy, ..Default::default() }
}

fn target(target: Duration) -> Policy {
    Policy::RecoveryTime { target, max_write_amplification: f64::INFINITY }
}

fn create(engine: &Engine, path: &Path, policy: Policy) -> (Store, State, Writer) {
    let store = Store::create(engine, path, options(policy)).unwrap();
    let state = store.state(StateOptions::value("v")).unwrap();
    let writer = store.writer(store.range()).unwrap();
    (store, state, writer)
}

/// Takes `units` of input.
fn take(store: &Store, (state, writer): (State, &mut Writer), units: u64) {
    for unit in 0..units.min(1_000) {
        writer.put(state, store.key(&unit.to_be_bytes()), b"value").unwrap();
    }
    store.observe_input(units);
}

#[test]
fn predicted_recovery_is_what_came_since_the_last_complete_checkpoint() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine();
    let (store, state, mut writer) = create(&engine, directory.path(), target(10_000 * SECOND));
    take(&store, (state, &mut writer), 1);
    // A millisecond for each unit.
    store.observe_replay(1_000_000, 1_000 * SECOND);
    take(&store, (state, &mut writer), 3_000_000 - 1);
    // The rest is opening.
    let whole = store.predicted_recovery();
    assert!(whole >= 3_000 * SECOND && whole < 3_100 * SECOND, "{whole:?}");
    assert!(!store.next_checkpoint().unwrap().is_due());

    // One that is given up changes nothing, and joins the next one.
    let pending = store.barrier(Barrier::new(1)).unwrap();
    pending.abort().unwrap();
    if pending.wait().is_err() {
        assert!(store.predicted_recovery() >= 3_000 * SECOND);
    }
    take(&store, (state, &mut writer), 2_000_000);
    writer.barrier(Barrier::new(2)).unwrap().wait().unwrap();
    let after = store.predicted_recovery();
    assert!(after < 100 * SECOND, "{after:?}");

    take(&store, (state, &mut writer), 9_000_000);
    // Before the next look a second one that nobody asked the pacer for: work counts from its barrier then.
    writer.barrier(Barrier::new(3)).unwrap().wait().unwrap();
    assert!(store.predicted_recovery() < 100 * SECOND);
    take(&store, (state, &mut writer), 9_500_000);
    std::thread::sleep(Duration::from_millis(60));
    let next = store.next_checkpoint().unwrap();
    assert!(next.is_due() && next.reason != Reason::Interval, "{next:?}");
    // With input at half of the capacity recovery takes twice as long.
    store.observe_rates(Rates { input: Some(500.0), capacity: Some(1_000.0) });
    assert!(store.predicted_recovery() >= 19_000 * SECOND);
    assert!(store.next_checkpoint().unwrap().is_due(), "it stays due");
    let conflict = store.checkpoint_conflict().unwrap();
    assert!(conflict.reachable >= 19_000 * SECOND, "{conflict:?}");
}

#[test]
fn a_target_below_the_time_that_opening_takes_is_said_to_be_out_of_reach() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine();
    let (store, state, mut writer) = create(&engine, directory.path(), target(Duration::from_nanos(100)));
    take(&store, (state, &mut writer), 10);
    assert!(store.next_checkpoint().is_some());
    let conflict = store.checkpoint_conflict().unwrap();
    assert_eq!((conflict.cause, conflict.kept), (Cause::OpenCost, Kept::WriteAmplification));
    assert!(conflict.reachable > Duration::from_nanos(100));
}

#[test]
fn a_host_that_counts_nothing_is_paced_by_the_time() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine();
    let (store, state, mut writer) = create(&engine, directory.path(), target(Duration::from_millis(80)));
    let mut labels = 0;
    while labels < 5 {
        writer.put(state, store.key(b"k"), b"v").unwrap();
        let next = store.next_checkpoint().unwrap();
        if next.is_due() {
            labels += 1;
            writer.barrier(Barrier::new(labels)).unwrap();
        } else {
            std::thread::sleep(next.due_in.min(Duration::from_millis(5)));
        }
    }
    drop(writer);
    store.close().unwrap();
    let store = Store::open(&engine, directory.path(), options(Policy::Manual)).unwrap();
    assert!(store.restored().unwrap().label >= 4, "all but the last one were complete before the next was due");
    assert_eq!((store.next_checkpoint(), store.checkpoint_conflict()), (None, None));
}

#[test]
fn a_fixed_interval_counts_from_the_barrier_also_of_a_checkpoint_that_wasnt_due() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine();
    let (store, state, mut writer) = create(&engine, directory.path(), Policy::Fixed(1_000 * SECOND));
    writer.put(state, store.key(b"k"), b"v").unwrap();
    store.barrier(Barrier::new(1)).unwrap().wait().unwrap();
    let due_in = store.next_checkpoint().unwrap().due_in;
    assert!(due_in > 900 * SECOND && due_in <= 1_000 * SECOND, "{due_in:?}");
}

#[test]
fn youngs_interval_is_longer_where_checkpoints_cost_more() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine();
    let due_in = |name: &str, lost: Duration| {
        let policy = Policy::Young { mtbf: 3_600 * SECOND };
        let (store, state, mut writer) = create(&engine, &directory.path().join(name), policy);
        store.observe_checkpoint_cost(lost);
        take(&store, (state, &mut writer), 100);
        store.barrier(Barrier::new(1)).unwrap().wait().unwrap();
        take(&store, (state, &mut writer), 100);
        store.next_checkpoint().unwrap().due_in.as_secs_f64()
    };
    // Nothing was replayed yet, so work is time: 2 × 3,600 s × 0.5 s is the square of 60 s.
    let (cheap, dear) = (due_in("cheap", SECOND / 2), due_in("dear", 8 * SECOND));
    assert!((55.0..=60.0).contains(&cheap) && (235.0..=240.0).contains(&dear), "{cheap} and {dear}");
}

#[test]
fn policies_that_cant_be_meant_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine();
    let policy = Policy::RecoveryTime { target: SECOND, max_write_amplification: 0.5 };
    let refused = Store::create(&engine, directory.path(), options(policy)).unwrap_err();
    assert!(matches!(refused, Error::Options { option: "checkpoint_policy", .. }), "{refused:?}");
}
