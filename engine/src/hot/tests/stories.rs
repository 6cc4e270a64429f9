//! Stories of bugs that were, each told once and slowly.

use super::Random;
use super::disk::{Address, CELLS, MAPS};
use super::world::{GROUPS, World};
use crate::hot::record::{ENTRY, ROOT, Record};
use crate::hot::table::Head;
use crate::hot::{Front, Loaded};
use crate::platform::arena::{CHUNK_BYTES, Walk, class_bytes};
use crate::platform::sync::reclaim::Domain;
use std::sync::Arc;

fn address(name: &str) -> Address {
    (0, name.as_bytes().to_vec(), false)
}

fn barrier(world: &mut World) {
    let mut random = Random::new(1);
    assert!(world.seal(&mut random));
    assert!(world.flush());
}

#[test]
fn an_entry_that_outgrows_its_block_stays_in_its_order() {
    // Disposing of the old record changed its layout before the order was searched for its key.
    let mut world = World::new(50);
    let map = address("map");
    for key in ["same prefix a", "same prefix b", "same prefix c"] {
        world.put_entry(&map, key.as_bytes(), b"small", Some(1)).unwrap();
    }
    for key in ["same prefix b", "same prefix a", "same prefix c"] {
        world.put_entry(&map, key.as_bytes(), &[7; 1_000], Some(2)).unwrap();
        world.check(std::slice::from_ref(&map));
    }
}

/// Each table of a store took 88 bytes from the start: with 5 states of 128 key groups more than an idle store may.
#[test]
fn a_state_that_is_not_used_has_no_tables() {
    let mut world = World::new(50);
    let made = |world: &World| world.hot.tables.iter().filter(|tables| !tables.is_empty()).count();
    assert!(world.hot.states() > 1 && made(&world) == 0);
    world.put_cell(&address("key"), b"value", None).unwrap();
    barrier(&mut world);
    assert_eq!(made(&world), 1);
    world.check(&[address("key")]);
}

#[test]
fn a_record_of_a_flushed_list_is_freed_once() {
    // The list has dead records, so it was searched for them after the flush, and took one for its own that had died
    // since and been freed.
    let mut world = World::new(50);
    let (stays, dies) = (address("stays"), address("dies"));
    world.put_cell(&dies, b"8 bytes.", None).unwrap();
    world.put_cell(&stays, b"8 bytes.", None).unwrap();
    world.delete_cell(&dies).unwrap();
    barrier(&mut world);
    world.put_cell(&stays, &[1; 100], None).unwrap();
    while world.hot.work() {}
    world.hot.memory.collect();
    let blocks: std::collections::BTreeSet<_> =
        (0..6).map(|_| world.hot.memory.allocate_record(32).unwrap().0).collect();
    assert_eq!(blocks.len(), 6, "a block was handed out twice");
}

#[test]
fn maps_that_come_and_go_leave_nothing() {
    // Containers without entries stayed for ever.
    let mut world = World::new(50);
    let map = address("first");
    world.put_entry(&map, b"key", b"value", None).unwrap();
    world.delete_entry(&map, b"key").unwrap();
    let before = world.hot.records_in(MAPS, 0);
    for n in 0..1_000 {
        let map = address(&format!("map {n}"));
        world.put_entry(&map, b"key", b"value", None).unwrap();
        world.delete_entry(&map, b"key").unwrap();
    }
    assert_eq!(world.hot.records_in(MAPS, 0), before);
}

#[test]
fn an_empty_map_with_a_floor_is_evicted() {
    // What it knew of the disk kept it in memory for ever; now it keeps it for a round after its last use.
    let mut world = World::new(50);
    let map = address("map");
    world.put_entry(&map, b"key", b"value", None).unwrap();
    barrier(&mut world);
    let probe = world.hot.probe(MAPS, map.0, &map.1, map.2);
    let (root, _) = world.hot.find_root(&probe).unwrap();
    let before = world.arena.used_bytes();
    world.hot.raise_floor(root, b"kex");
    assert!(world.hot.set_loaded(root, Loaded::All, 1, Front::default(), false));
    assert!(world.arena.used_bytes() > before, "a floor takes nothing of the budget");
    world.hot.evict_within(1, usize::MAX);
    while world.hot.entries(root) > 0 {
        world.hot.evict_within(1, usize::MAX);
    }
    let floor = world.hot.floor(root).unwrap();
    assert_eq!((floor.key.as_slice(), &floor.loaded), (&b"kex"[..], &Loaded::Below(b"key".to_vec())));
    world.hot.evict(usize::MAX);
    world.hot.evict(usize::MAX);
    assert!(world.hot.find_root(&probe).is_none() && world.hot.floor(root).is_none());
    world.hot.give_back(usize::MAX);
    assert!(world.arena.used_bytes() <= before);
    world.check(&[map]);
}

