//! A writer and the changelog: events and what they changed, and doing again what was logged.

use crate::barrier;
use crate::change;
use crate::changelog::LogBuffer;
use crate::changelog::record::{Change, Event};
use crate::error::{Error, Result};
use crate::events::{self, HandlerId, LogMark, Noted, Trace};
use crate::ids::{EventId, KeyGroup, StateId};
use crate::key::Key;
use crate::metrics::OperationKind;
use crate::past::{self, Cell};
use crate::read;
use crate::shard::{Core, Shard};
use crate::states::{StateDef, StateKind};
use crate::store::{State, StoreInner};
use crate::write;
use crate::writer::Writer;
use std::sync::Arc;

impl Writer {
    /// Has a handler apply an event, to the state of one key group of this writer. With a changelog it is logged as the event or as what it
    /// changed, as the states that it changed want it ([`StateOptions::log`](crate::StateOptions::log)).
    ///
    /// ```
    /// # use alluvium::{Applying, Commit, Durability, Engine, EngineOptions, Handler, LogMode, State, StateOptions, Store, StoreOptions};
    /// # use std::sync::Arc;
    /// /// Counts an event in each of ten panes.
    /// #[derive(Debug)]
    /// struct Panes(State);
    ///
    /// impl Handler for Panes {
    ///     fn name(&self) -> &str {
    ///         "panes"
    ///     }
    ///     fn version(&self) -> u32 {
    ///         1
    ///     }
    ///     fn apply(&self, event: &[u8], applying: &mut Applying<'_>) -> alluvium::Result<()> {
    ///         let key = alluvium::Key::new(applying.group(), event);
    ///         for pane in 0..10_u8 {
    ///             applying.update(self.0, key.in_namespace(&[pane]), |old| {
    ///                 let old = old.and_then(|old| old.try_into().ok()).map_or(0, u64::from_le_bytes);
    ///                 Some((old + 1).to_le_bytes())
    ///             })?;
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # let directory = tempfile::tempdir().map_err(|error| alluvium::Error::Background(error.to_string()))?;
    /// # let engine = Engine::open(EngineOptions::default())?;
    /// let options = StoreOptions { durability: Durability::Changelog, ..StoreOptions::default() };
    /// let store = Store::create(&engine, directory.path(), options)?;
    /// let counts = store.state(StateOptions::value("counts").log(LogMode::Auto))?;
    /// let panes = store.handler(Arc::new(Panes(counts)))?;
    /// let mut writer = store.writer(store.range())?;
    /// writer.apply_event(panes, store.key(b"JFK").group, b"JFK")?;
    /// writer.commit(Commit::default())?.wait()?;
    /// # Ok::<(), alluvium::Error>(())
    /// ```
    ///
    /// # Errors
    /// What the handler fails with; [`Error::OutsideRange`] for keys of another key group; [`Error::Handler`] where there is none of this
    /// number.
    pub fn apply_event(&mut self, handler: HandlerId, group: KeyGroup, event: &[u8]) -> Result<()> {
        read::check_key(Key { group, key: &[], namespace: &[] }, self.shard.range)?;
        change::check_value(event)?;
        events::apply(self, handler, group, event)
    }

    /// The same with an event that is known by its id, and that happens once: false where it, or one of its source behind it, was applied to
    /// this key group before, as after a rollback or a restart the host may begin at an earlier place. Its changes are in a commit or a
    /// checkpoint together. What it read and wrote of the states that are [traced](crate::StateOptions::traced) is logged, so that it
    /// can be found out what depends on it, and it can be taken back ([`Writer::repair`]). If it changes a traced state it is logged as the event,
    /// whatever the states' [`LogMode`](crate::LogMode).
    ///
    /// What the handler changed before it fails stays, and the event doesn't count as applied.
    ///
    /// # Errors
    /// As [`Writer::apply_event`]; [`Error::Options`] where the store has no changelog. Also what an [`Invariant`](crate::Invariant) fails with: the event
    /// is applied then.
    pub fn apply_event_once(&mut self, handler: HandlerId, group: KeyGroup, id: EventId, event: &[u8]) -> Result<bool> {
        read::check_key(Key { group, key: &[], namespace: &[] }, self.shard.range)?;
        change::check_value(event)?;
        if !self.store.log.is_on() {
            return Err(no_changelog());
        }
        let does = events::numbered(&self.store, handler)?;
        events::apply_once(self, (handler, &*does), group, id, event)
    }

