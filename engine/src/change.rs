//! Changing one key: what a writer's operations are made of. Each either finds the memory that it needs, or says that
//! there is none and has changed nothing.

use crate::changelog::record::Change;
use crate::error::{Error, Result};
use crate::hot::cell::Below;
use crate::hot::chain::Chunks;
use crate::hot::record::{Record, VALUE};
use crate::hot::table::Place;
use crate::hot::{OutOfMemory, Probe};
use crate::key::{Key, VALUE_BYTES_MAX};
use crate::read::{self, Known};
use crate::shard::Core;
use crate::states::{MergeOperator, StateDef, StateKind, frame};
use crate::write::Halt;

/// Checks a value's length.
pub(crate) fn check_value(value: &[u8]) -> Result<()> {
    let bytes = value.len();
    if bytes > VALUE_BYTES_MAX {
        return Err(Error::TooLong { what: "value", bytes, max_bytes: VALUE_BYTES_MAX });
    }
    Ok(())
}

/// Fails where what comes of a change is longer than a value may be.
fn check_result(core: &Core, bytes: usize) -> Result<()> {
    let max_bytes = core.hot.value_bytes_max;
    if bytes > max_bytes { Err(Error::TooLong { what: "value", bytes, max_bytes }) } else { Ok(()) }
}

/// Puts a full value.
#[inline]
pub(crate) fn put(core: &mut Core, def: &StateDef, key: Key<'_>, probe: &Probe<'_>, value: &[u8]) -> Result<(), Halt> {
    let expiry_ms = read::expiry_of(def.ttl, core.hot.now_ms);
    put_until(core, def, key, probe, value, expiry_ms)
}

/// Puts a full value that expires at a time.
pub(crate) fn put_until(
    core: &mut Core,
    def: &StateDef,
    key: Key<'_>,
    probe: &Probe<'_>,
    value: &[u8],
    expiry_ms: Option<u64>,
) -> Result<(), Halt> {
    check_result(core, value.len())?;
    let found = core.hot.find_cell(probe);
    let below = match found {
        Some(_) => Below::Perhaps,
        // Only deleting it needs to know.
        None if def.kind == StateKind::Value && core.hot.head(probe).is_spilled() => Below::Unasked,
        None => read::below_cell(core, def, key, probe)?,
    };
    core.hot.put_cell(probe, found, value, expiry_ms, below)?;
    core.log(def.id, key, Change::Put(value), expiry_ms);
    Ok(())
}

pub(crate) fn delete(core: &mut Core, def: &StateDef, key: Key<'_>, probe: &Probe<'_>) -> Result<(), Halt> {
    let found = core.hot.find_cell(probe);
    let below = match found {
        Some(_) => Below::Perhaps,
        None => read::below_cell(core, def, key, probe)?,
    };
    match def.kind {
        StateKind::Value => delete_value(core, def, key, probe, (found, below)),
        _ => {
            core.hot.delete_chain(probe, found, below)?;
            core.log(def.id, key, Change::Delete, None);
            Ok(())
        }
    }
}

/// Reads a value, changes it and writes it. `change` is used once however often memory runs out on the way.
#[inline]
pub(crate) fn update<V: AsRef<[u8]>>(
    core: &mut Core,
    def: &StateDef,
    key: Key<'_>,
    probe: &Probe<'_>,
    change: &mut Option<impl FnOnce(Option<&[u8]>) -> Option<V>>,
    changed: &mut Option<Option<V>>,
) -> Result<(), Halt> {
    let mut found = core.hot.find_cell(probe);
    let mut below = Below::Perhaps;
    match read::know(&core.hot, probe, found) {
        Known::Value(record) => {
            core.counts.hits += 1;
            if let Some(change) = change.take() {
                *changed = Some(change(Some(core.hot.value_of(record))));
            }
        }
        Known::Absent => {
            core.counts.hits += 1;
            if found.is_none() {
                below = Below::Nothing;
            }
            if let Some(change) = change.take() {
                *changed = Some(change(None));
            }
        }
        Known::Unknown => {
            core.counts.cold_lookups += 1;
            let lookup = read::cell_lookup(&core.view, def, key, core.hot.now_ms);
            let cold = read::finish(lookup, &mut core.counts)?;
            if let Some(change) = change.take() {
                *changed = Some(change(cold.base.as_deref()));
            }
            // Where the lookup found no version at all, deleting what is written now takes no tombstone.
            if cold.epoch.0 == 0 {
                below = Below::Nothing;
            }
            found = core.hot.find_cell(probe);
        }
    }
    match changed {
        Some(Some(value)) => {
            let value = value.as_ref();
            check_value(value)?;
            let expiry_ms = read::expiry_of(def.ttl, core.hot.now_ms);
            core.hot.put_cell(probe, found, value, expiry_ms, below)?;
            core.log(def.id, key, Change::Put(value), expiry_ms);
            Ok(())
        }
        _ => delete_value(core, def, key, probe, (found, below)),
    }
}

