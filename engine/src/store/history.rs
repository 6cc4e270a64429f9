//! A store and its events: which were applied, what depends on them, and what the host is told of.

use super::{State, Store, StoreInner};
use crate::causality::{self, Amended, Closure, EventAt, Past};
use crate::changelog::access::{cell_hash, entry_hash};
use crate::cursor::Cursor;
use crate::error::Result;
use crate::ids::{EventId, KeyGroup};
use crate::key::Key;
use crate::packed::Packed;
use crate::repair;
use crate::repair::record::Record;
use crate::scan::MapRange;
use crate::states::StateOptions;
use crate::triggers::{Fired, Trigger, TriggerId};
use std::collections::BTreeSet;

impl Store {
    /// Has the host told of something, as long as the store is open: [`Store::fired`] says when. It is looked at after each event that is
    /// known by its id ([`Writer::apply_event_once`](crate::Writer::apply_event_once)).
    pub fn watch(&self, trigger: Trigger) -> TriggerId {
        self.inner.triggers.set(trigger)
    }

    /// Has the host not told of it any more.
    pub fn unwatch(&self, trigger: TriggerId) {
        self.inner.triggers.clear(trigger);
    }

    /// What fired since this was last asked, in the order in which each writer's events came; and how much more did than was kept
    /// ([`FIRED_MAX`](crate::triggers::FIRED_MAX)).
    pub fn fired(&self) -> (Vec<Fired>, u64) {
        self.fired_up_to(usize::MAX)
    }

    /// As [`Store::fired`], but the first `count_max` of it alone, for a host that has room for so many; the rest stays.
    pub fn fired_up_to(&self, count_max: usize) -> (Vec<Fired>, u64) {
        self.inner.triggers.take(count_max)
    }

    /// Whether an event, or one of its source behind it, was applied to a key group
    /// ([`Writer::apply_event_once`](crate::Writer::apply_event_once)).
    pub fn already_applied(&self, group: KeyGroup, id: EventId) -> Result<bool> {
        let applied = self.inner.applied_state()?;
        let last = self.reader().get(applied, Key::new(group, &id.source.to_be_bytes()))?;
        let last = last.and_then(|last| last.try_into().ok()).map(u64::from_le_bytes);
        Ok(last.is_some_and(|last| id.offset <= last))
    }

    /// The events that depend on some events, these included, and how much they wrote: of the states that are
    /// [traced](crate::StateOptions::traced), as far back as the changelog goes ([`StoreOptions::history`](crate::StoreOptions)).
    ///
    /// # Errors
    /// [`Error::Event`](crate::Error::Event) where the changelog doesn't have one of them; [`Error::Options`](crate::Error::Options) where the store has no changelog.
    pub fn closure(&self, events: &[EventId]) -> Result<Closure> {
        let mut past = Past::open(&self.inner, None)?;
        let bad = causality::find(&mut past, events)?;
        let mut amended = Amended::default();
        let groups: BTreeSet<KeyGroup> = bad.iter().map(|event| event.group).collect();
        for group in groups {
            let more = repair::amended_by(group, &self.records_of(group)?);
            amended.void.extend(more.void);
            amended.touched.extend(more.touched);
            amended.again.extend(more.again);
        }
        causality::closure(&mut past, &bad, &amended).map(|(closure, _)| closure)
    }

    /// The events that were taken back in a key group.
    fn records_of(&self, group: KeyGroup) -> Result<Vec<Record>> {
        let state = self.inner.repairs_state()?;
        let (reader, mut whole) = (self.reader(), Vec::new());
        let mut cursor = Cursor::entries(state, repair::records_key(group), &MapRange::all());
        let mut batch = Packed::default();
        while reader.fetch(&mut cursor, &mut batch)? {
            for entry in batch.iter() {
                repair::record::join(&mut whole, entry.user_key, entry.value);
            }
        }
        repair::decode(&self.inner, group, &whole)
    }

    /// The events that the content of a key comes from, by way of other keys, too, as far back as the changelog goes, in the order in
    /// which they were applied: the last that wrote it is among them. Of a map, those of an entry, or with no `user_key` of all entries.
    pub fn provenance(&self, state: State, key: Key<'_>, user_key: Option<&[u8]>) -> Result<Vec<EventAt>> {
        let cell = cell_hash(state.0, key);
        let hash = user_key.map_or(cell, |user_key| entry_hash(state.0, key, user_key));
        causality::provenance(&self.inner, hash, cell)
    }
}

impl StoreInner {
    /// Which event of each source was applied last to each key group: a state of the engine's own, made when it is first needed.
    pub fn applied_state(&self) -> Result<State> {
        if let Some(state) = self.applied.get() {
            return Ok(*state);
        }
        let state = self.register(StateOptions::value("alluvium.applied"))?;
        Ok(*self.applied.get_or_init(|| state))
    }

    /// Which events were taken back: a map of the engine's own, made when it is first needed.
    pub fn repairs_state(&self) -> Result<State> {
        if let Some(state) = self.repairs.get() {
            return Ok(*state);
        }
        let state = self.register(StateOptions::map("alluvium.repairs"))?;
        Ok(*self.repairs.get_or_init(|| state))
    }
}
