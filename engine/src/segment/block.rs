//! Blocks: a run of records that is read, checked and cached as one.
//!
//! A block as stored, its length a multiple of 64:
//!
//! ```text
//! payload            raw bytes, or their LZ4 block
//! zeros              pad bytes
//! trailer   16       count u16 | pad (12 bits) and codec (4 bits) u16 | raw length u32 | checksum u64
//! ```
//!
//! Codec 0 stores the raw bytes, codec 1 their LZ4 block (of at most 1 MiB of raw bytes). The checksum is that of
//! everything before it, `xor` the block's place (`checksum::place`: the file's id and the block's offset).
//! The raw bytes are the records in ascending order, then the offsets (u16) of every 16th of them, the *restarts*:
//!
//! ```text
//! head      u8       bits 0-1 kind, bit 2 expires, bits 3-7 the value's length, or 31 where `more` follows
//! shared    varint   how many bytes of the previous record's key begin this key; 0 at a restart
//! rest      varint   how many bytes of the key follow
//! more      varint   the value's length less 31
//! expiry    varint   milliseconds, where it expires
//! key rest, value
//! ```
//!
//! Invariant of a [`Block`]: all of the above was checked when it was decoded (checksum, bounds, restarts, count), so
//! lookups can't fail. That keys ascend is the writer's promise, and checked by `verify`.

use crate::checksum::checksum;
use crate::codec::{DecodeError, common_prefix, push_varint, u16_at, u32_at, u64_at, varint_at, varint_bytes};
use crate::key::VALUE_BYTES_MAX;
use crate::platform::safeguards::{Safeguard, stands};
use crate::platform::storage::Buffer;
use crate::spans::is_clear_value;

use super::format::{BLOCK_BYTES_MAX, SORT_KEY_BYTES_MAX, UNIT_BYTES};
use super::{Entry, Kind};

/// The bytes behind the payload.
pub(super) const TRAILER_BYTES: usize = 16;
/// The most raw bytes that are compressed as one block, and so the most that decoding one allocates.
pub(super) const COMPRESSED_RAW_BYTES_MAX: usize = 1 << 20;
/// Every this many records, one has its key whole.
const RESTART_INTERVAL: usize = 16;
const VALUE_BYTES_INLINE_MAX: usize = 30;
const VALUE_BYTES_FOLLOW: u8 = 31;
const HAS_EXPIRY: u8 = 4;

/// How the payload is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Codec {
    Raw = 0,
    Lz4 = 1,
}

/// Gathers records into the raw bytes of a block.
#[derive(Default)]
pub(super) struct BlockBuilder {
    bytes: Vec<u8>,
    restarts: Vec<u16>,
    count: usize,
}

impl BlockBuilder {
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn count(&self) -> usize {
        self.count
    }

    /// How many bytes the block takes with this record, trailer included. `shared`: bytes in common with the last key.
    pub fn bytes_with(&self, entry: &Entry<'_>, shared: usize) -> usize {
        let shared = if self.count.is_multiple_of(RESTART_INTERVAL) { 0 } else { shared };
        let restarts = self.count / RESTART_INTERVAL + 1;
        self.bytes.len() + record_bytes(entry, shared) + restarts * 2 + TRAILER_BYTES
    }

    /// How many bytes the block takes now, trailer included.
    pub fn bytes(&self) -> usize {
        self.bytes.len() + self.restarts.len() * 2 + TRAILER_BYTES
    }

    /// Whether another record can be told apart: counts and restart offsets are 16 bits wide.
    pub fn has_room(&self) -> bool {
        self.count < usize::from(u16::MAX) && self.bytes.len() <= usize::from(u16::MAX)
    }

    /// Appends a record. `shared` is at most what its key has in common with the last key added.
    pub fn add(&mut self, entry: &Entry<'_>, shared: usize) {
        debug_assert!(self.has_room());
        let shared = self.next_shared(shared);
        push_header(&mut self.bytes, entry, shared);
        self.bytes.extend_from_slice(&entry.sort_key[shared..]);
        self.bytes.extend_from_slice(entry.value);
        self.count += 1;
    }

    fn next_shared(&mut self, shared: usize) -> usize {
        if self.count.is_multiple_of(RESTART_INTERVAL) {
            self.restarts.push(self.bytes.len() as u16);
            0
        } else {
            shared
        }
    }

