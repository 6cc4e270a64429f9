//! `real-replay-killed`: processes that are killed in the middle, each followed by one that restores the last checkpoint and has
//! the events again from there. In the end all has been read as if nothing had happened.

use super::engines::Job;
use super::figures::Figures;
use super::usage;
use crate::backends::{Backend, Place};
use crate::harness::generate::Random;
use crate::harness::{Outcome, wrong};
use crate::workloads::flights::Flights;
use crate::workloads::{Answers, Workload};
use std::path::Path;
use std::time::{Duration, Instant};

/// Processes that are killed.
pub const KILLS: u64 = 5;
/// In all of the events.
const CHECKPOINTS: u64 = 64;
/// Events between looks at what comes next.
const EVENTS: u64 = 256;

/// One of the processes.
#[derive(Debug)]
pub struct Killed {
    /// The directory has a file for each process that was killed, and a store.
    pub place: Place,
    pub workload: Flights,
    pub seed: u64,
    /// How many are to be killed before one isn't.
    pub kills: u64,
    /// How a process dies.
    pub die: fn() -> Outcome,
}

/// At once, and with nothing done before.
pub fn die() -> Outcome {
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)?;
    wrong("killed, and still here")
}

fn name(number: u64) -> String {
    format!("killed-{number}")
}

fn killed_before(path: &Path) -> u64 {
    (0..).take_while(|number| path.join(name(*number)).exists()).count() as u64
}

/// The event before which a process dies: each later than the one before it.
fn last_event(number: u64, kills: u64, events: u64, seed: u64) -> u64 {
    let span = events / (kills + 1);
    let mut random = Random::new(seed ^ number << 32);
    span / 2 + number * span + random.below(span.max(1))
}

impl Job for Killed {
    type Out = Figures;

    fn run<B: Backend>(mut self) -> Outcome<Figures> {
        let path = self.place.path.clone();
        let number = killed_before(&path);
        let store = path.join("store");
        std::fs::create_dir_all(&store)?;
        let mut backend = B::open(&Place { path: store, tables: self.workload.tables(), ..self.place })?;
        if self.kills > 0 && !backend.keep_to_checkpoints() {
            return wrong("a process that is killed comes back with more than its checkpoint");
        }
        let mut answers = self.workload.restore(&mut backend)?;
        let first = self.workload.done();
        if number > 0 && first == 0 {
            return wrong("no checkpoint is left of a process that was killed");
        }
        let events = self.workload.events();
        let last = if number < self.kills { last_event(number, self.kills, events, self.seed) } else { events };
        let started = Instant::now();
        go_on(&mut backend, &mut self.workload, &mut answers, last)?;
        if number < self.kills {
            std::fs::write(path.join(name(number)), "")?;
            (self.die)()?;
        }
        let mut figures = Figures { kills: Some(number), ..Figures::default() };
        figures.events = Some(events - first);
        figures.events_per_s = Some((events - first) as f64 / started.elapsed().as_secs_f64());
        figures.digests = vec![answers.digest()];
        let mut seen = Answers::default();
        self.workload.check(&mut backend, &mut seen)?;
        figures.checks = vec![seen.digest()];
        figures.rss_bytes_max = Some(usage::resident_bytes_max());
        backend.close()?;
        Ok(figures)
    }
}

/// Events up to one, with a checkpoint after every so many, if the one before is complete by then. The first one is waited for.
fn go_on<B: Backend>(backend: &mut B, workload: &mut Flights, answers: &mut Answers, last: u64) -> Outcome {
    let every = (workload.events() / CHECKPOINTS).max(1);
    let mut next = workload.done() + every;
    let mut events = Vec::new();
    let mut is_first = true;
    while workload.done() < last {
        events.clear();
        workload.generate(EVENTS.min(last - workload.done()) as usize, &mut events);
        workload.process(backend, &events, answers)?;
        if workload.done() >= next && backend.checkpoint_is_complete()? {
            workload.save(backend, answers)?;
            backend.begin_checkpoint()?;
            next = workload.done() + every;
            // A process has to leave one, and small ones are fast.
            while is_first && !backend.checkpoint_is_complete()? {
                std::thread::sleep(Duration::from_micros(200));
            }
            is_first = false;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::{Hash, Ours};

    fn job(path: &Path, kills: u64) -> Outcome<Killed> {
        let place = Place { path: path.to_owned(), budget_bytes: 64 << 20, tables: Vec::new() };
        // What a test can have of dying: nothing is closed, nothing is made durable.
        Ok(Killed { place, workload: Flights::years(1, 12)?, seed: 7, kills, die: || wrong("killed") })
    }

    /// The next process. A store that was dropped may be at work for a moment yet; one that was killed isn't.
    fn next(path: &Path) -> Outcome<Figures> {
        for _ in 0..200 {
            match job(path, KILLS)?.run::<Ours>() {
                Err(error) if error.to_string().contains("open already") => {
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
                outcome => return outcome,
            }
        }
        wrong("the store is never closed")
    }

    #[test]
    fn those_that_follow_read_as_if_nothing_had_happened() -> Outcome {
        let directory = tempfile::tempdir()?;
        let oracle_directory = tempfile::tempdir()?;
        let oracle = job(oracle_directory.path(), 0)?.run::<Hash>()?;
        for number in 0..KILLS {
            let outcome = next(directory.path());
            assert_eq!(outcome.err().map(|error| error.to_string()).as_deref(), Some("killed"));
            assert_eq!(killed_before(directory.path()), number + 1);
        }
        let figures = next(directory.path())?;
        assert_eq!(figures.kills, Some(KILLS));
        assert!(figures.events < Some(Flights::years(1, 12)?.events()), "it began at the beginning");
        assert_eq!((figures.digests, figures.checks), (oracle.digests, oracle.checks));
        Ok(())
    }

    #[test]
    fn each_dies_later_than_the_one_before() {
        for seed in 0..100 {
            let events: Vec<u64> = (0..KILLS).map(|number| last_event(number, KILLS, 360_000, seed)).collect();
            assert!(events.is_sorted_by(|a, b| a < b) && events[KILLS as usize - 1] < 360_000, "{events:?}");
        }
    }
}
