//! The job's input: three streams of events, merged into one sequence.
//!
//! A [`Replay`] holds one *period* (a year, for the embedded data) of flights, weather and planes in the order in which
//! they were seen, and repeats it: the `n`-th period is the first one moved by `n` times [`Replay::period_ms`], under
//! keys of its own. An event is named by its index in that endless sequence, so "where the job stands" is one number.
//!
//! Flights are seen when they leave and belong to the time at which they were scheduled to leave: that is where the
//! sequence's disorder comes from. Cancelled ones are seen when scheduled. Weather is seen at its hour; planes are
//! reference data, seen at the start of each period.

mod load;
pub mod table;
pub mod time;

use time::DAY_MS;

/// One event of the sequence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event<'a> {
    /// Which repetition of the input it belongs to.
    pub period: u16,
    /// Its number in the period.
    pub ordinal: u32,
    /// When it was seen, in milliseconds since 1970; never less than that of the event before.
    pub seen_ms: u64,
    /// What happened.
    pub body: Body<'a>,
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Body<'a> {
    /// A plane's entry in the register.
    Plane(Plane<'a>),
    /// One hour's weather at one airport.
    Weather(Weather<'a>),
    /// A flight that left or was cancelled.
    Flight(Flight<'a>),
}

/// An aircraft of the register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plane<'a> {
    /// The tail number.
    pub tail: &'a str,
    /// The year it was built; 0 where unknown.
    pub built_year: u16,
    /// The number of seats.
    pub seats: u16,
    /// Maker and model.
    pub model: &'a str,
}

/// The weather of an hour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Weather<'a> {
    /// The airport.
    pub origin: &'a str,
    /// The hour it describes, in milliseconds since 1970.
    pub hour_ms: u64,
    /// Temperature in hundredths of a degree Fahrenheit.
    pub temperature: Option<i32>,
    /// Wind speed in hundredths of a mile an hour.
    pub wind: Option<i32>,
    /// Rain in hundredths of an inch.
    pub rain: Option<i32>,
    /// Visibility in hundredths of a mile.
    pub visibility: Option<i32>,
}

/// A flight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flight<'a> {
    /// The scheduled departure, in milliseconds since 1970.
    pub scheduled_ms: u64,
    /// The delay of the departure in minutes; `None` where the flight was cancelled.
    pub delay: Option<i32>,
    /// The delay of the arrival in minutes, where it is known.
    pub arrival_delay: Option<i32>,
    /// The airline.
    pub carrier: &'a str,
    /// The airline's number for the flight.
    pub number: u16,
    /// The aircraft, where it is known.
    pub tail: Option<&'a str>,
    /// Where it left.
    pub origin: &'a str,
    /// Where it flew.
    pub dest: &'a str,
    /// How far, in miles.
    pub distance: u16,
}

/// A short text, as its number among all of a replay's.
type NameId = u32;

#[derive(Clone, Debug)]
struct FlightRow {
    /// Seconds after [`Replay::origin_ms`].
    scheduled_s: u32,
    delay: Option<i16>,
    arrival_delay: Option<i16>,
    number: u16,
    distance: u16,
    carrier: NameId,
    tail: Option<NameId>,
    origin: NameId,
    dest: NameId,
}

#[derive(Clone, Debug)]
struct WeatherRow {
    origin: NameId,
    hour_s: u32,
    measures: [Option<i32>; 4],
}

#[derive(Clone, Debug)]
struct PlaneRow {
    tail: NameId,
    built_year: u16,
    seats: u16,
    model: NameId,
}

/// A place in the period's sequence: when it is seen, which stream it is of, and its row there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Slot {
    seen_s: u32,
    stream: Stream,
    row: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Stream {
    Planes,
    Weather,
    Flights,
}

/// A flight of a period.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlightId(u32);

/// A period of input, repeated without end. See the module's description.
#[derive(Debug)]
pub struct Replay {
    names: Vec<Box<str>>,
    planes: Vec<PlaneRow>,
    weather: Vec<WeatherRow>,
    flights: Vec<FlightRow>,
    /// In the order of sight; rows of one moment in the order of their files.
    slots: Vec<Slot>,
    /// What the rows' seconds count from.
    origin_ms: u64,
    period_ms: u64,
}

impl Replay {
    /// How many events a period has; at least 1.
    pub fn period_events(&self) -> u64 {
        self.slots.len() as u64
    }

    /// By how much each period is later than the one before: whole days, and longer than the period itself.
    pub fn period_ms(&self) -> u64 {
        self.period_ms
    }

    /// The period's length in days.
    pub fn period_days(&self) -> u32 {
        u32::try_from(self.period_ms / DAY_MS).unwrap_or(u32::MAX)
    }

    /// How many flights a period has.
    pub fn period_flights(&self) -> u64 {
        self.flights.len() as u64
    }

    /// A period's flights, in the order in which they are seen.
    pub fn flight_ids(&self) -> impl Iterator<Item = FlightId> {
        self.slots.iter().filter(|slot| slot.stream == Stream::Flights).map(|slot| FlightId(slot.row))
    }

    /// A flight of a period.
    ///
    /// # Panics
    /// At one of another replay.
    pub fn flight_of(&self, period: u16, id: FlightId) -> Flight<'_> {
        let base_ms = self.origin_ms + u64::from(period) * self.period_ms;
        self.flight(id.0 as usize, |seconds| base_ms + u64::from(seconds) * 1_000)
    }

    fn name(&self, id: NameId) -> &str {
        &self.names[id as usize]
    }

    /// The event of an index; indexes run on from period to period.
    ///
    /// # Panics
    /// At an index beyond the 65,536th period: the number of periods is checked before a run begins.
    pub fn event(&self, index: u64) -> Event<'_> {
        let period = u16::try_from(index / self.period_events()).unwrap_or(u16::MAX);
        // A period has fewer than 2^32 events: rows are u32.
        let ordinal = (index % self.period_events()) as u32;
        let slot = self.slots[ordinal as usize];
        let base_ms = self.origin_ms + u64::from(period) * self.period_ms;
        let at = |seconds: u32| base_ms + u64::from(seconds) * 1_000;
        let row = slot.row as usize;
        let body = match slot.stream {
            Stream::Planes => Body::Plane(self.plane(row)),
            Stream::Weather => Body::Weather(self.weather(row, at)),
            Stream::Flights => Body::Flight(self.flight(row, at)),
        };
        Event { period, ordinal, seen_ms: at(slot.seen_s), body }
    }

    fn plane(&self, row: usize) -> Plane<'_> {
        let row = &self.planes[row];
        Plane { tail: self.name(row.tail), built_year: row.built_year, seats: row.seats, model: self.name(row.model) }
    }

    fn weather(&self, row: usize, at: impl Fn(u32) -> u64) -> Weather<'_> {
        let row = &self.weather[row];
        let [temperature, wind, rain, visibility] = row.measures;
        Weather { origin: self.name(row.origin), hour_ms: at(row.hour_s), temperature, wind, rain, visibility }
    }

    fn flight(&self, row: usize, at: impl Fn(u32) -> u64) -> Flight<'_> {
        let row = &self.flights[row];
        Flight {
            scheduled_ms: at(row.scheduled_s),
            delay: row.delay.map(i32::from),
            arrival_delay: row.arrival_delay.map(i32::from),
            carrier: self.name(row.carrier),
            number: row.number,
            tail: row.tail.map(|tail| self.name(tail)),
            origin: self.name(row.origin),
            dest: self.name(row.dest),
            distance: row.distance,
        }
    }
}