    pub(crate) const fn store(&self) -> &Arc<StoreInner> {
        &self.store
    }

    /// For flows that enter this writer's shard themselves.
    pub(crate) const fn own(&mut self) -> crate::barrier::Own<'_> {
        (&self.shard, &mut self.token)
    }

    pub(crate) fn time_ms(&mut self) -> u64 {
        self.token.enter().hot.now_ms
    }

    /// A state's definition.
    pub(crate) fn def_of(&mut self, state: State) -> Result<&StateDef> {
        self.states.get(&self.store, state)
    }

    /// Begins with an event whose changes are committed and cut off together; where the changelog's buffer stands, and the clock, in ms.
    pub(crate) fn begin_event(&mut self) -> Result<(LogMark, u64)> {
        self.begin_with(|_, _| ()).map(|(mark, now_ms, ())| (mark, now_ms))
    }

    /// The same with one that is applied once: notes that it is, if that is quick.
    pub(crate) fn begin_event_once(
        &mut self,
        applied: State,
        group: KeyGroup,
        id: EventId,
    ) -> Result<(LogMark, u64, Option<Noted>)> {
        self.trace.clear();
        self.begin_with(|shard, core| events::note_quickly(shard, core, applied, group, id))
    }

    /// Begins with an event, and does something in the same step. [`Error::Staged`](crate::Error::Staged) comes before it or not at all.
    #[inline]
    fn begin_with<R>(&mut self, first: impl FnOnce(&Shard, &mut Core) -> R) -> Result<(LogMark, u64, R)> {
        write::check_staged(&self.store, &mut self.token)?;
        loop {
            let mut core = self.token.enter();
            // Inside the gate: who holds events off borrows it afterwards, and then sees that there is one.
            if core.has_events && !self.store.queue.holds_events_off() {
                let now_ms = core.hot.now_ms;
                let mark = core.log.as_ref().map(|log| log.mark()).ok_or_else(no_changelog)?;
                core.in_event = true;
                return Ok((mark, now_ms, first(&self.shard, &mut core)));
            }
            let is_known = core.has_events;
            drop(core);
            if is_known {
                barrier::await_events(&self.store);
            } else {
                let _sealing = self.store.queue.sealing.lock();
                self.shard.note_events(&mut self.token.enter());
            }
        }
    }

    /// Other numbers whenever something of this shard was undone, by a rollback or with a transaction: what was read before isn't to be written
    /// after. In the middle of an event nothing is.
    pub(crate) fn undone(&mut self) -> (u32, u64) {
        let core = self.token.enter();
        (core.hot.rewinds(), core.hot.aborts())
    }

    /// What the event under way reads and writes.
    pub(crate) const fn trace(&mut self) -> &mut Trace {
        &mut self.trace
    }

    /// Remembers where it is noted which event of a source was applied last to a key group.
    pub(crate) fn remember_place(&mut self, applied: State, group: KeyGroup, source: u32) {
        let group = group.0 - self.shard.range.first();
        self.token.enter().hot.remember_place(applied.id().0, group, source);
    }

    /// Ends an event.
    pub(crate) fn end_event(&mut self) {
        self.token.enter().in_event = false;
    }

    /// Ends an event that is logged as what it changed: with what was noted of it, where that isn't logged yet.
    pub(crate) fn end_logged(&mut self, noted: Option<(State, KeyGroup, EventId)>) {
        let mut core = self.token.enter();
        if let (Some((applied, group, id)), Some(log)) = (noted, &mut core.log) {
            log.word(applied.id(), group, &id.source.to_be_bytes(), id.offset.to_le_bytes());
        }
        core.heed_log();
        core.in_event = false;
    }

    /// Ends an event that is known by its id, and logs it in place of what it changed, which stands in the buffer behind `mark`, with what it
    /// read and wrote.
    pub(crate) fn end_traced(&mut self, mark: LogMark, handler: (&str, u32), event: (EventId, Event<'_>)) {
        let mut core = self.token.enter();
        if let Some(log) = &mut core.log {
            log.traced(mark, handler, event, self.trace.logged());
        }
        core.heed_log();
        core.in_event = false;
    }

    /// Where the changelog's buffer stands; `None` without a changelog.
    pub(crate) fn log_mark(&mut self) -> Option<LogMark> {
        self.token.enter().log.as_ref().map(|log| log.mark())
    }

    /// Logs an event in place of what it changed, which stands in the buffer behind `mark`, where the changed states want that.
    pub(crate) fn log_event(&mut self, mark: LogMark, handler: (&str, u32), event: Event<'_>, state: bool, auto: bool) {
        if !state && let Some(log) = &mut self.token.enter().log {
            log.event(mark, handler, event, auto);
        }
    }

    /// Takes the changelog's buffer, or puts one in its place.
    pub(crate) fn swap_log(&mut self, log: Option<Box<LogBuffer>>) -> Option<Box<LogBuffer>> {
        std::mem::replace(&mut self.token.enter().log, log)
    }

    /// The definition of a state.
    pub(crate) fn definition(&mut self, state: State) -> Result<Arc<StateDef>> {
        self.states.shared(&self.store, state)
    }

    /// A value, or a list's frames, and when it expires; reading it refreshes nothing.
    pub(crate) fn cell_now(&mut self, state: State, key: Key<'_>) -> Result<Cell> {
        let kinds = [StateKind::Value, StateKind::List, StateKind::Merging];
        self.at(OperationKind::Read, state, &kinds, key, |core, def, probe| past::cell_now(core, def, key, probe))
    }

    /// The next entries of a map, from a user key on, and when they expire; and whether they are the last.
    #[expect(clippy::type_complexity, reason = "entries, and a flag")]
    pub(crate) fn entries_now(
        &mut self,
        state: State,
        key: Key<'_>,
        from: &[u8],
    ) -> Result<(Vec<(Vec<u8>, Cell)>, bool)> {
        self.at(OperationKind::Scan, state, &[StateKind::Map], key, |core, def, probe| {
            past::entries_now(core, def, key, probe, from)
        })
    }

    /// Does again what the changelog says was done at a key of this writer.
    pub(crate) fn redo(
        &mut self,
        state: StateId,
        key: Key<'_>,
        change: Change<'_>,
        expiry_ms: Option<u64>,
    ) -> Result<()> {
        const ALL: [StateKind; 4] = [StateKind::Value, StateKind::List, StateKind::Map, StateKind::Merging];
        let state = State::numbered(state);
        if let (Change::Put(value), None) = (change, expiry_ms)
            && self.states.is_plain(&self.store, state)
        {
            return self.put(state, key, value);
        }
        write::check_staged(&self.store, &mut self.token)?;
        let done = self.at(OperationKind::Batch, state, &ALL, key, |core, def, probe| {
            change::check_redo(def, change)?;
            change::redo(core, def, key, probe, change, expiry_ms)
        })?;
        match change {
            Change::MapDeleteRange(from, to) if !done => self.delete_one_by_one(state, key, from.to_vec(), to),
            _ => Ok(()),
        }
    }
}

fn no_changelog() -> Error {
    Error::Options { option: "durability", problem: "events that are known by their ids need a changelog".into() }
}
