//! Random histories: what depends on what. What is left without it is the [oracle](crate::oracle)'s.

use crate::model::{Content, Event, GROUPS, KEYS, Step, World, engine};
use alluvium::EventId;
use std::collections::BTreeSet;

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

/// The first seed: the same histories each time, unless another one is asked for.
pub fn seed() -> u64 {
    let seed = std::env::var("ALLUVIUM_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("ALLUVIUM_SEED={seed}");
    seed
}

pub fn event(random: &mut Random, source: u32, offset: u64) -> Event {
    let steps = (0..=random.below(3)).map(|_| {
        let args = [random.below(KEYS.into()) as u8, random.below(200) as u8, random.below(200) as u8];
        Step::new(random.below(Step::KINDS.into()) as u8, args)
    });
    let steps = steps.collect();
    Event { group: random.below(GROUPS.into()) as u16, id: EventId { source, offset }, steps, drawn: Vec::new() }
}

/// Which events depend on the bad ones, key by key, by what the model saw them read and write.
pub fn truth(events: &[Event], bad: &BTreeSet<EventId>, void: &BTreeSet<EventId>) -> BTreeSet<EventId> {
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
