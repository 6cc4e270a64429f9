//! Reading: from memory, and from the segments what memory doesn't have.

use crate::changelog::record::Change;
use crate::error::Error;
use crate::hot::cell::Below;
use crate::hot::record::{ENTRY, Record, TOMBSTONE, VALUE};
use crate::hot::table::Place;
use crate::hot::{Hot, OutOfMemory, Probe};
use crate::ids::KeyGroupRange;
use crate::key::{KEY_BYTES_MAX, Key, USER_KEY_BYTES_MAX, push_entry_key, push_sort_key};
use crate::metrics::OwnerCounts;
use crate::shard::{Core, View};
use crate::stack::{Found, Lookup};
use crate::states::{StateDef, StateKind, Ttl, frames};
use crate::write::Halt;

/// Builds the key area of a key in `scratch`, where it has a namespace; else the key is its own.
#[inline]
pub fn area<'a>(key: Key<'a>, scratch: &'a mut Vec<u8>) -> (&'a [u8], bool) {
    if key.namespace.is_empty() {
        return (key.key, false);
    }
    scratch.clear();
    scratch.extend_from_slice(key.key);
    scratch.extend_from_slice(key.namespace);
    scratch.extend_from_slice(&(key.namespace.len() as u16).to_le_bytes());
    (scratch, true)
}

/// Checks a key's lengths and key group.
#[inline]
pub fn check_key(key: Key<'_>, range: KeyGroupRange) -> Result<u16, Error> {
    let bytes = key.key.len() + key.namespace.len();
    if bytes > KEY_BYTES_MAX {
        return Err(Error::TooLong { what: "key and namespace", bytes, max_bytes: KEY_BYTES_MAX });
    }
    if !range.contains(key.group) {
        return Err(Error::OutsideRange { group: key.group, range });
    }
    Ok(key.group.0 - range.first())
}

/// Checks a user key's length.
#[inline]
pub fn check_user_key(user_key: &[u8]) -> Result<(), Error> {
    let bytes = user_key.len();
    if bytes > USER_KEY_BYTES_MAX {
        return Err(Error::TooLong { what: "user key", bytes, max_bytes: USER_KEY_BYTES_MAX });
    }
    Ok(())
}

/// The lookup of a cell in a view's segments.
pub fn cell_lookup(view: &View, def: &StateDef, key: Key<'_>, now_ms: u64) -> Lookup {
    let mut sort_key = Vec::with_capacity(10 + key.key.len() + key.namespace.len());
    push_sort_key(&mut sort_key, def.id, key);
    Lookup::new(view.slice_of(key.group), def.id, sort_key, 0, now_ms)
}

/// The lookup of a map entry in a view's segments.
pub fn entry_lookup(view: &View, def: &StateDef, key: Key<'_>, user_key: &[u8], now_ms: u64) -> Lookup {
    let mut sort_key = Vec::with_capacity(11 + key.key.len() + key.namespace.len() + user_key.len());
    push_entry_key(&mut sort_key, def.id, key, user_key);
    let container = sort_key.len() - user_key.len() - 1;
    Lookup::new(view.slice_of(key.group), def.id, sort_key, container, now_ms)
}

/// Runs a lookup to its end, a block at a time; counts the blocks that it looked into.
pub fn finish(mut lookup: Lookup, counts: &mut OwnerCounts) -> Result<Found, Error> {
    while let Some((segment, block)) = lookup.next()? {
        let block = segment.block(block)?;
        counts.blocks_read += 1;
        lookup.offer(&segment, &block);
    }
    counts.filter_probes += lookup.filter_probes;
    Ok(lookup.finish())
}

/// When a value written at `now_ms` expires.
#[inline]
pub fn expiry_of(ttl: Option<Ttl>, now_ms: u64) -> Option<u64> {
    ttl.map(|ttl| now_ms.saturating_add(ttl.duration_ms))
}

/// Whether a value with this expiry is gone at `now_ms`.
#[inline]
pub fn is_expired(expiry_ms: Option<u64>, now_ms: u64) -> bool {
    expiry_ms.is_some_and(|at| at <= now_ms)
}

/// Whether a read has to start a value's time anew: not where that moves it by no more than a sixteenth.
pub fn refreshed(ttl: Option<Ttl>, expiry_ms: Option<u64>, now_ms: u64) -> Option<u64> {
    let ttl = ttl.filter(|ttl| ttl.refresh_on_read)?;
    let wanted = now_ms.saturating_add(ttl.duration_ms);
    (wanted > expiry_ms?.saturating_add(ttl.duration_ms / 16)).then_some(wanted)
}

