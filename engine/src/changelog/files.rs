//! The files that a changelog is written to.

use super::format::{
    BLOCK_BYTES, BLOCK_HEADER_BYTES, BlockHeader, FileHeader, PAGE_BYTES, PAYLOAD_BYTES_MAX, TRACED_BLOCK_BYTES,
    payload_sum,
};
use super::stream::{Chunk, Taken};
use crate::checksum::{self, Checksum};
use crate::error::{Error, Result};
use crate::platform::random::random;
use crate::platform::safeguards::{Safeguard, stands};
use crate::platform::storage::{Buffer, Fault, LogFile, LogWrite, Storage, StorageError, names};
use std::sync::Arc;

/// A buffer that is longer isn't kept for the next writes.
const BUFFER_BYTES_KEPT: usize = 16 << 20;

/// The files of a store's changelog, the last of which is being written.
#[derive(Debug)]
pub struct Files {
    storage: Arc<dyn Storage>,
    store: u128,
    file_bytes: u64,
    /// All files that there are, oldest first.
    there: Vec<FileAt>,
    /// Numbers of files that have nothing that was committed: they go before the next one is begun.
    void: Vec<u64>,
    /// Where the first of ours is to begin, until it is begun.
    next: Option<FileAt>,
    /// Whether some of what there is lies behind where that one is to begin, void and not committed.
    overhangs: bool,
    current: Option<Current>,
    next_number: u64,
    /// What is to be written next; kept for its memory.
    buffer: Buffer,
    /// The blocks in it.
    prepared: Vec<(u64, BlockHeader)>,
    /// The blocks that were written to files that are there, in order: whoever reads them back needn't look for them.
    written: Vec<Written>,
}

/// A file and where it stands in the stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileAt {
    /// Its number.
    pub number: u64,
    /// Its first position.
    pub first: u64,
    /// Where what was written before ends: nothing lies between that and its first position.
    pub before: u64,
}

/// The blocks that were written to a file.
#[derive(Clone, Debug)]
pub struct Written {
    /// The number of the file.
    pub file: u64,
    /// What the checksums of its blocks are bound to.
    pub nonce: u64,
    /// Where each begins in the file, and its header. Shared with those who read them back.
    pub blocks: Arc<Vec<(u64, BlockHeader)>>,
}

#[derive(Debug)]
struct Current {
    file: Box<dyn LogFile>,
    number: u64,
    nonce: u64,
    /// Where the next block goes.
    at: u64,
    /// Whether something was written since the last sync.
    dirty: bool,
}

impl Files {
    /// The files of a store, of which `there` are (oldest first), and `void` ones (numbers). What is written goes to new ones; with `ended` it is known
    /// where what is there ends, and at which position the stream goes on.
    pub fn new(
        storage: &Arc<dyn Storage>,
        store: u128,
        file_bytes: u64,
        there: Vec<FileAt>,
        ended: Option<(u64, u64)>,
        void: Vec<u64>,
    ) -> Self {
        let numbers = there.iter().map(|file| &file.number).chain(&void);
        let next_number = numbers.max().map_or(1, |number| number + 1);
        let next = ended.map(|(ended, first)| FileAt { number: next_number, first, before: ended.min(first) });
        let overhangs = !void.is_empty() || ended.is_some_and(|(ended, first)| ended > first);
        let (storage, buffer) = (Arc::clone(storage), Buffer::default());
        let (prepared, written) = (Vec::new(), Vec::new());
        Self {
            storage,
            store,
            file_bytes,
            there,
            void,
            next,
            overhangs,
            current: None,
            next_number,
            buffer,
            prepared,
            written,
        }
    }

    /// Begins the first file of ours where what there is reaches behind that: without it a recovery from a later position, as of the checkpoint
    /// that is about to be published, would take what is void for what the checkpoint has.
    pub fn cut_overhang(&mut self) -> Result<()> {
        match self.next.filter(|_| self.overhangs) {
            Some(next) => self.begin_file(next.first, 0).map(drop),
            None => Ok(()),
        }
    }

    /// Removes the void files, the newest first, each for good: were an older one gone alone, those behind it would seem to lack it.
    fn remove_void(&mut self) -> Result<(), StorageError> {
        self.void.sort_unstable();
        while let Some(&number) = self.void.last() {
            self.storage.remove(&names::changelog_name(number))?;
            self.void.pop();
            self.storage.sync_dir()?;
        }
        Ok(())
    }

