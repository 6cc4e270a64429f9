//! `report`: what `compare` recorded, as a Markdown table and as charts.

mod charts;
mod table;

use crate::compare::figures::Figures;
use crate::harness::{Outcome, wrong};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Makes tables and charts of recorded runs.
#[derive(Clone, clap::Args, Debug)]
pub struct Arguments {
    /// What `compare --record` wrote: JSON lines.
    record: PathBuf,
    /// Where `compare.md` and the charts (SVG) go.
    #[arg(long, default_value = "report")]
    out: PathBuf,
}

/// The runs by workload, in the order in which they were run, and by engine.
#[derive(Debug, Default)]
pub struct Runs {
    workloads: Vec<String>,
    engines: Vec<String>,
    runs: BTreeMap<(String, String), Vec<Figures>>,
}

/// The middle one of several repeats, and the ends of their range.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    pub median: f64,
    pub least: f64,
    pub greatest: f64,
}

/// What can't be said of an engine, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Missing<'a> {
    /// It was not run.
    NotRun,
    /// It ended without figures.
    Failed(&'a str),
    /// It read something else than the oracle.
    Wrong,
}

impl Runs {
    /// Of lines; those of other kinds of results are passed over.
    pub fn parse(text: &str) -> Outcome<Self> {
        let mut runs = Self::default();
        for line in text.lines().filter(|line| line.contains("\"workload\"")) {
            let figures: Figures = serde_json::from_str(line)?;
            for (names, name) in [(&mut runs.workloads, &figures.workload), (&mut runs.engines, &figures.engine)] {
                if !names.contains(name) {
                    names.push(name.clone());
                }
            }
            runs.check_alike(&figures)?;
            let key = (figures.workload.clone(), figures.engine.clone());
            runs.runs.entry(key).or_default().push(figures);
        }
        if runs.runs.is_empty() { wrong("no runs of `compare` in there") } else { Ok(runs) }
    }

    /// How often engines had their turn.
    pub fn repeats(&self) -> String {
        let counts = || self.runs.values().map(Vec::len);
        match (counts().min().unwrap_or(0), counts().max().unwrap_or(0)) {
            (1, 1) => String::from("one repeat"),
            (least, most) if least == most => format!("{most} repeats"),
            (least, most) => format!("{least} to {most} repeats"),
        }
    }

    /// Fails where other runs of the workload had other sizes: their medians would say nothing.
    fn check_alike(&self, figures: &Figures) -> Outcome {
        // What failed may not have come to its limit.
        let settings = |run: &Figures| (run.quick, run.seed, run.budget_bytes);
        let others =
            self.runs.iter().filter(|((workload, _), _)| *workload == figures.workload).flat_map(|(_, runs)| runs);
        match others.into_iter().find(|other| settings(other) != settings(figures)) {
            Some(_) => wrong(format!("{}: runs with other seeds, budgets or sizes in one record", figures.workload)),
            None => Ok(()),
        }
    }

    pub fn workloads(&self) -> &[String] {
        &self.workloads
    }

    pub fn engines(&self) -> &[String] {
        &self.engines
    }

    /// All that is known of an engine under a workload.
    pub fn of(&self, workload: &str, engine: &str) -> Result<&[Figures], Missing<'_>> {
        let runs = self.runs.get(&(workload.to_owned(), engine.to_owned())).ok_or(Missing::NotRun)?;
        if let Some(failed) = runs.iter().find(|run| !run.failed.is_empty()) {
            return Err(Missing::Failed(&failed.failed));
        }
        if runs.iter().any(|run| !run.correct) { Err(Missing::Wrong) } else { Ok(runs) }
    }

    /// One figure of it; `None` where there is none.
    pub fn summary(&self, workload: &str, engine: &str, figure: impl Fn(&Figures) -> Option<f64>) -> Option<Summary> {
        let mut values: Vec<f64> = self.of(workload, engine).ok()?.iter().filter_map(figure).collect();
        values.sort_by(f64::total_cmp);
        let (least, greatest) = (*values.first()?, *values.last()?);
        Some(Summary { median: values[values.len() / 2], least, greatest })
    }

    /// The median rate of events.
    pub fn rate(&self, workload: &str, engine: &str) -> Option<f64> {
        self.summary(workload, engine, |run| Some(run.events_per_s)).map(|summary| summary.median)
    }
}

/// This project's engine.
pub const OURS: &str = "alluvium";

/// Whether an engine is there to show what memory alone could do.
pub fn is_ceiling(engine: &str) -> bool {
    matches!(engine, "hashmap" | "btreemap" | "heap")
}

/// Writes the table and the charts.
pub fn run(arguments: &Arguments) -> Outcome {
    let runs = Runs::parse(&std::fs::read_to_string(&arguments.record)?)?;
    std::fs::create_dir_all(&arguments.out)?;
    let mut text = table::markdown(&runs);
    for (name, title) in charts::draw(&runs, &arguments.out)? {
        text.push_str(&format!("\n![{title}]({name})\n"));
    }
    let path = arguments.out.join("compare.md");
    std::fs::write(&path, text)?;
    println!("{}", path.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(engine: &str, rate: f64, correct: bool) -> String {
        let figures = Figures {
            engine: engine.into(),
            workload: "rmw".into(),
            events_per_s: rate,
            correct,
            ..Figures::default()
        };
        serde_json::to_string(&figures).unwrap_or_default()
    }

    #[test]
    fn a_wrong_answer_voids_the_row() -> Outcome {
        let lines = [line("alluvium", 3.0, true), line("alluvium", 1.0, true), line("alluvium", 2.0, true)];
        let text = [&lines[..], &[line("other", 9.0, true), line("other", 9.0, false)]].concat().join("\n");
        let runs = Runs::parse(&text)?;
        assert_eq!(runs.rate("rmw", "alluvium"), Some(2.0));
        assert_eq!(runs.rate("rmw", "other"), None);
        assert_eq!(runs.of("rmw", "other").err(), Some(Missing::Wrong));
        let table = table::markdown(&runs);
        assert!(table.contains("wrong answers"), "{table}");
        Ok(())
    }

    /// Sizes are drawn in their order, whatever the order of the runs.
    #[test]
    fn recovery_is_drawn_over_the_size() -> Outcome {
        let run = |workload: &str, keys, ms| {
            let recovery_first_read_ms = Some(ms);
            let (engine, workload) = (OURS.into(), workload.into());
            let figures = Figures {
                engine,
                workload,
                correct: true,
                keys: Some(keys),
                recovery_first_read_ms,
                ..Figures::default()
            };
            serde_json::to_string(&figures).unwrap_or_default()
        };
        let lines = [run("recover", 5_000_000, 4.0), run("recover-1m", 1_000_000, 2.0)];
        let directory = tempfile::tempdir()?;
        let drawn = charts::draw(&Runs::parse(&lines.join("\n"))?, directory.path())?;
        assert!(drawn.iter().any(|(file, _)| *file == "recovery-size.svg"), "{drawn:?}");
        assert!(!drawn.iter().any(|(file, _)| file.starts_with("growth")), "{drawn:?}");
        assert!(std::fs::read_to_string(directory.path().join("recovery-size.svg"))?.contains("1 M"));
        Ok(())
    }

    #[test]
    fn losses_are_shown() -> Outcome {
        let runs = Runs::parse(&[line("alluvium", 1.0, true), line("other", 4.0, true)].join("\n"))?;
        let table = table::markdown(&runs);
        assert!(table.contains("**0.25** (other)"), "{table}");
        Ok(())
    }
}
