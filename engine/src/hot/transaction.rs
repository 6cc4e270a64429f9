//! Transactions: what is *staged* can be read by its owner, and is committed, or undone, as a whole.
//!
//! A record that the last commit left, by its stamp, is not changed in place: the first change since makes a new one, and
//! the old one is *kept*, in a table of its own under the hash of its key, where abort and committed reads find it. What
//! is staged stands in dirty lists of its own. So
//!
//! - a **commit** joins the lists and empties the tables of kept versions, each in one step for each table that was touched;
//!   the versions are freed piece by piece afterwards. Nothing is done record by record;
//! - an **abort** goes through the lists and puts the kept versions back, each in its old place;
//! - a **committed read** of a record that wasn't touched since costs one comparison.
//!
//! Of a chain the chunks that the last commit left stay linked below the staged one, and are kept only when that is
//! replaced as a whole.
//!
//! Invariants: what has a stamp above `committed` is staged. While a version is kept, a staged record of its key stands in
//! its old place: eviction, which may take that once it is on disk (*cut off* like any epoch, in a segment that stays
//! outside of checkpoints), takes the kept version with it, which is on disk too then. No committed change is unflushed
//! and not cut off when staged ones are cut off: so epochs stay in order.

use crate::hot::commits::Commits;
use crate::hot::dirty::DirtyList;
use crate::hot::epoch::{hash_of, weight};
use crate::hot::record::{
    BASE, CHAIN, DEAD, ENTRY, ENTRY_TOMBSTONE, FREE, NAMESPACE, ROOT, Record, hash_area, hash_entry, is_cell,
};
use crate::hot::table::{Detached, Head, Place};
use crate::hot::{Hot, OutOfMemory, Probe, Sealed};
use crate::platform::arena::{NONE, Ref};
use std::collections::BTreeSet;
use std::sync::Arc;

/// At least so many kept versions are freed at once, if there are as many.
const FREED_AT_ONCE: usize = 128;

/// What a shard has staged.
#[derive(Debug)]
pub struct Transaction {
    commits: Arc<Commits>,
    /// The kept versions, by state and key group.
    kept: Vec<Arc<[Head]>>,
    lists: Vec<Vec<Staged>>,
    /// The (state, group index) of which something is staged.
    touched: Vec<(u16, u16)>,
    /// Those of them that have staged records which were cut off.
    cut: BTreeSet<(u16, u16)>,
    /// Which transaction this is, from 1.
    number: u32,
    /// How many were undone.
    aborts: u64,
    /// About how many bytes are staged and not cut off.
    pub(super) dirty_bytes: usize,
    /// About how many are cut off.
    cut_bytes: usize,
}

/// The staged records of a table.
#[derive(Clone, Debug, Default)]
struct Staged {
    list: DirtyList,
    /// The transaction in which the table was last entered in `touched`.
    touched_in: u32,
}

/// Kept versions that a commit left behind.
#[derive(Debug)]
pub struct Departing {
    state: u16,
    group: u16,
    table: Detached,
}

impl Transaction {
    pub(super) fn add_state(&mut self, kept: Arc<[Head]>) {
        self.kept.push(kept);
        self.lists.push(Vec::new());
    }
}

impl Hot {
    /// Has changes committed from now on; before the first state is added. What there was is committed.
    pub fn set_transactional(&mut self, commits: Arc<Commits>) {
        debug_assert!(self.heads.is_empty());
        self.committed = self.current - 1;
        self.transaction = Some(Box::new(Transaction {
            commits,
            kept: Vec::new(),
            lists: Vec::new(),
            touched: Vec::new(),
            cut: BTreeSet::new(),
            number: 1,
            aborts: 0,
            dirty_bytes: 0,
            cut_bytes: 0,
        }));
    }

    /// The last commit's stamp; `None` where nothing has to be committed.
    pub fn committed(&self) -> Option<u32> {
        self.transaction.is_some().then_some(self.committed)
    }

    /// How many transactions were undone: what was read before is not to be written after another one.
    pub fn aborts(&self) -> u64 {
        self.transaction.as_ref().map_or(0, |transaction| transaction.aborts)
    }

    /// Whether an operation stopped between two of its steps for want of memory.
    pub const fn is_unfinished(&self) -> bool {
        self.unfinished
    }

    /// Says so, or that it has ended.
    pub const fn set_unfinished(&mut self, unfinished: bool) {
        self.unfinished = unfinished;
    }

