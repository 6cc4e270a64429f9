//! Compaction: merging the segments of a slice, so that reads ask few and old versions leave the disk.
//!
//! Lazy leveling (Dayan and Idreos, *Dostoevsky*, SIGMOD 2018): a slice's newer segments, its *overlay*, pile up until
//! they are a fixed share of the slice, and are then merged into its bottom at once. Only a merge that takes in the
//! whole stack drops tombstones. A bottom that has grown is cut at key-group boundaries, and the slice with it.

mod bring;
mod gather;
pub(crate) mod hidden;
mod install;
mod load;
#[doc(hidden)]
pub mod measuring;
mod merge;
mod pick;
#[cfg(test)]
mod tests;
mod urgency;
mod work;

use crate::platform::threads::{self, Condvar, Mutex};
pub(crate) use bring::{bring, take_away};
pub(crate) use gather::gather;
pub(crate) use load::{alone, install_loaded};
pub use merge::Sink;

use crate::error::{Class, Error, Result};
use crate::ids::{KeyGroup, SegmentId};
use crate::key::VALUE_BYTES_MAX;
use crate::reclaim;
use crate::stack::{Layer, LazySegment, Slice, Version};
use crate::store::StoreInner;
use crate::worker::Task;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use urgency::Urgency;
use work::{Picker, Work};

/// Whether a store's compaction is under way; one runs at a time.
#[derive(Debug)]
pub struct Schedule {
    running: Mutex<bool>,
    idle: Condvar,
    /// What is being merged: nobody else may. Held while something else is, or is being picked.
    inputs: Mutex<HashSet<SegmentId>>,
    /// How many wait for it to end, and would have it end soon.
    urged: AtomicUsize,
    /// Whether the stacks stay as they are, but for what is asked for.
    left: AtomicBool,
    /// The slices that could not be merged, as a value would have become too long for one record: by their first key groups, how many layers
    /// each had then.
    put_off: Mutex<HashMap<u16, usize>>,
    /// How long a segment of a bottom becomes at least where there is more than one; smaller in tests.
    pub fragment_bytes: AtomicU64,
    /// How long a value may become that is merged; smaller in tests.
    pub value_bytes_max: AtomicUsize,
}

impl Default for Schedule {
    fn default() -> Self {
        let fragment_bytes = AtomicU64::new(merge::FRAGMENT_BYTES);
        Self {
            running: Mutex::default(),
            idle: Condvar::new(),
            inputs: Mutex::default(),
            urged: AtomicUsize::new(0),
            left: AtomicBool::new(false),
            put_off: Mutex::default(),
            fragment_bytes,
            value_bytes_max: AtomicUsize::new(VALUE_BYTES_MAX),
        }
    }
}

/// A compaction under way; it ends with this, also where a host's operator panics.
struct Running<'a>(&'a Schedule);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.inputs.lock().clear();
        *self.0.running.lock() = false;
        self.0.idle.notify_all();
    }
}

impl Schedule {
    fn start(&self) -> bool {
        let mut running = self.running.lock();
        !std::mem::replace(&mut running, true)
    }

    /// Has a compaction under way end with what it is merging, and waits for that, but not for longer than `patience`.
    fn end_within(&self, store: &StoreInner, patience: Duration) {
        let deadline = threads::now() + patience;
        // Relaxed: it only decides how soon.
        self.urged.fetch_add(1, Ordering::Relaxed);
        store.engine.hurry(|| {
            let mut running = self.running.lock();
            while *running && !self.idle.wait_until(&mut running, deadline).timed_out() {}
        });
        self.urged.fetch_sub(1, Ordering::Relaxed);
    }

    /// Notes why a slice could not be merged, if that is a value that would be too long: it is left as it is until there are twice as many
    /// layers. The next time the value may have been deleted.
    fn put_off(&self, slice: &Slice, error: &Error) {
        if matches!(error, Error::TooLong { .. }) {
            self.put_off.lock().insert(slice.range.first(), slice.layers.len());
        }
    }

    /// Whether it is left as it is for now.
    fn is_put_off(&self, slice: &Slice) -> bool {
        let of_slice = |&(&first, _): &(&u16, &usize)| slice.range.contains(KeyGroup(first));
        self.put_off.lock().iter().filter(of_slice).any(|(_, &layers)| slice.layers.len() < layers * 2)
    }

    /// These slices are about to be merged.
    fn take_up<'a>(&self, slices: impl Iterator<Item = &'a Slice>) {
        let mut put_off = self.put_off.lock();
        if !put_off.is_empty() {
            slices.for_each(|slice| put_off.retain(|&first, _| !slice.range.contains(KeyGroup(first))));
        }
    }

    /// From now on nothing is merged but what is asked for. Relaxed: whoever opens a store says so before it is used.
    pub fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
    }

    /// Waits until no compaction is under way.
    pub fn wait_idle(&self) {
        let mut running = self.running.lock();
        while *running {
            self.idle.wait(&mut running);
        }
    }
}

