//! Epochs of one key-group range: what is dirty, what is sealed, what is flushed.

use crate::hot::cut::{CutOff, Cuts};
use crate::hot::dirty::DirtyList;
use crate::hot::far::{FarMaps, Fars};
use crate::hot::floor::Floors;
use crate::hot::places::Places;
use crate::hot::record::{DEAD, ENTRY, ENTRY_TOMBSTONE, NAMESPACE, Record, first_flags, hash_area, hash_entry};
use crate::hot::rewind::Graves;
use crate::hot::table::{Head, Place};
use crate::hot::transaction::{Departing, Transaction};
use crate::hot::{Memory, OutOfMemory, Probe};
use crate::key::VALUE_BYTES_MAX;
use crate::platform::arena::{Arena, Ref};
use crate::platform::safeguards::{Safeguard, stands};
use std::collections::VecDeque;
use std::sync::Arc;

/// Dirty lists per table: the current epoch's, two sealed ones in flight, one being taken apart.
pub const SLOTS: usize = 4;

/// How many dead or superseded records one piece of work frees.
const FREED_AT_ONCE: usize = 256;

/// Dirty lists up to this length are swept also while very many of their records die.
const SWEPT_MAX: usize = 32 << 10;

/// How many blocks of lists, where there are transactions.
const BLOCKS_AT_ONCE: usize = 16;

/// What the owner keeps of a (key group, state).
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// The dirty lists, by generation modulo [`SLOTS`].
    pub lists: [DirtyList; SLOTS],
    /// The generation in which the table was last entered in [`Hot::dirty_tables`], plus 1.
    listed: u32,
    /// How many records the table holds, of any kind.
    pub records: u32,
    /// How many times a map of it has far puts, in each epoch that isn't on disk.
    pub(super) far_maps: u32,
}

/// The table of a (state, key group index). A state's tables are made when the first of them is used: a store that is idle, or
/// a state that is, takes next to nothing.
#[inline(always)]
fn table_of(tables: &mut [Vec<Table>], groups: usize, state: u16, group: u16) -> &mut Table {
    let tables = &mut tables[state as usize];
    if group as usize >= tables.len() {
        make_tables(tables, groups);
    }
    &mut tables[group as usize]
}

#[cold]
#[inline(never)]
fn make_tables(tables: &mut Vec<Table>, groups: usize) {
    tables.resize(groups, Table::default());
}

/// An epoch that was cut off and is to be flushed.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// The epoch: the stamp of its records.
    pub epoch: u32,
    /// The epoch that was cut off before it, or was the last to be flushed: what is of later ones up to its own is its.
    pub after: u32,
    /// Which of a table's dirty lists is its.
    pub slot: usize,
    /// The (state, group index) that changed, in the order of their first change.
    pub tables: Arc<Vec<(u16, u16)>>,
    /// About how many bytes changed.
    pub dirty_bytes: usize,
    /// Which of its entries are gone although they stand in its lists.
    pub cut_off: CutOff,
    /// Its far puts.
    pub far: Arc<FarMaps>,
}

/// What is left to do for a flushed epoch: freeing its lists, a block at a time.
#[derive(Debug)]
struct Chore {
    slot: usize,
    tables: Arc<Vec<(u16, u16)>>,
    next: usize,
}

/// The hot tables of one key-group range; see [`crate::hot`].
#[derive(Debug)]
pub struct Hot {
    /// Where everything lies.
    pub memory: Memory,
    /// The seed of all hashes.
    pub seed: u64,
    pub(super) heads: Vec<Arc<[Head]>>,
    pub(super) tables: Vec<Vec<Table>>,
    groups: usize,
    /// The epoch that changes go to.
    pub current: u32,
    /// Every record with a stamp up to this is on disk.
    pub flushed: u32,
    generation: u32,
    dirty_tables: Vec<(u16, u16)>,
    dirty_bytes: usize,
    pub(super) sealed: VecDeque<Sealed>,
    chores: VecDeque<Chore>,
    /// Whether anything is left to do, by [`Hot::work`]: each operation looks.
    pub(super) has_work: bool,
    superseded: [Vec<Ref>; SLOTS],
    pub(super) floors: Floors,
    pub(super) fars: Fars,
    pub(super) cuts: Cuts,
    pub(super) places: Places,
    pub(super) hand: super::evict::Hand,
    /// What memory held when an epoch was last cut off.
    held_at_cut: usize,
    /// What is staged, where changes have to be committed; see [`crate::hot::transaction`].
    pub(super) transaction: Option<Box<Transaction>>,
    /// Every record with a stamp up to this is committed, and not changed in place; 0 where nothing has to be committed.
    pub(super) committed: u32,
    pub(super) departing: VecDeque<Departing>,
    /// An operation of many steps found no memory after some of them, and is about to go on: nothing is committed or cut off before.
    pub(super) unfinished: bool,
    pub(super) graves: Graves,
    /// The caller's clock, in ms.
    pub now_ms: u64,
    /// How many records were copied because their epoch was being flushed.
    pub copies: u64,
    /// How often something was deleted.
    pub deletions: u64,
    /// The longest value, in bytes; smaller in tests.
    pub value_bytes_max: usize,
}

