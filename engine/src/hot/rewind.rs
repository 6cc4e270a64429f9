//! Rolling tables back: what memory has of them is left behind in one step, whatever it is.
//!
//! A table is emptied by taking its root away, and marked: what it held is on disk now, in other segments. What was in it, its
//! current dirty list and the orders of its maps go to a *grave*, which the owner clears bit by bit between its operations.
//! Lists that were cut off stay where they are, as the flusher goes by them; so a grave waits until what was cut off before is
//! flushed: until then its records are the flusher's as well.
//!
//! Invariants: nothing but the grave, lists that were cut off and readers that are inside lead to a record of it; each record is
//! reached through the table, or through the chunk above it.

use crate::hot::Hot;
use crate::hot::dirty::DirtyList;
use crate::hot::epoch::SLOTS;
use crate::hot::order::Pieces;
use crate::hot::record::{DEAD, ENTRY, ENTRY_TOMBSTONE, FREE, ROOT, Record};
use crate::hot::table::Detached;
use crate::platform::arena::{NONE, Ref};
use std::collections::VecDeque;
use std::ops::RangeInclusive;

/// How many dead records of a list, or places in an order, are freed at once.
const FREED_AT_ONCE: usize = 128;

/// Of so many rollbacks it is known what they were of.
const REWINDS_KEPT: usize = 16;

/// Tables of a shard.
#[derive(Clone, Debug)]
pub struct Part {
    /// The states, ascending.
    pub states: Vec<u16>,
    /// The key groups, counted from the first of the shard's range.
    pub groups: RangeInclusive<u16>,
}

impl Part {
    pub(super) fn tables(&self) -> impl Iterator<Item = (u16, u16)> {
        let groups = self.groups.clone();
        self.states.iter().flat_map(move |&state| groups.clone().map(move |group| (state, group)))
    }

    /// Whether the table of a (state, key group index) is one of them.
    pub fn has(&self, state: u16, group: u16) -> bool {
        self.groups.contains(&group) && self.states.binary_search(&state).is_ok()
    }
}

/// What was in a table.
#[derive(Debug)]
struct Grave {
    /// Everything up to this epoch has to be flushed before.
    waits_for: u32,
    /// The dirty list of the epoch that was current.
    list: Option<DirtyList>,
    table: Option<Detached>,
}

/// What rolling back left behind in a shard.
#[derive(Debug, Default)]
pub struct Graves {
    graves: VecDeque<Grave>,
    /// Orders of maps. Only the owner ever looked at them.
    orders: Vec<Pieces>,
    /// What was rolled back last, the last of it at the end.
    rewinds: VecDeque<Part>,
    /// How often something was.
    count: u32,
    /// How many operations are between two of their steps, and would do the rest to what was rolled back.
    steps: u32,
}

impl Graves {
    /// Leaves everything behind, as the memory that it lies in goes.
    pub(super) fn forget(&mut self) {
        self.graves.clear();
        self.orders.clear();
    }

    /// Whether nothing is left, ready to be cleared or not.
    pub(super) fn is_empty(&self) -> bool {
        self.graves.is_empty() && self.orders.is_empty()
    }
}

impl Hot {
    /// Leaves behind what memory has of these tables: misses in their tables are no answers from now on.
    /// Takes some steps for each table, whatever is in it. Nothing of them may be staged.
    pub fn rewind(&mut self, part: &Part) {
        let waits_for = self.last_sealed().unwrap_or(0);
        let slot = self.current_slot();
        for (state, group) in part.tables() {
            // Before the table is emptied: who misses something asks the segments.
            self.table_head(state, group).set_spilled(true);
            let table = self.table_head(state, group).detach();
            let list = self.tables[state as usize].get_mut(group as usize).map(|table| {
                table.records = 0;
                std::mem::take(&mut table.lists[slot])
            });
            // Dead records alone are something, too.
            let list = list.filter(|list| !list.is_bare());
            if table.is_some() || list.is_some() {
                self.graves.graves.push_back(Grave { waits_for, list, table });
            }
        }
        self.graves.count += 1;
        self.graves.rewinds.push_back(part.clone());
        if self.graves.rewinds.len() > REWINDS_KEPT {
            self.graves.rewinds.pop_front();
        }
        let arena = self.memory.arena();
        let cut_off = self.cuts.leave(arena, part);
        self.graves.orders.extend(cut_off);
        self.forget_places();
        // What they know of fronts may be of what is gone.
        self.floors.clear(self.memory.share());
        self.rewind_far(part);
        self.deletions += 1;
        self.has_work = true;
    }

