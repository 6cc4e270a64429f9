//! Of queues: far puts, what is loaded of fronts, and what both are charged for.

use super::{Bytes, Scene, each_refusal, value};
use crate::cursor::Cursor;
use crate::ids::KeyGroup;
use crate::key::Key;
use crate::options::{Durability, StoreOptions};
use crate::packed::Packed;
use crate::scan::MapRange;
use crate::states::StateOptions;
use crate::store::State;
use crate::writer::Writer;
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

type Queue = BTreeMap<u64, Bytes>;

/// The queue of each turn is another one.
struct Turn {
    state: State,
    name: [u8; 4],
    model: Queue,
}

type Operate = fn(&mut Writer, &mut Turn);

/// So many were there before the first was popped: more than are loaded at once.
const COUNT: u64 = 160;
/// And so many were popped.
const POPPED: u64 = 5;
/// From here on are far puts.
const FAR: u64 = 1_000;
/// So many queues are filled together.
const AT_ONCE: u32 = 32;

impl Turn {
    fn key(&self) -> Key<'_> {
        Key::new(KeyGroup(0), &self.name)
    }

    fn put(&mut self, writer: &mut Writer, entry: u64, value: Bytes) {
        writer.map_put(self.state, self.key(), &entry.to_be_bytes(), &value).unwrap();
        self.model.insert(entry, value);
    }

    fn delete(&mut self, writer: &mut Writer, entry: u64) {
        writer.map_delete(self.state, self.key(), &entry.to_be_bytes()).unwrap();
        self.model.remove(&entry);
    }

    fn delete_range(&mut self, writer: &mut Writer, from: u64, to: u64) {
        let ends = [from, to].map(u64::to_be_bytes);
        let range = MapRange::between(Bound::Included(&ends[0]), Bound::Excluded(&ends[1]));
        writer.map_delete_range(self.state, self.key(), &range).unwrap();
        self.model.retain(|entry, _| !(from..to).contains(entry));
    }

    fn pop_first(&mut self, writer: &mut Writer) {
        let popped = writer.map_pop_first(self.state, self.key()).unwrap();
        let first = self.model.pop_first();
        assert_eq!(popped, first.map(|(entry, value)| (entry.to_be_bytes().to_vec(), value)), "what was popped");
    }

    fn pop_below(&mut self, writer: &mut Writer, to: u64) {
        let mut popped = Vec::new();
        let take = |entry: &[u8], value: &[u8]| popped.push((number(entry), value.to_vec()));
        writer.map_pop_below(self.state, self.key(), &to.to_be_bytes(), take).unwrap();
        let rest = self.model.split_off(&to);
        let due: Vec<(u64, Bytes)> = std::mem::replace(&mut self.model, rest).into_iter().collect();
        assert!(popped == due, "what was popped: {:?}, {:?}", entries(&popped), entries(&due));
    }

    fn scan(&self, writer: &mut Writer, range: &MapRange<'_>, reversed: bool) {
        let mut seen = Vec::new();
        let visit = |entry: &[u8], value: &[u8]| {
            seen.push((number(entry), value.to_vec()));
            ControlFlow::Continue(())
        };
        writer.map_scan(self.state, self.key(), range, visit).unwrap();
        if reversed {
            seen.reverse();
        }
        self.check(&seen);
    }

    fn check(&self, seen: &[(u64, Bytes)]) {
        let all: Vec<(u64, Bytes)> = self.model.iter().map(|(&entry, value)| (entry, value.clone())).collect();
        assert!(seen == all, "what there is: {:?}, {:?}", entries(seen), entries(&all));
    }

    fn fetch(&self, writer: &mut Writer, out: &mut Packed, seen: &mut Vec<(u64, Bytes)>, cursor: &mut Cursor) -> bool {
        let more = writer.fetch(cursor, out).unwrap();
        seen.extend(out.iter().map(|found| (number(found.user_key), found.value.to_vec())).filter(|_| more));
        more
    }
}

fn number(entry: &[u8]) -> u64 {
    u64::from_be_bytes(entry.try_into().unwrap())
}

fn entries(all: &[(u64, Bytes)]) -> Vec<u64> {
    all.iter().map(|(entry, _)| *entry).collect()
}

