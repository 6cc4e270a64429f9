//! Repairs and events in transactional stores, whose checkpoints are of their last commit, and have what was rolled back since.

use crate::model::{Event, Step, World, engine, options};
use crate::oracle::part::{directory, patiently};
use alluvium::{
    Barrier, Commit, Compensation, Dependents, Engine, Error, EventId, KeyGroup, KeyGroupRange, Scope, Store,
    StoreOptions, Way,
};
use std::path::Path;

pub const GROUP: u16 = 1;

pub fn id(offset: u64) -> EventId {
    EventId { source: 0, offset }
}

pub fn event(offset: u64, steps: &[Step]) -> Event {
    Event { group: GROUP, id: id(offset), steps: steps.to_vec(), drawn: Vec::new() }
}

pub fn transactional() -> StoreOptions {
    StoreOptions { transactional: true, ..options(4) }
}

fn world(path: &Path) -> (Engine, World) {
    let engine = engine();
    let store = Store::create(&engine, path, transactional()).unwrap();
    (engine, World::over(store, 0))
}

pub fn commit(world: &mut World) {
    world.writer.commit(Commit::default()).unwrap().wait().unwrap();
}

pub fn checkpoint(world: &mut World, label: u64) {
    world.writer.barrier(Barrier::new(label)).unwrap().wait().unwrap();
}

pub fn scope() -> Scope {
    Scope::groups(KeyGroupRange::new(GROUP, GROUP))
}

/// Back, and then to a checkpoint that was cut when the rollback counted, and nothing had been committed since: its position is the
/// commit's from before. What the rollback undid was taken for the past of what the checkpoint has, and taken back again.
#[test]
fn what_a_rollback_undid_is_not_taken_back_from_a_checkpoint_of_the_same_commit() {
    let directory = directory();
    let (engine, mut world) = world(directory.path());
    world.apply(&mut event(0, &[Step::Merge(1, 3)]));
    commit(&mut world);
    checkpoint(&mut world, 1);
    world.apply(&mut event(1, &[Step::Merge(1, 5)]));
    commit(&mut world);
    world.store.rollback(&scope(), 1).unwrap();
    checkpoint(&mut world, 2);
    world.store.rollback(&scope(), 2).unwrap();
    commit(&mut world);
    let is_refused = |world: &mut World| {
        for way in [Way::Auto, Way::Inverse, Way::Reexecute] {
            let outcome = world.writer.repair(&[id(1)], way);
            assert!(matches!(outcome, Err(Error::Event { event, .. }) if event == id(1)), "{outcome:?}");
        }
        assert_eq!(world.content(GROUP).sums, [(1, 3)].into());
    };
    is_refused(&mut world);
    drop(world);
    let store = patiently(|| Store::open(&engine, directory.path(), transactional()));
    let mut world = World::over(store, 0);
    is_refused(&mut world);
    // What comes now is taken back as ever.
    world.apply(&mut event(1, &[Step::Merge(1, 7)]));
    commit(&mut world);
    assert_eq!(world.writer.repair(&[id(1)], Way::Auto).unwrap().groups.len(), 1);
    assert_eq!(world.content(GROUP).sums, [(1, 3)].into());
}

/// The same where the process ends before the next commit: the checkpoint has the rollback, and the changelog never does.
#[test]
fn what_a_rollback_undid_is_not_taken_back_where_only_a_checkpoint_has_it() {
    let directory = directory();
    let (engine, mut world) = world(directory.path());
    world.apply(&mut event(0, &[Step::Merge(1, 3)]));
    commit(&mut world);
    checkpoint(&mut world, 1);
    world.apply(&mut event(1, &[Step::Merge(1, 5)]));
    commit(&mut world);
    let last = world.store.last_commit();
    world.store.rollback(&scope(), 1).unwrap();
    checkpoint(&mut world, 2);
    for round in 0..3 {
        drop(world);
        let store = patiently(|| Store::open(&engine, directory.path(), transactional()));
        world = World::over(store, 0);
        assert_eq!(world.content(GROUP).sums, [(1, 3 + 7 * round)].into());
        let outcome = world.writer.repair(&[id(1)], Way::Auto);
        assert!(matches!(outcome, Err(Error::Event { event, .. }) if event == id(1)), "{outcome:?}");
        let found = world.store.last_commit();
        assert!(found.position > last.position && found.offsets == last.offsets, "{found:?}");
        // What is committed from now on is found.
        world.apply(&mut event(2 + round, &[Step::Merge(1, 7)]));
        commit(&mut world);
    }
    assert_eq!(world.writer.repair(&[id(4)], Way::Auto).unwrap().groups.len(), 1);
    assert_eq!(world.content(GROUP).sums, [(1, 17)].into());
}

/// An event that was passed over counted as something staged, and the key group couldn't be rolled back until the next commit.
#[test]
fn an_event_that_is_passed_over_stages_nothing() {
    let directory = directory();
    let (engine, mut world) = world(directory.path());
    let steps = [Step::Merge(1, 3)];
    world.apply(&mut event(0, &steps));
    commit(&mut world);
    checkpoint(&mut world, 1);
    let draws = world.programs.draws.load(std::sync::atomic::Ordering::Relaxed);
    drop(world);
    let store = patiently(|| Store::open(&engine, directory.path(), transactional()));
    let mut world = World::over(store, draws);
    let before = world.store.position().unwrap();
    for _ in 0..2 {
        let again = event(0, &steps);
        assert!(!world.writer.apply_event_once(world.handler, KeyGroup(GROUP), again.id, &again.bytes()).unwrap());
    }
    assert_eq!((world.store.staged_bytes(), world.store.position().unwrap()), (0, before));
    world.store.rollback(&scope(), 1).unwrap();
    assert_eq!(world.content(GROUP).sums, [(1, 3)].into());
}

/// What repairs, a function of the host's and events did is undone by an abort as one, and can be done again.
#[test]
fn an_abort_undoes_repairs_and_events() {
    let directory = directory();
    let (_engine, mut world) = world(directory.path());
    let numbers = world.programs.states.numbers;
    world.apply(&mut event(0, &[Step::Merge(1, 3)]));
    world.apply(&mut event(1, &[Step::Put(1, 99)]));
    commit(&mut world);
    let committed = world.content(GROUP);
    for _ in 0..2 {
        world.apply(&mut event(2, &[Step::Put(2, 7)]));
        world.writer.repair(&[id(0), id(2)], Way::Auto).unwrap();
        let mut undo = |event: &alluvium::BadEvent<'_>, applying: &mut alluvium::Applying<'_>| {
            applying.put(numbers, alluvium::Key::new(event.group, &[1]), &5_u64.to_le_bytes())
        };
        let how = Compensation::User(&mut undo, Dependents::Refuse);
        assert_eq!(world.writer.compensate(id(1), how).unwrap().groups.len(), 1);
        assert_eq!((world.content(GROUP).numbers, world.content(GROUP).sums.len()), ([(1, 5)].into(), 0));
        assert_eq!(world.committed(GROUP), committed);
        world.writer.abort_transaction().unwrap();
        assert_eq!(world.content(GROUP), committed);
        assert_eq!(world.writer.retractions().unwrap(), []);
        assert!(!world.store.already_applied(KeyGroup(GROUP), id(2)).unwrap());
        let outcome = world.store.closure(&[id(2)]);
        assert!(matches!(outcome, Err(Error::Event { .. })), "it never came: {outcome:?}");
    }
}
