//! Operations packed into one buffer, for callers to whom a call for each would be dear.
//!
//! ```text
//! operation u8 | flags u8 | state u16 | key group u16 | len(key) u16 | len(namespace) u16 | len(user key) u16 | len(value) u32
//! | key | namespace | user key | value
//! ```
//!
//! one operation after another, without padding; numbers are little-endian. What an operation doesn't have is empty. With the flag
//! [`HASHED`] the key group is what the key's hash gives, and the one in the buffer counts for nothing.

use crate::status::Misuse;
use alluvium::codec::{u16_at, u32_at};
use alluvium::{Batch, Key, KeyGroup, MapRange, Operation, State, StateId};
use std::ops::Bound;

/// How many bytes come before an operation's first part.
pub const HEADER_BYTES: usize = 16;

/// The flag of an operation whose key group is the one of its key's hash.
pub const HASHED: u8 = 1;
/// The flag of a deletion of a range that has no upper end.
pub const UNBOUNDED: u8 = 2;

/// What is to be done. The numbers are those of the buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Code {
    /// Put the value.
    Put = 0,
    /// Delete a value or list.
    Delete = 1,
    /// Append the value to a list.
    Append = 2,
    /// Merge the value, an operand.
    Merge = 3,
    /// Put a map's entry.
    MapPut = 4,
    /// Delete a map's entry.
    MapDelete = 5,
    /// Delete a map's entries from the user key on, to the value, which is the first user key that stays.
    MapDeleteRange = 6,
    /// Delete a map's entries whose user keys begin with a time (8 bytes, big-endian) below the value (8 bytes, little-endian).
    MapExpire = 7,
    /// Delete a map's entries.
    MapClear = 8,
    /// Get a value. Only to be submitted.
    Get = 9,
    /// Get a list. Only to be submitted.
    List = 10,
    /// Get a map's entry. Only to be submitted.
    MapGet = 11,
}

impl Code {
    /// All of them, by their numbers.
    pub const ALL: [Self; 12] = [
        Self::Put,
        Self::Delete,
        Self::Append,
        Self::Merge,
        Self::MapPut,
        Self::MapDelete,
        Self::MapDeleteRange,
        Self::MapExpire,
        Self::MapClear,
        Self::Get,
        Self::List,
        Self::MapGet,
    ];
}

/// One operation as it lies in a buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PackedOperation<'a> {
    /// What is to be done.
    pub code: Code,
    /// [`HASHED`], [`UNBOUNDED`].
    pub flags: u8,
    /// The state's number.
    pub state: u16,
    /// The key group, unless it is that of the hash.
    pub group: u16,
    /// The key.
    pub key: &'a [u8],
    /// The namespace.
    pub namespace: &'a [u8],
    /// The user key.
    pub user_key: &'a [u8],
    /// The value, element or operand.
    pub value: &'a [u8],
}

impl<'a> PackedOperation<'a> {
    /// The key, with its group.
    pub fn key(&self, key_groups: u32) -> Key<'a> {
        let key = if self.flags & HASHED != 0 {
            Key::hashed(key_groups, self.key)
        } else {
            Key::new(KeyGroup(self.group), self.key)
        };
        key.in_namespace(self.namespace)
    }

    /// Adds it to a buffer; the parts' lengths have to fit their fields.
    pub fn push(&self, out: &mut Vec<u8>) -> Result<(), Misuse> {
        let too_long = Misuse::Argument("a part is too long");
        let short = |part: &[u8]| u16::try_from(part.len()).map(u16::to_le_bytes).map_err(|_| too_long);
        let mut header = [0; HEADER_BYTES];
        header[0] = self.code as u8;
        header[1] = self.flags;
        header[2..4].copy_from_slice(&self.state.to_le_bytes());
        header[4..6].copy_from_slice(&self.group.to_le_bytes());
        header[6..8].copy_from_slice(&short(self.key)?);
        header[8..10].copy_from_slice(&short(self.namespace)?);
        header[10..12].copy_from_slice(&short(self.user_key)?);
        let value_len = u32::try_from(self.value.len()).map_err(|_| too_long)?;
        header[12..].copy_from_slice(&value_len.to_le_bytes());
        out.extend_from_slice(&header);
        [self.key, self.namespace, self.user_key, self.value].iter().for_each(|part| out.extend_from_slice(part));
        Ok(())
    }

    fn range(&self) -> MapRange<'a> {
        let to = if self.flags & UNBOUNDED != 0 { Bound::Unbounded } else { Bound::Excluded(self.value) };
        MapRange::between(Bound::Included(self.user_key), to)
    }
}

const CUT: Misuse = Misuse::Argument("a packed batch that ends in the middle of an operation");

