//! The bytes of a changelog's files.
//!
//! ```text
//! page 0    the file's header, zeros behind it
//! pages     blocks: a header of 64 bytes, a payload of records, zeros up to the next page border
//! rest      zeros, or whatever the room had in it before
//! ```
//!
//! All numbers are little-endian; `docs/format.md` gives every field. The checksums of blocks are bound to the file by a number that is
//! drawn when it is made, and to the place in it. Pure: no I/O, no clock, and no panic on any input.

use super::files::FileAt;
use crate::checksum;
use crate::codec::{u32_at, u64_at};
use crate::ids::POSITION_END;
use crate::platform::storage::ALIGNMENT;

/// The first bytes of every file.
pub const MAGIC: [u8; 8] = *b"ALVCHLOG";
/// The format version that this program writes, and the newest that it reads.
pub const VERSION: u32 = 1;
/// The length of a file's header, in bytes; it has a page for itself.
pub const FILE_HEADER_BYTES: usize = 72;
/// Blocks begin at multiples of this.
pub const PAGE_BYTES: usize = ALIGNMENT;
/// The length of a block's header, in bytes.
pub const BLOCK_HEADER_BYTES: usize = 64;
/// The longest payload of a block, in bytes: the longest value, with all that may stand before it in a writer's buffer.
pub const PAYLOAD_BYTES_MAX: usize = (1 << 30) + (1 << 29);
/// How long a payload is made where there is more, about, in bytes. Many are written together; one is what is read to find an event.
pub const BLOCK_BYTES: usize = 256 << 10;

/// The same where it has traced events: two parts of the index. One event is read to be taken back, within a millisecond, and the block is checked as a whole.
pub const TRACED_BLOCK_BYTES: usize = 72 << 10;

const BLOCK_MAGIC: [u8; 4] = *b"ABLK";
/// Flags of a block.
const HAS_STATES: u32 = 1;
const HAS_ABORTS: u32 = 2;
const HAS_EVENTS: u32 = 4;

/// The header of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileHeader {
    /// The store that it belongs to.
    pub store: u128,
    /// The number in its name.
    pub number: u64,
    /// The position of its first byte.
    pub first: u64,
    /// Where what was written before ends: at `first`, unless the store was opened at a checkpoint that is newer, or that its caller chose.
    /// There is nothing in between.
    pub before: u64,
    /// What its blocks' checksums are bound to; drawn for each file.
    pub nonce: u64,
}

/// Why a header isn't one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bad {
    /// Of another kind of file.
    Foreign,
    /// Of a later format version.
    Newer(u32),
    /// Damaged, or never written.
    Damaged,
}

impl FileHeader {
    /// Where the file stands in the stream.
    pub const fn place(&self) -> FileAt {
        FileAt { number: self.number, first: self.first, before: self.before }
    }

    /// The header's bytes.
    pub fn encode(&self) -> [u8; FILE_HEADER_BYTES] {
        let mut out = [0; FILE_HEADER_BYTES];
        out[..8].copy_from_slice(&MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[16..32].copy_from_slice(&self.store.to_le_bytes());
        out[32..40].copy_from_slice(&self.number.to_le_bytes());
        out[40..48].copy_from_slice(&self.first.to_le_bytes());
        out[48..56].copy_from_slice(&self.nonce.to_le_bytes());
        out[56..64].copy_from_slice(&self.before.to_le_bytes());
        let sum = checksum::checksum(&out[..64]);
        out[64..].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// Reads what [`FileHeader::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, Bad> {
        let Some(bytes) = bytes.first_chunk::<FILE_HEADER_BYTES>() else { return Err(Bad::Damaged) };
        if bytes[..8] != MAGIC {
            return Err(if bytes.iter().all(|byte| *byte == 0) { Bad::Damaged } else { Bad::Foreign });
        }
        if checksum::checksum(&bytes[..64]).to_le_bytes() != bytes[64..] {
            return Err(Bad::Damaged);
        }
        let word = |at| u64_at(bytes, at).ok_or(Bad::Damaged);
        match u32_at(bytes, 8) {
            Some(VERSION) => {}
            Some(version) if version > VERSION => return Err(Bad::Newer(version)),
            _ => return Err(Bad::Damaged),
        }
        if u32_at(bytes, 12) != Some(0) {
            return Err(Bad::Damaged);
        }
        let store = u128::from(word(16)?) | u128::from(word(24)?) << 64;
        let header = Self { store, number: word(32)?, first: word(40)?, before: word(56)?, nonce: word(48)? };
        if header.before <= header.first && header.first < POSITION_END { Ok(header) } else { Err(Bad::Damaged) }
    }
}

/// The header of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BlockHeader {
    /// The length of its payload, in bytes.
    pub len: u32,
    /// The position of the payload's first byte.
    pub position: u64,
    /// Up to where the stream was durable when the block was made.
    pub durable: u64,
    /// Where in the payload its last commit ends; 0 where it has none.
    pub commit_end: u32,
    /// Whether the payload has registrations of states, or rollbacks.
    pub has_states: bool,
    /// Whether the payload has aborts.
    pub has_aborts: bool,
    /// Whether the payload has events.
    pub has_events: bool,
    /// The checksum of the payload, bound to the file and the block's place.
    pub payload_sum: u64,
}

