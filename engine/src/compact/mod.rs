//! Compaction: merging the segments of a slice, so that reads ask few and old versions leave the disk.
//!
//! Lazy leveling (Dayan and Idreos, *Dostoevsky*, SIGMOD 2018): a slice's newer segments, its *overlay*, pile up until
//! they are a fixed share of the slice, and are then merged into its bottom at once. Only a merge that takes in the
//! whole stack drops tombstones. A bottom that has grown is cut at key-group boundaries, and the slice with it.

mod gather;
mod load;
mod merge;
mod pick;

pub(crate) use gather::gather;
pub(crate) use load::{alone, install_loaded};
pub use merge::Sink;

use crate::error::{Class, Error, Result};
use crate::ids::KeyGroup;
use crate::reclaim;
use crate::stack::{Layer, LazySegment, Slice, Version};
use crate::store::StoreInner;
use crate::worker::Task;
use parking_lot::{Condvar, Mutex};
use pick::Choice;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Whether a store's compaction is under way; one runs at a time.
#[derive(Debug, Default)]
pub struct Schedule {
    running: Mutex<bool>,
    idle: Condvar,
    /// How many wait for it to end, and would have it end soon.
    urged: AtomicUsize,
}

/// A compaction under way; it ends with this, also where a host's operator panics.
struct Running<'a>(&'a Schedule);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        *self.0.running.lock() = false;
        self.0.idle.notify_all();
    }
}

impl Schedule {
    fn start(&self) -> bool {
        let mut running = self.running.lock();
        !std::mem::replace(&mut running, true)
    }

