//! Ranges of a map that were deleted as a whole.
//!
//! On disk a range is hidden by the map's *marker*, a tombstone at the container's key, whose value is spans of user keys,
//! each with the epoch of its deletion ([`crate::spans`]). A span hides what is on disk as long as its epoch isn't
//! flushed; the flush writes those of its own epoch, and from then on the segment hides what is older.
//!
//! In memory a range of more than a few entries is *cut* out of the map's order, which takes as long as two lookups. What
//! was cut is freed piece by piece as the owner goes on ([`Hot::work`]), what is being flushed when that has ended; until then
//! its entries stand in the table. So that
//! nobody takes them for living, cuts are numbered, by container, and an entry carries in its link the number of the
//! last cut before it was made: one within a pending cut of a higher number is gone. Readers beside the owner don't
//! look at cuts: the container says that there are some, and then they ask through the gate.
//!
//! Invariants: an entry that is linked to a container counts among its entries, cut off or not, so a container with
//! pending cuts neither goes nor moves; what was cut off is never changed, only freed; an epoch that is sealed takes
//! the cuts pending at that time along, as some of its entries may be gone already.

use crate::hot::cell::Below;
use crate::hot::order::Pieces;
use crate::hot::record::{ENTRY, ENTRY_TOMBSTONE, NAMESPACE, Record, TOMBSTONE, first_flags, hash_area, hash_entry};
use crate::hot::rewind::Part;
use crate::hot::{Hot, OutOfMemory, Probe};
use crate::platform::arena::{Arena, Ref};
use crate::spans::{self, Spans};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// So many entries are deleted one by one, at once.
const FEW: usize = 64;
/// How many entries of what was cut off one piece of work frees.
const FREED_AT_ONCE: usize = 64;
/// A marker has no more spans than this, and no longer value. Then ranges are deleted entry by entry.
const SPANS_MAX: usize = 256;
/// See [`SPANS_MAX`].
const SPAN_BYTES_MAX: usize = 1 << 20;

/// Which entries of the containers with pending cuts are gone.
#[derive(Clone, Debug, Default)]
pub struct CutOff {
    spans: Arc<BTreeMap<Ref, Spans>>,
}

impl CutOff {
    /// Whether an entry was cut off, given its link.
    #[inline]
    pub fn has(&self, link: u64, user_key: &[u8]) -> bool {
        !self.spans.is_empty() && self.look(link, user_key)
    }

    #[inline(never)]
    fn look(&self, link: u64, user_key: &[u8]) -> bool {
        let Some(spans) = self.spans.get(&(link as Ref)) else { return false };
        let number = (link >> 32) as u32;
        spans.find(user_key).is_some_and(|span| span.number > number)
    }
}

/// A cut that is being freed.
#[derive(Debug)]
struct Cut {
    state: u16,
    group: u16,
    root: Ref,
    number: u32,
    pieces: Pieces,
}

/// The pending cuts of a shard, in their order.
#[derive(Debug, Default)]
pub struct Cuts {
    cuts: VecDeque<Cut>,
    off: CutOff,
    charged_bytes: usize,
    /// The epoch of the entry that comes next, where that was being flushed: until it is, the flusher looks at it.
    waits_for: u32,
}

