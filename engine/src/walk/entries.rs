//! Walking through the entries of a map.

use super::{Access, view_of};
use crate::error::Result;
use crate::hot::record::{ENTRY, Record};
use crate::hot::{Hot, Probe};
use crate::ids::KeyGroup;
use crate::key::{ENTRY_MARK, Key, SortKey, prefix_end, push_sort_key};
use crate::merged::{Base, Bounds, Merged};
use crate::packed::{Packed, PackedRecord};
use crate::read::{self, is_expired};
use crate::scan::{self, MapRange};
use crate::shard::{Core, View};
use crate::spans::Spans;
use crate::stack::Version;
use crate::states::StateDef;
use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

/// A place among the entries of a map.
#[derive(Debug)]
pub struct Entries {
    group: KeyGroup,
    key: Vec<u8>,
    namespace: Vec<u8>,
    /// What is left to go through: the first user key, and the first behind it.
    from: Vec<u8>,
    to: Option<Vec<u8>>,
    reverse: bool,
    done: bool,
    cold: Option<Cold>,
    window: Window,
}

/// What memory has of the next entries; kept for its buffers.
#[derive(Debug, Default)]
struct Window {
    bytes: Vec<u8>,
    /// Where a user key ends and where its value ends, and whether there is one.
    entries: Vec<(usize, usize, bool)>,
    /// Whether there are more behind the last one.
    truncated: bool,
}

impl Window {
    fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
        self.truncated = false;
    }

    fn user_key(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.entries[before].1);
        &self.bytes[start..self.entries[index].0]
    }

    /// The value; `None` where it masks one on disk.
    fn value(&self, index: usize) -> Option<&[u8]> {
        let (start, end, live) = self.entries[index];
        live.then(|| &self.bytes[start..end])
    }
}

/// What the segments have of the rest, standing on the next live entry.
#[derive(Debug)]
struct Cold {
    merged: Merged,
    version: Arc<Version>,
    up_to: u32,
    now_ms: u64,
    user_key: Vec<u8>,
    value: Vec<u8>,
    ended: bool,
    /// What memory hid of the segments then.
    hidden: Spans,
}

/// How a look at memory came out.
struct Seen {
    view: Arc<View>,
    /// Whether the segments may have more.
    below: bool,
    /// What memory hides of them.
    hidden: Spans,
}

impl Entries {
    /// Before the first entry of a range.
    pub fn new(key: Key<'_>, range: &MapRange<'_>) -> Self {
        let (from, to) = range.ends();
        Self {
            group: key.group,
            key: key.key.to_vec(),
            namespace: key.namespace.to_vec(),
            done: to.as_ref().is_some_and(|to| *to <= from),
            from: from.into_owned(),
            to: to.map(Cow::into_owned),
            reverse: range.reverse,
            cold: None,
            window: Window::default(),
        }
    }

