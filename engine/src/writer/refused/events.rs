//! Of events that are applied once, of what takes them back, and of keys that are brought back.

use super::{Model, NEW, OLD, PLACES, Scene, States, each_refusal, key, value};
use crate::as_of::AsOf;
use crate::error::{Error, Result};
use crate::events::{Applying, Handler, HandlerId};
use crate::ids::{EventId, KeyGroup};
use crate::options::{Durability, History, StoreOptions};
use crate::repair::{Compensation, Way};
use crate::rollback_keys::KeyScope;
use crate::scan::MapRange;
use crate::store::Store;
use std::ops::Bound;
use std::sync::Arc;

/// Does many things, or adds only; fails at its end or not.
#[derive(Debug)]
struct Does(States);

const GROUP: KeyGroup = KeyGroup(1);

impl Handler for Does {
    fn name(&self) -> &str {
        "does"
    }

    fn version(&self) -> u32 {
        1
    }

    fn apply(&self, event: &[u8], applying: &mut Applying<'_>) -> Result<()> {
        let Self(states) = self;
        applying.merge(states.sums, key(&OLD), &5_u64.to_le_bytes())?;
        applying.merge(states.sums, key(&NEW), &6_u64.to_le_bytes())?;
        if event != b"adds" {
            applying.put(states.cells, key(&OLD), &value(3))?;
            applying.update(states.cells, key(&NEW), |old| old.map(|old| [old, &[1; 30]].concat()))?;
            applying.append(states.lists, key(&OLD).in_namespace(&[1]), &value(6))?;
            applying.merge_namespaces(states.lists, key(&OLD).in_namespace(&[0]), &[&[2]])?;
            applying.map_put(states.maps, key(&OLD), &100_u64.to_be_bytes(), &value(1))?;
            applying.map_pop_first(states.maps, key(&OLD))?;
            let (from, to) = (5_u64.to_be_bytes(), 12_u64.to_be_bytes());
            let range = MapRange::between(Bound::Included(&from), Bound::Excluded(&to));
            applying.map_delete_range(states.maps, key(&OLD), &range)?;
            applying.delete(states.cells, key(&OLD))?;
        }
        if event == b"fails" { Err(Error::Background("at its end".into())) } else { Ok(()) }
    }
}

/// The same in a model.
fn apply(event: &[u8], model: &mut Model) {
    *model.sums.get_mut(&OLD[0]).unwrap() += 5;
    *model.sums.get_mut(&NEW[0]).unwrap() += 6;
    if event != b"adds" {
        model.cells.get_mut(&NEW[0]).unwrap().extend_from_slice(&[1; 30]);
        model.cells.remove(&OLD[0]);
        model.lists.get_mut(&(OLD[0], 1)).unwrap().push(value(6));
        let moved = std::mem::take(model.lists.get_mut(&(OLD[0], 2)).unwrap());
        model.lists.get_mut(&(OLD[0], 0)).unwrap().extend(moved);
        let map = model.maps.get_mut(&OLD[0]).unwrap();
        map.insert(100, value(1));
        map.pop_first();
        map.retain(|entry, _| !(5..12).contains(entry));
    }
}

/// The handler of the events of a store, which has to know it before anything that they changed is asked for.
pub(super) fn register(store: &Store, states: States) {
    store.handler(Arc::new(Does(states))).unwrap();
}

const HANDLER: HandlerId = HandlerId::numbered(0);

fn events_are_applied_once(options: &StoreOptions, traced: bool) {
    let mut scene = Scene::new(options, traced);
    let (mut offset, mut refused) = (0, 0);
    for event in [&b"adds"[..], b"changes", b"fails"] {
        let name = String::from_utf8_lossy(event).into_owned();
        for place in 0..PLACES {
            let mut model = Model::default();
            refused += each_refusal(&name, place % 2 == 1, |which| {
                offset += 1;
                let before = scene.prepare(place, offset);
                model.clone_from(&before);
                let what = format!("{name}, place {place}, allocation {which:?}");
                // Some are the first of their source.
                let id = EventId { source: offset as u32 / 2, offset };
                let was_refused = scene.refusing(which, |_, writer, _| {
                    let applied = writer.apply_event_once(HANDLER, GROUP, id, event);
                    assert!(applied.is_ok_and(|applied| applied) != (event == b"fails"), "{what}");
                });
                apply(event, &mut model);
                scene.check(&model, &what);
                if options.transactional && offset % 4 < 2 {
                    scene.parts().1.abort_transaction().unwrap();
                    scene.check(&before, &format!("{what}, undone"));
                    // As if it hadn't been.
                    model = before;
                    assert!(scene.parts().1.apply_event_once(HANDLER, GROUP, id, b"adds").unwrap(), "{what}");
                    apply(b"adds", &mut model);
                } else if event == b"fails" {
                    assert!(scene.parts().1.apply_event_once(HANDLER, GROUP, id, b"adds").unwrap(), "{what}");
                    apply(b"adds", &mut model);
                }
                assert!(!scene.parts().1.apply_event_once(HANDLER, GROUP, id, event).unwrap(), "{what}");
                scene.commit();
                was_refused
            });
            scene.reopen();
            scene.check(&model, &format!("{name}, place {place}, opened again"));
            let id = EventId { source: offset as u32 / 2, offset };
            assert!(!scene.parts().1.apply_event_once(HANDLER, GROUP, id, event).unwrap());
        }
    }
    println!("{refused} allocations were refused");
    assert!(refused > 60);
}

