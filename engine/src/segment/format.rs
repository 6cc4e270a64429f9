//! The segment file: superblocks, metadata layout and [`SegmentMeta`]; pure, bytes to struct and back.
//!
//! All numbers are little-endian. The file is written front to back, so what is known only at the end stands there:
//!
//! ```text
//! opening page       4,096  superblock (128), then zeros
//! data section              blocks, each at a multiple of 64, zeros between them (block.rs)
//! metadata                  at a multiple of 64, filter first:
//!   filter           64 x filter_blocks     (filter.rs)
//!   block table       8 x blocks            offset / 64 u32 | length / 64 u32; then zeros to a multiple of 64
//!   index            index_bytes            nodes (index.rs)
//!   directory        64 x directory_entries (DirectoryEntry)
//! page checksums      8 x ceil(metadata / 16,384)   one for each 16 KiB of metadata, counted from its start
//! meta record               SegmentMeta, encoded
//! closing superblock   128
//! ```
//!
//! Superblock, 128 bytes, the same in every version but for bytes 16 to 119:
//!
//! ```text
//!   0  magic        8   "ALVSEGMT"          56  file_bytes     u64  (closing; else 0)
//!   8  version      u32                     64  meta.offset    u64  (closing; else 0)
//!  12  role         u32 0 opening,          72  meta.len       u64  (closing; else 0)
//!                       1 closing           80  meta.checksum  u64  (closing; else 0)
//!  16  id           u128                    88  zeros          32
//!  32  hash_seed    u64                    120  checksum       u64  of bytes 0 to 119
//!  40  epoch_low    u32
//!  44  epoch_high   u32
//!  48  level        u8
//!  49  zeros        7
//! ```
//!
//! Every byte is under a checksum or known to be zero: superblocks carry their own; each block carries one, bound to
//! the file's id and its offset; metadata has one per page; `metadata.checksum` in the meta record covers the page
//! checksums; the closing superblock (and any manifest that names the segment) covers the meta record.

use crate::checksum::checksum;
use crate::codec::{DecodeError, Reader, push_prefixed, u32_at};
use crate::ids::{Epoch, KeyGroupRange, SegmentId};
use crate::key::{KEY_BYTES_MAX, SortKey, USER_KEY_BYTES_MAX, VALUE_BYTES_MAX, group_of};
use crate::platform::storage::Fault;

/// The format version that this program writes, and the newest that it reads.
pub const VERSION: u32 = 1;
/// The first bytes of each superblock.
pub const MAGIC: [u8; 8] = *b"ALVSEGMT";
/// The length of a superblock.
pub const SUPERBLOCK_BYTES: usize = 128;
/// The longest file that there can be, in bytes (1 TiB); what is said of longer ones is wrong, and nobody takes memory for it.
pub const FILE_BYTES_MAX: u64 = 1 << 40;
/// A disk page: the opening page's length, and what blocks are aligned to where it saves reads.
pub const PAGE_BYTES: u64 = 4096;
/// What offsets and lengths of blocks, and the sections of the metadata, are multiples of.
pub const UNIT_BYTES: u64 = 64;
/// The stretch of metadata under one checksum.
pub const METADATA_PAGE_BYTES: u64 = 16 << 10;
/// An entry of the block table.
pub const TABLE_ENTRY_BYTES: u64 = 8;
/// An entry of the directory.
pub const DIRECTORY_ENTRY_BYTES: usize = 64;
/// The longest sort key: group, state, two lengths, key and namespace, mark, user key.
pub const SORT_KEY_BYTES_MAX: usize = 4 + 3 + 3 + KEY_BYTES_MAX + 1 + USER_KEY_BYTES_MAX;
/// The longest block: one record of the greatest size, with all that is around it.
pub const BLOCK_BYTES_MAX: u64 = (VALUE_BYTES_MAX + SORT_KEY_BYTES_MAX + 8192) as u64;
/// The longest encoded [`SegmentMeta`].
pub const META_BYTES_MAX: usize = META_FIXED_BYTES + 2 * SORT_KEY_BYTES_MAX;
/// An encoded [`SegmentMeta`] without its two keys.
const META_FIXED_BYTES: usize = 4 + 16 + 8 + 4 + 4 + 8 + 4 + 4 + 5 * 8 + 2 * 8 + 4 * 4 + 3 * 8 + 3 * 8 + 2 * 4;

