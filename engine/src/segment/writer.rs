//! Writes a segment, front to back, in one pass.
//!
//! Memory: one block under construction (at most 1 MiB; longer records go to the file as they are), the filter at
//! 10 bits an expected key, and 8 bytes of block table and some 25 of index for each block.
//!
//! **Blocks.** Without compression a block is filled up to `block_bytes`. With it, four times as much is gathered and
//! stored as one LZ4 block if that saves a quarter; else it is cut into blocks of `block_bytes`, and compression
//! is not tried again for a while. **Placement.** Blocks stand at multiples of 64, close together. Where moving a block
//! to the next page border saves a read a page, it is moved, as long as all that is skipped stays within a sixteenth;
//! blocks of small records that don't compress thus fill one page each.

use crate::platform::safeguards::{Safeguard, stands};
use std::path::PathBuf;

use crate::checksum::{Checksum, checksum, hash_key, place};
use crate::codec::{DecodeError, common_prefix};
use crate::ids::{Epoch, KeyGroupRange, SegmentId};
use crate::platform::storage::names::segment_name;
use crate::platform::storage::{AppendFile, Fault, Storage, StorageError};

use super::block::{
    Block, BlockBuilder, COMPRESSED_RAW_BYTES_MAX, Codec, Position, TRAILER_BYTES, single_record, trailer,
};
use super::filter::{FilterBuilder, clear_mark};
use super::format::{METADATA_PAGE_BYTES, PAGE_BYTES, SUPERBLOCK_BYTES, Section, SegmentMeta, Superblock, UNIT_BYTES};
use super::index::{IndexBuilder, separator};
use super::summary::Summary;
use super::{Entry, Kind};

/// How a segment is written.
#[derive(Clone, Debug)]
pub struct SegmentOptions {
    /// The length of blocks that are not compressed, in bytes; 4,096 to 16,384 (brought into these bounds).
    pub block_bytes: usize,
    /// Whether to compress blocks where it pays.
    pub compress: bool,
    /// The seed of the key hashes that the filter is keyed by.
    pub hash_seed: u64,
    /// What writes it: 0 a flush, 1 a merge of runs, 2 a merge into the bottom.
    pub level: u8,
    /// The first and last epoch of the records.
    pub epochs: (Epoch, Epoch),
    /// About how many records will come, plus how many map containers they belong to. It sizes the filter (10 bits
    /// each) at once: a guess too low lets more absent keys pass, one too high costs memory only while writing.
    pub expected_entries: u64,
}

impl Default for SegmentOptions {
    fn default() -> Self {
        Self {
            block_bytes: 4096,
            compress: true,
            hash_seed: 0,
            level: 0,
            epochs: (Epoch(1), Epoch(1)),
            expected_entries: 1 << 16,
        }
    }
}

/// How many times `block_bytes` is compressed at once.
const COMPRESSED_BLOCKS: usize = 4;
/// For how many blocks compression is left alone at most after it didn't pay.
const COMPRESSION_PAUSE_BLOCKS_MAX: u32 = 64;

/// A segment being written. Dropped unfinished, it leaves a file that nothing refers to.
pub struct SegmentWriter<'s> {
    storage: &'s dyn Storage,
    id: SegmentId,
    options: SegmentOptions,
    summary: Summary,
    filter: FilterBuilder,
    /// The block under construction, and the separator before it.
    block: BlockBuilder,
    separator: Vec<u8>,
    /// How long it may get, and whether compression is to be tried on it.
    block_bytes: usize,
    compressing: bool,
    compression: Compression,
    out: BlockFile,
    /// An earlier call failed while writing: what is in the file is unknown.
    failed: bool,
}

