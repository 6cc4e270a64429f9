//! `alluvium run --poison`: corrupted events among millions, taken back, and what is left compared with a run that never saw them.
//!
//! One run is several processes, as without poison: the parent draws where the poison is and when the process that repairs is
//! killed; a process (`life`) applies the events of a stream (`stream`) to the store, handing each to its operators (`job`), and repairs it;
//! another one does the same in a fresh directory without the poison. Then the parent goes through both stores side by side (`compare`).
//! What the poison reaches is known from a `model` besides, which knows nothing of the engine.

mod compare;
mod job;
pub mod life;
mod model;
mod stream;
mod summary;
#[cfg(test)]
mod tests;
pub mod word;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::args::RunArguments;
use crate::failure::{EXIT_FAILED, Failure, Outcome};
use crate::format::thousands;
use crate::run::message::Message;
use crate::run::plan::{self, Random};
use crate::run::supervisor::{Interrupt, Spoken};
use compare::Comparison;
use life::Task;
use stream::Stream;
use word::{Applied, Planned, Repaired, Word};

/// Events where nothing else is asked for.
const EVENTS: u64 = 10_000_000;
/// The same with `--quick`.
const EVENTS_QUICK: u64 = 400_000;
/// The process that is to be killed is so at most so much later than its repair is expected to end.
const KILL_SLACK_US: u64 = 2_000;

/// A run and what came of it.
#[derive(Debug, Default)]
struct Record {
    events: u64,
    seed: u64,
    memory_bytes: u64,
    /// What each poisoned event says, in words.
    poisons: Vec<String>,
    applied: Applied,
    /// The first plan: later ones are of what a kill left.
    planned: Planned,
    /// The repair that came to last: the last one that changed anything, if it was one.
    repaired: Repaired,
    kills: Vec<Kill>,
    recovered_us_max: u64,
    /// What the run without poison took.
    replayed: Applied,
    comparison: Comparison,
    compare_ms: u64,
    disk_bytes: u64,
}

/// A kill and what was left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Kill {
    /// Since the repair began, in microseconds.
    at_us: u64,
    /// Whether its commit was said to last by then.
    lasted: bool,
    /// Whether the next process found it done.
    found_done: bool,
}

impl Record {
    fn is_exact(&self) -> bool {
        self.comparison.differences == 0
    }
}

/// Runs it, prints what came of it, and returns the exit code.
pub fn run(arguments: &RunArguments) -> Outcome<u8> {
    let interrupt = Interrupt::catch()?;
    let events = arguments.events.unwrap_or(if arguments.quick { EVENTS_QUICK } else { EVENTS });
    let stream = Stream::open(arguments.input.as_deref(), events)?;
    let seed = arguments.seed.unwrap_or_else(plan::fresh_seed);
    let poisons = stream.draw(seed, arguments.poison)?;
    let stream = stream.with(poisons);
    let mut record = Record { events, seed, memory_bytes: arguments.memory, ..Record::default() };
    record.poisons = stream.poisons().iter().map(|poison| summary::poison(&stream, poison)).collect();
    let places = crate::run::places(arguments.dir.as_deref())?;
    let counterfactual = places.scratch.path().join("counterfactual");
    let reached = places.scratch.path().join("reached.json");
    eprintln!("{} flights, {} poisoned, seed {seed}", thousands(events), arguments.poison);
    model::write(&reached, &model::differences(&stream))?;
    let task = Task {
        directory: places.store.clone(),
        reached,
        input: arguments.input.clone(),
        events,
        poisons: stream.poisons().to_vec(),
        sees_poison: true,
        waits: false,
        memory_bytes: arguments.memory,
        threads: arguments.threads.into(),
        checkpoint_interval_ms: arguments.checkpoint_interval_ms,
        commit_interval_ms: arguments.commit_interval_ms,
    };
    drop(stream);
    Parent { record: &mut record, interrupt: &interrupt }.poisoned(&task, arguments.kills)?;
    eprintln!("the same without the poison");
    let task = Task { directory: counterfactual, sees_poison: false, ..task };
    Parent { record: &mut record, interrupt: &interrupt }.counterfactual(&task)?;
    eprintln!("comparing");
    let began = Instant::now();
    record.disk_bytes = crate::run::directory_bytes(&places.store)?;
    record.comparison = compare::compare(&places.store, &task.directory, arguments.memory)?;
    record.compare_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    finish(arguments.json.as_ref(), arguments.dir.as_deref(), &record)
}

fn finish(json: Option<&PathBuf>, directory: Option<&Path>, record: &Record) -> Outcome<u8> {
    print!("{}", summary::text(record));
    if let Some(path) = json {
        let written = std::fs::write(path, summary::json(record)?);
        written.map_err(|error| Failure::io(format_args!("writing {}", path.display()), &error))?;
    }
    if let Some(directory) = directory {
        println!("store: {}", directory.display());
    }
    Ok(if record.is_exact() { 0 } else { EXIT_FAILED })
}

struct Parent<'a> {
    record: &'a mut Record,
    interrupt: &'a Interrupt,
}

/// What a process said of its repair.
#[derive(Default)]
struct Said {
    lasted: bool,
    repairing_since: Option<Instant>,
    shown: u64,
    is_finished: bool,
}