    /// Whether something is staged.
    pub fn has_staged(&self) -> bool {
        self.transaction.as_ref().is_some_and(|transaction| !transaction.touched.is_empty())
    }

    /// The (state, key group index) of which something is staged.
    pub(super) fn touched(&self) -> &[(u16, u16)] {
        self.transaction.as_ref().map_or(&[], |transaction| &transaction.touched)
    }

    /// About how many bytes are staged, in memory and on disk.
    pub fn staged_bytes(&self) -> usize {
        self.transaction.as_ref().map_or(0, |transaction| transaction.dirty_bytes + transaction.cut_bytes)
    }

    /// How often staged records were cut off that are not flushed yet.
    pub fn staged_in_flight(&self) -> usize {
        let staged =
            self.transaction.is_some().then(|| self.sealed.iter().filter(|sealed| sealed.epoch > self.committed));
        staged.map_or(0, Iterator::count)
    }

    /// What readers see of the kept versions.
    pub fn kept_head(&self, state: u16, group: u16) -> Option<&Head> {
        self.transaction.as_ref().map(|transaction| &transaction.kept[state as usize][group as usize])
    }

    pub(super) fn push_staged(&mut self, state: u16, group: u16, record: Record) -> Result<(), OutOfMemory> {
        let groups = self.groups();
        let Some(transaction) = &mut self.transaction else { return Ok(()) };
        let lists = &mut transaction.lists[state as usize];
        if lists.is_empty() {
            lists.resize(groups, Staged::default());
        }
        let table = &mut lists[group as usize];
        table.list.push(&mut self.memory, record.at)?;
        if table.touched_in != transaction.number {
            table.touched_in = transaction.number;
            transaction.touched.push((state, group));
        }
        transaction.dirty_bytes += weight(record);
        Ok(())
    }

    pub(super) fn bury_staged(&mut self, state: u16, group: u16, mut record: Record) {
        let Some(transaction) = &mut self.transaction else { return };
        transaction.dirty_bytes = transaction.dirty_bytes.saturating_sub(weight(record));
        let list = &mut transaction.lists[state as usize][group as usize].list;
        if list.bury(self.memory.arena(), &mut record) {
            list.sweep(&mut self.memory);
        }
    }

    /// Counts that a staged record's value was changed in place.
    #[inline]
    pub(super) fn resized(&mut self, before: usize, after: usize) {
        if let Some(transaction) = &mut self.transaction {
            transaction.dirty_bytes = (transaction.dirty_bytes + after).saturating_sub(before);
        }
    }

    /// Keeps a version under the hash of its key; the caller then takes it out of its place.
    pub(super) fn keep(&mut self, probe: &Probe<'_>, hash: u64, version: Record) -> Result<(), OutOfMemory> {
        let seed = self.seed;
        let Some(transaction) = &self.transaction else { return Ok(()) };
        let head = &transaction.kept[probe.state as usize][probe.group as usize];
        head.insert(&mut self.memory, hash, version.at, &|arena, at| hash_of(arena, at, seed))
    }

    /// The kept version of a record's key.
    pub(super) fn find_kept(&self, state: u16, group: u16, record: Record) -> Option<(Record, Place)> {
        let arena = self.arena();
        let head = self.kept_head(state, group)?;
        let area = record.area(arena);
        let is_entry = matches!(record.kind(), ENTRY | ENTRY_TOMBSTONE);
        let is_it = |at| {
            let version = Record::load(arena, at);
            if is_entry {
                return matches!(version.kind(), ENTRY | ENTRY_TOMBSTONE)
                    && version.link(arena) as Ref == record.link(arena) as Ref
                    && version.area(arena) == area;
            }
            is_cell(version.kind()) && version.is_at(arena, area, record.has(NAMESPACE))
        };
        let (at, place) = head.find(arena, hash_of(arena, record.at, self.seed), is_it)?;
        Some((Record::load(arena, at), place))
    }

    /// The version that the last commit left of a record, among what the record is and links to.
    pub(super) fn committed_in(&self, record: Record) -> Option<Record> {
        if self.committed == 0 {
            return None;
        }
        let arena = self.arena();
        let mut at = record;
        loop {
            if at.stamp(arena) <= self.committed {
                return Some(at);
            }
            let below = if at.kind() == CHAIN && !at.has(BASE) { at.link(arena) as Ref } else { NONE };
            if below == NONE {
                return None;
            }
            at = Record::load(arena, below);
        }
    }

