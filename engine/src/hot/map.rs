//! Maps in memory: entries, their container and their order.
//!
//! An entry is a record of its own, found by the hash of (container, user key) and linked to its container. The
//! container is a record of kind [`ROOT`](record::ROOT) that is never flushed and never moves while it has entries; its
//! value is two words: the order's root with, in the upper half, the last epoch in which an entry entered a dirty list; and how many entries
//! there are. Its stamp is the epoch that it was made in. What
//! was cleared of a map is told by a tombstone at the container's key ([`crate::hot::cut`]).

use crate::hot::cell::Below;
use crate::hot::cut::link_to;
use crate::hot::order::Tree;
use crate::hot::record::{ENTRY, ENTRY_TOMBSTONE, EXPIRY, Parts, ROOT, Record, USED, first_flags, hash_entry};
use crate::hot::table::Place;
use crate::hot::{Hot, OutOfMemory, Probe};
use crate::platform::arena::Ref;
use crate::platform::sync::atomic::Ordering;

impl Hot {
    /// The map's container.
    #[inline]
    pub fn find_root(&self, probe: &Probe<'_>) -> Option<(Record, Place)> {
        let arena = self.memory.arena();
        let (at, place) = self.head(probe).find(arena, probe.hash, |at| {
            let record = Record::load(arena, at);
            record.kind() == ROOT && record.is_at(arena, probe.area, probe.namespaced)
        })?;
        Some((Record::load(arena, at), place))
    }

    /// Fetches what [`Hot::find_entry`] begins with into the cache, while the container is looked for.
    #[inline]
    pub fn prefetch_entry(&self, probe: &Probe<'_>, user_key: &[u8]) {
        self.head(probe).prefetch(self.memory.arena(), hash_entry(user_key, probe.hash));
    }

    /// The entry's record, live or not.
    #[inline]
    pub fn find_entry(&self, probe: &Probe<'_>, root: Record, user_key: &[u8]) -> Option<(Record, Place)> {
        let arena = self.memory.arena();
        let (at, place) = self.head(probe).find(arena, hash_entry(user_key, probe.hash), |at| {
            let record = Record::load(arena, at);
            matches!(record.kind(), ENTRY | ENTRY_TOMBSTONE)
                && record.link(arena) as Ref == root.at
                && record.area_len() == user_key.len()
                && arena.equals(record.area_at(), user_key)
                && !self.cuts.off().has(record.link(arena), user_key)
        })?;
        Some((Record::load(arena, at), place))
    }

    /// As [`Hot::find_entry`], for who is about to put: what a map of few entries doesn't have, its order says as well, which is looked into
    /// anyway. Meanwhile the bucket is fetched.
    #[inline]
    pub fn find_entry_by_order(&self, probe: &Probe<'_>, root: Record, user_key: &[u8]) -> Option<(Record, Place)> {
        if self.tree(root).lacks(self.arena(), user_key) {
            debug_assert!(self.find_entry(probe, root, user_key).is_none(), "an entry was missing from its order");
            return None;
        }
        self.find_entry(probe, root, user_key)
    }

    /// The map's container, made where there is none.
    pub fn root_or_new(&mut self, probe: &Probe<'_>) -> Result<Record, OutOfMemory> {
        if let Some((root, _)) = self.find_root(probe) {
            return Ok(root);
        }
        let parts = Parts {
            tag: ROOT | Self::flags(probe, None),
            stamp: self.current,
            link: 0,
            expiry_ms: 0,
            area: probe.area,
            value: [&[0; 16], &[]],
            spare: 0,
        };
        let root = Record::create(&mut self.memory, parts).ok_or(OutOfMemory { bytes: 16 })?;
        if let Err(error) = self.insert(probe, probe.hash, root) {
            self.memory.retire_record(root.at, root.class());
            return Err(error);
        }
        Ok(root)
    }

    /// The order of a map's entries.
    pub fn tree(&self, root: Record) -> Tree {
        let at = self.arena().word(root.value_at()).load(Ordering::Relaxed) as Ref;
        Tree { root: at, entries: self.entries(root) as usize }
    }

    pub(super) fn set_tree(&self, root: Record, tree: Tree) {
        let word = self.arena().word(root.value_at());
        let changed = word.load(Ordering::Relaxed) & !0xFFFF_FFFF;
        word.store(changed | u64::from(tree.root), Ordering::Relaxed);
    }

    /// Notes in a container that this entry of it enters a dirty list: as long as that isn't flushed, the flusher learns its key from there.
    #[inline]
    pub(super) fn note_changed(&self, record: Record) {
        if !matches!(record.kind(), ENTRY | ENTRY_TOMBSTONE) {
            return;
        }
        // The epoch of what is staged isn't known before its commit.
        let epoch = if self.transaction.is_some() { u32::MAX } else { self.current };
        let root = Record::load(self.arena(), record.link(self.arena()) as Ref);
        let word = self.arena().word(root.value_at());
        let before = word.load(Ordering::Relaxed);
        if ((before >> 32) as u32) < epoch {
            word.store(before & 0xFFFF_FFFF | u64::from(epoch) << 32, Ordering::Relaxed);
        }
    }