/// Deletes a value; the disk is asked where it wasn't when the value was written.
pub(crate) fn delete_value(
    core: &mut Core,
    def: &StateDef,
    key: Key<'_>,
    probe: &Probe<'_>,
    (found, below): (Option<(Record, Place)>, Below),
) -> Result<(), Halt> {
    let below = match found {
        Some((record, _)) if core.hot.is_unasked(record) => read::below_cell(core, def, key, probe)?,
        _ => below,
    };
    core.hot.delete_cell(probe, found, below)?;
    core.log(def.id, key, Change::Delete, None);
    Ok(())
}

pub(crate) fn append(
    core: &mut Core,
    def: &StateDef,
    key: Key<'_>,
    probe: &Probe<'_>,
    element: &[u8],
) -> Result<(), Halt> {
    let frame = frame(element, read::expiry_of(def.ttl, core.hot.now_ms));
    append_frames(core, def, key, probe, [frame.as_bytes(), element])
}

/// Appends elements in their frames, which come in two parts. What is on disk of the list isn't asked for how long it is.
pub(crate) fn append_frames(
    core: &mut Core,
    def: &StateDef,
    key: Key<'_>,
    probe: &Probe<'_>,
    frames: [&[u8]; 2],
) -> Result<(), Halt> {
    let found = core.hot.find_cell(probe);
    check_result(core, core.hot.chain_bytes_with(found, frames[0].len() + frames[1].len()))?;
    let below = match found {
        Some(_) => Below::Perhaps,
        None => read::below_cell(core, def, key, probe)?,
    };
    let found = core.hot.join_committed(probe, found);
    core.hot.append_chain(probe, found, frames, None, below)?;
    if core.log.is_some() {
        core.log(def.id, key, Change::Append(&frames.concat()), None);
    }
    Ok(())
}

pub(crate) fn merge(
    core: &mut Core,
    def: &StateDef,
    key: Key<'_>,
    probe: &Probe<'_>,
    operand: &[u8],
) -> Result<(), Halt> {
    def.check_operand(operand)?;
    let operator = def.operator()?;
    if def.ttl.is_some() {
        return merge_into_whole(core, def, operator, key, probe, operand);
    }
    let found = core.hot.find_cell(probe);
    if let Some((head, _)) = found
        && is_to_be_folded(core, head)
    {
        return merge_into_whole(core, def, operator, key, probe, operand);
    }
    add_operand(core, def, operator, key, probe, found, operand)?;
    core.log(def.id, key, Change::Merge(operand), None);
    Ok(())
}

/// All of it is here, or there were many commits since the last flush: one value from now on, instead of a chunk for each.
fn is_to_be_folded(core: &Core, head: Record) -> bool {
    let arena = core.hot.arena();
    let is_of_earlier = head.kind() == crate::hot::record::CHAIN && head.stamp(arena) != core.hot.current;
    is_of_earlier
        && !read::is_expired(head.expiry_ms(arena), core.hot.now_ms)
        && is_worth_folding(&core.hot.chunks(head))
}

