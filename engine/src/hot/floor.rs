//! Floors: what is known of the fronts of maps that are popped, and what was loaded of them.
//!
//! A floor hangs on a map's container. It is a cache of what would be learned from the segments again: it goes with its
//! container, and an empty container that has one stays for a round of the clock's hand after its last use. Floors lie
//! on the heap and are favoured by the share that they are charged to, so that a few can be kept when memory is full, as it mostly
//! is; all that lie in a share divide what it favours.

use crate::hot::front::Front;
use crate::hot::memory::Memory;
use crate::hot::record::{BASE, ROOT, Record, USED};
use crate::hot::{Hot, Probe};
use crate::platform::arena::{Arena, Ref, Share};
use std::collections::BTreeMap;

/// Of a container: [`Floors`] has one for it.
const HAS_FLOOR: u8 = BASE;

/// What a floor takes beside its keys: itself, its place in the tree, and what is free around it there; about.
const FLOOR_BYTES: usize = 176;
/// What the heap takes beside the bytes of a key, about.
const HEAP_BYTES: usize = 16;
/// So many records where a front was loaded eviction passes by, before it takes one: else the front ends there.
const SPARED_MAX: u32 = 1_024;

/// What is known of the front of a map.
#[derive(Debug, Default)]
pub struct Floor {
    /// Nothing live has a smaller user key.
    pub key: Vec<u8>,
    /// What the segments have of smaller user keys than this (and not below `key`) is in the front, unless memory has a record of
    /// the same user key.
    pub loaded: Loaded,
    /// What was loaded last, as far as it wasn't taken.
    pub front: Front,
    /// How many keys of theirs were gone over when that was loaded last.
    pub run: usize,
    /// How many records eviction has passed by since then.
    spared: u32,
    /// What is put from this user key on is put far.
    far_from: Option<Vec<u8>>,
    /// Memory may have records of such user keys.
    has_tail: bool,
}

/// How far the front of a map was loaded from the segments.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Loaded {
    /// Not at all.
    #[default]
    Nothing,
    /// Up to this user key, left out.
    Below(Vec<u8>),
    /// To the end.
    All,
}

impl Floor {
    fn bytes(&self) -> usize {
        let heap = |key: &Vec<u8>| if key.capacity() == 0 { 0 } else { key.capacity() + HEAP_BYTES };
        let front = if self.front.capacity() == 0 { 0 } else { self.front.capacity() + HEAP_BYTES };
        let far = self.far_from.as_ref().map_or(0, heap);
        FLOOR_BYTES + heap(&self.key) + front + far + if let Loaded::Below(end) = &self.loaded { heap(end) } else { 0 }
    }

    /// Whether it is said of a user key what the segments have of it.
    fn knows(&self, user_key: &[u8]) -> bool {
        user_key >= self.key.as_slice()
            && match &self.loaded {
                Loaded::Nothing => false,
                Loaded::Below(end) => user_key < end.as_slice(),
                Loaded::All => true,
            }
    }

    /// From where on puts are put far, if memory may have records there.
    pub(super) fn tail(&self) -> Option<&[u8]> {
        self.far_from.as_deref().filter(|_| self.has_tail)
    }

    fn unload(&mut self) {
        self.loaded = Loaded::Nothing;
        self.front = Front::default();
    }
}

/// The floors of a shard, by container. See the module's head.
#[derive(Debug, Default)]
pub struct Floors {
    floors: BTreeMap<Ref, Floor>,
    charged_bytes: usize,
    /// Of how many maps some puts are put far.
    far: usize,
}

impl Floors {
    /// Changes the floor of a container, or adds one; false where there is no room for it, and then there is none.
    fn change(&mut self, memory: &mut Memory, at: Ref, change: impl FnOnce(&mut Floor)) -> bool {
        let mut before = 0;
        let floor = self.floors.entry(at).and_modify(|floor| before = floor.bytes()).or_default();
        let was_far = floor.far_from.is_some();
        change(floor);
        let (after, is_far) = (floor.bytes(), floor.far_from.is_some());
        self.far = self.far + usize::from(is_far) - usize::from(was_far);
        let Some(more) = after.checked_sub(before).filter(|&more| more > 0) else {
            self.uncharge(memory.share(), before - after, 0);
            return true;
        };
        let is_new = before == 0;
        if !memory.charge_favoured((more, usize::from(is_new)), self.charged_bytes) {
            self.floors.remove(&at);
            self.far -= usize::from(is_far);
            self.uncharge(memory.share(), before, usize::from(!is_new));
            return false;
        }
        self.charged_bytes += more;
        true
    }