    /// What memory has of the version that the last commit left where a record lies now: often the record itself. `None`:
    /// nothing; it may be on disk where the table says so.
    pub fn committed_of(&self, state: u16, group: u16, record: Record) -> Option<Record> {
        match self.transaction {
            None => Some(record),
            Some(_) => {
                self.committed_in(record).or_else(|| self.find_kept(state, group, record).map(|(version, _)| version))
            }
        }
    }

    /// Commits what is staged, as of the stamp `committed`, which no stamp so far is above; `next` is the stamp of what
    /// changes from now on. Takes some steps for each table that was touched, whatever is in it.
    pub fn commit(&mut self, committed: u32, next: u32) {
        let Some(mut transaction) = self.transaction.take() else { return };
        transaction.commits.commit(committed);
        (self.committed, self.current) = (committed, next);
        self.deletions += 1;
        for (state, group) in std::mem::take(&mut transaction.touched) {
            let list = &mut transaction.lists[state as usize][group as usize].list;
            if list.len() > 0 {
                self.join_dirty(state, group, std::mem::take(list));
            }
            if let Some(table) = transaction.kept[state as usize][group as usize].detach() {
                self.departing.push_back(Departing { state, group, table });
                self.has_work = true;
            }
        }
        self.add_dirty_bytes(std::mem::take(&mut transaction.dirty_bytes));
        transaction.end();
        self.transaction = Some(transaction);
    }

    /// Frees some of the versions that commits left behind.
    pub(super) fn work_on_departing(&mut self) {
        let (mut freed, mut records) = (0, Vec::new());
        // Of many small tables several at once, or operations on many keys would leave more behind than they free.
        while freed < FREED_AT_ONCE
            && let Some(Departing { state, group, table }) = self.departing.front_mut()
        {
            let probe = Probe { state: *state, group: *group, area: &[], namespaced: false, hash: 0 };
            if !table.take_some(&mut self.memory, &mut records) {
                self.departing.pop_front();
            }
            freed += records.len();
            for at in records.drain(..) {
                let version = Record::load(self.arena(), at);
                self.dispose_version(&probe, version);
            }
        }
    }

    /// Cuts what is staged off, to have it flushed; `next` is the new stamp. `None` where nothing is staged, or something
    /// committed has to be cut off first, or two epochs are in flight already.
    pub fn seal_staged(&mut self, next: u32) -> Option<Sealed> {
        if self.is_dirty() || !self.can_seal() {
            return None;
        }
        let mut transaction = self.transaction.take()?;
        for &(state, group) in &transaction.touched {
            let list = std::mem::take(&mut transaction.lists[state as usize][group as usize].list);
            if list.len() > 0 {
                self.join_dirty(state, group, list);
                transaction.cut.insert((state, group));
            }
        }
        let bytes = std::mem::take(&mut transaction.dirty_bytes);
        transaction.cut_bytes += bytes;
        self.add_dirty_bytes(bytes);
        self.transaction = Some(transaction);
        if !self.is_dirty() {
            return None;
        }
        let sealed = self.hand_over(self.current);
        self.current = next;
        Some(sealed)
    }

    /// Undoes what is staged: each version that is kept takes its old place, what has none leaves memory. Nothing that is
    /// staged may be in flight.
    pub fn abort(&mut self) {
        debug_assert!(self.staged_in_flight() == 0);
        let Some(transaction) = &mut self.transaction else { return };
        let (touched, cut) = (std::mem::take(&mut transaction.touched), std::mem::take(&mut transaction.cut));
        let commits = Arc::clone(&transaction.commits);
        commits.toggle_abort();
        for &(state, group) in &touched {
            for at in self.staged_in(state, group, cut.contains(&(state, group))) {
                self.undo(state, group, at);
            }
            if let Some(transaction) = &mut self.transaction {
                transaction.lists[state as usize][group as usize].list.take_apart(&mut self.memory);
            }
        }
        commits.toggle_abort();
        // What they know of fronts may be of what is gone.
        self.floors.clear(self.memory.share());
        self.deletions += 1;
        if let Some(transaction) = &mut self.transaction {
            transaction.aborts += 1;
            transaction.end();
        }
    }

    /// The staged records of a table. Those that were cut off stand in no list any more: then all of the table is looked at,
    /// and the transaction was larger than memory.
    fn staged_in(&self, state: u16, group: u16, cut: bool) -> Vec<Ref> {
        let Some(transaction) = &self.transaction else { return Vec::new() };
        let arena = self.arena();
        let mut found = Vec::new();
        if cut {
            let head = self.table_head(state, group);
            for page in 0..head.page_count() {
                head.visit_page(arena, page, |at| found.push(at));
            }
        } else {
            transaction.lists[state as usize][group as usize].list.for_each(arena, |at| found.push(at));
        }
        found.retain(|&at| {
            let record = Record::load(arena, at);
            !matches!(record.kind(), FREE | DEAD | ROOT) && record.stamp(arena) > self.committed
        });
        found
    }

