//! Typed map states.

use super::{Codec, decoded, encoded, keyed};
use crate::error::{Error, Result};
use crate::scan::MapRange;
use crate::states::StateOptions;
use crate::store::{State, Store};
use crate::writer::Writer;
use std::marker::PhantomData;
use std::ops::ControlFlow;

/// An ordered map per key; user keys sort as their bytes do.
#[derive(Clone, Debug)]
pub struct MapState<K, U, V> {
    state: State,
    name: String,
    key_groups: u32,
    types: PhantomData<fn(K, U) -> V>,
}

impl<K: Codec, U: Codec, V: Codec> MapState<K, U, V> {
    /// Registers (or finds) the state of this name.
    pub fn register(store: &Store, name: &str) -> Result<Self> {
        let state = store.state(StateOptions::map(name))?;
        Ok(Self { state, name: name.to_owned(), key_groups: store.key_groups(), types: PhantomData })
    }

    /// The value of an entry; `None` where there is none.
    pub fn get(&self, writer: &mut Writer, key: &K, user_key: &U) -> Result<Option<V>> {
        let key = encoded(key);
        let value = writer.map_get(self.state, keyed(&key, self.key_groups), &encoded(user_key))?;
        value.map(|value| decoded(&self.name, &value)).transpose()
    }

    /// Puts an entry.
    pub fn put(&self, writer: &mut Writer, key: &K, user_key: &U, value: &V) -> Result<()> {
        let key = encoded(key);
        writer.map_put(self.state, keyed(&key, self.key_groups), &encoded(user_key), &encoded(value))
    }

    /// Deletes an entry.
    pub fn delete(&self, writer: &mut Writer, key: &K, user_key: &U) -> Result<()> {
        let key = encoded(key);
        writer.map_delete(self.state, keyed(&key, self.key_groups), &encoded(user_key))
    }

    /// Deletes all entries.
    pub fn clear(&self, writer: &mut Writer, key: &K) -> Result<()> {
        let key = encoded(key);
        writer.map_clear(self.state, keyed(&key, self.key_groups))
    }

    /// All entries, in order.
    pub fn entries(&self, writer: &mut Writer, key: &K) -> Result<Vec<(U, V)>> {
        let key = encoded(key);
        let mut entries = Vec::new();
        let mut failed: Option<Error> = None;
        writer.map_scan(
            self.state,
            keyed(&key, self.key_groups),
            &MapRange::all(),
            |user_key, value| match decoded(&self.name, user_key)
                .and_then(|user_key| Ok((user_key, decoded(&self.name, value)?)))
            {
                Ok(entry) => {
                    entries.push(entry);
                    ControlFlow::Continue(())
                }
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            },
        )?;
        failed.map_or(Ok(entries), Err)
    }

    /// Takes the entry with the smallest user key out.
    pub fn pop_first(&self, writer: &mut Writer, key: &K) -> Result<Option<(U, V)>> {
        let key = encoded(key);
        let popped = writer.map_pop_first(self.state, keyed(&key, self.key_groups))?;
        popped.map(|(user_key, value)| Ok((decoded(&self.name, &user_key)?, decoded(&self.name, &value)?))).transpose()
    }
}
