//! The worker: the process that runs the job, and that is killed.
//!
//! It knows nothing of earlier lives but what the store's newest checkpoint says: the state, and the event to go on from.

use std::collections::VecDeque;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use alluvium::{Committed, Durability, Pending, Policy};
use serde::{Deserialize, Serialize};

use super::message::{Message, Progress};
use crate::engine_store::{self, EngineStore, Opened};
use crate::failure::{Failure, Outcome};
use crate::input::Replay;
use crate::job::Job;
use crate::meter::Metered;

/// How often it is asked whether a checkpoint is due, where there is a target for recovery.
const ASK_EVERY: Duration = Duration::from_millis(10);
/// What checkpoints may write for each byte that changes, where there is one.
const WRITE_AMPLIFICATION_MAX: f64 = 20.0;
const REPORT_EVERY: Duration = Duration::from_millis(50);
/// How many events go by between two looks at the clock.
const EVENTS_BETWEEN_LOOKS: u64 = 64;

/// What the worker and the check have to know.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Task {
    /// The store's directory.
    pub directory: PathBuf,
    /// The flights to replay in place of the embedded ones.
    pub input: Option<PathBuf>,
    /// How many times.
    pub periods: u16,
    /// The memory budget.
    pub memory_bytes: u64,
    /// The engine's background threads.
    pub threads: usize,
    /// From one checkpoint to the next.
    pub checkpoint_interval_ms: u64,
    /// From one commit to the next; `None`: the store has no changelog.
    pub commit_interval_ms: Option<u64>,
    /// How long a recovery may take, in ms; `None`: checkpoints come by the interval.
    pub recovery_target_ms: Option<u64>,
}

/// A line to the parent. The parent's end can only be closed when it is gone, and then there is no use in going on.
pub fn send(message: &Message) -> Outcome<()> {
    let line = message.to_line().map_err(Failure::new)?;
    let mut out = std::io::stdout().lock();
    let sent = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    sent.map_err(|error| Failure::io("the parent doesn't listen any more", &error))
}

/// Runs the job from where the store's newest checkpoint left it to the end of the input.
pub fn run(task: &Task) -> Outcome<()> {
    let replay = Replay::open(task.input.as_deref()).map_err(Failure::usage)?;
    let (opened, store, next) = recover(task)?;
    let events = replay.period_events() * u64::from(task.periods);
    let worker = Worker {
        job: Job::new(Metered::new(store), &replay)?,
        label: opened.newest_label(),
        opened: &opened,
        pending: None,
        commits: VecDeque::new(),
        interval: Duration::from_millis(task.checkpoint_interval_ms),
        commit_interval: task.commit_interval_ms.map(Duration::from_millis),
        paced: task.recovery_target_ms.is_some(),
    };
    worker.run(&replay, next, events)?;
    opened.close()?;
    send(&Message::Finished)
}

/// Opens the store, and reads a first value whose content is known: the position that was written down right before
/// the checkpoint's barrier.
fn recover(task: &Task) -> Outcome<(Opened, EngineStore, u64)> {
    let started = Instant::now();
    let durability = if task.commit_interval_ms.is_some() { Durability::Changelog } else { Durability::Checkpoint };
    let policy = task.recovery_target_ms.map_or(Policy::Manual, |target| Policy::RecoveryTime {
        target: Duration::from_millis(target),
        max_write_amplification: WRITE_AMPLIFICATION_MAX,
    });
    let last = (durability, policy);
    let opened = engine_store::open_or_create(&task.directory, task.memory_bytes, task.threads, last)?;
    let mut store = opened.writer()?;
    let position = Job::position(&mut store)?;
    let first_read_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    let event = opened.resume_at.unwrap_or(0);
    if position != event {
        let what = format!("the checkpoint's offset is event {event}, but its state was written at event {position}");
        return Err(Failure::new(what));
    }
    send(&Message::Started { event, recovered: opened.resume_at.is_some(), first_read_us })?;
    Ok((opened, store, event))
}

/// A checkpoint on its way.
struct InFlight {
    pending: Pending,
    since: Instant,
}

