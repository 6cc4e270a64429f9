//! Bytes that were read.

use std::ops::Deref;

/// Bytes read from a file.
#[derive(Debug, Default)]
pub struct Buffer {
    bytes: Vec<u8>,
}

impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Bytes of a file, mapped.
#[derive(Debug)]
pub struct Mapping {
    bytes: Vec<u8>,
}

impl Deref for Mapping {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}
