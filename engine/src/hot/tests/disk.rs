//! What lies on disk in the tests, kept as a store would read it back; and a flusher that fills it.

use crate::hot::Hot;
use crate::hot::Sealed;
use crate::hot::record::{
    BASE, CHAIN, DEAD, ENTRY, ENTRY_TOMBSTONE, EXPIRY, NAMESPACE, ROOT, Record, TOMBSTONE, VALUE,
};
use crate::platform::arena::{Arena, Ref};
use crate::spans::Encoded;
use std::collections::{BTreeMap, BTreeSet};

/// The states of the tests.
pub const CELLS: u16 = 0;
pub const LISTS: u16 = 1;
pub const MAPS: u16 = 2;

/// Key group, key area, whether it ends in a namespace.
pub type Address = (u16, Vec<u8>, bool);
/// A value and its expiry.
pub type Item = (Vec<u8>, Option<u64>);

/// The contents of a store: what the model says, and what is on disk.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Content {
    pub cells: BTreeMap<Address, Item>,
    /// The elements of a list, one after another.
    pub lists: BTreeMap<Address, Item>,
    pub maps: BTreeMap<(Address, Vec<u8>), Item>,
}

impl Content {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Compares with what it should be, table by table.
    pub fn check(&self, other: &Self, epoch: u32) {
        assert!(self.cells.keys().eq(other.cells.keys()), "the cells of epoch {epoch}");
        assert!(self.lists.keys().eq(other.lists.keys()), "the lists of epoch {epoch}");
        assert!(self.maps.keys().eq(other.maps.keys()), "the maps of epoch {epoch}");
        self.cells.iter().for_each(|(key, item)| same(key, Some(item), other.cells.get(key)));
        self.lists.iter().for_each(|(key, item)| same(key, Some(item), other.lists.get(key)));
        self.maps.iter().for_each(|(key, item)| same(key, Some(item), other.maps.get(key)));
    }

    pub fn clear_map(&mut self, address: &Address) {
        self.delete_range(address, &[], None);
    }

    pub fn delete_range(&mut self, address: &Address, from: &[u8], to: Option<&[u8]>) {
        let is_in = |key: &[u8]| key >= from && to.is_none_or(|to| key < to);
        self.maps.retain(|(container, key), _| container != address || !is_in(key));
    }

    pub fn append(&mut self, address: &Address, element: &[u8], expiry_ms: Option<u64>) {
        let list = self.lists.entry(address.clone()).or_default();
        list.0.extend_from_slice(element);
        list.1 = expiry_ms;
    }
}

/// Compares two values; says how they differ in a few words.
pub fn same(key: &impl std::fmt::Debug, found: Option<&Item>, expected: Option<&Item>) {
    let brief = |item: Option<&Item>| {
        item.map(|(value, expiry_ms)| (value.len(), value[..value.len().min(8)].to_vec(), *expiry_ms))
    };
    assert!(found == expected, "{key:?}: found {:?}, expected {:?}", brief(found), brief(expected));
}

fn item(arena: &Arena, record: Record) -> Item {
    let mut value = Vec::new();
    let copied = Record::copy(arena, record.at, &mut value);
    assert!(copied.is_some(), "nobody changes a sealed record");
    (value, record.has(EXPIRY).then(|| record.expiry_ms(arena).unwrap()))
}

fn address(arena: &Arena, group: u16, record: Record) -> Address {
    (group, record.area(arena).to_vec(), record.has(NAMESPACE))
}

/// Writes a sealed epoch to `disk`, as a flusher does.
pub fn flush(hot: &Hot, sealed: &Sealed, disk: &mut Content) {
    let arena = hot.arena();
    let mut keys = BTreeSet::new();
    let mut entries = Vec::new();
    for from in (0..sealed.tables.len()).step_by(2) {
        for (state, group, list) in hot.sealed_lists(sealed, from, 2) {
            list.for_each(arena, |at| {
                let record = Record::load(arena, at);
                if record.kind() == DEAD {
                    return;
                }
                assert_eq!(record.stamp(arena), sealed.epoch, "a sealed record keeps its stamp");
                if matches!(record.kind(), ENTRY | ENTRY_TOMBSTONE) {
                    if !sealed.cut_off.has(record.link(arena), record.area(arena)) {
                        entries.push((group, record));
                    }
                    return;
                }
                let address = address(arena, group, record);
                assert!(keys.insert((state, address.clone(), None)), "{address:?} twice in an epoch");
                write_cell(arena, state, &address, record, disk);
            });
        }
    }
    // A clear masks what is older than its epoch, so it comes before the epoch's entries.
    for (group, record) in entries {
        let container = Record::load(arena, record.link(arena) as Ref);
        assert_eq!(container.kind(), ROOT, "a sealed entry leads to its container");
        let address = address(arena, group, container);
        let user_key = record.area(arena).to_vec();
        assert!(keys.insert((MAPS, address.clone(), Some(user_key.clone()))), "{address:?} {user_key:?} twice");
        match record.kind() {
            ENTRY => disk.maps.insert((address, user_key), item(arena, record)),
            _ => disk.maps.remove(&(address, user_key)),
        };
    }
}

fn write_cell(arena: &Arena, state: u16, address: &Address, record: Record, disk: &mut Content) {
    match (state, record.kind()) {
        (CELLS, VALUE) => drop(disk.cells.insert(address.clone(), item(arena, record))),
        (CELLS, TOMBSTONE) => drop(disk.cells.remove(address)),
        (LISTS, CHAIN) if !record.has(BASE) => {
            let (elements, expiry_ms) = item(arena, record);
            disk.append(address, &elements, expiry_ms);
        }
        (LISTS, VALUE | CHAIN) => drop(disk.lists.insert(address.clone(), item(arena, record))),
        (LISTS, TOMBSTONE) => drop(disk.lists.remove(address)),
        (MAPS, TOMBSTONE) => {
            let epoch = record.stamp(arena);
            for span in Encoded::numbered(&item(arena, record).0).filter(|span| span.number == epoch) {
                disk.delete_range(address, span.from, span.to);
            }
        }
        (state, kind) => panic!("kind {kind} in a dirty list of state {state}"),
    }
}
