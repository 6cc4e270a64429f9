//! Far puts: entries that were put behind what is loaded of the front of a map that is popped, and that memory has no record of.
//!
//! Of a queue that is larger than memory most of what is put is taken long after memory needed the room for something else. As
//! records such entries would be put into table and order, written, and looked for in both again to be evicted, without anybody
//! having asked for them. Here they are appended, as they come, and gone with the flush of their epoch.
//!
//! Whoever asks for more of a map than its front has them made records before ([`Hot::spread`]), or looks for them here as well.
//!
//! Invariants: a record of the same user key is newer than a far put; they lie behind what was loaded of the front when they were put, and
//! what is loaded later has them; a container with far puts stays; what was taken of those of the current epoch lies below
//! `FarMap::popped`, of those that were cut off since the map's marker hides it. Where changes have to be committed there are none.

use crate::hot::floor::Floor;
use crate::hot::front::{FrontEntries, FrontEntry, push_entry};
use crate::hot::memory::Memory;
use crate::hot::record::{ENTRY, Record, hash_entry};
use crate::hot::rewind::Part;
use crate::hot::{Hot, OutOfMemory, Probe};
use crate::key::prefix_of;
use crate::platform::arena::{Ref, Share};
use crate::spans;
use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Longer ones, of user key and value together, become records.
const BYTES_MAX: usize = 4 << 10;
/// A map has no more of them in one epoch, in bytes.
const MAP_BYTES_MAX: usize = 1 << 30;
/// For how many there is room at first.
const COUNT_MIN: usize = 32;
/// So much of what the share may have is taken at once: one part in so many. To come by it may take a sweep over all tables.
const STEP_SHARE: usize = 256;
/// So many records before it is its turn, the place of one that leaves is fetched.
const SHED_AHEAD: usize = 8;
/// So many far puts become records before the next are looked for, at least: what is copied of them meanwhile isn't charged. Few in tests.
const SPREAD_MIN: usize = if cfg!(test) { 7 } else { 1 << 12 };
/// And at least one part in so many of them, as each lot looks at all.
const SPREAD_LOTS: usize = 16;

/// The far puts of a map in one epoch.
#[derive(Debug, Default)]
pub struct FarMap {
    state: u16,
    /// The key group, counted from the first of the range.
    group: u16,
    key: Vec<u8>,
    namespace: Vec<u8>,
    /// Those of smaller user keys were taken.
    popped: Vec<u8>,
    /// The first bytes of the user keys, in the order of the puts,
    prefixes: Vec<u64>,
    /// and where each begins.
    places: Vec<u32>,
    bytes: Vec<u8>,
    /// What it takes of the share.
    charged_bytes: usize,
}

impl FarMap {
    /// Its container: key and namespace.
    pub fn parts(&self) -> (&[u8], &[u8]) {
        (&self.key, &self.namespace)
    }

