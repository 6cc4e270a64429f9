//! Sessions per aircraft: runs of departures with no more than [`SESSION_GAP_MS`] between one and the next.
//!
//! Flights come out of order, so one may extend a session at either end, or join two that were apart. A session stays
//! open for the gap and the allowed lateness past its last departure, which is as long as any flight that isn't dropped
//! can still touch it: a flight at `t` is taken while `t + lateness > watermark`, and touches a session that ends at `e`
//! only if `t <= e + gap`, so `e + gap + lateness > watermark`.

use std::ops::{Bound, ControlFlow};

use alluvium::error::Result;

use super::bytes::{Fields, at, name_key};
use super::store::{JobStore, Span};
use super::table::Table;
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
    fn decode(user_key: &[u8], value: &[u8]) -> Self {
        let mut fields = Fields(value);
        let start_ms = Fields(user_key).sorted_u64();
        let (end_ms, flights) = (fields.u64(), fields.u32());
        Self { start_ms, end_ms, flights, miles: fields.u64(), seats: fields.u64() }
    }

    fn encode(&self) -> [u8; 28] {
        let mut value = [0; 28];
        value[..8].copy_from_slice(&self.end_ms.to_le_bytes());
        value[8..12].copy_from_slice(&self.flights.to_le_bytes());
        value[12..20].copy_from_slice(&self.miles.to_le_bytes());
        value[20..].copy_from_slice(&self.seats.to_le_bytes());
        value
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
        let touched = self.sessions_near(&key, time_ms)?;
        let merged = touched.iter().fold(one, |merged, &session| merged.merged(session));
        for session in &touched {
            let kept = session.start_ms == merged.start_ms;
            if !kept {
                self.store.map_delete(Table::Sessions, at(&key), &session.start_ms.to_be_bytes())?;
            }
            if !(kept && session.end_ms == merged.end_ms) {
                self.timers.cancel(&mut self.store, &session.timer(&key))?;
            }
        }
        self.store.map_put(Table::Sessions, at(&key), &merged.start_ms.to_be_bytes(), &merged.encode())?;
        self.set_timer(&merged.timer(&key))
    }

    /// The open sessions within the gap of a time. Sessions lie apart, so their ends are in the order of their starts.
    fn sessions_near(&mut self, key: &[u8], time_ms: u64) -> Result<Vec<Session>> {
        let latest_start = (time_ms + SESSION_GAP_MS).to_be_bytes();
        let span = Span { from: Bound::Unbounded, to: Bound::Included(&latest_start), reverse: true };
        let mut near = Vec::new();
        self.store.map_scan(Table::Sessions, at(key), span, |user_key, value| {
            let session = Session::decode(user_key, value);
            if session.end_ms + SESSION_GAP_MS < time_ms {
                return ControlFlow::Break(());
            }
            near.push(session);
            ControlFlow::Continue(())
        })?;
        Ok(near)
    }

    /// Moves a session from the open ones to the results.
    pub(super) fn close_session(&mut self, key: &[u8], start: &[u8]) -> Result<()> {
        let Some(session) = self.store.map_get(Table::Sessions, at(key), start)? else { return Ok(()) };
        self.store.map_delete(Table::Sessions, at(key), start)?;
        self.store.map_put(Table::SessionResults, at(key), start, &session)
    }
}