/// Has the store's stacks looked at, if there is something to be done.
pub(crate) fn consider(store: &Arc<StoreInner>) {
    if store.compaction.left.load(Ordering::Relaxed) {
        return;
    }
    let wanted = Picker::new(store, &mergeable(store), false, false).pick(0).is_some();
    if wanted && !store.closed.load(Ordering::Acquire) && store.compaction.start() {
        store.engine.submit(Task::Compact(Arc::clone(store)));
    }
}

/// Compacts until nothing is left to be done; on a thread of the engine.
pub(crate) fn run(store: &Arc<StoreInner>) {
    let running = Running(&store.compaction);
    let outcome = crate::error::catch(|| compact(store, false));
    drop(running);
    if let Err(error) = outcome {
        if error.class() == Class::Retry {
            // The next flush has it looked at again; what is there stays as it is.
            tracing::warn!(%error, "compaction put off");
        } else {
            store.fail(&error);
        }
    }
}

/// Merges every slice into its bottom, on the caller's thread.
pub(crate) fn all(store: &Arc<StoreInner>) -> Result<()> {
    loop {
        store.check()?;
        store.engine.hurry(|| store.compaction.wait_idle());
        if store.compaction.start() {
            break;
        }
    }
    let _running = Running(&store.compaction);
    compact(store, true)
}

fn compact(store: &Arc<StoreInner>, everything: bool) -> Result<()> {
    // A merging state whose operator the host has not brought yet can't be folded.
    if let Err(lacking) = store.states.read().iter().try_for_each(|def| def.check_operator()) {
        return if everything { Err(lacking) } else { Ok(()) };
    }
    if everything {
        check_conversions(store)?;
    }
    // What was merged before may have expired since.
    let expires = everything && store.states.read().iter().any(|def| def.ttl.is_some() || def.purge.is_some());
    let (mut from, mut refused) = (0, None);
    loop {
        if store.closed.load(Ordering::Acquire) && !everything {
            return Ok(());
        }
        let rearranged = store.rollbacks.lock().rearranged();
        let Some((work, now_ms)) = begin(store, from, everything, expires) else {
            if from == 0 || everything {
                return refused.filter(|_| everything).map_or(Ok(()), Err);
            }
            from = 0;
            continue;
        };
        from = work.next_group;
        let urgency = Urgency::new(threads::now());
        match merge::run(store, &work, now_ms, || {
            !everything && !urgency.is_behind(overlay(store, &work), threads::now())
        }) {
            // The slices are left alone from now on, until the host brings another conversion.
            Err(error @ Error::Conversion { .. }) if !everything => {
                tracing::warn!(%error, "values of an older schema can't be converted");
                continue;
            }
            // So is a slice with a value that would be too long for one record; whoever reads it learns of it.
            Err(error @ Error::TooLong { .. }) => {
                tracing::warn!(%error, "a slice can't be merged");
                refused.get_or_insert(error);
                continue;
            }
            outputs => install::install(store, &work, &outputs?, rearranged)?,
        }
        store.compaction.inputs.lock().clear();
        store.counts.compactions.fetch_add(1, Ordering::Relaxed);
        drop(work);
        reclaim::leftovers(store);
        if !everything && store.compaction.urged.load(Ordering::Relaxed) > 0 {
            // The next flush has the rest looked at.
            return Ok(());
        }
    }
}

/// Picks what is merged next, and takes it from those who gather; with the purge clock from before.
fn begin(store: &Arc<StoreInner>, from: u32, everything: bool, expires: bool) -> Option<(Work, u64)> {
    let now_ms = store.purge_clock.now_ms();
    let mut inputs = store.compaction.inputs.lock();
    let work = Picker::new(store, &mergeable(store), everything, expires).pick(from)?;
    *inputs = work.inputs().iter().map(|segment| segment.id()).collect();
    // Among it may be what was written after the time went back.
    Some((work, now_ms.min(store.purge_clock.now_ms())))
}

/// What may be merged: what is staged lies above it, and doesn't become part of it.
fn mergeable(store: &StoreInner) -> Arc<Version> {
    let version = Arc::clone(&store.version.lock());
    Version::below_all_later(&version, store.mergeable_epoch())
}

/// How many layers lie above the bottom by now where something is being merged.
fn overlay(store: &StoreInner, work: &Work) -> usize {
    let version = store.version.lock();
    let overlays = work.parts.iter().map(|part| pick::overlay_of(version.slice_of(KeyGroup(part.slice.range.first()))));
    overlays.max().unwrap_or(0)
}

/// Fails where values of an older schema can't be converted for now.
fn check_conversions(store: &StoreInner) -> Result<()> {
    let version = Arc::clone(&store.version.lock());
    let mut layers = version.slices.iter().flat_map(|slice| &slice.layers);
    layers.find_map(Layer::obstacle).map_or(Ok(()), Err)
}

/// Makes slices that name the same new segment share one open segment.
fn share_segments(mut slices: Vec<Arc<Slice>>) -> Vec<Arc<Slice>> {
    let mut known: HashMap<SegmentId, Arc<LazySegment>> = HashMap::new();
    for slice in &mut slices {
        for layer in &mut Arc::make_mut(slice).layers {
            let shared = known.entry(layer.segment.id()).or_insert_with(|| Arc::clone(&layer.segment));
            layer.segment = Arc::clone(shared);
        }
    }
    slices
}
