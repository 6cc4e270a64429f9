//! Events: changes that a handler of the host makes, logged as what they came from.
//!
//! A handler that changes much for a short event (one event, ten panes of a sliding window) is cheaper to log as the event: recovery
//! applies it again. That needs a handler which does the same each time: it sees nothing but the event, the state of one key group, and
//! what it asks of [`Applying`], whose answers are logged. This is command logging (Malviya et al., "Rethinking main memory OLTP
//! recovery", ICDE 2014), chosen for each event as adaptive logging does (Yao et al., SIGMOD 2016): here by the bytes that either takes.

use crate::changelog::access::AccessKind;
use crate::changelog::buffer::Mark;
use crate::changelog::record::Event;
use crate::error::{Error, Result};
use crate::ids::{EventId, KeyGroup};
use crate::key::Key;
use crate::scan::MapRange;
use crate::states::LogMode;
use crate::store::{State, StoreInner};
use crate::writer::Writer;
use std::fmt::Debug;
use std::ops::ControlFlow;
use std::sync::Arc;

mod once;
mod trace;

pub(crate) use once::{Noted, apply_once, note_quickly};
pub(crate) use trace::Trace;

/// The longest name of a handler, in bytes.
pub const HANDLER_NAME_BYTES_MAX: usize = 1_024;

/// What a host does with an event. It has to do the same whenever it is given the same event over the same state: clocks, random numbers
/// and everything else that it reads elsewhere come through [`Applying::determinant`].
pub trait Handler: Send + Sync + Debug {
    /// Its name, of 1 to 1,024 bytes.
    fn name(&self) -> &str;

    /// Moves on with every change that makes it do something else for some event: recovery refuses to go on with another one.
    fn version(&self) -> u32;

    /// Does it. What it changed before it fails stays.
    fn apply(&self, event: &[u8], applying: &mut Applying<'_>) -> Result<()>;
}

/// A handler of a store, as [`Store::handler`](crate::Store::handler) returns it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HandlerId(pub(crate) u32);

impl HandlerId {
    /// The handler of a number, for a host that keeps that: as good as the number is.
    pub const fn numbered(number: u32) -> Self {
        Self(number)
    }

    /// Its number in its store.
    pub const fn number(self) -> u32 {
        self.0
    }
}

/// What a handler may ask for a determinant.
type Draw<'a> = &'a mut dyn FnMut(&mut Vec<u8>);

/// The state as a handler sees it: that of one key group, through its writer.
#[derive(Debug)]
pub struct Applying<'a> {
    writer: &'a mut Writer,
    group: KeyGroup,
    now_ms: u64,
    /// When it is applied again: what is left of what was logged.
    logged: Option<&'a [u8]>,
    /// When it is applied the first time: what is to be logged.
    drawn: Vec<u8>,
    modes: Modes,
    /// What it touches is entered in the writer's [`Trace`].
    traces: bool,
    reads_only: bool,
    watch: Option<&'a mut (dyn Watch + 'a)>,
}

/// Who is told what a handler is about to read or write.
pub(crate) trait Watch: Debug {
    /// Of a key, and what of it: the writer is that of the handler.
    fn touch(&mut self, writer: &mut Writer, state: State, key: Key<'_>, what: Touched<'_>) -> Result<()>;

    /// Of what is added to a key; whether it is taken note of instead of being done.
    fn add(&mut self, _state: State, _key: Key<'_>, _operand: &[u8]) -> Result<bool> {
        Ok(false)
    }
}

/// What a handler is about to do with a key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Touched<'a> {
    /// The value or list.
    Cell(AccessKind),
    /// A map's entry, of this user key.
    Entry(&'a [u8], AccessKind),
    /// A map's entries, as a range.
    Range(AccessKind),
    /// What other namespaces hold is moved to it.
    Namespaces(&'a [&'a [u8]]),
}

/// What the states that were changed say of how that is to be logged.
#[derive(Clone, Copy, Default, Debug)]
struct Modes {
    state: bool,
    auto: bool,
}

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) -> $out:ty, $touched:expr;)*) => {
        $(
            $(#[$doc])*
            pub fn $name(&mut self, state: State, key: Key<'_>, $($arg: $type),*) -> Result<$out> {
                self.check(state, key, $touched)?;
                self.writer.$name(state, key, $($arg),*)
            }
        )*
    };
}

