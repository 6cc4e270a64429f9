//! The files that a changelog is written to.

use super::format::{
    BLOCK_BYTES, BLOCK_HEADER_BYTES, BlockHeader, FileHeader, PAGE_BYTES, PAYLOAD_BYTES_MAX, payload_sum,
};
use super::stream::{Chunk, Taken};
use crate::checksum::{self, Checksum};
use crate::error::{Error, Result};
use crate::platform::random::random;
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
    /// Number and first position of all files that there are, oldest first.
    there: Vec<(u64, u64)>,
    /// Numbers of files that have nothing that was committed: they go before the next one is begun.
    void: Vec<u64>,
    /// Where what those that are there have ends, until the first of ours is begun.
    ended: Option<u64>,
    current: Option<Current>,
    next_number: u64,
    /// What is to be written next; kept for its memory.
    buffer: Buffer,
    /// The blocks in it.
    prepared: Vec<BlockAt>,
    /// The blocks that were written to files that are there, in order: whoever reads them back needn't look for them.
    written: Vec<BlockAt>,
}

/// A block and where it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockAt {
    /// The number of its file.
    pub file: u64,
    /// What the checksums of that one's blocks are bound to.
    pub nonce: u64,
    /// Where it begins in the file.
    pub at: u64,
    /// Its header.
    pub header: BlockHeader,
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
    /// The files of a store, of which `there` are (number and first position, oldest first), which end at the position `ended`, and `void`
    /// ones (numbers). What is written goes to new ones.
    pub fn new(
        storage: &Arc<dyn Storage>,
        store: u128,
        file_bytes: u64,
        there: Vec<(u64, u64)>,
        ended: Option<u64>,
        void: Vec<u64>,
    ) -> Self {
        let numbers = there.iter().map(|(number, _)| number).chain(&void);
        let next_number = numbers.max().map_or(1, |number| number + 1);
        let (storage, buffer) = (Arc::clone(storage), Buffer::default());
        let (prepared, written) = (Vec::new(), Vec::new());
        Self { storage, store, file_bytes, there, void, ended, current: None, next_number, buffer, prepared, written }
    }

    /// Removes the void files, the newest first: were an older one gone alone, those behind it would seem to lack it.
    fn remove_void(&mut self) -> Result<(), StorageError> {
        self.void.sort_unstable();
        while let Some(&number) = self.void.last() {
            self.storage.remove(&names::changelog_name(number))?;
            self.void.pop();
        }
        Ok(())
    }

    /// Makes blocks of what was taken, and sees to it that there is a file that they fit into.
    pub fn prepare(&mut self, taken: &Taken) -> Result<()> {
        let Some(first) = taken.chunks.first() else { return Ok(()) };
        let blocks = blocks_of(&taken.chunks);
        let bytes: usize = blocks.iter().map(|chunks| block_bytes(payload_len(chunks))).sum();
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
        for chunks in blocks {
            let begin = at + self.buffer.len() as u64;
            let header = push_block(&mut self.buffer, chunks, taken.durable, current.nonce, at)?;
            let (file, nonce) = (current.number, current.nonce);
            self.prepared.extend(header.map(|header| BlockAt { file, nonce, at: begin, header }));
        }
        Ok(())
    }

    /// Begins the next file, once the one before is durable.
    fn begin_file(&mut self, first: u64, bytes: u64) -> Result<u64> {
        if let Some(current) = &mut self.current
            && current.dirty
        {
            current.file.sync()?;
            current.dirty = false;
        }
        self.remove_void()?;
        let (number, nonce) = (self.next_number, random());
        let before = self.ended.map_or(first, |ended| ended.min(first));
        let header = FileHeader { store: self.store, number, first, before, nonce };
        let len = self.file_bytes.max(PAGE_BYTES as u64 + bytes);
        let file = self.storage.create_log(&names::changelog_name(number), &header.encode(), len)?;
        self.next_number += 1;
        self.there.push((number, first));
        self.ended = None;
        self.current = Some(Current { file, number, nonce, at: PAGE_BYTES as u64, dirty: false });
        Ok(PAGE_BYTES as u64)
    }

    /// What [`Files::prepare`] made, to be written; `None` where there is nothing to write or to sync.
    pub fn write(&mut self, sync: bool) -> Option<LogWrite<'_>> {
        let current = self.current.as_mut()?;
        if self.buffer.is_empty() && !(sync && current.dirty) {
            return None;
        }
        Some(LogWrite { file: &mut *current.file, offset: current.at, bytes: &self.buffer, sync, outcome: None })
    }

    /// Says what became of it.
    pub fn wrote(&mut self, sync: bool, outcome: &Result<(), StorageError>) {
        let Some(current) = &mut self.current else { return };
        if outcome.is_ok() {
            current.at += self.buffer.len() as u64;
            current.dirty = !sync && (current.dirty || !self.buffer.is_empty());
            self.written.append(&mut self.prepared);
        }
        self.prepared.clear();
        self.buffer.clear();
        if self.buffer.capacity() > BUFFER_BYTES_KEPT {
            // It was for one very long value.
            self.buffer = Buffer::default();
        }
    }

    /// What [`History`](super::History) wants to know: the files that there are, and the blocks that were written to them since the
    /// store was opened.
    pub fn known(&self) -> (Vec<(u64, u64)>, Vec<BlockAt>) {
        (self.there.clone(), self.written.clone())
    }

    /// Removes the files of which nothing from `position` on is needed. What can't be removed is tried again the next time.
    pub fn cut(&mut self, position: u64) -> Result<(), StorageError> {
        while let [(number, _), (_, next), ..] = self.there[..]
            && next <= position
        {
            self.storage.remove(&names::changelog_name(number))?;
            self.there.remove(0);
            self.written.retain(|block| block.file != number);
        }
        Ok(())
    }

    /// Removes all files: a checkpoint has everything, and nothing will be appended.
    pub fn remove_all(&mut self) -> Result<(), StorageError> {
        self.current = None;
        self.written.clear();
        self.remove_void()?;
        while let Some(&(number, _)) = self.there.first() {
            self.storage.remove(&names::changelog_name(number))?;
            self.there.remove(0);
        }
        Ok(())
    }
}

