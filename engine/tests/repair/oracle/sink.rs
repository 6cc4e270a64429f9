//! Whoever is downstream of a job: what it was told of each key group, by outputs that are written ahead of a commit and seen once that lasts.

use super::fold::{Change, Numbers, Place, between, places};
use crate::model::{Content, GROUPS};
use std::collections::BTreeMap;

/// What is seen downstream.
#[derive(Debug)]
pub struct Sink {
    seen: Vec<BTreeMap<Place, Numbers>>,
}

/// What one task has for downstream.
#[derive(Default, Debug)]
pub struct Outputs {
    /// Since the last commit; and whether it is of what is staged.
    withheld: Vec<(Change, bool)>,
    /// With commits that aren't known to last yet, by number.
    written: Vec<(u64, Vec<Change>)>,
}

impl Sink {
    pub fn new() -> Self {
        Self { seen: vec![BTreeMap::new(); GROUPS.into()] }
    }

    fn see(&mut self, change: Change, what: &str) {
        let seen = &mut self.seen[usize::from(change.group)];
        // An output that came twice, or of what never lasted, is found here.
        assert_eq!(seen.get(&change.place), change.before.as_ref(), "{what}: {change:?}");
        match change.after {
            Some(after) => seen.insert(change.place, after),
            None => seen.remove(&change.place),
        };
    }

    /// What it would have to hear for a key group to be seen as it is.
    pub fn lacks(&self, group: u16, content: &Content) -> Vec<Change> {
        between(group, &self.seen[usize::from(group)], &places(content))
    }
}

impl Outputs {
    /// Withholds what is to be told, of what is staged or of what counts already.
    pub fn withhold(&mut self, changes: Vec<Change>, is_staged: bool) {
        self.withheld.extend(changes.into_iter().map(|change| (change, is_staged)));
    }

    /// What was staged is undone.
    pub fn abort(&mut self) {
        self.withheld.retain(|(_, is_staged)| !is_staged);
    }

    /// Whether something counts already that no commit has told of.
    pub fn is_behind(&self) -> bool {
        self.withheld.iter().any(|(_, is_staged)| !is_staged)
    }

    /// Writes it with a commit that is about to be made.
    pub fn write(&mut self, epoch: u64) {
        let withheld = std::mem::take(&mut self.withheld);
        self.written.push((epoch, withheld.into_iter().map(|(change, _)| change).collect()));
    }

    /// A commit lasts: what was written with it, and before, is seen.
    pub fn lasts(&mut self, sink: &mut Sink, epoch: u64, what: &str) {
        while self.written.first().is_some_and(|(of, _)| *of <= epoch) {
            let (_, changes) = self.written.remove(0);
            changes.into_iter().for_each(|change| sink.see(change, what));
        }
    }

    /// The task died: what was withheld is gone, and what was written with a commit that didn't last.
    pub fn drop_what_did_not_last(&mut self) {
        *self = Self::default();
    }
}
