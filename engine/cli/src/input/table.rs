//! A CSV table read column by name, every complaint with its line and column.

use std::fmt;
use std::io::{BufRead, BufReader, Read};

use csv::ByteRecord;

use super::time::parse_time;

/// The longest code (carrier, airport, tail number) that is taken; longer ones mean that the file is something else.
const CODE_BYTES_MAX: usize = 12;

/// What is wrong with an input file, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InputError {
    /// The file, as the user named it.
    pub file: String,
    /// The line, counted from 1; 0 where the file couldn't be opened at all.
    pub line: u64,
    /// The column's number, counted from 1, and its name; `None` where the whole line is meant.
    pub column: Option<(usize, String)>,
    /// What is wrong.
    pub problem: String,
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if self.line > 0 {
            write!(f, ": line {}", self.line)?;
        }
        if let Some((number, name)) = &self.column {
            write!(f, ", column {number} ({name})")?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl std::error::Error for InputError {}

/// One line of a table, its wanted columns numbered in the order in which they were asked for.
pub struct Line<'a> {
    file: &'a str,
    number: u64,
    record: &'a ByteRecord,
    columns: &'a [(usize, &'static str)],
}

impl Line<'_> {
    fn bytes(&self, column: usize) -> &[u8] {
        self.record.get(self.columns[column].0).unwrap_or_default()
    }

    /// The complaint that `column` should have been `wanted`.
    fn wrong(&self, column: usize, wanted: &str) -> InputError {
        let (index, name) = self.columns[column];
        let found = String::from_utf8_lossy(self.bytes(column));
        let found: String = found.chars().take(40).collect();
        InputError {
            file: self.file.to_owned(),
            line: self.number,
            column: Some((index + 1, name.to_owned())),
            problem: format!("{found:?} is not {wanted}"),
        }
    }

    /// A point in time, in milliseconds since 1970.
    pub fn time_ms(&self, column: usize) -> Result<u64, InputError> {
        let wanted = "a time such as 2013-01-01T10:00:00Z";
        parse_time(self.bytes(column)).ok_or_else(|| self.wrong(column, wanted))
    }

    /// A short code of printable ASCII; `None` for `NA` and for nothing.
    pub fn code_if_known(&self, column: usize) -> Result<Option<&str>, InputError> {
        let bytes = self.bytes(column);
        if bytes.is_empty() || bytes == b"NA" {
            return Ok(None);
        }
        let fits = bytes.len() <= CODE_BYTES_MAX && bytes.iter().all(u8::is_ascii_graphic);
        let code = std::str::from_utf8(bytes).ok().filter(|_| fits);
        code.map(Some).ok_or_else(|| self.wrong(column, "a code of at most 12 printable ASCII characters"))
    }

    /// A short code of printable ASCII that has to be there.
    pub fn code(&self, column: usize) -> Result<&str, InputError> {
        self.code_if_known(column)?.ok_or_else(|| self.wrong(column, "a code"))
    }

    /// Any text, as UTF-8.
    pub fn text(&self, column: usize) -> Result<&str, InputError> {
        std::str::from_utf8(self.bytes(column)).map_err(|_| self.wrong(column, "UTF-8 text"))
    }

    /// A whole number from `low` to `high`; `None` for `NA` and for nothing.
    pub fn number_if_known(&self, column: usize, low: i32, high: i32) -> Result<Option<i32>, InputError> {
        let bytes = self.bytes(column);
        if bytes.is_empty() || bytes == b"NA" {
            return Ok(None);
        }
        // Tables that went through pandas show whole numbers as 12.0.
        let bytes = bytes.strip_suffix(b".0").unwrap_or(bytes);
        let number = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<i32>().ok());
        let number = number.filter(|number| (low..=high).contains(number));
        number.map(Some).ok_or_else(|| self.wrong(column, &format!("a whole number from {low} to {high}")))
    }

    /// A whole number from `low` to `high` that has to be there.
    pub fn number(&self, column: usize, low: i32, high: i32) -> Result<i32, InputError> {
        let wanted = || self.wrong(column, &format!("a whole number from {low} to {high}"));
        self.number_if_known(column, low, high)?.ok_or_else(wanted)
    }

    /// A decimal number in hundredths, rounded; `None` for `NA` and for nothing.
    pub fn hundredths_if_known(&self, column: usize) -> Result<Option<i32>, InputError> {
        let bytes = self.bytes(column);
        if bytes.is_empty() || bytes == b"NA" {
            return Ok(None);
        }
        let number = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<f64>().ok());
        let number = number.filter(|number| number.abs() <= 1e6);
        // At most 1e8 in magnitude.
        let hundredths = number.map(|number| (number * 100.0).round() as i32);
        hundredths.map(Some).ok_or_else(|| self.wrong(column, "a number"))
    }
}

