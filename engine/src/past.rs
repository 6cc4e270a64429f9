//! The past: what a store had at a checkpoint that is kept, or at a position of its changelog.
//!
//! A checkpoint's manifest says which segments it consists of; they are read as any others are. What a position has besides is
//! gathered from the changelog: an [`Overlay`] of the keys that are asked for, which a pass through the changes between the nearest
//! checkpoint before it and the position makes. As in replaying them nothing expires meanwhile: the clock counts when it is read.
//!
//! A source holds its manifest, so that neither segments nor the changelog behind it are reclaimed while it lives.

use crate::changelog::History;
use crate::changelog::record::{Change, Record};
use crate::checkpoint::{check_state, version_of};
use crate::commit;
use crate::error::{Error, Result};
use crate::hot::Probe;
use crate::ids::{KeyGroup, StateId};
use crate::key::{ENTRY_MARK, Key, SortKey, VALUE_BYTES_MAX, prefix_end, push_sort_key};
use crate::manifest::Manifest;
use crate::manifest::format::decode_state;
use crate::merged::{Base, Bounds, Merged};
use crate::metrics::OwnerCounts;
use crate::read::{self, Known, is_expired};
use crate::scan::{self, MapRange};
use crate::shard::{Core, View};
use crate::spans::Spans;
use crate::stack::{Found, Version};
use crate::states::{StateDef, StateKind};
use crate::store::StoreInner;
use crate::write::Halt;
use std::collections::btree_map::Range;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::iter::Rev;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

/// Where the past is read from.
#[derive(Debug)]
pub struct Source {
    store: Arc<StoreInner>,
    view: Arc<View>,
    manifest: Arc<Manifest>,
    /// The changes between the checkpoint and the position; none where it is a checkpoint that is read.
    history: Option<History>,
}

/// A value, or a list's frames, and when it expires.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cell {
    /// `None`: there is none.
    pub value: Option<Vec<u8>>,
    /// In ms.
    pub expiry_ms: Option<u64>,
}

/// What the changelog made of some keys.
#[derive(Debug, Default)]
pub struct Overlay {
    /// By sort key.
    cells: HashMap<Vec<u8>, Cell>,
    /// By the container's sort key.
    maps: HashMap<Vec<u8>, Entries>,
}

/// What the changelog made of a map.
#[derive(Debug, Default)]
struct Entries {
    /// What was deleted by range, or cleared, of what the checkpoint has.
    hidden: Spans,
    entries: BTreeMap<Vec<u8>, Entry>,
}

#[derive(Debug)]
enum Entry {
    Put(Cell),
    /// It is what the checkpoint has, if that has one, and expires then.
    Touched(Option<u64>),
}

impl Source {
    /// A checkpoint that is kept.
    pub fn at_label(store: &Arc<StoreInner>, label: u64) -> Result<Self> {
        store.check()?;
        let manifest = Arc::clone(&store.catalogue.lock().find(label)?.manifest);
        Ok(Self::new(store, manifest, None))
    }

    /// A checkpoint whose manifest the caller holds since it was in the catalogue: so what it names is still there.
    pub fn of_manifest(store: &Arc<StoreInner>, manifest: &Arc<Manifest>) -> Result<Self> {
        store.check()?;
        Ok(Self::new(store, Arc::clone(manifest), None))
    }

    /// A position of the changelog: all changes that end there or before; of a transactional store, all that was committed there or
    /// before.
    pub fn at_position(store: &Arc<StoreInner>, position: u64) -> Result<Self> {
        let (manifest, history) = reach(store, position)?;
        Ok(Self::new(store, manifest, Some(history)))
    }

    fn new(store: &Arc<StoreInner>, manifest: Arc<Manifest>, history: Option<History>) -> Self {
        let states = store.states.read().clone();
        let version = version_of(&store.storage, &store.engine.inner.cache, &manifest, &states, &store.conversions);
        let view = Arc::new(View::new(Arc::new(version), 0));
        Self { store: Arc::clone(store), view, manifest, history }
    }

    /// The segments of the checkpoint.
    pub fn version(&self) -> &Arc<Version> {
        &self.view.version
    }

    /// The checkpoint.
    pub const fn manifest(&self) -> &Arc<Manifest> {
        &self.manifest
    }

