//! What a run was and what came of it: everything that the table, the JSON file and the report show.

use hdrhistogram::Histogram;

use super::message::{Message, Progress};
use crate::check::compare::Comparison;
use crate::failure::{Failure, Outcome};

/// How many samples of the timeline are kept; then every second one goes, and they are taken half as often.
const SAMPLES_MAX: usize = 4_000;

/// What was asked for.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Which flights: a file's name, or the embedded ones.
    pub input: String,
    /// How often they are repeated.
    pub scale: u16,
    /// Events in all repetitions together.
    pub events: u64,
    /// The memory budget.
    pub memory_bytes: u64,
    /// How many crashes were asked for.
    pub crashes: u32,
    /// What the moments of the crashes were drawn from.
    pub seed: u64,
    /// From one checkpoint to the next.
    pub checkpoint_interval_ms: u64,
    /// From one commit to the next; `None` without a changelog.
    pub commit_interval_ms: Option<u64>,
    /// How long a recovery may take; `None` where checkpoints come by the interval.
    pub recovery_target_ms: Option<u64>,
}

/// One moment of the timeline.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// Since the start of the run.
    pub at_ms: u64,
    /// Events taken so far, those repeated after a crash included.
    pub applied: u64,
    /// The next event.
    pub event: u64,
    /// The worker's own memory.
    pub rss_anon_bytes: u64,
    /// Files that the worker has mapped.
    pub rss_file_bytes: u64,
}

/// A checkpoint.
#[derive(Clone, Copy, Debug, Default)]
pub struct Checkpoint {
    /// When its barrier was passed, since the start of the run.
    pub at_ms: u64,
    /// Its label.
    pub label: u64,
    /// The event after it.
    pub event: u64,
    /// How long the barrier held the job up.
    pub barrier_ns: u64,
    /// What came of it; `None` where a crash came first.
    pub complete: Option<Completed>,
}

/// What a complete checkpoint came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Completed {
    /// From the barrier to the end.
    pub duration_us: u64,
    /// Bytes of the files that it added, compaction's included.
    pub new_bytes: u64,
    /// Bytes of the files that hold what changed.
    pub flushed_bytes: u64,
    /// Bytes of the keys and values that changed.
    pub changed_bytes: u64,
    /// Bytes of all files that it names.
    pub total_bytes: u64,
}

/// A crash.
#[derive(Clone, Copy, Debug)]
pub struct Crash {
    /// Since the start of the run.
    pub at_ms: u64,
    /// The last event that the worker had reported.
    pub event: u64,
}

/// A life of the worker that began from a checkpoint.
#[derive(Clone, Copy, Debug)]
pub struct Recovery {
    /// Since the start of the run.
    pub at_ms: u64,
    /// The event that it went on from.
    pub event: u64,
    /// From before the engine was opened to the first value read.
    pub first_read_us: u64,
}

/// A run.
#[derive(Debug)]
pub struct Record {
    /// What was asked for.
    pub settings: Settings,
    /// From the start of the first worker to the end of the last one.
    pub elapsed_ms: u64,
    /// How long the check took, its own computation included.
    pub check_ms: u64,
    /// The timeline.
    pub samples: Vec<Sample>,
    /// Checkpoints that were begun.
    pub checkpoints: Vec<Checkpoint>,
    /// Crashes.
    pub crashes: Vec<Crash>,
    /// Lives after the first that found a checkpoint.
    pub recoveries: Vec<Recovery>,
    /// Operations on the state, those repeated after a crash included.
    pub state_ops: u64,
    /// Their latencies, of a sample.
    pub latencies_ns: Histogram<u64>,
    /// How long each barrier held the job up.
    pub barriers_ns: Histogram<u64>,
    /// How long each commit took to last.
    pub commits_us: Histogram<u64>,
    /// The event after the last commit that lasts.
    pub lasting: u64,
    /// Events that were taken again after a crash.
    pub repeated: u64,
    /// Bytes written to files.
    pub written_bytes: u64,
    /// Bytes of the keys and values that were flushed.
    pub changed_bytes: u64,
    /// The most memory that a worker had of its own.
    pub rss_anon_bytes_max: u64,
    /// The most that a worker had mapped of files.
    pub rss_file_bytes_max: u64,
    /// The store's directory at the end.
    pub disk_bytes: u64,
    /// What the states hold, and whether it is right.
    pub comparison: Comparison,
    /// What the worker that runs now said last.
    now: Progress,
    applied: u64,
    sample_every_ms: u64,
}