/// The chunks, by block: as many as make a long one, or one that is longer.
fn blocks_of(chunks: &[Chunk]) -> Vec<&[Chunk]> {
    let (mut blocks, mut from, mut bytes) = (Vec::new(), 0, 0);
    for (at, chunk) in chunks.iter().enumerate() {
        if at > from && bytes + chunk.bytes.len() > BLOCK_BYTES {
            blocks.push(&chunks[from..at]);
            (from, bytes) = (at, 0);
        }
        bytes += chunk.bytes.len();
    }
    blocks.push(&chunks[from..]);
    blocks
}

fn payload_len(chunks: &[Chunk]) -> usize {
    chunks.iter().map(|chunk| chunk.bytes.len()).sum()
}

const fn block_bytes(payload: usize) -> usize {
    (BLOCK_HEADER_BYTES + payload).next_multiple_of(PAGE_BYTES)
}

fn push_block(out: &mut Buffer, chunks: &[Chunk], durable: u64, nonce: u64, base: u64) -> Result<Option<BlockHeader>> {
    let Some(first) = chunks.first() else { return Ok(None) };
    let len = payload_len(chunks);
    if len > PAYLOAD_BYTES_MAX {
        return Err(Error::TooLong { what: "changes between two commits", bytes: len, max_bytes: PAYLOAD_BYTES_MAX });
    }
    let at = base + out.len() as u64;
    let mut sum = Checksum::new();
    chunks.iter().for_each(|chunk| sum.update(&chunk.bytes));
    let (mut before, mut commit_end) = (0, 0);
    for chunk in chunks {
        if chunk.commit_end > 0 {
            commit_end = before + chunk.commit_end;
        }
        before += chunk.bytes.len();
    }
    let header = BlockHeader {
        len: len as u32,
        position: first.position,
        durable: durable.min(first.position),
        commit_end: commit_end as u32,
        has_states: chunks.iter().any(|chunk| chunk.has_states),
        has_aborts: chunks.iter().any(|chunk| chunk.has_aborts),
        has_events: chunks.iter().any(|chunk| chunk.has_events),
        payload_sum: sum.value() ^ checksum::place(u128::from(nonce), at),
    };
    out.push(&header.encode(nonce, at));
    for chunk in chunks {
        // There is room for all of them.
        out.push(&chunk.bytes);
    }
    out.pad(out.len().next_multiple_of(PAGE_BYTES));
    Ok(Some(header))
}

/// Whether bytes are the payload that a header of this file's says.
pub fn is_payload(payload: &[u8], header: &BlockHeader, nonce: u64, at: u64) -> bool {
    payload.len() == header.len as usize && payload_sum(payload, nonce, at) == header.payload_sum
}

/// A failure at a place of a changelog's file.
pub fn damaged(path: &std::path::Path, at: u64, detail: impl Into<String>) -> Error {
    StorageError::new(Fault::Corrupt, path, at, detail.into()).into()
}
