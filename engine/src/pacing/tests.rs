//! What the pacer promises, over simulated crashes; every seed is printed, every run is the same each time.

use super::estimate::{Cost, Growth, Shape};
use super::simulation::{MB, Machine, Outcome, Plan, Random, Trace};
use super::*;

const SECOND: u64 = 1_000_000_000;
const TARGET_S: f64 = 10.0;
const SEEDS: [u64; 3] = [1, 2, 3];

fn target(seconds: f64) -> Policy {
    let target = Duration::from_secs_f64(seconds);
    Policy::RecoveryTime { target, max_write_amplification: f64::INFINITY }
}

fn traces() -> [(&'static str, Trace, Machine); 4] {
    let machine = Machine::default();
    [
        ("steady", Trace::Steady(20.0 * MB), machine),
        ("step", Trace::Step(10.0 * MB, 40.0 * MB, 120.0), machine),
        ("burst", Trace::Burst(15.0 * MB, 60.0 * MB, 40.0, 5.0), machine),
        ("skew", Trace::Steady(20.0 * MB), Machine { hot: Some(100.0 * MB), ..machine }),
    ]
}

fn show(name: &str, plan: &Plan, outcome: &Outcome) {
    println!(
        "{name}, seed {}: {} crashes, longest recovery {:.2} s, prediction off by {:.1} % at the median, {:.1} % at p90; \
         {} checkpoints, one in {:.1} s; write amplification {:.2}; lost {:.0} s, redone {:.0} s of {:.0} s",
        plan.seed,
        outcome.crashes.len(),
        outcome.longest_s(),
        outcome.error(0.5) * 100.0,
        outcome.error(0.9) * 100.0,
        outcome.begun_s.len(),
        outcome.lasted_s / outcome.begun_s.len() as f64,
        outcome.write_amplification(),
        outcome.lost_s,
        outcome.redone_s,
        outcome.lasted_s,
    );
}

/// No crash took longer than the target, and predictions were good.
fn keeps(name: &str, plan: Plan) -> Outcome {
    let outcome = plan.run();
    show(name, &plan, &outcome);
    assert!(outcome.crashes.len() >= 200);
    let missed = outcome.missed(TARGET_S);
    assert!(missed.is_empty(), "{name}, seed {}: {} missed: {missed:?}", plan.seed, missed.len());
    assert!(outcome.error(0.9) <= 0.2, "{name}, seed {}", plan.seed);
    // Some bursts would have broken the promise, had they gone on; that is said, and not much else.
    let said: Vec<_> = outcome.crashes.iter().filter(|crash| !crash.blind && crash.conflict.is_some()).collect();
    assert!(said.len() * 50 <= outcome.crashes.len(), "{name}, seed {}: {said:#?}", plan.seed);
    outcome
}

#[test]
fn no_recovery_takes_longer_than_the_target() {
    for (name, trace, machine) in traces() {
        for seed in SEEDS {
            let outcome = keeps(name, Plan { machine, seed, ..Plan::new(target(TARGET_S), trace) });
            // It isn't kept by checkpoints without a pause.
            assert!(outcome.longest_s() > 0.5 * TARGET_S, "{name}, seed {seed}");
        }
    }
}

#[test]
fn what_a_crash_makes_it_forget_breaks_no_promise() {
    for (name, trace, machine) in traces() {
        for seed in SEEDS {
            let plan = Plan { machine, seed, forgets: true, ..Plan::new(target(TARGET_S), trace) };
            keeps(&format!("{name}, forgetting"), plan);
        }
    }
}

#[test]
fn catching_up_is_part_of_it_once_the_capacity_is_known() {
    for (name, trace, machine) in traces() {
        for seed in SEEDS {
            let plan = Plan { machine, seed, capacity: Some(160.0 * MB), ..Plan::new(target(TARGET_S), trace) };
            keeps(&format!("{name}, catching up"), plan);
        }
    }
}

#[test]
fn a_host_may_sleep_until_it_was_told_to_look() {
    for (name, trace, machine) in traces() {
        let plan = Plan { machine, look_s: None, ..Plan::new(target(TARGET_S), trace) };
        keeps(&format!("{name}, sleeping"), plan);
    }
}

#[test]
fn a_disk_that_becomes_ten_times_slower_is_found_out() {
    for seed in SEEDS {
        let machine = Machine { open_s: 0.1, slow: (6_000.0, 12_000.0, 10.0), ..Machine::default() };
        let trace = Trace::Steady(2.0 * MB);
        let plan = Plan { machine, seed, crashes: 300, ..Plan::new(target(TARGET_S), trace) };
        let outcome = plan.run();
        show("slower", &plan, &outcome);
        let missed = outcome.missed(TARGET_S);
        assert!(missed.is_empty(), "seed {seed}: {missed:?}");
        let errors = |from_s: f64, until_s: f64| -> Vec<f64> {
            let within = outcome.crashes.iter().filter(|crash| crash.at_s >= from_s && crash.at_s < until_s);
            within.map(super::simulation::Crash::error).collect()
        };
        let (slow, fast) = (errors(6_000.0, 12_000.0), errors(12_000.0, f64::INFINITY));
        assert!(slow.len() > 50 && fast.len() > 50, "{} and {}", slow.len(), fast.len());
        // Two crashes of the new kind are learnt from, whichever way it changed.
        for errors in [&slow, &fast] {
            let late = errors.iter().skip(3).filter(|&&error| error > 0.2).count();
            assert!(late * 10 <= errors.len(), "seed {seed}: {errors:.2?}");
        }
        // And it doesn't stay frightened.
        let began = |from_s: f64, until_s: f64| {
            outcome.begun_s.iter().filter(|&&at_s| at_s >= from_s && at_s < until_s).count() as f64 / (until_s - from_s)
        };
        let (before, while_slow, after) =
            (began(3_000.0, 6_000.0), began(7_000.0, 12_000.0), began(14_000.0, outcome.lasted_s));
        println!("checkpoints a second: {before:.4} before, {while_slow:.4} meanwhile, {after:.4} after");
        assert!(while_slow > 2.0 * before && after < 1.5 * before, "seed {seed}");
    }
}

/// What the best fixed interval would have wasted, had it been known; and what others waste.
fn fixed(plan: &Plan) -> (f64, f64, [f64; 3]) {
    let wasted = |seconds: f64| {
        let policy = Policy::Fixed(Duration::from_secs_f64(seconds));
        Plan { policy, look_s: None, ..*plan }.run().wasted_s()
    };
    let intervals = (0..18).map(|step| 8.0 * 1.16_f64.powi(step));
    let all = intervals.map(|seconds| (seconds, wasted(seconds)));
    let (seconds, best) = all.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
    (seconds, best, [1.0, 10.0, 60.0].map(wasted))
}

#[test]
fn youngs_interval_wastes_hardly_more_than_the_best_fixed_one() {
    for (name, trace, machine) in traces() {
        let mtbf_s = 600.0;
        let policy = Policy::Young { mtbf: Duration::from_secs_f64(mtbf_s) };
        let plan = Plan { machine, mtbf_s, crashes: 600, look_s: Some(1.0), seed: 7, ..Plan::new(policy, trace) };
        let outcome = plan.run();
        show(name, &plan, &outcome);
        let (seconds, best, others) = fixed(&plan);
        let wasted = outcome.wasted_s();
        println!(
            "{name}: wasted {wasted:.0} s, {:+.1} % of the best fixed interval's, {seconds:.1} s ({best:.0} s); of 1, 10 and 60 s: {others:.0?}",
            (wasted / best - 1.0) * 100.0
        );
        assert!(wasted <= 1.05 * best, "{name}");
        assert!(others.iter().all(|&other| wasted < other), "{name}");
    }
}

#[test]
fn intervals_are_as_long_as_the_target_allows_and_dont_oscillate() {
    let machine = Machine::default();
    let rate = 20.0 * MB;
    let plan = Plan {
        mtbf_s: f64::INFINITY,
        until_s: 7_200.0,
        replays: 20,
        ..Plan::new(target(TARGET_S), Trace::Steady(rate))
    };
    let outcome = plan.run();
    let intervals: Vec<f64> = outcome.begun_s.windows(2).map(|pair| pair[1] - pair[0]).skip(10).collect();
    let mut sorted = intervals.clone();
    sorted.sort_by(f64::total_cmp);
    let (shortest, median, longest) = (sorted[0], sorted[sorted.len() / 2], sorted[sorted.len() - 1]);
    // The longest that keeps the target for sure, if nothing ever varied.
    let work_s = (TARGET_S - machine.open_s) * machine.replay / rate;
    let ideal = (work_s - machine.base_s) / (1.0 + rate / machine.disk);
    println!("intervals of {shortest:.2} to {longest:.2} s, {median:.2} s at the median; {ideal:.2} s at most");
    assert!(longest < ideal && shortest > 0.55 * ideal);
    assert!(shortest > 0.85 * median && longest < 1.15 * median);
    // No swinging: neighbours are no more alike, nor less, than any two.
    let mean = intervals.iter().sum::<f64>() / intervals.len() as f64;
    let variance: f64 = intervals.iter().map(|interval| (interval - mean).powi(2)).sum();
    let neighbours: f64 = intervals.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean)).sum();
    println!("correlation of neighbours: {:.2}", neighbours / variance);
    assert!(neighbours / variance > -0.5);
    assert!(outcome.conflicts.is_empty(), "{:?}", outcome.conflicts);
}

