//! Repair: taking bad events back, with all that came of them, while the store goes on.
//!
//! What a bad event and those that depend on it wrote ([causality](crate::causality)) is made what it would be had the bad
//! event never come. Two ways lead there, and for each key group the cheaper one is taken that is sure:
//! - **inverse**: where a bad event only added (operands of an invertible operator, elements of a list) and nobody read what came of it,
//!   the inverse is added now: in the time of one event, however long ago it was. This is logical undo, as compensation log records do it
//!   (Mohan and others, ARIES, TODS 1992, section 4);
//! - **reexecute**: else the keys in question go back to the newest checkpoint before the bad event, in a scratch store, and the events that
//!   touched them since are applied again without it, with the clocks and draws that they had (Warp, Chandra and others, SOSP 2011, calls that
//!   selective re-execution). The keys are those that depend on it, and those that an event reads which writes one of them: so nothing
//!   that is read in the scratch store lacks anything. Where that comes to most of the key group, all of its events are applied again.
//!   First everything is applied again *with* the bad events: what that comes to must be what the store holds, byte by byte, or
//!   nothing is repaired.
//!
//! A third, by a function of the host's, is taken only where the host asks for it: nothing proves that it comes to what would have been.
//!
//! What changed is written as one event of its own: it is in a commit or a checkpoint as a whole or not at all, together with a record
//! that the bad event was taken back, which lies in a state of the engine's own and so goes wherever the key group goes. Who was told
//! of values that aren't so any more learns of it by [`Retraction`]s, which that record keeps until the host has said that it has them.

mod inverse;
mod plan;
pub mod record;
mod reexecute;
mod user;

pub use user::{BadEvent, Compensation, Dependents, Undo};

use crate::causality::{Amended, Closure, EventAt, Past, find};
use crate::error::{Error, Result};
use crate::ids::{EventId, KeyGroup};
use crate::key::Key;
use crate::store::{State, StoreInner};
use crate::writer::Writer;
use record::Record;
use std::collections::BTreeMap;
use std::sync::Arc;
use user::User;

/// How bad events are to be taken back, or were.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Way {
    /// Whichever is the cheaper of those that are sure, for each key group.
    #[default]
    Auto,
    /// By adding the inverse of what they added; refused where that isn't sure.
    Inverse,
    /// By applying again what came after.
    Reexecute,
    /// By a function of the host's: see [`Writer::compensate`], the only one that takes one.
    User,
}

/// What a key, or a map's entry, holds.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Content {
    /// A value, of a value or merging state or of a map's entry.
    Value(Vec<u8>),
    /// A list's elements.
    List(Vec<Vec<u8>>),
}

/// What changed at a key, or a map's entry: what whoever was told of `before` has to hear.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Retraction {
    /// The state.
    pub state: State,
    /// The key group.
    pub group: KeyGroup,
    /// The key.
    pub key: Vec<u8>,
    /// The namespace.
    pub namespace: Vec<u8>,
    /// The user key of a map's entry.
    pub user_key: Option<Vec<u8>>,
    /// What it held; `None` for nothing.
    pub before: Option<Content>,
    /// What it holds since.
    pub after: Option<Content>,
}

/// What a repair did, or would do, in a key group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupRepair {
    /// The key group.
    pub group: KeyGroup,
    /// How.
    pub way: Way,
    /// The bad events in it, but for those that were taken back before.
    pub bad: Vec<EventId>,
    /// How many events depend on them.
    pub dependents: usize,
    /// How many events are applied again, the bad ones aside.
    pub applied_again: usize,
    /// Whether these are all of the key group since the checkpoint.
    pub is_whole_group: bool,
    /// The label of the checkpoint that it begins at; `None` where it begins with nothing, or needs none.
    pub from: Option<u64>,
}

