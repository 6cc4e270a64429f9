//! `timers`: a queue of many timers by key group; each event sets one, and those that are due fire.

use super::{Answers, EVENTS_PER_S, Workload};
use crate::backends::{Backend, Kind};
use crate::harness::generate::{KEY_BYTES, KEY_GROUPS, Op, Random};
use crate::harness::{Outcome, wrong};
use alluvium::KeyGroup;

/// How often the watermark goes on.
const WATERMARK_MS: u64 = 100;
/// Bytes of a timer: its time and its key.
const TIMER_BYTES: usize = 8 + KEY_BYTES;

/// A key sets a timer.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    time_ms: u64,
    timer: [u8; TIMER_BYTES],
    group: KeyGroup,
}

/// The workload.
#[derive(Debug)]
pub struct Timers {
    random: Random,
    /// Timers at any moment.
    pending: u64,
    events: u64,
    made: u64,
    watermark_ms: u64,
    live: u64,
    fired: u64,
}

impl Timers {
    pub fn new(pending: u64, events: u64, seed: u64) -> Self {
        Self { random: Random::new(seed), pending, events, made: 0, watermark_ms: 0, live: 0, fired: 0 }
    }

    /// How far ahead timers are set, at most: so that as many are due as are set.
    fn ahead_ms(&self) -> u64 {
        2 * self.pending * 1000 / EVENTS_PER_S
    }

    fn timer(&mut self, due_ms: u64) -> ([u8; TIMER_BYTES], KeyGroup) {
        let op = Op::of(self.random.next());
        let mut timer = [0; TIMER_BYTES];
        timer[..8].copy_from_slice(&due_ms.to_be_bytes());
        timer[8..].copy_from_slice(&op.bytes);
        (timer, op.group)
    }

    fn fire<B: Backend>(&mut self, backend: &mut B, below: u64, answers: &mut Answers) -> Outcome {
        for group in 0..KEY_GROUPS as u16 {
            let (fired, live) = (&mut self.fired, &mut self.live);
            backend.dequeue(0, KeyGroup(group), &below.to_be_bytes(), |timer| {
                // Their order is part of the answer, and within a key group the same for all.
                *fired += 1;
                *live = live.saturating_sub(1);
                answers.see(*fired, Some(timer));
                answers.did(1);
            })?;
        }
        Ok(())
    }
}

impl Workload for Timers {
    type Event = Event;

    fn tables(&self) -> Vec<Kind> {
        vec![Kind::Queue]
    }

    fn events(&self) -> u64 {
        self.events
    }

    /// What would be pending after a long time: fewer timers the further ahead.
    fn load<B: Backend>(&mut self, backend: &mut B, answers: &mut Answers) -> Outcome {
        let ahead_ms = self.ahead_ms();
        for _ in 0..self.pending {
            let (a, b) = (self.random.below(ahead_ms), self.random.below(ahead_ms));
            let (timer, group) = self.timer(a.min(b) + 1);
            backend.enqueue(0, group, &timer)?;
        }
        self.live = self.pending;
        answers.wrote(self.live_bytes());
        Ok(())
    }

    fn generate(&mut self, count: usize, out: &mut Vec<Event>) {
        let ahead_ms = self.ahead_ms();
        for _ in 0..count {
            let time_ms = self.made * 1000 / EVENTS_PER_S;
            let due_ms = time_ms + 1 + self.random.below(ahead_ms);
            let (timer, group) = self.timer(due_ms);
            out.push(Event { time_ms, timer, group });
            self.made += 1;
        }
    }

    fn process<B: Backend>(&mut self, backend: &mut B, events: &[Event], answers: &mut Answers) -> Outcome {
        for event in events {
            backend.enqueue(0, event.group, &event.timer)?;
            self.live += 1;
            answers.did(1);
            answers.wrote(TIMER_BYTES as u64);
            let watermark_ms = event.time_ms / WATERMARK_MS * WATERMARK_MS;
            if watermark_ms > self.watermark_ms {
                self.watermark_ms = watermark_ms;
                self.fire(backend, watermark_ms, answers)?;
            }
        }
        Ok(())
    }

    /// What has fired is gone. What is pending can't be looked at: it fires in later events.
    fn check<B: Backend>(&mut self, backend: &mut B, _: &mut Answers) -> Outcome {
        let below = self.watermark_ms.to_be_bytes();
        for group in 0..KEY_GROUPS as u16 {
            let mut count = 0;
            backend.dequeue(0, KeyGroup(group), &below, |_| count += 1)?;
            if count > 0 {
                return wrong(format!("{count} timers of key group {group} are there after they fired"));
            }
        }
        Ok(())
    }

    fn live_bytes(&self) -> u64 {
        self.live * TIMER_BYTES as u64
    }
}
