//! Metrics: what the engine counts, as a struct and as Prometheus text.

use crate::platform::storage::IoCounts;
use crate::platform::threads::Mutex;
use crate::stats::{Histogram, HistogramSnapshot, MetricKind, prometheus, prometheus_summary};
use std::sync::atomic::{AtomicU64, Ordering};

/// Kinds of operations that are timed apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OperationKind {
    /// Reading a value, list or merging state.
    Read,
    /// Putting or deleting one.
    Write,
    /// Reading and writing a value in one.
    Update,
    /// Appending to a list or merging an operand.
    Append,
    /// Reading a map's entry.
    MapRead,
    /// Putting, deleting or popping a map's entry, or clearing a map.
    MapWrite,
    /// Scanning a map.
    Scan,
    /// A group of operations of a batch.
    Batch,
}

impl OperationKind {
    /// How many kinds there are.
    pub const COUNT: usize = 8;
    /// All kinds.
    pub const ALL: [Self; Self::COUNT] =
        [Self::Read, Self::Write, Self::Update, Self::Append, Self::MapRead, Self::MapWrite, Self::Scan, Self::Batch];

    /// Whether operations of this kind change anything; of batches each says so itself.
    pub(crate) const fn writes(self) -> bool {
        matches!(self, Self::Write | Self::Update | Self::Append | Self::MapWrite)
    }

    /// The kind's name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Update => "update",
            Self::Append => "append",
            Self::MapRead => "map_read",
            Self::MapWrite => "map_write",
            Self::Scan => "scan",
            Self::Batch => "batch",
        }
    }
}

/// What the owner of a shard counts without sharing; gathered when asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct OwnerCounts {
    /// Operations, of any kind; up to 32 keys of a batch count as one.
    pub operations: u64,
    /// Keys answered from memory; those of a batch one by one.
    pub hits: u64,
    /// Lookups that went to the segments.
    pub cold_lookups: u64,
    /// Blocks read for lookups.
    pub blocks_read: u64,
    /// Filters asked by lookups.
    pub filter_probes: u64,
    /// Times that a write had to wait for a flush to make room.
    pub stalls: u64,
    /// How long those waits took together, in ns.
    pub stall_ns: u64,
    /// Records that left memory because it was needed, in bytes.
    pub evicted_bytes: u64,
}

impl OwnerCounts {
    /// Adds another shard's.
    pub fn add(&mut self, other: &Self) {
        self.operations += other.operations;
        self.hits += other.hits;
        self.cold_lookups += other.cold_lookups;
        self.blocks_read += other.blocks_read;
        self.filter_probes += other.filter_probes;
        self.stalls += other.stalls;
        self.stall_ns += other.stall_ns;
        self.evicted_bytes += other.evicted_bytes;
    }
}

/// What a store's background work counts.
#[derive(Debug, Default)]
pub(crate) struct StoreCounts {
    pub flushes: AtomicU64,
    pub spills: AtomicU64,
    pub flushed_bytes: AtomicU64,
    pub flushed_logical_bytes: AtomicU64,
    pub compactions: AtomicU64,
    pub compacted_bytes: AtomicU64,
    pub checkpoints: AtomicU64,
    pub manifest_bytes: AtomicU64,
    pub segments_removed: AtomicU64,
    /// By reads in flight.
    pub blocks_read: AtomicU64,
    pub commits: AtomicU64,
    pub aborts: AtomicU64,
    pub barrier_ns: Histogram,
    pub commit_ns: Histogram,
    pub checkpoint_ns: Histogram,
    /// What shards counted that are gone, as their ranges were cut anew.
    pub departed: Mutex<Departed>,
}

/// What a shard leaves behind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Departed {
    pub owner: OwnerCounts,
    pub copies: u64,
    pub latency: [HistogramSnapshot; OperationKind::COUNT],
}

