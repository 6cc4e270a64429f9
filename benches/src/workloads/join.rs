//! `interval-join`: two streams; an event meets those of the other side in a span of time around its own.
//!
//! As Flink keeps them: for each side and key a map by time. An event that nobody can meet any more is removed by its timer.

use super::{Answers, EVENTS_PER_S, Workload};
use crate::backends::{Backend, Cell, Kind, Span};
use crate::harness::Outcome;
use crate::harness::generate::{Draw, KEY_BYTES, Op, Random, value};
use std::collections::VecDeque;

/// A right event meets left ones from so long before it to so long after.
const BEFORE_MS: u64 = 12_000;
const AFTER_MS: u64 = 18_000;
const VALUE_BYTES: usize = 100;
const WATERMARK_MS: u64 = 100;

/// An event of a side.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    number: u64,
    op: Op,
    time_ms: u64,
    right: bool,
}

/// Time and number: an order without ties.
fn user_key(time_ms: u64, number: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&time_ms.to_be_bytes());
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// The workload.
#[derive(Debug)]
pub struct Join {
    draw: Draw,
    random: Random,
    events: u64,
    made: u64,
    watermark_ms: u64,
    /// Events in the order in which they are removed, for each side.
    kept: [VecDeque<Event>; 2],
}

impl Join {
    pub fn new(keys: u64, events: u64, seed: u64) -> Self {
        let kept = [VecDeque::new(), VecDeque::new()];
        Self { draw: Draw::uniform(keys), random: Random::new(seed), events, made: 0, watermark_ms: 0, kept }
    }

    fn remove<B: Backend>(&mut self, backend: &mut B, watermark_ms: u64, answers: &mut Answers) -> Outcome {
        for (side, kept) in self.kept.iter_mut().enumerate() {
            let needed_ms = if side == 0 { BEFORE_MS } else { AFTER_MS };
            while kept.front().is_some_and(|event| event.time_ms.saturating_add(needed_ms) < watermark_ms) {
                if let Some(event) = kept.pop_front() {
                    answers.did(1);
                    backend.map_delete(side, &Cell::of(event.op), &user_key(event.time_ms, event.number))?;
                }
            }
        }
        Ok(())
    }
}

impl Workload for Join {
    type Event = Event;

    fn tables(&self) -> Vec<Kind> {
        vec![Kind::Map, Kind::Map]
    }

    fn events(&self) -> u64 {
        self.events
    }

    fn generate(&mut self, count: usize, out: &mut Vec<Event>) {
        for _ in 0..count {
            let time_ms = 3_600_000 + self.made * 1000 / EVENTS_PER_S;
            let op = Op::of(self.draw.next(&mut self.random));
            out.push(Event { number: self.made, op, time_ms, right: self.random.below(2) == 1 });
            self.made += 1;
        }
    }

    fn process<B: Backend>(&mut self, backend: &mut B, events: &[Event], answers: &mut Answers) -> Outcome {
        let mut bytes = [0; VALUE_BYTES];
        for event in events {
            let (side, cell) = (usize::from(event.right), Cell::of(event.op));
            value(event.number, 0, &mut bytes);
            backend.map_put(side, &cell, &user_key(event.time_ms, event.number), &bytes)?;
            let (back, ahead) = if event.right { (AFTER_MS, BEFORE_MS) } else { (BEFORE_MS, AFTER_MS) };
            let (from, below) = (user_key(event.time_ms - back, 0), user_key(event.time_ms + ahead + 1, 0));
            let mut met = event.number << 20;
            backend.map_scan(1 - side, &cell, Span { from: &from, below: &below }, |_, value| {
                answers.see(met, Some(value));
                met += 1;
            })?;
            answers.did(2);
            answers.wrote((KEY_BYTES + 16 + VALUE_BYTES) as u64);
            self.kept[side].push_back(*event);
            let watermark_ms = event.time_ms / WATERMARK_MS * WATERMARK_MS;
            if watermark_ms > self.watermark_ms {
                self.watermark_ms = watermark_ms;
                self.remove(backend, watermark_ms, answers)?;
            }
        }
        Ok(())
    }

    fn check<B: Backend>(&mut self, backend: &mut B, answers: &mut Answers) -> Outcome {
        for (side, kept) in self.kept.iter().enumerate() {
            for event in kept.iter().step_by(97) {
                let user_key = user_key(event.time_ms, event.number);
                backend.map_get(side, &Cell::of(event.op), &user_key, |value| answers.see(event.number, value))?;
            }
        }
        Ok(())
    }

    fn live_bytes(&self) -> u64 {
        let kept: usize = self.kept.iter().map(VecDeque::len).sum();
        (kept * (KEY_BYTES + 16 + VALUE_BYTES)) as u64
    }

    fn drain<B: Backend>(&mut self, backend: &mut B, answers: &mut Answers) -> Outcome<bool> {
        self.remove(backend, u64::MAX, answers)?;
        Ok(true)
    }
}
