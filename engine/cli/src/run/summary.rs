//! What came of a run, as a table and as JSON.

use serde::Serialize;

use super::record::{Record, ratio};
use crate::failure::{Failure, Outcome};
use crate::format::{bytes, columns, counted, nanoseconds, thousands};
use crate::job::table::TABLES;

/// The JSON file: its keys are an interface.
#[derive(Serialize)]
struct Json {
    result: &'static str,
    events: u64,
    events_per_s: f64,
    state_ops_per_s: f64,
    latency_ns_p50: u64,
    latency_ns_p99: u64,
    latency_ns_p999: u64,
    barrier_ns_p50: u64,
    barrier_ns_p999: u64,
    barrier_ns_max: u64,
    checkpoints: usize,
    checkpoint_bytes_over_changed: f64,
    recoveries: usize,
    recovery_first_read_ms_max: f64,
    commits_lasting: u64,
    commit_us_p50: u64,
    commit_us_p99: u64,
    events_repeated: u64,
    memory_budget_bytes: u64,
    rss_anon_bytes_max: u64,
    rss_file_bytes_max: u64,
    state_bytes: u64,
    disk_bytes: u64,
    write_amplification: f64,
    seed: u64,
}

/// In one word.
pub fn verdict(record: &Record) -> &'static str {
    if record.is_exact() { "exact" } else { "different" }
}

/// The results as a JSON object.
pub fn json(record: &Record) -> Outcome<String> {
    let rounded = |number: f64| (number * 1_000.0).round() / 1_000.0;
    let results = Json {
        result: verdict(record),
        events: record.settings.events,
        events_per_s: rounded(record.per_second(record.settings.events)),
        state_ops_per_s: rounded(record.per_second(record.state_ops)),
        latency_ns_p50: record.latencies_ns.value_at_quantile(0.5),
        latency_ns_p99: record.latencies_ns.value_at_quantile(0.99),
        latency_ns_p999: record.latencies_ns.value_at_quantile(0.999),
        barrier_ns_p50: record.barriers_ns.value_at_quantile(0.5),
        barrier_ns_p999: record.barriers_ns.value_at_quantile(0.999),
        barrier_ns_max: record.barriers_ns.max(),
        checkpoints: record.completed().count(),
        checkpoint_bytes_over_changed: rounded(record.checkpoint_bytes_over_changed()),
        recoveries: record.recoveries.len(),
        recovery_first_read_ms_max: rounded(record.recovery_first_read_ms_max()),
        commits_lasting: record.commits_us.len(),
        commit_us_p50: record.commits_us.value_at_quantile(0.5),
        commit_us_p99: record.commits_us.value_at_quantile(0.99),
        events_repeated: record.repeated,
        memory_budget_bytes: record.settings.memory_bytes,
        rss_anon_bytes_max: record.rss_anon_bytes_max,
        rss_file_bytes_max: record.rss_file_bytes_max,
        state_bytes: record.comparison.state_bytes(),
        disk_bytes: record.disk_bytes,
        write_amplification: rounded(record.write_amplification()),
        seed: record.settings.seed,
    };
    serde_json::to_string_pretty(&results).map(|text| text + "\n").map_err(Failure::new)
}

/// The results line by line: a name, a figure, and what else there is to say of it.
pub fn lines(record: &Record) -> Vec<[String; 3]> {
    let line = |name: &str, figure: String, note: String| [name.to_owned(), figure, note];
    let per_second = |count| format!("{} /s", thousands(record.per_second(count).round() as u64));
    let (latencies, barriers) = (&record.latencies_ns, &record.barriers_ns);
    let commits = &record.commits_us;
    let state_bytes = record.comparison.state_bytes();
    let budget = record.settings.memory_bytes;
    let quantile =
        |histogram: &hdrhistogram::Histogram<u64>, quantile| nanoseconds(histogram.value_at_quantile(quantile));
    let mut lines = vec![
        line("events", thousands(record.settings.events), per_second(record.settings.events)),
        line("state operations", thousands(record.state_ops), per_second(record.state_ops)),
        line(
            "latency",
            format!("{} p50", quantile(latencies, 0.5)),
            format!("{} p99, {} p99.9", quantile(latencies, 0.99), quantile(latencies, 0.999)),
        ),
        line(
            "barrier",
            format!("{} p50", quantile(barriers, 0.5)),
            format!("{} p99.9, {} longest", quantile(barriers, 0.999), nanoseconds(barriers.max())),
        ),
        line(
            "checkpoints",
            thousands(record.completed().count() as u64),
            format!("{:.2} bytes flushed for each byte changed", record.checkpoint_bytes_over_changed()),
        ),
        line(
            "recoveries",
            thousands(record.recoveries.len() as u64),
            format!(
                "from {}; first read after {:.1} ms at most{}",
                counted(record.crashes.len() as u64, "crash", "crashes"),
                record.recovery_first_read_ms_max(),
                record.settings.recovery_target_ms.map_or_else(String::new, |target| format!(", {target} ms allowed"))
            ),
        ),
        line(
            "state",
            bytes(state_bytes),
            format!("{:.1} x the budget of {}", ratio(state_bytes, budget), bytes(budget)),
        ),
        line(
            "memory",
            bytes(record.rss_anon_bytes_max),
            format!("the process's own at most; {} of mapped files", bytes(record.rss_file_bytes_max)),
        ),
        line("disk", bytes(record.disk_bytes), format!("write amplification {:.2}", record.write_amplification())),
        line(
            "time",
            format!("{:.1} s", record.elapsed_ms as f64 / 1e3),
            format!("and {:.1} s for the check", record.check_ms as f64 / 1e3),
        ),
    ];
    if record.settings.commit_interval_ms.is_some() {
        let lost = line(
            "commits",
            format!("{} lasted", thousands(commits.len())),
            format!(
                "after {} p50, {} p99; none of them lost, {} events taken again after crashes",
                nanoseconds(commits.value_at_quantile(0.5) * 1_000),
                nanoseconds(commits.value_at_quantile(0.99) * 1_000),
                thousands(record.repeated)
            ),
        );
        lines.insert(5, lost);
    }
    lines
}

