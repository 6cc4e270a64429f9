//! Memory that is populated ahead of its use.
//!
//! The first touch of a page is a fault, in which the system clears it: 0.1 to 0.2 ms for a huge page, and several ms on a virtual machine whose
//! host took the memory back while it was free. Chunks are handed out from the lowest on, so it is known what is touched next: a thread
//! populates it, and whoever writes a record doesn't wait for that. Pages that have been in use are not looked at again: what was given back
//! to the system is faulted in when it is used.
//!
//! Pure: which pages, not how.

use super::CHUNK_BYTES;
use std::ops::Range;

/// What is populated at once, and aligned to: a huge page.
pub(super) const PAGE_BYTES: usize = 2 << 20;
/// Chunks of one.
const PAGE_CHUNKS: usize = PAGE_BYTES / CHUNK_BYTES;
/// No more is populated beyond what is in use than this,
const LEAD_BYTES_MAX: usize = 8 << 20;
/// and one part in so many of the budget.
const LEAD_SHARE: usize = 16;

/// How far an arena is populated, in chunks.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// The first chunk behind all that were ever in use.
    top: usize,
    /// Where the next page begins that is to be populated; those before are, or were in use.
    next: usize,
    /// The page that is being populated; empty where none is.
    pub under_way: Range<usize>,
}

impl Ahead {
    /// Notes that chunks up to `end`, left out, are in use; whether somebody had better populate more.
    pub fn note(&mut self, end: usize, budget_bytes: usize) -> bool {
        let grows = end > self.top;
        self.top = self.top.max(end);
        // Half of the lead, so that a wake is worth two pages.
        grows && self.next < self.top + lead(budget_bytes) / 2
    }

    /// The page that is to be populated next, if any is.
    pub fn next(&mut self, budget_bytes: usize) -> Option<Range<usize>> {
        // What is in use was touched, or is about to be.
        self.next = self.next.max(self.top.next_multiple_of(PAGE_CHUNKS));
        let wanted = lead(budget_bytes) >= PAGE_CHUNKS && self.next < self.top + lead(budget_bytes);
        wanted.then(|| self.next..self.next + PAGE_CHUNKS)
    }

    /// Begins with the page that [`Ahead::next`] said.
    pub fn begin(&mut self, page: Range<usize>) {
        self.next = page.end;
        self.under_way = page;
    }
}

/// Whether a budget is so large that anything is populated ahead.
pub(super) const fn has_lead(budget_bytes: usize) -> bool {
    lead(budget_bytes) >= PAGE_CHUNKS
}

/// In chunks.
const fn lead(budget_bytes: usize) -> usize {
    let share = budget_bytes / LEAD_SHARE;
    (if share < LEAD_BYTES_MAX { share } else { LEAD_BYTES_MAX }) / CHUNK_BYTES
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::platform::arena::{Arena, Share};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    const BUDGET: usize = 256 << 20;

    fn all(ahead: &mut Ahead, budget_bytes: usize) -> Vec<usize> {
        let mut pages = Vec::new();
        while let Some(page) = ahead.next(budget_bytes) {
            assert_eq!(page.len(), PAGE_CHUNKS);
            pages.push(page.start / PAGE_CHUNKS);
            ahead.begin(page);
        }
        pages
    }

    #[test]
    fn four_pages_are_populated_beyond_what_is_in_use() {
        let mut ahead = Ahead::default();
        assert_eq!(all(&mut ahead, BUDGET), [0, 1, 2, 3]);
        assert!(!ahead.note(1, BUDGET), "there are more than two pages ahead");
        assert_eq!(all(&mut ahead, BUDGET), [4]);
        assert!(!ahead.note(2 * PAGE_CHUNKS, BUDGET));
        assert!(ahead.note(3 * PAGE_CHUNKS + 1, BUDGET), "less than two");
        assert!(!ahead.note(3 * PAGE_CHUNKS, BUDGET), "it didn't grow");
        assert_eq!(all(&mut ahead, BUDGET), [5, 6, 7]);
    }

    #[test]
    fn what_was_in_use_is_passed_over() {
        let mut ahead = Ahead::default();
        assert!(ahead.note(10 * PAGE_CHUNKS + 1, BUDGET));
        assert_eq!(all(&mut ahead, BUDGET), [11, 12, 13, 14]);
    }

    /// Beside a thread that populates, what is in use keeps its contents, and what is there stays within the budget.
    #[test]
    fn what_is_in_use_is_left_as_it_is() {
        let arena = Arc::new(Arena::new(64 << 20, 0).unwrap());
        let share = Share::open(&arena, None, 0, usize::MAX).unwrap();
        let stops = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| arena.populate(|| stops.load(Ordering::Relaxed)));
            let mut taken = Vec::new();
            for number in 0..3 * PAGE_CHUNKS as u64 {
                let at = arena.take(&share, 1).unwrap();
                (0..CHUNK_BYTES as u32 / 8).for_each(|word| arena.word(at + word).store(number, Ordering::Relaxed));
                taken.push(at);
                assert!(arena.resident_bytes() <= arena.budget_bytes());
            }
            // One page beyond them at least: which ones, depends on when the thread came to it. They are given back where the room is needed.
            while arena.resident_bytes() < 4 * PAGE_BYTES && !thread.is_finished() {
                std::thread::yield_now();
            }
            // What was taken, and the first chunk, which isn't handed out: where the thread began before them, it populated that as well.
            let kept_bytes = 3 * PAGE_BYTES + CHUNK_BYTES;
            arena.charge_forced((64 << 20) - kept_bytes);
            while arena.resident_bytes() > kept_bytes {
                // A page that is just being populated is given back once it is.
                arena.charge_forced(0);
                std::thread::yield_now();
            }
            for (number, at) in (0..).zip(taken) {
                let is_its = |word: u32| arena.word(at + word).load(Ordering::Relaxed) == number;
                assert!((0..CHUNK_BYTES as u32 / 8).all(is_its), "chunk {number}");
            }
            stops.store(true, Ordering::Relaxed);
            thread.thread().unpark();
        });
    }

    #[test]
    fn a_small_budget_has_no_lead() {
        assert!(has_lead(32 << 20) && !has_lead((32 << 20) - 1));
        assert_eq!(all(&mut Ahead::default(), 31 << 20), []);
        assert_eq!(all(&mut Ahead::default(), 32 << 20), [0]);
    }
}
