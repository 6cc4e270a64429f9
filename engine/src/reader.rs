//! A reader: sees what writers did without holding them up.
//!
//! A read looks at the hot tables without a lock, then at the segments. In between a record may be flushed and evicted;
//! so the view of the segments is noted first, and where it has changed in the end the read starts again.

use crate::error::{Error, Result};
use crate::hot::Probe;
use crate::hot::record::{ENTRY, VALUE, hash_area};
use crate::hot::shared::{self, SharedChain, SharedChunk, SharedGet};
use crate::hot::table::Head;
use crate::key::Key;
use crate::metrics::OwnerCounts;
use crate::platform::sync::reclaim::{Domain, Slot};
use crate::read::{self, is_expired};
use crate::shard::{Shard, View};
use crate::stack::Found;
use crate::states::{StateDef, StateKind, frames};
use crate::store::{State, StoreInner};
use parking_lot::{Mutex, MutexGuard, RwLock};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How often a read starts again because the segments changed, before it asks the shard's owner.
const ATTEMPTS: u32 = 16;
/// Reads that can be under way through one reader without waiting for each other.
const SLOTS: usize = 8;

/// What a reader knows of a shard.
#[derive(Debug)]
struct Known {
    shard: Arc<Shard>,
    heads: Vec<Arc<[Head]>>,
    heads_number: u64,
}

#[derive(Debug)]
struct Inner {
    store: Arc<StoreInner>,
    slots: Vec<Mutex<Slot>>,
    known: RwLock<Arc<Vec<Known>>>,
    now_ms: AtomicU64,
}

