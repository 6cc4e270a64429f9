//! `recover`: from a killed process to the first read, the next 100,000, and the throughput of before.

use super::Sizes;
use super::engines::Job;
use super::figures::Figures;
use super::usage;
use crate::backends::{Backend, Cell, Kind, Place};
use crate::harness::generate::{Draw, Op, Random};
use crate::harness::{Outcome, wrong};
use crate::workloads::rmw::{Value, ordered_key};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const VALUE_BYTES: usize = 100;
const READS: usize = 100_000;
/// Reads at once, where an engine has such.
const BATCH: usize = 256;
/// Updates that are made before the clock starts.
const MADE: usize = 64;
/// What all keys are loaded with.
const LOADED: u64 = 7;
/// What some are given after the checkpoint: more than any is counted to.
const LATER: u64 = 1 << 40;
/// Those: one key in so many.
const EVERY: u64 = 50;
/// How finely the throughput is looked at.
const BUCKET: Duration = Duration::from_millis(100);

/// What the process that dies leaves beside its store.
#[derive(Serialize, Deserialize)]
struct Before {
    /// So many of the seed's updates are in the checkpoint.
    updates: u64,
    /// What they came to in the end.
    updates_per_s: f64,
}

impl Before {
    fn path(place: &Place) -> PathBuf {
        place.path.with_extension("before")
    }

    fn of(place: &Place) -> Outcome<Self> {
        Ok(serde_json::from_slice(&std::fs::read(Self::path(place))?)?)
    }
}

/// How often each key was updated, in a byte for most: the process has a limit.
struct Counts {
    small: Vec<u8>,
    /// Of those that were updated more often.
    large: HashMap<u64, u64>,
}

impl Counts {
    fn add(&mut self, i: u64) {
        match self.small[i as usize].checked_add(1) {
            Some(count) => self.small[i as usize] = count,
            None => *self.large.entry(i).or_insert(u64::from(u8::MAX)) += 1,
        }
    }

    fn of(&self, i: u64) -> u64 {
        match self.small[i as usize] {
            u8::MAX => self.large.get(&i).copied().unwrap_or(u64::from(u8::MAX)),
            small => u64::from(small),
        }
    }
}

/// Zipf updates, and how often each key had one.
struct Updates {
    keys: u64,
    draw: Draw,
    random: Random,
    counts: Counts,
}

impl Updates {
    fn new(keys: u64, seed: u64) -> Self {
        let counts = Counts { small: vec![0; keys as usize], large: HashMap::new() };
        Self { keys, draw: Draw::zipf(keys), random: Random::new(seed), counts }
    }

    /// The next key that is to be updated.
    fn draw(&mut self) -> Op {
        let i = self.draw.next(&mut self.random);
        self.counts.add(i);
        ordered_key(i, self.keys)
    }

    /// Updates for so long, or longer while there is `more`. Gives how many each tenth of a second had.
    fn run<B: Backend>(
        &mut self,
        backend: &mut B,
        least: Duration,
        more: impl Fn(&[u64]) -> bool,
    ) -> Outcome<Vec<u64>> {
        let (mut buckets, mut done, mut spent) = (Vec::new(), 0, Duration::ZERO);
        let mut ops = Vec::with_capacity(MADE);
        while spent < least || more(&buckets) {
            ops.clear();
            ops.extend((0..MADE).map(|_| self.draw()));
            let started = Instant::now();
            for key in &ops {
                backend.update(0, &Cell::of(*key), |old| Some(Value::after(key, old, VALUE_BYTES)))?;
            }
            spent += started.elapsed();
            done += MADE as u64;
            if spent >= BUCKET * (buckets.len() as u32 + 1) {
                buckets.push(done);
                done = 0;
            }
        }
        if let Some(last) = buckets.last_mut() {
            *last += done;
        }
        Ok(buckets)
    }
}

/// Updates a second in the last fifth of these.
fn level(buckets: &[u64]) -> f64 {
    let last = &buckets[buckets.len() * 4 / 5..];
    last.iter().sum::<u64>() as f64 / last.len().max(1) as f64 / BUCKET.as_secs_f64()
}

/// Fills a store, updates it for a while, makes a checkpoint, writes more, and dies.
#[derive(Debug)]
pub struct Prepare<'a> {
    pub place: Place,
    pub sizes: &'a Sizes,
    pub seed: u64,
    pub keys: u64,
    pub die: fn() -> Outcome,
}