fn with_changelog(transactional: bool) -> StoreOptions {
    StoreOptions { transactional, durability: Durability::Changelog, ..Default::default() }
}

#[test]
fn events_that_are_refused_memory_are_applied_once() {
    events_are_applied_once(&with_changelog(false), false);
}

#[test]
fn traced_events_that_are_refused_memory_are_applied_once() {
    events_are_applied_once(&with_changelog(false), true);
}

#[test]
fn events_that_are_refused_memory_are_applied_once_in_a_transaction() {
    events_are_applied_once(&with_changelog(true), true);
}

#[test]
fn keys_are_brought_back_where_memory_is_refused() {
    let of = |options, places: &[usize]| (options, places.to_vec());
    let checkpoints = of(StoreOptions::default(), &[0, 1, 2, 3]);
    for (options, places) in [checkpoints, of(with_changelog(false), &[2]), of(with_changelog(true), &[1])] {
        let mut scene = Scene::new(&options, false);
        let (mut salt, mut refused) = (0, 0);
        for place in places {
            let mut model = Model::default();
            refused += each_refusal("rollback_keys", place % 2 == 1, |which| {
                salt += 10;
                let what = format!("place {place}, allocation {which:?}");
                model = scene.prepare(1, salt);
                let label = scene.label;
                if place % 2 == 1 {
                    scene.evict();
                }
                let (store, writer, states) = scene.parts();
                store.retain(label).unwrap();
                states.fill(writer, salt + 3);
                writer.map_clear(states.maps, key(&OLD)).unwrap();
                writer.put(states.cells, key(&OLD), b"other").unwrap();
                scene.commit();
                if place > 1 {
                    scene.checkpoint();
                    scene.evict();
                }
                let was_refused = scene.refusing(which, |_, writer, states| bring_back(writer, states, label));
                scene.check(&model, &what);
                scene.parts().0.release(label).unwrap();
                scene.commit();
                was_refused
            });
            if options.durability == Durability::Checkpoint {
                scene.checkpoint();
            }
            scene.reopen();
            scene.check(&model, "opened again");
        }
        println!("{refused} allocations were refused");
        assert!(refused > 20);
    }
}

fn bring_back(writer: &mut super::Writer, states: States, label: u64) {
    let names: Vec<[u8; 1]> = (0..super::KEYS).map(|n| [n]).collect();
    let mut keys = Vec::new();
    for name in &names {
        keys.extend([states.cells, states.sums, states.maps].map(|state| (state, key(name))));
        for namespace in [&[0_u8], &[1], &[2]] {
            keys.extend([states.lists, states.joined].map(|state| (state, key(name).in_namespace(namespace))));
        }
    }
    writer.rollback_keys(&KeyScope::Keys(&keys), AsOf::Label(label)).unwrap();
}

#[test]
fn events_are_taken_back_where_memory_is_refused() {
    for (transactional, way) in [(false, Way::Inverse), (true, Way::Inverse), (false, Way::Reexecute)] {
        let history = History { checkpoints: 2 };
        let mut scene = Scene::new(&StoreOptions { history, ..with_changelog(transactional) }, true);
        let (mut offset, mut refused) = (0, 0);
        // To apply events again begins at a checkpoint, from which on only events may change anything.
        for place in usize::from(way == Way::Reexecute)..3 {
            let mut model = Model::default();
            refused += each_refusal("taking back", place % 2 == 1, |which| {
                let what = format!("{way:?}, place {place}, allocation {which:?}");
                offset += 2;
                // What lies before the oldest checkpoint can't be taken back.
                model = scene.prepare(place.min(1), offset);
                let (bad, good) = ([offset - 1, offset]).map(|offset| EventId { source: 0, offset }).into();
                let changes: &[u8] = if way == Way::Inverse { b"adds" } else { b"changes" };
                let (_, writer, _) = scene.parts();
                assert!(writer.apply_event_once(HANDLER, GROUP, bad, changes).unwrap());
                assert!(writer.apply_event_once(HANDLER, GROUP, good, b"adds").unwrap());
                apply(b"adds", &mut model);
                scene.commit();
                if place > 0 {
                    scene.checkpoint();
                }
                if place > 1 {
                    scene.evict();
                }
                let was_refused = scene.refusing(which, |_, writer, _| {
                    let how = if way == Way::Inverse { Compensation::Inverse } else { Compensation::Reexecute };
                    writer.compensate(bad, how).unwrap();
                });
                scene.check(&model, &what);
                scene.commit();
                was_refused
            });
            scene.reopen();
            scene.check(&model, "opened again");
        }
        println!("{refused} allocations were refused");
    }
}
