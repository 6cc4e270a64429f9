//! Flights joined with the weather of their airport and hour.
//!
//! Whichever side comes first waits in one map for each (airport, hour): the weather until the hour expires, flights
//! until their weather comes. A later report of the same hour replaces the earlier one, for the flights after it.

use std::ops::{Bound, ControlFlow};

use alluvium::error::Result;

use super::bytes::{ShortBytes, at, name_key};
use super::store::{JobStore, Span};
use super::table::Table;
use super::timers::{Timer, TimerKind};
use super::{Job, LATENESS_MS};
use crate::input::time::HOUR_MS;
use crate::input::{Event, Flight, Weather};

/// The user key of an hour's weather; flights are `f` and their ordinal.
const WEATHER: &[u8] = b"w\0\0\0\0";
const FLIGHTS: Span<'static> = Span { from: Bound::Included(b"f"), to: Bound::Excluded(b"g"), reverse: false };

/// How a measure that wasn't taken is stored.
const UNKNOWN: i32 = i32::MIN;

impl<S: JobStore> Job<S> {
    /// Joins a flight with its weather, or lets it wait for it.
    pub(super) fn join_flight(&mut self, event: &Event<'_>, flight: &Flight<'_>, delay: i32) -> Result<()> {
        let key = name_key(event.period, flight.origin);
        let hour_ms = flight.scheduled_ms / HOUR_MS * HOUR_MS;
        if hour_ms + HOUR_MS + LATENESS_MS <= self.watermark_ms {
            return self.store.add(Table::Late, at(&key).in_namespace(b"join"), 1);
        }
        let hour = hour_ms.to_be_bytes();
        let place = at(&key).in_namespace(&hour);
        let half = ShortBytes::new().with(&delay.to_le_bytes()).with(&flight.number.to_le_bytes());
        let half = half.with_text(flight.carrier.as_bytes());
        let ordinal = event.ordinal.to_be_bytes();
        match self.store.map_get(Table::JoinBuffer, place, WEATHER)? {
            Some(weather) => self.emit_joined(&key, &hour, &ordinal, &half, &weather),
            None => {
                let user_key = ShortBytes::new().with(b"f").with(&ordinal);
                self.store.map_put(Table::JoinBuffer, place, &user_key, &half)?;
                self.set_join_timer(&key, hour_ms)
            }
        }
    }

    /// Joins an hour's weather with the flights that waited for it, and keeps it for those to come.
    pub(super) fn join_weather(&mut self, period: u16, weather: &Weather<'_>) -> Result<()> {
        let key = name_key(period, weather.origin);
        let hour = weather.hour_ms.to_be_bytes();
        let place = at(&key).in_namespace(&hour);
        let mut value = [0; 16];
        let measures = [weather.temperature, weather.wind, weather.rain, weather.visibility];
        for (field, measure) in value.chunks_exact_mut(4).zip(measures) {
            field.copy_from_slice(&measure.unwrap_or(UNKNOWN).to_le_bytes());
        }
        let mut waiting = Vec::new();
        self.store.map_scan(Table::JoinBuffer, place, FLIGHTS, |user_key, half| {
            waiting.push((user_key.to_vec(), half.to_vec()));
            ControlFlow::Continue(())
        })?;
        for (user_key, half) in &waiting {
            self.emit_joined(&key, &hour, &user_key[1..], half, &value)?;
            self.store.map_delete(Table::JoinBuffer, at(&key).in_namespace(&hour), user_key)?;
        }
        self.store.map_put(Table::JoinBuffer, at(&key).in_namespace(&hour), WEATHER, &value)?;
        self.set_join_timer(&key, weather.hour_ms)
    }

    fn emit_joined(&mut self, key: &[u8], hour: &[u8], ordinal: &[u8], half: &[u8], weather: &[u8]) -> Result<()> {
        let user_key = ShortBytes::new().with(hour).with(ordinal);
        self.store.map_put(Table::Joined, at(key), &user_key, &ShortBytes::new().with(half).with(weather))
    }

    fn set_join_timer(&mut self, key: &[u8], hour_ms: u64) -> Result<()> {
        let due_ms = hour_ms + HOUR_MS + LATENESS_MS;
        self.set_timer(&Timer::new(due_ms, TimerKind::JoinExpiry, key, &hour_ms.to_be_bytes()))
    }

    /// Drops both sides of an hour, and counts the flights that still waited.
    pub(super) fn expire_join(&mut self, key: &[u8], hour: &[u8]) -> Result<()> {
        let place = at(key).in_namespace(hour);
        let mut unmatched = 0;
        self.store.map_scan(Table::JoinBuffer, place, FLIGHTS, |_, _| {
            unmatched += 1;
            ControlFlow::Continue(())
        })?;
        if unmatched > 0 {
            self.store.add(Table::Unmatched, at(key), unmatched)?;
        }
        self.store.map_clear(Table::JoinBuffer, place)
    }
}
