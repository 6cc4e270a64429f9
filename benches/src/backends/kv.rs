//! Keyed state over an ordered key-value store, as Flink's RocksDB backend lays it out: key group, key, namespace, user key.
//!
//! Keys have one length, so that nothing has to stand between them. A list is one value that is appended to.

use super::{Backend, Cell, Kind, Place, Source, Span, Table};
use crate::harness::Outcome;
use alluvium::{KeyGroup, KeyGroupRange};
use std::collections::HashMap;

/// Entries that are copied at once: as Flink writes them.
const COPIED: usize = 500;

/// An ordered key-value store with tables.
pub trait Kv: Sized {
    /// Whether there is anything of it once it is closed.
    const IS_DURABLE: bool = true;

    /// As [`Backend::open`].
    fn open(place: &Place) -> Outcome<Self>;

    /// Reads a value.
    fn get<R>(&mut self, table: Table, key: &[u8], use_it: impl FnOnce(Option<&[u8]>) -> R) -> Outcome<R>;

    /// Reads many values.
    fn get_many(&mut self, table: Table, keys: &[Vec<u8>]) -> Outcome<Vec<Option<Vec<u8>>>> {
        keys.iter().map(|key| self.get(table, key, |value| value.map(<[u8]>::to_vec))).collect()
    }

    /// Writes a value.
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Outcome;

    /// Removes a value.
    fn delete(&mut self, table: Table, key: &[u8]) -> Outcome;

    /// Writes many values; `None` removes.
    fn write_many<'a>(&mut self, table: Table, changes: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>) -> Outcome {
        for (key, value) in changes {
            match value {
                Some(value) => self.put(table, key, value)?,
                None => self.delete(table, key)?,
            }
        }
        Ok(())
    }

    /// Appends to a value.
    fn append(&mut self, table: Table, key: &[u8], element: &[u8]) -> Outcome {
        let mut list = self.get(table, key, |list| list.map(<[u8]>::to_vec))?.unwrap_or_default();
        list.extend_from_slice(element);
        self.put(table, key, &list)
    }

    /// Entries from a key on and below another, in order.
    fn scan(&mut self, table: Table, from: &[u8], below: &[u8], visit: impl FnMut(&[u8], &[u8])) -> Outcome;

    /// As [`Backend::begin_checkpoint`].
    fn begin_checkpoint(&mut self) -> Outcome;

    /// As [`Backend::checkpoint_is_complete`].
    fn checkpoint_is_complete(&mut self) -> Outcome<bool> {
        Ok(true)
    }

    /// As [`Backend::keep_to_checkpoints`].
    fn keep_to_checkpoints(&mut self) -> bool {
        false
    }

    /// As [`Backend::close`].
    fn close(self) -> Outcome;

    /// As [`Backend::rescale`]: entry by entry, where the store has nothing better.
    fn rescale(sources: Vec<Source<Self>>, to: &[(Place, KeyGroupRange)]) -> Outcome<Vec<Self>> {
        let mut stores = to.iter().map(|(place, _)| Self::open(place)).collect::<Outcome<Vec<_>>>()?;
        for source in sources {
            let mut source = match source {
                Source::Checkpoint(place) => Self::open(&place)?,
                Source::Memory(store) => store,
            };
            for (store, (place, range)) in stores.iter_mut().zip(to) {
                copy(&mut source, store, place.tables.len(), *range)?;
            }
            source.close()?;
        }
        Ok(stores)
    }
}

/// Copies the entries of a range of key groups.
pub fn copy<K: Kv>(from: &mut K, to: &mut K, tables: usize, range: KeyGroupRange) -> Outcome {
    for table in 0..tables {
        let mut entries: Vec<(Vec<u8>, Vec<u8>)> = Vec::with_capacity(COPIED);
        let mut outcome = Ok(());
        let (first, end) = bounds(range);
        from.scan(table, &first, &end, |key, value| {
            entries.push((key.to_vec(), value.to_vec()));
            if entries.len() == COPIED && outcome.is_ok() {
                outcome = to.write_many(table, entries.iter().map(|(key, value)| (&key[..], Some(&value[..]))));
                entries.clear();
            }
        })?;
        outcome?;
        to.write_many(table, entries.iter().map(|(key, value)| (&key[..], Some(&value[..]))))?;
    }
    Ok(())
}

/// Where the keys of a range of key groups begin, and the first place behind them.
pub fn bounds(range: KeyGroupRange) -> ([u8; 2], [u8; 2]) {
    (range.first().to_be_bytes(), (range.last() + 1).to_be_bytes())
}

/// Keyed state over a key-value store.
#[derive(Debug)]
pub struct Keyed<K> {
    kv: K,
    tables: Vec<Kind>,
    key: Vec<u8>,
    end: Vec<u8>,
    /// Of queues, by table and key group: below this nothing is left. Flink's queues in RocksDB keep such a hint too, or each look
    /// would wade through the tombstones of what has fired.
    fronts: HashMap<(Table, KeyGroup), Vec<u8>>,
}

