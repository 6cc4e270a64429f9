//! Typed map states.

use super::{Codec, Handle, encoded};
use crate::error::{Error, Result};
use crate::scan::MapRange;
use crate::states::{StateKind, StateOptions};
use crate::store::Store;
use crate::writer::Writer;
use std::marker::PhantomData;
use std::ops::{Bound, ControlFlow, RangeBounds};

/// An ordered map per key; user keys sort as their bytes do, which for the types that [`Codec`] is given for is their own
/// order.
///
/// ```
/// # use alluvium::{Engine, EngineOptions, Store, StoreOptions, state::MapState};
/// # let directory = tempfile::tempdir().map_err(|error| alluvium::Error::Background(error.to_string()))?;
/// # let engine = Engine::open(EngineOptions::default())?;
/// # let store = Store::create(&engine, directory.path(), StoreOptions::default())?;
/// let seats: MapState<String, i64, u64> = MapState::register(&store, "seats")?;
/// let mut writer = store.writer(store.range())?;
/// let key = "UA 1".to_owned();
/// for row in [12, -1, 3] {
///     seats.put(&mut writer, &key, &row, &6)?;
/// }
/// assert_eq!(seats.range(&mut writer, &key, 0..12)?, [(3, 6)]);
/// assert_eq!(seats.range_reversed(&mut writer, &key, ..=3)?, [(3, 6), (-1, 6)]);
/// assert_eq!(seats.last(&mut writer, &key)?, Some((12, 6)));
/// # Ok::<(), alluvium::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct MapState<K, U, V> {
    handle: Handle,
    types: PhantomData<fn(K, U) -> V>,
}

impl<K: Codec, U: Codec, V: Codec> MapState<K, U, V> {
    /// Registers (or finds) the state of this name.
    pub fn register(store: &Store, name: &str) -> Result<Self> {
        Self::with(store, StateOptions::map(name))
    }

    /// Registers (or finds) a state with options of its own; they must be those of a map.
    pub fn with(store: &Store, options: StateOptions) -> Result<Self> {
        Ok(Self { handle: Handle::new(store, options, StateKind::Map)?, types: PhantomData })
    }

    /// The same state in a namespace; one whose form has no bytes is none.
    #[must_use]
    pub fn in_namespace<N: Codec>(&self, namespace: &N) -> Self {
        Self { handle: self.handle.in_namespace(namespace), types: PhantomData }
    }

    /// The value of an entry; `None` where there is none.
    pub fn get(&self, writer: &mut Writer, key: &K, user_key: &U) -> Result<Option<V>> {
        let key = encoded(key);
        let decode = |value: Option<&[u8]>| value.map(|value| self.handle.decoded(value));
        writer.map_read(self.handle.state, self.handle.key(&key), &encoded(user_key), decode)?.transpose()
    }

    /// Whether there is an entry.
    pub fn contains(&self, writer: &mut Writer, key: &K, user_key: &U) -> Result<bool> {
        let key = encoded(key);
        writer.map_contains(self.handle.state, self.handle.key(&key), &encoded(user_key))
    }

    /// Whether there is no entry at all.
    pub fn is_empty(&self, writer: &mut Writer, key: &K) -> Result<bool> {
        let key = encoded(key);
        writer.map_is_empty(self.handle.state, self.handle.key(&key))
    }

    /// Puts an entry.
    pub fn put(&self, writer: &mut Writer, key: &K, user_key: &U, value: &V) -> Result<()> {
        let key = encoded(key);
        writer.map_put(self.handle.state, self.handle.key(&key), &encoded(user_key), &encoded(value))
    }

    /// Deletes an entry.
    pub fn delete(&self, writer: &mut Writer, key: &K, user_key: &U) -> Result<()> {
        let key = encoded(key);
        writer.map_delete(self.handle.state, self.handle.key(&key), &encoded(user_key))
    }

    /// Deletes the entries whose user keys lie within bounds, without going through them: see [`Writer::map_delete_range`].
    pub fn delete_range(&self, writer: &mut Writer, key: &K, bounds: impl RangeBounds<U>) -> Result<()> {
        let (key, (from, to)) = (encoded(key), encoded_bounds(&bounds));
        writer.map_delete_range(self.handle.state, self.handle.key(&key), &range_of(&from, &to))
    }

    /// Deletes the entries whose user keys' bytes begin with a big-endian time below `before`, as those of a `u64` do, or of
    /// a pair that starts with one: see [`Writer::map_expire`].
    pub fn expire(&self, writer: &mut Writer, key: &K, before: u64) -> Result<()> {
        let key = encoded(key);
        writer.map_expire(self.handle.state, self.handle.key(&key), before)
    }