/// Part of a file, and the checksum that covers it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Section {
    /// Where it starts, in bytes from the start of the file.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u64,
    /// The checksum; of what, says the field that holds the section.
    pub checksum: u64,
}

impl Section {
    fn encode(&self, out: &mut Vec<u8>) {
        for word in [self.offset, self.len, self.checksum] {
            out.extend_from_slice(&word.to_le_bytes());
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { offset: reader.u64()?, len: reader.u64()?, checksum: reader.u64()? })
    }

    /// The first byte behind it; `None` where that can't be counted.
    pub fn end(&self) -> Option<u64> {
        self.offset.checked_add(self.len)
    }
}

/// Either end of a segment file: what it is, and (at its end) where the meta record lies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Superblock {
    /// The segment's identity.
    pub id: SegmentId,
    /// The seed of the segment's key hashes.
    pub hash_seed: u64,
    /// The first and last epoch of the records.
    pub epochs: (Epoch, Epoch),
    /// The level the segment was written for.
    pub level: u8,
    /// In a closing superblock only: the file's length and the meta record with its checksum.
    pub closing: Option<(u64, Section)>,
}

impl Superblock {
    /// The 128 bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SUPERBLOCK_BYTES);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&u32::from(self.closing.is_some()).to_le_bytes());
        out.extend_from_slice(&self.id.0.to_le_bytes());
        out.extend_from_slice(&self.hash_seed.to_le_bytes());
        out.extend_from_slice(&self.epochs.0.0.to_le_bytes());
        out.extend_from_slice(&self.epochs.1.0.to_le_bytes());
        out.extend_from_slice(&[self.level, 0, 0, 0, 0, 0, 0, 0]);
        let (file_bytes, meta) = self.closing.unwrap_or_default();
        out.extend_from_slice(&file_bytes.to_le_bytes());
        meta.encode(&mut out);
        out.resize(SUPERBLOCK_BYTES - 8, 0);
        out.extend_from_slice(&checksum(&out).to_le_bytes());
        out
    }

    /// Takes the bytes apart: [`Fault::Foreign`] without the magic, [`Fault::NewerVersion`] where intact but too new,
    /// else [`Fault::Corrupt`].
    pub fn decode(bytes: &[u8]) -> Result<Self, (Fault, DecodeError)> {
        let corrupt = |at, problem| (Fault::Corrupt, DecodeError::new(at, problem));
        let Some(bytes) = bytes.first_chunk::<SUPERBLOCK_BYTES>() else {
            return Err((Fault::Length, DecodeError::new(bytes.len(), "shorter than a superblock")));
        };
        if !bytes.starts_with(&MAGIC) {
            return Err((Fault::Foreign, DecodeError::new(0, "not a segment: wrong magic")));
        }
        let (head, sum) = bytes.split_at(SUPERBLOCK_BYTES - 8);
        if sum != checksum(head).to_le_bytes() {
            return Err(corrupt(SUPERBLOCK_BYTES - 8, "the superblock's checksum differs"));
        }
        match u32_at(head, 8) {
            Some(VERSION) => Self::decode_fields(head).map_err(|error| (Fault::Corrupt, error)),
            Some(0) | None => Err(corrupt(8, "there is no version 0")),
            Some(_) => Err((Fault::NewerVersion, DecodeError::new(8, "written in a newer format version"))),
        }
    }

    fn decode_fields(head: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(head);
        reader.bytes(12)?;
        let role = reader.u32()?;
        let id = SegmentId(reader.u128()?);
        let hash_seed = reader.u64()?;
        let epochs = (Epoch(reader.u32()?), Epoch(reader.u32()?));
        let level = reader.u8()?;
        zeros(&mut reader, 7)?;
        let file_bytes = reader.u64()?;
        let meta = Section::decode(&mut reader)?;
        zeros(&mut reader, 32)?;
        reader.finish()?;
        let closing = match role {
            0 if (file_bytes, meta) == (0, Section::default()) => None,
            1 => Some((file_bytes, meta)),
            _ => return Err(DecodeError::new(12, "neither an opening nor a closing superblock")),
        };
        Ok(Self { id, hash_seed, epochs, level, closing })
    }
}