#[test]
fn a_cap_on_writing_is_kept_and_what_it_costs_is_said() {
    let machine = Machine { hot: Some(200.0 * MB), ..Machine::default() };
    for seed in SEEDS {
        let cap = 1.25;
        let policy = Policy::RecoveryTime { target: Duration::from_secs(6), max_write_amplification: cap };
        // Few crashes: each has all that is in memory written again, whatever was decided.
        let plan = Plan { machine, seed, mtbf_s: 400.0, ..Plan::new(policy, Trace::Steady(20.0 * MB)) };
        let outcome = plan.run();
        show("capped", &plan, &outcome);
        assert!(outcome.write_amplification() < cap * 1.02, "seed {seed}: {}", outcome.write_amplification());
        let missed = outcome.missed(6.0);
        assert!(missed.len() > 20, "seed {seed}: the target could be kept after all");
        for crash in missed {
            let said = crash.conflict.unwrap_or_else(|| panic!("seed {seed}: nothing was said of {crash:?}"));
            assert_eq!((said.cause, said.kept), (Cause::WriteAmplification, Kept::WriteAmplification));
            assert!(said.needed_write_amplification > cap, "{said:?}");
            assert!(crash.took_s < said.reachable.as_secs_f64() * 1.2, "seed {seed}: {crash:?}");
        }
        // Said once, and not taken back again and again.
        assert!(
            outcome.taken_back <= outcome.crashes.len() / 20,
            "seed {seed}: taken back {} times",
            outcome.taken_back
        );
        // With room for it the same target is kept.
        let policy = Policy::RecoveryTime { target: Duration::from_secs(6), max_write_amplification: 3.0 };
        let outcome = Plan { policy, ..plan }.run();
        show("with room", &plan, &outcome);
        assert!(outcome.missed(6.0).is_empty() && outcome.write_amplification() < 3.0, "seed {seed}");
        assert!(outcome.conflicts.is_empty(), "seed {seed}: {:?}", outcome.conflicts);
    }
}

