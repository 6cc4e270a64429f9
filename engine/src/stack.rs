//! Stacks: the segments that hold a store's cold state, and how a key is looked up in them.
//!
//! A [`Version`] is one immutable arrangement: slices of key groups in ascending order, each with its stack of layers,
//! newest first. What is newer masks what is older. A layer is a segment as this store sees it: clipped to the slice's
//! key groups, its states renumbered.

use crate::cache::BlockCache;
use crate::checksum::hash_key;
use crate::convert::{Older, in_schema};
use crate::error::Error;
use crate::ids::{Epoch, KeyGroup, KeyGroupRange, SegmentId, StateId};
use crate::manifest::StateMap;
use crate::platform::storage::ReadRequest;
use crate::platform::storage::{Storage, StorageError, names};
use crate::segment::{Block, BlockRef, BlockSource, Kind, Opening, Segment, SegmentMeta};
use crate::spans;
use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

/// A segment that is opened when it is first needed, so that recovery doesn't depend on how many there are.
#[derive(Debug)]
pub struct LazySegment {
    meta: Arc<SegmentMeta>,
    storage: Arc<dyn Storage>,
    cache: Arc<BlockCache>,
    opened: OnceLock<Arc<Segment>>,
    hides: OnceLock<Vec<Hides>>,
}

/// How much of a container deletions of ranges hide below the newest of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hides {
    /// The key group that it lies in.
    pub group: KeyGroup,
    /// The hash of its sort key.
    pub container: u64,
    /// About how much, in bytes.
    pub bytes: u64,
}

impl LazySegment {
    /// A segment that is on disk.
    pub fn new(storage: &Arc<dyn Storage>, cache: &Arc<BlockCache>, meta: Arc<SegmentMeta>) -> Self {
        let (storage, cache) = (Arc::clone(storage), Arc::clone(cache));
        Self { meta, storage, cache, opened: OnceLock::new(), hides: OnceLock::new() }
    }

    /// Its identity.
    pub fn id(&self) -> SegmentId {
        self.meta.id
    }

    /// What is known of it.
    pub fn meta(&self) -> &Arc<SegmentMeta> {
        &self.meta
    }

    /// What the deletions in it are known to hide.
    pub fn hides(&self) -> &[Hides] {
        self.hides.get().map_or(&[], Vec::as_slice)
    }

    /// Says so, once.
    pub fn set_hides(&self, hides: Vec<Hides>) {
        self.hides.get_or_init(|| hides);
    }

    /// Where it lies.
    pub fn storage(&self) -> &dyn Storage {
        &*self.storage
    }

    /// Whether reading it doesn't have to wait until the host brings it.
    pub fn is_here(&self) -> bool {
        self.storage.is_here(&names::segment_name(self.meta.id.0))
    }

    /// The segment, opened.
    pub fn get(&self) -> Result<&Arc<Segment>, StorageError> {
        if let Some(segment) = self.opened.get() {
            return Ok(segment);
        }
        let segment = Segment::open(&*self.storage, SegmentMeta::clone(&self.meta))?;
        Ok(self.keep(segment))
    }

    fn keep(&self, segment: Segment) -> &Arc<Segment> {
        let cache = Arc::clone(&self.cache) as Arc<dyn BlockSource>;
        self.opened.get_or_init(|| Arc::new(segment.with_cache(cache)))
    }
}

/// Opens those of these layers that aren't open, and has what the lookup of `hash` begins with read ahead: after a
/// recovery everything comes from the disk, and one after the other the layers would cost several waits each. What fails
/// is left to who needs it.
fn open_together(layers: &[&Layer], hash: u64) {
    let mut openings: Vec<(&LazySegment, Opening)> = Vec::new();
    for layer in layers {
        let segment = &*layer.segment;
        if let Ok(opening) = Opening::begin(segment.storage(), SegmentMeta::clone(&segment.meta)) {
            opening.read_ahead(hash);
            openings.push((segment, opening));
        }
    }
    let Some((first, _)) = openings.first() else { return };
    let mut requests: Vec<ReadRequest> = openings.iter().map(|(_, opening)| opening.read_request()).collect();
    first.storage().read_batch(&mut requests);
    for ((segment, opening), request) in openings.into_iter().zip(requests) {
        let stored = request.outcome.and_then(Result::ok);
        if let Some(found) = stored.and_then(|stored| opening.finish(&stored).ok()) {
            segment.keep(found);
        }
    }
}

