//! The parent: starts workers, watches them, kills them, starts them again, and has the end checked.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::memory;
use super::message::Message;
use super::plan::PlannedCrash;
use super::progress::Display;
use super::record::Record;
use super::worker::Task;
use crate::check::compare::Comparison;
use crate::failure::{EXIT_INTERRUPTED, Failure, Outcome};

const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A child process and what it says.
pub struct Spoken {
    child: Child,
    lines: Receiver<Outcome<Message>>,
}

/// A child that is dropped is killed: nothing outlives the parent's own errors.
impl Drop for Spoken {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Spoken {
    /// Starts this program again with a hidden command.
    pub fn spawn(command: &str, task: &impl Serialize, more: &[&Path]) -> Outcome<Self> {
        let program = std::env::current_exe().map_err(|error| Failure::io("this program's own path", &error))?;
        let task = serde_json::to_string(task).map_err(Failure::new)?;
        let mut command_line = Command::new(program);
        command_line.arg(command).arg(task).args(more).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command_line.spawn().map_err(|error| Failure::io("starting a worker", &error))?;
        let (sender, lines) = channel();
        let Some(output) = child.stdout.take() else { return Err(Failure::new("a worker without an output")) };
        std::thread::spawn(move || listen(output, &sender));
        Ok(Self { child, lines })
    }

    /// What the child says next; `None` when it has nothing to say within a moment, an error when it is gone.
    fn next(&self) -> Outcome<Option<Message>> {
        self.next_within(LOOK_EVERY)
    }

    /// The same with a moment that is no longer than that.
    pub fn next_within(&self, moment: Duration) -> Outcome<Option<Message>> {
        match self.lines.recv_timeout(moment.min(LOOK_EVERY)) {
            Ok(Ok(Message::Failed { message })) => Err(Failure::new(message)),
            Ok(line) => line.map(Some),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(Failure::new("the child ended without a word")),
        }
    }

    /// Kills the child with SIGKILL; what it had said before is still to be read.
    pub fn kill(&mut self) -> Outcome<()> {
        let killed = self.child.kill().and_then(|()| self.child.wait());
        killed.map(drop).map_err(|error| Failure::io("killing the worker", &error))
    }

    /// What a child that is dead had said before, one by one.
    pub fn last_words(&self) -> Option<Outcome<Message>> {
        self.lines.recv().ok()
    }
}

fn listen(output: ChildStdout, sender: &Sender<Outcome<Message>>) {
    for line in BufReader::new(output).lines() {
        let message = match line {
            Ok(line) => Message::from_line(&line).map_err(Failure::new),
            Err(error) => Err(Failure::io("a worker's output", &error)),
        };
        if sender.send(message).is_err() {
            return;
        }
    }
}

/// Set when the user interrupts the program.
#[derive(Clone)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Catches SIGINT and SIGTERM from now on.
    pub fn catch() -> Outcome<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            let caught = signal_hook::flag::register(signal, Arc::clone(&flag));
            caught.map_err(|error| Failure::io("catching signals", &error))?;
        }
        Ok(Self(flag))
    }

    /// An error where the user did.
    pub fn check(&self) -> Outcome<()> {
        // Relaxed: the flag orders nothing.
        match self.0.load(Ordering::Relaxed) {
            true => Err(Failure { code: EXIT_INTERRUPTED, message: "interrupted".to_owned() }),
            false => Ok(()),
        }
    }
}

/// Runs the job through all its crashes.
pub fn run(
    task: &Task,
    plan: Vec<PlannedCrash>,
    record: &mut Record,
    display: &mut Display,
    interrupt: &Interrupt,
) -> Outcome<()> {
    let started = Instant::now();
    let mut plan = plan.into_iter().peekable();
    loop {
        let mut worker = Spoken::spawn("worker", task, &[])?;
        let end = watch(&mut worker, plan.peek().copied(), started, record, display, interrupt);
        let end = end.map_err(|failure| interrupt.check().err().unwrap_or(failure))?;
        match end {
            End::Finished => break,
            End::Killed => {
                plan.next();
                display.crashed(record);
            }
        }
    }
    record.elapsed_ms = milliseconds(started);
    Ok(())
}

/// How a worker's life ended.
enum End {
    Finished,
    Killed,
}

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn watch(
    worker: &mut Spoken,
    planned: Option<PlannedCrash>,
    started: Instant,
    record: &mut Record,
    display: &mut Display,
    interrupt: &Interrupt,
) -> Outcome<End> {
    let mut kill_at: Option<Instant> = None;
    loop {
        interrupt.check()?;
        if kill_at.is_some_and(|at| Instant::now() >= at) {
            worker.kill()?;
            let at_ms = milliseconds(started);
            // What it had said up to its last moment counts.
            while let Ok(Ok(message)) = worker.lines.recv() {
                if message == Message::Finished {
                    return Ok(End::Finished);
                }
                record.take(at_ms, &message)?;
            }
            record.crash(at_ms);
            return Ok(End::Killed);
        }
        let message = worker.next()?;
        let at_ms = milliseconds(started);
        if let Some(memory) = memory::of_process(worker.child.id()) {
            record.sample(at_ms, memory.anon_bytes, memory.file_bytes);
        }
        let Some(message) = message else { continue };
        if message == Message::Finished {
            return Ok(End::Finished);
        }
        record.take(at_ms, &message)?;
        display.progress(record, at_ms);
        if let Some(crash) = planned.filter(|crash| kill_at.is_none() && record.event() >= crash.event) {
            kill_at = Some(Instant::now() + Duration::from_millis(crash.delay_ms));
        }
    }
}

/// Has the store compared with an independent computation, in a process of its own.
pub fn check(task: &Task, scratch: &Path, display: &mut Display, interrupt: &Interrupt) -> Outcome<Comparison> {
    let child = Spoken::spawn("check", task, &[scratch])?;
    display.phase("computing what every state has to hold");
    loop {
        interrupt.check()?;
        match child.next().map_err(|failure| interrupt.check().err().unwrap_or(failure))? {
            Some(Message::Expected) => display.phase("comparing every state"),
            Some(Message::Checked(comparison)) => return Ok(comparison),
            _ => {}
        }
    }
}
