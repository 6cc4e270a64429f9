//! What one run of one engine gave: a JSON line.

use crate::harness::Outcome;
use crate::harness::latency::Latency;
use serde::{Deserialize, Serialize};

/// Latencies in ns. A percentile that has too few samples is left out.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(default)]
pub struct LatencyNs {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p999: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p9999: Option<u64>,
    /// The longest of those that were timed: in a closed loop one in 61, batches and what is open all.
    pub max: u64,
    /// None took longer, whether it was timed or not: see [`Latency::longest_of_all`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_of_all: Option<u64>,
}

impl LatencyNs {
    /// `None` where nothing was timed.
    pub fn of(latency: &Latency) -> Option<Self> {
        // Of too few a percentile is the longest, or near it.
        let at = |percent: f64| {
            let needed = 100.0 / (100.0 - percent);
            (latency.count() as f64 >= needed).then(|| latency.percentile(percent) as u64)
        };
        (latency.count() > 0).then(|| Self {
            p50: at(50.0),
            p99: at(99.0),
            p999: at(99.9),
            p9999: at(99.99),
            max: latency.max() as u64,
            max_of_all: latency.longest_of_all(),
        })
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_s: Option<f64>,
    /// Of the closed loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<u64>,
    /// How long they took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed_s: Option<f64>,
    /// Checkpoints that were begun meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoints: Option<u64>,
    /// Events of the closed loop in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events_per_s: Option<f64>,
    /// Operations of state in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ops_per_s: Option<f64>,
    /// Of two threads: what one of them did alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_thread_events_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_ns: Option<LatencyNs>,
    /// At 70 % of that rate, from when an event was due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_latency_ns: Option<LatencyNs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_s_per_million_events: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rss_bytes_max: Option<u64>,
    /// Bytes that went to the disk, load and checkpoints included, over bytes of keys and values that were written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_amplification: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written_bytes: Option<u64>,
    /// Bytes on disk after the last checkpoint over bytes of live keys and values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub space_amplification: Option<f64>,
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
    /// Share of the closed loop's throughput that is lost while a checkpoint is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_dip: Option<f64>,
    /// Share of the events due at half load that weren't done in the worst 100 ms that had a moment of a checkpoint in them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub half_load_dip_worst: Option<f64>,
    /// The same share of all that were due between a checkpoint's begin and its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub half_load_dip: Option<f64>,
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

impl Figures {
    /// Of a line; older ones have 0 where nothing was measured.
    pub fn parse(line: &str) -> Outcome<Self> {
        let mut figures: Self = serde_json::from_str(line)?;
        figures.drop_zeros();
        Ok(figures)
    }

    fn drop_zeros(&mut self) {
        let rates = [&mut self.load_s, &mut self.closed_s, &mut self.events_per_s, &mut self.ops_per_s];
        rates.into_iter().chain([&mut self.cpu_s_per_million_events]).for_each(drop_zero);
        [&mut self.events, &mut self.rss_bytes_max].into_iter().for_each(drop_zero);
        for latency in [&mut self.latency_ns, &mut self.open_latency_ns] {
            if let Some(some) = latency {
                [&mut some.p50, &mut some.p99, &mut some.p999, &mut some.p9999].into_iter().for_each(drop_zero);
            }
            *latency = latency.filter(|some| some.max > 0);
        }
        // Who keeps everything in memory writes nothing, and that is a figure where bytes were looked at: behind closed loops.
        if self.closed_s.is_none() {
            [&mut self.checkpoints, &mut self.written_bytes].into_iter().for_each(drop_zero);
            drop_zero(&mut self.write_amplification);
        }
        // Who has written has something on disk: 0 is where nothing was live.
        if self.closed_s.is_none() || self.written_bytes > Some(0) {
            drop_zero(&mut self.space_amplification);
        }
    }
}

fn drop_zero<T: Default + PartialEq>(figure: &mut Option<T>) {
    if *figure == Some(T::default()) {
        *figure = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was recorded before a figure could be left out is read as it was meant.
    #[test]
    fn zeros_of_old_lines_are_none() -> Outcome {
        let record = include_str!("../../record/compare-2-cores.jsonl");
        let runs = record.lines().map(Figures::parse).collect::<Outcome<Vec<_>>>()?;
        let of = |workload: &str, engine: &str| {
            let mut runs = runs.iter().filter(|run| run.workload == workload && run.engine == engine);
            runs.next().ok_or("no such run")
        };
        let recovered = of("recover", "alluvium")?;
        assert!(recovered.events_per_s.is_some() && recovered.recovery_first_read_ms.is_some());
        assert_eq!((recovered.latency_ns, recovered.open_latency_ns), (None, None));
        assert_eq!((recovered.load_s, recovered.cpu_s_per_million_events, recovered.checkpoints), (None, None, None));
        assert_eq!((recovered.written_bytes, recovered.write_amplification), (None, None));
        assert_eq!(recovered.space_amplification, None);
        let steady = of("steady-uniform", "alluvium")?;
        assert!(steady.written_bytes > Some(1 << 30) && steady.space_amplification > Some(1.0));
        assert_eq!(steady.latency_ns.and_then(|latency| latency.p9999), None);
        assert_eq!(of("tumble-between", "alluvium")?.space_amplification, None);
        // A map in memory was looked at, and wrote nothing.
        let map = of("rmw-hot", "hashmap")?;
        assert_eq!((map.written_bytes, map.write_amplification), (Some(0), Some(0.0)));
        Ok(())
    }

    #[test]
    fn what_was_not_measured_is_not_written() -> Outcome {
        let line = serde_json::to_string(&Figures { events_per_s: Some(2.0), ..Figures::default() })?;
        for figure in ["load_s", "latency_ns", "written_bytes", "checkpoints", "rss_bytes_max"] {
            assert!(!line.contains(figure), "{line}");
        }
        assert_eq!(Figures::parse(&line)?.events_per_s, Some(2.0));
        Ok(())
    }

    /// Of ten a 99th percentile would be the longest.
    #[test]
    fn percentiles_have_samples() -> Outcome {
        let mut latency = Latency::new()?;
        assert_eq!(LatencyNs::of(&latency), None);
        (1..=10).for_each(|ns| latency.add(ns));
        let ns = LatencyNs::of(&latency).ok_or("nothing was timed")?;
        assert_eq!((ns.p50, ns.p99, ns.max, ns.max_of_all), (Some(5), None, 10, None));
        Ok(())
    }
}
