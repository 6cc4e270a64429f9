//! Records packed into one buffer: what cursors fill, and what bindings hand on without a call for each record.
//!
//! ```text
//! key group u16 | len(key) u16 | len(namespace) u16 | len(user key) u16 | len(value) u32 | key | namespace | user key | value
//! ```
//!
//! one record after another, without padding; numbers are little-endian.

use crate::ids::KeyGroup;

/// How many bytes come before a record's first part.
pub const HEADER_BYTES: usize = 12;

/// One record of a [`Packed`] buffer. What a cursor doesn't give is empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PackedRecord<'a> {
    /// The key group.
    pub group: KeyGroup,
    /// The key.
    pub key: &'a [u8],
    /// The namespace.
    pub namespace: &'a [u8],
    /// The user key of a map's entry.
    pub user_key: &'a [u8],
    /// The value.
    pub value: &'a [u8],
}

/// Records in one buffer, which is used again and again. It is full when either limit is reached; one record always fits.
#[derive(Clone, Debug)]
pub struct Packed {
    bytes: Vec<u8>,
    records: usize,
    records_max: usize,
    bytes_max: usize,
}

impl Default for Packed {
    /// Room for 4,096 records or 1 MiB.
    fn default() -> Self {
        Self::new(4096, 1 << 20)
    }
}

impl Packed {
    /// An empty buffer for at most so many records (at least 1) and, but for the last of them, bytes.
    pub const fn new(records_max: usize, bytes_max: usize) -> Self {
        let records_max = if records_max == 0 { 1 } else { records_max };
        Self { bytes: Vec::new(), records: 0, records_max, bytes_max }
    }

    /// How many records there are.
    pub const fn len(&self) -> usize {
        self.records
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// The records as they lie in memory; see the module's head.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The records, in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = PackedRecord<'_>> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            let (record, behind) = take(rest)?;
            rest = behind;
            Some(record)
        })
    }

    /// Moves all records to `bytes`, and takes its memory for the next ones: a host that keeps them needs no copy of its own.
    pub fn swap_out(&mut self, bytes: &mut Vec<u8>) {
        std::mem::swap(&mut self.bytes, bytes);
        self.clear();
    }

    /// Takes all records out.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.records = 0;
    }

    /// How many more records fit, as far as their number goes.
    pub(crate) const fn room(&self) -> usize {
        if self.bytes.len() >= self.bytes_max { 0 } else { self.records_max - self.records }
    }

    /// Adds a record. The parts' lengths are those that a store accepts.
    #[inline]
    pub(crate) fn push(&mut self, record: PackedRecord<'_>) {
        push(&mut self.bytes, record);
        self.records += 1;
    }
}

/// Adds a record to a buffer, for bindings that hand on what they have one by one. The parts' lengths are those that a store accepts.
#[inline]
pub fn push(out: &mut Vec<u8>, record: PackedRecord<'_>) {
    let PackedRecord { group, key, namespace, user_key, value } = record;
    let len = |part: &[u8]| (part.len() as u16).to_le_bytes();
    let mut header = [0; HEADER_BYTES];
    header[..2].copy_from_slice(&group.0.to_le_bytes());
    header[2..4].copy_from_slice(&len(key));
    header[4..6].copy_from_slice(&len(namespace));
    header[6..8].copy_from_slice(&len(user_key));
    header[8..].copy_from_slice(&(value.len() as u32).to_le_bytes());
    out.reserve(HEADER_BYTES + key.len() + namespace.len() + user_key.len() + value.len());
    for part in [&header[..], key, namespace, user_key, value] {
        out.extend_from_slice(part);
    }
}

fn take(bytes: &[u8]) -> Option<(PackedRecord<'_>, &[u8])> {
    let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let short = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    let (key, rest) = rest.split_at_checked(usize::from(short(2)))?;
    let (namespace, rest) = rest.split_at_checked(usize::from(short(4)))?;
    let (user_key, rest) = rest.split_at_checked(usize::from(short(6)))?;
    let value_len = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
    let (value, rest) = rest.split_at_checked(value_len as usize)?;
    Some((PackedRecord { group: KeyGroup(short(0)), key, namespace, user_key, value }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_out_as_they_went_in_until_the_buffer_is_full() {
        let long = vec![7; 65_000];
        let records = [
            PackedRecord { group: KeyGroup(65_535), key: b"key", namespace: b"", user_key: b"", value: b"" },
            PackedRecord { group: KeyGroup(1), key: b"", namespace: &long, user_key: &long, value: &long },
            PackedRecord { group: KeyGroup(2), key: b"", namespace: b"n", user_key: b"u", value: b"v" },
        ];
        let mut packed = Packed::new(8, 195_040);
        for (index, record) in records.into_iter().enumerate() {
            assert_eq!(packed.room(), 8 - index);
            packed.push(record);
        }
        assert_eq!(packed.room(), 0);
        assert_eq!(packed.iter().collect::<Vec<_>>(), records);
        let (mut moved, expected) = (vec![1, 2, 3], packed.as_bytes().to_vec());
        packed.swap_out(&mut moved);
        assert_eq!(moved, expected);
        assert_eq!((packed.len(), packed.room(), packed.iter().count()), (0, 8, 0));
    }
}
