//! One run in a process of its own: a run of another can't have warmed or filled anything, and its memory can be limited.

use super::Sizes;
use super::cases::{self, Step};
use super::engines::Engine;
use super::figures::Figures;
use crate::backends::Place;
use crate::harness::Outcome;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What a child is told.
#[derive(Clone, clap::Args, Debug)]
pub struct Arguments {
    #[arg(long)]
    pub engine: Engine,
    #[arg(long)]
    pub case: String,
    #[arg(long)]
    pub step: Step,
    #[arg(long)]
    pub directory: PathBuf,
    #[arg(long)]
    pub budget_bytes: usize,
    #[arg(long)]
    pub seed: u64,
    #[arg(long)]
    pub quick: bool,
    /// The file of the group that limits memory.
    #[arg(long)]
    pub entrance: Option<PathBuf>,
}

/// In the child: runs, and prints what came of it.
pub fn run(arguments: &Arguments) -> Outcome {
    if let Some(entrance) = &arguments.entrance {
        std::fs::write(entrance, std::process::id().to_string())?;
    }
    let place = Place { path: arguments.directory.clone(), budget_bytes: arguments.budget_bytes, tables: Vec::new() };
    let sizes = if arguments.quick { Sizes::QUICK } else { Sizes::FULL };
    let figures = cases::run(&arguments.case, arguments.engine, arguments.step, place, &sizes, arguments.seed)?;
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

/// How a child ended that gave no figures.
#[derive(Debug)]
pub enum Failure {
    /// By itself, with this last line.
    Error(String),
    /// Killed: by the limit of memory, most likely.
    Killed,
    /// It took too long.
    TooLong,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Error(text) => out.write_str(text),
            Self::Killed => out.write_str("killed: out of memory"),
            Self::TooLong => out.write_str("took too long"),
        }
    }
}

/// In the parent: runs a child. The outer error is the parent's.
pub fn spawn(arguments: &Arguments, limit: Duration) -> Outcome<Result<Figures, Failure>> {
    let text = |path: &PathBuf| path.as_os_str().to_owned();
    let mut command = Command::new(std::env::current_exe()?);
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
    if status.code().is_none() {
        return Ok(Err(Failure::Killed));
    }
    match printed.lines().last() {
        Some(line) if status.success() => Ok(Ok(serde_json::from_str(line)?)),
        _ => Ok(Err(Failure::Error(said.lines().last().unwrap_or("no figures").to_owned()))),
    }
}