fn compose(out: &mut Vec<u8>, cell: &Cell, user_key: &[u8]) {
    out.clear();
    out.extend_from_slice(&cell.op.group.0.to_be_bytes());
    out.extend_from_slice(&cell.op.bytes);
    out.extend_from_slice(cell.namespace());
    out.extend_from_slice(user_key);
}

/// Makes a key the first one behind all that begin with it.
fn pass(key: &mut Vec<u8>) {
    while let Some(last) = key.pop() {
        if last < u8::MAX {
            key.push(last + 1);
            return;
        }
    }
}

impl<K> Keyed<K> {
    fn of(kv: K, place: &Place) -> Self {
        Self { kv, tables: place.tables.clone(), key: Vec::new(), end: Vec::new(), fronts: HashMap::new() }
    }
}

impl<K: Kv> Backend for Keyed<K> {
    type Common = Place;

    fn open_common(place: &Place) -> Outcome<Place> {
        Ok(place.clone())
    }

    fn open_half(common: &Place, half: u16) -> Outcome<Self> {
        Self::open(&common.half(half)?)
    }

    fn open(place: &Place) -> Outcome<Self> {
        Ok(Self::of(K::open(place)?, place))
    }

    fn get<R>(&mut self, table: Table, cell: &Cell, use_it: impl FnOnce(Option<&[u8]>) -> R) -> Outcome<R> {
        compose(&mut self.key, cell, &[]);
        self.kv.get(table, &self.key, use_it)
    }

    fn put(&mut self, table: Table, cell: &Cell, value: &[u8]) -> Outcome {
        compose(&mut self.key, cell, &[]);
        self.kv.put(table, &self.key, value)
    }

    fn delete(&mut self, table: Table, cell: &Cell) -> Outcome {
        compose(&mut self.key, cell, &[]);
        self.kv.delete(table, &self.key)
    }

    fn update<V: AsRef<[u8]>>(
        &mut self,
        table: Table,
        cell: &Cell,
        change: impl FnOnce(Option<&[u8]>) -> Option<V>,
    ) -> Outcome {
        compose(&mut self.key, cell, &[]);
        match self.kv.get(table, &self.key, change)? {
            Some(new) => self.kv.put(table, &self.key, new.as_ref()),
            None => self.kv.delete(table, &self.key),
        }
    }

    fn get_many(&mut self, table: Table, cells: &[Cell], mut use_it: impl FnMut(usize, Option<&[u8]>)) -> Outcome {
        let values = self.kv.get_many(table, &composed(cells))?;
        for (index, value) in values.iter().enumerate() {
            use_it(index, value.as_deref());
        }
        Ok(())
    }

    fn update_many<V: AsRef<[u8]>>(
        &mut self,
        table: Table,
        cells: &[Cell],
        mut change: impl FnMut(usize, Option<&[u8]>) -> Option<V>,
    ) -> Outcome {
        let keys = composed(cells);
        let mut values = self.kv.get_many(table, &keys)?;
        // Where each key occurs first: what a later one of the same key changes.
        let mut first = HashMap::<&[u8], usize, foldhash::fast::RandomState>::default();
        for (index, key) in keys.iter().enumerate() {
            let at = *first.entry(key).or_insert(index);
            values[at] = change(index, values[at].as_deref()).map(|new| new.as_ref().to_vec());
        }
        let changes = keys.iter().zip(&values).enumerate();
        let changes = changes.filter(|(index, (key, _))| first.get(&key[..]) == Some(index));
        self.kv.write_many(table, changes.map(|(_, (key, value))| (&key[..], value.as_deref())))
    }

    fn append(&mut self, table: Table, cell: &Cell, element: &[u8]) -> Outcome {
        compose(&mut self.key, cell, &[]);
        self.kv.append(table, &self.key, element)
    }

    fn put_list(&mut self, table: Table, cell: &Cell, elements: &[&[u8]]) -> Outcome {
        compose(&mut self.key, cell, &[]);
        self.kv.put(table, &self.key, &elements.concat())
    }

    fn append_all(&mut self, table: Table, cell: &Cell, elements: &[&[u8]]) -> Outcome {
        compose(&mut self.key, cell, &[]);
        self.kv.append(table, &self.key, &elements.concat())
    }

    fn list(&mut self, table: Table, cell: &Cell, use_it: impl FnMut(&[u8])) -> Outcome {
        compose(&mut self.key, cell, &[]);
        let bytes = match self.tables[table] {
            Kind::List(bytes) => bytes,
            other => return crate::harness::wrong(format!("a table of {other:?} has no lists")),
        };
        self.kv.get(table, &self.key, |list| list.unwrap_or_default().chunks(bytes).for_each(use_it))
    }

    fn map_put(&mut self, table: Table, cell: &Cell, user_key: &[u8], value: &[u8]) -> Outcome {
        compose(&mut self.key, cell, user_key);
        self.kv.put(table, &self.key, value)
    }

    fn map_get<R>(
        &mut self,
        table: Table,
        cell: &Cell,
        user_key: &[u8],
        use_it: impl FnOnce(Option<&[u8]>) -> R,
    ) -> Outcome<R> {
        compose(&mut self.key, cell, user_key);
        self.kv.get(table, &self.key, use_it)
    }

