//! Snapshots: the store as it was at one moment, be it now or at a checkpoint that is kept.

use crate::barrier;
use crate::checkpoint::check_state;
use crate::cursor::Cursor;
use crate::error::{Error, Result};
use crate::flush::Taking;
use crate::ids::KeyGroup;
use crate::key::{Key, VALUE_BYTES_MAX};
use crate::manifest::Manifest;
use crate::metrics::OwnerCounts;
use crate::packed::Packed;
use crate::past::Source;
use crate::read;
use crate::shard::{Core, View};
use crate::states::{StateDef, StateKind, frames};
use crate::store::{State, StoreInner};
use crate::walk::Access;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The whole store as it was when the snapshot was taken ([`Store::snapshot`](crate::Store::snapshot)), or at a checkpoint that is kept
/// ([`Store::as_of`](crate::Store::as_of)), read from any thread while writers go on; cheap to clone.
///
/// Taking one of now cuts the store's epoch as a barrier does, which takes microseconds, and has what changed flushed; the first
/// read waits for that. From then on it reads segments alone, so writers don't notice it. Where the flush found no room on the disk every read of this
/// snapshot fails with that: take another once there is room. What it costs is the disk's: the
/// segments that it reads stay there until its last clone is dropped
/// ([`Metrics::snapshot_bytes`](crate::Metrics::snapshot_bytes)).
///
/// ```
/// # use alluvium::{Engine, EngineOptions, StateOptions, Store, StoreOptions};
/// # let directory = tempfile::tempdir().map_err(|error| alluvium::Error::Background(error.to_string()))?;
/// # let engine = Engine::open(EngineOptions::default())?;
/// # let store = Store::create(&engine, directory.path(), StoreOptions::default())?;
/// let counts = store.state(StateOptions::value("counts"))?;
/// let mut writer = store.writer(store.range())?;
/// writer.put(counts, store.key(b"JFK"), b"1")?;
/// let snapshot = store.snapshot()?;
/// writer.put(counts, store.key(b"JFK"), b"2")?;
/// assert_eq!(snapshot.get(counts, store.key(b"JFK"))?, Some(b"1".to_vec()));
/// # Ok::<(), alluvium::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Snapshot {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Arc<StoreInner>,
    taking: Arc<Taking>,
    /// Of a checkpoint: its manifest, held so that its segments are not reclaimed.
    checkpoint: Option<Arc<Manifest>>,
    now_ms: AtomicU64,
}

/// Counts what is taken among the snapshots that live. Fails where there are as many as the store's options allow, also where nothing
/// is taken yet.
pub(crate) fn enlist(store: &StoreInner, taking: Option<&Arc<Taking>>) -> Result<()> {
    let mut living = store.snapshots.lock();
    living.retain(|taking| taking.strong_count() > 0);
    if living.len() >= store.options.snapshots_max {
        return Err(Error::Busy { problem: "as many snapshots live as the store's options allow" });
    }
    living.extend(taking.map(Arc::downgrade));
    Ok(())
}

impl Snapshot {
    pub(crate) fn take(store: &Arc<StoreInner>) -> Result<Self> {
        // Looked at first, so that what is refused costs nothing; not locked while it is cut, which may have to wait.
        enlist(store, None)?;
        let taking = barrier::cut_snapshot(store)?;
        enlist(store, Some(&taking))?;
        Ok(Self::new(store, taking, None))
    }

    /// What a checkpoint has that is kept.
    pub(crate) fn of_checkpoint(store: &Arc<StoreInner>, label: u64) -> Result<Self> {
        Self::of_source(store, &Source::at_label(store, label)?)
    }

    /// The same by its manifest, which the caller holds since it was in the catalogue.
    pub(crate) fn of_manifest(store: &Arc<StoreInner>, manifest: &Arc<Manifest>) -> Result<Self> {
        Self::of_source(store, &Source::of_manifest(store, manifest)?)
    }

    fn of_source(store: &Arc<StoreInner>, source: &Source) -> Result<Self> {
        let taking = Arc::new(Taking::of(Arc::clone(source.version())));
        enlist(store, Some(&taking))?;
        Ok(Self::new(store, taking, Some(Arc::clone(source.manifest()))))
    }