    /// Makes blocks of what was taken, and sees to it that there is a file that they fit into.
    pub fn prepare(&mut self, taken: &Taken) -> Result<()> {
        let Some(first) = taken.chunks.first() else { return Ok(()) };
        let pieces = Piece::of(&taken.chunks);
        let blocks = blocks_of(&pieces);
        let bytes: usize = blocks.iter().map(|pieces| block_bytes(payload_len(pieces))).sum();
        let at = match &self.current {
            Some(current) if current.at + bytes as u64 <= current.file.len() => current.at,
            _ => self.begin_file(first.position, bytes as u64)?,
        };
        let Some(current) = &self.current else { return Ok(()) };
        if self.buffer.capacity() < bytes {
            let capacity = bytes.max(BLOCK_BYTES).next_power_of_two();
            self.buffer = Buffer::allocate(capacity, current.file.path(), at)?;
        }
        self.buffer.clear();
        self.prepared.clear();
        for pieces in blocks {
            let begin = at + self.buffer.len() as u64;
            let header = push_block(&mut self.buffer, pieces, taken.durable, current.nonce, at)?;
            self.prepared.extend(header.map(|header| (begin, header)));
        }
        Ok(())
    }

    /// Begins the next file, once the one before is durable.
    fn begin_file(&mut self, first: u64, bytes: u64) -> Result<u64> {
        if let Some(current) = &mut self.current
            && current.dirty
            && stands(Safeguard::ChangelogBeforeNext)
        {
            current.file.sync()?;
            current.dirty = false;
        }
        self.remove_void()?;
        let (number, nonce) = (self.next_number, random());
        let before = self.next.map_or(first, |next| next.before.min(first));
        let header = FileHeader { store: self.store, number, first, before, nonce };
        let len = self.file_bytes.max(PAGE_BYTES as u64 + bytes);
        let file = self.storage.create_log(&names::changelog_name(number), &header.encode(), len)?;
        self.next_number += 1;
        self.there.push(FileAt { number, first, before });
        self.next = None;
        self.current = Some(Current { file, number, nonce, at: PAGE_BYTES as u64, dirty: false });
        Ok(PAGE_BYTES as u64)
    }

    /// What [`Files::prepare`] made, to be written; `None` where there is nothing to write or to sync.
    pub fn write(&mut self, sync: bool) -> Option<LogWrite<'_>> {
        let current = self.current.as_mut()?;
        if self.buffer.is_empty() && !(sync && current.dirty) {
            return None;
        }
        let sync = sync && stands(Safeguard::CommitSynced);
        Some(LogWrite { file: &mut *current.file, offset: current.at, bytes: &self.buffer, sync, outcome: None })
    }

    /// Says what became of it.
    pub fn wrote(&mut self, sync: bool, outcome: &Result<(), StorageError>) {
        let Some(current) = &mut self.current else { return };
        if outcome.is_ok() {
            current.at += self.buffer.len() as u64;
            current.dirty = !sync && (current.dirty || !self.buffer.is_empty());
            if !self.prepared.is_empty() && self.written.last().is_none_or(|last| last.file != current.number) {
                let blocks = Arc::default();
                self.written.push(Written { file: current.number, nonce: current.nonce, blocks });
            }
            if let Some(last) = self.written.last_mut() {
                Arc::make_mut(&mut last.blocks).append(&mut self.prepared);
            }
        }
        self.prepared.clear();
        self.buffer.clear();
        if self.buffer.capacity() > BUFFER_BYTES_KEPT {
            // It was for one very long value.
            self.buffer = Buffer::default();
        }
    }

    /// What [`History`](super::History) wants to know: the files that there are, or are to be, and the blocks that were written to them since
    /// the store was opened.
    pub fn known(&self) -> (Vec<FileAt>, Vec<Written>) {
        (self.there.iter().copied().chain(self.next).collect(), self.written.clone())
    }

    /// Removes the files of which nothing from `position` on is needed. What can't be removed is tried again the next time.
    pub fn cut(&mut self, position: u64) -> Result<(), StorageError> {
        while let [FileAt { number, .. }, next, ..] = self.there[..]
            && next.first <= position
        {
            self.storage.remove(&names::changelog_name(number))?;
            self.there.remove(0);
            self.written.retain(|written| written.file != number);
        }
        Ok(())
    }

    /// Removes all files: a checkpoint has everything, and nothing will be appended.
    pub fn remove_all(&mut self) -> Result<(), StorageError> {
        self.current = None;
        self.written.clear();
        self.remove_void()?;
        while let Some(&FileAt { number, .. }) = self.there.first() {
            self.storage.remove(&names::changelog_name(number))?;
            self.there.remove(0);
        }
        Ok(())
    }
}