impl Record {
    /// A run that is about to begin.
    pub fn new(settings: Settings) -> Outcome<Self> {
        // Up to ten minutes; what takes longer counts as that.
        let histogram = || Histogram::new_with_bounds(1, 600_000_000_000, 3).map_err(Failure::new);
        Ok(Self {
            settings,
            elapsed_ms: 0,
            check_ms: 0,
            samples: Vec::new(),
            checkpoints: Vec::new(),
            crashes: Vec::new(),
            recoveries: Vec::new(),
            state_ops: 0,
            latencies_ns: histogram()?,
            barriers_ns: histogram()?,
            commits_us: histogram()?,
            lasting: 0,
            repeated: 0,
            written_bytes: 0,
            changed_bytes: 0,
            rss_anon_bytes_max: 0,
            rss_file_bytes_max: 0,
            disk_bytes: 0,
            comparison: Comparison::default(),
            now: Progress::default(),
            applied: 0,
            sample_every_ms: 20,
        })
    }

    /// Takes in what a worker said. Fails where a commit that lasted is lost.
    pub fn take(&mut self, at_ms: u64, message: &Message) -> Outcome<()> {
        match message {
            Message::Started { event, recovered, first_read_us } => {
                if *event < self.lasting {
                    let lost = format_args!("the store is at event {event}, and a commit at {} lasted", self.lasting)
                        .to_string();
                    return Err(Failure::new(lost));
                }
                self.repeated += self.now.event.saturating_sub(*event);
                self.now = Progress { event: *event, ..Progress::default() };
                if *recovered {
                    self.recoveries.push(Recovery { at_ms, event: *event, first_read_us: *first_read_us });
                }
            }
            Message::Progress(progress) => self.progress(progress),
            &Message::Barrier { label, event, barrier_ns } => {
                self.barriers_ns.saturating_record(barrier_ns);
                self.checkpoints.push(Checkpoint { at_ms, label, event, barrier_ns, complete: None });
            }
            &Message::Checkpoint { label, duration_us, new_bytes, flushed_bytes, changed_bytes, total_bytes } => {
                let begun = self.checkpoints.iter_mut().rev().find(|checkpoint| checkpoint.label == label);
                if let Some(checkpoint) = begun {
                    let complete = Completed { duration_us, new_bytes, flushed_bytes, changed_bytes, total_bytes };
                    checkpoint.complete = Some(complete);
                }
            }
            &Message::Lasting { event, took_us } => {
                self.commits_us.saturating_record(took_us);
                self.lasting = self.lasting.max(event);
            }
            Message::Finished
            | Message::Expected
            | Message::Checked(_)
            | Message::Poison(_)
            | Message::Failed { .. } => {}
        }
        Ok(())
    }

    fn progress(&mut self, progress: &Progress) {
        let since = |now: u64, before: u64| now.saturating_sub(before);
        self.applied += since(progress.event, self.now.event);
        self.state_ops += since(progress.state_ops, self.now.state_ops);
        self.written_bytes += since(progress.written_bytes, self.now.written_bytes);
        self.changed_bytes += since(progress.changed_bytes, self.now.changed_bytes);
        for &(latency_ns, count) in &progress.latencies {
            self.latencies_ns.saturating_record_n(latency_ns, count);
        }
        self.now = Progress { latencies: Vec::new(), ..progress.clone() };
    }

    /// Notes the worker's memory.
    pub fn sample(&mut self, at_ms: u64, rss_anon_bytes: u64, rss_file_bytes: u64) {
        self.rss_anon_bytes_max = self.rss_anon_bytes_max.max(rss_anon_bytes);
        self.rss_file_bytes_max = self.rss_file_bytes_max.max(rss_file_bytes);
        if self.samples.last().is_some_and(|last| at_ms < last.at_ms + self.sample_every_ms) {
            return;
        }
        if self.samples.len() >= SAMPLES_MAX {
            let mut index = 0;
            self.samples.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.sample_every_ms *= 2;
        }
        let (applied, event) = (self.applied, self.now.event);
        self.samples.push(Sample { at_ms, applied, event, rss_anon_bytes, rss_file_bytes });
    }

    /// Notes that the worker was killed.
    pub fn crash(&mut self, at_ms: u64) {
        self.crashes.push(Crash { at_ms, event: self.now.event });
    }

    /// The next event, as far as the worker has said.
    pub fn event(&self) -> u64 {
        self.now.event
    }

    /// Whether every state holds what it has to.
    pub fn is_exact(&self) -> bool {
        self.comparison.differences == 0
    }

    /// The checkpoints that became complete.
    pub fn completed(&self) -> impl Iterator<Item = Completed> {
        self.checkpoints.iter().filter_map(|checkpoint| checkpoint.complete)
    }

    /// Bytes of the files that flushes wrote, for each byte of key and value that changed.
    pub fn checkpoint_bytes_over_changed(&self) -> f64 {
        let changed: u64 = self.completed().map(|checkpoint| checkpoint.changed_bytes).sum();
        ratio(self.completed().map(|checkpoint| checkpoint.flushed_bytes).sum(), changed)
    }

