//! A merged view of a stack's layers: every sort key once, its versions brought together.
//!
//! Scans, checkpoint iteration and compaction all read through it. Layers whose states are numbered otherwise than the
//! store's sort differently across states, so a range lies within one (key group, state) where there are such layers.

use crate::convert::Older;
use crate::error::Error;
use crate::ids::{Epoch, StateId};
use crate::key::{ENTRY_MARK, SortKey, prefix_end};
use crate::manifest::StateMap;
use crate::mask::Masks;
use crate::platform::storage::{Buffer, ReadRequest, StorageError};
use crate::segment::{BlockRef, Kind, Segment, SegmentCursor};
use crate::spans::{SpanRef, Spans};
use crate::stack::Layer;
use std::sync::Arc;

mod bounds;
#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(not(loom))]
pub use bounds::SliceBounds;

/// Which sort keys, in the store's numbering of states, and in which direction.
#[derive(Clone, Debug, Default)]
pub struct Bounds {
    /// The first.
    pub from: Vec<u8>,
    /// The first behind them; `None` for no end.
    pub to: Option<Vec<u8>>,
    /// From the last down to the first.
    pub reverse: bool,
}

impl Bounds {
    /// All that start with `prefix`, upwards.
    pub fn prefix(prefix: &[u8]) -> Self {
        Self { from: prefix.to_vec(), to: prefix_end(prefix), reverse: false }
    }
}

/// Under which value, if any, operands lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Base {
    /// No layer says; older layers than these may have something.
    #[default]
    Unknown,
    /// A full value.
    Value,
    /// Deleted (or cleared, or expired): nothing older counts.
    Deleted,
    /// The record that clears a map's container.
    Cleared,
}

/// All that the layers say of one sort key.
#[derive(Clone, Debug, Default)]
pub struct Resolved {
    /// The sort key, in the store's numbering of states.
    pub sort_key: Vec<u8>,
    /// What lies at the bottom.
    pub base: Base,
    /// The full value, where [`Base::Value`]; the record's, which says what of the container, where [`Base::Cleared`].
    pub value: Vec<u8>,
    /// The operands above, newest first.
    pub operands: Vec<Vec<u8>>,
    /// The newest version's expiry, in ms.
    pub expiry_ms: Option<u64>,
    /// The newest version's segment's last epoch.
    pub epoch: Epoch,
}

#[derive(Debug)]
struct Source {
    /// Its place in the stack, counted from the newest.
    layer: usize,
    cursor: SegmentCursor,
    map: Arc<StateMap>,
    older: Option<Arc<Older>>,
    epoch: Epoch,
    /// The current sort key in the store's numbering; empty when the source is exhausted.
    key: Vec<u8>,
    /// How many records in a row were hidden.
    hidden: u32,
}

/// After so many records that are passed over one by one, the place behind them is sought.
const STEPS_MAX: u32 = 32;

/// See the module's head.
#[derive(Debug)]
pub struct Merged {
    /// Newest first.
    sources: Vec<Source>,
    /// Those that stand on a key, in the order in which their keys come; of the same key the newest first.
    order: Vec<usize>,
    bounds: Bounds,
    now_ms: u64,
    /// What is hidden of the container that was last gone into.
    masks: Masks,
    resolved: Resolved,
}

fn renumbered(key: &[u8], map: &StateMap, to_segment: bool) -> Option<Vec<u8>> {
    let mut key = key.to_vec();
    if let Some(bytes) = key.get_mut(2..4)
        && !matches!(map, StateMap::Identity)
    {
        let state = StateId(u16::from_be_bytes([bytes[0], bytes[1]]));
        let state = if to_segment { map.to_segment(state) } else { map.to_store(state) }?;
        bytes.copy_from_slice(&state.0.to_be_bytes());
    }
    Some(key)
}

/// A layer's value in the schema of its state, which the sort key names; `None` where it is in it already.
fn converted(older: Option<&Older>, sort_key: &[u8], value: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let (Some(older), Some(state)) = (older, sort_key.get(2..4)) else { return Ok(None) };
    older.convert(StateId(u16::from_be_bytes([state[0], state[1]])), value)
}

