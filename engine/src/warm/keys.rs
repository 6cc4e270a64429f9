//! Keys that are looked up in the segments, many at once.

use super::bring::{self, Value};
use super::{is_at_hand, shard_of};
use crate::cold::{self, ColdKey, Lookups};
use crate::error::Result;
use crate::ids::StateId;
use crate::key::{SortKey, VALUE_BYTES_MAX};
use crate::shard::Shard;
use crate::stack::{Found, Lookup, Slice};
use crate::states::{StateDef, StateKind};
use crate::store::StoreInner;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How many keys are looked up together: few enough to leave the disk to those who wait for it.
pub const AT_ONCE: usize = 256;
/// Values of so many bytes are held before they are kept.
const HELD_BYTES: usize = 1 << 20;

/// A key that is to be in memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// The state.
    pub state: StateId,
    /// Where it lies.
    pub sort_key: Vec<u8>,
}

/// What looking keys up came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Records that were brought into memory.
    pub brought: u64,
    /// Their keys and values, in bytes.
    pub bytes: u64,
}

/// Brings what the segments have of these keys into memory, unless something of it is there. Keys of nobody's key groups are
/// passed over, as is what can't be read.
pub fn look_up(store: &Arc<StoreInner>, mut wanted: Vec<Wanted>, makes_way: bool) -> Tally {
    wanted.sort_unstable_by(|a, b| a.sort_key.cmp(&b.sort_key));
    wanted.dedup();
    let shards = store.shards.lock().clone();
    let defs = store.states.read().clone();
    let mut tally = Tally::default();
    let mut from = 0;
    while from < wanted.len() {
        let group = crate::key::group_of(&wanted[from].sort_key).map_or(0, |group| group.0);
        let shard = shard_of(&shards, group).map(|at| &shards[at]);
        // Of one shard, which are neighbours.
        let is_its = |of: &Wanted| match shard {
            Some(shard) => crate::key::in_range(&of.sort_key, shard.range),
            None => crate::key::group_of(&of.sort_key).is_some_and(|of| of.0 == group),
        };
        let count = wanted[from..].iter().take_while(|of| is_its(of)).count().max(1);
        if let Some(shard) = shard {
            let mut turn = Turn::new(store, shard, &defs, makes_way);
            turn.begin(&wanted[from..from + count]);
            turn.run();
            tally.brought += turn.tally.brought;
            tally.bytes += turn.tally.bytes;
        }
        from += count;
    }
    store.warm.counts.brought(tally.brought, tally.bytes);
    tally
}

/// A value that was found, and is about to be kept.
struct Ready {
    state: StateId,
    sort_key: Vec<u8>,
    slice: Arc<Slice>,
    value: Vec<u8>,
    expiry_ms: Option<u64>,
    epoch: u32,
}

/// Lookups of one shard.
struct Turn<'a> {
    store: &'a Arc<StoreInner>,
    shard: &'a Arc<Shard>,
    defs: &'a [Arc<StateDef>],
    makes_way: bool,
    now_ms: u64,
    names: Vec<Wanted>,
    waiting: std::vec::IntoIter<ColdKey>,
    ready: Vec<Ready>,
    held_bytes: usize,
    tally: Tally,
}

impl<'a> Turn<'a> {
    fn new(store: &'a Arc<StoreInner>, shard: &'a Arc<Shard>, defs: &'a [Arc<StateDef>], makes_way: bool) -> Self {
        let (names, waiting) = (Vec::new(), Vec::new().into_iter());
        let (ready, tally) = (Vec::new(), Tally::default());
        Self { store, shard, defs, makes_way, now_ms: 0, names, waiting, ready, held_bytes: 0, tally }
    }

    /// Looks which of these memory has nothing of.
    fn begin(&mut self, wanted: &[Wanted]) {
        let mut lookups: Vec<ColdKey> = Vec::new();
        for some in wanted.chunks(bring::AT_ONCE) {
            let mut core = self.shard.cell.borrow();
            if self.shard.is_gone() {
                break;
            }
            core.settle(self.shard);
            self.now_ms = core.hot.now_ms;
            for Wanted { state, sort_key } in some {
                let Some(at) = SortKey::decode(sort_key) else { continue };
                if !bring::is_unknown(&core, self.shard, *state, &at) {
                    continue;
                }
                let slice = core.view.slice_of(at.key.group);
                if slice.layers.is_empty() || !is_at_hand(self.store, &slice) {
                    continue;
                }
                let container = at.user_key.map_or(0, |user_key| sort_key.len() - user_key.len() - 1);
                let lookup = Lookup::new(slice, *state, sort_key.clone(), container, self.now_ms);
                lookups.push((self.names.len(), lookup));
                self.names.push(Wanted { state: *state, sort_key: sort_key.clone() });
            }
        }
        if lookups.len() >= cold::MANY {
            cold::expect_many(&mut lookups);
        }
        self.waiting = lookups.into_iter();
    }

    fn run(&mut self) {
        let storage = Arc::clone(&self.store.storage);
        let blocks_read = cold::run(&*storage, self, false);
        self.store.counts.blocks_read.fetch_add(blocks_read, Ordering::Relaxed);
        self.keep();
    }

    /// The value that was found, in one piece; none where there is none.
    fn value_of(&self, state: StateId, found: Found) -> Option<Vec<u8>> {
        let def = self.defs.get(usize::from(state.0))?;
        if found.operands.is_empty() {
            return found.base;
        }
        if def.check_operator().is_err() {
            return None;
        }
        let operands = found.operands.iter().rev().map(Vec::as_slice);
        let value = def.fold_within(found.base.as_deref(), operands, self.now_ms, VALUE_BYTES_MAX).ok()?;
        (def.kind != StateKind::List || !value.is_empty()).then_some(value)
    }

    fn keep(&mut self) {
        let ready = std::mem::take(&mut self.ready);
        self.held_bytes = 0;
        let values: Vec<Value<'_>> = ready
            .iter()
            .filter_map(|Ready { state, sort_key, slice, value, expiry_ms, epoch }| {
                let at = SortKey::decode(sort_key)?;
                let (state, expiry_ms, epoch) = (*state, *expiry_ms, *epoch);
                Some(Value { state, at, slice, value, expiry_ms, epoch })
            })
            .collect();
        let (records, bytes) = bring::keep_all(self.shard, &values, self.makes_way);
        self.tally.brought += records;
        self.tally.bytes += bytes;
    }
}

impl Lookups for Turn<'_> {
    fn next(&mut self) -> Option<ColdKey> {
        self.waiting.next()
    }

    fn done(&mut self, name: usize, outcome: Result<Lookup>) {
        // What fails is told to those who ask for it.
        let Ok(lookup) = outcome else { return };
        let slice = Arc::clone(lookup.slice());
        let found = lookup.finish();
        let Some(Wanted { state, sort_key }) = self.names.get(name).cloned() else { return };
        let is_list = self.defs.get(usize::from(state.0)).is_some_and(|def| def.kind == StateKind::List);
        let (expiry_ms, epoch) = (found.expiry_ms.filter(|_| !is_list), found.epoch.0);
        let Some(value) = self.value_of(state, found) else { return };
        self.held_bytes += value.len();
        self.ready.push(Ready { state, sort_key, slice, value, expiry_ms, epoch });
        if self.held_bytes >= HELD_BYTES {
            self.keep();
        }
    }
}
