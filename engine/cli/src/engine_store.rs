//! The job's store in the engine.

#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::path::Path;

use alluvium::{
    Barrier, Commit, Committed, Durability, Engine, EngineOptions, Key, KeyGroupRange, MapRange, MergeOperator,
    Metrics, Pending, Policy, Result, State, StateOptions, Store, StoreOptions, Writer, states,
};

use crate::check::compare::{OwnedRow, Source};
use crate::check::row::{Row, push_element};
use crate::failure::{Failure, Outcome};
use crate::job::store::{JobStore, Span};
use crate::job::table::{KEY_GROUPS, Kind, TABLES, Table};

/// How many checkpoints are kept.
const CHECKPOINTS_KEPT: usize = 2;

// KEY_GROUPS is far below 2^16.
const RANGE: KeyGroupRange = KeyGroupRange::new(0, KEY_GROUPS as u16 - 1);

/// The job's states in a writer of an engine's store.
pub struct EngineStore {
    writer: Writer,
    states: Vec<State>,
}

/// An engine with one store open in it.
pub struct Opened {
    engine: Engine,
    store: Store,
    /// The event to go on from: where the checkpoint says that the input stood; `None` in a new store.
    pub resume_at: Option<u64>,
}

fn store_options() -> StoreOptions {
    StoreOptions {
        key_groups: KEY_GROUPS,
        range: RANGE,
        retained_checkpoints: CHECKPOINTS_KEPT,
        ..StoreOptions::default()
    }
}

fn open_engine(memory_bytes: u64, threads: usize) -> Outcome<Engine> {
    let memory_budget_bytes = usize::try_from(memory_bytes).map_err(Failure::usage)?;
    Ok(Engine::open(EngineOptions { memory_budget_bytes, threads, ..EngineOptions::default() })?)
}

/// Opens the store in a directory at its newest checkpoint.
pub fn open(directory: &Path, memory_bytes: u64, threads: usize) -> Outcome<Opened> {
    let engine = open_engine(memory_bytes, threads)?;
    let store = Store::open(&engine, directory, store_options())?;
    Opened::new(engine, store)
}

/// Opens the store in a directory at its newest checkpoint; where there is none yet, the store is created.
pub fn open_or_create(
    directory: &Path,
    memory_bytes: u64,
    threads: usize,
    (durability, checkpoint_policy): (Durability, Policy),
) -> Outcome<Opened> {
    let engine = open_engine(memory_bytes, threads)?;
    let options = StoreOptions { durability, checkpoint_policy, ..store_options() };
    let store = Store::open_or_create(&engine, directory, options)?;
    Opened::new(engine, store)
}

impl Opened {
    fn new(engine: Engine, store: Store) -> Outcome<Self> {
        // The changelog's last commit, or the checkpoint, whichever is newer.
        let last = store.last_commit();
        let offset = last.offsets.first().and_then(|(_, offset)| offset.first_chunk::<8>());
        let resume_at = match (offset, store.restored()) {
            (Some(offset), _) => Some(u64::from_le_bytes(*offset)),
            (None, None) => None,
            (None, Some(info)) => {
                return Err(Failure::new(format_args!("checkpoint {} has no offset of this job", info.label)));
            }
        };
        Ok(Self { engine, store, resume_at })
    }

    /// Claims the store's key groups and registers the job's states.
    pub fn writer(&self) -> Outcome<EngineStore> {
        let options = |info: &crate::job::table::TableInfo| match info.kind {
            Kind::Value => StateOptions::value(info.name),
            Kind::List => StateOptions::list(info.name),
            Kind::Map => StateOptions::map(info.name),
            Kind::Sum => StateOptions::merging(info.name, MergeOperator::U64Add),
        };
        let states = TABLES.iter().map(|info| self.store.state(options(info))).collect::<Result<_>>()?;
        Ok(EngineStore { writer: self.store.writer(RANGE)?, states })
    }

    /// Begins a checkpoint after which the job goes on from event `next`.
    pub fn barrier(&self, label: u64, next: u64) -> Result<Pending> {
        let offsets = vec![(RANGE, next.to_le_bytes().to_vec())];
        self.store.barrier(Barrier { offsets, ..Barrier::new(label) })
    }

    /// Whether a checkpoint is due by the store's policy.
    pub fn is_checkpoint_due(&self) -> bool {
        self.store.next_checkpoint().is_some_and(|next| next.is_due())
    }

    /// Commits what the job did before event `next`.
    pub fn commit(&self, next: u64) -> Result<Committed> {
        self.store.commit(Commit { offsets: vec![(RANGE, next.to_le_bytes().to_vec())], ..Commit::default() })
    }

    /// The label of the newest checkpoint; 0 where there is none.
    pub fn newest_label(&self) -> u64 {
        self.store.checkpoints().last().map_or(0, |info| info.label)
    }

