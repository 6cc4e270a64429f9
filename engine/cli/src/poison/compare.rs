//! Two stores of the job, entry by entry.

use std::cmp::Ordering;
use std::path::Path;

use alluvium::checkpoint::{Item, Iter};

use super::job::TABLES;
use super::life;
use crate::failure::Outcome;
use crate::job::table::show_hex;

/// How many differences are shown.
const SHOWN: usize = 10;

/// What came of a comparison.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Comparison {
    /// How many entries each of [`TABLES`] has.
    pub entries: [u64; TABLES.len()],
    /// How many entries differ, are missing or too many.
    pub differences: u64,
    /// The first of them, in words.
    pub first: Vec<String>,
}

/// The entries of the job's states; those of the engine's own aren't the job's content.
struct Entries {
    items: Iter,
    next: Option<(usize, Item)>,
}

impl Entries {
    fn new(items: Iter) -> Outcome<Self> {
        let mut entries = Self { items, next: None };
        entries.advance()?;
        Ok(entries)
    }

    fn advance(&mut self) -> Outcome<Option<(usize, Item)>> {
        let table = |item: &Item| TABLES.iter().position(|(_, name)| *name == item.state);
        let next = loop {
            match self.items.next().transpose()? {
                None => break None,
                Some(item) => {
                    if let Some(table) = table(&item) {
                        break Some((table, item));
                    }
                }
            }
        };
        Ok(std::mem::replace(&mut self.next, next))
    }
}

fn order((table, item): &(usize, Item), (other_table, other): &(usize, Item)) -> Ordering {
    let place = |item: &Item| (item.key.clone(), item.namespace.clone(), item.user_key.clone());
    (item.group, table).cmp(&(other.group, other_table)).then_with(|| place(item).cmp(&place(other)))
}

/// Compares everything in the newest checkpoint of a store with that of another, which has what is right.
pub fn compare(found: &Path, expected: &Path, memory_bytes: u64) -> Outcome<Comparison> {
    let engine = life::engine(memory_bytes, 1)?;
    let (found_store, items) = life::contents(&engine, found)?;
    let mut found = Entries::new(items)?;
    let (expected_store, items) = life::contents(&engine, expected)?;
    let mut expected = Entries::new(items)?;
    let mut comparison = Comparison::default();
    loop {
        let order = match (&found.next, &expected.next) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(found), Some(expected)) => order(found, expected),
        };
        let there = if order.is_le() { found.advance()? } else { None };
        let right = if order.is_ge() { expected.advance()? } else { None };
        if let Some((table, _)) = &there {
            comparison.entries[*table] += 1;
        }
        let value = |side: &Option<(usize, Item)>| side.as_ref().map(|(_, item)| item.value.clone());
        if value(&there) != value(&right) {
            comparison.differ(there.as_ref(), right.as_ref());
        }
    }
    drop((found, expected));
    found_store.close()?;
    expected_store.close()?;
    Ok(comparison)
}

impl Comparison {
    fn differ(&mut self, there: Option<&(usize, Item)>, right: Option<&(usize, Item)>) {
        self.differences += 1;
        let Some((_, item)) = there.or(right).filter(|_| self.first.len() < SHOWN) else { return };
        let shown =
            |side: Option<&(usize, Item)>| side.map_or("no entry".to_owned(), |(_, item)| show_hex(&item.value));
        let user_key = item.user_key.as_ref().map_or_else(String::new, |user_key| format!(" {}", show_hex(user_key)));
        let place = format!("{} {} {}{user_key}", item.state, show_hex(&item.key), show_hex(&item.namespace));
        self.first.push(format!("{place}\n    expected  {}\n    found     {}", shown(right), shown(there)));
    }
}
