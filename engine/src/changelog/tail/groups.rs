//! A tail block by block, for those who want the changes of some key groups alone.

use super::{Tail, TailFile};
use crate::changelog::files::damaged;
use crate::changelog::format::{BLOCK_HEADER_BYTES, BlockHeader};
use crate::changelog::record::{self, Change, Record};
use crate::codec::Reader;
use crate::error::{Error, Result};
use crate::ids::{KeyGroup, StateId};
use crate::key::Key;
use crate::platform::storage::Buffer;

/// A place in a tail, in front of a block.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    file: usize,
    block: usize,
}

/// A block of a tail.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    file: &'a TailFile,
    at: u64,
    header: BlockHeader,
    /// The position behind what of it belongs to the tail.
    end: u64,
}

/// A change that was logged.
#[derive(Clone, Copy, Debug)]
pub struct Logged<'a> {
    /// The position of its record.
    pub begin: u64,
    /// The state.
    pub state: StateId,
    /// Where in it.
    pub key: Key<'a>,
    /// What became of it.
    pub change: Change<'a>,
    /// When it expires, in ms.
    pub expiry_ms: Option<u64>,
}

impl Tail {
    /// Whether its changes can be replayed key group by key group: nothing in it is of several, and no code of the host is needed that may
    /// take long.
    pub const fn is_by_group(&self) -> bool {
        self.handlers.is_empty() && self.rollbacks.is_empty() && self.voids.is_empty()
    }

    /// The next block that has anything behind the position `from`, and moves the place behind it; `None` at the end.
    pub fn next_block(&self, place: &mut Place, from: u64) -> Option<Block<'_>> {
        while let Some(file) = self.files.get(place.file) {
            let limit = self.files.get(place.file + 1).map_or(self.to, |next| next.header.first.min(self.to));
            let Some((at, header)) = file.blocks.get(place.block) else {
                *place = Place { file: place.file + 1, block: 0 };
                continue;
            };
            place.block += 1;
            let end = header.end().min(limit);
            if header.position < end && end > from {
                return Some(Block { file, at: *at, header: *header, end });
            }
        }
        None
    }
}

impl Block<'_> {
    /// The position of its first byte.
    pub const fn position(&self) -> u64 {
        self.header.position
    }

    /// The position behind what of it belongs to the tail.
    pub const fn end(&self) -> u64 {
        self.end
    }

    /// Its records. Fails where they are damaged.
    pub fn read(&self) -> Result<Buffer> {
        self.file.checked_payload(self.at, &self.header)
    }

    /// Gathers the changes that are wanted, by key group and position; what is left out is hardly looked at.
    pub fn changes<'p>(
        &self,
        payload: &'p [u8],
        wanted: impl Fn(KeyGroup, u64) -> bool,
        out: &mut Vec<Logged<'p>>,
    ) -> Result<()> {
        let mut at = 0;
        while at < payload.len() {
            let begin = self.position() + at as u64;
            if begin >= self.end {
                break;
            }
            if let Some((group, len)) = record::short_change(&payload[at..])
                && !wanted(group, begin)
            {
                at += len;
                continue;
            }
            let mut reader = Reader::new(&payload[at..]);
            let taken = record::take(&mut reader).map_err(|error| self.damaged(at + error.at, error.problem))?;
            if let Record::Change { state, key, change, expiry_ms } = taken
                && wanted(key.group, begin)
            {
                out.push(Logged { begin, state, key, change, expiry_ms });
            }
            at += reader.at();
        }
        Ok(())
    }

    fn damaged(&self, at: usize, problem: &'static str) -> Error {
        damaged(self.file.file.path(), self.at + (BLOCK_HEADER_BYTES + at) as u64, problem)
    }
}
