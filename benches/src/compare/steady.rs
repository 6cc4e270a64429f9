//! `steady-uniform`: what is written and what is on disk while state beyond memory is written over, the same for all engines: so
//! many updates, and a checkpoint after every so many, however long they take.

use super::engines::Job;
use super::figures::{Figures, LatencyNs};
use super::{Sizes, usage};
use crate::backends::{Backend, Cell, Kind, Place};
use crate::harness::disk::tree_bytes;
use crate::harness::generate::{KEY_BYTES, Op, Random};
use crate::harness::latency::Latency;
use crate::harness::{Outcome, wrong};
use crate::workloads::rmw::{Value, ordered_key};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const VALUE_BYTES: usize = 100;
const RECORD_BYTES: u64 = (KEY_BYTES + VALUE_BYTES) as u64;
/// Updates at once.
const BATCH: usize = 256;
/// Of the run; what counts are those of its second half.
const CHECKPOINTS: u64 = 64;

/// Uniform updates in batches.
#[derive(Debug)]
pub struct Steady<'a> {
    pub place: Place,
    pub sizes: &'a Sizes,
    pub seed: u64,
}

struct Running<B> {
    backend: B,
    keys: u64,
    random: Random,
    /// How often each key was counted: the oracle of every read.
    counts: Vec<u8>,
    latency: Latency,
    spent: Duration,
    path: PathBuf,
    space_bytes_max: u64,
}

impl Job for Steady<'_> {
    type Out = Figures;

    fn run<B: Backend>(self) -> Outcome<Figures> {
        // State in halves of the budget, and how often it is written over in quarters: less would be too few rounds of merges to say what one
        // writes (docs/benchmarks.md).
        let (halves, quarters) = if self.sizes.quick { (1, 1) } else { (16, 8) };
        let keys = self.place.budget_bytes as u64 * halves / 2 / RECORD_BYTES / self.sizes.part;
        let each = keys * quarters / 4 / CHECKPOINTS;
        let path = self.place.path.clone();
        let mut run = Running {
            backend: B::open(&Place { tables: vec![Kind::Value], ..self.place })?,
            keys,
            random: Random::new(self.seed),
            counts: vec![0; keys as usize],
            latency: Latency::new()?,
            spent: Duration::ZERO,
            path,
            space_bytes_max: 0,
        };
        let mut figures = Figures { keys: Some(keys), ..Figures::default() };
        let started = Instant::now();
        run.load()?;
        figures.load_s = Some(started.elapsed().as_secs_f64());
        run.checkpoints(each, CHECKPOINTS / 2)?;
        let before_bytes = usage::written_bytes();
        run.checkpoints(each, CHECKPOINTS / 2)?;
        let written_bytes = usage::written_bytes() - before_bytes;
        figures.written_bytes = Some(written_bytes);
        figures.write_amplification = Some(written_bytes as f64 / (each * CHECKPOINTS / 2 * RECORD_BYTES) as f64);
        let live_bytes = (keys * RECORD_BYTES) as f64;
        figures.space_amplification = Some(tree_bytes(&run.path)? as f64 / live_bytes);
        figures.space_amplification_max = Some(run.space_bytes_max as f64 / live_bytes);
        let events = each * CHECKPOINTS;
        let events_per_s = events as f64 / run.spent.as_secs_f64();
        (figures.events, figures.checkpoints) = (Some(events), Some(CHECKPOINTS));
        (figures.events_per_s, figures.ops_per_s) = (Some(events_per_s), Some(events_per_s * 2.0));
        figures.latency_ns = LatencyNs::of(&run.latency);
        run.check()?;
        figures.rss_bytes_max = Some(usage::resident_bytes_max());
        figures.correct = true;
        run.backend.close()?;
        Ok(figures)
    }
}

impl<B: Backend> Running<B> {
    fn load(&mut self) -> Outcome {
        for i in 0..self.keys {
            let key = ordered_key(i, self.keys);
            self.backend.put(0, &Cell::of(key), Value::of(&key, 0, VALUE_BYTES).as_ref())?;
        }
        self.backend.checkpoint()
    }

    /// So many checkpoints with so many updates before each; the last one is complete in the end.
    fn checkpoints(&mut self, updates: u64, count: u64) -> Outcome {
        for _ in 0..count {
            self.updates(updates)?;
            // All take the same ones: none is left out because the one before takes long.
            self.wait()?;
            self.space_bytes_max = self.space_bytes_max.max(tree_bytes(&self.path)?);
            let started = Instant::now();
            self.backend.begin_checkpoint()?;
            self.spent += started.elapsed();
        }
        self.wait()
    }

    fn wait(&mut self) -> Outcome {
        let started = Instant::now();
        while !self.backend.checkpoint_is_complete()? {
            std::thread::sleep(Duration::from_micros(200));
        }
        self.spent += started.elapsed();
        Ok(())
    }

    fn updates(&mut self, count: u64) -> Outcome {
        let numbers: Vec<u64> = (0..count).map(|_| self.random.below(self.keys)).collect();
        let ops: Vec<Op> = numbers.iter().map(|&i| ordered_key(i, self.keys)).collect();
        let started = Instant::now();
        let mut wrong_one = None;
        for (index, (numbers, ops)) in numbers.chunks(BATCH).zip(ops.chunks(BATCH)).enumerate() {
            let cells: Vec<Cell> = ops.iter().map(|op| Cell::of(*op)).collect();
            let (backend, counts) = (&mut self.backend, &mut self.counts);
            let update = || {
                backend.update_many(0, &cells, |index, old| {
                    let count = &mut counts[numbers[index] as usize];
                    if old != Some(Value::of(&ops[index], u64::from(*count), VALUE_BYTES).as_ref()) {
                        wrong_one = Some(numbers[index]);
                    }
                    *count = count.checked_add(1)?;
                    Some(Value::of(&ops[index], u64::from(*count), VALUE_BYTES))
                })
            };
            self.latency.sample(index, update)?;
        }
        self.spent += started.elapsed();
        match wrong_one {
            Some(i) => wrong(format!("the value of key {i} was wrong when it was updated")),
            None => Ok(()),
        }
    }

    fn check(&mut self) -> Outcome {
        for i in (0..self.keys).step_by(331) {
            let key = ordered_key(i, self.keys);
            let right = Value::of(&key, u64::from(self.counts[i as usize]), VALUE_BYTES);
            if !self.backend.get(0, &Cell::of(key), |value| value == Some(right.as_ref()))? {
                return wrong(format!("the value of key {i} is wrong"));
            }
        }
        Ok(())
    }
}
