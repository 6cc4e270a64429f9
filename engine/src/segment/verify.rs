//! Checks a segment file from its first byte to its last.

use crate::checksum::checksum;
use crate::codec::DecodeError;
use crate::platform::storage::StorageError;

use super::block::{Block, Position};
use super::format::{DIRECTORY_ENTRY_BYTES, PAGE_BYTES, SUPERBLOCK_BYTES, SegmentMeta, UNIT_BYTES};
use super::reader::{Segment, read_superblock};
use super::summary::{Step, Summary};
use super::{Entry, Kind};

impl Segment {
    /// Reads the whole file, checks every byte and cross-reference of it, and hands each record to `each`, in order.
    ///
    /// Checked are all checksums and that what lies between is zero; that sort keys ascend; that index and filter find
    /// every record; that counts, directory and description are what the records add up to; and that the file
    /// describes itself as the manifest does. The first fault found ends it.
    pub fn verify(&self, each: &mut dyn FnMut(Entry<'_>)) -> Result<(), StorageError> {
        self.verify_opening()?;
        self.metadata().verify().map_err(|error| self.metadata_error(error))?;
        let mut summary = Summary::default();
        let mut filter_keys = 0;
        let mut end = PAGE_BYTES;
        for index in 0..self.blocks() {
            end = self.verify_block(index, end, &mut summary, &mut filter_keys, each)?;
        }
        if end != self.meta().metadata.offset {
            return Err(self.corrupt(end, "bytes between the last block and the metadata"));
        }
        self.verify_summary(summary, filter_keys)?;
        self.verify_table_end()?;
        self.verify_closing()
    }

    fn verify_opening(&self) -> Result<(), StorageError> {
        let len = PAGE_BYTES as usize - SUPERBLOCK_BYTES;
        read_superblock(&**self.file(), 0)?;
        self.verify_zeros(SUPERBLOCK_BYTES as u64, len)
    }

    fn verify_zeros(&self, offset: u64, len: usize) -> Result<(), StorageError> {
        match self.file().read_at(offset, len)?.iter().position(|&byte| byte != 0) {
            None => Ok(()),
            Some(at) => Err(self.corrupt(offset + at as u64, "padding is not zero")),
        }
    }

    /// Checks a block and what lies between `end` and it; returns its end.
    fn verify_block(
        &self,
        index: u32,
        end: u64,
        summary: &mut Summary,
        filter_keys: &mut u64,
        each: &mut dyn FnMut(Entry<'_>),
    ) -> Result<u64, StorageError> {
        let place = self.block_ref(index)?;
        match place.offset.checked_sub(end) {
            Some(0) => {}
            Some(gap) if gap < PAGE_BYTES => self.verify_zeros(end, gap as usize)?,
            _ => return Err(self.corrupt(place.offset, "a block out of place")),
        }
        let block = self.read_block(place)?;
        let fail = |error: DecodeError| self.corrupt(place.offset, error.problem);
        let mut position = Position::default();
        block.first(&mut position);
        let mut number = 0;
        while let Some(entry) = block.entry(&position) {
            let step = summary.add(&entry).map_err(fail)?;
            *filter_keys += self.verify_filter(&entry, &step)?;
            if number == 0 || number + 1 == block.len() {
                self.verify_found(&entry, index, &block)?;
            }
            each(entry);
            number += 1;
            block.next(&mut position);
        }
        Ok(place.offset + u64::from(place.len))
    }

    /// Checks that the filter knows a record and its container; returns how many keys that were.
    fn verify_filter(&self, entry: &Entry<'_>, step: &Step) -> Result<u64, StorageError> {
        let container = step.new_container.map(|len| &entry.sort_key[..len]);
        for key in [Some(entry.sort_key), container].into_iter().flatten() {
            if !self.may_contain(self.hash(key)) {
                return Err(self.corrupt(self.meta().metadata.offset, "the filter lacks a key"));
            }
        }
        let clears = entry.kind == Kind::Clear;
        if clears && !self.may_clear(self.hash(entry.sort_key)) {
            return Err(self.corrupt(self.meta().metadata.offset, "the filter lacks a clear"));
        }
        Ok(1 + u64::from(container.is_some()) + u64::from(clears))
    }

    /// Checks that the index leads to a block's record, and that the block finds it.
    fn verify_found(&self, entry: &Entry<'_>, index: u32, block: &Block) -> Result<(), StorageError> {
        let found = self.locate(entry.sort_key)?.map(|place| place.index);
        if found != Some(index) || block.get(entry.sort_key) != Some(*entry) {
            let offset = self.meta().metadata.offset + self.layout().index;
            return Err(self.corrupt(offset, "the index doesn't lead to a record"));
        }
        Ok(())
    }

    fn verify_summary(&self, mut summary: Summary, filter_keys: u64) -> Result<(), StorageError> {
        let meta = self.meta();
        let mut counted = SegmentMeta { filter_keys, ..meta.clone() };
        summary.fill(&mut counted);
        if counted != *meta {
            return Err(self.corrupt(self.layout().meta_record, "the records add up to something else"));
        }
        let offset = self.layout().directory;
        let directory = self.metadata().bytes(offset, self.directory_len() * DIRECTORY_ENTRY_BYTES);
        if directory.map_err(|error| self.metadata_error(error))? != summary.directory() {
            return Err(self.corrupt(meta.metadata.offset + offset, "the directory adds up to something else"));
        }
        Ok(())
    }

    /// Checks that what fills the block table up is zero.
    fn verify_table_end(&self) -> Result<(), StorageError> {
        let end = self.layout().table + u64::from(self.blocks()) * 8;
        let len = (end.next_multiple_of(UNIT_BYTES) - end) as usize;
        self.verify_zeros(self.meta().metadata.offset + end, len)
    }

    /// Checks that the file describes itself as it was described.
    fn verify_closing(&self) -> Result<(), StorageError> {
        let layout = self.layout();
        let mut expected = Vec::with_capacity(self.meta().encoded_bytes());
        self.meta().encode(&mut expected);
        let record = self.file().read_at(layout.meta_record, expected.len())?;
        if *record != *expected {
            return Err(self.corrupt(layout.meta_record, "the meta record differs from the segment's description"));
        }
        let closing = read_superblock(&**self.file(), layout.closing)?;
        let section = closing.closing.filter(|(file_bytes, _)| *file_bytes == self.meta().file_bytes);
        let same = section.is_some_and(|(_, meta)| {
            (meta.offset, meta.len) == (layout.meta_record, expected.len() as u64) && meta.checksum == checksum(&record)
        });
        let opening = read_superblock(&**self.file(), 0)?;
        let twins = super::format::Superblock { closing: None, ..closing } == opening;
        if same && twins { Ok(()) } else { Err(self.corrupt(layout.closing, "the closing superblock differs")) }
    }
}
