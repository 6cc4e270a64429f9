//! Lock-free readers on other threads while an owner does everything at once.
//!
//! Values tell their key and are made of one byte, elements of a list are numbered, so readers need no model: what
//! they see must be whole, of the right key, and without gaps.

use super::disk::{Address, CELLS, LISTS, MAPS};
use super::world::World;
use super::{Random, arena, with_seeds};
use crate::hot::Probe;
use crate::hot::record::{ENTRY, VALUE, hash_area};
use crate::hot::shared::{SharedChain, SharedGet, get_cell, get_chain, get_entry};
use crate::hot::table::Head;
use crate::platform::arena::Arena;
use crate::platform::sync::reclaim::{Domain, Slot};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const KEYS: usize = 40;
const USER_KEYS: usize = 12;
const STEPS: usize = 15_000;

fn address(n: usize) -> Address {
    (0, format!("key {n}").into_bytes(), false)
}

fn user_key(n: usize) -> [u8; 11] {
    let mut key = *b"user key . ";
    key[9] = n as u8;
    key
}

/// What the owner puts: the key's number, then one byte over and over.
fn value(random: &mut Random, n: usize) -> Vec<u8> {
    let len = [8, random.below(40) + 1, random.below(400) + 1][random.below(3)];
    let mut value = vec![random.word() as u8; len];
    value[0] = n as u8;
    value
}

fn check_value(n: usize, value: &[u8]) {
    assert_eq!(usize::from(value[0]), n, "a value of another key");
    assert!(value[1..].windows(2).all(|pair| pair[0] == pair[1]), "a torn value: {value:?}");
}

struct Reader {
    slot: Slot,
    arena: Arc<Arena>,
    heads: Vec<Arc<[Head]>>,
    /// Nothing is evicted, so keys that are never deleted are found.
    present: bool,
    found: usize,
    contended: usize,
}

impl Reader {
    fn look(&mut self, random: &mut Random) {
        let n = random.below(KEYS);
        let (_, area, namespaced) = address(n);
        let hash = hash_area(&area, namespaced, 99);
        let probe = Probe { state: 0, group: 0, area: &area, namespaced, hash };
        let _pin = self.slot.pin();
        let (mut out, mut chunks) = (Vec::new(), Vec::new());
        let arena = &*self.arena;
        let head = |state: u16| &self.heads[usize::from(state)][0];
        let seen = match random.below(3) {
            0 => get_cell(head(CELLS), arena, &probe, &mut out),
            1 => {
                let seen = get_chain(head(LISTS), arena, &probe, &mut chunks, &mut out);
                chunks.reverse();
                let list: Vec<u8> = chunks.iter().flat_map(|chunk| out[chunk.bytes.clone()].to_vec()).collect();
                check_list(n, &list);
                self.found += usize::from(matches!(seen, SharedChain::Found { .. }));
                self.contended += usize::from(seen == SharedChain::Contended);
                return;
            }
            _ => get_entry(head(MAPS), head(MAPS), arena, &probe, &user_key(random.below(USER_KEYS)), &mut out),
        };
        match seen {
            SharedGet::Found { kind: VALUE | ENTRY, .. } => {
                self.found += 1;
                check_value(n, &out);
            }
            SharedGet::Found { .. } => {}
            SharedGet::Absent => assert!(!self.present || !n.is_multiple_of(4), "key {n} was there"),
            SharedGet::Contended => self.contended += 1,
        }
    }
}

/// Elements of five bytes: the key's number, and their own.
fn check_list(n: usize, list: &[u8]) {
    assert_eq!(list.len() % 5, 0, "an element in two");
    let mut last = None;
    for element in list.chunks(5) {
        let number = u32::from_le_bytes(element[1..].try_into().unwrap());
        assert_eq!(usize::from(element[0]), n, "an element of another key");
        assert!(last.is_none_or(|last: u32| last + 1 == number), "{last:?}, then {number}");
        last = Some(number);
    }
}

/// Every fourth key is always there; the others come and go.
fn operate(world: &mut World, random: &mut Random, numbers: &mut [u32; KEYS]) {
    let n = random.below(KEYS);
    let (address, value, stays) = (address(n), value(random, n), n.is_multiple_of(4));
    let user_key = user_key(random.below(USER_KEYS));
    let done = match random.below(10) {
        0..3 => world.put_cell(&address, &value, None),
        3 if !stays => world.delete_cell(&address),
        4 | 5 => {
            numbers[n] += 1;
            let number = numbers[n].to_le_bytes();
            world.append(&address, &[n as u8, number[0], number[1], number[2], number[3]], None)
        }
        6 if random.once_in(8) => world.delete_list(&address),
        7 if !stays && random.once_in(20) => world.clear_map(&address),
        8 if !stays => world.delete_entry(&address, &user_key),
        _ => world.put_entry(&address, &user_key, &value, None),
    };
    done.unwrap();
}

fn own(world: &mut World, random: &mut Random, numbers: &mut [u32; KEYS], evicts: bool) {
    for _ in 0..STEPS {
        operate(world, random, numbers);
        if random.once_in(100) {
            world.seal(random);
        }
        if random.once_in(120) {
            world.flush();
        }
        if random.once_in(8) {
            world.hot.work();
        }
        if random.once_in(50) {
            world.hot.memory.collect();
        }
        if evicts && random.once_in(200) {
            world.hot.evict(random.below(20_000));
            world.hot.give_back(1);
        }
    }
}

#[test]
fn readers_see_whole_values_that_are_there() {
    with_seeds(500..504, |seed| {
        let (arena, domain) = arena(400);
        let mut world = World::in_memory(Arc::clone(&arena), &domain);
        let mut random = Random::new(seed);
        for n in 0..KEYS {
            let value = value(&mut random, n);
            world.put_cell(&address(n), &value, None).unwrap();
            for key in 0..USER_KEYS {
                world.put_entry(&address(n), &user_key(key), &value, None).unwrap();
            }
        }
        let (evicts, done) = (seed % 2 == 1, Arc::new(AtomicBool::new(false)));
        let found = [1, 2].map(|_| Arc::new(AtomicUsize::new(0)));
        let readers = [1, 2].map(|number| {
            let so_far = Arc::clone(&found[number as usize - 1]);
            let (slot, arena) = (Domain::register(&domain), Arc::clone(&arena));
            let mut reader =
                Reader { slot, arena, heads: world.hot.heads.clone(), present: !evicts, found: 0, contended: 0 };
            let done = Arc::clone(&done);
            std::thread::spawn(move || {
                let mut random = Random::new(seed * 10 + number);
                while !done.load(Ordering::Relaxed) {
                    reader.look(&mut random);
                    so_far.store(reader.found, Ordering::Relaxed);
                }
                (reader.found, reader.contended)
            })
        });
        let mut numbers = [0; KEYS];
        // However little of the machine the readers get: each has seen something beside an owner at work.
        own(&mut world, &mut random, &mut numbers, evicts);
        while found.iter().any(|found| found.load(Ordering::Relaxed) <= 1_000) {
            own(&mut world, &mut random, &mut numbers, evicts);
        }
        done.store(true, Ordering::Relaxed);
        for reader in readers {
            let (found, contended) = reader.join().unwrap();
            // How many were faster than the owner is the machine's matter.
            println!("found {found}, contended {contended}");
        }
    });
}