    /// The raw bytes; the builder is empty after [`BlockBuilder::clear`].
    pub fn raw(&mut self) -> &[u8] {
        self.restarts.drain(..).for_each(|restart| self.bytes.extend_from_slice(&restart.to_le_bytes()));
        &self.bytes
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.restarts.clear();
        self.count = 0;
    }
}

/// The bytes before and behind the value in the raw bytes of a block that holds `entry` alone.
pub(super) fn single_record(entry: &Entry<'_>) -> (Vec<u8>, [u8; 2]) {
    let mut front = Vec::with_capacity(32 + entry.sort_key.len());
    push_header(&mut front, entry, 0);
    front.extend_from_slice(entry.sort_key);
    (front, 0_u16.to_le_bytes())
}

fn push_header(out: &mut Vec<u8>, entry: &Entry<'_>, shared: usize) {
    let rest = entry.sort_key.len() - shared;
    if shared | rest < 0x80 && entry.value.len() <= VALUE_BYTES_INLINE_MAX && entry.expiry_ms.is_none() {
        out.extend_from_slice(&[entry.kind as u8 | (entry.value.len() as u8) << 3, shared as u8, rest as u8]);
        return;
    }
    let more = entry.value.len() > VALUE_BYTES_INLINE_MAX;
    let len_bits = if more { VALUE_BYTES_FOLLOW } else { entry.value.len() as u8 };
    let expiry_bit = if entry.expiry_ms.is_some() { HAS_EXPIRY } else { 0 };
    out.push(entry.kind as u8 | expiry_bit | len_bits << 3);
    push_varint(out, shared as u64);
    push_varint(out, rest as u64);
    if more {
        push_varint(out, (entry.value.len() - usize::from(VALUE_BYTES_FOLLOW)) as u64);
    }
    if let Some(expiry_ms) = entry.expiry_ms {
        push_varint(out, expiry_ms);
    }
}

fn record_bytes(entry: &Entry<'_>, shared: usize) -> usize {
    let rest = entry.sort_key.len() - shared;
    let more = entry.value.len().checked_sub(usize::from(VALUE_BYTES_FOLLOW));
    1 + varint_bytes(shared as u64)
        + varint_bytes(rest as u64)
        + more.map_or(0, |more| varint_bytes(more as u64))
        + entry.expiry_ms.map_or(0, varint_bytes)
        + rest
        + entry.value.len()
}

/// The trailer up to its checksum.
pub(super) fn trailer(count: usize, pad: usize, codec: Codec, raw_len: usize) -> [u8; TRAILER_BYTES - 8] {
    debug_assert!(pad < 1 << 12 && count <= usize::from(u16::MAX) && raw_len as u64 <= BLOCK_BYTES_MAX);
    let mut out = [0; TRAILER_BYTES - 8];
    out[..2].copy_from_slice(&(count as u16).to_le_bytes());
    out[2..4].copy_from_slice(&(pad as u16 | (codec as u16) << 12).to_le_bytes());
    out[4..].copy_from_slice(&(raw_len as u32).to_le_bytes());
    out
}

/// A record's place in the raw bytes.
#[derive(Clone, Copy)]
struct Item {
    kind: Kind,
    expiry_ms: Option<u64>,
    shared: usize,
    key: usize,
    value: usize,
    end: usize,
}

impl Item {
    /// The record that starts at `at`.
    #[inline(always)]
    fn parse(bytes: &[u8], at: usize) -> Option<Self> {
        // Most records: short key, short value, no expiry.
        let [head, shared, rest] = *bytes.get(at..)?.first_chunk()?;
        if head & HAS_EXPIRY == 0 && head < VALUE_BYTES_FOLLOW << 3 && (shared | rest) < 0x80 {
            let value = at + 3 + usize::from(rest);
            let end = value + usize::from(head >> 3);
            let kind = Kind::from_bits(head);
            let item = Self { kind, expiry_ms: None, shared: usize::from(shared), key: at + 3, value, end };
            return (end <= bytes.len()).then_some(item);
        }
        Self::parse_any(bytes, at)
    }

