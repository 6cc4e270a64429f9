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
            events_per_s: first + second,
            ops_per_s: first + second,
            one_thread_events_per_s: Some(alone),
            rss_bytes_max: usage::resident_bytes_max(),
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
        let ops: Vec<Op> = (0..MADE).map(|_| ordered_key(first + draw.next(&mut random), KEYS)).collect();
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
        let mut sum = 0;
        for i in first..first + KEYS / 2 {
            let count = |value: Option<&[u8]>| value?.first_chunk::<8>().map(|count| u64::from_le_bytes(*count));
            sum += backend.get(0, &Cell::of(ordered_key(i, KEYS)), count)?.unwrap_or(0);
        }
        backend.close()?;
        if sum == before + done { Ok((alone, rate)) } else { wrong(format!("{sum} counted of {}", before + done)) }
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
