//! The job that is poisoned: a flight goes to its plane, its airline and its airport, each of which has keys of its own.
//!
//! That is what a stream processor makes of a flight, once for each operator and the key that it is sent by. So an event has
//! up to three *parts*, known by the same offset of three sources, and a part touches one key: whatever depends on it lies there, or
//! comes from there.
//!
//! - Planes, [thirty days](MONTH_MINUTES) of each (read and written): how many legs, where it is, and how late it still is from legs before. It
//!   makes up for that on the ground. Whoever is very late gets an alert (a map by plane, too).
//! - Airlines (added to): the delays of a scheduled hour, in minutes.
//! - Airports (overwritten): the board of a day, a map of its departures.

use std::sync::Arc;

use alluvium::key::{Key, key_group_of};
use alluvium::{Applying, Error, EventId, Handler, MergeOperator, State, StateOptions, Store};

use serde::{Deserialize, Serialize};

use crate::input::Flight;
use crate::input::time::MINUTE_MS;
use crate::job::bytes::{Fields, ShortBytes};

/// How many key groups the store has.
pub const KEY_GROUPS: u32 = 128;
/// From how many minutes on a plane gets an alert.
const ALERT_MINUTES: u32 = 360;
const DAY_MINUTES: u32 = 24 * 60;
/// What a plane's state is about.
const MONTH_MINUTES: u32 = 30 * DAY_MINUTES;
const CANCELLED: i32 = i32::MIN;

/// A state of the job.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Table {
    /// Values by plane and month: legs, last departure and minutes that it is late (`u32` each), where it is.
    Planes,
    /// Maps by plane and month, by departure: how late it was.
    Alerts,
    /// Sums by airline, a namespace for each hour.
    Delays,
    /// Maps by airport, a namespace for each day, by departure: the delay.
    Boards,
}

/// All states and their names.
pub const TABLES: [(Table, &str); 4] =
    [(Table::Planes, "planes"), (Table::Alerts, "alerts"), (Table::Delays, "delays"), (Table::Boards, "boards")];

/// Who takes a part of an event; its number is that of the source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operator {
    /// By plane.
    Planes,
    /// By airline.
    Airlines,
    /// By airport.
    Airports,
}

/// What an operator is told of a flight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part<'a> {
    operator: Operator,
    /// Which repetition of the input: it has keys of its own.
    period: u16,
    /// Minutes since 1970.
    scheduled: u32,
    /// In minutes, or [`CANCELLED`].
    delay: i32,
    number: u16,
    /// Of a plane where it flies, of an airport which airline.
    detail: &'a str,
    /// The plane, airline or airport.
    name: &'a str,
}

/// Whether two flights are in one plane's state, if they are of one plane and period.
pub fn is_same_month(one: &Flight<'_>, other: &Flight<'_>) -> bool {
    let month = |flight: &Flight<'_>| flight.scheduled_ms / MINUTE_MS / u64::from(MONTH_MINUTES);
    month(one) == month(other)
}

/// What the operators are told of a flight; a plane that isn't known, or doesn't leave, is told nothing.
pub fn parts<'a>(period: u16, flight: &Flight<'a>) -> impl Iterator<Item = Part<'a>> + use<'a> {
    let scheduled = u32::try_from(flight.scheduled_ms / MINUTE_MS).unwrap_or(u32::MAX);
    let delay = flight.delay.unwrap_or(CANCELLED);
    let part =
        Part { operator: Operator::Planes, period, scheduled, delay, number: flight.number, detail: "", name: "" };
    let plane = flight.tail.filter(|_| flight.delay.is_some()).map(|name| Part { detail: flight.dest, name, ..part });
    let airline = Part { operator: Operator::Airlines, name: flight.carrier, ..part };
    let airport = Part { operator: Operator::Airports, detail: flight.carrier, name: flight.origin, ..part };
    plane.into_iter().chain([airline, airport])
}

impl<'a> Part<'a> {
    /// The id of this part of the event at an offset of the input.
    pub const fn id(&self, offset: u64) -> EventId {
        EventId { source: self.operator as u32, offset }
    }

    /// The key.
    pub fn key(&self) -> ShortBytes {
        let key = ShortBytes::new().with(&self.period.to_be_bytes());
        match self.operator {
            Operator::Planes => key.with(&self.month().to_be_bytes()).with(self.name.as_bytes()),
            Operator::Airlines | Operator::Airports => key.with(self.name.as_bytes()),
        }
    }

    const fn month(&self) -> u32 {
        self.scheduled / MONTH_MINUTES
    }

    /// Where the key lies.
    pub fn group(&self) -> alluvium::KeyGroup {
        key_group_of(&self.key(), KEY_GROUPS)
    }

    /// Appends it as the handler is given it.
    pub fn push(&self, out: &mut Vec<u8>) {
        out.push(self.operator as u8);
        out.extend_from_slice(&self.period.to_le_bytes());
        out.extend_from_slice(&self.scheduled.to_le_bytes());
        out.extend_from_slice(&self.delay.to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&ShortBytes::new().with_text(self.detail.as_bytes()));
        out.extend_from_slice(self.name.as_bytes());
    }

