//! The comparison: what a store holds against what is expected, entry by entry.

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::row::Row;
use super::spill;
use crate::failure::Outcome;
use crate::job::table::{KEY_GROUPS, TABLES};

/// How many differences are shown.
pub const DIFFERENCES_SHOWN: usize = 10;
/// One entry in so many is also read by its key.
const POINT_READ_EVERY: u64 = 64;

/// An entry that a [`Source`] owns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnedRow {
    /// See [`Row`].
    pub group: alluvium::KeyGroup,
    /// See [`Row`].
    pub table: crate::job::table::Table,
    /// See [`Row`].
    pub key: Vec<u8>,
    /// See [`Row`].
    pub namespace: Vec<u8>,
    /// See [`Row`].
    pub user_key: Option<Vec<u8>>,
    /// See [`Row`].
    pub value: Vec<u8>,
}

impl OwnedRow {
    /// The entry, borrowed.
    pub fn as_row(&self) -> Row<'_> {
        Row {
            group: self.group,
            table: self.table,
            key: &self.key,
            namespace: &self.namespace,
            user_key: self.user_key.as_deref(),
            value: &self.value,
        }
    }
}

/// Everything that a store holds.
pub trait Source {
    /// The next entry, in the order of key groups; `None` at the end.
    fn next_row(&mut self) -> Outcome<Option<OwnedRow>>;

    /// The value that is found under an entry's key.
    fn value_at(&mut self, row: &Row<'_>) -> Outcome<Option<Vec<u8>>>;
}

/// What one state holds.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct TableCount {
    /// Its entries.
    pub rows: u64,
    /// The bytes of their keys, namespaces, user keys and values.
    pub bytes: u64,
}

/// An entry that isn't as expected.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Difference {
    /// State, key, namespace, user key.
    pub place: String,
    /// What the independent computation says; `None`: no such entry.
    pub expected: Option<String>,
    /// What the store holds; `None`: no such entry.
    pub found: Option<String>,
}

/// What came of a comparison.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Comparison {
    /// What was found in each state, in the order of [`TABLES`].
    pub tables: Vec<TableCount>,
    /// How many entries were also read by key.
    pub point_reads: u64,
    /// How many entries differ, are missing or too many.
    pub differences: u64,
    /// The first of them.
    pub first: Vec<Difference>,
}

impl Comparison {
    /// The bytes of all states.
    pub fn state_bytes(&self) -> u64 {
        self.tables.iter().map(|table| table.bytes).sum()
    }

    fn differ(&mut self, row: &Row<'_>, expected: Option<&[u8]>, found: Option<&[u8]>, how: &str) {
        self.differences += 1;
        if self.first.len() < DIFFERENCES_SHOWN {
            let show = |value: Option<&[u8]>| value.map(|value| row.show_value(value));
            let place = format!("{}{how}", row.show_place());
            self.first.push(Difference { place, expected: show(expected), found: show(found) });
        }
    }

    fn count(&mut self, row: &Row<'_>) -> u64 {
        let bytes = row.key.len() + row.namespace.len() + row.user_key.map_or(0, <[u8]>::len) + row.value.len();
        let table = &mut self.tables[row.table as usize];
        table.rows += 1;
        table.bytes += bytes as u64;
        table.rows
    }
}

/// Compares a store with the entries that `writers` writers spilled into `expected`.
pub fn compare(source: &mut impl Source, expected: &Path, writers: usize) -> Outcome<Comparison> {
    let mut comparison = Comparison { tables: vec![TableCount::default(); TABLES.len()], ..Comparison::default() };
    let mut next = source.next_row()?;
    for group in 0..KEY_GROUPS as usize {
        let bytes = spill::load(expected, group, writers)?;
        let mut waiting: HashMap<&[u8], &[u8]> = spill::entries(&bytes).collect();
        let mut place = Vec::new();
        while let Some(found) = next.take_if(|row| usize::from(row.group.0) <= group) {
            compare_row(source, &found.as_row(), &mut waiting, &mut place, &mut comparison)?;
            next = source.next_row()?;
        }
        let mut missing: Vec<(&[u8], &[u8])> = waiting.into_iter().collect();
        missing.sort_unstable();
        for (place, value) in missing {
            if let Some(row) = spill::row_at(group, place, value) {
                comparison.differ(&row, Some(value), None, "");
            }
        }
    }
    while let Some(found) = next {
        comparison.differ(&found.as_row(), None, Some(&found.value), " (outside the key groups)");
        next = source.next_row()?;
    }
    Ok(comparison)
}

fn compare_row(
    source: &mut impl Source,
    found: &Row<'_>,
    waiting: &mut HashMap<&[u8], &[u8]>,
    place: &mut Vec<u8>,
    comparison: &mut Comparison,
) -> Outcome<()> {
    let number = comparison.count(found);
    place.clear();
    spill::push_place(place, found);
    let expected = waiting.remove(&place[..]);
    if expected != Some(found.value) {
        comparison.differ(found, expected, Some(found.value), "");
    }
    if number % POINT_READ_EVERY == 1 {
        comparison.point_reads += 1;
        let read = source.value_at(found)?;
        if read.as_deref() != Some(found.value) {
            comparison.differ(found, Some(found.value), read.as_deref(), " (read by key, expected from the scan)");
        }
    }
    Ok(())
}
