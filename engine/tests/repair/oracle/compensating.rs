//! A function of the host's that makes up for an event in a store: it puts there what the fold without the event comes to.

use super::part::Part;
use super::repairing::{check_before, note};
use crate::compensation::mend;
use crate::histories::Random;
use crate::model::Content;
use alluvium::{Applying, BadEvent, Compensation, Dependents, Error, EventId};
use std::collections::{BTreeMap, BTreeSet};

/// What the host's function fails with.
const FAILED: &str = "the host's own";

/// Makes up for an event, or is refused where it may be, or fails as the host does; whether it was made up for.
pub fn compensate(part: &mut Part, random: &mut Random, bad: EventId) -> bool {
    let (seed, states, only) = (part.seed, part.world().programs.states, BTreeSet::from([bad]));
    let dependents = if random.below(3) == 0 { Dependents::Refuse } else { Dependents::Known };
    let fails = random.below(6) == 0;
    let is_known = part.now.groups.values().any(|group| group.has(bad));
    let is_sure =
        is_known && dependents == Dependents::Known && part.groups().iter().all(|group| part.is_sure(*group, &only));
    let (mut wanted, mut calls) = (BTreeMap::<u16, (Content, Content, Vec<u8>)>::new(), Vec::new());
    for (group, model) in part.now.groups.iter().filter(|(_, model)| !model.fresh(&only).is_empty()) {
        let (mut without, event) = (model.clone(), model.events.iter().find(|event| event.id == bad).unwrap());
        without.void.insert(bad);
        wanted.insert(*group, (model.content(), without.content(), event.bytes()));
    }
    let mut undo = |event: &BadEvent<'_>, applying: &mut Applying<'_>| {
        let (now, without, bytes) = &wanted[&event.group.0];
        assert_eq!((event.id, event.event), (bad, &bytes[..]), "seed {seed}");
        calls.push(event.group);
        mend(states, now, without, applying)?;
        if fails { Err(Error::Background(FAILED.into())) } else { Ok(()) }
    };
    let outcome = part.world().writer.compensate(bad, Compensation::User(&mut undo, dependents));
    assert!(is_known || outcome.is_err(), "an event that never came was made up for: {bad:?}, seed {seed}");
    let done = match outcome {
        Ok(repaired) => {
            let groups: Vec<_> = repaired.groups.iter().map(|done| done.group).collect();
            assert_eq!(calls, groups, "the function is called once for each key group, seed {seed}");
            assert!(!fails || calls.is_empty(), "what the function failed with is lost, seed {seed}");
            check_before(part, &only, &repaired);
            note(part, &only, &repaired);
            for group in &groups {
                part.now.groups.get_mut(&group.0).unwrap().by_host.insert(bad);
            }
            !groups.is_empty()
        }
        Err(Error::Background(problem)) if fails && problem == FAILED => false,
        Err(Error::Event { .. }) if !is_sure => false,
        Err(error) => panic!("{error}, {bad:?}, seed {seed}"),
    };
    part.check();
    done
}