#[test]
fn a_cap_that_allows_no_checkpoint_is_broken_before_recovery_has_no_end() {
    let policy = Policy::RecoveryTime { target: Duration::from_secs(5), max_write_amplification: 1.0 };
    let plan = Plan { mtbf_s: f64::INFINITY, until_s: 3_600.0, ..Plan::new(policy, Trace::Steady(20.0 * MB)) };
    let outcome = plan.run();
    let said = *outcome.conflicts.last().unwrap();
    assert_eq!((said.cause, said.kept), (Cause::WriteAmplification, Kept::Neither));
    let interval_s = outcome.lasted_s / outcome.begun_s.len() as f64;
    println!("a checkpoint in {interval_s:.0} s; {said:?}");
    assert!(outcome.begun_s.len() > 10, "{} checkpoints", outcome.begun_s.len());
}

/// What is said first of a target that can't be kept, and how many checkpoints are taken for it in ten minutes.
fn conflict_of(plan: Plan) -> (Conflict, usize) {
    let outcome = Plan { mtbf_s: f64::INFINITY, until_s: 600.0, ..plan }.run();
    (*outcome.conflicts.last().unwrap(), outcome.begun_s.len())
}

#[test]
fn a_target_that_cant_be_kept_is_said_to_be() {
    let plan = Plan::new(target(1.0), Trace::Steady(20.0 * MB));
    let open = Plan { machine: Machine { open_s: 1.5, ..Machine::default() }, ..plan };
    let (said, checkpoints) = conflict_of(open);
    assert_eq!(said.cause, Cause::OpenCost);
    assert!(said.reachable > Duration::from_millis(1_400) && said.reachable < Duration::from_secs(3), "{said:?}");
    // Nor does it take one after another without end.
    assert!(checkpoints < 600 * 6, "{checkpoints} checkpoints");

    let slow = Plan { machine: Machine { base_s: 3.0, ..Machine::default() }, ..plan };
    let (said, _) = conflict_of(slow);
    assert_eq!(said.cause, Cause::Checkpoints);
    assert!(said.reachable > Duration::from_secs(1) && said.reachable < Duration::from_secs(4), "{said:?}");

    let busy = Plan { capacity: Some(22.0 * MB), ..plan };
    let (said, _) = conflict_of(busy);
    assert_eq!(said.cause, Cause::CatchingUp);
    let never = Plan { capacity: Some(19.0 * MB), ..plan };
    let (said, checkpoints) = conflict_of(never);
    assert_eq!((said.cause, said.reachable), (Cause::CatchingUp, Duration::MAX));
    assert!(checkpoints < 600 * 6, "{checkpoints} checkpoints");
}

