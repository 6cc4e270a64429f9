//! Numbers as text, in Prometheus' exposition format, version 0.0.4.
//!
//! A metric's samples (one for each set of labels) must stand together under one header, so a caller writes metric by
//! metric, not store by store.

use std::fmt::{self, Display, Write};

use super::HistogramSnapshot;

/// What a metric's number means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MetricKind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Quantiles, a sum and a count.
    Summary,
}

impl Display for MetricKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Summary => "summary",
        })
    }
}

/// Appends one sample of a metric, after the metric's header if `out` doesn't have it yet.
///
/// Any label value and help text is escaped as the format wants. Names are the caller's: letters, digits and `_`.
///
/// ```
/// use alluvium::stats::{MetricKind, prometheus};
///
/// let mut out = String::new();
/// prometheus(&mut out, "alluvium_puts_total", "Records put.", MetricKind::Counter, &[("store", "orders")], 7_u64);
/// assert!(out.ends_with("alluvium_puts_total{store=\"orders\"} 7\n"));
/// ```
pub fn prometheus(
    out: &mut String,
    name: &str,
    help: &str,
    kind: MetricKind,
    labels: &[(&str, &str)],
    value: impl Display,
) {
    header(out, name, help, kind);
    sample(out, name, "", labels, None, value);
}

/// Appends a latency histogram as a summary: quantiles, the sum and the count. Durations are written in seconds, the
/// base unit of the format, so `name` ends in `_seconds`.
pub fn prometheus_summary(
    out: &mut String,
    name: &str,
    help: &str,
    labels: &[(&str, &str)],
    histogram: &HistogramSnapshot,
) {
    header(out, name, help, MetricKind::Summary);
    for (quantile, q) in [("0.5", 0.5), ("0.9", 0.9), ("0.99", 0.99), ("0.999", 0.999), ("1", 1.0)] {
        sample(out, name, "", labels, Some(quantile), seconds(histogram.percentile(q)));
    }
    sample(out, name, "_sum", labels, None, seconds(histogram.sum_ns()));
    sample(out, name, "_count", labels, None, histogram.count());
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// Writing to a string can't fail; the result is dropped in this one place.
fn append(out: &mut String, text: fmt::Arguments<'_>) {
    let _infallible = out.write_fmt(text);
}

fn header(out: &mut String, name: &str, help: &str, kind: MetricKind) {
    let declaration = format!("# TYPE {name} {kind}\n");
    if out.contains(&declaration) {
        return;
    }
    let help = help.replace('\\', r"\\").replace('\n', r"\n");
    append(out, format_args!("# HELP {name} {help}\n{declaration}"));
}

fn sample(
    out: &mut String,
    name: &str,
    suffix: &str,
    labels: &[(&str, &str)],
    quantile: Option<&str>,
    value: impl Display,
) {
    append(out, format_args!("{name}{suffix}"));
    let labels = labels.iter().copied().chain(quantile.map(|quantile| ("quantile", quantile)));
    let mut before = '{';
    for (label, text) in labels {
        let text = text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
        append(out, format_args!("{before}{label}=\"{text}\""));
        before = ',';
    }
    if before == ',' {
        out.push('}');
    }
    append(out, format_args!(" {value}\n"));
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::Histogram;
    use super::*;

    #[test]
    fn samples_of_a_metric_share_one_header() {
        let mut out = String::new();
        for store in ["a", "b"] {
            prometheus(&mut out, "puts_total", "Records put.", MetricKind::Counter, &[("store", store)], 1_u64);
        }
        prometheus(&mut out, "puts", "Not the same metric.", MetricKind::Gauge, &[], -0.5);
        assert_eq!(
            out,
            "# HELP puts_total Records put.\n# TYPE puts_total counter\n\
             puts_total{store=\"a\"} 1\nputs_total{store=\"b\"} 1\n\
             # HELP puts Not the same metric.\n# TYPE puts gauge\nputs -0.5\n"
        );
    }

    #[test]
    fn any_text_is_escaped() {
        let mut out = String::new();
        let labels = [("path", "C:\\state\n"), ("name", "say \"hi\"")];
        prometheus(&mut out, "m", "a\\b\nc", MetricKind::Gauge, &labels, u64::MAX);
        assert_eq!(
            out,
            "# HELP m a\\\\b\\nc\n# TYPE m gauge\n\
             m{path=\"C:\\\\state\\n\",name=\"say \\\"hi\\\"\"} 18446744073709551615\n"
        );
    }

    #[test]
    fn a_histogram_becomes_a_summary_in_seconds() {
        let histogram = Histogram::new();
        (0..9).for_each(|_| histogram.record(16));
        histogram.record(2_000_000_000);
        let mut out = String::new();
        prometheus_summary(&mut out, "get_seconds", "Reads.", &[("store", "a")], &histogram.snapshot());
        assert_eq!(
            out,
            "# HELP get_seconds Reads.\n# TYPE get_seconds summary\n\
             get_seconds{store=\"a\",quantile=\"0.5\"} 0.000000016\n\
             get_seconds{store=\"a\",quantile=\"0.9\"} 0.000000016\n\
             get_seconds{store=\"a\",quantile=\"0.99\"} 2\n\
             get_seconds{store=\"a\",quantile=\"0.999\"} 2\n\
             get_seconds{store=\"a\",quantile=\"1\"} 2\n\
             get_seconds_sum{store=\"a\"} 2.000000144\n\
             get_seconds_count{store=\"a\"} 10\n"
        );
    }
}