/// Whole records of a chunk.
#[derive(Clone, Copy)]
struct Piece<'a> {
    chunk: &'a Chunk,
    from: usize,
    to: usize,
}

impl<'a> Piece<'a> {
    /// The chunks one by one, cut where their events are found by.
    fn of(chunks: &'a [Chunk]) -> Vec<Self> {
        let mut pieces = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            let mut from = 0;
            for to in chunk.gathered.cuts().chain([chunk.bytes.len()]) {
                pieces.push(Self { chunk, from, to });
                from = to;
            }
        }
        pieces
    }

    fn bytes(&self) -> &'a [u8] {
        &self.chunk.bytes[self.from..self.to]
    }

    /// How long a block with it is, about.
    fn block_bytes(&self) -> usize {
        if self.chunk.gathered.is_empty() { BLOCK_BYTES } else { TRACED_BLOCK_BYTES }
    }

    /// Where its last commit ends; 0 where it has none.
    fn commit_end(&self) -> usize {
        let end = self.chunk.commit_end;
        if (self.from + 1..=self.to).contains(&end) { end - self.from } else { 0 }
    }
}

/// The pieces, by block: as many as make a long one, or one that is longer.
fn blocks_of<'p, 'a>(pieces: &'p [Piece<'a>]) -> Vec<&'p [Piece<'a>]> {
    let (mut blocks, mut from, mut bytes) = (Vec::new(), 0, 0);
    for (at, piece) in pieces.iter().enumerate() {
        if at > from && bytes + piece.bytes().len() > piece.block_bytes() {
            blocks.push(&pieces[from..at]);
            (from, bytes) = (at, 0);
        }
        bytes += piece.bytes().len();
    }
    blocks.push(&pieces[from..]);
    blocks
}

fn payload_len(pieces: &[Piece<'_>]) -> usize {
    pieces.iter().map(|piece| piece.bytes().len()).sum()
}

const fn block_bytes(payload: usize) -> usize {
    (BLOCK_HEADER_BYTES + payload).next_multiple_of(PAGE_BYTES)
}

fn push_block(
    out: &mut Buffer,
    pieces: &[Piece<'_>],
    durable: u64,
    nonce: u64,
    base: u64,
) -> Result<Option<BlockHeader>> {
    let Some(first) = pieces.first() else { return Ok(None) };
    let len = payload_len(pieces);
    if len > PAYLOAD_BYTES_MAX {
        return Err(Error::TooLong { what: "changes between two commits", bytes: len, max_bytes: PAYLOAD_BYTES_MAX });
    }
    let at = base + out.len() as u64;
    let mut sum = Checksum::new();
    pieces.iter().for_each(|piece| sum.update(piece.bytes()));
    let (mut before, mut commit_end) = (0, 0);
    for piece in pieces {
        if piece.commit_end() > 0 {
            commit_end = before + piece.commit_end();
        }
        before += piece.bytes().len();
    }
    let position = first.chunk.position + first.from as u64;
    let header = BlockHeader {
        len: len as u32,
        position,
        durable: durable.min(position),
        commit_end: commit_end as u32,
        has_states: pieces.iter().any(|piece| piece.chunk.has_states),
        has_aborts: pieces.iter().any(|piece| piece.chunk.has_aborts),
        has_events: pieces.iter().any(|piece| piece.chunk.has_events),
        payload_sum: sum.value() ^ checksum::place(u128::from(nonce), at),
    };
    out.push(&header.encode(nonce, at));
    for piece in pieces {
        // There is room for all of them.
        out.push(piece.bytes());
    }
    out.pad(out.len().next_multiple_of(PAGE_BYTES));
    Ok(Some(header))
}

/// Whether bytes are the payload that a header of this file's says.
pub fn is_payload(payload: &[u8], header: &BlockHeader, nonce: u64, at: u64) -> bool {
    let summed = || payload_sum(payload, nonce, at) == header.payload_sum;
    payload.len() == header.len as usize && (!stands(Safeguard::LogPayloadChecksum) || summed())
}

/// A failure at a place of a changelog's file.
pub fn damaged(path: &std::path::Path, at: u64, detail: impl Into<String>) -> Error {
    StorageError::new(Fault::Corrupt, path, at, detail.into()).into()
}
