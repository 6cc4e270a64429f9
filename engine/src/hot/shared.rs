//! What a lock-free reader does: find a record and copy it while its owner goes on.
//!
//! A reader sees what stood in the table at some time during its call. A record that it found may be superseded or
//! deleted before it has been copied: then it is marked dead, and the reader looks again. After a few times that the
//! owner was faster the reader is told so, and its caller borrows the shard from the owner instead.
//!
//! Callers hold a pin of the shard's reclamation domain from before the call until they are done with what it said:
//! what a reader can reach isn't reused meanwhile.

use crate::hot::Probe;
use crate::hot::commits::CommitView;
use crate::hot::record::{
    BASE, CHAIN, Copied, DEAD, ENTRY, ENTRY_TOMBSTONE, FREE, ROOT, Record, TOMBSTONE, VALUE, hash_entry, is_cell,
};
use crate::hot::table::Head;
use crate::platform::arena::{Arena, NONE, Ref};
use crate::platform::sync::atomic::{Ordering, fence};
use crate::platform::sync::hint;
use std::ops::Range;

/// How often a reader looks before it gives way. Models explore each schedule, so two looks show what many would.
const LOOKS: u32 = if cfg!(loom) { 2 } else { 32 };

/// What a reader found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SharedGet {
    /// A record; its value was appended to the reader's bytes.
    Found {
        /// Its kind: a tombstone is found like a value.
        kind: u8,
        /// The epoch of its last change.
        stamp: u32,
        /// When it expires, in ms of the writer's clock.
        expiry_ms: Option<u64>,
    },
    /// There is none in memory.
    Absent,
    /// The owner was faster each time; to be asked through the owner's gate.
    Contended,
}

/// A part of a list or merging state that a reader copied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SharedChunk {
    /// The epoch of its last change.
    pub stamp: u32,
    /// Kind and flags.
    pub tag: u8,
    /// When it expires, in ms of the writer's clock.
    pub expiry_ms: Option<u64>,
    /// Where its value lies in the reader's bytes.
    pub bytes: Range<usize>,
}

/// What a reader found of a chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SharedChain {
    /// Its chunks were copied, newest first; none where it was deleted.
    Found {
        /// Whether they are everything; else what is on disk comes before those with a stamp above the flushed epoch,
        /// and the others are on disk as well.
        complete: bool,
        /// The stamp of the oldest chunk, or of what deletes the chain.
        oldest: u32,
    },
    /// There is none in memory.
    Absent,
    /// As [`SharedGet::Contended`].
    Contended,
}

/// What came of one look.
enum Look<T> {
    Seen(T),
    Absent,
    /// A record was dead, or changed while it was copied.
    Again,
}

/// Looks until there is an answer; `None` where the owner was faster each time.
fn look_again<T>(mut look: impl FnMut() -> Look<T>) -> Option<Option<T>> {
    for _ in 0..LOOKS {
        match look() {
            Look::Seen(seen) => return Some(Some(seen)),
            Look::Absent => return Some(None),
            Look::Again => {
                // Pairs with the release store of the mark in `Record::set_tag`: the next look finds what was stored
                // before the record was marked as dead.
                fence(Ordering::Acquire);
                // Loom takes a pause for a promise that stores have arrived since, which would hide a missing fence.
                if cfg!(not(loom)) {
                    hint::spin_loop();
                }
            }
        }
    }
    None
}

const fn is_gone(record: Record) -> bool {
    matches!(record.kind(), FREE | DEAD)
}

/// One look for the record of a hash that `is_it` accepts.
#[inline]
fn locate(head: &Head, arena: &Arena, hash: u64, is_it: &impl Fn(Record) -> bool) -> Look<Ref> {
    let mut met_dead = false;
    let found = head.find(arena, hash, |at| {
        // The key of a dead record isn't where its tag says.
        let record = Record::load(arena, at);
        met_dead |= is_gone(record);
        !is_gone(record) && is_it(record)
    });
    match found {
        Some((at, _)) => Look::Seen(at),
        None if met_dead => Look::Again,
        None => Look::Absent,
    }
}

/// Copies a record, appending its value to `out`.
fn copy(arena: &Arena, at: Ref, out: &mut Vec<u8>) -> Look<Copied> {
    let start = out.len();
    match Record::copy(arena, at, out) {
        Some(copied) if !is_gone(copied.record) => Look::Seen(copied),
        _ => {
            out.truncate(start);
            Look::Again
        }
    }
}

/// Finds the record of a hash that `is_it` accepts, and appends its value to `out`.
#[inline]
pub fn get(head: &Head, arena: &Arena, hash: u64, is_it: impl Fn(Record) -> bool, out: &mut Vec<u8>) -> SharedGet {
    let seen = look_again(|| match locate(head, arena, hash, &is_it) {
        Look::Seen(at) => copy(arena, at, out),
        Look::Absent => Look::Absent,
        Look::Again => Look::Again,
    });
    match seen {
        Some(Some(Copied { record, stamp, expiry_ms })) => SharedGet::Found { kind: record.kind(), stamp, expiry_ms },
        Some(None) => SharedGet::Absent,
        None => SharedGet::Contended,
    }
}

/// Finds a cell: a value, or the tombstone of one; also the tombstone that marks a cleared map.
#[inline]
pub fn get_cell(head: &Head, arena: &Arena, probe: &Probe<'_>, out: &mut Vec<u8>) -> SharedGet {
    let is_it = |record: Record| is_cell(record.kind()) && record.is_at(arena, probe.area, probe.namespaced);
    get(head, arena, probe.hash, is_it, out)
}

