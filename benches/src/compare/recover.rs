//! `recover`: from a killed process to the first read, the next 100,000, and the throughput of before.

use super::Sizes;
use super::engines::Job;
use super::figures::Figures;
use super::usage;
use crate::backends::{Backend, Cell, Kind, Place};
use crate::harness::generate::{Draw, Random};
use crate::harness::{Outcome, wrong};
use crate::workloads::rmw::{Value, ordered_key};
use std::time::{Duration, Instant};

const VALUE_BYTES: usize = 100;
const READS: usize = 100_000;
/// Reads at once, where an engine has such.
const BATCH: usize = 256;

/// Fills a store, makes a checkpoint, writes more, and dies.
#[derive(Debug)]
pub struct Prepare {
    pub place: Place,
    pub keys: u64,
}

impl Job for Prepare {
    type Out = Figures;

    fn run<B: Backend>(self) -> Outcome<Figures> {
        let keys = self.keys;
        let mut backend = B::open(&Place { tables: vec![Kind::Value], ..self.place })?;
        for i in 0..keys {
            let key = ordered_key(i, keys);
            backend.put(0, &Cell::of(key), Value::of(&key, 7, VALUE_BYTES).as_ref())?;
        }
        backend.checkpoint()?;
        // Nothing of what follows has to be there again, but may be: it is as right.
        for i in (0..keys).step_by(50) {
            let key = ordered_key(i, keys);
            backend.put(0, &Cell::of(key), Value::of(&key, 8, VALUE_BYTES).as_ref())?;
        }
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)?;
        wrong("killed, and still here")
    }
}

/// Opens it again. The page cache was dropped.
#[derive(Debug)]
pub struct Recover<'a> {
    pub place: Place,
    pub sizes: &'a Sizes,
    pub seed: u64,
    pub keys: u64,
}

impl Job for Recover<'_> {
    type Out = Figures;

    fn run<B: Backend>(self) -> Outcome<Figures> {
        let keys = self.keys;
        let mut random = Random::new(self.seed);
        let started = Instant::now();
        let mut backend = B::open(&Place { tables: vec![Kind::Value], ..self.place.clone() })?;
        read(&mut backend, &[random.below(keys)], keys)?;
        let mut figures = Figures { keys: Some(keys), recovery_first_read_ms: Some(ms(started)), ..Figures::default() };
        let numbers: Vec<u64> = (0..READS).map(|_| random.below(keys)).collect();
        let started = Instant::now();
        for batch in numbers.chunks(BATCH) {
            read(&mut backend, batch, keys)?;
        }
        figures.next_100k_reads_ms = Some(ms(started));
        self.warm_up(&mut backend, &mut figures)?;
        figures.rss_bytes_max = usage::resident_bytes_max();
        figures.correct = true;
        backend.close()?;
        Ok(figures)
    }
}

impl Recover<'_> {
    /// Zipf updates: how long until a tenth of a second has nine tenths of what they come to.
    fn warm_up<B: Backend>(&self, backend: &mut B, figures: &mut Figures) -> Outcome {
        const BUCKET: Duration = Duration::from_millis(100);
        let keys = self.keys;
        let (draw, mut random) = (Draw::zipf(keys), Random::new(self.seed + 1));
        let mut buckets = Vec::new();
        let started = Instant::now();
        let mut done = 0_u64;
        while started.elapsed() < self.sizes.closed {
            for _ in 0..64 {
                let key = ordered_key(draw.next(&mut random), keys);
                backend.update(0, &Cell::of(key), |old| Some(Value::after(&key, old, VALUE_BYTES)))?;
            }
            done += 64;
            if started.elapsed() >= BUCKET * (buckets.len() as u32 + 1) {
                buckets.push(done);
                done = 0;
            }
        }
        let last = &buckets[buckets.len() * 4 / 5..];
        let level = last.iter().sum::<u64>() as f64 / last.len().max(1) as f64;
        let reached = buckets.iter().position(|&bucket| bucket as f64 >= 0.9 * level);
        figures.to_90_percent_ms = reached.map(|index| (index as f64 + 1.0) * 100.0);
        figures.events = buckets.iter().sum();
        figures.events_per_s = level * 10.0;
        figures.ops_per_s = figures.events_per_s * 2.0;
        Ok(())
    }
}

fn ms(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1e3
}

/// Reads keys, which must have one of the values that they were given.
fn read<B: Backend>(backend: &mut B, numbers: &[u64], keys: u64) -> Outcome {
    let cells: Vec<Cell> = numbers.iter().map(|&i| Cell::of(ordered_key(i, keys))).collect();
    let mut wrong_one = None;
    backend.get_many(0, &cells, |index, value| {
        let is = |count| value == Some(Value::of(&cells[index].op, count, VALUE_BYTES).as_ref());
        if !(is(7) || numbers[index].is_multiple_of(50) && is(8)) {
            wrong_one = Some(numbers[index]);
        }
    })?;
    match wrong_one {
        Some(i) => wrong(format!("the value of key {i} is wrong")),
        None => Ok(()),
    }
}