    fn undo(&mut self, state: u16, group: u16, at: Ref) {
        let arena = self.memory.arena();
        let record = Record::load(arena, at);
        let is_entry = matches!(record.kind(), ENTRY | ENTRY_TOMBSTONE);
        let container = if is_entry { Record::load(arena, record.link(arena) as Ref) } else { record };
        let (area, namespaced) = (container.area(arena).to_vec(), container.has(NAMESPACE));
        let hash = hash_area(&area, namespaced, self.seed);
        let probe = Probe { state, group, area: &area, namespaced, hash };
        if is_entry { self.undo_entry(&probe, container, record) } else { self.undo_cell(&probe, record) }
    }

    fn undo_entry(&mut self, probe: &Probe<'_>, root: Record, record: Record) {
        let user_key = record.area(self.arena()).to_vec();
        let hash = hash_entry(&user_key, probe.hash);
        let Some((_, place)) = self.head(probe).find(self.arena(), hash, |found| found == record.at) else { return };
        let Some((version, kept)) = self.find_kept(probe.state, probe.group, record) else {
            self.drop_entry(probe, root, place, record, &user_key);
            self.remove_if_empty(probe, root);
            return;
        };
        let swung = self.tree(root).swing(self.memory.arena(), &user_key, version.at);
        debug_assert!(swung, "an entry was missing from its order");
        place.swing(self.memory.arena(), version.at);
        self.forget_kept(probe, kept);
        self.dispose(probe.state, probe.group, record);
    }

    fn undo_cell(&mut self, probe: &Probe<'_>, record: Record) {
        let Some((_, place)) = self.head(probe).find(self.arena(), probe.hash, |found| found == record.at) else {
            return;
        };
        let linked = self.committed_in(record);
        let kept = self.find_kept(probe.state, probe.group, record);
        let Some(version) = linked.or(kept.map(|(version, _)| version)) else {
            let link = record.link(self.arena());
            self.discard(probe, place, record);
            self.dispose_chain(probe, link);
            return;
        };
        place.swing(self.memory.arena(), version.at);
        if let Some((version, kept)) = kept {
            self.forget_kept(probe, kept);
            if linked.is_some() {
                // What the disk has of the key was linked to what is staged since, and counts.
                self.dispose_version(probe, version);
            }
        }
        self.dispose_down_to(probe, record, linked);
    }

    fn forget_kept(&mut self, probe: &Probe<'_>, place: Place) {
        if let Some(head) = self.kept_head(probe.state, probe.group) {
            head.remove(self.arena(), place);
        }
    }

    /// Before a record leaves memory that is on disk: what is kept of its key goes as well, which is there too.
    pub(super) fn drop_kept(&mut self, state: u16, group: u16, record: Record) {
        if !self.has_staged() || record.stamp(self.arena()) <= self.committed {
            return;
        }
        let Some((version, place)) = self.find_kept(state, group, record) else { return };
        debug_assert!(version.stamp(self.arena()) <= self.flushed);
        self.table_head(state, group).set_spilled(true);
        let probe = Probe { state, group, area: &[], namespaced: false, hash: 0 };
        self.forget_kept(&probe, place);
        self.dispose_version(&probe, version);
    }

    /// Disposes of a version that was kept.
    fn dispose_version(&mut self, probe: &Probe<'_>, version: Record) {
        match version.kind() {
            CHAIN => self.dispose_down_to(probe, version, None),
            _ => self.dispose(probe.state, probe.group, version),
        }
    }

    /// Leaves everything staged or kept behind, as the memory that it lies in goes.
    pub(super) fn forget_staged(&mut self) {
        self.departing.clear();
        let Some(transaction) = &mut self.transaction else { return };
        for head in transaction.kept.iter().flat_map(|heads| &**heads) {
            head.clear(&mut self.memory);
        }
        transaction.lists.iter_mut().for_each(Vec::clear);
        transaction.end();
    }
}

impl Transaction {
    /// The next one begins.
    fn end(&mut self) {
        self.touched.clear();
        self.cut.clear();
        (self.dirty_bytes, self.cut_bytes) = (0, 0);
        self.number += 1;
    }
}