/// What memory knows of a cell.
#[derive(Clone, Copy, Debug)]
pub enum Known {
    /// Its full value.
    Value(Record),
    /// That there is none: deleted, expired, or never there.
    Absent,
    /// Nothing, or only a part: the segments have to be asked.
    Unknown,
}

/// What memory knows of a value state's cell.
#[inline]
pub fn know(hot: &Hot, probe: &Probe<'_>, found: Option<(Record, Place)>) -> Known {
    match found {
        Some((record, _)) if record.kind() == VALUE => {
            if is_expired(record.expiry_ms(hot.arena()), hot.now_ms) {
                Known::Absent
            } else {
                Known::Value(record)
            }
        }
        Some((record, _)) if record.kind() == TOMBSTONE => Known::Absent,
        Some(_) => Known::Unknown,
        None if hot.head(probe).is_spilled() => Known::Unknown,
        None => Known::Absent,
    }
}

/// What the segments may have of a cell that memory doesn't: asked of the filters alone, and of those only that are here:
/// a write doesn't wait for a host.
pub fn below_cell(core: &mut Core, def: &StateDef, key: Key<'_>, probe: &Probe<'_>) -> Result<Below, Halt> {
    if !core.hot.head(probe).is_spilled() {
        return Ok(Below::Nothing);
    }
    let mut lookup = cell_lookup(&core.view, def, key, 0);
    if lookup.slice().waits_for_host() {
        return Ok(Below::Perhaps);
    }
    Ok(if lookup.next()?.is_some() { Below::Perhaps } else { Below::Nothing })
}

/// The same for a map entry.
pub fn below_entry(
    core: &mut Core,
    def: &StateDef,
    key: Key<'_>,
    probe: &Probe<'_>,
    user_key: &[u8],
) -> Result<Below, Halt> {
    if !core.hot.head(probe).is_spilled() || core.hot.is_hidden(probe, user_key) {
        return Ok(Below::Nothing);
    }
    let mut lookup = entry_lookup(&core.view, def, key, user_key, 0);
    if lookup.slice().waits_for_host() {
        return Ok(Below::Perhaps);
    }
    Ok(if lookup.next()?.is_some() { Below::Perhaps } else { Below::Nothing })
}

/// Whether the segments may have anything of a whole map.
pub fn below_map(core: &Core, def: &StateDef, key: Key<'_>, probe: &Probe<'_>) -> Result<Below, Halt> {
    if !core.hot.head(probe).is_spilled() || core.hot.is_cleared(probe) {
        return Ok(Below::Nothing);
    }
    let slice = core.view.version.slice_of(key.group);
    if slice.waits_for_host() {
        return Ok(Below::Perhaps);
    }
    let mut container = Vec::with_capacity(10 + key.key.len() + key.namespace.len());
    push_sort_key(&mut container, def.id, key);
    for layer in &slice.layers {
        let Some(state) = layer.map.to_segment(def.id) else { continue };
        container[2..4].copy_from_slice(&state.0.to_be_bytes());
        // The filter holds the container's key of every map that has entries, though no record of that key is there:
        // so a first key above it says nothing, the first entry may be that.
        if layer.segment.meta().last_key < container {
            continue;
        }
        let segment = layer.segment.get()?;
        if segment.may_contain(segment.hash(&container)) {
            return Ok(Below::Perhaps);
        }
    }
    Ok(Below::Nothing)
}

/// Reads a value state's cell: gives its value to `use_it`. Refreshes it where the state says so.
pub fn value<R>(
    core: &mut Core,
    def: &StateDef,
    key: Key<'_>,
    probe: &Probe<'_>,
    use_it: impl FnOnce(Option<&[u8]>) -> R,
) -> Result<R, Halt> {
    let found = core.hot.find_cell(probe);
    match know(&core.hot, probe, found) {
        Known::Absent => {
            core.counts.hits += 1;
            Ok(use_it(None))
        }
        Known::Value(record) => {
            core.counts.hits += 1;
            record.touch(core.hot.arena());
            if def.ttl.is_some() {
                refresh_cell(core, def, key, probe, record)?;
                // Refreshing may have moved the record.
                let record = core.hot.find_cell(probe).map_or(record, |(record, _)| record);
                return Ok(use_it(Some(core.hot.value_of(record))));
            }
            Ok(use_it(Some(core.hot.value_of(record))))
        }
        Known::Unknown => {
            let now_ms = core.hot.now_ms;
            core.counts.cold_lookups += 1;
            let lookup = cell_lookup(&core.view, def, key, now_ms);
            let cold = finish(lookup, &mut core.counts)?;
            let Some(value) = cold.base else { return Ok(use_it(None)) };
            keep_cell(core, def, key, probe, &value, (cold.expiry_ms, cold.epoch.0))?;
            Ok(use_it(Some(&value)))
        }
    }
}

