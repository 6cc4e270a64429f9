//! What the oracle knows: of each key group the events that are left, in the order in which they were applied, and what comes of them by a
//! plain fold. Nothing of it is told by the engine.

use crate::model::{Content, Event, States, fold};
use alluvium::{Content as Held, EventId, Retraction};
use std::collections::{BTreeMap, BTreeSet};

/// A place of a key group: the kind of state, the key, and of a map's entry the user key.
pub type Place = (u8, u8, Option<u8>);

/// What a place holds: one number, or a list's elements.
pub type Numbers = Vec<u64>;

/// What becomes of a place of a key group.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Change {
    pub group: u16,
    pub place: Place,
    pub before: Option<Numbers>,
    pub after: Option<Numbers>,
}

/// All places of a content that hold anything.
pub fn places(content: &Content) -> BTreeMap<Place, Numbers> {
    let mut places = BTreeMap::new();
    for (kind, numbers) in [(0, &content.numbers), (1, &content.sums)] {
        places.extend(numbers.iter().map(|(key, number)| ((kind, *key, None), vec![*number])));
    }
    for (key, elements) in &content.lists {
        places.insert((2, *key, None), elements.iter().map(|element| u64::from(*element)).collect());
    }
    for (key, entries) in &content.maps {
        places.extend(entries.iter().map(|(user_key, value)| ((3, *key, Some(*user_key)), vec![u64::from(*value)])));
    }
    places
}

/// What changes from one content of a key group to another.
pub fn difference(group: u16, before: &Content, after: &Content) -> Vec<Change> {
    between(group, &places(before), &places(after))
}

/// The same of places.
pub fn between(group: u16, before: &BTreeMap<Place, Numbers>, after: &BTreeMap<Place, Numbers>) -> Vec<Change> {
    let all: BTreeSet<&Place> = before.keys().chain(after.keys()).collect();
    let changed = all.into_iter().filter(|place| before.get(place) != after.get(place));
    changed
        .map(|place| Change {
            group,
            place: *place,
            before: before.get(place).cloned(),
            after: after.get(place).cloned(),
        })
        .collect()
}

/// What a retraction of the engine says.
pub fn told(retraction: &Retraction, states: States) -> Change {
    let of = [states.numbers, states.sums, states.lists, states.maps];
    let kind = of.iter().position(|state| *state == retraction.state);
    let kind = kind.unwrap_or_else(|| panic!("of another state than the handler's: {retraction:?}"));
    let numbers = |held: &Held| match held {
        Held::Value(value) if kind < 2 => vec![u64::from_le_bytes(value[..].try_into().unwrap())],
        Held::Value(value) => vec![u64::from(value[0])],
        Held::List(elements) => elements.iter().map(|element| u64::from(element[0])).collect(),
    };
    Change {
        group: retraction.group.0,
        place: (kind as u8, retraction.key[0], retraction.user_key.as_ref().map(|user_key| user_key[0])),
        before: retraction.before.as_ref().map(numbers),
        after: retraction.after.as_ref().map(numbers),
    }
}

/// The same of several, in the order of their places.
pub fn all_told(retractions: &[Retraction], states: States) -> Vec<Change> {
    let mut changes: Vec<Change> = retractions.iter().map(|retraction| told(retraction, states)).collect();
    changes.sort();
    changes
}

/// A key group.
#[derive(Clone, Default, Debug)]
pub struct Group {
    /// The events that it has, in the order in which they were applied.
    pub events: Vec<Event>,
    /// Those of them that were taken back.
    pub void: BTreeSet<EventId>,
    /// Those that a function of the host's made up for.
    pub by_host: BTreeSet<EventId>,
    /// What repairs changed and the host hasn't said that it has, by the event that has it.
    pub owed: BTreeMap<EventId, Vec<Change>>,
    /// The labels of the checkpoints that it came through on its way to the present.
    pub path: Vec<u64>,
    /// So many of the events the changelog of its store need not have: they were applied in another store, or lie before a gap.
    pub unlogged: usize,
}

impl Group {
    /// What it holds.
    pub fn content(&self) -> Content {
        let group = self.events.first().map_or(0, |event| usize::from(event.group));
        fold(&self.events, &self.void).swap_remove(group)
    }

    /// Whether an event was applied to it, taken back or not.
    pub fn has(&self, id: EventId) -> bool {
        self.events.iter().any(|event| event.id == id)
    }

    /// Whether an event counts as applied to it: it, or one of its source behind it, was.
    pub fn knows(&self, id: EventId) -> bool {
        self.events.iter().any(|event| event.id.source == id.source && event.id.offset >= id.offset)
    }

    /// Those of some events that it has and that weren't taken back, in the order in which they were applied.
    pub fn fresh(&self, bad: &BTreeSet<EventId>) -> Vec<EventId> {
        let fresh = self.events.iter().map(|event| event.id);
        fresh.filter(|id| bad.contains(id) && !self.void.contains(id)).collect()
    }

    /// Whether a checkpoint that has it so is one to begin at, where events from a place on are to be left out: it has neither them nor
    /// anything that was taken back since, nor has a function of the host's changed anything since.
    pub fn begins_at(&self, kept: &Self, first: usize) -> bool {
        kept.events.len() <= first
            && self.by_host.is_subset(&kept.by_host)
            && !self.void.iter().any(|id| kept.has(*id) && !kept.void.contains(id))
    }

    /// Takes events back; what that changes.
    pub fn take_back(&mut self, group: u16, bad: &[EventId]) -> Vec<Change> {
        let before = self.content();
        self.void.extend(bad);
        let changes = difference(group, &before, &self.content());
        if let Some(first) = bad.first().filter(|_| !changes.is_empty()) {
            self.owed.insert(*first, changes.clone());
        }
        changes
    }
}

/// What a store holds at a moment, by key group, and what the host wrote to its commit.
#[derive(Clone, Default, Debug)]
pub struct Moment {
    pub groups: BTreeMap<u16, Group>,
    /// Where the source stood.
    pub next: u64,
    /// The number of the commit or checkpoint.
    pub epoch: u64,
    /// Whether it has what was rolled back since that commit.
    pub has_rollbacks: bool,
}

impl Moment {
    /// Nothing of some key groups.
    pub fn of_nothing(groups: impl Iterator<Item = u16>) -> Self {
        Self { groups: groups.map(|group| (group, Group::default())).collect(), ..Self::default() }
    }
}