fn zeros(reader: &mut Reader<'_>, len: usize) -> Result<(), DecodeError> {
    let error = reader.error("reserved bytes are not zero");
    if reader.bytes(len)?.iter().all(|&byte| byte == 0) { Ok(()) } else { Err(error) }
}

/// All that a store keeps about a segment: manifests carry it, and the segment's own end does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentMeta {
    /// The segment's identity, which names its file.
    pub id: SegmentId,
    /// The file's length.
    pub file_bytes: u64,
    /// The first epoch of the records.
    pub epoch_low: Epoch,
    /// The last epoch of the records.
    pub epoch_high: Epoch,
    /// The seed of the key hashes that the filter is keyed by.
    pub hash_seed: u64,
    /// What wrote it: 0 a flush, 1 a merge of runs, 2 a merge into the bottom.
    pub level: u8,
    /// The key groups from the first record's to the last record's.
    pub groups: KeyGroupRange,
    /// How many records.
    pub entries: u64,
    /// How many of them are tombstones ([`Kind::Delete`](super::Kind::Delete) and [`Kind::Clear`](super::Kind::Clear)).
    pub tombstones: u64,
    /// How many of them are [`Kind::Clear`](super::Kind::Clear).
    pub clears: u64,
    /// How many of them expire; tombstones never do.
    pub expiring: u64,
    /// The bytes of keys, namespaces, user keys and values alone.
    pub logical_bytes: u64,
    /// The earliest expiry; `None` where nothing expires.
    pub expiry_min_ms: Option<u64>,
    /// The last expiry, where every record that is not a tombstone expires: later, the file holds no value. Else `None`.
    pub expiry_max_ms: Option<u64>,
    /// How many blocks.
    pub blocks: u32,
    /// How many (key group, state) pairs there are.
    pub directory_entries: u32,
    /// How many blocks of 64 bytes the filter has.
    pub filter_blocks: u32,
    /// How many keys are in the filter: one for each record, and one for each map container that has entries.
    pub filter_keys: u64,
    /// The length of the index nodes.
    pub index_bytes: u64,
    /// Where in the index the root node starts.
    pub index_root: u64,
    /// The metadata; the checksum is that of its page checksums, which follow it in the file.
    pub metadata: Section,
    /// The first sort key.
    pub first_key: Vec<u8>,
    /// The last sort key.
    pub last_key: Vec<u8>,
}

const HAS_EXPIRY_MIN: u8 = 1;
const HAS_EXPIRY_MAX: u8 = 2;

impl SegmentMeta {
    /// How many bytes [`SegmentMeta::encode`] appends.
    pub fn encoded_bytes(&self) -> usize {
        META_FIXED_BYTES + self.first_key.len() + self.last_key.len()
    }