/// A segment in a stack.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The segment.
    pub segment: Arc<LazySegment>,
    /// How its states' numbers become the store's.
    pub map: Arc<StateMap>,
    /// Which states' values are of an older schema in it, if any are.
    pub older: Option<Arc<Older>>,
}

impl Layer {
    /// A segment of the store's own, with values of the schemas of now.
    pub fn of_now(segment: &Arc<LazySegment>) -> Self {
        Self { segment: Arc::clone(segment), map: Arc::new(StateMap::Identity), older: None }
    }

    /// Why a value of an older schema in it can't be converted for now, if there may be any.
    pub fn obstacle(&self) -> Option<Error> {
        self.older.as_ref().and_then(|older| older.obstacle())
    }
}

/// A run of key groups and its stack.
#[derive(Clone, Debug)]
pub struct Slice {
    /// The key groups; every layer is clipped to them.
    pub range: KeyGroupRange,
    /// Newest first.
    pub layers: Vec<Layer>,
}

impl Slice {
    /// The same without the layers of later epochs than `epoch`, which hold what wasn't committed then.
    pub fn up_to(this: &Arc<Self>, epoch: u32) -> Arc<Self> {
        let is_later = |layer: &Layer| layer.segment.meta().epoch_low.0 > epoch;
        if !this.layers.iter().any(is_later) {
            return Arc::clone(this);
        }
        let layers = this.layers.iter().filter(|layer| !is_later(layer)).cloned().collect();
        Arc::new(Self { range: this.range, layers })
    }

    /// Whether asking a filter may have to wait until the host brings a segment.
    pub fn waits_for_host(&self) -> bool {
        self.layers.iter().any(|layer| layer.segment.opened.get().is_none() && !layer.segment.is_here())
    }
}

/// One arrangement of a store's segments.
#[derive(Clone, Debug)]
pub struct Version {
    /// Ascending, without gaps.
    pub slices: Vec<Arc<Slice>>,
}

impl Version {
    /// No segments: one slice.
    pub fn empty(range: KeyGroupRange) -> Self {
        Self { slices: vec![Arc::new(Slice { range, layers: Vec::new() })] }
    }

    /// The slice of a key group, which the store must hold.
    pub fn slice_of(&self, group: KeyGroup) -> &Arc<Slice> {
        let after = self.slices.partition_point(|slice| slice.range.first() <= group.0);
        &self.slices[after.saturating_sub(1)]
    }

    /// The same with a new segment on top of every slice that it has anything of.
    #[must_use]
    pub fn with_flushed(&self, segment: &Arc<LazySegment>) -> Self {
        let map = Arc::new(StateMap::Identity);
        let slices = self.slices.iter().map(|slice| {
            if slice.range.intersect(segment.meta().groups).is_none() {
                return Arc::clone(slice);
            }
            let top = Layer { segment: Arc::clone(segment), map: Arc::clone(&map), older: None };
            let layers = std::iter::once(top).chain(slice.layers.iter().cloned()).collect();
            Arc::new(Slice { range: slice.range, layers })
        });
        Self { slices: slices.collect() }
    }

    /// The same without the segments of later epochs than `epoch`, which hold what wasn't committed then.
    pub fn up_to(this: &Arc<Self>, epoch: u32) -> Arc<Self> {
        let slices: Vec<Arc<Slice>> = this.slices.iter().map(|slice| Slice::up_to(slice, epoch)).collect();
        if slices.iter().zip(&this.slices).all(|(a, b)| Arc::ptr_eq(a, b)) {
            return Arc::clone(this);
        }
        Arc::new(Self { slices })
    }

    /// What lies below all segments of later epochs than `epoch`: what may be merged while those aren't committed. A segment that
    /// lies above such a one in any slice is left out of all: slices that are merged into one have one order of layers.
    pub fn below_all_later(this: &Arc<Self>, epoch: u32) -> Arc<Self> {
        let is_later = |segment: &Arc<LazySegment>| segment.meta().epoch_low.0 > epoch;
        let mut above: HashSet<SegmentId> =
            this.segments().iter().filter(|segment| is_later(segment)).map(|segment| segment.id()).collect();
        if above.is_empty() {
            return Arc::clone(this);
        }
        loop {
            let before = above.len();
            for slice in &this.slices {
                let end = slice.layers.iter().rposition(|layer| above.contains(&layer.segment.id()));
                above.extend(slice.layers[..end.map_or(0, |end| end + 1)].iter().map(|layer| layer.segment.id()));
            }
            if above.len() == before {
                break;
            }
        }
        let below = |slice: &Arc<Slice>| {
            let layers = slice.layers.iter().filter(|layer| !above.contains(&layer.segment.id())).cloned();
            Arc::new(Slice { range: slice.range, layers: layers.collect() })
        };
        Arc::new(Self { slices: this.slices.iter().map(below).collect() })
    }

