//! `real-replay`: the flights of New York in 2013 in order of their departure, year after year: each is joined to the weather of
//! its airport and hour and to its plane, aggregated by carrier and hour, and a session of its aircraft goes on.
//!
//! What the operator knows itself (which windows and sessions are open, where it stands) can be put into the state, as Flink
//! does with the timers of its heap: who restores a checkpoint goes on from there.

mod rows;
mod saved;

use super::removed::Removed;
use super::{Answers, Workload};
use crate::backends::{Backend, Cell, Kind, Span};
use crate::harness::generate::{KEY_BYTES, Op};
use crate::harness::{Outcome, wrong};
use alluvium_cli::input::Replay;
use alluvium_cli::input::time::HOUR_MS;
use rows::{Event, Flight, Row, of_bytes};
use std::collections::BTreeMap;

/// For each airport a map by hour.
const WEATHER: usize = 0;
const PLANES: usize = 1;
/// Flights that left before the hour of their weather: for each airport a map by hour and number.
const EARLY: usize = 2;
/// An aggregate for each carrier and scheduled hour.
const WINDOWS: usize = 3;
/// Of each aircraft.
const SESSIONS: usize = 4;
/// What the operator knows.
const OPERATOR: usize = 5;

/// No flight is later: windows and weather are kept so long after their hour.
const LATE_MS: u64 = 24 * HOUR_MS;
/// Between the sessions of an aircraft.
const GAP_MS: u64 = 6 * HOUR_MS;

/// What is due at some time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Due {
    /// The window of a carrier and an hour ends.
    Window(Op, u64),
    /// The session of an aircraft may be over.
    Session(Op),
    /// Nobody asks for an airport's weather of an hour any more.
    Weather(Op, u64),
    /// The weather that flights waited for doesn't come.
    Early(Op, u64),
}

/// Flights that found their weather and their plane.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Matches {
    pub weather: u64,
    pub planes: u64,
}

/// The workload.
#[derive(Debug)]
pub struct Flights {
    replay: Replay,
    events: u64,
    made: u64,
    done: u64,
    /// The hour up to which what was due is done.
    now_ms: u64,
    due: BTreeMap<u64, Vec<Due>>,
    fired: u64,
    matches: Matches,
    live: i64,
    /// What was due and went, as far as this process has seen it.
    removed: Removed<Due>,
}

/// Sums of a window.
type Sums = [u64; 6];

fn words<const N: usize>(bytes: &[u8]) -> [u64; N] {
    let mut words = [0; N];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    words
}

