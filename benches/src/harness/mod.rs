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

/// The middle one of some figures, or the mean of the two in the middle; 0 of none.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => 0.0,
        len => f64::midpoint(figures[(len - 1) / 2], figures[len / 2]),
    }
}

/// An error that says what was wrong.
pub fn wrong<T>(what: impl Into<String>) -> Outcome<T> {
    Err(what.into().into())
}

#[cfg(test)]
mod tests {
    #[test]
    fn medians() {
        for (figures, wanted) in [(vec![], 0.0), (vec![7.0], 7.0), (vec![4.0, 1.0], 2.5), (vec![3.0, 9.0, 1.0], 3.0)] {
            assert_eq!(super::median(figures), wanted);
        }
    }
}
