//! Repairs and what becomes of a key group besides: it goes on in another store, the changelog forgets, it is rolled back far.

use crate::model::{Event, GROUPS, Step, World, engine, options};
use crate::oracle::fold::told;
use crate::oracle::part::{directory, patiently};
use alluvium::{
    Barrier, CheckpointSource, Engine, Error, EventId, History, KeyGroup, KeyGroupRange, Scope, StateOptions, Store,
    StoreOptions, Way,
};
use tempfile::TempDir;

fn id(offset: u64) -> EventId {
    EventId { source: 0, offset }
}

fn event(group: u16, offset: u64, steps: &[Step]) -> Event {
    Event { group, id: id(offset), steps: steps.to_vec(), drawn: Vec::new() }
}

fn checkpoint(world: &mut World, label: u64) {
    world.writer.barrier(Barrier::new(label)).unwrap().wait().unwrap();
}

fn close(world: World) {
    let World { store, writer, .. } = world;
    drop(writer);
    store.close().unwrap();
}

fn of(range: KeyGroupRange, checkpoints: usize) -> StoreOptions {
    StoreOptions { range, history: History { checkpoints }, ..options(checkpoints) }
}

fn all() -> KeyGroupRange {
    KeyGroupRange::new(0, GROUPS - 1)
}

/// Another store that goes on from the checkpoints of some.
fn restore(engine: &Engine, from: &[&TempDir], into: &TempDir, checkpoints: usize) -> World {
    let source = |directory: &&TempDir| CheckpointSource { directory: directory.path().to_owned(), label: None };
    let sources: Vec<CheckpointSource> = from.iter().map(source).collect();
    World::over(Store::restore(engine, into.path(), &sources, of(all(), checkpoints)).unwrap(), 0)
}

#[test]
fn what_was_taken_back_is_known_where_the_changelog_has_nothing_of_it() {
    let (engine, [first, second]) = (engine(), [directory(), directory()]);
    let mut world = World::open(&engine, first.path(), 0, 2);
    world.apply(&mut event(1, 0, &[Step::Merge(1, 5)]));
    world.apply(&mut event(1, 1, &[Step::Merge(1, 7)]));
    let repaired = world.writer.repair(&[id(0)], Way::Auto).unwrap();
    checkpoint(&mut world, 1);
    // Behind the frontier.
    for label in 2..6 {
        world.apply(&mut event(1, label, &[Step::Merge(1, 1)]));
        checkpoint(&mut world, label);
    }
    assert_eq!(world.writer.repair(&[id(0)], Way::Auto).unwrap().before, [id(0)]);
    let refused = world.writer.repair(&[id(0), id(1)], Way::Auto);
    assert!(matches!(refused, Err(Error::Event { event, .. }) if event == id(1)), "{refused:?}");
    close(world);
    let mut world = restore(&engine, &[&first], &second, 2);
    for way in [Way::Auto, Way::Inverse, Way::Reexecute] {
        let again = world.writer.repair(&[id(0)], way).unwrap();
        assert_eq!((again.before, again.groups, again.retractions), (vec![id(0)], vec![], vec![]), "{way:?}");
    }
    assert_eq!(world.content(1).sums[&1], 7 + 4);
    assert_eq!(world.writer.retractions().unwrap(), [(id(0), repaired.retractions)]);
    let refused = world.writer.repair(&[id(1)], Way::Auto);
    assert!(matches!(refused, Err(Error::Event { event, .. }) if event == id(1)), "its history is elsewhere");
    world.writer.acknowledge(KeyGroup(1), id(0)).unwrap();
    assert_eq!(world.writer.retractions().unwrap(), []);
}

/// The numbers of states are a store's own.
#[test]
fn retractions_name_the_states_of_the_store_that_they_are_in() {
    let (engine, [low, high, whole]) = (engine(), [directory(), directory(), directory()]);
    let (of_low, of_high) = (KeyGroupRange::new(0, 1), KeyGroupRange::new(2, 3));
    let mut changes = Vec::new();
    for (directory, range, group) in [(&low, of_low, 1), (&high, of_high, 2)] {
        let store = Store::create(&engine, directory.path(), of(range, 2)).unwrap();
        if group == 2 {
            store.state(StateOptions::map("another")).unwrap();
        }
        let mut world = World::over(store, 0);
        world.apply(&mut event(group, 0, &[Step::Merge(1, 5), Step::Append(2, 9), Step::MapPut(3, 1, 2)]));
        let repaired = world.writer.repair(&[id(0)], Way::Auto).unwrap();
        let states = world.programs.states;
        changes.extend(repaired.retractions.iter().map(|retraction| told(retraction, states)));
        checkpoint(&mut world, 1);
        close(world);
    }
    assert_eq!(changes.len(), 6);
    let mut world = restore(&engine, &[&low, &high], &whole, 2);
    let states = world.programs.states;
    let kept = world.writer.retractions().unwrap();
    let found: Vec<_> =
        kept.iter().flat_map(|(_, all)| all.iter().map(|retraction| told(retraction, states))).collect();
    assert_eq!(found, changes);
}