impl Touched<'_> {
    const fn changes(self) -> bool {
        match self {
            Self::Cell(kind) | Self::Entry(_, kind) | Self::Range(kind) => kind.writes(),
            Self::Namespaces(_) => true,
        }
    }
}

impl<'a> Applying<'a> {
    fn new(
        writer: &'a mut Writer,
        group: KeyGroup,
        now_ms: u64,
        logged: Option<&'a [u8]>,
        watch: Option<&'a mut (dyn Watch + 'a)>,
    ) -> Self {
        let (drawn, modes) = (Vec::new(), Modes::default());
        Self { writer, group, now_ms, logged, drawn, modes, traces: false, watch, reads_only: false }
    }

    /// The state for who makes up for an event: what it is about to do is told before.
    pub(crate) fn compensating(
        writer: &'a mut Writer,
        group: KeyGroup,
        now_ms: u64,
        watch: &'a mut (dyn Watch + 'a),
    ) -> Self {
        Self::new(writer, group, now_ms, None, Some(watch))
    }

    /// The state for who only reads.
    pub(crate) fn reading(writer: &'a mut Writer, group: KeyGroup, now_ms: u64) -> Self {
        Self { reads_only: true, ..Self::new(writer, group, now_ms, None, None) }
    }
}

impl Applying<'_> {
    /// The key group of the event: keys of others are refused.
    pub const fn group(&self) -> KeyGroup {
        self.group
    }

    /// The writer's clock, in ms; logged with the event.
    pub const fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Something that isn't the same each time, such as the time or a random number: `draw` appends it to what it is given, and it is
    /// logged. When the event is applied again, what was logged is returned, and `draw` isn't called.
    pub fn determinant(&mut self, draw: Draw<'_>) -> Result<Vec<u8>> {
        if let Some(logged) = &mut self.logged {
            let reader = &mut crate::codec::Reader::new(logged);
            let taken = reader.varint().ok().and_then(|len| reader.bytes(usize::try_from(len).ok()?).ok());
            let taken = taken.ok_or_else(|| Error::Background("a handler asks for more than it did before".into()))?;
            *logged = &logged[reader.at()..];
            return Ok(taken.to_vec());
        }
        let mut drawn = Vec::new();
        draw(&mut drawn);
        crate::codec::push_varint(&mut self.drawn, drawn.len() as u64);
        self.drawn.extend_from_slice(&drawn);
        Ok(drawn)
    }

    fn check(&mut self, state: State, key: Key<'_>, touched: Touched<'_>) -> Result<()> {
        if key.group != self.group {
            let range = crate::ids::KeyGroupRange::new(self.group.0, self.group.0);
            return Err(Error::OutsideRange { group: key.group, range });
        }
        if self.reads_only && touched.changes() {
            return Err(Error::Options { option: "trigger", problem: "an invariant changes nothing".into() });
        }
        let def = self.writer.def_of(state)?;
        let (log, is_traced) = (def.log, def.traced && self.traces);
        let touched = match touched {
            // Its expiry moves.
            Touched::Cell(AccessKind::Read) if def.refreshes() => Touched::Cell(AccessKind::Update),
            Touched::Entry(user_key, AccessKind::Read) if def.refreshes() => {
                Touched::Entry(user_key, AccessKind::Update)
            }
            touched => touched,
        };
        if touched.changes() {
            match log {
                LogMode::State => self.modes.state = true,
                LogMode::Auto => self.modes.auto = true,
                LogMode::Event => {}
            }
        }
        if is_traced {
            self.writer.trace().touch(state.id(), key, touched);
        }
        match &mut self.watch {
            Some(watch) => watch.touch(self.writer, state, key, touched),
            None => Ok(()),
        }
    }

    operations! {
        /// [`Writer::get`].
        get() -> Option<Vec<u8>>, Touched::Cell(AccessKind::Read);
        /// [`Writer::put`].
        put(value: &[u8]) -> (), Touched::Cell(AccessKind::Write);
        /// [`Writer::delete`].
        delete() -> (), Touched::Cell(AccessKind::Write);
        /// [`Writer::list`].
        list() -> Vec<Vec<u8>>, Touched::Cell(AccessKind::Read);
        /// [`Writer::put_list`].
        put_list(elements: &[&[u8]]) -> (), Touched::Cell(AccessKind::Write);
        /// [`Writer::merge_namespaces`].
        merge_namespaces(sources: &[&[u8]]) -> (), Touched::Namespaces(sources);
        /// [`Writer::map_get`].
        map_get(user_key: &[u8]) -> Option<Vec<u8>>, Touched::Entry(user_key, AccessKind::Read);
        /// [`Writer::map_contains`].
        map_contains(user_key: &[u8]) -> bool, Touched::Entry(user_key, AccessKind::Read);
        /// [`Writer::map_put`].
        map_put(user_key: &[u8], value: &[u8]) -> (), Touched::Entry(user_key, AccessKind::Write);
        /// [`Writer::map_delete`].
        map_delete(user_key: &[u8]) -> (), Touched::Entry(user_key, AccessKind::Write);
        /// [`Writer::map_delete_range`].
        map_delete_range(range: &MapRange<'_>) -> (), Touched::Range(AccessKind::RangeWrite);
        /// [`Writer::map_clear`].
        map_clear() -> (), Touched::Range(AccessKind::RangeWrite);
        /// [`Writer::map_first`].
        map_first() -> Option<(Vec<u8>, Vec<u8>)>, Touched::Range(AccessKind::RangeRead);
        /// [`Writer::map_pop_first`].
        map_pop_first() -> Option<(Vec<u8>, Vec<u8>)>, Touched::Range(AccessKind::RangeUpdate);
    }

    /// [`Writer::append`].
    pub fn append(&mut self, state: State, key: Key<'_>, element: &[u8]) -> Result<()> {
        self.check(state, key, Touched::Cell(AccessKind::Add))?;
        if self.is_noted(state, key, element)? { Ok(()) } else { self.writer.append(state, key, element) }
    }

    /// [`Writer::append_all`].
    pub fn append_all(&mut self, state: State, key: Key<'_>, elements: &[&[u8]]) -> Result<()> {
        self.check(state, key, Touched::Cell(AccessKind::Add))?;
        for (at, element) in elements.iter().enumerate() {
            if !self.is_noted(state, key, element)? {
                return self.writer.append_all(state, key, &elements[at..]);
            }
        }
        Ok(())
    }

    /// [`Writer::merge`].
    pub fn merge(&mut self, state: State, key: Key<'_>, operand: &[u8]) -> Result<()> {
        self.check(state, key, Touched::Cell(AccessKind::Add))?;
        if self.is_noted(state, key, operand)? { Ok(()) } else { self.writer.merge(state, key, operand) }
    }

    fn is_noted(&mut self, state: State, key: Key<'_>, operand: &[u8]) -> Result<bool> {
        self.watch.as_mut().map_or(Ok(false), |watch| watch.add(state, key, operand))
    }

    /// [`Writer::update`].
    pub fn update<V: AsRef<[u8]>>(
        &mut self,
        state: State,
        key: Key<'_>,
        change: impl FnOnce(Option<&[u8]>) -> Option<V>,
    ) -> Result<()> {
        self.check(state, key, Touched::Cell(AccessKind::Update))?;
        self.writer.update(state, key, change)
    }

    /// [`Writer::map_scan`].
    pub fn map_scan(
        &mut self,
        state: State,
        key: Key<'_>,
        range: &MapRange<'_>,
        visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<()> {
        self.check(state, key, Touched::Range(AccessKind::RangeRead))?;
        self.writer.map_scan(state, key, range, visit)
    }
}

/// Registers a handler; one of the same name takes the place of the earlier, which is kept for events that it applied.
pub(crate) fn register(store: &StoreInner, handler: Arc<dyn Handler>) -> Result<HandlerId> {
    store.check()?;
    let bytes = handler.name().len();
    if bytes == 0 || bytes > HANDLER_NAME_BYTES_MAX {
        return Err(Error::Options { option: "handler", problem: "a name has 1 to 1,024 bytes".into() });
    }
    let mut handlers = store.handlers.write();
    let is_named = |versions: &Vec<Arc<dyn Handler>>| versions.iter().any(|known| known.name() == handler.name());
    let at = handlers.iter().position(is_named).unwrap_or(handlers.len());
    let mut replaced = None;
    match handlers.get_mut(at) {
        Some(versions) => {
            let same = versions.iter().position(|known| known.version() == handler.version());
            replaced = same.map(|same| versions.remove(same));
            versions.push(handler);
        }
        None => handlers.push(vec![handler]),
    }
    drop(handlers);
    // Not under the lock: what goes with it may be the host's code.
    drop(replaced);
    Ok(HandlerId(at as u32))
}

/// Has a handler apply an event, and logs whatever of both is shorter.
pub(crate) fn apply(writer: &mut Writer, id: HandlerId, group: KeyGroup, event: &[u8]) -> Result<()> {
    let handler = numbered(writer.store(), id)?;
    let mark = writer.log_mark();
    let now_ms = writer.time_ms();
    let mut applying = Applying::new(writer, group, now_ms, None, None);
    let outcome = handler.apply(event, &mut applying);
    let Applying { drawn, modes, .. } = applying;
    if let (Some(mark), Ok(())) = (mark, &outcome) {
        let (name, version) = (handler.name(), handler.version());
        let event = Event { handler: id.0, group, now_ms, event, determinants: &drawn };
        // What failed is logged as what it changed: it might do otherwise the next time.
        writer.log_event(mark, (name, version), event, modes.state, modes.auto);
    }
    outcome
}

/// The handler of a number.
pub(crate) fn numbered(store: &StoreInner, id: HandlerId) -> Result<Arc<dyn Handler>> {
    let handler = store.handlers.read().get(id.0 as usize).and_then(|versions| versions.last().cloned());
    handler.ok_or_else(|| unknown(&format!("number {}", id.0)))
}

/// Applies an event again, as the changelog has it; whether it asked for all determinants that it asked for then.
pub(crate) fn again(
    writer: &mut Writer,
    handler: &dyn Handler,
    id: Option<EventId>,
    event: Event<'_>,
    watch: Option<&mut dyn Watch>,
) -> Result<bool> {
    writer.set_time_ms(event.now_ms);
    let Event { group, now_ms, event, determinants, .. } = event;
    let watch = watch.map(|watch| -> &mut dyn Watch { watch });
    let mut applying = Applying::new(writer, group, now_ms, Some(determinants), watch);
    let outcome = crate::error::catch(|| handler.apply(event, &mut applying));
    let asked_all = applying.logged.is_none_or(<[u8]>::is_empty);
    writer.set_time_ms(0);
    outcome?;
    if let Some(id) = id {
        let applied = writer.store().applied_state()?;
        once::put_last(writer, applied, (group, id.source), Some(id.offset.to_le_bytes()))?;
    }
    Ok(asked_all)
}

/// Has a handler say what it does with an event, as the changelog has it: `watch` takes note of all that would change anything, or refuses.
pub(crate) fn ask(
    writer: &mut Writer,
    handler: &dyn Handler,
    event: Event<'_>,
    watch: &mut (dyn Watch + 'static),
) -> Result<()> {
    let mut applying = Applying::new(writer, event.group, event.now_ms, Some(event.determinants), Some(watch));
    crate::error::catch(|| handler.apply(event.event, &mut applying))
}

/// What is said of a handler that did something else than the first time.
pub(crate) fn asks_less(handler: &dyn Handler) -> Error {
    Error::Background(format!("handler {:?} asks for less than it did before", handler.name()))
}

/// A handler of this name and version.
pub(crate) fn find(store: &StoreInner, name: &str, version: u32) -> Result<Arc<dyn Handler>> {
    let handlers = store.handlers.read();
    let named = handlers.iter().flatten().filter(|handler| handler.name() == name);
    let mut latest = None;
    for handler in named {
        if handler.version() == version {
            return Ok(Arc::clone(handler));
        }
        latest = Some(handler.version());
    }
    let Some(latest) = latest else { return Err(unknown(name)) };
    let problem = format!("version {latest} is registered, the changelog has events of version {version}");
    Err(Error::Handler { handler: name.to_owned(), problem })
}

fn unknown(name: &str) -> Error {
    Error::Handler { handler: name.to_owned(), problem: "not registered since the store was opened".into() }
}

/// Where a buffer of the changelog stood before an event was applied.
pub(crate) type LogMark = Mark;