/// What a repair came to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Repaired {
    /// What depends on the bad events, those that were taken back before aside.
    pub closure: Closure,
    /// By key group: those in which the changelog has events that weren't taken back before.
    pub groups: Vec<GroupRepair>,
    /// What changed, in the order of key groups, states and keys; of a dry run nothing.
    pub retractions: Vec<Retraction>,
    /// The events that had been taken back before, in this store or before it was restored from another: nothing was done about them.
    pub before: Vec<EventId>,
}

/// What is to be written where events are taken back.
type Outcome = Vec<Retraction>;

impl Writer {
    /// Takes bad events back: what they and the events that depend on them wrote becomes what it would be had they never come. See
    /// [`Way`] for how; with [`Way::Auto`] what is cheap where it is sure. Once for each event: one that was taken back is passed over.
    ///
    /// It lasts with the next commit or checkpoint; a crash before goes back to what was, as a whole. The events have to be in this writer's
    /// key groups, and to have changed [traced](crate::StateOptions::traced) states alone, which nothing else changes than events that are
    /// known by their ids ([`Writer::apply_event_once`]).
    ///
    /// Takes the time to apply again what has to be, at least; meanwhile this writer does nothing else, and other writers go on.
    ///
    /// # Errors
    /// [`Error::Event`] where the changelog doesn't have one of the events (any more, or as it was applied in another store, which this one
    /// was restored from), unless it was taken back; where no checkpoint is left from before it, where the way
    /// that was asked for isn't sure, or where applying the events again doesn't come to what is there. [`Error::Handler`] where a handler isn't
    /// there in the version that applied them. [`Error::Busy`] where another thread rolled something back or undid a transaction meanwhile,
    /// [`Error::Staged`] where more is staged than may be. In all of these cases nothing has changed.
    pub fn repair(&mut self, bad: &[EventId], way: Way) -> Result<Repaired> {
        take_back(self, bad, &mut How::of(way)?)
    }

    /// Makes up for one event: as [`Writer::repair`] does, in a way that is asked for, or by a function of the host's, for what only the host
    /// can undo (a maximum that it keeps another way, a value that was overwritten and that it has elsewhere).
    ///
    /// The function is given the event, and reads and changes the state of the event's key group as it is now; where the event was applied to
    /// several, it is called for each. Once for each event: one that was taken back before, in whatever way, is passed over, and the function
    /// isn't called. What it changed is written together with the record of that, lasts with the next commit or checkpoint, and is
    /// replayed as changes: the function doesn't run again, and needn't do the same twice. What it changed is told by
    /// [`Repaired::retractions`], which are kept until [`Writer::acknowledge`].
    ///
    /// Whether it comes to what would be had the event never come is the host's word, which nothing proves. So where other events read what came
    /// of the event it is refused unless the host says that it [knows](Dependents::Known); and a later repair that goes by a key that the
    /// function, or the event, had to do with is refused, but for inverses of what both only added to.
    ///
    /// ```
    /// # use alluvium::{Applying, Compensation, Dependents, Durability, Engine, EngineOptions, EventId, Handler, State, StateOptions, Store, StoreOptions};
    /// # use std::sync::Arc;
    /// /// Keeps the last reading.
    /// #[derive(Debug)]
    /// struct Last(State);
    ///
    /// impl Handler for Last {
    ///     fn name(&self) -> &str {
    ///         "last"
    ///     }
    ///     fn version(&self) -> u32 {
    ///         1
    ///     }
    ///     fn apply(&self, event: &[u8], applying: &mut Applying<'_>) -> alluvium::Result<()> {
    ///         let key = alluvium::Key::new(applying.group(), b"meter");
    ///         applying.put(self.0, key, event)
    ///     }
    /// }
    ///
    /// # let directory = tempfile::tempdir().map_err(|error| alluvium::Error::Background(error.to_string()))?;
    /// # let engine = Engine::open(EngineOptions::default())?;
    /// let options = StoreOptions { durability: Durability::Changelog, ..StoreOptions::default() };
    /// let store = Store::create(&engine, directory.path(), options)?;
    /// let last = store.state(StateOptions::value("last").traced())?;
    /// let handler = store.handler(Arc::new(Last(last)))?;
    /// let mut writer = store.writer(store.range())?;
    /// let (group, bad) = (store.key(b"meter").group, EventId { source: 0, offset: 1 });
    /// writer.apply_event_once(handler, group, bad, b"99999")?;
    /// // The host has the right reading from elsewhere.
    /// let mut undo = |event: &alluvium::BadEvent<'_>, applying: &mut Applying<'_>| {
    ///     assert_eq!(event.event, b"99999");
    ///     applying.put(last, alluvium::Key::new(event.group, b"meter"), b"17")
    /// };
    /// let repaired = writer.compensate(bad, Compensation::User(&mut undo, Dependents::Refuse))?;
    /// assert_eq!(repaired.retractions.len(), 1);
    /// assert_eq!(writer.get(last, alluvium::Key::new(group, b"meter"))?, Some(b"17".to_vec()));
    /// # Ok::<(), alluvium::Error>(())
    /// ```
    ///
    /// # Errors
    /// As of [`Writer::repair`], but for what only applying again fails with; [`Error::Event`] also where others depend on the event; what the
    /// function fails with; [`Error::State`] where it reads or changes a state that isn't traced, or whose values expire. Nothing has changed
    /// then.
    pub fn compensate(&mut self, event: EventId, compensation: Compensation<'_>) -> Result<Repaired> {
        let mut how = match compensation {
            Compensation::Inverse => How::Way(Way::Inverse),
            Compensation::Reexecute => How::Way(Way::Reexecute),
            Compensation::User(undo, dependents) => How::User(User { undo, dependents }),
        };
        take_back(self, &[event], &mut how)
    }