fn take(bytes: &[u8]) -> Result<(PackedOperation<'_>, &[u8]), Misuse> {
    let header = bytes.get(..HEADER_BYTES).ok_or(CUT)?;
    let short = |at| u16_at(header, at).ok_or(CUT);
    let code =
        Code::ALL.get(usize::from(header[0])).ok_or(Misuse::Argument("an unknown operation in a packed batch"))?;
    if header[1] & !(HASHED | UNBOUNDED) != 0 {
        return Err(Misuse::Argument("an unknown flag in a packed batch"));
    }
    let mut rest = &bytes[HEADER_BYTES..];
    let mut part = |len: usize| {
        let (part, behind) = rest.split_at_checked(len).ok_or(CUT)?;
        rest = behind;
        Ok::<_, Misuse>(part)
    };
    let key = part(usize::from(short(6)?))?;
    let namespace = part(usize::from(short(8)?))?;
    let user_key = part(usize::from(short(10)?))?;
    let value = part(u32_at(header, 12).ok_or(CUT)? as usize)?;
    let (flags, state, group) = (header[1], short(2)?, short(4)?);
    Ok((PackedOperation { code: *code, flags, state, group, key, namespace, user_key, value }, rest))
}

/// The operations of a buffer, in order.
///
/// # Errors
/// [`Misuse::Argument`] where it is not as the module's head says.
pub fn decode(mut bytes: &[u8]) -> Result<Vec<PackedOperation<'_>>, Misuse> {
    /// For no more operations than these memory is taken before they are looked at.
    const AT_ONCE_MAX: usize = 4_096;
    let mut operations = Vec::new();
    while !bytes.is_empty() {
        let (operation, rest) = take(bytes)?;
        if operations.is_empty() {
            // As if all were as long as the first.
            operations.reserve((bytes.len() / (bytes.len() - rest.len())).min(AT_ONCE_MAX));
        }
        operations.push(operation);
        bytes = rest;
    }
    Ok(operations)
}

/// The ranges of the operations that have one, in their order: what [`batch`] lets the engine's operations refer to.
pub fn ranges<'a>(operations: &[PackedOperation<'a>]) -> Vec<MapRange<'a>> {
    operations.iter().filter(|operation| operation.code == Code::MapDeleteRange).map(PackedOperation::range).collect()
}

/// The operations as the engine takes them. `ranges` are theirs ([`ranges`]).
///
/// # Errors
/// [`Misuse::Argument`] where a time is not of 8 bytes.
pub fn batch<'a>(
    operations: &[PackedOperation<'a>],
    ranges: &'a [MapRange<'a>],
    key_groups: u32,
) -> Result<Batch<'a>, Misuse> {
    let (mut batch, mut ranges) = (Batch::with_capacity(operations.len()), ranges.iter());
    for operation in operations {
        let PackedOperation { user_key, value, .. } = *operation;
        let time = || {
            let time = <[u8; 8]>::try_from(value).map(u64::from_le_bytes);
            time.map_err(|_| Misuse::Argument("a time in a packed batch that is not of 8 bytes"))
        };
        let engines = match operation.code {
            Code::Put => Operation::Put(value),
            Code::Delete => Operation::Delete,
            Code::Append => Operation::Append(value),
            Code::Merge => Operation::Merge(value),
            Code::MapPut => Operation::MapPut(user_key, value),
            Code::MapDelete => Operation::MapDelete(user_key),
            Code::MapDeleteRange => {
                let range = ranges.next().ok_or(Misuse::Argument("ranges of another batch"))?;
                Operation::MapDeleteRange(range)
            }
            Code::MapExpire => Operation::MapExpire(time()?),
            Code::MapClear => Operation::MapClear,
            Code::Get => Operation::Get,
            Code::List => Operation::List,
            Code::MapGet => Operation::MapGet(user_key),
        };
        batch.push(State::numbered(StateId(operation.state)), operation.key(key_groups), engines);
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_their_places() {
        for (number, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!(code as usize, number);
        }
    }

    #[test]
    fn operations_come_out_as_they_went_in() {
        let long = vec![7; 65_535];
        let operations: Vec<_> = Code::ALL
            .into_iter()
            .map(|code| PackedOperation {
                code,
                flags: code as u8 & 3,
                state: 1 << code as u8,
                group: 65_535 - code as u16,
                key: &long[..usize::from(code as u8)],
                namespace: &long,
                user_key: b"",
                value: &[8; 8],
            })
            .collect();
        let mut bytes = Vec::new();
        operations.iter().for_each(|operation| operation.push(&mut bytes).unwrap());
        assert_eq!(decode(&bytes).unwrap(), operations);
        let ranges = ranges(&operations);
        assert_eq!(batch(&operations, &ranges, 128).unwrap().len(), operations.len());
        for cut in (1..HEADER_BYTES).chain([bytes.len() - 1]) {
            assert!(decode(&bytes[..cut]).is_err(), "{cut}");
        }
        assert_eq!(operations[2].key(128).group, KeyGroup(65_533));
        assert_eq!(operations[1].key(128).group, Key::hashed(128, operations[1].key).group);
    }

    #[test]
    fn what_is_no_batch_is_refused() {
        let put = PackedOperation {
            code: Code::MapExpire,
            flags: 0,
            state: 0,
            group: 0,
            key: b"k",
            namespace: b"",
            user_key: b"",
            value: b"short",
        };
        let mut bytes = Vec::new();
        put.push(&mut bytes).unwrap();
        assert!(batch(&decode(&bytes).unwrap(), &[], 128).is_err());
        for (at, wrong) in [(0, 12), (0, 255), (1, 4)] {
            let mut broken = bytes.clone();
            broken[at] = wrong;
            assert!(decode(&broken).is_err());
        }
        let long = vec![0; 65_536];
        assert!(PackedOperation { key: &long, ..put }.push(&mut bytes).is_err());
    }
}
