//! Every call about files goes wrong, one at a time: each kind of call of a run, each of its places in it, each way in which it can.
//!
//! A run of the engine (`host`) is done once undisturbed, and its calls are counted (`alluvium::faults`). Then, for every call and every
//! error, it is done again with that call going wrong: nothing panics or hangs; an error is of the class that tells the host what to do,
//! and doing that helps; nothing that was said to last is lost; what is there is a commit, as a whole; and the run comes to its end.
//! `ALLUVIUM_IO_ERRORS` is how many of the cases are gone through (600; `all`: every one), `ALLUVIUM_IO_ERRORS_SEED` says which ones, and
//! `ALLUVIUM_IO_ERRORS_ONLY` takes those that a text is in the description of.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

#[path = "../crash_images/disk.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod disk;
mod found;
mod host;
mod sites;
#[path = "../durability/support/workload.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod workload;

use host::{Host, Kind, Models};
use sites::Case;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};
use workload::Rng;

use alluvium::StorageChoice;
use alluvium::faults::{Injection, Site};

/// A case that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);
/// How many cases are gone through at once: most of the time of some is waiting.
const CASES_AT_ONCE: usize = 6;

/// How many threads of engines have panicked: not all panics come to whoever waits.
static PANICS: AtomicU64 = AtomicU64::new(0);

fn count_panics() {
    static HOOK: OnceLock<()> = OnceLock::new();
    HOOK.get_or_init(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if std::thread::current().name().is_some_and(|name| name.starts_with("alluvium")) {
                PANICS.fetch_add(1, Ordering::Relaxed);
            }
            before(info);
        }));
    });
}

/// A place for stores: in memory where the system offers that.
pub fn place() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.expect("a directory")
}

const WAYS: [(Kind, StorageChoice); 4] = [
    (Kind::Changelog, StorageChoice::Auto),
    (Kind::Changelog, StorageChoice::Posix),
    (Kind::Checkpoints, StorageChoice::Auto),
    (Kind::Checkpoints, StorageChoice::Posix),
];

/// The calls of each run when nothing goes wrong, and all cases that they make.
fn all_cases(models: &BTreeMap<Kind, Models>) -> Vec<Case> {
    let mut cases = Vec::new();
    for (kind, storage) in WAYS {
        let place = place();
        let host = Host::new(place.path(), &models[&kind], storage, None);
        host.run();
        let counts = host.calls();
        let calls: u64 = counts.values().sum();
        println!("{kind:?}, {storage:?}: {calls} calls of {} kinds", counts.len());
        for (&site, &count) in &counts {
            println!("    {count:6} {:?} of {:?}", site.call, site.kind);
            for nth in 0..count {
                let injections =
                    sites::outcomes(site).into_iter().map(|(outcome, lasts)| Injection { site, nth, outcome, lasts });
                cases.extend(injections.map(|injection| Case { kind, storage, injection }));
            }
        }
    }
    cases
}

/// Some of the cases: of each kind one, and then whichever.
fn some(mut cases: Vec<Case>, count: usize, seed: u64) -> Vec<Case> {
    let mut rng = Rng(seed);
    for at in (1..cases.len()).rev() {
        cases.swap(at, rng.below(at as u64 + 1) as usize);
    }
    let mut seen = BTreeSet::new();
    let (first, rest): (Vec<Case>, Vec<Case>) = cases.into_iter().partition(|case| seen.insert(case.sort()));
    first.into_iter().chain(rest).take(count).collect()
}

fn chosen(cases: Vec<Case>) -> Vec<Case> {
    let seed = std::env::var("ALLUVIUM_IO_ERRORS_SEED");
    let seed = seed.map_or(1, |seed| seed.parse().expect("a number"));
    println!("ALLUVIUM_IO_ERRORS_SEED={seed}");
    if let Ok(only) = std::env::var("ALLUVIUM_IO_ERRORS_ONLY") {
        return cases.into_iter().filter(|case| case.to_string().contains(&only)).collect();
    }
    match std::env::var("ALLUVIUM_IO_ERRORS").as_deref() {
        Ok("all") => cases,
        Ok(count) => some(cases, count.parse().expect("a number"), seed),
        Err(_) => some(cases, 600, seed),
    }
}

/// What came of the cases.
#[derive(Default)]
struct Tally {
    struck: BTreeMap<Site, u64>,
    missed: u64,
    /// How often the host was told, and how often it had to recover.
    told: u64,
    recovered: u64,
    failed: Vec<String>,
}

/// Goes through a case.
fn try_case(case: &Case, models: &Models, tally: &Mutex<Tally>) {
    let place = place();
    let host = Host::new(place.path(), models, case.storage, Some(case.injection));
    let panics = PANICS.load(Ordering::Relaxed);
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| host.run()));
    let mut tally = tally.lock().unwrap();
    if let Err(panic) = outcome {
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned()));
        tally.failed.push(format!("{case}: {}", said.unwrap_or_default()));
        // What failed can be looked at.
        println!("{case}: failed; left in {}", place.keep().display());
        return;
    }
    if PANICS.load(Ordering::Relaxed) > panics {
        tally
            .failed
            .push(format!("a thread of an engine panicked while this, or another case, was gone through: {case}"));
    }
    if host.struck() == 0 {
        tally.missed += 1;
    }
    *tally.struck.entry(case.injection.site).or_default() += u64::from(host.struck() > 0);
    tally.told += u64::from(host.told() > 0);
    tally.recovered += u64::from(host.recovered());
}

#[test]
fn every_call_may_go_wrong() {
    count_panics();
    let models: BTreeMap<Kind, Models> =
        [Kind::Changelog, Kind::Checkpoints].map(|kind| (kind, Models::new(kind))).into();
    let cases = chosen(all_cases(&models));
    println!("{} cases", cases.len());
    let (tally, next) = (Mutex::new(Tally::default()), AtomicUsize::new(0));
    let under_way: Mutex<Vec<Option<(Instant, String)>>> = Mutex::new(vec![None; CASES_AT_ONCE]);
    let started = Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CASES_AT_ONCE)
            .map(|number| {
                let (cases, next, models, tally, under_way) = (&cases, &next, &models, &tally, &under_way);
                scope.spawn(move || {
                    while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                        under_way.lock().unwrap()[number] = Some((Instant::now(), case.to_string()));
                        try_case(case, &models[&case.kind], tally);
                    }
                    under_way.lock().unwrap()[number] = None;
                })
            })
            .collect();
        while threads.iter().any(|thread| !thread.is_finished()) {
            std::thread::sleep(Duration::from_millis(20));
            let under_way = under_way.lock().unwrap();
            if let Some((_, case)) = under_way.iter().flatten().find(|(since, _)| since.elapsed() > PATIENCE) {
                // It can't be waited for, and nothing else would end it.
                eprintln!("hangs: {case}");
                std::process::abort();
            }
        }
    });
    let tally = tally.into_inner().unwrap();
    println!(
        "{} cases in {:?}; the host was told in {}, and recovered in {}; {} calls never came",
        cases.len(),
        started.elapsed(),
        tally.told,
        tally.recovered,
        tally.missed
    );
    println!("{:?}", tally.struck);
    assert!(tally.failed.is_empty(), "{} of {} failed:\n{}", tally.failed.len(), cases.len(), tally.failed.join("\n"));
    // How many calls there are depends on the threads a little.
    assert!(tally.missed as usize <= cases.len() / 10, "{} of {} calls never came", tally.missed, cases.len());
}