    /// The last one of each user key, in order, without those that were taken.
    fn sorted(&self) -> Vec<FrontEntry<'_>> {
        let mut order: Vec<(u64, Reverse<u32>)> =
            self.prefixes.iter().zip(0..).map(|(&prefix, at)| (prefix, Reverse(at))).collect();
        let user_key = |at: u32| self.at(at as usize).user_key;
        order.sort_unstable_by(|a, b| {
            a.0.cmp(&b.0).then_with(|| user_key(a.1.0).cmp(user_key(b.1.0))).then(a.1.cmp(&b.1))
        });
        let mut entries: Vec<FrontEntry<'_>> = order.iter().map(|(_, Reverse(at))| self.at(*at as usize)).collect();
        entries.dedup_by(|later, first| later.user_key == first.user_key);
        entries.retain(|entry| entry.user_key >= self.popped.as_slice());
        entries
    }

    fn at(&self, index: usize) -> FrontEntry<'_> {
        let place = self.places.get(index).map_or(usize::MAX, |&place| place as usize);
        FrontEntries::of(self.bytes.get(place..).unwrap_or_default()).next().unwrap_or_default()
    }

    /// Makes room for one more of so many bytes, if the share has it. `spare` is what was taken of it before and is in no map.
    fn grow(&mut self, memory: &mut Memory, bytes: usize, spare_bytes: &mut usize) -> Result<(), OutOfMemory> {
        let counts = self.places.len() == self.places.capacity();
        let count = if counts { (self.places.len() / 4).max(COUNT_MIN) } else { 0 };
        let is_short = self.bytes.len() + bytes > self.bytes.capacity();
        let room = if is_short { (self.bytes.len() / 4).max(COUNT_MIN * bytes) } else { 0 };
        if count + room == 0 {
            return Ok(());
        }
        let spare = self.bytes.capacity() - self.bytes.len();
        let more = count * 12 + room.saturating_sub(spare);
        if *spare_bytes < more {
            let step = more.max(memory.share().limit_bytes() / STEP_SHARE);
            if memory.charge(step) {
                *spare_bytes += step;
            } else if memory.charge(more) {
                *spare_bytes += more;
            } else {
                return Err(OutOfMemory { bytes: step });
            }
        }
        *spare_bytes -= more;
        self.prefixes.reserve_exact(count);
        self.places.reserve_exact(count);
        self.bytes.reserve_exact(room);
        self.charged_bytes += more;
        Ok(())
    }
}

/// The far puts of one epoch, by container.
#[derive(Debug, Default)]
pub struct FarMaps {
    maps: BTreeMap<Ref, FarMap>,
    /// Also what is in none of them.
    charged_bytes: usize,
    spare_bytes: usize,
}

impl FarMaps {
    /// Those of each table, (state, key group index), that has any.
    pub fn by_table(&self) -> BTreeMap<(u16, u16), Vec<&FarMap>> {
        let mut tables: BTreeMap<(u16, u16), Vec<&FarMap>> = BTreeMap::new();
        for map in self.maps.values() {
            tables.entry((map.state, map.group)).or_default().push(map);
        }
        tables
    }

    /// How many keys a filter holds of them, at most.
    pub fn filter_keys(&self) -> usize {
        self.maps.values().map(|map| map.places.len() + 1).sum()
    }
}

/// Goes over the far puts of a table's maps, the last one of each user key, in the order in which they are to be written.
#[derive(Debug)]
pub struct FarWalk<'a> {
    /// What is left; the last one comes next.
    maps: Vec<&'a FarMap>,
    entries: Vec<FrontEntry<'a>>,
    next: usize,
}

impl<'a> FarWalk<'a> {
    /// At the beginning.
    pub fn new(mut maps: Vec<&'a FarMap>) -> Self {
        maps.sort_unstable_by(|a, b| compare_containers(b.parts(), a.parts()));
        let entries = maps.last().map(|map| map.sorted()).unwrap_or_default();
        Self { maps, entries, next: 0 }
    }

    /// The next one, and its map.
    pub fn peek(&mut self) -> Option<(&'a FarMap, FrontEntry<'a>)> {
        loop {
            let map = *self.maps.last()?;
            if let Some(&entry) = self.entries.get(self.next) {
                return Some((map, entry));
            }
            self.maps.pop();
            (self.entries, self.next) = (self.maps.last().map(|map| map.sorted()).unwrap_or_default(), 0);
        }
    }

    /// Leaves it behind.
    pub fn pass(&mut self) {
        self.next += 1;
    }
}

/// How the containers of two maps, by key and namespace, compare in a segment.
pub fn compare_containers(a: (&[u8], &[u8]), b: (&[u8], &[u8])) -> Ordering {
    (a.0.len(), a.0, a.1.len(), a.1).cmp(&(b.0.len(), b.0, b.1.len(), b.1))
}

