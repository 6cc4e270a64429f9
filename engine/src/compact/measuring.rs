//! What benchmarks time of compaction alone: a merge without what is around it. Not part of the API.

use super::work::{Picker, Work};
use super::{merge, mergeable};
use crate::error::Result;
use crate::store::{Store, StoreInner};
use std::sync::Arc;

/// A merge that can be done again and again: what it writes takes nobody's place, and is removed.
#[derive(Debug)]
pub struct Merge {
    store: Arc<StoreInner>,
    work: Work,
}

impl Merge {
    /// The first that a compaction of everything would do; `None` where there is nothing to be merged. The store is left
    /// alone as long as this lives: neither is what is merged here kept from others, nor the other way round.
    pub fn of(store: &Store) -> Option<Self> {
        let store = Arc::clone(&store.inner);
        let work = Picker::new(&store, &mergeable(&store), true, false).pick(0)?;
        Some(Self { store, work })
    }

    /// Of how many segments.
    pub fn inputs(&self) -> usize {
        self.work.inputs().len()
    }

    /// How many records they hold.
    pub fn records(&self) -> u64 {
        self.work.inputs().iter().map(|segment| segment.meta().entries).sum()
    }

    /// Merges them, without a rest, and says how many records that left.
    pub fn run(&self) -> Result<u64> {
        let outputs = merge::run(&self.store, &self.work, self.store.purge_clock.now_ms(), || false)?;
        outputs.iter().for_each(|output| merge::remove(&self.store, output));
        Ok(outputs.iter().map(|output| output.meta.entries).sum())
    }
}
