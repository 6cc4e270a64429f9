//! `rescale`: a store becomes two with half of the key groups each, and these become one again.

use super::engines::Job;
use super::figures::{Figures, Rescaled};
use super::{Sizes, usage};
use crate::backends::{Backend, Cell, Kind, Place, Source};
use crate::harness::disk::drop_cache;
use crate::harness::generate::{KEY_GROUPS, Random};
use crate::harness::{Outcome, wrong};
use crate::workloads::rmw::{Value, ordered_group_of, ordered_key};
use alluvium::KeyGroupRange;
use std::ops::Range;
use std::time::Instant;

const VALUE_BYTES: usize = 100;
const UPDATES: u64 = 100_000;
/// Updates at once.
const BATCH: u64 = 256;

/// From a checkpoint, with an empty page cache, to the next updates.
#[derive(Debug)]
pub struct Rescale<'a> {
    pub place: Place,
    pub sizes: &'a Sizes,
    pub seed: u64,
}

/// A store, and the numbers of the keys that it has to have.
struct Part<B> {
    store: B,
    place: Place,
    numbers: Range<u64>,
}

struct Running {
    place: Place,
    keys: u64,
    random: Random,
    /// How often each key was counted: the oracle.
    counts: Vec<u8>,
}

impl Job for Rescale<'_> {
    type Out = Figures;

    fn run<B: Backend>(self) -> Outcome<Figures> {
        // As many for each of two.
        let keys = 2 * (if self.sizes.quick { 250_000 } else { 2_500_000 } / self.sizes.part);
        let place = Place { tables: vec![Kind::Value], ..self.place };
        let mut run = Running { place, keys, random: Random::new(self.seed), counts: vec![0; keys as usize] };
        let mut figures = Figures { keys: Some(keys), ..Figures::default() };
        let started = Instant::now();
        let whole = run.load::<B>()?;
        figures.load_s = Some(started.elapsed().as_secs_f64());
        let (halves, split) = run.rescale(vec![whole], "half", 2)?;
        let halves = run.check_all(halves)?;
        let (again, joined) = run.rescale(halves, "again", 1)?;
        for source in run.check_all(again)? {
            if let Source::Memory(store) = source {
                store.close()?;
            }
        }
        let events_per_s = (2 * UPDATES) as f64 * 1e3 / (split.next_100k_updates_ms + joined.next_100k_updates_ms);
        figures.events = Some(2 * UPDATES);
        (figures.events_per_s, figures.ops_per_s) = (Some(events_per_s), Some(events_per_s * 2.0));
        (figures.split, figures.joined) = (Some(split), Some(joined));
        figures.rss_bytes_max = Some(usage::resident_bytes_max());
        figures.correct = true;
        Ok(figures)
    }
}

impl Running {
    /// A new directory, with one part in so many of the memory.
    fn directory(&self, name: &str, parts: u64) -> Outcome<Place> {
        let path = self.place.path.join(name);
        std::fs::create_dir(&path)?;
        Ok(Place { path, budget_bytes: self.place.budget_bytes / parts as usize, tables: self.place.tables.clone() })
    }

    fn load<B: Backend>(&self) -> Outcome<Source<B>> {
        let place = self.directory("whole", 1)?;
        let mut store = B::open(&place)?;
        for i in 0..self.keys {
            let key = ordered_key(i, self.keys);
            store.put(0, &Cell::of(key), Value::of(&key, 0, VALUE_BYTES).as_ref())?;
        }
        store.checkpoint()?;
        store.into_source(&place)
    }

    fn rescale<B: Backend>(
        &mut self,
        sources: Vec<Source<B>>,
        name: &str,
        count: u64,
    ) -> Outcome<(Vec<Part<B>>, Rescaled)> {
        let groups = KEY_GROUPS as u16 / count as u16;
        let mut to = Vec::new();
        for part in 0..count as u16 {
            let range = KeyGroupRange::new(part * groups, (part + 1) * groups - 1);
            to.push((self.directory(&format!("{name}-{part}"), count)?, range));
        }
        drop_cache(&self.place.path)?;
        let (keys, before_bytes) = (self.keys, usage::written_bytes());
        let mut rescaled = Rescaled::default();
        let started = Instant::now();
        let stores = B::rescale(sources, &to, |key| ordered_group_of(key, keys))?;
        let mut parts = Vec::new();
        for (number, (store, (place, _))) in (0..).zip(stores.into_iter().zip(to)) {
            let numbers = number * keys / count..(number + 1) * keys / count;
            parts.push(Part { store, place, numbers });
        }
        for part in &mut parts {
            let i = part.numbers.start + self.random.below(keys / count);
            self.check_one(&mut part.store, i)?;
        }
        rescaled.open_ms = started.elapsed().as_secs_f64() * 1e3;
        rescaled.next_100k_updates_ms = self.updates(&mut parts)?;
        rescaled.written_bytes = usage::written_bytes() - before_bytes;
        Ok((parts, rescaled))
    }

    /// Uniform updates, batch by batch of one store after the other; gives how many ms they took.
    fn updates<B: Backend>(&mut self, parts: &mut [Part<B>]) -> Outcome<f64> {
        let keys = self.keys;
        let mut draw = |numbers: &Range<u64>| numbers.start + self.random.below(numbers.end - numbers.start);
        let batches: Vec<(Vec<u64>, Vec<Cell>)> = (0..UPDATES.div_ceil(BATCH))
            .map(|batch| {
                let numbers = &parts[batch as usize % parts.len()].numbers;
                let drawn = (0..BATCH.min(UPDATES - batch * BATCH)).map(|_| draw(numbers));
                drawn.map(|i| (i, Cell::of(ordered_key(i, keys)))).unzip()
            })
            .collect();
        let started = Instant::now();
        let mut wrong_one = None;
        for (batch, (numbers, cells)) in batches.iter().enumerate() {
            let count = parts.len();
            parts[batch % count].store.update_many(0, cells, |index, old| {
                let (op, count) = (&cells[index].op, &mut self.counts[numbers[index] as usize]);
                if old != Some(Value::of(op, u64::from(*count), VALUE_BYTES).as_ref()) {
                    wrong_one = Some(numbers[index]);
                }
                *count = count.checked_add(1)?;
                Some(Value::of(op, u64::from(*count), VALUE_BYTES))
            })?;
        }
        let ms = started.elapsed().as_secs_f64() * 1e3;
        match wrong_one {
            Some(i) => wrong(format!("the value of key {i} was wrong when it was updated")),
            None => Ok(ms),
        }
    }

    fn check_one<B: Backend>(&self, store: &mut B, i: u64) -> Outcome {
        let key = ordered_key(i, self.keys);
        let right = Value::of(&key, u64::from(self.counts[i as usize]), VALUE_BYTES);
        if store.get(0, &Cell::of(key), |value| value == Some(right.as_ref()))? {
            return Ok(());
        }
        wrong(format!("the value of key {i} is wrong"))
    }

    /// Each store has the keys of its key groups, and as many, so no other; in the end it is something that others can be made of.
    fn check_all<B: Backend>(&self, parts: Vec<Part<B>>) -> Outcome<Vec<Source<B>>> {
        let mut sources = Vec::new();
        for Part { mut store, place, numbers } in parts {
            for i in numbers.clone().step_by(331) {
                self.check_one(&mut store, i)?;
            }
            let (count, wanted) = (store.count(0)?, numbers.end - numbers.start);
            if count != wanted {
                return wrong(format!("a store has {count} keys instead of {wanted}"));
            }
            store.checkpoint()?;
            sources.push(store.into_source(&place)?);
        }
        Ok(sources)
    }
}
