//! For tests: an engine that is wrong now and then, and that keeps what it was given for others to look at.

use super::{Backend, Cell, Place, Source, Span, Table};
use crate::harness::Outcome;
use alluvium::{KeyGroup, KeyGroupRange};
use std::cell::RefCell;
use std::collections::HashMap;

/// Makes no faults.
pub const NONE: u8 = 0;
/// Loses a removal.
pub const LOST_DELETES: u8 = 1;
/// Loses a write over an older value, which stays.
pub const STALE_VALUES: u8 = 2;
/// Swaps the first two of what is read in order.
pub const SWAPPED: u8 = 3;
/// Loses a single write over an older value.
pub const STALE_ONCE: u8 = 4;

/// One operation in so many is wrong: of those that can be.
const EVERY: u64 = 7;
/// The one that is wrong where it is one alone.
const ONCE: u64 = 1_000;

/// Where a value is: table, key and window, user key or place in a list.
type At = (Table, Vec<u8>, Vec<u8>);

/// What an engine of this thread has done.
#[derive(Clone, Default, Debug)]
pub struct Done {
    /// Faults.
    pub faults: u64,
    /// Whether it was asked for anything that takes order.
    pub has_order: bool,
    /// The newest values, where none is removed: of lists all elements that ever were.
    pub values: HashMap<At, Vec<u8>>,
}

thread_local! {
    static DONE: RefCell<Done> = RefCell::default();
}

/// What this thread's engines have done since it was last asked.
pub fn take_done() -> Done {
    DONE.take()
}

/// An engine with faults of a kind.
#[derive(Debug)]
pub struct Faulty<B, const KIND: u8> {
    engine: B,
    count: u64,
    appended: u64,
}

impl<B: Backend, const KIND: u8> Faulty<B, KIND> {
    /// Whether this operation, which could have such a fault, has it.
    fn fails(&mut self, kind: u8) -> bool {
        self.count += u64::from(kind == KIND);
        let is_turn = if KIND == STALE_ONCE { self.count == ONCE } else { self.count.is_multiple_of(EVERY) };
        let fails = kind == KIND && is_turn;
        DONE.with_borrow_mut(|done| done.faults += u64::from(fails));
        fails
    }

    /// Whether this write over another value is lost.
    fn is_stale(&mut self) -> bool {
        self.fails(if KIND == STALE_ONCE { STALE_ONCE } else { STALE_VALUES })
    }

    fn order() {
        DONE.with_borrow_mut(|done| done.has_order = true);
    }

    fn keep(table: Table, cell: &Cell, place: &[u8], value: &[u8]) {
        if KIND == NONE {
            let at = (table, [&cell.op.bytes, cell.namespace()].concat(), place.to_vec());
            DONE.with_borrow_mut(|done| done.values.insert(at, value.to_vec()));
        }
    }
}

/// Visits with the first two swapped.
fn swapped<T>(mut held: Vec<T>, visit: impl FnMut(T)) {
    held.swap(0, 1);
    held.into_iter().for_each(visit);
}

impl<B: Backend, const KIND: u8> Backend for Faulty<B, KIND> {
    type Common = B::Common;

    fn open(place: &Place) -> Outcome<Self> {
        Ok(Self { engine: B::open(place)?, count: 0, appended: 0 })
    }

    fn open_common(place: &Place) -> Outcome<B::Common> {
        B::open_common(place)
    }

    fn open_half(common: &B::Common, half: u16) -> Outcome<Self> {
        Ok(Self { engine: B::open_half(common, half)?, count: 0, appended: 0 })
    }

    fn get<R>(&mut self, table: Table, cell: &Cell, use_it: impl FnOnce(Option<&[u8]>) -> R) -> Outcome<R> {
        self.engine.get(table, cell, use_it)
    }

    fn put(&mut self, table: Table, cell: &Cell, value: &[u8]) -> Outcome {
        self.update(table, cell, |_| Some(value))
    }

    fn delete(&mut self, table: Table, cell: &Cell) -> Outcome {
        if self.fails(LOST_DELETES) { Ok(()) } else { self.engine.delete(table, cell) }
    }

    fn update<V: AsRef<[u8]>>(
        &mut self,
        table: Table,
        cell: &Cell,
        change: impl FnOnce(Option<&[u8]>) -> Option<V>,
    ) -> Outcome {
        let old = self.engine.get(table, cell, |old| old.map(<[u8]>::to_vec))?;
        let new = change(old.as_deref());
        match &new {
            Some(new) if old.is_some_and(|old| old != new.as_ref()) && self.is_stale() => Ok(()),
            Some(new) => {
                Self::keep(table, cell, &[], new.as_ref());
                self.engine.put(table, cell, new.as_ref())
            }
            None => self.delete(table, cell),
        }
    }

    fn append(&mut self, table: Table, cell: &Cell, element: &[u8]) -> Outcome {
        self.appended += 1;
        Self::keep(table, cell, &self.appended.to_be_bytes(), element);
        self.engine.append(table, cell, element)
    }

