//! Merging layers of a slice into new segments.

use super::hidden::carried;
use super::pick::{BOTTOM, TIER};
use super::work::Work;
use crate::error::{Error, Result};
use crate::ids::{Epoch, KeyGroup, KeyGroupRange, SegmentId};
use crate::key::SortKey;
use crate::merged::{Base, Merged, Resolved, SliceBounds};
use crate::options::Durability;
use crate::platform::storage::names;
use crate::segment::{Entry, Kind, SegmentMeta, SegmentOptions, SegmentWriter};
use crate::stack::{Hides, Layer, LazySegment, Slice};
use crate::states::{StateDef, StateKind};
use crate::store::StoreInner;
use crate::worker::Pace;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// About how long a bottom segment becomes at least where there is more than one, in bytes; it ends at the next key group,
/// or within one that is longer.
pub const FRAGMENT_BYTES: u64 = 64 << 20;

/// A small record's share of a segment: a filter is sized by it where nothing better is known.
const RECORD_BYTES: u64 = 32;

/// A segment that a merge wrote.
#[derive(Debug)]
pub struct Output {
    /// What is known of it.
    pub meta: Arc<SegmentMeta>,
    /// What deletions of ranges in it hide.
    pub hides: Vec<Hides>,
}

impl Output {
    /// The segment as a layer of this store.
    pub fn layer(&self, store: &StoreInner) -> Layer {
        let segment = LazySegment::new(&store.storage, &store.engine.inner.cache, Arc::clone(&self.meta));
        segment.set_hides(self.hides.clone());
        Layer::of_now(&Arc::new(segment))
    }
}

/// After how many keys a merge looks whether it may go on at once.
const KEYS_A_LOOK: u64 = 256;

/// Merges what was picked. It takes its time as long as `may_wait` says so.
pub fn run(store: &Arc<StoreInner>, work: &Work, now_ms: u64, may_wait: impl Fn() -> bool) -> Result<Vec<Output>> {
    let inputs = work.inputs();
    let mut sink = Sink::new(store, work.bottom.then(|| cut_bytes(work)), &inputs);
    store.compaction.take_up(work.parts.iter().map(|part| &*part.slice));
    for part in &work.parts {
        merge_into(store, &mut sink, &part.inputs(), (work.bottom, now_ms), &may_wait)
            .inspect_err(|error| store.compaction.put_off(&part.slice, error))?;
    }
    let mut outputs = sink.finish()?;
    if let (false, Some(output)) = (work.bottom, outputs.first_mut()) {
        output.hides = carried(&inputs);
    }
    let bytes: u64 = outputs.iter().map(|output| output.meta.file_bytes).sum();
    store.counts.compacted_bytes.fetch_add(bytes, Ordering::Relaxed);
    let (slices, bottom) = (work.parts.len(), work.bottom);
    tracing::debug!(slices, bottom, inputs = inputs.len(), outputs = outputs.len(), bytes, "compaction");
    Ok(outputs)
}

/// Where the segments of a bottom are cut, in bytes: in even parts, or the last one would be as small as can be.
fn cut_bytes(work: &Work) -> u64 {
    let parts = (work.bytes_left() / work.fragment_bytes as f64).round();
    // That is an estimate; a little more, or there would be a scrap at the end.
    if parts < 2.0 { work.fragment_bytes * 2 } else { (work.bytes_left() / parts * 1.1) as u64 }
}

/// Merges all layers of a slice into a sink, behind what it has. `now_ms` decides what is expired: the purge clock as it was before the slice was
/// picked, or a value might be judged by a later one without what came on top of it until then.
pub fn merge_into(
    store: &Arc<StoreInner>,
    sink: &mut Sink<'_>,
    slice: &Slice,
    (bottom, now_ms): (bool, u64),
    may_wait: impl Fn() -> bool,
) -> Result<()> {
    let states = store.states.read().clone();
    let (mut pace, mut keys) = (Pace::new(&store.engine.inner.workers), 0_u64);
    for bounds in SliceBounds::of(slice, states.len())? {
        let mut merged = Merged::new(&slice.layers, bounds?, now_ms)?;
        while let Some(resolved) = merged.next()? {
            let Some(def) = state_of(&states, resolved) else { continue };
            write(sink, def, resolved, bottom, now_ms)?;
            keys += 1;
            if keys.is_multiple_of(KEYS_A_LOOK) {
                pace.rest(&may_wait);
            }
        }
    }
    Ok(())
}

fn state_of<'a>(states: &'a [Arc<StateDef>], resolved: &Resolved) -> Option<&'a StateDef> {
    let state = SortKey::decode(&resolved.sort_key)?.state;
    states.get(usize::from(state.0)).map(|def| &**def)
}

