//! A binary heap for each key group, with a set of what is in it, as Flink keeps timers in memory (`HeapPriorityQueueSet`): what
//! is there isn't entered again, and could be removed. Or the heap alone, which takes a timer twice and can't remove one: the least that a queue in
//! memory costs. Timers lie in it themselves, not behind pointers. Durable is nothing.

use super::{Backend, Cell, Kind, Place, Span, Table};
use crate::harness::generate::{KEY_BYTES, KEY_GROUPS};
use crate::harness::{Outcome, wrong};
use alluvium::KeyGroup;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A time and a key, in the order of their bytes.
type Timer = [u8; 8 + KEY_BYTES];

/// The timers of a key group.
#[derive(Clone, Default, Debug)]
struct Timers<const SET: bool> {
    order: BinaryHeap<Reverse<Timer>>,
    /// Those that are there, if that is known: one that was removed stays in the order until its turn comes.
    set: hashbrown::HashSet<Timer, foldhash::fast::RandomState>,
}

impl<const SET: bool> Timers<SET> {
    fn insert(&mut self, timer: Timer) {
        if !SET || self.set.insert(timer) {
            self.order.push(Reverse(timer));
        }
    }

    fn pop_below(&mut self, below: &[u8]) -> Option<Timer> {
        while let Some(Reverse(first)) = self.order.peek().copied().filter(|Reverse(first)| &first[..] < below) {
            self.order.pop();
            if !SET || self.set.remove(&first) {
                return Some(first);
            }
        }
        None
    }
}

/// The queues.
#[derive(Debug)]
pub struct Heap<const SET: bool> {
    tables: Vec<Vec<Timers<SET>>>,
}

impl<const SET: bool> Heap<SET> {
    fn timers(&mut self, table: Table, group: KeyGroup) -> &mut Timers<SET> {
        &mut self.tables[table][usize::from(group.0)]
    }
}

impl<const SET: bool> Backend for Heap<SET> {
    type Common = ();

    fn open(place: &Place) -> Outcome<Self> {
        if place.tables.iter().any(|kind| *kind != Kind::Queue) {
            return no_keys();
        }
        let queues = |_: &Kind| vec![Timers::default(); KEY_GROUPS as usize];
        Ok(Self { tables: place.tables.iter().map(queues).collect() })
    }

    fn open_common(_: &Place) -> Outcome {
        no_keys()
    }

    fn open_half((): &(), _: u16) -> Outcome<Self> {
        no_keys()
    }

    fn get<R>(&mut self, _: Table, _: &Cell, _: impl FnOnce(Option<&[u8]>) -> R) -> Outcome<R> {
        no_keys()
    }

    fn put(&mut self, _: Table, _: &Cell, _: &[u8]) -> Outcome {
        no_keys()
    }

    fn delete(&mut self, _: Table, _: &Cell) -> Outcome {
        no_keys()
    }

    fn update<V: AsRef<[u8]>>(&mut self, _: Table, _: &Cell, _: impl FnOnce(Option<&[u8]>) -> Option<V>) -> Outcome {
        no_keys()
    }

    fn append(&mut self, _: Table, _: &Cell, _: &[u8]) -> Outcome {
        no_keys()
    }

    fn list(&mut self, _: Table, _: &Cell, _: impl FnMut(&[u8])) -> Outcome {
        no_keys()
    }

    fn map_put(&mut self, _: Table, _: &Cell, _: &[u8], _: &[u8]) -> Outcome {
        no_keys()
    }

    fn map_get<R>(&mut self, _: Table, _: &Cell, _: &[u8], _: impl FnOnce(Option<&[u8]>) -> R) -> Outcome<R> {
        no_keys()
    }

    fn map_delete(&mut self, _: Table, _: &Cell, _: &[u8]) -> Outcome {
        no_keys()
    }

    fn map_scan(&mut self, _: Table, _: &Cell, _: Span<'_>, _: impl FnMut(&[u8], &[u8])) -> Outcome {
        no_keys()
    }

    fn enqueue(&mut self, table: Table, group: KeyGroup, user_key: &[u8]) -> Outcome {
        let Ok(timer) = Timer::try_from(user_key) else { return wrong("not a timer: another length") };
        self.timers(table, group).insert(timer);
        Ok(())
    }

    fn dequeue(&mut self, table: Table, group: KeyGroup, below: &[u8], mut visit: impl FnMut(&[u8])) -> Outcome {
        let timers = self.timers(table, group);
        while let Some(timer) = timers.pop_below(below) {
            visit(&timer);
        }
        Ok(())
    }

    fn begin_checkpoint(&mut self) -> Outcome {
        Ok(())
    }

    fn checkpoint_is_complete(&mut self) -> Outcome<bool> {
        Ok(true)
    }

    fn close(self) -> Outcome {
        Ok(())
    }
}

fn no_keys<T>() -> Outcome<T> {
    wrong("a heap has timers, and nothing else")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timer(due: u64) -> Timer {
        let mut timer = [7; 8 + KEY_BYTES];
        timer[..8].copy_from_slice(&due.to_be_bytes());
        timer
    }

    /// What was set twice fires once, in its order; what is due later stays.
    #[test]
    fn a_timer_fires_once() -> Outcome {
        let place = Place { path: ".".into(), budget_bytes: 0, tables: vec![Kind::Queue] };
        let mut heap = Heap::<true>::open(&place)?;
        let group = KeyGroup(3);
        for due in [9, 5, 300, 5, 9, 1] {
            heap.enqueue(0, group, &timer(due))?;
        }
        heap.enqueue(0, KeyGroup(4), &timer(2))?;
        let mut fired = Vec::new();
        heap.dequeue(0, group, &9_u64.to_be_bytes(), |timer| fired.push(timer.to_vec()))?;
        assert_eq!(fired, [timer(1), timer(5)]);
        heap.enqueue(0, group, &timer(5))?;
        heap.dequeue(0, group, &u64::MAX.to_be_bytes(), |timer| fired.push(timer.to_vec()))?;
        assert_eq!(fired[2..], [timer(5), timer(9), timer(300)]);
        Ok(())
    }

    /// The heap alone has the same order, and takes what it is given.
    #[test]
    fn a_plain_heap_fires_what_was_set() {
        let mut timers = Timers::<false>::default();
        [9, 5, 300, 5].into_iter().for_each(|due| timers.insert(timer(due)));
        let below = 300_u64.to_be_bytes();
        let fired: Vec<_> = std::iter::from_fn(|| timers.pop_below(&below)).collect();
        assert_eq!(fired, [timer(5), timer(5), timer(9)]);
        assert!(timers.set.is_empty());
    }

    /// What was removed before its turn doesn't fire, unless it was set again: then once.
    #[test]
    fn a_removed_timer_does_not_fire() {
        let mut timers = Timers::<true>::default();
        for due in [1, 2, 3] {
            timers.insert(timer(due));
        }
        assert!([1, 2].iter().all(|due| timers.set.remove(&timer(*due))));
        timers.insert(timer(2));
        let all = u64::MAX.to_be_bytes();
        let fired: Vec<_> = std::iter::from_fn(|| timers.pop_below(&all)).collect();
        assert_eq!(fired, [timer(2), timer(3)]);
    }
}
