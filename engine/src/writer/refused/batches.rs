//! Of batches and cursors, and of values whose time begins anew when they are read.

use super::{Model, NEW, OLD, OPERATIONS, PLACES, Scene, each_refusal, key, value};
use crate::batch::{Batch, Operation};
use crate::cursor::Cursor;
use crate::ids::KeyGroupRange;
use crate::key::Key;
use crate::options::StoreOptions;
use crate::packed::Packed;
use crate::scan::MapRange;
use crate::states::{StateOptions, Ttl};
use crate::store::{State, Store};
use crate::writer::Writer;
use std::collections::BTreeMap;

/// Reads and writes, of which some see what others did.
pub(super) fn submit(writer: &mut Writer, states: super::States, model: &mut Model) {
    let (old, list, entry) = (key(&OLD), key(&OLD).in_namespace(&[1]), 3_u64.to_be_bytes());
    let (put, sum, far) = (value(24), 2_u64.to_le_bytes(), [2]);
    let mut batch = Batch::new();
    batch.push(states.cells, old, Operation::Get);
    batch.push(states.cells, old, Operation::Put(&put));
    batch.push(states.cells, old, Operation::Get);
    batch.push(states.cells, key(&far), Operation::Get);
    batch.push(states.lists, list, Operation::List);
    batch.push(states.lists, list, Operation::Append(&put));
    batch.push(states.lists, list, Operation::List);
    batch.push(states.maps, old, Operation::MapGet(&entry));
    batch.push(states.maps, old, Operation::MapPut(&entry, &put));
    batch.push(states.maps, old, Operation::MapGet(&entry));
    batch.push(states.sums, old, Operation::Merge(&sum));
    batch.push(states.sums, old, Operation::Get);
    let mut ticket = writer.submit(&batch).unwrap();
    ticket.wait();
    let (mut found, mut elements) = (BTreeMap::new(), BTreeMap::new());
    while !ticket.is_done() {
        for answer in writer.poll(&mut ticket).unwrap() {
            elements.insert(answer.index(), answer.elements().map(<[u8]>::to_vec).collect::<Vec<_>>());
            found.insert(answer.index(), answer.into_value().unwrap());
        }
    }
    let lists = model.lists.get_mut(&(OLD[0], 1)).unwrap();
    assert_eq!(elements[&4], *lists);
    lists.push(put.clone());
    assert_eq!(elements[&6], *lists);
    *model.sums.get_mut(&OLD[0]).unwrap() += 2;
    let before = model.cells.insert(OLD[0], put.clone());
    let entry_before = model.maps.get_mut(&OLD[0]).unwrap().insert(3, put.clone());
    let expected = [
        (0, before),
        (2, Some(put.clone())),
        (3, model.cells.get(&2).cloned()),
        (7, entry_before),
        (9, Some(put)),
        (11, Some(model.sums[&OLD[0]].to_le_bytes().to_vec())),
    ];
    for (index, expected) in expected {
        assert_eq!(found[&index], expected, "read {index}");
    }
}

/// The rest of what a cursor over entries goes through.
fn rest(writer: &mut Writer, cursor: &mut Cursor, out: &mut Packed, seen: &mut Vec<(u64, Vec<u8>)>) {
    while writer.fetch(cursor, out).unwrap() {
        seen.extend(
            out.iter().map(|found| (u64::from_be_bytes(found.user_key.try_into().unwrap()), found.value.to_vec())),
        );
    }
}

fn keys(writer: &mut Writer, cursor: &mut Cursor, seen: &mut Vec<u8>) {
    let mut out = Packed::new(1, 10_000);
    while writer.fetch(cursor, &mut out).unwrap() {
        seen.extend(out.iter().map(|found| found.key[0]));
    }
}

