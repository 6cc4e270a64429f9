//! The comparison finds whatever differs, wherever it is.

use super::compare::{Comparison, OwnedRow, Source};
use super::row::Row;
use super::{check, expect};
use crate::failure::Outcome;
use crate::input::Replay;
use crate::job::table::Table;
use crate::oracle::Oracle;

/// What a store could hold: any rows, sorted by key group.
struct Rows {
    rows: Vec<OwnedRow>,
    next: usize,
}

impl Source for Rows {
    fn next_row(&mut self) -> Outcome<Option<OwnedRow>> {
        self.next += 1;
        Ok(self.rows.get(self.next - 1).cloned())
    }

    fn value_at(&mut self, row: &Row<'_>) -> Outcome<Option<Vec<u8>>> {
        let found = self.rows.iter().find(|found| Row { value: row.value, ..found.as_row() } == *row);
        Ok(found.map(|found| found.value.clone()))
    }
}

const PERIODS: u16 = 3;

fn right_rows(replay: &Replay) -> Vec<OwnedRow> {
    let oracle = Oracle::new(replay, PERIODS);
    let mut rows = Vec::new();
    let mut keep = |row: Row<'_>| {
        rows.push(OwnedRow {
            group: row.group,
            table: row.table,
            key: row.key.to_vec(),
            namespace: row.namespace.to_vec(),
            user_key: row.user_key.map(<[u8]>::to_vec),
            value: row.value.to_vec(),
        });
    };
    (0..PERIODS).for_each(|period| oracle.period(period, &mut keep));
    oracle.all_periods(&mut keep);
    rows.sort_by_key(|row| row.group);
    rows
}

fn compare(replay: &Replay, rows: Vec<OwnedRow>) -> Comparison {
    let directory = tempfile::tempdir().unwrap();
    let writers = expect(replay, PERIODS, directory.path()).unwrap();
    check(&mut Rows { rows, next: 0 }, directory.path(), writers).unwrap()
}

#[test]
fn nothing_differs_where_all_is_right() {
    let replay = Replay::embedded_head(60).unwrap();
    let rows = right_rows(&replay);
    let found = compare(&replay, rows.clone());
    assert_eq!((found.differences, &found.first[..]), (0, &[][..]));
    assert_eq!(found.tables.iter().map(|table| table.rows).sum::<u64>(), rows.len() as u64);
    assert!(found.point_reads >= rows.len() as u64 / 64);
    assert!(found.state_bytes() > 0);
}

#[test]
fn wrong_missing_and_surplus_entries_are_found() {
    let replay = Replay::embedded_head(60).unwrap();
    let right = right_rows(&replay);
    let carrier = right.iter().position(|row| row.table == Table::Carriers).unwrap();

    let mut wrong = right.clone();
    wrong[carrier].value[0] ^= 1;
    let found = compare(&replay, wrong);
    assert_eq!(found.differences, 1);
    let first = &found.first[0];
    assert!(first.place.starts_with("carriers period="), "{first:?}");
    assert!(first.expected.as_deref().unwrap().starts_with("flights="), "{first:?}");
    assert_ne!(first.expected, first.found);

    let mut missing = right.clone();
    missing.remove(carrier);
    let found = compare(&replay, missing);
    assert_eq!((found.differences, found.first[0].found.as_deref()), (1, None));

    let mut surplus = right.clone();
    surplus.insert(carrier, right[carrier].clone());
    let found = compare(&replay, surplus);
    assert_eq!((found.differences, found.first[0].expected.as_deref()), (1, None));

    let mut moved = right.clone();
    moved[carrier].group.0 ^= 1;
    moved.sort_by_key(|row| row.group);
    assert_eq!(compare(&replay, moved).differences, 2, "missing in one key group, surplus in the other");

    let found = compare(&replay, Vec::new());
    assert_eq!((found.differences, found.first.len()), (right.len() as u64, 10));
}