/// Each state: its name, its entries, its bytes.
pub fn states(record: &Record) -> Vec<[String; 3]> {
    let tables = TABLES.iter().zip(&record.comparison.tables);
    tables.map(|(info, count)| [info.name.to_owned(), thousands(count.rows), bytes(count.bytes)]).collect()
}

/// All that is printed at the end.
pub fn text(record: &Record) -> String {
    let mut text = String::new();
    let heading = [["state".to_owned(), "entries".to_owned(), "size".to_owned()]];
    let rows: Vec<Vec<String>> = heading.into_iter().chain(states(record)).map(Vec::from).collect();
    text.push_str(&columns(&rows));
    text.push('\n');
    let lines = lines(record);
    let figures: Vec<Vec<String>> = lines.iter().map(|[name, figure, _]| vec![name.clone(), figure.clone()]).collect();
    for (left, [_, _, note]) in columns(&figures).lines().zip(&lines) {
        text.push_str(&format!("{left}  {note}\n"));
    }
    text.push('\n');
    text.push_str(&differences(record));
    text.push_str(verdict(record));
    text.push('\n');
    text
}

/// The first differences, if there are any.
fn differences(record: &Record) -> String {
    let comparison = &record.comparison;
    if record.is_exact() {
        return String::new();
    }
    let mut text = format!("{} entries are not as expected; the first:\n", thousands(comparison.differences));
    for difference in &comparison.first {
        let show = |value: &Option<String>| value.clone().unwrap_or_else(|| "no such entry".to_owned());
        text.push_str(&format!("  {}\n", difference.place));
        text.push_str(&format!("    expected  {}\n", show(&difference.expected)));
        text.push_str(&format!("    found     {}\n", show(&difference.found)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::sample_record;
    use super::*;
    use crate::check::compare::Difference;

    #[test]
    fn the_json_has_the_promised_keys_and_no_others() {
        let text = json(&sample_record()).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let keys: Vec<&String> = value.as_object().unwrap().keys().collect();
        let mut promised = "result events events_per_s state_ops_per_s latency_ns_p50 latency_ns_p99 latency_ns_p999 \
                            barrier_ns_p50 barrier_ns_p999 barrier_ns_max checkpoints checkpoint_bytes_over_changed \
                            recoveries recovery_first_read_ms_max commits_lasting commit_us_p50 commit_us_p99 \
                            events_repeated memory_budget_bytes rss_anon_bytes_max \
                            rss_file_bytes_max state_bytes disk_bytes write_amplification seed"
            .split_whitespace()
            .collect::<Vec<_>>();
        promised.sort_unstable();
        assert_eq!(keys, promised);
        assert_eq!((value["result"].as_str(), value["seed"].as_u64()), (Some("exact"), Some(42)));
        assert!(value["latency_ns_p50"].as_u64().unwrap() >= 400);
    }

    #[test]
    fn the_table_ends_with_the_verdict() {
        let mut record = sample_record();
        let shown = text(&record);
        assert!(shown.ends_with("\nexact\n"), "{shown}");
        assert!(shown.contains("window_results"), "{shown}");
        record.comparison.differences = 1;
        record.comparison.first.push(Difference {
            place: "carriers period=0 carrier=UA".to_owned(),
            expected: Some("flights=2".to_owned()),
            found: None,
        });
        let shown = text(&record);
        assert!(shown.ends_with("\ndifferent\n"), "{shown}");
        assert!(shown.contains("carriers period=0 carrier=UA\n    expected  flights=2\n    found     no such entry\n"));
    }
}
