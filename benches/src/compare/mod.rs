//! `compare`: every workload under every engine, in turns, each run in a process of its own within the same memory, every answer
//! compared with one oracle's.

pub mod apart;
mod cap;
mod cases;
pub mod child;
mod dip;
mod engines;
pub mod figures;
mod killed;
mod recover;
mod rescale;
mod stall;
mod steady;
mod stream;
#[cfg(test)]
mod sweep;
mod threads;
mod usage;

pub use cases::QUICK_GROWTH;
pub use engines::Only;

use crate::harness::disk::drop_cache;
use crate::harness::{Outcome, median};
use cap::Cap;
use cases::{Step, names};
use child::{Failure, spawn};
use engines::Engine;
use figures::Figures;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

/// How long the loops of a run may take.
#[derive(Clone, Debug)]
pub struct Sizes {
    /// Small states.
    pub quick: bool,
    /// One part in so many of the events and most keys: for tests.
    pub part: u64,
    /// Of the closed loop: it ends with the first segment that ends later.
    pub closed: Duration,
    /// Of the open loop.
    pub open: Duration,
    /// What a checkpoint doesn't need any more is removed behind it: so long before a directory is looked at, and before the last
    /// checkpoint after windows have closed.
    pub settle: Duration,
}

impl Sizes {
    /// To see that it works.
    pub const QUICK: Self = Self {
        quick: true,
        part: 1,
        closed: Duration::from_millis(1500),
        open: Duration::from_millis(700),
        settle: Duration::from_millis(200),
    };
    /// For figures.
    pub const FULL: Self = Self {
        quick: false,
        part: 1,
        closed: Duration::from_secs(8),
        open: Duration::from_secs(4),
        settle: Duration::from_secs(2),
    };
}

/// Compares engines; docs/benchmarks.md says what each workload does.
#[derive(Clone, clap::Args, Debug)]
pub struct Arguments {
    /// Only these engines.
    #[arg(long)]
    engine: Vec<Engine>,
    /// Only these cases; all whose name begins so where it ends in `*`.
    #[arg(long)]
    case: Vec<String>,
    /// Print the cases' names, and run nothing.
    #[arg(long)]
    list: bool,
    /// Small states and short loops: to see that it works, not for figures.
    #[arg(long)]
    quick: bool,
    /// How often each engine has its turn.
    #[arg(long, default_value_t = 3)]
    repeats: u32,
    /// The seed of everything random.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Each engine's memory for records, buffers and caches.
    #[arg(long, default_value_t = 256)]
    budget_mib: usize,
    /// The limit of the whole process, page cache included (memory cgroup, as root); 0: none.
    #[arg(long, default_value_t = 512)]
    cap_mib: u64,
    /// Where the engines' directories are made: on the disk that is to be measured.
    #[arg(long, default_value = ".")]
    directory: PathBuf,
    /// The program that has FASTER; without it FASTER is left out.
    #[arg(long, default_value = "benches/faster/target/release/alluvium-bench-faster")]
    faster: PathBuf,
    /// Append the runs to this file, one JSON object per line.
    #[arg(long)]
    record: Option<PathBuf>,
}