    /// Bytes written, for each byte of key and value that was flushed.
    pub fn write_amplification(&self) -> f64 {
        ratio(self.written_bytes, self.changed_bytes)
    }

    /// Per second of the whole run, crashes and recoveries included.
    pub fn per_second(&self, count: u64) -> f64 {
        ratio(count * 1_000, self.elapsed_ms)
    }

    /// The longest time to the first read after a recovery, in milliseconds.
    pub fn recovery_first_read_ms_max(&self) -> f64 {
        let longest = self.recoveries.iter().map(|recovery| recovery.first_read_us).max().unwrap_or(0);
        longest as f64 / 1_000.0
    }
}

/// One number by another; 0 where there is nothing to divide by.
pub fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::check::compare::TableCount;
    use crate::job::table::TABLES;

    /// A run as it could have been: a crash two thirds into it.
    pub fn sample_record() -> Record {
        let settings = Settings {
            input: "336,776 flights of New York, 2013".to_owned(),
            scale: 4,
            events: 1_464_852,
            memory_bytes: 32 << 20,
            crashes: 1,
            seed: 42,
            checkpoint_interval_ms: 1_000,
            commit_interval_ms: None,
            recovery_target_ms: None,
        };
        let mut record = Record::new(settings).unwrap();
        let (mut event, mut written) = (0_u64, 0_u64);
        record.take(0, &Message::Started { event: 0, recovered: false, first_read_us: 900 }).unwrap();
        for step in 0..300_u64 {
            let at_ms = 400 + step * 100;
            if step == 200 {
                record.crash(at_ms);
                event -= 30_000;
                written = 0;
                record.take(at_ms, &Message::Started { event, recovered: true, first_read_us: 3_250 }).unwrap();
            }
            event += 4_000 + (step * 7_919) % 1_700;
            written += 300_000;
            let latencies = vec![(400, 800), (2_100, 40), (90_000, 1)];
            let state_ops = event * 20;
            let progress = Progress {
                event,
                state_ops,
                latencies,
                written_bytes: written,
                changed_bytes: written / 2,
                segments: 12,
                used_bytes: 30 << 20,
            };
            record.take(at_ms, &Message::Progress(progress)).unwrap();
            record.sample(at_ms, (20 << 20) + (step.min(100) * (30 << 20)) / 100, (4 << 20) + step * 9_000);
            if step % 10 == 9 {
                let (label, barrier_ns) = (step / 10, 18_000 + step * 100);
                record.take(at_ms, &Message::Barrier { label, event, barrier_ns }).unwrap();
                let (new_bytes, flushed_bytes) = (3_000_000 + step * 10_000, 2_800_000);
                let (changed_bytes, total_bytes) = (2_500_000, step * 600_000);
                let duration_us = 240_000 + step * 500;
                let complete =
                    Message::Checkpoint { label, duration_us, new_bytes, flushed_bytes, changed_bytes, total_bytes };
                record.take(at_ms + 300, &complete).unwrap();
            }
        }
        record.elapsed_ms = 30_600;
        record.check_ms = 6_400;
        record.disk_bytes = 181 << 20;
        let table = |index: u64| TableCount { rows: 1_000 + index * 7_000, bytes: 90_000 + index * 950_000 };
        record.comparison.tables = (0..TABLES.len() as u64).map(table).collect();
        record.comparison.point_reads = 20_000;
        record
    }

    #[test]
    fn counters_of_all_lives_add_up() {
        let record = sample_record();
        let last = record.samples.last().unwrap();
        assert_eq!(last.applied, last.event + 30_000, "what the crash lost was taken twice");
        assert_eq!(record.written_bytes, 300 * 300_000);
        assert!((record.write_amplification() - 2.0).abs() < 1e-9);
        assert_eq!((record.crashes.len(), record.recoveries.len()), (1, 1));
        assert_eq!((record.completed().count(), record.barriers_ns.len()), (30, 30));
        assert!((record.checkpoint_bytes_over_changed() - 1.12).abs() < 1e-9);
        assert!((record.recovery_first_read_ms_max() - 3.25).abs() < 1e-9);
        assert!(record.is_exact());
    }

    #[test]
    fn a_long_run_keeps_a_bounded_timeline() {
        let mut record = Record::new(Settings::default()).unwrap();
        (0..1_000_000).step_by(20).for_each(|at_ms| record.sample(at_ms, at_ms, 0));
        assert!((SAMPLES_MAX / 2..=SAMPLES_MAX).contains(&record.samples.len()));
        assert!(record.samples.is_sorted_by_key(|sample| sample.at_ms));
        assert_eq!(record.rss_anon_bytes_max, 999_980);
    }
}