impl Hot {
    /// Empty tables for `groups` key groups. `spilled` says that a miss is no answer: there is state on disk.
    pub fn new(memory: Memory, seed: u64, groups: usize, current: u32) -> Self {
        Self {
            memory,
            seed,
            heads: Vec::new(),
            tables: Vec::new(),
            groups,
            current,
            flushed: current - 1,
            generation: 0,
            dirty_tables: Vec::new(),
            dirty_bytes: 0,
            sealed: VecDeque::new(),
            chores: VecDeque::new(),
            has_work: false,
            superseded: [const { Vec::new() }; SLOTS],
            floors: Floors::default(),
            fars: Fars::default(),
            cuts: Cuts::default(),
            places: Places::default(),
            hand: super::evict::Hand::default(),
            held_at_cut: 0,
            transaction: None,
            committed: 0,
            departing: VecDeque::new(),
            unfinished: false,
            graves: Graves::default(),
            now_ms: 0,
            copies: 0,
            deletions: 0,
            value_bytes_max: VALUE_BYTES_MAX,
        }
    }

    /// Adds the tables of the next state, with what readers see of them; `kept` is for what a transaction keeps, and has no
    /// tables where nothing has to be committed.
    pub fn add_state(&mut self, heads: Arc<[Head]>, kept: Arc<[Head]>) {
        self.heads.push(heads);
        self.tables.push(Vec::new());
        if let Some(transaction) = &mut self.transaction {
            transaction.add_state(kept);
        }
    }

    /// How many states have tables here.
    pub fn states(&self) -> usize {
        self.heads.len()
    }

    /// Whether memory has anything of a (state, key group index), be it that something is deleted.
    pub fn has_records(&self, state: u16, group: u16) -> bool {
        self.records_in(state, group) > 0
    }

    /// How many records the table of a (state, key group index) holds, of any kind.
    pub(super) fn records_in(&self, state: u16, group: u16) -> u32 {
        self.tables[state as usize].get(group as usize).map_or(0, |table| table.records)
    }

    /// How many key groups there are.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// The arena.
    #[inline]
    pub fn arena(&self) -> &Arena {
        self.memory.arena()
    }

    /// The table that a probe leads to.
    #[inline]
    pub fn head(&self, probe: &Probe<'_>) -> &Head {
        &self.heads[probe.state as usize][probe.group as usize]
    }

    /// The table of a (state, key group index).
    #[inline]
    pub fn table_head(&self, state: u16, group: u16) -> &Head {
        &self.heads[state as usize][group as usize]
    }