struct Worker<'a> {
    job: Job<Metered<EngineStore>>,
    opened: &'a Opened,
    /// The label of the newest checkpoint begun.
    label: u64,
    pending: Option<InFlight>,
    /// Commits that are not known to last yet: the event after each.
    commits: VecDeque<(u64, Instant, Committed)>,
    interval: Duration,
    /// From one commit to the next, where there is a changelog.
    commit_interval: Option<Duration>,
    /// Whether checkpoints come as a target for recovery wants them.
    paced: bool,
}

impl Worker<'_> {
    fn run(mut self, replay: &Replay, first: u64, events: u64) -> Outcome<()> {
        let mut next_report = Instant::now();
        let mut next_checkpoint = Instant::now() + self.interval;
        let mut next_commit = Instant::now();
        let mut ask_at = Instant::now();
        for index in first..events {
            if index % EVENTS_BETWEEN_LOOKS == 0 {
                let now = Instant::now();
                if now >= next_report {
                    self.report(index)?;
                    next_report = now + REPORT_EVERY;
                }
                self.look_after_checkpoint()?;
                self.look_after_commits()?;
                if let Some(interval) = self.commit_interval.filter(|_| now >= next_commit) {
                    self.job.mark_position(index)?;
                    self.commits.push_back((index, now, self.opened.commit(index)?));
                    next_commit = now + interval;
                }
                let is_due = match self.paced {
                    true if now >= ask_at => {
                        ask_at = now + ASK_EVERY;
                        self.opened.is_checkpoint_due()
                    }
                    true => false,
                    false => now >= next_checkpoint,
                };
                if is_due && self.pending.is_none() {
                    self.begin_checkpoint(index)?;
                    next_checkpoint = now + self.interval;
                }
            }
            self.job.apply(&replay.event(index))?;
        }
        self.finish_checkpoint()?;
        self.begin_checkpoint(events)?;
        self.finish_checkpoint()?;
        self.report(events)
    }

    fn begin_checkpoint(&mut self, next: u64) -> Outcome<()> {
        self.job.mark_position(next)?;
        self.label += 1;
        let since = Instant::now();
        let pending = self.opened.barrier(self.label, next)?;
        let barrier_ns = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.pending = Some(InFlight { pending, since });
        send(&Message::Barrier { label: self.label, event: next, barrier_ns })
    }

    /// Reports the checkpoint on its way if it is complete.
    fn look_after_checkpoint(&mut self) -> Outcome<()> {
        match self.pending.take_if(|in_flight| in_flight.pending.poll().is_some()) {
            Some(done) => complete(&done),
            None => Ok(()),
        }
    }

    /// Reports the last commit that has come to last.
    fn look_after_commits(&mut self) -> Outcome<()> {
        let mut last = None;
        while let Some((event, since, commit)) = self.commits.front()
            && let Some(outcome) = commit.poll()
        {
            outcome?;
            last = Some((*event, since.elapsed()));
            self.commits.pop_front();
        }
        let Some((event, took)) = last else { return Ok(()) };
        send(&Message::Lasting { event, took_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX) })
    }

    fn finish_checkpoint(&mut self) -> Outcome<()> {
        self.pending.take().map_or(Ok(()), |in_flight| complete(&in_flight))
    }

    fn report(&mut self, event: u64) -> Outcome<()> {
        let metrics = self.opened.metrics();
        let used_bytes = self.opened.used_bytes();
        let store = self.job.store_mut();
        send(&Message::Progress(Progress {
            event,
            state_ops: store.operations(),
            latencies: store.take_samples(),
            written_bytes: metrics.io.written_bytes,
            changed_bytes: metrics.flushed_logical_bytes,
            segments: metrics.segments,
            used_bytes,
        }))
    }
}

fn complete(in_flight: &InFlight) -> Outcome<()> {
    let info = in_flight.pending.wait()?;
    send(&Message::Checkpoint {
        label: info.label,
        duration_us: u64::try_from(in_flight.since.elapsed().as_micros()).unwrap_or(u64::MAX),
        new_bytes: info.new_bytes,
        flushed_bytes: info.flushed_bytes,
        changed_bytes: info.changed_bytes,
        total_bytes: info.total_bytes,
    })
}