impl<'s> SegmentWriter<'s> {
    /// Creates the file.
    pub fn create(storage: &'s dyn Storage, id: SegmentId, options: SegmentOptions) -> Result<Self, StorageError> {
        let mut options = options;
        options.block_bytes = options.block_bytes.clamp(4096, 16 << 10);
        let name = segment_name(id.0);
        let mut file = storage.create(&name)?;
        let opening = Superblock {
            id,
            hash_seed: options.hash_seed,
            epochs: options.epochs,
            level: options.level,
            closing: None,
        };
        let mut page = opening.encode();
        page.resize(PAGE_BYTES as usize, 0);
        file.append(&page)?;
        let path = storage.root().join(name);
        Ok(Self {
            storage,
            id,
            summary: Summary::default(),
            filter: FilterBuilder::new(options.expected_entries),
            block: BlockBuilder::default(),
            separator: Vec::new(),
            block_bytes: 0,
            compressing: false,
            compression: Compression::default(),
            out: BlockFile::new(file, path, id),
            failed: false,
            options,
        })
    }

    /// Adds a record. Sort keys ascend strictly; tombstones have no expiry, and of values only Clears have one: spans. A record that breaks these
    /// rules or a length limit is refused with [`Fault::Corrupt`] and changes nothing.
    pub fn add(&mut self, entry: Entry<'_>) -> Result<(), StorageError> {
        self.check_intact()?;
        let step = self.summary.add(&entry).map_err(|error| self.out.error(error))?;
        let hash = hash_key(entry.sort_key, self.options.hash_seed);
        self.filter.add(hash);
        if entry.kind == Kind::Clear {
            self.filter.add(clear_mark(hash));
        }
        if let Some(container) = step.new_container {
            self.filter.add(hash_key(&entry.sort_key[..container], self.options.hash_seed));
        }
        // The first block's separator is its whole key.
        let shared = if self.summary.entries() == 1 { entry.sort_key.len() } else { step.shared };
        let added = self.add_to_block(&entry, shared);
        self.failed |= added.is_err();
        added
    }

    fn add_to_block(&mut self, entry: &Entry<'_>, shared: usize) -> Result<(), StorageError> {
        while !self.block.is_empty() && !self.fits(entry, shared) {
            self.end_block()?;
        }
        if self.block.is_empty() {
            self.begin_block(separator(entry.sort_key, shared));
            if self.block.bytes_with(entry, 0) > COMPRESSED_RAW_BYTES_MAX {
                return self.out.store_single(entry, &self.separator);
            }
        }
        self.block.add(entry, shared);
        Ok(())
    }

    fn fits(&self, entry: &Entry<'_>, shared: usize) -> bool {
        self.block.has_room() && self.block.bytes_with(entry, shared) <= self.block_bytes
    }

    fn begin_block(&mut self, separator: &[u8]) {
        self.compressing = self.options.compress && self.compression.is_due();
        self.block_bytes = self.options.block_bytes * if self.compressing { COMPRESSED_BLOCKS } else { 1 };
        self.separator.clear();
        self.separator.extend_from_slice(separator);
    }

    /// Writes the block under construction, or, where compression was hoped for and didn't pay, most of it.
    fn end_block(&mut self) -> Result<(), StorageError> {
        let (bytes, count) = (self.block.bytes(), self.block.count());
        let raw = self.block.raw();
        if self.compressing {
            if let Some(payload) = self.compression.compress(raw) {
                self.out.store(payload, Codec::Lz4, raw.len(), count, &self.separator)?;
                self.block.clear();
                return Ok(());
            }
            if bytes > self.options.block_bytes && count > 1 {
                let whole = Block::from_raw(raw.to_vec(), count).map_err(|error| self.out.error(error))?;
                return self.split(&whole);
            }
        }
        self.out.store(raw, Codec::Raw, raw.len(), count, &self.separator)?;
        self.block.clear();
        Ok(())
    }

