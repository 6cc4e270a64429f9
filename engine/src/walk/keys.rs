//! Walking through the keys of a state.
//!
//! One key group after another: what memory has of it is noted in a [`Window`], the rest comes from the segments of the
//! same moment. Until the window is used up nothing more is looked for, so what is put meanwhile is found or not; what
//! is deleted meanwhile is not: where anything was deleted since, each key is looked up before it is given out.

use super::entries::Entries;
use super::window::{Noting, Verdict, Window, chain_verdict};
use super::{Access, view_of};
use crate::error::Result;
use crate::hot::record::TOMBSTONE;
use crate::ids::{KeyGroup, KeyGroupRange};
use crate::key::{Key, SortKey, push_sort_key};
use crate::merged::{Base, Bounds, Merged};
use crate::metrics::OwnerCounts;
use crate::packed::{Packed, PackedRecord};
use crate::read;
use crate::scan::MapRange;
use crate::shard::Core;
use crate::stack::{Lookup, Slice};
use crate::states::{StateDef, StateKind};
use std::cmp::Ordering;
use std::sync::Arc;

/// Pages of a table that are looked at in one visit to the gate: some thousand records.
const PAGES_AT_ONCE: usize = 8;

/// Which keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Which {
    /// Each key once, whatever its namespaces.
    Keys,
    /// The keys of one namespace.
    OfNamespace(Vec<u8>),
    /// Each pair of key and namespace.
    Pairs,
}

/// A place among the keys of a state.
#[derive(Debug)]
pub struct Keys {
    which: Which,
    /// The key groups that come after the current one.
    next_group: u32,
    end_group: u32,
    current: Option<Group>,
    window: Option<Window>,
}

/// The key group that is being gone through.
#[derive(Debug)]
struct Group {
    group: KeyGroup,
    cold: Option<Cold>,
    /// The last key that was passed, and its namespace; only where there are more than the window takes.
    after: Option<(Vec<u8>, Vec<u8>)>,
    /// The last key that was given out, where each is given out once.
    given: Option<Vec<u8>>,
    moment: Moment,
}

/// When a window was filled: if nothing of this has changed, what it says is still so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Moment {
    deletions: u64,
    now_ms: u64,
}

impl Keys {
    /// Before the first key of a range of key groups.
    pub fn new(which: Which, range: KeyGroupRange) -> Self {
        let (next_group, end_group) = (u32::from(range.first()), u32::from(range.last()) + 1);
        Self { which, next_group, end_group, current: None, window: None }
    }

    /// Puts the next keys into `out`.
    pub fn next(&mut self, access: &mut impl Access, def: &StateDef, out: &mut Packed) -> Result<()> {
        let arena = Arc::clone(&access.store().engine.inner.arena);
        let mut window = self.window.take().unwrap_or_else(|| Window::new(&arena));
        while out.room() > 0 {
            let mut group = match self.current.take() {
                Some(group) => group,
                None if self.next_group < self.end_group => {
                    let group = KeyGroup(self.next_group as u16);
                    self.next_group += 1;
                    let moment = Moment { deletions: 0, now_ms: 0 };
                    let mut group = Group { group, cold: None, after: None, given: None, moment };
                    group.fill(access, def, &self.which, &mut window)?;
                    group
                }
                None => return Ok(()),
            };
            let is_same = group.moment == moment(access, group.group)?;
            if group.give(access, def, &self.which, &mut window, is_same, out)? {
                self.current = Some(group);
            } else if window.is_truncated() {
                group.after = window.last().map(|(key, namespace)| (key.to_vec(), namespace.to_vec()));
                group.fill(access, def, &self.which, &mut window)?;
                self.current = Some(group);
            }
        }
        self.window = Some(window);
        Ok(())
    }
}

fn moment(access: &mut impl Access, group: KeyGroup) -> Result<Moment> {
    let now_ms = access.now_ms();
    let deletions = access.inside(group, |core, _| core.hot.deletions)?;
    Ok(Moment { deletions: deletions.unwrap_or(0), now_ms })
}

