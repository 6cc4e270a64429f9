//! What others do better than this project's engine, beside events/s: one table, so that nobody has to look for it in all.

use super::table::Figure;
use super::{OURS, Runs};
use crate::compare::apart::keeps_nothing;
use std::fmt::Write;

/// Figures of which less is better.
const FIGURES: [(&str, Figure); 6] = [
    ("bytes written", |run| run.write_amplification),
    ("bytes on disk", |run| run.space_amplification),
    ("p99", |run| Some(run.latency_ns?.p99? as f64)),
    ("p99.9 from when it was due", |run| Some(run.open_latency_ns?.p999? as f64)),
    ("memory", |run| Some(run.rss_bytes_max? as f64)),
    ("processor", |run| run.cpu_s_per_million_events),
];

/// What the table says, above it.
const HEAD: &str = "\n## What others do with less\n
The least of the others that keep anything, over what this engine has: below 1 they are better, and it is bold. Bytes written and on disk for each byte of keys and
values (bytes written: of what is faster, more is written that is alike between two checkpoints: only `steady-uniform` and `tumble-between` compare it); latency of an event, \
closed loop, p99, and at 70 % of each engine's own rate, p99.9; most memory resident; processor time of an event.\n";

fn median(runs: &Runs, workload: &str, engine: &str, figure: Figure) -> Option<f64> {
    runs.summary(workload, engine, figure).map(|summary| summary.median)
}

/// The least that another one has over what this engine has, and whose it is.
fn ratio<'a>(runs: &'a Runs, workload: &str, figure: Figure) -> Option<(f64, &'a str)> {
    let ours = median(runs, workload, OURS, figure).filter(|&ours| ours > 0.0)?;
    let others = runs.engines().iter().filter(|engine| *engine != OURS && !keeps_nothing(engine));
    let least = others.filter_map(|engine| Some((median(runs, workload, engine, figure)?, engine.as_str())));
    least.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(theirs, engine)| (theirs / ours, engine))
}

/// Writes the table: workloads down, figures across. How many are lost comes last.
pub fn write(runs: &Runs, out: &mut String) {
    let row = |workload: &String| FIGURES.map(|(_, figure)| ratio(runs, workload, figure));
    let rows: Vec<_> = runs.workloads().iter().map(|workload| (workload, row(workload))).collect();
    if rows.iter().all(|(_, row)| row.iter().all(Option::is_none)) {
        return;
    }
    out.push_str(HEAD);
    let _ = writeln!(out, "\n| workload | {} |", FIGURES.map(|(name, _)| name).join(" | "));
    let _ = writeln!(out, "|{}", "---|".repeat(FIGURES.len() + 1));
    for (workload, row) in rows.iter().filter(|(_, row)| row.iter().any(Option::is_some)) {
        let _ = writeln!(out, "| {workload} | {} |", row.map(cell).join(" | "));
    }
    let count = |index: usize| {
        let of: Vec<f64> = rows.iter().filter_map(|(_, row)| Some(row[index]?.0)).collect();
        format!("{} of {}", of.iter().filter(|&&ratio| ratio < 1.0).count(), of.len())
    };
    let counts = std::array::from_fn::<_, { FIGURES.len() }, _>(count);
    let _ = writeln!(out, "| where they are better | {} |", counts.join(" | "));
}

fn cell(ratio: Option<(f64, &str)>) -> String {
    match ratio {
        Some((ratio, engine)) if ratio < 1.0 => format!("**{ratio:.2}** ({engine})"),
        Some((ratio, engine)) => format!("{ratio:.2} ({engine})"),
        None => String::from("-"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::figures::{Figures, LatencyNs};
    use crate::harness::Outcome;

    fn line(engine: &str, written: f64, rss: Option<u64>, p99: u64, correct: bool) -> Outcome<String> {
        let latency = LatencyNs { p99: Some(p99), max: p99, ..LatencyNs::default() };
        Ok(serde_json::to_string(&Figures {
            engine: engine.into(),
            workload: "rmw".into(),
            correct,
            write_amplification: Some(written),
            rss_bytes_max: rss,
            latency_ns: Some(latency),
            ..Figures::default()
        })?)
    }

    #[test]
    fn who_is_better_is_named() -> Outcome {
        let lines = [
            line(OURS, 2.0, Some(100), 1_000, true)?,
            line("one", 3.0, None, 500, true)?,
            line("other", 1.0, Some(300), 2_000, true)?,
            // Neither what is void nor what keeps nothing is better than anybody.
            line("wrong", 0.1, Some(1), 1, false)?,
            line("hashmap", 0.0, Some(1), 1, true)?,
        ];
        let mut table = String::new();
        write(&Runs::parse(&lines.join("\n"))?, &mut table);
        assert!(table.contains("| rmw | **0.50** (other) | - | **0.50** (one) | - | 3.00 (other) | - |\n"), "{table}");
        let counts = "| where they are better | 1 of 1 | 0 of 0 | 1 of 1 | 0 of 0 | 0 of 1 | 0 of 0 |\n";
        assert!(table.ends_with(counts), "{table}");
        Ok(())
    }

    #[test]
    fn where_nothing_is_compared_there_is_no_table() -> Outcome {
        let mut table = String::new();
        write(&Runs::parse(&line(OURS, 2.0, None, 1, true)?)?, &mut table);
        assert_eq!(table, "");
        Ok(())
    }
}
