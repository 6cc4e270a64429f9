//! The job's states: their names, their kinds, and how their bytes are laid out and shown.
//!
//! Keys begin with the period's number (`u16`, big-endian), so that each repetition of the input has keys of its own;
//! only the states by calendar day run through all periods. Numbers in keys, namespaces and user keys are big-endian,
//! so that they sort; numbers in values are little-endian.

use crate::input::time::{show_day, show_time};

/// How many key groups the job's store has.
pub const KEY_GROUPS: u32 = 128;

/// What a state holds under a key and namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// One value.
    Value,
    /// A list of elements.
    List,
    /// An ordered map.
    Map,
    /// A `u64` that operands are added to.
    Sum,
}

/// A field of a key, namespace, user key, element or value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Field {
    /// One byte.
    U8,
    /// Two bytes.
    U16,
    /// Four bytes.
    U32,
    /// Eight bytes.
    U64,
    /// Four bytes, signed.
    I32,
    /// Eight bytes, signed.
    I64,
    /// Sixteen bytes, signed.
    I128,
    /// Milliseconds since 1970 in eight bytes.
    Time,
    /// Days since 1970 in four bytes.
    Day,
    /// A byte of length, then text.
    Text,
    /// Text up to the end.
    Rest,
}

/// Names and kinds of the fields that follow each other in a byte string.
pub type Layout = &'static [(&'static str, Field)];

/// A state of the job.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Table {
    /// The register of planes.
    Planes,
    /// Open hourly windows per route.
    Windows,
    /// The flights of each open window.
    WindowFlights,
    /// What each window came to.
    WindowResults,
    /// When to do what; one map for each key group.
    Timers,
    /// The two sides of the join while they wait for each other.
    JoinBuffer,
    /// Flights with their weather.
    Joined,
    /// Flights whose weather never came, per airport.
    Unmatched,
    /// Departures per airport and hour of the day.
    Departures,
    /// Open sessions per aircraft, several in one value.
    Sessions,
    /// Closed sessions per aircraft.
    SessionResults,
    /// Each aircraft's latest departure.
    LastFlight,
    /// All departures of each aircraft.
    History,
    /// The aircraft seen on each route, with how often.
    RouteAircraft,
    /// How many aircraft each route has seen.
    RouteDistinct,
    /// Delay statistics per airline.
    Carriers,
    /// Events that came too late.
    Late,
    /// Closed windows per route and day, over all periods.
    RouteDays,
    /// Each closed day beside the week a period before it.
    RouteTrend,
    /// Where the job stood at the last checkpoint.
    Position,
}

/// What a state is.
#[derive(Debug)]
pub struct TableInfo {
    /// The state.
    pub table: Table,
    /// Its name in the store.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// The key's fields.
    pub key: Layout,
    /// The namespace's fields; empty where there is no namespace.
    pub namespace: Layout,
    /// The user key's fields, of a map.
    pub user_key: Layout,
    /// The value's fields; of a list, one element's.
    pub value: Layout,
}

const ROUTE: Layout = &[("period", Field::U16), ("origin", Field::Text), ("dest", Field::Text)];
const ROUTE_OF_ALL: Layout = &[("origin", Field::Text), ("dest", Field::Text)];
const AIRCRAFT: Layout = &[("period", Field::U16), ("aircraft", Field::Rest)];
const AIRPORT: Layout = &[("period", Field::U16), ("origin", Field::Rest)];
const HOUR: Layout = &[("hour", Field::Time)];
const COUNT: Layout = &[("count", Field::U64)];
const NONE: Layout = &[];
/// The bytes of one open session.
pub const SESSION_BYTES: usize = 36;
const OPEN_SESSION: Layout = &[
    ("start", Field::Time),
    ("end", Field::Time),
    ("flights", Field::U32),
    ("miles", Field::U64),
    ("seats", Field::U64),
];
const SESSION: Layout = &[("end", Field::Time), ("flights", Field::U32), ("miles", Field::U64), ("seats", Field::U64)];

