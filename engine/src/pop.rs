//! The front of a map: its first entry, found again and again as it is popped.
//!
//! A queue that is popped from the front leaves tombstones behind, in memory and in the segments. So the writer keeps
//! for each such map a floor below which nothing lives, and loads the next entries of the segments in runs: finding
//! the first entry costs a descent of the tree, however many were popped before.

use crate::change;
use crate::delete_range;
use crate::hot::record::{ENTRY, Record};
use crate::hot::{Loaded, Probe};
use crate::key::{ENTRY_MARK, Key, SortKey, prefix_end, push_sort_key};
use crate::merged::{Base, Bounds, Merged};
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
const RUN_MAX: usize = 1_024;
/// A run ends where its entries take more of the budget than this: one part in so many.
const RUN_SHARE: usize = 64;

/// User key and value.
pub(crate) type Pair = (Vec<u8>, Vec<u8>);

/// The entry with the smallest user key.
pub(crate) fn first(core: &mut Core, def: &StateDef, key: Key<'_>, probe: &Probe<'_>) -> Result<Option<Pair>, Halt> {
    let found = first_in_memory(core, probe);
    if !core.hot.head(probe).is_spilled() || core.hot.is_cleared(probe) {
        return Ok(found);
    }
    let (mut from, mut run_max) = (Vec::new(), RUN_MIN);
    if let Some((root, _)) = core.hot.find_root(probe)
        && let Some(floor) = core.hot.floor(root)
    {
        if reaches(&floor.loaded, found.as_ref()) {
            root.touch(core.hot.arena());
            return Ok(found);
        }
        from.clone_from(if let Loaded::Below(end) = &floor.loaded { end } else { &floor.key });
        if floor.loaded != Loaded::Nothing {
            run_max = (2 * floor.run).clamp(RUN_MIN, longest_run(probe));
        }
    }
    loop {
        let run = load(core, def, key, probe, &from, run_max)?;
        let found = first_in_memory(core, probe);
        remember(core, probe, &run);
        if let Some(unkept) = run.unkept {
            // So that the next run finds some; last, as what was just loaded may be what leaves.
            read::make_way(core, unkept.1.len());
            return Ok(found.filter(|found| found.0 < unkept.0).or(Some(unkept)));
        }
        match run.loaded {
            loaded if reaches(&loaded, found.as_ref()) => return Ok(found),
            Loaded::Below(end) => (from, run_max) = (end, (2 * run_max).min(longest_run(probe))),
            Loaded::Nothing | Loaded::All => return Ok(found),
        }
    }
}

/// Takes the next entries below `to` out of a map, in order, as many as memory has of its front; false, with none, where there
/// are no more. They are hidden on disk as a range: none leaves a tombstone.
pub(crate) fn below(
    core: &mut Core,
    def: &StateDef,
    key: Key<'_>,
    probe: &Probe<'_>,
    to: &[u8],
    popped: &mut Vec<Pair>,
) -> Result<bool, Halt> {
    popped.clear();
    let Some(head) = first(core, def, key, probe)?.filter(|(user_key, _)| user_key.as_slice() < to) else {
        return Ok(false);
    };
    let end = if is_in_memory(core, probe, &head.0) { known_up_to(core, probe, to) } else { None };
    let Some(end) = end else {
        change::map_delete(core, def, key, probe, &head.0)?;
        raise(core, probe, &head.0);
        popped.push(head);
        return Ok(true);
    };
    collect(core, probe, &end, popped);
    // All that lies below: so the ranges of many calls are one.
    if !delete_range::at_once(core, def, key, probe, (&[], Some(&end)))? {
        for (user_key, _) in &*popped {
            change::map_delete(core, def, key, probe, user_key)?;
        }
    }
    raise(core, probe, &end);
    Ok(true)
}

/// How far, up to `to` at most, memory has all of a map's front; `None` where it isn't known to have any.
fn known_up_to(core: &Core, probe: &Probe<'_>, to: &[u8]) -> Option<Vec<u8>> {
    if !core.hot.head(probe).is_spilled() || core.hot.is_cleared(probe) {
        return Some(to.to_vec());
    }
    let (root, _) = core.hot.find_root(probe)?;
    match &core.hot.floor(root)?.loaded {
        Loaded::Nothing => None,
        Loaded::Below(end) => Some(to.min(end).to_vec()),
        Loaded::All => Some(to.to_vec()),
    }
}

