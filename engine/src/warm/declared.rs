//! Warming up in a declared order: states and key groups one after the other, each in the order of its keys, until memory is full.

use super::bring::{self, Value};
use super::{is_at_hand, is_full, shard_of};
use crate::error::Result;
use crate::ids::{KeyGroup, KeyGroupRange, StateId};
use crate::key::{SortKey, VALUE_BYTES_MAX};
use crate::merged::{Base, Bounds, Merged, Resolved};
use crate::options::WarmPart;
use crate::platform::storage::Storage;
use crate::platform::threads;
use crate::shard::Shard;
use crate::stack::Slice;
use crate::states::{StateDef, StateKind};
use crate::store::StoreInner;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// How many records are read before they are kept. Few in tests: walks go on in newer segments between two lots.
const AT_ONCE: usize = if cfg!(test) { 8 } else { 512 };
/// And how many keys are gone through for them: most may have been deleted.
const PASSED_AT_ONCE: usize = 16 * AT_ONCE;
/// Bytes of values that are.
const BYTES_AT_ONCE: usize = 1 << 20;

/// A walk through the segments of a (key group, state).
#[derive(Debug)]
struct Walk {
    shard: Arc<Shard>,
    slice: Arc<Slice>,
    merged: Merged,
    /// The sort key that it came to last; empty before the first.
    last: Vec<u8>,
}

impl Walk {
    /// Whether what it comes to is what the shard has on disk.
    fn is_current(&self, group: KeyGroup) -> bool {
        !self.shard.is_gone() && Arc::ptr_eq(&self.shard.view().1.slice_of(group), &self.slice)
    }
}

/// A pass in a declared order.
#[derive(Debug)]
pub struct Declared {
    /// What is to be gone through, the last of it first.
    tables: Vec<(StateId, KeyGroup)>,
    walk: Option<Walk>,
    _together: Option<ReadsTogether>,
}

/// While there is one, all reads of a directory go through the page cache, where some do: what is read for one serves the others.
#[derive(Debug)]
struct ReadsTogether(Arc<dyn Storage>);

impl ReadsTogether {
    fn new(storage: &Arc<dyn Storage>) -> Self {
        storage.cache_all_reads(true);
        Self(Arc::clone(storage))
    }
}

impl Drop for ReadsTogether {
    fn drop(&mut self) {
        self.0.cache_all_reads(false);
    }
}

impl Declared {
    /// All that ranges have that were claimed, and that fits into memory: whoever misses something meanwhile asks for blocks that are brought
    /// anyhow.
    pub fn everything(store: &Arc<StoreInner>, ranges: &[KeyGroupRange]) -> Self {
        Self { _together: Some(ReadsTogether::new(&store.storage)), ..Self::new(store, &[], ranges) }
    }

    /// The order that `parts` give, of ranges that were claimed; all there is, where there are no parts.
    pub fn new(store: &Arc<StoreInner>, parts: &[WarmPart], ranges: &[KeyGroupRange]) -> Self {
        let states = store.states.read();
        let everything = [WarmPart::default()];
        let parts = if parts.is_empty() { &everything[..] } else { parts };
        let mut tables = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for part in parts {
            let is_its = |def: &&Arc<StateDef>| part.state.as_ref().is_none_or(|name| *name == def.name);
            for def in states.iter().filter(is_its) {
                let within = |range: &KeyGroupRange| part.groups.map_or(Some(*range), |groups| range.intersect(groups));
                for group in ranges.iter().filter_map(within).flat_map(KeyGroupRange::iter) {
                    if seen.insert((def.id, group)) {
                        tables.push((def.id, group));
                    }
                }
            }
        }
        tables.reverse();
        expect(store, ranges);
        Self { tables, walk: None, _together: None }
    }

    /// Goes on until a moment; whether there is more.
    pub fn go_on(&mut self, store: &Arc<StoreInner>, until: Instant) -> bool {
        loop {
            if !bring::has_room(store) {
                is_full(store);
                return false;
            }
            match self.bring_some(store) {
                Ok(true) => {}
                Ok(false) => return false,
                Err(error) => {
                    // Whoever asks for it is told.
                    tracing::warn!(%error, "a part of warming up is left out");
                    self.walk = None;
                    self.tables.pop();
                }
            }
            if threads::now() >= until {
                return true;
            }
        }
    }

    /// The walk through what comes first, in the segments of now; `None` where nothing is left.
    fn walk(&mut self, store: &StoreInner) -> Result<Option<&mut Walk>> {
        while let Some(&(state, group)) = self.tables.last() {
            if !self.walk.as_ref().is_some_and(|walk| walk.is_current(group)) {
                let last = self.walk.take().map(|walk| walk.last).unwrap_or_default();
                self.walk = begin(store, state, group, last)?;
            }
            if self.walk.is_some() {
                break;
            }
            self.tables.pop();
        }
        Ok(self.walk.as_mut())
    }

