//! The batch's states by route: windows, aircraft, and days over all periods.

use std::collections::BTreeMap;

use super::{Departure, Emit, Oracle, PeriodView, emit_row, emit_timer, route_of_all};
use crate::check::row::push_element;
use crate::input::time::{DAY_MS, HOUR_MS};
use crate::job::LATENESS_MS;
use crate::job::table::Table;

const WINDOW_END: u8 = 0;
const WINDOW_EXPIRY: u8 = 1;
const DAY_END: u8 = 4;

/// The windows of one day of the first period: when each closes, its flights, their delays' sum.
type Day = Vec<(u64, u64, i64)>;

impl PeriodView<'_, '_, '_> {
    /// Windows and aircraft of each route.
    pub(super) fn windows(&mut self) {
        let oracle = self.oracle;
        oracle.grouped(
            &oracle.by_route,
            |flight| (flight.origin, flight.dest),
            |departures| {
                let key = self.route(&departures[0].flight);
                self.route_aircraft(&key, departures);
                let mut taken: Vec<&Departure<'_>> =
                    departures.iter().filter(|departure| departure.in_time()).collect();
                self.count(Table::Late, &key, b"window", departures.len() - taken.len());
                taken.sort_by_key(|departure| (departure.hour_ms(), departure.ordinal));
                let same_hour = |left: &&Departure<'_>, right: &&Departure<'_>| left.hour_ms() == right.hour_ms();
                taken.chunk_by(same_hour).for_each(|window| self.window(&key, window));
            },
        );
    }

    fn window(&mut self, key: &[u8], window: &[&Departure<'_>]) {
        let start_ms = window[0].hour_ms() + self.shift_ms;
        let (end_ms, namespace) = (start_ms + HOUR_MS, start_ms.to_be_bytes());
        let mut delays: Vec<i32> = window.iter().map(|departure| departure.delay).collect();
        delays.sort_unstable();
        // A period has fewer than 2^32 events.
        let count = (window.len() as u32).to_le_bytes();
        let sum: i64 = delays.iter().copied().map(i64::from).sum();
        let (min, max) = (delays[0].to_le_bytes(), delays[delays.len() - 1].to_le_bytes());
        let median = delays[(delays.len() - 1) / 2].to_le_bytes();
        let oracle_end_ms = self.oracle.end_ms;
        if end_ms <= oracle_end_ms {
            // Once for all that came before the end, once for each that came after it.
            let late = window.iter().filter(|departure| departure.watermark_ms + self.shift_ms >= end_ms).count();
            // A period has fewer than 2^32 events.
            let firings = late as u32 + u32::from(late < window.len());
            let value = [&count[..], &sum.to_le_bytes(), &min, &median, &max, &firings.to_le_bytes()].concat();
            self.row(Table::WindowResults, key, &namespace, None, &value);
        }
        if end_ms + LATENESS_MS > oracle_end_ms {
            let value = [&count[..], &sum.to_le_bytes(), &min, &max].concat();
            self.row(Table::Windows, key, &namespace, None, &value);
            let mut flights = Vec::new();
            for departure in window {
                let (delay, number) = (departure.delay.to_le_bytes(), departure.flight.number.to_le_bytes());
                push_element(&mut flights, &[&delay[..], &number, departure.flight.carrier.as_bytes()].concat());
            }
            self.row(Table::WindowFlights, key, &namespace, None, &flights);
        }
        self.timer(end_ms, WINDOW_END, key, &namespace);
        self.timer(end_ms + LATENESS_MS, WINDOW_EXPIRY, key, &namespace);
    }

    fn route_aircraft(&mut self, key: &[u8], departures: &[Departure<'_>]) {
        let mut aircraft: BTreeMap<&str, u32> = BTreeMap::new();
        for tail in departures.iter().filter_map(|departure| departure.flight.tail) {
            *aircraft.entry(tail).or_default() += 1;
        }
        for (tail, count) in &aircraft {
            self.row(Table::RouteAircraft, key, &[], Some(tail.as_bytes()), &count.to_le_bytes());
        }
        self.count(Table::RouteDistinct, key, &[], aircraft.len());
    }
}

impl Oracle<'_> {
    /// Closed windows per route and day, and each closed day beside the week a period before.
    pub(super) fn route_days(&self, emit: Emit<'_>) {
        self.grouped(
            &self.by_route,
            |flight| (flight.origin, flight.dest),
            |departures| {
                let flight = departures[0].flight;
                let route = Route { oracle: self, days: days_of(departures) };
                route.emit(&route_of_all(flight.origin, flight.dest), emit);
            },
        );
    }
}