impl Group {
    /// Notes what memory has behind the last key, and stands on what the segments have there.
    fn fill(&mut self, access: &mut impl Access, def: &StateDef, which: &Which, window: &mut Window) -> Result<()> {
        window.clear();
        self.moment = moment(access, self.group)?;
        let (now_ms, committed) = (self.moment.now_ms, access.is_committed());
        let after = self.after.as_ref().map(|(key, namespace)| (key.as_slice(), namespace.as_slice()));
        let mut at = Some(0);
        let mut seen = None;
        while let Some(from) = at {
            seen = access.inside(self.group, |core, group| {
                at = look(core, group, def, from, after, now_ms, committed, window);
                (view_of(core, committed), core.hot.table_head(def.id.0, group).is_spilled())
            })?;
            if seen.is_none() {
                break;
            }
            window.settle();
        }
        // The view of the last visit: what left memory between two of them is in it.
        let (view, below) = match seen {
            Some(seen) => seen,
            None => (access.disk()?, true),
        };
        // A map's container and its marker are two records of one key: they have to stand side by side.
        let is_pair = def.kind == StateKind::Map || (*which == Which::Keys && window.has_namespaces());
        if below || window.is_truncated() || is_pair {
            window.sort();
        }
        self.cold = None;
        if below {
            let slice = view.slice_of(self.group);
            let cold = Cold::new(&slice, def, self.group, after, now_ms)?;
            self.cold = Some(cold).filter(|cold| !cold.key.is_empty());
        }
        Ok(())
    }

    /// Gives out what comes next; false when the window is used up.
    fn give(
        &mut self,
        access: &mut impl Access,
        def: &StateDef,
        which: &Which,
        window: &mut Window,
        is_same: bool,
        out: &mut Packed,
    ) -> Result<bool> {
        let mut scratch = Vec::new();
        while out.room() > 0 {
            let cold = self.cold.as_ref().and_then(Cold::at);
            let order = match (window.peek(), cold) {
                (None, Some(_)) if !window.is_truncated() => Ordering::Greater,
                (None, _) => return Ok(false),
                (Some(_), None) => Ordering::Less,
                (Some(hot), Some(cold)) => super::window::compare(hot, cold),
            };
            let found = if order == Ordering::Greater { cold } else { window.peek() };
            let Some((key, namespace)) = found else { return Ok(false) };
            scratch.clear();
            scratch.extend_from_slice(key);
            scratch.extend_from_slice(namespace);
            let key_len = key.len();
            let verdict = if order == Ordering::Greater { Verdict::Live } else { window.pass() };
            if order != Ordering::Less
                && let Some(cold) = &mut self.cold
            {
                cold.step(def)?;
            }
            let (key, namespace) = scratch.split_at(key_len);
            if self.is_wanted(which, key, namespace)
                && verdict != Verdict::Dead
                && (verdict == Verdict::Live && is_same
                    || exists(access, def, Key { group: self.group, key, namespace })?)
            {
                self.put(which, key, namespace, out);
            }
        }
        Ok(true)
    }

    fn is_wanted(&self, which: &Which, key: &[u8], namespace: &[u8]) -> bool {
        match which {
            Which::Keys => self.given.as_deref() != Some(key),
            Which::OfNamespace(of) => of == namespace,
            Which::Pairs => true,
        }
    }

    fn put(&mut self, which: &Which, key: &[u8], namespace: &[u8], out: &mut Packed) {
        let namespace = if *which == Which::Keys {
            let given = self.given.get_or_insert_default();
            given.clear();
            given.extend_from_slice(key);
            &[]
        } else {
            namespace
        };
        out.push(PackedRecord { group: self.group, key, namespace, user_key: &[], value: &[] });
    }
}

/// Notes what some pages of a table have, from the one of the hash `from` on; the hash to go on at.
#[expect(clippy::too_many_arguments, reason = "where, what of it, and where to")]
fn look(
    core: &mut Core,
    group: u16,
    def: &StateDef,
    from: u64,
    after: Option<(&[u8], &[u8])>,
    now_ms: u64,
    committed: bool,
    window: &mut Window,
) -> Option<u64> {
    let hot = &core.hot;
    let arena = hot.arena();
    let mut at = Some(from);
    for _ in 0..PAGES_AT_ONCE {
        let Some(hash) = at else { break };
        at = hot.table_head(def.id.0, group).visit_page_of(arena, hash, |at| {
            let noting = Noting { hot, def, group, now_ms, committed };
            window.note(&noting, crate::hot::record::Record::load(arena, at), after);
        });
    }
    at
}

