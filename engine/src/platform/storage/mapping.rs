//! A part of an immutable file, mapped into memory.
#![expect(unsafe_code, reason = "maps files")]

use std::fmt;
use std::ops::Deref;
use std::os::fd::{AsRawFd, BorrowedFd};

use memmap2::{Advice, Mmap, MmapOptions};

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
        // SAFETY: the files of a store are written once, then never changed or truncated while they can be mapped.
        let map = unsafe { MmapOptions::new().offset(offset).len(len).map(file.as_raw_fd())? };
        // Each touch reads one page and no more: the first reads after a recovery want little of much. Advice that is
        // refused changes nothing but the time that a touch takes.
        let _ = map.advise(Advice::Random);
        Ok(Self { map: Some(map) })
    }

    /// Has all of it read ahead, in the background.
    pub fn read_ahead(&self) {
        if let Some(map) = &self.map {
            let _ = map.advise(Advice::Normal).and_then(|()| map.advise(Advice::WillNeed));
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
