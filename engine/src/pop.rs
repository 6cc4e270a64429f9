//! The front of a map: its first entry, found again and again as it is popped.
//!
//! A queue that is popped from the front leaves tombstones behind, in memory and in the segments. So the writer keeps
//! for each such map a floor below which nothing lives, and loads the next entries of the segments in runs: finding
//! the first entry costs a descent of the tree, however many were popped before.

use crate::hot::record::{ENTRY, Record};
use crate::hot::{Loaded, OutOfMemory, Probe};
use crate::key::{ENTRY_MARK, Key, SortKey, prefix_end, push_sort_key};
use crate::merged::{Base, Bounds, Merged};
use crate::read::is_expired;
use crate::scan;
use crate::shard::Core;
use crate::states::StateDef;
use crate::write::Halt;

/// How many entries of the segments are loaded at once.
const RUN: usize = 128;

/// User key and value.
pub(crate) type Pair = (Vec<u8>, Vec<u8>);

/// The entry with the smallest user key.
pub(crate) fn first(core: &mut Core, def: &StateDef, key: Key<'_>, probe: &Probe<'_>) -> Result<Option<Pair>, Halt> {
    if !core.hot.head(probe).is_spilled() || core.hot.is_cleared(probe) {
        return Ok(first_in_memory(core, probe));
    }
    loop {
        let found = first_in_memory(core, probe);
        let root = core.hot.root_or_new(probe)?;
        let floor = core.hot.floor(root).cloned().unwrap_or_default();
        let reached = match (&floor.loaded, &found) {
            (Loaded::Nothing, _) => false,
            (Loaded::All, _) => true,
            (Loaded::Below(end), Some((user_key, _))) => user_key < end,
            (Loaded::Below(_), None) => false,
        };
        if reached {
            return Ok(found);
        }
        let from = match floor.loaded {
            Loaded::Below(end) => end,
            _ => floor.key,
        };
        let loaded = load(core, def, key, probe, &from)?;
        let root = core.hot.root_or_new(probe)?;
        core.hot.set_loaded(root, loaded);
    }
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

/// Brings the next entries of the segments into memory, from `from` upwards; says how far.
fn load(core: &mut Core, def: &StateDef, key: Key<'_>, probe: &Probe<'_>, from: &[u8]) -> Result<Loaded, Halt> {
    let mut container = Vec::with_capacity(10 + key.key.len() + key.namespace.len());
    push_sort_key(&mut container, def.id, key);
    let layers = scan::uncleared(core.view.version.slice_of(key.group), def, &container)?;
    container.push(ENTRY_MARK);
    let bounds = Bounds { from: [&container[..], from].concat(), to: prefix_end(&container), reverse: false };
    let mut merged = Merged::new(&layers, bounds, core.hot.now_ms)?;
    let root = core.hot.root_or_new(probe)?;
    let mut count = 0;
    while let Some(resolved) = merged.next()? {
        let Some(user_key) = SortKey::decode(&resolved.sort_key).and_then(|key| key.user_key) else { continue };
        if resolved.base == Base::Value && core.hot.find_entry(probe, root, user_key).is_none() {
            core.hot.promote_entry(probe, user_key, &resolved.value, resolved.expiry_ms, resolved.epoch.0);
            if core.hot.find_entry(probe, root, user_key).is_none() {
                return Err(OutOfMemory { bytes: resolved.value.len() }.into());
            }
        }
        count += 1;
        if count == RUN {
            return Ok(Loaded::Below([user_key, &[0]].concat()));
        }
    }
    Ok(Loaded::All)
}
