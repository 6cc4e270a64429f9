//! Typed handles: states whose keys and values are Rust values, over the bytes that a writer takes.
//!
//! A handle is made once from a registered state and used with a writer that is given to each call, so that any number
//! of handles share one writer.
//!
//! ```
//! # use alluvium::{Engine, EngineOptions, Store, StoreOptions, state::{MapState, ValueState}};
//! # let directory = tempfile::tempdir().map_err(|error| alluvium::Error::Background(error.to_string()))?;
//! # let engine = Engine::open(EngineOptions::default())?;
//! # let store = Store::create(&engine, directory.path(), StoreOptions::default())?;
//! let delays: ValueState<String, i64> = ValueState::register(&store, "delays")?;
//! let routes: MapState<u32, u64, String> = MapState::register(&store, "routes")?;
//! let mut writer = store.writer(store.range())?;
//! delays.put(&mut writer, &"UA".to_owned(), &-3)?;
//! assert_eq!(delays.get(&mut writer, &"UA".to_owned())?, Some(-3));
//! for (at, name) in [(20, "b"), (3, "a")] {
//!     routes.put(&mut writer, &7, &at, &name.to_owned())?;
//! }
//! assert_eq!(routes.entries(&mut writer, &7)?, [(3, "a".to_owned()), (20, "b".to_owned())]);
//! # Ok::<(), alluvium::Error>(())
//! ```

mod codec;
mod list;
mod map;
mod value;

pub use codec::Codec;
pub use list::ListState;
pub use map::MapState;
pub use value::{MergingState, ValueState};

use crate::error::{Error, Result};
use crate::key::{Key, key_group_of};

/// A key's bytes and its key group's number, among `key_groups`.
pub(crate) fn encoded<K: Codec>(key: &K) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16);
    key.encode(&mut bytes);
    bytes
}

pub(crate) fn keyed(bytes: &[u8], key_groups: u32) -> Key<'_> {
    Key::new(key_group_of(bytes, key_groups), bytes)
}

pub(crate) fn decoded<V: Codec>(state: &str, bytes: &[u8]) -> Result<V> {
    V::decode(bytes).ok_or_else(|| Error::State {
        state: state.to_owned(),
        problem: format!("{} bytes are no {}", bytes.len(), std::any::type_name::<V>()),
    })
}
