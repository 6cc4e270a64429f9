//! Floors: what is known of the fronts of maps that are popped.
//!
//! A floor hangs on a map's container. It is a cache of what would be learned from the segments again: it goes with its
//! container, and an empty container that has one stays for a round of the clock's hand after its last use. Floors lie
//! on the heap and are charged to the budget: by force, so that a few can be kept when memory is full, as it mostly is,
//! and where they take more than their share of it only if there is room.

use crate::hot::record::{BASE, ROOT, Record, USED};
use crate::hot::{Hot, Probe};
use crate::platform::arena::{Arena, Ref};
use std::collections::BTreeMap;

/// Of a container: [`Floors`] has one for it.
const HAS_FLOOR: u8 = BASE;

/// What a floor takes beside its keys: itself, its place in the tree, and what is free around it there; about.
const FLOOR_BYTES: usize = 104;
/// So much of the budget floors take by force: one part in so many.
const SHARE: usize = 32;
/// What the heap takes beside the bytes of a key, about.
const HEAP_BYTES: usize = 16;

/// What is known of the front of a map.
#[derive(Debug, Default)]
pub struct Floor {
    /// Nothing live has a smaller user key.
    pub key: Vec<u8>,
    /// What the segments have of smaller user keys than this (and not below `key`) is in memory too.
    pub loaded: Loaded,
    /// How many keys of theirs were gone over when that was loaded last.
    pub run: usize,
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
        FLOOR_BYTES + heap(&self.key) + if let Loaded::Below(end) = &self.loaded { heap(end) } else { 0 }
    }
}

/// The floors of a shard, by container. See the module's head.
#[derive(Debug, Default)]
pub struct Floors {
    floors: BTreeMap<Ref, Floor>,
    charged_bytes: usize,
}

impl Floors {
    /// Changes the floor of a container, or adds one; false where there is no room for it, and then there is none.
    fn change(&mut self, arena: &Arena, at: Ref, change: impl FnOnce(&mut Floor)) -> bool {
        let mut before = 0;
        let floor = self.floors.entry(at).and_modify(|floor| before = floor.bytes()).or_default();
        change(floor);
        let after = floor.bytes();
        let Some(more) = after.checked_sub(before).filter(|&more| more > 0) else {
            self.uncharge(arena, before - after);
            return true;
        };
        if self.charged_bytes + more <= arena.budget_bytes() / SHARE {
            arena.charge_forced(more);
        } else if !arena.charge(more) {
            self.floors.remove(&at);
            self.uncharge(arena, before);
            return false;
        }
        self.charged_bytes += more;
        true
    }

    /// Removes the floor of a container, if it has one.
    pub(super) fn remove(&mut self, arena: &Arena, at: Ref) {
        if let Some(floor) = self.floors.remove(&at) {
            self.uncharge(arena, floor.bytes());
        }
    }

    /// Removes all.
    pub(super) fn clear(&mut self, arena: &Arena) {
        self.floors.clear();
        self.uncharge(arena, self.charged_bytes);
    }

    fn uncharge(&mut self, arena: &Arena, bytes: usize) {
        if bytes > 0 {
            self.charged_bytes -= bytes;
            arena.uncharge(bytes);
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
            });
        }
    }

    /// Remembers how far the map's front was loaded from the segments.
    pub fn set_loaded(&mut self, root: Record, loaded: Loaded, run: usize) {
        self.change_floor(root, |floor| (floor.loaded, floor.run) = (loaded, run));
    }

    fn change_floor(&mut self, root: Record, change: impl FnOnce(&mut Floor)) {
        let arena = self.memory.arena();
        let mut root = Record::load(arena, root.at);
        let kept = self.floors.change(arena, root.at, change);
        root.set_tag(arena, if kept { root.tag() | HAS_FLOOR | USED } else { root.tag() & !HAS_FLOOR });
    }

    /// Before an entry is put.
    #[inline]
    pub(super) fn lower_floor(&mut self, root: Record, user_key: &[u8]) {
        if self.floor(root).is_some_and(|floor| user_key < floor.key.as_slice()) {
            self.change_floor(root, |floor| {
                floor.key.clear();
                floor.key.extend_from_slice(user_key);
                // Between here and the old floor the segments were never asked.
                floor.loaded = Loaded::Nothing;
            });
        }
    }

    /// Forgets how far the front was loaded: something of it is about to leave memory.
    pub(super) fn unload(&mut self, root: Record) {
        if self.floor(root).is_some_and(|floor| floor.loaded != Loaded::Nothing) {
            // It takes no more than before, so there is room.
            self.floors.change(self.memory.arena(), root.at, |floor| floor.loaded = Loaded::Nothing);
        }
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