#[test]
fn a_cleared_map_is_flushed_with_its_container() {
    // The flusher learns an entry's key from its container, which was freed when the map was cleared meanwhile.
    let mut world = World::new(50);
    let map = address("map");
    world.put_entry(&map, b"key", b"value", None).unwrap();
    world.seal(&mut Random::new(1));
    world.clear_map(&map).unwrap();
    world.hot.memory.collect();
    for n in 0..50 {
        world.put_entry(&address(&format!("ma{n}")), b"yek", b"other", None).unwrap();
    }
    assert!(world.flush());
}

#[test]
fn a_flushed_clear_masks_nothing_newer() {
    // The mark of a clear stayed in memory after its flush, and hid what was put, flushed and evicted later.
    let mut world = World::new(50);
    let map = address("map");
    world.put_entry(&map, b"old", b"value", None).unwrap();
    barrier(&mut world);
    world.clear_map(&map).unwrap();
    barrier(&mut world);
    world.put_entry(&map, b"new", b"value", None).unwrap();
    barrier(&mut world);
    let probe = world.hot.probe(MAPS, map.0, &map.1, map.2);
    world.hot.head(&probe).set_spilled(true);
    assert!(!world.hot.is_cleared(&probe));
    world.hot.evict(usize::MAX);
    world.check(&[map]);
}

#[test]
fn eviction_stops_though_a_reader_is_inside() {
    // Blocks that a reader keeps from being reused didn't count as evicted, so everything went.
    let (arena, domain) = super::arena(50);
    let slot = Domain::register(&domain);
    let mut world = World::in_memory(arena, &domain);
    let cell = |n: u32| (0, n.to_be_bytes().to_vec(), false);
    for n in 0..2_000 {
        world.put_cell(&cell(n), &[0; 100], None).unwrap();
    }
    barrier(&mut world);
    let pin = slot.pin();
    let evicted = world.hot.evict(20_000);
    // It goes page by page; a page holds some hundreds.
    assert!((20_000..120_000).contains(&evicted), "{evicted} bytes of 256,000 went");
    drop(pin);
    assert!(world.hot.tables[0][0].records > 900);
}

#[test]
fn a_cold_read_moves_the_hand_a_little() {
    // Each cold read sent the hand round all tables while memory was full, and there may be hundreds of thousands.
    const EMPTY: usize = 3_000;
    let mut world = World::new(50);
    for _ in 0..EMPTY / usize::from(GROUPS) {
        world.hot.add_state((0..GROUPS).map(|_| Head::default()).collect(), Arc::default());
    }
    world.put_cell(&address("cell"), b"value", None).unwrap();
    barrier(&mut world);
    let mut calls = 0;
    while world.hot.evict_within(100, 1) == 0 {
        calls += 1;
        assert!(calls < 100, "the hand doesn't get on");
    }
    assert!(calls >= EMPTY / 100, "it went past {EMPTY} tables in {calls} calls");
    assert_eq!(world.hot.records_in(CELLS, 0), 0);
    world.check(&[address("cell")]);
}

#[test]
fn a_list_takes_the_expiry_of_its_latest_element() {
    // An element that found room in the chunk kept the chunk's expiry.
    let mut world = World::new(50);
    for (first, second) in [(None, Some(2)), (Some(1), Some(2)), (Some(1), None)] {
        let list = address(&format!("{first:?} {second:?}"));
        world.append(&list, b"element", first).unwrap();
        world.append(&list, b"e", second).unwrap();
        world.check(&[list]);
    }
}

