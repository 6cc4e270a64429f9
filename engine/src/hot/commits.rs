//! How far a shard's changes are committed, as readers see it: one word, and the order in which owner and readers use it.
//!
//! ```text
//! word   committed stamp u32 (high) | count of steps u32 (low), odd while a transaction is being undone
//! owner  commit:   word = (stamp, count + 2); the versions of before leave the table of kept ones
//!        abort:    count + 1; each kept version takes its old place, then leaves the table of kept ones; count + 1
//! reader word; the record; if its stamp isn't committed, the kept version; word again: unchanged, or it looks anew
//! ```

use crate::platform::sync::atomic::{AtomicU64, Ordering};

/// See the module's head.
#[derive(Debug, Default)]
pub struct Commits {
    word: AtomicU64,
}

/// What a reader saw of [`Commits`] before it looked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommitView {
    word: u64,
}

impl CommitView {
    /// Every stamp up to this is committed.
    pub const fn committed(self) -> u32 {
        (self.word >> 32) as u32
    }

    /// Whether a transaction was being undone, so that nothing can be told.
    const fn is_unsettled(self) -> bool {
        self.word & 1 == 1
    }
}

impl Commits {
    /// Everything up to `committed` is.
    pub fn new(committed: u32) -> Self {
        Self { word: AtomicU64::new(u64::from(committed) << 32) }
    }

    /// What a reader's look came to, which goes by what it is given; `None` where that changed meanwhile, and it looks anew.
    #[inline]
    pub fn beside<R>(&self, look: impl FnOnce(CommitView) -> R) -> Option<R> {
        let before = self.view();
        if before.is_unsettled() {
            return None;
        }
        let seen = look(before);
        (self.view() == before).then_some(seen)
    }

    /// How far changes are committed; who is inside the owner's gate need not look twice.
    #[inline]
    pub fn view(&self) -> CommitView {
        // Acquire: pairs with the stores below. Before the look, so that what an abort put back is found; after it, no
        // fence is needed: the loads in between, which found the owner's later steps, are acquiring ones.
        CommitView { word: self.word.load(Ordering::Acquire) }
    }

    /// The owner commits everything up to `committed`. Before the kept versions go: a reader that misses one finds that
    /// the word has changed.
    pub fn commit(&self, committed: u32) {
        // Relaxed: the owner's own word.
        let count = self.word.load(Ordering::Relaxed) as u32;
        self.word.store(u64::from(committed) << 32 | u64::from(count.wrapping_add(2)), Ordering::Release);
    }

    /// The owner begins, or ends, to undo what isn't committed.
    pub fn toggle_abort(&self) {
        let word = self.word.load(Ordering::Relaxed);
        let count = (word as u32).wrapping_add(1);
        // Release, and so are the owner's steps in between: a reader that has seen one of those sees the odd count.
        self.word.store(word & !0xFFFF_FFFF | u64::from(count), Ordering::Release);
    }
}
