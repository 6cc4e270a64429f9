//! fjall: a keyspace for each table. Its journal can't be turned off, but isn't flushed but by checkpoints.

use super::kv::Kv;
use super::{Place, Table};
use crate::harness::Outcome;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use std::ops::Bound;

/// A database.
pub struct Fjall {
    tables: Vec<Keyspace>,
    database: Database,
}

impl Kv for Fjall {
    fn open(place: &Place) -> Outcome<Self> {
        let database = Database::builder(&place.path)
            .cache_size(place.budget_bytes as u64 / 2)
            .manual_journal_persist(true)
            .worker_threads(2)
            .open()?;
        // Memtables have a third, as RocksDB's: for each table one that is filled and one that is flushed.
        let memtable_bytes = (place.budget_bytes / 3 / 2 / place.tables.len().max(1)).clamp(4 << 20, 64 << 20) as u64;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(memtable_bytes);
        let open = |index| database.keyspace(&format!("table-{index}"), options);
        let tables = (0..place.tables.len()).map(open).collect::<Result<_, _>>()?;
        Ok(Self { tables, database })
    }

    fn get<R>(&mut self, table: Table, key: &[u8], use_it: impl FnOnce(Option<&[u8]>) -> R) -> Outcome<R> {
        Ok(use_it(self.tables[table].get(key)?.as_deref()))
    }

    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Outcome {
        Ok(self.tables[table].insert(key, value)?)
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Outcome {
        Ok(self.tables[table].remove(key)?)
    }

    fn write_many<'a>(&mut self, table: Table, changes: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>) -> Outcome {
        let mut batch = self.database.batch();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(&self.tables[table], key, value),
                None => batch.remove(&self.tables[table], key),
            }
        }
        Ok(batch.commit()?)
    }

    fn scan(&mut self, table: Table, from: &[u8], below: &[u8], mut visit: impl FnMut(&[u8], &[u8])) -> Outcome {
        for entry in self.tables[table].range::<&[u8], _>((Bound::Included(from), Bound::Excluded(below))) {
            let (key, value) = entry.into_inner()?;
            visit(&key, &value);
        }
        Ok(())
    }

    fn begin_checkpoint(&mut self) -> Outcome {
        Ok(self.database.persist(PersistMode::SyncAll)?)
    }

    fn close(self) -> Outcome {
        Ok(self.database.persist(PersistMode::SyncAll)?)
    }
}