impl Parent<'_> {
    /// Has the events applied and the poison taken back, through all kills.
    fn poisoned(&mut self, task: &Task, kills: u32) -> Outcome<()> {
        let mut random = Random::new(self.record.seed ^ 0x6b69_6c6c);
        for _ in 0..kills {
            let share = random.below(1_000);
            self.life(&Task { waits: true, ..task.clone() }, Some(share))?;
        }
        self.life(task, None)
    }

    fn counterfactual(&mut self, task: &Task) -> Outcome<()> {
        let mut said = Said::default();
        let child = Spoken::spawn("poisoned", task, &[])?;
        while !said.is_finished {
            self.interrupt.check()?;
            if let Some(Message::Poison(Word::Applied(applied))) = self.next(&child, &mut said, Duration::MAX)? {
                self.record.replayed = applied;
            }
        }
        Ok(())
    }

    /// A process until it ends or is killed: `share` thousandths of the time that its repair is expected to take, and a bit, after that began.
    fn life(&mut self, task: &Task, share: Option<u64>) -> Outcome<()> {
        let mut said = Said::default();
        let mut child = Spoken::spawn("poisoned", task, &[])?;
        while !said.is_finished {
            self.interrupt.check()?;
            let kill_in = share.zip(said.repairing_since).map(|(share, since)| {
                // Planning is most of it. Later plans gather first what the one before had in memory.
                let expected_us = self.record.planned.took_us * 5 / 4 + KILL_SLACK_US;
                Duration::from_micros(expected_us * share / 1_000).saturating_sub(since.elapsed())
            });
            if kill_in == Some(Duration::ZERO) {
                return self.kill(&mut child, &mut said);
            }
            self.next(&child, &mut said, kill_in.unwrap_or(Duration::MAX))?;
        }
        Ok(())
    }

    fn kill(&mut self, child: &mut Spoken, said: &mut Said) -> Outcome<()> {
        let at_us = said.repairing_since.map_or(0, |since| since.elapsed().as_micros());
        child.kill()?;
        while let Some(message) = child.last_words() {
            self.take(&message?, said)?;
        }
        let (at_us, lasted) = (u64::try_from(at_us).unwrap_or(u64::MAX), said.lasted);
        self.record.kills.push(Kill { at_us, lasted, found_done: false });
        Ok(())
    }

    fn next(&mut self, child: &Spoken, said: &mut Said, within: Duration) -> Outcome<Option<Message>> {
        let message = child.next_within(within).map_err(|failure| self.interrupt.check().err().unwrap_or(failure))?;
        if let Some(message) = &message {
            self.take(message, said)?;
        }
        Ok(message)
    }

    fn take(&mut self, message: &Message, said: &mut Said) -> Outcome<()> {
        match message {
            Message::Finished => said.is_finished = true,
            Message::Poison(word) => self.word(word, said)?,
            _ => {}
        }
        Ok(())
    }

    fn word(&mut self, word: &Word, said: &mut Said) -> Outcome<()> {
        match word {
            Word::Began { recovered_us, .. } => {
                self.record.recovered_us_max = self.record.recovered_us_max.max(recovered_us.unwrap_or(0));
            }
            Word::Progress { offset } => {
                let tenth = offset * 10 / self.record.events.max(1);
                if tenth > said.shown {
                    said.shown = tenth;
                    eprintln!("{:>3} %  {} events", tenth * 10, thousands(*offset));
                }
            }
            Word::Applied(applied) => {
                // A process that recovers applies nothing, or what wasn't committed.
                if applied.parts > self.record.applied.parts {
                    self.record.applied = applied.clone();
                }
            }
            Word::Found { repaired } => self.found(*repaired)?,
            Word::Planned(planned) => {
                if planned.suffix > 0 && self.record.planned == Planned::default() {
                    self.record.planned = planned.clone();
                }
            }
            Word::Repairing => said.repairing_since = Some(Instant::now()),
            // A later one that finds it done changes nothing.
            Word::Repaired(repaired) if repaired.changed > 0 => self.record.repaired = repaired.clone(),
            Word::Repaired(_) => {}
            Word::Lasting { commit_us } => {
                said.lasted = true;
                if self.record.repaired.commit_us == 0 {
                    self.record.repaired.commit_us = *commit_us;
                }
            }
            Word::Waiting => {}
        }
        Ok(())
    }

    /// A repair that lasted stays, and one that didn't may.
    fn found(&mut self, repaired: bool) -> Outcome<()> {
        let lasted = self.record.kills.iter().any(|kill| kill.lasted || kill.found_done);
        if lasted && !repaired {
            return Err(Failure::new("a repair that was said to last is gone"));
        }
        match self.record.kills.last_mut() {
            Some(kill) => kill.found_done = repaired,
            None if repaired => return Err(Failure::new("nothing of the poison is there before the repair")),
            None => {}
        }
        if let Some(kill) = self.record.kills.last() {
            eprintln!("killed {:.1} ms into the repair; found it {}", kill.at_us as f64 / 1e3, kill.found());
        }
        Ok(())
    }
}

impl Kill {
    const fn found(&self) -> &'static str {
        if self.found_done { "done" } else { "not done" }
    }
}
