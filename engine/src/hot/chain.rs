//! Chains in memory: lists and merging states, appended to without reading what is on disk.
//!
//! A chain is one chunk per epoch, newest first, linked through the records. A chunk with the flag
//! [`BASE`](record::BASE) holds everything: nothing older counts. A chain whose last chunk is no base goes on on disk:
//!
//! - if a chunk of it is flushed, that chunk is on disk too, so it counts only where the whole chain down to a base is
//!   in memory;
//! - else what is on disk comes first, then the chunks above `flushed`.
//!
//! A chunk that was flushed is never extended: it would be counted twice.

use crate::hot::cell::Below;
use crate::hot::record::{self, BASE, CHAIN, EXPIRY, FRESH, NAMESPACE, Parts, Record, TOMBSTONE, USED, VALUE};
use crate::hot::table::Place;
use crate::hot::{Hot, OutOfMemory, Probe};
use crate::key::VALUE_BYTES_MAX;
use crate::platform::arena::{NONE, Ref};
use crate::states;

/// A chain longer than this has its flushed chunks joined when it grows.
const CHUNKS_MAX: usize = 8;
/// Lists up to this length are copied word by word when they outgrow their block.
const COPIED_BYTES_MAX: usize = 16 << 10;
/// So many committed chunks of about the same length are joined.
const CHUNKS_OF_A_KIND: usize = 4;

/// What memory holds of a chain.
#[derive(Clone, Debug, Default)]
pub struct Chunks {
    /// The chunks that count, newest first.
    pub records: Vec<Record>,
    /// Whether they are everything; else what is on disk comes before them.
    pub complete: bool,
}

impl Hot {
    /// The chunks of a chain that count.
    pub fn chunks(&self, head: Record) -> Chunks {
        let arena = self.memory.arena();
        let mut records = Vec::new();
        let mut at = head;
        loop {
            match at.kind() {
                TOMBSTONE => return Chunks { records, complete: true },
                VALUE => {
                    records.push(at);
                    return Chunks { records, complete: true };
                }
                _ => records.push(at),
            }
            if at.has(BASE) {
                return Chunks { records, complete: true };
            }
            let next = at.link(arena) as Ref;
            if next == NONE {
                break;
            }
            at = Record::load(arena, next);
        }
        records.retain(|record| record.stamp(arena) > self.flushed);
        Chunks { records, complete: false }
    }

    /// Whether a chain is one chunk that holds everything.
    pub fn is_whole(head: Record) -> bool {
        head.kind() == VALUE || head.kind() == CHAIN && head.has(BASE)
    }

    /// How long the record becomes that the next flush makes of a chain if its chunk of the current epoch becomes longer by `bytes`. What was
    /// committed since the last cut goes into the same record.
    pub fn chain_bytes_with(&self, found: Option<(Record, Place)>, bytes: usize) -> usize {
        // All that is here is mostly shorter than a value may be.
        if self.memory.used_bytes() + bytes <= self.value_bytes_max {
            return bytes;
        }
        let arena = self.memory.arena();
        let above = match self.transaction {
            Some(_) => self.last_sealed().unwrap_or(self.flushed),
            None => self.current - 1,
        };
        let mut sum = bytes;
        let mut next = found.map(|(head, _)| head);
        while let Some(chunk) = next.filter(|chunk| matches!(chunk.kind(), CHAIN | VALUE) && chunk.stamp(arena) > above)
        {
            sum += chunk.value_len();
            let below = if Self::is_whole(chunk) { NONE } else { chunk.link(arena) as Ref };
            next = (below != NONE).then(|| Record::load(arena, below));
        }
        sum
    }