/// Where the walk through a layer starts.
struct Start<'a> {
    /// Its place in the stack.
    number: usize,
    layer: &'a Layer,
    segment: &'a Arc<Segment>,
    /// The key to be sought, in the segment's numbering; `None` for the end.
    key: Option<Vec<u8>>,
}

impl<'a> Start<'a> {
    /// `None` where the layer has nothing within the bounds.
    fn new(number: usize, layer: &'a Layer, bounds: &Bounds, masks: &Masks) -> Result<Option<Self>, StorageError> {
        let meta = layer.segment.meta();
        // Behind what is hidden at the beginning: of a map that is emptied from the front that is most of all there is.
        let mut from = bounds.from.clone();
        while !bounds.reverse
            && let Some(behind) = masks.behind(&from, number)
        {
            let Some(behind) = behind else { return Ok(None) };
            from = behind;
        }
        let outside = matches!(*layer.map, StateMap::Identity)
            && (bounds.to.as_ref().is_some_and(|to| meta.first_key >= *to) || meta.last_key < from);
        let from = renumbered(&from, &layer.map, true).filter(|_| !outside);
        let Some(from) = from else { return Ok(None) };
        let key = match &bounds.to {
            _ if !bounds.reverse => Some(from),
            Some(to) => renumbered(to, &layer.map, true),
            None => None,
        };
        Ok(Some(Self { number, layer, segment: layer.segment.get()?, key }))
    }

    /// The block that the seek will look into, unless the cache has it. A failure is the seek's to report.
    fn missing_block(&self) -> Option<BlockRef> {
        let block = match &self.key {
            Some(key) => self.segment.locate(key).ok().flatten(),
            None => self.segment.block_ref(self.segment.blocks() - 1).ok(),
        };
        block.filter(|&block| self.segment.cached(block).is_none())
    }
}

/// Where the walks through the layers start that have anything within the bounds.
fn starts<'a>(layers: &'a [Layer], bounds: &Bounds, masks: &Masks) -> Result<Vec<Start<'a>>, StorageError> {
    let starts = layers.iter().enumerate().map(|(number, layer)| Start::new(number, layer, bounds, masks));
    starts.filter_map(Result::transpose).collect()
}

