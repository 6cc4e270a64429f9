//! A hot list's bytes: chunks of records, a table of the chunks, a trailer. `docs/format.md` has the layout.
//!
//! Pure: bytes to structs and back; no I/O, no clock, no panic on any input.

use super::TIERS;
use crate::checksum::checksum;
use crate::codec::{DecodeError, Reader, push_varint};

/// What a trailer begins with.
pub const MAGIC: [u8; 8] = *b"ALVHOTLS";
/// The version of the format.
pub const VERSION: u32 = 1;
/// The length of a trailer.
pub const TRAILER_BYTES: usize = 64;
/// The length of a chunk's entry in the table.
pub const CHUNK_ENTRY_BYTES: usize = 56;
/// The longest chunk, in bytes: one record may be longer than the rest together.
pub const CHUNK_BYTES_MAX: u32 = 1 << 20;
/// The most chunks.
pub const CHUNKS_MAX: u32 = 1 << 20;
const SUMMED_BYTES: usize = TRAILER_BYTES - 8;

const HAS_VALUE: u8 = 1;
const HAS_EXPIRY: u8 = 2;

/// The stack that values were found in: the digest of its layers, and how many there are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Stack {
    /// How many layers.
    pub layers: u32,
    /// Of all that says what they hold.
    pub digest: u128,
}

/// What the table says of a chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// Where it begins in the file.
    pub offset: u64,
    /// Its length.
    pub bytes: u32,
    /// How many records it has.
    pub records: u32,
    /// The first of their key groups.
    pub first: u16,
    /// The last of them.
    pub last: u16,
    /// How hot they are; see [`TIERS`].
    pub tier: u8,
    /// Where its values were found.
    pub stack: Stack,
    /// Of its bytes.
    pub checksum: u64,
}

/// A record of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// Where it lies, in the numbering of the store that wrote the list.
    pub sort_key: &'a [u8],
    /// Its value: [`None`] where it was not on disk, or lies there in parts.
    pub value: Option<&'a [u8]>,
    /// When that expires, in ms.
    pub expiry_ms: Option<u64>,
    /// The epoch of its last change; 0 without a value.
    pub epoch: u32,
}

impl<'a> Entry<'a> {
    /// Appends it to a chunk.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let flag = |is_there: bool, flag| if is_there { flag } else { 0 };
        out.push(flag(self.value.is_some(), HAS_VALUE) | flag(self.expiry_ms.is_some(), HAS_EXPIRY));
        push_varint(out, self.sort_key.len() as u64);
        out.extend_from_slice(self.sort_key);
        let Some(value) = self.value else { return };
        push_varint(out, u64::from(self.epoch));
        if let Some(at) = self.expiry_ms {
            out.extend_from_slice(&at.to_le_bytes());
        }
        push_varint(out, value.len() as u64);
        out.extend_from_slice(value);
    }

    /// The next one of a chunk.
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let flags = reader.u8()?;
        if flags & !(HAS_VALUE | HAS_EXPIRY) != 0 || flags == HAS_EXPIRY {
            return Err(reader.error("unknown flags"));
        }
        let sort_key = prefixed(reader)?;
        if flags & HAS_VALUE == 0 {
            return Ok(Self { sort_key, value: None, expiry_ms: None, epoch: 0 });
        }
        let epoch = u32::try_from(reader.varint()?).map_err(|_| reader.error("an epoch beyond all"))?;
        let expiry_ms = if flags & HAS_EXPIRY != 0 { Some(reader.u64()?) } else { None };
        Ok(Self { sort_key, value: Some(prefixed(reader)?), expiry_ms, epoch })
    }
}

fn prefixed<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    let len = usize::try_from(reader.varint()?).map_err(|_| reader.error("a length beyond all"))?;
    reader.bytes(len)
}

/// The records of a chunk, as its entry in the table describes it.
pub fn entries<'a>(chunk: &Chunk, bytes: &'a [u8]) -> Result<Vec<Entry<'a>>, DecodeError> {
    if bytes.len() != chunk.bytes as usize || checksum(bytes) != chunk.checksum {
        return Err(DecodeError::new(0, "not the bytes that the table says"));
    }
    let mut reader = Reader::new(bytes);
    // As many as there can be: a record takes two bytes at least.
    let mut entries = Vec::with_capacity((chunk.records as usize).min(bytes.len() / 2));
    while reader.remaining() > 0 {
        entries.push(Entry::decode(&mut reader)?);
    }
    if entries.len() != chunk.records as usize {
        return Err(reader.error("not as many records as the table says"));
    }
    Ok(entries)
}

