//! Statistics that run on: per airline, airport, route and aircraft.

use alluvium::error::Result;

use super::Job;
use super::bytes::{Fields, ShortBytes, at, name_key, route_key};
use super::store::JobStore;
use super::table::Table;
use crate::input::time::{DAY_MS, HOUR_MS};
use crate::input::{Flight, Plane};

impl<S: JobStore> Job<S> {
    /// Enters a plane into the register.
    pub(super) fn register_plane(&mut self, period: u16, plane: &Plane<'_>) -> Result<()> {
        let mut value = Vec::with_capacity(4 + plane.model.len());
        value.extend_from_slice(&plane.built_year.to_le_bytes());
        value.extend_from_slice(&plane.seats.to_le_bytes());
        value.extend_from_slice(plane.model.as_bytes());
        self.store.put(Table::Planes, at(&name_key(period, plane.tail)), &value)
    }

    /// The seats of an aircraft by the register; 0 where it isn't in there.
    pub(super) fn seats_of(&mut self, period: u16, tail: &str) -> Result<u16> {
        let key = name_key(period, tail);
        self.store.read(Table::Planes, at(&key), |value| {
            value.map_or(0, |value| Fields(value.get(2..).unwrap_or_default()).u16())
        })
    }

    /// Counts a flight, and its arrival's delay where it is known, for its airline. Mean and variance follow from the
    /// sums, which are exact.
    pub(super) fn add_to_carrier(&mut self, period: u16, flight: &Flight<'_>) -> Result<()> {
        let key = name_key(period, flight.carrier);
        self.store.update(Table::Carriers, at(&key), |old| {
            let mut fields = Fields(old.unwrap_or_default());
            let (flights, cancelled, arrived) = (fields.u64(), fields.u64(), fields.u64());
            let (sum, squares) = (fields.i64(), fields.i128());
            let delay = i64::from(flight.arrival_delay.unwrap_or(0));
            let mut value = [0; 48];
            value[..8].copy_from_slice(&(flights + 1).to_le_bytes());
            value[8..16].copy_from_slice(&(cancelled + u64::from(flight.delay.is_none())).to_le_bytes());
            value[16..24].copy_from_slice(&(arrived + u64::from(flight.arrival_delay.is_some())).to_le_bytes());
            value[24..32].copy_from_slice(&(sum + delay).to_le_bytes());
            value[32..].copy_from_slice(&(squares + i128::from(delay * delay)).to_le_bytes());
            Some(value)
        })
    }

    /// Counts a departure for its airport and hour of the day.
    pub(super) fn count_departure(&mut self, period: u16, flight: &Flight<'_>) -> Result<()> {
        let key = name_key(period, flight.origin);
        // Less than 24.
        let hour_of_day = [(flight.scheduled_ms % DAY_MS / HOUR_MS) as u8];
        self.store.add(Table::Departures, at(&key).in_namespace(&hour_of_day), 1)
    }

    /// Notes a departure with its aircraft: its history, its latest flight by schedule, and the route's set of aircraft.
    pub(super) fn note_aircraft(&mut self, period: u16, flight: &Flight<'_>, tail: &str, delay: i32) -> Result<()> {
        let key = name_key(period, tail);
        let scheduled = flight.scheduled_ms.to_le_bytes();
        let head = ShortBytes::new().with(&scheduled).with(&delay.to_le_bytes());
        self.store.append(Table::History, at(&key), &head.with(flight.dest.as_bytes()))?;
        self.store.update(Table::LastFlight, at(&key), |old| match old {
            Some(old) if Fields(old).u64() > flight.scheduled_ms => Some(old.to_vec()),
            _ => Some(head.with_text(flight.origin.as_bytes()).with_text(flight.dest.as_bytes()).to_vec()),
        })?;
        let route = route_key(period, flight.origin, flight.dest);
        let known = self.store.map_get(Table::RouteAircraft, at(&route), tail.as_bytes())?;
        if known.is_none() {
            self.store.add(Table::RouteDistinct, at(&route), 1)?;
        }
        let count = known.map_or(0, |count| Fields(&count).u32()) + 1;
        self.store.map_put(Table::RouteAircraft, at(&route), tail.as_bytes(), &count.to_le_bytes())
    }
}