/// The far puts of a shard that aren't on disk; those that were cut off are with what was cut off.
#[derive(Debug, Default)]
pub(super) struct Fars {
    current: FarMaps,
    /// Of those that were cut off, by epoch and container: they are records now, or were rolled back.
    gone: BTreeSet<(u32, Ref)>,
    /// Whether there are any that were cut off.
    are_sealed: bool,
    /// What the budget didn't have for them last, in bytes; 0 once it was asked for.
    missed_bytes: usize,
}

/// A far put where it lies.
#[derive(Clone, Copy, Debug)]
pub struct FarEntry<'a> {
    /// What was put.
    pub entry: FrontEntry<'a>,
    /// The epoch in which.
    pub epoch: u32,
}

/// One that was found, with what it is sorted by.
struct Found<'a> {
    prefix: u64,
    /// How many epochs with far puts of the map came after its own.
    age: usize,
    /// The how manieth of its epoch it is.
    index: usize,
    far: FarEntry<'a>,
}

impl Found<'_> {
    /// By user key, the last one first if `reverse`, and of one the newest first.
    fn compare(a: &Self, b: &Self, reverse: bool) -> Ordering {
        let by_key = a.prefix.cmp(&b.prefix).then_with(|| a.far.entry.user_key.cmp(b.far.entry.user_key));
        let by_key = if reverse { by_key.reverse() } else { by_key };
        by_key.then(a.age.cmp(&b.age)).then(b.index.cmp(&a.index))
    }
}

impl Fars {
    /// Cuts the current epoch's off.
    pub(super) fn seal(&mut self) -> Arc<FarMaps> {
        self.are_sealed |= !self.current.maps.is_empty();
        Arc::new(std::mem::take(&mut self.current))
    }

    const fn is_empty(&self) -> bool {
        self.current.charged_bytes == self.current.spare_bytes && !self.are_sealed
    }

    fn remove(&mut self, share: &Share, root: Ref) {
        if let Some(map) = self.current.maps.remove(&root) {
            share.uncharge(map.charged_bytes);
            self.current.charged_bytes -= map.charged_bytes;
        }
    }
}

/// Leaves the first `count_max`; whether there were more.
fn cut(found: &mut Vec<Found<'_>>, count_max: usize, reverse: bool) -> bool {
    let is_cut = found.len() > count_max;
    if is_cut {
        found.select_nth_unstable_by(count_max, |a, b| Found::compare(a, b, reverse));
        found.truncate(count_max);
    }
    is_cut
}

impl Hot {
    /// Whether a map has far puts, be it that all were taken.
    #[inline]
    pub fn has_far(&self, root: Record) -> bool {
        !self.fars.is_empty() && self.far_maps(root.at).next().is_some()
    }

    /// The far puts of a container and their epochs, the newest first.
    fn far_maps(&self, root: Ref) -> impl Iterator<Item = (u32, &FarMap)> {
        let current = self.fars.current.maps.get(&root).map(|map| (self.current, map));
        let sealed = self.sealed.iter().rev().filter(move |sealed| !self.fars.gone.contains(&(sealed.epoch, root)));
        current.into_iter().chain(sealed.filter_map(move |sealed| Some((sealed.epoch, sealed.far.maps.get(&root)?))))
    }

    /// What the budget didn't have for far puts last, in bytes; 0 where it was asked for since. Blocks that come free here and there
    /// are no help.
    pub fn take_missed_far(&mut self) -> usize {
        std::mem::take(&mut self.fars.missed_bytes)
    }

    /// How many bytes the current epoch's take, and those that were cut off.
    pub(super) fn far_bytes(&self) -> usize {
        self.fars.current.charged_bytes + self.sealed.iter().map(|sealed| sealed.far.charged_bytes).sum::<usize>()
    }