    /// Appends an element (`parts`, put one after another) to the chain's chunk of the current epoch, which has room for it by
    /// [`Hot::chain_bytes_with`].
    ///
    /// Also begins a chunk of operands, but neither in a complete chain nor where there is a chunk of the current epoch:
    /// what is joined here is put one after another, which only lists take.
    pub fn append_chain(
        &mut self,
        probe: &Probe<'_>,
        found: Option<(Record, Place)>,
        parts: [&[u8]; 2],
        expiry_ms: Option<u64>,
        below: Below,
    ) -> Result<(), OutOfMemory> {
        let bytes = parts[0].len() + parts[1].len();
        let Some((mut head, place)) = found else {
            let tag = CHAIN | if below == Below::Nothing { BASE | FRESH } else { 0 };
            let record = self.new_chunk(probe, tag, NONE, parts, bytes, expiry_ms)?;
            return self.add(probe, probe.hash, record);
        };
        let is_current = head.stamp(self.arena()) == self.current;
        if matches!(head.kind(), CHAIN | VALUE) && is_current {
            debug_assert!(head.value_len() + bytes <= VALUE_BYTES_MAX);
            let fits = head.value_len() + bytes <= head.capacity(&self.memory);
            if fits && head.has(EXPIRY) == expiry_ms.is_some() {
                head.extend(self.memory.arena(), parts, expiry_ms);
                self.resized(0, bytes);
                return Ok(());
            }
            return self.regrow(probe, place, head, parts, expiry_ms);
        }
        if head.kind() == TOMBSTONE {
            // The tombstone masks what is below; so does the base that takes its place.
            let record = self.new_chunk(probe, CHAIN | BASE, NONE, parts, bytes, expiry_ms)?;
            return self.supersede(probe, place, head, record);
        }
        let head = self.join_flushed(probe, place, head);
        let is_clean = head.stamp(self.arena()) <= self.flushed;
        if is_clean && !self.chunks(head).complete {
            // The chain goes on on disk, where its flushed chunks are as well.
            let record = self.new_chunk(probe, CHAIN, NONE, parts, bytes, expiry_ms)?;
            return self.supersede_chain(probe, place, head, record);
        }
        let record = self.new_chunk(probe, CHAIN, head.at, parts, bytes, expiry_ms)?;
        if let Err(error) = self.push_dirty(probe.state, probe.group, record) {
            self.memory.retire_record(record.at, record.class());
            return Err(error);
        }
        place.swing(self.memory.arena(), record.at);
        Ok(())
    }

    /// Replaces the operand in a chain's chunk of the current epoch.
    pub fn replace_chunk(
        &mut self,
        probe: &Probe<'_>,
        found: Option<(Record, Place)>,
        value: &[u8],
        expiry_ms: Option<u64>,
    ) -> Result<(), OutOfMemory> {
        let Some((mut head, place)) = found else { return Ok(()) };
        debug_assert!(head.kind() == CHAIN && head.stamp(self.arena()) == self.current);
        let same_layout = head.has(record::EXPIRY) == expiry_ms.is_some();
        if same_layout && value.len() <= head.capacity(&self.memory) {
            self.resized(head.value_len(), value.len());
            head.replace(self.memory.arena(), head.tag(), expiry_ms, value);
            return Ok(());
        }
        let link = head.link(self.arena()) as Ref;
        let tag = CHAIN | head.tag() & (BASE | FRESH);
        let record = self.new_chunk(probe, tag, link, [value, &[]], 0, expiry_ms)?;
        self.supersede(probe, place, head, record)
    }

    fn new_chunk(
        &mut self,
        probe: &Probe<'_>,
        tag: u8,
        link: Ref,
        value: [&[u8]; 2],
        spare: usize,
        expiry_ms: Option<u64>,
    ) -> Result<Record, OutOfMemory> {
        let parts = Parts {
            tag: tag | Self::flags(probe, expiry_ms),
            stamp: self.current,
            link: u64::from(link),
            expiry_ms: expiry_ms.unwrap_or(0),
            area: probe.area,
            value,
            spare,
        };
        Record::create(&mut self.memory, parts).ok_or(OutOfMemory { bytes: spare })
    }

    /// Moves a chunk of the current epoch to a block with more room.
    fn regrow(
        &mut self,
        probe: &Probe<'_>,
        place: Place,
        head: Record,
        parts: [&[u8]; 2],
        expiry_ms: Option<u64>,
    ) -> Result<(), OutOfMemory> {
        let grown = head.value_len() + parts[0].len() + parts[1].len();
        let spare = grown.min(1 << 20);
        let tag = head.kind() | head.tag() & (BASE | FRESH | NAMESPACE | EXPIRY);
        // What stays in a chunk is copied where it lies.
        if grown + spare < COPIED_BYTES_MAX && head.has(EXPIRY) == expiry_ms.is_some() {
            let copy = head.grown(&mut self.memory, tag, self.current, parts, spare, expiry_ms);
            let record = copy.ok_or(OutOfMemory { bytes: grown + spare })?;
            return self.supersede(probe, place, head, record);
        }
        let mut value = self.value_of(head).to_vec();
        value.extend_from_slice(parts[0]);
        let link = head.link(self.arena()) as Ref;
        let tag = head.kind() | head.tag() & (BASE | FRESH);
        let record = self.new_chunk(probe, tag, link, [&value, parts[1]], spare, expiry_ms)?;
        self.supersede(probe, place, head, record)
    }