/// Adds an operand to what there is, without reading what is on disk.
fn add_operand(
    core: &mut Core,
    def: &StateDef,
    operator: &MergeOperator,
    key: Key<'_>,
    probe: &Probe<'_>,
    found: Option<(Record, Place)>,
    operand: &[u8],
) -> Result<(), Halt> {
    let Some((head, _)) = found else {
        let below = read::below_cell(core, def, key, probe)?;
        return match below {
            Below::Nothing => Ok(core.hot.put_cell(probe, found, operand, None, below)?),
            _ => Ok(core.hot.append_chain(probe, found, [operand, &[]], None, below)?),
        };
    };
    let arena = core.hot.arena();
    let expired = read::is_expired(head.expiry_ms(arena), core.hot.now_ms);
    let current = head.stamp(arena) == core.hot.current;
    match head.kind() {
        VALUE if !expired => {
            let mut merged = Vec::with_capacity(operand.len());
            operator.merge(core.hot.value_of(head), operand, &mut merged);
            check_result(core, merged.len())?;
            Ok(core.hot.put_cell(probe, found, &merged, None, Below::Perhaps)?)
        }
        crate::hot::record::CHAIN if current && !expired => {
            let mut merged = Vec::with_capacity(operand.len());
            operator.merge(core.hot.value_of(head), operand, &mut merged);
            let longer = merged.len().saturating_sub(head.value_len());
            check_result(core, core.hot.chain_bytes_with(found, longer).max(merged.len()))?;
            Ok(core.hot.replace_chunk(probe, found, &merged, None)?)
        }
        crate::hot::record::CHAIN if !expired => {
            check_result(core, core.hot.chain_bytes_with(found, operand.len()))?;
            Ok(core.hot.append_chain(probe, found, [operand, &[]], None, Below::Perhaps)?)
        }
        // Deleted or expired: what is below is masked, so the operand is the value.
        _ => Ok(core.hot.put_cell(probe, found, operand, None, Below::Perhaps)?),
    }
}

/// So many operands of commits are folded with what is on disk.
const OPERANDS_MAX: usize = 16;

fn is_worth_folding(chunks: &Chunks) -> bool {
    chunks.complete || chunks.records.len() >= OPERANDS_MAX
}

/// Merges into the whole value, which is read first. One that expires has to be: whether it still lived decides what the
/// operand adds to, and that can't be told any more when operands are folded later.
fn merge_into_whole(
    core: &mut Core,
    def: &StateDef,
    operator: &MergeOperator,
    key: Key<'_>,
    probe: &Probe<'_>,
    operand: &[u8],
) -> Result<(), Halt> {
    let value = match read::folded(core, def, key, probe)? {
        None => operand.to_vec(),
        Some(old) => {
            let mut merged = Vec::with_capacity(old.len());
            operator.merge(&old, operand, &mut merged);
            merged
        }
    };
    put(core, def, key, probe, &value)
}

pub(crate) fn map_put(
    core: &mut Core,
    def: &StateDef,
    key: Key<'_>,
    probe: &Probe<'_>,
    user_key: &[u8],
    value: &[u8],
) -> Result<(), Halt> {
    let expiry_ms = read::expiry_of(def.ttl, core.hot.now_ms);
    map_put_until(core, def, key, probe, (user_key, value), expiry_ms)
}

/// Puts an entry that expires at a time.
pub(crate) fn map_put_until(
    core: &mut Core,
    def: &StateDef,
    key: Key<'_>,
    probe: &Probe<'_>,
    (user_key, value): (&[u8], &[u8]),
    expiry_ms: Option<u64>,
) -> Result<(), Halt> {
    core.hot.prefetch_entry(probe, user_key);
    let root = core.hot.root_or_new(probe)?;
    if core.hot.put_far(probe, root, (user_key, value), expiry_ms)? {
        core.log(def.id, key, Change::MapPut(user_key, value), None);
        return Ok(());
    }
    let found = core.hot.find_entry_by_order(probe, root, user_key);
    let below = match found {
        Some(_) => Below::Perhaps,
        // One that was put far may be on its way to the disk.
        None if core.hot.has_far(root) => Below::Perhaps,
        None if !core.hot.head(probe).is_spilled() || core.hot.is_hidden(probe, user_key) => Below::Nothing,
        // Only deleting it needs to know.
        None => Below::Unasked,
    };
    core.hot.put_entry(probe, root, found, user_key, value, expiry_ms, below)?;
    core.log(def.id, key, Change::MapPut(user_key, value), expiry_ms);
    Ok(())
}

