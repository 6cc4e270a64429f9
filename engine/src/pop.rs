//! The front of a map: its first entry, found again and again as it is popped.
//!
//! A queue that is popped from the front leaves tombstones behind, in memory and in the segments. So the writer keeps
//! for each such map a floor below which nothing lives, and loads the next entries of the segments in runs, which memory's
//! records are merged with: finding the first entry costs a descent of the tree, however many were popped before.

use crate::change;
use crate::delete_range;
use crate::hot::record::{ENTRY, Record};
use crate::hot::{FarEntry, Front, FrontEntry, Loaded, Probe};
use crate::key::{ENTRY_MARK, Key, SortKey, prefix_end, push_sort_key};
use crate::merged::{Base, Bounds, Merged};
use crate::packed;
use crate::read::{self, is_expired};
use crate::scan;
use crate::shard::Core;
use crate::states::StateDef;
use crate::write::Halt;

/// How many entries of the segments are loaded at once, at first. Each further run in a row is twice as long: a queue that is
/// popped on and on pays for opening the segments, and for a block that two runs share, ever more seldom.
const RUN_MIN: usize = 128;
/// And at most; each queue's are of another length, above half of this, so that queues that are popped together don't all wait for
/// their next runs at the same time.
const RUN_MAX: usize = 4_096;
/// A run ends where its entries take more of what the store may have than this: one part in so many. Where there are many fronts, before.
const RUN_SHARE: usize = 64;
/// However many there are it may take this, in bytes.
const RUN_BYTES_MIN: usize = 1 << 10;

/// With each run so many records leave memory that lie behind it, at most: some milliseconds.
const SHED_MAX: usize = 8_192;

/// What was taken out of a map, by an operation that may find no memory in its middle and go on.
#[derive(Default)]
pub(crate) struct Popped {
    pub entries: Front,
    /// Up to where what was taken is being deleted.
    begun: Option<Vec<u8>>,
}

/// User key and value.
pub(crate) type Pair = (Vec<u8>, Vec<u8>);

/// The entry with the smallest user key.
pub(crate) fn first(core: &mut Core, def: &StateDef, key: Key<'_>, probe: &Probe<'_>) -> Result<Option<Pair>, Halt> {
    Ok(find_first(core, def, key, probe)?.map(|(first, _)| first))
}

/// The entry with the smallest user key, and whether memory has it from now on.
fn find_first(core: &mut Core, def: &StateDef, key: Key<'_>, probe: &Probe<'_>) -> Result<Option<(Pair, bool)>, Halt> {
    let found = first_in_memory(core, probe);
    if has_all(core, probe) {
        return Ok(found.map(|found| (found, true)));
    }
    let (mut from, mut run_max) = (Vec::new(), RUN_MIN);
    if let Some((root, _)) = core.hot.find_root(probe)
        && let Some(floor) = core.hot.floor(root)
    {
        if reaches(&floor.loaded, found.as_ref()) {
            root.touch(core.hot.arena());
            return Ok(found.map(|found| (found, true)));
        }
        from.clone_from(if let Loaded::Below(end) = &floor.loaded { end } else { &floor.key });
        if floor.loaded != Loaded::Nothing {
            run_max = (2 * floor.run).clamp(RUN_MIN, longest_run(probe));
        }
    }
    loop {
        let mut run = load(core, def, key, probe, &from, run_max)?;
        join_far(core, probe, &from, &mut run);
        let loaded = run.loaded.clone();
        let unkept = remember(core, def, probe, run);
        let found = first_in_memory(core, probe);
        if let Some(unkept) = unkept {
            // So that the next run finds some; last, as what was just loaded may be what leaves.
            read::make_way(core, unkept.1.len());
            let found = found.filter(|found| found.0 < unkept.0).map(|found| (found, true));
            return Ok(found.or(Some((unkept, false))));
        }
        match loaded {
            loaded if reaches(&loaded, found.as_ref()) => return Ok(found.map(|found| (found, true))),
            Loaded::Below(end) => (from, run_max) = (end, (2 * run_max).min(longest_run(probe))),
            Loaded::Nothing | Loaded::All => return Ok(found.map(|found| (found, true))),
        }
    }
}

