//! Arguments and answers of calls that are rare: one after another in one buffer, little-endian, without padding. Bytes and texts are
//! preceded by their length, as an i32.

use crate::entry::key_of;
use alluvium::{Key, KeyGroupRange, MapRange};
use alluvium_ffi::Misuse;
use std::ops::Bound;

/// Arguments, taken one by one.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a>(pub &'a [u8]);

const CUT: Misuse = Misuse::Argument("a request that ends too early");

impl<'a> Request<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Misuse> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(CUT)?;
        self.0 = rest;
        Ok(taken)
    }

    /// A number.
    pub fn int(&mut self) -> Result<i32, Misuse> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(CUT)?;
        self.0 = rest;
        Ok(i32::from_le_bytes(*taken))
    }

    /// A number.
    pub fn long(&mut self) -> Result<i64, Misuse> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(CUT)?;
        self.0 = rest;
        Ok(i64::from_le_bytes(*taken))
    }

    /// A number with a fraction.
    pub fn double(&mut self) -> Result<f64, Misuse> {
        Ok(f64::from_bits(self.long()? as u64))
    }

    /// A number that isn't below 0.
    pub fn count(&mut self) -> Result<usize, Misuse> {
        crate::entry::count(self.long()?)
    }

    /// 0 or 1.
    pub fn flag(&mut self) -> Result<bool, Misuse> {
        crate::entry::flag(self.int()?)
    }

    /// Bytes.
    pub fn bytes(&mut self) -> Result<&'a [u8], Misuse> {
        let len = usize::try_from(self.int()?).map_err(|_| Misuse::Argument("a length below 0"))?;
        self.take(len)
    }

    /// Text.
    pub fn text(&mut self) -> Result<&'a str, Misuse> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Misuse::Argument("a text that is not UTF-8"))
    }

    /// So many of something.
    pub fn list<T>(&mut self, mut one: impl FnMut(&mut Self) -> Result<T, Misuse>) -> Result<Vec<T>, Misuse> {
        let len = self.int()?;
        (0..len).map(|_| one(self)).collect()
    }

    /// Key groups: the first and the last one.
    pub fn range(&mut self) -> Result<KeyGroupRange, Misuse> {
        range(self.int()?, self.int()?)
    }

    /// A key: group, key, namespace.
    pub fn key(&mut self, key_groups: u32) -> Result<Key<'a>, Misuse> {
        let (group, key, namespace) = (self.int()?, self.bytes()?, self.bytes()?);
        key_of(key_groups, group, key, namespace)
    }

    /// Entries of a map: lower bound, upper bound, prefix, direction.
    pub fn map_range(&mut self) -> Result<MapRange<'a>, Misuse> {
        let bound = |request: &mut Self| {
            let (kind, bytes) = (request.int()?, request.bytes()?);
            match kind {
                0 => Ok(Bound::Unbounded),
                1 => Ok(Bound::Included(bytes)),
                2 => Ok(Bound::Excluded(bytes)),
                _ => Err(Misuse::Argument("an unknown kind of bound")),
            }
        };
        Ok(MapRange { from: bound(self)?, to: bound(self)?, prefix: self.bytes()?, reverse: self.flag()? })
    }
}

/// A range of key groups.
pub fn range(first: i32, last: i32) -> Result<KeyGroupRange, Misuse> {
    let group = |number| u16::try_from(number).map_err(|_| Misuse::Argument("a key group is in 0 to 65,535"));
    let (first, last) = (group(first)?, group(last)?);
    if first > last {
        return Err(Misuse::Argument("a range that ends before it begins"));
    }
    Ok(KeyGroupRange::new(first, last))
}

/// An answer, added to piece by piece.
#[derive(Debug, Default)]
pub struct Response(pub Vec<u8>);

impl Response {
    /// Adds a number.
    pub fn int(&mut self, number: i32) -> &mut Self {
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }

    /// Adds a number.
    pub fn long(&mut self, number: u64) -> &mut Self {
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }

    /// Adds bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        // What the engine has is below its limit of 1 GiB.
        self.int(bytes.len() as i32);
        self.0.extend_from_slice(bytes);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alluvium::KeyGroup;

    #[test]
    fn requests_are_read_as_responses_are_written() {
        let mut out = Response::default();
        out.int(-5).long(u64::MAX).bytes(b"abc").int(3).int(9).int(7).bytes(b"k").bytes(b"n");
        let mut request = Request(&out.0);
        assert_eq!(request.int(), Ok(-5));
        assert_eq!(request.long(), Ok(-1));
        assert_eq!(request.text(), Ok("abc"));
        assert_eq!(request.range(), Ok(KeyGroupRange::new(3, 9)));
        let key = request.key(128);
        assert_eq!(key.map(|key| (key.group, key.key, key.namespace)), Ok((KeyGroup(7), &b"k"[..], &b"n"[..])));
        assert_eq!(request.int(), Err(CUT));
    }

    #[test]
    fn what_is_cut_or_wrong_is_refused() {
        let mut out = Response::default();
        out.int(99).bytes(b"x").int(-1);
        assert!(Request(&out.0).bytes().is_err(), "longer than what is there");
        assert!(Request(&out.0[9..]).bytes().is_err(), "a length below 0");
        assert!(Request(&out.0).flag().is_err());
        assert!(Request(&out.0).map_range().is_err());
        assert!(range(5, 4).is_err() && range(-1, 4).is_err() && range(0, 65_536).is_err());
        assert!(Request(&out.0).list(|request| request.long()).is_err());
    }
}
