//! Windows in event time: `tumble-inc`, `tumble-list`, `tumble-between` and `slide-inc` (Gadget's recipes, EuroSys 2022: an aggregate is read and
//! written for each window of an event, a list is appended to; a window that ends is read and removed).

use super::removed::Removed;
use super::timed::{Event, Late, Timed, Watermark};
use super::{Answers, Workload};
use crate::backends::{Backend, Cell, Kind};
use crate::harness::generate::{Draw, KEY_BYTES, Op, value};
use crate::harness::{Outcome, wrong};
use std::collections::BTreeMap;

/// How windows lie in time, and what they hold.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Keys, zipf.
    pub keys: u64,
    /// Length of a window.
    pub size_ms: u64,
    /// From one window's start to the next's.
    pub slide_ms: u64,
    /// Bytes of an aggregate or an element.
    pub value_bytes: usize,
    /// Elements are kept, instead of an aggregate.
    pub list: bool,
    /// Events.
    pub events: u64,
    /// After each so many of them nothing comes until all windows have ended; 0: that never is.
    pub rest_every: u64,
}

const LATE: Late = Late { one_in: 50, ms: 3_000 };
/// The longest value.
const VALUE_BYTES_MAX: usize = 256;

/// How many events an aggregate counts.
fn count(aggregate: Option<&[u8]>) -> u64 {
    aggregate.and_then(<[u8]>::first_chunk::<8>).map_or(0, |count| u64::from_le_bytes(*count))
}

/// The workload.
#[derive(Debug)]
pub struct Windows {
    shape: Shape,
    timed: Timed,
    watermark: Watermark,
    /// The cells of each open window, by its end: an operator's timers.
    open: BTreeMap<u64, Vec<Op>>,
    open_lists: hashbrown::HashSet<(u64, [u8; KEY_BYTES]), foldhash::fast::RandomState>,
    live_bytes: i64,
    /// Events in the aggregates of open windows.
    counted: i64,
    fired: u64,
    removed: Removed<Cell>,
}

impl Windows {
    pub fn new(shape: Shape, seed: u64) -> Self {
        Self {
            timed: Timed::new(Draw::zipf(shape.keys), LATE, seed),
            watermark: Watermark::new(LATE),
            shape,
            open: BTreeMap::new(),
            open_lists: hashbrown::HashSet::default(),
            live_bytes: 0,
            counted: 0,
            fired: 0,
            removed: Removed::default(),
        }
    }

    /// Whether nothing comes after an event until all windows have ended.
    fn rests_behind(&self, event: &Event) -> bool {
        self.shape.rest_every > 0 && (event.number + 1).is_multiple_of(self.shape.rest_every)
    }

    /// Ends windows whose end the watermark has passed.
    fn fire<B: Backend>(&mut self, backend: &mut B, watermark_ms: u64, answers: &mut Answers) -> Outcome {
        while let Some(entry) = self.open.first_entry() {
            let end = *entry.key();
            if end > watermark_ms {
                break;
            }
            let cells = entry.remove();
            for op in cells {
                self.end_window(backend, &Cell::in_window(op, end), answers)?;
                if self.shape.list {
                    self.open_lists.remove(&(end, op.bytes));
                }
            }
        }
        Ok(())
    }

    fn end_window<B: Backend>(&mut self, backend: &mut B, cell: &Cell, answers: &mut Answers) -> Outcome {
        self.fired += 1;
        let tag = self.fired << 32;
        let mut bytes = 0;
        answers.did(2);
        if self.shape.list {
            let mut number = tag;
            backend.list(0, cell, |element| {
                answers.see(number, Some(element));
                number += 1;
                bytes += element.len() as u64;
            })?;
        } else {
            backend.get(0, cell, |value| {
                answers.see(tag, value);
                bytes += value.map_or(0, <[u8]>::len) as u64;
                self.counted -= count(value) as i64;
            })?;
        }
        if bytes == 0 {
            return wrong(format!("a window that ends has nothing: {cell:?}"));
        }
        self.live_bytes -= (cell.bytes() + bytes) as i64;
        self.removed.add(*cell);
        backend.delete(0, cell)
    }

