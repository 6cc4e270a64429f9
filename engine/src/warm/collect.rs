//! Writing the hot list: a walk over what memory holds that rates it, and another that takes the hottest of it.
//!
//! A value is taken where it is clean, so that it could leave memory at that moment, and would be read back from the shard's view: that view's
//! stack goes with it. Of others the key is taken. The walks stop after each page of a table, outside the gate; what is changed meanwhile
//! is seen or not.

use super::heat::Heat;
use super::stack_of;
use crate::error::Result;
use crate::hot_list::{Entry, ListWriter, Stack, TIERS, VALUE_BYTES_MAX};
use crate::ids::{KeyGroup, StateId};
use crate::key::{Key, push_entry_key, push_sort_key};
use crate::options::Durability;
use crate::platform::storage::names;
use crate::platform::threads;
use crate::shard::Shard;
use crate::stack::Slice;
use crate::store::StoreInner;
use crate::worker::Pace;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Empty tables that are passed while a shard is borrowed.
const TABLES_AT_ONCE: usize = 64;
/// How many degrees of heat there are.
const DEGREES: usize = 256;

/// Where a walk is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Place {
    shard: usize,
    group: usize,
    state: usize,
    /// The page, by a hash.
    hash: u64,
}

/// Which records are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Cut {
    /// The least heat of each tier.
    tiers: [u8; TIERS],
    /// The share of the records of the least heat of all that is taken, of 65,536.
    share: u32,
}

impl Cut {
    /// The hottest records of so many bytes, where there are so many of each heat.
    fn of(bytes_of: &[u64; DEGREES], limit_bytes: u64) -> Self {
        let total: u64 = bytes_of.iter().sum();
        let quarter = total.min(limit_bytes).div_ceil(TIERS as u64).max(1);
        let mut cut = Self { tiers: [u8::MAX; TIERS], share: 1 << 16 };
        let mut taken = 0;
        for (heat, &bytes) in bytes_of.iter().enumerate().rev().filter(|(_, bytes)| **bytes > 0) {
            let tier = usize::try_from(taken / quarter).map_or(TIERS - 1, |tier| tier.min(TIERS - 1));
            cut.tiers[tier..].fill(heat as u8);
            if taken + bytes > limit_bytes {
                cut.share = ((u128::from(limit_bytes - taken) << 16) / u128::from(bytes)) as u32;
                break;
            }
            taken += bytes;
        }
        cut
    }

    /// The tier of a record, if it is taken.
    fn tier(&self, heat: u8, hash: u64) -> Option<usize> {
        let tier = self.tiers.iter().position(|&least| heat >= least)?;
        let is_taken = heat > self.tiers[TIERS - 1] || (hash >> 32 & 0xFFFF) < u64::from(self.share);
        is_taken.then_some(tier)
    }
}

/// What the second walk has.
#[derive(Debug)]
struct Taking {
    cut: Cut,
    writer: ListWriter,
    number: u64,
    /// The stack of a slice.
    stack: Option<(Arc<Slice>, Stack)>,
    bytes: Vec<u8>,
    /// Of a page: what was taken of it, by tier.
    taken: Vec<(usize, Range<usize>)>,
}

/// A hot list that is being made.
#[derive(Debug)]
pub struct Collector {
    shards: Vec<Arc<Shard>>,
    at: Place,
    /// The epoch that the walks began in.
    began_in: u32,
    bytes_of: Box<[u64; DEGREES]>,
    taking: Option<Taking>,
}

impl Collector {
    /// Of what a store's writers have in memory.
    pub fn new(store: &StoreInner) -> Self {
        let shards = store.shards.lock().clone();
        let began_in = store.epoch.load(Ordering::Acquire);
        Self { shards, at: Place::default(), began_in, bytes_of: Box::new([0; DEGREES]), taking: None }
    }

    /// Goes on until a moment; whether there is more.
    pub fn go_on(&mut self, store: &Arc<StoreInner>, heat: &mut Heat, until: Instant) -> Result<bool> {
        let mut pace = Pace::new(&store.engine.inner.workers);
        loop {
            let more = match &mut self.taking {
                None => rate(&self.shards, &mut self.at, heat, &mut self.bytes_of),
                Some(taking) => take(&self.shards, &mut self.at, heat, taking)?,
            };
            if !more && self.taking.is_some() {
                heat.looked(self.began_in);
                self.finish(store)?;
                return Ok(false);
            }
            if !more {
                self.begin_taking(store)?;
            }
            pace.rest(|| true);
            if threads::now() >= until {
                return Ok(true);
            }
        }
    }

    fn begin_taking(&mut self, store: &StoreInner) -> Result<()> {
        let number = store.warm.next_list.fetch_add(1, Ordering::Relaxed);
        let cut = Cut::of(&self.bytes_of, store.options.hot_list_bytes as u64);
        let writer = ListWriter::create(&*store.storage, number, store.info.uuid)?;
        self.at = Place::default();
        self.taking = Some(Taking { cut, writer, number, stack: None, bytes: Vec::new(), taken: Vec::new() });
        Ok(())
    }

