//! Read-modify-write of values by key: `rmw-hot`, `rmw-cold`, and what `ckpt-stall` and `recover` are measured with.

use super::{Answers, Workload};
use crate::backends::{Backend, Cell, Kind};
use crate::harness::Outcome;
use crate::harness::generate::{Draw, KEY_BYTES, KEY_GROUPS, Op, Random};
use alluvium::KeyGroup;

/// How the state looks and what is done with it.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Keys, all of which are there from the beginning.
    pub keys: u64,
    /// Bytes of a value: 8, a counter, or more.
    pub value_bytes: usize,
    /// Popular keys, or all alike.
    pub zipf: bool,
    /// Events at once.
    pub batch: usize,
    /// Events.
    pub events: u64,
}

/// The workload.
#[derive(Debug)]
pub struct Rmw {
    shape: Shape,
    draw: Draw,
    random: Random,
    done: u64,
    cells: Vec<Cell>,
}

/// The longest value.
const VALUE_BYTES_MAX: usize = 128;

/// A value: a count, and bytes that follow from it and don't compress.
#[derive(Clone, Copy)]
pub struct Value {
    bytes: [u8; VALUE_BYTES_MAX],
    len: usize,
}

impl Value {
    /// The value of a key that was counted so often.
    #[inline]
    pub fn of(key: &Op, count: u64, len: usize) -> Self {
        let mut bytes = [0; VALUE_BYTES_MAX];
        bytes[..8].copy_from_slice(&count.to_le_bytes());
        if len > 8 {
            let seed = key.bytes.last_chunk::<8>().map_or(0, |last| u64::from_le_bytes(*last));
            Random::new(seed ^ count).fill(&mut bytes[8..len]);
        }
        Self { bytes, len }
    }

    /// What follows a value.
    #[inline]
    pub fn after(key: &Op, old: Option<&[u8]>, len: usize) -> Self {
        let count = old.and_then(|old| old.first_chunk::<8>()).map_or(0, |count| u64::from_le_bytes(*count));
        Self::of(key, count + 1, len)
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The `i`-th of `n` keys, in the order of all engines: by key group, then by bytes.
///
/// So that all can be loaded in the order that suits trees, without a table of keys: the first bytes count up, as ids do, the
/// others are random.
pub fn ordered_key(i: u64, n: u64) -> Op {
    let mut op = Op::of(i);
    op.bytes[..6].copy_from_slice(&i.to_be_bytes()[2..]);
    op.group = ordered_group(i, n);
    op
}

fn ordered_group(i: u64, n: u64) -> KeyGroup {
    KeyGroup((u128::from(i) * u128::from(KEY_GROUPS) / u128::from(n)) as u16)
}

/// The key group of the bytes of one of `n` such keys.
pub fn ordered_group_of(key: &[u8], n: u64) -> KeyGroup {
    let mut number = [0; 8];
    number[2..].copy_from_slice(&key[..6]);
    ordered_group(u64::from_be_bytes(number), n)
}

impl Rmw {
    pub fn new(shape: Shape, seed: u64) -> Self {
        let draw = if shape.zipf { Draw::zipf(shape.keys) } else { Draw::uniform(shape.keys) };
        Self { shape, draw, random: Random::new(seed), done: 0, cells: Vec::new() }
    }
}

impl Workload for Rmw {
    type Event = Op;

    fn batch(&self) -> usize {
        self.shape.batch
    }

    fn tables(&self) -> Vec<Kind> {
        vec![Kind::Value]
    }

    fn events(&self) -> u64 {
        self.shape.events
    }

    fn load<B: Backend>(&mut self, backend: &mut B, answers: &mut Answers) -> Outcome {
        for i in 0..self.shape.keys {
            let key = ordered_key(i, self.shape.keys);
            backend.put(0, &Cell::of(key), Value::of(&key, 0, self.shape.value_bytes).as_ref())?;
        }
        answers.wrote(self.live_bytes());
        Ok(())
    }

    fn generate(&mut self, count: usize, out: &mut Vec<Op>) {
        let (draw, random, keys) = (&self.draw, &mut self.random, self.shape.keys);
        out.extend((0..count).map(|_| ordered_key(draw.next(random), keys)));
    }

    #[inline]
    fn process<B: Backend>(&mut self, backend: &mut B, events: &[Op], answers: &mut Answers) -> Outcome {
        let (len, tag) = (self.shape.value_bytes, self.done);
        self.done += events.len() as u64;
        answers.did(events.len() as u64);
        answers.wrote((events.len() * (KEY_BYTES + len)) as u64);
        if let [op] = events {
            return backend.update(0, &Cell::of(*op), |old| {
                answers.see(tag, old);
                Some(Value::after(op, old, len))
            });
        }
        self.cells.clear();
        self.cells.extend(events.iter().map(|op| Cell::of(*op)));
        backend.update_many(0, &self.cells, |index, old| {
            answers.see(tag + index as u64, old);
            Some(Value::after(&events[index], old, len))
        })
    }

    fn check<B: Backend>(&mut self, backend: &mut B, answers: &mut Answers) -> Outcome {
        for i in (0..self.shape.keys).step_by((self.shape.keys / 500).max(1) as usize) {
            let cell = Cell::of(ordered_key(i, self.shape.keys));
            backend.get(0, &cell, |value| answers.see(i, value))?;
        }
        Ok(())
    }

    fn live_bytes(&self) -> u64 {
        self.shape.keys * (KEY_BYTES + self.shape.value_bytes) as u64
    }
}
