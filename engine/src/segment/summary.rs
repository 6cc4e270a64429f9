//! What a segment's records add up to: counted when it is written, and again when it is verified.

use crate::codec::{DecodeError, common_prefix};
use crate::ids::KeyGroupRange;
use crate::key::{SortKey, VALUE_BYTES_MAX};

use super::format::{DirectoryEntry, SORT_KEY_BYTES_MAX, SegmentMeta};
use super::{Entry, Kind};

/// Counts over records in ascending order of their sort keys.
#[derive(Default)]
pub(super) struct Summary {
    /// Over all records; its key group and state are those of the last one.
    total: DirectoryEntry,
    /// The finished directory, encoded.
    directory: Vec<u8>,
    /// Over the records of the last key group and state.
    current: Option<DirectoryEntry>,
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
        if self.total.entries > 0 && self.last_key.get(shared) >= key.get(shared) {
            return Err(error("a sort key out of order"));
        }
        if entry.kind.is_tombstone() && (entry.expiry_ms.is_some() || !entry.value.is_empty()) {
            return Err(error("a tombstone with a value or an expiry"));
        }
        if entry.kind == Kind::Clear && parts.user_key.is_some() {
            return Err(error("a clear at a map entry"));
        }
        let user_key_bytes = parts.user_key.map_or(0, <[u8]>::len);
        let container = if parts.user_key.is_some() { key.len() - user_key_bytes - 1 } else { key.len() };
        let same_container = self.last_container == container && shared >= container && self.total.entries > 0;
        self.count(entry, &parts, user_key_bytes);
        if self.first_key.is_empty() {
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
        if self.current.is_none_or(|current| (current.group, current.state) != (group, state)) {
            self.close_pair();
            self.current = Some(DirectoryEntry { group, state, ..DirectoryEntry::default() });
        }
        let logical = parts.key.key.len() + parts.key.namespace.len() + user_key_bytes + entry.value.len();
        for counts in self.current.iter_mut().chain([&mut self.total]) {
            counts.entries += 1;
            counts.tombstones += u64::from(entry.kind.is_tombstone());
            counts.clears += u64::from(entry.kind == Kind::Clear);
            counts.logical_bytes += logical as u64;
            if let Some(expiry_ms) = entry.expiry_ms {
                let first = counts.expiring == 0;
                counts.expiry_min_ms = if first { expiry_ms } else { counts.expiry_min_ms.min(expiry_ms) };
                counts.expiry_max_ms = counts.expiry_max_ms.max(expiry_ms);
                counts.expiring += 1;
            }
        }
    }

    fn close_pair(&mut self) {
        if let Some(current) = self.current.take() {
            current.encode(&mut self.directory);
        }
    }

    /// How many records there were.
    pub fn entries(&self) -> u64 {
        self.total.entries
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
        meta.directory_entries = (self.directory.len() / super::format::DIRECTORY_ENTRY_BYTES) as u32;
        meta.first_key.clone_from(&self.first_key);
        meta.last_key.clone_from(&self.last_key);
    }
}