    /// What [`Writer::repair`] would do, without doing it: which events depend on the bad ones, and how many would be applied again. What
    /// would change isn't known before.
    pub fn plan_repair(&mut self, bad: &[EventId], way: Way) -> Result<Repaired> {
        prepare(self, bad, &mut How::of(way)?, true).map(|(repaired, _)| repaired)
    }

    /// What changed by repairs whose retractions the host hasn't said that it has, by the event that was taken back: of this writer's key
    /// groups. A repair of several events of a key group has all of its retractions with the first of them.
    pub fn retractions(&mut self) -> Result<Vec<(EventId, Vec<Retraction>)>> {
        let mut found = Vec::new();
        for group in self.range().iter() {
            for record in records_of(self, group)? {
                if !record.retractions.is_empty() {
                    found.push((record.id, record.retractions));
                }
            }
        }
        Ok(found)
    }

    /// Says that the host has the retractions of an event that was taken back in a key group: they aren't kept any longer than until the
    /// next commit or checkpoint.
    ///
    /// # Errors
    /// [`Error::Event`] where the event was not taken back; [`Error::Busy`] and [`Error::Staged`] as of [`Writer::repair`].
    pub fn acknowledge(&mut self, group: KeyGroup, event: EventId) -> Result<()> {
        let undone = self.undone();
        let records = records_of(self, group)?;
        let Some(record) = records.into_iter().find(|record| record.id == event) else {
            return Err(Error::Event { event, problem: "it was not taken back".into() });
        };
        let defs = self.store().states.read().clone();
        let parts = record.parts(&defs);
        let left = Record { retractions: Vec::new(), ..record };
        let kept = left.parts(&defs).len();
        begin(self, undone)?;
        let state = self.store().repairs_state();
        let written = put_record(self, group, &left).and_then(|()| {
            let state = state?;
            parts.iter().skip(kept).try_for_each(|(user_key, _)| self.map_delete(state, records_key(group), user_key))
        });
        end(self, written)
    }
}

/// How events are taken back.
enum How<'a> {
    Way(Way),
    User(User<'a>),
}

impl How<'_> {
    fn of(way: Way) -> Result<Self> {
        if way == Way::User { Err(user::no_function()) } else { Ok(Self::Way(way)) }
    }
}