    /// Removes the floor of a container, if it has one.
    pub(super) fn remove(&mut self, share: &Share, at: Ref) {
        if let Some(floor) = self.floors.remove(&at) {
            self.far -= usize::from(floor.far_from.is_some());
            self.uncharge(share, floor.bytes(), 1);
        }
    }

    /// Removes all.
    pub(super) fn clear(&mut self, share: &Share) {
        self.uncharge(share, self.charged_bytes, self.floors.len());
        self.floors.clear();
        self.far = 0;
    }

    /// Whether of any map some puts are put far.
    pub(super) const fn are_far(&self) -> bool {
        self.far > 0
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.floors.is_empty()
    }

    /// Whether an entry's record that could leave memory is passed by: where a front was loaded it is about to be taken, and the
    /// front would end at it. Of each front some are.
    pub(super) fn spares(&mut self, container: Ref, user_key: &[u8]) -> bool {
        let Some(floor) = self.floors.get_mut(&container) else { return false };
        // Where all is loaded the front is no part of the map.
        let spares = matches!(floor.loaded, Loaded::Below(_)) && floor.spared < SPARED_MAX && floor.knows(user_key);
        floor.spared += u32::from(spares);
        spares
    }

    /// How many bytes the front of a container may take where memory is full, about, as a fair part of what all may.
    fn front_bytes_max(&self, share: &Share, at: Option<Ref>) -> usize {
        let own = at.and_then(|at| self.floors.get(&at)).map_or(0, |floor| floor.front.capacity());
        share.favoured_part_bytes(own).saturating_sub(2 * FLOOR_BYTES)
    }

    fn uncharge(&mut self, share: &Share, bytes: usize, floors: usize) {
        if bytes > 0 {
            self.charged_bytes -= bytes;
            share.uncharge_favoured((bytes, floors));
        }
    }
}

impl Hot {
    /// What is known of the map's front.
    pub fn floor(&self, root: Record) -> Option<&Floor> {
        if has_floor(self.arena(), root) { self.floors.floors.get(&root.at) } else { None }
    }

    /// Remembers that nothing lives below `user_key`: a map that is popped from the front would otherwise pass all
    /// that was popped again and again.
    pub fn raise_floor(&mut self, root: Record, user_key: &[u8]) {
        if Record::load(self.arena(), root.at).kind() == ROOT {
            // Else it went with its last entry.
            self.change_floor(root, |floor| {
                floor.key.clear();
                floor.key.extend_from_slice(user_key);
                floor.front.pass(user_key);
            });
        }
    }

    /// Remembers how far the map's front was loaded from the segments, and how: false where there is no room for that, and then nothing is
    /// known of the front any more. With `far`, and unless it was loaded to its end, what is put behind it is put far from now on.
    pub fn set_loaded(&mut self, root: Record, loaded: Loaded, run: usize, front: Front, far: bool) -> bool {
        let end = if let Loaded::Below(end) = &loaded { Some(end.as_slice()) } else { None };
        let far_from =
            end.filter(|_| far && self.transaction.is_none()).map(|end| self.popped_far(root).max(end).to_vec());
        let has_tail = far_from.as_ref().is_some_and(|from| self.has_entries_from(root, from));
        self.change_floor(root, |floor| {
            (floor.loaded, floor.run, floor.front, floor.spared) = (loaded, run, front, 0);
            (floor.far_from, floor.has_tail) = (far_from, has_tail);
        })
    }

    fn has_entries_from(&self, root: Record, from: &[u8]) -> bool {
        let mut has = false;
        self.tree(root).descend_from(self.arena(), None, |at| {
            has = Record::load(self.arena(), at).area(self.arena()) >= from;
            false
        });
        has
    }

