//! The benchmarks of the engine, and what a crate needs that brings an engine of its own to `compare` (`benches/faster`).
//!
//! One file per bench, one harness (`harness/`). Every bench checks some of what it reads, so that a fast wrong answer
//! doesn't count, and removes the directories that it made.

mod amplification;
mod backends;
mod barrier;
mod big_map;
mod changelog;
mod cold;
mod compare;
mod cursor;
mod flush_bytes;
mod harness;
mod hot;
mod memory;
mod range_delete;
mod recover;
mod repair;
mod report;
mod rollback;
mod transactions;
mod workloads;

/// What some operations of [`Backend`] take.
pub use alluvium::KeyGroup;
pub use backends::{Backend, Cell, Kind, Place, Span, Table};
pub use compare::{Only, child};
pub use harness::generate::Op;
pub use harness::{Outcome, wrong};

use clap::{Parser, Subcommand};
use harness::{Run, Settings};
use std::process::ExitCode;

/// Benchmarks of the alluvium engine; docs/benchmarks.md says what each measures.
#[derive(Parser, Debug)]
#[command(name = "alluvium-bench")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Every workload under every engine.
    Compare(compare::Arguments),
    /// Tables and charts of what `compare` recorded.
    Report(report::Arguments),
    /// One run of `compare`.
    #[command(hide = true)]
    Child(child::Arguments),
    /// Counters in memory, against a hash map.
    Hot(Settings),
    /// What a barrier costs.
    Barrier(Settings),
    /// Bytes that checkpoints write.
    FlushBytes(Settings),
    /// Bytes written and on disk, over those updated and live.
    Amplification(Settings),
    /// From opening to reads.
    Recover(Settings),
    /// Memory against the budget.
    Memory(Settings),
    /// One map of many entries.
    BigMap(Settings),
    /// State that outgrows memory, against the disk.
    Cold(Settings),
    /// Keys and entries by cursor.
    Cursor(Settings),
    /// Commits and aborts.
    Transactions(Settings),
    /// Ranges of a map deleted.
    RangeDelete(Settings),
    /// Key groups and states back to a checkpoint.
    Rollback(Settings),
    /// Bad events taken back.
    Repair(Settings),
    /// Commits that last without a checkpoint.
    Changelog(Settings),
    /// All of these but `compare`.
    All(Settings),
}

type Function = fn(&mut Run) -> Outcome;

const BENCHES: [(&str, Function); 14] = [
    ("hot", hot::run),
    ("barrier", barrier::run),
    ("flush-bytes", flush_bytes::run),
    ("amplification", amplification::run),
    ("recover", recover::run),
    ("memory", memory::run),
    ("big-map", big_map::run),
    ("cold", cold::run),
    ("cursor", cursor::run),
    ("transactions", transactions::run),
    ("range-delete", range_delete::run),
    ("rollback", rollback::run),
    ("repair", repair::run),
    ("changelog", changelog::run),
];

/// The program `alluvium-bench`.
pub fn main() -> ExitCode {
    let (only, settings) = match Arguments::parse().command {
        Command::Compare(arguments) => return exit(compare::run(&arguments)),
        Command::Report(arguments) => return exit(report::run(&arguments)),
        Command::Child(arguments) => return exit(child::run(&arguments, arguments.engine)),
        Command::Hot(settings) => ("hot", settings),
        Command::Barrier(settings) => ("barrier", settings),
        Command::FlushBytes(settings) => ("flush-bytes", settings),
        Command::Amplification(settings) => ("amplification", settings),
        Command::Recover(settings) => ("recover", settings),
        Command::Memory(settings) => ("memory", settings),
        Command::BigMap(settings) => ("big-map", settings),
        Command::Cold(settings) => ("cold", settings),
        Command::Cursor(settings) => ("cursor", settings),
        Command::Transactions(settings) => ("transactions", settings),
        Command::RangeDelete(settings) => ("range-delete", settings),
        Command::Rollback(settings) => ("rollback", settings),
        Command::Repair(settings) => ("repair", settings),
        Command::Changelog(settings) => ("changelog", settings),
        Command::All(settings) => ("", settings),
    };
    let mut worked = true;
    for (name, function) in BENCHES {
        if !only.is_empty() && only != name {
            continue;
        }
        let mut run = Run::new(name, settings.clone());
        let outcome = function(&mut run);
        run.print_table();
        if let Err(error) = outcome {
            eprintln!("{name}: {error}");
            worked = false;
        }
    }
    if worked { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What a program ends with; says what was wrong.
pub fn exit(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