impl Cuts {
    /// Whether none is pending.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.cuts.is_empty()
    }

    /// What is gone as of now.
    pub fn off(&self) -> &CutOff {
        &self.off
    }

    /// Forgets all; what was cut off is the caller's.
    pub fn clear(&mut self, arena: &Arena) {
        self.cuts.clear();
        self.off = CutOff::default();
        self.waits_for = 0;
        arena.uncharge(std::mem::take(&mut self.charged_bytes));
    }

    /// Forgets those of some tables, whose entries are left behind as a whole; the orders that they were cut out of.
    pub(super) fn leave(&mut self, arena: &Arena, part: &Part) -> Vec<Pieces> {
        let (left, kept): (VecDeque<Cut>, VecDeque<Cut>) =
            std::mem::take(&mut self.cuts).into_iter().partition(|cut| part.has(cut.state, cut.group));
        self.cuts = kept;
        // Found out anew.
        self.waits_for = 0;
        for cut in &left {
            self.change(arena, cut.root, |spans| spans.drop_up_to(cut.number));
        }
        left.into_iter().map(|cut| cut.pieces).collect()
    }

    /// Changes the spans of a container; their keys lie on the heap and are charged by force.
    fn change(&mut self, arena: &Arena, root: Ref, change: impl FnOnce(&mut Spans)) {
        let bytes = |spans: &Spans| spans.len() * size_of::<spans::Span>() + spans.key_bytes();
        // Copied where a sealed epoch holds on to it.
        let all = Arc::make_mut(&mut self.off.spans);
        let spans = all.entry(root).or_default();
        let before = bytes(spans);
        change(spans);
        let after = bytes(spans);
        if spans.is_empty() {
            all.remove(&root);
        }
        arena.charge_forced(after.saturating_sub(before));
        arena.uncharge(before.saturating_sub(after));
        self.charged_bytes = self.charged_bytes + after - before;
    }
}

/// The link of an entry that is made now.
#[inline]
pub(super) fn link_to(arena: &Arena, root: Record) -> u64 {
    // The container's own link: pending cuts in the lower half, the number of its last cut in the upper one.
    root.link(arena) & !0xFFFF_FFFF | u64::from(root.at)
}

impl Hot {
    /// Whether the entry of this record was cut off.
    #[inline]
    pub(super) fn is_cut_off(&self, record: Record) -> bool {
        !self.cuts.is_empty()
            && matches!(record.kind(), ENTRY | ENTRY_TOMBSTONE)
            && self.cuts.off.has(record.link(self.arena()), record.area(self.arena()))
    }

    /// The marker's value, or that of the one that the last commit left; empty where there is none that hides anything.
    pub(super) fn marker(&self, probe: &Probe<'_>, committed: bool) -> &[u8] {
        let found = self.find_cell(probe).map(|(marker, _)| marker);
        let of_commit = |marker| self.committed_of(probe.state, probe.group, marker);
        match if committed { found.and_then(of_commit) } else { found } {
            // One that is on disk hides nothing more: what was put after it may have been flushed and evicted since.
            Some(marker) if marker.kind() == TOMBSTONE && marker.stamp(self.arena()) > self.flushed => {
                self.value_of(marker)
            }
            _ => &[],
        }
    }

    /// Whether all that is on disk of a map is hidden by a deletion in memory.
    #[inline]
    pub fn is_cleared(&self, probe: &Probe<'_>) -> bool {
        self.is_cleared_for(probe, false)
    }

    /// The same, or of what is committed alone.
    #[inline]
    pub fn is_cleared_for(&self, probe: &Probe<'_>, committed: bool) -> bool {
        spans::hides_all(self.marker(probe, committed), self.flushed)
    }

    /// Whether a map's marker says so.
    pub fn hides_all(&self, marker: Record) -> bool {
        spans::hides_all(self.value_of(marker), self.flushed)
    }

    /// Whether what is on disk of an entry is hidden by a deletion in memory.
    #[inline]
    pub fn is_hidden(&self, probe: &Probe<'_>, user_key: &[u8]) -> bool {
        spans::hides(self.marker(probe, false), self.flushed, user_key)
    }

    /// What of a map deletions in memory hide of the disk.
    pub fn hidden(&self, probe: &Probe<'_>) -> Spans {
        self.hidden_for(probe, false)
    }

    /// The same, or of what is committed alone.
    pub fn hidden_for(&self, probe: &Probe<'_>, committed: bool) -> Spans {
        Spans::of_marker(self.marker(probe, committed), self.flushed)
    }

    /// Clears a map: all its entries leave memory, and where something may be on disk a marker hides it.
    pub fn clear_map(&mut self, probe: &Probe<'_>, below: Below) -> Result<(), OutOfMemory> {
        // One span takes the place of all others, so it always fits.
        self.delete_range(probe, &[], None, below).map(drop)
    }

