//! A writer and lists.

use crate::change;
use crate::error::Result;
use crate::key::Key;
use crate::metrics::OperationKind;
use crate::read;
use crate::states::{StateKind, framed};
use crate::store::State;
use crate::writer::Writer;

impl Writer {
    /// Appends an element to a list, without reading what is there. [`Error::TooLong`](crate::Error::TooLong) where the list, with the
    /// elements' frames, would have more than 1 GiB in memory; one that comes to that on disk can't be read as a whole any more, but deleted or
    /// replaced.
    pub fn append(&mut self, state: State, key: Key<'_>, element: &[u8]) -> Result<()> {
        change::check_value(element)?;
        self.at(OperationKind::Append, state, &[StateKind::List], key, |core, def, probe| {
            change::append(core, def, key, probe, element)
        })
    }

    /// Appends several elements to a list, in order, as [`append`](Writer::append) appends one: all of them or, where it fails, none.
    ///
    /// ```
    /// # use alluvium::{Engine, EngineOptions, StateOptions, Store, StoreOptions};
    /// # let directory = tempfile::tempdir().map_err(|error| alluvium::Error::Background(error.to_string()))?;
    /// # let engine = Engine::open(EngineOptions::default())?;
    /// # let store = Store::create(&engine, directory.path(), StoreOptions::default())?;
    /// let stops = store.state(StateOptions::list("stops"))?;
    /// let mut writer = store.writer(store.range())?;
    /// writer.append(stops, store.key(b"AS 45"), b"JFK")?;
    /// writer.append_all(stops, store.key(b"AS 45"), &[b"ORD", b"SEA"])?;
    /// assert_eq!(writer.list(stops, store.key(b"AS 45"))?, [b"JFK", b"ORD", b"SEA"]);
    /// # Ok::<(), alluvium::Error>(())
    /// ```
    pub fn append_all(&mut self, state: State, key: Key<'_>, elements: &[&[u8]]) -> Result<()> {
        self.at(OperationKind::Append, state, &[StateKind::List], key, |core, def, probe| {
            // One that has none isn't begun.
            if elements.is_empty() {
                return Ok(());
            }
            let frames = framed(elements, read::expiry_of(def.ttl, core.hot.now_ms));
            change::check_value(&frames)?;
            change::append_frames(core, def, key, probe, [&frames, &[]])
        })
    }

    /// The elements of a list, in the order of their appending; empty where there is none.
    pub fn list(&mut self, state: State, key: Key<'_>) -> Result<Vec<Vec<u8>>> {
        let mut elements = Vec::new();
        self.list_with(state, key, |element| elements.push(element.to_vec()))?;
        Ok(elements)
    }

    /// Gives the elements of a list to `use_it`, in the order of their appending.
    pub fn list_with(&mut self, state: State, key: Key<'_>, mut use_it: impl FnMut(&[u8])) -> Result<()> {
        self.at(OperationKind::Read, state, &[StateKind::List], key, |core, def, probe| {
            read::list(core, def, key, probe, &mut use_it)
        })
    }

    /// Replaces a list; an empty one deletes it.
    pub fn put_list(&mut self, state: State, key: Key<'_>, elements: &[&[u8]]) -> Result<()> {
        if elements.is_empty() {
            return self.delete(state, key);
        }
        self.at(OperationKind::Write, state, &[StateKind::List], key, |core, def, probe| {
            let value = framed(elements, read::expiry_of(def.ttl, core.hot.now_ms));
            change::check_value(&value)?;
            change::put_until(core, def, key, probe, &value, None)
        })
    }
}
