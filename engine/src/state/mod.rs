//! Typed handles: states whose keys and values are Rust values, over the bytes that a writer takes.
//!
//! A handle is made once from a registered state and used with a writer that is given to each call, so that any number
//! of handles share one writer. `register` makes one by name alone, `with` takes options: a state that expires has to be
//! registered with its time to live each time ([`Store::state`]). `in_namespace` gives the same state in a namespace.
//!
//! Registering fails as [`Store::state`] does. Every other call fails as the [`Writer`](crate::Writer)'s own, and with
//! [`Error::State`] where bytes that are there aren't of the type asked for.
//!
//! ```
//! # use alluvium::{Engine, EngineOptions, Store, StoreOptions, state::{MapState, ValueState}};
//! # let directory = tempfile::tempdir().map_err(|error| alluvium::Error::Background(error.to_string()))?;
//! # let engine = Engine::open(EngineOptions::default())?;
//! # let store = Store::create(&engine, directory.path(), StoreOptions::default())?;
//! use alluvium::{StateOptions, Ttl};
//!
//! let ttl = Ttl { duration_ms: 60_000, refresh_on_read: false };
//! let delays: ValueState<String, i64> = ValueState::with(&store, StateOptions::value("delays").ttl(ttl))?;
//! let routes: MapState<u32, u64, String> = MapState::register(&store, "routes")?;
//! let mut writer = store.writer(store.range())?;
//! delays.put(&mut writer, &"UA".to_owned(), &-3)?;
//! assert_eq!(delays.get(&mut writer, &"UA".to_owned())?, Some(-3));
//! let window = delays.in_namespace(&1_u64);
//! assert_eq!(window.get(&mut writer, &"UA".to_owned())?, None);
//! for (at, name) in [(20, "b"), (3, "a")] {
//!     routes.put(&mut writer, &7, &at, &name.to_owned())?;
//! }
//! assert_eq!(routes.entries(&mut writer, &7)?, [(3, "a".to_owned()), (20, "b".to_owned())]);
//! # Ok::<(), alluvium::Error>(())
//! ```

mod codec;
mod list;
mod map;
mod merging;
mod value;

pub use codec::Codec;
pub use list::ListState;
pub use map::MapState;
pub use merging::{MergingState, Operand};
pub use value::ValueState;

use crate::error::{Error, Result};
use crate::key::Key;
use crate::states::{StateKind, StateOptions};
use crate::store::{State, Store};
use std::sync::Arc;

/// What all typed handles hold: a state, and the namespace that they use it in.
#[derive(Clone, Debug)]
struct Handle {
    state: State,
    name: Arc<str>,
    key_groups: u32,
    /// Empty for none.
    namespace: Vec<u8>,
}

impl Handle {
    /// Registers (or finds) a state, which must be of the kind that the handle is for.
    fn new(store: &Store, options: StateOptions, kind: StateKind) -> Result<Self> {
        let name: Arc<str> = options.name.as_str().into();
        if options.kind != kind {
            let problem = format!("options of a {:?} state, the handle is for {kind:?}", options.kind);
            return Err(Error::State { state: options.name, problem });
        }
        Ok(Self { state: store.state(options)?, name, key_groups: store.key_groups(), namespace: Vec::new() })
    }

    fn in_namespace<N: Codec>(&self, namespace: &N) -> Self {
        Self { namespace: encoded(namespace), name: Arc::clone(&self.name), ..*self }
    }

    /// The key of these bytes, in the key group that their hash gives it.
    fn key<'a>(&'a self, bytes: &'a [u8]) -> Key<'a> {
        Key::hashed(self.key_groups, bytes).in_namespace(&self.namespace)
    }

    fn decoded<V: Codec>(&self, bytes: &[u8]) -> Result<V> {
        V::decode(bytes).ok_or_else(|| self.undecodable::<V>(bytes))
    }

    fn undecodable<V>(&self, bytes: &[u8]) -> Error {
        let problem = format!("{} bytes are no {}", bytes.len(), std::any::type_name::<V>());
        Error::State { state: self.name.as_ref().to_owned(), problem }
    }
}

fn encoded<T: Codec>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16);
    value.encode(&mut bytes);
    bytes
}
