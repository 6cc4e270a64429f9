//! Copies of what a caller addresses its values by.
//!
//! The engine looks at a key more than once: it hashes it, compares it with others, and keeps it. Memory of a caller can change in between:
//! by another thread that has no business there, by a callback, or by an answer that is written over the question. Two looks must not be
//! two different keys, so a call looks at a copy.
//!
//! Copies lie in the [`Room`] of their call, and never move: whoever reads a word that was just written in another width waits for the
//! memory, which costs more than all else here. So short ones are copied in the words that hosts write keys in.
#![expect(unsafe_code, reason = "callers' memory is read through addresses")]

use alluvium::Error;
use alluvium::key::{KEY_BYTES_MAX, USER_KEY_BYTES_MAX};
use std::mem::MaybeUninit;

const SHORT_WORDS: usize = 8;
/// What is no longer is copied without allocating, in bytes.
pub const SHORT_MAX: usize = size_of::<u64>() * SHORT_WORDS;

/// Where the copies of a call lie.
#[derive(Debug)]
pub struct Room {
    short: [MaybeUninit<u64>; SHORT_WORDS],
    long: Vec<u8>,
}

impl Default for Room {
    fn default() -> Self {
        Self::new()
    }
}

impl Room {
    /// Room for one copy, however long.
    #[inline]
    pub const fn new() -> Self {
        Self { short: [MaybeUninit::uninit(); SHORT_WORDS], long: Vec::new() }
    }

    /// Copies bytes, looking at each once.
    ///
    /// # Safety
    /// `len` bytes can be read at `at`, unless `len` is 0; others may write to them meanwhile.
    #[inline(always)]
    pub unsafe fn copy(&mut self, at: *const u8, len: usize) -> &[u8] {
        // What keys mostly have, without a loop.
        if len != 2 * size_of::<u64>() {
            // SAFETY: the caller's word.
            return unsafe { self.copy_any(at, len) };
        }
        let into = self.short.as_mut_ptr().cast::<u8>();
        // SAFETY: the caller's word, for the source; there is room for so many, and all of them are initialised by then.
        unsafe {
            copy_once::<u64>(at, into);
            copy_once::<u64>(at.add(size_of::<u64>()), into.add(size_of::<u64>()));
            std::slice::from_raw_parts(into, len)
        }
    }

    #[inline(never)]
    unsafe fn copy_any(&mut self, at: *const u8, len: usize) -> &[u8] {
        if len > SHORT_MAX {
            // SAFETY: the caller's word.
            return unsafe { self.copy_long(at, len) };
        }
        let (into, mut copied) = (self.short.as_mut_ptr().cast::<u8>(), 0);
        // SAFETY: the caller's word, for the source; there is room for so many, and all that the slice has is initialised by then.
        unsafe {
            while copied + size_of::<u64>() <= len {
                copy_once::<u64>(at.add(copied), into.add(copied));
                copied += size_of::<u64>();
            }
            if copied + size_of::<u32>() <= len {
                copy_once::<u32>(at.add(copied), into.add(copied));
                copied += size_of::<u32>();
            }
            while copied < len {
                copy_once::<u8>(at.add(copied), into.add(copied));
                copied += 1;
            }
            std::slice::from_raw_parts(into, len)
        }
    }

    /// Not inlined, so that nothing takes a later look at the copy for one at what was copied.
    #[cold]
    #[inline(never)]
    unsafe fn copy_long(&mut self, at: *const u8, len: usize) -> &[u8] {
        self.long.clear();
        self.long.reserve_exact(len);
        // SAFETY: the caller's word; there is room for so many, and all of them are initialised by this.
        unsafe {
            std::ptr::copy_nonoverlapping(at, self.long.as_mut_ptr(), len);
            self.long.set_len(len);
        }
        &self.long
    }

    /// Copies slices, one behind the other.
    #[inline(never)]
    fn gather(&mut self, parts: [&[u8]; 3]) -> &[u8] {
        let len = parts.iter().map(|part| part.len()).sum();
        if len > SHORT_MAX {
            self.long = parts.concat();
            return &self.long;
        }
        let into = self.short.as_mut_ptr().cast::<u8>();
        let mut at = 0;
        for part in parts {
            // SAFETY: the parts together are no longer than what there is room for.
            unsafe { into.add(at).copy_from_nonoverlapping(part.as_ptr(), part.len()) };
            at += part.len();
        }
        // SAFETY: so many were copied there.
        unsafe { std::slice::from_raw_parts(into, len) }
    }
}

