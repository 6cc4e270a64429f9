//! Repairs and events where other things come in between: too much is staged, another thread rolls back or aborts, two checkpoints have one label.

use crate::model::{Step, World, engine, options};
use crate::oracle::part::directory;
use crate::transactional::{GROUP, checkpoint, commit, event, id, scope, transactional};
use alluvium::{
    Applying, BadEvent, Compensation, Dependents, Error, Key, KeyGroup, Result, State, Store, StoreOptions, Way,
};

/// An event that failed as too much was staged counted as applied, as its note couldn't be taken back for the same reason; and a repair failed
/// the store.
#[test]
fn what_is_written_as_a_whole_is_refused_before_it_begins_where_too_much_is_staged() {
    let (directory, engine) = (directory(), engine());
    let options = StoreOptions { staged_bytes_max: 1_000, ..transactional() };
    let mut world = World::over(Store::create(&engine, directory.path(), options).unwrap(), 0);
    let steps: Vec<Step> = (0..60).map(|name| Step::Put(name, name)).collect();
    world.apply(&mut event(0, &steps));
    assert!(world.store.staged_bytes() > 1_900, "one may go beyond it");
    let one = world.content(GROUP);
    let next = event(1, &[Step::Put(1, 77), Step::Put(2, 78)]);
    let apply =
        |world: &mut World| world.writer.apply_event_once(world.handler, KeyGroup(GROUP), next.id, &next.bytes());
    for _ in 0..2 {
        assert!(matches!(apply(&mut world), Err(Error::Staged { .. })));
        let repaired = world.writer.repair(&[id(0)], Way::Auto);
        assert!(matches!(repaired, Err(Error::Staged { .. })), "{repaired:?}");
        assert!(!world.store.already_applied(KeyGroup(GROUP), id(1)).unwrap());
        assert_eq!(world.content(GROUP), one);
    }
    commit(&mut world);
    assert!(apply(&mut world).unwrap());
    assert_ne!(world.content(GROUP), one);
    commit(&mut world);
    assert_eq!(world.writer.repair(&[id(1)], Way::Auto).unwrap().groups.len(), 1);
    assert_eq!(world.content(GROUP), one);
}

/// The younger of two checkpoints with one label has the bad event: applied again from there, it stayed, and was said to be taken back.
#[test]
fn applying_again_begins_at_the_checkpoint_from_before_whatever_its_label() {
    for way in [Way::Auto, Way::Reexecute] {
        let (directory, engine) = (directory(), engine());
        let mut world = World::over(Store::create(&engine, directory.path(), options(4)).unwrap(), 0);
        world.apply(&mut event(0, &[Step::Put(1, 7), Step::Put(2, 7)]));
        checkpoint(&mut world, 7);
        let before = world.content(GROUP);
        world.apply(&mut event(1, &[Step::Put(1, 99)]));
        checkpoint(&mut world, 7);
        let repaired = world.writer.repair(&[id(1)], way).unwrap();
        assert_eq!((repaired.retractions.len(), repaired.groups[0].from), (1, Some(7)));
        assert_eq!(world.content(GROUP), before, "{way:?}");
    }
}

/// Adds to a sum what a function of the host's makes of it, after another thread did something.
fn compensate_after(world: &mut World, sums: State, between: &(dyn Fn() -> Result<()> + Sync)) -> Result<()> {
    let mut undo = |event: &BadEvent<'_>, applying: &mut Applying<'_>| {
        let key = Key::new(event.group, &[1]);
        let now = u64::from_le_bytes(applying.get(sums, key)?.unwrap().try_into().unwrap());
        std::thread::scope(|scope| scope.spawn(between).join()).unwrap()?;
        applying.put(sums, key, &(now - 5).to_le_bytes())
    };
    world.writer.compensate(id(0), Compensation::User(&mut undo, Dependents::Known)).map(drop)
}

/// What the function had read before was written after.
#[test]
fn a_rollback_in_the_middle_of_a_repair_has_it_done_again() {
    let (directory, engine) = (directory(), engine());
    let mut world = World::over(Store::create(&engine, directory.path(), options(4)).unwrap(), 0);
    let sums = world.programs.states.sums;
    checkpoint(&mut world, 1);
    world.apply(&mut event(0, &[Step::Merge(1, 5)]));
    world.apply(&mut event(1, &[Step::Merge(1, 7)]));
    let store = world.store.clone();
    let outcome = compensate_after(&mut world, sums, &|| store.rollback(&scope(), 1).map(drop));
    assert!(matches!(outcome, Err(Error::Busy { .. })), "{outcome:?}");
    assert!(world.content(GROUP).sums.is_empty());
    // The event never came: so it is applied when it comes.
    world.apply(&mut event(0, &[Step::Merge(1, 5)]));
    compensate_after(&mut world, sums, &|| Ok(())).unwrap();
    assert_eq!(world.content(GROUP).sums, [(1, 0)].into());
}

/// The same of a transaction that is undone.
#[test]
fn an_abort_in_the_middle_of_a_repair_has_it_done_again() {
    let (directory, engine) = (directory(), engine());
    let mut world = World::over(Store::create(&engine, directory.path(), transactional()).unwrap(), 0);
    let sums = world.programs.states.sums;
    world.apply(&mut event(0, &[Step::Merge(1, 5)]));
    commit(&mut world);
    world.apply(&mut event(1, &[Step::Merge(1, 7)]));
    let store = world.store.clone();
    let outcome = compensate_after(&mut world, sums, &|| store.abort_transaction());
    assert!(matches!(outcome, Err(Error::Busy { .. })), "{outcome:?}");
    assert_eq!(world.content(GROUP).sums, [(1, 5)].into());
    world.apply(&mut event(1, &[Step::Merge(1, 7)]));
    compensate_after(&mut world, sums, &|| Ok(())).unwrap();
    assert_eq!(world.content(GROUP).sums, [(1, 7)].into());
}
