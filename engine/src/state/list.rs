//! Typed list states.

use super::{Codec, decoded, encoded, keyed};
use crate::error::Result;
use crate::states::StateOptions;
use crate::store::{State, Store};
use crate::writer::Writer;
use std::marker::PhantomData;

/// A list per key.
#[derive(Clone, Debug)]
pub struct ListState<K, T> {
    state: State,
    name: String,
    key_groups: u32,
    types: PhantomData<fn(K) -> T>,
}

impl<K: Codec, T: Codec> ListState<K, T> {
    /// Registers (or finds) the state of this name.
    pub fn register(store: &Store, name: &str) -> Result<Self> {
        let state = store.state(StateOptions::list(name))?;
        Ok(Self { state, name: name.to_owned(), key_groups: store.key_groups(), types: PhantomData })
    }

    /// Appends an element, without reading what is there.
    pub fn append(&self, writer: &mut Writer, key: &K, element: &T) -> Result<()> {
        let key = encoded(key);
        writer.append(self.state, keyed(&key, self.key_groups), &encoded(element))
    }

    /// The elements, in the order of their appending.
    pub fn get(&self, writer: &mut Writer, key: &K) -> Result<Vec<T>> {
        let key = encoded(key);
        let elements = writer.list(self.state, keyed(&key, self.key_groups))?;
        elements.iter().map(|element| decoded(&self.name, element)).collect()
    }

    /// Deletes the list.
    pub fn clear(&self, writer: &mut Writer, key: &K) -> Result<()> {
        let key = encoded(key);
        writer.delete(self.state, keyed(&key, self.key_groups))
    }
}
