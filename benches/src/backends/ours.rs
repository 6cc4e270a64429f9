//! Alluvium: a state for each table, one writer for all key groups.

use super::{Backend, Cell, Kind, Place, Source, Span, Table};
use crate::harness::generate::KEY_GROUPS;
use crate::harness::table::{engine, store_options};
use crate::harness::{Outcome, wrong};
use alluvium::{
    Barrier, CheckpointSource, Cursor, Engine, Key, KeyGroup, KeyGroupRange, MapRange, Packed, Pending, State,
    StateOptions, Store, StoreOptions, Writer,
};
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

/// A store, one of its writers, its states.
#[derive(Debug)]
pub struct Ours {
    writer: Writer,
    states: Vec<State>,
    pending: Option<Pending>,
    label: u64,
    store: Arc<Store>,
    /// Lasts as long as its store.
    _engine: Engine,
}

/// A store without a writer.
#[derive(Debug)]
pub struct Opened {
    engine: Engine,
    store: Arc<Store>,
    states: Vec<State>,
}

impl Opened {
    fn new(place: &Place) -> Outcome<Self> {
        let engine = engine(place.budget_bytes)?;
        let store = Store::open_or_create(&engine, &place.path, store_options())?;
        Self::of(engine, store, place)
    }

    fn of(engine: Engine, store: Store, place: &Place) -> Outcome<Self> {
        let state = |(index, kind): (usize, &Kind)| {
            let name = format!("table-{index}");
            store.state(match kind {
                Kind::Value => StateOptions::value(&name),
                Kind::List(_) => StateOptions::list(&name),
                Kind::Map | Kind::Queue => StateOptions::map(&name),
            })
        };
        let states = place.tables.iter().enumerate().map(state).collect::<Result<_, _>>()?;
        Ok(Self { engine, store: Arc::new(store), states })
    }

    fn writer(&self, range: KeyGroupRange) -> Outcome<Ours> {
        let label = self.store.restored().map_or(0, |info| info.label);
        let (store, engine) = (Arc::clone(&self.store), self.engine.clone());
        let writer = store.writer(range)?;
        Ok(Ours { writer, states: self.states.clone(), pending: None, label, store, _engine: engine })
    }
}

impl Cell {
    fn key(&self) -> Key<'_> {
        self.op.key().in_namespace(self.namespace())
    }
}