/// What eviction frees to make room for a record that was read, in bytes.
const EVICT_BYTES: usize = 128 << 10;
/// How far the clock's hand goes for it: past so many empty tables, or a 64th as many pages. Where there are many tables
/// with little in them, a round of the hand would take longer than the read.
const EVICT_STEPS: usize = 4096;

/// Makes room for a record that was read from the segments: were what is read not kept while memory is full, the same
/// would be read again and again, and what was used long ago would stay. Only where no record is held on to.
pub fn make_way(core: &mut Core, bytes: usize) {
    if !core.hot.memory.has_room(bytes + 48) {
        core.counts.evicted_bytes += core.hot.evict_within(EVICT_STEPS, EVICT_BYTES) as u64;
    }
}

/// Keeps a value that was read from the segments and that memory has nothing of: clean, or changed where the read
/// starts its time anew.
pub fn keep_cell(
    core: &mut Core,
    def: &StateDef,
    key: Key<'_>,
    probe: &Probe<'_>,
    value: &[u8],
    (expiry_ms, epoch): (Option<u64>, u32),
) -> Result<(), Halt> {
    make_way(core, probe.area.len() + value.len());
    match refreshed(def.ttl, expiry_ms, core.hot.now_ms) {
        None => core.hot.promote_cell(probe, value, expiry_ms, epoch),
        wanted => {
            core.hot.put_cell(probe, None, value, wanted, Below::Perhaps)?;
            core.log(def.id, key, Change::Touch, wanted);
        }
    }
    Ok(())
}

fn refresh_cell(core: &mut Core, def: &StateDef, key: Key<'_>, probe: &Probe<'_>, record: Record) -> Result<(), Halt> {
    let expiry_ms = record.expiry_ms(core.hot.arena());
    let Some(wanted) = refreshed(def.ttl, expiry_ms, core.hot.now_ms) else { return Ok(()) };
    let value = core.hot.value_of(record).to_vec();
    let found = core.hot.find_cell(probe);
    core.hot.put_cell(probe, found, &value, Some(wanted), Below::Perhaps)?;
    core.log(def.id, key, Change::Touch, Some(wanted));
    Ok(())
}

/// Reads a merging state's cell. Refreshes it where the state says so.
pub fn merged(core: &mut Core, def: &StateDef, key: Key<'_>, probe: &Probe<'_>) -> Result<Option<Vec<u8>>, Halt> {
    let value = folded(core, def, key, probe)?;
    let Some(read) = value.as_deref().filter(|_| def.ttl.is_some_and(|ttl| ttl.refresh_on_read)) else {
        return Ok(value);
    };
    // Memory has it now, unless there was no room: then it is read again when there is.
    let found = core.hot.find_cell(probe);
    let Some((record, _)) = found else { return Err(OutOfMemory { bytes: read.len() }.into()) };
    let expiry_ms = record.expiry_ms(core.hot.arena());
    if let wanted @ Some(_) = refreshed(def.ttl, expiry_ms, core.hot.now_ms) {
        core.hot.put_cell(probe, found, read, wanted, Below::Perhaps)?;
        core.log(def.id, key, Change::Touch, wanted);
    }
    Ok(value)
}

/// Reads a list's or merging state's cell: its folded value, `None` where there is nothing. [`Error::TooLong`] where it has become longer
/// than a value may be.
pub fn folded(core: &mut Core, def: &StateDef, key: Key<'_>, probe: &Probe<'_>) -> Result<Option<Vec<u8>>, Halt> {
    let (now_ms, max_bytes) = (core.hot.now_ms, core.hot.value_bytes_max);
    let found = core.hot.find_cell(probe);
    let chunks = match found {
        None if !core.hot.head(probe).is_spilled() => return Ok(None),
        None => Default::default(),
        Some((head, _)) => {
            head.touch(core.hot.arena());
            core.hot.chunks(head)
        }
    };
    let live = |core: &Core, record: &Record| {
        def.kind == StateKind::List || !is_expired(record.expiry_ms(core.hot.arena()), now_ms)
    };
    let mut base = None;
    if chunks.complete {
        core.counts.hits += 1;
    } else {
        core.counts.cold_lookups += 1;
        let lookup = cell_lookup(&core.view, def, key, now_ms);
        let cold = finish(lookup, &mut core.counts)?;
        if !cold.is_absent() {
            let operands = cold.operands.iter().rev().map(Vec::as_slice);
            let value = def.fold_within(cold.base.as_deref(), operands, now_ms, max_bytes)?;
            let expiry_ms = if def.kind == StateKind::List { None } else { cold.expiry_ms };
            if found.is_none() {
                make_way(core, probe.area.len() + value.len());
            }
            core.hot.complete_chain(probe, found, &value, expiry_ms, cold.epoch.0);
            base = Some(value);
        } else if found.is_none() {
            return Ok(None);
        }
    }
    let parts: Vec<Record> = chunks.records.iter().rev().copied().filter(|record| live(core, record)).collect();
    if parts.is_empty() && base.is_none() {
        return Ok(None);
    }
    let operands = parts.iter().map(|&record| core.hot.value_of(record));
    let value = def.fold_within(base.as_deref(), operands, now_ms, max_bytes)?;
    Ok(if def.kind == StateKind::List && value.is_empty() { None } else { Some(value) })
}

