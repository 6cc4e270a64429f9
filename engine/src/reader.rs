//! A reader: sees what writers did without holding them up.
//!
//! A read looks at the hot tables without a lock, then at the segments. In between a record may be flushed and evicted;
//! so the view of the segments is noted first, and where it has changed in the end the read starts again.

use crate::change::check_value;
use crate::cursor::Cursor;
use crate::error::{Error, Result};
use crate::hot::commits::CommitView;
use crate::hot::record::{ENTRY, VALUE, hash_area};
use crate::hot::shared::{SharedChain, SharedChunk, SharedGet, Tables};
use crate::hot::{Hot, Probe};
use crate::ids::KeyGroup;
use crate::key::Key;
use crate::metrics::OwnerCounts;
use crate::packed::Packed;
use crate::platform::sync::reclaim::{Domain, Slot};
use crate::platform::threads::{Mutex, MutexGuard, RwLock};
use crate::read::{self, is_expired};
use crate::replay;
use crate::shard::{Core, Shard, StateHeads, View};
use crate::spans;
use crate::stack::Found;
use crate::states::{StateDef, StateKind, frames};
use crate::store::{State, StoreInner};
use crate::walk::Access;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How often a read starts again because the segments changed, before it asks the shard's owner.
const ATTEMPTS: u32 = 16;
/// Reads that can be under way through one reader without waiting for each other.
const SLOTS: usize = 8;

/// What a reader knows of a shard.
#[derive(Debug)]
struct ShardHeads {
    shard: Arc<Shard>,
    heads: Vec<StateHeads>,
    heads_number: u64,
}

#[derive(Debug)]
struct Inner {
    store: Arc<StoreInner>,
    slots: Vec<Mutex<Slot>>,
    known: RwLock<Arc<Vec<ShardHeads>>>,
    now_ms: AtomicU64,
}

/// Reads a store beside its writers, from any thread; cheap to clone.
///
/// A read sees a key as it was at some moment during the call. It promotes nothing and refreshes nothing. It fails with
/// the errors of its arguments (a key that is too long, a key group outside the store's, a state of another kind), with an
/// [`Error::Storage`] that names file and offset where a segment can't be read, and once the store is closed.
///
/// ```
/// # use alluvium::{Engine, EngineOptions, StateOptions, Store, StoreOptions};
/// # let directory = tempfile::tempdir().map_err(|error| alluvium::Error::Background(error.to_string()))?;
/// # let engine = Engine::open(EngineOptions::default())?;
/// # let store = Store::create(&engine, directory.path(), StoreOptions::default())?;
/// let counts = store.state(StateOptions::value("counts"))?;
/// let mut writer = store.writer(store.range())?;
/// let reader = store.reader();
/// writer.put(counts, store.key(b"JFK"), b"1")?;
/// let seen = std::thread::scope(|scope| scope.spawn(|| reader.get(counts, store.key(b"JFK"))).join());
/// assert_eq!(seen.ok().transpose()?.flatten(), Some(b"1".to_vec()));
/// # Ok::<(), alluvium::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Reader {
    inner: Arc<Inner>,
    committed: bool,
}

impl Reader {
    pub(crate) fn new(store: &Arc<StoreInner>) -> Self {
        let domain: &Arc<Domain> = &store.engine.inner.domain;
        Self {
            inner: Arc::new(Inner {
                store: Arc::clone(store),
                slots: (0..SLOTS).map(|_| Mutex::new(Domain::register(domain))).collect(),
                known: RwLock::new(Arc::default()),
                now_ms: AtomicU64::new(0),
            }),
            committed: false,
        }
    }

    /// The same reader of what is committed alone. Of a store that isn't transactional that is all there is. Where nothing
    /// was staged since the last commit it costs as much as any other.
    #[must_use]
    pub fn committed(self) -> Self {
        Self { committed: true, ..self }
    }

    /// Sets the clock that decides what is expired, in ms, for this reader and its clones.
    pub fn set_time_ms(&self, now_ms: u64) {
        self.inner.now_ms.store(now_ms, Ordering::Relaxed);
    }

