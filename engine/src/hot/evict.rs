//! Eviction: making room by dropping records that are on disk.
//!
//! A clock's hand (Corbató, *A paging experiment with the Multics system*, 1968) goes over the tables page by page: a
//! clean record that was used since the hand last passed loses its mark, one that was not leaves memory. To be written
//! or read from disk once is no use yet, so results that are never looked at again don't drive out what is. To give whole
//! chunks back, the chunks with the least in them are condemned and everything clean in them leaves memory.

use crate::hot::epoch::hash_of;
use crate::hot::record::{
    BASE, CHAIN, DEAD, ENTRY, ENTRY_TOMBSTONE, FREE, NAMESPACE, ROOT, Record, TOMBSTONE, USED, VALUE, hash_area,
    hash_entry,
};
use crate::hot::{Hot, Probe};
use crate::platform::arena::{CHUNK_BYTES, NONE, Ref, class_of};

/// Where the clock's hand stands.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hand {
    group: usize,
    state: usize,
    page: usize,
}

/// At least one in so many chunks is emptied by a sweep that empties any.
const CONDEMNED_SHARE: usize = 16;
/// A container with so many entries at most is expected to go with one of them: they were put, and are used, together.
const ENTRIES_FEW: u64 = 8;
/// What it takes to look at a page, in steps; to pass an empty table takes one.
const PAGE_STEPS: usize = 64;

/// Which records a sweep takes.
enum Sweep {
    /// Those in blocks of a class or a larger one that were not used lately; the others lose their mark.
    Unused { class_min: u8 },
    /// All in these chunks.
    Chunks(Condemned),
    /// All.
    Everything,
}

impl Hot {
    /// Moves the hand on until about `bytes` of records have left memory, at most once around. Returns how many bytes
    /// left.
    pub fn evict(&mut self, bytes: usize) -> usize {
        self.evict_within(usize::MAX, bytes)
    }

    /// As [`Hot::evict`], for those who can do without and can't wait for a round over all tables: ends after `steps`,
    /// which take the hand past so many empty tables or a 64th as many pages. The next call goes on from there.
    pub fn evict_within(&mut self, steps: usize, bytes: usize) -> usize {
        self.evict_blocks(steps, bytes, 0)
    }

    /// As [`Hot::evict_within`], but only records whose block holds `block_bytes`, for one that finds no such block. Where small
    /// records are many, those that leave may free a tenth of memory without any two side by side.
    pub fn evict_blocks(&mut self, mut steps: usize, bytes: usize, block_bytes: usize) -> usize {
        // Counted as it leaves the tables: a reader that is inside keeps it from being reused for a moment.
        let before = self.memory.retired_bytes();
        let mut around = 0;
        while steps > 0 && self.memory.retired_bytes().wrapping_sub(before) < bytes && around <= 1 {
            around += u32::from(self.hand_on());
            let passed = self.sweep_page(&Sweep::Unused { class_min: class_of(block_bytes) });
            steps = steps.saturating_sub(if passed { PAGE_STEPS } else { 1 });
        }
        self.memory.collect();
        self.memory.retired_bytes().wrapping_sub(before)
    }

    /// Gives back about `chunks` chunks by emptying those with the least in them. Returns how many were given back.
    pub fn give_back(&mut self, chunks: usize) -> usize {
        let records = self.memory.records();
        let mut candidates: Vec<(u32, Ref)> =
            records.chunks().iter().map(|&chunk| (records.live_bytes(chunk), chunk)).collect();
        candidates.sort_unstable();
        // One sweep over the tables costs the same for many chunks as for one.
        candidates.truncate(chunks.max(candidates.len() / CONDEMNED_SHARE));
        let sweep = Sweep::Chunks(Condemned::new(candidates.into_iter().map(|(_, chunk)| chunk)));
        let hand = self.hand;
        self.hand = Hand::default();
        loop {
            self.sweep_page(&sweep);
            if self.hand_on() {
                break;
            }
        }
        self.hand = hand;
        self.memory.collect();
        let mut freed = 0;
        let records = self.memory.records();
        for index in (0..records.chunks().len()).rev() {
            freed += usize::from(sweep.empties(records.chunks()[index]) && records.release_if_empty(index));
        }
        freed + self.memory.release_empty_index()
    }