    /// Brings the next records; false where there are none.
    fn bring_some(&mut self, store: &Arc<StoreInner>) -> Result<bool> {
        let defs = store.states.read().clone();
        let Some(walk) = self.walk(store)? else { return Ok(false) };
        let (mut some, mut bytes) = (Vec::new(), 0);
        let mut is_over = false;
        let (mut passed, mut read) = (0, 0);
        while some.len() < AT_ONCE && bytes < BYTES_AT_ONCE && passed < PASSED_AT_ONCE && read < 2 * BYTES_AT_ONCE {
            let Some(resolved) = walk.merged.next()? else {
                is_over = true;
                break;
            };
            passed += 1;
            read += resolved.sort_key.len() + resolved.value.len();
            walk.last.clone_from(&resolved.sort_key);
            if let Some(value) = value_of(&defs, resolved) {
                bytes += value.len();
                some.push((resolved.sort_key.clone(), value, resolved.expiry_ms, resolved.epoch.0));
            }
        }
        let values: Vec<Value<'_>> = some
            .iter()
            .filter_map(|(sort_key, value, expiry_ms, epoch)| {
                let at = SortKey::decode(sort_key)?;
                let is_list = defs.get(usize::from(at.state.0)).is_some_and(|def| def.kind == StateKind::List);
                let (slice, expiry_ms, epoch) = (&walk.slice, expiry_ms.filter(|_| !is_list), *epoch);
                Some(Value { state: at.state, at, slice, value, expiry_ms, epoch })
            })
            .collect();
        let (records, kept_bytes) = bring::keep_all(&walk.shard, &values, false);
        store.warm.counts.brought(records, kept_bytes);
        store.warm.counts.passed(some.len() as u64, read as u64);
        if is_over {
            self.walk = None;
            self.tables.pop();
        }
        Ok(true)
    }
}

/// A walk through what a table has on disk, behind a sort key if that isn't empty; `None` where nobody has the key group, or nothing is there to be
/// read.
fn begin(store: &StoreInner, state: StateId, group: KeyGroup, last: Vec<u8>) -> Result<Option<Walk>> {
    let shards = store.shards.lock().clone();
    let Some(shard) = shard_of(&shards, group.0).map(|at| &shards[at]) else { return Ok(None) };
    let slice = shard.view().1.slice_of(group);
    if slice.layers.is_empty() || !is_at_hand(store, &slice) {
        return Ok(None);
    }
    let now_ms = shard.cell.borrow().hot.now_ms;
    let bounds = Bounds::prefix(&[group.0.to_be_bytes(), state.0.to_be_bytes()].concat());
    let merged = if last.is_empty() {
        Merged::new(&slice.layers, bounds, now_ms)?
    } else {
        Merged::behind(&slice.layers, bounds, now_ms, &last)?
    };
    Ok(Some(Walk { shard: Arc::clone(shard), slice, merged, last }))
}

/// The value of what was read, in one piece.
fn value_of(defs: &[Arc<StateDef>], resolved: &Resolved) -> Option<Vec<u8>> {
    let at = SortKey::decode(&resolved.sort_key)?;
    let def = defs.get(usize::from(at.state.0))?;
    let base = match resolved.base {
        Base::Value => Some(&resolved.value[..]),
        Base::Cleared => return None,
        _ => None,
    };
    if resolved.operands.is_empty() {
        return base.map(<[u8]>::to_vec);
    }
    if def.check_operator().is_err() {
        return None;
    }
    // What is too long for its owner is left to it.
    let value = def.fold_within(base, resolved.operands.iter().rev().map(Vec::as_slice), 0, VALUE_BYTES_MAX).ok()?;
    (def.kind != StateKind::List || !value.is_empty()).then_some(value)
}

/// Says about how much there is to be gone through: what the ranges have on disk, or as much of it as memory takes.
fn expect(store: &StoreInner, ranges: &[KeyGroupRange]) {
    let version = Arc::clone(&store.version.lock());
    let segments = version.segments();
    let is_wanted = |groups| ranges.iter().any(|range| range.intersect(groups).is_some());
    let (mut bytes, mut records) = (0, 0);
    for segment in segments.iter().filter(|segment| is_wanted(segment.meta().groups)) {
        bytes += segment.meta().logical_bytes;
        records += segment.meta().entries;
    }
    store.warm.counts.bytes.fetch_add(bytes, Ordering::Relaxed);
    store.warm.counts.records.fetch_add(records, Ordering::Relaxed);
}