    /// What the store counted since it was opened.
    pub fn metrics(&self) -> Metrics {
        self.store.metrics()
    }

    /// How much of the memory budget is in use, in bytes.
    pub fn used_bytes(&self) -> u64 {
        self.engine.used_bytes() as u64
    }

    /// Closes the store.
    pub fn close(self) -> Outcome<()> {
        Ok(self.store.close()?)
    }

    /// Everything in the newest checkpoint.
    pub fn contents(&self) -> Outcome<Contents> {
        let rows = self.store.iterate(self.newest_label())?;
        Ok(Contents { rows, store: self.writer()? })
    }
}

impl EngineStore {
    fn state(&self, table: Table) -> State {
        self.states[table as usize]
    }
}

impl JobStore for EngineStore {
    fn read<R>(&mut self, table: Table, key: Key<'_>, with: impl FnOnce(Option<&[u8]>) -> R) -> Result<R> {
        self.writer.read(self.state(table), key, with)
    }

    fn put(&mut self, table: Table, key: Key<'_>, value: &[u8]) -> Result<()> {
        self.writer.put(self.state(table), key, value)
    }

    fn delete(&mut self, table: Table, key: Key<'_>) -> Result<()> {
        self.writer.delete(self.state(table), key)
    }

    fn update<V: AsRef<[u8]>>(
        &mut self,
        table: Table,
        key: Key<'_>,
        with: impl FnOnce(Option<&[u8]>) -> Option<V>,
    ) -> Result<()> {
        self.writer.update(self.state(table), key, with)
    }

    fn append(&mut self, table: Table, key: Key<'_>, element: &[u8]) -> Result<()> {
        self.writer.append(self.state(table), key, element)
    }

    fn list(&mut self, table: Table, key: Key<'_>) -> Result<Vec<Vec<u8>>> {
        self.writer.list(self.state(table), key)
    }

    fn add(&mut self, table: Table, key: Key<'_>, amount: u64) -> Result<()> {
        self.writer.merge(self.state(table), key, &amount.to_le_bytes())
    }

    fn map_get(&mut self, table: Table, key: Key<'_>, user_key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.writer.map_get(self.state(table), key, user_key)
    }

    fn map_put(&mut self, table: Table, key: Key<'_>, user_key: &[u8], value: &[u8]) -> Result<()> {
        self.writer.map_put(self.state(table), key, user_key, value)
    }

    fn map_delete(&mut self, table: Table, key: Key<'_>, user_key: &[u8]) -> Result<()> {
        self.writer.map_delete(self.state(table), key, user_key)
    }

    fn map_clear(&mut self, table: Table, key: Key<'_>) -> Result<()> {
        self.writer.map_clear(self.state(table), key)
    }

    fn map_scan(
        &mut self,
        table: Table,
        key: Key<'_>,
        span: Span<'_>,
        visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<()> {
        let range = MapRange { reverse: span.reverse, ..MapRange::between(span.from, span.to) };
        self.writer.map_scan(self.state(table), key, &range, visit)
    }

    fn map_first(&mut self, table: Table, key: Key<'_>) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        self.writer.map_first(self.state(table), key)
    }

    fn map_pop_first(&mut self, table: Table, key: Key<'_>) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        self.writer.map_pop_first(self.state(table), key)
    }
}

/// What a checkpoint holds, to be compared.
pub struct Contents {
    rows: alluvium::checkpoint::Iter,
    store: EngineStore,
}

impl Source for Contents {
    fn next_row(&mut self) -> Outcome<Option<OwnedRow>> {
        let Some(item) = self.rows.next().transpose()? else { return Ok(None) };
        let Some(info) = TABLES.iter().find(|info| info.name == item.state) else {
            return Err(Failure::new(format_args!("the store has a state {:?} that the job doesn't have", item.state)));
        };
        let value = match info.kind {
            Kind::List => {
                let mut list = Vec::with_capacity(item.value.len() * 2);
                states::frames(&item.value, false).for_each(|(_, element)| push_element(&mut list, element));
                list
            }
            _ => item.value,
        };
        let (group, key, namespace, user_key) = (item.group, item.key, item.namespace, item.user_key);
        Ok(Some(OwnedRow { group, table: info.table, key, namespace, user_key, value }))
    }

    fn value_at(&mut self, row: &Row<'_>) -> Outcome<Option<Vec<u8>>> {
        let key = Key::new(row.group, row.key).in_namespace(row.namespace);
        if let Some(user_key) = row.user_key {
            return Ok(self.store.map_get(row.table, key, user_key)?);
        }
        if row.table.info().kind != Kind::List {
            return Ok(self.store.read(row.table, key, |value| value.map(<[u8]>::to_vec))?);
        }
        let mut list = Vec::new();
        self.store.list(row.table, key)?.iter().for_each(|element| push_element(&mut list, element));
        Ok((!list.is_empty()).then_some(list))
    }
}
