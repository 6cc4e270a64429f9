//! What one run of one engine gave: a JSON line.

use crate::harness::latency::Latency;
use serde::{Deserialize, Serialize};

/// Latencies in ns.
#[derive(Clone, Copy, Default, Serialize, Deserialize, Debug)]
pub struct LatencyNs {
    pub p50: u64,
    pub p99: u64,
    pub p999: u64,
    pub p9999: u64,
    pub max: u64,
}

impl LatencyNs {
    pub fn of(latency: &Latency) -> Self {
        // Of too few a percentile is the longest, or near it: 0 is none.
        let at = |percent: f64| {
            let needed = 100.0 / (100.0 - percent);
            if latency.count() as f64 >= needed { latency.percentile(percent) as u64 } else { 0 }
        };
        Self { p50: at(50.0), p99: at(99.0), p999: at(99.9), p9999: at(99.99), max: latency.max() as u64 }
    }
}

/// Stores made of others with other key groups.
#[derive(Clone, Copy, Default, Serialize, Deserialize, Debug)]
pub struct Rescaled {
    /// Until all are open and a first read of each was right.
    pub open_ms: f64,
    /// What the next 100,000 updates took.
    pub next_100k_updates_ms: f64,
    /// What went to the disk until then.
    pub written_bytes: u64,
}

/// One run. What a workload doesn't measure is left out.
#[derive(Clone, Default, Serialize, Deserialize, Debug)]
#[serde(default)]
pub struct Figures {
    pub engine: String,
    pub workload: String,
    /// Which of the repeats, from 0.
    pub repeat: u32,
    /// The version of the code, where git tells.
    pub commit: String,
    /// When it was recorded, in seconds since 1970.
    pub unix_s: u64,
    pub seed: u64,
    pub quick: bool,
    pub budget_bytes: u64,
    /// What the process was limited to, page cache included; 0: it was not.
    pub cap_bytes: u64,
    /// Whether all that was read is what the oracle read. What isn't correct counts for nothing.
    pub correct: bool,
    /// Why there are no figures.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub failed: String,

    /// Keys of the state, where that is what cases differ in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<u64>,
    pub load_s: f64,
    /// Of the closed loop.
    pub events: u64,
    /// How long they took.
    pub closed_s: f64,
    /// Checkpoints that were begun meanwhile.
    pub checkpoints: u64,
    /// Events of the closed loop in a second.
    pub events_per_s: f64,
    /// Operations of state in a second.
    pub ops_per_s: f64,
    /// Of two threads: what one of them did alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_thread_events_per_s: Option<f64>,
    pub latency_ns: LatencyNs,
    /// At 70 % of that rate, from when an event was due.
    pub open_latency_ns: LatencyNs,
    pub cpu_s_per_million_events: f64,
    pub rss_bytes_max: u64,
    /// Bytes that went to the disk, load and checkpoints included, over bytes of keys and values that were written.
    pub write_amplification: f64,
    pub written_bytes: u64,
    /// Bytes on disk after the last checkpoint over bytes of live keys and values.
    pub space_amplification: f64,
    /// Bytes on disk after all windows were closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drained_bytes: Option<u64>,

    /// The most of that, looked at before each checkpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub space_amplification_max: Option<f64>,

    /// Of checkpoints that are far apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stall_ns_p50: Option<u64>,
    /// Of all checkpoints; the longest where there were less than a thousand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stall_ns_p999: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stall_ns_max: Option<u64>,
    /// Of how many checkpoints these are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub barriers: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worst_op_ns: Option<u64>,
    /// Share of the throughput that is lost while a checkpoint is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_dip: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_bytes: Option<u64>,

    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery_first_read_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_100k_reads_ms: Option<f64>,
    /// What updates came to before the process was killed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before_events_per_s: Option<f64>,
    /// Until they came to nine tenths of that again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_90_percent_ms: Option<f64>,

    /// Processes that were killed before this one, which went on from their checkpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kills: Option<u64>,

    /// One store became two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<Rescaled>,
    /// These two became one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub joined: Option<Rescaled>,

    /// What was read until the end of each segment of the events, to be compared.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub digests: Vec<u64>,
    /// What a look at parts of the state gave at the end; of the oracle: after each segment.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<u64>,
}
