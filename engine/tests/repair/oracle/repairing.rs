//! A repair in a store, and everything that it says of itself.

use super::fold::all_told;
use super::part::Part;
use crate::histories::{Random, truth};
use alluvium::{Error, EventId, Repaired, Way};
use std::collections::BTreeSet;

/// Takes events back, or is refused where it may be; whether anything was taken back.
pub fn repair(part: &mut Part, random: &mut Random, bad: &BTreeSet<EventId>) -> bool {
    let seed = part.seed;
    let ids: Vec<EventId> = bad.iter().copied().collect();
    let way = match random.below(5) {
        0 => Way::Inverse,
        1 => Way::Reexecute,
        _ => Way::Auto,
    };
    let is_known = ids.iter().all(|id| part.now.groups.values().any(|group| group.has(*id)));
    let is_sure = is_known && way != Way::Inverse && part.groups().iter().all(|group| part.is_sure(*group, bad));
    if random.below(4) == 0 {
        match part.world().writer.plan_repair(&ids, way) {
            Err(Error::Event { .. }) if !is_sure => {}
            planned => assert!(planned.unwrap().retractions.is_empty()),
        }
        part.check();
    }
    let outcome = part.world().writer.repair(&ids, way);
    assert!(is_known || outcome.is_err(), "an event that never came was taken back: {ids:?}, seed {seed}");
    let done = match outcome {
        Ok(repaired) => {
            check_before(part, bad, &repaired);
            note(part, bad, &repaired);
            !repaired.groups.is_empty()
        }
        Err(Error::Event { .. }) if !is_sure => false,
        Err(error) => panic!("{error}, {ids:?}, seed {seed}"),
    };
    part.check();
    done
}

/// What was taken back before is said to be.
pub fn check_before(part: &Part, bad: &BTreeSet<EventId>, repaired: &Repaired) {
    for id in bad {
        let of: Vec<_> = part.now.groups.values().filter(|group| group.has(*id)).collect();
        let is_said = repaired.before.contains(id);
        let (all, any) =
            (of.iter().all(|group| group.void.contains(id)), of.iter().any(|group| group.void.contains(id)));
        assert!((is_said || !all) && (any || !is_said), "{id:?} was taken back before: {is_said}, seed {}", part.seed);
    }
}

/// Takes the same back in the model, and compares.
pub fn note(part: &mut Part, bad: &BTreeSet<EventId>, repaired: &Repaired) {
    let (seed, states) = (part.seed, part.world().programs.states);
    for group in part.groups() {
        let is_sure = part.is_sure(group, bad);
        let fresh = part.now.groups[&group].fresh(bad);
        let Some(done) = repaired.groups.iter().find(|done| done.group.0 == group) else {
            assert!(fresh.is_empty() || !is_sure, "{fresh:?} of key group {group} are left, seed {seed}");
            continue;
        };
        // Of an event that went to several key groups the changelog may have what it did in some.
        let bads: Vec<EventId> = fresh.iter().copied().filter(|id| done.bad.contains(id)).collect();
        assert!(bads.len() == done.bad.len() && (bads == fresh || !is_sure), "{done:?}, not {fresh:?}, seed {seed}");
        let model = part.now.groups.get_mut(&group).unwrap();
        let bad_here: BTreeSet<EventId> = bads.iter().copied().collect();
        let depend = truth(&model.events, &bad_here, &model.void);
        let found = repaired.closure.events.iter().filter(|event| event.group.0 == group).map(|event| event.id);
        let found: BTreeSet<EventId> = found.collect();
        let missed: Vec<_> = depend.difference(&found).collect();
        // What those do that a function of the host's made up for, too, it alone knows.
        let is_known = done.way != Way::User || model.by_host.is_empty();
        assert!(missed.is_empty() || !is_known, "{missed:?} of key group {group} depend on {bads:?}, too, seed {seed}");
        let changes = model.take_back(group, &bads);
        let of_group: Vec<_> =
            repaired.retractions.iter().filter(|retraction| retraction.group.0 == group).cloned().collect();
        let told = all_told(&of_group, states);
        assert_eq!(told, changes, "retractions of {bads:?} of key group {group}, seed {seed}");
        part.staged.insert(group);
        part.withhold(told);
    }
}