impl BlockHeader {
    /// How many bytes the block takes in its file.
    pub const fn file_bytes(&self) -> u64 {
        ((BLOCK_HEADER_BYTES + self.len as usize).next_multiple_of(PAGE_BYTES)) as u64
    }

    /// The position behind it.
    pub const fn end(&self) -> u64 {
        self.position.saturating_add(self.len as u64)
    }

    /// The header's bytes, in a file of this nonce, `at` bytes from its start.
    pub fn encode(&self, nonce: u64, at: u64) -> [u8; BLOCK_HEADER_BYTES] {
        let mut out = [0; BLOCK_HEADER_BYTES];
        let flag = |has: bool, flag| if has { flag } else { 0 };
        let flags =
            flag(self.has_states, HAS_STATES) | flag(self.has_aborts, HAS_ABORTS) | flag(self.has_events, HAS_EVENTS);
        out[..4].copy_from_slice(&BLOCK_MAGIC);
        out[4..8].copy_from_slice(&self.len.to_le_bytes());
        out[8..16].copy_from_slice(&self.position.to_le_bytes());
        out[16..24].copy_from_slice(&self.durable.to_le_bytes());
        out[24..28].copy_from_slice(&self.commit_end.to_le_bytes());
        out[28..32].copy_from_slice(&flags.to_le_bytes());
        out[32..40].copy_from_slice(&self.payload_sum.to_le_bytes());
        let sum = checksum::checksum(&out[..56]) ^ checksum::place(u128::from(nonce), at);
        out[56..].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// Reads what [`BlockHeader::encode`] wrote; `None` where there is no block of this file, or a damaged one.
    pub fn decode(bytes: &[u8], nonce: u64, at: u64) -> Option<Self> {
        let bytes = bytes.first_chunk::<BLOCK_HEADER_BYTES>()?;
        if bytes[..4] != BLOCK_MAGIC {
            return None;
        }
        let sum = checksum::checksum(&bytes[..56]) ^ checksum::place(u128::from(nonce), at);
        if sum != u64_at(bytes, 56)? {
            return None;
        }
        let flags = u32_at(bytes, 28)?;
        let header = Self {
            len: u32_at(bytes, 4)?,
            position: u64_at(bytes, 8)?,
            durable: u64_at(bytes, 16)?,
            commit_end: u32_at(bytes, 24)?,
            has_states: flags & HAS_STATES != 0,
            has_aborts: flags & HAS_ABORTS != 0,
            has_events: flags & HAS_EVENTS != 0,
            payload_sum: u64_at(bytes, 32)?,
        };
        let is_sound = header.len > 0
            && header.len as usize <= PAYLOAD_BYTES_MAX
            && header.commit_end <= header.len
            && header.durable <= header.position
            && header.position < POSITION_END
            && flags & !(HAS_STATES | HAS_ABORTS | HAS_EVENTS) == 0
            && bytes[40..56].iter().all(|byte| *byte == 0);
        is_sound.then_some(header)
    }
}

/// The checksum of a payload in a file of this nonce, of the block that begins `at` bytes from its start.
pub fn payload_sum(payload: &[u8], nonce: u64, at: u64) -> u64 {
    checksum::checksum(payload) ^ checksum::place(u128::from(nonce), at)
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn headers_are_read_back_and_no_flipped_bit_is_taken() {
        let file = FileHeader { store: u128::MAX - 5, number: 7, first: 1 << 40, before: 1 << 39, nonce: 99 };
        let bytes = file.encode();
        assert_eq!(FileHeader::decode(&bytes), Ok(file));
        let block = BlockHeader {
            len: 100,
            position: 1 << 41,
            durable: 1 << 40,
            commit_end: 60,
            has_states: true,
            has_aborts: false,
            has_events: true,
            payload_sum: 12,
        };
        let sealed = block.encode(99, 8192);
        assert_eq!(BlockHeader::decode(&sealed, 99, 8192), Some(block));
        assert_eq!(BlockHeader::decode(&sealed, 98, 8192), None, "another file's");
        assert_eq!(BlockHeader::decode(&sealed, 99, 4096), None, "in another place");
        for bit in 0..FILE_HEADER_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(FileHeader::decode(&flipped).is_err(), "bit {bit} of a file's header");
        }
        for bit in 0..BLOCK_HEADER_BYTES * 8 {
            let mut flipped = sealed;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(BlockHeader::decode(&flipped, 99, 8192), None, "bit {bit} of a block's header");
        }
        assert_eq!(FileHeader::decode(&bytes[..71]), Err(Bad::Damaged));
        assert_eq!(FileHeader::decode(&[0; 72]), Err(Bad::Damaged));
        assert_eq!(
            FileHeader::decode(b"something else that is as long as the header of a file would be, or longer!!"),
            Err(Bad::Foreign)
        );
    }

    #[test]
    fn a_newer_format_is_told_from_damage() {
        let mut bytes = FileHeader { store: 1, number: 1, first: 0, before: 0, nonce: 1 }.encode();
        bytes[8..12].copy_from_slice(&9_u32.to_le_bytes());
        let sum = checksum::checksum(&bytes[..64]);
        bytes[64..].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(FileHeader::decode(&bytes), Err(Bad::Newer(9)));
    }
}