/// What repairs noted of positions is of the changelog of the store that they were done in.
#[test]
fn repairs_go_on_in_another_store() {
    let (engine, [first, second]) = (engine(), [directory(), directory()]);
    let mut world = World::open(&engine, first.path(), 0, 1);
    world.apply(&mut event(1, 0, &[Step::Put(3, 100)]));
    world.apply(&mut event(1, 1, &[Step::Copy(3, 4)]));
    for offset in 2..200 {
        world.apply(&mut event(1, offset, &[Step::Add(0, 1), Step::Merge(0, 1)]));
    }
    world.writer.repair(&[id(0)], Way::Reexecute).unwrap();
    checkpoint(&mut world, 1);
    close(world);
    let mut world = restore(&engine, &[&first], &second, 1);
    world.apply(&mut event(1, 200, &[Step::Add(1, 1)]));
    checkpoint(&mut world, 2);
    world.apply(&mut event(1, 201, &[Step::Add(1, 5)]));
    world.apply(&mut event(1, 202, &[Step::Merge(1, 5)]));
    world.apply(&mut event(1, 203, &[Step::Merge(1, 7), Step::Add(2, 1)]));
    // One that reads, behind one that only added: it isn't one that was applied again.
    world.writer.repair(&[id(202)], Way::Inverse).unwrap();
    world.writer.repair(&[id(201)], Way::Reexecute).unwrap();
    let content = world.content(1);
    assert_eq!((content.numbers[&1], content.sums[&1], content.numbers[&0]), (1, 7, 198));
}

#[test]
fn an_inverse_that_changes_nothing_is_no_retraction() {
    let (engine, directory) = (engine(), directory());
    let mut world = World::open(&engine, directory.path(), 0, 2);
    world.apply(&mut event(1, 0, &[Step::Merge(1, 5)]));
    world.apply(&mut event(1, 1, &[Step::Merge(1, 0), Step::Merge(2, 0)]));
    let repaired = world.writer.repair(&[id(1)], Way::Inverse).unwrap();
    let states = world.programs.states;
    let changed: Vec<_> = repaired.retractions.iter().map(|retraction| told(retraction, states).place).collect();
    // The other one is gone.
    assert_eq!(changed, [(1, 2, None)]);
}

/// The checkpoint that a key group went back to is one to begin at, however old: what lies between is not on its way.
#[test]
fn what_came_since_a_rollback_behind_the_frontier_is_repaired() {
    let (engine, directory) = (engine(), directory());
    let mut world = World::open(&engine, directory.path(), 0, 1);
    world.apply(&mut event(1, 0, &[Step::Add(1, 1)]));
    checkpoint(&mut world, 1);
    world.store.retain(1).unwrap();
    for offset in 1..4 {
        world.apply(&mut event(1, offset, &[Step::Add(1, 10)]));
        checkpoint(&mut world, offset + 1);
    }
    world.store.rollback(&Scope::groups(KeyGroupRange::new(1, 1)), 1).unwrap();
    world.apply(&mut event(1, 1, &[Step::Add(1, 10)]));
    world.apply(&mut event(1, 2, &[Step::Copy(1, 2)]));
    let repaired = world.writer.repair(&[id(1)], Way::Reexecute).unwrap();
    assert_eq!((repaired.groups[0].from, repaired.groups[0].dependents), (Some(1), 1));
    assert_eq!((world.content(1).numbers[&1], world.content(1).numbers[&2]), (1, 1));
}

/// An event that went to two key groups, of which the changelog has one: what was done is said by key group.
#[test]
fn a_repair_says_in_which_key_groups_it_was() {
    let (engine, [first, second]) = (engine(), [directory(), directory()]);
    let mut world = World::open(&engine, first.path(), 0, 2);
    checkpoint(&mut world, 1);
    [1, 2].iter().for_each(|group| world.apply(&mut event(*group, 0, &[Step::Add(1, 5)])));
    world.store.rollback(&Scope::groups(KeyGroupRange::new(1, 1)), 1).unwrap();
    checkpoint(&mut world, 2);
    close(world);
    let mut world = restore(&engine, &[&first], &second, 2);
    world.apply(&mut event(1, 0, &[Step::Add(1, 5)]));
    let repaired = world.writer.repair(&[id(0)], Way::Auto).unwrap();
    let groups: Vec<u16> = repaired.groups.iter().map(|repair| repair.group.0).collect();
    assert_eq!(groups, [1]);
    assert_eq!((world.content(1).numbers.get(&1), world.content(2).numbers[&1]), (None, 5));
}

/// Only what is empty at position 0 of its changelog is empty there: a store that others' state went into isn't.
#[test]
fn a_store_that_got_its_changelog_later_does_not_begin_with_nothing() {
    let (engine, directory) = (engine(), directory());
    let path = directory.path();
    let logs = of(all(), 1);
    let plain = StoreOptions { key_groups: logs.key_groups, range: logs.range, ..StoreOptions::default() };
    let store = Store::create(&engine, path, plain).unwrap();
    let sums = StateOptions::merging("sums", alluvium::MergeOperator::U64Add).log(alluvium::LogMode::Event).traced();
    let sums = store.state(sums).unwrap();
    let mut writer = store.writer(store.range()).unwrap();
    writer.merge(sums, alluvium::Key::new(KeyGroup(1), &[1]), &0_u64.to_le_bytes()).unwrap();
    writer.barrier(Barrier::new(1)).unwrap().wait().unwrap();
    drop(writer);
    store.close().unwrap();
    let mut world = World::over(patiently(|| Store::open(&engine, path, logs.clone())), 0);
    world.apply(&mut event(1, 0, &[Step::Merge(1, 5)]));
    world.writer.repair(&[id(0)], Way::Inverse).unwrap();
    // A sum of 0 that was there is there again, not nothing.
    assert_eq!(world.content(1).sums.get(&1), Some(&0));
}