macro_rules! table {
    ($table:ident $name:literal $kind:ident, $key:expr, $namespace:expr, $user_key:expr, $value:expr) => {
        TableInfo {
            table: Table::$table,
            name: $name,
            kind: Kind::$kind,
            key: $key,
            namespace: $namespace,
            user_key: $user_key,
            value: $value,
        }
    };
}

/// All states, in the order of [`Table`].
pub static TABLES: [TableInfo; 20] = [
    table!(Planes "planes" Value, AIRCRAFT, NONE, NONE,
        &[("built", Field::U16), ("seats", Field::U16), ("model", Field::Rest)]),
    table!(Windows "windows" Value, ROUTE, HOUR, NONE,
        &[("count", Field::U32), ("sum", Field::I64), ("min", Field::I32), ("max", Field::I32)]),
    table!(WindowFlights "window_flights" List, ROUTE, HOUR, NONE,
        &[("delay", Field::I32), ("flight", Field::U16), ("carrier", Field::Rest)]),
    table!(WindowResults "window_results" Value, ROUTE, HOUR, NONE,
        &[("count", Field::U32), ("sum", Field::I64), ("min", Field::I32), ("median", Field::I32),
          ("max", Field::I32), ("firings", Field::U32)]),
    table!(Timers "timers" Map, NONE, NONE,
        &[("due", Field::Time), ("kind", Field::U8), ("key", Field::Text), ("namespace", Field::Text)], NONE),
    table!(JoinBuffer "join_buffer" Map, AIRPORT, HOUR, &[("side", Field::U8), ("ordinal", Field::U32)],
        &[("fields", Field::Rest)]),
    table!(Joined "joined" Map, AIRPORT, NONE, &[("hour", Field::Time), ("ordinal", Field::U32)],
        &[("delay", Field::I32), ("flight", Field::U16), ("carrier", Field::Text), ("temperature", Field::I32),
          ("wind", Field::I32), ("rain", Field::I32), ("visibility", Field::I32)]),
    table!(Unmatched "unmatched" Sum, AIRPORT, NONE, NONE, COUNT),
    table!(Departures "departures" Sum, AIRPORT, &[("hour_of_day", Field::U8)], NONE, COUNT),
    table!(Sessions "sessions" Value, AIRCRAFT, NONE, NONE, OPEN_SESSION),
    table!(SessionResults "session_results" Map, AIRCRAFT, NONE, &[("start", Field::Time)], SESSION),
    table!(LastFlight "last_flight" Value, AIRCRAFT, NONE, NONE,
        &[("scheduled", Field::Time), ("delay", Field::I32), ("origin", Field::Text), ("dest", Field::Text)]),
    table!(History "history" List, AIRCRAFT, NONE, NONE,
        &[("scheduled", Field::Time), ("delay", Field::I32), ("dest", Field::Rest)]),
    table!(RouteAircraft "route_aircraft" Map, ROUTE, NONE, &[("aircraft", Field::Rest)], &[("count", Field::U32)]),
    table!(RouteDistinct "route_distinct" Sum, ROUTE, NONE, NONE, COUNT),
    table!(Carriers "carriers" Value, &[("period", Field::U16), ("carrier", Field::Rest)], NONE, NONE,
        &[("flights", Field::U64), ("cancelled", Field::U64), ("arrived", Field::U64), ("sum", Field::I64),
          ("sum_of_squares", Field::I128)]),
    table!(Late "late" Sum, &[("period", Field::U16), ("key", Field::Rest)], &[("dropped_from", Field::Rest)], NONE,
        COUNT),
    table!(RouteDays "route_days" Map, ROUTE_OF_ALL, NONE, &[("day", Field::Day)],
        &[("count", Field::U64), ("sum", Field::I64)]),
    table!(RouteTrend "route_trend" Value, ROUTE_OF_ALL, &[("day", Field::Day)], NONE,
        &[("count", Field::U64), ("sum", Field::I64), ("week_count", Field::U64), ("week_sum", Field::I64)]),
    table!(Position "position" Value, NONE, NONE, NONE, &[("event", Field::U64)]),
];

