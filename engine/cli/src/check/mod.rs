//! The end of a run: is every state what an independent computation says?
//!
//! It runs in a process of its own, after the measured one has ended. The [`Oracle`] computes what each state has to
//! hold from the input alone and spills it to disk by key group; then everything in the store's last checkpoint is gone
//! through, key group by key group, and compared with it byte for byte: entries that differ, that are missing and that
//! shouldn't be there. One entry in 64 is also read by its key.

pub mod compare;
pub mod process;
pub mod row;
mod spill;
#[cfg(test)]
mod tests;

use std::path::Path;

use compare::{Comparison, Source};
use spill::Spill;

use crate::failure::{Failure, Outcome};
use crate::input::Replay;
use crate::oracle::Oracle;

/// Computes what is expected and spills it into `directory`, on as many threads as there are periods and processors;
/// returns the number of writers.
pub fn expect(replay: &Replay, periods: u16, directory: &Path) -> Outcome<usize> {
    let oracle = Oracle::new(replay, periods);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(usize::from(periods));
    let work = |writer: usize| -> Outcome<()> {
        let mut spill = Spill::create(directory, writer)?;
        for period in (0..periods).skip(writer).step_by(threads) {
            oracle.period(period, &mut |row| spill.add(&row));
        }
        if writer == 0 {
            oracle.all_periods(&mut |row| spill.add(&row));
        }
        spill.finish()
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|writer| scope.spawn(move || work(writer))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Outcome<()>>| {
            thread.join().unwrap_or_else(|_| Err(Failure::new("the batch panicked")))
        };
        running.into_iter().try_for_each(join)
    })?;
    Ok(threads)
}

/// Compares everything in `source` with what [`expect`] spilled.
pub fn check(source: &mut impl Source, directory: &Path, writers: usize) -> Outcome<Comparison> {
    compare::compare(source, directory, writers)
}
