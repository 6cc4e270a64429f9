//! What a changelog has behind a checkpoint: found when a store is opened, and replayed after.

use super::files::{FileAt, damaged, is_payload};
use super::format::{BLOCK_HEADER_BYTES, Bad, BlockHeader, FILE_HEADER_BYTES, FileHeader, PAGE_BYTES};
use super::record::{self, Change, CommitParts, Event, Record, Rollback};
use crate::codec::Reader;
use crate::error::{Error, Result};
use crate::ids::{EventId, StateId};
use crate::key::Key;
use crate::platform::storage::{Fault, ReadFile, Storage, StorageError, names};
use std::collections::HashMap;
use std::sync::Arc;

mod groups;

pub use groups::{Block, Logged, Place};

/// How much is read at once where blocks are looked for, in bytes.
const LOOK_BYTES: usize = 1 << 20;

/// The changes behind a checkpoint that are committed.
#[derive(Debug)]
pub struct Tail {
    files: Vec<TailFile>,
    /// The position that the checkpoint has everything before.
    pub from: u64,
    /// The position behind the last commit, or `from`.
    pub to: u64,
    /// Offsets and metadata of the last commit; `None` where there is none behind the checkpoint.
    pub last: Option<CommitParts>,
    /// The states that were registered, as [`record::push_state`] was given them.
    pub states: Vec<Vec<u8>>,
    /// Name and version of the handlers that events are of.
    pub handlers: Vec<(String, u32)>,
    /// The rollbacks, and the positions behind them.
    pub rollbacks: Vec<(Rollback, u64)>,
    /// What was undone, from a position up to another, ascending.
    voids: Vec<(u64, u64)>,
    /// The files that there are, oldest first.
    pub there: Vec<FileAt>,
    /// The numbers of others, which have nothing that was committed.
    pub void: Vec<u64>,
}

/// What is to be done again.
#[derive(Debug)]
pub enum Redo<'a> {
    /// A change.
    Change {
        /// The state.
        state: StateId,
        /// Where in it.
        key: Key<'a>,
        /// What became of it.
        change: Change<'a>,
        /// When it expires, in ms.
        expiry_ms: Option<u64>,
    },
    /// A rollback.
    Rollback(&'a Rollback),
    /// An event.
    Event {
        /// The name of its handler.
        handler: &'a str,
        /// The version that applied it.
        version: u32,
        /// Its id, where it is known by one.
        id: Option<EventId>,
        /// The event.
        event: Event<'a>,
    },
}

#[derive(Debug)]
struct TailFile {
    file: Arc<dyn ReadFile>,
    header: FileHeader,
    /// Blocks and where they are.
    blocks: Vec<(u64, BlockHeader)>,
}

/// Looks through the changelog among the `files` of a directory for what is behind the position `from`; `None` where there is no
/// changelog.
///
/// Where its files are no longer than `unchecked_bytes` together, every byte is checked. Of longer ones the headers of the blocks are, and all
/// that no block behind it vouches for; what was durable is checked when it is read, and if it is damaged, reading it fails then.
pub fn find(
    storage: &dyn Storage,
    files: &[String],
    store: u128,
    from: u64,
    unchecked_bytes: u64,
) -> Result<Option<Tail>> {
    let mut numbers: Vec<u64> = files.iter().filter_map(|name| names::parse_changelog_name(name)).collect();
    numbers.sort_unstable();
    let mut opened = Vec::with_capacity(numbers.len());
    for number in numbers {
        let file = storage.open(&names::changelog_name(number))?;
        let header = header_of(&*file, number, store)?;
        opened.push(TailFile { file, header, blocks: Vec::new() });
    }
    // A file that begins behind where a later one does was begun after the last commit, and is void as a whole.
    let mut void = Vec::new();
    let mut sound: Vec<TailFile> = Vec::with_capacity(opened.len());
    for file in opened {
        while let Some(before) = sound.pop_if(|before| before.header.first > file.header.first) {
            void.push(before.header.number);
        }
        sound.push(file);
    }
    let mut opened = sound;
    let Some(last) = opened.last().map(|last| last.file.path().to_owned()) else { return Ok(None) };
    let there = opened.iter().map(|file| file.header.place()).collect();
    let begin = opened.partition_point(|file| file.header.first <= from);
    let Some(begin) = begin.checked_sub(1) else {
        let detail = format!("the changelog begins at {} and the checkpoint at {from}", opened[0].header.first);
        return Err(StorageError::new(Fault::Missing, last, 0, detail).into());
    };
    let mut needed = opened.split_off(begin);
    let firsts: Vec<u64> = needed.iter().skip(1).map(|file| file.header.first).chain([u64::MAX]).collect();
    let mut bytes = 0;
    for (file, limit) in needed.iter_mut().zip(&firsts) {
        bytes += file.follow(from, *limit)?;
    }
    for (file, limit) in needed.iter_mut().zip(firsts) {
        file.check(from, limit, bytes <= unchecked_bytes)?;
    }
    let mut tail = Tail {
        files: needed,
        from,
        to: from,
        last: None,
        states: Vec::new(),
        handlers: Vec::new(),
        rollbacks: Vec::new(),
        voids: Vec::new(),
        there,
        void,
    };
    tail.find_end()?;
    tail.find_states()?;
    tail.find_handlers()?;
    tail.find_voids()?;
    // So is one that begins behind the last commit; what is appended next goes in front of it.
    let to = tail.to;
    let begun: Vec<FileAt> = tail.there.extract_if(.., |file| file.first > to).collect();
    tail.void.extend(begun.iter().map(|file| file.number));
    Ok(Some(tail))
}

