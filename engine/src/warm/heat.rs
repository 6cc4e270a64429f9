//! How hot records are: what was seen of each at the last few looks, in a byte that others may share.
//!
//! Memory knows of a record whether it was used since the clock's hand last passed, and in which epoch it was last changed. Looked at again and
//! again, with what was seen before counting half each time, that tells what is used all the time from what happened to be used
//! last (as the *aging* approximation of least frequently used does; Tanenbaum, *Modern Operating Systems*). Records whose bytes are the
//! same share what is seen of them: a list may then have something that is less hot than another, and no more than that.

use crate::hot::heat::Heated;
use crate::store::StoreInner;

/// The largest part of the memory that this takes beside it, about: twice while a list is made.
const BUDGET_SHARE: usize = 64;
/// What a change since the last look adds.
const CHANGED: u8 = 31;
/// What a use adds. More than a change: what is written once, and again long after, is no hotter than what is read all the time.
const USED: u8 = 96;
/// About what a small record takes, with its place in the index.
const RECORD_BYTES: usize = 64;

/// What was seen so far.
#[derive(Default)]
pub struct Heat {
    seen: Vec<u8>,
    /// The same with the look that is under way.
    next: Vec<u8>,
    /// The epoch that the last look began in.
    since: u32,
}

impl std::fmt::Debug for Heat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Heat").field("bytes", &self.seen.len()).field("since", &self.since).finish()
    }
}

impl Heat {
    /// Begins a look, with two bytes for each record of a store, about; forgets all where there are many more than there were.
    pub fn begin(&mut self, store: &StoreInner) {
        let (budget_bytes, used_bytes, _) = store.memory_room();
        let records = (used_bytes / RECORD_BYTES).next_power_of_two();
        let most = (budget_bytes / BUDGET_SHARE).next_power_of_two();
        let wanted = records.min(most).max(1 << 10);
        if wanted > self.seen.len() {
            self.seen = vec![0; wanted];
        }
        self.next = vec![0; self.seen.len()];
    }

    fn place(&self, hash: u64) -> usize {
        // The table goes by the upper bits, its buckets by the lowest.
        (hash >> 12) as usize & (self.seen.len() - 1)
    }

    /// Notes how a record looks, and says how hot it is.
    pub fn look(&mut self, record: &Heated<'_>) -> u8 {
        if self.next.is_empty() {
            return 0;
        }
        let place = self.place(record.hash);
        let is_changed = record.stamp > self.since;
        let changed = if is_changed { CHANGED } else { 0 };
        // What is new was used by being written, and may never be again.
        let is_new = is_changed && self.seen[place] == 0;
        let used = if record.used && !is_new { USED } else { 0 };
        // Of several the hottest: each of them is at least as hot as it would be alone.
        self.next[place] = self.next[place].max(self.seen[place] / 2 + changed + used);
        self.next[place]
    }

    /// How hot a record is by the look that is under way.
    pub fn of(&self, hash: u64) -> u8 {
        if self.next.is_empty() { 0 } else { self.next[self.place(hash)] }
    }

    /// A look has ended that began in an epoch: what is changed from there on is news to the next one.
    pub fn looked(&mut self, began_in: u32) {
        self.since = began_in;
        self.seen = std::mem::take(&mut self.next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(hash: u64, stamp: u32, used: bool) -> Heated<'static> {
        Heated { hash, key: (b"k", b""), user_key: None, value: None, expiry_ms: None, stamp, used, bytes: 64 }
    }

    #[test]
    fn what_is_changed_all_the_time_is_hotter_than_what_was_changed_last() {
        let mut heat = Heat { seen: vec![0; 1 << 10], ..Heat::default() };
        let (always, lately, read, idle) = (1 << 12, 2 << 12, 3 << 12, 4 << 12);
        for epoch in 1..=6 {
            heat.next = vec![0; heat.seen.len()];
            heat.look(&record(always, epoch, true));
            heat.look(&record(lately, if epoch == 6 { 6 } else { 0 }, true));
            heat.look(&record(read, 0, true));
            heat.look(&record(idle, 0, false));
            if epoch < 6 {
                heat.looked(epoch);
            }
        }
        let of = [always, lately, read, idle].map(|hash| heat.of(hash));
        assert!(of.is_sorted_by(|a, b| a > b), "{of:?}");
        assert!(of[0] >= 240 && of[3] == 0, "{of:?}");
    }

    #[test]
    fn the_most_that_is_seen_fits_a_byte() {
        // A half of the largest number and all that one look adds.
        const { assert!(u8::MAX / 2 <= u8::MAX - CHANGED - USED) };
    }
}
