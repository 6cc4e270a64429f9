//! redb: a table for each table, one write transaction after another, durable only by checkpoints.

use super::kv::Kv;
use super::{Place, Table};
use crate::harness::{Outcome, wrong};
use redb::{Database, Durability, ReadableTable, TableDefinition, WriteTransaction};
use self_cell::self_cell;
use std::ops::Bound;

/// Changes of a transaction.
const CHANGES: usize = 10_000;

type Opened<'a> = Vec<redb::Table<'a, &'static [u8], &'static [u8]>>;

self_cell! {
    /// A transaction with its tables opened: opening one costs as much as an operation.
    struct Open {
        owner: WriteTransaction,
        #[not_covariant]
        dependent: Opened,
    }
}

/// A database with a transaction that is open.
pub struct Redb {
    names: Vec<String>,
    open: Option<Open>,
    changes: usize,
    database: Database,
}

impl Redb {
    fn with<R>(&mut self, change: impl FnOnce(&mut Opened<'_>) -> Outcome<R>) -> Outcome<R> {
        if self.changes >= CHANGES {
            self.commit(Durability::None)?;
        }
        if self.open.is_none() {
            let names = &self.names;
            self.open = Some(Open::try_new(self.database.begin_write()?, |transaction| {
                let open = |name: &String| transaction.open_table(TableDefinition::new(name));
                names.iter().map(open).collect::<Result<_, _>>()
            })?);
        }
        match &mut self.open {
            Some(open) => open.with_dependent_mut(|_, tables| change(tables)),
            None => wrong("no transaction"),
        }
    }

    fn commit(&mut self, durability: Durability) -> Outcome {
        self.changes = 0;
        let mut transaction = match self.open.take() {
            Some(open) => open.into_owner(),
            None => self.database.begin_write()?,
        };
        transaction.set_durability(durability)?;
        Ok(transaction.commit()?)
    }
}

impl Kv for Redb {
    fn open(place: &Place) -> Outcome<Self> {
        let path = place.path.join("redb");
        let database = Database::builder().set_cache_size(place.budget_bytes).create(path)?;
        let names = (0..place.tables.len()).map(|index| format!("table-{index}")).collect();
        Ok(Self { names, open: None, changes: 0, database })
    }

    fn get<R>(&mut self, table: Table, key: &[u8], use_it: impl FnOnce(Option<&[u8]>) -> R) -> Outcome<R> {
        self.with(|tables| {
            let value = tables[table].get(key)?;
            Ok(use_it(value.as_ref().map(|value| value.value())))
        })
    }

    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Outcome {
        self.with(|tables| Ok(tables[table].insert(key, value)?.is_some()))?;
        self.changes += 1;
        Ok(())
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Outcome {
        self.with(|tables| Ok(tables[table].remove(key)?.is_some()))?;
        self.changes += 1;
        Ok(())
    }

    fn scan(&mut self, table: Table, from: &[u8], below: &[u8], mut visit: impl FnMut(&[u8], &[u8])) -> Outcome {
        self.with(|tables| {
            for entry in tables[table].range::<&[u8]>((Bound::Included(from), Bound::Excluded(below)))? {
                let (key, value) = entry?;
                visit(key.value(), value.value());
            }
            Ok(())
        })
    }

    fn begin_checkpoint(&mut self) -> Outcome {
        self.commit(Durability::Immediate)
    }

    /// What wasn't committed durably is undone.
    fn keep_to_checkpoints(&mut self) -> bool {
        true
    }

    fn close(mut self) -> Outcome {
        self.commit(Durability::Immediate)
    }
}
