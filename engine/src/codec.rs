//! Numbers and byte strings as they lie on disk: little-endian, fixed width or varint.
//!
//! Reading never panics and never allocates: each step checks what is left and answers with a [`DecodeError`] that
//! says where and why. Varints are LEB128 of at most 10 bytes, in their shortest form only, so that every value has
//! one encoding.

/// Why bytes are not what they should be, and where: an offset into what was decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{problem} (at byte {at})")]
pub struct DecodeError {
    /// Where, counted from the start of the bytes decoded.
    pub at: usize,
    /// What is wrong there.
    pub problem: &'static str,
}

impl DecodeError {
    /// The failure of `problem` at `at`.
    pub const fn new(at: usize, problem: &'static str) -> Self {
        Self { at, problem }
    }
}

/// The longest varint, in bytes.
pub const VARINT_BYTES_MAX: usize = 10;

/// Appends a varint.
pub fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The beginning of something, put together before it is appended in one piece.
#[derive(Debug)]
pub struct Head<const ROOM: usize> {
    bytes: [u8; ROOM],
    len: usize,
}

impl<const ROOM: usize> Head<ROOM> {
    /// One of a first byte.
    #[inline]
    pub const fn new(first: u8) -> Self {
        let mut bytes = [0; ROOM];
        bytes[0] = first;
        Self { bytes, len: 1 }
    }

    /// Adds a byte. The caller knows that there is room.
    #[inline(always)]
    pub fn byte(&mut self, byte: u8) {
        debug_assert!(self.len < ROOM, "room for it");
        if let Some(next) = self.bytes.get_mut(self.len) {
            *next = byte;
            self.len += 1;
        }
    }

    /// Adds a varint.
    #[inline(always)]
    pub fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.byte(value as u8 | 0x80);
            value >>= 7;
        }
        self.byte(value as u8);
    }

    /// All of it.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// How many bytes the varint of `value` takes.
pub const fn varint_bytes(value: u64) -> usize {
    (value | 1).ilog2() as usize / 7 + 1
}

/// The varint at `at` and the offset behind it; `None` where there is none, or not in its shortest form.
#[inline]
pub fn varint_at(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let first = *bytes.get(at)?;
    if first < 0x80 { Some((u64::from(first), at + 1)) } else { long_varint_at(bytes, at) }
}

fn long_varint_at(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut value = 0;
    for (index, &byte) in bytes.get(at..)?.iter().take(VARINT_BYTES_MAX).enumerate() {
        let part = u64::from(byte & 0x7F);
        if index == VARINT_BYTES_MAX - 1 && byte > 1 {
            return None;
        }
        value |= part << (7 * index);
        if byte < 0x80 {
            return (byte != 0).then_some((value, at + index + 1));
        }
    }
    None
}

