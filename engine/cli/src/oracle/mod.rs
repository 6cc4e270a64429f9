//! What every state has to hold at the end, computed without a store.
//!
//! This is a batch computation: it has the whole input before it, sorts the flights by whatever a state is keyed by, and
//! goes through them group by group. It knows no watermark that moves, no timers that fire and no state that is updated,
//! and shares no code with the job beyond the input, the states' numbers and the four constants that define the job.
//! Period by period it needs memory for one period only, however many there are.

mod flights;
mod routes;

use std::collections::BTreeMap;

use alluvium::key::key_group_of;

use crate::check::row::Row;
use crate::input::time::HOUR_MS;
use crate::input::{Body, Flight, Plane, Replay, Weather};
use crate::job::table::{KEY_GROUPS, Table};
use crate::job::{LATENESS_MS, WATERMARK_LAG_MS};

/// Takes the expected entries, one after the other, in no particular order.
pub type Emit<'e> = &'e mut dyn FnMut(Row<'_>);

/// A flight of the first period that left, with what the batch needs of it.
#[derive(Clone, Copy)]
struct Departure<'r> {
    ordinal: u32,
    /// The watermark when the flight was seen.
    watermark_ms: u64,
    delay: i32,
    flight: Flight<'r>,
}

impl Departure<'_> {
    fn hour_ms(&self) -> u64 {
        self.flight.scheduled_ms - self.flight.scheduled_ms % HOUR_MS
    }

    /// Whether the flight's hour still took events when it was seen.
    fn in_time(&self) -> bool {
        self.hour_ms() + HOUR_MS + LATENESS_MS > self.watermark_ms
    }
}

/// The input in tables, and how often it is repeated.
pub struct Oracle<'r> {
    planes: BTreeMap<&'r str, Plane<'r>>,
    weather: Vec<(u32, Weather<'r>)>,
    departures: Vec<Departure<'r>>,
    cancelled: Vec<Flight<'r>>,
    /// The departures by route, airport and aircraft; those of one in the order of sight.
    by_route: Vec<u32>,
    by_origin: Vec<u32>,
    by_tail: Vec<u32>,
    period_ms: u64,
    period_days: u32,
    periods: u16,
    events: u64,
    /// The watermark of the very last event.
    end_ms: u64,
}

impl<'r> Oracle<'r> {
    /// The batch over `periods` repetitions of a replay.
    pub fn new(replay: &'r Replay, periods: u16) -> Self {
        let events = replay.period_events() * u64::from(periods);
        let last_seen_ms = replay.event(events - 1).seen_ms;
        let mut oracle = Self {
            planes: BTreeMap::new(),
            weather: Vec::new(),
            departures: Vec::new(),
            cancelled: Vec::new(),
            by_route: Vec::new(),
            by_origin: Vec::new(),
            by_tail: Vec::new(),
            period_ms: replay.period_ms(),
            period_days: replay.period_days(),
            periods,
            events,
            end_ms: last_seen_ms.saturating_sub(WATERMARK_LAG_MS),
        };
        for index in 0..replay.period_events() {
            let event = replay.event(index);
            match event.body {
                Body::Plane(plane) => drop(oracle.planes.insert(plane.tail, plane)),
                Body::Weather(weather) => oracle.weather.push((event.ordinal, weather)),
                Body::Flight(flight) => match flight.delay {
                    None => oracle.cancelled.push(flight),
                    Some(delay) => oracle.departures.push(Departure {
                        ordinal: event.ordinal,
                        watermark_ms: event.seen_ms.saturating_sub(WATERMARK_LAG_MS),
                        delay,
                        flight,
                    }),
                },
            }
        }
        oracle.by_route = oracle.sorted_by(|flight| (flight.origin, flight.dest));
        oracle.by_origin = oracle.sorted_by(|flight| flight.origin);
        oracle.by_tail = oracle.sorted_by(|flight| flight.tail);
        oracle
    }

