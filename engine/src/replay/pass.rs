//! A pass through the changelog that replays some key groups of a shard.

use super::redo;
use crate::changelog::Tail;
use crate::changelog::tail::Place;
use crate::error::Result;
use crate::ids::KeyGroup;
use crate::shard::Shard;
use crate::store::StoreInner;
use std::sync::Arc;

/// The position of a key group that the pass doesn't replay.
const NOT: u64 = u64::MAX;

/// A pass.
#[derive(Debug)]
pub(super) struct Pass {
    tail: Arc<Tail>,
    shard: Arc<Shard>,
    place: Place,
    /// From which position on each key group of the shard is replayed.
    from: Vec<u64>,
    /// Whether others may have some of it that want it first.
    is_long: bool,
}

impl Pass {
    /// Of no key groups.
    pub(super) fn new(tail: Arc<Tail>, shard: &Arc<Shard>, is_long: bool) -> Self {
        let from = vec![NOT; shard.range.count()];
        Self { tail, shard: Arc::clone(shard), place: Place::default(), from, is_long }
    }

    /// The changelog's.
    pub(super) fn tail(&self) -> &Arc<Tail> {
        &self.tail
    }

    /// The shard.
    pub(super) const fn shard(&self) -> &Arc<Shard> {
        &self.shard
    }

    /// Whether others may have some of it that want it first.
    pub(super) const fn is_long(&self) -> bool {
        self.is_long
    }

    /// Adds a key group of the shard, whose changes before a position were done.
    pub(super) fn take(&mut self, group: u16, from: u64) {
        if let Some(of) = self.of(group) {
            *of = from;
        }
    }

    /// Leaves a key group to others.
    pub(super) fn leave(&mut self, group: u16) {
        self.take(group, NOT);
    }

    fn of(&mut self, group: u16) -> Option<&mut u64> {
        self.from.get_mut(usize::from(group.checked_sub(self.shard.range.first())?))
    }

    /// Its key groups, and the positions up to which they were replayed.
    pub(super) fn groups(&self) -> Vec<(u16, u64)> {
        let all = (self.shard.range.first()..).zip(self.from.iter().copied());
        all.filter(|(_, from)| *from != NOT).collect()
    }

    /// Whether it has no key groups.
    pub(super) fn is_empty(&self) -> bool {
        self.from.iter().all(|from| *from == NOT)
    }

    /// Replays the next block of the changelog; false at the end. Where it fails, [`Pass::groups`] says how far it came all the same.
    pub(super) fn step(&mut self, store: &Arc<StoreInner>) -> Result<bool> {
        store.check()?;
        let tail = Arc::clone(&self.tail);
        let from = self.from.iter().copied().fold(NOT, u64::min);
        let Some(block) = tail.next_block(&mut self.place, from) else { return Ok(false) };
        if self.is_long {
            store.replay.by_group.hand_over(self, block.position());
            if self.is_empty() {
                return Ok(false);
            }
        }
        let payload = block.read()?;
        let mut lot = Vec::new();
        let first = self.shard.range.first();
        let wanted = |group: KeyGroup, begin: u64| {
            let of = usize::from(group.0.wrapping_sub(first));
            self.from.get(of).is_some_and(|from| *from <= begin)
        };
        block.changes(&payload, wanted, &mut lot)?;
        let done = redo::all(store, &self.shard, &lot, || {
            if self.is_long {
                store.replay.by_group.give_way();
            }
        });
        let to =
            done.as_ref().map_or_else(|(at, _)| lot.get(*at).map_or(block.end(), |next| next.begin), |()| block.end());
        self.advance(store, to);
        done.map_err(|(_, error)| error)?;
        Ok(true)
    }

    /// All changes before a position were done.
    fn advance(&mut self, store: &StoreInner, to: u64) {
        let mut bytes = 0;
        for from in &mut self.from {
            if *from < to {
                bytes += to - *from;
                *from = to;
            }
        }
        store.replay.passed(bytes, 1);
    }
}
