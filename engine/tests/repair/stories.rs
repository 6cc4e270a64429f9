//! Single repairs, told one by one.

use crate::model::{Event, Step, World, engine};
use alluvium::{Barrier, Commit, Error, EventId, Key, KeyGroup, Way};

fn event(offset: u64, steps: &[Step]) -> Event {
    Event { group: 1, id: EventId { source: 0, offset }, steps: steps.to_vec(), drawn: Vec::new() }
}

fn world(directory: &tempfile::TempDir) -> (alluvium::Engine, World) {
    let engine = engine();
    let world = World::open(&engine, directory.path(), 0, 2);
    (engine, world)
}

fn id(offset: u64) -> EventId {
    EventId { source: 0, offset }
}

#[test]
fn an_event_is_applied_once() {
    let directory = tempfile::tempdir().unwrap();
    let (_engine, mut world) = world(&directory);
    let mut one = event(7, &[Step::Add(1, 5)]);
    world.apply(&mut one);
    let again = world.writer.apply_event_once(world.handler, KeyGroup(1), id(7), &one.bytes()).unwrap();
    let older = world.writer.apply_event_once(world.handler, KeyGroup(1), id(3), &one.bytes()).unwrap();
    assert!(!again && !older);
    assert_eq!(world.content(1).numbers[&1], 5);
    for (group, offset, applied) in [(1, 7, true), (1, 2, true), (1, 8, false), (2, 7, false)] {
        assert_eq!(world.store.already_applied(KeyGroup(group), id(offset)).unwrap(), applied, "{group}, {offset}");
    }
    let other = world.writer.apply_event_once(world.handler, KeyGroup(2), id(3), &one.bytes()).unwrap();
    assert!(other, "another key group");
}

#[test]
fn what_only_added_is_taken_back_by_its_inverse() {
    let directory = tempfile::tempdir().unwrap();
    let (_engine, mut world) = world(&directory);
    for (offset, steps) in [
        (0, vec![Step::Merge(1, 5), Step::Append(2, 9)]),
        (1, vec![Step::Merge(1, 100), Step::Append(2, 77), Step::Merge(3, 50)]),
        (2, vec![Step::Merge(1, 7), Step::Append(2, 10)]),
    ] {
        world.apply(&mut event(offset, &steps));
    }
    let repaired = world.writer.repair(&[id(1)], Way::Inverse).unwrap();
    assert_eq!((repaired.groups[0].way, repaired.groups[0].dependents), (Way::Inverse, 0));
    let content = world.content(1);
    assert_eq!((content.sums.get(&1), content.sums.get(&3)), (Some(&12), None));
    assert_eq!(content.lists[&2], [9, 10]);
    assert_eq!(repaired.retractions.len(), 3);
    let again = world.writer.repair(&[id(1)], Way::Inverse).unwrap();
    assert_eq!(again.before, [id(1)]);
    assert!(again.retractions.is_empty());
    assert_eq!(world.content(1), content);
}

#[test]
fn what_was_read_has_no_inverse() {
    let directory = tempfile::tempdir().unwrap();
    let (_engine, mut world) = world(&directory);
    world.apply(&mut event(0, &[Step::Merge(1, 5)]));
    world.apply(&mut event(1, &[Step::Sum(1, 2)]));
    world.apply(&mut event(2, &[Step::Put(3, 3)]));
    for bad in [0, 2] {
        let refused = world.writer.repair(&[id(bad)], Way::Inverse);
        assert!(matches!(refused, Err(Error::Event { event, .. }) if event == id(bad)), "{refused:?}");
    }
    world.writer.repair(&[id(0)], Way::Auto).unwrap();
    let content = world.content(1);
    assert_eq!((content.numbers[&2], content.numbers[&3], content.sums.len()), (0, 3, 0));
}

#[test]
fn beyond_the_frontier_nothing_is_repaired() {
    let directory = tempfile::tempdir().unwrap();
    let (_engine, mut world) = world(&directory);
    world.apply(&mut event(0, &[Step::Add(1, 5)]));
    for label in 1..=4 {
        world.apply(&mut event(label, &[Step::Add(2, 5)]));
        world.writer.barrier(Barrier::new(label)).unwrap().wait().unwrap();
    }
    let before = world.content(1);
    assert!(matches!(world.writer.repair(&[id(0)], Way::Auto), Err(Error::Event { event, .. }) if event == id(0)));
    assert!(matches!(world.store.closure(&[id(99)]), Err(Error::Event { event, .. }) if event == id(99)));
    assert_eq!(world.content(1), before);
}

