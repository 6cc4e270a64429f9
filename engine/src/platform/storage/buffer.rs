//! Page-aligned memory for reads and writes.
//!
//! A [`Buffer`] owns an allocation aligned to [`ALIGNMENT`] and shows a window of it. An `O_DIRECT` read has to start
//! and end on page borders; the window then shows only the bytes that were asked for, and nothing is copied.
//! Invariant: the bytes of the window are initialised; those around it need not be.
#![expect(unsafe_code, reason = "owns aligned, partly uninitialised memory that the kernel writes to")]

use std::alloc::Layout;
use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::LazyLock;

use crossbeam::queue::ArrayQueue;

use super::{Fault, StorageError};

/// What `O_DIRECT` offsets, lengths and addresses are multiples of.
pub const ALIGNMENT: usize = 4096;

/// The capacities that are kept for reuse are [`ALIGNMENT`] times the powers of two up to this count of them: 64 KiB.
const CLASSES: usize = 5;

/// How many bytes of free blocks each class keeps at most.
const CLASS_BYTES: usize = 1 << 20;

/// The most that free blocks kept for reuse take up, in bytes.
pub const POOL_MAX_BYTES: usize = CLASSES * CLASS_BYTES;

/// Free blocks by class, shared by all storages of the process.
static FREE: LazyLock<[ArrayQueue<Block>; CLASSES]> =
    LazyLock::new(|| std::array::from_fn(|class| ArrayQueue::new(CLASS_BYTES / class_bytes(class))));

/// Bytes read from a file, or to be written to one.
#[derive(Default)]
pub struct Buffer {
    block: Option<Block>,
    start: usize,
    len: usize,
}

impl Buffer {
    /// An empty buffer that can hold `capacity` bytes; [`Fault::Memory`] where there are not that many.
    ///
    /// `path` and `offset` tell in the error what the memory was for.
    pub fn allocate(capacity: usize, path: &Path, offset: u64) -> Result<Self, StorageError> {
        if capacity == 0 {
            return Ok(Self::default());
        }
        match Block::allocate(capacity) {
            Some(block) => Ok(Self { block: Some(block), start: 0, len: 0 }),
            None => {
                let detail = format!("no memory for a buffer of {capacity} bytes");
                Err(StorageError::new(Fault::Memory, path, offset, detail))
            }
        }
    }

    /// How many bytes the allocation holds, shown or not.
    pub fn capacity(&self) -> usize {
        self.block.as_ref().map_or(0, |block| block.capacity)
    }

    /// Appends as many of `bytes` as there is room for behind the window, and says how many those were.
    pub fn push(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.room());
        if count > 0 {
            // SAFETY: `spare` points to `room()` writable bytes, which `bytes` can't overlap as we borrow it alone.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.spare(), count) };
            self.len += count;
        }
        count
    }

    /// Appends zeros up to a length of `len` bytes, as far as there is room.
    pub fn pad(&mut self, len: usize) {
        const ZEROS: [u8; ALIGNMENT] = [0; ALIGNMENT];
        while self.len < len {
            if self.push(&ZEROS[..ALIGNMENT.min(len - self.len)]) == 0 {
                return;
            }
        }
    }

    /// Shows nothing; the memory stays.
    pub fn clear(&mut self) {
        self.start = 0;
        self.len = 0;
    }

    /// Shows only the first `len` bytes of what is shown now.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Shows only `len` bytes from `start` of what is shown now, or nothing at all where there are not that many.
    pub fn narrow(mut self, start: usize, len: usize) -> Self {
        if start.checked_add(len).is_some_and(|end| end <= self.len) {
            self.start += start;
            self.len = len;
        } else {
            self.clear();
        }
        self
    }

    /// How many bytes fit behind the window.
    pub(super) fn room(&self) -> usize {
        self.capacity() - self.start - self.len
    }

    /// Where the bytes behind the window go; valid for writes of [`Buffer::room`] bytes while the buffer lives.
    pub(super) fn spare(&mut self) -> *mut u8 {
        match &self.block {
            // SAFETY: start + len <= capacity, so the pointer stays within the allocation or at its end.
            Some(block) => unsafe { block.pointer.as_ptr().add(self.start + self.len) },
            None => NonNull::dangling().as_ptr(),
        }
    }

    /// Shows `count` bytes more.
    ///
    /// # Safety
    /// The `count` bytes from [`Buffer::spare`] are initialised, and nobody writes to them any more.
    pub(super) unsafe fn extend(&mut self, count: usize) {
        assert!(count <= self.room(), "more bytes than the buffer holds");
        self.len += count;
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.block {
            // SAFETY: the window lies within the allocation and is initialised (the invariant of this file).
            Some(block) => unsafe {
                std::slice::from_raw_parts(block.pointer.as_ptr().add(self.start).cast_const(), self.len)
            },
            None => &[],
        }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} of {} bytes)", self.len, self.capacity())
    }
}

