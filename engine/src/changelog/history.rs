//! Reading a changelog back: its records between two positions, while the store goes on.
//!
//! The blocks of the range are found once, by their headers; payloads are read, and checked, as often as their records are asked for,
//! and only those of blocks that are wanted. What an abort undid is left out, and what lies behind the position that recovery went back to.

use super::files::{FileAt, Written, damaged, is_payload};
use super::format::{BLOCK_HEADER_BYTES, BlockHeader, PAGE_BYTES};
use super::record::{self, Record};
use super::tail::header_of;
use crate::codec::Reader;
use crate::error::{Error, Result};
use crate::platform::storage::{Buffer, ReadFile, Storage, names};
use crate::platform::threads::Mutex;
use std::sync::{Arc, OnceLock};

/// What a changelog has from a position up to another.
#[derive(Debug)]
pub struct History {
    from: u64,
    to: u64,
    parts: Vec<Part>,
    /// What was undone, from a position up to another, ascending.
    voids: Vec<(u64, u64)>,
    /// The payload that was read last: several stretches of a block are asked for one after the other.
    last: Mutex<Option<Payload>>,
}

/// A block's payload, checked, and where it is: the number of the part, and the place in its file.
#[derive(Clone, Debug)]
struct Payload {
    at: (usize, u64),
    bytes: Arc<Buffer>,
}

/// A payload that is longer isn't kept.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// What one file has of it.
#[derive(Debug)]
struct Part {
    file: Arc<dyn ReadFile>,
    /// Where the file begins.
    begins: FileAt,
    /// The store that it belongs to.
    store: u128,
    /// Of its header, which is read when something of the file is, if it isn't known.
    nonce: OnceLock<u64>,
    /// Where what the next file follows ends: what this one has from there on is void.
    limit: u64,
    /// Blocks and where they are.
    blocks: Arc<Vec<(u64, BlockHeader)>>,
}

impl History {
    /// Finds what a store's changelog has from the position `from`, where a checkpoint or a commit ends, up to `to`, all of which is
    /// written. `there` are its files, oldest first; `written` are blocks of these, all of each file that it has any of, in order: those of other
    /// files are looked for.
    ///
    /// # Errors
    /// [`Error::Position`] where the files don't have it: they were deleted, or the store was opened at another checkpoint and what lies
    /// in between was never written; the position is one that they may have it from. [`Error::Storage`] where something of it is damaged or can't be read.
    pub fn open(
        storage: &dyn Storage,
        store: u128,
        (there, written): (&[FileAt], &[Written]),
        from: u64,
        to: u64,
    ) -> Result<Self> {
        let mut history = Self { from, to, parts: Vec::new(), voids: Vec::new(), last: Mutex::new(None) };
        if from >= to {
            return Ok(history);
        }
        let begin = there.partition_point(|file| file.first <= from).checked_sub(1);
        let Some(begin) = begin else {
            let first = there.first().map_or(to, |file| file.first);
            return Err(Error::Position { position: from, problem: format!("the changelog begins at {first}") });
        };
        for (at, &begins) in there.iter().enumerate().skip(begin).filter(|(_, file)| file.first < to) {
            let next = there.get(at + 1);
            if let Some(next) = next.filter(|next| next.before < next.first && next.before < to) {
                let problem = format!("the changelog has nothing between {} and {}", next.before, next.first);
                return Err(Error::Position { position: next.first.min(to), problem });
            }
            let limit = next.map_or(u64::MAX, |next| next.before);
            let file = storage.open(&names::changelog_name(begins.number))?;
            let mut part = Part { file, begins, store, nonce: OnceLock::new(), limit, blocks: Arc::default() };
            match written.binary_search_by_key(&begins.number, |written| written.file) {
                Ok(known) => {
                    part.nonce.get_or_init(|| written[known].nonce);
                    part.blocks = Arc::clone(&written[known].blocks);
                }
                Err(_) => part.blocks = Arc::new(part.find_blocks(from, to)?),
            }
            history.parts.push(part);
        }
        history.find_voids()?;
        Ok(history)
    }