#[test]
fn what_something_else_changed_is_not_repaired() {
    let directory = tempfile::tempdir().unwrap();
    let (_engine, mut world) = world(&directory);
    world.apply(&mut event(0, &[Step::Add(1, 5)]));
    world.apply(&mut event(1, &[Step::Add(1, 6)]));
    let numbers = world.programs.states.numbers;
    world.writer.put(numbers, Key::new(KeyGroup(1), &[1]), &99_u64.to_le_bytes()).unwrap();
    let refused = world.writer.repair(&[id(0)], Way::Auto);
    assert!(matches!(refused, Err(Error::Event { .. })), "{refused:?}");
    assert_eq!(world.content(1).numbers[&1], 99);
}

#[test]
fn retractions_are_kept_until_they_are_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, mut world) = world(&directory);
    world.apply(&mut event(0, &[Step::Add(1, 5), Step::MapPut(2, 1, 1)]));
    world.apply(&mut event(1, &[Step::Copy(1, 3)]));
    let repaired = world.writer.repair(&[id(0)], Way::Auto).unwrap();
    assert_eq!(repaired.retractions.len(), 3);
    world.writer.commit(Commit::default()).unwrap().wait().unwrap();
    drop(world);
    let mut world = loop {
        match alluvium::Store::open(&engine, directory.path(), crate::model::options(2)) {
            Ok(store) => {
                store.close().unwrap();
                break World::open(&engine, directory.path(), 0, 2);
            }
            Err(error) => assert_eq!(error.class(), alluvium::Class::Retry, "{error}"),
        }
    };
    assert_eq!(world.writer.retractions().unwrap(), [(id(0), repaired.retractions)]);
    world.writer.acknowledge(KeyGroup(1), id(0)).unwrap();
    assert_eq!(world.writer.retractions().unwrap(), []);
    assert!(world.writer.acknowledge(KeyGroup(1), id(1)).is_err());
}

#[test]
fn where_a_value_comes_from_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let (_engine, mut world) = world(&directory);
    world.apply(&mut event(0, &[Step::Put(1, 5)]));
    world.apply(&mut event(1, &[Step::Put(4, 5)]));
    world.apply(&mut event(2, &[Step::Copy(1, 2)]));
    world.apply(&mut event(3, &[Step::Copy(2, 3)]));
    world.apply(&mut event(4, &[Step::Put(1, 6)]));
    let numbers = world.programs.states.numbers;
    let from = |key: u8| -> Vec<u64> {
        let found = world.store.provenance(numbers, Key::new(KeyGroup(1), &[key]), None).unwrap();
        found.iter().map(|event| event.id.offset).collect()
    };
    assert_eq!(from(3), [0, 2, 3]);
    assert_eq!(from(1), [4]);
    assert_eq!(from(5), []);
    let closure = world.store.closure(&[id(0)]).unwrap();
    assert_eq!(closure.events.iter().map(|event| event.id.offset).collect::<Vec<_>>(), [0, 2, 3]);
    assert_eq!((closure.suffix_events, closure.keys), (5, 3));
}

/// A number that may not be above 100.
#[derive(Debug)]
struct AtMost(alluvium::State);

impl alluvium::Invariant for AtMost {
    fn holds(&self, event: &[u8], applying: &mut alluvium::Applying<'_>) -> alluvium::Result<bool> {
        let key = Key::new(applying.group(), &event[1..2]);
        assert!(applying.put(self.0, key, b"no").is_err(), "it only reads");
        let value = applying.get(self.0, key)?;
        Ok(value.is_none_or(|value| u64::from_le_bytes(value.try_into().unwrap()) <= 100))
    }
}

#[test]
fn triggers_fire_and_lead_to_repairs() {
    let directory = tempfile::tempdir().unwrap();
    let (_engine, mut world) = world(&directory);
    let numbers = world.programs.states.numbers;
    let late = world.store.watch(alluvium::Trigger::Straggler);
    let poison = world.store.watch(alluvium::Trigger::Event(id(2)));
    let above = world.store.watch(alluvium::Trigger::Invariant(std::sync::Arc::new(AtMost(numbers))));
    for (offset, now_ms, step) in [(0, 10, Step::Add(1, 60)), (1, 20, Step::Put(2, 1)), (2, 15, Step::Add(1, 70))] {
        world.writer.set_time_ms(now_ms);
        world.apply(&mut event(offset, &[step]));
    }
    let (fired, lost) = world.store.fired();
    let told: Vec<_> = fired.iter().map(|fired| (fired.trigger, fired.event)).collect();
    assert_eq!((told, lost), (vec![(late, id(2)), (poison, id(2)), (above, id(2))], 0));
    world.writer.repair(&[fired[2].event], Way::Auto).unwrap();
    assert_eq!(world.content(1).numbers[&1], 60);
    world.store.unwatch(above);
    world.writer.set_time_ms(30);
    world.apply(&mut event(3, &[Step::Add(1, 200)]));
    assert_eq!(world.store.fired().0, []);
}