    /// The numbers of the departures in the order of a key.
    fn sorted_by<K: Ord>(&self, key: impl Fn(&Flight<'r>) -> K) -> Vec<u32> {
        let mut order: Vec<u32> = (0..).take(self.departures.len()).collect();
        order.sort_by_cached_key(|&index| (key(&self.departures[index as usize].flight), index));
        order
    }

    /// The entries under the keys of one period.
    pub fn period(&self, period: u16, emit: Emit<'_>) {
        let mut view = PeriodView { oracle: self, period, shift_ms: u64::from(period) * self.period_ms, emit };
        view.planes();
        view.windows();
        view.join();
        view.sessions();
        view.aircraft();
        view.carriers();
    }

    /// The entries under keys that all periods share.
    pub fn all_periods(&self, emit: Emit<'_>) {
        self.route_days(emit);
        let (key, value) = (b"", self.events.to_le_bytes());
        emit_row(emit, Table::Position, key, &[], None, &value);
    }

    /// Cuts sorted departures where the key changes.
    fn grouped<K: PartialEq>(
        &self,
        order: &[u32],
        key: impl Fn(&Flight<'r>) -> K,
        mut each: impl FnMut(&[Departure<'r>]),
    ) {
        let at = |index: &u32| self.departures[*index as usize];
        for group in order.chunk_by(|left, right| key(&at(left).flight) == key(&at(right).flight)) {
            let departures: Vec<Departure<'r>> = group.iter().map(at).collect();
            each(&departures);
        }
    }
}

/// One period of the oracle on its way out.
struct PeriodView<'o, 'r, 'e> {
    oracle: &'o Oracle<'r>,
    period: u16,
    shift_ms: u64,
    emit: Emit<'e>,
}

impl PeriodView<'_, '_, '_> {
    fn row(&mut self, table: Table, key: &[u8], namespace: &[u8], user_key: Option<&[u8]>, value: &[u8]) {
        emit_row(self.emit, table, key, namespace, user_key, value);
    }

    fn count(&mut self, table: Table, key: &[u8], namespace: &[u8], count: usize) {
        if count > 0 {
            self.row(table, key, namespace, None, &(count as u64).to_le_bytes());
        }
    }

    /// A timer that is still waiting at the end, if it is.
    fn timer(&mut self, due_ms: u64, kind: u8, key: &[u8], namespace: &[u8]) {
        emit_timer(self.emit, self.oracle.end_ms, due_ms, kind, key, namespace);
    }

    /// The key of a name in this period.
    fn name(&self, name: &str) -> Vec<u8> {
        [&self.period.to_be_bytes(), name.as_bytes()].concat()
    }

    fn route(&self, flight: &Flight<'_>) -> Vec<u8> {
        [&self.period.to_be_bytes(), &route_of_all(flight.origin, flight.dest)[..]].concat()
    }
}

/// A route's key without its period.
fn route_of_all(origin: &str, dest: &str) -> Vec<u8> {
    let mut key = Vec::new();
    push_text(&mut key, origin.as_bytes());
    push_text(&mut key, dest.as_bytes());
    key
}

fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    // Keys and names are shorter than 64 bytes.
    out.push(text.len() as u8);
    out.extend_from_slice(text);
}

fn emit_row(emit: Emit<'_>, table: Table, key: &[u8], namespace: &[u8], user_key: Option<&[u8]>, value: &[u8]) {
    emit(Row { group: key_group_of(key, KEY_GROUPS), table, key, namespace, user_key, value });
}

fn emit_timer(emit: Emit<'_>, end_ms: u64, due_ms: u64, kind: u8, key: &[u8], namespace: &[u8]) {
    if due_ms <= end_ms {
        return;
    }
    let mut user_key = due_ms.to_be_bytes().to_vec();
    user_key.push(kind);
    push_text(&mut user_key, key);
    push_text(&mut user_key, namespace);
    let group = key_group_of(key, KEY_GROUPS);
    emit(Row { group, table: Table::Timers, key: &[], namespace: &[], user_key: Some(&user_key), value: &[] });
}