    #[inline(never)]
    fn parse_any(bytes: &[u8], at: usize) -> Option<Self> {
        let head = *bytes.get(at)?;
        let (shared, at) = varint_at(bytes, at + 1)?;
        let (rest, mut at) = varint_at(bytes, at)?;
        let mut value_len = u64::from(head >> 3);
        if value_len == u64::from(VALUE_BYTES_FOLLOW) {
            let more;
            (more, at) = varint_at(bytes, at)?;
            value_len = value_len.checked_add(more)?;
        }
        let mut expiry_ms = None;
        if head & HAS_EXPIRY != 0 {
            let expiry;
            (expiry, at) = varint_at(bytes, at)?;
            expiry_ms = Some(expiry);
        }
        let limits = shared <= SORT_KEY_BYTES_MAX as u64
            && rest <= SORT_KEY_BYTES_MAX as u64
            && value_len <= VALUE_BYTES_MAX as u64;
        if !limits {
            return None;
        }
        let value = at + rest as usize;
        let end = value + value_len as usize;
        let kind = Kind::from_bits(head);
        (end <= bytes.len()).then_some(Self { kind, expiry_ms, shared: shared as usize, key: at, value, end })
    }
}

/// The bytes of a block: as read, or made by undoing the compression or by copying from a larger read.
#[derive(Debug)]
enum Bytes {
    Read(Buffer),
    Owned(Vec<u8>),
}

/// A decoded block: records in ascending order of their sort keys, at least one.
#[derive(Debug)]
pub struct Block {
    bytes: Bytes,
    /// Where the records end and the restarts begin.
    records_end: usize,
    count: usize,
}

/// Where in a block one stands: on a record, whose key it holds, or past either end.
///
/// It belongs to the block that last moved it, and is moved by no other but through `first`, `last` and the seeks.
#[derive(Clone, Debug, Default)]
pub struct Position {
    /// The record's number; `None` past the ends.
    index: Option<usize>,
    /// Where the record's value lies, and where the next record starts.
    value: usize,
    next: usize,
    kind: Option<Kind>,
    expiry_ms: Option<u64>,
    key: Vec<u8>,
}

impl Position {
    /// Whether it stands on a record.
    pub fn is_valid(&self) -> bool {
        self.index.is_some()
    }

    /// The memory that it holds on to, in bytes.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.key.capacity()
    }

    /// Stands nowhere.
    pub fn clear(&mut self) {
        self.index = None;
    }
}

impl Block {
    /// Decodes a block that was read whole; `place` binds it to where it was read from.
    pub(super) fn decode(stored: Buffer, place: u64) -> Result<Self, DecodeError> {
        let frame = Frame::open(&stored, place)?;
        let bytes = match frame.codec {
            Codec::Raw => Bytes::Read(stored),
            Codec::Lz4 => Bytes::Owned(frame.decompress(&stored)?),
        };
        Self::check(bytes, frame)
    }

    /// Decodes a block that is part of a larger read.
    pub(super) fn decode_copy(stored: &[u8], place: u64) -> Result<Self, DecodeError> {
        let frame = Frame::open(stored, place)?;
        let bytes = match frame.codec {
            Codec::Raw => stored.get(..frame.raw_len).unwrap_or_default().to_vec(),
            Codec::Lz4 => frame.decompress(stored)?,
        };
        Self::check(Bytes::Owned(bytes), frame)
    }

    /// A block of raw bytes that a [`BlockBuilder`] just made.
    pub(super) fn from_raw(raw: Vec<u8>, count: usize) -> Result<Self, DecodeError> {
        let raw_len = raw.len();
        Self::check(Bytes::Owned(raw), Frame { count, codec: Codec::Raw, payload_len: raw_len, raw_len })
    }

    /// Checks everything that lookups rely on.
    fn check(bytes: Bytes, frame: Frame) -> Result<Self, DecodeError> {
        let restarts = frame.count.div_ceil(RESTART_INTERVAL);
        let records_end = frame.raw_len.checked_sub(restarts * 2);
        let Some(records_end) = records_end.filter(|_| frame.count > 0) else {
            return Err(DecodeError::new(0, "a block without room for its records"));
        };
        let block = Self { bytes, records_end, count: frame.count };
        let records = block.records();
        let (mut at, mut key_len) = (0, 0);
        for index in 0..block.count {
            let item = Item::parse(records, at).ok_or(DecodeError::new(at, "a record that is none"))?;
            let restarted =
                !index.is_multiple_of(RESTART_INTERVAL) || item.shared == 0 && block.restart(index) == Some(at);
            key_len = if item.shared <= key_len { item.shared + (item.value - item.key) } else { usize::MAX };
            if !restarted || key_len > SORT_KEY_BYTES_MAX {
                return Err(DecodeError::new(at, "a record's key doesn't follow from the one before"));
            }
            if item.kind == Kind::Clear && !is_clear_value(&records[item.value..item.end]) {
                return Err(DecodeError::new(at, "a clear of what are no spans"));
            }
            at = item.end;
        }
        if at == records_end { Ok(block) } else { Err(DecodeError::new(at, "bytes between records and restarts")) }
    }

