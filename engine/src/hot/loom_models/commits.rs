//! A reader of what is committed, beside an owner that stages, commits and undoes.

use super::{CURRENT, FLUSHED, KEY, Owner, Reader, beside_commits, hash, probe, value};
use crate::hot::commits::Commits;
use crate::hot::record::VALUE;
use crate::hot::shared::Tables;
use crate::hot::table::Head;

/// What a transaction keeps, and how far changes are committed.
pub(super) struct Transaction {
    pub kept: Head,
    pub commits: Commits,
}

impl Default for Transaction {
    fn default() -> Self {
        Self { kept: Head::default(), commits: Commits::new(FLUSHED) }
    }
}

impl Reader {
    /// First byte and stamp of the committed value, there all the time; `None` where it has to look anew.
    pub(super) fn get_committed(&self, transaction: &Transaction) -> Option<(u8, u32, u8)> {
        let _pin = self.slot.pin();
        let seen = transaction.commits.beside(|view| {
            let mut out = Vec::new();
            let tables = Tables { main: &self.table.head, committed: Some((&transaction.kept, view)) };
            let seen = tables.get_cell(&self.table.arena, &probe(KEY), &mut out);
            Self::judge(seen, &out)
        });
        seen.map(|seen| seen.unwrap())
    }
}

impl Owner {
    /// As `Hot::supersede` does with a committed record.
    fn stage(&mut self, transaction: &Transaction, old: super::Record, n: u8) -> super::Record {
        let new = self.create(VALUE, CURRENT, 0, KEY, &value(n));
        let hash_of = |_: &super::Arena, _| hash(KEY);
        transaction.kept.insert(&mut self.memory, hash(KEY), old.at, &hash_of).unwrap();
        self.swing(KEY, old, new);
        new
    }

    /// As `Hot::commit`, and what it leaves to be done.
    fn commit(&mut self, transaction: &Transaction, old: super::Record) {
        transaction.commits.commit(CURRENT);
        transaction.kept.clear(&mut self.memory);
        self.retire(old);
        self.reuse(1);
    }

    /// As `Hot::abort`.
    fn abort(&mut self, transaction: &Transaction, old: super::Record, new: super::Record) {
        transaction.commits.toggle_abort();
        self.swing(KEY, new, old);
        let (_, place) = transaction.kept.find(&self.table.arena, hash(KEY), |at| at == old.at).unwrap();
        transaction.kept.remove(&self.table.arena, place);
        self.retire(new);
        transaction.commits.toggle_abort();
        self.reuse(1);
    }
}

#[test]
fn loom_hot_committed_read_beside_the_first_change() {
    beside_commits(
        5,
        |owner, _| owner.insert(VALUE, FLUSHED, KEY, &value(1)),
        |owner, transaction, old| {
            owner.stage(transaction, old, 2);
        },
        |seen| assert!(matches!(seen, Some((1, FLUSHED, VALUE))), "{seen:?}"),
    );
}

#[test]
fn loom_hot_committed_read_beside_a_commit() {
    beside_commits(
        4,
        |owner, transaction| {
            let old = owner.insert(VALUE, FLUSHED, KEY, &value(1));
            owner.stage(transaction, old, 2);
            old
        },
        |owner, transaction, old| owner.commit(transaction, old),
        |seen| assert!(matches!(seen, None | Some((1, FLUSHED, VALUE) | (2, CURRENT, VALUE) | (0, 0, 0))), "{seen:?}"),
    );
}

#[test]
fn loom_hot_committed_read_beside_an_abort() {
    beside_commits(
        4,
        |owner, _| owner.insert(VALUE, FLUSHED, KEY, &value(1)),
        |owner, transaction, old| {
            let new = owner.stage(transaction, old, 2);
            owner.abort(transaction, old, new);
        },
        |seen| assert!(matches!(seen, None | Some((1, FLUSHED, VALUE) | (0, 0, 0))), "{seen:?}"),
    );
}

#[test]
fn loom_hot_committed_read_beside_an_abort_and_the_next_change() {
    beside_commits(
        3,
        |owner, transaction| {
            let old = owner.insert(VALUE, FLUSHED, KEY, &value(1));
            owner.stage(transaction, old, 2)
        },
        |owner, transaction, new| {
            let (at, _) = transaction.kept.find(&owner.table.arena, hash(KEY), |_| true).unwrap();
            let old = super::Record::load(&owner.table.arena, at);
            owner.abort(transaction, old, new);
            owner.stage(transaction, old, 3);
        },
        |seen| assert!(matches!(seen, None | Some((1, FLUSHED, VALUE) | (0, 0, 0))), "{seen:?}"),
    );
}
