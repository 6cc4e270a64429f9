//! The cases: each workload with its sizes.

use super::engines::{Job, Runner};
use super::figures::Figures;
use super::killed::{self, Killed};
use super::recover::{Prepare, Recover};
use super::rescale::Rescale;
use super::stall::Stall;
use super::steady::Steady;
use super::stream::{Oracle, PLACES, Pace, SEGMENTS, Stream};
use super::threads::TwoThreads;
use super::{Sizes, usage};
use crate::backends::{Hash, Place};
use crate::harness::{Outcome, wrong};
use crate::workloads::Workload;
use crate::workloads::flights::Flights;
use crate::workloads::join::Join;
use crate::workloads::nexmark::Nexmark;
use crate::workloads::rmw::{self, Rmw};
use crate::workloads::session::Sessions;
use crate::workloads::state_ops::{SCANNED_ENTRIES, StateOps, What};
use crate::workloads::timers::Timers;
use crate::workloads::windows::{self, Windows};
use std::time::Duration;

/// State of values over the budget, for the curve of growth.
const GROWTH: [(&str, f64); 8] = [
    ("growth-0.1", 0.1),
    ("growth-0.25", 0.25),
    ("growth-0.5", 0.5),
    ("growth-1", 1.0),
    ("growth-2", 2.0),
    ("growth-5", 5.0),
    ("growth-10", 10.0),
    ("growth-20", 20.0),
];

/// So much of that where the run is quick.
pub const QUICK_GROWTH: f64 = 0.25;

const STATE_OPS: [(&str, What); 16] = [
    ("state-ops-value-get", What::ValueGet),
    ("state-ops-value-update", What::ValueUpdate),
    ("state-ops-value-add", What::ValueAdd),
    ("state-ops-list-add", What::ListAdd),
    ("state-ops-list-add-all", What::ListAddAll),
    ("state-ops-list-update", What::ListUpdate),
    ("state-ops-list-get", What::ListGet),
    ("state-ops-map-put", What::MapPut),
    ("state-ops-map-add", What::MapAdd),
    ("state-ops-map-put-all", What::MapPutAll),
    ("state-ops-map-get", What::MapGet),
    ("state-ops-map-contains", What::MapContains),
    ("state-ops-map-is-empty", What::MapIsEmpty),
    ("state-ops-map-iterate", What::MapIterate),
    ("state-ops-map-remove", What::MapRemove),
    ("state-ops-map-remove-and-put", What::MapRemoveAndPut),
];

/// Counters in memory that holds them all, for the curve of growth there.
const GROWTH_KEYS: [(&str, u64); 3] =
    [("growth-keys-1m", 1_000_000), ("growth-keys-10m", 10_000_000), ("growth-keys-100m", 100_000_000)];

/// Memory for each of them: what the engines keep beside 24 bytes of key and value, and room to grow.
const COUNTER_BYTES: u64 = 72;
/// The only case for what has nothing but timers.
pub const TIMERS_ALONE: &str = "timers-memory";
/// Timers at any moment.
const TIMERS: u64 = 10_000_000;
/// Memory for each of them where it holds all.
const TIMER_BYTES: u64 = 160;

/// Maps that are scanned in memory, as many as `cursor` has.
const SCANNED_MAPS: u64 = 100_000;
/// Memory for each of their entries where it holds all.
const ENTRY_BYTES: u64 = 160;

/// Keys of those that are killed and recover; one tenth where the run is quick.
const RECOVER: [(&str, u64); 3] = [("recover", 5_000_000), ("recover-1m", 1_000_000), ("recover-20m", 20_000_000)];

fn keys_of(cases: &[(&str, u64)], case: &str) -> Option<u64> {
    cases.iter().find(|(name, _)| *name == case).map(|(_, keys)| *keys)
}