/// The table that a reader looks into, and, where only what is committed counts, that of the versions that a transaction
/// keeps and how far changes are committed.
#[derive(Clone, Copy, Debug)]
pub struct Tables<'a> {
    /// The table.
    pub main: &'a Head,
    /// The kept versions.
    pub committed: Option<(&'a Head, CommitView)>,
}

impl Tables<'_> {
    /// Finds a cell, or a map's entry, as `get` does in one of the tables: in that of the kept versions if what the other has
    /// isn't committed. What has neither there is absent.
    #[inline]
    fn version(self, out: &mut Vec<u8>, mut get: impl FnMut(&Head, &mut Vec<u8>) -> SharedGet) -> SharedGet {
        let start = out.len();
        let seen = get(self.main, out);
        let (SharedGet::Found { stamp, .. }, Some((kept, commits))) = (seen, self.committed) else { return seen };
        if stamp <= commits.committed() {
            return seen;
        }
        out.truncate(start);
        get(kept, out)
    }

    /// As [`get_cell`].
    pub fn get_cell(self, arena: &Arena, probe: &Probe<'_>, out: &mut Vec<u8>) -> SharedGet {
        self.version(out, |table, out| get_cell(table, arena, probe, out))
    }

    /// As [`get_entry`].
    pub fn get_entry(self, arena: &Arena, probe: &Probe<'_>, user_key: &[u8], out: &mut Vec<u8>) -> SharedGet {
        self.version(out, |table, out| get_entry(self.main, table, arena, probe, user_key, out))
    }

    /// As [`get_chain`].
    pub fn get_chain(
        self,
        arena: &Arena,
        probe: &Probe<'_>,
        chunks: &mut Vec<SharedChunk>,
        out: &mut Vec<u8>,
    ) -> SharedChain {
        let start = out.len();
        let seen = get_chain(self.main, arena, probe, chunks, out);
        let (SharedChain::Found { oldest, .. }, Some((kept, commits))) = (seen, self.committed) else { return seen };
        if oldest > commits.committed() {
            // All of it is staged: what it took the place of is kept, if it was here.
            out.truncate(start);
            return get_chain(kept, arena, probe, chunks, out);
        }
        chunks.retain(|chunk| chunk.stamp <= commits.committed());
        seen
    }
}

/// Finds the entry of a map: a value, or the tombstone of one.
///
/// Its container stands in the table `head`; `entries` is that table as well, or the one of kept versions.
pub fn get_entry(
    head: &Head,
    entries: &Head,
    arena: &Arena,
    probe: &Probe<'_>,
    user_key: &[u8],
    out: &mut Vec<u8>,
) -> SharedGet {
    let is_root = |record: Record| record.kind() == ROOT && record.is_at(arena, probe.area, probe.namespaced);
    let root = match look_again(|| locate(head, arena, probe.hash, &is_root)) {
        Some(Some(root)) => root,
        Some(None) => return SharedGet::Absent,
        None => return SharedGet::Contended,
    };
    // Acquire: pairs with the release store that ends a cut: who finds none pending finds none of its entries either.
    if Record::load(arena, root).link_shared(arena) as u32 != 0 {
        return SharedGet::Contended;
    }
    // A container that goes meanwhile takes its entries with it, and its place isn't reused while we are here.
    let is_it = |record: Record| {
        matches!(record.kind(), ENTRY | ENTRY_TOMBSTONE)
            && record.link(arena) as Ref == root
            && record.area_len() == user_key.len()
            && arena.equals(record.area_at(), user_key)
    };
    get(entries, arena, hash_entry(user_key, probe.hash), is_it, out)
}

/// Copies the chunks of a list or merging state, newest first, and their values to `out`.
///
/// Below the newest chunk nothing changes but by being replaced as a whole, and what is replaced is marked: so chunks
/// none of which was dead are one version of the chain.
pub fn get_chain(
    head: &Head,
    arena: &Arena,
    probe: &Probe<'_>,
    chunks: &mut Vec<SharedChunk>,
    out: &mut Vec<u8>,
) -> SharedChain {
    let is_it = |record: Record| is_cell(record.kind()) && record.is_at(arena, probe.area, probe.namespaced);
    let start = out.len();
    let seen = look_again(|| {
        chunks.clear();
        out.truncate(start);
        match locate(head, arena, probe.hash, &is_it) {
            Look::Seen(at) => copy_chain(arena, at, chunks, out),
            Look::Absent => Look::Absent,
            Look::Again => Look::Again,
        }
    });
    match seen {
        Some(Some((complete, oldest))) => SharedChain::Found { complete, oldest },
        Some(None) => SharedChain::Absent,
        None => {
            chunks.clear();
            out.truncate(start);
            SharedChain::Contended
        }
    }
}

/// Copies a chain from `at` down; tells whether it is complete, and the stamp of its last record.
fn copy_chain(arena: &Arena, mut at: Ref, chunks: &mut Vec<SharedChunk>, out: &mut Vec<u8>) -> Look<(bool, u32)> {
    loop {
        let from = out.len();
        let Look::Seen(Copied { record, stamp, expiry_ms }) = copy(arena, at, out) else { return Look::Again };
        if record.kind() == TOMBSTONE {
            return Look::Seen((true, stamp));
        }
        chunks.push(SharedChunk { stamp, tag: record.tag(), expiry_ms, bytes: from..out.len() });
        if record.kind() == VALUE || record.has(BASE) {
            return Look::Seen((true, stamp));
        }
        if record.kind() != CHAIN {
            return Look::Again;
        }
        let below = record.link_shared(arena) as Ref;
        if below == NONE {
            return Look::Seen((false, stamp));
        }
        at = below;
    }
}