    /// Completes the list, and deletes those before it.
    fn finish(&mut self, store: &StoreInner) -> Result<()> {
        let Some(taking) = self.taking.take() else { return Ok(()) };
        let bytes = taking.writer.finish(&*store.storage, store.options.durability != Durability::Host)?;
        store.warm.counts.list_bytes.fetch_add(bytes, Ordering::Relaxed);
        store.paced.wrote_beside(bytes);
        if let Some((last, _)) = &mut *store.warm.last_list.lock() {
            *last = bytes;
        }
        tracing::debug!(number = taking.number, bytes, "hot list");
        let before = std::mem::replace(&mut *store.warm.lists.lock(), vec![taking.number]);
        for number in before {
            store.storage.remove(&names::hot_list_name(number))?;
        }
        Ok(())
    }
}

/// Rates the records of a page; false where there are no more.
fn rate(shards: &[Arc<Shard>], at: &mut Place, heat: &mut Heat, bytes_of: &mut [u64; DEGREES]) -> bool {
    step(shards, at, |core, _, place| {
        core.hot.visit_heated(place.state as u16, place.group as u16, place.hash, |record| {
            bytes_of[usize::from(heat.look(record))] += record.bytes as u64;
        })
    })
}

/// Goes to the next page that has something, and gives it to `visit` inside the gate.
fn step(
    shards: &[Arc<Shard>],
    at: &mut Place,
    mut visit: impl FnMut(&crate::shard::Core, &Shard, Place) -> Option<u64>,
) -> bool {
    let Some(shard) = shards.get(at.shard) else { return false };
    let mut core = shard.cell.borrow();
    core.settle(shard);
    for _ in 0..TABLES_AT_ONCE {
        if shard.is_gone() || at.group >= core.hot.groups() {
            *at = Place { shard: at.shard + 1, ..Place::default() };
            return true;
        }
        if at.state >= core.hot.states() {
            *at = Place { group: at.group + 1, state: 0, hash: 0, ..*at };
            continue;
        }
        let has_records = core.hot.has_records(at.state as u16, at.group as u16);
        let next = if has_records { visit(&core, shard, *at) } else { None };
        match next {
            Some(hash) => at.hash = hash,
            None => *at = Place { state: at.state + 1, hash: 0, ..*at },
        }
        if has_records {
            return true;
        }
    }
    true
}

/// Takes the hottest records of a page; false where there are no more.
fn take(shards: &[Arc<Shard>], at: &mut Place, heat: &Heat, taking: &mut Taking) -> Result<bool> {
    let Taking { cut, writer, stack, bytes, taken, .. } = taking;
    bytes.clear();
    taken.clear();
    let mut from = None;
    let more = step(shards, at, |core, shard, place| {
        let group = KeyGroup(shard.range.first() + place.group as u16);
        from = Some((group, core.view.slice_of(group)));
        let mut sort_key = Vec::new();
        core.hot.visit_heated(place.state as u16, place.group as u16, place.hash, |record| {
            let Some(tier) = cut.tier(heat.of(record.hash), record.hash) else { return };
            let (key, namespace) = record.key;
            let (key, state) = (Key { group, key, namespace }, StateId(place.state as u16));
            sort_key.clear();
            match record.user_key {
                None => push_sort_key(&mut sort_key, state, key),
                Some(user_key) => push_entry_key(&mut sort_key, state, key, user_key),
            }
            let value = record.value.filter(|value| value.len() <= VALUE_BYTES_MAX);
            let (expiry_ms, epoch) = (value.and(record.expiry_ms), value.map_or(0, |_| record.stamp));
            let begin = bytes.len();
            Entry { sort_key: &sort_key, value, expiry_ms, epoch }.encode(bytes);
            taken.push((tier, begin..bytes.len()));
        })
    });
    let Some((group, slice)) = from else { return Ok(more) };
    let found_in = match stack {
        Some((of, found_in)) if Arc::ptr_eq(of, &slice) => *found_in,
        _ => {
            let found_in = stack_of(&slice.layers);
            *stack = Some((slice, found_in));
            found_in
        }
    };
    for (tier, range) in taken.drain(..) {
        writer.add(tier, found_in, group.0, &bytes[range])?;
    }
    Ok(more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hottest_of_so_many_bytes_are_taken_in_four_tiers() {
        let mut bytes_of = [0; DEGREES];
        (bytes_of[200], bytes_of[100], bytes_of[50], bytes_of[0]) = (100, 200, 400, 1_000);
        let cut = Cut::of(&bytes_of, 500);
        // A quarter is 125 bytes: the first tier ends with what begins in it, and of what is least hot a half is taken.
        assert_eq!(cut, Cut { tiers: [100, 100, 50, 50], share: 1 << 15 });
        assert_eq!([250, 100].map(|heat| cut.tier(heat, u64::MAX)), [Some(0), Some(0)]);
        assert_eq!(cut.tier(50, 0), Some(2));
        assert_eq!(cut.tier(50, u64::MAX), None);
        assert_eq!(cut.tier(0, 0), None);
    }

    #[test]
    fn all_are_taken_where_there_is_room_for_all() {
        let mut bytes_of = [0; DEGREES];
        (bytes_of[255], bytes_of[0]) = (100, 100);
        let cut = Cut::of(&bytes_of, 1_000);
        assert!([0, 1, 254, 255].iter().all(|&heat| cut.tier(heat, u64::MAX).is_some()));
        assert!(cut.tier(255, 0) < cut.tier(0, 0));
        assert_eq!(Cut::of(&[0; DEGREES], 1_000).tier(254, 0), None, "nothing is there");
    }
}
