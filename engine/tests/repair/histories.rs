//! Random histories: what depends on what, and what is left without it.

use crate::model::{Content, Event, GROUPS, KEYS, Step, World, engine, fold};
use alluvium::{Barrier, Commit, Error, EventId, KeyGroupRange, Scope, Way};
use std::collections::{BTreeMap, BTreeSet};

pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

fn seed() -> u64 {
    let given = std::env::var("ALLUVIUM_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64
    });
    println!("ALLUVIUM_SEED={seed}");
    seed
}

fn event(random: &mut Random, source: u32, offset: u64) -> Event {
    let steps = (0..=random.below(3)).map(|_| {
        let args = [random.below(KEYS.into()) as u8, random.below(200) as u8, random.below(200) as u8];
        Step::new(random.below(Step::KINDS.into()) as u8, args)
    });
    let steps = steps.collect();
    Event { group: random.below(GROUPS.into()) as u16, id: EventId { source, offset }, steps, drawn: Vec::new() }
}

/// Which events depend on the bad ones, key by key, by what the model saw them read and write.
fn truth(events: &[Event], bad: &BTreeSet<EventId>, void: &BTreeSet<EventId>) -> BTreeSet<EventId> {
    let mut contents = vec![Content::default(); GROUPS.into()];
    let (mut tainted, mut found) = (BTreeSet::new(), BTreeSet::new());
    for event in events.iter().filter(|event| !void.contains(&event.id)) {
        let touched = contents[usize::from(event.group)].apply(event);
        let at = |place: &_| (event.group, *place);
        if bad.contains(&event.id) || touched.reads.iter().any(|place| tainted.contains(&at(place))) {
            found.insert(event.id);
            tainted.extend(touched.writes.iter().map(at));
        } else {
            tainted.retain(|tainted| !touched.overwrites.iter().any(|place| at(place) == *tainted));
        }
    }
    found
}

fn check(world: &mut World, events: &[Event], bad: &BTreeSet<EventId>, seed: u64) {
    for (group, expected) in fold(events, bad).into_iter().enumerate() {
        assert_eq!(world.content(group as u16), expected, "group {group}, seed {seed}");
    }
}

/// What is there, by the model: the events in their order, and those of them that were taken back.
#[derive(Clone, Default)]
struct There {
    events: Vec<Event>,
    void: BTreeSet<EventId>,
    /// Whether all of it was committed in the changelog, or a checkpoint has it alone.
    is_logged: bool,
}

impl There {
    /// Some events that came since a moment; none where there is none.
    fn draw(&self, random: &mut Random, begin: u64) -> Option<BTreeSet<EventId>> {
        let recent: Vec<EventId> = self.events.iter().map(|event| event.id).filter(|id| id.offset >= begin).collect();
        let draw = |_| recent[random.below(recent.len() as u64) as usize];
        (!recent.is_empty()).then(|| (0..3).map(draw).collect())
    }

    /// A key group is what it was.
    fn roll_back(&mut self, group: u16, then: &Self) {
        let of_group = |event: &Event| event.group == group;
        let ids = |there: &Self| -> BTreeSet<EventId> {
            there.events.iter().filter(|event| of_group(event)).map(|event| event.id).collect()
        };
        let (now, before) = (ids(self), ids(then));
        self.void.retain(|id| !now.contains(id));
        self.void.extend(then.void.intersection(&before));
        self.events.retain(|event| !of_group(event));
        self.events.extend(then.events.iter().filter(|event| of_group(event)).cloned());
        self.events.sort_by_key(|event| event.id.offset);
    }
}

/// One history: events, checkpoints, commits, repairs, rollbacks, crashes.
fn history(seed: u64, steps: u64) {
    let mut random = Random::new(seed);
    let (engine, directory) = (engine(), tempfile::tempdir().unwrap());
    let mut world = World::open(&engine, directory.path(), 0, 3);
    let (mut there, mut committed, mut label, mut next) = (There::default(), There::default(), 0, 0);
    let mut checkpoints: BTreeMap<u64, (There, u64)> = BTreeMap::new();
    // What was applied before may be missing in the changelog: only the checkpoint that was gone back to has it.
    let mut gap = 0;
    // Of each key group: what was applied before may have no checkpoint before it that is on the way to the present.
    let mut shaky = [0; GROUPS as usize];
    for _ in 0..steps {
        match random.below(62) {
            0..46 => {
                let mut event = event(&mut random, 0, next);
                event.id.source = random.below(2) as u32;
                next += 1;
                world.apply(&mut event);
                there.events.push(event);
            }
            46..50 => {
                label += 1;
                world.writer.barrier(Barrier::new(label)).unwrap().wait().unwrap();
                there.is_logged = false;
                committed = there.clone();
                checkpoints.insert(label, (there.clone(), next));
                shaky.iter_mut().for_each(|shaky| *shaky = next.min(*shaky));
            }
            50..53 => {
                world.writer.commit(Commit::default()).unwrap().wait().unwrap();
                there.is_logged = true;
                committed = there.clone();
            }
            53..55 => {
                // Everything since the last commit is lost.
                let draws = world.programs.draws.load(std::sync::atomic::Ordering::Relaxed);
                drop(world);
                world = reopen(&engine, directory.path(), draws);
                there = committed.clone();
                if !there.is_logged {
                    gap = next;
                }
                check(&mut world, &there.events, &there.void, seed);
            }
            60 | 61 => {
                let kept = world.store.checkpoints();
                let Some(to) = kept.get(random.below(kept.len().max(1) as u64) as usize) else { continue };
                let group = random.below(GROUPS.into()) as u16;
                let rolled_back = world.store.rollback(&Scope::groups(KeyGroupRange::new(group, group)), to.label);
                rolled_back.unwrap();
                there.roll_back(group, &checkpoints[&to.label].0);
                shaky[usize::from(group)] = u64::MAX;
                check(&mut world, &there.events, &there.void, seed);
            }
            kind => {
                let oldest = world.store.checkpoints().iter().map(|info| info.label).rev().take(3).min();
                let begin = oldest.map_or(0, |oldest| checkpoints[&oldest].1);
                let Some(bad) = there.draw(&mut random, begin) else { continue };
                let is_shaky = |event: &&Event| event.id.offset < gap.max(shaky[usize::from(event.group)]);
                // All checkpoints may have what was taken back since.
                let may_be_refused = there.events.iter().filter(is_shaky).any(|event| bad.contains(&event.id))
                    || there.void.iter().any(|id| id.offset < begin);
                repair(&mut world, &mut there, &bad, (kind == 55, may_be_refused), seed);
            }
        }
    }
    check(&mut world, &there.events, &there.void, seed);
}

