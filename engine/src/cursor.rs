//! Cursors: going through the keys of a state or the entries of a map, a batch at a time.

use crate::error::{Error, Result};
use crate::ids::KeyGroupRange;
use crate::key::Key;
use crate::packed::Packed;
use crate::read;
use crate::scan::MapRange;
use crate::states::{StateDef, StateKind};
use crate::store::State;
use crate::walk::Access;
use crate::walk::entries::Entries;
use crate::walk::keys::{Keys, Which};

/// A place among the keys of a state, or among the entries of a map, which goes on with every batch that is fetched:
/// [`Writer::fetch`](crate::Writer::fetch), [`Reader::fetch`](crate::Reader::fetch).
///
/// It borrows nothing: between two batches the store can be read, changed, flushed and checkpointed, also what was just
/// found, and by the writer that goes on with it. Segments that it is going through stay on disk meanwhile.
///
/// **Live, not a snapshot.** What is there from the first batch to the last, memory and disk taken together, is found
/// exactly once; what is put meanwhile may be found or not. A key that was deleted, or has expired, by the time that a
/// batch is fetched is not in that batch. Entries are found with the values that they have when their batch is fetched.
/// For a snapshot iterate a checkpoint ([`Store::iterate`](crate::Store::iterate)).
///
/// A cursor that failed fails again with the same error; begin with a new one.
///
/// Entries come in the order of their user keys. Keys come one key group after another, in no order that means anything.
///
/// ```
/// # use alluvium::{Engine, EngineOptions, StateOptions, Store, StoreOptions};
/// use alluvium::{Cursor, Packed};
/// # let directory = tempfile::tempdir().map_err(|error| alluvium::Error::Background(error.to_string()))?;
/// # let engine = Engine::open(EngineOptions::default())?;
/// # let store = Store::create(&engine, directory.path(), StoreOptions::default())?;
/// let counts = store.state(StateOptions::value("counts"))?;
/// let mut writer = store.writer(store.range())?;
/// for number in 0..10_000_u32 {
///     writer.put(counts, store.key(&number.to_be_bytes()), b"1")?;
/// }
/// let (mut cursor, mut batch) = (Cursor::keys(counts, store.range()), Packed::default());
/// let mut deleted = 0;
/// while writer.fetch(&mut cursor, &mut batch)? {
///     for found in batch.iter() {
///         writer.delete(counts, store.key(found.key))?;
///         deleted += 1;
///     }
/// }
/// assert_eq!(deleted, 10_000);
/// # Ok::<(), alluvium::Error>(())
/// ```
#[derive(Debug)]
pub struct Cursor {
    pub(crate) state: State,
    place: Place,
    /// What a batch failed with: where it stands since is unknown.
    failed: Option<Error>,
}

#[derive(Debug)]
enum Place {
    Keys(Keys),
    Entries(Entries),
}

impl Cursor {
    const fn at(state: State, place: Place) -> Self {
        Self { state, place, failed: None }
    }

    /// The keys of a state of any kind in a range of key groups, each once, whatever namespaces it has. Of a map: those
    /// that have an entry.
    pub fn keys(state: State, range: KeyGroupRange) -> Self {
        Self::at(state, Place::Keys(Keys::new(Which::Keys, range)))
    }

    /// The keys that a state of any kind has in one namespace.
    pub fn keys_in_namespace(state: State, range: KeyGroupRange, namespace: &[u8]) -> Self {
        Self::at(state, Place::Keys(Keys::new(Which::OfNamespace(namespace.to_vec()), range)))
    }

    /// The pairs of key and namespace of a state of any kind.
    pub fn keys_and_namespaces(state: State, range: KeyGroupRange) -> Self {
        Self::at(state, Place::Keys(Keys::new(Which::Pairs, range)))
    }

    /// The entries of a map in a range: user keys and values.
    pub fn entries(state: State, key: Key<'_>, range: &MapRange<'_>) -> Self {
        Self::at(state, Place::Entries(Entries::new(key, range)))
    }

    /// Puts the next batch into `out`; false at the end.
    pub(crate) fn fetch(&mut self, access: &mut impl Access, def: &StateDef, out: &mut Packed) -> Result<bool> {
        out.clear();
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let outcome = self.go_on(access, def, out);
        if let Err(error) = &outcome {
            out.clear();
            self.failed = Some(error.clone());
        }
        outcome.map(|()| !out.is_empty())
    }

    fn go_on(&mut self, access: &mut impl Access, def: &StateDef, out: &mut Packed) -> Result<()> {
        match &mut self.place {
            Place::Keys(keys) => keys.next(access, def, out),
            Place::Entries(entries) => {
                if def.kind != StateKind::Map {
                    let problem = format!("a {:?} state has no entries", def.kind);
                    return Err(Error::State { state: def.name.clone(), problem });
                }
                read::check_key(entries.at(), access.store().info.range)?;
                entries.next(access, def, out)
            }
        }
    }
}
