//! Events that are made up for by a function of the host's.

use crate::histories::{Random, seed};
use crate::model::{Content, Event, GROUPS, KEYS, Step, World, engine, fold, options};
use alluvium::{
    Applying, BadEvent, Barrier, Class, Commit, Compensation, Dependents, Error, EventId, Key, KeyGroup, LogMode,
    Result, State, StateOptions, Store, Undo, Way,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::Ordering;

const GROUP: u16 = 1;

fn event(offset: u64, steps: &[Step]) -> Event {
    Event { group: GROUP, id: id(offset), steps: steps.to_vec(), drawn: Vec::new() }
}

fn id(offset: u64) -> EventId {
    EventId { source: 0, offset }
}

fn world(path: &Path) -> (alluvium::Engine, World) {
    let engine = engine();
    let world = World::open(&engine, path, 0, 2);
    (engine, world)
}

/// The store again, after a crash.
fn reopened(engine: &alluvium::Engine, path: &Path, world: World) -> World {
    let draws = world.programs.draws.load(Ordering::Relaxed);
    drop(world);
    loop {
        match Store::open(engine, path, options(2)) {
            Err(error) if error.class() == Class::Retry => std::thread::sleep(std::time::Duration::from_millis(1)),
            opened => {
                opened.unwrap().close().unwrap();
                return World::open(engine, path, draws, 2);
            }
        }
    }
}

fn compensate(world: &mut World, offset: u64, undo: &mut Undo<'_>) -> Result<alluvium::Repaired> {
    world.writer.compensate(id(offset), Compensation::User(undo, Dependents::Refuse))
}

/// Puts a number at key 1.
fn putting(numbers: State, n: u64) -> impl FnMut(&BadEvent<'_>, &mut Applying<'_>) -> Result<()> {
    move |event, applying| applying.put(numbers, Key::new(event.group, &[1]), &n.to_le_bytes())
}

fn is_refused(outcome: Result<alluvium::Repaired>) -> String {
    match outcome {
        Err(Error::Event { problem, .. }) => problem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_overwritten_is_put_back_by_who_knows_what_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let (_engine, mut world) = world(directory.path());
    let numbers = world.programs.states.numbers;
    world.writer.set_time_ms(70);
    let mut bad = event(1, &[Step::Put(1, 99)]);
    world.apply(&mut event(0, &[Step::Put(1, 5)]));
    world.apply(&mut bad);
    let mut calls = 0;
    let mut undo = |given: &BadEvent<'_>, applying: &mut Applying<'_>| {
        calls += 1;
        assert_eq!((given.id, given.group, given.event), (id(1), KeyGroup(GROUP), &*bad.bytes()));
        assert_eq!((given.handler, given.version, given.applied_at_ms), ("programs", 1, 70));
        assert_eq!((given.dependents.len(), applying.group()), (0, KeyGroup(GROUP)));
        let key = Key::new(given.group, &[1]);
        assert_eq!(applying.get(numbers, key)?, Some(99_u64.to_le_bytes().to_vec()));
        applying.put(numbers, key, &5_u64.to_le_bytes())
    };
    let repaired = compensate(&mut world, 1, &mut undo).unwrap();
    let again = compensate(&mut world, 1, &mut undo).unwrap();
    assert_eq!((again.before, again.groups.len(), again.retractions.len()), (vec![id(1)], 0, 0));
    assert_eq!(calls, 1, "once");
    assert_eq!((repaired.groups[0].way, &repaired.groups[0].bad), (Way::User, &vec![id(1)]));
    let [told] = &repaired.retractions[..] else { panic!("{:?}", repaired.retractions) };
    let value = |n: u64| Some(alluvium::Content::Value(n.to_le_bytes().to_vec()));
    assert_eq!((told.state, &told.key, &told.before, &told.after), (numbers, &vec![1], &value(99), &value(5)));
    assert_eq!(world.content(GROUP).numbers, [(1, 5)].into());
    // In another way it was taken back as well.
    assert_eq!(world.writer.repair(&[id(1)], Way::Auto).unwrap().before, [id(1)]);
    assert_eq!(world.writer.compensate(id(1), Compensation::Reexecute).unwrap().before, [id(1)]);
    assert!(matches!(world.writer.repair(&[id(0)], Way::User), Err(Error::Options { .. })), "it has no function");
}

#[test]
fn it_lasts_with_the_commit_and_is_told_until_it_is_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, mut world) = world(directory.path());
    let numbers = world.programs.states.numbers;
    world.apply(&mut event(0, &[Step::Put(1, 99), Step::MapPut(2, 3, 4)]));
    world.writer.commit(Commit::default()).unwrap().wait().unwrap();
    compensate(&mut world, 0, &mut putting(numbers, 5)).unwrap();
    assert_eq!(world.content(GROUP).numbers[&1], 5);
    // Nothing of it was committed.
    let mut world = reopened(&engine, directory.path(), world);
    assert_eq!(world.content(GROUP).numbers[&1], 99);
    assert_eq!(world.writer.retractions().unwrap(), []);
    let repaired = compensate(&mut world, 0, &mut putting(numbers, 6)).unwrap();
    assert_eq!(repaired.before, []);
    world.writer.commit(Commit::default()).unwrap().wait().unwrap();
    // It isn't called when that is replayed: nobody has it any more.
    let mut world = reopened(&engine, directory.path(), world);
    assert_eq!(world.content(GROUP).numbers[&1], 6);
    let mut never = |_: &BadEvent<'_>, _: &mut Applying<'_>| -> Result<()> { panic!("it was made up for before") };
    assert_eq!(compensate(&mut world, 0, &mut never).unwrap().before, [id(0)]);
    assert_eq!(world.writer.retractions().unwrap(), [(id(0), repaired.retractions)]);
    world.writer.acknowledge(KeyGroup(GROUP), id(0)).unwrap();
    world.writer.barrier(Barrier::new(1)).unwrap().wait().unwrap();
    let mut world = reopened(&engine, directory.path(), world);
    assert_eq!(world.writer.retractions().unwrap(), []);
    assert_eq!(
        compensate(&mut world, 0, &mut never).unwrap().before,
        [id(0)],
        "though it lies before the frontier now"
    );
    assert_eq!(world.content(GROUP).numbers[&1], 6);
}