    /// Puts an entry far, if that is where it belongs; false where it has to become a record.
    pub fn put_far(
        &mut self,
        probe: &Probe<'_>,
        root: Record,
        (user_key, value): (&[u8], &[u8]),
        expiry_ms: Option<u64>,
    ) -> Result<bool, OutOfMemory> {
        let Some(has_tail) = self.is_far(root, user_key) else { return Ok(false) };
        if has_tail && self.find_entry(probe, root, user_key).is_some() {
            return Ok(false);
        }
        let entry = FrontEntry { user_key, value, expiry_ms };
        let held_bytes = self.fars.current.maps.get(&root.at).map_or(0, |map| map.bytes.len());
        if expiry_ms.is_some() || entry.bytes() > BYTES_MAX || held_bytes + entry.bytes() > MAP_BYTES_MAX {
            self.note_tail(root);
            return Ok(false);
        }
        let (arena, mut is_new) = (self.memory.arena(), false);
        let map = self.fars.current.maps.entry(root.at).or_insert_with(|| {
            is_new = true;
            let (key, namespace) = root.key_parts(arena);
            let (key, namespace) = (key.to_vec(), namespace.to_vec());
            FarMap { state: probe.state, group: probe.group, key, namespace, ..FarMap::default() }
        });
        let mut spare_bytes = self.fars.current.spare_bytes;
        let (of_maps, grown) = (map.charged_bytes, map.grow(&mut self.memory, entry.bytes(), &mut spare_bytes));
        self.fars.current.charged_bytes += map.charged_bytes - of_maps + spare_bytes;
        self.fars.current.charged_bytes -= std::mem::replace(&mut self.fars.current.spare_bytes, spare_bytes);
        if let Err(out) = grown {
            self.fars.missed_bytes = out.bytes;
            if is_new {
                self.fars.current.maps.remove(&root.at);
            }
            return Err(out);
        }
        map.prefixes.push(prefix_of(user_key));
        map.places.push(map.bytes.len() as u32);
        push_entry(&mut map.bytes, entry);
        self.note_dirty(probe.state, probe.group, entry.bytes());
        if is_new {
            self.tables[probe.state as usize][probe.group as usize].far_maps += 1;
        }
        // Before the put has returned: readers ask the owner from now on.
        self.head(probe).set_far(true);
        Ok(true)
    }

    /// The newest far put of each user key in a range, in order, as far as they weren't taken, and whether there are more than
    /// `count_max`, older ones of the same user keys included: then fewer may be left.
    pub fn far_between(
        &self,
        probe: &Probe<'_>,
        root: Record,
        range: (&[u8], Option<&[u8]>),
        count_max: usize,
    ) -> (Vec<FarEntry<'_>>, bool) {
        self.far_from(probe, root, range, count_max, false)
    }

    /// As [`Hot::far_between`]; from the range's end on, if `reverse`.
    pub fn far_from(
        &self,
        probe: &Probe<'_>,
        root: Record,
        (from, to): (&[u8], Option<&[u8]>),
        count_max: usize,
        reverse: bool,
    ) -> (Vec<FarEntry<'_>>, bool) {
        if !self.has_far(root) {
            return (Vec::new(), false);
        }
        let marker = self.marker(probe, false);
        let (mut first, mut last) = (prefix_of(from), to.map_or(u64::MAX, prefix_of));
        let (mut found, mut is_cut) = (Vec::new(), false);
        for (age, (epoch, map)) in self.far_maps(root.at).enumerate() {
            for (index, prefix) in map.prefixes.iter().enumerate() {
                if *prefix < first || *prefix > last {
                    continue;
                }
                let entry = map.at(index);
                let is_inside = entry.user_key >= from && to.is_none_or(|to| entry.user_key < to);
                let is_gone = || entry.user_key < map.popped.as_slice() || spans::hides(marker, epoch, entry.user_key);
                if is_inside && !is_gone() {
                    found.push(Found { prefix: *prefix, age, index, far: FarEntry { entry, epoch } });
                }
                // So that no more is held than twice what is wanted.
                if found.len() / 2 > count_max {
                    is_cut |= cut(&mut found, count_max, reverse);
                    // Whatever lies behind what is left isn't wanted, and isn't looked at.
                    let left = found.iter().map(|found| found.prefix);
                    if reverse {
                        first = left.min().unwrap_or(first);
                    } else {
                        last = left.max().unwrap_or(last);
                    }
                }
            }
        }
        is_cut |= cut(&mut found, count_max, reverse);
        found.sort_unstable_by(|a, b| Found::compare(a, b, reverse));
        let mut entries: Vec<FarEntry<'_>> = found.into_iter().map(|found| found.far).collect();
        entries.dedup_by(|older, newest| older.entry.user_key == newest.entry.user_key);
        (entries, is_cut)
    }

