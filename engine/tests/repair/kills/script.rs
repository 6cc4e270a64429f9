//! What a process does that is killed: a few repairs, or a few rollbacks, in stages. Each ends with a commit that lasts, which says its number.

use crate::model::{Event, Step, World};
use crate::oracle::fold::{Change, Group};
use alluvium::{Barrier, Commit, Engine, EngineOptions, EventId, KeyGroup, KeyGroupRange, Scope, StorageChoice, Way};
use std::collections::BTreeMap;
use std::path::Path;

/// All key groups, as they have to be.
pub type Groups = BTreeMap<u16, Group>;

/// Something that is done.
#[derive(Clone, Copy, Debug)]
pub enum Deed {
    /// Takes events back.
    Repair(&'static [u64], Way),
    /// Says that the host has the retractions of an event of a key group.
    Acknowledge(u16, u64),
    /// Applies events that are new, up to an offset.
    Events(u64),
    /// Rolls key groups back to a checkpoint.
    RollBack(u16, u16, u64),
    /// Applies all events again up to an offset, but for some: what was applied counts once.
    CatchUp(u64, &'static [u64]),
    /// Compacts.
    Compact,
}

/// What is done up to a commit, and the label of the checkpoint that follows it, if one does.
pub type Stage = (&'static [Deed], Option<u64>);

/// The event that only adds, in key group 1, and the one that others read, in key group 2.
const ADDS: u64 = 6;
const IS_READ: u64 = 7;

/// All that are taken back, or may be.
pub const BAD: &[u64] = &[4, 5, ADDS, IS_READ, 8, 14];

/// So many events there are before the first stage.
const BEFORE: u64 = 13;
const ALL: u64 = 16;

pub const REPAIRS: &[Stage] = &[
    (&[Deed::Repair(&[ADDS], Way::Inverse)], None),
    (&[Deed::Repair(&[IS_READ], Way::Reexecute)], Some(3)),
    (&[Deed::Acknowledge(1, ADDS), Deed::Acknowledge(2, IS_READ)], None),
    (&[Deed::Events(ALL)], None),
    // In two key groups at once, one of them the third time since its checkpoint.
    (&[Deed::Repair(&[5, 14], Way::Auto)], None),
    (&[Deed::Acknowledge(3, 5), Deed::Repair(&[ADDS, 4], Way::Auto)], Some(4)),
];

pub const ROLLBACKS: &[Stage] = &[
    (&[Deed::RollBack(1, 2, 2)], None),
    (&[Deed::CatchUp(BEFORE, &[ADDS, IS_READ])], Some(3)),
    // Further back than the first time.
    (&[Deed::RollBack(1, 2, 1)], None),
    (&[Deed::CatchUp(ALL, &[ADDS, IS_READ])], None),
    (&[Deed::Repair(&[8], Way::Auto)], None),
    (&[Deed::Compact], Some(4)),
    // Forth again, to before that repair.
    (&[Deed::RollBack(2, 2, 3)], None),
];

pub fn id(offset: u64) -> EventId {
    EventId { source: 0, offset }
}

/// The stream: its offsets are the places here.
pub fn stream() -> Vec<Event> {
    use Step::{Add, Append, Copy, Count, MapGet, MapPut, Merge, Put};
    let all: [(u16, Vec<Step>); ALL as usize] = [
        (1, vec![Merge(1, 5), Append(2, 9)]),
        (2, vec![Add(1, 7), MapPut(2, 1, 1)]),
        (3, vec![Put(1, 3)]),
        // Behind checkpoint 1.
        (1, vec![Merge(1, 7), Append(2, 10)]),
        (2, vec![Add(1, 5), Copy(1, 3)]),
        (3, vec![Add(1, 2), Copy(1, 2)]),
        // Behind checkpoint 2.
        (1, vec![Merge(1, 100), Append(2, 77), Merge(3, 50)]),
        (2, vec![Add(1, 50), MapPut(2, 2, 9), Append(4, 1)]),
        (2, vec![Copy(1, 4), Count(2, 3)]),
        (1, vec![Merge(1, 1), Append(2, 11)]),
        (2, vec![MapGet(2, 2, 0)]),
        (3, vec![Add(1, 4)]),
        (2, vec![Put(0, 1)]),
        // Later.
        (1, vec![Merge(1, 2)]),
        (2, vec![Add(1, 1), Copy(1, 2)]),
        (3, vec![Add(1, 9)]),
    ];
    let event = |(offset, (group, steps))| Event { group, id: id(offset), steps, drawn: Vec::new() };
    (0..).zip(all).map(event).collect()
}

pub fn engine(storage: StorageChoice) -> Engine {
    Engine::open(EngineOptions { memory_budget_bytes: 16 << 20, threads: 1, storage, ..EngineOptions::default() })
        .unwrap()
}

/// The store before the first stage.
pub fn prepare(path: &Path) {
    let mut world = open(&engine(StorageChoice::Posix), path);
    for mut event in stream().into_iter().take(BEFORE as usize) {
        if let Some(label) = [(3, 1), (6, 2)].iter().find_map(|(at, label)| (*at == event.id.offset).then_some(*label))
        {
            end(&mut world, 0, Some(label));
        }
        world.apply(&mut event);
    }
    end(&mut world, 0, None);
    let World { store, writer, .. } = world;
    drop(writer);
    store.close().unwrap();
}

pub fn open(engine: &Engine, path: &Path) -> World {
    let options = crate::model::options(3);
    let changelog = alluvium::ChangelogOptions { file_bytes: 1 << 20, ..options.changelog.clone() };
    let options = alluvium::StoreOptions { changelog, ..options };
    World::over(alluvium::Store::open_or_create(engine, path, options).unwrap(), 0)
}

/// Ends a stage: its commit lasts, and the checkpoint is complete.
pub fn end(world: &mut World, stage: u64, label: Option<u64>) {
    let metadata = stage.to_le_bytes().to_vec();
    world.writer.commit(Commit { metadata: metadata.clone(), ..Commit::default() }).unwrap().wait().unwrap();
    if let Some(label) = label {
        world.writer.barrier(Barrier { metadata, ..Barrier::new(label) }).unwrap().wait().unwrap();
    }
}

/// Does something.
pub fn perform(world: &mut World, deed: Deed) {
    match deed {
        Deed::Repair(offsets, way) => {
            let ids: Vec<EventId> = offsets.iter().copied().map(id).collect();
            world.writer.repair(&ids, way).unwrap();
        }
        Deed::Acknowledge(group, offset) => world.writer.acknowledge(KeyGroup(group), id(offset)).unwrap(),
        Deed::RollBack(first, last, label) => {
            world.store.rollback(&Scope::groups(KeyGroupRange::new(first, last)), label).unwrap();
        }
        Deed::Events(to) => apply(world, to, &[]),
        Deed::CatchUp(to, dropped) => apply(world, to, dropped),
        Deed::Compact => world.store.compact().unwrap(),
    }
}

fn apply(world: &mut World, to: u64, dropped: &[u64]) {
    for event in stream().into_iter().take(to as usize).filter(|event| !dropped.contains(&event.id.offset)) {
        let group = KeyGroup(event.group);
        world.writer.apply_event_once(world.handler, group, event.id, &event.bytes()).unwrap();
    }
}

/// What the key groups have to be before the first stage, and after each: by the model alone.
pub fn models(stages: &[Stage]) -> Vec<Groups> {
    let mut now: Groups = (0..crate::model::GROUPS).map(|group| (group, Group::default())).collect();
    let mut kept: BTreeMap<u64, Groups> = BTreeMap::new();
    for (to, label) in [(3, Some(1)), (6, Some(2)), (BEFORE, None)] {
        model(&mut now, &kept, Deed::Events(to));
        kept.extend(label.map(|label| (label, now.clone())));
    }
    let mut all = vec![now.clone()];
    for (deeds, label) in stages {
        deeds.iter().for_each(|deed| model(&mut now, &kept, *deed));
        kept.extend(label.map(|label| (label, now.clone())));
        all.push(now.clone());
    }
    all
}

fn model(now: &mut Groups, kept: &BTreeMap<u64, Groups>, deed: Deed) {
    match deed {
        Deed::Repair(offsets, _) => {
            let bad = offsets.iter().copied().map(id).collect();
            for (group, model) in now.iter_mut() {
                let fresh = model.fresh(&bad);
                let _: Vec<Change> = model.take_back(*group, &fresh);
            }
        }
        Deed::Acknowledge(group, offset) => drop(now.entry(group).or_default().owed.remove(&id(offset))),
        Deed::RollBack(first, last, label) => {
            for group in first..=last {
                now.insert(group, kept[&label][&group].clone());
            }
        }
        Deed::Events(to) => count_once(now, to, &[]),
        Deed::CatchUp(to, dropped) => count_once(now, to, dropped),
        Deed::Compact => {}
    }
}

fn count_once(now: &mut Groups, to: u64, dropped: &[u64]) {
    for event in stream().into_iter().take(to as usize).filter(|event| !dropped.contains(&event.id.offset)) {
        let group = now.entry(event.group).or_default();
        if !group.knows(event.id) {
            group.events.push(event);
        }
    }
}