#[test]
fn where_others_depend_on_it_the_host_has_to_say_that_it_knows() {
    let directory = tempfile::tempdir().unwrap();
    let (_engine, mut world) = world(directory.path());
    let numbers = world.programs.states.numbers;
    world.apply(&mut event(0, &[Step::Put(1, 99)]));
    world.apply(&mut event(1, &[Step::Copy(1, 2)]));
    world.apply(&mut event(2, &[Step::Copy(2, 3)]));
    let before = world.content(GROUP);
    let problem = is_refused(compensate(&mut world, 0, &mut putting(numbers, 5)));
    assert!(problem.contains("2 other events") && problem.contains("0:1"), "{problem}");
    assert_eq!(world.content(GROUP), before);
    let mut undo = |event: &BadEvent<'_>, applying: &mut Applying<'_>| {
        assert_eq!(event.dependents.iter().map(|event| event.id).collect::<Vec<_>>(), [id(1), id(2)]);
        (1..=3_u8).try_for_each(|at| applying.put(numbers, Key::new(event.group, &[at]), &5_u64.to_le_bytes()))
    };
    let repaired = world.writer.compensate(id(0), Compensation::User(&mut undo, Dependents::Known)).unwrap();
    assert_eq!((repaired.groups[0].dependents, repaired.retractions.len()), (2, 3));
    assert_eq!(world.content(GROUP).numbers, [(1, 5), (2, 5), (3, 5)].into());
}