const OPERATIONS: &[(&str, Operate)] = &[
    ("a far put", |writer, turn| turn.put(writer, FAR + 7, value(1))),
    ("a far put again", |writer, turn| turn.put(writer, FAR + 2, value(2))),
    ("a far put that is too long", |writer, turn| turn.put(writer, FAR + 9, vec![1; 5_000])),
    ("far puts", |writer, turn| (0..80).for_each(|n| turn.put(writer, FAR + 3 * n, value(3)))),
    ("a put near the front", |writer, turn| turn.put(writer, POPPED + 1, value(1))),
    ("a put before the front", |writer, turn| turn.put(writer, 1, value(5))),
    ("pop_first", |writer, turn| turn.pop_first(writer)),
    ("pop_first and further", |writer, turn| (0..200).for_each(|_| turn.pop_first(writer))),
    ("pop_below within the front", |writer, turn| turn.pop_below(writer, 20)),
    ("pop_below over the front's end", |writer, turn| turn.pop_below(writer, COUNT - 10)),
    ("pop_below among the far puts", |writer, turn| turn.pop_below(writer, FAR + 11)),
    ("pop_below everything", |writer, turn| turn.pop_below(writer, u64::MAX)),
    ("pops by and by, and puts", |writer, turn| {
        for n in 0..12 {
            turn.pop_below(writer, 14 * n);
            turn.put(writer, 14 * n + 400, value(n));
        }
    }),
    ("delete of a far one", |writer, turn| turn.delete(writer, FAR + 2)),
    ("delete near the front", |writer, turn| turn.delete(writer, POPPED + 2)),
    ("delete of what isn't there", |writer, turn| turn.delete(writer, FAR - 1)),
    ("delete_range of far ones", |writer, turn| turn.delete_range(writer, FAR + 1, FAR + 6)),
    ("delete_range over the front's end", |writer, turn| turn.delete_range(writer, 100, FAR + 3)),
    ("delete_range at the front", |writer, turn| turn.delete_range(writer, 0, 30)),
    ("delete_ranges, many", |writer, turn| (0..60).for_each(|n| turn.delete_range(writer, 4 * n + 30, 4 * n + 32))),
    ("clear", |writer, turn| {
        writer.map_clear(turn.state, turn.key()).unwrap();
        turn.model.clear();
    }),
    ("get of a far one", |writer, turn| {
        for entry in [FAR + 2, FAR + 999, POPPED + 2] {
            let found = writer.map_get(turn.state, turn.key(), &entry.to_be_bytes()).unwrap();
            assert_eq!(found.as_ref(), turn.model.get(&entry));
        }
    }),
    ("first", |writer, turn| {
        let found = writer.map_first(turn.state, turn.key()).unwrap();
        assert_eq!(found.map(|(entry, _)| number(&entry)), turn.model.keys().next().copied());
    }),
    ("scan", |writer, turn| turn.scan(writer, &MapRange::all(), false)),
    ("scan backwards", |writer, turn| turn.scan(writer, &MapRange::all().reversed(), true)),
    ("walk", |writer, turn| {
        let mut cursor = Cursor::entries(turn.state, turn.key(), &MapRange::all());
        let (mut out, mut seen) = (Packed::new(60, 100_000), Vec::new());
        while turn.fetch(writer, &mut out, &mut seen, &mut cursor) {}
        turn.check(&seen);
    }),
    ("walk with changes in between", |writer, turn| {
        let mut cursor = Cursor::entries(turn.state, turn.key(), &MapRange::all());
        let (mut out, mut seen) = (Packed::new(25, 100_000), Vec::new());
        assert!(turn.fetch(writer, &mut out, &mut seen, &mut cursor));
        let first = turn.model.keys().next().copied().unwrap();
        turn.delete(writer, first);
        turn.put(writer, 20, value(0));
        turn.put(writer, FAR + 5, value(5));
        turn.delete(writer, FAR + 6);
        while turn.fetch(writer, &mut out, &mut seen, &mut cursor) {}
        assert_eq!(seen.remove(0).0, first);
        seen.iter_mut().filter(|(entry, _)| *entry == 20).for_each(|(_, seen)| *seen = value(0));
        turn.check(&seen);
    }),
];

