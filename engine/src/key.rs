//! Keys: what a caller addresses a value by, and the order in which values lie on disk.
//!
//! A *sort key* is the one byte string that orders everything in a segment; comparing two sort keys is comparing
//! their bytes (`memcmp`):
//!
//! ```text
//! key group u16 BE | state u16 BE | len(key) | key | len(namespace) | namespace [ | 0x01 | user key ]
//! len(x): one byte where x is shorter than 255 bytes, else 0xFF and u16 BE
//! ```
//!
//! So everything of one (key group, state) is contiguous, in it everything of one key, in that everything of one
//! namespace (the *container*), and the entries of a map follow their container's own key in the order of the user
//! keys' bytes. Keys of different lengths sort by length first; only user keys promise lexicographic order.

use crate::ids::{KeyGroup, KeyGroupRange, StateId};

/// The longest key plus namespace, in bytes.
pub const KEY_BYTES_MAX: usize = 65_000;
/// The longest user key of a map entry, in bytes.
pub const USER_KEY_BYTES_MAX: usize = 65_000;
/// The longest value, in bytes (1 GiB).
pub const VALUE_BYTES_MAX: usize = 1 << 30;
/// The byte between a container's sort key and a map entry's user key.
pub const ENTRY_MARK: u8 = 0x01;

/// The address of a cell, or of a whole map: key group, key and namespace (a window; empty where there is none).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Key<'a> {
    /// The key group, chosen by the host or by [`Key::hashed`].
    pub group: KeyGroup,
    /// The key's bytes; may be empty.
    pub key: &'a [u8],
    /// The namespace's bytes; may be empty.
    pub namespace: &'a [u8],
}

impl<'a> Key<'a> {
    /// A key without a namespace in a key group that the host chose.
    pub const fn new(group: KeyGroup, key: &'a [u8]) -> Self {
        Self { group, key, namespace: &[] }
    }

    /// A key without a namespace, in the key group that [`key_group_of`] gives it among `key_groups`.
    #[inline]
    pub fn hashed(key_groups: u32, key: &'a [u8]) -> Self {
        Self::new(key_group_of(key, key_groups), key)
    }

    /// The same key in a namespace.
    #[must_use]
    pub const fn in_namespace(self, namespace: &'a [u8]) -> Self {
        Self { namespace, ..self }
    }
}

/// The key group of a key for callers that don't choose their own: `(xxh3_64(key) >> 32) * key_groups >> 32`.
///
/// Deterministic for ever, equal on every machine, and spread evenly. `key_groups` is 1 to 65,536.
pub fn key_group_of(key: &[u8], key_groups: u32) -> KeyGroup {
    let hash = xxhash_rust::xxh3::xxh3_64(key) >> 32;
    KeyGroup(((hash * u64::from(key_groups)) >> 32) as u16)
}

fn push_len(out: &mut Vec<u8>, len: usize) {
    debug_assert!(len <= usize::from(u16::MAX));
    match u8::try_from(len) {
        Ok(short) if short < 0xFF => out.push(short),
        _ => {
            out.push(0xFF);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
    }
}

fn take_len(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match bytes.split_first()? {
        (0xFF, rest) => {
            let (len, rest) = rest.split_first_chunk::<2>()?;
            let len = usize::from(u16::from_be_bytes(*len));
            (len >= 0xFF).then_some((len, rest))
        }
        (&short, rest) => Some((usize::from(short), rest)),
    }
}

/// Appends the sort key of a cell, or of a map's container, to `out`.
pub fn push_sort_key(out: &mut Vec<u8>, state: StateId, key: Key<'_>) {
    out.extend_from_slice(&key.group.0.to_be_bytes());
    out.extend_from_slice(&state.0.to_be_bytes());
    push_len(out, key.key.len());
    out.extend_from_slice(key.key);
    push_len(out, key.namespace.len());
    out.extend_from_slice(key.namespace);
}

/// Appends the sort key of a map entry to `out`.
pub fn push_entry_key(out: &mut Vec<u8>, state: StateId, key: Key<'_>, user_key: &[u8]) {
    push_sort_key(out, state, key);
    out.push(ENTRY_MARK);
    out.extend_from_slice(user_key);
}

/// A sort key taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SortKey<'a> {
    /// The state, in the numbering of the store that wrote the key.
    pub state: StateId,
    /// Key group, key and namespace.
    pub key: Key<'a>,
    /// The user key of a map entry; `None` for a cell or a container.
    pub user_key: Option<&'a [u8]>,
}

