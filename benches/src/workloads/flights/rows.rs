//! The rows of the tables as events with keys, made before the clock starts.

use crate::harness::generate::{KEY_BYTES, KEY_GROUPS, Op};
use alluvium::key::key_group_of;
use alluvium_cli::input::time::HOUR_MS;
use alluvium_cli::input::{self, Body};

/// A key: a name and the year that it is of, where years have keys of their own.
fn key(name: &str, year: u16) -> Op {
    let mut bytes = [0; KEY_BYTES];
    let len = name.len().min(KEY_BYTES - 2);
    bytes[..len].copy_from_slice(&name.as_bytes()[..len]);
    bytes[KEY_BYTES - 2..].copy_from_slice(&year.to_be_bytes());
    of_bytes(bytes)
}

/// A key of its bytes.
pub fn of_bytes(bytes: [u8; KEY_BYTES]) -> Op {
    Op { bytes, group: key_group_of(&bytes, KEY_GROUPS) }
}

/// A row of a table.
#[derive(Clone, Debug)]
pub enum Row {
    /// Its tail number, and what is known of it: the year it was built in, seats, model.
    Plane(Op, Vec<u8>),
    /// The airport, the hour, and what was measured.
    Weather(Op, u64, [u8; 16]),
    Flight(Flight),
}

/// A flight that left, or was cancelled.
#[derive(Clone, Copy, Debug)]
pub struct Flight {
    pub airport: Op,
    pub carrier: Op,
    /// The aircraft, where it is known.
    pub tail: Option<Op>,
    /// Of the scheduled departure.
    pub hour_ms: u64,
    /// Of the departure, in minutes.
    pub delay: i64,
    pub miles: u64,
}

/// A row that is seen.
#[derive(Clone, Debug)]
pub struct Event {
    pub number: u64,
    pub seen_ms: u64,
    pub row: Row,
}

impl Event {
    pub fn of(number: u64, event: &input::Event<'_>) -> Self {
        let year = event.period;
        let row = match &event.body {
            Body::Plane(plane) => {
                let numbers = [plane.built_year.to_le_bytes(), plane.seats.to_le_bytes()].concat();
                Row::Plane(key(plane.tail, year), [&numbers[..], plane.model.as_bytes()].concat())
            }
            Body::Weather(weather) => {
                let mut row = [0; 16];
                let measures = [weather.temperature, weather.wind, weather.rain, weather.visibility];
                for (field, measure) in row.chunks_exact_mut(4).zip(measures) {
                    field.copy_from_slice(&measure.unwrap_or(i32::MIN).to_le_bytes());
                }
                Row::Weather(key(weather.origin, 0), weather.hour_ms, row)
            }
            Body::Flight(flight) => Row::Flight(Flight {
                airport: key(flight.origin, 0),
                carrier: key(flight.carrier, 0),
                tail: flight.tail.map(|tail| key(tail, year)),
                hour_ms: flight.scheduled_ms / HOUR_MS * HOUR_MS,
                delay: i64::from(flight.delay.unwrap_or(0)),
                miles: u64::from(flight.distance),
            }),
        };
        Self { number, seen_ms: event.seen_ms, row }
    }
}
