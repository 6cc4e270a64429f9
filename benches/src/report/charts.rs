//! The charts, as SVG.

use super::{OURS, Runs};
use crate::compare::QUICK_GROWTH;
use crate::compare::figures::Figures;
use crate::harness::Outcome;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::path::Path;

type Chart<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Each engine's, in all charts the same.
const fn colour(engine: &str) -> RGBColor {
    match engine.as_bytes() {
        b"alluvium" => RGBColor(196, 78, 20),
        b"rocksdb-flink" => RGBColor(31, 78, 121),
        b"rocksdb-tuned" => RGBColor(74, 134, 196),
        b"fjall" => RGBColor(84, 130, 53),
        b"redb" => RGBColor(150, 115, 30),
        b"lmdb" => RGBColor(112, 60, 140),
        b"faster" => RGBColor(200, 80, 130),
        b"hashmap" => RGBColor(110, 110, 110),
        b"btreemap" => RGBColor(170, 170, 170),
        b"heap" => RGBColor(140, 140, 140),
        b"plain-heap" => RGBColor(90, 90, 90),
        _ => BLACK,
    }
}

/// Draws those charts of which there are figures; gives their files' names and titles.
pub fn draw(runs: &Runs, out: &Path) -> Outcome<Vec<(&'static str, &'static str)>> {
    let mut drawn = Vec::new();
    let title = "Events/s of alluvium over those of others: below 1 it loses";
    ratios(runs, &out.join("ratios.svg"), title)?;
    drawn.push(("ratios.svg", title));
    let curves = [
        Curve {
            file: "growth.svg",
            title: "An update as the state grows beyond the budget",
            sizes: shares(runs),
            across: "state / budget",
            up: "ns for an update",
            figure: |run| Some(1e9 / run.events_per_s?),
        },
        Curve {
            file: "growth-keys.svg",
            title: "An update of a counter in memory that holds them all",
            sizes: keys(runs, "growth-keys-"),
            across: "counters",
            up: "ns for an update",
            figure: |run| Some(1e9 / run.events_per_s?),
        },
        Curve {
            file: "recovery-size.svg",
            title: "Killed, to the first read",
            sizes: keys(runs, "recover"),
            across: "keys with values of 100 B",
            up: "ms",
            figure: |run| run.recovery_first_read_ms,
        },
    ];
    for curve in curves {
        if curve.draw(runs, out)? {
            drawn.push((curve.file, curve.title));
        }
    }
    let bars_of: [(&str, &str, &[&str], Figure); 4] = [
        ("stall.svg", "What a checkpoint holds its caller, µs", &["ckpt-stall"], |run| {
            Some(run.stall_ns_p50? as f64 / 1e3)
        }),
        ("recovery.svg", "Killed, to the first 100,000 reads, ms", &["recover"], |run| {
            Some(run.recovery_first_read_ms? + run.next_100k_reads_ms?)
        }),
        ("written.svg", "Bytes written over bytes of keys and values written", AMPLIFIED, |run| {
            run.write_amplification.filter(|&value| value > 0.0)
        }),
        ("latency.svg", "p99.9 from when an event was due at 70 % load, µs", AMPLIFIED, |run| {
            Some(run.open_latency_ns?.p999? as f64 / 1e3)
        }),
    ];
    for (name, title, workloads, figure) in bars_of {
        if bars(runs, &out.join(name), title, workloads, figure)? {
            drawn.push((name, title));
        }
    }
    Ok(drawn)
}

type Figure = fn(&Figures) -> Option<f64>;

/// Workloads whose state is worth a look on disk.
const AMPLIFIED: &[&str] = &[
    "steady-uniform",
    "rmw-cold-uniform-batched",
    "rmw-cold-zipf-batched",
    "tumble-inc",
    "session",
    "interval-join",
    "nexmark",
    "nexmark-cold",
    "nexmark-cold-batched",
    "real-replay",
    "timers",
];

fn label(size: i32, colour: &RGBColor, at: Pos) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(colour).pos(at)
}

