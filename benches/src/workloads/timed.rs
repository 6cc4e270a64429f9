//! Events of keys in event time, some of them late, and the watermark that follows them.

use super::EVENTS_PER_S;
use crate::harness::generate::{Draw, Op, Random};

/// Event time begins an hour after zero, so that nothing has to begin before time itself.
const START_MS: u64 = 3_600_000;
/// How often the watermark goes on.
const STEP_MS: u64 = 100;

/// An event of a key.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// Counted from 0.
    pub number: u64,
    /// The key.
    pub op: Op,
    /// When it happened.
    pub time_ms: u64,
}

/// Makes them.
#[derive(Debug)]
pub struct Timed {
    draw: Draw,
    random: Random,
    late: Late,
    made: u64,
    /// How long nothing came, in all.
    rested_ms: u64,
}

/// Which events are late.
#[derive(Clone, Copy, Debug)]
pub struct Late {
    /// One event in so many.
    pub one_in: u64,
    /// By up to this; 0: none is.
    pub ms: u64,
}

impl Timed {
    pub fn new(draw: Draw, late: Late, seed: u64) -> Self {
        Self { draw, random: Random::new(seed), late, made: 0, rested_ms: 0 }
    }

    /// The next event.
    pub fn next(&mut self) -> Event {
        let is_late = self.late.ms > 0 && self.random.below(self.late.one_in) == 0;
        let late_ms = if is_late { self.random.below(self.late.ms) } else { 0 };
        let (number, op) = (self.made, Op::of(self.draw.next(&mut self.random)));
        self.made += 1;
        let time_ms = START_MS + self.rested_ms + number * 1000 / EVENTS_PER_S - late_ms;
        Event { number, op, time_ms }
    }

    /// Nothing comes for so long.
    pub fn rest(&mut self, ms: u64) {
        self.rested_ms += ms;
    }

    /// One of two, by chance.
    pub fn toss(&mut self) -> bool {
        self.random.below(2) == 1
    }
}

/// How far event time has come for certain.
#[derive(Debug)]
pub struct Watermark {
    late_ms: u64,
    now_ms: u64,
}

impl Watermark {
    /// Behind events by as much as these may be late.
    pub fn new(late: Late) -> Self {
        Self { late_ms: late.ms, now_ms: 0 }
    }

    /// What is over.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// An event came: where the watermark is now, if it went on.
    pub fn follow(&mut self, time_ms: u64) -> Option<u64> {
        let now_ms = time_ms.saturating_sub(self.late_ms) / STEP_MS * STEP_MS;
        let goes_on = now_ms > self.now_ms;
        self.now_ms = self.now_ms.max(now_ms);
        goes_on.then_some(now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watermark_passes_no_event() {
        let late = Late { one_in: 5, ms: 700 };
        let mut events = Timed::new(Draw::uniform(10), late, 3);
        let mut watermark = Watermark::new(late);
        let mut steps = 0;
        for _ in 0..100_000 {
            let event = events.next();
            assert!(event.time_ms >= watermark.now_ms(), "{event:?} at {watermark:?}");
            steps += usize::from(watermark.follow(event.time_ms).is_some());
        }
        assert!(steps > 30, "{steps} steps");
    }
}
