//! What a shard's owner appended to the changelog and nobody has taken yet.

use super::record::{self, Change};
use crate::ids::{KeyGroup, StateId};
use crate::key::Key;

/// A buffer that holds so much is to be moved to the stream, in bytes.
pub const FULL_BYTES: usize = 256 << 10;

/// A shard's buffer; it lies inside the shard's gate.
#[derive(Debug, Default)]
pub struct LogBuffer {
    bytes: Vec<u8>,
}

impl LogBuffer {
    /// Appends a change.
    pub fn change(&mut self, state: StateId, key: Key<'_>, change: Change<'_>, expiry_ms: Option<u64>) {
        record::push_change(&mut self.bytes, state, key, change, expiry_ms);
    }

    /// Appends that a word was put.
    #[inline(never)]
    pub fn word(&mut self, state: StateId, group: KeyGroup, key: &[u8], word: [u8; 8]) {
        record::push_word(&mut self.bytes, state, group, key, word);
    }

    /// How much was appended, in bytes.
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Takes what was appended, and leaves an empty buffer in its place.
    pub fn take(&mut self, empty: Vec<u8>) -> Vec<u8> {
        std::mem::replace(&mut self.bytes, empty)
    }

    /// Whether nothing was appended.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}
