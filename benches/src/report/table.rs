//! The tables: who did how much, in which time, for what.

use super::{Missing, OURS, Runs, Summary, losses};
use crate::compare::apart::keeps_nothing;
use crate::compare::figures::Figures;
use std::fmt::Write;

/// A number with three digits that count.
fn short(value: f64) -> String {
    let (value, unit) = match value.abs() {
        size if size >= 1e9 => (value / 1e9, " G"),
        size if size >= 1e6 => (value / 1e6, " M"),
        size if size >= 1e3 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let digits = match value.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.digits$}{unit}")
}

fn ns(value: f64) -> String {
    match value {
        ns if ns >= 1e6 => format!("{} ms", short(ns / 1e6)),
        ns if ns >= 1e3 => format!("{} µs", short(ns / 1e3)),
        ns => format!("{ns:.0} ns"),
    }
}

/// The median, and the range where it is more than a tenth of it.
fn ranged(summary: Summary, text: impl Fn(f64) -> String) -> String {
    if summary.greatest - summary.least <= summary.median.abs() / 10.0 {
        return text(summary.median);
    }
    format!("{} ({} to {})", text(summary.median), text(summary.least), text(summary.greatest))
}

fn missing(why: Missing<'_>) -> String {
    match why {
        Missing::NotRun => String::from("not run"),
        Missing::Cannot(_) => String::from("can't"),
        Missing::Failed(why) => why.replace('|', " "),
        Missing::Wrong => String::from("void: wrong answers"),
    }
}

type Text = fn(f64) -> String;
pub type Figure = fn(&Figures) -> Option<f64>;

/// A table of one figure: workloads down, engines across. Workloads of which nobody has it are left out.
fn grid(runs: &Runs, out: &mut String, title: &str, text: Text, figure: Figure) {
    let has = |workload: &&String| runs.engines().iter().any(|engine| runs.summary(workload, engine, figure).is_some());
    let workloads: Vec<&String> = runs.workloads().iter().filter(has).collect();
    if workloads.is_empty() {
        return;
    }
    heading(runs, out, title, "");
    for workload in workloads {
        let _ = write!(out, "| {workload} |");
        for engine in runs.engines() {
            let cell = match runs.summary(workload, engine, figure) {
                Some(summary) => ranged(summary, text),
                None => nothing(runs, workload, engine),
            };
            let _ = write!(out, " {cell} |");
        }
        out.push('\n');
    }
}

/// Why there is no figure: what was run and has none didn't measure it, or had too few samples of it.
fn nothing(runs: &Runs, workload: &str, engine: &str) -> String {
    runs.of(workload, engine).err().map_or_else(|| String::from("not measured"), missing)
}

fn heading(runs: &Runs, out: &mut String, title: &str, more: &str) {
    let _ = writeln!(out, "\n## {title}\n\n| workload | {} |{more}", runs.engines().join(" | "));
    let columns = runs.engines().len() + more.matches('|').count() + 1;
    let _ = writeln!(out, "|{}", "---|".repeat(columns));
}

/// Rates, and how this project's engine stands: against the best of the others that keep anything, and in memory. What is below
/// one is bold.
fn rates(runs: &Runs, out: &mut String) {
    heading(runs, out, "Events/s, closed loop", " against the best on disk | against the best in memory |");
    for workload in runs.workloads() {
        let _ = write!(out, "| {workload} |");
        for engine in runs.engines() {
            let cell = match runs.summary(workload, engine, |run| run.events_per_s) {
                Some(summary) => ranged(summary, short),
                None => nothing(runs, workload, engine),
            };
            let _ = write!(out, " {cell} |");
        }
        for ceiling in [false, true] {
            let others = runs.engines().iter().filter(|engine| *engine != OURS && keeps_nothing(engine) == ceiling);
            let rates = others.filter_map(|engine| Some((engine, runs.rate(workload, engine)?)));
            let best = rates.max_by(|a, b| a.1.total_cmp(&b.1));
            let cell = match (runs.rate(workload, OURS), best) {
                (Some(ours), Some((engine, best))) if ours < best => format!("**{:.2}** ({engine})", ours / best),
                (Some(ours), Some((engine, best))) => format!("{:.2} ({engine})", ours / best),
                _ => String::from("-"),
            };
            let _ = write!(out, " {cell} |");
        }
        out.push('\n');
    }
}