/// Copies a number from anywhere to anywhere. What is volatile is loaded once and in its own width: two words don't become one wider one, and
/// nobody looks at the original for the copy, whatever another thread writes there meanwhile.
///
/// # Safety
/// It can be read at `from` and written at `into`.
#[inline]
unsafe fn copy_once<T: Copy>(from: *const u8, into: *mut u8) {
    #[derive(Clone, Copy)]
    #[repr(C, packed)]
    struct Anywhere<T>(T);
    // SAFETY: the caller's word; this has no alignment.
    unsafe { into.cast::<Anywhere<T>>().write(from.cast::<Anywhere<T>>().read_volatile()) };
}

/// A key, its namespace and, of an entry, its user key, copied.
#[derive(Clone, Copy, Debug)]
pub struct CopiedKey<'a> {
    /// The key.
    pub key: &'a [u8],
    /// The namespace.
    pub namespace: &'a [u8],
    /// The user key.
    pub user_key: &'a [u8],
}

impl<'a> CopiedKey<'a> {
    /// Of parts that lie one behind the other.
    ///
    /// # Safety
    /// As of [`Room::copy`], of as many bytes as the lengths say together.
    #[inline]
    pub unsafe fn of(room: &'a mut Room, at: *const u8, [key, namespace, user_key]: [usize; 3]) -> Self {
        // SAFETY: the caller's word.
        Self::cut(unsafe { room.copy(at, key + namespace + user_key) }, key, namespace)
    }

    /// Of parts that lie anywhere.
    #[inline(always)]
    pub fn gathered(room: &'a mut Room, parts: [&[u8]; 3]) -> Self {
        // Mostly there is but a key: without the calls that copying any number of bytes is.
        if let [key, [], []] = parts {
            // SAFETY: a slice.
            let key = unsafe { room.copy(key.as_ptr(), key.len()) };
            return Self { key, namespace: &[], user_key: &[] };
        }
        Self::cut(room.gather(parts), parts[0].len(), parts[1].len())
    }

    #[inline]
    fn cut(all: &'a [u8], key_len: usize, namespace_len: usize) -> Self {
        let (key, rest) = all.split_at(key_len);
        let (namespace, user_key) = rest.split_at(namespace_len);
        Self { key, namespace, user_key }
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
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Contents are the same on both sides of where copies are allocated, wherever they lay, and don't follow what they were copied from.
    #[test]
    fn a_copy_stays_as_it_was_whatever_its_length() {
        let mut room = Room::new();
        for len in (0..=SHORT_MAX + 9).chain([65_000]) {
            for offset in 0..size_of::<u64>() {
                // Not one byte more is there.
                let mut original: Vec<u8> = (0..len + offset).map(|place| place as u8).collect();
                let expected = original[offset..].to_vec();
                // SAFETY: a vector of this length.
                let copied = unsafe { room.copy(original.as_ptr().add(offset), len) };
                original.fill(0xFF);
                assert_eq!(copied, expected, "{len} bytes");
            }
        }
    }

    #[test]
    fn parts_of_a_key_are_told_apart() {
        let all: Vec<u8> = (0..200).map(|place| place as u8).collect();
        for lens in [[0, 0, 0], [3, 0, 0], [0, 3, 0], [0, 0, 3], [16, 8, 8], [60, 4, 1], [100, 50, 50]] {
            let (namespace_at, user_key_at) = (lens[0], lens[0] + lens[1]);
            let end = user_key_at + lens[2];
            let parts = [&all[..namespace_at], &all[namespace_at..user_key_at], &all[user_key_at..end]];
            let (mut room, mut other) = (Room::new(), Room::new());
            // SAFETY: a vector that is longer.
            let copied = unsafe { CopiedKey::of(&mut room, all.as_ptr(), lens) };
            assert_eq!([copied.key, copied.namespace, copied.user_key], parts);
            let gathered = CopiedKey::gathered(&mut other, parts);
            assert_eq!([gathered.key, gathered.namespace, gathered.user_key], parts);
        }
        // SAFETY: nothing is read.
        let nothing = unsafe { Room::new().copy(std::ptr::null(), 0).len() };
        assert_eq!(nothing, 0);
    }
}