/// Reads a store beside its writers, from any thread; cheap to clone.
///
/// A read sees a key as it was at some moment during the call. It promotes nothing and refreshes nothing.
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
        }
    }

    /// Sets the clock that decides what is expired, in ms, for this reader and its clones.
    pub fn set_time_ms(&self, now_ms: u64) {
        self.inner.now_ms.store(now_ms, Ordering::Relaxed);
    }

    /// The value of a key of a value or merging state.
    pub fn get(&self, state: State, key: Key<'_>) -> Result<Option<Vec<u8>>> {
        let def = self.def(state, &[StateKind::Value, StateKind::Merging])?;
        def.check_operator()?;
        if def.kind == StateKind::Merging { self.folded(&def, key) } else { self.cell(&def, key, None) }
    }

    /// The elements of a list, in the order of their appending.
    pub fn list(&self, state: State, key: Key<'_>) -> Result<Vec<Vec<u8>>> {
        let def = self.def(state, &[StateKind::List])?;
        let value = self.folded(&def, key)?.unwrap_or_default();
        let now_ms = self.inner.now_ms.load(Ordering::Relaxed);
        let live = frames(&value, def.ttl.is_some()).filter(|(expiry_ms, _)| !is_expired(*expiry_ms, now_ms));
        Ok(live.map(|(_, element)| element.to_vec()).collect())
    }

    /// The value of a map's entry.
    pub fn map_get(&self, state: State, key: Key<'_>, user_key: &[u8]) -> Result<Option<Vec<u8>>> {
        read::check_user_key(user_key)?;
        let def = self.def(state, &[StateKind::Map])?;
        self.cell(&def, key, Some(user_key))
    }

    /// Whether a map has an entry.
    pub fn map_contains(&self, state: State, key: Key<'_>, user_key: &[u8]) -> Result<bool> {
        Ok(self.map_get(state, key, user_key)?.is_some())
    }

    fn def(&self, state: State, kinds: &[StateKind]) -> Result<Arc<StateDef>> {
        let def = self.inner.store.states.read().get(usize::from(state.0.0)).cloned();
        let def = def.ok_or_else(|| Error::State {
            state: format!("{:?}", state.0),
            problem: "not a state of this store".into(),
        })?;
        if !kinds.contains(&def.kind) {
            let problem = format!("a {:?} state, the operation is for {kinds:?}", def.kind);
            return Err(Error::State { state: def.name.clone(), problem });
        }
        Ok(def)
    }

    /// A value, or a map's entry.
    fn cell(&self, def: &StateDef, key: Key<'_>, user_key: Option<&[u8]>) -> Result<Option<Vec<u8>>> {
        self.look(def, key, |hot, view| self.see_cell(def, key, user_key, hot, view))
    }

    /// One look at a value, or at a map's entry.
    fn see_cell(
        &self,
        def: &StateDef,
        key: Key<'_>,
        user_key: Option<&[u8]>,
        hot: Option<Hot<'_>>,
        view: &View,
    ) -> Result<Look<Option<Vec<u8>>>> {
        let now_ms = self.inner.now_ms.load(Ordering::Relaxed);
        let mut out = Vec::new();
        if let Some(Hot { head, probe }) = &hot {
            let arena = &self.inner.store.engine.inner.arena;
            let seen = match user_key {
                None => shared::get_cell(head, arena, probe, &mut out),
                Some(user_key) => shared::get_entry(head, arena, probe, user_key, &mut out),
            };
            match seen {
                SharedGet::Found { kind, expiry_ms, .. } => {
                    let live = matches!(kind, VALUE | ENTRY) && !is_expired(expiry_ms, now_ms);
                    return Ok(Look::Seen(live.then_some(out)));
                }
                SharedGet::Contended => return Ok(Look::Contended),
                SharedGet::Absent if !head.is_spilled() => return Ok(Look::Seen(None)),
                SharedGet::Absent => {}
            }
            // A clear of the whole map that isn't flushed yet masks what is on disk.
            if user_key.is_some() {
                match shared::get_cell(head, arena, probe, &mut out) {
                    SharedGet::Found { .. } => return Ok(Look::Seen(None)),
                    SharedGet::Contended => return Ok(Look::Contended),
                    SharedGet::Absent => {}
                }
            }
        }
        let lookup = match user_key {
            None => read::cell_lookup(view, def, key, now_ms),
            Some(user_key) => read::entry_lookup(view, def, key, user_key, now_ms),
        };
        Ok(Look::Seen(read::finish(lookup, &mut OwnerCounts::default())?.base))
    }

    /// A list's frames, or a merging state's value.
    fn folded(&self, def: &StateDef, key: Key<'_>) -> Result<Option<Vec<u8>>> {
        self.look(def, key, |hot, view| self.see_folded(def, key, hot, view))
    }

    /// One look at a list or a merging state.
    fn see_folded(
        &self,
        def: &StateDef,
        key: Key<'_>,
        hot: Option<Hot<'_>>,
        view: &View,
    ) -> Result<Look<Option<Vec<u8>>>> {
        let now_ms = self.inner.now_ms.load(Ordering::Relaxed);
        let (mut chunks, mut out) = (Vec::new(), Vec::new());
        let mut complete = false;
        if let Some(Hot { head, probe }) = &hot {
            let arena = &self.inner.store.engine.inner.arena;
            match shared::get_chain(head, arena, probe, &mut chunks, &mut out) {
                SharedChain::Found { complete: all } => complete = all,
                SharedChain::Contended => return Ok(Look::Contended),
                SharedChain::Absent => complete = !head.is_spilled(),
            }
        }
        let mut cold = Found::default();
        if !complete {
            cold = read::finish(read::cell_lookup(view, def, key, now_ms), &mut OwnerCounts::default())?;
            // What is flushed is on disk as well.
            chunks.retain(|chunk: &SharedChunk| chunk.stamp > view.flushed);
        }
        let live = |chunk: &&SharedChunk| def.kind == StateKind::List || !is_expired(chunk.expiry_ms, now_ms);
        let newer = chunks.iter().rev().filter(live).map(|chunk| &out[chunk.bytes.clone()]);
        let operands: Vec<&[u8]> = cold.operands.iter().rev().map(Vec::as_slice).chain(newer).collect();
        if cold.base.is_none() && operands.is_empty() {
            return Ok(Look::Seen(None));
        }
        Ok(Look::Seen(Some(def.fold(cold.base.as_deref(), operands.into_iter(), now_ms))))
    }

    /// Looks beside the owner, or while it waits where it was faster too often. `once` sees the same either way, by the
    /// reader's clock, and changes nothing.
    fn look<R>(
        &self,
        def: &StateDef,
        key: Key<'_>,
        mut once: impl FnMut(Option<Hot<'_>>, &View) -> Result<Look<R>>,
    ) -> Result<R> {
        read::check_key(key, self.inner.store.info.range)?;
        self.inner.store.check()?;
        match self.look_beside_owner(def, key, &mut once)? {
            Some(seen) => Ok(seen),
            None => self.look_in_gate(def, key, &mut once),
        }
    }

    /// Looks at memory and segments until both belong to one view; `None` where the owner was faster each time.
    fn look_beside_owner<R>(
        &self,
        def: &StateDef,
        key: Key<'_>,
        once: &mut impl FnMut(Option<Hot<'_>>, &View) -> Result<Look<R>>,
    ) -> Result<Option<R>> {
        let Some((known, at)) = self.known(def, key) else { return self.look_at_disk(once).map(Some) };
        let Known { shard, heads, .. } = &known[at];
        let group = read::check_key(key, shard.range)?;
        let mut scratch = Vec::new();
        let (area, namespaced) = read::area(key, &mut scratch);
        let hash = hash_area(area, namespaced, self.inner.store.info.hash_seed);
        let probe = Probe { state: def.id.0, group, area, namespaced, hash };
        let head = &heads[usize::from(def.id.0)][usize::from(group)];
        for _ in 0..ATTEMPTS {
            let (number, view) = shard.view();
            let slot = self.slot();
            let pin = slot.pin();
            let seen = once(Some(Hot { head, probe }), &view)?;
            drop(pin);
            match seen {
                Look::Contended => return Ok(None),
                Look::Seen(seen) if shard.view_number() == number => return Ok(Some(seen)),
                Look::Seen(_) => {}
            }
        }
        Ok(None)
    }

    /// Looks inside the shard's gate, while its owner waits: nothing changes meanwhile.
    fn look_in_gate<R>(
        &self,
        def: &StateDef,
        key: Key<'_>,
        once: &mut impl FnMut(Option<Hot<'_>>, &View) -> Result<Look<R>>,
    ) -> Result<R> {
        let shards = self.inner.store.shards.lock().clone();
        let Some(shard) = shards.iter().find(|shard| shard.range.contains(key.group)) else {
            return self.look_at_disk(once);
        };
        let group = read::check_key(key, shard.range)?;
        let mut scratch = Vec::new();
        let (area, namespaced) = read::area(key, &mut scratch);
        let mut core = shard.cell.borrow();
        core.settle(shard);
        let probe = core.hot.probe(def.id.0, group, area, namespaced);
        once(Some(Hot { head: core.hot.head(&probe), probe }), &core.view)?.seen()
    }

    /// Looks at the segments alone, for a key that no writer of this store owns: all there is of it is on disk.
    fn look_at_disk<R>(&self, once: &mut impl FnMut(Option<Hot<'_>>, &View) -> Result<Look<R>>) -> Result<R> {
        let version = Arc::clone(&self.inner.store.version.lock());
        once(None, &View { version, flushed: 0 })?.seen()
    }

    /// The shard of a key, with the heads of the state; brought up to date where it changed.
    fn known(&self, def: &StateDef, key: Key<'_>) -> Option<(Arc<Vec<Known>>, usize)> {
        let known = Arc::clone(&self.inner.known.read());
        let find = |known: &[Known]| known.iter().position(|known| known.shard.range.contains(key.group));
        if let Some(at) = find(&known) {
            let Known { shard, heads, heads_number } = &known[at];
            let current = *heads_number == shard.heads_number() && usize::from(def.id.0) < heads.len();
            if current && !shard.is_gone() {
                return Some((known, at));
            }
        }
        let fresh: Vec<Known> = self.inner.store.shards.lock().iter().map(Known::of).collect();
        let fresh = Arc::new(fresh);
        *self.inner.known.write() = Arc::clone(&fresh);
        find(&fresh).map(|at| (fresh, at))
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        let slots = &self.inner.slots;
        slots.iter().find_map(Mutex::try_lock).unwrap_or_else(|| slots[0].lock())
    }
}

impl Known {
    fn of(shard: &Arc<Shard>) -> Self {
        let (heads_number, heads) = shard.heads();
        Self { shard: Arc::clone(shard), heads, heads_number }
    }
}

/// What memory has of a key: its table, and what it is found by.
struct Hot<'a> {
    head: &'a Head,
    probe: Probe<'a>,
}

/// What one look came to.
enum Look<R> {
    /// This was seen.
    Seen(R),
    /// The owner was faster.
    Contended,
}

impl<R> Look<R> {
    /// What was seen where no owner can be faster.
    fn seen(self) -> Result<R> {
        match self {
            Self::Seen(seen) => Ok(seen),
            Self::Contended => Err(Error::Background("a record changed while its owner was waiting".into())),
        }
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
            let mut once = |hot: Option<Hot<'_>>, view: &View| match def.kind {
                StateKind::Value => self.see_cell(&def, key, None, hot, view),
                _ => self.see_folded(&def, key, hot, view),
            };
            let beside = self.look_beside_owner(&def, key, &mut once).unwrap().unwrap();
            [beside, self.look_in_gate(&def, key, &mut once).unwrap()]
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
}
