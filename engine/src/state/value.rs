//! Typed value and merging states.

use super::{Codec, decoded, encoded, keyed};
use crate::error::Result;
use crate::states::{MergeOperator, StateOptions};
use crate::store::{State, Store};
use crate::writer::Writer;
use std::marker::PhantomData;

/// One value per key.
#[derive(Clone, Debug)]
pub struct ValueState<K, V> {
    state: State,
    name: String,
    key_groups: u32,
    types: PhantomData<fn(K) -> V>,
}

impl<K: Codec, V: Codec> ValueState<K, V> {
    /// Registers (or finds) the state of this name.
    pub fn register(store: &Store, name: &str) -> Result<Self> {
        Self::with(store, StateOptions::value(name))
    }

    /// Registers (or finds) a state with options of its own; they must be those of a value state.
    pub fn with(store: &Store, options: StateOptions) -> Result<Self> {
        let name = options.name.clone();
        let state = store.state(options)?;
        Ok(Self { state, name, key_groups: store.key_groups(), types: PhantomData })
    }

    /// The value; `None` where there is none.
    pub fn get(&self, writer: &mut Writer, key: &K) -> Result<Option<V>> {
        let key = encoded(key);
        let value = writer
            .read(self.state, keyed(&key, self.key_groups), |value| value.map(|value| decoded(&self.name, value)))?;
        value.transpose()
    }

    /// Puts a value.
    pub fn put(&self, writer: &mut Writer, key: &K, value: &V) -> Result<()> {
        let key = encoded(key);
        writer.put(self.state, keyed(&key, self.key_groups), &encoded(value))
    }

    /// Deletes the value.
    pub fn delete(&self, writer: &mut Writer, key: &K) -> Result<()> {
        let key = encoded(key);
        writer.delete(self.state, keyed(&key, self.key_groups))
    }

    /// Writes what `change` makes of the value; `None` deletes it. Where the value can't be decoded it stays as it is
    /// and the error says so.
    pub fn update(&self, writer: &mut Writer, key: &K, change: impl FnOnce(Option<V>) -> Option<V>) -> Result<()> {
        let key = encoded(key);
        let mut failed = None;
        writer.update(self.state, keyed(&key, self.key_groups), |old| {
            match old.map(|old| decoded(&self.name, old)).transpose() {
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

/// One number per key that operands are merged into, without being read.
#[derive(Clone, Debug)]
pub struct MergingState<K> {
    state: State,
    key_groups: u32,
    types: PhantomData<fn(K)>,
}

impl<K: Codec> MergingState<K> {
    /// Registers (or finds) the state of this name. Operands are bytes in the operator's form: for the built-in
    /// operators 8 bytes, little-endian.
    pub fn register(store: &Store, name: &str, operator: MergeOperator) -> Result<Self> {
        let state = store.state(StateOptions::merging(name, operator))?;
        Ok(Self { state, key_groups: store.key_groups(), types: PhantomData })
    }

    /// The merged value; `None` where there is none.
    pub fn get(&self, writer: &mut Writer, key: &K) -> Result<Option<Vec<u8>>> {
        let key = encoded(key);
        writer.get(self.state, keyed(&key, self.key_groups))
    }

    /// Merges an operand.
    pub fn merge(&self, writer: &mut Writer, key: &K, operand: &[u8]) -> Result<()> {
        let key = encoded(key);
        writer.merge(self.state, keyed(&key, self.key_groups), operand)
    }

    /// Deletes the value.
    pub fn delete(&self, writer: &mut Writer, key: &K) -> Result<()> {
        let key = encoded(key);
        writer.delete(self.state, keyed(&key, self.key_groups))
    }
}
