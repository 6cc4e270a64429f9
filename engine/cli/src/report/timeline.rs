//! The timeline: throughput, memory, position and checkpoints over one axis of time, with crashes and recoveries
//! through all of them.

use std::fmt::Write;

use super::chart::{Scale, area, escape, path, ticks};
use crate::format::{bytes, nanoseconds, thousands};
use crate::run::record::{Record, Sample};

const WIDTH: f64 = 980.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 962.0;
const PANEL_HEIGHT: f64 = 116.0;
const PANEL_GAP: f64 = 46.0;
const TOP: f64 = 44.0;
/// Throughput is averaged over so long at least: workers report every 50 ms.
const BIN_MS_MIN: u64 = 250;
const BINS_MAX: u64 = 240;

/// Writing to a string can't fail.
macro_rules! push {
    ($svg:expr, $($text:tt)*) => { let _ = writeln!($svg, $($text)*); };
}

/// A band of the chart with an axis of its own.
struct Panel {
    top: f64,
    y: Scale,
    ticks: Vec<f64>,
}

impl Panel {
    fn new(index: usize, max: f64, binary: bool) -> Self {
        let top = TOP + index as f64 * (PANEL_HEIGHT + PANEL_GAP);
        let ticks = ticks(max, 4, binary);
        let max = ticks.last().copied().unwrap_or(1.0);
        Self { top, y: Scale { max, zero: top + PANEL_HEIGHT, end: top }, ticks }
    }