/// Reads a CSV table, plain or packed with gzip, and hands each line to `each`. The header names the columns, which may
/// stand in any order and among others.
pub fn read_table<R: Read>(
    file: &str,
    input: R,
    wanted: &[&'static str],
    mut each: impl FnMut(&Line<'_>) -> Result<(), InputError>,
) -> Result<(), InputError> {
    let fail = |line, problem: String| InputError { file: file.to_owned(), line, column: None, problem };
    let mut input = BufReader::with_capacity(1 << 16, input);
    let magic = input.fill_buf().map_err(|error| fail(0, error.to_string()))?;
    let input: Box<dyn Read + '_> = match magic.starts_with(&[0x1F, 0x8B]) {
        true => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        false => Box::new(input),
    };
    let mut reader = csv::ReaderBuilder::new().from_reader(input);
    let header = reader.byte_headers().map_err(|error| fail(1, error.to_string()))?;
    let columns = find_columns(header, wanted).map_err(|problem| fail(1, problem))?;
    let mut record = ByteRecord::new();
    loop {
        let next_line = reader.position().line();
        match reader.read_byte_record(&mut record) {
            Ok(false) => return Ok(()),
            Ok(true) => {
                let number = record.position().map_or(next_line, csv::Position::line);
                each(&Line { file, number, record: &record, columns: &columns })?;
            }
            Err(error) => return Err(explain(file, next_line, &error)),
        }
    }
}

/// Where each wanted column stands.
fn find_columns(header: &ByteRecord, wanted: &[&'static str]) -> Result<Vec<(usize, &'static str)>, String> {
    if header.is_empty() {
        return Err("the file is empty; the first line has to name the columns".to_owned());
    }
    let mut columns = Vec::with_capacity(wanted.len());
    for &name in wanted {
        let index = header.iter().position(|field| field == name.as_bytes());
        let missing = || format!("there is no column {name}; needed are {}", wanted.join(", "));
        columns.push((index.ok_or_else(missing)?, name));
    }
    Ok(columns)
}

fn explain(file: &str, next_line: u64, error: &csv::Error) -> InputError {
    let (line, problem) = match error.kind() {
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
            let line = pos.as_ref().map_or(next_line, csv::Position::line);
            (line, format!("{len} fields where the header has {expected_len}"))
        }
        csv::ErrorKind::Io(error) => (next_line, format!("unreadable: {error}")),
        _ => (next_line, error.to_string()),
    };
    InputError { file: file.to_owned(), line, column: None, problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(text: &[u8]) -> String {
        let outcome = read_table("f.csv", text, &["when", "count"], |line| {
            line.time_ms(0)?;
            line.number(1, 0, 59)?;
            Ok(())
        });
        outcome.unwrap_err().to_string()
    }

    #[test]
    fn complaints_name_line_and_column() {
        let good = "count,other,when\n1,x,2013-01-01T10:00:00Z\n";
        read_table("f.csv", good.as_bytes(), &["when", "count"], |line| line.number(1, 0, 59).map(drop)).unwrap();
        let bad = format!("{good}60,x,2013-01-01T10:00:00Z\n");
        assert_eq!(
            complaint(bad.as_bytes()),
            "f.csv: line 3, column 1 (count): \"60\" is not a whole number from 0 to 59"
        );
        let bad = format!("{good}2,\"two\nlines\",2013-01-01T10:00:00Z\nNA,x,2013-01-01T10:00:00Z\n");
        assert_eq!(
            complaint(bad.as_bytes()),
            "f.csv: line 5, column 1 (count): \"NA\" is not a whole number from 0 to 59"
        );
        let bad = format!("{good}2,x,yesterday\n");
        assert_eq!(
            complaint(bad.as_bytes()),
            "f.csv: line 3, column 3 (when): \"yesterday\" is not a time such as 2013-01-01T10:00:00Z"
        );
        assert_eq!(complaint(format!("{good}2,x\n").as_bytes()), "f.csv: line 3: 2 fields where the header has 3");
    }

    #[test]
    fn files_that_are_something_else_are_told_apart() {
        assert_eq!(complaint(b""), "f.csv: line 1: the file is empty; the first line has to name the columns");
        assert_eq!(complaint(b"a,b\n1,2\n"), "f.csv: line 1: there is no column when; needed are when, count");
        let binary: Vec<u8> = (0..=255).collect();
        assert!(complaint(&binary).starts_with("f.csv: line 1: there is no column when"));
        assert!(complaint(&[0x1F, 0x8B, 8, 0, 0, 0]).starts_with("f.csv: line 1: "));
    }
}