/// The names of all cases, in the order in which they are run.
pub fn names() -> Vec<&'static str> {
    let mut names = vec![
        "rmw-hot",
        "rmw-hot-uniform",
        "rmw-hot-batched",
        "rmw-hot-two-threads",
        "rmw-hot-memory",
        "rmw-hot-memory-batched",
        "rmw-cold-uniform",
        "rmw-cold-zipf",
        "rmw-cold-uniform-batched",
        "rmw-cold-zipf-batched",
        "steady-uniform",
        "tumble-inc",
        "tumble-list",
        "tumble-between",
        "slide-inc",
        "session",
        "interval-join",
        "interval-join-batched",
        "nexmark",
        "nexmark-batched",
        "nexmark-cold",
        "nexmark-cold-batched",
        "real-replay",
        "real-replay-killed",
        "timers",
        TIMERS_ALONE,
        "map-scan-memory",
        "ckpt-stall",
        "rescale",
    ];
    names.extend(RECOVER.map(|(name, _)| name));
    names.extend(STATE_OPS.map(|(name, _)| name));
    names.extend(GROWTH.map(|(name, _)| name));
    names.extend(GROWTH_KEYS.map(|(name, _)| name));
    names
}

/// Whether a case shows what only durable engines have.
pub fn is_about_disk(case: &str) -> bool {
    kills(case) > 0 || matches!(case, "ckpt-stall" | "steady-uniform")
}

fn pace(case: &str) -> Pace {
    // Each event adds to the state.
    let grows = ["nexmark", "real-replay", "state-ops"];
    match case {
        "tumble-between" => Pace::Between,
        _ if grows.iter().any(|start| case.starts_with(start)) => Pace::Events,
        _ => Pace::Time,
    }
}

/// How many processes are killed before one is measured.
pub fn kills(case: &str) -> u64 {
    match case {
        "real-replay-killed" => killed::KILLS,
        _ => u64::from(keys_of(&RECOVER, case).is_some()),
    }
}

/// Memory for state that it holds, however much that is.
struct Memory {
    /// The engine's.
    budget_bytes: u64,
    /// What the machine has to have: maps need more than the engine.
    machine_bytes: u64,
}

impl Memory {
    fn of(case: &str) -> Option<Self> {
        let each = |count: u64, bytes: u64, machine_bytes: u64| Self {
            budget_bytes: (64 << 20) + count * bytes,
            machine_bytes: count * machine_bytes,
        };
        match case {
            // Versions of all counters that FASTER's log has at the end, each checkpoint one.
            "rmw-hot-memory" | "rmw-hot-memory-batched" => {
                Some(Self { budget_bytes: 768 << 20, machine_bytes: 1536 << 20 })
            }
            TIMERS_ALONE => Some(each(TIMERS, TIMER_BYTES, 256)),
            "map-scan-memory" => Some(each(SCANNED_MAPS * SCANNED_ENTRIES, ENTRY_BYTES, 256)),
            _ => keys_of(&GROWTH_KEYS, case).map(|keys| each(keys, COUNTER_BYTES, 128)),
        }
    }
}

/// Whether a case is about state that memory holds, however much that is.
pub fn is_in_memory(case: &str) -> bool {
    Memory::of(case).is_some()
}

/// The engine's memory; `usual_bytes` but where all of the state has to fit.
pub fn budget_bytes(case: &str, usual_bytes: usize) -> usize {
    Memory::of(case).map_or(usual_bytes, |memory| memory.budget_bytes as usize)
}

/// Why a case can't be run here.
pub fn why_not(case: &str, quick: bool) -> Option<String> {
    if quick && keys_of(&GROWTH_KEYS, case).is_some_and(|keys| keys > 10_000_000) {
        return Some(String::from("it is not for quick runs"));
    }
    let (needed, available) = (Memory::of(case)?.machine_bytes, usage::available_bytes());
    let gib = |bytes: u64| bytes as f64 / (1_u64 << 30) as f64;
    (available < needed).then(|| format!("it needs {:.1} GiB of memory, {:.1} are free", gib(needed), gib(available)))
}

/// Whether a case checks its answers itself, without an oracle's.
pub fn checks_itself(case: &str) -> bool {
    match case {
        "real-replay-killed" => false,
        "rmw-hot-two-threads" | "rescale" => true,
        _ => is_about_disk(case),
    }
}