#[test]
fn a_burst_that_nobody_knew_of_is_said_and_reacted_to() {
    let policy = target(5.0);
    let mut pacer = Pacer::new(policy, true, 0);
    pacer.observe_open(0, Duration::from_millis(100));
    for _ in 0..10 {
        pacer.observe_replay(0, 100_000_000, Duration::from_secs(1));
    }
    let (mut log, mut now) = (0_u64, 0_u64);
    let mut look = |pacer: &mut Pacer, bytes_a_second: u64| {
        now += SECOND / 20;
        log += bytes_a_second / 20;
        pacer.observe_log(now, log);
        pacer.observe_dirty(now, log);
        (now, pacer.next_checkpoint(now).unwrap())
    };
    for _ in 0..200 {
        let (_, decision) = look(&mut pacer, 5_000_000);
        assert!(!decision.is_due());
    }
    let due = (0..200).map(|_| look(&mut pacer, 80_000_000)).find(|(_, decision)| decision.is_due()).unwrap();
    assert_eq!(due.1.reason, Reason::Burst);
    assert_eq!(pacer.conflict(), None);
    pacer.checkpoint_begun(due.0, 1);
    // It goes on, and faster: the checkpoint on its way will be complete too late.
    let said = (0..100).find_map(|_| {
        let (_, decision) = look(&mut pacer, 400_000_000);
        assert!(!decision.is_due(), "two at once");
        pacer.conflict()
    });
    assert_eq!(said.unwrap().cause, Cause::Checkpoints);
}

#[test]
fn memory_that_is_short_makes_one_due_unless_little_changed() {
    let mut pacer = Pacer::new(target(60.0), true, 0);
    pacer.observe_replay(0, 100_000_000, Duration::from_secs(1));
    pacer.observe_log(0, 0);
    pacer.observe_log(SECOND, 1_000_000);
    pacer.observe_dirty(SECOND, 30_000_000);
    pacer.observe_memory(SECOND, 80_000_000, 100_000_000);
    assert!(!pacer.next_checkpoint(SECOND).unwrap().is_due());
    pacer.observe_memory(SECOND, 90_000_000, 100_000_000);
    let decision = pacer.next_checkpoint(SECOND).unwrap();
    assert_eq!((decision.is_due(), decision.reason), (true, Reason::Memory));
    pacer.checkpoint_begun(SECOND, 1);
    pacer.checkpoint_completed(2 * SECOND, 1, Completed { took: Duration::from_secs(1), ..Completed::default() });
    pacer.observe_dirty(3 * SECOND, 10_000_000);
    assert!(!pacer.next_checkpoint(3 * SECOND).unwrap().is_due(), "memory is full of what is clean");
}