    /// The value of a key of a value or merging state.
    pub fn get(&self, state: State, key: Key<'_>) -> Result<Option<Vec<u8>>> {
        let def = self.def(state, &[StateKind::Value, StateKind::Merging])?;
        def.check_operator()?;
        replay::before_reading(&self.inner.store, key.group)?;
        if def.kind == StateKind::Merging {
            self.folded(&def, key, ATTEMPTS)
        } else {
            self.cell(&def, key, None, ATTEMPTS)
        }
    }

    /// The elements of a list, in the order of their appending.
    pub fn list(&self, state: State, key: Key<'_>) -> Result<Vec<Vec<u8>>> {
        let def = self.def(state, &[StateKind::List])?;
        replay::before_reading(&self.inner.store, key.group)?;
        let value = self.folded(&def, key, ATTEMPTS)?.unwrap_or_default();
        let now_ms = self.inner.now_ms.load(Ordering::Relaxed);
        let live = frames(&value, def.ttl.is_some()).filter(|(expiry_ms, _)| !is_expired(*expiry_ms, now_ms));
        Ok(live.map(|(_, element)| element.to_vec()).collect())
    }

    /// The value of a map's entry.
    pub fn map_get(&self, state: State, key: Key<'_>, user_key: &[u8]) -> Result<Option<Vec<u8>>> {
        read::check_user_key(user_key)?;
        let def = self.def(state, &[StateKind::Map])?;
        replay::before_reading(&self.inner.store, key.group)?;
        self.cell(&def, key, Some(user_key), ATTEMPTS)
    }

    /// Whether a map has an entry.
    pub fn map_contains(&self, state: State, key: Key<'_>, user_key: &[u8]) -> Result<bool> {
        Ok(self.map_get(state, key, user_key)?.is_some())
    }

    /// Puts the next batch of what a cursor goes through into `out`, in the place of what is there; false at the end. See
    /// [`Cursor`] for what it sees of changes meanwhile. Looking at memory holds a writer up between two of its
    /// operations, for about as long as it takes to copy what goes into `out`, or some thousand keys; in a queue, to look at all that was put
    /// behind its front and isn't flushed.
    pub fn fetch(&self, cursor: &mut Cursor, out: &mut Packed) -> Result<bool> {
        self.inner.store.check()?;
        let all = [StateKind::Value, StateKind::List, StateKind::Map, StateKind::Merging];
        let def = self.def(cursor.state, &all)?;
        cursor.fetch(&mut Isolated { inner: &self.inner, committed: self.committed }, &def, out)
    }

    fn def(&self, state: State, kinds: &[StateKind]) -> Result<Arc<StateDef>> {
        self.inner.store.def(state, kinds)
    }

    /// A value, or a map's entry.
    fn cell(&self, def: &StateDef, key: Key<'_>, user_key: Option<&[u8]>, attempts: u32) -> Result<Option<Vec<u8>>> {
        let now_ms = self.inner.now_ms.load(Ordering::Relaxed);
        let hot = |hot: &InMemory<'_>| self.see_cell(user_key, hot, now_ms);
        let cold = |(), view: &View| {
            let lookup = match user_key {
                None => read::cell_lookup(view, def, key, now_ms),
                Some(user_key) => read::entry_lookup(view, def, key, user_key, now_ms),
            };
            Ok(read::finish(lookup, &mut OwnerCounts::default())?.base)
        };
        self.look(def, key, attempts, hot, cold)
    }

    /// What memory has of a value, or of a map's entry.
    fn see_cell(&self, user_key: Option<&[u8]>, hot: &InMemory<'_>, now_ms: u64) -> Look<Option<Vec<u8>>, ()> {
        let InMemory { tables, probe, flushed, owner } = hot;
        let arena = &self.inner.store.engine.inner.arena;
        let mut out = Vec::new();
        // Before the table is looked at: what was put far may be put into it meanwhile.
        if user_key.is_some() && owner.is_none() && tables.main.has_far() {
            return Look::Contended;
        }
        let seen = match (user_key, owner) {
            (None, _) => tables.get_cell(arena, probe, &mut out),
            (Some(user_key), None) => tables.get_entry(arena, probe, user_key, &mut out),
            (Some(user_key), Some(owner)) => get_entry_in_gate(owner, probe, user_key, self.committed, &mut out),
        };
        match seen {
            SharedGet::Found { kind, expiry_ms, .. } => {
                let live = matches!(kind, VALUE | ENTRY) && !is_expired(expiry_ms, now_ms);
                return Look::Seen(live.then_some(out));
            }
            SharedGet::Contended => return Look::Contended,
            SharedGet::Absent if !tables.main.is_spilled() => return Look::Seen(None),
            SharedGet::Absent => {}
        }
        let Some(user_key) = user_key else { return Look::Below(()) };
        // What was deleted by range, or with all of the map, and isn't flushed yet is hidden on disk. What is flushed hides
        // nothing more: what was put after it may have been flushed and evicted since.
        match tables.get_cell(arena, probe, &mut out) {
            SharedGet::Found { .. } if spans::hides(&out, *flushed, user_key) => Look::Seen(None),
            SharedGet::Found { .. } | SharedGet::Absent => Look::Below(()),
            SharedGet::Contended => Look::Contended,
        }
    }