    /// Has everything of a state leave memory; false, and nothing has left, where some of it is not on disk. Misses are no
    /// answers then where there was anything.
    pub fn evict_state(&mut self, state: u16) -> bool {
        while self.has_chores() {
            self.work();
        }
        if self.is_changed(state) {
            return false;
        }
        let hand = self.hand;
        for group in 0..self.groups() {
            let pages = self.table_head(state, group as u16).page_count();
            for page in 0..pages {
                self.hand = Hand { state: usize::from(state), group, page };
                self.sweep_page(&Sweep::Everything);
            }
        }
        self.hand = hand;
        self.memory.collect();
        debug_assert!((0..self.groups()).all(|group| self.records_in(state, group as u16) == 0), "all of it is clean");
        true
    }

    /// Gives back the chunks that happen to be empty. Returns how many there were.
    pub fn give_back_empty(&mut self) -> usize {
        self.memory.collect();
        self.memory.records().release_empty() + self.memory.release_empty_index()
    }

    /// Moves the hand to the next page of its table, or to the next table; true where it came round. The states of a key group
    /// come one after another: so what leaves has sizes such as what is there, and what comes finds blocks that fit.
    #[inline]
    fn hand_on(&mut self) -> bool {
        let Hand { state, group, page } = self.hand;
        let head = self.heads.get(state).and_then(|heads| heads.get(group));
        if head.is_some_and(|head| page + 1 < head.page_count()) {
            self.hand.page += 1;
            return false;
        }
        self.hand = Hand { group, state: state + 1, page: 0 };
        if self.hand.state >= self.states() {
            self.hand = Hand { group: group + 1, state: 0, page: 0 };
        }
        if self.hand.group >= self.groups() {
            self.hand = Hand::default();
            return true;
        }
        false
    }

    /// Evicts from the page under the hand; false where there is none.
    fn sweep_page(&mut self, sweep: &Sweep) -> bool {
        let Hand { state, group, page } = self.hand;
        let Some(head) = self.heads.get(state).and_then(|heads| heads.get(group)) else { return false };
        if page >= head.page_count() {
            return false;
        }
        let (mut leaving, mut idle) = (Vec::new(), Vec::new());
        let arena = self.memory.arena();
        head.visit_page(arena, page, |at| {
            let mut record = Record::load(arena, at);
            if !self.is_for(sweep, record) || self.is_cut_off(record) {
                return;
            }
            let spares = matches!(sweep, Sweep::Unused { .. });
            match record.kind() {
                FREE | DEAD => {}
                // It goes when its entries have gone. A container doesn't move, so to empty its chunk they go with it. What was
                // loaded of its front stays for a round after its last use.
                ROOT if self.entries(record) > 0 && spares => {
                    if record.has(USED) {
                        record.set_tag(arena, record.tag() & !USED);
                    } else {
                        idle.push(record);
                    }
                }
                TOMBSTONE | ENTRY_TOMBSTONE => leaving.push(record),
                _ if spares && record.has(USED) => record.set_tag(arena, record.tag() & !USED),
                _ => leaving.push(record),
            }
        });
        leaving.retain(|record| matches!(record.kind(), CHAIN | ROOT) || record.stamp(arena) <= self.flushed);
        idle.into_iter().for_each(|root| self.unload(root));
        if !self.floors.is_empty() && matches!(sweep, Sweep::Unused { .. }) {
            let (floors, arena) = (&mut self.floors, self.memory.arena());
            let is_entry = |record: &Record| matches!(record.kind(), ENTRY | ENTRY_TOMBSTONE);
            leaving
                .retain(|record| !(is_entry(record) && floors.spares(record.link(arena) as Ref, record.area(arena))));
        }
        // An empty container says nothing of what is on disk.
        let matters = |record: &Record| match record.kind() {
            ROOT => self.entries(*record) > 0,
            kind => matches!(kind, VALUE | CHAIN | ENTRY),
        };
        if leaving.iter().any(matters) {
            self.table_head(state as u16, group as u16).set_spilled(true);
        }
        for record in leaving {
            self.evict_record(state as u16, group as u16, record);
        }
        if self.records_in(state as u16, group as u16) == 0 {
            self.heads[state][group].clear(&mut self.memory);
        }
        true
    }

    /// Whether a sweep is about the record: where it is about chunks, also for those of the chain below it.
    fn is_for(&self, sweep: &Sweep, record: Record) -> bool {
        let condemned = match sweep {
            Sweep::Unused { class_min } => return record.class() >= *class_min || self.frees_root(record, *class_min),
            Sweep::Everything => return true,
            Sweep::Chunks(condemned) => condemned,
        };
        let mut at = record;
        loop {
            if condemned.contains(at.at) {
                return true;
            }
            let below = if at.kind() == CHAIN { at.link(self.arena()) as Ref } else { NONE };
            if below == NONE {
                return false;
            }
            at = Record::load(self.arena(), below);
        }
    }