/// Writes what the layers say of a key: one record, or none. [`Error::TooLong`](crate::Error) where that would be longer than a record may be.
fn write(sink: &mut Sink<'_>, def: &StateDef, resolved: &Resolved, bottom: bool, now_ms: u64) -> Result<()> {
    let max_bytes = sink.value_bytes_max;
    let operands = || resolved.operands.iter().rev().map(Vec::as_slice);
    let plain = resolved.operands.is_empty();
    let mut folded;
    let (mut kind, mut value): (Kind, &[u8]) = match resolved.base {
        // A list at the bottom loses the elements that have expired, so it is folded even alone.
        Base::Value if plain && !(bottom && def.kind == StateKind::List && def.ttl.is_some()) => {
            (Kind::Put, &resolved.value)
        }
        Base::Value => {
            folded = def.fold_within(Some(&resolved.value), operands(), now_ms, max_bytes)?;
            (Kind::Put, &folded)
        }
        Base::Cleared => (Kind::Clear, &resolved.value),
        Base::Deleted if plain => (Kind::Delete, &[]),
        // Nothing lies below: all operands there ever were are the value.
        Base::Unknown if !bottom => {
            if plain {
                return Ok(());
            }
            folded = def.fold_within(None, operands(), now_ms, max_bytes)?;
            (Kind::Merge, &folded)
        }
        Base::Deleted | Base::Unknown => {
            if plain {
                return Ok(());
            }
            folded = def.fold_within(None, operands(), now_ms, max_bytes)?;
            (Kind::Put, &folded)
        }
    };
    if def.purge.is_some() && def.kind == StateKind::List {
        folded = value.to_vec();
        def.purge_list(&mut folded, now_ms);
        if kind == Kind::Merge && folded.is_empty() {
            return Ok(());
        }
        value = &folded;
        if value.is_empty() {
            kind = Kind::Delete;
        }
    } else if kind == Kind::Put && def.is_due(value, now_ms) {
        (kind, value) = (Kind::Delete, &[]);
    }
    let empty_list = bottom && def.kind == StateKind::List && value.is_empty();
    if bottom && (kind.is_tombstone() || empty_list) {
        return Ok(());
    }
    let expiry_ms = if kind.is_tombstone() { None } else { resolved.expiry_ms };
    sink.add(Entry { sort_key: &resolved.sort_key, kind, expiry_ms, value })
}

/// Writes records in the order of their keys to segments of a bottom, or to one segment.
pub struct Sink<'a> {
    store: &'a Arc<StoreInner>,
    options: SegmentOptions,
    /// About how long a segment becomes, if they are to be cut.
    cut_bytes: Option<u64>,
    writer: Option<SegmentWriter<'a>>,
    group: KeyGroup,
    outputs: Vec<Output>,
    /// How long a value may become.
    value_bytes_max: usize,
    /// What writing failed with: the others are not all without the segment that it was.
    failed: Option<Error>,
}

impl std::fmt::Debug for Sink<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sink").field("outputs", &self.outputs).finish_non_exhaustive()
    }
}

impl<'a> Sink<'a> {
    /// For a merge of these segments: into a bottom, which is cut about each so many bytes, or into one segment.
    pub fn new(store: &'a Arc<StoreInner>, cut_bytes: Option<u64>, inputs: &[Arc<LazySegment>]) -> Self {
        let metas = || inputs.iter().map(|segment| segment.meta());
        let keys: u64 = metas().map(|meta| meta.keys_to_hold()).sum();
        let bytes: u64 = metas().map(|meta| meta.file_bytes).sum();
        // A fragment's filter holds no more than its share of the inputs' keys.
        let expected = match cut_bytes {
            Some(cut_bytes) if bytes > cut_bytes => {
                (keys as u128 * u128::from(cut_bytes) * 5 / 4 / u128::from(bytes)) as u64
            }
            _ => keys,
        };
        let options = SegmentOptions {
            compress: store.options.compress,
            hash_seed: store.info.hash_seed,
            level: if cut_bytes.is_some() { BOTTOM } else { TIER },
            epochs: (
                metas().map(|meta| meta.epoch_low).min().unwrap_or(Epoch(1)),
                metas().map(|meta| meta.epoch_high).max().unwrap_or(Epoch(1)),
            ),
            expected_entries: expected + 16,
            ..SegmentOptions::default()
        };
        Self::with(store, options, cut_bytes)
    }