/// The entry with the smallest user key, which is taken out if it is as `takes` says.
pub(crate) fn take_first(
    core: &mut Core,
    def: &StateDef,
    key: Key<'_>,
    probe: &Probe<'_>,
    mut takes: impl FnMut(&[u8], &[u8]) -> bool,
) -> Result<Option<Pair>, Halt> {
    let Some(((user_key, value), is_kept)) = find_first(core, def, key, probe)? else { return Ok(None) };
    if !takes(&user_key, &value) {
        return Ok(Some((user_key, value)));
    }
    // A tombstone would take what was put far to be made records.
    if is_kept && has_far(core, probe) {
        let behind = [&user_key[..], &[0]].concat();
        if delete_range::front(core, def, key, probe, &behind)? {
            raise(core, probe, &behind);
            return Ok(Some((user_key, value)));
        }
    }
    change::map_delete(core, def, key, probe, &user_key)?;
    raise(core, probe, &user_key);
    Ok(Some((user_key, value)))
}

/// Takes the next entries below `to` out of a map, in order, as many as memory has of its front and as are not longer than `bytes_max`
/// together, each [as it is packed](packed_bytes); false where there are no more behind them. They are hidden on disk as a range: none
/// leaves a tombstone.
pub(crate) fn below(
    core: &mut Core,
    def: &StateDef,
    key: Key<'_>,
    probe: &Probe<'_>,
    (to, bytes_max): (&[u8], usize),
    Popped { entries: popped, begun }: &mut Popped,
) -> Result<bool, Halt> {
    // What is staged is deleted entry by entry: some of these are gone, and out of what is loaded.
    if core.hot.is_unfinished()
        && let Some(end) = begun
        && delete_range::front(core, def, key, probe, end)?
    {
        raise(core, probe, end);
        return Ok(end != to);
    }
    (*begun, _) = (None, popped.clear());
    let first = find_first(core, def, key, probe)?;
    let Some((head, is_kept)) = first.filter(|((user_key, _), _)| user_key.as_slice() < to) else {
        return Ok(false);
    };
    if packed_bytes(&head.0, &head.1) > bytes_max {
        return Ok(true);
    }
    let end = if is_kept { known_up_to(core, probe, to) } else { None };
    if let Some(end) = end {
        let (mut bytes, mut cut) = (0, None);
        ascend(core, probe, |entry| {
            if entry.user_key >= end.as_slice() {
                return false;
            }
            bytes += packed_bytes(entry.user_key, entry.value);
            if bytes > bytes_max {
                cut = Some(entry.user_key.to_vec());
                return false;
            }
            popped.push(FrontEntry { expiry_ms: None, ..entry });
            true
        });
        let end = begun.insert(cut.unwrap_or(end));
        // All that lies below: so the ranges of many calls are one.
        if delete_range::front(core, def, key, probe, end)? {
            raise(core, probe, end);
            return Ok(end != to);
        }
        popped.clear();
    }
    // One at a time: what is out of the map when memory runs out has to be given.
    change::map_delete(core, def, key, probe, &head.0)?;
    raise(core, probe, &head.0);
    popped.push(FrontEntry { user_key: &head.0, value: &head.1, expiry_ms: None });
    Ok(true)
}

/// How long an entry is as bindings have it.
pub(crate) const fn packed_bytes(user_key: &[u8], value: &[u8]) -> usize {
    packed::HEADER_BYTES + user_key.len() + value.len()
}

/// Whether memory has a record of everything in a map.
fn has_all(core: &Core, probe: &Probe<'_>) -> bool {
    (!core.hot.head(probe).is_spilled() || core.hot.is_cleared(probe)) && !has_far(core, probe)
}

fn has_far(core: &Core, probe: &Probe<'_>) -> bool {
    core.hot.find_root(probe).is_some_and(|(root, _)| core.hot.has_far(root))
}

/// How far, up to `to` at most, memory has all of a map's front; `None` where it isn't known to have any.
fn known_up_to(core: &Core, probe: &Probe<'_>, to: &[u8]) -> Option<Vec<u8>> {
    if has_all(core, probe) {
        return Some(to.to_vec());
    }
    let (root, _) = core.hot.find_root(probe)?;
    match &core.hot.floor(root)?.loaded {
        Loaded::Nothing => None,
        Loaded::Below(end) => Some(to.min(end).to_vec()),
        Loaded::All => Some(to.to_vec()),
    }
}