/// The live entries in memory from the floor up to `end`.
fn collect(core: &Core, probe: &Probe<'_>, end: &[u8], out: &mut Vec<Pair>) {
    let Some((root, _)) = core.hot.find_root(probe) else { return };
    let from = core.hot.floor(root).map(|floor| floor.key.as_slice());
    let arena = core.hot.arena();
    core.hot.tree(root).ascend(arena, from, |at| {
        let record = Record::load(arena, at);
        let inside = record.area(arena) < end;
        if inside && record.kind() == ENTRY && !is_expired(record.expiry_ms(arena), core.hot.now_ms) {
            out.push((record.area(arena).to_vec(), core.hot.value_of(record).to_vec()));
        }
        inside
    });
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

/// Notes in the map's container how far its front was loaded. If there is no room for that it is loaded again.
fn remember(core: &mut Core, probe: &Probe<'_>, run: &Run) {
    let root = match core.hot.find_root(probe) {
        Some((root, _)) => root,
        // A map that isn't there: the filters say so as quickly as a container would.
        None if !run.passed => return,
        None => match core.hot.root_or_new(probe) {
            Ok(root) => root,
            Err(_) => return,
        },
    };
    core.hot.set_loaded(root, run.loaded.clone(), run.count);
}

fn first_in_memory(core: &Core, probe: &Probe<'_>) -> Option<Pair> {
    let (root, _) = core.hot.find_root(probe)?;
    let from = core.hot.floor(root).map(|floor| floor.key.as_slice());
    let arena = core.hot.arena();
    let mut found = None;
    core.hot.tree(root).ascend(arena, from, |at| {
        let record = Record::load(arena, at);
        if record.kind() == ENTRY && !is_expired(record.expiry_ms(arena), core.hot.now_ms) {
            found = Some((record.area(arena).to_vec(), core.hot.value_of(record).to_vec()));
        }
        found.is_none()
    });
    found
}

/// What [`load`] did.
struct Run {
    loaded: Loaded,
    /// How many keys of the segments it went over.
    count: usize,
    /// The entry at the end of what was loaded, if it is for want of memory that it ends there.
    unkept: Option<Pair>,
    /// Whether the segments had any keys there, deleted ones too.
    passed: bool,
}

/// Brings the next entries of the segments into memory, from `from` upwards, as many as there is room for.
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
    let mut merged = Merged::masked(&below.layers, bounds, core.hot.now_ms, below.masks)?;
    let bytes_max = core.hot.arena().budget_bytes() / RUN_SHARE;
    let (mut count, mut bytes) = (0, 0);
    while let Some(resolved) = merged.next()? {
        let Some(user_key) = SortKey::decode(&resolved.sort_key).and_then(|key| key.user_key) else { continue };
        if resolved.base == Base::Value && !is_in_memory(core, probe, user_key) {
            core.hot.promote_entry(probe, user_key, &resolved.value, resolved.expiry_ms, resolved.epoch.0);
            if !is_in_memory(core, probe, user_key) {
                let unkept = Some((user_key.to_vec(), resolved.value.clone()));
                return Ok(Run { loaded: Loaded::Below(user_key.to_vec()), count, unkept, passed: true });
            }
            bytes += user_key.len() + resolved.value.len();
        }
        count += 1;
        if count == run_max || bytes >= bytes_max {
            return Ok(Run { loaded: Loaded::Below([user_key, &[0]].concat()), count, unkept: None, passed: true });
        }
    }
    Ok(Run { loaded: Loaded::All, count, unkept: None, passed: count > 0 })
}

fn is_in_memory(core: &Core, probe: &Probe<'_>, user_key: &[u8]) -> bool {
    core.hot.find_root(probe).is_some_and(|(root, _)| core.hot.find_entry(probe, root, user_key).is_some())
}