/// All of it.
pub fn markdown(runs: &Runs) -> String {
    let mut out =
        format!("# Engines compared\n\nMedians of {}; the range in brackets where it is wide.\n", runs.repeats());
    runs.settings().iter().for_each(|line| out.push_str(line));
    rates(runs, &mut out);
    losses::write(runs, &mut out);
    let grids: [(&str, Text, Figure); 38] = [
        ("Operations of state/s, closed loop", short, |run| run.ops_per_s),
        ("Checkpoints begun in the closed loop", short, |run| Some(run.checkpoints? as f64)),
        ("Two threads over one of them alone", short, |run| Some(run.events_per_s? / run.one_thread_events_per_s?)),
        ("Latency of an event, closed loop, p50", ns, |run| Some(run.latency_ns?.p50? as f64)),
        ("Latency, closed loop, p99", ns, |run| Some(run.latency_ns?.p99? as f64)),
        ("Latency, closed loop, p99.9", ns, |run| Some(run.latency_ns?.p999? as f64)),
        ("Latency, closed loop, longest of those that were timed (one in 61; batches all)", ns, |run| {
            Some(run.latency_ns?.max as f64)
        }),
        ("Latency, closed loop, that none was above (60 that were not timed count together)", ns, |run| {
            Some(run.latency_ns?.max_of_all? as f64)
        }),
        ("From when it was due at 70 % load, p50", ns, |run| Some(run.open_latency_ns?.p50? as f64)),
        ("From when it was due at 70 % load, p99.9", ns, |run| Some(run.open_latency_ns?.p999? as f64)),
        ("From when it was due at 70 % load, longest", ns, |run| Some(run.open_latency_ns?.max as f64)),
        ("Processor seconds for a million events", short, |run| run.cpu_s_per_million_events),
        ("Most memory resident, bytes", short, |run| Some(run.rss_bytes_max? as f64)),
        ("Bytes written to disk / bytes of keys and values written", short, |run| run.write_amplification),
        ("Bytes on disk / live bytes", short, |run| run.space_amplification),
        ("Bytes on disk / live bytes, the most", short, |run| run.space_amplification_max),
        ("Bytes on disk after all windows closed", short, |run| Some(run.drained_bytes? as f64)),
        ("What a checkpoint holds its caller, p50", ns, |run| Some(run.stall_ns_p50? as f64)),
        ("What a checkpoint holds its caller, p99.9 (the longest, where there are less than 1,000)", ns, |run| {
            Some(run.stall_ns_p999? as f64)
        }),
        ("What a checkpoint holds its caller, longest", ns, |run| Some(run.stall_ns_max? as f64)),
        ("Checkpoints that these are of", short, |run| Some(run.barriers? as f64)),
        ("Longest from when it was due at half load, with checkpoints", ns, |run| Some(run.worst_op_ns? as f64)),
        ("Throughput lost while a checkpoint is under way, closed loop", short, |run| run.checkpoint_dip),
        ("Throughput lost at half load, in the worst 100 ms with a checkpoint in them", short, |run| {
            run.half_load_dip_worst
        }),
        ("Throughput lost at half load, from a checkpoint's begin to its end", short, |run| run.half_load_dip),
        ("Until a checkpoint is complete, ms", short, |run| run.checkpoint_ms),
        ("Bytes written for a checkpoint, at half load", short, |run| Some(run.checkpoint_bytes? as f64)),
        ("Recovery to the first read, ms", short, |run| run.recovery_first_read_ms),
        ("The next 100,000 reads, ms", short, |run| run.next_100k_reads_ms),
        ("Updates/s before the process was killed", short, |run| run.before_events_per_s),
        ("Until 90 % of that again, ms", short, |run| run.to_90_percent_ms),
        ("Processes killed before one that read all that there is to be read", short, |run| Some(run.kills? as f64)),
        ("One store split in two, until both read, ms", short, |run| Some(run.split?.open_ms)),
        ("The next 100,000 updates of both, ms", short, |run| Some(run.split?.next_100k_updates_ms)),
        ("Bytes written by splitting, and until then", short, |run| Some(run.split?.written_bytes as f64)),
        ("Two stores joined to one, until it reads, ms", short, |run| Some(run.joined?.open_ms)),
        ("The next 100,000 updates of the joined one, ms", short, |run| Some(run.joined?.next_100k_updates_ms)),
        ("Bytes written by joining, and until then", short, |run| Some(run.joined?.written_bytes as f64)),
    ];
    for (title, text, figure) in grids {
        grid(runs, &mut out, title, text, figure);
    }
    out
}
