//! Bringing keys back to what they were: at a checkpoint that is kept, or at a position of the changelog.
//!
//! Each key is compared with what it was, and only what differs is written, as any other change is. So it costs what it looks at, is
//! logged and checkpointed like everything else, and can be begun again wherever it failed.

use crate::as_of::AsOf;
use crate::changelog::record::Change;
use crate::cursor::Cursor;
use crate::error::{Error, Result};
use crate::ids::{KeyGroup, KeyGroupRange, StateId};
use crate::key::Key;
use crate::packed::Packed;
use crate::past::{Cell, Overlay, Source};
use crate::read;
use crate::scan::MapRange;
use crate::states::StateKind;
use crate::store::State;
use crate::writer::Writer;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

/// Which keys are brought back ([`Writer::rollback_keys`]); all within the writer's range.
#[derive(Clone, Copy, Debug)]
pub enum KeyScope<'a> {
    /// These, of states of any kind; of a map all of its entries.
    Keys(&'a [(State, Key<'a>)]),
    /// The keys of a state in some key groups that begin with a prefix, in all namespaces. All keys of the state in these key groups are
    /// looked through, as they don't lie in the order of their bytes; only those of the prefix are compared.
    Prefix {
        /// The state.
        state: State,
        /// The key groups.
        groups: KeyGroupRange,
        /// What the keys begin with; all do with nothing.
        prefix: &'a [u8],
    },
}

/// What was brought back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RolledBack {
    /// How many keys (a map is one) were written to, as they differed.
    pub keys: u64,
    /// How many values, lists and entries were written or deleted.
    pub changes: u64,
    /// The bytes of their keys and values.
    pub bytes: u64,
}