    /// The segments, each once, in the order of their first place.
    pub fn segments(&self) -> Vec<Arc<LazySegment>> {
        let mut seen = HashSet::new();
        let layers = self.slices.iter().flat_map(|slice| &slice.layers);
        layers.filter(|layer| seen.insert(layer.segment.id())).map(|layer| Arc::clone(&layer.segment)).collect()
    }
}

/// What a lookup came to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// The newest full value, if there is one under the operands. `None`: there is none, or it is deleted.
    pub base: Option<Vec<u8>>,
    /// The operands above it, newest first.
    pub operands: Vec<Vec<u8>>,
    /// The expiry of the newest version, in ms.
    pub expiry_ms: Option<u64>,
    /// The epoch of the newest segment that had a version; 0 where none had.
    pub epoch: Epoch,
}

impl Found {
    /// Whether there is no value at all.
    pub fn is_absent(&self) -> bool {
        self.base.is_none() && self.operands.is_empty()
    }
}

/// A value that a layer of a slice has, in the schema of now.
fn of_now(slice: &Slice, layer: usize, state: StateId, value: &[u8]) -> Result<Vec<u8>, Error> {
    in_schema(slice.layers.get(layer).and_then(|layer| layer.older.as_deref()), state, value)
}

/// What the next block to be read is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// The key itself.
    Key,
    /// The container's clear, in the same layer.
    Clear,
}

/// The lookup of one key through a stack, one block at a time, so that many lookups can read together.
///
/// Call [`Lookup::next`]; read the block that it names; give it to [`Lookup::offer`]; and again, until `next` has
/// nothing more to read.
#[derive(Debug)]
pub struct Lookup {
    slice: Arc<Slice>,
    state: StateId,
    sort_key: Vec<u8>,
    /// The length of the container's key for a map entry; 0 for a cell.
    container: usize,
    layer: usize,
    step: Step,
    done: bool,
    /// The last sort key hashed, with its seed: most layers share one.
    hashed: Option<(u64, StateId, u64)>,
    now_ms: u64,
    /// How many filters were asked.
    pub filter_probes: u64,
    found: Found,
    /// Why a value that was found can't be told.
    failed: Option<Box<Error>>,
}

impl Lookup {
    /// The lookup of a cell (`container` 0) or of a map entry whose container's key is the first `container` bytes.
    /// What expired up to `now_ms` counts as deleted.
    pub fn new(slice: Arc<Slice>, state: StateId, sort_key: Vec<u8>, container: usize, now_ms: u64) -> Self {
        let found = Found::default();
        Self {
            slice,
            state,
            sort_key,
            container,
            layer: 0,
            step: Step::Key,
            done: false,
            hashed: None,
            now_ms,
            filter_probes: 0,
            found,
            failed: None,
        }
    }

    /// Opens the layers that it will ask, if several of them are not open yet, and asks for the lines of the others' filters: one
    /// after the other each would be a cache miss.
    pub fn look_ahead(&mut self) {
        self.sort_key[2..4].copy_from_slice(&self.state.0.to_be_bytes());
        let slice = Arc::clone(&self.slice);
        let mut closed: Vec<&Layer> = Vec::new();
        for layer in &slice.layers {
            let meta = layer.segment.meta();
            if self.sort_key < meta.first_key || self.sort_key > meta.last_key {
                continue;
            }
            match layer.segment.opened.get() {
                Some(segment) if layer.map.to_segment(self.state) == Some(self.state) => {
                    segment.prefetch_filter(self.hash(segment, self.state));
                }
                Some(_) => {}
                None if layer.segment.is_here() => closed.push(layer),
                None => {}
            }
        }
        if let [first, _, ..] = closed[..] {
            open_together(&closed, hash_key(&self.sort_key, first.segment.meta().hash_seed));
        }
    }

    /// The hash of the sort key with a segment's number of the state in it.
    fn hash(&mut self, segment: &Segment, state: StateId) -> u64 {
        let seed = segment.meta().hash_seed;
        if let Some((of_seed, of_state, hash)) = self.hashed
            && (of_seed, of_state) == (seed, state)
        {
            return hash;
        }
        let hash = segment.hash(&self.sort_key);
        self.hashed = Some((seed, state, hash));
        hash
    }