    /// Deletes the entries from `from` up to `to` (left out; `None`: to the end) in about the time of two lookups. False, and
    /// nothing was done, where so many ranges of the map were deleted lately that entries have to be deleted one by one.
    pub fn delete_range(
        &mut self,
        probe: &Probe<'_>,
        from: &[u8],
        to: Option<&[u8]>,
        below: Below,
    ) -> Result<bool, OutOfMemory> {
        let is_staged = self.transaction.is_some();
        // What a transaction deletes of memory leaves tombstones of its own.
        let hides = below == Below::Perhaps || (!is_staged && self.has_unfresh(probe, from, to));
        if hides && !self.hide(probe, from, to)? {
            return Ok(false);
        }
        self.deletions += 1;
        if let Some((root, _)) = self.find_root(probe) {
            self.hide_in_front(root, from, to);
            if let (true, Some(to)) = (from.is_empty(), to) {
                self.pop_far(root, to);
            }
        }
        match self.find_root(probe) {
            Some((root, _)) if is_staged => self.delete_staged(probe, root, from, to)?,
            Some((root, _)) => self.cut_out(probe, root, from, to),
            None => self.set_unfinished(false),
        }
        Ok(true)
    }

    /// Hides a range of what is on disk, and of what is on its way there; false where there are too many ranges.
    fn hide(&mut self, probe: &Probe<'_>, from: &[u8], to: Option<&[u8]>) -> Result<bool, OutOfMemory> {
        let marker = self.find_cell(probe);
        let before = self.hidden(probe);
        let mut spans = before.clone();
        spans.insert(from, to, self.current);
        if spans.len() > SPANS_MAX || spans.key_bytes() > SPAN_BYTES_MAX {
            return Ok(false);
        }
        if spans != before {
            self.set_cell(probe, marker, TOMBSTONE, &spans.to_marker(), None, Below::Perhaps)?;
        }
        Ok(true)
    }

    /// Whether an entry in the range may have an older version on disk, or on its way there. Looks at a few at most; where
    /// there are more, the answer is no only if the container is of this epoch: then so are all its entries.
    fn has_unfresh(&self, probe: &Probe<'_>, from: &[u8], to: Option<&[u8]>) -> bool {
        let Some((root, _)) = self.find_root(probe) else { return false };
        let arena = self.arena();
        let few = self.few(root, from, to);
        let is_fresh = |&at: &Ref| {
            let record = Record::load(arena, at);
            // Asked only where the disk has nothing of the map.
            record.has(first_flags(record.kind())) && record.stamp(arena) == self.current
        };
        !few.iter().all(is_fresh) || few.len() > FEW && root.stamp(arena) != self.current
    }

    /// The first entries of a range: no more than [`FEW`], and one if there are more.
    fn few(&self, root: Record, from: &[u8], to: Option<&[u8]>) -> Vec<Ref> {
        let arena = self.arena();
        let mut few = Vec::new();
        self.tree(root).ascend(arena, Some(from), |at| {
            let inside = to.is_none_or(|to| Record::load(arena, at).area(arena) < to);
            if inside {
                few.push(at);
            }
            inside && few.len() <= FEW
        });
        few
    }

    /// Takes a range out of memory: a few entries at once, more as a cut. The container goes with the last entry.
    fn cut_out(&mut self, probe: &Probe<'_>, root: Record, from: &[u8], to: Option<&[u8]>) {
        let mut few = self.few(root, from, to);
        let number = (root.link(self.arena()) >> 32) as u32;
        if few.len() > FEW && number < u32::MAX {
            self.cut(probe, root, from, to, number + 1);
            return;
        }
        // All of them where the numbers ran out.
        while !few.is_empty() {
            for at in few {
                let record = Record::load(self.arena(), at);
                let user_key = record.area(self.arena()).to_vec();
                let hash = hash_entry(&user_key, probe.hash);
                let place = self.head(probe).find(self.arena(), hash, |found| found == at);
                debug_assert!(place.is_some(), "an entry of the order wasn't in its table");
                let Some((_, place)) = place else { return };
                self.drop_entry(probe, root, place, record, &user_key);
            }
            few = self.few(root, from, to);
        }
        self.remove_if_useless(probe, root);
    }

