//! `session`: windows that grow and merge while events of a user come within a gap of each other.
//!
//! As Flink keeps them: the sessions of a user stand in one value (begin and end of each), and each session's aggregate under
//! the begin of the window that it was first written for.

use super::removed::Removed;
use super::timed::{Event, Late, Timed, Watermark};
use super::{Answers, Workload};
use crate::backends::{Backend, Cell, Kind};
use crate::harness::generate::{Draw, KEY_BYTES, Op};
use crate::harness::{Outcome, wrong};
use std::collections::BTreeMap;

/// Between the sessions of a user.
const GAP_MS: u64 = 10_000;
const LATE: Late = Late { one_in: 20, ms: 5_000 };

const SESSIONS: usize = 0;
const AGGREGATES: usize = 1;

/// A session: from, to (exclusive, the gap included), and where its aggregate stands.
type Session = [u64; 3];
const SESSION_BYTES: usize = 24;

/// The workload.
#[derive(Debug)]
pub struct Sessions {
    timed: Timed,
    watermark: Watermark,
    events: u64,
    /// Users by when a session of theirs may end: an operator's timers.
    due: BTreeMap<u64, Vec<Op>>,
    fired: u64,
    live: i64,
    /// Events in the aggregates of open sessions.
    counted: i64,
    removed_users: Removed<Op>,
    removed: Removed<Cell>,
}

fn decode(bytes: &[u8]) -> Vec<Session> {
    let number = |part: &[u8]| part.first_chunk::<8>().map_or(0, |part| u64::from_le_bytes(*part));
    let session = |part: &[u8]| [number(part), number(&part[8..]), number(&part[16..])];
    bytes.chunks_exact(SESSION_BYTES).map(session).collect()
}

fn encode(sessions: &[Session]) -> Vec<u8> {
    sessions.iter().flatten().flat_map(|number| number.to_le_bytes()).collect()
}

/// Count and sum.
type Aggregate = [u8; 16];

/// What stands at a place of it.
fn half(of: &Aggregate, at: usize) -> u64 {
    of[at..].first_chunk::<8>().map_or(0, |part| u64::from_le_bytes(*part))
}

fn plus(a: Aggregate, b: Aggregate) -> Aggregate {
    let mut out = [0; 16];
    for at in [0, 8] {
        out[at..at + 8].copy_from_slice(&half(&a, at).wrapping_add(half(&b, at)).to_le_bytes());
    }
    out
}

fn aggregate(bytes: Option<&[u8]>) -> Aggregate {
    bytes.and_then(|bytes| bytes.try_into().ok()).unwrap_or_default()
}

impl Sessions {
    pub fn new(users: u64, events: u64, seed: u64) -> Self {
        Self {
            timed: Timed::new(Draw::zipf(users), LATE, seed),
            watermark: Watermark::new(LATE),
            events,
            due: BTreeMap::new(),
            fired: 0,
            live: 0,
            counted: 0,
            removed_users: Removed::default(),
            removed: Removed::default(),
        }
    }

    fn add<B: Backend>(&mut self, backend: &mut B, event: &Event, answers: &mut Answers) -> Outcome {
        let user = Cell::of(event.op);
        let mut sessions = Vec::new();
        backend.get(SESSIONS, &user, |held| {
            answers.see(event.number, held);
            sessions = decode(held.unwrap_or_default());
        })?;
        let before = sessions.clone();
        let (mut from, mut to) = (event.time_ms, event.time_ms + GAP_MS);
        let mut sum = [event.number.to_le_bytes(), [0; 8]].concat();
        sum[..8].copy_from_slice(&1_u64.to_le_bytes());
        sum[8..].copy_from_slice(&event.number.to_le_bytes());
        let mut at = None;
        // Those that the event touches become one: the first one's aggregate stays where it is, the others' go.
        let touched: Vec<Session> = sessions.extract_if(.., |s| s[0] <= to && s[1] >= from).collect();
        let mut others = Aggregate::default();
        for session in touched {
            (from, to) = (from.min(session[0]), to.max(session[1]));
            if at.is_none() {
                at = Some(session[2]);
                continue;
            }
            let gone = Cell::in_window(event.op, session[2]);
            backend.get(AGGREGATES, &gone, |held| {
                answers.see(event.number ^ session[2], held);
                others = plus(others, aggregate(held));
            })?;
            backend.delete(AGGREGATES, &gone)?;
            self.removed.add(gone);
            self.live -= (KEY_BYTES + 8 + 16) as i64;
            answers.did(2);
        }
        let at = at.unwrap_or(event.time_ms);
        let cell = Cell::in_window(event.op, at);
        let more = plus(aggregate(Some(&sum)), others);
        backend.update(AGGREGATES, &cell, |held| {
            answers.see(event.number ^ at << 20, held);
            self.live += if held.is_none() { (KEY_BYTES + 8 + 16) as i64 } else { 0 };
            Some(plus(aggregate(held), more))
        })?;
        self.counted += 1;
        sessions.push([from, to, at]);
        answers.did(3);
        answers.wrote(cell.bytes() + 16);
        self.put_sessions(backend, &user, &before, &sessions, answers)?;
        if !before.iter().any(|session| session[1] == to) {
            self.due.entry(to).or_default().push(event.op);
        }
        Ok(())
    }