fn range(span: Span<'_>) -> MapRange<'_> {
    let below = if span.below.is_empty() { Bound::Unbounded } else { Bound::Excluded(span.below) };
    MapRange::between(Bound::Included(span.from), below)
}

impl Backend for Ours {
    type Common = Opened;

    fn open(place: &Place) -> Outcome<Self> {
        let opened = Opened::new(place)?;
        opened.writer(opened.store.range())
    }

    fn open_common(place: &Place) -> Outcome<Opened> {
        Opened::new(place)
    }

    fn open_half(common: &Opened, half: u16) -> Outcome<Self> {
        let middle = (KEY_GROUPS / 2) as u16;
        common.writer(KeyGroupRange::new(half * middle, half * middle + middle - 1))
    }

    fn get<R>(&mut self, table: Table, cell: &Cell, use_it: impl FnOnce(Option<&[u8]>) -> R) -> Outcome<R> {
        Ok(self.writer.read(self.states[table], cell.key(), use_it)?)
    }

    fn put(&mut self, table: Table, cell: &Cell, value: &[u8]) -> Outcome {
        Ok(self.writer.put(self.states[table], cell.key(), value)?)
    }

    fn delete(&mut self, table: Table, cell: &Cell) -> Outcome {
        Ok(self.writer.delete(self.states[table], cell.key())?)
    }

    #[inline]
    fn update<V: AsRef<[u8]>>(
        &mut self,
        table: Table,
        cell: &Cell,
        change: impl FnOnce(Option<&[u8]>) -> Option<V>,
    ) -> Outcome {
        Ok(self.writer.update(self.states[table], cell.key(), change)?)
    }

    fn look_ahead<const N: usize>(&mut self, tables: [Table; N], cells: &[Cell]) {
        self.writer.prefetch(&tables.map(|table| self.states[table]), cells.iter().map(Cell::key));
    }

    fn get_many(&mut self, table: Table, cells: &[Cell], use_it: impl FnMut(usize, Option<&[u8]>)) -> Outcome {
        let keys: Vec<Key<'_>> = cells.iter().map(Cell::key).collect();
        Ok(self.writer.get_many(self.states[table], &keys, use_it)?)
    }

    fn update_many<V: AsRef<[u8]>>(
        &mut self,
        table: Table,
        cells: &[Cell],
        change: impl FnMut(usize, Option<&[u8]>) -> Option<V>,
    ) -> Outcome {
        let keys: Vec<Key<'_>> = cells.iter().map(Cell::key).collect();
        Ok(self.writer.update_many(self.states[table], &keys, change)?)
    }

    fn append(&mut self, table: Table, cell: &Cell, element: &[u8]) -> Outcome {
        Ok(self.writer.append(self.states[table], cell.key(), element)?)
    }

    fn append_all(&mut self, table: Table, cell: &Cell, elements: &[&[u8]]) -> Outcome {
        Ok(self.writer.append_all(self.states[table], cell.key(), elements)?)
    }

    fn put_list(&mut self, table: Table, cell: &Cell, elements: &[&[u8]]) -> Outcome {
        Ok(self.writer.put_list(self.states[table], cell.key(), elements)?)
    }

    fn list(&mut self, table: Table, cell: &Cell, use_it: impl FnMut(&[u8])) -> Outcome {
        Ok(self.writer.list_with(self.states[table], cell.key(), use_it)?)
    }

    fn map_put(&mut self, table: Table, cell: &Cell, user_key: &[u8], value: &[u8]) -> Outcome {
        Ok(self.writer.map_put(self.states[table], cell.key(), user_key, value)?)
    }

    fn map_get<R>(
        &mut self,
        table: Table,
        cell: &Cell,
        user_key: &[u8],
        use_it: impl FnOnce(Option<&[u8]>) -> R,
    ) -> Outcome<R> {
        Ok(self.writer.map_read(self.states[table], cell.key(), user_key, use_it)?)
    }

    fn map_delete(&mut self, table: Table, cell: &Cell, user_key: &[u8]) -> Outcome {
        Ok(self.writer.map_delete(self.states[table], cell.key(), user_key)?)
    }

    fn map_scan(&mut self, table: Table, cell: &Cell, span: Span<'_>, mut visit: impl FnMut(&[u8], &[u8])) -> Outcome {
        Ok(self.writer.map_scan(self.states[table], cell.key(), &range(span), |user_key, value| {
            visit(user_key, value);
            ControlFlow::Continue(())
        })?)
    }

    fn enqueue(&mut self, table: Table, group: KeyGroup, user_key: &[u8]) -> Outcome {
        Ok(self.writer.map_put(self.states[table], Key::new(group, &[]), user_key, &[])?)
    }

    fn dequeue(&mut self, table: Table, group: KeyGroup, below: &[u8], mut visit: impl FnMut(&[u8])) -> Outcome {
        Ok(self.writer.map_pop_below(self.states[table], Key::new(group, &[]), below, |user_key, _| visit(user_key))?)
    }

    fn begin_checkpoint(&mut self) -> Outcome {
        self.label += 1;
        self.pending = Some(self.writer.barrier(Barrier::new(self.label))?);
        Ok(())
    }

    fn checkpoint_is_complete(&mut self) -> Outcome<bool> {
        match self.pending.as_ref().map(Pending::poll) {
            None => Ok(true),
            Some(None) => Ok(false),
            Some(Some(outcome)) => {
                self.pending = None;
                outcome?;
                Ok(true)
            }
        }
    }

    fn checkpoint(&mut self) -> Outcome {
        self.begin_checkpoint()?;
        if let Some(pending) = self.pending.take() {
            pending.wait()?;
        }
        Ok(())
    }

    fn keep_to_checkpoints(&mut self) -> bool {
        true
    }

    fn close(self) -> Outcome {
        drop(self.writer);
        // The last one that has it.
        match Arc::into_inner(self.store) {
            Some(store) => Ok(store.close()?),
            None => Ok(()),
        }
    }

    fn rescale(
        sources: Vec<Source<Self>>,
        to: &[(Place, KeyGroupRange)],
        _: impl Fn(&[u8]) -> KeyGroup,
    ) -> Outcome<Vec<Self>> {
        let checkpoint = |source| match source {
            Source::Checkpoint(place) => Ok(CheckpointSource { directory: place.path, label: None }),
            Source::Memory(_) => wrong("a store is made of checkpoints"),
        };
        let sources = sources.into_iter().map(checkpoint).collect::<Outcome<Vec<_>>>()?;
        let restore = |(place, range): &(Place, KeyGroupRange)| {
            let engine = engine(place.budget_bytes)?;
            let options = StoreOptions { range: *range, ..store_options() };
            let store = Store::restore(&engine, &place.path, &sources, options)?;
            Opened::of(engine, store, place)?.writer(*range)
        };
        to.iter().map(restore).collect()
    }

    fn count(&mut self, table: Table) -> Outcome<u64> {
        let (mut cursor, mut out) = (Cursor::keys(self.states[table], self.store.range()), Packed::default());
        let mut count = 0;
        while self.writer.fetch(&mut cursor, &mut out)? {
            count += out.len() as u64;
        }
        Ok(count)
    }
}