    /// Cuts a block that doesn't compress into ones of the usual length; the last of them stays under construction.
    fn split(&mut self, whole: &Block) -> Result<(), StorageError> {
        self.block.clear();
        self.compressing = false;
        self.block_bytes = self.options.block_bytes;
        let (mut position, mut last_key) = (Position::default(), Vec::new());
        whole.first(&mut position);
        while let Some(entry) = whole.entry(&position) {
            let shared = common_prefix(&last_key, entry.sort_key);
            if !self.block.is_empty() && !self.fits(&entry, shared) {
                let (count, raw) = (self.block.count(), self.block.raw());
                self.out.store(raw, Codec::Raw, raw.len(), count, &self.separator)?;
                self.block.clear();
                self.separator.clear();
                self.separator.extend_from_slice(separator(entry.sort_key, shared));
            }
            self.block.add(&entry, shared);
            last_key.truncate(shared);
            last_key.extend_from_slice(&entry.sort_key[shared..]);
            whole.next(&mut position);
        }
        Ok(())
    }

    /// About how long the file would be if it were finished now.
    pub fn file_bytes(&self) -> u64 {
        let metadata = self.filter.bytes() + (self.out.table.len() + self.out.index.bytes()) as u64;
        self.out.file.len() + self.block.bytes() as u64 + metadata + 2 * SUPERBLOCK_BYTES as u64
    }

    /// How many records were added.
    pub fn entries(&self) -> u64 {
        self.summary.entries()
    }

    /// Writes out the rest and, if `durable`, syncs the file; the caller syncs the directory. Returns what a reader
    /// needs, and how many bytes were written; `None`, and no file, where no record was added.
    pub fn finish(mut self, durable: bool) -> Result<Option<(SegmentMeta, u64)>, StorageError> {
        self.check_intact()?;
        if self.summary.entries() == 0 {
            drop(self.out.file);
            self.storage.remove(&segment_name(self.id.0))?;
            return Ok(None);
        }
        while !self.block.is_empty() {
            self.end_block()?;
        }
        let mut meta = self.new_meta();
        self.summary.fill(&mut meta);
        self.finish_metadata(&mut meta)?;
        let closing = (meta.file_bytes, self.out.append_meta(&meta)?);
        let superblock = Superblock {
            id: self.id,
            hash_seed: meta.hash_seed,
            epochs: self.options.epochs,
            level: meta.level,
            closing: Some(closing),
        };
        self.out.file.append(&superblock.encode())?;
        debug_assert_eq!(self.out.file.len(), meta.file_bytes);
        self.out.file.finish(durable && stands(Safeguard::SegmentSynced))?;
        let bytes = meta.file_bytes;
        Ok(Some((meta, bytes)))
    }

    fn new_meta(&self) -> SegmentMeta {
        SegmentMeta {
            id: self.id,
            file_bytes: 0,
            epoch_low: self.options.epochs.0,
            epoch_high: self.options.epochs.1,
            hash_seed: self.options.hash_seed,
            level: self.options.level,
            groups: KeyGroupRange::new(0, 0),
            entries: 0,
            tombstones: 0,
            clears: 0,
            expiring: 0,
            logical_bytes: 0,
            expiry_min_ms: None,
            expiry_max_ms: None,
            blocks: self.out.blocks,
            directory_entries: 0,
            filter_blocks: 0,
            filter_keys: self.filter.keys(),
            index_bytes: 0,
            index_root: 0,
            metadata: Section::default(),
            first_key: Vec::new(),
            last_key: Vec::new(),
        }
    }

    /// Writes filter, block table, index, directory and page checksums, and says in `meta` where they are.
    fn finish_metadata(&mut self, meta: &mut SegmentMeta) -> Result<(), StorageError> {
        let filter = std::mem::replace(&mut self.filter, FilterBuilder::new(0)).finish();
        let (nodes, root) = std::mem::take(&mut self.out.index).finish();
        let mut table = std::mem::take(&mut self.out.table);
        table.resize(table.len().next_multiple_of(UNIT_BYTES as usize), 0);
        let offset = self.out.file.len();
        let mut sink = MetadataSink::new(&mut *self.out.file);
        sink.append(filter.as_flattened())?;
        sink.append(&table)?;
        sink.append(&nodes)?;
        sink.append(self.summary.directory())?;
        let (len, sums) = sink.finish();
        self.out.file.append(&sums)?;
        meta.filter_blocks = filter.len() as u32;
        (meta.index_bytes, meta.index_root) = (nodes.len() as u64, root);
        meta.metadata = Section { offset, len, checksum: checksum(&sums) };
        meta.file_bytes = self.out.file.len() + (meta.encoded_bytes() + SUPERBLOCK_BYTES) as u64;
        Ok(())
    }