    /// Deletes all entries.
    pub fn clear(&self, writer: &mut Writer, key: &K) -> Result<()> {
        let key = encoded(key);
        writer.map_clear(self.handle.state, self.handle.key(&key))
    }

    /// All entries, in order.
    pub fn entries(&self, writer: &mut Writer, key: &K) -> Result<Vec<(U, V)>> {
        self.collect(writer, key, &MapRange::all())
    }

    /// The entries whose user keys lie within bounds, in order.
    pub fn range(&self, writer: &mut Writer, key: &K, bounds: impl RangeBounds<U>) -> Result<Vec<(U, V)>> {
        let (from, to) = encoded_bounds(&bounds);
        self.collect(writer, key, &range_of(&from, &to))
    }

    /// The same from the last down to the first.
    pub fn range_reversed(&self, writer: &mut Writer, key: &K, bounds: impl RangeBounds<U>) -> Result<Vec<(U, V)>> {
        let (from, to) = encoded_bounds(&bounds);
        self.collect(writer, key, &range_of(&from, &to).reversed())
    }

    /// The entries whose user keys' bytes start with those of `prefix`, in order: for strings, or for user keys whose
    /// form starts with a part of another type.
    pub fn prefix<P: Codec>(&self, writer: &mut Writer, key: &K, prefix: &P) -> Result<Vec<(U, V)>> {
        self.collect(writer, key, &MapRange::prefix(&encoded(prefix)))
    }

    /// Calls `visit` with the entries of a range of user keys' bytes ([`Codec::encode`]), in its direction, until it
    /// breaks.
    pub fn scan(
        &self,
        writer: &mut Writer,
        key: &K,
        range: &MapRange<'_>,
        mut visit: impl FnMut(U, V) -> ControlFlow<()>,
    ) -> Result<()> {
        let key = encoded(key);
        let mut failed: Option<Error> = None;
        writer.map_scan(self.handle.state, self.handle.key(&key), range, |user_key, value| {
            match self.entry((user_key, value)) {
                Ok((user_key, value)) => visit(user_key, value),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        failed.map_or(Ok(()), Err)
    }

    /// The entry with the smallest user key.
    pub fn first(&self, writer: &mut Writer, key: &K) -> Result<Option<(U, V)>> {
        let key = encoded(key);
        let first = writer.map_first(self.handle.state, self.handle.key(&key))?;
        first.map(|(user_key, value)| self.entry((&user_key, &value))).transpose()
    }

    /// The entry with the greatest user key.
    pub fn last(&self, writer: &mut Writer, key: &K) -> Result<Option<(U, V)>> {
        let key = encoded(key);
        let last = writer.map_last(self.handle.state, self.handle.key(&key))?;
        last.map(|(user_key, value)| self.entry((&user_key, &value))).transpose()
    }

    /// Takes the entry with the smallest user key out.
    pub fn pop_first(&self, writer: &mut Writer, key: &K) -> Result<Option<(U, V)>> {
        let key = encoded(key);
        let popped = writer.map_pop_first(self.handle.state, self.handle.key(&key))?;
        popped.map(|(user_key, value)| self.entry((&user_key, &value))).transpose()
    }

    /// Takes all entries with user keys below `below` out and gives them to `visit`, in order: [`Writer::map_pop_below`].
    ///
    /// # Errors
    /// As for every operation; where bytes are no entries, [`Error::State`](crate::Error::State) at the end, when all were taken.
    pub fn pop_below(&self, writer: &mut Writer, key: &K, below: &U, mut visit: impl FnMut(U, V)) -> Result<()> {
        let (key, below) = (encoded(key), encoded(below));
        let mut decoded = Ok(());
        writer.map_pop_below(self.handle.state, self.handle.key(&key), &below, |user_key, value| {
            match self.entry((user_key, value)) {
                Ok((user_key, value)) => visit(user_key, value),
                Err(error) => decoded = Err(error),
            }
        })?;
        decoded
    }

    fn entry(&self, (user_key, value): (&[u8], &[u8])) -> Result<(U, V)> {
        Ok((self.handle.decoded(user_key)?, self.handle.decoded(value)?))
    }

    fn collect(&self, writer: &mut Writer, key: &K, range: &MapRange<'_>) -> Result<Vec<(U, V)>> {
        let mut entries = Vec::new();
        self.scan(writer, key, range, |user_key, value| {
            entries.push((user_key, value));
            ControlFlow::Continue(())
        })?;
        Ok(entries)
    }
}

type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

fn encoded_bounds<U: Codec>(bounds: &impl RangeBounds<U>) -> Bounds {
    (bounds.start_bound().map(encoded), bounds.end_bound().map(encoded))
}

fn range_of<'a>(from: &'a Bound<Vec<u8>>, to: &'a Bound<Vec<u8>>) -> MapRange<'a> {
    MapRange::between(from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice))
}
