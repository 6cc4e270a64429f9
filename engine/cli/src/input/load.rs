//! Loading a [`Replay`]: the embedded tables, or flights of the user's.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::table::{InputError, Line, read_table};
use super::time::{DAY_MS, HOUR_MS, MINUTE_MS};
use super::{FlightRow, NameId, PlaneRow, Replay, Slot, Stream, WeatherRow};

static FLIGHTS: &[u8] = include_bytes!("../../data/flights.csv.gz");
static WEATHER: &[u8] = include_bytes!("../../data/weather.csv.gz");
static PLANES: &[u8] = include_bytes!("../../data/planes.csv.gz");

const FLIGHT_COLUMNS: [&str; 10] =
    ["time_hour", "minute", "dep_delay", "arr_delay", "carrier", "flight", "tailnum", "origin", "dest", "distance"];
const WEATHER_COLUMNS: [&str; 6] = ["origin", "time_hour", "temp", "wind_speed", "precip", "visib"];
const PLANE_COLUMNS: [&str; 5] = ["tailnum", "year", "manufacturer", "model", "seats"];

/// No delay is longer than this many minutes (22 days); it keeps a delay within 16 bits.
const DELAY_MINUTES_MAX: i32 = 32_000;
/// How long a file of flights may be, from first to last: about 100 years.
const SPAN_MS_MAX: u64 = 36_525 * DAY_MS;

/// Names to numbers, each once.
#[derive(Default)]
struct Names {
    list: Vec<Box<str>>,
    ids: HashMap<Box<str>, NameId>,
}

impl Names {
    fn id(&mut self, name: &str) -> NameId {
        if let Some(&id) = self.ids.get(name) {
            return id;
        }
        // There are fewer names than bytes of input memory / 16.
        let id = self.list.len() as NameId;
        self.list.push(name.into());
        self.ids.insert(name.into(), id);
        id
    }
}

/// A flight before its times are made relative.
struct TimedFlight {
    scheduled_ms: u64,
    seen_ms: u64,
    row: FlightRow,
}

impl Replay {
    /// The embedded year.
    pub fn embedded() -> Result<Self, InputError> {
        Self::load("flights.csv.gz", FLIGHTS, usize::MAX)
    }

    /// The first `flights` rows of the embedded flights, in the order of their file, with their weather and planes.
    pub fn embedded_head(flights: usize) -> Result<Self, InputError> {
        Self::load("flights.csv.gz", FLIGHTS, flights)
    }

    /// The flights of another file, with the embedded weather and planes as far as they match.
    pub fn from_file(path: &Path) -> Result<Self, InputError> {
        let name = path.display().to_string();
        let refuse = |problem: String| InputError { file: name.clone(), line: 0, column: None, problem };
        let file = File::open(path).map_err(|error| refuse(error.to_string()))?;
        Self::load(&name, file, usize::MAX)
    }

    /// The flights of `file` where one is given, else the embedded ones.
    pub fn open(file: Option<&Path>) -> Result<Self, InputError> {
        file.map_or_else(Self::embedded, Self::from_file)
    }

    fn load(name: &str, flights: impl Read, flights_max: usize) -> Result<Self, InputError> {
        let mut names = Names::default();
        let flights = read_flights(name, flights, flights_max, &mut names)?;
        let hours = flights.iter().map(|flight| flight.scheduled_ms / HOUR_MS * HOUR_MS);
        let (Some(first_ms), Some(last_ms)) = (hours.clone().min(), hours.max()) else {
            let problem = "there are no flights after the header".to_owned();
            return Err(InputError { file: name.to_owned(), line: 2, column: None, problem });
        };
        let weather = read_weather(first_ms, last_ms, &mut names)?;
        let planes = read_planes(&mut names)?;
        assemble(names.list, planes, weather, flights).map_err(|problem| {
            let line = 0;
            InputError { file: name.to_owned(), line, column: None, problem }
        })
    }
}

fn read_flights(
    name: &str,
    input: impl Read,
    rows_max: usize,
    names: &mut Names,
) -> Result<Vec<TimedFlight>, InputError> {
    let mut flights = Vec::new();
    let done = read_table(name, input, &FLIGHT_COLUMNS, |line| {
        if flights.len() < rows_max {
            flights.push(read_flight(line, names)?);
        }
        Ok(())
    });
    done.map(|()| flights)
}

