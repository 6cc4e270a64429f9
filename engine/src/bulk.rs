//! Loading sorted data: straight into segments that need no merging.

use crate::change;
use crate::compact::{Sink, install_loaded};
use crate::error::{Class, Error, Result};
use crate::ids::{KeyGroup, StateId};
use crate::key::{Key, push_entry_key, push_sort_key};
use crate::read;
use crate::replay;
use crate::segment::{Entry, Kind};
use crate::states::{StateDef, StateKind, framed};
use crate::store::{State, StoreInner};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A load of sorted data into a store ([`Store::bulk_load`](crate::Store::bulk_load)): each record is written once, past
/// memory, into segments that lie at the bottom from the start. For states that are taken over from elsewhere.
///
/// Records come in the order of their *sort keys*: by key group, then state, then key, namespace and user key, keys and
/// namespaces by length first ([`crate::key::push_sort_key`] makes one, whose bytes compare). No key comes twice. The
/// (key group, state)s that are loaded must be empty: nothing was ever put there, or all of it has left the disk. Nothing is
/// there to be read before [`BulkLoad::finish`], and the next checkpoint makes it last. Dropping a load forgets it.
///
/// A load of which something could not be written has failed as a whole: it takes no more records and doesn't end well, and says so with
/// [`Error::Options`] where the first error was of [`Class::Retry`]. When there is room again, begin a new one. What was refused as wrong
/// changes nothing: the load goes on.
///
/// ```
/// # use alluvium::{Engine, EngineOptions, StateOptions, Store, StoreOptions};
/// use alluvium::{Key, KeyGroup};
/// # let directory = tempfile::tempdir().map_err(|error| alluvium::Error::Background(error.to_string()))?;
/// # let engine = Engine::open(EngineOptions::default())?;
/// # let store = Store::create(&engine, directory.path(), StoreOptions::default())?;
/// let names = store.state(StateOptions::value("names"))?;
/// let mut load = store.bulk_load(2)?;
/// load.put(names, Key::new(KeyGroup(3), b"JFK"), b"Kennedy")?;
/// load.put(names, Key::new(KeyGroup(3), b"LGA"), b"La Guardia")?;
/// load.finish()?;
/// assert_eq!(store.reader().get(names, Key::new(KeyGroup(3), b"LGA"))?, Some(b"La Guardia".to_vec()));
/// # Ok::<(), alluvium::Error>(())
/// ```
#[derive(Debug)]
pub struct BulkLoad<'a> {
    store: &'a Arc<StoreInner>,
    sink: Sink<'a>,
    sort_key: Vec<u8>,
    last: Vec<u8>,
    loaded: BTreeSet<(KeyGroup, StateId)>,
    /// Of what lineage each state was when the first value of it was loaded.
    lineages: BTreeMap<StateId, u64>,
    now_ms: u64,
}

impl<'a> BulkLoad<'a> {
    pub(crate) fn new(store: &'a Arc<StoreInner>, records: u64) -> Result<Self> {
        store.check()?;
        replay::all(store)?;
        let (sink, loaded, lineages) = (Sink::to_bottom(store, records), BTreeSet::new(), BTreeMap::new());
        Ok(Self { store, sink, sort_key: Vec::new(), last: Vec::new(), loaded, lineages, now_ms: 0 })
    }

    /// Sets the clock by which what is loaded from now on expires, in ms; it begins at 0.
    pub fn set_time_ms(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
    }

    /// Loads a value, or a merging state's value.
    pub fn put(&mut self, state: State, key: Key<'_>, value: &[u8]) -> Result<()> {
        let def = self.store.def(state, &[StateKind::Value, StateKind::Merging])?;
        if def.kind == StateKind::Merging {
            def.check_operand(value)?;
        }
        self.add(&def, key, None, value)
    }

    /// Loads a list, which isn't empty.
    pub fn put_list(&mut self, state: State, key: Key<'_>, elements: &[&[u8]]) -> Result<()> {
        let def = self.store.def(state, &[StateKind::List])?;
        let expiry_ms = read::expiry_of(def.ttl, self.now_ms);
        let value = framed(elements, expiry_ms);
        if elements.is_empty() {
            return Err(refused("an empty list is none"));
        }
        self.add(&def, key, None, &value)
    }

    /// Loads an entry of a map.
    pub fn map_put(&mut self, state: State, key: Key<'_>, user_key: &[u8], value: &[u8]) -> Result<()> {
        read::check_user_key(user_key)?;
        let def = self.store.def(state, &[StateKind::Map])?;
        self.add(&def, key, Some(user_key), value)
    }

    fn add(&mut self, def: &StateDef, key: Key<'_>, user_key: Option<&[u8]>, value: &[u8]) -> Result<()> {
        self.check_whole()?;
        read::check_key(key, self.store.info.range)?;
        change::check_value(value)?;
        self.sort_key.clear();
        match user_key {
            None => push_sort_key(&mut self.sort_key, def.id, key),
            Some(user_key) => push_entry_key(&mut self.sort_key, def.id, key, user_key),
        }
        if self.sort_key <= self.last {
            return Err(refused("the records don't come in the order of their sort keys"));
        }
        self.loaded.insert((key.group, def.id));
        self.lineages.entry(def.id).or_insert(def.lineage);
        let expiry_ms = if def.kind == StateKind::List { None } else { read::expiry_of(def.ttl, self.now_ms) };
        self.sink.add(Entry { sort_key: &self.sort_key, kind: Kind::Put, expiry_ms, value })?;
        std::mem::swap(&mut self.sort_key, &mut self.last);
        Ok(())
    }

    /// Fails where something of it could not be written; never so that it is said to help to do it again.
    fn check_whole(&self) -> Result<()> {
        match self.sink.failure() {
            None => Ok(()),
            Some(error) if error.class() == Class::Retry => {
                Err(refused(&format!("something of it could not be written, begin a new one: {error}")))
            }
            Some(error) => Err(error.clone()),
        }
    }

    /// Ends the load: what was loaded is there to be read, all at once. [`Error::State`] where the store has something of
    /// what was loaded, or a state was migrated since its first value was loaded; then nothing is loaded.
    pub fn finish(self) -> Result<()> {
        self.check_whole()?;
        let outputs = self.sink.finish()?;
        if outputs.is_empty() {
            return Ok(());
        }
        install_loaded(self.store, &outputs, &self.loaded, &self.lineages)
    }
}

fn refused(problem: &str) -> Error {
    Error::Options { option: "bulk load", problem: problem.to_owned() }
}