    fn raw(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Read(bytes) => bytes,
            Bytes::Owned(bytes) => bytes,
        }
    }

    fn records(&self) -> &[u8] {
        self.raw().get(..self.records_end).unwrap_or_default()
    }

    /// Where the record `index`, the first of its restart interval, starts.
    #[inline]
    fn restart(&self, index: usize) -> Option<usize> {
        u16_at(self.raw(), self.records_end + index / RESTART_INTERVAL * 2).map(usize::from)
    }

    /// How many records there are; never 0.
    #[expect(clippy::len_without_is_empty, reason = "a block is never empty")]
    pub fn len(&self) -> usize {
        self.count
    }

    /// The memory that the block takes, in bytes.
    pub fn memory_bytes(&self) -> usize {
        let bytes = match &self.bytes {
            Bytes::Read(bytes) => bytes.capacity(),
            Bytes::Owned(bytes) => bytes.capacity(),
        };
        size_of::<Self>() + bytes
    }

    /// The record with this sort key.
    pub fn get<'a>(&'a self, sort_key: &'a [u8]) -> Option<Entry<'a>> {
        let records = self.records();
        let mut at = self.restart(self.interval_of(sort_key)? * RESTART_INTERVAL)?;
        // How much of `sort_key` begins the previous record's key, which is smaller.
        let mut matched = 0;
        while at < records.len() {
            let item = Item::parse(records, at)?;
            at = item.end;
            match item.shared.cmp(&matched) {
                // It differs from `sort_key` where the previous one does, and in the same way.
                std::cmp::Ordering::Greater => continue,
                // It left the previous key upwards at a byte that `sort_key` has in common with that key.
                std::cmp::Ordering::Less => return None,
                std::cmp::Ordering::Equal => {}
            }
            let (rest, wanted) = (&records[item.key..item.value], &sort_key[matched..]);
            let common = common_prefix(rest, wanted);
            match (rest.get(common), wanted.get(common)) {
                (None, None) => {
                    let value = &records[item.value..item.end];
                    return Some(Entry { sort_key, kind: item.kind, expiry_ms: item.expiry_ms, value });
                }
                (None, Some(_)) => matched += common,
                (Some(have), Some(want)) if have < want => matched += common,
                (Some(_), _) => return None,
            }
        }
        None
    }

    /// The last restart interval whose first key is at most `sort_key`; `None` where `sort_key` is below them all.
    fn interval_of(&self, sort_key: &[u8]) -> Option<usize> {
        let records = self.records();
        let (mut low, mut high) = (0, self.count.div_ceil(RESTART_INTERVAL));
        while low < high {
            let middle = low.midpoint(high);
            let item = Item::parse(records, self.restart(middle * RESTART_INTERVAL)?)?;
            if &records[item.key..item.value] <= sort_key { low = middle + 1 } else { high = middle }
        }
        low.checked_sub(1)
    }

    /// Moves to the first record.
    pub fn first(&self, position: &mut Position) {
        self.restart_at(position, 0);
    }

    /// Moves to the last record.
    pub fn last(&self, position: &mut Position) {
        self.jump(position, self.count - 1);
    }

    /// Moves to the first record whose key is at least `sort_key`, or past the end.
    pub fn seek(&self, position: &mut Position, sort_key: &[u8]) {
        self.restart_at(position, self.interval_of(sort_key).unwrap_or(0));
        while position.is_valid() && position.key.as_slice() < sort_key {
            self.next(position);
        }
    }

    /// Moves to the last record whose key is less than `sort_key`, or past the end.
    pub fn seek_before(&self, position: &mut Position, sort_key: &[u8]) {
        self.seek(position, sort_key);
        match position.index {
            Some(0) => position.clear(),
            Some(index) => self.jump(position, index - 1),
            None => self.last(position),
        }
    }

    /// Moves to the next record, or past the end. Past the end it stays.
    pub fn next(&self, position: &mut Position) {
        if let Some(index) = position.index {
            self.load(position, index + 1, position.next);
        }
    }

    /// Moves to the record before, or past the end. Past the end it stays.
    pub fn prev(&self, position: &mut Position) {
        match position.index {
            Some(0) => position.clear(),
            Some(index) => self.jump(position, index - 1),
            None => {}
        }
    }

    /// The record at `position`; `None` past the ends.
    pub fn entry<'a>(&'a self, position: &'a Position) -> Option<Entry<'a>> {
        position.index?;
        let value = self.records().get(position.value..position.next)?;
        Some(Entry { sort_key: &position.key, kind: position.kind?, expiry_ms: position.expiry_ms, value })
    }

    fn jump(&self, position: &mut Position, index: usize) {
        self.restart_at(position, index / RESTART_INTERVAL);
        while position.index.is_some_and(|at| at < index) {
            self.next(position);
        }
    }

    fn restart_at(&self, position: &mut Position, interval: usize) {
        let index = interval * RESTART_INTERVAL;
        match self.restart(index) {
            Some(at) => self.load(position, index, at),
            None => position.clear(),
        }
    }

    /// Stands on the record `index`, which starts at `at`; its predecessor's key is in `position` where it needs it.
    #[inline]
    fn load(&self, position: &mut Position, index: usize, at: usize) {
        let records = self.records();
        match Item::parse(records, at).filter(|_| index < self.count) {
            Some(item) => {
                position.key.truncate(item.shared);
                position.key.extend_from_slice(&records[item.key..item.value]);
                position.index = Some(index);
                (position.value, position.next) = (item.value, item.end);
                (position.kind, position.expiry_ms) = (Some(item.kind), item.expiry_ms);
            }
            None => position.clear(),
        }
    }
}