    /// The last epoch in which an entry of the container entered a dirty list, or a later one.
    pub(super) fn changed_in(&self, root: Record) -> u32 {
        (self.arena().word(root.value_at()).load(Ordering::Relaxed) >> 32) as u32
    }

    /// How many entries the map has in memory, deleted ones and those that were cut off too.
    pub fn entries(&self, root: Record) -> u64 {
        self.arena().word(root.value_at() + 1).load(Ordering::Relaxed)
    }

    pub(super) fn count(&self, root: Record, forth: bool) {
        let word = self.arena().word(root.value_at() + 1);
        let count = word.load(Ordering::Relaxed);
        word.store(if forth { count + 1 } else { count - 1 }, Ordering::Relaxed);
    }

    /// Puts an entry. `found` is what [`Hot::find_entry`] said just before.
    #[expect(clippy::too_many_arguments, reason = "one entry's address, value and what is known of both")]
    pub fn put_entry(
        &mut self,
        probe: &Probe<'_>,
        root: Record,
        found: Option<(Record, Place)>,
        user_key: &[u8],
        value: &[u8],
        expiry_ms: Option<u64>,
        below: Below,
    ) -> Result<(), OutOfMemory> {
        self.lower_floor(root, user_key);
        self.set_entry(probe, root, found, ENTRY, user_key, value, expiry_ms, below)
    }

    /// Deletes an entry: it goes at once where nothing older is on disk, else it becomes a tombstone. With the last
    /// entry goes the container, so `root` is not to be used any more.
    pub fn delete_entry(
        &mut self,
        probe: &Probe<'_>,
        root: Record,
        found: Option<(Record, Place)>,
        user_key: &[u8],
        below: Below,
    ) -> Result<(), OutOfMemory> {
        self.deletions += 1;
        match found {
            Some((record, place)) if self.goes_at_once(record, below) => {
                self.drop_entry(probe, root, place, record, user_key);
                self.remove_if_useless(probe, root);
                Ok(())
            }
            Some((record, _)) if record.kind() == ENTRY_TOMBSTONE => Ok(()),
            None if below == Below::Nothing => Ok(()),
            _ => {
                let expiry_ms = found.and_then(|(record, _)| record.has(EXPIRY).then_some(0));
                self.set_entry(probe, root, found, ENTRY_TOMBSTONE, user_key, &[], expiry_ms, below)
            }
        }
    }

    /// Takes an entry out of table and order and disposes of it.
    pub(super) fn drop_entry(&mut self, probe: &Probe<'_>, root: Record, place: Place, old: Record, user_key: &[u8]) {
        let mut tree = self.tree(root);
        tree.remove(&mut self.memory, user_key);
        self.set_tree(root, tree);
        self.count(root, false);
        self.discard(probe, place, old);
    }

    #[expect(clippy::too_many_arguments, reason = "one entry's address, value and what is known of both")]
    fn set_entry(
        &mut self,
        probe: &Probe<'_>,
        root: Record,
        found: Option<(Record, Place)>,
        kind: u8,
        user_key: &[u8],
        value: &[u8],
        expiry_ms: Option<u64>,
        below: Below,
    ) -> Result<(), OutOfMemory> {
        let expiry = if expiry_ms.is_some() { EXPIRY } else { 0 };
        let Some((mut old, place)) = found else {
            let first = below.flag() & first_flags(kind);
            let record = self.new_entry(root, kind | expiry | first, self.current, user_key, value, expiry_ms)?;
            return self.add_entry(probe, root, record, user_key, true);
        };
        let kept = |old: Record| old.tag() & first_flags(old.kind()) & first_flags(kind);
        let in_place = old.has(EXPIRY) == expiry_ms.is_some()
            && (value.len() <= old.value_len() || value.len() <= old.capacity(&self.memory))
            && self.claim(probe, &mut old)?;
        if in_place {
            self.resized(old.value_len(), value.len());
            old.replace(self.memory.arena(), kind | expiry | kept(old) | USED, expiry_ms, value);
            return Ok(());
        }
        let fresh = if old.stamp(self.arena()) == self.current { kept(old) } else { 0 };
        let record = self.new_entry(root, kind | expiry | fresh | USED, self.current, user_key, value, expiry_ms)?;
        let is_committed = old.stamp(self.arena()) <= self.committed;
        let hash = hash_entry(user_key, probe.hash);
        self.enter_successor(probe, hash, is_committed.then_some(old), record)?;
        // Before the old record goes: the order compares keys through it.
        let swung = self.tree(root).swing(self.memory.arena(), user_key, record.at);
        debug_assert!(swung, "an entry was missing from its order");
        place.swing(self.memory.arena(), record.at);
        if !is_committed {
            self.dispose(probe.state, probe.group, old);
        }
        Ok(())
    }