/// A position that is behind all that the files of a changelog can have.
pub fn bound(storage: &dyn Storage, files: &[String]) -> Result<u64> {
    let mut bound = 0;
    for number in files.iter().filter_map(|name| names::parse_changelog_name(name)) {
        let file = storage.open(&names::changelog_name(number))?;
        match FileHeader::decode(&file.read_at(0, FILE_HEADER_BYTES)?) {
            Ok(header) => bound = bound.max(header.first.saturating_add(file.len())),
            Err(_) => return Err(damaged(file.path(), 0, "the header of the file is damaged")),
        }
    }
    Ok(bound)
}

pub(super) fn header_of(file: &dyn ReadFile, number: u64, store: u128) -> Result<FileHeader> {
    let bytes = file.read_at(0, FILE_HEADER_BYTES)?;
    let refuse = |fault, detail: String| Err(StorageError::new(fault, file.path(), 0, detail).into());
    match FileHeader::decode(&bytes) {
        Ok(header) if header.number != number => {
            refuse(Fault::Foreign, format!("it says that it is number {}", header.number))
        }
        Ok(header) if header.store != store => refuse(Fault::Foreign, "it belongs to another store".into()),
        Ok(header) => Ok(header),
        Err(Bad::Foreign) => refuse(Fault::Foreign, "not a changelog: wrong magic".into()),
        Err(Bad::Newer(version)) => refuse(Fault::NewerVersion, format!("format version {version}")),
        Err(Bad::Damaged) => refuse(Fault::Corrupt, "the header of the file is damaged".into()),
    }
}

impl TailFile {
    /// Follows the blocks, by their headers, up to the position `limit`, where the next file begins; how many bytes of the stream they
    /// have `from` a position on.
    fn follow(&mut self, from: u64, limit: u64) -> Result<u64> {
        let (mut at, mut position) = self.end();
        while position < limit
            && let Some(header) = self.block_at(at, position)?
        {
            self.blocks.push((at, header));
            (at, position) = self.end();
        }
        Ok(position.min(limit).saturating_sub(from.max(self.header.first)))
    }

    /// Where the last block ends, in the file and in the stream.
    fn end(&self) -> (u64, u64) {
        let last = self.blocks.last().map(|(at, header)| (at + header.file_bytes(), header.end()));
        last.unwrap_or((PAGE_BYTES as u64, self.header.first))
    }

    /// Checks the blocks that were found, or those alone that nothing vouches for, and leaves out what lies behind the first that isn't whole.
    /// Fails where one is missing that was durable, of what is needed `from` a position on.
    fn check(&mut self, from: u64, limit: u64, all: bool) -> Result<()> {
        // The next file was begun when all before it was durable.
        let durable = self.blocks.iter().map(|(_, header)| header.durable).fold(0, u64::max);
        let durable = if limit == u64::MAX { durable } else { limit };
        let first = if all { 0 } else { self.blocks.partition_point(|(_, header)| header.end() <= durable) };
        for index in first..self.blocks.len() {
            let (at, header) = self.blocks[index];
            if !self.is_whole(at, &header)? {
                self.blocks.truncate(index);
                break;
            }
        }
        let (at, position) = self.end();
        if position >= limit {
            return Ok(());
        }
        if limit != u64::MAX {
            // The next file was begun when all before it was durable, but for what a checkpoint had.
            if limit > from {
                let detail = format!("the changes from position {position} are damaged or missing, up to {limit}");
                return Err(damaged(self.file.path(), at, detail));
            }
            return Ok(());
        }
        self.check_end(at, position.max(from))
    }

