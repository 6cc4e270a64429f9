//! The check's process.

use std::path::Path;

use crate::engine_store;
use crate::failure::{Failure, Outcome};
use crate::input::Replay;
use crate::run::message::Message;
use crate::run::worker::{Task, send};

/// Computes what is expected into `expected`, compares the store with it, and reports to the parent.
pub fn run(task: &Task, expected: &Path) -> Outcome<()> {
    let replay = Replay::open(task.input.as_deref()).map_err(Failure::usage)?;
    let writers = super::expect(&replay, task.periods, expected)?;
    send(&Message::Expected)?;
    let opened = engine_store::open(&task.directory, task.memory_bytes, task.threads)?;
    let mut contents = opened.contents()?;
    let comparison = super::check(&mut contents, expected, writers)?;
    drop(contents);
    opened.close()?;
    send(&Message::Checked(comparison))
}