impl Job for Prepare<'_> {
    type Out = Figures;

    fn run<B: Backend>(self) -> Outcome<Figures> {
        let keys = self.keys;
        let mut backend = B::open(&Place { tables: vec![Kind::Value], ..self.place.clone() })?;
        for i in 0..keys {
            let key = ordered_key(i, keys);
            backend.put(0, &Cell::of(key), Value::of(&key, LOADED, VALUE_BYTES).as_ref())?;
        }
        let buckets = Updates::new(keys, self.seed).run(&mut backend, self.sizes.closed, |_| false)?;
        backend.checkpoint()?;
        let before = Before { updates: buckets.iter().sum(), updates_per_s: level(&buckets) };
        std::fs::write(Before::path(&self.place), serde_json::to_vec(&before)?)?;
        // Nothing of what follows has to be there again, but may be: it is as right.
        for i in (0..keys).step_by(EVERY as usize) {
            let key = ordered_key(i, keys);
            backend.put(0, &Cell::of(key), Value::of(&key, LATER, VALUE_BYTES).as_ref())?;
        }
        (self.die)()?;
        backend.close()?;
        Ok(Figures::default())
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
        let before = Before::of(&self.place)?;
        let mut updates = Updates::new(keys, self.seed);
        for _ in 0..before.updates {
            updates.draw();
        }
        let state = State { keys, before: (0..keys).step_by(EVERY as usize).map(|i| updates.counts.of(i)).collect() };
        let mut random = Random::new(self.seed + 1);
        let (numbers, ops) = state.choose((0..READS).map(|_| random.below(keys)));
        let (first, first_op) = state.choose(std::iter::once(random.below(keys)));

        let started = Instant::now();
        let mut backend = B::open(&Place { tables: vec![Kind::Value], ..self.place.clone() })?;
        state.read(&mut backend, &first, &first_op, &updates.counts)?;
        let mut figures = Figures { keys: Some(keys), recovery_first_read_ms: Some(ms(started)), ..Figures::default() };
        let started = Instant::now();
        for (numbers, ops) in numbers.chunks(BATCH).zip(ops.chunks(BATCH)) {
            state.read(&mut backend, numbers, ops, &updates.counts)?;
        }
        figures.next_100k_reads_ms = Some(ms(started));
        self.warm_up(&mut backend, &mut updates, before.updates_per_s, &mut figures)?;
        let (numbers, ops) = state.choose((0..keys).step_by(331));
        state.read(&mut backend, &numbers, &ops, &updates.counts)?;
        figures.rss_bytes_max = Some(usage::resident_bytes_max());
        figures.correct = true;
        backend.close()?;
        Ok(figures)
    }
}

impl Recover<'_> {
    /// Goes on with the updates: how long until a tenth of a second has nine tenths of what they came to before.
    fn warm_up<B: Backend>(
        &self,
        backend: &mut B,
        updates: &mut Updates,
        before_per_s: f64,
        figures: &mut Figures,
    ) -> Outcome {
        let is_enough = |bucket: &u64| *bucket as f64 / BUCKET.as_secs_f64() >= 0.9 * before_per_s;
        let most = 4 * (self.sizes.closed.as_millis() / BUCKET.as_millis()) as usize;
        let buckets = updates
            .run(backend, self.sizes.closed, |buckets| buckets.len() < most && !buckets.iter().any(is_enough))?;
        let reached = buckets.iter().position(is_enough);
        figures.to_90_percent_ms = reached.map(|index| (index as f64 + 1.0) * BUCKET.as_secs_f64() * 1e3);
        figures.before_events_per_s = Some(before_per_s);
        figures.events = Some(buckets.iter().sum());
        figures.events_per_s = Some(level(&buckets));
        figures.ops_per_s = Some(level(&buckets) * 2.0);
        Ok(())
    }
}

fn ms(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1e3
}

/// What is to be there.
struct State {
    keys: u64,
    /// How often those keys that were written after the checkpoint had been updated before it.
    before: Vec<u64>,
}

impl State {
    /// Keys by their numbers.
    fn choose(&self, numbers: impl Iterator<Item = u64>) -> (Vec<u64>, Vec<Op>) {
        let numbers: Vec<u64> = numbers.collect();
        let ops = numbers.iter().map(|&i| ordered_key(i, self.keys)).collect();
        (numbers, ops)
    }

    /// Reads keys that by now were updated so often: from what the checkpoint has, or from what came after it.
    fn read<B: Backend>(&self, backend: &mut B, numbers: &[u64], ops: &[Op], counts: &Counts) -> Outcome {
        let cells: Vec<Cell> = ops.iter().map(|op| Cell::of(*op)).collect();
        let mut wrong_one = None;
        backend.get_many(0, &cells, |index, value| {
            let i = numbers[index];
            let count = counts.of(i);
            let is = |count| value == Some(Value::of(&ops[index], count, VALUE_BYTES).as_ref());
            let is_later = || i.is_multiple_of(EVERY) && is(LATER + count - self.before[(i / EVERY) as usize]);
            if !(is(LOADED + count) || is_later()) {
                wrong_one = Some(i);
            }
        })?;
        match wrong_one {
            Some(i) => wrong(format!("the value of key {i} is wrong")),
            None => Ok(()),
        }
    }
}
