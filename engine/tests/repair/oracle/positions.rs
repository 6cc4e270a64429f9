//! Positions of a store's changelog, and what it held there.

use super::fold::Moment;
use super::part::HISTORY;
use alluvium::Store;
use std::collections::{BTreeMap, BTreeSet};

/// So many positions are remembered, the latest.
const KNOWN: usize = 24;

#[derive(Default)]
pub struct Positions {
    /// What is to be found at each: of a transactional store what was committed by then.
    pub known: BTreeMap<u64, Moment>,
    /// Where it was rolled back.
    rollbacks: Vec<u64>,
    /// Key groups that were since the last commit.
    pub undone: BTreeSet<u16>,
    /// The changelog may lack what comes before.
    gap: u64,
}

impl Positions {
    pub fn note(&mut self, position: u64, moment: &Moment) {
        self.known.insert(position, moment.clone());
        if self.known.len() > KNOWN {
            self.known.pop_first();
        }
    }

    /// A rollback of key groups ends at or before a position.
    pub fn rolled_back(&mut self, position: u64, groups: impl Iterator<Item = u16>) {
        self.rollbacks.push(position);
        self.undone.extend(groups);
    }

    /// A checkpoint didn't become complete: the sources stood elsewhere.
    pub fn forget(&mut self, epoch: u64) {
        self.known.retain(|_, moment| moment.epoch != epoch);
    }

    /// The store was opened at a position, by the changelog or by a checkpoint alone: what came behind is void.
    pub fn end_at(&mut self, position: u64, is_logged: bool) {
        self.gap = if is_logged { self.gap } else { position };
        self.known.retain(|at, _| *at <= position);
        self.rollbacks.retain(|at| *at <= position);
        self.undone.clear();
    }

    /// What is before what the changelog has.
    pub fn before_the_gap(&mut self) -> impl Iterator<Item = &mut Moment> {
        let gap = self.gap;
        self.known.iter_mut().filter(move |(at, _)| **at <= gap).map(|(_, moment)| moment)
    }

    /// Whether any rollback is remembered.
    pub fn has_rollbacks(&self) -> bool {
        !self.rollbacks.is_empty()
    }

    /// Whether the history may not go back so far, or a rollback on the way not be done again.
    pub fn may_be_refused(&self, store: &Store, position: u64, is_transactional: bool) -> bool {
        let kept = store.checkpoints();
        let mut of_history = kept.iter().rev().take(HISTORY).map(|info| info.position);
        let newest = of_history.find(|at| *at <= position);
        // That of the last commit before the position may have what was rolled back since.
        let begin = if is_transactional { of_history.find(|at| Some(*at) < newest) } else { newest };
        let is_before = begin.is_none() && !kept.is_empty();
        let is_on_the_way = |at: &u64| *at >= begin.unwrap_or(0) && *at <= position;
        is_before || position < self.gap || self.rollbacks.iter().any(is_on_the_way)
    }
}
