//! LMDB: a database for each table, one write transaction after another, synced only by checkpoints.
//!
//! Killed, it loses nothing that was committed. A machine that fails may take the last checkpoint with it: commits that aren't synced
//! reuse pages that the synced one needs, and only two roots are kept. So it is with and without a writable map; with one, a commit
//! writes nothing itself, and pauses are a tenth as long.

use super::kv::Kv;
use super::{Place, Table};
use crate::harness::{Outcome, wrong};
use heed::types::Bytes;
use heed::{CommitOrAbort, Env, EnvFlags, EnvOpenOptions, RwTxn};
use std::ops::Bound;
use std::ptr::NonNull;

/// Changes of a transaction, if it isn't to last from checkpoint to checkpoint.
const CHANGES: usize = 10_000;
/// The most that a file may grow to.
const MAP_BYTES: usize = 256 << 30;

type Database = heed::Database<'static, Bytes, Bytes>;

/// An environment with a transaction that is open.
pub struct Lmdb {
    /// Of a box, until it is closed: so that a transaction can be kept beside it.
    env: NonNull<Env>,
    tables: Vec<Database>,
    transaction: Option<RwTxn<'static>>,
    changes: usize,
    changes_max: usize,
}

impl Lmdb {
    #[expect(unsafe_code, reason = "the environment is beside what borrows it")]
    fn env(&self) -> &'static Env {
        // SAFETY: it is freed by `close` alone, which has ended the only transaction before.
        unsafe { self.env.as_ref() }
    }

    fn transaction(&mut self) -> Outcome<(&mut RwTxn<'static>, &[Database])> {
        if self.changes >= self.changes_max {
            self.commit()?;
        }
        if self.transaction.is_none() {
            self.transaction = Some(self.env().write_txn()?);
        }
        match &mut self.transaction {
            Some(transaction) => Ok((transaction, &self.tables)),
            None => wrong("no transaction"),
        }
    }

    fn commit(&mut self) -> Outcome {
        self.changes = 0;
        if let Some(transaction) = self.transaction.take() {
            transaction.commit()?;
        }
        Ok(())
    }
}

impl Kv for Lmdb {
    #[expect(unsafe_code, reason = "heed leaves it to its caller that nobody else changes the file")]
    fn open(place: &Place) -> Outcome<Self> {
        let mut options = EnvOpenOptions::new();
        options.map_size(MAP_BYTES).max_dbs(place.tables.len() as u32);
        // SAFETY: the directory is this run's own. The flags give up what a failing machine leaves, not what a killed process does:
        // what it has committed is in the page cache.
        let env = unsafe {
            options.flags(EnvFlags::NO_SYNC | EnvFlags::NO_READ_AHEAD | EnvFlags::WRITE_MAP);
            options.open(&place.path)?
        };
        let mut tables = Vec::new();
        for index in 0..place.tables.len() {
            let created = env.create_databases_and_commit(env.write_txn()?, |opener, transaction| {
                let database = opener.create_database::<Bytes, Bytes>(transaction, Some(&format!("table-{index}")))?;
                heed::Result::Ok(CommitOrAbort::<_, ()>::Commit(database))
            })?;
            match created {
                CommitOrAbort::Commit(database) => tables.push(database),
                CommitOrAbort::Abort(()) => return wrong("a table could not be made"),
            }
        }
        Ok(Self {
            env: NonNull::from(Box::leak(Box::new(env))),
            tables,
            transaction: None,
            changes: 0,
            changes_max: CHANGES,
        })
    }

    fn get<R>(&mut self, table: Table, key: &[u8], use_it: impl FnOnce(Option<&[u8]>) -> R) -> Outcome<R> {
        let (transaction, tables) = self.transaction()?;
        Ok(use_it(tables[table].get(transaction, key)?))
    }

    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Outcome {
        let (transaction, tables) = self.transaction()?;
        tables[table].put(transaction, key, value)?;
        self.changes += 1;
        Ok(())
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Outcome {
        let (transaction, tables) = self.transaction()?;
        tables[table].delete(transaction, key)?;
        self.changes += 1;
        Ok(())
    }

    fn scan(&mut self, table: Table, from: &[u8], below: &[u8], mut visit: impl FnMut(&[u8], &[u8])) -> Outcome {
        let (transaction, tables) = self.transaction()?;
        for entry in tables[table].range(transaction, &(Bound::Included(from), Bound::Excluded(below)))? {
            let (key, value) = entry?;
            visit(key, value);
        }
        Ok(())
    }

    fn begin_checkpoint(&mut self) -> Outcome {
        self.commit()?;
        Ok(self.env().force_sync()?)
    }

    /// What was committed is in the page cache, which outlives the process.
    fn keep_to_checkpoints(&mut self) -> bool {
        self.changes_max = usize::MAX;
        true
    }

    #[expect(unsafe_code, reason = "the environment is beside what borrows it")]
    fn close(mut self) -> Outcome {
        self.commit()?;
        // SAFETY: `open` leaked it from a box, and what borrowed it has ended: no transaction is left, and tables are numbers.
        drop(unsafe { Box::from_raw(self.env.as_ptr()) });
        Ok(())
    }
}