/// A process that takes longer is ended.
pub fn limit(case: &str) -> Duration {
    // Its updates are counted, not timed: the slowest do 10,000 of 37 million in a second.
    Duration::from_secs(if case == "steady-uniform" { 3 * 3_600 } else { 400 })
}

/// What a child process does with a case.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Step {
    /// Measures it.
    Measure,
    /// Makes the answers that all measurements are compared with.
    Oracle,
    /// Does what comes before that, and dies.
    Prepare,
}

/// Runs a case with an engine.
pub fn run<R: Runner>(case: &str, runner: R, step: Step, place: Place, sizes: &Sizes, seed: u64) -> Outcome<Figures> {
    let with = With { runner, case, step, place, sizes };
    let quick = |quick: u64, full: u64| (if sizes.quick { quick } else { full }) / sizes.part;
    let hot = |zipf, batch| rmw::Shape {
        keys: quick(200_000, 1_000_000),
        value_bytes: 8,
        zipf,
        batch,
        events: quick(4_800_000, if batch == 1 { 110_000_000 } else { 240_000_000 }),
    };
    let cold = |zipf, batch| rmw::Shape {
        keys: quick(4_000_000, 20_000_000),
        value_bytes: 100,
        zipf,
        batch,
        events: quick(480_000, 1_920_000),
    };
    let rmw = |shape| Rmw::new(shape, seed);
    let join = |batch| Join::new(20_000, quick(480_000, 9_600_000), batch, seed);
    let nexmark = |cold, batch| Nexmark::new(cold, quick(480_000, 4_800_000), batch);
    let years = if sizes.quick { 1 } else { 20 };
    if let Some((_, share)) = GROWTH.iter().find(|(name, _)| *name == case) {
        let share = if sizes.quick { share * QUICK_GROWTH } else { *share };
        let keys = (with.place.budget_bytes as f64 * share / 116.0) as u64 / sizes.part;
        let events = quick(960_000, 24_000_000 / if share < 1.0 { 1 } else { 10 });
        return with.workload(rmw(rmw::Shape { keys, value_bytes: 100, zipf: false, batch: 1, events }));
    }
    if let Some(keys) = keys_of(&GROWTH_KEYS, case) {
        let events = quick(960_000, 30_000_000);
        let shape = rmw::Shape { keys: keys / sizes.part, events, ..hot(false, 1) };
        return Ok(Figures { keys: Some(shape.keys), ..with.workload(rmw(shape))? });
    }
    if let Some(keys) = keys_of(&RECOVER, case) {
        let keys = keys / if sizes.quick { 10 } else { 1 };
        return match step {
            Step::Prepare => with.job(Prepare { place: with.place.clone(), sizes, seed, keys, die: killed::die }),
            _ => with.job(Recover { place: with.place.clone(), sizes, seed, keys }),
        };
    }
    if let Some(state_ops) = state_ops_of(case, quick, seed) {
        return with.workload(state_ops);
    }
    if let Some(shape) = windows_of(case, quick) {
        return with.workload(Windows::new(shape, seed));
    }
    match case {
        "rmw-hot" | "rmw-hot-memory" => with.workload(rmw(hot(true, 1))),
        "rmw-hot-uniform" => with.workload(rmw(hot(false, 1))),
        "rmw-hot-batched" | "rmw-hot-memory-batched" => with.workload(rmw(hot(true, 32))),
        "rmw-cold-uniform" => with.workload(rmw(cold(false, 1))),
        "rmw-cold-zipf" => with.workload(rmw(cold(true, 1))),
        "rmw-cold-uniform-batched" => with.workload(rmw(cold(false, 256))),
        "rmw-cold-zipf-batched" => with.workload(rmw(cold(true, 256))),
        "session" => with.workload(Sessions::new(200_000, quick(480_000, 14_400_000), seed)),
        "interval-join" => with.workload(join(1)),
        "interval-join-batched" => with.workload(join(32)),
        "nexmark" => with.workload(nexmark(false, 1)),
        "nexmark-batched" => with.workload(nexmark(false, 32)),
        "nexmark-cold" => with.workload(nexmark(true, 1)),
        "nexmark-cold-batched" => with.workload(nexmark(true, 64)),
        "timers" | TIMERS_ALONE => with.workload(timers(quick, seed)),
        "real-replay" => with.workload(Flights::years(years, sizes.part)?),
        "real-replay-killed" => with.killed(Flights::years(years, sizes.part)?, seed),
        "rmw-hot-two-threads" => with.job(TwoThreads { place: with.place.clone(), sizes, seed }),
        "steady-uniform" => with.job(Steady { place: with.place.clone(), sizes, seed }),
        "ckpt-stall" => with.job(Stall { place: with.place.clone(), sizes, seed }),
        "rescale" => with.job(Rescale { place: with.place.clone(), sizes, seed }),
        _ => wrong(format!("no case is called {case}; there are {}", names().join(", "))),
    }
}

