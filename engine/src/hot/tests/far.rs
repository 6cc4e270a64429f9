//! Far puts, slowly.

use super::disk::{Address, MAPS};
use super::world::World;
use crate::hot::far::FarWalk;
use crate::hot::record::Record;
use crate::hot::{Front, Loaded, Sealed};
use std::collections::BTreeMap;

/// A map whose front was loaded up to "m", over a disk.
fn world() -> (World, Address) {
    let mut world = World::new(50);
    let map = (0, b"map".to_vec(), false);
    world.put_entry(&map, b"near", b"value", None).unwrap();
    let root = root(&world, &map);
    assert!(world.hot.set_loaded(root, Loaded::Below(b"m".to_vec()), 1, Front::default(), true));
    (world, map)
}

fn root(world: &World, map: &Address) -> Record {
    world.hot.find_root(&world.hot.probe(MAPS, map.0, &map.1, map.2)).unwrap().0
}

fn put(world: &mut World, map: &Address, user_key: &str, value: &str) -> bool {
    let (probe, root) = (world.hot.probe(MAPS, map.0, &map.1, map.2), root(world, map));
    world.hot.put_far(&probe, root, (user_key.as_bytes(), value.as_bytes()), None).unwrap()
}

fn far(world: &World, map: &Address, from: &str, to: Option<&str>) -> Vec<(String, String)> {
    let probe = world.hot.probe(MAPS, map.0, &map.1, map.2);
    let range = (from.as_bytes(), to.map(str::as_bytes));
    let (found, is_cut) = world.hot.far_between(&probe, root(world, map), range, 100);
    assert!(!is_cut);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    found.iter().map(|far| (text(far.entry.user_key), text(far.entry.value))).collect()
}

fn written(sealed: &Sealed) -> Vec<Vec<u8>> {
    let (mut tables, mut keys) = (sealed.far.by_table(), Vec::new());
    let mut walk = FarWalk::new(tables.remove(&(MAPS, 0)).unwrap_or_default());
    while let Some((map, entry)) = walk.peek() {
        assert_eq!(map.parts().0, b"map");
        keys.push([entry.user_key, b"=", entry.value].concat());
        walk.pass();
    }
    keys
}

