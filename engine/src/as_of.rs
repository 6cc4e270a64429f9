//! Reading a store as it was at a position of its changelog.

use crate::error::Result;
use crate::flush::Taking;
use crate::key::Key;
use crate::past::{Overlay, Source};
use crate::read;
use crate::scan::MapRange;
use crate::snapshot::enlist;
use crate::states::{StateDef, StateKind, frames};
use crate::store::{State, StoreInner};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A moment of a store's past.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AsOf {
    /// A checkpoint that is kept, by its label.
    Label(u64),
    /// A position of the changelog, see [`Past`].
    Position(u64),
}

/// A store as it was at a position of its changelog ([`Store::as_of_position`](crate::Store::as_of_position)): every change that ends
/// there or before, be it committed by then or not; of a transactional store every change that was committed there or before. Read from
/// any thread while writers go on; cheap to clone.
///
/// What is read is what the newest checkpoint before the position has, and the changes of that key between the two, for which each read
/// goes through that part of the changelog: by its length, not by the length of what is found. The segments of the checkpoint and the
/// changelog from there on stay on disk until the last clone is dropped; it counts as a [`Snapshot`](crate::Snapshot).
///
/// # Errors
/// Every read fails with [`Error::Position`](crate::Error::Position) where the key's group has events between the two
/// ([`Writer::apply_event`](crate::Writer::apply_event)), or a bulk load or a migration lies there: the changelog doesn't have what they
/// changed. With [`Error::State`](crate::Error::State) where the state was migrated since. A state that was registered later is empty.
#[derive(Clone, Debug)]
pub struct Past {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Arc<StoreInner>,
    source: Source,
    position: u64,
    /// Counted among the snapshots.
    _taking: Arc<Taking>,
    now_ms: AtomicU64,
}

impl Past {
    pub(crate) fn new(store: &Arc<StoreInner>, position: u64) -> Result<Self> {
        enlist(store, None)?;
        let source = Source::at_position(store, position)?;
        let taking = Arc::new(Taking::of(Arc::clone(source.version())));
        enlist(store, Some(&taking))?;
        let (store, now_ms) = (Arc::clone(store), AtomicU64::new(0));
        Ok(Self { inner: Arc::new(Inner { store, source, position, _taking: taking, now_ms }) })
    }

    /// The position.
    pub fn position(&self) -> u64 {
        self.inner.position
    }

    /// Sets the clock that decides what is expired, in ms, for this view and its clones; it begins at 0.
    pub fn set_time_ms(&self, now_ms: u64) {
        self.inner.now_ms.store(now_ms, Ordering::Relaxed);
    }

    /// The value of a key of a value or merging state.
    pub fn get(&self, state: State, key: Key<'_>) -> Result<Option<Vec<u8>>> {
        let def = self.def(state, &[StateKind::Value, StateKind::Merging], key)?;
        let overlay = self.overlay(state, key, None)?;
        Ok(self.inner.source.cell(&def, key, &overlay, self.now_ms())?.value)
    }

    /// The elements of a list, in the order of their appending.
    pub fn list(&self, state: State, key: Key<'_>) -> Result<Vec<Vec<u8>>> {
        let def = self.def(state, &[StateKind::List], key)?;
        let overlay = self.overlay(state, key, None)?;
        let value = self.inner.source.cell(&def, key, &overlay, self.now_ms())?.value.unwrap_or_default();
        Ok(frames(&value, def.ttl.is_some()).map(|(_, element)| element.to_vec()).collect())
    }

    /// The value of a map's entry.
    pub fn map_get(&self, state: State, key: Key<'_>, user_key: &[u8]) -> Result<Option<Vec<u8>>> {
        read::check_user_key(user_key)?;
        let def = self.def(state, &[StateKind::Map], key)?;
        let overlay = self.overlay(state, key, Some(user_key))?;
        Ok(self.inner.source.entry(&def, key, user_key, &overlay, self.now_ms())?.value)
    }

    /// Calls `visit` with the (user key, value) of a map's entries in a range, in order, until it breaks.
    pub fn map_scan(
        &self,
        state: State,
        key: Key<'_>,
        range: &MapRange<'_>,
        mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<()> {
        let def = self.def(state, &[StateKind::Map], key)?;
        let overlay = self.overlay(state, key, None)?;
        let mut walk = self.inner.source.entries(&def, key, range, &overlay, self.now_ms())?;
        while let Some((user_key, cell)) = walk.next()? {
            if visit(&user_key, cell.value.as_deref().unwrap_or_default()).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn now_ms(&self) -> u64 {
        self.inner.now_ms.load(Ordering::Relaxed)
    }

    fn def(&self, state: State, kinds: &[StateKind], key: Key<'_>) -> Result<Arc<StateDef>> {
        self.inner.store.check()?;
        read::check_key(key, self.inner.store.info.range)?;
        self.inner.store.def(state, kinds)
    }

    /// What the changelog made of a key, or of one entry of a map.
    fn overlay(&self, state: State, key: Key<'_>, user_key: Option<&[u8]>) -> Result<Overlay> {
        let is_wanted = |of: Option<&[u8]>| user_key.is_none() || of.is_none() || of == user_key;
        self.inner.source.overlay(|id, at, of| id == state.0 && at == key && is_wanted(of), &[key.group])
    }
}
