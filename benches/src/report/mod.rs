//! `report`: what `compare` recorded, as a Markdown table and as charts.

mod charts;
mod losses;
mod table;

use crate::compare::apart;
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
    /// It can't be run, for this reason.
    Cannot(&'static str),
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
            let figures = Figures::parse(line)?;
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

    /// Lines that say with which memory which workloads ran, and of which versions of the code the rows are.
    pub fn settings(&self) -> Vec<String> {
        let mut memory = BTreeMap::<_, Vec<String>>::new();
        let (mut ours, mut apart) = (BTreeMap::<_, Vec<String>>::new(), BTreeMap::<_, Vec<String>>::new());
        for ((workload, engine), runs) in &self.runs {
            for run in runs {
                let limits = (run.budget_bytes >> 20, run.cap_bytes >> 20);
                push_new(memory.entry(limits).or_default(), workload.clone());
                if engine == OURS {
                    push_new(ours.entry(&run.commit).or_default(), workload.clone());
                } else if self.is_apart(workload, run) {
                    push_new(apart.entry(&run.commit).or_default(), format!("{workload} ({engine})"));
                }
            }
        }
        // Of these no list is needed.
        let most = memory.values().map(Vec::len).max().unwrap_or(0);
        let mut lines = Vec::new();
        for ((budget, cap), of) in &memory {
            let limit = if *cap > 0 { format!("{cap} MiB for the process") } else { "no limit on the process".into() };
            let of = if of.len() == most { "most workloads".into() } else { of.join(", ") };
            lines.push(format!("\nMemory: {budget} MiB for the engine, {limit}: {of}.\n"));
        }
        let commits = ours.iter().map(|(commit, of)| format!("\nAlluvium of commit {commit}: {}.\n", of.join(", ")));
        let others =
            apart.iter().map(|(commit, of)| format!("\nNot beside it, but with {commit}: {}.\n", of.join(", ")));
        lines.extend(commits.chain(others));
        lines.extend(self.apart());
        lines
    }

    /// Lines that say who can't be run with what, and why.
    fn apart(&self) -> Vec<String> {
        let mut apart = BTreeMap::<_, Vec<String>>::new();
        for engine in &self.engines {
            for workload in &self.workloads {
                if let Err(Missing::Cannot(why)) = self.of(workload, engine) {
                    apart.entry((engine, why)).or_default().push(workload.clone());
                }
            }
        }
        let line = |(engine, why): &(&String, &str), of: &Vec<String>| {
            let rest: Vec<_> = self.workloads.iter().filter(|workload| !of.contains(workload)).cloned().collect();
            // The shorter list.
            let of = if rest.len() < of.len() { format!("all but {}", rest.join(", ")) } else { of.join(", ") };
            format!("\n{engine} can't: {why} ({of}).\n")
        };
        apart.iter().map(|(key, of)| line(key, of)).collect()
    }

    /// Whether a run was made with another version of the code than those of this project's engine.
    fn is_apart(&self, workload: &str, run: &Figures) -> bool {
        let ours = self.runs.get(&(workload.to_owned(), OURS.to_owned()));
        ours.is_some_and(|ours| ours.iter().all(|our| our.commit != run.commit))
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
        let runs = self
            .runs
            .get(&(workload.to_owned(), engine.to_owned()))
            .ok_or_else(|| apart::why_not(workload, engine).map_or(Missing::NotRun, Missing::Cannot))?;
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
        Some(Summary { median: crate::harness::median(values), least, greatest })
    }

    /// The median rate of events.
    pub fn rate(&self, workload: &str, engine: &str) -> Option<f64> {
        self.summary(workload, engine, |run| run.events_per_s).map(|summary| summary.median)
    }
}

fn push_new(names: &mut Vec<String>, name: String) {
    if !names.contains(&name) {
        names.push(name);
    }
}

/// This project's engine.
pub const OURS: &str = "alluvium";

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
            events_per_s: Some(rate),
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
    fn growth_is_drawn_from_little_to_much() -> Outcome {
        let run = |workload: &str, rate| {
            let (engine, workload, events_per_s) = (OURS.into(), workload.into(), Some(rate));
            let figures = Figures { engine, workload, correct: true, events_per_s, ..Figures::default() };
            serde_json::to_string(&figures).unwrap_or_default()
        };
        let lines = [run("growth-5", 1e4), run("growth-20", 1e3), run("growth-0.1", 1e6)];
        let directory = tempfile::tempdir()?;
        let drawn = charts::draw(&Runs::parse(&lines.join("\n"))?, directory.path())?;
        assert!(drawn.iter().any(|(file, _)| *file == "growth.svg"), "{drawn:?}");
        Ok(())
    }

    /// Who reads the table knows what memory there was, and of which code it is.
    #[test]
    fn settings_are_named() -> Outcome {
        let run = |workload: &str, budget: u64, cap: u64, commit: &str| {
            let (budget_bytes, cap_bytes) = (budget << 20, cap << 20);
            let (engine, workload, commit) = (OURS.into(), workload.into(), commit.into());
            let figures =
                Figures { engine, workload, commit, correct: true, budget_bytes, cap_bytes, ..Figures::default() };
            serde_json::to_string(&figures).unwrap_or_default()
        };
        let other = run("a", 256, 512, "zero").replace(OURS, "other");
        let lines = [run("a", 256, 512, "one"), run("b", 256, 512, "one"), run("c", 1000, 0, "two"), other];
        let table = table::markdown(&Runs::parse(&lines.join("\n"))?);
        assert!(table.contains("Not beside it, but with zero: a (other).\n"), "{table}");
        assert!(
            table.contains("Memory: 256 MiB for the engine, 512 MiB for the process: most workloads.\n"),
            "{table}"
        );
        assert!(table.contains("Memory: 1000 MiB for the engine, no limit on the process: c.\n"), "{table}");
        assert!(table.contains("Alluvium of commit one: a, b.\n") && table.contains("commit two: c.\n"), "{table}");
        Ok(())
    }

    /// What wasn't run, what can't be, and what wasn't measured are three things.
    #[test]
    fn where_there_is_no_figure_it_is_said_why() -> Outcome {
        let run = |engine: &str, workload: &str, dip| {
            let (engine, workload, rate) = (engine.into(), workload.into(), Some(1.0));
            let figures = Figures {
                engine,
                workload,
                correct: true,
                events_per_s: rate,
                half_load_dip_worst: dip,
                ..Figures::default()
            };
            serde_json::to_string(&figures).unwrap_or_default()
        };
        let lines = [
            run(OURS, "ckpt-stall", Some(0.0)),
            run("fjall", "ckpt-stall", None),
            run(OURS, "timers", None),
            run("faster", "rmw-hot", None),
            run("heap", "timers-memory", None),
        ];
        let table = table::markdown(&Runs::parse(&lines.join("\n"))?);
        assert!(table.contains("| timers | 1.00 | not run | can't | can't |"), "{table}");
        assert!(table.contains("| ckpt-stall | 0.00 | not measured | not run | can't |\n"), "{table}");
        assert!(
            table.contains("\nfaster can't: it has no order, so neither maps nor timers (timers, timers-memory).\n"),
            "{table}"
        );
        let heap = "\nheap can't: it has timers in memory, and nothing else (all but timers-memory).\n";
        assert!(table.contains(heap), "{table}");
        assert!(!table.contains("fjall can't"), "{table}");
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
