//! Scans of one map: what memory and the segments have of it, merged, in the order of user keys.

use crate::error::Error;
use crate::hot::Probe;
use crate::hot::record::{ENTRY, Record};
use crate::key::{ENTRY_MARK, Key, SortKey, prefix_end, prefix_of, push_sort_key};
use crate::mask::Masks;
use crate::merged::{Base, Bounds, Merged};
use crate::read::is_expired;
use crate::segment::Kind;
use crate::shard::Core;
use crate::spans::Spans;
use crate::stack::{Layer, Slice};
use crate::states::StateDef;
use crate::write::Halt;
use std::borrow::Cow;
use std::ops::{Bound, ControlFlow};

/// Which entries of a map, and in which direction.
#[derive(Clone, Debug)]
pub struct MapRange<'a> {
    /// The lower bound.
    pub from: Bound<&'a [u8]>,
    /// The upper bound.
    pub to: Bound<&'a [u8]>,
    /// Only user keys that start with this.
    pub prefix: &'a [u8],
    /// From the last down to the first.
    pub reverse: bool,
}

impl<'a> MapRange<'a> {
    /// All entries, upwards.
    pub const fn all() -> Self {
        Self { from: Bound::Unbounded, to: Bound::Unbounded, prefix: &[], reverse: false }
    }

    /// The entries between two bounds, upwards.
    pub const fn between(from: Bound<&'a [u8]>, to: Bound<&'a [u8]>) -> Self {
        Self { from, to, prefix: &[], reverse: false }
    }

    /// The entries whose user key starts with `prefix`, upwards.
    pub const fn prefix(prefix: &'a [u8]) -> Self {
        Self { from: Bound::Unbounded, to: Bound::Unbounded, prefix, reverse: false }
    }

    /// The same in the other direction.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self { reverse: !self.reverse, ..self }
    }

    /// The first user key of the range and the first one behind it.
    pub(crate) fn ends(&self) -> (Cow<'a, [u8]>, Option<Cow<'a, [u8]>>) {
        let after = |key: &[u8]| Cow::Owned([key, &[0]].concat());
        let from = match self.from {
            Bound::Unbounded => Cow::default(),
            Bound::Included(key) => Cow::Borrowed(key),
            Bound::Excluded(key) => after(key),
        };
        let to = match self.to {
            Bound::Unbounded => None,
            Bound::Included(key) => Some(after(key)),
            Bound::Excluded(key) => Some(Cow::Borrowed(key)),
        };
        if self.prefix.is_empty() {
            return (from, to);
        }
        let end = prefix_end(self.prefix).map(Cow::Owned);
        let to = match (to, end) {
            (Some(to), Some(end)) => Some(to.min(end)),
            (to, end) => to.or(end),
        };
        (from.max(Cow::Borrowed(self.prefix)), to)
    }
}

/// What is called with each (user key, value).
pub(crate) type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// Calls `visit` with every live entry of a map in the range, in order, until it breaks.
pub(crate) fn map(
    core: &mut Core,
    def: &StateDef,
    key: Key<'_>,
    probe: &Probe<'_>,
    range: &MapRange<'_>,
    visit: &mut Visit<'_>,
) -> Result<(), Halt> {
    let (from, to) = range.ends();
    if to.as_ref().is_some_and(|to| *to <= from) {
        return Ok(());
    }
    core.hot.spread(probe)?;
    let core = &*core;
    let cold = cold(core, def, key, probe, &from, to.as_deref(), range.reverse)?;
    let mut scan = Scan { core, cold, reverse: range.reverse, visit, failed: None, stopped: false };
    scan.cold_step();
    if let Some((root, _)) = core.hot.find_root(probe) {
        let tree = core.hot.tree(root);
        let arena = core.hot.arena();
        if range.reverse {
            tree.descend_from(arena, to.as_deref(), |at| {
                let record = Record::load(arena, at);
                *record.area(arena) >= *from && scan.hot(record)
            });
        } else {
            let end = to.as_deref().map(|to| (prefix_of(to), to));
            tree.ascend(arena, Some(&from), |at| {
                let record = Record::load(arena, at);
                let user_key = record.area(arena);
                end.is_none_or(|end| (prefix_of(user_key), user_key) < end)
                    && if scan.cold.is_none() { scan.take(record, user_key) } else { scan.hot(record) }
            });
        }
    }
    while !scan.stopped && scan.cold.is_some() {
        scan.cold_visit();
    }
    scan.failed.map_or(Ok(()), |error| Err(Halt::Error(error)))
}