/// Workloads down, engines across: green where this engine is ahead, red where it isn't.
fn ratios(runs: &Runs, path: &Path, title: &str) -> Outcome {
    const LEFT: i32 = 230;
    const TOP: i32 = 80;
    const CELL: (i32, i32) = (104, 22);
    let engines: Vec<&String> = runs.engines().iter().filter(|engine| *engine != OURS).collect();
    let workloads: Vec<&String> = runs.workloads().iter().filter(|name| runs.rate(name, OURS).is_some()).collect();
    let width = LEFT + CELL.0 * engines.len() as i32 + 20;
    let height = TOP + CELL.1 * workloads.len() as i32 + 20;
    let area = SVGBackend::new(path, (width as u32, height as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    area.draw_text(title, &label(17, &BLACK, Pos::new(HPos::Left, VPos::Top)), (20, 16))?;
    for (x, engine) in engines.iter().enumerate() {
        let at = (LEFT + CELL.0 * x as i32 + CELL.0 / 2, TOP - 18);
        area.draw_text(engine, &label(13, &BLACK, Pos::new(HPos::Center, VPos::Center)), at)?;
    }
    for (y, workload) in workloads.iter().enumerate() {
        let top = TOP + CELL.1 * y as i32;
        let at = (LEFT - 10, top + CELL.1 / 2);
        area.draw_text(workload, &label(13, &BLACK, Pos::new(HPos::Right, VPos::Center)), at)?;
        for (x, engine) in engines.iter().enumerate() {
            let left = LEFT + CELL.0 * x as i32;
            let ours = runs.rate(workload, OURS).unwrap_or(0.0);
            let ratio = runs.rate(workload, engine).filter(|&theirs| theirs > 0.0).map(|theirs| ours / theirs);
            cell(&area, (left, top), CELL, ratio)?;
        }
    }
    area.present()?;
    Ok(())
}

fn cell(area: &Chart<'_>, (left, top): (i32, i32), (width, height): (i32, i32), ratio: Option<f64>) -> Outcome {
    let (fill, text) = match ratio {
        None => (RGBColor(235, 235, 235), String::from("-")),
        Some(ratio) => {
            // As far from white as it is from even, up to sixteen times.
            let strength = (ratio.log2().abs() / 4.0).min(1.0);
            let shade = |full: u8| (255.0 - (255.0 - f64::from(full)) * (0.2 + 0.8 * strength)) as u8;
            let full = if ratio >= 1.0 { (86, 166, 96) } else { (214, 70, 60) };
            let digits = if ratio >= 9.95 { 0 } else { 2 };
            (RGBColor(shade(full.0), shade(full.1), shade(full.2)), format!("{ratio:.digits$}"))
        }
    };
    let corners = [(left + 1, top + 1), (left + width - 1, top + height - 1)];
    area.draw(&Rectangle::new(corners, fill.filled()))?;
    let at = (left + width / 2, top + height / 2);
    area.draw_text(&text, &label(13, &BLACK, Pos::new(HPos::Center, VPos::Center)), at)?;
    Ok(())
}

/// Workloads of the curve of growth, with their state over the budget, from little to much.
fn shares(runs: &Runs) -> Vec<(f64, &String)> {
    let share = |name: &String| {
        let share = name.strip_prefix("growth-")?.parse::<f64>().ok()?;
        let is_quick = runs.of(name, OURS).is_ok_and(|runs| runs.iter().any(|run| run.quick));
        Some(if is_quick { share * QUICK_GROWTH } else { share })
    };
    let mut shares: Vec<(f64, &String)> =
        runs.workloads().iter().filter_map(|name| Some((share(name)?, name))).collect();
    shares.sort_by(|a, b| a.0.total_cmp(&b.0));
    shares
}

/// Workloads whose names begin so, from few keys to many.
fn keys<'a>(runs: &'a Runs, prefix: &str) -> Vec<(f64, &'a String)> {
    let keys = |name: &String| {
        let summary = |engine: &String| runs.summary(name, engine, |run| Some(run.keys? as f64));
        runs.engines().iter().find_map(summary).map(|summary| summary.median)
    };
    let named = runs.workloads().iter().filter(|name| name.starts_with(prefix));
    let mut sizes: Vec<(f64, &String)> = named.filter_map(|name| Some((keys(name)?, name))).collect();
    sizes.sort_by(|a, b| a.0.total_cmp(&b.0));
    sizes
}

/// A figure over the size of the state, both in powers, a line for each engine.
struct Curve<'a> {
    file: &'static str,
    title: &'static str,
    sizes: Vec<(f64, &'a String)>,
    across: &'static str,
    up: &'static str,
    figure: Figure,
}

impl Curve<'_> {
    fn points(&self, runs: &Runs, engine: &str) -> Vec<(f64, f64)> {
        let point = |(size, name): &(f64, &String)| Some((*size, runs.summary(name, engine, self.figure)?.median));
        self.sizes.iter().filter_map(point).collect()
    }

    /// Draws it, if there is more than a point.
    fn draw(&self, runs: &Runs, out: &Path) -> Outcome<bool> {
        let all: Vec<(f64, f64)> = runs.engines().iter().flat_map(|engine| self.points(runs, engine)).collect();
        let (Some(first), Some(last)) = (self.sizes.first(), self.sizes.last()) else { return Ok(false) };
        if all.len() < 2 || first.0 >= last.0 {
            return Ok(false);
        }
        let low = all.iter().map(|point| point.1).fold(f64::MAX, f64::min) / 1.5;
        // With room for the legend above.
        let high = all.iter().map(|point| point.1).fold(0.0, f64::max) * 3.0;
        let path = out.join(self.file);
        let area = SVGBackend::new(&path, (860, 520)).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(self.title, ("sans-serif", 17))
            .margin(14)
            .x_label_area_size(44)
            .y_label_area_size(76)
            .build_cartesian_2d((first.0..last.0).log_scale(), (low..high).log_scale())?;
        chart
            .configure_mesh()
            .x_desc(self.across)
            .x_label_formatter(&|size| if *size < 1e5 { format!("{size}") } else { format!("{} M", size / 1e6) })
            .y_label_formatter(&|value| format!("{value:.0}"))
            .y_desc(self.up)
            .label_style(("sans-serif", 12))
            .draw()?;
        for engine in runs.engines() {
            let points = self.points(runs, engine);
            if points.is_empty() {
                continue;
            }
            let colour = colour(engine);
            let stroke = if engine == OURS { 3 } else { 1 };
            let line = LineSeries::new(points, colour.stroke_width(stroke)).point_size(3);
            chart
                .draw_series(line)?
                .label(engine.as_str())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3)));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.85))
            .label_font(("sans-serif", 12))
            .draw()?;
        area.present()?;
        Ok(true)
    }
}