    fn cut(&mut self, probe: &Probe<'_>, root: Record, from: &[u8], to: Option<&[u8]>, number: u32) {
        let mut tree = self.tree(root);
        let pieces = tree.cut(&mut self.memory, from, to);
        self.set_tree(root, tree);
        let arena = self.memory.arena();
        // Release, in `set_link`: pairs with the load of readers, who from now on find that there are cuts.
        let pending = root.link(arena) as u32 + 1;
        root.set_link(arena, u64::from(pending) | u64::from(number) << 32);
        self.cuts.change(arena, root.at, |spans| spans.insert(from, to, number));
        let (state, group) = (probe.state, probe.group);
        self.cuts.cuts.push_back(Cut { state, group, root: root.at, number, pieces });
        self.has_work = true;
    }

    /// Whether [`Hot::free_cut_off`] has anything to do now.
    #[inline]
    pub(super) fn can_free_cut_off(&self) -> bool {
        !self.cuts.is_empty() && self.cuts.waits_for <= self.flushed
    }

    /// Frees some of what was cut off first.
    pub(super) fn free_cut_off(&mut self) {
        let Some(mut cut) = self.cuts.cuts.pop_front() else { return };
        let root = Record::load(self.arena(), cut.root);
        let area = root.area(self.arena()).to_vec();
        let namespaced = root.has(NAMESPACE);
        let hash = hash_area(&area, namespaced, self.seed);
        let probe = Probe { state: cut.state, group: cut.group, area: &area, namespaced, hash };
        let entries = cut.pieces.take(&mut self.memory, FREED_AT_ONCE);
        // One after the other they would cost several waits for memory each.
        entries.iter().for_each(|&at| self.arena().prefetch(at));
        let stamp = |at: Ref| Record::load(self.arena(), at).stamp(self.arena());
        let in_flight = |&at: &Ref| stamp(at) > self.flushed && stamp(at) != self.current;
        let free = entries.iter().position(in_flight).unwrap_or(entries.len());
        self.cuts.waits_for = entries.get(free).map_or(0, |&at| stamp(at));
        cut.pieces.put_back(&entries[free..]);
        self.free_entries(&probe, root, &entries[..free]);
        if !cut.pieces.is_empty() {
            self.cuts.cuts.push_front(cut);
            return;
        }
        // Those of the same container are freed in their order, so nothing is left of earlier ones either.
        let arena = self.memory.arena();
        self.cuts.change(arena, cut.root, |spans| spans.drop_up_to(cut.number));
        // Release, in `set_link`: a reader that finds no cuts finds none of their entries in the table.
        root.set_link(arena, root.link(arena) - 1);
        self.remove_if_useless(&probe, root);
    }

    /// Takes entries that nothing but the table leads to any more out of it.
    fn free_entries(&mut self, probe: &Probe<'_>, root: Record, entries: &[Ref]) {
        let hash = |at: Ref| hash_entry(Record::load(self.arena(), at).area(self.arena()), probe.hash);
        let hashes: Vec<u64> = entries.iter().map(|&at| hash(at)).collect();
        hashes.iter().for_each(|&hash| self.head(probe).prefetch(self.arena(), hash));
        for (&at, &hash) in entries.iter().zip(&hashes) {
            let record = Record::load(self.arena(), at);
            let place = self.head(probe).find(self.arena(), hash, |found| found == at);
            debug_assert!(place.is_some(), "an entry that was cut off left its table");
            if let Some((_, place)) = place {
                self.count(root, false);
                self.discard_one_of_many(probe, place, record);
            }
        }
    }

    /// Finishes cuts, and clears what rolling back left behind, until about so many bytes were freed, or all that can be; true where so
    /// many were.
    pub fn free_cuts(&mut self, bytes: usize) -> bool {
        let before = self.memory.retired_bytes();
        while self.can_free_cut_off() {
            self.free_cut_off();
            if self.memory.retired_bytes().wrapping_sub(before) >= bytes {
                self.memory.collect();
                return true;
            }
        }
        self.free_graves(bytes, before)
    }
}
