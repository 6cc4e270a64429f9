//! Typed merging states.

use super::{Codec, Handle, encoded};
use crate::error::{Error, Result};
use crate::states::{MergeOperator, StateKind, StateOptions};
use crate::store::Store;
use crate::writer::Writer;
use std::marker::PhantomData;

/// What a merge operator merges: numbers by the built-in ones, what a host likes by its own.
///
/// The bytes are the operator's form. That is not the one that [`Codec`] gives numbers: built-in operators take
/// little-endian ones.
pub trait Operand: Sized {
    /// Whether the operator takes values of this type.
    fn is_for(operator: &MergeOperator) -> bool;

    /// The bytes that the operator takes.
    fn to_operand(&self) -> Vec<u8>;

    /// The value of these bytes, all of them; `None` where they are none.
    fn from_operand(bytes: &[u8]) -> Option<Self>;
}

macro_rules! number {
    ($($t:ty: $($operator:ident)|+;)*) => {$(
        impl Operand for $t {
            fn is_for(operator: &MergeOperator) -> bool {
                matches!(operator, $(MergeOperator::$operator)|+)
            }

            fn to_operand(&self) -> Vec<u8> {
                self.to_le_bytes().to_vec()
            }

            fn from_operand(bytes: &[u8]) -> Option<Self> {
                Some(Self::from_le_bytes(bytes.try_into().ok()?))
            }
        }
    )*};
}

number! {
    u64: U64Add | U64Min | U64Max;
    i64: I64Add | I64Min | I64Max;
    f64: F64Add | F64Min | F64Max;
}

/// Bytes as they are, for operators of the host's own.
impl Operand for Vec<u8> {
    fn is_for(operator: &MergeOperator) -> bool {
        matches!(operator, MergeOperator::User(_))
    }

    fn to_operand(&self) -> Vec<u8> {
        self.clone()
    }

    fn from_operand(bytes: &[u8]) -> Option<Self> {
        Some(bytes.to_vec())
    }
}

/// One value per key that operands are merged into, without being read.
///
/// ```
/// # use alluvium::{Engine, EngineOptions, MergeOperator, Store, StoreOptions, state::MergingState};
/// # let directory = tempfile::tempdir().map_err(|error| alluvium::Error::Background(error.to_string()))?;
/// # let engine = Engine::open(EngineOptions::default())?;
/// # let store = Store::create(&engine, directory.path(), StoreOptions::default())?;
/// let earliest: MergingState<String, i64> = MergingState::register(&store, "earliest", MergeOperator::I64Min)?;
/// let mut writer = store.writer(store.range())?;
/// let key = "JFK".to_owned();
/// for minute in [4, -7, 12] {
///     earliest.merge(&mut writer, &key, &minute)?;
/// }
/// assert_eq!(earliest.get(&mut writer, &key)?, Some(-7));
/// // An operator of other numbers is refused.
/// assert!(MergingState::<String, i64>::register(&store, "sums", MergeOperator::U64Add).is_err());
/// # Ok::<(), alluvium::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct MergingState<K, T> {
    handle: Handle,
    types: PhantomData<fn(K) -> T>,
}

impl<K: Codec, T: Operand> MergingState<K, T> {
    /// Registers (or finds) the state of this name; the operator must be one for `T`.
    pub fn register(store: &Store, name: &str, operator: MergeOperator) -> Result<Self> {
        Self::with(store, StateOptions::merging(name, operator))
    }

    /// Registers (or finds) a state with options of its own; they must be those of a merging state with an operator
    /// for `T`.
    pub fn with(store: &Store, options: StateOptions) -> Result<Self> {
        if let Some(operator) = options.merge.as_ref().filter(|operator| !T::is_for(operator)) {
            let problem = format!("{operator:?} doesn't merge values of {}", std::any::type_name::<T>());
            return Err(Error::State { state: options.name, problem });
        }
        Ok(Self { handle: Handle::new(store, options, StateKind::Merging)?, types: PhantomData })
    }

    /// The same state in a namespace; one whose form has no bytes is none.
    #[must_use]
    pub fn in_namespace<N: Codec>(&self, namespace: &N) -> Self {
        Self { handle: self.handle.in_namespace(namespace), types: PhantomData }
    }

    /// The merged value; `None` where there is none.
    pub fn get(&self, writer: &mut Writer, key: &K) -> Result<Option<T>> {
        let key = encoded(key);
        let decode = |bytes: &[u8]| T::from_operand(bytes).ok_or_else(|| self.handle.undecodable::<T>(bytes));
        writer.read(self.handle.state, self.handle.key(&key), |value| value.map(decode))?.transpose()
    }

    /// Merges an operand.
    pub fn merge(&self, writer: &mut Writer, key: &K, operand: &T) -> Result<()> {
        let key = encoded(key);
        writer.merge(self.handle.state, self.handle.key(&key), &operand.to_operand())
    }

    /// Puts a value in the place of what was merged.
    pub fn put(&self, writer: &mut Writer, key: &K, value: &T) -> Result<()> {
        let key = encoded(key);
        writer.put(self.handle.state, self.handle.key(&key), &value.to_operand())
    }

    /// Deletes the value.
    pub fn delete(&self, writer: &mut Writer, key: &K) -> Result<()> {
        let key = encoded(key);
        writer.delete(self.handle.state, self.handle.key(&key))
    }
}