/// Runs all that was asked for; fails where this project's engine was wrong, or had no figures.
pub fn run(arguments: &Arguments) -> Outcome {
    let all = <Engine as clap::ValueEnum>::value_variants().to_vec();
    let mut engines = if arguments.engine.is_empty() { all } else { arguments.engine.clone() };
    if engines.contains(&Engine::Faster) && !arguments.faster.is_file() {
        eprintln!("compare: FASTER is left out: {} isn't built", arguments.faster.display());
        engines.retain(|engine| *engine != Engine::Faster);
    }
    let cap = if arguments.cap_mib == 0 { None } else { Cap::new(arguments.cap_mib << 20) };
    if cap.is_none() {
        eprintln!("compare: the processes' memory is not limited, the page cache is everybody's");
    }
    if arguments.list {
        names().iter().for_each(|name| println!("{name}"));
        return Ok(());
    }
    if let Some(unknown) = arguments.case.iter().find(|case| !names().iter().any(|name| is_of(case, name))) {
        return crate::harness::wrong(format!("no case is called {unknown}; --list gives their names"));
    }
    let wanted = |name: &&str| arguments.case.is_empty() || arguments.case.iter().any(|case| is_of(case, name));
    let mut table = Vec::new();
    for case in names().into_iter().filter(wanted) {
        if let Some(why) = cases::why_not(case, arguments.quick) {
            eprintln!("compare: {case} is left out: {why}");
            continue;
        }
        let runs = one_case(arguments, case, &engines, cap.as_ref())?;
        print_case(case, &runs);
        table.extend(runs);
    }
    let ours = |figures: &&Figures| figures.engine == Engine::Alluvium.name();
    match table.iter().filter(ours).find(|figures| !figures.correct || !figures.failed.is_empty()) {
        Some(bad) => crate::harness::wrong(format!("{}: {} {}", bad.engine, bad.workload, bad.failed)),
        None => Ok(()),
    }
}

/// Whether this is the name of a case that was asked for.
fn is_of(case: &str, name: &str) -> bool {
    case.strip_suffix('*').map_or(case == name, |start| name.starts_with(start))
}

fn one_case(arguments: &Arguments, case: &str, engines: &[Engine], cap: Option<&Cap>) -> Outcome<Vec<Figures>> {
    let mut runs = Vec::new();
    let oracle = if cases::checks_itself(case) {
        None
    } else {
        let (outcome, _) = one_run(arguments, case, Engine::Hashmap, Step::Oracle, None)?;
        match outcome {
            Ok(oracle) => Some(oracle),
            Err(failure) => return crate::harness::wrong(format!("{case}: no answers to compare with: {failure}")),
        }
    };
    for repeat in 0..arguments.repeats {
        // Who comes first has an idle disk: each in turn.
        let (first, others) = engines.split_at(repeat as usize % engines.len().max(1));
        for engine in others.iter().chain(first) {
            if let Some(why) = apart::why_not(case, &engine.name()) {
                if repeat == 0 && !arguments.engine.is_empty() {
                    eprintln!("compare: {case}: {} is left out: {why}", engine.name());
                }
                continue;
            }
            let cap = cap.filter(|_| !cases::is_in_memory(case));
            let (outcome, cap_bytes) = one_run(arguments, case, *engine, Step::Measure, cap)?;
            let mut figures = match outcome {
                Ok(figures) => figures,
                Err(failure) => Figures { failed: failure.to_string(), ..Figures::default() },
            };
            if let Some(oracle) = &oracle {
                figures.correct = figures.failed.is_empty() && is_right(&figures, oracle);
            }
            (figures.digests, figures.checks) = (Vec::new(), Vec::new());
            (figures.engine, figures.workload) = (engine.name(), case.to_owned());
            (figures.repeat, figures.seed, figures.quick) = (repeat, arguments.seed, arguments.quick);
            (figures.commit, figures.unix_s) = (commit(), unix_s());
            let budget_bytes = cases::budget_bytes(case, arguments.budget_mib << 20);
            (figures.budget_bytes, figures.cap_bytes) = (budget_bytes as u64, cap_bytes);
            record(arguments, &figures)?;
            runs.push(figures);
        }
    }
    Ok(runs)
}