/// What the segments have of the range; `None` where memory has all of the map.
fn cold(
    core: &Core,
    def: &StateDef,
    key: Key<'_>,
    probe: &Probe<'_>,
    from: &[u8],
    to: Option<&[u8]>,
    reverse: bool,
) -> Result<Option<Cold>, Halt> {
    if !core.hot.head(probe).is_spilled() || core.hot.is_cleared(probe) {
        return Ok(None);
    }
    let hidden = core.hot.hidden(probe);
    let slice = core.view.version.slice_of(key.group);
    let mut container = Vec::with_capacity(10 + key.key.len() + key.namespace.len());
    push_sort_key(&mut container, def.id, key);
    let Uncleared { layers, masks } = uncleared(slice, def, &container, hidden)?;
    if layers.is_empty() {
        return Ok(None);
    }
    container.push(ENTRY_MARK);
    let bounds = Bounds {
        from: [&container[..], from].concat(),
        to: to.map_or_else(|| prefix_end(&container), |to| Some([&container[..], to].concat())),
        reverse,
    };
    let merged = Merged::masked(&layers, bounds, core.hot.now_ms, masks)?;
    Ok(Some(Cold { merged, user_key: Vec::new(), value: Vec::new() }))
}

/// What the segments have of a container, deleted or not.
pub(crate) struct Uncleared {
    /// The layers from the newest down to the one that clears the container, if any does; those without it left out.
    pub layers: Vec<Layer>,
    /// What is hidden in them.
    pub masks: Masks,
}

/// Finds what the segments have of a container. `hidden` is what memory hides in all of them.
pub(crate) fn uncleared(slice: &Slice, def: &StateDef, container: &[u8], hidden: Spans) -> Result<Uncleared, Error> {
    let mut layers = Vec::new();
    let mut masks = Masks::new(container);
    masks.add(0, hidden);
    let mut key = container.to_vec();
    for layer in &slice.layers {
        let Some(state) = layer.map.to_segment(def.id) else { continue };
        key[2..4].copy_from_slice(&state.0.to_be_bytes());
        let segment = layer.segment.get()?;
        if !segment.may_contain(segment.hash(&key)) {
            continue;
        }
        layers.push(layer.clone());
        if segment.may_clear(segment.hash(&key))
            && let Some(block) = segment.locate(&key)?
        {
            let block = segment.block(block)?;
            match block.get(&key).filter(|entry| entry.kind == Kind::Clear) {
                Some(entry) if entry.value.is_empty() => break,
                Some(entry) => masks.add(layers.len(), Spans::of_clear(entry.value)),
                None => {}
            }
        }
    }
    Ok(Uncleared { layers, masks })
}

struct Cold {
    merged: Merged,
    user_key: Vec<u8>,
    value: Vec<u8>,
}

struct Scan<'a> {
    core: &'a Core,
    cold: Option<Cold>,
    reverse: bool,
    visit: &'a mut Visit<'a>,
    failed: Option<Error>,
    stopped: bool,
}

impl Scan<'_> {
    /// Goes to the next live entry of the segments.
    fn cold_step(&mut self) {
        let Some(cold) = &mut self.cold else { return };
        loop {
            match cold.merged.next() {
                Ok(Some(resolved)) => {
                    let user_key = SortKey::decode(&resolved.sort_key).and_then(|key| key.user_key);
                    if let (Base::Value, Some(user_key)) = (resolved.base, user_key) {
                        cold.user_key.clear();
                        cold.user_key.extend_from_slice(user_key);
                        cold.value.clear();
                        cold.value.extend_from_slice(&resolved.value);
                        return;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    self.failed = Some(error);
                    self.stopped = true;
                    break;
                }
            }
        }
        self.cold = None;
    }

    fn cold_visit(&mut self) {
        if let Some(cold) = &self.cold {
            self.stopped = (self.visit)(&cold.user_key, &cold.value).is_break();
        }
        if !self.stopped {
            self.cold_step();
        }
    }

    /// Takes the next entry of memory, after those of the segments that come before it; false to stop.
    fn hot(&mut self, record: Record) -> bool {
        let arena = self.core.hot.arena();
        let user_key = record.area(arena);
        while !self.stopped {
            let order = match &self.cold {
                Some(cold) if self.reverse => user_key.cmp(&cold.user_key),
                Some(cold) => cold.user_key.as_slice().cmp(user_key),
                None => break,
            };
            match order {
                std::cmp::Ordering::Less => self.cold_visit(),
                std::cmp::Ordering::Equal => self.cold_step(),
                std::cmp::Ordering::Greater => break,
            }
        }
        self.take(record, user_key)
    }

    /// Takes an entry of memory that nothing comes before; false to stop.
    #[inline]
    fn take(&mut self, record: Record, user_key: &[u8]) -> bool {
        if self.stopped {
            return false;
        }
        let arena = self.core.hot.arena();
        let live = record.kind() == ENTRY && !is_expired(record.expiry_ms(arena), self.core.hot.now_ms);
        if live {
            self.stopped = (self.visit)(user_key, self.core.hot.value_of(record)).is_break();
        }
        !self.stopped
    }
}