fn bytes_of<const N: usize>(words: [u64; N]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Hour and number: an order without ties.
fn early_key(hour_ms: u64, number: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&hour_ms.to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

const SESSION_BYTES: i64 = (KEY_BYTES + 4 * 8) as i64;
const WINDOW_BYTES: i64 = (KEY_BYTES + 8 + size_of::<Sums>()) as i64;
const WEATHER_BYTES: i64 = (KEY_BYTES + 8 + 16) as i64;
const EARLY_BYTES: i64 = (KEY_BYTES + 16 + KEY_BYTES + 3 * 8) as i64;

impl Flights {
    /// So many events, of which each year has [`Replay::period_events`].
    fn new(replay: Replay, events: u64) -> Self {
        Self {
            replay,
            events,
            made: 0,
            done: 0,
            now_ms: 0,
            due: BTreeMap::new(),
            fired: 0,
            matches: Matches::default(),
            live: 0,
            removed: Removed::default(),
        }
    }

    /// The embedded year, so many times.
    pub fn years(years: u64, part: u64) -> Outcome<Self> {
        let replay = Replay::embedded()?;
        let events = replay.period_events() * years / part;
        Ok(Self::new(replay, events))
    }

    /// Events that are done.
    pub fn done(&self) -> u64 {
        self.done
    }

    fn at(&mut self, time_ms: u64, due: Due) {
        self.due.entry(time_ms).or_default().push(due);
    }

    fn weather<B: Backend>(
        &mut self,
        backend: &mut B,
        airport: Op,
        hour_ms: u64,
        row: &[u8; 16],
        answers: &mut Answers,
    ) -> Outcome {
        let cell = Cell::of(airport);
        backend.map_put(WEATHER, &cell, &hour_ms.to_be_bytes(), row)?;
        self.live += WEATHER_BYTES;
        answers.wrote(WEATHER_BYTES as u64);
        answers.did(1);
        self.at(hour_ms + LATE_MS, Due::Weather(airport, hour_ms));
        let waited = self.take_early(backend, airport, hour_ms, answers)?;
        self.matches.weather += waited.len() as u64;
        for (carrier, more) in waited {
            let more = with_weather(more, row);
            self.add(backend, carrier, hour_ms, more, answers)?;
        }
        Ok(())
    }

    /// Flights that waited for the weather of an hour: their carriers, and what they add to the windows.
    fn take_early<B: Backend>(
        &mut self,
        backend: &mut B,
        airport: Op,
        hour_ms: u64,
        answers: &mut Answers,
    ) -> Outcome<Vec<(Op, Sums)>> {
        let cell = Cell::of(airport);
        let (from, below) = (early_key(hour_ms, 0), early_key(hour_ms + 1, 0));
        let mut waited = Vec::new();
        let mut keys = Vec::new();
        backend.map_scan(EARLY, &cell, Span { from: &from, below: &below }, |user_key, row| {
            let [_, number] = words(user_key);
            answers.see_entry(number, user_key, row);
            keys.push(user_key.to_vec());
            if let Some((carrier, sums)) = row.split_first_chunk::<KEY_BYTES>() {
                let [minutes, miles, seats] = words(sums);
                waited.push((of_bytes(*carrier), [1, minutes, miles, seats, 0, 0]));
            }
        })?;
        for user_key in &keys {
            backend.map_delete(EARLY, &cell, user_key)?;
            self.live -= EARLY_BYTES;
        }
        answers.did(1 + keys.len() as u64);
        Ok(waited)
    }

    fn flight<B: Backend>(
        &mut self,
        backend: &mut B,
        number: u64,
        seen_ms: u64,
        flight: &Flight,
        answers: &mut Answers,
    ) -> Outcome {
        let mut seats = 0;
        if let Some(tail) = flight.tail {
            backend.get(PLANES, &Cell::of(tail), |plane| {
                answers.see(number, plane);
                let found = plane.and_then(|plane| plane[2..].first_chunk::<2>());
                self.matches.planes += u64::from(found.is_some());
                seats = found.map_or(0, |found| u64::from(u16::from_le_bytes(*found)));
            })?;
            self.session(backend, number, seen_ms, tail, flight.miles, answers)?;
        }
        // Sums wrap around: the delay of one that left early is negative.
        let more = [1, flight.delay as u64, flight.miles, seats, 0, 0];
        let airport = Cell::of(flight.airport);
        let weather = backend.map_get(WEATHER, &airport, &flight.hour_ms.to_be_bytes(), |row| {
            answers.see(number ^ 1 << 40, row);
            row.and_then(|row| row.first_chunk::<16>()).copied()
        })?;
        answers.did(2);
        if let Some(row) = weather {
            self.matches.weather += 1;
            return self.add(backend, flight.carrier, flight.hour_ms, with_weather(more, &row), answers);
        }
        if flight.hour_ms < seen_ms {
            return self.add(backend, flight.carrier, flight.hour_ms, more, answers);
        }
        // It left before the hour that it was to leave in: its weather is yet to come.
        let row = [&flight.carrier.bytes[..], &bytes_of([more[1], more[2], more[3]])].concat();
        backend.map_put(EARLY, &airport, &early_key(flight.hour_ms, number), &row)?;
        answers.did(1);
        answers.wrote(EARLY_BYTES as u64);
        self.live += EARLY_BYTES;
        self.at(flight.hour_ms + HOUR_MS, Due::Early(flight.airport, flight.hour_ms));
        Ok(())
    }

    /// Adds to the window of a carrier and an hour.
    fn add<B: Backend>(
        &mut self,
        backend: &mut B,
        carrier: Op,
        hour_ms: u64,
        more: Sums,
        answers: &mut Answers,
    ) -> Outcome {
        if hour_ms + HOUR_MS + LATE_MS <= self.now_ms {
            return Ok(());
        }
        let mut is_new = false;
        let tag = self.done ^ 2 << 40;
        backend.update(WINDOWS, &Cell::in_window(carrier, hour_ms), |old| {
            answers.see(tag, old);
            is_new = old.is_none();
            let mut sums: Sums = words(old.unwrap_or_default());
            for (sum, more) in sums.iter_mut().zip(more) {
                *sum = sum.wrapping_add(more);
            }
            Some(bytes_of(sums))
        })?;
        answers.did(2);
        answers.wrote(WINDOW_BYTES as u64);
        if is_new {
            self.live += WINDOW_BYTES;
            self.at(hour_ms + HOUR_MS + LATE_MS, Due::Window(carrier, hour_ms));
        }
        Ok(())
    }

    /// The session of an aircraft goes on, or another one begins: when it began and ends, flights, miles.
    fn session<B: Backend>(
        &mut self,
        backend: &mut B,
        number: u64,
        seen_ms: u64,
        tail: Op,
        miles: u64,
        answers: &mut Answers,
    ) -> Outcome {
        let mut is_new = false;
        let until_ms = seen_ms + GAP_MS;
        backend.update(SESSIONS, &Cell::of(tail), |old| {
            answers.see(number ^ 3 << 40, old);
            is_new = old.is_none();
            let session = match old.map(words) {
                Some([from_ms, to_ms, flights, sum]) if to_ms >= seen_ms => {
                    [from_ms, until_ms, flights + 1, sum + miles]
                }
                _ => [seen_ms, until_ms, 1, miles],
            };
            Some(bytes_of(session))
        })?;
        answers.did(2);
        answers.wrote(SESSION_BYTES as u64);
        if is_new {
            self.live += SESSION_BYTES;
            self.at(until_ms, Due::Session(tail));
        }
        Ok(())
    }

    /// Does what was due until an hour.
    fn fire<B: Backend>(&mut self, backend: &mut B, now_ms: u64, answers: &mut Answers) -> Outcome {
        self.now_ms = now_ms;
        while let Some(entry) = self.due.first_entry() {
            if *entry.key() > now_ms {
                break;
            }
            for due in entry.remove() {
                self.fired += 1;
                self.fire_one(backend, due, self.fired | 4 << 40, answers)?;
            }
        }
        Ok(())
    }

    fn fire_one<B: Backend>(&mut self, backend: &mut B, due: Due, tag: u64, answers: &mut Answers) -> Outcome {
        match due {
            Due::Window(carrier, hour_ms) => {
                let cell = Cell::in_window(carrier, hour_ms);
                backend.get(WINDOWS, &cell, |sums| answers.see(tag, sums))?;
                self.live -= WINDOW_BYTES;
                answers.did(2);
                backend.delete(WINDOWS, &cell)?;
            }
            Due::Session(tail) => {
                let cell = Cell::of(tail);
                let [_, to_ms, ..]: [u64; 4] = backend.get(SESSIONS, &cell, |session| {
                    answers.see(tag, session);
                    words(session.unwrap_or_default())
                })?;
                answers.did(1);
                if to_ms > self.now_ms {
                    self.at(to_ms, due);
                    return Ok(());
                }
                self.live -= SESSION_BYTES;
                answers.did(1);
                backend.delete(SESSIONS, &cell)?;
            }
            Due::Weather(airport, hour_ms) => {
                self.live -= WEATHER_BYTES;
                answers.did(1);
                backend.map_delete(WEATHER, &Cell::of(airport), &hour_ms.to_be_bytes())?;
            }
            Due::Early(airport, hour_ms) => {
                for (carrier, more) in self.take_early(backend, airport, hour_ms, answers)? {
                    self.add(backend, carrier, hour_ms, more, answers)?;
                }
            }
        }
        self.removed.add(due);
        Ok(())
    }

    /// What was due and went is gone; an aircraft may have another session by now, but none that is over.
    fn check_removed<B: Backend>(&self, backend: &mut B) -> Outcome {
        for due in self.removed.iter() {
            let is_there = match due {
                Due::Window(carrier, hour_ms) => {
                    backend.get(WINDOWS, &Cell::in_window(*carrier, *hour_ms), |sums| sums.is_some())?
                }
                Due::Session(tail) => backend.get(SESSIONS, &Cell::of(*tail), |session| {
                    session.map(words).is_some_and(|[_, to_ms, ..]: [u64; 4]| to_ms <= self.now_ms)
                })?,
                Due::Weather(airport, hour_ms) => {
                    let user_key = hour_ms.to_be_bytes();
                    backend.map_get(WEATHER, &Cell::of(*airport), &user_key, |row| row.is_some())?
                }
                Due::Early(airport, hour_ms) => {
                    let below = early_key(hour_ms + 1, 0);
                    let mut is_there = false;
                    let span = Span { from: &[], below: &below };
                    backend.map_scan(EARLY, &Cell::of(*airport), span, |_, _| is_there = true)?;
                    is_there
                }
            };
            if is_there {
                return wrong(format!("what was removed is there: {due:?}"));
            }
        }
        Ok(())
    }
}

/// The fifth and the sixth: temperatures, and flights that have one.
fn with_weather(mut more: Sums, row: &[u8; 16]) -> Sums {
    let temperature = row.first_chunk::<4>().map_or(i32::MIN, |field| i32::from_le_bytes(*field));
    if temperature != i32::MIN {
        (more[4], more[5]) = (i64::from(temperature) as u64, 1);
    }
    more
}

impl Workload for Flights {
    type Event = Event;

    fn tables(&self) -> Vec<Kind> {
        vec![Kind::Map, Kind::Value, Kind::Map, Kind::Value, Kind::Value, Kind::Value]
    }

    fn events(&self) -> u64 {
        self.events
    }

    fn generate(&mut self, count: usize, out: &mut Vec<Event>) {
        let end = self.made + count as u64;
        out.extend((self.made..end).map(|number| Event::of(number, &self.replay.event(number))));
        self.made = end;
    }

    fn process<B: Backend>(&mut self, backend: &mut B, events: &[Event], answers: &mut Answers) -> Outcome {
        for event in events {
            let hour_ms = event.seen_ms / HOUR_MS * HOUR_MS;
            if hour_ms > self.now_ms {
                self.fire(backend, hour_ms, answers)?;
            }
            match &event.row {
                Row::Plane(tail, row) => {
                    backend.put(PLANES, &Cell::of(*tail), row)?;
                    let bytes = KEY_BYTES + row.len();
                    self.live += bytes as i64;
                    answers.did(1);
                    answers.wrote(bytes as u64);
                }
                Row::Weather(airport, hour_ms, row) => self.weather(backend, *airport, *hour_ms, row, answers)?,
                Row::Flight(flight) => self.flight(backend, event.number, event.seen_ms, flight, answers)?,
            }
            self.done += 1;
        }
        Ok(())
    }

    fn check<B: Backend>(&mut self, backend: &mut B, answers: &mut Answers) -> Outcome {
        for (number, due) in (0..).zip(self.due.values().flatten().step_by(7)) {
            match due {
                Due::Window(carrier, hour_ms) => {
                    let cell = Cell::in_window(*carrier, *hour_ms);
                    backend.get(WINDOWS, &cell, |sums| answers.see(number, sums))?;
                }
                Due::Session(tail) => {
                    backend.get(SESSIONS, &Cell::of(*tail), |session| answers.see(number, session))?;
                    backend.get(PLANES, &Cell::of(*tail), |plane| answers.see(number, plane))?;
                }
                Due::Weather(airport, hour_ms) => {
                    let user_key = hour_ms.to_be_bytes();
                    backend.map_get(WEATHER, &Cell::of(*airport), &user_key, |row| answers.see(number, row))?;
                }
                Due::Early(airport, _) => {
                    let cell = Cell::of(*airport);
                    backend.map_scan(EARLY, &cell, Span::ALL, |user_key, row| {
                        answers.see_entry(number, user_key, row);
                    })?;
                }
            }
        }
        self.check_removed(backend)
    }

    fn live_bytes(&self) -> u64 {
        self.live.max(0) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::{BTree, Hash, Place};

    fn place(path: &std::path::Path) -> Place {
        let tables = vec![Kind::Map, Kind::Value, Kind::Map, Kind::Value, Kind::Value, Kind::Value];
        Place { path: path.to_owned(), budget_bytes: 64 << 20, tables }
    }

    /// Counted by others (in Python, from the package's tables): every flight that has weather and a plane finds them, those that
    /// left too early included; in the second year as in the first.
    #[test]
    fn all_flights_that_match_are_joined() -> Outcome {
        let directory = tempfile::tempdir()?;
        let mut flights = Flights::years(2, 1)?;
        let mut backend = Hash::open(&place(directory.path()))?;
        let (mut answers, mut events) = (Answers::default(), Vec::new());
        for year in 1..=2 {
            events.clear();
            flights.generate((flights.events() / 2) as usize, &mut events);
            flights.process(&mut backend, &events, &mut answers)?;
            let end_ms = flights.now_ms + 2 * LATE_MS;
            if year == 2 {
                flights.fire(&mut backend, end_ms, &mut answers)?;
            }
            assert_eq!(flights.matches, Matches { weather: year * 335_220, planes: year * 284_170 });
        }
        Ok(())
    }

    /// In the end nothing is left but planes, and of these what was counted.
    #[test]
    fn what_is_due_goes() -> Outcome {
        let directory = tempfile::tempdir()?;
        let mut flights = Flights::years(1, 10)?;
        let mut backend = BTree::open(&place(directory.path()))?;
        let (mut answers, mut events) = (Answers::default(), Vec::new());
        flights.generate(flights.events() as usize, &mut events);
        flights.process(&mut backend, &events, &mut answers)?;
        let mut counts = Vec::new();
        for table in 0..flights.tables().len() {
            counts.push(backend.count(table)?);
        }
        assert!([WEATHER, PLANES, WINDOWS, SESSIONS].iter().all(|table| counts[*table] > 10), "{counts:?}");
        let end_ms = flights.now_ms + 2 * LATE_MS;
        flights.fire(&mut backend, end_ms, &mut answers)?;
        for table in [WEATHER, EARLY, WINDOWS, SESSIONS] {
            assert_eq!(backend.count(table)?, 0, "table {table}");
        }
        let planes = events.iter().filter_map(|event| match &event.row {
            Row::Plane(_, row) => Some((KEY_BYTES + row.len()) as u64),
            _ => None,
        });
        assert_eq!(flights.live_bytes(), planes.sum::<u64>());
        Ok(())
    }
}