    /// Keeps what is on disk of a chain, which was just read, as a clean base below its unflushed chunks. Nothing
    /// happens where memory is out, or where it is longer than a value may be: it can be read again.
    pub fn complete_chain(
        &mut self,
        probe: &Probe<'_>,
        found: Option<(Record, Place)>,
        value: &[u8],
        expiry_ms: Option<u64>,
        epoch: u32,
    ) {
        if value.len() > self.value_bytes_max {
            return;
        }
        let Some((head, place)) = found else {
            self.promote_cell(probe, value, expiry_ms, epoch);
            return;
        };
        let parts = Parts {
            tag: VALUE | Self::flags(probe, expiry_ms) | USED,
            stamp: epoch.min(self.flushed),
            link: 0,
            expiry_ms: expiry_ms.unwrap_or(0),
            area: probe.area,
            value: [value, &[]],
            spare: 0,
        };
        let Some(record) = Record::create(&mut self.memory, parts) else { return };
        let arena = self.memory.arena();
        if head.stamp(arena) <= self.flushed {
            place.swing(arena, record.at);
            let below = head.link(arena);
            self.dispose(probe.state, probe.group, head);
            self.dispose_chain(probe, below);
            return;
        }
        let mut last = head;
        let mut below = last.link(arena) as Ref;
        while below != NONE && Record::load(arena, below).stamp(arena) > self.flushed {
            last = Record::load(arena, below);
            below = last.link(arena) as Ref;
        }
        last.set_link(arena, u64::from(record.at));
        self.dispose_chain(probe, u64::from(below));
    }

    /// Joins the flushed chunks at the end of a complete chain into one clean chunk, where the chain is long, and drops
    /// those below an incomplete one's. Returns the chain's head. Joins nothing where memory is out, or they are too long for one.
    fn join_flushed(&mut self, probe: &Probe<'_>, place: Place, head: Record) -> Record {
        let chunks = self.chunks(head);
        let arena = self.memory.arena();
        let clean = chunks.records.iter().filter(|record| record.stamp(arena) <= self.flushed).count();
        if !chunks.complete {
            self.cut_chain(probe, head);
            return head;
        }
        if clean < CHUNKS_MAX {
            return head;
        }
        if self.transaction.is_some() {
            // What the last commit left may be among what is joined with what is staged; it is on disk.
            self.head(probe).set_spilled(true);
        }
        let first = chunks.records.len() - clean;
        let joined = &chunks.records[first..];
        if joined.iter().map(|chunk| chunk.value_len()).sum::<usize>() > self.value_bytes_max {
            return head;
        }
        let value = states::joined(joined.iter().rev().map(|&record| self.value_of(record)));
        let newest = joined[0];
        let parts = Parts {
            tag: CHAIN | BASE | newest.tag() & (record::NAMESPACE | record::EXPIRY | USED),
            stamp: newest.stamp(arena),
            link: 0,
            expiry_ms: newest.expiry_ms(arena).unwrap_or(0),
            area: probe.area,
            value: [&value, &[]],
            spare: 0,
        };
        let Some(record) = Record::create(&mut self.memory, parts) else { return head };
        let arena = self.memory.arena();
        let head = match first.checked_sub(1).map(|above| chunks.records[above]) {
            Some(above) => {
                above.set_link(arena, u64::from(record.at));
                head
            }
            None => {
                place.swing(arena, record.at);
                record
            }
        };
        for &old in joined {
            self.dispose(probe.state, probe.group, old);
        }
        head
    }