    /// Appends the bytes, in the order of this function; lengths of keys take 4 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.id.0.to_le_bytes());
        out.extend_from_slice(&self.file_bytes.to_le_bytes());
        out.extend_from_slice(&self.epoch_low.0.to_le_bytes());
        out.extend_from_slice(&self.epoch_high.0.to_le_bytes());
        out.extend_from_slice(&self.hash_seed.to_le_bytes());
        let has_min = if self.expiry_min_ms.is_some() { HAS_EXPIRY_MIN } else { 0 };
        let has_max = if self.expiry_max_ms.is_some() { HAS_EXPIRY_MAX } else { 0 };
        out.extend_from_slice(&[self.level, has_min | has_max, 0, 0]);
        out.extend_from_slice(&self.groups.first().to_le_bytes());
        out.extend_from_slice(&self.groups.last().to_le_bytes());
        for word in [self.entries, self.tombstones, self.clears, self.expiring, self.logical_bytes] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        for word in [self.expiry_min_ms, self.expiry_max_ms] {
            out.extend_from_slice(&word.unwrap_or(0).to_le_bytes());
        }
        for word in [self.blocks, self.directory_entries, self.filter_blocks, 0] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        for word in [self.filter_keys, self.index_bytes, self.index_root] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        self.metadata.encode(out);
        push_prefixed(out, &self.first_key);
        push_prefixed(out, &self.last_key);
        debug_assert_eq!(out.len() - start, self.encoded_bytes());
    }

    /// Takes the next encoded record from `reader`; the record has been checked for consistency then.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let start = reader.at();
        if reader.u32()? != VERSION {
            return Err(DecodeError::new(start, "a segment of another format version"));
        }
        let id = SegmentId(reader.u128()?);
        let file_bytes = reader.u64()?;
        let (epoch_low, epoch_high) = (Epoch(reader.u32()?), Epoch(reader.u32()?));
        let hash_seed = reader.u64()?;
        let level = reader.u8()?;
        let flags = reader.u8()?;
        zeros(reader, 2)?;
        let (first_group, last_group) = (reader.u16()?, reader.u16()?);
        let (entries, tombstones, clears) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let (expiring, logical_bytes) = (reader.u64()?, reader.u64()?);
        let expiry_min_ms = optional(reader, flags & HAS_EXPIRY_MIN != 0)?;
        let expiry_max_ms = optional(reader, flags & HAS_EXPIRY_MAX != 0)?;
        let (blocks, directory_entries, filter_blocks) = (reader.u32()?, reader.u32()?, reader.u32()?);
        zeros(reader, 4)?;
        let (filter_keys, index_bytes, index_root) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let metadata = Section::decode(reader)?;
        let first_key = reader.prefixed(SORT_KEY_BYTES_MAX)?.to_vec();
        let last_key = reader.prefixed(SORT_KEY_BYTES_MAX)?.to_vec();
        let groups = KeyGroupRange::new(first_group, last_group);
        let meta = Self {
            id,
            file_bytes,
            epoch_low,
            epoch_high,
            hash_seed,
            level,
            groups,
            entries,
            tombstones,
            clears,
            expiring,
            logical_bytes,
            expiry_min_ms,
            expiry_max_ms,
            blocks,
            directory_entries,
            filter_blocks,
            filter_keys,
            index_bytes,
            index_root,
            metadata,
            first_key,
            last_key,
        };
        let known = flags & !(HAS_EXPIRY_MIN | HAS_EXPIRY_MAX) == 0;
        let consistent = known && first_group <= last_group && meta.is_consistent() && meta.layout().is_some();
        if consistent {
            Ok(meta)
        } else {
            Err(DecodeError::new(start, "the fields of a segment contradict each other"))
        }
    }

    /// For how many keys another filter is to have room that takes all of this one's; they may be said to be more than any file has.
    pub fn keys_to_hold(&self) -> u64 {
        self.filter_keys.min(u64::from(self.filter_blocks) * UNIT_BYTES * 8)
    }

    /// Whether counts, keys and expiries agree with each other.
    fn is_consistent(&self) -> bool {
        let values = self.entries.checked_sub(self.tombstones);
        let all_expire = self.expiring > 0 && values == Some(self.expiring);
        let keys = group_of(&self.first_key).zip(group_of(&self.last_key));
        self.epoch_low <= self.epoch_high
            && self.clears <= self.tombstones
            && values.is_some_and(|values| self.expiring <= values)
            && self.entries >= u64::from(self.blocks)
            && self.entries <= self.filter_keys
            && self.directory_entries > 0
            && self.expiry_min_ms.is_some() == (self.expiring > 0)
            && self.expiry_max_ms.is_some() == all_expire
            && (self.expiry_max_ms.is_none() || self.expiry_min_ms <= self.expiry_max_ms)
            && self.first_key <= self.last_key
            && keys.is_some_and(|(first, last)| self.groups == KeyGroupRange::new(first.0, last.0))
            && SortKey::decode(&self.first_key).is_some()
            && SortKey::decode(&self.last_key).is_some()
    }

    /// Where everything lies; `None` where the fields don't add up to the file's length.
    pub(super) fn layout(&self) -> Option<Layout> {
        let section = self.metadata;
        let filter_bytes = u64::from(self.filter_blocks) * UNIT_BYTES;
        let table_bytes = u64::from(self.blocks) * TABLE_ENTRY_BYTES;
        let index = filter_bytes + table_bytes.next_multiple_of(UNIT_BYTES);
        let directory = index.checked_add(self.index_bytes)?;
        let directory_bytes = u64::from(self.directory_entries) * DIRECTORY_ENTRY_BYTES as u64;
        let len = directory.checked_add(directory_bytes)?;
        let pages = len.div_ceil(METADATA_PAGE_BYTES);
        let pages_end = section.end()?.checked_add(pages * 8)?;
        let meta_len = self.encoded_bytes() as u64;
        let closing = pages_end.checked_add(meta_len)?;
        let fits = self.file_bytes <= FILE_BYTES_MAX
            && section.len == len
            && section.offset.is_multiple_of(UNIT_BYTES)
            && section.offset >= PAGE_BYTES + UNIT_BYTES
            && self.blocks > 0
            && self.index_bytes.is_multiple_of(UNIT_BYTES)
            && self.index_root < self.index_bytes
            && self.index_root.is_multiple_of(UNIT_BYTES)
            && closing.checked_add(SUPERBLOCK_BYTES as u64)? == self.file_bytes;
        fits.then_some(Layout { table: filter_bytes, index, directory, pages, meta_record: pages_end, closing })
    }
}

