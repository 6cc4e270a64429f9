//! What was rolled back while something was on its way: flushes that were cut off before a rollback hold what it undid, and the
//! checkpoints and snapshots that were cut before it are to have that.
//!
//! Rollbacks are numbered. A flush knows the number of the last one before it was cut off; to every later one's scope it is
//! hidden. As long as such flushes are in line, the arrangement that each rollback replaced is kept beside the store's own, and
//! their segments are put on top of that as well: what was cut before the rollback is told by it.

use crate::scope::Scope;
use crate::stack::{LazySegment, Version};
use std::collections::VecDeque;
use std::sync::Arc;

/// A rollback that something in line was cut off before.
#[derive(Debug)]
struct Undone {
    number: u64,
    scope: Scope,
    /// The arrangement without it.
    before: Arc<Version>,
}

/// What is to become of what rollbacks left behind in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Clearing {
    /// Nothing is left, or somebody is at it.
    #[default]
    Idle,
    /// It is about to be cleared.
    Queued,
    /// The next flush that ends has it cleared: it is just being flushed.
    Waits,
}

impl Clearing {
    /// Something was left behind: whether that has to be queued.
    pub fn begins(&mut self) -> bool {
        std::mem::replace(self, Self::Queued) != Self::Queued
    }

    /// A flush has ended: whether something waits for that, and has to be queued.
    pub fn resumes(&mut self) -> bool {
        *self == Self::Waits && self.begins()
    }

    /// Something waits for a flush.
    pub fn waits(&mut self) {
        if *self == Self::Idle {
            *self = Self::Waits;
        }
    }
}

/// The rollbacks of a store. Locked with the version, after it; alone to learn of a number.
#[derive(Debug, Default)]
pub struct Rollbacks {
    last: u64,
    /// How often slices were cut, or got other layers, for a rollback.
    rearranged: u64,
    /// Ascending.
    undone: VecDeque<Undone>,
}

impl Rollbacks {
    /// The number of the last one; 0 before the first.
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// How often slices that may just be being merged were changed for a rollback: by it, or by a flush that was cut off before.
    pub const fn rearranged(&self) -> u64 {
        self.rearranged
    }

    /// Notes one, which replaced the arrangement `before`.
    pub fn note(&mut self, scope: &Scope, before: &Arc<Version>) {
        self.last += 1;
        self.rearranged += 1;
        let (number, scope, before) = (self.last, scope.clone(), Arc::clone(before));
        self.undone.push_back(Undone { number, scope, before });
    }

    /// The arrangement of what was cut off when `number` was the last one; `None` where there was none since.
    pub fn before(&self, number: u64) -> Option<&Arc<Version>> {
        self.undone.iter().find(|undone| undone.number > number).map(|undone| &undone.before)
    }

    /// The scopes that were rolled back since `number` was the last one.
    pub fn since(&self, number: u64) -> Vec<Scope> {
        self.undone.iter().filter(|undone| undone.number > number).map(|undone| undone.scope.clone()).collect()
    }

    /// Puts a segment that was cut off when `number` was the last one on top of the arrangements that later ones replaced.
    pub fn flushed(&mut self, segment: &Arc<LazySegment>, number: u64, states: usize) {
        let mut scopes = Vec::new();
        for undone in self.undone.iter_mut().filter(|undone| undone.number > number) {
            undone.before = Arc::new(undone.before.with_flushed_outside(segment, &scopes, states));
            scopes.push(undone.scope.clone());
        }
        self.rearranged += u64::from(!scopes.is_empty());
    }

    /// Forgets those up to `number`: nothing that was cut off before is in line any more.
    pub fn forget(&mut self, number: u64) {
        self.undone.retain(|undone| undone.number > number);
    }
}