#[test]
fn one_at_a_time_with_a_pause_that_grows_with_failures() {
    let mut pacer = Pacer::new(target(1.0), true, 0);
    pacer.observe_replay(0, 1_000_000, Duration::from_secs(1));
    pacer.observe_log(0, 0);
    let mut now = SECOND;
    let mut pauses = Vec::new();
    for number in 0..10 {
        pacer.observe_log(now, 5_000_000);
        let decision = pacer.next_checkpoint(now).unwrap();
        pauses.push(decision.due_in);
        now += u64::try_from(decision.due_in.as_nanos()).unwrap();
        assert!(pacer.next_checkpoint(now).unwrap().is_due(), "it stays due");
        pacer.checkpoint_begun(now, number);
        assert!(!pacer.next_checkpoint(now).unwrap().is_due(), "one is on its way");
        now += SECOND / 10;
        pacer.checkpoint_failed(now, number);
    }
    assert_eq!(pauses[0], Duration::ZERO);
    assert!(
        pauses[1..].windows(2).all(|pair| pair[1] == (pair[0] * 2).min(Duration::from_millis(12_800))),
        "{pauses:?}"
    );
    // One that isn't known changes nothing.
    pacer.checkpoint_completed(now, 99, Completed::default());
    pacer.checkpoint_failed(now, 99);
    assert_eq!(pacer.predicted_recovery(now).as_secs(), 5);
}

#[test]
fn without_a_replay_work_is_redone_as_fast_as_it_was_done() {
    let mut pacer = Pacer::new(target(10.0), false, 0);
    pacer.observe_open(0, Duration::from_millis(500));
    assert_eq!(pacer.predicted_recovery(4 * SECOND), Duration::from_millis(500), "nothing was done");
    pacer.observe_log(SECOND, 10);
    assert_eq!(pacer.predicted_recovery(4 * SECOND), Duration::from_millis(4_500));
    let mut due = 5 * SECOND;
    loop {
        let decision = pacer.next_checkpoint(due).unwrap();
        assert_eq!(decision.reason, Reason::Interval);
        if decision.is_due() {
            break;
        }
        due += decision.due_in.as_nanos() as u64;
    }
    assert!((8_500_000_000..9_500_000_000).contains(&due), "due at {due} ns");
    pacer.checkpoint_begun(due, 1);
    pacer.checkpoint_completed(due + SECOND, 1, Completed::default());
    pacer.observe_log(due + 2 * SECOND, 20);
    assert_eq!(pacer.predicted_recovery(due + 2 * SECOND), Duration::from_millis(2_500), "since the barrier");
}

#[test]
fn manual_is_never_due_and_fixed_after_its_interval() {
    let mut pacer = Pacer::new(Policy::Manual, true, 0);
    pacer.observe_log(1, u64::MAX);
    assert_eq!((pacer.next_checkpoint(u64::MAX), pacer.conflict()), (None, None));
    let mut pacer = Pacer::new(Policy::Fixed(Duration::from_secs(10)), true, 0);
    assert_eq!(pacer.next_checkpoint(4 * SECOND).unwrap().due_in, Duration::from_secs(6));
    assert!(pacer.next_checkpoint(10 * SECOND).unwrap().is_due());
    pacer.checkpoint_begun(10 * SECOND, 1);
    pacer.checkpoint_completed(12 * SECOND, 1, Completed::default());
    assert_eq!(pacer.next_checkpoint(13 * SECOND).unwrap().due_in, Duration::from_secs(7), "from barrier to barrier");
}

#[test]
fn impossible_policies_are_refused() {
    let cap =
        |max_write_amplification| Policy::RecoveryTime { target: Duration::from_secs(1), max_write_amplification };
    assert!([Policy::Manual, target(1.0), cap(1.0)].iter().all(|policy| policy.validate().is_ok()));
    let none = Duration::ZERO;
    let wrong = [Policy::Fixed(none), Policy::Young { mtbf: none }, target(0.0), cap(0.9), cap(f64::NAN)];
    assert!(wrong.iter().all(|policy| policy.validate().is_err()));
}