/// Gives the elements of a list to `use_it`, in the order of their appending.
pub fn list(
    core: &mut Core,
    def: &StateDef,
    key: Key<'_>,
    probe: &Probe<'_>,
    use_it: &mut impl FnMut(&[u8]),
) -> Result<(), Halt> {
    let now_ms = core.hot.now_ms;
    let mut give = |bytes: &[u8]| {
        for (expiry_ms, element) in frames(bytes, def.ttl.is_some()) {
            if !is_expired(expiry_ms, now_ms) {
                use_it(element);
            }
        }
    };
    match core.hot.find_cell(probe) {
        Some((head, _)) if Hot::is_whole(head) => {
            core.counts.hits += 1;
            head.touch(core.hot.arena());
            give(core.hot.value_of(head));
        }
        _ => give(folded(core, def, key, probe)?.as_deref().unwrap_or_default()),
    }
    Ok(())
}

/// Reads a map entry: gives its value to `use_it`. Refreshes it where the state says so.
pub fn entry<R>(
    core: &mut Core,
    def: &StateDef,
    key: Key<'_>,
    probe: &Probe<'_>,
    user_key: &[u8],
    use_it: impl FnOnce(Option<&[u8]>) -> R,
) -> Result<R, Halt> {
    core.hot.spread(probe)?;
    let root = core.hot.find_root(probe).map(|(root, _)| root);
    let found = root.and_then(|root| core.hot.find_entry(probe, root, user_key));
    if let Some((record, _)) = found {
        core.counts.hits += 1;
        let expiry_ms = record.expiry_ms(core.hot.arena());
        if record.kind() != ENTRY || is_expired(expiry_ms, core.hot.now_ms) {
            return Ok(use_it(None));
        }
        record.touch(core.hot.arena());
        if let (Some(wanted), Some(root)) = (refreshed(def.ttl, expiry_ms, core.hot.now_ms), root) {
            let value = core.hot.value_of(record).to_vec();
            core.hot.put_entry(probe, root, found, user_key, &value, Some(wanted), Below::Perhaps)?;
            core.log(def.id, key, Change::MapTouch(user_key), Some(wanted));
            return Ok(use_it(Some(&value)));
        }
        return Ok(use_it(Some(core.hot.value_of(record))));
    }
    if !core.hot.head(probe).is_spilled() || core.hot.is_hidden(probe, user_key) {
        core.counts.hits += 1;
        return Ok(use_it(None));
    }
    core.counts.cold_lookups += 1;
    let lookup = entry_lookup(&core.view, def, key, user_key, core.hot.now_ms);
    let cold = finish(lookup, &mut core.counts)?;
    let Some(value) = cold.base else { return Ok(use_it(None)) };
    keep_entry(core, def, key, probe, (user_key, &value), (cold.expiry_ms, cold.epoch.0))?;
    Ok(use_it(Some(&value)))
}

/// Keeps an entry that was read from the segments and that memory has nothing of, as [`keep_cell`] does a value.
pub fn keep_entry(
    core: &mut Core,
    def: &StateDef,
    key: Key<'_>,
    probe: &Probe<'_>,
    (user_key, value): (&[u8], &[u8]),
    (expiry_ms, epoch): (Option<u64>, u32),
) -> Result<(), Halt> {
    make_way(core, user_key.len() + value.len());
    match refreshed(def.ttl, expiry_ms, core.hot.now_ms) {
        None => core.hot.promote_entry(probe, user_key, value, expiry_ms, epoch),
        wanted => {
            let root = core.hot.root_or_new(probe)?;
            core.hot.put_entry(probe, root, None, user_key, value, wanted, Below::Perhaps)?;
            core.log(def.id, key, Change::MapTouch(user_key), wanted);
        }
    }
    Ok(())
}
