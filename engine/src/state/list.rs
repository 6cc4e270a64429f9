//! Typed list states.

use super::{Codec, Handle, encoded};
use crate::error::Result;
use crate::states::{StateKind, StateOptions};
use crate::store::Store;
use crate::writer::Writer;
use std::marker::PhantomData;

/// A list per key.
///
/// ```
/// # use alluvium::{Engine, EngineOptions, Store, StoreOptions, state::ListState};
/// # let directory = tempfile::tempdir().map_err(|error| alluvium::Error::Background(error.to_string()))?;
/// # let engine = Engine::open(EngineOptions::default())?;
/// # let store = Store::create(&engine, directory.path(), StoreOptions::default())?;
/// let stops: ListState<u64, String> = ListState::register(&store, "stops")?;
/// let mut writer = store.writer(store.range())?;
/// stops.put(&mut writer, &7, &["JFK".to_owned()])?;
/// stops.append(&mut writer, &7, &"SEA".to_owned())?;
/// stops.append_all(&mut writer, &7, &["ORD".to_owned(), "BOS".to_owned()])?;
/// assert_eq!(stops.get(&mut writer, &7)?, ["JFK", "SEA", "ORD", "BOS"]);
/// # Ok::<(), alluvium::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ListState<K, T> {
    handle: Handle,
    types: PhantomData<fn(K) -> T>,
}

impl<K: Codec, T: Codec> ListState<K, T> {
    /// Registers (or finds) the state of this name.
    pub fn register(store: &Store, name: &str) -> Result<Self> {
        Self::with(store, StateOptions::list(name))
    }

    /// Registers (or finds) a state with options of its own; they must be those of a list.
    pub fn with(store: &Store, options: StateOptions) -> Result<Self> {
        Ok(Self { handle: Handle::new(store, options, StateKind::List)?, types: PhantomData })
    }

    /// The same state in a namespace; one whose form has no bytes is none.
    #[must_use]
    pub fn in_namespace<N: Codec>(&self, namespace: &N) -> Self {
        Self { handle: self.handle.in_namespace(namespace), types: PhantomData }
    }

    /// Appends an element, without reading what is there.
    pub fn append(&self, writer: &mut Writer, key: &K, element: &T) -> Result<()> {
        let key = encoded(key);
        writer.append(self.handle.state, self.handle.key(&key), &encoded(element))
    }

    /// Appends several elements, in order and together, without reading what is there.
    pub fn append_all(&self, writer: &mut Writer, key: &K, elements: &[T]) -> Result<()> {
        let key = encoded(key);
        let elements: Vec<Vec<u8>> = elements.iter().map(encoded).collect();
        let elements: Vec<&[u8]> = elements.iter().map(Vec::as_slice).collect();
        writer.append_all(self.handle.state, self.handle.key(&key), &elements)
    }

    /// The elements, in the order of their appending; empty where there is no list.
    pub fn get(&self, writer: &mut Writer, key: &K) -> Result<Vec<T>> {
        let key = encoded(key);
        let elements = writer.list(self.handle.state, self.handle.key(&key))?;
        elements.iter().map(|element| self.handle.decoded(element)).collect()
    }

    /// Replaces the list; without elements it is deleted.
    pub fn put(&self, writer: &mut Writer, key: &K, elements: &[T]) -> Result<()> {
        let key = encoded(key);
        let elements: Vec<Vec<u8>> = elements.iter().map(encoded).collect();
        let elements: Vec<&[u8]> = elements.iter().map(Vec::as_slice).collect();
        writer.put_list(self.handle.state, self.handle.key(&key), &elements)
    }

    /// Deletes the list.
    pub fn clear(&self, writer: &mut Writer, key: &K) -> Result<()> {
        let key = encoded(key);
        writer.delete(self.handle.state, self.handle.key(&key))
    }
}
