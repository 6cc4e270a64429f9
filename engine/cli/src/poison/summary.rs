//! What came of a run with poison, as text and as JSON.

use serde::Serialize;

use super::Record;
use super::job::TABLES;
use super::stream::{POISON_MINUTES, Poison, Stream};
use crate::failure::{Failure, Outcome};
use crate::format::{bytes, columns, counted, nanoseconds, thousands};
use crate::input::time::show_time;

/// The JSON file: its keys are an interface.
#[derive(Serialize)]
struct Json {
    result: &'static str,
    events: u64,
    event_parts: u64,
    events_per_s: f64,
    poisoned: usize,
    dependents: u64,
    suffix_parts: u64,
    applied_again: u64,
    keys_changed: u64,
    plan_us: u64,
    repair_us: u64,
    repair_commit_us: u64,
    groups_inverse: u64,
    groups_reexecuted: u64,
    groups_reexecuted_whole: u64,
    replay_us: u64,
    replay_over_repair: f64,
    kills: usize,
    kills_found_done: usize,
    recovery_ms_max: f64,
    checkpoints: u64,
    log_bytes: u64,
    trace_index_bytes: u64,
    memory_budget_bytes: u64,
    disk_bytes: u64,
    entries: u64,
    differences: u64,
    seed: u64,
}

fn verdict(record: &Record) -> &'static str {
    if record.is_exact() { "exact" } else { "different" }
}

fn per_second(count: u64, us: u64) -> f64 {
    count as f64 * 1e6 / us.max(1) as f64
}

/// How many times as long as the repair it takes to do everything again.
fn replay_over_repair(record: &Record) -> f64 {
    record.replayed.took_us as f64 / (record.repaired.took_us + record.repaired.commit_us).max(1) as f64
}

/// A poisoned event, in words.
pub fn poison(stream: &Stream, poison: &Poison) -> String {
    let (was, says) = (stream.original(poison), stream.poisoned(poison));
    let (was_tail, says_tail) = (was.tail.unwrap_or("?"), says.tail.unwrap_or("?"));
    format!(
        "event {}: {} {} of {} to {}, {} minutes late with plane {says_tail} (it was {was_tail}, {} minutes late)",
        thousands(poison.offset),
        was.carrier,
        was.number,
        show_time(was.scheduled_ms),
        was.dest,
        thousands(u64::from(POISON_MINUTES.unsigned_abs())),
        was.delay.unwrap_or(0),
    )
}

/// The results as a JSON object.
pub fn json(record: &Record) -> Outcome<String> {
    let rounded = |number: f64| (number * 1_000.0).round() / 1_000.0;
    let (applied, planned, repaired) = (&record.applied, &record.planned, &record.repaired);
    let results = Json {
        result: verdict(record),
        events: record.events,
        event_parts: applied.parts,
        events_per_s: rounded(per_second(record.events, applied.took_us)),
        poisoned: record.poisons.len(),
        dependents: planned.dependents,
        suffix_parts: planned.suffix,
        applied_again: repaired.applied_again,
        keys_changed: repaired.changed,
        plan_us: planned.took_us,
        repair_us: repaired.took_us,
        repair_commit_us: repaired.commit_us,
        groups_inverse: repaired.inverse_groups,
        groups_reexecuted: repaired.reexecuted_groups.0,
        groups_reexecuted_whole: repaired.reexecuted_groups.1,
        replay_us: record.replayed.took_us,
        replay_over_repair: rounded(replay_over_repair(record)),
        kills: record.kills.len(),
        kills_found_done: record.kills.iter().filter(|kill| kill.found_done).count(),
        recovery_ms_max: record.recovered_us_max as f64 / 1e3,
        checkpoints: applied.checkpoints,
        log_bytes: applied.log_bytes,
        trace_index_bytes: applied.index_bytes,
        memory_budget_bytes: record.memory_bytes,
        disk_bytes: record.disk_bytes,
        entries: record.comparison.entries.iter().sum(),
        differences: record.comparison.differences,
        seed: record.seed,
    };
    serde_json::to_string_pretty(&results).map(|text| text + "\n").map_err(Failure::new)
}

