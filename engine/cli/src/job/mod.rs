//! The stream job: one pass over the events of a [`Replay`], all of its state in a [`JobStore`].
//!
//! What the job does with an event depends on that event and the store's content alone; nothing else is remembered
//! (the timers' earliest times are looked up again after a restart). So a store that holds the state as of event `n`
//! and the number `n` are all it takes to go on, and repeating events after a crash changes nothing.
//!
//! The watermark trails the time of sight by [`WATERMARK_LAG_MS`]. Before an event is looked at, everything that its
//! watermark makes due is done, in the order of due times.

pub mod bytes;
mod days;
mod join;
mod running;
mod sessions;
pub mod store;
pub mod table;
mod timers;
mod windows;

#[cfg(test)]
pub mod memory_store;
#[cfg(test)]
mod tests;

use alluvium::error::Result;

use crate::input::time::{HOUR_MS, MINUTE_MS};
use crate::input::{Body, Event, Flight, Replay};
use bytes::at;
use store::JobStore;
use table::Table;
use timers::{Timer, TimerKind, Timers};

/// How far the watermark trails what was seen.
pub const WATERMARK_LAG_MS: u64 = 30 * MINUTE_MS;
/// How long after its end a window, an hour of the join or a session still takes events.
pub const LATENESS_MS: u64 = 2 * HOUR_MS;
/// The longest pause between two departures of one session.
pub const SESSION_GAP_MS: u64 = 12 * HOUR_MS;

/// The running job, which owns the store's writing end.
pub struct Job<S> {
    store: S,
    timers: Timers,
    watermark_ms: u64,
    period_days: u32,
}

impl<S: JobStore> Job<S> {
    /// The job on the state that `store` holds.
    pub fn new(mut store: S, replay: &Replay) -> Result<Self> {
        let timers = Timers::load(&mut store)?;
        Ok(Self { store, timers, watermark_ms: 0, period_days: replay.period_days() })
    }

    /// The store.
    pub fn store_mut(&mut self) -> &mut S {
        &mut self.store
    }

    /// Writes down that `next` is the next event to come; to be called right before each checkpoint.
    pub fn mark_position(&mut self, next: u64) -> Result<()> {
        self.store.put(Table::Position, at(b""), &next.to_le_bytes())
    }

    /// The event that [`Job::mark_position`] wrote down last; 0 in an empty store.
    pub fn position(store: &mut S) -> Result<u64> {
        store.read(Table::Position, at(b""), |value| value.map_or(0, |value| bytes::Fields(value).u64()))
    }

    /// Takes the next event.
    pub fn apply(&mut self, event: &Event<'_>) -> Result<()> {
        self.advance(event.seen_ms.saturating_sub(WATERMARK_LAG_MS))?;
        match &event.body {
            Body::Plane(plane) => self.register_plane(event.period, plane),
            Body::Weather(weather) => self.join_weather(event.period, weather),
            Body::Flight(flight) => self.take_flight(event, flight),
        }
    }

    fn take_flight(&mut self, event: &Event<'_>, flight: &Flight<'_>) -> Result<()> {
        self.add_to_carrier(event.period, flight)?;
        let Some(delay) = flight.delay else { return Ok(()) };
        self.count_departure(event.period, flight)?;
        self.add_to_window(event.period, flight, delay)?;
        self.join_flight(event, flight, delay)?;
        let Some(tail) = flight.tail else { return Ok(()) };
        let seats = self.seats_of(event.period, tail)?;
        self.add_to_session(event.period, flight, tail, seats)?;
        self.note_aircraft(event.period, flight, tail, delay)
    }

    /// Moves the watermark and fires what is due.
    fn advance(&mut self, watermark_ms: u64) -> Result<()> {
        self.watermark_ms = watermark_ms;
        while let Some(timer) = self.timers.pop_due(&mut self.store, watermark_ms)? {
            let (key, namespace) = (&timer.key[..], &timer.namespace[..]);
            match timer.kind {
                TimerKind::WindowEnd => self.fire_window(key, namespace)?,
                TimerKind::WindowExpiry => self.close_window(key, namespace)?,
                TimerKind::JoinExpiry => self.expire_join(key, namespace)?,
                TimerKind::SessionEnd => self.close_session(key, namespace)?,
                TimerKind::DayEnd => self.close_day(key, namespace)?,
            }
        }
        Ok(())
    }

    fn set_timer(&mut self, timer: &Timer) -> Result<()> {
        self.timers.set(&mut self.store, timer)
    }
}