/// What is to be done: the retractions are what is to be written.
fn prepare(
    writer: &mut Writer,
    bad: &[EventId],
    how: &mut How<'_>,
    dry: bool,
) -> Result<(Repaired, Vec<(KeyGroup, Record)>)> {
    let store = Arc::clone(writer.store());
    let mut past = Past::open(&store, Some(writer.own()))?;
    let mut repaired = Repaired::default();
    let bad = look_up(writer, &mut past, bad, &mut repaired.before)?;
    let mut groups: BTreeMap<KeyGroup, Vec<EventAt>> = BTreeMap::new();
    for event in bad {
        crate::read::check_key(Key::new(event.group, &[]), writer.range())?;
        groups.entry(event.group).or_default().push(event);
    }
    let mut records = Vec::new();
    for (group, mut bad) in groups {
        let earlier = records_of(writer, group)?;
        let amended = amended_by(group, &earlier);
        let is_void = |event: &mut EventAt| amended.void.contains(&(event.group, event.id));
        repaired.before.extend(bad.extract_if(.., is_void).map(|event| event.id));
        if bad.is_empty() {
            continue;
        }
        let before = amended.touched.clone();
        let mut scope = plan::Scope { group, bad: &bad, earlier: &earlier, amended };
        let (done, found, mut outcome) = match how {
            How::Way(way) => plan::run(writer, &mut past, &mut scope, *way, dry)?,
            How::User(user) => user::run(writer, &mut past, &mut scope, user)?,
        };
        let (at, mut touched) = (past.end(), scope.amended.touched.difference(&before).copied().collect());
        records.extend(bad.iter().map(|event| {
            let (retractions, touched) = (std::mem::take(&mut outcome), std::mem::take(&mut touched));
            repaired.retractions.extend(retractions.iter().cloned());
            (group, Record { id: event.id, position: event.position, at, touched, retractions })
        }));
        repaired.groups.push(done);
        repaired.closure.events.extend(found.events);
        repaired.closure.keys += found.keys;
        repaired.closure.suffix_events = repaired.closure.suffix_events.max(found.suffix_events);
    }
    repaired.closure.events.sort_unstable();
    Ok((repaired, records))
}

/// Where the changelog has some events; `before` gets those that it hasn't any more, or never had as they were applied in another store, and
/// that were taken back.
fn look_up(writer: &mut Writer, past: &mut Past, bad: &[EventId], before: &mut Vec<EventId>) -> Result<Vec<EventAt>> {
    let mut wanted = bad.to_vec();
    loop {
        match find(past, &wanted) {
            Err(Error::Event { event, .. }) if was_taken_back(writer, event)? => {
                wanted.retain(|id| *id != event);
                before.push(event);
            }
            outcome => return outcome,
        }
    }
}