    /// Whether the record is one of few entries of a map whose container lies in a block of a class or a larger one: that goes with the last
    /// of them, and not before, so nobody finds its block by looking for it.
    fn frees_root(&self, record: Record, class_min: u8) -> bool {
        if !matches!(record.kind(), ENTRY | ENTRY_TOMBSTONE) {
            return false;
        }
        let root = Record::load(self.arena(), record.link(self.arena()) as Ref);
        root.class() >= class_min && self.entries(root) <= ENTRIES_FEW
    }

    /// Evicts all of a map's entries that are on disk, and its container if none is left.
    fn evict_map(&mut self, probe: &Probe<'_>, root: Record) {
        let mut entries = Vec::with_capacity(self.entries(root) as usize);
        self.tree(root).ascend(self.arena(), None, |at| {
            entries.push(at);
            true
        });
        self.unload(root);
        for at in entries {
            let record = Record::load(self.arena(), at);
            if record.stamp(self.arena()) > self.flushed {
                continue;
            }
            let user_key = record.area(self.arena()).to_vec();
            let hash = hash_entry(&user_key, probe.hash);
            self.drop_kept(probe.state, probe.group, record);
            if let Some((_, place)) = self.head(probe).find(self.arena(), hash, |found| found == at) {
                self.drop_entry(probe, root, place, record, &user_key);
            }
        }
        self.remove_if_empty(probe, root);
    }

    fn evict_record(&mut self, state: u16, group: u16, record: Record) {
        let arena = self.memory.arena();
        let hash = hash_of(arena, record.at, self.seed);
        let entry = matches!(record.kind(), ENTRY | ENTRY_TOMBSTONE);
        let container = if entry { Record::load(arena, record.link(arena) as Ref) } else { record };
        let area = container.area(arena).to_vec();
        let namespaced = container.has(NAMESPACE);
        let probe = Probe {
            state,
            group,
            area: &area,
            namespaced,
            hash: if entry { hash_area(&area, namespaced, self.seed) } else { hash },
        };
        let Some((_, place)) = self.head(&probe).find(arena, hash, |at| at == record.at) else { return };
        if entry {
            let user_key = record.area(arena).to_vec();
            self.drop_kept(state, group, record);
            self.unload_from(container, &user_key);
            self.drop_entry(&probe, container, place, record, &user_key);
            // What it knows of the disk stays until the hand comes to the container itself.
            self.remove_if_useless(&probe, container);
        } else if record.kind() == ROOT {
            self.evict_map(&probe, record);
        } else if record.kind() == CHAIN && record.stamp(arena) > self.flushed {
            self.cut_chain(&probe, record);
        } else {
            let below = record.link(arena);
            self.drop_kept(state, group, record);
            self.discard(&probe, place, record);
            self.dispose_chain(&probe, below);
        }
    }

    /// Drops the flushed chunks below a chain's unflushed ones; the chain goes on on disk then.
    pub(super) fn cut_chain(&mut self, probe: &Probe<'_>, head: Record) {
        let mut above = head;
        loop {
            let next = above.link(self.arena()) as Ref;
            if next == NONE || above.has(BASE) {
                return;
            }
            let below = Record::load(self.arena(), next);
            if below.stamp(self.arena()) <= self.flushed {
                above.set_link(self.arena(), u64::from(NONE));
                self.dispose_chain(probe, u64::from(next));
                return;
            }
            above = below;
        }
    }
}

/// Chunks to be emptied, by number.
struct Condemned(Vec<bool>);

impl Sweep {
    /// Whether a chunk is one to be emptied.
    fn empties(&self, chunk: Ref) -> bool {
        matches!(self, Self::Chunks(condemned) if condemned.contains(chunk))
    }
}

impl Condemned {
    fn new(chunks: impl Iterator<Item = Ref>) -> Self {
        let mut condemned = Vec::new();
        for chunk in chunks.map(chunk_number) {
            if condemned.len() <= chunk {
                condemned.resize(chunk + 1, false);
            }
            condemned[chunk] = true;
        }
        Self(condemned)
    }

    #[inline]
    fn contains(&self, at: Ref) -> bool {
        self.0.get(chunk_number(at)).copied().unwrap_or(false)
    }
}

const fn chunk_number(at: Ref) -> usize {
    at as usize / (CHUNK_BYTES / 8)
}
