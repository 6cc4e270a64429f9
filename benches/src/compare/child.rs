//! One run in a process of its own: a run of another can't have warmed or filled anything, and its memory can be limited.

use super::Sizes;
use super::cap;
use super::cases::{self, Step};
use super::engines::{Engine, Runner};
use super::figures::Figures;
use crate::backends::Place;
use crate::harness::Outcome;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What a child is told.
#[derive(Clone, clap::Args, Debug)]
pub struct Arguments {
    /// The engine.
    #[arg(long)]
    pub engine: Engine,
    /// The workload.
    #[arg(long)]
    pub case: String,
    /// What is done with it.
    #[arg(long)]
    pub step: Step,
    /// The engine's own.
    #[arg(long)]
    pub directory: PathBuf,
    /// The engine's memory.
    #[arg(long)]
    pub budget_bytes: usize,
    /// The seed of everything random.
    #[arg(long)]
    pub seed: u64,
    /// Small states and short loops.
    #[arg(long)]
    pub quick: bool,
    /// The file of the group that limits memory.
    #[arg(long)]
    pub entrance: Option<PathBuf>,
}

/// In the child: runs with the engine that is meant, and prints what came of it.
pub fn run<R: Runner>(arguments: &Arguments, runner: R) -> Outcome {
    if let Some(entrance) = &arguments.entrance {
        std::fs::write(entrance, std::process::id().to_string())?;
    }
    let place = Place { path: arguments.directory.clone(), budget_bytes: arguments.budget_bytes, tables: Vec::new() };
    let sizes = if arguments.quick { Sizes::QUICK } else { Sizes::FULL };
    let figures = cases::run(&arguments.case, runner, arguments.step, place, &sizes, arguments.seed)?;
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

/// How a child ended that gave no figures.
#[derive(Debug)]
pub enum Failure {
    /// By itself, with this last line.
    Error(String),
    /// Killed (`SIGKILL`), by itself or by the limit of memory.
    Killed {
        /// Whether the limit did it.
        out_of_memory: bool,
    },
    /// Ended by another signal.
    Signal(i32),
    /// It took too long.
    TooLong,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Error(text) => out.write_str(text),
            Self::Killed { out_of_memory: true } => out.write_str("killed: out of memory"),
            Self::Killed { out_of_memory: false } => out.write_str("killed"),
            Self::Signal(number) => write!(out, "ended by signal {number}"),
            Self::TooLong => out.write_str("took too long"),
        }
    }
}

/// In the parent: runs a child, of a program that has its engine. The outer error is the parent's.
pub fn spawn(program: &Path, arguments: &Arguments, limit: Duration) -> Outcome<Result<Figures, Failure>> {
    let text = |path: &PathBuf| path.as_os_str().to_owned();
    let mut command = Command::new(program);
    command.arg("child").args(["--engine", &arguments.engine.name(), "--case", &arguments.case]);
    let step = clap::ValueEnum::to_possible_value(&arguments.step).map_or("", |value| match value.get_name() {
        "oracle" => "oracle",
        "prepare" => "prepare",
        _ => "measure",
    });
    command.args(["--step", step, "--seed", &arguments.seed.to_string()]);
    command.args(["--budget-bytes", &arguments.budget_bytes.to_string()]);
    command.arg("--directory").arg(text(&arguments.directory));
    if arguments.quick {
        command.arg("--quick");
    }
    if let Some(entrance) = &arguments.entrance {
        command.arg("--entrance").arg(text(entrance));
    }
    let output = arguments.directory.with_extension("out");
    let errors = arguments.directory.with_extension("err");
    command.stdout(std::fs::File::create(&output)?).stderr(std::fs::File::create(&errors)?).stdin(Stdio::null());
    let kills_before = arguments.entrance.as_deref().map_or(0, cap::kills);
    let mut child = command.spawn()?;
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if started.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Ok(Err(Failure::TooLong));
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let (printed, said) = (std::fs::read_to_string(&output)?, std::fs::read_to_string(&errors)?);
    std::fs::remove_file(output)?;
    std::fs::remove_file(errors)?;
    const SIGKILL: i32 = 9;
    match status.signal() {
        // One that isn't limited has the machine's memory, and what kills it then isn't known.
        Some(SIGKILL) => {
            let out_of_memory =
                arguments.entrance.as_deref().is_some_and(|entrance| cap::kills(entrance) != kills_before);
            return Ok(Err(Failure::Killed { out_of_memory }));
        }
        Some(number) => return Ok(Err(Failure::Signal(number))),
        None => {}
    }
    match printed.lines().last() {
        Some(line) if status.success() => Ok(Ok(Figures::parse(line)?)),
        _ => Ok(Err(Failure::Error(said.lines().last().unwrap_or("no figures").to_owned()))),
    }
}
