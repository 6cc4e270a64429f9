//! Checking a changelog from outside, while its store is closed, open elsewhere, or damaged.

use super::files::damaged;
use super::history::History;
use super::tail;
use crate::error::{Error, Result};
use crate::platform::storage::{Storage, names};
use std::sync::Arc;

/// Reads all that a changelog has behind the position of a checkpoint, as a recovery would, and all before it that its files still have; fails
/// with the first thing that is wrong.
pub fn check(storage: &Arc<dyn Storage>, files: &[String], store: u128, checkpoint: u64) -> Result<()> {
    let Some(tail) = tail::find(&**storage, files, store, checkpoint, u64::MAX)? else { return Ok(()) };
    // Decoding each record checks it.
    tail.replay(|_, _| Ok(()))?;
    let Some(&(_, mut from)) = tail.there.first() else { return Ok(()) };
    // What a checkpoint has may have become durable before the end of the last file did, and a crash came in between. What is whole of
    // that file the tail has found, and that nothing vouches for what isn't.
    let whole = tail.end().min(checkpoint);
    let mut there = tail.there.clone();
    if there.last().is_some_and(|(_, first)| *first < whole) {
        there.push((u64::MAX, whole));
    }
    for &(number, first) in tail.there.iter().skip(1) {
        let file = storage.open(&names::changelog_name(number))?;
        let before = tail::header_of(&*file, number, store)?.before;
        // Else nothing was ever written in between.
        if before < first {
            check_stretch(&**storage, store, &there, (from, before.min(whole)))?;
            from = first;
        }
    }
    check_stretch(&**storage, store, &there, (from, whole))
}

/// Reads what the files have from a position up to another, all of which was written.
fn check_stretch(storage: &dyn Storage, store: u128, there: &[(u64, u64)], (from, to): (u64, u64)) -> Result<()> {
    let history = History::open(storage, store, (there, &[]), from, to);
    match history.and_then(|history| history.records(from, to, |_, _, _| Ok(true))) {
        // A file without one block where some are wanted.
        Err(Error::Position { position, problem }) => {
            let file = there.partition_point(|(_, first)| *first < position).saturating_sub(1);
            let number = there.get(file).map_or(0, |(number, _)| *number);
            Err(damaged(&storage.root().join(names::changelog_name(number)), 0, problem))
        }
        checked => checked,
    }
}