/// The results line by line: a name, a figure, and what else there is to say of it.
fn lines(record: &Record) -> Vec<[String; 3]> {
    let line = |name: &str, figure: String, note: String| [name.to_owned(), figure, note];
    let (applied, planned, repaired) = (&record.applied, &record.planned, &record.repaired);
    let us = |us: u64| nanoseconds(us * 1_000);
    let share = 100.0 * planned.dependents as f64 / planned.suffix.max(1) as f64;
    let ways = format!(
        "{}, {}",
        counted(repaired.inverse_groups, "key group by the inverse", "key groups by the inverse"),
        counted(repaired.reexecuted_groups.0, "by applying again", "by applying again")
    );
    let parts = format!("{} by plane, airline and airport", thousands(applied.parts));
    let rate = format!("{} /s", thousands(per_second(record.events, applied.took_us).round() as u64));
    let mut lines = vec![
        line("events", thousands(record.events), format!("{parts}, {rate}")),
        line("poisoned", thousands(record.poisons.len() as u64), String::new()),
        line(
            "depend on it",
            thousands(planned.dependents),
            format!("of {} since: {share:.4} %", thousands(planned.suffix)),
        ),
        line("dry run", us(planned.took_us), format!("{} to be applied again", thousands(planned.applied_again))),
        line("repair", us(repaired.took_us), format!("and {} until it lasted", us(repaired.commit_us))),
        line("applied again", thousands(repaired.applied_again), format!("of {}; {ways}", thousands(applied.parts))),
        line("keys changed", thousands(repaired.changed), "the host is told what of each".to_owned()),
        line(
            "everything again",
            us(record.replayed.took_us),
            format!("from the beginning: {} x the repair", thousands(replay_over_repair(record).round() as u64)),
        ),
        line(
            "changelog",
            bytes(applied.log_bytes),
            format!("and {} of memory to find what depends on what", bytes(applied.index_bytes)),
        ),
        line(
            "compared",
            thousands(record.comparison.entries.iter().sum()),
            format!("entries, in {:.1} s", record.compare_ms as f64 / 1e3),
        ),
    ];
    if !record.kills.is_empty() {
        let done = record.kills.iter().filter(|kill| kill.found_done).count() as u64;
        let kills = record.kills.len() as u64;
        let note = format!(
            "during repairs: {} found done as a whole, {} not at all; recovered in {} at most",
            thousands(done),
            thousands(kills - done),
            us(record.recovered_us_max)
        );
        lines.insert(8, line("kills", thousands(kills), note));
    }
    lines
}

/// All that is printed at the end.
pub fn text(record: &Record) -> String {
    const SHOWN: usize = 5;
    let mut text = String::new();
    for poison in record.poisons.iter().take(SHOWN) {
        text.push_str(&format!("{poison}\n"));
    }
    if record.poisons.len() > SHOWN {
        text.push_str(&format!("and {} more\n", record.poisons.len() - SHOWN));
    }
    text.push('\n');
    let entries = TABLES.iter().zip(record.comparison.entries);
    let heading = vec!["state".to_owned(), "entries".to_owned()];
    let rows = entries.map(|((_, name), count)| vec![(*name).to_owned(), thousands(count)]);
    text.push_str(&columns(&std::iter::once(heading).chain(rows).collect::<Vec<_>>()));
    text.push('\n');
    let lines = lines(record);
    let figures: Vec<Vec<String>> = lines.iter().map(|[name, figure, _]| vec![name.clone(), figure.clone()]).collect();
    for (left, [_, _, note]) in columns(&figures).lines().zip(&lines) {
        text.push_str(format!("{left}  {note}").trim_end());
        text.push('\n');
    }
    text.push('\n');
    if !record.is_exact() {
        let differences = thousands(record.comparison.differences);
        text.push_str(&format!("{differences} entries are not as in the run without poison; the first:\n"));
        record.comparison.first.iter().for_each(|first| text.push_str(&format!("  {first}\n")));
    }
    text.push_str(verdict(record));
    text.push('\n');
    text
}
