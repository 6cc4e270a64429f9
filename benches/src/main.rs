//! The benchmarks of the engine: `cargo run --release -p alluvium-bench -- <bench> [--quick]`.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    alluvium_bench::main()
}