fn read_flight(line: &Line<'_>, names: &mut Names) -> Result<TimedFlight, InputError> {
    let minute = line.number(1, 0, 59)?.unsigned_abs();
    let scheduled_ms = line.time_ms(0)? / HOUR_MS * HOUR_MS + u64::from(minute) * MINUTE_MS;
    let delay = line.number_if_known(2, -DELAY_MINUTES_MAX, DELAY_MINUTES_MAX)?;
    let arrival_delay = line.number_if_known(3, -DELAY_MINUTES_MAX, DELAY_MINUTES_MAX)?;
    let delay_ms = i64::from(delay.unwrap_or(0)) * 60_000;
    let narrow = |delay: Option<i32>| delay.and_then(|delay| i16::try_from(delay).ok());
    let row = FlightRow {
        scheduled_s: 0,
        delay: narrow(delay),
        arrival_delay: narrow(arrival_delay),
        carrier: names.id(line.code(4)?),
        number: unsigned(line.number(5, 0, 65_535)?),
        tail: line.code_if_known(6)?.map(|tail| names.id(tail)),
        origin: names.id(line.code(7)?),
        dest: names.id(line.code(8)?),
        distance: unsigned(line.number(9, 0, 65_535)?),
    };
    Ok(TimedFlight { scheduled_ms, seen_ms: scheduled_ms.saturating_add_signed(delay_ms), row })
}

/// A number that was checked to lie from 0 to 65,535.
fn unsigned(number: i32) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

/// The embedded weather of the hours from `first_ms` to `last_ms`.
fn read_weather(first_ms: u64, last_ms: u64, names: &mut Names) -> Result<Vec<(u64, WeatherRow)>, InputError> {
    let mut weather = Vec::new();
    read_table("weather.csv.gz", WEATHER, &WEATHER_COLUMNS, |line| {
        let hour_ms = line.time_ms(1)? / HOUR_MS * HOUR_MS;
        let mut measures = [None; 4];
        for (measure, column) in measures.iter_mut().zip(2..) {
            *measure = line.hundredths_if_known(column)?;
        }
        if (first_ms..=last_ms).contains(&hour_ms) {
            weather.push((hour_ms, WeatherRow { origin: names.id(line.code(0)?), hour_s: 0, measures }));
        }
        Ok(())
    })?;
    Ok(weather)
}

fn read_planes(names: &mut Names) -> Result<Vec<PlaneRow>, InputError> {
    let mut planes = Vec::new();
    read_table("planes.csv.gz", PLANES, &PLANE_COLUMNS, |line| {
        let model = format!("{} {}", line.text(2)?, line.text(3)?);
        planes.push(PlaneRow {
            tail: names.id(line.code(0)?),
            built_year: unsigned(line.number_if_known(1, 0, 65_535)?.unwrap_or(0)),
            seats: unsigned(line.number(4, 0, 65_535)?),
            model: names.id(&model),
        });
        Ok(())
    })?;
    Ok(planes)
}