impl Table {
    /// What the state is.
    pub fn info(self) -> &'static TableInfo {
        &TABLES[self as usize]
    }

    /// The state of a number, as [`Table`] counts them.
    pub fn from_index(index: usize) -> Option<Self> {
        TABLES.get(index).map(|info| info.table)
    }
}

/// Shows bytes field by field (`count=3 sum=-4`), or as hexadecimal digits where they don't fit the layout. `sorted`
/// tells big-endian from little-endian numbers.
pub fn show_fields(layout: Layout, bytes: &[u8], sorted: bool) -> String {
    let mut shown = Vec::with_capacity(layout.len());
    let mut rest = bytes;
    for &(name, field) in layout {
        match take_field(field, &mut rest, sorted) {
            Some(text) => shown.push(format!("{name}={text}")),
            None => return show_hex(bytes),
        }
    }
    if rest.is_empty() { shown.join(" ") } else { show_hex(bytes) }
}

/// Bytes as hexadecimal digits; of long ones the first 64.
pub fn show_hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().take(64).map(|byte| format!("{byte:02x}")).collect();
    if bytes.len() > 64 { format!("0x{digits}... ({} bytes)", bytes.len()) } else { format!("0x{digits}") }
}

fn take_field(field: Field, rest: &mut &[u8], sorted: bool) -> Option<String> {
    let width = match field {
        Field::U8 | Field::Text => 1,
        Field::U16 => 2,
        Field::U32 | Field::I32 | Field::Day => 4,
        Field::U64 | Field::I64 | Field::Time => 8,
        Field::I128 => 16,
        Field::Rest => rest.len(),
    };
    let (bytes, tail) = rest.split_at_checked(width)?;
    *rest = tail;
    if field == Field::Rest {
        return Some(show_text(bytes));
    }
    let ordered: Vec<u8> = if sorted { bytes.to_vec() } else { bytes.iter().rev().copied().collect() };
    let number = ordered.iter().fold(0_u128, |number, &byte| number << 8 | u128::from(byte));
    // The width says how many bits.
    let text = match field {
        Field::I32 if number as u32 as i32 == i32::MIN => "unknown".to_owned(),
        Field::I32 => (number as u32 as i32).to_string(),
        Field::I64 => (number as u64 as i64).to_string(),
        Field::I128 => (number as i128).to_string(),
        Field::Time => show_time(number as u64),
        Field::Day => show_day(number as u32),
        Field::Text => {
            let (text, tail) = rest.split_at_checked(number as usize)?;
            *rest = tail;
            show_text(text)
        }
        _ => number.to_string(),
    };
    Some(text)
}

fn show_text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => show_hex(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_stand_at_their_own_number() {
        for (index, info) in TABLES.iter().enumerate() {
            assert_eq!(info.table as usize, index, "{}", info.name);
            assert_eq!(Table::from_index(index), Some(info.table));
        }
        assert_eq!(Table::from_index(TABLES.len()), None);
    }

    #[test]
    fn bytes_are_shown_by_their_layout_or_as_digits() {
        let info = Table::Windows.info();
        let mut key = 3_u16.to_be_bytes().to_vec();
        key.extend_from_slice(b"\x03EWR\x03IAH");
        assert_eq!(show_fields(info.key, &key, true), "period=3 origin=EWR dest=IAH");
        let mut value = 2_u32.to_le_bytes().to_vec();
        value.extend_from_slice(&(-9_i64).to_le_bytes());
        value.extend_from_slice(&(-7_i32).to_le_bytes());
        value.extend_from_slice(&(-2_i32).to_le_bytes());
        assert_eq!(show_fields(info.value, &value, false), "count=2 sum=-9 min=-7 max=-2");
        assert_eq!(show_fields(info.value, &value[1..], false), show_hex(&value[1..]));
        assert_eq!(show_fields(info.key, b"\0\x01\x09EWR", true), "0x000109455752");
    }
}