/// What a trailer says, once its checksum was found right.
struct Frame {
    count: usize,
    codec: Codec,
    payload_len: usize,
    raw_len: usize,
}

impl Frame {
    fn open(stored: &[u8], place: u64) -> Result<Self, DecodeError> {
        let end = stored.len();
        let sized = end as u64 <= BLOCK_BYTES_MAX && (end as u64).is_multiple_of(UNIT_BYTES) && end > TRAILER_BYTES;
        if !sized {
            return Err(DecodeError::new(0, "no block has this length"));
        }
        let error = |problem| DecodeError::new(end - TRAILER_BYTES, problem);
        let summed = || u64_at(stored, end - 8) == Some(checksum(&stored[..end - 8]) ^ place);
        if stands(Safeguard::BlockChecksum) && !summed() {
            return Err(error("the block's checksum differs"));
        }
        let at = end - TRAILER_BYTES;
        let (count, layout, raw_len) = match (u16_at(stored, at), u16_at(stored, at + 2), u32_at(stored, at + 4)) {
            (Some(count), Some(layout), Some(raw_len)) => (count, layout, raw_len as usize),
            _ => return Err(error("no trailer")),
        };
        let Some(payload_len) = at.checked_sub(usize::from(layout & 0xFFF)) else {
            return Err(error("more padding than block"));
        };
        let codec = match layout >> 12 {
            0 if raw_len == payload_len => Codec::Raw,
            1 if raw_len <= COMPRESSED_RAW_BYTES_MAX => Codec::Lz4,
            _ => return Err(error("an unknown codec, or a length that it can't have")),
        };
        if stored[payload_len..at].iter().any(|&byte| byte != 0) {
            return Err(error("padding is not zero"));
        }
        Ok(Self { count: usize::from(count), codec, payload_len, raw_len })
    }

    fn decompress(&self, stored: &[u8]) -> Result<Vec<u8>, DecodeError> {
        let mut raw = vec![0; self.raw_len];
        match lz4_flex::block::decompress_into(&stored[..self.payload_len], &mut raw) {
            Ok(len) if len == self.raw_len => Ok(raw),
            _ => Err(DecodeError::new(0, "the LZ4 block doesn't come out as declared")),
        }
    }
}