    /// The far put of a user key that counts.
    pub fn far_of(&self, probe: &Probe<'_>, root: Record, user_key: &[u8]) -> Option<FarEntry<'_>> {
        let end = [user_key, &[0]].concat();
        self.far_between(probe, root, (user_key, Some(&end)), usize::MAX).0.pop()
    }

    /// Whether any of a map's far puts counts.
    pub fn has_live_far(&self, probe: &Probe<'_>, root: Record) -> bool {
        !self.far_between(probe, root, (&[], None), 1).0.is_empty()
    }

    /// Makes a map's far puts records, and further puts as well until its front is loaded again. Where memory runs out on the way
    /// some are both, which is no harm, and it is to be done again.
    #[inline]
    pub fn spread(&mut self, probe: &Probe<'_>) -> Result<(), OutOfMemory> {
        if !self.floors.are_far() && self.fars.is_empty() {
            return Ok(());
        }
        self.spread_now(probe)
    }

    #[inline(never)]
    fn spread_now(&mut self, probe: &Probe<'_>) -> Result<(), OutOfMemory> {
        let Some((root, _)) = self.find_root(probe) else { return Ok(()) };
        // First of all: what is put from now on has to become a record.
        self.end_far(root);
        if !self.has_far(root) {
            return Ok(());
        }
        let count: usize = self.far_maps(root.at).map(|(_, map)| map.places.len()).sum();
        let (mut from, lot) = (Vec::new(), SPREAD_MIN.max(count / SPREAD_LOTS));
        loop {
            let (entries, is_cut) = self.far_between(probe, root, (from.as_slice(), None), lot);
            let owned = |far: FarEntry<'_>| (far.entry.user_key.to_vec(), far.entry.value.to_vec(), far.epoch);
            let entries: Vec<(Vec<u8>, Vec<u8>, u32)> = entries.into_iter().map(owned).collect();
            for (user_key, value, epoch) in &entries {
                // A record is newer.
                if self.find_entry(probe, root, user_key).is_none() {
                    self.add_far(probe, root, user_key, value, *epoch)?;
                }
            }
            let Some((last, ..)) = entries.last().filter(|_| is_cut) else { break };
            // Behind it in the order of bytes.
            from.clone_from(last);
            from.push(0);
        }
        let epochs: Vec<u32> = self.far_maps(root.at).map(|(epoch, _)| epoch).collect();
        for epoch in epochs {
            if epoch != self.current {
                self.fars.gone.insert((epoch, root.at));
            }
            self.forget_far((probe.state, probe.group));
        }
        self.fars.remove(self.memory.share(), root.at);
        Ok(())
    }

    /// Has records leave memory that lie where far puts go, as far as they are on disk, about `count_max` of them, if memory is short. Queues
    /// that were filled before they were popped for the first time have many, and nothing else would be asked for as late.
    /// Returns how many bytes left.
    pub fn shed_tail(&mut self, probe: &Probe<'_>, root: Record, count_max: usize) -> usize {
        let Some(from) = self.floor(root).and_then(Floor::tail).filter(|_| self.memory.is_short()) else { return 0 };
        let (arena, from, mut leaving, mut stays) = (self.memory.arena(), from.to_vec(), Vec::new(), false);
        self.tree(root).ascend(arena, Some(&from), |at| {
            let record = Record::load(arena, at);
            if record.stamp(arena) <= self.flushed && !self.is_cut_off(record) {
                leaving.push(record);
            } else {
                stays = true;
            }
            leaving.len() < count_max
        });
        let before = self.memory.retired_bytes();
        if !leaving.is_empty() {
            self.table_head(probe.state, probe.group).set_spilled(true);
        }
        for (index, &record) in leaving.iter().enumerate() {
            if let Some(later) = leaving.get(index + SHED_AHEAD) {
                self.prefetch_entry(probe, later.area(self.arena()));
            }
            let user_key = record.area(self.arena()).to_vec();
            let hash = hash_entry(&user_key, probe.hash);
            let Some((_, place)) = self.head(probe).find(self.arena(), hash, |at| at == record.at) else { continue };
            self.drop_kept(probe.state, probe.group, record);
            self.drop_entry(probe, root, place, record, &user_key);
        }
        if !stays && leaving.len() < count_max {
            self.forget_tail(root);
        }
        self.memory.retired_bytes().wrapping_sub(before)
    }

    /// What was taken of a map from its beginning: up to this user key, left out; of what was cut off the marker says so.
    pub(super) fn pop_far(&mut self, root: Record, to: &[u8]) {
        if let Some(map) = self.fars.current.maps.get_mut(&root.at)
            && map.popped.as_slice() < to
        {
            map.popped.clear();
            map.popped.extend_from_slice(to);
        }
    }

    /// Up to where a map's far puts of the current epoch were taken.
    pub(super) fn popped_far(&self, root: Record) -> &[u8] {
        self.fars.current.maps.get(&root.at).map(|map| map.popped.as_slice()).unwrap_or_default()
    }

    /// Leaves those of tables behind that are rolled back.
    pub(super) fn rewind_far(&mut self, part: &Part) {
        let is_part = |(_, map): &(&Ref, &FarMap)| part.has(map.state, map.group);
        let roots: Vec<Ref> = self.fars.current.maps.iter().filter(is_part).map(|(&root, _)| root).collect();
        roots.into_iter().for_each(|root| self.fars.remove(self.memory.share(), root));
        for sealed in &self.sealed {
            let gone = sealed.far.maps.iter().filter(is_part).map(|(&root, _)| (sealed.epoch, root));
            self.fars.gone.extend(gone);
        }
        for (state, group) in part.tables() {
            if let Some(table) = self.tables[state as usize].get_mut(group as usize) {
                table.far_maps = 0;
            }
            self.table_head(state, group).set_far(false);
        }
    }

    /// Lets go of those of an epoch that is on disk.
    pub(super) fn drop_far(&mut self, epoch: u32, far: &FarMaps) {
        self.memory.share().uncharge(far.charged_bytes);
        self.fars.are_sealed = self.sealed.iter().any(|sealed| !sealed.far.maps.is_empty());
        for (&root, map) in &far.maps {
            if !self.fars.gone.remove(&(epoch, root)) {
                // Who misses one asks the segments.
                self.table_head(map.state, map.group).set_spilled(true);
                self.forget_far((map.state, map.group));
            }
        }
    }

    /// Notes that a table's map has no far puts of an epoch any more.
    fn forget_far(&mut self, (state, group): (u16, u16)) {
        let Some(table) = self.tables[state as usize].get_mut(group as usize) else { return };
        table.far_maps = table.far_maps.saturating_sub(1);
        if table.far_maps == 0 {
            self.table_head(state, group).set_far(false);
        }
    }

    /// A record of a far put; one that was cut off is flushed with its epoch as it is.
    fn add_far(
        &mut self,
        probe: &Probe<'_>,
        root: Record,
        user_key: &[u8],
        value: &[u8],
        epoch: u32,
    ) -> Result<(), OutOfMemory> {
        let record = self.new_entry(root, ENTRY, epoch, user_key, value, None)?;
        self.add_entry(probe, root, record, user_key, epoch == self.current)
    }
}