    /// The header of the block at a place, if it is the one that comes next.
    fn block_at(&self, at: u64, position: u64) -> Result<Option<BlockHeader>> {
        if at + PAGE_BYTES as u64 > self.file.len() {
            return Ok(None);
        }
        let page = self.file.read_at(at, PAGE_BYTES)?;
        let Some(header) = BlockHeader::decode(&page, self.header.nonce, at) else { return Ok(None) };
        let fits = header.position == position && at + header.file_bytes() <= self.file.len();
        Ok(fits.then_some(header))
    }

    /// Whether a block's payload is what its header says.
    fn is_whole(&self, at: u64, header: &BlockHeader) -> Result<bool> {
        Ok(is_payload(&self.payload(at, header)?, header, self.header.nonce, at))
    }

    /// The same payload, if it is whole.
    fn checked_payload(&self, at: u64, header: &BlockHeader) -> Result<crate::platform::storage::Buffer> {
        let payload = self.payload(at, header)?;
        if is_payload(&payload, header, self.header.nonce, at) {
            return Ok(payload);
        }
        Err(damaged(self.file.path(), at, "the block is damaged, or changed since the store was opened"))
    }

    fn payload(&self, at: u64, header: &BlockHeader) -> Result<crate::platform::storage::Buffer> {
        Ok(self.file.read_at(at + BLOCK_HEADER_BYTES as u64, header.len as usize)?)
    }

    /// Behind the last whole block there must be none that says that more was durable.
    fn check_end(&self, at: u64, durable: u64) -> Result<()> {
        let mut from = at;
        while from + PAGE_BYTES as u64 <= self.file.len() {
            let len = (self.file.len() - from).min(LOOK_BYTES as u64) as usize / PAGE_BYTES * PAGE_BYTES;
            let bytes = self.file.read_at(from, len)?;
            for (page, place) in bytes.chunks_exact(PAGE_BYTES).zip((from..).step_by(PAGE_BYTES)) {
                let block = BlockHeader::decode(page, self.header.nonce, place);
                if let Some(block) = block.filter(|block| block.durable > durable) {
                    let detail =
                        format!("damaged: what lies behind it says that it was durable up to {}", block.durable);
                    return Err(damaged(self.file.path(), at, detail));
                }
            }
            from += len as u64;
        }
        Ok(())
    }
}

impl Tail {
    /// Where the last whole block of the last file that isn't void ends; before `from`, where what the checkpoint has was never written.
    pub fn end(&self) -> u64 {
        let last = self.files.iter().rev().find(|file| file.header.first <= self.to);
        last.map_or(self.from, |last| last.end().1)
    }

    /// Whether there is nothing to be replayed.
    pub const fn is_empty(&self) -> bool {
        self.from == self.to
    }

    /// How many bytes are to be replayed.
    pub const fn bytes(&self) -> u64 {
        self.to - self.from
    }