#[test]
fn what_fails_has_changed_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (_engine, mut world) = world(directory.path());
    let numbers = world.programs.states.numbers;
    let untraced = world.store.state(StateOptions::value("untraced").log(LogMode::Event)).unwrap();
    world.apply(&mut event(0, &[Step::Put(1, 99), Step::MapPut(2, 3, 4), Step::Append(3, 5)]));
    let before = world.content(GROUP);
    let key = |group: KeyGroup| Key { group, key: &[1], namespace: &[] };
    let mut fails = |event: &BadEvent<'_>, applying: &mut Applying<'_>| -> Result<()> {
        putting(numbers, 5)(event, applying)?;
        Err(Error::Background("the host's own".into()))
    };
    assert!(
        matches!(compensate(&mut world, 0, &mut fails), Err(Error::Background(problem)) if problem == "the host's own")
    );
    let mut panics = |event: &BadEvent<'_>, applying: &mut Applying<'_>| -> Result<()> {
        putting(numbers, 5)(event, applying)?;
        panic!("on purpose")
    };
    assert!(compensate(&mut world, 0, &mut panics).is_err());
    let mut strays = |event: &BadEvent<'_>, applying: &mut Applying<'_>| {
        putting(numbers, 5)(event, applying)?;
        applying.put(untraced, key(event.group), b"no")
    };
    assert!(matches!(compensate(&mut world, 0, &mut strays), Err(Error::State { state, .. }) if state == "untraced"));
    let mut elsewhere = |_: &BadEvent<'_>, applying: &mut Applying<'_>| applying.delete(numbers, key(KeyGroup(2)));
    assert!(matches!(compensate(&mut world, 0, &mut elsewhere), Err(Error::OutsideRange { .. })));
    assert!(
        matches!(compensate(&mut world, 7, &mut putting(numbers, 5)), Err(Error::Event { event, .. }) if event == id(7))
    );
    assert_eq!(world.content(GROUP), before);
    assert_eq!(world.writer.retractions().unwrap(), []);
    assert_eq!(compensate(&mut world, 0, &mut putting(numbers, 5)).unwrap().before, []);
    assert_eq!(world.content(GROUP).numbers[&1], 5);
}

#[test]
fn every_kind_of_state_is_read_and_changed() {
    let directory = tempfile::tempdir().unwrap();
    let (_engine, mut world) = world(directory.path());
    let crate::model::States { numbers, sums, lists, maps } = world.programs.states;
    let all = [Step::Put(1, 9), Step::Merge(1, 9), Step::Append(1, 9), Step::MapPut(1, 1, 9), Step::MapPut(2, 2, 9)];
    world.apply(&mut event(
        0,
        &[Step::MapPut(1, 0, 1), Step::MapPut(1, 4, 4), Step::MapPut(2, 0, 1), Step::Append(1, 8)],
    ));
    world.apply(&mut event(1, &all));
    world.apply(&mut event(2, &[Step::Merge(1, 1)]));
    let mut undo = |event: &BadEvent<'_>, applying: &mut Applying<'_>| {
        let key = |at: &'static [u8]| Key::new(event.group, at);
        applying.delete(numbers, key(&[1]))?;
        applying.merge(sums, key(&[1]), &0_u64.wrapping_sub(9).to_le_bytes())?;
        let left = applying.list(lists, key(&[1]))?;
        assert_eq!(left, [[8], [9]]);
        applying.put_list(lists, key(&[1]), &[&left[0]])?;
        // An entry alone, then all of them.
        assert_eq!(applying.map_get(maps, key(&[1]), &[1])?, Some(vec![9]));
        applying.map_put(maps, key(&[1]), &[5], &[5])?;
        applying.map_delete(maps, key(&[1]), &[1])?;
        let mut found = Vec::new();
        applying.map_scan(maps, key(&[1]), &alluvium::MapRange::all(), |user_key, _| {
            found.push(user_key[0]);
            std::ops::ControlFlow::Continue(())
        })?;
        assert_eq!(found, [0, 4, 5]);
        assert_eq!(applying.map_pop_first(maps, key(&[1]))?, Some((vec![0], vec![1])));
        applying.map_clear(maps, key(&[2]))?;
        applying.map_put(maps, key(&[2]), &[0], &[1])
    };
    let repaired = compensate(&mut world, 1, &mut undo).unwrap();
    let content = world.content(GROUP);
    assert_eq!((content.numbers.len(), &content.sums, &content.lists), (0, &[(1, 1)].into(), &[(1, vec![8])].into()));
    let wanted: BTreeMap<u8, BTreeMap<u8, u8>> = [(1, [(4, 4), (5, 5)].into()), (2, [(0, 1)].into())].into();
    assert_eq!(content.maps, wanted);
    let told: Vec<(State, Vec<u8>, Option<Vec<u8>>)> =
        repaired.retractions.iter().map(|one| (one.state, one.key.clone(), one.user_key.clone())).collect();
    let entry = |at: u8, user_key: u8| (maps, vec![at], Some(vec![user_key]));
    let one = |state: State| (state, vec![1], None);
    // What it put back as it was is no change.
    assert_eq!(told, [one(numbers), one(sums), one(lists), entry(1, 0), entry(1, 1), entry(1, 5), entry(2, 2)]);
}