/// Whether an event was taken back in any of the writer's key groups.
fn was_taken_back(writer: &mut Writer, event: EventId) -> Result<bool> {
    let (state, name) = (writer.store().repairs_state()?, record::name_of(event));
    for group in writer.range().iter() {
        if writer.map_contains(state, records_key(group), &name)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What earlier repairs of a key group made of its history.
pub(crate) fn amended_by(group: KeyGroup, records: &[Record]) -> Amended {
    Amended {
        void: records.iter().map(|record| (group, record.id)).collect(),
        touched: records.iter().flat_map(Record::by_events).collect(),
        again: records.iter().map(|record| (record.position, record.at)).collect(),
    }
}

/// Takes events back: what is to be written is found out first, and written as a whole. Where something was undone meanwhile, what was read may
/// have been of before, whatever it came to.
fn take_back(writer: &mut Writer, bad: &[EventId], how: &mut How<'_>) -> Result<Repaired> {
    let undone = writer.undone();
    let prepared = prepare(writer, bad, how, false);
    if prepared.is_err() && writer.undone() != undone {
        return Err(undone_meanwhile());
    }
    let (repaired, mut records) = prepared?;
    write(writer, undone, &repaired.retractions, &mut records)?;
    Ok(repaired)
}

/// Begins with what is written as a whole, unless something was undone since it was `undone`: then it would be what was read before.
fn begin(writer: &mut Writer, undone: (u32, u64)) -> Result<()> {
    writer.begin_event()?;
    // From now on nothing is undone.
    if writer.undone() == undone {
        return Ok(());
    }
    writer.end_event();
    Err(undone_meanwhile())
}

fn undone_meanwhile() -> Error {
    Error::Busy { problem: "a transaction was undone, or something rolled back, in the middle of the repair" }
}

/// Writes what a repair comes to, as a whole.
fn write(
    writer: &mut Writer,
    undone: (u32, u64),
    retractions: &[Retraction],
    records: &mut [(KeyGroup, Record)],
) -> Result<()> {
    if records.is_empty() {
        return Ok(());
    }
    // Registered before: nothing else comes between the two.
    writer.store().repairs_state()?;
    begin(writer, undone)?;
    // No barrier comes either: checkpoints up to here have nothing of it, also those of other threads meanwhile.
    let at = writer.store().log.position();
    records.iter_mut().for_each(|(_, record)| record.at = at);
    let written = retractions.iter().try_for_each(|retraction| set(writer, retraction));
    let written =
        written.and_then(|()| records.iter().try_for_each(|(group, record)| put_record(writer, *group, record)));
    end(writer, written)
}

/// Ends what is written as a whole.
fn end(writer: &mut Writer, written: Result<()>) -> Result<()> {
    if let Err(error) = &written {
        // Half of it is there, and nothing leads back: the store recovers from what was committed. To try again is no help, whatever it failed for.
        writer.store().fail(&Error::Background(format!("a repair ended half-way: {error}")));
    }
    writer.end_event();
    written
}

fn set(writer: &mut Writer, retraction: &Retraction) -> Result<()> {
    let Retraction { state, group, key, namespace, user_key, after, .. } = retraction;
    let key = Key { group: *group, key, namespace };
    match (user_key, after) {
        (Some(user_key), Some(Content::Value(value))) => writer.map_put(*state, key, user_key, value),
        (Some(user_key), _) => writer.map_delete(*state, key, user_key),
        (None, Some(Content::Value(value))) => writer.put(*state, key, value),
        (None, Some(Content::List(elements))) => {
            let elements: Vec<&[u8]> = elements.iter().map(Vec::as_slice).collect();
            writer.put_list(*state, key, &elements)
        }
        (None, None) => writer.delete(*state, key),
    }
}

/// The container of a key group's records.
pub(crate) fn records_key(group: KeyGroup) -> Key<'static> {
    Key::new(group, &[])
}

/// The events that were taken back in a key group.
fn records_of(writer: &mut Writer, group: KeyGroup) -> Result<Vec<Record>> {
    let state = writer.store().repairs_state()?;
    let mut whole = Vec::new();
    writer.map_scan(state, records_key(group), &crate::MapRange::all(), |user_key, value| {
        record::join(&mut whole, user_key, value);
        std::ops::ControlFlow::Continue(())
    })?;
    decode(writer.store(), group, &whole)
}

/// The records of a key group.
pub(crate) fn decode(store: &StoreInner, group: KeyGroup, whole: &[(Vec<u8>, Vec<u8>)]) -> Result<Vec<Record>> {
    if whole.is_empty() {
        return Ok(Vec::new());
    }
    let defs = store.states.read().clone();
    let records = whole.iter().map(|(user_key, value)| {
        let record = Record::decode(&defs, group, user_key, value);
        record.map_err(|error| Error::Background(format!("a record of a repair: {error}")))
    });
    records.collect()
}

fn put_record(writer: &mut Writer, group: KeyGroup, record: &Record) -> Result<()> {
    let state = writer.store().repairs_state()?;
    let defs = writer.store().states.read().clone();
    let mut parts = record.parts(&defs).into_iter();
    parts.try_for_each(|(user_key, value)| writer.map_put(state, records_key(group), &user_key, &value))
}
