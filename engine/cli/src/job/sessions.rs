//! Sessions per aircraft: runs of departures with no more than [`SESSION_GAP_MS`] between one and the next.
//!
//! Flights come out of order, so one may extend a session at either end, or join two that were apart. A session stays
//! open for the gap and the allowed lateness past its last departure, which is as long as any flight that isn't dropped
//! can still touch it: a flight at `t` is taken while `t + lateness > watermark`, and touches a session that ends at `e`
//! only if `t <= e + gap`, so `e + gap + lateness > watermark`.

//!
//! An aircraft's open sessions lie in one value, in the order of their starts: mostly there is one, rarely two.

use alluvium::error::Result;

use super::bytes::{Fields, at, name_key};
use super::store::JobStore;
use super::table::{SESSION_BYTES, Table};
use super::timers::{Timer, TimerKind};
use super::{Job, LATENESS_MS, SESSION_GAP_MS};
use crate::input::Flight;

#[derive(Clone, Copy)]
struct Session {
    start_ms: u64,
    end_ms: u64,
    flights: u32,
    miles: u64,
    seats: u64,
}

impl Session {
    /// The sessions in a value.
    fn decode_all(value: &[u8]) -> impl Iterator<Item = Self> {
        value.chunks(SESSION_BYTES).map(|bytes| {
            let mut fields = Fields(bytes);
            let (start_ms, end_ms, flights) = (fields.u64(), fields.u64(), fields.u32());
            Self { start_ms, end_ms, flights, miles: fields.u64(), seats: fields.u64() }
        })
    }

    fn encode(&self) -> [u8; SESSION_BYTES] {
        let mut value = [0; SESSION_BYTES];
        value[..8].copy_from_slice(&self.start_ms.to_le_bytes());
        value[8..16].copy_from_slice(&self.end_ms.to_le_bytes());
        value[16..20].copy_from_slice(&self.flights.to_le_bytes());
        value[20..28].copy_from_slice(&self.miles.to_le_bytes());
        value[28..].copy_from_slice(&self.seats.to_le_bytes());
        value
    }

    /// Whether a departure at `time_ms` belongs to the session.
    fn takes(&self, time_ms: u64) -> bool {
        self.start_ms <= time_ms + SESSION_GAP_MS && time_ms <= self.end_ms + SESSION_GAP_MS
    }

    fn merged(self, other: Self) -> Self {
        Self {
            start_ms: self.start_ms.min(other.start_ms),
            end_ms: self.end_ms.max(other.end_ms),
            flights: self.flights + other.flights,
            miles: self.miles + other.miles,
            seats: self.seats + other.seats,
        }
    }

    fn timer(&self, key: &[u8]) -> Timer {
        let due_ms = self.end_ms + SESSION_GAP_MS + LATENESS_MS;
        Timer::new(due_ms, TimerKind::SessionEnd, key, &self.start_ms.to_be_bytes())
    }
}

impl<S: JobStore> Job<S> {
    /// Adds a flight to its aircraft's sessions.
    pub(super) fn add_to_session(&mut self, period: u16, flight: &Flight<'_>, tail: &str, seats: u16) -> Result<()> {
        let key = name_key(period, tail);
        let time_ms = flight.scheduled_ms;
        if time_ms + LATENESS_MS <= self.watermark_ms {
            return self.store.add(Table::Late, at(&key).in_namespace(b"session"), 1);
        }
        let one = Session {
            start_ms: time_ms,
            end_ms: time_ms,
            flights: 1,
            miles: u64::from(flight.distance),
            seats: u64::from(seats),
        };
        let mut touched = Vec::new();
        let mut merged = one;
        self.store.update(Table::Sessions, at(&key), |old| {
            let (near, apart) = Session::decode_all(old.unwrap_or_default()).partition(|open| open.takes(time_ms));
            touched = near;
            merged = touched.iter().fold(one, |merged, &session| merged.merged(session));
            let mut open: Vec<Session> = apart;
            open.push(merged);
            open.sort_by_key(|session| session.start_ms);
            Some(open.iter().flat_map(Session::encode).collect::<Vec<u8>>())
        })?;
        for session in &touched {
            if (session.start_ms, session.end_ms) == (merged.start_ms, merged.end_ms) {
                // Its timer stays as it is.
                return Ok(());
            }
            self.timers.cancel(&mut self.store, &session.timer(&key))?;
        }
        self.set_timer(&merged.timer(&key))
    }

    /// Moves a session from the open ones to the results.
    pub(super) fn close_session(&mut self, key: &[u8], start: &[u8]) -> Result<()> {
        let start_ms = Fields(start).sorted_u64();
        let mut closed = None;
        self.store.update(Table::Sessions, at(key), |old| {
            let mut open: Vec<Session> = Session::decode_all(old.unwrap_or_default()).collect();
            let index = open.iter().position(|session| session.start_ms == start_ms);
            closed = index.map(|index| open.remove(index));
            let rest: Vec<u8> = open.iter().flat_map(Session::encode).collect();
            (!rest.is_empty()).then_some(rest)
        })?;
        match closed {
            // The start is in the result's user key.
            Some(session) => self.store.map_put(Table::SessionResults, at(key), start, &session.encode()[8..]),
            None => Ok(()),
        }
    }
}
