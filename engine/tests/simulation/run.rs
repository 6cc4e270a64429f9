//! Playing cases in processes of their own, and making one that fails smaller.

use super::case::Case;
use super::damage::play_damages;
use super::errors::play_errors;
use super::findings;
use super::look::look;
use super::play::play;
use alluvium::platform::safeguards::Safeguard;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const ROLE: &str = "ALLUVIUM_SIMULATION_ROLE";
const CASES: &str = "ALLUVIUM_SIMULATION_CASES";
/// A process that takes longer than this hangs.
const HANG: Duration = Duration::from_secs(300);
/// How many cases a process plays; how many smaller cases are tried, and how many schedules of each.
const CASES_OF_A_PROCESS: u64 = 10;
const TRIES: usize = 60;
const SCHEDULES: u64 = 4;

pub fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |number| number.parse().expect("a number"))
}

/// A place for a store: in memory where the system offers that.
pub fn place() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.expect("a directory")
}

/// Plays a case, and looks at what crashes leave.
fn play_and_look(case: Case, path: &Path) {
    let played = play(case, path);
    println!("{:?}, {} changes of files, {} reads", played.ran, played.ops.len(), played.reads);
    let looked = look(case, path, &played);
    println!("{looked:?}");
}

/// Plays a case twice: nothing may differ.
fn play_twice(case: Case, path: &Path) {
    let (first, second) = (play(case, path), play(case, path));
    let differs = first.ops.iter().zip(&second.ops).position(|(one, other)| one != other);
    let of = |op: Option<usize>| op.map(|at| (at, format!("{:?}", first.ops[at]), format!("{:?}", second.ops[at])));
    assert_eq!(of(differs), None, "changes of files");
    assert_eq!((first.ran, first.ops.len(), first.reads), (second.ran, second.ops.len(), second.reads));
    assert_eq!(first.lasts, second.lasts);
    println!("twice {:?}", first.ran);
}

/// Not a test by itself: what the processes of the others run.
#[test]
fn process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let cases = std::env::var(CASES).unwrap();
    // Each case begins its line, so that whoever reads finds it.
    println!();
    for case in cases.split(';').filter(|word| !word.is_empty()).map(Case::from_word) {
        println!("case {}: {case:?}", case.to_word());
        let place = place();
        let path = place.path().canonicalize().unwrap().join("store");
        match role.as_str() {
            "twice" => play_twice(case, &path),
            "errors" => play_errors(case),
            "damage" => play_damages(case, &path),
            _ => play_and_look(case, &path),
        }
    }
    findings::role(&role);
}

/// What came of a process.
pub enum Outcome {
    Passed(String),
    Failed {
        /// The one that it was at.
        case: Option<Case>,
        said: String,
    },
}

/// Plays cases in a process of their own.
pub fn run_apart(role: &str, cases: &[Case]) -> Outcome {
    run_without(None, role, cases)
}

/// The same with a safeguard taken away.
pub fn run_without(safeguard: Option<Safeguard>, role: &str, cases: &[Case]) -> Outcome {
    let place = place();
    let log = place.path().join("log");
    let file = File::create(&log).unwrap();
    let words: Vec<String> = cases.iter().map(|case| case.to_word()).collect();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["run::process", "--exact", "--nocapture", "--test-threads=1"]);
    command.env(ROLE, role).env(CASES, words.join(";"));
    if let Some(safeguard) = safeguard {
        command.env("ALLUVIUM_WITHOUT", format!("{safeguard:?}"));
    }
    command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
    let mut process = command.spawn().unwrap();
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = process.try_wait().unwrap() {
            break Some(status);
        }
        if begun.elapsed() > HANG {
            process.kill().unwrap();
            process.wait().unwrap();
            break None;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let mut said = std::fs::read_to_string(&log).unwrap_or_default();
    if status.is_some_and(|status| status.success()) {
        return Outcome::Passed(said);
    }
    let mut words = said.lines().filter_map(|line| line.strip_prefix("case ")?.split_once(':'));
    let case = words.next_back().map(|(word, _)| Case::from_word(word));
    said.push_str(&status.map_or_else(|| "it hangs\n".to_owned(), |status| format!("{status}\n")));
    Outcome::Failed { case, said }
}

/// Plays cases in a role, some in each process, as many processes at a time as there are processors. What fails is made smaller, and told.
pub fn sweep(role: &str, count: u64) {
    let first = number("ALLUVIUM_SIMULATION_SEED", 1);
    println!("ALLUVIUM_SIMULATION_SEED={first}");
    let next = AtomicU64::new(0);
    let processors = std::thread::available_parallelism().map_or(2, usize::from);
    let each = || {
        loop {
            let begin = next.fetch_add(CASES_OF_A_PROCESS, Ordering::Relaxed);
            if begin >= count {
                return;
            }
            let seeds = begin..count.min(begin + CASES_OF_A_PROCESS);
            let cases: Vec<Case> = seeds.map(|seed| Case::new(first.wrapping_add(seed))).collect();
            if let Outcome::Failed { case, said } = run_apart(role, &cases) {
                // The others go on to the end of what they have begun.
                next.fetch_add(count, Ordering::Relaxed);
                let (smallest, said) = smallest(role, case.expect("it began a case"), said);
                panic!("{said}\nto do it again: ALLUVIUM_SIMULATION={}, {role}", smallest.to_word());
            }
        }
    };
    std::thread::scope(|scope| (0..processors).for_each(|_| drop(scope.spawn(each))));
}

/// Plays the case that `ALLUVIUM_SIMULATION` names alone, where there is one.
pub fn played_alone(role: &str) -> bool {
    let Ok(word) = std::env::var("ALLUVIUM_SIMULATION") else { return false };
    match run_apart(role, &[Case::from_word(&word)]) {
        Outcome::Passed(said) => println!("{said}"),
        Outcome::Failed { said, .. } => panic!("{said}"),
    }
    true
}

/// The smallest case that was found to fail, and what it said.
pub fn smallest(role: &str, case: Case, said: String) -> (Case, String) {
    let (mut smallest, mut said) = (case, said);
    let mut tries = 0;
    'smaller: loop {
        for candidate in smallest.smaller() {
            for schedule in 0..SCHEDULES {
                tries += 1;
                if tries > TRIES {
                    return (smallest, said);
                }
                let candidate = Case { schedule: candidate.schedule.wrapping_add(schedule), ..candidate };
                if let Outcome::Failed { said: of_candidate, .. } = run_apart(role, &[candidate]) {
                    (smallest, said) = (candidate, of_candidate);
                    continue 'smaller;
                }
            }
        }
        return (smallest, said);
    }
}
