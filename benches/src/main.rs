//! The benchmarks of the engine: `cargo run --release -p alluvium-bench -- <bench> [--quick]`.
//!
//! One file per bench, one harness (`harness/`). Every bench checks some of what it reads, so that a fast wrong answer
//! doesn't count, and removes the directories that it made.

mod amplification;
mod barrier;
mod big_map;
mod cold;
mod cursor;
mod flush_bytes;
mod harness;
mod hot;
mod memory;
mod range_delete;
mod recover;
mod transactions;

use clap::{Parser, ValueEnum};
use harness::{Outcome, Run, Settings};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Benchmarks of the alluvium engine; docs/benchmarks.md says what each measures.
#[derive(Parser, Debug)]
#[command(name = "alluvium-bench")]
struct Arguments {
    /// Which benchmark.
    bench: Bench,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Debug)]
enum Bench {
    Hot,
    Barrier,
    FlushBytes,
    Amplification,
    Recover,
    Memory,
    BigMap,
    Cold,
    Cursor,
    Transactions,
    RangeDelete,
    All,
}

type Function = fn(&mut Run) -> Outcome;

const BENCHES: [(Bench, &str, Function); 11] = [
    (Bench::Hot, "hot", hot::run),
    (Bench::Barrier, "barrier", barrier::run),
    (Bench::FlushBytes, "flush-bytes", flush_bytes::run),
    (Bench::Amplification, "amplification", amplification::run),
    (Bench::Recover, "recover", recover::run),
    (Bench::Memory, "memory", memory::run),
    (Bench::BigMap, "big-map", big_map::run),
    (Bench::Cold, "cold", cold::run),
    (Bench::Cursor, "cursor", cursor::run),
    (Bench::Transactions, "transactions", transactions::run),
    (Bench::RangeDelete, "range-delete", range_delete::run),
];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut worked = true;
    for (bench, name, function) in BENCHES {
        if arguments.bench != bench && arguments.bench != Bench::All {
            continue;
        }
        let mut run = Run::new(name, arguments.settings.clone());
        let outcome = function(&mut run);
        run.print_table();
        if let Err(error) = outcome {
            eprintln!("{name}: {error}");
            worked = false;
        }
    }
    if worked { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
