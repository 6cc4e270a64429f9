//! A [`JobStore`] in a `BTreeMap`, for tests: the simplest thing that can be right.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use alluvium::error::Result;
use alluvium::key::Key;

use super::store::{JobStore, Span};
use super::table::Table;

/// State, key and namespace.
type Place = (Table, Vec<u8>, Vec<u8>);
/// A map's state, key group, key and namespace.
type MapPlace = (Table, u16, Vec<u8>, Vec<u8>);

/// Values, lists and maps by place. A clone is a checkpoint.
#[derive(Clone, Default, Debug)]
pub struct MemoryStore {
    pub values: BTreeMap<Place, Vec<u8>>,
    pub lists: BTreeMap<Place, Vec<Vec<u8>>>,
    pub maps: BTreeMap<MapPlace, BTreeMap<Vec<u8>, Vec<u8>>>,
}

fn place(table: Table, key: Key<'_>) -> Place {
    (table, key.key.to_vec(), key.namespace.to_vec())
}

impl MemoryStore {
    fn map(&mut self, table: Table, key: Key<'_>) -> &mut BTreeMap<Vec<u8>, Vec<u8>> {
        self.maps.entry((table, key.group.0, key.key.to_vec(), key.namespace.to_vec())).or_default()
    }
}

impl JobStore for MemoryStore {
    fn read<R>(&mut self, table: Table, key: Key<'_>, with: impl FnOnce(Option<&[u8]>) -> R) -> Result<R> {
        Ok(with(self.values.get(&place(table, key)).map(Vec::as_slice)))
    }

    fn put(&mut self, table: Table, key: Key<'_>, value: &[u8]) -> Result<()> {
        self.values.insert(place(table, key), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, table: Table, key: Key<'_>) -> Result<()> {
        self.values.remove(&place(table, key));
        self.lists.remove(&place(table, key));
        Ok(())
    }

    fn update<V: AsRef<[u8]>>(
        &mut self,
        table: Table,
        key: Key<'_>,
        with: impl FnOnce(Option<&[u8]>) -> Option<V>,
    ) -> Result<()> {
        match with(self.values.get(&place(table, key)).map(Vec::as_slice)) {
            Some(value) => self.values.insert(place(table, key), value.as_ref().to_vec()),
            None => self.values.remove(&place(table, key)),
        };
        Ok(())
    }

    fn append(&mut self, table: Table, key: Key<'_>, element: &[u8]) -> Result<()> {
        self.lists.entry(place(table, key)).or_default().push(element.to_vec());
        Ok(())
    }

    fn list(&mut self, table: Table, key: Key<'_>) -> Result<Vec<Vec<u8>>> {
        Ok(self.lists.get(&place(table, key)).cloned().unwrap_or_default())
    }

    fn add(&mut self, table: Table, key: Key<'_>, amount: u64) -> Result<()> {
        let sum = self.values.entry(place(table, key)).or_insert_with(|| vec![0; 8]);
        let old = u64::from_le_bytes(sum[..].try_into().unwrap());
        *sum = (old + amount).to_le_bytes().to_vec();
        Ok(())
    }

    fn map_get(&mut self, table: Table, key: Key<'_>, user_key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.map(table, key).get(user_key).cloned())
    }

    fn map_put(&mut self, table: Table, key: Key<'_>, user_key: &[u8], value: &[u8]) -> Result<()> {
        self.map(table, key).insert(user_key.to_vec(), value.to_vec());
        Ok(())
    }

    fn map_delete(&mut self, table: Table, key: Key<'_>, user_key: &[u8]) -> Result<()> {
        self.map(table, key).remove(user_key);
        Ok(())
    }

    fn map_clear(&mut self, table: Table, key: Key<'_>) -> Result<()> {
        self.map(table, key).clear();
        Ok(())
    }

    fn map_scan(
        &mut self,
        table: Table,
        key: Key<'_>,
        span: Span<'_>,
        mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<()> {
        let owned = |bound: Bound<&[u8]>| bound.map(<[u8]>::to_vec);
        let mut range = self.map(table, key).range((owned(span.from), owned(span.to)));
        while let Some((user_key, value)) = if span.reverse { range.next_back() } else { range.next() } {
            if visit(user_key, value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn map_first(&mut self, table: Table, key: Key<'_>) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        Ok(self.map(table, key).first_key_value().map(|(user_key, value)| (user_key.clone(), value.clone())))
    }

    fn map_pop_first(&mut self, table: Table, key: Key<'_>) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        Ok(self.map(table, key).pop_first())
    }
}