fn optional(reader: &mut Reader<'_>, present: bool) -> Result<Option<u64>, DecodeError> {
    let error = reader.error("a field that is absent is not zero");
    match (reader.u64()?, present) {
        (value, true) => Ok(Some(value)),
        (0, false) => Ok(None),
        _ => Err(error),
    }
}

/// Where the parts of a segment's end lie: the first three count from the start of the metadata, where the filter is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Layout {
    /// The block table.
    pub table: u64,
    /// The index nodes.
    pub index: u64,
    /// The directory.
    pub directory: u64,
    /// How many pages of metadata, and so page checksums, there are.
    pub pages: u64,
    /// The meta record, from the start of the file.
    pub meta_record: u64,
    /// The closing superblock, from the start of the file.
    pub closing: u64,
}

/// What a segment holds of one (key group, state); the directory lists them in ascending order.
///
/// 64 bytes: `group u16 | state u16 | zero u32`, then seven `u64` in the order of the fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DirectoryEntry {
    /// The key group.
    pub group: u16,
    /// The state, in the numbering of the store that wrote the segment.
    pub state: u16,
    /// How many records.
    pub entries: u64,
    /// How many of them are tombstones, clears included.
    pub tombstones: u64,
    /// How many of them are clears.
    pub clears: u64,
    /// How many of them expire.
    pub expiring: u64,
    /// The bytes of keys, namespaces, user keys and values alone.
    pub logical_bytes: u64,
    /// The earliest expiry; 0 where nothing expires.
    pub expiry_min_ms: u64,
    /// The last expiry of those that expire; 0 where nothing does.
    pub expiry_max_ms: u64,
}

impl DirectoryEntry {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.group.to_le_bytes());
        out.extend_from_slice(&self.state.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        let counts = [self.entries, self.tombstones, self.clears, self.expiring, self.logical_bytes];
        for word in counts.into_iter().chain([self.expiry_min_ms, self.expiry_max_ms]) {
            out.extend_from_slice(&word.to_le_bytes());
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let (group, state) = (reader.u16()?, reader.u16()?);
        zeros(&mut reader, 4)?;
        let entry = Self {
            group,
            state,
            entries: reader.u64()?,
            tombstones: reader.u64()?,
            clears: reader.u64()?,
            expiring: reader.u64()?,
            logical_bytes: reader.u64()?,
            expiry_min_ms: reader.u64()?,
            expiry_max_ms: reader.u64()?,
        };
        reader.finish()?;
        Ok(entry)
    }
}

const _: () = assert!(DIRECTORY_ENTRY_BYTES == 8 + 7 * 8);
const _: () = assert!(BLOCK_BYTES_MAX < u32::MAX as u64 && METADATA_PAGE_BYTES.is_multiple_of(UNIT_BYTES));
