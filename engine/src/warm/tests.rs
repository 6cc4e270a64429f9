//! What a hot list's values were found in, and whether a store still has that.

use super::*;
use crate::convert::{Conversion, Older};
use crate::ids::StateId;
use crate::options::{EngineOptions, StoreOptions};
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