/// A store's metrics at one moment. Counters count from the opening of the store.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// What the writers did.
    pub owner: OwnerCounts,
    /// Records copied because they were touched while their epoch was being flushed.
    pub copies: u64,
    /// Flushes, for checkpoints and to free memory.
    pub flushes: u64,
    /// Flushes to free memory alone.
    pub spills: u64,
    /// Bytes of segments that flushes wrote.
    pub flushed_bytes: u64,
    /// Bytes of keys and values in them.
    pub flushed_logical_bytes: u64,
    /// Compactions.
    pub compactions: u64,
    /// Bytes of segments that compactions wrote.
    pub compacted_bytes: u64,
    /// Checkpoints that became complete.
    pub checkpoints: u64,
    /// Bytes of manifests.
    pub manifest_bytes: u64,
    /// Bytes of hot lists.
    pub hot_list_bytes: u64,
    /// Records that warming up brought into memory.
    pub warmed_records: u64,
    /// Their keys and values, in bytes.
    pub warmed_bytes: u64,
    /// How much of what a recovery has to do is done, in thousandths: bytes that are replayed and brought into memory.
    pub restored_permille: u64,
    /// Segments deleted because nothing named them any more.
    pub segments_removed: u64,
    /// Transactions that were committed.
    pub commits: u64,
    /// Transactions that were undone.
    pub aborts: u64,
    /// Staged, in memory and on disk, in bytes, about.
    pub staged_bytes: u64,
    /// How long barriers held their callers.
    pub barrier: HistogramSnapshot,
    /// How long commits held their callers.
    pub commit: HistogramSnapshot,
    /// How long checkpoints took, from the barrier to the end.
    pub checkpoint: HistogramSnapshot,
    /// Segments in use now.
    pub segments: u64,
    /// Their bytes.
    pub segment_bytes: u64,
    /// Snapshots that live.
    pub snapshots: u64,
    /// Bytes of segments that are on disk for snapshots alone.
    pub snapshot_bytes: u64,
    /// Memory that the store's shards hold, in bytes.
    pub memory_bytes: u64,
    /// Changed and not yet flushed, in bytes, about.
    pub unflushed_bytes: u64,
    /// Blocks that the cache had, of all stores of the engine.
    pub cache_hits: u64,
    /// Blocks that the cache was asked for and didn't have, of all stores of the engine.
    pub cache_misses: u64,
    /// Memory of the index by which it is found out what depends on what, in bytes, about.
    pub trace_bytes: u64,
    /// Whether the system denied the engine huge pages.
    pub huge_pages_denied: bool,
    /// What went through the file system.
    pub io: IoCounts,
    /// How long operations took, by [`OperationKind`]; one in 64 is timed.
    pub latency: [HistogramSnapshot; OperationKind::COUNT],
}

