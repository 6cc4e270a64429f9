//! A segment's metadata in place: mapped, and each page checked on its first touch.
//!
//! Invariant: no byte is handed out before the checksum of its page was found right, and none of the page checksums
//! is used before theirs was. Opening touches nothing. Two threads may check one page at the same time; both find the
//! same, as the file never changes.

use crate::platform::safeguards::{Safeguard, stands};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::checksum::checksum;
use crate::codec::{DecodeError, u64_at};
use crate::platform::storage::{Fault, Mapping, ReadFile, StorageError};

use super::format::{Layout, METADATA_PAGE_BYTES, Section};

const PAGE: usize = METADATA_PAGE_BYTES as usize;

/// A segment of which so many pages were touched will be asked for the others: they are read ahead.
const PAGES_BEFORE_ALL: usize = 8;
/// What is read ahead for each page touched from then on.
const AHEAD_BYTES: usize = 1 << 20;

/// The mapped metadata and page checksums of one segment.
#[derive(Debug)]
pub(super) struct Metadata {
    /// The metadata, then its page checksums.
    map: Mapping,
    /// Where the metadata starts in the file, its length, and the checksum of the page checksums.
    section: Section,
    len: usize,
    /// One bit for each page found right; the last bit stands for the page checksums themselves.
    ///
    /// Relaxed: a bit says something about bytes that are the same for every thread at all times; it publishes nothing.
    right: Box<[AtomicU64]>,
    pages: usize,
    /// How many pages were found right.
    touched: AtomicUsize,
}

impl Metadata {
    /// Maps the metadata of `file`.
    pub fn map(file: &dyn ReadFile, section: Section, layout: &Layout) -> Result<Self, StorageError> {
        let too_long = || StorageError::new(Fault::Length, file.path(), section.offset, "more metadata than memory");
        let len = usize::try_from(section.len).map_err(|_| too_long())?;
        let map_len = usize::try_from(section.len + layout.pages * 8).map_err(|_| too_long())?;
        let map = file.map(section.offset, map_len)?;
        if map.len() != map_len {
            return Err(StorageError::new(Fault::Length, file.path(), section.offset, "mapped shorter than asked for"));
        }
        let pages = layout.pages as usize;
        let right = (0..=pages / 64).map(|_| AtomicU64::new(0)).collect();
        Ok(Self { map, section, len, right, pages, touched: AtomicUsize::new(0) })
    }

    /// The bytes of `start..start + len`, checked.
    #[inline]
    pub fn bytes(&self, start: u64, len: usize) -> Result<&[u8], DecodeError> {
        let range = usize::try_from(start).ok().and_then(|start| Some(start..start.checked_add(len)?));
        let Some(range) = range.filter(|range| range.end <= self.len) else {
            return Err(DecodeError::new(0, "out of the metadata's bounds"));
        };
        for page in range.start / PAGE..range.end.div_ceil(PAGE) {
            if !self.is_right(page) {
                self.check_page(page)?;
            }
        }
        Ok(&self.map[range])
    }

    /// The `N` bytes at `start`, neither of them checked nor a page fault waited for; for prefetching alone.
    #[inline]
    pub fn unchecked<const N: usize>(&self, start: usize) -> Option<&[u8; N]> {
        self.map.get(start..)?.first_chunk()
    }

    /// Checks each page, whether it was checked before or not.
    pub fn verify(&self) -> Result<(), DecodeError> {
        self.check_checksums()?;
        (0..self.pages).try_for_each(|page| self.check_page(page))
    }

    /// The failure `error` as one of the file, which `error` counts the offset of from the metadata's start.
    pub fn error(&self, file: &dyn ReadFile, error: DecodeError) -> StorageError {
        StorageError::new(Fault::Corrupt, file.path(), self.section.offset + error.at as u64, error.problem)
    }

    #[inline]
    fn is_right(&self, page: usize) -> bool {
        self.right.get(page / 64).is_some_and(|word| word.load(Ordering::Relaxed) & (1 << (page % 64)) != 0)
    }

    fn found_right(&self, page: usize) {
        if let Some(word) = self.right.get(page / 64) {
            word.fetch_or(1 << (page % 64), Ordering::Relaxed);
        }
        // A part with each page: to ask for all of it at once would take long.
        let touched = self.touched.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(parts) = touched.checked_sub(PAGES_BEFORE_ALL) {
            self.map.read_ahead(parts.saturating_mul(AHEAD_BYTES), AHEAD_BYTES);
        }
    }

    /// Has these pages read ahead, each given by where something in it starts, and the checksums of all.
    pub fn read_ahead(&self, starts: [u64; 2]) {
        for start in starts {
            self.map.read_ahead(usize::try_from(start).unwrap_or(usize::MAX), 1);
        }
        self.map.read_ahead(self.len, self.pages * 8);
    }

    /// Has the next page touched count as the one after which the others are read ahead.
    pub fn expect_many(&self) {
        if self.touched.load(Ordering::Relaxed) < PAGES_BEFORE_ALL - 1 {
            self.touched.fetch_max(PAGES_BEFORE_ALL - 1, Ordering::Relaxed);
        }
    }

    #[cold]
    fn check_page(&self, page: usize) -> Result<(), DecodeError> {
        if !self.is_right(self.pages) {
            self.check_checksums()?;
        }
        let start = page * PAGE;
        let bytes = &self.map[start..self.len.min(start + PAGE)];
        let summed = || u64_at(&self.map, self.len + page * 8) == Some(checksum(bytes));
        if stands(Safeguard::MetadataChecksum) && !summed() {
            return Err(DecodeError::new(start, "the checksum of a page of metadata differs"));
        }
        self.found_right(page);
        Ok(())
    }

    #[cold]
    fn check_checksums(&self) -> Result<(), DecodeError> {
        if checksum(&self.map[self.len..]) != self.section.checksum {
            return Err(DecodeError::new(self.len, "the checksum of the metadata's page checksums differs"));
        }
        self.found_right(self.pages);
        Ok(())
    }
}