    /// The map.
    pub fn at(&self) -> Key<'_> {
        Key { group: self.group, key: &self.key, namespace: &self.namespace }
    }

    /// Puts the next entries into `out`; those of memory are of one moment, and so is what is masked on disk.
    pub fn next(&mut self, access: &mut impl Access, def: &StateDef, out: &mut Packed) -> Result<()> {
        while !self.done && out.room() > 0 {
            let (now_ms, committed) = (access.now_ms(), access.is_committed());
            let mut window = std::mem::take(&mut self.window);
            window.clear();
            let seen = access
                .inside(self.group, |core, group| self.look(core, group, def, now_ms, committed, &mut window, out))?;
            let seen = match seen {
                Some(seen) => seen?,
                None => Seen { view: access.disk()?, below: true, hidden: Spans::default() },
            };
            if seen.below {
                self.place_cold(def, &seen.view, seen.hidden, now_ms)?;
                self.merge(&mut window, out)?;
            } else {
                self.cold = None;
            }
            self.window = window;
        }
        Ok(())
    }

    /// What memory has: into the window where the segments may have more, else straight into `out`.
    #[expect(clippy::too_many_arguments, reason = "where, what of it, and where to")]
    fn look(
        &mut self,
        core: &mut Core,
        group: u16,
        def: &StateDef,
        now_ms: u64,
        committed: bool,
        window: &mut Window,
        out: &mut Packed,
    ) -> Result<Seen> {
        let mut scratch = std::mem::take(&mut core.scratch);
        let at = Key { group: self.group, key: &self.key, namespace: &self.namespace };
        let (area, namespaced) = read::area(at, &mut scratch);
        let probe = core.hot.probe(def.id.0, group, area, namespaced);
        let below = core.hot.head(&probe).is_spilled() && !core.hot.is_cleared_for(&probe, committed);
        let hidden = if below { core.hot.hidden_for(&probe, committed) } else { Spans::default() };
        let root = core.hot.find_root(&probe).map(|(root, _)| root);
        let (mut last, mut stopped) = (Vec::new(), false);
        let (mut room, records_max) = (out.room(), out.room());
        // The value of a user key, or that memory has none of it; true to go on.
        let mut take = |user_key: &[u8], value: Option<&[u8]>| {
            if below {
                window.bytes.extend_from_slice(user_key);
                let key_end = window.bytes.len();
                window.bytes.extend_from_slice(value.unwrap_or_default());
                window.entries.push((key_end, window.bytes.len(), value.is_some()));
                stopped = window.entries.len() >= records_max || window.bytes.len() >= WINDOW_BYTES;
                window.truncated = stopped;
            } else if let Some(value) = value {
                out.push(PackedRecord { group: self.group, key: &[], namespace: &[], user_key, value });
                room = out.room();
                stopped = room == 0;
                if stopped {
                    last.extend_from_slice(user_key);
                }
            }
            !stopped
        };
        let limit =
            root.and_then(|root| self.visit(&core.hot, &probe, root, (now_ms, committed, records_max), &mut take));
        match (below, limit) {
            (true, limit) => window.truncated |= limit.is_some(),
            (false, _) if stopped => self.pass(&last),
            (false, Some(limit)) => self.pass(&limit),
            (false, None) => self.done = true,
        }
        core.scratch = scratch;
        Ok(Seen { view: view_of(core, committed), below, hidden })
    }

    /// Calls `take` with what memory has of the rest, in its order: a user key's value, or none where it masks one on disk; until it says
    /// false, which it does after `count_max` at the latest. Says up to which user key it went at most, where that isn't the end: no more
    /// of what was put far is looked for.
    fn visit(
        &self,
        hot: &Hot,
        probe: &Probe<'_>,
        root: Record,
        (now_ms, committed, count_max): (u64, bool, usize),
        take: &mut impl FnMut(&[u8], Option<&[u8]>) -> bool,
    ) -> Option<Vec<u8>> {
        let arena = hot.arena();
        let range = (self.from.as_slice(), self.to.as_deref());
        let (far, is_cut) = hot.far_from(probe, root, range, count_max, self.reverse);
        let limit = far.last().filter(|_| is_cut).map(|last| last.entry.user_key);
        let mut far = far.into_iter().map(|far| far.entry).peekable();
        let mut goes_on = true;
        let mut visit = |at| {
            let record = Record::load(arena, at);
            let user_key = record.area(arena);
            let outside = match self.reverse {
                true => user_key < self.from.as_slice(),
                false => self.to.as_deref().is_some_and(|to| user_key >= to),
            };
            let comes_before = |of: &[u8]| if self.reverse { of > user_key } else { of < user_key };
            if outside || limit.is_some_and(comes_before) {
                return false;
            }
            while goes_on && let Some(entry) = far.next_if(|entry| comes_before(entry.user_key)) {
                goes_on = take(entry.user_key, Some(entry.value));
            }
            // What is staged masks nothing that is committed.
            let version = if committed { hot.committed_of(probe.state, probe.group, record) } else { Some(record) };
            if let (true, Some(version)) = (goes_on, version) {
                // The record is newer than what was put far.
                far.next_if(|entry| entry.user_key == user_key);
                let live = version.kind() == ENTRY && !is_expired(version.expiry_ms(arena), now_ms);
                goes_on = take(user_key, live.then(|| hot.value_of(version)));
            }
            goes_on
        };
        let tree = hot.tree(root);
        if self.reverse {
            tree.descend_from(arena, self.to.as_deref(), &mut visit);
        } else {
            tree.ascend(arena, Some(&self.from), &mut visit);
        }
        while goes_on && let Some(entry) = far.next() {
            goes_on = take(entry.user_key, Some(entry.value));
        }
        limit.map(<[u8]>::to_vec)
    }

    /// Leaves everything up to a user key behind.
    fn pass(&mut self, user_key: &[u8]) {
        if self.reverse {
            let to = self.to.get_or_insert_default();
            to.clear();
            to.extend_from_slice(user_key);
        } else {
            self.from.clear();
            self.from.extend_from_slice(user_key);
            self.from.push(0);
        }
    }

    /// Stands on what a version's segments have next, unless that is where it stands already.
    fn place_cold(&mut self, def: &StateDef, view: &View, hidden: Spans, now_ms: u64) -> Result<()> {
        let View { version, up_to, .. } = view;
        let is_of = |cold: &Cold| Arc::ptr_eq(&cold.version, version) && cold.up_to == *up_to;
        let stands = |cold: &Cold| is_of(cold) && cold.now_ms == now_ms && cold.hidden == hidden;
        if self.cold.as_ref().is_some_and(stands) {
            return Ok(());
        }
        let mut container = Vec::new();
        push_sort_key(&mut container, def.id, self.at());
        let below = scan::uncleared(&view.slice_of(self.group), def, &container, hidden.clone())?;
        container.push(ENTRY_MARK);
        let bounds = Bounds {
            from: [&container[..], &self.from].concat(),
            to: self.to.as_ref().map_or_else(|| prefix_end(&container), |to| Some([&container[..], to].concat())),
            reverse: self.reverse,
        };
        let merged = Merged::masked(&below.layers, bounds, now_ms, below.masks)?;
        let (version, up_to) = (Arc::clone(version), *up_to);
        let (user_key, value) = Default::default();
        let cold = self.cold.insert(Cold { merged, version, up_to, now_ms, user_key, value, ended: false, hidden });
        cold.step()
    }

    /// Merges the window with what the segments have, into `out`.
    fn merge(&mut self, window: &mut Window, out: &mut Packed) -> Result<()> {
        let Some(mut cold) = self.cold.take() else { return Ok(()) };
        let mut index = 0;
        let mut last = None;
        while out.room() > 0 {
            let hot = (index < window.entries.len()).then(|| window.user_key(index));
            let order = match hot {
                None if window.truncated || cold.ended => break,
                None => Ordering::Greater,
                Some(_) if cold.ended => Ordering::Less,
                Some(hot) if self.reverse => cold.user_key.as_slice().cmp(hot),
                Some(hot) => hot.cmp(&cold.user_key),
            };
            if order == Ordering::Greater {
                let (user_key, value) = (cold.user_key.as_slice(), cold.value.as_slice());
                out.push(PackedRecord { group: self.group, key: &[], namespace: &[], user_key, value });
                last = Some(cold.user_key.clone());
                cold.step()?;
                continue;
            }
            let user_key = window.user_key(index);
            if let Some(value) = window.value(index) {
                out.push(PackedRecord { group: self.group, key: &[], namespace: &[], user_key, value });
            }
            last = Some(user_key.to_vec());
            if order == Ordering::Equal {
                cold.step()?;
            }
            index += 1;
        }
        self.done = index == window.entries.len() && !window.truncated && cold.ended;
        if let Some(last) = last {
            self.pass(&last);
        }
        self.cold = Some(cold);
        Ok(())
    }
}

/// A window holds no more than this, but for its last entry, in bytes.
const WINDOW_BYTES: usize = 1 << 20;

impl Cold {
    fn step(&mut self) -> Result<()> {
        while let Some(resolved) = self.merged.next()? {
            let user_key = SortKey::decode(&resolved.sort_key).and_then(|key| key.user_key);
            if let (Base::Value, Some(user_key)) = (resolved.base, user_key) {
                self.user_key.clear();
                self.user_key.extend_from_slice(user_key);
                self.value.clear();
                self.value.extend_from_slice(&resolved.value);
                return Ok(());
            }
        }
        self.ended = true;
        Ok(())
    }
}