fn pairs(wanted: &[(&str, &str)]) -> Vec<(String, String)> {
    wanted.iter().map(|(user_key, value)| ((*user_key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn what_is_behind_the_front_is_put_far_and_gone_with_its_flush() {
    let (mut world, map) = world();
    let before = world.arena.used_bytes();
    assert!(!put(&mut world, &map, "lx", "1"), "before the end of the front");
    assert!(!put(&mut world, &map, "near", "1"), "there is a record of it");
    assert!(!put(&mut world, &map, "z", &"long".repeat(2_000)));
    for (user_key, value) in [("p", "1"), ("m", "2"), ("z", "3"), ("p", "4"), ("q", "5")] {
        assert!(put(&mut world, &map, user_key, value));
    }
    assert!(world.arena.used_bytes() > before && world.hot.table_head(MAPS, 0).has_far());
    assert_eq!(far(&world, &map, "n", Some("z")), pairs(&[("p", "4"), ("q", "5")]));
    // What was taken isn't written.
    let probe = world.hot.probe(MAPS, map.0, &map.1, map.2);
    world.hot.delete_range(&probe, b"", Some(b"o"), crate::hot::cell::Below::Perhaps).unwrap();
    let sealed = world.hot.seal(world.hot.current + 1).unwrap();
    assert_eq!(written(&sealed), [&b"p=4"[..], b"q=5", b"z=3"]);
    assert!(put(&mut world, &map, "q", "6") && put(&mut world, &map, "x", "7"));
    assert_eq!(far(&world, &map, "", None), pairs(&[("p", "4"), ("q", "6"), ("x", "7"), ("z", "3")]));
    // What was cut off is hidden by the marker, once it is taken.
    world.hot.delete_range(&probe, b"", Some(b"q"), crate::hot::cell::Below::Perhaps).unwrap();
    assert_eq!(far(&world, &map, "", None), pairs(&[("q", "6"), ("x", "7"), ("z", "3")]));
    world.hot.adopt_flushed(sealed.epoch);
    assert!(world.hot.table_head(MAPS, 0).is_spilled() && world.hot.table_head(MAPS, 0).has_far());
    assert_eq!(far(&world, &map, "", None), pairs(&[("q", "6"), ("x", "7")]));
    let sealed = world.hot.seal(world.hot.current + 1).unwrap();
    assert_eq!(written(&sealed), [&b"q=6"[..], b"x=7"]);
    world.hot.adopt_flushed(sealed.epoch);
    assert!(!world.hot.has_far(root(&world, &map)) && !world.hot.table_head(MAPS, 0).has_far());
    assert_eq!(world.hot.far_bytes(), 0);
}

#[test]
fn who_asks_for_more_than_the_front_has_them_made_records() {
    let (mut world, map) = world();
    assert!(put(&mut world, &map, "p", "1") && put(&mut world, &map, "q", "1"));
    let sealed = world.hot.seal(world.hot.current + 1).unwrap();
    assert!(put(&mut world, &map, "p", "2") && put(&mut world, &map, "r", "2"));
    let probe = world.hot.probe(MAPS, map.0, &map.1, map.2);
    world.hot.spread(&probe).unwrap();
    assert!(!put(&mut world, &map, "s", "3"), "until its front is loaded again");
    let root = root(&world, &map);
    assert!(!world.hot.has_far(root) && !world.hot.table_head(MAPS, 0).has_far());
    let record = |user_key: &str| {
        let (record, _) = world.hot.find_entry(&probe, root, user_key.as_bytes()).unwrap();
        (world.hot.value_of(record).to_vec(), record.stamp(world.hot.arena()))
    };
    let current = world.hot.current;
    assert_eq!(
        ["p", "q", "r"].map(record),
        [(b"2", current), (b"1", sealed.epoch), (b"2", current)].map(|(value, stamp)| (value.to_vec(), stamp))
    );
    // What was cut off is written as it was, and its record is clean then.
    assert_eq!(written(&sealed), [b"p=1", b"q=1"]);
    world.hot.adopt_flushed(sealed.epoch);
    while world.hot.work() {}
    world.hot.evict(usize::MAX);
    world.hot.evict(usize::MAX);
    assert!(world.hot.find_entry(&probe, root, b"q").is_none() && world.hot.find_entry(&probe, root, b"p").is_some());
}

#[test]
fn many_become_records_lot_by_lot() {
    let (mut world, map) = world();
    let name = |n: usize| format!("p{n:02}");
    (0..20).for_each(|n| assert!(put(&mut world, &map, &name(n), "1")));
    let sealed = world.hot.seal(world.hot.current + 1).unwrap();
    (5..30).for_each(|n| assert!(put(&mut world, &map, &name(n), "2")));
    let probe = world.hot.probe(MAPS, map.0, &map.1, map.2);
    world.hot.spread(&probe).unwrap();
    let root = root(&world, &map);
    assert!(!world.hot.has_far(root));
    for n in 0..30 {
        let (record, _) = world.hot.find_entry(&probe, root, name(n).as_bytes()).unwrap();
        let wanted = if n < 5 { (&b"1"[..], sealed.epoch) } else { (&b"2"[..], world.hot.current) };
        assert_eq!((world.hot.value_of(record), record.stamp(world.hot.arena())), wanted, "{n}");
    }
}

/// A part of what was put far, from either end, is the beginning of all of it; of what comes several times the last one counts.
#[test]
fn a_part_of_them_is_the_beginning_of_all() {
    let (mut world, map) = world();
    let mut model = BTreeMap::new();
    let mut random = 0x5EED_u64;
    for n in 0..600 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        // Prefixes of eight bytes that many share.
        let (user_key, value) = (format!("prefix{}", random % 250), n.to_string());
        assert!(put(&mut world, &map, &user_key, &value));
        model.insert(user_key, value);
        if n == 300 {
            world.hot.seal(world.hot.current + 1).unwrap();
        }
    }
    let (probe, root) = (world.hot.probe(MAPS, map.0, &map.1, map.2), root(&world, &map));
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    for count_max in [1, 2, 10, 100, 1_000] {
        for (from, to, reverse) in [("", None, false), ("", None, true), ("prefix3", Some("prefix71"), true)] {
            let range = (from.as_bytes(), to.map(str::as_bytes));
            let (found, is_cut) = world.hot.far_from(&probe, root, range, count_max, reverse);
            let found: Vec<_> = found.iter().map(|far| (text(far.entry.user_key), text(far.entry.value))).collect();
            let inside = |user_key: &String| user_key.as_str() >= from && to.is_none_or(|to| user_key.as_str() < to);
            let all = model.iter().filter(|(user_key, _)| inside(user_key));
            let mut wanted: Vec<_> = all.map(|(user_key, value)| (user_key.clone(), value.clone())).collect();
            if reverse {
                wanted.reverse();
            }
            assert!(is_cut || found.len() == wanted.len(), "{count_max} of {range:?}");
            assert!(!found.is_empty() && found.len() <= count_max, "{} for {count_max}", found.len());
            assert_eq!(found, wanted[..found.len()], "{count_max} of {range:?}");
        }
    }
}
