//! Copies of what a caller addresses its values by.
//!
//! The engine looks at a key more than once: it hashes it, compares it with others, and keeps it. Memory of a caller can change in between:
//! by another thread that has no business there, by a callback, or by an answer that is written over the question. Two looks must not be
//! two different keys, so a call looks at a copy.
#![expect(unsafe_code, reason = "callers' memory is read through addresses")]

use alluvium::Error;
use alluvium::key::{KEY_BYTES_MAX, USER_KEY_BYTES_MAX};
use std::mem::MaybeUninit;

/// What is no longer is copied without allocating, in bytes.
pub const SHORT_MAX: usize = 64;

/// Bytes of a caller's, copied.
#[derive(Debug)]
pub struct Copied {
    /// Initialised up to `len`, where that is at most [`SHORT_MAX`].
    short: MaybeUninit<[u8; SHORT_MAX]>,
    len: usize,
    /// Everything, where it isn't short.
    long: Vec<u8>,
}

impl Copied {
    /// Copies bytes, looking at each once.
    ///
    /// # Safety
    /// `len` bytes can be read at `at`, unless `len` is 0.
    #[inline]
    pub unsafe fn of(at: *const u8, len: usize) -> Self {
        let mut copied = Self { short: MaybeUninit::uninit(), len, long: Vec::new() };
        if len > SHORT_MAX {
            // SAFETY: the caller's word.
            copied.long = unsafe { long(at, len) };
        } else if len > 0 {
            // SAFETY: the caller's word, and there is room for so many.
            unsafe { std::ptr::copy_nonoverlapping(at, copied.short.as_mut_ptr().cast::<u8>(), len) };
        }
        copied
    }

    /// Copies slices, one behind the other.
    #[inline]
    pub fn gathered(parts: [&[u8]; 3]) -> Self {
        let len = parts.iter().map(|part| part.len()).sum();
        let mut copied = Self { short: MaybeUninit::uninit(), len, long: Vec::new() };
        if len > SHORT_MAX {
            copied.long = parts.concat();
            return copied;
        }
        let mut at = 0;
        for part in parts {
            // SAFETY: the parts together are no longer than what there is room for.
            unsafe {
                copied.short.as_mut_ptr().cast::<u8>().add(at).copy_from_nonoverlapping(part.as_ptr(), part.len())
            };
            at += part.len();
        }
        copied
    }

    /// The copy.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        if self.len > SHORT_MAX {
            return &self.long;
        }
        // SAFETY: so many were copied there.
        unsafe { std::slice::from_raw_parts(self.short.as_ptr().cast::<u8>(), self.len) }
    }
}

/// Copies what isn't short.
///
/// # Safety
/// As of [`Copied::of`].
#[cold]
unsafe fn long(at: *const u8, len: usize) -> Vec<u8> {
    let mut long = Vec::with_capacity(len);
    // SAFETY: the caller's word; there is room for so many, and all of them are initialised by this.
    unsafe {
        std::ptr::copy_nonoverlapping(at, long.as_mut_ptr(), len);
        long.set_len(len);
    }
    long
}

/// A key, its namespace and, of an entry, its user key, copied.
#[derive(Debug)]
pub struct CopiedKey {
    parts: Copied,
    /// Where the namespace begins, and where the user key: in order, and not behind the end.
    namespace_at: usize,
    user_key_at: usize,
}

impl CopiedKey {
    /// Of parts that lie one behind the other.
    ///
    /// # Safety
    /// As many bytes as the lengths say together can be read at `at`, unless there are none.
    #[inline]
    pub unsafe fn of(at: *const u8, key_len: usize, namespace_len: usize, user_key_len: usize) -> Self {
        let (namespace_at, user_key_at) = (key_len, key_len + namespace_len);
        // SAFETY: the caller's word.
        Self { parts: unsafe { Copied::of(at, user_key_at + user_key_len) }, namespace_at, user_key_at }
    }

    /// Of parts that lie anywhere.
    #[inline]
    pub fn gathered(key: &[u8], namespace: &[u8], user_key: &[u8]) -> Self {
        let (namespace_at, user_key_at) = (key.len(), key.len() + namespace.len());
        Self { parts: Copied::gathered([key, namespace, user_key]), namespace_at, user_key_at }
    }

    /// Refuses what no store keeps, before it is copied; the engine knows better which part is too long, where only one is.
    #[inline]
    pub fn check_len(bytes: usize) -> Result<(), Error> {
        const MAX_BYTES: usize = KEY_BYTES_MAX + USER_KEY_BYTES_MAX;
        if bytes > MAX_BYTES {
            let what = "key, namespace and user key together";
            return Err(Error::TooLong { what, bytes, max_bytes: MAX_BYTES });
        }
        Ok(())
    }

    /// The key.
    #[inline]
    pub fn key(&self) -> &[u8] {
        &self.parts.bytes()[..self.namespace_at]
    }

    /// The namespace.
    #[inline]
    pub fn namespace(&self) -> &[u8] {
        &self.parts.bytes()[self.namespace_at..self.user_key_at]
    }

    /// The user key.
    #[inline]
    pub fn user_key(&self) -> &[u8] {
        &self.parts.bytes()[self.user_key_at..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Contents are the same on both sides of where copies are allocated, and don't follow what they were copied from.
    #[test]
    fn a_copy_stays_as_it_was_whatever_its_length() {
        for len in [0, 1, 7, SHORT_MAX - 1, SHORT_MAX, SHORT_MAX + 1, 65_000] {
            let mut original: Vec<u8> = (0..len).map(|place| place as u8).collect();
            // SAFETY: a vector of this length.
            let copied = unsafe { Copied::of(original.as_ptr(), len) };
            let expected = original.clone();
            original.fill(0xFF);
            assert_eq!(copied.bytes(), expected, "{len} bytes");
        }
    }

    #[test]
    fn parts_of_a_key_are_told_apart() {
        let all: Vec<u8> = (0..200).map(|place| place as u8).collect();
        for (key, namespace, user_key) in
            [(0, 0, 0), (3, 0, 0), (0, 3, 0), (0, 0, 3), (16, 8, 8), (60, 4, 1), (100, 50, 50)]
        {
            // SAFETY: a vector that is longer.
            let copied = unsafe { CopiedKey::of(all.as_ptr(), key, namespace, user_key) };
            let (namespace_at, user_key_at, end) = (key, key + namespace, key + namespace + user_key);
            let parts = (&all[..namespace_at], &all[namespace_at..user_key_at], &all[user_key_at..end]);
            assert_eq!((copied.key(), copied.namespace(), copied.user_key()), parts);
            let gathered = CopiedKey::gathered(parts.0, parts.1, parts.2);
            assert_eq!((gathered.key(), gathered.namespace(), gathered.user_key()), parts);
        }
        // SAFETY: nothing is read.
        let empty = unsafe { CopiedKey::of(std::ptr::null(), 0, 0, 0) };
        assert!(empty.key().is_empty() && empty.namespace().is_empty() && empty.user_key().is_empty());
    }
}
