//! A part of an immutable file, mapped into memory.
#![expect(unsafe_code, reason = "maps files")]

use super::faults::{self, Call};
use std::fmt;
use std::ops::Deref;
use std::os::fd::{AsRawFd, BorrowedFd};

use memmap2::{Advice, Mmap, MmapOptions};

/// What one call asks the kernel to read ahead.
const AHEAD_BYTES: usize = 128 << 10;

/// Bytes of a file, mapped through the page cache.
///
/// The range may start anywhere; page borders are this type's matter. A complete file is never changed or truncated
/// by the engine, which is what keeps the bytes constant and the mapping free of `SIGBUS`.
#[derive(Default)]
pub struct Mapping {
    map: Option<Mmap>,
}

impl Mapping {
    /// Maps `len` bytes from `offset`. The caller has checked that the file holds them.
    pub(super) fn new(file: BorrowedFd<'_>, offset: u64, len: usize) -> std::io::Result<Self> {
        if len == 0 {
            return Ok(Self::default());
        }
        faults::on(Call::Map, file)?;
        // SAFETY: the files of a store are written once, then never changed or truncated while they can be mapped.
        let map = unsafe { MmapOptions::new().offset(offset).len(len).map(file.as_raw_fd())? };
        // Each touch reads one page and no more: the first reads after a recovery want little of much. Advice that is
        // refused changes nothing but the time that a touch takes.
        let _ = map.advise(Advice::Random);
        Ok(Self { map: Some(map) })
    }

    /// Has a part of it read ahead, in the background; what lies beyond the end is left out.
    pub fn read_ahead(&self, start: usize, len: usize) {
        let Some(map) = &self.map else { return };
        let end = start.saturating_add(len).min(map.len());
        // Linux reads no more for one call than the device's read-ahead, mostly 128 KiB.
        for from in (start..end).step_by(AHEAD_BYTES) {
            let _ = map.advise_range(Advice::WillNeed, from, AHEAD_BYTES.min(end - from));
        }
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
    }
}

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mapping({} bytes)", self.len())
    }
}
