//! The runs of `alluvium-bench compare` that FASTER has: the same command line for a child, the same JSON.
//!
//! The allocator is the system's: `faster-rs` frees what C++ has allocated as if it were Rust's own.

mod store;

use alluvium_bench::{Only, child, exit};
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Runs one case with FASTER; `alluvium-bench compare` starts it.
#[derive(Parser, Debug)]
#[command(name = "alluvium-bench-faster")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// One run of `compare`.
    Child(child::Arguments),
}

fn main() -> ExitCode {
    let Command::Child(arguments) = Arguments::parse().command;
    exit(child::run(&arguments, Only::<store::Faster>::default()))
}