    fn take(bytes: &'a [u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let operator = match fields.u8() {
            0 => Operator::Planes,
            1 => Operator::Airlines,
            2 => Operator::Airports,
            _ => return None,
        };
        let (period, scheduled, delay, number) = (fields.u16(), fields.u32(), fields.i32(), fields.u16());
        let detail = std::str::from_utf8(fields.text()).ok()?;
        Some(Self { operator, period, scheduled, delay, number, detail, name: std::str::from_utf8(fields.0).ok()? })
    }
}

/// A store of the job's states, or something like it.
pub trait Places {
    /// What it fails with.
    type Error;

    /// Replaces a value by what `change` makes of it.
    fn update(
        &mut self,
        table: Table,
        key: &[u8],
        change: impl FnOnce(Option<&[u8]>) -> ShortBytes,
    ) -> Result<(), Self::Error>;

    /// Adds to a sum.
    fn add(&mut self, table: Table, key: &[u8], namespace: &[u8], amount: i64) -> Result<(), Self::Error>;

    /// Sets an entry of a map.
    fn map_put(
        &mut self,
        table: Table,
        key: &[u8],
        namespace: &[u8],
        user_key: &[u8],
        value: &[u8],
    ) -> Result<(), Self::Error>;
}

/// What an operator does with its part of an event.
pub fn take<P: Places>(part: &Part<'_>, places: &mut P) -> Result<(), P::Error> {
    let key = part.key();
    let departure = ShortBytes::new().with(&part.scheduled.to_be_bytes()).with(&part.number.to_be_bytes());
    match part.operator {
        Operator::Planes => {
            let mut late = 0;
            places.update(Table::Planes, &key, |old| {
                let mut fields = Fields(old.unwrap_or_default());
                let (legs, last, before) = (fields.u32(), fields.u32(), fields.u32());
                let made_up = part.scheduled.saturating_sub(last);
                late = before.saturating_sub(made_up) + u32::try_from(part.delay).unwrap_or(0);
                let numbers = [legs + 1, last.max(part.scheduled), late].map(u32::to_le_bytes);
                ShortBytes::new().with(numbers.as_flattened()).with(part.detail.as_bytes())
            })?;
            if late < ALERT_MINUTES {
                return Ok(());
            }
            places.map_put(Table::Alerts, &key, &[], &departure, &late.to_le_bytes())
        }
        Operator::Airlines => {
            let delay = if part.delay == CANCELLED { 0 } else { part.delay };
            places.add(Table::Delays, &key, &(part.scheduled / 60).to_be_bytes(), delay.into())
        }
        Operator::Airports => {
            let day = (part.scheduled / DAY_MINUTES).to_be_bytes();
            let departure = departure.with(part.detail.as_bytes());
            places.map_put(Table::Boards, &key, &day, &departure, &part.delay.to_le_bytes())
        }
    }
}

/// The job's states in a store.
#[derive(Clone, Copy, Debug)]
pub struct States([State; 4]);

impl States {
    /// Registers them.
    pub fn register(store: &Store) -> alluvium::Result<Self> {
        let state = |(table, name): (Table, &str)| {
            let options = match table {
                Table::Planes => StateOptions::value(name),
                Table::Delays => StateOptions::merging(name, MergeOperator::I64Add),
                Table::Alerts | Table::Boards => StateOptions::map(name),
            };
            store.state(options.log(alluvium::LogMode::Event).traced())
        };
        let [planes, alerts, delays, boards] = TABLES.map(state);
        Ok(Self([planes?, alerts?, delays?, boards?]))
    }

    /// The state.
    pub const fn of(&self, table: Table) -> State {
        self.0[table as usize]
    }

    /// Which one a state is.
    pub fn table(&self, state: State) -> Option<Table> {
        TABLES.iter().map(|(table, _)| *table).find(|table| self.of(*table) == state)
    }
}

/// Does it in a store.
#[derive(Debug)]
pub struct Flights(States);

impl Flights {
    /// One that is to be registered.
    pub fn with(states: States) -> Arc<dyn Handler> {
        Arc::new(Self(states))
    }
}

impl Handler for Flights {
    fn name(&self) -> &str {
        "flights"
    }

    fn version(&self) -> u32 {
        1
    }

    fn apply(&self, event: &[u8], applying: &mut Applying<'_>) -> alluvium::Result<()> {
        let part = Part::take(event).ok_or_else(|| Error::Background("no part of a flight".into()))?;
        take(&part, &mut InStore { states: &self.0, applying })
    }
}

struct InStore<'a, 'b> {
    states: &'a States,
    applying: &'a mut Applying<'b>,
}

impl Places for InStore<'_, '_> {
    type Error = Error;

    fn update(
        &mut self,
        table: Table,
        key: &[u8],
        change: impl FnOnce(Option<&[u8]>) -> ShortBytes,
    ) -> alluvium::Result<()> {
        let key = Key::new(self.applying.group(), key);
        self.applying.update(self.states.of(table), key, |old| Some(change(old)))
    }

    fn add(&mut self, table: Table, key: &[u8], namespace: &[u8], amount: i64) -> alluvium::Result<()> {
        let key = Key::new(self.applying.group(), key).in_namespace(namespace);
        self.applying.merge(self.states.of(table), key, &amount.to_le_bytes())
    }

    fn map_put(
        &mut self,
        table: Table,
        key: &[u8],
        namespace: &[u8],
        user_key: &[u8],
        value: &[u8],
    ) -> alluvium::Result<()> {
        let key = Key::new(self.applying.group(), key).in_namespace(namespace);
        self.applying.map_put(self.states.of(table), key, user_key, value)
    }
}
