//! Checking a changelog from outside, while its store is closed, open elsewhere, or damaged.

use super::history::History;
use super::tail;
use crate::error::{Error, Result};
use crate::platform::storage::Storage;
use std::sync::Arc;

/// Reads all that a changelog has behind the position of a checkpoint, as a recovery would, and all before it that its files still have; fails
/// with the first thing that is wrong.
pub fn check(storage: &Arc<dyn Storage>, files: &[String], store: u128, checkpoint: u64) -> Result<()> {
    let Some(tail) = tail::find(&**storage, files, store, checkpoint, u64::MAX)? else { return Ok(()) };
    // Decoding each record checks it.
    tail.replay(|_, _| Ok(()))?;
    let mut from = tail.there.first().map_or(checkpoint, |(_, first)| *first);
    // What a checkpoint has may have become durable before the end of the last file did, and a crash came in between. What is whole of
    // that file the tail has found, and that nothing vouches for what isn't.
    let whole = tail.end_of_last().map_or(checkpoint, |end| end.min(checkpoint));
    let mut there = tail.there.clone();
    if there.last().is_some_and(|(_, first)| *first < whole) {
        there.push((u64::MAX, whole));
    }
    while from < whole {
        match History::open(&**storage, store, (&there, &[]), from, whole) {
            // Nothing was ever written in between: the store had been opened at a newer checkpoint.
            Err(Error::Position { position, .. }) if position > from => from = position,
            history => return history?.records(from, whole, |_, _, _| Ok(true)),
        }
    }
    Ok(())
}