pub(crate) fn map_delete(
    core: &mut Core,
    def: &StateDef,
    key: Key<'_>,
    probe: &Probe<'_>,
    user_key: &[u8],
) -> Result<(), Halt> {
    core.hot.spread(probe)?;
    core.hot.prefetch_entry(probe, user_key);
    let root = core.hot.find_root(probe).map(|(root, _)| root);
    let found = root.and_then(|root| core.hot.find_entry(probe, root, user_key));
    let below = match found {
        Some((record, _)) if !core.hot.is_unasked(record) => Below::Perhaps,
        _ => read::below_entry(core, def, key, probe, user_key)?,
    };
    if found.is_none() && below == Below::Nothing {
        return Ok(());
    }
    let root = core.hot.root_or_new(probe)?;
    core.hot.delete_entry(probe, root, found, user_key, below)?;
    core.log(def.id, key, Change::MapDelete(user_key), None);
    Ok(())
}

pub(crate) fn map_clear(core: &mut Core, def: &StateDef, key: Key<'_>, probe: &Probe<'_>) -> Result<(), Halt> {
    core.hot.spread(probe)?;
    let below = read::below_map(core, def, key, probe)?;
    core.hot.clear_map(probe, below)?;
    core.log(def.id, key, Change::MapClear, None);
    Ok(())
}

/// Checks that a state is of a kind that can have been changed so.
pub(crate) fn check_redo(def: &StateDef, change: Change<'_>) -> Result<(), Error> {
    let fits = match change {
        Change::Put(_) | Change::Delete | Change::Touch => def.kind != StateKind::Map,
        Change::Append(_) => def.kind == StateKind::List,
        Change::Merge(_) => def.kind == StateKind::Merging,
        _ => def.kind == StateKind::Map,
    };
    if fits {
        return Ok(());
    }
    let problem = format!("a {:?} state, the changelog has {change:?} of it", def.kind);
    Err(Error::State { state: def.name.clone(), problem })
}

/// Does again what the changelog says was done, within one operation. Ranges of a map that have to be deleted entry by entry are the
/// caller's: false, and nothing was done.
pub(crate) fn redo(
    core: &mut Core,
    def: &StateDef,
    key: Key<'_>,
    probe: &Probe<'_>,
    change: Change<'_>,
    expiry_ms: Option<u64>,
) -> Result<bool, Halt> {
    match change {
        Change::Put(value) => put_until(core, def, key, probe, value, expiry_ms)?,
        Change::Delete => delete(core, def, key, probe)?,
        Change::Append(frames) => append_frames(core, def, key, probe, [frames, &[]]).map_err(cut_before)?,
        Change::Merge(operand) => merge(core, def, key, probe, operand).map_err(cut_before)?,
        Change::Touch => touch(core, def, key, probe, expiry_ms)?,
        Change::MapPut(user_key, value) => map_put_until(core, def, key, probe, (user_key, value), expiry_ms)?,
        Change::MapDelete(user_key) => map_delete(core, def, key, probe, user_key)?,
        Change::MapDeleteRange(from, to) => return crate::delete_range::at_once(core, def, key, probe, (from, to)),
        Change::MapClear => map_clear(core, def, key, probe)?,
        Change::MapTouch(user_key) => map_touch(core, def, key, probe, user_key, expiry_ms)?,
    }
    Ok(true)
}

/// What was added in several epochs may be too long for one: what makes room cuts one off, too.
fn cut_before(halt: Halt) -> Halt {
    match halt {
        Halt::Error(Error::TooLong { .. }) => Halt::Memory(OutOfMemory { bytes: 0 }),
        other => other,
    }
}

/// Has a value expire at another time; nothing where there is none.
fn touch(core: &mut Core, def: &StateDef, key: Key<'_>, probe: &Probe<'_>, expiry_ms: Option<u64>) -> Result<(), Halt> {
    let value = match def.kind {
        StateKind::Merging => read::folded(core, def, key, probe)?,
        // The clock is at 0 here, so it neither expires nor is refreshed by being read.
        _ => read::value(core, def, key, probe, |value| value.map(<[u8]>::to_vec))?,
    };
    value.map_or(Ok(()), |value| put_until(core, def, key, probe, &value, expiry_ms))
}

fn map_touch(
    core: &mut Core,
    def: &StateDef,
    key: Key<'_>,
    probe: &Probe<'_>,
    user_key: &[u8],
    expiry_ms: Option<u64>,
) -> Result<(), Halt> {
    let value = read::entry(core, def, key, probe, user_key, |value| value.map(<[u8]>::to_vec))?;
    value.map_or(Ok(()), |value| map_put_until(core, def, key, probe, (user_key, &value), expiry_ms))
}

#[cfg(test)]
mod tests;