    fn check_intact(&self) -> Result<(), StorageError> {
        if self.failed {
            let detail = "an earlier write of this segment failed";
            return Err(StorageError::new(Fault::Io, &self.out.path, self.out.file.len(), detail));
        }
        Ok(())
    }
}

/// LZ4, tried where it may pay.
#[derive(Default)]
struct Compression {
    table: lz4_flex::block::CompressTable,
    out: Vec<u8>,
    /// How many blocks to go before the next attempt, and how many after the next failure.
    pause: u32,
    next_pause: u32,
}

impl Compression {
    /// Whether to try it on the block that begins.
    fn is_due(&mut self) -> bool {
        let due = self.pause == 0;
        self.pause = self.pause.saturating_sub(1);
        due
    }

    /// The LZ4 block of `raw`, where it saves a quarter.
    fn compress(&mut self, raw: &[u8]) -> Option<&[u8]> {
        let bound = lz4_flex::block::get_maximum_output_size(raw.len());
        if self.out.len() < bound {
            self.out.resize(bound, 0);
        }
        let len = lz4_flex::block::compress_into_with_table(raw, &mut self.out, &mut self.table).ok();
        match len.filter(|len| *len <= raw.len() / 4 * 3) {
            Some(len) => {
                self.next_pause = 0;
                Some(&self.out[..len])
            }
            None => {
                self.next_pause = (self.next_pause * 2).clamp(COMPRESSED_BLOCKS as u32, COMPRESSION_PAUSE_BLOCKS_MAX);
                self.pause = self.next_pause;
                None
            }
        }
    }
}

/// The file, and what is known of the blocks in it.
struct BlockFile {
    file: Box<dyn AppendFile>,
    path: PathBuf,
    id: SegmentId,
    table: Vec<u8>,
    index: IndexBuilder,
    blocks: u32,
    /// How many bytes were skipped so that blocks stand at page borders.
    skipped: u64,
    scratch: Vec<u8>,
}

impl BlockFile {
    fn new(file: Box<dyn AppendFile>, path: PathBuf, id: SegmentId) -> Self {
        let (table, index, scratch) = (Vec::new(), IndexBuilder::default(), Vec::new());
        Self { file, path, id, table, index, blocks: 0, skipped: 0, scratch }
    }

    fn error(&self, error: DecodeError) -> StorageError {
        StorageError::new(Fault::Corrupt, &self.path, self.file.len(), error.problem)
    }

    /// Appends a block.
    fn store(
        &mut self,
        payload: &[u8],
        codec: Codec,
        raw_len: usize,
        count: usize,
        separator: &[u8],
    ) -> Result<(), StorageError> {
        let (stored, pad) = self.begin(payload.len() + TRAILER_BYTES, codec)?;
        let mut bytes = std::mem::take(&mut self.scratch);
        bytes.clear();
        bytes.extend_from_slice(payload);
        bytes.resize(payload.len() + pad, 0);
        bytes.extend_from_slice(&trailer(count, pad, codec, raw_len));
        let sum = checksum(&bytes) ^ place(self.id.0, self.file.len());
        bytes.extend_from_slice(&sum.to_le_bytes());
        debug_assert_eq!(bytes.len() as u64, stored);
        self.commit(stored, separator);
        let appended = self.file.append(&bytes);
        self.scratch = bytes;
        appended
    }