    pub(super) fn new_entry(
        &mut self,
        root: Record,
        tag: u8,
        stamp: u32,
        user_key: &[u8],
        value: &[u8],
        expiry_ms: Option<u64>,
    ) -> Result<Record, OutOfMemory> {
        let parts = Parts {
            tag,
            stamp,
            link: link_to(self.arena(), root),
            expiry_ms: expiry_ms.unwrap_or(0),
            area: user_key,
            value: [value, &[]],
            spare: 0,
        };
        Record::create(&mut self.memory, parts).ok_or(OutOfMemory { bytes: value.len() })
    }

    /// Enters a new entry in order, table and (if `dirty`) dirty list, or in none of them.
    pub(super) fn add_entry(
        &mut self,
        probe: &Probe<'_>,
        root: Record,
        record: Record,
        user_key: &[u8],
        dirty: bool,
    ) -> Result<(), OutOfMemory> {
        let mut tree = self.tree(root);
        if let Err(error) = tree.insert(&mut self.memory, user_key, record.at) {
            // Nodes may have been split on the way all the same.
            self.set_tree(root, tree);
            self.memory.retire_record(record.at, record.class());
            return Err(error);
        }
        self.set_tree(root, tree);
        let listed = if dirty { self.push_dirty(probe.state, probe.group, record) } else { Ok(()) };
        let added = listed.and_then(|()| self.insert(probe, hash_entry(user_key, probe.hash), record));
        if added.is_ok() {
            self.count(root, true);
            return Ok(());
        }
        // Out of the order first, which compares keys through the record.
        tree.remove(&mut self.memory, user_key);
        self.set_tree(root, tree);
        if dirty && listed.is_ok() {
            self.bury(probe.state, probe.group, record);
        } else {
            self.memory.retire_record(record.at, record.class());
        }
        added
    }

    /// Keeps an entry that was read from disk, clean; nothing happens where memory is out.
    pub fn promote_entry(
        &mut self,
        probe: &Probe<'_>,
        user_key: &[u8],
        value: &[u8],
        expiry_ms: Option<u64>,
        epoch: u32,
    ) {
        let Ok(root) = self.root_or_new(probe) else { return };
        let tag = ENTRY | if expiry_ms.is_some() { EXPIRY } else { 0 };
        let stamp = epoch.min(self.flushed);
        if let Ok(record) = self.new_entry(root, tag, stamp, user_key, value, expiry_ms) {
            // Out of memory here means that the entry is read again next time.
            let _ = self.add_entry(probe, root, record, user_key, false);
        }
        self.remove_if_useless(probe, root);
    }

    /// Deletes the entries that memory has of a range, one by one, so that what the last commit left of each is kept.
    pub(super) fn delete_staged(
        &mut self,
        probe: &Probe<'_>,
        root: Record,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> Result<(), OutOfMemory> {
        let mut entries = Vec::new();
        let arena = self.arena();
        self.tree(root).ascend(arena, Some(from), |at| {
            let inside = to.is_none_or(|to| Record::load(arena, at).area(arena) < to);
            if inside {
                entries.push(at);
            }
            inside
        });
        for at in entries {
            let user_key = Record::load(self.arena(), at).area(self.arena()).to_vec();
            let Some((record, place)) = self.find_entry(probe, root, &user_key) else { continue };
            // Where the disk has something of the map, the range hides it: nothing of a new entry is anywhere else.
            if record.has(first_flags(record.kind())) && record.stamp(self.arena()) == self.current {
                self.drop_entry(probe, root, place, record, &user_key);
            } else if record.kind() != ENTRY_TOMBSTONE {
                let expiry_ms = record.has(EXPIRY).then_some(0);
                let found = Some((record, place));
                let deleted =
                    self.set_entry(probe, root, found, ENTRY_TOMBSTONE, &user_key, &[], expiry_ms, Below::Perhaps);
                if deleted.is_err() {
                    self.set_unfinished(true);
                    return deleted;
                }
            }
        }
        self.set_unfinished(false);
        self.remove_if_useless(probe, root);
        Ok(())
    }

    /// Removes a container that has no entries.
    pub(super) fn remove_if_empty(&mut self, probe: &Probe<'_>, root: Record) {
        if self.entries(root) == 0
            && !self.has_far(root)
            && let Some((root, place)) = self.find_root(probe)
        {
            self.remove_root(probe, place, root);
        }
    }

    /// Removes a container that has no entries, unless it has a floor that is worth keeping.
    pub(super) fn remove_if_useless(&mut self, probe: &Probe<'_>, root: Record) {
        if !self.knows_floor(probe, root) {
            self.remove_if_empty(probe, root);
        }
    }

    /// Takes a container without entries out of its table and frees it.
    pub(super) fn remove_root(&mut self, probe: &Probe<'_>, place: Place, root: Record) {
        self.floors.remove(self.memory.share(), root.at);
        self.heads[probe.state as usize][probe.group as usize].remove(self.memory.arena(), place);
        self.tables[probe.state as usize][probe.group as usize].records -= 1;
        self.free_root(root);
    }
}
