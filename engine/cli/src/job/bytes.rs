//! The job's byte strings: keys built on the stack, values read field by field.

use alluvium::key::{Key, key_group_of};

use super::table::KEY_GROUPS;

/// The longest byte string that [`ShortBytes`] takes.
const SHORT_BYTES_MAX: usize = 64;
// The longest of all is a timer of a route: due, kind, two lengths, period, two codes of at most 12 bytes with their
// lengths, an hour.
const _: () = assert!(8 + 1 + 2 + (2 + 2 * 13) + 8 <= SHORT_BYTES_MAX);

/// A key, namespace or user key on its way to the store.
#[derive(Clone, Copy)]
pub struct ShortBytes {
    bytes: [u8; SHORT_BYTES_MAX],
    len: usize,
}

impl ShortBytes {
    /// No bytes.
    pub fn new() -> Self {
        Self { bytes: [0; SHORT_BYTES_MAX], len: 0 }
    }

    /// The same with more bytes at its end.
    #[must_use]
    pub fn with(mut self, more: &[u8]) -> Self {
        self.bytes[self.len..self.len + more.len()].copy_from_slice(more);
        self.len += more.len();
        self
    }

    /// The same with a text and, before it, its length in a byte.
    #[must_use]
    pub fn with_text(self, text: &[u8]) -> Self {
        debug_assert!(text.len() < SHORT_BYTES_MAX);
        // Shorter than SHORT_BYTES_MAX.
        self.with(&[text.len() as u8]).with(text)
    }
}

impl std::ops::Deref for ShortBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl AsRef<[u8]> for ShortBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// The key of a route in a period.
pub fn route_key(period: u16, origin: &str, dest: &str) -> ShortBytes {
    ShortBytes::new().with(&period.to_be_bytes()).with_text(origin.as_bytes()).with_text(dest.as_bytes())
}

/// The key of an aircraft, airport or airline in a period.
pub fn name_key(period: u16, name: &str) -> ShortBytes {
    ShortBytes::new().with(&period.to_be_bytes()).with(name.as_bytes())
}

/// Where a key lies in the store: the engine's own hash chooses its key group.
pub fn at(key: &[u8]) -> Key<'_> {
    Key::new(key_group_of(key, KEY_GROUPS), key)
}

/// The fields of a value, taken from its start. Past its end every field is 0: a value that is too short shows up as a
/// difference at the end of the run.
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk::<N>().map_or(([0; N], &[][..]), |(field, rest)| (*field, rest));
        self.0 = rest;
        field
    }

    /// Two bytes.
    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    /// Four bytes.
    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    /// Four bytes, signed.
    pub fn i32(&mut self) -> i32 {
        i32::from_le_bytes(self.take())
    }

    /// Eight bytes, signed.
    pub fn i64(&mut self) -> i64 {
        i64::from_le_bytes(self.take())
    }

    /// Sixteen bytes, signed.
    pub fn i128(&mut self) -> i128 {
        i128::from_le_bytes(self.take())
    }

    /// Eight bytes as they lie in keys: big-endian.
    pub fn sorted_u64(&mut self) -> u64 {
        u64::from_be_bytes(self.take())
    }

    /// Four bytes as they lie in keys: big-endian.
    pub fn sorted_u32(&mut self) -> u32 {
        u32::from_be_bytes(self.take())
    }

    /// One byte.
    pub fn u8(&mut self) -> u8 {
        u8::from_le_bytes(self.take())
    }

    /// A text with its length before it.
    pub fn text(&mut self) -> &'a [u8] {
        let len = usize::from(self.u8()).min(self.0.len());
        let (text, rest) = self.0.split_at(len);
        self.0 = rest;
        text
    }
}
