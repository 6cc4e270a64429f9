//! Places: where the words lie of one state that are overwritten again and again, so that nobody has to look for them.
//!
//! The state is the one in which the last event of each source is noted, in each key group, by every event that is known by its id. A place
//! leads to a record of the current epoch, which is changed in place, and which eviction leaves alone. It is good until an epoch is cut
//! off, as the record's stamp says, or until the record leaves its table: whoever disposes of one forgets its place. So what is
//! noted through a place is in the table like any other change, and nothing has to be written later.
//!
//! Invariants: a place leads to a record that was in the table of its key when the place was remembered, and has not been disposed of
//! since. There are none where changes have to be committed: there a record is left as it is once it is.

use crate::hot::Hot;
use crate::hot::quick::Quick;
use crate::hot::record::Record;
use crate::platform::arena::{Arena, NONE, Ref};

/// Slots that the first place makes room for.
const SLOTS_MIN: usize = 64;
/// Slots at most, of which half are used: 768 KiB of them.
const SLOTS_MAX: usize = 1 << 16;

/// A key has one from when its place was first remembered; a slot without a place has [`NONE`].
#[derive(Clone, Copy, Debug)]
struct Slot {
    at: Ref,
    key: u32,
    group: u16,
    used: bool,
}

const UNUSED: Slot = Slot { at: NONE, key: 0, group: 0, used: false };

/// The places of a shard: an open table, charged to the budget by force.
#[derive(Debug, Default)]
pub struct Places {
    /// The state; where there are no slots it has no meaning.
    state: u16,
    slots: Box<[Slot]>,
    used: usize,
    /// The epoch in which the first of them was remembered.
    since: u32,
}

impl Places {
    /// The slot of a key, or the one that it would take; none where there are no slots.
    #[inline(always)]
    fn find(&self, group: u16, key: u32) -> Option<usize> {
        let mask = self.slots.len().wrapping_sub(1);
        // Keys are small numbers, mostly; the key groups of one lie side by side.
        let mut index = (key.wrapping_mul(0x9E37_79B1) >> 15).wrapping_add(u32::from(group)) as usize & mask;
        loop {
            // Half of them are unused.
            let slot = self.slots.get(index)?;
            if !slot.used || slot.key == key && slot.group == group {
                return Some(index);
            }
            index = (index + 1) & mask;
        }
    }

    fn put(&mut self, arena: &Arena, group: u16, key: u32, at: Ref) {
        if (self.used + 1) * 2 > self.slots.len() {
            self.grow(arena);
        }
        let Some(index) = self.find(group, key) else { return };
        self.used += usize::from(!self.slots[index].used);
        self.slots[index] = Slot { at, key, group, used: true };
    }

    fn grow(&mut self, arena: &Arena) {
        let slots = (self.slots.len() * 2).max(SLOTS_MIN);
        arena.charge_forced((slots - self.slots.len()) * size_of::<Slot>());
        let before = std::mem::replace(&mut self.slots, vec![UNUSED; slots].into_boxed_slice());
        self.used = 0;
        for Slot { at, key, group, .. } in before.iter().filter(|slot| slot.at != NONE) {
            self.put(arena, *group, *key, *at);
        }
    }

    /// Forgets all of them.
    pub(super) fn clear(&mut self, arena: &Arena) {
        arena.uncharge(self.slots.len() * size_of::<Slot>());
        (self.slots, self.used) = (Box::default(), 0);
    }

    /// Whether there is room for one more, where need be in the place of all that are known.
    fn make_room(&mut self, arena: &Arena, current: u32) -> bool {
        if (self.used + 1) * 2 > SLOTS_MAX {
            // Those of earlier epochs lead nowhere.
            if self.since == current {
                return false;
            }
            self.clear(arena);
        }
        if self.used == 0 {
            self.since = current;
        }
        true
    }
}

impl Hot {
    /// The word of a key of 4 bytes, given as a big-endian number, if its place is known and it may be overwritten there. `group` is counted from
    /// the first of the range.
    #[inline(always)]
    pub fn at_place(&self, state: u16, group: u16, key: u32) -> Option<Quick<'_>> {
        let slot = &self.places.slots.get(self.places.find(group, key)?)?;
        if slot.at == NONE || self.places.state != state {
            return None;
        }
        let found = self.quick_of_half_a_word(slot.at, key.to_be_bytes())?;
        found.is_of(self.current).then_some(found)
    }

    /// Remembers the place of such a key, if it is one that can be.
    pub fn remember_place(&mut self, state: u16, group: u16, key: u32) {
        if self.transaction.is_some() || self.at_place(state, group, key).is_some() {
            return;
        }
        if self.places.state != state {
            self.forget_places();
            self.places.state = state;
        }
        if !self.places.make_room(self.memory.arena(), self.current) {
            return;
        }
        let area = key.to_be_bytes();
        let found = self.find_cell(&self.probe(state, group, &area, false));
        let at = found.and_then(|(record, _)| self.quick_of_half_a_word(record.at, area));
        if let Some(at) = at.filter(|found| found.is_of(self.current)).map(|found| found.at()) {
            self.places.put(self.memory.arena(), group, key, at);
        }
    }

    /// Forgets the place of a record that leaves its table.
    #[inline]
    pub(super) fn forget_place(&mut self, state: u16, group: u16, record: Record) {
        if state == self.places.state && !self.places.slots.is_empty() {
            self.forget_one(group, record);
        }
    }

    fn forget_one(&mut self, group: u16, record: Record) {
        let Ok(area) = <[u8; 4]>::try_from(record.area(self.memory.arena())) else { return };
        let Some(index) = self.places.find(group, u32::from_be_bytes(area)) else { return };
        if self.places.slots[index].at == record.at {
            self.places.slots[index].at = NONE;
        }
    }

    /// Forgets all places.
    pub(super) fn forget_places(&mut self) {
        self.places.clear(self.memory.arena());
    }
}

const _: () = assert!(size_of::<Slot>() == 12 && SLOTS_MAX.is_power_of_two() && SLOTS_MIN.is_power_of_two());