/// Bars along a scale of powers of ten, by workload and engine.
fn bars(runs: &Runs, path: &Path, title: &str, workloads: &[&str], figure: Figure) -> Outcome<bool> {
    const LEFT: i32 = 330;
    const LONG: f64 = 520.0;
    const BAR: i32 = 17;
    let mut rows = Vec::new();
    for workload in workloads {
        for engine in runs.engines() {
            if let Some(summary) = runs.summary(workload, engine, figure) {
                rows.push((*workload, engine, summary.median));
            }
        }
    }
    let values = rows.iter().map(|row| row.2).filter(|&value| value > 0.0);
    let (low, high) = values.fold((f64::MAX, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
    if rows.is_empty() || high <= 0.0 {
        return Ok(false);
    }
    let (floor, ceiling) = (10_f64.powf(low.log10().floor()) / 1.5, high * 1.2);
    let height = 70 + BAR * rows.len() as i32 + 16 * workloads.len() as i32;
    let area = SVGBackend::new(path, (960, height as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    let heading = format!("{title} (logarithmic)");
    area.draw_text(&heading, &label(17, &BLACK, Pos::new(HPos::Left, VPos::Top)), (20, 16))?;
    let mut top = 54;
    let mut before = "";
    for (workload, engine, value) in rows {
        if !before.is_empty() && before != workload {
            top += 10;
        }
        before = workload;
        let long = LONG * (value.max(floor) / floor).ln() / (ceiling / floor).ln();
        let corners = [(LEFT, top + 2), (LEFT + long as i32, top + BAR - 2)];
        area.draw(&Rectangle::new(corners, colour(engine).filled()))?;
        let middle = top + BAR / 2;
        let name = format!("{workload}, {engine}");
        area.draw_text(&name, &label(12, &BLACK, Pos::new(HPos::Right, VPos::Center)), (LEFT - 8, middle))?;
        let text = if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") };
        let at = (LEFT + long as i32 + 6, middle);
        area.draw_text(&text, &label(12, &BLACK, Pos::new(HPos::Left, VPos::Center)), at)?;
        top += BAR;
    }
    area.present()?;
    Ok(true)
}
