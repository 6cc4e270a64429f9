//! A `BTreeMap` for each table: the ceiling of ordered ones in memory. Durable is nothing.

use super::kv::Kv;
use super::{Place, Table};
use crate::harness::Outcome;
use std::collections::BTreeMap;
use std::ops::Bound;

/// The tables.
#[derive(Debug)]
pub struct BTree {
    tables: Vec<BTreeMap<Box<[u8]>, Vec<u8>>>,
}

impl Kv for BTree {
    const IS_DURABLE: bool = false;

    fn open(place: &Place) -> Outcome<Self> {
        Ok(Self { tables: place.tables.iter().map(|_| BTreeMap::new()).collect() })
    }

    fn get<R>(&mut self, table: Table, key: &[u8], use_it: impl FnOnce(Option<&[u8]>) -> R) -> Outcome<R> {
        Ok(use_it(self.tables[table].get(key).map(|value| &value[..])))
    }

    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Outcome {
        match self.tables[table].get_mut(key) {
            Some(held) => {
                held.clear();
                held.extend_from_slice(value);
            }
            None => drop(self.tables[table].insert(key.into(), value.to_vec())),
        }
        Ok(())
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Outcome {
        self.tables[table].remove(key);
        Ok(())
    }

    fn append(&mut self, table: Table, key: &[u8], element: &[u8]) -> Outcome {
        match self.tables[table].get_mut(key) {
            Some(held) => held.extend_from_slice(element),
            None => drop(self.tables[table].insert(key.into(), element.to_vec())),
        }
        Ok(())
    }

    fn scan(&mut self, table: Table, from: &[u8], below: &[u8], mut visit: impl FnMut(&[u8], &[u8])) -> Outcome {
        for (key, value) in self.tables[table].range::<[u8], _>((Bound::Included(from), Bound::Excluded(below))) {
            visit(key, value);
        }
        Ok(())
    }

    fn begin_checkpoint(&mut self) -> Outcome {
        Ok(())
    }

    fn close(self) -> Outcome {
        Ok(())
    }
}
