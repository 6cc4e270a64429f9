//! Reads a segment: filter, index, blocks.
//!
//! A [`Segment`] is opened from its [`SegmentMeta`] (which a manifest carries) in constant time, and shared. Every
//! byte is checked before its first use: metadata by page, blocks as they are decoded.

use crate::checksum::{checksum, hash_key, place};
use crate::codec::{DecodeError, Reader, u32_at};
use crate::ids::{KeyGroup, SegmentId, StateId};
use crate::platform::storage::names::segment_name;
use crate::platform::storage::{Buffer, Fault, ReadFile, ReadRequest, Storage, StorageError};
use std::sync::Arc;

use super::block::{Block, TRAILER_BYTES};
use super::cursor::{BlockSource, SegmentCursor};
use super::filter::{self, FILTER_BLOCK_BYTES};
use super::format::{
    BLOCK_BYTES_MAX, DIRECTORY_ENTRY_BYTES, DirectoryEntry, Layout, META_BYTES_MAX, PAGE_BYTES, SUPERBLOCK_BYTES,
    SegmentMeta, Superblock, TABLE_ENTRY_BYTES, UNIT_BYTES,
};
use super::index::{NODE_HEADER_BYTES, Node, NodeHeader, Step};
use super::metadata::Metadata;

/// A block's number and place, checked against the segment's bounds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct BlockRef {
    /// Its number, from 0.
    pub index: u32,
    /// Its length as stored, in bytes.
    pub len: u32,
    /// Where it starts in the file.
    pub offset: u64,
}

/// A segment whose file is open, and whose first superblock is still to be read: so that it can be read together with
/// those of others.
#[derive(Debug)]
pub struct Opening {
    meta: SegmentMeta,
    file: Arc<dyn ReadFile>,
    metadata: Metadata,
    layout: Layout,
}

impl Opening {
    /// Checks the file's length and maps the metadata; reads nothing of either.
    pub fn begin(storage: &dyn Storage, meta: SegmentMeta) -> Result<Self, StorageError> {
        let file = storage.open(&segment_name(meta.id.0))?;
        let fail = |fault, detail: String| StorageError::new(fault, file.path(), 0, detail);
        if file.len() != meta.file_bytes {
            let detail = format!("{} bytes long, but should be {}", file.len(), meta.file_bytes);
            return Err(fail(Fault::Length, detail));
        }
        let Some(layout) = meta.layout() else {
            return Err(fail(Fault::Corrupt, "the description of the segment contradicts itself".to_owned()));
        };
        let metadata = Metadata::map(&*file, meta.metadata, &layout)?;
        Ok(Self { meta, file, metadata, layout })
    }

    /// Has the metadata that a lookup of this hash begins with read ahead, in the background.
    pub fn read_ahead(&self, hash: u64) {
        self.metadata.read_ahead([filter_block(&self.meta, hash), self.layout.index + self.meta.index_root]);
    }

    /// The read that fetches the superblock.
    pub fn read_request(&self) -> ReadRequest {
        ReadRequest::new(Arc::clone(&self.file), 0, SUPERBLOCK_BYTES)
    }

    /// Checks what [`Opening::read_request`] fetched.
    pub fn finish(self, stored: &[u8]) -> Result<Segment, StorageError> {
        let Self { meta, file, metadata, layout } = self;
        let fail = |fault, detail: String| StorageError::new(fault, file.path(), 0, detail);
        let superblock = decode_superblock(&*file, 0, stored)?;
        if superblock.id != meta.id {
            return Err(fail(Fault::Foreign, format!("holds segment {}", superblock.id)));
        }
        let same = superblock.hash_seed == meta.hash_seed
            && superblock.epochs == (meta.epoch_low, meta.epoch_high)
            && superblock.level == meta.level
            && superblock.closing.is_none();
        if !same {
            return Err(fail(Fault::Corrupt, "the superblock contradicts the segment's description".to_owned()));
        }
        Ok(Segment { meta, file, metadata, layout, cache: None })
    }
}

/// An open segment.
#[derive(Debug)]
pub struct Segment {
    meta: SegmentMeta,
    file: Arc<dyn ReadFile>,
    metadata: Metadata,
    layout: Layout,
    cache: Option<Arc<dyn BlockSource>>,
}

