//! The stream: flights without end, and among them the poisoned ones.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::job::{self, Part};
use crate::failure::{Failure, Outcome};
use crate::input::{Flight, FlightId, Replay};
use crate::run::plan::Random;

/// How late a poisoned flight says that it is, in minutes.
pub const POISON_MINUTES: i32 = 100_000;
/// How far away a flight may be whose plane a poisoned one names.
const PLANE_WITHIN: u64 = 2_000;

/// A poisoned event: a flight comes a second time, [`POISON_MINUTES`] late and with another one's plane.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Poison {
    /// Where in the stream.
    pub offset: u64,
    /// Which flight: the one right before it.
    pub flight: u64,
    /// Whose plane: a later one's, of the same period and month, so that something depends on it.
    pub plane_of: u64,
}

/// So many flights, and among them the poisoned ones.
#[derive(Debug)]
pub struct Stream {
    replay: Replay,
    /// A period's.
    flights: Vec<FlightId>,
    events: u64,
    poisons: Vec<Poison>,
}

impl Stream {
    /// Opens the input, the embedded one or a file.
    pub fn open(input: Option<&Path>, events: u64) -> Outcome<Self> {
        let replay = Replay::open(input).map_err(Failure::usage)?;
        Self::new(replay, events)
    }

    /// `events` flights of a replay.
    pub fn new(replay: Replay, events: u64) -> Outcome<Self> {
        const PERIODS_MAX: u64 = 10_000;
        let flights: Vec<FlightId> = replay.flight_ids().collect();
        if events > PERIODS_MAX * flights.len() as u64 {
            return Err(Failure::usage(format_args!("--events: more than {PERIODS_MAX} times the input's flights")));
        }
        Ok(Self { replay, flights, events, poisons: Vec::new() })
    }

    /// The same with poisoned events.
    #[must_use]
    pub fn with(self, poisons: Vec<Poison>) -> Self {
        Self { poisons, ..self }
    }

    /// Draws `count` poisoned events. None of them comes in the last tenth: something is to depend on it.
    pub fn draw(&self, seed: u64, count: u32) -> Outcome<Vec<Poison>> {
        const TRIES: u32 = 1_000;
        let mut random = Random::new(seed);
        let mut drawn = std::collections::BTreeMap::new();
        let span = self.events - self.events / 10;
        for _ in 0..u64::from(TRIES) * u64::from(count) {
            if drawn.len() as u64 == u64::from(count) {
                break;
            }
            let flight = random.below(span);
            let plane_of = flight + 1 + random.below(PLANE_WITHIN);
            if plane_of < self.events
                && self.period(flight) == self.period(plane_of)
                && let (Some(tail), Some(other)) = (self.flown(flight), self.flown(plane_of))
                && tail != other
                && job::is_same_month(&self.flight(flight), &self.flight(plane_of))
            {
                drawn.entry(flight).or_insert(plane_of);
            }
        }
        if (drawn.len() as u64) < u64::from(count) {
            return Err(Failure::usage(format_args!("--poison: {count} are too many for {} events", self.events)));
        }
        let poisons = (1..).zip(drawn).map(|(number, (flight, plane_of))| {
            let offset = flight + number;
            Poison { offset, flight, plane_of }
        });
        Ok(poisons.collect())
    }

    /// The plane of a flight that left.
    fn flown(&self, number: u64) -> Option<&str> {
        let flight = self.flight(number);
        flight.tail.filter(|_| flight.delay.is_some())
    }

    /// How many events it has, the poisoned ones included: their offsets are below.
    pub fn len(&self) -> u64 {
        self.events + self.poisons.len() as u64
    }

    /// Which period a flight belongs to.
    pub fn period(&self, flight: u64) -> u16 {
        // No more periods than u16 has: see `new`.
        (flight / self.flights.len() as u64) as u16
    }

    /// The offsets of a period's events, the poisoned ones included.
    pub fn offsets(&self, period: u16) -> std::ops::Range<u64> {
        let offset = |flight: u64| match flight < self.events {
            true => flight + self.poisons.partition_point(|poison| poison.flight < flight) as u64,
            false => self.len(),
        };
        let period_flights = self.flights.len() as u64;
        offset(u64::from(period) * period_flights)..offset((u64::from(period) + 1) * period_flights)
    }

    fn flight(&self, number: u64) -> Flight<'_> {
        let id = self.flights[(number % self.flights.len() as u64) as usize];
        self.replay.flight_of(self.period(number), id)
    }

    /// A poisoned flight.
    pub fn poisoned(&self, poison: &Poison) -> Flight<'_> {
        Flight { delay: Some(POISON_MINUTES), tail: self.flight(poison.plane_of).tail, ..self.flight(poison.flight) }
    }

    /// The parts of the event at an offset, and whether it is a poisoned one.
    pub fn parts(&self, offset: u64) -> (bool, impl Iterator<Item = Part<'_>>) {
        let before = self.poisons.partition_point(|poison| poison.offset < offset);
        let poison = self.poisons.get(before).filter(|poison| poison.offset == offset);
        let number = poison.map_or_else(|| offset - before as u64, |poison| poison.flight);
        let flight = poison.map_or_else(|| self.flight(number), |poison| self.poisoned(poison));
        (poison.is_some(), job::parts(self.period(number), &flight))
    }

    /// The flight itself of a poisoned one.
    pub fn original(&self, poison: &Poison) -> Flight<'_> {
        self.flight(poison.flight)
    }

    /// The poisoned events.
    pub fn poisons(&self) -> &[Poison] {
        &self.poisons
    }
}
