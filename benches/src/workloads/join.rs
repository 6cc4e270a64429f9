//! `interval-join`: two streams; an event meets those of the other side in a span of time around its own.
//!
//! As Flink keeps them: for each side and key a map by time. An event that nobody can meet any more is removed by its timer.

use super::removed::Removed;
use super::timed::{Event, Late, Timed, Watermark};
use super::{Answers, Workload};
use crate::backends::{Backend, Cell, Kind, Span};
use crate::harness::generate::{Draw, KEY_BYTES, value};
use crate::harness::{Outcome, wrong};
use std::collections::VecDeque;

/// A right event meets left ones from so long before it to so long after.
const BEFORE_MS: u64 = 12_000;
const AFTER_MS: u64 = 18_000;
const VALUE_BYTES: usize = 100;
const LATE: Late = Late { one_in: 1, ms: 0 };

/// How long an event of a side is kept.
fn needed_ms(side: usize) -> u64 {
    if side == 0 { BEFORE_MS } else { AFTER_MS }
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
    timed: Timed,
    watermark: Watermark,
    events: u64,
    /// Events that the operator is given at once.
    batch: usize,
    /// Events in the order in which they are removed, for each side.
    kept: [VecDeque<Event>; 2],
    removed: [Removed<Event>; 2],
    /// The cells of a batch.
    cells: Vec<Cell>,
}

impl Join {
    pub fn new(keys: u64, events: u64, batch: usize, seed: u64) -> Self {
        let kept = [VecDeque::new(), VecDeque::new()];
        let timed = Timed::new(Draw::uniform(keys), LATE, seed);
        let removed = [Removed::default(), Removed::default()];
        Self { timed, watermark: Watermark::new(LATE), events, batch, kept, removed, cells: Vec::new() }
    }

    fn remove<B: Backend>(&mut self, backend: &mut B, watermark_ms: u64, answers: &mut Answers) -> Outcome {
        for (side, (kept, removed)) in self.kept.iter_mut().zip(&mut self.removed).enumerate() {
            let needed_ms = needed_ms(side);
            let is_due = |event: &&Event| event.time_ms.saturating_add(needed_ms) < watermark_ms;
            loop {
                self.cells.clear();
                self.cells.extend(kept.iter().take(self.batch).take_while(is_due).map(|event| Cell::of(event.op)));
                backend.look_ahead([side], &self.cells);
                if self.cells.is_empty() {
                    break;
                }
                for event in kept.drain(..self.cells.len()) {
                    answers.did(1);
                    backend.map_delete(side, &Cell::of(event.op), &user_key(event.time_ms, event.number))?;
                    removed.add(event);
                }
            }
        }
        Ok(())
    }

    /// Events that nobody can meet any more are gone, and so is all that was before them.
    fn check_removed<B: Backend>(&self, backend: &mut B, watermark_ms: u64) -> Outcome {
        for (side, removed) in self.removed.iter().enumerate() {
            let below = user_key(watermark_ms.saturating_sub(needed_ms(side)), 0);
            for event in removed.iter() {
                let cell = Cell::of(event.op);
                let user_key = user_key(event.time_ms, event.number);
                let mut is_there = backend.map_get(side, &cell, &user_key, |value| value.is_some())?;
                backend.map_scan(side, &cell, Span { from: &[], below: &below }, |_, _| is_there = true)?;
                if is_there {
                    return wrong(format!("what was removed is there: side {side}, {event:?} or one before"));
                }
            }
        }
        Ok(())
    }
}

impl Workload for Join {
    /// The event, and whether it is one of the right side.
    type Event = (Event, bool);

    fn tables(&self) -> Vec<Kind> {
        vec![Kind::Map, Kind::Map]
    }

    fn events(&self) -> u64 {
        self.events
    }

    fn batch(&self) -> usize {
        self.batch
    }

    fn generate(&mut self, count: usize, out: &mut Vec<Self::Event>) {
        out.extend((0..count).map(|_| (self.timed.next(), self.timed.toss())));
    }

    fn process<B: Backend>(&mut self, backend: &mut B, events: &[Self::Event], answers: &mut Answers) -> Outcome {
        let mut bytes = [0; VALUE_BYTES];
        self.cells.clear();
        self.cells.extend(events.iter().map(|(event, _)| Cell::of(event.op)));
        backend.look_ahead([0, 1], &self.cells);
        for (event, right) in events {
            let (side, cell) = (usize::from(*right), Cell::of(event.op));
            value(event.number, 0, &mut bytes);
            backend.map_put(side, &cell, &user_key(event.time_ms, event.number), &bytes)?;
            let (back, ahead) = if *right { (AFTER_MS, BEFORE_MS) } else { (BEFORE_MS, AFTER_MS) };
            let (from, below) = (user_key(event.time_ms - back, 0), user_key(event.time_ms + ahead + 1, 0));
            let mut met = event.number << 20;
            backend.map_scan(1 - side, &cell, Span { from: &from, below: &below }, |user_key, value| {
                answers.see_entry(met, user_key, value);
                met += 1;
            })?;
            answers.did(2);
            answers.wrote((KEY_BYTES + 16 + VALUE_BYTES) as u64);
            self.kept[side].push_back(*event);
            if let Some(now_ms) = self.watermark.follow(event.time_ms) {
                self.remove(backend, now_ms, answers)?;
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
        self.check_removed(backend, self.watermark.now_ms())
    }

    fn live_bytes(&self) -> u64 {
        let kept: usize = self.kept.iter().map(VecDeque::len).sum();
        (kept * (KEY_BYTES + 16 + VALUE_BYTES)) as u64
    }

    fn drain<B: Backend>(&mut self, backend: &mut B, answers: &mut Answers) -> Outcome<bool> {
        self.remove(backend, u64::MAX, answers)?;
        self.check_removed(backend, u64::MAX)?;
        Ok(true)
    }
}