#[test]
fn cursors_go_on_where_they_were_after_a_refusal() {
    let mut scene = Scene::new(&StoreOptions::default(), false);
    let mut salt = 0;
    for &(name, operate) in OPERATIONS {
        for place in 0..PLACES {
            each_refusal(name, place % 2 == 1, |which| {
                salt += 1;
                let before = scene.prepare(place, salt);
                let (mut model, what) = (before.clone(), format!("{name}, place {place}, allocation {which:?}"));
                let (_, writer, states) = scene.parts();
                let (mut out, mut seen) = (Packed::new(4, 10_000), Vec::new());
                let mut cursor = Cursor::entries(states.maps, key(&OLD), &MapRange::all());
                assert!(writer.fetch(&mut cursor, &mut out).unwrap());
                let first = out
                    .iter()
                    .map(|found| (u64::from_be_bytes(found.user_key.try_into().unwrap()), found.value.to_vec()));
                seen.extend(first);
                let mut seen_keys = Vec::new();
                let mut of_keys = Cursor::keys(states.cells, KeyGroupRange::new(0, 1));
                let mut one = Packed::new(1, 10_000);
                assert!(writer.fetch(&mut of_keys, &mut one).unwrap());
                seen_keys.extend(one.iter().map(|found| found.key[0]));
                let was_refused = scene.refusing(which, |_, writer, states| operate(writer, states, &mut model));
                let (_, writer, _) = scene.parts();
                rest(writer, &mut cursor, &mut out, &mut seen);
                keys(writer, &mut of_keys, &mut seen_keys);
                check(&before, &model, &seen, &mut seen_keys, &what);
                was_refused
            });
        }
    }
}

/// What stayed was seen once, in order, and nothing was that wasn't there before or afterwards.
fn check(before: &Model, after: &Model, seen: &[(u64, Vec<u8>)], seen_keys: &mut Vec<u8>, what: &str) {
    assert!(seen.is_sorted_by(|a, b| a.0 < b.0), "{what}: out of order");
    let (before_map, after_map) = (&before.maps[&OLD[0]], &after.maps[&OLD[0]]);
    for (entry, value) in seen {
        assert!([before_map, after_map].iter().any(|map| map.get(entry) == Some(value)), "{what}: {entry} was seen");
    }
    for (entry, value) in before_map.iter().filter(|(entry, value)| after_map.get(entry) == Some(value)) {
        assert!(seen.iter().any(|(of, seen)| of == entry && seen == value), "{what}: {entry} was not seen");
    }
    seen_keys.sort_unstable();
    assert!(seen_keys.is_sorted_by(|a, b| a < b), "{what}: a key was seen twice: {seen_keys:?}");
    for n in before.cells.keys().filter(|n| after.cells.contains_key(n)) {
        assert!(seen_keys.contains(n), "{what}: key {n} was not seen");
    }
}

const LIFE_MS: u64 = 1_600;

#[derive(Clone, Copy)]
struct Expiring {
    cells: State,
    maps: State,
}

type Read = fn(&mut Writer, Expiring);

/// Reads the keys 0, 1 and 2 of five, and these entries of a map.
const READS: &[(&str, Read)] = &[
    ("get", |writer, states| {
        for n in 0..3_u8 {
            assert_eq!(writer.get(states.cells, key(&[n])).unwrap(), Some(value(n.into())));
            assert_eq!(writer.map_get(states.maps, key(&OLD), &[n]).unwrap(), Some(value(n.into())));
        }
    }),
    ("get_many", |writer, states| {
        let (names, mut count) = ([[0_u8], [1], [0], [2], [1]], 0);
        let keys: Vec<Key<'_>> = names.iter().map(key).collect();
        let take = |at: usize, found: Option<&[u8]>| {
            assert_eq!(found, Some(value(names[at][0].into()).as_slice()));
            count += 1;
        };
        writer.get_many(states.cells, &keys, take).unwrap();
        assert_eq!(count, 5);
        for n in 0..3_u8 {
            assert!(writer.map_contains(states.maps, key(&OLD), &[n]).unwrap());
        }
    }),
    ("update_many", |writer, states| {
        let names = [[0_u8], [1], [0], [2], [1]];
        let keys: Vec<Key<'_>> = names.iter().map(key).collect();
        writer.update_many(states.cells, &keys, |_, old| old.map(<[u8]>::to_vec)).unwrap();
        for n in 0..3_u8 {
            writer.map_put(states.maps, key(&OLD), &[n], &value(n.into())).unwrap();
        }
    }),
    ("submit", |writer, states| {
        let names = [[0_u8], [1], [2]];
        let mut batch = Batch::new();
        for name in &names {
            batch.push(states.cells, key(name), Operation::Get);
            batch.push(states.maps, key(&OLD), Operation::MapGet(name));
        }
        let mut ticket = writer.submit(&batch).unwrap();
        ticket.wait();
        while !ticket.is_done() {
            for answer in writer.poll(&mut ticket).unwrap() {
                assert_eq!(answer.value().unwrap(), Some(value(answer.index() as u64 / 2).as_slice()));
            }
        }
    }),
];