    fn put_sessions<B: Backend>(
        &mut self,
        backend: &mut B,
        user: &Cell,
        before: &[Session],
        sessions: &[Session],
        answers: &mut Answers,
    ) -> Outcome {
        let size = |of: &[Session]| if of.is_empty() { 0 } else { (KEY_BYTES + of.len() * SESSION_BYTES) as i64 };
        self.live += size(sessions) - size(before);
        if sessions == before {
            return Ok(());
        }
        answers.did(1);
        answers.wrote(size(sessions) as u64);
        if sessions.is_empty() {
            self.removed_users.add(user.op);
            backend.delete(SESSIONS, user)
        } else {
            backend.put(SESSIONS, user, &encode(sessions))
        }
    }

    fn fire<B: Backend>(&mut self, backend: &mut B, watermark_ms: u64, answers: &mut Answers) -> Outcome {
        while let Some(entry) = self.due.first_entry() {
            if *entry.key() > watermark_ms {
                break;
            }
            for op in entry.remove() {
                self.end_sessions(backend, op, watermark_ms, answers)?;
            }
        }
        Ok(())
    }

    /// Ends a user's sessions that are over; those that have grown meanwhile are due later.
    fn end_sessions<B: Backend>(&mut self, backend: &mut B, op: Op, now_ms: u64, answers: &mut Answers) -> Outcome {
        self.fired += 1;
        let user = Cell::of(op);
        let before = backend.get(SESSIONS, &user, |held| {
            answers.see(self.fired << 32, held);
            decode(held.unwrap_or_default())
        })?;
        answers.did(1);
        let mut sessions = before.clone();
        for session in sessions.extract_if(.., |session| session[1] <= now_ms) {
            let cell = Cell::in_window(op, session[2]);
            backend.get(AGGREGATES, &cell, |held| {
                answers.see(self.fired << 32 ^ session[2], held);
                self.counted -= half(&aggregate(held), 0) as i64;
            })?;
            backend.delete(AGGREGATES, &cell)?;
            self.removed.add(cell);
            self.live -= (KEY_BYTES + 8 + 16) as i64;
            answers.did(2);
        }
        self.put_sessions(backend, &user, &before, &sessions, answers)
    }

    /// Aggregates of sessions that ended, or went into others, are gone; and of users that had none left, all old sessions.
    fn check_removed<B: Backend>(&self, backend: &mut B, now_ms: u64) -> Outcome {
        for cell in self.removed.iter() {
            if backend.get(AGGREGATES, cell, |held| held.is_some())? {
                return wrong(format!("an aggregate is there after its session: {cell:?}"));
            }
        }
        for op in self.removed_users.iter() {
            let sessions = backend.get(SESSIONS, &Cell::of(*op), |held| held.map(decode))?;
            if sessions.is_some_and(|held| held.is_empty() || held.iter().any(|session| session[1] <= now_ms)) {
                return wrong(format!("a session is there after its end: {op:?}"));
            }
        }
        Ok(())
    }
}

impl Workload for Sessions {
    type Event = Event;

    fn tables(&self) -> Vec<Kind> {
        vec![Kind::Value, Kind::Value]
    }

    fn events(&self) -> u64 {
        self.events
    }

    fn generate(&mut self, count: usize, out: &mut Vec<Event>) {
        out.extend((0..count).map(|_| self.timed.next()));
    }

    fn process<B: Backend>(&mut self, backend: &mut B, events: &[Event], answers: &mut Answers) -> Outcome {
        for event in events {
            self.add(backend, event, answers)?;
            if let Some(now_ms) = self.watermark.follow(event.time_ms) {
                self.fire(backend, now_ms, answers)?;
            }
        }
        Ok(())
    }

    fn check<B: Backend>(&mut self, backend: &mut B, answers: &mut Answers) -> Outcome {
        for (number, op) in self.due.values().flatten().step_by(97).enumerate() {
            backend.get(SESSIONS, &Cell::of(*op), |held| answers.see(number as u64, held))?;
        }
        self.check_removed(backend, self.watermark.now_ms())
    }

    fn live_bytes(&self) -> u64 {
        self.live.unsigned_abs()
    }

    fn drain<B: Backend>(&mut self, backend: &mut B, answers: &mut Answers) -> Outcome<bool> {
        self.fire(backend, u64::MAX, answers)?;
        self.check_removed(backend, u64::MAX)?;
        if self.counted != 0 {
            return wrong(format!("the sessions were {} events short of those that came", self.counted));
        }
        Ok(true)
    }
}
