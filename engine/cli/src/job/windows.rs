//! Hourly tumbling windows per route: how late did its flights leave?
//!
//! A window fires when the watermark passes its end, fires again for each flight that comes within the allowed lateness
//! after that, and is closed when nothing can come any more. Later flights are counted and dropped. Results stay.

use alluvium::error::Result;

use super::bytes::{Fields, ShortBytes, at, route_key};
use super::store::JobStore;
use super::table::Table;
use super::timers::{Timer, TimerKind};
use super::{Job, LATENESS_MS};
use crate::input::Flight;
use crate::input::time::HOUR_MS;

/// What an open window knows.
#[derive(Clone, Copy)]
pub struct Window {
    /// How many flights left.
    pub count: u32,
    /// Their delays in minutes, added up.
    pub sum: i64,
    min: i32,
    max: i32,
}

impl Window {
    fn one(delay: i32) -> Self {
        Self { count: 1, sum: i64::from(delay), min: delay, max: delay }
    }

    fn decode(value: &[u8]) -> Self {
        let mut fields = Fields(value);
        Self { count: fields.u32(), sum: fields.i64(), min: fields.i32(), max: fields.i32() }
    }

    fn with(self, delay: i32) -> Self {
        Self {
            count: self.count + 1,
            sum: self.sum + i64::from(delay),
            min: self.min.min(delay),
            max: self.max.max(delay),
        }
    }

    fn encode(&self) -> [u8; 20] {
        let mut value = [0; 20];
        value[..4].copy_from_slice(&self.count.to_le_bytes());
        value[4..12].copy_from_slice(&self.sum.to_le_bytes());
        value[12..16].copy_from_slice(&self.min.to_le_bytes());
        value[16..].copy_from_slice(&self.max.to_le_bytes());
        value
    }
}

impl<S: JobStore> Job<S> {
    /// Adds a flight that left to its window.
    pub(super) fn add_to_window(&mut self, period: u16, flight: &Flight<'_>, delay: i32) -> Result<()> {
        let key = route_key(period, flight.origin, flight.dest);
        let start_ms = flight.scheduled_ms / HOUR_MS * HOUR_MS;
        let (end_ms, expiry_ms) = (start_ms + HOUR_MS, start_ms + HOUR_MS + LATENESS_MS);
        if expiry_ms <= self.watermark_ms {
            return self.store.add(Table::Late, at(&key).in_namespace(b"window"), 1);
        }
        let namespace = start_ms.to_be_bytes();
        let place = at(&key).in_namespace(&namespace);
        let mut opened = false;
        self.store.update(Table::Windows, place, |old| {
            opened = old.is_none();
            let window = old.map_or_else(|| Window::one(delay), |old| Window::decode(old).with(delay));
            Some(window.encode())
        })?;
        let element = ShortBytes::new().with(&delay.to_le_bytes()).with(&flight.number.to_le_bytes());
        self.store.append(Table::WindowFlights, place, &element.with(flight.carrier.as_bytes()))?;
        if opened {
            self.set_timer(&Timer::new(expiry_ms, TimerKind::WindowExpiry, &key, &namespace))?;
        }
        if end_ms <= self.watermark_ms {
            self.fire_window(&key, &namespace)
        } else if opened {
            self.set_timer(&Timer::new(end_ms, TimerKind::WindowEnd, &key, &namespace))
        } else {
            Ok(())
        }
    }

    /// Emits what a window holds, in place of what it emitted before.
    pub(super) fn fire_window(&mut self, key: &[u8], namespace: &[u8]) -> Result<()> {
        let place = at(key).in_namespace(namespace);
        let Some(window) = self.store.read(Table::Windows, place, |value| value.map(Window::decode))? else {
            return Ok(());
        };
        let flights = self.store.list(Table::WindowFlights, place)?;
        let mut delays: Vec<i32> = flights.iter().map(|element| Fields(element).i32()).collect();
        let middle = delays.len().saturating_sub(1) / 2;
        let median = if delays.is_empty() { 0 } else { *delays.select_nth_unstable(middle).1 };
        self.store.update(Table::WindowResults, place, |old| {
            let fired = old.map_or(0, |old| Fields(old.get(24..).unwrap_or_default()).u32());
            let mut value = [0; 28];
            value[..16].copy_from_slice(&window.encode()[..16]);
            value[16..20].copy_from_slice(&median.to_le_bytes());
            value[20..24].copy_from_slice(&window.max.to_le_bytes());
            value[24..].copy_from_slice(&(fired + 1).to_le_bytes());
            Some(value)
        })
    }

    /// Closes a window: its day gets its flights, and what it held is gone.
    pub(super) fn close_window(&mut self, key: &[u8], namespace: &[u8]) -> Result<()> {
        let place = at(key).in_namespace(namespace);
        let window = self.store.read(Table::Windows, place, |value| value.map(Window::decode))?;
        self.store.delete(Table::Windows, place)?;
        self.store.delete(Table::WindowFlights, place)?;
        match window {
            Some(window) => self.add_to_day(&key[2..], Fields(namespace).sorted_u64(), window),
            None => Ok(()),
        }
    }
}
