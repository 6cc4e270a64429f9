//! The process that has a store of the job: it applies what the store doesn't have yet, repairs it if that is asked for, and is killed
//! meanwhile or closes it.
//!
//! It knows nothing of earlier lives but what the store says. Before and after each repair it looks at every place that the poison
//! reaches, by the model's account: all of them hold what they do with it, or all what they do without.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use alluvium::key::{Key, key_group_of};
use alluvium::{
    Barrier, Commit, Committed, Content, Durability, Engine, EngineOptions, EventId, HandlerId, History, KeyGroupRange,
    Pending, Store, StoreOptions, Way, Writer,
};
use serde::{Deserialize, Serialize};

use super::job::{Flights, KEY_GROUPS, States};
use super::model::{self, Differences, Place};
use super::stream::{Poison, Stream};
use super::word::{Applied, Planned, Repaired, Word};
use crate::failure::{Failure, Outcome};
use crate::run::message::Message;
use crate::run::worker::send;

const REPORT_EVERY: Duration = Duration::from_millis(200);
/// How many events go by between two looks at the clock.
const EVENTS_BETWEEN_LOOKS: u64 = 64;
/// All of a run's: so far back something can be repaired.
const CHECKPOINTS_KEPT: usize = 100_000;

/// What it has to know.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Task {
    /// The store's directory.
    pub directory: PathBuf,
    /// The flights in place of the embedded ones.
    pub input: Option<PathBuf>,
    /// How many flights.
    pub events: u64,
    /// Where the poison is.
    pub poisons: Vec<Poison>,
    /// The file that says what the poison reaches, by the [model].
    pub reached: PathBuf,
    /// Whether it is there; else the store is one that never saw it, and isn't repaired.
    pub sees_poison: bool,
    /// Whether it has to wait to be killed after a repair.
    pub waits: bool,
    /// The memory budget.
    pub memory_bytes: u64,
    /// The engine's background threads.
    pub threads: usize,
    /// From one checkpoint to the next.
    pub checkpoint_interval_ms: u64,
    /// From one commit to the next.
    pub commit_interval_ms: u64,
}

/// The store's options.
pub fn options() -> StoreOptions {
    StoreOptions {
        key_groups: KEY_GROUPS,
        range: range(),
        durability: Durability::Changelog,
        history: History { checkpoints: CHECKPOINTS_KEPT },
        ..StoreOptions::default()
    }
}

fn range() -> KeyGroupRange {
    // KEY_GROUPS is far below 2^16.
    KeyGroupRange::new(0, KEY_GROUPS as u16 - 1)
}

/// An engine of a task's budget.
pub fn engine(memory_bytes: u64, threads: usize) -> Outcome<Engine> {
    let memory_budget_bytes = usize::try_from(memory_bytes).map_err(Failure::usage)?;
    Ok(Engine::open(EngineOptions { memory_budget_bytes, threads, ..EngineOptions::default() })?)
}

/// Lives.
pub fn run(task: &Task) -> Outcome<()> {
    let stream = Stream::open(task.input.as_deref(), task.events)?.with(task.poisons.clone());
    let (mut life, first) = Life::begin(task, &stream)?;
    life.apply(first)?;
    if task.sees_poison {
        life.repair()?;
        if task.waits {
            return wait_to_be_killed();
        }
    }
    life.barrier(stream.len())?.wait()?;
    drop(life.writer);
    life.store.close()?;
    send(&Message::Finished)
}

/// Tells the parent that it is there until that kills it, or is gone itself.
fn wait_to_be_killed() -> Outcome<()> {
    loop {
        std::thread::sleep(Duration::from_millis(50));
        say(Word::Waiting)?;
    }
}

fn say(word: Word) -> Outcome<()> {
    send(&Message::Poison(word))
}

fn microseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

struct Life<'a> {
    task: &'a Task,
    stream: &'a Stream,
    // Before the store: it goes first.
    writer: Writer,
    store: Store,
    states: States,
    handler: HandlerId,
    /// The label of the newest checkpoint begun.
    label: u64,
    pending: Option<Pending>,
    commits: VecDeque<Committed>,
    _engine: Engine,
}

