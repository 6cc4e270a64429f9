//! The `alluvium` program: `run` a stream job on the engine and check what came of it; `inspect`, `verify` and
//! `stats` look at a store's directory.
//!
//! One run is several processes. The parent (`run`) draws, kills and reports; workers (`run::worker`) run the job
//! (`job`) on the input (`input`) with all its state in the engine (`engine_store`); the check (`check`) compares the
//! last checkpoint with an independent computation (`oracle`). With poison (`poison`) the run repairs itself. `directory` is what looks at a store from outside.
#![cfg_attr(test, expect(clippy::unwrap_used, reason = "tests may panic"))]

mod args;
mod check;
mod directory;
mod engine_store;
mod failure;
mod format;
mod job;
mod meter;
mod oracle;
mod poison;
mod report;
mod run;

use std::process::ExitCode;

use alluvium_cli::input;
use clap::Parser;

use args::{Arguments, Command};
use failure::{Failure, Outcome};
use run::message::Message;
use run::worker::Task;

fn main() -> ExitCode {
    match dispatch(Arguments::parse().command) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprintln!("alluvium: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}

fn dispatch(command: Command) -> Outcome<u8> {
    match command {
        Command::Run(arguments) if arguments.poison > 0 => poison::run(&arguments),
        Command::Run(arguments) => run::run(&arguments),
        Command::Inspect(arguments) => directory::inspect(&arguments),
        Command::Verify(arguments) => directory::verify(&arguments),
        Command::Stats(arguments) => directory::stats(&arguments),
        Command::Poisoned(arguments) => child(task_of(&arguments.task).and_then(|task| poison::life::run(&task))),
        Command::Worker(arguments) => child(task_of(&arguments.task).and_then(|task: Task| run::worker::run(&task))),
        Command::Check(arguments) => {
            child(task_of(&arguments.task).and_then(|task: Task| check::process::run(&task, &arguments.scratch)))
        }
    }
}

fn task_of<T: serde::de::DeserializeOwned>(text: &str) -> Outcome<T> {
    serde_json::from_str(text).map_err(Failure::usage)
}

/// A child process tells its parent why it fails; its own exit code is for those who start it by hand.
fn child(outcome: Outcome<()>) -> Outcome<u8> {
    if let Err(failure) = &outcome {
        // The parent may be gone; then nobody is there to be told.
        let _ = run::worker::send(&Message::Failed { message: failure.message.clone() });
        return Ok(failure.code);
    }
    outcome.map(|()| 0)
}
