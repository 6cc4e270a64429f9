//! Walks the records of a segment in either direction.
//!
//! After a seek one block is read; each further block in the same direction doubles what is read at once, up to
//! 128 KiB, so that short walks read little and long ones read ahead.

use std::cmp::Ordering;
use std::fmt::Debug;
use std::sync::Arc;

use crate::platform::storage::{Buffer, StorageError};

use super::Entry;
use super::block::{Block, Position};
use super::reader::{BlockRef, Segment};
use crate::ids::SegmentId;

/// The most that is read at once, unless a single block is longer.
const READ_BYTES_MAX: u64 = 128 << 10;

/// A cache in front of segments: of what is read one block at a time, by lookups and by seeks.
pub trait BlockSource: Send + Sync + Debug {
    /// The block, if it is there.
    fn get(&self, segment: SegmentId, block: BlockRef) -> Option<Arc<Block>>;
    /// Offers a block that wasn't there.
    fn put(&self, segment: SegmentId, block: BlockRef, content: &Arc<Block>);
}

/// The bytes of several neighbouring blocks.
#[derive(Debug, Default)]
struct Window {
    /// Where the bytes start in the file.
    offset: u64,
    bytes: Buffer,
}

impl Window {
    fn block(&self, block: BlockRef) -> Option<&[u8]> {
        let start = usize::try_from(block.offset.checked_sub(self.offset)?).ok()?;
        self.bytes.get(start..)?.get(..block.len as usize)
    }
}

/// A place among the records of a segment: on a record, or past either end.
///
/// After an error it stands nowhere; seek again, or give up.
#[derive(Debug)]
pub struct SegmentCursor {
    segment: Arc<Segment>,
    /// The block that `position` stands in, and its number.
    block: Option<(u32, Arc<Block>)>,
    position: Position,
    window: Window,
    /// How many blocks in a row were gone through since the last seek or turn, and in which direction.
    run: u32,
    direction: Ordering,
}

impl SegmentCursor {
    pub(super) fn new(segment: Arc<Segment>) -> Self {
        Self {
            segment,
            block: None,
            position: Position::default(),
            window: Window::default(),
            run: 0,
            direction: Ordering::Equal,
        }
    }

    /// The segment.
    pub fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// The memory that it holds on to, in bytes.
    pub fn memory_bytes(&self) -> usize {
        let block = self.block.as_ref().map_or(0, |(_, block)| block.memory_bytes());
        size_of::<Self>() + block + self.position.memory_bytes() + self.window.bytes.capacity()
    }

    /// Takes what was read of the file already, from `offset` on.
    pub fn take_ahead(&mut self, offset: u64, bytes: Buffer) {
        self.window = Window { offset, bytes };
    }