    /// Gathers what the changelog made of the keys that are `wanted`, in one pass.
    ///
    /// # Errors
    /// [`Error::Position`] where the changelog hasn't all of it: an event that may have changed such a key, which only its handler
    /// could tell; a bulk load or a migration. [`Error::State`] as of [`check_state`].
    pub fn overlay(
        &self,
        wanted: impl Fn(StateId, Key<'_>, Option<&[u8]>) -> bool,
        groups: &[KeyGroup],
    ) -> Result<Overlay> {
        let mut overlay = Overlay::default();
        let Some(history) = &self.history else { return Ok(overlay) };
        let groups: HashSet<KeyGroup> = groups.iter().copied().collect();
        let states = self.store.states.read().clone();
        let mut others: HashSet<StateId> = HashSet::new();
        let refused = |problem: String| Err(Error::Position { position: history.to(), problem });
        history.records(history.from(), history.to(), |record, begin, _| {
            match record {
                Record::Change { state, key, change, expiry_ms } if wanted(state, key, user_key_of(change)) => {
                    let def = states.get(usize::from(state.0)).filter(|_| !others.contains(&state));
                    let Some(def) = def else {
                        let problem = "another state had its number then".into();
                        return Err(Error::State { state: format!("{state:?}"), problem });
                    };
                    check_state(&self.manifest, def)?;
                    overlay.change(self, def, key, change, expiry_ms)?;
                }
                Record::State(described) => {
                    let info = decode_state(described)
                        .map_err(|error| Error::Background(format!("a state in the changelog: {error}")))?;
                    let is_same = |def: &Arc<StateDef>| def.name == info.name;
                    if !states.get(usize::from(info.id.0)).is_some_and(is_same) {
                        others.insert(info.id);
                    }
                }
                Record::Nothing => return refused(format!("there was a load or a migration at {begin}")),
                Record::Event(event) | Record::Traced(_, event, _) if groups.contains(&event.group) => {
                    return refused(format!("key group {} has an event at {begin}", event.group.0));
                }
                Record::Rollback(rollback) if groups.iter().any(|group| rollback.scope.range().contains(*group)) => {
                    return refused(format!("key groups {} were rolled back at {begin}", rollback.scope.range()));
                }
                _ => {}
            }
            Ok(true)
        })?;
        Ok(overlay)
    }

    /// A value, or a list's frames, as of `now_ms`.
    pub fn cell(&self, def: &StateDef, key: Key<'_>, overlay: &Overlay, now_ms: u64) -> Result<Cell> {
        check_state(&self.manifest, def)?;
        let mut cell = match overlay.cells.get(&sort_key(def, key)) {
            Some(cell) => cell.clone(),
            None => self.cell_below(def, key)?,
        };
        if is_expired(cell.expiry_ms, now_ms) {
            return Ok(Cell::default());
        }
        if def.kind == StateKind::List {
            let value = cell.value.map(|value| def.fold(Some(&value), std::iter::empty(), now_ms));
            cell.value = value.filter(|value| !value.is_empty());
        }
        Ok(cell)
    }

    /// What the checkpoint has of it.
    fn cell_below(&self, def: &StateDef, key: Key<'_>) -> Result<Cell> {
        def.check_operator()?;
        let found = read::finish(read::cell_lookup(&self.view, def, key, 0), &mut OwnerCounts::default())?;
        if found.is_absent() {
            return Ok(Cell::default());
        }
        let operands = found.operands.iter().rev().map(Vec::as_slice);
        let value = Some(def.fold_within(found.base.as_deref(), operands, 0, VALUE_BYTES_MAX)?);
        Ok(Cell { value, expiry_ms: found.expiry_ms.filter(|_| def.kind != StateKind::List) })
    }

    /// A map's entry, as of `now_ms`.
    pub fn entry(&self, def: &StateDef, key: Key<'_>, user_key: &[u8], overlay: &Overlay, now_ms: u64) -> Result<Cell> {
        check_state(&self.manifest, def)?;
        let below = || -> Result<Cell> {
            let lookup = read::entry_lookup(&self.view, def, key, user_key, 0);
            let found = read::finish(lookup, &mut OwnerCounts::default())?;
            Ok(Cell { expiry_ms: found.expiry_ms.filter(|_| found.base.is_some()), value: found.base })
        };
        let entries = overlay.maps.get(&sort_key(def, key));
        let cell = match entries.and_then(|entries| entries.entries.get(user_key)) {
            Some(Entry::Put(cell)) => cell.clone(),
            Some(Entry::Touched(expiry_ms)) => Cell { expiry_ms: *expiry_ms, ..below()? },
            None if entries.is_some_and(|entries| entries.hidden.find(user_key).is_some()) => Cell::default(),
            None => below()?,
        };
        Ok(if is_expired(cell.expiry_ms, now_ms) { Cell::default() } else { cell })
    }

    /// The entries of a map in a range, in order, as of `now_ms`.
    pub fn entries<'a>(
        &self,
        def: &StateDef,
        key: Key<'_>,
        range: &MapRange<'_>,
        overlay: &'a Overlay,
        now_ms: u64,
    ) -> Result<Walk<'a>> {
        check_state(&self.manifest, def)?;
        let (from, to) = range.ends();
        if to.as_ref().is_some_and(|to| *to <= from) {
            return Ok(Walk { merged: None, cold: None, hot: None, next: None, reverse: range.reverse, now_ms });
        }
        let mut container = sort_key(def, key);
        let entries = overlay.maps.get(&container);
        let hidden = entries.map(|entries| entries.hidden.clone()).unwrap_or_default();
        let below = scan::uncleared(&self.view.slice_of(key.group), def, &container, hidden)?;
        container.push(ENTRY_MARK);
        let bounds = Bounds {
            from: [&container[..], &from].concat(),
            to: to.as_ref().map_or_else(|| prefix_end(&container), |to| Some([&container[..], to].concat())),
            reverse: range.reverse,
        };
        let merged = Some(Merged::masked(&below.layers, bounds, 0, below.masks)?);
        let end = to.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let hot = entries.map(|entries| entries.entries.range::<[u8], _>((Bound::Included(&*from), end)));
        let hot = hot.map(|range_of| if range.reverse { Hot::Down(range_of.rev()) } else { Hot::Up(range_of) });
        let mut walk = Walk { merged, cold: None, hot, next: None, reverse: range.reverse, now_ms };
        walk.step_hot();
        walk.step_cold()?;
        Ok(walk)
    }

    /// Gives the keys that the checkpoint has in a key group of a state to `each`, and those of the overlay, in no particular order,
    /// some of them twice; a map's where it has entries.
    pub fn keys(
        &self,
        def: &StateDef,
        group: KeyGroup,
        overlay: &Overlay,
        mut each: impl FnMut(Key<'_>) -> Result<()>,
    ) -> Result<()> {
        check_state(&self.manifest, def)?;
        let prefix = [group.0.to_be_bytes(), def.id.0.to_be_bytes()].concat();
        let of_log = overlay.cells.keys().chain(overlay.maps.keys()).filter(|key| key.starts_with(&prefix));
        for key in of_log.filter_map(|key| SortKey::decode(key)) {
            each(key.key)?;
        }
        let mut merged = Merged::new(&self.view.slice_of(group).layers, Bounds::prefix(&prefix), 0)?;
        let mut last: Vec<u8> = Vec::new();
        while let Some(resolved) = merged.next()? {
            if resolved.base != Base::Value && resolved.operands.is_empty() {
                continue;
            }
            let Some(len) = SortKey::container_len(&resolved.sort_key) else { continue };
            last.clear();
            last.extend_from_slice(&resolved.sort_key[..len]);
            if let Some(key) = SortKey::decode(&last) {
                each(key.key)?;
            }
            if def.kind == StateKind::Map {
                last.push(ENTRY_MARK);
                merged.pass_all(&last)?;
            }
        }
        Ok(())
    }
}