/// The little-endian number at `at`; `None` past the end.
#[inline]
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The little-endian number at `at`; `None` past the end.
#[inline]
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The little-endian number at `at`; `None` past the end.
#[inline]
pub fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// How many leading bytes two byte strings have in common.
#[inline]
pub fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let (wide_a, wide_b) = (a.as_chunks::<8>().0, b.as_chunks::<8>().0);
    let mut at = 0;
    for (x, y) in wide_a.iter().zip(wide_b) {
        let difference = u64::from_le_bytes(*x) ^ u64::from_le_bytes(*y);
        if difference != 0 {
            return at + difference.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + a[at..].iter().zip(&b[at..]).take_while(|(x, y)| x == y).count()
}

/// Takes a byte string apart from its start to its end.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Reads `bytes` from the start.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes were read.
    pub const fn at(&self) -> usize {
        self.at
    }

    /// How many bytes are left.
    pub const fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The failure of `problem` at the present place.
    pub const fn error(&self, problem: &'static str) -> DecodeError {
        DecodeError::new(self.at, problem)
    }

    /// The next `len` bytes.
    #[inline]
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, _) = self.bytes[self.at..].split_at_checked(len).ok_or(self.error("ends too early"))?;
        self.at += len;
        Ok(taken)
    }

    /// The next `N` bytes.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let taken = *self.bytes[self.at..].first_chunk().ok_or(self.error("ends too early"))?;
        self.at += N;
        Ok(taken)
    }

    /// A byte.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    /// A little-endian number of 2 bytes.
    #[inline]
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// A little-endian number of 4 bytes.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// A little-endian number of 8 bytes.
    #[inline]
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A little-endian number of 16 bytes.
    #[inline]
    pub fn u128(&mut self) -> Result<u128, DecodeError> {
        Ok(u128::from_le_bytes(self.array()?))
    }

    /// A varint.
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        let (value, end) = varint_at(self.bytes, self.at).ok_or(self.error("no varint"))?;
        self.at = end;
        Ok(value)
    }

    /// A length of 4 bytes, at most `max`, and that many bytes.
    #[inline]
    pub fn prefixed(&mut self, max: usize) -> Result<&'a [u8], DecodeError> {
        let at = self.at;
        let len = self.u32()? as usize;
        if len > max {
            return Err(DecodeError::new(at, "longer than its limit"));
        }
        self.bytes(len)
    }

    /// A count of 4 bytes of things that each take at least `bytes_each_min` of what is left, so that making room for
    /// so many allocates no more than a multiple of the input.
    pub fn count(&mut self, bytes_each_min: usize) -> Result<usize, DecodeError> {
        let at = self.at;
        let count = self.u32()? as usize;
        match count.checked_mul(bytes_each_min) {
            Some(bytes) if bytes <= self.remaining() => Ok(count),
            _ => Err(DecodeError::new(at, "more than the bytes left can hold")),
        }
    }

    /// Ends the reading: an error where bytes are left over.
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.remaining() == 0 { Ok(()) } else { Err(self.error("bytes left over")) }
    }
}

/// Appends a length of 4 bytes and the bytes, as [`Reader::prefixed`] takes them. `bytes` is shorter than 4 GiB.
pub fn push_prefixed(out: &mut Vec<u8>, bytes: &[u8]) {
    debug_assert!(u32::try_from(bytes.len()).is_ok());
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_come_back_and_their_size_is_known() {
        for bits in 0..64 {
            for value in [(1_u64 << bits) - 1, 1 << bits, (1 << bits) + 1, u64::MAX >> bits] {
                let mut bytes = vec![0xEE];
                push_varint(&mut bytes, value);
                assert_eq!(bytes.len() - 1, varint_bytes(value), "{value}");
                assert_eq!(varint_at(&bytes, 1), Some((value, bytes.len())));
                assert_eq!(varint_at(&bytes[..bytes.len() - 1], 1), None, "cut short: {value}");
            }
        }
    }

    #[test]
    fn varints_in_another_than_their_shortest_form_are_refused() {
        for bytes in [&[0x80, 0][..], &[0xFF, 0x80, 0], &[0xFF; 11], &[0x80; 10]] {
            assert_eq!(varint_at(bytes, 0), None, "{bytes:?}");
        }
        let over = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 2];
        assert_eq!(varint_at(&over, 0), None, "more than 64 bits");
        assert_eq!(varint_at(&[], usize::MAX), None);
    }

    #[test]
    fn a_reader_stops_at_the_end_and_names_the_place() {
        let mut reader = Reader::new(&[1, 0, 5, 0, 0, 0, 9]);
        assert_eq!(reader.u16(), Ok(1));
        assert_eq!(reader.prefixed(4), Err(DecodeError::new(2, "longer than its limit")));
        assert_eq!(reader.bytes(usize::MAX), Err(DecodeError::new(6, "ends too early")));
        assert_eq!(reader.u64(), Err(DecodeError::new(6, "ends too early")));
        assert_eq!(reader.clone().finish(), Err(DecodeError::new(6, "bytes left over")));
        assert_eq!(reader.u8(), Ok(9));
        assert_eq!(reader.finish(), Ok(()));
        assert!(Reader::new(&[255, 255, 255, 255, 0]).count(1).is_err());
    }

    #[test]
    fn the_common_prefix_is_found_at_every_length() {
        for len in 0..40 {
            for differ in 0..=len {
                let a: Vec<u8> = (0..len).collect();
                let mut b = a.clone();
                b.push(1);
                if let Some(byte) = b.get_mut(usize::from(differ)).filter(|_| differ < len) {
                    *byte ^= 0x80;
                }
                assert_eq!(common_prefix(&a, &b), usize::from(differ));
                assert_eq!(common_prefix(&b, &a), usize::from(differ));
            }
        }
    }
}
