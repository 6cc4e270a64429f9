//! What a hot list's values were found in, and whether a store still has that.

use super::*;
use crate::convert::{Conversion, Older};
use crate::ids::{KeyGroupRange, StateId};
use crate::options::{EngineOptions, StoreOptions, WarmUp};
use crate::states::{StateOptions, definition};
use crate::{Barrier, Engine, Store};

/// The layers of a store's first slice.
fn layers(store: &Store) -> Vec<Layer> {
    store.inner.version.lock().slices[0].layers.clone()
}

/// The same layers, of which the values of these states have conversions of these names before them.
fn older(layers: &[Layer], names: &[(u16, &str)]) -> Stack {
    let of = |older: Older, (state, name): &(u16, &str)| {
        let state = StateId(*state);
        // Another object each time, as after another opening.
        older.with(state, &Arc::new(Conversion::new(&definition(state, StateOptions::value("v")), name)))
    };
    let older = Some(Arc::new(names.iter().fold(Older::default(), of)));
    let layers: Vec<Layer> = layers.iter().map(|layer| Layer { older: older.clone(), ..layer.clone() }).collect();
    stack_of(&layers)
}

/// A list was taken for current where another migration had the same number of steps: its values had gone through other conversions.
#[test]
fn stacks_are_told_apart_by_the_names_of_conversions() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::open(EngineOptions { memory_budget_bytes: 4 << 20, ..Default::default() }).unwrap();
    let store = Store::create(&engine, directory.path(), StoreOptions::default()).unwrap();
    let state = store.state(StateOptions::value("v")).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    for i in 0..1_000_u32 {
        writer.put(state, store.key(&i.to_be_bytes()), b"value").unwrap();
    }
    store.barrier(Barrier::new(1)).unwrap().wait().unwrap();
    let layers = layers(&store);
    assert!(!layers.is_empty());
    let ways: [&[(u16, &str)]; 8] = [
        &[(0, "a")],
        &[(0, "b")],
        &[(1, "a")],
        &[(0, "a"), (0, "b")],
        &[(0, "b"), (0, "a")],
        &[(0, "ab")],
        &[(0, "a"), (1, "b")],
        &[(0, "b"), (1, "a")],
    ];
    let mut stacks = vec![stack_of(&layers)];
    for names in ways {
        let stack = older(&layers, names);
        assert!(!stacks.contains(&stack), "{names:?} counts as another way");
        assert_eq!(stack, older(&layers, names), "{names:?} again");
        stacks.push(stack);
    }
    let none = Some(Arc::new(Older::default()));
    let none: Vec<Layer> = layers.iter().map(|layer| Layer { older: none.clone(), ..layer.clone() }).collect();
    assert_eq!(stack_of(&none), stacks[0]);
}