/// The version that is checked out, with a mark where files differ from it; empty where git doesn't tell.
fn commit() -> String {
    let mut git = std::process::Command::new("git");
    let output = git.args(["describe", "--always", "--dirty"]).output().ok().filter(|output| output.status.success());
    output.map_or_else(String::new, |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn unix_s() -> u64 {
    std::time::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_secs())
}

/// All that was read is what the oracle read at the same place.
fn is_right(figures: &Figures, oracle: &Figures) -> bool {
    let count = figures.digests.len();
    let check = count.checked_sub(1).and_then(|last| oracle.checks.get(last));
    count > 0 && oracle.digests.get(..count) == Some(&figures.digests[..]) && figures.checks.first() == check
}

/// One child in a new directory, or one after several that are killed. Gives what it was limited to as well.
fn one_run(
    arguments: &Arguments,
    case: &str,
    engine: Engine,
    step: Step,
    cap: Option<&Cap>,
) -> Outcome<(Result<Figures, Failure>, u64)> {
    eprintln!("compare: {case}, {}", if step == Step::Oracle { "the oracle".to_owned() } else { engine.name() });
    std::fs::create_dir_all(&arguments.directory)?;
    let directory = tempfile::Builder::new().prefix("alluvium-compare-").tempdir_in(&arguments.directory)?;
    let path = directory.path().join("data");
    std::fs::create_dir(&path)?;
    // What others left for the disk to do.
    rustix::fs::sync();
    let program = if engine == Engine::Faster { arguments.faster.clone() } else { std::env::current_exe()? };
    let mut child = child::Arguments {
        engine,
        case: case.to_owned(),
        step,
        directory: path.clone(),
        budget_bytes: cases::budget_bytes(case, arguments.budget_mib << 20),
        seed: arguments.seed,
        quick: arguments.quick,
        entrance: cap.map(Cap::entrance),
    };
    if step == Step::Measure {
        child.step = Step::Prepare;
        for _ in 0..cases::kills(case) {
            match spawn(&program, &child, cases::limit(case))? {
                Err(Failure::Killed { out_of_memory: false }) => {}
                Err(failure) => return Ok((Err(failure), 0)),
                Ok(_) => return Ok((Err(Failure::Error(String::from("it didn't die where it should"))), 0)),
            }
            drop_cache(&path)?;
        }
    }
    child.step = step;
    let outcome = spawn(&program, &child, cases::limit(case))?;
    Ok((outcome, if cap.is_some() { arguments.cap_mib << 20 } else { 0 }))
}

fn record(arguments: &Arguments, figures: &Figures) -> Outcome {
    let line = serde_json::to_string(figures)?;
    println!("{line}");
    if let Some(record) = &arguments.record {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(record)?;
        writeln!(file, "{line}")?;
    }
    Ok(())
}

/// A look at a case, for people: to stderr, so that stdout stays JSON.
fn print_case(case: &str, runs: &[Figures]) {
    let mut by_engine: BTreeMap<&str, Vec<&Figures>> = BTreeMap::new();
    for run in runs {
        by_engine.entry(&run.engine).or_default().push(run);
    }
    eprintln!("\n## {case}");
    for (engine, runs) in by_engine {
        let of = |figure: fn(&Figures) -> Option<f64>, digits: usize| {
            let values: Vec<f64> = runs.iter().filter_map(|run| figure(run)).collect();
            if values.is_empty() { String::from("-") } else { format!("{:.digits$}", median(values)) }
        };
        let longest = |run: &Figures| run.latency_ns.map(|ns| ns.max_of_all.unwrap_or(ns.max) as f64 / 1e6);
        let failed = runs.iter().find(|run| !run.failed.is_empty()).map(|run| run.failed.as_str());
        let is_right = runs.iter().all(|run| run.correct);
        eprintln!(
            "{engine:<14} {:>12} events/s  p50 {:>8} p99.9 {:>9} ns  max {:>6} ms  written {:>5}  disk {:>5}  {}",
            of(|run| run.events_per_s, 0),
            of(|run| Some(run.latency_ns?.p50? as f64), 0),
            of(|run| Some(run.latency_ns?.p999? as f64), 0),
            of(longest, 1),
            of(|run| run.write_amplification, 2),
            of(|run| run.space_amplification, 2),
            failed.unwrap_or(if is_right { "" } else { "WRONG ANSWERS" }),
        );
    }
}