    fn with(store: &'a Arc<StoreInner>, options: SegmentOptions, cut_bytes: Option<u64>) -> Self {
        let value_bytes_max = store.compaction.value_bytes_max.load(Ordering::Relaxed);
        let (writer, group, outputs, failed) = (None, KeyGroup(0), Vec::new(), None);
        Self { store, options, cut_bytes, writer, group, outputs, value_bytes_max, failed }
    }

    /// The same into one segment, for what counts as flushed.
    pub fn of_flushes(store: &'a Arc<StoreInner>, inputs: &[Arc<LazySegment>]) -> Self {
        let mut sink = Self::new(store, None, inputs);
        // Unless some were merged before.
        sink.options.level = inputs.iter().map(|segment| segment.meta().level).max().unwrap_or(0);
        sink
    }

    /// The same, and what is written counts as of this epoch.
    #[must_use]
    pub fn of_epoch(mut self, epoch: Epoch) -> Self {
        self.options.epochs = (epoch, epoch);
        self
    }

    /// For what is no merge: about so many keys, in segments of a bottom.
    pub fn to_bottom(store: &'a Arc<StoreInner>, keys: u64) -> Self {
        let epoch =
            if store.options.transactional { Epoch(store.committed_epoch()) } else { crate::store::epoch_of(store) };
        let options = SegmentOptions {
            compress: store.options.compress,
            hash_seed: store.info.hash_seed,
            level: BOTTOM,
            epochs: (epoch, epoch),
            expected_entries: keys.min(FRAGMENT_BYTES / RECORD_BYTES) + 16,
            ..SegmentOptions::default()
        };
        Self::with(store, options, Some(FRAGMENT_BYTES))
    }

    /// Adds a record, whose key lies behind the last one's. A sink that failed fails again with the same error.
    pub fn add(&mut self, entry: Entry<'_>) -> Result<()> {
        self.check()?;
        let outcome = self.push(entry);
        self.failed = outcome.as_ref().err().cloned();
        outcome
    }

    /// What it failed with, if it did.
    pub fn failure(&self) -> Option<&Error> {
        self.failed.as_ref()
    }

    fn check(&self) -> Result<()> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn push(&mut self, entry: Entry<'_>) -> Result<()> {
        let group = crate::key::group_of(entry.sort_key).unwrap_or(self.group);
        if let Some(writer) = &self.writer
            && let Some(cut_bytes) = self.cut_bytes
        {
            let bytes = writer.file_bytes();
            if (bytes >= cut_bytes && group != self.group) || bytes >= cut_bytes * 4 {
                self.roll()?;
            }
        }
        self.group = group;
        if self.writer.is_none() {
            let id = self.store.next_segment();
            self.writer = Some(SegmentWriter::create(&*self.store.storage, id, self.options.clone())?);
        }
        if let Some(writer) = &mut self.writer {
            writer.add(entry)?;
        }
        Ok(())
    }

    fn roll(&mut self) -> Result<()> {
        let durable = self.store.options.durability != Durability::Host;
        if let Some(writer) = self.writer.take()
            && let Some((meta, _)) = writer.finish(durable)?
        {
            self.outputs.push(Output { meta: Arc::new(meta), hides: Vec::new() });
        }
        Ok(())
    }

    /// Ends the last segment; all of them.
    pub fn finish(mut self) -> Result<Vec<Output>> {
        self.check()?;
        self.roll()?;
        Ok(std::mem::take(&mut self.outputs))
    }
}

impl Drop for Sink<'_> {
    /// What was written for nothing goes: a merge that is tried again and again must not fill the disk.
    fn drop(&mut self) {
        for output in &self.outputs {
            remove(self.store, output);
        }
    }
}

/// Removes a segment that nothing names.
pub fn remove(store: &StoreInner, output: &Output) {
    remove_named(store, output.meta.id);
}

/// Removes a segment of this name that nothing names.
pub fn remove_named(store: &StoreInner, id: SegmentId) {
    if let Err(error) = store.storage.remove(&names::segment_name(id.0)) {
        tracing::warn!(%error, "a segment could not be removed");
    }
}

/// The ranges of the slices that take the place of one: cut where a bottom segment ends and another key group starts.
pub fn ranges(range: KeyGroupRange, outputs: &[Output], bottom: bool) -> Vec<KeyGroupRange> {
    let mut ranges = Vec::new();
    let mut first = range.first();
    if bottom {
        for pair in outputs.windows(2) {
            let (last, next) = (pair[0].meta.groups.last(), pair[1].meta.groups.first());
            if last < next {
                ranges.push(KeyGroupRange::new(first, last));
                first = last + 1;
            }
        }
    }
    ranges.push(KeyGroupRange::new(first, range.last()));
    ranges
}
