//! `state-ops`: single operations of values, lists and maps, of the shapes of Flink's own benchmarks of state (flink-benchmarks):
//! 500,000 keys, values of 8 bytes, lists of 100 elements, maps of 10 entries.
//!
//! Some of Flink's are one here: an engine has one way to write a value that is new (`ValueAdd`) and one to go through a map (`MapIterate`,
//! for its keys, values, entries and iterator). What Flink calls `listAdd` is `ListUpdate`; `ListAdd` is its `listAppend`.

use super::{Answers, Workload};
use crate::backends::{Backend, Cell, Kind, Span};
use crate::harness::generate::{KEY_BYTES, Op, Random, value};
use crate::harness::{Outcome, wrong};

/// An operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    ValueGet,
    ValueUpdate,
    ValueAdd,
    ListAdd,
    /// Many elements at once.
    ListAddAll,
    ListUpdate,
    ListGet,
    MapPut,
    /// To a map that is new.
    MapAdd,
    /// All entries of a map, one after the other.
    MapPutAll,
    MapGet,
    /// Half of them are there.
    MapContains,
    MapIsEmpty,
    MapIterate,
    /// All of a map of a hundred entries, of which each counts as an operation.
    MapScan,
    /// Most of them are gone already.
    MapRemove,
    MapRemoveAndPut,
}

impl What {
    /// Bytes of key, user key and value that one of them writes.
    fn written_bytes(self) -> u64 {
        let bytes = match self {
            Self::ValueGet | Self::ListGet | Self::MapGet | Self::MapContains | Self::MapIsEmpty => 0,
            Self::MapIterate | Self::MapScan => 0,
            Self::ValueUpdate | Self::ValueAdd | Self::ListAdd => KEY_BYTES + 8,
            Self::ListAddAll | Self::ListUpdate => KEY_BYTES + 8 * LIST_ELEMENTS as usize,
            Self::MapRemove => KEY_BYTES + 8,
            Self::MapPut | Self::MapAdd | Self::MapRemoveAndPut => ENTRY_BYTES,
            Self::MapPutAll => ENTRY_BYTES * MAP_ENTRIES as usize,
        };
        bytes as u64
    }
}

const LIST_ELEMENTS: u64 = 100;
const MAP_ENTRIES: u64 = 10;
/// Of [`What::MapScan`].
pub const SCANNED_ENTRIES: u64 = 100;
/// Of an entry: key, user key and value.
const ENTRY_BYTES: usize = KEY_BYTES + 8 + 8;
/// An eighth of the keys have lists and maps where there are many of these.
const KEYS_WITH_MORE: u64 = 8;

const VALUES: usize = 0;
const LISTS: usize = 1;
const MAPS: usize = 2;

/// The workload.
#[derive(Debug)]
pub struct StateOps {
    what: What,
    keys: u64,
    events: u64,
    random: Random,
    done: u64,
    added: u64,
    /// Of `MapRemove`: a bit for each entry of each map that is gone.
    removed: Vec<u16>,
}

/// Bytes that don't compress.
fn value_of(i: u64, version: u64) -> [u8; 8] {
    let mut bytes = [0; 8];
    value(i, version, &mut bytes);
    bytes
}

/// A key, and which of its map's entries.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    number: u64,
    op: Op,
    entry: u64,
}

impl StateOps {
    pub fn new(what: What, keys: u64, events: u64, seed: u64) -> Self {
        let removed = vec![0; if what == What::MapRemove { keys / KEYS_WITH_MORE } else { 0 } as usize];
        Self { what, keys, events, random: Random::new(seed), done: 0, added: 0, removed }
    }

    fn table(&self) -> usize {
        match self.what {
            What::ValueGet | What::ValueUpdate | What::ValueAdd => VALUES,
            What::ListAdd | What::ListAddAll | What::ListUpdate | What::ListGet => LISTS,
            _ => MAPS,
        }
    }

    /// How many keys have what the operation is about.
    fn loaded(&self) -> u64 {
        let has_all = self.table() == VALUES || matches!(self.what, What::ListAdd | What::MapScan);
        if has_all { self.keys } else { self.keys / KEYS_WITH_MORE }
    }

    fn map_entries(&self) -> u64 {
        if self.what == What::MapScan { SCANNED_ENTRIES } else { MAP_ENTRIES }
    }