    /// Calls `each` with the records and the positions behind them, of the blocks that `wanted` says, in order, until it says no.
    fn records(
        &self,
        wanted: impl Fn(&BlockHeader) -> bool,
        mut each: impl FnMut(Record<'_>, u64) -> Result<bool>,
    ) -> Result<()> {
        let mut limits = self.files.iter().skip(1).map(|file| file.header.first);
        for file in &self.files {
            let limit = limits.next().unwrap_or(u64::MAX);
            for (at, header) in &file.blocks {
                if header.end() <= self.from || header.position >= limit || !wanted(header) {
                    continue;
                }
                let payload = file.checked_payload(*at, header)?;
                let mut reader = Reader::new(&payload);
                while reader.remaining() > 0 {
                    let begin = header.position + reader.at() as u64;
                    if begin >= limit {
                        break;
                    }
                    let taken = record::take(&mut reader).map_err(|error| {
                        let place = at + (BLOCK_HEADER_BYTES + error.at) as u64;
                        damaged(file.file.path(), place, error.problem)
                    })?;
                    if begin >= self.from && !each(taken, header.position + reader.at() as u64)? {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Finds the last commit.
    fn find_end(&mut self) -> Result<()> {
        let mut limits: Vec<u64> = self.files.iter().skip(1).map(|file| file.header.first).collect();
        limits.push(u64::MAX);
        let ends = |header: &BlockHeader| header.position + u64::from(header.commit_end);
        let mut found = None;
        for (file, limit) in self.files.iter().zip(&limits) {
            for (_, header) in &file.blocks {
                // Where the next file begins in the middle of a block, commits behind that are void.
                if header.commit_end > 0 && ends(header) > self.from && header.position < *limit {
                    found = Some(header.position);
                }
            }
        }
        let Some(position) = found else { return Ok(()) };
        let (mut to, mut last) = (self.from, None);
        self.records(
            |header| header.position == position,
            |taken, end| {
                if let Record::Commit(parts) = taken {
                    to = end;
                    last = Some(parts.to_vec());
                }
                Ok(true)
            },
        )?;
        if let Some(parts) = last {
            let parts = record::commit_parts(&parts);
            let parts = parts.map_err(|error| Error::Background(format!("a commit in the changelog: {error}")))?;
            (self.to, self.last) = (to, Some(parts));
        }
        Ok(())
    }

    /// The states that were registered, and what was rolled back.
    fn find_states(&mut self) -> Result<()> {
        let (mut states, mut rollbacks, to) = (Vec::new(), Vec::new(), self.to);
        self.records(
            |header| header.has_states && header.position < to,
            |taken, end| {
                match taken {
                    Record::State(described) if end <= to => states.push(described.to_vec()),
                    Record::Rollback(rollback) if end <= to => rollbacks.push((rollback, end)),
                    _ => {}
                }
                Ok(end < to)
            },
        )?;
        (self.states, self.rollbacks) = (states, rollbacks);
        Ok(())
    }

    /// The handlers that are named; each run of events names its own.
    fn find_handlers(&mut self) -> Result<()> {
        let (mut handlers, to) = (Vec::new(), self.to);
        self.records(
            |header| header.has_events && header.position < to,
            |taken, end| {
                if let Record::Handler { name, version, .. } = taken
                    && !handlers.iter().any(|(known, of)| known == name && *of == version)
                {
                    handlers.push((name.to_owned(), version));
                }
                Ok(end < to)
            },
        )?;
        self.handlers = handlers;
        Ok(())
    }

    /// What each abort made void: all since the commit before it.
    fn find_voids(&mut self) -> Result<()> {
        let to = self.to;
        let aborts = self.files.iter().flat_map(|file| &file.blocks).any(|(_, header)| header.has_aborts);
        if !aborts {
            return Ok(());
        }
        let (mut voids, mut since) = (Vec::new(), self.from);
        self.records(
            |header| header.position < to,
            |taken, end| {
                match taken {
                    Record::Commit(_) => since = end,
                    Record::Abort => {
                        voids.push((since, end));
                        since = end;
                    }
                    _ => {}
                }
                Ok(end < to)
            },
        )?;
        self.voids = voids;
        Ok(())
    }

    /// Gives the committed changes to `each`, in order, with the position behind each.
    pub fn replay(&self, mut each: impl FnMut(Redo<'_>, u64) -> Result<()>) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let mut handlers: HashMap<u32, (String, u32)> = HashMap::new();
        let mut voids = self.voids.iter().peekable();
        self.records(
            |header| header.position < self.to,
            |taken, end| {
                while voids.next_if(|(_, to)| *to < end).is_some() {}
                let is_void = voids.peek().is_some_and(|(from, to)| *from < end && end <= *to);
                let wanted = !is_void && end <= self.to;
                let id = if let Record::Traced(id, ..) = &taken { Some(*id) } else { None };
                match taken {
                    // Also where it is void: what follows may not name it again.
                    Record::Handler { number, version, name } => {
                        drop(handlers.insert(number, (name.to_owned(), version)))
                    }
                    Record::Change { state, key, change, expiry_ms } if wanted => {
                        each(Redo::Change { state, key, change, expiry_ms }, end)?;
                    }
                    // Also where it is void: nothing of what it undid was staged.
                    Record::Rollback(rollback) if end <= self.to => each(Redo::Rollback(&rollback), end)?,
                    Record::Event(event) | Record::Traced(_, event, _) if wanted => {
                        let unnamed =
                            || Error::Background("an event in the changelog whose handler isn't named".into());
                        let (name, version) = handlers.get(&event.handler).ok_or_else(unnamed)?;
                        each(Redo::Event { handler: name, version: *version, id, event }, end)?;
                    }
                    _ => {}
                }
                Ok(end < self.to)
            },
        )
    }
}