impl Scene {
    /// A queue of which some were popped, and which has far puts: of this epoch (place 0); half of them on disk (1); all on
    /// disk (2); before something that was deleted and popped (3).
    fn queue(&mut self, place: usize, number: u32, long: bool) -> Turn {
        let (store, ..) = self.parts();
        let state = store.state(StateOptions::map("queues")).unwrap();
        let queue = |number: u32| Turn { state, name: number.to_be_bytes(), model: Queue::new() };
        if number.is_multiple_of(AT_ONCE) {
            for number in number..number + AT_ONCE {
                let (mut turn, writer) = (queue(number), &mut *self.parts().1);
                (0..COUNT).for_each(|entry| turn.put(writer, entry, value(entry)));
            }
            self.commit();
            self.checkpoint();
            self.evict();
        }
        let (mut turn, writer) = (queue(number), self.parts().1);
        turn.model.extend((0..COUNT).map(|entry| (entry, value(entry))));
        turn.pop_below(writer, POPPED);
        for n in 0..20 {
            turn.put(self.parts().1, FAR + n, if long { vec![1; 1_000] } else { value(2) });
            if n == 10 && place == 1 || n == 19 && place == 2 {
                self.commit();
                self.checkpoint();
                self.evict();
            }
        }
        if place == 3 {
            let (_, writer, _) = self.parts();
            turn.delete_range(writer, FAR + 12, FAR + 14);
            turn.pop_below(writer, 12);
            turn.put(writer, FAR + 13, value(1));
            turn.put(writer, FAR + 1, value(1));
        }
        self.commit();
        turn
    }
}

fn every_allocation_is_refused_once(options: &StoreOptions, places: &[usize]) {
    let mut scene = Scene::new(options, false);
    let (mut number, mut refused) = (0, 0);
    for &(name, operate) in OPERATIONS {
        let mut turns = Vec::new();
        for &place in places {
            refused += each_refusal(name, place % 2 == 1, |which| {
                println!("{name}, place {place}, allocation {which:?}");
                let mut turn = scene.queue(place, number, number % 2 == 1);
                let before = turn.model.clone();
                let was_refused = scene.refusing(which, |_, writer, _| operate(writer, &mut turn));
                if options.transactional && number % 2 == 0 {
                    scene.parts().1.abort_transaction().unwrap();
                    turn.model = before;
                }
                scene.look(&mut turn, number);
                scene.commit();
                turns.push(turn);
                number += 1;
                was_refused
            });
        }
        if options.durability == Durability::Checkpoint {
            scene.checkpoint();
        }
        scene.reopen();
        let (_, writer, _) = scene.parts();
        turns.iter().for_each(|turn| turn.scan(writer, &MapRange::all(), false));
        turns.iter_mut().for_each(|turn| turn.pop_below(writer, u64::MAX));
        scene.commit();
    }
    println!("{refused} allocations were refused");
    assert!(refused as usize > 40 * places.len());
}

impl Scene {
    /// What there is of a queue afterwards, in one of some ways, each of which makes something else of it.
    fn look(&mut self, turn: &mut Turn, number: u32) {
        match number % 9 {
            0 | 5 | 7 => turn.scan(self.parts().1, &MapRange::all(), false),
            1 | 6 | 8 => turn.pop_below(self.parts().1, u64::MAX),
            2 => {
                self.commit();
                self.checkpoint();
                turn.scan(self.parts().1, &MapRange::all(), false);
            }
            3 => {
                self.commit();
                self.checkpoint();
                self.evict();
                turn.pop_below(self.parts().1, FAR + 5);
            }
            _ => (0..150).for_each(|_| turn.pop_first(self.parts().1)),
        }
    }
}

#[test]
fn every_allocation_of_queues_is_refused_once() {
    every_allocation_is_refused_once(&StoreOptions::default(), &[0, 1, 2, 3]);
}

#[test]
fn every_allocation_of_queues_is_refused_once_in_a_transaction_with_a_changelog() {
    let durability = Durability::Changelog;
    every_allocation_is_refused_once(&StoreOptions { transactional: true, durability, ..Default::default() }, &[1]);
}

#[test]
fn every_allocation_of_queues_is_refused_once_with_a_changelog() {
    every_allocation_is_refused_once(&StoreOptions { durability: Durability::Changelog, ..Default::default() }, &[3]);
}