    /// Maps that grew at the same time, so that the entries of one don't lie together.
    fn load_scanned<B: Backend>(&self, backend: &mut B) -> Outcome {
        for entry in 0..SCANNED_ENTRIES {
            for i in 0..self.loaded() {
                backend.map_put(MAPS, &Cell::of(Op::of(i)), &entry.to_be_bytes(), &value_of(i, entry))?;
            }
        }
        Ok(())
    }
}

/// The elements of a list of 100.
fn elements_of(i: u64, version: u64) -> Vec<[u8; 8]> {
    (0..LIST_ELEMENTS).map(|element| value_of(i, version + element)).collect()
}

/// All of a list. Where an element stands is part of the answer.
fn see_list<B: Backend>(backend: &mut B, cell: &Cell, tag: u64, answers: &mut Answers) -> Outcome {
    let mut tag = tag << 20;
    backend.list(LISTS, cell, |element| {
        answers.see(tag, Some(element));
        tag += 1;
    })
}

/// All of a map, as [`see_list`].
fn see_map<B: Backend>(backend: &mut B, cell: &Cell, tag: u64, answers: &mut Answers) -> Outcome {
    let mut tag = tag << 20;
    backend.map_scan(MAPS, cell, Span::ALL, |user_key, value| {
        answers.see_entry(tag, user_key, value);
        tag += 1;
    })
}

/// Reads the first entry of a map, if there is one.
fn see_first<B: Backend>(backend: &mut B, cell: &Cell, tag: u64, answers: &mut Answers) -> Outcome {
    let first = Span { from: &[], below: &1_u64.to_be_bytes() };
    let mut is_empty = true;
    backend.map_scan(MAPS, cell, first, |_, _| is_empty = false)?;
    answers.see(tag, Some(&[u8::from(is_empty)]));
    Ok(())
}

/// An entry that is removed is gone. Events put it back at once, or remove it again, where nobody would see that it wasn't; this one
/// looks, and leaves it as it was.
fn check_remove<B: Backend>(backend: &mut B, cell: &Cell) -> Outcome {
    let user_key = 0_u64.to_be_bytes();
    let entry = backend.map_get(MAPS, cell, &user_key, |value| value.map(<[u8]>::to_vec))?;
    if entry.is_none() {
        backend.map_put(MAPS, cell, &user_key, &cell.op.bytes[..8])?;
    }
    backend.map_delete(MAPS, cell, &user_key)?;
    if backend.map_get(MAPS, cell, &user_key, |value| value.is_some())? {
        return wrong(format!("an entry is there after it was removed: {cell:?}"));
    }
    entry.map_or(Ok(()), |entry| backend.map_put(MAPS, cell, &user_key, &entry))
}

impl StateOps {
    #[inline]
    fn one<B: Backend>(&mut self, backend: &mut B, event: &Event, answers: &mut Answers) -> Outcome {
        let (tag, cell) = (self.done, Cell::of(event.op));
        let (value, entry) = (value_of(tag, MAP_ENTRIES + LIST_ELEMENTS), event.entry.to_be_bytes());
        match self.what {
            What::ValueGet => backend.get(VALUES, &cell, |value| answers.see(tag, value)),
            What::ValueUpdate | What::ValueAdd => backend.put(VALUES, &cell, &value),
            What::ListAdd => backend.append(LISTS, &cell, &value),
            What::ListAddAll | What::ListUpdate => {
                let elements = elements_of(tag, LIST_ELEMENTS);
                let elements: Vec<&[u8]> = elements.iter().map(|element| &element[..]).collect();
                if self.what == What::ListUpdate {
                    backend.put_list(LISTS, &cell, &elements)
                } else {
                    backend.append_all(LISTS, &cell, &elements)
                }
            }
            What::ListGet => see_list(backend, &cell, tag, answers),
            What::MapPut | What::MapAdd => backend.map_put(MAPS, &cell, &entry, &value),
            What::MapPutAll => {
                answers.did(MAP_ENTRIES - 1);
                (0..MAP_ENTRIES).try_for_each(|entry| {
                    let value = value_of(tag, MAP_ENTRIES + LIST_ELEMENTS + entry);
                    backend.map_put(MAPS, &cell, &entry.to_be_bytes(), &value)
                })
            }
            What::MapGet => backend.map_get(MAPS, &cell, &entry, |value| answers.see(tag, value)),
            What::MapContains => {
                let entry = (event.entry * 2).to_be_bytes();
                let is_there = backend.map_get(MAPS, &cell, &entry, |value| value.is_some())?;
                answers.see(tag, Some(&[u8::from(is_there)]));
                Ok(())
            }
            What::MapIsEmpty => see_first(backend, &cell, tag, answers),
            What::MapIterate => see_map(backend, &cell, tag, answers),
            What::MapScan => {
                answers.did(SCANNED_ENTRIES - 1);
                see_map(backend, &cell, tag, answers)
            }
            What::MapRemove => {
                self.removed[event.number as usize] |= 1 << event.entry;
                backend.map_delete(MAPS, &cell, &entry)
            }
            What::MapRemoveAndPut => {
                answers.did(1);
                backend.map_delete(MAPS, &cell, &entry)?;
                backend.map_put(MAPS, &cell, &entry, &value)
            }
        }
    }
}