/// Reads the blocks that the walks start in into the cache, all at once: one after the other they would cost a wait
/// each. What can't be read is left to the walks, which report it.
fn read_first_blocks(starts: &[Start<'_>]) {
    let [first, _, ..] = starts else { return };
    let wanted: Vec<(&Arc<Segment>, BlockRef)> =
        starts.iter().filter_map(|start| Some((start.segment, start.missing_block()?))).collect();
    if wanted.len() < 2 {
        return;
    }
    let mut requests: Vec<ReadRequest> = wanted.iter().map(|(segment, block)| segment.read_request(*block)).collect();
    first.layer.segment.storage().read_batch(&mut requests);
    for ((segment, block), request) in wanted.into_iter().zip(requests) {
        let content = request.outcome.and_then(Result::ok).and_then(|bytes| segment.decode(block, bytes).ok());
        if let Some(content) = content {
            segment.offer_to_cache(block, &Arc::new(content));
        }
    }
}

/// No more than this is read of a layer at once, before anything of it is looked at, in bytes.
const AHEAD_BYTES_MAX: u64 = 256 << 10;
/// And beside what is expected, for blocks that begin before or end behind it.
const AHEAD_BYTES_MORE: u64 = 4 << 10;

/// Reads of each layer what a walk over so many keys is expected to need, all at once, where they hold keys of the same kind. What can't
/// be read is left to the walks, which report it.
fn read_ahead(starts: &[Start<'_>], (keys, bytes): (usize, usize)) -> Vec<Option<(u64, Buffer)>> {
    let entries: u64 = starts.iter().map(|start| start.segment.meta().entries).sum();
    let request = |start: &Start<'_>| {
        let block = start.segment.locate(start.key.as_ref()?).ok().flatten()?;
        let meta = start.segment.meta();
        let share = |of: u64, all: usize| all as u128 * u128::from(of) / u128::from(entries.max(1));
        let expected = share(meta.file_bytes, keys).min(share(meta.entries, bytes)) as u64;
        start.segment.read_request_ahead(block, AHEAD_BYTES_MAX.min(expected) + AHEAD_BYTES_MORE).ok()
    };
    let (mut places, mut requests) = (Vec::with_capacity(starts.len()), Vec::with_capacity(starts.len()));
    for start in starts {
        let request = request(start);
        places.push(request.as_ref().map(|request| request.offset));
        requests.extend(request);
    }
    if let Some(first) = starts.first() {
        first.layer.segment.storage().read_batch(&mut requests);
    }
    let mut read = requests.into_iter().map(|request| request.outcome.and_then(Result::ok));
    places.into_iter().map(|offset| Some((offset?, read.next()??))).collect()
}

impl Merged {
    /// The layers' view of `bounds`. Values that expired up to `now_ms` count as deleted.
    pub fn new(layers: &[Layer], bounds: Bounds, now_ms: u64) -> Result<Self, StorageError> {
        Self::masked(layers, bounds, now_ms, Masks::default())
    }

    /// As [`Merged::masked`], upwards, for a walk that is expected to go over about so many keys, of so many bytes: what it needs for that is read
    /// at once.
    pub fn expecting(
        layers: &[Layer],
        bounds: Bounds,
        now_ms: u64,
        masks: Masks,
        expected: (usize, usize),
    ) -> Result<Self, StorageError> {
        let starts = starts(layers, &bounds, &masks)?;
        let ahead = read_ahead(&starts, expected);
        Self::at(starts, ahead, bounds, now_ms, masks)
    }

    /// The same with what is hidden of a container whose own record lies outside the bounds.
    pub fn masked(layers: &[Layer], bounds: Bounds, now_ms: u64, masks: Masks) -> Result<Self, StorageError> {
        let starts = starts(layers, &bounds, &masks)?;
        read_first_blocks(&starts);
        Self::at(starts, Vec::new(), bounds, now_ms, masks)
    }

    /// As [`Merged::new`], for a walk that goes on behind a sort key that it came to. Where that is of a map, the map's own record, which says
    /// what is hidden of it, does not lie behind.
    pub fn behind(layers: &[Layer], bounds: Bounds, now_ms: u64, last: &[u8]) -> Result<Self, Error> {
        let from = [last, &[0]].concat();
        let container = &last[..SortKey::container_len(last).unwrap_or(last.len())];
        let mut merged = Self::new(layers, Bounds { from: container.to_vec(), ..bounds }, now_ms)?;
        if merged.order.first().is_some_and(|&first| merged.sources[first].key == container) {
            merged.next()?;
        }
        for source in merged.sources.iter_mut().filter(|source| !source.key.is_empty() && source.key < from) {
            source.cursor.seek(&renumbered(&from, &source.map, true).unwrap_or_default())?;
            source.settle(&merged.bounds)?;
        }
        merged.put_in_order();
        Ok(merged)
    }

    /// The walks through the layers, and what was read for them.
    fn at(
        starts: Vec<Start<'_>>,
        ahead: Vec<Option<(u64, Buffer)>>,
        bounds: Bounds,
        now_ms: u64,
        masks: Masks,
    ) -> Result<Self, StorageError> {
        let mut sources = Vec::with_capacity(starts.len());
        let mut ahead = ahead.into_iter();
        for Start { number, layer, segment, key } in starts {
            let mut cursor = segment.cursor();
            if let Some((offset, bytes)) = ahead.next().flatten() {
                cursor.take_ahead(offset, bytes);
            }
            match (bounds.reverse, key) {
                (false, key) => cursor.seek(&key.unwrap_or_default())?,
                (true, Some(key)) => cursor.seek_before(&key)?,
                (true, None) => cursor.seek_last()?,
            }
            let (map, older) = (Arc::clone(&layer.map), layer.older.clone());
            let epoch = segment.meta().epoch_high;
            let mut source = Source { layer: number, cursor, map, older, epoch, key: Vec::new(), hidden: 0 };
            source.settle(&bounds)?;
            sources.push(source);
        }
        let (order, resolved) = (Vec::with_capacity(sources.len()), Resolved::default());
        let mut merged = Self { sources, order, bounds, now_ms, masks, resolved };
        merged.put_in_order();
        Ok(merged)
    }

    fn put_in_order(&mut self) {
        self.order.clear();
        (0..self.sources.len()).for_each(|index| self.place(index, 0));
    }

    /// Puts a source where its key comes, which is none of the first `known` places.
    fn place(&mut self, index: usize, known: usize) {
        let (sources, reverse) = (&self.sources, self.bounds.reverse);
        let key = &sources[index].key;
        if key.is_empty() {
            return;
        }
        let is_before = |other: usize| {
            let order = sources[other].key.cmp(key);
            let order = if reverse { order.reverse() } else { order };
            order.then(other.cmp(&index)).is_lt()
        };
        let before = self.order.iter().skip(known).take_while(|&&other| is_before(other)).count();
        self.order.insert(known + before, index);
    }

    /// Goes to the next sort key; `None` at the end.
    pub fn next(&mut self) -> Result<Option<&Resolved>, Error> {
        loop {
            let Some(&best) = self.order.first() else { return Ok(None) };
            self.resolved.sort_key.clear();
            self.resolved.sort_key.extend_from_slice(&self.sources[best].key);
            let others = self.order.iter().skip(1);
            let same = 1 + others.take_while(|&&index| self.sources[index].key == self.resolved.sort_key).count();
            let said = self.resolve(same)?;
            // What stood on that key stands on others now.
            for left in (0..same).rev() {
                let index = self.order.remove(left);
                self.place(index, left);
            }
            if said {
                return Ok(Some(&self.resolved));
            }
        }
    }

    /// Leaves all sort keys that start with `prefix` behind. Only upwards.
    pub fn pass_all(&mut self, prefix: &[u8]) -> Result<(), StorageError> {
        for source in &mut self.sources {
            let mut steps = 0;
            while source.key.starts_with(prefix) {
                steps += 1;
                if steps < STEPS_MAX {
                    source.step(&self.bounds)?;
                } else {
                    let behind = prefix_end(prefix).and_then(|end| renumbered(&end, &source.map, true));
                    source.cursor.seek(&behind.unwrap_or_default())?;
                    source.settle(&self.bounds)?;
                }
            }
        }
        self.put_in_order();
        Ok(())
    }

    /// Brings the versions of the current key together, on which the first `same` sources of the order stand, and moves those on; false where
    /// nothing is to be said.
    fn resolve(&mut self, same: usize) -> Result<bool, Error> {
        let Self { sources, order, resolved, masks, now_ms, bounds } = self;
        resolved.operands.clear();
        resolved.value.clear();
        resolved.base = Base::Unknown;
        resolved.expiry_ms = None;
        resolved.epoch = Epoch(0);
        let hidden_from = masks.hidden_from(&resolved.sort_key);
        let mut cleared = Cleared::default();
        let mut said = false;
        for &index in &order[..same] {
            let source = &mut sources[index];
            if source.layer >= hidden_from {
                source.leave_hidden(masks, bounds)?;
                continue;
            }
            // Under a Clear, which may be of a part, only the Clears of older layers count.
            if let Some(entry) = source.cursor.entry()
                && (resolved.base == Base::Unknown || resolved.base == Base::Cleared && entry.kind == Kind::Clear)
            {
                if !said {
                    resolved.expiry_ms = entry.expiry_ms;
                    resolved.epoch = source.epoch;
                }
                said = true;
                let expired = entry.expiry_ms.is_some_and(|at| at <= *now_ms);
                match entry.kind {
                    Kind::Put if expired => resolved.base = Base::Deleted,
                    Kind::Put => {
                        resolved.base = Base::Value;
                        match converted(source.older.as_deref(), &resolved.sort_key, entry.value)? {
                            Some(value) => resolved.value = value,
                            None => resolved.value.extend_from_slice(entry.value),
                        }
                    }
                    Kind::Delete => resolved.base = Base::Deleted,
                    Kind::Merge if expired => {}
                    Kind::Merge => {
                        let operand = converted(source.older.as_deref(), &resolved.sort_key, entry.value)?;
                        resolved.operands.push(operand.unwrap_or_else(|| entry.value.to_vec()));
                    }
                    Kind::Clear => {
                        resolved.base = Base::Cleared;
                        cleared.add(&resolved.sort_key, source.layer, entry.value);
                    }
                }
            }
            source.step(bounds)?;
        }
        if resolved.base == Base::Cleared {
            (*masks, resolved.value) = cleared.finish();
        }
        if said && resolved.base == Base::Unknown && hidden_from != usize::MAX {
            resolved.base = Base::Deleted;
        }
        Ok(said)
    }
}

/// What several layers' Clears of one container come to.
#[derive(Default)]
struct Cleared {
    masks: Masks,
    all: Spans,
}

impl Cleared {
    fn add(&mut self, container: &[u8], layer: usize, value: &[u8]) {
        if self.masks.is_empty() {
            self.masks = Masks::new(container);
        }
        let mut spans = Spans::default();
        if value.is_empty() {
            spans.insert(&[], None, 0);
        } else {
            spans = Spans::of_clear(value);
        }
        self.all.insert_all(&spans, 0);
        // Not its own layer.
        self.masks.add(layer + 1, spans);
    }

    /// What is hidden below which layer, and the Clear of all layers together.
    fn finish(self) -> (Masks, Vec<u8>) {
        (self.masks, self.all.to_clear().unwrap_or_default())
    }
}

impl Source {
    /// Leaves a hidden record behind; after some in a row, all that the same span hides.
    fn leave_hidden(&mut self, masks: &Masks, bounds: &Bounds) -> Result<(), StorageError> {
        self.hidden += 1;
        if self.hidden < STEPS_MAX {
            return self.step_on(bounds);
        }
        let end = if bounds.reverse {
            let from = |span: SpanRef<'_>| Some([masks.container(), &[ENTRY_MARK], span.from].concat());
            masks.hiding(&self.key, self.layer).map(from)
        } else {
            masks.behind(&self.key, self.layer)
        };
        let Some(end) = end else { return self.step_on(bounds) };
        self.hidden = 0;
        let Some(end) = end.and_then(|end| renumbered(&end, &self.map, true)) else {
            self.key.clear();
            return Ok(());
        };
        if bounds.reverse {
            self.cursor.seek_before(&end)?;
        } else {
            self.cursor.seek(&end)?;
        }
        self.settle(bounds)
    }

    /// The next record, of those that aren't hidden.
    fn step(&mut self, bounds: &Bounds) -> Result<(), StorageError> {
        self.hidden = 0;
        self.step_on(bounds)
    }

    fn step_on(&mut self, bounds: &Bounds) -> Result<(), StorageError> {
        if bounds.reverse {
            self.cursor.prev()?
        } else {
            self.cursor.next()?
        }
        self.settle(bounds)
    }

    /// Notes the key that the cursor stands on, passing over hidden states, or that it left the bounds.
    fn settle(&mut self, bounds: &Bounds) -> Result<(), StorageError> {
        self.key.clear();
        while let Some(entry) = self.cursor.entry() {
            if matches!(*self.map, StateMap::Identity) {
                self.key.extend_from_slice(entry.sort_key);
            } else if let Some(key) = renumbered(entry.sort_key, &self.map, false) {
                self.key = key;
            } else {
                if bounds.reverse {
                    self.cursor.prev()?
                } else {
                    self.cursor.next()?
                }
                continue;
            }
            // Both ends, whatever the direction: where states are numbered otherwise, what comes after this state in the
            // segment may come before it in the store.
            let inside = self.key >= bounds.from && bounds.to.as_ref().is_none_or(|to| self.key < *to);
            if !inside {
                self.key.clear();
            }
            return Ok(());
        }
        Ok(())
    }
}