impl Writer {
    /// Brings keys back to what they were: values, lists, merged values and whole maps, with the times at which they expire. What wasn't
    /// there then is deleted. What is equal isn't written, so that few writes are made, and calling it again makes none. What would have
    /// expired by the writer's clock is not brought back.
    ///
    /// The old values are written as any others are: they last with the next commit or checkpoint, of a transactional store they are
    /// staged. One key is brought back after another; where it fails (a full disk, or [`Error::Staged`]) those before it are, and the same
    /// call goes on from there. So don't commit before it succeeds, where they are to come back as one.
    ///
    /// It takes, for each key, a lookup then and one now, and one pass through the changelog between a position and the newest
    /// checkpoint before it, of which the changes of these keys are held in memory.
    ///
    /// ```
    /// # use alluvium::{AsOf, Barrier, Engine, EngineOptions, KeyScope, StateOptions, Store, StoreOptions};
    /// # let directory = tempfile::tempdir().map_err(|error| alluvium::Error::Background(error.to_string()))?;
    /// # let engine = Engine::open(EngineOptions::default())?;
    /// # let store = Store::create(&engine, directory.path(), StoreOptions::default())?;
    /// let counts = store.state(StateOptions::value("counts"))?;
    /// let mut writer = store.writer(store.range())?;
    /// let (jfk, sea) = (store.key(b"JFK"), store.key(b"SEA"));
    /// writer.put(counts, jfk, b"1")?;
    /// writer.put(counts, sea, b"1")?;
    /// writer.barrier(Barrier::new(7))?.wait()?;
    /// writer.put(counts, jfk, b"wrong")?;
    /// writer.put(counts, sea, b"2")?;
    /// let done = writer.rollback_keys(&KeyScope::Keys(&[(counts, jfk)]), AsOf::Label(7))?;
    /// assert_eq!(done.keys, 1);
    /// assert_eq!(writer.get(counts, jfk)?, Some(b"1".to_vec()));
    /// assert_eq!(writer.get(counts, sea)?, Some(b"2".to_vec()));
    /// # Ok::<(), alluvium::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Checkpoint`] and [`Error::Position`] as of [`Store::as_of`](crate::Store::as_of) and
    /// [`Store::as_of_position`](crate::Store::as_of_position); [`Error::Position`] and [`Error::State`] where what a key was can't be told
    /// ([`Past`](crate::Past)); else as of any write.
    pub fn rollback_keys(&mut self, scope: &KeyScope<'_>, to: AsOf) -> Result<RolledBack> {
        let store = Arc::clone(self.store());
        let source = match to {
            AsOf::Label(label) => Source::at_label(&store, label)?,
            AsOf::Position(position) => Source::at_position(&store, position)?,
        };
        let mut done = RolledBack::default();
        match *scope {
            KeyScope::Keys(keys) => {
                keys.iter().try_for_each(|(_, key)| read::check_key(*key, self.range()).map(drop))?;
                let wanted: HashSet<(StateId, Key<'_>)> = keys.iter().map(|(state, key)| (state.0, *key)).collect();
                let groups: Vec<KeyGroup> = keys.iter().map(|(_, key)| key.group).collect();
                let overlay = source.overlay(|state, key, _| wanted.contains(&(state, key)), &groups)?;
                for &(state, key) in keys {
                    self.bring_back(&source, &overlay, state, key, &mut done)?;
                }
            }
            KeyScope::Prefix { state, groups, prefix } => {
                self.bring_back_prefix(&source, state, groups, prefix, &mut done)?;
            }
        }
        Ok(done)
    }

    fn bring_back_prefix(
        &mut self,
        source: &Source,
        state: State,
        groups: KeyGroupRange,
        prefix: &[u8],
        done: &mut RolledBack,
    ) -> Result<()> {
        let range = self.range();
        if !range.covers(groups) {
            let group = if range.contains(KeyGroup(groups.first())) { groups.last() } else { groups.first() };
            return Err(Error::OutsideRange { group: KeyGroup(group), range });
        }
        let def = self.definition(state)?;
        let all: Vec<KeyGroup> = groups.iter().collect();
        let is_wanted = |key: Key<'_>| groups.contains(key.group) && key.key.starts_with(prefix);
        let overlay = source.overlay(|id, key, _| id == state.0 && is_wanted(key), &all)?;
        // Those of now, of which some weren't there, and those of then, of which some aren't here: most are equal the second time.
        let (mut cursor, mut found) = (Cursor::keys_and_namespaces(state, groups), Packed::default());
        while self.fetch(&mut cursor, &mut found)? {
            for found in found.iter() {
                let key = Key { group: found.group, key: found.key, namespace: found.namespace };
                if is_wanted(key) {
                    self.bring_back(source, &overlay, state, key, done)?;
                }
            }
        }
        for group in all {
            source.keys(&def, group, &overlay, |key| {
                if is_wanted(key) { self.bring_back(source, &overlay, state, key, done) } else { Ok(()) }
            })?;
        }
        Ok(())
    }

    fn bring_back(
        &mut self,
        source: &Source,
        overlay: &Overlay,
        state: State,
        key: Key<'_>,
        done: &mut RolledBack,
    ) -> Result<()> {
        let def = self.definition(state)?;
        let before = done.changes;
        if def.kind == StateKind::Map {
            self.bring_back_map(source, overlay, state, key, done)?;
        } else {
            let now_ms = self.time_ms();
            let was = source.cell(&def, key, overlay, now_ms)?;
            if self.cell_now(state, key)? != was {
                let change = was.value.as_deref().map_or(Change::Delete, Change::Put);
                self.write_back(state, key, change, was.expiry_ms, done)?;
            }
        }
        done.keys += u64::from(done.changes > before);
        Ok(())
    }

    /// Goes through what the map has and what it had side by side, in the order of user keys.
    fn bring_back_map(
        &mut self,
        source: &Source,
        overlay: &Overlay,
        state: State,
        key: Key<'_>,
        done: &mut RolledBack,
    ) -> Result<()> {
        let (def, now_ms) = (self.definition(state)?, self.time_ms());
        let mut walk = source.entries(&def, key, &MapRange::all(), overlay, now_ms)?;
        let mut now = Entries { entries: VecDeque::new(), from: Some(Vec::new()) };
        now.fill(self, state, key)?;
        let mut was = walk.next()?;
        if was.is_none() && !now.entries.is_empty() {
            return self.write_back(state, key, Change::MapClear, None, done);
        }
        loop {
            now.fill(self, state, key)?;
            let order = match (&was, now.entries.front()) {
                (None, None) => return Ok(()),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some((was, _)), Some((now, _))) => was.cmp(now),
            };
            let is = if order.is_ge() { now.entries.pop_front() } else { None };
            if order.is_gt() {
                if let Some((user_key, _)) = is {
                    self.write_back(state, key, Change::MapDelete(&user_key), None, done)?;
                }
                continue;
            }
            if let Some((user_key, was)) = was
                && is.is_none_or(|(_, is)| is != was)
            {
                let value = was.value.as_deref().unwrap_or_default();
                self.write_back(state, key, Change::MapPut(&user_key, value), was.expiry_ms, done)?;
            }
            was = walk.next()?;
        }
    }

    fn write_back(
        &mut self,
        state: State,
        key: Key<'_>,
        change: Change<'_>,
        expiry_ms: Option<u64>,
        done: &mut RolledBack,
    ) -> Result<()> {
        self.redo(state.0, key, change, expiry_ms)?;
        let bytes = match change {
            Change::Put(value) => value.len(),
            Change::MapPut(user_key, value) => user_key.len() + value.len(),
            Change::MapDelete(user_key) => user_key.len(),
            _ => 0,
        };
        done.changes += 1;
        done.bytes += (key.key.len() + key.namespace.len() + bytes) as u64;
        Ok(())
    }
}

/// What a map has now, a run at a time.
struct Entries {
    entries: VecDeque<(Vec<u8>, Cell)>,
    /// Where the next run begins; none behind the last one.
    from: Option<Vec<u8>>,
}

impl Entries {
    /// Sees to it that the next entry is there, if there is one.
    fn fill(&mut self, writer: &mut Writer, state: State, key: Key<'_>) -> Result<()> {
        let Some(from) = self.from.take_if(|_| self.entries.is_empty()) else { return Ok(()) };
        let (entries, is_last) = writer.entries_now(state, key, &from)?;
        self.entries.extend(entries);
        if let (false, Some((last, _))) = (is_last, self.entries.back()) {
            self.from = Some([last, &[0][..]].concat());
        }
        Ok(())
    }
}