/// A value, or a list's frames, as they are, without refreshing anything.
pub fn cell_now(core: &mut Core, def: &StateDef, key: Key<'_>, probe: &Probe<'_>) -> Result<Cell, Halt> {
    let cold = |core: &mut Core| -> Result<Found, Halt> {
        let lookup = read::cell_lookup(&core.view, def, key, core.hot.now_ms);
        Ok(read::finish(lookup, &mut core.counts)?)
    };
    if def.kind == StateKind::Value {
        let found = core.hot.find_cell(probe);
        return Ok(match read::know(&core.hot, probe, found) {
            Known::Absent => Cell::default(),
            Known::Value(record) => {
                let value = Some(core.hot.value_of(record).to_vec());
                Cell { value, expiry_ms: record.expiry_ms(core.hot.arena()) }
            }
            Known::Unknown => {
                let found = cold(core)?;
                Cell { expiry_ms: found.expiry_ms.filter(|_| found.base.is_some()), value: found.base }
            }
        });
    }
    def.check_operator()?;
    let value = read::folded(core, def, key, probe)?;
    let expiry_ms = match core.hot.find_cell(probe) {
        _ if value.is_none() || def.kind == StateKind::List => None,
        Some((record, _)) => record.expiry_ms(core.hot.arena()),
        None => cold(core)?.expiry_ms,
    };
    Ok(Cell { value, expiry_ms })
}

