//! UTC times: milliseconds since 1970, read from and shown as text.

/// Milliseconds in a minute.
pub const MINUTE_MS: u64 = 60_000;
/// Milliseconds in an hour.
pub const HOUR_MS: u64 = 60 * MINUTE_MS;
/// Milliseconds in a day.
pub const DAY_MS: u64 = 24 * HOUR_MS;

/// Days from 1970-01-01 to a date of the Gregorian calendar (Hinnant, *chrono-compatible low-level date algorithms*,
/// `days_from_civil`).
fn days_from_date(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The date that lies `days` after 1970-01-01 (`civil_from_days` of the same source).
fn date_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0_i64, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
}

/// Reads `2013-01-01T10:00:00Z`, or the same with a blank in place of the `T` and without the `Z`.
pub fn parse_time(text: &[u8]) -> Option<u64> {
    let text = text.strip_suffix(b"Z").unwrap_or(text);
    let marks = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    if text.len() != 19 || !marks.iter().all(|&(at, mark)| text[at] == mark) || !matches!(text[10], b'T' | b' ') {
        return None;
    }
    let field = |from: usize, to: usize| digits(&text[from..to]);
    let (year, month, day) = (field(0, 4)?, field(5, 7)?, field(8, 10)?);
    let (hour, minute, second) = (field(11, 13)?, field(14, 16)?, field(17, 19)?);
    let days = days_from_date(year, month, day);
    let valid = date_from_days(days) == (year, month, day) && hour < 24 && minute < 60 && second < 60;
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
    u64::try_from(seconds).ok().filter(|_| valid).map(|seconds| seconds * 1_000)
}

/// `2013-01-01 10:00`, with seconds and milliseconds only where there are any.
pub fn show_time(time_ms: u64) -> String {
    let Ok(days) = i64::try_from(time_ms / DAY_MS) else { return format!("{time_ms} ms") };
    let (year, month, day) = date_from_days(days);
    let in_day_ms = time_ms % DAY_MS;
    let (hour, minute) = (in_day_ms / HOUR_MS, in_day_ms / MINUTE_MS % 60);
    let rest = match time_ms % MINUTE_MS {
        0 => String::new(),
        rest_ms => format!(":{:02}.{:03}", rest_ms / 1_000, rest_ms % 1_000),
    };
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}{rest}")
}

/// `2013-01-01`, of a number of days since 1970-01-01.
pub fn show_day(days: u32) -> String {
    let (year, month, day) = date_from_days(i64::from(days));
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_shown() {
        assert_eq!(parse_time(b"1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(parse_time(b"2013-01-01T10:00:00Z"), Some(1_357_034_400_000));
        assert_eq!(parse_time(b"2013-01-01 10:00:00"), Some(1_357_034_400_000));
        assert_eq!(show_time(1_357_034_400_000), "2013-01-01 10:00");
        assert_eq!(show_time(1_357_034_401_250), "2013-01-01 10:00:01.250");
        assert_eq!(show_day(15_706), "2013-01-01");
    }

    #[test]
    fn every_day_of_four_centuries_survives_both_ways() {
        for days in 0..146_097 {
            let (year, month, day) = date_from_days(days);
            assert_eq!(days_from_date(year, month, day), days);
        }
    }

    #[test]
    fn dates_that_do_not_exist_are_refused() {
        for text in ["2013-02-29T00:00:00Z", "2013-13-01T00:00:00Z", "2013-01-01T24:00:00Z", "2013-01-01", "", "NA"] {
            assert_eq!(parse_time(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse_time("2013-01-0\u{e9}T0:00:00Z".as_bytes()), None);
    }
}