    fn put_list(&mut self, table: Table, cell: &Cell, elements: &[&[u8]]) -> Outcome {
        let mut old = Vec::new();
        self.engine.list(table, cell, |element| old.push(element.to_vec()))?;
        if !old.is_empty() && old != elements && self.fails(STALE_VALUES) {
            return Ok(());
        }
        for (place, element) in elements.iter().enumerate() {
            Self::keep(table, cell, &place.to_be_bytes(), element);
        }
        self.engine.put_list(table, cell, elements)
    }

    fn list(&mut self, table: Table, cell: &Cell, mut use_it: impl FnMut(&[u8])) -> Outcome {
        let mut held = Vec::new();
        self.engine.list(table, cell, |element| held.push(element.to_vec()))?;
        if held.len() > 1 && held[0] != held[1] && self.fails(SWAPPED) {
            swapped(held, |element| use_it(&element));
        } else {
            held.iter().for_each(|element| use_it(element));
        }
        Ok(())
    }

    fn map_put(&mut self, table: Table, cell: &Cell, user_key: &[u8], value: &[u8]) -> Outcome {
        Self::order();
        let is_new = self.engine.map_get(table, cell, user_key, |old| old.is_none_or(|old| old == value))?;
        if !is_new && self.fails(STALE_VALUES) {
            return Ok(());
        }
        Self::keep(table, cell, user_key, value);
        self.engine.map_put(table, cell, user_key, value)
    }

    fn map_get<R>(
        &mut self,
        table: Table,
        cell: &Cell,
        user_key: &[u8],
        use_it: impl FnOnce(Option<&[u8]>) -> R,
    ) -> Outcome<R> {
        Self::order();
        self.engine.map_get(table, cell, user_key, use_it)
    }

    fn map_delete(&mut self, table: Table, cell: &Cell, user_key: &[u8]) -> Outcome {
        Self::order();
        if self.fails(LOST_DELETES) { Ok(()) } else { self.engine.map_delete(table, cell, user_key) }
    }

    fn map_scan(&mut self, table: Table, cell: &Cell, span: Span<'_>, mut visit: impl FnMut(&[u8], &[u8])) -> Outcome {
        Self::order();
        let mut held = Vec::new();
        self.engine.map_scan(table, cell, span, |user_key, value| held.push((user_key.to_vec(), value.to_vec())))?;
        if held.len() > 1 && self.fails(SWAPPED) {
            swapped(held, |(user_key, value)| visit(&user_key, &value));
        } else {
            held.iter().for_each(|(user_key, value)| visit(user_key, value));
        }
        Ok(())
    }

    fn enqueue(&mut self, table: Table, group: KeyGroup, user_key: &[u8]) -> Outcome {
        Self::order();
        self.engine.enqueue(table, group, user_key)
    }

    fn dequeue(&mut self, table: Table, group: KeyGroup, below: &[u8], mut visit: impl FnMut(&[u8])) -> Outcome {
        Self::order();
        let mut held = Vec::new();
        self.engine.dequeue(table, group, below, |user_key| held.push(user_key.to_vec()))?;
        for user_key in &held {
            if self.fails(LOST_DELETES) {
                self.engine.enqueue(table, group, user_key)?;
            }
        }
        if held.len() > 1 && self.fails(SWAPPED) {
            swapped(held, |user_key| visit(&user_key));
        } else {
            held.iter().for_each(|user_key| visit(user_key));
        }
        Ok(())
    }

    fn begin_checkpoint(&mut self) -> Outcome {
        self.engine.begin_checkpoint()
    }

    fn checkpoint_is_complete(&mut self) -> Outcome<bool> {
        self.engine.checkpoint_is_complete()
    }

    fn close(self) -> Outcome {
        self.engine.close()
    }

    fn into_source(self, place: &Place) -> Outcome<Source<Self>> {
        let (count, appended) = (self.count, self.appended);
        Ok(match self.engine.into_source(place)? {
            Source::Checkpoint(place) => Source::Checkpoint(place),
            Source::Memory(engine) => Source::Memory(Self { engine, count, appended }),
        })
    }

    fn rescale(
        sources: Vec<Source<Self>>,
        to: &[(Place, KeyGroupRange)],
        group_of: impl Fn(&[u8]) -> KeyGroup,
    ) -> Outcome<Vec<Self>> {
        let of = |source| match source {
            Source::Checkpoint(place) => Source::Checkpoint(place),
            Source::Memory(Self { engine, .. }) => Source::Memory(engine),
        };
        let engines = B::rescale(sources.into_iter().map(of).collect(), to, group_of)?;
        Ok(engines.into_iter().map(|engine| Self { engine, count: 0, appended: 0 }).collect())
    }

    fn count(&mut self, table: Table) -> Outcome<u64> {
        self.engine.count(table)
    }
}