    /// Whether anything of these tables is staged.
    pub fn has_staged_in(&self, part: &Part) -> bool {
        self.has_staged() && self.touched().iter().any(|&(state, group)| part.has(state, group))
    }

    /// How often something of this shard was rolled back.
    pub fn rewinds(&self) -> u32 {
        self.graves.count
    }

    /// Another number whenever something of a table was undone, by an abort or a rollback: what was read before is not to be written
    /// after. Also where it was rolled back so long ago that it is forgotten.
    pub fn undone(&self, state: u16, group: u16) -> u64 {
        let since = self.graves.rewinds.iter().rev().zip(0_u32..).find(|(part, _)| part.has(state, group));
        let rollback = since.map_or(0, |(_, since)| self.graves.count - since);
        self.aborts() << 32 | u64::from(rollback)
    }

    /// Says that an operation goes on in another step, from what it has read in this one.
    pub fn open_steps(&mut self) {
        self.graves.steps += 1;
    }

    /// Says that it has ended.
    pub fn close_steps(&mut self) {
        self.graves.steps = self.graves.steps.saturating_sub(1);
    }

    /// Whether an operation is between two of its steps.
    pub fn has_open_steps(&self) -> bool {
        self.graves.steps > 0 || self.is_unfinished()
    }

    /// Whether rolling back left something behind, be it that it has to wait.
    pub fn has_graves(&self) -> bool {
        !self.graves.is_empty()
    }

    /// Whether [`Hot::clear_graves`] has anything to do now.
    pub(super) fn can_clear_graves(&self) -> bool {
        !self.graves.orders.is_empty()
            || self.graves.graves.front().is_some_and(|grave| grave.waits_for <= self.flushed)
    }

    /// Frees a little of what rolling back left behind.
    pub(super) fn clear_graves(&mut self) {
        if let Some(order) = self.graves.orders.last_mut() {
            // The entries are freed with the table.
            drop(order.take(&mut self.memory, FREED_AT_ONCE));
            if order.is_empty() {
                self.graves.orders.pop();
            }
            return;
        }
        let Some(mut grave) = self.graves.graves.pop_front() else { return };
        if let Some(list) = &mut grave.list {
            if !list.free_dead(&mut self.memory, FREED_AT_ONCE) && !list.pop_block(&mut self.memory) {
                grave.list = None;
            }
        } else if let Some(table) = &mut grave.table {
            let mut records = Vec::new();
            if !table.take_some(&mut self.memory, &mut records) {
                grave.table = None;
            }
            records.into_iter().for_each(|at| self.clear_record(at));
        }
        if grave.list.is_some() || grave.table.is_some() {
            self.graves.graves.push_front(grave);
        }
    }

    /// Frees a record of a table that was left behind, and what it leads to.
    fn clear_record(&mut self, at: Ref) {
        let record = Record::load(self.arena(), at);
        match record.kind() {
            FREE | DEAD => return,
            ROOT => self.graves.orders.push(Pieces::of(self.tree(record))),
            ENTRY | ENTRY_TOMBSTONE => {}
            _ => {
                let mut below = record.link(self.arena()) as Ref;
                while below != NONE {
                    let chunk = Record::load(self.arena(), below);
                    below = chunk.link(self.arena()) as Ref;
                    self.clear_one(chunk);
                }
            }
        }
        self.clear_one(record);
    }

    fn clear_one(&mut self, mut record: Record) {
        record.set_tag(self.memory.arena(), DEAD);
        self.memory.retire_record(record.at, record.class());
    }

    /// Frees what rolling back left behind until about so many bytes were freed, or all that can be; true where so many were.
    pub(super) fn free_graves(&mut self, bytes: usize, before: usize) -> bool {
        while self.can_clear_graves() {
            self.clear_graves();
            if self.memory.retired_bytes().wrapping_sub(before) >= bytes {
                self.memory.collect();
                return true;
            }
        }
        false
    }

    /// Which of a table's dirty lists is the current epoch's.
    fn current_slot(&self) -> usize {
        self.generation() as usize % SLOTS
    }
}