    /// Appends a block of one long record without copying it.
    fn store_single(&mut self, entry: &Entry<'_>, separator: &[u8]) -> Result<(), StorageError> {
        let (front, restarts) = single_record(entry);
        let raw_len = front.len() + entry.value.len() + restarts.len();
        let (stored, pad) = self.begin(raw_len + TRAILER_BYTES, Codec::Raw)?;
        let mut back = restarts.to_vec();
        back.resize(restarts.len() + pad, 0);
        back.extend_from_slice(&trailer(1, pad, Codec::Raw, raw_len));
        let mut sum = Checksum::new();
        [&front, entry.value, &back].into_iter().for_each(|part| sum.update(part));
        back.extend_from_slice(&(sum.value() ^ place(self.id.0, self.file.len())).to_le_bytes());
        self.commit(stored, separator);
        [&front, entry.value, &back].into_iter().try_for_each(|part| self.file.append(part))
    }

    /// Chooses the place of a block of `bytes` and goes there: its length as stored, and how much of that is padding.
    fn begin(&mut self, bytes: usize, codec: Codec) -> Result<(u64, usize), StorageError> {
        let mut stored = (bytes as u64).next_multiple_of(UNIT_BYTES);
        let offset = self.file.len();
        let gap = offset.next_multiple_of(PAGE_BYTES) - offset;
        let pages_here = (offset % PAGE_BYTES + stored).div_ceil(PAGE_BYTES);
        let pages_there = stored.div_ceil(PAGE_BYTES);
        if gap > 0 && pages_there < pages_here && pages_there <= 8 && self.skipped + gap <= offset / 16 {
            const ZEROS: [u8; PAGE_BYTES as usize] = [0; PAGE_BYTES as usize];
            self.file.append(&ZEROS[..gap as usize])?;
            self.skipped += gap;
        }
        let offset = self.file.len();
        let whole_pages = stored.next_multiple_of(PAGE_BYTES);
        if codec == Codec::Raw && offset.is_multiple_of(PAGE_BYTES) && whole_pages - stored <= stored / 16 {
            stored = whole_pages;
        }
        if u32::try_from((offset + stored) / UNIT_BYTES).is_err() || self.blocks == u32::MAX {
            return Err(StorageError::new(Fault::Full, &self.path, offset, "a segment can't be longer than 256 GiB"));
        }
        Ok((stored, (stored - bytes as u64) as usize))
    }

    /// Enters the block about to be appended.
    fn commit(&mut self, stored: u64, separator: &[u8]) {
        for word in [self.file.len() / UNIT_BYTES, stored / UNIT_BYTES] {
            self.table.extend_from_slice(&(word as u32).to_le_bytes());
        }
        self.index.add(separator);
        self.blocks += 1;
    }

    fn append_meta(&mut self, meta: &SegmentMeta) -> Result<Section, StorageError> {
        let mut bytes = Vec::with_capacity(meta.encoded_bytes());
        meta.encode(&mut bytes);
        let section = Section { offset: self.file.len(), len: bytes.len() as u64, checksum: checksum(&bytes) };
        self.file.append(&bytes)?;
        Ok(section)
    }
}

/// Appends metadata and sums up each page of it.
struct MetadataSink<'f> {
    file: &'f mut dyn AppendFile,
    page: Checksum,
    page_bytes: usize,
    len: u64,
    sums: Vec<u8>,
}

impl<'f> MetadataSink<'f> {
    fn new(file: &'f mut dyn AppendFile) -> Self {
        Self { file, page: Checksum::new(), page_bytes: 0, len: 0, sums: Vec::new() }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        let mut left = bytes;
        while !left.is_empty() {
            let (now, later) = left.split_at(left.len().min(METADATA_PAGE_BYTES as usize - self.page_bytes));
            self.page.update(now);
            self.page_bytes += now.len();
            if self.page_bytes == METADATA_PAGE_BYTES as usize {
                self.end_page();
            }
            left = later;
        }
        self.len += bytes.len() as u64;
        self.file.append(bytes)
    }

    fn end_page(&mut self) {
        self.sums.extend_from_slice(&self.page.value().to_le_bytes());
        self.page = Checksum::new();
        self.page_bytes = 0;
    }

    /// The length of the metadata, and the checksums of its pages.
    fn finish(mut self) -> (u64, Vec<u8>) {
        if self.page_bytes > 0 {
            self.end_page();
        }
        (self.len, self.sums)
    }
}