impl Segment {
    /// Opens the segment that `meta` describes: checks the file's length and first superblock, maps the metadata and
    /// reads none of it.
    ///
    /// [`Fault::Missing`], [`Fault::Length`], [`Fault::Foreign`] (no segment, or another one than its name says),
    /// [`Fault::NewerVersion`], [`Fault::Corrupt`].
    pub fn open(storage: &dyn Storage, meta: SegmentMeta) -> Result<Self, StorageError> {
        let opening = Opening::begin(storage, meta)?;
        let stored = opening.file.read_at(0, SUPERBLOCK_BYTES)?;
        opening.finish(&stored)
    }

    /// The same with a cache in front of its blocks.
    #[must_use]
    pub fn with_cache(self, cache: Arc<dyn BlockSource>) -> Self {
        Self { cache: Some(cache), ..self }
    }

    /// Reads a segment's description from the file itself, where no manifest is at hand.
    pub fn read_meta(storage: &dyn Storage, id: SegmentId) -> Result<SegmentMeta, StorageError> {
        let file = storage.open(&segment_name(id.0))?;
        let corrupt = |offset, detail| StorageError::new(Fault::Corrupt, file.path(), offset, detail);
        // First the opening one: it tells a foreign or newer file from one that was cut short.
        if read_superblock(&*file, 0)?.id != id {
            return Err(StorageError::new(Fault::Foreign, file.path(), 0, "holds another segment"));
        }
        let closing_at = file.len().saturating_sub(SUPERBLOCK_BYTES as u64);
        let closing = read_superblock(&*file, closing_at)?;
        let Some((file_bytes, section)) = closing.closing.filter(|_| closing.id == id) else {
            return Err(corrupt(closing_at, "not the closing superblock of this segment"));
        };
        let fits = file_bytes == file.len() && section.end() == Some(closing_at);
        if !fits || section.len > META_BYTES_MAX as u64 {
            return Err(corrupt(closing_at, "the closing superblock contradicts the file's length"));
        }
        let bytes = file.read_at(section.offset, section.len as usize)?;
        if checksum(&bytes) != section.checksum {
            return Err(corrupt(section.offset, "the meta record's checksum differs"));
        }
        let mut reader = Reader::new(&bytes);
        let meta = SegmentMeta::decode(&mut reader).and_then(|meta| reader.finish().map(|()| meta));
        let meta = meta.map_err(|error| corrupt(section.offset + error.at as u64, error.problem))?;
        if meta.id != id || meta.file_bytes != file_bytes {
            return Err(corrupt(section.offset, "the meta record is another segment's"));
        }
        Ok(meta)
    }

    /// What is known of the segment without reading it.
    pub fn meta(&self) -> &SegmentMeta {
        &self.meta
    }

