//! Walks: going through keys, or through the entries of a map, in batches, between which the store goes on.
//!
//! A walk looks at memory for a moment, inside the gate of the shard, and notes what is there in a *window*; what the
//! segments have is merged into it outside the gate. So a walk of a reader holds a writer up for moments only, and a
//! walk keeps nothing of a store but a place in it, and the segments that it is just going through.

pub mod entries;
pub mod keys;
mod window;

use crate::error::Result;
use crate::ids::KeyGroup;
use crate::shard::{Core, View};
use crate::store::StoreInner;
use std::sync::Arc;

/// Through whom a walk looks at the store.
pub trait Access {
    /// The store.
    fn store(&self) -> &Arc<StoreInner>;

    /// Runs `look` while nobody changes the tables of a key group; it is given the group's index in its shard. `None`
    /// where no writer ever held the group: then all there is of it is on disk.
    fn inside<R>(&mut self, group: KeyGroup, look: impl FnOnce(&mut Core, u16) -> R) -> Result<Option<R>>;

    /// Whether only what is committed counts.
    fn is_committed(&self) -> bool {
        false
    }

    /// The clock that decides what is expired, in ms.
    fn now_ms(&mut self) -> u64;

    /// The segments, for a key group that [`Access::inside`] has nothing of.
    fn disk(&self) -> Result<Arc<View>> {
        let version = Arc::clone(&self.store().version.lock());
        Ok(Arc::new(View::new(version, 0).committed(self.store().committed_epoch())))
    }
}

/// The segments that belong to what a walk sees of memory.
fn view_of(core: &Core, committed: bool) -> Arc<View> {
    match core.hot.committed().filter(|_| committed) {
        None => Arc::clone(&core.view),
        Some(epoch) => Arc::new(core.view.committed(epoch)),
    }
}