    /// Makes a probe of a key area.
    #[inline]
    pub fn probe<'a>(&self, state: u16, group: u16, area: &'a [u8], namespaced: bool) -> Probe<'a> {
        Probe { state, group, area, namespaced, hash: hash_area(area, namespaced, self.seed) }
    }

    /// About how many bytes changed and are not flushed yet.
    pub fn unflushed_bytes(&self) -> usize {
        self.dirty_bytes() + self.sealed.iter().map(|sealed| sealed.dirty_bytes).sum::<usize>()
    }

    /// About how many bytes changed and are not cut off yet.
    pub fn dirty_bytes(&self) -> usize {
        self.dirty_bytes + self.transaction.as_ref().map_or(0, |transaction| transaction.dirty_bytes)
    }

    /// By how many bytes what memory holds has grown since an epoch was last cut off.
    pub fn grown_bytes(&self) -> usize {
        self.held_bytes().saturating_sub(self.held_at_cut)
    }

    /// What memory holds, in bytes: chunks, and what was put far.
    pub fn held_bytes(&self) -> usize {
        self.memory.held_bytes() + self.far_bytes()
    }

    /// Epochs cut off and not flushed yet.
    pub fn in_flight(&self) -> usize {
        self.sealed.len()
    }

    /// The number of the current dirty lists.
    pub(super) const fn generation(&self) -> u32 {
        self.generation
    }

    /// The last epoch that was cut off, while it is in flight.
    pub(super) fn last_sealed(&self) -> Option<u32> {
        self.sealed.back().map(|sealed| sealed.epoch)
    }

    /// Counts bytes that were entered in the current dirty lists.
    pub(super) fn add_dirty_bytes(&mut self, bytes: usize) {
        self.dirty_bytes += bytes;
    }

    /// Enters a record in the current dirty list.
    #[inline]
    pub(super) fn push_dirty(&mut self, state: u16, group: u16, record: Record) -> Result<(), OutOfMemory> {
        self.note_changed(record);
        if self.transaction.is_some() {
            return self.push_staged(state, group, record);
        }
        self.push_committed(state, group, record)
    }

    /// The same for a record that isn't staged, whatever is.
    #[inline]
    pub(super) fn push_committed(&mut self, state: u16, group: u16, record: Record) -> Result<(), OutOfMemory> {
        let groups = self.groups;
        let table = table_of(&mut self.tables, groups, state, group);
        let slot = self.generation as usize % SLOTS;
        table.lists[slot].push(&mut self.memory, record.at)?;
        if table.listed != self.generation + 1 {
            table.listed = self.generation + 1;
            self.dirty_tables.push((state, group));
        }
        self.dirty_bytes += weight(record);
        Ok(())
    }

    /// Says that so many bytes of a table changed, in no record.
    #[inline]
    pub(super) fn note_dirty(&mut self, state: u16, group: u16, bytes: usize) {
        let table = table_of(&mut self.tables, self.groups, state, group);
        if table.listed != self.generation + 1 {
            table.listed = self.generation + 1;
            self.dirty_tables.push((state, group));
        }
        self.dirty_bytes += bytes;
    }

    /// Enters all of a list in the current dirty list.
    pub(super) fn join_dirty(&mut self, state: u16, group: u16, list: DirtyList) {
        let table = table_of(&mut self.tables, self.groups, state, group);
        table.lists[self.generation as usize % SLOTS].join(self.memory.arena(), list);
        if table.listed != self.generation + 1 {
            table.listed = self.generation + 1;
            self.dirty_tables.push((state, group));
        }
    }

    /// Whether a record may be changed in place, by the stamp rule. A clean record is entered in the dirty list.
    #[inline]
    pub(super) fn claim(&mut self, probe: &Probe<'_>, record: &mut Record) -> Result<bool, OutOfMemory> {
        let stamp = record.stamp(self.memory.arena());
        if stamp == self.current {
            return Ok(true);
        }
        let in_flight = stamp > self.flushed && stands(Safeguard::StampRule);
        if in_flight || stamp <= self.committed && stands(Safeguard::CommittedStamp) {
            return Ok(false);
        }
        self.push_dirty(probe.state, probe.group, *record)?;
        let arena = self.memory.arena();
        record.set_stamp(arena, self.current);
        let first = first_flags(record.kind());
        if record.has(first) {
            // It has reached the disk since; deleting it takes a tombstone now.
            record.set_tag(arena, record.tag() & !first);
        }
        Ok(true)
    }

    /// Puts a new record where an old one of the same key lies, and disposes of the old one, or keeps it where it is
    /// committed and the new one is not. What the old one links to is the new one's now.
    pub(super) fn supersede(
        &mut self,
        probe: &Probe<'_>,
        place: Place,
        old: Record,
        new: Record,
    ) -> Result<(), OutOfMemory> {
        let is_committed = old.stamp(self.arena()) <= self.committed;
        self.enter_successor(probe, probe.hash, is_committed.then_some(old), new)?;
        place.swing(self.memory.arena(), new.at);
        if !is_committed {
            self.dispose(probe.state, probe.group, old);
        }
        Ok(())
    }

    /// Enters a record in the dirty list that is about to take another's place, and keeps the committed version, if there
    /// is one that has to be; or does neither, and then the new record is gone.
    pub(super) fn enter_successor(
        &mut self,
        probe: &Probe<'_>,
        hash: u64,
        committed: Option<Record>,
        new: Record,
    ) -> Result<(), OutOfMemory> {
        if let Err(error) = self.push_dirty(probe.state, probe.group, new) {
            self.memory.retire_record(new.at, new.class());
            return Err(error);
        }
        let Some(version) = committed else { return Ok(()) };
        self.keep(probe, hash, version).inspect_err(|_| self.bury(probe.state, probe.group, new))
    }

    /// Disposes of a record that nothing leads to any more: at once, with its dirty list, or after the flush of its
    /// epoch. Can't fail, as the record is gone already: the heap memory that this may take is charged afterwards.
    pub(super) fn dispose(&mut self, state: u16, group: u16, mut old: Record) {
        self.forget_place(state, group, old);
        let stamp = old.stamp(self.memory.arena());
        if stamp == self.current {
            self.bury(state, group, old);
        } else if stamp <= self.flushed {
            old.set_tag(self.memory.arena(), DEAD);
            self.memory.retire_record(old.at, old.class());
        } else if let Some(slot) = self.sealed.iter().find(|sealed| stamp <= sealed.epoch).map(|sealed| sealed.slot) {
            self.copies += 1;
            self.free_after(slot, old);
        } else {
            // Committed since the last epoch was cut off.
            self.bury(state, group, old);
        }
    }

    /// Frees a record after the flush of the epoch in `slot`; until then it stays as it is, for the flusher.
    fn free_after(&mut self, slot: usize, record: Record) {
        let list = &mut self.superseded[slot];
        if list.len() == list.capacity() {
            let more = list.capacity().max(64);
            list.reserve_exact(more);
            self.memory.arena().charge_forced(more * size_of::<Ref>());
        }
        list.push(record.at);
    }

    /// Frees a container that nothing leads to any more but, perhaps, sealed entries: the flusher learns their keys
    /// from it.
    pub(super) fn free_root(&mut self, mut root: Record) {
        if self.changed_in(root) > self.flushed
            && let Some(sealed) = self.sealed.back()
        {
            self.free_after(sealed.slot, root);
            return;
        }
        root.set_tag(self.memory.arena(), DEAD);
        self.memory.retire_record(root.at, root.class());
    }

    /// Takes a record out of its table and disposes of it.
    pub(super) fn discard(&mut self, probe: &Probe<'_>, place: Place, old: Record) {
        self.heads[probe.state as usize][probe.group as usize].remove(self.memory.arena(), place);
        self.tables[probe.state as usize][probe.group as usize].records -= 1;
        self.dispose(probe.state, probe.group, old);
    }

    /// Marks a record of the current dirty list as dead; it is freed with the list, or when the dead outnumber.
    pub(super) fn bury(&mut self, state: u16, group: u16, mut record: Record) {
        if self.transaction.is_some() && record.stamp(self.arena()) > self.committed {
            return self.bury_staged(state, group, record);
        }
        self.dirty_bytes = self.dirty_bytes.saturating_sub(weight(record));
        let list = &mut self.tables[state as usize][group as usize].lists[self.generation as usize % SLOTS];
        if list.bury(self.memory.arena(), &mut record) {
            list.sweep(&mut self.memory);
        }
    }

    /// As [`Hot::discard`] for a record of very many: where the dirty list is long, what it takes is freed with it, as a
    /// sweep would go through all of it.
    pub(super) fn discard_one_of_many(&mut self, probe: &Probe<'_>, place: Place, mut old: Record) {
        let table = &mut self.tables[probe.state as usize][probe.group as usize];
        let list = &mut table.lists[self.generation as usize % SLOTS];
        if old.stamp(self.memory.arena()) != self.current || list.len() <= SWEPT_MAX {
            return self.discard(probe, place, old);
        }
        self.heads[probe.state as usize][probe.group as usize].remove(self.memory.arena(), place);
        table.records -= 1;
        list.bury_for_good(self.memory.arena(), &mut old);
    }

    /// Adds a record to the table of its key; on failure it is buried.
    pub(super) fn insert(&mut self, probe: &Probe<'_>, hash: u64, record: Record) -> Result<(), OutOfMemory> {
        let seed = self.seed;
        let head = &self.heads[probe.state as usize][probe.group as usize];
        let inserted = head.insert(&mut self.memory, hash, record.at, &|arena, at| hash_of(arena, at, seed));
        if inserted.is_ok() {
            table_of(&mut self.tables, self.groups, probe.state, probe.group).records += 1;
        }
        inserted
    }

    /// Enters a new record in the dirty list and the table, or in neither.
    pub(super) fn add(&mut self, probe: &Probe<'_>, hash: u64, record: Record) -> Result<(), OutOfMemory> {
        if let Err(error) = self.push_dirty(probe.state, probe.group, record) {
            self.memory.retire_record(record.at, record.class());
            return Err(error);
        }
        self.insert(probe, hash, record).inspect_err(|_| self.bury(probe.state, probe.group, record))
    }

    /// Gives all memory back, when everything is on disk and the range goes to another shard: whoever still holds on to
    /// this one (a reader that is idle) would hold on to the memory as well. Misses are no answers from now on. Waits for
    /// the readers that are inside. `fresh` is memory that nothing was allocated from.
    pub fn abandon(&mut self, fresh: Memory) {
        debug_assert!(!self.is_dirty() && self.sealed.is_empty(), "state that is not on disk would be lost");
        self.forget(fresh);
    }

    /// As [`Hot::abandon`], whatever is lost by it: the store is closed.
    pub fn forget(&mut self, fresh: Memory) {
        // What was cut off, or left behind, goes with everything else.
        self.cuts.clear(self.memory.arena());
        self.forget_places();
        self.graves.forget();
        while self.has_chores() {
            self.work();
        }
        for list in &mut self.superseded {
            self.memory.arena().uncharge(list.capacity() * size_of::<Ref>());
            *list = Vec::new();
        }
        for (heads, tables) in self.heads.iter().zip(&mut self.tables) {
            for (head, table) in heads.iter().zip(tables) {
                head.set_spilled(true);
                head.clear(&mut self.memory);
                *table = Table::default();
            }
        }
        self.forget_staged();
        self.floors.clear(self.memory.share());
        self.memory.share().uncharge(self.far_bytes());
        self.sealed.clear();
        self.fars = Fars::default();
        self.dirty_tables.clear();
        self.dirty_bytes = 0;
        self.memory = fresh;
    }

    /// Whether something changed in the current epoch.
    pub fn is_dirty(&self) -> bool {
        !self.dirty_tables.is_empty()
    }

    /// Whether something of a state changed since the last epoch that is on disk.
    pub(super) fn is_changed(&self, state: u16) -> bool {
        let sealed = self.sealed.iter().flat_map(|sealed| &*sealed.tables);
        self.dirty_tables.iter().chain(sealed).any(|&(of, _)| of == state)
    }

    /// Whether an epoch can be cut off: two may be in flight.
    pub fn can_seal(&self) -> bool {
        self.sealed.len() < SLOTS - 2
    }

    /// Cuts the current epoch off: O(1). `next` is the new epoch, above every earlier one. `None` where nothing
    /// changed, or two epochs are in flight already.
    ///
    /// Where changes have to be committed it is those that are which are cut off. What is staged stays in lists of its own,
    /// and the epoch is the last commit's.
    pub fn seal(&mut self, next: u32) -> Option<Sealed> {
        if !self.is_dirty() || !self.can_seal() {
            return None;
        }
        if self.transaction.is_some() {
            return Some(self.hand_over(self.committed));
        }
        let sealed = self.hand_over(self.current);
        self.current = next;
        Some(sealed)
    }

    /// Hands the dirty lists over, as those of an epoch.
    pub(super) fn hand_over(&mut self, epoch: u32) -> Sealed {
        let slot = self.generation as usize % SLOTS;
        let sealed = Sealed {
            epoch,
            after: self.last_sealed().unwrap_or(self.flushed),
            slot,
            tables: Arc::new(std::mem::take(&mut self.dirty_tables)),
            dirty_bytes: std::mem::take(&mut self.dirty_bytes),
            cut_off: self.cuts.off().clone(),
            far: self.fars.seal(),
        };
        self.sealed.push_back(sealed.clone());
        self.held_at_cut = self.held_bytes();
        self.generation += 1;
        // The slot that comes next must have been taken apart.
        let coming = self.generation as usize % SLOTS;
        while self.chores.iter().any(|chore| chore.slot == coming) {
            self.work();
        }
        sealed
    }

    /// The dirty lists of a sealed epoch's tables from `from` on, at most `limit`.
    pub fn sealed_lists(&self, sealed: &Sealed, from: usize, limit: usize) -> Vec<(u16, u16, DirtyList)> {
        let tables = sealed.tables.iter().skip(from).take(limit);
        tables
            .map(|&(state, group)| (state, group, self.tables[state as usize][group as usize].lists[sealed.slot]))
            .collect()
    }

    /// Learns that everything up to `flushed` is on disk.
    pub fn adopt_flushed(&mut self, flushed: u32) {
        self.flushed = self.flushed.max(flushed);
        while self.sealed.front().is_some_and(|sealed| sealed.epoch <= flushed) {
            if let Some(sealed) = self.sealed.pop_front() {
                self.drop_far(sealed.epoch, &sealed.far);
                self.chores.push_back(Chore { slot: sealed.slot, tables: sealed.tables, next: 0 });
                self.has_work = true;
            }
        }
    }

    /// Learns that nothing of a key group is on disk: misses in its tables are answers. What is evicted later says
    /// otherwise first.
    pub fn set_resident(&self, group: u16) {
        for heads in &self.heads {
            heads[usize::from(group)].set_spilled(false);
        }
    }

    /// Whether [`Hot::work`] has anything to do.
    #[inline]
    pub fn has_chores(&self) -> bool {
        self.has_work
    }

    /// Does a small piece of what flushed epochs and commits left behind (one block of one list, a few buckets of a table), or
    /// else of what cuts did. True while there is more.
    pub fn work(&mut self) -> bool {
        self.work_a_little();
        self.has_work =
            !self.chores.is_empty() || !self.departing.is_empty() || self.can_free_cut_off() || self.can_clear_graves();
        self.has_work
    }

    fn work_a_little(&mut self) {
        // What commits leave behind grows while flushes are tidied up after: neither waits for the other.
        if !self.departing.is_empty() {
            self.work_on_departing();
        }
        if !self.chores.is_empty() {
            self.work_on_flushed();
        } else if self.can_free_cut_off() {
            self.free_cut_off();
        } else if self.can_clear_graves() {
            self.clear_graves();
        }
    }

    /// Frees some of what the epoch that was flushed first left behind.
    fn work_on_flushed(&mut self) {
        let Some(chore) = self.chores.front_mut() else { return };
        let slot = chore.slot;
        // Each commit leaves a block of its own in each table.
        for _ in 0..if self.transaction.is_some() { BLOCKS_AT_ONCE } else { 1 } {
            let Some(&(state, group)) = chore.tables.get(chore.next) else { break };
            let list = &mut self.tables[state as usize][group as usize].lists[slot];
            if list.free_dead(&mut self.memory, FREED_AT_ONCE) {
                return;
            }
            chore.next += usize::from(!list.pop_block(&mut self.memory));
        }
        if chore.next < chore.tables.len() {
            return;
        }
        let list = &mut self.superseded[slot];
        let from = list.len().saturating_sub(FREED_AT_ONCE);
        // Nobody has used them since: all have to come from memory.
        list[from..].iter().for_each(|&at| self.memory.arena().prefetch(at));
        for at in list.drain(from..) {
            let mut record = Record::load(self.memory.arena(), at);
            record.set_tag(self.memory.arena(), DEAD);
            self.memory.retire_record(at, record.class());
        }
        if list.is_empty() {
            self.memory.arena().uncharge(list.capacity() * size_of::<Ref>());
            *list = Vec::new();
            self.chores.pop_front();
            self.memory.release_lists();
        }
    }
}

impl Drop for Hot {
    /// Takes the charges back for what lies on the heap; the memory goes by itself.
    fn drop(&mut self) {
        self.floors.clear(self.memory.share());
        self.cuts.clear(self.memory.arena());
        self.forget_places();
        self.memory.share().uncharge(self.far_bytes());
        for list in &self.superseded {
            self.memory.arena().uncharge(list.capacity() * size_of::<Ref>());
        }
    }
}

/// What a record counts for among what changed, in bytes.
#[inline]
pub(super) fn weight(record: Record) -> usize {
    24 + record.area_len() + record.value_len()
}

/// The hash under which the record at `at` lies in its table.
pub(super) fn hash_of(arena: &Arena, at: Ref, seed: u64) -> u64 {
    let record = Record::load(arena, at);
    if matches!(record.kind(), ENTRY | ENTRY_TOMBSTONE) {
        let container = Record::load(arena, record.link(arena) as Ref);
        let hash = hash_area(container.area(arena), container.has(NAMESPACE), seed);
        return hash_entry(record.area(arena), hash);
    }
    hash_area(record.area(arena), record.has(NAMESPACE), seed)
}
