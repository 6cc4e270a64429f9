//! `report.html`: a run on one page, self-contained, for light and dark screens.

mod chart;
mod timeline;

use std::fmt::Write;

use crate::format::{bytes, counted, nanoseconds, thousands};
use crate::run::record::{Record, ratio};
use crate::run::summary;
use chart::escape;

const STYLE: &str = include_str!("style.css");

const CAPTION: &str = "<p class=\"caption\"><span><i class=\"is-crash\"></i>crash (SIGKILL), until the job runs again</span>\
    <span><i class=\"is-recovery\"></i>recovered from the newest checkpoint</span>\
    <span><i class=\"is-lost\"></i>checkpoint lost in a crash</span></p>\n";

/// Writing to a string can't fail.
macro_rules! push {
    ($html:expr, $($text:tt)*) => { let _ = writeln!($html, $($text)*); };
}

/// The whole page.
pub fn page(record: &Record) -> String {
    let mut html = String::new();
    let verdict = summary::verdict(record);
    push!(html, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">");
    push!(html, "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    push!(html, "<title>Alluvium run: {verdict}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>");
    header(&mut html, record);
    tiles(&mut html, record);
    push!(html, "<h2>Timeline</h2>\n<div class=\"card\">\n{}{CAPTION}</div>", timeline::svg(record));
    differences(&mut html, record);
    figures(&mut html, record);
    states(&mut html, record);
    crashes(&mut html, record);
    checkpoints(&mut html, record);
    push!(html, "</main>\n</body>\n</html>");
    html
}

fn header(html: &mut String, record: &Record) {
    let (verdict, settings) = (summary::verdict(record), &record.settings);
    push!(html, "<div class=\"head\"><h1>Alluvium run</h1><span class=\"verdict {verdict}\">{verdict}</span></div>");
    push!(
        html,
        "<p class=\"quiet\">{}, replayed {}: {} events. Memory budget {}, a checkpoint every {} ms, {}, seed {}.</p>",
        escape(&settings.input),
        counted(settings.scale.into(), "time", "times"),
        thousands(settings.events),
        bytes(settings.memory_bytes),
        thousands(settings.checkpoint_interval_ms),
        counted(record.crashes.len() as u64, "crash", "crashes"),
        settings.seed
    );
    let rows: u64 = record.comparison.tables.iter().map(|table| table.rows).sum();
    let compared = format!(
        "After the run, {} entries of {} states were compared byte for byte with an independent computation",
        thousands(rows),
        record.comparison.tables.len()
    );
    match record.comparison.differences {
        0 => push_compared(html, &format!("{compared}: all are as they have to be.")),
        differences => push_compared(html, &format!("{compared}: {} are not.", thousands(differences))),
    }
}

fn push_compared(html: &mut String, text: &str) {
    push!(html, "<p>{text}</p>");
}

fn tiles(html: &mut String, record: &Record) {
    let per_second = |count| thousands(record.per_second(count).round() as u64);
    let state_bytes = record.comparison.state_bytes();
    let budget = record.settings.memory_bytes;
    let tiles = [
        ("Events per second", per_second(record.settings.events), "crashes and recoveries included".to_owned()),
        ("State operations per second", per_second(record.state_ops), "one thread".to_owned()),
        (
            "Operation, p50",
            nanoseconds(record.latencies_ns.value_at_quantile(0.5)),
            format!("p99.9 {}", nanoseconds(record.latencies_ns.value_at_quantile(0.999))),
        ),
        (
            "Barrier, p99.9",
            nanoseconds(record.barriers_ns.value_at_quantile(0.999)),
            format!("of {}", thousands(record.barriers_ns.len())),
        ),
        (
            "First read after a crash",
            format!("{:.1} ms", record.recovery_first_read_ms_max()),
            format!("slowest of {}", record.recoveries.len()),
        ),
        ("State", bytes(state_bytes), format!("{:.1} x the memory budget", ratio(state_bytes, budget))),
        ("Memory", bytes(record.rss_anon_bytes_max), "the worker's own, at most".to_owned()),
        (
            "Write amplification",
            format!("{:.2}", record.write_amplification()),
            format!("{} on disk", bytes(record.disk_bytes)),
        ),
    ];
    push!(html, "<div class=\"tiles\">");
    for (name, figure, note) in tiles {
        push!(
            html,
            "<div class=\"tile\"><div class=\"name\">{name}</div><div class=\"figure\">{figure}</div><div class=\"note\">{note}</div></div>"
        );
    }
    push!(html, "</div>");
}

/// A table: its heading, and its lines of cells. Cells that begin with `<` are markup of this module's own.
fn table(html: &mut String, heading: &[&str], left: &[usize], lines: impl Iterator<Item = Vec<String>>) {
    let class = |index: usize| if left.contains(&index) { " class=\"left\"" } else { "" };
    push!(html, "<table>");
    if !heading.is_empty() {
        let cells = heading.iter().enumerate().map(|(index, cell)| format!("<th{}>{cell}</th>", class(index)));
        push!(html, "<tr>{}</tr>", cells.collect::<String>());
    }
    for line in lines {
        let cells = line.iter().enumerate().map(|(index, cell)| format!("<td{}>{}</td>", class(index), escape(cell)));
        push!(html, "<tr>{}</tr>", cells.collect::<String>());
    }
    push!(html, "</table>");
}

fn figures(html: &mut String, record: &Record) {
    push!(html, "<h2>Figures</h2>\n<div class=\"card\">");
    table(html, &[], &[2], summary::lines(record).into_iter().map(Vec::from));
    push!(html, "</div>");
}

fn states(html: &mut String, record: &Record) {
    push!(html, "<h2>States</h2>\n<div class=\"card\">");
    table(html, &["state", "entries", "keys and values"], &[], summary::states(record).into_iter().map(Vec::from));
    push!(html, "</div>");
}

fn differences(html: &mut String, record: &Record) {
    let comparison = &record.comparison;
    if comparison.differences == 0 {
        return;
    }
    push!(html, "<h2>The first differences</h2>\n<div class=\"card\">");
    let show = |value: &Option<String>| value.clone().unwrap_or_else(|| "no such entry".to_owned());
    let lines = comparison
        .first
        .iter()
        .map(|difference| vec![difference.place.clone(), show(&difference.expected), show(&difference.found)]);
    table(html, &["entry", "expected", "found"], &[1, 2], lines);
    push!(html, "</div>");
}

fn seconds(at_ms: u64) -> String {
    format!("{:.2} s", at_ms as f64 / 1e3)
}

fn crashes(html: &mut String, record: &Record) {
    if record.crashes.is_empty() {
        return;
    }
    push!(html, "<h2>Crashes</h2>\n<div class=\"card\">");
    let lines = record.crashes.iter().zip(1_usize..).map(|(crash, number)| {
        let recovery = record.recoveries.iter().find(|recovery| recovery.at_ms >= crash.at_ms);
        let (back, from, first_read) = match recovery {
            Some(recovery) => (
                seconds(recovery.at_ms),
                thousands(recovery.event),
                format!("{:.1} ms", recovery.first_read_us as f64 / 1e3),
            ),
            None => ("from the start".to_owned(), "0".to_owned(), String::new()),
        };
        vec![number.to_string(), seconds(crash.at_ms), thousands(crash.event), back, from, first_read]
    });
    table(html, &["crash", "at", "at about event", "recovered at", "on from event", "first read after"], &[], lines);
    push!(html, "</div>");
}

fn checkpoints(html: &mut String, record: &Record) {
    push!(
        html,
        "<h2>Checkpoints</h2>\n<div class=\"card\"><details><summary>{} checkpoints</summary>",
        record.checkpoints.len()
    );
    let lines = record.checkpoints.iter().map(|checkpoint| {
        let mut line = vec![
            checkpoint.label.to_string(),
            seconds(checkpoint.at_ms),
            thousands(checkpoint.event),
            nanoseconds(checkpoint.barrier_ns),
        ];
        match checkpoint.complete {
            Some(complete) => line.extend([
                nanoseconds(complete.duration_us * 1_000),
                bytes(complete.changed_bytes),
                bytes(complete.flushed_bytes),
                bytes(complete.new_bytes),
                bytes(complete.total_bytes),
            ]),
            None => line.push("lost in a crash".to_owned()),
        }
        line
    });
    let heading =
        ["label", "at", "event", "barrier", "complete after", "changed", "flushed", "all new files", "all files"];
    table(html, &heading, &[], lines);
    push!(html, "</details></div>");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::compare::Difference;
    use crate::run::record::tests::sample_record;

    #[test]
    fn the_page_shows_everything_and_needs_nothing_else() {
        let record = sample_record();
        let html = page(&record);
        if let Ok(path) = std::env::var("ALLUVIUM_SAMPLE_REPORT") {
            std::fs::write(path, &html).unwrap();
        }
        for wanted in [
            "<!doctype html>",
            "verdict exact",
            "Throughput",
            "Memory of the worker",
            "the engine&apos;s budget",
            "Position in the input",
            "class=\"crash\"",
            "class=\"recovery\"",
            "class=\"bar\"",
            "seed 42",
            "window_results",
            "prefers-color-scheme: dark",
            "</html>",
        ] {
            let wanted = wanted.replace("&apos;", "'");
            assert!(html.contains(&wanted), "{wanted}");
        }
        for foreign in ["http:", "https:", "<script", "url(", "@import"] {
            assert!(!html.contains(foreign), "{foreign}");
        }
        assert!(!html.contains("NaN") && !html.contains("inf"));
        assert_eq!(html.matches("<rect class=\"bar\"").count(), 30);
    }

    #[test]
    fn differences_are_shown_as_text() {
        let mut record = sample_record();
        record.comparison.differences = 1;
        let place = "planes period=0 aircraft=<b>".to_owned();
        record.comparison.first.push(Difference { place, expected: None, found: Some("x & y".to_owned()) });
        let html = page(&record);
        assert!(html.contains("verdict different"));
        assert!(html.contains("<td>planes period=0 aircraft=&lt;b&gt;</td>"));
        assert!(html.contains("no such entry") && html.contains("x &amp; y"));
    }

    #[test]
    fn a_run_of_nothing_still_has_a_page() {
        let record = Record::new(crate::run::record::Settings::default()).unwrap();
        let html = page(&record);
        assert!(html.ends_with("</html>\n") && !html.contains("NaN"));
    }
}