/// Calls `visit` with the live entries that memory has from the floor on, records and those of the front, in order, until it says
/// false.
fn ascend(core: &Core, probe: &Probe<'_>, mut visit: impl FnMut(FrontEntry<'_>) -> bool) {
    let Some((root, _)) = core.hot.find_root(probe) else { return };
    let floor = core.hot.floor(root);
    let mut front = floor.map(|floor| floor.front.iter()).unwrap_or_default().peekable();
    let (arena, now_ms) = (core.hot.arena(), core.hot.now_ms);
    let mut goes_on = true;
    core.hot.tree(root).ascend(arena, floor.map(|floor| floor.key.as_slice()), |at| {
        let record = Record::load(arena, at);
        let user_key = record.area(arena);
        while goes_on && let Some(entry) = front.next_if(|entry| entry.user_key < user_key) {
            goes_on = is_expired(entry.expiry_ms, now_ms) || visit(entry);
        }
        if goes_on {
            // The record counts.
            front.next_if(|entry| entry.user_key == user_key);
            let expiry_ms = record.expiry_ms(arena);
            let is_live = record.kind() == ENTRY && !is_expired(expiry_ms, now_ms);
            goes_on = !is_live || visit(FrontEntry { user_key, value: core.hot.value_of(record), expiry_ms });
        }
        goes_on
    });
    while goes_on && let Some(entry) = front.next() {
        goes_on = is_expired(entry.expiry_ms, now_ms) || visit(entry);
    }
}

/// Nothing lives below `user_key` any more.
pub(crate) fn raise(core: &mut Core, probe: &Probe<'_>, user_key: &[u8]) {
    if let Some((root, _)) = core.hot.find_root(probe) {
        core.hot.raise_floor(root, user_key);
    }
}

/// See [`RUN_MAX`].
const fn longest_run(probe: &Probe<'_>) -> usize {
    RUN_MAX / 2 + probe.hash as usize % (RUN_MAX / 2)
}

/// Whether the first entry in memory is the first of all, when so much of the segments is in memory.
fn reaches(loaded: &Loaded, found: Option<&Pair>) -> bool {
    match loaded {
        Loaded::Nothing => false,
        Loaded::Below(end) => found.is_some_and(|(user_key, _)| user_key < end),
        Loaded::All => true,
    }
}

/// Notes with the map's container how far its front was loaded, and what of it. Where there is no room for that it is loaded again; then
/// the first entry of it is given that memory has no record of, and so is one that is too long to be kept.
fn remember(core: &mut Core, def: &StateDef, probe: &Probe<'_>, run: Run) -> Option<Pair> {
    let Run { loaded, count, front, unkept, passed } = run;
    let root = match core.hot.find_root(probe) {
        Some((root, _)) => Some(root),
        // A map that isn't there: the filters say so as quickly as a container would.
        None if !passed => return unkept,
        None => core.hot.root_or_new(probe).ok(),
    };
    let is_unknown = |entry: &FrontEntry<'_>| !has_record(core, probe, entry.user_key);
    let first = front.iter().find(is_unknown).map(|entry| (entry.user_key.to_vec(), entry.value.to_vec()));
    let far = def.ttl.is_none();
    let is_kept = root.is_some_and(|root| core.hot.set_loaded(root, loaded, count, front, far));
    if is_kept && let Some(root) = root {
        core.counts.evicted_bytes += core.hot.shed_tail(probe, root, SHED_MAX) as u64;
    }
    if is_kept { unkept } else { first.or(unkept) }
}

/// Adds to a run what was put far, from `from` on, as far as the run goes. It ends earlier where that is much.
fn join_far(core: &Core, probe: &Probe<'_>, from: &[u8], run: &mut Run) {
    let Some((root, _)) = core.hot.find_root(probe).filter(|(root, _)| core.hot.has_far(*root)) else { return };
    let to = if let Loaded::Below(end) = &run.loaded { Some(end.as_slice()) } else { None };
    let (entries, is_cut) = core.hot.far_between(probe, root, (from, to), RUN_MAX);
    let Some(last) = entries.last() else { return };
    run.passed = true;
    let mut end = is_cut.then(|| [last.entry.user_key, &[0]].concat());
    let bytes_max = run_bytes_max(core, probe);
    let (mut joined, mut of_disk) = (Front::default(), run.front.iter().peekable());
    for FarEntry { entry, .. } in &entries {
        while let Some(older) = of_disk.next_if(|older| older.user_key < entry.user_key) {
            joined.push(older);
        }
        if joined.len_bytes() > bytes_max {
            end = Some(entry.user_key.to_vec());
            break;
        }
        of_disk.next_if(|older| older.user_key == entry.user_key);
        joined.push(*entry);
    }
    let is_inside = |older: &FrontEntry<'_>| end.as_ref().is_none_or(|end| older.user_key < end.as_slice());
    of_disk.take_while(is_inside).for_each(|older| joined.push(older));
    joined.fit();
    run.front = joined;
    if let Some(end) = end {
        // What was too long to be kept lies behind it.
        (run.loaded, run.unkept) = (Loaded::Below(end), None);
    }
}