    fn frame(&self, svg: &mut String, title: &str, show: impl Fn(f64) -> String) {
        for &tick in &self.ticks {
            let y = self.y.at(tick);
            let class = if tick == 0.0 { "axis" } else { "grid" };
            push!(svg, r#"<line class="{class}" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1}" y2="{y:.1}"/>"#);
            push!(svg, r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#, LEFT - 8.0, y + 4.0, show(tick));
        }
        push!(svg, r#"<text class="title" x="{LEFT}" y="{:.1}">{title}</text>"#, self.top - 10.0);
    }

    /// Names of lines, beside the title.
    fn key(&self, svg: &mut String, names: &[(&str, &str)]) {
        let mut x = RIGHT;
        for (class, name) in names.iter().rev() {
            x -= name.chars().count() as f64 * 6.3;
            push!(svg, r#"<text x="{x:.1}" y="{:.1}">{name}</text>"#, self.top - 10.0);
            x -= 18.0;
            push!(svg, r#"<rect class="{class}" x="{x:.1}" y="{:.1}" width="12" height="4" rx="2"/>"#, self.top - 16.0);
            x -= 16.0;
        }
    }
}

/// The timeline as an SVG element.
pub fn svg(record: &Record) -> String {
    let bottom = TOP + 4.0 * PANEL_HEIGHT + 3.0 * PANEL_GAP;
    let height = bottom + 28.0;
    let end_ms = record.samples.last().map_or(0, |sample| sample.at_ms).max(record.elapsed_ms).max(1);
    let x = Scale { max: end_ms as f64, zero: LEFT, end: RIGHT };
    let mut svg = String::new();
    push!(svg, r#"<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="Timeline of the run">"#);
    outages(&mut svg, record, x, bottom);
    throughput(&mut svg, record, x, end_ms);
    memory(&mut svg, record, x);
    position(&mut svg, record, x);
    checkpoints(&mut svg, record, x);
    time_axis(&mut svg, x, height);
    svg.push_str("</svg>\n");
    svg
}

/// Bytes at a tick, which are round.
fn tick_bytes(tick: f64) -> String {
    bytes(tick as u64).replace(".0 ", " ")
}

fn time_axis(svg: &mut String, x: Scale, height: f64) {
    let seconds = x.max / 1_000.0;
    for tick in ticks(seconds, 10, false).into_iter().filter(|&tick| tick <= seconds) {
        let at = x.at(tick * 1_000.0);
        push!(svg, r#"<text x="{at:.1}" y="{:.1}" text-anchor="middle">{tick} s</text>"#, height - 8.0);
    }
}

/// Crashes, recoveries, and the time between them.
fn outages(svg: &mut String, record: &Record, x: Scale, bottom: f64) {
    let mut recoveries = record.recoveries.iter().peekable();
    for (index, crash) in record.crashes.iter().enumerate() {
        while recoveries.next_if(|recovery| recovery.at_ms < crash.at_ms).is_some() {}
        let at = x.at(crash.at_ms as f64);
        let top = TOP - 22.0;
        if let Some(recovery) = recoveries.peek() {
            let back = x.at(recovery.at_ms as f64);
            let width = back - at;
            let height = bottom - top;
            push!(svg, r#"<rect class="down" x="{at:.1}" y="{top}" width="{width:.1}" height="{height:.1}"/>"#);
            let (event, first_read) = (thousands(recovery.event), nanoseconds(recovery.first_read_us * 1_000));
            push!(
                svg,
                r#"<line class="recovery" x1="{back:.1}" x2="{back:.1}" y1="{top}" y2="{bottom}"><title>recovered: on from event {event}, first read after {first_read}</title></line>"#
            );
        }
        let (number, event) = (index + 1, thousands(crash.event));
        push!(
            svg,
            r#"<line class="crash" x1="{at:.1}" x2="{at:.1}" y1="{top}" y2="{bottom}"><title>crash {number} at about event {event}</title></line>"#
        );
        push!(
            svg,
            r#"<text class="crash-text" x="{at:.1}" y="{:.1}" text-anchor="middle">crash {number}</text>"#,
            top - 6.0
        );
    }
}

fn throughput(svg: &mut String, record: &Record, x: Scale, end_ms: u64) {
    let rates = rates(&record.samples, end_ms);
    let max = rates.iter().map(|&(_, rate)| rate).fold(0.0, f64::max);
    let panel = Panel::new(0, max, false);
    panel.frame(svg, "Throughput, events per second", |tick| thousands(tick as u64));
    let points: Vec<_> = rates.iter().map(|&(at_ms, rate)| (x.at(at_ms), panel.y.at(rate))).collect();
    push!(svg, r#"<path class="area-one" d="{}"/>"#, area(&points, panel.y.zero));
    push!(svg, r#"<path class="line-one" d="{}"/>"#, path(&points));
}

/// Events per second over the time, averaged over equal stretches: their middles in milliseconds, and the rates.
fn rates(samples: &[Sample], end_ms: u64) -> Vec<(f64, f64)> {
    let bins = (end_ms / BIN_MS_MIN).clamp(1, BINS_MAX);
    let bin_ms = end_ms as f64 / bins as f64;
    let mut counts = vec![0_u64; bins as usize];
    for pair in samples.windows(2) {
        let bin = (pair[1].at_ms as f64 / bin_ms) as usize;
        counts[bin.min(bins as usize - 1)] += pair[1].applied - pair[0].applied;
    }
    let middle = |index: usize| (index as f64 + 0.5) * bin_ms;
    counts.iter().enumerate().map(|(index, &count)| (middle(index), count as f64 * 1_000.0 / bin_ms)).collect()
}

fn memory(svg: &mut String, record: &Record, x: Scale) {
    let budget = record.settings.memory_bytes as f64;
    let most = record.rss_anon_bytes_max.max(record.rss_file_bytes_max) as f64;
    let panel = Panel::new(1, most.max(budget * 1.1), true);
    panel.frame(svg, "Memory of the worker", tick_bytes);
    panel.key(svg, &[("key-one", "its own (RssAnon)"), ("key-two", "mapped files (RssFile)")]);
    let line = |field: fn(&Sample) -> u64| -> Vec<(f64, f64)> {
        record.samples.iter().map(|sample| (x.at(sample.at_ms as f64), panel.y.at(field(sample) as f64))).collect()
    };
    let own = line(|sample| sample.rss_anon_bytes);
    push!(svg, r#"<path class="area-one" d="{}"/>"#, area(&own, panel.y.zero));
    push!(svg, r#"<path class="line-one" d="{}"/>"#, path(&own));
    push!(svg, r#"<path class="line-two" d="{}"/>"#, path(&line(|sample| sample.rss_file_bytes)));
    let y = panel.y.at(budget);
    push!(svg, r#"<line class="limit" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1}" y2="{y:.1}"/>"#);
    let name = format!("the engine's budget, {}", bytes(record.settings.memory_bytes));
    push!(svg, r#"<text class="limit-text" x="{:.1}" y="{:.1}">{name}</text>"#, LEFT + 6.0, y - 5.0);
}

fn position(svg: &mut String, record: &Record, x: Scale) {
    let panel = Panel::new(2, record.settings.events as f64, false);
    panel.frame(svg, "Position in the input, events", |tick| thousands(tick as u64));
    let at = |sample: &Sample| (x.at(sample.at_ms as f64), panel.y.at(sample.event as f64));
    push!(svg, r#"<path class="line-one" d="{}"/>"#, path(&record.samples.iter().map(at).collect::<Vec<_>>()));
}

fn checkpoints(svg: &mut String, record: &Record, x: Scale) {
    let most = record.completed().map(|checkpoint| checkpoint.new_bytes).max().unwrap_or(0);
    let panel = Panel::new(3, most as f64, true);
    panel.frame(svg, "Checkpoints: bytes of new files, from barrier to completion", tick_bytes);
    for checkpoint in &record.checkpoints {
        let left = x.at(checkpoint.at_ms as f64);
        let (label, barrier) = (checkpoint.label, nanoseconds(checkpoint.barrier_ns));
        let Some(complete) = checkpoint.complete else {
            let top = panel.y.zero - 12.0;
            push!(
                svg,
                r#"<rect class="bar lost" x="{left:.1}" y="{top:.1}" width="4" height="12"><title>checkpoint {label}: lost in a crash</title></rect>"#
            );
            continue;
        };
        let right = x.at(checkpoint.at_ms as f64 + complete.duration_us as f64 / 1e3);
        let (top, width) = (panel.y.at(complete.new_bytes as f64), (right - left).max(2.0));
        let height = (panel.y.zero - top).max(1.0);
        let note = format!(
            "checkpoint {label}: {} new, {} changed, barrier {barrier}, complete after {}",
            bytes(complete.new_bytes),
            bytes(complete.changed_bytes),
            nanoseconds(complete.duration_us * 1_000)
        );
        push!(
            svg,
            r#"<rect class="bar" x="{left:.1}" y="{top:.1}" width="{width:.1}" height="{height:.1}" rx="1"><title>{}</title></rect>"#,
            escape(&note)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_add_up_to_the_events_taken() {
        let sample = |at_ms, applied| Sample { at_ms, applied, ..Sample::default() };
        let samples = [sample(0, 0), sample(400, 1_000), sample(900, 3_000), sample(1_000, 3_500)];
        let rates = rates(&samples, 1_000);
        let total: f64 = rates.iter().map(|&(_, rate)| rate * 0.25).sum();
        assert!((total - 3_500.0).abs() < 1e-6, "{rates:?}");
        assert_eq!(rates.len(), 4);
    }
}
