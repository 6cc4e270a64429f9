//! A hash map for each table: the ceiling of what keeps everything in memory, and the oracle. Durable is nothing.

use super::{Backend, Cell, Kind, Place, Source, Span, Table};
use crate::harness::generate::{KEY_BYTES, KEY_GROUPS};
use crate::harness::{Outcome, wrong};
use alluvium::{KeyGroup, KeyGroupRange};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::Bound;

type Bytes = Box<[u8]>;
type Ordered = BTreeMap<Bytes, Bytes>;
type Map<V> = hashbrown::HashMap<Bytes, V, foldhash::fast::RandomState>;

/// What a table is here.
#[derive(Debug)]
enum Held {
    Values(Map<Bytes>),
    Lists(usize, Map<Vec<u8>>),
    Maps(Map<Ordered>),
    /// A heap for each key group.
    Queues(Vec<BinaryHeap<Reverse<Bytes>>>),
}

/// The tables.
#[derive(Debug)]
pub struct Hash {
    tables: Vec<Held>,
    key: Vec<u8>,
}

/// The key of a cell: its own bytes where there is no window.
fn key<'a>(cell: &'a Cell, buffer: &'a mut Vec<u8>) -> &'a [u8] {
    if cell.namespace().is_empty() {
        return &cell.op.bytes;
    }
    buffer.clear();
    buffer.extend_from_slice(&cell.op.bytes);
    buffer.extend_from_slice(cell.namespace());
    buffer
}

impl Hash {
    fn values(&mut self, table: Table) -> Outcome<(&mut Map<Bytes>, &mut Vec<u8>)> {
        match &mut self.tables[table] {
            Held::Values(map) => Ok((map, &mut self.key)),
            other => wrong(format!("not a table of values: {other:?}")),
        }
    }

    fn maps(&mut self, table: Table) -> Outcome<(&mut Map<Ordered>, &mut Vec<u8>)> {
        match &mut self.tables[table] {
            Held::Maps(map) => Ok((map, &mut self.key)),
            other => wrong(format!("not a table of maps: {other:?}")),
        }
    }

    fn queue(&mut self, table: Table, group: KeyGroup) -> Outcome<&mut BinaryHeap<Reverse<Bytes>>> {
        match &mut self.tables[table] {
            Held::Queues(queues) => Ok(&mut queues[usize::from(group.0)]),
            other => wrong(format!("not a table of queues: {other:?}")),
        }
    }
}

impl Backend for Hash {
    type Common = Place;

    fn open_common(place: &Place) -> Outcome<Place> {
        Ok(place.clone())
    }

    fn open_half(common: &Place, half: u16) -> Outcome<Self> {
        Self::open(&common.half(half)?)
    }

    fn open(place: &Place) -> Outcome<Self> {
        let held = |kind: &Kind| match kind {
            Kind::Value => Held::Values(Map::default()),
            Kind::List(bytes) => Held::Lists(*bytes, Map::default()),
            Kind::Map => Held::Maps(Map::default()),
            Kind::Queue => Held::Queues((0..KEY_GROUPS).map(|_| BinaryHeap::new()).collect()),
        };
        Ok(Self { tables: place.tables.iter().map(held).collect(), key: Vec::new() })
    }

    fn get<R>(&mut self, table: Table, cell: &Cell, use_it: impl FnOnce(Option<&[u8]>) -> R) -> Outcome<R> {
        let (map, buffer) = self.values(table)?;
        Ok(use_it(map.get(key(cell, buffer)).map(|value| &value[..])))
    }

    fn put(&mut self, table: Table, cell: &Cell, value: &[u8]) -> Outcome {
        self.update(table, cell, |_| Some(value))
    }

    fn delete(&mut self, table: Table, cell: &Cell) -> Outcome {
        let key = key(cell, &mut self.key);
        match &mut self.tables[table] {
            Held::Values(map) => drop(map.remove(key)),
            Held::Lists(_, map) => drop(map.remove(key)),
            other => return wrong(format!("nothing to delete in {other:?}")),
        }
        Ok(())
    }

    #[inline]
    fn update<V: AsRef<[u8]>>(
        &mut self,
        table: Table,
        cell: &Cell,
        change: impl FnOnce(Option<&[u8]>) -> Option<V>,
    ) -> Outcome {
        let (map, buffer) = self.values(table)?;
        let key = key(cell, buffer);
        let Some(held) = map.get_mut(key) else {
            if let Some(new) = change(None) {
                map.insert(key.into(), new.as_ref().into());
            }
            return Ok(());
        };
        match change(Some(held)) {
            Some(new) if new.as_ref().len() == held.len() => held.copy_from_slice(new.as_ref()),
            Some(new) => *held = new.as_ref().into(),
            None => drop(map.remove(key)),
        }
        Ok(())
    }

    fn append(&mut self, table: Table, cell: &Cell, element: &[u8]) -> Outcome {
        self.append_all(table, cell, &[element])
    }

    fn append_all(&mut self, table: Table, cell: &Cell, elements: &[&[u8]]) -> Outcome {
        let Held::Lists(_, map) = &mut self.tables[table] else { return wrong("not a table of lists") };
        let key = key(cell, &mut self.key);
        match map.get_mut(key) {
            Some(list) => elements.iter().for_each(|element| list.extend_from_slice(element)),
            None => drop(map.insert(key.into(), elements.concat())),
        }
        Ok(())
    }

