//! Typed value states.

use super::{Codec, Handle, encoded};
use crate::error::Result;
use crate::states::{StateKind, StateOptions};
use crate::store::Store;
use crate::writer::Writer;
use std::marker::PhantomData;

/// One value per key.
#[derive(Clone, Debug)]
pub struct ValueState<K, V> {
    handle: Handle,
    types: PhantomData<fn(K) -> V>,
}

impl<K: Codec, V: Codec> ValueState<K, V> {
    /// Registers (or finds) the state of this name.
    pub fn register(store: &Store, name: &str) -> Result<Self> {
        Self::with(store, StateOptions::value(name))
    }

    /// Registers (or finds) a state with options of its own; they must be those of a value state.
    pub fn with(store: &Store, options: StateOptions) -> Result<Self> {
        Ok(Self { handle: Handle::new(store, options, StateKind::Value)?, types: PhantomData })
    }

    /// The same state in a namespace; one whose form has no bytes is none.
    #[must_use]
    pub fn in_namespace<N: Codec>(&self, namespace: &N) -> Self {
        Self { handle: self.handle.in_namespace(namespace), types: PhantomData }
    }

    /// The value; `None` where there is none.
    pub fn get(&self, writer: &mut Writer, key: &K) -> Result<Option<V>> {
        let key = encoded(key);
        let decode = |value: Option<&[u8]>| value.map(|value| self.handle.decoded(value));
        writer.read(self.handle.state, self.handle.key(&key), decode)?.transpose()
    }

    /// Puts a value.
    pub fn put(&self, writer: &mut Writer, key: &K, value: &V) -> Result<()> {
        let key = encoded(key);
        writer.put(self.handle.state, self.handle.key(&key), &encoded(value))
    }

    /// Deletes the value.
    pub fn delete(&self, writer: &mut Writer, key: &K) -> Result<()> {
        let key = encoded(key);
        writer.delete(self.handle.state, self.handle.key(&key))
    }

    /// Writes what `change` makes of the value; `None` deletes it. Where the value can't be decoded it stays as it is
    /// and the error says so.
    pub fn update(&self, writer: &mut Writer, key: &K, change: impl FnOnce(Option<V>) -> Option<V>) -> Result<()> {
        let key = encoded(key);
        let mut failed = None;
        writer.update(self.handle.state, self.handle.key(&key), |old| {
            match old.map(|old| self.handle.decoded(old)).transpose() {
                Ok(old) => change(old).map(|new| encoded(&new)),
                Err(error) => {
                    failed = Some(error);
                    old.map(<[u8]>::to_vec)
                }
            }
        })?;
        failed.map_or(Ok(()), Err)
    }
}
