//! What the benches share: one run's settings and results, seeded generators, stores, sampled latencies, the process.

pub mod disk;
pub mod generate;
pub mod latency;
pub mod process;
mod report;
pub mod table;

pub use report::{Run, Settings, Target};

/// How a bench, or a step of it, ends.
pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// The middle one of some figures, 0 of none.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(0.0)
}

/// An error that says what was wrong.
pub fn wrong<T>(what: impl Into<String>) -> Outcome<T> {
    Err(what.into().into())
}