impl<'a> Life<'a> {
    /// Opens the store; where the input stood.
    fn begin(task: &'a Task, stream: &'a Stream) -> Outcome<(Self, u64)> {
        let began = Instant::now();
        let engine = engine(task.memory_bytes, task.threads)?;
        let store = Store::open_or_create(&engine, &task.directory, options())?;
        let last = store.last_commit();
        let offset = last.offsets.first().and_then(|(_, offset)| offset.first_chunk::<8>());
        let offset = offset.map_or(0, |offset| u64::from_le_bytes(*offset));
        let states = States::register(&store)?;
        let handler = store.handler(Flights::with(states))?;
        let writer = store.writer(range())?;
        let label = store.checkpoints().last().map_or(0, |info| info.label);
        let recovered_us = (offset > 0).then(|| microseconds(began));
        say(Word::Began { offset, recovered_us })?;
        let (pending, commits) = (None, VecDeque::new());
        let life = Self { task, stream, writer, store, states, handler, label, pending, commits, _engine: engine };
        Ok((life, offset))
    }

    /// Applies the events from an offset on.
    fn apply(&mut self, first: u64) -> Outcome<()> {
        if first == 0 {
            // An empty one, so that whatever comes first can be repaired, too.
            self.barrier(0)?.wait()?;
        }
        let (began, mut parts, mut bytes) = (Instant::now(), 0, Vec::new());
        let every = |ms| Duration::from_millis(ms);
        let (mut report_at, mut commit_at) = (began, began);
        let mut checkpoint_at = began + every(self.task.checkpoint_interval_ms);
        for offset in first..self.stream.len() {
            if offset % EVENTS_BETWEEN_LOOKS == 0 {
                let now = Instant::now();
                if now >= report_at {
                    say(Word::Progress { offset })?;
                    report_at = now + REPORT_EVERY;
                }
                if now >= commit_at {
                    self.commit(offset)?;
                    commit_at = now + every(self.task.commit_interval_ms);
                }
                self.pending
                    .take_if(|pending| pending.poll().is_some())
                    .map_or(Ok(()), |done| done.wait().map(drop))?;
                if now >= checkpoint_at && self.pending.is_none() {
                    self.pending = Some(self.barrier(offset)?);
                    checkpoint_at = now + every(self.task.checkpoint_interval_ms);
                }
            }
            let (is_poison, of_event) = self.stream.parts(offset);
            if is_poison && !self.task.sees_poison {
                continue;
            }
            for part in of_event {
                bytes.clear();
                part.push(&mut bytes);
                self.writer.apply_event_once(self.handler, part.group(), part.id(offset), &bytes)?;
                parts += 1;
            }
        }
        self.commit(self.stream.len())?;
        self.pending.take().map_or(Ok(()), |pending| pending.wait().map(drop))?;
        self.commits.drain(..).try_for_each(|commit| commit.wait())?;
        let log_bytes = self.store.last_commit().position;
        let (checkpoints, index_bytes) = (self.label, self.store.metrics().trace_bytes);
        say(Word::Applied(Applied { parts, took_us: microseconds(began), checkpoints, log_bytes, index_bytes }))
    }

    fn barrier(&mut self, next: u64) -> Outcome<Pending> {
        self.label += 1;
        let offsets = vec![(range(), next.to_le_bytes().to_vec())];
        Ok(self.writer.barrier(Barrier { offsets, ..Barrier::new(self.label) })?)
    }

    fn commit(&mut self, next: u64) -> Outcome<()> {
        let offsets = vec![(range(), next.to_le_bytes().to_vec())];
        self.commits.push_back(self.writer.commit(Commit { offsets, ..Commit::default() })?);
        while let Some(outcome) = self.commits.front().and_then(Committed::poll) {
            outcome?;
            self.commits.pop_front();
        }
        Ok(())
    }

