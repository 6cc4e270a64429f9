//! Bringing values that were read into memory, a few at a time inside their shard's gate.

use crate::ids::{KeyGroupRange, StateId};
use crate::key::SortKey;
use crate::read;
use crate::segment::SegmentMeta;
use crate::shard::{Core, Shard};
use crate::stack::Slice;
use crate::store::StoreInner;
use std::sync::Arc;

/// How many records are looked at or kept while a shard is borrowed: some tens of microseconds. Each borrowing interrupts whoever runs.
pub const AT_ONCE: usize = 256;
/// Bytes of values that are kept while it is.
pub const BYTES_AT_ONCE: usize = 64 << 10;
/// What is left free, in parts of the memory: a writer that finds less begins to evict.
const FREE_SHARE: usize = 8;

/// A value that was read.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a> {
    /// The state.
    pub state: StateId,
    /// Where it lies: of the sort key all but the state's number counts.
    pub at: SortKey<'a>,
    /// Where it was read.
    pub slice: &'a Arc<Slice>,
    /// The value.
    pub value: &'a [u8],
    /// When it expires, in ms.
    pub expiry_ms: Option<u64>,
    /// The epoch that it is of, or a later one.
    pub epoch: u32,
}

impl Value<'_> {
    fn bytes(&self) -> usize {
        self.at.key.key.len() + self.at.key.namespace.len() + self.at.user_key.map_or(0, <[u8]>::len) + self.value.len()
    }
}

/// Whether memory has nothing of a key, so that it would have to be read.
pub fn is_unknown(core: &Core, shard: &Shard, state: StateId, at: &SortKey<'_>) -> bool {
    let Some(group) = at.key.group.0.checked_sub(shard.range.first()) else { return false };
    if usize::from(state.0) >= core.hot.states() || usize::from(group) >= core.hot.groups() {
        return false;
    }
    let mut scratch = Vec::new();
    let (area, namespaced) = read::area(at.key, &mut scratch);
    let probe = core.hot.probe(state.0, group, area, namespaced);
    if !core.hot.head(&probe).is_spilled() {
        return false;
    }
    match at.user_key {
        None => core.hot.find_cell(&probe).is_none(),
        Some(user_key) => {
            let root = core.hot.find_root(&probe).map(|(root, _)| root);
            // What was put far is newer; and what will be put there is put without a look at records.
            if root.is_some_and(|root| core.hot.has_far(root) || core.hot.is_far(root, user_key).is_some()) {
                return false;
            }
            let found = root.and_then(|root| core.hot.find_entry(&probe, root, user_key));
            found.is_none() && !core.hot.is_hidden(&probe, user_key)
        }
    }
}

/// What a store could take now, without what is guaranteed to others.
fn free_bytes(store: &StoreInner) -> usize {
    store.memory_room().2.min(store.share.free_bytes())
}

/// Whether there is room for more that nobody asked for.
pub fn has_room(store: &StoreInner) -> bool {
    let (budget_bytes, ..) = store.memory_room();
    free_bytes(store) > budget_bytes / FREE_SHARE
}

/// About what of memory a record takes beside its key and value, its part of the tables included.
const RECORD_BYTES: u64 = 32;

/// Whether there is room for all that ranges have on disk.
pub fn all_fits(store: &StoreInner, ranges: &[KeyGroupRange]) -> bool {
    let (budget_bytes, ..) = store.memory_room();
    let version = Arc::clone(&store.version.lock());
    let of_ranges = |meta: &SegmentMeta| -> u64 {
        let groups: usize =
            ranges.iter().filter_map(|range| range.intersect(meta.groups)).map(|range| range.count()).sum();
        // Words of a file: what doesn't fit here doesn't fit there.
        let bytes = meta.entries.saturating_mul(RECORD_BYTES).saturating_add(meta.logical_bytes);
        (bytes / meta.groups.count() as u64).saturating_mul(groups as u64)
    };
    let wanted = version.segments().iter().fold(0u64, |sum, segment| sum.saturating_add(of_ranges(segment.meta())));
    wanted <= free_bytes(store).saturating_sub(budget_bytes / FREE_SHARE) as u64
}

/// What became of a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kept {
    Yes,
    No,
    NoRoom,
}

/// Keeps a value, clean, where memory has nothing of its key and its slice is still the shard's; whether it did. What `makes_way` has room
/// made for it as reading it would; else it is left where there is none.
fn keep(core: &mut Core, shard: &Shard, value: &Value<'_>, makes_way: bool) -> Kept {
    let Value { state, at, slice, expiry_ms, epoch, .. } = *value;
    // What was written since and has left memory is in another segment.
    let is_current = Arc::ptr_eq(slice, core.view.version.slice_of(at.key.group));
    // Nobody is told of a list that has become too long to be one value.
    let is_wanted = is_current && value.value.len() <= core.hot.value_bytes_max;
    if !is_wanted || read::is_expired(expiry_ms, core.hot.now_ms) || !is_unknown(core, shard, state, &at) {
        return Kept::No;
    }
    if makes_way {
        read::make_way(core, value.bytes());
    }
    if !core.hot.memory.has_room(value.bytes() + 64) {
        return Kept::NoRoom;
    }
    let mut scratch = Vec::new();
    let (area, namespaced) = read::area(at.key, &mut scratch);
    let probe = core.hot.probe(state.0, at.key.group.0 - shard.range.first(), area, namespaced);
    match at.user_key {
        None => core.hot.promote_cell(&probe, value.value, expiry_ms, epoch),
        Some(user_key) => core.hot.promote_entry(&probe, user_key, value.value, expiry_ms, epoch),
    }
    Kept::Yes
}

/// Keeps values of one shard; says how many records and bytes that were.
pub fn keep_all(shard: &Arc<Shard>, values: &[Value<'_>], makes_way: bool) -> (u64, u64) {
    let (mut records, mut bytes) = (0, 0);
    let mut rest = values;
    while !rest.is_empty() {
        let mut core = shard.cell.borrow();
        if shard.is_gone() {
            break;
        }
        core.settle(shard);
        let mut held = 0;
        let mut taken = 0;
        for value in rest.iter().take(AT_ONCE) {
            taken += 1;
            held += value.value.len();
            match keep(&mut core, shard, value, makes_way) {
                Kept::Yes => {
                    records += 1;
                    bytes += value.bytes() as u64;
                }
                // To look for room took some milliseconds inside the gate, and would again for the next.
                Kept::NoRoom if makes_way => return (records, bytes),
                _ => {}
            }
            if held >= BYTES_AT_ONCE {
                break;
            }
        }
        rest = &rest[taken..];
    }
    (records, bytes)
}
