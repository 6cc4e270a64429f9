//! One run of a bench: its settings, and its results as JSON lines and as a table.

use super::Outcome;
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;

/// What a figure should be.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Target {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
    /// No target: it is there to be looked at.
    None,
}

impl Target {
    fn is_met(self, value: f64) -> Option<bool> {
        match self {
            Self::AtMost(limit) => Some(value <= limit),
            Self::AtLeast(limit) => Some(value >= limit),
            Self::None => None,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtMost(limit) => format!("<= {}", short(limit)),
            Self::AtLeast(limit) => format!(">= {}", short(limit)),
            Self::None => String::new(),
        }
    }
}

/// A figure with as many digits as anyone looks at.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 1000.0 => return grouped(value.round() as i64),
        size if size >= 100.0 || value.fract() == 0.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.digits$}")
}

fn grouped(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut out = String::from(if value < 0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// What a run is asked for, of every bench alike.
#[derive(Clone, clap::Args, Debug)]
pub struct Settings {
    /// Smaller and shorter: to see that it works, not for figures.
    #[arg(long)]
    pub quick: bool,
    /// Only the cases whose name contains this.
    #[arg(long)]
    pub case: Option<String>,
    /// The seed of everything random.
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// Where to make the stores' directories: on the disk that is to be measured.
    #[arg(long, default_value = ".")]
    pub directory: PathBuf,
    /// Drop all of the machine's caches for cold reads (as root), not only the store's files from the page cache.
    #[arg(long)]
    pub drop_caches: bool,
    /// Append the results to this file, one JSON object per line.
    #[arg(long)]
    pub record: Option<PathBuf>,
}

#[derive(Debug)]
struct Row {
    case: String,
    measure: String,
    value: f64,
    unit: &'static str,
    target: Target,
}

/// One run of a bench.
#[derive(Debug)]
pub struct Run {
    bench: &'static str,
    settings: Settings,
    rows: Vec<Row>,
}

impl Run {
    pub fn new(bench: &'static str, settings: Settings) -> Self {
        Self { bench, settings, rows: Vec::new() }
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn seed(&self) -> u64 {
        self.settings.seed
    }

    /// The first where the run is quick, else the second.
    pub fn pick<T>(&self, quick: T, full: T) -> T {
        if self.settings.quick { quick } else { full }
    }

    /// Whether a case is to be run.
    pub fn wants(&self, case: &str) -> bool {
        self.settings.case.as_ref().is_none_or(|wanted| case.contains(wanted))
    }

    /// A new directory, removed when dropped.
    pub fn directory(&self) -> Outcome<tempfile::TempDir> {
        std::fs::create_dir_all(&self.settings.directory)?;
        Ok(tempfile::Builder::new().prefix("alluvium-bench-").tempdir_in(&self.settings.directory)?)
    }

    /// Says what is being done.
    pub fn note(&self, text: &str) {
        eprintln!("{}: {text}", self.bench);
    }

    /// A result: written down at once, so that a run that is cut short leaves what it measured.
    pub fn result(&mut self, case: &str, measure: &str, value: f64, unit: &'static str, target: Target) -> Outcome {
        let line = json!({
            "bench": self.bench,
            "case": case,
            "measure": measure,
            "value": value,
            "unit": unit,
            "target": target.text(),
            "met": target.is_met(value),
            "quick": self.settings.quick,
            "seed": self.settings.seed,
        });
        println!("{line}");
        if let Some(record) = &self.settings.record {
            let mut file = std::fs::OpenOptions::new().create(true).append(true).open(record)?;
            writeln!(file, "{line}")?;
        }
        self.rows.push(Row { case: case.to_owned(), measure: measure.to_owned(), value, unit, target });
        Ok(())
    }

    /// A figure without a target.
    pub fn figure(&mut self, case: &str, measure: &str, value: f64, unit: &'static str) -> Outcome {
        self.result(case, measure, value, unit, Target::None)
    }

    /// Prints all results as a table, for people: to stderr, so that stdout stays JSON.
    pub fn print_table(&self) {
        let header = ["case", "measure", "value", "target", "met"].map(str::to_owned);
        let row = |row: &Row| {
            let met = match row.target.is_met(row.value) {
                Some(true) => "yes",
                Some(false) => "NO",
                None => "",
            };
            let value = format!("{} {}", short(row.value), row.unit);
            [row.case.clone(), row.measure.clone(), value, row.target.text(), met.to_owned()]
        };
        let rows: Vec<[String; 5]> = std::iter::once(header).chain(self.rows.iter().map(row)).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; 5] = std::array::from_fn(width);
        eprintln!("\n## {}{}", self.bench, if self.settings.quick { " (quick)" } else { "" });
        for (index, row) in rows.iter().enumerate() {
            let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
            eprintln!("| {} |", cells.collect::<Vec<_>>().join(" | "));
            if index == 0 {
                eprintln!("|{}|", widths.map(|width| "-".repeat(width + 2)).join("|"));
            }
        }
    }
}