#[test]
fn strange_numbers_do_no_harm() {
    for seed in 0..200 {
        let mut random = Random(seed);
        let mut pacer = Pacer::new([target(1e-9), Policy::Young { mtbf: Duration::MAX }][seed as usize % 2], true, 5);
        for step in 0..200_u64 {
            let any = (random.factor(30.0) * 1e6) as u64;
            match step % 8 {
                0 => pacer.observe_log(any, any),
                1 => pacer.observe_replay(any, any, Duration::from_nanos(any % 3)),
                2 => pacer.observe_dirty(any, any),
                3 => pacer.observe_memory(any, any, any % 7),
                4 => pacer.observe_rates(any, Rates { input: Some(random.factor(99.0)), capacity: Some(f64::NAN) }),
                5 => pacer.checkpoint_begun(any, step / 8),
                6 => pacer.checkpoint_completed(any, step / 8, Completed { lost: Duration::MAX, ..Default::default() }),
                _ => pacer.observe_open(any, Duration::from_nanos(any)),
            }
            let decision = pacer.next_checkpoint(any).unwrap();
            assert!(decision.due_in <= Duration::from_secs(3_600) || !pacer.in_flight.is_empty());
            let _ = (pacer.predicted_recovery(any), pacer.conflict());
        }
    }
}

#[test]
fn costs_are_learnt_with_their_base_and_forgotten_with_their_disk() {
    let mut random = Random(5);
    let mut cost = Cost::new(Shape::Affine);
    assert_eq!((cost.at(1.0), cost.bound(1.0), cost.fixed_part()), (None, None, None));
    for step in 0..60 {
        let size = f64::from(100 + step % 7 * 50);
        assert_eq!(cost.observe(size, (100.0 + size) * random.factor(0.05)), 1.0);
    }
    let near = |value: Option<f64>, wanted: f64, by: f64| (value.unwrap() / wanted - 1.0).abs() < by;
    assert!(near(cost.at(300.0), 400.0, 0.05) && near(cost.at(600.0), 700.0, 0.1), "{cost:?}");
    assert!(near(cost.fixed_part(), 100.0, 0.5), "{:?}", cost.fixed_part());
    assert!((1.15..1.35).contains(&cost.margin()), "{}", cost.margin());
    // A hiccup isn't learnt, but feared.
    let before = cost.at(300.0);
    assert_eq!(cost.observe(300.0, 4_000.0), 1.0);
    assert!(cost.at(300.0) == before && cost.suspicion() > 9.0);
    // Nor is it refuted by what can't be compared.
    cost.observe(1.0, 101.0);
    assert!(cost.suspicion() > 9.0);
    cost.observe(300.0, 400.0);
    assert!(cost.suspicion() == 1.0 && cost.bound(300.0).unwrap() < 1_000.0, "{cost:?}");
    // Two are a new disk.
    cost.observe(300.0, 4_000.0);
    assert!((9.0..11.0).contains(&cost.observe(300.0, 4_000.0)));
    assert!(near(cost.at(300.0), 4_000.0, 0.01));
    // What is cheap because it is small isn't a faster one.
    assert_eq!(cost.observe(30.0, 450.0), 1.0);
    assert_eq!(cost.observe(30.0, 450.0), 1.0);
}

#[test]
fn growth_is_followed_of_late_on_average_and_at_its_fastest() {
    let mut growth = Growth::default();
    let mut total = 0.0;
    for step in 0..2_000_u64 {
        total += if step < 1_000 { 1e8 } else { 5e8 };
        growth.observe((step + 1) * SECOND / 10, total);
    }
    assert!((growth.fast() - 5.0).abs() < 0.01 && (4.5..5.0).contains(&growth.slow()), "{growth:?}");
    growth.observe(201 * SECOND, total + 1e8);
    growth.observe(240 * SECOND, total + 1e8);
    assert!(growth.fast() < 0.1 && growth.peak() > 4.5, "{growth:?}");
    // Begun anew, from something else.
    growth.observe(241 * SECOND, 0.0);
    growth.observe(242 * SECOND, 1e9);
    assert!((0.9..1.1).contains(&growth.fast()), "{growth:?}");
    assert_eq!(growth.total(242 * SECOND), 1e9);
}
