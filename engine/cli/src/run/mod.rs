//! `alluvium run`: the main job, from the first event to the verdict.

pub mod memory;
pub mod message;
pub mod plan;
mod progress;
pub mod record;
pub mod summary;
pub mod supervisor;
pub mod worker;

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::args::{Durability, RunArguments};
use crate::failure::{EXIT_FAILED, Failure, Outcome};
use crate::format::{bytes, thousands};
use crate::input::Replay;
use crate::report;
use progress::Display;
use record::{Record, Settings};
use supervisor::Interrupt;
use worker::Task;

/// The directories of a run; the temporary ones go with it.
pub struct Places {
    /// The store's.
    pub store: PathBuf,
    /// For the check.
    pub scratch: TempDir,
    /// Holds the store where the user named no directory.
    _temporary: Option<TempDir>,
}

/// Runs the job, prints what came of it, writes the files, and returns the exit code.
pub fn run(arguments: &RunArguments) -> Outcome<u8> {
    let settings = settings(arguments)?;
    let interrupt = Interrupt::catch()?;
    let places = places(arguments.dir.as_deref())?;
    let task = Task {
        directory: places.store.clone(),
        input: arguments.input.clone(),
        periods: arguments.scale,
        memory_bytes: arguments.memory,
        threads: arguments.threads.into(),
        checkpoint_interval_ms: arguments.checkpoint_interval_ms,
        commit_interval_ms: commit_interval_ms(arguments),
        recovery_target_ms: recovery_target_ms(arguments),
    };
    announce(&settings, &places.store);
    let plan = plan::crashes(settings.seed, settings.crashes, settings.events);
    let mut display = Display::new(settings.events);
    let mut record = Record::new(settings)?;
    supervisor::run(&task, plan, &mut record, &mut display, &interrupt)?;
    record.disk_bytes = directory_bytes(&places.store)?;
    let began = std::time::Instant::now();
    record.comparison = supervisor::check(&task, places.scratch.path(), &mut display, &interrupt)?;
    record.check_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    display.finish();
    finish(arguments, &record)
}

fn finish(arguments: &RunArguments, record: &Record) -> Outcome<u8> {
    let write = |path: &Path, text: String| {
        fs::write(path, text).map_err(|error| Failure::io(format_args!("writing {}", path.display()), &error))
    };
    print!("{}", summary::text(record));
    if let Some(path) = &arguments.json {
        write(path, summary::json(record)?)?;
    }
    write(&arguments.report, report::page(record))?;
    println!("report: {}", arguments.report.display());
    if let Some(directory) = &arguments.dir {
        println!("store: {}", directory.display());
    }
    Ok(if record.is_exact() { 0 } else { EXIT_FAILED })
}

/// Looks through the input once, so that what is wrong with it comes out before anything is started.
fn settings(arguments: &RunArguments) -> Outcome<Settings> {
    let replay = Replay::open(arguments.input.as_deref()).map_err(Failure::usage)?;
    let input = match &arguments.input {
        Some(path) => format!("{} flights of {}", thousands(replay.period_flights()), path.display()),
        None => format!("{} flights of New York, 2013", thousands(replay.period_flights())),
    };
    let lowest = alluvium::options::BUDGET_BYTES_MIN as u64;
    if arguments.memory < lowest {
        return Err(Failure::usage(format_args!("--memory: at least {}", bytes(lowest))));
    }
    Ok(Settings {
        input,
        scale: arguments.scale,
        events: replay.period_events() * u64::from(arguments.scale),
        memory_bytes: arguments.memory,
        crashes: arguments.crashes,
        seed: arguments.seed.unwrap_or_else(plan::fresh_seed),
        checkpoint_interval_ms: arguments.checkpoint_interval_ms,
        commit_interval_ms: commit_interval_ms(arguments),
        recovery_target_ms: recovery_target_ms(arguments),
    })
}

/// From one commit to the next, where the store has a changelog.
fn commit_interval_ms(arguments: &RunArguments) -> Option<u64> {
    (arguments.durability == Durability::Changelog).then_some(arguments.commit_interval_ms)
}

/// How long a recovery may take.
fn recovery_target_ms(arguments: &RunArguments) -> Option<u64> {
    arguments.recovery_target.map(|target| u64::try_from(target.as_millis()).unwrap_or(u64::MAX))
}

fn announce(settings: &Settings, store: &Path) {
    let events = thousands(settings.events);
    eprintln!(
        "{} x {} = {events} events, through {} of memory",
        settings.input,
        settings.scale,
        bytes(settings.memory_bytes)
    );
    eprintln!("{} crashes, seed {}, store in {}", settings.crashes, settings.seed, store.display());
}

/// Temporary directories lie beside the program (on the disk that it was built on; the system's own may be memory),
/// else where the system wants them.
fn temporary(near: Option<&Path>) -> Outcome<TempDir> {
    let build = || tempfile::Builder::new().prefix("alluvium-run-").to_owned();
    let beside_program = std::env::current_exe().ok();
    let beside = near.or(beside_program.as_deref()).and_then(Path::parent);
    let made = beside.and_then(|parent| build().tempdir_in(parent).ok());
    made.map_or_else(|| build().tempdir(), Ok).map_err(|error| Failure::io("making a temporary directory", &error))
}

/// The directories of a run: the store's is the user's, if there is one.
pub fn places(directory: Option<&Path>) -> Outcome<Places> {
    let Some(directory) = directory else {
        let temporary_store = temporary(None)?;
        let store = temporary_store.path().join("store");
        return Ok(Places { store, scratch: temporary(None)?, _temporary: Some(temporary_store) });
    };
    match fs::read_dir(directory).map(|mut entries| entries.next().is_some()) {
        Ok(true) => return Err(Failure::usage(format_args!("--dir {}: not empty", directory.display()))),
        Ok(false) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(Failure::usage(format_args!("--dir {}: {error}", directory.display()))),
    }
    let absolute = std::path::absolute(directory);
    let store = absolute.map_err(|error| Failure::io(directory.display(), &error))?;
    let scratch = temporary(Some(&store))?;
    Ok(Places { store, scratch, _temporary: None })
}

/// The bytes of the files in a directory.
pub fn directory_bytes(directory: &Path) -> Outcome<u64> {
    let fail = |error: std::io::Error| Failure::io(directory.display(), &error);
    let mut total = 0;
    for entry in fs::read_dir(directory).map_err(fail)? {
        total += entry.map_err(fail)?.metadata().map_err(fail)?.len();
    }
    Ok(total)
}