/// A trigger fired at events that are late by what came before it was set, where another trigger had been set by then.
#[test]
fn a_straggler_is_late_by_what_came_since_its_trigger_was_set() {
    let directory = tempfile::tempdir().unwrap();
    let (_engine, mut world) = world(&directory);
    let watch = |world: &World| world.store.watch(alluvium::Trigger::Straggler);
    let mut offset = 0;
    let mut fired_at = |world: &mut World, now_ms: u64| {
        world.writer.set_time_ms(now_ms);
        world.apply(&mut event(offset, &[Step::Put(1, 1)]));
        offset += 1;
        world.store.fired().0.into_iter().map(|fired| fired.trigger).collect::<Vec<_>>()
    };
    let other = world.store.watch(alluvium::Trigger::Event(id(99)));
    assert_eq!(fired_at(&mut world, 1_000), []);
    let first = watch(&world);
    assert_eq!(fired_at(&mut world, 500), [], "it is the first since");
    assert_eq!(fired_at(&mut world, 600), []);
    let second = watch(&world);
    assert_eq!(fired_at(&mut world, 550), [first]);
    assert_eq!(fired_at(&mut world, 540), [first, second]);
    world.store.unwatch(first);
    assert_eq!(fired_at(&mut world, 545), [second]);
    world.store.unwatch(second);
    let third = watch(&world);
    assert_eq!(fired_at(&mut world, 400), []);
    assert_eq!(fired_at(&mut world, 399), [third]);
    world.store.unwatch(other);
}

#[test]
fn a_scratch_store_that_a_crash_left_goes_when_the_store_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, mut world) = world(&directory);
    world.writer.barrier(Barrier::new(1)).unwrap().wait().unwrap();
    world.apply(&mut event(0, &[Step::Add(1, 5)]));
    world.apply(&mut event(1, &[Step::Copy(1, 3)]));
    world.writer.commit(Commit::default()).unwrap();
    let World { store, writer, .. } = world;
    drop(writer);
    store.close().unwrap();
    let [left, other] = ["scratch-0123456789abcdef", "scratch-of-mine"].map(|name| directory.path().join(name));
    for made in [&left, &other] {
        std::fs::create_dir(made).unwrap();
        std::fs::write(made.join("LOCK"), b"").unwrap();
    }
    let mut world = World::open(&engine, directory.path(), 0, 2);
    assert!(!left.exists() && other.exists());
    let repaired = world.writer.repair(&[id(0)], Way::Reexecute);
    assert!(repaired.is_ok(), "{repaired:?}");
    assert_eq!(world.content(1).numbers.get(&1), None);
    let scratches = std::fs::read_dir(directory.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with("scratch-0"));
    assert_eq!(scratches.count(), 0, "nor does a repair leave one");
}

#[test]
fn an_event_that_went_to_several_key_groups_is_taken_back_in_all() {
    let directory = tempfile::tempdir().unwrap();
    let (_engine, mut world) = world(&directory);
    for offset in 0..3 {
        for group in 0..3 {
            let mut event = Event { group, ..event(offset, &[Step::Add(1, 10 + offset as u8)]) };
            world.apply(&mut event);
        }
        // So that they lie in several stretches of the changelog.
        world.writer.commit(Commit::default()).unwrap().wait().unwrap();
    }
    let repaired = world.writer.repair(&[id(1)], Way::Auto).unwrap();
    let groups: Vec<u16> = repaired.groups.iter().map(|repair| repair.group.0).collect();
    assert_eq!(groups, [0, 1, 2]);
    (0..3).for_each(|group| assert_eq!(world.content(group).numbers[&1], 22, "group {group}"));
}

#[test]
fn what_an_event_does_otherwise_after_a_repair_is_known_to_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let (_engine, mut world) = world(&directory);
    for (offset, steps) in [
        (0, vec![Step::Put(3, 100)]),
        (1, vec![Step::Put(3, 0), Step::Put(1, 81)]),
        // With 1 it appends to a list; without it it puts a number, which 1 put, too.
        (2, vec![Step::If(3, 18, 1)]),
        (3, vec![Step::Put(1, 5)]),
    ] {
        world.apply(&mut event(offset, &steps));
    }
    world.writer.repair(&[id(1)], Way::Auto).unwrap();
    assert_eq!((world.content(1).numbers[&1], world.content(1).lists.len()), (5, 0));
    world.writer.repair(&[id(3)], Way::Auto).unwrap();
    assert_eq!(world.content(1).numbers[&1], 100);
    world.writer.repair(&[id(2)], Way::Auto).unwrap();
    assert_eq!(world.content(1).numbers.get(&1), None);
}