    /// Says that what is put becomes a record, whatever it is.
    pub(super) fn end_far(&mut self, root: Record) {
        if self.floor(root).is_some_and(|floor| floor.far_from.is_some()) {
            // It takes no more than before, so there is room.
            self.floors.change(&mut self.memory, root.at, |floor| floor.far_from = None);
        }
    }

    /// Whether what is put at a user key is put far; if so, whether memory may have a record there.
    #[inline]
    pub fn is_far(&self, root: Record, user_key: &[u8]) -> Option<bool> {
        let floor = self.floor(root)?;
        floor.far_from.as_ref().filter(|from| user_key >= from.as_slice()).map(|_| floor.has_tail)
    }

    /// Says that memory has a record where far puts go.
    pub(super) fn note_tail(&mut self, root: Record) {
        self.floors.change(&mut self.memory, root.at, |floor| floor.has_tail = true);
    }

    /// Says that memory has none there.
    pub(super) fn forget_tail(&mut self, root: Record) {
        self.floors.change(&mut self.memory, root.at, |floor| floor.has_tail = false);
    }

    /// How many bytes the front of a map had better not be above, with as many others as there are.
    pub fn front_bytes_max(&self, root: Option<Record>) -> usize {
        self.floors.front_bytes_max(self.memory.share(), root.map(|root| root.at))
    }

    fn change_floor(&mut self, root: Record, change: impl FnOnce(&mut Floor)) -> bool {
        let kept = self.floors.change(&mut self.memory, root.at, change);
        let arena = self.memory.arena();
        let mut root = Record::load(arena, root.at);
        root.set_tag(arena, if kept { root.tag() | HAS_FLOOR | USED } else { root.tag() & !HAS_FLOOR });
        kept
    }

    /// Before an entry is put.
    #[inline]
    pub(super) fn lower_floor(&mut self, root: Record, user_key: &[u8]) {
        if self.floor(root).is_some_and(|floor| user_key < floor.key.as_slice()) {
            // Between here and the old floor nothing lived, on disk neither: what was loaded goes on being all there is.
            self.change_floor(root, |floor| {
                floor.key.clear();
                floor.key.extend_from_slice(user_key);
            });
        }
    }

    /// Forgets what was loaded of the front.
    pub(super) fn unload(&mut self, root: Record) {
        if self.floor(root).is_some_and(|floor| floor.loaded != Loaded::Nothing) {
            // It takes no more than before, so there is room.
            self.floors.change(&mut self.memory, root.at, Floor::unload);
        }
    }

    /// Before an entry's record leaves memory, which is on disk: if it is one of those that were loaded, the front ends there, as
    /// it has an older version of it, or none.
    pub(super) fn unload_from(&mut self, root: Record, user_key: &[u8]) {
        if self.floor(root).is_some_and(|floor| floor.knows(user_key)) {
            // There is room for the key, or there is no floor from now on.
            self.change_floor(root, |floor| {
                floor.front.cut(user_key);
                floor.loaded = Loaded::Below(user_key.to_vec());
            });
        }
    }

    /// After a range was hidden on disk: what the front has of it is gone.
    pub(super) fn hide_in_front(&mut self, root: Record, from: &[u8], to: Option<&[u8]>) {
        let Some(floor) = self.floor(root).filter(|floor| !floor.front.is_empty()) else { return };
        if from > floor.key.as_slice() {
            // In the middle of it, perhaps.
            self.unload_from(root, from);
            return;
        }
        self.floors.change(&mut self.memory, root.at, |floor| match to {
            Some(to) => floor.front.pass(to),
            None => floor.front.clear(),
        });
    }

    /// Whether an empty container is worth its room: it knows how far a map was popped of which the segments may have
    /// more.
    pub(super) fn knows_floor(&self, probe: &Probe<'_>, root: Record) -> bool {
        has_floor(self.arena(), root) && self.head(probe).is_spilled()
    }
}

/// The record is loaded anew, as its flag may have been set since.
fn has_floor(arena: &Arena, root: Record) -> bool {
    Record::load(arena, root.at).has(HAS_FLOOR)
}
