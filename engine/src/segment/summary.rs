//! What a segment's records add up to: counted when it is written, and again when it is verified.

use crate::codec::{DecodeError, common_prefix};
use crate::ids::KeyGroupRange;
use crate::key::{SortKey, VALUE_BYTES_MAX};
use crate::spans::is_clear_value;

use super::format::{DIRECTORY_ENTRY_BYTES, DirectoryEntry, SORT_KEY_BYTES_MAX, SegmentMeta};
use super::{Entry, Kind};

/// Counts over records in ascending order of their sort keys.
#[derive(Default)]
pub(super) struct Summary {
    entries: u64,
    /// Over all finished pairs; key group and state mean nothing here.
    total: DirectoryEntry,
    /// The finished directory, encoded.
    directory: Vec<u8>,
    /// Over the records of the last (key group, state), which may go on.
    current: DirectoryEntry,
    first_key: Vec<u8>,
    last_key: Vec<u8>,
    /// How much of the last key is its container's key.
    last_container: usize,
}

/// What a record's key is beside the one before it.
pub(super) struct Step {
    /// How many bytes of the key the last key begins with, too.
    pub shared: usize,
    /// How much of the key is its container's key, where this is a map entry and the first record of the container.
    pub new_container: Option<usize>,
}

impl Summary {
    /// Takes the next record in. A record that may not follow, or none at all, changes nothing.
    pub fn add(&mut self, entry: &Entry<'_>) -> Result<Step, DecodeError> {
        let key = entry.sort_key;
        let error = |problem| DecodeError::new(0, problem);
        let parts = SortKey::decode(key).ok_or(error("a sort key that is none"))?;
        if key.len() > SORT_KEY_BYTES_MAX || entry.value.len() > VALUE_BYTES_MAX {
            return Err(error("a record longer than its limit"));
        }
        let shared = common_prefix(&self.last_key, key);
        if self.entries > 0 && self.last_key.get(shared) >= key.get(shared) {
            return Err(error("a sort key out of order"));
        }
        if entry.kind.is_tombstone() && entry.expiry_ms.is_some() {
            return Err(error("a tombstone with an expiry"));
        }
        if entry.kind == Kind::Delete && !entry.value.is_empty() {
            return Err(error("a delete with a value"));
        }
        if entry.kind == Kind::Clear && !is_clear_value(entry.value) {
            return Err(error("a clear of what are no spans"));
        }
        if entry.kind == Kind::Clear && parts.user_key.is_some() {
            return Err(error("a clear at a map entry"));
        }
        let user_key_bytes = parts.user_key.map_or(0, <[u8]>::len);
        let container = if parts.user_key.is_some() { key.len() - user_key_bytes - 1 } else { key.len() };
        let same_container = self.last_container == container && shared >= container && self.entries > 0;
        self.count(entry, &parts, user_key_bytes);
        if self.entries == 1 {
            self.first_key.extend_from_slice(key);
        }
        self.last_key.truncate(shared);
        self.last_key.extend_from_slice(&key[shared..]);
        self.last_container = container;
        let new_container = (parts.user_key.is_some() && !same_container).then_some(container);
        Ok(Step { shared, new_container })
    }

    fn count(&mut self, entry: &Entry<'_>, parts: &SortKey<'_>, user_key_bytes: usize) {
        let (group, state) = (parts.key.group.0, parts.state.0);
        if (self.current.group, self.current.state) != (group, state) {
            self.close_pair();
        }
        let counts = &mut self.current;
        (counts.group, counts.state) = (group, state);
        counts.entries += 1;
        counts.tombstones += u64::from(entry.kind.is_tombstone());
        counts.clears += u64::from(entry.kind == Kind::Clear);
        let logical = parts.key.key.len() + parts.key.namespace.len() + user_key_bytes + entry.value.len();
        counts.logical_bytes += logical as u64;
        if let Some(expiry_ms) = entry.expiry_ms {
            counts.expiring += 1;
            let first = counts.expiring == 1;
            counts.expiry_min_ms = if first { expiry_ms } else { counts.expiry_min_ms.min(expiry_ms) };
            counts.expiry_max_ms = counts.expiry_max_ms.max(expiry_ms);
        }
        self.entries += 1;
    }

    fn close_pair(&mut self) {
        let pair = std::mem::take(&mut self.current);
        if pair.entries == 0 {
            return;
        }
        pair.encode(&mut self.directory);
        let total = &mut self.total;
        if pair.expiring > 0 {
            let first = total.expiring == 0;
            total.expiry_min_ms = if first { pair.expiry_min_ms } else { total.expiry_min_ms.min(pair.expiry_min_ms) };
            total.expiry_max_ms = total.expiry_max_ms.max(pair.expiry_max_ms);
        }
        total.entries += pair.entries;
        total.tombstones += pair.tombstones;
        total.clears += pair.clears;
        total.expiring += pair.expiring;
        total.logical_bytes += pair.logical_bytes;
    }

    /// How many records there were.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// The directory of what has come so far, encoded.
    pub fn directory(&mut self) -> &[u8] {
        self.close_pair();
        &self.directory
    }

    /// Writes the counts into `meta`.
    pub fn fill(&mut self, meta: &mut SegmentMeta) {
        self.close_pair();
        let total = &self.total;
        let group = |key| SortKey::decode(key).map_or(0, |parts| parts.key.group.0);
        let all_expire = total.expiring > 0 && total.expiring == total.entries - total.tombstones;
        meta.groups = KeyGroupRange::new(group(&self.first_key), group(&self.last_key));
        meta.entries = total.entries;
        meta.tombstones = total.tombstones;
        meta.clears = total.clears;
        meta.expiring = total.expiring;
        meta.logical_bytes = total.logical_bytes;
        meta.expiry_min_ms = (total.expiring > 0).then_some(total.expiry_min_ms);
        meta.expiry_max_ms = all_expire.then_some(total.expiry_max_ms);
        meta.directory_entries = (self.directory.len() / DIRECTORY_ENTRY_BYTES) as u32;
        meta.first_key.clone_from(&self.first_key);
        meta.last_key.clone_from(&self.last_key);
    }
}