    /// The record that it stands on; `None` past the ends.
    pub fn entry(&self) -> Option<Entry<'_>> {
        self.block.as_ref()?.1.entry(&self.position)
    }

    /// Moves to the first record whose sort key is at least `sort_key`, or past the end. An empty key finds the first.
    pub fn seek(&mut self, sort_key: &[u8]) -> Result<(), StorageError> {
        let index = self.floor_block(sort_key)?.unwrap_or(0);
        self.enter(index, Ordering::Equal, |block, position| block.seek(position, sort_key))?;
        // Between the last record of this block and the separator of the next.
        if self.position.is_valid() { Ok(()) } else { self.next_block(index) }
    }

    /// Moves to the last record whose sort key is less than `sort_key`, or past the end.
    pub fn seek_before(&mut self, sort_key: &[u8]) -> Result<(), StorageError> {
        let Some(index) = self.floor_block(sort_key)? else {
            self.position.clear();
            return Ok(());
        };
        self.enter(index, Ordering::Equal, |block, position| block.seek_before(position, sort_key))?;
        if self.position.is_valid() { Ok(()) } else { self.prev_block(index) }
    }

    /// Moves to the last record.
    pub fn seek_last(&mut self) -> Result<(), StorageError> {
        self.enter(self.segment.blocks() - 1, Ordering::Equal, Block::last)
    }

    /// Moves to the next record, or past the end. Past the end it stays.
    #[expect(clippy::should_implement_trait, reason = "lends its records, which no iterator can")]
    pub fn next(&mut self) -> Result<(), StorageError> {
        let Some((index, block)) = self.block.as_ref().filter(|_| self.position.is_valid()) else {
            return Ok(());
        };
        block.next(&mut self.position);
        if self.position.is_valid() { Ok(()) } else { self.next_block(*index) }
    }

    /// Moves to the record before, or past the end. Past the end it stays.
    pub fn prev(&mut self) -> Result<(), StorageError> {
        let Some((index, block)) = self.block.as_ref().filter(|_| self.position.is_valid()) else {
            return Ok(());
        };
        block.prev(&mut self.position);
        if self.position.is_valid() { Ok(()) } else { self.prev_block(*index) }
    }

    fn floor_block(&mut self, sort_key: &[u8]) -> Result<Option<u32>, StorageError> {
        let found = self.segment.floor_block(sort_key);
        if found.is_err() {
            self.position.clear();
        }
        found
    }

    /// Stands on the first record behind block `index`.
    fn next_block(&mut self, index: u32) -> Result<(), StorageError> {
        match index.checked_add(1).filter(|next| *next < self.segment.blocks()) {
            Some(next) => self.enter(next, Ordering::Greater, Block::first),
            None => Ok(()),
        }
    }

    /// Stands on the last record before block `index`.
    fn prev_block(&mut self, index: u32) -> Result<(), StorageError> {
        match index.checked_sub(1) {
            Some(before) => self.enter(before, Ordering::Less, Block::last),
            None => Ok(()),
        }
    }

    /// Goes into block `index`, coming from its neighbour in the given direction (`Equal`: from anywhere).
    fn enter(
        &mut self,
        index: u32,
        direction: Ordering,
        stand: impl FnOnce(&Block, &mut Position),
    ) -> Result<(), StorageError> {
        self.run = if direction == Ordering::Equal || direction != self.direction { 0 } else { self.run + 1 };
        self.direction = direction;
        self.position.clear();
        let present = self.block.take().filter(|(present, _)| *present == index);
        let block = match present {
            Some((_, block)) => block,
            None => self.load(index)?,
        };
        stand(&block, &mut self.position);
        self.block = Some((index, block));
        Ok(())
    }

    fn load(&mut self, index: u32) -> Result<Arc<Block>, StorageError> {
        let block = self.segment.block_ref(index)?;
        if let Some(bytes) = self.window.block(block) {
            return self.segment.decode_copy(block, bytes).map(Arc::new);
        }
        self.window = Window::default();
        if self.direction == Ordering::Equal {
            return self.segment.block(block);
        }
        self.read_ahead(block)
    }

    /// Reads `block` and those behind it in the direction of the walk.
    fn read_ahead(&mut self, block: BlockRef) -> Result<Arc<Block>, StorageError> {
        let (mut start, mut end) = (block.offset, block.offset + u64::from(block.len));
        let bytes_max = (4096_u64 << self.run.min(12)).min(READ_BYTES_MAX);
        let mut index = block.index;
        loop {
            let neighbour = if self.direction == Ordering::Less { index.checked_sub(1) } else { index.checked_add(1) };
            let Some(next) = neighbour.filter(|next| *next < self.segment.blocks()) else { break };
            let place = self.segment.block_ref(next)?;
            let (low, high) = (start.min(place.offset), end.max(place.offset + u64::from(place.len)));
            if high - low > bytes_max {
                break;
            }
            (start, end, index) = (low, high, next);
        }
        let file = self.segment.file();
        if (start, end) == (block.offset, block.offset + u64::from(block.len)) {
            return self.segment.read_block(block).map(Arc::new);
        }
        self.window = Window { offset: start, bytes: file.read_at(start, (end - start) as usize)? };
        match self.window.block(block) {
            Some(bytes) => self.segment.decode_copy(block, bytes).map(Arc::new),
            None => Err(self.segment.corrupt(block.offset, "a read came back too short")),
        }
    }
}
