//! Many operations at once: all keys are hashed and their cache lines fetched before anything is looked at, and what
//! memory doesn't have is read from disk together.

use crate::change;
use crate::changelog::record::Change;
use crate::cold::{self, ColdKey};
use crate::error::{Error, Result};
use crate::hot::Probe;
use crate::hot::cell::Below;
use crate::hot::fetch::SPOTS;
use crate::hot::quick::{Ahead, GROUP};
use crate::hot::record::Record;
use crate::hot::table::Place;
use crate::inflight::{Answered, Cold, Miss};
use crate::key::{Key, SortKey};
use crate::metrics::OperationKind;
use crate::platform::sync::gate::OwnerToken;
use crate::read::{self, Known};
use crate::scan::MapRange;
use crate::shard::{Core, Shard};
use crate::stack::{Found, Slice};
use crate::states::{StateDef, StateKind};
use crate::store::{State, StoreInner};
use crate::write::{self, Halt};
use crate::writer::Writer;
use std::collections::HashSet;
use std::sync::Arc;

/// How many values are looked for on disk together: at the end of each lot the device has less and less to do.
const COLD_AT_ONCE: usize = 512;

/// Gives the values of many keys to `use_it`.
pub(crate) fn get_many(
    store: &Arc<StoreInner>,
    shard: &Arc<Shard>,
    token: &mut OwnerToken<Core>,
    def: &StateDef,
    keys: &[Key<'_>],
    mut use_it: impl FnMut(usize, Option<&[u8]>),
) -> Result<()> {
    let mut misses = Vec::new();
    let mut at = 0;
    while at < keys.len() {
        if misses.len() >= COLD_AT_ONCE {
            get_cold(store, shard, token, def, keys, std::mem::take(&mut misses), &mut use_it)?;
        }
        let start = at;
        let group = &keys[start..keys.len().min(start + GROUP)];
        write::run(store, shard, token, OperationKind::Batch, |core| {
            // After memory was short, what was answered already is left out.
            let done = at - start;
            with_probes(core, shard, def, &group[done..], |core, index, probe| {
                let index = start + done + index;
                let found = core.hot.find_cell(probe);
                match read::know(&core.hot, probe, found) {
                    Known::Value(record) if def.ttl.is_none() => {
                        core.counts.hits += 1;
                        record.touch(core.hot.arena());
                        use_it(index, Some(core.hot.value_of(record)));
                    }
                    Known::Value(_) => {
                        read::value(core, def, keys[index], probe, |value| use_it(index, value))?;
                    }
                    Known::Absent => {
                        core.counts.hits += 1;
                        use_it(index, None);
                    }
                    Known::Unknown => {
                        let lookup = read::cell_lookup(&core.view, def, keys[index], core.hot.now_ms);
                        misses.push((index, lookup));
                    }
                }
                at = index + 1;
                Ok(())
            })
        })?;
    }
    get_cold(store, shard, token, def, keys, misses, &mut use_it)
}

/// Gives the values of keys that memory doesn't know to `use_it`, and keeps them.
fn get_cold(
    store: &Arc<StoreInner>,
    shard: &Arc<Shard>,
    token: &mut OwnerToken<Core>,
    def: &StateDef,
    keys: &[Key<'_>],
    mut misses: Vec<ColdKey>,
    use_it: &mut impl FnMut(usize, Option<&[u8]>),
) -> Result<()> {
    while !misses.is_empty() {
        for (index, slice, mut found) in read_together(store, &mut misses, token)? {
            use_it(index, found.base.as_deref());
            if found.base.is_none() {
                continue;
            }
            write::run(store, shard, token, OperationKind::Batch, |core| {
                with_probes(core, shard, def, &keys[index..=index], |core, _, probe| {
                    // The same key may have come up twice, or been brought meanwhile, as it was: then its time begins anew.
                    if core.hot.find_cell(probe).is_some() {
                        return refresh(core, def, keys[index], probe);
                    }
                    // The segments may be others by now, and the state be migrated: what was read is not to be kept then.
                    if !Arc::ptr_eq(&slice, core.view.version.slice_of(keys[index].group)) {
                        let lookup = read::cell_lookup(&core.view, def, keys[index], core.hot.now_ms);
                        found = read::finish(lookup, &mut core.counts)?;
                    }
                    let Some(value) = &found.base else { return Ok(()) };
                    read::keep_cell(core, def, keys[index], probe, value, (found.expiry_ms, found.epoch.0))
                })
            })?;
        }
    }
    Ok(())
}

/// Calls `each` with the probes of a group of keys, after fetching what they lead to.
#[inline(always)]
fn with_probes(
    core: &mut Core,
    shard: &Shard,
    def: &StateDef,
    keys: &[Key<'_>],
    mut each: impl FnMut(&mut Core, usize, &Probe<'_>) -> Result<(), Halt>,
) -> Result<(), Halt> {
    let mut hashes = [0_u64; GROUP];
    let mut scratch = std::mem::take(&mut core.scratch);
    for (key, hash) in keys.iter().zip(&mut hashes) {
        let (area, namespaced) = read::area(*key, &mut scratch);
        let probe = core.hot.probe(def.id.0, key.group.0 - shard.range.first(), area, namespaced);
        *hash = probe.hash;
        core.hot.head(&probe).prefetch(core.hot.arena(), probe.hash);
    }
    for (key, &hash) in keys.iter().zip(&hashes) {
        core.hot.table_head(def.id.0, key.group.0 - shard.range.first()).prefetch_record(core.hot.arena(), hash);
    }
    let mut outcome = Ok(());
    for (index, (key, &hash)) in keys.iter().zip(&hashes).enumerate() {
        let (area, namespaced) = read::area(*key, &mut scratch);
        let group = key.group.0 - shard.range.first();
        outcome = each(core, index, &Probe { state: def.id.0, group, area, namespaced, hash });
        if outcome.is_err() {
            break;
        }
    }
    core.scratch = scratch;
    outcome
}

/// Changes the values of many keys.
#[inline]
pub(crate) fn update_many<V: AsRef<[u8]>>(
    store: &Arc<StoreInner>,
    shard: &Arc<Shard>,
    token: &mut OwnerToken<Core>,
    def: &StateDef,
    keys: &[Key<'_>],
    mut change: impl FnMut(usize, Option<&[u8]>) -> Option<V>,
) -> Result<()> {
    let mut misses = Vec::new();
    let mut at = 0;
    let mut changed: Option<Option<V>> = None;
    // Values that were changed already when making room for them drove their old ones from memory.
    let mut kept: Vec<Kept<V>> = Vec::new();
    // The keys of the misses, and where they come up again: that is later, also where memory has got them meanwhile, by warming up.
    let (mut missed, mut repeats) = (HashSet::new(), Vec::new());
    let aborts = token.enter().hot.aborts();
    while at < keys.len() {
        if misses.len() >= COLD_AT_ONCE {
            let cold = (std::mem::take(&mut misses), std::mem::take(&mut kept));
            update_cold(store, shard, token, def, keys, cold, aborts, &mut change)?;
            update_repeats(store, shard, token, def, keys, std::mem::take(&mut repeats), aborts, &mut change)?;
            missed.clear();
        }
        let start = at;
        let group = &keys[start..keys.len().min(start + GROUP)];
        write::run(store, shard, token, OperationKind::Batch, |core| {
            write::check_aborts(core, aborts)?;
            // After memory was short, what is done already is left out.
            let done = at - start;
            let quick = if changed.is_none() {
                let change = |index, old: &[u8; 8]| change(start + done + index, Some(old));
                let rest = &group[done..];
                let up_to_missed = || rest.iter().take_while(|key| !missed.contains(*key)).count();
                let len = if missed.is_empty() { rest.len() } else { up_to_missed() };
                update_quickly(core, shard, def, &rest[..len], change, &mut changed)
            } else {
                0
            };
            at += quick;
            core.counts.hits += quick as u64;
            let done = done + quick;
            with_probes(core, shard, def, &group[done..], |core, index, probe| {
                let index = start + done + index;
                if !missed.is_empty() && missed.contains(&keys[index]) {
                    repeats.push(index);
                } else if !update_known(core, def, keys[index], probe, &mut |old| change(index, old), &mut changed)? {
                    let lookup = read::cell_lookup(&core.view, def, keys[index], core.hot.now_ms);
                    misses.push((index, lookup));
                    missed.insert(keys[index]);
                    let undone = core.hot.undone(probe.state, probe.group);
                    kept.extend(changed.take().map(|value| (index, value, undone)));
                }
                at = index + 1;
                Ok(())
            })
        })?;
    }
    update_cold(store, shard, token, def, keys, (misses, kept), aborts, &mut change)?;
    update_repeats(store, shard, token, def, keys, repeats, aborts, &mut change)
}

/// Changes the values of keys again, one after the other, that memory didn't know when they came up first and that were changed since.
#[expect(clippy::too_many_arguments, reason = "the last part of one function")]
fn update_repeats<V: AsRef<[u8]>>(
    store: &Arc<StoreInner>,
    shard: &Arc<Shard>,
    token: &mut OwnerToken<Core>,
    def: &StateDef,
    keys: &[Key<'_>],
    repeats: Vec<usize>,
    aborts: u64,
    change: &mut impl FnMut(usize, Option<&[u8]>) -> Option<V>,
) -> Result<()> {
    for index in repeats {
        let (mut changed, mut misses, mut kept) = (None, Vec::new(), Vec::new());
        write::run(store, shard, token, OperationKind::Batch, |core| {
            write::check_aborts(core, aborts)?;
            with_probes(core, shard, def, &keys[index..=index], |core, _, probe| {
                if !update_known(core, def, keys[index], probe, &mut |old| change(index, old), &mut changed)? {
                    // It has left memory again.
                    misses.push((index, read::cell_lookup(&core.view, def, keys[index], core.hot.now_ms)));
                    let undone = core.hot.undone(probe.state, probe.group);
                    kept.extend(changed.take().map(|value| (index, value, undone)));
                }
                Ok(())
            })
        })?;
        update_cold(store, shard, token, def, keys, (misses, kept), aborts, change)?;
    }
    Ok(())
}

/// The place of a key, what its value was changed to, and how often its table had been undone then.
type Kept<V> = (usize, Option<V>, u64);

/// Changes the values of keys that memory didn't know; `kept` are those that were changed before they left memory.
#[expect(clippy::too_many_arguments, reason = "the second half of one function")]
fn update_cold<V: AsRef<[u8]>>(
    store: &Arc<StoreInner>,
    shard: &Arc<Shard>,
    token: &mut OwnerToken<Core>,
    def: &StateDef,
    keys: &[Key<'_>],
    (mut misses, mut kept): (Vec<ColdKey>, Vec<Kept<V>>),
    aborts: u64,
    change: &mut impl FnMut(usize, Option<&[u8]>) -> Option<V>,
) -> Result<()> {
    let mut changed: Option<Option<V>> = None;
    while !misses.is_empty() {
        for (index, slice, mut found) in read_together(store, &mut misses, token)? {
            let mut undone = None;
            if let Some(at) = kept.iter().position(|(of, ..)| *of == index) {
                let (_, value, before) = kept.swap_remove(at);
                (changed, undone) = (Some(value), Some(before));
            }
            write::run(store, shard, token, OperationKind::Batch, |core| {
                write::check_aborts(core, aborts)?;
                with_probes(core, shard, def, &keys[index..=index], |core, _, probe| {
                    undone.map_or(Ok(()), |undone| write::check_undone(core, probe, undone))?;
                    if update_known(core, def, keys[index], probe, &mut |old| change(index, old), &mut changed)? {
                        return Ok(());
                    }
                    // What warming up brought may have left memory again: then the segments are others than those that were read.
                    if !Arc::ptr_eq(&slice, core.view.version.slice_of(keys[index].group)) {
                        let lookup = read::cell_lookup(&core.view, def, keys[index], core.hot.now_ms);
                        found = read::finish(lookup, &mut core.counts)?;
                    }
                    let value = changed.get_or_insert_with(|| change(index, found.base.as_deref()));
                    let below = if found.epoch.0 == 0 { Below::Nothing } else { Below::Perhaps };
                    let record = core.hot.find_cell(probe);
                    write_changed(core, def, keys[index], probe, (record, below), value.as_ref())?;
                    changed = None;
                    Ok(())
                })
            })?;
        }
    }
    Ok(())
}

/// Changes the values of a group of keys as far as the quick path leads; returns how far. What `change` made of the next
/// value is in `changed` then, where it was called and the result doesn't take the old value's place.
#[inline(always)]
fn update_quickly<V: AsRef<[u8]>>(
    core: &mut Core,
    shard: &Shard,
    def: &StateDef,
    keys: &[Key<'_>],
    mut change: impl FnMut(usize, &[u8; 8]) -> Option<V>,
    changed: &mut Option<Option<V>>,
) -> usize {
    if !def.is_plain() || keys.iter().fold(0, |bytes, key| bytes | key.namespace.len()) > 0 {
        return 0;
    }
    let mut ahead = Ahead::new();
    core.hot.look_ahead(def.id.0, shard.range.first(), keys, &mut ahead);
    for (index, key) in keys.iter().enumerate() {
        let current = core.hot.current;
        let found = match core.hot.quick_ahead(&ahead, index, key.key) {
            Some(found) if found.is_of(current) => found,
            _ => {
                let group = key.group.0 - shard.range.first();
                match core.hot.quick_now(def.id.0, group, ahead.hash(index), key.key) {
                    Some(found) => found,
                    None => return index,
                }
            }
        };
        if let Err(value) = found.change(|old| change(index, old)) {
            *changed = Some(value);
            return index;
        }
        if let Some(log) = &mut core.log {
            log.word(def.id, key.group, key.key, found.value());
        }
    }
    keys.len()
}

/// Changes a value that memory knows; false where it doesn't. `changed` keeps what `change` made of it while memory
/// is short.
#[inline(always)]
fn update_known<V: AsRef<[u8]>>(
    core: &mut Core,
    def: &StateDef,
    key: Key<'_>,
    probe: &Probe<'_>,
    change: &mut impl FnMut(Option<&[u8]>) -> Option<V>,
    changed: &mut Option<Option<V>>,
) -> Result<bool, Halt> {
    let found = core.hot.find_cell(probe);
    let below = if found.is_none() { Below::Nothing } else { Below::Perhaps };
    match read::know(&core.hot, probe, found) {
        Known::Unknown => return Ok(false),
        Known::Value(record) => {
            changed.get_or_insert_with(|| change(Some(core.hot.value_of(record))));
        }
        Known::Absent => {
            changed.get_or_insert_with(|| change(None));
        }
    }
    core.counts.hits += 1;
    let value = changed.as_ref().and_then(Option::as_ref);
    write_changed(core, def, key, probe, (found, below), value)?;
    *changed = None;
    Ok(true)
}

#[inline(always)]
fn write_changed<V: AsRef<[u8]>>(
    core: &mut Core,
    def: &StateDef,
    key: Key<'_>,
    probe: &Probe<'_>,
    (found, below): (Option<(Record, Place)>, Below),
    value: Option<&V>,
) -> Result<(), Halt> {
    match value {
        Some(value) => {
            let expiry_ms = read::expiry_of(def.ttl, core.hot.now_ms);
            change::check_value(value.as_ref())?;
            core.hot.put_cell(probe, found, value.as_ref(), expiry_ms, below)?;
            core.log(def.id, key, Change::Put(value.as_ref()), expiry_ms);
            Ok(())
        }
        None => change::delete_value(core, def, key, probe, (found, below)),
    }
}

/// Looks the first keys up on disk together, and takes them from `misses`. The caller is outside the gate: nobody else
/// writes these keys.
fn read_together(
    store: &StoreInner,
    misses: &mut Vec<ColdKey>,
    token: &mut OwnerToken<Core>,
) -> Result<Vec<(usize, Arc<Slice>, Found)>> {
    let (done, blocks_read) = cold::finish_together(&*store.storage, misses)?;
    let mut core = token.enter();
    core.counts.cold_lookups += done.len() as u64;
    core.counts.blocks_read += blocks_read;
    core.counts.filter_probes += done.iter().map(|(_, lookup)| lookup.filter_probes).sum::<u64>();
    Ok(done.into_iter().map(|(index, lookup)| (index, Arc::clone(lookup.slice()), lookup.finish())).collect())
}

/// One operation of a [`Batch`].
#[derive(Clone, Copy, Debug)]
pub enum Operation<'a> {
    /// [`Writer::put`].
    Put(&'a [u8]),
    /// [`Writer::delete`].
    Delete,
    /// [`Writer::append`].
    Append(&'a [u8]),
    /// [`Writer::merge`].
    Merge(&'a [u8]),
    /// [`Writer::map_put`]: user key and value.
    MapPut(&'a [u8], &'a [u8]),
    /// [`Writer::map_delete`]: user key.
    MapDelete(&'a [u8]),
    /// [`Writer::map_delete_range`].
    MapDeleteRange(&'a MapRange<'a>),
    /// [`Writer::map_expire`].
    MapExpire(u64),
    /// [`Writer::map_clear`].
    MapClear,
    /// [`Writer::get`]; only to be submitted.
    Get,
    /// [`Writer::list`]; only to be submitted.
    List,
    /// [`Writer::map_get`]: user key; only to be submitted.
    MapGet(&'a [u8]),
}

impl Operation<'_> {
    const fn is_read(&self) -> bool {
        matches!(self, Self::Get | Self::List | Self::MapGet(_))
    }
}

/// Operations to be done together, in order.
#[derive(Clone, Debug, Default)]
pub struct Batch<'a> {
    operations: Vec<(State, Key<'a>, Operation<'a>)>,
}

impl<'a> Batch<'a> {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty batch with room for so many operations.
    pub fn with_capacity(operations: usize) -> Self {
        Self { operations: Vec::with_capacity(operations) }
    }

    /// Adds an operation.
    pub fn push(&mut self, state: State, key: Key<'a>, operation: Operation<'a>) {
        self.operations.push((state, key, operation));
    }

    /// How many operations there are.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// The reads among them, with the user keys of maps' entries.
    pub(crate) fn reads(&self) -> impl Iterator<Item = (State, Key<'a>, Option<&'a [u8]>)> {
        self.operations.iter().filter_map(|&(state, key, operation)| match operation {
            Operation::MapGet(user_key) => Some((state, key, Some(user_key))),
            operation => operation.is_read().then_some((state, key, None)),
        })
    }

    /// Takes all operations out.
    pub fn clear(&mut self) {
        self.operations.clear();
    }
}

pub(crate) fn apply(writer: &mut Writer, batch: &Batch<'_>) -> Result<()> {
    if batch.operations.iter().any(|(_, _, operation)| operation.is_read()) {
        let problem = "reads are submitted, not applied".into();
        return Err(Error::Options { option: "batch", problem });
    }
    let mut answers = Answers::default();
    run(writer, batch, &mut answers)
}

/// What the reads of a batch came to so far.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub(crate) there: Vec<Answered>,
    pub(crate) missing: Vec<Miss>,
}

/// Does the operations of a batch, in order.
pub(crate) fn run(writer: &mut Writer, batch: &Batch<'_>, answers: &mut Answers) -> Result<()> {
    for (start, group) in (0..).step_by(SPOTS).zip(batch.operations.chunks(SPOTS)) {
        let spots = writer.fetch_group(group.iter().map(|&(state, key, _)| (state, key)));
        let mut done = 0;
        while done < group.len() {
            done += writer.quick_puts(&group[done..], &spots[done..]);
            if let Some(&(state, key, operation)) = group.get(done) {
                run_one(writer, state, key, operation, start + done, answers)?;
                done += 1;
            }
        }
    }
    Ok(())
}

fn run_one(
    writer: &mut Writer,
    state: State,
    key: Key<'_>,
    operation: Operation<'_>,
    index: usize,
    answers: &mut Answers,
) -> Result<()> {
    match operation {
        Operation::Put(value) => writer.put(state, key, value),
        Operation::Delete => writer.delete(state, key),
        Operation::Append(element) => writer.append(state, key, element),
        Operation::Merge(operand) => writer.merge(state, key, operand),
        Operation::MapPut(user_key, value) => writer.map_put(state, key, user_key, value),
        Operation::MapDelete(user_key) => writer.map_delete(state, key, user_key),
        Operation::MapDeleteRange(range) => writer.map_delete_range(state, key, range),
        Operation::MapExpire(before) => writer.map_expire(state, key, before),
        Operation::MapClear => writer.map_clear(state, key),
        Operation::Get => writer.look(index, state, &[StateKind::Value, StateKind::Merging], key, None, answers),
        Operation::List => writer.look(index, state, &[StateKind::List], key, None, answers),
        Operation::MapGet(user_key) => writer.look(index, state, &[StateKind::Map], key, Some(user_key), answers),
    }
}

/// What memory knows of a read: its value, or what is to be read from disk. `index` is its place in its batch.
pub(crate) fn look(
    core: &mut Core,
    def: &Arc<StateDef>,
    key: Key<'_>,
    probe: &Probe<'_>,
    user_key: Option<&[u8]>,
    index: usize,
) -> Result<Result<Option<Vec<u8>>, Miss>, Halt> {
    let mut above = Vec::new();
    let now_ms = core.hot.now_ms;
    let found = core.hot.find_cell(probe);
    let lookup = match (def.kind, user_key) {
        (StateKind::Map, Some(user_key)) => {
            core.hot.spread(probe)?;
            let root = core.hot.find_root(probe).map(|(root, _)| root);
            let entry = root.and_then(|root| core.hot.find_entry(probe, root, user_key));
            if entry.is_some() || !core.hot.head(probe).is_spilled() || core.hot.is_hidden(probe, user_key) {
                return read::entry(core, def, key, probe, user_key, |value| value.map(<[u8]>::to_vec)).map(Ok);
            }
            read::entry_lookup(&core.view, def, key, user_key, now_ms)
        }
        (StateKind::Value, _) => {
            if !matches!(read::know(&core.hot, probe, found), Known::Unknown) {
                return read::value(core, def, key, probe, |value| value.map(<[u8]>::to_vec)).map(Ok);
            }
            read::cell_lookup(&core.view, def, key, now_ms)
        }
        _ => {
            let chunks = found.map(|(head, _)| core.hot.chunks(head)).unwrap_or_default();
            if chunks.complete || (found.is_none() && !core.hot.head(probe).is_spilled()) {
                return match def.kind {
                    StateKind::Merging => read::merged(core, def, key, probe),
                    _ => read::folded(core, def, key, probe),
                }
                .map(Ok);
            }
            let live = |chunk: &&Record| {
                def.kind == StateKind::List || !read::is_expired(chunk.expiry_ms(core.hot.arena()), now_ms)
            };
            let parts = chunks.records.iter().rev().filter(live);
            above.extend(parts.map(|&chunk| core.hot.value_of(chunk).to_vec()));
            read::cell_lookup(&core.view, def, key, now_ms)
        }
    };
    core.counts.cold_lookups += 1;
    Ok(Err(Miss { index, def: Arc::clone(def), above, now_ms, lookup }))
}

/// Keeps in memory what was read from disk, if nothing has changed there since.
pub(crate) fn keep(core: &mut Core, def: &StateDef, first: u16, cold: &Cold, value: &[u8]) -> Result<(), Halt> {
    let Some(at) = SortKey::decode(&cold.sort_key) else { return Ok(()) };
    let key = at.key;
    // What has expired since is not to live again.
    if read::is_expired(cold.expiry_ms, core.hot.now_ms) {
        return Ok(());
    }
    // What was written since and has left memory is in another segment. Its time begins anew all the same.
    let is_other = !Arc::ptr_eq(&cold.slice, core.view.version.slice_of(key.group));
    if is_other && !def.refreshes() {
        return Ok(());
    }
    let mut scratch = Vec::new();
    let (area, namespaced) = read::area(key, &mut scratch);
    let probe = core.hot.probe(cold.state.0, key.group.0 - first, area, namespaced);
    match at.user_key {
        // What is there may have been brought meanwhile, as it was: its time begins anew as well.
        None if is_other || core.hot.find_cell(&probe).is_some() => refresh(core, def, key, &probe),
        None => read::keep_cell(core, def, key, &probe, value, (cold.expiry_ms, cold.epoch)),
        Some(user_key) => {
            // What was put far since is newer.
            core.hot.spread(&probe)?;
            let root = core.hot.find_root(&probe).map(|(root, _)| root);
            let found = root.and_then(|root| core.hot.find_entry(&probe, root, user_key));
            if core.hot.is_hidden(&probe, user_key) || (found.is_some() && !def.refreshes()) {
                return Ok(());
            }
            if is_other || found.is_some() {
                return read::entry(core, def, key, &probe, user_key, |_| ());
            }
            read::keep_entry(core, def, key, &probe, (user_key, value), (cold.expiry_ms, cold.epoch))
        }
    }
}

/// Reads a value so that its time begins anew, where the state says so.
fn refresh(core: &mut Core, def: &StateDef, key: Key<'_>, probe: &Probe<'_>) -> Result<(), Halt> {
    match def.kind {
        _ if !def.refreshes() => Ok(()),
        StateKind::Merging => read::merged(core, def, key, probe).map(drop),
        StateKind::Value => read::value(core, def, key, probe, |_| ()),
        _ => Ok(()),
    }
}