fn first_in_memory(core: &Core, probe: &Probe<'_>) -> Option<Pair> {
    let mut found = None;
    ascend(core, probe, |entry| {
        found = Some((entry.user_key.to_vec(), entry.value.to_vec()));
        false
    });
    found
}

/// What [`load`] did.
struct Run {
    loaded: Loaded,
    /// How many keys of the segments it went over.
    count: usize,
    /// What was found.
    front: Front,
    /// The entry at the end of what was loaded, if nothing was and it is too long to be kept.
    unkept: Option<Pair>,
    /// Whether the segments had any keys there, deleted ones too.
    passed: bool,
}

/// Reads the next entries of the segments, from `from` upwards, as many as there had better be.
fn load(
    core: &mut Core,
    def: &StateDef,
    key: Key<'_>,
    probe: &Probe<'_>,
    from: &[u8],
    run_max: usize,
) -> Result<Run, Halt> {
    let mut container = Vec::with_capacity(10 + key.key.len() + key.namespace.len());
    push_sort_key(&mut container, def.id, key);
    let hidden = core.hot.hidden(probe);
    let below = scan::uncleared(core.view.version.slice_of(key.group), def, &container, hidden)?;
    container.push(ENTRY_MARK);
    let bounds = Bounds { from: [&container[..], from].concat(), to: prefix_end(&container), reverse: false };
    // The rest is for what was put far.
    let (now_ms, bytes_max) = (core.hot.now_ms, run_bytes_max(core, probe) / 4 * 3);
    let mut merged = if run_max > RUN_MIN {
        Merged::expecting(&below.layers, bounds, now_ms, below.masks, (run_max, bytes_max))?
    } else {
        // It may be of a few entries, in a block that the cache has.
        Merged::masked(&below.layers, bounds, now_ms, below.masks)?
    };
    let (mut count, mut front) = (0, Front::default());
    let loaded = loop {
        let Some(resolved) = merged.next()? else { break Loaded::All };
        let Some(user_key) = SortKey::decode(&resolved.sort_key).and_then(|key| key.user_key) else { continue };
        if resolved.base == Base::Value {
            let entry = FrontEntry { user_key, value: &resolved.value, expiry_ms: resolved.expiry_ms };
            let is_too_long = front.len_bytes() + entry.bytes() > bytes_max;
            if is_too_long && !front.is_empty() {
                break Loaded::Below(user_key.to_vec());
            }
            if is_too_long && !is_superseded(core, probe, user_key) {
                let unkept = Some((user_key.to_vec(), resolved.value.clone()));
                return Ok(Run { loaded: Loaded::Below(user_key.to_vec()), count, front, unkept, passed: true });
            }
            if !is_too_long {
                front.push(entry);
            }
        }
        count += 1;
        if count == run_max {
            break Loaded::Below([user_key, &[0]].concat());
        }
    };
    front.fit();
    let passed = count > 0 || loaded != Loaded::All;
    Ok(Run { loaded, count, front, unkept: None, passed })
}

/// How many bytes of entries are loaded at once, at most.
fn run_bytes_max(core: &Core, probe: &Probe<'_>) -> usize {
    let root = core.hot.find_root(probe).map(|(root, _)| root);
    let fair_bytes = core.hot.front_bytes_max(root).max(RUN_BYTES_MIN);
    fair_bytes.min(core.hot.memory.share().limit_bytes() / RUN_SHARE)
}

/// Whether memory has anything newer of an entry than the segments have.
fn is_superseded(core: &Core, probe: &Probe<'_>, user_key: &[u8]) -> bool {
    let far = |(root, _)| core.hot.far_of(probe, root, user_key).is_some();
    has_record(core, probe, user_key) || core.hot.find_root(probe).is_some_and(far)
}

/// Whether memory has a record of an entry, be it that it is deleted.
fn has_record(core: &Core, probe: &Probe<'_>, user_key: &[u8]) -> bool {
    core.hot.find_root(probe).is_some_and(|(root, _)| core.hot.find_entry(probe, root, user_key).is_some())
}