    /// The segment and block to be read next; `None` when the lookup is complete.
    pub fn next(&mut self) -> Result<Option<(Arc<Segment>, BlockRef)>, Error> {
        if let Some(error) = self.failed.take() {
            return Err(*error);
        }
        if self.layer == 0 && self.step == Step::Key {
            self.look_ahead();
        }
        let slice = Arc::clone(&self.slice);
        while !self.done {
            let Some(layer) = slice.layers.get(self.layer) else {
                self.done = true;
                break;
            };
            let wanted = match self.step {
                Step::Key => self.in_layer(layer)?,
                Step::Clear => self.clear_in_layer(layer)?,
            };
            match wanted {
                Some(block) => return Ok(Some((Arc::clone(layer.segment.get()?), block))),
                None => self.advance(),
            }
        }
        Ok(None)
    }

    fn advance(&mut self) {
        if self.step == Step::Key && self.container > 0 {
            self.step = Step::Clear;
        } else {
            self.step = Step::Key;
            self.layer += 1;
        }
    }

    /// Puts the segment's number of the state into the sort key; false where the segment has nothing of the state.
    fn renumber(&mut self, layer: &Layer) -> bool {
        let Some(state) = layer.map.to_segment(self.state) else { return false };
        self.sort_key[2..4].copy_from_slice(&state.0.to_be_bytes());
        true
    }

    fn in_layer(&mut self, layer: &Layer) -> Result<Option<BlockRef>, StorageError> {
        if !self.renumber(layer) {
            return Ok(None);
        }
        let meta = layer.segment.meta();
        if self.sort_key < meta.first_key || self.sort_key > meta.last_key {
            return Ok(None);
        }
        let segment = layer.segment.get()?;
        let state = layer.map.to_segment(self.state).unwrap_or(self.state);
        let hash = self.hash(segment, state);
        self.filter_probes += 1;
        if !segment.may_contain(hash) {
            return Ok(None);
        }
        segment.locate(&self.sort_key)
    }

    fn clear_in_layer(&mut self, layer: &Layer) -> Result<Option<BlockRef>, StorageError> {
        if layer.segment.meta().clears == 0 || !self.renumber(layer) {
            return Ok(None);
        }
        let segment = layer.segment.get()?;
        let container = &self.sort_key[..self.container];
        if !segment.may_clear(segment.hash(container)) {
            return Ok(None);
        }
        segment.locate(container)
    }

    /// Takes the block that [`Lookup::next`] named.
    pub fn offer(&mut self, segment: &Segment, block: &Block) {
        let key = if self.step == Step::Key { &self.sort_key[..] } else { &self.sort_key[..self.container] };
        if let Some(entry) = block.get(key) {
            let expired = entry.expiry_ms.is_some_and(|at| at <= self.now_ms);
            if self.step == Step::Key && self.found.epoch == Epoch(0) {
                self.found.epoch = segment.meta().epoch_high;
                self.found.expiry_ms = entry.expiry_ms;
            }
            match entry.kind {
                Kind::Put if expired => self.done = true,
                Kind::Put => {
                    self.done = true;
                    match of_now(&self.slice, self.layer, self.state, entry.value) {
                        Ok(value) => self.found.base = Some(value),
                        Err(error) => self.failed = Some(Box::new(error)),
                    }
                }
                // Of a part of the map, which the key may not be in: then it may be in an older layer.
                Kind::Clear if self.container > 0 => {
                    self.done = spans::clears(entry.value, &self.sort_key[self.container + 1..]);
                }
                Kind::Delete | Kind::Clear => self.done = true,
                Kind::Merge if expired => {}
                Kind::Merge => match of_now(&self.slice, self.layer, self.state, entry.value) {
                    Ok(operand) => self.found.operands.push(operand),
                    Err(error) => self.failed = Some(Box::new(error)),
                },
            }
        }
        self.advance();
    }

    /// The layer that it is at, counted from the newest: where [`Lookup::next`] named a block, that block's. No newer one that was not
    /// looked into has anything of the key.
    pub const fn layer(&self) -> usize {
        self.layer
    }

    /// Bytes of the values found so far.
    pub fn found_bytes(&self) -> usize {
        self.found.base.iter().chain(&self.found.operands).map(Vec::len).sum()
    }

    /// Where it looks.
    pub fn slice(&self) -> &Arc<Slice> {
        &self.slice
    }

    /// Where it looked, by which sort key (in the numbering of some segment), and what it came to.
    pub fn into_parts(self) -> (Arc<Slice>, Vec<u8>, Found) {
        (self.slice, self.sort_key, self.found)
    }

    /// What it came to.
    pub fn finish(self) -> Found {
        self.found
    }
}