    /// Before something is appended to a list in a transaction: joins its newest chunks that were committed since the last
    /// epoch was cut off, where several are of a kind. Else a list would have a chunk for each commit until it is flushed. As
    /// chunks are joined with what is no more than twice as long, an element is copied a few times, and few chunks are left.
    /// Nothing happens where memory is out.
    pub fn join_committed(&mut self, probe: &Probe<'_>, found: Option<(Record, Place)>) -> Option<(Record, Place)> {
        let (head, place) = found?;
        let arena = self.memory.arena();
        let flushed = self.last_sealed().unwrap_or(self.flushed);
        let is_of_run = |chunk: Record| chunk.kind() == CHAIN && chunk.stamp(arena) > flushed;
        if self.transaction.is_none() || head.stamp(arena) > self.committed || !is_of_run(head) {
            return found;
        }
        let (mut run, mut bytes, mut last) = (vec![head], head.value_len(), head);
        while !last.has(BASE) && last.link(arena) as Ref != NONE {
            let below = Record::load(arena, last.link(arena) as Ref);
            if !is_of_run(below) || below.value_len() > bytes * 2 || bytes + below.value_len() > self.value_bytes_max {
                break;
            }
            bytes += below.value_len();
            run.push(below);
            last = below;
        }
        if run.len() < CHUNKS_OF_A_KIND {
            return found;
        }
        let value = states::joined(run.iter().rev().map(|&chunk| self.value_of(chunk)));
        let parts = Parts {
            tag: CHAIN | last.tag() & BASE | head.tag() & (record::NAMESPACE | record::EXPIRY | USED),
            stamp: head.stamp(arena),
            link: last.link(arena),
            expiry_ms: head.expiry_ms(arena).unwrap_or(0),
            area: probe.area,
            value: [&value, &[]],
            spare: 0,
        };
        let Some(joined) = Record::create(&mut self.memory, parts) else { return found };
        if self.push_committed(probe.state, probe.group, joined).is_err() {
            self.memory.retire_record(joined.at, joined.class());
            return found;
        }
        place.swing(self.memory.arena(), joined.at);
        for chunk in run {
            self.dispose(probe.state, probe.group, chunk);
        }
        Some((joined, place))
    }

    /// Puts a new record where an old one of the same key lies, and disposes of the old one and all that it links to, down
    /// to the version that the last commit left, which is kept where the new one is not committed.
    pub(super) fn supersede_chain(
        &mut self,
        probe: &Probe<'_>,
        place: Place,
        old: Record,
        new: Record,
    ) -> Result<(), OutOfMemory> {
        let committed = self.committed_in(old);
        // Where a version is kept already, what the old one links to was read from the disk since, and is a copy.
        let committed = committed.filter(|_| self.find_kept(probe.state, probe.group, old).is_none());
        self.enter_successor(probe, probe.hash, committed, new)?;
        place.swing(self.memory.arena(), new.at);
        self.dispose_down_to(probe, old, committed);
        Ok(())
    }

    /// Disposes of a record and the chunks that it links to, down to one that stays.
    pub(super) fn dispose_down_to(&mut self, probe: &Probe<'_>, head: Record, stays: Option<Record>) {
        let mut at = head.at;
        while at != NONE && stays.is_none_or(|stays| stays.at != at) {
            let record = Record::load(self.memory.arena(), at);
            at = record.link(self.memory.arena()) as Ref;
            self.dispose(probe.state, probe.group, record);
        }
    }

    /// Disposes of all chunks from a link down.
    pub(super) fn dispose_chain(&mut self, probe: &Probe<'_>, link: u64) {
        let mut at = link as Ref;
        while at != NONE {
            let record = Record::load(self.memory.arena(), at);
            at = record.link(self.memory.arena()) as Ref;
            self.dispose(probe.state, probe.group, record);
        }
    }

    /// Deletes a chain: as a cell, since a fresh one is a single chunk.
    pub fn delete_chain(
        &mut self,
        probe: &Probe<'_>,
        found: Option<(Record, Place)>,
        below: Below,
    ) -> Result<(), OutOfMemory> {
        let is_fresh = |head: Record| head.has(FRESH) && head.stamp(self.arena()) == self.current;
        debug_assert!(found.is_none_or(|(head, _)| !is_fresh(head) || head.link(self.arena()) == u64::from(NONE)));
        self.delete_cell(probe, found, below)
    }

    /// The value of a record that the owner may look at.
    #[inline]
    #[expect(unsafe_code, reason = "the owner reads its own record")]
    pub fn value_of(&self, record: Record) -> &[u8] {
        // SAFETY: the borrow of `self` keeps the owner, the only writer, from changing the record while it lasts.
        unsafe { record.value(self.memory.arena()) }
    }

    /// The same of one whose layout is known: a plain value behind a key of two words, `len` bytes long by its own word.
    #[cfg(not(loom))]
    #[inline(always)]
    #[expect(unsafe_code, reason = "the owner reads its own record")]
    pub(super) fn value_behind_two_words(&self, at: Ref, len: usize) -> &[u8] {
        // SAFETY: as above.
        unsafe { self.memory.arena().bytes(at + 4, len) }
    }
}
