//! Numbers that nobody else is likely to draw.

use super::threads;
use std::hash::{BuildHasher, Hasher};

/// A number that no other call, here or in another process, is likely to return.
pub fn random() -> u64 {
    // The standard library's hasher keys come from the operating system.
    threads::drawn().unwrap_or_else(|| std::collections::hash_map::RandomState::new().build_hasher().finish())
}