/// The windows of a case; `quick` chooses how many events there are.
fn windows_of(case: &str, quick: impl Fn(u64, u64) -> u64) -> Option<windows::Shape> {
    Some(match case {
        "tumble-inc" => window(5, 5, 256, false, quick(960_000, 38_400_000)),
        "tumble-list" => window(5, 5, 100, true, quick(960_000, 28_800_000)),
        "tumble-between" => between(quick(480_000, 9_600_000)),
        "slide-inc" => window(60, 10, 64, false, quick(480_000, 9_600_000)),
        _ => return None,
    })
}

/// The operations of a case.
fn state_ops_of(case: &str, quick: impl Fn(u64, u64) -> u64, seed: u64) -> Option<StateOps> {
    if case == "map-scan-memory" {
        // More scans than anybody has time for.
        return Some(StateOps::new(What::MapScan, quick(10_000, SCANNED_MAPS), quick(480_000, 4_800_000), seed));
    }
    let (_, what) = STATE_OPS.iter().find(|(name, _)| *name == case)?;
    // Each of these brings 800 bytes.
    let fewer = if *what == What::ListAddAll { 10 } else { 1 };
    Some(StateOps::new(*what, quick(100_000, 500_000), quick(960_000, 4_800_000) / fewer, seed))
}

fn timers(quick: impl Fn(u64, u64) -> u64, seed: u64) -> Timers {
    Timers::new(quick(1_000_000, TIMERS), quick(960_000, 9_600_000), seed)
}

/// Windows over 100,000 keys.
fn window(size_s: u64, slide_s: u64, value_bytes: usize, list: bool, events: u64) -> windows::Shape {
    let (size_ms, slide_ms) = (size_s * 1000, slide_s * 1000);
    windows::Shape { keys: 100_000, size_ms, slide_ms, value_bytes, list, events, rest_every: 0 }
}

/// The windows of `tumble-inc`, of which none is open where checkpoints are.
fn between(events: u64) -> windows::Shape {
    // Segments of the same length, so that the places are where they end.
    let events = events / SEGMENTS as u64 * SEGMENTS as u64;
    windows::Shape { rest_every: events / PLACES as u64, ..window(5, 5, 256, false, events) }
}

/// What a case is run with.
struct With<'a, R> {
    runner: R,
    case: &'a str,
    step: Step,
    place: Place,
    sizes: &'a Sizes,
}