    /// A list's frames, or a merging state's value.
    fn folded(&self, def: &StateDef, key: Key<'_>, attempts: u32) -> Result<Option<Vec<u8>>> {
        let now_ms = self.inner.now_ms.load(Ordering::Relaxed);
        let hot = |hot: &InMemory<'_>| self.see_folded(def, hot, now_ms);
        let cold = |above: Above, view: &View| {
            let found = read::finish(read::cell_lookup(view, def, key, now_ms), &mut OwnerCounts::default())?;
            Ok(above.fold(def, found, Some(view.flushed), now_ms))
        };
        let folded = self.look(def, key, attempts, hot, cold)?;
        folded.as_deref().map_or(Ok(()), check_value)?;
        Ok(folded)
    }

    /// What memory has of a list or a merging state.
    fn see_folded(&self, def: &StateDef, hot: &InMemory<'_>, now_ms: u64) -> Look<Option<Vec<u8>>, Above> {
        let mut above = Above::default();
        let arena = &self.inner.store.engine.inner.arena;
        let complete = match hot.tables.get_chain(arena, &hot.probe, &mut above.chunks, &mut above.bytes) {
            SharedChain::Found { complete, .. } => complete,
            SharedChain::Contended => return Look::Contended,
            SharedChain::Absent => !hot.tables.main.is_spilled(),
        };
        // All that there is: of what is flushed as well.
        if complete { Look::Seen(above.fold(def, Found::default(), None, now_ms)) } else { Look::Below(above) }
    }

