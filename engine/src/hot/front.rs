//! The front of a map that is popped: the next entries that the segments have of it, one behind the other.
//!
//! What is read of a queue's front is taken out again soon, once, and in order. As records of memory each would take a place in
//! the map's order and one in the table, only to be looked for in both again when it is taken. Here it is a few bytes that a walk
//! goes over. A record in memory counts for more: where there is one of the same user key, be it a tombstone, the front's is not
//! looked at.
//!
//! ```text
//! an entry    len(value) u32, its highest bit: it expires | len(user key) u16 | [expiry ms u64] | user key | value
//! ```

/// In a value's length: there is an expiry.
const EXPIRES: u32 = 1 << 31;
/// What comes before an entry's bytes.
const LEAD_BYTES: usize = 6;

/// Entries in ascending order of their user keys; see the module's head.
#[derive(Clone, Debug, Default)]
pub struct Front {
    bytes: Vec<u8>,
    /// Where the first one begins that wasn't left behind.
    at: usize,
}

/// An entry where it lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FrontEntry<'a> {
    /// Its user key.
    pub user_key: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
    /// When it expires, in ms of the host's clock.
    pub expiry_ms: Option<u64>,
}

impl FrontEntry<'_> {
    /// How many bytes it takes.
    pub const fn bytes(&self) -> usize {
        LEAD_BYTES + if self.expiry_ms.is_some() { 8 } else { 0 } + self.user_key.len() + self.value.len()
    }
}

impl Front {
    /// Whether nothing is left.
    pub const fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// How many bytes the entries take that are left.
    pub const fn len_bytes(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// How many bytes it takes on the heap.
    pub const fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Adds an entry behind the others.
    pub fn push(&mut self, entry: FrontEntry<'_>) {
        push_entry(&mut self.bytes, entry);
    }

    /// Gives back what it holds beyond its entries.
    pub fn fit(&mut self) {
        self.bytes.shrink_to_fit();
    }

    /// Forgets all entries, and keeps the room for others.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.at = 0;
    }

    /// The entries, in order.
    pub fn iter(&self) -> FrontEntries<'_> {
        FrontEntries::of(self.bytes.get(self.at..).unwrap_or_default())
    }

    /// Leaves those below `to` behind.
    pub fn pass(&mut self, to: &[u8]) {
        self.at = self.place_of(to);
    }

    /// Forgets those from `from` on.
    pub fn cut(&mut self, from: &[u8]) {
        let end = self.place_of(from);
        self.bytes.truncate(end);
    }

    /// Where the first entry begins whose user key is not below `user_key`.
    fn place_of(&self, user_key: &[u8]) -> usize {
        let below = self.iter().take_while(|entry| entry.user_key < user_key);
        self.at + below.map(|entry| entry.bytes()).sum::<usize>()
    }
}

/// Appends an entry's bytes.
pub(super) fn push_entry(out: &mut Vec<u8>, entry: FrontEntry<'_>) {
    let expires = if entry.expiry_ms.is_some() { EXPIRES } else { 0 };
    out.extend_from_slice(&(entry.value.len() as u32 | expires).to_le_bytes());
    out.extend_from_slice(&(entry.user_key.len() as u16).to_le_bytes());
    if let Some(expiry_ms) = entry.expiry_ms {
        out.extend_from_slice(&expiry_ms.to_le_bytes());
    }
    out.extend_from_slice(entry.user_key);
    out.extend_from_slice(entry.value);
}

/// Goes over a front's entries.
#[derive(Clone, Debug, Default)]
pub struct FrontEntries<'a> {
    rest: &'a [u8],
}

impl<'a> FrontEntries<'a> {
    /// Those of a piece of memory.
    pub(super) const fn of(rest: &'a [u8]) -> Self {
        Self { rest }
    }
}

impl<'a> Iterator for FrontEntries<'a> {
    type Item = FrontEntry<'a>;

    #[inline]
    fn next(&mut self) -> Option<FrontEntry<'a>> {
        let (lead, rest) = self.rest.split_first_chunk::<LEAD_BYTES>()?;
        let value_len = u32::from_le_bytes([lead[0], lead[1], lead[2], lead[3]]);
        let key_len = usize::from(u16::from_le_bytes([lead[4], lead[5]]));
        let (expiry_ms, rest) = if value_len & EXPIRES == 0 {
            (None, rest)
        } else {
            let (expiry_ms, rest) = rest.split_first_chunk::<8>()?;
            (Some(u64::from_le_bytes(*expiry_ms)), rest)
        };
        let (user_key, rest) = rest.split_at_checked(key_len)?;
        let (value, rest) = rest.split_at_checked((value_len & !EXPIRES) as usize)?;
        self.rest = rest;
        Some(FrontEntry { user_key, value, expiry_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry<'a>(user_key: &'a str, value: &'a str, expiry_ms: Option<u64>) -> FrontEntry<'a> {
        FrontEntry { user_key: user_key.as_bytes(), value: value.as_bytes(), expiry_ms }
    }

    fn keys(front: &Front) -> Vec<&str> {
        front.iter().map(|entry| str::from_utf8(entry.user_key).unwrap()).collect()
    }

    #[test]
    fn what_went_in_comes_out_in_order() {
        let entries =
            [entry("a", "", None), entry("b", "one", Some(7)), entry("", "two", None), entry("c", "", Some(0))];
        let mut front = Front::default();
        assert!(front.is_empty() && front.iter().next().is_none());
        entries.iter().for_each(|&entry| front.push(entry));
        assert_eq!(front.iter().collect::<Vec<_>>(), entries);
        assert_eq!(front.len_bytes(), entries.iter().map(FrontEntry::bytes).sum::<usize>());
    }

    #[test]
    fn it_is_shortened_from_both_ends() {
        let mut front = Front::default();
        ["a", "b", "c", "d", "e"].iter().for_each(|user_key| front.push(entry(user_key, "value", None)));
        front.pass(b"b");
        assert_eq!(keys(&front), ["b", "c", "d", "e"]);
        front.pass(b"a");
        front.cut(b"dd");
        assert_eq!(keys(&front), ["b", "c", "d"]);
        front.pass(b"bb");
        front.cut(b"d");
        assert_eq!(keys(&front), ["c"]);
        front.cut(b"a");
        assert!(front.is_empty());
        front.push(entry("f", "", None));
        assert_eq!(keys(&front), ["f"]);
        front.pass(b"g");
        assert!(front.is_empty());
    }
}