#[test]
fn a_list_that_goes_on_on_disk_keeps_no_flushed_chunks() {
    // Each epoch added a chunk to a chain whose flushed chunks counted for nothing, and were walked all the same.
    let mut world = World::new(50);
    let list = address("list");
    world.append(&list, b"first", None).unwrap();
    barrier(&mut world);
    world.hot.evict(usize::MAX);
    world.hot.evict(usize::MAX);
    let probe = world.hot.probe(super::disk::LISTS, list.0, &list.1, list.2);
    assert!(world.hot.find_cell(&probe).is_none());
    for _ in 0..50 {
        world.append(&list, b"more", None).unwrap();
        barrier(&mut world);
        while world.hot.work() {}
    }
    world.append(&list, b"last", None).unwrap();
    world.check(std::slice::from_ref(&list));
    let probe = world.hot.probe(super::disk::LISTS, list.0, &list.1, list.2);
    let (head, _) = world.hot.find_cell(&probe).unwrap();
    assert_eq!(head.link(world.hot.arena()), 0);
}

#[test]
fn an_empty_table_gives_its_pages_and_chunks_back() {
    // Pages, directories and the chunks that they lay in stayed at the largest that a table ever was.
    let mut world = World::new(100);
    let cell = |n: u32| (0, n.to_be_bytes().to_vec(), false);
    for n in 0..20_000 {
        world.put_cell(&cell(n), b"8 bytes.", None).unwrap();
    }
    assert!(world.hot.memory.held_bytes() > 20 * CHUNK_BYTES);
    for n in 0..20_000 {
        world.delete_cell(&cell(n)).unwrap();
    }
    barrier(&mut world);
    while world.hot.work() {}
    world.hot.evict(usize::MAX);
    world.hot.give_back_empty();
    assert_eq!(world.hot.memory.held_bytes(), 0);
    world.put_cell(&cell(1), b"8 bytes.", None).unwrap();
    world.check(&[cell(1)]);
}

#[test]
fn a_dead_record_says_so_and_keeps_its_place_in_the_list() {
    let mut world = World::new(50);
    let cell = |n: u32| (0, n.to_be_bytes().to_vec(), false);
    // Dead records are swept out when they outnumber the living; the others stay, each once.
    for n in 0..1_000 {
        world.put_cell(&cell(n), b"8 bytes.", None).unwrap();
        if n % 10 > 0 {
            world.delete_cell(&cell(n)).unwrap();
        }
    }
    let mut living = 0;
    world.hot.tables[0][0].lists.iter().for_each(|list| {
        list.for_each(world.hot.arena(), |at| {
            living += usize::from(Record::load(world.hot.arena(), at).kind() != crate::hot::record::DEAD);
        });
        assert!(list.len() < 300, "{} references", list.len());
    });
    assert_eq!(living, 100);
    barrier(&mut world);
    while world.hot.work() {}
    for n in (0..1_000).step_by(10) {
        world.delete_cell(&cell(n)).unwrap();
    }
    barrier(&mut world);
    while world.hot.work() {}
    world.hot.evict(usize::MAX);
    assert_eq!(world.hot.memory.used_bytes(), 0);
}

#[test]
fn a_shard_that_goes_waits_for_its_readers() {
    // Its chunks went to others at once, while a reader could still look at the records in them.
    let (arena, domain) = super::arena(50);
    let mut world = World::in_memory(Arc::clone(&arena), &domain);
    world.put_cell(&address("key"), b"value", None).unwrap();
    let slot = Domain::register(&domain);
    let inside = slot.pin();
    let gone = std::thread::spawn(move || drop(world));
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert!(!gone.is_finished() && arena.used_bytes() > 0);
    drop(inside);
    gone.join().unwrap();
    assert_eq!(arena.used_bytes(), 0);
}

#[test]
fn a_large_record_takes_the_place_of_a_large_one() {
    // What left memory were small ones, a tenth of it without two side by side: for each large one all of memory was joined, and
    // it waited for a flush that freed no block for it.
    let mut world = World::new(8);
    world.hot.memory.set_floor();
    let name = |n: usize| address(&format!("cell {n}"));
    let bytes = |n: usize| if n.is_multiple_of(20) { 500 } else { 100 };
    let full = (0..100_000).position(|n| world.put_cell(&name(n), &vec![1; bytes(n)], None).is_err()).unwrap();
    barrier(&mut world);
    let large = name(full.next_multiple_of(20));
    for n in full + 1.. {
        if world.put_cell(&large, &[1; 500], None).is_err() {
            break;
        }
        world.delete_cell(&large).unwrap();
        world.put_cell(&name(n), &[1; 100], None).unwrap();
    }
    let block_bytes = world.hot.memory.take_missed_bytes();
    assert!((500..600).contains(&block_bytes));
    let records = world.hot.records_in(CELLS, 0);
    let evicted = world.hot.evict_blocks(usize::MAX, 1, block_bytes);
    let gone = (records - world.hot.records_in(CELLS, 0)) as usize;
    assert!(gone > 0 && evicted / gone >= block_bytes, "{evicted} bytes of {gone} records");
    world.put_cell(&large, &[1; 500], None).unwrap();
    world.check(&[large]);
}

