//! `rmw-hot-two-threads`: two threads, each with half of the keys, against one of them alone.

use super::Sizes;
use super::engines::Job;
use super::figures::Figures;
use super::usage;
use crate::backends::{Backend, Cell, Kind, Place};
use crate::harness::generate::{Draw, Op, Random};
use crate::harness::table::plus_one;
use crate::harness::{Outcome, wrong};
use crate::workloads::rmw::ordered_key;
use std::sync::Barrier;
use std::time::Instant;

/// Counters of both halves together.
const KEYS: u64 = 1_000_000;
/// Operations that are made before the clock starts.
const MADE: usize = 500_000;

/// Counters in memory, zipf.
#[derive(Debug)]
pub struct TwoThreads<'a> {
    pub place: Place,
    pub sizes: &'a Sizes,
    pub seed: u64,
}

impl Job for TwoThreads<'_> {
    type Out = Figures;

    fn run<B: Backend>(self) -> Outcome<Figures> {
        let common = B::open_common(&Place { tables: vec![Kind::Value], ..self.place.clone() })?;
        // Both have loaded; the first has run alone; both begin.
        let steps = Barrier::new(2);
        let half = |half: u16| self.half::<B>(&common, half, &steps).map_err(|error| error.to_string());
        let (first, second) = std::thread::scope(|scope| {
            let second = scope.spawn(|| half(1));
            let first = half(0);
            (first, second.join())
        });
        let (alone, first) = first?;
        let (_, second) = second.map_err(|_| "the second thread panicked")??;
        Ok(Figures {
            events_per_s: Some(first + second),
            ops_per_s: Some(first + second),
            one_thread_events_per_s: Some(alone),
            rss_bytes_max: Some(usage::resident_bytes_max()),
            correct: true,
            ..Figures::default()
        })
    }
}

impl TwoThreads<'_> {
    /// Rates of the first half alone (0 for the second one) and of this half beside the other.
    fn half<B: Backend>(&self, common: &B::Common, half: u16, steps: &Barrier) -> Outcome<(f64, f64)> {
        let opened = B::open_half(common, half);
        let first = u64::from(half) * KEYS / 2;
        let draw = Draw::zipf(KEYS / 2);
        let mut random = Random::new(self.seed + u64::from(half));
        let numbers: Vec<u64> = (0..MADE).map(|_| first + draw.next(&mut random)).collect();
        let ops: Vec<Op> = numbers.iter().map(|&i| ordered_key(i, KEYS)).collect();
        // An error must not leave the other one waiting.
        let loaded = opened.and_then(|mut backend| {
            for i in first..first + KEYS / 2 {
                backend.put(0, &Cell::of(ordered_key(i, KEYS)), &[0; 8])?;
            }
            Ok(backend)
        });
        steps.wait();
        let alone = loaded.and_then(|mut backend| {
            let (rate, done) = if half == 0 { self.updates(&mut backend, &ops)? } else { (0.0, 0) };
            Ok((backend, rate, done))
        });
        steps.wait();
        let (mut backend, alone, before) = alone?;
        let (rate, done) = self.updates(&mut backend, &ops)?;
        check(&mut backend, first, &counts(&numbers, first, [before, done]))?;
        backend.close()?;
        Ok((alone, rate))
    }

    fn updates<B: Backend>(&self, backend: &mut B, ops: &[Op]) -> Outcome<(f64, u64)> {
        let started = Instant::now();
        let mut done = 0;
        while started.elapsed() < self.sizes.closed {
            for op in &ops[done as usize % ops.len()..][..1000] {
                backend.update(0, &Cell::of(*op), plus_one)?;
            }
            done += 1000;
        }
        Ok((done as f64 / started.elapsed().as_secs_f64(), done))
    }
}

/// How often each key of the half that begins there was counted, by runs of so many updates that went through these numbers again and again:
/// known from the numbers, so that nothing is noted beside the updates that are timed.
fn counts(numbers: &[u64], first: u64, runs: [u64; 2]) -> Vec<u64> {
    let mut counts = vec![0; KEYS as usize / 2];
    for done in runs {
        let (rounds, rest) = (done / numbers.len() as u64, done % numbers.len() as u64);
        for (&number, at) in numbers.iter().zip(0..) {
            counts[(number - first) as usize] += rounds + u64::from(at < rest);
        }
    }
    counts
}

/// Each counter of the half says what was counted.
fn check<B: Backend>(backend: &mut B, first: u64, counts: &[u64]) -> Outcome {
    for (i, count) in (first..).zip(counts) {
        let found = backend.get(0, &Cell::of(ordered_key(i, KEYS)), |value| value.map(<[u8]>::to_vec))?;
        if found.as_deref() != Some(&count.to_le_bytes()) {
            return wrong(format!("key {i} was counted {count} times, and has {found:?}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_those_of_updates_one_by_one() {
        let (first, numbers) = (KEYS / 2, [3, 0, 3, 7, 1].map(|number| KEYS / 2 + number));
        for runs in [[0, 0], [5, 0], [3, 4], [12, 26]] {
            let mut one_by_one = vec![0; KEYS as usize / 2];
            for done in runs {
                (0..done as usize).for_each(|at| one_by_one[(numbers[at % 5] - first) as usize] += 1);
            }
            assert!(counts(&numbers, first, runs) == one_by_one, "{runs:?}");
        }
    }
}