    fn put_list(&mut self, table: Table, cell: &Cell, elements: &[&[u8]]) -> Outcome {
        let Held::Lists(_, map) = &mut self.tables[table] else { return wrong("not a table of lists") };
        let key = key(cell, &mut self.key);
        match map.get_mut(key) {
            Some(list) => *list = elements.concat(),
            None => drop(map.insert(key.into(), elements.concat())),
        }
        Ok(())
    }

    fn list(&mut self, table: Table, cell: &Cell, use_it: impl FnMut(&[u8])) -> Outcome {
        let Held::Lists(bytes, map) = &self.tables[table] else { return wrong("not a table of lists") };
        if let Some(list) = map.get(key(cell, &mut self.key)) {
            list.chunks(*bytes).for_each(use_it);
        }
        Ok(())
    }

    fn map_put(&mut self, table: Table, cell: &Cell, user_key: &[u8], value: &[u8]) -> Outcome {
        let (maps, buffer) = self.maps(table)?;
        let key = key(cell, buffer);
        match maps.get_mut(key) {
            Some(map) => drop(map.insert(user_key.into(), value.into())),
            None => drop(maps.insert(key.into(), BTreeMap::from([(user_key.into(), value.into())]))),
        }
        Ok(())
    }

    fn map_get<R>(
        &mut self,
        table: Table,
        cell: &Cell,
        user_key: &[u8],
        use_it: impl FnOnce(Option<&[u8]>) -> R,
    ) -> Outcome<R> {
        let (maps, buffer) = self.maps(table)?;
        Ok(use_it(maps.get(key(cell, buffer)).and_then(|map| map.get(user_key)).map(|value| &value[..])))
    }

    fn map_delete(&mut self, table: Table, cell: &Cell, user_key: &[u8]) -> Outcome {
        let (maps, buffer) = self.maps(table)?;
        let key = key(cell, buffer);
        if let Some(map) = maps.get_mut(key) {
            map.remove(user_key);
            if map.is_empty() {
                maps.remove(key);
            }
        }
        Ok(())
    }

    fn map_scan(&mut self, table: Table, cell: &Cell, span: Span<'_>, mut visit: impl FnMut(&[u8], &[u8])) -> Outcome {
        let (maps, buffer) = self.maps(table)?;
        let Some(map) = maps.get(key(cell, buffer)) else { return Ok(()) };
        let below = if span.below.is_empty() { Bound::Unbounded } else { Bound::Excluded(span.below) };
        for (user_key, value) in map.range::<[u8], _>((Bound::Included(span.from), below)) {
            visit(user_key, value);
        }
        Ok(())
    }

    fn enqueue(&mut self, table: Table, group: KeyGroup, user_key: &[u8]) -> Outcome {
        self.queue(table, group)?.push(Reverse(user_key.into()));
        Ok(())
    }

    fn dequeue(&mut self, table: Table, group: KeyGroup, below: &[u8], mut visit: impl FnMut(&[u8])) -> Outcome {
        let queue = self.queue(table, group)?;
        while queue.peek().is_some_and(|Reverse(first)| &first[..] < below) {
            if let Some(Reverse(first)) = queue.pop() {
                visit(&first);
            }
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

    fn into_source(self, _: &Place) -> Outcome<Source<Self>> {
        Ok(Source::Memory(self))
    }

    fn rescale(
        sources: Vec<Source<Self>>,
        to: &[(Place, KeyGroupRange)],
        group_of: impl Fn(&[u8]) -> KeyGroup,
    ) -> Outcome<Vec<Self>> {
        let mut stores = to.iter().map(|(place, _)| Self::open(place)).collect::<Outcome<Vec<_>>>()?;
        for source in sources {
            let Source::Memory(source) = source else { return wrong("maps have no checkpoints") };
            for (store, (_, range)) in stores.iter_mut().zip(to) {
                for (from, to) in source.tables.iter().zip(&mut store.tables) {
                    copy(from, to, *range, |key| range.contains(group_of(&key[..KEY_BYTES])))?;
                }
            }
        }
        Ok(stores)
    }

    fn count(&mut self, table: Table) -> Outcome<u64> {
        Ok(self.values(table)?.0.len() as u64)
    }
}

/// Copies what a table has of a range of key groups.
fn copy(from: &Held, to: &mut Held, range: KeyGroupRange, is_in: impl Fn(&[u8]) -> bool) -> Outcome {
    match (from, to) {
        (Held::Values(from), Held::Values(to)) => copy_map(from, to, is_in),
        (Held::Lists(_, from), Held::Lists(_, to)) => copy_map(from, to, is_in),
        (Held::Maps(from), Held::Maps(to)) => copy_map(from, to, is_in),
        (Held::Queues(from), Held::Queues(to)) => {
            let groups = usize::from(range.first())..=usize::from(range.last());
            to[groups.clone()].clone_from_slice(&from[groups]);
        }
        (from, to) => return wrong(format!("{from:?} and {to:?} are different tables")),
    }
    Ok(())
}

fn copy_map<V: Clone>(from: &Map<V>, to: &mut Map<V>, is_in: impl Fn(&[u8]) -> bool) {
    to.extend(from.iter().filter(|(key, _)| is_in(key)).map(|(key, value)| (key.clone(), value.clone())));
}