/// So many entries of a map are taken at once, and about so many bytes.
const ENTRIES_MAX: usize = 256;
const ENTRIES_BYTES: usize = 1 << 20;

/// The next entries of a map, from a user key on; and whether they are the last.
#[expect(clippy::type_complexity, reason = "entries, and a flag")]
pub fn entries_now(
    core: &mut Core,
    def: &StateDef,
    key: Key<'_>,
    probe: &Probe<'_>,
    from: &[u8],
) -> Result<(Vec<(Vec<u8>, Cell)>, bool), Halt> {
    let (mut entries, mut bytes, mut is_last) = (Vec::new(), 0, true);
    let range = MapRange::between(Bound::Included(from), Bound::Unbounded);
    scan::map(core, def, key, probe, &range, &mut |user_key, value| {
        entries.push((user_key.to_vec(), Cell { value: Some(value.to_vec()), expiry_ms: None }));
        bytes += user_key.len() + value.len();
        is_last = entries.len() < ENTRIES_MAX && bytes < ENTRIES_BYTES;
        if is_last { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    let root = core.hot.find_root(probe).map(|(root, _)| root);
    for (user_key, cell) in &mut entries {
        let found = root.and_then(|root| core.hot.find_entry(probe, root, user_key));
        cell.expiry_ms = match found {
            Some((record, _)) => record.expiry_ms(core.hot.arena()),
            None => {
                let lookup = read::entry_lookup(&core.view, def, key, user_key, core.hot.now_ms);
                read::finish(lookup, &mut core.counts)?.expiry_ms
            }
        };
    }
    Ok((entries, is_last))
}

/// How a position of the changelog is reached: the newest checkpoint of the history before it, held, and the changes from there up to it; of a
/// transactional store, up to the last commit.
pub fn reach(store: &Arc<StoreInner>, position: u64) -> Result<(Arc<Manifest>, History)> {
    store.check()?;
    if store.options.history.checkpoints == 0 {
        return Err(Error::Options { option: "history", problem: "the store was opened without it".into() });
    }
    let mut end = store.log.position();
    if end < position {
        // It may be of what writers hold.
        end = commit::log_all(store)?;
    }
    if end < position {
        return Err(Error::Position { position, problem: format!("the changelog ends at {end}") });
    }
    store.log.write_out(position, || store.engine.log(store))?;
    let manifest = nearest(store, position, |_| true)?;
    let history = changes(store, &manifest, position)?;
    if !store.options.transactional {
        return Ok((manifest, history));
    }
    let (last, of_checkpoint) = (history.last_commit(position)?, manifest.log_position);
    let is_exact = last.is_some() || !manifest.has_rollbacks;
    // The commit had nothing of what was rolled back since, as its checkpoint has.
    let manifest = if is_exact { manifest } else { nearest(store, of_checkpoint, |kept| !kept.has_rollbacks)? };
    let history = changes(store, &manifest, last.unwrap_or(of_checkpoint))?;
    Ok((manifest, history))
}

/// The changes between a checkpoint and a position, all of which are in the files.
pub fn changes(store: &StoreInner, manifest: &Manifest, to: u64) -> Result<History> {
    let (there, written) = store.log.files().known();
    History::open(&*store.storage, store.info.uuid, (&there, &written), manifest.log_position, to)
}

/// The newest checkpoint of the history that a position doesn't come before, of those that are as they are at their positions where it is
/// theirs: `is_exact`; held, the changelog stays from there on.
fn nearest(store: &StoreInner, position: u64, is_exact: impl Fn(&Manifest) -> bool) -> Result<Arc<Manifest>> {
    let mut catalogue = store.catalogue.lock();
    let (mut found, mut first) = (None, None);
    for kept in catalogue.history(store.options.history.checkpoints) {
        let at = kept.manifest.log_position;
        first = Some(at);
        if at < position || at == position && is_exact(&kept.manifest) {
            found = Some(Arc::clone(&kept.manifest));
            break;
        }
    }
    let manifest = match (found, first, catalogue.birth) {
        (Some(manifest), ..) => manifest,
        (None, None, Some(number)) => Arc::new(Manifest::of_nothing(number, store.info)),
        (None, first, _) => {
            let problem = match first {
                Some(first) if first == position => {
                    "the oldest checkpoint of the history has what was rolled back since".into()
                }
                first => format!("the history begins at {}", first.unwrap_or(u64::MAX)),
            };
            return Err(Error::Position { position, problem });
        }
    };
    catalogue.note_read(&manifest);
    Ok(manifest)
}

fn sort_key(def: &StateDef, key: Key<'_>) -> Vec<u8> {
    let mut sort_key = Vec::with_capacity(10 + key.key.len() + key.namespace.len());
    push_sort_key(&mut sort_key, def.id, key);
    sort_key
}

/// The entry of a map that a change is of, where it is of one alone.
const fn user_key_of(change: Change<'_>) -> Option<&[u8]> {
    match change {
        Change::MapPut(user_key, _) | Change::MapDelete(user_key) | Change::MapTouch(user_key) => Some(user_key),
        _ => None,
    }
}

impl Overlay {
    fn change(
        &mut self,
        source: &Source,
        def: &StateDef,
        key: Key<'_>,
        change: Change<'_>,
        expiry_ms: Option<u64>,
    ) -> Result<()> {
        if def.kind == StateKind::Map {
            self.maps.entry(sort_key(def, key)).or_default().change(change, expiry_ms);
            return Ok(());
        }
        let sort_key = sort_key(def, key);
        let cell = match self.cells.get_mut(&sort_key) {
            Some(cell) => cell,
            None => {
                let is_whole = matches!(change, Change::Put(_) | Change::Delete);
                let below = if is_whole { Cell::default() } else { source.cell_below(def, key)? };
                self.cells.entry(sort_key).or_insert(below)
            }
        };
        match change {
            Change::Put(value) => *cell = Cell { value: Some(value.to_vec()), expiry_ms },
            Change::Delete => *cell = Cell::default(),
            Change::Append(frames) => cell.value.get_or_insert_default().extend_from_slice(frames),
            Change::Merge(operand) => {
                def.check_operator()?;
                cell.value = Some(def.fold(cell.value.as_deref(), std::iter::once(operand), 0));
            }
            Change::Touch if cell.value.is_some() => cell.expiry_ms = expiry_ms,
            _ => {}
        }
        Ok(())
    }
}

impl Entries {
    fn change(&mut self, change: Change<'_>, expiry_ms: Option<u64>) {
        match change {
            Change::MapPut(user_key, value) => {
                let cell = Cell { value: Some(value.to_vec()), expiry_ms };
                self.entries.insert(user_key.to_vec(), Entry::Put(cell));
            }
            Change::MapDelete(user_key) => {
                self.entries.insert(user_key.to_vec(), Entry::Put(Cell::default()));
            }
            Change::MapTouch(user_key) => match self.entries.get_mut(user_key) {
                Some(Entry::Put(cell)) if cell.value.is_none() => {}
                Some(Entry::Put(cell)) => cell.expiry_ms = expiry_ms,
                Some(Entry::Touched(at)) => *at = expiry_ms,
                None if self.hidden.find(user_key).is_some() => {}
                None => {
                    self.entries.insert(user_key.to_vec(), Entry::Touched(expiry_ms));
                }
            },
            Change::MapDeleteRange(from, to) if to.is_none_or(|to| from < to) => {
                let range = (Bound::Included(from), to.map_or(Bound::Unbounded, Bound::Excluded));
                let gone: Vec<Vec<u8>> = self.entries.range::<[u8], _>(range).map(|(key, _)| key.clone()).collect();
                gone.iter().for_each(|user_key| drop(self.entries.remove(user_key)));
                self.hidden.insert(from, to, 0);
            }
            Change::MapClear => {
                self.entries.clear();
                self.hidden.insert(&[], None, 0);
            }
            _ => {}
        }
    }
}

/// A walk through the entries of a map as it was.
#[derive(Debug)]
pub struct Walk<'a> {
    merged: Option<Merged>,
    /// The next entry of the checkpoint.
    cold: Option<(Vec<u8>, Cell)>,
    hot: Option<Hot<'a>>,
    /// The next entry of the overlay.
    next: Option<(&'a Vec<u8>, &'a Entry)>,
    reverse: bool,
    now_ms: u64,
}

#[derive(Debug)]
enum Hot<'a> {
    Up(Range<'a, Vec<u8>, Entry>),
    Down(Rev<Range<'a, Vec<u8>, Entry>>),
}

impl Walk<'_> {
    fn step_hot(&mut self) {
        self.next = match &mut self.hot {
            Some(Hot::Up(range)) => range.next(),
            Some(Hot::Down(range)) => range.next(),
            None => None,
        };
    }

    fn step_cold(&mut self) -> Result<()> {
        self.cold = None;
        let Some(merged) = &mut self.merged else { return Ok(()) };
        while let Some(resolved) = merged.next()? {
            let user_key = SortKey::decode(&resolved.sort_key).and_then(|key| key.user_key);
            if let (Base::Value, Some(user_key)) = (resolved.base, user_key) {
                let cell = Cell { value: Some(resolved.value.clone()), expiry_ms: resolved.expiry_ms };
                self.cold = Some((user_key.to_vec(), cell));
                return Ok(());
            }
        }
        self.merged = None;
        Ok(())
    }

    /// The next entry that lives: its user key, and what it has.
    pub fn next(&mut self) -> Result<Option<(Vec<u8>, Cell)>> {
        loop {
            let order = match (&self.cold, &self.next) {
                (None, None) => return Ok(None),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some((cold, _)), Some((hot, _))) if self.reverse => hot.as_slice().cmp(cold),
                (Some((cold, _)), Some((hot, _))) => cold.as_slice().cmp(hot),
            };
            let cold = if order.is_le() { self.cold.take() } else { None };
            let hot = if order.is_ge() { self.next } else { None };
            if cold.is_some() {
                self.step_cold()?;
            }
            if hot.is_some() {
                self.step_hot();
            }
            let (user_key, cell) = match (cold, hot) {
                (_, Some((user_key, Entry::Put(cell)))) => (user_key.clone(), cell.clone()),
                (Some((user_key, cell)), Some((_, Entry::Touched(expiry_ms)))) => {
                    (user_key, Cell { expiry_ms: *expiry_ms, ..cell })
                }
                (Some((user_key, cell)), None) => (user_key, cell),
                _ => continue,
            };
            if cell.value.is_some() && !is_expired(cell.expiry_ms, self.now_ms) {
                return Ok(Some((user_key, cell)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::barrier::Barrier;
    use crate::engine::Engine;
    use crate::options::{Durability, EngineOptions, History, StoreOptions};
    use crate::states::StateOptions;
    use crate::store::Store;

    /// Each look at a position was noted until the next checkpoint.
    #[test]
    fn what_is_read_no_more_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let engine = Engine::open(EngineOptions { memory_budget_bytes: 4 << 20, ..Default::default() }).unwrap();
        let history = History { checkpoints: 3 };
        let options = StoreOptions { durability: Durability::Changelog, history, ..Default::default() };
        let store = Store::create(&engine, directory.path(), options).unwrap();
        let state = store.state(StateOptions::value("v")).unwrap();
        let mut writer = store.writer(store.range()).unwrap();
        let mut positions = Vec::new();
        for label in 1..=3 {
            writer.barrier(Barrier::new(label)).unwrap().wait().unwrap();
            writer.put(state, store.key(b"k"), &label.to_le_bytes()).unwrap();
            positions.push(store.position().unwrap());
            // Or the position would be the next checkpoint's.
            writer.put(state, store.key(b"k"), b"more").unwrap();
        }
        let noted = || store.inner.catalogue.lock().read.len();
        let look_at_all = || {
            for _ in 0..100 {
                positions.iter().for_each(|&position| drop(store.as_of_position(position).unwrap()));
            }
        };
        look_at_all();
        assert_eq!(noted(), 1, "the last one that was looked at");
        let held = [0, 0, 1].map(|at| store.as_of_position(positions[at]).unwrap());
        look_at_all();
        assert_eq!(noted(), 3, "the two that are held, and the last one");
        drop(held);
        drop(store.as_of_position(positions[0]).unwrap());
        assert_eq!(noted(), 1);
    }
}