    /// Looks at memory beside the owner, or while it waits where it was faster `attempts` times; then at the disk, if memory
    /// says so: by then nobody waits, and nothing is held on to but the segments. `hot` changes nothing.
    fn look<R, B: Default>(
        &self,
        def: &StateDef,
        key: Key<'_>,
        attempts: u32,
        mut hot: impl FnMut(&InMemory<'_>) -> Look<R, B>,
        mut cold: impl FnMut(B, &View) -> Result<R>,
    ) -> Result<R> {
        read::check_key(key, self.inner.store.info.range)?;
        self.inner.store.check()?;
        if let Some(seen) = self.look_beside_owner(def, key, attempts, &mut hot, &mut cold)? {
            return Ok(seen);
        }
        match self.look_in_gate(def, key, &mut hot)? {
            Some((Look::Seen(seen), _)) => Ok(seen),
            Some((Look::Below(above), view)) => cold(above, &view),
            Some((Look::Contended, _)) => Err(Error::Background("a reader met the owner inside the gate".into())),
            None => self.look_at_disk(&mut cold),
        }
    }

    /// Looks at memory and segments until both belong to one view; `None` where the owner was faster each time.
    fn look_beside_owner<R, B: Default>(
        &self,
        def: &StateDef,
        key: Key<'_>,
        attempts: u32,
        hot: &mut impl FnMut(&InMemory<'_>) -> Look<R, B>,
        cold: &mut impl FnMut(B, &View) -> Result<R>,
    ) -> Result<Option<R>> {
        let Some((known, at)) = self.known(def, key) else { return self.look_at_disk(cold).map(Some) };
        let ShardHeads { shard, heads, .. } = &known[at];
        let heads = &heads[usize::from(def.id.0)];
        let group = read::check_key(key, shard.range)?;
        let mut scratch = Vec::new();
        let (area, namespaced) = read::area(key, &mut scratch);
        let hash = hash_area(area, namespaced, self.inner.store.info.hash_seed);
        let probe = Probe { state: def.id.0, group, area, namespaced, hash };
        let commits = shard.commits.as_ref().filter(|_| self.committed);
        let (main, kept) = (&heads.main[usize::from(group)], heads.kept.get(usize::from(group)));
        for _ in 0..attempts {
            let (number, view) = shard.view();
            let slot = self.slot();
            let pin = slot.pin();
            let mut look = |committed: Option<CommitView>| {
                let tables = Tables { main, committed: kept.zip(committed) };
                let seen = hot(&InMemory { tables, probe, flushed: view.flushed, owner: None });
                (seen, committed)
            };
            let seen = match commits {
                None => Some(look(None)),
                Some(commits) => commits.beside(|view| look(Some(view))),
            };
            drop(pin);
            drop(slot);
            let seen = match seen {
                Some((Look::Contended, _)) => return Ok(None),
                // A transaction was committed or undone meanwhile.
                None => continue,
                // Another view has other segments: what isn't in memory any more may be in them.
                _ if shard.view_number() != number => continue,
                Some((Look::Seen(seen), _)) => seen,
                Some((Look::Below(above), None)) => cold(above, &view)?,
                Some((Look::Below(above), Some(view_of))) => cold(above, &view.committed(view_of.committed()))?,
            };
            return Ok(Some(seen));
        }
        Ok(None)
    }

    /// Looks at memory inside the shard's gate, while its owner waits: nothing changes meanwhile. Gives the view that it
    /// belongs to as well; `None` where there is no such shard any more.
    fn look_in_gate<R, B>(
        &self,
        def: &StateDef,
        key: Key<'_>,
        hot: &mut impl FnMut(&InMemory<'_>) -> Look<R, B>,
    ) -> Result<Option<Moment<R, B>>> {
        let shards = self.inner.store.shards.lock().clone();
        let Some(shard) = shards.iter().find(|shard| shard.range.contains(key.group)) else { return Ok(None) };
        let group = read::check_key(key, shard.range)?;
        let mut scratch = Vec::new();
        let (area, namespaced) = read::area(key, &mut scratch);
        let mut core = shard.cell.borrow();
        core.settle(shard);
        let probe = core.hot.probe(def.id.0, group, area, namespaced);
        let commits = shard.commits.as_ref().filter(|_| self.committed).map(|commits| commits.view());
        let tables =
            Tables { main: core.hot.head(&probe), committed: core.hot.kept_head(def.id.0, group).zip(commits) };
        let view = match commits {
            None => Arc::clone(&core.view),
            Some(commits) => Arc::new(core.view.committed(commits.committed())),
        };
        let seen = hot(&InMemory { tables, probe, flushed: view.flushed, owner: Some(&core.hot) });
        Ok(Some((seen, view)))
    }

    /// Looks at the segments alone, for a key that no writer of this store owns: all there is of it is on disk.
    fn look_at_disk<R, B: Default>(&self, cold: &mut impl FnMut(B, &View) -> Result<R>) -> Result<R> {
        let version = Arc::clone(&self.inner.store.version.lock());
        // Whatever was committed of it: what is staged is a writer's.
        cold(B::default(), &View::new(version, 0).committed(self.inner.store.committed_epoch()))
    }

    /// The shard of a key, with the heads of the state; brought up to date where it changed.
    fn known(&self, def: &StateDef, key: Key<'_>) -> Option<(Arc<Vec<ShardHeads>>, usize)> {
        let known = Arc::clone(&self.inner.known.read());
        let find = |known: &[ShardHeads]| known.iter().position(|known| known.shard.range.contains(key.group));
        if let Some(at) = find(&known) {
            let ShardHeads { shard, heads, heads_number } = &known[at];
            let current = *heads_number == shard.heads_number() && usize::from(def.id.0) < heads.len();
            if current && !shard.is_gone() {
                return Some((known, at));
            }
        }
        let fresh: Vec<ShardHeads> = self.inner.store.shards.lock().iter().map(ShardHeads::of).collect();
        let fresh = Arc::new(fresh);
        *self.inner.known.write() = Arc::clone(&fresh);
        find(&fresh).map(|at| (fresh, at))
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        let slots = &self.inner.slots;
        slots.iter().find_map(Mutex::try_lock).unwrap_or_else(|| slots[0].lock())
    }
}

/// The store as a reader walks through it.
struct Isolated<'a> {
    inner: &'a Inner,
    committed: bool,
}

impl Access for Isolated<'_> {
    fn store(&self) -> &Arc<StoreInner> {
        &self.inner.store
    }

    fn is_committed(&self) -> bool {
        self.committed
    }

    fn inside<R>(&mut self, group: KeyGroup, look: impl FnOnce(&mut Core, u16) -> R) -> Result<Option<R>> {
        let range = self.inner.store.info.range;
        if !range.contains(group) {
            return Err(Error::OutsideRange { group, range });
        }
        replay::before_reading(&self.inner.store, group)?;
        let shards = self.inner.store.shards.lock().clone();
        let Some(shard) = shards.iter().find(|shard| shard.range.contains(group)) else { return Ok(None) };
        let mut core = shard.cell.borrow();
        core.settle(shard);
        Ok(Some(look(&mut core, group.0 - shard.range.first())))
    }

    fn now_ms(&mut self) -> u64 {
        self.inner.now_ms.load(Ordering::Relaxed)
    }
}

impl ShardHeads {
    fn of(shard: &Arc<Shard>) -> Self {
        let (heads_number, heads) = shard.heads();
        Self { shard: Arc::clone(shard), heads, heads_number }
    }
}

/// What memory has of a key: its table, and what it is found by.
struct InMemory<'a> {
    tables: Tables<'a>,
    probe: Probe<'a>,
    /// Up to which epoch everything is in the segments that are looked at afterwards.
    flushed: u32,
    /// The tables themselves, while their owner waits.
    owner: Option<&'a Hot>,
}