/// What a trailer says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trailer {
    /// The store's identity.
    pub store: u128,
    /// How many chunks.
    pub chunks: u32,
    /// Where their table begins.
    pub table_at: u64,
    /// Of the table's bytes.
    pub table_checksum: u64,
}

impl Trailer {
    /// Its bytes.
    pub fn encode(&self) -> [u8; TRAILER_BYTES] {
        let mut out = Vec::with_capacity(TRAILER_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.chunks.to_le_bytes());
        out.extend_from_slice(&self.store.to_le_bytes());
        out.extend_from_slice(&self.table_at.to_le_bytes());
        out.extend_from_slice(&self.table_checksum.to_le_bytes());
        out.extend_from_slice(&[0; 8]);
        let sum = checksum(&out);
        out.extend_from_slice(&sum.to_le_bytes());
        let mut bytes = [0; TRAILER_BYTES];
        bytes.copy_from_slice(&out);
        bytes
    }

    /// The trailer of a file of so many bytes, whose end `bytes` is.
    pub fn decode(bytes: &[u8], file_bytes: u64) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.array()? != MAGIC {
            return Err(DecodeError::new(0, "no hot list"));
        }
        let version = reader.u32()?;
        let (chunks, store) = (reader.u32()?, u128::from_le_bytes(reader.array()?));
        let (table_at, table_checksum) = (reader.u64()?, reader.u64()?);
        let zeros: [u8; 8] = reader.array()?;
        let sum = reader.u64()?;
        if reader.remaining() > 0 || bytes.get(..SUMMED_BYTES).map(checksum) != Some(sum) {
            return Err(reader.error("a trailer that is damaged"));
        }
        if version != VERSION || zeros != [0; 8] {
            return Err(DecodeError::new(8, "a list of another version"));
        }
        let table_bytes = u64::from(chunks) * CHUNK_ENTRY_BYTES as u64 + TRAILER_BYTES as u64;
        if chunks > CHUNKS_MAX || table_at.checked_add(table_bytes) != Some(file_bytes) {
            return Err(DecodeError::new(12, "a table that doesn't fit the file"));
        }
        Ok(Self { store, chunks, table_at, table_checksum })
    }
}

/// Appends a chunk's entry to the table.
pub fn push_chunk(out: &mut Vec<u8>, chunk: &Chunk) {
    out.extend_from_slice(&chunk.offset.to_le_bytes());
    out.extend_from_slice(&chunk.bytes.to_le_bytes());
    out.extend_from_slice(&chunk.records.to_le_bytes());
    out.extend_from_slice(&chunk.first.to_le_bytes());
    out.extend_from_slice(&chunk.last.to_le_bytes());
    out.extend_from_slice(&[chunk.tier, 0, 0, 0]);
    out.extend_from_slice(&chunk.stack.layers.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&chunk.stack.digest.to_le_bytes());
    out.extend_from_slice(&chunk.checksum.to_le_bytes());
}

/// The chunks of a table, which lies where the trailer says.
pub fn table(trailer: &Trailer, bytes: &[u8]) -> Result<Vec<Chunk>, DecodeError> {
    if checksum(bytes) != trailer.table_checksum {
        return Err(DecodeError::new(0, "a table that is damaged"));
    }
    let mut reader = Reader::new(bytes);
    let mut chunks = Vec::with_capacity(bytes.len() / CHUNK_ENTRY_BYTES);
    while reader.remaining() > 0 {
        let (offset, bytes, records) = (reader.u64()?, reader.u32()?, reader.u32()?);
        let (first, last) = (reader.u16()?, reader.u16()?);
        let [tier, zeros @ ..]: [u8; 4] = reader.array()?;
        let layers = reader.u32()?;
        let more_zeros: [u8; 4] = reader.array()?;
        let stack = Stack { layers, digest: u128::from_le_bytes(reader.array()?) };
        let chunk = Chunk { offset, bytes, records, first, last, tier, stack, checksum: reader.u64()? };
        let is_inside = offset.checked_add(u64::from(bytes)).is_some_and(|end| end <= trailer.table_at);
        let is_sound = is_inside && bytes <= CHUNK_BYTES_MAX && usize::from(tier) < TIERS && first <= last;
        if !is_sound || zeros != [0; 3] || more_zeros != [0; 4] {
            return Err(reader.error("a chunk that can't be"));
        }
        chunks.push(chunk);
    }
    if chunks.len() != trailer.chunks as usize {
        return Err(reader.error("not as many chunks as the trailer says"));
    }
    Ok(chunks)
}