    /// Where it begins.
    pub const fn from(&self) -> u64 {
        self.from
    }

    /// Where it ends.
    pub const fn to(&self) -> u64 {
        self.to
    }

    /// Whether any of its blocks has events; those of others than are asked for, perhaps.
    pub fn has_events(&self) -> bool {
        self.parts.iter().flat_map(|part| part.blocks.iter()).any(|(_, header)| header.has_events)
    }

    /// Gives the records from a position up to another to `each`, in order, with the positions before and behind each, until it says no.
    /// Both lie in this history; a record counts where all of it lies between them. Changes and events that were undone are left out.
    pub fn records(&self, from: u64, to: u64, each: impl FnMut(Record<'_>, u64, u64) -> Result<bool>) -> Result<()> {
        self.records_of(from, to, |_| true, each)
    }

    /// The same of a stretch that begins where a record does: what its block has before that isn't gone through.
    pub fn stretch(&self, from: u64, to: u64, each: impl FnMut(Record<'_>, u64, u64) -> Result<bool>) -> Result<()> {
        self.living(from, to, true, |_| true, each)
    }

    /// The same of blocks alone whose headers `wanted` says; the others aren't read.
    pub fn records_of(
        &self,
        from: u64,
        to: u64,
        wanted: impl Fn(&BlockHeader) -> bool,
        each: impl FnMut(Record<'_>, u64, u64) -> Result<bool>,
    ) -> Result<()> {
        self.living(from, to, false, wanted, each)
    }

    /// The records that weren't undone.
    fn living(
        &self,
        from: u64,
        to: u64,
        at_record: bool,
        wanted: impl Fn(&BlockHeader) -> bool,
        mut each: impl FnMut(Record<'_>, u64, u64) -> Result<bool>,
    ) -> Result<()> {
        let mut voids = self.voids.iter().peekable();
        self.all(from, to, at_record, wanted, |taken, begin, end| {
            while voids.next_if(|(_, to)| *to <= begin).is_some() {}
            let is_void = voids.peek().is_some_and(|(from, _)| *from <= begin);
            if is_void && matches!(taken, Record::Change { .. } | Record::Event(_) | Record::Traced(..)) {
                return Ok(true);
            }
            each(taken, begin, end)
        })
    }

    /// The position behind the last commit up to a position, if there is one.
    pub fn last_commit(&self, up_to: u64) -> Result<Option<u64>> {
        for part in self.parts.iter().rev() {
            for (_, header) in part.blocks.iter().rev().filter(|(_, header)| header.commit_end > 0) {
                let (block, mut found) = (header.position, None);
                self.all(
                    self.from,
                    up_to.min(part.limit),
                    false,
                    |header| header.position == block,
                    |taken, _, end| {
                        if matches!(taken, Record::Commit(_)) {
                            found = Some(end);
                        }
                        Ok(true)
                    },
                )?;
                if found.is_some() {
                    return Ok(found);
                }
            }
        }
        Ok(None)
    }

    /// All records, undone or not; `at_record` says that `from` is where one begins.
    fn all(
        &self,
        from: u64,
        to: u64,
        at_record: bool,
        wanted: impl Fn(&BlockHeader) -> bool,
        mut each: impl FnMut(Record<'_>, u64, u64) -> Result<bool>,
    ) -> Result<()> {
        let (from, to) = (from.max(self.from), to.min(self.to));
        for (number, part) in self.parts.iter().enumerate().filter(|(_, part)| from < part.limit) {
            let first = part.blocks.partition_point(|(_, header)| header.end() <= from);
            let blocks = part.blocks[first..].iter().take_while(|(_, header)| header.position < to);
            for (at, header) in blocks.filter(|(_, header)| wanted(header)) {
                let payload = self.payload(number, *at, header)?;
                let mut reader = Reader::new(&payload);
                if at_record && from > header.position {
                    // Not more than the payload has: the block ends behind it.
                    let before = reader.bytes((from - header.position) as usize);
                    before.map_err(|error| damaged(part.file.path(), *at, error.problem))?;
                }
                while reader.remaining() > 0 {
                    let begin = header.position + reader.at() as u64;
                    let taken = record::take(&mut reader).map_err(|error| {
                        let place = at + (BLOCK_HEADER_BYTES + error.at) as u64;
                        damaged(part.file.path(), place, error.problem)
                    })?;
                    let end = header.position + reader.at() as u64;
                    if begin >= part.limit || end > to {
                        break;
                    }
                    if begin >= from && !each(taken, begin, end)? {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn payload(&self, number: usize, at: u64, header: &BlockHeader) -> Result<Arc<Buffer>> {
        let place = (number, at);
        if let Some(last) = self.last.lock().as_ref().filter(|last| last.at == place) {
            return Ok(Arc::clone(&last.bytes));
        }
        let bytes = Arc::new(self.parts[number].payload(at, header)?);
        if bytes.len() <= KEPT_BYTES_MAX {
            *self.last.lock() = Some(Payload { at: place, bytes: Arc::clone(&bytes) });
        }
        Ok(bytes)
    }

    /// What each abort made void: all since the commit before it.
    fn find_voids(&mut self) -> Result<()> {
        if !self.parts.iter().flat_map(|part| part.blocks.iter()).any(|(_, header)| header.has_aborts) {
            return Ok(());
        }
        let (mut voids, mut since) = (Vec::new(), self.from);
        self.all(
            self.from,
            self.to,
            false,
            |_| true,
            |taken, _, end| {
                match taken {
                    Record::Commit(_) => since = end,
                    Record::Abort => {
                        voids.push((since, end));
                        since = end;
                    }
                    _ => {}
                }
                Ok(true)
            },
        )?;
        self.voids = voids;
        Ok(())
    }
}

impl Part {
    fn nonce(&self) -> Result<u64> {
        if let Some(nonce) = self.nonce.get() {
            return Ok(*nonce);
        }
        let FileAt { number, first, .. } = self.begins;
        let header = header_of(&*self.file, number, self.store)?;
        if header.place() != self.begins {
            return Err(damaged(self.file.path(), 0, format!("it begins at {}, not at {first}", header.first)));
        }
        Ok(*self.nonce.get_or_init(|| header.nonce))
    }

    /// The blocks of the file that lie in the range.
    fn find_blocks(&self, from: u64, to: u64) -> Result<Vec<(u64, BlockHeader)>> {
        let mut blocks = Vec::new();
        let (mut at, mut position) = (PAGE_BYTES as u64, self.begins.first);
        let end = to.min(self.limit);
        while position < end {
            let Some(header) = self.header_at(at)?.filter(|header| header.position == position) else {
                let detail = format!("the changes from position {position} are damaged or missing, up to {end}");
                return Err(damaged(self.file.path(), at, detail));
            };
            if header.end() > from {
                blocks.push((at, header));
            }
            at += header.file_bytes();
            position = header.end();
        }
        Ok(blocks)
    }

    fn header_at(&self, at: u64) -> Result<Option<BlockHeader>> {
        if at + PAGE_BYTES as u64 > self.file.len() {
            return Ok(None);
        }
        let page = self.file.read_at(at, PAGE_BYTES)?;
        let header = BlockHeader::decode(&page, self.nonce()?, at);
        Ok(header.filter(|header| at + header.file_bytes() <= self.file.len()))
    }

    fn payload(&self, at: u64, header: &BlockHeader) -> Result<Buffer> {
        let payload = self.file.read_at(at + BLOCK_HEADER_BYTES as u64, header.len as usize)?;
        if is_payload(&payload, header, self.nonce()?, at) {
            return Ok(payload);
        }
        Err(damaged(self.file.path(), at, "the block is damaged"))
    }
}
