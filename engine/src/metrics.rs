//! Metrics: what the engine counts, as a struct and as Prometheus text.

use crate::platform::storage::IoCounts;
use crate::stats::Histogram;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the owner of a shard counts without sharing; gathered when asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct OwnerCounts {
    /// Operations, of any kind.
    pub operations: u64,
    /// Operations answered from memory.
    pub hits: u64,
    /// Lookups that went to the segments.
    pub cold_lookups: u64,
    /// Blocks read for lookups.
    pub blocks_read: u64,
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
    pub barrier_ns: Histogram,
    pub checkpoint_ns: Histogram,
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
    /// Segments deleted because nothing named them any more.
    pub segments_removed: u64,
    /// How long barriers held their caller: p50, p99, p99.9, longest, in ns.
    pub barrier_ns: [u64; 4],
    /// How long checkpoints took from barrier to completion: p50, p99, p99.9, longest, in ns.
    pub checkpoint_ns: [u64; 4],
    /// Segments in use now.
    pub segments: u64,
    /// Their bytes.
    pub segment_bytes: u64,
    /// Memory that the store's shards hold, in bytes.
    pub memory_bytes: u64,
    /// Changed and not yet flushed, in bytes, about.
    pub unflushed_bytes: u64,
    /// What went through the file system.
    pub io: IoCounts,
}

pub(crate) fn percentiles(histogram: &Histogram) -> [u64; 4] {
    let snapshot = histogram.snapshot();
    [snapshot.percentile(0.5), snapshot.percentile(0.99), snapshot.percentile(0.999), snapshot.max_ns()]
}

impl StoreCounts {
    pub(crate) fn fill(&self, metrics: &mut Metrics) {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        metrics.flushes = load(&self.flushes);
        metrics.spills = load(&self.spills);
        metrics.flushed_bytes = load(&self.flushed_bytes);
        metrics.flushed_logical_bytes = load(&self.flushed_logical_bytes);
        metrics.compactions = load(&self.compactions);
        metrics.compacted_bytes = load(&self.compacted_bytes);
        metrics.checkpoints = load(&self.checkpoints);
        metrics.manifest_bytes = load(&self.manifest_bytes);
        metrics.segments_removed = load(&self.segments_removed);
        metrics.barrier_ns = percentiles(&self.barrier_ns);
        metrics.checkpoint_ns = percentiles(&self.checkpoint_ns);
    }
}
