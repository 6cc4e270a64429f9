//! Scopes: which part of a store something is about, as key groups and states of them.

use crate::ids::{KeyGroup, KeyGroupRange, StateId};

/// Which part of a store is rolled back: a range of key groups, with all of their states or some.
///
/// ```
/// use alluvium::Scope;
/// use alluvium::ids::KeyGroupRange;
/// let scope = Scope::groups(KeyGroupRange::new(3, 5));
/// assert_eq!(scope.range(), KeyGroupRange::new(3, 5));
/// assert!(scope.has_all_states());
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scope {
    range: KeyGroupRange,
    /// Ascending; none for all.
    states: Vec<StateId>,
}

impl Scope {
    /// These key groups, with all their states.
    pub const fn groups(range: KeyGroupRange) -> Self {
        Self { range, states: Vec::new() }
    }

    /// The key groups.
    pub const fn range(&self) -> KeyGroupRange {
        self.range
    }

    /// Whether it has all states of its key groups.
    pub const fn has_all_states(&self) -> bool {
        self.states.is_empty()
    }

    /// The numbers of its states, ascending; none where it has all.
    pub fn state_ids(&self) -> &[StateId] {
        &self.states
    }

    /// The same key groups, with these states alone; with all, where none is given.
    #[must_use]
    pub(crate) fn of_states(mut self, mut states: Vec<StateId>) -> Self {
        states.sort_unstable();
        states.dedup();
        self.states = states;
        self
    }

    /// The part of it that lies in a range.
    pub fn within(&self, range: KeyGroupRange) -> Option<Self> {
        let range = self.range.intersect(range)?;
        Some(Self { range, states: self.states.clone() })
    }

    /// What it has in common with another.
    pub fn meet(&self, other: &Self) -> Option<Self> {
        let common = self.within(other.range)?;
        // None is all.
        let (few, many) = if self.states.is_empty() { (other, self) } else { (self, other) };
        let states: Vec<StateId> = few.states.iter().copied().filter(|state| many.has_state(*state)).collect();
        (few.states.is_empty() || !states.is_empty()).then_some(Self { range: common.range, states })
    }

    /// Whether it has a state of its key groups.
    pub fn has_state(&self, state: StateId) -> bool {
        self.states.is_empty() || self.states.binary_search(&state).is_ok()
    }

    /// Whether it has a state of a key group.
    pub fn has(&self, group: KeyGroup, state: StateId) -> bool {
        self.range.contains(group) && self.has_state(state)
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn scopes_meet() {
        let scope = |first, last, states: &[u16]| {
            Scope::groups(KeyGroupRange::new(first, last)).of_states(states.iter().copied().map(StateId).collect())
        };
        assert_eq!(scope(0, 5, &[]).meet(&scope(3, 9, &[])), Some(scope(3, 5, &[])));
        assert_eq!(scope(0, 5, &[1, 2]).meet(&scope(3, 9, &[])), Some(scope(3, 5, &[1, 2])));
        assert_eq!(scope(0, 5, &[]).meet(&scope(3, 9, &[2, 3])), Some(scope(3, 5, &[2, 3])));
        assert_eq!(scope(0, 5, &[1, 2]).meet(&scope(3, 9, &[2, 3])), Some(scope(3, 5, &[2])));
        assert_eq!(scope(0, 5, &[1]).meet(&scope(3, 9, &[2])), None);
        assert_eq!(scope(0, 5, &[]).meet(&scope(6, 9, &[])), None);
    }
}