    /// The file.
    pub fn file(&self) -> &Arc<dyn ReadFile> {
        &self.file
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(super) fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    pub(super) fn corrupt(&self, offset: u64, detail: &'static str) -> StorageError {
        StorageError::new(Fault::Corrupt, self.file.path(), offset, detail)
    }

    pub(super) fn metadata_error(&self, error: DecodeError) -> StorageError {
        self.metadata.error(&*self.file, error)
    }

    /// The hash of a sort key, as [`Segment::may_contain`] takes it.
    pub fn hash(&self, sort_key: &[u8]) -> u64 {
        hash_key(sort_key, self.meta.hash_seed)
    }

    /// Says that many keys will be looked up: the metadata is read ahead from the first touch.
    pub fn expect_many(&self) {
        self.metadata.expect_many();
    }

    /// Whether a sort key with this hash may be here. For a container's key it tells whether the container has
    /// anything here: its own record, or entries. A damaged part of the filter says yes to everything; the reads that
    /// follow are checked on their own, and [`Segment::verify`] reports it.
    #[inline]
    pub fn may_contain(&self, hash: u64) -> bool {
        let bytes = self.metadata.bytes(self.filter_block(hash), FILTER_BLOCK_BYTES).ok();
        bytes.and_then(<[u8]>::first_chunk).is_none_or(|block| filter::holds(block, hash))
    }

    /// Whether the container whose key has this hash may have been cleared here; as sure as [`Segment::may_contain`].
    #[inline]
    pub fn may_clear(&self, hash: u64) -> bool {
        self.meta.clears > 0 && self.may_contain(filter::clear_mark(hash))
    }

    /// Asks for the memory that [`Segment::may_contain`] will look at.
    #[inline]
    pub fn prefetch_filter(&self, hash: u64) {
        if let Some(block) = self.metadata.unchecked(self.filter_block(hash) as usize) {
            filter::prefetch(block);
        }
    }

    #[inline]
    fn filter_block(&self, hash: u64) -> u64 {
        filter_block(&self.meta, hash)
    }

    /// How many blocks there are; at least 1.
    pub fn blocks(&self) -> u32 {
        self.meta.blocks
    }

    /// The place of a block. One that the segment doesn't have is an error of the caller and reported as damage.
    pub fn block_ref(&self, index: u32) -> Result<BlockRef, StorageError> {
        let at = self.layout.table + u64::from(index) * TABLE_ENTRY_BYTES;
        if index >= self.meta.blocks {
            return Err(self.corrupt(self.meta.metadata.offset, "no such block"));
        }
        let entry = self.metadata.bytes(at, TABLE_ENTRY_BYTES as usize).map_err(|error| self.metadata_error(error))?;
        let word = |at| u64::from(u32_at(entry, at).unwrap_or(0)) * UNIT_BYTES;
        let (offset, len) = (word(0), word(4));
        let fits = offset >= PAGE_BYTES
            && (TRAILER_BYTES as u64 + 1..=BLOCK_BYTES_MAX).contains(&len)
            && offset + len <= self.meta.metadata.offset;
        if !fits {
            return Err(self.corrupt(self.meta.metadata.offset + at, "a block outside the data"));
        }
        Ok(BlockRef { index, len: len as u32, offset })
    }

    /// The block that would hold `sort_key`; `None` where the segment can't hold it.
    pub fn locate(&self, sort_key: &[u8]) -> Result<Option<BlockRef>, StorageError> {
        if sort_key > self.meta.last_key.as_slice() {
            return Ok(None);
        }
        self.floor_block(sort_key)?.map(|index| self.block_ref(index)).transpose()
    }

    /// The last block whose separator is not above `sort_key`; `None` below them all.
    pub(super) fn floor_block(&self, sort_key: &[u8]) -> Result<Option<u32>, StorageError> {
        let mut step = Step::Node(self.meta.index_root, u8::MAX);
        loop {
            step = match step {
                Step::Below => return Ok(None),
                Step::Block(index) => return Ok(Some(index)),
                Step::Node(offset, level) => self.search_node(offset, level, sort_key).map_err(|error| {
                    let at = self.layout.index.saturating_add(offset);
                    StorageError::new(
                        Fault::Corrupt,
                        self.file.path(),
                        self.meta.metadata.offset.saturating_add(at),
                        error.problem,
                    )
                })?,
            };
        }
    }

    /// One step down the index. `level` is what the node must be at (any, for the root), so that the walk ends.
    fn search_node(&self, offset: u64, level: u8, sort_key: &[u8]) -> Result<Step, DecodeError> {
        let outside = DecodeError::new(0, "an index node out of bounds");
        let room = self.meta.index_bytes.checked_sub(offset).ok_or(outside)?;
        let at = self.layout.index + offset;
        let header = NodeHeader::decode(self.metadata.bytes(at, NODE_HEADER_BYTES)?)?;
        if header.len as u64 > room || (level != u8::MAX && header.level != level) {
            return Err(outside);
        }
        Node::decode(header, self.metadata.bytes(at, header.len)?)?.step(sort_key)
    }

    /// How many (key group, state) pairs there are.
    pub fn directory_len(&self) -> usize {
        self.meta.directory_entries as usize
    }

    /// The counts of the `index`-th (key group, state) pair, in ascending order; `None` past the end.
    pub fn directory_entry(&self, index: usize) -> Result<Option<DirectoryEntry>, StorageError> {
        if index >= self.directory_len() {
            return Ok(None);
        }
        let at = self.layout.directory + (index * DIRECTORY_ENTRY_BYTES) as u64;
        let entry = self.metadata.bytes(at, DIRECTORY_ENTRY_BYTES).and_then(DirectoryEntry::decode);
        entry.map(Some).map_err(|error| self.metadata_error(error))
    }

    /// The counts of one (key group, state); `None` where the segment has nothing of it.
    pub fn find_directory(&self, group: KeyGroup, state: StateId) -> Result<Option<DirectoryEntry>, StorageError> {
        let (mut low, mut high) = (0, self.directory_len());
        while low < high {
            let middle = low.midpoint(high);
            match self.directory_entry(middle)? {
                Some(entry) if (entry.group, entry.state) == (group.0, state.0) => return Ok(Some(entry)),
                Some(entry) if (entry.group, entry.state) < (group.0, state.0) => low = middle + 1,
                _ => high = middle,
            }
        }
        Ok(None)
    }

    /// The read that fetches a block, for a batch.
    pub fn read_request(&self, block: BlockRef) -> ReadRequest {
        ReadRequest::new(Arc::clone(&self.file), block.offset, block.len as usize)
    }

    /// The same for a block and those behind it, as far as they end within so many bytes.
    pub fn read_request_ahead(&self, block: BlockRef, bytes_max: u64) -> Result<ReadRequest, StorageError> {
        let mut end = block.offset + u64::from(block.len);
        for index in block.index + 1..self.blocks() {
            let next = self.block_ref(index)?;
            let next_end = next.offset + u64::from(next.len);
            if next_end < end || next_end - block.offset > bytes_max {
                break;
            }
            end = next_end;
        }
        Ok(ReadRequest::new(Arc::clone(&self.file), block.offset, (end - block.offset) as usize))
    }

    /// Checks and decodes what [`Segment::read_request`] fetched.
    pub fn decode(&self, block: BlockRef, stored: Buffer) -> Result<Block, StorageError> {
        if stored.len() != block.len as usize {
            return Err(StorageError::new(Fault::Length, self.file.path(), block.offset, "a block read in part"));
        }
        Block::decode(stored, place(self.meta.id.0, block.offset)).map_err(|error| self.block_error(block, error))
    }

    /// The same for a block that is part of a larger read.
    pub(super) fn decode_copy(&self, block: BlockRef, stored: &[u8]) -> Result<Block, StorageError> {
        Block::decode_copy(stored, place(self.meta.id.0, block.offset)).map_err(|error| self.block_error(block, error))
    }

    fn block_error(&self, block: BlockRef, error: DecodeError) -> StorageError {
        self.corrupt(block.offset + error.at.min(block.len as usize) as u64, error.problem)
    }

    /// The block, if the cache has it.
    pub fn cached(&self, block: BlockRef) -> Option<Arc<Block>> {
        self.cache.as_ref()?.get(self.meta.id, block)
    }

    /// Offers the cache a block that it didn't have.
    pub fn offer_to_cache(&self, block: BlockRef, content: &Arc<Block>) {
        if let Some(cache) = &self.cache {
            cache.put(self.meta.id, block, content);
        }
    }

    /// The block, from the cache or the file.
    pub fn block(&self, block: BlockRef) -> Result<Arc<Block>, StorageError> {
        if let Some(found) = self.cached(block) {
            return Ok(found);
        }
        let content = Arc::new(self.read_block(block)?);
        self.offer_to_cache(block, &content);
        Ok(content)
    }

    /// Reads and decodes a block, past the cache.
    pub fn read_block(&self, block: BlockRef) -> Result<Block, StorageError> {
        self.decode(block, self.file.read_single(block.offset, block.len as usize)?)
    }

    /// A cursor over all records, which stands nowhere yet. It takes the blocks that it seeks to from the cache, and
    /// reads ahead past it.
    pub fn cursor(self: &Arc<Self>) -> SegmentCursor {
        SegmentCursor::new(Arc::clone(self))
    }
}

/// Where in the metadata the filter's block for a hash lies.
#[inline]
fn filter_block(meta: &SegmentMeta, hash: u64) -> u64 {
    u64::from(filter::block_of(hash, meta.filter_blocks)) * FILTER_BLOCK_BYTES as u64
}

/// The superblock at `offset` of a file.
pub(super) fn read_superblock(file: &dyn ReadFile, offset: u64) -> Result<Superblock, StorageError> {
    decode_superblock(file, offset, &file.read_at(offset, SUPERBLOCK_BYTES)?)
}

fn decode_superblock(file: &dyn ReadFile, offset: u64, bytes: &[u8]) -> Result<Superblock, StorageError> {
    Superblock::decode(bytes)
        .map_err(|(fault, error)| StorageError::new(fault, file.path(), offset + error.at as u64, error.problem))
}