/// What the segments have, standing on the next live key.
#[derive(Debug)]
struct Cold {
    merged: Merged,
    now_ms: u64,
    /// The sort key of the cell or container; empty at the end.
    key: Vec<u8>,
}

impl Cold {
    fn new(slice: &Slice, def: &StateDef, group: KeyGroup, after: Option<(&[u8], &[u8])>, now_ms: u64) -> Result<Self> {
        let mut bounds = Bounds::prefix(&[group.0.to_be_bytes(), def.id.0.to_be_bytes()].concat());
        if let Some((key, namespace)) = after {
            bounds.from.clear();
            push_sort_key(&mut bounds.from, def.id, Key { group, key, namespace });
            // Behind the key itself and, of a map, its entries.
            bounds.from.push(crate::key::ENTRY_MARK + 1);
        }
        let mut cold = Self { merged: Merged::new(&slice.layers, bounds, now_ms)?, now_ms, key: Vec::new() };
        cold.step(def)?;
        Ok(cold)
    }

    fn at(&self) -> Option<(&[u8], &[u8])> {
        SortKey::decode(&self.key).map(|at| (at.key.key, at.key.namespace))
    }

    fn step(&mut self, def: &StateDef) -> Result<()> {
        if def.kind == StateKind::Map && !self.key.is_empty() {
            self.key.push(crate::key::ENTRY_MARK);
            self.merged.pass_all(&self.key)?;
        }
        self.key.clear();
        while let Some(resolved) = self.merged.next()? {
            let there = match resolved.base {
                _ if def.kind == StateKind::List && def.ttl.is_some() => {
                    let base = (resolved.base == Base::Value).then_some(resolved.value.as_slice());
                    let operands = resolved.operands.iter().rev().map(Vec::as_slice);
                    !def.fold(base, operands, self.now_ms).is_empty()
                }
                Base::Value => true,
                _ => !resolved.operands.is_empty(),
            };
            if there && let Some(len) = SortKey::container_len(&resolved.sort_key) {
                self.key.extend_from_slice(&resolved.sort_key[..len]);
                return Ok(());
            }
        }
        Ok(())
    }
}

/// What memory says of a key.
enum Seen {
    Told(bool),
    /// The segments have to be asked.
    Below(Lookup),
}

/// Whether a key is there now.
fn exists(access: &mut impl Access, def: &StateDef, key: Key<'_>) -> Result<bool> {
    if def.kind == StateKind::Map {
        let mut first = Packed::new(1, 1);
        Entries::new(key, &MapRange::all()).next(access, def, &mut first)?;
        return Ok(!first.is_empty());
    }
    let (now_ms, committed) = (access.now_ms(), access.is_committed());
    let seen = access.inside(key.group, |core, group| see(core, group, def, key, now_ms, committed))?;
    let lookup = match seen {
        Some(Seen::Told(there)) => return Ok(there),
        Some(Seen::Below(lookup)) => lookup,
        None => read::cell_lookup(&*access.disk()?, def, key, now_ms),
    };
    let found = read::finish(lookup, &mut OwnerCounts::default())?;
    if def.kind == StateKind::List && def.ttl.is_some() {
        let operands = found.operands.iter().rev().map(Vec::as_slice);
        return Ok(!def.fold(found.base.as_deref(), operands, now_ms).is_empty());
    }
    Ok(!found.is_absent())
}

fn see(core: &mut Core, group: u16, def: &StateDef, key: Key<'_>, now_ms: u64, committed: bool) -> Seen {
    let mut scratch = std::mem::take(&mut core.scratch);
    let (area, namespaced) = read::area(key, &mut scratch);
    let probe = core.hot.probe(def.id.0, group, area, namespaced);
    let found = core.hot.find_cell(&probe).map(|(record, _)| record);
    let of_commit = |record| core.hot.committed_of(def.id.0, group, record);
    let found = if committed { found.and_then(of_commit) } else { found };
    let told = match found {
        None => (!core.hot.head(&probe).is_spilled()).then_some(false),
        Some(record) if record.kind() == TOMBSTONE => Some(false),
        Some(record) => match chain_verdict(&core.hot, def, record, now_ms) {
            Verdict::Live => Some(true),
            Verdict::Dead => Some(false),
            Verdict::Unknown => None,
        },
    };
    core.scratch = scratch;
    told.map_or_else(|| Seen::Below(read::cell_lookup(&view_of(core, committed), def, key, now_ms)), Seen::Told)
}