/// A walk that went on in newer segments, behind an entry of a map, didn't see what had been deleted of that map by range: the map's own record
/// lies before its entries. What had been deleted was there again.
#[test]
fn what_was_deleted_by_range_isnt_brought_where_the_walk_goes_on_within_a_map() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::open(EngineOptions { memory_budget_bytes: 16 << 20, ..Default::default() }).unwrap();
    let (range, warm_up) = (KeyGroupRange::new(0, 0), WarmUp::Nothing);
    let options = StoreOptions { key_groups: 1, range, warm_up, ..Default::default() };
    let open = || Store::open_or_create(&engine, directory.path(), options.clone()).unwrap();
    let maps = |store: &Store| store.state(StateOptions::map("m")).unwrap();
    let key = |number: u32| number.to_be_bytes();
    let store = open();
    let (state, mut writer) = (maps(&store), store.writer(store.range()).unwrap());
    (0..3_000).for_each(|n| writer.map_put(state, store.key(b"k"), &key(n), b"value").unwrap());
    store.barrier(Barrier::new(1)).unwrap().wait().unwrap();
    let range = [key(1_900), key(2_100)];
    let range = crate::MapRange::between(std::ops::Bound::Included(&range[0]), std::ops::Bound::Excluded(&range[1]));
    writer.map_delete_range(state, store.key(b"k"), &range).unwrap();
    store.barrier(Barrier::new(2)).unwrap().wait().unwrap();
    drop(writer);
    store.close().unwrap();

    let store = open();
    let (state, mut writer) = (maps(&store), store.writer(store.range()).unwrap());
    let mut walk = declared::Declared::everything(&store.inner, &[store.range()]);
    // One lot: the others are of newer segments, and begin within the map, before the range.
    assert!(walk.go_on(&store.inner, std::time::Instant::now()));
    writer.map_put(state, store.key(b"k"), &key(0), b"another").unwrap();
    store.barrier(Barrier::new(3)).unwrap().wait().unwrap();
    while walk.go_on(&store.inner, std::time::Instant::now()) {}
    for n in 0..3_000 {
        let value: Option<&[u8]> = match n {
            1_900..2_100 => None,
            0 => Some(b"another"),
            _ => Some(b"value"),
        };
        assert_eq!(writer.map_get(state, store.key(b"k"), &key(n)).unwrap().as_deref(), value, "entry {n}");
    }
}

/// A store with a value of each of two states under one key: `old` in its first segment, `new` in its second. The newest layer of it is what
/// hot keys are about to be sought in. What memory has of them leaves it with what `then` does.
fn runs_beside(then: impl FnOnce(&Store, crate::State)) -> Option<Vec<u8>> {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::open(EngineOptions { memory_budget_bytes: 4 << 20, ..Default::default() }).unwrap();
    let (range, warm_up) = (KeyGroupRange::new(0, 0), WarmUp::Nothing);
    let options = StoreOptions { key_groups: 1, range, warm_up, retained_checkpoints: 4, ..Default::default() };
    let store = Store::create(&engine, directory.path(), options).unwrap();
    let states = ["a", "b"].map(|name| store.state(StateOptions::value(name)).unwrap());
    let mut writer = store.writer(range).unwrap();
    for (value, label) in [(b"old", 1), (b"new", 2)] {
        states.iter().for_each(|&state| writer.put(state, store.key(b"k"), value).unwrap());
        store.barrier(Barrier::new(label)).unwrap().wait().unwrap();
    }
    let slice = Arc::clone(&store.inner.version.lock().slices[0]);
    let mut keys = keyset::KeySet::new(2);
    for state in states {
        let mut sort_key = Vec::new();
        crate::key::push_sort_key(&mut sort_key, state.id(), store.key(b"k"));
        keys.add(&sort_key);
    }
    let mut runs = runs::Runs::new(&[(slice, 1)], &[range]);
    then(&store, states[0]);
    while runs.go_on(&store.inner, &keys, std::time::Instant::now()) {}
    writer.get(states[0], store.key(b"k")).unwrap()
}

/// The segment had stayed, for the other state.
#[test]
fn what_was_rolled_back_of_a_state_isnt_brought_from_a_segment_that_another_state_needs() {
    let value = runs_beside(|store, state| {
        let scope = crate::Scope::groups(store.range()).states(&[state]);
        store.rollback(&scope, 1).unwrap();
    });
    assert_eq!(value.as_deref(), Some(&b"old"[..]));
}

/// It was brought as it was.
#[test]
fn what_was_migrated_meanwhile_is_brought_through_its_conversion() {
    struct Longer;
    impl crate::Convert for Longer {
        fn name(&self) -> &str {
            "longer"
        }
        fn convert(&self, old: &[u8], out: &mut Vec<u8>) -> std::result::Result<(), String> {
            out.extend([old, b"er"].concat());
            Ok(())
        }
    }
    let value = runs_beside(|store, state| store.migrate(state, b"2", Arc::new(Longer)).unwrap());
    assert_eq!(value.as_deref(), Some(&b"newer"[..]));
}
