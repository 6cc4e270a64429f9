//! Which keys are in question while the stream is gone through, forwards or backwards.

use crate::changelog::access::{Access, AccessKind, Accesses};
use crate::changelog::trace::{Parts, Run};
use std::collections::{HashMap, HashSet};

/// A cell or an entry.
const CELL: u8 = 1;
/// A container of which some entries are in question, each by itself.
const SOME_ENTRIES: u8 = 2;
/// A container of which all entries are.
const ALL_ENTRIES: u8 = 4;

/// Above so many keys a stretch of the stream is gone through without asking whether it has one of them.
const ASKED_FOR_MAX: usize = 4_096;

/// Hashes of the keys in question.
#[derive(Clone, Debug, Default)]
pub struct Taints {
    now: HashMap<u64, u8>,
    /// All that ever were, by the unit that repairs go by: a cell, or a whole container.
    units: HashSet<u64>,
    written: HashSet<u64>,
}

impl Taints {
    /// A cell or entry, with its container; of a cell that is the cell itself.
    pub fn of(hash: u64, container: u64) -> Self {
        let mut taints = Self::default();
        taints.add(hash, CELL);
        if container != hash {
            taints.add(container, SOME_ENTRIES);
        } else {
            // It may be asked for as a map.
            taints.add(hash, ALL_ENTRIES);
        }
        taints
    }

    fn add(&mut self, hash: u64, what: u8) {
        *self.now.entry(hash).or_default() |= what;
    }

    fn has(&self, hash: u64, what: u8) -> bool {
        self.now.get(&hash).is_some_and(|found| found & what != 0)
    }

    fn remove(&mut self, hash: u64, what: u8) {
        if let Some(found) = self.now.get_mut(&hash) {
            *found &= !what;
            if *found == 0 {
                self.now.remove(&hash);
            }
        }
    }

    /// The parts of a stretch of the stream that may have one of them.
    pub fn parts_of(&self, run: &Run) -> Parts {
        if self.now.len() > ASKED_FOR_MAX {
            return Parts::ALL;
        }
        Parts::of(self.now.keys().map(|hash| run.parts_with(*hash)))
    }

    /// Those in which one may have been read or overwritten, and not only added to.
    pub fn parts_with_more(&self, run: &Run) -> Parts {
        if self.now.len() > ASKED_FOR_MAX {
            return Parts::ALL;
        }
        Parts::of(self.now.keys().map(|hash| run.parts_with_more(*hash)))
    }

    /// Whether an event read any of them.
    pub fn reaches(&self, accesses: Accesses<'_>) -> bool {
        accesses.iter().filter(|access| access.kind.reads()).any(|access| self.is_read(access))
    }

    fn is_read(&self, access: Access) -> bool {
        if access.kind.is_range() {
            return self.has(access.hash, SOME_ENTRIES | ALL_ENTRIES);
        }
        self.has(access.hash, CELL) || access.container.is_some_and(|container| self.has(container, ALL_ENTRIES))
    }

    /// What an event wrote that is bad, or depends on one, is in question from now on.
    pub fn spread(&mut self, accesses: Accesses<'_>) {
        for access in accesses.iter().filter(|access| access.kind.writes()) {
            self.written.insert(access.hash);
            self.units.insert(unit(access));
            self.enter(access);
        }
    }

    fn enter(&mut self, access: Access) {
        if access.kind.is_range() {
            return self.add(access.hash, ALL_ENTRIES);
        }
        self.add(access.hash, CELL);
        if let Some(container) = access.container {
            self.add(container, SOME_ENTRIES);
        }
    }

    /// Whether anything of a unit is in question.
    pub fn reaches_unit(&self, unit: u64) -> bool {
        self.now.contains_key(&unit)
    }

    /// All of a unit is in question from now on.
    pub fn taint(&mut self, unit: u64) {
        self.units.insert(unit);
        self.add(unit, CELL | SOME_ENTRIES | ALL_ENTRIES);
    }

    /// What an event overwrote that doesn't depend on a bad one is as it would have been.
    pub fn overwritten(&mut self, accesses: Accesses<'_>) {
        for access in accesses.iter().filter(|access| access.kind == AccessKind::Write) {
            self.remove(access.hash, CELL);
        }
    }

    /// How many keys were written.
    pub fn written(&self) -> usize {
        self.written.len()
    }

    /// All units that were ever in question.
    pub const fn units(&self) -> &HashSet<u64> {
        &self.units
    }

    /// Whether a cell is in question now.
    pub fn is_in_question(&self, hash: u64) -> bool {
        self.has(hash, CELL)
    }

    /// Whether an event, met on the way back, wrote any of them.
    pub fn is_made_by(&self, accesses: Accesses<'_>) -> bool {
        accesses.iter().filter(|access| access.kind.writes()).any(|access| {
            if access.kind.is_range() {
                return self.has(access.hash, SOME_ENTRIES | ALL_ENTRIES);
            }
            self.has(access.hash, CELL) || access.container.is_some_and(|container| self.has(container, ALL_ENTRIES))
        })
    }

    /// On the way back: what the event overwrote for sure has no older origin, and what it read has.
    pub fn made_from(&mut self, accesses: Accesses<'_>, is_sure: bool) {
        if is_sure {
            self.overwritten(accesses);
        }
        for access in accesses.iter().filter(|access| access.kind.reads()) {
            self.enter(access);
        }
    }
}

/// What a repair goes by: a cell, or a whole container.
pub fn unit(access: Access) -> u64 {
    access.container.unwrap_or(access.hash)
}