    /// Takes the poisoned events back.
    fn repair(&mut self) -> Outcome<()> {
        let differences = model::read(&self.task.reached)?;
        let repaired = self.is_repaired(&differences)?;
        say(Word::Found { repaired })?;
        let bad: Vec<EventId> = self.stream.poisons().iter().flat_map(|poison| self.ids(poison.offset)).collect();
        let began = Instant::now();
        let planned = self.writer.plan_repair(&bad, Way::Auto)?;
        let again = |groups: &[alluvium::GroupRepair]| groups.iter().map(|group| group.applied_again as u64).sum();
        let dependents = planned.groups.iter().map(|group| group.dependents as u64).sum();
        let (suffix, applied_again) = (planned.closure.suffix_events, again(&planned.groups));
        say(Word::Planned(Planned { dependents, suffix, applied_again, took_us: microseconds(began) }))?;
        say(Word::Repairing)?;
        let began = Instant::now();
        let done = self.writer.repair(&bad, Way::Auto)?;
        let took_us = microseconds(began);
        let by = |is_it: fn(&alluvium::GroupRepair) -> bool| done.groups.iter().filter(|group| is_it(group)).count();
        say(Word::Repaired(Repaired {
            inverse_groups: by(|group| group.way == Way::Inverse) as u64,
            reexecuted_groups: (
                by(|group| group.way == Way::Reexecute) as u64,
                by(|group| group.is_whole_group) as u64,
            ),
            applied_again: again(&done.groups),
            changed: done.retractions.len() as u64,
            before: done.before.len() as u64,
            took_us,
            commit_us: 0,
        }))?;
        let began = Instant::now();
        let offsets = vec![(range(), self.stream.len().to_le_bytes().to_vec())];
        self.writer.commit(Commit { offsets, ..Commit::default() })?.wait()?;
        say(Word::Lasting { commit_us: microseconds(began) })?;
        if !self.is_repaired(&differences)? {
            return Err(Failure::new("what the poison reaches is as it was before the repair"));
        }
        match repaired {
            true => self.check_nothing(&done),
            false => self.check_retractions(&done, &differences),
        }
    }

    fn ids(&self, offset: u64) -> impl Iterator<Item = EventId> {
        self.stream.parts(offset).1.map(move |part| part.id(offset))
    }

    /// Whether every place that the poison reaches holds what it holds without it; every one, or none.
    fn is_repaired(&mut self, differences: &Differences) -> Outcome<bool> {
        let mut found = [0; 2];
        for (place, contents) in differences {
            let there = self.content(place)?;
            match contents.iter().position(|content| *content == there) {
                Some(which) => found[which] += 1,
                None => return Err(Failure::new(format_args!("{place:?} holds {there:?}, of {contents:?}"))),
            }
        }
        match found {
            [_, 0] => Ok(false),
            [0, _] => Ok(true),
            [with, without] => Err(Failure::new(format_args!("half repaired: {without} places are, {with} aren't"))),
        }
    }

    fn content(&mut self, place: &Place) -> Outcome<Option<Vec<u8>>> {
        let Place { table, key, namespace, user_key } = place;
        let key = Key::new(key_group_of(key, KEY_GROUPS), key).in_namespace(namespace);
        let state = self.states.of(*table);
        Ok(match user_key {
            Some(user_key) => self.writer.map_get(state, key, user_key)?,
            None => self.writer.get(state, key)?,
        })
    }

    fn check_nothing(&self, done: &alluvium::Repaired) -> Outcome<()> {
        if done.retractions.is_empty() && done.groups.is_empty() {
            return Ok(());
        }
        Err(Failure::new("a repair that was there was done once more"))
    }

    /// What is said to have changed has to be what did, by the model.
    fn check_retractions(&self, done: &alluvium::Repaired, differences: &Differences) -> Outcome<()> {
        let value = |content: &Option<Content>| match content {
            Some(Content::Value(value)) => Some(value.clone()),
            _ => None,
        };
        let mut said = Differences::new();
        for retraction in &done.retractions {
            let Some(table) = self.states.table(retraction.state) else {
                return Err(Failure::new("a retraction of a state that isn't the job's"));
            };
            let (key, namespace) = (retraction.key.clone(), retraction.namespace.clone());
            let place = Place { table, key, namespace, user_key: retraction.user_key.clone() };
            said.insert(place, [value(&retraction.before), value(&retraction.after)]);
        }
        if said == *differences {
            return Ok(());
        }
        let (said, differences) = (said.len(), differences.len());
        Err(Failure::new(format_args!("{said} places are said to have changed, not the {differences} that differ")))
    }
}

/// Everything in the newest checkpoint of a store, and what has to live as long.
pub fn contents(engine: &Engine, directory: &Path) -> Outcome<(Store, alluvium::checkpoint::Iter)> {
    let store = Store::open(engine, directory, options())?;
    States::register(&store)?;
    let label = store.checkpoints().last().map_or(0, |info| info.label);
    let items = store.iterate(label)?;
    Ok((store, items))
}