    fn new(store: &Arc<StoreInner>, taking: Arc<Taking>, checkpoint: Option<Arc<Manifest>>) -> Self {
        let (store, now_ms) = (Arc::clone(store), AtomicU64::new(0));
        Self { inner: Arc::new(Inner { store, taking, checkpoint, now_ms }) }
    }

    /// Sets the clock that decides what is expired, in ms, for this snapshot and its clones; it begins at 0.
    pub fn set_time_ms(&self, now_ms: u64) {
        self.inner.now_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Waits until what it holds is flushed. Reads do so by themselves.
    pub fn wait(&self) -> Result<()> {
        self.inner.disk().map(drop)
    }

    /// The value of a key of a value or merging state.
    pub fn get(&self, state: State, key: Key<'_>) -> Result<Option<Vec<u8>>> {
        let def = self.def(state, &[StateKind::Value, StateKind::Merging])?;
        self.folded(&def, key)
    }

    /// The elements of a list, in the order of their appending.
    pub fn list(&self, state: State, key: Key<'_>) -> Result<Vec<Vec<u8>>> {
        let def = self.def(state, &[StateKind::List])?;
        let value = self.folded(&def, key)?.unwrap_or_default();
        Ok(frames(&value, def.ttl.is_some()).map(|(_, element)| element.to_vec()).collect())
    }

    /// The value of a map's entry.
    pub fn map_get(&self, state: State, key: Key<'_>, user_key: &[u8]) -> Result<Option<Vec<u8>>> {
        read::check_user_key(user_key)?;
        let def = self.def(state, &[StateKind::Map])?;
        let view = self.view(key)?;
        let now_ms = self.inner.now_ms.load(Ordering::Relaxed);
        let lookup = read::entry_lookup(&view, &def, key, user_key, now_ms);
        Ok(read::finish(lookup, &mut OwnerCounts::default())?.base)
    }

    /// Puts the next batch of what a cursor goes through into `out`, in the place of what is there; false at the end. The
    /// cursor is for this snapshot alone from its first batch on.
    pub fn fetch(&self, cursor: &mut Cursor, out: &mut Packed) -> Result<bool> {
        self.inner.store.check()?;
        let all = [StateKind::Value, StateKind::List, StateKind::Map, StateKind::Merging];
        let def = self.def(cursor.state, &all)?;
        cursor.fetch(&mut &*self.inner, &def, out)
    }

    fn def(&self, state: State, kinds: &[StateKind]) -> Result<Arc<StateDef>> {
        let def = self.inner.store.def(state, kinds)?;
        self.inner.checkpoint.as_ref().map_or(Ok(()), |manifest| check_state(manifest, &def))?;
        Ok(def)
    }

    fn view(&self, key: Key<'_>) -> Result<Arc<View>> {
        self.inner.store.check()?;
        read::check_key(key, self.inner.store.info.range)?;
        self.inner.disk()
    }

    /// A value, or a list's frames.
    fn folded(&self, def: &StateDef, key: Key<'_>) -> Result<Option<Vec<u8>>> {
        def.check_operator()?;
        let view = self.view(key)?;
        let now_ms = self.inner.now_ms.load(Ordering::Relaxed);
        let found = read::finish(read::cell_lookup(&view, def, key, now_ms), &mut OwnerCounts::default())?;
        if found.is_absent() {
            return Ok(None);
        }
        let operands = found.operands.iter().rev().map(Vec::as_slice);
        def.fold_within(found.base.as_deref(), operands, now_ms, VALUE_BYTES_MAX).map(Some)
    }
}

impl Inner {
    fn disk(&self) -> Result<Arc<View>> {
        let version = match self.taking.poll() {
            Some(outcome) => outcome?,
            None => self.store.engine.hurry(|| self.taking.wait())?,
        };
        Ok(Arc::new(View::new(version, 0)))
    }
}

impl Access for &Inner {
    fn store(&self) -> &Arc<StoreInner> {
        &self.store
    }

    fn inside<R>(&mut self, group: KeyGroup, _look: impl FnOnce(&mut Core, u16) -> R) -> Result<Option<R>> {
        let range = self.store.info.range;
        if range.contains(group) { Ok(None) } else { Err(Error::OutsideRange { group, range }) }
    }

    fn now_ms(&mut self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    fn disk(&self) -> Result<Arc<View>> {
        Inner::disk(self)
    }
}