#[test]
fn a_time_begins_anew_also_where_memory_was_refused() {
    for transactional in [false, true] {
        times_begin_anew(&StoreOptions { transactional, ..Default::default() });
    }
}

/// What was read in a batch comes when a flush has put other segments in the place of those that it was read from.
#[test]
fn a_time_begins_anew_also_where_the_segments_are_others_by_then() {
    let mut scene = Scene::new(&StoreOptions::default(), false);
    let states = Expiring::of(scene.parts().0);
    let (_, writer, _) = scene.parts();
    writer.put(states.cells, key(&OLD), &value(1)).unwrap();
    writer.map_put(states.maps, key(&OLD), &OLD, &value(2)).unwrap();
    scene.checkpoint();
    scene.evict();
    let (_, writer, _) = scene.parts();
    writer.set_time_ms(LIFE_MS / 2);
    let mut batch = Batch::new();
    batch.push(states.cells, key(&OLD), Operation::Get);
    batch.push(states.maps, key(&OLD), Operation::MapGet(&OLD));
    let mut ticket = writer.submit(&batch).unwrap();
    ticket.wait();
    // Of the same key group.
    writer.put(states.cells, key(&NEW), &value(3)).unwrap();
    scene.checkpoint();
    let (_, writer, _) = scene.parts();
    assert_eq!(writer.poll(&mut ticket).unwrap().len(), 2);
    writer.set_time_ms(LIFE_MS + LIFE_MS / 4);
    assert_eq!(writer.get(states.cells, key(&OLD)).unwrap(), Some(value(1)));
    assert_eq!(writer.map_get(states.maps, key(&OLD), &OLD).unwrap(), Some(value(2)));
}

impl Expiring {
    fn of(store: &Store) -> Self {
        let ttl = Ttl { duration_ms: LIFE_MS, refresh_on_read: true };
        Self {
            cells: store.state(StateOptions::value("expiring").ttl(ttl)).unwrap(),
            maps: store.state(StateOptions::map("expiring entries").ttl(ttl)).unwrap(),
        }
    }
}

fn times_begin_anew(options: &StoreOptions) {
    let mut scene = Scene::new(options, false);
    let states = Expiring::of(scene.parts().0);
    let (mut now_ms, mut refused) = (0, 0);
    for &(name, read) in READS {
        for (place, with_next) in (0..3).flat_map(|place| [(place, false), (place, true)]) {
            refused += each_refusal(name, with_next, |which| {
                now_ms += 10 * LIFE_MS;
                let what = format!("{name}, place {place}, allocation {which:?}");
                let (_, writer, _) = scene.parts();
                writer.set_time_ms(now_ms);
                for n in 0..5_u8 {
                    writer.put(states.cells, key(&[n]), &value(n.into())).unwrap();
                    writer.map_put(states.maps, key(&OLD), &[n], &value(n.into())).unwrap();
                }
                scene.commit();
                if place > 0 {
                    scene.checkpoint();
                }
                if place > 1 {
                    scene.evict();
                }
                scene.parts().1.set_time_ms(now_ms + LIFE_MS / 2);
                let was_refused = scene.refusing(which, |_, writer, _| read(writer, states));
                let (_, writer, _) = scene.parts();
                // Behind the end of those that weren't read.
                writer.set_time_ms(now_ms + LIFE_MS + LIFE_MS / 4);
                for n in 0..5_u8 {
                    let expected = (n < 3).then(|| value(n.into()));
                    assert_eq!(writer.get(states.cells, key(&[n])).unwrap(), expected, "{what}, key {n}");
                    assert_eq!(writer.map_get(states.maps, key(&OLD), &[n]).unwrap(), expected, "{what}, entry {n}");
                }
                scene.commit();
                was_refused
            });
        }
    }
    println!("{refused} allocations were refused");
    assert!(refused > 30);
}