#[test]
fn later_repairs_know_what_the_host_changed() {
    let directory = tempfile::tempdir().unwrap();
    let (_engine, mut world) = world(directory.path());
    let crate::model::States { numbers, sums, .. } = world.programs.states;
    world.apply(&mut event(0, &[Step::Put(1, 4), Step::Merge(1, 40)]));
    world.apply(&mut event(1, &[Step::Merge(1, 3)]));
    world.apply(&mut event(2, &[Step::Put(1, 99)]));
    world.apply(&mut event(3, &[Step::Merge(1, 5)]));
    world.apply(&mut event(4, &[Step::Put(2, 7)]));
    compensate(&mut world, 2, &mut putting(numbers, 8)).unwrap();
    // Both only add.
    let mut less = |event: &BadEvent<'_>, applying: &mut Applying<'_>| {
        applying.merge(sums, Key::new(event.group, &[1]), &0_u64.wrapping_sub(3).to_le_bytes())
    };
    compensate(&mut world, 1, &mut less).unwrap();
    world.writer.repair(&[id(3)], Way::Inverse).unwrap();
    assert_eq!(world.content(GROUP).sums, [(1, 40)].into());
    // What the host put there may not be what would be.
    let before = world.content(GROUP);
    let problem = is_refused(world.writer.repair(&[id(0)], Way::Auto));
    assert!(problem.contains("0:2") || problem.contains("0:1"), "{problem}");
    let problem = is_refused(compensate(&mut world, 0, &mut putting(numbers, 1)));
    assert!(problem.contains("0:2"), "{problem}");
    assert_eq!(world.content(GROUP), before);
    // Other keys are repaired as ever, and so is what came later, from a checkpoint behind it.
    world.writer.repair(&[id(4)], Way::Auto).unwrap();
    world.writer.barrier(Barrier::new(1)).unwrap().wait().unwrap();
    world.apply(&mut event(5, &[Step::Add(1, 100)]));
    world.apply(&mut event(6, &[Step::Copy(1, 3)]));
    world.writer.repair(&[id(5)], Way::Auto).unwrap();
    assert_eq!(world.content(GROUP).numbers, [(1, 8), (3, 8)].into());
}

/// Makes of what a group holds what another content says, touching nothing that is as it should be.
pub fn mend(states: crate::model::States, now: &Content, wanted: &Content, applying: &mut Applying<'_>) -> Result<()> {
    let (group, names) = (applying.group(), (0..=255).map(|byte| [byte]).collect::<Vec<[u8; 1]>>());
    let key = |at: u8| Key::new(group, &names[usize::from(at)]);
    for at in 0..KEYS {
        for (state, now, wanted) in
            [(states.numbers, &now.numbers, &wanted.numbers), (states.sums, &now.sums, &wanted.sums)]
        {
            match (now.get(&at), wanted.get(&at)) {
                (now, wanted) if now == wanted => {}
                (_, Some(n)) => applying.put(state, key(at), &n.to_le_bytes())?,
                (_, None) => applying.delete(state, key(at))?,
            }
        }
        if now.lists.get(&at) != wanted.lists.get(&at) {
            let elements: Vec<&[u8]> = wanted.lists.get(&at).map_or(Vec::new(), |list| list.chunks(1).collect());
            applying.put_list(states.lists, key(at), &elements)?;
        }
        for user_key in 0..KEYS {
            let of = |content: &Content| content.maps.get(&at).and_then(|map| map.get(&user_key)).copied();
            match (of(now), of(wanted)) {
                (now, wanted) if now == wanted => {}
                (_, Some(n)) => applying.map_put(states.maps, key(at), &[user_key], &[n])?,
                (_, None) => applying.map_delete(states.maps, key(at), &[user_key])?,
            }
        }
    }
    Ok(())
}