impl Workload for StateOps {
    type Event = Event;

    fn tables(&self) -> Vec<Kind> {
        vec![Kind::Value, Kind::List(8), Kind::Map]
    }

    fn events(&self) -> u64 {
        self.events
    }

    fn load<B: Backend>(&mut self, backend: &mut B, answers: &mut Answers) -> Outcome {
        answers.wrote(self.live_bytes());
        if self.what == What::MapScan {
            return self.load_scanned(backend);
        }
        for i in 0..self.loaded() {
            let cell = Cell::of(Op::of(i));
            match self.what {
                What::ListAdd | What::ListAddAll => {}
                What::ListGet | What::ListUpdate => {
                    for element in 0..LIST_ELEMENTS {
                        backend.append(LISTS, &cell, &value_of(i, element))?;
                    }
                }
                _ if self.table() == MAPS => {
                    for entry in 0..MAP_ENTRIES {
                        backend.map_put(MAPS, &cell, &entry.to_be_bytes(), &value_of(i, entry))?;
                    }
                }
                _ => backend.put(VALUES, &cell, &value_of(i, 0))?,
            }
        }
        Ok(())
    }

    fn generate(&mut self, count: usize, out: &mut Vec<Event>) {
        for _ in 0..count {
            let number = match self.what {
                What::ValueAdd | What::MapAdd => {
                    self.added += 1;
                    self.loaded() + self.added
                }
                _ => self.random.below(self.loaded()),
            };
            out.push(Event { number, op: Op::of(number), entry: self.random.below(MAP_ENTRIES) });
        }
    }

    fn process<B: Backend>(&mut self, backend: &mut B, events: &[Event], answers: &mut Answers) -> Outcome {
        for event in events {
            self.done += 1;
            self.one(backend, event, answers)?;
            answers.did(1);
            answers.wrote(self.what.written_bytes());
        }
        Ok(())
    }

    fn check<B: Backend>(&mut self, backend: &mut B, answers: &mut Answers) -> Outcome {
        for i in (0..self.loaded() + self.added / 64).step_by((self.loaded() / 300).max(1) as usize) {
            let cell = Cell::of(Op::of(i));
            match self.table() {
                VALUES => backend.get(VALUES, &cell, |value| answers.see(i, value))?,
                LISTS => see_list(backend, &cell, i, answers)?,
                _ => see_map(backend, &cell, i, answers)?,
            }
            if matches!(self.what, What::MapRemove | What::MapRemoveAndPut) {
                check_remove(backend, &cell)?;
            }
        }
        Ok(())
    }

    fn live_bytes(&self) -> u64 {
        match self.table() {
            VALUES => (self.keys + self.added) * (KEY_BYTES + 8) as u64,
            LISTS if self.what == What::ListAdd => (self.done * 8) + self.keys.min(self.done) * KEY_BYTES as u64,
            LISTS if self.what == What::ListAddAll => {
                self.done * LIST_ELEMENTS * 8 + self.loaded().min(self.done) * KEY_BYTES as u64
            }
            LISTS => self.loaded() * (KEY_BYTES as u64 + LIST_ELEMENTS * 8),
            _ => {
                let removed: u64 = self.removed.iter().map(|entries| u64::from(entries.count_ones())).sum();
                (self.loaded() * self.map_entries() + self.added - removed) * ENTRY_BYTES as u64
            }
        }
    }
}