impl Metrics {
    /// The metrics as Prometheus text; `labels` go with every sample (the store's name, say).
    pub fn prometheus(&self, labels: &[(&str, &str)]) -> String {
        let mut out = String::new();
        let owner = &self.owner;
        let counters = [
            ("operations", "Operations of writers; up to 32 keys of a batch are one.", owner.operations),
            ("hits", "Keys answered from memory.", owner.hits),
            ("cold_lookups", "Lookups that went to the segments.", owner.cold_lookups),
            ("blocks_read", "Blocks that lookups looked into.", owner.blocks_read),
            ("filter_probes", "Filters asked by lookups.", owner.filter_probes),
            ("stalls", "Writes that waited for a flush.", owner.stalls),
            ("stall_nanoseconds", "How long they waited.", owner.stall_ns),
            ("evicted_bytes", "Records that left memory.", owner.evicted_bytes),
            ("copies", "Records copied while their epoch was being flushed.", self.copies),
            ("flushes", "Flushes.", self.flushes),
            ("spills", "Flushes to free memory alone.", self.spills),
            ("flushed_bytes", "Bytes of segments that flushes wrote.", self.flushed_bytes),
            ("flushed_logical_bytes", "Bytes of keys and values in them.", self.flushed_logical_bytes),
            ("compactions", "Compactions.", self.compactions),
            ("compacted_bytes", "Bytes of segments that compactions wrote.", self.compacted_bytes),
            ("checkpoints", "Checkpoints that became complete.", self.checkpoints),
            ("manifest_bytes", "Bytes of manifests.", self.manifest_bytes),
            ("hot_list_bytes", "Bytes of hot lists.", self.hot_list_bytes),
            ("warmed_records", "Records that warming up brought into memory.", self.warmed_records),
            ("warmed_bytes", "Their keys and values.", self.warmed_bytes),
            ("segments_removed", "Segments deleted.", self.segments_removed),
            ("commits", "Transactions committed.", self.commits),
            ("aborts", "Transactions undone.", self.aborts),
            ("cache_hits", "Blocks that the engine's cache had.", self.cache_hits),
            ("cache_misses", "Blocks that it was asked for and didn't have.", self.cache_misses),
            ("io_reads", "Reads of files.", self.io.reads),
            ("io_read_bytes", "Bytes read.", self.io.read_bytes),
            ("io_writes", "Writes to files.", self.io.writes),
            ("io_written_bytes", "Bytes written.", self.io.written_bytes),
            ("io_fsyncs", "Syncs of files and directories.", self.io.fsyncs),
            ("io_uring_fallbacks", "Times that io_uring was denied.", self.io.uring_fallbacks),
            ("io_direct_fallbacks", "Times that direct I/O was denied.", self.io.direct_fallbacks),
        ];
        for (name, help, value) in counters {
            prometheus(&mut out, &format!("alluvium_{name}_total"), help, MetricKind::Counter, labels, value);
        }
        let gauges = [
            ("segments", "Segments in use.", self.segments),
            ("segment_bytes", "Their bytes.", self.segment_bytes),
            ("snapshots", "Snapshots that live.", self.snapshots),
            ("snapshot_bytes", "Bytes of segments that are there for them alone.", self.snapshot_bytes),
            ("memory_bytes", "Memory that the store holds.", self.memory_bytes),
            ("unflushed_bytes", "Changed and not yet flushed.", self.unflushed_bytes),
            ("staged_bytes", "Staged and not committed.", self.staged_bytes),
            ("trace_bytes", "Memory of the index of what depends on what.", self.trace_bytes),
            ("restored_permille", "How much of recovery is done, in thousandths.", self.restored_permille),
            ("huge_pages_denied", "1 where the engine was denied huge pages.", u64::from(self.huge_pages_denied)),
        ];
        for (name, help, value) in gauges {
            prometheus(&mut out, &format!("alluvium_{name}"), help, MetricKind::Gauge, labels, value);
        }
        let waits = [
            ("barrier", "How long barriers held their callers.", &self.barrier),
            ("commit", "How long commits held their callers.", &self.commit),
            ("checkpoint", "How long checkpoints took, from the barrier to the end.", &self.checkpoint),
        ];
        for (name, help, durations) in waits {
            prometheus_summary(&mut out, &format!("alluvium_{name}_seconds"), help, labels, durations);
        }
        for (kind, latency) in OperationKind::ALL.iter().zip(&self.latency) {
            let labels: Vec<(&str, &str)> = labels.iter().copied().chain([("operation", kind.name())]).collect();
            let help = "How long operations took; one in 64 is timed.";
            prometheus_summary(&mut out, "alluvium_operation_seconds", help, &labels, latency);
        }
        out
    }
}

impl StoreCounts {
    pub(crate) fn fill(&self, metrics: &mut Metrics) {
        let departed = self.departed.lock().clone();
        (metrics.owner, metrics.copies, metrics.latency) = (departed.owner, departed.copies, departed.latency);
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        metrics.owner.blocks_read += load(&self.blocks_read);
        metrics.flushes = load(&self.flushes);
        metrics.spills = load(&self.spills);
        metrics.flushed_bytes = load(&self.flushed_bytes);
        metrics.flushed_logical_bytes = load(&self.flushed_logical_bytes);
        metrics.compactions = load(&self.compactions);
        metrics.compacted_bytes = load(&self.compacted_bytes);
        metrics.checkpoints = load(&self.checkpoints);
        metrics.manifest_bytes = load(&self.manifest_bytes);
        metrics.segments_removed = load(&self.segments_removed);
        metrics.commits = load(&self.commits);
        metrics.aborts = load(&self.aborts);
        metrics.commit = self.commit_ns.snapshot();
        metrics.barrier = self.barrier_ns.snapshot();
        metrics.checkpoint = self.checkpoint_ns.snapshot();
    }
}