/// An allocation. Dropped blocks of the pooled capacities are kept for reuse while their class has room.
struct Block {
    pointer: NonNull<u8>,
    capacity: usize,
}

// SAFETY: a block owns its memory alone; it can be used and freed by any thread.
unsafe impl Send for Block {}
// SAFETY: a shared block is only read.
unsafe impl Sync for Block {}

impl Block {
    fn allocate(capacity: usize) -> Option<Self> {
        let capacity = match class_of(capacity) {
            Some(class) => match FREE[class].pop() {
                Some(block) => return Some(block),
                None => class_bytes(class),
            },
            None => capacity.checked_next_multiple_of(ALIGNMENT)?,
        };
        let layout = Layout::from_size_align(capacity, ALIGNMENT).ok()?;
        // SAFETY: the capacity is not 0, as a request of 0 bytes never comes here.
        let pointer = NonNull::new(unsafe { std::alloc::alloc(layout) })?;
        Some(Self { pointer, capacity })
    }

    /// Gives the memory back to the allocator, past the pool.
    fn free(self) {
        let block = ManuallyDrop::new(self);
        if let Ok(layout) = Layout::from_size_align(block.capacity, ALIGNMENT) {
            // SAFETY: `allocate` took the block with this very layout, and `ManuallyDrop` keeps it from a second free.
            unsafe { std::alloc::dealloc(block.pointer.as_ptr(), layout) };
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let block = Self { pointer: self.pointer, capacity: self.capacity };
        match class_of(self.capacity) {
            Some(class) => {
                if let Err(block) = FREE[class].push(block) {
                    block.free();
                }
            }
            None => block.free(),
        }
    }
}

const fn class_bytes(class: usize) -> usize {
    ALIGNMENT << class
}

/// The smallest class that holds `capacity` bytes, if any does.
fn class_of(capacity: usize) -> Option<usize> {
    (0..CLASSES).find(|class| capacity <= class_bytes(*class))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_aligned_and_shows_its_window() {
        for capacity in [1, 4096, 4097, 65536, 65537, 3 << 20] {
            let mut buffer = Buffer::allocate(capacity, Path::new("x"), 0).unwrap();
            assert!(buffer.is_empty() && buffer.capacity() >= capacity);
            assert_eq!(buffer.spare() as usize % ALIGNMENT, 0);
            assert_eq!(buffer.push(b"sediment"), 8.min(buffer.capacity()));
            assert_eq!(&*buffer.narrow(1, 3), b"edi");
        }
    }

    #[test]
    fn a_push_stops_at_the_end_and_a_window_past_it_is_empty() {
        let mut buffer = Buffer::allocate(4096, Path::new("x"), 0).unwrap();
        assert_eq!(buffer.push(&[7; 5000]), 4096);
        assert_eq!(buffer.push(b"x"), 0);
        assert_eq!(&*buffer, &[7; 4096]);
        assert!(buffer.narrow(4090, 7).is_empty());
        assert!(Buffer::default().is_empty());
        assert_eq!(Buffer::default().push(b"x"), 0);
    }

    #[test]
    fn too_much_memory_is_an_error() {
        for capacity in [usize::MAX, isize::MAX as usize, 1 << 62] {
            let error = Buffer::allocate(capacity, Path::new("x"), 9).unwrap_err();
            assert_eq!((error.fault, error.offset), (Fault::Memory, 9));
        }
    }

    #[test]
    fn threads_share_the_pool() {
        std::thread::scope(|scope| {
            for seed in 0..4u8 {
                scope.spawn(move || {
                    let mut held = Vec::new();
                    for round in 0..2000usize {
                        let mut buffer = Buffer::allocate(1 + (round * 37) % 70_000, Path::new("x"), 0).unwrap();
                        buffer.push(&[seed; 100]);
                        held.push(buffer);
                        if held.len() > 40 {
                            assert!(held.swap_remove(round % 40).iter().all(|byte| *byte == seed));
                        }
                    }
                });
            }
        });
        assert!(FREE.iter().enumerate().all(|(class, free)| free.len() * class_bytes(class) <= CLASS_BYTES));
    }
}