/// The windows of a route in the first period, by day.
fn days_of(departures: &[Departure<'_>]) -> BTreeMap<u32, Day> {
    let mut windows: BTreeMap<u64, (u64, i64)> = BTreeMap::new();
    for departure in departures.iter().filter(|departure| departure.in_time()) {
        let window = windows.entry(departure.hour_ms()).or_default();
        *window = (window.0 + 1, window.1 + i64::from(departure.delay));
    }
    let mut days: BTreeMap<u32, Day> = BTreeMap::new();
    for (start_ms, (count, sum)) in windows {
        let closed_ms = start_ms + HOUR_MS + LATENESS_MS;
        days.entry(u32::try_from(start_ms / DAY_MS).unwrap_or(u32::MAX)).or_default().push((closed_ms, count, sum));
    }
    days
}

struct Route<'o, 'r> {
    oracle: &'o Oracle<'r>,
    /// By the day in the first period.
    days: BTreeMap<u32, Day>,
}

impl Route<'_, '_> {
    /// Flights and delays of a day in the windows that one period gives it; `None` where none of them is closed.
    fn part(&self, day: u32, period: u16) -> Option<(u64, i64)> {
        let first_day = day.checked_sub(u32::from(period).checked_mul(self.oracle.period_days)?)?;
        let shift_ms = u64::from(period) * self.oracle.period_ms;
        let closed = self.days.get(&first_day)?.iter().filter(|window| window.0 + shift_ms <= self.oracle.end_ms);
        closed.fold(None, |total, window| {
            let (count, sum) = total.unwrap_or((0, 0));
            Some((count + window.1, sum + window.2))
        })
    }

    /// Flights and delays of a day, from every period that has windows in it.
    fn total(&self, day: u32) -> (u64, i64) {
        let parts = self.periods_of(day).filter_map(|period| self.part(day, period));
        parts.fold((0, 0), |total, part| (total.0 + part.0, total.1 + part.1))
    }

    /// The periods whose days can include `day`, in order.
    fn periods_of(&self, day: u32) -> impl Iterator<Item = u16> + use<> {
        let length = self.oracle.period_days;
        let first = self.days.keys().next().copied().unwrap_or(0);
        let last = self.days.keys().next_back().copied().unwrap_or(0);
        let low = day.saturating_sub(last).div_ceil(length);
        let high = day.checked_sub(first).map_or(0, |after| after / length + 1);
        let periods = self.oracle.periods;
        (0..periods).skip(low as usize).take((high.saturating_sub(low)) as usize)
    }

    fn emit(&self, key: &[u8], emit: Emit<'_>) {
        for period in 0..self.oracle.periods {
            for &first_day in self.days.keys() {
                let day = first_day + u32::from(period) * self.oracle.period_days;
                // A day that two periods share is emitted with the first of them that closed a window in it.
                if self.periods_of(day).find(|&period| self.part(day, period).is_some()) == Some(period) {
                    self.emit_day(key, day, emit);
                }
            }
        }
    }

    fn emit_day(&self, key: &[u8], day: u32, emit: Emit<'_>) {
        let (count, sum) = self.total(day);
        let this = [count.to_le_bytes(), sum.to_le_bytes()].concat();
        emit_row(emit, Table::RouteDays, key, &[], Some(&day.to_be_bytes()), &this);
        let due_ms = (u64::from(day) + 1) * DAY_MS + LATENESS_MS + 1;
        emit_timer(emit, self.oracle.end_ms, due_ms, DAY_END, key, &day.to_be_bytes());
        if due_ms > self.oracle.end_ms {
            return;
        }
        let week = day.checked_sub(self.oracle.period_days).map_or((0, 0), |last| {
            let days = (last.saturating_sub(6)..=last).map(|day| self.total(day));
            days.fold((0, 0), |total, day| (total.0 + day.0, total.1 + day.1))
        });
        let value = [&this[..], &week.0.to_le_bytes(), &week.1.to_le_bytes()].concat();
        emit_row(emit, Table::RouteTrend, key, &day.to_be_bytes(), None, &value);
    }
}