    /// Waits until no other compaction is under way, but not for longer than `patience`, and begins one; says whether it
    /// did. One that nobody waits for ends with the slice that it is at.
    fn start_within(&self, store: &StoreInner, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        // Relaxed: it only decides how soon.
        self.urged.fetch_add(1, Ordering::Relaxed);
        let started = store.engine.hurry(|| {
            let mut running = self.running.lock();
            while *running {
                if self.idle.wait_until(&mut running, deadline).timed_out() {
                    break;
                }
            }
            !std::mem::replace(&mut *running, true)
        });
        self.urged.fetch_sub(1, Ordering::Relaxed);
        started
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
    let wanted = {
        let version = Arc::clone(&store.version.lock());
        let committed = store.mergeable_epoch();
        let slices = version.slices.iter().map(|slice| Slice::below_all_later(slice, committed));
        slices.into_iter().any(|slice| pick::choose(&slice, false).is_some_and(|choice| is_here(&slice, &choice)))
    };
    if wanted && !store.closed.load(Ordering::Acquire) && store.compaction.start() {
        store.engine.submit(Task::Compact(Arc::clone(store)));
    }
}

/// Compacts until nothing is left to be done; on a thread of the engine.
pub(crate) fn run(store: &Arc<StoreInner>) {
    let running = Running(&store.compaction);
    let outcome = crate::worker::catch(|| compact(store, false));
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
    let choose =
        |slice: &Slice| pick::choose(slice, everything).or_else(|| if expires { pick::all_of(slice) } else { None });
    let mut from = 0;
    loop {
        if store.closed.load(Ordering::Acquire) && !everything {
            return Ok(());
        }
        let version = Arc::clone(&store.version.lock());
        // Slices are gone through in turn, so that one that is always full doesn't keep the others waiting.
        let next = version.slices.iter().filter(|slice| u32::from(slice.range.first()) >= from);
        // What is staged lies above what is merged, and doesn't become part of it.
        let committed = store.mergeable_epoch();
        let next = next.map(|slice| Slice::below_all_later(slice, committed));
        let mut choices = next.filter_map(|slice| choose(&slice).map(|choice| (slice, choice)));
        // What the host has yet to bring is merged when it is here, unless somebody waits for it.
        let picked = choices.find(|(slice, choice)| everything || is_here(slice, choice));
        let Some((slice, choice)) = picked else {
            if from == 0 || everything {
                return Ok(());
            }
            from = 0;
            continue;
        };
        from = u32::from(slice.range.last()) + 1;
        let may_wait = || !everything && !pick::is_behind(store.version.lock().slice_of(KeyGroup(slice.range.first())));
        let outputs = match merge::run(store, &slice, &choice, may_wait) {
            // The slice is left alone from now on, until the host brings another conversion.
            Err(error @ Error::Conversion { .. }) if !everything => {
                tracing::warn!(%error, "values of an older schema can't be converted");
                continue;
            }
            outputs => outputs?,
        };
        install(store, &slice, &choice, outputs)?;
        store.counts.compactions.fetch_add(1, Ordering::Relaxed);
        drop(version);
        reclaim::leftovers(store);
        if !everything && store.compaction.urged.load(Ordering::Relaxed) > 0 {
            // The next flush has the rest looked at.
            return Ok(());
        }
    }
}

/// Fails where values of an older schema can't be converted for now.
fn check_conversions(store: &StoreInner) -> Result<()> {
    let version = Arc::clone(&store.version.lock());
    let mut layers = version.slices.iter().flat_map(|slice| &slice.layers);
    layers.find_map(Layer::obstacle).map_or(Ok(()), Err)
}

/// Whether all layers of a choice are in the store's directory.
fn is_here(slice: &Slice, choice: &Choice) -> bool {
    slice.layers[choice.layers.clone()].iter().all(|layer| layer.segment.is_here())
}

/// Puts the outputs where the inputs were, in the version of now. Flushes may have come on top meanwhile.
fn install(store: &Arc<StoreInner>, slice: &Slice, choice: &Choice, outputs: Vec<merge::Output>) -> Result<()> {
    let inputs = &slice.layers[choice.layers.clone()];
    let mut catalogue = store.catalogue.lock();
    let mut version = store.version.lock();
    let position = version.slices.iter().position(|now| now.range == slice.range);
    let position = position.ok_or_else(|| Error::Background("a slice changed under its compaction".into()))?;
    let now = Arc::clone(&version.slices[position]);
    let first = now.layers.len() - (slice.layers.len() - choice.layers.start);
    let contiguous = now
        .layers
        .get(first..first + inputs.len())
        .is_some_and(|layers| layers.iter().zip(inputs).all(|(a, b)| a.segment.id() == b.segment.id()));
    if !contiguous {
        return Err(Error::Background("the inputs of a compaction are not contiguous any more".into()));
    }
    let above = &now.layers[..first];
    let below = &now.layers[first + inputs.len()..];
    let replaced: Vec<Arc<Slice>> = merge::ranges(slice.range, &outputs, choice.bottom)
        .into_iter()
        .map(|range| {
            let clip = |layer: &&Layer| layer.segment.meta().groups.intersect(range).is_some();
            let made = outputs.iter().filter(|output| output.meta.groups.intersect(range).is_some());
            let made: Vec<Layer> = made.map(|output| output.layer(store)).collect();
            let layers = above.iter().filter(clip).cloned().chain(made).chain(below.iter().filter(clip).cloned());
            Arc::new(Slice { range, layers: layers.collect() })
        })
        .collect();
    let replaced = share_segments(replaced);
    let mut slices = version.slices.clone();
    slices.splice(position..=position, replaced);
    *version = Arc::new(Version { slices });
    for shard in store.shards.lock().iter() {
        shard.publish(Arc::clone(&version), None);
    }
    let dropped: Vec<Arc<LazySegment>> = inputs.iter().map(|layer| Arc::clone(&layer.segment)).collect();
    reclaim::note(&mut catalogue, &dropped);
    Ok(())
}

/// Makes slices that name the same new segment share one open segment.
fn share_segments(mut slices: Vec<Arc<Slice>>) -> Vec<Arc<Slice>> {
    let mut known: std::collections::HashMap<crate::ids::SegmentId, Arc<LazySegment>> =
        std::collections::HashMap::new();
    for slice in &mut slices {
        for layer in &mut Arc::make_mut(slice).layers {
            let shared = known.entry(layer.segment.id()).or_insert_with(|| Arc::clone(&layer.segment));
            layer.segment = Arc::clone(shared);
        }
    }
    slices
}