fn reopen(engine: &alluvium::Engine, path: &std::path::Path, draws: u64) -> World {
    for _ in 0..2_000 {
        match alluvium::Store::open(engine, path, crate::model::options(3)) {
            Err(error) if error.class() == alluvium::Class::Retry => {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            outcome => {
                outcome.unwrap().close().unwrap();
                return World::open(engine, path, draws, 3);
            }
        }
    }
    panic!("the directory stayed locked");
}

fn repair(
    world: &mut World,
    there: &mut There,
    bad: &BTreeSet<EventId>,
    (plan, may_be_refused): (bool, bool),
    seed: u64,
) {
    let ids: Vec<EventId> = bad.iter().copied().collect();
    let fresh: BTreeSet<EventId> = bad.difference(&there.void).copied().collect();
    if plan {
        match world.writer.plan_repair(&ids, Way::Auto) {
            Err(Error::Event { .. }) if may_be_refused => {}
            planned => assert!(planned.unwrap().retractions.is_empty()),
        }
        return check(world, &there.events, &there.void, seed);
    }
    let repaired = match world.writer.repair(&ids, Way::Auto) {
        Ok(repaired) => repaired,
        Err(Error::Event { .. }) if may_be_refused => return check(world, &there.events, &there.void, seed),
        Err(error) => panic!("{error}, seed {seed}"),
    };
    let truth = truth(&there.events, &fresh, &there.void);
    let found: BTreeSet<EventId> = repaired.closure.events.iter().map(|event| event.id).collect();
    let missed: Vec<_> = truth.difference(&found).collect();
    assert!(missed.is_empty(), "missed {missed:?}, seed {seed}");
    there.void.extend(fresh);
    check(world, &there.events, &there.void, seed);
}

#[test]
fn random_histories_are_repaired() {
    let seed = seed();
    let rounds = std::env::var("ALLUVIUM_HISTORIES").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(30);
    for round in 0..rounds {
        history(seed.wrapping_add(round), 150);
    }
}

/// Which events depend on random bad ones, against what the model says key by key: none is ever missed, and how many are too many is told.
#[test]
fn no_dependent_is_missed() {
    let seed = seed();
    let rounds: u64 = std::env::var("ALLUVIUM_CLOSURES").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(1_000);
    let (mut random, nothing) = (Random::new(seed), BTreeSet::new());
    let (mut found_in_all, mut true_in_all, mut done) = (0, 0, 0);
    while done < rounds {
        let (engine, directory) = (engine(), tempfile::tempdir().unwrap());
        let mut world = World::open(&engine, directory.path(), 0, 1);
        let mut events: Vec<Event> = Vec::new();
        for _ in 0..20 {
            for _ in 0..=random.below(12) {
                let (source, offset) = (random.below(2) as u32, events.len() as u64);
                let mut event = event(&mut random, source, offset);
                world.apply(&mut event);
                events.push(event);
            }
            for _ in 0..5 {
                let bad = (0..=random.below(3)).map(|_| events[random.below(events.len() as u64) as usize].id);
                let bad: BTreeSet<EventId> = bad.collect();
                let ids: Vec<EventId> = bad.iter().copied().collect();
                let closure = world.store.closure(&ids).unwrap();
                let found: BTreeSet<EventId> = closure.events.iter().map(|event| event.id).collect();
                let truth = truth(&events, &bad, &nothing);
                let missed: Vec<_> = truth.difference(&found).collect();
                assert!(missed.is_empty(), "missed {missed:?} of {bad:?}, seed {seed}");
                (found_in_all, true_in_all, done) = (found_in_all + found.len(), true_in_all + truth.len(), done + 1);
            }
        }
    }
    let over = 100.0 * (found_in_all as f64 / true_in_all as f64 - 1.0);
    println!(
        "{done} histories: {true_in_all} events depend on the bad ones, {found_in_all} were found ({over:.1} % too many)"
    );
}