    fn map_delete(&mut self, table: Table, cell: &Cell, user_key: &[u8]) -> Outcome {
        compose(&mut self.key, cell, user_key);
        self.kv.delete(table, &self.key)
    }

    fn map_scan(&mut self, table: Table, cell: &Cell, span: Span<'_>, mut visit: impl FnMut(&[u8], &[u8])) -> Outcome {
        compose(&mut self.key, cell, span.from);
        compose(&mut self.end, cell, span.below);
        if span.below.is_empty() {
            pass(&mut self.end);
        }
        let prefix = self.key.len() - span.from.len();
        self.kv.scan(table, &self.key, &self.end, |key, value| visit(&key[prefix..], value))
    }

    fn enqueue(&mut self, table: Table, group: KeyGroup, user_key: &[u8]) -> Outcome {
        self.key.clear();
        self.key.extend_from_slice(&group.0.to_be_bytes());
        self.key.extend_from_slice(user_key);
        if let Some(front) = self.fronts.get_mut(&(table, group))
            && self.key < *front
        {
            front.clone_from(&self.key);
        }
        self.kv.put(table, &self.key, &[])
    }

    fn dequeue(&mut self, table: Table, group: KeyGroup, below: &[u8], mut visit: impl FnMut(&[u8])) -> Outcome {
        let prefix = group.0.to_be_bytes();
        let end = [&prefix[..], below].concat();
        let mut due = Vec::new();
        let front = self.fronts.entry((table, group)).or_insert_with(|| prefix.to_vec());
        if *front >= end {
            return Ok(());
        }
        let from = std::mem::replace(front, end.clone());
        self.kv.scan(table, &from, &end, |key, _| {
            visit(&key[prefix.len()..]);
            due.push(key.to_vec());
        })?;
        self.kv.write_many(table, due.iter().map(|key| (&key[..], None)))
    }

    fn begin_checkpoint(&mut self) -> Outcome {
        self.kv.begin_checkpoint()
    }

    fn checkpoint_is_complete(&mut self) -> Outcome<bool> {
        self.kv.checkpoint_is_complete()
    }

    fn keep_to_checkpoints(&mut self) -> bool {
        self.kv.keep_to_checkpoints()
    }

    fn close(self) -> Outcome {
        self.kv.close()
    }

    fn into_source(self, place: &Place) -> Outcome<Source<Self>> {
        if !K::IS_DURABLE {
            return Ok(Source::Memory(self));
        }
        self.kv.close()?;
        Ok(Source::Checkpoint(place.clone()))
    }

    fn rescale(
        sources: Vec<Source<Self>>,
        to: &[(Place, KeyGroupRange)],
        _: impl Fn(&[u8]) -> KeyGroup,
    ) -> Outcome<Vec<Self>> {
        let inner = |source| match source {
            Source::Checkpoint(place) => Source::Checkpoint(place),
            Source::Memory(Self { kv, .. }) => Source::Memory(kv),
        };
        let stores = K::rescale(sources.into_iter().map(inner).collect(), to)?;
        let keyed = |(kv, (place, _)): (K, &(Place, _))| Self::of(kv, place);
        Ok(stores.into_iter().zip(to).map(keyed).collect())
    }

    fn count(&mut self, table: Table) -> Outcome<u64> {
        let mut count = 0;
        self.kv.scan(table, &[0; 2], &[u8::MAX; 2], |_, _| count += 1)?;
        Ok(count)
    }
}

fn composed(cells: &[Cell]) -> Vec<Vec<u8>> {
    let key = |cell: &Cell| {
        let mut key = Vec::with_capacity(32);
        compose(&mut key, cell, &[]);
        key
    };
    cells.iter().map(key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::BTree;
    use std::collections::BTreeSet;

    /// A timer may be set below what has fired already, and must fire all the same.
    #[test]
    fn a_queue_gives_what_is_due_whenever_it_was_entered() -> Outcome {
        let place = Place { path: std::path::PathBuf::new(), budget_bytes: 0, tables: vec![Kind::Queue; 2] };
        let mut queues = BTree::open(&place)?;
        let mut model = vec![BTreeSet::<[u8; 2]>::new(); 4];
        let mut state = 7_u32;
        let mut random = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) % below
        };
        for step in 0..20_000_u32 {
            let (table, group) = (random(2) as usize, random(2) as usize);
            let held = &mut model[table * 2 + group];
            // Mostly ahead of what fires, now and then far behind.
            let key = ((step / 8 + random(400)).saturating_sub(100) as u16).to_be_bytes();
            if random(8) > 0 {
                queues.enqueue(table, KeyGroup(group as u16), &key)?;
                held.insert(key);
                continue;
            }
            let mut fired = Vec::new();
            queues.dequeue(table, KeyGroup(group as u16), &key, |timer| fired.push(timer.to_vec()))?;
            let (due, rest) = held.iter().partition(|timer| **timer < key);
            *held = rest;
            let due: BTreeSet<[u8; 2]> = due;
            assert_eq!(fired, due.iter().map(|timer| timer.to_vec()).collect::<Vec<_>>(), "at step {step}");
        }
        Ok(())
    }
}