/// As [`shared::get_entry`], while the owner waits: what was deleted by range and isn't freed yet is told apart.
fn get_entry_in_gate(hot: &Hot, probe: &Probe<'_>, user_key: &[u8], committed: bool, out: &mut Vec<u8>) -> SharedGet {
    let root = hot.find_root(probe).map(|(root, _)| root);
    let found = root.and_then(|root| hot.find_entry(probe, root, user_key)).map(|(record, _)| record);
    if let (Some(root), None) = (root, found)
        && let Some(far) = hot.far_of(probe, root, user_key)
    {
        out.extend_from_slice(far.entry.value);
        return SharedGet::Found { kind: ENTRY, stamp: far.epoch, expiry_ms: None };
    }
    let of_commit = |record| hot.committed_of(probe.state, probe.group, record);
    let Some(record) = (if committed { found.and_then(of_commit) } else { found }) else { return SharedGet::Absent };
    out.extend_from_slice(hot.value_of(record));
    let (stamp, expiry_ms) = (record.stamp(hot.arena()), record.expiry_ms(hot.arena()));
    SharedGet::Found { kind: record.kind(), stamp, expiry_ms }
}

/// What one look at memory came to.
enum Look<R, B> {
    /// This was seen.
    Seen(R),
    /// This much, and the rest is on disk, or nothing is.
    Below(B),
    /// The owner was faster.
    Contended,
}

/// What one look came to, and the view of that moment.
type Moment<R, B> = (Look<R, B>, Arc<View>);

/// The chunks of a list, or operands, that memory has.
#[derive(Default)]
struct Above {
    chunks: Vec<SharedChunk>,
    bytes: Vec<u8>,
}