impl<'a> SortKey<'a> {
    /// Takes a sort key apart; `None` where the bytes are no sort key.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (group, rest) = bytes.split_first_chunk::<2>()?;
        let (state, rest) = rest.split_first_chunk::<2>()?;
        let (len, rest) = take_len(rest)?;
        let (key, rest) = rest.split_at_checked(len)?;
        let (len, rest) = take_len(rest)?;
        let (namespace, rest) = rest.split_at_checked(len)?;
        let user_key = match rest.split_first() {
            None => None,
            Some((&ENTRY_MARK, user_key)) => Some(user_key),
            Some(_) => return None,
        };
        let group = KeyGroup(u16::from_be_bytes(*group));
        Some(Self { state: StateId(u16::from_be_bytes(*state)), key: Key { group, key, namespace }, user_key })
    }

    /// How many leading bytes of `bytes` are the container's own sort key.
    pub fn container_len(bytes: &[u8]) -> Option<usize> {
        let parts = SortKey::decode(bytes)?;
        Some(bytes.len() - parts.user_key.map_or(0, |user_key| user_key.len() + 1))
    }
}

/// The first 8 bytes of a key, padded with zeros, as a number that sorts like them.
#[inline]
pub fn prefix_of(key: &[u8]) -> u64 {
    if let Some(first) = key.first_chunk() {
        return u64::from_be_bytes(*first);
    }
    let mut bytes = [0; 8];
    let len = key.len().min(8);
    bytes[..len].copy_from_slice(&key[..len]);
    u64::from_be_bytes(bytes)
}

/// The first 8 bytes of what a key sorts by in its (key group, state): its length comes first.
#[inline]
pub fn sort_prefix(key: &[u8]) -> u64 {
    match u8::try_from(key.len()) {
        Ok(short) if short < 0xFF => u64::from(short) << 56 | prefix_of(key) >> 8,
        _ => 0xFF << 56 | (key.len() as u64 & 0xFFFF) << 40 | prefix_of(key) >> 24,
    }
}

/// The first sort key of a key group: its 2-byte prefix.
pub fn group_floor(group: KeyGroup) -> [u8; 2] {
    group.0.to_be_bytes()
}

/// The key group that a sort key lies in; `None` where it is shorter than 2 bytes.
pub fn group_of(sort_key: &[u8]) -> Option<KeyGroup> {
    Some(KeyGroup(u16::from_be_bytes(*sort_key.first_chunk::<2>()?)))
}

/// Whether a sort key lies in a range of key groups.
pub fn in_range(sort_key: &[u8], range: KeyGroupRange) -> bool {
    group_of(sort_key).is_some_and(|group| range.contains(group))
}

/// The smallest byte string above every string that starts with `prefix`; `None` where there is none (all 0xFF).
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != 0xFF)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sort_key_comes_apart_as_it_was_put_together() {
        let long = vec![7_u8; 300];
        for key in [&b""[..], b"k", &long] {
            for namespace in [&b""[..], b"window", &long] {
                for user_key in [None, Some(&b""[..]), Some(&long[..])] {
                    let at = Key::new(KeyGroup(3), key).in_namespace(namespace);
                    let mut bytes = Vec::new();
                    match user_key {
                        None => push_sort_key(&mut bytes, StateId(9), at),
                        Some(user_key) => push_entry_key(&mut bytes, StateId(9), at, user_key),
                    }
                    assert_eq!(SortKey::decode(&bytes), Some(SortKey { state: StateId(9), key: at, user_key }));
                }
            }
        }
    }

    #[test]
    fn entries_follow_their_container_in_the_order_of_user_keys() {
        let key = Key::new(KeyGroup(1), b"outer");
        let mut keys = vec![Vec::new()];
        push_sort_key(&mut keys[0], StateId(0), key);
        for user_key in [&b""[..], b"\0", b"a", b"aa", b"b", b"\xff"] {
            let mut bytes = Vec::new();
            push_entry_key(&mut bytes, StateId(0), key, user_key);
            keys.push(bytes);
        }
        assert!(keys.is_sorted(), "{keys:?}");
    }

    #[test]
    fn broken_sort_keys_are_refused() {
        for bytes in [&b""[..], b"\0", b"\0\0\0\0", b"\0\0\0\0\x05ab", b"\0\0\0\0\0\0\x02x", b"\0\0\0\0\xff\0\x01a\0"] {
            assert_eq!(SortKey::decode(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn the_end_of_a_prefix_lies_above_all_that_start_with_it() {
        assert_eq!(prefix_end(b"a\xff"), Some(b"b".to_vec()));
        assert_eq!(prefix_end(b"\xff\xff"), None);
        assert_eq!(prefix_end(b""), None);
    }
}
