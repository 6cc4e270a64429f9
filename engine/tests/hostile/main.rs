//! Files that somebody edited who knows the formats, and put every checksum right again: whatever they say, opening them, verifying them,
//! reading all there is, merging it and going on neither panics nor hangs, asks for no memory beyond what the files can need, and touches
//! nothing outside of the directory.
//!
//! What such a store holds is whatever its files say: checksums tell damage, not forgery. `ALLUVIUM_HOSTILE` is how many random edits are
//! tried (400), `ALLUVIUM_HOSTILE_SEED` which ones.
#![cfg(target_os = "linux")]
#![expect(unsafe_code, reason = "counts what is allocated")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

mod edits;
mod files;
mod named;
mod scene;
#[path = "../durability/support/workload.rs"]
#[expect(dead_code, reason = "shared with other tests")]
mod workload;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator, watched.
struct Watched;

/// The largest piece of memory that was asked for.
static LARGEST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's, called with what this was called with.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's word.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's word.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        LARGEST.fetch_max(bytes, Ordering::Relaxed);
        // SAFETY: the caller's word.
        unsafe { System.realloc(pointer, layout, bytes) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's word.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

/// The largest piece of memory that was asked for since the last call.
fn largest() -> usize {
    LARGEST.swap(0, Ordering::Relaxed)
}