impl Above {
    /// What comes of these on top of what is on disk, which has all up to the epoch `flushed` as well.
    fn fold(&self, def: &StateDef, cold: Found, flushed: Option<u32>, now_ms: u64) -> Option<Vec<u8>> {
        let is_newer = |chunk: &SharedChunk| flushed.is_none_or(|flushed| chunk.stamp > flushed);
        let is_live = |chunk: &SharedChunk| def.kind == StateKind::List || !is_expired(chunk.expiry_ms, now_ms);
        let newer = self.chunks.iter().rev().filter(|chunk| is_newer(chunk) && is_live(chunk));
        let newer = newer.map(|chunk| &self.bytes[chunk.bytes.clone()]);
        let operands: Vec<&[u8]> = cold.operands.iter().rev().map(Vec::as_slice).chain(newer).collect();
        if cold.base.is_none() && operands.is_empty() {
            return None;
        }
        Some(def.fold(cold.base.as_deref(), operands.into_iter(), now_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::barrier::Barrier;
    use crate::engine::Engine;
    use crate::options::{EngineOptions, StoreOptions};
    use crate::states::{StateOptions, Ttl};
    use crate::store::Store;

    impl Reader {
        /// What the reader sees of a value or merging state beside the owner, and while it waits.
        fn both_ways(&self, state: State, key: Key<'_>) -> [Option<Vec<u8>>; 2] {
            let def = self.def(state, &[StateKind::Value, StateKind::List]).unwrap();
            let read = |attempts| match def.kind {
                StateKind::Value => self.cell(&def, key, None, attempts),
                _ => self.folded(&def, key, attempts),
            };
            [ATTEMPTS, 0].map(|attempts| read(attempts).unwrap())
        }
    }

    /// While its owner waited a value was read by the owner's clock, and its time started anew.
    #[test]
    fn while_the_owner_waits_the_readers_clock_counts_and_nothing_is_refreshed_or_lost() {
        let directory = tempfile::tempdir().unwrap();
        let engine = Engine::open(EngineOptions { memory_budget_bytes: 8 << 20, ..Default::default() }).unwrap();
        let ttl = Ttl { duration_ms: 1_000, refresh_on_read: true };
        let mut store = Store::create(&engine, directory.path(), StoreOptions::default()).unwrap();
        for on_disk in [false, true] {
            let values = store.state(StateOptions::value("values").ttl(ttl)).unwrap();
            let lists = store.state(StateOptions::list("lists").ttl(ttl)).unwrap();
            let mut writer = store.writer(store.range()).unwrap();
            let (key, text) = (Key::new(crate::ids::KeyGroup(0), b"k"), b"text".to_vec());
            if !on_disk {
                writer.put(values, key, &text).unwrap();
                writer.append(lists, key, &text).unwrap();
            }
            let reader = store.reader();
            for (now_ms, live) in [(900, true), (1_000_000, false), (900, true)] {
                reader.set_time_ms(now_ms);
                assert_eq!(reader.both_ways(values, key), [live.then(|| text.clone()), live.then(|| text.clone())]);
                let elements = reader.both_ways(lists, key).map(|list| list.is_some_and(|frames| !frames.is_empty()));
                assert_eq!(elements, [live, live]);
            }
            // What the reader saw as expired is still there for the writer; what it saw alive has expired in time.
            assert_eq!(writer.list(lists, key).unwrap(), std::slice::from_ref(&text));
            writer.set_time_ms(1_000);
            assert_eq!(writer.get(values, key).unwrap(), None);
            store.barrier(Barrier::new(u64::from(on_disk))).unwrap().wait().unwrap();
            drop(writer);
            store.close().unwrap();
            store = Store::open(&engine, directory.path(), StoreOptions::default()).unwrap();
        }
    }

    /// A reader that has lost its processor in the middle of a read holds what is freed meanwhile, which may be all that there is.
    #[test]
    fn a_writer_out_of_memory_waits_for_a_reader_that_is_inside() {
        let directory = tempfile::tempdir().unwrap();
        let engine = Engine::open(EngineOptions { memory_budget_bytes: 4 << 20, ..Default::default() }).unwrap();
        let store = Store::create(&engine, directory.path(), StoreOptions::default()).unwrap();
        let state = store.state(StateOptions::value("v")).unwrap();
        let mut writer = store.writer(store.range()).unwrap();
        let written = std::sync::atomic::AtomicBool::new(false);
        let outcome = std::thread::scope(|scope| {
            scope.spawn(|| {
                let slot = Domain::register(&engine.inner.domain);
                while !written.load(Ordering::Relaxed) {
                    let pin = slot.pin();
                    // Longer than it takes to try all that there is.
                    std::thread::sleep(std::time::Duration::from_millis(40));
                    drop(pin);
                }
            });
            let outcome = (0..60_000_u32).try_for_each(|n| {
                writer.put(state, store.key(&(n % 6_000).to_le_bytes()), &[(n / 6_000) as u8; 1_000])
            });
            written.store(true, Ordering::Relaxed);
            outcome
        });
        outcome.unwrap();
        assert_eq!(writer.get(state, store.key(&7_u32.to_le_bytes())).unwrap().unwrap(), [9; 1_000]);
    }
}