    /// Windows that have ended are gone.
    fn check_removed<B: Backend>(&self, backend: &mut B) -> Outcome {
        for cell in self.removed.iter() {
            let mut is_there = false;
            if self.shape.list {
                backend.list(0, cell, |_| is_there = true)?;
            } else {
                is_there = backend.get(0, cell, |value| value.is_some())?;
            }
            if is_there {
                return wrong(format!("a window is there after its end: {cell:?}"));
            }
        }
        Ok(())
    }

    fn add<B: Backend>(&mut self, backend: &mut B, event: &Event, end: u64, answers: &mut Answers) -> Outcome {
        let cell = Cell::in_window(event.op, end);
        let len = self.shape.value_bytes;
        let mut bytes = [0; VALUE_BYTES_MAX];
        let is_new = if self.shape.list {
            bytes[..8].copy_from_slice(&event.number.to_le_bytes());
            value(event.number, 0, &mut bytes[8..len]);
            answers.did(1);
            backend.append(0, &cell, &bytes[..len])?;
            self.live_bytes += len as i64;
            self.open_lists.insert((end, event.op.bytes))
        } else {
            let mut is_new = false;
            answers.did(2);
            backend.update(0, &cell, |old| {
                answers.see(event.number ^ end << 40, old);
                is_new = old.is_none();
                match old {
                    Some(old) => bytes[..len].copy_from_slice(old),
                    // What doesn't compress, whatever is added to it.
                    None => value(event.number, end, &mut bytes[8..len]),
                }
                let count = count(Some(&bytes)) + 1;
                bytes[..8].copy_from_slice(&count.to_le_bytes());
                bytes[8 + (count as usize * 8) % (len - 8)] ^= event.number as u8;
                Some(&bytes[..len])
            })?;
            self.counted += 1;
            self.live_bytes += if is_new { len as i64 } else { 0 };
            is_new
        };
        answers.wrote(cell.bytes() + len as u64);
        if is_new {
            self.live_bytes += cell.bytes() as i64;
            self.open.entry(end).or_default().push(event.op);
        }
        Ok(())
    }
}

impl Workload for Windows {
    type Event = Event;

    fn tables(&self) -> Vec<Kind> {
        vec![if self.shape.list { Kind::List(self.shape.value_bytes) } else { Kind::Value }]
    }

    fn events(&self) -> u64 {
        self.shape.events
    }

    fn generate(&mut self, count: usize, out: &mut Vec<Event>) {
        for _ in 0..count {
            let event = self.timed.next();
            if self.rests_behind(&event) {
                // The next event, late as it may be, is in no window that ended.
                self.timed.rest(self.shape.size_ms + LATE.ms);
            }
            out.push(event);
        }
    }

    fn process<B: Backend>(&mut self, backend: &mut B, events: &[Event], answers: &mut Answers) -> Outcome {
        for event in events {
            let slide = self.shape.slide_ms;
            let mut start = event.time_ms / slide * slide;
            while start + self.shape.size_ms > event.time_ms {
                let end = start + self.shape.size_ms;
                if end > self.watermark.now_ms() {
                    self.add(backend, event, end, answers)?;
                }
                start -= slide;
            }
            if let Some(now_ms) = self.watermark.follow(event.time_ms) {
                self.fire(backend, now_ms, answers)?;
            }
            if self.rests_behind(event) {
                self.fire(backend, u64::MAX, answers)?;
            }
        }
        Ok(())
    }

    fn check<B: Backend>(&mut self, backend: &mut B, answers: &mut Answers) -> Outcome {
        let cells = self.open.iter().flat_map(|(end, ops)| ops.iter().map(|op| Cell::in_window(*op, *end)));
        for (number, cell) in cells.step_by(97).enumerate() {
            if self.shape.list {
                let mut tag = (number as u64) << 32;
                backend.list(0, &cell, |element| {
                    answers.see(tag, Some(element));
                    tag += 1;
                })?;
            } else {
                backend.get(0, &cell, |value| answers.see(number as u64, value))?;
            }
        }
        self.check_removed(backend)
    }

    fn live_bytes(&self) -> u64 {
        self.live_bytes.unsigned_abs()
    }

    fn drain<B: Backend>(&mut self, backend: &mut B, answers: &mut Answers) -> Outcome<bool> {
        self.fire(backend, u64::MAX, answers)?;
        self.check_removed(backend)?;
        if self.counted != 0 {
            return wrong(format!("the windows were {} events short of those that came", self.counted));
        }
        Ok(true)
    }
}