impl<R: Runner> With<'_, R> {
    fn workload<W: Workload>(&self, workload: W) -> Outcome<Figures> {
        let place = self.place.clone();
        match self.step {
            Step::Measure => self.runner.run(Stream { workload, place, sizes: self.sizes, pace: pace(self.case) }),
            // Hash maps, whatever engine is named: they have no order, no disk and nothing in common with any.
            Step::Oracle => Oracle { workload, place }.run::<Hash>(),
            Step::Prepare => wrong("there is nothing to prepare"),
        }
    }

    fn killed(&self, workload: Flights, seed: u64) -> Outcome<Figures> {
        let place = self.place.clone();
        let job = |kills| Killed { place, workload, seed, kills, die: killed::die };
        match self.step {
            Step::Oracle => job(0).run::<Hash>(),
            Step::Measure | Step::Prepare => self.runner.run(job(killed::KILLS)),
        }
    }

    fn job<J: Job<Out = Figures>>(&self, job: J) -> Outcome<Figures> {
        self.runner.run(job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::faulty::{self, Faulty};
    use crate::backends::{Backend, Ours};
    use crate::compare::engines::{Engine, Only};
    use crate::compare::{apart, is_right};
    use clap::ValueEnum;

    /// Cases whose answers are compared with an oracle's, by one process.
    fn compared() -> impl Iterator<Item = &'static str> {
        names().into_iter().filter(|case| !checks_itself(case) && kills(case) == 0 && why_not(case, true).is_none())
    }

    /// Every workload, a small part of it, under every engine that is built: they must read what hash maps do.
    #[test]
    fn all_engines_read_the_same() {
        // FASTER is another program's.
        let engines = Engine::value_variants().iter().filter(|engine| **engine != Engine::Faster);
        at_once(compared(), |case| {
            let oracle = part(case, Engine::Hashmap, Step::Oracle, 60)?;
            assert!(!oracle.digests.is_empty(), "{case}: nothing was read");
            for engine in engines.clone().filter(|engine| apart::why_not(case, &engine.name()).is_none()) {
                let figures = part(case, *engine, Step::Measure, 60)?;
                assert!(is_right(&figures, &oracle), "{case}: {} read something else", engine.name());
            }
            Ok(())
        });
    }

    /// Whatever an engine does wrong, the comparison sees: in all cases that give it the occasion.
    #[test]
    fn faults_are_seen() {
        // Windows and sessions have to end, joined events to be removed before the end.
        let parts = |case: &str| {
            let timed = ["tumble", "slide", "session", "interval"];
            if timed.iter().any(|prefix| case.starts_with(prefix)) { 1 } else { 60 }
        };
        let seen = std::sync::Mutex::new([0; 4]);
        at_once(compared(), |case| {
            let oracle = part(case, Engine::Hashmap, Step::Oracle, parts(case))?;
            for kind in [faulty::NONE, faulty::LOST_DELETES, faulty::STALE_VALUES, faulty::SWAPPED] {
                faulty::take_done();
                let figures = with_faults(case, kind, &parted(parts(case)));
                let faulty::Done { faults, has_order, .. } = faulty::take_done();
                assert_eq!(has_order, apart::has_order(case), "{case}");
                let is_right = figures.as_ref().is_ok_and(|figures| is_right(figures, &oracle));
                assert_eq!(is_right, faults == 0, "{case}: {faults} faults of kind {kind}, {:?}", figures.err());
                seen.lock().map_err(|error| error.to_string())?[usize::from(kind)] += usize::from(faults > 0);
            }
            Ok(())
        });
        let seen = seen.into_inner().unwrap_or_default();
        eprintln!("cases with faults of each kind: {seen:?}");
        assert!(seen[0] == 0 && seen[1..].iter().all(|cases| *cases >= 7), "{seen:?}");
    }

    fn with_faults(case: &str, kind: u8, sizes: &Sizes) -> Outcome<Figures> {
        fn engine<const KIND: u8>() -> Only<Faulty<Hash, KIND>> {
            Only::default()
        }
        match kind {
            faulty::LOST_DELETES => sized(case, engine::<{ faulty::LOST_DELETES }>(), Step::Measure, sizes),
            faulty::STALE_VALUES => sized(case, engine::<{ faulty::STALE_VALUES }>(), Step::Measure, sizes),
            faulty::SWAPPED => sized(case, engine::<{ faulty::SWAPPED }>(), Step::Measure, sizes),
            faulty::STALE_ONCE => sized(case, engine::<{ faulty::STALE_ONCE }>(), Step::Measure, sizes),
            _ => sized(case, engine::<{ faulty::NONE }>(), Step::Measure, sizes),
        }
    }

    /// A small part, for a short time.
    const SMALL: Sizes = Sizes { part: 60, closed: Duration::from_millis(200), ..Sizes::QUICK };

    fn small(case: &str, engine: Engine, step: Step) -> Outcome<Figures> {
        sized(case, engine, step, &SMALL)
    }

    /// There are more barriers than the loops with one in half a second have.
    #[test]
    fn stalls_are_of_many_barriers() -> Outcome {
        let figures = small("ckpt-stall", Engine::Alluvium, Step::Measure)?;
        assert!(figures.correct);
        assert!(figures.barriers >= Some(5), "{:?}", figures.barriers);
        assert!(figures.stall_ns_p999 <= figures.stall_ns_max, "{figures:?}");
        for dip in [figures.half_load_dip_worst, figures.half_load_dip] {
            assert!(dip.is_some_and(|dip| (0.0..=1.0).contains(&dip)), "{figures:?}");
        }
        Ok(())
    }

    /// Each read of an update is checked, whoever answers.
    #[test]
    fn a_steady_state_reads_what_was_counted() -> Outcome {
        for engine in [Engine::Alluvium, Engine::Hashmap, Engine::Btreemap] {
            let figures = small("steady-uniform", engine, Step::Measure)?;
            assert!(figures.correct && figures.events > Some(200), "{}: {figures:?}", engine.name());
        }
        let figures = small("steady-uniform", Engine::Alluvium, Step::Measure)?;
        assert!(figures.write_amplification > Some(1.0) && figures.space_amplification > Some(0.5), "{figures:?}");
        assert!(figures.space_amplification_max > Some(0.5), "{figures:?}");
        Ok(())
    }

    /// Nothing is lost between one store and two, and none has what isn't its own.
    #[test]
    fn stores_are_split_and_joined() -> Outcome {
        for engine in [Engine::Alluvium, Engine::Hashmap, Engine::Btreemap] {
            let figures = small("rescale", engine, Step::Measure)?;
            assert!(figures.correct, "{}", engine.name());
            for rescaled in [figures.split, figures.joined] {
                let rescaled = rescaled.ok_or("nothing was measured")?;
                assert!(rescaled.open_ms > 0.0 && rescaled.next_100k_updates_ms > 0.0, "{rescaled:?}");
            }
        }
        Ok(())
    }

    /// A write that is lost is seen where no oracle is asked, too.
    #[test]
    fn cases_that_check_themselves_see_faults() -> Outcome {
        for case in ["ckpt-stall", "steady-uniform", "rescale", "rmw-hot-two-threads"] {
            assert!(checks_itself(case), "{case}");
            let run = |kind| with_faults(case, kind, &SMALL);
            assert!(run(faulty::NONE)?.correct, "{case}");
            let error = run(faulty::STALE_VALUES).err().ok_or("nothing was seen")?.to_string();
            assert!(error.contains("wrong") || error.contains("counted"), "{case}: {error}");
        }
        Ok(())
    }

    /// A single write that is lost among all is seen, by these: they compare all that they read, and all of the state at the end.
    #[test]
    fn one_lost_write_is_seen() -> Outcome {
        for case in ["ckpt-stall", "rmw-hot-two-threads"] {
            let error = with_faults(case, faulty::STALE_ONCE, &SMALL).err().ok_or("nothing was seen")?.to_string();
            assert!(error.contains("wrong") || error.contains("counted"), "{case}: {error}");
        }
        Ok(())
    }

    /// What the checkpoint has is known update by update, and so is what comes after it.
    #[test]
    fn a_recovery_reads_what_was_counted() -> Outcome {
        type Right = Faulty<Ours, { faulty::NONE }>;
        type Stale = Faulty<Ours, { faulty::STALE_VALUES }>;
        fn recovered<Before: Backend, After: Backend>() -> Outcome<Figures> {
            let sizes = Sizes { closed: Duration::from_millis(300), ..Sizes::QUICK };
            let directory = tempfile::tempdir()?;
            let path = directory.path().join("data");
            std::fs::create_dir(&path)?;
            let place = Place { path, budget_bytes: 16 << 20, tables: Vec::new() };
            let (keys, seed) = (20_000, 42);
            Prepare { place: place.clone(), sizes: &sizes, seed, keys, die: || Ok(()) }.run::<Before>()?;
            Recover { place, sizes: &sizes, seed, keys }.run::<After>()
        }
        let figures = recovered::<Right, Right>()?;
        assert!(figures.correct && figures.before_events_per_s > Some(0.0), "{figures:?}");
        for outcome in [recovered::<Stale, Right>(), recovered::<Right, Stale>()] {
            assert!(outcome.err().ok_or("nothing was seen")?.to_string().contains("is wrong"));
        }
        Ok(())
    }

    /// What is compared can tell a wrong answer.
    #[test]
    fn another_seed_reads_something_else() -> Outcome {
        let sizes = Sizes { part: 600, ..Sizes::QUICK };
        let directory = tempfile::tempdir()?;
        let run = |seed, step| {
            let place = Place { path: directory.path().to_owned(), budget_bytes: 16 << 20, tables: Vec::new() };
            super::run("rmw-hot", Engine::Hashmap, step, place, &sizes, seed)
        };
        assert!(!is_right(&run(1, Step::Measure)?, &run(2, Step::Oracle)?));
        Ok(())
    }

    /// Does something with each case, in a thread of its own: those with windows sleep.
    fn at_once(cases: impl Iterator<Item = &'static str>, job: impl Fn(&'static str) -> Outcome + Sync) {
        std::thread::scope(|scope| {
            for case in cases {
                let job = &job;
                scope.spawn(move || {
                    if let Err(error) = job(case) {
                        panic!("{case}: {error}");
                    }
                });
            }
        });
    }

    /// A part of it, however long that takes.
    fn parted(part: u64) -> Sizes {
        Sizes { part, closed: Duration::from_secs(20), ..Sizes::QUICK }
    }

    fn part<R: Runner>(case: &str, runner: R, step: Step, part: u64) -> Outcome<Figures> {
        sized(case, runner, step, &parted(part))
    }

    fn sized<R: Runner>(case: &str, runner: R, step: Step, sizes: &Sizes) -> Outcome<Figures> {
        let directory = tempfile::tempdir()?;
        let place = Place { path: directory.path().to_owned(), budget_bytes: 16 << 20, tables: Vec::new() };
        run(case, runner, step, place, sizes, 42)
    }

    /// Who compresses has nothing of it but the zeros of a counter of 8 bytes, or of a time and a price: at most 7 % of a value.
    /// Left out are counters, timers and times of sessions, which are all there is to their values, and real flights.
    #[test]
    fn values_do_not_compress() {
        let is_short = |case: &&str| {
            let short = ["rmw-hot", "growth-keys", "session", "timers", "real-replay"];
            short.iter().any(|prefix| case.starts_with(prefix)) || ["ckpt-stall", "rescale"].contains(case)
        };
        let is_left_out = |case: &&str| is_short(case) || checks_itself(case) || kills(case) > 0;
        at_once(names().into_iter().filter(|case| !is_left_out(case)), |case| {
            part(case, Only::<Faulty<Hash, { faulty::NONE }>>::default(), Step::Measure, 60)?;
            let mut values: Vec<_> = faulty::take_done().values.into_iter().collect();
            values.sort_unstable();
            let values: Vec<u8> = values.into_iter().flat_map(|(_, value)| value).take(8 << 20).collect();
            assert!(values.len() > 1_000, "{case}: {} bytes", values.len());
            let compressed: usize = values.chunks(64 << 10).map(|block| lz4_flex::compress(block).len()).sum();
            let ratio = compressed as f64 / values.len() as f64;
            assert!(ratio > 0.93, "{case}: {ratio}");
            Ok(())
        });
    }
}
