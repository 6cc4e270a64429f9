//! Checking a changelog from outside, while its store is closed, open elsewhere, or damaged.

use super::files::FileAt;
use super::history::History;
use super::tail;
use crate::error::Result;
use crate::platform::storage::Storage;
use std::sync::Arc;

/// Reads all that a changelog has behind the position of a checkpoint, as a recovery would, and all before it that its files still have; fails
/// with the first thing that is wrong.
pub fn check(storage: &Arc<dyn Storage>, files: &[String], store: u128, checkpoint: u64) -> Result<()> {
    let Some(tail) = tail::find(&**storage, files, store, checkpoint, u64::MAX)? else { return Ok(()) };
    // Decoding each record checks it.
    tail.replay(|_, _| Ok(()))?;
    let Some(mut from) = tail.there.first().map(|file| file.first) else { return Ok(()) };
    // What a checkpoint has may have become durable before the end of the last file did, and a crash came in between. What is whole of
    // that file the tail has found, and that nothing vouches for what isn't.
    let whole = tail.end().min(checkpoint);
    let mut there = tail.there.clone();
    there.push(FileAt { number: u64::MAX, first: u64::MAX, before: whole });
    // Each stretch without a gap.
    for next in there[1..].iter().filter(|next| next.before < next.first) {
        let to = next.before.min(whole);
        History::open(&**storage, store, (&there, &[]), from, to)?.records(from, to, |_, _, _| Ok(true))?;
        from = next.first;
    }
    Ok(())
}