/// Merges the three streams by when their rows are seen.
fn assemble(
    names: Vec<Box<str>>,
    planes: Vec<PlaneRow>,
    mut weather: Vec<(u64, WeatherRow)>,
    mut flights: Vec<TimedFlight>,
) -> Result<Replay, String> {
    let times = flights.iter().flat_map(|flight| [flight.scheduled_ms, flight.seen_ms]);
    let times = times.chain(weather.iter().map(|&(hour_ms, _)| hour_ms));
    let origin_ms = times.clone().min().unwrap_or(0);
    let span_ms = times.max().unwrap_or(0) - origin_ms;
    if span_ms > SPAN_MS_MAX {
        return Err(format!("the flights span {} days; {} are the most", span_ms / DAY_MS, SPAN_MS_MAX / DAY_MS));
    }
    // The span is at most 36,525 days, checked above.
    let relative_s = |time_ms: u64| ((time_ms - origin_ms) / 1_000) as u32;
    let mut slots = Vec::with_capacity(planes.len() + weather.len() + flights.len());
    for (row, (hour_ms, weather)) in (0..).zip(&mut weather) {
        weather.hour_s = relative_s(*hour_ms);
        slots.push(Slot { seen_s: weather.hour_s, stream: Stream::Weather, row });
    }
    for (row, flight) in (0..).zip(&mut flights) {
        flight.row.scheduled_s = relative_s(flight.scheduled_ms);
        slots.push(Slot { seen_s: relative_s(flight.seen_ms), stream: Stream::Flights, row });
    }
    let first_s = slots.iter().map(|slot| slot.seen_s).min().unwrap_or(0);
    for (row, _) in (0..).zip(&planes) {
        slots.push(Slot { seen_s: first_s, stream: Stream::Planes, row });
    }
    slots.sort_unstable();
    let last_s = slots.last().map_or(0, |slot| slot.seen_s);
    let period_ms = (u64::from(last_s - first_s) * 1_000 + 1).next_multiple_of(DAY_MS);
    let weather = weather.into_iter().map(|(_, row)| row).collect();
    let flights = flights.into_iter().map(|flight| flight.row).collect();
    Ok(Replay { names, planes, weather, flights, slots, origin_ms, period_ms })
}

#[cfg(test)]
mod tests {
    use super::super::{Body, Event};
    use super::*;

    #[test]
    fn the_embedded_year_is_whole_and_in_order() {
        let replay = Replay::embedded().unwrap();
        assert_eq!(replay.period_flights(), 336_776);
        assert_eq!(replay.planes.len(), 3_322);
        assert_eq!(replay.period_days(), 365);
        let events: Vec<Event<'_>> = (0..replay.period_events()).map(|index| replay.event(index)).collect();
        assert!(events.is_sorted_by_key(|event| event.seen_ms));
        let disorder = events.windows(2).filter(|pair| match (pair[0].body, pair[1].body) {
            (Body::Flight(first), Body::Flight(second)) => second.scheduled_ms < first.scheduled_ms,
            _ => false,
        });
        assert!(disorder.count() > 50_000, "the flights' own disorder is kept");
        let next = replay.event(replay.period_events());
        assert_eq!((next.period, next.ordinal, next.body), (1, 0, events[0].body));
        assert!(next.seen_ms > events.last().unwrap().seen_ms);
    }

    #[test]
    fn a_file_of_the_users_is_read_with_the_columns_of_the_package() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mine.csv");
        let header = "year,month,day,dep_time,sched_dep_time,dep_delay,arr_time,sched_arr_time,arr_delay,carrier,\
                      flight,tailnum,origin,dest,air_time,distance,hour,minute,time_hour";
        let rows = "2013,1,1,517,515,2,830,819,11,UA,1545,N14228,EWR,IAH,227,1400,5,15,2013-01-01T10:00:00Z\n\
                    2013,1,1,NA,1630,NA,NA,1815,NA,EV,4308,NA,EWR,RDU,NA,416,16,30,2013-01-01T21:00:00Z\n";
        std::fs::write(&path, format!("{header}\n{rows}")).unwrap();
        let replay = Replay::from_file(&path).unwrap();
        assert_eq!((replay.period_flights(), replay.period_days()), (2, 1));
        let last = replay.event(replay.period_events() - 1);
        let Body::Flight(flight) = last.body else { panic!("{last:?}") };
        assert_eq!((flight.delay, flight.tail, flight.number), (None, None, 4308));

        std::fs::write(&path, format!("{header}\n{}", rows.replace(",515,2,", ",515,two,"))).unwrap();
        let error = Replay::from_file(&path).unwrap_err().to_string();
        assert!(
            error.ends_with(
                "mine.csv: line 2, column 6 (dep_delay): \"two\" is not a whole number from -32000 to 32000"
            ),
            "{error}"
        );
        std::fs::write(&path, header).unwrap();
        assert!(
            Replay::from_file(&path)
                .unwrap_err()
                .to_string()
                .ends_with("line 2: there are no flights after the header")
        );
        assert!(Replay::from_file(&directory.path().join("none.csv")).is_err());
    }
}