#[test]
fn a_container_that_goes_with_its_entry_is_found_by_its_block() {
    // Containers are never evicted themselves while they have entries, which lie in smaller blocks: whoever found no room for one more
    // container went over all tables, time and again, and evicted nothing that helped.
    let mut world = World::new(50);
    let name = |n: usize| address(&format!("a map whose name is longer than its entry, number {n}"));
    for n in 0..2_000 {
        world.put_entry(&name(n), b"k", b"v", None).unwrap();
    }
    barrier(&mut world);
    while world.hot.work() {}
    let records = world.hot.memory.records();
    let blocks: Vec<Walk> = records.chunks().iter().flat_map(|&chunk| records.walk(chunk)).collect();
    let class_of = |kind| {
        let of_kind = |block: &Walk| Some(Record::load(&world.arena, block.at)).filter(|record| record.kind() == kind);
        blocks.iter().find_map(of_kind).unwrap().class()
    };
    let (root, entry) = (class_of(ROOT), class_of(ENTRY));
    assert!(root > entry);
    let before = world.hot.records_in(MAPS, 0);
    // Twice around: the first takes the marks of use.
    let evicted: usize = (0..2).map(|_| world.hot.evict_blocks(usize::MAX, 1, class_bytes(root))).sum();
    assert!(evicted >= class_bytes(root) + class_bytes(entry), "{evicted} bytes");
    assert!(before - world.hot.records_in(MAPS, 0) >= 2);
    world.check(&(0..2_000).map(name).collect::<Vec<_>>());
}

#[test]
fn containers_of_what_was_flushed_are_freed_beside_a_flush() {
    // They waited for the end of whatever flush was under way: who needed room for one evicted all that was clean meanwhile.
    let mut world = World::new(50);
    let name = |n: usize| address(&format!("map {n}"));
    (0..100).for_each(|n| world.put_entry(&name(n), b"k", b"v", None).unwrap());
    barrier(&mut world);
    while world.hot.work() {}
    // Of these the flush is about to need the containers: of one that is changed, one whose entry is deleted, and one that is cleared.
    let changed: Vec<Address> = ["one more", "map 1", "map 2", "map 3"].map(address).to_vec();
    world.put_entry(&changed[0], b"k", b"v", None).unwrap();
    world.put_entry(&changed[1], b"k", b"w", None).unwrap();
    world.delete_entry(&changed[2], b"k").unwrap();
    world.put_entry(&changed[3], b"l", b"v", None).unwrap();
    let of = |world: &World, map: &Address| {
        let probe = world.hot.probe(MAPS, map.0, &map.1, map.2);
        world.hot.find_root(&probe).map(|(root, _)| root.at)
    };
    let kept: Vec<_> = changed.iter().map(|map| of(&world, map).unwrap()).collect();
    let clean: Vec<_> = (4..100).map(|n| of(&world, &name(n)).unwrap()).collect();
    assert!(world.seal(&mut Random::new(1)));
    world.clear_map(&changed[3]).unwrap();
    for _ in 0..3 {
        world.hot.evict(usize::MAX);
    }
    world.hot.memory.collect();
    assert!((4..100).all(|n| of(&world, &name(n)).is_none()));
    let class = Record::load(&world.arena, kept[0]).class();
    let mut free = std::collections::BTreeSet::new();
    // Others may be free as well.
    for _ in 0..clean.len() + 10 {
        free.insert(world.hot.memory.allocate_record(class_bytes(class)).unwrap().0);
    }
    let in_use = clean.iter().filter(|at| !free.contains(at)).count();
    assert_eq!(in_use, 0, "containers that nothing needs are in use");
    assert!(kept.iter().all(|at| !free.contains(at)), "a container that the flush needs was freed");
    assert!(world.flush());
    world.check(&(0..100).map(name).chain(changed).collect::<Vec<_>>());
}