/// What the model knows.
#[derive(Clone, Default)]
struct There {
    events: Vec<Event>,
    void: BTreeSet<EventId>,
}

impl There {
    fn check(&self, world: &mut World, seed: u64) {
        for (group, expected) in fold(&self.events, &self.void).into_iter().enumerate() {
            assert_eq!(world.content(group as u16), expected, "group {group}, seed {seed}");
        }
    }

    fn compensate(&mut self, world: &mut World, bad: EventId, dependents: Dependents) -> bool {
        let mut without = self.void.clone();
        without.insert(bad);
        let (now, wanted) = (fold(&self.events, &self.void), fold(&self.events, &without));
        let states = world.programs.states;
        let mut undo = |event: &BadEvent<'_>, applying: &mut Applying<'_>| {
            let group = usize::from(event.group.0);
            mend(states, &now[group], &wanted[group], applying)
        };
        match world.writer.compensate(bad, Compensation::User(&mut undo, dependents)) {
            Ok(repaired) => assert_eq!(repaired.before.contains(&bad), self.void.contains(&bad)),
            Err(Error::Event { .. }) if dependents == Dependents::Refuse => return false,
            Err(error) => panic!("{error}"),
        }
        self.void = without;
        true
    }
}

/// Events, commits, checkpoints, crashes, the host's own compensations and repairs, which may be refused after these: what is done is
/// always what the events come to without those that were taken back.
fn history(seed: u64, steps: u64) -> [u64; 4] {
    let mut random = Random::new(seed);
    let (engine, directory) = (engine(), tempfile::tempdir().unwrap());
    let mut world = World::open(&engine, directory.path(), 0, 2);
    let (mut there, mut committed, mut next) = (There::default(), There::default(), 0);
    let mut counts = [0; 4];
    for step in 0..steps {
        let recent = there.events.iter().rev().take(20).map(|event| event.id).collect::<Vec<_>>();
        match random.below(40) {
            0..26 => {
                let args = |random: &mut Random| {
                    [random.below(KEYS.into()) as u8, random.below(200) as u8, random.below(200) as u8]
                };
                let steps =
                    (0..=random.below(3)).map(|_| Step::new(random.below(Step::KINDS.into()) as u8, args(&mut random)));
                let steps = steps.collect::<Vec<_>>();
                let group = random.below(GROUPS.into()) as u16;
                let mut event = Event { group, id: id(next), steps, drawn: Vec::new() };
                next += 1;
                world.apply(&mut event);
                there.events.push(event);
            }
            26 | 27 => {
                world.writer.barrier(Barrier::new(step)).unwrap().wait().unwrap();
                committed = there.clone();
            }
            28..31 => {
                world.writer.commit(Commit::default()).unwrap().wait().unwrap();
                committed = there.clone();
            }
            31 => {
                world = reopened(&engine, directory.path(), world);
                there = committed.clone();
            }
            _ if recent.is_empty() => {}
            kind @ 32..36 => {
                let bad = recent[random.below(recent.len() as u64) as usize];
                let dependents = if kind == 32 { Dependents::Known } else { Dependents::Refuse };
                let is_old = world.store.closure(&[bad]).is_err();
                if !is_old {
                    counts[usize::from(!there.compensate(&mut world, bad, dependents))] += 1;
                }
            }
            _ => {
                let bad = recent[random.below(recent.len() as u64) as usize];
                match world.writer.repair(&[bad], Way::Auto) {
                    Ok(_) => {
                        there.void.insert(bad);
                        counts[2] += 1;
                    }
                    Err(Error::Event { .. }) => counts[3] += 1,
                    Err(error) => panic!("{error}, seed {seed}"),
                }
            }
        }
        there.check(&mut world, seed);
    }
    counts
}

#[test]
fn random_histories_with_functions_of_the_hosts() {
    let seed = seed();
    let rounds = std::env::var("ALLUVIUM_HISTORIES").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(25);
    let mut sums = [0; 4];
    for round in 0..rounds {
        let counts = history(seed.wrapping_add(round), 150);
        sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    println!("made up for, refused, repaired, refused: {sums:?}");
    assert!(sums.iter().all(|count| *count > 0), "{sums:?}");
}
