//! The batch's states by aircraft, airport and airline: planes, the join, sessions, histories, statistics.

use std::collections::{BTreeMap, BTreeSet};

use super::{Departure, PeriodView, push_text};
use crate::check::row::push_element;
use crate::input::Weather;
use crate::input::time::{DAY_MS, HOUR_MS};
use crate::job::table::Table;
use crate::job::{LATENESS_MS, SESSION_GAP_MS};

const JOIN_EXPIRY: u8 = 2;
const SESSION_END: u8 = 3;

impl PeriodView<'_, '_, '_> {
    pub(super) fn planes(&mut self) {
        for plane in self.oracle.planes.values() {
            let value = [&plane.built_year.to_le_bytes()[..], &plane.seats.to_le_bytes(), plane.model.as_bytes()];
            self.row(Table::Planes, &self.name(plane.tail), &[], None, &value.concat());
        }
    }

    /// Flights and weather by airport and hour.
    pub(super) fn join(&mut self) {
        let mut reports: BTreeMap<(&str, u64), Vec<(u32, Weather<'_>)>> = BTreeMap::new();
        for &(ordinal, weather) in &self.oracle.weather {
            reports.entry((weather.origin, weather.hour_ms)).or_default().push((ordinal, weather));
        }
        for (&(origin, hour_ms), reports) in &reports {
            let hour_ms = hour_ms + self.shift_ms;
            let Some((_, last)) = reports.last() else { continue };
            if hour_ms + HOUR_MS + LATENESS_MS > self.oracle.end_ms {
                let (key, hour) = (self.name(origin), hour_ms.to_be_bytes());
                self.row(Table::JoinBuffer, &key, &hour, Some(b"w\0\0\0\0"), &measures(last));
                self.timer(hour_ms + HOUR_MS + LATENESS_MS, JOIN_EXPIRY, &key, &hour);
            }
        }
        let oracle = self.oracle;
        oracle.grouped(&oracle.by_origin, |flight| flight.origin, |flights| self.join_airport(flights, &reports));
    }

    fn join_airport(&mut self, departures: &[Departure<'_>], reports: &BTreeMap<(&str, u64), Vec<(u32, Weather<'_>)>>) {
        let origin = departures[0].flight.origin;
        let key = self.name(origin);
        let (mut unmatched, mut waiting) = (0, BTreeSet::new());
        for departure in departures.iter().filter(|departure| departure.in_time()) {
            let hour_ms = departure.hour_ms() + self.shift_ms;
            let hour = hour_ms.to_be_bytes();
            let mut half = departure.delay.to_le_bytes().to_vec();
            half.extend_from_slice(&departure.flight.number.to_le_bytes());
            push_text(&mut half, departure.flight.carrier.as_bytes());
            let reports = reports.get(&(origin, departure.hour_ms())).map_or(&[][..], Vec::as_slice);
            // The latest report before the flight, else the first after it.
            let earlier = reports.partition_point(|&(ordinal, _)| ordinal < departure.ordinal);
            let ordinal = departure.ordinal.to_be_bytes();
            if let Some((_, weather)) = reports.get(earlier.saturating_sub(1)) {
                half.extend_from_slice(&measures(weather));
                self.row(Table::Joined, &key, &[], Some(&[&hour[..], &ordinal].concat()), &half);
            } else if hour_ms + HOUR_MS + LATENESS_MS <= self.oracle.end_ms {
                unmatched += 1;
            } else {
                self.row(Table::JoinBuffer, &key, &hour, Some(&[&b"f"[..], &ordinal].concat()), &half);
                waiting.insert(hour_ms);
            }
        }
        for hour_ms in waiting {
            self.timer(hour_ms + HOUR_MS + LATENESS_MS, JOIN_EXPIRY, &key, &hour_ms.to_be_bytes());
        }
        self.count(Table::Unmatched, &key, &[], unmatched);
        let late = departures.iter().filter(|departure| !departure.in_time()).count();
        self.count(Table::Late, &key, b"join", late);
        let mut by_hour = [0; 24];
        for departure in departures {
            // Less than 24.
            let hour_of_day = ((departure.flight.scheduled_ms % DAY_MS) / HOUR_MS) as usize;
            by_hour[hour_of_day] += 1;
        }
        for (hour_of_day, count) in (0_u8..).zip(by_hour) {
            self.count(Table::Departures, &key, &[hour_of_day], count);
        }
    }

    /// Runs of departures per aircraft, cut where the gap is too long.
    pub(super) fn sessions(&mut self) {
        let oracle = self.oracle;
        oracle.grouped(
            &oracle.by_tail,
            |flight| flight.tail,
            |departures| {
                let Some(tail) = departures[0].flight.tail else { return };
                let in_time =
                    |departure: &&Departure<'_>| departure.flight.scheduled_ms + LATENESS_MS > departure.watermark_ms;
                let mut taken: Vec<&Departure<'_>> = departures.iter().filter(in_time).collect();
                let key = self.name(tail);
                self.count(Table::Late, &key, b"session", departures.len() - taken.len());
                taken.sort_by_key(|departure| departure.flight.scheduled_ms);
                let close = |left: &&Departure<'_>, right: &&Departure<'_>| {
                    right.flight.scheduled_ms - left.flight.scheduled_ms <= SESSION_GAP_MS
                };
                let seats = oracle.planes.get(tail).map_or(0, |plane| u64::from(plane.seats));
                let mut open = Vec::new();
                taken.chunk_by(close).for_each(|run| self.session(&key, run, seats, &mut open));
                if !open.is_empty() {
                    self.row(Table::Sessions, &key, &[], None, &open);
                }
            },
        );
    }

    /// A session's result, or its part of the value with the open ones.
    fn session(&mut self, key: &[u8], run: &[&Departure<'_>], seats: u64, open: &mut Vec<u8>) {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { return };
        let start_ms = first.flight.scheduled_ms + self.shift_ms;
        let end_ms = last.flight.scheduled_ms + self.shift_ms;
        let miles: u64 = run.iter().map(|departure| u64::from(departure.flight.distance)).sum();
        let mut value = end_ms.to_le_bytes().to_vec();
        // A period has fewer than 2^32 events.
        value.extend_from_slice(&(run.len() as u32).to_le_bytes());
        value.extend_from_slice(&miles.to_le_bytes());
        value.extend_from_slice(&(seats * run.len() as u64).to_le_bytes());
        let due_ms = end_ms + SESSION_GAP_MS + LATENESS_MS;
        if due_ms <= self.oracle.end_ms {
            self.row(Table::SessionResults, key, &[], Some(&start_ms.to_be_bytes()), &value);
        } else {
            open.extend_from_slice(&start_ms.to_le_bytes());
            open.extend_from_slice(&value);
        }
        self.timer(due_ms, SESSION_END, key, &start_ms.to_be_bytes());
    }

    /// Each aircraft's departures and the latest of them.
    pub(super) fn aircraft(&mut self) {
        let oracle = self.oracle;
        oracle.grouped(
            &oracle.by_tail,
            |flight| flight.tail,
            |departures| {
                let Some(tail) = departures[0].flight.tail else { return };
                let key = self.name(tail);
                let mut history = Vec::new();
                for departure in departures {
                    let head = self.departure_head(departure);
                    push_element(&mut history, &[&head[..], departure.flight.dest.as_bytes()].concat());
                }
                self.row(Table::History, &key, &[], None, &history);
                let last = departures.iter().max_by_key(|departure| departure.flight.scheduled_ms);
                if let Some(last) = last {
                    let mut value = self.departure_head(last);
                    push_text(&mut value, last.flight.origin.as_bytes());
                    push_text(&mut value, last.flight.dest.as_bytes());
                    self.row(Table::LastFlight, &key, &[], None, &value);
                }
            },
        );
    }

    fn departure_head(&self, departure: &Departure<'_>) -> Vec<u8> {
        let scheduled_ms = departure.flight.scheduled_ms + self.shift_ms;
        [&scheduled_ms.to_le_bytes()[..], &departure.delay.to_le_bytes()].concat()
    }

    /// Counts and delays per airline.
    pub(super) fn carriers(&mut self) {
        let left = self.oracle.departures.iter().map(|departure| departure.flight);
        let mut by_carrier: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for flight in left.chain(self.oracle.cancelled.iter().copied()) {
            by_carrier.entry(flight.carrier).or_default().push(flight);
        }
        for (carrier, flights) in by_carrier {
            let cancelled = flights.iter().filter(|flight| flight.delay.is_none()).count() as u64;
            let delays: Vec<i64> = flights.iter().filter_map(|flight| flight.arrival_delay.map(i64::from)).collect();
            let sum: i64 = delays.iter().sum();
            let squares: i128 = delays.iter().map(|&delay| i128::from(delay) * i128::from(delay)).sum();
            let mut value = Vec::new();
            for number in [flights.len() as u64, cancelled, delays.len() as u64] {
                value.extend_from_slice(&number.to_le_bytes());
            }
            value.extend_from_slice(&sum.to_le_bytes());
            value.extend_from_slice(&squares.to_le_bytes());
            self.row(Table::Carriers, &self.name(carrier), &[], None, &value);
        }
    }
}

fn measures(weather: &Weather<'_>) -> Vec<u8> {
    let measures = [weather.temperature, weather.wind, weather.rain, weather.visibility];
    measures.iter().flat_map(|measure| measure.unwrap_or(i32::MIN).to_le_bytes()).collect()
}
