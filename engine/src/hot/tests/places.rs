//! Places beside the model: what is written at one is in the table, whatever became of its record, and of its memory, before.

use super::disk::{Address, CELLS, same};
use super::world::{GROUPS, World};
use super::{Random, memory, with_seeds};
use crate::hot::table::Head;
use crate::hot::{Hot, OutOfMemory, Part};

const KEYS: u32 = 5;

fn address(group: u16, key: u32) -> Address {
    (group, key.to_be_bytes().to_vec(), false)
}

/// Notes a number as events do: at its place, if that is known, or like any change. Says which.
fn note(world: &mut World, group: u16, key: u32, number: u64) -> Result<bool, OutOfMemory> {
    let address = address(group, key);
    if let Some(place) = world.hot.at_place(CELLS, group, key) {
        let expected = &world.model.cells[&address].0;
        assert_eq!(place.value()[..], expected[..], "{address:?}");
        place.change(|_| Some(number.to_le_bytes())).unwrap();
        world.model.cells.insert(address, (number.to_le_bytes().to_vec(), None));
        return Ok(true);
    }
    world.put_cell(&address, &number.to_le_bytes(), None)?;
    world.hot.remember_place(CELLS, group, key);
    Ok(false)
}

/// Takes some key groups back to what the disk has of them.
fn rewind(world: &mut World, random: &mut Random) {
    while world.flush() {}
    let (a, b) = (random.below(GROUPS.into()) as u16, random.below(GROUPS.into()) as u16);
    let groups = a.min(b)..=a.max(b);
    world.hot.rewind(&Part { states: vec![CELLS], groups: groups.clone() });
    world.model.cells.retain(|(group, ..), _| !groups.contains(group));
    let disk = world.disk.cells.iter().filter(|((group, ..), _)| groups.contains(group));
    world.model.cells.extend(disk.map(|(address, item)| (address.clone(), item.clone())));
}

fn step(world: &mut World, random: &mut Random, number: u64) -> Result<bool, OutOfMemory> {
    let (group, key) = (random.below(GROUPS.into()) as u16, random.below(KEYS as usize) as u32);
    let other = address(group, key);
    match random.below(100) {
        0..70 => return note(world, group, key, number),
        70..74 => world.delete_cell(&other)?,
        // Another length, and another layout.
        74..77 => world.put_cell(&other, &random.bytes(random_length(number)), None)?,
        77..79 => world.put_cell(&other, &number.to_le_bytes(), Some(number))?,
        // Others that may take the memory of what left the table.
        79..83 => world.put_cell(&(group, vec![7, key as u8], false), &number.to_le_bytes(), None)?,
        83..86 => world.delete_cell(&(group, vec![7, key as u8], false))?,
        86..89 => world.put_list(&other, &number.to_le_bytes(), None)?,
        89 => drop(world.seal(random)),
        90 => drop(world.flush()),
        91..93 => drop(world.hot.work()),
        93..95 => drop(world.hot.evict(random.below(5_000))),
        95 => drop(world.hot.give_back(random.below(4))),
        96 => rewind(world, random),
        _ => world.promote_cell(&other),
    }
    Ok(false)
}

const fn random_length(number: u64) -> usize {
    1 + (number * 7 % 40) as usize
}

#[test]
fn what_is_written_at_a_place_is_in_the_table() {
    with_seeds(500..520, |seed| {
        let (mut world, mut random, mut at_places) = (World::new(50), Random::new(seed), 0);
        for number in 0..6_000 {
            at_places += usize::from(step(&mut world, &mut random, number).unwrap());
            for group in 0..GROUPS {
                let address = address(group, number as u32 % KEYS);
                same(&address, world.read_cell(&address).as_ref(), world.model.cells.get(&address));
            }
        }
        assert!(at_places > 500, "{at_places} places were known");
        world.flush_all(&mut random);
        world.disk.check(&world.model, world.hot.current);
    });
}

/// The memory of a record that was left behind, with its place, was another store's by then.
#[test]
fn no_place_outlives_its_table() {
    let known = |world: &World| world.hot.at_place(CELLS, 1, 3).is_some();
    let noted = || {
        let mut world = World::new(50);
        let at_place: Vec<bool> = (0..3).map(|number| note(&mut world, 1, 3, number).unwrap()).collect();
        assert!(at_place == [false, false, true] && known(&world));
        world
    };
    let mut world = noted();
    world.hot.rewind(&Part { states: vec![CELLS], groups: 0..=GROUPS - 1 });
    assert!(!known(&world), "rolled back");
    let mut world = noted();
    world.hot.forget(memory(4));
    assert!(!known(&world), "the store was closed");
    let mut world = noted();
    world.delete_cell(&address(1, 3)).unwrap();
    assert!(!known(&world), "deleted");
    let mut world = noted();
    assert!(world.seal(&mut Random::new(1)));
    assert!(!known(&world), "it is the flusher's");
    world.flush();
    assert!(!known(&world), "it may be evicted");
}

#[test]
fn places_are_charged_and_there_are_only_so_many() {
    let mut hot = Hot::new(memory(2_000), 7, 4, 5);
    hot.add_state((0..4).map(|_| Head::default()).collect(), std::sync::Arc::default());
    let put = |hot: &mut Hot, key: u32, value: u64| {
        let area = key.to_be_bytes();
        let probe = hot.probe(0, 2, &area, false);
        let found = hot.find_cell(&probe);
        hot.put_cell(&probe, found, &value.to_le_bytes(), None, crate::hot::cell::Below::Nothing).unwrap();
    };
    let note = |hot: &mut Hot, keys: std::ops::Range<u32>| {
        for key in keys {
            // A record's second use makes it one that is used.
            put(hot, key, 1);
            put(hot, key, 2);
            hot.remember_place(0, 2, key);
        }
    };
    let known = |hot: &Hot| (0..40_000).filter(|key| hot.at_place(0, 2, *key).is_some()).count();
    note(&mut hot, 0..40_000);
    assert_eq!(known(&hot), 32 << 10, "those that came first");
    let before = hot.arena().used_bytes();
    hot.forget_places();
    assert_eq!(before - hot.arena().used_bytes(), 12 * (64 << 10));
    note(&mut hot, 0..40_000);
    assert_eq!(known(&hot), 32 << 10);
    hot.seal(6).unwrap();
    note(&mut hot, 39_000..40_000);
    assert_eq!(known(&hot), 1_000, "those of an earlier epoch made room");
}
